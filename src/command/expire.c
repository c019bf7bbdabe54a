/*
 * expire.c - apply retention, then give back the space.
 *
 * Manifests go first (each by the rule of the repository), packs after: a crash in between leaves
 * garbage that the next run collects. A manifest that cannot be read stops everything, since it
 * may need any chunk.
 */
#include "command/command_internal.h"

#include <stdlib.h>

typedef struct owned_expire {
    cb_expire_result public; /* first */
    cb_arena arena;
} owned_expire;

typedef struct candidate_ref {
    cb_manifest_ref ref;
    cb_candidate candidate;
    bool is_locked; /* kept for no other reason */
} candidate_ref;

/* *loaded: how many are there still; another expire may run beside us. */
static cb_code load_candidates(cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                               candidate_ref *into, size_t *loaded, cb_error *err)
{
    *loaded = 0;
    for (size_t i = 0; i < count; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
        cb_code code = cb_manifest_load(repo, &refs[i], &manifest, err);

        if (code == CB_NOT_FOUND) {
            cb_error_clear(err);
            continue;
        }
        if (code != CB_OK) {
            cb_hint(err, "Nothing was removed. doc/recovery.md says what can be done.");
            return cb_context(err, "backup %s@%s", refs[i].name, refs[i].label);
        }
        into[*loaded].ref = refs[i];
        into[*loaded].candidate.point_us = manifest->point_us;
        into[*loaded].candidate.is_good = manifest->damaged == 0;
        (*loaded)++;
    }
    return CB_OK;
}

/*
 * Decide over the backups of one name, which stand at `all` in the order in which they were taken:
 * by number, not by point, since a clock that was set back must not make the newest look old.
 */
static cb_code decide(const cb_expire_request *request, candidate_ref *all, size_t count,
                      cb_arena *arena, cb_expire_entry *entries, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_candidate *candidates = calloc(count, sizeof(*candidates));
    cb_code code;

    if (candidates == NULL)
        return cb_fail_memory(err, count * sizeof(*candidates));
    for (size_t i = 0; i < count; i++)
        candidates[i] = all[i].candidate;
    code = cb_retention(request, candidates, count, arena, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        entries[i].point_us = candidates[i].point_us;
        entries[i].kept = candidates[i].keep;
        entries[i].why = candidates[i].keep ? candidates[i].why : "";
        code = cb_arena_text(arena, all[i].ref.name, &entries[i].name, err);
        if (code == CB_OK)
            code = cb_arena_text(arena, all[i].ref.label, &entries[i].label, err);
    }
    return code;
}

/* What is locked stays: the store would keep it anyway, and a removal of something locked is known
   to be none of ours. */
static cb_code keep_locked(cb_ctx *ctx, cb_repo *repo, candidate_ref *all, cb_expire_entry *entries,
                           size_t count, cb_arena *arena, cb_error *err)
{
    cb_store *store = cb_repo_store(repo);
    int64_t now_us;
    cb_code code = cb_store_now(store, &now_us, err);

    for (size_t i = 0; code == CB_OK && i < count; i++) {
        char key[CB_KEY_MAX];
        char until[CB_TIME_TEXT_MAX];
        int64_t until_us = 0;

        if (entries[i].kept)
            continue;
        code = cb_check_cancel(ctx, err);
        cb_manifest_object(repo, &all[i].ref, key);
        if (code == CB_OK)
            code = cb_store_retained(store, key, &until_us, err);
        if (code == CB_NOT_FOUND) { /* another expire was quicker */
            cb_error_clear(err);
            code = CB_OK;
        }
        if (code != CB_OK || until_us <= now_us)
            continue;
        entries[i].kept = true;
        all[i].is_locked = true;
        code = cb_arena_format(arena, &entries[i].why, err, "locked until %s",
                               cb_format_local(until_us, until));
    }
    return code;
}

