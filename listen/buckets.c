/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ListenCoresBucketsRatio: core makes a duplicate of each listener for each
 * further bucket, within the MPM's open_logs (2.4) or after the parent's last
 * hook (trunk).
 */

#include "listen/private.h"

#include "unixd.h"

#include <unistd.h>

APLOG_USE_MODULE(mptcp);

/* ListenCoresBucketsRatio is core's own setting, which it tells nobody. */
static int buckets_ratio(void)
{
    const ap_directive_t *line;
    int ratio = 0;              /* the last line counts */

    for (line = ap_conftree; line; line = line->next) {
        if (ap_cstr_casecmp(line->directive, "ListenCoresBucketsRatio") == 0) {
            ratio = (int)apr_strtoi64(line->args, NULL, 10);
        }
    }
    return ratio;
}

int mptcp_listen_buckets(void)
{
    int ratio = buckets_ratio();
    long cores;

    if (ap_exists_config_define("ONE_PROCESS")
        || ap_exists_config_define("DEBUG")) {
        return 1;
    }
    if (ap_unixd_mpm_get_retained_data()->was_graceful) {
        return mptcp_listen_buckets_before();
    }
    if (ratio <= 0 || ap_have_so_reuseport <= 0) {
        return 1;
    }
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores / ratio > 1 ? (int)(cores / ratio) : 1;
}

int mptcp_listen_buckets_before(void)
{
    int before = ap_unixd_mpm_get_retained_data()->num_buckets;

    return before > 1 ? before : 1;
}

#ifdef AP_LISTEN_MPTCP

/*
 * Trunk makes the duplicates by the flags of the originals.  It sets
 * TCP_DEFER_ACCEPT on them, out of our reach.
 */
apr_status_t mptcp_duplicates_begin(apr_pool_t *pconf, const char **reason)
{
    return APR_SUCCESS;
}

/* pconf cleanup: the next configuration is to see the flags that it set. */
static apr_status_t clear_flag(void *data)
{
    ap_listen_rec *lr = data;           /* in process->pool */

    lr->flags &= ~AP_LISTEN_MPTCP;
    return APR_SUCCESS;
}

int mptcp_duplicates_end(apr_pool_t *pconf, server_rec *s)
{
    ap_listen_rec *lr;
    int deferred = 0;

    for (lr = ap_listeners; lr; lr = lr->next) {
        /* not one that a reload has steered connections away from */
        if (!mptcp_listener_is_mptcp(lr) || !mptcp_listener_wanted(lr)) {
            continue;
        }
        deferred++;
        if (!(lr->flags & AP_LISTEN_MPTCP)) {
            lr->flags |= AP_LISTEN_MPTCP;
            apr_pool_cleanup_register(pconf, lr, clear_flag,
                                      apr_pool_cleanup_null);
        }
    }
    return mptcp_listen_buckets() > 1 ? deferred : 0;
}

#else

/*
 * 2.4 makes the duplicates with TCP sockets always, and the kernel would
 * spread connections over a SO_REUSEPORT group of both kinds.  So while the
 * MPM's open_logs runs, core's import of apr_socket_create() is redirected to
 * where each duplicate gets its original's protocol, and is remembered, since
 * core tells nobody about them.  Nothing else in core makes sockets then.  All
 * of this happens in the parent, with a single thread, and ends with the hook.
 */
static apr_pool_t *duplicates_pool;     /* its cleanup puts the import back */
static apr_array_header_t *duplicates;  /* of apr_socket_t * */
static const ap_listen_rec *next_original;

static apr_status_t duplicate_socket_create(apr_socket_t **sd, int family,
                                            int type, int protocol,
                                            apr_pool_t *p)
{
    /* core goes through the whole list, once for each bucket */
    const ap_listen_rec *original = next_original ? next_original
                                                  : ap_listeners;
    apr_status_t rv;

    if (!duplicates_pool) {             /* the slot was not to be put back */
        return apr_socket_create(sd, family, type, protocol, p);
    }
    next_original = original->next;
    if (mptcp_listener_is_mptcp(original)) {
        protocol = IPPROTO_MPTCP;
    }
    rv = apr_socket_create(sd, family, type, protocol, p);
    if (rv == APR_SUCCESS) {
        APR_ARRAY_PUSH(duplicates, apr_socket_t *) = *sd;
    }
    return rv;
}

apr_status_t mptcp_duplicates_begin(apr_pool_t *pconf, const char **reason)
{
    next_original = NULL;
    apr_pool_create(&duplicates_pool, pconf);
    apr_pool_tag(duplicates_pool, "mptcp_duplicates");
    duplicates = apr_array_make(duplicates_pool, 8, sizeof(apr_socket_t *));
    /* any function of core's listen.c tells which object core is in */
    return mptcp_import_redirect((const void *)ap_set_listener,
                                 "apr_socket_create",
                                 (void *)duplicate_socket_create,
                                 duplicates_pool, reason);
}

int mptcp_duplicates_end(apr_pool_t *pconf, server_rec *s)
{
    int i;

    if (!duplicates_pool) {
        return 0;
    }
    for (i = 0; i < duplicates->nelts; i++) {
        mptcp_listener_clear_defer_accept(APR_ARRAY_IDX(duplicates, i,
                                                        apr_socket_t *), s);
    }
    apr_pool_destroy(duplicates_pool);
    duplicates_pool = NULL;
    return 0;
}

#endif /* AP_LISTEN_MPTCP */
