/*
 * migrate.c - the migration itself; see migrate.h for the order and what it guards against.
 */
#include "source/ducklake/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>

#include "source/ducklake/beside.h"
#include "source/ducklake/catalog_internal.h"
#include "source/ducklake/expect.h"
#include "source/ducklake/extension.h"

typedef struct migrating {
    cb_ctx *ctx;
    cb_lake_migration *m;
    cb_arena arena;
    cb_expect expect;
    cb_lake_info info;
    const char *data_path; /* for a copy: absolute, where the catalog says it otherwise; NULL */
} migrating;

static void migrating_free(migrating *g)
{
    cb_expect_free(&g->expect);
    cb_arena_free(&g->arena);
}

static const char *schema_of(const cb_lake_address *address)
{
    return address->schema_is_default ? NULL : address->schema;
}

/* ---- before --------------------------------------------------------------------------------- */

/* Is it still the lake that was backed up? */
static cb_code check_still(const migrating *g, const cb_lake_info *info, cb_error *err)
{
    if (strcmp(info->version, g->m->from) != 0) {
        return cb_fail(err, CB_BUSY, "the lake is of version %s meanwhile, no longer %s",
                       info->version, g->m->from);
    }
    if (info->snapshot_id != g->m->snapshot_id) {
        cb_fail(err, CB_BUSY, "snapshot %lld was committed after the backup",
                (long long)info->snapshot_id);
        cb_hint(err, "Try again when nobody writes to the lake.");
        return err->code;
    }
    return CB_OK;
}

static cb_code expect(migrating *g, cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    cb_code code = cb_lake_schema_read(db, &schema, err);

    if (code == CB_OK)
        code = cb_lake_info_read(db, &schema, &g->arena, &g->info, err);
    if (code == CB_OK)
        code = cb_lake_info_place(g->m->address, g->m->data_path, &g->arena, &g->info, err);
    if (code == CB_OK)
        code = check_still(g, &g->info, err);
    if (code == CB_OK && strcmp(g->info.data_path, g->info.stored_data_path) != 0)
        g->data_path = g->info.data_path;
    return code == CB_OK ? cb_expect_read(db, &schema, &g->expect, err) : code;
}

/* What the old version itself reads, where an engine of it is at hand. */
static cb_code read_by_old(migrating *g, const cb_lake_address *address, const char *data_path,
                           cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    cb_lake_engine_options options = {
        .version = g->m->from, .data_path = data_path, .hint = g->m->data_path};
    cb_code code;

    if (!cb_lake_engine_has(g->ctx, g->m->from)) {
        cb_event_text(
            g->ctx, CB_EVENT_DEBUG,
            "no DuckDB for lakes of version %s lies beside the program: the migrated lake "
            "is compared with the old catalog's own counts",
            g->m->from);
        return CB_OK;
    }
    cb_event_text(g->ctx, CB_EVENT_PHASE, "reading the lake by its own version");
    code = cb_lake_engine_open(g->ctx, address, &options, &engine, err);
    return code == CB_OK ? cb_expect_add(&g->expect, engine, err) : code;
}

/* ---- migrate and compare -------------------------------------------------------------------- */

static cb_code migrate_and_compare(migrating *g, const cb_lake_address *address,
                                   const char *data_path, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    cb_lake_engine_options options = {
        .write = true, .migrate = true, .data_path = data_path, .hint = g->m->data_path};
    cb_expect_result result;
    cb_lake_engine *closing;
    cb_code code = cb_lake_engine_open(g->ctx, address, &options, &engine, err);

    if (code != CB_OK)
        return cb_context(err, "migration from %s to %s", g->m->from, g->m->to);
    cb_event_text(g->ctx, CB_EVENT_PHASE, "comparing");
    code = cb_expect_compare(g->ctx, &g->expect, engine, &result, err);
    if (code != CB_OK)
        return code;
    g->m->tables = g->expect.moments.tables;
    g->m->snapshots = g->expect.moments.snapshots;
    g->m->compared = result.compared;
    g->m->unreadable = result.unreadable;
    closing = engine;
    engine = NULL;
    return cb_lake_engine_close(closing, err);
}

static cb_code address_of_copy(const char *kind, const char *folder, const char *name,
                               const char *schema, cb_lake_address *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_code code = cb_buf_format(&text, err, "%s:%s/%s", kind, folder, name);

    return code == CB_OK ? cb_lake_address_parse((const char *)text.data, schema, out, err) : code;
}

/* ---- a DuckDB file: the compared copy takes its place --------------------------------------- */

