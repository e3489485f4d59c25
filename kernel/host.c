/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The addresses of this host, and whether they or its interfaces have changed:
 * rtnetlink.
 */

#include "kernel/private.h"

#include <errno.h>
#include <ifaddrs.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

/* Such an address is there, but not to be used for what is new, or not yet. */
#define NOT_FOR_USE (IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE \
                     | IFA_F_DADFAILED)

typedef struct {
    int ifindex;
    int family;
    apr_array_header_t *addresses;      /* mptcp_endpoint */
} address_reader;

static int read_host_address(struct nl_msg *msg, void *into)
{
    address_reader *reader = into;
    struct nlmsghdr *header = nlmsg_hdr(msg);
    const struct ifaddrmsg *ifa = nlmsg_data(header);
    struct nlattr *attr[IFA_MAX + 1], *address;
    mptcp_endpoint *ep;
    apr_uint32_t flags;

    if (header->nlmsg_type != RTM_NEWADDR
        || nlmsg_parse(header, sizeof(*ifa), attr, IFA_MAX, NULL) < 0
        || (int)ifa->ifa_index != reader->ifindex
        /* without IPv6 (ipv6.disable=1) all are the answer to that, too */
        || ifa->ifa_family != reader->family
        || ifa->ifa_scope != RT_SCOPE_UNIVERSE) {
        return 1;
    }
    flags = attr[IFA_FLAGS] && nla_len(attr[IFA_FLAGS]) >= 4
            ? nla_get_u32(attr[IFA_FLAGS]) : ifa->ifa_flags;
    /* IFA_F_TEMPORARY is IFA_F_SECONDARY: an alias, of IPv4 */
    if (flags & (ifa->ifa_family == AF_INET6 ? NOT_FOR_USE
                                             : NOT_FOR_USE & ~IFA_F_SECONDARY))
    {
        return 1;
    }
    /* IFA_ADDRESS is the other end, if the interface is a tunnel */
    address = attr[IFA_LOCAL] ? attr[IFA_LOCAL] : attr[IFA_ADDRESS];
    if (!address
        || nla_len(address) < (int)mptcp_address_length(ifa->ifa_family)) {
        return 1;
    }
    ep = apr_array_push(reader->addresses);
    memset(ep, 0, sizeof(*ep));
    ep->family = ifa->ifa_family;
    ep->ifindex = reader->ifindex;
    memcpy(&ep->address, nla_data(address),
           mptcp_address_length(ep->family));
    return 1;
}

apr_status_t mptcp_host_addresses(apr_pool_t *p, int ifindex,
                                  apr_array_header_t **addresses)
{
    static const int families[] = { AF_INET, AF_INET6 };
    address_reader reader;
    struct nl_sock *sock;
    apr_status_t rv = mptcp_netlink_open(NETLINK_ROUTE,
                                         MPTCP_LIST_PATIENCE, &sock);
    int i;

    reader.ifindex = ifindex;
    reader.addresses = *addresses = apr_array_make(p, MPTCP_ENDPOINTS_MAX,
                                                   sizeof(mptcp_endpoint));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < 2 && rv == APR_SUCCESS; i++) {
        struct ifaddrmsg request = { .ifa_family = families[i] };
        struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETADDR,
                                                NLM_F_REQUEST | NLM_F_DUMP);

        if (msg && nlmsg_append(msg, &request, sizeof(request),
                                NLMSG_ALIGNTO) < 0) {
            nlmsg_free(msg);
            msg = NULL;
        }
        reader.family = families[i];
        rv = mptcp_netlink_ask(sock, msg, read_host_address, &reader);
    }
    nl_socket_free(sock);
    return rv;
}

static int read_route(struct nl_msg *msg, void *into)
{
    const struct nlmsghdr *header = nlmsg_hdr(msg);
    const struct rtmsg *route = nlmsg_data(header);
    int *is_here = into;

    if (header->nlmsg_type == RTM_NEWROUTE
        && nlmsg_datalen(header) >= (int)sizeof(*route)) {
        *is_here = route->rtm_type == RTN_LOCAL;
    }
    return 1;
}

