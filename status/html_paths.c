/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The first screen of the status page: what is wrong, the server in figures,
 * and its paths.
 */

#include "status/html.h"

#include "http_protocol.h"

/* ---- what is wrong ------------------------------------------------------ */

static void write_since(request_rec *r, const status_report *report,
                        apr_time_t since)
{
    apr_time_exp_t at;

    if (!since) {
        return;
    }
    apr_time_exp_gmt(&at, since);
    ap_rprintf(r, " <span class=\"since\">since %02d:%02d:%02d UTC, %s</span>",
               at.tm_hour, at.tm_min, at.tm_sec,
               html_span(r->pool, report->now - since));
}

void html_troubles(request_rec *r, const status_report *report)
{
    int i;

    if (report->troubles->nelts == 0) {
        return;
    }
    ap_rvputs(r, "<section id=\"troubles\" class=\"",
              report->level == STATUS_BAD ? "bad" : "warn",
              "\" aria-label=\"What stands in the way\"><ol>\n", NULL);
    for (i = 0; i < report->troubles->nelts; i++) {
        const status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                                   status_trouble);

        ap_rvputs(r, "<li class=\"", one->is_bad ? "bad" : "warn",
                  "\"><p class=\"what\"><b>",
                  status_kind_text(one->kind), "</b> <span>",
                  html_text(r, one->what), "</span>", NULL);
        write_since(r, report, one->since);
        ap_rputs("</p>", r);
        if (one->cure) {
            ap_rvputs(r, "<p class=\"cure\">", html_text(r, one->cure), "</p>",
                      NULL);
        }
        ap_rputs("</li>\n", r);
    }
    ap_rputs("</ol></section>\n", r);
}

/* ---- the server in figures ---------------------------------------------- */

static void write_total(request_rec *r, const char *name, const char *title,
                        const char *value, int is_alarm)
{
    ap_rvputs(r, "<div", title ? " title=\"" : "", title ? title : "",
              title ? "\"" : "", "><dt>", name, "</dt><dd",
              is_alarm ? " class=\"alarm\">" : ">", value, "</dd></div>\n",
              NULL);
}

void html_totals(request_rec *r, const status_report *report)
{
    const status_totals *sum = &report->totals;
    apr_pool_t *p = r->pool;

    ap_rputs("<section aria-label=\"Totals\"><dl id=\"totals\">\n", r);
    if (report->live.status == APR_SUCCESS) {
        write_total(r, "MPTCP connections", NULL,
                    html_count(p, report->live.connections->nelts), 0);
        write_total(r, "subflows", STATUS_MEANS_SUBFLOW,
                    html_count(p, report->live.subflows), 0);
        write_total(r, "stalled", STATUS_MEANS_STALLED,
                    html_count(p, sum->stalled), sum->stalled > 0);
        ap_rprintf(r, "<div><dt>rate</dt><dd data-key=\"all\" data-bytes=\"%"
                   APR_UINT64_T_FMT "\">%s</dd></div>\n",
                   sum->bytes,
                   html_rate(p, sum->rate));
        write_total(r, "resent", STATUS_MEANS_RESENT,
                    html_percent(p, sum->resent, sum->sent), 0);
        write_total(r, "plain TCP connections", NULL,
                    html_count(p, report->live.tcp), 0);
    }
    if (sum->accepted > 0) {
        write_total(r, "of accepted are MPTCP", "of the connections that "
                    "were accepted since counting began, without those that "
                    "asked for this page",
                    apr_psprintf(p, "%.0f %%", 100.0 * sum->accepted_mptcp
                                               / sum->accepted), 0);
    }
    if (report->listeners->nelts) {
        write_total(r, "joins", STATUS_MEANS_JOINS,
                    html_count(p, sum->joins), 0);
    }
    ap_rputs("</dl></section>\n", r);
}

/* ---- paths -------------------------------------------------------------- */

static const html_column path_columns[] = {
    { "path", "path", STATUS_MEANS_PATH },
    { "link", "link", NULL },
    { "subflows", "number", STATUS_MEANS_SUBFLOW },
    { "stalled", "number", STATUS_MEANS_STALLED },
    { "rate", "number", "sent and received" },
    { "share", "share", STATUS_MEANS_SHARE },
    { "RTT median", "number", "of its subflows" },
    { "worst", "number", "the longest RTT of its subflows" },
    { "resent", "number", STATUS_MEANS_RESENT },
    { "last 5 minutes", "spark", "the rate, as this page has seen it" },
    { NULL, NULL, NULL }
};

