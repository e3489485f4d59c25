/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages to and from the kernel's MPTCP path manager: generic netlink,
 * family mptcp_pm.
 */

#include "kernel/private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

/*
 * The family's numbers (Documentation/netlink/specs/mptcp_pm.yaml), fixed
 * ABI.  As enumerators of linux/mptcp.h they cannot be tested for, and the
 * headers of Linux 5.6 have none of them.
 */
enum {
    PM_CMD_ADD_ADDR = 1,
    PM_CMD_DEL_ADDR = 2,
    PM_CMD_GET_ADDR = 3,
    PM_CMD_SET_LIMITS = 5,
    PM_CMD_GET_LIMITS = 6,
    PM_CMD_SET_FLAGS = 7                /* Linux 5.12 */
};

enum {
    PM_ATTR_ADDR = 1,                   /* nested, see below */
    PM_ATTR_RCV_ADD_ADDRS = 2,          /* u32 */
    PM_ATTR_SUBFLOWS = 3,               /* u32 */
    PM_ATTR_MAX = PM_ATTR_SUBFLOWS
};

enum {
    PM_ADDR_FAMILY = 1,                 /* u16 */
    PM_ADDR_ID = 2,                     /* u8 */
    PM_ADDR_ADDR4 = 3,                  /* struct in_addr */
    PM_ADDR_ADDR6 = 4,                  /* struct in6_addr */
    PM_ADDR_PORT = 5,                   /* u16, host order */
    PM_ADDR_FLAGS = 6,                  /* u32 */
    PM_ADDR_IF_IDX = 7,                 /* s32 */
    PM_ADDR_MAX = PM_ADDR_IF_IDX
};

/* The least that an attribute must have; one with less is an error. */
static struct nla_policy pm_policy[PM_ATTR_MAX + 1] = {
    [PM_ATTR_ADDR] = { .type = NLA_NESTED },
    [PM_ATTR_RCV_ADD_ADDRS] = { .type = NLA_U32 },
    [PM_ATTR_SUBFLOWS] = { .type = NLA_U32 },
};

static struct nla_policy addr_policy[PM_ADDR_MAX + 1] = {
    [PM_ADDR_FAMILY] = { .type = NLA_U16 },
    [PM_ADDR_ID] = { .type = NLA_U8 },
    [PM_ADDR_ADDR4] = { .minlen = sizeof(struct in_addr) },
    [PM_ADDR_ADDR6] = { .minlen = sizeof(struct in6_addr) },
    [PM_ADDR_PORT] = { .type = NLA_U16 },
    [PM_ADDR_FLAGS] = { .type = NLA_U32 },
    [PM_ADDR_IF_IDX] = { .type = NLA_U32 },
};

/* How long the kernel may take to answer, in seconds: it never takes any. */
#define PATIENCE 2

#define PM_FAMILY "mptcp_pm"
#define PM_VERSION 1

struct mptcp_pm {
    struct nl_sock *sock;
    int family;
};

/* A message without attributes yet; NULL when there is no memory. */
static struct nl_msg *new_message(mptcp_pm *pm, int flags, int command)
{
    struct nl_msg *msg = nlmsg_alloc();

    if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, pm->family, 0,
                            flags, command, PM_VERSION)) {
        nlmsg_free(msg);
        return NULL;
    }
    return msg;
}

static apr_status_t close_pm(void *data)
{
    mptcp_pm *pm = data;

    nl_socket_free(pm->sock);
    return APR_SUCCESS;
}

apr_status_t mptcp_pm_open(apr_pool_t *p, mptcp_pm **result)
{
    mptcp_pm *pm = apr_pcalloc(p, sizeof(*pm));
    apr_status_t rv = mptcp_netlink_open(NETLINK_GENERIC, PATIENCE,
                                         &pm->sock);

    *result = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    pm->family = genl_ctrl_resolve(pm->sock, PM_FAMILY);
    if (pm->family < 0) {
        nl_socket_free(pm->sock);
        return ENOENT;                  /* libnl 3.7 tells nothing more */
    }
    apr_pool_cleanup_register(p, pm, close_pm, apr_pool_cleanup_null);
    *result = pm;
    return APR_SUCCESS;
}

