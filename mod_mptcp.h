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

/** By semver.org; the build, the packages and the tests read it from here. */
#define MPTCP_VERSION "0.1.0"

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
#ifndef SOL_MPTCP
#define SOL_MPTCP 284                   /* Linux 5.16, as is MPTCP_INFO */
#endif
#ifndef MPTCP_INFO
#define MPTCP_INFO 1
#endif

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

/** In its flags: no longer MPTCP. */
#define MPTCP_KERNEL_INFO_FALLBACK 1

/*
 * APLOG_USE_MODULE() for every file but mod_mptcp.c, whose
 * AP_DECLARE_MODULE() sets the log index of that one file only.  Declared
 * before that macro, the visibility holds for the definition as well: the
 * module is compiled with -fvisibility=hidden, and httpd looks up just this.
 */
extern module AP_MODULE_DECLARE_DATA mptcp_module
    __attribute__((visibility("default")));

/** A flag of mptcp_server_conf that no directive has set. */
#define MPTCP_UNSET (-1)
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
    /** MPTCPListenDefault: 1 On, 0 Off (main server only) */
    int listen_default;
    /**
     * why listeners that were to be MPTCP are not: an error, or APR_SUCCESS,
     * and in words what refused and what to do (main server only)
     */
    apr_status_t listen_status;
    const char *listen_refusal;
    /** MPTCPFallback: 1 On, 0 Off (main server only) */
    int fallback;
    /** MPTCPProxyDefault: 1 On, 0 Off, or MPTCP_UNSET */
    int proxy_default;
    /**
     * what multipathtcp= said: keys are worker->s as the configuration was
     * read, values point at 0 or 1 (main server only, for all servers)
     */
    apr_hash_t *worker_settings;
    /**
     * what that and MPTCPProxyDefault come to, from check_config on: keys are
     * proxy_worker *, values point at 0 or 1 (main server only)
     */
    apr_hash_t *workers;
    /**
     * the same for members that balancers get at run time: keys are the
     * balancers' arrays of members (main server only)
     */
    apr_hash_t *balancers;
    /** does any of these, or MPTCPProxyDefault, say On? (main server only) */
    int proxy_wants_any;
    /** mptcp_wanted_endpoint: MPTCPEndpoint (main server only) */
    apr_array_header_t *endpoints;
    /** MPTCPLimits (main server only) */
    mptcp_limits limits;
} mptcp_server_conf;

/** What is kept per directory. */
typedef struct {
    /** MPTCPEnvVars: 1 On, 0 Off, or MPTCP_UNSET */
    int env_vars;
} mptcp_dir_conf;

/** The configuration of the main server, where server-wide settings are. */
mptcp_server_conf *mptcp_main_conf(void);

/**
 * What it means that socket(..., IPPROTO_MPTCP) failed.
 * @param status Its errno
 * @return The errno's name and where to look, for the log
 */
const char *mptcp_refusal_text(apr_status_t status);

/**
 * Is this the first of the two times that httpd reads its configuration when it
 * starts?  That one only checks; with httpd -t there is no other.
 */
int mptcp_is_check_pass(void);

/** Is the pointer an element of this array of pointers? */
int mptcp_array_has(const apr_array_header_t *pointers, const void *pointer);

/**
 * The value of a sysctl that is a number.
 * @param name Below net, with slashes: "mptcp/enabled"
 * @return -1 where this kernel has none of that name
 */
int mptcp_sysctl_number(apr_pool_t *p, const char *name);

/**
 * An array that outlives restarts, which this module's own statics do not: it
 * is unloaded and loaded again.  For the parent, while it has a single thread.
 * @param key Its name, with a number that changes with its elements' type,
 *        since a reload may bring a newer module
 * @param size Of an element, in bytes
 * @return The array, empty at first; in process->pool
 */
apr_array_header_t *mptcp_process_array(process_rec *process, const char *key,
                                        int size);

/* ---- listen_directives.c: which listeners are to be MPTCP --------------- */

/**
 * MPTCPListen [IP-address:]portnumber [protocol]
 * @return NULL, or what is wrong with the arguments and what is allowed
 */
const char *mptcp_listen_directive(cmd_parms *cmd, void *dummy,
                                   int argc, char *const argv[]);

