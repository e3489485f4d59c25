/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the parent does for the status: it tells the log at start, and looks
 * every ten seconds, whether anybody looks at the page or not.
 */

#include "status/private.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

APLOG_USE_MODULE(mptcp);

/* ---- in the log at start ------------------------------------------------ */

/* The MPTCP listeners by address, or NULL when there are none. */
static const char *listeners_text(apr_pool_t *p)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    const char *text = NULL;
    int i, count = 0;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->is_mptcp && count++ < STATUS_NAMED) {
            text = text ? apr_pstrcat(p, text, ", ", one->name, NULL)
                        : one->name;
        }
    }
    return count > STATUS_NAMED
           ? apr_psprintf(p, "%s, and %d more", text, count - STATUS_NAMED)
           : text;
}

static const char *endpoints_text(const status_paths *paths, server_rec *s,
                                  apr_pool_t *p)
{
    const char *text = NULL;
    int i;

    for (i = 0; i < paths->endpoints->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(paths->endpoints, i,
                                                  mptcp_endpoint);
        const char *one = mptcp_endpoint_text(p, ep, NULL);

        if (!mptcp_endpoint_is_ours(s->process, ep)) {
            one = apr_pstrcat(p, one, " (not by MPTCPEndpoint)", NULL);
        }
        text = text ? apr_pstrcat(p, text, ", ", one, NULL) : one;
    }
    return text ? text : "none";
}

/*
 * The first three are notices, one line each; the rest are warnings which say
 * what to write instead, and there are none when all is well.  A server in
 * which nothing is MPTCP is told nothing.
 */
void status_start_report(server_rec *s, apr_pool_t *ptemp)
{
    const mptcp_global_conf *conf = mptcp_global();
    const char *listeners = listeners_text(ptemp);
    status_paths paths;
    int i;

    if (!listeners && !mptcp_proxy_wants_any() && conf->endpoints->nelts == 0
        && !*mptcp_limits_text(ptemp, &conf->limits)) {
        return;
    }
    if (listeners) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MPTCP listeners: %s",
                     listeners);
    }
    if (status_paths_read(ptemp, 0, &paths) != APR_SUCCESS) {
        /* a kernel without a path manager: old, or netlink is forbidden */
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "path manager's limits: %s",
                 mptcp_limits_text(ptemp, &paths.limits));
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 "path manager's endpoints: %s",
                 endpoints_text(&paths, s, ptemp));
    for (i = 0; i < paths.troubles->nelts; i++) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "%s",
                     APR_ARRAY_IDX(paths.troubles, i, status_trouble).text);
    }
}

/* ---- since when, for the parent ----------------------------------------- */

/* The least time between two looks; a busy parent's monitor may run more. */
#define LOOK_EVERY apr_time_from_sec(9)

static apr_time_t next_look;            /* 0: not in this configuration */

static void look_now(server_rec *s, apr_pool_t *parent)
{
    status_report report;
    apr_pool_t *p;

    apr_pool_create(&p, parent);
    apr_pool_tag(p, "mptcp_look");
    status_report_state(p, 0, &report);
    status_watch_sample(report.counters);
    status_watch_note(report.troubles);
    apr_pool_destroy(p);
    next_look = apr_time_now() + LOOK_EVERY;
}

int status_look(apr_pool_t *pconf, server_rec *s)
{
    if (next_look && apr_time_now() >= next_look) {
        look_now(s, pconf);
    }
    return DECLINED;
}

void status_look_first(server_rec *s, apr_pool_t *ptemp)
{
    next_look = 0;
    if (mptcp_counted_since() && status_watch_start(s->process)) {
        look_now(s, ptemp);
    }
}
