/*
 * address.h - which catalog a lake's address means.
 *
 *     ducklake:meta.ducklake                      a DuckDB file (or a SQLite file, by its magic)
 *     ducklake:duckdb:PATH   ducklake:sqlite:PATH
 *     ducklake:postgres:dbname=lake host=...      a libpq string; also postgresql:, and
 *     ducklake:postgres://user@host/db            a libpq URI (postgres: or ducklake: may be left
 *                                                 out before it)
 *
 * It is DuckDB's own ATTACH string. Several lakes share a PostgreSQL database in schemas of their
 * own: the schema is an option (METADATA_SCHEMA), not part of the address.
 */
#ifndef CB_SOURCE_DUCKLAKE_ADDRESS_H
#define CB_SOURCE_DUCKLAKE_ADDRESS_H

#include "base/ctx.h"
#include "base/file.h"

typedef enum cb_lake_kind { CB_LAKE_DUCKDB, CB_LAKE_SQLITE, CB_LAKE_POSTGRES } cb_lake_kind;

typedef struct cb_lake_address {
    cb_lake_kind kind;
    char path[CB_PATH_MAX]; /* of a file: absolute */
    char conninfo[4096];    /* of PostgreSQL, as given: may hold a password, is never shown */
    char schema[256];       /* where the tables are: "main", "public", or as asked for */
    bool schema_is_default;
    char shown[CB_PATH_MAX + 64]; /* canonical, "ducklake:sqlite:/abs/meta.sqlite", no secrets */
    /* Of a DuckDB file that is made (CB_LAKE_CREATE): the lake's spec version, "0.3", whose oldest
       DuckDB is to open it; "": the newest. For whoever makes one to set. */
    char for_version[16];
    char name[65]; /* default name: file without suffix, or database; may be "" */
} cb_lake_address;

/*
 * `text`: with or without "ducklake:" in front. `schema` NULL: the default of the kind. The file
 * need not exist. Touches no network. Errors: CB_USAGE (says what would be right), CB_TOO_LARGE.
 */
CB_MUST_USE cb_code cb_lake_address_parse(const char *text, const char *schema,
                                          cb_lake_address *out, cb_error *err);

const char *cb_lake_kind_name(cb_lake_kind kind); /* "duckdb", "sqlite", "postgres" */

#endif
