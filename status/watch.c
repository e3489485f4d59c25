/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Since when: what a page that is made anew for each request cannot know.  The
 * parent looks every ten seconds, whether anybody looks at the page or not,
 * and notes in shared memory when it has seen a trouble of the host first, and
 * what the kernel's counters were some minutes ago.
 *
 * The parent alone writes, one word at a time; a child may read while it does,
 * and then takes a trouble for a new one.  No lock is taken.  A child that has
 * been taken over can write, too, so what is there leads the parent nowhere.
 */

#include "status/private.h"

APLOG_USE_MODULE(mptcp);

/* More troubles of one host at one time have no time of their own. */
#define TROUBLES_MAX 64

/* Counters are compared with what they were so long ago. */
#define SAMPLES 11
#define SAMPLE_EVERY apr_time_from_sec(60)

#define STATUS_WATCH_KEY "mod_mptcp:status:4"

typedef struct {
    apr_uint64_t trouble[TROUBLES_MAX];     /* a hash of it; 0: none */
    apr_uint64_t since[TROUBLES_MAX];
    apr_uint64_t sample[SAMPLES][STATUS_COUNTERS];
    apr_uint64_t samples;                   /* how many there have been */
    apr_uint64_t next_sample;               /* when it is due, over reloads */
} shared_watch;

/* In process->pool, and so the same for all configurations. */
static shared_watch *seen;

static apr_uint64_t watch_get(const apr_uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static void watch_set(apr_uint64_t *number, apr_uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
}

void status_counters_read(apr_uint64_t now[STATUS_COUNTERS])
{
    static const char *const names[STATUS_KERNEL_COUNTERS] = {
        [STATUS_JOINS_RECEIVED] = "MPJoinSynRx",
        [STATUS_JOINS_FINISHED] = "MPJoinAckRx",
        [STATUS_JOINS_NO_TOKEN] = "MPJoinNoTokenFound",
        [STATUS_JOINS_WRONG_HMAC] = "MPJoinAckHMacFailure",
        [STATUS_JOINS_REJECTED] = "MPJoinRejected",
        [STATUS_JOINS_SENT] = "MPJoinSynTx",
        [STATUS_JOINS_SENT_WRONG_HMAC] = "MPJoinSynAckHMacFailure",
        [STATUS_JOINS_NO_SOCKET] = "MPJoinSynTxCreatSkErr",
        [STATUS_JOINS_NO_ADDRESS] = "MPJoinSynTxBindErr",
        [STATUS_JOINS_NO_WAY] = "MPJoinSynTxConnectErr"
    };

    memset(now, 0, STATUS_COUNTERS * sizeof(now[0]));
    mptcp_netstat_read(names, STATUS_KERNEL_COUNTERS, now);
}

/* Of what tells it from others; not 0. */
static apr_uint64_t hash_trouble(const status_trouble *trouble)
{
    const char *text = trouble->where ? trouble->where : trouble->what;
    apr_uint64_t hash = mptcp_hash(MPTCP_HASH_BEGIN ^ trouble->kind, text,
                                   strlen(text));

    return hash ? hash : 1;
}

static int find_trouble(apr_uint64_t hash)
{
    int i;

    for (i = 0; i < TROUBLES_MAX; i++) {
        if (watch_get(&seen->trouble[i]) == hash) {
            return i;
        }
    }
    return -1;
}

apr_time_t status_watch_since(const status_trouble *trouble)
{
    int i = seen ? find_trouble(hash_trouble(trouble)) : -1;

    return i >= 0 ? (apr_time_t)watch_get(&seen->since[i]) : 0;
}

apr_uint64_t status_watch_rise(int counter, apr_uint64_t now)
{
    apr_uint64_t samples = seen ? watch_get(&seen->samples) : 0, then;

    if (samples == 0) {
        return 0;
    }
    /* the oldest: the place that is written next, once all are */
    then = watch_get(&seen->sample[samples < SAMPLES ? 0 : samples % SAMPLES]
                              [counter]);
    return now > then ? now - then : 0;
}

void status_watch_sample(const apr_uint64_t now[STATUS_COUNTERS])
{
    const apr_time_t at = apr_time_now();
    apr_time_t wait;
    apr_uint64_t samples;
    int i;

    if (!seen) {
        return;
    }
    /* longer than that it is only when the clock has been set back */
    wait = (apr_time_t)watch_get(&seen->next_sample) - at;
    if (wait > 0 && wait <= SAMPLE_EVERY) {
        return;
    }
    watch_set(&seen->next_sample, (apr_uint64_t)(at + SAMPLE_EVERY));
    samples = seen->samples;
    for (i = 0; i < STATUS_COUNTERS; i++) {
        watch_set(&seen->sample[samples % SAMPLES][i], now[i]);
    }
    watch_set(&seen->samples, samples + 1);
}

/* What is no longer there is forgotten, and what is new is noted. */
void status_watch_note(const apr_array_header_t *troubles)
{
    apr_uint64_t hashes[TROUBLES_MAX];
    int count = troubles->nelts < TROUBLES_MAX ? troubles->nelts
                                               : TROUBLES_MAX;
    int i, j;

    if (!seen) {
        return;
    }
    for (i = 0; i < count; i++) {
        hashes[i] = hash_trouble(&APR_ARRAY_IDX(troubles, i, status_trouble));
    }
    for (i = 0; i < TROUBLES_MAX; i++) {
        for (j = 0; j < count && hashes[j] != seen->trouble[i]; j++) {
        }
        if (j == count) {
            watch_set(&seen->trouble[i], 0);
        }
    }
    for (j = 0; j < count; j++) {
        if (find_trouble(hashes[j]) < 0) {
            i = find_trouble(0);
            if (i < 0) {
                return;                 /* a child has written, and may not */
            }
            watch_set(&seen->since[i], (apr_uint64_t)apr_time_now());
            watch_set(&seen->trouble[i], hashes[j]);
        }
    }
}

int status_watch_start(process_rec *process)
{
    void *kept;
    apr_status_t rv = mptcp_keep_shared(process->pool, STATUS_WATCH_KEY,
                                        sizeof(*seen), &kept);

    seen = kept;
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
                     "no shared memory for the status page: it will not know "
                     "since when");
    }
    return seen != NULL;
}
