/*
 * Making the index again from the packs' footers.
 *
 * The new objects are written before the old ones go, and only those go that were there when we
 * began: a session at work keeps its own. What they say of packs whose footers are lost is taken
 * over. Packs that are damaged or missing are put on a list of suspects: while it is unjudged every
 * backup looks up each chunk by itself, does not find those, and stores them again if its source
 * still has them.
 */
#include "repo/reclaim_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLUSH_CHUNKS = CB_INDEX_ENTRIES_MAX - CB_PACK_CHUNKS_MAX };

typedef struct repair {
    cb_repo *repo;
    cb_session *session;
    cb_pack_damage_visit *visit;
    void *visit_arg;
    cb_index_builder builder;
    cb_bad_packs bad;
    uint64_t packs, chunks;
} repair;

static cb_code condemn(repair *run, const cb_pack_info *pack, const char *reason, cb_error *err)
{
    char key[CB_KEY_MAX];

    cb_key_pack(key, pack->id);
    if (run->visit != NULL)
        run->visit(run->visit_arg, key, reason);
    return cb_bad_packs_add(&run->bad, pack->id, err);
}

static cb_code flush(repair *run, cb_error *err)
{
    uint8_t id[CB_PACK_ID_BYTES];
    cb_code code;

    if (run->builder.pack_count == 0)
        return CB_OK;
    code = cb_index_object_write(run->repo, cb_session_id(run->session), &run->builder, id, err);
    cb_index_builder_clear(&run->builder);
    return code;
}

static cb_code take_pack(repair *run, const cb_pack_info *pack, cb_error *err)
{
    cb_footer footer;
    cb_code code = cb_footer_read(run->repo->store, run->repo->id, pack->id, pack->size_bytes,
                                  run->repo->keys, &footer, err);

    if (code == CB_CORRUPT || code == CB_UNSUPPORTED) {
        cb_error why = *err;

        cb_error_clear(err);
        return condemn(run, pack, why.message, err);
    }
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err); /* removed by a reclaim since it was listed */
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_index_builder_add(&run->builder, pack->id, footer.kind, cb_footer_wrap(&footer),
                                    footer.entries, footer.count, err);
    run->packs++;
    run->chunks += footer.count;
    cb_footer_free(&footer);
    if (code == CB_OK && run->builder.count >= FLUSH_CHUNKS)
        code = flush(run, err);
    return code;
}

static bool is_not_condemned(void *arg, const uint8_t *pack)
{
    const repair *run = arg;

    for (size_t i = 0; i < run->bad.count; i++)
        if (memcmp(run->bad.ids[i].bytes, pack, CB_PACK_ID_BYTES) == 0)
            return false;
    return true;
}

/*
 * Of a pack whose footer is lost the old index may be the only one who knows where its chunks lie,
 * and they may be as good as ever: what it says is taken over.
 */
static cb_code carry_over(repair *run, const cb_index_object *old, size_t count, cb_error *err)
{
    cb_code code = run->bad.count > 0 ? flush(run, err) : CB_OK;

    for (size_t i = 0; i < count && run->bad.count > 0 && code == CB_OK; i++) {
        size_t dropped;

        code = cb_index_object_collect(run->repo, old[i].id, is_not_condemned, run, &run->builder,
                                       &dropped, err);
        if (code == CB_CORRUPT || code == CB_UNSUPPORTED || code == CB_NOT_FOUND) {
            cb_error_clear(err); /* damaged: told when it was loaded; or merged by a run at work */
            code = CB_OK;
        }
        run->packs += run->builder.pack_count;
        run->chunks += run->builder.count;
        if (code == CB_OK)
            code = flush(run, err);
    }
    return code;
}

/* Named by the index, not there, and no verdict removed them. */
static cb_code find_missing(repair *run, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    cb_reclaim_lists lists;
    cb_code code = cb_reclaim_lists_read(run->repo, true, &lists, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < index->pack_count && code == CB_OK; i++)
        if (index->packs[i].indexed && !index->packs[i].exists &&
            !cb_reclaim_lists_have(&lists, index->packs[i].id))
            code = condemn(run, &index->packs[i], "it is not there", err);
    cb_reclaim_lists_free(&lists);
    return code;
}

