/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sockets and settings of this host.
 */

#include "kernel/private.h"

#include "apr_file_io.h"
#include "apr_portable.h"               /* apr_os_sock_get() */
#include "apr_strings.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int mptcp_socket_option(apr_socket_t *sd, int level, int option)
{
    apr_os_sock_t fd;
    int value = -1;
    socklen_t length = sizeof(value);

    if (apr_os_sock_get(&fd, sd) != APR_SUCCESS
        || getsockopt(fd, level, option, &value, &length) != 0) {
        return -1;
    }
    return value;
}

apr_status_t mptcp_socket_try(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

    if (fd < 0) {
        return errno;
    }
    close(fd);
    return APR_SUCCESS;
}

int mptcp_is_shortage(apr_status_t status)
{
    return status == EMFILE || status == ENFILE || status == ENOBUFS
           || status == ENOMEM;
}

const char *mptcp_refusal_text(apr_pool_t *p, apr_status_t status)
{
    switch (status) {
    case EINVAL:
        return "EINVAL: it is older than Linux 5.6";
    case EPROTONOSUPPORT:
        return "EPROTONOSUPPORT: it was built without CONFIG_MPTCP";
    case ENOPROTOOPT:
        return "ENOPROTOOPT: write 'sysctl -w net.mptcp.enabled=1'";
    case EPERM:
        return "EPERM: a security policy forbids it";
    case EACCES:
        return "EACCES: a security policy forbids it";
    default:
        return apr_psprintf(p, "%pm", &status);
    }
}

int mptcp_sysctl_number(apr_pool_t *p, const char *name)
{
    apr_file_t *file;
    char text[16];
    apr_size_t got = sizeof(text) - 1;
    int number = -1;

    if (apr_file_open(&file, apr_pstrcat(p, "/proc/sys/net/", name, NULL),
                      APR_FOPEN_READ, 0, p) != APR_SUCCESS) {
        return -1;
    }
    if (apr_file_read(file, text, &got) == APR_SUCCESS) {
        text[got] = '\0';
        number = (int)apr_strtoi64(text, NULL, 10);
    }
    apr_file_close(file);
    return number;
}
