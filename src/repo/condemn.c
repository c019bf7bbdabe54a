/*
 * Condemning packs that are damaged or lost: a list of suspects tells everyone.
 *
 * While it has no verdict every backup looks up each chunk by itself, does not find those of the
 * packs that it names, and stores them again if its source still has them. Reclaim gives the
 * verdict once nothing that is needed lies there alone.
 */
#include "repo/reclaim_internal.h"

#include <stdlib.h>

#include "base/array.h"

void cb_bad_packs_free(cb_bad_packs *bad)
{
    free(bad->ids);
    memset(bad, 0, sizeof(*bad));
}

cb_code cb_bad_packs_add(cb_bad_packs *bad, const uint8_t id[CB_PACK_ID_BYTES], cb_error *err)
{
    cb_code code = CB_OK;

    if (bad->count == bad->capacity)
        code = cb_array_grow(&bad->ids, &bad->capacity, sizeof(*bad->ids), err);
    if (code == CB_OK)
        memcpy(bad->ids[bad->count++].bytes, id, CB_PACK_ID_BYTES);
    return code;
}

/* Those that a list names already need no other; neither do those that went. */
static cb_code forget_listed(cb_repo *repo, cb_bad_packs *bad, cb_error *err)
{
    CB_CLEANUP(cb_reclaim_lists_free) cb_reclaim_lists lists = {0};
    size_t kept = 0;
    cb_code code = cb_reclaim_lists_read(repo, true, &lists, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < bad->count; i++)
        if (!cb_reclaim_lists_have(&lists, bad->ids[i].bytes))
            bad->ids[kept++] = bad->ids[i];
    bad->count = kept;
    return CB_OK;
}

/* A list needs a number of reclaim's: a session is opened and ended for it. It removes nothing, so
   it waits for no reclaim that is at work. */
cb_code cb_condemn(cb_repo *repo, cb_bad_packs *bad, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_session_request request = {
        .name = CB_NAME_RECLAIM, .is_beside_others = true, .single_threaded = true};
    cb_session *session;
    char key[CB_KEY_MAX];
    cb_code code = forget_listed(repo, bad, err);

    if (code != CB_OK || bad->count == 0)
        return code;
    code = cb_session_open(repo, &request, &session, err);
    if (code != CB_OK)
        return code;
    code = cb_pack_list_render(bad->ids, bad->count, &payload, err);
    cb_key_reclaim(key, cb_session_number(session), "suspect");
    if (code == CB_OK)
        code =
            cb_object_write(repo, CB_OBJECT_SUSPECT, key, CB_PUT_NEW, cb_buf_bytes(&payload), err);
    cb_session_free(session);
    return code;
}

/* Named by the index and not there. What a verdict removed is left out later. */
static cb_code add_lost(cb_repo *repo, cb_bad_packs *bad, cb_error *err)
{
    const cb_index *index = &repo->index;
    cb_code code = cb_repo_load_all(repo, err);

    for (size_t i = 0; code == CB_OK && i < index->pack_count; i++)
        if (index->packs[i].indexed && !index->packs[i].exists)
            code = cb_bad_packs_add(bad, index->packs[i].id, err);
    return code;
}

bool cb_repo_has_damage(cb_repo *repo)
{
    return atomic_load(&repo->has_damage);
}

cb_code cb_repo_condemn(cb_repo *repo, bool find_lost, size_t *count, cb_error *err)
{
    CB_CLEANUP(cb_bad_packs_free) cb_bad_packs bad = {0};
    cb_code code = CB_OK;

    *count = 0;
    if (find_lost)
        code = add_lost(repo, &bad, err);
    pthread_rwlock_rdlock(&repo->lock);
    for (size_t i = 0; code == CB_OK && i < repo->damaged_count; i++)
        code = cb_bad_packs_add(&bad, repo->damaged[i], err);
    pthread_rwlock_unlock(&repo->lock);
    if (code == CB_OK && bad.count > 0)
        code = cb_condemn(repo, &bad, err);
    if (code != CB_OK)
        return cb_context(err, "marking damaged packs");
    *count = bad.count;
    return CB_OK;
}
