/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A reload that changes the protocol of a listener that is already bound,
 * without losing a connection.
 *
 * A bound socket keeps its protocol, and closing it resets whatever waits in
 * its accept queue.  So the old socket stays, as one more active record of
 * ap_listeners which the new children serve, and a second socket of the other
 * protocol is bound beside it: SO_REUSEPORT, set on both, makes them a group.
 * When both listen, a classic BPF program sends every new connection to the
 * one that is wanted.  Changing back is the program with the other index.
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
 *
 * Facts (net/core/sock_reuseport.c, Linux 4.6 to 6.18): a socket that already
 * listens joins the group as its first member when the second one listens;
 * members are numbered in the order in which they joined; a program is
 * attached through a plain TCP member (through an MPTCP socket it is refused
 * with EOPNOTSUPP), and replaces the one before at once for the whole group.
 * It runs for each packet that is of no connection yet, and sees what is
 * behind the TCP header, but by negative offsets from SKF_NET_OFF the
 * network header and all behind it.  Where it reads what is not there, the
 * packet goes to member 0.
 */

#include "listen/private.h"

#include <linux/filter.h>
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

/* ---- steering ----------------------------------------------------------- */

/* SKF_NET_OFF, as K is declared. */
#define NET ((__u32)SKF_NET_OFF)

/* A program of which connection goes to which member of a group. */
#define STEPS 24
#define PROGRAM_SIZE (13 + 10 * STEPS + 6)

/*
 * All to member OTHERS, but a packet with MP_JOIN (RFC 8684, option 30 of
 * subtype 1) to member JOINS.  X is where in the packet we are, M[0] where the
 * TCP header ends, both counted from the network header.  There are no loops,
 * and jumps on a condition go 255 instructions at most: so there are steps,
 * one for each option.  More of them stand before a join only where more than
 * 20 of its 40 bytes are padding.  An IPv6 header with extensions is taken for
 * one without: if that leads to the wrong member, it is served there as well.
 */
static int program_for_joins(struct sock_filter code[PROGRAM_SIZE],
                             int others, int joins)
{
    const struct sock_filter begin[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NET),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x40, 2, 0),
        BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 40),        /* IPv6 */
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, NET),       /* IPv4 */
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 12),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 2),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_ST, 0),
        BPF_STMT(BPF_MISC | BPF_TXA, 0),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 20)
    };
    /* A is where the next option is */
    const struct sock_filter step[] = {
        BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 0),   /* to the first end */
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 30, 0, 0),  /* to the second */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 1, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IMM, 1),          /* padding */
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 1),    /* its length */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0)
    };
    const struct sock_filter end[] = {
        BPF_STMT(BPF_RET | BPF_K, others),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 2),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x10, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, joins),
        BPF_STMT(BPF_RET | BPF_K, others)
    };
    const int last = PROGRAM_SIZE - 6;
    int at, i;

    memcpy(code, begin, sizeof(begin));
    for (i = 0, at = 13; i < STEPS; i++, at += 10) {
        memcpy(code + at, step, sizeof(step));
        code[at + 1].jt = last - (at + 2);
        code[at + 4].jt = last + 1 - (at + 5);
    }
    memcpy(code + last, end, sizeof(end));
    return PROGRAM_SIZE;
}

/* Send the group's new connections to the member of the wanted protocol. */
static apr_status_t steer(const listener_pair *pair, int wanted)
{
    struct sock_filter code[PROGRAM_SIZE] = { BPF_STMT(BPF_RET | BPF_K, 0) };
    struct sock_fprog program;
    apr_os_sock_t fd;

    memset(&program, 0, sizeof(program));   /* the gap in it, too */
    program.filter = code;
    if (wanted) {
        code[0].k = member_of(pair, 1);
        program.len = 1;
    }
    else {
        program.len = program_for_joins(code, member_of(pair, 0),
                                        member_of(pair, 1));
    }
    if (apr_os_sock_get(&fd, tcp_member(pair)->sd) != APR_SUCCESS
        || setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                      sizeof(program)) != 0) {
        return errno;
    }
    return APR_SUCCESS;
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
        rv = steer(pair, wanted);
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
