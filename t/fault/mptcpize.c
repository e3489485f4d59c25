/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A library that is loaded before a program and makes its TCP sockets MPTCP
 * sockets, as mptcpize has it, where that is not to be had.  Linked with no
 * library it does for any.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int socket(int domain, int type, int protocol)
{
    __typeof__(socket) *real = dlsym(RTLD_NEXT, "socket");
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

    if ((domain == AF_INET || domain == AF_INET6) && kind == SOCK_STREAM
        && (protocol == 0 || protocol == IPPROTO_TCP)) {
        protocol = IPPROTO_MPTCP;
    }
    return real(domain, type, protocol);
}
