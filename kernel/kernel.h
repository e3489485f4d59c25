/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file kernel.h
 * @brief kernel/: asks the kernel, and tells it.
 *
 * Knows nothing of httpd's configuration, and calls no other room.
 */

#ifndef MPTCP_KERNEL_H
#define MPTCP_KERNEL_H

#include "apr_hash.h"
#include "apr_network_io.h"
#include "apr_pools.h"
#include "apr_tables.h"

#include <netinet/in.h>
#include <stddef.h>

/*
 * Kernel constants which older headers lack (linux/in.h, linux/mptcp.h).
 * They are fixed ABI; whether the running kernel knows them is always asked
 * at run time.
 */
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262               /* Linux 5.6 */
#endif
#ifndef MPTCP_PM_ADDR_FLAG_SIGNAL
#define MPTCP_PM_ADDR_FLAG_SIGNAL   (1 << 0)
#define MPTCP_PM_ADDR_FLAG_SUBFLOW  (1 << 1)
#define MPTCP_PM_ADDR_FLAG_BACKUP   (1 << 2)
#endif
#ifndef MPTCP_PM_ADDR_FLAG_FULLMESH
#define MPTCP_PM_ADDR_FLAG_FULLMESH (1 << 3) /* Linux 5.15 */
#endif
#ifndef MPTCP_PM_ADDR_FLAG_IMPLICIT
#define MPTCP_PM_ADDR_FLAG_IMPLICIT (1 << 4) /* Linux 5.18 */
#endif
#ifndef MPTCP_PM_ADDR_FLAG_LAMINAR
#define MPTCP_PM_ADDR_FLAG_LAMINAR  (1 << 5) /* Linux 6.18 */
#endif
/* With any of these the kernel connects from an endpoint's address. */
#define MPTCP_PM_ADDR_FLAGS_CONNECT \
    (MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH \
     | MPTCP_PM_ADDR_FLAG_LAMINAR)
/*
 * Is an interface with these flags up, and has it a carrier?  IFF_UP, and
 * IFF_LOWER_UP, which linux/if.h alone has, as an enumerator.  IFF_RUNNING
 * comes up to a second later.
 */
#define MPTCP_IS_LINK_UP(flags) (!(~(flags) & (1U << 0 | 1U << 16)))
#ifndef SOL_MPTCP
#define SOL_MPTCP 284                   /* Linux 5.16, as is MPTCP_INFO */
#endif
#ifndef MPTCP_INFO
#define MPTCP_INFO 1
#endif
#ifndef MPTCP_TCPINFO
#define MPTCP_TCPINFO 2                 /* Linux 5.16 */
#endif

/* ---- socket.c: sockets and settings of this host ------------------------ */

/**
 * An integer socket option.
 * @return Its value, or -1 where getsockopt() refuses
 */
int mptcp_socket_option(apr_socket_t *sd, int level, int option);

/**
 * Does the kernel give MPTCP sockets at this moment?
 * @return APR_SUCCESS or the errno of socket()
 */
apr_status_t mptcp_socket_try(void);

/**
 * Is this process, or the kernel, just short of something?  That is no answer
 * to what was asked.
 */
int mptcp_is_shortage(apr_status_t status);

/**
 * What it means that socket(..., IPPROTO_MPTCP) failed.
 * @param status Its errno
 * @return The errno's name and where to look, or what it means in general
 */
const char *mptcp_refusal_text(apr_pool_t *p, apr_status_t status);

/**
 * The value of a sysctl that is a number.
 * @param name Below net, with slashes: "mptcp/enabled"
 * @return -1 where this kernel has none of that name
 */
int mptcp_sysctl_number(apr_pool_t *p, const char *name);

/* ---- address.c: addresses as bytes -------------------------------------- */

/** How many bytes an address has: 4 of AF_INET, 16 of AF_INET6. */
apr_size_t mptcp_address_length(int family);

/**
 * The bytes of an address, in network order.
 * @param sa May be NULL
 * @return NULL: it is of another family
 */
const void *mptcp_address_bytes(const struct sockaddr *sa);

