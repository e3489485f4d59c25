/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Counters of connections, for all children of the server together.
 *
 * A client's connection is counted when a child takes it on, so that no count
 * is lost with a child that is killed: one atomic add.  What only its end can
 * tell is added then: that it fell back to TCP, that further subflows joined
 * it.  A connection to a backend is counted when it has been established.
 * Requests are not counted, and connections to plain TCP listeners cost a few
 * comparisons, or nothing where no listener is MPTCP.
 *
 * The counters are in anonymous shared memory of process->pool, mapped by the
 * parent before it forks.  There they outlive restarts, as old children do
 * which still count; they begin at zero when the server is started.  Each has
 * a name, a listener's address or a worker's URL, by which a new
 * configuration finds it again.  Names are given out by the parent, in
 * post_config, while it has a single thread; children add, and read, and take
 * no lock, so that one that is killed leaves nothing behind.
 */

#include "mod_mptcp.h"

#include "apr_shm.h"
#include "apr_uri.h"
#include "http_connection.h"

#include <stdlib.h>

APLOG_USE_MODULE(mptcp);

/* Counters are made so many at a time. */
#define SEGMENT 64

/* How many addresses of its backends a worker's counter remembers. */
#define PEERS 32

/* In shared memory; on cache lines of its own, of this size. */
#define CACHE_LINE 64

struct mptcp_counter {
    apr_uint64_t mptcp;
    apr_uint64_t fallback;
    apr_uint64_t tcp;
    apr_uint64_t joins;
    /*
     * The addresses lately connected to, as peer_key() has them; 0: none.
     * Written round, each by one store, so that a reader sees a whole one.
     */
    apr_uint64_t peers_seen;
    apr_uint64_t peers[PEERS];
} __attribute__((aligned(CACHE_LINE)));

/*
 * What is in process->pool, under this key; its number changes with the
 * structure, for a restart may bring a newer module.
 */
#define REGISTRY_KEY "mod_mptcp:counters:1"

typedef struct {
    apr_time_t since;
    apr_hash_t *by_name[MPTCP_COUNTER_KINDS];
    mptcp_counter *next_free;
    int free;
} registry;

/*
 * The counters of this configuration, an array of mptcp_counted for each
 * kind; pool: pconf.  Made in post_config, and only read after that.
 */
static apr_array_header_t *counted[MPTCP_COUNTER_KINDS];

/* The worker that is none of the configuration's; also in the above. */
static const mptcp_counted *other_worker;

static apr_time_t counted_since;

/* ---- names ------------------------------------------------------------- */

static registry *get_registry(process_rec *process)
{
    void *data = NULL;
    registry *r;
    int kind;

    apr_pool_userdata_get(&data, REGISTRY_KEY, process->pool);
    if (data) {
        return data;
    }
    r = apr_pcalloc(process->pool, sizeof(*r));
    r->since = apr_time_now();
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        r->by_name[kind] = apr_hash_make(process->pool);
    }
    /* copies the key, which is in memory that will be unloaded */
    apr_pool_userdata_set(r, REGISTRY_KEY, NULL, process->pool);
    return r;
}

/* The counter of a name, a new one if it has none; NULL without memory. */
static mptcp_counter *get_counter(process_rec *process, int kind,
                                  const char *name)
{
    registry *r = get_registry(process);
    mptcp_counter *counter = apr_hash_get(r->by_name[kind], name,
                                          APR_HASH_KEY_STRING);

    if (counter) {
        return counter;
    }
    if (r->free == 0) {
        const apr_size_t size = SEGMENT * sizeof(mptcp_counter);
        apr_shm_t *shm;
        /* APR keeps the size in front: its address is no multiple of 64 */
        apr_status_t rv = apr_shm_create(&shm, size + CACHE_LINE - 1, NULL,
                                         process->pool);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
                         "no shared memory for counters: %s is not counted",
                         name);
            return NULL;
        }
        r->next_free = (mptcp_counter *)
            APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(shm), CACHE_LINE);
        memset(r->next_free, 0, size);
        r->free = SEGMENT;
    }
    r->free--;
    counter = r->next_free++;
    apr_hash_set(r->by_name[kind], apr_pstrdup(process->pool, name),
                 APR_HASH_KEY_STRING, counter);
    return counter;
}

