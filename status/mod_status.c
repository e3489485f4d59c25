/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The part of mod_status's page: counters, and where the whole page is.
 */

#include "status/html.h"

#include "http_protocol.h"
#include "mod_status.h"

#include <stdlib.h>

/* ---- ?auto -------------------------------------------------------------- */

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

static void add_number(apr_array_header_t *lines, const char *kind, int i,
                       const char *key, apr_uint64_t number)
{
    add_line(lines, kind, i, key,
             apr_psprintf(lines->pool, "%" APR_UINT64_T_FMT, number));
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
        add_number(lines, kind, i, "MPTCP", counts.mptcp);
        add_number(lines, kind, i, "Fallback", counts.fallback);
        add_number(lines, kind, i, "TCP", counts.tcp);
        if (has_joins) {
            add_number(lines, kind, i, "Joins", counts.joins);
        }
    }
}

/* Lines in the order of their keys, the same ones each time. */
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

/* ---- for people --------------------------------------------------------- */

/* Does a section of the configuration say SetHandler mptcp-status? */
static int sets_handler(apr_pool_t *p, const ap_directive_t *section)
{
    const ap_directive_t *line;

    for (line = section->first_child; line; line = line->next) {
        const char *args = line->args;

        if (ap_cstr_casecmp(line->directive, "SetHandler") == 0
            && ap_cstr_casecmp(ap_getword_conf(p, &args),
                               STATUS_HANDLER) == 0) {
            return 1;
        }
    }
    return 0;
}

/*
 * Where the page is: the first <Location> of the main server, or of this
 * virtual host, that sets the handler; or NULL.  The lines are there as long
 * as the configuration; mod_info shows them, too.
 */
static const char *find_page(apr_pool_t *p, const ap_directive_t *line,
                             const server_rec *s)
{
    const char *found = NULL;

    for (; line && !found; line = line->next) {
        if (ap_cstr_casecmp(line->directive, "<Location") == 0
            && sets_handler(p, line)) {
            const char *path = mptcp_section_argument(line, p);

            found = *path == '/' ? path : NULL;
        }
        else if (ap_cstr_casecmp(line->directive, "<VirtualHost") == 0
                 && mptcp_section_is_server(line, s)) {
            found = find_page(p, line->first_child, s);
        }
    }
    return found;
}

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
        if (!html_is_of_interest(one, &counts)) {
            continue;
        }
        ap_rprintf(r, "<tr><td>%s</td><td>%" APR_UINT64_T_FMT "</td><td>%"
                   APR_UINT64_T_FMT "</td><td>%" APR_UINT64_T_FMT "</td>",
                   html_text(r, one->name), counts.mptcp, counts.fallback,
                   counts.tcp);
        if (has_joins) {
            ap_rprintf(r, "<td>%" APR_UINT64_T_FMT "</td>", counts.joins);
        }
        ap_rputs("</tr>\n", r);
    }
    ap_rputs("</table>\n", r);
}

/* PAGE is where the whole page is, or NULL. */
static void html_section(request_rec *r, const char *page)
{
    ap_rputs("<hr />\n<h1>Multipath TCP</h1>\n", r);
    if (page) {
        ap_rvputs(r, "<p><a href=\"", html_text(r, page),
                  "\">Paths and connections</a></p>\n", NULL);
    }
    section_table(r, "Listener", mptcp_counted_all(MPTCP_COUNTER_LISTENER), 1);
    section_table(r, "Backend", mptcp_counted_all(MPTCP_COUNTER_WORKER), 0);
}

int status_add_section(request_rec *r, int flags)
{
    if (mptcp_counted_since()) {
        if (flags & AP_STATUS_SHORT) {
            auto_section(r);
        }
        else {
            html_section(r, find_page(r->pool, ap_conftree, r->server));
        }
    }
    return OK;
}
