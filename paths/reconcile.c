/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's endpoints are brought to what is wanted (remove.c, add.c), and
 * back.
 *
 * Endpoints belong to the network namespace, not to a process.  So it is
 * remembered what this server has added (state.c), and nothing else is
 * changed: an endpoint is ours only if we added it and the kernel still has
 * just that one; an equal one that was there before is used and left.  Only
 * differences are applied, so a reload does not touch what stays.
 *
 * All of it happens in the parent, in a single thread.
 */

#include "paths/private.h"

/* May anything be done later, though the host does not change? */
static int again;

void mptcp_reconcile_begin(void)
{
    mptcp_wanted_forget();
    mptcp_remove_forget();
    mptcp_add_forget();
    again = 0;
}

int mptcp_reconcile_again(void)
{
    return again;
}

apr_status_t mptcp_reconcile(mptcp_paths_work *work)
{
    apr_array_header_t *wanted;
    apr_status_t known = mptcp_wanted_now(work->p, &wanted);
    apr_status_t rv = mptcp_paths_read_present(work);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    mptcp_wanted_drop(wanted, work->state->dropped);
    /* what is not known to be wanted may be so all the same */
    if (known == APR_SUCCESS) {
        mptcp_add_expect(work, wanted);
        mptcp_remove_unwanted(work, wanted);
    }
    rv = mptcp_add_missing(work, wanted);
    again = work->again;
    return rv != APR_SUCCESS ? rv : known;
}

apr_status_t mptcp_reconcile_to_nothing(mptcp_paths_work *work)
{
    apr_array_header_t *none = apr_array_make(work->p, 1,
                                              sizeof(mptcp_wanted));
    apr_status_t rv = mptcp_paths_read_present(work);
    apr_array_header_t *before;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    before = work->present;
    rv = mptcp_remove_unwanted(work, none);
    if (rv == APR_SUCCESS && mptcp_paths_read_present(work) == APR_SUCCESS) {
        mptcp_paths_note_ours(work, before, none);
    }
    return rv;
}
