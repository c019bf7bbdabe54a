/*
 * lake_backups.c - the newest backups of a lake, for who asks about the lake and not about them.
 *
 * A lake can be looked at where no repository is, or none that this person may read: that is told,
 * and is no failure.
 */
#include "command/lake_internal.h"

#include "base/text.h"

#include <stdio.h>

static void read_facts(const cb_manifest *manifest, cb_lake_backups *out)
{
    cb_error ignored = {0};

    out->point_us = manifest->point_us;
    out->damaged = manifest->damaged;
    out->snapshot = -1;
    snprintf(out->data, sizeof(out->data), "copy");
    for (size_t i = 0; i < manifest->fact_count; i++) {
        if (strcmp(manifest->facts[i].key, CB_LAKE_FACT_SNAPSHOT) == 0)
            cb_ignore(cb_parse_i64(manifest->facts[i].value, &out->snapshot, &ignored));
        else if (strcmp(manifest->facts[i].key, CB_LAKE_FACT_MODE) == 0)
            snprintf(out->data, sizeof(out->data), "%s", manifest->facts[i].value);
    }
}

/* From the newest to older ones; what was expired since the listing is passed over. */
static cb_code look_at(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                       cb_lake_backups *out, cb_error *err)
{
    int64_t later_us = cb_now_us(ctx);
    cb_code code = CB_OK;

    for (size_t i = count; code == CB_OK && i > 0; i--) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
        const cb_manifest_ref *ref = &refs[i - 1];

        code = cb_manifest_load_listed(repo, ref, &manifest, err);
        if (code == CB_NOT_FOUND) {
            cb_error_clear(err);
            code = CB_OK;
            continue;
        }
        if (code != CB_OK || strcmp(manifest->kind, "ducklake") != 0)
            return code;
        if (later_us - manifest->point_us > out->distance_us)
            out->distance_us = later_us - manifest->point_us;
        later_us = manifest->point_us;
        if (out->newest[0] != '\0')
            continue;
        snprintf(out->newest, sizeof(out->newest), "%s@%s", ref->name, ref->label);
        read_facts(manifest, out);
        code = cb_manifest_verified(repo, ref, &out->verified_us, err);
    }
    return code;
}

static cb_code look(cb_ctx *ctx, const char *name, cb_lake_backups *out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_binding binding = {0};
    size_t some;
    cb_code code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);

    if (code != CB_OK)
        return code;
    if (!cb_repo_facts_of(repo)->can_read)
        return cb_fail(err, CB_DENIED, "a write-only key cannot read the backups");
    out->is_looked_into = true;
    code = cb_manifest_list(repo, name, &refs, &out->count, err);
    if (code != CB_OK || out->count == 0)
        return code;
    some = out->count < CB_LAKE_BACKUPS_LOOKED_AT ? out->count : CB_LAKE_BACKUPS_LOOKED_AT;
    code = cb_manifest_preload(repo, refs + out->count - some, some, err);
    if (code == CB_OK)
        code = look_at(ctx, repo, refs + out->count - some, some, out, err);
    if (code == CB_OK)
        code = cb_name_binding(repo, name, &arena, &binding, err);
    if (code == CB_OK)
        snprintf(out->identity, sizeof(out->identity), "%s", binding.identity);
    return code;
}

cb_code cb_lake_backups_look(cb_ctx *ctx, const char *name, cb_lake_backups *out, cb_error *err)
{
    cb_code code;

    *out = (cb_lake_backups){.snapshot = -1};
    if (ctx->settings.repository == NULL || name == NULL || name[0] == '\0')
        return CB_OK;
    code = look(ctx, name, out, err);
    if (code == CB_OK || code == CB_CANCELLED || code == CB_NO_MEMORY)
        return code;
    if (code != CB_NOT_FOUND || !err->in_repository)
        snprintf(out->trouble, sizeof(out->trouble), "%s", err->message);
    cb_error_clear(err);
    return CB_OK;
}
