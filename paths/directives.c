/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * MPTCPEndpoint and MPTCPLimits: what the configuration asks of the path
 * manager.
 *
 * Nothing here touches the kernel, so httpd -t finds all that can be wrong
 * without it; wanted.c and reconcile.c do the rest.
 */

#include "paths/private.h"

#include "apr_lib.h"                    /* apr_isdigit() */

#include <arpa/inet.h>
#include <net/if.h>

APLOG_USE_MODULE(mptcp);

#define ALLOWED_WORDS \
    "[dev IF] [id N] [port N] [signal] [subflow] [backup] [fullmesh] " \
    "[laminar]"
#define TWICE "%s is there twice: allowed is each word once"

/* Digits and nothing else, at most max; -1 if it is not that. */
static int parse_number(const char *text, int max)
{
    int number = 0;

    if (!*text) {
        return -1;
    }
    for (; *text; text++) {
        if (!apr_isdigit(*text)) {
            return -1;
        }
        number = number * 10 + (*text - '0');
        if (number > max) {
            return -1;
        }
    }
    return number;
}

static int is_word_with_value(const char *word)
{
    return strcmp(word, "dev") == 0 || strcmp(word, "id") == 0
           || strcmp(word, "port") == 0;
}

/* NULL, or why nobody could reach this host by the address. */
static const char *parse_address(const char *text, mptcp_endpoint *ep)
{
    if (inet_pton(AF_INET, text, &ep->address.v4) == 1) {
        apr_uint32_t a = ntohl(ep->address.v4.s_addr);

        ep->family = AF_INET;
        return IN_MULTICAST(a) || a == INADDR_ANY || a == INADDR_BROADCAST
               ? "it is not the address of one host" : NULL;
    }
    if (inet_pton(AF_INET6, text, &ep->address.v6) == 1) {
        const struct in6_addr *a = &ep->address.v6;

        ep->family = AF_INET6;
        return IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_UNSPECIFIED(a)
               ? "it is not the address of one host"
               : IN6_IS_ADDR_V4MAPPED(a) ? "write an IPv4 address as such"
               : IN6_IS_ADDR_LINKLOCAL(a)
                 ? "a link-local address means nothing to the peer"
               : NULL;
    }
    return "it is not an address";
}

/* The words behind the address; returns NULL or what is wrong with one. */
static const char *parse_words(apr_pool_t *p, int argc, char *const argv[],
                               mptcp_endpoint_line *wanted)
{
    mptcp_endpoint *ep = &wanted->endpoint;
    int id = -1, i;

    for (i = 0; i < argc; i++) {
        const char *word = argv[i];
        /* past the last one: an empty value, which is never allowed */
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        apr_uint32_t flag = mptcp_endpoint_flag(word);

        if (flag) {
            if (ep->flags & flag) {
                return apr_psprintf(p, TWICE, word);
            }
            ep->flags |= flag;
        }
        else if (strcmp(word, "dev") == 0) {
            if (wanted->dev) {
                return apr_psprintf(p, TWICE, word);
            }
            if (mptcp_endpoint_flag(value) || is_word_with_value(value)) {
                return apr_psprintf(p, "dev %s: allowed is the name of an "
                                    "interface, which is not there", value);
            }
            if (strchr(value, ':')) {
                return apr_psprintf(p, "dev %s: that is the label of an "
                                    "address: allowed is the name of its "
                                    "interface, 'dev %s', behind the address "
                                    "if it is to be that one alone", value,
                                    apr_pstrmemdup(p, value,
                                                   strcspn(value, ":")));
            }
            if (!*value || strlen(value) >= IF_NAMESIZE
                || strpbrk(value, "/ \t\n\v\f\r")) {
                return apr_psprintf(p, "dev %s: allowed is the name of an "
                                    "interface, 1 to %d characters", value,
                                    IF_NAMESIZE - 1);
            }
            wanted->dev = apr_pstrdup(p, value);
            i++;
        }
        else if (strcmp(word, "id") == 0) {
            if (id != -1) {
                return apr_psprintf(p, TWICE, word);
            }
            id = parse_number(value, 255);
            if (id == -1) {
                return apr_psprintf(p, "id %s: allowed is 1 to 255, or 0 for "
                                    "one that the kernel chooses", value);
            }
            ep->id = id;
            i++;
        }
        else if (strcmp(word, "port") == 0) {
            if (ep->port) {
                return apr_psprintf(p, TWICE, word);
            }
            ep->port = parse_number(value, 65535);
            if (ep->port < 1) {
                return apr_psprintf(p, "port %s: allowed is 1 to 65535",
                                    value);
            }
            i++;
        }
        else {
            return apr_psprintf(p, "%s: allowed is " ALLOWED_WORDS, word);
        }
    }
    return NULL;
}

