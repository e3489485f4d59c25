/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The variables of connection.c and backend.c wherever httpd has variables:
 * in the environment (MPTCPEnvVars), in expressions, and in logs.
 *
 * The kernel is asked when the first variable of a request is read, and what
 * it said holds for the request with its subrequests and internal redirects,
 * until it is logged; a log is written of a second answer.  So a page agrees
 * with itself, a log line agrees with itself, and each costs a system call at
 * most.  That a connection is not MPTCP is final, and asked once.
 *
 * All of it is one thread's business at a time, as the request is.  Only the
 * connection behind HTTP/2's streams is shared: see final_state().
 */

#include "mod_mptcp.h"
#include "mod_log_config.h"

#include "ap_expr.h"
#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"

APLOG_USE_MODULE(mptcp);

/* The number of MPTCP_BACKEND, behind those of connection.c. */
#define BACKEND MPTCP_CONNECTION_VARIABLES

mptcp_request *mptcp_request_get(request_rec *r)
{
    mptcp_request *request = ap_get_module_config(r->request_config,
                                                  &mptcp_module);

    if (!request) {
        request = apr_pcalloc(r->pool, sizeof(*request));
        ap_set_module_config(r->request_config, &mptcp_module, request);
    }
    return request;
}

int mptcp_env_vars_on(const request_rec *r)
{
    const mptcp_dir_conf *conf = ap_get_module_config(r->per_dir_config,
                                                      &mptcp_module);

    return conf->env_vars == 1;
}

/* ---- the connection --------------------------------------------------- */

/*
 * The addresses of MPTCP listeners (apr_sockaddr_t *), for connections of
 * which APR does not know it.  Set in child_init, before there are threads.
 */
static apr_array_header_t *mptcp_addresses;

static int same_address(const apr_sockaddr_t *a, const apr_sockaddr_t *b)
{
    return a->port == b->port && apr_sockaddr_equal(a, b);
}

/* Is there a TCP listener too, as after a reload (listen_change.c)? */
static int has_tcp_listener(const apr_sockaddr_t *address)
{
    ap_listen_rec *lr;

    for (lr = ap_listeners; lr; lr = lr->next) {
        if (same_address(lr->bind_addr, address)
            && !mptcp_listener_is_mptcp(lr)) {
            return 1;
        }
    }
    return 0;
}

static void note_listeners(apr_pool_t *pchild, server_rec *s)
{
    ap_listen_rec *lr;

    (void)s;
    mptcp_addresses = apr_array_make(pchild, 4, sizeof(apr_sockaddr_t *));
    for (lr = ap_listeners; lr; lr = lr->next) {
        if (mptcp_listener_is_mptcp(lr) && !has_tcp_listener(lr->bind_addr)) {
            APR_ARRAY_PUSH(mptcp_addresses, apr_sockaddr_t *) = lr->bind_addr;
        }
    }
}

/*
 * Did the connection come to an MPTCP listener?  apr_socket_accept() gives
 * its socket the protocol which APR knows of the listener's.  APR does not
 * know it where the listener was made by others (a service manager), or is
 * one of the MPM's own duplicates (ListenCoresBucketsRatio): then the address
 * tells, whose family is the listening socket's.  No system call.
 */
static int is_of_mptcp_listener(const conn_rec *c, apr_socket_t *sd)
{
    int protocol, i;

    if (apr_socket_protocol_get(sd, &protocol) == APR_SUCCESS
        && protocol == IPPROTO_MPTCP) {
        return 1;
    }
    for (i = 0; mptcp_addresses && i < mptcp_addresses->nelts; i++) {
        apr_sockaddr_t *address = APR_ARRAY_IDX(mptcp_addresses, i,
                                                apr_sockaddr_t *);

        if (address->port == c->local_addr->port
            && ((apr_sockaddr_is_wildcard(address)
                 && address->family == c->local_addr->family)
                || apr_sockaddr_equal(address, c->local_addr))) {
            return 1;
        }
    }
    return 0;
}

/*
 * What a connection is for good is remembered as the address of one of these.
 * The threads that serve an HTTP/2 connection's streams may store it at the
 * same time: it is one pointer, and allocates nothing.
 */
static const mptcp_state final_states[] = {
    MPTCP_STATE_NO_LISTENER, MPTCP_STATE_OFF, MPTCP_STATE_FALLBACK
};

