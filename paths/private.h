/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief paths/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_PATHS_PRIVATE_H
#define MPTCP_PATHS_PRIVATE_H

#include "paths/paths.h"

/* ---- endpoint.c: endpoints and limits in words, and compared ------------ */

/** The flag that a word of MPTCPEndpoint asks for; 0: it is none. */
apr_uint32_t mptcp_endpoint_flag(const char *word);

/** Is it what is wanted?  Where no id is wanted, whatever its id. */
int mptcp_endpoint_satisfies(const mptcp_endpoint *ep,
                             const mptcp_endpoint *wanted);

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
} mptcp_paths_limit;

/** Pool: process->pool, and a file; see state.c before changing it. */
typedef struct {
    char version[16];
    char boot_id[40];
    apr_uint64_t netns_device;          /**< of /proc/self/ns/net */
    apr_uint64_t netns_inode;
    apr_uint64_t owner_started;         /**< clock ticks since boot */
    pid_t owner;                        /**< the parent process */
    int file_is_anothers;               /**< who runs: it is not touched */
    mptcp_paths_limit limit[MPTCP_LIMITS];
    apr_uint32_t dropped;               /**< flags that this kernel drops */
    int last_id;                        /**< of an endpoint that was added */
    int count;                          /**< of endpoints */
    mptcp_endpoint endpoint[MPTCP_ENDPOINTS_MAX];
} mptcp_paths_state;

/** @return NULL in a process that has not applied a configuration */
mptcp_paths_state *mptcp_paths_state_of(apr_pool_t *process_pool);

/** When a process was started, which with its id names it; 0: it is gone. */
apr_uint64_t mptcp_process_started(pid_t pid);

/** Is there a file of a server with this PidFile? */
int mptcp_paths_state_file_exists(apr_pool_t *ptemp);

/**
 * The state of this server.  It is made for the first configuration that asks
 * for anything, and has then what a server of this PidFile left when it was
 * killed.
 */
mptcp_paths_state *mptcp_paths_state_make(server_rec *s, apr_pool_t *ptemp);

/** The endpoint of this server that is what is wanted, or NULL. */
const mptcp_endpoint *mptcp_paths_state_find(const mptcp_paths_state *state,
                                             const mptcp_endpoint *wanted);

/** Is there anything that is to be taken back at the end? */
int mptcp_paths_state_is_anything(const mptcp_paths_state *state);

/**
 * Write the file, or remove it when there is nothing to take back; and let
 * children see it.
 * @param s For the log; NULL at exit
 */
void mptcp_paths_state_save(const mptcp_paths_state *state, server_rec *s,
                            apr_pool_t *ptemp);

/** Let children see whether the address of a line has been on this host. */
void mptcp_paths_show_here(int line, int is_here);

/** For a child: what the parent has let it see; 0 in the parent. */
int mptcp_paths_shown_here(int line);

/* ---- wanted.c: what lines stand for on this host, now ------------------- */

/** A configuration is applied: what was seen of the last one is forgotten. */
void mptcp_wanted_forget(void);

/** Is an endpoint what is wanted, and has the host its address? */
int mptcp_is_wanted(const apr_array_header_t *wanted,
                    const mptcp_endpoint *ep);

/** None is to have these flags, which the kernel drops. */
void mptcp_wanted_drop(apr_array_header_t *wanted, apr_uint32_t flags);

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

/* ---- work.c: the work of one hook --------------------------------------- */

typedef struct {
    mptcp_pm *pm;
    apr_pool_t *p;
    server_rec *s;                      /**< for the log; NULL at the end */
    mptcp_paths_state *state;
    int follows;                        /**< the server runs */
    apr_array_header_t *present;        /**< mptcp_endpoint: in the kernel */
    int ours;                           /**< how many of these, while adding */
    int again;                          /**< there is something left to do,
                                             though the host may not change */
    int changed;                        /**< so the state is to be saved */
    const char *refused;                /**< commands that took a privilege */
} mptcp_paths_work;

/** Set present anew; an error leaves what was known before. */
apr_status_t mptcp_paths_read_present(mptcp_paths_work *work);

/**
 * Ours are those which were ours and are there still, and those which are
 * wanted, and there now but not before.
 */
void mptcp_paths_note_ours(mptcp_paths_work *work,
                           const apr_array_header_t *before,
                           const apr_array_header_t *wanted);

/** Note a command that was refused, to be named all at once. */
void mptcp_paths_note_refused(mptcp_paths_work *work, const char *command);

/* ---- remove.c: endpoints of ours that are not wanted -------------------- */

/** A configuration is applied: nothing has been said of it yet. */
void mptcp_remove_forget(void);

/**
 * Remove what is ours and not wanted, but what connections need; or change it,
 * where it is wanted otherwise.
 * @return The last error there was; what fails stays ours
 */
apr_status_t mptcp_remove_unwanted(mptcp_paths_work *work,
                                   const apr_array_header_t *wanted);

/* ---- add.c: endpoints that are wanted and not there --------------------- */

/** A configuration is applied: nothing has been said of it yet. */
void mptcp_add_forget(void);

/** Before removing: what is about to be removed will be wanted again. */
void mptcp_add_expect(const mptcp_paths_work *work,
                      const apr_array_header_t *wanted);

/** Add what is wanted and not there, or say why not. */
apr_status_t mptcp_add_missing(mptcp_paths_work *work,
                               apr_array_header_t *wanted);

/* ---- reconcile.c: the kernel's endpoints are brought to what is wanted -- */

/** A configuration is applied: what is known of the last one is forgotten. */
void mptcp_reconcile_begin(void);

/**
 * Remove what is ours and not wanted, add what is wanted and not there.
 * @return Not APR_SUCCESS: the kernel does not say all that this takes, and is
 *         to be asked again
 */
apr_status_t mptcp_reconcile(mptcp_paths_work *work);

/** Is there anything to be tried again, though the host does not change? */
int mptcp_reconcile_again(void);

/** Remove all that is ours, but what connections need. */
apr_status_t mptcp_reconcile_to_nothing(mptcp_paths_work *work);

/* ---- limits.c: the path manager's limits -------------------------------- */

/** Is any limit asked for? */
int mptcp_limits_wanted(const mptcp_limits *limits);

/**
 * Set the limits that are wanted; those which were wanted no more go back to
 * what they were, unless somebody has changed them since.
 * @param wanted NULL: none any more
 */
apr_status_t mptcp_limits_apply(mptcp_paths_work *work,
                                const mptcp_limits *wanted);

#endif /* MPTCP_PATHS_PRIVATE_H */
