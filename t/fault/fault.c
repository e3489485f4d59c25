/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A library that is loaded before httpd and lets what mod_mptcp asks of the
 * kernel fail, and as far as that can be told by the arguments nothing else.
 *
 * The environment variable FAULTS names a file, read at each call, with a line
 * for each fault: what fails, how (an errno, where a call is refused), and from
 * which such call of the process on (1), and until which:
 *
 *   socket 92          a socket of protocol MPTCP
 *   socket6 97         one of IPv6 and another protocol
 *   bind 13            of such a socket; also listen
 *   setsockopt.1.9 22  option 9 of level 1 of such a socket
 *   v6only 0           IPV6_V6ONLY is set, whatever is asked for: as by a httpd
 *                      that was built without v4-mapped addresses
 *   program 95         SO_ATTACH_REUSEPORT_CBPF, of any socket
 *   getsockopt.1.38 1  option 38 of level 1 of any socket
 *   info 16            MPTCP_INFO is so many bytes long
 *   info.fallback 0    its flags say that the connection has fallen back
 *   mprotect 12 2 2
 *   mmap 12 1 1        anonymous memory that is shared
 *   netlink 1          netlink sockets cannot be made
 *   answer.refuse 1    answers of generic netlink: an error instead,
 *   answer.short 0     half of it, .garbage  what is in it overwritten,
 *   answer.order 0     with another sequence number, .lost  not there
 *   answer.empty 0     an attribute without a value
 *   diag.refuse 1      of sock_diag, likewise; also .lost and .garbage
 *   diag.done 2        it ends at once, by this error: as where the kernel's
 *                      module for a kind of socket is missing
 *   diag.slow 3000     it takes so many milliseconds
 *   diag.hides 0       of subflows nothing is said that takes a privilege
 *   diag.fallback 0    each connection has fallen back to TCP
 *   diag.stalled 0     each subflow has data that are not acknowledged
 *   route.refuse 1     of rtnetlink, the list of addresses, as libnl asks for it
 *   route.torn 0       that list has changed while it was given
 *   ipv6_off 0         addresses of IPv6 are asked for in vain, as where it was
 *                      switched off at boot: the answer is all that there are
 *   getifaddrs 12
 *   sysctl 2           files below /proc/sys/net
 *   rename 28          of a file whose name has "mptcp" in it; also mkstemp
 *   capset 1
 *   nlmsg_alloc 0      a function of libnl has no memory, or cannot send, when
 *                      mod_mptcp calls it: those at the end of this file
 *
 * And there are two processors: with one ListenCoresBucketsRatio does nothing
 * that could fail.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/genetlink.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "processors.c"

#define MPTCP 262
#define FAULTS_MAX 32

#define REAL(name) __typeof__(name) *real = dlsym(RTLD_NEXT, #name)

