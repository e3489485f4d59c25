/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A library that is loaded before httpd: a process that crashes says by which
 * calls, on its standard error, which is httpd's log.  One line each:
 *
 *     crash: process 413, thread 413, signal 11
 *     crash:   /usr/lib/libapr-1.so.0(apr_os_sock_get+0)
 *     crash:   /usr/lib/apache2/modules/mod_mpm_event.so(+0x606c)
 *     crash: end
 *
 * Then the signal does what it does by itself.  httpd's own handler, which only
 * changes to the directory for a core file, is not set.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

#define SIGNALS ((int) (sizeof(signals) / sizeof(signals[0])))

static _Unwind_Reason_Code tell_call(struct _Unwind_Context *context,
                                     void *unused)
{
    uintptr_t address = _Unwind_GetIP(context);
    Dl_info info;

    (void) unused;
    if (!address || !dladdr((void *) address, &info) || !info.dli_fname) {
        dprintf(STDERR_FILENO, "crash:   %#lx\n", (unsigned long) address);
        return _URC_NO_REASON;
    }
    if (info.dli_sname) {
        dprintf(STDERR_FILENO, "crash:   %s(%s+%#lx)\n", info.dli_fname,
                info.dli_sname,
                (unsigned long) (address - (uintptr_t) info.dli_saddr));
    }
    else {
        dprintf(STDERR_FILENO, "crash:   %s(+%#lx)\n", info.dli_fname,
                (unsigned long) (address - (uintptr_t) info.dli_fbase));
    }
    return _URC_NO_REASON;
}

/* The signal comes once more on return, and SA_RESETHAND has let go of it. */
static void tell(int signal)
{
    dprintf(STDERR_FILENO, "crash: process %d, thread %d, signal %d\n",
            (int) getpid(), (int) syscall(SYS_gettid), signal);
    _Unwind_Backtrace(tell_call, NULL);
    dprintf(STDERR_FILENO, "crash: end\n");
    kill(getpid(), signal);
}

static int is_ours(int signal)
{
    int i;

    for (i = 0; i < SIGNALS; i++) {
        if (signals[i] == signal) {
            return 1;
        }
    }
    return 0;
}

int sigaction(int signal, const struct sigaction *action,
              struct sigaction *before)
{
    __typeof__(sigaction) *real = dlsym(RTLD_NEXT, "sigaction");

    return real(signal, is_ours(signal) ? NULL : action, before);
}

__attribute__((constructor)) static void begin(void)
{
    __typeof__(sigaction) *real = dlsym(RTLD_NEXT, "sigaction");
    struct sigaction action = { .sa_handler = tell, .sa_flags = SA_RESETHAND };
    int i;

    sigemptyset(&action.sa_mask);
    for (i = 0; i < SIGNALS; i++) {
        real(signals[i], &action, NULL);
    }
}