/** MPTCPListenDefault On|Off; returns NULL or why it cannot stand here. */
const char *mptcp_listen_default_directive(cmd_parms *cmd, void *dummy,
                                           int flag);

/** Is this listener to be MPTCP by the configuration now read? */
int mptcp_listener_wanted(const mptcp_server_conf *conf,
                          const ap_listen_rec *lr);

void mptcp_listen_directives_register_hooks(void);

/* ---- listen_hooks.c: listening sockets, before and after their binding -- */

void mptcp_listen_register_hooks(void);

/**
 * An integer socket option.
 * @return Its value, or -1 where getsockopt() refuses
 */
int mptcp_socket_option(apr_socket_t *sd, int level, int option);

/**
 * Set the options of a listener's socket without which core does not go on.
 * @return What core's make_sock() would end the server for
 */
apr_status_t mptcp_listener_set_options(const ap_listen_rec *lr,
                                        apr_socket_t *sd);

/** Is a listener's socket MPTCP, as the kernel says? */
int mptcp_listener_is_mptcp(const ap_listen_rec *lr);

/**
 * A new, unbound socket for a listener's address.
 * @param protocol IPPROTO_MPTCP, or 0 for TCP
 * @param p Its cleanup closes the socket
 * @return APR_SUCCESS or the errno of socket()
 */
apr_status_t mptcp_listener_new_socket(const ap_listen_rec *lr, int protocol,
                                       apr_pool_t *p, apr_socket_t **sd);

/* ---- listen_change.c: a reload that changes a listener's protocol ------- */

/* All of these are for the parent, while it has a single thread. */

/**
 * Has the address of a listener a socket of each protocol, from an earlier
 * change?
 */
int mptcp_listener_has_twin(const ap_listen_rec *lr, process_rec *process);

/**
 * To be called before the MPM's open_logs, for a bound listener of the wrong
 * protocol: put a new socket for core to bind beside the old one.
 * @param wanted Is it to be MPTCP?
 * @param buckets Is ListenCoresBucketsRatio in force?
 */
void mptcp_listener_change(ap_listen_rec *lr, int wanted, int buckets,
                           process_rec *process);

/**
 * To be called before the MPM's open_logs where ListenCoresBucketsRatio is in
 * force: of each pair of sockets that earlier changes made, keep the one that
 * is wanted.
 */
void mptcp_listener_part_twins(mptcp_server_conf *conf, process_rec *process);

/**
 * To be called after the MPM's open_logs: send new connections to the socket
 * of the wanted protocol, wherever an address has one of each.
 */
void mptcp_listener_steer(mptcp_server_conf *conf, process_rec *process);

/* ---- proxy_workers.c: which of mod_proxy's workers want MPTCP --------- */

/* mod_proxy.h, which need not be included for these */
struct proxy_worker;

/** MPTCPProxyDefault On|Off; returns NULL. */
const char *mptcp_proxy_default_directive(cmd_parms *cmd, void *dummy,
                                          int flag);

/** Does MPTCPProxyDefault say On for this server? */
int mptcp_proxy_default(const server_rec *s);

/** Does any worker or server want MPTCP?  From post_config on, by any thread. */
int mptcp_proxy_wants_any(void);

/**
 * Is this worker to connect by MPTCP?  From check_config on, by any thread.
 * @param worker One that is configured, was added at run time, is hidden
 *        (mod_proxy_hcheck), or is mod_proxy's default for any backend
 * @param s The server of the request, for the last
 */
int mptcp_worker_wants(const struct proxy_worker *worker, const server_rec *s);

/** The worker itself, or that which it checks the health of. */
const struct proxy_worker *
mptcp_worker_checked(const struct proxy_worker *worker);

/** A worker's URL, as mod_proxy's messages name it. */
const char *mptcp_worker_name(const struct proxy_worker *worker);

/** The port of a worker's backend; 0: it has no one port. */
apr_port_t mptcp_worker_port(const struct proxy_worker *worker);

/** mod_proxy's proxy_server_conf of a server; NULL if it is not loaded. */
void *mptcp_proxy_conf(const server_rec *s);

/** A function that mod_proxy exports; NULL if there is none of this name. */
void *mptcp_proxy_function(const char *name);

/** Hooks that give workers the parameter multipathtcp. */
void mptcp_proxy_workers_register_hooks(void);

