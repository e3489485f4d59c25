/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What this server has changed in the kernel's path manager, remembered.
 *
 * It has to outlive
 *   a reload, which unloads this module: it is in process->pool;
 *   the parent, should it be killed: it is in a file beside the PidFile, which
 *   the next start reads.  The file names the boot, the network namespace and
 *   the process it belongs to, so that nothing is claimed that another server
 *   added, or that the kernel has forgotten since.
 *
 * The file is the structure as it stands: whoever reads it is the same machine
 * in the same boot.
 */

#include "paths/private.h"
#include "mpm_common.h"                 /* ap_pid_fname */

#include "apr_file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

/*
 * It changes with the structure, since a reload, or a start after a crash, may
 * bring another version of the module.
 */
#define STATE_VERSION "mod_mptcp pm 2"
#define STATE_KEY "mod_mptcp:" STATE_VERSION
#define FILE_KEY "mod_mptcp:pm file 1"
#define SHOWN_KEY "mod_mptcp:shown 3"

/* ---- who and where we are ----------------------------------------------- */

/* The start of a small file, or "" where it cannot be read. */
static void read_text(const char *name, char *text, apr_size_t size)
{
    ssize_t got = -1;
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        got = read(fd, text, size - 1);
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
}

/*
 * When a process was started, in clock ticks since boot, or 0 if it does not
 * run: field 22 of /proc/PID/stat.  With its id it names a process, while ids
 * alone are used again.
 */
apr_uint64_t mptcp_process_started(pid_t pid)
{
    char name[40], text[1024], *field;
    int i;

    apr_snprintf(name, sizeof(name), "/proc/%ld/stat", (long)pid);
    read_text(name, text, sizeof(text));
    field = strrchr(text, ')');         /* the name may have any character */
    if (field && strncmp(field, ") Z", 3) == 0) {
        return 0;                       /* killed, but not waited for yet */
    }
    for (i = 2; field && i < 22; i++) {
        field = strchr(field + 1, ' ');
    }
    return field ? (apr_uint64_t)apr_strtoi64(field, NULL, 10) : 0;
}

static void identify(mptcp_paths_state *state)
{
    struct stat netns;

    memset(state, 0, sizeof(*state));
    apr_cpystrn(state->version, STATE_VERSION, sizeof(state->version));
    read_text("/proc/sys/kernel/random/boot_id", state->boot_id,
              sizeof(state->boot_id));
    if (stat("/proc/self/ns/net", &netns) == 0) {
        state->netns_device = netns.st_dev;
        state->netns_inode = netns.st_ino;
    }
    state->owner = getpid();
    state->owner_started = mptcp_process_started(state->owner);
}

/* ---- what is remembered ------------------------------------------------- */

mptcp_paths_state *mptcp_paths_state_of(apr_pool_t *process_pool)
{
    return mptcp_kept(process_pool, STATE_KEY);
}

/* One a server, beside its PidFile, wherever httpd looks for that. */
static const char *file_of_now(apr_pool_t *p)
{
    const char *name = apr_pstrcat(p, ap_pid_fname, ".mptcp", NULL);

#if AP_MODULE_MAGIC_AT_LEAST(20120724, 1)
    return ap_runtime_dir_relative(p, name);
#else
    return ap_server_root_relative(p, name);
#endif
}

/*
 * The file that is in use, which a reload may change.  It is remembered,
 * because a configuration that is not read to its end may have another
 * PidFile, or none.
 */
static const char *file_in_use(apr_pool_t *process_pool)
{
    return mptcp_kept(process_pool, FILE_KEY);
}

static void use_file(const char *name, apr_pool_t *process_pool)
{
    mptcp_keep(process_pool, FILE_KEY, apr_pstrdup(process_pool, name));
}

int mptcp_paths_state_file_exists(apr_pool_t *p)
{
    const char *name = file_of_now(p);
    apr_finfo_t info;

    return name && apr_stat(&info, name, APR_FINFO_TYPE, p) == APR_SUCCESS;
}

