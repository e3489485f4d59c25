/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Connections to backends that have lost all of their subflows.
 *
 * When a TCP connection is reset, whoever waits for it is told.  An MPTCP
 * connection whose last subflow is reset stays as it is for
 * net.mptcp.close_timeout, a minute, since another subflow may come (Linux
 * 6.18, __mptcp_close_ssk()); neither poll() nor recv() tells of it, and no
 * option of the socket changes it.  So who waits for a backend has to ask.
 *
 * What waits calls one of the functions of APR below, whoever it is: for http,
 * https, h2, ftp, the answers of uwsgi and scgi and what precedes a WebSocket
 * httpd's core filters do, and the socket buckets of libaprutil; for ajp, fcgi
 * and the requests of scgi and uwsgi those modules themselves; for tunnels
 * mod_proxy.  proxy_hooks.c puts the functions of this file in their place.
 * Of a socket that is none of ours they cost a comparison.  Of ours they wait
 * in slices, and ask the kernel between two of them: a wait shorter than the
 * first slice makes the same system calls as ever.
 *
 * One place asks without waiting: whether a pooled connection may be used
 * again, mod_proxy finds out by reading what there is, where it has a conn_rec
 * (http), and then by apr_poll() with no timeout.  A socket that had nothing
 * to read is not at its end, so the kernel is asked for its subflows instead
 * of polled, and no system call is added; without a conn_rec (ajp, fcgi) it is
 * one.
 */

#include "proxy/private.h"

#include "apr_poll.h"

APLOG_USE_MODULE(mptcp);

/* Where a socket's lifeline is found. */
#define LIFELINE_KEY "mod_mptcp:lifeline"

/*
 * How long the first slice is, which is also how long a connection without
 * any subflow may take to get another.  As long as there are some, each slice
 * is twice the one before, up to the longest: a thousand idle tunnels do not
 * wake up all the time.
 */
#define FIRST_SLICE   apr_time_from_msec(100)
#define LONGEST_SLICE apr_time_from_sec(1)
/* poll() counts milliseconds, and less would not wait at all */
#define LEAST_SLICE   apr_time_from_msec(1)

/*
 * Of a connection to a backend; pool: the socket's.  A connection is one
 * thread's at any time, as its socket is.
 */
typedef struct {
    apr_socket_t *sd;
    apr_interval_time_t waited;         /* since it was last asked */
    apr_interval_time_t slice;          /* ask after so long a wait */
    int is_cut;                         /* it had no subflow then */
    int is_tcp;                         /* whose resets are seen, for good */
    int is_empty;                       /* as the last read has found it */
} lifeline;

void mptcp_lifeline_begin(apr_socket_t *sd, apr_pool_t *p)
{
    lifeline *line = apr_pcalloc(p, sizeof(*line));

    line->sd = sd;
    line->slice = FIRST_SLICE;
    apr_socket_data_set(sd, line, LIFELINE_KEY, NULL);
}

/* A backend connection's; NULL of any other, and where it is TCP. */
static lifeline *lifeline_of(apr_socket_t *sd)
{
    lifeline *line;
    void *data = NULL;
    int protocol;

    if (apr_socket_protocol_get(sd, &protocol) != APR_SUCCESS
        || protocol != IPPROTO_MPTCP) {
        return NULL;
    }
    apr_socket_data_get(&data, LIFELINE_KEY, sd);
    line = data;
    return line && !line->is_tcp ? line : NULL;
}

/* Ask the kernel: has the connection no subflow at this moment? */
static int has_no_subflow(lifeline *line)
{
    apr_os_sock_t fd;
    int live;

    if (apr_os_sock_get(&fd, line->sd) != APR_SUCCESS) {
        return 0;
    }
    live = mptcp_connection_subflows(fd);
    line->is_tcp = live < 0;
    return live == 0;
}