static cb_code remove_them(cb_ctx *ctx, cb_repo *repo, const candidate_ref *all,
                           const cb_expire_entry *entries, size_t count, cb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        cb_code code = cb_check_cancel(ctx, err);

        if (code == CB_OK && !entries[i].kept)
            code = cb_manifest_remove(repo, &all[i].ref, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* What a rule keeps stays locked. */
static void extend_kept(cb_ctx *ctx, cb_repo *repo, const candidate_ref *all,
                        const cb_expire_entry *entries, size_t count)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *kept = calloc(count + 1, sizeof(*kept));
    size_t kept_count = 0;

    if (kept == NULL) {
        cb_event_text(ctx, CB_EVENT_WARNING, "no memory to extend the locks of what is kept");
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (entries[i].kept && !all[i].is_locked)
            kept[kept_count++] = all[i].ref;
    cb_cover_extend(ctx, repo, kept, kept_count);
}

static cb_code reclaim(cb_ctx *ctx, cb_repo *repo, owned_expire *result, cb_error *err)
{
    cb_reclaim_result reclaimed = {0};
    cb_code code;

    cb_event_text(ctx, CB_EVENT_PHASE, "giving back the space");
    (void)cb_command_clear_uploads(ctx, repo);
    code = cb_repo_reclaim(repo, ctx->settings.lock_wait_us, &reclaimed, err);
    result->public.freed_bytes = reclaimed.freed_bytes;
    if (code == CB_OK && reclaimed.pending[0] != '\0')
        code = cb_arena_text(&result->arena, reclaimed.pending, &result->public.pending, err);
    return code;
}

static cb_code run(cb_ctx *ctx, const cb_expire_request *request, owned_expire *result,
                   cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    CB_CLEANUP(cb_free_cleanup) candidate_ref *all = NULL;
    cb_expire_entry *entries;
    size_t count;
    cb_code code;

    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_manifest_list(repo, request->name, &refs, &count, err);
    if (code != CB_OK)
        return code;
    if (request->name != NULL && count == 0) {
        cb_manifest_ref none;

        return cb_manifest_find(repo, request->name, &none, err); /* says what there is */
    }
    all = calloc(count + 1, sizeof(*all));
    if (all == NULL)
        return cb_fail_memory(err, count * sizeof(*all));
    code = cb_arena_alloc(&result->arena, (count + 1) * sizeof(*entries), &entries, err);
    if (code == CB_OK)
        code = load_candidates(repo, refs, count, all, &count, err);
    for (size_t first = 0, end; code == CB_OK && first < count; first = end) {
        for (end = first + 1; end < count && strcmp(all[end].ref.name, all[first].ref.name) == 0;)
            end++;
        code = decide(request, all + first, end - first, &result->arena, entries + first, err);
    }
    result->public.entries = entries;
    result->public.count = count;
    if (code == CB_OK)
        code = keep_locked(ctx, repo, all, entries, count, &result->arena, err);
    if (code == CB_OK && !request->dry_run) {
        code = remove_them(ctx, repo, all, entries, count, err);
        if (code == CB_OK)
            extend_kept(ctx, repo, all, entries, count);
        if (code == CB_OK)
            code = reclaim(ctx, repo, result, err);
        cb_command_condemn(ctx, repo, false);
    }
    return code;
}

cb_code cb_expire(cb_ctx *ctx, const cb_expire_request *request, cb_expire_result **out,
                  cb_error *err)
{
    owned_expire *result;
    cb_code code;

    *out = NULL;
    if (request->name != NULL && cb_name_check(request->name, err) != CB_OK)
        return err->code;
    if (!cb_retention_has_rule(request)) {
        cb_fail(err, CB_USAGE, "no rule says which backups to keep");
        cb_hint(err, "For example: --keep-daily 7 --keep-weekly 4");
        return err->code;
    }
    result = calloc(1, sizeof(*result));
    if (result == NULL)
        return cb_fail_memory(err, sizeof(*result));
    result->public.dry_run = request->dry_run;
    code = run(ctx, request, result, err);
    if (code != CB_OK) {
        cb_expire_result_free(&result->public);
        return code;
    }
    *out = &result->public;
    return CB_OK;
}

void cb_expire_result_free(cb_expire_result *result)
{
    owned_expire *owned = (owned_expire *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
