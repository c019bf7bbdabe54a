/*
 * db.h - one conversation with a catalog's database in SQL, whichever of the three it is.
 *
 * A conversation is one transaction from open to close: with CB_LAKE_READ everything is seen as of
 * one instant (PostgreSQL: REPEATABLE READ READ ONLY; SQLite: a read transaction; DuckDB: a file
 * that is ours alone or that nobody has open). With CB_LAKE_WRITE nothing is there for anybody
 * else before cb_lake_db_commit; close without it leaves all as it was.
 *
 * Values travel as text, the same text for every kind: integers in decimal, booleans "true" and
 * "false", timestamps "2026-11-21 14:00:00.123456+00" in UTC, uuids with dashes, floats so that
 * they read back exactly ("nan", "inf", "-inf"), BLOB as its bytes, everything else as DuckDB casts
 * it to VARCHAR. NULL is a NULL text. SQLite has no such types: a cell is what the column's
 * neutral type says it is, also through subqueries; of an expression, what its name (AS ...) says
 * when it is that of a column of the specification. Elsewhere a boolean is 1 or 0 there.
 *
 * SQL that all three understand: plain SELECT/INSERT/UPDATE/DELETE with "quoted" names and 'quoted'
 * texts, CASE, COALESCE, ||, LIKE ... ESCAPE, CAST to BIGINT and VARCHAR, WITH, joins. Tables are
 * written as cb_lake_db_table says (schema-qualified).
 *
 * One thing at a time: within a visitor, or while rows are loaded or copied, the conversation takes
 * no other statement (CB_INTERNAL); another conversation does. But never two conversations of one
 * process on the same DuckDB file: the engine's lock does not see them (nor, of a SQLite file,
 * while one writes). A statement or load that failed spoils the transaction: it cannot be
 * committed. To end a query early by a code of one's own leaves it sound, but on PostgreSQL only
 * when what is left can be passed over in two seconds.
 *
 * Threads: a conversation belongs to one thread at a time. Memory: one batch of rows; DuckDB: up to
 * 128 MiB of buffers, and with WRITE what a session has (engine.h).
 */
#ifndef CB_SOURCE_DUCKLAKE_DB_H
#define CB_SOURCE_DUCKLAKE_DB_H

#include "source/ducklake/address.h"

typedef struct cb_lake_db cb_lake_db;

typedef enum cb_lake_mode {
    CB_LAKE_READ,
    CB_LAKE_WRITE,  /* an existing catalog; PostgreSQL: with an advisory lock for this program */
    CB_LAKE_CREATE, /* a file that does not exist yet; a schema that has no lake tables */
} cb_lake_mode;

typedef struct cb_lake_cell {
    const char *text; /* NULL: NULL; NUL-terminated, may hold NULs when it is a BLOB */
    size_t size;
} cb_lake_cell;

/* Cells are borrowed until the visitor returns. Any code but CB_OK ends the query with it. */
typedef cb_code cb_lake_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err);

/*
 * Errors: CB_NOT_FOUND (no such file, database or server that knows it), CB_DENIED (password,
 * rights), CB_RETRY (server not reachable), CB_BUSY (locked by process N; waits for
 * settings.lock_wait_us), CB_UNSUPPORTED (no libduckdb that reads the file), CB_CORRUPT,
 * CB_EXISTS (CREATE, and something is there).
 */
CB_MUST_USE cb_code cb_lake_db_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                                    cb_lake_db **out, cb_error *err);
CB_MUST_USE cb_code cb_lake_db_commit(cb_lake_db *db, cb_error *err); /* then only close */
void cb_lake_db_close(cb_lake_db *db);                                /* NULL is allowed */
void cb_lake_db_cleanup(cb_lake_db **db);                             /* for CB_CLEANUP */

/* PostgreSQL: make the database that the address names, which is not there. An info event says so.
 */
CB_MUST_USE cb_code cb_lake_database_make(cb_ctx *ctx, const cb_lake_address *address,
                                          cb_error *err);

cb_lake_kind cb_lake_db_kind(const cb_lake_db *db);
const cb_lake_address *cb_lake_db_address(const cb_lake_db *db);
/* A private copy: messages name what it is a copy of. */
void cb_lake_db_show_as(cb_lake_db *db, const char *shown);
/* Append "schema"."table". */
CB_MUST_USE cb_code cb_lake_db_table(const cb_lake_db *db, cb_buf *sql, const char *table,
                                     cb_error *err);
/* Replace each {name} in `format` by the qualified table ducklake_name, then append to `sql`:
   "SELECT max(snapshot_id) FROM {snapshot}". */
CB_MUST_USE cb_code cb_lake_db_compose(const cb_lake_db *db, cb_buf *sql, const char *format,
                                       cb_error *err);

/* Rows as they come, never all in memory. `sql` is composed first (see above). */
CB_MUST_USE cb_code cb_lake_db_query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg,
                                     cb_error *err);
