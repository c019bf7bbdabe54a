/*
 * restore.c - bring one backup back: choose it, prepare the target, write, publish, look at it.
 *
 * A plain DuckDB file may stand in for the backup: it is then copied hot, with the same care for
 * what is at the target.
 */
#include "command/restore_internal.h"

#include "source/duckdb/duckdb.h"
#include "source/ducklake/ducklake.h"
#include "storage/place.h"

#include <stdlib.h>
#include <sys/stat.h>

typedef struct owned_restore {
    cb_restore_result public; /* first */
    cb_arena arena;
} owned_restore;

/* ---- writing it -------------------------------------------------------------------------- */

static cb_code open_target(cb_ctx *ctx, const cb_restore_request *request, const cb_engine *engine,
                           const cb_restore_choice *choice /* NULL: a plain file */,
                           uint64_t total_bytes, cb_target **out, cb_error *err)
{
    cb_target_options options = {
        .delta = request->delta,
        .force = request->force,
        .delete_extra = request->delete_extra,
        .mend = request->mend,
        .salvage = request->salvage,
        .total_bytes = total_bytes,
        .lake = &request->lake,
    };
    char lists[CB_PATH_MAX];
    const char *path;
    cb_code code;

    if (choice != NULL) {
        options.state = choice->manifest->state;
        options.has_lake_time = choice->cut_by_time;
        options.lake_time_us = request->time_us;
    }
    code = cb_engine_path(engine, request->target, &path, err);
    if (code == CB_OK && engine == &cb_ducklake_engine) {
        code = cb_data_folder(lists, err);
        options.lost_list = lists;
    }
    if (code == CB_OK)
        code = engine->target(ctx, path, &options, out, err);
    if (code == CB_OK)
        code = cb_target_prepare(*out, err);
    return code;
}

/* What only the target of a lake can tell. */
static cb_code note_lake(cb_target *target, cb_lake_options *lake, owned_restore *result,
                         cb_error *err)
{
    cb_lake_target_report report;
    cb_code code;

    cb_lake_target_facts(target, &report);
    result->public.orphan_count = report.lost_count;
    result->public.snapshot = report.snapshot;
    result->public.snapshot_us = report.snapshot_us;
    code = cb_arena_text(&result->arena, report.lost_list, &result->public.orphan_list, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, report.metadata_schema, &lake->metadata_schema, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, report.data_path, &lake->data_path, err);
    return code;
}

/* Files of a lake that it had not got either: its catalog names them, and they are not there. */
static cb_code take_lacking(const cb_check_report *report, owned_restore *result, cb_error *err)
{
    cb_restore_result *r = &result->public;
    cb_damage *list = NULL;
    cb_code code =
        cb_arena_alloc(&result->arena, report->damaged_count * sizeof(*list), &list, err);

    for (size_t i = 0; code == CB_OK && i < report->damaged_count; i++) {
        list[i] = (cb_damage){0};
        code = cb_arena_text(&result->arena, report->damaged[i].item, &list[i].item, err);
        if (code == CB_OK)
            code = cb_arena_text(&result->arena, report->damaged[i].chunk, &list[i].chunk, err);
        if (code == CB_OK)
            code = cb_arena_text(&result->arena, report->damaged[i].reason, &list[i].reason, err);
    }
    if (code != CB_OK)
        return code;
    r->lost = list;
    r->lost_count = report->damaged_count;
    return CB_OK;
}

/* Read what was restored once more, as its engine would: every checksum that it has of its own. */
static cb_code look_at(cb_ctx *ctx, const cb_engine *engine, const char *path,
                       const cb_lake_options *lake, bool was_damaged, owned_restore *result,
                       cb_error *err)
{
    cb_check_report report = {.lake = lake};
    cb_code code;

    cb_event_text(ctx, CB_EVENT_PHASE, "checking what was restored");
    code = engine->check(ctx, path, &report, err);
    if (code == CB_OK && report.damaged_count > 0) {
        if (was_damaged && lake != NULL)
            code = take_lacking(&report, result, err);
        else if (was_damaged)
            cb_event_text(ctx, CB_EVENT_WARNING,
                          "%zu places are damaged, as they were in the source: %s %s: %s",
                          report.damaged_count, report.damaged[0].item, report.damaged[0].chunk,
                          report.damaged[0].reason);
        else
            code =
                cb_fail(err, CB_CORRUPT, "restored to '%s', but %s %s: %s", path,
                        report.damaged[0].item, report.damaged[0].chunk, report.damaged[0].reason);
    }
    cb_check_report_free(&report);
    return code;
}

