/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_mptcp.h
 * @brief What the files of mod_mptcp share, and what each offers the others.
 *
 * Everything here is internal to the module: the shared object exports the
 * module record alone.
 */

#ifndef MOD_MPTCP_H
#define MOD_MPTCP_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"                  /* ap_server_conf */
#include "ap_listen.h"

#include "apr_hash.h"
#include "apr_portable.h"               /* apr_os_sock_get() */
#include "apr_strings.h"
#include "apr_tables.h"

/*
 * Kernel constants which older headers lack (linux/in.h, linux/mptcp.h).
 * They are fixed ABI; whether the running kernel knows them is always asked
 * at run time.
 */
#include <netinet/in.h>

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

/*
 * APLOG_USE_MODULE() for every file but mod_mptcp.c, whose
 * AP_DECLARE_MODULE() sets the log index of that one file only.  Declared
 * before that macro, the visibility holds for the definition as well: the
 * module is compiled with -fvisibility=hidden, and httpd looks up just this.
 */
extern module AP_MODULE_DECLARE_DATA mptcp_module
    __attribute__((visibility("default")));

/** The most endpoints, and the highest limit, that the kernel takes. */
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

/** An endpoint that MPTCPEndpoint asks for; pool: pconf. */
typedef struct {
    /** ifindex is 0: the interface is looked up when it is applied */
    mptcp_endpoint endpoint;
    /** interface name, or NULL */
    const char *dev;
    /** it could not be added, for a reason that may go away by itself */
    int pending;
} mptcp_wanted_endpoint;

/** What is kept per server_rec; pool: pconf, so one configuration's life. */
typedef struct {
    /** ap_listen_rec *: the listeners to be MPTCP (main server only) */
    apr_array_header_t *listeners;
    /** why the kernel gave no MPTCP socket to a listener, or APR_SUCCESS */
    apr_status_t listen_status;
    /**
     * what multipathtcp= said: keys are worker->s as the configuration was
     * read, values point at 0 or 1 (main server only, for all servers)
     */
    apr_hash_t *worker_settings;
    /** mptcp_wanted_endpoint: MPTCPEndpoint (main server only) */
    apr_array_header_t *endpoints;
    /** MPTCPLimits (main server only) */
    mptcp_limits limits;
} mptcp_server_conf;

/** The configuration of the main server, where server-wide settings are. */
mptcp_server_conf *mptcp_main_conf(void);

/**
 * What it means that socket(..., IPPROTO_MPTCP) failed.
 * @param status Its errno
 * @return The errno's name and where to look, for the log
 */
const char *mptcp_refusal_text(apr_status_t status);

/** Is the pointer an element of this array of pointers? */
int mptcp_array_has(const apr_array_header_t *pointers, const void *pointer);

/**
 * The value of a sysctl.
 * @param name Below net, with slashes: "mptcp/enabled"
 * @return -1 where this kernel has none of that name, or no number there
 */
int mptcp_sysctl_number(apr_pool_t *p, const char *name);

/* ---- listen_hooks.c: listening sockets -------------------------------- */

/**
 * MPTCPListen [IP-address:]portnumber [protocol]
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** Hooks that run around the MPM's binding of the listeners. */
void mptcp_listen_register_hooks(void);

/**
 * An integer socket option of a listener.
 * @return Its value, or -1 where getsockopt() refuses
 */
int mptcp_listener_option(const ap_listen_rec *lr, int level, int option);

/**
 * A new, unbound socket for a listener's address.
 * @param protocol IPPROTO_MPTCP, or 0 for TCP
 * @param p Its cleanup closes the socket
 * @return APR_SUCCESS or the errno of socket()
 */
apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd);

/* ---- listen_change.c: a reload that changes a listener's protocol ------ */

/**
 * To be called before the MPM's open_logs: if a bound listener has the wrong
 * protocol, put a new socket for core to bind beside the old one.
 * @param wanted Is it to be MPTCP?
 * @param conf Its listen_status is set if the kernel gives no MPTCP socket
 */
void mptcp_listener_change(ap_listen_rec *lr, int wanted,
                           mptcp_server_conf *conf, process_rec *process);

/**
 * To be called after the MPM's open_logs: send new connections to the socket
 * of the wanted protocol, wherever an address has one of each.
 */
void mptcp_listener_steer(mptcp_server_conf *conf, process_rec *process);

/* ---- proxy_hooks.c: mod_proxy's connections --------------------------- */

/** Hooks that give workers the parameter multipathtcp and act on it. */
void mptcp_proxy_register_hooks(void);

/* ---- import_redirect.c: ELF ------------------------------------------- */

