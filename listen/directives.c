/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which listeners are to be MPTCP: MPTCPListen, MPTCPListenDefault, and
 * Listen ... options=multipathtcp; and what if the kernel refuses,
 * MPTCPFallback.
 */

#include "listen/private.h"

APLOG_USE_MODULE(mptcp);

#define LISTEN_GRAMMAR "[IP-address:]portnumber [protocol]"

/* Check the keyword list of a Listen line's options=. */
static const char *check_options(apr_pool_t *p, const char *options)
{
    char *list = apr_pstrdup(p, options), *state = NULL, *keyword;
    int any = 0;

    for (keyword = apr_strtok(list, ",", &state); keyword;
         keyword = apr_strtok(NULL, ",", &state)) {
        if (ap_cstr_casecmp(keyword, "multipathtcp") != 0) {
            return apr_psprintf(p, "Listen option '%s' in 'options=%s' is not "
                                "known: allowed in this httpd is multipathtcp",
                                keyword, options);
        }
        any = 1;
    }
    return any ? NULL : "Listen 'options=' names no option: allowed in this "
                        "httpd is multipathtcp";
}

/*
 * MPTCPListen: what Listen does, and a note that the listeners which came of
 * it are to be MPTCP.
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[])
{
    /* NULL if the line stands where it may not, within a section */
    const mptcp_listen_line *line = cmd->directive->data;
    const char *name = line ? line->name : cmd->cmd->name;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (!err && line) {
        err = line->error;
        if (!err && line->options) {
            err = check_options(cmd->pool, line->options);
        }
    }
    if (err || (line && line->is_made)) {
        return err;
    }
    if (argc < 1 || argc > 2) {
        return apr_psprintf(cmd->pool, "%s takes one or two arguments: "
                            LISTEN_GRAMMAR "%s", name,
                            line && line->options ? ", then options=" : "");
    }
    err = ap_set_listener(cmd, dummy, argc, argv);
    if (err) {
        return apr_psprintf(cmd->pool, "%s %s: %s (allowed is "
                            LISTEN_GRAMMAR ", each address and port once)",
                            name, argv[0], err);
    }
    mptcp_listener_want(argv[0], cmd->pool);
    return NULL;
}

const char *mptcp_listen_default_directive(cmd_parms *cmd, void *dummy,
                                           int flag)
{
    mptcp_global()->listen_default = flag;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

/* Of proxy/, too, whose sockets it is about as well. */
const char *mptcp_fallback_directive(cmd_parms *cmd, void *dummy, int flag)
{
    mptcp_global()->fallback = flag;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}
