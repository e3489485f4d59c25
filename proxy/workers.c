/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which of mod_proxy's workers connect by MPTCP: the worker parameter
 * multipathtcp, MPTCPProxyDefault, and the answer for any worker.
 *
 * The parameter.  2.4's mod_proxy hands every worker parameter that it does
 * not know to the optional function set_worker_hc_param, which
 * mod_proxy_hcheck registers.  Ours is put before it while mod_proxy fetches
 * that function.
 *
 * The workers.  A worker's record (proxy_worker) is copied and moved while
 * the configuration is read: arrays grow, virtual hosts inherit.  What it
 * shares with its copies (worker->s) stays until mod_proxy_balancer's
 * post_config moves that to shared memory.  So the parameter is noted by
 * worker->s, and settled in check_config by record: from then on the records
 * of all configured workers stay where they are, in this process and in the
 * children that it forks.
 *
 * A virtual host has records, and with them connections, of its own of the
 * direct workers which it inherits, where that matters (part_direct()).
 * Balancers' members are shared by the server that defines them and those
 * that inherit them.
 *
 * mod_proxy need not be loaded, nor before this module: it is found by name,
 * and none of its symbols is linked.
 */

#include "mod_mptcp.h"
#include "mod_proxy.h"

#include "apr_optional.h"

#include <dlfcn.h>

APLOG_USE_MODULE(mptcp);

/*
 * Trunk's mod_proxy knows the parameter itself and keeps it in sock_proto; it
 * has no name_ex, which 2.4.51 brought.
 */
#if AP_MODULE_MAGIC_AT_LEAST(20211221, 27)
#define HAVE_SOCK_PROTO 1
#endif
#if !AP_MODULE_MAGIC_AT_LEAST(20200420, 0) \
    && AP_MODULE_MAGIC_AT_LEAST(20120211, 124)
#define HAVE_NAME_EX 1
#endif

/* Is the worker's name a pattern?  They have been told apart since 2.4.47. */
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 94)
#define IS_PATTERN(worker) ((worker)->s->is_name_matchable)
#else
#define IS_PATTERN(worker) 0
#endif

/* What a setting points at; NULL is one that was not made. */
static const int setting_values[] = { 0, 1 };

#define SETTING(on) (&setting_values[(on) != 0])

/* Hash entries whose keys are pointers; keys are copied to the hash's pool. */
static void set_by_pointer(apr_hash_t *hash, const void *pointer,
                           const int *setting)
{
    apr_hash_set(hash, apr_pmemdup(apr_hash_pool_get(hash), &pointer,
                                   sizeof(pointer)),
                 sizeof(pointer), setting);
}

static const int *get_by_pointer(apr_hash_t *hash, const void *pointer)
{
    return apr_hash_get(hash, &pointer, sizeof(pointer));
}

/* ---- mod_proxy, as far as it is there --------------------------------- */

void *mptcp_proxy_conf(const server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");

    return proxy ? ap_get_module_config(s->module_config, proxy) : NULL;
}

void *mptcp_proxy_function(const char *name)
{
    /* modules are loaded with RTLD_GLOBAL: mod_proxy's own need its symbols */
    return dlsym(RTLD_DEFAULT, name);
}

const char *mptcp_worker_name(const proxy_worker *worker)
{
#ifdef HAVE_NAME_EX
    return worker->s->name_ex;
#else
    return worker->s->name;
#endif
}

apr_port_t mptcp_worker_port(const proxy_worker *worker)
{
    return IS_PATTERN(worker) ? 0 : worker->s->port;
}

/* ---- multipathtcp=On|Off ---------------------------------------------- */

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
        set_by_pointer(mptcp_main_conf()->worker_settings, worker->s,
                       SETTING(on));
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

/* What the configuration said of a worker, or NULL; for check_config. */
static const int *worker_setting(const proxy_worker *worker)
{
#ifdef HAVE_SOCK_PROTO
    if (worker->s->sock_proto) {
        return SETTING(worker->s->sock_proto == IPPROTO_MPTCP);
    }
#endif
    return get_by_pointer(mptcp_main_conf()->worker_settings, worker->s);
}

