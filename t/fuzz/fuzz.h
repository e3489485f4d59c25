/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the harnesses here share.  Each includes the file under test, for its
 * static functions, and has libFuzzer's entry; run.c is a main() for where
 * there is no libFuzzer.  A finding is a sanitizer's, or abort().
 */

#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "apr_general.h"
#include "apr_pools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A pool that is as new for each input. */
static inline apr_pool_t *fuzz_pool(void)
{
    static apr_pool_t *pool;

    if (!pool) {
        apr_initialize();
        atexit(apr_terminate);          /* its cleanups free what is left */
        apr_pool_create(&pool, NULL);
    }
    apr_pool_clear(pool);
    return pool;
}

/* What always has to be true. */
#define MUST(condition) do { if (!(condition)) { abort(); } } while (0)

#endif
