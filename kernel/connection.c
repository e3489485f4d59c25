/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the kernel says of one connection: the one place that asks it.
 *
 * A socket that speaks MPTCP answers MPTCP_INFO.  One that is plain TCP and
 * one that fell back to it refuse alike (EOPNOTSUPP on Linux 6.18), because
 * after a fallback the first subflow answers in the connection's place; only
 * SO_PROTOCOL still tells them apart.  Neither ever becomes MPTCP again.
 */

#include "kernel/private.h"

#include <errno.h>
#include <netinet/tcp.h>                /* TCP_CLOSE */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* In mptcp_kernel_info's flags: no longer MPTCP. */
#define INFO_FLAG_FALLBACK 1

void mptcp_reading_set(mptcp_reading *reading, apr_size_t length)
{
    reading->length = length;
    if (MPTCP_HAS(reading, flags)
        && (reading->info.flags & INFO_FLAG_FALLBACK)) {
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

int mptcp_connection_subflows(int fd)
{
    /*
     * struct mptcp_subflow_data, and of each subflow the first byte of its
     * struct tcp_info, which is its state.
     */
    struct {
        apr_uint32_t size_subflow_data;
        apr_uint32_t num_subflows;
        apr_uint32_t size_kernel;
        apr_uint32_t size_user;
        unsigned char state[2 * MPTCP_ENDPOINTS_MAX];
    } answer;
    socklen_t length = sizeof(answer);
    apr_uint32_t i;
    int live;

    memset(&answer, 0, sizeof(answer));
    answer.size_subflow_data = offsetof(__typeof__(answer), state);
    answer.size_user = 1;
    if (getsockopt(fd, SOL_MPTCP, MPTCP_TCPINFO, &answer, &length) != 0) {
        return -1;
    }
    live = (int)answer.num_subflows;
    for (i = 0; i < answer.num_subflows && i < sizeof(answer.state); i++) {
        live -= answer.state[i] == TCP_CLOSE;
    }
    return live;
}