/* ---- MPTCPProxyDefault ------------------------------------------------ */

const char *mptcp_proxy_default_directive(cmd_parms *cmd, void *dummy,
                                          int flag)
{
    mptcp_server_conf *conf = ap_get_module_config(cmd->server->module_config,
                                                   &mptcp_module);
    module *proxy = ap_find_linked_module("mod_proxy.c");

    (void)dummy;
    conf->proxy_default = flag;
    /*
     * A virtual host without a directive of mod_proxy shares the main
     * server's configuration of it; with a default of its own it needs its
     * own, see part_direct().
     */
    if (proxy) {
        ap_set_config_vectors(cmd->server, cmd->context, cmd->path, proxy,
                              cmd->pool);
    }
    return NULL;
}

int mptcp_proxy_default(const server_rec *s)
{
    const mptcp_server_conf *conf = ap_get_module_config(s->module_config,
                                                         &mptcp_module);

    return conf->proxy_default == 1;
}

/* ---- settling --------------------------------------------------------- */

/* A Unix domain socket is none, whatever is said. */
static int is_tcp(const proxy_worker *worker)
{
    return !*worker->s->uds_path;
}

static void settle(apr_hash_t *workers, const proxy_worker *worker,
                   const int *setting)
{
    set_by_pointer(workers, worker, is_tcp(worker) ? setting : SETTING(0));
}

/*
 * A virtual host that has nothing of mod_proxy's, or no worker, of its own
 * shares the main server's records of direct workers, and with them pooled
 * connections.  With another default than that server's it is given records
 * of its own, as it would have with one more ProxyPass.
 */
static void part_direct(const server_rec *s, proxy_server_conf *proxy,
                        apr_hash_t *workers, apr_pool_t *pconf)
{
    if (proxy->workers->nelts && get_by_pointer(workers, proxy->workers->elts)
        && mptcp_proxy_default(s) != mptcp_proxy_default(ap_server_conf)) {
        proxy->workers = apr_array_copy(pconf, proxy->workers);
    }
}

/*
 * The direct workers of a server.  One that is inherited and one of the
 * server's own may have the same URL; mod_proxy then uses the first, which is
 * inherited, and the parameter of the last, which is the server's own, is
 * what its administrator wants.  (A worker of ProxyPassMatch is not the one
 * of ProxyPass with the same URL, nor is that of a Unix domain socket.)
 */
static void settle_direct(const server_rec *s, apr_array_header_t *list,
                          apr_hash_t *workers, apr_pool_t *ptemp)
{
    const int *otherwise = SETTING(mptcp_proxy_default(s));
    apr_hash_t *by_name[2];
    int i;

    by_name[0] = apr_hash_make(ptemp);
    by_name[1] = apr_hash_make(ptemp);
    for (i = 0; i < list->nelts; i++) {
        const proxy_worker *worker = &APR_ARRAY_IDX(list, i, proxy_worker);
        const int *setting = worker_setting(worker);

        if (setting && is_tcp(worker)) {
            apr_hash_set(by_name[IS_PATTERN(worker)],
                         mptcp_worker_name(worker), APR_HASH_KEY_STRING,
                         setting);
        }
    }
    for (i = 0; i < list->nelts; i++) {
        const proxy_worker *worker = &APR_ARRAY_IDX(list, i, proxy_worker);
        const int *setting = apr_hash_get(
            by_name[IS_PATTERN(worker)], mptcp_worker_name(worker),
            APR_HASH_KEY_STRING);

        /* shared with the main server, which comes first? */
        if (!get_by_pointer(workers, worker)) {
            settle(workers, worker, setting ? setting : otherwise);
        }
    }
}

/*
 * The members of a server's balancers, unless they are inherited: the main
 * server, whose are, comes first.  Those that the balancer manager adds later
 * are known by the balancer's list of members, one list for all that share it.
 */