/* What is shown of a name: a worker's URL may have a password (ftp). */
static const char *shown_name(apr_pool_t *p, const char *name)
{
    apr_uri_t uri;

    if (apr_uri_parse(p, name, &uri) != APR_SUCCESS || !uri.password) {
        return name;
    }
    return apr_uri_unparse(p, &uri, 0);
}

/* Let a name be counted in this configuration, unless it is already. */
static mptcp_counted *count_name(process_rec *process, int kind,
                                 const char *name)
{
    apr_array_header_t *list = counted[kind];
    mptcp_counted *one;
    mptcp_counter *counter;
    int i;

    for (i = 0; i < list->nelts; i++) {
        one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        if (strcmp(one->key, name) == 0) {
            return one;
        }
    }
    counter = get_counter(process, kind, name);
    if (!counter) {
        return NULL;
    }
    one = apr_array_push(list);
    memset(one, 0, sizeof(*one));
    one->key = apr_pstrdup(list->pool, name);
    one->name = shown_name(list->pool, one->key);
    one->counter = counter;
    return one;
}

static int by_port_and_name(const void *va, const void *vb)
{
    const mptcp_counted *a = va, *b = vb;

    return a->port != b->port ? (a->port < b->port ? -1 : 1)
                              : strcmp(a->name, b->name);
}

static int by_key(const void *va, const void *vb)
{
    const mptcp_counted *a = va, *b = vb;

    return strcmp(a->key, b->key);
}

/* Is a listener to be MPTCP, or another of its address (listen_change.c)? */
static int address_wanted(const ap_listen_rec *lr)
{
    const mptcp_server_conf *conf = mptcp_main_conf();
    const ap_listen_rec *other;

    for (other = ap_listeners; other; other = other->next) {
        if (mptcp_listener_wanted(conf, other)
            && other->bind_addr->port == lr->bind_addr->port
            && apr_sockaddr_equal(other->bind_addr, lr->bind_addr)) {
            return 1;
        }
    }
    return 0;
}

/*
 * The listeners that are to be MPTCP, and those that a service manager passed
 * on and are; but not those which are steered away from.
 */
static void name_listeners(process_rec *process, apr_pool_t *p)
{
    const ap_listen_rec *lr;

    for (lr = ap_listeners; lr; lr = lr->next) {
        int is_mptcp = mptcp_listener_is_mptcp(lr);
        mptcp_counted *one;

        if (!address_wanted(lr)
            && (!is_mptcp || mptcp_listener_has_twin(lr, process))) {
            continue;
        }
        one = count_name(process, MPTCP_COUNTER_LISTENER,
                         apr_psprintf(p, "%pI", lr->bind_addr));
        if (one) {
            one->address = lr->bind_addr;
            one->port = lr->bind_addr->port;
            one->is_mptcp |= is_mptcp;
            one->is_ipv6_only = mptcp_socket_option(lr->sd, IPPROTO_IPV6,
                                                    IPV6_V6ONLY) > 0;
        }
    }
    qsort(counted[MPTCP_COUNTER_LISTENER]->elts,
          counted[MPTCP_COUNTER_LISTENER]->nelts, sizeof(mptcp_counted),
          by_port_and_name);
}

static void name_workers(process_rec *process)
{
    apr_array_header_t *list = counted[MPTCP_COUNTER_WORKER];
    apr_hash_t *workers = mptcp_main_conf()->workers;
    apr_hash_index_t *at;
    mptcp_counted *one;
    int i;

    if (!mptcp_proxy_wants_any()) {
        return;
    }
    for (at = apr_hash_first(NULL, workers); at; at = apr_hash_next(at)) {
        const struct proxy_worker *const *worker;
        const void *key;
        void *setting;

        apr_hash_this(at, &key, NULL, &setting);
        worker = key;
        if (*(const int *)setting) {
            one = count_name(process, MPTCP_COUNTER_WORKER,
                             mptcp_worker_name(*worker));
            if (one) {
                one->port = mptcp_worker_port(*worker);
            }
        }
    }
    /* forward proxies, tunnels, members that are added at run time */
    count_name(process, MPTCP_COUNTER_WORKER, MPTCP_COUNTER_OTHER);
    qsort(list->elts, list->nelts, sizeof(mptcp_counted), by_key);
    for (i = 0; i < list->nelts; i++) {
        one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        if (strcmp(one->name, MPTCP_COUNTER_OTHER) == 0) {
            other_worker = one;
        }
    }
}

