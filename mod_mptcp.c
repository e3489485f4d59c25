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
    conf->listen_default = 0;
    conf->listen_status = APR_SUCCESS;
    conf->listen_refusal = NULL;
    conf->fallback = 1;
    conf->proxy_default = MPTCP_UNSET;
    conf->worker_settings = apr_hash_make(p);
    conf->workers = NULL;               /* made by check_config */
    conf->balancers = NULL;
    conf->proxy_wants_any = 0;
    conf->endpoints = apr_array_make(p, 2, sizeof(mptcp_wanted_endpoint));
    conf->limits.value[MPTCP_LIMIT_SUBFLOWS] = MPTCP_LIMIT_UNSET;
    conf->limits.value[MPTCP_LIMIT_ADD_ADDR_ACCEPTED] = MPTCP_LIMIT_UNSET;
    return conf;
}

/* Of a virtual host; what only the main server has is nobody's to inherit. */
static void *merge_server_conf(apr_pool_t *p, void *basev, void *addv)
{
    const mptcp_server_conf *base = basev;
    const mptcp_server_conf *add = addv;
    mptcp_server_conf *conf = apr_pmemdup(p, add, sizeof(*add));

    conf->proxy_default = add->proxy_default != MPTCP_UNSET
                        ? add->proxy_default : base->proxy_default;
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

int mptcp_is_check_pass(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
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
    int number = -1;

    if (apr_file_open(&file, apr_pstrcat(p, "/proc/sys/net/", name, NULL),
                      APR_FOPEN_READ, 0, p) != APR_SUCCESS) {
        return -1;
    }
    if (apr_file_read(file, text, &got) == APR_SUCCESS) {
        text[got] = '\0';
        number = (int)apr_strtoi64(text, NULL, 10);
    }
    apr_file_close(file);
    return number;
}

apr_array_header_t *mptcp_process_array(process_rec *process, const char *key,
                                        int size)
{
    void *array = NULL;

    apr_pool_userdata_get(&array, key, process->pool);
    if (!array) {
        array = apr_array_make(process->pool, 1, size);
        /* copies the key, which is in memory that will be unloaded */
        apr_pool_userdata_set(array, key, NULL, process->pool);
    }
    return array;
}

static const char *set_fallback(cmd_parms *cmd, void *dummy, int flag)
{
    mptcp_server_conf *conf = ap_get_module_config(cmd->server->module_config,
                                                   &mptcp_module);

    (void)dummy;
    conf->fallback = flag;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const command_rec directives[] = {
    AP_INIT_TAKE_ARGV("MPTCPListen", mptcp_listen_directive, NULL, RSRC_CONF,
                      "an address and port to listen on with Multipath TCP: "
                      "[IP-address:]portnumber [protocol], as for Listen"),
    AP_INIT_FLAG("MPTCPListenDefault", mptcp_listen_default_directive, NULL,
                 RSRC_CONF, "On makes every Listen an MPTCPListen; Off is the "
                 "default"),
    AP_INIT_FLAG("MPTCPProxyDefault", mptcp_proxy_default_directive, NULL,
                 RSRC_CONF,
                 "On lets mod_proxy's workers that have no multipathtcp= "
                 "connect by Multipath TCP; Off is the default"),
    AP_INIT_FLAG("MPTCPFallback", set_fallback, NULL, RSRC_CONF,
                 "On (default) uses TCP where the kernel gives no MPTCP "
                 "socket, Off refuses to start"),
    AP_INIT_TAKE_ARGV("MPTCPEndpoint", mptcp_endpoint_directive, NULL,
                      RSRC_CONF,
                      "a path-manager endpoint while the server runs: address "
                      "[dev IF] [id N] [port N] [signal] [subflow] [backup] "
                      "[fullmesh] [laminar]"),
    AP_INIT_TAKE_ARGV("MPTCPLimits", mptcp_limits_directive, NULL, RSRC_CONF,
                      "the path manager's limits while the server runs: "
                      "[subflows=N] [add_addr_accepted=N]"),
    /* a directory's, or that of all directories of a server */
    AP_INIT_FLAG("MPTCPEnvVars", ap_set_flag_slot,
                 (void *)offsetof(mptcp_dir_conf, env_vars),
                 RSRC_CONF | ACCESS_CONF,
                 "On: requests get the MPTCP variables in their environment; "
                 "Off (the default): they do not"),
    { .name = NULL }
};

/* post_config: for whoever looks into a log with LogLevel info. */
static int say_version(apr_pool_t *pconf, apr_pool_t *plog,
                       apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, "version " MPTCP_VERSION);
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_post_config(say_version, NULL, NULL, APR_HOOK_MIDDLE);
    mptcp_listen_directives_register_hooks();
    mptcp_listen_register_hooks();
    mptcp_proxy_workers_register_hooks();
    mptcp_proxy_shared_register_hooks();
    mptcp_proxy_sockets_register_hooks();
    mptcp_path_manager_register_hooks(p);
    mptcp_variables_register_hooks();
    mptcp_backend_register_hooks();
    mptcp_counters_register_hooks();
    mptcp_status_register_hooks();
}

AP_DECLARE_MODULE(mptcp) = {
    STANDARD20_MODULE_STUFF,
    create_dir_conf,                    /* create per-directory config */
    merge_dir_conf,                     /* merge per-directory config */
    create_server_conf,                 /* create per-server config */
    merge_server_conf,                  /* merge per-server config */
    directives,
    register_hooks,
#ifdef AP_MODULE_FLAG_NONE              /* since 2.4.30 */
    AP_MODULE_FLAG_NONE
#endif
};