/* ---- proxy_shared.c: parameters that mod_proxy ignores ---------------- */

/** Hooks that say which multipathtcp= has no effect, and why. */
void mptcp_proxy_shared_register_hooks(void);

/* ---- proxy_sockets.c: mod_proxy's sockets ----------------------------- */

/** Hooks that make the sockets of workers which want it MPTCP. */
void mptcp_proxy_sockets_register_hooks(void);

/* ---- connection.c: what the kernel says of one connection -------------- */

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
    /** how many bytes of info the kernel has written, if state is ON */
    apr_size_t length;
    mptcp_kernel_info info;
} mptcp_reading;

/**
 * Ask the kernel about a connected socket.  One system call, but two for a
 * socket of protocol 0 that does not speak MPTCP.
 * @param made_as IPPROTO_MPTCP or IPPROTO_TCP, if it is known to have been
 *        made so; 0: of an MPTCP listener, which accepts both
 * @param reading Set in any case
 */
void mptcp_connection_ask(int fd, int made_as, mptcp_reading *reading);

/**
 * Take so many bytes of reading->info for the kernel's answer, of a socket
 * that is MPTCP (state is ON before).
 */
void mptcp_reading_set(mptcp_reading *reading, apr_size_t length);

/** The words of MPTCP and MPTCP_BACKEND; NULL for UNKNOWN. */
const char *mptcp_state_text(mptcp_state state);

/** How many variables there are of a client's connection. */
#define MPTCP_CONNECTION_VARIABLES 7

/**
 * A variable's number by its name, in any case.
 * @return 0 to MPTCP_CONNECTION_VARIABLES - 1, or -1: it is not one of them
 */
int mptcp_variable_find(const char *name);

/** The name of a variable by its number. */
const char *mptcp_variable_name(int variable);

/**
 * A variable's value.
 * @param p Where the value lives, unless it is a constant
 * @return NULL where the kernel did not give it
 */
const char *mptcp_variable_value(const mptcp_reading *reading, int variable,
                                 apr_pool_t *p);

/* ---- variables.c: for the environment, expressions and logs ------------ */

/** The variable of a proxied request's connection to its backend. */
#define MPTCP_BACKEND_VARIABLE "MPTCP_BACKEND"

/**
 * Remember what a client's connection is, if that is final: then the kernel
 * is not asked again.
 */
void mptcp_connection_note(conn_rec *c, mptcp_state state);

/** Hooks that offer the variables wherever httpd has variables. */
void mptcp_variables_register_hooks(void);

/** What is remembered of a request; pool: the request's. */
typedef struct {
    /** of the client's connection (in a main request only); or NULL */
    mptcp_reading *reading;
    /** a proxy_conn_rec, while mod_proxy serves the request by it; or NULL */
    void *backend;
    mptcp_state backend_state;
    int backend_filter;                 /* has been added */
} mptcp_request;

/** The record of a request, made if there is none. */
mptcp_request *mptcp_request_get(request_rec *r);

/** Is MPTCPEnvVars On for the request? */
int mptcp_env_vars_on(const request_rec *r);

/* ---- backend.c: the connection that served a proxied request ----------- */

/** Hooks that learn which connection of mod_proxy serves which request. */
void mptcp_backend_register_hooks(void);

/**
 * To be called while the configuration is checked: is MPTCP_BACKEND read
 * anywhere at all, and can it be read when the connection may be gone, in a
 * log?  Without the first, mod_proxy is not observed.
 */
void mptcp_backend_wanted(int anywhere, int in_logs);

/** Was it said that MPTCP_BACKEND is read anywhere? */
int mptcp_backend_is_observed(void);

/**
 * To be called when a CONNECT tunnel has been connected.
 * @param sd Its socket
 */
void mptcp_backend_tunnel(request_rec *r, apr_socket_t *sd);

/**
 * What the request's connection to its backend is, or was.  One system call
 * at the first call for each request, while the connection is there.
 * @return UNKNOWN for a request that used none
 */
mptcp_state mptcp_backend_state(request_rec *r);

/* ---- counters.c: connections, counted for all children together -------- */

/** What is counted. */
enum {
    MPTCP_COUNTER_LISTENER,             /**< by address, as %pI prints it */
    MPTCP_COUNTER_WORKER,               /**< by its URL */
    MPTCP_COUNTER_KINDS
};

