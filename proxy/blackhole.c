/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel gives MPTCP up for new connections of the whole host, for an hour
 * or a multiple (net.mptcp.blackhole_timeout, Linux 6.12), when the first
 * packets of one were lost as long as they asked for MPTCP, and one that did
 * not was answered.  An outage of three seconds looks the same.
 *
 * It does not say that it has, but counts: how often it gave up, and each
 * connection that it begins, by MPTCP or, having given up, by TCP.  So what
 * the last of them has been is what holds.  The parent looks each ten seconds,
 * tells the log, and leaves what it saw in shared memory; a child that is
 * asked looks for itself at what has come since.
 *
 * That memory is of process->pool, so that a reload begins nothing anew.
 */

#include "proxy/private.h"

APLOG_USE_MODULE(mptcp);

/* Its number changes with the structure: a reload may bring a newer module. */
#define WATCH_KEY "mod_mptcp:blackhole:1"

/*
 * Written by the parent alone.  A child may read while it writes, and then be
 * wrong for one page.
 */
typedef struct {
    mptcp_begun seen;
    int is_given_up;
} watch_state;

/* NULL where nothing can be seen; set in post_config, and only read then. */
static watch_state *watch;

/* Has the kernel given MPTCP up, as the last connection that it began says? */
static int is_given_up(const watch_state *then, const mptcp_begun *now)
{
    if (now->given_up != then->seen.given_up
        || now->withheld != then->seen.withheld) {
        return 1;
    }
    return now->asked == then->seen.asked && then->is_given_up;
}

int mptcp_blackhole_prepare(apr_pool_t *pconf, apr_pool_t *plog,
                            apr_pool_t *ptemp, server_rec *s)
{
    apr_pool_t *p = s->process->pool;
    mptcp_begun now;
    void *kept;

    watch = NULL;
    if (!mptcp_proxy_wants_any() || mptcp_is_check_pass()) {
        return OK;
    }
    watch = mptcp_kept(p, WATCH_KEY);
    if (!watch && mptcp_begun_read(&now) == APR_SUCCESS
        && mptcp_keep_shared(p, WATCH_KEY, sizeof(*watch), &kept)
           == APR_SUCCESS) {
        watch = kept;
        watch->seen = now;
    }
    return OK;
}

const char *mptcp_blackhole_text(apr_pool_t *p)
{
    int seconds = mptcp_sysctl_number(p, "mptcp/blackhole_timeout");

    return apr_psprintf(p, "the kernel has given MPTCP up for new connections "
                        "to all backends, for %d s or a multiple: the first "
                        "packets of one were lost until it asked for TCP; "
                        "write 'sysctl -w net.mptcp.blackhole_timeout=%d', "
                        "which ends that, and connectiontimeout=1 behind "
                        "ProxyPass, with which an outage is not taken for it",
                        seconds, seconds);
}

int mptcp_blackhole_known(int *given_up)
{
    mptcp_begun now;

    if (!watch || mptcp_begun_read(&now) != APR_SUCCESS) {
        return 0;
    }
    *given_up = is_given_up(watch, &now);
    return 1;
}

int mptcp_blackhole_follow(apr_pool_t *pconf, server_rec *s)
{
    mptcp_begun now;
    int before;

    if (!watch || mptcp_begun_read(&now) != APR_SUCCESS) {
        return DECLINED;
    }
    before = watch->is_given_up;
    watch->is_given_up = is_given_up(watch, &now);
    watch->seen = now;
    if (watch->is_given_up && !before) {
        apr_pool_t *p;

        /* pconf lives as long as this configuration */
        apr_pool_create(&p, pconf);
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "%s",
                     mptcp_blackhole_text(p));
        apr_pool_destroy(p);
    }
    else if (before && !watch->is_given_up) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "the kernel uses MPTCP for new connections to backends "
                     "again");
    }
    return DECLINED;
}
