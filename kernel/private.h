/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief kernel/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_KERNEL_PRIVATE_H
#define MPTCP_KERNEL_PRIVATE_H

#include "kernel/kernel.h"

/* libnl's, which need not be included for it */
struct nl_msg;

/* ---- connection.c: what the kernel says of one connection --------------- */

/**
 * Take so many bytes of reading->info for the kernel's answer, of a socket
 * that is MPTCP (state is ON before).
 */
void mptcp_reading_set(mptcp_reading *reading, apr_size_t length);

/* ---- netlink.c: one exchange with the kernel by libnl-3 ----------------- */

/** How long the kernel may take for a part of a list, in seconds. */
#define MPTCP_LIST_PATIENCE 3

/**
 * A connected netlink socket; nl_socket_free() closes it.
 * @param protocol NETLINK_GENERIC, NETLINK_ROUTE, NETLINK_SOCK_DIAG
 * @param patience How long the kernel may take for one message, in seconds
 * @return APR_SUCCESS or the errno of making it
 */
apr_status_t mptcp_netlink_open(int protocol, int patience,
                                struct nl_sock **sock);

/**
 * Send a message, and read what the kernel answers to its end.
 * @param msg Freed in any case; NULL: there was no memory for it
 * @param read Takes each message of the answer and returns non-zero to go on;
 *        or NULL
 * @param into Its second argument
 * @return As kernel.h says of netlink
 */
apr_status_t mptcp_netlink_ask(struct nl_sock *sock, struct nl_msg *msg,
                               int (*read)(struct nl_msg *msg, void *into),
                               void *into);

#endif /* MPTCP_KERNEL_PRIVATE_H */
