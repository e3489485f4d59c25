/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The path manager's answers: a kernel that answers short, too long, wrong, in
 * another order, or not at all.
 *
 * An input is a byte that chooses the request, and the datagrams of kernel.h.
 */

#include "kernel/address.c"
#include "kernel/netlink.c"
#include "kernel/path_manager.c"
#include "kernel/socket.c"

#include "fuzz.h"
#include "answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    mptcp_pm pm = { nl_socket_alloc(), 42 };
    mptcp_limits limits = { { 1, 2 } };
    mptcp_endpoint endpoint = { .family = AF_INET, .id = 1 };
    apr_array_header_t *endpoints;

    /* libnl sends and receives by a real socket only, and counts its messages */
    MUST(pm.sock && nl_connect(pm.sock, NETLINK_GENERIC) == 0);
    if (!size) {
        nl_socket_free(pm.sock);
        return 0;
    }
    at = data + 1;
    end = data + size;
    switch (data[0] % 4) {
    case 0:
        mptcp_pm_get_limits(&pm, &limits);
        break;
    case 1:
        mptcp_pm_get_endpoints(&pm, p, &endpoints);
        break;
    case 2:
        mptcp_pm_set_limits(&pm, &limits);
        break;
    default:
        mptcp_pm_add_endpoint(&pm, &endpoint);
        break;
    }
    nl_socket_free(pm.sock);
    return 0;
}
