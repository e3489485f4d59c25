/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listen and MPTCPListen lines, seen beside one another, and read.  An input
 * is such lines; what begins otherwise is the arguments of a Listen line.
 */

#include "listen/wanted.c"
#include "listen/lines.c"
#include "listen/directives.c"

#include "fuzz.h"

#define LINES_MAX 32
#define WORDS_MAX 64

static mptcp_global_conf conf;

/* The addresses that core makes listeners of, and whether they are MPTCP. */
static const char *listens[LINES_MAX];
static int is_mptcp[LINES_MAX], count;

mptcp_global_conf *mptcp_global(void)
{
    return &conf;
}

char *ap_strcasestr(const char *s1, const char *s2)
{
    return strcasestr(s1, s2);
}

char *ap_escape_quotes(apr_pool_t *p, const char *s)
{
    char *escaped = apr_palloc(p, 2 * strlen(s) + 1), *to = escaped;

    for (; *s; s++) {
        if (*s == '"' || *s == '\\') {
            *to++ = '\\';
        }
        *to++ = *s;
    }
    *to = '\0';
    return escaped;
}

/* Of two that are the same neither is MPTCP, or core would refuse the second. */
static void makes_listener(const char *address, int mptcp, apr_pool_t *p)
{
    mptcp_listener_id id;
    int i;

    for (i = 0; i < count; i++) {
        MUST(strcmp(listens[i], address) != 0 || (!is_mptcp[i] && !mptcp)
             || !mptcp_listener_read_id(&id, address, p));
    }
    is_mptcp[count] = mptcp;
    listens[count++] = address;
}

const char *ap_set_listener(cmd_parms *cmd, void *dummy, int argc,
                            char *const argv[])
{
    MUST(argc == 1 || argc == 2);
    MUST(argv[0] && argv[argc - 1]);
    makes_listener(argv[0], 1, cmd->pool);
    return *argv[0] ? NULL : "no port";
}

static int split_words(apr_pool_t *p, const char *args, char *words[WORDS_MAX])
{
    int n = 0;

    while (*args && n < WORDS_MAX) {
        words[n++] = ap_getword_conf(p, &args);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    char *text = apr_pstrmemdup(p, (const char *)data, size), *state = NULL;
    ap_directive_t lines[LINES_MAX], *line;
    const char *before[LINES_MAX];
    server_rec s = { 0 };
    command_rec command = { .name = "MPTCPListen" };
    cmd_parms cmd = { 0 };
    int n = 0, i;

    memset(lines, 0, sizeof(lines));
    for (text = apr_strtok(text, "\n", &state); text && n < LINES_MAX;
         text = apr_strtok(NULL, "\n", &state)) {
        int mptcp = strncmp(text, "MPTCPListen ", 12) == 0;

        lines[n].directive = mptcp ? "MPTCPListen" : "Listen";
        lines[n].args = before[n] = mptcp ? text + 12 : text;
        lines[n].filename = "httpd.conf";
        lines[n].line_num = n + 1;
        if (n > 0) {
            lines[n - 1].next = &lines[n];
        }
        n++;
    }
    ap_conftree = n ? lines : NULL;
    conf.listeners = apr_hash_make(p);
    count = 0;
    MUST(mptcp_listen_lines(p, p, p) == OK);

    cmd.pool = cmd.temp_pool = p;
    cmd.server = &s;
    cmd.cmd = &command;
    for (i = 0; i < n; i++) {
        char *words[WORDS_MAX];
        int argc;

        line = &lines[i];
        argc = split_words(p, line->args, words);
        cmd.directive = line;
        if (!line->data) {
            MUST(strcmp(line->directive, "Listen") == 0);
            MUST(line->args == before[i]);
            if (argc == 1 || argc == 2) {
                makes_listener(words[0], 0, p);
            }
        }
        else if (argc < WORDS_MAX) {
            MUST(strcmp(line->directive, "MPTCPListen") == 0);
            mptcp_listen_directive(&cmd, NULL, argc, words);
        }
    }
    ap_conftree = NULL;
    return 0;
}
