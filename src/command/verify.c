/*
 * verify.c - read backups back and check them; --deep: let the engine open a restore of each.
 *
 * A share of all (--percent, --max-bytes) takes the packs that were not looked at for longest, and
 * remembers: run after run everything comes round. --schedule does the same for --deep, one backup
 * a run.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "source/ducklake/bucket.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct owned_verify {
    cb_verify_result public; /* first */
    cb_audit_report audit;
    cb_table_count *tables;
    size_t table_capacity;
} owned_verify;

typedef struct deep_check {
    owned_verify *result;
    const cb_manifest_ref *ref;
} deep_check;

/* ---- deep -------------------------------------------------------------------------------- */

static cb_code note_table(void *arg, const char *table, uint64_t rows, cb_error *err)
{
    deep_check *deep = arg;
    owned_verify *v = deep->result;
    cb_table_count *count;
    cb_code code = CB_OK;

    if (v->public.table_count == v->table_capacity)
        code = cb_array_grow(&v->tables, &v->table_capacity, sizeof(*v->tables), err);
    if (code != CB_OK)
        return code;
    count = &v->tables[v->public.table_count];
    count->rows = rows;
    code = cb_arena_format(&v->audit.arena, &count->backup, err, "%s@%s", deep->ref->name,
                           deep->ref->label);
    if (code == CB_OK)
        code = cb_arena_text(&v->audit.arena, table, &count->table, err);
    if (code == CB_OK)
        v->public.table_count++;
    return code;
}

/*
 * Where a restore goes, and what it needs. A lake's catalog becomes a file (PostgreSQL's, too, a
 * DuckDB file), with the data files in a folder beside it; where the backup only refers to them,
 * they are read where they are.
 */
typedef struct scratch_place {
    char path[CB_PATH_MAX];
    char data_path[CB_PATH_MAX];
    const char *hint; /* an address with settings for the bucket of the files; NULL none */
    cb_lake_options lake;
    bool is_lake;
} scratch_place;

static const char *fact_of(const cb_manifest *manifest, const char *key)
{
    for (size_t i = 0; i < manifest->fact_count; i++)
        if (strcmp(manifest->facts[i].key, key) == 0)
            return manifest->facts[i].value;
    return "";
}

/* Files that the backup refers to: the replica; or the path in the catalog, with the settings that
   were given for its bucket. */
