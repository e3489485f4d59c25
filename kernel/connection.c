/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the kernel says of one connection: the one place that asks it, and the
 * one table of the variables made of its answer.
 *
 * A socket that speaks MPTCP answers MPTCP_INFO.  One that is plain TCP and
 * one that fell back to it refuse alike (EOPNOTSUPP on Linux 6.18), because
 * after a fallback the first subflow answers in the connection's place; only
 * SO_PROTOCOL still tells them apart.  Neither ever becomes MPTCP again.
 */

#include "mod_mptcp.h"

#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* How a variable is made of the kernel's answer. */
typedef enum {
    STATE,
    LIVE_SUBFLOWS,
    DECIMAL,
    HEXADECIMAL
} variable_form;

#define FIELD(name) \
    offsetof(mptcp_kernel_info, name), \
    sizeof(((mptcp_kernel_info *)0)->name)

/* The variables of a client's connection. */
static const struct {
    const char *name;
    variable_form form;
    size_t offset;                      /* of its field, and the size */
    size_t size;
} variables[MPTCP_CONNECTION_VARIABLES] = {
    { "MPTCP",                STATE,         0, 0 },
    { "MPTCP_SUBFLOWS",       LIVE_SUBFLOWS, FIELD(extra_subflows) },
    { "MPTCP_SUBFLOWS_TOTAL", DECIMAL,       FIELD(subflows_total) },
    { "MPTCP_TOKEN",          HEXADECIMAL,   FIELD(token) },
    { "MPTCP_BYTES_SENT",     DECIMAL,       FIELD(bytes_sent) },
    { "MPTCP_BYTES_RECEIVED", DECIMAL,       FIELD(bytes_received) },
    { "MPTCP_BYTES_RETRANS",  DECIMAL,       FIELD(bytes_retrans) },
};

int mptcp_variable_find(const char *name)
{
    int i;

    for (i = 0; i < MPTCP_CONNECTION_VARIABLES; i++) {
        if (ap_cstr_casecmp(name, variables[i].name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *mptcp_variable_name(int variable)
{
    return variables[variable].name;
}

const char *mptcp_state_text(mptcp_state state)
{
    switch (state) {
    case MPTCP_STATE_ON:
        return "on";
    case MPTCP_STATE_FALLBACK:
        return "fallback";
    case MPTCP_STATE_OFF:
        return "off";
    case MPTCP_STATE_NO_LISTENER:
        return "-";
    default:
        return NULL;
    }
}

/* Did the kernel's answer reach to the end of a field? */
static int has_field(const mptcp_reading *reading, size_t offset, size_t size)
{
    return reading->state == MPTCP_STATE_ON
           && reading->length >= offset + size;
}

/* An unsigned field of 1, 4 or 8 bytes. */
static apr_uint64_t field(const mptcp_reading *reading, size_t offset,
                          size_t size)
{
    const char *at = (const char *)&reading->info + offset;
    apr_uint64_t u64 = 0;
    apr_uint32_t u32;

    if (size == sizeof(u64)) {
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
    if (size == sizeof(u32)) {
        memcpy(&u32, at, sizeof(u32));
        return u32;
    }
    return *(const unsigned char *)at;
}

/*
 * The subflows that are alive.  Newer kernels (6.8) count the first one while
 * it is; for older ones it is as long as the connection has its token.
 */
static apr_uint64_t live_subflows(const mptcp_reading *reading)
{
    const mptcp_kernel_info *info = &reading->info;

    if (has_field(reading, FIELD(subflows_total))) {
        return info->subflows_total;
    }
    return info->extra_subflows
           + (!has_field(reading, FIELD(token)) || info->token != 0);
}

const char *mptcp_variable_value(const mptcp_reading *reading, int variable,
                                 apr_pool_t *p)
{
    size_t offset = variables[variable].offset;
    size_t size = variables[variable].size;
    apr_uint64_t number;

    if (variables[variable].form == STATE) {
        return mptcp_state_text(reading->state);
    }
    if (!has_field(reading, offset, size)) {
        return NULL;
    }
    number = field(reading, offset, size);
    switch (variables[variable].form) {
    case LIVE_SUBFLOWS:
        number = live_subflows(reading);
        break;
    case HEXADECIMAL:
        /* a connection that the peer has reset has no token any more */
        return number ? apr_psprintf(p, "%" APR_UINT64_T_HEX_FMT, number)
                      : NULL;
    default:
        break;
    }
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, number);
}

void mptcp_reading_set(mptcp_reading *reading, apr_size_t length)
{
    reading->length = length;
    if (has_field(reading, FIELD(flags))
        && (reading->info.flags & MPTCP_KERNEL_INFO_FALLBACK)) {
        reading->state = MPTCP_STATE_FALLBACK;
    }
}

/*
 * Does this kernel have MPTCP_INFO (Linux 5.16)?  Asked of a socket of our
 * own the first time that it matters.  Threads may do so at the same time,
 * and get the same answer; nothing else is ordered by it.
 */
static int kernel_has_info(void)
{
    static int known = -1;
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);

    if (answer < 0) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
        mptcp_kernel_info info;
        socklen_t length = sizeof(info);

        if (fd < 0) {
            return 0;                   /* perhaps another time */
        }
        answer = getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &info, &length) == 0;
        close(fd);
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer;
}

/* The socket's protocol, or -1. */
static int socket_protocol(int fd)
{
    int protocol;
    socklen_t length = sizeof(protocol);

    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) != 0) {
        return -1;
    }
    return protocol;
}

void mptcp_connection_ask(int fd, int made_as, mptcp_reading *reading)
{
    socklen_t length = sizeof(reading->info);
    int protocol = made_as;

    memset(reading, 0, sizeof(*reading));
    if (made_as == IPPROTO_TCP) {
        /* unless it has become MPTCP behind our back, as mptcpize does it */
        protocol = socket_protocol(fd);
        if (protocol != IPPROTO_MPTCP) {
            reading->state = protocol < 0 ? MPTCP_STATE_UNKNOWN
                                          : MPTCP_STATE_OFF;
            return;
        }
    }
    if (getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &reading->info, &length) == 0) {
        reading->state = MPTCP_STATE_ON;
        mptcp_reading_set(reading, length);
        return;
    }
    if (errno != EOPNOTSUPP && errno != ENOPROTOOPT) {
        return;                         /* it is closed, for one */
    }
    if (protocol != IPPROTO_MPTCP) {
        protocol = socket_protocol(fd);
    }
    if (protocol == IPPROTO_MPTCP) {
        if (kernel_has_info()) {
            reading->state = MPTCP_STATE_FALLBACK;
        }
    }
    else if (protocol >= 0) {
        reading->state = MPTCP_STATE_OFF;
    }
}
