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
 * then they are bound already.  listen_change.c deals with those whose
 * protocol is no longer the one wanted.  Sockets that a service manager
 * passed on are its own business: they are left alone, and reported.
 */

#include "mod_mptcp.h"

#include "http_main.h"                  /* ap_run_mode */

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

int mptcp_socket_option(apr_socket_t *sd, int level, int option)
{
    apr_os_sock_t fd;
    int value = -1;
    socklen_t length = sizeof(value);

    if (apr_os_sock_get(&fd, sd) != APR_SUCCESS
        || getsockopt(fd, level, option, &value, &length) != 0) {
        return -1;
    }
    return value;
}

apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd)
{
    return apr_socket_create(sd, lr->bind_addr->family, SOCK_STREAM, protocol,
                             p);
}

apr_status_t mptcp_listener_set_options(const ap_listen_rec *lr,
                                        apr_socket_t *sd)
{
    apr_status_t rv = apr_socket_opt_set(sd, APR_SO_REUSEADDR, 1);

    if (rv == APR_SUCCESS) {
        rv = apr_socket_opt_set(sd, APR_SO_KEEPALIVE, 1);
    }
    if (rv == APR_SUCCESS && lr->bind_addr->family == APR_INET6) {
        rv = apr_socket_opt_set(sd, APR_IPV6_V6ONLY,
                                mptcp_socket_option(lr->sd, IPPROTO_IPV6,
                                                    IPV6_V6ONLY) > 0);
    }
    return rv;
}

int mptcp_listener_is_mptcp(const ap_listen_rec *lr)
{
    return mptcp_socket_option(lr->sd, SOL_SOCKET, SO_PROTOCOL)
           == IPPROTO_MPTCP;
}

/*
 * The listeners whose sockets a service manager passed on: ap_listen_rec *, in
 * process->pool, since what tells them is only there at first.
 */
#define INHERITED_KEY "mod_mptcp:inherited:1"

static apr_array_header_t *inherited_listeners(process_rec *process)
{
    return mptcp_process_array(process, INHERITED_KEY,
                               sizeof(ap_listen_rec *));
}

static int is_inherited(const ap_listen_rec *lr, process_rec *process)
{
    return mptcp_array_has(inherited_listeners(process), lr);
}

/*
 * Descriptors that were passed on begin at 3 (sd_listen_fds(3)), if they were
 * passed to this very process: the environment is inherited further.  At its
 * first pass httpd has not gone into the background yet.  httpds that
 * know socket activation make records of them which look like core's own, and
 * take LISTEN_FDS out of the environment when the listeners are set up.
 */
static void note_inherited(process_rec *process)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    apr_int64_t n = count ? apr_strtoi64(count, NULL, 10) : 0;
    ap_listen_rec *lr;

    if (!pid || apr_strtoi64(pid, NULL, 10) != getpid()) {
        return;
    }
    for (lr = ap_listeners; lr; lr = lr->next) {
        apr_os_sock_t fd;

        if (apr_os_sock_get(&fd, lr->sd) == APR_SUCCESS
            && fd >= 3 && fd - 3 < n && !is_inherited(lr, process)) {
            APR_ARRAY_PUSH(inherited_listeners(process), ap_listen_rec *) = lr;
        }
    }
}

/* Is this process about to serve, not just reading the configuration? */
static int is_real_pass(void)
{
    return ap_run_mode == AP_SQ_RM_NORMAL && !mptcp_is_check_pass();
}

/* ---- ListenCoresBucketsRatio -------------------------------------------- */

