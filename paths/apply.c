/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * When endpoints and limits are applied, and when they are taken back.
 *
 * They are applied by the parent alone, in a single thread: when a
 * configuration is known to be good, and every ten seconds or so if the host
 * has changed.  They are taken back when the process ends, in whatever way:
 *
 *   by a stop, or a mistake in a configuration at a reload: process->pool is
 *   destroyed, and in it plog before pconf (the younger child first);
 *   by exit() in core, whose PidFile cannot be written: a destructor;
 *   and when a reload takes away the LoadModule line.
 *
 * At a reload pconf is cleared, and with it goes the module's code, before
 * anybody knows whether the next configuration has the module, or any.  So, if
 * there is something to take back, the code is held by plog, which httpd
 * clears when the next configuration has been read and found to be good.  Then
 * this is looked into; and if the configuration is no good, the process ends,
 * and so does plog.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE                     /* dladdr() */
#endif

#include "paths/private.h"

#include "apr_dso.h"

#include <dlfcn.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

/* The parent's, while this code is the one to take back what it names. */
static mptcp_paths_state *applied;
static apr_pool_t *log_pool;
static int host_watch = -1;

/* The host has changed, or did not say all, since endpoints were applied. */
static int is_due;

/* ---- applying ----------------------------------------------------------- */

/* Why there is no path manager, and what to do. */
static const char *open_refusal_text(apr_status_t rv)
{
    switch (rv) {
    case ENOENT:
        return "the kernel has no netlink family mptcp_pm: it is older than "
               "Linux 5.7 or built without CONFIG_MPTCP";
    case EAFNOSUPPORT:
        return "netlink sockets are forbidden: add AF_NETLINK to "
               "RestrictAddressFamilies in httpd's systemd unit";
    default:
        return "no netlink socket";
    }
}

static int asks_for_anything(const mptcp_global_conf *conf)
{
    return conf->endpoints->nelts > 0 || mptcp_limits_wanted(&conf->limits);
}

static void apply(const mptcp_global_conf *conf, server_rec *s, apr_pool_t *p)
{
    mptcp_paths_work work = { .p = p, .s = s };
    apr_status_t rv;

    is_due = 0;
    mptcp_reconcile_begin();
    if (!asks_for_anything(conf) && !mptcp_paths_state_of(s->process->pool)
        && !mptcp_paths_state_file_exists(p)) {
        return;
    }
    work.state = applied = mptcp_paths_state_make(s, p);
    if (!asks_for_anything(conf) && !mptcp_paths_state_is_anything(applied)) {
        return;
    }
    rv = mptcp_pm_open(p, &work.pm);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "MPTCPEndpoint and MPTCPLimits have no effect: %s",
                     open_refusal_text(rv));
        return;
    }
    rv = mptcp_limits_apply(&work, &conf->limits);
    if (rv == APR_SUCCESS) {
        rv = mptcp_reconcile(&work);
    }
    is_due = rv != APR_SUCCESS;
    mptcp_pm_close(p, work.pm);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "MPTCPEndpoint and MPTCPLimits are not in force in full: "
                     "the kernel does not answer as it should; endpoints are "
                     "tried again every ten seconds");
    }
    if (work.refused) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, EPERM, s,
                     "MPTCPEndpoint and MPTCPLimits are not in force in full: "
                     "changing them takes CAP_NET_ADMIN, which httpd does not "
                     "have; give it that, or run as root: %s", work.refused);
    }
    mptcp_paths_state_save(work.state, s, p);
}

static apr_status_t close_watch(void *data)
{
    if (host_watch >= 0) {
        close(host_watch);
        host_watch = -1;
    }
    return APR_SUCCESS;
}

/* In the parent, which has not become another user yet. */
void mptcp_paths_apply(server_rec *s, apr_pool_t *pconf, apr_pool_t *plog,
                       apr_pool_t *ptemp)
{
    const mptcp_global_conf *conf = mptcp_global();

    log_pool = plog;
    if (conf->endpoints->nelts) {
        /* before looking, so that nothing is missed */
        host_watch = mptcp_host_watch();
        apr_pool_cleanup_register(pconf, NULL, close_watch,
                                  apr_pool_cleanup_null);
    }
    apply(conf, s, ptemp);
}

/* ---- following ---------------------------------------------------------- */

/*
 * In the parent, every ten seconds or so.  Interfaces and addresses come and
 * go; at boot httpd often starts before the last one is there.  The kernel's
 * listener of an endpoint with a port cannot be bound while connections to it
 * are in TIME_WAIT, as they are when httpd has just been stopped (seen with
 * Linux 6.18).  And what had to stay for a connection may go when that has
 * ended.
 */
