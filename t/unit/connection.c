/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * connection.c by itself, with answers of kernels that know less than this
 * one: a value which the answer does not reach is absent, and never made of
 * what was in memory.  Prints TAP.
 */

#include "../../mod_mptcp.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int tests, failures;

static void ok(int passed, const char *name)
{
    tests++;
    failures += !passed;
    printf("%sok %d - %s\n", passed ? "" : "not ", tests, name);
}

static int same(const char *got, const char *expected)
{
    if (!got || !expected ? got == expected : !strcmp(got, expected)) {
        return 1;
    }
    printf("# got %s, expected %s\n", got ? got : "nothing",
           expected ? expected : "nothing");
    return 0;
}

/*
 * The answer of a kernel that wrote LENGTH bytes; the rest is garbage.  The
 * offsets are those of include/uapi/linux/mptcp.h, not of our own structure.
 */
static void answer(mptcp_reading *reading, apr_size_t length,
                   apr_uint32_t flags, apr_uint32_t token)
{
    unsigned char bytes[sizeof(mptcp_kernel_info)] = { 0 };
    apr_uint64_t retrans = APR_UINT64_C(0x100000002), sent = 5000000000LLU;
    apr_uint64_t received = 77;

    bytes[0] = 2;
    memcpy(bytes + 8, &flags, sizeof(flags));
    memcpy(bytes + 12, &token, sizeof(token));
    memcpy(bytes + 48, &retrans, sizeof(retrans));
    memcpy(bytes + 56, &sent, sizeof(sent));
    memcpy(bytes + 64, &received, sizeof(received));
    bytes[80] = token ? 3 : 0;

    memset(reading, 0xEE, sizeof(*reading));
    reading->state = MPTCP_STATE_ON;
    memcpy(&reading->info, bytes, length);
    mptcp_reading_set(reading, length);
}

static const char *value(const mptcp_reading *reading, const char *name,
                         apr_pool_t *p)
{
    return mptcp_variable_value(reading, mptcp_variable_find(name), p);
}

static void test_lengths(apr_pool_t *p)
{
    /* where the answer has to reach for a value, and the value */
    static const struct {
        const char *name;
        apr_size_t end;
        const char *value;
    } expected[] = {
        { "MPTCP",                0,  "on" },
        { "MPTCP_SUBFLOWS",       1,  "3" },
        { "MPTCP_TOKEN",          16, "a1b2c3" },
        { "MPTCP_BYTES_RETRANS",  56, "4294967298" },
        { "MPTCP_BYTES_SENT",     64, "5000000000" },
        { "MPTCP_BYTES_RECEIVED", 72, "77" },
        { "MPTCP_SUBFLOWS_TOTAL", 81, "3" },
    };
    size_t count = sizeof(expected) / sizeof(expected[0]);
    size_t i;

    ok(count == MPTCP_CONNECTION_VARIABLES, "every variable is tested");
    for (i = 0; i < count; i++) {
        apr_size_t length;
        int good = mptcp_variable_find(expected[i].name) >= 0;

        for (length = 0; good && length <= sizeof(mptcp_kernel_info);
             length++) {
            mptcp_reading reading;

            answer(&reading, length, 0, 0xa1b2c3);
            good = same(value(&reading, expected[i].name, p),
                        length < expected[i].end ? NULL : expected[i].value);
            if (!good) {
                printf("# when the kernel wrote %d bytes\n", (int)length);
            }
        }
        ok(good, apr_psprintf(p, "%s with an answer of any length",
                              expected[i].name));
    }
}

static void test_states(apr_pool_t *p)
{
    mptcp_reading reading;

    answer(&reading, 16, 1, 0xa1b2c3);
    ok(same(value(&reading, "MPTCP", p), "fallback"), "the fallback flag");
    ok(same(value(&reading, "MPTCP_TOKEN", p), NULL),
       "a connection that fell back has no token");
    answer(&reading, 8, 1, 0);
    ok(same(value(&reading, "MPTCP", p), "on"), "no flags, no fallback");

    answer(&reading, 88, 0, 0);
    ok(same(value(&reading, "MPTCP_TOKEN", p), NULL),
       "a connection that was reset has no token");
    ok(same(value(&reading, "MPTCP_SUBFLOWS", p), "0"),
       "a connection that was reset has no subflows");
    answer(&reading, 16, 0, 0xa1b2c3);
    ok(same(value(&reading, "MPTCP_SUBFLOWS", p), "3"),
       "subflows of a kernel without subflows_total, the first included");

    ok(mptcp_variable_find("mptcp_token") == mptcp_variable_find("MPTCP_TOKEN"),
       "names in any case");
    ok(mptcp_variable_find("MPTCP_TOKE") < 0
       && mptcp_variable_find("MPTCP_BACKEND") < 0
       && mptcp_variable_find("") < 0, "other names");
}

/* Descriptors that are no connection. */
static void test_sockets(apr_pool_t *p)
{
    mptcp_reading reading;
    int fds[2];
    int fd;

    mptcp_connection_ask(-1, 0, &reading);
    ok(same(value(&reading, "MPTCP", p), NULL), "a closed descriptor");
    if (pipe(fds) == 0) {
        mptcp_connection_ask(fds[0], 0, &reading);
        ok(same(value(&reading, "MPTCP", p), NULL), "no socket");
        close(fds[0]);
        close(fds[1]);
    }
    fd = socket(AF_INET, SOCK_STREAM, 0);
    mptcp_connection_ask(fd, 0, &reading);
    ok(same(value(&reading, "MPTCP", p), "off"), "a TCP socket");
    mptcp_connection_ask(fd, IPPROTO_TCP, &reading);
    ok(same(value(&reading, "MPTCP", p), "off"), "a TCP socket, expected");
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    mptcp_connection_ask(fd, IPPROTO_TCP, &reading);
    ok(reading.state != MPTCP_STATE_OFF
       && reading.state != MPTCP_STATE_UNKNOWN,
       "an MPTCP socket that was said to be TCP");
    close(fd);
}

int main(void)
{
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    test_lengths(p);
    test_states(p);
    test_sockets(p);
    printf("1..%d\n", tests);
    return failures != 0;
}
