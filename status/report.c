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

#include <sys/utsname.h>
#include <time.h>

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

int status_limit_is_ours(const status_report *report, int limit)
{
    int ours = mptcp_global()->limits.value[limit];

    return ours != MPTCP_LIMIT_UNSET
           && ours == report->paths->limits.value[limit];
}

static void count_brief(status_report *report)
{
    int i;

    for (i = 0; i < report->listeners->nelts; i++) {
        mptcp_counts counts;

        mptcp_counts_get(&APR_ARRAY_IDX(report->listeners, i, mptcp_counted),
                         &counts);
        report->counters[STATUS_BRIEF] += counts.brief;
    }
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
    count_brief(report);
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

/* ---- all of it ---------------------------------------------------------- */

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
    status_query_select(report);
}
