/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status for Prometheus and its like.
 *
 * Two formats are alike but for the name of a counter's family: with _total
 * in Prometheus' own text format, and in promtool's eyes, without in
 * OpenMetrics, whose last line is also its own.  Prometheus asks for the
 * second in its Accept header; who does not gets the first.
 */

#include "status/private.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include "http_protocol.h"

#define PREFIX "httpd_mptcp_"

typedef struct {
    request_rec *r;
    int is_openmetrics;
} writer;

/* Begin a family.  A counter's samples have _total behind the name. */
static void family(const writer *w, const char *name, int is_counter,
                   const char *help)
{
    const char *full = apr_pstrcat(w->r->pool, PREFIX, name,
                                   is_counter && !w->is_openmetrics
                                   ? "_total" : "", NULL);

    ap_rvputs(w->r, "# HELP ", full, " ", help, "\n# TYPE ", full,
              is_counter ? " counter\n" : " gauge\n", NULL);
}

/*
 * A label's value, in ASCII: a URL of the configuration may be anything, not
 * so a label.  Other characters are written as a URL has them, %XX; and so is
 * the percent sign, or a URL that has a byte so already would be the same.
 */
static const char *label_value(apr_pool_t *p, const char *value)
{
    char *escaped = apr_palloc(p, 3 * strlen(value) + 1), *to = escaped;

    for (; *value; value++) {
        unsigned char c = *value;

        if (c < 0x20 || c >= 0x7f || c == '%') {
            to += apr_snprintf(to, sizeof("%XX"), "%%%02X", c);
            continue;
        }
        if (c == '\\' || c == '"') {
            *to++ = '\\';
        }
        *to++ = c;
    }
    *to = '\0';
    return escaped;
}

/* One sample; labels is "" or {...}. */
static void sample(const writer *w, const char *name, int is_counter,
                   const char *labels, apr_uint64_t value)
{
    ap_rprintf(w->r, PREFIX "%s%s%s %" APR_UINT64_T_FMT "\n", name,
               is_counter ? "_total" : "", labels, value);
}

static const char *label(const writer *w, const char *name,
                         const char *value, const char *protocol)
{
    return apr_pstrcat(w->r->pool, "{", name, "=\"",
                       label_value(w->r->pool, value), "\"",
                       protocol ? ",protocol=\"" : "",
                       protocol ? protocol : "", protocol ? "\"" : "", "}",
                       NULL);
}

static void single(const writer *w, const char *name, const char *help,
                   apr_uint64_t value)
{
    family(w, name, 0, help);
    sample(w, name, 0, "", value);
}

/* ---- the parts ---------------------------------------------------------- */

static void listeners_families(const writer *w, const mptcp_counted *list,
                               int n)
{
    mptcp_counts *counts = apr_palloc(w->r->pool,
                                      (n + 1) * sizeof(*counts));
    int i;

    for (i = 0; i < n; i++) {
        mptcp_counts_get(&list[i], &counts[i]);
    }
    family(w, "listener_is_mptcp", 0,
           "Whether the socket of a listener that is to be MPTCP is.");
    for (i = 0; i < n; i++) {
        sample(w, "listener_is_mptcp", 0,
               label(w, "listener", list[i].name, NULL),
               list[i].is_mptcp);
    }
    family(w, "accepted_connections", 1,
           "Connections accepted by MPTCP listeners, by the protocol that "
           "they began with.");
    for (i = 0; i < n; i++) {
        sample(w, "accepted_connections", 1,
               label(w, "listener", list[i].name, "mptcp"), counts[i].mptcp);
        sample(w, "accepted_connections", 1,
               label(w, "listener", list[i].name, "tcp"), counts[i].tcp);
    }
    family(w, "accepted_fallbacks", 1,
           "Of the connections that began with MPTCP, those found to be TCP "
           "at their end.");
    for (i = 0; i < n; i++) {
        sample(w, "accepted_fallbacks", 1,
               label(w, "listener", list[i].name, NULL), counts[i].fallback);
    }
    family(w, "accepted_joins", 1,
           "Subflows besides the first that connections had at their end.");
    for (i = 0; i < n; i++) {
        sample(w, "accepted_joins", 1,
               label(w, "listener", list[i].name, NULL), counts[i].joins);
    }
}

