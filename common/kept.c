/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What outlives a reload, which unloads this module with all that is static in
 * it: in the process' own pool, by a key.
 */

#include "common/common.h"

#include "apr_shm.h"

void *mptcp_kept(apr_pool_t *process_pool, const char *key)
{
    void *data = NULL;

    apr_pool_userdata_get(&data, key, process_pool);
    return data;
}

void mptcp_keep(apr_pool_t *process_pool, const char *key, const void *data)
{
    /* not _setn(): the key is in memory that will be unloaded */
    apr_pool_userdata_set(data, key, NULL, process_pool);
}

apr_status_t mptcp_keep_shared(apr_pool_t *process_pool, const char *key,
                               apr_size_t size, void **data)
{
    apr_shm_t *shm;
    apr_status_t rv;

    *data = mptcp_kept(process_pool, key);
    if (*data) {
        return APR_SUCCESS;
    }
    rv = apr_shm_create(&shm, size, NULL, process_pool);
    if (rv == APR_SUCCESS) {
        *data = apr_shm_baseaddr_get(shm);
        memset(*data, 0, size);
        mptcp_keep(process_pool, key, *data);
    }
    return rv;
}
