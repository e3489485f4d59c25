/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What mod_proxy calls: the worker parameter, and functions of ours in the
 * place of those that it and its protocol modules import.  What they do stands
 * in proxy/.
 *
 * The parameter.  2.4's mod_proxy hands every worker parameter that it does
 * not know to the optional function set_worker_hc_param, which
 * mod_proxy_hcheck registers.  Ours is put before it while mod_proxy fetches
 * that function.
 *
 * The functions.  Between apr_socket_create() and apr_socket_connect() in
 * mod_proxy there is no hook, and the first SYN has to carry MP_CAPABLE.  For
 * whom a socket is, its caller knows: protocol modules and mod_proxy_hcheck
 * connect by ap_proxy_connect_backend(), mod_proxy_connect by
 * ap_proxy_connect_to_backend().  Nor is there a hook where a request and its
 * connection are both known for every scheme: create_req is run by http and
 * uwsgi alone, connections that are reused or carry no conn_rec (ajp, fcgi,
 * scgi) pass by none.  But every scheme's module calls
 * ap_proxy_determine_connection() with both, and ap_proxy_release_connection()
 * when it has done; but mod_proxy_ftp, instead of the first,
 * ap_proxy_connection_create_ex(), and mod_proxy_connect nothing of these.
 * So their imports are redirected (common/import_redirect.c), as far as the
 * configuration asks for what they are for; all else of connecting stays
 * mod_proxy's own.  And whoever waits for a backend calls a function of APR,
 * in whose place one is called that notices when it waits in vain.
 */

#include "proxy/proxy.h"

#include "apr_optional.h"

#include <dlfcn.h>

APLOG_USE_MODULE(mptcp);

/* ---- multipathtcp=On|Off ------------------------------------------------ */

typedef APR_OPTIONAL_FN_TYPE(set_worker_hc_param) worker_param_fn;

/*
 * What was registered before us, or NULL.  Written in pre_config by the
 * parent, which is when this module has just been loaded.
 */
static worker_param_fn *next_worker_param;

static const char *worker_param(apr_pool_t *p, server_rec *s,
                                proxy_worker *worker, const char *key,
                                const char *value, void *hc_template)
{
    if (worker && ap_cstr_casecmp(key, "multipathtcp") == 0) {
        int on = ap_cstr_casecmp(value, "on") == 0;

        if (!on && ap_cstr_casecmp(value, "off") != 0) {
            return apr_psprintf(p, "multipathtcp=%s: allowed is On or Off",
                                value);
        }
        mptcp_worker_set(worker, on);
        return NULL;
    }
    if (next_worker_param) {
        /* whose type is a macro's, which cppcheck takes for int */
        /* cppcheck-suppress CastIntegerToAddressAtReturn */
        return next_worker_param(p, s, worker, key, value, hc_template);
    }
    return "unknown Worker parameter";  /* as mod_proxy says it */
}

static void register_worker_param(worker_param_fn *fn)
{
    /* what APR_REGISTER_OPTIONAL_FN() does, less its demand on the name */
    apr_dynamic_fn_register("set_worker_hc_param", (apr_opt_fn_t *)fn);
}

int mptcp_proxy_offer_parameter(apr_pool_t *pconf, apr_pool_t *plog,
                                apr_pool_t *ptemp)
{
    next_worker_param = APR_RETRIEVE_OPTIONAL_FN(set_worker_hc_param);
    register_worker_param(worker_param);
    return OK;
}

int mptcp_proxy_withdraw_parameter(apr_pool_t *pconf, apr_pool_t *plog,
                                   apr_pool_t *ptemp)
{
    register_worker_param(next_worker_param);
    return OK;
}

/* ---- the table of redirects --------------------------------------------- */

typedef __typeof__(ap_proxy_connect_backend) connect_backend_fn;
typedef __typeof__(ap_proxy_connect_to_backend) connect_to_backend_fn;
typedef __typeof__(ap_proxy_determine_connection) determine_fn;
typedef __typeof__(ap_proxy_release_connection) release_fn;
typedef __typeof__(ap_proxy_connection_create_ex) create_fn;

static connect_backend_fn connect_backend;
static connect_to_backend_fn connect_to_backend;
static determine_fn determine_connection;
static release_fn release_connection;
static create_fn create_connection;
#ifdef MPTCP_HAVE_TUNNEL
typedef __typeof__(ap_proxy_tunnel_run) tunnel_run_fn;
static tunnel_run_fn tunnel_run;
#endif

/* What a redirect is for; none is made for what nobody asks for. */
#define FOR_SOCKETS  (1 << 0)   /* multipathtcp=On, MPTCPProxyDefault On */
#define FOR_VARIABLE (1 << 1)   /* MPTCP_BACKEND */
#define FOR_LIFELINE (1 << 2)   /* these sockets' waits: lifeline.c */