/** The name of all workers that are not in the configuration. */
#define MPTCP_COUNTER_OTHER "(others)"

typedef struct mptcp_counter mptcp_counter;

/** A listener or worker of this configuration; pool: pconf. */
typedef struct {
    const char *name;                   /**< to be shown: without a password */
    const char *key;                    /**< the whole name */
    mptcp_counter *counter;             /**< shared by all children */
    apr_port_t port;                    /**< 0: a worker's may be any */
    apr_sockaddr_t *address;            /**< of a listener */
    int is_mptcp;                       /**< a listener's socket is */
    int is_ipv6_only;                   /**< it takes no IPv4 */
} mptcp_counted;

/** Since the server was started; graceful restarts and restarts go on. */
typedef struct {
    /**
     * of a listener: accepted and MPTCP then, fallback included; of a worker:
     * established, and still MPTCP then
     */
    apr_uint64_t mptcp;
    /**
     * of a listener: of those, found to be TCP when they ended; of a worker:
     * the backend did not agree
     */
    apr_uint64_t fallback;
    /** MPTCP was not asked for (or could not be, by a worker) */
    apr_uint64_t tcp;
    /** of a listener: further subflows of those that have ended */
    apr_uint64_t joins;
} mptcp_counts;

/** mptcp_counted: sorted by port and name, or name; in children too. */
const apr_array_header_t *mptcp_counted_all(int kind);

/** What stands now; several numbers, each by itself exact. */
void mptcp_counts_get(const mptcp_counted *one, mptcp_counts *counts);

/** When counting began; 0: nothing is counted. */
apr_time_t mptcp_counted_since(void);

/** The listener that a connection with this local address came to, or NULL. */
const mptcp_counted *mptcp_counted_listener(apr_sockaddr_t *local);

/**
 * The worker that has lately connected to an address by MPTCP, or NULL.
 * @param address 4 or 16 bytes in network order
 * @param port In host order
 */
const mptcp_counted *mptcp_counted_worker(const void *address,
                                          apr_size_t length, int port);

/**
 * To be called when a connection to a backend has been established that was
 * to be MPTCP.  One system call.
 * @param worker The worker's name, or NULL if there is none
 * @param made_as IPPROTO_MPTCP; another if the kernel gave no such socket
 */
void mptcp_count_backend(const char *worker, apr_socket_t *sd, int made_as);

/** Hooks that make the counters, and count clients' connections. */
void mptcp_counters_register_hooks(void);

/* ---- status.c: the status page ----------------------------------------- */

/** Hooks for mptcp-status and for mod_status's page. */
void mptcp_status_register_hooks(void);

/* ---- import_redirect.c: ELF ------------------------------------------- */

/**
 * Let every call of an imported function that a loaded object makes reach
 * another function, until the pool is cleared.
 *
 * Only the import slots of that object change: no code, and nobody else's
 * calls.  To be called while the process has a single thread and
 * before it forks, so that no caller sees a half-made change and all children
 * share it.  The pool must be cleared before the object is unloaded: pconf
 * does that for any object which LoadModule brought, because cleanups run in
 * reverse order of their registration.
 *
 * @param inside An address inside the object, such as its module record; or
 *        NULL for every loaded object that has the import, save the one that
 *        the replacement is in
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

/** @return The errno of a netlink error message; EBADMSG if it has none */
int mptcp_netlink_errno(int error);

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

/** The names of an endpoint's flags, an array of const char *. */
apr_array_header_t *mptcp_endpoint_flags(apr_pool_t *p,
                                         const mptcp_endpoint *ep);

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

/** What is in force, as the kernel says at this moment. */
typedef struct {
    mptcp_limits limits;
    apr_array_header_t *endpoints;      /**< mptcp_endpoint */
    /** const char *: what stands in the way, and what to write instead */
    apr_array_header_t *obstacles;
    /** the kernel's path manager is switched off */
    int is_off;
} mptcp_paths;

/**
 * The same for the status page, in a child.
 * @return APR_SUCCESS, or as mptcp_pm_open(); then nothing is known
 */
apr_status_t mptcp_paths_read(server_rec *s, apr_pool_t *p,
                              mptcp_paths *paths);

#endif /* MOD_MPTCP_H */
