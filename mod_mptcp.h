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
} mptcp_server_conf;

/** What is kept per directory. */
typedef struct {
    int env_vars;                       /* MPTCPEnvVars; MPTCP_UNSET, 0, 1 */
} mptcp_dir_conf;

#define MPTCP_UNSET (-1)

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

/**
 * What the request's connection to its backend is, or was.  One system call
 * at the first call for each request, while the connection is there.
 * @return UNKNOWN for a request that used none
 */
mptcp_state mptcp_backend_state(request_rec *r);

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

#endif /* MOD_MPTCP_H */