/**
 * Of an IPv6 address that stands for an IPv4 one, ::ffff:192.0.2.1, that one.
 * @param family Set to AF_INET then
 * @param address Its bytes
 * @return These, or those of the one that it stands for
 */
const void *mptcp_address_unmapped(int *family, const void *address);

/* ---- connection.c: what the kernel says of one connection --------------- */

/**
 * What MPTCP_INFO gives, as far as it is used here (struct mptcp_info, which
 * older headers have in part).  A kernel writes as much as it knows: a field
 * counts only where the returned length covers it.
 */
typedef struct {
    unsigned char extra_subflows;       /* all but the first */
    unsigned char unused_1[7];
    apr_uint32_t flags;
    apr_uint32_t token;
    unsigned char unused_2[32];
    apr_uint64_t bytes_retrans;         /* this one to bytes_acked: 6.5 */
    apr_uint64_t bytes_sent;
    apr_uint64_t bytes_received;
    apr_uint64_t bytes_acked;
    unsigned char subflows_total;       /* with the first, if alive: 6.8 */
    unsigned char unused_3[7];
} mptcp_kernel_info;

/** What a connection is. */
typedef enum {
    MPTCP_STATE_UNKNOWN,                /* the kernel does not say */
    MPTCP_STATE_NO_LISTENER,            /* it came to a plain TCP listener */
    MPTCP_STATE_OFF,                    /* plain TCP */
    MPTCP_STATE_FALLBACK,               /* negotiated, then TCP; for good */
    MPTCP_STATE_ON
} mptcp_state;

/** What the kernel said of a connection at one moment. */
typedef struct {
    mptcp_state state;
    /** how many bytes of info the kernel has written; 0: none */
    apr_size_t length;
    mptcp_kernel_info info;
} mptcp_reading;

/** Did the kernel say this field of reading->info? */
#define MPTCP_HAS(reading, field) \
    ((reading)->length >= offsetof(mptcp_kernel_info, field) \
                          + sizeof((reading)->info.field))

/**
 * Ask the kernel about a connected socket.  One system call, but two for a
 * socket of protocol 0 that does not speak MPTCP.
 * @param made_as IPPROTO_MPTCP or IPPROTO_TCP, if it is known to have been
 *        made so; 0: of an MPTCP listener, which accepts both
 * @param reading Set in any case
 */
void mptcp_connection_ask(int fd, int made_as, mptcp_reading *reading);

/**
 * How many subflows of a connection are alive, or on their way to be: the
 * kernel may keep the first one when it is not.  One system call.
 * @return -1 where the kernel does not say: the socket speaks TCP, or Linux is
 *         older than 5.16
 */
int mptcp_connection_subflows(int fd);

/** A state in a word; NULL for UNKNOWN. */
const char *mptcp_state_text(mptcp_state state);

/* ---- netstat.c: counters of this network namespace ---------------------- */

/**
 * Counters of MPTCP by the names that the kernel has for them.
 * @param found Set for each, to 0 where this kernel does not have it
 * @return APR_SUCCESS, APR_ENOTIMPL where it lacks one, or an errno
 */
apr_status_t mptcp_netstat_read(const char *const *counters, int count,
                                apr_uint64_t *found);

/** How many connections the kernel has begun since boot, for all programs. */
typedef struct {
    apr_uint64_t asked;                 /**< by MPTCP */
    apr_uint64_t withheld;              /**< by TCP, having given MPTCP up */
    apr_uint64_t given_up;              /**< how often it has */
} mptcp_begun;

/**
 * @return APR_SUCCESS; APR_ENOTIMPL where it has no such counters, and never
 *         gives MPTCP up (before Linux 6.12); or an errno
 */
apr_status_t mptcp_begun_read(mptcp_begun *begun);

/* ---- netlink.c: one exchange with the kernel by libnl-3 ----------------- */

/* libnl's, which need not be included for it */
struct nl_sock;

/*
 * What asks the kernel by netlink returns APR_SUCCESS; the kernel's own errno;
 * EAGAIN: a list that changed while it was given; EIO where the exchange
 * failed; or ENOMEM.
 */

/* ---- path_manager.c: endpoints and limits of this network namespace ----- */

