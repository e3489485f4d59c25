/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The listeners and workers of this configuration: named by the parent, in
 * post_config, while it has a single thread; and found by whoever counts or
 * shows them.
 */

#include "common/private.h"

#include <stdlib.h>

/*
 * An array of mptcp_counted for each kind; pool: pconf.  Made in post_config,
 * and only read after that.
 */
static apr_array_header_t *counted[MPTCP_COUNTER_KINDS];

/* While names are given: an element's index in the above, plus 1, by key. */
static apr_hash_t *counted_index[MPTCP_COUNTER_KINDS];

/* The worker that is none of the configuration's; also in the above. */
static const mptcp_counted *other_worker;

static apr_time_t counted_since;

/* ---- names -------------------------------------------------------------- */

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

void mptcp_counted_begin(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    int kind;

    other_worker = NULL;
    counted_since = 0;
    for (kind = 0; kind < MPTCP_COUNTER_KINDS; kind++) {
        counted[kind] = apr_array_make(pconf, 4, sizeof(mptcp_counted));
        counted_index[kind] = apr_hash_make(ptemp);
    }
    mptcp_counters_begin(s->process);
}

mptcp_counted *mptcp_counted_name(process_rec *process, int kind,
                                  const char *name)
{
    apr_array_header_t *list = counted[kind];
    void *index = apr_hash_get(counted_index[kind], name,
                               APR_HASH_KEY_STRING);
    mptcp_counted *one;

    if (index) {
        return &APR_ARRAY_IDX(list, (int)(apr_uintptr_t)index - 1,
                              mptcp_counted);
    }
    one = apr_array_push(list);
    memset(one, 0, sizeof(*one));
    one->key = apr_pstrdup(list->pool, name);
    one->name = mptcp_shown_name(list->pool, one->key);
    one->counter = mptcp_counter_known(process, kind, name);
    apr_hash_set(counted_index[kind], one->key, APR_HASH_KEY_STRING,
                 (void *)(apr_uintptr_t)list->nelts);
    counted_since = mptcp_counters_since(process);
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

void mptcp_counted_end(process_rec *process, int kind)
{
    apr_array_header_t *list = counted[kind];
    int i;

    if (list->nelts) {
        mptcp_counters_give(process, kind, list);
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
