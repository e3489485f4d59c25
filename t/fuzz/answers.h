/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A kernel that answers by netlink what an input says, whatever is asked.
 *
 * An input is datagrams: each a length (two bytes) and the bytes.  The
 * sequence number of a message that has 0 is set to that of the request.
 * When no more are there, it is a timeout.
 */

#ifndef FUZZ_ANSWERS_H
#define FUZZ_ANSWERS_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <netlink/msg.h>

static const uint8_t *at, *end;
static uint32_t sequence;

/* In place of the C library's, for libnl too. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    const struct nlmsghdr *header = msg->msg_iov[0].iov_base;

    sequence = header->nlmsg_seq;
    return (ssize_t)header->nlmsg_len;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct sockaddr_nl *from = msg->msg_name;
    size_t length, fits = msg->msg_iov[0].iov_len;
    char *to = msg->msg_iov[0].iov_base;

    if (end - at < 2) {
        errno = EAGAIN;
        return -1;
    }
    length = at[0] | (size_t)at[1] << 8;
    if (length > (size_t)(end - at) - 2) {
        length = (size_t)(end - at) - 2;
    }
    memset(from, 0, sizeof(*from));
    from->nl_family = AF_NETLINK;
    msg->msg_namelen = sizeof(*from);
    msg->msg_controllen = 0;
    msg->msg_flags = length > fits ? MSG_TRUNC : 0;
    if (fits) {
        memcpy(to, at + 2, length < fits ? length : fits);
    }
    if (fits >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr *header = (struct nlmsghdr *)to;
        int left = (int)(length < fits ? length : fits);

        for (; nlmsg_ok(header, left); header = nlmsg_next(header, &left)) {
            if (header->nlmsg_seq == 0) {
                header->nlmsg_seq = sequence;
            }
        }
    }
    if (!(flags & MSG_PEEK)) {
        at += 2 + length;
    }
    return (ssize_t)(flags & MSG_TRUNC ? length : length < fits ? length
                                                                : fits);
}

#endif
