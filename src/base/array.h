/*
 * array.h - growing an array of any element type by doubling.
 *
 *     if (*count == *capacity) code = cb_array_grow(&items, &capacity, sizeof(*items), err);
 */
#ifndef CB_BASE_ARRAY_H
#define CB_BASE_ARRAY_H

#include "base/error.h"

/*
 * Make room for at least one element more than *capacity; `array` is the address of the pointer.
 * New memory is zeroed. Errors: CB_NO_MEMORY; then nothing has changed.
 */
CB_MUST_USE cb_code cb_array_grow(void *array /* T ** */, size_t *capacity, size_t element_bytes,
                                  cb_error *err);

/* Room for at least `wanted` elements. */
CB_MUST_USE cb_code cb_array_reserve(void *array /* T ** */, size_t *capacity, size_t wanted,
                                     size_t element_bytes, cb_error *err);

#endif
