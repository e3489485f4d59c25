/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Addresses of both families as bytes, whatever structure they stand in.
 */

#include "kernel/private.h"

#include <sys/socket.h>

apr_size_t mptcp_address_length(int family)
{
    return family == AF_INET ? sizeof(struct in_addr)
                             : sizeof(struct in6_addr);
}

const void *mptcp_address_bytes(const struct sockaddr *sa)
{
    switch (sa ? sa->sa_family : AF_UNSPEC) {
    case AF_INET:
        return &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    case AF_INET6:
        return &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    default:
        return NULL;
    }
}

const void *mptcp_address_unmapped(int *family, const void *address)
{
    const struct in6_addr *in6 = address;

    if (*family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(in6)) {
        return address;
    }
    *family = AF_INET;
    return &in6->s6_addr[12];
}
