/*
 * engine_place.h - where the engine's parts are: the child's program, libduckdb, and the extensions
 * that were built for exactly that libduckdb.
 *
 *     FOLDER/<version>/libduckdb.so    FOLDER/<version>/extensions/ducklake.duckdb_extension
 *
 * where FOLDER is `duckdb` beside the program, or ../lib/canvasback/duckdb.
 */
#ifndef CB_SOURCE_DUCKLAKE_ENGINE_PLACE_H
#define CB_SOURCE_DUCKLAKE_ENGINE_PLACE_H

#include "base/ctx.h"
#include "base/file.h"

typedef struct cb_engine_place {
    char library[CB_PATH_MAX];
    char extensions[CB_PATH_MAX]; /* a folder */
    char version[64];             /* of DuckDB: "1.5.5"; "" unknown */
} cb_engine_place;

/*
 * `spec`: the newest that reads this spec version as it is; NULL: the newest. With --duckdb-library
 * it is that one, whatever its spec. Errors: CB_UNSUPPORTED, with what would help.
 */
CB_MUST_USE cb_code cb_engine_place_find(cb_ctx *ctx, const char *spec, cb_engine_place *out,
                                         cb_error *err);

/* The file of one extension; "" when it is not there. Also in DuckDB's own layout of folders. */
CB_MUST_USE cb_code cb_engine_place_extension(const cb_engine_place *place, const char *name,
                                              char out[CB_PATH_MAX], cb_error *err);

/* The child's program. CB_UNSUPPORTED when it is not installed. */
CB_MUST_USE cb_code cb_engine_place_child(cb_ctx *ctx, char out[CB_PATH_MAX], cb_error *err);

/* The spec version that the releases of DuckDB read and write: "0.3" for "1.4.4"; NULL unknown. */
const char *cb_engine_spec_of(const char *duckdb_version);

#endif
