/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief status/: between the files of this room; no other includes it.
 *
 * What a page shows is made for one request, in its pool, by its thread; what
 * the parent looks at, in a pool of that moment.
 */

#ifndef MPTCP_STATUS_PRIVATE_H
#define MPTCP_STATUS_PRIVATE_H

#include "status/status.h"

/** The handler that shows it: SetHandler mptcp-status. */
#define STATUS_HANDLER "mptcp-status"

/** Of how many listeners one thing is said by name; the rest are counted. */
#define STATUS_NAMED 20

/* ---- addresses.c: addresses in words, and their interfaces -------------- */

/** Text of an address with its port: "[fe80::1]:65535". */
#define STATUS_ADDRESS_LEN (INET6_ADDRSTRLEN + 8)

/** An end's address, or address and port; into, and returns, the buffer. */
const char *status_address_text(const mptcp_end *end,
                                char text[STATUS_ADDRESS_LEN]);
const char *status_end_text(const mptcp_end *end,
                            char text[STATUS_ADDRESS_LEN]);

/** An interface that has an address of this host. */
typedef struct {
    const char *name;
    int is_down;                        /**< it has no link */
} status_interface;

/**
 * This host's interfaces, status_interface, by their addresses, 4 or 16 bytes;
 * without any where the kernel does not say.
 */
apr_hash_t *status_interfaces_read(apr_pool_t *p);

/**
 * The one that has an address, or NULL.
 * @param address In network order
 */
const status_interface *status_interface_at(apr_hash_t *interfaces, int family,
                                            const void *address);

/* ---- live.c: live connections ------------------------------------------- */

/** Idle is what has sent and received nothing for so long, in ms. */
#define STATUS_IDLE_AFTER 5000

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
    int stalled;                        /**< how many of them are */
    apr_uint64_t rate;                  /**< sums of these */
    apr_uint64_t retrans;
    apr_uint64_t bytes;
    apr_uint64_t sent, resent;
    apr_uint32_t rtt;                   /**< the longest of them */
    apr_uint32_t idle_ms;               /**< since any sent or received */
    apr_uint32_t stalled_ms;            /**< the longest of them */
    int is_idle;
} status_connection;

/** The listener that a local end is at, or NULL. */
const mptcp_counted *status_listener_at(const mptcp_end *local);

/** The name of the listener it came to, or of the worker it was made for. */
const char *status_connection_at(const status_connection *c);

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
 * @param interfaces By status_interfaces_read()
 * @param live Set in any case
 */
void status_live_read(apr_pool_t *p, int other_ports,
                      const apr_array_header_t *join_ports,
                      apr_hash_t *interfaces, status_live *live);

/** Why nothing is known of live connections, and what to do. */
const char *status_live_refusal_text(apr_pool_t *p, apr_status_t status);

/* ---- troubles.c: the list of what is wrong ------------------------------ */

/** What stands in the way of multipath, or has gone wrong. */
typedef enum {
    STATUS_NOT_USED,
    STATUS_NO_SOCKET,
    STATUS_SWITCHED_OFF,
    STATUS_PLAIN_TCP,
    STATUS_PATH_MANAGER,
    STATUS_LIMIT,
    STATUS_NOT_ANNOUNCED,
    STATUS_NO_LISTENER,
    STATUS_RP_FILTER,
    STATUS_NO_SECOND_PATH,
    STATUS_LINK_DOWN,
    STATUS_ADDRESS_GONE,
    STATUS_INTERFACE_GONE,
    STATUS_NOT_IN_FORCE,
    STATUS_BLACKHOLE,
    STATUS_JOINS_REFUSED,
    STATUS_STALLED
} status_kind;

typedef struct {
    status_kind kind;
    const char *where;                  /**< of its kind, which; else what */
    const char *text;                   /**< what is so, "; " and what to do */
    const char *what;                   /**< the first part */
    const char *cure;                   /**< the second one, or NULL */
    int is_bad;                         /**< multipath is lost, not less */
    int is_passing;                     /**< it comes and goes with traffic */
    apr_time_t since;                   /**< 0: not known */
} status_trouble;

/** "link down", "limit" ... */
const char *status_kind_text(status_kind kind);

/**
 * One more.
 * @param format A sentence; behind a semicolon what to do about it
 * @return To be told more of, before the next one is added
 */
