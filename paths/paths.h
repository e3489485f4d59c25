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

/* ---- endpoint.c: endpoints and limits in words -------------------------- */

/**
 * MPTCPEndpoint address [dev IF] [id N] [port N] [signal] [subflow] ...
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_endpoint_directive(cmd_parms *cmd, void *dummy,
                                     int argc, char *const argv[]);

/** MPTCPLimits [subflows=N] [add_addr_accepted=N]; returns as above */
const char *mptcp_limits_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** Do two endpoints have the same address and port?  The kernel's key. */
int mptcp_endpoint_same_address(const mptcp_endpoint *a,
                                const mptcp_endpoint *b);

/**
 * The one of an array that is what is wanted, where no id is wanted whatever
 * its id; or NULL.
 */
const mptcp_endpoint *mptcp_endpoint_find(const mptcp_endpoint *eps, int count,
                                          const mptcp_endpoint *wanted);

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

/** Limits in the words of `ip mptcp limits set`; what is unset is left out */
const char *mptcp_limits_text(apr_pool_t *p, const mptcp_limits *limits);

/* ---- state.c: what this server has changed in the path manager ---------- */

/** What a limit was set to, and what it was before. */
typedef struct {
    int is_set;
    int value;
    int before;
} mptcp_pm_limit;

/** Pool: process->pool, and a file; see state.c before changing it. */
typedef struct {
    char version[16];
    char boot_id[40];
    apr_uint64_t netns_device;          /**< of /proc/self/ns/net */
    apr_uint64_t netns_inode;
    apr_uint64_t owner_started;         /**< clock ticks since boot */
    pid_t owner;                        /**< the parent process */
    int file_is_anothers;               /**< who runs: it is not touched */
    mptcp_pm_limit limit[MPTCP_LIMITS];
    int count;                          /**< of endpoints */
    mptcp_endpoint endpoint[MPTCP_ENDPOINTS_MAX];
} mptcp_pm_state;

/** @return NULL in a process that has not applied a configuration */
mptcp_pm_state *mptcp_pm_state_of(apr_pool_t *process_pool);

/**
 * The state of this server.  It is made for the first configuration, and has
 * then what a server of this PidFile left when it was killed.
 */
mptcp_pm_state *mptcp_pm_state_make(server_rec *s, apr_pool_t *ptemp);

/** Is there anything that is to be taken back at the end? */
int mptcp_pm_state_is_anything(const mptcp_pm_state *state);

/**
 * Write the file, or remove it when there is nothing to take back.
 * @param s For the log; NULL at exit
 */
void mptcp_pm_state_save(const mptcp_pm_state *state, server_rec *s,
                         apr_pool_t *ptemp);

/* ---- reconcile.c: the kernel is brought to what is wanted --------------- */

/**
 * As soon as the module is loaded: what this server has changed is taken back
 * when the process ends.
 */
void mptcp_paths_register_cleanup(apr_pool_t *pconf);

/** post_config: endpoints and limits are applied. */
int mptcp_paths_apply(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s);

/** monitor: endpoints that could not be added may be possible now. */
int mptcp_paths_add_pending(apr_pool_t *pconf, server_rec *s);

/** drop_privileges: a child gives up CAP_NET_ADMIN. */
int mptcp_paths_drop_capability(apr_pool_t *pchild, server_rec *s);

/** Has this server added the endpoint?  For a child too. */
int mptcp_endpoint_is_ours(process_rec *process, const mptcp_endpoint *ep);

#endif /* MPTCP_PATHS_H */
