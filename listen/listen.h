/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file listen.h
 * @brief listen/: MPTCPListen; httpd's listening sockets, who comes to them.
 *
 * May call common/ and kernel/.
 */

#ifndef MPTCP_LISTEN_H
#define MPTCP_LISTEN_H

#include "common/common.h"

#include "ap_listen.h"

/* ---- directives.c: which listeners are to be MPTCP ---------------------- */

/**
 * MPTCPListen [IP-address:]portnumber [protocol]
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** MPTCPListenDefault On|Off; returns NULL or why it cannot stand here. */
const char *mptcp_listen_default_directive(cmd_parms *cmd, void *dummy,
                                           int flag);

/** MPTCPFallback On|Off; returns NULL or why it cannot stand here. */
const char *mptcp_fallback_directive(cmd_parms *cmd, void *dummy, int flag);

/* ---- lines.c: what the lines say, before they are walked ---------------- */

/** pre_config: Listen and MPTCPListen lines, seen beside one another. */
int mptcp_listen_lines(apr_pool_t *pconf, apr_pool_t *plog,
                       apr_pool_t *ptemp);

/* ---- open_logs.c: before and after the MPM binds them ------------------- */

/** check_config: for httpd -t, does the kernel give what is asked for? */
int mptcp_listen_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s);

/** open_logs, before the MPM: each listener gets a socket of its protocol. */
int mptcp_listen_before_bind(apr_pool_t *pconf, apr_pool_t *plog,
                             apr_pool_t *ptemp, server_rec *s);

/** open_logs, after the MPM: what core has set is put right. */
int mptcp_listen_after_bind(apr_pool_t *pconf, apr_pool_t *plog,
                            apr_pool_t *ptemp, server_rec *s);

/**
 * Why listeners that were to be MPTCP are not: in words what refused and what
 * to do, or NULL.
 */
const char *mptcp_listen_refusal(void);

/* ---- accepted.c: the table of listeners, and their connections ---------- */

/**
 * post_config, in the parent: the table of the bound listeners is made.  With
 * httpd -t, which binds none, of what they will be.
 */
void mptcp_listeners_name(server_rec *s, apr_pool_t *ptemp);

/** pre_connection: a child takes a client's connection on. */
int mptcp_count_accepted(conn_rec *c, void *csd);

/** pre_close_connection: it ends, and its socket is still open. */
int mptcp_count_ended(conn_rec *c);

/** It asks for the status page: it is none of those that come for a site. */
void mptcp_count_page(conn_rec *c);

#endif /* MPTCP_LISTEN_H */
