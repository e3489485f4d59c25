/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which worker has lately connected where to: a live connection of the
 * kernel's list has an address, and no name.
 */

#include "common/private.h"

/*
 * An address and port as a number that is not 0.  An IPv4 address is the same
 * in both families.
 */
static apr_uint64_t peer_key(int family, const void *address, int port)
{
    const unsigned char port_bytes[2] = { port & 0xff, port >> 8 & 0xff };
    const void *bytes = mptcp_address_unmapped(&family, address);
    apr_uint64_t key;

    key = mptcp_hash(MPTCP_HASH_BEGIN, bytes, mptcp_address_length(family));
    key = mptcp_hash(key, port_bytes, sizeof(port_bytes));
    return key ? key : 1;
}

static apr_uint64_t peer_get(const apr_uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static int has_peer(const mptcp_counter *counter, apr_uint64_t key)
{
    int i;

    for (i = 0; i < MPTCP_COUNTER_PEERS; i++) {
        if (peer_get(&counter->peers[i]) == key) {
            return 1;
        }
    }
    return 0;
}

/* Two children may note the same address, which does no harm. */
void mptcp_counter_note_peer(mptcp_counter *counter,
                             const apr_sockaddr_t *peer)
{
    apr_uint64_t key = peer_key(peer->family, peer->ipaddr_ptr, peer->port);

    if (!has_peer(counter, key)) {
        apr_uint64_t place = __atomic_fetch_add(&counter->peers_seen, 1,
                                                __ATOMIC_RELAXED);

        __atomic_store_n(&counter->peers[place % MPTCP_COUNTER_PEERS], key,
                         __ATOMIC_RELAXED);
    }
}

apr_hash_t *mptcp_counted_peers(apr_pool_t *p)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    apr_hash_t *peers = apr_hash_make(p);
    int i, j;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (!peer_get(&one->counter->peers_seen)) {
            continue;
        }
        for (j = 0; j < MPTCP_COUNTER_PEERS; j++) {
            apr_uint64_t key = peer_get(&one->counter->peers[j]);

            if (key && !apr_hash_get(peers, &key, sizeof(key))) {
                apr_hash_set(peers, apr_pmemdup(p, &key, sizeof(key)),
                             sizeof(key), one);
            }
        }
    }
    return peers;
}

const mptcp_counted *mptcp_counted_peer(apr_hash_t *peers,
                                        const mptcp_end *remote)
{
    apr_uint64_t key = peer_key(remote->family, remote->address,
                                remote->port);

    return apr_hash_get(peers, &key, sizeof(key));
}
