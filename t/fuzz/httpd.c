/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What the files under test use of httpd, as far as it is of importance. */

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "ap_listen.h"

#include "apr_lib.h"                    /* apr_isspace() */

#include <string.h>
#include <strings.h>

module mptcp_module;                    /* its module_index is 0 */

server_rec *ap_server_conf;
ap_directive_t *ap_conftree;
ap_listen_rec *ap_listeners;

int ap_cstr_casecmp(const char *s1, const char *s2)
{
    return strcasecmp(s1, s2);
}

int ap_cstr_casecmpn(const char *s1, const char *s2, apr_size_t n)
{
    return strncasecmp(s1, s2, n);
}

const char *ap_check_cmd_context(cmd_parms *cmd, unsigned forbidden)
{
    return NULL;
}

int mptcp_is_check_pass(void)
{
    return 0;
}

void ap_log_error_(const char *file, int line, int module_index, int level,
                   apr_status_t status, const server_rec *s,
                   const char *format, ...)
{
}

void ap_hook_pre_config(ap_HOOK_pre_config_t *hook, const char * const *pre,
                        const char * const *succ, int order)
{
}

/* A word, perhaps in quotation marks in which \ and they are escaped by \. */
char *ap_getword_conf(apr_pool_t *p, const char **line)
{
    const char *at = *line;
    char *word, *to, quote;

    while (apr_isspace(*at)) {
        at++;
    }
    word = to = apr_palloc(p, strlen(at) + 1);
    quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    while (*at && (quote ? *at != quote : !apr_isspace(*at))) {
        if (quote && *at == '\\' && (at[1] == '\\' || at[1] == quote)) {
            at++;
        }
        *to++ = *at++;
    }
    if (quote && *at) {
        at++;
    }
    *to = '\0';
    while (apr_isspace(*at)) {
        at++;
    }
    *line = at;
    return word;
}
