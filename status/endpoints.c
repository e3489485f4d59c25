/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's endpoints: whether their addresses are where they are to be,
 * and which lines of MPTCPEndpoint are not in force.
 */

#include "status/private.h"
#include "paths/paths.h"

#include <net/if.h>

status_endpoint status_endpoint_state(apr_hash_t *interfaces,
                                      const mptcp_endpoint *ep)
{
    const status_interface *on = status_interface_at(
        interfaces, ep->family, &ep->address);
    char name[IF_NAMESIZE];

    if (ep->ifindex && !if_indextoname(ep->ifindex, name)) {
        return STATUS_ENDPOINT_INTERFACE_GONE;
    }
    if (on) {
        return on->is_down ? STATUS_ENDPOINT_LINK_DOWN : STATUS_ENDPOINT_READY;
    }
    /* a router may translate an address that is only announced */
    return ep->ifindex || (ep->flags & MPTCP_PM_ADDR_FLAGS_CONNECT)
           ? STATUS_ENDPOINT_ADDRESS_GONE : STATUS_ENDPOINT_ELSEWHERE;
}

const char *status_endpoint_text(status_endpoint state)
{
    static const char *const texts[] = {
        [STATUS_ENDPOINT_READY] = "ready",
        [STATUS_ENDPOINT_ELSEWHERE] = "elsewhere",
        [STATUS_ENDPOINT_LINK_DOWN] = "link down",
        [STATUS_ENDPOINT_ADDRESS_GONE] = "address gone",
        [STATUS_ENDPOINT_INTERFACE_GONE] = "interface gone"
    };

    return texts[state];
}

/* ---- what is wrong with them -------------------------------------------- */

/* Lines of MPTCPEndpoint that are not in force, or cannot be used. */
static void check_missing(status_report *report)
{
    apr_array_header_t *list = apr_array_make(report->p, 4,
                                              sizeof(mptcp_missing));
    int i;

    mptcp_paths_missing(report->p, report->paths->endpoints, list);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_missing *one = &APR_ARRAY_IDX(list, i, mptcp_missing);

        status_trouble_add(report->troubles,
                           one->why == ENETDOWN ? STATUS_LINK_DOWN
                           : one->why == EADDRNOTAVAIL ? STATUS_ADDRESS_GONE
                           : one->why == ENODEV ? STATUS_INTERFACE_GONE
                           : STATUS_NOT_IN_FORCE, "%s", one->text);
    }
}

/* Endpoints that others have made; of ours it has been said. */
static void check_place(status_report *report, const mptcp_endpoint *ep)
{
    const char *address = mptcp_endpoint_address(report->p, ep);
    const char *role = ep->flags & MPTCP_PM_ADDR_FLAG_SIGNAL
                       ? "announced to clients" : "an endpoint";
    const status_interface *on = status_interface_at(
        report->interfaces, ep->family, &ep->address);

    if (mptcp_endpoint_is_ours(report->s->process, ep)) {
        return;
    }
    switch (status_endpoint_state(report->interfaces, ep)) {
    case STATUS_ENDPOINT_LINK_DOWN:
        status_trouble_add(report->troubles, STATUS_LINK_DOWN,
                           "%s is %s, but its interface %s has no link; look "
                           "at the cable or the radio, or write 'ip link set "
                           "%s up'", address, role, on->name, on->name);
        break;
    case STATUS_ENDPOINT_ADDRESS_GONE:
        status_trouble_add(report->troubles, STATUS_ADDRESS_GONE,
                           "%s is %s, but is no address of this host any "
                           "more; give it back to the host, or take the "
                           "endpoint away: its MPTCPEndpoint line, or 'ip "
                           "mptcp endpoint delete id %d'", address, role,
                           ep->id);
        break;
    case STATUS_ENDPOINT_INTERFACE_GONE:
        status_trouble_add(report->troubles, STATUS_INTERFACE_GONE,
                           "%s is %s, but its interface is gone; bring it "
                           "back, or take the endpoint away: its "
                           "MPTCPEndpoint line, or 'ip mptcp endpoint delete "
                           "id %d'", address, role, ep->id);
        break;
    case STATUS_ENDPOINT_READY:
    case STATUS_ENDPOINT_ELSEWHERE:
        break;
    }
}

void status_check_endpoints(status_report *report)
{
    int i;

    check_missing(report);
    for (i = 0; i < report->paths->endpoints->nelts; i++) {
        check_place(report, &APR_ARRAY_IDX(report->paths->endpoints, i,
                                           mptcp_endpoint));
    }
}
