/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The path manager's limits, which go back to what they were.
 *
 * They end no subflow that is there (seen with Linux 6.18), so they are set at
 * once.  But they belong to the network namespace, and there may be another
 * httpd in it: who sets 4 after 2, and 8 after 4, has to leave 2 behind when
 * both have stopped, in whatever order.  So servers tell each other what they
 * have set, in a file of /run: its records are in the order of setting, and
 * whoever stops hands what was there before him to the one that has set it
 * over him.  Where there is no such file, as without root, each knows of
 * itself alone, and leaves a limit that somebody has changed since.
 */

#include "paths/private.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

APLOG_USE_MODULE(mptcp);

#define SHARED_FILE "/run/mod_mptcp.limits"
#define SHARED_VERSION "mod_mptcp lim 1"

/* More servers than have ever set limits in one boot: no more are noted. */
#define RECORDS_MAX 64

/* What one server has set. */
typedef struct {
    char version[16];
    apr_uint64_t netns_device;
    apr_uint64_t netns_inode;
    apr_uint64_t owner_started;
    pid_t owner;
    mptcp_paths_limit limit[MPTCP_LIMITS];
} shared_record;

typedef struct {
    int fd;                             /* -1: nothing is shared */
    int count;
    shared_record record[RECORDS_MAX + 1];
} shared_limits;

int mptcp_limits_wanted(const mptcp_limits *limits)
{
    int i, wanted = 0;

    for (i = 0; i < MPTCP_LIMITS; i++) {
        wanted |= limits->value[i] != MPTCP_LIMIT_UNSET;
    }
    return wanted;
}

/* ---- what servers tell each other --------------------------------------- */

/* The file, locked; one that has been removed meanwhile is another. */
static int open_locked(void)
{
    struct stat info;
    int fd;

    do {
        fd = open(SHARED_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                  0600);
        if (fd < 0) {
            return -1;
        }
        if (flock(fd, LOCK_EX) != 0 || fstat(fd, &info) != 0
            || !S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
            close(fd);
            return -1;
        }
        if (info.st_nlink == 0) {
            close(fd);
        }
    } while (info.st_nlink == 0);
    return fd;
}

/* The one that has set a limit over this record's, or NULL. */
static shared_record *heir_of(shared_limits *shared, int which, int limit)
{
    const shared_record *mine = &shared->record[which];
    int i;

    for (i = which + 1; i < shared->count; i++) {
        shared_record *other = &shared->record[i];

        if (other->netns_device == mine->netns_device
            && other->netns_inode == mine->netns_inode
            && other->limit[limit].is_set
            && other->limit[limit].before == mine->limit[limit].value) {
            return other;
        }
    }
    return NULL;
}

/* Another server that has set a limit to what it is now, or NULL. */
static shared_record *setter_of(shared_limits *shared,
                                const mptcp_paths_state *state, int limit,
                                int now)
{
    int i;

    for (i = 0; i < shared->count; i++) {
        shared_record *other = &shared->record[i];

        if (other->netns_device == state->netns_device
            && other->netns_inode == state->netns_inode
            && other->limit[limit].is_set
            && other->limit[limit].value == now) {
            return other;
        }
    }
    return NULL;
}

/* A record goes: what was before it is for its heir to put back. */
static void leave_limits(shared_limits *shared, int which)
{
    int i;

    for (i = 0; i < MPTCP_LIMITS; i++) {
        const mptcp_paths_limit *mine = &shared->record[which].limit[i];
        shared_record *heir = mine->is_set ? heir_of(shared, which, i) : NULL;

        if (heir) {
            heir->limit[i].before = mine->before;
        }
    }
    shared->count--;
    memmove(&shared->record[which], &shared->record[which + 1],
            (shared->count - which) * sizeof(shared->record[0]));
}

static int find_record(const shared_limits *shared,
                       const mptcp_paths_state *state)
{
    int i;

    for (i = 0; i < shared->count; i++) {
        if (shared->record[i].owner == state->owner
            && shared->record[i].owner_started == state->owner_started) {
            return i;
        }
    }
    return -1;
}

static void open_shared(shared_limits *shared)
{
    ssize_t got;
    int i;

    shared->count = 0;
    shared->fd = open_locked();
    if (shared->fd < 0) {
        return;
    }
    got = pread(shared->fd, shared->record,
                RECORDS_MAX * sizeof(shared->record[0]), 0);
    if (got > 0) {
        shared->count = (int)(got / sizeof(shared->record[0]));
    }
    for (i = 0; i < shared->count;) {
        const shared_record *record = &shared->record[i];

        if (memcmp(record->version, SHARED_VERSION,
                   sizeof(record->version)) != 0) {
            shared->count = 0;          /* another version's */
        }
        else if (mptcp_process_started(record->owner)
                 != record->owner_started) {
            leave_limits(shared, i);    /* it was killed */
        }
        else {
            i++;
        }
    }
}

