/*
 * freeze.c - a catalog at one instant, as a private copy in a scratch folder.
 *
 * Files are copied by the source of their own engine, so that the rules of a live DuckDB or SQLite
 * file are kept in one place, and it does not matter who has the file open. What is read afterwards
 * is the copy. A PostgreSQL catalog is read in one transaction, which sees what was copied.
 */
#include "source/ducklake/freeze.h"
#include "source/ducklake/segments.h"
#include "source/transfer.h"

#include "base/file.h"

#include <stdlib.h>

static void source_cleanup(cb_source **source)
{
    cb_source_free(*source);
}

static void target_cleanup(cb_target **target)
{
    cb_target_free(*target);
}

static cb_code transfer_to(cb_ctx *ctx, const cb_engine *engine, cb_source *source,
                           const char *path, cb_source_facts *facts, cb_error *err)
{
    CB_CLEANUP(target_cleanup) cb_target *target = NULL;
    cb_target_options options = {.unsynced = true};
    uint64_t written;
    cb_code code = engine->target(ctx, path, &options, &target, err);

    if (code == CB_OK)
        code = cb_target_prepare(target, err);
    if (code == CB_OK)
        code = cb_transfer(ctx, source, target, &written, NULL, err);
    if (code == CB_OK)
        code = cb_source_end(source, facts, err);
    return code == CB_OK ? cb_target_finish(target, err) : code;
}

static cb_code freeze_file(cb_ctx *ctx, const cb_engine *engine, const cb_lake_address *address,
                           const char *folder, const char *name, const cb_source_options *options,
                           cb_lake_frozen *out, cb_error *err)
{
    CB_CLEANUP(source_cleanup) cb_source *source = NULL;
    cb_source_options own = {
        .method = CB_METHOD_HOT,
        .deadline_us = options->deadline_us,
        .allow_damage = options->allow_damage,
        .scratch = folder,
    };
    cb_source_facts facts = {0};
    char path[CB_PATH_MAX];
    bool unchanged;
    cb_code code = cb_path_join(folder, name, path, err);

    if (code == CB_OK)
        code = engine->source(ctx, address->path, &own, &source, err);
    if (code == CB_OK)
        code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    if (code == CB_OK)
        code = transfer_to(ctx, engine, source, path, &facts, err);
    if (code == CB_NOT_FOUND)
        cb_hint(err, "Check the path in the address.");
    if (code != CB_OK)
        return code;
    out->point_us = facts.point_us;
    out->passes = facts.passes;
    out->commits_in_log = facts.commits_in_log;
    out->confirmed = facts.confirmed; /* a word of the engine's, no memory of the source */
    return CB_OK;
}

static cb_code freeze_server(cb_ctx *ctx, const cb_lake_address *address, const char *folder,
                             cb_lake_frozen *out, cb_lake_db **db, cb_error *err)
{
    cb_code code;

    /* Before the snapshot is taken: what was committed by then is in it. */
    out->point_us = cb_now_us(ctx);
    out->passes = 1;
    out->confirmed = "snapshot";
    code = cb_lake_db_open(ctx, address, CB_LAKE_READ, db, err);
    return code == CB_OK ? cb_segments_write(ctx, *db, folder, err) : code;
}

cb_code cb_lake_freeze(cb_ctx *ctx, const cb_lake_address *address, const char *folder,
                       const cb_source_options *options, cb_lake_frozen *out, cb_lake_db **db,
                       cb_error *err)
{
    const char *schema = address->schema_is_default ? NULL : address->schema;
    cb_code code = CB_OK;

    *db = NULL;
    *out = (cb_lake_frozen){.kind = address->kind};
    switch (address->kind) {
    case CB_LAKE_DUCKDB:
        code = freeze_file(ctx, &cb_duckdb_engine, address, folder, "catalog.duckdb", options, out,
                           err);
        break;
    case CB_LAKE_SQLITE:
        code = freeze_file(ctx, &cb_sqlite_engine, address, folder, "catalog.sqlite", options, out,
                           err);
        break;
    case CB_LAKE_POSTGRES:
        code = freeze_server(ctx, address, folder, out, db, err);
        break;
    }
    if (code == CB_OK && *db == NULL)
        code = cb_lake_copy_open_in(ctx, folder, address->kind, schema, CB_LAKE_READ, db, err);
    if (code == CB_OK && address->kind != CB_LAKE_POSTGRES)
        cb_lake_db_show_as(*db, address->shown);
    if (code == CB_OK)
        return CB_OK;
    cb_lake_db_close(*db);
    *db = NULL;
    return cb_context(err, "the catalog of '%s'", address->shown);
}