/* Do packets to an address come to this host?  0 only if it is known. */
static int is_routed_here(const mptcp_endpoint *ep)
{
    const apr_size_t length = mptcp_address_length(ep->family);
    struct rtmsg request = {
        .rtm_family = ep->family, .rtm_dst_len = 8 * length
    };
    struct nl_sock *sock;
    struct nl_msg *msg;
    int is_here = 0;
    apr_status_t rv;

    if (mptcp_netlink_open(NETLINK_ROUTE, MPTCP_LIST_PATIENCE, &sock)
        != APR_SUCCESS) {
        return 1;
    }
    msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);
    if (msg && (nlmsg_append(msg, &request, sizeof(request),
                             NLMSG_ALIGNTO) < 0
                || nla_put(msg, RTA_DST, (int)length, &ep->address) < 0)) {
        nlmsg_free(msg);
        msg = NULL;
    }
    rv = mptcp_netlink_ask(sock, msg, read_route, &is_here);
    nl_socket_free(sock);
    /* there may be no way at all to what is not here */
    return rv == APR_SUCCESS || rv == ENETUNREACH || rv == EHOSTUNREACH
           ? is_here : 1;
}

/*
 * bind() is asked, which knows of every way an address may be local; the path
 * manager takes endpoints of any address without asking.  But where the host
 * is to bind to addresses that it has not yet, as for VRRP, bind() takes any,
 * too, and it is the route that tells.
 */
apr_status_t mptcp_address_try(apr_pool_t *p, const mptcp_endpoint *ep)
{
    struct sockaddr_in6 sin6;
    struct sockaddr_in sin;
    apr_status_t rv = APR_SUCCESS;
    int fd = socket(ep->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return errno;
    }
    memset(&sin, 0, sizeof(sin));
    memset(&sin6, 0, sizeof(sin6));
    sin.sin_family = AF_INET;
    sin.sin_addr = ep->address.v4;
    sin6.sin6_family = AF_INET6;
    sin6.sin6_addr = ep->address.v6;
    if (ep->family == AF_INET
        ? bind(fd, (struct sockaddr *)&sin, sizeof(sin))
        : bind(fd, (struct sockaddr *)&sin6, sizeof(sin6))) {
        rv = errno;
    }
    close(fd);
    if (rv == APR_SUCCESS
        && mptcp_sysctl_number(p, ep->family == AF_INET
                                  ? "ipv4/ip_nonlocal_bind"
                                  : "ipv6/ip_nonlocal_bind") == 1
        && !is_routed_here(ep)) {
        rv = EADDRNOTAVAIL;
    }
    return rv;
}

/* Where a pool's list is found. */
#define INTERFACES_KEY "mod_mptcp:interfaces"

static apr_status_t free_interfaces(void *list)
{
    freeifaddrs(list);
    return APR_SUCCESS;
}

const struct ifaddrs *mptcp_host_interfaces(apr_pool_t *p)
{
    struct ifaddrs *list, *ifa;
    void *known = NULL;

    apr_pool_userdata_get(&known, INTERFACES_KEY, p);
    if (known || getifaddrs(&list) != 0) {
        return known;
    }
    for (ifa = list; ifa; ifa = ifa->ifa_next) {
        /* the label of an alias, "eth0:1"; no interface has a colon */
        ifa->ifa_name[strcspn(ifa->ifa_name, ":")] = '\0';
    }
    apr_pool_userdata_set(list, INTERFACES_KEY, free_interfaces, p);
    return list;
}

int mptcp_host_watch(void)
{
    struct sockaddr_nl to = { .nl_family = AF_NETLINK };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    NETLINK_ROUTE);

    to.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int mptcp_host_changed(int fd)
{
    char start[64];
    int changed = 0;
    ssize_t got;

    if (fd < 0) {
        return 1;
    }
    /* what has changed is asked for later; too much of it at once: ENOBUFS */
    do {
        got = recv(fd, start, sizeof(start), MSG_TRUNC);
        changed |= got > 0 || (got < 0 && errno == ENOBUFS);
    } while (got > 0 || (got < 0 && (errno == ENOBUFS || errno == EINTR)));
    return changed;
}
