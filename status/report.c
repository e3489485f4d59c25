/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * All that is shown, gathered for each request anew.
 *
 * Counters come from shared memory, the path manager's state and live
 * connections from the kernel.  No lock is taken and nothing is kept, so
 * requests do not wait for each other.
 */

#include "status/private.h"

#include "scoreboard.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>

const char *const status_sort_names[STATUS_SORTS] = {
    "rate", "retrans", "subflows", "stalled"
};

const char *status_state_text(status_state state)
{
    return state == STATUS_ON ? "on"
         : state == STATUS_REFUSED ? "refused" : "unused";
}

const char *status_level_text(status_level level)
{
    return level == STATUS_BAD ? "bad" : level == STATUS_WARN ? "warn"
         : level == STATUS_GOOD ? "good" : "off";
}

int status_shown(const status_report *report)
{
    int count = report->matching->nelts;

    return count < report->query->limit ? count : report->query->limit;
}

int status_limit_is_ours(const status_report *report, int limit)
{
    int ours = mptcp_global()->limits.value[limit];

    return ours != MPTCP_LIMIT_UNSET
           && ours == report->paths->limits.value[limit];
}

void status_report_state(apr_pool_t *p, int foresee, status_report *report)
{
    status_paths *paths = apr_palloc(p, sizeof(*paths));

    memset(report, 0, sizeof(*report));
    report->p = p;
    report->s = ap_server_conf;
    report->now = apr_time_now();
    report->troubles = apr_array_make(p, 4, sizeof(status_trouble));
    report->listeners = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    report->workers = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    if (report->listeners->nelts || report->workers->nelts) {
        report->refused = mptcp_socket_try();
        report->state = report->refused ? STATUS_REFUSED : STATUS_ON;
    }
    report->interfaces = status_interfaces_read(p);
    if (status_paths_read(p, foresee, paths) == APR_SUCCESS) {
        report->paths = paths;
    }
    status_counters_read(report->counters);
    status_check_host(report);
}

/* ---- which sockets ------------------------------------------------------ */

/* May the kernel open subflows by itself, to or from any port? */
static int opens_subflows(const status_report *report)
{
    const status_paths *paths = report->paths;
    int i;

    if (!paths || paths->is_off
        || paths->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] > 0) {
        return 1;
    }
    for (i = 0; i < paths->endpoints->nelts; i++) {
        if (APR_ARRAY_IDX(paths->endpoints, i, mptcp_endpoint).flags
            & MPTCP_PM_ADDR_FLAGS_CONNECT) {
            return 1;
        }
    }
    return 0;
}

/* The ports of endpoints that have one, where the kernel itself listens. */
static apr_array_header_t *join_ports(const status_report *report)
{
    apr_array_header_t *ports = apr_array_make(report->p, 4,
                                               sizeof(apr_port_t));
    int i;

    for (i = 0; report->paths && i < report->paths->endpoints->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(report->paths->endpoints, i,
                                                  mptcp_endpoint);

        if (ep->port) {
            APR_ARRAY_PUSH(ports, apr_port_t) = ep->port;
        }
    }
    return ports;
}

/* ---- sums --------------------------------------------------------------- */

static void add_up(status_report *report)
{
    status_totals *sum = &report->totals;
    int i;

    report->live_joins = apr_pcalloc(report->p, (report->listeners->nelts + 1)
                                                * sizeof(apr_uint64_t));
    for (i = 0; i < report->live.connections->nelts; i++) {
        const status_connection *c = APR_ARRAY_IDX(report->live.connections,
                                                   i, status_connection *);

        sum->stalled += c->stalled;
        sum->rate += c->rate;
        sum->bytes += c->bytes;
        sum->sent += c->sent;
        sum->resent += c->resent;
        if (c->listener && c->reading.state == MPTCP_STATE_ON) {
            report->live_joins[c->listener
                               - (const mptcp_counted *)
                                 report->listeners->elts]
                += c->reading.info.extra_subflows;
        }
    }
    for (i = 0; i < report->listeners->nelts; i++) {
        mptcp_counts counts;

        mptcp_counts_get(&APR_ARRAY_IDX(report->listeners, i, mptcp_counted),
                         &counts);
        sum->accepted_mptcp += counts.mptcp - counts.page_mptcp;
        sum->accepted += counts.mptcp - counts.page_mptcp + counts.tcp
                         - counts.page_tcp;
        sum->joins += counts.joins + report->live_joins[i];
    }
}

