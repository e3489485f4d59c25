/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's path manager is brought to what the configuration asks for,
 * and back.
 *
 * Endpoints and limits belong to the network namespace, not to a process.  So
 * it is remembered what this server has added (state.c), and nothing else
 * is changed: an endpoint is ours only if we added it and the kernel still has
 * just that one; an equal one that was there before is used and left.  Only
 * differences are applied, so a reload does not touch what stays.
 *
 * All of it happens in the parent, in a single thread.  Children have a copy
 * of what is remembered, to read, and their pools undo nothing: the undoing
 * cleanup is pconf's, which no child destroys, and it looks at the process id.
 */

#include "paths/paths.h"

#include <linux/capability.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

/*
 * Lines, by their place in the configuration, whose endpoint could not be
 * added for a reason that may go away by itself.  The parent's.
 */
static int is_pending[MPTCP_ENDPOINTS_MAX];

/* The work of one hook. */
typedef struct {
    mptcp_pm *pm;
    apr_pool_t *p;
    server_rec *s;                      /* for the log; NULL at exit */
    mptcp_pm_state *state;
    apr_array_header_t *present;        /* mptcp_endpoint: in the kernel */
    const char *refused;                /* commands that took a privilege */
} pm_work;

static const mptcp_endpoint *find_present(const pm_work *work,
                                          const mptcp_endpoint *wanted)
{
    return mptcp_endpoint_find((const mptcp_endpoint *)work->present->elts,
                work->present->nelts, wanted);
}

static const mptcp_endpoint *find_address(const pm_work *work,
                                          const mptcp_endpoint *wanted)
{
    int i;

    for (i = 0; i < work->present->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(work->present, i,
                                                  mptcp_endpoint);

        if (mptcp_endpoint_same_address(ep, wanted)) {
            return ep;
        }
    }
    return NULL;
}

int mptcp_endpoint_is_ours(process_rec *process, const mptcp_endpoint *ep)
{
    const mptcp_pm_state *state = mptcp_pm_state_of(process->pool);

    return state
           && mptcp_endpoint_find(state->endpoint, state->count, ep) != NULL;
}

/* ---- what is wanted, on this host --------------------------------------- */

/*
 * Does this kernel know laminar?  One that does not takes the flag all the
 * same.  Since 6.18 MPTCP_INFO counts such endpoints, in a byte that was
 * reserved and zero before; to be asked when there is one.
 */
static int knows_laminar(apr_pool_t *p)
{
    enum { LAMINAR_MAX = 81 };          /* its offset */
    unsigned char info[128] = { 0 };
    socklen_t length = sizeof(info);
    int known = 1;                      /* where it cannot be asked */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

    if (fd < 0) {
        return known;
    }
    /* it is the kernel's own path manager that counts them */
    if (mptcp_sysctl_number(p, "mptcp/pm_type") == 0
        && getsockopt(fd, SOL_MPTCP, MPTCP_INFO, info, &length)
           == 0) {
        known = length > LAMINAR_MAX && info[LAMINAR_MAX] > 0;
    }
    close(fd);
    return known;
}

/* ---- changing ----------------------------------------------------------- */

/* Note a command that was refused, to be named all at once. */
static void note_refused(pm_work *work, const char *command)
{
    work->refused = work->refused
                    ? apr_pstrcat(work->p, work->refused, "; ", command, NULL)
                    : command;
}

/* Why the kernel would not add an endpoint, and what to write instead. */
static const char *add_refusal_text(const pm_work *work,
                                    const mptcp_endpoint *ep, apr_status_t rv)
{
    const mptcp_endpoint *other = find_address(work, ep);

    switch (rv) {
    case ENODEV:
        return "this host has no such interface; the endpoint is added when "
               "it has";
    case EADDRNOTAVAIL:
        return "the address is not on this host; the endpoint is added when "
               "it is";
    case EADDRINUSE:
        return "its port is taken on that address: if a listener has it, "
               "leave port out or write another; connections that have ended "
               "hold it for a minute, and the endpoint is added then";
    case EAFNOSUPPORT:
        return "this kernel does not have the address's family";
    case EEXIST:
    case EBUSY:
    case EINVAL:
        if (other) {
            return apr_psprintf(work->p, "somebody else has added the "
                                "address with other settings, which stay: %s",
                                mptcp_endpoint_text(work->p, other, NULL));
        }
        if (rv == EBUSY) {
            return "somebody else's endpoint has that id; leave id out or "
                   "write another";
        }
        return "this kernel does not know one of its settings, or is too old "
               "for it";
    case ERANGE:
        return apr_psprintf(work->p, "there are %d endpoints already, more "
                            "the kernel does not take: see 'ip mptcp endpoint "
                            "show'", work->present->nelts);
    default:
        return "the kernel has refused it";
    }
}

