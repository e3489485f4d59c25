/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as a page for people, and what goes with it: a style sheet and a
 * script, from the directory page/, served by the same handler.  Nothing is
 * inline and nothing comes from elsewhere, which Content-Security-Policy makes
 * sure of: a value that got through unescaped could still run nothing.
 *
 * The page is complete without the script, which fetches it anew now and then
 * and takes over what has changed (page/status.js says how).
 */

#include "status/status.h"
#include "paths/paths.h"

#include "apr_md5.h"
#include "http_protocol.h"

/* Made of page/ by the Makefile. */
static const char style[] = {
#include "status/page/status.css.inc"
};
static const char script[] = {
#include "status/page/status.js.inc"
};

/* How often the page is asked for again by a browser without scripts, in s. */
#define REFRESH "5"

/* How many colours the style sheet has for paths. */
#define COLOURS 6

/* ---- pieces ------------------------------------------------------------- */

static const char *html(request_rec *r, const char *text)
{
    return ap_escape_html(r->pool, text);
}

/* A number with a unit: three figures or so. */
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

static const char *rate_text(apr_pool_t *p, apr_uint64_t bytes_a_second)
{
    return scaled(p, bytes_a_second * 8.0, "bit/s");
}

static const char *bytes_text(apr_pool_t *p, apr_uint64_t bytes)
{
    return scaled(p, (double)bytes, "B");
}

/* The opening of a table with a heading for each column. */
static void begin_table(request_rec *r, const char *class,
                        const char *const *headings)
{
    ap_rvputs(r, "<table class=\"", class, "\"><thead><tr>", NULL);
    for (; *headings; headings++) {
        ap_rvputs(r, "<th scope=\"col\">", *headings, "</th>", NULL);
    }
    ap_rputs("</tr></thead><tbody>\n", r);
}

static void end_table(request_rec *r)
{
    ap_rputs("</tbody></table>\n", r);
}

/* A worker of no name in the configuration is shown once there was one. */
static int is_of_interest(const mptcp_counted *one, const mptcp_counts *counts)
{
    return strcmp(one->name, MPTCP_COUNTER_OTHER) != 0
           || counts->mptcp || counts->fallback || counts->tcp;
}

/* ---- what is configured ------------------------------------------------- */

static void write_obstacles(request_rec *r, const status_report *report)
{
    int i;

    if (report->obstacles->nelts == 0) {
        return;
    }
    ap_rputs("<section id=\"obstacles\"><h2>What stands in the way</h2><ul>\n",
             r);
    for (i = 0; i < report->obstacles->nelts; i++) {
        ap_rvputs(r, "<li>",
                  html(r, APR_ARRAY_IDX(report->obstacles, i, const char *)),
                  "</li>\n", NULL);
    }
    ap_rputs("</ul></section>\n", r);
}

/* Only a listener has joins, and may serve by TCP though it is shown here. */
static void write_counts(request_rec *r, const apr_array_header_t *list,
                         const char *const *headings, int is_listener)
{
    int i, column;

    begin_table(r, "counts", headings);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        if (!is_of_interest(one, &counts)) {
            continue;
        }
        ap_rvputs(r, "<tr><th scope=\"row\">", html(r, one->name),
                  is_listener && !one->is_mptcp
                  ? " <span class=\"badge bad\">TCP</span></th>" : "</th>",
                  NULL);
        for (column = 1; headings[column]; column++) {
            const apr_uint64_t cells[] = {
                counts.mptcp, counts.fallback, counts.tcp, counts.joins
            };

            ap_rprintf(r, "<td class=\"number\" data-label=\"%s\">%"
                       APR_UINT64_T_FMT "</td>", headings[column],
                       cells[column - 1]);
        }
        ap_rputs("</tr>\n", r);
    }
    end_table(r);
    ap_rputs("</section>\n", r);
}

