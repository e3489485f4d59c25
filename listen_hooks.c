/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listening sockets: before the MPM binds them, and after.
 *
 * Listen (and MPTCPListen, through core's own ap_set_listener()) leaves an
 * unbound TCP socket in a record of ap_listeners, in process->pool.  The
 * MPM's open_logs hook has core set its options, bind it and listen.  Just
 * before that, the socket is replaced by an MPTCP one; nothing of core's
 * work is done here a second time.
 *
 * Records outlive restarts: core finds them again by address and port, and
 * then they are bound already.  listen_change.c deals with those whose
 * protocol is no longer the one wanted.
 */

#include "mod_mptcp.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

APLOG_USE_MODULE(mptcp);

/*
 * MPTCPListen: what Listen does, and a note that the listeners which came of
 * it are to be MPTCP.  A host name may give several, a restart finds old
 * records again and puts them elsewhere in the list: so the new ones are told
 * by the list before and after.
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[])
{
    mptcp_server_conf *conf = ap_get_module_config(cmd->server->module_config,
                                                   &mptcp_module);
    apr_array_header_t *before;
    ap_listen_rec *lr;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (err) {
        return err;
    }
    if (argc < 1 || argc > 2) {
        return apr_psprintf(cmd->pool, "%s takes one or two arguments: "
                            "[IP-address:]portnumber [protocol]",
                            cmd->cmd->name);
    }

    before = apr_array_make(cmd->temp_pool, 8, sizeof(ap_listen_rec *));
    for (lr = ap_listeners; lr; lr = lr->next) {
        APR_ARRAY_PUSH(before, ap_listen_rec *) = lr;
    }
    err = ap_set_listener(cmd, dummy, argc, argv);
    if (err) {
        return apr_psprintf(cmd->pool, "%s %s: %s (allowed is "
                            "[IP-address:]portnumber [protocol], each address "
                            "and port once in all Listen and %s lines)",
                            cmd->cmd->name, argv[0], err, cmd->cmd->name);
    }
    for (lr = ap_listeners; lr; lr = lr->next) {
        if (!mptcp_array_has(before, lr)) {
            APR_ARRAY_PUSH(conf->listeners, ap_listen_rec *) = lr;
        }
    }
    return NULL;
}

int mptcp_listener_option(const ap_listen_rec *lr, int level, int option)
{
    apr_os_sock_t fd;
    int value = -1;
    socklen_t length = sizeof(value);

    if (apr_os_sock_get(&fd, lr->sd) != APR_SUCCESS
        || getsockopt(fd, level, option, &value, &length) != 0) {
        return -1;
    }
    return value;
}

apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd)
{
    return apr_socket_create(sd, lr->bind_addr->family, SOCK_STREAM, protocol,
                             p);
}

/* An unbound TCP socket makes way for an MPTCP one, if the kernel has it. */
static void replace_unbound(ap_listen_rec *lr, mptcp_server_conf *conf,
                            apr_pool_t *p)
{
    apr_socket_t *sd;
    apr_status_t rv = mptcp_listener_new_socket(lr, IPPROTO_MPTCP, p, &sd);

    if (rv != APR_SUCCESS) {
        conf->listen_status = rv;
        return;
    }
    apr_socket_close(lr->sd);
    lr->sd = sd;
}

/* open_logs, before the MPM: give each listener a socket of its protocol. */
static int before_bind(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    /* sockets and records outlive restarts, as core's do */
    apr_pool_t *p = s->process->pool;
    ap_listen_rec *lr, *next;

    (void)pconf;
    (void)plog;
    (void)ptemp;
    for (lr = ap_listeners; lr; lr = next) {
        int wanted = mptcp_array_has(conf->listeners, lr);

        next = lr->next;                /* a change inserts behind lr */
        if (lr->active) {
            mptcp_listener_change(lr, wanted, conf, s->process);
        }
        else if (wanted) {
            replace_unbound(lr, conf, p);
        }
    }
    return OK;
}

/*
 * open_logs, after the MPM: listeners are bound, the error log is open.
 *
 * Core sets TCP_DEFER_ACCEPT on http and https listeners (AcceptFilter), on
 * every restart anew.  There it makes the kernel drop the bare third ACK of
 * each MP_JOIN, so that no second path is used for about 31 seconds (Linux
 * 6.18).  What it is for, not waking a process before the request is there,
 * costs more than it gives on an MPTCP listener.
 */
static int after_bind(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s)
{
    mptcp_server_conf *conf = mptcp_main_conf();
    ap_listen_rec *lr;

    (void)pconf;
    (void)plog;
    (void)ptemp;
    for (lr = ap_listeners; lr; lr = lr->next) {
        apr_os_sock_t fd;
        int off = 0;

        if (mptcp_listener_option(lr, SOL_SOCKET, SO_PROTOCOL)
            == IPPROTO_MPTCP
            && apr_os_sock_get(&fd, lr->sd) == APR_SUCCESS
            && setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off,
                          sizeof(off)) != 0
            /* a kernel that cannot clear it could not set it either */
            && mptcp_listener_option(lr, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                         "cannot clear TCP_DEFER_ACCEPT on %pI: second paths "
                         "will be used late; write 'AcceptFilter %s none'",
                         lr->bind_addr, lr->protocol);
        }
    }
    mptcp_listener_steer(conf, s->process);

    /* once, not again for the pass that only checks the configuration */
    if (conf->listen_status != APR_SUCCESS
        && ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, conf->listen_status, s,
                     "MPTCPListen serves by plain TCP: the kernel gives no "
                     "MPTCP socket, %s",
                     mptcp_refusal_text(conf->listen_status));
    }
    return OK;
}

void mptcp_listen_register_hooks(void)
{
    /*
     * The MPM binds the listeners in its own open_logs hook, which it puts
     * first of all and before core.c's (or stderr would go to the log too
     * early): the same place with the MPMs named as successors is before
     * them, and with core.c named too it is, like theirs, before core's.
     */
    static const char *const mpms_and_core[] = {
        "event.c", "worker.c", "prefork.c", "core.c", NULL
    };

    ap_hook_open_logs(before_bind, NULL, mpms_and_core,
                      APR_HOOK_REALLY_FIRST);
    /* MIDDLE is after all of these: the listeners are bound, the log open */
    ap_hook_open_logs(after_bind, mpms_and_core, NULL, APR_HOOK_MIDDLE);
}
