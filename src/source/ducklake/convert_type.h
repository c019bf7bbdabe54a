/*
 * convert_type.h - how each kind of catalog holds a column of users' rows. Found by looking at what
 * DuckLake 1.5 makes of every type in each of them.
 *
 * In between a type is written as DuckDB does: "DECIMAL(18,3)", "STRUCT(a INTEGER)[]".
 * Internal to this folder.
 */
#ifndef CB_SOURCE_DUCKLAKE_CONVERT_TYPE_H
#define CB_SOURCE_DUCKLAKE_CONVERT_TYPE_H

#include "source/ducklake/db.h"

/*
 * A column of `kind` for values of a DuckDB type; `name` stays as it is. `is_old`: in a lake of
 * spec 0.3 or before, whose readers take PostgreSQL's bytea for a BLOB where a text is meant.
 * CB_UNSUPPORTED: DuckLake does not inline that type there (VARIANT).
 */
CB_MUST_USE cb_code cb_lake_type_hold(cb_lake_kind kind, bool is_old, const char *type,
                                      cb_arena *arena, cb_lake_column *out, cb_error *err);

/*
 * The types of a table's columns at the beginning of a schema version, from ducklake_column: one
 * for each of `columns`, by name; NULL where the catalog does not say.
 */
CB_MUST_USE cb_code cb_lake_type_list(cb_lake_db *db, const cb_lake_schema *schema,
                                      int64_t table_id, int64_t schema_version,
                                      const cb_lake_column *columns, size_t count, cb_arena *arena,
                                      const char **out, cb_error *err);

#endif