/* Is WHAT to fail, this time?  Its argument, or -1. */
static int fault(const char *what)
{
    static struct {
        char what[40];
        int times;
    } counts[FAULTS_MAX];
    const char *name = getenv("FAULTS");
    FILE *file = name ? fopen(name, "re") : NULL;
    char line[128], which[40];
    int result = -1, i;

    while (file && fgets(line, sizeof(line), file)) {
        int how = 0, from = 1, until = 1 << 30;

        if (sscanf(line, "%39s %d %d %d", which, &how, &from, &until) < 1
            || strcmp(which, what) != 0) {
            continue;
        }
        for (i = 0; i < FAULTS_MAX - 1 && counts[i].times
                    && strcmp(counts[i].what, what) != 0; i++) {
        }
        strcpy(counts[i].what, what);
        counts[i].times++;
        if (counts[i].times >= from && counts[i].times <= until) {
            result = how;
        }
    }
    if (file) {
        fclose(file);
    }
    return result;
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int domain_of(int fd)
{
    REAL(getsockopt);
    int domain = -1;
    socklen_t length = sizeof(domain);

    return real(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) ? -1 : domain;
}

static int protocol_of(int fd)
{
    REAL(getsockopt);
    int protocol = -1;
    socklen_t length = sizeof(protocol);

    return real(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0
           ? protocol : -1;
}

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    int error = protocol == MPTCP ? fault("socket")
                : domain == AF_NETLINK ? fault("netlink")
                : domain == AF_INET6 ? fault("socket6") : -1;

    return error >= 0 ? refuse(error) : real(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    REAL(bind);
    int error = protocol_of(fd) == MPTCP ? fault("bind") : -1;

    return error >= 0 ? refuse(error) : real(fd, address, length);
}

int listen(int fd, int backlog)
{
    REAL(listen);
    int error = protocol_of(fd) == MPTCP ? fault("listen") : -1;

    return error >= 0 ? refuse(error) : real(fd, backlog);
}

int setsockopt(int fd, int level, int option, const void *value,
               socklen_t length)
{
    REAL(setsockopt);
    static const int on = 1;
    int error = -1;

    if (level == IPPROTO_IPV6 && option == IPV6_V6ONLY
        && fault("v6only") >= 0) {
        value = &on;
    }
    else if (level == SOL_SOCKET && option == SO_ATTACH_REUSEPORT_CBPF) {
        error = fault("program");
    }
    else if (protocol_of(fd) == MPTCP) {
        char what[40];

        snprintf(what, sizeof(what), "setsockopt.%d.%d", level, option);
        error = fault(what);
    }
    return error >= 0 ? refuse(error)
                      : real(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    REAL(getsockopt);
    char what[40];
    int error, result;

    snprintf(what, sizeof(what), "getsockopt.%d.%d", level, option);
    error = fault(what);
    if (error >= 0) {
        return refuse(error);
    }
    result = real(fd, level, option, value, length);
    if (result == 0 && level == 284 && option == 1) {
        int reaches = fault("info");

        if (reaches >= 0 && (socklen_t)reaches < *length) {
            memset((char *)value + reaches, 0xEE, *length - reaches);
            *length = reaches;
        }
        if (fault("info.fallback") >= 0) {
            ((char *)value)[8] |= 1;    /* mptcpi_flags */
        }
    }
    return result;
}

int mprotect(void *start, size_t size, int protection)
{
    REAL(mprotect);
    int error = fault("mprotect");

    return error >= 0 ? refuse(error) : real(start, size, protection);
}

void *mmap(void *start, size_t size, int protection, int flags, int fd,
           off_t offset)
{
    REAL(mmap);
    int error = (flags & MAP_SHARED) && (flags & MAP_ANONYMOUS)
                ? fault("mmap") : -1;

    if (error >= 0) {
        errno = error;
        return MAP_FAILED;
    }
    return real(start, size, protection, flags, fd, offset);
}

/* ---- answers of netlink -------------------------------------------------- */

/* Instead of the answer: an error. */
static ssize_t refusal(char *data, int error)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;
    struct nlmsgerr *refusal = NLMSG_DATA(header);

    header->nlmsg_type = NLMSG_ERROR;
    header->nlmsg_flags = 0;
    header->nlmsg_len = NLMSG_LENGTH(sizeof(*refusal));
    memset(refusal, 0, sizeof(*refusal));
    refusal->error = -error;
    return header->nlmsg_len;
}

/* The end of a dump, which failed. */
static ssize_t failed_end(char *data, int error)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;

    header->nlmsg_type = NLMSG_DONE;
    header->nlmsg_flags = NLM_F_MULTI;
    header->nlmsg_len = NLMSG_LENGTH(sizeof(error));
    error = -error;
    memcpy(NLMSG_DATA(header), &error, sizeof(error));
    return header->nlmsg_len;
}

/* Damage an answer as it is asked for; its new length. */
static ssize_t damage(char *data, ssize_t length)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;
    int error;

    if ((error = fault("answer.refuse")) >= 0) {
        length = refusal(data, error);
    }
    if (fault("answer.short") >= 0) {
        length /= 2;
    }
    if (fault("answer.garbage") >= 0) {
        memset(data + NLMSG_HDRLEN, 0xEE, length - NLMSG_HDRLEN);
    }
    if (fault("answer.order") >= 0) {
        header->nlmsg_seq += 7;
    }
    if (fault("answer.empty") >= 0
        && length >= (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN)) {
        struct nlattr *attribute = (struct nlattr *)
            (data + NLMSG_HDRLEN + GENL_HDRLEN);

        attribute->nla_len = NLA_HDRLEN;
        header->nlmsg_len = length = NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN;
    }
    return length;
}