static void write_listeners(request_rec *r, const apr_array_header_t *list)
{
    static const char *const headings[] = {
        "Listener", "MPTCP", "fell back", "plain TCP", "joins", NULL
    };

    if (list->nelts) {
        ap_rputs("<section id=\"listeners\"><h2>Listeners</h2>"
                 "<p class=\"hint\">connections accepted; joins are known "
                 "when they end</p>\n", r);
        write_counts(r, list, headings, 1);
    }
}

static void write_workers(request_rec *r, const apr_array_header_t *list)
{
    static const char *const headings[] = {
        "Backend", "MPTCP", "fell back", "plain TCP", NULL
    };

    if (list->nelts) {
        ap_rputs("<section id=\"workers\"><h2>Backends</h2>"
                 "<p class=\"hint\">connections made</p>\n", r);
        write_counts(r, list, headings, 0);
    }
}

static void write_limit(request_rec *r, const status_report *report,
                        int limit, const char *name)
{
    ap_rprintf(r, "<li><b>%d</b> %s <span class=\"by\">%s</span></li>\n",
               report->paths->limits.value[limit], name,
               status_limit_is_ours(report, limit) ? "by MPTCPLimits"
                                                   : "by the system");
}

static void write_paths(request_rec *r, const status_report *report)
{
    const apr_array_header_t *list;
    int i;

    if (!report->paths) {
        return;
    }
    list = report->paths->endpoints;
    ap_rputs("<section id=\"paths\"><h2>Path manager</h2>\n"
             "<h3>Limits</h3><ul>\n", r);
    write_limit(r, report, MPTCP_LIMIT_SUBFLOWS, "more subflows a connection");
    write_limit(r, report, MPTCP_LIMIT_ADD_ADDR_ACCEPTED,
                "announced addresses accepted");
    ap_rputs("</ul>\n<h3>Endpoints</h3>\n", r);
    ap_rputs(list->nelts ? "<ul>\n" : "<p>none</p>\n", r);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(list, i, mptcp_endpoint);

        ap_rvputs(r, "<li>", html(r, mptcp_endpoint_text(r->pool, ep, NULL)),
                  " <span class=\"by\">",
                  mptcp_endpoint_is_ours(report->s->process, ep)
                  ? "by MPTCPEndpoint" : "by the system", "</span></li>\n",
                  NULL);
    }
    ap_rputs(list->nelts ? "</ul></section>\n" : "</section>\n", r);
}

/* ---- live connections --------------------------------------------------- */

/* A path has its colour by its local address, on the whole page. */
static int colour_of(request_rec *r, apr_hash_t *colours, const mptcp_end *end)
{
    int *colour = apr_hash_get(colours, end->address, sizeof(end->address));

    if (!colour) {
        colour = apr_palloc(r->pool, sizeof(*colour));
        *colour = apr_hash_count(colours) % COLOURS;
        apr_hash_set(colours, end->address, sizeof(end->address), colour);
    }
    return *colour;
}

static apr_uint64_t subflow_bytes(const status_subflow *s)
{
    return s->socket.bytes_sent + s->socket.bytes_received;
}

static double share_of(const status_connection *c, const status_subflow *s)
{
    return c->bytes ? 100.0 * subflow_bytes(s) / c->bytes : 0;
}

/* A bar of the subflows' shares of the bytes. */
static void write_bar(request_rec *r, apr_hash_t *colours,
                      const status_connection *c)
{
    const status_subflow *s;
    double x = 0;

    ap_rputs("<svg class=\"bar\" viewBox=\"0 0 100 4\" "
             "preserveAspectRatio=\"none\" aria-hidden=\"true\">", r);
    for (s = c->subflows; s; s = s->next) {
        double share = share_of(c, s);

        ap_rprintf(r, "<rect class=\"p%d%s\" x=\"%.2f\" y=\"0\" "
                   "width=\"%.2f\" height=\"4\"/>",
                   colour_of(r, colours, &s->socket.local),
                   s->socket.stalled || s->interface_down ? " dim" : "", x,
                   share);
        x += share;
    }
    ap_rputs("</svg>\n", r);
}

