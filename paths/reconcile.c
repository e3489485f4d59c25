/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's endpoints are brought to what is wanted, and back.
 *
 * Endpoints belong to the network namespace, not to a process.  So it is
 * remembered what this server has added (state.c), and nothing else is
 * changed: an endpoint is ours only if we added it and the kernel still has
 * just that one; an equal one that was there before is used and left.  Only
 * differences are applied, so a reload does not touch what stays.
 *
 * No running connection is cut: what is wanted no more, but is the only path
 * of a connection, whoever's, stays (kernel/in_use.c) and is looked at again
 * every ten seconds or so.  Between looking and removing a connection may
 * come: a moment in which the kernel mostly has not begun to manage its paths.
 *
 * All of it happens in the parent, in a single thread.
 */

#include "paths/private.h"

APLOG_USE_MODULE(mptcp);

/* What has come of the lines, by their place in the configuration. */
static struct {
    apr_status_t refused;               /* why it is not in force, as said */
    int is_anothers;                    /* somebody else's endpoint serves */
    int said_translated, said_left_out, said_other_dev, said_down;
} line_note[MPTCP_ENDPOINTS_MAX];

/* Endpoints that had to stay, and of which that has been said: by their id. */
static unsigned char said_kept[256];

/* May anything be done later, though the host does not change? */
static int again;

/* The ids that are given to ours. */
#define FIRST_ID 129
#define LAST_ID 254

/* It waits for an endpoint of ours that has to stay. */
#define WAITS EAGAIN

/* The flags that the kernel changes in place (fullmesh: Linux 5.18). */
#define CHANGEABLE (MPTCP_PM_ADDR_FLAG_BACKUP | MPTCP_PM_ADDR_FLAG_FULLMESH)

/* ---- what there is ------------------------------------------------------ */

static const mptcp_endpoint *find_present(const mptcp_pm_work *work,
                                          const mptcp_endpoint *wanted)
{
    return mptcp_endpoint_find((const mptcp_endpoint *)work->present->elts,
                               work->present->nelts, wanted);
}

static const mptcp_endpoint *find_ours(const mptcp_pm_work *work,
                                       const mptcp_endpoint *ep)
{
    return mptcp_endpoint_find(work->state->endpoint, work->state->count, ep);
}

static const mptcp_endpoint *find_address(const mptcp_pm_work *work,
                                          const mptcp_endpoint *wanted)
{
    return mptcp_endpoint_find_address(work->present, wanted);
}

/* The wanted one of the address, whether the host has it or not; or NULL. */
static const mptcp_wanted *find_wanted(const apr_array_header_t *wanted,
                                       const mptcp_endpoint *ep)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);

        if (mptcp_endpoint_same_address(&one->endpoint, ep)) {
            return one;
        }
    }
    return NULL;
}

static int is_wanted(const apr_array_header_t *wanted,
                     const mptcp_endpoint *ep)
{
    const mptcp_wanted *one = find_wanted(wanted, ep);

    return one && one->missing == APR_SUCCESS
           && mptcp_endpoint_find(ep, 1, &one->endpoint) != NULL;
}

/* An error leaves what was known before. */
static apr_status_t read_present(mptcp_pm_work *work)
{
    apr_array_header_t *present;
    apr_status_t rv = mptcp_pm_get_endpoints(work->pm, work->p, &present);

    if (rv == APR_SUCCESS) {
        work->present = present;
    }
    return rv;
}

/* ---- removing ----------------------------------------------------------- */

void mptcp_pm_note_refused(mptcp_pm_work *work, const char *command)
{
    work->refused = work->refused
                    ? apr_pstrcat(work->p, work->refused, "; ", command, NULL)
                    : command;
}

static void say_kept(mptcp_pm_work *work, const mptcp_endpoint *ep, int count)
{
    const char *text = mptcp_endpoint_text(work->p, ep, NULL);
    const char *plural = count == 1 ? "" : "s";

    if (!work->s) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, NULL,
                     "endpoint %s is left behind, the only path of %d "
                     "connection%s; the next start knows it, or remove it as "
                     "root: ip mptcp endpoint delete id %d", text, count,
                     plural, ep->id);
    }
    else if (!said_kept[ep->id & 255]) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                     "endpoint %s stays as long as it is the only path of a "
                     "connection, now of %d connection%s; to cut that and "
                     "remove it at once: ip mptcp endpoint delete id %d", text,
                     count, plural, ep->id);
    }
    said_kept[ep->id & 255] = 1;
}

