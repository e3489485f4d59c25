/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The client's connection: what the kernel says of it, for a request.
 *
 * The kernel is asked when the first variable of a request is read, and what
 * it said holds for the request with its subrequests and internal redirects,
 * until it is logged; a log is written of a second answer.  So a page agrees
 * with itself, a log line agrees with itself, and each costs a system call at
 * most.  That a connection is not MPTCP is final, and asked once.
 */

#include "variables/private.h"

#include "http_connection.h"

/*
 * Did the connection come to an MPTCP listener?  apr_socket_accept() gives
 * its socket the protocol which APR knows of the listener's.  APR does not
 * know it where the listener was made by others (a service manager), or is
 * one of the MPM's own duplicates (ListenCoresBucketsRatio): then the table of
 * listeners tells.  No system call.
 */
static int is_of_mptcp_listener(const conn_rec *c, apr_socket_t *sd)
{
    const mptcp_counted *listener;
    int protocol;

    if (apr_socket_protocol_get(sd, &protocol) == APR_SUCCESS
        && protocol == IPPROTO_MPTCP) {
        return 1;
    }
    listener = mptcp_counted_listener(c->local_addr);
    return listener && listener->is_mptcp;
}

/* Ask about a client's connection, or that of an HTTP/2 stream. */
static void read_connection(conn_rec *c, mptcp_reading *reading)
{
    apr_socket_t *sd;
    apr_os_sock_t fd;

    if (c->master) {
        c = c->master;
    }
    memset(reading, 0, sizeof(*reading));
    reading->state = mptcp_connection_noted(c);
    sd = ap_get_conn_socket(c);
    if (reading->state != MPTCP_STATE_UNKNOWN || !sd) {
        return;
    }
    if (!is_of_mptcp_listener(c, sd)) {
        reading->state = MPTCP_STATE_NO_LISTENER;
    }
    else if (apr_os_sock_get(&fd, sd) == APR_SUCCESS && fd >= 0) {
        mptcp_connection_ask(fd, 0, reading);
    }
    mptcp_connection_note(c, reading->state);
}

/* The request that the client sent, of whatever came of it. */
static request_rec *client_request(request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r;
}

const mptcp_reading *mptcp_client_reading(request_rec *r)
{
    mptcp_request *request;

    r = client_request(r);
    request = mptcp_request_get(r);
    if (!request->reading) {
        request->reading = apr_palloc(r->pool, sizeof(*request->reading));
        read_connection(r->connection, request->reading);
    }
    return request->reading;
}

int mptcp_client_forget(request_rec *r)
{
    mptcp_request *request;

    r = client_request(r);
    request = ap_get_module_config(r->request_config, &mptcp_module);
    if (request) {
        request->reading = NULL;
    }
    return DECLINED;
}
