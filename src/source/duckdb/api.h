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
typedef struct cb_duck_statement_handle *cb_duck_statement;
typedef struct cb_duck_pending_handle *cb_duck_pending;
typedef struct cb_duck_chunk_handle *cb_duck_chunk;
typedef struct cb_duck_vector_handle *cb_duck_vector; /* owned by its chunk */
typedef struct cb_duck_appender_handle *cb_duck_appender;

/* duckdb_string_t: what a vector of VARCHAR or BLOB holds. Short texts are inside. */
enum { CB_DUCK_INLINED_MAX = 12 };
typedef union cb_duck_string {
    struct {
        uint32_t length;
        char text[CB_DUCK_INLINED_MAX];
    } inlined;
    struct {
        uint32_t length;
        char prefix[4];
        const char *text;
    } pointed;
} cb_duck_string;

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
    uint64_t (*rows_changed)(cb_duck_result *result);
    /* Results that come piece by piece; a prepare that failed has an error, and is destroyed too.
     */
    int (*prepare)(cb_duck_connection connection, const char *sql, cb_duck_statement *out);
    const char *(*prepare_error)(cb_duck_statement statement);
    void (*destroy_prepare)(cb_duck_statement *statement);
    int (*pending_streaming)(cb_duck_statement statement, cb_duck_pending *out);
    const char *(*pending_error)(cb_duck_pending pending);
    int (*execute_pending)(cb_duck_pending pending, cb_duck_result *out);
    void (*destroy_pending)(cb_duck_pending *pending);
    cb_duck_chunk (*fetch_chunk)(cb_duck_result result); /* NULL: the end, or an error */
    void (*destroy_chunk)(cb_duck_chunk *chunk);
    uint64_t (*chunk_size)(cb_duck_chunk chunk);
    cb_duck_vector (*chunk_vector)(cb_duck_chunk chunk, uint64_t column);
    void *(*vector_data)(cb_duck_vector vector);
    uint64_t *(*vector_validity)(cb_duck_vector vector); /* a bit a row; NULL: all are valid */
    /* Many rows in. */
    int (*appender_create)(cb_duck_connection connection, const char *schema, const char *table,
                           cb_duck_appender *out);
    const char *(*appender_error)(cb_duck_appender appender);
    int (*appender_end_row)(cb_duck_appender appender);
    int (*appender_close)(cb_duck_appender appender); /* flushes */
    int (*appender_destroy)(cb_duck_appender *appender);
    int (*append_null)(cb_duck_appender appender);
    int (*append_text)(cb_duck_appender appender, const char *text, uint64_t length);
    int (*append_blob)(cb_duck_appender appender, const void *data, uint64_t length);
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