void mptcp_pm_close(apr_pool_t *p, mptcp_pm *pm)
{
    apr_pool_cleanup_run(p, pm, close_pm);
}

/* ---- limits ------------------------------------------------------------- */

static int read_limits(struct nl_msg *msg, void *into)
{
    struct nlattr *attr[PM_ATTR_MAX + 1];
    mptcp_limits *limits = into;

    if (genlmsg_parse(nlmsg_hdr(msg), 0, attr, PM_ATTR_MAX,
                      pm_policy) == 0
        && attr[PM_ATTR_SUBFLOWS] && attr[PM_ATTR_RCV_ADD_ADDRS]) {
        limits->value[MPTCP_LIMIT_SUBFLOWS]
            = (int)nla_get_u32(attr[PM_ATTR_SUBFLOWS]);
        limits->value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED]
            = (int)nla_get_u32(attr[PM_ATTR_RCV_ADD_ADDRS]);
    }
    return 1;
}

apr_status_t mptcp_pm_get_limits(mptcp_pm *pm, mptcp_limits *limits)
{
    struct nl_msg *msg = new_message(pm, 0, PM_CMD_GET_LIMITS);
    apr_status_t rv;

    limits->value[MPTCP_LIMIT_SUBFLOWS] = MPTCP_LIMIT_UNSET;
    limits->value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] = MPTCP_LIMIT_UNSET;
    rv = mptcp_netlink_ask(pm->sock, msg, read_limits, limits);
    /* it has acknowledged the request, and not answered it */
    if (rv == APR_SUCCESS
        && limits->value[MPTCP_LIMIT_SUBFLOWS] == MPTCP_LIMIT_UNSET) {
        rv = EBADMSG;
    }
    return rv;
}

apr_status_t mptcp_pm_set_limits(mptcp_pm *pm, const mptcp_limits *limits)
{
    struct nl_msg *msg = new_message(pm, 0, PM_CMD_SET_LIMITS);

    if (!msg) {
        return ENOMEM;
    }
    if (nla_put_u32(msg, PM_ATTR_SUBFLOWS,
                    limits->value[MPTCP_LIMIT_SUBFLOWS])
        || nla_put_u32(msg, PM_ATTR_RCV_ADD_ADDRS,
                       limits->value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED])) {
        nlmsg_free(msg);
        return ENOMEM;
    }
    return mptcp_netlink_ask(pm->sock, msg, NULL, NULL);
}

/* ---- endpoints ---------------------------------------------------------- */

static int read_endpoint(struct nl_msg *msg, void *into)
{
    struct nlattr *attr[PM_ATTR_MAX + 1], *addr[PM_ADDR_MAX + 1];
    apr_array_header_t *endpoints = into;
    mptcp_endpoint *ep;

    if (genlmsg_parse(nlmsg_hdr(msg), 0, attr, PM_ATTR_MAX,
                      pm_policy) != 0
        || !attr[PM_ATTR_ADDR]
        || nla_parse_nested(addr, PM_ADDR_MAX, attr[PM_ATTR_ADDR],
                            addr_policy) != 0
        || !addr[PM_ADDR_FAMILY] || !addr[PM_ADDR_ID]) {
        return 1;
    }
    ep = apr_array_push(endpoints);
    memset(ep, 0, sizeof(*ep));
    ep->family = nla_get_u16(addr[PM_ADDR_FAMILY]);
    ep->id = nla_get_u8(addr[PM_ADDR_ID]);
    if (ep->family == AF_INET && addr[PM_ADDR_ADDR4]) {
        nla_memcpy(&ep->address, addr[PM_ADDR_ADDR4], sizeof(struct in_addr));
    }
    else if (ep->family == AF_INET6 && addr[PM_ADDR_ADDR6]) {
        struct in6_addr in6;
        const void *address;

        nla_memcpy(&in6, addr[PM_ADDR_ADDR6], sizeof(in6));
        /* the kernel's own, of a join to an IPv6 socket: the same to it */
        address = mptcp_address_unmapped(&ep->family, &in6);
        memcpy(&ep->address, address, mptcp_address_length(ep->family));
    }
    if (addr[PM_ADDR_PORT]) {
        ep->port = nla_get_u16(addr[PM_ADDR_PORT]);
    }
    if (addr[PM_ADDR_FLAGS]) {
        ep->flags = nla_get_u32(addr[PM_ADDR_FLAGS]);
    }
    if (addr[PM_ADDR_IF_IDX]) {
        ep->ifindex = (int)nla_get_u32(addr[PM_ADDR_IF_IDX]);
    }
    return 1;
}