static void say_lost(lifeline *line)
{
    apr_sockaddr_t *peer;

    if (apr_socket_addr_get(&peer, APR_REMOTE, line->sd) == APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
                     "a connection to %pI has lost its last subflow: it is "
                     "taken for reset", peer);
    }
}

/* Something came of a wait. */
static void has_moved(lifeline *line)
{
    line->waited = 0;
    line->slice = FIRST_SLICE;
    line->is_cut = 0;
}

/*
 * Nothing came of a wait.  Is the connection lost?  It is when it has had no
 * subflow twice, one slice after the other.
 */
static int is_lost(lifeline *line, apr_interval_time_t waited)
{
    line->waited += waited;
    if (line->is_tcp || line->waited < line->slice) {
        return 0;
    }
    line->waited = 0;
    if (!has_no_subflow(line)) {
        line->is_cut = 0;
        line->slice = line->slice * 2 < LONGEST_SLICE ? line->slice * 2
                                                      : LONGEST_SLICE;
        return 0;
    }
    if (!line->is_cut) {
        line->is_cut = 1;
        line->slice = FIRST_SLICE;
        return 0;
    }
    say_lost(line);
    return 1;
}

/* ---- waiting in slices -------------------------------------------------- */

typedef struct {
    lifeline *line;
    apr_interval_time_t whole;          /* the caller's timeout; -1: none */
    apr_interval_time_t left;
    apr_interval_time_t slice;
} wait_state;

static void next_slice(wait_state *w)
{
    w->slice = w->line->slice - w->line->waited;
    if (w->slice < LEAST_SLICE) {
        w->slice = LEAST_SLICE;
    }
    if (w->line->is_tcp || (w->left >= 0 && w->slice > w->left)) {
        w->slice = w->left;
    }
}

static void begin_wait(wait_state *w, lifeline *line,
                       apr_interval_time_t timeout)
{
    w->line = line;
    w->whole = w->left = timeout;
    next_slice(w);
}

/*
 * A slice is over: go on with another?
 * @param rv What came of it; in the end, of the whole wait
 */
static int wait_more(wait_state *w, apr_status_t *rv)
{
    if (!APR_STATUS_IS_TIMEUP(*rv)) {
        has_moved(w->line);
        return 0;
    }
    if (w->left > 0) {
        w->left -= w->slice;
    }
    if (is_lost(w->line, w->slice)) {
        *rv = APR_ECONNRESET;
        return 0;
    }
    next_slice(w);
    return w->left != 0;
}

/*
 * For what waits as long as the socket's own timeout says.  To set one that
 * is above 0 in place of another is no system call (APR 1.7).
 * @param line NULL of a socket that is none of ours
 * @return 0: there is nothing to cut in slices
 */
static int begin_socket_wait(wait_state *w, lifeline *line,
                             apr_socket_t *sd)
{
    apr_interval_time_t timeout;

    if (!line || apr_socket_timeout_get(sd, &timeout) != APR_SUCCESS
        || timeout <= 0) {
        return 0;
    }
    begin_wait(w, line, timeout);
    apr_socket_timeout_set(sd, w->slice);
    return 1;
}

static int socket_wait_more(wait_state *w, apr_status_t *rv)
{
    int more = wait_more(w, rv);

    apr_socket_timeout_set(w->line->sd, more ? w->slice : w->whole);
    return more;
}

/* ---- in place of APR's functions ---------------------------------------- */

apr_status_t mptcp_lifeline_recv(apr_socket_t *sd, char *buf, apr_size_t *len)
{
    lifeline *line = lifeline_of(sd);
    const apr_size_t size = *len;
    wait_state w;
    apr_status_t rv;

    if (!line) {
        return apr_socket_recv(sd, buf, len);
    }
    if (!begin_socket_wait(&w, line, sd)) {
        rv = apr_socket_recv(sd, buf, len);
        line->is_empty = APR_STATUS_IS_EAGAIN(rv);
        return rv;
    }
    line->is_empty = 0;
    do {
        *len = size;
        rv = apr_socket_recv(sd, buf, len);
    } while (socket_wait_more(&w, &rv));
    return rv;
}

