/*
 * lake_rollback.c - the catalog from before the last migration, back where it was.
 *
 * A migration touches no data file, so the old catalog's files are there unless somebody cleaned
 * up since: that is looked at first, and refused. What the lake is now is backed up before it is
 * replaced, so that a rollback can itself be undone.
 */
#include "command/lake_internal.h"

#include "base/text.h"
#include "source/ducklake/migrate.h"

#include <stdio.h>
#include <stdlib.h>

static const char tag_key[] = "migration";

typedef struct owned_rollback {
    cb_lake_rollback_result public; /* first */
    cb_arena arena;
} owned_rollback;

typedef struct rolling {
    cb_ctx *ctx;
    const char *name, *lake;        /* lake: as given, or as the backup says */
    const cb_lake_options *options; /* NULL: none */
    owned_rollback *owned;
    cb_repo *repo;
    cb_manifest_ref ref;
    cb_manifest *manifest;
    cb_lake_kept kept;
    cb_lake_address address;
    cb_scratch scratch;
    bool is_there;    /* a lake is there, and can be read */
    cb_lake_info now; /* then: what it is */
    /* Of the files that the old catalog names. */
    cb_lake_files *files;
    uint64_t missing;
    char first_missing[512];
} rolling;

static void rolling_free(rolling *r)
{
    cb_manifest_free(r->manifest);
    cb_repo_close(r->repo);
    cb_lake_files_close(r->files);
    cb_scratch_free(&r->scratch);
}

/* ---- which backup --------------------------------------------------------------------------- */

static bool is_before_migration(const cb_manifest *manifest)
{
    for (size_t i = 0; i < manifest->tag_count; i++)
        if (strcmp(manifest->tags[i].key, tag_key) == 0)
            return true;
    return false;
}

static cb_code find_backup(rolling *r, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    size_t count = 0;
    cb_code code = cb_manifest_list(r->repo, r->name, &refs, &count, err);

    for (size_t i = count; code == CB_OK && i > 0; i--) {
        code = cb_manifest_load(r->repo, &refs[i - 1], &r->manifest, err);
        if (code == CB_NOT_FOUND) { /* expired since the listing */
            cb_error_clear(err);
            code = CB_OK;
            continue;
        }
        if (code == CB_OK && is_before_migration(r->manifest)) {
            r->ref = refs[i - 1];
            return cb_lake_kept_read(r->manifest, &r->owned->arena, &r->kept, err);
        }
        cb_manifest_free(r->manifest);
        r->manifest = NULL;
    }
    if (code != CB_OK)
        return code;
    if (count == 0) /* says which names there are */
        return cb_manifest_find(r->repo, r->name, &r->ref, err);
    cb_fail(err, CB_NOT_FOUND, "'%s' has no backup from before a migration", r->name);
    err->in_repository = true;
    cb_hint(err, "`canvasback list %s` shows all there are; `restore` brings any of them back.",
            r->name);
    return err->code;
}

static cb_code find_address(rolling *r, const char *lake, cb_error *err)
{
    const char *schema = r->options != NULL ? r->options->metadata_schema : NULL;

    r->lake = lake != NULL ? lake : r->manifest->source;
    if (schema == NULL && r->kept.kind != CB_LAKE_SQLITE)
        schema = r->kept.schema;
    return cb_lake_address_parse(r->lake, schema, &r->address, err);
}

/* ---- what is there now ---------------------------------------------------------------------- */

static cb_code read_info(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                         cb_error *err)
{
    rolling *r = arg;

    *keep = false;
    return cb_lake_info_read(db, schema, &r->owned->arena, &r->now, err);
}

