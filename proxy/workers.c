/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which of mod_proxy's workers connect by MPTCP: what the parameter
 * multipathtcp and MPTCPProxyDefault come to, and the answer for any worker.
 *
 * A worker's record (proxy_worker) is copied and moved while the configuration
 * is read: arrays grow, virtual hosts inherit.  What it shares with its copies
 * (worker->s) stays until mod_proxy_balancer's post_config moves that to
 * shared memory.  So the parameter is noted by worker->s, and settled in
 * check_config by record: from then on the records of all configured workers
 * stay where they are, in this process and in the children that it forks.
 *
 * A virtual host has records, and with them connections, of its own of the
 * direct workers which it inherits, where that matters (part_direct()).
 * Balancers' members are shared by the server that defines them and those
 * that inherit them.
 *
 * mod_proxy need not be loaded, nor before this module: it is found by name,
 * and none of its symbols is linked.
 */

#include "proxy/private.h"

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

/*
 * What parameters and defaults have come to; pool: pconf.  Made in
 * check_config, and only read after that: by record, and, for members that
 * balancers get at run time, by the balancers' arrays of members.
 */
static apr_hash_t *settled_workers, *settled_balancers;
static int wants_any;

/*
 * A hash of settings by pointer.  Keys are copied to its pool, and so is a
 * setting, 1 or 0.
 */
static void set_by_pointer(apr_hash_t *hash, const void *pointer, int on)
{
    apr_pool_t *p = apr_hash_pool_get(hash);

    apr_hash_set(hash, apr_pmemdup(p, &pointer, sizeof(pointer)),
                 sizeof(pointer), apr_pmemdup(p, &on, sizeof(on)));
}

/* NULL: there is no such pointer. */
static const int *get_by_pointer(apr_hash_t *hash, const void *pointer)
{
    return apr_hash_get(hash, &pointer, sizeof(pointer));
}

/* ---- mod_proxy, as far as it is there ----------------------------------- */

proxy_server_conf *mptcp_proxy_conf(const server_rec *s)
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

/* The port of a worker's backend; 0: it has no one port. */
static apr_port_t worker_port(const proxy_worker *worker)
{
    return MPTCP_IS_PATTERN(worker) ? 0 : worker->s->port;
}

/* ---- what the configuration says ---------------------------------------- */

void mptcp_worker_set(const proxy_worker *worker, int on)
{
    set_by_pointer(mptcp_global()->worker_settings, worker->s, on);
}

/* What it said of a worker, 1 or 0, or MPTCP_UNSET; for check_config. */
static int worker_setting(const proxy_worker *worker)
{
    const int *setting;

#ifdef HAVE_SOCK_PROTO
    if (worker->s->sock_proto) {
        return worker->s->sock_proto == IPPROTO_MPTCP;
    }
#endif
    setting = get_by_pointer(mptcp_global()->worker_settings, worker->s);
    return setting ? *setting : MPTCP_UNSET;
}

