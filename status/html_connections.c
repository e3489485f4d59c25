/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The connections on the status page: a line each, in one table, so that the
 * columns and bars stand below each other; a connection's subflows are rows of
 * the same columns, which its <details> shows.
 */

#include "status/html.h"

#include "http_protocol.h"

#include <stdlib.h>

/* With fewer connections than these, idle ones are not folded away. */
#define FOLD_ABOVE 20

static const struct {
    const char *heading;
    const char *class;
    int sort;                           /* by which it can be ordered, or -1 */
    const char *title;
} columns[] = {
    { "client or backend", "peer", -1, NULL },
    { "at", "at", -1, "the listener that it came to, or the worker that made "
      "it" },
    { "share of each path", "paths", -1, STATUS_MEANS_SHARE
      "; a stalled one is thin and red" },
    { "subflows", "n", STATUS_SORT_SUBFLOWS, STATUS_MEANS_SUBFLOW },
    { "rate", "rate", STATUS_SORT_RATE, "sent and received" },
    { "bytes", "bytes", -1, "sent and received by the subflows that live" },
    { "RTT", "rtt", -1, "of a connection: the longest of its subflows" },
    { "resent", "resent", STATUS_SORT_RETRANS, STATUS_MEANS_RESENT },
    { "state", "state-of", STATUS_SORT_STALLED, STATUS_MEANS_STALLED }
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void begin_rows(request_rec *r, const status_report *report)
{
    apr_size_t i;

    ap_rputs("<table class=\"rows\"><colgroup>", r);
    for (i = 0; i < COLUMNS; i++) {
        ap_rvputs(r, "<col class=\"c-", columns[i].class, "\">", NULL);
    }
    ap_rputs("</colgroup><thead><tr>", r);
    for (i = 0; i < COLUMNS; i++) {
        ap_rvputs(r, "<th scope=\"col\" class=\"", columns[i].class, "\"",
                  NULL);
        if (columns[i].sort == report->sort) {
            ap_rputs(" aria-sort=\"descending\"", r);
        }
        if (columns[i].title) {
            ap_rvputs(r, " title=\"", columns[i].title, "\"", NULL);
        }
        ap_rputs(">", r);
        if (columns[i].sort >= 0) {
            ap_rvputs(r, "<a href=\"",
                      html_link(r, report, columns[i].sort,
                                report->query->limit), "\">",
                      columns[i].heading, "</a></th>", NULL);
        }
        else {
            ap_rvputs(r, columns[i].heading, "</th>", NULL);
        }
    }
    ap_rputs("</tr></thead>\n", r);
}

/* ---- a connection ------------------------------------------------------- */

static apr_uint64_t subflow_bytes(const mptcp_socket *s)
{
    return s->bytes_sent + s->bytes_received;
}

static double share_of(const status_connection *c, const mptcp_socket *s)
{
    return c->bytes ? 100.0 * subflow_bytes(s) / c->bytes : 0;
}

/* The subflows' shares of the bytes, with a gap between them. */
static void write_bar(request_rec *r, const status_report *report,
                      const status_connection *c)
{
    const status_subflow *s;
    double x = 0;

    ap_rputs("<td class=\"paths\"><svg class=\"bar\" viewBox=\"0 0 100 8\" "
             "preserveAspectRatio=\"none\" aria-hidden=\"true\">", r);
    for (s = c->subflows; s; s = s->next) {
        const double share = share_of(c, &s->socket);
        const int is_lost = s->socket.stalled || s->interface_down;

        ap_rprintf(r, "<rect class=\"%sp%d\" x=\"%.2f\" y=\"%s\" "
                   "width=\"%.2f\" height=\"%s\"/>",
                   is_lost ? "lost " : "",
                   html_colour(report, &s->socket.local), x,
                   is_lost ? "3" : "0",
                   share > 0.5 ? share - 0.5 : share, is_lost ? "2" : "8");
        x += share;
    }
    ap_rputs("</svg></td>", r);
}

/* The cells that a connection and a subflow have in common. */
static void write_figures(request_rec *r, const char *key, const char *count,
                          apr_uint64_t bytes, apr_uint64_t rate,
                          apr_uint32_t rtt, apr_uint64_t resent,
                          apr_uint64_t sent)
{
    ap_rprintf(r, "<td class=\"n\">%s</td><td class=\"rate\" data-key=\"%s\" "
               "data-bytes=\"%" APR_UINT64_T_FMT "\">%s</td>"
               "<td class=\"bytes\">%s</td>",
               count, key, bytes, html_rate(r->pool, rate),
               html_bytes(r->pool, bytes));
    if (rtt) {
        ap_rprintf(r, "<td class=\"rtt\">%.1f ms</td>", rtt / 1000.0);
    }
    else {
        ap_rputs("<td class=\"rtt\"></td>", r);
    }
    ap_rprintf(r, "<td class=\"resent\"><span class=\"wide\">%s, </span>%s"
               "</td>", html_bytes(r->pool, resent),
               html_percent(r->pool, resent, sent));
}

static void write_subflow(request_rec *r, const status_report *report,
                          const status_connection *c,
                          const status_subflow *subflow)
{
    const mptcp_socket *s = &subflow->socket;
    char local[STATUS_ADDRESS_LEN], remote[STATUS_ADDRESS_LEN];

    status_end_text(&s->local, local);
    status_end_text(&s->remote, remote);
    ap_rprintf(r, "<tr class=\"subflow\" data-id=\"%s-%s\">"
               "<th scope=\"row\" class=\"peer\">", local, remote);
    html_path(r, report, &s->local, subflow->interface);
    if (s->backup_local || s->backup_remote) {
        ap_rputs(" <span class=\"badge\">backup</span>", r);
    }
    ap_rprintf(r, "</th><td class=\"at\">%s</td><td class=\"paths\" "
               "title=\"%s to %s\">%s \xe2\x86\x94 %s</td>",
               s->joined ? "joined" : "first", local, remote, local, remote);
    write_figures(r, apr_psprintf(r->pool, "%x %s %s",
                                  c->reading.info.token, local, remote),
                  apr_psprintf(r->pool, "%.0f %%", share_of(c, s)),
                  subflow_bytes(s), s->rate, s->rtt, s->resent, s->sent);
    ap_rputs("<td class=\"state-of\">", r);
    if (subflow->interface_down) {
        ap_rputs("<b class=\"alarm\">link down</b> ", r);
    }
    if (s->stalled) {
        ap_rvputs(r, "<b class=\"alarm\">stalled ",
                  html_span(r->pool, apr_time_from_msec(s->unheard_ms)),
                  "</b>", NULL);
    }
    else if (strcmp(s->state, "established") != 0) {
        ap_rputs(s->state, r);
    }
    ap_rputs("</td></tr>\n", r);
}

static void write_row_state(request_rec *r, const status_connection *c)
{
    ap_rputs("<td class=\"state-of\">", r);
    if (c->reading.state == MPTCP_STATE_FALLBACK) {
        ap_rputs("<b class=\"alarm\">fell back</b>", r);
    }
    else if (c->stalled) {
        ap_rprintf(r, "<b class=\"alarm\">%d stalled %s</b>", c->stalled,
                   html_span(r->pool, apr_time_from_msec(c->stalled_ms)));
    }
    else if (strcmp(c->state, "established") != 0) {
        ap_rputs(c->state, r);
    }
    else if (c->is_idle) {
        ap_rvputs(r, "idle ",
                  html_span(r->pool, apr_time_from_msec(c->idle_ms)), NULL);
    }
    ap_rputs("</td></tr>\n", r);
}

static void write_connection(request_rec *r, const status_report *report,
                             const status_connection *c)
{
    const char *at = html_text(r, status_connection_at(c));
    char remote[STATUS_ADDRESS_LEN];
    const status_subflow *s;

    status_end_text(&c->remote, remote);
    ap_rprintf(r, "<tbody data-id=\"%x\"><tr class=\"connection\">"
               "<th scope=\"row\" class=\"peer\"><details><summary>%s%s"
               "</summary></details></th><td class=\"at\" title=\"%s\">%s"
               "</td>", c->reading.info.token,
               c->worker ? "to " : "", remote, at, at);
    write_bar(r, report, c);
    write_figures(r, apr_psprintf(r->pool, "%x", c->reading.info.token),
                  apr_itoa(r->pool, c->count), c->bytes, c->rate,
                  c->rtt, c->resent, c->sent);
    write_row_state(r, c);
    for (s = c->subflows; s; s = s->next) {
        write_subflow(r, report, c, s);
    }
    ap_rputs("</tbody>\n", r);
}

/* ---- all of them -------------------------------------------------------- */

/* Those that are idle, or those that are not; stops when nobody reads on. */
static void write_rows(request_rec *r, const status_report *report,
                       int shown, int idle)
{
    int i;

    begin_rows(r, report);
    for (i = 0; i < shown && !r->connection->aborted; i++) {
        const status_connection *c = APR_ARRAY_IDX(report->matching, i,
                                                   status_connection *);

        if (idle < 0 || c->is_idle == idle) {
            write_connection(r, report, c);
        }
    }
    ap_rputs("</table>\n", r);
}

static void write_option(request_rec *r, const char *name, const char *chosen)
{
    const char *text = html_text(r, name);

    ap_rvputs(r, "<option value=\"", text, "\"",
              chosen && strcmp(name, chosen) == 0 ? " selected" : "", ">",
              text, "</option>", NULL);
}

static int by_option(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The listeners and workers that have a connection, and the one asked for. */
static void write_choice(request_rec *r, const status_report *report)
{
    const apr_array_header_t *all = report->live.connections;
    apr_hash_t *seen = apr_hash_make(r->pool);
    apr_array_header_t *names = apr_array_make(r->pool, 8, sizeof(char *));
    int i;

    for (i = report->query->at ? -1 : 0; i < all->nelts; i++) {
        const char *name = i < 0 ? report->query->at
                         : status_connection_at(APR_ARRAY_IDX(all, i,
                                                   status_connection *));

        if (!apr_hash_get(seen, name, APR_HASH_KEY_STRING)) {
            apr_hash_set(seen, name, APR_HASH_KEY_STRING, name);
            APR_ARRAY_PUSH(names, const char *) = name;
        }
    }
    qsort(names->elts, names->nelts, sizeof(char *), by_option);
    ap_rputs(" <label>at <select name=\"at\"><option value=\"\">all</option>",
             r);
    for (i = 0; i < names->nelts; i++) {
        write_option(r, APR_ARRAY_IDX(names, i, const char *),
                     report->query->at);
    }
    ap_rputs("</select></label>", r);
}

static void write_form(request_rec *r, const status_report *report)
{
    ap_rprintf(r, "<form method=\"get\"><input type=\"hidden\" name=\"sort\" "
               "value=\"%s\"><input type=\"hidden\" name=\"limit\" "
               "value=\"%d\"><label>client <input name=\"client\" "
               "placeholder=\"address or network\" value=\"%s\"></label>",
               status_sort_names[report->sort], report->query->limit,
               report->query->client ? html_text(r, report->query->client)
                                     : "");
    write_choice(r, report);
    ap_rputs(" <button>show</button></form>", r);
}

static void write_more(request_rec *r, const status_report *report, int shown)
{
    const int left = report->matching->nelts - shown;
    const int limit = report->query->limit;
    const int more = limit == 0 ? 100
                   : limit < STATUS_LIMIT_MAX / 10 ? 10 * limit
                   : STATUS_LIMIT_MAX;

    ap_rprintf(r, "<p class=\"more\">%s more are not shown",
               html_count(r->pool, left));
    if (more > limit) {
        ap_rprintf(r, ": <a href=\"%s\">show %s</a>",
                   html_link(r, report, report->sort, more),
                   html_count(r->pool, more));
    }
    ap_rputs("</p>\n", r);
}

void html_connections(request_rec *r, const status_report *report)
{
    const int shown = status_shown(report);
    int idle = 0, i;

    ap_rputs("<section id=\"connections\"><div class=\"top\">"
             "<h2>Connections</h2>", r);
    if (report->live.status != APR_SUCCESS) {
        ap_rvputs(r, "</div><p>Not known, because ",
                  html_text(r, status_live_refusal_text(r->pool,
                                                        report->live.status)),
                  "</p></section>\n", NULL);
        return;
    }
    if (report->live.connections->nelts > 0 || report->query->client
        || report->query->at) {
        write_form(r, report);
    }
    ap_rputs("</div>\n", r);
    if (report->live.incomplete) {
        ap_rputs("<p class=\"more\">There are more than could be read in "
                 "time.</p>\n", r);
    }
    if (report->live.hides_backup) {
        ap_rputs("<p class=\"more\">Which paths are backup is not known: "
                 "this kernel tells that to CAP_NET_ADMIN alone.</p>\n", r);
    }
    for (i = 0; i < shown; i++) {
        idle += APR_ARRAY_IDX(report->matching, i,
                              status_connection *)->is_idle;
    }
    if (shown == 0) {
        ap_rputs("<p class=\"more\">None at this moment.</p>\n", r);
    }
    else if (shown < FOLD_ABOVE) {
        write_rows(r, report, shown, -1);
    }
    else {
        if (idle < shown) {
            write_rows(r, report, shown, 0);
        }
        if (idle > 0) {
            ap_rprintf(r, "<details class=\"idle\" data-id=\"idle\"><summary>"
                       "%s idle</summary>\n", html_count(r->pool, idle));
            write_rows(r, report, shown, 1);
            ap_rputs("</details>\n", r);
        }
    }
    if (shown < report->matching->nelts) {
        write_more(r, report, shown);
    }
    ap_rputs("</section>\n", r);
}
