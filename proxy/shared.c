/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Workers that several ProxyPass or BalancerMember lines share.
 *
 * This file stays because mod_proxy's own word on it (AH01146, AH01150) is not
 * heard where most ProxyPass lines are: in a <VirtualHost> without a LogLevel
 * of its own, whose level is not set while the configuration is read (httpd
 * 2.4.71).
 *
 * A line whose URL begins with that of an earlier line's worker gets no
 * worker of its own, and mod_proxy ignores its parameters (AH01146, AH01150):
 * nobody is asked about them.  So when the configuration has been read, each
 * line that says multipathtcp= is compared with what became of the worker
 * which requests for its URL get; where they differ, the log is told which
 * line made that worker, and what to write.
 */

#include "proxy/private.h"

APLOG_USE_MODULE(mptcp);

typedef proxy_worker *get_worker_fn(apr_pool_t *, proxy_balancer *,
                                    proxy_server_conf *, const char *);
typedef proxy_balancer *get_balancer_fn(apr_pool_t *, proxy_server_conf *,
                                        const char *, int);

/* A line of the configuration that may make a worker. */
typedef struct {
    const ap_directive_t *line;
    const server_rec *s;
    const char *balancer;               /* NULL: a direct worker */
    const char *url;
    const char *value;                  /* of multipathtcp=, or NULL */
    int is_pattern;                     /* has what a pattern has found, $1 */
    int is_raw;                         /* nocanon or the like */
    int is_interpolated;
    int is_section;                     /* <Proxy url>, never ignored */
} worker_line;

/* Reading the lines; pool: ptemp. */
typedef struct {
    apr_pool_t *p;
    server_rec *main_server;
    apr_array_header_t *lines;          /* of worker_line, in their order */
    apr_hash_t *direct;                 /* see direct_by_name() */
    get_worker_fn *get_worker;
    get_balancer_fn *get_balancer;
} line_reader;

/* ---- the lines ---------------------------------------------------------- */

static int is_line(const ap_directive_t *line, const char *name)
{
    return ap_cstr_casecmp(line->directive, name) == 0;
}

/* The words of a line that are no parameters, and the one of ours. */
static apr_array_header_t *read_words(const char *args, worker_line *to,
                                      apr_pool_t *p)
{
    apr_array_header_t *words = apr_array_make(p, 4, sizeof(char *));

    while (*args) {
        const char *word = ap_getword_conf(p, &args);

        if (ap_cstr_casecmpn(word, "multipathtcp=", 13) == 0) {
            to->value = word + 13;      /* the last counts */
        }
        else {
            to->is_raw |= ap_cstr_casecmp(word, "nocanon") == 0
                          || ap_cstr_casecmp(word, "mapping=encoded") == 0;
            to->is_interpolated |= ap_cstr_casecmp(word, "interpolate") == 0;
            APR_ARRAY_PUSH(words, const char *) = word;
        }
    }
    return words;
}

/* The parameters that ProxySet sets in a section; how many words. */
static int read_proxy_sets(const ap_directive_t *section, worker_line *to,
                           apr_pool_t *p)
{
    const ap_directive_t *line;
    int words = 0;

    for (line = section->first_child; line; line = line->next) {
        if (is_line(line, "ProxySet")) {
            words += 1 + read_words(line->args, to, p)->nelts;
        }
    }
    return words;
}

/* Is this line in a section that takes the place of its first argument? */
static int in_section(const ap_directive_t *line, const char *prefix)
{
    return line->parent
           && ap_cstr_casecmpn(line->parent->directive, prefix,
                               strlen(prefix)) == 0;
}

/* Note a line if it may make a worker. */
static void note_line(line_reader *reader, const ap_directive_t *line,
                      const server_rec *s)
{
    worker_line found = { 0 };
    apr_array_header_t *words;
    int at = 0;                         /* of the URL among the words */
    int is_match = is_line(line, "ProxyPassMatch");
    const char *dollar;

    found.line = line;
    found.s = s;
    if (is_match || is_line(line, "ProxyPass")) {
        words = read_words(line->args, &found, reader->p);
        if (words->nelts && !strcmp(APR_ARRAY_IDX(words, 0, char *), "~")) {
            is_match = 1;
            at++;
        }
        if (!in_section(line, "<Location")) {
            at++;
        }
    }
    else if (is_line(line, "BalancerMember")) {
        words = read_words(line->args, &found, reader->p);
        if (in_section(line, "<Proxy")) {
            found.balancer = mptcp_section_argument(line->parent,
                                                    reader->p);
        }
        else if (words->nelts) {
            found.balancer = APR_ARRAY_IDX(words, at++, char *);
        }
    }
    else if (is_line(line, "<Proxy") || is_line(line, "<ProxyMatch")) {
        words = read_words(line->args, &found, reader->p);
        if (!read_proxy_sets(line, &found, reader->p) && !found.value
            && words->nelts < 2) {
            return;                     /* sets no parameter, so makes none */
        }
        found.is_section = 1;
        words = apr_array_make(reader->p, 1, sizeof(char *));
        APR_ARRAY_PUSH(words, const char *)
            = mptcp_section_argument(line, reader->p);
    }
    else {
        return;
    }
    if (at < words->nelts) {
        found.url = APR_ARRAY_IDX(words, at, char *);
        dollar = ap_strchr_c(found.url, '$');
        found.is_pattern = is_match && dollar && apr_isdigit(dollar[1]);
        APR_ARRAY_PUSH(reader->lines, worker_line) = found;
    }
}