apr_status_t mptcp_lifeline_send(apr_socket_t *sd, const char *buf,
                                 apr_size_t *len)
{
    const apr_size_t size = *len;
    wait_state w;
    apr_status_t rv;

    if (!begin_socket_wait(&w, lifeline_of(sd), sd)) {
        return apr_socket_send(sd, buf, len);
    }
    do {
        *len = size;
        rv = apr_socket_send(sd, buf, len);
    } while (socket_wait_more(&w, &rv));
    return rv;
}

apr_status_t mptcp_lifeline_sendv(apr_socket_t *sd, const struct iovec *vec,
                                  apr_int32_t nvec, apr_size_t *len)
{
    wait_state w;
    apr_status_t rv;

    if (!begin_socket_wait(&w, lifeline_of(sd), sd)) {
        return apr_socket_sendv(sd, vec, nvec, len);
    }
    do {
        rv = apr_socket_sendv(sd, vec, nvec, len);
    } while (socket_wait_more(&w, &rv));
    return rv;
}

/*
 * ap_proxy_is_socket_connected() polls.  What it hears is TIMEUP of one that
 * is, and then uses it; of one that is not it makes a new connection.
 */
static apr_status_t is_connected(lifeline *line, apr_pollfd_t *set,
                                 apr_int32_t *ready)
{
    apr_status_t rv = APR_TIMEUP;

    *ready = 0;
    if (!line->is_empty) {
        rv = apr_poll(set, 1, ready, 0);
    }
    line->is_empty = 0;
    if (APR_STATUS_IS_TIMEUP(rv) && has_no_subflow(line)) {
        say_lost(line);
        rv = APR_ECONNRESET;
    }
    return rv;
}

apr_status_t mptcp_lifeline_poll(apr_pollfd_t *set, apr_int32_t count,
                                 apr_int32_t *ready,
                                 apr_interval_time_t timeout)
{
    lifeline *line = count == 1 && set->desc_type == APR_POLL_SOCKET
                           ? lifeline_of(set->desc.s) : NULL;
    wait_state w;
    apr_status_t rv;

    if (!line) {
        return apr_poll(set, count, ready, timeout);
    }
    if (timeout == 0) {
        return is_connected(line, set, ready);
    }
    begin_wait(&w, line, timeout);
    do {
        rv = apr_poll(set, count, ready, w.slice);
    } while (wait_more(&w, &rv));
    return rv;
}

/* The backend's end of the tunnel that this thread serves, or NULL. */
static __thread lifeline *tunnel_line;

#ifdef MPTCP_HAVE_TUNNEL
void mptcp_lifeline_tunnel(const proxy_tunnel_rec *tunnel)
{
    int i;

    tunnel_line = NULL;
    for (i = 0; tunnel && i < tunnel->pfds->nelts; i++) {
        const apr_pollfd_t *end = &APR_ARRAY_IDX(tunnel->pfds, i,
                                                 apr_pollfd_t);

        if (end->desc_type == APR_POLL_SOCKET && !tunnel_line) {
            tunnel_line = lifeline_of(end->desc.s);
        }
    }
}
#endif

apr_status_t mptcp_lifeline_pollset(apr_pollset_t *set,
                                    apr_interval_time_t timeout,
                                    apr_int32_t *ready,
                                    const apr_pollfd_t **events)
{
    wait_state w;
    apr_status_t rv;

    if (!tunnel_line || tunnel_line->is_tcp || timeout == 0) {
        return apr_pollset_poll(set, timeout, ready, events);
    }
    begin_wait(&w, tunnel_line, timeout);
    do {
        rv = apr_pollset_poll(set, w.slice, ready, events);
    } while (wait_more(&w, &rv));
    return rv;
}
