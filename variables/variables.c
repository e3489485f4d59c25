/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The variables wherever httpd has variables: in the environment
 * (MPTCPEnvVars), in expressions, and in logs.
 */

#include "variables/private.h"
#include "proxy/proxy.h"

#include "mod_log_config.h"

/* The value of a variable for a request, or NULL. */
static const char *value_of(request_rec *r, const mptcp_variable *variable,
                            apr_pool_t *p)
{
    if (variable->form == MPTCP_FORM_BACKEND) {
        return mptcp_state_text(mptcp_backend_state(r));
    }
    return mptcp_variable_value(mptcp_client_reading(r), variable, p);
}

/*
 * MPTCP_BACKEND is known here for the error page of a proxied request; for
 * the request itself proxy/backend.c sets it, when the answer comes.
 */
int mptcp_variables_set_environment(request_rec *r)
{
    const mptcp_variable *variable;

    if (!mptcp_env_vars_on(r)) {
        return DECLINED;
    }
    for (variable = mptcp_variables; variable->name; variable++) {
        const char *value = value_of(r, variable, r->pool);

        if (value) {
            apr_table_setn(r->subprocess_env, variable->name, value);
        }
    }
    return DECLINED;
}

/* ap_expr_var_func_t; DATA is the variable. */
static const char *expression_value(ap_expr_eval_ctx_t *ctx, const void *data)
{
    /* httpd evaluates none without a request so far */
    const char *value = ctx->r ? value_of(ctx->r, data, ctx->p) : NULL;

    return value ? value : "";
}

int mptcp_variables_look_up(ap_expr_lookup_parms *parms)
{
    const mptcp_variable *variable;

    if (parms->type != AP_EXPR_FUNC_VAR
        || !(variable = mptcp_variable_find(parms->name))) {
        return DECLINED;
    }
    *parms->func = (const void *)expression_value;
    *parms->data = variable;
    return OK;
}

/* %{NAME}^mp; mod_log_config writes NULL as - */
static const char *log_value(request_rec *r, char *name)
{
    const mptcp_variable *variable = mptcp_variable_find(name);

    return variable ? value_of(r, variable, r->pool) : NULL;
}

int mptcp_variables_register_log(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp)
{
    static char tag[] = "^mp";
    APR_OPTIONAL_FN_TYPE(ap_register_log_handler) *log_register
        = APR_RETRIEVE_OPTIONAL_FN(ap_register_log_handler);

    if (log_register) {
        /* 0: of the request that an internal redirect led to */
        log_register(pconf, tag, log_value, 0);
    }
    return OK;
}
