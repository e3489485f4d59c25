/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_mptcp: Multipath TCP (RFC 8684) for httpd's listening sockets and for
 * mod_proxy's connections to backends.
 *
 * This file has the module record, the directives, and all hooks in the order
 * in which httpd runs them.  CONTRIBUTING.md has a map of the rooms behind it.
 */

#include "mod_mptcp.h"

#include "listen/listen.h"
#include "paths/paths.h"
#include "proxy/proxy.h"
#include "status/status.h"
#include "variables/variables.h"

#include "apr_optional_hooks.h"
#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_status.h"
#include "mpm_common.h"                 /* ap_hook_monitor() */

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
    AP_INIT_FLAG("MPTCPFallback", mptcp_fallback_directive, NULL, RSRC_CONF,
                 "On (default) uses TCP where the kernel gives no MPTCP "
                 "socket, Off refuses to start"),
    AP_INIT_TAKE_ARGV("MPTCPEndpoint", mptcp_endpoint_directive, NULL,
                      RSRC_CONF,
                      "a path-manager endpoint while the server runs: "
                      "address, or dev IF for each that it has, [dev IF] "
                      "[id N] [port N] [signal] [subflow] [backup] "
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
    /*
     * Core's directive, which is core's to carry out: httpd lets every module
     * that has it see the line.
     */
    AP_INIT_TAKE1("SetHandler", status_note_handler, NULL, OR_FILEINFO,
                  "is noted, where it says mptcp-status"),
    { .name = NULL }
};

/*
 * What is MPTCP gets its counters, for whoever asks which listeners and
 * workers those are.
 */
static void name_counters(server_rec *s, apr_pool_t *ptemp)
{
    mptcp_listeners_name(s, ptemp);
    mptcp_workers_name(s);
}

/* The log is told the version, with LogLevel info. */
static int begin_counters(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, "version " MPTCP_VERSION);
    mptcp_counted_begin(s, pconf, ptemp);
    if (!mptcp_is_check_pass()) {
        name_counters(s, ptemp);
    }
    return OK;
}

/* httpd -t -D DUMP_MPTCP */
static void dump(apr_pool_t *pconf, server_rec *s)
{
    if (ap_exists_config_define("DUMP_MPTCP")) {
        mptcp_counted_begin(s, pconf, pconf);
        name_counters(s, pconf);
        status_dump(pconf, s);
    }
}

/* Endpoints and limits are applied, and the log is told what is in force. */
static int apply_and_report(apr_pool_t *pconf, apr_pool_t *plog,
                            apr_pool_t *ptemp, server_rec *s)
{
    if (!mptcp_is_check_pass()) {
        mptcp_paths_apply(s, pconf, plog, ptemp);
        status_start_report(s, ptemp);
        status_look_first(s, ptemp);
    }
    return OK;
}

