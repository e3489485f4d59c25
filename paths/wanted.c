/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the lines of MPTCPEndpoint stand for on this host at this moment: by
 * index of their interface, for each of its addresses, and what is missing.
 *
 * Without an interface, an address to be announced may be one that a router
 * translates to one of this host (1:1 NAT): it is announced as it is written,
 * unless the host has had it since the configuration was read.
 */

#include "paths/private.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>

/*
 * Lines, by their place in the configuration, whose address has been on this
 * host.  Threads of a child may find that out at the same time; nothing else
 * is ordered by it.  A child that is older than the address, and has not been
 * asked while it was there, has it from the parent.
 */
static int was_here[MPTCP_ENDPOINTS_MAX];

void mptcp_wanted_forget(void)
{
    int i;

    for (i = 0; i < MPTCP_ENDPOINTS_MAX; i++) {
        was_here[i] = 0;
        mptcp_paths_show_here(i, 0);
    }
}

static void note_here(int line)
{
    __atomic_store_n(&was_here[line], 1, __ATOMIC_RELAXED);
    mptcp_paths_show_here(line, 1);
}

static int has_been_here(int line)
{
    return __atomic_load_n(&was_here[line], __ATOMIC_RELAXED)
           || mptcp_paths_shown_here(line);
}

/* What is being found out. */
typedef struct {
    apr_pool_t *p;
    const mptcp_global_conf *conf;
    const struct ifaddrs *addresses;    /* NULL where they cannot be read */
    apr_array_header_t *wanted;         /* mptcp_wanted */
    apr_status_t status;                /* why a line has been left out */
} finding;

/* May the address be another's, which a router translates? */
static int may_be_translated(const mptcp_endpoint_line *line)
{
    const apr_uint32_t flags = line->endpoint.flags;

    /* the kernel itself listens on the port */
    return !line->dev && !line->endpoint.port
           && (flags & ~MPTCP_PM_ADDR_FLAG_BACKUP)
              == MPTCP_PM_ADDR_FLAG_SIGNAL;
}

static mptcp_wanted *add_wanted(finding *f, int line, const mptcp_endpoint *ep)
{
    const mptcp_endpoint_line *written
        = &APR_ARRAY_IDX(f->conf->endpoints, line, mptcp_endpoint_line);
    mptcp_wanted *one = apr_array_push(f->wanted);

    memset(one, 0, sizeof(*one));
    one->endpoint = *ep;
    one->line = line;
    one->dev = written->dev;
    one->is_of_interface = written->endpoint.family == AF_UNSPEC;
    return one;
}

static int is_address(const struct sockaddr *sa, const mptcp_endpoint *ep)
{
    return sa && sa->sa_family == ep->family
           && memcmp(mptcp_address_bytes(sa), &ep->address,
                     mptcp_address_length(ep->family)) == 0;
}

/* Which interface has the address: the one named, if it is that. */
static void look_at_interface(finding *f, mptcp_wanted *one)
{
    const struct ifaddrs *ifa;

    for (ifa = f->addresses; ifa; ifa = ifa->ifa_next) {
        if (is_address(ifa->ifa_addr, &one->endpoint)) {
            const char *name = ifa->ifa_name;
            /* it may have other names besides (altname) */
            int is_named = !one->dev || strcmp(name, one->dev) == 0
                           || (int)if_nametoindex(name)
                              == one->endpoint.ifindex;

            one->other_dev = is_named ? NULL : name;
            one->down_dev = MPTCP_IS_LINK_UP(ifa->ifa_flags) ? NULL : name;
            if (is_named) {
                break;
            }
        }
    }
}

static void want_address(finding *f, int number,
                         const mptcp_endpoint_line *line, int ifindex)
{
    apr_status_t missing = line->dev && !ifindex ? ENODEV
                           : mptcp_address_try(f->p, &line->endpoint);
    mptcp_wanted *one;

    if (mptcp_is_shortage(missing)) {
        f->status = missing;
        return;
    }
    one = add_wanted(f, number, &line->endpoint);
    one->endpoint.ifindex = ifindex;
    one->missing = missing;
    if (one->missing == APR_SUCCESS) {
        note_here(number);
        look_at_interface(f, one);
    }
    else if (one->missing == EADDRNOTAVAIL && !has_been_here(number)
             && may_be_translated(line)) {
        one->missing = APR_SUCCESS;
        one->is_translated = 1;
    }
}