/*
 * post_config, in the parent: what is to be counted.  The listeners are bound
 * since open_logs, and the workers are settled since check_config.
 */
static int name_counters(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s)
{
    int kind;

    (void)plog;
    other_worker = NULL;
    counted_since = 0;
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        counted[kind] = apr_array_make(pconf, 4, sizeof(mptcp_counted));
    }
    if (mptcp_is_check_pass()) {
        return OK;
    }
    name_listeners(s->process, ptemp);
    name_workers(s->process);
    if (counted[MPTCP_COUNTER_LISTENER]->nelts
        || counted[MPTCP_COUNTER_WORKER]->nelts) {
        counted_since = get_registry(s->process)->since;
    }
    return OK;
}

/* ---- counting ---------------------------------------------------------- */

/*
 * Nothing else is ordered by these, so no barrier is needed; a reader sees
 * whole numbers.
 */
static void add(apr_uint64_t *number, apr_uint64_t n)
{
    __atomic_fetch_add(number, n, __ATOMIC_RELAXED);
}

static apr_uint64_t get(const apr_uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

/*
 * Is it a wildcard for an address?  That of IPv6 mostly is for IPv4 too; the
 * address of such a connection is a v4-mapped one, or, in diag.c, an IPv4 one.
 */
static int is_wildcard_for(const mptcp_counted *one,
                           const apr_sockaddr_t *local)
{
    return apr_sockaddr_is_wildcard(one->address)
           && (one->address->family == local->family
               || (one->address->family == APR_INET6 && !one->is_ipv6_only));
}

/*
 * Is it at this address?  Of an MPTCP socket the kernel does not list the scope
 * (Linux 6.18): without one, a link-local address is of any.
 */
static int is_at(const mptcp_counted *one, const apr_sockaddr_t *local)
{
    return apr_sockaddr_equal(one->address, local)
           || (local->family == APR_INET6 && local->sa.sin6.sin6_scope_id == 0
               && one->address->family == APR_INET6
               && memcmp(one->address->ipaddr_ptr, local->ipaddr_ptr,
                         local->ipaddr_len) == 0);
}

const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_LISTENER];
    const mptcp_counted *wildcard = NULL;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->port != local->port) {
            continue;
        }
        if (is_at(one, local)) {
            return one;
        }
        if (is_wildcard_for(one, local)) {
            wildcard = one;
        }
    }
    return wildcard;
}

/* Where the counter of an MPTCP connection is found when it ends. */
#define CONNECTION_KEY "mod_mptcp:counter"

/*
 * pre_connection: a child takes a connection on.  mod_proxy's to backends,
 * which pass by here too, have no entry in the scoreboard; HTTP/2's streams
 * have a master.
 */
static int count_accepted(conn_rec *c, void *csd)
{
    const mptcp_counted *one;
    int protocol;

    if (counted[MPTCP_COUNTER_LISTENER]->nelts == 0 || c->master || !c->sbh
        || !(one = mptcp_counted_listener(c->local_addr))) {
        return OK;
    }
    protocol = mptcp_socket_option(csd, SOL_SOCKET, SO_PROTOCOL);
    if (protocol != IPPROTO_MPTCP) {
        add(&one->counter->tcp, 1);
        if (protocol == IPPROTO_TCP) {
            mptcp_connection_note(c, MPTCP_STATE_OFF);
        }
        return OK;
    }
    add(&one->counter->mptcp, 1);
    apr_pool_userdata_setn(one->counter, CONNECTION_KEY, NULL, c->pool);
    return OK;
}

/*
 * pre_close_connection: a connection ends, its socket is still open.  How
 * many subflows there ever were the kernel does not say, but how many there
 * are: what joined and left before is not seen.
 */
static int count_ended(conn_rec *c)
{
    void *data = NULL;
    mptcp_counter *counter;
    mptcp_reading reading;
    apr_socket_t *sd;
    apr_os_sock_t fd;

    apr_pool_userdata_get(&data, CONNECTION_KEY, c->pool);
    counter = data;
    sd = counter ? ap_get_conn_socket(c) : NULL;
    if (!sd || apr_os_sock_get(&fd, sd) != APR_SUCCESS || fd < 0) {
        return OK;
    }
    apr_pool_userdata_setn(NULL, CONNECTION_KEY, NULL, c->pool);
    mptcp_connection_ask(fd, 0, &reading);
    if (reading.state == MPTCP_STATE_FALLBACK) {
        add(&counter->fallback, 1);
    }
    else if (reading.state == MPTCP_STATE_ON
             && reading.info.extra_subflows > 0) {
        add(&counter->joins, reading.info.extra_subflows);
    }
    return OK;
}

