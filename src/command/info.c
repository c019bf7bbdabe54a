/*
 * info.c - list and show: what backups there are, and one of them in detail. Neither takes a lock.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "codec/field.h"
#include "source/ducklake/ducklake.h"

#include <stdlib.h>
#include <time.h>

static cb_code copy_pairs(cb_arena *arena, const cb_pair *from, size_t count, const cb_pair **out,
                          cb_error *err)
{
    cb_pair *pairs;
    cb_code code;

    *out = NULL;
    if (count == 0)
        return CB_OK;
    code = cb_arena_alloc(arena, count * sizeof(*pairs), &pairs, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        code = cb_arena_text(arena, from[i].key, &pairs[i].key, err);
        if (code == CB_OK)
            code = cb_arena_text(arena, from[i].value, &pairs[i].value, err);
    }
    if (code == CB_OK)
        *out = pairs;
    return code;
}

cb_code cb_backup_info_fill(cb_repo *repo, const cb_manifest_ref *ref, const cb_manifest *manifest,
                            cb_arena *arena, cb_backup_info *out, cb_error *err)
{
    const struct {
        const char *from;
        const char **to;
    } texts[] = {
        {ref->name, &out->name},          {ref->label, &out->label},
        {manifest->kind, &out->kind},     {manifest->confirmed, &out->confirmed},
        {manifest->source, &out->source}, {manifest->host, &out->host},
    };
    cb_code code = CB_OK;

    out->started_us = manifest->started_us;
    out->point_us = manifest->point_us;
    out->finished_us = manifest->finished_us;
    out->source_bytes = manifest->source_bytes;
    out->read_bytes = manifest->read_bytes;
    out->new_bytes = manifest->new_bytes;
    out->stored_bytes = manifest->stored_bytes;
    out->chunks = manifest->chunks;
    out->new_chunks = manifest->new_chunks;
    out->passes = manifest->passes;
    out->commits_in_log = manifest->commits_in_log;
    out->damaged = manifest->damaged;
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(texts); i++)
        code = cb_arena_text(arena, texts[i].from, texts[i].to, err);
    out->tag_count = manifest->tag_count;
    if (code == CB_OK)
        code = copy_pairs(arena, manifest->tags, manifest->tag_count, &out->tags, err);
    if (code == CB_OK)
        code = cb_manifest_verified(repo, ref, &out->verified_us, err);
    return code;
}

/* ---- list -------------------------------------------------------------------------------- */

typedef struct owned_list {
    cb_list_result public; /* first */
    cb_arena arena;
} owned_list;

static cb_code no_such_name(const char *name, cb_error *err)
{
    cb_fail(err, CB_NOT_FOUND, "there is no backup of '%s' in the repository", name);
    cb_hint(err, "`canvasback list` shows the names that it has.");
    err->in_repository = true;
    return err->code;
}

/* What the name of a manifest tells those who may not read it; the label is its start in UTC. */
static cb_code fill_sealed(const cb_manifest_ref *ref, cb_arena *arena, cb_backup_info *out,
                           cb_error *err)
{
    struct tm start = {0};
    cb_code code = cb_arena_text(arena, ref->name, &out->name, err);

    out->is_sealed = true;
    if (strptime(ref->label, "%Y%m%d-%H%M%S", &start) != NULL)
        out->started_us = (int64_t)timegm(&start) * 1000000;
    return code == CB_OK ? cb_arena_text(arena, ref->label, &out->label, err) : code;
}

static cb_code fill_list_sealed(const cb_manifest_ref *refs, size_t count, owned_list *list,
                                cb_error *err)
{
    cb_backup_info *infos;
    cb_code code = cb_arena_alloc(&list->arena, (count + 1) * sizeof(*infos), &infos, err);

    for (size_t i = 0; code == CB_OK && i < count; i++)
        code = fill_sealed(&refs[i], &list->arena, &infos[i], err);
    list->public.backups = infos;
    list->public.count = code == CB_OK ? count : 0;
    return code;
}

static cb_code fill_list(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                         owned_list *list, cb_error *err)
{
    cb_backup_info *infos;
    cb_code code;

    code = cb_arena_alloc(&list->arena, (count + 1) * sizeof(*infos), &infos, err);
    if (code == CB_OK)
        code = cb_manifest_preload(repo, refs, count, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;

        code = cb_check_cancel(ctx, err);
        if (code == CB_OK)
            code = cb_manifest_load_listed(repo, &refs[i], &manifest, err);
        if (code == CB_NOT_FOUND) { /* expired while we read */
            cb_error_clear(err);
            code = CB_OK;
            continue;
        }
        if (code == CB_CORRUPT) { /* one bad manifest must not hide the others */
            cb_event_text(ctx, CB_EVENT_ERROR, "%s", err->message);
            cb_error_clear(err);
            code = CB_OK;
            continue;
        }
        if (code == CB_OK)
            code = cb_backup_info_fill(repo, &refs[i], manifest, &list->arena,
                                       &infos[list->public.count], err);
        if (code == CB_OK)
            list->public.count++;
    }
    list->public.backups = infos;
    return code;
}

