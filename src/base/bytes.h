/*
 * bytes.h - views, growable buffers with a ceiling, little-endian integers, checked arithmetic.
 */
#ifndef CB_BASE_BYTES_H
#define CB_BASE_BYTES_H

#include "base/error.h"

#include <string.h>

typedef struct cb_bytes {
    const uint8_t *data;
    size_t size;
} cb_bytes;

/* Zero-initialised is an empty buffer without memory; limit 0 means "no more than SIZE_MAX / 2". */
typedef struct cb_buf {
    uint8_t *data; /* owned by the buffer */
    size_t size;
    size_t capacity;
    size_t limit;
} cb_buf;

static inline cb_bytes cb_bytes_of(const void *data, size_t size)
{
    return (cb_bytes){(const uint8_t *)data, size};
}

static inline cb_bytes cb_buf_bytes(const cb_buf *buf)
{
    return (cb_bytes){buf->data, buf->size};
}

void cb_buf_free(cb_buf *buf); /* releases and zeroes all but the limit */

/* Make room for `more` bytes behind size. Errors: CB_TOO_LARGE past the limit, CB_NO_MEMORY. */
CB_MUST_USE cb_code cb_buf_reserve(cb_buf *buf, size_t more, cb_error *err);
CB_MUST_USE cb_code cb_buf_append(cb_buf *buf, const void *data, size_t size, cb_error *err);
CB_MUST_USE cb_code cb_buf_u8(cb_buf *buf, uint8_t value, cb_error *err);
CB_MUST_USE cb_code cb_buf_u16(cb_buf *buf, uint16_t value, cb_error *err);
CB_MUST_USE cb_code cb_buf_u32(cb_buf *buf, uint32_t value, cb_error *err);
CB_MUST_USE cb_code cb_buf_u64(cb_buf *buf, uint64_t value, cb_error *err);
CB_MUST_USE cb_code cb_buf_format(cb_buf *buf, cb_error *err, const char *format, ...)
    CB_PRINTF(3, 4); /* appends; the NUL is there but not counted in size */

/* Disk integers are little-endian; the pointers need no alignment. */
uint16_t cb_get_u16(const uint8_t *at);
uint32_t cb_get_u32(const uint8_t *at);
uint64_t cb_get_u64(const uint8_t *at);
void cb_put_u16(uint8_t *at, uint16_t value);
void cb_put_u32(uint8_t *at, uint32_t value);
void cb_put_u64(uint8_t *at, uint64_t value);

/* Sums and products of sizes from outside: false on overflow, *out then untouched. */
CB_MUST_USE bool cb_add_u64(uint64_t a, uint64_t b, uint64_t *out);
CB_MUST_USE bool cb_mul_u64(uint64_t a, uint64_t b, uint64_t *out);

void cb_hex(const uint8_t *data, size_t size, char *out /* 2 * size + 1 */);
CB_MUST_USE bool cb_unhex(const char *text, size_t size, uint8_t *out);

#endif
