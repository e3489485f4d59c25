/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The list of what is wrong: of what kind each thing is, what is said of it,
 * and in what order.  It is found in checks.c, obstacles.c and endpoints.c.
 */

#include "status/private.h"

#include <stdarg.h>

/* What each kind is called, and how it is taken. */
static const struct {
    const char *text;
    int is_bad;
    int is_passing;
} kinds[] = {
    [STATUS_NOT_USED] = { "not used", 0, 0 },
    [STATUS_NO_SOCKET] = { "refused", 1, 0 },
    [STATUS_SWITCHED_OFF] = { "switched off", 1, 0 },
    [STATUS_PLAIN_TCP] = { "plain TCP", 1, 0 },
    [STATUS_PATH_MANAGER] = { "path manager", 0, 0 },
    [STATUS_LIMIT] = { "limit", 0, 0 },
    [STATUS_NOT_ANNOUNCED] = { "not announced", 0, 0 },
    [STATUS_NO_LISTENER] = { "no listener", 0, 0 },
    [STATUS_RP_FILTER] = { "rp_filter", 0, 0 },
    [STATUS_NO_SECOND_PATH] = { "no second path", 0, 0 },
    [STATUS_LINK_DOWN] = { "link down", 1, 0 },
    [STATUS_ADDRESS_GONE] = { "address gone", 1, 0 },
    [STATUS_INTERFACE_GONE] = { "interface gone", 1, 0 },
    [STATUS_NOT_IN_FORCE] = { "not in force", 0, 0 },
    [STATUS_BLACKHOLE] = { "blackhole", 1, 0 },
    [STATUS_JOINS_REFUSED] = { "joins refused", 0, 1 },
    [STATUS_STALLED] = { "stalled", 0, 1 }
};

const char *status_kind_text(status_kind kind)
{
    return kinds[kind].text;
}

status_trouble *status_trouble_add(apr_array_header_t *list, status_kind kind,
                                   const char *format, ...)
{
    status_trouble *one = apr_array_push(list);
    const char *cure;
    va_list ap;

    memset(one, 0, sizeof(*one));
    one->kind = kind;
    one->is_bad = kinds[kind].is_bad;
    one->is_passing = kinds[kind].is_passing;
    va_start(ap, format);
    one->text = apr_pvsprintf(list->pool, format, ap);
    va_end(ap);
    one->what = one->text;
    cure = ap_strstr_c(one->text, "; ");
    if (cure) {
        one->what = apr_pstrmemdup(list->pool, one->text, cure - one->text);
        one->cure = cure + 2;
    }
    return one;
}

/* ---- since when, and in order ------------------------------------------- */

/* What the parent has seen longer than this page. */
static void date_troubles(status_report *report)
{
    int i;

    for (i = 0; i < report->troubles->nelts; i++) {
        status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                             status_trouble);

        if (!one->since) {
            one->since = status_watch_since(one);
        }
    }
}

/* What is red, then what is new, then the rest. */
static int rank_of(const status_trouble *trouble)
{
    return trouble->is_bad ? 0 : trouble->is_passing ? 1 : 2;
}

void status_troubles_sort(status_report *report)
{
    apr_array_header_t *sorted = apr_array_make(report->p,
                                                report->troubles->nelts + 1,
                                                sizeof(status_trouble));
    int rank, i;

    date_troubles(report);
    for (rank = 0; rank <= 2; rank++) {
        for (i = 0; i < report->troubles->nelts; i++) {
            const status_trouble *one = &APR_ARRAY_IDX(report->troubles, i,
                                                       status_trouble);

            if (rank_of(one) == rank) {
                APR_ARRAY_PUSH(sorted, status_trouble) = *one;
            }
        }
    }
    report->troubles = sorted;
    report->level = report->state == STATUS_UNUSED ? STATUS_OFF
                  : sorted->nelts == 0 ? STATUS_GOOD
                  : APR_ARRAY_IDX(sorted, 0, status_trouble).is_bad
                  ? STATUS_BAD : STATUS_WARN;
}
