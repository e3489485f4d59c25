/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is remembered of a request, and of the connection it came by.
 *
 * A request is one thread's business at a time.  Only the connection behind
 * HTTP/2's streams is shared by threads: what is noted of it is one pointer,
 * stored and loaded atomically.
 */

#include "common/common.h"

mptcp_request *mptcp_request_get(request_rec *r)
{
    mptcp_request *request = ap_get_module_config(r->request_config,
                                                  &mptcp_module);

    if (!request) {
        request = apr_pcalloc(r->pool, sizeof(*request));
        ap_set_module_config(r->request_config, &mptcp_module, request);
    }
    return request;
}

int mptcp_env_vars_on(const request_rec *r)
{
    const mptcp_dir_conf *conf = ap_get_module_config(r->per_dir_config,
                                                      &mptcp_module);

    return conf->env_vars == 1;
}

/*
 * What a connection is for good is remembered as the address of one of these.
 * The threads that serve an HTTP/2 connection's streams may store it at the
 * same time: it is one pointer, and allocates nothing.
 */
static const mptcp_state final_states[] = {
    MPTCP_STATE_NO_LISTENER, MPTCP_STATE_OFF, MPTCP_STATE_FALLBACK
};

/* What ap_get_module_config() and ap_set_module_config() access, but not
 * atomically. */
static void **state_of(const conn_rec *c)
{
    return (void **)c->conn_config + mptcp_module.module_index;
}

mptcp_state mptcp_connection_noted(const conn_rec *c)
{
    const mptcp_state *state = __atomic_load_n(state_of(c), __ATOMIC_RELAXED);

    return state ? *state : MPTCP_STATE_UNKNOWN;
}

void mptcp_connection_note(conn_rec *c, mptcp_state state)
{
    size_t i;

    for (i = 0; i < sizeof(final_states) / sizeof(final_states[0]); i++) {
        if (final_states[i] == state) {
            __atomic_store_n(state_of(c), (void *)&final_states[i],
                             __ATOMIC_RELAXED);
        }
    }
}
