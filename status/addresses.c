/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Addresses in words, and which interfaces of this host have them.
 */

#include "status/private.h"

#include <arpa/inet.h>
#include <ifaddrs.h>

const char *status_address_text(const mptcp_end *end,
                                char text[STATUS_ADDRESS_LEN])
{
    return inet_ntop(end->family, end->address, text, STATUS_ADDRESS_LEN);
}

const char *status_end_text(const mptcp_end *end,
                            char text[STATUS_ADDRESS_LEN])
{
    char address[STATUS_ADDRESS_LEN];

    apr_snprintf(text, STATUS_ADDRESS_LEN,
                 end->family == AF_INET6 ? "[%s]:%d" : "%s:%d",
                 status_address_text(end, address), (int)end->port);
    return text;
}

apr_hash_t *status_interfaces_read(apr_pool_t *p)
{
    apr_hash_t *interfaces = apr_hash_make(p);
    const struct ifaddrs *ifa;

    for (ifa = mptcp_host_interfaces(p); ifa; ifa = ifa->ifa_next) {
        const void *address = mptcp_address_bytes(ifa->ifa_addr);

        if (address) {
            apr_size_t length = mptcp_address_length(ifa->ifa_addr->sa_family);
            status_interface *one = apr_palloc(p, sizeof(*one));

            one->name = ifa->ifa_name;
            one->is_down = !MPTCP_IS_LINK_UP(ifa->ifa_flags);
            apr_hash_set(interfaces, address, length, one);
        }
    }
    return interfaces;
}

const status_interface *status_interface_at(apr_hash_t *interfaces, int family,
                                            const void *address)
{
    return apr_hash_get(interfaces, address, mptcp_address_length(family));
}
