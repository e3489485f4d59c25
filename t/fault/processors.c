/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A library that is loaded before httpd and tells it of two processors, so that
 * ListenCoresBucketsRatio makes two buckets wherever the tests run. Part of
 * fault.c, too.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <unistd.h>

long sysconf(int name)
{
    __typeof__(sysconf) *real = dlsym(RTLD_NEXT, "sysconf");

    return name == _SC_NPROCESSORS_ONLN ? 2 : real(name);
}
