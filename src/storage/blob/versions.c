/*
 * versions.c - the versions of one key are gathered, ordered and visited when the next key comes.
 */
#include "storage/blob/blob.h"

#include <stdlib.h>

#include "base/array.h"

/* Ids are generations or times: of one length they are ordered as text. */
static int compare_ids(const char *a, const char *b)
{
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);

    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    return strcmp(a, b);
}

static int newest_first(const void *left, const void *right)
{
    const cb_version *a = left;
    const cb_version *b = right;

    if (a->is_latest != b->is_latest)
        return a->is_latest ? -1 : 1;
    return -compare_ids(a->id, b->id);
}

static cb_code visit_group(cb_blob_versions *versions, cb_error *err)
{
    cb_code code = CB_OK;

    if (versions->count == 0)
        return CB_OK;
    qsort(versions->group, versions->count, sizeof(*versions->group), newest_first);
    if (!versions->group[0].is_latest) {
        int64_t since = versions->removed_us;
        cb_version gone = {.key = versions->group[0].key,
                           .id = "",
                           .modified_us = since != 0 ? since : versions->group[0].modified_us,
                           .is_latest = true,
                           .is_removal = true};

        code = versions->visit(versions->arg, &gone, err);
    }
    for (size_t i = 0; i < versions->count && code == CB_OK; i++)
        code = versions->visit(versions->arg, &versions->group[i], err);
    versions->count = 0;
    versions->removed_us = 0;
    cb_arena_free(&versions->arena);
    return code;
}

cb_code cb_blob_versions_add(cb_blob_versions *versions, const cb_version *version,
                             int64_t removed_us, cb_error *err)
{
    cb_version *next;
    cb_code code = CB_OK;

    if (versions->count > 0 && strcmp(versions->group[0].key, version->key) != 0)
        code = visit_group(versions, err);
    if (code == CB_OK && versions->count == versions->capacity)
        code = cb_array_grow(&versions->group, &versions->capacity, sizeof(*next), err);
    if (code != CB_OK)
        return code;
    next = &versions->group[versions->count];
    *next = *version;
    code = cb_arena_text(&versions->arena, version->key, &next->key, err);
    if (code == CB_OK)
        code = cb_arena_text(&versions->arena, version->id, &next->id, err);
    if (code == CB_OK)
        code = cb_arena_text(&versions->arena, version->tag, &next->tag, err);
    if (code != CB_OK)
        return code;
    versions->count++;
    if (removed_us > versions->removed_us)
        versions->removed_us = removed_us;
    return CB_OK;
}

cb_code cb_blob_versions_end(cb_blob_versions *versions, cb_error *err)
{
    return visit_group(versions, err);
}

void cb_blob_versions_free(cb_blob_versions *versions)
{
    cb_arena_free(&versions->arena);
    free(versions->group);
    versions->group = NULL;
    versions->count = versions->capacity = 0;
}