/* What ap_get_module_config() and ap_set_module_config() access, but not
 * atomically. */
static void **state_of(const conn_rec *c)
{
    return (void **)c->conn_config + mptcp_module.module_index;
}

static mptcp_state final_state(const conn_rec *c)
{
    const mptcp_state *state = __atomic_load_n(state_of(c), __ATOMIC_RELAXED);

    return state ? *state : MPTCP_STATE_UNKNOWN;
}

void mptcp_connection_note(conn_rec *c, mptcp_state state)
{
    size_t i;

    for (i = 0; i < sizeof(final_states) / sizeof(final_states[0]); i++) {
        if (final_states[i] == state) {
            __atomic_store_n(state_of(c), (void *)&final_states[i],
                             __ATOMIC_RELAXED);
        }
    }
}

/* Ask about a client's connection, or that of an HTTP/2 stream. */
static void read_connection(conn_rec *c, mptcp_reading *reading)
{
    apr_socket_t *sd;
    apr_os_sock_t fd;

    if (c->master) {
        c = c->master;
    }
    memset(reading, 0, sizeof(*reading));
    reading->state = final_state(c);
    sd = ap_get_conn_socket(c);
    if (reading->state != MPTCP_STATE_UNKNOWN || !sd) {
        return;
    }
    if (!is_of_mptcp_listener(c, sd)) {
        reading->state = MPTCP_STATE_NO_LISTENER;
    }
    else if (apr_os_sock_get(&fd, sd) == APR_SUCCESS && fd >= 0) {
        mptcp_connection_ask(fd, 0, reading);
    }
    mptcp_connection_note(c, reading->state);
}

/* The request that the client sent, of whatever came of it. */
static request_rec *client_request(request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r;
}

static const mptcp_reading *reading_of_request(request_rec *r)
{
    mptcp_request *request;

    r = client_request(r);
    request = mptcp_request_get(r);
    if (!request->reading) {
        request->reading = apr_palloc(r->pool, sizeof(*request->reading));
        read_connection(r->connection, request->reading);
    }
    return request->reading;
}

/* log_transaction, before all loggers: they get the values as of now. */
static int forget_reading(request_rec *r)
{
    mptcp_request *request;

    r = client_request(r);
    request = ap_get_module_config(r->request_config, &mptcp_module);
    if (request) {
        request->reading = NULL;
    }
    return DECLINED;
}

/* ---- all variables ---------------------------------------------------- */

/* The number of any variable by its name, or -1. */
static int find_variable(const char *name)
{
    return ap_cstr_casecmp(name, MPTCP_BACKEND_VARIABLE) == 0
           ? BACKEND : mptcp_variable_find(name);
}

static const char *variable_name(int variable)
{
    return variable == BACKEND ? MPTCP_BACKEND_VARIABLE
                               : mptcp_variable_name(variable);
}

/* The value of a variable for a request, or NULL. */
static const char *value_of(request_rec *r, int variable, apr_pool_t *p)
{
    if (variable == BACKEND) {
        return mptcp_state_text(mptcp_backend_state(r));
    }
    return mptcp_variable_value(reading_of_request(r), variable, p);
}

/* ---- the environment -------------------------------------------------- */

/*
 * MPTCP_BACKEND is known here for the error page of a proxied request; for
 * the request itself backend.c sets it, when the answer comes.
 */
static int set_environment(request_rec *r)
{
    int i;

    if (!mptcp_env_vars_on(r)) {
        return DECLINED;
    }
    for (i = 0; i <= BACKEND; i++) {
        const char *value = value_of(r, i, r->pool);

        if (value) {
            apr_table_setn(r->subprocess_env, variable_name(i), value);
        }
    }
    return DECLINED;
}

/* ---- expressions ------------------------------------------------------ */

/* DATA is an element of this, whose index is the variable's number. */
static const char expression_data[BACKEND + 1];

static const char *expression_value(ap_expr_eval_ctx_t *ctx, const void *data)
{
    int variable = (int)((const char *)data - expression_data);
    /* httpd evaluates none without a request so far */
    const char *value = ctx->r ? value_of(ctx->r, variable, ctx->p) : NULL;

    return value ? value : "";
}

static int look_up_expression(ap_expr_lookup_parms *parms)
{
    int variable;

    if (parms->type != AP_EXPR_FUNC_VAR
        || (variable = find_variable(parms->name)) < 0) {
        return DECLINED;
    }
    *parms->func = (const void *)expression_value;
    *parms->data = &expression_data[variable];
    return OK;
}

