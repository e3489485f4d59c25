/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A number for what is noted in shared memory, where no text or address would
 * be stored at once.
 */

#include "common/common.h"

apr_uint64_t mptcp_hash(apr_uint64_t hash, const void *data, apr_size_t size)
{
    const unsigned char *byte = data;

    for (; size > 0; size--) {
        hash = (hash ^ *byte++) * APR_UINT64_C(1099511628211);
    }
    return hash;
}
