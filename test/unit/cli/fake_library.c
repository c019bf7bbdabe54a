/*
 * The verbs of canvasback.h without any engine behind them: fixed results, or what FAKE_... in the
 * environment asks for. Linked with main.c in place of the rooms below.
 */
#include "base/ctx.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAKE_TIME = 1795227635 };

static long variable(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

/* FAKE_WAIT=1: until cancelled; more: even then, for as long as a test takes. */
static cb_code wait_for_cancel(cb_ctx *ctx, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; i < 100 && code == CB_OK; i++)
        code = cb_sleep_us(ctx, 50000, err);
    if (variable("FAKE_WAIT") > 1)
        sleep(3);
    return code;
}

/* What a person answers is told, to be seen by the test. */
static void ask(cb_ctx *ctx)
{
    char text[16];

    if (ctx->settings.passphrase)
        fprintf(stderr, "given '%s'\n", ctx->settings.passphrase);
    else if (ctx->settings.ask(ctx->settings.ask_arg, "passphrase", text, sizeof(text)))
        fprintf(stderr, "answered '%s'\n", text);
    else
        fprintf(stderr, "nobody answers\n");
}

static cb_code answer(cb_ctx *ctx, cb_error *err)
{
    cb_event_text(ctx, CB_EVENT_INFO, "the fake library is at work");
    if (variable("FAKE_ASK") > 0)
        ask(ctx);
    if (variable("FAKE_WAIT") > 0)
        return wait_for_cancel(ctx, err);
    if (variable("FAKE_CODE") == 0)
        return CB_OK;
    cb_fail(err, (cb_code)variable("FAKE_CODE"), "the fake fails");
    cb_hint(err, "Ask it not to.");
    err->in_repository = variable("FAKE_IN_REPOSITORY") != 0;
    return err->code;
}

static size_t damaged_count(void)
{
    return (size_t)variable("FAKE_DAMAGED");
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = malloc(size);

    if (!copy)
        abort();
    return memcpy(copy, data, size);
}

static const cb_pair tags[] = {{"release", "41"}, {"owner", "ops"}};
static const cb_backup_info backups[] = {
    {.name = "app",
     .label = "20261120-010000",
     .kind = "sqlite",
     .started_us = 1,
     .point_us = 1000000,
     .source_bytes = 4096,
     .stored_bytes = 1024,
     .new_bytes = 4096,
     .source = "sqlite:/a/app.db"},
    {.name = "prod",
     .label = "20261121-022035",
     .kind = "duckdb",
     .started_us = FAKE_TIME * INT64_C(1000000),
     .point_us = FAKE_TIME * INT64_C(1000000) + 250000,
     .finished_us = FAKE_TIME * INT64_C(1000000) + 3200000,
     .source_bytes = 1503238553,
     .read_bytes = 1503238553,
     .new_bytes = 12582912,
     .stored_bytes = 4299161,
     .chunks = 5735,
     .new_chunks = 48,
     .passes = 2,
     .confirmed = "log",
     .commits_in_log = 17,
     .verified_us = 5000000,
     .tags = tags,
     .tag_count = 2,
     .source = "/data/prod.duckdb",
     .host = "db1"},
};
static const cb_damage damage[] = {
    {"prod@20261121-022035", "prod.duckdb", "ab12", "checksum differs"}};

/* One entry a repository; those with "bad" in their address have failed. */
static const cb_backup_place *places_of(const cb_ctx *ctx)
{
    static cb_backup_place places[8];

    for (size_t i = 0; i <= ctx->settings.more_repository_count && i < 8; i++) {
        places[i] = (cb_backup_place){.address = i == 0 ? ctx->settings.repository
                                                        : ctx->settings.more_repositories[i - 1],
                                      .label = "20261121-022035",
                                      .stored_bytes = 4299161};
        if (!strstr(places[i].address, "bad"))
            continue;
        places[i].label = NULL;
        cb_fail(&places[i].error, CB_DENIED, "no access to it");
        cb_hint(&places[i].error, "Ask for it.");
    }
    return places;
}

cb_code cb_backup(cb_ctx *ctx, const cb_backup_request *request, cb_backup_result **out,
                  cb_error *err)
{
    static const cb_backup_result result = {.name = "prod",
                                            .label = "20261121-022035",
                                            .source = "/data/prod.duckdb",
                                            .kind = "duckdb",
                                            .started_us = FAKE_TIME * INT64_C(1000000),
                                            .point_us = FAKE_TIME * INT64_C(1000000) + 1,
                                            .finished_us = FAKE_TIME * INT64_C(1000000) + 3200000,
                                            .source_bytes = 1503238553,
                                            .read_bytes = 1503238553,
                                            .new_bytes = 12582912,
                                            .stored_bytes = 4299161,
                                            .chunks = 5735,
                                            .new_chunks = 48,
                                            .passes = 2,
                                            .confirmed = "log",
                                            .commits_in_log = 17};
    cb_backup_result *copy;

    (void)request;
    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    copy = copy_of(&result, sizeof(result));
    copy->damaged = damaged_count();
    if (ctx->settings.more_repository_count > 0) {
        copy->places = places_of(ctx);
        copy->place_count = ctx->settings.more_repository_count + 1;
    }
    *out = copy;
    return CB_OK;
}

