/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_proxy's connections to backends: the worker parameter multipathtcp,
 * which connection belongs to which worker, and the sockets.
 *
 * The parameter.  2.4's mod_proxy hands every worker parameter that it does
 * not know to the optional function set_worker_hc_param, which
 * mod_proxy_hcheck registers.  Ours is put before it while mod_proxy fetches
 * that function.
 *
 * The socket.  Between apr_socket_create() and apr_socket_connect() in
 * mod_proxy there is no hook, and the first SYN has to carry MP_CAPABLE.  So
 * mod_proxy's import of apr_socket_create() is redirected here
 * (import_redirect.c), if some worker asks for MPTCP and only then; all else
 * of connecting stays mod_proxy's own.
 *
 * The worker.  mod_proxy makes the socket in a pool whose ancestors are the
 * connection's and then the worker's own pool (worker->cp->pool, one a worker
 * and process), by which the worker is found.
 *
 * mod_proxy need not be loaded, nor before this module: it is found by name,
 * and none of its symbols is linked.
 */

#include "mod_mptcp.h"
#include "mod_proxy.h"

#include "apr_optional.h"

APLOG_USE_MODULE(mptcp);

/* Trunk's mod_proxy makes MPTCP sockets itself and has no name_ex. */
#if AP_MODULE_MAGIC_AT_LEAST(20211221, 0)
#define WORKER_NAME(worker) ((worker)->s->name)
#elif AP_MODULE_MAGIC_AT_LEAST(20120211, 124)
#define WORKER_NAME(worker) ((worker)->s->name_ex)
#else
#define WORKER_NAME(worker) ((worker)->s->name)
#endif

/* scpool, the connection's pool, the worker's: how far up to look. */
#define POOL_LEVELS 3

/* A worker that connects by MPTCP. */
typedef struct {
    proxy_worker *worker;
    /*
     * Has the log been told that the kernel gave it no MPTCP socket?  Threads
     * may race for it and say it twice, which does no harm.
     */
    volatile int warned;
} mptcp_worker;

/*
 * The workers of this child that connect by MPTCP, by their pool's address.
 * Filled in child_init, before the child has threads, and only read after.
 */
static apr_hash_t *workers_by_pool;

/* mod_proxy's server configuration; NULL where mod_proxy is not loaded. */
static proxy_server_conf *proxy_conf(const server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");

    return proxy ? ap_get_module_config(s->module_config, proxy) : NULL;
}

/* Hash entries whose keys are pointers; keys are copied to the hash's pool. */
static void set_by_pointer(apr_hash_t *hash, const void *pointer,
                           const void *value)
{
    apr_hash_set(hash, apr_pmemdup(apr_hash_pool_get(hash), &pointer,
                                   sizeof(pointer)),
                 sizeof(pointer), value);
}

static void *get_by_pointer(apr_hash_t *hash, const void *pointer)
{
    return apr_hash_get(hash, &pointer, sizeof(pointer));
}

/* ---- the parameter ---------------------------------------------------- */

typedef APR_OPTIONAL_FN_TYPE(set_worker_hc_param) worker_param_fn;

/*
 * What was registered before us, or NULL; pool: pconf.  Written in pre_config
 * by the parent, which is when this module has just been loaded.
 */
static worker_param_fn *next_worker_param;

static const char *worker_param(apr_pool_t *p, server_rec *s,
                                proxy_worker *worker, const char *key,
                                const char *value, void *hc_template)
{
    static const int on = 1, off = 0;

    if (worker && ap_cstr_casecmp(key, "multipathtcp") == 0) {
        const int *setting = ap_cstr_casecmp(value, "on") == 0 ? &on
                           : ap_cstr_casecmp(value, "off") == 0 ? &off
                           : NULL;

        if (!setting) {
            return apr_psprintf(p, "multipathtcp=%s: allowed is On or Off",
                                value);
        }
        /* the record may still move as its array grows, worker->s stays */
        set_by_pointer(mptcp_main_conf()->worker_settings, worker->s, setting);
        return NULL;
    }
    if (next_worker_param) {
        return next_worker_param(p, s, worker, key, value, hc_template);
    }
    return "unknown Worker parameter";  /* as mod_proxy says it */
}

static void register_worker_param(worker_param_fn *fn)
{
    /* what APR_REGISTER_OPTIONAL_FN() does, less its demand on the name */
    apr_dynamic_fn_register("set_worker_hc_param", (apr_opt_fn_t *)fn);
}

/* pre_config, before mod_proxy's, which fetches the function. */
static int offer_worker_param(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    next_worker_param = APR_RETRIEVE_OPTIONAL_FN(set_worker_hc_param);
    register_worker_param(worker_param);
    return OK;
}

/*
 * pre_config, after mod_proxy's and before mod_proxy_balancer's, which
 * fetches the function too and takes its presence for mod_proxy_hcheck's.
 */
static int withdraw_worker_param(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    register_worker_param(next_worker_param);
    return OK;
}

/* ---- the workers ------------------------------------------------------ */

/* What to do with a worker of server s; see for_each_worker(). */
typedef void worker_fn(void *baton, server_rec *s, proxy_worker *worker);

/*
 * Call a function for each configured worker of each server.  A virtual host
 * has records of its own of the direct workers that it inherits, while it
 * shares balancers' members: those may come up several times.
 */
