/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which variables the configuration names: in log formats, where nobody else
 * would say that a name is wrong, and whether MPTCP_BACKEND is among them, for
 * which mod_proxy has to be observed.
 */

#include "variables/variables.h"
#include "proxy/proxy.h"

APLOG_USE_MODULE(mptcp);

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
        if (*start == '{' && !mptcp_variable_find(name)) {
            return name;
        }
        at++;
    }
    return NULL;
}

static const char *all_names(apr_pool_t *p)
{
    const mptcp_variable *variable = mptcp_variables;
    const char *names = variable->name;

    while ((++variable)->name) {
        names = apr_pstrcat(p, names, ", ", variable->name, NULL);
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

/* The whole tree has been read, by httpd -t too. */
int mptcp_variables_check(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s)
{
    mentions found = { 0, 0, 0 };

    look_for_variables(ap_conftree, &found, ptemp);
    mptcp_backend_wanted(found.env_vars || found.backend, found.backend);
    return found.wrong ? HTTP_INTERNAL_SERVER_ERROR : OK;
}