static cb_code migrate_copy(void *arg, const char *folder, bool *keep, cb_error *err)
{
    migrating *g = arg;
    const char *schema = schema_of(g->m->address);
    cb_lake_address copy;
    cb_lake_db *db = NULL;
    cb_code code =
        cb_lake_copy_open_in(g->ctx, folder, CB_LAKE_DUCKDB, schema, CB_LAKE_READ, &db, err);

    if (code == CB_OK)
        code = expect(g, db, err);
    cb_lake_db_close(db); /* before another engine opens the file */
    if (code == CB_OK)
        code = address_of_copy("duckdb", folder, "catalog.duckdb", schema, &copy, err);
    if (code == CB_OK)
        code = read_by_old(g, &copy, g->data_path, err);
    if (code == CB_OK)
        cb_event_text(g->ctx, CB_EVENT_PHASE, "migrating a copy");
    if (code == CB_OK)
        code = migrate_and_compare(g, &copy, g->data_path, err);
    *keep = code == CB_OK;
    return code;
}

/* ---- SQLite, PostgreSQL: tried on a copy, then live ------------------------------------------ */

static cb_code copy_file(cb_ctx *ctx, const char *from, const char *to, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int in = -1;
    CB_CLEANUP(cb_fd_close) int out = -1;
    cb_code code = cb_file_open(from, O_RDONLY, 0, &in, err);

    if (code == CB_OK)
        code = cb_file_open(to, O_WRONLY | O_CREAT | O_EXCL, 0600, &out, err);
    while (code == CB_OK) {
        ssize_t count = sendfile(out, in, NULL, 16 << 20);

        if (count == 0)
            return CB_OK;
        if (count < 0)
            return cb_fail_errno(err, errno, "cannot copy '%s' to '%s'", from, to);
        code = cb_check_cancel(ctx, err);
    }
    return code;
}

static cb_code try_on_copy(migrating *g, const char *frozen, const char *trial, cb_error *err)
{
    cb_lake_address copy;
    cb_lake_changes none = {0};
    char from[CB_PATH_MAX];
    cb_code code = address_of_copy("sqlite", trial, "catalog.sqlite", NULL, &copy, err);

    cb_event_text(g->ctx, CB_EVENT_PHASE, "migrating a copy");
    if (code == CB_OK && g->m->address->kind == CB_LAKE_SQLITE) {
        code = cb_path_join(frozen, "catalog.sqlite", from, err);
        if (code == CB_OK)
            code = copy_file(g->ctx, from, copy.path, err);
    } else if (code == CB_OK) {
        code = cb_lake_publish(g->ctx, frozen, g->m->address->kind, &copy, &none, false, NULL, err);
    }
    return code == CB_OK ? migrate_and_compare(g, &copy, g->data_path, err) : code;
}

static cb_code look_again(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    migrating *g = arg;

    *keep = false;
    return cb_lake_info_read(db, schema, &g->arena, &g->info, err);
}

/* Others wrote to the migrated lake: that is kept, or the lake stays as it is. */
static cb_code save_later(const migrating *g, cb_error *err)
{
    if (g->info.snapshot_id <= g->m->snapshot_id)
        return CB_OK;
    cb_event_text(g->ctx, CB_EVENT_WARNING,
                  "snapshots %lld to %lld were committed by others meanwhile, and go with the "
                  "migrated lake: it is backed up first",
                  (long long)g->m->snapshot_id + 1, (long long)g->info.snapshot_id);
    return g->m->save(g->m->arg, err);
}

/* Something failed while the live catalog was migrated: is it as it was? If not, make it so. */
static cb_code put_back(migrating *g, const char *frozen, cb_error *err)
{
    cb_error why = *err;
    cb_lake_changes none = {0};
    bool was_cancelled = atomic_exchange(&g->ctx->cancelled, false);
    cb_code code;

    /* The way back is gone to its end, whatever was pressed. */
    cb_error_clear(err);
    code = cb_lake_look(g->ctx, g->m->address, look_again, g, err);
    if (code == CB_OK && strcmp(g->info.version, g->m->from) == 0) {
        atomic_store(&g->ctx->cancelled, was_cancelled);
        *err = why;
        return cb_context(err, "the migration was undone by the database itself, the lake is as it "
                               "was");
    }
    cb_event_text(g->ctx, CB_EVENT_WARNING,
                  "the migration failed (%s): the old catalog is put back", why.message);
    if (code != CB_OK) { /* what cannot be read cannot be saved */
        cb_error_clear(err);
        code = CB_OK;
    } else {
        code = save_later(g, err);
    }
    if (code == CB_OK)
        code = cb_lake_publish(g->ctx, frozen, g->m->address->kind, g->m->address, &none, true,
                               NULL, err);
    atomic_store(&g->ctx->cancelled, was_cancelled);
    if (code != CB_OK) {
        cb_fail(err, CB_CORRUPT,
                "the migration failed (%.300s), and the old catalog could not be put back (%.300s)",
                why.message, err->message);
        err->hint[0] = '\0';
        cb_hint(err, "Run `canvasback lake rollback NAME` when what stands in the way is removed.");
        return err->code;
    }
    *err = why;
    return cb_context(err, "the migration was undone, the old catalog was put back");
}