/*
 * What a server of this PidFile has noted, if it was in this network namespace
 * and boot, and does not run.  If it does, the file is let alone.
 */
static int read_state_file(const char *name, mptcp_paths_state *state,
                           mptcp_paths_state *noted, server_rec *s,
                           apr_pool_t *p)
{
    apr_file_t *file;
    apr_size_t got = 0;
    apr_status_t rv;

    rv = apr_file_open(&file, name, APR_FOPEN_READ | APR_FOPEN_BINARY, 0, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_read_full(file, noted, sizeof(*noted), &got);
        apr_file_close(file);
    }
    if (rv != APR_SUCCESS) {
        if (!APR_STATUS_IS_ENOENT(rv)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                         "cannot read %s: endpoints that a killed server "
                         "left are not recognised", name);
        }
        return 0;
    }
    if (memcmp(noted->version, state->version, sizeof(noted->version)) != 0
        || memcmp(noted->boot_id, state->boot_id, sizeof(noted->boot_id)) != 0
        || noted->netns_device != state->netns_device
        || noted->netns_inode != state->netns_inode
        || noted->count < 0 || noted->count > MPTCP_ENDPOINTS_MAX) {
        return 0;
    }
    state->file_is_anothers
        = mptcp_process_started(noted->owner) == noted->owner_started
          && noted->owner != state->owner;
    if (state->file_is_anothers) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "%s belongs to process %ld, which runs: its endpoints "
                     "are left alone; give each server a PidFile of its own",
                     name, (long)noted->owner);
    }
    return !state->file_is_anothers;
}

/* What a killed server left becomes ours. */
static void take_over(mptcp_paths_state *state, const mptcp_paths_state *left,
                      server_rec *s)
{
    memcpy(state->limit, left->limit, sizeof(left->limit));
    memcpy(state->endpoint, left->endpoint, sizeof(left->endpoint));
    state->count = left->count;
    state->dropped = left->dropped;
    state->last_id = left->last_id;
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 "recognised %d endpoints and %d limits that process %ld left "
                 "behind", left->count, left->limit[0].is_set
                 + left->limit[1].is_set, (long)left->owner);
}

