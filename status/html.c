/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as a page for people, and what goes with it: a style sheet and a
 * script, from the directory page/, served by the same handler.  Nothing is
 * inline and nothing comes from elsewhere, which Content-Security-Policy makes
 * sure of: a value that got through unescaped could still run nothing.
 *
 * The first screen says whether anything is wrong, where, and since when: in
 * the heading, the title and the icon, too.  Then come totals, a line for each
 * path (html_paths.c), one for each connection (html_connections.c), and what
 * is configured (html_configured.c); all of them are made of html_pieces.c.
 *
 * The page is complete without the script, which fetches it anew now and then
 * and takes over what has changed (page/status.js says how).
 */

#include "status/html.h"

#include "apr_md5.h"
#include "http_protocol.h"

/* Made of page/ by the Makefile. */
static const char style_sheet[] = {
#include "status/page/status.css.inc"
};
static const char script[] = {
#include "status/page/status.js.inc"
};

/* How often the page is asked for again by a browser without scripts, in s. */
#define REFRESH "5"

/* ---- is anything wrong -------------------------------------------------- */

/*
 * How well it is: in words, in a colour, and, for those who see no colours,
 * in a shape.  The icon's are without a #, which ends a URL.
 */
typedef struct {
    const char *class;
    const char *mark;
    const char *icon;
} level_look;

#define MARK(path) \
    "<svg class=\"mark\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">" \
    "<path d=\"" path "\"/></svg> "
#define ICON(shape, stroke, path) \
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' " \
    "viewBox='0 0 16 16'%3E" shape "%3Cpath d='" path "' fill='none' " \
    "stroke='" stroke "' stroke-width='2'/%3E%3C/svg%3E"

static const level_look level_looks[] = {
    [STATUS_OFF] = { "off", "",
        ICON("", "gray", "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0") },
    [STATUS_GOOD] = { "good", MARK("M2 8.5l4 4 8-9"),
        ICON("%3Ccircle cx='8' cy='8' r='8' fill='rgb(22,107,55)'/%3E",
             "white", "M4 8.5l3 3 5-6.5") },
    [STATUS_WARN] = { "warn", MARK("M8 2v7M8 13v.5"),
        ICON("%3Cpath d='M8 0l8 15.5H0z' fill='rgb(240,170,30)'/%3E",
             "black", "M8 5v5.5M8 12v1.5") },
    [STATUS_BAD] = { "bad", MARK("M3 3l10 10M13 3l-10 10"),
        ICON("%3Cpath d='M5 0h6l5 5v6l-5 5H5l-5-5V5z' "
             "fill='rgb(179,38,30)'/%3E", "white", "M5 5l6 6M11 5l-6 6") }
};

/* "link down", and how much else. */
static const char *level_words(apr_pool_t *p, const status_report *report)
{
    const int count = report->troubles->nelts;
    const char *first;

    if (report->state == STATUS_UNUSED) {
        return "not used";
    }
    if (count == 0) {
        return "on";
    }
    first = status_kind_text(APR_ARRAY_IDX(report->troubles, 0,
                                           status_trouble).kind);
    return count == 1 ? first : apr_psprintf(p, "%s +%d", first, count - 1);
}

static void write_head(request_rec *r, const status_report *report)
{
    const level_look *look = &level_looks[report->level];
    const char *words = level_words(r->pool, report);
    const char *host = html_text(r, report->host);

    ap_rvputs(r, "<!DOCTYPE html>\n<html lang=\"en\"><head>\n"
              "<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" "
              "content=\"width=device-width, initial-scale=1\">\n"
              "<meta name=\"color-scheme\" content=\"light dark\">\n"
              "<noscript><meta http-equiv=\"refresh\" content=\"" REFRESH "\">"
              "</noscript>\n"
              "<title>", words, ": MPTCP at ", host, "</title>\n"
              "<link rel=\"icon\" href=\"", look->icon, "\">\n"
              "<link rel=\"stylesheet\" href=\"?style\">\n"
              "<script src=\"?script\" defer></script>\n"
              "</head><body>\n", NULL);
    ap_rvputs(r, "<header><h1>Multipath TCP <span class=\"state ",
              look->class, "\">", look->mark, words, "</span></h1>\n"
              "<p class=\"host\"><b>", host, "</b>, ",
              html_text(r, report->system), ", up ",
              html_span(r->pool, report->up), "; ",
              html_text(r, ap_get_server_banner()),
              ", mod_mptcp " MPTCP_VERSION ", started ",
              html_span(r->pool, report->now - report->started), " ago</p>\n"
              "<p id=\"refresh\" role=\"status\"></p></header>\n", NULL);
}