static cb_code choose_data_path(const cb_manifest *manifest, const char *given, scratch_place *out,
                                cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_lake_kept kept;
    const char *place, *settings;
    size_t size;
    cb_code code = cb_lake_kept_read(manifest, &arena, &kept, err);

    if (code != CB_OK)
        return code;
    place = kept.replica != NULL ? kept.replica : kept.data_path;
    size = kept.replica != NULL ? strcspn(place, "?") : strlen(place);
    settings = place + size;
    if (given != NULL && strchr(given, '?') != NULL && cb_lake_bucket_is_same(place, given))
        settings = strchr(given, '?');
    if (snprintf(out->data_path, sizeof(out->data_path), "%.*s%s", (int)size, place, settings) >=
        CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the address of the lake's files is too long");
    out->hint = out->data_path;
    /* The target knows its replica by itself; a relative path would mean the scratch folder to it.
     */
    if (kept.replica == NULL)
        out->lake.data_path = out->data_path;
    return CB_OK;
}

static cb_code choose_place(const cb_scratch *scratch, const cb_manifest *manifest,
                            const cb_lake_options *asked, scratch_place *out, cb_error *err)
{
    const char *name = "restored";
    cb_code code;

    memset(out, 0, sizeof(*out));
    out->is_lake = strcmp(manifest->kind, "ducklake") == 0;
    if (out->is_lake)
        name = strcmp(fact_of(manifest, CB_LAKE_FACT_KIND), "sqlite") == 0 ? "lake.sqlite"
                                                                           : "lake.ducklake";
    code = cb_path_join(scratch->path, name, out->path, err);
    if (code != CB_OK || !out->is_lake)
        return code;
    out->lake.all_snapshots = asked->all_snapshots;
    if (strcmp(fact_of(manifest, CB_LAKE_FACT_MODE), "copy") != 0 &&
        fact_of(manifest, CB_LAKE_FACT_MODE)[0] != '\0')
        return choose_data_path(manifest, asked->data_path, out, err);
    if (snprintf(out->data_path, sizeof(out->data_path), "%s/data/", scratch->path) >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", scratch->path);
    out->lake.data_path = out->data_path;
    return CB_OK;
}

static cb_code lake_address(const scratch_place *place, cb_buf *out, cb_error *err)
{
    const char *kind = cb_has_suffix(place->path, ".sqlite") ? "sqlite" : "duckdb";

    return cb_buf_format(out, err, "%s:%s", kind, place->path);
}

static cb_code restore_to(cb_ctx *ctx, cb_repo *repo, const cb_engine *engine,
                          const cb_manifest *manifest, const scratch_place *place, cb_error *err)
{
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf address = {0};
    cb_target_options options = {
        .mend = true, /* a scratch copy, and the question is whether the data is there */
        .look_only = true,
        .state = manifest->state,
        .total_bytes = manifest->source_bytes,
        .lake = place->is_lake ? &place->lake : NULL,
    };
    cb_output_counts counts = {0};
    cb_code code = CB_OK;

    if (place->is_lake)
        code = lake_address(place, &address, err);
    if (code == CB_OK)
        code = engine->target(ctx, place->is_lake ? (const char *)address.data : place->path,
                              &options, &target, err);
    if (code == CB_OK)
        code = cb_target_prepare(target, err);
    if (code == CB_OK)
        code = cb_output(ctx, repo, manifest, target, false, NULL, &counts, err);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    return code;
}

static cb_code open_restored(cb_ctx *ctx, const cb_engine *engine, const scratch_place *place,
                             deep_check *deep, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf address = {0};
    cb_lake_options lake = place->lake;
    cb_code code = CB_OK;

    lake.data_path = place->hint;
    if (!place->is_lake)
        return engine->deep(ctx, place->path, NULL, note_table, deep, err);
    code = lake_address(place, &address, err);
    return code == CB_OK
               ? engine->deep(ctx, (const char *)address.data, &lake, note_table, deep, err)
               : code;
}

static cb_code open_by_engine(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *ref,
                              const cb_lake_options *lake, owned_verify *v, cb_error *err)
{
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    deep_check deep = {v, ref};
    const cb_engine *engine;
    scratch_place place;
    cb_code code;

    cb_event_text(ctx, CB_EVENT_PHASE, "opening %s@%s", ref->name, ref->label);
    code = cb_manifest_load(repo, ref, &manifest, err);
    if (code == CB_OK)
        code = cb_engine_by_kind(manifest->kind, &engine, err);
    if (code == CB_OK)
        code = cb_scratch_make(ctx, &scratch, err);
    if (code == CB_OK)
        code = choose_place(&scratch, manifest, lake, &place, err);
    if (code == CB_OK)
        code = restore_to(ctx, repo, engine, manifest, &place, err);
    if (code == CB_OK)
        code = open_restored(ctx, engine, &place, &deep, err);
    return code;
}

static cb_code deep_all(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                        const cb_lake_options *lake, owned_verify *v, cb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        cb_code code;

        if (!v->audit.is_good[i]) /* damage was found already: the engine has nothing to add */
            continue;
        code = open_by_engine(ctx, repo, &refs[i], lake, v, err);
        if (code == CB_RETRY) { /* what it refers to is not in its place: nothing to open */
            cb_event_text(ctx, CB_EVENT_WARNING, "%s@%s was not opened: %s", refs[i].name,
                          refs[i].label, err->message);
            cb_error_clear(err);
            continue;
        }
        if (code == CB_CORRUPT) {
            char reason[CB_MESSAGE_MAX];

            memcpy(reason, err->message, sizeof(reason));
            cb_error_clear(err);
            v->audit.is_good[i] = false;
            code = cb_audit_damage(&v->audit, &refs[i], "database", NULL, reason, err);
        }
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* ---- lakes ------------------------------------------------------------------------------- */

/* What a lake's catalog names must be in its backup: the chunks alone do not tell. */
static cb_code compare_lakes(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                             const char *data_path, owned_verify *v, cb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
        cb_code code;

        if (!v->audit.is_good[i])
            continue;
        code = cb_manifest_load(repo, &refs[i], &manifest, err);
        if (code == CB_NOT_FOUND && cb_manifest_is_gone(repo, &refs[i])) {
            cb_error_clear(err);
            continue;
        }
        if (code == CB_OK && strcmp(manifest->kind, cb_ducklake_engine.kind) == 0)
            code = cb_lake_verify(ctx, repo, &refs[i], manifest, data_path, &v->audit,
                                  &v->audit.is_good[i], err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* ---- which ------------------------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
    const cb_manifest_ref *left = a;
    const cb_manifest_ref *right = b;
    int order = strcmp(right->label, left->label);

    if (order != 0)
        return order;
    return strcmp(left->name, right->name);
}

/* The newest that no engine has opened; when there is none, the one that was opened longest ago. */
static cb_code schedule(cb_ctx *ctx, cb_repo *repo, cb_manifest_ref *refs, size_t *count,
                        owned_verify *v, cb_error *err)
{
    int64_t oldest_us = INT64_MAX;
    size_t chosen = 0;

    if (*count == 0)
        return CB_OK;
    qsort(refs, *count, sizeof(*refs), newest_first);
    for (size_t i = 0; i < *count && oldest_us > 0; i++) {
        cb_backup_note note;
        cb_code code = cb_check_cancel(ctx, err);

        if (code == CB_OK)
            code = cb_manifest_note(repo, &refs[i], &note, err);
        if (code != CB_OK)
            return code;
        if (note.opened_us < oldest_us) {
            oldest_us = note.opened_us;
            chosen = i;
        }
    }
    refs[0] = refs[chosen];
    *count = 1;
    return cb_arena_format(&v->audit.arena, &v->public.chosen, err, "%s@%s", refs[0].name,
                           refs[0].label);
}

static cb_code choose(cb_repo *repo, const cb_verify_request *request, cb_manifest_ref **refs,
                      size_t *count, cb_error *err)
{
    const char *backup = request->backup;

    if (backup == NULL)
        return cb_manifest_list(repo, NULL, refs, count, err);
    *refs = malloc(sizeof(**refs));
    if (*refs == NULL)
        return cb_fail_memory(err, sizeof(**refs));
    *count = 1;
    if (cb_manifest_find(repo, backup, *refs, err) != CB_OK)
        return err->code;
    if (!request->schedule || strchr(backup, '@') != NULL)
        return CB_OK;
    free(*refs); /* a name alone: all of it */
    *refs = NULL;
    return cb_manifest_list(repo, backup, refs, count, err);
}

/* ---- verify ------------------------------------------------------------------------------ */

/* Notes for people and for the next run, worth no failure: a repository may be read-only here. */
static void remember(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                     bool deep, const cb_audit_report *audit)
{
    int64_t now = cb_now_us(ctx);
    /* Of a share, a backup is as good as the pack that was not looked at for longest. */
    int64_t verified_us = audit->is_part ? audit->all_checked_us : now;

    for (size_t i = 0; i < count; i++) {
        cb_backup_note note;
        cb_backup_note before;
        cb_error ignored = {0};
        cb_code code;

        if (!deep && (!audit->is_good[i] || (audit->is_part && !audit->has_come_round)))
            continue;
        code = cb_manifest_note(repo, &refs[i], &before, &ignored);
        note = before;
        if (audit->is_good[i] && verified_us > note.verified_us)
            note.verified_us = verified_us;
        if (deep)
            note.opened_us = now;
        if (code == CB_OK && (note.verified_us != before.verified_us || deep))
            code = cb_manifest_set_note(repo, &refs[i], &note, &ignored);
        if (code != CB_OK)
            cb_event_text(ctx, CB_EVENT_DEBUG, "the time of verify was not kept: %s",
                          ignored.message);
    }
}

static cb_code run(cb_ctx *ctx, const cb_verify_request *request, owned_verify *v, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    cb_audit_share share = {
        .percent = request->percent,
        .max_bytes = request->max_bytes,
        .remember = request->backup == NULL && !request->schedule,
    };
    bool deep = request->deep || request->schedule;
    size_t count = 0;
    cb_code code;

    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = choose(repo, request, &refs, &count, err);
    if (code == CB_OK && request->schedule)
        code = schedule(ctx, repo, refs, &count, v, err);
    if (code != CB_OK)
        return code;
    cb_event_text(ctx, CB_EVENT_PHASE, "verifying");
    code = cb_audit(ctx, repo, refs, count, CB_AUDIT_CONTENT, &share, &v->audit, err);
    if (code == CB_OK && !v->audit.is_part)
        code = compare_lakes(ctx, repo, refs, count, request->lake.data_path, v, err);
    if (code == CB_OK && deep)
        code = deep_all(ctx, repo, refs, count, &request->lake, v, err);
    cb_command_condemn(ctx, repo, v->audit.damaged_count > 0);
    if (code != CB_OK)
        return code;
    remember(ctx, repo, refs, count, deep, &v->audit);
    v->public.backups = count;
    return CB_OK;
}

cb_code cb_verify(cb_ctx *ctx, const cb_verify_request *request, cb_verify_result **out,
                  cb_error *err)
{
    int64_t began = cb_monotonic_us();
    owned_verify *v = calloc(1, sizeof(*v));
    cb_code code;

    *out = NULL;
    if (v == NULL)
        return cb_fail_memory(err, sizeof(*v));
    if (request->percent < 0 || request->percent > 100) {
        free(v);
        return cb_fail(err, CB_USAGE, "a share is more than 0 and at most 100 percent");
    }
    code = run(ctx, request, v, err);
    if (code != CB_OK) {
        cb_verify_result_free(&v->public);
        return code;
    }
    v->public.chunks = v->audit.chunks;
    v->public.bytes = v->audit.bytes;
    v->public.bytes_in_all = v->audit.bytes_in_all;
    v->public.damaged = v->audit.damaged;
    v->public.damaged_count = v->audit.damaged_count;
    v->public.tables = v->tables;
    v->public.seconds = (double)(cb_monotonic_us() - began) / 1e6;
    *out = &v->public;
    return CB_OK;
}

void cb_verify_result_free(cb_verify_result *result)
{
    owned_verify *owned = (owned_verify *)result;

    if (owned == NULL)
        return;
    free(owned->tables);
    cb_audit_report_free(&owned->audit);
    free(owned);
}
