/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file paths.h
 * @brief paths/: MPTCPEndpoint and MPTCPLimits; the kernel's path manager is
 * brought to what they ask for, and back.
 *
 * May call common/ and kernel/.
 */

#ifndef MPTCP_PATHS_H
#define MPTCP_PATHS_H

#include "common/common.h"

/* ---- directives.c: what the configuration asks for ---------------------- */

/**
 * MPTCPEndpoint address [dev IF] [id N] [port N] [signal] [subflow] ...
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_endpoint_directive(cmd_parms *cmd, void *dummy,
                                     int argc, char *const argv[]);

/** MPTCPLimits [subflows=N] [add_addr_accepted=N]; returns as above */
const char *mptcp_limits_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** Does any line ask for an endpoint with this flag? */
int mptcp_endpoint_asked_for(apr_uint32_t flag);

/* ---- endpoint.c: endpoints and limits in words, and compared ------------ */

/** The address of an endpoint in figures, from the pool. */
const char *mptcp_endpoint_address(apr_pool_t *p, const mptcp_endpoint *ep);

/**
 * An endpoint in the words of MPTCPEndpoint, which are those of `ip mptcp
 * endpoint add`, too.
 * @param dev The interface's name; NULL: by the endpoint's ifindex, if it has
 *        one
 */
const char *mptcp_endpoint_text(apr_pool_t *p, const mptcp_endpoint *ep,
                                const char *dev);

/** The names of an endpoint's flags, an array of const char *. */
apr_array_header_t *mptcp_endpoint_flags(apr_pool_t *p,
                                         const mptcp_endpoint *ep);

/** "subflows" or "add_addr_accepted" */
const char *mptcp_limit_name(int limit);

/** Limits in the words of `ip mptcp limits set`; what is unset is left out */
const char *mptcp_limits_text(apr_pool_t *p, const mptcp_limits *limits);

/** Do two endpoints have the same address and port?  The kernel's key. */
int mptcp_endpoint_same_address(const mptcp_endpoint *a,
                                const mptcp_endpoint *b);

/**
 * The one of an array that is what is wanted, where no id is wanted whatever
 * its id; or NULL.
 */
const mptcp_endpoint *mptcp_endpoint_find(const apr_array_header_t *eps,
                                          const mptcp_endpoint *wanted);

/* ---- state.c: what this server has changed in the path manager ---------- */

/** Has this server added the endpoint?  For a child too, at this moment. */
int mptcp_endpoint_is_ours(process_rec *process, const mptcp_endpoint *ep);

/* ---- wanted.c: what lines stand for on this host, now ------------------- */

/** An endpoint that a line wants. */
typedef struct {
    mptcp_endpoint endpoint;            /**< AF_UNSPEC: of an interface */
    int line;                           /**< its place in the configuration */
    const char *dev;                    /**< the interface named there */
    int is_of_interface;                /**< for all addresses of that */
    apr_status_t missing;               /**< why the host has none of it */
    int is_translated;                  /**< it may be a router's */
    int left_out;                       /**< addresses there was no room for */
    const char *other_dev;              /**< which has it, not the one named */
    const char *down_dev;               /**< which has it, and is down */
} mptcp_wanted;

/**
 * What is wanted.  By children's threads, too.
 * @param wanted Set to an array of mptcp_wanted
 * @return APR_SUCCESS; else why the host does not say at this moment what
 *         other lines stand for, which are left out
 */
apr_status_t mptcp_wanted_now(apr_pool_t *p, apr_array_header_t **wanted);

/** The one of an endpoint's address, if the host has it or not; or NULL. */
const mptcp_wanted *mptcp_wanted_at(const apr_array_header_t *wanted,
                                    const mptcp_endpoint *ep);

/* ---- missing.c: which lines are not in force, in words ------------------ */

/** A line of MPTCPEndpoint that is not in force, or of no use. */
typedef struct {
    /** ENETDOWN: its interface is; EADDRNOTAVAIL, ENODEV: it is not there */
    apr_status_t why;
    const char *text;                   /**< and what to do */
} mptcp_missing;

/**
 * What of MPTCPEndpoint's lines is not in force at this moment, and why.  For
 * children too.
 * @param present The kernel's endpoints
 * @param missing Gets a mptcp_missing for each
 */
void mptcp_paths_missing(apr_pool_t *p, const apr_array_header_t *present,
                         apr_array_header_t *missing);

/* ---- apply.c: when ------------------------------------------------------ */

/**
 * As soon as the module is loaded: what this server has changed is taken back
 * when the process ends.
 */
void mptcp_paths_register_cleanup(apr_pool_t *pconf);

/** post_config: endpoints and limits are applied. */
void mptcp_paths_apply(server_rec *s, apr_pool_t *pconf, apr_pool_t *plog,
                       apr_pool_t *ptemp);

/** monitor: endpoints follow the host. */
int mptcp_paths_follow(apr_pool_t *pconf, server_rec *s);

/** drop_privileges: a child gives up what is the parent's. */
int mptcp_paths_leave_to_parent(apr_pool_t *pchild, server_rec *s);

#endif /* MPTCP_PATHS_H */
