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
    apr_uint64_t page_mptcp;
    apr_uint64_t page_tcp;
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
 * structures, for a restart may bring a newer module.
 */
#define REGISTRY_KEY "mod_mptcp:counters:3"

/*
 * A counter's name.  Configurations are numbered; this one was in all of those
 * from first to last, or left out of some and then there again.
 */
typedef struct {
    const char *name;
    mptcp_counter *counter;
    unsigned int first, last;
} known_name;

/* A child that has been started and has not ended. */
typedef struct {
    pid_t pid;
    unsigned int configuration;         /* that it serves */
} living_child;

/*
 * In the parent's memory alone.  A name that the configuration no longer has
 * keeps its counter, as it may come back with the next reload, until another
 * name needs a place; so a server that is reloaded with ever new names does
 * not grow for ever.  It may not lose it while a child lives that may still
 * add to it: one that was started by a configuration which had the name.
 */
typedef struct {
    apr_time_t since;
    unsigned int configuration;         /* the number of the present one */
    apr_pool_t *names;                  /* made anew by each configuration */
    apr_hash_t *by_name[MPTCP_COUNTER_KINDS];   /* known_name */
    apr_array_header_t *children;       /* living_child */
    int children_are_told;              /* the MPM does */
    mptcp_counter *next_free;
    int free;
} registry;

/*
 * The counters of this configuration, an array of mptcp_counted for each
 * kind; pool: pconf.  Made in post_config, and only read after that.
 */
static apr_array_header_t *counted[MPTCP_COUNTER_KINDS];

/* While names are given: an element's index in the above, plus 1, by key. */
static apr_hash_t *counted_index[MPTCP_COUNTER_KINDS];

/* The worker that is none of the configuration's; also in the above. */
static const mptcp_counted *other_worker;

static apr_time_t counted_since;

/* ---- names -------------------------------------------------------------- */

static registry *get_registry(process_rec *process)
{
    registry *r = mptcp_kept(process->pool, REGISTRY_KEY);

    if (!r) {
        r = apr_pcalloc(process->pool, sizeof(*r));
        r->since = apr_time_now();
        r->children = apr_array_make(process->pool, 16, sizeof(living_child));
        mptcp_keep(process->pool, REGISTRY_KEY, r);
    }
    return r;
}

/* Names are kept in a pool of one configuration: else they would pile up. */
static void copy_names(registry *r, apr_pool_t *parent)
{
    apr_pool_t *p;
    int kind;

    apr_pool_create(&p, parent);
    apr_pool_tag(p, "mptcp_names");
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        apr_hash_t *to = apr_hash_make(p);
        apr_hash_index_t *at;

        for (at = r->by_name[kind] ? apr_hash_first(NULL, r->by_name[kind])
                                   : NULL; at; at = apr_hash_next(at)) {
            void *value;
            known_name *copy;

            apr_hash_this(at, NULL, NULL, &value);
            copy = apr_pmemdup(p, value, sizeof(*copy));
            copy->name = apr_pstrdup(p, copy->name);
            apr_hash_set(to, copy->name, APR_HASH_KEY_STRING, copy);
        }
        r->by_name[kind] = to;
    }
    if (r->names) {
        apr_pool_destroy(r->names);
    }
    r->names = p;
}

/* May a child still count by this name? */
static int is_in_use(const registry *r, const known_name *known)
{
    int i;

    if (known->last == r->configuration || !r->children_are_told) {
        return 1;
    }
    for (i = 0; i < r->children->nelts; i++) {
        const living_child *child = &APR_ARRAY_IDX(r->children, i,
                                                   living_child);

        if (known->first <= child->configuration
            && child->configuration <= known->last) {
            return 1;
        }
    }
    return 0;
}

/* What has been away longest, last. */
static int by_absence(const void *va, const void *vb)
{
    const known_name *a = *(known_name *const *)va;
    const known_name *b = *(known_name *const *)vb;

    return a->last != b->last ? (a->last > b->last ? -1 : 1)
                              : strcmp(a->name, b->name);
}

/* The names of a kind that may lose their counters to others, from the end. */
static apr_array_header_t *unused_names(const registry *r, int kind,
                                        apr_pool_t *p)
{
    apr_array_header_t *unused = apr_array_make(p, 16, sizeof(known_name *));
    apr_hash_index_t *at;

    for (at = apr_hash_first(p, r->by_name[kind]); at;
         at = apr_hash_next(at)) {
        void *value;

        apr_hash_this(at, NULL, NULL, &value);
        if (!is_in_use(r, value)) {
            APR_ARRAY_PUSH(unused, known_name *) = value;
        }
    }
    qsort(unused->elts, unused->nelts, sizeof(known_name *), by_absence);
    return unused;
}