static void settle_members(const server_rec *s, apr_array_header_t *balancers,
                           mptcp_server_conf *conf)
{
    const int *setting = SETTING(mptcp_proxy_default(s));
    int i, j;

    for (i = 0; i < balancers->nelts; i++) {
        apr_array_header_t *members = APR_ARRAY_IDX(balancers, i,
                                                    proxy_balancer).workers;

        if (get_by_pointer(conf->balancers, members)) {
            continue;
        }
        set_by_pointer(conf->balancers, members, setting);
        for (j = 0; j < members->nelts; j++) {
            const proxy_worker *worker = APR_ARRAY_IDX(members, j,
                                                       proxy_worker *);
            const int *own = worker_setting(worker);

            settle(conf->workers, worker, own ? own : setting);
        }
    }
}

/* Does any worker or server, from s on, want MPTCP? */
static int wants_any(apr_hash_t *workers, server_rec *s)
{
    /* NULL: by the hash's own iterator, which threads must not share */
    apr_hash_index_t *at = apr_hash_first(NULL, workers);

    for (; at; at = apr_hash_next(at)) {
        void *setting;

        apr_hash_this(at, NULL, NULL, &setting);
        if (*(const int *)setting) {
            return 1;
        }
    }
    for (; s; s = s->next) {
        if (mptcp_proxy_conf(s) && mptcp_proxy_default(s)) {
            return 1;
        }
    }
    return 0;
}

/* check_config, in the parent: what is wanted of each configured worker. */
static int settle_workers(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *main_server)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    server_rec *s;

    (void)plog;
    conf->workers = apr_hash_make(pconf);
    conf->balancers = apr_hash_make(pconf);
    for (s = main_server; s; s = s->next) {
        proxy_server_conf *proxy = mptcp_proxy_conf(s);

        if (proxy) {
            part_direct(s, proxy, conf->workers, pconf);
            settle_direct(s, proxy->workers, conf->workers, ptemp);
            settle_members(s, proxy->balancers, conf);
        }
    }
    conf->proxy_wants_any = wants_any(conf->workers, main_server);
    return OK;
}

/* ---- answers ---------------------------------------------------------- */

int mptcp_proxy_wants_any(void)
{
    return mptcp_main_conf()->proxy_wants_any;
}

/*
 * mod_proxy_hcheck connects by hidden workers, one for each member that it
 * checks, made in the child when it is first checked.  Such a worker is no
 * balancer's, and its name is the member's address, as apr_snprintf() prints
 * it: the name of any other has a colon or an asterisk in it.  The member is
 * never freed while the child lives.
 */
const proxy_worker *mptcp_worker_checked(const proxy_worker *worker)
{
    char *end;
    apr_int64_t address;

    if (worker->balancer) {
        return worker;
    }
    address = apr_strtoi64(worker->s->name, &end, 16);
    if (address <= 0 || *end) {
        return worker;
    }
    return (const proxy_worker *)(apr_uintptr_t)address;
}

int mptcp_worker_wants(const proxy_worker *worker, const server_rec *s)
{
    const mptcp_server_conf *conf = mptcp_main_conf();
    const int *setting;

    worker = mptcp_worker_checked(worker);
    setting = get_by_pointer(conf->workers, worker);
    if (!setting && worker->balancer) {
        /* a member that was added at run time */
        setting = get_by_pointer(conf->balancers, worker->balancer->workers);
    }
    /* else one of mod_proxy's own, for requests that fit no other */
    return setting ? *setting : mptcp_proxy_default(s);
}

void mptcp_proxy_workers_register_hooks(void)
{
    static const char *const proxy[] = { "mod_proxy.c", NULL };
    static const char *const balancer[] = { "mod_proxy_balancer.c", NULL };
    static const char *const both[] = {
        "mod_proxy.c", "mod_proxy_balancer.c", NULL
    };

    ap_hook_pre_config(offer_worker_param, NULL, both, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_config(withdraw_worker_param, proxy, balancer,
                       APR_HOOK_MIDDLE);
    /*
     * Virtual hosts have inherited by then, and worker->s has not been moved;
     * before proxy_shared.c's, which compares.
     */
    ap_hook_check_config(settle_workers, NULL, NULL, APR_HOOK_FIRST);
}
