/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The live sockets of this network namespace, as the kernel lists them:
 * sock_diag.
 *
 * MPTCP sockets and TCP sockets are two lists.  A subflow is a TCP socket; its
 * MPTCP data (INET_DIAG_ULP_INFO) have its connection's token, and whoever has
 * not the privilege to see them sees that both have the same inode.  The
 * kernel can be asked to leave out other ports.
 */

#include "kernel/private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

/*
 * Fixed ABI that older headers lack, or lack in part; as enumerators they
 * cannot be tested for (linux/inet_diag.h, linux/mptcp.h).
 */
enum {
    REQ_BYTECODE = 1,
    REQ_PROTOCOL = 3,                   /* u32; Linux 5.9 */
    BC_JMP = 1,
    BC_S_EQ = 11,                       /* Linux 5.10 */
    BC_D_EQ = 12,
    ATTR_ULP_INFO = 19,                 /* nested */
    ATTR_MAX = ATTR_ULP_INFO,
    ULP_INFO_MPTCP = 3,                 /* nested; Linux 5.6 */
    SUBFLOW_TOKEN_LOC = 2,              /* u32 */
    SUBFLOW_FLAGS = 8,                  /* u32, as below */
    SUBFLOW_MAX = SUBFLOW_FLAGS
};

/* The least that an attribute must have; one with less is an error. */
static struct nla_policy ulp_policy[ULP_INFO_MPTCP + 1] = {
    [ULP_INFO_MPTCP] = { .type = NLA_NESTED },
};

static struct nla_policy subflow_policy[SUBFLOW_MAX + 1] = {
    [SUBFLOW_TOKEN_LOC] = { .type = NLA_U32 },
    [SUBFLOW_FLAGS] = { .type = NLA_U32 },
};

/* struct tcp_info, all of which no header has that goes with libnl's. */
typedef struct {
    unsigned char unused_1[2];
    unsigned char retransmits;          /* in vain, one after the other */
    unsigned char unused_2[41];
    apr_uint32_t last_data_sent;        /* ms ago */
    apr_uint32_t unused_3;
    apr_uint32_t last_data_recv;        /* ms ago */
    apr_uint32_t last_ack_recv;         /* ms ago */
    apr_uint32_t unused_4[2];
    apr_uint32_t rtt;                   /* us */
    apr_uint32_t unused_5[7];
    apr_uint32_t total_retrans;         /* segments */
    apr_uint64_t unused_6[2];
    apr_uint64_t bytes_acked;
    apr_uint64_t bytes_received;
    apr_uint32_t unused_7[6];
    apr_uint64_t delivery_rate;         /* bytes a second */
    apr_uint64_t unused_8[3];
    apr_uint32_t unused_9[2];
    apr_uint64_t bytes_sent;            /* this one and the next: 4.19 */
    apr_uint64_t bytes_retrans;
} tcp_kernel_info;

#define FLAG_JOIN_REM (1 << 2)
#define FLAG_JOIN_LOC (1 << 3)
#define FLAG_BKUP_REM (1 << 4)
#define FLAG_BKUP_LOC (1 << 5)

/* A rate is of the past once nothing has been sent for so long, in ms. */
#define RATE_AGE 2000

/* States of sockets (enum of linux/tcp_states.h, which is not exported). */
static const char *const state_names[] = {
    NULL, "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",
    "time-wait", "close", "close-wait", "last-ack", "listen", "closing"
};
#define STATE(n) (1 << (n))
#define LIVE_STATES (STATE(1) | STATE(4) | STATE(5) | STATE(8) | STATE(9) \
                     | STATE(11))

/* One that only waits for its end to be heard of stalls nothing. */
#define LEAVING_STATES (STATE(4) | STATE(9) | STATE(11))

/* While the kernel answers. */
typedef struct {
    int is_tcp;                         /* the sockets of this list are */
    int (*take)(const mptcp_socket *, void *);
    void *baton;
    int enough;                         /* take() wants no more */
} dump_reader;

/* ---- what the kernel answers -------------------------------------------- */

static void set_end(mptcp_end *end, int family, const void *address,
                    apr_uint16_t port)
{
    memset(end, 0, sizeof(*end));
    address = mptcp_address_unmapped(&family, address);
    end->family = family;
    end->port = ntohs(port);
    memcpy(end->address, address, mptcp_address_length(family));
}

/* An attribute's data, as much as both have room for; the rest is zero. */
static apr_size_t copy_attribute(void *to, apr_size_t size,
                                 struct nlattr *attribute)
{
    apr_size_t length = 0;

    memset(to, 0, size);
    if (attribute) {
        length = nla_len(attribute);
        length = length < size ? length : size;
        memcpy(to, nla_data(attribute), length);
    }
    return length;
}