/* Refusals that may turn into success while the server runs. */
static int is_passing(apr_status_t rv)
{
    return rv == ENODEV || rv == EADDRNOTAVAIL || rv == EADDRINUSE;
}

/*
 * Add the endpoint of a line; a refusal is logged, but not once more for one
 * that was pending and still is.
 */
static void add_endpoint(pm_work *work, const mptcp_wanted_endpoint *line,
                         const mptcp_endpoint *ep, int *pending)
{
    const char *text = mptcp_endpoint_text(work->p, ep, line->dev);
    int was_pending = *pending;
    apr_status_t rv = ep->ifindex < 0 ? ENODEV : mptcp_address_try(ep);

    if (rv == APR_SUCCESS) {
        rv = mptcp_pm_add_endpoint(work->pm, ep);
    }
    *pending = is_passing(rv);
    if (rv == EPERM) {
        note_refused(work, apr_pstrcat(work->p, "ip mptcp endpoint add ",
                                       text, NULL));
    }
    else if (rv != APR_SUCCESS) {
        if (!was_pending || !*pending) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                         "MPTCPEndpoint %s is not in force: %s", text,
                         add_refusal_text(work, ep, rv));
        }
    }
    else if ((ep->flags & MPTCP_PM_ADDR_FLAG_LAMINAR)
             && !knows_laminar(work->p)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, work->s,
                     "MPTCPEndpoint %s: this kernel does not know laminar, "
                     "which needs Linux 6.18; write subflow or fullmesh",
                     text);
    }
    else if (was_pending) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                     "MPTCPEndpoint %s is in force now", text);
    }
}

static apr_status_t delete_endpoint(pm_work *work, const mptcp_endpoint *ep)
{
    apr_status_t rv = mptcp_pm_delete_endpoint(work->pm, ep);

    if (rv == EPERM) {
        note_refused(work, apr_psprintf(work->p, "ip mptcp endpoint delete "
                                        "id %d", ep->id));
    }
    else if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                     "cannot remove endpoint %s",
                     mptcp_endpoint_text(work->p, ep, NULL));
    }
    return rv;
}

/*
 * Endpoints that were wanted, by interface and address as the host has them
 * now.  A name that is no interface gets an index that no interface has.
 */
static apr_array_header_t *look_up_interfaces(apr_pool_t *p,
                                              const mptcp_global_conf *conf)
{
    apr_array_header_t *wanted = apr_array_make(p, MPTCP_ENDPOINTS_MAX,
                                                sizeof(mptcp_endpoint));
    int i;

    for (i = 0; i < conf->endpoints->nelts; i++) {
        const mptcp_wanted_endpoint *line
            = &APR_ARRAY_IDX(conf->endpoints, i, mptcp_wanted_endpoint);
        mptcp_endpoint *ep = apr_array_push(wanted);

        *ep = line->endpoint;
        if (line->dev) {
            ep->ifindex = (int)if_nametoindex(line->dev);
            if (!ep->ifindex) {
                ep->ifindex = -1;
            }
        }
    }
    return wanted;
}

/* The wanted one that an endpoint of ours fits but for its being backup. */
static const mptcp_endpoint *find_but_for_backup(
    const apr_array_header_t *wanted, const mptcp_endpoint *ours)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(wanted, i, mptcp_endpoint);
        mptcp_endpoint changed = *ours;

        changed.flags ^= MPTCP_PM_ADDR_FLAG_BACKUP;
        if (mptcp_endpoint_find(&changed, 1, ep)) {
            return ep;
        }
    }
    return NULL;
}

