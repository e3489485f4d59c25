/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief common/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_COMMON_PRIVATE_H
#define MPTCP_COMMON_PRIVATE_H

#include "common/common.h"

/* ---- counters.c: counters in shared memory, and whose they are ---------- */

/** A counter is on cache lines of its own, of this size. */
#define MPTCP_CACHE_LINE 64

/** How many addresses of its backends a worker's counter remembers. */
#define MPTCP_COUNTER_PEERS 32

struct mptcp_counter {
    mptcp_counts counts;
    apr_uint32_t has_said;              /**< mptcp_counter_say_first() */
    /**
     * The addresses lately connected to, as peers.c has them; 0: none.
     * Written round, each by one store, so that a reader sees a whole one.
     */
    apr_uint64_t peers_seen;
    apr_uint64_t peers[MPTCP_COUNTER_PEERS];
} __attribute__((aligned(MPTCP_CACHE_LINE)));

/* For the parent, in post_config: */

/** Names are given anew, by the next configuration. */
void mptcp_counters_begin(process_rec *process);

/** When counting began. */
apr_time_t mptcp_counters_since(process_rec *process);

/**
 * The counter that a name has kept from an earlier configuration, and keeps
 * for this one; NULL: none.
 */
mptcp_counter *mptcp_counter_known(process_rec *process, int kind,
                                   const char *name);

/**
 * Counters for those that have none yet: at the end, when it is known which
 * names of earlier configurations are there again.  Without memory for one, it
 * and the rest leave the list.
 * @param list All of a kind, mptcp_counted
 */
void mptcp_counters_give(process_rec *process, int kind,
                         apr_array_header_t *list);

#endif /* MPTCP_COMMON_PRIVATE_H */
