/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What directives have said: the three configurations, made and merged, and
 * what rooms ask of httpd while it is read.
 */

#include "common/common.h"

/*
 * Set when the main server's configuration is made, which httpd does as soon
 * as it knows the module and before it reads a directive; so it never points
 * into a pconf that has been cleared while anybody could ask.
 */
static mptcp_global_conf *global_conf;

static mptcp_global_conf *create_global_conf(apr_pool_t *p)
{
    mptcp_global_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->listeners = apr_hash_make(p);
    conf->listen_default = 0;
    conf->fallback = 1;
    conf->worker_settings = apr_hash_make(p);
    conf->endpoints = apr_array_make(p, 2, sizeof(mptcp_endpoint_line));
    conf->limits.value[MPTCP_LIMIT_SUBFLOWS] = MPTCP_LIMIT_UNSET;
    conf->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] = MPTCP_LIMIT_UNSET;
    return conf;
}

mptcp_global_conf *mptcp_global(void)
{
    return global_conf;
}

void *mptcp_create_server_conf(apr_pool_t *p, server_rec *s)
{
    mptcp_server_conf *conf = apr_pcalloc(p, sizeof(*conf));

    if (!s->is_virtual) {
        global_conf = create_global_conf(p);
    }
    conf->proxy_default = MPTCP_UNSET;
    return conf;
}

void *mptcp_merge_server_conf(apr_pool_t *p, void *basev, void *addv)
{
    const mptcp_server_conf *base = basev, *add = addv;
    mptcp_server_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->proxy_default = add->proxy_default != MPTCP_UNSET
                        ? add->proxy_default : base->proxy_default;
    return conf;
}

void *mptcp_create_dir_conf(apr_pool_t *p, char *dir)
{
    mptcp_dir_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->env_vars = MPTCP_UNSET;
    conf->status_handler = MPTCP_UNSET;
    return conf;
}

void *mptcp_merge_dir_conf(apr_pool_t *p, void *basev, void *addv)
{
    const mptcp_dir_conf *base = basev, *add = addv;
    mptcp_dir_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->env_vars = add->env_vars != MPTCP_UNSET ? add->env_vars
                                                  : base->env_vars;
    conf->status_handler = add->status_handler != MPTCP_UNSET
                           ? add->status_handler : base->status_handler;
    return conf;
}

int mptcp_is_check_pass(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
}

const char *mptcp_section_argument(const ap_directive_t *section,
                                   apr_pool_t *p)
{
    const char *args = section->args;
    char *argument = ap_getword_conf(p, &args);

    if (*argument && argument[strlen(argument) - 1] == '>') {
        argument[strlen(argument) - 1] = '\0';
    }
    return argument;
}

int mptcp_section_is_server(const ap_directive_t *section,
                            const server_rec *s)
{
    return s->defn_name && section->filename
           && s->defn_line_number == (unsigned)section->line_num
           && strcmp(s->defn_name, section->filename) == 0;
}
