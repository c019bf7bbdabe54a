/*
 * The lake verbs of canvasback.h without any lake: fixed results, and with FAKE_TRACE what was
 * asked for. FAKE_CODE makes them fail, as those of fake_library.c.
 */
#include "base/ctx.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static bool is_set(const char *name)
{
    const char *text = getenv(name);

    return text && strtol(text, NULL, 10) != 0;
}

static cb_code answer(cb_error *err)
{
    const char *code = getenv("FAKE_CODE");

    if (!code || strtol(code, NULL, 10) == 0)
        return CB_OK;
    cb_fail(err, (cb_code)strtol(code, NULL, 10), "the fake fails");
    return err->code;
}

static void trace_options(const char *verb, const char *lake, const cb_lake_options *options)
{
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "%s %s schema %s path %s keys %d tables %zu %s\n", verb, or_dash(lake),
                or_dash(options->metadata_schema), or_dash(options->data_path), options->allow_keys,
                options->table_count, options->table_count > 0 ? options->tables[0] : "-");
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = malloc(size);

    if (!copy)
        abort();
    return memcpy(copy, data, size);
}

cb_code cb_lake_status(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                       const char *name, cb_lake_status_result **out, cb_error *err)
{
    static const char *const warnings[] = {
        "cleanup removes files after 1 hour, and the newest backup is 2 hours old: set "
        "delete_older_than to at least '2 days'"};
    const cb_lake_status_result result = {
        .address = "ducklake:postgres:dbname=lake host=db1",
        .catalog = "postgres",
        .metadata_schema = "public",
        .version = "1.0",
        .created_by = "DuckDB d8a1881e",
        .data_path = "s3://bucket/lake/",
        .version_is_known = true,
        .snapshot = 57,
        .oldest_snapshot = 12,
        .snapshot_us = 1795227635000000,
        .oldest_snapshot_us = 1795000000000000,
        .snapshots = 41,
        .tables = 12,
        .data_files = 1203,
        .delete_files = 4,
        .scheduled_files = 3,
        .data_bytes = UINT64_C(3650722201),
        .delete_bytes = 4096,
        .inlined_rows = 17,
        .newest_backup = is_set("FAKE_NONE") ? NULL : "lake@20261121-022035",
        .backup_point_us = 1795220000000000,
        .backup_snapshot = 55,
        .missing_snapshots = 2,
        .missing_files = 14,
        .missing_bytes = 12582912,
        .warnings = warnings,
        .warning_count = 1,
    };

    *out = NULL;
    trace_options("status", lake, options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "name %s\n", or_dash(name));
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_status_result_free(cb_lake_status_result *result)
{
    free(result);
}

cb_code cb_lake_repoint(cb_ctx *ctx, const cb_lake_repoint_request *request,
                        cb_lake_repoint_result **out, cb_error *err)
{
    static const cb_lake_change_info changes[] = {
        {"data_path", "/srv/lake/", "s3://bucket/lake/"},
        {"file", "/srv/lake/main/t/ducklake-01998c.parquet",
         "s3://bucket/lake/main/t/ducklake-01998c.parquet"}};
    static const char *const left[] = {"/other/place/added.parquet"};
    const cb_lake_repoint_result result = {.from = "/srv/lake/",
                                           .to = "s3://bucket/lake/",
                                           .files = 1207,
                                           .changes = changes,
                                           .change_count = request->absolute ? 2 : 1,
                                           .left = left,
                                           .left_count = 1,
                                           .dry_run = request->dry_run};

    *out = NULL;
    trace_options("repoint", request->lake, &request->options);
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_repoint_result_free(cb_lake_repoint_result *result)
{
    free(result);
}

cb_code cb_lake_orphans(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                        cb_lake_orphans_result **out, cb_error *err)
{
    static const cb_lake_orphan files[] = {
        {"/srv/lake/x.parquet", "", "other", 100, 1000000},
        {"/srv/lake/main/t/a.parquet", "main.t", "failed write", 100, 1000000},
        {"/srv/lake/main/t/b.parquet", "main.t", "failed write", 300, 2000000},
        {"/srv/lake/main/t/c.parquet", "main.t", "lost by a restore", 1000, 1000000}};
    const cb_lake_orphans_result result = {
        .files = files, .count = is_set("FAKE_NONE") ? 0 : 4, .bytes = 1500, .named = 1207};

    *out = NULL;
    trace_options("orphans", lake, options);
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_orphans_result_free(cb_lake_orphans_result *result)
{
    free(result);
}

cb_code cb_lake_adopt(cb_ctx *ctx, const cb_lake_adopt_request *request, cb_lake_adopt_result **out,
                      cb_error *err)
{
    static const cb_lake_adopted tables[] = {{"main.t", 2, 1204}, {"main.u", 1, 1}};
    static const cb_lake_refused refused[] = {
        {"/srv/lake/main/t/c.parquet", "it would bring deleted rows back", false}};
    const cb_lake_adopt_result result = {.tables = tables,
                                         .table_count = 2,
                                         .refused = refused,
                                         .refused_count = request->accept || request->undo ? 0 : 1,
                                         .snapshot = request->dry_run ? -1 : 58,
                                         .dry_run = request->dry_run};

    *out = NULL;
    trace_options("adopt", request->lake, &request->options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "files %zu %s list %s\n", request->file_count,
                request->file_count > 0 ? request->files[0] : "-", or_dash(request->list));
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_adopt_result_free(cb_lake_adopt_result *result)
{
    free(result);
}

static const cb_lake_dump_result dumped = {
    .file = "/home/me/ducklake-backup-20261121-022035-v0.3.sql",
    .version = "0.3",
    .catalog = "sqlite",
    .sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    .tables = 28,
    .rows = 1204,
    .bytes = 319488};

cb_code cb_lake_dump(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                     const char *file, const char *folder, cb_lake_dump_result **out, cb_error *err)
{
    *out = NULL;
    trace_options("dump", lake, options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "file %s folder %s\n", or_dash(file), or_dash(folder));
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&dumped, sizeof(dumped));
    return CB_OK;
}

cb_code cb_lake_undump(cb_ctx *ctx, const char *file, const char *lake,
                       const cb_lake_options *options, bool force, cb_lake_dump_result **out,
                       cb_error *err)
{
    *out = NULL;
    trace_options("undump", lake, options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "file %s force %d\n", or_dash(file), force);
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&dumped, sizeof(dumped));
    return CB_OK;
}

void cb_lake_dump_result_free(cb_lake_dump_result *result)
{
    free(result);
}

cb_code cb_lake_migrate(cb_ctx *ctx, const cb_lake_migrate_request *request,
                        cb_lake_migrate_result **out, cb_error *err)
{
    const cb_lake_migrate_result result = {.from = is_set("FAKE_NONE") ? "1.0" : "0.3",
                                           .to = "1.0",
                                           .needed = !is_set("FAKE_NONE"),
                                           .migrated = !request->guard && !is_set("FAKE_NONE"),
                                           .backup = "lake@20261121-022035",
                                           .dump =
                                               "/home/me/ducklake-backup-20261121-022035-v0.3.sql",
                                           .tables = 12,
                                           .snapshots = 10,
                                           .compared = 48,
                                           .unreadable = 3};

    *out = NULL;
    trace_options(request->guard ? "guard" : "migrate", request->lake, &request->options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "name %s to %s dump-dir %s\n", or_dash(request->name), or_dash(request->to),
                or_dash(request->dump_dir));
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_migrate_result_free(cb_lake_migrate_result *result)
{
    free(result);
}

cb_code cb_lake_rollback(cb_ctx *ctx, const char *name, const char *lake,
                         const cb_lake_options *options, cb_lake_rollback_result **out,
                         cb_error *err)
{
    const cb_lake_rollback_result result = {.backup = "lake@20261121-022035",
                                            .address = "ducklake:sqlite:/srv/meta.sqlite",
                                            .from = "1.0",
                                            .to = "0.3"};

    *out = NULL;
    trace_options("rollback", lake, options);
    if (is_set("FAKE_TRACE"))
        fprintf(stderr, "name %s\n", name);
    if (answer(err) != CB_OK)
        return err->code;
    (void)ctx;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_lake_rollback_result_free(cb_lake_rollback_result *result)
{
    free(result);
}