/* Must it stay, for connections that have no other path? */
static int is_needed(mptcp_pm_work *work, const mptcp_endpoint *ep)
{
    int count;
    apr_status_t rv = mptcp_connections_needing(work->p, ep, &count);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                     "endpoint %s is removed, and the kernel does not say "
                     "which connections have no other path",
                     mptcp_endpoint_text(work->p, ep, NULL));
        return 0;
    }
    if (count > 0) {
        work->kept++;
        say_kept(work, ep, count);
    }
    return count > 0;
}

static apr_status_t delete_endpoint(mptcp_pm_work *work,
                                    const apr_array_header_t *wanted,
                                    const mptcp_endpoint *ep)
{
    const char *text = mptcp_endpoint_text(work->p, ep, NULL);
    const mptcp_wanted *line = find_wanted(wanted, ep);
    apr_status_t rv = mptcp_pm_delete_endpoint(work->pm, ep);

    if (rv == EPERM) {
        mptcp_pm_note_refused(work, apr_psprintf(work->p, "ip mptcp endpoint "
                                                 "delete id %d", ep->id));
    }
    else if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                     "cannot remove endpoint %s", text);
    }
    else {
        work->changed = 1;
        if (said_kept[ep->id & 255]
            /* else why it is missing will be said */
            || (work->follows && !(line && line->missing))) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                         "endpoint %s is removed now", text);
        }
        said_kept[ep->id & 255] = 0;
    }
    return rv;
}

/*
 * Let the kernel change flags of an endpoint.  Backup alone harms nobody: it
 * tells the peers by MP_PRIO (Linux 5.12).  With fullmesh it ends the subflows
 * of the endpoint and makes them anew, but not the first one of a connection.
 * A kernel that cannot change a flag may say nothing.
 */
static int change_in_place(mptcp_pm_work *work, mptcp_endpoint *ours,
                           const mptcp_wanted *line)
{
    mptcp_endpoint changed = *ours;
    const mptcp_endpoint *now;

    changed.flags = line->endpoint.flags;
    if (!mptcp_endpoint_find(&changed, 1, &line->endpoint)
        || mptcp_pm_set_endpoint_flags(work->pm, &changed) != APR_SUCCESS
        || read_present(work) != APR_SUCCESS) {
        return 0;
    }
    work->changed = 1;
    now = find_address(work, &changed);
    if (now && now->id == ours->id) {
        *ours = *now;
    }
    return now && now->flags == changed.flags;
}

/* An endpoint of ours that is there, and not wanted as it is. */
static apr_status_t remove_or_change(mptcp_pm_work *work,
                                     const apr_array_header_t *wanted,
                                     mptcp_endpoint *ours)
{
    const mptcp_wanted *line = find_wanted(wanted, ours);
    apr_uint32_t differs;

    if (line && line->missing) {
        line = NULL;
    }
    differs = line ? line->endpoint.flags ^ ours->flags : 0;
    if (differs == MPTCP_PM_ADDR_FLAG_BACKUP
        && change_in_place(work, ours, line)) {
        return APR_SUCCESS;
    }
    if (is_needed(work, ours)) {
        return APR_SUCCESS;
    }
    if (differs && !(differs & ~CHANGEABLE)
        && change_in_place(work, ours, line)) {
        said_kept[ours->id & 255] = 0;
        return APR_SUCCESS;
    }
    return delete_endpoint(work, wanted, ours);
}

/* Returns the last error there was; what fails stays ours. */
static apr_status_t remove_unwanted(mptcp_pm_work *work,
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
        ours->id = present->id;         /* of a kernel that chooses it */
        rv = remove_or_change(work, wanted, ours);
        if (rv != APR_SUCCESS) {
            result = rv;
        }
    }
    return result;
}

/* ---- adding ------------------------------------------------------------- */

/*
 * An id for an endpoint of ours: from 129 upwards and round, where the kernel
 * begins at 1, so that no endpoint of another's is taken for one of ours that
 * was there before.  Not soon the one of an endpoint that has just gone: a
 * peer may not have heard of that yet.
 */
static int choose_id(mptcp_pm_work *work)
{
    mptcp_pm_state *state = work->state;
    int i, tries;

    for (tries = FIRST_ID; tries <= LAST_ID; tries++) {
        state->last_id = state->last_id < FIRST_ID || state->last_id >= LAST_ID
                         ? FIRST_ID : state->last_id + 1;
        for (i = 0; i < work->present->nelts; i++) {
            if (APR_ARRAY_IDX(work->present, i, mptcp_endpoint).id
                == state->last_id) {
                break;
            }
        }
        if (i == work->present->nelts) {
            return state->last_id;
        }
    }
    return 0;                           /* let the kernel find one */
}

/* Refusals that may turn into success while the server runs. */
static int is_passing(apr_status_t rv)
{
    return rv == ENODEV || rv == EADDRNOTAVAIL || rv == EADDRINUSE
           || rv == WAITS;
}

