/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kernel's counters of MPTCP in this network namespace, since it was made,
 * for all programs together.
 */

#include "kernel/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NETSTAT "/proc/net/netstat"
#define PREFIX  "MPTcpExt:"

/*
 * Two lines, of which the one has the names and the other the values:
 *   MPTcpExt: MPCapableSYNRX MPCapableSYNTX ...
 *   MPTcpExt: 5 12 ...
 */
static int find_value(const char *names, const char *values, const char *name,
                      apr_uint64_t *value)
{
    apr_size_t length = strlen(name);

    while (names && values) {
        if (strncmp(names, name, length) == 0
            && (names[length] == ' ' || names[length] == '\0')) {
            *value = strtoull(values, NULL, 10);
            return 1;
        }
        names = strchr(names, ' ');
        values = strchr(values, ' ');
        names += names != NULL;
        values += values != NULL;
    }
    return 0;
}

/* What follows the prefix of the next line that has it, or NULL. */
static char *next_line(char *text)
{
    char *line = text;

    while (line && strncmp(line, PREFIX, sizeof(PREFIX) - 1) != 0) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return line ? line + sizeof(PREFIX) : NULL;
}

/*
 * The file, as far as it fits (4 kB of Linux 6.18).  Without a pool: the
 * parent's monitor has only one that lives as long as the server.
 */
static apr_status_t read_file(char *text, size_t size)
{
    int fd = open(NETSTAT, O_RDONLY | O_CLOEXEC);
    apr_status_t rv = fd < 0 ? errno : APR_SUCCESS;
    size_t length = 0;
    ssize_t got = 1;

    while (rv == APR_SUCCESS && got > 0 && length < size - 1) {
        got = read(fd, text + length, size - 1 - length);
        if (got > 0) {
            length += (size_t)got;
        }
        else if (got < 0) {
            rv = errno;
        }
    }
    text[length] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    return rv;
}

apr_status_t mptcp_netstat_read(const char *const *counters, int count,
                                apr_uint64_t *found)
{
    char text[16384], *names, *values;
    apr_status_t rv = read_file(text, sizeof(text));
    int missing = 0, i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    names = next_line(text);
    values = names ? strchr(names, '\n') : NULL;
    if (values) {
        *values = '\0';                 /* where the names end */
        values = next_line(values + 1);
    }
    for (i = 0; i < count; i++) {
        found[i] = 0;
        missing |= !find_value(names, values, counters[i], &found[i]);
    }
    return missing ? APR_ENOTIMPL : APR_SUCCESS;
}

apr_status_t mptcp_begun_read(mptcp_begun *begun)
{
    static const char *const names[] = {
        "MPCapableSYNTX", "MPCapableSYNTXDisabled", "Blackhole"
    };
    apr_uint64_t values[3] = { 0, 0, 0 };
    apr_status_t rv = mptcp_netstat_read(names, 3, values);

    begun->asked = values[0];
    begun->withheld = values[1];
    begun->given_up = values[2];
    return rv;
}