/* A catalog that a failed migration left unreadable is replaced without a backup of it. */
static cb_code look(rolling *r, cb_error *err)
{
    cb_code code = cb_lake_look(r->ctx, &r->address, read_info, r, err);

    r->is_there = code == CB_OK;
    if (code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_UNSUPPORTED) {
        cb_event_text(
            r->ctx, CB_EVENT_WARNING,
            "what is at %s now cannot be read (%s): it is replaced without a backup of it",
            r->address.shown, err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    if (cb_lake_version_compare(r->now.version, r->kept.version) > 0)
        return CB_OK;
    cb_fail(err, CB_USAGE,
            "the lake is of version %s, as it was before its last migration (%s@%s): there is "
            "nothing to roll back",
            r->now.version, r->ref.name, r->ref.label);
    cb_hint(err, "`canvasback restore %s@%s` brings that backup back all the same.", r->ref.name,
            r->ref.label);
    return err->code;
}

static cb_code back_up_now(rolling *r, cb_error *err)
{
    char change[96];
    cb_pair tag = {"rollback", change};
    cb_lake_options none = {0};
    cb_backup_request request = {
        .source = r->lake,
        .name = r->name,
        .tags = &tag,
        .tag_count = 1,
        .lake = r->options != NULL ? *r->options : none,
    };
    cb_backup_result *result = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf source = {0};
    cb_code code = CB_OK;

    if (!r->is_there)
        return CB_OK;
    if (r->now.snapshot_id != r->kept.snapshot)
        cb_event_text(r->ctx, CB_EVENT_WARNING,
                      "snapshots %lld to %lld came after the migration: the lake goes back to "
                      "before them; the backup that is taken now has them",
                      (long long)r->kept.snapshot + 1, (long long)r->now.snapshot_id);
    snprintf(change, sizeof(change), "v%.40s->v%.40s", r->now.version, r->kept.version);
    request.lake.metadata_schema = r->address.schema_is_default ? NULL : r->address.schema;
    if (strncmp(r->lake, "ducklake:", 9) != 0) {
        code = cb_buf_format(&source, err, "ducklake:%s", r->lake);
        request.source = (const char *)source.data;
    }
    if (code == CB_OK)
        code = cb_backup(r->ctx, &request, &result, err);
    if (code == CB_OK) {
        char backup[160];
        cb_verify_request verify = {.backup = backup};
        cb_verify_result *verified = NULL;

        snprintf(backup, sizeof(backup), "%s@%s", result->name, result->label);
        code = cb_verify(r->ctx, &verify, &verified, err);
        if (code == CB_OK && verified->damaged_count > 0)
            code = cb_fail(err, CB_CORRUPT, "the backup '%s' is damaged: %s", backup,
                           verified->damaged[0].reason);
        cb_verify_result_free(verified);
        if (code == CB_OK)
            cb_event_text(
                r->ctx, CB_EVENT_INFO,
                "what the lake is now is kept as %s: `canvasback restore %s LAKE --delta` "
                "brings it back",
                backup, backup);
    }
    cb_backup_result_free(result);
    return code == CB_OK ? CB_OK
                         : cb_context(err, "the lake is as it was, since the backup of what it is "
                                           "now failed");
}

/* Nothing that somebody commits now would be in the backup: then it is not replaced. */
static cb_code check_unmoved(rolling *r, cb_error *err)
{
    int64_t before = r->now.snapshot_id;
    cb_code code;

    if (!r->is_there)
        return CB_OK;
    code = cb_lake_look(r->ctx, &r->address, read_info, r, err);
    if (code != CB_OK || r->now.snapshot_id == before)
        return code;
    cb_fail(err, CB_BUSY,
            "snapshot %lld was committed while the lake was backed up; the lake is "
            "as it was",
            (long long)r->now.snapshot_id);
    cb_hint(err, "Try again when nobody writes to the lake.");
    return err->code;
}

/* ---- the files of the old catalog ----------------------------------------------------------- */

typedef struct file_search {
    rolling *r;
    cb_ledger *ledger;
} file_search;

static cb_code take_pair(void *arg, const cb_ledger_entry *named, const cb_ledger_entry *found,
                         cb_error *err)
{
    rolling *r = ((file_search *)arg)->r;
    uint64_t size;
    cb_code code;

    if (named == NULL || named->kind == CB_LAKE_FILE_SCHEDULED)
        return CB_OK;
    if (found != NULL && (named->size_bytes < 0 || found->size_bytes == named->size_bytes))
        return CB_OK;
    if (found == NULL && named->is_absolute) { /* elsewhere: the listing has not seen it */
        code = cb_lake_files_size(r->files, named->url, &size, err);
        if (code == CB_OK && (named->size_bytes < 0 || size == (uint64_t)named->size_bytes))
            return CB_OK;
        if (code != CB_OK && code != CB_NOT_FOUND)
            return code;
        cb_error_clear(err);
    }
    if (r->missing++ == 0)
        snprintf(r->first_missing, sizeof(r->first_missing), "%s", named->url);
    if (r->missing <= 20)
        cb_event_text(r->ctx, CB_EVENT_WARNING, "'%s' is %s", named->url,
                      found == NULL ? "not there any more" : "of another size");
    return CB_OK;
}

static cb_code compare_files(rolling *r, cb_lake_db *db, cb_ledger *ledger, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    const char *given = r->options != NULL ? r->options->data_path : NULL;
    file_search search = {r, ledger};
    cb_lake_info info;
    cb_code code = cb_lake_schema_read(db, &schema, err);

    if (code == CB_OK)
        code = cb_lake_info_read(db, &schema, &r->owned->arena, &info, err);
    if (code == CB_OK)
        code = cb_lake_info_place(&r->address, given, &r->owned->arena, &info, err);
    if (code == CB_OK)
        code = cb_ledger_add_named(ledger, db, &schema, &info, err);
    if (code == CB_OK)
        code = cb_lake_files_open(r->ctx, given, &r->files, err);
    if (code == CB_OK)
        code = cb_lake_files_list(r->files, info.data_path, info.data_path, ledger, CB_LEDGER_FOUND,
                                  err);
    if (code == CB_OK)
        code = cb_ledger_compare(ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, take_pair, &search, err);
    return code;
}

static cb_code check_files(rolling *r, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_ledger_cleanup) cb_ledger *ledger = NULL;
    bool is_default = r->kept.kind != CB_LAKE_DUCKDB || strcmp(r->kept.schema, "main") == 0;
    cb_code code = cb_lake_copy_open_in(r->ctx, r->scratch.path, r->kept.kind,
                                        is_default ? NULL : r->kept.schema, CB_LAKE_READ, &db, err);

    if (code == CB_OK)
        code = cb_ledger_open(r->ctx, r->scratch.path, &ledger, err);
    if (code == CB_OK)
        code = compare_files(r, db, ledger, err);
    if (code != CB_OK || r->missing == 0)
        return code;
    cb_fail(err, CB_CORRUPT,
            "%llu data files that the old catalog names are not there any more, the first is '%s'; "
            "nothing was changed",
            (unsigned long long)r->missing, r->first_missing);
    cb_hint(err, "`canvasback restore %s@%s LAKE --delta` brings them back with the catalog.",
            r->ref.name, r->ref.label);
    return err->code;
}

/* ---- rollback ------------------------------------------------------------------------------- */

static cb_code fill(rolling *r, cb_error *err)
{
    cb_lake_rollback_result *result = &r->owned->public;
    cb_code code =
        cb_arena_format(&r->owned->arena, &result->backup, err, "%s@%s", r->ref.name, r->ref.label);

    if (code == CB_OK)
        code = cb_arena_text(&r->owned->arena, r->address.shown, &result->address, err);
    result->from = r->is_there ? r->now.version : "unknown";
    result->to = r->kept.version;
    return code;
}

static cb_code publish(rolling *r, cb_error *err)
{
    bool is_default = r->kept.kind != CB_LAKE_DUCKDB || strcmp(r->kept.schema, "main") == 0;
    cb_lake_changes changes = {.copy_schema = is_default ? NULL : r->kept.schema};

    cb_event_text(r->ctx, CB_EVENT_PHASE, "putting the old catalog back");
    return cb_lake_publish(r->ctx, r->scratch.path, r->kept.kind, &r->address, &changes, true, NULL,
                           err);
}

static cb_code run(rolling *r, const char *lake, cb_error *err)
{
    CB_CLEANUP(cb_lake_gate_cleanup) cb_lake_gate *gate = NULL;
    bool waited;
    cb_code code = cb_command_open(r->ctx, CB_OPEN_EXISTING, &r->repo, NULL, err);

    if (code == CB_OK)
        code = find_backup(r, err);
    if (code == CB_OK)
        code = find_address(r, lake, err);
    if (code == CB_OK && (r->address.kind == CB_LAKE_POSTGRES || cb_path_exists(r->address.path)))
        code = cb_lake_gate_open(r->ctx, &r->address, &gate, &waited, err);
    if (code == CB_OK)
        code = look(r, err);
    if (code == CB_OK)
        code = cb_scratch_make(r->ctx, &r->scratch, err);
    if (code == CB_OK)
        code = cb_lake_read_back(r->ctx, r->repo, r->manifest, &r->kept, r->scratch.path, err);
    if (code == CB_OK)
        code = check_files(r, err);
    if (code == CB_OK)
        code = back_up_now(r, err);
    if (code == CB_OK)
        code = check_unmoved(r, err);
    if (code == CB_OK)
        code = publish(r, err);
    return code == CB_OK ? fill(r, err) : code;
}

cb_code cb_lake_rollback(cb_ctx *ctx, const char *name, const char *lake,
                         const cb_lake_options *options, cb_lake_rollback_result **out,
                         cb_error *err)
{
    CB_CLEANUP(rolling_free) rolling r = {.ctx = ctx, .name = name, .options = options};
    cb_code code;

    *out = NULL;
    if (cb_name_check(name, err) != CB_OK)
        return err->code;
    r.owned = calloc(1, sizeof(*r.owned));
    if (r.owned == NULL)
        return cb_fail_memory(err, sizeof(*r.owned));
    code = run(&r, lake, err);
    if (code != CB_OK) {
        cb_lake_rollback_result_free(&r.owned->public);
        return code;
    }
    *out = &r.owned->public;
    return CB_OK;
}

void cb_lake_rollback_result_free(cb_lake_rollback_result *result)
{
    owned_rollback *owned = (owned_rollback *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