void cb_backup_result_free(cb_backup_result *result)
{
    free(result);
}

cb_code cb_list(cb_ctx *ctx, const char *name, cb_list_result **out, cb_error *err)
{
    const cb_list_result result = {name ? backups + 1 : backups, name ? 1 : 2};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_list_result_free(cb_list_result *result)
{
    free(result);
}

cb_code cb_show(cb_ctx *ctx, const char *backup, cb_show_result **out, cb_error *err)
{
    static const cb_item_info items[] = {{"prod.duckdb", "database", 1503238553, 5735, false},
                                         {"bad\xff\x1b[31mname", "file", 7, 1, false}};
    static const cb_pair facts[] = {{"block size", "262144"}};
    const cb_show_result result = {backups[1], items, 2, facts, 1};

    (void)backup;
    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_show_result_free(cb_show_result *result)
{
    free(result);
}

cb_code cb_restore(cb_ctx *ctx, const cb_restore_request *request, cb_restore_result **out,
                   cb_error *err)
{
    static const cb_restore_result result = {.name = "prod",
                                             .label = "20261121-022035",
                                             .kind = "duckdb",
                                             .target = "/data/it's prod.duckdb",
                                             .point_us = 1000000,
                                             .files = 1,
                                             .bytes_written = 1000,
                                             .bytes_reused = 2000,
                                             .seconds = 1.5};
    cb_restore_result *copy;

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    copy = copy_of(&result, sizeof(result));
    copy->planned = request->target == NULL;
    if (variable("FAKE_ORPHANS") > 0) {
        copy->orphan_list = "/home/me/lost files.list";
        copy->orphan_count = (uint64_t)variable("FAKE_ORPHANS");
        copy->target = "ducklake:postgres:dbname=lake host=db1";
    }
    if (request->salvage) {
        copy->lost = damage;
        copy->lost_count = damaged_count();
    }
    *out = copy;
    return CB_OK;
}

void cb_restore_result_free(cb_restore_result *result)
{
    free(result);
}

cb_code cb_verify(cb_ctx *ctx, const cb_verify_request *request, cb_verify_result **out,
                  cb_error *err)
{
    static const cb_table_count tables[] = {{"prod@20261121-022035", "\"main\".\"t\"", 42}};
    const cb_verify_result result = {.backups = 2,
                                     .chunks = 5736,
                                     .bytes = 1503242649,
                                     .damaged = damage,
                                     .damaged_count = damaged_count(),
                                     .tables = tables,
                                     .table_count = request->deep,
                                     .seconds = 2.25};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_verify_result_free(cb_verify_result *result)
{
    free(result);
}

cb_code cb_check(cb_ctx *ctx, const char *source, cb_check_result **out, cb_error *err)
{
    static const char *const notes[] = {"a checkpoint marker was left behind"};
    const cb_check_result result = {.source = "/data/prod.duckdb",
                                    .kind = "duckdb",
                                    .version = "v1.4.0+",
                                    .blocks = 100,
                                    .used_blocks = 90,
                                    .free_blocks = 10,
                                    .bad_blocks = damaged_count(),
                                    .commits_in_log = 3,
                                    .open_by = 4711,
                                    .damaged = damage,
                                    .damaged_count = damaged_count(),
                                    .notes = notes,
                                    .note_count = 1,
                                    .seconds = 0.5};

    (void)source;
    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

cb_code cb_check_with(cb_ctx *ctx, const char *source, const cb_lake_options *lake,
                      cb_check_result **out, cb_error *err)
{
    if (variable("FAKE_TRACE") > 0)
        fprintf(stderr, "check schema %s path %s\n",
                lake->metadata_schema ? lake->metadata_schema : "-",
                lake->data_path ? lake->data_path : "-");
    return cb_check(ctx, source, out, err);
}

void cb_check_result_free(cb_check_result *result)
{
    free(result);
}

cb_code cb_expire(cb_ctx *ctx, const cb_expire_request *request, cb_expire_result **out,
                  cb_error *err)
{
    static const cb_expire_entry entries[] = {
        {"prod", "20261120-022035", 1000000, false, ""},
        {"prod", "20261121-022035", 2000000, true, "daily 2026-11-21"}};
    cb_expire_result result = {entries, 2, 1048576, request->dry_run, NULL};

    *out = NULL;
    if (variable("FAKE_TRACE") > 0)
        fprintf(stderr, "expire %s last %lld daily %lld\n", request->name ? request->name : "-",
                (long long)request->keep_last, (long long)request->keep_daily);
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_expire_result_free(cb_expire_result *result)
{
    free(result);
}

cb_code cb_copy_file(cb_ctx *ctx, const cb_copy_request *request, cb_copy_result **out,
                     cb_error *err)
{
    static const char *const removed[] = {"backup-20261101-000000.duckdb"};
    const cb_copy_result result = {
        .target = "/mnt/copy.duckdb",
        .bytes = 4096,
        .sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        .seconds = 0.25,
        .method = "hot",
        .removed = removed,
        .removed_count = request->keep > 0};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_copy_result_free(cb_copy_result *result)
{
    free(result);
}

static cb_code answer_repo(cb_ctx *ctx, bool created, cb_repo_result **out, cb_error *err)
{
    const cb_repo_result result = {.address = "/mnt/repo",
                                   .id = "0011",
                                   .format = 1,
                                   .created = created,
                                   .created_us = 1000000,
                                   .names = 2,
                                   .backups = 3,
                                   .packs = 4,
                                   .chunks = 5,
                                   .stored_bytes = 6,
                                   .raw_bytes = 7};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

cb_code cb_init(cb_ctx *ctx, bool encrypt, cb_repo_result **out, cb_error *err)
{
    (void)encrypt;
    return answer_repo(ctx, true, out, err);
}

cb_code cb_repo_info(cb_ctx *ctx, cb_repo_result **out, cb_error *err)
{
    return answer_repo(ctx, false, out, err);
}

void cb_repo_result_free(cb_repo_result *result)
{
    free(result);
}

cb_code cb_repo_key(cb_ctx *ctx, const cb_key_request *request, cb_keys_result **out, cb_error *err)
{
    static const char *const actions[] = {"list", "add", "remove", "change"};
    static const cb_key_info keys[] = {{"00aa11bb22cc33dd", "first", "db1", 1000000, false, true},
                                       {"11aa11bb22cc33dd", "", "db2", 2000000, true, false}};
    const cb_keys_result result = {keys, 2};

    *out = NULL;
    if (variable("FAKE_TRACE") > 0)
        fprintf(stderr, "key %s id %s label %s file %s new %s %s%s\n", actions[request->action],
                request->id ? request->id : "-", request->label ? request->label : "-",
                request->file ? request->file : "-",
                request->new_passphrase_file ? request->new_passphrase_file : "-",
                request->new_passphrase ? request->new_passphrase : "-",
                request->write_only ? " write-only" : "");
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_keys_result_free(cb_keys_result *result)
{
    free(result);
}

cb_code cb_repo_check(cb_ctx *ctx, cb_repo_check_result **out, cb_error *err)
{
    const cb_repo_check_result result = {.address = "s3c://bucket/prefix",
                                         .kind = "s3",
                                         .endpoint = "http://127.0.0.1:9000",
                                         .credentials = "AWS_ACCESS_KEY_ID of the environment",
                                         .writable = CB_ABILITY_YES,
                                         .create_if_absent = CB_ABILITY_YES,
                                         .object_lock = CB_ABILITY_NO,
                                         .round_trip_us = 1500,
                                         .put_bytes_per_second = 1 << 20,
                                         .get_bytes_per_second = 1 << 21,
                                         .free_bytes = UINT64_MAX,
                                         .clock_skew_us = -90000000};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_repo_check_result_free(cb_repo_check_result *result)
{
    free(result);
}

cb_code cb_repo_sync(cb_ctx *ctx, const cb_sync_request *request, cb_sync_result **out,
                     cb_error *err)
{
    static const cb_sync_entry entries[] = {{"app", "20261120-010000", false, "20261120-010000"},
                                            {"prod", "20261121-022035", true, "20261121-022035"}};
    const cb_sync_result result = {.entries = entries,
                                   .count = 2,
                                   .copied = 1,
                                   .present = 1,
                                   .new_bytes = 1 << 20,
                                   .stored_bytes = 1 << 19,
                                   .damaged = damage,
                                   .damaged_count = damaged_count(),
                                   .seconds = 1.25};

    *out = NULL;
    if (variable("FAKE_TRACE") > 0)
        fprintf(stderr, "sync %s to %s, %zu: %s\n", request->from, request->to,
                request->backup_count, request->backup_count > 0 ? request->backups[0] : "-");
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_sync_result_free(cb_sync_result *result)
{
    free(result);
}

cb_code cb_repair(cb_ctx *ctx, cb_repair_result **out, cb_error *err)
{
    const cb_repair_result result = {
        .packs = 4, .chunks = 5, .damaged = damage, .damaged_count = damaged_count()};

    *out = NULL;
    if (answer(ctx, err) != CB_OK)
        return err->code;
    *out = copy_of(&result, sizeof(result));
    return CB_OK;
}

void cb_repair_result_free(cb_repair_result *result)
{
    free(result);
}