static void say_of_host(mptcp_pm_work *work, const mptcp_wanted *one,
                        const char *text)
{
    if (one->is_translated && !line_note[one->line].said_translated) {
        line_note[one->line].said_translated = 1;
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                     "MPTCPEndpoint %s: the address is not on this host, and "
                     "is announced as written, for a router that translates "
                     "it; write dev IF if it is to be an address of this host",
                     text);
    }
    if (one->left_out && !line_note[one->line].said_left_out) {
        line_note[one->line].said_left_out = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, work->s,
                     "MPTCPEndpoint %s: the interface has %d addresses more "
                     "than the %d that the kernel takes", text, one->left_out,
                     MPTCP_ENDPOINTS_MAX);
    }
    if (one->down_dev && !line_note[one->line].said_down) {
        line_note[one->line].said_down = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, work->s,
                     "MPTCPEndpoint %s: %s", text,
                     mptcp_down_text(work->p, one->down_dev));
    }
    else if (!one->down_dev && !one->missing
             && line_note[one->line].said_down) {
        line_note[one->line].said_down = 0;
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                     "MPTCPEndpoint %s: its interface is up again", text);
    }
    if (one->other_dev && !line_note[one->line].said_other_dev) {
        line_note[one->line].said_other_dev = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, work->s,
                     "MPTCPEndpoint %s: the address is on %s; write 'dev %s'",
                     text, one->other_dev, one->other_dev);
    }
}

/* Add one, or say why not; but not again what has been said. */
static void add_endpoint(mptcp_pm_work *work, const mptcp_wanted *one,
                         const char *dev)
{
    mptcp_endpoint ep = one->endpoint;
    const char *text = mptcp_endpoint_text(work->p, &ep, dev);
    apr_status_t *refused = &line_note[one->line].refused;
    const mptcp_endpoint *other = find_address(work, &ep);
    apr_status_t rv = one->missing;

    if (rv == APR_SUCCESS && other && find_ours(work, other)) {
        rv = WAITS;
    }
    if (rv == APR_SUCCESS) {
        if (!ep.id) {
            ep.id = choose_id(work);
        }
        rv = mptcp_pm_add_endpoint(work->pm, &ep);
        if (rv == EINVAL && !one->endpoint.id) {
            /* it takes the place of an implicit one, whose id it is to have */
            ep.id = 0;
            rv = mptcp_pm_add_endpoint(work->pm, &ep);
        }
    }
    if (rv == EPERM) {
        if (!work->follows) {
            mptcp_pm_note_refused(work, apr_pstrcat(
                work->p, "ip mptcp endpoint add ", text, NULL));
        }
    }
    else if (rv != APR_SUCCESS) {
        if (rv != WAITS && rv != *refused) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                         "MPTCPEndpoint %s is not in force: %s", text,
                         mptcp_refused_endpoint_text(
                             work->p, &one->endpoint, rv,
                             work->present));
        }
    }
    else {
        work->changed = 1;
        /* ids are not chosen twice from what is present */
        APR_ARRAY_PUSH(work->present, mptcp_endpoint) = ep;
        if (work->follows) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                         "MPTCPEndpoint %s is in force now", text);
        }
    }
    *refused = rv;
    again |= is_passing(rv);
}

/*
 * Ours are those which were ours and are there still, and those which are
 * there now but were not before.
 */
static void note_ours(mptcp_pm_work *work, const apr_array_header_t *before,
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
 * be ours, by its id.  Should it be missing, or somebody else's, nothing
 * present will be its like, and nothing is removed.
 */
static void note_attempted(mptcp_pm_work *work, int before)
{
    mptcp_pm_state *state = work->state;
    int i;

    for (i = before; i < work->present->nelts
                     && state->count < MPTCP_ENDPOINTS_MAX; i++) {
        state->endpoint[state->count++]
            = APR_ARRAY_IDX(work->present, i, mptcp_endpoint);
    }
}

/*
 * A kernel drops the flags that it does not know, and says nothing.  So what
 * was added is compared with what is there; from then on, until the next boot,
 * nobody asks for these flags.
 */
static void check_flags(mptcp_pm_work *work, apr_array_header_t *wanted,
                        const apr_array_header_t *attempted, int before)
{
    int i, j;

    for (i = before; i < attempted->nelts; i++) {
        const mptcp_endpoint *asked = &APR_ARRAY_IDX(attempted, i,
                                                     mptcp_endpoint);
        const mptcp_endpoint *took = find_address(work, asked);
        mptcp_endpoint lost = { .family = AF_UNSPEC }, as_written = *asked;

        if (!took) {
            continue;
        }
        if (as_written.id >= FIRST_ID) {
            as_written.id = 0;
        }
        lost.flags = asked->flags & ~took->flags;
        if ((asked->flags & MPTCP_PM_ADDR_FLAG_LAMINAR)
            && !mptcp_pm_knows_laminar(work->p)) {
            lost.flags |= MPTCP_PM_ADDR_FLAG_LAMINAR;
        }
        if (!lost.flags) {
            continue;
        }
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, work->s,
                     "MPTCPEndpoint %s: this kernel does not know %s, "
                     "which needs Linux %s; write %s",
                     mptcp_endpoint_text(work->p, &as_written, NULL),
                     apr_array_pstrcat(work->p,
                                       mptcp_endpoint_flags(work->p, &lost),
                                       ' '),
                     lost.flags & MPTCP_PM_ADDR_FLAG_LAMINAR ? "6.18" : "5.15",
                     lost.flags & MPTCP_PM_ADDR_FLAG_LAMINAR
                     ? "subflow or fullmesh" : "subflow");
        work->state->dropped |= asked->flags & ~took->flags;
    }
    for (j = 0; j < wanted->nelts; j++) {
        APR_ARRAY_IDX(wanted, j, mptcp_wanted).endpoint.flags
            &= ~work->state->dropped;
    }
}

