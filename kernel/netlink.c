/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One exchange with the kernel by netlink, for the path manager and for
 * sock_diag: a message goes, and what comes is read to its end.
 *
 * libnl-3 asks for an acknowledgement by itself (it adds NLM_F_ACK to every
 * message), so each exchange has an end that can be told: the acknowledgement
 * behind a reply, or without one; NLMSG_DONE behind a dump; or an error.  A
 * dump can fail within NLMSG_DONE, whose payload is then the error: so it is
 * when the kernel's module for a kind of socket is missing (mptcp_diag).
 *
 * Every call returns the kernel's own errno: libnl's numbers say less (3.7
 * makes "out of range" of a full table and of a bad value), so its error
 * callback is replaced.
 *
 * A socket is opened, asked and closed within one hook or one request; libnl
 * makes it close-on-exec, and no thread shares it.
 */

#include "kernel/private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

/* The highest errno of the kernel's (linux/err.h: MAX_ERRNO). */
#define ERRNO_MAX 4095

/* What becomes of one request. */
typedef struct {
    int done;
    int error;                          /* errno, or 0 */
    int (*read)(struct nl_msg *, void *);
    void *into;                         /* read's argument */
} exchange;

/* The errno of a number that is to be a negative one. */
static int errno_of(int error)
{
    return error < 0 && error >= -ERRNO_MAX ? -error : EBADMSG;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
    exchange *ex = arg;

    ex->error = errno_of(err->error);
    ex->done = 1;
    return NL_STOP;
}

static int on_acknowledged(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;

    ex->done = 1;
    return NL_STOP;
}

static int on_dump_end(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;
    const struct nlmsghdr *header = nlmsg_hdr(msg);
    int error = 0;

    if (nlmsg_datalen(header) >= (int)sizeof(error)) {
        memcpy(&error, nlmsg_data(header), sizeof(error));
    }
    if (error) {
        ex->error = errno_of(error);
    }
    ex->done = 1;
    return NL_STOP;
}

/* It is read to its end all the same. */
static int on_torn_list(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;

    ex->error = EAGAIN;
    return NL_OK;
}

static int on_message(struct nl_msg *msg, void *arg)
{
    exchange *ex = arg;

    if (ex->read && !ex->read(msg, ex->into)) {
        ex->done = 1;
        return NL_STOP;
    }
    return NL_OK;
}

apr_status_t mptcp_netlink_open(int protocol, int patience,
                                struct nl_sock **sock)
{
    const struct timeval limit = { patience, 0 };

    *sock = nl_socket_alloc();
    if (!*sock) {
        return ENOMEM;
    }
    errno = 0;
    if (nl_connect(*sock, protocol) < 0
        || setsockopt(nl_socket_get_fd(*sock), SOL_SOCKET, SO_RCVTIMEO,
                      &limit, sizeof(limit)) != 0) {
        apr_status_t rv = errno ? errno : EIO;

        nl_socket_free(*sock);
        return rv;
    }
    return APR_SUCCESS;
}

apr_status_t mptcp_netlink_ask(struct nl_sock *sock, struct nl_msg *msg,
                               int (*read)(struct nl_msg *, void *),
                               void *into)
{
    exchange ex = { 0, 0, read, into };
    struct nl_cb *cb;

    if (!msg) {
        return ENOMEM;
    }
    cb = nl_cb_alloc(NL_CB_DEFAULT);
    if (!cb) {
        nlmsg_free(msg);
        return ENOMEM;
    }
    nl_cb_err(cb, NL_CB_CUSTOM, on_error, &ex);
    nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, &ex);
    nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_dump_end, &ex);
    nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_acknowledged, &ex);
    nl_cb_set(cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_torn_list, &ex);

    if (nl_send_auto(sock, msg) < 0) {
        ex.error = EIO;
        ex.done = 1;
    }
    while (!ex.done) {
        /* none at all, for one, after the socket's patience */
        if (nl_recvmsgs_report(sock, cb) <= 0 && !ex.done) {
            ex.error = EIO;
            ex.done = 1;
        }
    }
    nl_cb_put(cb);
    nlmsg_free(msg);
    return ex.error;
}
