/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file status.h
 * @brief What the status page shows: gathered in status.c and diag.c, written
 * in status_html.c, status_json.c and status_openmetrics.c.
 *
 * All of it is made for one request, in its pool, by its thread.
 */

#ifndef STATUS_H
#define STATUS_H

#include "mod_mptcp.h"

#include <stddef.h>

/* ---- diag.c: live connections ------------------------------------------- */

/** Text of an address with its port: "[fe80::1]:65535". */
#define STATUS_ADDRESS_LEN (INET6_ADDRSTRLEN + 8)

/** One end of a socket; IPv4 also where the socket is an IPv6 one. */
typedef struct {
    int family;                         /**< AF_INET or AF_INET6 */
    unsigned char address[16];          /**< network order */
    apr_port_t port;                    /**< host order */
} diag_end;

/** A subflow. */
typedef struct diag_subflow {
    struct diag_subflow *next;
    diag_end local, remote;
    const char *interface;              /**< of the local address, or NULL */
    int interface_down;
    const char *state;                  /**< "established" ... */
    int backup_local, backup_remote;    /**< who asks for it to be one */
    int joined;                         /**< not the first */
    int stalled;                        /**< sends the same again and again */
    apr_uint32_t rtt;                   /**< microseconds */
    apr_uint32_t retrans;               /**< segments */
    apr_uint64_t rate;                  /**< bytes a second, of late */
    apr_uint64_t bytes_sent;            /**< payload, acknowledged */
    apr_uint64_t bytes_received;        /**< payload */
} diag_subflow;

/** An MPTCP connection. */
typedef struct {
    diag_end local, remote;
    const mptcp_counted *listener;      /**< it came to, or NULL */
    const mptcp_counted *worker;        /**< that it was made for, or NULL */
    const char *state;
    mptcp_reading reading;
    diag_subflow *subflows;             /**< by local and remote address */
    int count;                          /**< of these */
    apr_uint64_t rate;                  /**< sums of these */
    apr_uint64_t retrans;
    apr_uint64_t bytes;
} diag_connection;

/** What was found. */
typedef struct {
    apr_array_header_t *connections;    /**< of diag_connection * */
    int subflows;                       /**< of all of them together */
    int tcp;                            /**< plain ones, of MPTCP listeners */
    int incomplete;                     /**< time was up before the end */
    apr_status_t status;                /**< the kernel gave nothing: why */
    apr_interval_time_t took;
} diag_result;

/**
 * Ask the kernel for the live connections of this server's MPTCP listeners
 * and workers.  Takes no privilege, and not much longer than DIAG_TIME_LIMIT
 * at worst.
 * @param other_ports Subflows may be at any port: the kernel opens some by
 *        itself
 * @param join_ports Further local ports of subflows, of apr_port_t
 * @param result Set in any case
 */
void diag_read(apr_pool_t *p, int other_ports,
               const apr_array_header_t *join_ports, diag_result *result);

/** An end's address, or address and port; into, and returns, the buffer. */
const char *diag_address_text(const diag_end *end,
                              char text[STATUS_ADDRESS_LEN]);
const char *diag_end_text(const diag_end *end, char text[STATUS_ADDRESS_LEN]);

/* ---- status.c: what is shown -------------------------------------------- */

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
    const mptcp_paths *paths;           /**< NULL: there is no path manager */
    apr_array_header_t *obstacles;      /**< of const char * */
    diag_result live;                   /**< sorted */
    int sort;
    int limit;                          /**< show no more connections */
} status_report;

/** "on", "refused" or "unused". */
const char *status_state_text(status_state state);

/** How many connections are shown. */
int status_shown(const status_report *report);

/** Is a limit in force what MPTCPLimits says? */
int status_limit_is_ours(const status_report *report, int limit);

/** Did the kernel say this field of its struct mptcp_info? */
#define STATUS_HAS(connection, field) \
    ((connection)->reading.length \
     >= offsetof(mptcp_kernel_info, field) \
        + sizeof((connection)->reading.info.field))

/* ---- status_html.c, status_json.c, status_openmetrics.c ----------------- */

/* Each sets the content type and sends the body. */
void status_html(request_rec *r, const status_report *report);
void status_json(request_rec *r, const status_report *report);
void status_openmetrics(request_rec *r, const status_report *report);

/** The page's style sheet or script. */
int status_asset(request_rec *r, int is_script);

/** A part of mod_status's page. */
void status_html_section(request_rec *r);

#endif /* STATUS_H */
