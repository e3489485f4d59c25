/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who asks for the status: SetHandler mptcp-status.
 */

#include "status/private.h"
#include "listen/listen.h"

#include "apr_lib.h"                    /* apr_isdigit() */
#include "http_protocol.h"

APLOG_USE_MODULE(mptcp);

/* How many connections a page has that does not say. */
#define DEFAULT_LIMIT 100

/* What a query asks for. */
typedef enum {
    FORM_HTML, FORM_JSON, FORM_OPENMETRICS, FORM_STYLE, FORM_SCRIPT, FORMS
} status_form;

static const char *const form_names[FORMS] = {
    "html", "json", "openmetrics", "style", "script"
};

/* ---- the query ---------------------------------------------------------- */

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
 * Words with & between them.  Those that are not known are left alone:
 * programs add some to get past a cache.
 * @return NULL, or what is allowed; nothing that the client sent is in it
 */
static const char *parse_query(apr_pool_t *p, const char *args,
                               status_form *form, status_query *query)
{
    char *state = NULL, *word;

    *form = FORM_HTML;
    memset(query, 0, sizeof(*query));
    query->sort = -1;
    query->limit = DEFAULT_LIMIT;
    if (!args) {
        return NULL;
    }
    for (word = apr_strtok(apr_pstrdup(p, args), "&", &state); word;
         word = apr_strtok(NULL, "&", &state)) {
        int found = find_form(word);

        if (found >= 0) {
            *form = found;
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

/* ---- SetHandler mptcp-status -------------------------------------------- */

/*
 * The page shows everybody's connections, so it is the server's administrator
 * who says where it is: not those who may write .htaccess files, by which
 * AllowOverride FileInfo lets them choose a handler in many ways (SetHandler,
 * AddHandler, ForceType, RewriteRule [H=]).  A line that stands in one has the
 * request's pool for all that it makes.
 */
const char *status_note_handler(cmd_parms *cmd, void *dir_conf,
                                const char *name)
{
    mptcp_dir_conf *conf = dir_conf;

    conf->status_handler = strcmp(name, STATUS_HANDLER) == 0
                           && !ap_check_cmd_context(cmd, NOT_IN_HTACCESS);
    return NULL;
}

static int is_put_here(const request_rec *r)
{
    const mptcp_dir_conf *conf = ap_get_module_config(r->per_dir_config,
                                                      &mptcp_module);

    return conf->status_handler == 1;
}

int status_handle(request_rec *r)
{
    static void (*const forms[])(request_rec *, const status_report *) = {
        status_html, status_json, status_openmetrics
    };
    status_form form;
    status_query query;
    status_report report;
    const char *err;

    if (strcmp(r->handler, STATUS_HANDLER) != 0) {
        return DECLINED;
    }
    if (!is_put_here(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "mptcp-status is for the server's own configuration, "
                      "not for .htaccess, and for SetHandler alone: refused");
        return HTTP_FORBIDDEN;
    }
    r->allowed = (AP_METHOD_BIT << M_GET);
    if (r->method_number == M_OPTIONS) {
        return DECLINED;                /* the default handler's */
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    err = parse_query(r->pool, r->args, &form, &query);
    if (err) {
        r->status = HTTP_BAD_REQUEST;
        ap_set_content_type(r, "text/plain; charset=us-ascii");
        ap_rputs(err, r);
        ap_rputs("\n", r);
        return OK;
    }
    if (form == FORM_STYLE || form == FORM_SCRIPT) {
        return status_asset(r, form == FORM_SCRIPT);
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    mptcp_count_page(r->connection);
    status_report_gather(r, &query, &report);
    forms[form](r, &report);
    return OK;
}
