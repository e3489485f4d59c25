/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The sockets by which mod_proxy connects to backends.
 *
 * Between apr_socket_create() and apr_socket_connect() in mod_proxy there is
 * no hook, and the first SYN has to carry MP_CAPABLE.  So mod_proxy's import
 * of apr_socket_create() is redirected here (import_redirect.c), if some
 * worker asks for MPTCP and only then; all else of connecting stays
 * mod_proxy's own.
 *
 * For whom the socket is, the caller knows: protocol modules and
 * mod_proxy_hcheck connect by ap_proxy_connect_backend(), mod_proxy_connect
 * by ap_proxy_connect_to_backend().  Their imports of these two are
 * redirected as well, to functions that note the worker and the server for
 * the time of the call.  ap_proxy_connect_backend() is also called for
 * connections that are open already: for those the note is all that is added,
 * two words in thread-local memory.
 */

#include "mod_mptcp.h"
#include "mod_proxy.h"

#include "apr_atomic.h"
#include "apr_shm.h"

#include <dlfcn.h>

APLOG_USE_MODULE(mptcp);

typedef int connect_backend_fn(const char *, proxy_conn_rec *, proxy_worker *,
                               server_rec *);
typedef int connect_to_backend_fn(apr_socket_t **, const char *,
                                  apr_sockaddr_t *, const char *,
                                  proxy_server_conf *, request_rec *);

/* mod_proxy's own.  Written in post_config by the parent, read by all. */
static connect_backend_fn *proxy_connect_backend;
static connect_to_backend_fn *proxy_connect_to_backend;

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

/* ---- what has been said ----------------------------------------------- */

/*
 * A set of names, so that all children together say a thing once for each
 * configuration that is read: hash values of the names, in anonymous shared
 * memory of pconf.  Two names with one value would be said as one, which is a
 * chance in four thousand million.
 */
static volatile apr_uint32_t *said;
static apr_uint32_t said_size;

/* SIZE names at most; those that come later are never said. */
static void make_said(apr_uint32_t size, apr_pool_t *pconf)
{
    apr_shm_t *shm;
    apr_size_t bytes = size * sizeof(*said);

    if (apr_shm_create(&shm, bytes, NULL, pconf) == APR_SUCCESS) {
        said = apr_shm_baseaddr_get(shm);
        memset((void *)said, 0, bytes);
    }
    else {
        said = apr_pcalloc(pconf, bytes);       /* then once for each child */
    }
    said_size = size;
}

/* Is it the first time for this name? */
static int say_first(const char *name)
{
    apr_ssize_t length = APR_HASH_KEY_STRING;
    apr_uint32_t value = apr_hashfunc_default(name, &length);
    apr_uint32_t tried = 0, there;

    value += !value;                            /* 0 is a free place */
    do {
        there = apr_atomic_cas32(&said[(value + tried) % said_size], value, 0);
    } while (there != 0 && there != value && ++tried < said_size);
    return there == 0;
}

/* ---- the sockets ------------------------------------------------------ */

/* The kernel is short of something, which is no word about MPTCP. */
static int is_shortage(apr_status_t status)
{
    return status == EMFILE || status == ENFILE || status == ENOBUFS
           || status == ENOMEM;
}

/* What the log is told when the kernel refuses an MPTCP socket. */
static void say_refused(apr_status_t refused, int fallback)
{
    const char *whose = "worker";
    const char *name;

    if (connecting.worker) {
        name = mptcp_worker_name(mptcp_worker_checked(connecting.worker));
    }
    else {
        whose = "CONNECT of server";
        name = connecting.s->server_hostname ? connecting.s->server_hostname
                                             : "(no name)";
    }
    if (!say_first(name)) {
        return;
    }
    if (fallback) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, refused, connecting.s,
                     "%s %s connects by plain TCP: the kernel gives no MPTCP "
                     "socket, %s", whose, name, mptcp_refusal_text(refused));
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_ERR, refused, connecting.s,
                     "%s %s cannot connect: the kernel gives no MPTCP socket, "
                     "%s; MPTCPFallback On would use plain TCP", whose, name,
                     mptcp_refusal_text(refused));
    }
}

/*
 * What mod_proxy calls for apr_socket_create(): the same, with MPTCP for
 * workers and servers that ask for it.  Sockets of other kinds (Unix domain)
 * are none of our business.
 */
static apr_status_t create_socket(apr_socket_t **sd, int family, int type,
                                  int protocol, apr_pool_t *pool)
{
    apr_status_t rv;
    int fallback;

    if (!connecting.s || type != SOCK_STREAM
        || (family != APR_INET && family != APR_INET6)
        || !(connecting.worker
             ? mptcp_worker_wants(connecting.worker, connecting.s)
             : mptcp_proxy_default(connecting.s))) {
        return apr_socket_create(sd, family, type, protocol, pool);
    }

    rv = apr_socket_create(sd, family, type, IPPROTO_MPTCP, pool);
    connecting.made = IPPROTO_MPTCP;
    if (rv == APR_SUCCESS || is_shortage(rv)) {
        return rv;
    }
    fallback = mptcp_main_conf()->fallback;
    connecting.made = APR_PROTO_TCP;
    say_refused(rv, fallback);
    if (!fallback) {
        return rv;
    }
    return apr_socket_create(sd, family, type, APR_PROTO_TCP, pool);
}

