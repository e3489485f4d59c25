/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file variables.h
 * @brief variables/: %{MPTCP...}, in the environment, in expressions, in logs.
 *
 * May call proxy/, common/ and kernel/.
 */

#ifndef MPTCP_VARIABLES_H
#define MPTCP_VARIABLES_H

#include "common/common.h"

#include "ap_expr.h"

/* ---- client.c: the client's connection ---------------------------------- */

/** log_transaction, before all loggers: they get the values as of now. */
int mptcp_client_forget(request_rec *r);

/* ---- variables.c: wherever httpd has variables -------------------------- */

/** fixups: into the environment, with MPTCPEnvVars On. */
int mptcp_variables_set_environment(request_rec *r);

/** expr_lookup: %{NAME} in an expression. */
int mptcp_variables_look_up(ap_expr_lookup_parms *parms);

/** pre_config: %{NAME}^mp in logs. */
int mptcp_variables_register_log(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp);

/* ---- check.c: which variables the configuration names ------------------- */

/** check_config: names in log formats that are none are errors. */
int mptcp_variables_check(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s);

#endif /* MPTCP_VARIABLES_H */
