/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The work of one hook: what the kernel has while it is done, which of it is
 * this server's, and what was refused.
 */

#include "paths/private.h"

apr_status_t mptcp_paths_read_present(mptcp_paths_work *work)
{
    apr_array_header_t *present;
    apr_status_t rv = mptcp_pm_get_endpoints(work->pm, work->p, &present);

    if (rv == APR_SUCCESS) {
        work->present = present;
    }
    return rv;
}

void mptcp_paths_note_ours(mptcp_paths_work *work,
                           const apr_array_header_t *before,
                           const apr_array_header_t *wanted)
{
    mptcp_paths_state *state = work->state;
    mptcp_paths_state old = *state;
    int i;

    state->count = 0;
    for (i = 0; i < work->present->nelts
                && state->count < MPTCP_ENDPOINTS_MAX; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(work->present, i,
                                                  mptcp_endpoint);

        if (mptcp_paths_state_find(&old, ep)
            || (mptcp_is_wanted(wanted, ep)
                && !mptcp_endpoint_find(before, ep))) {
            state->endpoint[state->count++] = *ep;
        }
    }
}

void mptcp_paths_note_refused(mptcp_paths_work *work, const char *command)
{
    work->refused = work->refused
                    ? apr_pstrcat(work->p, work->refused, "; ", command, NULL)
                    : command;
}
