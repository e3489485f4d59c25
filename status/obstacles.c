/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is in force, as the kernel says, and what stands in the way of
 * multipath.
 *
 * Obstacles say what to write instead, and there are none when all is well.
 * Everything is asked of the kernel, not of the configuration: an
 * administrator may have done with `ip mptcp` what could have been written
 * here.
 */

#include "status/private.h"
#include "listen/listen.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* What the kernel says of path management, and of this host. */
typedef struct {
    apr_pool_t *p;
    mptcp_limits limits;
    apr_array_header_t *endpoints;      /* mptcp_endpoint */
    const struct ifaddrs *addresses;    /* NULL where they cannot be read */
    int announced;                      /* how many endpoints are signal */
    int connecting;                     /* how many are subflow */
    apr_array_header_t *troubles;       /* status_trouble */
} host_report;

/* ---- asking ------------------------------------------------------------- */

/* Is it an MPTCP listener that other hosts can reach? */
static int takes_clients(const mptcp_counted *one)
{
    const apr_sockaddr_t *sa = one->address;

    return one->is_mptcp
           && (sa->family == AF_INET
               ? *(const unsigned char *)sa->ipaddr_ptr != 127
               : !IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)
                                       sa->ipaddr_ptr));
}

static int any_takes_clients(void)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    int i;

    for (i = 0; i < list->nelts; i++) {
        if (takes_clients(&APR_ARRAY_IDX(list, i, mptcp_counted))) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t ask_kernel(host_report *r)
{
    mptcp_pm *pm;
    apr_status_t rv = mptcp_pm_open(r->p, &pm);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mptcp_pm_get_limits(pm, &r->limits);
    if (rv == APR_SUCCESS) {
        rv = mptcp_pm_get_endpoints(pm, r->p, &r->endpoints);
    }
    mptcp_pm_close(r->p, pm);
    return rv;
}

static void count_endpoints(host_report *r)
{
    int i;

    for (i = 0; i < r->endpoints->nelts; i++) {
        apr_uint32_t flags = APR_ARRAY_IDX(r->endpoints, i,
                                           mptcp_endpoint).flags;

        r->announced += (flags & MPTCP_PM_ADDR_FLAG_SIGNAL) != 0;
        r->connecting += (flags & MPTCP_PM_ADDR_FLAG_SUBFLOW) != 0;
    }
}

/* ---- what stands in the way --------------------------------------------- */

/* What the kernel will have when this configuration has been applied. */
static void add_configured(host_report *r)
{
    const mptcp_global_conf *conf = mptcp_global();
    apr_array_header_t *wanted;
    int i;

    mptcp_wanted_now(r->p, &wanted);
    for (i = 0; i < MPTCP_LIMITS; i++) {
        if (conf->limits.value[i] != MPTCP_LIMIT_UNSET) {
            r->limits.value[i] = conf->limits.value[i];
        }
    }
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);

        if (!one->missing
            && !mptcp_endpoint_find(r->endpoints, &one->endpoint)) {
            APR_ARRAY_PUSH(r->endpoints, mptcp_endpoint) = one->endpoint;
        }
    }
}

static void check_switches(const host_report *r)
{
    if (mptcp_sysctl_number(r->p, "mptcp/enabled") == 0
        /* else it has been said when there was no socket */
        && !mptcp_listen_refusal()) {
        status_trouble_add(r->troubles, STATUS_SWITCHED_OFF,
                           "MPTCP is switched off: new sockets will be TCP; "
                           "write 'sysctl -w net.mptcp.enabled=1'");
    }
    if (mptcp_sysctl_number(r->p, "mptcp/pm_type") > 0) {
        status_trouble_add(r->troubles, STATUS_PATH_MANAGER,
                           "the kernel's path manager is switched off, and "
                           "with it limits and endpoints; write 'sysctl -w "
                           "net.mptcp.path_manager=kernel' (pm_type=0 before "
                           "Linux 6.15)");
    }
    if (r->limits.value[MPTCP_LIMIT_SUBFLOWS] == 0) {
        status_trouble_add(r->troubles, STATUS_LIMIT,
                           "no connection gets a second path: the limit of "
                           "subflows is 0; write 'MPTCPLimits subflows=2'");
    }
}

/* An address that clients might be told of. */
static int may_be_announced(const struct ifaddrs *ifa)
{
    if (!ifa->ifa_addr || !MPTCP_IS_LINK_UP(ifa->ifa_flags)
        || (ifa->ifa_flags & IFF_LOOPBACK)) {
        return 0;
    }
    if (ifa->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6
            = (const struct sockaddr_in6 *)(const void *)ifa->ifa_addr;

        return !IN6_IS_ADDR_LINKLOCAL(&sin6->sin6_addr);
    }
    return ifa->ifa_addr->sa_family == AF_INET;
}

static void endpoint_of(const struct ifaddrs *ifa, mptcp_endpoint *ep)
{
    memset(ep, 0, sizeof(*ep));
    ep->family = ifa->ifa_addr->sa_family;
    memcpy(&ep->address, mptcp_address_bytes(ifa->ifa_addr),
           mptcp_address_length(ep->family));
    ep->flags = MPTCP_PM_ADDR_FLAG_SIGNAL;
}