const char *mptcp_proxy_default_directive(cmd_parms *cmd, void *dummy,
                                          int flag)
{
    mptcp_server_conf *conf = ap_get_module_config(cmd->server->module_config,
                                                   &mptcp_module);
    module *proxy = ap_find_linked_module("mod_proxy.c");

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

/* ---- settling ----------------------------------------------------------- */

/* A Unix domain socket is none, whatever is said. */
static int is_tcp(const proxy_worker *worker)
{
    return !*worker->s->uds_path;
}

static void settle(const proxy_worker *worker, int on)
{
    set_by_pointer(settled_workers, worker, on && is_tcp(worker));
}

/*
 * A virtual host that has nothing of mod_proxy's, or no worker, of its own
 * shares the main server's records of direct workers, and with them pooled
 * connections.  With another default than that server's it is given records
 * of its own, as it would have with one more ProxyPass.
 */
static void part_direct(const server_rec *s, proxy_server_conf *proxy,
                        apr_pool_t *pconf)
{
    if (proxy->workers->nelts
        && get_by_pointer(settled_workers, proxy->workers->elts)
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
                          apr_pool_t *ptemp)
{
    const int otherwise = mptcp_proxy_default(s);
    apr_hash_t *by_name[2];             /* const int *: plain, patterns */
    int i;

    by_name[0] = apr_hash_make(ptemp);
    by_name[1] = apr_hash_make(ptemp);
    for (i = 0; i < list->nelts; i++) {
        const proxy_worker *worker = &APR_ARRAY_IDX(list, i, proxy_worker);
        int setting = worker_setting(worker);

        if (setting != MPTCP_UNSET && is_tcp(worker)) {
            apr_hash_set(by_name[MPTCP_IS_PATTERN(worker)],
                         mptcp_worker_name(worker), APR_HASH_KEY_STRING,
                         apr_pmemdup(ptemp, &setting, sizeof(setting)));
        }
    }
    for (i = 0; i < list->nelts; i++) {
        const proxy_worker *worker = &APR_ARRAY_IDX(list, i, proxy_worker);
        const int *setting = apr_hash_get(
            by_name[MPTCP_IS_PATTERN(worker)], mptcp_worker_name(worker),
            APR_HASH_KEY_STRING);

        /* shared with the main server, which comes first? */
        if (!get_by_pointer(settled_workers, worker)) {
            settle(worker, setting ? *setting : otherwise);
        }
    }
}

/*
 * The members of a server's balancers, unless they are inherited: the main
 * server, whose are, comes first.  Those that the balancer manager adds later
 * are known by the balancer's list of members, one list for all that share it.
 */
static void settle_members(const server_rec *s, apr_array_header_t *list)
{
    const int otherwise = mptcp_proxy_default(s);
    int i, j;

    for (i = 0; i < list->nelts; i++) {
        apr_array_header_t *members = APR_ARRAY_IDX(list, i,
                                                    proxy_balancer).workers;

        if (get_by_pointer(settled_balancers, members)) {
            continue;
        }
        set_by_pointer(settled_balancers, members, otherwise);
        for (j = 0; j < members->nelts; j++) {
            const proxy_worker *worker = APR_ARRAY_IDX(members, j,
                                                       proxy_worker *);
            int setting = worker_setting(worker);

            settle(worker, setting != MPTCP_UNSET ? setting : otherwise);
        }
    }
}

/* Does any worker, or any server from s on, want MPTCP? */
static int find_any(server_rec *s)
{
    /* NULL: by the hash's own iterator, which threads must not share */
    apr_hash_index_t *at = apr_hash_first(NULL, settled_workers);

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

int mptcp_workers_settle(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *main_server)
{
    server_rec *s;

    settled_workers = apr_hash_make(pconf);
    settled_balancers = apr_hash_make(pconf);
    for (s = main_server; s; s = s->next) {
        proxy_server_conf *proxy = mptcp_proxy_conf(s);

        if (proxy) {
            part_direct(s, proxy, pconf);
            settle_direct(s, proxy->workers, ptemp);
            settle_members(s, proxy->balancers);
        }
    }
    wants_any = find_any(main_server);
    return OK;
}

void mptcp_workers_name(server_rec *s)
{
    apr_hash_index_t *at;

    if (!wants_any) {
        return;
    }
    at = apr_hash_first(NULL, settled_workers);
    for (; at; at = apr_hash_next(at)) {
        const proxy_worker *const *worker;
        mptcp_counted *one;
        const void *key;
        void *setting;

        apr_hash_this(at, &key, NULL, &setting);
        worker = key;
        if (*(const int *)setting) {
            one = mptcp_counted_name(s->process, MPTCP_COUNTER_WORKER,
                                     mptcp_worker_name(*worker));
            one->port = worker_port(*worker);
        }
    }
    /* forward proxies, tunnels, members that are added at run time */
    mptcp_counted_name(s->process, MPTCP_COUNTER_WORKER, MPTCP_COUNTER_OTHER);
    mptcp_counted_end(s->process, MPTCP_COUNTER_WORKER);
}

static int by_name(const void *va, const void *vb)
{
    const mptcp_worker_wish *a = va, *b = vb;
    int order = strcmp(a->name, b->name);

    return order ? order : a->is_mptcp - b->is_mptcp;
}

/* By what is written: a name is looked up when there is a request for it. */
static int is_backend_here(const proxy_worker *worker)
{
    const char *host = worker->s->hostname;

    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0
           || ap_cstr_casecmp(host, "localhost") == 0;
}

apr_array_header_t *mptcp_workers_list(apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(mptcp_worker_wish));
    apr_hash_index_t *at = apr_hash_first(p, settled_workers);

    for (; at; at = apr_hash_next(at)) {
        const proxy_worker *const *worker;
        mptcp_worker_wish *one = apr_array_push(list);
        const void *key;
        void *setting;

        apr_hash_this(at, &key, NULL, &setting);
        worker = key;
        one->name = mptcp_shown_name(p, mptcp_worker_name(*worker));
        one->is_mptcp = *(const int *)setting;
        one->is_loopback = is_backend_here(*worker);
    }
    qsort(list->elts, list->nelts, sizeof(mptcp_worker_wish), by_name);
    return list;
}

/* ---- answers ------------------------------------------------------------ */

int mptcp_proxy_wants_any(void)
{
    return wants_any;
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
    const int *setting;

    worker = mptcp_worker_checked(worker);
    setting = get_by_pointer(settled_workers, worker);
    if (!setting && worker->balancer) {
        /* a member that was added at run time */
        setting = get_by_pointer(settled_balancers, worker->balancer->workers);
    }
    /* else one of mod_proxy's own, for requests that fit no other */
    return setting ? *setting : mptcp_proxy_default(s);
}
