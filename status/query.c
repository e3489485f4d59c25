/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the query of a request for the status asks for, and which connections
 * that is, in what order.
 */

#include "status/private.h"

#include "apr_lib.h"                    /* apr_isdigit() */

#include <stdlib.h>

/* How many connections a page has that does not say. */
#define DEFAULT_LIMIT 100

static const char *const form_names[STATUS_FORMS] = {
    [STATUS_HTML] = "html", [STATUS_JSON] = "json",
    [STATUS_OPENMETRICS] = "openmetrics", [STATUS_STYLE] = "style",
    [STATUS_SCRIPT] = "script"
};

const char *const status_sort_names[STATUS_SORTS] = {
    "rate", "retrans", "subflows", "stalled"
};

/* ---- reading it --------------------------------------------------------- */

static int find_name(const char *const *names, int count, const char *name)
{
    int i;

    for (i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* "json", or "json=" as programs write it that know only of pairs. */
static int find_form(const char *word)
{
    const apr_size_t length = strcspn(word, "=");
    int i;

    for (i = 0; i < STATUS_FORMS; i++) {
        if (strlen(form_names[i]) == length
            && strncmp(form_names[i], word, length) == 0) {
            return i;
        }
    }
    return -1;
}

static int parse_limit(const char *value, int *limit)
{
    char *end;
    apr_int64_t n;

    if (!apr_isdigit(*value)) {
        return 0;
    }
    errno = 0;
    n = apr_strtoi64(value, &end, 10);
    if (*end || errno || n > STATUS_LIMIT_MAX) {
        return 0;
    }
    *limit = (int)n;
    return 1;
}

/*
 * An address, or a network: 192.0.2.0/24.  A form that is sent with nothing in
 * it asks for none.
 */
static int parse_client(apr_pool_t *p, const char *value, status_query *query)
{
    char *address, *bits;
    apr_size_t length;

    if (!value || !*value) {
        return value != NULL;
    }
    address = apr_pstrdup(p, value);
    length = strlen(address);
    bits = strchr(address, '/');
    if (bits) {
        *bits++ = '\0';
    }
    else if (*address == '[' && address[length - 1] == ']') {
        address[length - 1] = '\0';    /* as the page writes an IPv6 one */
        address++;
    }
    query->client = value;
    return apr_ipsubnet_create(&query->client_net, address, bits, p)
           == APR_SUCCESS;
}

/* What stands behind the = of a word, decoded; NULL if it cannot be. */
static const char *word_value(apr_pool_t *p, const char *word)
{
    char *value = apr_pstrdup(p, strchr(word, '=') + 1);

    return ap_unescape_urlencoded(value) == OK ? value : NULL;
}

/*
 * Words that are not known are left alone: programs add some to get past a
 * cache.
 */
const char *status_query_read(apr_pool_t *p, const char *args,
                              status_query *query)
{
    char *state = NULL, *word;

    memset(query, 0, sizeof(*query));
    query->form = STATUS_HTML;
    query->sort = -1;
    query->limit = DEFAULT_LIMIT;
    if (!args) {
        return NULL;
    }
    for (word = apr_strtok(apr_pstrdup(p, args), "&", &state); word;
         word = apr_strtok(NULL, "&", &state)) {
        int found = find_form(word);

        if (found >= 0) {
            query->form = found;
        }
        else if (strncmp(word, "sort=", 5) == 0) {
            query->sort = find_name(status_sort_names, STATUS_SORTS, word + 5);
            if (query->sort < 0) {
                return "sort= allows rate, retrans, subflows or stalled";
            }
        }
        else if (strncmp(word, "client=", 7) == 0) {
            if (!parse_client(p, word_value(p, word), query)) {
                return "client= allows an address or a network, such as "
                       "192.0.2.0/24 or 2001:db8::/32";
            }
        }
        else if (strncmp(word, "at=", 3) == 0) {
            const char *name = word_value(p, word);

            query->at = name && *name ? name : NULL;
        }
        else if (strncmp(word, "limit=", 6) == 0
                 && !parse_limit(word + 6, &query->limit)) {
            return apr_psprintf(p, "limit= allows a number from 0 to %d",
                                STATUS_LIMIT_MAX);
        }
    }
    return NULL;
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

void status_query_select(status_report *report)
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

int status_shown(const status_report *report)
{
    int count = report->matching->nelts;

    return count < report->query->limit ? count : report->query->limit;
}