/* Damage that is gone past is listed, whatever else becomes of the restore. */
static cb_code list_lost(cb_ctx *ctx, const cb_lost *lost, const cb_manifest *manifest,
                         const char *path, owned_restore *result, cb_error *err)
{
    cb_restore_result *r = &result->public;
    const char *backup;
    cb_code code =
        cb_arena_format(&result->arena, &backup, err, "%s@%s", manifest->name, manifest->label);

    if (code == CB_OK)
        code = cb_salvage_describe(ctx, lost, backup, manifest->kind, path, &result->arena,
                                   &r->lost, &r->lost_count, err);
    return code;
}

static cb_code fill_target(cb_ctx *ctx, const cb_restore_request *request, cb_repo *repo,
                           const cb_manifest *manifest, const cb_engine *engine, cb_target *target,
                           cb_lost *lost, owned_restore *result, cb_error *err)
{
    cb_output_counts counts = {0};
    cb_lake_options lake = request->lake;
    bool is_lake = engine == &cb_ducklake_engine;
    const char *path = target->path;
    cb_code code;

    cb_event_text(ctx, CB_EVENT_PHASE, "restoring");
    code = cb_output(ctx, repo, manifest, target, request->delta || target->in_place,
                     request->salvage ? lost : NULL, &counts, err);
    if (code == CB_CORRUPT && !request->salvage) {
        err->hint[0] = '\0';
        cb_hint(err,
                "An older backup may be whole: verify tells. With --salvage what can be brought "
                "back is, with a list of the rest.");
    }
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, target->path, &result->public.target, err);
    if (code == CB_OK && is_lake) /* its own path has no password in it */
        code = cb_engine_path(engine, request->target, &path, err);
    if (code == CB_OK && is_lake)
        code = note_lake(target, &lake, result, err);
    result->public.files = counts.items;
    result->public.bytes_written = counts.bytes_written;
    result->public.bytes_reused = counts.bytes_reused;
    if (code == CB_OK && lost->count == 0 &&
        (!request->no_verify || (is_lake && manifest->damaged > 0)))
        code =
            look_at(ctx, engine, path, is_lake ? &lake : NULL, manifest->damaged > 0, result, err);
    return code == CB_OK && lost->count > 0
               ? list_lost(ctx, lost, manifest, target->path, result, err)
               : code;
}

static cb_code write_backup(cb_ctx *ctx, const cb_restore_request *request, cb_repo *repo,
                            const cb_restore_choice *choice, owned_restore *result, cb_error *err)
{
    const cb_manifest *manifest = choice->manifest;
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;
    CB_CLEANUP(cb_lost_free) cb_lost lost;
    const cb_engine *engine;
    cb_code code;

    cb_lost_init(&lost);
    code = cb_engine_by_kind(manifest->kind, &engine, err);
    if (code == CB_OK)
        code = open_target(ctx, request, engine, choice, manifest->source_bytes, &target, err);
    return code == CB_OK
               ? fill_target(ctx, request, repo, manifest, engine, target, &lost, result, err)
               : code;
}

static cb_code from_repository(cb_ctx *ctx, const cb_restore_request *request,
                               owned_restore *result, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    cb_restore_result *r = &result->public;
    cb_restore_choice choice;
    cb_code code;

    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_restore_choose(repo, request, &choice, err);
    if (code != CB_OK)
        return code;
    manifest = choice.manifest;
    r->point_us = manifest->point_us;
    code = cb_arena_text(&result->arena, choice.ref.name, &r->name, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, choice.ref.label, &r->label, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, manifest->kind, &r->kind, err);
    if (code != CB_OK)
        return code;
    if (request->target == NULL) {
        r->planned = true;
        return cb_arena_text(&result->arena, manifest->source, &r->target, err);
    }
    code = write_backup(ctx, request, repo, &choice, result, err);
    cb_command_condemn(ctx, repo, false);
    return code;
}

/* ---- a plain file as the source ---------------------------------------------------------- */

