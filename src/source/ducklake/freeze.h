/*
 * freeze.h - a catalog at one instant, as a private copy in a scratch folder, in its kind's own
 * form; and such a copy made a live catalog again.
 *
 *     duckdb     FOLDER/catalog.duckdb and, when it has commits in its log,
 * FOLDER/catalog.duckdb.wal by the hot copy: the live file is never opened by the engine sqlite
 * FOLDER/catalog.sqlite, by SQLite's backup API postgres   FOLDER/schema (CREATE statements, and
 * what each table is), FOLDER/TABLE/NNNNNNNN: the rows as COPY text, cut between rows where their
 * content says so, so that an equal run of rows is an equal segment whatever stands before it; read
 * in one REPEATABLE READ READ ONLY transaction
 *
 * These files are the items "catalog/..." of a backup, byte for byte.
 */
#ifndef CB_SOURCE_DUCKLAKE_FREEZE_H
#define CB_SOURCE_DUCKLAKE_FREEZE_H

#include "source/ducklake/catalog.h"
#include "source/ducklake/straddle.h"
#include "source/source.h"

typedef struct cb_lake_frozen {
    cb_lake_kind kind;
    int64_t point_us; /* the copy stands for this instant */
    unsigned passes;
    const char *confirmed; /* of the hot copy; "snapshot" for PostgreSQL */
    uint64_t commits_in_log;
} cb_lake_frozen;

/*
 * Copy the catalog into the empty folder. The conversation that sees exactly what was copied is
 * handed out too: PostgreSQL's transaction, or the private copy opened for reading. The caller
 * closes it. Errors: those of cb_lake_db_open and of the kind's own source.
 */
CB_MUST_USE cb_code cb_lake_freeze(cb_ctx *ctx, const cb_lake_address *address, const char *folder,
                                   const cb_source_options *options, cb_lake_frozen *out,
                                   cb_lake_db **db, cb_error *err);

/* A conversation with a private copy: DuckDB and SQLite files as they are (WRITE changes the copy);
   a PostgreSQL copy is loaded into a scratch SQLite file in `folder` first: then the kind of the
   conversation is SQLite. */
CB_MUST_USE cb_code cb_lake_copy_open(cb_ctx *ctx, const char *folder, cb_lake_kind kind,
                                      cb_lake_mode mode, cb_lake_db **out, cb_error *err);
/* The same of a lake in a schema other than the default one (NULL: that). */
CB_MUST_USE cb_code cb_lake_copy_open_in(cb_ctx *ctx, const char *folder, cb_lake_kind kind,
                                         const char *schema, cb_lake_mode mode, cb_lake_db **out,
                                         cb_error *err);

/* What is done to a copy before it becomes a live catalog. */
typedef struct cb_lake_changes {
    const char *data_path; /* NULL: as it is */
    /* Absolute paths that begin with `from` begin with `to` afterwards; in order, first match. */
    struct cb_lake_prefix {
        const char *from, *to;
    } const *prefixes;
    size_t prefix_count;
    bool cut; /* to `snapshot`: as if nothing had been committed after it */
    int64_t snapshot;
    /* Files with rows of later snapshots too. NULL: a cut that meets one fails (CB_UNSUPPORTED);
       else it lists them there and leaves them, and once they were read, hides those rows. */
    cb_lake_straddle *straddle;
    const char *const *tables; /* keep only these ("main.orders"); none: all */
    size_t table_count;
    const char *copy_schema; /* publish: where a DuckDB copy has its tables; NULL the default */
} cb_lake_changes;

/*
 * Apply to a conversation opened for writing (any kind); the caller commits. Counts of what was
 * changed, for reports. Errors: CB_NOT_FOUND (no such snapshot, no such table), CB_UNSUPPORTED (see
 * `straddle`).
 */
typedef struct cb_lake_changed {
    uint64_t paths, snapshots_removed, files_removed, tables_removed;
} cb_lake_changed;
CB_MUST_USE cb_code cb_lake_change(cb_lake_db *db, const cb_lake_schema *schema,
                                   const cb_lake_changes *changes, cb_lake_changed *out,
                                   cb_error *err);

/* Is it one of these words, each a table or schema.table as a user writes them? */
bool cb_lake_table_is_wanted(const char *const *wanted, size_t count, const char *schema,
                             const char *table);

/*
 * Make a live catalog at `address` from a private copy: of the same kind in its own form, of
 * another typed table by table. `changes` are made on the way, before anybody can see them. All or
 * nothing: a file takes its place by the engine's own exchange, under its lock; PostgreSQL in one
 * transaction under an advisory lock. `replace`: a lake that is there goes; else CB_EXISTS.
 * Errors: CB_BUSY (open in process N), CB_EXISTS, CB_DENIED, CB_NO_SPACE, CB_UNSUPPORTED.
 */
CB_MUST_USE cb_code cb_lake_publish(cb_ctx *ctx, const char *folder, cb_lake_kind kind,
                                    const cb_lake_address *address, const cb_lake_changes *changes,
                                    bool replace, cb_lake_changed *changed, cb_error *err);

/* Every table of `from` into `to` (opened CREATE), typed: the caller commits `to`. `version`
   decides the types of inlined user columns. */
CB_MUST_USE cb_code cb_lake_convert(cb_ctx *ctx, cb_lake_db *from, cb_lake_db *to, cb_error *err);

/* Is there a lake at the address? Never opens a live DuckDB file with the engine: a file that
   exists counts. */
CB_MUST_USE cb_code cb_lake_exists(cb_ctx *ctx, const cb_lake_address *address, bool *out,
                                   cb_error *err);

/*
 * Change a live catalog in one step that others see whole or not at all: PostgreSQL and SQLite in a
 * transaction; a DuckDB file in a private copy that takes its place (CB_BUSY while a process has it
 * open). `work` gets a conversation for writing; unless it returns CB_OK nothing changes. For a
 * dry run it may end with `*keep` false: nothing changes and the result is CB_OK.
 */
typedef cb_code cb_lake_work(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                             cb_error *err);
CB_MUST_USE cb_code cb_lake_transact(cb_ctx *ctx, const cb_lake_address *address,
                                     cb_lake_work *work, void *arg, cb_error *err);

/*
 * The same for a DuckDB file, by other means than a conversation: `work` changes FOLDER's
 * catalog.duckdb, in which nothing is open, and leaves it closed. CB_BUSY when the live file was
 * changed since it was copied: then nothing happened.
 */
typedef cb_code cb_lake_copy_work(void *arg, const char *folder, bool *keep, cb_error *err);
CB_MUST_USE cb_code cb_lake_transact_copy(cb_ctx *ctx, const cb_lake_address *address,
                                          cb_lake_copy_work *work, void *arg, cb_error *err);

/*
 * Look at a live catalog without disturbing it: a read transaction, or for a DuckDB file a private
 * hot copy in a scratch folder that goes with the conversation's end.
 */
CB_MUST_USE cb_code cb_lake_look(cb_ctx *ctx, const cb_lake_address *address, cb_lake_work *work,
                                 void *arg, cb_error *err);

#endif