int mptcp_paths_follow(apr_pool_t *pconf, server_rec *s)
{
    const mptcp_global_conf *conf = mptcp_global();
    mptcp_paths_work work = { .s = s, .state = applied, .follows = 1 };

    is_due |= conf->endpoints->nelts && mptcp_host_changed(host_watch);
    if ((!is_due && !mptcp_reconcile_again()) || !applied
        || applied->owner != getpid()
        || apr_pool_create(&work.p, pconf) != APR_SUCCESS) {
        return DECLINED;
    }
    if (mptcp_pm_open(work.p, &work.pm) == APR_SUCCESS) {
        is_due = mptcp_reconcile(&work) != APR_SUCCESS;
        mptcp_pm_close(work.p, work.pm);
        if (work.changed) {
            mptcp_paths_state_save(applied, s, work.p);
        }
    }
    apr_pool_destroy(work.p);
    return DECLINED;
}

/* ---- taking back -------------------------------------------------------- */

static void take_back_all(mptcp_paths_state *state, apr_pool_t *p)
{
    mptcp_paths_work work = { .p = p, .state = state };
    apr_status_t rv = mptcp_pm_open(p, &work.pm);

    if (rv == APR_SUCCESS) {
        rv = mptcp_limits_apply(&work, NULL);
        if (rv == APR_SUCCESS) {
            rv = mptcp_reconcile_to_nothing(&work);
        }
        mptcp_pm_close(p, work.pm);
    }
    if (rv == APR_SUCCESS && work.refused) {
        rv = EPERM;                     /* of the limits */
    }
    if (rv != APR_SUCCESS) {
        /* the file stays, for the next start */
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, NULL,
                     "endpoints and limits are left behind; the next start "
                     "recognises them, or run as root: %s",
                     work.refused ? work.refused : "ip mptcp endpoint show");
        return;
    }
    mptcp_paths_state_save(state, NULL, p);
}

/*
 * All that this server has changed, once.  A process that only tests the
 * configuration, or sends a signal, has no state; a child has another process
 * id than the state says.
 */
static void take_back(void)
{
    mptcp_paths_state *state = applied;
    apr_pool_t *p;

    applied = NULL;
    if (state && state->owner == getpid()
        && mptcp_paths_state_is_anything(state)
        && apr_pool_create(&p, NULL) == APR_SUCCESS) {
        take_back_all(state, p);
        apr_pool_destroy(p);
    }
}

/* plog's cleanup, see above. */
static apr_status_t on_configuration_read(void *state)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_EXITING
        || !ap_find_linked_module(mptcp_module.name)) {
        applied = state;
        take_back();
    }
    return APR_SUCCESS;
}

/* Hold this code in memory until plog has been cleared. */
static void stay_for_reload(void)
{
    apr_dso_handle_t *handle;
    Dl_info self;

    if (!mptcp_paths_state_is_anything(applied)) {
        return;
    }
    /* cleanups run in reverse order: this one's code is there for the other */
    if (dladdr(&mptcp_module, &self) && self.dli_fname
        && apr_dso_load(&handle, self.dli_fname, log_pool) == APR_SUCCESS) {
        apr_pool_cleanup_register(log_pool, applied, on_configuration_read,
                                  apr_pool_cleanup_null);
    }
    applied = NULL;
}

/* pconf's cleanup: of a reload, or at the end of the process. */
static apr_status_t on_pconf_cleared(void *data)
{
    if (applied && applied->owner == getpid()
        && ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_DESTROY_CONFIG) {
        stay_for_reload();
    }
    else {
        take_back();
    }
    return APR_SUCCESS;
}

void mptcp_paths_register_cleanup(apr_pool_t *pconf)
{
    /* of the last configuration, at a reload; this one may yet fail */
    applied = mptcp_paths_state_of(ap_pglobal);
    apr_pool_cleanup_register(pconf, NULL, on_pconf_cleared,
                              apr_pool_cleanup_null);
}

/* exit(); or the module is unloaded, by when there is nothing to do. */
static void __attribute__((destructor)) on_exit_or_unloaded(void)
{
    take_back();
}

/* ---- children ----------------------------------------------------------- */

/*
 * A server that is not root, but has been given CAP_NET_ADMIN for the
 * directives' sake (systemd's AmbientCapabilities), would give it to its
 * children, and these to CGI programs.  So it is given up where the directives
 * have been there since the server was started; others may have it for other
 * purposes.
 */
int mptcp_paths_leave_to_parent(apr_pool_t *pchild, server_rec *s)
{
    const mptcp_paths_state *state = mptcp_paths_state_of(s->process->pool);

    /*
     * With -X the parent serves, and is to take endpoints back at the end.  A
     * child that another module has forked before they were applied has no
     * state yet.
     */
    if (state ? state->owner != getpid() : asks_for_anything(mptcp_global())) {
        apr_status_t rv;

        close_watch(NULL);
        rv = mptcp_net_admin_drop();
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                         "cannot give up CAP_NET_ADMIN in a child");
        }
    }
    return OK;
}
