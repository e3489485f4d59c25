/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which listeners are to be MPTCP, by what the lines of this configuration
 * have said.
 */

#include "listen/private.h"

#include <net/if.h>

const char *mptcp_listener_key(char key[MPTCP_LISTENER_KEY_SIZE],
                               const mptcp_listener_id *id)
{
    apr_snprintf(key, MPTCP_LISTENER_KEY_SIZE, "%u %u %s",
                 (unsigned int)id->port, id->scope, id->host ? id->host : "*");
    return key;
}

int mptcp_listener_read_id(mptcp_listener_id *id, const char *address,
                           apr_pool_t *p)
{
    char *host, *scope;

    memset(id, 0, sizeof(*id));
    if (apr_parse_addr_port(&host, &scope, &id->port, address, p)
        != APR_SUCCESS || !id->port) {
        return 0;
    }
    if (host && strcmp(host, "*") != 0) {
        id->host = host;
    }
    if (scope && !(id->scope = if_nametoindex(scope))) {
        id->scope = (unsigned int)apr_strtoi64(scope, NULL, 10);
    }
    return 1;
}

void mptcp_listener_want(const char *address, apr_pool_t *pconf)
{
    mptcp_listener_id id;
    char key[MPTCP_LISTENER_KEY_SIZE];

    if (mptcp_listener_read_id(&id, address, pconf)) {
        apr_hash_set(mptcp_global()->listeners,
                     apr_pstrdup(pconf, mptcp_listener_key(key, &id)),
                     APR_HASH_KEY_STRING, "");
    }
}

int mptcp_listener_wanted(const ap_listen_rec *lr)
{
    const mptcp_global_conf *conf = mptcp_global();
    const apr_sockaddr_t *sa = lr->bind_addr;
    mptcp_listener_id id;
    char key[MPTCP_LISTENER_KEY_SIZE], ip[64];

    if (conf->listen_default == 1 || apr_hash_count(conf->listeners) == 0) {
        return conf->listen_default == 1;
    }
    id.host = sa->hostname;
    id.port = sa->port;
    id.scope = sa->family == APR_INET6 ? sa->sa.sin6.sin6_scope_id : 0;
    if (apr_hash_get(conf->listeners, mptcp_listener_key(key, &id),
                     APR_HASH_KEY_STRING)) {
        return 1;
    }
    /* a service manager's socket, of which core looks at the port alone */
    if (!sa->hostname && !apr_sockaddr_is_wildcard(sa)
        && apr_sockaddr_ip_getbuf(ip, sizeof(ip), (apr_sockaddr_t *)sa)
           == APR_SUCCESS) {
        id.host = ip;
        id.scope = 0;
        return apr_hash_get(conf->listeners, mptcp_listener_key(key, &id),
                            APR_HASH_KEY_STRING) != NULL;
    }
    return 0;
}
