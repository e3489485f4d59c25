/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status page: SetHandler mptcp-status, and a part of mod_status's page.
 *
 * What is shown is gathered here, for each request anew: counters from shared
 * memory, the path manager's state and live connections from the kernel.  No
 * lock is taken and nothing is kept, so requests do not wait for each other.
 * status_html.c, status_json.c and status_openmetrics.c write it down.
 */

#include "status/status.h"

#include "apr_lib.h"                    /* apr_isdigit() */
#include "apr_optional_hooks.h"
#include "http_protocol.h"
#include "mod_status.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

#define HANDLER "mptcp-status"

/* How many connections a page has that does not say; and at most. */
#define DEFAULT_LIMIT 100
#define MAX_LIMIT 1000000

const char *const status_sort_names[STATUS_SORTS] = {
    "rate", "retrans", "subflows"
};

/* What a query asks for. */
typedef enum {
    FORM_HTML, FORM_JSON, FORM_OPENMETRICS, FORM_STYLE, FORM_SCRIPT, FORMS
} status_form;

static const char *const form_names[FORMS] = {
    "html", "json", "openmetrics", "style", "script"
};

typedef struct {
    status_form form;
    int sort;
    int limit;
} status_query;

/* ---- the query --------------------------------------------------------- */

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

    for (i = 0; i < FORMS; i++) {
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
    if (*end || errno || n > MAX_LIMIT) {
        return 0;
    }
    *limit = (int)n;
    return 1;
}

/*
 * Words with & between them.  Those that are not known are left alone:
 * programs add some to get past a cache.
 * @return NULL, or what is allowed; nothing that the client sent is in it
 */
static const char *parse_query(apr_pool_t *p, const char *args,
                               status_query *query)
{
    char *state = NULL, *word;

    query->form = FORM_HTML;
    query->sort = STATUS_SORT_RATE;
    query->limit = DEFAULT_LIMIT;
    if (!args) {
        return NULL;
    }
    for (word = apr_strtok(apr_pstrdup(p, args), "&", &state); word;
         word = apr_strtok(NULL, "&", &state)) {
        int form = find_form(word);

        if (form >= 0) {
            query->form = form;
        }
        else if (strncmp(word, "sort=", 5) == 0) {
            query->sort = find_name(status_sort_names, STATUS_SORTS, word + 5);
            if (query->sort < 0) {
                return "sort= allows rate, retrans or subflows";
            }
        }
        else if (strncmp(word, "limit=", 6) == 0
                 && !parse_limit(word + 6, &query->limit)) {
            return apr_psprintf(p, "limit= allows a number from 0 to %d",
                                MAX_LIMIT);
        }
    }
    return NULL;
}

/* ---- gathering --------------------------------------------------------- */

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
    int ours = mptcp_main_conf()->limits.value[limit];

    return ours != MPTCP_LIMIT_UNSET
           && ours == report->paths->limits.value[limit];
}

/* Does the kernel give MPTCP sockets at this moment? */
static apr_status_t try_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

    if (fd < 0) {
        return errno;
    }
    close(fd);
    return APR_SUCCESS;
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
            || mptcp_main_conf()->listen_status != APR_SUCCESS)) {
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
}

