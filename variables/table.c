/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The one table of variables, and how each is made of what the kernel says of
 * the client's connection.
 */

#include "variables/private.h"

/* Offset and size of a field of the kernel's answer. */
#define OFFSET(name) offsetof(mptcp_kernel_info, name)
#define SIZE(name)   sizeof(((mptcp_kernel_info *)0)->name)

const mptcp_variable mptcp_variables[] = {
    { "MPTCP",                MPTCP_FORM_STATE, 0, 0 },
    { "MPTCP_SUBFLOWS",       MPTCP_FORM_LIVE_SUBFLOWS,
      OFFSET(extra_subflows), SIZE(extra_subflows) },
    { "MPTCP_SUBFLOWS_TOTAL", MPTCP_FORM_DECIMAL,
      OFFSET(subflows_total), SIZE(subflows_total) },
    { "MPTCP_TOKEN",          MPTCP_FORM_HEXADECIMAL,
      OFFSET(token), SIZE(token) },
    { "MPTCP_BYTES_SENT",     MPTCP_FORM_DECIMAL,
      OFFSET(bytes_sent), SIZE(bytes_sent) },
    { "MPTCP_BYTES_RECEIVED", MPTCP_FORM_DECIMAL,
      OFFSET(bytes_received), SIZE(bytes_received) },
    { "MPTCP_BYTES_RETRANS",  MPTCP_FORM_DECIMAL,
      OFFSET(bytes_retrans), SIZE(bytes_retrans) },
    { MPTCP_BACKEND_VARIABLE, MPTCP_FORM_BACKEND, 0, 0 },
    { NULL, 0, 0, 0 }
};

const mptcp_variable *mptcp_variable_find(const char *name)
{
    const mptcp_variable *variable;

    for (variable = mptcp_variables; variable->name; variable++) {
        if (ap_cstr_casecmp(name, variable->name) == 0) {
            return variable;
        }
    }
    return NULL;
}

/* An unsigned field of 1, 4 or 8 bytes. */
static apr_uint64_t field(const mptcp_reading *reading, size_t offset,
                          size_t size)
{
    const char *at = (const char *)&reading->info + offset;
    apr_uint64_t u64 = 0;
    apr_uint32_t u32;

    if (size == sizeof(u64)) {
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
    if (size == sizeof(u32)) {
        memcpy(&u32, at, sizeof(u32));
        return u32;
    }
    return *(const unsigned char *)at;
}

/*
 * The subflows that are alive.  Newer kernels (6.8) count the first one while
 * it is; for older ones it is as long as the connection has its token.
 */
static apr_uint64_t live_subflows(const mptcp_reading *reading)
{
    const mptcp_kernel_info *info = &reading->info;

    if (MPTCP_HAS(reading, subflows_total)) {
        return info->subflows_total;
    }
    return info->extra_subflows
           + (!MPTCP_HAS(reading, token) || info->token != 0);
}

const char *mptcp_variable_value(const mptcp_reading *reading,
                                 const mptcp_variable *variable,
                                 apr_pool_t *p)
{
    apr_uint64_t number;

    if (variable->form == MPTCP_FORM_STATE) {
        return mptcp_state_text(reading->state);
    }
    if (reading->state != MPTCP_STATE_ON
        || reading->length < variable->offset + variable->size) {
        return NULL;
    }
    number = field(reading, variable->offset, variable->size);
    switch (variable->form) {
    case MPTCP_FORM_LIVE_SUBFLOWS:
        number = live_subflows(reading);
        break;
    case MPTCP_FORM_HEXADECIMAL:
        /* a connection that the peer has reset has no token any more */
        return number ? apr_psprintf(p, "%" APR_UINT64_T_HEX_FMT, number)
                      : NULL;
    default:
        break;
    }
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, number);
}