static void badge(request_rec *r, const char *class, const char *text)
{
    ap_rvputs(r, " <span class=\"badge ", class, "\">", text, "</span>",
              NULL);
}

static void write_subflow(request_rec *r, apr_hash_t *colours,
                          const status_connection *c, const status_subflow *s)
{
    char local[STATUS_ADDRESS_LEN], remote[STATUS_ADDRESS_LEN];

    status_end_text(&s->socket.local, local);
    status_end_text(&s->socket.remote, remote);
    ap_rprintf(r, "<tr data-id=\"%s-%s\"><th scope=\"row\">"
               "<svg class=\"dot\" viewBox=\"0 0 10 10\" aria-hidden=\"true\">"
               "<circle class=\"p%d\" cx=\"5\" cy=\"5\" r=\"5\"/></svg>%s",
               local, remote, colour_of(r, colours, &s->socket.local),
               s->interface ? html(r, s->interface) : "?");
    if (s->interface_down) {
        badge(r, "bad", "down");
    }
    if (s->socket.stalled) {
        badge(r, "bad", "stalled");
    }
    if (s->socket.backup_local || s->socket.backup_remote) {
        badge(r, "", "backup");
    }
    if (strcmp(s->socket.state, "established") != 0) {
        badge(r, "", s->socket.state);
    }
    ap_rprintf(r, "</th><td data-label=\"local\">%s</td>"
               "<td data-label=\"remote\">%s</td>"
               "<td class=\"number\" data-label=\"RTT\">%.1f ms</td>",
               local, remote, s->socket.rtt / 1000.0);
    ap_rprintf(r, "<td class=\"number\" data-label=\"rate\" "
               "data-key=\"%x %s %s\" data-bytes=\"%" APR_UINT64_T_FMT
               "\">%s</td>", c->reading.info.token, local, remote,
               subflow_bytes(s), rate_text(r->pool, s->socket.rate));
    ap_rprintf(r, "<td class=\"number\" data-label=\"share\">%.0f %%</td>"
               "<td class=\"number\" data-label=\"bytes\">%s</td>"
               "<td class=\"number\" data-label=\"resent\">%u</td></tr>\n",
               share_of(c, s), bytes_text(r->pool, subflow_bytes(s)),
               s->socket.retrans);
}

static void write_connection(request_rec *r, apr_hash_t *colours,
                             const status_connection *c)
{
    static const char *const headings[] = {
        "interface", "local", "remote", "RTT", "rate", "share", "bytes",
        "resent", NULL
    };
    char text[STATUS_ADDRESS_LEN];
    const status_subflow *s;

    ap_rprintf(r, "<article data-id=\"%x\"><h3><span>%s %s</span> "
               "<span class=\"of\">%s %s</span>",
               c->reading.info.token, c->worker ? "to" : "from",
               status_end_text(&c->remote, text), c->worker ? "for" : "at",
               html(r, c->worker ? c->worker->name : c->listener->name));
    if (c->reading.state == MPTCP_STATE_FALLBACK) {
        badge(r, "bad", "fell back to TCP");
    }
    if (strcmp(c->state, "established") != 0) {
        badge(r, "", c->state);
    }
    ap_rprintf(r, "<span class=\"rate\" data-key=\"%x\" data-bytes=\"%"
               APR_UINT64_T_FMT "\">%s</span></h3>\n", c->reading.info.token,
               c->bytes, rate_text(r->pool, c->rate));
    if (c->subflows) {
        write_bar(r, colours, c);
        begin_table(r, "subflows", headings);
        for (s = c->subflows; s; s = s->next) {
            write_subflow(r, colours, c, s);
        }
        end_table(r);
    }
    ap_rputs("</article>\n", r);
}

