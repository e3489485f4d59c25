/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Counters, for all children of the server together, and the names that have
 * them.
 *
 * The counters are in anonymous shared memory of process->pool, mapped by the
 * parent before it forks.  There they outlive restarts, as old children do
 * which still count; they begin at zero when the server is started.  Each has
 * a name, a listener's address or a worker's URL, by which a new
 * configuration finds it again.  Names are given out by the parent, in
 * post_config, while it has a single thread; children add, and read, and take
 * no lock, so that one that is killed leaves nothing behind.
 */

#include "common/private.h"

#include "apr_shm.h"

#include <stdlib.h>

APLOG_USE_MODULE(mptcp);

/* Counters are made so many at a time. */
#define SEGMENT 64

/*
 * What is in process->pool, under this key; its number changes with the
 * structures, for a restart may bring a newer module.
 */
#define REGISTRY_KEY "mod_mptcp:counters:4"

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
        apr_status_t rv = apr_shm_create(&shm, size + MPTCP_CACHE_LINE - 1,
                                         NULL, process->pool);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
                         "no shared memory for counters: %s is not counted",
                         name);
            return NULL;
        }
        r->next_free = (mptcp_counter *)
            APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(shm),
                      MPTCP_CACHE_LINE);
        memset(r->next_free, 0, size);
        r->free = SEGMENT;
    }
    r->free--;
    return r->next_free++;
}

void mptcp_counters_give(process_rec *process, int kind,
                         apr_array_header_t *list)
{
    registry *r = get_registry(process);
    apr_array_header_t *unused = NULL;
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

void mptcp_counters_begin(process_rec *process)
{
    registry *r = mptcp_kept(process->pool, REGISTRY_KEY);

    if (r) {
        r->configuration++;
        copy_names(r, process->pool);
    }
}

apr_time_t mptcp_counters_since(process_rec *process)
{
    return get_registry(process)->since;
}

mptcp_counter *mptcp_counter_known(process_rec *process, int kind,
                                   const char *name)
{
    registry *r = get_registry(process);
    known_name *known;

    if (!r->names) {
        copy_names(r, process->pool);
    }
    known = apr_hash_get(r->by_name[kind], name, APR_HASH_KEY_STRING);
    if (!known) {
        return NULL;
    }
    known->last = r->configuration;
    return known->counter;
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
    add(&counter->counts.mptcp, more->mptcp);
    add(&counter->counts.fallback, more->fallback);
    add(&counter->counts.tcp, more->tcp);
    add(&counter->counts.joins, more->joins);
    add(&counter->counts.brief, more->brief);
    add(&counter->counts.page_mptcp, more->page_mptcp);
    add(&counter->counts.page_tcp, more->page_tcp);
}

void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts)
{
    const mptcp_counts *now = &one->counter->counts;

    counts->mptcp = get(&now->mptcp);
    counts->fallback = get(&now->fallback);
    counts->tcp = get(&now->tcp);
    counts->joins = get(&now->joins);
    counts->brief = get(&now->brief);
    counts->page_mptcp = get(&now->page_mptcp);
    counts->page_tcp = get(&now->page_tcp);
}

int mptcp_counter_say_first(mptcp_counter *counter)
{
    return __atomic_exchange_n(&counter->has_said, 1, __ATOMIC_RELAXED) == 0;
}
