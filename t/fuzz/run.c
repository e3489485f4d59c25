/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A main() for a harness where there is no libFuzzer: the files that are
 * named, and then so many inputs that are made of them by small damages, the
 * same ones each time.
 *
 *   run COUNT FILE...
 */

#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#define SIZE_MAX_INPUT 65536

static uint64_t state = 88172645463325252u;

/* xorshift64 (Marsaglia 2003): the same numbers everywhere. */
static uint32_t number(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static size_t damage(uint8_t *data, size_t size)
{
    uint32_t times = 1 + number(4);

    while (times-- && size) {
        size_t at = number((uint32_t)size);

        switch (number(5)) {
        case 0:
            data[at] ^= (uint8_t)(1u << number(8));
            break;
        case 1:
            data[at] = (uint8_t)number(256);
            break;
        case 2:
            data[at] = number(2) ? 0xff : 0;
            break;
        case 3:                         /* a piece over another one */
            memmove(data + number((uint32_t)size), data + at, 1);
            break;
        default:
            size -= number((uint32_t)(size - at) + 1);
            break;
        }
    }
    return size;
}

/* As long as it is and no longer, so that a read behind it is seen. */
static void run_exactly(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);

    if (size) {
        memcpy(exact, data, size);
    }
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    static uint8_t data[SIZE_MAX_INPUT];
    long count = argc > 2 ? strtol(argv[1], NULL, 10) : 0, done = 0;
    int i;

    if (argc < 3) {
        fprintf(stderr, "usage: %s COUNT FILE...\n", argv[0]);
        return 2;
    }
    do {
        for (i = 2; i < argc; i++) {
            FILE *file = fopen(argv[i], "rb");
            size_t size;

            if (!file) {
                perror(argv[i]);
                return 2;
            }
            size = fread(data, 1, sizeof(data), file);
            fclose(file);
            if (done >= argc - 2) {
                size = damage(data, size);
            }
            run_exactly(data, size);
            done++;
        }
    } while (done < count);
    printf("%ld inputs\n", done);
    return 0;
}