static const char *dev_of(const mptcp_wanted *one)
{
    return APR_ARRAY_IDX(mptcp_global()->endpoints, one->line,
                         mptcp_wanted_endpoint).dev;
}

/*
 * While the server runs: what was not in force, what has been removed just now
 * to be added in another way, and what has come to an interface.  What has
 * been deleted by hand is added again by a reload alone.
 */
static int is_to_be_added(const mptcp_pm_work *work, const mptcp_wanted *one)
{
    return !work->follows || one->missing
           || line_note[one->line].refused != APR_SUCCESS
           || line_note[one->line].is_anothers
           || APR_ARRAY_IDX(mptcp_global()->endpoints, one->line,
                            mptcp_wanted_endpoint).endpoint.family
              == AF_UNSPEC;
}

/* Add what is wanted and not there. */
static apr_status_t add_missing(mptcp_pm_work *work,
                                apr_array_header_t *wanted)
{
    apr_array_header_t *before, *attempted;
    apr_status_t rv = read_present(work);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* what is added is pushed behind it */
    before = apr_array_copy(work->p, work->present);
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);
        const mptcp_endpoint *present = one->missing
                                        ? NULL
                                        : find_present(work, &one->endpoint);

        say_of_host(work, one, mptcp_endpoint_text(work->p, &one->endpoint,
                                                   dev_of(one)));
        if (present) {
            line_note[one->line].refused = APR_SUCCESS;
            line_note[one->line].is_anothers = !find_ours(work, present);
        }
        else if (is_to_be_added(work, one)) {
            line_note[one->line].is_anothers = 0;
            add_endpoint(work, one, dev_of(one));
        }
        again |= line_note[one->line].is_anothers;
    }
    attempted = work->present;
    rv = read_present(work);
    if (rv == APR_SUCCESS) {
        check_flags(work, wanted, attempted, before->nelts);
        note_ours(work, before, wanted);
    }
    else {
        note_attempted(work, before->nelts);
    }
    return rv;
}

/* ---- the whole ---------------------------------------------------------- */

void mptcp_reconcile_begin(void)
{
    memset(line_note, 0, sizeof(line_note));
    memset(said_kept, 0, sizeof(said_kept));
    again = 0;
}

int mptcp_reconcile_again(void)
{
    return again;
}

apr_status_t mptcp_reconcile(mptcp_pm_work *work, apr_array_header_t *wanted)
{
    apr_status_t rv = read_present(work);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    again = 0;
    work->kept = 0;
    for (i = 0; i < wanted->nelts; i++) {
        APR_ARRAY_IDX(wanted, i, mptcp_wanted).endpoint.flags
            &= ~work->state->dropped;
    }
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);
        const mptcp_endpoint *there = find_address(work, &one->endpoint);

        /* what is about to be removed will be wanted again */
        if (there && find_ours(work, there)
            && !mptcp_endpoint_find(there, 1, &one->endpoint)) {
            line_note[one->line].refused = WAITS;
        }
    }
    remove_unwanted(work, wanted);
    again |= work->kept > 0;
    return add_missing(work, wanted);
}

apr_status_t mptcp_reconcile_to_nothing(mptcp_pm_work *work)
{
    apr_array_header_t *none = apr_array_make(work->p, 1,
                                              sizeof(mptcp_wanted));
    apr_status_t rv = read_present(work);
    apr_array_header_t *before;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    before = work->present;
    work->kept = 0;
    rv = remove_unwanted(work, none);
    if (rv == APR_SUCCESS && read_present(work) == APR_SUCCESS) {
        note_ours(work, before, none);
    }
    return rv;
}