cb_code cb_list(cb_ctx *ctx, const char *name, cb_list_result **out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    owned_list *list;
    size_t count;
    cb_code code;

    *out = NULL;
    if (name != NULL && cb_name_check(name, err) != CB_OK)
        return err->code;
    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_manifest_list(repo, name, &refs, &count, err);
    if (code != CB_OK)
        return code;
    if (name != NULL && count == 0)
        return no_such_name(name, err);
    list = calloc(1, sizeof(*list));
    if (list == NULL)
        return cb_fail_memory(err, sizeof(*list));
    code = cb_repo_facts_of(repo)->can_read ? fill_list(ctx, repo, refs, count, list, err)
                                            : fill_list_sealed(refs, count, list, err);
    if (code != CB_OK) {
        cb_list_result_free(&list->public);
        return code;
    }
    *out = &list->public;
    return CB_OK;
}

void cb_list_result_free(cb_list_result *result)
{
    owned_list *owned = (owned_list *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}

/* ---- show -------------------------------------------------------------------------------- */

typedef struct owned_show {
    cb_show_result public; /* first */
    cb_arena arena;
    cb_item_info *items;
    size_t capacity;
} owned_show;

static cb_code count_chunks(cb_tree *tree, const cb_item *item, uint64_t *out, cb_error *err)
{
    cb_entry entries[256];
    uint64_t count = cb_item_chunks(item);
    cb_code code = CB_OK;

    *out = 0;
    for (uint64_t first = 0; code == CB_OK && first < count; first += CB_LENGTH(entries)) {
        size_t some =
            count - first < CB_LENGTH(entries) ? (size_t)(count - first) : CB_LENGTH(entries);

        code = cb_tree_entries(tree, first, some, entries, err);
        for (size_t i = 0; code == CB_OK && i < some; i++)
            *out += !cb_entry_is_hole(&entries[i]);
    }
    return code;
}

/* What does not parse is some other kind's. */
static bool was_damaged(const cb_item *item)
{
    cb_field_reader reader = {item->attrs};
    cb_error ignored = {0};
    cb_field field;
    uint64_t value = 0;
    bool more;

    while (cb_field_next(&reader, &field, &more, &ignored) == CB_OK && more)
        if (field.tag == CB_LAKE_ATTR_DAMAGED)
            cb_ignore(cb_field_u64(&field, &value, &ignored));
    return value != 0;
}

static cb_code fill_items(cb_repo *repo, const cb_manifest *manifest, owned_show *show,
                          cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    bool is_lake = strcmp(manifest->kind, cb_ducklake_engine.kind) == 0;
    cb_item item;
    bool more;
    cb_code code;

    code = cb_tree_open(repo, manifest, &tree, err);
    while (code == CB_OK) {
        cb_item_info *info;

        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            break;
        if (show->public.item_count == show->capacity)
            code = cb_array_grow(&show->items, &show->capacity, sizeof(*show->items), err);
        if (code != CB_OK)
            break;
        info = &show->items[show->public.item_count++];
        info->kind = cb_item_kind_name(item.kind);
        info->size_bytes = item.size_bytes;
        info->is_damaged = is_lake && was_damaged(&item);
        code = cb_arena_text(&show->arena, item.path, &info->path, err);
        if (code == CB_OK)
            code = count_chunks(tree, &item, &info->chunks, err);
    }
    show->public.items = show->items;
    return code;
}

cb_code cb_show(cb_ctx *ctx, const char *backup, cb_show_result **out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    cb_manifest_ref ref;
    owned_show *show;
    cb_code code;

    *out = NULL;
    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_command_find(repo, backup, &ref, &manifest, err);
    if (code != CB_OK)
        return code;
    show = calloc(1, sizeof(*show));
    if (show == NULL)
        return cb_fail_memory(err, sizeof(*show));
    code = cb_backup_info_fill(repo, &ref, manifest, &show->arena, &show->public.backup, err);
    show->public.fact_count = manifest->fact_count;
    if (code == CB_OK)
        code = cb_cover_look(ctx, repo, &ref, &show->public.backup.locked_until_us, err);
    if (code == CB_OK)
        code = copy_pairs(&show->arena, manifest->facts, manifest->fact_count, &show->public.facts,
                          err);
    if (code == CB_OK)
        code = fill_items(repo, manifest, show, err);
    if (code != CB_OK) {
        cb_show_result_free(&show->public);
        return code;
    }
    *out = &show->public;
    return CB_OK;
}

void cb_show_result_free(cb_show_result *result)
{
    owned_show *owned = (owned_show *)result;

    if (owned == NULL)
        return;
    free(owned->items);
    cb_arena_free(&owned->arena);
    free(owned);
}
