/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The paths of this server: the local addresses that its connections' subflows
 * are at, and those that the path manager would have them at; for clients and
 * for backends apart.
 */

#include "status/private.h"

#include <stdlib.h>

/* What a path is found by, without holes between its members. */
typedef struct {
    unsigned char is_backend;
    unsigned char is_ipv6;
    unsigned char address[16];
} path_key;

/* While paths are gathered. */
typedef struct {
    status_path path;
    apr_array_header_t *rtts;           /* apr_uint32_t */
} gathered_path;

static path_key key_of(const mptcp_end *local, int is_backend)
{
    path_key key;

    key.is_backend = is_backend != 0;
    key.is_ipv6 = local->family == AF_INET6;
    memcpy(key.address, local->address, sizeof(key.address));
    return key;
}

static gathered_path *get_path(apr_hash_t *paths, const status_report *report,
                               const mptcp_end *local, int is_backend)
{
    const path_key key = key_of(local, is_backend);
    gathered_path *one = apr_hash_get(paths, &key, sizeof(key));

    if (!one) {
        const status_interface *on = status_interface_at(
            report->interfaces, local->family, local->address);

        one = apr_pcalloc(report->p, sizeof(*one));
        one->rtts = apr_array_make(report->p, 8, sizeof(apr_uint32_t));
        one->path.local = *local;
        one->path.local.port = 0;
        one->path.is_backend = key.is_backend;
        if (on) {
            one->path.interface = on->name;
            one->path.is_down = on->is_down;
        }
        apr_hash_set(paths, apr_pmemdup(report->p, &key, sizeof(key)),
                     sizeof(key), one);
    }
    return one;
}

static void add_to_path(gathered_path *one, const mptcp_socket *s)
{
    status_path *path = &one->path;

    path->subflows++;
    path->in_use += s->stalled || s->idle_ms < STATUS_IDLE_AFTER;
    path->rate += s->rate;
    path->bytes_sent += s->bytes_sent;
    path->bytes_received += s->bytes_received;
    path->sent += s->sent;
    path->resent += s->resent;
    if (s->stalled) {
        path->stalled++;
        if (s->unheard_ms > path->stalled_ms) {
            path->stalled_ms = s->unheard_ms;
        }
    }
    if (s->rtt) {
        APR_ARRAY_PUSH(one->rtts, apr_uint32_t) = s->rtt;
    }
}

/*
 * A path that an endpoint stands for is one before anybody takes it; but not
 * the address that a router translates to another.
 */
static void add_endpoints(apr_hash_t *paths, const status_report *report)
{
    int i;

    for (i = 0; report->paths && i < report->paths->endpoints->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(report->paths->endpoints, i,
                                                  mptcp_endpoint);
        mptcp_end local;

        if (status_endpoint_state(report->interfaces, ep)
            == STATUS_ENDPOINT_ELSEWHERE) {
            continue;
        }
        memset(&local, 0, sizeof(local));
        local.family = ep->family;
        memcpy(local.address, &ep->address,
               mptcp_address_length(ep->family));
        if (report->listeners->nelts
            && (ep->flags & MPTCP_PM_ADDR_FLAG_SIGNAL)) {
            get_path(paths, report, &local, 0);
        }
        if (report->workers->nelts
            && (ep->flags & MPTCP_PM_ADDR_FLAGS_CONNECT)) {
            get_path(paths, report, &local, 1);
        }
    }
}

static int by_number(const void *va, const void *vb)
{
    const apr_uint32_t a = *(const apr_uint32_t *)va;
    const apr_uint32_t b = *(const apr_uint32_t *)vb;

    return a < b ? -1 : a > b;
}

static int by_address(const void *va, const void *vb)
{
    const status_path *a = va, *b = vb;
    int order = a->local.family - b->local.family;

    return order ? order : memcmp(a->local.address, b->local.address,
                                  sizeof(a->local.address));
}

/* Those for clients first; then by interface, and by address. */
static int by_place(const void *va, const void *vb)
{
    const status_path *a = va, *b = vb;
    int order = a->is_backend - b->is_backend;

    if (!order) {
        order = strcmp(a->interface ? a->interface : "~",
                       b->interface ? b->interface : "~");
    }
    return order ? order : by_address(a, b);
}

/* The same address has the same colour, whoever is at its other end. */
static void give_colours(apr_array_header_t *list)
{
    int colour = -1, i;

    qsort(list->elts, list->nelts, list->elt_size, by_address);
    for (i = 0; i < list->nelts; i++) {
        status_path *path = &APR_ARRAY_IDX(list, i, status_path);

        if (i == 0 || by_address(path - 1, path) != 0) {
            colour++;
        }
        path->colour = colour % STATUS_COLOURS;
    }
}

void status_report_paths(status_report *report)
{
    apr_hash_t *paths = apr_hash_make(report->p);
    apr_hash_index_t *at;
    int i;

    add_endpoints(paths, report);
    for (i = 0; i < report->live.connections->nelts; i++) {
        const status_connection *c = APR_ARRAY_IDX(report->live.connections,
                                                   i, status_connection *);
        const status_subflow *s;

        for (s = c->subflows; s; s = s->next) {
            add_to_path(get_path(paths, report, &s->socket.local,
                                 c->worker != NULL), &s->socket);
        }
    }
    report->path_list = apr_array_make(report->p, 8, sizeof(status_path));
    report->path_by_address = apr_hash_make(report->p);
    for (at = apr_hash_first(report->p, paths); at; at = apr_hash_next(at)) {
        void *value;
        gathered_path *one;

        apr_hash_this(at, NULL, NULL, &value);
        one = value;
        qsort(one->rtts->elts, one->rtts->nelts, sizeof(apr_uint32_t),
              by_number);
        if (one->rtts->nelts) {
            const apr_uint32_t *rtts = (const apr_uint32_t *)one->rtts->elts;

            one->path.rtt_median = rtts[one->rtts->nelts / 2];
            one->path.rtt_worst = rtts[one->rtts->nelts - 1];
        }
        *(status_path *)apr_array_push(report->path_list) = one->path;
    }
    give_colours(report->path_list);
    qsort(report->path_list->elts, report->path_list->nelts,
          sizeof(status_path), by_place);
    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);

        apr_hash_set(report->path_by_address, path->local.address,
                     sizeof(path->local.address), path);
    }
}

const status_path *status_path_at(const status_report *report,
                                  const mptcp_end *local)
{
    return apr_hash_get(report->path_by_address, local->address,
                        sizeof(local->address));
}
