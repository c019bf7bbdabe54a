/*
 * copy_open.c - a conversation with a private copy of a catalog.
 *
 * Copies of files are databases as they lie there. A PostgreSQL copy is loaded into a SQLite file
 * beside it first; that file has its name only when all is in it, so that a second opening finds
 * either none or a whole one.
 */
#include "source/ducklake/freeze.h"
#include "source/ducklake/segments.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- loading a PostgreSQL copy -------------------------------------------------------------- */

static cb_code put_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_loader_row(arg, cells, err);
}

static void loader_cleanup(cb_lake_loader **loader)
{
    cb_lake_loader_free(*loader);
}

/* Users' columns are text there: what the server wrote, to the last digit. */
static cb_code neutral_columns(const cb_lake_table *table, cb_arena *arena,
                               const cb_lake_column **out, cb_error *err)
{
    cb_lake_column *columns;
    cb_code code = cb_arena_alloc(arena, table->column_count * sizeof(*columns) + 1, &columns, err);

    for (size_t i = 0; code == CB_OK && i < table->column_count; i++) {
        columns[i] = table->columns[i];
        columns[i].declared = NULL;
        if (columns[i].type == CB_LAKE_OTHER)
            columns[i].type = CB_LAKE_VARCHAR;
    }
    *out = columns;
    return code;
}

static cb_code load_table(cb_ctx *ctx, const cb_segments *segments, size_t number, cb_lake_db *db,
                          cb_arena *arena, cb_error *err)
{
    CB_CLEANUP(loader_cleanup) cb_lake_loader *loader = NULL;
    cb_lake_table table = segments->schema.tables[number];
    cb_code code = neutral_columns(&table, arena, &table.columns, err);

    table.extra_count = 0; /* in the words of another kind, and not needed to read */
    if (code == CB_OK)
        code = cb_lake_db_create(db, &table, err);
    if (code == CB_OK)
        code = cb_lake_loader_open(db, &table, &loader, err);
    if (code == CB_OK)
        code = cb_segments_rows(ctx, segments, number, put_row, loader, err);
    return code == CB_OK ? cb_lake_loader_end(loader, err) : code;
}

static cb_code load_all(cb_ctx *ctx, const cb_segments *segments, const cb_lake_address *address,
                        cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_code code = cb_lake_db_open(ctx, address, CB_LAKE_CREATE, &db, err);

    for (size_t i = 0; code == CB_OK && i < segments->schema.count; i++)
        code = load_table(ctx, segments, i, db, &arena, err);
    return code == CB_OK ? cb_lake_db_commit(db, err) : code;
}

static cb_code file_address(const char *scheme, const char *folder, const char *name,
                            const char *schema, cb_lake_address *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_code code = cb_buf_format(&text, err, "%s:%s/%s", scheme, folder, name);

    return code == CB_OK ? cb_lake_address_parse((const char *)text.data, schema, out, err) : code;
}

static cb_code load(cb_ctx *ctx, const char *folder, const char *path, cb_error *err)
{
    cb_lake_address *partial = calloc(1, sizeof(*partial));
    cb_segments segments;
    cb_code code;

    if (partial == NULL)
        return cb_fail_memory(err, sizeof(*partial));
    code = cb_segments_open(folder, &segments, err);
    if (code == CB_OK)
        code = file_address("sqlite", folder, "loading.sqlite", NULL, partial, err);
    if (code == CB_OK && unlink(partial->path) != 0 && errno != ENOENT) /* of a run that died */
        code = cb_fail_errno(err, errno, "cannot remove '%s'", partial->path);
    if (code == CB_OK)
        code = load_all(ctx, &segments, partial, err);
    if (code == CB_OK && rename(partial->path, path) != 0)
        code = cb_fail_errno(err, errno, "cannot rename '%s'", partial->path);
    if (code != CB_OK)
        cb_context(err, "loading the catalog's copy");
    cb_segments_close(&segments);
    free(partial);
    return code;
}

/* ---- opening -------------------------------------------------------------------------------- */

static cb_code open_copy(cb_ctx *ctx, const char *folder, cb_lake_kind kind, const char *schema,
                         cb_lake_mode mode, cb_lake_address *address, cb_lake_db **out,
                         cb_error *err)
{
    cb_code code = CB_OK;

    switch (kind) {
    case CB_LAKE_DUCKDB:
        code = file_address("duckdb", folder, "catalog.duckdb", schema, address, err);
        break;
    case CB_LAKE_SQLITE: /* has one schema, whatever it was called */
        code = file_address("sqlite", folder, "catalog.sqlite", NULL, address, err);
        break;
    case CB_LAKE_POSTGRES: /* only that schema was copied */
        code = file_address("sqlite", folder, "loaded.sqlite", NULL, address, err);
        if (code == CB_OK && !cb_path_exists(address->path))
            code = load(ctx, folder, address->path, err);
        break;
    }
    return code == CB_OK ? cb_lake_db_open(ctx, address, mode, out, err) : code;
}

cb_code cb_lake_copy_open_in(cb_ctx *ctx, const char *folder, cb_lake_kind kind, const char *schema,
                             cb_lake_mode mode, cb_lake_db **out, cb_error *err)
{
    cb_lake_address *address = calloc(1, sizeof(*address));
    cb_code code;

    *out = NULL;
    if (address == NULL)
        return cb_fail_memory(err, sizeof(*address));
    code = open_copy(ctx, folder, kind, schema, mode, address, out, err);
    free(address);
    return code;
}

cb_code cb_lake_copy_open(cb_ctx *ctx, const char *folder, cb_lake_kind kind, cb_lake_mode mode,
                          cb_lake_db **out, cb_error *err)
{
    return cb_lake_copy_open_in(ctx, folder, kind, NULL, mode, out, err);
}
