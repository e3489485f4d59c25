/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The arguments of MPTCPEndpoint and MPTCPLimits.  What is accepted is, when
 * it is written as the log writes it, accepted once more, as the same.
 *
 * An input is text: lines of arguments.  One that begins with = is for
 * MPTCPLimits.
 */

#include "kernel/address.c"
#include "paths/endpoint.c"
#include "paths/directives.c"

#include "fuzz.h"

#include <stdio.h>

#define WORDS_MAX 32

static const char *call(cmd_parms *cmd, const char *line,
                        const char *(*directive)(cmd_parms *, void *, int,
                                                 char *const []))
{
    char *argv[WORDS_MAX];
    int argc = 0;

    while (*line && argc < WORDS_MAX) {
        argv[argc++] = ap_getword_conf(cmd->pool, &line);
    }
    return directive(cmd, NULL, argc, argv);
}

/* The configuration that is being read. */
static mptcp_global_conf *now;

mptcp_global_conf *mptcp_global(void)
{
    return now;
}

static mptcp_global_conf *new_conf(apr_pool_t *p)
{
    mptcp_global_conf *conf = apr_pcalloc(p, sizeof(*conf));

    conf->endpoints = apr_array_make(p, 2, sizeof(mptcp_endpoint_line));
    conf->limits.value[0] = conf->limits.value[1] = MPTCP_LIMIT_UNSET;
    return conf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    mptcp_global_conf *conf = new_conf(p), *again = new_conf(p);
    char *text = apr_pstrmemdup(p, (const char *)data, size), *state, *line;
    server_rec s = { 0 };
    command_rec command = { .name = "MPTCP" };
    cmd_parms cmd = { 0 };
    int i, kept = 0;

    cmd.pool = p;
    cmd.server = &s;
    cmd.cmd = &command;
    now = conf;
    for (line = apr_strtok(text, "\n", &state); line;
         line = apr_strtok(NULL, "\n", &state)) {
        if (*line == '=') {
            call(&cmd, line + 1, mptcp_limits_directive);
        }
        else {
            call(&cmd, line, mptcp_endpoint_directive);
        }
    }

    MUST(conf->endpoints->nelts <= MPTCP_ENDPOINTS_MAX);
    now = again;
    for (i = 0; i < conf->endpoints->nelts; i++) {
        const mptcp_endpoint_line *one
            = &APR_ARRAY_IDX(conf->endpoints, i, mptcp_endpoint_line);
        const mptcp_endpoint_line *other;

        /* the log does not quote the name of an interface */
        if (one->dev && strpbrk(one->dev, "\"'\\")) {
            continue;
        }
        MUST(call(&cmd, mptcp_endpoint_text(p, &one->endpoint, one->dev),
                  mptcp_endpoint_directive) == NULL);
        other = &APR_ARRAY_IDX(again->endpoints, kept++,
                               mptcp_endpoint_line);
        MUST(memcmp(&other->endpoint, &one->endpoint,
                    sizeof(one->endpoint)) == 0);
        MUST(one->dev ? other->dev && !strcmp(other->dev, one->dev)
                      : !other->dev);
    }
    for (i = 0; i < MPTCP_LIMITS; i++) {
        MUST(conf->limits.value[i] == MPTCP_LIMIT_UNSET
             || (conf->limits.value[i] >= 0
                 && conf->limits.value[i] <= MPTCP_ENDPOINTS_MAX));
    }
    return 0;
}