/*
 * Workers that differ only in a password have one name, which may not be there
 * twice: they are counted together.
 */
static void workers_families(const writer *w, const mptcp_counted *list, int n)
{
    apr_hash_t *by_name = apr_hash_make(w->r->pool);
    struct {
        const char *name;
        mptcp_counts counts;
    } *sums = apr_pcalloc(w->r->pool, (n + 1) * sizeof(*sums));
    int i, names = 0;

    for (i = 0; i < n; i++) {
        mptcp_counts one, *sum = apr_hash_get(by_name, list[i].name,
                                              APR_HASH_KEY_STRING);

        if (!sum) {
            sums[names].name = list[i].name;
            sum = &sums[names++].counts;
            apr_hash_set(by_name, list[i].name, APR_HASH_KEY_STRING, sum);
        }
        mptcp_counts_get(&list[i], &one);
        sum->mptcp += one.mptcp;
        sum->fallback += one.fallback;
        sum->tcp += one.tcp;
    }
    family(w, "backend_connections", 1,
           "Connections established to backends of workers that ask for "
           "MPTCP, by what they became.");
    for (i = 0; i < names; i++) {
        sample(w, "backend_connections", 1,
               label(w, "worker", sums[i].name, "mptcp"),
               sums[i].counts.mptcp);
        sample(w, "backend_connections", 1,
               label(w, "worker", sums[i].name, "fallback"),
               sums[i].counts.fallback);
        sample(w, "backend_connections", 1,
               label(w, "worker", sums[i].name, "tcp"), sums[i].counts.tcp);
    }
}

static void path_manager_families(const writer *w, const status_paths *paths)
{
    family(w, "limit", 0, "Limits of the kernel's path manager in force.");
    sample(w, "limit", 0, "{limit=\"subflows\"}",
           paths->limits.value[MPTCP_LIMIT_SUBFLOWS]);
    sample(w, "limit", 0, "{limit=\"add_addr_accepted\"}",
           paths->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED]);
    single(w, "endpoints", "Endpoints of the kernel's path manager.",
           paths->endpoints->nelts);
}

/* The labels of a path. */
static const char *path_label(const writer *w, const status_path *path)
{
    char address[STATUS_ADDRESS_LEN];

    return apr_psprintf(w->r->pool,
                        "{interface=\"%s\",address=\"%s\",peers=\"%s\"}",
                        label_value(w->r->pool,
                                    path->interface ? path->interface : ""),
                        status_address_text(&path->local, address),
                        path->is_backend ? "backends" : "clients");
}

/* A sample for each path; a time is in seconds, and left out if not known. */
enum {
    PATH_UP, PATH_SUBFLOWS, PATH_STALLED, PATH_RATE, PATH_SENT, PATH_RESENT,
    PATH_RECEIVED, PATH_RTT_MEDIAN, PATH_RTT_WORST
};

static int is_time(int value)
{
    return value == PATH_RTT_MEDIAN || value == PATH_RTT_WORST;
}

static void path_family(const writer *w, const char *name,
                        const apr_array_header_t *list, int value,
                        const char *help)
{
    int i;

    family(w, name, 0, help);
    for (i = 0; i < list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(list, i, status_path);
        const apr_uint64_t values[] = {
            path->interface && !path->is_down, path->subflows, path->stalled,
            path->rate, path->sent, path->resent, path->bytes_received,
            path->rtt_median, path->rtt_worst
        };

        if (!is_time(value)) {
            sample(w, name, 0, path_label(w, path), values[value]);
        }
        else if (values[value]) {
            ap_rprintf(w->r, PREFIX "%s%s %.6f\n", name, path_label(w, path),
                       values[value] / 1000000.0);
        }
    }
}