/* May the kernel open subflows by itself, to or from any port? */
static int opens_subflows(const status_report *report)
{
    const apr_uint32_t connecting = MPTCP_PM_ADDR_FLAG_SUBFLOW
                                    | MPTCP_PM_ADDR_FLAG_FULLMESH
                                    | MPTCP_PM_ADDR_FLAG_LAMINAR;
    const mptcp_paths *paths = report->paths;
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
static int by_token(const diag_connection *a, const diag_connection *b)
{
    return descending(b->reading.info.token, a->reading.info.token);
}

static int by_rate(const void *va, const void *vb)
{
    const diag_connection *a = *(diag_connection *const *)va;
    const diag_connection *b = *(diag_connection *const *)vb;
    int order = descending(a->rate, b->rate);

    return order ? order : by_token(a, b);
}

static int by_retrans(const void *va, const void *vb)
{
    const diag_connection *a = *(diag_connection *const *)va;
    const diag_connection *b = *(diag_connection *const *)vb;
    int order = descending(a->retrans, b->retrans);

    return order ? order : by_token(a, b);
}

static int by_subflows(const void *va, const void *vb)
{
    const diag_connection *a = *(diag_connection *const *)va;
    const diag_connection *b = *(diag_connection *const *)vb;
    int order = descending(a->count, b->count);

    return order ? order : by_rate(va, vb);
}

static void gather(request_rec *r, const status_query *query,
                   status_report *report)
{
    static int (*const orders[STATUS_SORTS])(const void *, const void *) = {
        by_rate, by_retrans, by_subflows
    };
    mptcp_paths *paths = apr_palloc(r->pool, sizeof(*paths));

    memset(report, 0, sizeof(*report));
    report->p = r->pool;
    report->s = ap_server_conf;
    report->now = apr_time_now();
    report->sort = query->sort;
    report->limit = query->limit;
    report->listeners = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    report->workers = mptcp_counted_all(MPTCP_COUNTER_WORKER);
    if (report->listeners->nelts || report->workers->nelts) {
        report->refused = try_socket();
        report->state = report->refused ? STATUS_REFUSED : STATUS_ON;
    }
    if (mptcp_paths_read(ap_server_conf, r->pool, paths) == APR_SUCCESS) {
        report->paths = paths;
    }
    gather_obstacles(report);
    diag_read(r->pool, opens_subflows(report), join_ports(report),
              &report->live);
    qsort(report->live.connections->elts, report->live.connections->nelts,
          sizeof(diag_connection *), orders[report->sort]);
}

/* ---- SetHandler mptcp-status ------------------------------------------- */

static int handle(request_rec *r)
{
    static void (*const forms[])(request_rec *, const status_report *) = {
        status_html, status_json, status_openmetrics
    };
    status_query query;
    status_report report;
    const char *err;

    if (strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    r->allowed = (AP_METHOD_BIT << M_GET);
    if (r->method_number == M_OPTIONS) {
        return DECLINED;                /* the default handler's */
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    err = parse_query(r->pool, r->args, &query);
    if (err) {
        r->status = HTTP_BAD_REQUEST;
        ap_set_content_type(r, "text/plain; charset=us-ascii");
        ap_rputs(err, r);
        ap_rputs("\n", r);
        return OK;
    }
    if (query.form == FORM_STYLE || query.form == FORM_SCRIPT) {
        return status_asset(r, query.form == FORM_SCRIPT);
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    gather(r, &query, &report);
    forms[query.form](r, &report);
    return OK;
}

/* ---- mod_status -------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_line(apr_array_header_t *lines, const char *kind, int i,
                     const char *key, const char *value)
{
    APR_ARRAY_PUSH(lines, const char *) = apr_psprintf(lines->pool,
        "MPTCP%s[%d]%s: %s\n", kind, i, key, value);
}

static void add_counts(apr_array_header_t *lines, const char *kind,
                       const apr_array_header_t *list, int has_joins)
{
    int i;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        add_line(lines, kind, i, "Name", one->name);
        add_line(lines, kind, i, "MPTCP",
                 apr_psprintf(lines->pool, "%" APR_UINT64_T_FMT,
                              counts.mptcp));
        add_line(lines, kind, i, "Fallback",
                 apr_psprintf(lines->pool, "%" APR_UINT64_T_FMT,
                              counts.fallback));
        add_line(lines, kind, i, "TCP",
                 apr_psprintf(lines->pool, "%" APR_UINT64_T_FMT,
                              counts.tcp));
        if (has_joins) {
            add_line(lines, kind, i, "Joins",
                     apr_psprintf(lines->pool, "%" APR_UINT64_T_FMT,
                                  counts.joins));
        }
    }
}

/* ?auto: lines in the order of their keys, the same ones each time. */
static void auto_section(request_rec *r)
{
    apr_array_header_t *lines = apr_array_make(r->pool, 32,
                                               sizeof(const char *));
    int i;

    add_counts(lines, "Listener", mptcp_counted_all(MPTCP_COUNTER_LISTENER),
               1);
    add_counts(lines, "Worker", mptcp_counted_all(MPTCP_COUNTER_WORKER), 0);
    qsort(lines->elts, lines->nelts, sizeof(const char *), by_text);
    for (i = 0; i < lines->nelts; i++) {
        ap_rputs(APR_ARRAY_IDX(lines, i, const char *), r);
    }
}

static int add_section(request_rec *r, int flags)
{
    if (mptcp_counted_since()) {
        if (flags & AP_STATUS_SHORT) {
            auto_section(r);
        }
        else {
            status_html_section(r);
        }
    }
    return OK;
}

/*
 * An optional hook, so that mod_status need not be loaded.  Registered in
 * pre_config, as mod_status's other guests do it.
 */
static int join_mod_status(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    APR_OPTIONAL_HOOK(ap, status_hook, add_section, NULL, NULL,
                      APR_HOOK_MIDDLE);
    return OK;
}

void mptcp_status_register_hooks(void)
{
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_config(join_mod_status, NULL, NULL, APR_HOOK_MIDDLE);
}
