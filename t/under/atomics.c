/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * APR's atomic operations, in a library that is built with ThreadSanitizer
 * and loaded before libapr, which is not: httpd hands connections and pools
 * from thread to thread by these, and ThreadSanitizer must see that to know
 * that the memory comes with them.  See make check-tsan.
 *
 * The operations are those of APR 1.7, on machines where its own are lock
 * free; a compiler's barriers take the place of the processor's.
 */

#include "apr_atomic.h"

#define ORDER __ATOMIC_SEQ_CST

apr_uint32_t apr_atomic_read32(volatile apr_uint32_t *mem)
{
    return __atomic_load_n(mem, ORDER);
}

void apr_atomic_set32(volatile apr_uint32_t *mem, apr_uint32_t value)
{
    __atomic_store_n(mem, value, ORDER);
}

apr_uint32_t apr_atomic_add32(volatile apr_uint32_t *mem, apr_uint32_t value)
{
    return __atomic_fetch_add(mem, value, ORDER);
}

void apr_atomic_sub32(volatile apr_uint32_t *mem, apr_uint32_t value)
{
    __atomic_fetch_sub(mem, value, ORDER);
}

apr_uint32_t apr_atomic_inc32(volatile apr_uint32_t *mem)
{
    return __atomic_fetch_add(mem, 1, ORDER);
}

int apr_atomic_dec32(volatile apr_uint32_t *mem)
{
    return __atomic_sub_fetch(mem, 1, ORDER) != 0;
}

apr_uint32_t apr_atomic_cas32(volatile apr_uint32_t *mem, apr_uint32_t with,
                              apr_uint32_t cmp)
{
    __atomic_compare_exchange_n(mem, &cmp, with, 0, ORDER, ORDER);
    return cmp;
}

apr_uint32_t apr_atomic_xchg32(volatile apr_uint32_t *mem, apr_uint32_t value)
{
    return __atomic_exchange_n(mem, value, ORDER);
}

apr_uint64_t apr_atomic_read64(volatile apr_uint64_t *mem)
{
    return __atomic_load_n(mem, ORDER);
}

void apr_atomic_set64(volatile apr_uint64_t *mem, apr_uint64_t value)
{
    __atomic_store_n(mem, value, ORDER);
}

apr_uint64_t apr_atomic_add64(volatile apr_uint64_t *mem, apr_uint64_t value)
{
    return __atomic_fetch_add(mem, value, ORDER);
}

void apr_atomic_sub64(volatile apr_uint64_t *mem, apr_uint64_t value)
{
    __atomic_fetch_sub(mem, value, ORDER);
}

apr_uint64_t apr_atomic_inc64(volatile apr_uint64_t *mem)
{
    return __atomic_fetch_add(mem, 1, ORDER);
}

int apr_atomic_dec64(volatile apr_uint64_t *mem)
{
    return __atomic_sub_fetch(mem, 1, ORDER) != 0;
}

apr_uint64_t apr_atomic_cas64(volatile apr_uint64_t *mem, apr_uint64_t with,
                              apr_uint64_t cmp)
{
    __atomic_compare_exchange_n(mem, &cmp, with, 0, ORDER, ORDER);
    return cmp;
}

apr_uint64_t apr_atomic_xchg64(volatile apr_uint64_t *mem, apr_uint64_t value)
{
    return __atomic_exchange_n(mem, value, ORDER);
}

void *apr_atomic_casptr(volatile void **mem, void *with, const void *cmp)
{
    void *there = (void *)cmp;

    __atomic_compare_exchange_n((void **)mem, &there, with, 0, ORDER, ORDER);
    return there;
}

void *apr_atomic_xchgptr(volatile void **mem, void *with)
{
    return __atomic_exchange_n((void **)mem, with, ORDER);
}
