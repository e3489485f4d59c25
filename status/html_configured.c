/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is configured, and counted, on the status page.
 */

#include "status/html.h"
#include "paths/paths.h"

#include "http_protocol.h"

/* More workers that nobody has used are folded away. */
#define UNUSED_SHOWN 8

static const html_column listener_columns[] = {
    { "accepted by", "name", NULL },
    { "MPTCP", "number", NULL },
    { "fell back", "number", STATUS_MEANS_FALLBACK },
    { "plain TCP", "number", NULL },
    { "joins", "number", STATUS_MEANS_JOINS },
    { NULL, NULL, NULL }
};

static const html_column worker_columns[] = {
    { "connected to", "name", NULL },
    { "MPTCP", "number", NULL },
    { "fell back", "number", STATUS_MEANS_FALLBACK },
    { "plain TCP", "number", NULL },
    { NULL, NULL, NULL }
};

static void write_counts(request_rec *r, const html_column *columns,
                         const mptcp_counted *one, const mptcp_counts *counts,
                         const char *badge)
{
    const apr_uint64_t cells[] = {
        counts->mptcp, counts->fallback, counts->tcp, counts->joins
    };
    int column;

    ap_rvputs(r, "<tr><th scope=\"row\">", html_text(r, one->name), badge,
              "</th>", NULL);
    for (column = 1; columns[column].heading; column++) {
        ap_rvputs(r, "<td class=\"number\">",
                  html_count(r->pool, cells[column - 1]), "</td>", NULL);
    }
    ap_rputs("</tr>\n", r);
}

/* Only a listener may serve by TCP though it is shown here. */
static void write_listeners(request_rec *r, const status_report *report)
{
    const apr_array_header_t *list = report->listeners;
    int i;

    if (list->nelts == 0) {
        return;
    }
    ap_rputs("<section id=\"listeners\"><h2>Listeners</h2>\n", r);
    html_begin_table(r, "counts", listener_columns);
    ap_rputs("<tbody>\n", r);
    for (i = 0; i < list->nelts && !r->connection->aborted; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        counts.joins += report->live_joins[i];
        write_counts(r, listener_columns, one, &counts,
                     one->is_mptcp ? ""
                     : " <span class=\"badge alarm\">TCP</span>");
    }
    ap_rputs("</tbody></table></section>\n", r);
}

static void write_workers(request_rec *r, const status_report *report)
{
    const apr_array_header_t *list = report->workers;
    int unused = 0, i;

    if (list->nelts == 0) {
        return;
    }
    ap_rputs("<section id=\"workers\"><h2>Backends</h2>\n", r);
    html_begin_table(r, "counts", worker_columns);
    ap_rputs("<tbody>\n", r);
    for (i = 0; i < list->nelts && !r->connection->aborted; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        if (html_is_of_interest(one, &counts)
            && (html_is_used(&counts) || ++unused <= UNUSED_SHOWN)) {
            write_counts(r, worker_columns, one, &counts, "");
        }
    }
    ap_rputs("</tbody></table>\n", r);
    if (unused > UNUSED_SHOWN) {
        ap_rprintf(r, "<p class=\"more\">and %s that no connection was made "
                   "to; <a href=\"?json\">JSON</a> has them</p>\n",
                   html_count(r->pool, unused - UNUSED_SHOWN));
    }
    ap_rputs("</section>\n", r);
}

static void write_limit(request_rec *r, const status_report *report,
                        int limit, const char *name)
{
    ap_rprintf(r, "<li><b>%d</b> %s <span class=\"by\">%s</span></li>\n",
               report->paths->limits.value[limit], name,
               status_limit_is_ours(report, limit) ? "by MPTCPLimits"
                                                   : "by the system");
}

static void write_endpoint(request_rec *r, const status_report *report,
                           const mptcp_endpoint *ep)
{
    const status_endpoint state = status_endpoint_state(report->interfaces,
                                                        ep);

    ap_rvputs(r, "<li>", html_text(r, mptcp_endpoint_text(r->pool, ep, NULL)),
              " <span class=\"by\">",
              mptcp_endpoint_is_ours(report->s->process, ep)
              ? "by MPTCPEndpoint" : "by the system", "</span>", NULL);
    if (state == STATUS_ENDPOINT_ELSEWHERE) {
        ap_rputs(" <span class=\"by\">no address of this host</span>", r);
    }
    else if (state != STATUS_ENDPOINT_READY) {
        ap_rvputs(r, " <b class=\"alarm\">", status_endpoint_text(state),
                  "</b>", NULL);
    }
    ap_rputs("</li>\n", r);
}

static void write_path_manager(request_rec *r, const status_report *report)
{
    const apr_array_header_t *list;
    int i;

    if (!report->paths) {
        return;
    }
    list = report->paths->endpoints;
    ap_rputs("<section id=\"manager\"><h2>Path manager</h2>\n"
             "<h3>Limits</h3><ul>\n", r);
    write_limit(r, report, MPTCP_LIMIT_SUBFLOWS, "more subflows a connection");
    write_limit(r, report, MPTCP_LIMIT_ADD_ADDR_ACCEPTED,
                "announced addresses accepted");
    ap_rputs("</ul>\n<h3>Endpoints</h3>\n", r);
    ap_rputs(list->nelts ? "<ul>\n" : "<p>none</p>\n", r);
    for (i = 0; i < list->nelts; i++) {
        write_endpoint(r, report, &APR_ARRAY_IDX(list, i, mptcp_endpoint));
    }
    ap_rputs(list->nelts ? "</ul></section>\n" : "</section>\n", r);
}

void html_configured(request_rec *r, const status_report *report)
{
    ap_rputs("<div id=\"configured\">\n", r);
    write_listeners(r, report);
    write_workers(r, report);
    write_path_manager(r, report);
    ap_rputs("</div>\n", r);
}
