/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Endpoints and limits in words, and beside one another.
 *
 * Here is the one table of flags.  The words are those of MPTCPEndpoint and
 * MPTCPLimits, which are the words of `ip mptcp` too.
 */

#include "paths/private.h"

#include <arpa/inet.h>
#include <net/if.h>

/* ---- in words ----------------------------------------------------------- */

static const struct {
    const char *name;
    apr_uint32_t flag;
    int may_be_asked;                   /* the kernel alone makes implicit */
} endpoint_flags[] = {
    { "signal", MPTCP_PM_ADDR_FLAG_SIGNAL, 1 },
    { "subflow", MPTCP_PM_ADDR_FLAG_SUBFLOW, 1 },
    { "backup", MPTCP_PM_ADDR_FLAG_BACKUP, 1 },
    { "fullmesh", MPTCP_PM_ADDR_FLAG_FULLMESH, 1 },
    { "laminar", MPTCP_PM_ADDR_FLAG_LAMINAR, 1 },
    { "implicit", MPTCP_PM_ADDR_FLAG_IMPLICIT, 0 },
    { NULL, 0, 0 }
};

/* By index into mptcp_limits.value. */
static const char *const limit_names[MPTCP_LIMITS] = {
    "subflows", "add_addr_accepted"
};

apr_uint32_t mptcp_endpoint_flag(const char *word)
{
    int i;

    for (i = 0; endpoint_flags[i].name; i++) {
        if (endpoint_flags[i].may_be_asked
            && strcmp(word, endpoint_flags[i].name) == 0) {
            return endpoint_flags[i].flag;
        }
    }
    return 0;
}

const char *mptcp_endpoint_address(apr_pool_t *p, const mptcp_endpoint *ep)
{
    char text[INET6_ADDRSTRLEN];

    return inet_ntop(ep->family, &ep->address, text, sizeof(text))
           ? apr_pstrdup(p, text) : "?";
}

apr_array_header_t *mptcp_endpoint_flags(apr_pool_t *p,
                                         const mptcp_endpoint *ep)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    int i;

    for (i = 0; endpoint_flags[i].name; i++) {
        if (ep->flags & endpoint_flags[i].flag) {
            APR_ARRAY_PUSH(names, const char *) = endpoint_flags[i].name;
        }
    }
    return names;
}

const char *mptcp_endpoint_text(apr_pool_t *p, const mptcp_endpoint *ep,
                                const char *dev)
{
    const char *text = ep->family == AF_UNSPEC
                       ? "" : mptcp_endpoint_address(p, ep);
    char name[IF_NAMESIZE];

    if (!dev && ep->ifindex) {
        dev = if_indextoname(ep->ifindex, name);
    }
    if (dev) {
        text = apr_pstrcat(p, text, *text ? " dev " : "dev ", dev, NULL);
    }
    if (ep->id) {
        text = apr_psprintf(p, "%s id %d", text, ep->id);
    }
    if (ep->port) {
        text = apr_psprintf(p, "%s port %d", text, ep->port);
    }
    if (ep->flags) {
        text = apr_pstrcat(p, text, " ",
                           apr_array_pstrcat(p, mptcp_endpoint_flags(p, ep),
                                             ' '), NULL);
    }
    return text;
}

const char *mptcp_limit_name(int limit)
{
    return limit_names[limit];
}

const char *mptcp_limits_text(apr_pool_t *p, const mptcp_limits *limits)
{
    const char *text = "";
    int i;

    for (i = 0; i < MPTCP_LIMITS; i++) {
        if (limits->value[i] != MPTCP_LIMIT_UNSET) {
            text = apr_psprintf(p, "%s%s%s %d", text, *text ? " " : "",
                                limit_names[i], limits->value[i]);
        }
    }
    return text;
}

/* ---- beside one another ------------------------------------------------- */

int mptcp_endpoint_same_address(const mptcp_endpoint *a,
                                const mptcp_endpoint *b)
{
    return a->family == b->family && a->family != AF_UNSPEC
           && a->port == b->port
           && memcmp(&a->address, &b->address,
                     mptcp_address_length(a->family)) == 0;
}

int mptcp_endpoint_satisfies(const mptcp_endpoint *ep,
                             const mptcp_endpoint *wanted)
{
    return mptcp_endpoint_same_address(ep, wanted)
           && ep->flags == wanted->flags && ep->ifindex == wanted->ifindex
           && (!wanted->id || ep->id == wanted->id);
}

const mptcp_endpoint *mptcp_endpoint_find(const apr_array_header_t *eps,
                                          const mptcp_endpoint *wanted)
{
    int i;

    for (i = 0; i < eps->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(eps, i, mptcp_endpoint);

        if (mptcp_endpoint_satisfies(ep, wanted)) {
            return ep;
        }
    }
    return NULL;
}

const mptcp_endpoint *
mptcp_endpoint_find_address(const apr_array_header_t *eps,
                            const mptcp_endpoint *wanted)
{
    int i;

    for (i = 0; i < eps->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(eps, i, mptcp_endpoint);

        if (mptcp_endpoint_same_address(ep, wanted)) {
            return ep;
        }
    }
    return NULL;
}