static void parse_mptcp(struct nlattr **attr, mptcp_socket *found)
{
    apr_size_t length = copy_attribute(&found->reading.info,
                                       sizeof(found->reading.info),
                                       attr[INET_DIAG_INFO]);

    found->reading.state = MPTCP_STATE_ON;
    mptcp_reading_set(&found->reading, length);
    found->token = found->reading.info.token;
}

static void parse_subflow(struct nlattr **attr, mptcp_socket *found)
{
    struct nlattr *ulp[ULP_INFO_MPTCP + 1], *mptcp[SUBFLOW_MAX + 1];
    apr_uint32_t flags;

    if (!attr[ATTR_ULP_INFO]
        || nla_parse_nested(ulp, ULP_INFO_MPTCP, attr[ATTR_ULP_INFO],
                            ulp_policy)
        || !ulp[ULP_INFO_MPTCP]
        || nla_parse_nested(mptcp, SUBFLOW_MAX, ulp[ULP_INFO_MPTCP],
                            subflow_policy)
        || !mptcp[SUBFLOW_TOKEN_LOC]) {
        return;
    }
    flags = mptcp[SUBFLOW_FLAGS] ? nla_get_u32(mptcp[SUBFLOW_FLAGS]) : 0;
    found->says_subflow = 1;
    found->token = nla_get_u32(mptcp[SUBFLOW_TOKEN_LOC]);
    found->joined = (flags & (FLAG_JOIN_LOC | FLAG_JOIN_REM)) != 0;
    found->backup_local = (flags & FLAG_BKUP_LOC) != 0;
    found->backup_remote = (flags & FLAG_BKUP_REM) != 0;
}

static void parse_tcp(struct nlattr **attr, mptcp_socket *found)
{
    tcp_kernel_info info;

    parse_subflow(attr, found);
    copy_attribute(&info, sizeof(info), attr[INET_DIAG_INFO]);
    found->rtt = info.rtt;
    found->retrans = info.total_retrans;
    found->stalled = info.retransmits > 0;
    found->bytes_sent = info.bytes_acked;
    found->bytes_received = info.bytes_received;
    found->sent = info.bytes_sent;
    found->resent = info.bytes_retrans;
    found->idle_ms = info.last_data_sent < info.last_data_recv
                   ? info.last_data_sent : info.last_data_recv;
    found->unheard_ms = info.last_ack_recv;
    if (!found->stalled && info.last_data_sent < RATE_AGE
        && info.last_ack_recv < RATE_AGE) {
        found->rate = info.delivery_rate;
    }
}

static int read_socket(struct nl_msg *msg, void *into)
{
    dump_reader *reader = into;
    struct nlmsghdr *header = nlmsg_hdr(msg);
    const struct inet_diag_msg *diag = nlmsg_data(header);
    struct nlattr *attr[ATTR_MAX + 1];
    mptcp_socket found;

    if (nlmsg_parse(header, sizeof(*diag), attr, ATTR_MAX, NULL) < 0
        || (diag->idiag_family != AF_INET && diag->idiag_family != AF_INET6)
        || diag->idiag_state >= sizeof(state_names) / sizeof(state_names[0])
        || !state_names[diag->idiag_state]) {
        return 1;
    }
    memset(&found, 0, sizeof(found));
    set_end(&found.local, diag->idiag_family, diag->id.idiag_src,
            diag->id.idiag_sport);
    set_end(&found.remote, diag->idiag_family, diag->id.idiag_dst,
            diag->id.idiag_dport);
    found.state = state_names[diag->idiag_state];
    found.inode = diag->idiag_inode;
    if (reader->is_tcp) {
        parse_tcp(attr, &found);
        found.stalled &= !(STATE(diag->idiag_state) & LEAVING_STATES);
    }
    else {
        parse_mptcp(attr, &found);
    }
    reader->enough = !reader->take(&found, reader->baton);
    return !reader->enough;
}

/* ---- what the kernel is asked ------------------------------------------- */

/*
 * A filter is a program of three instructions of four bytes for each port:
 *
 *   compare   holds: to the jump     (yes: 2 instructions on)
 *   port      (the comparison's operand, in the place of an instruction)
 *             fails: to the next comparison (no: 3 instructions on)
 *   jump      to the end of the program
 *
 * To arrive exactly at the end means that the socket is wanted, to be sent
 * past it that it is not: so the last comparison fails by 4 instructions.
 * A jump's distance is in its "no"; the kernel checks that each distance, in
 * bytes, leads to the start of an instruction (inet_diag_bc_audit()).
 */
enum { OP_SIZE = sizeof(struct inet_diag_bc_op) };

