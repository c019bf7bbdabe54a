/*
 * duckdb.h - what the verbs need of DuckDB beyond source and target: the engine itself, reached
 * through libduckdb (dlopen, at first use; api.h has the prototypes).
 *
 * When no library is found: CB_UNSUPPORTED with a hint that says which option helps and what
 * still works without.
 */
#ifndef CB_SOURCE_DUCKDB_DUCKDB_H
#define CB_SOURCE_DUCKDB_DUCKDB_H

#include "base/ctx.h"

/*
 * Open the database at `path` (ours alone, with its log beside it) read-write, CHECKPOINT, close:
 * afterwards it is one file without a log. Errors: CB_UNSUPPORTED (no library, file newer than the
 * library, encrypted, an index of an extension), CB_CORRUPT, CB_NO_SPACE, CB_IO.
 */
CB_MUST_USE cb_code cb_duckdb_fold(cb_ctx *ctx, const char *path, cb_error *err);

/*
 * Logical copy through the engine: attach `source` read-only, COPY FROM DATABASE into a new file
 * at `target`. Errors: CB_BUSY (locked; the message names the pid), CB_UNSUPPORTED, CB_EXISTS.
 */
CB_MUST_USE cb_code cb_duckdb_attach_copy(cb_ctx *ctx, const char *source, const char *target,
                                          cb_error *err);

/* Open read-only and scan every table; see cb_engine.deep. */
CB_MUST_USE cb_code cb_duckdb_scan(cb_ctx *ctx, const char *path,
                                   cb_code (*visit)(void *arg, const char *table, uint64_t rows,
                                                    cb_error *err),
                                   void *arg, cb_error *err);

/*
 * Visit each block of the file at `path` that holds data of a table, with that table. Reads the
 * catalog alone, no data. Tables whose description cannot be read are left out. Errors: those of
 * cb_duckdb_scan.
 */
CB_MUST_USE cb_code cb_duckdb_owners(cb_ctx *ctx, const char *path,
                                     cb_code (*visit)(void *arg, const char *table, uint64_t block,
                                                      cb_error *err),
                                     void *arg, cb_error *err);

/* The process that holds the engine's lock on the file (F_GETLK); 0 nobody, -1 somebody whose pid
   cannot be seen from here. */
CB_MUST_USE cb_code cb_duckdb_holder(const char *path, int64_t *pid, cb_error *err);

/*
 * Move a finished, closed database from `from` to `to` (same folder), with its log when it has one,
 * by the same journalled exchange as restore: what stood at `to`, logs included, goes aside as one.
 * Errors: CB_EXISTS (something is there, no force), CB_BUSY (open in a process), CB_NO_SPACE,
 * CB_IO.
 */
CB_MUST_USE cb_code cb_duckdb_place(cb_ctx *ctx, const char *from, const char *to, bool force,
                                    cb_error *err);

#endif
