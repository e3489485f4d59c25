/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Live connections: the kernel's MPTCP sockets, and its TCP sockets that are
 * their subflows.
 *
 * By what a subflow's connection is found:
 *
 *   its token, where the kernel says it: to everybody since Linux 6.15 or so,
 *       before to CAP_NET_ADMIN alone, which children do not have;
 *   its inode: the kernel gives each subflow that of its connection, to have
 *       it shown as the same process's (mptcp_subflow_create_socket(),
 *       mptcp_sock_graft(); the same on 6.1, 6.12 and 6.18);
 *   its addresses, while no process has the connection yet, or any more, and
 *       all inodes are 0: those of the first subflow are the connection's.
 *
 * So what stays unknown before 6.15 is whether a subflow is backup, and the
 * further subflows of connections without a process.  Those are like plain
 * connections without one then, and neither are counted.
 *
 * All of it is looked up in hashes, so time and memory are linear in the
 * number of sockets.  Nothing is shared with other threads: each call has a
 * netlink socket of its own and closes it.
 */

#include "status/private.h"

#include <netlink/netlink.h>            /* nl_socket_free() */

/* After so long what has come is what is shown. */
#define LIVE_TIME_LIMIT apr_time_from_sec(3)

/* While the kernel answers. */
typedef struct {
    apr_pool_t *p;
    status_live *live;
    /* status_connection *, by: */
    apr_hash_t *by_token;
    apr_hash_t *by_inode;
    apr_hash_t *by_ends;                /* of those without an inode */
    int says_subflows;                  /* the kernel, by tokens */
    int tcp_without_inode;              /* and of no known connection */
    apr_hash_t *interfaces;             /* status_interface * */
    apr_hash_t *peers;                  /* of workers */
    apr_time_t deadline;
} live_reader;

static int compare_ends(const mptcp_end *a, const mptcp_end *b)
{
    int difference = a->family - b->family;

    if (!difference) {
        difference = memcmp(a->address, b->address, sizeof(a->address));
    }
    return difference ? difference : (int)a->port - (int)b->port;
}

const char *status_connection_at(const status_connection *c)
{
    return c->worker ? c->worker->name : c->listener->name;
}

/* ---- connections and their subflows ------------------------------------- */

const mptcp_counted *status_listener_at(const mptcp_end *local)
{
    apr_sockaddr_t sa;

    memset(&sa, 0, sizeof(sa));
    sa.family = local->family;
    sa.port = local->port;
    sa.ipaddr_len = mptcp_address_length(local->family);
    sa.ipaddr_ptr = (void *)local->address;
    return mptcp_counted_listener(&sa);
}

/* Both ends of a socket, as a key. */
typedef struct {
    mptcp_end local, remote;
} ends_key;

static void set_key(ends_key *key, const mptcp_end *local,
                    const mptcp_end *remote)
{
    /* and not by assignment: with what is between the members, which is 0 */
    memcpy(&key->local, local, sizeof(*local));
    memcpy(&key->remote, remote, sizeof(*remote));
}

static void remember(live_reader *reader, status_connection *c,
                     const mptcp_socket *found)
{
    if (found->token) {
        apr_hash_set(reader->by_token, &c->reading.info.token,
                     sizeof(c->reading.info.token), c);
    }
    if (found->inode) {
        apr_hash_set(reader->by_inode,
                     apr_pmemdup(reader->p, &found->inode,
                                 sizeof(found->inode)),
                     sizeof(found->inode), c);
    }
    else {
        ends_key *key = apr_palloc(reader->p, sizeof(*key));

        set_key(key, &found->local, &found->remote);
        apr_hash_set(reader->by_ends, key, sizeof(*key), c);
    }
}

