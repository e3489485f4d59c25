/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file html.h
 * @brief The status page for people: its parts, and what they have in common.
 */

#ifndef MPTCP_STATUS_HTML_H
#define MPTCP_STATUS_HTML_H

#include "status/private.h"

/* What the words mean, for titles and for the page's foot. */
#define STATUS_MEANS_PATH \
    "a local address, and the interface that has it"
#define STATUS_MEANS_SUBFLOW \
    "a TCP connection over one path; one or more are an MPTCP connection"
#define STATUS_MEANS_JOINS \
    "further subflows that connections got, besides their first"
#define STATUS_MEANS_SHARE \
    "of the bytes that the living subflows have sent and received"
#define STATUS_MEANS_STALLED \
    "sends the same again and again and hears nothing"
#define STATUS_MEANS_RESENT \
    "sent again, as it was lost or late, and its part of all that was sent"
#define STATUS_MEANS_FALLBACK \
    "began with MPTCP, and went on by TCP, as something on the way removes " \
    "or changes its options"

/* ---- html_pieces.c ------------------------------------------------------ */

/** A text of any bytes, escaped and in UTF-8. */
const char *html_text(request_rec *r, const char *text);

/** With a unit, and three figures or so: "1.2 Mbit/s", "34.0 MB". */
const char *html_rate(apr_pool_t *p, apr_uint64_t bytes_a_second);
const char *html_bytes(apr_pool_t *p, apr_uint64_t bytes);

/** A whole number, in groups of three: "12,345". */
const char *html_count(apr_pool_t *p, apr_uint64_t number);

/** How long: "40 s", "3 min", "5 h", "2 d". */
const char *html_span(apr_pool_t *p, apr_interval_time_t time);

/** What was sent again, in percent of what was sent; "0 %", "0.31 %". */
const char *html_percent(apr_pool_t *p, apr_uint64_t part, apr_uint64_t all);

/** Was there a connection? */
int html_is_used(const mptcp_counts *counts);

/** A worker of no name in the configuration is shown once there was one. */
int html_is_of_interest(const mptcp_counted *one, const mptcp_counts *counts);

/** A column of a table. */
typedef struct {
    const char *heading;
    const char *class;                  /**< of its cells; or "" */
    const char *title;                  /**< what it means, or NULL */
} html_column;

/** A row's cells; NULL ends them, the first is the row's heading. */
void html_begin_table(request_rec *r, const char *class,
                      const html_column *columns);

/** A path has its colour by its local address, on the whole page. */
int html_colour(const status_report *report, const mptcp_end *local);

/** A path's dot and interface. */
void html_path(request_rec *r, const status_report *report,
               const mptcp_end *local, const char *interface);

/** The page again, in another order or with another number of connections. */
const char *html_link(request_rec *r, const status_report *report, int sort,
                      int limit);

/* ---- the parts ---------------------------------------------------------- */

/** What is wrong, the server's totals, and the paths: html_paths.c. */
void html_troubles(request_rec *r, const status_report *report);
void html_totals(request_rec *r, const status_report *report);
void html_paths(request_rec *r, const status_report *report);

/** The connections: html_connections.c. */
void html_connections(request_rec *r, const status_report *report);

/** Listeners, backends, limits and endpoints: html_configured.c. */
void html_configured(request_rec *r, const status_report *report);

#endif /* MPTCP_STATUS_HTML_H */
