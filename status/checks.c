/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is wrong: with the host, to which the path manager's obstacles
 * (obstacles.c) and endpoints (endpoints.c) belong, and with the connections
 * of the moment.
 */

#include "status/private.h"
#include "listen/listen.h"

/* ---- joins that came to nothing ----------------------------------------- */

static apr_uint64_t rise_of(const status_report *report, int counter)
{
    return status_watch_rise(counter, report->counters[counter]);
}

/* "3 of an unknown connection", if there are any. */
static const char *add_part(const status_report *report, const char *text,
                            int counter, const char *what)
{
    const apr_uint64_t rise = rise_of(report, counter);

    return rise ? apr_psprintf(report->p, "%s%s%" APR_UINT64_T_FMT " %s", text,
                               *text ? ", " : "", rise, what) : text;
}

/*
 * A client joins a round trip after its first request, and over a slow path
 * arrives late: a connection of one short answer has sent its end by then, or
 * is gone.  So many joins may come in vain to a connection that was brief, by
 * the paths between two addresses on either side.
 */
#define LATE_JOINS 4

static apr_uint64_t without_late(apr_uint64_t refused, apr_uint64_t brief)
{
    return refused > LATE_JOINS * brief ? refused - LATE_JOINS * brief : 0;
}

/* Where a tenth of them fail, something is wrong. */
static int are_many(apr_uint64_t failed, apr_uint64_t all)
{
    return failed > 0 && 10 * failed >= all;
}

/* What to do about joins that were refused, by why most of them were. */
static const char *refusal_cure(apr_uint64_t unknown, apr_uint64_t wrong,
                                apr_uint64_t rejected)
{
    return unknown >= wrong && unknown >= rejected
           ? "a load balancer may send them to another host than the first "
             "path, or two hosts may have one address"
           : wrong >= rejected
           ? "something on the way rewrites MPTCP's options: a firewall or a "
             "proxy"
           : "see whether 'MPTCPLimits subflows=N' allows as many as clients "
             "have paths; a connection that has sent its end takes no more";
}

/* Joins of the last moment are under way; of so few, none is missed. */
#define UNFINISHED_FEW 3

/*
 * Joins that were answered, and then nobody came.  Where a host has a network
 * for each address this is what goes wrong first: answers leave by the network
 * of the default route, and there or on the way they are dropped.
 */
static void check_unfinished(status_report *report, apr_uint64_t received,
                             apr_uint64_t refused)
{
    const apr_uint64_t ended = refused + rise_of(report,
                                                 STATUS_JOINS_FINISHED);
    const apr_uint64_t unfinished = received > ended ? received - ended : 0;

    if (unfinished >= UNFINISHED_FEW
        && are_many(without_late(unfinished, rise_of(report, STATUS_BRIEF)),
                    received)) {
        status_trouble_add(report->troubles, STATUS_JOINS_REFUSED,
                           "in the last 10 minutes %" APR_UINT64_T_FMT " of %"
                           APR_UINT64_T_FMT " joins were answered, and never "
                           "finished; see for each announced address whether "
                           "answers leave by its interface, 'ip route get "
                           "CLIENT from ADDRESS', whether a firewall drops "
                           "them, and whether 'MPTCPLimits subflows=N' allows "
                           "as many as clients have paths", unfinished,
                           received)->where = "unfinished";
    }
}