/* The connection that a TCP socket is a subflow of, or NULL. */
static status_connection *connection_of(live_reader *reader,
                                        const mptcp_socket *found)
{
    if (found->says_subflow) {
        return apr_hash_get(reader->by_token, &found->token,
                            sizeof(found->token));
    }
    if (found->inode) {
        return apr_hash_get(reader->by_inode, &found->inode,
                            sizeof(found->inode));
    }
    if (apr_hash_count(reader->by_ends)) {
        ends_key key;

        set_key(&key, &found->local, &found->remote);
        return apr_hash_get(reader->by_ends, &key, sizeof(key));
    }
    return NULL;
}

/* An MPTCP socket: a connection, if it is this server's own. */
static int take_connection(const mptcp_socket *found, void *baton)
{
    live_reader *reader = baton;
    const mptcp_counted *listener = NULL;
    const mptcp_counted *worker = mptcp_counted_peer(reader->peers,
                                                     &found->remote);
    status_connection *c;

    if (!worker) {
        listener = status_listener_at(&found->local);
    }
    if (worker || listener) {
        c = apr_pcalloc(reader->p, sizeof(*c));
        c->local = found->local;
        c->remote = found->remote;
        c->listener = listener;
        c->worker = worker;
        c->state = found->state;
        c->reading = found->reading;
        APR_ARRAY_PUSH(reader->live->connections, status_connection *) = c;
        remember(reader, c, found);
    }
    reader->live->incomplete = apr_time_now() > reader->deadline;
    return !reader->live->incomplete;
}

/* Where it belongs among the subflows of its connection: order by address. */
static void insert_subflow(status_connection *c, status_subflow *subflow)
{
    status_subflow **at = &c->subflows;

    while (*at) {
        int difference = compare_ends(&(*at)->socket.local,
                                      &subflow->socket.local);

        if (!difference) {
            difference = compare_ends(&(*at)->socket.remote,
                                      &subflow->socket.remote);
        }
        if (difference > 0) {
            break;
        }
        at = &(*at)->next;
    }
    subflow->next = *at;
    *at = subflow;
}

static void add_to_sums(status_connection *c, const mptcp_socket *s)
{
    if (c->count++ == 0 || s->idle_ms < c->idle_ms) {
        c->idle_ms = s->idle_ms;
    }
    if (s->stalled) {
        c->stalled++;
        if (s->unheard_ms > c->stalled_ms) {
            c->stalled_ms = s->unheard_ms;
        }
    }
    if (s->rtt > c->rtt) {
        c->rtt = s->rtt;
    }
    c->is_idle = c->stalled == 0 && c->idle_ms >= STATUS_IDLE_AFTER;
    c->rate += s->rate;
    c->retrans += s->retrans;
    c->bytes += s->bytes_sent + s->bytes_received;
    c->sent += s->sent;
    c->resent += s->resent;
}

static void set_interface(live_reader *reader, status_subflow *subflow)
{
    const mptcp_end *local = &subflow->socket.local;
    const status_interface *one = status_interface_at(
        reader->interfaces, local->family, local->address);

    if (one) {
        subflow->interface = one->name;
        subflow->interface_down = one->is_down;
    }
}

static void add_subflow(live_reader *reader, status_connection *c,
                        const mptcp_socket *found)
{
    status_subflow *subflow = apr_pcalloc(reader->p, sizeof(*subflow));

    subflow->socket = *found;
    if (!found->says_subflow) {
        subflow->socket.joined = compare_ends(&found->local, &c->local)
                                 || compare_ends(&found->remote, &c->remote);
        reader->live->hides_backup = 1;
    }
    set_interface(reader, subflow);
    insert_subflow(c, subflow);
    add_to_sums(c, &subflow->socket);
    reader->live->subflows++;
}

/*
 * Has no program a hold of it any more?  So it is with a subflow that has left
 * its connection, which has no MPTCP data either; one that waits to be
 * accepted has no inode, but is established.
 */
static int is_closing(const mptcp_socket *found)
{
    return found->inode == 0 && strcmp(found->state, "established") != 0;
}

