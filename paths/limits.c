/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The path manager's limits.  They end no subflow that is there (seen with
 * Linux 6.18), so they are set at once.
 */

#include "paths/paths.h"

int mptcp_limits_wanted(const mptcp_limits *limits)
{
    int i, wanted = 0;

    for (i = 0; i < MPTCP_LIMITS; i++) {
        wanted |= limits->value[i] != MPTCP_LIMIT_UNSET;
    }
    return wanted;
}

apr_status_t mptcp_limits_apply(mptcp_pm_work *work,
                                const mptcp_limits *wanted)
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
        next.value[i] = wanted && wanted->value[i] != MPTCP_LIMIT_UNSET
                        ? wanted->value[i] : limit[i].before;
        limit[i].value = next.value[i];
        limit[i].is_set = limit[i].value != limit[i].before;
    }
    if (memcmp(&next, &now, sizeof(now)) != 0) {
        rv = mptcp_pm_set_limits(work->pm, &next);
        if (rv == EPERM) {
            mptcp_pm_note_refused(work, apr_pstrcat(
                work->p, "ip mptcp limits set ",
                mptcp_limits_text(work->p, &next), NULL));
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