static void check_joins(status_report *report)
{
    const apr_uint64_t received = rise_of(report, STATUS_JOINS_RECEIVED);
    const apr_uint64_t unknown = rise_of(report, STATUS_JOINS_NO_TOKEN);
    const apr_uint64_t wrong = rise_of(report, STATUS_JOINS_WRONG_HMAC);
    const apr_uint64_t rejected = rise_of(report, STATUS_JOINS_REJECTED);
    const apr_uint64_t refused = unknown + wrong + rejected;
    const apr_uint64_t not_made
        = rise_of(report, STATUS_JOINS_NO_SOCKET)
          + rise_of(report, STATUS_JOINS_NO_ADDRESS)
          + rise_of(report, STATUS_JOINS_NO_WAY)
          + rise_of(report, STATUS_JOINS_SENT_WRONG_HMAC);
    const char *text = "";

    if (are_many(wrong + without_late(unknown + rejected,
                                      rise_of(report, STATUS_BRIEF)),
                 received)) {
        text = add_part(report, text, STATUS_JOINS_NO_TOKEN,
                        "for a connection that this host does not have");
        text = add_part(report, text, STATUS_JOINS_WRONG_HMAC,
                        "with a wrong HMAC");
        text = add_part(report, text, STATUS_JOINS_REJECTED,
                        "beyond a limit, or too late");
        status_trouble_add(report->troubles, STATUS_JOINS_REFUSED,
                           "in the last 10 minutes this host refused %"
                           APR_UINT64_T_FMT " of %" APR_UINT64_T_FMT
                           " joins: %s; %s", refused, received, text,
                           refusal_cure(unknown, wrong, rejected)
                           )->where = "received";
    }
    check_unfinished(report, received, refused);
    if (are_many(not_made, rise_of(report, STATUS_JOINS_SENT))) {
        text = add_part(report, "", STATUS_JOINS_NO_SOCKET,
                        "had no socket");
        text = add_part(report, text, STATUS_JOINS_NO_ADDRESS,
                        "had an address that is not on this host");
        text = add_part(report, text, STATUS_JOINS_NO_WAY,
                        "had no way to the other side");
        text = add_part(report, text, STATUS_JOINS_SENT_WRONG_HMAC,
                        "were answered with a wrong HMAC");
        status_trouble_add(report->troubles, STATUS_JOINS_REFUSED,
                           "of the joins that this host made in the last 10 "
                           "minutes, %s; see whether each subflow endpoint's "
                           "address has a way to the backends: 'ip route get "
                           "BACKEND from ADDRESS'", text)->where = "sent";
    }
}

/* ---- what is wrong with the host ---------------------------------------- */

void status_check_host(status_report *report)
{
    int i, count = 0;

    if (report->state == STATUS_UNUSED) {
        status_trouble_add(report->troubles, STATUS_NOT_USED, "nothing here "
                           "uses MPTCP; write 'MPTCPListen' for 'Listen', or "
                           "'multipathtcp=On' behind a ProxyPass");
        return;
    }
    /* of the sysctl the path manager's report tells, too */
    if (report->state == STATUS_REFUSED
        && (report->refused != ENOPROTOOPT || !report->paths
            || mptcp_listen_refusal())) {
        status_trouble_add(report->troubles, STATUS_NO_SOCKET, "the kernel "
                           "gives no MPTCP socket, %s",
                           mptcp_refusal_text(report->p, report->refused));
    }
    for (i = 0; i < report->listeners->nelts; i++) {
        const mptcp_counted *one = &APR_ARRAY_IDX(report->listeners, i,
                                                  mptcp_counted);

        if (!one->is_mptcp && report->state == STATUS_ON
            && count++ < STATUS_NAMED) {
            status_trouble_add(report->troubles, STATUS_PLAIN_TCP, "%s is "
                               "TCP, as it was when httpd was started; "
                               "reload httpd, and see its log if that does "
                               "not change it", one->name);
        }
    }
    if (count > STATUS_NAMED) {
        status_trouble_add(report->troubles, STATUS_PLAIN_TCP, "%d more "
                           "listeners are TCP, as they were when httpd was "
                           "started; reload httpd, and see its log if that "
                           "does not change it", count - STATUS_NAMED);
    }
    if (!report->paths) {
        status_trouble_add(report->troubles, STATUS_PATH_MANAGER, "the "
                           "kernel's path manager does not answer: limits and "
                           "endpoints are not known");
    }
    else {
        apr_array_cat(report->troubles, report->paths->troubles);
        /* which the log has been told by paths/ */
        status_check_endpoints(report);
    }
    check_joins(report);
}

/* ---- what is wrong with connections ------------------------------------- */

/* A path that has less than so many stalled subflows is not lost. */
#define STALLED_FEW 3

void status_check_stalled(status_report *report)
{
    int i;

    for (i = 0; i < report->path_list->nelts; i++) {
        const status_path *path = &APR_ARRAY_IDX(report->path_list, i,
                                                 status_path);
        char address[STATUS_ADDRESS_LEN];
        status_trouble *one;

        if (path->stalled == 0) {
            continue;
        }
        status_address_text(&path->local, address);
        one = status_trouble_add(report->troubles, STATUS_STALLED,
                                 "%s %s: of %d subflows in use to %s %d get "
                                 "no answer; %s",
                                 path->interface ? path->interface : "?",
                                 address, path->in_use,
                                 path->is_backend ? "backends" : "clients",
                                 path->stalled,
                                 path->is_down ? "the interface has no link"
                                 : "where it is most of them, see whether the "
                                   "network behind the interface works; a "
                                   "single one may be a client that has left");
        one->is_bad = path->stalled >= STALLED_FEW
                      && 2 * path->stalled >= path->in_use;
        one->since = report->now - apr_time_from_msec(path->stalled_ms);
    }
}