/* Are there to be buckets?  ListenCoresBucketsRatio is core's own setting. */
static int has_buckets(void)
{
    const ap_directive_t *line;

    for (line = ap_conftree; line; line = line->next) {
        if (ap_cstr_casecmp(line->directive, "ListenCoresBucketsRatio") == 0) {
            return 1;
        }
    }
    return 0;
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

    if (rv != APR_SUCCESS || ap_run_mode == AP_SQ_RM_CONFIG_TEST) {
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

static void warn_of_fallback(const mptcp_server_conf *conf, server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, conf->listen_status, s,
                 "MPTCP listeners serve by plain TCP: %s",
                 conf->listen_refusal);
}

/* Note why it is TCP; non-OK if that is not to be put up with. */
static int refused(mptcp_server_conf *conf, const ap_listen_rec *lr,
                   apr_status_t status, const char *why, server_rec *s)
{
    conf->listen_status = status;
    conf->listen_refusal = why;
    if (conf->fallback != 0) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, status, s,
                 "%pI is to be MPTCP, and MPTCPFallback Off forbids TCP: %s",
                 lr->bind_addr, why);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int kernel_refused(mptcp_server_conf *conf, const ap_listen_rec *lr,
                          apr_status_t status, apr_pool_t *pconf,
                          server_rec *s)
{
    return refused(conf, lr, status,
                   apr_pstrcat(pconf, "the kernel gives no MPTCP socket, ",
                               mptcp_refusal_text(status), NULL), s);
}

/*
 * If a listener lacks an MPTCP socket that it is to have, ask the kernel for
 * one.  With buckets it is to have more at every restart.
 */
static int check_kernel(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    const ap_listen_rec *lr;
    apr_socket_t *sd;
    apr_status_t rv;
    int buckets = has_buckets();

    note_inherited(s->process);
    for (lr = ap_listeners; lr; lr = lr->next) {
        if (mptcp_listener_wanted(conf, lr) && !is_inherited(lr, s->process)
            && (buckets
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
    return rv == APR_SUCCESS ? OK : kernel_refused(conf, lr, rv, pconf, s);
}

/*
 * check_config, for httpd -t.  A server asks in before_bind(): httpd -k stop,
 * which gets this far, is not to be kept from it by what the kernel refuses.
 */
static int test_kernel(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s)
{
    (void)plog;
    if (ap_run_mode != AP_SQ_RM_CONFIG_TEST) {
        return OK;
    }
    if (check_kernel(pconf, ptemp, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* a server says so in after_bind(), when its error log is open */
    if (mptcp_main_conf()->listen_status != APR_SUCCESS) {
        warn_of_fallback(mptcp_main_conf(), s);
    }
    return OK;
}

/* ---- TCP_DEFER_ACCEPT --------------------------------------------------- */

/*
 * Core sets TCP_DEFER_ACCEPT on http and https listeners (AcceptFilter), on
 * every restart anew.  There it makes the kernel drop the bare third ACK of
 * each MP_JOIN, so that no second path is used for about 31 seconds (Linux
 * 6.18).  What it is for, not waking a process before the request is there,
 * is worth less on an MPTCP listener.
 */
static void clear_defer_accept(apr_socket_t *sd, server_rec *s)
{
    apr_os_sock_t fd;
    int off = 0;

    if (mptcp_socket_option(sd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_MPTCP
        /* a kernel that cannot clear it could not set it either */
        || mptcp_socket_option(sd, IPPROTO_TCP, TCP_DEFER_ACCEPT) <= 0
        || apr_os_sock_get(&fd, sd) != APR_SUCCESS) {
        return;
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof(off))) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "cannot clear TCP_DEFER_ACCEPT on an MPTCP listener, so "
                     "that second paths will be used late: write "
                     "'AcceptFilter http none' and 'AcceptFilter https none'");
    }
}

/* ---- duplicates for buckets --------------------------------------------- */

#ifdef AP_LISTEN_MPTCP

/*
 * Trunk makes the duplicates after its last hook in the parent, by the flags
 * of the originals.  It sets TCP_DEFER_ACCEPT on them, out of our reach.
 */
static apr_status_t begin_duplicates(apr_pool_t *pconf, const char **reason)
{
    (void)pconf;
    (void)reason;
    return APR_SUCCESS;
}

/* pconf cleanup: the next configuration is to see the flags that it set. */
static apr_status_t clear_flag(void *data)
{
    ap_listen_rec *lr = data;           /* in process->pool */

    lr->flags &= ~AP_LISTEN_MPTCP;
    return APR_SUCCESS;
}

static void end_duplicates(apr_pool_t *pconf, server_rec *s)
{
    ap_listen_rec *lr;
    int any = 0;

    for (lr = ap_listeners; lr; lr = lr->next) {
        /* not one that a reload has steered connections away from */
        if (!mptcp_listener_is_mptcp(lr)
            || !mptcp_listener_wanted(mptcp_main_conf(), lr)) {
            continue;
        }
        any = 1;
        if (!(lr->flags & AP_LISTEN_MPTCP)) {
            lr->flags |= AP_LISTEN_MPTCP;
            apr_pool_cleanup_register(pconf, lr, clear_flag,
                                      apr_pool_cleanup_null);
        }
    }
    if (any && has_buckets() && is_real_pass()) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "with ListenCoresBucketsRatio this httpd uses second "
                     "paths late: write 'AcceptFilter http none' and "
                     "'AcceptFilter https none'");
    }
}

#else

/*
 * Within the MPM's open_logs, core makes a duplicate of each listener for each
 * further bucket: on 2.4 always with a TCP socket, and the kernel would spread
 * connections over a SO_REUSEPORT group of both kinds.  So while that hook
 * runs, core's import of apr_socket_create() is redirected to where each
 * duplicate gets its original's protocol, and is remembered, since core tells
 * nobody about them.  Nothing else in core makes sockets then.  All of this
 * happens in the parent, with a single thread, and ends with the hook.
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

static apr_status_t begin_duplicates(apr_pool_t *pconf, const char **reason)
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

static void end_duplicates(apr_pool_t *pconf, server_rec *s)
{
    int i;

    (void)pconf;
    if (!duplicates_pool) {
        return;
    }
    for (i = 0; i < duplicates->nelts; i++) {
        clear_defer_accept(APR_ARRAY_IDX(duplicates, i, apr_socket_t *), s);
    }
    apr_pool_destroy(duplicates_pool);
    duplicates_pool = NULL;
}

#endif /* AP_LISTEN_MPTCP */

/* ---- around the MPM's open_logs ----------------------------------------- */

/* An unbound TCP socket makes way for an MPTCP one. */
static int replace_unbound(ap_listen_rec *lr, mptcp_server_conf *conf,
                           apr_pool_t *pconf, server_rec *s)
{
    apr_socket_t *sd;
    apr_status_t rv = mptcp_listener_new_socket(lr, IPPROTO_MPTCP,
                                                s->process->pool, &sd);

    if (rv != APR_SUCCESS) {
        return kernel_refused(conf, lr, rv, pconf, s);
    }
    apr_socket_close(lr->sd);
    lr->sd = sd;
    return OK;
}

/*
 * Have core make MPTCP duplicates of MPTCP listeners.  If that cannot be, they
 * are to be TCP, as a group of both kinds must not be.
 */
static int prepare_duplicates(mptcp_server_conf *conf, apr_pool_t *pconf,
                              server_rec *s)
{
    const ap_listen_rec *lr = ap_listeners;
    const char *reason;
    apr_status_t rv;

    while (lr && !mptcp_listener_wanted(conf, lr)
           && !mptcp_listener_is_mptcp(lr)) {
        lr = lr->next;
    }
    if (!lr || conf->listen_status != APR_SUCCESS) {
        return OK;
    }
    rv = begin_duplicates(pconf, &reason);
    if (rv == APR_SUCCESS) {
        return OK;
    }
    return refused(conf, lr, rv,
                   apr_psprintf(pconf, "ListenCoresBucketsRatio would mix the "
                                "two (cannot redirect core's "
                                "apr_socket_create: %s); remove it", reason),
                   s);
}

/* open_logs, before the MPM: give each listener a socket of its protocol. */
static int before_bind(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    int buckets = has_buckets();
    ap_listen_rec *lr, *next;

    (void)plog;
    if (check_kernel(pconf, ptemp, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (buckets) {
        if (prepare_duplicates(conf, pconf, s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        mptcp_listener_part_twins(conf, s->process);
    }

    for (lr = ap_listeners; lr; lr = next) {
        int wanted = mptcp_listener_wanted(conf, lr);

        next = lr->next;                /* a change inserts behind lr */
        if (wanted && conf->listen_status != APR_SUCCESS) {
            /* one that has an MPTCP socket keeps it, but for its duplicates */
            wanted = !buckets && mptcp_listener_is_mptcp(lr);
        }
        if (is_inherited(lr, s->process)
            || mptcp_listener_is_mptcp(lr) == wanted) {
            continue;
        }
        if (lr->active) {
            mptcp_listener_change(lr, wanted, buckets, s->process);
        }
        else if (wanted && replace_unbound(lr, conf, pconf, s) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* open_logs, after the MPM: the listeners are bound, the error log is open. */
static int after_bind(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    ap_listen_rec *lr;

    (void)pconf;
    (void)plog;
    (void)ptemp;
    mptcp_listener_steer(conf, s->process);
    end_duplicates(pconf, s);
    for (lr = ap_listeners; lr; lr = lr->next) {
        clear_defer_accept(lr->sd, s);
        if (mptcp_listener_wanted(conf, lr) && !mptcp_listener_is_mptcp(lr)
            && is_inherited(lr, s->process) && is_real_pass()) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                         "%pI was passed on by the service manager and stays "
                         "TCP: write 'SocketProtocol=mptcp' in its .socket "
                         "unit (systemd 257)", lr->bind_addr);
        }
    }
    if (conf->listen_status != APR_SUCCESS && is_real_pass()) {
        warn_of_fallback(conf, s);
    }
    return OK;
}

void mptcp_listen_register_hooks(void)
{
    /*
     * The MPM binds the listeners in its own open_logs hook, which it puts
     * first of all and before core.c's (or stderr would go to the log too
     * early): the same place with the MPMs named as successors is before
     * them, and with core.c named too it is, like theirs, before core's.
     */
    static const char *const mpms_and_core[] = {
        "event.c", "worker.c", "prefork.c", "core.c", NULL
    };

    ap_hook_check_config(test_kernel, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_open_logs(before_bind, NULL, mpms_and_core,
                      APR_HOOK_REALLY_FIRST);
    /* MIDDLE is after all of these: the listeners are bound, the log open */
    ap_hook_open_logs(after_bind, mpms_and_core, NULL, APR_HOOK_MIDDLE);
}