/*
 * A host of several addresses announces none.  One address an interface and
 * family is enough: temporary IPv6 addresses and aliases are no further path.
 * No more lines are offered than may be written: a host may have thousands of
 * interfaces, and the status page asks for this with every request.
 */
static void check_announced(const host_report *r)
{
    const struct ifaddrs *ifa, *earlier;
    const char *lines = NULL;
    int count = 0;

    if (r->announced > 0) {
        return;
    }
    if (mptcp_sysctl_number(r->p, "mptcp/allow_join_initial_addr_port") == 0) {
        status_trouble_add(r->troubles, STATUS_NOT_ANNOUNCED,
                           "clients get no second path: they are told not to "
                           "use the address of the first "
                           "(net.mptcp.allow_join_initial_addr_port is 0), "
                           "and of no other; write 'MPTCPEndpoint ADDRESS "
                           "signal'");
    }
    if (mptcp_endpoint_asked_for(MPTCP_PM_ADDR_FLAG_SIGNAL)) {
        return;                         /* why it is not there is said */
    }
    for (ifa = r->addresses; ifa; ifa = ifa->ifa_next) {
        mptcp_endpoint ep;
        const char *line;

        if (!may_be_announced(ifa)) {
            continue;
        }
        for (earlier = r->addresses; earlier != ifa;
             earlier = earlier->ifa_next) {
            if (may_be_announced(earlier)
                && earlier->ifa_addr->sa_family == ifa->ifa_addr->sa_family
                && strcmp(earlier->ifa_name, ifa->ifa_name) == 0) {
                break;
            }
        }
        if (earlier != ifa || ++count > MPTCP_ENDPOINTS_MAX) {
            continue;
        }
        endpoint_of(ifa, &ep);
        line = apr_pstrcat(r->p, "'MPTCPEndpoint ",
                           mptcp_endpoint_text(r->p, &ep, ifa->ifa_name), "'",
                           NULL);
        lines = lines ? apr_pstrcat(r->p, lines, ", ", line, NULL) : line;
    }
    if (count > MPTCP_ENDPOINTS_MAX) {
        lines = apr_pstrcat(r->p, lines, ", and so on", NULL);
    }
    if (count > 1) {
        status_trouble_add(r->troubles, STATUS_NOT_ANNOUNCED,
                           "clients learn of no second address, though this "
                           "host has %d; of these lines, write those whose "
                           "address clients can reach: %s", count, lines);
    }
}

/* Does an MPTCP listener of this port take joins at the address? */
static int port_takes_joins(apr_port_t port, const mptcp_endpoint *ep)
{
    mptcp_end at = { .family = ep->family, .port = port };
    const mptcp_counted *one;

    memcpy(at.address, &ep->address, mptcp_address_length(at.family));
    one = status_listener_at(&at);
    return one && one->is_mptcp;
}

/*
 * Listeners which an announced address without a port of its own does not
 * lead to.  The joins go to the port of the first path, so any MPTCP listener
 * of that port will do.
 */
static void check_listeners(const host_report *r, const mptcp_endpoint *ep)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    const char *address = mptcp_endpoint_address(r->p, ep);
    int i, count = 0;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (takes_clients(one) && !port_takes_joins(one->port, ep)
            && count++ < STATUS_NAMED) {
            status_trouble_add(r->troubles, STATUS_NO_LISTENER,
                               "%s is announced, but connections to %s cannot "
                               "join there: nothing listens on its port %d by "
                               "MPTCP; write 'MPTCPListen %s:%d', or 'port "
                               "%d' behind the endpoint", address, one->name,
                               one->port,
                               ep->family == AF_INET6
                               ? apr_pstrcat(r->p, "[", address, "]", NULL)
                               : address, one->port, one->port);
        }
    }
    if (count > STATUS_NAMED) {
        status_trouble_add(r->troubles, STATUS_NO_LISTENER,
                           "%s is announced, but connections to %d more "
                           "listeners cannot join there", address,
                           count - STATUS_NAMED);
    }
}

/* The interface an endpoint's address is on, or NULL. */
static const char *interface_of(const host_report *r, const mptcp_endpoint *ep,
                                char name[IF_NAMESIZE])
{
    const struct ifaddrs *ifa;

    if (ep->ifindex) {
        return if_indextoname(ep->ifindex, name);
    }
    for (ifa = r->addresses; ifa; ifa = ifa->ifa_next) {
        mptcp_endpoint at;

        if (ifa->ifa_addr && ifa->ifa_addr->sa_family == ep->family) {
            endpoint_of(ifa, &at);
            at.port = ep->port;
            if (mptcp_endpoint_same_address(&at, ep)) {
                return ifa->ifa_name;
            }
        }
    }
    return NULL;
}