/* Is there a line for the address by itself? */
static int has_line(const mptcp_global_conf *conf, const mptcp_endpoint *ep)
{
    int i;

    for (i = 0; i < conf->endpoints->nelts; i++) {
        if (mptcp_endpoint_same_address(
                ep, &APR_ARRAY_IDX(conf->endpoints, i,
                                   mptcp_endpoint_line).endpoint)) {
            return 1;
        }
    }
    return 0;
}

/* All addresses of an interface, as long as there is room. */
static void want_interface(finding *f, int number,
                           const mptcp_endpoint_line *line, int ifindex)
{
    apr_array_header_t *addresses = NULL;
    mptcp_wanted *one = NULL;
    int i, left_out = 0, have_lines = 0;
    apr_status_t rv = ifindex ? mptcp_host_addresses(f->p, ifindex, &addresses)
                              : APR_SUCCESS;

    if (rv != APR_SUCCESS) {
        f->status = rv;
        return;
    }
    for (i = 0; addresses && i < addresses->nelts; i++) {
        mptcp_endpoint *ep = &APR_ARRAY_IDX(addresses, i, mptcp_endpoint);

        if (has_line(f->conf, ep)) {
            have_lines++;
            continue;
        }
        if (f->wanted->nelts >= MPTCP_ENDPOINTS_MAX) {
            left_out++;
            continue;
        }
        ep->flags = line->endpoint.flags;
        ep->port = line->endpoint.port;
        one = add_wanted(f, number, ep);
        look_at_interface(f, one);
    }
    if (!one) {
        if (have_lines && !left_out) {
            return;                     /* nothing of it is missing */
        }
        one = add_wanted(f, number, &line->endpoint);
        one->endpoint.ifindex = ifindex;
        one->missing = left_out ? ERANGE : ifindex ? EADDRNOTAVAIL : ENODEV;
    }
    one->left_out = left_out;
}

/* The lines of one kind: for an address, or for an interface. */
static void want_lines(finding *f, int of_interfaces)
{
    int i;

    for (i = 0; i < f->conf->endpoints->nelts; i++) {
        const mptcp_endpoint_line *line
            = &APR_ARRAY_IDX(f->conf->endpoints, i, mptcp_endpoint_line);
        int ifindex;

        if ((line->endpoint.family == AF_UNSPEC) != of_interfaces) {
            continue;
        }
        ifindex = line->dev ? (int)if_nametoindex(line->dev) : 0;
        if (line->dev && !ifindex && mptcp_is_shortage(errno)) {
            f->status = errno;
        }
        else if (of_interfaces) {
            want_interface(f, i, line, ifindex);
        }
        else {
            want_address(f, i, line, ifindex);
        }
    }
}

apr_status_t mptcp_wanted_now(apr_pool_t *p, apr_array_header_t **wanted)
{
    finding f = { .p = p, .conf = mptcp_global() };

    f.wanted = *wanted = apr_array_make(p, MPTCP_ENDPOINTS_MAX,
                                        sizeof(mptcp_wanted));
    if (f.conf->endpoints->nelts) {
        f.addresses = mptcp_host_interfaces(p);
    }
    want_lines(&f, 0);
    want_lines(&f, 1);
    return f.status;
}

const mptcp_wanted *mptcp_wanted_at(const apr_array_header_t *wanted,
                                    const mptcp_endpoint *ep)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);

        if (mptcp_endpoint_same_address(&one->endpoint, ep)) {
            return one;
        }
    }
    return NULL;
}

int mptcp_is_wanted(const apr_array_header_t *wanted,
                    const mptcp_endpoint *ep)
{
    const mptcp_wanted *one = mptcp_wanted_at(wanted, ep);

    return one && one->missing == APR_SUCCESS
           && mptcp_endpoint_satisfies(ep, &one->endpoint);
}

void mptcp_wanted_drop(apr_array_header_t *wanted, apr_uint32_t flags)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        APR_ARRAY_IDX(wanted, i, mptcp_wanted).endpoint.flags &= ~flags;
    }
}
