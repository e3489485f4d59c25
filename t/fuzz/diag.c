/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's list of connections, as sock_diag answers.  An input is the
 * datagrams of kernel.h.
 */

#include "status/live.c"

#include "fuzz.h"
#include "kernel.h"

/* ---- counters.c: one listener, which every connection belongs to -------- */

static mptcp_counted one = { .name = "listener", .port = 80 };

const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local)
{
    MUST(local->ipaddr_len == 4 || local->ipaddr_len == 16);
    return &one;
}

const mptcp_counted *mptcp_counted_worker(const void *address,
                                          apr_size_t length, int port)
{
    (void)address;
    (void)length;
    (void)port;
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
    (void)counted;
    memset(counts, 0, sizeof(*counts));
}

int mptcp_netlink_errno(int error)
{
    (void)error;
    return EIO;
}

void mptcp_reading_set(mptcp_reading *reading, apr_size_t length)
{
    MUST(length <= sizeof(reading->info));
    reading->length = length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    apr_array_header_t *ports = apr_array_make(p, 1, sizeof(apr_port_t));
    diag_result result;
    int i;

    at = data;
    end = data + size;
    diag_read(p, size % 2, ports, &result);
    for (i = 0; i < result.connections->nelts; i++) {
        const diag_connection *c = APR_ARRAY_IDX(result.connections, i,
                                                 diag_connection *);
        const diag_subflow *subflow;
        char text[STATUS_ADDRESS_LEN];
        apr_uint32_t count = 0;

        MUST(c->state && strlen(diag_end_text(&c->local, text)) > 3);
        for (subflow = c->subflows; subflow; subflow = subflow->next) {
            MUST(subflow->state);
            MUST(strlen(diag_end_text(&subflow->remote, text)) > 3);
            count++;
        }
        MUST(count == (apr_uint32_t)c->count);
    }
    return 0;
}
