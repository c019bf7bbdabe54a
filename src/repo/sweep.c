/*
 * Sweeping: what a verdict doomed is removed, then what the index said of it, then the lists and
 * the objects of sessions that are over. Every step can be done again by any later run.
 */
#include "repo/reclaim_internal.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

/* ---- packs ------------------------------------------------------------------------------ */

static bool is_doomed(const cb_reclaim *run, const uint8_t *pack)
{
    for (size_t i = 0; i < run->lists.count; i++)
        if (run->lists.lists[i].has_verdict && cb_reclaim_list_has(&run->lists.lists[i], pack))
            return true;
    return false;
}

/* Doomed and still there, by pack number. */
static cb_code doomed_packs(const cb_reclaim *run, bool **out, cb_error *err)
{
    const cb_index *index = &run->repo->index;

    *out = calloc(index->pack_count + 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, index->pack_count);
    for (size_t i = 0; i < index->pack_count; i++)
        (*out)[i] = index->packs[i].exists && is_doomed(run, index->packs[i].id);
    return CB_OK;
}

/* Doomed, there, and needless in our own eyes too: a forged verdict removes nothing needed. */
static cb_code remove_packs(cb_reclaim *run, const bool *doomed, const bool *needed,
                            cb_reclaim_result *result, cb_error *err)
{
    cb_index *index = &run->repo->index;

    for (size_t i = 0; i < index->pack_count; i++) {
        cb_pack_info *pack = &index->packs[i];
        char key[CB_KEY_MAX];
        cb_code code;

        if (!doomed[i] || needed[i])
            continue;
        code = cb_store_remove(run->repo->store, cb_key_pack(key, pack->id), err);
        if (code != CB_OK)
            return code;
        pack->exists = false;
        result->packs_removed++;
        result->freed_bytes += pack->size_bytes;
    }
    return CB_OK;
}

/* ---- index ------------------------------------------------------------------------------ */

static bool is_doomed_and_gone(void *arg, const uint8_t *pack)
{
    const cb_reclaim *run = arg;
    uint32_t number = cb_index_find_pack(&run->repo->index, pack);

    return number != UINT32_MAX && !run->repo->index.packs[number].exists && is_doomed(run, pack);
}

/* The object without what is gone first, then the old one goes. */
static cb_code thin_object(cb_reclaim *run, const cb_index_object *object, cb_error *err)
{
    CB_CLEANUP(cb_index_builder_free) cb_index_builder builder = {0};
    uint8_t id[CB_PACK_ID_BYTES];
    char key[CB_KEY_MAX];
    size_t dropped;
    cb_code code = cb_index_object_collect(run->repo, object->id, is_doomed_and_gone, run, &builder,
                                           &dropped, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err); /* merged by someone else: the next sweep sees to it */
        return CB_OK;
    }
    if (code != CB_OK || dropped == 0)
        return code;
    if (builder.pack_count > 0)
        code = cb_index_object_write(run->repo, cb_session_id(run->session), &builder, id, err);
    if (code == CB_OK)
        code = cb_store_remove(run->repo->store, cb_key_index(key, object->id), err);
    return code;
}

static bool names_gone_packs(const cb_reclaim *run)
{
    const cb_index *index = &run->repo->index;

    for (size_t i = 0; i < index->pack_count; i++)
        if (index->packs[i].indexed && !index->packs[i].exists &&
            is_doomed(run, index->packs[i].id))
            return true;
    return false;
}

static cb_code thin_index(cb_reclaim *run, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    cb_code code = CB_OK;

    if (!names_gone_packs(run))
        return CB_OK;
    for (size_t i = 0; i < index->object_count && code == CB_OK; i++)
        if (!index->objects[i].is_damaged)
            code = thin_object(run, &index->objects[i], err);
    return code;
}

/* ---- lists and sessions ----------------------------------------------------------------- */

