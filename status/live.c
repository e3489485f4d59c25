/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Live connections, as the kernel lists them for anybody who asks: sock_diag,
 * by libnl-3.
 *
 * MPTCP sockets and TCP sockets are dumped one after the other.  A subflow is
 * a TCP socket whose MPTCP data have its connection's token: a hash joins the
 * two, so time and memory are linear in their number.  The kernel is asked to
 * leave out other ports, where that is possible (see make_filter()).
 *
 * Nothing is shared with other threads: each call has a netlink socket of its
 * own and closes it.
 */

#include "status/status.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

APLOG_USE_MODULE(mptcp);

/* After so long what has come is what is shown. */
#define DIAG_TIME_LIMIT apr_time_from_sec(3)

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
    apr_uint32_t unused_3[2];
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

typedef struct {
    const char *name;
    int is_down;
} interface;

/* While the kernel answers. */
typedef struct {
    apr_pool_t *p;
    diag_result *result;
    apr_hash_t *by_token;               /* diag_connection * */
    apr_hash_t *interfaces;             /* interface *, by its addresses */
    int reads_tcp;                      /* the present dump's protocol */
    int done;
    int error;                          /* errno, or 0 */
    apr_time_t deadline;
} reader;

/* ---- addresses --------------------------------------------------------- */

static apr_size_t address_length(int family)
{
    return family == AF_INET ? sizeof(struct in_addr)
                             : sizeof(struct in6_addr);
}

static void set_end(diag_end *end, int family, const void *address,
                    apr_uint16_t port)
{
    const struct in6_addr *in6 = address;

    memset(end, 0, sizeof(*end));
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(in6)) {
        family = AF_INET;
        address = &in6->s6_addr[12];
    }
    end->family = family;
    end->port = ntohs(port);
    memcpy(end->address, address, address_length(family));
}

const char *diag_address_text(const diag_end *end,
                              char text[STATUS_ADDRESS_LEN])
{
    return inet_ntop(end->family, end->address, text, STATUS_ADDRESS_LEN);
}

const char *diag_end_text(const diag_end *end, char text[STATUS_ADDRESS_LEN])
{
    char address[STATUS_ADDRESS_LEN];

    apr_snprintf(text, STATUS_ADDRESS_LEN,
                 end->family == AF_INET6 ? "[%s]:%d" : "%s:%d",
                 diag_address_text(end, address), (int)end->port);
    return text;
}

static int compare_ends(const diag_end *a, const diag_end *b)
{
    int difference = a->family - b->family;

    if (!difference) {
        difference = memcmp(a->address, b->address, sizeof(a->address));
    }
    return difference ? difference : (int)a->port - (int)b->port;
}

/* An address's bytes, or NULL: it is of another family. */
static const void *address_of(const struct sockaddr *sa)
{
    if (sa && sa->sa_family == AF_INET) {
        return &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    }
    if (sa && sa->sa_family == AF_INET6) {
        return &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    }
    return NULL;
}

/* The interfaces of this host's addresses; without them none is named. */
static apr_hash_t *read_interfaces(apr_pool_t *p)
{
    const unsigned int up = IFF_UP | IFF_RUNNING;
    apr_hash_t *interfaces = apr_hash_make(p);
    struct ifaddrs *list, *ifa;

    if (getifaddrs(&list) != 0) {
        return interfaces;
    }
    for (ifa = list; ifa; ifa = ifa->ifa_next) {
        const void *address = address_of(ifa->ifa_addr);

        if (address) {
            const apr_size_t length = address_length(ifa->ifa_addr->sa_family);
            interface *one = apr_palloc(p, sizeof(*one));

            one->name = apr_pstrdup(p, ifa->ifa_name);
            one->is_down = (ifa->ifa_flags & up) != up;
            apr_hash_set(interfaces, apr_pmemdup(p, address, length), length,
                         one);
        }
    }
    freeifaddrs(list);
    return interfaces;
}

/* ---- what the kernel answers ------------------------------------------- */

