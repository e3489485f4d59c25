/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief listen/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_LISTEN_PRIVATE_H
#define MPTCP_LISTEN_PRIVATE_H

#include "listen/listen.h"

/* ---- lines.c: what the lines say, before they are walked ---------------- */

/** What is found out about a line; where MPTCPListen's own data go. */
typedef struct {
    const char *name;                   /**< Listen or MPTCPListen */
    const char *options;                /**< what options= says, or NULL */
    const char *error;                  /**< what is wrong, or NULL */
    int is_made;                        /**< by another line, of the same */
} mptcp_listen_line;

/* ---- wanted.c: which listeners are to be MPTCP -------------------------- */

/**
 * Core takes two lines, or a line and a record of the configuration before,
 * for one listener when these are the same as they are written.  No name is
 * looked up for that; one that has several addresses is of several records.
 */
typedef struct {
    const char *host;                   /**< NULL: the wildcard */
    apr_port_t port;
    unsigned int scope;                 /**< index of an interface, or 0 */
} mptcp_listener_id;

/** As ap_set_listener() reads it; 0: that will refuse it. */
int mptcp_listener_read_id(mptcp_listener_id *id, const char *address,
                           apr_pool_t *p);

/** Room for a key; what has a name that is longer has no address. */
#define MPTCP_LISTENER_KEY_SIZE 320

/** What tells listeners apart, in one string; into, and returns, the buffer */
const char *mptcp_listener_key(char key[MPTCP_LISTENER_KEY_SIZE],
                               const mptcp_listener_id *id);

/**
 * The listeners of an address are to be MPTCP.
 * @param address As ap_set_listener() has taken it
 */
void mptcp_listener_want(const char *address, apr_pool_t *pconf);

/** Is this listener to be MPTCP by the configuration now read? */
int mptcp_listener_wanted(const ap_listen_rec *lr);

/* ---- open_logs.c: before and after the MPM binds ------------------------ */

/** Does this httpd just test its configuration, and binds nothing? */
int mptcp_listen_is_test(void);

/* ---- socket.c: one listener's socket ------------------------------------ */

/** Is a listener's socket MPTCP, as the kernel says? */
int mptcp_listener_is_mptcp(const ap_listen_rec *lr);

/**
 * Has somebody else made it so, behind APR's back (mptcpize)?  Then each
 * socket is MPTCP, and there is no changing it.
 */
int mptcp_listener_is_others(const ap_listen_rec *lr);

/**
 * A new, unbound socket for a listener's address.
 * @param protocol IPPROTO_MPTCP, or 0 for TCP
 * @param p Its cleanup closes the socket
 * @return APR_SUCCESS or the errno of socket()
 */
apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd);

/**
 * Set the options of a listener's socket without which core does not go on.
 * @return What core's make_sock() would end the server for
 */
apr_status_t mptcp_listener_set_options(const ap_listen_rec *lr,
                                        apr_socket_t *sd);

/** Let an MPTCP socket take joins at once, which TCP_DEFER_ACCEPT forbids. */
void mptcp_listener_clear_defer_accept(apr_socket_t *sd, server_rec *s);

/** Note the listeners whose sockets a service manager has passed on. */
void mptcp_listeners_note_inherited(process_rec *process);

/** Is it one of those? */
int mptcp_listener_is_inherited(const ap_listen_rec *lr,
                                process_rec *process);

/* ---- buckets.c: ListenCoresBucketsRatio --------------------------------- */

/**
 * How many buckets the MPM is going to have.  Before its open_logs: it does
 * not settle the number anew at a graceful restart, and the directive gives
 * just one where there are few processors.
 */
int mptcp_listen_buckets(void);

/** How many it has had, before its open_logs of now. */
int mptcp_listen_buckets_before(void);

/**
 * To be called before the MPM's open_logs: have core make duplicates of MPTCP
 * listeners as MPTCP sockets.
 * @param reason Set on failure, for the log
 */
apr_status_t mptcp_duplicates_begin(apr_pool_t *pconf, const char **reason);

/**
 * To be called after it, whether there was a begin or not.
 * @return How many listeners will have duplicates whose TCP_DEFER_ACCEPT is
 *         out of reach (trunk)
 */
int mptcp_duplicates_end(apr_pool_t *pconf, server_rec *s);

/* ---- change.c: a reload that changes a listener's protocol -------------- */

/* All of these are for the parent, while it has a single thread. */

/**
 * Has the address of a listener a socket of each protocol, from an earlier
 * change?
 */
int mptcp_listener_has_twin(const ap_listen_rec *lr, process_rec *process);

/**
 * To be called before the MPM's open_logs, for a bound listener of the wrong
 * protocol which has no twin: put a new socket for core to bind beside the old
 * one.
 * @param wanted Is it to be MPTCP?
 * @param grouped Is it in a group of more than core's one socket, or was it?
 * @return Why it stays as it is, and keeps nothing of the attempt
 */
apr_status_t mptcp_listener_change(ap_listen_rec *lr, int wanted, int grouped,
                                   process_rec *process, apr_pool_t *ptemp);

/**
 * To be called before the MPM's open_logs where there are to be several
 * buckets: of each pair of sockets that earlier changes made, keep the one
 * that is wanted.
 */
void mptcp_listener_part_twins(process_rec *process, apr_pool_t *ptemp);

/**
 * To be called after the MPM's open_logs: send new connections to the socket
 * of the wanted protocol, wherever an address has one of each.
 * @return One that is to be MPTCP and could not be steered, or NULL
 */
const ap_listen_rec *mptcp_listener_steer(process_rec *process,
                                          apr_pool_t *ptemp);

/* ---- steering.c: which of two sockets gets a connection ----------------- */

/**
 * Tell the kernel which member of a group of listening sockets gets new
 * connections, in place of what it has been told before.  Members have numbers
 * from 0, in the order in which they joined.
 * @param tcp The member that is plain TCP, by which the group is reached
 * @param others Gets those that are no join
 * @param joins Gets what joins an MPTCP connection; may be the same
 * @return APR_SUCCESS or the errno of setsockopt()
 */
apr_status_t mptcp_steer(const ap_listen_rec *tcp, int others, int joins);

/* ---- descriptors.c: how many of them a reload may take ------------------ */

/** To be called once a configuration, in open_logs. */
void mptcp_descriptors_watch(apr_pool_t *pconf, process_rec *process);

/**
 * May changes take so many more?  Before the MPM's open_logs.
 * @param left How many there are, as far as can be told
 * @param limit With what limit they would be enough
 */
int mptcp_descriptors_allow(process_rec *process, int more, int *left,
                            int *limit);

#endif /* MPTCP_LISTEN_PRIVATE_H */