/* The server of a <VirtualHost>. */
static server_rec *server_of(server_rec *s, const ap_directive_t *section)
{
    while (s && !mptcp_section_is_server(section, s)) {
        s = s->next;
    }
    return s;
}

static void read_lines(line_reader *reader, const ap_directive_t *line,
                       server_rec *s)
{
    for (; line && s; line = line->next) {
        note_line(reader, line, s);
        read_lines(reader, line->first_child,
                   is_line(line, "<VirtualHost")
                   ? server_of(reader->main_server, line) : s);
    }
}

/* ---- the workers -------------------------------------------------------- */

/*
 * A server's direct workers by their names.  A line that is written as a name
 * gets the first worker of that name; mod_proxy would find it, too, but look
 * at all of them for each line.  Empty where a name is a pattern: mod_proxy
 * alone knows what that fits.
 */
static apr_hash_t *direct_by_name(line_reader *reader,
                                  const proxy_server_conf *conf)
{
    apr_hash_t *by_name = apr_hash_get(reader->direct, &conf->workers,
                                       sizeof(void *));
    int i;

    if (by_name) {
        return by_name;
    }
    by_name = apr_hash_make(reader->p);
    apr_hash_set(reader->direct, &conf->workers, sizeof(void *), by_name);
    for (i = conf->workers->nelts - 1; i >= 0; i--) {
        proxy_worker *worker = &APR_ARRAY_IDX(conf->workers, i, proxy_worker);

        if (MPTCP_IS_PATTERN(worker)) {
            apr_hash_clear(by_name);
            break;
        }
        apr_hash_set(by_name, mptcp_worker_name(worker), APR_HASH_KEY_STRING,
                     worker);
    }
    return by_name;
}

/* The worker that a line's URL gets in this server, or NULL. */
static proxy_worker *worker_of(line_reader *reader, const worker_line *line,
                               const server_rec *s)
{
    proxy_server_conf *conf = mptcp_proxy_conf(s);
    proxy_balancer *balancer = NULL;
    proxy_worker *worker = NULL;

    if (line->balancer) {
        balancer = reader->get_balancer(reader->p, conf, line->balancer, 0);
        if (!balancer) {
            return NULL;
        }
    }
    else {
        worker = apr_hash_get(direct_by_name(reader, conf), line->url,
                              APR_HASH_KEY_STRING);
    }
    /* without a balancer it looks among the server's own workers */
    return worker ? worker
           : reader->get_worker(reader->p, balancer, conf, line->url);
}

/*
 * The line whose parameters the worker of a line has: the first of the server
 * that gets the same one.  (A server that has no line for it shares the worker
 * of the main server, and what is said there.)
 */
static const worker_line *maker_of(line_reader *reader,
                                   const proxy_worker *worker,
                                   const worker_line *line)
{
    const worker_line *maker = (const worker_line *)reader->lines->elts;

    /* which is the line itself, if no other */
    while (maker->s != line->s
           || worker_of(reader, maker, line->s) != worker) {
        maker++;
    }
    return maker;
}

/*
 * mod_proxy looks for the worker by the URL that a request comes to in the
 * end: with variables filled in, and characters encoded.  Why that will not
 * begin with the line's own URL, or NULL.
 */
static const char *never_fits(const worker_line *line, apr_pool_t *p)
{
    static const char kept[] = "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789~$-_.+!*'(),;:@&=/";
    const char *path;

    if (line->is_interpolated && ap_strstr_c(line->url, "${")) {
        return "interpolate makes another URL of it";
    }
    /* patterns are looked for since 2.4.47 */
    if (line->is_pattern && !AP_MODULE_MAGIC_AT_LEAST(20120211, 94)) {
        return "this httpd finds no worker whose URL has a '$1'";
    }
    path = ap_strstr_c(line->url, "://");
    path = path ? strchr(path + 3, '/') : NULL;
    if (!path || line->is_raw) {
        return NULL;
    }
    path += strspn(path, kept);
    return *path ? apr_psprintf(p, "its '%s' is encoded in requests", path)
                 : NULL;
}

