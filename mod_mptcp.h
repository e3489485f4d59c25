/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_mptcp.h
 * @brief What the files of mod_mptcp share, and what each offers the others.
 *
 * Everything here is internal to the module: the shared object exports the
 * module record alone.
 */

#ifndef MOD_MPTCP_H
#define MOD_MPTCP_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"                  /* ap_server_conf */
#include "ap_listen.h"

#include "apr_hash.h"
#include "apr_portable.h"               /* apr_os_sock_get() */
#include "apr_strings.h"
#include "apr_tables.h"

/** By semver.org; the build, the packages and the tests read it from here. */
#define MPTCP_VERSION "0.1.0"

/*
 * Kernel constants which older headers lack (linux/in.h, linux/mptcp.h).
 * They are fixed ABI; whether the running kernel knows them is always asked
 * at run time.
 */
#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262               /* Linux 5.6 */
#endif

/*
 * APLOG_USE_MODULE() for every file but mod_mptcp.c, whose
 * AP_DECLARE_MODULE() sets the log index of that one file only.  Declared
 * before that macro, the visibility holds for the definition as well: the
 * module is compiled with -fvisibility=hidden, and httpd looks up just this.
 */
extern module AP_MODULE_DECLARE_DATA mptcp_module
    __attribute__((visibility("default")));

/** What is kept per server_rec; pool: pconf, so one configuration's life. */
typedef struct {
    /** ap_listen_rec *: the listeners to be MPTCP (main server only) */
    apr_array_header_t *listeners;
    /** MPTCPListenDefault: 1 On, 0 Off (main server only) */
    int listen_default;
    /** MPTCPFallback: 1 On, 0 Off (main server only) */
    int fallback;
    /** why the kernel gave no MPTCP socket to a listener, or APR_SUCCESS */
    apr_status_t listen_status;
    /**
     * what multipathtcp= said: keys are worker->s as the configuration was
     * read, values point at 0 or 1 (main server only, for all servers)
     */
    apr_hash_t *worker_settings;
} mptcp_server_conf;

/** The configuration of the main server, where server-wide settings are. */
mptcp_server_conf *mptcp_main_conf(void);

/**
 * What it means that socket(..., IPPROTO_MPTCP) failed.
 * @param status Its errno
 * @return The errno's name and where to look, for the log
 */
const char *mptcp_refusal_text(apr_status_t status);

/** Is the pointer an element of this array of pointers? */
int mptcp_array_has(const apr_array_header_t *pointers, const void *pointer);

/**
 * An array that outlives restarts, which this module's own statics do not: it
 * is unloaded and loaded again.  For the parent, while it has a single thread.
 * @param key Its name, with a number that changes with its elements' type,
 *        since a reload may bring a newer module
 * @param size Of an element, in bytes
 * @return The array, empty at first; in process->pool
 */
apr_array_header_t *mptcp_process_array(process_rec *process, const char *key,
                                        int size);

/* ---- listen_directives.c: which listeners are to be MPTCP --------------- */

/**
 * MPTCPListen [IP-address:]portnumber [protocol]
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** MPTCPListenDefault On|Off; returns NULL or why it cannot stand here. */
const char *mptcp_listen_default_directive(cmd_parms *cmd, void *dummy,
                                           int flag);

/** Is this listener to be MPTCP by the configuration now read? */
int mptcp_listener_wanted(const mptcp_server_conf *conf,
                          const ap_listen_rec *lr);

void mptcp_listen_directives_register_hooks(void);

/* ---- listen_hooks.c: listening sockets, before and after their binding -- */

void mptcp_listen_register_hooks(void);

/**
 * An integer socket option.
 * @return Its value, or -1 where getsockopt() refuses
 */
int mptcp_socket_option(apr_socket_t *sd, int level, int option);

/** Is a listener's socket MPTCP, as the kernel says? */
int mptcp_listener_is_mptcp(const ap_listen_rec *lr);

/**
 * A new, unbound socket for a listener's address.
 * @param protocol IPPROTO_MPTCP, or 0 for TCP
 * @param p Its cleanup closes the socket
 * @return APR_SUCCESS or the errno of socket()
 */
apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd);

/* ---- listen_change.c: a reload that changes a listener's protocol ------- */

/* All of these are for the parent, while it has a single thread. */

/**
 * Has the address of a listener a socket of each protocol, from an earlier
 * change?
 */
int mptcp_listener_has_twin(const ap_listen_rec *lr, process_rec *process);

/**
 * To be called before the MPM's open_logs, for a bound listener of the wrong
 * protocol: put a new socket for core to bind beside the old one.
 * @param wanted Is it to be MPTCP?
 * @param buckets Is ListenCoresBucketsRatio in force?
 */
void mptcp_listener_change(ap_listen_rec *lr, int wanted, int buckets,
                           process_rec *process);

/**
 * To be called before the MPM's open_logs where ListenCoresBucketsRatio is in
 * force: of each pair of sockets that earlier changes made, keep the one that
 * is wanted.
 */
void mptcp_listener_part_twins(mptcp_server_conf *conf, process_rec *process);

/**
 * To be called after the MPM's open_logs: send new connections to the socket
 * of the wanted protocol, wherever an address has one of each.
 */
void mptcp_listener_steer(mptcp_server_conf *conf, process_rec *process);

/* ---- proxy_hooks.c: mod_proxy's connections ----------------------------- */

void mptcp_proxy_register_hooks(void);

/* ---- import_redirect.c: ELF ------------------------------------------- */

/**
 * Let every call of an imported function that a loaded object makes reach
 * another function, until the pool is cleared.
 *
 * Only the import slots of that one object change: no code, and nobody
 * else's calls.  To be called while the process has a single thread and
 * before it forks, so that no caller sees a half-made change and all children
 * share it.  The pool must be cleared before the object is unloaded: pconf
 * does that for any object which LoadModule brought, because cleanups run in
 * reverse order of their registration.
 *
 * @param inside An address inside the object, such as its module record
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

#endif /* MOD_MPTCP_H */
