/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file status.h
 * @brief status/: what is shown, on the page, in mod_status, in JSON and
 * metrics, and in the log at start.
 *
 * May call listen/, proxy/, paths/, common/ and kernel/.
 */

#ifndef MPTCP_STATUS_H
#define MPTCP_STATUS_H

#include "common/common.h"

/* ---- parent.c: what the parent says and sees ---------------------------- */

/** post_config, when listeners are named and endpoints and limits applied. */
void status_look_first(server_rec *s, apr_pool_t *ptemp);

/** monitor, in the parent, every ten seconds: since when is what wrong? */
int status_look(apr_pool_t *pconf, server_rec *s);

/**
 * Log what is in force and what stands in the way of multipath.  To be called
 * when listeners are named and endpoints and limits are applied.
 */
void status_start_report(server_rec *s, apr_pool_t *ptemp);

/* ---- dump.c: httpd -t -D DUMP_MPTCP ------------------------------------- */

/**
 * Print what this configuration will come to.  To be called when listeners and
 * workers are named as they will be.
 */
void status_dump(apr_pool_t *p, server_rec *s);

/* ---- handler.c: who asks for it ----------------------------------------- */

/**
 * SetHandler, beside core's own: where the server's configuration says
 * mptcp-status; returns NULL.
 */
const char *status_note_handler(cmd_parms *cmd, void *dir_conf,
                                const char *name);

/** handler: SetHandler mptcp-status. */
int status_handle(request_rec *r);

/* ---- mod_status.c: the part of mod_status's page ------------------------ */

/** status_hook of mod_status: its page gets a part. */
int status_add_section(request_rec *r, int flags);

#endif /* MPTCP_STATUS_H */
