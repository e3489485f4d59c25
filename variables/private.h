/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file private.h
 * @brief variables/: between the files of this room; no other includes it.
 */

#ifndef MPTCP_VARIABLES_PRIVATE_H
#define MPTCP_VARIABLES_PRIVATE_H

#include "variables/variables.h"

/* ---- table.c: their names, and how each is made ------------------------- */

/** How a variable is made. */
typedef enum {
    MPTCP_FORM_STATE,                   /**< of the client's connection */
    MPTCP_FORM_LIVE_SUBFLOWS,
    MPTCP_FORM_DECIMAL,
    MPTCP_FORM_HEXADECIMAL,
    MPTCP_FORM_BACKEND                  /**< the connection to the backend */
} mptcp_variable_form;

typedef struct {
    const char *name;
    mptcp_variable_form form;
    /** its field in the kernel's answer, if it is made of one */
    size_t offset;
    size_t size;
} mptcp_variable;

/** All of them; behind the last stands one without a name. */
extern const mptcp_variable mptcp_variables[];

/** A variable by its name, in any case; NULL: it is none. */
const mptcp_variable *mptcp_variable_find(const char *name);

/**
 * The value of a variable of the client's connection.
 * @param p Where the value lives, unless it is a constant
 * @return NULL where the kernel did not give it
 */
const char *mptcp_variable_value(const mptcp_reading *reading,
                                 const mptcp_variable *variable,
                                 apr_pool_t *p);

/* ---- client.c: the client's connection ---------------------------------- */

/**
 * What the kernel says of the client's connection: at the first call for a
 * request, with what came of it, and after mptcp_client_forget() once more.
 */
const mptcp_reading *mptcp_client_reading(request_rec *r);

#endif /* MPTCP_VARIABLES_PRIVATE_H */
