/*
 * engine.h - one conversation with libduckdb: an empty database in memory, to which files are
 * attached, and SQL.
 *
 * The session is kept from harm and from harming: no extension is looked for on the network, none
 * of the user's secrets are read, memory is bounded (what does not fit goes to a folder that is
 * removed at the end), and cb_cancel interrupts the running statement.
 *
 * Threads: a session belongs to one thread. Memory: CB_DUCK_MEMORY_BYTES and DuckDB's own code.
 */
#ifndef CB_SOURCE_DUCKDB_ENGINE_H
#define CB_SOURCE_DUCKDB_ENGINE_H

#include "base/ctx.h"

typedef struct cb_duck_session cb_duck_session;

/*
 * `near`: a path in the folder where the engine may spill (the target, or the copy being worked
 * on). `of`: the file that the work is about, named by messages. Both borrowed for the session.
 * Errors: those of cb_duckdb_api_load, CB_IO.
 */
CB_MUST_USE cb_code cb_duck_session_open(cb_ctx *ctx, const char *near, const char *of,
                                         cb_duck_session **out, cb_error *err);
/* Closes what is attached: DuckDB writes its logs back then, and tells no error of it, so detach
   first what matters. NULL is allowed. */
void cb_duck_session_close(cb_duck_session *session);
void cb_duck_session_cleanup(cb_duck_session **session); /* for CB_CLEANUP */

const char *cb_duck_session_version(const cb_duck_session *session); /* "v2.0.0" */

/*
 * Run `sql`. Errors say what DuckDB said, and are told apart:
 *   CB_BUSY         another process has the file locked; the message names it
 *   CB_CORRUPT      about the data: checksums, impossible values, an engine's inner error
 *   CB_UNSUPPORTED  about version, encryption, extensions, or what the engine cannot do
 *   CB_NOT_FOUND, CB_DENIED, CB_NO_SPACE, CB_NO_MEMORY, CB_CANCELLED, CB_IO
 */
CB_MUST_USE cb_code cb_duck_run(cb_duck_session *session, const char *sql, cb_error *err);

/* The same, and all rows of the result as text (NULL for NULL); cells[row * columns + column],
   in `arena`. For small results. */
typedef struct cb_duck_table {
    const char **cells;
    uint64_t columns;
    uint64_t rows;
} cb_duck_table;
CB_MUST_USE cb_code cb_duck_select(cb_duck_session *session, const char *sql, cb_arena *arena,
                                   cb_duck_table *out, cb_error *err);

/* ---- many rows: engine_stream.c -------------------------------------------------------------- */

/* The same, and the number of rows that it touched. */
CB_MUST_USE cb_code cb_duck_change(cb_duck_session *session, const char *sql, uint64_t *changed,
                                   cb_error *err);

/*
 * Visit the rows of a SELECT as they come, a few thousand in memory at a time. Every value is cast
 * to VARCHAR by DuckDB, but BLOBs, which come as their bytes; NULL has a NULL text. Cells are
 * borrowed for the call. No other statement may run on the session before the end.
 */
typedef struct cb_duck_cell {
    const char *text; /* NUL-terminated */
    size_t size;
} cb_duck_cell;
typedef cb_code cb_duck_row(void *arg, const cb_duck_cell *cells, size_t count, cb_error *err);
CB_MUST_USE cb_code cb_duck_stream(cb_duck_session *session, const char *sql, cb_duck_row *visit,
                                   void *arg, cb_error *err);

/* Rows into a table of the current database; texts are cast to the columns' types. They are in
   when cb_duck_load_end has returned CB_OK, as part of the session's transaction. */
typedef struct cb_duck_load cb_duck_load;
CB_MUST_USE cb_code cb_duck_load_open(cb_duck_session *session, const char *schema,
                                      const char *table, cb_duck_load **out, cb_error *err);
/* The next cell of the row: a text, or the bytes of a BLOB; NULL is NULL. */
CB_MUST_USE cb_code cb_duck_load_cell(cb_duck_load *load, const char *data, size_t size,
                                      bool is_blob, cb_error *err);
CB_MUST_USE cb_code cb_duck_load_row(cb_duck_load *load, cb_error *err); /* the row is whole */
CB_MUST_USE cb_code cb_duck_load_end(cb_duck_load *load, cb_error *err);
void cb_duck_load_free(cb_duck_load *load); /* NULL is allowed */

/* Append `text` as SQL's 'text' or "name", its quotes doubled. */
CB_MUST_USE cb_code cb_duck_quote(cb_buf *sql, char quote, const char *text, cb_error *err);
/* Append SQL pieces in turn: plain text for '\0', else as cb_duck_quote; ends at a NULL text. */
typedef struct cb_duck_piece {
    char quote; /* '\0', '\'' or '"' */
    const char *text;
} cb_duck_piece;
CB_MUST_USE cb_code cb_duck_compose(cb_buf *sql, const cb_duck_piece *pieces, cb_error *err);

/* What the code of a failure is, from DuckDB's error type and text. Never CB_OK. */
cb_code cb_duck_classify(int error_type, const char *text);

/* ---- the file before the engine sees it ---------------------------------------------------- */

/* What the header pages say in the clear. Reading opens and closes the file: never while this
   process holds the engine's lock on it. */
typedef struct cb_duck_file {
    uint64_t version;          /* storage version number of the main header */
    uint64_t compatibility;    /* of the current database header; 0 when encrypted */
    uint64_t block_alloc_size; /* 262144 when encrypted */
    bool is_encrypted;
} cb_duck_file;
/* Errors: CB_NOT_FOUND, CB_DENIED, CB_IO; CB_UNSUPPORTED when it is no DuckDB file. */
CB_MUST_USE cb_code cb_duck_file_look(const char *path, cb_duck_file *out, cb_error *err);

/* Fails with CB_UNSUPPORTED when the file is encrypted or its path is no UTF-8: the engine would
   need a key, or could not be told the path. */
CB_MUST_USE cb_code cb_duck_file_openable(const char *path, cb_duck_file *out, cb_error *err);

#endif