static void close_shared(shared_limits *shared)
{
    size_t size = shared->count * sizeof(shared->record[0]);

    if (shared->fd < 0) {
        return;
    }
    /* if it cannot be written whole, nobody is to believe it */
    if (shared->count == 0
        || pwrite(shared->fd, shared->record, size, 0) != (ssize_t)size
        || ftruncate(shared->fd, size) != 0) {
        unlink(SHARED_FILE);
    }
    close(shared->fd);                  /* with it goes the lock */
}

static void add_record(shared_limits *shared, const mptcp_paths_state *state)
{
    shared_record *record = &shared->record[shared->count];

    if (shared->fd < 0 || shared->count == RECORDS_MAX) {
        return;
    }
    memset(record, 0, sizeof(*record));
    apr_cpystrn(record->version, SHARED_VERSION, sizeof(record->version));
    record->netns_device = state->netns_device;
    record->netns_inode = state->netns_inode;
    record->owner = state->owner;
    record->owner_started = state->owner_started;
    memcpy(record->limit, state->limit, sizeof(record->limit));
    shared->count++;
}

/* ---- setting ------------------------------------------------------------ */

/*
 * What a limit would be without this server; mine is its record, or -1.
 */
static int without_us(mptcp_paths_work *work, shared_limits *shared, int mine,
                      int i, int now)
{
    mptcp_paths_limit *limit = &work->state->limit[i];
    shared_record *other;

    if (!limit->is_set) {
        return now;
    }
    if (mine >= 0) {
        /* somebody else may have left us what was before him */
        limit->before = shared->record[mine].limit[i].before;
        if (heir_of(shared, mine, i)) {
            return now;
        }
    }
    else if ((other = setter_of(shared, work->state, i, now)) != NULL) {
        /* we were killed, and it wants what we have set, or has found it */
        if (other->limit[i].before == limit->value) {
            other->limit[i].before = limit->before;
        }
        return now;
    }
    return limit->value == now ? limit->before : now;
}

/* It cannot be told whose the value is, so it stays. */
static void say_left(const mptcp_paths_work *work,
                     const mptcp_paths_limit *limit, int i, int now)
{
    mptcp_limits only;
    int j;

    for (j = 0; j < MPTCP_LIMITS; j++) {
        only.value[j] = j == i ? limit->before : MPTCP_LIMIT_UNSET;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, work->s,
                 "a limit that httpd has set to %d is %d now, by somebody "
                 "else, and stays; what it was before httpd set it: ip mptcp "
                 "limits set %s", limit->value, now,
                 mptcp_limits_text(work->p, &only));
}

static apr_status_t set_limits(mptcp_paths_work *work, shared_limits *shared,
                               const mptcp_limits *wanted)
{
    mptcp_paths_limit limit[MPTCP_LIMITS];
    mptcp_limits now, next;
    apr_status_t rv = mptcp_pm_get_limits(work->pm, &now);
    int mine = find_record(shared, work->state), i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    next = now;
    for (i = 0; i < MPTCP_LIMITS; i++) {
        const mptcp_paths_limit *ours = &work->state->limit[i];
        int is_wanted = wanted && wanted->value[i] != MPTCP_LIMIT_UNSET;

        limit[i].before = without_us(work, shared, mine, i, now.value[i]);
        limit[i].is_set = is_wanted;
        limit[i].value = is_wanted ? wanted->value[i] : limit[i].before;
        next.value[i] = limit[i].value;
        if (ours->is_set && !is_wanted && ours->value != now.value[i]
            && ours->before != now.value[i]
            && (mine < 0 || !heir_of(shared, mine, i))) {
            say_left(work, ours, i, now.value[i]);
        }
    }
    if (memcmp(&next, &now, sizeof(now)) != 0) {
        rv = mptcp_pm_set_limits(work->pm, &next);
        if (rv == EPERM) {
            mptcp_paths_note_refused(work, apr_pstrcat(
                work->p, "ip mptcp limits set ",
                mptcp_limits_text(work->p, &next), NULL));
            return APR_SUCCESS;
        }
    }
    /*
     * Noted on another error, too: it may have been done.  If not, the values
     * differ, and nothing is put back.
     */
    memcpy(work->state->limit, limit, sizeof(limit));
    if (mine >= 0) {
        leave_limits(shared, mine);
    }
    if (wanted && mptcp_limits_wanted(wanted)) {
        add_record(shared, work->state);
    }
    return rv;
}

apr_status_t mptcp_limits_apply(mptcp_paths_work *work,
                                const mptcp_limits *wanted)
{
    shared_limits *shared;
    apr_status_t rv;
    int i, is_set = wanted && mptcp_limits_wanted(wanted);

    for (i = 0; i < MPTCP_LIMITS; i++) {
        is_set |= work->state->limit[i].is_set;
    }
    if (!is_set) {
        return APR_SUCCESS;
    }
    shared = apr_palloc(work->p, sizeof(*shared));
    open_shared(shared);
    rv = set_limits(work, shared, wanted);
    close_shared(shared);
    return rv;
}
