/*
 * To be preloaded: a program's TCP sockets are MPTCP sockets, as mptcpize has it,
 * where that is not to be had. Linked with no library it does for any.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
int socket(int domain, int type, int protocol);
int socket(int domain, int type, int protocol)
{
    int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    int of = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if ((domain == AF_INET || domain == AF_INET6) && of == SOCK_STREAM
        && (protocol == 0 || protocol == 6)) {
        protocol = 262;
    }
    return next(domain, type, protocol);
}