/* Run; *changed: rows touched (NULL: not asked). */
CB_MUST_USE cb_code cb_lake_db_exec(cb_lake_db *db, const char *sql, uint64_t *changed,
                                    cb_error *err);
/* The single integer that a query gives; `fallback` for no row or NULL. */
CB_MUST_USE cb_code cb_lake_db_number(cb_lake_db *db, const char *sql, int64_t fallback,
                                      int64_t *out, cb_error *err);
/* The single text; NULL for no row or NULL. */
CB_MUST_USE cb_code cb_lake_db_text(cb_lake_db *db, const char *sql, cb_arena *arena,
                                    const char **out, cb_error *err);

/* ---- what tables there are ------------------------------------------------------------------ */

/* Neutral types: what a column is, whichever kind holds it. */
typedef enum cb_lake_type {
    CB_LAKE_BIGINT,
    CB_LAKE_BOOLEAN,
    CB_LAKE_VARCHAR,
    CB_LAKE_UUID,
    CB_LAKE_TIMESTAMPTZ,
    CB_LAKE_BLOB,
    CB_LAKE_OTHER, /* of an inlined user column: `declared` says what */
} cb_lake_type;

typedef struct cb_lake_column {
    const char *name;
    cb_lake_type type;
    const char *declared; /* as this kind of database writes it: "numeric(18,3)", "VARCHAR" */
    bool not_null;
} cb_lake_column;

typedef struct cb_lake_table {
    const char *name; /* "ducklake_snapshot" */
    const cb_lake_column *columns;
    size_t column_count;
    const char *const *key; /* columns of the primary key, in order */
    size_t key_count;
    /* Further indexes and constraints, as statements of this kind that make them; tables are named
       in them without a schema, which is that of the conversation. */
    const char *const *extra;
    size_t extra_count;
} cb_lake_table;

typedef struct cb_lake_schema {
    const cb_lake_table *tables; /* every one whose name begins with "ducklake_", by name */
    size_t count;
    cb_arena arena;
} cb_lake_schema;

/* By listing what is there, never from a fixed list. No table: CB_OK with count 0. */
CB_MUST_USE cb_code cb_lake_schema_read(cb_lake_db *db, cb_lake_schema *out, cb_error *err);
void cb_lake_schema_free(cb_lake_schema *schema);
const cb_lake_table *cb_lake_schema_find(const cb_lake_schema *schema, const char *name);
bool cb_lake_table_has(const cb_lake_table *table, const char *column);

/* ---- many rows ------------------------------------------------------------------------------ */

/* Make a table, its key and its `extra`; `declared` NULL in a column: the way DuckLake itself
   declares its neutral type in this kind (CB_LAKE_OTHER has none). Errors: CB_EXISTS. */
CB_MUST_USE cb_code cb_lake_db_create(cb_lake_db *db, const cb_lake_table *table, cb_error *err);

/* Rows into an existing table, as fast as the kind can (COPY, a prepared INSERT, the appender).
   Cells in the order of table->columns, in the texts described above. */
typedef struct cb_lake_loader cb_lake_loader;
CB_MUST_USE cb_code cb_lake_loader_open(cb_lake_db *db, const cb_lake_table *table,
                                        cb_lake_loader **out, cb_error *err);
CB_MUST_USE cb_code cb_lake_loader_row(cb_lake_loader *loader, const cb_lake_cell *cells,
                                       cb_error *err);
CB_MUST_USE cb_code cb_lake_loader_end(cb_lake_loader *loader, cb_error *err); /* all are in */
void cb_lake_loader_free(cb_lake_loader *loader);                              /* NULL is allowed */

/* PostgreSQL: the table's rows as COPY text, and back; the exact bytes of a backup's segments. The
   visitor gets whole rows, with their newline. Errors: CB_UNSUPPORTED for other kinds. */
typedef cb_code cb_lake_copy_visit(void *arg, cb_bytes row, cb_error *err);
CB_MUST_USE cb_code cb_lake_db_copy_out(cb_lake_db *db, const char *table,
                                        cb_lake_copy_visit *visit, void *arg, cb_error *err);
CB_MUST_USE cb_code cb_lake_db_copy_begin(cb_lake_db *db, const char *table, cb_error *err);
CB_MUST_USE cb_code cb_lake_db_copy_data(cb_lake_db *db, cb_bytes data, cb_error *err);
CB_MUST_USE cb_code cb_lake_db_copy_end(cb_lake_db *db, cb_error *err);

/* SQL's 'text' appended with its quotes doubled; NULL appends NULL. */
CB_MUST_USE cb_code cb_lake_quote(cb_buf *sql, const char *text, cb_error *err);
/* The same as a "name". */
CB_MUST_USE cb_code cb_lake_quote_name(cb_buf *sql, const char *name, cb_error *err);

#endif
