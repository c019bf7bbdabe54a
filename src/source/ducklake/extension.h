/*
 * extension.h - DuckDB itself with the DuckLake extension, for what only it can do: attach a lake,
 * migrate it, count its tables.
 *
 * The library is the newest beside the program that has its extensions beside it
 * (duckdb/<version>/libduckdb.so and duckdb/<version>/extensions/ducklake.duckdb_extension), or
 * --duckdb-library with --extension-directory. An extension loads only in the version that it was
 * built for; nothing is looked for on the network.
 *
 * It runs in a child process, the program canvasback-lake-engine beside this one: another libduckdb
 * may be loaded here, DuckDB's extensions bring a SQLite and an OpenSSL of their own whose names
 * and locks would meet ours, and an engine that falls over must not take a backup with it. Secrets
 * go to it by a socket, never by its command line or environment.
 *
 * Several versions may lie there: an older one reads lakes of its own spec version as they are,
 * which the newest cannot do without migrating them.
 */
#ifndef CB_SOURCE_DUCKLAKE_EXTENSION_H
#define CB_SOURCE_DUCKLAKE_EXTENSION_H

#include "source/ducklake/address.h"
#include "source/ducklake/moments.h"

typedef struct cb_lake_engine cb_lake_engine;

typedef struct cb_lake_engine_options {
    const char *data_path; /* OVERRIDE_DATA_PATH; NULL: as the catalog says */
    const char *hint;      /* an address with settings for its bucket; NULL: none */
    bool write;            /* else READ_ONLY */
    bool migrate;          /* AUTOMATIC_MIGRATION TRUE (with write) */
    /* The engine that reads this spec version as it is; NULL: the newest there is. */
    const char *version;
} cb_lake_engine_options;

/* Attach as database "lake"; a lake that is not there is never made. Errors: CB_UNSUPPORTED (no
   library, no extension, another spec version: the message has both), CB_BUSY, CB_DENIED,
   CB_CORRUPT, CB_CANCELLED. */
CB_MUST_USE cb_code cb_lake_engine_open(cb_ctx *ctx, const cb_lake_address *address,
                                        const cb_lake_engine_options *options, cb_lake_engine **out,
                                        cb_error *err);
/* Detaches and waits for the child's end; CB_OK only when it detached well. NULL is allowed. */
CB_MUST_USE cb_code cb_lake_engine_close(cb_lake_engine *engine, cb_error *err);
void cb_lake_engine_cleanup(cb_lake_engine **engine); /* for CB_CLEANUP: closes, errors ignored */

/* All rows as text, for results of up to 64 MiB. */
typedef cb_code cb_lake_engine_row(void *arg, const char *const *cells, size_t count,
                                   cb_error *err);
CB_MUST_USE cb_code cb_lake_engine_query(cb_lake_engine *engine, const char *sql,
                                         cb_lake_engine_row *visit, void *arg, cb_error *err);

/* Is there an engine that reads this spec version without migrating it? */
CB_MUST_USE bool cb_lake_engine_has(cb_ctx *ctx, const char *version);

/* The spec version that the loaded extension makes and wants ("1.0"): asked of the extension, by a
   lake in memory of its own. */
CB_MUST_USE cb_code cb_lake_engine_target(cb_ctx *ctx, cb_arena *arena, const char **version,
                                          cb_error *err);

/*
 * Read tables as they were at some moments (moments.h) and visit each one's row count and a
 * fingerprint of its rows that does not depend on their order: equal exactly when the contents are.
 * A table that the engine cannot read is visited with `failure` set; the others go on.
 */
typedef struct cb_lake_fingerprint {
    size_t moment; /* of the list */
    uint64_t rows;
    const char *digest;
    const char *failure; /* NULL: it was read */
    bool is_missing;     /* it failed since there is no such table at that snapshot */
} cb_lake_fingerprint;
typedef cb_code cb_lake_fingerprint_visit(void *arg, const cb_lake_fingerprint *seen,
                                          cb_error *err);
CB_MUST_USE cb_code cb_lake_engine_read_all(cb_lake_engine *engine, const cb_lake_moments *moments,
                                            cb_lake_fingerprint_visit *visit, void *arg,
                                            cb_error *err);

#endif
