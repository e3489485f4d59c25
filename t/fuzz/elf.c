/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The walk over the ELF structures of a loaded object, with damaged objects.
 *
 * An input is an object's memory; it begins with the program headers.  What
 * a loader has seen to is true of these objects too: a segment that is said
 * to be loaded is there.
 */

#include "common/import_redirect.c"

#include "fuzz.h"

#define HEADERS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    ElfW(Phdr) headers[HEADERS_MAX];
    struct dl_phdr_info object;
    import_search search;
    char *image;
    int i, j;

    if (size < sizeof(headers)) {
        return 0;
    }
    image = malloc(size);
    memcpy(image, data, size);
    memcpy(headers, data, sizeof(headers));
    memset(&object, 0, sizeof(object));
    object.dlpi_addr = (uintptr_t)image;
    object.dlpi_phdr = headers;
    object.dlpi_phnum = HEADERS_MAX;
    for (i = 0; i < HEADERS_MAX; i++) {
        if (headers[i].p_type == PT_LOAD) {
            headers[i].p_vaddr %= size;
            if (headers[i].p_memsz > size - headers[i].p_vaddr) {
                headers[i].p_memsz = size - headers[i].p_vaddr;
            }
        }
    }

    memset(&search, 0, sizeof(search));
    search.inside = (uintptr_t)image;
    search.symbol = "answer";
    search.slots = apr_array_make(p, 1, sizeof(import_slot));
    search_if_meant(&object, sizeof(object), &search);

    for (i = 0; i < search.slots->nelts; i++) {
        const import_slot *found = &APR_ARRAY_IDX(search.slots, i,
                                                  import_slot);
        uintptr_t slot = (uintptr_t)found->slot;
        int writable = 0;

        MUST(slot % sizeof(void *) == 0);
        MUST(slot >= (uintptr_t)image
             && slot + sizeof(void *) <= (uintptr_t)image + size);
        for (j = 0; j < HEADERS_MAX; j++) {
            uintptr_t low = (uintptr_t)image + headers[j].p_vaddr;

            if (headers[j].p_type == PT_LOAD && (headers[j].p_flags & PF_W)
                && slot >= low && slot < low + headers[j].p_memsz) {
                writable = 1;
            }
        }
        /* else storing there would end the server */
        MUST(writable);
    }
    free(image);
    return 0;
}
