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

/* ---- table.c: their names, and how each is made ------------------------- */

/** How a variable is made. */
typedef enum {
    MPTCP_FORM_STATE,                   /**< of the client's connection */
    MPTCP_FORM_LIVE_SUBFLOWS,
    MPTCP_FORM_DECIMAL,
    MPTCP_FORM_HEXADECIMAL,
    MPTCP_FORM_BACKEND                  /**< the connection to the backend */
} mptcp_variable_form;

typedef struct {
    const char *name;
    mptcp_variable_form form;
    /** its field in the kernel's answer, if it is made of one */
    size_t offset;
    size_t size;
} mptcp_variable;

/** All of them; behind the last stands one without a name. */
extern const mptcp_variable mptcp_variables[];

/** A variable by its name, in any case; NULL: it is none. */
const mptcp_variable *mptcp_variable_find(const char *name);

/**
 * The value of a variable of the client's connection.
 * @param p Where the value lives, unless it is a constant
 * @return NULL where the kernel did not give it
 */
const char *mptcp_variable_value(const mptcp_reading *reading,
                                 const mptcp_variable *variable,
                                 apr_pool_t *p);

/* ---- client.c: the client's connection ---------------------------------- */

/**
 * What the kernel says of the client's connection: at the first call for a
 * request, with what came of it, and after mptcp_client_forget() once more.
 */
const mptcp_reading *mptcp_client_reading(request_rec *r);

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