/* Have each attribute of each socket changed. */
static void change_attributes(char *data, ssize_t length,
                              void (*change)(struct nlattr *attribute,
                                             size_t offset, int byte),
                              size_t offset, int byte)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;

    for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
        char *at = (char *)NLMSG_DATA(header) + sizeof(struct inet_diag_msg);
        char *end = (char *)header + header->nlmsg_len;

        while (header->nlmsg_type != NLMSG_DONE && at + NLA_HDRLEN <= end) {
            struct nlattr *attribute = (struct nlattr *)at;

            change(attribute, offset, byte);
            at += NLA_ALIGN(attribute->nla_len);
        }
    }
}

/* The byte at OFFSET of INET_DIAG_INFO. */
static void set_info(struct nlattr *attribute, size_t offset, int byte)
{
    if (attribute->nla_type == INET_DIAG_INFO) {
        ((char *)attribute)[NLA_HDRLEN + offset] |= byte;
    }
}

/*
 * What a kernel before Linux 6.15 does not tell everybody: INET_DIAG_ULP_INFO
 * (19) becomes an attribute that nobody knows.
 */
static void hide_subflow(struct nlattr *attribute, size_t offset, int byte)
{
    if ((attribute->nla_type & NLA_TYPE_MASK) == 19) {
        attribute->nla_type = (__u16)NLA_TYPE_MASK;
    }
}

static ssize_t damage_diag(char *data, ssize_t length)
{
    int how;

    if ((how = fault("diag.slow")) >= 0) {
        usleep(how * 1000);
    }
    if ((how = fault("diag.refuse")) >= 0) {
        length = refusal(data, how);
    }
    if ((how = fault("diag.done")) >= 0) {
        length = failed_end(data, how);
    }
    if (fault("diag.garbage") >= 0) {
        memset(data + NLMSG_HDRLEN, 0xEE, length - NLMSG_HDRLEN);
    }
    if (fault("diag.hides") >= 0) {
        change_attributes(data, length, hide_subflow, 0, 0);
    }
    if (fault("diag.fallback") >= 0) {
        change_attributes(data, length, set_info, 8, 1);    /* mptcpi_flags */
    }
    if (fault("diag.stalled") >= 0) {
        change_attributes(data, length, set_info,
                          offsetof(struct tcp_info, tcpi_retransmits), 1);
    }
    return length;
}

static ssize_t damage_route(char *data, ssize_t length)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;
    ssize_t left = length;
    int error;

    if ((error = fault("route.refuse")) >= 0) {
        return refusal(data, error);
    }
    if (fault("route.torn") >= 0) {
        for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
            header->nlmsg_flags |= NLM_F_DUMP_INTR;
        }
    }
    return length;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    REAL(recvmsg);
    int protocol = protocol_of(fd);
    ssize_t result;

    /* libnl looks at the length first */
    if ((protocol != NETLINK_GENERIC && protocol != NETLINK_SOCK_DIAG
         && protocol != NETLINK_ROUTE)
        || domain_of(fd) != AF_NETLINK || (flags & MSG_PEEK)) {
        return real(fd, msg, flags);
    }
    if (protocol != NETLINK_ROUTE
        && fault(protocol == NETLINK_GENERIC ? "answer.lost" : "diag.lost") >= 0) {
        real(fd, msg, flags);
        return real(fd, msg, flags);
    }
    result = real(fd, msg, flags);
    if (result < (ssize_t)NLMSG_HDRLEN
        || result > (ssize_t)msg->msg_iov[0].iov_len) {
        return result;
    }
    return protocol == NETLINK_GENERIC
           ? damage(msg->msg_iov[0].iov_base, result)
           : protocol == NETLINK_ROUTE
           ? damage_route(msg->msg_iov[0].iov_base, result)
           : damage_diag(msg->msg_iov[0].iov_base, result);
}