static void add_port(apr_array_header_t *program, int compare,
                     apr_port_t port)
{
    struct inet_diag_bc_op *op = apr_array_push(program);

    op->code = compare;
    op->yes = 2 * OP_SIZE;
    op->no = 3 * OP_SIZE;
    op = apr_array_push(program);
    memset(op, 0, sizeof(*op));
    op->no = port;
    op = apr_array_push(program);
    memset(op, 0, sizeof(*op));
    op->code = BC_JMP;
    op->yes = OP_SIZE;
}

/* Now the end is known. */
static void end_program(apr_array_header_t *program)
{
    int i;

    for (i = 2; i < program->nelts; i += 3) {
        APR_ARRAY_IDX(program, i, struct inet_diag_bc_op).no
            = (program->nelts - i) * OP_SIZE;
    }
    APR_ARRAY_IDX(program, program->nelts - 3, struct inet_diag_bc_op).no
        = 4 * OP_SIZE;
}

/* The most ports: distances have 16 bits. */
#define FILTER_PORTS_MAX 1000

apr_array_header_t *mptcp_sock_filter(apr_pool_t *p,
                                      const apr_array_header_t *local_ports,
                                      const apr_array_header_t *remote_ports)
{
    apr_array_header_t *program;
    int count = local_ports->nelts + remote_ports->nelts, i;

    if (count == 0 || count > FILTER_PORTS_MAX) {
        return NULL;
    }
    program = apr_array_make(p, 3 * count, sizeof(struct inet_diag_bc_op));
    for (i = 0; i < local_ports->nelts; i++) {
        add_port(program, BC_S_EQ, APR_ARRAY_IDX(local_ports, i, apr_port_t));
    }
    for (i = 0; i < remote_ports->nelts; i++) {
        add_port(program, BC_D_EQ, APR_ARRAY_IDX(remote_ports, i, apr_port_t));
    }
    end_program(program);
    return program;
}

/* One request; NULL when there is no memory. */
static struct nl_msg *new_request(int family, int protocol, int states,
                                  const apr_array_header_t *filter)
{
    struct inet_diag_req_v2 req;
    int program = filter ? filter->nelts * filter->elt_size : 0;
    /* a message does not grow, and one of libnl's own choice is a page */
    struct nl_msg *msg = nlmsg_alloc_size(nlmsg_total_size(sizeof(req))
                                          + nla_total_size(sizeof(protocol))
                                          + nla_total_size(program));

    memset(&req, 0, sizeof(req));
    req.sdiag_family = family;
    /* the field has 8 bits; IPPROTO_MPTCP goes into an attribute instead */
    req.sdiag_protocol = protocol > 255 ? 0 : protocol;
    req.idiag_ext = 1 << (INET_DIAG_INFO - 1);
    req.idiag_states = states;
    if (msg
        && (!nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, SOCK_DIAG_BY_FAMILY, 0,
                       NLM_F_REQUEST | NLM_F_DUMP)
            || nlmsg_append(msg, &req, sizeof(req), NLMSG_ALIGNTO) < 0
            || (protocol > 255 && nla_put_u32(msg, REQ_PROTOCOL, protocol) < 0)
            || (filter && nla_put(msg, REQ_BYTECODE, program,
                                  filter->elts) < 0))) {
        nlmsg_free(msg);
        return NULL;
    }
    return msg;
}

apr_status_t mptcp_sock_diag_open(int patience, struct nl_sock **sock)
{
    apr_status_t rv = mptcp_netlink_open(NETLINK_SOCK_DIAG, patience, sock);

    if (rv == APR_SUCCESS) {
        /* the kernel fills 32 KiB at most; with this no message is read
         * twice */
        nl_socket_set_msg_buf_size(*sock, 64 * 1024);
        nl_socket_disable_msg_peek(*sock);
    }
    return rv;
}

apr_status_t mptcp_sock_diag(struct nl_sock *sock, int protocol,
                             const apr_array_header_t *filter,
                             int (*take)(const mptcp_socket *, void *),
                             void *baton)
{
    static const int families[] = { AF_INET, AF_INET6 };
    dump_reader reader = { protocol == IPPROTO_TCP, take, baton, 0 };
    int states = LIVE_STATES;
    apr_status_t rv = APR_SUCCESS;
    int i;

    if (protocol == IPPROTO_TCP) {
        states |= STATE(2);             /* a subflow that is being made */
    }
    for (i = 0; i < 2 && rv == APR_SUCCESS && !reader.enough; i++) {
        rv = mptcp_netlink_ask(sock, new_request(families[i], protocol, states,
                                                 filter),
                               read_socket, &reader);
    }
    return rv;
}
