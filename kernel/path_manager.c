/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages to and from the kernel's MPTCP path manager: generic netlink,
 * family mptcp_pm, by libnl-3.
 *
 * Every call returns the kernel's own errno: libnl's numbers say less (3.7
 * makes "out of range" of a full table and of a bad value), so its error
 * callback is replaced.
 *
 * A path manager is opened, asked and closed within one hook; libnl makes
 * its socket close-on-exec, and none is open when a child is forked.
 */

#include "mod_mptcp.h"

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

/* The highest errno of the kernel's (linux/err.h: MAX_ERRNO). */
#define ERRNO_MAX 4095

#define PM_FAMILY "mptcp_pm"
#define PM_VERSION 1

struct mptcp_pm {
    struct nl_sock *sock;
    int family;
};

/* What becomes of one request. */
typedef struct {
    int done;
    int error;                          /* errno, or 0 */
    nl_recvmsg_msg_cb_t read;           /* takes a reply, or NULL */
    void *into;                         /* read's argument */
} exchange;

int mptcp_netlink_errno(int error)
{
    return error < 0 && error >= -ERRNO_MAX ? -error : EBADMSG;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
    exchange *ex = arg;

    (void)from;
    ex->error = mptcp_netlink_errno(err->error);
    ex->done = 1;
    return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;

    (void)msg;
    ex->done = 1;
    return NL_STOP;
}

static int on_reply(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;

    return ex->read ? ex->read(msg, ex->into) : NL_OK;
}

/*
 * Send a message, which is freed, and take what the kernel answers: replies
 * and then an acknowledgement, or the end of a dump, or an error.
 */
static apr_status_t run(mptcp_pm *pm, struct nl_msg *msg,
                        nl_recvmsg_msg_cb_t read, void *into)
{
    exchange ex = { 0, 0, read, into };
    struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);

    if (!cb) {
        nlmsg_free(msg);
        return ENOMEM;
    }
    nl_cb_err(cb, NL_CB_CUSTOM, on_error, &ex);
    nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_reply, &ex);
    nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &ex);
    nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, &ex);

    if (nl_send_auto(pm->sock, msg) < 0) {
        ex.error = EIO;
        ex.done = 1;
    }
    while (!ex.done) {
        /* none at all, for one, after PATIENCE */
        if (nl_recvmsgs_report(pm->sock, cb) <= 0 && !ex.done) {
            ex.error = EIO;
            ex.done = 1;
        }
    }
    nl_cb_put(cb);
    nlmsg_free(msg);
    return ex.error;
}

/* A request without attributes yet; NULL when there is no memory. */
static struct nl_msg *request(mptcp_pm *pm, int flags, int command)
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
    const struct timeval patience = { PATIENCE, 0 };
    mptcp_pm *pm = apr_pcalloc(p, sizeof(*pm));

    *result = NULL;
    pm->sock = nl_socket_alloc();
    if (!pm->sock) {
        return ENOMEM;
    }
    errno = 0;
    if (genl_connect(pm->sock) < 0
        || setsockopt(nl_socket_get_fd(pm->sock), SOL_SOCKET, SO_RCVTIMEO,
                      &patience, sizeof(patience)) != 0) {
        apr_status_t rv = errno ? errno : EIO;

        nl_socket_free(pm->sock);
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

/* ---- limits ----------------------------------------------------------- */

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
    return NL_OK;
}

apr_status_t mptcp_pm_get_limits(mptcp_pm *pm, mptcp_limits *limits)
{
    struct nl_msg *msg = request(pm, 0, PM_CMD_GET_LIMITS);
    apr_status_t rv;

    limits->value[MPTCP_LIMIT_SUBFLOWS] = MPTCP_LIMIT_UNSET;
    limits->value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] = MPTCP_LIMIT_UNSET;
    rv = msg ? run(pm, msg, read_limits, limits) : ENOMEM;
    /* it has acknowledged the request, and not answered it */
    if (rv == APR_SUCCESS
        && limits->value[MPTCP_LIMIT_SUBFLOWS] == MPTCP_LIMIT_UNSET) {
        rv = EBADMSG;
    }
    return rv;
}

apr_status_t mptcp_pm_set_limits(mptcp_pm *pm, const mptcp_limits *limits)
{
    struct nl_msg *msg = request(pm, 0, PM_CMD_SET_LIMITS);

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
    return run(pm, msg, NULL, NULL);
}

/* ---- endpoints -------------------------------------------------------- */

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
        return NL_OK;
    }
    ep = apr_array_push(endpoints);
    memset(ep, 0, sizeof(*ep));
    ep->family = nla_get_u16(addr[PM_ADDR_FAMILY]);
    ep->id = nla_get_u8(addr[PM_ADDR_ID]);
    if (ep->family == AF_INET && addr[PM_ADDR_ADDR4]) {
        nla_memcpy(&ep->address, addr[PM_ADDR_ADDR4], sizeof(struct in_addr));
    }
    else if (ep->family == AF_INET6 && addr[PM_ADDR_ADDR6]) {
        nla_memcpy(&ep->address, addr[PM_ADDR_ADDR6],
                   sizeof(struct in6_addr));
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
    return NL_OK;
}

apr_status_t mptcp_pm_get_endpoints(mptcp_pm *pm, apr_pool_t *p,
                                    apr_array_header_t **endpoints)
{
    struct nl_msg *msg = request(pm, NLM_F_DUMP, PM_CMD_GET_ADDR);

    *endpoints = apr_array_make(p, MPTCP_ENDPOINTS_MAX,
                                sizeof(mptcp_endpoint));
    return msg ? run(pm, msg, read_endpoint, *endpoints) : ENOMEM;
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
    struct nl_msg *msg = request(pm, 0, command);

    if (!msg) {
        return ENOMEM;
    }
    if (put_endpoint(msg, ep) != 0) {
        nlmsg_free(msg);
        return ENOMEM;
    }
    return run(pm, msg, NULL, NULL);
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