static void paths_families(const writer *w, const apr_array_header_t *list)
{
    path_family(w, "path_up", list, PATH_UP,
                "Whether the interface of a local address has a link.");
    path_family(w, "path_subflows", list, PATH_SUBFLOWS,
                "Live subflows at a local address.");
    path_family(w, "path_subflows_stalled", list, PATH_STALLED,
                "Those of them that send the same again and again.");
    path_family(w, "path_rate_bytes", list, PATH_RATE,
                "What they deliver in a second, as the kernel estimates.");
    path_family(w, "path_sent_bytes", list, PATH_SENT,
                "What those that live have sent, all in all.");
    path_family(w, "path_resent_bytes", list, PATH_RESENT,
                "The part of it that was sent again.");
    path_family(w, "path_received_bytes", list, PATH_RECEIVED,
                "What those that live have received.");
    path_family(w, "path_rtt_median_seconds", list, PATH_RTT_MEDIAN,
                "The median of their round trip times.");
    path_family(w, "path_rtt_worst_seconds", list, PATH_RTT_WORST,
                "The longest of their round trip times.");
}

static void endpoints_families(const writer *w, const status_report *report)
{
    const apr_array_header_t *list = report->paths->endpoints;
    int i;

    family(w, "endpoint_ready", 0, "Whether the address of an endpoint can be "
           "used, or is announced for a router to translate.");
    for (i = 0; i < list->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(list, i, mptcp_endpoint);

        sample(w, "endpoint_ready", 0,
               apr_psprintf(w->r->pool, "{address=\"%s\",id=\"%d\"}",
                            mptcp_endpoint_address(w->r->pool, ep), ep->id),
               status_endpoint_state(report->interfaces, ep)
               <= STATUS_ENDPOINT_ELSEWHERE);
    }
}

/* A counter of the kernel. */
static void host_sample(const writer *w, const status_report *report,
                        const char *name, const char *labels, int counter)
{
    sample(w, name, 1, labels, report->counters[counter]);
}

static void host_families(const writer *w, const status_report *report)
{
    family(w, "host_joins", 1, "Joins of this host's network namespace, of "
           "all programs; as the kernel counts them.");
    host_sample(w, report, "host_joins", "{direction=\"received\"}",
                STATUS_JOINS_RECEIVED);
    host_sample(w, report, "host_joins", "{direction=\"sent\"}",
                STATUS_JOINS_SENT);
    family(w, "host_joins_finished", 1, "Those received that have become a "
           "subflow.");
    host_sample(w, report, "host_joins_finished", "", STATUS_JOINS_FINISHED);
    family(w, "host_joins_refused", 1, "Those of them that came to nothing, "
           "and why.");
    host_sample(w, report, "host_joins_refused", "{reason=\"no_token\"}",
                STATUS_JOINS_NO_TOKEN);
    host_sample(w, report, "host_joins_refused", "{reason=\"wrong_hmac\"}",
                STATUS_JOINS_WRONG_HMAC);
    host_sample(w, report, "host_joins_refused", "{reason=\"rejected\"}",
                STATUS_JOINS_REJECTED);
    host_sample(w, report, "host_joins_refused",
                "{reason=\"sent_wrong_hmac\"}", STATUS_JOINS_SENT_WRONG_HMAC);
    host_sample(w, report, "host_joins_refused", "{reason=\"no_socket\"}",
                STATUS_JOINS_NO_SOCKET);
    host_sample(w, report, "host_joins_refused", "{reason=\"no_address\"}",
                STATUS_JOINS_NO_ADDRESS);
    host_sample(w, report, "host_joins_refused", "{reason=\"no_way\"}",
                STATUS_JOINS_NO_WAY);
}