/* Such requests are the default worker's, which has the server's default. */
static void check_fits(line_reader *reader, const worker_line *line)
{
    const proxy_worker *worker;
    const char *why;

    if (line->balancer || line->is_section || mptcp_proxy_default(line->s)
        || !(why = never_fits(line, reader->p))) {
        return;
    }
    worker = worker_of(reader, line, line->s);
    if (worker && mptcp_worker_wants(worker, line->s)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, line->s,
                     "%s:%d: multipathtcp=On has no effect: "
                     "%s, so that mod_proxy serves them by its default "
                     "worker; write 'MPTCPProxyDefault On'",
                     line->line->filename, line->line->line_num, why);
    }
}

/* Say so if what a line says of multipathtcp is not what came of it. */
static void compare(line_reader *reader, const worker_line *line)
{
    const proxy_worker *worker = worker_of(reader, line, line->s);
    const worker_line *maker;
    const char *other = "";

    if (!worker || mptcp_worker_wants(worker, line->s)
                   == (ap_cstr_casecmp(line->value, "on") == 0)) {
        return;
    }
    if (*worker->s->uds_path) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, line->s,
                     "%s:%d: multipathtcp=%s has no effect: unix:%s is no TCP",
                     line->line->filename, line->line->line_num, line->value,
                     worker->s->uds_path);
        return;
    }
    maker = maker_of(reader, worker, line);
    if (maker == line) {
        /* a later ProxySet has changed it, as it may */
        return;
    }
    if (strcmp(maker->url, line->url) != 0) {
        other = ", or to have both put this line, of the longer URL, before "
                "that one";
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, line->s,
                 "%s:%d: multipathtcp=%s has no effect: mod_proxy uses the "
                 "worker %s of %s:%d, which connects by %s. Write "
                 "multipathtcp=%s there%s",
                 line->line->filename, line->line->line_num, line->value,
                 mptcp_shown_name(reader->p, mptcp_worker_name(worker)),
                 maker->line->filename, maker->line->line_num,
                 mptcp_worker_wants(worker, line->s) ? "MPTCP" : "TCP",
                 line->value, other);
}

/*
 * <Proxy url> makes a direct worker, whose parameters are not those of a
 * balancer's member with the same URL.
 */
static void compare_members(line_reader *reader, const worker_line *line)
{
    proxy_server_conf *conf = mptcp_proxy_conf(line->s);
    const proxy_worker *worker = worker_of(reader, line, line->s);
    int i, j;

    for (i = 0; worker && i < conf->balancers->nelts; i++) {
        const proxy_balancer *balancer = &APR_ARRAY_IDX(conf->balancers, i,
                                                        proxy_balancer);

        for (j = 0; j < balancer->workers->nelts; j++) {
            const proxy_worker *member = APR_ARRAY_IDX(balancer->workers, j,
                                                       proxy_worker *);

            const char *name = mptcp_worker_name(member);

            if (strcmp(name, mptcp_worker_name(worker)) == 0
                && mptcp_worker_wants(member, line->s)
                   != mptcp_worker_wants(worker, line->s)) {
                ap_log_error(APLOG_MARK, APLOG_WARNING, 0, line->s,
                             "%s:%d: multipathtcp=%s does not concern the "
                             "member %s of %s: write it in the BalancerMember "
                             "line", line->line->filename,
                             line->line->line_num, line->value,
                             mptcp_shown_name(reader->p, name),
                             balancer->s->name);
            }
        }
    }
}

/* mod_proxy is not loaded: does any server say what concerns it alone? */
static void check_no_proxy(const server_rec *s)
{
    while (s && !mptcp_proxy_default(s)) {
        s = s->next;
    }
    if (s) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "MPTCPProxyDefault On has no effect: mod_proxy is not "
                     "loaded");
    }
}

int mptcp_workers_compare(apr_pool_t *pconf, apr_pool_t *plog,
                          apr_pool_t *ptemp, server_rec *s)
{
    line_reader reader;
    int i;

    reader.p = ptemp;
    reader.main_server = s;
    reader.lines = apr_array_make(ptemp, 16, sizeof(worker_line));
    reader.direct = apr_hash_make(ptemp);
    reader.get_worker = (get_worker_fn *)
        mptcp_proxy_function("ap_proxy_get_worker");
    reader.get_balancer = (get_balancer_fn *)
        mptcp_proxy_function("ap_proxy_get_balancer");
    if (!mptcp_proxy_conf(s)) {
        check_no_proxy(s);
        return OK;
    }
    if (!reader.get_worker || !reader.get_balancer) {
        return OK;
    }

    read_lines(&reader, ap_conftree, s);
    for (i = 0; i < reader.lines->nelts; i++) {
        const worker_line *line = &APR_ARRAY_IDX(reader.lines, i, worker_line);

        check_fits(&reader, line);
        if (line->value && line->is_section) {
            compare_members(&reader, line);
        }
        else if (line->value) {
            compare(&reader, line);
        }
    }
    return OK;
}