/* What the kernel would refuse of a combination; these are its rules. */
static const char *check_combination(const mptcp_endpoint *ep)
{
    const apr_uint32_t both = MPTCP_PM_ADDR_FLAG_SIGNAL
                              | MPTCP_PM_ADDR_FLAG_SUBFLOW;

    if ((ep->flags & MPTCP_PM_ADDR_FLAG_SIGNAL)
        && (ep->flags & MPTCP_PM_ADDR_FLAG_FULLMESH)) {
        return "signal and fullmesh exclude each other: allowed is signal, "
               "to announce the address, or fullmesh, to connect from it to "
               "every address of the peer";
    }
    if (ep->port && (ep->flags & both) != MPTCP_PM_ADDR_FLAG_SIGNAL) {
        return "port goes with an announced address: allowed is port with "
               "signal and without subflow";
    }
    return NULL;
}

static const char *check_others(apr_pool_t *p,
                                const mptcp_endpoint_line *wanted,
                                const apr_array_header_t *others)
{
    const mptcp_endpoint *ep = &wanted->endpoint;
    int i;

    for (i = 0; i < others->nelts; i++) {
        const mptcp_endpoint_line *line
            = &APR_ARRAY_IDX(others, i, mptcp_endpoint_line);
        const mptcp_endpoint *other = &line->endpoint;

        if (ep->family == AF_UNSPEC && other->family == AF_UNSPEC
            && strcmp(wanted->dev, line->dev) == 0) {
            return "there is a line for the interface already: allowed is "
                   "each once";
        }
        if (mptcp_endpoint_same_address(ep, other)) {
            return "there is a line for it already: allowed is each address, "
                   "or address with port, once";
        }
        if (ep->id && ep->id == other->id) {
            return apr_psprintf(p, "id %d is that of %s already: allowed is "
                                "each id once", ep->id,
                                mptcp_endpoint_address(p, other));
        }
    }
    if (others->nelts == MPTCP_ENDPOINTS_MAX) {
        return apr_psprintf(p, "it is one too many: allowed are %d, more most "
                            "kernels do not take", MPTCP_ENDPOINTS_MAX);
    }
    return NULL;
}

static int is_own_loopback(const mptcp_endpoint *ep)
{
    return ep->family == AF_INET
           ? ntohl(ep->address.v4.s_addr) >> 24 == IN_LOOPBACKNET
           : ep->family == AF_INET6
             && IN6_IS_ADDR_LOOPBACK(&ep->address.v6);
}

