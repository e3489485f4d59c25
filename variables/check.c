/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which variables the configuration names: in log formats, where nobody else
 * would say that a name is wrong, and whether MPTCP_BACKEND is among them, for
 * which mod_proxy has to be observed.
 */

#include "variables/private.h"
#include "proxy/proxy.h"

APLOG_USE_MODULE(mptcp);

/* The log format among a directive's arguments, or NULL. */
static const char *log_format(const ap_directive_t *directive, apr_pool_t *p)
{
    static const struct {
        const char *name;
        int words;                      /* that stand before it */
    } directives[] = {
        { "LogFormat", 0 }, { "CustomLog", 1 }, { "GlobalLog", 1 }
    };
    const char *args = directive->args;
    size_t i;
    int word;

    for (i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
        if (ap_cstr_casecmp(directive->directive, directives[i].name) == 0) {
            for (word = 0; word < directives[i].words; word++) {
                ap_getword_conf(p, &args);
            }
            return ap_getword_conf(p, &args);
        }
    }
    return NULL;
}

/*
 * The next item of a log format, as mod_log_config reads it: behind the % come
 * conditions and words in braces, in any order, and then what it is, of one
 * letter, or ^ and two.  %% is a percent sign.
 * @param name Set to the last word in braces, "" if there is none
 * @return The letter or ^; NULL at the end
 */
static const char *next_item(const char *at, const char **name, apr_pool_t *p)
{
    *name = "";
    while ((at = strchr(at, '%')) != NULL && at[1] == '%') {
        at += 2;
    }
    if (!at) {
        return NULL;
    }
    at += 1 + strspn(at + 1, "!<>,0123456789");
    while (*at == '{') {
        at++;
        *name = ap_getword(p, &at, '}');
        at += strspn(at, "!<>,0123456789");
    }
    return *at ? at : NULL;
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

/*
 * A %{NAME}^mp whose name is no variable's is an error, %^mp too: nobody else
 * would say so, the log would have a - for ever.  %{NAME}mp is the request's
 * method, and a p.
 */
static void check_format(const ap_directive_t *directive, const char *format,
                         mentions *found, apr_pool_t *p)
{
    const char *at = format, *name;

    while ((at = next_item(at, &name, p)) != NULL) {
        if (strncmp(at, "^mp", 3) == 0) {
            at += 3;
            if (mptcp_variable_find(name)) {
                continue;
            }
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                         "line %d of %s: %s: %%{%s}^mp: allowed is one of %s",
                         directive->line_num, directive->filename,
                         directive->directive, name, all_names(p));
            found->wrong = 1;
            return;
        }
        if (strncmp(at, "mp", 2) == 0 && mptcp_variable_find(name)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                         "line %d of %s: %s: %%{%s}mp is the request's method "
                         "and a p; write %%{%s}^mp", directive->line_num,
                         directive->filename, directive->directive, name,
                         name);
        }
        at++;
    }
}

static void look_for_variables(const ap_directive_t *directive,
                               mentions *found, apr_pool_t *p)
{
    for (; directive; directive = directive->next) {
        const char *args = directive->args ? directive->args : "";
        const char *format = log_format(directive, p);

        if (ap_cstr_casecmp(directive->directive, "MPTCPEnvVars") == 0) {
            const char *rest = args;

            found->env_vars |= ap_cstr_casecmp(ap_getword_conf(p, &rest),
                                               "on") == 0;
        }
        if (ap_strcasestr(args, MPTCP_BACKEND_VARIABLE)) {
            found->backend = 1;
        }
        if (format) {
            check_format(directive, format, found, p);
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
