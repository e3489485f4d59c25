/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One listener's socket: made, known, and put right.
 */

#include "listen/private.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

int mptcp_listener_is_mptcp(const ap_listen_rec *lr)
{
    return mptcp_socket_option(lr->sd, SOL_SOCKET, SO_PROTOCOL)
           == IPPROTO_MPTCP;
}

int mptcp_listener_is_others(const ap_listen_rec *lr)
{
    int protocol;

    return mptcp_listener_is_mptcp(lr)
           && apr_socket_protocol_get(lr->sd, &protocol) == APR_SUCCESS
           && protocol != IPPROTO_MPTCP;
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

/*
 * Core sets TCP_DEFER_ACCEPT on http and https listeners (AcceptFilter), on
 * every restart anew.  There it makes the kernel drop the bare third ACK of
 * each MP_JOIN, so that no second path is used for about 31 seconds (Linux
 * 6.18).  What it is for, not waking a process before the request is there,
 * is worth less on an MPTCP listener.
 */
void mptcp_listener_clear_defer_accept(apr_socket_t *sd, server_rec *s)
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

/* ---- sockets that a service manager passed on --------------------------- */

/*
 * ap_listen_rec *, in process->pool, since what tells them is only there at
 * first.
 */
#define INHERITED_KEY "mod_mptcp:inherited:1"

static apr_array_header_t *inherited_listeners(process_rec *process)
{
    apr_array_header_t *inherited = mptcp_kept(process->pool, INHERITED_KEY);

    if (!inherited) {
        inherited = apr_array_make(process->pool, 1, sizeof(ap_listen_rec *));
        mptcp_keep(process->pool, INHERITED_KEY, inherited);
    }
    return inherited;
}

int mptcp_listener_is_inherited(const ap_listen_rec *lr,
                                process_rec *process)
{
    const apr_array_header_t *inherited = inherited_listeners(process);
    int i;

    for (i = 0; i < inherited->nelts; i++) {
        if (APR_ARRAY_IDX(inherited, i, ap_listen_rec *) == lr) {
            return 1;
        }
    }
    return 0;
}

/*
 * Descriptors that were passed on begin at 3 (sd_listen_fds(3)), if they were
 * passed to this very process: the environment is inherited further.  At its
 * first pass httpd has not gone into the background yet.  httpds that
 * know socket activation make records of them which look like core's own, and
 * take LISTEN_FDS out of the environment when the listeners are set up.
 */
void mptcp_listeners_note_inherited(process_rec *process)
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
            && fd >= 3 && fd - 3 < n
            && !mptcp_listener_is_inherited(lr, process)) {
            APR_ARRAY_PUSH(inherited_listeners(process), ap_listen_rec *) = lr;
        }
    }
}