/* ---- files and the rest -------------------------------------------------- */

/* The kernel answers for a family that it does not have by those that it has. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    REAL(sendmsg);
    struct nlmsghdr *header = msg->msg_iovlen ? msg->msg_iov[0].iov_base : NULL;
    struct ifaddrmsg *ifa = header ? NLMSG_DATA(header) : NULL;

    if (domain_of(fd) == AF_NETLINK && protocol_of(fd) == NETLINK_ROUTE
        && msg->msg_iov[0].iov_len >= NLMSG_LENGTH(sizeof(*ifa))
        && header->nlmsg_type == RTM_GETADDR && ifa->ifa_family == AF_INET6
        && fault("ipv6_off") >= 0) {
        ifa->ifa_family = AF_DECnet;
    }
    return real(fd, msg, flags);
}

int getifaddrs(struct ifaddrs **list)
{
    REAL(getifaddrs);
    int error = fault("getifaddrs");

    return error >= 0 ? refuse(error) : real(list);
}

int open(const char *name, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int error = strncmp(name, "/proc/sys/net/", 14) == 0 ? fault("sysctl") : -1;
    va_list more;
    int mode;

    va_start(more, flags);
    mode = va_arg(more, int);
    va_end(more);
    return error >= 0 ? refuse(error) : real(name, flags, mode);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    int error = strstr(to, "mptcp") ? fault("rename") : -1;

    return error >= 0 ? refuse(error) : real(from, to);
}

int mkstemp(char *name)
{
    REAL(mkstemp);
    int error = strstr(name, "mptcp") ? fault("mkstemp") : -1;

    return error >= 0 ? refuse(error) : real(name);
}

long syscall(long number, ...)
{
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    int error = number == SYS_capset ? fault("capset") : -1;
    va_list more;
    long a[6];
    int i;

    va_start(more, number);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(more, long);
    }
    va_end(more);
    return error >= 0 ? refuse(error)
                      : real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- libnl, as mod_mptcp calls it ---------------------------------------- */

static int is_ours(const void *caller)
{
    Dl_info info;

    return dladdr(caller, &info) && strstr(info.dli_fname, "mod_mptcp");
}

#define OF_LIBNL(type, name, parameters, arguments, failure) \
    type name parameters; \
    type name parameters \
    { \
        REAL(name); \
        \
        return is_ours(__builtin_return_address(0)) && fault(#name) >= 0 \
               ? failure : real arguments; \
    }

OF_LIBNL(void *, nl_socket_alloc, (void), (), NULL)
OF_LIBNL(void *, nl_cb_alloc, (int kind), (kind), NULL)
OF_LIBNL(void *, nlmsg_alloc, (void), (), NULL)
OF_LIBNL(void *, nlmsg_alloc_size, (size_t size), (size), NULL)
OF_LIBNL(void *, genlmsg_put, (void *msg, uint32_t port, uint32_t seq,
                               int family, int length, int flags,
                               uint8_t command, uint8_t version),
         (msg, port, seq, family, length, flags, command, version), NULL)
OF_LIBNL(int, nlmsg_append, (void *msg, void *data, size_t length, int pad),
         (msg, data, length, pad), -1)
OF_LIBNL(void *, nla_nest_start, (void *msg, int type), (msg, type), NULL)
OF_LIBNL(int, nla_put_u32, (void *msg, int type, uint32_t value),
         (msg, type, value), -1)
OF_LIBNL(int, nl_send_auto, (void *sock, void *msg), (sock, msg), -1)
