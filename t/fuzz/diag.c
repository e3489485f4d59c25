/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's list of sockets, as sock_diag answers, and the connections that
 * are made of them.  An input is the
 * datagrams of kernel.h.
 */

#include "kernel/address.c"
#include "kernel/connection.c"
#include "kernel/host.c"
#include "kernel/netlink.c"
#include "kernel/sock_diag.c"
#include "kernel/socket.c"
#include "status/addresses.c"
#include "status/live.c"

#include "fuzz.h"
#include "answers.h"

/* ---- common/: a listener, which every connection belongs to ------------- */

static mptcp_counted one = { .name = "listener", .port = 80 };

const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local)
{
    MUST(local->ipaddr_len == 4 || local->ipaddr_len == 16);
    return &one;
}

apr_hash_t *mptcp_counted_peers(apr_pool_t *p)
{
    return apr_hash_make(p);
}

const mptcp_counted *mptcp_counted_peer(apr_hash_t *peers,
                                        const mptcp_end *remote)
{
    return NULL;
}

const apr_array_header_t *mptcp_counted_all(int kind)
{
    static apr_array_header_t all[MPTCP_COUNTER_KINDS];

    all[MPTCP_COUNTER_LISTENER].elts = (char *)&one;
    all[MPTCP_COUNTER_LISTENER].nelts = 1;
    return &all[kind];
}

apr_time_t mptcp_counted_since(void)
{
    return 1;
}

void mptcp_counts_get(const mptcp_counted *counted, mptcp_counts *counts)
{
    memset(counts, 0, sizeof(*counts));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    apr_array_header_t *ports = apr_array_make(p, 1, sizeof(apr_port_t));
    status_live live;
    int i;

    at = data;
    end = data + size;
    status_live_read(p, size % 2, ports, status_interfaces_read(p), &live);
    for (i = 0; i < live.connections->nelts; i++) {
        const status_connection *c = APR_ARRAY_IDX(live.connections, i,
                                                   status_connection *);
        const status_subflow *subflow;
        char text[STATUS_ADDRESS_LEN];
        apr_uint32_t count = 0;

        MUST(c->reading.length <= sizeof(c->reading.info));
        MUST(c->state && strlen(status_end_text(&c->local, text)) > 3);
        for (subflow = c->subflows; subflow; subflow = subflow->next) {
            MUST(subflow->socket.state);
            MUST(strlen(status_end_text(&subflow->socket.remote, text)) > 3);
            count++;
        }
        MUST(count == (apr_uint32_t)c->count);
    }
    return 0;
}
