/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file status.h
 * @brief status/: what is shown, on the page, in mod_status, in JSON and
 * metrics, and in the log at start.
 *
 * May call listen/, proxy/, paths/, common/ and kernel/.
 *
 * What a page shows is made for one request, in its pool, by its thread.
 */

#ifndef MPTCP_STATUS_H
#define MPTCP_STATUS_H

#include "common/common.h"

/* ---- live.c: live connections ------------------------------------------- */

/** Text of an address with its port: "[fe80::1]:65535". */
#define STATUS_ADDRESS_LEN (INET6_ADDRSTRLEN + 8)

/** A subflow. */
typedef struct status_subflow {
    struct status_subflow *next;
    mptcp_socket socket;
    const char *interface;              /**< of the local address, or NULL */
    int interface_down;
} status_subflow;

/** An MPTCP connection. */
typedef struct {
    mptcp_end local, remote;
    const mptcp_counted *listener;      /**< it came to, or NULL */
    const mptcp_counted *worker;        /**< that it was made for, or NULL */
    const char *state;
    mptcp_reading reading;
    status_subflow *subflows;           /**< by local and remote address */
    int count;                          /**< of these */
    apr_uint64_t rate;                  /**< sums of these */
    apr_uint64_t retrans;
    apr_uint64_t bytes;
} status_connection;

/** What was found. */
typedef struct {
    apr_array_header_t *connections;    /**< of status_connection * */
    int subflows;                       /**< of all of them together */
    int tcp;                            /**< plain ones, of MPTCP listeners */
    int hides_backup;                   /**< the kernel, from this process */
    int incomplete;                     /**< time was up before the end */
    apr_status_t status;                /**< not known: why */
    apr_interval_time_t took;
} status_live;

/**
 * Ask the kernel for the live connections of this server's MPTCP listeners
 * and workers.  Takes no privilege, and not much longer than LIVE_TIME_LIMIT
 * at worst.
 * @param other_ports Subflows may be at any port: the kernel opens some by
 *        itself
 * @param join_ports Further local ports of subflows, of apr_port_t
 * @param live Set in any case
 */
void status_live_read(apr_pool_t *p, int other_ports,
                      const apr_array_header_t *join_ports,
                      status_live *live);

/** Why nothing is known of live connections, and what to do. */
const char *status_live_refusal_text(apr_pool_t *p, apr_status_t status);

/** An end's address, or address and port; into, and returns, the buffer. */
const char *status_address_text(const mptcp_end *end,
                                char text[STATUS_ADDRESS_LEN]);
const char *status_end_text(const mptcp_end *end,
                            char text[STATUS_ADDRESS_LEN]);

/* ---- obstacles.c: what is in force, and what stands in the way ---------- */

/** As the kernel says at this moment. */
typedef struct {
    mptcp_limits limits;
    apr_array_header_t *endpoints;      /**< mptcp_endpoint */
    /** const char *: what stands in the way, and what to write instead */
    apr_array_header_t *obstacles;
    /** the kernel's path manager is switched off */
    int is_off;
} status_paths;

/**
 * @param foresee With what the configuration will add to it, for httpd -t
 * @return APR_SUCCESS, or as mptcp_pm_open(); then nothing is known
 */
apr_status_t status_paths_read(apr_pool_t *p, int foresee,
                               status_paths *paths);

/* ---- report.c: all that a page shows ------------------------------------ */

/** In what order live connections are shown; the names of ?sort=. */
enum {
    STATUS_SORT_RATE,
    STATUS_SORT_RETRANS,
    STATUS_SORT_SUBFLOWS,
    STATUS_SORTS
};
extern const char *const status_sort_names[STATUS_SORTS];

/** Is MPTCP on? */
typedef enum {
    STATUS_UNUSED,                      /**< no listener, no worker */
    STATUS_REFUSED,                     /**< the kernel gives no socket */
    STATUS_ON
} status_state;

typedef struct {
    apr_pool_t *p;
    server_rec *s;                      /**< the main server */
    apr_time_t now;
    status_state state;
    apr_status_t refused;               /**< the kernel's reason */
    const apr_array_header_t *listeners, *workers;  /**< of mptcp_counted */
    const status_paths *paths;          /**< NULL: there is no path manager */
    apr_array_header_t *obstacles;      /**< of const char * */
    status_live live;                   /**< sorted */
    int sort;
    int limit;                          /**< show no more connections */
} status_report;

/**
 * Gather what is in force and what stands in the way, without live
 * connections.
 * @param foresee For httpd -t: as it will be with this configuration
 */
void status_report_state(apr_pool_t *p, int foresee, status_report *report);

/** Gather all of it anew. */
void status_report_gather(request_rec *r, int sort, int limit,
                          status_report *report);

/** "on", "refused" or "unused". */
const char *status_state_text(status_state state);

/** How many connections are shown. */
int status_shown(const status_report *report);

/** Is a limit in force what MPTCPLimits says? */
int status_limit_is_ours(const status_report *report, int limit);

/**
 * Log what is in force and what stands in the way of multipath.  To be called
 * when listeners are named and endpoints and limits are applied.
 */
void status_start_report(server_rec *s, apr_pool_t *ptemp);

/* ---- html.c, json.c, openmetrics.c: it is written ----------------------- */

/* Each sets the content type and sends the body. */
void status_html(request_rec *r, const status_report *report);
void status_json(request_rec *r, const status_report *report);
void status_openmetrics(request_rec *r, const status_report *report);

/** The page's style sheet or script. */
int status_asset(request_rec *r, int is_script);

/** A part of mod_status's page. */
void status_html_section(request_rec *r);

/* ---- dump.c: httpd -t -D DUMP_MPTCP ------------------------------------- */

/**
 * Print what this configuration will come to.  To be called when listeners and
 * workers are named as they will be.
 */
void status_dump(apr_pool_t *p, server_rec *s);

/* ---- handler.c: who asks for it ----------------------------------------- */

/**
 * SetHandler, beside core's own: where the server's configuration says
 * mptcp-status; returns NULL.
 */
const char *status_note_handler(cmd_parms *cmd, void *dir_conf,
                                const char *name);

/** handler: SetHandler mptcp-status. */
int status_handle(request_rec *r);

/** status_hook of mod_status: its page gets a part. */
int status_add_section(request_rec *r, int flags);

#endif /* MPTCP_STATUS_H */
