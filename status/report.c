/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * All that is shown: gathered for each request anew, and said in the log at
 * start.
 *
 * Counters come from shared memory, the path manager's state and live
 * connections from the kernel.  No lock is taken and nothing is kept, so
 * requests do not wait for each other.
 */

#include "status/private.h"
#include "listen/listen.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include <stdlib.h>

APLOG_USE_MODULE(mptcp);

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

/* ---- what is wrong with the host ---------------------------------------- */

/* "3 of an unknown connection", if there are any. */
static const char *add_part(const status_report *report, const char *text,
                        int counter, const char *what)
{
    const apr_uint64_t rise = status_watch_rise(counter,
                                                report->counters[counter]);

    return rise ? apr_psprintf(report->p, "%s%s%" APR_UINT64_T_FMT " %s", text,
                               *text ? ", " : "", rise, what) : text;
}

static apr_uint64_t rise_of(const status_report *report, int counter)
{
    return status_watch_rise(counter, report->counters[counter]);
}

/*
 * A join may fail because its connection has just ended.  Where a tenth of
 * them fail, something else is wrong.
 */
static int are_many(apr_uint64_t failed, apr_uint64_t all)
{
    return failed > 0 && 10 * failed >= all;
}

static void check_joins(status_report *report)
{
    const apr_uint64_t received = rise_of(report, STATUS_JOINS_RECEIVED);
    const apr_uint64_t unknown = rise_of(report, STATUS_JOINS_NO_TOKEN);
    const apr_uint64_t refused = unknown
                                 + rise_of(report, STATUS_JOINS_WRONG_HMAC)
                                 + rise_of(report, STATUS_JOINS_REJECTED);
    const apr_uint64_t not_made
        = rise_of(report, STATUS_JOINS_NO_SOCKET)
          + rise_of(report, STATUS_JOINS_NO_ADDRESS)
          + rise_of(report, STATUS_JOINS_NO_WAY)
          + rise_of(report, STATUS_JOINS_SENT_WRONG_HMAC);
    const char *text = "";

    if (are_many(refused, received)) {
        text = add_part(report, text, STATUS_JOINS_NO_TOKEN,
                        "for a connection that this host does not have");
        text = add_part(report, text, STATUS_JOINS_WRONG_HMAC,
                        "with a wrong HMAC");
        text = add_part(report, text, STATUS_JOINS_REJECTED,
                        "beyond a limit, or too late");
        status_trouble_add(report->troubles, STATUS_JOINS_REFUSED,
                           "in the last 10 minutes this host refused %"
                           APR_UINT64_T_FMT " of %" APR_UINT64_T_FMT
                           " joins: %s; %s", refused, received, text,
                           2 * unknown >= refused
                           ? "a load balancer may send them to another host "
                             "than the first path, or two hosts may have one "
                             "address" : "see the manual's troubleshooting.md"
                           )->where = "received";
    }
    if (are_many(not_made, rise_of(report, STATUS_JOINS_SENT))) {
        text = add_part(report, "", STATUS_JOINS_NO_SOCKET,
                        "had no socket");
        text = add_part(report, text, STATUS_JOINS_NO_ADDRESS,
                        "had an address that is not on this host");
        text = add_part(report, text, STATUS_JOINS_NO_WAY,
                        "had no way to the other side");
        text = add_part(report, text, STATUS_JOINS_SENT_WRONG_HMAC,
                        "were answered with a wrong HMAC");
        status_trouble_add(report->troubles, STATUS_JOINS_REFUSED,
                           "of the joins that this host made in the last 10 "
                           "minutes, %s; see whether each subflow endpoint's "
                           "address has a way to the backends: 'ip route get "
                           "BACKEND from ADDRESS'", text)->where = "sent";
    }
}

/* Lines of MPTCPEndpoint that are not in force, or cannot be used. */
static void check_missing(status_report *report)
{
    apr_array_header_t *list = apr_array_make(report->p, 4,
                                              sizeof(mptcp_missing));
    int i;

    mptcp_paths_missing(report->p, report->paths->endpoints, list);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_missing *one = &APR_ARRAY_IDX(list, i, mptcp_missing);

        status_trouble_add(report->troubles,
                           one->why == ENETDOWN ? STATUS_LINK_DOWN
                           : one->why == EADDRNOTAVAIL ? STATUS_ADDRESS_GONE
                           : one->why == ENODEV ? STATUS_INTERFACE_GONE
                           : STATUS_NOT_IN_FORCE, "%s", one->text);
    }
}