/* The server's own, and whose; else NULL. */
static diag_connection *own_connection(reader *r, const diag_end *local,
                                       const diag_end *remote)
{
    const apr_size_t length = address_length(local->family);
    const mptcp_counted *listener = NULL, *worker;
    diag_connection *c;
    apr_sockaddr_t sa;

    worker = mptcp_counted_worker(remote->address,
                                  address_length(remote->family),
                                  remote->port);
    if (!worker) {
        memset(&sa, 0, sizeof(sa));
        sa.family = local->family;
        sa.port = local->port;
        sa.ipaddr_len = length;
        sa.ipaddr_ptr = (void *)local->address;
        listener = mptcp_counted_listener(&sa);
    }
    if (!worker && !listener) {
        return NULL;
    }
    c = apr_pcalloc(r->p, sizeof(*c));
    c->local = *local;
    c->remote = *remote;
    c->listener = listener;
    c->worker = worker;
    return c;
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

static void read_connection(reader *r, const struct inet_diag_msg *diag,
                            struct nlattr **attr, const diag_end *local,
                            const diag_end *remote)
{
    diag_connection *c = own_connection(r, local, remote);
    apr_size_t length;

    if (!c) {
        return;
    }
    c->state = state_names[diag->idiag_state];
    length = copy_attribute(&c->reading.info, sizeof(c->reading.info),
                            attr[INET_DIAG_INFO]);
    c->reading.state = MPTCP_STATE_ON;
    mptcp_reading_set(&c->reading, length);
    APR_ARRAY_PUSH(r->result->connections, diag_connection *) = c;
    if (c->reading.info.token) {
        apr_hash_set(r->by_token, &c->reading.info.token,
                     sizeof(c->reading.info.token), c);
    }
}

/* A socket's MPTCP data; false where it has none: it is no subflow. */
static int parse_subflow(struct nlattr **attr, apr_uint32_t *token,
                         apr_uint32_t *flags)
{
    struct nlattr *ulp[ULP_INFO_MPTCP + 1], *mptcp[SUBFLOW_MAX + 1];

    if (!attr[ATTR_ULP_INFO]
        || nla_parse_nested(ulp, ULP_INFO_MPTCP, attr[ATTR_ULP_INFO],
                            ulp_policy)
        || !ulp[ULP_INFO_MPTCP]
        || nla_parse_nested(mptcp, SUBFLOW_MAX, ulp[ULP_INFO_MPTCP],
                            subflow_policy)
        || !mptcp[SUBFLOW_TOKEN_LOC]) {
        return 0;
    }
    *token = nla_get_u32(mptcp[SUBFLOW_TOKEN_LOC]);
    *flags = mptcp[SUBFLOW_FLAGS] ? nla_get_u32(mptcp[SUBFLOW_FLAGS]) : 0;
    return 1;
}

/* Where it belongs among the subflows of its connection: order by address. */
static void insert_subflow(diag_connection *c, diag_subflow *subflow)
{
    diag_subflow **at = &c->subflows;

    while (*at) {
        int difference = compare_ends(&(*at)->local, &subflow->local);

        if (!difference) {
            difference = compare_ends(&(*at)->remote, &subflow->remote);
        }
        if (difference > 0) {
            break;
        }
        at = &(*at)->next;
    }
    subflow->next = *at;
    *at = subflow;
    c->count++;
    c->rate += subflow->rate;
    c->retrans += subflow->retrans;
    c->bytes += subflow->bytes_sent + subflow->bytes_received;
}

static void set_interface(reader *r, diag_subflow *subflow)
{
    const interface *one = apr_hash_get(
        r->interfaces, subflow->local.address,
        address_length(subflow->local.family));

    if (one) {
        subflow->interface = one->name;
        subflow->interface_down = one->is_down;
    }
}

static void read_subflow(reader *r, const struct inet_diag_msg *diag,
                         struct nlattr **attr, const diag_end *local,
                         const diag_end *remote)
{
    apr_uint32_t token, flags;
    diag_connection *c;
    diag_subflow *subflow;
    tcp_kernel_info info;

    if (!parse_subflow(attr, &token, &flags)) {
        apr_sockaddr_t sa;

        memset(&sa, 0, sizeof(sa));
        sa.family = local->family;
        sa.port = local->port;
        sa.ipaddr_len = address_length(local->family);
        sa.ipaddr_ptr = (void *)local->address;
        r->result->tcp += mptcp_counted_listener(&sa) != NULL;
        return;
    }
    c = apr_hash_get(r->by_token, &token, sizeof(token));
    if (!c) {
        return;                         /* others', or of this moment */
    }
    subflow = apr_pcalloc(r->p, sizeof(*subflow));
    subflow->local = *local;
    subflow->remote = *remote;
    subflow->state = state_names[diag->idiag_state];
    subflow->backup_local = (flags & FLAG_BKUP_LOC) != 0;
    subflow->backup_remote = (flags & FLAG_BKUP_REM) != 0;
    subflow->joined = (flags & (FLAG_JOIN_LOC | FLAG_JOIN_REM)) != 0;
    set_interface(r, subflow);

    copy_attribute(&info, sizeof(info), attr[INET_DIAG_INFO]);
    subflow->rtt = info.rtt;
    subflow->retrans = info.total_retrans;
    subflow->stalled = info.retransmits > 0;
    subflow->bytes_sent = info.bytes_acked;
    subflow->bytes_received = info.bytes_received;
    if (!subflow->stalled && info.last_data_sent < RATE_AGE
        && info.last_ack_recv < RATE_AGE) {
        subflow->rate = info.delivery_rate;
    }
    insert_subflow(c, subflow);
    r->result->subflows++;
}

static int on_socket(struct nl_msg *msg, void *arg)
{
    reader *r = arg;
    struct nlmsghdr *header = nlmsg_hdr(msg);
    const struct inet_diag_msg *diag = nlmsg_data(header);
    struct nlattr *attr[ATTR_MAX + 1];
    diag_end local, remote;

    if (apr_time_now() > r->deadline) {
        r->result->incomplete = 1;
        r->done = 1;
        return NL_STOP;
    }
    if (nlmsg_parse(header, sizeof(*diag), attr, ATTR_MAX, NULL) < 0
        || (diag->idiag_family != AF_INET && diag->idiag_family != AF_INET6)
        || diag->idiag_state >= sizeof(state_names) / sizeof(state_names[0])
        || !state_names[diag->idiag_state]) {
        return NL_OK;
    }
    set_end(&local, diag->idiag_family, diag->id.idiag_src,
            diag->id.idiag_sport);
    set_end(&remote, diag->idiag_family, diag->id.idiag_dst,
            diag->id.idiag_dport);
    if (r->reads_tcp) {
        read_subflow(r, diag, attr, &local, &remote);
    }
    else {
        read_connection(r, diag, attr, &local, &remote);
    }
    return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
    reader *r = arg;

    (void)msg;
    r->done = 1;
    return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
    reader *r = arg;

    (void)from;
    r->error = mptcp_netlink_errno(err->error);
    r->done = 1;
    return NL_STOP;
}

/* ---- what the kernel is asked ------------------------------------------ */

/*
 * A program for the kernel: local port A, or local port B, ..., or remote
 * port C, ...  Each condition goes on to a jump to the end if it holds, and
 * past that to the next condition if it does not; the last one then goes past
 * the end, which means no.  The kernel checks that every offset leads to the
 * start of an instruction.
 */
static void add_condition(apr_array_header_t *program, int code,
                          apr_port_t port)
{
    struct inet_diag_bc_op *op = apr_array_push(program);

    op->code = code;
    op->yes = 2 * sizeof(*op);
    op->no = 3 * sizeof(*op);
    op = apr_array_push(program);
    memset(op, 0, sizeof(*op));
    op->no = port;
    op = apr_array_push(program);
    memset(op, 0, sizeof(*op));
    op->code = BC_JMP;
    op->yes = sizeof(*op);
}

static void end_conditions(apr_array_header_t *program)
{
    const int size = sizeof(struct inet_diag_bc_op);
    int i;

    for (i = 2; i < program->nelts; i += 3) {
        APR_ARRAY_IDX(program, i, struct inet_diag_bc_op).no
            = (program->nelts - i) * size;
    }
    APR_ARRAY_IDX(program, program->nelts - 3, struct inet_diag_bc_op).no
        = 4 * size;
}

/* The most conditions: offsets have 16 bits. */
#define CONDITIONS 1000

/* NULL: every port is of interest, or too many are. */
static apr_array_header_t *make_filter(apr_pool_t *p,
                                       const apr_array_header_t *join_ports)
{
    apr_array_header_t *program = apr_array_make(
        p, 16, sizeof(struct inet_diag_bc_op));
    const apr_array_header_t *list;
    int i;

    list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    for (i = 0; i < list->nelts; i++) {
        add_condition(program, BC_S_EQ,
                      APR_ARRAY_IDX(list, i, mptcp_counted).port);
    }
    for (i = 0; i < join_ports->nelts; i++) {
        add_condition(program, BC_S_EQ,
                      APR_ARRAY_IDX(join_ports, i, apr_port_t));
    }
    list = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        if (one->port) {
            add_condition(program, BC_D_EQ, one->port);
        }
        else if (counts.mptcp + counts.fallback > 0) {
            return NULL;
        }
    }
    if (program->nelts == 0 || program->nelts > 3 * CONDITIONS) {
        return NULL;
    }
    end_conditions(program);
    return program;
}