static int is_wanted(const apr_array_header_t *wanted,
                     const mptcp_endpoint *ours)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        if (mptcp_endpoint_find(ours, 1, &APR_ARRAY_IDX(wanted, i,
                                                        mptcp_endpoint))) {
            return 1;
        }
    }
    return 0;
}

/*
 * Take away what is ours and no longer wanted.  Connections lose the subflows
 * of an endpoint that goes; so backup is changed in place, where the kernel
 * can (5.12): it tells the peers by MP_PRIO.
 * Returns the last error there was.
 */
static apr_status_t remove_unwanted(pm_work *work,
                                    const apr_array_header_t *wanted)
{
    mptcp_pm_state *state = work->state;
    apr_status_t rv, result = APR_SUCCESS;
    int i;

    for (i = 0; i < state->count; i++) {
        mptcp_endpoint *ours = &state->endpoint[i];
        const mptcp_endpoint *present = find_present(work, ours);

        if (!present || is_wanted(wanted, ours)) {
            continue;
        }
        ours->id = present->id;         /* note_attempted() knew none */
        if (find_but_for_backup(wanted, ours)) {
            mptcp_endpoint changed = *ours;

            changed.flags ^= MPTCP_PM_ADDR_FLAG_BACKUP;
            if (mptcp_pm_set_endpoint_flags(work->pm, &changed)
                == APR_SUCCESS) {
                *ours = changed;
                continue;
            }
        }
        rv = delete_endpoint(work, ours);
        if (rv != APR_SUCCESS) {
            result = rv;
        }
    }
    return result;
}

/*
 * Ours are those which were ours and are there still, and those which are
 * there now but were not before.
 */
static void note_ours(pm_work *work, const apr_array_header_t *before,
                      const apr_array_header_t *wanted)
{
    mptcp_pm_state *state = work->state;
    mptcp_pm_state old = *state;
    int i;

    state->count = 0;
    for (i = 0; i < work->present->nelts
                && state->count < MPTCP_ENDPOINTS_MAX; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(work->present, i,
                                                  mptcp_endpoint);

        if (mptcp_endpoint_find(old.endpoint, old.count, ep)
            || (is_wanted(wanted, ep)
                && !mptcp_endpoint_find(
                       (const mptcp_endpoint *)before->elts, before->nelts,
                       ep))) {
            state->endpoint[state->count++] = *ep;
        }
    }
}

/*
 * What is there after adding could not be read: all that was to be added may
 * be ours, with an id that the kernel has chosen.  Should it be missing, or
 * somebody else's, nothing present will be its like, and nothing is removed.
 */
static void note_attempted(pm_work *work, const apr_array_header_t *wanted)
{
    mptcp_pm_state *state = work->state;
    int i;

    for (i = 0; i < wanted->nelts && state->count < MPTCP_ENDPOINTS_MAX; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(wanted, i, mptcp_endpoint);

        if (!find_present(work, ep)
            && !mptcp_endpoint_find(state->endpoint, state->count, ep)) {
            state->endpoint[state->count++] = *ep;
        }
    }
}

/* An error leaves what was known before. */
static apr_status_t read_present(pm_work *work)
{
    apr_array_header_t *present;
    apr_status_t rv = mptcp_pm_get_endpoints(work->pm, work->p, &present);

    if (rv == APR_SUCCESS) {
        work->present = present;
    }
    return rv;
}

/* Add what is wanted and not there: of all lines, or of the pending ones. */
static apr_status_t add_missing(pm_work *work, const mptcp_global_conf *conf,
                                const apr_array_header_t *wanted,
                                int pending_only)
{
    apr_array_header_t *before;
    apr_status_t rv = read_present(work);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    before = work->present;
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted_endpoint *line
            = &APR_ARRAY_IDX(conf->endpoints, i, mptcp_wanted_endpoint);
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(wanted, i, mptcp_endpoint);

        if (pending_only && !is_pending[i]) {
            continue;
        }
        if (find_present(work, ep)) {
            is_pending[i] = 0;
            continue;
        }
        add_endpoint(work, line, ep, &is_pending[i]);
    }
    rv = read_present(work);
    if (rv == APR_SUCCESS) {
        note_ours(work, before, wanted);
    }
    else {
        note_attempted(work, wanted);
    }
    return rv;
}

