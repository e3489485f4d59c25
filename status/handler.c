/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who asks for the status: SetHandler mptcp-status.
 */

#include "status/private.h"
#include "listen/listen.h"

#include "http_protocol.h"

APLOG_USE_MODULE(mptcp);

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

    /* core's is in small letters, however it is written */
    conf->status_handler = ap_cstr_casecmp(name, STATUS_HANDLER) == 0
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
        [STATUS_HTML] = status_html, [STATUS_JSON] = status_json,
        [STATUS_OPENMETRICS] = status_openmetrics
    };
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
    err = status_query_read(r->pool, r->args, &query);
    if (err) {
        r->status = HTTP_BAD_REQUEST;
        ap_set_content_type(r, "text/plain; charset=us-ascii");
        ap_rputs(err, r);
        ap_rputs("\n", r);
        return OK;
    }
    if (query.form == STATUS_STYLE || query.form == STATUS_SCRIPT) {
        return status_asset(r, query.form == STATUS_SCRIPT);
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    mptcp_count_page(r->connection);
    status_report_gather(r, &query, &report);
    forms[query.form](r, &report);
    return OK;
}
