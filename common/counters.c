/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The listeners and workers that are counted, and their counters, for all
 * children of the server together.
 *
 * The counters are in anonymous shared memory of process->pool, mapped by the
 * parent before it forks.  There they outlive restarts, as old children do
 * which still count; they begin at zero when the server is started.  Each has
 * a name, a listener's address or a worker's URL, by which a new
 * configuration finds it again.  Names are given out by the parent, in
 * post_config, while it has a single thread; children add, and read, and take
 * no lock, so that one that is killed leaves nothing behind.
 */

#include "common/common.h"

#include "apr_shm.h"

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
    apr_uint32_t has_said;              /* mptcp_counter_say_first() */
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
#define REGISTRY_KEY "mod_mptcp:counters:2"

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

/* ---- names -------------------------------------------------------------- */

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
                         mptcp_shown_name(process->pool, name));
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

const char *mptcp_shown_name(apr_pool_t *p, const char *name)
{
    /* not parsed: that of a ProxyPassMatch is a pattern, and may be no URL */
    const char *user = ap_strstr_c(name, "://");
    const char *password, *host, *end;

    if (!user) {
        return name;
    }
    user += 3;
    end = user + strcspn(user, "/?#");
    for (host = end; host > user && host[-1] != '@'; host--);
    password = memchr(user, ':', host - user);
    if (!password) {
        return name;
    }
    return apr_psprintf(p, "%.*s:XXXXXXXX@%s", (int)(password - name), name,
                        host);
}

int mptcp_counters_begin(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s)
{
    int kind;

    other_worker = NULL;
    counted_since = 0;
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        counted[kind] = apr_array_make(pconf, 4, sizeof(mptcp_counted));
    }
    return OK;
}

mptcp_counted *mptcp_counter_name(process_rec *process, int kind,
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
    counter->has_said = 0;
    one = apr_array_push(list);
    memset(one, 0, sizeof(*one));
    one->key = apr_pstrdup(list->pool, name);
    one->name = mptcp_shown_name(list->pool, one->key);
    one->counter = counter;
    counted_since = get_registry(process)->since;
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

void mptcp_counter_names_end(int kind)
{
    apr_array_header_t *list = counted[kind];
    int i;

    if (kind == MPTCP_COUNTER_LISTENER) {
        qsort(list->elts, list->nelts, sizeof(mptcp_counted),
              by_port_and_name);
        return;
    }
    qsort(list->elts, list->nelts, sizeof(mptcp_counted), by_key);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (strcmp(one->key, MPTCP_COUNTER_OTHER) == 0) {
            other_worker = one;
        }
    }
}

const apr_array_header_t *mptcp_counted_all(int kind)
{
    return counted[kind];
}

apr_time_t mptcp_counted_since(void)
{
    return counted_since;
}

/* ---- counting ----------------------------------------------------------- */

/*
 * Nothing else is ordered by these, so no barrier is needed; a reader sees
 * whole numbers.
 */
static void add(apr_uint64_t *number, apr_uint64_t n)
{
    if (n) {
        __atomic_fetch_add(number, n, __ATOMIC_RELAXED);
    }
}

static apr_uint64_t get(const apr_uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

void mptcp_counts_add(mptcp_counter *counter, const mptcp_counts *more)
{
    add(&counter->mptcp, more->mptcp);
    add(&counter->fallback, more->fallback);
    add(&counter->tcp, more->tcp);
    add(&counter->joins, more->joins);
}

void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts)
{
    counts->mptcp = get(&one->counter->mptcp);
    counts->fallback = get(&one->counter->fallback);
    counts->tcp = get(&one->counter->tcp);
    counts->joins = get(&one->counter->joins);
}

int mptcp_counter_say_first(mptcp_counter *counter)
{
    return __atomic_exchange_n(&counter->has_said, 1, __ATOMIC_RELAXED) == 0;
}

/* ---- which listener, which worker --------------------------------------- */

/*
 * Is it a wildcard for an address?  That of IPv6 mostly is for IPv4 too; the
 * address of such a connection is a v4-mapped one, or, of those that the
 * kernel lists, an IPv4 one.
 */
static int is_wildcard_for(const mptcp_counted *one,
                           const apr_sockaddr_t *local)
{
    return apr_sockaddr_is_wildcard(one->address)
           && (one->address->family == local->family
               || (one->address->family == APR_INET6 && !one->is_ipv6_only));
}

/*
 * Is it at this address?  Of an MPTCP socket the kernel does not list the
 * scope (Linux 6.18): without one, a link-local address is of any.
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

const mptcp_counted *mptcp_counted_worker(const char *key)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_WORKER];
    const mptcp_counted wanted = { .key = key };
    const mptcp_counted *one = NULL;

    if (key) {
        one = bsearch(&wanted, list->elts, list->nelts, sizeof(*one), by_key);
    }
    return one ? one : other_worker;
}

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
void mptcp_counter_note_peer(mptcp_counter *counter,
                             const apr_sockaddr_t *peer)
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

const mptcp_counted *mptcp_counted_peer(const void *address,
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
