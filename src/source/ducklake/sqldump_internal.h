/*
 * sqldump_internal.h - the form of a dump, as its writer and its reader share it.
 *
 *     -- Canvasback dump of a DuckLake catalog, format 1
 *     -- kind: sqlite
 *     -- version: 1.0
 *     ...
 *     .bail on                              sqlite3 and duckdb; psql: \set ON_ERROR_STOP on
 *     BEGIN;
 *     CREATE TABLE "ducklake_metadata"(...);
 *     INSERT INTO "ducklake_metadata" VALUES ...;       psql: COPY ... FROM stdin; rows; \.
 *     ...
 *     COMMIT;
 *     -- tables: 28, rows: 4711
 *     -- sha256: <of all bytes before this line>
 *
 * A line that begins with a dot or a backslash where a statement could begin is the shell's own.
 */
#ifndef CB_SOURCE_DUCKLAKE_SQLDUMP_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_SQLDUMP_INTERNAL_H

#include "source/ducklake/sqldump.h"

#define CB_SQLDUMP_TITLE   "-- Canvasback dump of a DuckLake catalog, format "
#define CB_SQLDUMP_FORMAT  "1"
#define CB_SQLDUMP_DIGEST  "-- sha256: "
#define CB_SQLDUMP_SUMMARY "-- tables: "

enum {
    CB_SQLDUMP_HEAD_MAX = 8192,              /* the comments before the first statement */
    CB_SQLDUMP_DIGEST_BYTES = 11 + 64 + 1,   /* the last line */
    CB_SQLDUMP_STATEMENT_BYTES = 512 * 1024, /* an INSERT ends at the row that passes this, */
    CB_SQLDUMP_STATEMENT_ROWS = 500,         /* or with so many rows */
};

/* ---- sqldump_text.c: pure ---------------------------------------------------------------------
 */

/* Append "-- key: value\n"; what could end the comment or frighten a terminal becomes '?'. */
CB_MUST_USE cb_code cb_sqldump_comment(cb_buf *into, const char *key, const char *value,
                                       cb_error *err);
/*
 * Append a value that was cast to VARCHAR as a literal of DuckDB: NULL, or 'text' with its quotes
 * doubled. Bytes that a shell would lose on the way (NUL, carriage return) are added with chr().
 */
CB_MUST_USE cb_code cb_sqldump_literal(cb_buf *into, const cb_lake_cell *cell, cb_error *err);
/* Append the SELECT expression that gives the value of column `name` as a literal of SQLite. */
CB_MUST_USE cb_code cb_sqldump_sqlite_expression(cb_buf *into, const char *name, cb_error *err);
/* Find "-- key: " in the head of a dump and copy its value; false: not there, or too long. */
bool cb_sqldump_head_value(cb_bytes head, const char *key, char *out, size_t size);

/* ---- sqldump_file.c: a new file that is whole or not there ------------------------------------
 */

typedef struct cb_sqldump_file {
    cb_ctx *ctx;
    const char *path; /* borrowed */
    char partial[CB_PATH_MAX];
    int fd;
    cb_buf buffer; /* not yet written */
    uint64_t written;
    struct cb_hasher *hasher;
} cb_sqldump_file;

/* Errors: CB_EXISTS. */
CB_MUST_USE cb_code cb_sqldump_file_open(cb_ctx *ctx, const char *path, cb_sqldump_file *out,
                                         cb_error *err);
/* Once the buffer has grown, its bytes go to the file. */
CB_MUST_USE cb_code cb_sqldump_file_flush(cb_sqldump_file *file, bool all, cb_error *err);
/* Add the digest's line, sync, give the file its name, sync the folder. */
CB_MUST_USE cb_code cb_sqldump_file_commit(cb_sqldump_file *file, char sha256[65], cb_error *err);
void cb_sqldump_file_free(cb_sqldump_file *file); /* without commit nothing is left */

/* ---- sqldump_values.c: the rows of an INSERT --------------------------------------------------
 */

/* Visit the rows of "(...),\n(...)" (NULL: none are visited); *is_plain false: they are not written
   as a dump writes them, and the rows that were visited are not all. */
CB_MUST_USE cb_code cb_sqldump_values(const char *values, size_t columns, cb_lake_row *visit,
                                      void *arg, bool *is_plain, cb_error *err);

/* ---- sqldump_scan.c: a dump in its parts ------------------------------------------------------
 */

typedef enum cb_sqldump_part {
    CB_SQLDUMP_STATEMENT, /* without its semicolon; NUL-terminated behind `size` */
    CB_SQLDUMP_ROWS,      /* of the COPY before: one row with its newline */
    CB_SQLDUMP_ROWS_END,
} cb_sqldump_part;

typedef cb_code cb_sqldump_visit(void *arg, cb_sqldump_part part, cb_bytes text, cb_error *err);

typedef enum cb_sqldump_where {
    CB_SQLDUMP_BETWEEN, /* statements */
    CB_SQLDUMP_REMARK,  /* a comment, or a line of the shell's own: to the end of the line */
    CB_SQLDUMP_BODY,
    CB_SQLDUMP_TEXT,      /* 'text' */
    CB_SQLDUMP_NAME,      /* "name" */
    CB_SQLDUMP_COPY_HEAD, /* behind COPY's semicolon, before its newline */
    CB_SQLDUMP_COPY_ROW,
} cb_sqldump_where;

/* Zero-initialised is at the beginning. Memory: the longest statement or row. */
typedef struct cb_sqldump_scan {
    cb_sqldump_where where;
    cb_buf text;     /* of the statement or row so far */
    bool is_escaped; /* in 'text' that began E'...: behind a backslash */
    bool has_escapes;
    uint64_t line; /* that is being read, from 0 */
} cb_sqldump_scan;

/* Feed the next bytes. Errors: the visitor's, CB_TOO_LARGE. */
CB_MUST_USE cb_code cb_sqldump_scan_step(cb_sqldump_scan *scan, cb_bytes data,
                                         cb_sqldump_visit *visit, void *arg, cb_error *err);
/* CB_CORRUPT: it ended within a statement or rows. */
CB_MUST_USE cb_code cb_sqldump_scan_end(cb_sqldump_scan *scan, cb_error *err);
void cb_sqldump_scan_free(cb_sqldump_scan *scan);

#endif