static apr_status_t apply_endpoints(pm_work *work,
                                    const mptcp_global_conf *conf)
{
    apr_array_header_t *wanted = look_up_interfaces(work->p, conf);
    apr_status_t rv = read_present(work);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    remove_unwanted(work, wanted);      /* what fails stays ours */
    return add_missing(work, conf, wanted, 0);
}

/*
 * Set the limits that are wanted; those which were wanted no more go back to
 * what they were, unless somebody has changed them since.
 */
static apr_status_t apply_limits(pm_work *work, const mptcp_limits *wanted)
{
    mptcp_pm_limit limit[MPTCP_LIMITS];
    mptcp_limits now, next;
    apr_status_t rv = mptcp_pm_get_limits(work->pm, &now);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    next = now;
    memcpy(limit, work->state->limit, sizeof(limit));
    for (i = 0; i < MPTCP_LIMITS; i++) {
        if (!limit[i].is_set || limit[i].value != now.value[i]) {
            limit[i].before = now.value[i];
        }
        next.value[i] = wanted->value[i] != MPTCP_LIMIT_UNSET
                        ? wanted->value[i] : limit[i].before;
        limit[i].value = next.value[i];
        limit[i].is_set = limit[i].value != limit[i].before;
    }
    if (memcmp(&next, &now, sizeof(now)) != 0) {
        rv = mptcp_pm_set_limits(work->pm, &next);
        if (rv == EPERM) {
            note_refused(work, apr_pstrcat(work->p, "ip mptcp limits set ",
                                           mptcp_limits_text(work->p, &next),
                                           NULL));
            return APR_SUCCESS;
        }
    }
    /*
     * Noted on another error, too: it may have been done.  If not, the values
     * differ, and nothing is put back.
     */
    memcpy(work->state->limit, limit, sizeof(limit));
    return rv;
}

static const mptcp_limits no_limits = {
    { MPTCP_LIMIT_UNSET, MPTCP_LIMIT_UNSET }
};

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

/* ---- hooks -------------------------------------------------------------- */

static int wants_anything(const mptcp_global_conf *conf)
{
    return conf->endpoints->nelts > 0
           || memcmp(&conf->limits, &no_limits, sizeof(no_limits)) != 0;
}

static void apply(const mptcp_global_conf *conf, server_rec *s, apr_pool_t *p)
{
    pm_work work = { .p = p, .s = s, .state = mptcp_pm_state_make(s, p) };
    apr_status_t rv;

    memset(is_pending, 0, sizeof(is_pending));
    if (!wants_anything(conf) && !mptcp_pm_state_is_anything(work.state)) {
        return;
    }
    rv = mptcp_pm_open(p, &work.pm);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "MPTCPEndpoint and MPTCPLimits have no effect: %s",
                     open_refusal_text(rv));
        return;
    }
    rv = apply_limits(&work, &conf->limits);
    if (rv == APR_SUCCESS) {
        rv = apply_endpoints(&work, conf);
    }
    mptcp_pm_close(p, work.pm);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "MPTCPEndpoint and MPTCPLimits are not in force in full: "
                     "the path manager does not answer as it should");
    }
    if (work.refused) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, EPERM, s,
                     "MPTCPEndpoint and MPTCPLimits are not in force in full: "
                     "changing them takes CAP_NET_ADMIN, which httpd does not "
                     "have; give it that, or run as root: %s", work.refused);
    }
    mptcp_pm_state_save(work.state, s, p);
}