static void write_orders(request_rec *r, const status_report *report)
{
    static const char *const labels[STATUS_SORTS] = {
        "rate", "resent", "subflows"
    };
    int i;

    ap_rputs("<nav>by", r);
    for (i = 0; i < STATUS_SORTS; i++) {
        ap_rprintf(r, " <a href=\"?sort=%s&amp;limit=%d\"%s>%s</a>",
                   status_sort_names[i], report->limit,
                   i == report->sort ? " aria-current=\"true\"" : "",
                   labels[i]);
    }
    ap_rputs("</nav>\n", r);
}

static void write_live(request_rec *r, const status_report *report)
{
    apr_hash_t *colours = apr_hash_make(r->pool);
    const status_live *found = &report->live;
    int shown = status_shown(report), i;

    ap_rputs("<section id=\"live\"><h2>Live connections</h2>\n", r);
    if (found->status != APR_SUCCESS) {
        ap_rvputs(r, "<p>Not known, because ",
                  html(r, status_live_refusal_text(r->pool, found->status)),
                  "</p></section>\n", NULL);
        return;
    }
    if (found->connections->nelts > 1) {
        write_orders(r, report);
    }
    if (found->incomplete) {
        ap_rputs("<p class=\"more\">There are more than could be read in "
                 "time.</p>\n", r);
    }
    if (found->hides_backup) {
        ap_rputs("<p class=\"more\">Which paths are backup is not known: "
                 "this kernel tells that to CAP_NET_ADMIN alone.</p>\n", r);
    }
    for (i = 0; i < shown; i++) {
        write_connection(r, colours, APR_ARRAY_IDX(found->connections, i,
                                                   status_connection *));
    }
    if (shown < found->connections->nelts) {
        ap_rprintf(r, "<p class=\"more\">%d more are not shown: "
                   "<a href=\"?sort=%s&amp;limit=%d\">show %d</a></p>\n",
                   found->connections->nelts - shown,
                   status_sort_names[report->sort],
                   report->limit ? 10 * report->limit : 100,
                   report->limit ? 10 * report->limit : 100);
    }
    else if (shown == 0) {
        ap_rputs("<p class=\"more\">None at this moment.</p>\n", r);
    }
    ap_rputs("</section>\n", r);
}

/* ---- the page ----------------------------------------------------------- */

static void write_tile(request_rec *r, apr_uint64_t number, const char *what)
{
    ap_rprintf(r, "<li><b>%" APR_UINT64_T_FMT "</b> %s</li>\n", number, what);
}

static void write_summary(request_rec *r, const status_report *report)
{
    apr_uint64_t mptcp = 0, tcp = 0;
    int i;

    for (i = 0; i < report->listeners->nelts; i++) {
        mptcp_counts counts;

        mptcp_counts_get(&APR_ARRAY_IDX(report->listeners, i, mptcp_counted),
                         &counts);
        mptcp += counts.mptcp;
        tcp += counts.tcp;
    }
    ap_rputs("<ul id=\"summary\">\n", r);
    if (report->live.status == APR_SUCCESS) {
        write_tile(r, report->live.connections->nelts,
                   "live MPTCP connections");
        write_tile(r, report->live.subflows, "subflows of these");
        write_tile(r, report->live.tcp, "live connections by plain TCP");
    }
    if (mptcp + tcp > 0) {
        ap_rprintf(r, "<li><b>%.0f %%</b> of accepted connections are MPTCP"
                   "</li>\n", 100.0 * mptcp / (mptcp + tcp));
    }
    ap_rputs("</ul>\n", r);
}

static void write_head(request_rec *r, const status_report *report)
{
    static const char *const states[] = { "not used", "refused", "on" };
    const char *state = states[report->state];

    ap_rvputs(r, "<!DOCTYPE html>\n<html lang=\"en\"><head>\n"
              "<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" "
              "content=\"width=device-width, initial-scale=1\">\n"
              "<meta name=\"color-scheme\" content=\"light dark\">\n"
              "<noscript><meta http-equiv=\"refresh\" content=\"" REFRESH "\">"
              "</noscript>\n"
              "<title>MPTCP ", state, ": ", html(r, ap_get_server_name(r)),
              "</title>\n"
              "<link rel=\"icon\" href=\"data:,\">\n"
              "<link rel=\"stylesheet\" href=\"?style\">\n"
              "<script src=\"?script\" defer></script>\n"
              "</head><body>\n", NULL);
    ap_rprintf(r, "<header><h1>Multipath TCP <span class=\"state %s\">%s"
               "</span></h1>\n<p class=\"host\">%s</p>"
               "<p id=\"refresh\" role=\"status\"></p></header>\n",
               status_state_text(report->state), state,
               html(r, ap_get_server_name(r)));
}

