/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The table of listeners, and what comes to them.
 *
 * A client's connection is counted when a child takes it on, so that no count
 * is lost with a child that is killed: one atomic add.  What only its end can
 * tell is added then: that it fell back to TCP, that further subflows joined
 * it.  Requests are not counted, and connections to plain TCP listeners cost a
 * few comparisons, or nothing where no listener is MPTCP.
 */

#include "listen/private.h"

#include "http_connection.h"

APLOG_USE_MODULE(mptcp);

/* ---- the table ---------------------------------------------------------- */

/* Of one that httpd -t has not bound: is it to be, and does the kernel give
 * that? */
static int is_mptcp_or_will_be(const ap_listen_rec *lr, int wanted)
{
    return lr->active ? mptcp_listener_is_mptcp(lr)
                      : wanted && !mptcp_listen_refusal();
}

/*
 * Does new connections' way lead to this socket?  Of two that a change has
 * left at an address, it leads to the one that is wanted.
 */
static int takes_connections(const ap_listen_rec *lr, int wanted,
                             process_rec *process)
{
    return mptcp_listen_is_test()
           || (lr->active
               && (!mptcp_listener_has_twin(lr, process)
                   || mptcp_listener_is_mptcp(lr) == wanted));
}

/*
 * In the table are the listeners that are to be MPTCP, and those that a
 * service manager passed on and are; but not those which are steered away
 * from.
 */
void mptcp_listeners_name(server_rec *s, apr_pool_t *ptemp)
{
    const ap_listen_rec *lr;

    for (lr = ap_listeners; lr; lr = lr->next) {
        int wanted = mptcp_listener_wanted(lr);
        int is_mptcp = is_mptcp_or_will_be(lr, wanted);
        mptcp_counted *one;

        if (!takes_connections(lr, wanted, s->process)
            || (!wanted && !is_mptcp)) {
            continue;
        }
        one = mptcp_counted_name(s->process, MPTCP_COUNTER_LISTENER,
                                 apr_psprintf(ptemp, "%pI", lr->bind_addr));
        one->address = lr->bind_addr;
        one->port = lr->bind_addr->port;
        one->is_mptcp = is_mptcp;
        one->is_ipv6_only = mptcp_socket_option(lr->sd, IPPROTO_IPV6,
                                                IPV6_V6ONLY) > 0;
    }
    mptcp_counted_end(s->process, MPTCP_COUNTER_LISTENER);
}

/* ---- connections -------------------------------------------------------- */

/* Where it is found when an MPTCP connection ends. */
#define CONNECTION_KEY "mod_mptcp:counter"

typedef struct {
    mptcp_counter *counter;
    apr_time_t began;
} counted_connection;

/* One that has lasted so long has the further paths that its client wanted. */
#define BRIEF apr_time_from_sec(2)

/*
 * mod_proxy's connections to backends, which pass by here too, have no entry
 * in the scoreboard; HTTP/2's streams have a master.
 */
int mptcp_count_accepted(conn_rec *c, void *csd)
{
    static const mptcp_counts one_mptcp = { .mptcp = 1 };
    static const mptcp_counts one_tcp = { .tcp = 1 };
    const mptcp_counted *one;
    counted_connection *counted;
    int protocol;

    if (mptcp_counted_all(MPTCP_COUNTER_LISTENER)->nelts == 0 || c->master
        || !c->sbh || !(one = mptcp_counted_listener(c->local_addr))) {
        return OK;
    }
    protocol = mptcp_socket_option(csd, SOL_SOCKET, SO_PROTOCOL);
    if (protocol != IPPROTO_MPTCP) {
        mptcp_counts_add(one->counter, &one_tcp);
        if (protocol == IPPROTO_TCP) {
            mptcp_connection_note(c, MPTCP_STATE_OFF);
        }
        return OK;
    }
    mptcp_counts_add(one->counter, &one_mptcp);
    counted = apr_palloc(c->pool, sizeof(*counted));
    counted->counter = one->counter;
    counted->began = apr_time_now();
    apr_pool_userdata_setn(counted, CONNECTION_KEY, NULL, c->pool);
    return OK;
}

/*
 * How many subflows there ever were the kernel does not say, but how many
 * there are: what joined and left before is not seen.
 */
int mptcp_count_ended(conn_rec *c)
{
    const counted_connection *counted;
    void *data = NULL;
    mptcp_counts ended = { 0 };
    mptcp_reading reading;
    apr_socket_t *sd;
    apr_os_sock_t fd;

    apr_pool_userdata_get(&data, CONNECTION_KEY, c->pool);
    counted = data;
    sd = counted ? ap_get_conn_socket(c) : NULL;
    if (!sd || apr_os_sock_get(&fd, sd) != APR_SUCCESS || fd < 0) {
        return OK;
    }
    apr_pool_userdata_setn(NULL, CONNECTION_KEY, NULL, c->pool);
    mptcp_connection_ask(fd, 0, &reading);
    ended.fallback = reading.state == MPTCP_STATE_FALLBACK;
    if (reading.state == MPTCP_STATE_ON) {
        ended.joins = reading.info.extra_subflows;
    }
    ended.brief = apr_time_now() - counted->began < BRIEF;
    mptcp_counts_add(counted->counter, &ended);
    return OK;
}

/* Has it been noted of a connection that it asked for the page? */
#define PAGE_KEY "mod_mptcp:page"

void mptcp_count_page(conn_rec *c)
{
    mptcp_counts asked = { 0 };
    const mptcp_counted *one;
    apr_socket_t *sd;
    void *noted = NULL;

    c = c->master ? c->master : c;
    apr_pool_userdata_get(&noted, PAGE_KEY, c->pool);
    sd = ap_get_conn_socket(c);
    if (noted || !sd || !(one = mptcp_counted_listener(c->local_addr))) {
        return;
    }
    apr_pool_userdata_setn(one->counter, PAGE_KEY, NULL, c->pool);
    if (mptcp_socket_option(sd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP) {
        asked.page_mptcp = 1;
    }
    else {
        asked.page_tcp = 1;
    }
    mptcp_counts_add(one->counter, &asked);
}