/* A counter that nobody has, all of it 0; NULL without memory. */
static mptcp_counter *new_counter(process_rec *process, registry *r, int kind,
                                  const char *name,
                                  apr_array_header_t *unused)
{
    known_name **gone = r->free == 0 ? apr_array_pop(unused) : NULL;

    if (gone) {
        mptcp_counter *counter = (*gone)->counter;

        apr_hash_set(r->by_name[kind], (*gone)->name, APR_HASH_KEY_STRING,
                     NULL);
        memset(counter, 0, sizeof(*counter));
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
    return r->next_free++;
}

/*
 * Counters for those that have none yet: at the end, when it is known which
 * names of earlier configurations are there again.  Without memory for one, it
 * and the rest leave the list.
 */
static void give_counters(process_rec *process, int kind)
{
    registry *r = get_registry(process);
    apr_array_header_t *list = counted[kind], *unused = NULL;
    int i, kept = 0;

    for (i = 0; i < list->nelts; i++) {
        mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (!one->counter) {
            known_name *known;

            if (!unused) {
                unused = unused_names(r, kind, list->pool);
            }
            one->counter = new_counter(process, r, kind, one->name, unused);
            if (!one->counter) {
                continue;
            }
            known = apr_pcalloc(r->names, sizeof(*known));
            known->name = apr_pstrdup(r->names, one->key);
            known->counter = one->counter;
            known->first = known->last = r->configuration;
            apr_hash_set(r->by_name[kind], known->name, APR_HASH_KEY_STRING,
                         known);
        }
        one->counter->has_said = 0;
        APR_ARRAY_IDX(list, kept++, mptcp_counted) = *one;
    }
    list->nelts = kept;
}

/*
 * child_status, in the parent: all MPMs of httpd tell of each child that they
 * start and of each that has ended, of one that has lost its place in the
 * scoreboard, too (httpd 2.4.1; seen in 2.4.71).
 */
void mptcp_counters_child(server_rec *s, pid_t pid, ap_generation_t generation,
                          int slot, mpm_child_status state)
{
    registry *r = mptcp_kept(s->process->pool, REGISTRY_KEY);
    int i;

    if (!r) {
        return;
    }
    if (state == MPM_CHILD_STARTED) {
        living_child *child = apr_array_push(r->children);

        child->pid = pid;
        child->configuration = r->configuration;
        r->children_are_told = 1;
    }
    else if (state == MPM_CHILD_EXITED) {
        for (i = 0; i < r->children->nelts; i++) {
            living_child *child = &APR_ARRAY_IDX(r->children, i,
                                                 living_child);

            if (child->pid == pid) {
                *child = APR_ARRAY_IDX(r->children, r->children->nelts - 1,
                                       living_child);
                r->children->nelts--;
                return;
            }
        }
    }
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

void mptcp_counters_begin(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    registry *r = mptcp_kept(s->process->pool, REGISTRY_KEY);
    int kind;

    other_worker = NULL;
    counted_since = 0;
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        counted[kind] = apr_array_make(pconf, 4, sizeof(mptcp_counted));
        counted_index[kind] = apr_hash_make(ptemp);
    }
    if (r) {
        r->configuration++;
        copy_names(r, s->process->pool);
    }
}

mptcp_counted *mptcp_counter_name(process_rec *process, int kind,
                                  const char *name)
{
    apr_array_header_t *list = counted[kind];
    registry *r = get_registry(process);
    void *index = apr_hash_get(counted_index[kind], name,
                               APR_HASH_KEY_STRING);
    mptcp_counted *one;
    known_name *known;

    if (index) {
        return &APR_ARRAY_IDX(list, (int)(apr_uintptr_t)index - 1,
                              mptcp_counted);
    }
    if (!r->names) {
        copy_names(r, process->pool);
    }
    one = apr_array_push(list);
    memset(one, 0, sizeof(*one));
    one->key = apr_pstrdup(list->pool, name);
    one->name = mptcp_shown_name(list->pool, one->key);
    known = apr_hash_get(r->by_name[kind], name, APR_HASH_KEY_STRING);
    if (known) {
        known->last = r->configuration;
        one->counter = known->counter;
    }
    apr_hash_set(counted_index[kind], one->key, APR_HASH_KEY_STRING,
                 (void *)(apr_uintptr_t)list->nelts);
    counted_since = r->since;
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

void mptcp_counter_names_end(process_rec *process, int kind)
{
    apr_array_header_t *list = counted[kind];
    int i;

    if (list->nelts) {
        give_counters(process, kind);
    }
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
    add(&counter->page_mptcp, more->page_mptcp);
    add(&counter->page_tcp, more->page_tcp);
}

void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts)
{
    counts->mptcp = get(&one->counter->mptcp);
    counts->fallback = get(&one->counter->fallback);
    counts->tcp = get(&one->counter->tcp);
    counts->joins = get(&one->counter->joins);
    counts->page_mptcp = get(&one->counter->page_mptcp);
    counts->page_tcp = get(&one->counter->page_tcp);
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

/* The listeners are sorted by port; where those of one begin, or would. */
static int from_port(apr_port_t port)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_LISTENER];
    int low = 0, high = list->nelts;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (APR_ARRAY_IDX(list, middle, mptcp_counted).port < port) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_LISTENER];
    const mptcp_counted *wildcard = NULL;
    int i = from_port(local->port);

    for (; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->port != local->port) {
            break;
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

apr_hash_t *mptcp_counted_peers(apr_pool_t *p)
{
    const apr_array_header_t *list = counted[MPTCP_COUNTER_WORKER];
    apr_hash_t *peers = apr_hash_make(p);
    int i, j;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        for (j = 0; get(&one->counter->peers_seen) && j < PEERS; j++) {
            apr_uint64_t key = get(&one->counter->peers[j]);

            if (key && !apr_hash_get(peers, &key, sizeof(key))) {
                apr_hash_set(peers, apr_pmemdup(p, &key, sizeof(key)),
                             sizeof(key), one);
            }
        }
    }
    return peers;
}

const mptcp_counted *mptcp_counted_peer(apr_hash_t *peers, const void *address,
                                        apr_size_t length, int port)
{
    apr_uint64_t key = peer_key(address, length, port);

    return apr_hash_get(peers, &key, sizeof(key));
}