/* Endpoints that others have made; of ours it has been said. */
static void check_place(status_report *report, const mptcp_endpoint *ep)
{
    const char *address = mptcp_endpoint_address(report->p, ep);
    const char *role = ep->flags & MPTCP_PM_ADDR_FLAG_SIGNAL
                       ? "announced to clients" : "an endpoint";
    const status_interface *on
        = status_endpoint_interface(report->interfaces, ep);

    if (mptcp_endpoint_is_ours(report->s->process, ep)) {
        return;
    }
    switch (status_endpoint_state(report->interfaces, ep)) {
    case STATUS_ENDPOINT_LINK_DOWN:
        status_trouble_add(report->troubles, STATUS_LINK_DOWN,
                           "%s is %s, but its interface %s has no link; look "
                           "at the cable or the radio, or write 'ip link set "
                           "%s up'", address, role, on->name, on->name);
        break;
    case STATUS_ENDPOINT_ADDRESS_GONE:
        status_trouble_add(report->troubles, STATUS_ADDRESS_GONE,
                           "%s is %s, but is no address of this host any "
                           "more; give it back to the host, or take the "
                           "endpoint away: its MPTCPEndpoint line, or 'ip "
                           "mptcp endpoint delete id %d'", address, role,
                           ep->id);
        break;
    case STATUS_ENDPOINT_INTERFACE_GONE:
        status_trouble_add(report->troubles, STATUS_INTERFACE_GONE,
                           "%s is %s, but its interface is gone; bring it "
                           "back, or take the endpoint away: its "
                           "MPTCPEndpoint line, or 'ip mptcp endpoint delete "
                           "id %d'", address, role, ep->id);
        break;
    case STATUS_ENDPOINT_READY:
    case STATUS_ENDPOINT_ELSEWHERE:
        break;
    }
}

static void check_host(status_report *report)
{
    int i, count = 0;

    if (report->state == STATUS_UNUSED) {
        status_trouble_add(report->troubles, STATUS_NOT_USED, "nothing here "
                           "uses MPTCP; write 'MPTCPListen' for 'Listen', or "
                           "'multipathtcp=On' behind a ProxyPass");
        return;
    }
    /* of the sysctl the path manager's report tells, too */
    if (report->state == STATUS_REFUSED
        && (report->refused != ENOPROTOOPT || !report->paths
            || mptcp_listen_refusal())) {
        status_trouble_add(report->troubles, STATUS_NO_SOCKET, "the kernel "
                           "gives no MPTCP socket, %s",
                           mptcp_refusal_text(report->refused));
    }
    for (i = 0; i < report->listeners->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(report->listeners, i,
                                                  mptcp_counted);

        if (!one->is_mptcp && report->state == STATUS_ON
            && count++ < STATUS_NAMED) {
            status_trouble_add(report->troubles, STATUS_PLAIN_TCP, "%s is "
                               "TCP, as it was when httpd was started; "
                               "restart httpd", one->name);
        }
    }
    if (count > STATUS_NAMED) {
        status_trouble_add(report->troubles, STATUS_PLAIN_TCP, "%d more "
                           "listeners are TCP, as they were when httpd was "
                           "started; restart httpd", count - STATUS_NAMED);
    }
    if (!report->paths) {
        status_trouble_add(report->troubles, STATUS_PATH_MANAGER, "the "
                           "kernel's path manager does not answer: limits and "
                           "endpoints are not known");
    }
    else {
        apr_array_cat(report->troubles, report->paths->troubles);
        /* which the log has been told by paths/ */
        check_missing(report);
        for (i = 0; i < report->paths->endpoints->nelts; i++) {
            check_place(report, &APR_ARRAY_IDX(report->paths->endpoints, i,
                                               mptcp_endpoint));
        }
    }
    check_joins(report);
}

/* What the parent has seen longer than this page. */
static void date_troubles(status_report *report)
{
    int i;

    for (i = 0; i < report->troubles->nelts; i++) {
        status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                             status_trouble);

        if (!one->since) {
            one->since = status_watch_since(one);
        }
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
    check_host(report);
}

