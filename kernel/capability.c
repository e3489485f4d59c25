/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The capability that changing the path manager takes.
 */

#include "kernel/private.h"

#include <errno.h>
#include <unistd.h>

#include <linux/capability.h>
#include <sys/syscall.h>

apr_status_t mptcp_net_admin_drop(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3,
                                               0 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    struct __user_cap_data_struct *held = &data[CAP_TO_INDEX(CAP_NET_ADMIN)];
    const apr_uint32_t bit = CAP_TO_MASK(CAP_NET_ADMIN);

    if (syscall(SYS_capget, &header, data) != 0
        || !((held->permitted | held->inheritable) & bit)) {
        return APR_SUCCESS;
    }
    held->effective &= ~bit;
    held->permitted &= ~bit;
    held->inheritable &= ~bit;
    /* an ambient capability goes with the permitted one */
    return syscall(SYS_capset, &header, data) == 0 ? APR_SUCCESS : errno;
}