/**
 * Let every call of an imported function that a loaded object makes reach
 * another function, until the pool is cleared.
 *
 * Only the import slots of that one object change: no code, and nobody
 * else's calls.  To be called while the process has a single thread and
 * before it forks, so that no caller sees a half-made change and all children
 * share it.  The pool must be cleared before the object is unloaded: pconf
 * does that for any object which LoadModule brought, because cleanups run in
 * reverse order of their registration.
 *
 * @param inside An address inside the object, such as its module record
 * @param symbol The imported function's name
 * @param replacement The function to be called instead; it may call the
 *        original by its name, since its own object's import is untouched
 * @param p Its cleanup puts the slots back
 * @param reason Set on failure to what was missing, for the log
 * @return APR_SUCCESS; APR_ENOTIMPL on a CPU whose relocations are not known
 *         here; APR_ENOENT when no object contains the address or it has no
 *         such import; APR_EINVAL when its dynamic section is not sane;
 *         or the errno of mprotect()
 */
apr_status_t mptcp_import_redirect(const void *inside, const char *symbol,
                                   void *replacement, apr_pool_t *p,
                                   const char **reason);

/* ---- netlink.c: messages to the kernel's path manager ------------------ */

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
 * Each of these returns APR_SUCCESS, or the kernel's errno, EIO if the
 * exchange itself failed, ENOMEM.  Reading takes no privilege, changing takes
 * CAP_NET_ADMIN and is refused with EPERM without.
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

/* ---- path_manager.c: what is wanted of the path manager ---------------- */

/**
 * MPTCPEndpoint address [dev IF] [id N] [port N] [signal] [subflow] ...
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_endpoint_directive(cmd_parms *cmd, void *dummy,
                                     int argc, char *const argv[]);

/** MPTCPLimits [subflows=N] [add_addr_accepted=N]; returns as above */
const char *mptcp_limits_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** Do two endpoints have the same address and port?  The kernel's key. */
int mptcp_endpoint_same_address(const mptcp_endpoint *a,
                                const mptcp_endpoint *b);

/** The address of an endpoint in figures, from the pool. */
const char *mptcp_endpoint_address(apr_pool_t *p, const mptcp_endpoint *ep);

/**
 * An endpoint in the words of MPTCPEndpoint, which are those of `ip mptcp
 * endpoint add`, too.
 * @param dev The interface's name; NULL: by the endpoint's ifindex, if it has
 *        one
 */
const char *mptcp_endpoint_text(apr_pool_t *p, const mptcp_endpoint *ep,
                                const char *dev);

/** Limits in the words of `ip mptcp limits set`; what is unset is left out */
const char *mptcp_limits_text(apr_pool_t *p, const mptcp_limits *limits);

/* ---- pm_state.c: what this server has changed in the path manager ------ */

/** What a limit was set to, and what it was before. */
typedef struct {
    int is_set;
    int value;
    int before;
} mptcp_pm_limit;

/** Pool: process->pool, and a file; see pm_state.c before changing it. */
typedef struct {
    char version[16];
    char boot_id[40];
    apr_uint64_t netns_device;          /**< of /proc/self/ns/net */
    apr_uint64_t netns_inode;
    apr_uint64_t owner_started;         /**< clock ticks since boot */
    pid_t owner;                        /**< the parent process */
    int file_is_anothers;               /**< who runs: it is not touched */
    mptcp_pm_limit limit[MPTCP_LIMITS];
    int count;                          /**< of endpoints */
    mptcp_endpoint endpoint[MPTCP_ENDPOINTS_MAX];
} mptcp_pm_state;

/** @return NULL in a process that has not applied a configuration */
mptcp_pm_state *mptcp_pm_state_of(apr_pool_t *process_pool);

/**
 * The state of this server.  It is made for the first configuration, and has
 * then what a server of this PidFile left when it was killed.
 */
mptcp_pm_state *mptcp_pm_state_make(server_rec *s, apr_pool_t *ptemp);

/** Is there anything that is to be taken back at the end? */
int mptcp_pm_state_is_anything(const mptcp_pm_state *state);

/**
 * Write the file, or remove it when there is nothing to take back.
 * @param s For the log; NULL at exit
 */
void mptcp_pm_state_save(const mptcp_pm_state *state, server_rec *s,
                         apr_pool_t *ptemp);

/* ---- pm_reconcile.c: the kernel is brought to what is wanted ----------- */

/** Hooks that apply endpoints and limits, and take them back. */
void mptcp_path_manager_register_hooks(apr_pool_t *pconf);

/** Has this server added the endpoint?  For a child too. */
int mptcp_endpoint_is_ours(process_rec *process, const mptcp_endpoint *ep);

/* ---- start_report.c: what the log says at start ------------------------ */

/**
 * Log what is in force and what stands in the way of multipath.  To be called
 * when listeners are bound and endpoints and limits are applied.
 */
void mptcp_start_report(server_rec *s, apr_pool_t *ptemp);

#endif /* MOD_MPTCP_H */
