/*
 * parquet.h - what the footer of a Parquet file says: rows, columns with their field ids, counts.
 *
 * The footer is a Thrift "compact" record at the end of the file, before its length and the magic.
 * It comes from outside: every count and length in it is bounded by the bytes that are there.
 *
 * Source: the Parquet format's Thrift definition and the Thrift compact protocol specification.
 */
#ifndef CB_SOURCE_DUCKLAKE_PARQUET_H
#define CB_SOURCE_DUCKLAKE_PARQUET_H

#include "base/arena.h"

enum { CB_PARQUET_TAIL_BYTES = 8, CB_PARQUET_FOOTER_MAX = 64 << 20 };

/* A leaf of the schema: what has values of its own. */
typedef struct cb_parquet_column {
    const char *name; /* of the leaf */
    const char *top;  /* of the column of the table that it belongs to */
    int32_t field_id; /* -1: none */
    int32_t top_field_id;
    uint64_t values, nulls;  /* over all row groups */
    uint64_t stored_bytes;   /* compressed */
    bool has_range;          /* of 64-bit integers: every row group says least and greatest */
    int64_t least, greatest; /* valid while has_range */
} cb_parquet_column;

typedef struct cb_parquet {
    uint64_t rows;
    const cb_parquet_column *columns; /* in the caller's arena */
    size_t column_count;
} cb_parquet;

/* Length of the footer by the last CB_PARQUET_TAIL_BYTES of a file. CB_CORRUPT; CB_UNSUPPORTED when
   the footer is encrypted. */
CB_MUST_USE cb_code cb_parquet_tail(const uint8_t tail[CB_PARQUET_TAIL_BYTES], uint64_t file_bytes,
                                    uint32_t *footer_bytes, cb_error *err);
/* `footer` without length and magic. Errors: CB_CORRUPT. */
CB_MUST_USE cb_code cb_parquet_parse(cb_bytes footer, cb_arena *arena, cb_parquet *out,
                                     cb_error *err);
const cb_parquet_column *cb_parquet_find(const cb_parquet *parquet, const char *name);

#endif
