/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * kernel/connection.c and variables/table.c by themselves, with answers of
 * kernels that know less than this one: a value which the answer does not
 * reach is absent, and never made of what was in memory.  Prints TAP.
 */

#include "common/common.h"
#include "kernel/private.h"
#include "variables/private.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The kernel, or one that refuses MPTCP_INFO: always, as before Linux 5.16,
 * or for one socket, as after a fallback.  Counts.
 */
static int calls, refuse_always, refused_fd = -2;

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    calls++;
    if (level == SOL_MPTCP && (refuse_always || fd == refused_fd)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_getsockopt, fd, level, option, value, length);
}

static int tests, failures;

static void ok(int passed, const char *name)
{
    tests++;
    failures += !passed;
    printf("%sok %d - %s\n", passed ? "" : "not ", tests, name);
}

static int same(const char *got, const char *expected)
{
    if (!got || !expected ? got == expected : !strcmp(got, expected)) {
        return 1;
    }
    printf("# got %s, expected %s\n", got ? got : "nothing",
           expected ? expected : "nothing");
    return 0;
}

/*
 * The answer of a kernel that wrote LENGTH bytes; the rest is garbage.  The
 * offsets are those of include/uapi/linux/mptcp.h, not of our own structure.
 */
static void answer(mptcp_reading *reading, apr_size_t length,
                   apr_uint32_t flags, apr_uint32_t token)
{
    unsigned char bytes[sizeof(mptcp_kernel_info)] = { 0 };
    apr_uint64_t retrans = APR_UINT64_C(0x100000002), sent = 5000000000LLU;
    apr_uint64_t received = 77;

    bytes[0] = 2;
    memcpy(bytes + 8, &flags, sizeof(flags));
    memcpy(bytes + 12, &token, sizeof(token));
    memcpy(bytes + 48, &retrans, sizeof(retrans));
    memcpy(bytes + 56, &sent, sizeof(sent));
    memcpy(bytes + 64, &received, sizeof(received));
    bytes[80] = token ? 3 : 0;

    memset(reading, 0xEE, sizeof(*reading));
    reading->state = MPTCP_STATE_ON;
    memcpy(&reading->info, bytes, length);
    mptcp_reading_set(reading, length);
}

static const char *value(const mptcp_reading *reading, const char *name,
                         apr_pool_t *p)
{
    return mptcp_variable_value(reading, mptcp_variable_find(name), p);
}

static void test_lengths(apr_pool_t *p)
{
    /* where the answer has to reach for a value, and the value */
    static const struct {
        const char *name;
        apr_size_t end;
        const char *value;
    } expected[] = {
        { "MPTCP",                0,  "on" },
        { "MPTCP_SUBFLOWS",       1,  "3" },
        { "MPTCP_TOKEN",          16, "a1b2c3" },
        { "MPTCP_BYTES_RETRANS",  56, "4294967298" },
        { "MPTCP_BYTES_SENT",     64, "5000000000" },
        { "MPTCP_BYTES_RECEIVED", 72, "77" },
        { "MPTCP_SUBFLOWS_TOTAL", 81, "3" },
    };
    size_t count = sizeof(expected) / sizeof(expected[0]);
    size_t i;

    /* all but that of the backend, and the end */
    ok(mptcp_variables[count].form == MPTCP_FORM_BACKEND
       && !mptcp_variables[count + 1].name, "every variable is tested");
    for (i = 0; i < count; i++) {
        apr_size_t length;
        int good = mptcp_variable_find(expected[i].name) != NULL;

        for (length = 0; good && length <= sizeof(mptcp_kernel_info);
             length++) {
            mptcp_reading reading;

            answer(&reading, length, 0, 0xa1b2c3);
            good = same(value(&reading, expected[i].name, p),
                        length < expected[i].end ? NULL : expected[i].value);
            if (!good) {
                printf("# when the kernel wrote %d bytes\n", (int)length);
            }
        }
        ok(good, apr_psprintf(p, "%s with an answer of any length",
                              expected[i].name));
    }
}

static void test_states(apr_pool_t *p)
{
    mptcp_reading reading;

    answer(&reading, 16, 1, 0xa1b2c3);
    ok(same(value(&reading, "MPTCP", p), "fallback"), "the fallback flag");
    ok(same(value(&reading, "MPTCP_TOKEN", p), NULL),
       "a connection that fell back has no token");
    answer(&reading, 8, 1, 0);
    ok(same(value(&reading, "MPTCP", p), "on"), "no flags, no fallback");

    answer(&reading, 88, 0, 0);
    ok(same(value(&reading, "MPTCP_TOKEN", p), NULL),
       "a connection that was reset has no token");
    ok(same(value(&reading, "MPTCP_SUBFLOWS", p), "0"),
       "a connection that was reset has no subflows");
    answer(&reading, 16, 0, 0xa1b2c3);
    ok(same(value(&reading, "MPTCP_SUBFLOWS", p), "3"),
       "subflows of a kernel without subflows_total, the first included");

    ok(mptcp_variable_find("mptcp_token") == mptcp_variable_find("MPTCP_TOKEN"),
       "names in any case");
    ok(!mptcp_variable_find("MPTCP_TOKE") && !mptcp_variable_find(""),
       "other names");
}

/* The state that is found for a descriptor, and the calls it took. */
static int finds(int fd, int made_as, const char *state, int expected_calls,
                 apr_pool_t *p)
{
    mptcp_reading reading;

    memset(&reading, 0xEE, sizeof(reading));
    calls = 0;
    mptcp_connection_ask(fd, made_as, &reading);
    if (calls != expected_calls) {
        printf("# %d system calls, expected %d\n", calls, expected_calls);
        return 0;
    }
    return same(value(&reading, "MPTCP", p), state);
}

static void test_sockets(apr_pool_t *p)
{
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    int mptcp = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    int fallback = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    int fds[2];
    int status = -1;
    pid_t pid;

    ok(finds(-1, 0, NULL, 1, p), "a closed descriptor");
    ok(pipe(fds) == 0 && finds(fds[0], 0, NULL, 1, p), "no socket");
    ok(finds(tcp, 0, "off", 2, p), "a TCP socket");
    ok(finds(tcp, IPPROTO_TCP, "off", 1, p), "a TCP socket, made so");
    ok(finds(mptcp, 0, "on", 1, p), "an MPTCP socket");
    ok(finds(mptcp, IPPROTO_MPTCP, "on", 1, p), "an MPTCP socket, made so");
    ok(finds(mptcp, IPPROTO_TCP, "on", 2, p),
       "an MPTCP socket, made for TCP as APR knows");

    /* a kernel older than 5.16 says nothing of any MPTCP socket */
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        refuse_always = 1;
        _exit(!(finds(mptcp, 0, NULL, 3, p)
                && finds(mptcp, IPPROTO_MPTCP, NULL, 1, p)
                && finds(tcp, 0, "off", 2, p)));
    }
    waitpid(pid, &status, 0);
    ok(status == 0, "a kernel without MPTCP_INFO");

    refused_fd = fallback;
    ok(finds(fallback, 0, "fallback", 3, p), "a fallback, the first");
    ok(finds(fallback, 0, "fallback", 2, p), "a fallback, the next");
    ok(finds(fallback, IPPROTO_MPTCP, "fallback", 1, p),
       "a fallback, made as MPTCP");
}

int main(void)
{
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    test_lengths(p);
    test_states(p);
    test_sockets(p);
    printf("1..%d\n", tests);
    return failures != 0;
}