/* ---- logs ------------------------------------------------------------- */

/* %{NAME}^mp; mod_log_config writes NULL as - */
static const char *log_value(request_rec *r, char *name)
{
    int variable = find_variable(name);

    return variable < 0 ? NULL : value_of(r, variable, r->pool);
}

static int register_log_handler(apr_pool_t *pconf, apr_pool_t *plog,
                                apr_pool_t *ptemp)
{
    static char tag[] = "^mp";
    APR_OPTIONAL_FN_TYPE(ap_register_log_handler) *log_register
        = APR_RETRIEVE_OPTIONAL_FN(ap_register_log_handler);

    (void)plog;
    (void)ptemp;
    if (log_register) {
        /* 0: of the request that an internal redirect led to */
        log_register(pconf, tag, log_value, 0);
    }
    return OK;
}

/* ---- the configuration ------------------------------------------------ */

/* Is it a directive whose arguments have a log format? */
static int has_log_format(const ap_directive_t *directive)
{
    static const char *const names[] = {
        "LogFormat", "CustomLog", "GlobalLog", "TransferLog"
    };
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ap_cstr_casecmp(directive->directive, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/*
 * The first %{NAME}^mp whose name is no variable's: nobody else would say so,
 * the log would have a - for ever.
 */
static const char *wrong_log_name(const char *format, apr_pool_t *p)
{
    const char *at = format;

    while ((at = ap_strstr_c(at, "}^mp")) != NULL) {
        const char *start = at;
        const char *name;

        while (start > format && *start != '{') {
            start--;
        }
        name = apr_pstrmemdup(p, start + 1, at - start - 1);
        if (*start == '{' && find_variable(name) < 0) {
            return name;
        }
        at++;
    }
    return NULL;
}

static const char *all_names(apr_pool_t *p)
{
    const char *names = variable_name(0);
    int i;

    for (i = 1; i <= BACKEND; i++) {
        names = apr_pstrcat(p, names, ", ", variable_name(i), NULL);
    }
    return names;
}

/* What the configuration says of variables. */
typedef struct {
    int env_vars;                       /* MPTCPEnvVars On somewhere */
    int backend;                        /* MPTCP_BACKEND somewhere */
    int wrong;
} mentions;

static void look_for_variables(const ap_directive_t *directive,
                               mentions *found, apr_pool_t *p)
{
    for (; directive; directive = directive->next) {
        const char *args = directive->args ? directive->args : "";
        const char *wrong = NULL;

        if (ap_cstr_casecmp(directive->directive, "MPTCPEnvVars") == 0) {
            const char *rest = args;

            found->env_vars |= ap_cstr_casecmp(ap_getword_conf(p, &rest),
                                               "on") == 0;
        }
        if (ap_strcasestr(args, MPTCP_BACKEND_VARIABLE)) {
            found->backend = 1;
        }
        if (has_log_format(directive)) {
            wrong = wrong_log_name(args, p);
        }
        if (wrong) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                         "line %d of %s: %s: %%{%s}^mp: allowed is one of %s",
                         directive->line_num, directive->filename,
                         directive->directive, wrong, all_names(p));
            found->wrong = 1;
        }
        look_for_variables(directive->first_child, found, p);
    }
}

/* check_config: the whole tree has been read, by httpd -t too. */
static int check_variables(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp, server_rec *s)
{
    mentions found = { 0, 0, 0 };

    (void)pconf;
    (void)plog;
    (void)s;
    look_for_variables(ap_conftree, &found, ptemp);
    mptcp_backend_wanted(found.env_vars || found.backend, found.backend);
    return found.wrong ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

/* ---- hooks ------------------------------------------------------------ */

void mptcp_variables_register_hooks(void)
{
    /* mod_log_config offers its function while modules register hooks, and
     * reads formats after pre_config */
    ap_hook_pre_config(register_log_handler, NULL, NULL,
                       APR_HOOK_REALLY_FIRST);
    ap_hook_check_config(check_variables, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(note_listeners, NULL, NULL, APR_HOOK_MIDDLE);
    /* before those that use the environment: mod_rewrite, mod_headers */
    ap_hook_fixups(set_environment, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_expr_lookup(look_up_expression, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(forget_reading, NULL, NULL,
                            APR_HOOK_REALLY_FIRST);
}
