/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as JSON, by jansson: the schema is in docs/status.md, and tested
 * by t/status.t.  Fields may be added to it; none is renamed or changes its
 * meaning without another number in "schema".
 *
 * What the kernel does not say is left out.
 */

#include "status/private.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include "http_protocol.h"

#include <jansson.h>
#include <net/if.h>

#define SCHEMA 1

/* jansson looks at every byte of a string that it is to take. */
const char *status_utf8(apr_pool_t *p, const char *text)
{
    json_t *value = json_string(text);

    if (!value) {
        return ap_escape_logitem(p, text);
    }
    json_decref(value);
    return text;
}

/*
 * jansson takes UTF-8 only, and a configuration file may have something else.
 * Failures for want of memory leave something out, and nothing leaks: every
 * ..._new() function takes its value, NULL too.
 */
static json_t *text(apr_pool_t *p, const char *string)
{
    return string ? json_string(status_utf8(p, string)) : json_null();
}

static void set_text(json_t *object, const char *key, apr_pool_t *p,
                     const char *string)
{
    json_object_set_new(object, key, text(p, string));
}

static void set_number(json_t *object, const char *key, apr_uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void set_bool(json_t *object, const char *key, int value)
{
    json_object_set_new(object, key, json_boolean(value));
}

static json_t *end(const mptcp_end *e)
{
    json_t *object = json_object();
    char address[STATUS_ADDRESS_LEN];

    json_object_set_new(object, "address",
                        json_string(status_address_text(e, address)));
    set_number(object, "port", e->port);
    return object;
}

/* ---- the parts ---------------------------------------------------------- */

static json_t *listeners_json(const status_report *report)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < report->listeners->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(report->listeners, i,
                                                  mptcp_counted);
        json_t *object = json_object(), *accepted = json_object();
        json_t *asked = json_object();
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        set_text(object, "address", report->p, one->name);
        set_bool(object, "mptcp", one->is_mptcp);
        set_number(accepted, "mptcp", counts.mptcp);
        set_number(accepted, "fallback", counts.fallback);
        set_number(accepted, "tcp", counts.tcp);
        json_object_set_new(object, "accepted", accepted);
        set_number(object, "joins", counts.joins);
        set_number(object, "joins_live", report->live_joins[i]);
        set_number(asked, "mptcp", counts.page_mptcp);
        set_number(asked, "tcp", counts.page_tcp);
        json_object_set_new(object, "asked_for_page", asked);
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *worker_json(const status_report *report,
                           const mptcp_counted *one)
{
    json_t *object = json_object(), *connected = json_object();
    mptcp_counts counts;

    mptcp_counts_get(one, &counts);
    set_text(object, "name", report->p, one->name);
    set_number(connected, "mptcp", counts.mptcp);
    set_number(connected, "fallback", counts.fallback);
    set_number(connected, "tcp", counts.tcp);
    json_object_set_new(object, "connected", connected);
    return object;
}

static json_t *limit(const status_report *report, int which)
{
    json_t *object = json_object();

    set_number(object, "value", report->paths->limits.value[which]);
    set_bool(object, "own", status_limit_is_ours(report, which));
    return object;
}

static json_t *endpoint(const status_report *report, const mptcp_endpoint *ep)
{
    json_t *object = json_object(), *flags = json_array();
    const apr_array_header_t *names = mptcp_endpoint_flags(report->p, ep);
    char interface[IF_NAMESIZE];
    int i;

    set_text(object, "address", report->p,
             mptcp_endpoint_address(report->p, ep));
    set_number(object, "id", ep->id);
    if (ep->port) {
        set_number(object, "port", ep->port);
    }
    if (ep->ifindex && if_indextoname(ep->ifindex, interface)) {
        set_text(object, "interface", report->p, interface);
    }
    for (i = 0; i < names->nelts; i++) {
        json_array_append_new(flags, json_string(APR_ARRAY_IDX(names, i,
                                                         const char *)));
    }
    json_object_set_new(object, "flags", flags);
    set_bool(object, "own", mptcp_endpoint_is_ours(report->s->process, ep));
    set_text(object, "state", report->p,
             status_endpoint_text(status_endpoint_state(report->interfaces,
                                                        ep)));
    return object;
}

static json_t *path_manager_json(const status_report *report)
{
    json_t *object, *limits, *endpoints;
    int i;

    if (!report->paths) {
        return json_null();
    }
    object = json_object();
    limits = json_object();
    json_object_set_new(limits, "subflows",
                        limit(report, MPTCP_LIMIT_SUBFLOWS));
    json_object_set_new(limits, "add_addr_accepted",
                        limit(report, MPTCP_LIMIT_ADD_ADDR_ACCEPTED));
    json_object_set_new(object, "limits", limits);
    endpoints = json_array();
    for (i = 0; i < report->paths->endpoints->nelts; i++) {
        json_array_append_new(endpoints,
                              endpoint(report,
                                       &APR_ARRAY_IDX(report->paths->endpoints,
                                                      i, mptcp_endpoint)));
    }
    json_object_set_new(object, "endpoints", endpoints);
    return object;
}

static json_t *obstacles_json(const status_report *report)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < report->troubles->nelts; i++) {
        const status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                                   status_trouble);

        if (!one->is_passing) {
            json_array_append_new(array,
                                  text(report->p, one->text));
        }
    }
    return array;
}

