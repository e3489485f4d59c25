/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief proxy/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_PROXY_PRIVATE_H
#define MPTCP_PROXY_PRIVATE_H

#include "proxy/proxy.h"

/* ---- workers.c: which of mod_proxy's workers want MPTCP ----------------- */

/**
 * Is this worker to connect by MPTCP?  From check_config on, by any thread.
 * @param worker One that is configured, was added at run time, is hidden
 *        (mod_proxy_hcheck), or is mod_proxy's default for any backend
 * @param s The server of the request, for the last
 */
int mptcp_worker_wants(const proxy_worker *worker, const server_rec *s);

/** The worker itself, or that which it checks the health of. */
const proxy_worker *mptcp_worker_checked(const proxy_worker *worker);

/** Is a worker's name a pattern?  mod_proxy tells them apart since 2.4.47. */
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 94)
#define MPTCP_IS_PATTERN(worker) ((worker)->s->is_name_matchable)
#else
#define MPTCP_IS_PATTERN(worker) 0
#endif

/** A worker's URL, as mod_proxy's messages name it. */
const char *mptcp_worker_name(const proxy_worker *worker);

/* ---- lifeline.c: connections that have lost all of their subflows ------- */

/**
 * From now on waits for this MPTCP socket, by what proxy.h has, end with
 * APR_ECONNRESET when it has lost its last subflow.
 * @param p The socket's pool
 */
void mptcp_lifeline_begin(apr_socket_t *sd, apr_pool_t *p);

#endif /* MPTCP_PROXY_PRIVATE_H */