/* ---- what is wrong with connections ------------------------------------- */

/* A path that has less than so many stalled subflows is not lost. */
#define STALLED_FEW 3

static void check_stalled(status_report *report)
{
    int i;

    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);
        char address[STATUS_ADDRESS_LEN];
        status_trouble *one;

        if (path->stalled == 0) {
            continue;
        }
        status_address_text(&path->local, address);
        one = status_trouble_add(report->troubles, STATUS_STALLED,
                                 "%s %s: %d of %d subflows to %s get no "
                                 "answer; %s",
                                 path->interface ? path->interface : "?",
                                 address, path->stalled, path->subflows,
                                 path->is_backend ? "backends" : "clients",
                                 path->is_down ? "the interface has no link"
                                 : "where it is most of them, see whether the "
                                   "network behind the interface works; a "
                                   "single one may be a client that has left");
        one->is_bad = path->stalled >= STALLED_FEW
                      && 2 * path->stalled >= path->subflows;
        one->since = report->now - apr_time_from_msec(path->stalled_ms);
    }
}

/* What is red, then what is new, then the rest. */
static int rank_of(const status_trouble *trouble)
{
    return trouble->is_bad ? 0 : trouble->is_passing ? 1 : 2;
}

static void sort_troubles(status_report *report)
{
    apr_array_header_t *sorted = apr_array_make(report->p,
                                                report->troubles->nelts + 1,
                                                sizeof(status_trouble));
    int rank, i;

    for (rank = 0; rank <= 2; rank++) {
        for (i = 0; i < report->troubles->nelts; i++) {
            const status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                                       status_trouble);

            if (rank_of(one) == rank) {
                APR_ARRAY_PUSH(sorted, status_trouble) = *one;
            }
        }
    }
    report->troubles = sorted;
    report->level = report->state == STATUS_UNUSED ? STATUS_OFF
                  : sorted->nelts == 0 ? STATUS_GOOD
                  : APR_ARRAY_IDX(sorted, 0, status_trouble).is_bad
                  ? STATUS_BAD : STATUS_WARN;
}

/* ---- which sockets ------------------------------------------------------ */

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

void status_report_gather(request_rec *r, const status_query *query,
                          status_report *report)
{
    status_report_state(r->pool, 0, report);
    report->query = query;
    status_live_read(r->pool, opens_subflows(report), join_ports(report),
                     report->interfaces, &report->live);
    add_up(report);
    status_report_paths(report);
    check_stalled(report);
    date_troubles(report);
    sort_troubles(report);
    select_connections(report);
}

/* ---- since when, for the parent ----------------------------------------- */

/* The least time between two looks; a busy parent's monitor may run more. */
#define LOOK_EVERY apr_time_from_sec(9)

static apr_time_t next_look;            /* 0: not in this configuration */

static void look_now(server_rec *s, apr_pool_t *parent)
{
    status_report report;
    apr_pool_t *p;

    apr_pool_create(&p, parent);
    apr_pool_tag(p, "mptcp_look");
    status_report_state(p, 0, &report);
    status_watch_sample(report.counters);
    status_watch_note(report.troubles);
    apr_pool_destroy(p);
    next_look = apr_time_now() + LOOK_EVERY;
}

int status_look(apr_pool_t *pconf, server_rec *s)
{
    if (next_look && apr_time_now() >= next_look) {
        look_now(s, pconf);
    }
    return DECLINED;
}

void status_look_first(server_rec *s, apr_pool_t *ptemp)
{
    next_look = 0;
    if (mptcp_counted_since() && status_watch_start(s->process)) {
        look_now(s, ptemp);
    }
}

/* ---- in the log at start ------------------------------------------------ */

/* The MPTCP listeners by address, or NULL when there are none. */
static const char *listeners_text(apr_pool_t *p)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    const char *text = NULL;
    int i, count = 0;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->is_mptcp && count++ < STATUS_NAMED) {
            text = text ? apr_pstrcat(p, text, ", ", one->name, NULL)
                        : one->name;
        }
    }
    return count > STATUS_NAMED
           ? apr_psprintf(p, "%s, and %d more", text, count - STATUS_NAMED)
           : text;
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
    for (i = 0; i < paths.troubles->nelts; i++) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "%s",
                     APR_ARRAY_IDX(paths.troubles, i, status_trouble).text);
    }
}