/* One request; NULL when there is no memory. */
static struct nl_msg *request(int family, int protocol, int states,
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

/* Take all that the kernel has of one family and protocol. */
static void dump(reader *r, struct nl_sock *sock, int family, int protocol,
                 int states, const apr_array_header_t *filter)
{
    struct nl_msg *msg;
    struct nl_cb *cb;

    if (r->error || r->result->incomplete) {
        return;
    }
    r->reads_tcp = protocol == IPPROTO_TCP;
    r->done = 0;
    msg = request(family, protocol, states, filter);
    cb = nl_cb_alloc(NL_CB_DEFAULT);
    if (!msg || !cb) {
        r->error = ENOMEM;
    }
    else {
        nl_cb_err(cb, NL_CB_CUSTOM, on_error, r);
        nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_socket, r);
        nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, r);
        if (nl_send_auto(sock, msg) < 0) {
            r->error = EIO;
        }
        while (!r->done && !r->error) {
            if (nl_recvmsgs_report(sock, cb) <= 0 && !r->done) {
                r->error = EIO;         /* SO_RCVTIMEO, for one */
            }
        }
    }
    if (cb) {
        nl_cb_put(cb);
    }
    if (msg) {
        nlmsg_free(msg);
    }
}

static struct nl_sock *open_socket(void)
{
    struct nl_sock *sock = nl_socket_alloc();
    struct timeval limit = { 0, 0 };