/* ---- backends ---------------------------------------------------------- */

/*
 * An address and port as a number that is not 0: FNV-1a, 64 bits.  An IPv4
 * address is the same in both families.
 */
static apr_uint64_t peer_key(const void *address, apr_size_t length, int port)
{
    const unsigned char *byte = address;
    apr_uint64_t key = APR_UINT64_C(14695981039346656037);
    apr_size_t i;

    if (length == sizeof(struct in6_addr)
        && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)address)) {
        byte += 12;
        length = sizeof(struct in_addr);
    }
    for (i = 0; i < length + 2; i++) {
        unsigned int next = i < length ? byte[i] : port >> 8 * (i - length);

        key = (key ^ (next & 0xff)) * APR_UINT64_C(1099511628211);
    }
    return key ? key : 1;
}

static int has_peer(const mptcp_counter *counter, apr_uint64_t key)
{
    int i;

    for (i = 0; i < PEERS; i++) {
        if (get(&counter->peers[i]) == key) {
            return 1;
        }
    }
    return 0;
}

/* Two children may note the same address, which does no harm. */
static void note_peer(mptcp_counter *counter, const apr_sockaddr_t *peer)
{
    apr_uint64_t key = peer_key(peer->ipaddr_ptr, peer->ipaddr_len,
                                peer->port);

    if (!has_peer(counter, key)) {
        apr_uint64_t place = __atomic_fetch_add(&counter->peers_seen, 1,
                                                __ATOMIC_RELAXED);

        __atomic_store_n(&counter->peers[place % PEERS], key,
                         __ATOMIC_RELAXED);
    }
}

void mptcp_count_backend(const char *worker, apr_socket_t *sd, int made_as)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_WORKER];
    const mptcp_counted wanted = { .key = worker }, *one = NULL;
    mptcp_reading reading;
    apr_sockaddr_t *peer;
    apr_os_sock_t fd;

    if (worker) {
        one = bsearch(&wanted, list->elts, list->nelts, sizeof(*one),
                      by_key);
    }
    if (!one) {
        one = other_worker;
    }
    if (!one || apr_os_sock_get(&fd, sd) != APR_SUCCESS) {
        return;
    }
    memset(&reading, 0, sizeof(reading));
    if (made_as == IPPROTO_MPTCP) {
        mptcp_connection_ask(fd, IPPROTO_MPTCP, &reading);
    }
    switch (reading.state) {
    case MPTCP_STATE_ON:
        add(&one->counter->mptcp, 1);
        break;
    case MPTCP_STATE_FALLBACK:
        add(&one->counter->fallback, 1);
        break;
    default:
        add(&one->counter->tcp, 1);
        break;
    }
    if (made_as == IPPROTO_MPTCP
        && apr_socket_addr_get(&peer, APR_REMOTE, sd) == APR_SUCCESS) {
        note_peer(one->counter, peer);
    }
}

const mptcp_counted *mptcp_counted_worker(const void *address,
                                          apr_size_t length, int port)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_WORKER];
    apr_uint64_t key = peer_key(address, length, port);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (has_peer(one->counter, key)) {
            return one;
        }
    }
    return NULL;
}

/* ---- reading ----------------------------------------------------------- */

const apr_array_header_t *mptcp_counted_all(int kind)
{
    return counted[kind];
}

apr_time_t mptcp_counted_since(void)
{
    return counted_since;
}

void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts)
{
    counts->mptcp = get(&one->counter->mptcp);
    counts->fallback = get(&one->counter->fallback);
    counts->tcp = get(&one->counter->tcp);
    counts->joins = get(&one->counter->joins);
}

void mptcp_counters_register_hooks(void)
{
    ap_hook_post_config(name_counters, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_connection(count_accepted, NULL, NULL, APR_HOOK_MIDDLE);
    /* before mod_http2's, which may still write */
    ap_hook_pre_close_connection(count_ended, NULL, NULL, APR_HOOK_FIRST);
}