/**
 * The most endpoints, and the highest limit, that are asked for: what every
 * kernel takes (Linux 7.3 takes more).
 */
#define MPTCP_ENDPOINTS_MAX 8

/** The path manager's limits; the index into mptcp_limits.value. */
enum {
    MPTCP_LIMIT_SUBFLOWS,               /**< besides the first one */
    MPTCP_LIMIT_ADD_ADDR_ACCEPTED,      /**< of what the peer announces */
    MPTCP_LIMITS
};

#define MPTCP_LIMIT_UNSET (-1)

typedef struct {
    int value[MPTCP_LIMITS];            /**< or MPTCP_LIMIT_UNSET */
} mptcp_limits;

/** A path-manager endpoint, as the kernel has it or is to have it. */
typedef struct {
    int family;                         /**< AF_INET or AF_INET6 */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } address;
    int port;                           /**< host order; 0: the listener's */
    apr_uint32_t flags;                 /**< MPTCP_PM_ADDR_FLAG_... */
    int ifindex;                        /**< 0: any interface */
    int id;                             /**< 1 to 255; 0: not chosen yet */
} mptcp_endpoint;

typedef struct mptcp_pm mptcp_pm;

/**
 * Get through to the path manager of this network namespace.
 * @param p Its cleanup closes the socket, if mptcp_pm_close() has not
 * @return APR_SUCCESS; ENOENT when the kernel has no family mptcp_pm; or the
 *         errno of making the socket
 */
apr_status_t mptcp_pm_open(apr_pool_t *p, mptcp_pm **pm);

/** @param p What was given to mptcp_pm_open() */
void mptcp_pm_close(apr_pool_t *p, mptcp_pm *pm);

/*
 * Each of these returns as said of netlink.  Reading takes no privilege,
 * changing takes CAP_NET_ADMIN and is refused with EPERM without.
 */
apr_status_t mptcp_pm_get_limits(mptcp_pm *pm, mptcp_limits *limits);
/** @param limits Both of them, neither unset */
apr_status_t mptcp_pm_set_limits(mptcp_pm *pm, const mptcp_limits *limits);
/** @param endpoints Set to an array of mptcp_endpoint, in the order of ids */
apr_status_t mptcp_pm_get_endpoints(mptcp_pm *pm, apr_pool_t *p,
                                    apr_array_header_t **endpoints);
apr_status_t mptcp_pm_add_endpoint(mptcp_pm *pm, const mptcp_endpoint *ep);
/**
 * The kernel deletes by id and looks at nothing else: read before, and
 * compare.
 */
apr_status_t mptcp_pm_delete_endpoint(mptcp_pm *pm, const mptcp_endpoint *ep);
/** Change backup and fullmesh, the two flags that can be (Linux 5.12). */
apr_status_t mptcp_pm_set_endpoint_flags(mptcp_pm *pm,
                                         const mptcp_endpoint *ep);

/** Does this kernel know laminar?  To be asked when an endpoint has it. */
int mptcp_pm_knows_laminar(apr_pool_t *p);

/* ---- capability.c: what changing all that takes ------------------------- */

/**
 * Give up CAP_NET_ADMIN, for good, if this process has it.
 * @return APR_SUCCESS or the errno of capset()
 */
apr_status_t mptcp_net_admin_drop(void);

/* ---- sock_diag.c: the sockets of this network namespace ----------------- */

/** One end of a socket; IPv4 also where the socket is an IPv6 one. */
typedef struct {
    int family;                         /**< AF_INET or AF_INET6 */
    unsigned char address[16];          /**< network order */
    apr_port_t port;                    /**< host order */
} mptcp_end;

