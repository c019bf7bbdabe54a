/*
 * preload.c - before many backups are looked at: their manifests are fetched several at a time into
 * what this machine keeps, and one listing tells which of them have notes.
 */
#include "repo/fetch.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/pool.h"

enum { MANIFESTS_AT_ONCE = 16, WORTH_IT = 3 };

/* ---- notes -------------------------------------------------------------------------------- */

void cb_note_list_free(cb_note_list *list)
{
    cb_arena_free(&list->arena);
    free(list->notes);
    memset(list, 0, sizeof(*list));
}

static cb_code see_note(void *arg, const cb_object *object, cb_error *err)
{
    cb_note_list *list = arg;
    cb_code code = CB_OK;

    if (list->count == list->capacity)
        code = cb_array_grow(&list->notes, &list->capacity, sizeof(*list->notes), err);
    if (code == CB_OK)
        code = cb_arena_text(&list->arena, object->key, &list->notes[list->count].key, err);
    if (code == CB_OK)
        list->notes[list->count++].modified_us = object->modified_us;
    return code;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const cb_listed_note *)a)->key, ((const cb_listed_note *)b)->key);
}

bool cb_note_is_absent(const cb_repo *repo, const char *key, uint64_t *version)
{
    cb_listed_note wanted = {.key = key};
    const cb_listed_note *found;

    *version = 0;
    if (!repo->notes.is_listed)
        return false;
    found = repo->notes.count > 0
                ? bsearch(&wanted, repo->notes.notes, repo->notes.count, sizeof(wanted), by_key)
                : NULL;
    if (found != NULL)
        *version = (uint64_t)found->modified_us;
    return found == NULL;
}

static void list_notes(cb_repo *repo)
{
    cb_error quiet = {0};

    cb_note_list_free(&repo->notes);
    repo->notes.is_listed =
        cb_store_list(repo->store, "verified/", see_note, &repo->notes, &quiet) == CB_OK;
    if (!repo->notes.is_listed)
        cb_note_list_free(&repo->notes); /* each is asked for, then */
}

/* ---- manifests ---------------------------------------------------------------------------- */

/* What fails here is told when the manifest is loaded. */
static cb_code fetch_manifest(void *arg, unsigned worker, void *job, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_repo *repo = arg;
    const cb_manifest_ref *ref;
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_error quiet = {0};

    (void)worker;
    memcpy(&ref, job, sizeof(ref));
    cb_ref_key(repo, ref, key);
    cb_ignore(cb_object_read_kept(repo, key, 0, CB_MANIFEST_BYTES_MAX, &raw, &view, &quiet));
    return cb_check_cancel(repo->ctx, err);
}

static cb_code fetch_manifests(cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                               cb_error *err)
{
    cb_pool *pool;
    cb_code code = cb_pool_new(MANIFESTS_AT_ONCE, 2 * MANIFESTS_AT_ONCE, sizeof(refs),
                               fetch_manifest, repo, &pool, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        const cb_manifest_ref *ref = &refs[i];

        code = cb_pool_submit(pool, &ref, err);
    }
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

cb_code cb_manifest_preload(cb_repo *repo, const cb_manifest_ref *refs, size_t count, cb_error *err)
{
    if (count < WORTH_IT || cb_fetch_cache(repo) == NULL)
        return CB_OK;
    list_notes(repo);
    return repo->single_threaded ? CB_OK : fetch_manifests(repo, refs, count, err);
}
