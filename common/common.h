/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file common.h
 * @brief common/: what several rooms need of httpd, of the configuration, of a
 * request, of shared memory, and of loaded objects.
 *
 * May call kernel/.
 */

#ifndef MPTCP_COMMON_H
#define MPTCP_COMMON_H

#include "mod_mptcp.h"

/* what most files use */
#include "ap_mpm.h"                     /* mpm_child_status */
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"                  /* ap_server_conf, ap_run_mode */

#include "apr_portable.h"               /* apr_os_sock_get() */
#include "apr_strings.h"

/* ---- config.c: what directives have said -------------------------------- */

void *mptcp_create_server_conf(apr_pool_t *p, server_rec *s);
void *mptcp_merge_server_conf(apr_pool_t *p, void *base, void *add);
void *mptcp_create_dir_conf(apr_pool_t *p, char *dir);
void *mptcp_merge_dir_conf(apr_pool_t *p, void *base, void *add);

/** What is said for the whole server, in the configuration of now. */
mptcp_global_conf *mptcp_global(void);

/**
 * Is this the first of the two times that httpd reads its configuration when
 * it starts?  That one only checks; with httpd -t there is no other.
 */
int mptcp_is_check_pass(void);

/** The first argument of a section in ap_conftree: <Location "/path">. */
const char *mptcp_section_argument(const ap_directive_t *section,
                                   apr_pool_t *p);

/** Is a <VirtualHost> section this server, by where it begins? */
int mptcp_section_is_server(const ap_directive_t *section,
                            const server_rec *s);

/* ---- kept.c: what outlives a reload ------------------------------------- */

/**
 * What the parent keeps until it ends, by a key that changes with what is kept
 * under it: a reload may bring another version of this module.
 * @param process_pool process->pool, which is ap_pglobal, too
 * @return NULL: nothing yet; in a child, what there was when it was forked
 */
void *mptcp_kept(apr_pool_t *process_pool, const char *key);

/**
 * Keep it from now on.  For the parent.
 * @param data In that pool, or as long-lived
 */
void mptcp_keep(apr_pool_t *process_pool, const char *key, const void *data);

/**
 * Memory that the parent and all of its children share: what is kept, or made
 * and kept now, and then zero.  For the parent.
 * @param data Set to it, or to NULL
 * @return APR_SUCCESS, or why there is none
 */
apr_status_t mptcp_keep_shared(apr_pool_t *process_pool, const char *key,
                               apr_size_t size, void **data);

/* ---- request.c: what is remembered of requests and their connections ---- */

/** The variable of a proxied request's connection to its backend. */
#define MPTCP_BACKEND_VARIABLE "MPTCP_BACKEND"

/** Of a request; pool: the request's. */
typedef struct {
    /** of the client's connection (in a main request only); or NULL */
    mptcp_reading *reading;
    /** a proxy_conn_rec, while mod_proxy serves the request by it; or NULL */
    void *backend;
    mptcp_state backend_state;
    int backend_filter;                 /* has been added */
} mptcp_request;

/** The record of a request, made if there is none. */
mptcp_request *mptcp_request_get(request_rec *r);

/** Is MPTCPEnvVars On for the request? */
int mptcp_env_vars_on(const request_rec *r);

/**
 * Remember what a client's connection is, if that is final: then the kernel
 * is not asked again.
 */
void mptcp_connection_note(conn_rec *c, mptcp_state state);

/** What has been noted, or UNKNOWN. */
mptcp_state mptcp_connection_noted(const conn_rec *c);

/* ---- counted.c: the listeners and workers of this configuration --------- */

/** What is counted. */
enum {
    MPTCP_COUNTER_LISTENER,             /**< by address, as %pI prints it */
    MPTCP_COUNTER_WORKER,               /**< by its URL */
    MPTCP_COUNTER_KINDS
};

/** The name of all workers that are not in the configuration. */
#define MPTCP_COUNTER_OTHER "(others)"

/** In memory that all children share; see counters.c. */
typedef struct mptcp_counter mptcp_counter;

/**
 * A listener or worker of this configuration; pool: pconf.  The listeners are
 * the one table of them: those that are to be MPTCP or are, as the parent has
 * bound them.  Made in post_config, and only read after that, by children too,
 * of whom some have closed a listener's socket.
 */
typedef struct {
    const char *name;                   /**< to be shown: without a password */
    const char *key;                    /**< the whole name */
    mptcp_counter *counter;             /**< shared by all children */
    apr_port_t port;                    /**< 0: a worker's may be any */
    /* of a listener: */
    apr_sockaddr_t *address;
    int is_mptcp;                       /**< it takes connections by MPTCP */
    int is_ipv6_only;                   /**< it takes no IPv4 */
} mptcp_counted;

/* For the parent, in post_config: */

