/*
 * api.h - DuckDB's C API as far as we use it: our own prototypes of its functions, filled by dlsym.
 *
 * Everything here is part of DuckDB's stable C API and the same from 1.1 to 2.0, so one program
 * serves every library. No header of DuckDB is needed to build.
 *
 * Which library: settings.duckdb_library alone when it is given; else the newest version in the
 * program's own `duckdb/<version>/libduckdb.so` (a newer engine leaves old files old, so the
 * newest serves every plain file); else what the system's linker finds as libduckdb.so.
 *
 * The library stays loaded until the process ends: it starts threads and keeps thread-local state
 * that does not survive an unload. Loading it again returns the same one (dlopen counts), so there
 * is no table of ours to lock.
 *
 * Source: DuckDB's C API reference, and duckdb.h of 1.1 to 2.0.
 */
#ifndef CB_SOURCE_DUCKDB_API_H
#define CB_SOURCE_DUCKDB_API_H

#include "base/ctx.h"

typedef struct cb_duck_database_handle *cb_duck_database;
typedef struct cb_duck_connection_handle *cb_duck_connection;
typedef struct cb_duck_config_handle *cb_duck_config;

/* duckdb_result: three counts and three pointers that only DuckDB looks at. Zero-initialise. */
typedef struct cb_duck_result {
    uint64_t counts[3];
    void *pointers[3];
} cb_duck_result;

/* duckdb_state */
enum { CB_DUCK_SUCCESS = 0 };

/* duckdb_error_type, the members that decide something. */
typedef enum cb_duck_error {
    CB_DUCK_ERROR_SERIALIZATION = 9,
    CB_DUCK_ERROR_NOT_IMPLEMENTED = 11,
    CB_DUCK_ERROR_CATALOG = 13,
    CB_DUCK_ERROR_INDEX = 19,
    CB_DUCK_ERROR_IO = 28,
    CB_DUCK_ERROR_INTERRUPT = 29,
    CB_DUCK_ERROR_FATAL = 30,
    CB_DUCK_ERROR_INTERNAL = 31,
    CB_DUCK_ERROR_OUT_OF_MEMORY = 33,
    CB_DUCK_ERROR_PERMISSION = 34,
    CB_DUCK_ERROR_MISSING_EXTENSION = 39,
    CB_DUCK_ERROR_AUTOLOAD = 40,
} cb_duck_error;

typedef struct cb_duckdb_api {
    const char *(*library_version)(void); /* "v2.0.0" */
    void (*free)(void *memory);
    int (*create_config)(cb_duck_config *out);
    int (*set_config)(cb_duck_config config, const char *name, const char *value);
    void (*destroy_config)(cb_duck_config *config);
    int (*open_ext)(const char *path, cb_duck_database *out, cb_duck_config config,
                    char **out_error /* free() of this table */);
    void (*close)(cb_duck_database *database);
    int (*connect)(cb_duck_database database, cb_duck_connection *out);
    void (*interrupt)(cb_duck_connection connection);
    void (*disconnect)(cb_duck_connection *connection);
    int (*query)(cb_duck_connection connection, const char *sql, cb_duck_result *out);
    void (*destroy_result)(cb_duck_result *result); /* also after a failed query */
    const char *(*result_error)(cb_duck_result *result);
    int (*result_error_type)(cb_duck_result *result);
    uint64_t (*column_count)(cb_duck_result *result);
    uint64_t (*row_count)(cb_duck_result *result);
    /* NULL for NULL; else free() of this table. */
    char *(*value_varchar)(cb_duck_result *result, uint64_t column, uint64_t row);
} cb_duckdb_api;

/*
 * Load the library and fill the table. Any thread.
 * Errors: CB_UNSUPPORTED (none found, not loadable, or not a DuckDB), with a hint.
 */
CB_MUST_USE cb_code cb_duckdb_api_load(cb_ctx *ctx, cb_duckdb_api *out, cb_error *err);

/* Negative, zero or positive as version folder name a is older than, as new as, or newer than b:
   numbers are compared as numbers ("1.10.0" is newer than "1.9.2"). */
int cb_duckdb_version_compare(const char *a, const char *b);

#endif