static void register_hooks(apr_pool_t *pconf)
{
    static const char *const proxy[] = { "mod_proxy.c", NULL };
    static const char *const balancer[] = { "mod_proxy_balancer.c", NULL };
    static const char *const proxy_and_balancer[] = {
        "mod_proxy.c", "mod_proxy_balancer.c", NULL
    };
    static const char *const mpms_and_core[] = {
        "event.c", "worker.c", "prefork.c", "core.c", NULL
    };

    /*
     * ---- At start and at each reload, in the parent.  At start all up to
     * post_config runs twice, and the first time only checks. ----
     */

    /*
     * As soon as the module is loaded: if the new configuration of a reload
     * cannot be read, httpd ends, and its endpoints have to go.
     */
    mptcp_paths_register_cleanup(pconf);

    /*
     * pre_config: all lines are there (ap_conftree), none has been walked.
     *
     * Around mod_proxy's, which fetches the function of the parameter; and
     * before mod_proxy_balancer's, which fetches it too and takes its presence
     * for mod_proxy_hcheck's.
     */
    ap_hook_pre_config(mptcp_proxy_offer_parameter, NULL, proxy_and_balancer,
                       APR_HOOK_REALLY_FIRST);
    ap_hook_pre_config(mptcp_proxy_withdraw_parameter, proxy, balancer,
                       APR_HOOK_MIDDLE);
    /* mod_log_config offers its function while modules register hooks, and
     * reads formats after pre_config. */
    ap_hook_pre_config(mptcp_variables_register_log, NULL, NULL,
                       APR_HOOK_REALLY_FIRST);
    ap_hook_pre_config(mptcp_listen_lines, NULL, NULL, APR_HOOK_MIDDLE);

    /*
     * check_config: all lines have been read.  Workers first: virtual hosts
     * have inherited them by then, and mod_proxy_balancer's post_config has
     * not moved them to shared memory.
     */
    ap_hook_check_config(mptcp_workers_settle, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_check_config(mptcp_workers_compare, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(mptcp_listen_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(mptcp_variables_check, NULL, NULL, APR_HOOK_MIDDLE);

    /* test_config: httpd -t, which ends here. */
    ap_hook_test_config(dump, NULL, NULL, APR_HOOK_MIDDLE);

    /*
     * open_logs: the MPM binds the listeners in its own hook, which it puts
     * first of all and before core.c's (or stderr would go to the log too
     * early): the same place with the MPMs named as successors is before
     * them, and with core.c named too it is, like theirs, before core's.
     * MIDDLE is after all of these: the listeners are bound, the log is open.
     */
    ap_hook_open_logs(mptcp_listen_before_bind, NULL, mpms_and_core,
                      APR_HOOK_REALLY_FIRST);
    ap_hook_open_logs(mptcp_listen_after_bind, mpms_and_core, NULL,
                      APR_HOOK_MIDDLE);

    /* post_config: all modules are loaded, and there is one thread. */
    ap_hook_post_config(begin_counters, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(mptcp_proxy_redirect, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(mptcp_blackhole_prepare, NULL, NULL, APR_HOOK_MIDDLE);
    /* last of all, when no other module will find fault any more; it takes
     * privileges that the children will not have */
    ap_hook_post_config(apply_and_report, NULL, NULL, APR_HOOK_REALLY_LAST);

    /* ---- While the server runs, in the parent, every ten seconds. ---- */

    ap_hook_monitor(mptcp_paths_follow, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(mptcp_blackhole_follow, NULL, NULL, APR_HOOK_MIDDLE);
    /* after those that mend what it looks at */
    ap_hook_monitor(status_look, NULL, NULL, APR_HOOK_LAST);

    /* ---- And whenever a child has been started or has ended. ---- */

    ap_hook_child_status(mptcp_counters_child, NULL, NULL, APR_HOOK_MIDDLE);

    /*
     * ---- In a new child, after it has become another user, by which it loses
     * the capabilities of root.  Not child_init, which a child that is none of
     * the MPM's does not run: mod_cgid's daemon. ----
     */

    ap_hook_drop_privileges(mptcp_paths_leave_to_parent, NULL, NULL,
                            APR_HOOK_LAST);

    /* ---- For a connection. ---- */

    ap_hook_pre_connection(mptcp_count_accepted, NULL, NULL, APR_HOOK_MIDDLE);

    /* ---- For a request. ---- */

    /* before those that use the environment: mod_rewrite, mod_headers */
    ap_hook_fixups(mptcp_variables_set_environment, NULL, NULL,
                   APR_HOOK_REALLY_FIRST);
    /* when an expression is parsed, at start or by .htaccess */
    ap_hook_expr_lookup(mptcp_variables_look_up, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(status_handle, NULL, NULL, APR_HOOK_MIDDLE);
    /* mod_status's own hook, which is optional: it need not be loaded */
    APR_OPTIONAL_HOOK(ap, status_hook, status_add_section, NULL, NULL,
                      APR_HOOK_MIDDLE);
    /* before the filters that write headers (AP_FTYPE_CONTENT_SET) */
    ap_register_output_filter(MPTCP_BACKEND_FILTER,
                              mptcp_backend_set_environment, NULL,
                              AP_FTYPE_RESOURCE);
    /* before all loggers */
    ap_hook_log_transaction(mptcp_client_forget, NULL, NULL,
                            APR_HOOK_REALLY_FIRST);

    /* ---- At a connection's end: before mod_http2's, which may still
     * write. ---- */

    ap_hook_pre_close_connection(mptcp_count_ended, NULL, NULL,
                                 APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(mptcp) = {
    STANDARD20_MODULE_STUFF,
    mptcp_create_dir_conf,              /* create per-directory config */
    mptcp_merge_dir_conf,               /* merge per-directory config */
    mptcp_create_server_conf,           /* create per-server config */
    mptcp_merge_server_conf,            /* merge per-server config */
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
