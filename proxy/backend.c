/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which connection to a backend serves a proxied request, and what it is.
 *
 * mod_proxy has no hook where a request and its connection are both known for
 * every scheme: create_req is run by http and uwsgi alone, connections that
 * are reused or carry no conn_rec (ajp, fcgi, scgi) pass by none.  But every
 * scheme's module calls ap_proxy_determine_connection() with both, and
 * ap_proxy_release_connection() when it has done; but mod_proxy_ftp, instead
 * of the first, ap_proxy_connection_create_ex(), and mod_proxy_connect nothing
 * of these, but ap_proxy_connect_to_backend().  These imports are redirected
 * here (import_redirect.c), each to a function that takes note and calls the
 * real one; and only where the configuration reads MPTCP_BACKEND.
 *
 * A connection belongs to its request until its release.  After that
 * another request, in another thread, may have it: so what a log is to say is
 * read at release.
 */

#include "mod_mptcp.h"
#include "mod_proxy.h"

#include "util_filter.h"

APLOG_USE_MODULE(mptcp);

/* Where the request is noted, in the userdata of the connection's pool. */
#define REQUEST_KEY "mod_mptcp:request"

#define FILTER_NAME "MPTCP_BACKEND"

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

/* ---- the state -------------------------------------------------------- */

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

/* Output filter: the response begins, and its headers may want to say it. */
static apr_status_t set_environment(ap_filter_t *f, apr_bucket_brigade *bb)
{
    const char *text = mptcp_state_text(mptcp_backend_state(f->r));

    if (text) {
        apr_table_setn(f->r->subprocess_env, MPTCP_BACKEND_VARIABLE, text);
    }
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

/* ---- what the schemes' modules call ----------------------------------- */

typedef __typeof__(ap_proxy_determine_connection) determine_fn;
typedef __typeof__(ap_proxy_release_connection) release_fn;
typedef __typeof__(ap_proxy_connection_create_ex) create_fn;

static determine_fn determine_connection;
static release_fn release_connection;
static create_fn create_connection;

/*
 * The functions in place of which ours are called.  Found by name: mod_proxy
 * need not be loaded, and what an import held may be a stub that binds it
 * late, and with that undoes the redirection.  Set by the parent in
 * post_config.
 */
static determine_fn *real_determine_connection;
static release_fn *real_release_connection;
static create_fn *real_create_connection;

/* A request, for the first time or after a failover, gets a connection. */
static void attach(request_rec *r, proxy_conn_rec *conn)
{
    mptcp_request *request = mptcp_request_get(r);

    request->backend = conn;
    request->backend_state = MPTCP_STATE_UNKNOWN;
    apr_pool_userdata_setn(r, REQUEST_KEY, NULL, conn->pool);
    if (!request->backend_filter && mptcp_env_vars_on(r)) {
        request->backend_filter = 1;
        ap_add_output_filter(FILTER_NAME, NULL, r, r->connection);
    }
}

static int determine_connection(apr_pool_t *p, request_rec *r,
                                proxy_server_conf *conf, proxy_worker *worker,
                                proxy_conn_rec *conn, apr_uri_t *uri,
                                char **url, const char *proxyname,
                                apr_port_t proxyport, char *server_portstr,
                                int server_portstr_size)
{
    attach(r, conn);
    return real_determine_connection(p, r, conf, worker, conn, uri, url,
                                     proxyname, proxyport, server_portstr,
                                     server_portstr_size);
}

/*
 * Every scheme but ftp has attached its connection before.  The requests of
 * mod_proxy_hcheck, which have no client, are left alone.
 */
static int create_connection(const char *proxy_function, proxy_conn_rec *conn,
                             request_rec *r)
{
    if ((r->proxyreq == PROXYREQ_PROXY || r->proxyreq == PROXYREQ_REVERSE)
        && mptcp_request_get(r)->backend != conn) {
        attach(r, conn);
    }
    return real_create_connection(proxy_function, conn, r);
}

static int release_connection(const char *proxy_function,
                              proxy_conn_rec *conn, server_rec *s)
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
    return real_release_connection(proxy_function, conn, s);
}

/* A tunnel has its socket to itself, and closes it before it is logged. */
void mptcp_backend_tunnel(request_rec *r, apr_socket_t *sd)
{
    if (observed && is_wanted_later(r)) {
        note_state(mptcp_request_get(r), sd);
    }
}

/* ---- hooks ------------------------------------------------------------ */

/* Redirect one function wherever it is imported. */
static void redirect(const char *symbol, void *replacement, apr_pool_t *pconf,
                     server_rec *s)
{
    const char *reason;
    apr_status_t rv = mptcp_import_redirect(NULL, symbol, replacement, pconf,
                                            &reason);

    /* that nobody imports it, where there is no scheme's module, is fine */
    if (rv != APR_SUCCESS && !APR_STATUS_IS_ENOENT(rv)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "%s is not known: cannot redirect %s: %s",
                     MPTCP_BACKEND_VARIABLE, symbol, reason);
    }
}

/* post_config: all modules are loaded, and there is one thread. */
static int observe_proxy(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    (void)ptemp;
    if (!observed || !ap_find_linked_module("mod_proxy.c")) {
        return OK;
    }
    real_determine_connection = (determine_fn *)
        mptcp_proxy_function("ap_proxy_determine_connection");
    real_release_connection = (release_fn *)
        mptcp_proxy_function("ap_proxy_release_connection");
    real_create_connection = (create_fn *)
        mptcp_proxy_function("ap_proxy_connection_create_ex");
    if (!real_determine_connection || !real_release_connection
        || !real_create_connection) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "%s is not known: mod_proxy's functions are not found",
                     MPTCP_BACKEND_VARIABLE);
        return OK;
    }
    redirect("ap_proxy_determine_connection", (void *)determine_connection,
             pconf, s);
    redirect("ap_proxy_release_connection", (void *)release_connection,
             pconf, s);
    redirect("ap_proxy_connection_create_ex", (void *)create_connection,
             pconf, s);
    return OK;
}

void mptcp_backend_register_hooks(void)
{
    ap_hook_post_config(observe_proxy, NULL, NULL, APR_HOOK_MIDDLE);
    /* before the filters that write headers (AP_FTYPE_CONTENT_SET) */
    ap_register_output_filter(FILTER_NAME, set_environment, NULL,
                              AP_FTYPE_RESOURCE);
}