static void write_foot(request_rec *r, const status_report *report)
{
    char since[APR_RFC822_DATE_LEN], now[APR_RFC822_DATE_LEN];

    apr_rfc822_date(now, report->now);
    ap_rvputs(r, "<footer><p>", html(r, ap_get_server_banner()), ", ", now,
              NULL);
    if (mptcp_counted_since()) {
        apr_rfc822_date(since, mptcp_counted_since());
        ap_rvputs(r, "; counting since ", since, NULL);
    }
    ap_rprintf(r, "; live connections read in %.1f ms</p>\n"
               "<p>This as <a href=\"?json\">JSON</a>, "
               "<a href=\"?openmetrics\">OpenMetrics</a></p></footer>\n",
               report->live.took / 1000.0);
}

void status_html(request_rec *r, const status_report *report)
{
    ap_set_content_type(r, "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   "default-src 'none'; script-src 'self'; style-src 'self'; "
                   "connect-src 'self'; img-src data:; base-uri 'none'; "
                   "form-action 'none'; frame-ancestors 'self'");
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    write_head(r, report);
    ap_rprintf(r, "<main data-time=\"%" APR_TIME_T_FMT "\">\n",
               apr_time_as_msec(report->now));
    write_summary(r, report);
    write_obstacles(r, report);
    ap_rputs("<div id=\"configured\">\n", r);
    write_listeners(r, report->listeners);
    write_workers(r, report->workers);
    write_paths(r, report);
    ap_rputs("</div>\n", r);
    write_live(r, report);
    write_foot(r, report);
    ap_rputs("</main></body></html>\n", r);
}

/* A browser keeps it, and asks whether it is still the same. */
int status_asset(request_rec *r, int is_script)
{
    const char *body = is_script ? script : style;
    const apr_size_t length = is_script ? sizeof(script) : sizeof(style);
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

/* ---- mod_status --------------------------------------------------------- */

static void section_table(request_rec *r, const char *heading,
                          const apr_array_header_t *list, int has_joins)
{
    int i;

    if (list->nelts == 0) {
        return;
    }
    ap_rvputs(r, "<table border=\"0\"><tr><th>", heading, "</th><th>MPTCP</th>"
              "<th>Fallback</th><th>TCP</th>",
              has_joins ? "<th>Joins</th>" : "", "</tr>\n", NULL);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);
        mptcp_counts counts;

        mptcp_counts_get(one, &counts);
        if (!is_of_interest(one, &counts)) {
            continue;
        }
        ap_rprintf(r, "<tr><td>%s</td><td>%" APR_UINT64_T_FMT "</td><td>%"
                   APR_UINT64_T_FMT "</td><td>%" APR_UINT64_T_FMT "</td>",
                   html(r, one->name), counts.mptcp, counts.fallback,
                   counts.tcp);
        if (has_joins) {
            ap_rprintf(r, "<td>%" APR_UINT64_T_FMT "</td>", counts.joins);
        }
        ap_rputs("</tr>\n", r);
    }
    ap_rputs("</table>\n", r);
}

void status_html_section(request_rec *r)
{
    ap_rputs("<hr />\n<h1>Multipath TCP</h1>\n", r);
    section_table(r, "Listener", mptcp_counted_all(MPTCP_COUNTER_LISTENER), 1);
    section_table(r, "Backend", mptcp_counted_all(MPTCP_COUNTER_WORKER), 0);
}
