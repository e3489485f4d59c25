/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which of two sockets that listen at one address gets a connection: a classic
 * BPF program tells.
 *
 * Facts (net/core/sock_reuseport.c, Linux 4.6 to 6.18): a socket that already
 * listens joins the group as its first member when the second one listens;
 * members are numbered in the order in which they joined; a program is
 * attached through a plain TCP member (through an MPTCP socket it is refused
 * with EOPNOTSUPP), and replaces the one before at once for the whole group.
 * It runs for each packet that is of no connection yet, and sees what is
 * behind the TCP header, but by negative offsets from SKF_NET_OFF the
 * network header and all behind it.  Where it reads what is not there, the
 * packet goes to member 0.
 */

#include "listen/private.h"

#include <linux/filter.h>
#include <sys/socket.h>

/* SKF_NET_OFF, as K is declared. */
#define NET ((__u32)SKF_NET_OFF)

/* A program of which connection goes to which member of a group. */
#define STEPS 24
#define PROGRAM_SIZE (13 + 10 * STEPS + 6)

/*
 * All to member OTHERS, but a packet with MP_JOIN (RFC 8684, option 30 of
 * subtype 1) to member JOINS.  X is where in the packet we are, M[0] where the
 * TCP header ends, both counted from the network header.  There are no loops,
 * and jumps on a condition go 255 instructions at most: so there are steps,
 * one for each option.  More of them stand before a join only where more than
 * 20 of its 40 bytes are padding.  An IPv6 header with extensions is taken for
 * one without: if that leads to the wrong member, it is served there as well.
 */
static int program_for_joins(struct sock_filter code[PROGRAM_SIZE],
                             int others, int joins)
{
    const struct sock_filter begin[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NET),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x40, 2, 0),
        BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 40),        /* IPv6 */
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, NET),       /* IPv4 */
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 12),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 2),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_ST, 0),
        BPF_STMT(BPF_MISC | BPF_TXA, 0),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 20)
    };
    /* A is where the next option is */
    const struct sock_filter step[] = {
        BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 0),   /* to the first end */
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 30, 0, 0),  /* to the second */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 1, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IMM, 1),          /* padding */
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 1),    /* its length */
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0)
    };
    const struct sock_filter end[] = {
        BPF_STMT(BPF_RET | BPF_K, others),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, NET + 2),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x10, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, joins),
        BPF_STMT(BPF_RET | BPF_K, others)
    };
    const int last = PROGRAM_SIZE - 6;
    int at, i;

    memcpy(code, begin, sizeof(begin));
    for (i = 0, at = 13; i < STEPS; i++, at += 10) {
        memcpy(code + at, step, sizeof(step));
        code[at + 1].jt = last - (at + 2);
        code[at + 4].jt = last + 1 - (at + 5);
    }
    memcpy(code + last, end, sizeof(end));
    return PROGRAM_SIZE;
}

apr_status_t mptcp_steer(const ap_listen_rec *tcp, int others, int joins)
{
    struct sock_filter code[PROGRAM_SIZE] = {
        BPF_STMT(BPF_RET | BPF_K, others)
    };
    struct sock_fprog program;
    apr_os_sock_t fd;

    memset(&program, 0, sizeof(program));   /* the gap in it, too */
    program.filter = code;
    program.len = others == joins ? 1 : program_for_joins(code, others, joins);
    if (apr_os_sock_get(&fd, tcp->sd) != APR_SUCCESS
        || setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                      sizeof(program)) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}