/* sysctl has . between the parts of a name, and / for a . in a part: VLANs. */
static const char *sysctl_part(apr_pool_t *p, const char *name)
{
    char *part = apr_pstrdup(p, name), *dot;

    for (dot = part; (dot = strchr(dot, '.')) != NULL; dot++) {
        *dot = '/';
    }
    return part;
}

/* The kernel takes the higher of an interface's value and that of all. */
static void check_rp_filter(const host_report *r, const mptcp_endpoint *ep)
{
    char name[IF_NAMESIZE];
    const char *dev = interface_of(r, ep, name);
    int here, all;

    if (!dev || ep->family != AF_INET) {
        return;
    }
    here = mptcp_sysctl_number(r->p, apr_pstrcat(r->p, "ipv4/conf/", dev,
                                           "/rp_filter", NULL));
    all = mptcp_sysctl_number(r->p, "ipv4/conf/all/rp_filter");
    if ((here > all ? here : all) == 1) {
        status_trouble_add(r->troubles, STATUS_RP_FILTER,
                           "the kernel drops packets for %s that come in by "
                           "%s when the way back is by another interface "
                           "(rp_filter is strict); write 'sysctl -w "
                           "net.ipv4.conf.%s.rp_filter=2'",
                           mptcp_endpoint_address(r->p, ep), dev,
                           sysctl_part(r->p, dev));
    }
}

/* ---- all of it ---------------------------------------------------------- */

static void check_endpoints(const host_report *r)
{
    int i;

    for (i = 0; i < r->endpoints->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(r->endpoints, i,
                                                  mptcp_endpoint);

        if ((ep->flags & MPTCP_PM_ADDR_FLAG_SIGNAL) && !ep->port) {
            check_listeners(r, ep);
        }
        check_rp_filter(r, ep);
    }
}

/* Of many workers so many are named: the page asks with every request. */
#define NAMES_SAID 8

/*
 * Connections to 127.0.0.1 have no second path, but the kernel tries one from
 * each endpoint that is subflow: it asks for 127.0.0.1 by ARP on the
 * endpoint's interface (Linux 6.18).
 */
static void check_loopback(const host_report *r)
{
    const apr_array_header_t *list;
    const char *names = NULL;
    int count = 0, i;

    if (r->connecting == 0) {
        return;
    }
    list = mptcp_workers_list(r->p);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_worker_wish *one = &APR_ARRAY_IDX(list, i,
                                                      mptcp_worker_wish);

        if (one->is_mptcp && one->is_loopback && ++count <= NAMES_SAID) {
            names = names ? apr_pstrcat(r->p, names, ", ", one->name, NULL)
                          : one->name;
        }
    }
    if (count > NAMES_SAID) {
        names = apr_psprintf(r->p, "%s and %d more", names,
                             count - NAMES_SAID);
    }
    if (names) {
        status_trouble_add(r->troubles, STATUS_NO_SECOND_PATH,
                           "backends on this host have no second path, and "
                           "each connection tries those of the subflow "
                           "endpoints in vain; write 'multipathtcp=Off' for "
                           "%s", names);
    }
}

/*
 * This is the side that begins connections to backends: it needs an address
 * to connect second paths from, or one to connect them to.
 */
static void check_backends(const host_report *r)
{
    int given_up;

    if (mptcp_blackhole_known(&given_up) && given_up) {
        status_trouble_add(r->troubles, STATUS_BLACKHOLE, "%s",
                           mptcp_blackhole_text(r->p));
    }
    check_loopback(r);
    if (r->connecting == 0
        && r->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] == 0) {
        status_trouble_add(r->troubles, STATUS_NO_SECOND_PATH,
                           "no connection to a backend gets a second path: no "
                           "endpoint is subflow, and no address that a "
                           "backend announces is accepted; write "
                           "'MPTCPEndpoint ADDRESS dev IF subflow' or "
                           "'MPTCPLimits add_addr_accepted=2'");
    }
}

/* What the kernel has, and what of it stands in the way. */
static apr_status_t read_host(host_report *r, apr_pool_t *p, int foresee)
{
    apr_status_t rv;

    memset(r, 0, sizeof(*r));
    r->p = p;
    r->troubles = apr_array_make(p, 4, sizeof(status_trouble));
    rv = ask_kernel(r);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (foresee) {
        add_configured(r);
    }
    count_endpoints(r);
    r->addresses = mptcp_host_interfaces(p);
    check_switches(r);
    if (any_takes_clients()) {
        check_announced(r);
        check_endpoints(r);
    }
    if (mptcp_proxy_wants_any()) {
        check_backends(r);
    }
    return APR_SUCCESS;
}

apr_status_t status_paths_read(apr_pool_t *p, int foresee,
                               status_paths *paths)
{
    host_report r;
    apr_status_t rv = read_host(&r, p, foresee);

    memset(paths, 0, sizeof(*paths));
    if (rv == APR_SUCCESS) {
        paths->limits = r.limits;
        paths->endpoints = r.endpoints;
        paths->troubles = r.troubles;
        paths->is_off = mptcp_sysctl_number(p, "mptcp/pm_type") > 0;
    }
    return rv;
}