static void for_each_worker(server_rec *s, worker_fn *fn, void *baton)
{
    for (; s; s = s->next) {
        proxy_server_conf *conf = proxy_conf(s);
        int i, j;

        if (!conf) {
            return;
        }
        for (i = 0; i < conf->workers->nelts; i++) {
            fn(baton, s, &APR_ARRAY_IDX(conf->workers, i, proxy_worker));
        }
        for (i = 0; i < conf->balancers->nelts; i++) {
            proxy_balancer *balancer = &APR_ARRAY_IDX(conf->balancers, i,
                                                      proxy_balancer);

            for (j = 0; j < balancer->workers->nelts; j++) {
                fn(baton, s, APR_ARRAY_IDX(balancer->workers, j,
                                           proxy_worker *));
            }
        }
    }
}

/*
 * What a worker's configuration said: a member of a balancer is looked up by
 * its record, which stays, since post_config moves its worker->s to shared
 * memory; any other by its worker->s, since its record is copied and moved.
 */
static const void *worker_key(const proxy_worker *worker)
{
    return worker->balancer ? (const void *)worker : worker->s;
}

static int wants_mptcp(const proxy_worker *worker)
{
    const int *setting = get_by_pointer(mptcp_main_conf()->worker_settings,
                                        worker_key(worker));

    return setting && *setting;
}

/* Give the setting of a balancer's member the key it keeps. */
static void keep_setting(void *baton, server_rec *s, proxy_worker *worker)
{
    apr_hash_t *settings = mptcp_main_conf()->worker_settings;
    const int *setting = get_by_pointer(settings, worker->s);
    int *any = baton;

    (void)s;
    if (setting) {
        set_by_pointer(settings, worker_key(worker), setting);
        *any |= *setting;
    }
}

/* ---- the sockets ------------------------------------------------------ */

/* The worker whose connection this pool belongs to, if it wants MPTCP. */
static mptcp_worker *worker_of_pool(apr_pool_t *pool)
{
    mptcp_worker *found = NULL;
    int level;

    for (level = 0; pool && !found && level < POOL_LEVELS; level++) {
        found = get_by_pointer(workers_by_pool, pool);
        pool = apr_pool_parent_get(pool);
    }
    return found;
}

/*
 * What mod_proxy calls for apr_socket_create(): the same, with MPTCP for the
 * connections of workers that ask for it.  Whatever the reason why there is
 * no MPTCP socket, TCP is tried: if that fails too (EMFILE, say), its error is
 * the one that mod_proxy is to see.
 */
static apr_status_t worker_socket_create(apr_socket_t **sd, int family,
                                         int type, int protocol,
                                         apr_pool_t *pool)
{
    mptcp_worker *found = NULL;
    apr_status_t refused, rv;

    if (workers_by_pool && type == SOCK_STREAM
        && (family == APR_INET || family == APR_INET6)) {
        found = worker_of_pool(pool);
    }
    if (!found) {
        return apr_socket_create(sd, family, type, protocol, pool);
    }

    refused = apr_socket_create(sd, family, type, IPPROTO_MPTCP, pool);
    if (refused == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    rv = apr_socket_create(sd, family, type, protocol, pool);
    if (rv == APR_SUCCESS && !found->warned) {
        found->warned = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, refused, ap_server_conf,
                     "worker %s connects by plain TCP: the kernel gives no "
                     "MPTCP socket, %s", WORKER_NAME(found->worker),
                     mptcp_refusal_text(refused));
    }
    return rv;
}

/* ---- hooks ------------------------------------------------------------ */

/*
 * post_config, in the parent: settle which workers connect by MPTCP, and
 * redirect mod_proxy's import if one does.
 */
static int settle_workers(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const char *reason;
    apr_status_t rv;
    int any = 0;

    (void)plog;
    (void)ptemp;
    for_each_worker(s, keep_setting, &any);
    if (!any) {
        return OK;
    }
    rv = mptcp_import_redirect(proxy, "apr_socket_create",
                               (void *)worker_socket_create, pconf, &reason);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "multipathtcp=On has no effect, workers connect by plain "
                     "TCP: cannot redirect mod_proxy's apr_socket_create: %s",
                     reason);
    }
    return OK;
}

/* Note a worker by its pool; the pool lives as long as the child. */
static void note_pool(void *baton, server_rec *s, proxy_worker *worker)
{
    apr_pool_t *p = baton;

    (void)s;
    if (worker->cp && wants_mptcp(worker)) {
        mptcp_worker *noted = apr_pcalloc(p, sizeof(*noted));

        noted->worker = worker;
        set_by_pointer(workers_by_pool, worker->cp->pool, noted);
    }
}

/* child_init: the workers of this child have their pools now. */
static void note_pools(apr_pool_t *pchild, server_rec *s)
{
    workers_by_pool = apr_hash_make(pchild);
    for_each_worker(s, note_pool, pchild);
}

void mptcp_proxy_register_hooks(void)
{
    static const char *const proxy[] = { "mod_proxy.c", NULL };
    static const char *const balancer[] = { "mod_proxy_balancer.c", NULL };
    static const char *const both[] = {
        "mod_proxy.c", "mod_proxy_balancer.c", NULL
    };

    ap_hook_pre_config(offer_worker_param, NULL, both, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_config(withdraw_worker_param, proxy, balancer,
                       APR_HOOK_MIDDLE);
    /* before mod_proxy_balancer's, which moves worker->s to shared memory */
    ap_hook_post_config(settle_workers, NULL, balancer,
                        APR_HOOK_REALLY_FIRST);
    /* after theirs, which make the workers' pools */
    ap_hook_child_init(note_pools, both, NULL, APR_HOOK_LAST);
}
