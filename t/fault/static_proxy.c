/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A mod_proxy that is one object with a module of a scheme, as where both are
 * linked into httpd, and that has none of mod_proxy's functions.
 */

#include "mod_proxy.h"

#include "http_config.h"

static void *create_conf(apr_pool_t *p, server_rec *s)
{
    proxy_server_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->workers = apr_array_make(p, 1, sizeof(proxy_worker *));
    conf->balancers = apr_array_make(p, 1, sizeof(proxy_balancer));
    return conf;
}

static void no_hooks(apr_pool_t *p)
{
}

#define NAMED(text) \
    .version = MODULE_MAGIC_NUMBER_MAJOR, \
    .minor_version = MODULE_MAGIC_NUMBER_MINOR, \
    .module_index = -1, \
    .name = text, \
    .magic = MODULE_MAGIC_COOKIE

static module scheme = {
    NAMED("mod_proxy_scheme.c"),
    .register_hooks = no_hooks
};

static apr_status_t remove_scheme(void *data)
{
    ap_remove_module(&scheme);
    return APR_SUCCESS;
}

/* As long as the object is loaded. */
static void add_scheme(apr_pool_t *p)
{
    ap_add_module(&scheme, p, "proxy_scheme_module");
    apr_pool_cleanup_register(p, NULL, remove_scheme, apr_pool_cleanup_null);
}

module AP_MODULE_DECLARE_DATA proxy_module = {
    NAMED("mod_proxy.c"),
    .create_server_config = create_conf,
    .register_hooks = add_scheme
};
