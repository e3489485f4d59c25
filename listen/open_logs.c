/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listening sockets: before the MPM binds them, and after.
 *
 * Listen (and MPTCPListen, through core's own ap_set_listener()) leaves an
 * unbound TCP socket in a record of ap_listeners, in process->pool.  The
 * MPM's open_logs hook has core set its options, bind it and listen.  Just
 * before that, the socket is replaced by an MPTCP one; nothing of core's
 * work is done here a second time.
 *
 * Records outlive restarts: core finds them again by address and port, and
 * then they are bound already.  change.c deals with those whose protocol is no
 * longer the one wanted.  Sockets that a service manager passed on are its own
 * business: they are left alone, and reported.
 */

#include "listen/private.h"

APLOG_USE_MODULE(mptcp);

/*
 * Why listeners of this configuration that were to be MPTCP are not, and the
 * error; pool: pconf.  For the parent, and read by children.
 */
static apr_status_t refused_status;
static const char *refused_text;

const char *mptcp_listen_refusal(void)
{
    return refused_text;
}

/*
 * httpd -t, or what -S and the like make of it: beside these -D DUMP_MPTCP
 * wants to know as much.
 */
int mptcp_listen_is_test(void)
{
    return ap_run_mode == AP_SQ_RM_CONFIG_TEST
           || (ap_run_mode == AP_SQ_RM_CONFIG_DUMP
               && ap_exists_config_define("DUMP_MPTCP"));
}

/* Is this process about to serve, not just reading the configuration? */
static int is_real_pass(void)
{
    return ap_run_mode == AP_SQ_RM_NORMAL && !mptcp_is_check_pass();
}

/* ---- a kernel that gives no MPTCP socket -------------------------------- */

/*
 * Can this socket become a listener?  Some refuse later than at its birth:
 * security policies, since the kernel makes the first subflow only when it is
 * bound (Linux 6.5), and old kernels, where MPTCP lacks an option that core
 * asks for.  Tried on any port of the address, or on its own where a policy
 * allows that alone (systemd's SocketBindAllow).  Whether the address is here
 * is another matter, which core has words for.
 */
static apr_status_t try_listener(const ap_listen_rec *lr, apr_socket_t *sd,
                                 apr_pool_t *p)
{
    apr_sockaddr_t *address = apr_pmemdup(p, lr->bind_addr,
                                          sizeof(*lr->bind_addr));
    apr_status_t rv = mptcp_listener_set_options(lr, sd);

    if (rv != APR_SUCCESS || mptcp_listen_is_test()) {
        return rv;                      /* httpd -t binds nothing */
    }
    address->sa.sin.sin_port = 0;       /* where sin6_port is, too */
    rv = apr_socket_bind(sd, address);
    if (rv == EPERM || rv == EACCES) {
        rv = apr_socket_bind(sd, lr->bind_addr);
    }
    if (rv == EADDRINUSE || rv == EADDRNOTAVAIL) {
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS ? apr_socket_listen(sd, 1) : rv;
}

static void warn_of_fallback(server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, refused_status, s,
                 "MPTCP listeners serve by plain TCP: %s", refused_text);
}

/* A listener will be TCP; non-OK if that is not to be put up with. */
static int is_forbidden(const ap_listen_rec *lr, apr_status_t status,
                        const char *why, server_rec *s)
{
    if (mptcp_global()->fallback) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, status, s,
                 "%pI is to be MPTCP, and MPTCPFallback Off forbids TCP: %s",
                 lr->bind_addr, why);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* The same, for each that is not MPTCP yet: note why. */
static int refuse(const ap_listen_rec *lr, apr_status_t status,
                  const char *why, server_rec *s)
{
    refused_status = status;
    refused_text = why;
    return is_forbidden(lr, status, why, s);
}

static int kernel_refuses(const ap_listen_rec *lr, apr_status_t status,
                          apr_pool_t *pconf, server_rec *s)
{
    return refuse(lr, status,
                  apr_pstrcat(pconf, "the kernel gives no MPTCP socket, ",
                              mptcp_refusal_text(pconf, status), NULL), s);
}

/*
 * If a listener lacks an MPTCP socket that it is to have, ask the kernel for
 * one.  With several buckets it is to have more at every restart.
 */
static int check_kernel(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    const ap_listen_rec *lr;
    apr_socket_t *sd;
    apr_status_t rv;
    int buckets = mptcp_listen_buckets();

    mptcp_listeners_note_inherited(s->process);
    for (lr = ap_listeners; lr; lr = lr->next) {
        if (mptcp_listener_wanted(lr)
            && !mptcp_listener_is_inherited(lr, s->process)
            && (buckets > 1
                || (!mptcp_listener_is_mptcp(lr)
                    && !mptcp_listener_has_twin(lr, s->process)))) {
            break;
        }
    }
    if (!lr) {
        return OK;
    }
    rv = mptcp_listener_new_socket(lr, IPPROTO_MPTCP, ptemp, &sd);
    if (rv == APR_SUCCESS) {
        rv = try_listener(lr, sd, ptemp);
        apr_socket_close(sd);
    }
    return rv == APR_SUCCESS ? OK : kernel_refuses(lr, rv, pconf, s);
}

/*
 * For httpd -t.  A server asks in mptcp_listen_before_bind(): httpd -k stop,
 * which gets this far, is not to be kept from it by what the kernel refuses.
 */
int mptcp_listen_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s)
{
    refused_text = NULL;                /* of the configuration before */
    refused_status = APR_SUCCESS;
    if (!mptcp_listen_is_test()) {
        return OK;
    }
    if (check_kernel(pconf, ptemp, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* a server says so when it has bound, and its error log is open */
    if (refused_text) {
        warn_of_fallback(s);
    }
    return OK;
}

/* ---- around the MPM's open_logs ----------------------------------------- */

/* An unbound TCP socket makes way for an MPTCP one. */
static int replace_unbound(ap_listen_rec *lr, apr_pool_t *pconf,
                           server_rec *s)
{
    apr_socket_t *sd;
    apr_status_t rv = mptcp_listener_new_socket(lr, IPPROTO_MPTCP,
                                                s->process->pool, &sd);

    if (rv != APR_SUCCESS) {
        return kernel_refuses(lr, rv, pconf, s);
    }
    apr_socket_close(lr->sd);
    lr->sd = sd;
    return OK;
}

/*
 * Have core make MPTCP duplicates of MPTCP listeners.  If that cannot be, they
 * are to be TCP, as a group of both kinds must not be.
 */
static int prepare_duplicates(apr_pool_t *pconf, server_rec *s)
{
    const ap_listen_rec *lr = ap_listeners;
    const char *reason;
    apr_status_t rv;

    while (lr && !mptcp_listener_wanted(lr) && !mptcp_listener_is_mptcp(lr)) {
        lr = lr->next;
    }
    if (!lr || refused_text) {
        return OK;
    }
    rv = mptcp_duplicates_begin(pconf, &reason);
    if (rv == APR_SUCCESS) {
        return OK;
    }
    return refuse(lr, rv,
                  apr_psprintf(pconf, "ListenCoresBucketsRatio would mix the "
                               "two (cannot redirect core's "
                               "apr_socket_create: %s); remove it", reason),
                  s);
}

/* Is a listener to be MPTCP, as things are? */
static int is_to_be_mptcp(const ap_listen_rec *lr, int buckets)
{
    int wanted = mptcp_listener_wanted(lr);

    if (wanted && refused_text) {
        /* one that has an MPTCP socket keeps it, but for its duplicates */
        wanted = buckets == 1 && mptcp_listener_is_mptcp(lr);
    }
    return wanted;
}

/* Too few descriptors: none of these listeners changes. */
static int keep_all(const apr_array_header_t *changes, int buckets, int left,
                    int limit, server_rec *s)
{
    int i;

    for (i = 0; i < changes->nelts; i++) {
        const ap_listen_rec *lr = APR_ARRAY_IDX(changes, i, ap_listen_rec *);

        if (is_to_be_mptcp(lr, buckets)
            && is_forbidden(lr, 0, "too few descriptors are left to "
                            "change it by a reload", s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "%d listeners keep their protocol: a reload that changes it "
                 "takes a descriptor for each, and %d are left; stop and "
                 "start httpd, or let it have 'ulimit -n %d'",
                 changes->nelts, left, limit);
    return OK;
}

/* Bound listeners get the other protocol: all of them, or none. */
static int change_all(const apr_array_header_t *changes, int buckets,
                      apr_pool_t *ptemp, server_rec *s)
{
    int grouped = buckets > 1 || mptcp_listen_buckets_before() > 1;
    int i, left, limit;
    apr_pool_t *trial;

    if (!grouped && changes->nelts > 0
        && !mptcp_descriptors_allow(s->process, changes->nelts, &left,
                                    &limit)) {
        return keep_all(changes, buckets, left, limit, s);
    }
    apr_pool_create(&trial, ptemp);
    for (i = 0; i < changes->nelts; i++) {
        ap_listen_rec *lr = APR_ARRAY_IDX(changes, i, ap_listen_rec *);
        int wanted = is_to_be_mptcp(lr, buckets);
        apr_status_t rv = mptcp_listener_change(lr, wanted, grouped,
                                                s->process, trial);

        apr_pool_clear(trial);
        if (rv == APR_SUCCESS) {
            continue;
        }
        if (wanted && is_forbidden(lr, rv, "no second socket can be bound "
                                   "beside it", s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "%pI stays %s: no second socket can be bound beside it; "
                     "each reload tries again, a stop and a start does it",
                     lr->bind_addr, wanted ? "TCP" : "MPTCP");
    }
    apr_pool_destroy(trial);
    return OK;
}

int mptcp_listen_before_bind(apr_pool_t *pconf, apr_pool_t *plog,
                             apr_pool_t *ptemp, server_rec *s)
{
    int buckets = mptcp_listen_buckets();
    apr_array_header_t *changes = apr_array_make(ptemp, 8,
                                                 sizeof(ap_listen_rec *));
    ap_listen_rec *lr;

    if (check_kernel(pconf, ptemp, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (buckets > 1) {
        if (prepare_duplicates(pconf, s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        mptcp_listener_part_twins(s->process, ptemp);
    }

    for (lr = ap_listeners; lr; lr = lr->next) {
        int wanted = is_to_be_mptcp(lr, buckets);

        if (mptcp_listener_is_inherited(lr, s->process)
            || mptcp_listener_is_mptcp(lr) == wanted
            || mptcp_listener_is_others(lr)
            /* that is a matter of steering */
            || mptcp_listener_has_twin(lr, s->process)) {
            continue;
        }
        if (lr->active) {
            APR_ARRAY_PUSH(changes, ap_listen_rec *) = lr;
        }
        else if (wanted && replace_unbound(lr, pconf, s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    mptcp_descriptors_watch(pconf, s->process);
    return change_all(changes, buckets, ptemp, s);
}

/* The listeners are bound, the error log is open. */
int mptcp_listen_after_bind(apr_pool_t *pconf, apr_pool_t *plog,
                            apr_pool_t *ptemp, server_rec *s)
{
    const ap_listen_rec *unsteered = mptcp_listener_steer(s->process, ptemp);
    ap_listen_rec *lr;

    if (unsteered && is_forbidden(unsteered, 0, "the kernel does not steer "
                                  "connections away from its TCP socket", s)
                     != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (mptcp_duplicates_end(pconf, s) && is_real_pass()) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "with ListenCoresBucketsRatio this httpd uses second "
                     "paths late: write 'AcceptFilter http none' and "
                     "'AcceptFilter https none'");
    }
    for (lr = ap_listeners; lr; lr = lr->next) {
        mptcp_listener_clear_defer_accept(lr->sd, s);
        if (mptcp_listener_wanted(lr) && !mptcp_listener_is_mptcp(lr)
            && mptcp_listener_is_inherited(lr, s->process) && is_real_pass()) {
            if (is_forbidden(lr, 0, "the service manager passed it on", s)
                != OK) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                         "%pI was passed on by the service manager and stays "
                         "TCP: write 'SocketProtocol=mptcp' in its .socket "
                         "unit (systemd 257)", lr->bind_addr);
        }
    }
    if (refused_text && is_real_pass()) {
        warn_of_fallback(s);
    }
    return OK;
}