/*
 * Packs on a list without verdict are read whole: the list may come from one who has seen a damaged
 * chunk, and whether that is so, and of which packs, is to be told.
 */
static cb_code confirm_chunks(repair *run, const cb_pack_info *pack, const cb_footer *footer,
                              cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    cb_reclaim reader = {.repo = run->repo};
    char key[CB_KEY_MAX];
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < footer->count; i++) {
        code = cb_check_cancel(run->repo->ctx, err);
        if (code == CB_OK)
            code = cb_reclaim_read_copy(&reader, pack->id, &footer->entries[i], CB_HASH_BYTES,
                                        &stored, err);
    }
    if (code != CB_CORRUPT)
        return code;
    cb_key_pack(key, pack->id);
    cb_repo_note_damaged(run->repo, pack->id);
    if (run->visit != NULL)
        run->visit(run->visit_arg, key, err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code confirm(repair *run, cb_error *err)
{
    CB_CLEANUP(cb_reclaim_lists_free) cb_reclaim_lists lists = {0};
    const cb_index *index = &run->repo->index;
    cb_code code = cb_reclaim_lists_read(run->repo, false, &lists, err);

    for (size_t i = 0; code == CB_OK && i < index->pack_count; i++) {
        const cb_pack_info *pack = &index->packs[i];
        cb_footer footer;

        if (!pack->exists || !cb_reclaim_lists_have(&lists, pack->id) ||
            !is_not_condemned(run, pack->id))
            continue;
        code = cb_footer_read(run->repo->store, run->repo->id, pack->id, pack->size_bytes,
                              run->repo->keys, &footer, err);
        if (code == CB_OK)
            code = confirm_chunks(run, pack, &footer, err);
        cb_footer_free(&footer);
        if (code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_UNSUPPORTED) {
            cb_error_clear(err); /* it went meanwhile, or was told of when footers were read */
            code = CB_OK;
        }
    }
    return code;
}

static cb_code rebuild(repair *run, cb_error *err)
{
    cb_repo *repo = run->repo;
    cb_index_object *old;
    size_t old_count;
    char key[CB_KEY_MAX];
    cb_code code = cb_index_list(repo, &old, &old_count, err);

    if (code != CB_OK)
        return code;
    /* Objects before packs: a pack that an old object names is in the listing or is gone. */
    code = cb_repo_load_all(repo, err);
    for (size_t i = 0; code == CB_OK && i < repo->index.pack_count; i++) {
        code = cb_check_cancel(repo->ctx, err);
        if (code == CB_OK && repo->index.packs[i].exists)
            code = take_pack(run, &repo->index.packs[i], err);
    }
    if (code == CB_OK)
        code = confirm(run, err);
    if (code == CB_OK)
        code = carry_over(run, old, old_count, err);
    if (code == CB_OK)
        code = find_missing(run, err);
    if (code == CB_OK)
        code = cb_condemn(run->repo, &run->bad, err);
    if (code == CB_OK)
        code = flush(run, err);
    for (size_t i = 0; code == CB_OK && i < old_count; i++)
        code = cb_store_remove(repo->store, cb_key_index(key, old[i].id), err);
    free(old);
    cb_index_forget(repo);
    return code;
}

cb_code cb_repo_rebuild_index(cb_repo *repo, cb_pack_damage_visit *visit, void *arg,
                              uint64_t *packs, uint64_t *chunks, cb_error *err)
{
    cb_session_request request = {.name = CB_NAME_REPAIR};
    repair run = {.repo = repo, .visit = visit, .visit_arg = arg};
    cb_code code = cb_session_open(repo, &request, &run.session, err);

    *packs = 0;
    *chunks = 0;
    if (code == CB_OK)
        code = cb_config_put_back(repo, err);
    if (code == CB_OK)
        code = rebuild(&run, err);
    *packs = run.packs;
    *chunks = run.chunks;
    cb_session_free(run.session);
    cb_index_builder_free(&run.builder);
    cb_bad_packs_free(&run.bad);
    if (code != CB_OK)
        return cb_context(err, "rebuilding the index");
    return CB_OK;
}
