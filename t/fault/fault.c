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
 *   bind 13            of such a socket; also listen
 *   setsockopt.1.9 22  option 9 of level 1 of such a socket
 *   program 95         SO_ATTACH_REUSEPORT_CBPF, of any socket
 *   getsockopt.1.38 1  option 38 of level 1 of any socket
 *   info 16            MPTCP_INFO is so many bytes long
 *   mprotect 12 2 2
 *   mmap 12 1 1        anonymous memory that is shared
 *   netlink 1          netlink sockets cannot be made
 *   answer.refuse 1    answers of generic netlink: an error instead,
 *   answer.short 0     half of it, .garbage  what is in it overwritten,
 *   answer.order 0     with another sequence number, .lost  not there
 *   answer.empty 0     an attribute without a value
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

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
                : domain == AF_NETLINK ? fault("netlink") : -1;

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
    int error = -1;

    if (level == SOL_SOCKET && option == SO_ATTACH_REUSEPORT_CBPF) {
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

/* Damage an answer as it is asked for; its new length. */
static ssize_t damage(char *data, ssize_t length)
{
    struct nlmsghdr *header = (struct nlmsghdr *)data;
    int error;

    if ((error = fault("answer.refuse")) >= 0) {
        struct nlmsgerr *refusal = NLMSG_DATA(header);

        header->nlmsg_type = NLMSG_ERROR;
        header->nlmsg_flags = 0;
        header->nlmsg_len = NLMSG_LENGTH(sizeof(*refusal));
        memset(refusal, 0, sizeof(*refusal));
        refusal->error = -error;
        length = header->nlmsg_len;
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

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    REAL(recvmsg);
    ssize_t result;

    /* libnl looks at the length first */
    if (protocol_of(fd) == NETLINK_GENERIC && !(flags & MSG_PEEK)) {
        if (fault("answer.lost") >= 0) {
            real(fd, msg, flags);
            return real(fd, msg, flags);
        }
        result = real(fd, msg, flags);
        return result >= (ssize_t)NLMSG_HDRLEN
               && result <= (ssize_t)msg->msg_iov[0].iov_len
               ? damage(msg->msg_iov[0].iov_base, result) : result;
    }
    return real(fd, msg, flags);
}
