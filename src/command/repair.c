/*
 * repair.c - rebuild the index from the packs, then say what is still missing.
 */
#include "command/command_internal.h"

#include "storage/place.h"

#include <stdlib.h>

typedef struct owned_repair {
    cb_repair_result public; /* first */
    cb_audit_report audit;
} owned_repair;

static void warn_of_pack(void *arg, const char *pack, const char *reason)
{
    cb_event_text(arg, CB_EVENT_WARNING, "pack %s: %s", pack, reason);
}

static void store_cleanup(cb_store **store)
{
    cb_store_close(*store);
}

/* Before anything else: what others replaced may be what the repository opens with. */
static cb_code bring_back(cb_ctx *ctx, uint64_t *reverted, cb_error *err)
{
    CB_CLEANUP(store_cleanup) cb_store *store = NULL;
    cb_code code;

    if (ctx->settings.repository == NULL || !cb_place_is_remote(ctx->settings.repository))
        return CB_OK;
    code = cb_store_open(ctx, ctx->settings.repository, false, &store, err);
    if (code == CB_OK)
        cb_event_text(ctx, CB_EVENT_PHASE, "looking for what was replaced");
    if (code == CB_OK)
        code = cb_repo_bring_back(ctx, store, reverted, err);
    if (code != CB_DENIED)
        return code;
    cb_event_text(ctx, CB_EVENT_WARNING, "older versions were not looked at: %s", err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code run_repair(cb_ctx *ctx, owned_repair *r, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    size_t count = 0;
    cb_code code;

    code = bring_back(ctx, &r->public.reverted, err);
    if (code == CB_OK)
        code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code != CB_OK)
        return code;
    r->public.uploads_removed = cb_command_clear_uploads(ctx, repo);
    cb_event_text(ctx, CB_EVENT_PHASE, "rebuilding the index");
    code = cb_repo_rebuild_index(repo, warn_of_pack, ctx, &r->public.packs, &r->public.chunks, err);
    if (code == CB_OK)
        code = cb_manifest_list(repo, NULL, &refs, &count, err);
    if (code == CB_OK)
        code = cb_audit(ctx, repo, refs, count,
                        cb_repo_has_damage(repo) ? CB_AUDIT_CONTENT : CB_AUDIT_PRESENT, NULL,
                        &r->audit, err);
    return code;
}

cb_code cb_repair(cb_ctx *ctx, cb_repair_result **out, cb_error *err)
{
    owned_repair *r = calloc(1, sizeof(*r));
    cb_code code;

    *out = NULL;
    if (r == NULL)
        return cb_fail_memory(err, sizeof(*r));
    code = run_repair(ctx, r, err);
    if (code != CB_OK) {
        cb_repair_result_free(&r->public);
        return code;
    }
    r->public.damaged = r->audit.damaged;
    r->public.damaged_count = r->audit.damaged_count;
    *out = &r->public;
    return CB_OK;
}

void cb_repair_result_free(cb_repair_result *result)
{
    owned_repair *owned = (owned_repair *)result;

    if (owned == NULL)
        return;
    cb_audit_report_free(&owned->audit);
    free(owned);
}
