/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The Listen and MPTCPListen lines, before the configuration is walked.
 *
 * When pre_config runs, the whole configuration is in ap_conftree, with
 * Include, Use and IfModule resolved, and none of it has been walked yet.  So
 * here lines can be seen beside one another, and changed, which core's
 * directives, called for one line after the other, cannot:
 *
 * - a Listen line with options=, which is trunk's and which 2.4 takes for a
 *   protocol, or for one argument too many, becomes an MPTCPListen line;
 * - a Listen line of the same address and port as an MPTCPListen line, which
 *   core would refuse as one listener too many, is left without effect;
 * - a word that core would take for the name of a protocol, and is a mistake,
 *   is refused.
 *
 * What is found goes where a directive's own data go, to MPTCPListen, so that
 * an error names file and line.  Only the top level is searched: Listen is
 * not allowed in any other section.
 */

#include "listen/private.h"

#include "apr_lib.h"                    /* apr_isspace */

/* Trunk has options= of its own. */
#ifdef AP_LISTEN_MPTCP
#define HAVE_LISTEN_OPTIONS 1
#else
#define HAVE_LISTEN_OPTIONS 0
#endif

/* ---- a line and its words ----------------------------------------------- */

/* A Listen or MPTCPListen line, while all of them are looked at. */
typedef struct listen_line {
    ap_directive_t *directive;
    mptcp_listen_line *found;
    const char *text;           /* as it was written */
    const char *address;        /* the first word */
    const char *protocol;       /* the second one, or NULL */
    int is_mptcp;
    /* does core make a listener of it, and of which? */
    int is_valid;
    mptcp_listener_id id;
    const struct listen_line *twin; /* a Listen line that it stands for, too */
} listen_line;

enum { FINE, ASKS_FOR_IT, ASKS_NOT, ADDRESS };

static int is_one_of(const char *word, const char *const *list)
{
    while (*list && ap_cstr_casecmp(*list, word) != 0) {
        list++;
    }
    return *list != NULL;
}

/*
 * What is it that stands where a protocol may stand?  On 2.4 any word may be
 * one, for AcceptFilter, so on a Listen line just what speaks of MPTCP or of
 * options is taken for a mistake.
 */
static int kind_of_word(const char *word, int is_mptcp, apr_pool_t *p)
{
    static const char *const on[] = {
        "on", "yes", "true", "enable", "enabled", NULL
    };
    static const char *const off[] = {
        "off", "no", "false", "disable", "disabled", NULL
    };
    const char *equals = strchr(word, '=');
    const char *value = equals ? equals + 1 : word;
    int is_off = is_one_of(value, off) || (equals && strcmp(value, "0") == 0);
    mptcp_listener_id id;

    if (ap_strcasestr(word, "mptcp") || ap_strcasestr(word, "multipath")
        || ap_cstr_casecmpn(word, "option", 6) == 0
        || ap_cstr_casecmpn(word, "opts", 4) == 0
        || (is_mptcp && (equals || is_off || is_one_of(value, on)))) {
        return is_off ? ASKS_NOT : ASKS_FOR_IT;
    }
    if (is_mptcp && (strspn(word, "0123456789") == strlen(word)
                     || mptcp_listener_read_id(&id, word, p))) {
        return ADDRESS;
    }
    return FINE;
}

/* What is wrong with a word, and what to write; REST is what is right. */
static const char *word_error(const listen_line *line, const char *word,
                              int kind, const char *rest, apr_pool_t *p)
{
    const char *write;

    if (kind == ADDRESS) {
        write = apr_psprintf(p, "'MPTCPListen %s' on a line of its own", word);
    }
    else if (kind == ASKS_NOT) {
        write = apr_psprintf(p, "'Listen %s'", rest);
    }
    else {
        write = apr_psprintf(p, "'MPTCPListen %s'", rest);
        if (ap_cstr_casecmp(line->found->name, "Listen") == 0) {
            write = apr_psprintf(p, "%s or 'Listen %s options=multipathtcp'",
                                 write, rest);
        }
    }
    return apr_psprintf(p, "%s: '%s' is no protocol; write %s", line->text,
                        word, write);
}

