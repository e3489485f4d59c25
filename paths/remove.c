/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Endpoints of this server that are not wanted, or wanted otherwise: they are
 * changed in place, or removed, or stay for a while.
 *
 * No running connection is cut: what is the only path of a connection,
 * whoever's, stays (kernel/in_use.c) and is looked at again every ten seconds
 * or so.  Between looking and removing a connection may come: a moment in
 * which the kernel mostly has not begun to manage its paths.
 */

#include "paths/private.h"

APLOG_USE_MODULE(mptcp);

/* Endpoints that had to stay, and of which that has been said: by their id. */
static unsigned char said_kept[256];

/* The flags that the kernel changes in place (fullmesh: Linux 5.18). */
#define CHANGEABLE (MPTCP_PM_ADDR_FLAG_BACKUP | MPTCP_PM_ADDR_FLAG_FULLMESH)

void mptcp_remove_forget(void)
{
    memset(said_kept, 0, sizeof(said_kept));
}

static void say_kept(mptcp_paths_work *work, const mptcp_endpoint *ep,
                     int count)
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

/*
 * Must it stay, for connections that have no other path?
 * @param has_left The host has had its address, and has it no more
 */
static int is_needed(mptcp_paths_work *work, const mptcp_endpoint *ep,
                     int has_left)
{
    int count;
    apr_status_t rv = mptcp_connections_needing(work->p, ep,
                                                !has_left && !ep->ifindex,
                                                &count);

    if (work->s && (mptcp_is_shortage(rv) || rv == EAGAIN)) {
        work->again = 1;                /* it will be known */
        return 1;
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, work->s,
                     "endpoint %s is removed, and the kernel does not say "
                     "which connections have no other path",
                     mptcp_endpoint_text(work->p, ep, NULL));
        return 0;
    }
    if (count > 0) {
        work->again = 1;
        say_kept(work, ep, count);
    }
    return count > 0;
}

static apr_status_t delete_endpoint(mptcp_paths_work *work,
                                    const apr_array_header_t *wanted,
                                    const mptcp_endpoint *ep)
{
    const char *text = mptcp_endpoint_text(work->p, ep, NULL);
    const mptcp_wanted *line = mptcp_wanted_at(wanted, ep);
    apr_status_t rv = mptcp_pm_delete_endpoint(work->pm, ep);

    if (rv == EPERM) {
        mptcp_paths_note_refused(work, apr_psprintf(
            work->p, "ip mptcp endpoint delete id %d", ep->id));
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
static int change_in_place(mptcp_paths_work *work, mptcp_endpoint *ours,
                           const mptcp_wanted *line)
{
    mptcp_endpoint changed = *ours;
    const mptcp_endpoint *now;

    changed.flags = line->endpoint.flags;
    if (!mptcp_endpoint_satisfies(&changed, &line->endpoint)
        || mptcp_pm_set_endpoint_flags(work->pm, &changed) != APR_SUCCESS
        || mptcp_paths_read_present(work) != APR_SUCCESS) {
        return 0;
    }
    work->changed = 1;
    now = mptcp_endpoint_find_address(work->present, &changed);
    if (now && now->id == ours->id) {
        *ours = *now;
    }
    return now && now->flags == changed.flags;
}

/* An endpoint of ours that is there, and not wanted as it is. */
static apr_status_t remove_or_change(mptcp_paths_work *work,
                                     const apr_array_header_t *wanted,
                                     mptcp_endpoint *ours)
{
    const mptcp_wanted *line = mptcp_wanted_at(wanted, ours);
    int has_left = line && line->missing;
    apr_uint32_t differs;

    if (has_left) {
        line = NULL;
    }
    differs = line ? line->endpoint.flags ^ ours->flags : 0;
    if (differs == MPTCP_PM_ADDR_FLAG_BACKUP
        && change_in_place(work, ours, line)) {
        return APR_SUCCESS;
    }
    if (is_needed(work, ours, has_left)) {
        return APR_SUCCESS;
    }
    if (differs && !(differs & ~CHANGEABLE)
        && change_in_place(work, ours, line)) {
        said_kept[ours->id & 255] = 0;
        return APR_SUCCESS;
    }
    return delete_endpoint(work, wanted, ours);
}

apr_status_t mptcp_remove_unwanted(mptcp_paths_work *work,
                                   const apr_array_header_t *wanted)
{
    mptcp_paths_state *state = work->state;
    apr_status_t rv, result = APR_SUCCESS;
    int i;

    for (i = 0; i < state->count; i++) {
        mptcp_endpoint *ours = &state->endpoint[i];
        const mptcp_endpoint *present = mptcp_endpoint_find(work->present,
                                                            ours);

        if (!present || mptcp_is_wanted(wanted, ours)) {
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
