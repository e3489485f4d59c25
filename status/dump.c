/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * httpd -t -D DUMP_MPTCP: what the configuration comes to on this host, before
 * anything is bound or applied, in the manner of DUMP_MODULES.
 */

#include "status/private.h"
#include "listen/listen.h"
#include "paths/paths.h"
#include "proxy/proxy.h"

#include "apr_file_io.h"

/* Will it be MPTCP, as the table of listeners has it? */
static int will_be_mptcp(const ap_listen_rec *lr)
{
    const apr_array_header_t *list = mptcp_counted_all(MPTCP_COUNTER_LISTENER);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(list, i, mptcp_counted);

        if (one->address == lr->bind_addr) {
            return one->is_mptcp;
        }
    }
    return 0;
}

/* All of them, those that stay TCP too. */
static void dump_listeners(apr_file_t *out, apr_pool_t *p)
{
    const ap_listen_rec *lr;

    apr_file_puts("Listeners:\n", out);
    for (lr = ap_listeners; lr; lr = lr->next) {
        apr_file_printf(out, " %s (%s)\n",
                        apr_psprintf(p, "%pI", lr->bind_addr),
                        will_be_mptcp(lr) ? "MPTCP" : "TCP");
    }
}

static void dump_workers(apr_file_t *out, apr_pool_t *p, const server_rec *s)
{
    const apr_array_header_t *list = mptcp_workers_list(p);
    int i;

    if (!mptcp_proxy_conf(s)) {
        return;
    }
    apr_file_puts("Backends:\n", out);
    for (i = 0; i < list->nelts; i++) {
        const mptcp_worker_wish *one = &APR_ARRAY_IDX(list, i,
                                                      mptcp_worker_wish);

        apr_file_printf(out, " %s (%s)\n", one->name,
                        one->is_mptcp ? "MPTCP" : "TCP");
    }
    apr_file_printf(out, " all others (%s)\n",
                    mptcp_proxy_default(s) ? "MPTCP" : "TCP");
}

/* Those of the configuration, and whatever else the kernel has. */
static void dump_endpoints(apr_file_t *out, const status_report *report)
{
    const apr_array_header_t *all = report->paths->endpoints;
    apr_array_header_t *wanted;
    int i;

    mptcp_wanted_now(report->p, &wanted);
    apr_file_puts("Endpoints:\n", out);
    for (i = 0; i < wanted->nelts; i++) {
        const mptcp_wanted *one = &APR_ARRAY_IDX(wanted, i, mptcp_wanted);

        apr_file_printf(out, " %s (MPTCPEndpoint)\n",
                        mptcp_endpoint_text(report->p, &one->endpoint,
                                            one->dev));
    }
    for (i = 0; i < all->nelts; i++) {
        const mptcp_endpoint *ep = &APR_ARRAY_IDX(all, i, mptcp_endpoint);

        if (!mptcp_wanted_at(wanted, ep)) {
            apr_file_printf(out, " %s (not by MPTCPEndpoint)\n",
                            mptcp_endpoint_text(report->p, ep, NULL));
        }
    }
}

static void dump_limits(apr_file_t *out, const status_report *report)
{
    int i;

    apr_file_puts("Limits:\n", out);
    for (i = 0; i < MPTCP_LIMITS; i++) {
        apr_file_printf(out, " %s %d (%s)\n", mptcp_limit_name(i),
                        report->paths->limits.value[i],
                        status_limit_is_ours(report, i)
                        ? "MPTCPLimits" : "not by MPTCPLimits");
    }
}

void status_dump(apr_pool_t *p, server_rec *s)
{
    status_report report;
    apr_file_t *out;
    int i;

    if (apr_file_open_stdout(&out, p) != APR_SUCCESS) {
        return;
    }
    status_report_state(p, 1, &report);
    apr_file_printf(out, "Multipath TCP: %s\n",
                    status_state_text(report.state));
    dump_listeners(out, p);
    dump_workers(out, p, s);
    if (report.paths) {
        dump_endpoints(out, &report);
        dump_limits(out, &report);
    }
    apr_file_puts("In the way:\n", out);
    for (i = 0; i < report.troubles->nelts; i++) {
        apr_file_printf(out, " %s\n", APR_ARRAY_IDX(report.troubles, i,
                                                    status_trouble).text);
    }
    if (report.troubles->nelts == 0) {
        apr_file_puts(" nothing\n", out);
    }
}