status_trouble *status_trouble_add(apr_array_header_t *list, status_kind kind,
                                   const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- watch.c: since when ------------------------------------------------ */

/** Counters that are looked at: of the kernel, of its whole namespace. */
enum {
    STATUS_JOINS_RECEIVED,
    STATUS_JOINS_FINISHED,              /**< those with their third packet */
    STATUS_JOINS_NO_TOKEN,              /**< of a connection not known here */
    STATUS_JOINS_WRONG_HMAC,
    STATUS_JOINS_REJECTED,              /**< the limit, for one; Linux 6.15 */
    STATUS_JOINS_SENT,                  /**< Linux 6.13, as all but one of */
    STATUS_JOINS_SENT_WRONG_HMAC,
    STATUS_JOINS_NO_SOCKET,             /**< those that were not sent */
    STATUS_JOINS_NO_ADDRESS,
    STATUS_JOINS_NO_WAY,
    STATUS_KERNEL_COUNTERS,
    /** and of this server: connections that ended soon after they began */
    STATUS_BRIEF = STATUS_KERNEL_COUNTERS,
    STATUS_COUNTERS
};

/** Those of the kernel; 0: it does not have it. */
void status_counters_read(apr_uint64_t now[STATUS_COUNTERS]);

/** By how much a counter has risen in the last ten minutes. */
apr_uint64_t status_watch_rise(int counter, apr_uint64_t now);

/** When the parent saw a trouble first; 0: it has not yet. */
apr_time_t status_watch_since(const status_trouble *trouble);

/* For the parent: */

/** In post_config.  @return 0: there is no memory, which has been logged */
int status_watch_start(process_rec *process);

/** These are the troubles of the host at this moment. */
void status_watch_note(const apr_array_header_t *troubles);

/** These are the counters; of one in a minute a note is taken. */
void status_watch_sample(const apr_uint64_t now[STATUS_COUNTERS]);

/* ---- obstacles.c: what is in force, and what stands in the way ---------- */

/** As the kernel says at this moment. */
typedef struct {
    mptcp_limits limits;
    apr_array_header_t *endpoints;      /**< mptcp_endpoint */
    apr_array_header_t *troubles;       /**< status_trouble */
    /** the kernel's path manager is switched off */
    int is_off;
} status_paths;

/**
 * @param foresee With what the configuration will add to it, for httpd -t
 * @return APR_SUCCESS, or as mptcp_pm_open(); then nothing is known
 */
apr_status_t status_paths_read(apr_pool_t *p, int foresee,
                               status_paths *paths);

/* ---- endpoints.c: the kernel's endpoints -------------------------------- */

/** Can an endpoint's address be used? */
typedef enum {
    STATUS_ENDPOINT_READY,
    STATUS_ENDPOINT_ELSEWHERE,          /**< announced as written, for NAT */
    STATUS_ENDPOINT_LINK_DOWN,
    STATUS_ENDPOINT_ADDRESS_GONE,
    STATUS_ENDPOINT_INTERFACE_GONE
} status_endpoint;

status_endpoint status_endpoint_state(apr_hash_t *interfaces,
                                      const mptcp_endpoint *ep);

/** "ready", "elsewhere", "link down" ... */
const char *status_endpoint_text(status_endpoint state);

/* ---- paths.c: the paths of this server ---------------------------------- */

/** A local address, at which subflows are or may be. */
typedef struct {
    mptcp_end local;                    /**< without a port */
    const char *interface;              /**< that has it, or NULL */
    int is_down;                        /**< it has no link */
    int is_backend;                     /**< of connections to backends */
    int colour;                         /**< 0 to STATUS_COLOURS - 1 */
    int subflows;
    int in_use;                         /**< those that are not idle */
    int stalled;                        /**< of these */
    apr_uint32_t stalled_ms;            /**< the longest */
    apr_uint32_t rtt_median, rtt_worst; /**< microseconds; 0: not known */
    apr_uint64_t rate;                  /**< sums of the subflows' */
    apr_uint64_t bytes_sent, bytes_received;
    apr_uint64_t sent, resent;
} status_path;

/** How many colours the style sheet has for paths. */
#define STATUS_COLOURS 6

/* ---- query.c: what a query asks for ------------------------------------- */

/** In what form; the names of ?html and so on. */
typedef enum {
    STATUS_HTML,
    STATUS_JSON,
    STATUS_OPENMETRICS,
    STATUS_STYLE,                       /**< the page's style sheet */
    STATUS_SCRIPT,
    STATUS_FORMS
} status_form;

/** In what order live connections are shown; the names of ?sort=. */
enum {
    STATUS_SORT_RATE,
    STATUS_SORT_RETRANS,
    STATUS_SORT_SUBFLOWS,
    STATUS_SORT_STALLED,
    STATUS_SORTS
};
extern const char *const status_sort_names[STATUS_SORTS];

/** What a query asks for. */
typedef struct {
    status_form form;
    int sort;                           /**< -1: what is most of interest */
    int limit;                          /**< show no more connections */
    const char *client;                 /**< of this address or network */
    apr_ipsubnet_t *client_net;         /**< the same */
    const char *at;                     /**< of this listener or worker */
} status_query;

/** The most connections that can be asked for. */
#define STATUS_LIMIT_MAX 1000000

/**
 * Read it.
 * @param args r->args; NULL: there is none
 * @return NULL, or what is allowed; nothing that the client sent is in it
 */
const char *status_query_read(apr_pool_t *p, const char *args,
                              status_query *query);

/* ---- report.c: all that a page shows ------------------------------------ */

/** Is MPTCP on? */
typedef enum {
    STATUS_UNUSED,                      /**< no listener, no worker */
    STATUS_REFUSED,                     /**< the kernel gives no socket */
    STATUS_ON
} status_state;

/** Is all well? */
typedef enum {
    STATUS_OFF,                         /**< nothing uses it */
    STATUS_GOOD,
    STATUS_WARN,
    STATUS_BAD
} status_level;

/** Of the whole server. */
typedef struct {
    apr_uint64_t accepted, accepted_mptcp;  /**< without those for the page */
    apr_uint64_t joins;                 /**< of those that live, too */
    int stalled;
    apr_uint64_t rate;
    apr_uint64_t bytes;
    apr_uint64_t sent, resent;
} status_totals;

typedef struct {
    apr_pool_t *p;
    server_rec *s;                      /**< the main server */
    apr_time_t now;
    status_state state;
    apr_status_t refused;               /**< the kernel's reason */
    status_level level;
    const apr_array_header_t *listeners, *workers;  /**< of mptcp_counted */
    apr_uint64_t *live_joins;           /**< of each listener */
    const status_paths *paths;          /**< NULL: there is no path manager */
    apr_hash_t *interfaces;             /**< by status_interfaces_read() */
    apr_uint64_t counters[STATUS_COUNTERS];
    apr_array_header_t *troubles;       /**< status_trouble, bad ones first */
    apr_array_header_t *path_list;      /**< status_path, clients' first */
    apr_hash_t *path_by_address;
    status_live live;
    status_totals totals;
    const char *host;                   /**< its name */
    const char *system;                 /**< "Linux 6.12.57" */
    apr_interval_time_t up;             /**< since it booted */
    apr_time_t started;                 /**< httpd, or its last restart */
    const status_query *query;
    int sort;                           /**< that of the query, or chosen */
    apr_array_header_t *matching;       /**< those asked for, sorted */
} status_report;

/**
 * Gather what is in force and what stands in the way, without live
 * connections.
 * @param foresee For httpd -t: as it will be with this configuration
 */
void status_report_state(apr_pool_t *p, int foresee, status_report *report);

/** Gather all of it anew. */
void status_report_gather(request_rec *r, const status_query *query,
                          status_report *report);

/** paths.c: fill in path_list. */
void status_report_paths(status_report *report);

/** The first path at a local address, or NULL. */
const status_path *status_path_at(const status_report *report,
                                  const mptcp_end *local);

/** "on", "refused" or "unused". */
const char *status_state_text(status_state state);

/** "off", "good", "warn" or "bad". */
const char *status_level_text(status_level level);

/** Is a limit in force what MPTCPLimits says? */
int status_limit_is_ours(const status_report *report, int limit);

/* ---- query.c, of a report ----------------------------------------------- */

/** Which connections match, and in what order they are shown. */
void status_query_select(status_report *report);

/** How many of the matching connections are shown. */
int status_shown(const status_report *report);

/* ---- checks.c, endpoints.c, troubles.c: what is wrong ------------------- */

/* Each adds to the report's troubles: of the host, of its connections. */
void status_check_host(status_report *report);
void status_check_stalled(status_report *report);

/** The part of the host's that is about endpoints; paths is not NULL. */
void status_check_endpoints(status_report *report);

/** All have been added: since when is it so, what is worst, is all well? */
void status_troubles_sort(status_report *report);

/* ---- html.c, json.c, openmetrics.c: it is written ----------------------- */

/* Each sets the content type and sends the body. */
void status_html(request_rec *r, const status_report *report);
void status_json(request_rec *r, const status_report *report);
void status_openmetrics(request_rec *r, const status_report *report);

/** A text, or, if it is not UTF-8, one that says which bytes it has. */
const char *status_utf8(apr_pool_t *p, const char *text);

/** The page's style sheet or script. */
int status_asset(request_rec *r, int is_script);

#endif /* MPTCP_STATUS_PRIVATE_H */
