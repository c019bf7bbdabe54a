/*
 * deep.c - a restored lake opened by DuckDB itself, every table of it read to the last row.
 *
 * The engine reads lakes of its own spec version. An older one is read by an older engine where one
 * lies beside the program; else it is migrated first: it is a copy, and ours to change.
 */
#include "source/ducklake/ducklake.h"
#include "source/ducklake/extension.h"

#include <stdio.h>

typedef struct deep_look {
    cb_arena arena;
    cb_lake_info info;
    bool all_snapshots;
    cb_lake_moments moments;
} deep_look;

static void deep_look_free(deep_look *look)
{
    cb_lake_moments_free(&look->moments);
    cb_arena_free(&look->arena);
}

static cb_code look_at(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                       cb_error *err)
{
    deep_look *look = arg;
    cb_code code = cb_lake_info_read(db, schema, &look->arena, &look->info, err);

    *keep = false;
    return code == CB_OK
               ? cb_lake_moments_read(db, schema, look->all_snapshots, &look->moments, err)
               : code;
}

typedef struct deep_visit {
    cb_table_visit *visit;
    void *arg;
    const deep_look *look;
} deep_visit;

static cb_code note_table(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    deep_visit *deep = arg;
    const cb_lake_moment *at = &deep->look->moments.list[seen->moment];
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code;

    if (seen->failure != NULL)
        return cb_fail(err, CB_CORRUPT, "table %s at snapshot %lld cannot be read: %s", at->table,
                       (long long)at->to, seen->failure);
    if (!deep->look->all_snapshots)
        return deep->visit(deep->arg, at->table, seen->rows, err);
    if (at->from == at->to)
        code = cb_buf_format(&name, err, "%s at snapshot %lld", at->table, (long long)at->to);
    else
        code = cb_buf_format(&name, err, "%s at snapshots %lld to %lld", at->table,
                             (long long)at->from, (long long)at->to);
    return code == CB_OK ? deep->visit(deep->arg, (const char *)name.data, seen->rows, err) : code;
}

/* How the engine may read a lake of that version. */
static cb_code choose_engine(cb_ctx *ctx, const deep_look *look, cb_lake_engine_options *options,
                             cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *newest;
    cb_code code = cb_lake_engine_target(ctx, &arena, &newest, err);

    if (code != CB_OK)
        return code;
    if (cb_lake_version_compare(look->info.version, newest) >= 0)
        return CB_OK; /* a newer one is refused by the engine, in its own words */
    if (cb_lake_engine_has(ctx, look->info.version)) {
        options->version = look->info.version;
        return CB_OK;
    }
    options->write = true;
    options->migrate = true;
    return CB_OK;
}

cb_code cb_lake_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                     cb_table_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    CB_CLEANUP(deep_look_free) deep_look look = {0};
    deep_visit deep = {.visit = visit, .arg = arg, .look = &look};
    cb_lake_engine_options options = {0};
    cb_lake_address address;
    cb_lake_engine *closing;
    cb_code code;

    look.all_snapshots = lake != NULL && lake->all_snapshots;
    code = cb_lake_address_parse(path, lake != NULL ? lake->metadata_schema : NULL, &address, err);
    if (code == CB_OK)
        code = cb_lake_look(ctx, &address, look_at, &look, err);
    if (code == CB_OK)
        code = choose_engine(ctx, &look, &options, err);
    if (lake != NULL)
        options.hint = lake->data_path;
    if (code == CB_OK)
        code = cb_lake_engine_open(ctx, &address, &options, &engine, err);
    if (code == CB_OK)
        code = cb_lake_engine_read_all(engine, &look.moments, note_table, &deep, err);
    if (code != CB_OK)
        return code;
    closing = engine;
    engine = NULL;
    return cb_lake_engine_close(closing, err);
}
