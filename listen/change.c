/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A reload that changes the protocol of a listener that is already bound,
 * without losing a connection.
 *
 * A bound socket keeps its protocol, and closing it resets whatever waits in
 * its accept queue.  So the old socket stays, as one more active record of
 * ap_listeners which the new children serve, and a second socket of the other
 * protocol is bound beside it: SO_REUSEPORT, set on both, makes them a group.
 * When both listen, a one-instruction classic BPF program sends every new
 * connection to the one that is wanted.  Changing back is the same program
 * with the other index.
 *
 * The socket that is steered away from is kept until the Listen line goes or
 * the server stops: one idle descriptor a changed listener.  Closing it would
 * save that, and cost the certainty about the indices: the kernel moves the
 * group's last socket into the gap, but only when the last child that holds
 * the closed one is gone.
 *
 * With ListenCoresBucketsRatio core has a group of its own, whose members come
 * and go with the children, so no index holds.  There the old socket is just
 * replaced, and what waits in its queue is lost when the old children go; but
 * so are the queues of core's own duplicates, on every reload.
 *
 * Facts (net/core/sock_reuseport.c, Linux 4.6 to 6.18): a socket that already
 * listens joins the group as its first member when the second one listens;
 * members are numbered in the order in which they joined; a program is
 * attached through a plain TCP member (through an MPTCP socket it is refused
 * with EOPNOTSUPP), and replaces the one before at once for the whole group.
 */

#include "listen/listen.h"

#include <linux/filter.h>
#include <sys/socket.h>

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68      /* Linux 5.3 */
#endif

APLOG_USE_MODULE(mptcp);

/* Two listening sockets of one address, in the order in which they joined. */
typedef struct {
    ap_listen_rec *member[2];
} listener_pair;

#define PAIRS_KEY "mod_mptcp:listener_pairs:1"

static apr_array_header_t *known_pairs(process_rec *process)
{
    return mptcp_process_array(process, PAIRS_KEY, sizeof(listener_pair));
}

static listener_pair *pair_of(const ap_listen_rec *lr, process_rec *process)
{
    apr_array_header_t *pairs = known_pairs(process);
    int i;

    for (i = 0; i < pairs->nelts; i++) {
        listener_pair *pair = &APR_ARRAY_IDX(pairs, i, listener_pair);

        if (pair->member[0] == lr || pair->member[1] == lr) {
            return pair;
        }
    }
    return NULL;
}

/* The number of a pair's member of a protocol. */
static int member_of(const listener_pair *pair, int is_mptcp)
{
    if (mptcp_listener_is_mptcp(pair->member[0])) {
        return is_mptcp ? 0 : 1;
    }
    return is_mptcp ? 1 : 0;
}

/* The plain TCP socket of a pair: the way to the group's program. */
static const ap_listen_rec *tcp_member(const listener_pair *pair)
{
    return pair->member[member_of(pair, 0)];
}

int mptcp_listener_has_twin(const ap_listen_rec *lr, process_rec *process)
{
    return pair_of(lr, process) != NULL;
}