/* The file is whole or not there: it is written aside and renamed. */
static apr_status_t write_state(const mptcp_paths_state *state,
                                const char *name, apr_pool_t *p)
{
    char *aside = apr_pstrcat(p, name, ".XXXXXX", NULL);
    apr_file_t *file;
    apr_status_t rv = apr_file_mktemp(&file, aside, APR_FOPEN_CREATE
                                      | APR_FOPEN_EXCL | APR_FOPEN_WRITE
                                      | APR_FOPEN_BINARY, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_write_full(file, state, sizeof(*state), NULL);
    apr_file_close(file);
    if (rv == APR_SUCCESS) {
        rv = apr_file_rename(aside, name, p);
    }
    if (rv != APR_SUCCESS) {
        apr_file_remove(aside, p);
    }
    return rv;
}

int mptcp_paths_state_is_anything(const mptcp_paths_state *state)
{
    return state->count > 0 || state->limit[MPTCP_LIMIT_SUBFLOWS].is_set
           || state->limit[MPTCP_LIMIT_ADD_ADDR_ACCEPTED].is_set;
}

static const mptcp_endpoint *find_endpoint(const mptcp_endpoint *eps,
                                           int count,
                                           const mptcp_endpoint *wanted)
{
    int i;

    for (i = 0; i < count; i++) {
        if (mptcp_endpoint_satisfies(&eps[i], wanted)) {
            return &eps[i];
        }
    }
    return NULL;
}

const mptcp_endpoint *mptcp_paths_state_find(const mptcp_paths_state *state,
                                             const mptcp_endpoint *wanted)
{
    return find_endpoint(state->endpoint, state->count, wanted);
}

/*
 * For children, who have a copy of the state as it was when they were forked:
 * what of it they show, in memory that all of them see.  They could write it,
 * so the parent reads it for its log alone, and nobody believes the number.
 */
typedef struct {
    volatile int count;
    mptcp_endpoint endpoint[MPTCP_ENDPOINTS_MAX];
    /* of each line of the configuration: has its address been here? */
    int is_here[MPTCP_ENDPOINTS_MAX];
} shown_endpoints;

static void show(const mptcp_paths_state *state)
{
    shown_endpoints *shown;
    void *kept;

    if (mptcp_keep_shared(ap_pglobal, SHOWN_KEY, sizeof(*shown), &kept)
        != APR_SUCCESS) {
        return;
    }
    shown = kept;
    memcpy(shown->endpoint, state->endpoint, sizeof(shown->endpoint));
    shown->count = state->count;
}

int mptcp_endpoint_is_ours(process_rec *process, const mptcp_endpoint *ep)
{
    const shown_endpoints *shown = mptcp_kept(process->pool, SHOWN_KEY);
    const int count = shown ? shown->count : 0;

    return count > 0 && count <= MPTCP_ENDPOINTS_MAX
           && find_endpoint(shown->endpoint, count, ep);
}

void mptcp_paths_show_here(int line, int is_here)
{
    shown_endpoints *shown = mptcp_kept(ap_pglobal, SHOWN_KEY);

    if (shown) {
        __atomic_store_n(&shown->is_here[line], is_here, __ATOMIC_RELAXED);
    }
}

int mptcp_paths_shown_here(int line)
{
    const mptcp_paths_state *state = mptcp_paths_state_of(ap_pglobal);
    const shown_endpoints *shown = mptcp_kept(ap_pglobal, SHOWN_KEY);

    return shown && state && state->owner != getpid()
           && __atomic_load_n(&shown->is_here[line], __ATOMIC_RELAXED);
}

void mptcp_paths_state_save(const mptcp_paths_state *state, server_rec *s,
                            apr_pool_t *p)
{
    const char *name = file_in_use(ap_pglobal);
    apr_status_t rv;

    show(state);
    if (!name || state->file_is_anothers) {
        return;
    }
    if (!mptcp_paths_state_is_anything(state)) {
        apr_file_remove(name, p);       /* there mostly is none */
        return;
    }
    rv = write_state(state, name, p);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "cannot write %s: should httpd be killed, the next "
                     "start will take its endpoints for somebody else's",
                     name);
    }
}

/*
 * The PidFile is another since the last reload, and so is the file: the old
 * one would claim endpoints that somebody else has added since.
 */
static void follow_pid_file(mptcp_paths_state *state, server_rec *s,
                            apr_pool_t *p)
{
    const char *old = file_in_use(s->process->pool), *name = file_of_now(p);
    mptcp_paths_state others;

    if (!name || (old && strcmp(old, name) == 0)) {
        return;
    }
    if (old && !state->file_is_anothers) {
        apr_file_remove(old, p);
    }
    use_file(name, s->process->pool);
    state->file_is_anothers = 0;
    read_state_file(name, state, &others, s, p);
    mptcp_paths_state_save(state, s, p);
}

mptcp_paths_state *mptcp_paths_state_make(server_rec *s, apr_pool_t *p)
{
    mptcp_paths_state *state = mptcp_paths_state_of(s->process->pool), left;
    const char *name;

    if (state) {
        follow_pid_file(state, s, p);
        return state;
    }
    state = apr_palloc(s->process->pool, sizeof(*state));
    identify(state);
    name = file_of_now(p);
    if (name) {
        use_file(name, s->process->pool);
        if (read_state_file(name, state, &left, s, p)) {
            take_over(state, &left, s);
        }
    }
    mptcp_keep(s->process->pool, STATE_KEY, state);
    return state;
}
