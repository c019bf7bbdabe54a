/*
 * segments.h - a PostgreSQL catalog as files: FOLDER/schema says what each table is, the rows stand
 * as COPY text in FOLDER/TABLE/00000000, 00000001, ...
 *
 * A segment ends between two rows, where the content of the row before says so: about 256 KiB on
 * average, at least 64 KiB but for a table's last, at most 1 MiB but for a single row that is
 * longer. So an equal run of rows is an equal segment, whatever stands before it. A table without
 * rows has no folder. In the name of a folder every byte but letters, digits, '_' and '-' is
 * percent-escaped.
 *
 * Format: doc/format.md, "DuckLake".
 */
#ifndef CB_SOURCE_DUCKLAKE_SEGMENTS_H
#define CB_SOURCE_DUCKLAKE_SEGMENTS_H

#include "source/ducklake/db.h"

enum {
    CB_SEGMENT_LEAST = 64 << 10,
    CB_SEGMENT_MEAN = 256 << 10,
    CB_SEGMENT_MOST = 1 << 20,
};

/* Write all of a PostgreSQL conversation's catalog into the empty folder. Memory: one segment and
   one row. Errors: CB_NO_SPACE, those of the conversation. */
CB_MUST_USE cb_code cb_segments_write(cb_ctx *ctx, cb_lake_db *db, const char *folder,
                                      cb_error *err);

typedef struct cb_segment_counts {
    uint64_t rows, bytes, segments;
} cb_segment_counts;

typedef struct cb_segments {
    cb_lake_schema schema;
    const cb_segment_counts *counts; /* by table, as in the schema; in its arena */
    char folder[CB_PATH_MAX];
} cb_segments;

/* Errors: CB_CORRUPT, CB_UNSUPPORTED (written by a newer release). */
CB_MUST_USE cb_code cb_segments_open(const char *folder, cb_segments *out, cb_error *err);
void cb_segments_close(cb_segments *segments);

/*
 * The rows of a table as they were written, in blocks of at most 1 MiB that need not end with a
 * row: what cb_lake_db_copy_data takes. CB_CORRUPT when there is not as much as the schema says.
 */
typedef cb_code cb_segments_block(void *arg, cb_bytes data, cb_error *err);
CB_MUST_USE cb_code cb_segments_copy(cb_ctx *ctx, const cb_segments *segments, size_t table,
                                     cb_segments_block *visit, void *arg, cb_error *err);
/* The same row by row, as cells in the order of the columns. Memory: the longest row, twice. */
CB_MUST_USE cb_code cb_segments_rows(cb_ctx *ctx, const cb_segments *segments, size_t table,
                                     cb_lake_row *visit, void *arg, cb_error *err);

/* Name of a table's folder. */
CB_MUST_USE cb_code cb_segments_folder(const char *table, cb_buf *out, cb_error *err);

#endif
