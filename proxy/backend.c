/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which connection to a backend serves a proxied request, and what it is.
 *
 * A connection belongs to its request until its release.  After that
 * another request, in another thread, may have it: so what a log is to say is
 * read at release.
 */

#include "proxy/private.h"

/* Where the request is noted, in the userdata of the connection's pool. */
#define REQUEST_KEY "mod_mptcp:request"

/*
 * Of this configuration.  Set while it is read, by the parent, and only read
 * after that.
 */
static int observed, logged;

void mptcp_backend_wanted(int anywhere, int in_logs)
{
    observed = anywhere;
    logged = in_logs;
}

int mptcp_backend_is_observed(void)
{
    return observed;
}

/* Will somebody ask when the connection is gone? */
static int is_wanted_later(const request_rec *r)
{
    return logged || mptcp_env_vars_on(r);
}

/* ---- the state ---------------------------------------------------------- */

/* Ask the kernel, if there is a socket and it has not been asked. */
static void note_state(mptcp_request *request, apr_socket_t *sd)
{
    mptcp_reading reading;
    apr_os_sock_t fd;
    int protocol;

    if (request->backend_state != MPTCP_STATE_UNKNOWN || !sd
        || apr_os_sock_get(&fd, sd) != APR_SUCCESS || fd < 0
        || apr_socket_protocol_get(sd, &protocol) != APR_SUCCESS) {
        return;
    }
    mptcp_connection_ask(fd, protocol == IPPROTO_MPTCP ? IPPROTO_MPTCP
                                                       : IPPROTO_TCP,
                         &reading);
    request->backend_state = reading.state;
}

mptcp_state mptcp_backend_state(request_rec *r)
{
    /* an error page, say, is a request of its own */
    for (; r; r = r->prev) {
        mptcp_request *request = ap_get_module_config(r->request_config,
                                                      &mptcp_module);
        proxy_conn_rec *conn = request ? request->backend : NULL;

        if (conn) {
            note_state(request, conn->sock);
        }
        if (request && request->backend_state != MPTCP_STATE_UNKNOWN) {
            return request->backend_state;
        }
    }
    return MPTCP_STATE_UNKNOWN;
}

apr_status_t mptcp_backend_set_environment(ap_filter_t *f,
                                           apr_bucket_brigade *bb)
{
    const char *text = mptcp_state_text(mptcp_backend_state(f->r));

    if (text) {
        apr_table_setn(f->r->subprocess_env, MPTCP_BACKEND_VARIABLE, text);
    }
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

/* ---- a request's connection --------------------------------------------- */

void mptcp_backend_attach(request_rec *r, proxy_conn_rec *conn)
{
    mptcp_request *request = mptcp_request_get(r);

    request->backend = conn;
    request->backend_state = MPTCP_STATE_UNKNOWN;
    apr_pool_userdata_setn(r, REQUEST_KEY, NULL, conn->pool);
    if (!request->backend_filter && mptcp_env_vars_on(r)) {
        request->backend_filter = 1;
        ap_add_output_filter(MPTCP_BACKEND_FILTER, NULL, r, r->connection);
    }
}

void mptcp_backend_release(proxy_conn_rec *conn)
{
    void *data = NULL;

    apr_pool_userdata_get(&data, REQUEST_KEY, conn->pool);
    if (data) {
        request_rec *r = data;
        mptcp_request *request = mptcp_request_get(r);

        if (request->backend == conn) {
            if (is_wanted_later(r)) {
                note_state(request, conn->sock);
            }
            request->backend = NULL;
        }
        apr_pool_userdata_setn(NULL, REQUEST_KEY, NULL, conn->pool);
    }
}

/* A tunnel has its socket to itself, and closes it before it is logged. */
void mptcp_backend_tunnel(request_rec *r, apr_socket_t *sd)
{
    if (observed && is_wanted_later(r)) {
        note_state(mptcp_request_get(r), sd);
    }
}
