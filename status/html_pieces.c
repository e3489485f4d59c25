/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the parts of the status page are made of: values in words, and what is
 * the same in more than one of them.
 */

#include "status/html.h"

#include "http_protocol.h"

/* ---- values in words ---------------------------------------------------- */

const char *html_text(request_rec *r, const char *text)
{
    return ap_escape_html(r->pool, status_utf8(r->pool, text));
}

static const char *scaled(apr_pool_t *p, double number, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P" };
    int i = 0;

    while (number >= 999.95 && i < 5) {
        number /= 1000;
        i++;
    }
    return apr_psprintf(p, i && number < 99.95 ? "%.1f %s%s" : "%.0f %s%s",
                        number, prefixes[i], unit);
}

const char *html_rate(apr_pool_t *p, apr_uint64_t bytes_a_second)
{
    return scaled(p, bytes_a_second * 8.0, "bit/s");
}

const char *html_bytes(apr_pool_t *p, apr_uint64_t bytes)
{
    return scaled(p, (double)bytes, "B");
}

const char *html_count(apr_pool_t *p, apr_uint64_t number)
{
    const char *digits = apr_psprintf(p, "%" APR_UINT64_T_FMT, number);
    apr_size_t length = strlen(digits), i;
    char *text = apr_palloc(p, length + length / 3 + 1), *to = text;

    for (i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *html_span(apr_pool_t *p, apr_interval_time_t time)
{
    const apr_int64_t s = apr_time_sec(time > 0 ? time : 0);

    return s < 120 ? apr_psprintf(p, "%d s", (int)s)
         : s < 2 * 3600 ? apr_psprintf(p, "%d min", (int)(s / 60))
         : s < 48 * 3600 ? apr_psprintf(p, "%d h", (int)(s / 3600))
         : apr_psprintf(p, "%" APR_INT64_T_FMT " d", s / 86400);
}

const char *html_percent(apr_pool_t *p, apr_uint64_t part, apr_uint64_t all)
{
    const double percent = all ? 100.0 * part / all : 0;

    return apr_psprintf(p, percent == 0 ? "%.0f %%"
                           : percent < 0.005 ? "&lt; 0.01 %%"
                           : percent < 9.995 ? "%.2f %%" : "%.0f %%",
                        percent);
}

/* ---- what is counted ---------------------------------------------------- */

int html_is_used(const mptcp_counts *counts)
{
    return counts->mptcp || counts->fallback || counts->tcp;
}

int html_is_of_interest(const mptcp_counted *one, const mptcp_counts *counts)
{
    return strcmp(one->name, MPTCP_COUNTER_OTHER) != 0
           || html_is_used(counts);
}

/* ---- tables, paths and links -------------------------------------------- */

void html_begin_table(request_rec *r, const char *class,
                      const html_column *columns)
{
    const html_column *column;

    ap_rvputs(r, "<table class=\"", class, "\"><colgroup>", NULL);
    for (column = columns; column->heading; column++) {
        ap_rvputs(r, "<col class=\"c-", column->class, "\">", NULL);
    }
    ap_rputs("</colgroup><thead><tr>", r);
    for (column = columns; column->heading; column++) {
        ap_rvputs(r, "<th scope=\"col\" class=\"", column->class, "\"", NULL);
        if (column->title) {
            ap_rvputs(r, " title=\"", column->title, "\"", NULL);
        }
        ap_rvputs(r, ">", column->heading, "</th>", NULL);
    }
    ap_rputs("</tr></thead>\n", r);
}

int html_colour(const status_report *report, const mptcp_end *local)
{
    const status_path *path = status_path_at(report, local);

    return path ? path->colour : 0;
}

void html_path(request_rec *r, const status_report *report,
               const mptcp_end *local, const char *interface)
{
    ap_rprintf(r, "<svg class=\"dot\" viewBox=\"0 0 10 10\" "
               "aria-hidden=\"true\"><circle class=\"p%d\" cx=\"5\" cy=\"5\" "
               "r=\"5\"/></svg>%s", html_colour(report, local),
               interface ? html_text(r, interface) : "?");
}

const char *html_link(request_rec *r, const status_report *report, int sort,
                      int limit)
{
    const char *link = apr_psprintf(r->pool, "?sort=%s&limit=%d",
                                    status_sort_names[sort], limit);

    if (report->query->client) {
        link = apr_pstrcat(r->pool, link, "&client=",
                           ap_escape_urlencoded(r->pool,
                                                report->query->client), NULL);
    }
    if (report->query->at) {
        link = apr_pstrcat(r->pool, link, "&at=",
                           ap_escape_urlencoded(r->pool, report->query->at),
                           NULL);
    }
    return ap_escape_html(r->pool, link);
}