const char *mptcp_endpoint_directive(cmd_parms *cmd, void *dummy,
                                     int argc, char *const argv[])
{
    mptcp_global_conf *conf = mptcp_global();
    mptcp_endpoint_line wanted;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY), *what;
    int is_interface;

    if (err) {
        return err;
    }
    if (argc < 1) {
        return apr_psprintf(cmd->pool, "%s takes an address: allowed is "
                            "address " ALLOWED_WORDS, cmd->cmd->name);
    }
    memset(&wanted, 0, sizeof(wanted));
    is_interface = strcmp(argv[0], "dev") == 0;
    err = is_interface ? NULL : parse_address(argv[0], &wanted.endpoint);
    if (err) {
        return apr_psprintf(cmd->pool, "%s %s: %s: allowed is an IPv4 or IPv6 "
                            "address of this host in figures, without "
                            "brackets, port or scope, or dev IF for all "
                            "addresses of an interface", cmd->cmd->name,
                            argv[0], err);
    }
    err = parse_words(cmd->pool, argc - !is_interface, argv + !is_interface,
                      &wanted);
    if (!err) {
        err = check_combination(&wanted.endpoint);
    }
    if (!err && is_interface && wanted.endpoint.id) {
        err = "id goes with one address: allowed behind dev IF is [port N] "
              "[signal] [subflow] [backup] [fullmesh] [laminar]";
    }
    if (!err) {
        err = check_others(cmd->pool, &wanted, conf->endpoints);
    }
    what = is_interface ? apr_pstrcat(cmd->pool, "dev ", wanted.dev, NULL)
                        : argv[0];
    if (err) {
        return apr_psprintf(cmd->pool, "%s %s: %s", cmd->cmd->name, what,
                            err);
    }
    /* once, by the pass that only checks, and by apache2 -t */
    if (!wanted.endpoint.flags && mptcp_is_check_pass()) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                     "%s %s gives the address an id and does nothing else: "
                     "write signal to announce it to clients, subflow to "
                     "connect to backends from it",
                     cmd->cmd->name, what);
    }
    if ((wanted.endpoint.flags & MPTCP_PM_ADDR_FLAG_SIGNAL)
        && is_own_loopback(&wanted.endpoint) && mptcp_is_check_pass()) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                     "%s %s: a client that is told of this address connects "
                     "to itself; write an address that clients can reach",
                     cmd->cmd->name, what);
    }
    APR_ARRAY_PUSH(conf->endpoints, mptcp_endpoint_line) = wanted;
    return NULL;
}

const char *mptcp_limits_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[])
{
    mptcp_global_conf *conf = mptcp_global();
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    int i, limit;

    if (err) {
        return err;
    }
    if (argc < 1) {
        return apr_psprintf(cmd->pool, "%s takes a limit: allowed is "
                            "[subflows=N] [add_addr_accepted=N]",
                            cmd->cmd->name);
    }
    for (i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        apr_size_t length = equals ? (apr_size_t)(equals - argv[i]) : 0;
        int value = equals ? parse_number(equals + 1, MPTCP_ENDPOINTS_MAX)
                           : -1;

        for (limit = 0; limit < MPTCP_LIMITS; limit++) {
            if (strlen(mptcp_limit_name(limit)) == length
                && strncmp(argv[i], mptcp_limit_name(limit), length) == 0) {
                break;
            }
        }
        if (limit == MPTCP_LIMITS || value == -1) {
            return apr_psprintf(cmd->pool, "%s %s: allowed is subflows=N and "
                                "add_addr_accepted=N, N from 0 to %d",
                                cmd->cmd->name, argv[i], MPTCP_ENDPOINTS_MAX);
        }
        if (conf->limits.value[limit] != MPTCP_LIMIT_UNSET) {
            return apr_psprintf(cmd->pool, "%s %s: it is set to %d already: "
                                "allowed is each limit once", cmd->cmd->name,
                                argv[i], conf->limits.value[limit]);
        }
        conf->limits.value[limit] = value;
    }
    return NULL;
}

int mptcp_endpoint_asked_for(apr_uint32_t flag)
{
    const apr_array_header_t *lines = mptcp_global()->endpoints;
    int i;

    for (i = 0; i < lines->nelts; i++) {
        if (APR_ARRAY_IDX(lines, i, mptcp_endpoint_line).endpoint.flags
            & flag) {
            return 1;
        }
    }
    return 0;
}
