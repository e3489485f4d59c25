/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which listeners are to be MPTCP: MPTCPListen, MPTCPListenDefault, and
 * Listen ... options=multipathtcp.
 */

#include "listen/listen.h"

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
 * it are to be MPTCP.  A host name may give several, a restart finds old
 * records again and puts them elsewhere in the list: so the new ones are told
 * by the list before and after.
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[])
{
    mptcp_global_conf *conf = mptcp_global();
    /* left by rewrite_listen() below, if the line said Listen */
    const char *options = cmd->directive->data;
    const char *name = options ? "Listen" : cmd->cmd->name;
    apr_array_header_t *before;
    ap_listen_rec *lr;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (err) {
        return err;
    }
    if (options && (err = check_options(cmd->pool, options))) {
        return err;
    }
    if (argc < 1 || argc > 2) {
        return apr_psprintf(cmd->pool, "%s takes one or two arguments: "
                            LISTEN_GRAMMAR "%s", name,
                            options ? ", then options=" : "");
    }

    before = apr_array_make(cmd->temp_pool, 8, sizeof(ap_listen_rec *));
    for (lr = ap_listeners; lr; lr = lr->next) {
        APR_ARRAY_PUSH(before, ap_listen_rec *) = lr;
    }
    err = ap_set_listener(cmd, dummy, argc, argv);
    if (err) {
        return apr_psprintf(cmd->pool, "%s %s: %s (allowed is "
                            LISTEN_GRAMMAR ", each address and port once in "
                            "all Listen and MPTCPListen lines)",
                            name, argv[0], err);
    }
    for (lr = ap_listeners; lr; lr = lr->next) {
        if (!mptcp_array_has(before, lr)) {
            APR_ARRAY_PUSH(conf->listeners, ap_listen_rec *) = lr;
        }
    }
    return NULL;
}

const char *mptcp_listen_default_directive(cmd_parms *cmd, void *dummy,
                                           int flag)
{
    mptcp_global()->listen_default = flag;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

int mptcp_listener_wanted(const ap_listen_rec *lr)
{
    const mptcp_global_conf *conf = mptcp_global();

#ifdef AP_LISTEN_MPTCP
    if (lr->flags & AP_LISTEN_MPTCP) {
        return 1;                       /* trunk: Listen's own option */
    }
#endif
    return conf->listen_default == 1
           || mptcp_array_has(conf->listeners, lr);
}

/* Trunk has options= of its own. */
#ifdef AP_LISTEN_MPTCP
#define HAVE_LISTEN_OPTIONS 1
#else
#define HAVE_LISTEN_OPTIONS 0
#endif

/*
 * Listen ... options=... is trunk's; 2.4's Listen takes it for a protocol, or
 * for one argument too many.  Such a line is made an MPTCPListen line before
 * the tree is walked, with the options where a directive's own data go, so
 * that they are judged where the error can name file and line.
 */
static void rewrite_listen(ap_directive_t *line, apr_pool_t *p)
{
    const char *args = line->args, *kept = "", *options = NULL;

    while (*args) {
        const char *start = args;
        const char *word = ap_getword_conf(p, &args);

        if (*kept && ap_cstr_casecmpn(word, "options=", 8) == 0) {
            /* all of them are judged, as one list */
            options = options ? apr_pstrcat(p, options, ",", word + 8, NULL)
                              : word + 8;
        }
        else {
            kept = apr_pstrcat(p, kept, *kept ? " " : "",
                               apr_pstrmemdup(p, start, args - start), NULL);
        }
    }
    if (options) {
        line->directive = "MPTCPListen";
        line->args = kept;
        line->data = (void *)options;
    }
}

/*
 * The whole configuration is in ap_conftree, with Include, Use and IfModule
 * resolved, and none of it has been walked yet.  Only the top level is
 * searched: Listen is not allowed in any other section.
 */
int mptcp_listen_rewrite(apr_pool_t *pconf, apr_pool_t *plog,
                         apr_pool_t *ptemp)
{
    ap_directive_t *line;

    for (line = ap_conftree; line && !HAVE_LISTEN_OPTIONS; line = line->next) {
        if (ap_cstr_casecmp(line->directive, "Listen") == 0) {
            rewrite_listen(line, pconf);
        }
    }
    return OK;
}
