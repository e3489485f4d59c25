/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listen ... options=..., made an MPTCPListen line, and that read.  An input
 * is the arguments of a Listen line: all of its words stay, but options.
 */

#include "listen/directives.c"

#include "fuzz.h"

#define WORDS_MAX 64

static mptcp_global_conf conf;

mptcp_global_conf *mptcp_global(void)
{
    return &conf;
}

int mptcp_array_has(const apr_array_header_t *pointers, const void *pointer)
{
    return 0;
}

const char *ap_set_listener(cmd_parms *cmd, void *dummy, int argc,
                            char *const argv[])
{
    MUST(argc == 1 || argc == 2);
    MUST(argv[0] && argv[argc - 1]);
    return *argv[0] ? NULL : "no port";
}

static int split(apr_pool_t *p, const char *args, char *words[WORDS_MAX])
{
    int count = 0;

    while (*args && count < WORDS_MAX) {
        words[count++] = ap_getword_conf(p, &args);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    ap_directive_t line = { .directive = "Listen" };
    server_rec s = { 0 };
    command_rec command = { .name = "MPTCPListen" };
    cmd_parms cmd = { 0 };
    char *before[WORDS_MAX], *after[WORDS_MAX];
    int many, few, i, j = 0;

    line.args = apr_pstrmemdup(p, (const char *)data, size);
    many = split(p, line.args, before);
    rewrite_listen(&line, p);
    few = split(p, line.args, after);
    if (many == WORDS_MAX) {
        return 0;
    }
    if (!line.data) {
        MUST(few == many && strcmp(line.directive, "Listen") == 0);
        return 0;
    }
    MUST(strcmp(line.directive, "MPTCPListen") == 0);
    for (i = 0; i < many; i++) {
        if (j < few && strcmp(before[i], after[j]) == 0) {
            j++;
        }
        else {
            MUST(strncasecmp(before[i], "options=", 8) == 0);
        }
    }
    MUST(j == few);

    conf.listeners = apr_array_make(p, 1, sizeof(ap_listen_rec *));
    cmd.pool = cmd.temp_pool = p;
    cmd.server = &s;
    cmd.cmd = &command;
    cmd.directive = &line;
    mptcp_listen_directive(&cmd, NULL, few, after);
    return 0;
}
