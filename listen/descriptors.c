/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How many descriptors may a reload take?
 *
 * A listener that changes its protocol needs a second socket for as long as
 * its line lives (change.c).  If core or the MPM find none left for what they
 * open next, pipes and logs, httpd ends; and each child has as many of
 * them less for connections, files and backends as its parent holds.
 *
 * What will be open is not known when the listeners are bound: logs are closed
 * then, and opened after it.  But it is like what was open while the
 * configuration before was served; so that is counted, at its end.  Half of
 * what is left then is the most that a change may take.
 */

#include "listen/private.h"

#include <dirent.h>
#include <limits.h>
#include <sys/resource.h>

/* The count, an int in process->pool. */
#define USED_KEY "mod_mptcp:descriptors:1"

static int soft_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0
        || limit.rlim_cur > INT_MAX / 2) {
        return INT_MAX / 2;             /* as good as no limit */
    }
    return (int)limit.rlim_cur;
}

/* Where /proc is missing, none: then there is no telling. */
static int count_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3;                     /* . and .. and the directory's own */

    if (!dir) {
        return errno == EMFILE ? soft_limit() : 0;
    }
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static int *used_before(process_rec *process)
{
    int *used = mptcp_kept(process->pool, USED_KEY);

    if (!used) {
        used = apr_pcalloc(process->pool, sizeof(*used));
        mptcp_keep(process->pool, USED_KEY, used);
    }
    return used;
}

static apr_status_t note_used(void *process)
{
    *used_before(process) = count_open();
    return APR_SUCCESS;
}

void mptcp_descriptors_watch(apr_pool_t *pconf, process_rec *process)
{
    /* runs before anything of this configuration is closed */
    apr_pool_pre_cleanup_register(pconf, process, note_used);
}

int mptcp_descriptors_allow(process_rec *process, int more, int *left,
                            int *limit)
{
    int used = *used_before(process), now = count_open();
    const ap_listen_rec *lr;

    for (lr = ap_listeners; lr; lr = lr->next) {
        used += !lr->active;            /* a line that was not there before */
    }
    if (used < now) {
        used = now;
    }
    *left = soft_limit() > used ? soft_limit() - used : 0;
    *limit = used + 2 * more;
    return more <= *left / 2;
}
