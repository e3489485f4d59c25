/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A reload that changes the protocol of a listener that is already bound,
 * without losing a connection.
 *
 * A bound socket keeps its protocol, and closing it resets whatever waits in
 * its accept queue.  So the old socket stays, as one more active record of
 * ap_listeners which the new children serve, and a second socket of the other
 * protocol is bound beside it: SO_REUSEPORT, set on both, makes them a group.
 * When both listen, the kernel is told to send every new connection to the one
 * that is wanted (steering.c).  Changing back is to name the other one.
 *
 * Connections that were accepted by MPTCP live on when new ones come by TCP,
 * and take further paths: those arrive at the listener's port, too, and only
 * an MPTCP socket knows what they are.  So to it goes a SYN that joins.
 *
 * The socket that is steered away from is kept until the Listen line goes or
 * the server stops: one idle descriptor a changed listener.  Closing it would
 * save that, and cost the certainty about the indices: the kernel moves the
 * group's last socket into the gap, but only when the last child that holds
 * the closed one is gone.
 *
 * Where ListenCoresBucketsRatio gives more than one bucket, core has a group
 * of its own, whose members come and go with the children, so no index holds.
 * There the old socket is just replaced, and what waits in its queue is lost
 * when the old children go; but so are the queues of core's own duplicates,
 * on every reload.
 */

#include "listen/private.h"

#include <sys/socket.h>

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68      /* Linux 5.3 */
#endif

APLOG_USE_MODULE(mptcp);

/* Two listening sockets of one address, in the order in which they joined. */
typedef struct {
    ap_listen_rec *member[2];
    /* the protocol that connections have been steered to, or 0 */
    int steered_to;
} listener_pair;

/*
 * The pairs outlive restarts, as the records do: in process->pool, a hash in
 * which each is found by both of its records.
 */
#define PAIRS_KEY "mod_mptcp:listener_pairs:2"

static apr_hash_t *known_pairs(process_rec *process)
{
    apr_hash_t *pairs = mptcp_kept(process->pool, PAIRS_KEY);

    if (!pairs) {
        pairs = apr_hash_make(process->pool);
        mptcp_keep(process->pool, PAIRS_KEY, pairs);
    }
    return pairs;
}

static void know_pair(process_rec *process, listener_pair *pair, int is_known)
{
    int i;

    for (i = 0; i < 2; i++) {
        apr_hash_set(known_pairs(process), &pair->member[i],
                     sizeof(void *), is_known ? pair : NULL);
    }
}

static listener_pair *pair_of(const ap_listen_rec *lr, process_rec *process)
{
    return apr_hash_get(known_pairs(process), &lr, sizeof(void *));
}

/* All of them, once each: listener_pair *. */
static apr_array_header_t *all_pairs(process_rec *process, apr_pool_t *p)
{
    apr_hash_t *known = known_pairs(process);
    apr_array_header_t *pairs = apr_array_make(p, 8, sizeof(listener_pair *));
    apr_hash_index_t *at;

    for (at = apr_hash_first(p, known); at; at = apr_hash_next(at)) {
        const void *key;
        void *value;
        listener_pair *pair;

        apr_hash_this(at, &key, NULL, &value);
        pair = value;
        if (key == &pair->member[0]) {
            APR_ARRAY_PUSH(pairs, listener_pair *) = pair;
        }
    }
    return pairs;
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

apr_status_t mptcp_listener_change(ap_listen_rec *lr, int wanted, int grouped,
                                   process_rec *process, apr_pool_t *ptemp)
{
    int protocol = wanted ? IPPROTO_MPTCP : 0;
    int shared = mptcp_socket_option(lr->sd, SOL_SOCKET, SO_REUSEPORT) > 0;
    listener_pair *pair;
    apr_socket_t *sd = NULL;
    apr_status_t rv = set_reuseport(lr->sd, 1);

    if (rv == APR_SUCCESS) {
        rv = try_bind(lr, protocol, ptemp);
    }
    /* what is in process->pool stays there, so not before the trial */
    if (rv == APR_SUCCESS) {
        rv = mptcp_listener_new_socket(lr, protocol, process->pool, &sd);
    }
    if (rv == APR_SUCCESS && (rv = set_reuseport(sd, 1)) != APR_SUCCESS) {
        apr_socket_close(sd);
    }
    if (rv != APR_SUCCESS) {
        set_reuseport(lr->sd, shared);
        return rv;
    }

    if (grouped) {
        apr_socket_close(lr->sd);       /* the old children still have it */
    }
    else {
        pair = apr_pcalloc(process->pool, sizeof(*pair));
        pair->member[0] = apr_pmemdup(process->pool, lr, sizeof(*lr));
        pair->member[1] = lr;           /* listens second, in core's hands */
        lr->next = pair->member[0];
        know_pair(process, pair, 1);
    }
    lr->sd = sd;
    lr->active = 0;
    return APR_SUCCESS;
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

void mptcp_listener_part_twins(process_rec *process, apr_pool_t *ptemp)
{
    apr_array_header_t *pairs = all_pairs(process, ptemp);
    int i;

    /* all of them listen: those whose line is gone have been forgotten */
    for (i = 0; i < pairs->nelts; i++) {
        listener_pair *pair = APR_ARRAY_IDX(pairs, i, listener_pair *);
        const ap_listen_rec *tcp = tcp_member(pair);
        int wanted = mptcp_listener_wanted(tcp);
        apr_os_sock_t fd;
        int unused = 0;

        if (apr_os_sock_get(&fd, tcp->sd) == APR_SUCCESS) {
            setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused,
                       sizeof(unused));
        }
        know_pair(process, pair, 0);
        remove_listener(pair->member[member_of(pair, !wanted)]);
    }
}

const ap_listen_rec *mptcp_listener_steer(process_rec *process,
                                          apr_pool_t *ptemp)
{
    apr_array_header_t *pairs = all_pairs(process, ptemp);
    const ap_listen_rec *failed = NULL;
    apr_status_t rv;
    int i;

    for (i = 0; i < pairs->nelts; i++) {
        listener_pair *pair = APR_ARRAY_IDX(pairs, i, listener_pair *);
        int wanted = mptcp_listener_wanted(pair->member[0]);
        int protocol = wanted ? IPPROTO_MPTCP : IPPROTO_TCP;

        if (!pair->member[0]->active || !pair->member[1]->active) {
            /* the Listen line is gone, and core has closed both */
            know_pair(process, pair, 0);
            continue;
        }
        if (pair->steered_to == protocol) {
            continue;                   /* the program is still there */
        }
        rv = mptcp_steer(tcp_member(pair), member_of(pair, wanted),
                         member_of(pair, 1));
        pair->steered_to = rv == APR_SUCCESS ? protocol : 0;
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, ap_server_conf,
                         "%pI serves both TCP and MPTCP: "
                         "SO_ATTACH_REUSEPORT_CBPF; each reload tries again, "
                         "a stop and a start does it",
                         pair->member[0]->bind_addr);
            if (wanted) {
                failed = pair->member[0];
            }
        }
    }
    return failed;
}