static cb_code from_file(cb_ctx *ctx, const cb_restore_request *request, owned_restore *result,
                         cb_error *err)
{
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;
    cb_restore_result *r = &result->public;
    cb_source_options options = {0};
    cb_source_facts facts = {0};
    const cb_engine *engine;
    const char *path;
    struct stat at;
    bool unchanged;
    cb_code code;

    code = cb_engine_find(request->backup, &engine, &path, err);
    if (code == CB_OK && engine != &cb_duckdb_engine) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a plain DuckDB file", request->backup);
        cb_hint(err, "Only a DuckDB file is restored without a repository; name a backup instead.");
    } else if (code == CB_OK && request->target == NULL) {
        cb_fail(err, CB_USAGE, "a plain file needs a target");
        cb_hint(err, "canvasback restore %s TARGET", request->backup);
    }
    if (err->code != CB_OK)
        return err->code;
    code = engine->source(ctx, path, &options, &source, err);
    if (code == CB_OK)
        code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    if (code == CB_OK)
        code = open_target(ctx, request, engine, NULL,
                           stat(path, &at) == 0 ? (uint64_t)at.st_blocks * 512 : 0, &target, err);
    if (code == CB_OK)
        code = cb_transfer(ctx, source, target, &r->bytes_written, NULL, err);
    if (code == CB_OK)
        code = cb_source_end(source, &facts, err);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    if (code != CB_OK)
        return code;
    r->files = 1;
    r->point_us = facts.point_us;
    r->kind = engine->kind;
    code = cb_arena_text(&result->arena, source->name, &r->name, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, target->path, &r->target, err);
    return code;
}

/* ---- a plain object as the source -------------------------------------------------------- */

/* What stands in the way is found before the download, by the target itself. */
static cb_code check_target(cb_ctx *ctx, const cb_restore_request *request, cb_error *err)
{
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;

    return open_target(ctx, request, &cb_duckdb_engine, NULL, 0, &target, err);
}

/* With delta the file that is there stays, and is brought in line with the partial one. */
static cb_code place_partial(cb_ctx *ctx, const cb_restore_request *request, const char *partial,
                             const char *path, owned_restore *result, cb_error *err)
{
    cb_restore_request from_partial = *request;
    struct stat at;
    cb_code code;

    result->public.bytes_written = stat(partial, &at) == 0 ? (uint64_t)at.st_size : 0;
    if (request->delta && cb_path_exists(path)) {
        from_partial.backup = partial;
        return from_file(ctx, &from_partial, result, err);
    }
    code = cb_duckdb_place(ctx, partial, path, request->force, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, path, &result->public.target, err);
    return code;
}

static cb_code from_object(cb_ctx *ctx, const cb_restore_request *request, owned_restore *result,
                           cb_error *err)
{
    char folder[CB_PLACE_TEXT_MAX];
    char key[CB_KEY_MAX + 1];
    char path[CB_PATH_MAX];
    char partial[CB_PATH_MAX];
    const char *plain;
    bool has_log;
    cb_code code = cb_place_split(request->backup, folder, key, err);

    if (code == CB_OK && request->target == NULL) {
        cb_fail(err, CB_USAGE, "a plain file needs a target");
        cb_hint(err, "Name the file that is to be made.");
        return err->code;
    }
    if (code == CB_OK)
        code = cb_engine_path(&cb_duckdb_engine, request->target, &plain, err);
    if (code == CB_OK)
        code = cb_path_absolute(plain, path, err);
    if (code == CB_OK)
        code = check_target(ctx, request, err);
    if (code == CB_OK)
        code = cb_partial_name(ctx, path, partial, err);
    if (code != CB_OK)
        return code;
    cb_event_text(ctx, CB_EVENT_PHASE, "downloading");
    code = cb_fetch(ctx, request->backup, partial, &has_log, err);
    if (code == CB_OK && !request->no_verify)
        code = cb_fetch_check(ctx, request->backup, partial, err);
    if (code == CB_OK)
        code = place_partial(ctx, request, partial, path, result, err);
    cb_partial_remove(partial); /* what was placed has another name by now */
    if (code != CB_OK)
        return code;
    result->public.files = has_log ? 2 : 1;
    result->public.kind = cb_duckdb_engine.kind;
    return cb_arena_text(&result->arena, key, &result->public.name, err);
}

cb_code cb_restore(cb_ctx *ctx, const cb_restore_request *request, cb_restore_result **out,
                   cb_error *err)
{
    int64_t began = cb_monotonic_us();
    owned_restore *result;
    cb_code code;

    *out = NULL;
    if (request->backup == NULL)
        return cb_fail(err, CB_USAGE, "no backup was named");
    result = calloc(1, sizeof(*result));
    if (result == NULL)
        return cb_fail_memory(err, sizeof(*result));
    cb_error_clear(err);
    if (cb_place_is_remote(request->backup))
        code = from_object(ctx, request, result, err);
    else if (cb_is_address(request->backup))
        code = from_file(ctx, request, result, err);
    else
        code = from_repository(ctx, request, result, err);
    if (code != CB_OK) {
        cb_restore_result_free(&result->public);
        return code;
    }
    result->public.seconds = (double)(cb_monotonic_us() - began) / 1e6;
    *out = &result->public;
    return CB_OK;
}

void cb_restore_result_free(cb_restore_result *result)
{
    owned_restore *owned = (owned_restore *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