static json_t *troubles_json(const status_report *report)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < report->troubles->nelts; i++) {
        const status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                                   status_trouble);
        json_t *object = json_object();

        set_text(object, "kind", report->p, status_kind_text(one->kind));
        set_bool(object, "bad", one->is_bad);
        set_bool(object, "passing", one->is_passing);
        set_text(object, "what", report->p, one->what);
        set_text(object, "remedy", report->p, one->cure);
        json_object_set_new(object, "since_ms", one->since
                            ? json_integer(apr_time_as_msec(one->since))
                            : json_null());
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *paths_json(const status_report *report)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);
        json_t *object = json_object();
        char address[STATUS_ADDRESS_LEN];

        set_text(object, "address", report->p,
                 status_address_text(&path->local, address));
        set_text(object, "interface", report->p, path->interface);
        set_bool(object, "interface_up", path->interface && !path->is_down);
        set_text(object, "peers", report->p,
                 path->is_backend ? "backends" : "clients");
        set_number(object, "subflows", path->subflows);
        set_number(object, "stalled", path->stalled);
        set_number(object, "rate", path->rate);
        if (path->rtt_median) {
            set_number(object, "rtt_median_us", path->rtt_median);
            set_number(object, "rtt_worst_us", path->rtt_worst);
        }
        set_number(object, "bytes_sent", path->bytes_sent);
        set_number(object, "bytes_received", path->bytes_received);
        set_number(object, "sent", path->sent);
        set_number(object, "resent", path->resent);
        json_array_append_new(array, object);
    }
    return array;
}

/* What the kernel has counted, for the whole of its network namespace. */
static json_t *kernel_json(const status_report *report)
{
    static const struct {
        const char *key;
        int counter;
    } counters[] = {
        { "joins_received", STATUS_JOINS_RECEIVED },
        { "joins_finished", STATUS_JOINS_FINISHED },
        { "joins_no_token", STATUS_JOINS_NO_TOKEN },
        { "joins_wrong_hmac", STATUS_JOINS_WRONG_HMAC },
        { "joins_rejected", STATUS_JOINS_REJECTED },
        { "joins_sent", STATUS_JOINS_SENT },
        { "joins_sent_wrong_hmac", STATUS_JOINS_SENT_WRONG_HMAC },
        { "joins_no_socket", STATUS_JOINS_NO_SOCKET },
        { "joins_no_address", STATUS_JOINS_NO_ADDRESS },
        { "joins_no_way", STATUS_JOINS_NO_WAY }
    };
    json_t *object = json_object();
    apr_size_t i;

    for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        set_number(object, counters[i].key,
                   report->counters[counters[i].counter]);
    }
    return object;
}

/* ---- live connections --------------------------------------------------- */

