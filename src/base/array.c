/*
 * array.c - the pointer is read and written by memcpy, since T ** and void ** may not alias.
 */
#include "base/array.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ELEMENTS = 16 };

cb_code cb_array_reserve(void *array, size_t *capacity, size_t wanted, size_t element_bytes,
                         cb_error *err)
{
    size_t bytes;
    uint8_t *memory;

    if (wanted <= *capacity)
        return CB_OK;
    if (__builtin_mul_overflow(wanted, element_bytes, &bytes))
        return cb_fail_memory(err, SIZE_MAX);

    memcpy(&memory, array, sizeof(memory));
    memory = realloc(memory, bytes);
    if (memory == NULL)
        return cb_fail_memory(err, bytes);
    memset(memory + *capacity * element_bytes, 0, bytes - *capacity * element_bytes);
    memcpy(array, &memory, sizeof(memory));
    *capacity = wanted;
    return CB_OK;
}

cb_code cb_array_grow(void *array, size_t *capacity, size_t element_bytes, cb_error *err)
{
    size_t wanted = *capacity < FIRST_ELEMENTS ? FIRST_ELEMENTS : *capacity;

    if (*capacity >= FIRST_ELEMENTS && __builtin_mul_overflow(*capacity, (size_t)2, &wanted))
        return cb_fail_memory(err, SIZE_MAX);
    return cb_array_reserve(array, capacity, wanted, element_bytes, err);
}