enum {
    CONNECT_BACKEND, SOCKET_CREATE, CONNECT_TO_BACKEND, DETERMINE, RELEASE,
    CREATE, RECV, SEND, SENDV, POLL, POLLSET, TUNNEL, REDIRECTS
};

/*
 * The real functions are found by name: mod_proxy need not be loaded, and what
 * an import held may be a stub that binds it late, and with that undoes the
 * redirection.  Written in post_config by the parent, read by all.
 */
static struct {
    const char *symbol;
    void *replacement;
    int what_for;
    int is_mod_proxys;          /* its own import; else whoever has it */
    void *real;                 /* unless it is mod_proxy's own import */
} redirects[REDIRECTS] = {
    /* by these three the socket's worker is known while one is made */
    [CONNECT_BACKEND] = {
        "ap_proxy_connect_backend", (void *)connect_backend,
        FOR_SOCKETS, 0, NULL
    },
    [SOCKET_CREATE] = {
        "apr_socket_create", (void *)mptcp_backend_socket,
        FOR_SOCKETS, 1, NULL
    },
    [CONNECT_TO_BACKEND] = {
        "ap_proxy_connect_to_backend", (void *)connect_to_backend,
        FOR_SOCKETS | FOR_VARIABLE, 0, NULL
    },
    /* and by these a request's connection */
    [DETERMINE] = {
        "ap_proxy_determine_connection", (void *)determine_connection,
        FOR_VARIABLE, 0, NULL
    },
    [RELEASE] = {
        "ap_proxy_release_connection", (void *)release_connection,
        FOR_VARIABLE, 0, NULL
    },
    [CREATE] = {
        "ap_proxy_connection_create_ex", (void *)create_connection,
        FOR_VARIABLE, 0, NULL
    },
    /* and by these somebody waits */
    [RECV] = {
        "apr_socket_recv", (void *)mptcp_lifeline_recv,
        FOR_LIFELINE, 0, NULL
    },
    [SEND] = {
        "apr_socket_send", (void *)mptcp_lifeline_send,
        FOR_LIFELINE, 0, NULL
    },
    [SENDV] = {
        "apr_socket_sendv", (void *)mptcp_lifeline_sendv,
        FOR_LIFELINE, 0, NULL
    },
    [POLL] = {
        "apr_poll", (void *)mptcp_lifeline_poll,
        FOR_LIFELINE, 0, NULL
    },
#ifdef MPTCP_HAVE_TUNNEL
    [POLLSET] = {
        "apr_pollset_poll", (void *)mptcp_lifeline_pollset,
        FOR_LIFELINE, 1, NULL
    },
    [TUNNEL] = {
        "ap_proxy_tunnel_run", (void *)tunnel_run,
        FOR_LIFELINE, 0, NULL
    },
#endif
};

/* ---- the replacements --------------------------------------------------- */

/*
 * Also called for connections that are open already: for those the note is all
 * that is added, two words in thread-local memory.
 */
static int connect_backend(const char *proxy_function, proxy_conn_rec *conn,
                           proxy_worker *worker, server_rec *s)
{
    connect_backend_fn *real = (connect_backend_fn *)
        redirects[CONNECT_BACKEND].real;
    int rv;

    mptcp_backend_connecting(worker, s);
    rv = real(proxy_function, conn, worker, s);
    mptcp_backend_connected(rv == OK ? conn->sock : NULL);
    return rv;
}

static int connect_to_backend(apr_socket_t **newsock,
                              const char *proxy_function,
                              apr_sockaddr_t *backend_addr,
                              const char *backend_name,
                              proxy_server_conf *conf, request_rec *r)
{
    connect_to_backend_fn *real = (connect_to_backend_fn *)
        redirects[CONNECT_TO_BACKEND].real;
    int rv;

    mptcp_backend_connecting(NULL, r->server);
    rv = real(newsock, proxy_function, backend_addr, backend_name, conf, r);
    mptcp_backend_connected(rv == OK ? *newsock : NULL);
    if (rv == OK) {
        mptcp_backend_tunnel(r, *newsock);
    }
    return rv;
}

static int determine_connection(apr_pool_t *p, request_rec *r,
                                proxy_server_conf *conf, proxy_worker *worker,
                                proxy_conn_rec *conn, apr_uri_t *uri,
                                char **url, const char *proxyname,
                                apr_port_t proxyport, char *server_portstr,
                                int server_portstr_size)
{
    determine_fn *real = (determine_fn *)redirects[DETERMINE].real;

    mptcp_backend_attach(r, conn);
    return real(p, r, conf, worker, conn, uri, url, proxyname, proxyport,
                server_portstr, server_portstr_size);
}

/*
 * Every scheme but ftp has attached its connection before.  The requests of
 * mod_proxy_hcheck, which have no client, are left alone.
 */
