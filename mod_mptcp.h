/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_mptcp.h
 * @brief The module: its version, its record, and what directives set.
 *
 * All else stands in the header of the room that offers it: kernel/kernel.h,
 * common/common.h, listen/listen.h, proxy/proxy.h, paths/paths.h,
 * variables/variables.h, status/status.h.  Everything is internal to the
 * module: the shared object exports the module record alone.
 */

#ifndef MOD_MPTCP_H
#define MOD_MPTCP_H

#include "httpd.h"
#include "http_config.h"

#include "apr_hash.h"
#include "apr_tables.h"

#include "kernel/kernel.h"

/** By semver.org; the build, the packages and the tests read it from here. */
#define MPTCP_VERSION "0.1.0"

/*
 * APLOG_USE_MODULE() for every file but mod_mptcp.c, whose
 * AP_DECLARE_MODULE() sets the log index of that one file only.  Declared
 * before that macro, the visibility holds for the definition as well: the
 * module is compiled with -fvisibility=hidden, and httpd looks up just this.
 */
extern module AP_MODULE_DECLARE_DATA mptcp_module
    __attribute__((visibility("default")));

/** A flag that no directive has set. */
#define MPTCP_UNSET (-1)

/** A line of MPTCPEndpoint. */
typedef struct {
    /**
     * AF_UNSPEC: any that the interface has; ifindex is 0: it is looked up
     * when the line is applied
     */
    mptcp_endpoint endpoint;
    /** interface name, or NULL */
    const char *dev;
} mptcp_endpoint_line;

/*
 * What directives say, and nothing else: what came of it is kept by the room
 * whose matter it is.  Pool: pconf, so one configuration's life.  Written
 * while the configuration is read, and only read after that.
 */

/** What is said once, for the whole server. */
typedef struct {
    /** MPTCPListen, Listen options=: the listeners, see listen/wanted.c */
    apr_hash_t *listeners;
    /** MPTCPListenDefault: 1 On, 0 Off */
    int listen_default;
    /** MPTCPFallback: 1 On, 0 Off */
    int fallback;
    /** multipathtcp=, for all servers: by worker->s, see proxy/workers.c */
    apr_hash_t *worker_settings;
    /** MPTCPEndpoint: mptcp_endpoint_line */
    apr_array_header_t *endpoints;
    /** MPTCPLimits */
    mptcp_limits limits;
} mptcp_global_conf;

/** What each server, the main server and a virtual host, has of its own. */
typedef struct {
    /** MPTCPProxyDefault: 1 On, 0 Off, or MPTCP_UNSET */
    int proxy_default;
} mptcp_server_conf;

/** What each directory has of its own. */
typedef struct {
    /** MPTCPEnvVars: 1 On, 0 Off, or MPTCP_UNSET */
    int env_vars;
    /**
     * SetHandler: 1 mptcp-status, in the server's own configuration; 0
     * another, or in .htaccess; or MPTCP_UNSET
     */
    int status_handler;
} mptcp_dir_conf;

/* ---- proxy_hooks.c: what mod_proxy calls -------------------------------- */

/** pre_config, around mod_proxy's: it gets the worker parameter. */
int mptcp_proxy_offer_parameter(apr_pool_t *pconf, apr_pool_t *plog,
                                apr_pool_t *ptemp);
int mptcp_proxy_withdraw_parameter(apr_pool_t *pconf, apr_pool_t *plog,
                                   apr_pool_t *ptemp);

/** post_config: functions that mod_proxy and its modules import are ours. */
int mptcp_proxy_redirect(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp, server_rec *s);

#endif /* MOD_MPTCP_H */