static void write_rtt(request_rec *r, const char *label, apr_uint32_t rtt)
{
    if (rtt) {
        ap_rprintf(r, "<td class=\"number\" data-label=\"%s\">%.1f ms</td>",
                   label, rtt / 1000.0);
    }
    else {
        ap_rprintf(r, "<td class=\"number\" data-label=\"%s\">\xe2\x80\x93"
                   "</td>", label);
    }
}

static void write_path(request_rec *r, const status_report *report,
                       const status_path *path, apr_uint64_t group_bytes)
{
    const apr_uint64_t bytes = path->bytes_sent + path->bytes_received;
    const double share = group_bytes ? 100.0 * bytes / group_bytes : 0;
    const char *group = path->is_backend ? "backends" : "clients";
    char address[STATUS_ADDRESS_LEN];

    status_address_text(&path->local, address);
    ap_rprintf(r, "<tr data-id=\"%s %s\"><th scope=\"row\">", group, address);
    html_path(r, report, &path->local, path->interface);
    ap_rprintf(r, " <span class=\"address\">%s</span></th>"
               "<td data-label=\"link\">%s</td>", address,
               !path->interface ? "<b class=\"alarm\">no interface</b>"
               : path->is_down ? "<b class=\"alarm\">down</b>" : "up");
    ap_rprintf(r, "<td class=\"number\" data-label=\"subflows\">%s</td>"
               "<td class=\"number\" data-label=\"stalled\">%s%s%s</td>",
               html_count(r->pool, path->subflows),
               path->stalled ? "<b class=\"alarm\">" : "",
               html_count(r->pool, path->stalled),
               path->stalled ? "</b>" : "");
    ap_rprintf(r, "<td class=\"number\" data-label=\"rate\" data-line "
               "data-key=\"%s %s\" data-bytes=\"%" APR_UINT64_T_FMT "\" "
               "data-rate=\"%" APR_UINT64_T_FMT "\">%s</td>", group, address,
               bytes, path->rate, html_rate(r->pool, path->rate));
    ap_rprintf(r, "<td class=\"share\" data-label=\"share\"><svg class=\"bar\""
               " viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" "
               "aria-hidden=\"true\"><rect class=\"rest\" x=\"0\" y=\"0\" "
               "width=\"100\" height=\"8\"/><rect class=\"p%d\" x=\"0\" "
               "y=\"0\" width=\"%.2f\" height=\"8\"/></svg>%.0f %%</td>",
               path->colour, share, share);
    write_rtt(r, "RTT", path->rtt_median);
    write_rtt(r, "worst", path->rtt_worst);
    ap_rprintf(r, "<td class=\"number\" data-label=\"resent\">%s</td>"
               "<td class=\"spark\" data-of=\"%s %s\"><svg "
               "viewBox=\"0 0 100 20\" preserveAspectRatio=\"none\" "
               "role=\"img\"><title></title><polyline class=\"p%d\"/></svg>"
               "</td></tr>\n",
               html_percent(r->pool, path->resent, path->sent), group,
               address, path->colour);
}

static void write_group(request_rec *r, const status_report *report,
                        int is_backend)
{
    apr_uint64_t bytes = 0;
    int count = 0, i;

    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);

        if (path->is_backend == is_backend) {
            bytes += path->bytes_sent + path->bytes_received;
            count++;
        }
    }
    if (count == 0) {
        return;
    }
    ap_rprintf(r, "<tbody id=\"%s\"><tr class=\"group\"><th colspan=\"10\" "
               "scope=\"rowgroup\">%s</th></tr>\n",
               is_backend ? "to-backends" : "to-clients",
               is_backend ? "to backends" : "to clients");
    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);

        if (path->is_backend == is_backend) {
            write_path(r, report, path, bytes);
        }
    }
    ap_rputs("</tbody>\n", r);
}

void html_paths(request_rec *r, const status_report *report)
{
    if (report->path_list->nelts == 0) {
        return;
    }
    ap_rputs("<section id=\"paths\"><h2>Paths</h2>\n", r);
    html_begin_table(r, "paths", path_columns);
    write_group(r, report, 0);
    write_group(r, report, 1);
    ap_rputs("</table></section>\n", r);
}