/* Take back all that this server has changed; the process is to end. */
static void take_back(mptcp_pm_state *state, apr_pool_t *p)
{
    pm_work work = { .p = p, .state = state };
    apr_array_header_t *none = apr_array_make(p, 0, sizeof(mptcp_endpoint));
    apr_status_t rv = mptcp_pm_open(p, &work.pm);

    if (rv == APR_SUCCESS) {
        rv = apply_limits(&work, &no_limits);
        if (rv == APR_SUCCESS) {
            rv = read_present(&work);
        }
        if (rv == APR_SUCCESS) {
            rv = remove_unwanted(&work, none);
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
    state->count = 0;
    mptcp_pm_state_save(state, NULL, p);
}

/*
 * pconf's cleanup: at a reload nothing happens, as the next configuration is
 * what counts; when the process ends, for whatever reason, all is taken back.
 * A process that only tests the configuration, or sends a signal, has no
 * state; a child has another process id than the state says.
 */
static apr_status_t on_pconf_cleared(void *data)
{
    mptcp_pm_state *state = NULL;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_EXITING) {
        state = mptcp_pm_state_of(ap_pglobal);
    }
    if (state && state->owner == getpid()
        && mptcp_pm_state_is_anything(state)) {
        apr_pool_t *p;

        if (apr_pool_create(&p, NULL) == APR_SUCCESS) {
            take_back(state, p);
            apr_pool_destroy(p);
        }
    }
    return APR_SUCCESS;
}

/* In the parent, which has not become another user yet. */
int mptcp_paths_apply(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s)
{
    if (!mptcp_is_check_pass()) {
        apply(mptcp_global(), s, ptemp);
    }
    return OK;
}

static int count_pending(void)
{
    int i, pending = 0;

    for (i = 0; i < MPTCP_ENDPOINTS_MAX; i++) {
        pending += is_pending[i];
    }
    return pending;
}

/*
 * In the parent, every ten seconds or so: endpoints which could not
 * be added may be possible now.  At boot httpd often starts before the last
 * address is there; and the kernel's listener of an endpoint with a port
 * cannot be bound while connections to it are in TIME_WAIT, as they are when
 * httpd has just been stopped (seen with Linux 6.18).
 */
int mptcp_paths_add_pending(apr_pool_t *pconf, server_rec *s)
{
    const mptcp_global_conf *conf = mptcp_global();
    pm_work work = { .s = s, .state = mptcp_pm_state_of(s->process->pool) };
    int pending = count_pending();

    if (!pending || !work.state || work.state->owner != getpid()
        || apr_pool_create(&work.p, pconf) != APR_SUCCESS) {
        return DECLINED;
    }
    if (mptcp_pm_open(work.p, &work.pm) == APR_SUCCESS) {
        add_missing(&work, conf, look_up_interfaces(work.p, conf), 1);
        mptcp_pm_close(work.p, work.pm);
        if (count_pending() != pending) {
            mptcp_pm_state_save(work.state, s, work.p);
        }
    }
    apr_pool_destroy(work.p);
    return DECLINED;
}

/*
 * After the child has become another user, by which it loses
 * the capabilities of root.  A server that is not root, but has been given
 * CAP_NET_ADMIN for the directives' sake (systemd's AmbientCapabilities),
 * would give it to its children, and these to CGI programs.  Not child_init,
 * which a child that is none of the MPM's does not run: mod_cgid's daemon.
 */
int mptcp_paths_drop_capability(apr_pool_t *pchild, server_rec *s)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3,
                                               0 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    struct __user_cap_data_struct *held = &data[CAP_TO_INDEX(CAP_NET_ADMIN)];
    const apr_uint32_t bit = CAP_TO_MASK(CAP_NET_ADMIN);
    const mptcp_pm_state *state = mptcp_pm_state_of(s->process->pool);
    /* with -X the parent serves, and is to take endpoints back at the end */
    if (!wants_anything(mptcp_global())
        || (state && state->owner == getpid())
        || syscall(SYS_capget, &header, data) != 0
        || !((held->permitted | held->inheritable) & bit)) {
        return OK;
    }
    held->effective &= ~bit;
    held->permitted &= ~bit;
    held->inheritable &= ~bit;
    /* an ambient capability goes with the permitted one */
    if (syscall(SYS_capset, &header, data) != 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "cannot give up CAP_NET_ADMIN in a child");
    }
    return OK;
}

void mptcp_paths_register_cleanup(apr_pool_t *pconf)
{
    apr_pool_cleanup_register(pconf, NULL, on_pconf_cleared,
                              apr_pool_cleanup_null);
}
