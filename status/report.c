/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * All that is shown: gathered for each request anew, and said in the log at
 * start.
 *
 * Counters come from shared memory, the path manager's state and live
 * connections from the kernel.  No lock is taken and nothing is kept, so
 * requests do not wait for each other.
 */

#include "status/status.h"
#include "listen/listen.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include <stdlib.h>

APLOG_USE_MODULE(mptcp);

const char *const status_sort_names[STATUS_SORTS] = {
    "rate", "retrans", "subflows"
};

const char *status_state_text(status_state state)
{
    return state == STATUS_ON ? "on"
         : state == STATUS_REFUSED ? "refused" : "unused";
}

int status_shown(const status_report *report)
{
    int count = report->live.connections->nelts;

    return count < report->limit ? count : report->limit;
}

int status_limit_is_ours(const status_report *report, int limit)
{
    int ours = mptcp_global()->limits.value[limit];

    return ours != MPTCP_LIMIT_UNSET
           && ours == report->paths->limits.value[limit];
}

static void add_obstacle(status_report *report, const char *text)
{
    APR_ARRAY_PUSH(report->obstacles, const char *) = text;
}

static void gather_obstacles(status_report *report)
{
    int i;

    report->obstacles = apr_array_make(report->p, 4, sizeof(const char *));
    if (report->state == STATUS_UNUSED) {
        add_obstacle(report, "nothing here uses MPTCP; write 'MPTCPListen' "
                     "for 'Listen', or 'multipathtcp=On' behind a ProxyPass");
        return;
    }
    /* of the sysctl the path manager's report tells, too */
    if (report->state == STATUS_REFUSED
        && (report->refused != ENOPROTOOPT || !report->paths
            || mptcp_listen_refusal())) {
        add_obstacle(report, apr_psprintf(report->p, "the kernel gives no "
                     "MPTCP socket, %s", mptcp_refusal_text(report->refused)));
    }
    for (i = 0; i < report->listeners->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(report->listeners, i,
                                                  mptcp_counted);

        if (!one->is_mptcp && report->state == STATUS_ON) {
            add_obstacle(report, apr_psprintf(report->p, "%s is TCP, as it "
                         "was when httpd was started; restart httpd",
                         one->name));
        }
    }
    if (!report->paths) {
        add_obstacle(report, "the kernel's path manager does not answer: "
                     "limits and endpoints are not known");
        return;
    }
    apr_array_cat(report->obstacles, report->paths->obstacles);
    /* which the log has been told by paths/ */
    mptcp_paths_missing(report->p, report->paths->endpoints,
                        report->obstacles);
}

/* May the kernel open subflows by itself, to or from any port? */
static int opens_subflows(const status_report *report)
{
    const apr_uint32_t connecting = MPTCP_PM_ADDR_FLAG_SUBFLOW
                                    | MPTCP_PM_ADDR_FLAG_FULLMESH
                                    | MPTCP_PM_ADDR_FLAG_LAMINAR;
    const status_paths *paths = report->paths;
    int i;

    if (!paths || paths->is_off
        || paths->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] > 0) {
        return 1;
    }
    for (i = 0; i < paths->endpoints->nelts; i++) {
        if (APR_ARRAY_IDX(paths->endpoints, i, mptcp_endpoint).flags
            & connecting) {
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

void status_report_state(apr_pool_t *p, int foresee, status_report *report)
{
    status_paths *paths = apr_palloc(p, sizeof(*paths));

    memset(report, 0, sizeof(*report));
    report->p = p;
    report->s = ap_server_conf;
    report->listeners = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    report->workers = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    if (report->listeners->nelts || report->workers->nelts) {
        report->refused = mptcp_socket_try();
        report->state = report->refused ? STATUS_REFUSED : STATUS_ON;
    }
    if (status_paths_read(p, foresee, paths) == APR_SUCCESS) {
        report->paths = paths;
    }
    gather_obstacles(report);
}

void status_report_gather(request_rec *r, int sort, int limit,
                          status_report *report)
{
    static int (*const orders[STATUS_SORTS])(const void *, const void *) = {
        by_rate, by_retrans, by_subflows
    };

    status_report_state(r->pool, 0, report);
    report->now = apr_time_now();
    report->sort = sort;
    report->limit = limit;
    status_live_read(r->pool, opens_subflows(report), join_ports(report),
                     &report->live);
    qsort(report->live.connections->elts, report->live.connections->nelts,
          sizeof(status_connection *), orders[report->sort]);
}

/* ---- in the log at start ------------------------------------------------ */

/* The MPTCP listeners by address, or NULL when there are none. */
static const char *listeners_text(apr_pool_t *p)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    const char *text = NULL;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->is_mptcp) {
            text = text ? apr_pstrcat(p, text, ", ", one->name, NULL)
                        : one->name;
        }
    }
    return text;
}

static const char *endpoints_text(const status_paths *paths, server_rec *s,
                                  apr_pool_t *p)
{
    const char *text = NULL;
    int i;

    for (i = 0; i < paths->endpoints->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(paths->endpoints, i,
                                                  mptcp_endpoint);
        const char *one = mptcp_endpoint_text(p, ep, NULL);

        if (!mptcp_endpoint_is_ours(s->process, ep)) {
            one = apr_pstrcat(p, one, " (not by MPTCPEndpoint)", NULL);
        }
        text = text ? apr_pstrcat(p, text, ", ", one, NULL) : one;
    }
    return text ? text : "none";
}

/*
 * The first three are notices, one line each; the rest are warnings which say
 * what to write instead, and there are none when all is well.  A server in
 * which nothing is MPTCP is told nothing.
 */
void status_start_report(server_rec *s, apr_pool_t *ptemp)
{
    const mptcp_global_conf *conf = mptcp_global();
    const char *listeners = listeners_text(ptemp);
    status_paths paths;
    int i;

    if (!listeners && !mptcp_proxy_wants_any() && conf->endpoints->nelts == 0
        && !*mptcp_limits_text(ptemp, &conf->limits)) {
        return;
    }
    if (listeners) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MPTCP listeners: %s",
                     listeners);
    }
    if (status_paths_read(ptemp, 0, &paths) != APR_SUCCESS) {
        /* a kernel without a path manager: old, or netlink is forbidden */
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "path manager's limits: %s",
                 mptcp_limits_text(ptemp, &paths.limits));
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 "path manager's endpoints: %s",
                 endpoints_text(&paths, s, ptemp));
    for (i = 0; i < paths.obstacles->nelts; i++) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "%s",
                     APR_ARRAY_IDX(paths.obstacles, i, const char *));
    }
}