/* Does options= ask for MPTCP?  2.4 knows nothing else that it could say. */
static int options_ask(const char *options)
{
    return options && (!HAVE_LISTEN_OPTIONS
                       || ap_strcasestr(options, "multipathtcp"));
}

/*
 * Cut a line up.  Its words go to WORDS, and as they are written, with their
 * quotes, to WRITTEN; but what options= say, of a directive that has options,
 * is returned, all of it as one list.
 */
static const char *split(const char *args, int has_options,
                         apr_array_header_t *words,
                         apr_array_header_t *written)
{
    apr_pool_t *p = words->pool;
    const char *options = NULL;

    while (*args) {
        const char *start = args, *end;
        const char *word = ap_getword_conf(p, &args);

        if (has_options && words->nelts > 0
            && ap_cstr_casecmpn(word, "options=", 8) == 0) {
            options = options ? apr_pstrcat(p, options, ",", word + 8, NULL)
                              : word + 8;
            continue;
        }
        for (end = args; end > start && apr_isspace(end[-1]); end--) {
        }
        APR_ARRAY_PUSH(words, const char *) = word;
        APR_ARRAY_PUSH(written, const char *) = apr_pstrmemdup(p, start,
                                                               end - start);
    }
    return options;
}

/* What is kept for the directive is in pconf. */
static void read_listen_line(listen_line *line, ap_directive_t *directive,
                             apr_pool_t *pconf, apr_pool_t *ptemp)
{
    mptcp_listen_line *found = apr_pcalloc(pconf, sizeof(*found));
    apr_array_header_t *words = apr_array_make(ptemp, 4, sizeof(char *));
    apr_array_header_t *written = apr_array_make(ptemp, 4, sizeof(char *));
    int is_listen = ap_cstr_casecmp(directive->directive, "Listen") == 0;
    const char *options = split(directive->args, is_listen, words, written);
    const char *rest, *wrong = NULL;
    int i, wrong_kind = FINE;

    memset(line, 0, sizeof(*line));
    line->directive = directive;
    line->found = found;
    line->text = apr_pstrcat(ptemp, directive->directive, " ",
                             directive->args, NULL);
    line->is_mptcp = !is_listen || options_ask(options);
    found->name = directive->directive;
    found->options = apr_pstrdup(pconf, options);
    if (words->nelts == 0) {
        return;
    }

    rest = APR_ARRAY_IDX(written, 0, const char *);
    for (i = 1; i < words->nelts; i++) {
        const char *word = APR_ARRAY_IDX(words, i, const char *);
        int kind = kind_of_word(word, line->is_mptcp, ptemp);

        if (kind == FINE) {
            rest = apr_pstrcat(ptemp, rest, " ",
                               APR_ARRAY_IDX(written, i, const char *), NULL);
        }
        else if (!wrong) {
            wrong = word;
            wrong_kind = kind;
        }
    }
    if (wrong) {
        found->error = word_error(line, wrong, wrong_kind, rest, pconf);
        return;
    }
    if (options && !HAVE_LISTEN_OPTIONS) {
        directive->args = apr_pstrdup(pconf, rest);
    }
    line->address = APR_ARRAY_IDX(words, 0, const char *);
    if (words->nelts == 2) {
        line->protocol = APR_ARRAY_IDX(words, 1, const char *);
    }
    line->is_valid = words->nelts <= 2
                     && mptcp_listener_read_id(&line->id, line->address,
                                               ptemp);
}

/* ---- lines beside one another ------------------------------------------- */

static const char *same_listener(const listen_line *line,
                                 const listen_line *other, const char *advice,
                                 apr_pool_t *p)
{
    return apr_psprintf(p, "%s: '%s' in line %d of %s is the same listener; "
                        "%s", line->text, other->text,
                        other->directive->line_num,
                        other->directive->filename, advice);
}

/*
 * A Listen line of the same address and port as a line that is MPTCP: it is
 * left without effect.  One of the two is enough to name the protocol.
 */