static cb_code remove_lists(cb_reclaim *run, cb_error *err)
{
    for (size_t i = 0; i < run->lists.count; i++) {
        const cb_reclaim_list *list = &run->lists.lists[i];
        char key[CB_KEY_MAX];
        cb_code code = CB_OK;

        if (!list->has_verdict)
            continue;
        if (list->has_wait)
            code =
                cb_store_remove(run->repo->store, cb_key_reclaim(key, list->number, "wait"), err);
        if (code == CB_OK && list->has_suspect)
            code = cb_store_remove(run->repo->store, cb_key_reclaim(key, list->number, "suspect"),
                                   err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

typedef struct key_list {
    cb_arena arena;
    const char **keys;
    size_t count, capacity;
} key_list;

static void key_list_free(key_list *list)
{
    free(list->keys);
    cb_arena_free(&list->arena);
}

static cb_code see_beat(void *arg, const cb_object *object, cb_error *err)
{
    key_list *list = arg;
    cb_session_key key;
    cb_code code = CB_OK;

    if (!cb_key_parse_session(object->key, &key) || !cb_has_prefix(key.what, "beat-"))
        return CB_OK;
    if (list->count == list->capacity)
        code = cb_array_grow(&list->keys, &list->capacity, sizeof(*list->keys), err);
    if (code == CB_OK)
        code = cb_arena_text(&list->arena, object->key, &list->keys[list->count], err);
    if (code == CB_OK)
        list->count++;
    return code;
}

/* Only beats that a listing shows: a number in a name is nothing to count up to. */
static cb_code remove_beats(cb_repo *repo, const cb_session_info *info, cb_error *err)
{
    CB_CLEANUP(key_list_free) key_list list = {0};
    char prefix[CB_KEY_MAX];
    cb_code code;

    cb_session_object_key(repo, info->name, info->number, "beat-", prefix);
    code = cb_store_list(repo->store, prefix, see_beat, &list, err);
    for (size_t i = 0; i < list.count && code == CB_OK; i++) {
        code = cb_check_cancel(repo->ctx, err);
        if (code == CB_OK)
            code = cb_store_remove(repo->store, list.keys[i], err);
    }
    return code;
}

/* Beats, `open`, then `end`: what is left by a crash still says that it ended. */
static cb_code remove_session(cb_repo *repo, const cb_session_info *info, cb_error *err)
{
    char key[CB_KEY_MAX];
    cb_code code = info->has_beats ? remove_beats(repo, info, err) : CB_OK;

    if (code == CB_OK && info->has_open)
        code = cb_store_remove(
            repo->store, cb_session_object_key(repo, info->name, info->number, "open", key), err);
    if (code == CB_OK && info->has_ended)
        code = cb_store_remove(
            repo->store, cb_session_object_key(repo, info->name, info->number, "end", key), err);
    return code;
}

static bool has_tombstone(const cb_manifest_key *keys, size_t count, const cb_session_info *info)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].ref.number == info->number && strcmp(keys[i].ref.name, info->name) == 0)
            return keys[i].is_tombstone;
    return false;
}

/* The highest session of a name stays: its number must never be given out again. */
static cb_code remove_sessions(cb_reclaim *run, cb_error *err)
{
    cb_session_info *infos = NULL;
    cb_manifest_key *keys = NULL;
    size_t count;
    size_t key_count;
    cb_code code = cb_session_scan(run->repo, NULL, &infos, &count, err);

    if (code == CB_OK)
        code = cb_manifest_scan(run->repo, NULL, &keys, &key_count, err);
    for (size_t i = 0; code == CB_OK && i + 1 < count; i++) {
        const cb_session_info *info = &infos[i];

        if (strcmp(info->name, infos[i + 1].name) == 0 &&
            (info->has_ended || !info->has_open || has_tombstone(keys, key_count, info)))
            code = remove_session(run->repo, info, err);
    }
    free(infos);
    free(keys);
    return code;
}

cb_code cb_reclaim_sweep(cb_reclaim *run, cb_reclaim_result *result, cb_error *err)
{
    bool *doomed = NULL;
    bool *needed = NULL;
    cb_code code = doomed_packs(run, &doomed, err);

    if (code == CB_OK)
        code = cb_reclaim_needed(run, doomed, &needed, err);
    if (code == CB_OK)
        code = remove_packs(run, doomed, needed, result, err);
    free(doomed);
    free(needed);
    if (code == CB_OK)
        code = thin_index(run, err);
    if (code == CB_OK)
        code = remove_lists(run, err);
    if (code == CB_OK)
        code = remove_sessions(run, err);
    return code;
}