static json_t *subflow(const status_report *report, const status_subflow *s)
{
    json_t *object = json_object();

    json_object_set_new(object, "local", end(&s->socket.local));
    json_object_set_new(object, "remote", end(&s->socket.remote));
    if (s->interface) {
        set_text(object, "interface", report->p, s->interface);
        set_bool(object, "interface_up", !s->interface_down);
    }
    set_text(object, "state", report->p, s->socket.state);
    set_bool(object, "joined", s->socket.joined);
    if (s->socket.says_subflow) {
        set_bool(object, "backup_local", s->socket.backup_local);
        set_bool(object, "backup_remote", s->socket.backup_remote);
    }
    set_bool(object, "stalled", s->socket.stalled);
    set_number(object, "unheard_ms", s->socket.unheard_ms);
    set_number(object, "idle_ms", s->socket.idle_ms);
    set_number(object, "rtt_us", s->socket.rtt);
    set_number(object, "rate", s->socket.rate);
    set_number(object, "bytes_sent", s->socket.bytes_sent);
    set_number(object, "bytes_received", s->socket.bytes_received);
    set_number(object, "retrans_segments", s->socket.retrans);
    set_number(object, "sent", s->socket.sent);
    set_number(object, "resent", s->socket.resent);
    return object;
}

static json_t *connection(const status_report *report,
                          const status_connection *c)
{
    json_t *object = json_object(), *subflows = json_array();
    const status_subflow *s;
    char token[sizeof("ffffffff")];

    if (MPTCP_HAS(&c->reading, token)) {
        apr_snprintf(token, sizeof(token), "%x", c->reading.info.token);
        json_object_set_new(object, "token", json_string(token));
    }
    json_object_set_new(object, "local", end(&c->local));
    json_object_set_new(object, "remote", end(&c->remote));
    set_text(object, "listener", report->p,
             c->listener ? c->listener->name : NULL);
    set_text(object, "worker", report->p, c->worker ? c->worker->name : NULL);
    set_text(object, "state", report->p, c->state);
    set_bool(object, "fallback", c->reading.state == MPTCP_STATE_FALLBACK);
    if (MPTCP_HAS(&c->reading, bytes_acked)) {
        set_number(object, "bytes_sent", c->reading.info.bytes_sent);
        set_number(object, "bytes_received", c->reading.info.bytes_received);
        set_number(object, "bytes_retrans", c->reading.info.bytes_retrans);
    }
    set_number(object, "rate", c->rate);
    set_number(object, "retrans_segments", c->retrans);
    set_number(object, "sent", c->sent);
    set_number(object, "resent", c->resent);
    set_number(object, "stalled", c->stalled);
    if (c->count) {
        set_number(object, "idle_ms", c->idle_ms);
    }
    for (s = c->subflows; s; s = s->next) {
        json_array_append_new(subflows, subflow(report, s));
    }
    json_object_set_new(object, "subflows", subflows);
    return object;
}

/* All about live connections but these themselves. */
static json_t *live_json(const status_report *report)
{
    const status_live *found = &report->live;
    json_t *object = json_object();

    set_number(object, "mptcp", found->connections->nelts);
    set_number(object, "subflows", found->subflows);
    set_number(object, "tcp", found->tcp);
    set_number(object, "stalled", report->totals.stalled);
    set_number(object, "rate", report->totals.rate);
    set_number(object, "sent", report->totals.sent);
    set_number(object, "resent", report->totals.resent);
    set_bool(object, "incomplete", found->incomplete);
    set_number(object, "took_us", found->took);
    set_text(object, "sort", report->p, status_sort_names[report->sort]);
    set_number(object, "matching", report->matching->nelts);
    set_number(object, "not_shown",
               found->connections->nelts - status_shown(report));
    return object;
}

/* ---- writing ------------------------------------------------------------ */

/* jansson writes word by word. */
typedef struct {
    request_rec *r;
    size_t used;
    char buffer[8192];
} output;

static void flush(output *out)
{
    ap_rwrite(out->buffer, (int)out->used, out->r);
    out->used = 0;
}