    if (!sock) {
        return NULL;
    }
    limit.tv_sec = apr_time_sec(DIAG_TIME_LIMIT);
    if (nl_connect(sock, NETLINK_SOCK_DIAG) < 0
        || setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &limit,
                      sizeof(limit)) != 0) {
        nl_socket_free(sock);
        return NULL;
    }
    /* the kernel fills 32 KiB at most; with this no message is read twice */
    nl_socket_set_msg_buf_size(sock, 64 * 1024);
    nl_socket_disable_msg_peek(sock);
    return sock;
}

void diag_read(apr_pool_t *p, int other_ports,
               const apr_array_header_t *join_ports, diag_result *result)
{
    const apr_array_header_t *filter = make_filter(p, join_ports);
    apr_time_t start = apr_time_now();
    struct nl_sock *sock;
    reader r;

    memset(result, 0, sizeof(*result));
    result->connections = apr_array_make(p, 64, sizeof(diag_connection *));
    if (!mptcp_counted_since()) {
        return;                         /* nothing of it is MPTCP */
    }
    sock = open_socket();
    if (!sock) {
        result->status = errno ? errno : EIO;
        return;
    }
    memset(&r, 0, sizeof(r));
    r.p = p;
    r.result = result;
    r.by_token = apr_hash_make(p);
    r.interfaces = read_interfaces(p);
    r.deadline = start + DIAG_TIME_LIMIT;

    dump(&r, sock, AF_INET, IPPROTO_MPTCP, LIVE_STATES, filter);
    dump(&r, sock, AF_INET6, IPPROTO_MPTCP, LIVE_STATES, filter);
    if (other_ports) {
        filter = NULL;
    }
    dump(&r, sock, AF_INET, IPPROTO_TCP, LIVE_STATES | STATE(2), filter);
    dump(&r, sock, AF_INET6, IPPROTO_TCP, LIVE_STATES | STATE(2), filter);

    result->status = r.error;
    result->took = apr_time_now() - start;
    nl_socket_free(sock);
}
