/*
 * db_internal.h - what the three kinds of a catalog's database share: a table of operations, and
 * the making of a cb_lake_schema.
 *
 * db.c checks, composes and counts; a kind only talks to its engine. SQL that reaches a kind is
 * composed already.
 */
#ifndef CB_SOURCE_DUCKLAKE_DB_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_DB_INTERNAL_H

#include "source/ducklake/db.h"

/* Tables of a lake, by listing, are those whose name begins so. */
#define CB_LAKE_PREFIX "ducklake_"

typedef struct cb_lake_builder cb_lake_builder;

typedef struct cb_lake_db_ops {
    cb_code (*query)(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg, cb_error *err);
    cb_code (*exec)(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err);
    cb_code (*commit)(cb_lake_db *db, cb_error *err);
    void (*close)(cb_lake_db *db); /* frees the whole conversation */
    cb_code (*qualify)(const cb_lake_db *db, cb_buf *sql, const char *table, cb_error *err);
    cb_code (*list)(cb_lake_db *db, cb_lake_builder *builder, cb_error *err);
    const char *(*declare)(cb_lake_type type); /* as DuckLake declares it in this kind */
    cb_code (*loader_open)(cb_lake_db *db, cb_lake_loader *loader, cb_error *err);
    cb_code (*loader_row)(cb_lake_loader *loader, const cb_lake_cell *cells, cb_error *err);
    cb_code (*loader_end)(cb_lake_loader *loader, cb_error *err);
    void (*loader_free)(cb_lake_loader *loader); /* what `own` points to; `own` may be NULL */
} cb_lake_db_ops;

/* First member of each kind's own struct. */
struct cb_lake_db {
    const cb_lake_db_ops *ops;
    cb_ctx *ctx;
    cb_lake_address address;
    cb_lake_mode mode;
    bool is_done;   /* committed: only close is left */
    bool is_broken; /* something failed: no commit, as PostgreSQL has it, for every kind */
    bool is_used;   /* a query, load or copy is under way: the connection has no room for another */
};

struct cb_lake_loader {
    cb_lake_db *db;
    const cb_lake_table *table; /* borrowed until the loader is freed */
    void *own;                  /* of the kind */
    uint64_t rows;
    bool is_over;
};

/* The doors of the three kinds: `*out` is NULL on error. */
cb_code cb_lake_postgres_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                              cb_lake_db **out, cb_error *err);
cb_code cb_lake_sqlite_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                            cb_lake_db **out, cb_error *err);
cb_code cb_lake_duckdb_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                            cb_lake_db **out, cb_error *err);

/* PostgreSQL alone has them. */
cb_code cb_lake_postgres_copy_out(cb_lake_db *db, const char *table, cb_lake_copy_visit *visit,
                                  void *arg, cb_error *err);
cb_code cb_lake_postgres_copy_begin(cb_lake_db *db, const char *table, cb_error *err);
cb_code cb_lake_postgres_copy_data(cb_lake_db *db, cb_bytes data, cb_error *err);
cb_code cb_lake_postgres_copy_end(cb_lake_db *db, cb_error *err);

/* ---- db_schema.c: making a cb_lake_schema -----------------------------------------------------
 */

/* Columns come table by table, in order; then keys and extras of tables that are there (of others
   they are passed over). */
CB_MUST_USE cb_code cb_lake_builder_column(cb_lake_builder *builder, const char *table,
                                           const char *name, const char *declared, bool not_null,
                                           cb_error *err);
CB_MUST_USE cb_code cb_lake_builder_key(cb_lake_builder *builder, const char *table,
                                        const char *column, cb_error *err);
CB_MUST_USE cb_code cb_lake_builder_extra(cb_lake_builder *builder, const char *table,
                                          const char *statement, cb_error *err);

/* What a declared type is. `table` NULL: no table of the specification. */
cb_lake_type cb_lake_type_of(cb_lake_kind kind, const char *table, const char *column,
                             const char *declared);
/* "ducklake_inlined_data_7_3", "ducklake_inlined_delete_7": their columns are the users'. */
bool cb_lake_is_inlined(const char *table);

/* ---- db_create.c: new files appear whole ------------------------------------------------------
 */

/* A name beside `path` that nobody has, to build a new file under. */
CB_MUST_USE cb_code cb_lake_create_name(cb_ctx *ctx, const char *path, char out[CB_PATH_MAX],
                                        cb_error *err);
/* Sync the finished `made` and give it its name, which must still be free. CB_EXISTS. */
CB_MUST_USE cb_code cb_lake_create_publish(const char *made, const char *path, cb_error *err);
/* Remove what was being made, its logs too. */
void cb_lake_create_abandon(const char *made);

#endif
