/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_mptcp: Multipath TCP (RFC 8684) for httpd's listening sockets and for
 * mod_proxy's connections to backends.
 *
 * This file has the module record, the directives and the configuration.
 * Each capability registers its own hooks; the reason for their order stands
 * beside each registration.
 */

#include "mod_mptcp.h"

#include <stddef.h>

static void *create_server_conf(apr_pool_t *p, server_rec *s)
{
    mptcp_server_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->listeners = apr_array_make(p, 4, sizeof(ap_listen_rec *));
    conf->worker_settings = apr_hash_make(p);
    return conf;
}

static void *create_dir_conf(apr_pool_t *p, char *dir)
{
    mptcp_dir_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)dir;
    conf->env_vars = MPTCP_UNSET;
    return conf;
}

static void *merge_dir_conf(apr_pool_t *p, void *base_conf, void *add_conf)
{
    mptcp_dir_conf *base = base_conf, *add = add_conf;
    mptcp_dir_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->env_vars = add->env_vars != MPTCP_UNSET ? add->env_vars
                                                  : base->env_vars;
    return conf;
}

mptcp_server_conf *mptcp_main_conf(void)
{
    /* core sets ap_server_conf before it runs pre_config */
    return ap_get_module_config(ap_server_conf->module_config, &mptcp_module);
}

const char *mptcp_refusal_text(apr_status_t status)
{
    switch (status) {
    case EINVAL:
        return "EINVAL: it is older than Linux 5.6";
    case EPROTONOSUPPORT:
        return "EPROTONOSUPPORT: it was built without CONFIG_MPTCP";
    case ENOPROTOOPT:
        return "ENOPROTOOPT: write 'sysctl -w net.mptcp.enabled=1'";
    case EPERM:
        return "EPERM: a security policy forbids it";
    case EACCES:
        return "EACCES: a security policy forbids it";
    default:
        return "for the reason above";
    }
}

int mptcp_array_has(const apr_array_header_t *pointers, const void *pointer)
{
    int i;

    for (i = 0; i < pointers->nelts; i++) {
        if (APR_ARRAY_IDX(pointers, i, const void *) == pointer) {
            return 1;
        }
    }
    return 0;
}

static const command_rec directives[] = {
    AP_INIT_TAKE_ARGV("MPTCPListen", mptcp_listen_directive, NULL, RSRC_CONF,
                      "an address and port to listen on with Multipath TCP: "
                      "[IP-address:]portnumber [protocol], as for Listen"),
    /* a directory's, or that of all directories of a server */
    AP_INIT_FLAG("MPTCPEnvVars", ap_set_flag_slot,
                 (void *)offsetof(mptcp_dir_conf, env_vars),
                 RSRC_CONF | ACCESS_CONF,
                 "On: requests get the MPTCP variables in their environment; "
                 "Off (the default): they do not"),
    { .name = NULL }
};

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    mptcp_listen_register_hooks();
    mptcp_proxy_register_hooks();
    mptcp_variables_register_hooks();
    mptcp_backend_register_hooks();
}

AP_DECLARE_MODULE(mptcp) = {
    STANDARD20_MODULE_STUFF,
    create_dir_conf,                    /* create per-directory config */
    merge_dir_conf,                     /* merge per-directory config */
    create_server_conf,                 /* create per-server config */
    NULL,                               /* merge per-server config */
    directives,
    register_hooks,
#ifdef AP_MODULE_FLAG_NONE              /* since 2.4.30 */
    AP_MODULE_FLAG_NONE
#endif
};