/* ---- which connections, in what order ----------------------------------- */

static int is_in(const mptcp_end *end, apr_ipsubnet_t *net)
{
    apr_sockaddr_t sa;

    memset(&sa, 0, sizeof(sa));
    sa.family = end->family;
    if (end->family == AF_INET) {
        memcpy(&sa.sa.sin.sin_addr, end->address, sizeof(sa.sa.sin.sin_addr));
    }
    else {
        memcpy(&sa.sa.sin6.sin6_addr, end->address,
               sizeof(sa.sa.sin6.sin6_addr));
    }
    return apr_ipsubnet_test(net, &sa);
}

/* Any of a connection's paths may begin at the address asked for. */
static int is_asked_for(const status_query *query, const status_connection *c)
{
    const status_subflow *s = c->subflows;

    if (query->at && strcmp(query->at, status_connection_at(c)) != 0) {
        return 0;
    }
    if (!query->client_net || is_in(&c->remote, query->client_net)) {
        return 1;
    }
    while (s && !is_in(&s->socket.remote, query->client_net)) {
        s = s->next;
    }
    return s != NULL;
}

static int descending(apr_uint64_t a, apr_uint64_t b)
{
    return a < b ? 1 : a > b ? -1 : 0;
}

/* Where all else is equal, so that the order is always the same. */
static int by_token(const status_connection *a, const status_connection *b)
{
    return descending(b->reading.info.token, a->reading.info.token);
}

static int by_rate(const void *va, const void *vb)
{
    const status_connection *a = *(status_connection *const *)va;
    const status_connection *b = *(status_connection *const *)vb;
    int order = descending(a->rate, b->rate);

    return order ? order : by_token(a, b);
}

static int by_retrans(const void *va, const void *vb)
{
    const status_connection *a = *(status_connection *const *)va;
    const status_connection *b = *(status_connection *const *)vb;
    int order = descending(a->retrans, b->retrans);

    return order ? order : by_token(a, b);
}

static int by_subflows(const void *va, const void *vb)
{
    const status_connection *a = *(status_connection *const *)va;
    const status_connection *b = *(status_connection *const *)vb;
    int order = descending(a->count, b->count);

    return order ? order : by_rate(va, vb);
}

static int by_stalled(const void *va, const void *vb)
{
    const status_connection *a = *(status_connection *const *)va;
    const status_connection *b = *(status_connection *const *)vb;
    int order = descending(a->stalled, b->stalled);

    return order ? order : by_rate(va, vb);
}

static void select_connections(status_report *report)
{
    static int (*const orders[STATUS_SORTS])(const void *, const void *) = {
        by_rate, by_retrans, by_subflows, by_stalled
    };
    const apr_array_header_t *all = report->live.connections;
    int i;

    report->sort = report->query->sort >= 0 ? report->query->sort
                 : report->totals.stalled ? STATUS_SORT_STALLED
                 : STATUS_SORT_RATE;
    report->matching = apr_array_make(report->p, 64,
                                      sizeof(status_connection *));
    for (i = 0; i < all->nelts; i++) {
        status_connection *c = APR_ARRAY_IDX(all, i, status_connection *);

        if (is_asked_for(report->query, c)) {
            APR_ARRAY_PUSH(report->matching, status_connection *) = c;
        }
    }
    qsort(report->matching->elts, report->matching->nelts,
          sizeof(status_connection *), orders[report->sort]);
}

static void identify_host(status_report *report)
{
    char name[APRMAXHOSTLEN + 1];
    struct utsname of;
    struct timespec up = { 0, 0 };

    report->host = apr_gethostname(name, sizeof(name), report->p)
                   == APR_SUCCESS ? apr_pstrdup(report->p, name) : "?";
    report->system = uname(&of) == 0
                     ? apr_pstrcat(report->p, of.sysname, " ", of.release,
                                   NULL) : "?";
    clock_gettime(CLOCK_BOOTTIME, &up);
    report->up = apr_time_from_sec(up.tv_sec);
    report->started = ap_scoreboard_image->global->restart_time;
}

void status_report_gather(request_rec *r, const status_query *query,
                          status_report *report)
{
    status_report_state(r->pool, 0, report);
    identify_host(report);
    report->query = query;
    status_live_read(r->pool, opens_subflows(report), join_ports(report),
                     report->interfaces, &report->live);
    add_up(report);
    status_report_paths(report);
    status_check_stalled(report);
    status_troubles_sort(report);
    select_connections(report);
}