static void join(listen_line *plain, listen_line *mptcp, apr_pool_t *pconf)
{
    if (mptcp->twin) {
        plain->found->error = same_listener(plain, mptcp->twin,
                                            "remove one of the two", pconf);
    }
    else if (!mptcp->protocol && plain->protocol) {
        mptcp->directive->args = apr_pstrcat(pconf, mptcp->directive->args,
                                             " \"",
                                             ap_escape_quotes(pconf,
                                                              plain->protocol),
                                             "\"", NULL);
    }
    else if (plain->protocol
             && ap_cstr_casecmp(plain->protocol, mptcp->protocol) != 0) {
        plain->found->error = same_listener(plain, mptcp, "let both name one "
                                            "protocol", pconf);
    }
    mptcp->twin = plain;
    plain->found->is_made = 1;
}

static listen_line *find(apr_hash_t *lines, const mptcp_listener_id *id)
{
    char key[MPTCP_LISTENER_KEY_SIZE];

    return apr_hash_get(lines, mptcp_listener_key(key, id),
                        APR_HASH_KEY_STRING);
}

/*
 * Core drops a listener of the IPv4 wildcard for that of IPv6, which serves
 * both, if the latter comes before it or next behind it: then it is the latter
 * that is to be MPTCP.  Further behind, core binds both or does not start.  (A
 * line without an address must come first, else core refuses the two.)
 */
static int stands_for_ipv4(const listen_line *plain, apr_hash_t *mptcp)
{
    const mptcp_listener_id ipv4 = {
        .host = "0.0.0.0", .port = plain->id.port
    };
    const listen_line *other = find(mptcp, &ipv4);

    /* both are in one array */
    return (!plain->id.host || strcmp(plain->id.host, "::") == 0)
           && other && (other > plain || other + 1 == plain);
}

static void enter(apr_hash_t *mptcp, listen_line *line, apr_pool_t *pconf,
                  apr_pool_t *ptemp)
{
    const listen_line *other = find(mptcp, &line->id);
    char key[MPTCP_LISTENER_KEY_SIZE];

    if (other) {
        line->found->error = same_listener(line, other, "remove one of the "
                                           "two", pconf);
        return;
    }
    apr_hash_set(mptcp, apr_pstrdup(ptemp, mptcp_listener_key(key, &line->id)),
                 APR_HASH_KEY_STRING, line);
}

/* Let MPTCPListen's function see what has been found. */
static void hand_to_directive(const listen_line *line)
{
    line->directive->directive = "MPTCPListen";
    line->directive->data = line->found;
}

/*
 * One line after the other is read; then each that is MPTCP is entered, of
 * whatever place it is; then the others are looked up.
 */
int mptcp_listen_lines(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    apr_array_header_t *lines = apr_array_make(ptemp, 16,
                                               sizeof(listen_line));
    apr_hash_t *mptcp = apr_hash_make(ptemp);
    ap_directive_t *directive;
    listen_line *line, *other;
    int i;

    for (directive = ap_conftree; directive; directive = directive->next) {
        if (ap_cstr_casecmp(directive->directive, "Listen") == 0
            || ap_cstr_casecmp(directive->directive, "MPTCPListen") == 0) {
            read_listen_line(apr_array_push(lines), directive, pconf, ptemp);
        }
    }
    for (i = 0; i < lines->nelts; i++) {
        line = &APR_ARRAY_IDX(lines, i, listen_line);
        if (line->is_mptcp && line->is_valid) {
            enter(mptcp, line, pconf, ptemp);
        }
    }
    for (i = 0; i < lines->nelts; i++) {
        line = &APR_ARRAY_IDX(lines, i, listen_line);
        if (line->is_valid && !line->is_mptcp && !line->found->options) {
            other = find(mptcp, &line->id);
            if (other) {
                join(line, other, pconf);
            }
            else if (stands_for_ipv4(line, mptcp)) {
                enter(mptcp, line, pconf, ptemp);
            }
            else {
                continue;               /* core's alone */
            }
        }
        else if (!line->found->error && !line->is_mptcp) {
            continue;
        }
        else if (!line->found->error && HAVE_LISTEN_OPTIONS
                 && line->found->options) {
            if (line->is_valid) {
                /* core does the rest */
                mptcp_listener_want(line->address, pconf);
            }
            continue;
        }
        hand_to_directive(line);
    }
    return OK;
}