/** A socket that the kernel lists; for the time of the call that gets it. */
typedef struct {
    mptcp_end local, remote;
    const char *state;                  /**< "established" ... */
    /**
     * Of the file that a process has it by; 0: no process has it yet, or any
     * more.  Subflows have that of their connection.
     */
    apr_uint32_t inode;
    /** of an MPTCP socket */
    mptcp_reading reading;
    /**
     * Of a TCP socket: does the kernel say that it is a subflow, and of which
     * connection?  Before Linux 6.15 or so it tells nobody who lacks
     * CAP_NET_ADMIN.
     */
    int says_subflow;
    apr_uint32_t token;
    int joined;                         /**< not the first */
    int backup_local, backup_remote;    /**< who asks for it to be one */
    /** of a TCP socket: what it sends and receives */
    int stalled;                        /**< sends the same again and again */
    apr_uint32_t rtt;                   /**< microseconds */
    apr_uint32_t retrans;               /**< segments */
    apr_uint64_t rate;                  /**< bytes a second, of late */
    apr_uint64_t bytes_sent;            /**< payload, acknowledged */
    apr_uint64_t bytes_received;        /**< payload */
    apr_uint64_t sent;                  /**< payload, all of it; 4.19 */
    apr_uint64_t resent;                /**< the part of it that was again */
    apr_uint32_t idle_ms;               /**< since it sent or received any */
    apr_uint32_t unheard_ms;            /**< since the other side said any */
} mptcp_socket;

/**
 * A filter for the kernel: sockets with one of these local ports, or with one
 * of these remote ports.
 * @param local_ports, remote_ports Of apr_port_t
 * @return NULL, which stands for all sockets, where there are none, or more
 *         than a filter has room for
 */
apr_array_header_t *mptcp_sock_filter(apr_pool_t *p,
                                      const apr_array_header_t *local_ports,
                                      const apr_array_header_t *remote_ports);

/**
 * A socket to ask by; nl_socket_free() closes it.  Takes no privilege.
 * @param patience How long the kernel may take for a part, in seconds
 */
apr_status_t mptcp_sock_diag_open(int patience, struct nl_sock **sock);

/**
 * Ask for the live sockets of a protocol, of both families.
 * @param protocol IPPROTO_MPTCP, or IPPROTO_TCP: subflows among them
 * @param filter By mptcp_sock_filter(), or NULL
 * @param take Gets each, and returns non-zero to go on
 * @return As said of netlink
 */
apr_status_t mptcp_sock_diag(struct nl_sock *sock, int protocol,
                             const apr_array_header_t *filter,
                             int (*take)(const mptcp_socket *found,
                                         void *baton),
                             void *baton);

/* ---- in_use.c: which connections need an address ------------------------ */

/**
 * How many live connections of this network namespace, whoever has them, have
 * no working path but those at an endpoint's address?  Takes no privilege on
 * kernels since about 6.15, CAP_NET_ADMIN before.
 * @param may_be_translated Where the host does not have the address, a router
 *        translates it to one of its own; else it has left the host
 * @return As said of netlink
 */
apr_status_t mptcp_connections_needing(apr_pool_t *p, const mptcp_endpoint *ep,
                                       int may_be_translated, int *count);

/* ---- host.c: addresses of this host, and their changes ------------------ */

/**
 * The addresses of an interface that others may be told of: those of global
 * scope, without temporary, deprecated and tentative ones of IPv6.
 * @param addresses Set to an array of mptcp_endpoint with family, address and
 *        ifindex
 * @return As said of netlink
 */
apr_status_t mptcp_host_addresses(apr_pool_t *p, int ifindex,
                                  apr_array_header_t **addresses);

/**
 * Would the kernel take an endpoint's address for one of its own, now?
 * @return APR_SUCCESS, EADDRNOTAVAIL if not, or the errno of asking
 */
apr_status_t mptcp_address_try(apr_pool_t *p, const mptcp_endpoint *ep);

/**
 * What getifaddrs() says, with the names of interfaces, where it may have the
 * labels of addresses.
 * @param p Whoever asks with the same pool gets the same list, which lives as
 *        long: all of a page is of one moment, and the kernel is asked once
 * @return NULL if that fails
 */
const struct ifaddrs *mptcp_host_interfaces(apr_pool_t *p);

/**
 * A socket that hears of each change of interfaces and addresses; close()
 * ends it.
 * @return -1 where there is none
 */
int mptcp_host_watch(void);

/** Has anything changed since the last call?  Always, where fd is -1. */
int mptcp_host_changed(int fd);

#endif /* MPTCP_KERNEL_H */