static int write_out(const char *text, size_t size, void *data)
{
    output *out = data;

    while (size > 0) {
        size_t part = sizeof(out->buffer) - out->used;

        part = size < part ? size : part;
        memcpy(out->buffer + out->used, text, part);
        out->used += part;
        text += part;
        size -= part;
        if (out->used == sizeof(out->buffer)) {
            flush(out);
        }
    }
    return out->r->connection->aborted ? -1 : 0;
}

static void write_text(output *out, const char *text)
{
    write_out(text, strlen(text), out);
}

/* A value is freed as soon as it is written. */
static void write_json(output *out, json_t *value, size_t flags)
{
    json_dump_callback(value, write_out, out, JSON_COMPACT | flags);
    json_decref(value);
}

static json_t *head(const status_report *report)
{
    json_t *object = json_object();
    int given_up;

    set_number(object, "schema", SCHEMA);
    set_text(object, "server", report->p, ap_get_server_banner());
    set_number(object, "time_ms", apr_time_as_msec(report->now));
    json_object_set_new(object, "counted_since_ms",
                        mptcp_counted_since()
                        ? json_integer(apr_time_as_msec(mptcp_counted_since()))
                        : json_null());
    set_text(object, "version", report->p, MPTCP_VERSION);
    set_text(object, "host", report->p, report->host);
    set_text(object, "system", report->p, report->system);
    set_number(object, "host_up_s", apr_time_sec(report->up));
    set_number(object, "started_ms", apr_time_as_msec(report->started));
    set_text(object, "mptcp", report->p, status_state_text(report->state));
    set_text(object, "level", report->p, status_level_text(report->level));
    json_object_set_new(object, "troubles", troubles_json(report));
    json_object_set_new(object, "listeners", listeners_json(report));
    json_object_set_new(object, "blackhole",
                        mptcp_blackhole_known(&given_up)
                        ? json_boolean(given_up) : json_null());
    json_object_set_new(object, "path_manager", path_manager_json(report));
    json_object_set_new(object, "obstacles", obstacles_json(report));
    json_object_set_new(object, "paths", paths_json(report));
    json_object_set_new(object, "kernel", kernel_json(report));
    return object;
}

/* Values of an array, one at a time; stops when nobody reads on. */
static void write_workers_json(output *out, const status_report *report)
{
    int i;

    write_text(out, ",\"workers\":[");
    for (i = 0; i < report->workers->nelts && !out->r->connection->aborted;
         i++) {
        write_text(out, i ? "," : "");
        write_json(out, worker_json(report, &APR_ARRAY_IDX(report->workers, i,
                                                           mptcp_counted)),
                   0);
    }
    write_text(out, "]");
}

static void write_connections_json(output *out, const status_report *report)
{
    const int shown = status_shown(report);
    int i;

    write_text(out, ",\"connections\":[");
    for (i = 0; i < shown && !out->r->connection->aborted; i++) {
        write_text(out, i ? "," : "");
        write_json(out, connection(report,
                                   APR_ARRAY_IDX(report->matching, i,
                                                 status_connection *)), 0);
    }
    write_text(out, "]");
}

/*
 * With many connections or workers a tree of all of it takes a hundred
 * megabytes (13 kB a connection).  So what is around them is written without
 * its closing brackets, and then one of them at a time.
 */
void status_json(request_rec *r, const status_report *report)
{
    output *out = apr_palloc(r->pool, sizeof(*out));

    out->r = r;
    out->used = 0;
    ap_set_content_type(r, "application/json");
    write_text(out, "{");
    write_json(out, head(report), JSON_EMBED);
    write_workers_json(out, report);
    if (report->live.status != APR_SUCCESS) {
        json_t *why = json_object();

        set_text(why, "live_unknown", report->p,
                 status_live_refusal_text(report->p, report->live.status));
        write_text(out, ",\"live\":null,");
        write_json(out, why, JSON_EMBED);
    }
    else {
        write_text(out, ",\"live\":{");
        write_json(out, live_json(report), JSON_EMBED);
        write_connections_json(out, report);
        write_text(out, "}");
    }
    write_text(out, "}");
    flush(out);
}