apr_status_t mptcp_pm_get_endpoints(mptcp_pm *pm, apr_pool_t *p,
                                    apr_array_header_t **endpoints)
{
    struct nl_msg *msg = new_message(pm, NLM_F_DUMP, PM_CMD_GET_ADDR);

    *endpoints = apr_array_make(p, MPTCP_ENDPOINTS_MAX,
                                sizeof(mptcp_endpoint));
    return mptcp_netlink_ask(pm->sock, msg, read_endpoint, *endpoints);
}

/* Zero where it went in. */
static int put_endpoint(struct nl_msg *msg, const mptcp_endpoint *ep)
{
    int is_ipv6 = ep->family == AF_INET6;
    struct nlattr *nest = nla_nest_start(msg, PM_ATTR_ADDR);

    if (!nest
        || nla_put_u16(msg, PM_ADDR_FAMILY, ep->family)
        || nla_put(msg, is_ipv6 ? PM_ADDR_ADDR6 : PM_ADDR_ADDR4,
                   is_ipv6 ? sizeof(struct in6_addr) : sizeof(struct in_addr),
                   &ep->address)
        || nla_put_u32(msg, PM_ADDR_FLAGS, ep->flags)
        || (ep->id && nla_put_u8(msg, PM_ADDR_ID, ep->id))
        || (ep->port && nla_put_u16(msg, PM_ADDR_PORT, ep->port))
        || (ep->ifindex && nla_put_u32(msg, PM_ADDR_IF_IDX, ep->ifindex))) {
        return -1;
    }
    nla_nest_end(msg, nest);
    return 0;
}

static apr_status_t send_endpoint(mptcp_pm *pm, int command,
                                  const mptcp_endpoint *ep)
{
    struct nl_msg *msg = new_message(pm, 0, command);

    if (!msg) {
        return ENOMEM;
    }
    if (put_endpoint(msg, ep) != 0) {
        nlmsg_free(msg);
        return ENOMEM;
    }
    return mptcp_netlink_ask(pm->sock, msg, NULL, NULL);
}

apr_status_t mptcp_pm_add_endpoint(mptcp_pm *pm, const mptcp_endpoint *ep)
{
    return send_endpoint(pm, PM_CMD_ADD_ADDR, ep);
}

apr_status_t mptcp_pm_delete_endpoint(mptcp_pm *pm, const mptcp_endpoint *ep)
{
    return send_endpoint(pm, PM_CMD_DEL_ADDR, ep);
}

apr_status_t mptcp_pm_set_endpoint_flags(mptcp_pm *pm,
                                         const mptcp_endpoint *ep)
{
    return send_endpoint(pm, PM_CMD_SET_FLAGS, ep);
}

/*
 * One that does not know it may take the flag all the same.  Since 6.18
 * MPTCP_INFO counts such endpoints, in a byte that was reserved and zero
 * before.
 */
int mptcp_pm_knows_laminar(apr_pool_t *p)
{
    enum { LAMINAR_MAX = 81 };          /* its offset */
    unsigned char info[128] = { 0 };
    socklen_t length = sizeof(info);
    int known = 1;                      /* where it cannot be asked */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

    if (fd < 0) {
        return known;
    }
    /* it is the kernel's own path manager that counts them */
    if (mptcp_sysctl_number(p, "mptcp/pm_type") == 0
        && getsockopt(fd, SOL_MPTCP, MPTCP_INFO, info, &length) == 0) {
        known = length > LAMINAR_MAX && info[LAMINAR_MAX] > 0;
    }
    close(fd);
    return known;
}