/* Count what this thread has connected, if it made a socket for that. */
static void count_connected(apr_socket_t *sd)
{
    if (connecting.made && sd) {
        mptcp_count_backend(connecting.worker ? mptcp_worker_name(
                                mptcp_worker_checked(connecting.worker))
                                              : NULL,
                            sd, connecting.made);
    }
}

/* What protocol modules call for ap_proxy_connect_backend(). */
static int connect_backend(const char *proxy_function, proxy_conn_rec *conn,
                           proxy_worker *worker, server_rec *s)
{
    int rv;

    connecting.worker = worker;
    connecting.s = s;
    connecting.made = 0;
    rv = proxy_connect_backend(proxy_function, conn, worker, s);
    if (rv == OK) {
        count_connected(conn->sock);
    }
    connecting.s = NULL;
    return rv;
}

/* What mod_proxy_connect calls for ap_proxy_connect_to_backend(). */
static int connect_to_backend(apr_socket_t **newsock,
                              const char *proxy_function,
                              apr_sockaddr_t *backend_addr,
                              const char *backend_name,
                              proxy_server_conf *conf, request_rec *r)
{
    int rv;

    connecting.worker = NULL;
    connecting.s = r->server;
    connecting.made = 0;
    rv = proxy_connect_to_backend(newsock, proxy_function, backend_addr,
                                  backend_name, conf, r);
    if (rv == OK) {
        count_connected(*newsock);
    }
    connecting.s = NULL;
    if (rv == OK) {
        mptcp_backend_tunnel(r, *newsock);
    }
    return rv;
}

/* ---- the redirects ---------------------------------------------------- */

/*
 * Protocol modules which are linked into one object with mod_proxy call it
 * directly, past any import.
 */
static const char *linked_with(const module *proxy, apr_pool_t *p)
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
    return names;
}

/* Say that a worker which asks for MPTCP does not get it; OK unless that is
 * forbidden. */
static int no_effect(apr_status_t rv, const char *symbol, const char *reason,
                     server_rec *s)
{
    if (mptcp_main_conf()->fallback) {
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
 * Redirect the modules that call one of mod_proxy's own functions, which our
 * replacement calls; it is stored in *FUNCTION.  That none of them is loaded
 * is fine.
 */
static apr_status_t redirect_callers(const char *symbol, void *replacement,
                                     void **function, apr_pool_t *pconf,
                                     const char **reason)
{
    apr_status_t rv;

    *function = mptcp_proxy_function(symbol);
    if (!*function) {
        *reason = "mod_proxy exports no such function";
        return APR_EINVAL;
    }
    rv = mptcp_import_redirect(NULL, symbol, replacement, pconf, reason);
    return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
}

/* For the sockets of tunnels, or for the variable that tells of them. */
static int redirect_tunnels(int wanted, apr_pool_t *pconf, server_rec *s)
{
    static const char symbol[] = "ap_proxy_connect_to_backend";
    const char *reason;
    void *function;
    apr_status_t rv = redirect_callers(symbol, (void *)connect_to_backend,
                                       &function, pconf, &reason);

    proxy_connect_to_backend = (connect_to_backend_fn *)function;
    if (rv == APR_SUCCESS || !ap_find_linked_module("mod_proxy_connect.c")) {
        return OK;
    }
    if (wanted) {
        return no_effect(rv, symbol, reason, s);
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                 "%s is not known of CONNECT: cannot redirect %s: %s",
                 MPTCP_BACKEND_VARIABLE, symbol, reason);
    return OK;
}

/* For the sockets of workers. */
static int redirect_workers(const module *proxy, apr_pool_t *pconf,
                            server_rec *s)
{
    const char *symbol = "ap_proxy_connect_backend", *reason;
    void *function;
    apr_status_t rv = redirect_callers(symbol, (void *)connect_backend,
                                       &function, pconf, &reason);

    proxy_connect_backend = (connect_backend_fn *)function;
    if (rv == APR_SUCCESS) {
        symbol = "apr_socket_create";
        rv = mptcp_import_redirect(proxy, symbol, (void *)create_socket,
                                   pconf, &reason);
    }
    return rv == APR_SUCCESS ? OK : no_effect(rv, symbol, reason, s);
}

/*
 * post_config, in the parent, which has one thread.  The slots are put back
 * when pconf is cleared.
 */
static int redirect_proxy(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    int wanted = mptcp_proxy_wants_any();
    const char *names;

    (void)plog;
    if ((wanted || mptcp_backend_is_observed())
        && redirect_tunnels(wanted, pconf, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!wanted) {
        return OK;
    }
    make_said(2 * apr_hash_count(mptcp_main_conf()->workers) + 256, pconf);
    if (redirect_workers(proxy, pconf, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    names = linked_with(proxy, ptemp);
    if (names) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "multipathtcp and MPTCPProxyDefault have no effect on "
                     "connections of modules that are linked statically with "
                     "mod_proxy, they are plain TCP: %s", names);
    }
    return OK;
}

void mptcp_proxy_sockets_register_hooks(void)
{
    ap_hook_post_config(redirect_proxy, NULL, NULL, APR_HOOK_MIDDLE);
}
