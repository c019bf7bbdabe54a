/*
 * field.h - tagged fields: the encoding of every small record (manifest, session, item, state).
 *
 * A record is fields one after another: LEB128 tag (1..2^32-1), LEB128 length, that many bytes.
 * Integers are LEB128 inside the bytes (signed ones zigzag). Unknown tags are skipped, a repeated
 * tag is a list. Rendering a record in order of its tags makes equal records equal bytes.
 */
#ifndef CB_CODEC_FIELD_H
#define CB_CODEC_FIELD_H

#include "base/arena.h"

CB_MUST_USE cb_code cb_field_put_u64(cb_buf *into, uint32_t tag, uint64_t value, cb_error *err);
CB_MUST_USE cb_code cb_field_put_i64(cb_buf *into, uint32_t tag, int64_t value, cb_error *err);
CB_MUST_USE cb_code cb_field_put_bytes(cb_buf *into, uint32_t tag, cb_bytes value, cb_error *err);
/* NULL text writes nothing. */
CB_MUST_USE cb_code cb_field_put_text(cb_buf *into, uint32_t tag, const char *text, cb_error *err);

typedef struct cb_field {
    uint32_t tag;
    cb_bytes value; /* borrowed from the record */
} cb_field;

typedef struct cb_field_reader {
    cb_bytes rest;
} cb_field_reader;

/* *more false at the end. Errors: CB_CORRUPT on a length past the end or an overlong integer. */
CB_MUST_USE cb_code cb_field_next(cb_field_reader *reader, cb_field *out, bool *more,
                                  cb_error *err);
CB_MUST_USE cb_code cb_field_u64(const cb_field *field, uint64_t *out, cb_error *err);
CB_MUST_USE cb_code cb_field_i64(const cb_field *field, int64_t *out, cb_error *err);
/* Copied into the arena with a NUL behind; CB_CORRUPT when it holds a NUL. */
CB_MUST_USE cb_code cb_field_text(const cb_field *field, cb_arena *arena, const char **out,
                                  cb_error *err);

/* Bare LEB128, for the places where records are too dear (lists of numbers). */
CB_MUST_USE cb_code cb_varint_put(cb_buf *into, uint64_t value, cb_error *err);
CB_MUST_USE cb_code cb_varint_get(cb_bytes *rest, uint64_t *out, cb_error *err);

#endif