static cb_code check_live(migrating *g, cb_error *err)
{
    cb_code code = cb_lake_look(g->ctx, g->m->address, look_again, g, err);

    return code == CB_OK ? check_still(g, &g->info, err) : code;
}

/* Who attached the lake before goes on writing as the old version does. */
static cb_code tell_of_others(const migrating *g, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    int64_t others = 0;
    cb_code code;

    if (g->m->address->kind != CB_LAKE_POSTGRES)
        return CB_OK;
    code = cb_lake_db_open(g->ctx, g->m->address, CB_LAKE_READ, &db, err);
    if (code == CB_OK)
        code = cb_lake_db_number(
            db,
            "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = "
            "pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() AND backend_type "
            "= 'client backend' AND application_name <> 'canvasback'",
            0, &others, err);
    if (code == CB_OK && others > 0)
        cb_event_text(g->ctx, CB_EVENT_WARNING,
                      "%lld other session%s in the lake's database: a DuckDB that has it attached "
                      "knows version %s, and has to detach before it writes again",
                      (long long)others, others == 1 ? " is" : "s are", g->m->from);
    return code;
}

static cb_code migrate_live(migrating *g, const char *given, const char *frozen, cb_error *err)
{
    cb_code code = tell_of_others(g, err);

    if (code == CB_OK)
        code = check_live(g, err);
    if (code != CB_OK)
        return cb_context(err, "the lake was not touched");
    cb_event_text(g->ctx, CB_EVENT_PHASE, "migrating");
    code = migrate_and_compare(g, g->m->address, given, err);
    return code == CB_OK ? CB_OK : put_back(g, frozen, err);
}

static cb_code migrate_in_place(migrating *g, const char *frozen, const char *trial, cb_error *err)
{
    const cb_lake_address *address = g->m->address;
    cb_source_options options = {0};
    cb_lake_frozen facts = {0};
    cb_lake_address copy = *address;
    cb_lake_db *db = NULL;
    const char *given = NULL; /* the live catalog's own path, unless another was named */
    cb_code code = cb_lake_freeze(g->ctx, address, frozen, &options, &facts, &db, err);

    if (code == CB_OK)
        code = expect(g, db, err);
    cb_lake_db_close(db);
    if (code == CB_OK && g->m->data_path != NULL)
        given = g->data_path;
    /* PostgreSQL has no copy that an engine could attach: the old one reads the live lake. */
    if (code == CB_OK && address->kind == CB_LAKE_SQLITE)
        code = address_of_copy("sqlite", frozen, "catalog.sqlite", NULL, &copy, err);
    if (code == CB_OK)
        code = read_by_old(g, &copy, address->kind == CB_LAKE_SQLITE ? g->data_path : given, err);
    if (code == CB_OK)
        code = try_on_copy(g, frozen, trial, err);
    return code == CB_OK ? migrate_live(g, given, frozen, err)
                         : cb_context(err, "the lake was not touched");
}

cb_code cb_lake_migrate_live(cb_ctx *ctx, cb_lake_migration *migration, cb_error *err)
{
    CB_CLEANUP(migrating_free) migrating g = {.ctx = ctx, .m = migration};
    CB_CLEANUP(cb_lake_beside_free) cb_lake_beside frozen = {.lock = -1};
    CB_CLEANUP(cb_lake_beside_free) cb_lake_beside trial = {.lock = -1};
    cb_code code;

    if (migration->address->kind == CB_LAKE_DUCKDB) {
        code = cb_lake_transact_copy(ctx, migration->address, migrate_copy, &g, err);
        return code == CB_OK ? CB_OK : cb_context(err, "the lake was not touched");
    }
    code = cb_lake_beside_make(ctx, NULL, &frozen, err);
    if (code == CB_OK)
        code = cb_lake_beside_make(ctx, NULL, &trial, err);
    return code == CB_OK ? migrate_in_place(&g, frozen.path, trial.path, err) : code;
}
