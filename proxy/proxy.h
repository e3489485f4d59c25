/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file proxy.h
 * @brief proxy/: multipathtcp=; mod_proxy's workers, and their connections to
 * backends.
 *
 * May call common/ and kernel/.  What mod_proxy itself calls stands in
 * proxy_hooks.c, which calls this room.
 */

#ifndef MPTCP_PROXY_H
#define MPTCP_PROXY_H

#include "common/common.h"

#include "mod_proxy.h"
#include "util_filter.h"

/* ---- workers.c: which of mod_proxy's workers want MPTCP ----------------- */

/** MPTCPProxyDefault On|Off; returns NULL. */
const char *mptcp_proxy_default_directive(cmd_parms *cmd, void *dummy,
                                          int flag);

/** Does MPTCPProxyDefault say On for this server? */
int mptcp_proxy_default(const server_rec *s);

/** A worker's parameter multipathtcp, as the configuration is read. */
void mptcp_worker_set(const proxy_worker *worker, int on);

/** check_config: what is wanted of each configured worker. */
int mptcp_workers_settle(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s);

/** post_config: the workers that are to be MPTCP are counted. */
void mptcp_workers_name(server_rec *s);

/** A configured worker, and what is wanted of it. */
typedef struct {
    const char *name;                   /**< to be shown: without a password */
    int is_mptcp;
    int is_loopback;                    /**< its backend is at 127.0.0.1 */
} mptcp_worker_wish;

/** From check_config on: those of all servers, mptcp_worker_wish, by name. */
apr_array_header_t *mptcp_workers_list(apr_pool_t *p);

/** Does any worker or server want MPTCP?  By any thread. */
int mptcp_proxy_wants_any(void);

/** mod_proxy's configuration of a server; NULL if it is not loaded. */
proxy_server_conf *mptcp_proxy_conf(const server_rec *s);

/** A function that mod_proxy exports; NULL if there is none of this name. */
void *mptcp_proxy_function(const char *name);

/* ---- shared.c: parameters that mod_proxy ignores ------------------------ */

/**
 * check_config, when workers are settled, so that `httpd -t` says it too:
 * which multipathtcp= has no effect, and why.
 */
int mptcp_workers_compare(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s);

/* ---- sockets.c: the sockets of workers that want it --------------------- */

/**
 * This thread is about to connect to a backend.
 * @param worker NULL for a tunnel (CONNECT)
 */
void mptcp_backend_connecting(const proxy_worker *worker,
                              const server_rec *s);

/**
 * It has done so, or failed.
 * @param sd The connection's socket, or NULL
 */
void mptcp_backend_connected(apr_socket_t *sd);

/** apr_socket_create() for it. */
apr_status_t mptcp_backend_socket(apr_socket_t **sd, int family, int type,
                                  int protocol, apr_pool_t *p);

/* ---- lifeline.c: connections that have lost all of their subflows ------- */

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 99)
#define MPTCP_HAVE_TUNNEL 1             /* ap_proxy_tunnel_run(): 2.4.47 */
#endif

/* The functions of APR whose names they have, for any socket. */
apr_status_t mptcp_lifeline_recv(apr_socket_t *sd, char *buf,
                                 apr_size_t *len);
apr_status_t mptcp_lifeline_send(apr_socket_t *sd, const char *buf,
                                 apr_size_t *len);
apr_status_t mptcp_lifeline_sendv(apr_socket_t *sd, const struct iovec *vec,
                                  apr_int32_t nvec, apr_size_t *len);
apr_status_t mptcp_lifeline_poll(apr_pollfd_t *set, apr_int32_t count,
                                 apr_int32_t *ready,
                                 apr_interval_time_t timeout);
apr_status_t mptcp_lifeline_pollset(apr_pollset_t *set,
                                    apr_interval_time_t timeout,
                                    apr_int32_t *ready,
                                    const apr_pollfd_t **events);

#ifdef MPTCP_HAVE_TUNNEL
/** This thread polls for a tunnel from now on; NULL: for none. */
void mptcp_lifeline_tunnel(const proxy_tunnel_rec *tunnel);
#endif

/* ---- blackhole.c: MPTCP that the kernel has given up -------------------- */

/** post_config: it is looked for from now on, if a worker wants MPTCP. */
int mptcp_blackhole_prepare(apr_pool_t *pconf, apr_pool_t *plog,
                            apr_pool_t *ptemp, server_rec *s);

/** monitor: the log is told when it begins and when it ends. */
int mptcp_blackhole_follow(apr_pool_t *pconf, server_rec *s);

/**
 * Has the kernel given MPTCP up for new connections, at this moment?
 * @param given_up Set to that, if it is known
 * @return 0: the kernel never does, or nobody asks
 */
int mptcp_blackhole_known(int *given_up);

/** What that means, and what to write. */
const char *mptcp_blackhole_text(apr_pool_t *p);

/* ---- backend.c: the connection that served a proxied request ------------ */

/** The output filter by which MPTCP_BACKEND gets into the environment. */
#define MPTCP_BACKEND_FILTER "MPTCP_BACKEND"

/**
 * To be called while the configuration is checked: is MPTCP_BACKEND read
 * anywhere at all, and can it be read when the connection may be gone, in a
 * log?  Without the first, mod_proxy is not observed.
 */
void mptcp_backend_wanted(int anywhere, int in_logs);

/** Was it said that MPTCP_BACKEND is read anywhere? */
int mptcp_backend_is_observed(void);

/** A request, for the first time or after a failover, gets a connection. */
void mptcp_backend_attach(request_rec *r, proxy_conn_rec *conn);

/** The connection's request has done with it. */
void mptcp_backend_release(proxy_conn_rec *conn);

/**
 * A CONNECT tunnel has been connected.
 * @param sd Its socket
 */
void mptcp_backend_tunnel(request_rec *r, apr_socket_t *sd);

/**
 * What the request's connection to its backend is, or was.  One system call
 * at the first call for each request, while the connection is there.
 * @return UNKNOWN for a request that used none
 */
mptcp_state mptcp_backend_state(request_rec *r);

/** MPTCP_BACKEND_FILTER: the response begins, and may want to say it. */
apr_status_t mptcp_backend_set_environment(ap_filter_t *f,
                                           apr_bucket_brigade *bb);

#endif /* MPTCP_PROXY_H */
