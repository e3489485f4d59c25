/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What the parts under test use of httpd, for programs without httpd. */

#include "mod_mptcp.h"

#include <strings.h>

int ap_cstr_casecmp(const char *s1, const char *s2)
{
    return strcasecmp(s1, s2);
}
