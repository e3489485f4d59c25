/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which connections need an address of this host.
 *
 * When an endpoint goes, the kernel ends the subflows that it is the local
 * address of, the first ones of connections too, whether the endpoint was
 * there before them or not (mptcp_pm_rm_subflow(), seen with Linux 6.18).  A
 * connection with another path goes on by that.  One without is not ended: it
 * waits for another path until net.mptcp.close_timeout, in vain mostly.
 *
 * An address that is announced and is not this host's own (1:1 NAT) is no
 * subflow's local one; there the peers end theirs, when they hear that it has
 * gone.  Which they are is not known here: any that a peer has joined may be.
 *
 * An address that has left this host may come back, as when a network is
 * started anew, and what has no other path goes on then, as it does by TCP.
 */

#include "kernel/private.h"

#include "apr_hash.h"

#include <errno.h>
#include <string.h>

#include <netlink/netlink.h>

/* Subflows of a connection at one place. */
typedef struct {
    int any;
    apr_uint32_t unheard_ms;            /* of the one that was heard last */
} place;

typedef struct {
    apr_uint32_t token;
    place there, elsewhere;
} paths_of;

/*
 * A path that carries a transfer is heard of all the time.  Another, that has
 * not been for so much longer, in ms, may have been left by the client.
 */
#define IN_USE 2000
#define SILENT 500

/* So long one waits for an address to come back, in ms. */
#define GONE_FOR 60000

typedef struct {
    apr_pool_t *p;
    const mptcp_endpoint *ep;
    int is_translated;                  /* it is not this host's own */
    int is_gone;                        /* it was, and is not any more */
    apr_hash_t *connections;            /* by token: paths_of */
} search;

static int ends_at(const mptcp_end *end, const mptcp_endpoint *ep)
{
    return end->family == ep->family
           && memcmp(end->address, &ep->address,
                     mptcp_address_length(ep->family)) == 0
           && (!ep->port || end->port == ep->port);
}

static void note_place(place *at, const mptcp_socket *found)
{
    if (!at->any || found->unheard_ms < at->unheard_ms) {
        at->unheard_ms = found->unheard_ms;
    }
    at->any = 1;
}

/*
 * A subflow carries data until its own end is sent, which it is when it has
 * been given up, or when all data of the connection have been acknowledged.
 * One whose packets are not answered is no other path to go on by: its client
 * may have left that network.
 */
static int note_subflow(const mptcp_socket *found, void *baton)
{
    search *s = baton;
    paths_of *paths;

    if (!found->says_subflow
        || (strcmp(found->state, "established") != 0
            && strcmp(found->state, "close-wait") != 0)) {
        return 1;
    }
    paths = apr_hash_get(s->connections, &found->token, sizeof(found->token));
    if (!paths) {
        paths = apr_pcalloc(s->p, sizeof(*paths));
        paths->token = found->token;
        apr_hash_set(s->connections, &paths->token, sizeof(paths->token),
                     paths);
    }
    if (s->is_translated ? found->joined : ends_at(&found->local, s->ep)) {
        if (!s->is_gone || found->unheard_ms < GONE_FOR) {
            note_place(&paths->there, found);
        }
    }
    else if (!found->stalled) {
        note_place(&paths->elsewhere, found);
    }
    return 1;
}

/*
 * Who only receives, as an upload's server does, sends nothing that could go
 * unanswered.  It sees that a path is dead by its silence alone.
 */
static int is_needed_by(const paths_of *paths)
{
    const place *there = &paths->there, *elsewhere = &paths->elsewhere;

    return there->any
           && (!elsewhere->any
               || (there->unheard_ms < IN_USE
                   && elsewhere->unheard_ms > there->unheard_ms + SILENT));
}

apr_status_t mptcp_connections_needing(apr_pool_t *p, const mptcp_endpoint *ep,
                                       int may_be_translated, int *count)
{
    const int is_away = mptcp_address_try(p, ep) == EADDRNOTAVAIL;
    search s = { p, ep, is_away && may_be_translated,
                 is_away && !may_be_translated, apr_hash_make(p) };
    apr_hash_index_t *i;
    struct nl_sock *sock;
    apr_status_t rv = mptcp_sock_diag_open(MPTCP_LIST_PATIENCE, &sock);

    *count = 0;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mptcp_sock_diag(sock, IPPROTO_TCP, NULL, note_subflow, &s);
    nl_socket_free(sock);
    for (i = apr_hash_first(p, s.connections); i; i = apr_hash_next(i)) {
        const paths_of *paths;
        void *value;

        apr_hash_this(i, NULL, NULL, &value);
        paths = value;
        *count += is_needed_by(paths);
    }
    return rv;
}
