/*
 * fuzz.h - what the targets share: a check that ends the process, in every build.
 */
#ifndef CB_TEST_FUZZ_H
#define CB_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what);                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
