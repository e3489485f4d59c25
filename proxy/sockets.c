/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The sockets by which mod_proxy connects to backends: MPTCP for workers and
 * servers that ask for it, and counted once they are connected.
 */

#include "proxy/private.h"

APLOG_USE_MODULE(mptcp);

/*
 * For whom this thread is connecting; s is NULL when it is not.  There is no
 * worker for a CONNECT tunnel.
 */
static __thread struct {
    const proxy_worker *worker;
    const server_rec *s;
    int made;                   /* a socket, of one that wants MPTCP; which
                                   protocol, or 0 */
} connecting;

/* What this thread's connection is counted as, or NULL. */
static const mptcp_counted *connecting_counted(void)
{
    return mptcp_counted_worker(connecting.worker
                                ? mptcp_worker_name(mptcp_worker_checked(
                                      connecting.worker))
                                : NULL);
}

/*
 * Is it the first time, of all children together, that it is said of this
 * worker?  Without shared memory for counters, each child says it once.
 */
static int is_first_refusal(void)
{
    static int has_said;
    const mptcp_counted *one = connecting_counted();

    return one ? mptcp_counter_say_first(one->counter)
               : !__atomic_exchange_n(&has_said, 1, __ATOMIC_RELAXED);
}

/* What the log is told when the kernel refuses an MPTCP socket. */
static void say_refused(apr_status_t refused, int fallback, apr_pool_t *p)
{
    const proxy_worker *worker = connecting.worker;
    const char *whose = "worker";
    const char *name;

    if (!is_first_refusal()) {
        return;
    }
    if (worker) {
        name = mptcp_worker_name(mptcp_worker_checked(worker));
        name = mptcp_shown_name(p, name);
    }
    else {
        whose = "CONNECT of server";
        name = connecting.s->server_hostname ? connecting.s->server_hostname
                                             : "(no name)";
    }
    if (fallback) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, refused, connecting.s,
                     "%s %s connects by plain TCP: the kernel gives no MPTCP "
                     "socket, %s", whose, name,
                     mptcp_refusal_text(p, refused));
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_ERR, refused, connecting.s,
                     "%s %s cannot connect: the kernel gives no MPTCP socket, "
                     "%s; MPTCPFallback On would use plain TCP", whose, name,
                     mptcp_refusal_text(p, refused));
    }
}

apr_status_t mptcp_backend_socket(apr_socket_t **sd, int family, int type,
                                  int protocol, apr_pool_t *p)
{
    apr_status_t rv;
    int fallback;

    /* sockets of other kinds (Unix domain) are none of our business */
    if (!connecting.s || type != SOCK_STREAM
        || (family != APR_INET && family != APR_INET6)) {
        return apr_socket_create(sd, family, type, protocol, p);
    }
    if (!(connecting.worker
          ? mptcp_worker_wants(connecting.worker, connecting.s)
          : mptcp_proxy_default(connecting.s))) {
        /* trunk's mod_proxy asks what an inherited worker of that URL says */
        return apr_socket_create(sd, family, type,
                                 protocol == IPPROTO_MPTCP ? APR_PROTO_TCP
                                 : protocol, p);
    }

    rv = apr_socket_create(sd, family, type, IPPROTO_MPTCP, p);
    connecting.made = IPPROTO_MPTCP;
    if (rv == APR_SUCCESS) {
        mptcp_lifeline_begin(*sd, p);
        return rv;
    }
    if (mptcp_is_shortage(rv)) {
        return rv;
    }
    fallback = mptcp_global()->fallback;
    connecting.made = APR_PROTO_TCP;
    say_refused(rv, fallback, p);
    if (!fallback) {
        return rv;
    }
    return apr_socket_create(sd, family, type, APR_PROTO_TCP, p);
}

/* Count what this thread has connected.  One system call. */
static void count_backend(apr_socket_t *sd, int made_as)
{
    const mptcp_counted *one = connecting_counted();
    mptcp_counts established = { 0 };
    mptcp_reading reading = { 0 };
    apr_sockaddr_t *peer;
    apr_os_sock_t fd;

    if (!one || apr_os_sock_get(&fd, sd) != APR_SUCCESS) {
        return;
    }
    if (made_as == IPPROTO_MPTCP) {
        mptcp_connection_ask(fd, IPPROTO_MPTCP, &reading);
    }
    switch (reading.state) {
    case MPTCP_STATE_ON:
        established.mptcp = 1;
        break;
    case MPTCP_STATE_FALLBACK:
        established.fallback = 1;
        break;
    default:
        established.tcp = 1;
        break;
    }
    mptcp_counts_add(one->counter, &established);
    if (made_as == IPPROTO_MPTCP
        && apr_socket_addr_get(&peer, APR_REMOTE, sd) == APR_SUCCESS) {
        mptcp_counter_note_peer(one->counter, peer);
    }
}

void mptcp_backend_connecting(const proxy_worker *worker, const server_rec *s)
{
    connecting.worker = worker;
    connecting.s = s;
    connecting.made = 0;
}

void mptcp_backend_connected(apr_socket_t *sd)
{
    /* not where it made none: the connection was there already */
    if (connecting.made && sd) {
        count_backend(sd, connecting.made);
    }
    connecting.s = NULL;
}