/* A TCP socket: a subflow, or a plain connection. */
static int take_tcp(const mptcp_socket *found, void *baton)
{
    live_reader *reader = baton;
    status_connection *c = connection_of(reader, found);

    reader->says_subflows |= found->says_subflow;
    if (c) {
        add_subflow(reader, c, found);
    }
    /* else it is a plain one, or others', or of this moment */
    else if (!found->says_subflow && !is_closing(found)
             && status_listener_at(&found->local)) {
        reader->live->tcp += found->inode != 0;
        reader->tcp_without_inode += found->inode == 0;
    }
    reader->live->incomplete = apr_time_now() > reader->deadline;
    return !reader->live->incomplete;
}

/* ---- asking ------------------------------------------------------------- */

const char *status_live_refusal_text(apr_pool_t *p, apr_status_t status)
{
    char text[120];

    switch (status) {
    case ENOENT:
        return "the kernel has no list of MPTCP or TCP sockets: load its "
               "modules mptcp_diag and tcp_diag (Linux 5.9)";
    case EAFNOSUPPORT:
        return "netlink sockets are forbidden: add AF_NETLINK to "
               "RestrictAddressFamilies in httpd's systemd unit";
    default:
        return apr_pstrcat(p, "the kernel does not list them: ",
                           apr_strerror(status, text, sizeof(text)), NULL);
    }
}

/* For the kernel: which sockets can be ours; NULL: any. */
static apr_array_header_t *make_filter(apr_pool_t *p,
                                       const apr_array_header_t *join_ports)
{
    /* by port: is it among the remote ones?  Many workers have the same. */
    unsigned char *has = apr_pcalloc(p, 65536);
    apr_array_header_t *local = apr_array_copy(p, join_ports);
    apr_array_header_t *remote = apr_array_make(p, 4, sizeof(apr_port_t));
    const apr_array_header_t *list;
    int i;

    list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    for (i = 0; i < list->nelts; i++) {
        APR_ARRAY_PUSH(local, apr_port_t)
            = APR_ARRAY_IDX(list, i, mptcp_counted).port;
    }
    list = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        if (one->port) {
            if (!has[one->port]) {
                APR_ARRAY_PUSH(remote, apr_port_t) = one->port;
            }
            has[one->port] = 1;
        }
        else if (counts.mptcp + counts.fallback > 0) {
            return NULL;
        }
    }
    return mptcp_sock_filter(p, local, remote);
}

void status_live_read(apr_pool_t *p, int other_ports,
                      const apr_array_header_t *join_ports,
                      apr_hash_t *interfaces, status_live *live)
{
    const apr_array_header_t *filter = make_filter(p, join_ports);
    apr_time_t start = apr_time_now();
    struct nl_sock *sock;
    live_reader reader = { .p = p, .live = live };

    memset(live, 0, sizeof(*live));
    live->connections = apr_array_make(p, 64, sizeof(status_connection *));
    if (!mptcp_counted_since()) {
        return;                         /* nothing of it is MPTCP */
    }
    live->status = mptcp_sock_diag_open(apr_time_sec(LIVE_TIME_LIMIT), &sock);
    if (live->status != APR_SUCCESS) {
        return;
    }
    reader.by_token = apr_hash_make(p);
    reader.by_inode = apr_hash_make(p);
    reader.by_ends = apr_hash_make(p);
    reader.interfaces = interfaces;
    reader.peers = mptcp_counted_peers(p);
    reader.deadline = start + LIVE_TIME_LIMIT;

    live->status = mptcp_sock_diag(sock, IPPROTO_MPTCP, filter,
                                   take_connection, &reader);
    if (live->status == APR_SUCCESS && !live->incomplete) {
        live->status = mptcp_sock_diag(sock, IPPROTO_TCP,
                                       other_ports ? NULL : filter, take_tcp,
                                       &reader);
    }
    if (reader.says_subflows || apr_hash_count(reader.by_ends) == 0) {
        live->tcp += reader.tcp_without_inode;
    }
    live->took = apr_time_now() - start;
    nl_socket_free(sock);
}