/** Before what counts: nothing is counted yet in this configuration. */
void mptcp_counted_begin(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp);

/**
 * Let a name be counted in this configuration, unless it is already.
 * @return Good until the next one is named; without a counter yet
 */
mptcp_counted *mptcp_counted_name(process_rec *process, int kind,
                                  const char *name);

/** The names of a kind are complete: they have counters, and can be found. */
void mptcp_counted_end(process_rec *process, int kind);

/* For everybody, after that: */

/** mptcp_counted: sorted by port and name, or name. */
const apr_array_header_t *mptcp_counted_all(int kind);

/** When counting began; 0: nothing is counted. */
apr_time_t mptcp_counted_since(void);

/** The listener that a connection with this local address came to, or NULL. */
const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local);

/** The worker of this key, or that of all others; NULL: none is counted. */
const mptcp_counted *mptcp_counted_worker(const char *key);

/** What is shown of a worker's name: its URL may have a password (ftp). */
const char *mptcp_shown_name(apr_pool_t *p, const char *name);

/* ---- counters.c: counters in shared memory, and whose they are ---------- */

/** Since the server was started; graceful restarts and restarts go on. */
typedef struct {
    /**
     * of a listener: accepted and MPTCP then, fallback included; of a worker:
     * established, and still MPTCP then
     */
    apr_uint64_t mptcp;
    /**
     * of a listener: of those, found to be TCP when they ended; of a worker:
     * the backend did not agree
     */
    apr_uint64_t fallback;
    /** MPTCP was not asked for (or could not be, by a worker) */
    apr_uint64_t tcp;
    /** of a listener: further subflows of those that have ended */
    apr_uint64_t joins;
    /** of a listener: of its mptcp, those that ended soon after they began */
    apr_uint64_t brief;
    /** of a listener's mptcp and tcp: those that asked for the status page */
    apr_uint64_t page_mptcp;
    apr_uint64_t page_tcp;
} mptcp_counts;

/** child_status, in the parent: which children may still count. */
void mptcp_counters_child(server_rec *s, pid_t pid, ap_generation_t generation,
                          int slot, mpm_child_status state);

/** What stands now; several numbers, each by itself exact. */
void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts);

/**
 * Add to what has been counted; of a member that is 0 nothing.  By any child,
 * without a lock.
 */
void mptcp_counts_add(mptcp_counter *counter, const mptcp_counts *more);

/** Is it the first time in this configuration, of all children, to say it? */
int mptcp_counter_say_first(mptcp_counter *counter);

/* ---- peers.c: which worker has lately connected where to ---------------- */

/** A connection of this counter's worker goes to this address by MPTCP. */
void mptcp_counter_note_peer(mptcp_counter *counter,
                             const apr_sockaddr_t *peer);

/** Who has lately connected by MPTCP, and where to: for the next function. */
apr_hash_t *mptcp_counted_peers(apr_pool_t *p);

/**
 * The worker that has lately connected to an address by MPTCP, or NULL.
 * @param peers By mptcp_counted_peers()
 */
const mptcp_counted *mptcp_counted_peer(apr_hash_t *peers,
                                        const mptcp_end *remote);

/* ---- hash.c: what is noted by a number ---------------------------------- */

/** What a hash begins with. */
#define MPTCP_HASH_BEGIN APR_UINT64_C(14695981039346656037)

/** FNV-1a, 64 bits, of one part more.  Not for what somebody may choose. */
apr_uint64_t mptcp_hash(apr_uint64_t hash, const void *data, apr_size_t size);

/* ---- import_redirect.c: ELF --------------------------------------------- */

/**
 * Let every call of an imported function that a loaded object makes reach
 * another function, until the pool is cleared.
 *
 * Only the import slots of that object change: no code, and nobody else's
 * calls.  To be called while the process has a single thread and
 * before it forks, so that no caller sees a half-made change and all children
 * share it.  The pool must be cleared before the object is unloaded: pconf
 * does that for any object which LoadModule brought, because cleanups run in
 * reverse order of their registration.
 *
 * @param inside An address inside the object, such as its module record; or
 *        NULL for every loaded object that has the import, save the one that
 *        the replacement is in
 * @param symbol The imported function's name
 * @param replacement The function to be called instead; it may call the
 *        original by its name, since its own object's import is untouched
 * @param p Its cleanup puts the slots back
 * @param reason Set on failure to what was missing, for the log
 * @return APR_SUCCESS; APR_ENOTIMPL on a CPU whose relocations are not known
 *         here; APR_ENOENT when no object contains the address or it has no
 *         such import; APR_EINVAL when its dynamic section is not sane;
 *         or the errno of mprotect()
 */
apr_status_t mptcp_import_redirect(const void *inside, const char *symbol,
                                   void *replacement, apr_pool_t *p,
                                   const char **reason);

#endif /* MPTCP_COMMON_H */
