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

static void *create_server_conf(apr_pool_t *p, server_rec *s)
{
    mptcp_server_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->listeners = apr_array_make(p, 4, sizeof(ap_listen_rec *));
    conf->worker_settings = apr_hash_make(p);
    conf->endpoints = apr_array_make(p, 2, sizeof(mptcp_wanted_endpoint));
    conf->limits.value[MPTCP_LIMIT_SUBFLOWS] = MPTCP_LIMIT_UNSET;
    conf->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] = MPTCP_LIMIT_UNSET;
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

int mptcp_sysctl_number(apr_pool_t *p, const char *name)
{
    apr_file_t *file;
    char text[16];
    apr_size_t got = sizeof(text) - 1;
    char *end;
    int number = -1;

    if (apr_file_open(&file, apr_pstrcat(p, "/proc/sys/net/", name, NULL),
                      APR_FOPEN_READ, 0, p) != APR_SUCCESS) {
        return -1;
    }
    if (apr_file_read(file, text, &got) == APR_SUCCESS) {
        text[got] = '\0';
        number = (int)apr_strtoi64(text, &end, 10);
        if (end == text) {
            number = -1;
        }
    }
    apr_file_close(file);
    return number;
}

static const command_rec directives[] = {
    AP_INIT_TAKE_ARGV("MPTCPListen", mptcp_listen_directive, NULL, RSRC_CONF,
                      "an address and port to listen on with Multipath TCP: "
                      "[IP-address:]portnumber [protocol], as for Listen"),
    AP_INIT_TAKE_ARGV("MPTCPEndpoint", mptcp_endpoint_directive, NULL,
                      RSRC_CONF,
                      "a path-manager endpoint while the server runs: address "
                      "[dev IF] [id N] [port N] [signal] [subflow] [backup] "
                      "[fullmesh] [laminar]"),
    AP_INIT_TAKE_ARGV("MPTCPLimits", mptcp_limits_directive, NULL, RSRC_CONF,
                      "the path manager's limits while the server runs: "
                      "[subflows=N] [add_addr_accepted=N]"),
    { .name = NULL }
};

static void register_hooks(apr_pool_t *p)
{
    mptcp_listen_register_hooks();
    mptcp_proxy_register_hooks();
    mptcp_path_manager_register_hooks(p);
}

AP_DECLARE_MODULE(mptcp) = {
    STANDARD20_MODULE_STUFF,
    NULL,                               /* create per-directory config */
    NULL,                               /* merge per-directory config */
    create_server_conf,                 /* create per-server config */
    NULL,                               /* merge per-server config */
    directives,
    register_hooks,
#ifdef AP_MODULE_FLAG_NONE              /* since 2.4.30 */
    AP_MODULE_FLAG_NONE
#endif
};