static int create_connection(const char *proxy_function, proxy_conn_rec *conn,
                             request_rec *r)
{
    create_fn *real = (create_fn *)redirects[CREATE].real;

    if ((r->proxyreq == PROXYREQ_PROXY || r->proxyreq == PROXYREQ_REVERSE)
        && mptcp_request_get(r)->backend != conn) {
        mptcp_backend_attach(r, conn);
    }
    return real(proxy_function, conn, r);
}

static int release_connection(const char *proxy_function,
                              proxy_conn_rec *conn, server_rec *s)
{
    release_fn *real = (release_fn *)redirects[RELEASE].real;

    mptcp_backend_release(conn);
    return real(proxy_function, conn, s);
}

#ifdef MPTCP_HAVE_TUNNEL
static int tunnel_run(proxy_tunnel_rec *tunnel)
{
    tunnel_run_fn *real = (tunnel_run_fn *)redirects[TUNNEL].real;
    int rv;

    mptcp_lifeline_tunnel(tunnel);
    rv = real(tunnel);
    mptcp_lifeline_tunnel(NULL);
    return rv;
}
#endif

/* ---- redirecting -------------------------------------------------------- */

static apr_status_t redirect(int i, const module *proxy, apr_pool_t *pconf,
                             const char **reason)
{
    apr_status_t rv;

    if (redirects[i].is_mod_proxys) {
        return mptcp_import_redirect(proxy, redirects[i].symbol,
                                     redirects[i].replacement, pconf, reason);
    }
    redirects[i].real = mptcp_proxy_function(redirects[i].symbol);
    if (!redirects[i].real) {
        *reason = "mod_proxy exports no such function";
        return APR_EINVAL;
    }
    rv = mptcp_import_redirect(NULL, redirects[i].symbol,
                               redirects[i].replacement, pconf, reason);
    /* that nobody imports it, where no such module is loaded, is fine */
    return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
}

/* Say that one failed; OK unless what then happens is forbidden. */
static int cannot_redirect(int what_for, const char *symbol, apr_status_t rv,
                           const char *reason, server_rec *s)
{
    if (what_for & FOR_LIFELINE) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "a request may wait for net.mptcp.close_timeout when a "
                     "connection to a backend has lost its last path: cannot "
                     "redirect %s: %s", symbol, reason);
        return OK;
    }
    if (!(what_for & FOR_SOCKETS)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "%s is not known: cannot redirect %s: %s",
                     MPTCP_BACKEND_VARIABLE, symbol, reason);
        return OK;
    }
    if (mptcp_global()->fallback) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "multipathtcp and MPTCPProxyDefault have no effect, "
                     "backends are reached by plain TCP: cannot redirect %s: "
                     "%s", symbol, reason);
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, rv, s,
                 "backends would be reached by plain TCP, and MPTCPFallback "
                 "Off forbids that: cannot redirect %s: %s", symbol, reason);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/*
 * Protocol modules which are linked into one object with mod_proxy call it
 * directly, past any import.
 */
static void warn_of_linked(const module *proxy, apr_pool_t *p, server_rec *s)
{
    Dl_info own, other;
    const char *names = NULL;
    const module *m;

    for (m = ap_top_module; m; m = m->next) {
        if (strncmp(m->name, "mod_proxy_", 10) == 0
            && strcmp(m->name, "mod_proxy_balancer.c") != 0
            && dladdr(proxy, &own) && dladdr(m, &other)
            && other.dli_fbase == own.dli_fbase) {
            names = names ? apr_pstrcat(p, names, " ", m->name, NULL)
                          : m->name;
        }
    }
    if (names) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "multipathtcp and MPTCPProxyDefault have no effect on "
                     "connections of modules that are linked statically with "
                     "mod_proxy, they are plain TCP: %s", names);
    }
}

/*
 * In the parent, which has one thread.  The slots are put back when pconf is
 * cleared.
 */
int mptcp_proxy_redirect(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s)
{
    const module *proxy = ap_find_linked_module("mod_proxy.c");
    int asked = (mptcp_proxy_wants_any() ? FOR_SOCKETS | FOR_LIFELINE : 0)
                | (mptcp_backend_is_observed() ? FOR_VARIABLE : 0);
    int failed = 0, i;

    for (i = 0; proxy && i < REDIRECTS; i++) {
        /* a row that this httpd has no use for is empty */
        int what_for = redirects[i].what_for & asked;
        const char *reason;
        apr_status_t rv;

        if (failed & FOR_SOCKETS) {
            what_for &= ~FOR_LIFELINE;          /* they are TCP */
        }
        if (!what_for) {
            continue;
        }
        rv = redirect(i, proxy, pconf, &reason);
        /* said once for each thing that it is for */
        what_for &= ~failed;
        if (rv != APR_SUCCESS && what_for) {
            failed |= what_for;
            if (cannot_redirect(what_for, redirects[i].symbol, rv, reason, s)
                != OK) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
    }
    if (proxy && (asked & FOR_SOCKETS)) {
        warn_of_linked(proxy, ptemp, s);
    }
    return OK;
}
