/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Endpoints that are wanted and not there: they are added, and of those that
 * are not in force it is said why, once.
 */

#include "paths/private.h"

APLOG_USE_MODULE(mptcp);

/* What has come of the lines, by their place in the configuration. */
static struct {
    apr_status_t refused;               /* why it is not in force, as said */
    int is_anothers;                    /* somebody else's endpoint serves */
    int said_translated, said_left_out, said_other_dev, said_down;
} line_note[MPTCP_ENDPOINTS_MAX];

/* The ids that are given to ours. */
#define FIRST_ID 129
#define LAST_ID 254

/* It waits for an endpoint of ours that has to stay, or has not been tried. */
#define WAITS EAGAIN

void mptcp_add_forget(void)
{
    int i;

    memset(line_note, 0, sizeof(line_note));
    for (i = 0; i < MPTCP_ENDPOINTS_MAX; i++) {
        line_note[i].refused = WAITS;
    }
}

/*
 * An id for an endpoint of ours: from 129 upwards and round, where the kernel
 * begins at 1, so that no endpoint of another's is taken for one of ours that
 * was there before.  (But when ours has been deleted by hand, the kernel goes
 * on with its id.)  Not soon the one of an endpoint that has just gone: a peer
 * may not have heard of that yet.
 */
static int choose_id(mptcp_paths_work *work)
{
    mptcp_paths_state *state = work->state;
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

static void say_of_host(mptcp_paths_work *work, const mptcp_wanted *one,
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
                     "than the %d that httpd takes", text, one->left_out,
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

/* What was not in force is there: it has stayed, or somebody has added it. */
static void say_back(mptcp_paths_work *work, const mptcp_wanted *one)
{
    const apr_status_t refused = line_note[one->line].refused;

    if (refused != APR_SUCCESS && refused != WAITS) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                     "MPTCPEndpoint %s is in force now",
                     mptcp_endpoint_text(work->p, &one->endpoint, one->dev));
    }
}

/* Add one, or say why not; but not again what has been said. */
static void add_endpoint(mptcp_paths_work *work, const mptcp_wanted *one)
{
    mptcp_endpoint ep = one->endpoint;
    const char *text = mptcp_endpoint_text(work->p, &ep, one->dev);
    apr_status_t *refused = &line_note[one->line].refused;
    const mptcp_endpoint *other = mptcp_endpoint_find_address(work->present,
                                                              &ep);
    apr_status_t rv = one->missing;

    if (rv == APR_SUCCESS && other
        && mptcp_paths_state_find(work->state, other)) {
        rv = WAITS;
    }
    /* the state has no room for more; nor have kernels before Linux 7.3 */
    if (rv == APR_SUCCESS && work->ours >= MPTCP_ENDPOINTS_MAX) {
        rv = ERANGE;
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
            mptcp_paths_note_refused(work, apr_pstrcat(
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
        work->ours++;
        /* ids are not chosen twice from what is present */
        APR_ARRAY_PUSH(work->present, mptcp_endpoint) = ep;
        if (work->follows) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                         "MPTCPEndpoint %s is in force now", text);
        }
    }
    *refused = rv;
    work->again |= is_passing(rv);
}

/*
 * What is there after adding could not be read: all that was to be added may
 * be ours, by its id.  Should it be missing, or somebody else's, nothing
 * present will be its like, and nothing is removed.
 */
static void note_attempted(mptcp_paths_work *work, int before)
{
    mptcp_paths_state *state = work->state;
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
static void check_flags(mptcp_paths_work *work, apr_array_header_t *wanted,
                        const apr_array_header_t *attempted, int before)
{
    int i;

    for (i = before; i < attempted->nelts; i++) {
        const mptcp_endpoint *asked = &APR_ARRAY_IDX(attempted, i,
                                                     mptcp_endpoint);
        const mptcp_endpoint *took
            = mptcp_endpoint_find_address(work->present, asked);
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
    mptcp_wanted_drop(wanted, work->state->dropped);
}

/*
 * While the server runs: what was not in force, what has been removed just now
 * to be added in another way, and what has come to an interface.  What has
 * been deleted by hand is added again by a reload alone.
 */
static int is_to_be_added(const mptcp_paths_work *work,
                          const mptcp_wanted *one)
{
    return !work->follows || one->missing
           || line_note[one->line].refused != APR_SUCCESS
           || line_note[one->line].is_anothers || one->is_of_interface;
}

void mptcp_add_expect(const mptcp_paths_work *work,
                      const apr_array_header_t *wanted)
{
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);
        const mptcp_endpoint *there
            = mptcp_endpoint_find_address(work->present, &one->endpoint);

        if (there && mptcp_paths_state_find(work->state, there)
            && !mptcp_endpoint_satisfies(there, &one->endpoint)) {
            line_note[one->line].refused = WAITS;
        }
    }
}

apr_status_t mptcp_add_missing(mptcp_paths_work *work,
                               apr_array_header_t *wanted)
{
    apr_array_header_t *before, *attempted;
    apr_status_t rv = mptcp_paths_read_present(work);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* what is added is pushed behind it */
    before = apr_array_copy(work->p, work->present);
    for (i = 0; i < before->nelts; i++) {
        work->ours += mptcp_paths_state_find(
            work->state, &APR_ARRAY_IDX(before, i, mptcp_endpoint)) != NULL;
    }
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);
        const mptcp_endpoint *present
            = one->missing ? NULL
                           : mptcp_endpoint_find(work->present,
                                                 &one->endpoint);

        say_of_host(work, one, mptcp_endpoint_text(work->p, &one->endpoint,
                                                   one->dev));
        if (present) {
            if (work->follows && !one->is_of_interface) {
                say_back(work, one);
            }
            line_note[one->line].refused = APR_SUCCESS;
            line_note[one->line].is_anothers
                = !mptcp_paths_state_find(work->state, present);
        }
        else if (is_to_be_added(work, one)) {
            line_note[one->line].is_anothers = 0;
            add_endpoint(work, one);
        }
        work->again |= line_note[one->line].is_anothers;
    }
    attempted = work->present;
    rv = mptcp_paths_read_present(work);
    if (rv == APR_SUCCESS) {
        check_flags(work, wanted, attempted, before->nelts);
        mptcp_paths_note_ours(work, before, wanted);
    }
    else {
        note_attempted(work, before->nelts);
    }
    return rv;
}