/* How many troubles of each kind there are. */
static void troubles_families(const writer *w, const apr_array_header_t *list)
{
    int i, j;

    family(w, "troubles", 0, "What is wrong at this moment, by kind; that "
           "which comes and goes with traffic, too.");
    for (i = 0; i < list->nelts; i++) {
        const status_kind kind = APR_ARRAY_IDX(list, i, status_trouble).kind;
        int count = 0, is_first = 1;

        for (j = 0; j < list->nelts; j++) {
            if (APR_ARRAY_IDX(list, j, status_trouble).kind == kind) {
                is_first &= count > 0 || j == i;
                count++;
            }
        }
        if (is_first) {
            sample(w, "troubles", 0,
                   label(w, "kind", status_kind_text(kind), NULL), count);
        }
    }
}

/* Those that stay whatever the traffic is. */
static int lasting_troubles(const apr_array_header_t *list)
{
    int count = 0, i;

    for (i = 0; i < list->nelts; i++) {
        count += !APR_ARRAY_IDX(list, i, status_trouble).is_passing;
    }
    return count;
}

static void live_families(const writer *w, const status_report *report)
{
    const status_live *found = &report->live;
    const apr_array_header_t *list = report->listeners;
    int i;

    family(w, "live_connections", 0,
           "Live connections of MPTCP listeners and workers, by protocol.");
    sample(w, "live_connections", 0, "{protocol=\"mptcp\"}",
           found->connections->nelts);
    sample(w, "live_connections", 0, "{protocol=\"tcp\"}", found->tcp);
    single(w, "live_subflows", "Subflows of live MPTCP connections.",
           found->subflows);
    single(w, "live_subflows_stalled",
           "Subflows that send the same again and again.",
           report->totals.stalled);
    family(w, "live_joins", 0,
           "Subflows besides the first of live connections.");
    for (i = 0; i < list->nelts; i++) {
        sample(w, "live_joins", 0,
               label(w, "listener", APR_ARRAY_IDX(list, i, mptcp_counted).name,
                     NULL), report->live_joins[i]);
    }
}

/* Does the client ask for OpenMetrics?  Its weights are not looked at. */
static int accepts_openmetrics(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");

    return accept && ap_strcasestr(accept, "application/openmetrics-text");
}

void status_openmetrics(request_rec *r, const status_report *report)
{
    const writer w = { r, accepts_openmetrics(r) };
    int given_up;

    apr_table_mergen(r->headers_out, "Vary", "Accept");
    ap_set_content_type(r, w.is_openmetrics
                        ? "application/openmetrics-text; version=1.0.0; "
                          "charset=utf-8"
                        : "text/plain; version=0.0.4; charset=utf-8");
    single(&w, "on", "Whether MPTCP is configured and the kernel gives it.",
           report->state == STATUS_ON);
    family(&w, "build_info", 0, "The module's version.");
    sample(&w, "build_info", 0, "{version=\"" MPTCP_VERSION "\"}", 1);
    single(&w, "obstacles", "How many things stand in the way of multipath.",
           lasting_troubles(report->troubles));
    troubles_families(&w, report->troubles);
    listeners_families(&w, (const mptcp_counted *)report->listeners->elts,
                       report->listeners->nelts);
    workers_families(&w, (const mptcp_counted *)report->workers->elts,
                     report->workers->nelts);
    if (mptcp_blackhole_known(&given_up)) {
        single(&w, "blackhole", "Whether the kernel has given MPTCP "
               "up for new connections to backends.", given_up);
    }
    if (report->paths) {
        path_manager_families(&w, report->paths);
        endpoints_families(&w, report);
    }
    host_families(&w, report);
    if (report->live.status == APR_SUCCESS) {
        live_families(&w, report);
        paths_families(&w, report->path_list);
    }
    if (w.is_openmetrics) {
        ap_rputs("# EOF\n", r);
    }
}
