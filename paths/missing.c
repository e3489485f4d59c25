/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which lines are not in force, and why: in words, for the log and the page.
 *
 * Children ask as the parent does: the kernel's endpoints and the host's
 * addresses, as they are at the moment.
 */

#include "paths/private.h"

/* What is in the way, and how to take it out of the way. */
static const char *other_settings_text(apr_pool_t *p,
                                       const mptcp_endpoint *other)
{
    return apr_psprintf(p, "somebody else has added the address with other "
                        "settings, which stay: %s; to take that out of the "
                        "way: 'ip mptcp endpoint delete id %d', and if "
                        "NetworkManager adds it, first 'nmcli connection "
                        "modify CONNECTION connection.mptcp-flags disabled'",
                        mptcp_endpoint_text(p, other, NULL), other->id);
}

/* Linux 6.1 says EINVAL where later ones say more: what they would say. */
static apr_status_t say_more(apr_status_t rv, const mptcp_endpoint *ep,
                             const apr_array_header_t *present)
{
    int i;

    if (rv != EINVAL || mptcp_endpoint_find_address(present, ep)) {
        return rv;
    }
    for (i = 0; i < present->nelts; i++) {
        if (ep->id && ep->id == APR_ARRAY_IDX(present, i, mptcp_endpoint).id) {
            return EBUSY;
        }
    }
    return present->nelts >= MPTCP_ENDPOINTS_MAX ? ERANGE : rv;
}

const char *mptcp_refused_endpoint_text(apr_pool_t *p,
                                        const mptcp_endpoint *ep,
                                        apr_status_t rv,
                                        const apr_array_header_t *present)
{
    const mptcp_endpoint *other;

    rv = say_more(rv, ep, present);
    switch (rv) {
    case ENODEV:
        return "this host has no such interface; the endpoint is added when "
               "it has";
    case EADDRNOTAVAIL:
        return ep->family == AF_UNSPEC
               ? "the interface has no address to be told of; one is added "
                 "when it has"
               : "the address is not on this host; the endpoint is added when "
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
        other = mptcp_endpoint_find_address(present, ep);
        if (other) {
            return other_settings_text(p, other);
        }
        if (rv == EBUSY) {
            return "somebody else's endpoint has that id; leave id out or "
                   "write another";
        }
        return "this kernel does not know one of its settings, or is too old "
               "for it";
    case ERANGE:
        return apr_psprintf(p, "there are %d endpoints already, and no room "
                            "for more: see 'ip mptcp endpoint show'",
                            present->nelts);
    default:
        return "the kernel has refused it";
    }
}

const char *mptcp_down_text(apr_pool_t *p, const char *dev)
{
    return apr_psprintf(p, "%s is down, and what is sent by it stands still "
                        "until it is up or sent again by another path; look "
                        "at the cable or the radio, or write 'ip link set %s "
                        "up'", dev, dev);
}

/* One that the host has, and the kernel not. */
static const char *not_added_text(apr_pool_t *p, const mptcp_wanted *one,
                                  const apr_array_header_t *present)
{
    const mptcp_endpoint *other
        = mptcp_endpoint_find_address(present, &one->endpoint);

    if (other && mptcp_endpoint_is_ours(ap_server_conf->process, other)) {
        return apr_psprintf(p, "%s is left as it is as long as connections "
                            "have no other path",
                            mptcp_endpoint_text(p, other, NULL));
    }
    if (other) {
        return other_settings_text(p, other);
    }
    if (present->nelts >= MPTCP_ENDPOINTS_MAX) {
        return mptcp_refused_endpoint_text(p, &one->endpoint, ERANGE, present);
    }
    return "it has been deleted, which a reload undoes, or the kernel has "
           "refused it, and the log says why";
}

void mptcp_paths_missing(apr_pool_t *p, const apr_array_header_t *present,
                         apr_array_header_t *missing)
{
    const mptcp_paths_state *state = mptcp_paths_state_of(
        ap_server_conf->process->pool);
    apr_array_header_t *wanted;
    int i;

    mptcp_wanted_now(p, &wanted);
    for (i = 0; i < wanted->nelts; i++) {
        mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);
        const char *line = mptcp_endpoint_text(p, &one->endpoint, one->dev);
        const char *why = NULL;

        one->endpoint.flags &= state ? ~state->dropped : ~0U;
        if (one->missing) {
            why = mptcp_refused_endpoint_text(p, &one->endpoint, one->missing,
                                              present);
        }
        else if (!mptcp_endpoint_find(present, &one->endpoint)) {
            why = not_added_text(p, one, present);
        }
        if (why) {
            mptcp_missing *push = apr_array_push(missing);

            push->why = one->missing ? one->missing : EEXIST;
            push->text = apr_psprintf(p, "MPTCPEndpoint %s is not in force: "
                                      "%s", line, why);
        }
        else if (one->down_dev) {
            mptcp_missing *push = apr_array_push(missing);

            push->why = ENETDOWN;
            push->text = apr_psprintf(p, "MPTCPEndpoint %s: %s", line,
                                      mptcp_down_text(p, one->down_dev));
        }
    }
}