static apr_status_t set_reuseport(apr_socket_t *sd, int on)
{
    apr_os_sock_t fd;

    if (apr_os_sock_get(&fd, sd) != APR_SUCCESS
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

/*
 * Would core's bind succeed?  Core ends the whole server when it does not;
 * a listener that keeps its old protocol is the lesser evil.
 */
static apr_status_t try_bind(const ap_listen_rec *lr, int protocol,
                             apr_pool_t *p)
{
    apr_socket_t *sd;
    apr_status_t rv = mptcp_listener_new_socket(lr, protocol, p, &sd);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mptcp_listener_set_options(lr, sd);
    if (rv == APR_SUCCESS) {
        rv = set_reuseport(sd, 1);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_bind(sd, lr->bind_addr);
    }
    apr_socket_close(sd);
    return rv;
}

void mptcp_listener_change(ap_listen_rec *lr, int wanted, int buckets,
                           process_rec *process)
{
    int protocol = wanted ? IPPROTO_MPTCP : 0;
    /* then it is in a group of more than core's one socket, now or before */
    int grouped = buckets
                  || mptcp_socket_option(lr->sd, SOL_SOCKET, SO_REUSEPORT) > 0;
    listener_pair *pair;
    apr_socket_t *sd;
    apr_status_t rv;

    if (pair_of(lr, process)) {
        return;                         /* a matter of steering */
    }
    rv = mptcp_listener_new_socket(lr, protocol, process->pool, &sd);
    if (rv == APR_SUCCESS
        && ((rv = set_reuseport(lr->sd, 1)) != APR_SUCCESS
            || (rv = set_reuseport(sd, 1)) != APR_SUCCESS
            || (rv = try_bind(lr, protocol, process->pool)) != APR_SUCCESS)) {
        apr_socket_close(sd);
        /* or the next reload would take it for one of a group */
        set_reuseport(lr->sd, grouped);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, ap_server_conf,
                     "%pI stays %s: no second socket can be bound beside it; "
                     "each reload tries again, a stop and a start does it",
                     lr->bind_addr, wanted ? "TCP" : "MPTCP");
        return;
    }

    if (grouped) {
        apr_socket_close(lr->sd);       /* the old children still have it */
    }
    else {
        pair = apr_array_push(known_pairs(process));
        pair->member[0] = apr_pmemdup(process->pool, lr, sizeof(*lr));
        pair->member[1] = lr;           /* listens second, in core's hands */
        lr->next = pair->member[0];
    }
    lr->sd = sd;
    lr->active = 0;
}

/* Take a record out of ap_listeners and close its socket. */
static void remove_listener(ap_listen_rec *lr)
{
    ap_listen_rec **at;

    for (at = &ap_listeners; *at; at = &(*at)->next) {
        if (*at == lr) {
            *at = lr->next;
            break;
        }
    }
    apr_socket_close(lr->sd);
    lr->active = 0;
}

void mptcp_listener_part_twins(process_rec *process)
{
    apr_array_header_t *pairs = known_pairs(process);
    const listener_pair *pair;

    /* all of them listen: those whose line is gone have been forgotten */
    while ((pair = apr_array_pop(pairs))) {
        const ap_listen_rec *tcp = tcp_member(pair);
        int wanted = mptcp_listener_wanted(tcp);
        apr_os_sock_t fd;
        int unused = 0;

        if (apr_os_sock_get(&fd, tcp->sd) == APR_SUCCESS) {
            setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused,
                       sizeof(unused));
        }
        remove_listener(pair->member[member_of(pair, !wanted)]);
    }
}

/* Send the group's new connections to its member number INDEX. */
static apr_status_t steer(const listener_pair *pair, int index)
{
    struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
    struct sock_fprog program;
    apr_os_sock_t fd;

    memset(&program, 0, sizeof(program));   /* the gap in it, too */
    program.len = 1;
    program.filter = code;
    code[0].k = index;
    if (apr_os_sock_get(&fd, tcp_member(pair)->sd) != APR_SUCCESS
        || setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                      sizeof(program)) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

void mptcp_listener_steer(process_rec *process)
{
    apr_array_header_t *pairs = known_pairs(process);
    int i;

    for (i = pairs->nelts - 1; i >= 0; i--) {
        listener_pair *pair = &APR_ARRAY_IDX(pairs, i, listener_pair);
        /* the directive finds both records, but for the first time one */
        int wanted = mptcp_listener_wanted(pair->member[0])
                     || mptcp_listener_wanted(pair->member[1]);
        apr_status_t rv;

        if (!pair->member[0]->active || !pair->member[1]->active) {
            /* the Listen line is gone, and core has closed both */
            *pair = APR_ARRAY_IDX(pairs, pairs->nelts - 1, listener_pair);
            apr_array_pop(pairs);
            continue;
        }
        rv = steer(pair, member_of(pair, wanted));
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, ap_server_conf,
                         "%pI serves both TCP and MPTCP: "
                         "SO_ATTACH_REUSEPORT_CBPF; each reload tries again, "
                         "a stop and a start does it",
                         pair->member[0]->bind_addr);
        }
    }
}