/* ---- the page ----------------------------------------------------------- */

/* What the words mean, for those who have no pointer to see titles by. */
static void write_words(request_rec *r)
{
    ap_rputs("<details data-id=\"words\"><summary>What the words mean"
             "</summary><dl>\n"
             "<dt>path</dt><dd>" STATUS_MEANS_PATH "</dd>\n"
             "<dt>subflow</dt><dd>" STATUS_MEANS_SUBFLOW "</dd>\n"
             "<dt>joins</dt><dd>" STATUS_MEANS_JOINS "</dd>\n"
             "<dt>share</dt><dd>" STATUS_MEANS_SHARE "</dd>\n"
             "<dt>stalled</dt><dd>" STATUS_MEANS_STALLED "</dd>\n"
             "<dt>resent</dt><dd>" STATUS_MEANS_RESENT "</dd>\n"
             "<dt>fell back</dt><dd>" STATUS_MEANS_FALLBACK "</dd>\n"
             "</dl></details>\n", r);
}

static void write_foot(request_rec *r, const status_report *report)
{
    char since[APR_RFC822_DATE_LEN], now[APR_RFC822_DATE_LEN];

    apr_rfc822_date(now, report->now);
    ap_rputs("<footer>\n", r);
    write_words(r);
    ap_rvputs(r, "<p>", now, NULL);
    if (mptcp_counted_since()) {
        apr_rfc822_date(since, mptcp_counted_since());
        ap_rvputs(r, "; counting since ", since, NULL);
    }
    ap_rprintf(r, "; connections read in %.1f ms; the same as "
               "<a href=\"?json\">JSON</a>, "
               "<a href=\"?openmetrics\">OpenMetrics</a></p></footer>\n",
               report->live.took / 1000.0);
}

void status_html(request_rec *r, const status_report *report)
{
    ap_set_content_type(r, "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   "default-src 'none'; script-src 'self'; style-src 'self'; "
                   "connect-src 'self'; img-src data:; base-uri 'none'; "
                   "form-action 'self'; frame-ancestors 'self'");
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    write_head(r, report);
    ap_rprintf(r, "<main data-time=\"%" APR_TIME_T_FMT "\">\n",
               apr_time_as_msec(report->now));
    html_troubles(r, report);
    html_totals(r, report);
    html_paths(r, report);
    html_connections(r, report);
    html_configured(r, report);
    write_foot(r, report);
    ap_rputs("</main></body></html>\n", r);
}

/* A browser keeps it, and asks whether it is still the same. */
int status_asset(request_rec *r, int is_script)
{
    const char *body = is_script ? script : style_sheet;
    const apr_size_t length = is_script ? sizeof(script) : sizeof(style_sheet);
    unsigned char digest[APR_MD5_DIGESTSIZE];
    char hex[2 * sizeof(digest) + 1];
    int rc;

    apr_md5(digest, body, length);
    ap_bin2hex(digest, sizeof(digest), hex);
    apr_table_setn(r->headers_out, "ETag",
                   apr_pstrcat(r->pool, "\"", hex, "\"", NULL));
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache");
    rc = ap_meets_conditions(r);
    if (rc != OK) {
        return rc;
    }
    ap_set_content_type(r, is_script ? "text/javascript; charset=utf-8"
                                     : "text/css; charset=utf-8");
    ap_set_content_length(r, length);
    ap_rwrite(body, (int)length, r);
    return OK;
}
