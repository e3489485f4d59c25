/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief paths/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_PATHS_PRIVATE_H
#define MPTCP_PATHS_PRIVATE_H

#include "paths/paths.h"

/* ---- endpoint.c: endpoints and limits in words -------------------------- */

/** The one of an array that has the address and port, or NULL. */
const mptcp_endpoint *
mptcp_endpoint_find_address(const apr_array_header_t *eps,
                            const mptcp_endpoint *wanted);

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
    apr_uint32_t dropped;               /**< flags that this kernel drops */
    int last_id;                        /**< of an endpoint that was added */
    int count;                          /**< of endpoints */
    mptcp_endpoint endpoint[MPTCP_ENDPOINTS_MAX];
} mptcp_pm_state;

/** @return NULL in a process that has not applied a configuration */
mptcp_pm_state *mptcp_pm_state_of(apr_pool_t *process_pool);

/** When a process was started, which with its id names it; 0: it is gone. */
apr_uint64_t mptcp_process_started(pid_t pid);

/** Is there a file of a server with this PidFile? */
int mptcp_pm_state_file_exists(apr_pool_t *ptemp);

/**
 * The state of this server.  It is made for the first configuration that asks
 * for anything, and has then what a server of this PidFile left when it was
 * killed.
 */
mptcp_pm_state *mptcp_pm_state_make(server_rec *s, apr_pool_t *ptemp);

/** Is there anything that is to be taken back at the end? */
int mptcp_pm_state_is_anything(const mptcp_pm_state *state);

/**
 * Write the file, or remove it when there is nothing to take back; and let
 * children see it.
 * @param s For the log; NULL at exit
 */
void mptcp_pm_state_save(const mptcp_pm_state *state, server_rec *s,
                         apr_pool_t *ptemp);

/* ---- wanted.c: what lines stand for on this host, now ------------------- */

/** A configuration is applied: what was seen of the last one is forgotten. */
void mptcp_wanted_forget(void);

/* ---- missing.c: which lines are not in force, in words ------------------ */

/**
 * Why an endpoint is not added, and what to write instead.
 * @param present The kernel's endpoints
 */
const char *mptcp_refused_endpoint_text(apr_pool_t *p,
                                        const mptcp_endpoint *ep,
                                        apr_status_t rv,
                                        const apr_array_header_t *present);

/** What it means that an interface is down. */
const char *mptcp_down_text(apr_pool_t *p, const char *dev);

/* ---- reconcile.c: the kernel's endpoints are brought to what is wanted -- */

/** The work of one hook. */
typedef struct {
    mptcp_pm *pm;
    apr_pool_t *p;
    server_rec *s;                      /**< for the log; NULL at the end */
    mptcp_pm_state *state;
    int follows;                        /**< the server runs */
    apr_array_header_t *present;        /**< mptcp_endpoint: in the kernel */
    int kept;                           /**< how many have to stay for now */
    int changed;                        /**< so the state is to be saved */
    const char *refused;                /**< commands that took a privilege */
} mptcp_pm_work;

/** Note a command that was refused, to be named all at once. */
void mptcp_pm_note_refused(mptcp_pm_work *work, const char *command);

/** A configuration is applied: nothing has been said of it yet. */
void mptcp_reconcile_begin(void);

/**
 * Remove what is ours and not wanted, add what is wanted and not there.
 * @param wanted By mptcp_wanted_now()
 */
apr_status_t mptcp_reconcile(mptcp_pm_work *work, apr_array_header_t *wanted);

/** Is there anything to be tried again, though the host does not change? */
int mptcp_reconcile_again(void);

/** Remove all that is ours, but what connections need. */
apr_status_t mptcp_reconcile_to_nothing(mptcp_pm_work *work);

/* ---- limits.c: the path manager's limits -------------------------------- */

/** Is any limit asked for? */
int mptcp_limits_wanted(const mptcp_limits *limits);

/**
 * Set the limits that are wanted; those which were wanted no more go back to
 * what they were, unless somebody has changed them since.
 * @param wanted NULL: none any more
 */
apr_status_t mptcp_limits_apply(mptcp_pm_work *work,
                                const mptcp_limits *wanted);

#endif /* MPTCP_PATHS_PRIVATE_H */
