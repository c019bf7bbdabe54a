/*
 * Giving back space: mark, wait, judge, sweep (doc/format.md, "Reclaim").
 *
 *   mark    suspects are packs that no manifest seems to need; the list is told to all
 *   wait    for every session that may have looked up chunks before it saw the list
 *   judge   with all manifests such sessions will ever commit before our eyes: a suspect whose
 *           live chunks all lie elsewhere, in packs that no list names, is doomed for ever; those
 *           other copies are read first
 *   sweep   the doomed are removed
 *
 * Safe beside any number of sessions and other reclaims, and safe to be killed anywhere: what is
 * left is a list without verdict, judged anew by the next run, or a verdict, carried out by it.
 */
#include "repo/reclaim_internal.h"

#include <stdio.h>
#include <stdlib.h>

cb_code cb_reclaim_look(cb_reclaim *run, cb_error *err)
{
    cb_code code;

    cb_reclaim_lists_free(&run->lists);
    code = cb_reclaim_lists_read(run->repo, true, &run->lists, err);
    if (code != CB_OK)
        return code;
    return cb_repo_load_all(run->repo, err);
}

/* ---- mark ------------------------------------------------------------------------------- */

static cb_code write_list(cb_reclaim *run, uint64_t number, cb_object_kind kind,
                          const cb_pack_id *packs, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    char key[CB_KEY_MAX];
    cb_code code = cb_pack_list_render(packs, count, &payload, err);

    if (code != CB_OK)
        return code;
    cb_key_reclaim(key, number, kind == CB_OBJECT_VERDICT ? "verdict" : "suspect");
    code = cb_object_write(run->repo, kind, key, CB_PUT_NEW, cb_buf_bytes(&payload), err);
    if (code == CB_EXISTS) {
        cb_error_clear(err); /* the first create wins; it is read again before it is used */
        code = CB_OK;
    }
    return code;
}

static cb_code mark(cb_reclaim *run, cb_error *err)
{
    cb_pack_id *suspects;
    size_t count;
    cb_code code = cb_reclaim_look(run, err);

    if (code == CB_OK)
        code = cb_live_collect(run->repo, &run->live, err);
    if (code != CB_OK)
        return code;
    code = cb_reclaim_mark(run, &suspects, &count, err);
    if (code != CB_OK)
        return code;
    if (count > 0)
        code = write_list(run, cb_session_number(run->session), CB_OBJECT_SUSPECT, suspects, count,
                          err);
    free(suspects);
    return code;
}

/* ---- judge ------------------------------------------------------------------------------ */

static const cb_reclaim_list *find_list(const cb_reclaim_lists *lists, uint64_t number)
{
    for (size_t i = 0; i < lists->count; i++)
        if (lists->lists[i].number == number)
            return &lists->lists[i];
    return NULL;
}

/* The packs of a list, by pack number. */
static cb_code packs_of(const cb_reclaim *run, const cb_reclaim_list *list, bool **out,
                        cb_error *err)
{
    *out = calloc(run->repo->index.pack_count + 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, run->repo->index.pack_count);
    for (size_t i = 0; i < list->count; i++) {
        uint32_t pack = cb_index_find_pack(&run->repo->index, list->packs[i].bytes);

        if (pack != UINT32_MAX)
            (*out)[pack] = true;
    }
    return CB_OK;
}

static bool is_in_a_verdict(const cb_reclaim *run, const uint8_t *pack)
{
    for (size_t i = 0; i < run->lists.count; i++)
        if (run->lists.lists[i].has_verdict && cb_reclaim_list_has(&run->lists.lists[i], pack))
            return true;
    return false;
}

/* Is there a chunk that a manifest names and no known pack has? */
static bool is_chunk_missing(const cb_reclaim *run)
{
    const cb_index *index = &run->repo->index;
    const uint8_t *last = NULL;
    size_t present = 0;

    for (size_t i = 0; i < index->count; i++) {
        const cb_index_entry *entry = &index->entries[i];

        if (!index->packs[entry->pack].exists || !cb_id_set_has(&run->live, entry->prefix) ||
            (last != NULL && memcmp(last, entry->prefix, CB_INDEX_PREFIX_BYTES) == 0))
            continue;
        last = entry->prefix;
        present++;
    }
    return present < run->live.count;
}

typedef struct harm {
    bool lost;       /* a pack of the list is not there, or nobody knows what it holds */
    bool unreadable; /* a pack of the list is needed, and its footer is damaged */
} harm;

static cb_code look_at_pack(cb_reclaim *run, const uint8_t *id, const bool *needed, harm *found,
                            cb_error *err)
{
    const cb_index *index = &run->repo->index;
    uint32_t number = cb_index_find_pack(index, id);
    cb_footer footer;
    cb_code code;

    if (number == UINT32_MAX || !index->packs[number].exists) {
        found->lost |= !is_in_a_verdict(run, id);
        return CB_OK;
    }
    if (!needed[number])
        return CB_OK;
    code = cb_footer_read(run->repo->store, run->repo->id, id, index->packs[number].size_bytes,
                          run->repo->keys, &footer, err);
    cb_footer_free(&footer);
    if (code == CB_OK)
        return CB_OK;
    if (code != CB_CORRUPT && code != CB_UNSUPPORTED && code != CB_NOT_FOUND && code != CB_IO)
        return code;
    cb_error_clear(err);
    if (code != CB_NOT_FOUND && index->packs[number].indexed)
        found->unreadable = true;
    else
        found->lost = true;
    return CB_OK;
}

/*
 * A list that names what is lost or damaged stays without verdict while something needs it: as long
 * as there is such a list, every backup looks its chunks up instead of trusting its parent, and so
 * stores again what is gone. After a verdict it would rely on it.
 */
static cb_code must_stay_open(cb_reclaim *run, const cb_reclaim_list *list, const bool *at_stake,
                              const bool *needed, bool *out, cb_error *err)
{
    harm found = {0};
    bool has_rot = false;
    cb_code code = CB_OK;

    for (size_t i = 0; i < list->count && code == CB_OK; i++)
        code = look_at_pack(run, list->packs[i].bytes, needed, &found, err);
    if (code == CB_OK && !found.unreadable)
        code = cb_reclaim_has_rot(run, at_stake, &has_rot, err);
    *out = found.unreadable || has_rot || (found.lost && is_chunk_missing(run));
    if (code == CB_OK && *out)
        cb_event_text(run->repo->ctx, CB_EVENT_WARNING,
                      "packs that backups need are damaged or lost: every backup looks up each "
                      "chunk until their chunks were stored again");
    return code;
}

/* Manifests first, then the lists, then packs and index: in this order. */
static cb_code judge(cb_reclaim *run, uint64_t number, cb_error *err)
{
    const cb_reclaim_list *list;
    cb_pack_id *doomed;
    size_t count = 0;
    bool stay_open = false;
    bool *at_stake = NULL;
    bool *needed = NULL;
    cb_code code = cb_live_collect(run->repo, &run->live, err);

    if (code == CB_OK)
        code = cb_reclaim_look(run, err);
    if (code != CB_OK)
        return code;
    list = find_list(&run->lists, number);
    if (list == NULL || list->has_verdict)
        return CB_OK; /* judged by another run meanwhile */
    doomed = calloc(list->count + 1, sizeof(*doomed));
    if (doomed == NULL)
        return cb_fail_memory(err, list->count * sizeof(*doomed));
    code = packs_of(run, list, &at_stake, err);
    if (code == CB_OK)
        code = cb_reclaim_needed(run, at_stake, &needed, err);
    if (code == CB_OK)
        code = must_stay_open(run, list, at_stake, needed, &stay_open, err);
    for (size_t i = 0; code == CB_OK && i < list->count; i++) {
        uint32_t pack = cb_index_find_pack(&run->repo->index, list->packs[i].bytes);

        if (pack == UINT32_MAX || !needed[pack])
            doomed[count++] = list->packs[i];
    }
    if (code == CB_OK && !stay_open)
        code = write_list(run, number, CB_OBJECT_VERDICT, doomed, count, err);
    free(at_stake);
    free(needed);
    free(doomed);
    return code;
}

/* Wait for and judge every list that has no verdict; what is still waited for goes to *pending. */
static cb_code judge_all(cb_reclaim *run, const cb_patience *patience, char pending[256],
                         cb_error *err)
{
    cb_reclaim_lists open = {0};
    cb_code code = cb_reclaim_lists_read(run->repo, false, &open, err);

    for (size_t i = 0; code == CB_OK && i < open.count; i++) {
        const cb_reclaim_list *list = &open.lists[i];
        char who[256] = "";

        if (list->has_verdict || !list->has_suspect)
            continue;
        code = cb_reclaim_wait(run->repo, list, patience, who, err);
        if (code == CB_NOT_FOUND) {
            cb_error_clear(err); /* judged and swept by another run */
            code = CB_OK;
        } else if (code == CB_OK && who[0] != '\0') {
            memcpy(pending, who, sizeof(who));
        } else if (code == CB_OK) {
            code = judge(run, list->number, err);
        }
    }
    cb_reclaim_lists_free(&open);
    return code;
}

/* ---- all of it -------------------------------------------------------------------------- */

static cb_code run_all(cb_reclaim *run, const cb_patience *patience, cb_reclaim_result *out,
                       cb_error *err)
{
    cb_code code = mark(run, err);

    if (code == CB_OK)
        code = judge_all(run, patience, out->pending, err);
    if (code == CB_OK)
        code = cb_reclaim_look(run, err);
    if (code == CB_OK)
        code = cb_reclaim_sweep(run, out, err);
    cb_index_forget(run->repo);
    return code;
}

cb_code cb_repo_reclaim(cb_repo *repo, int64_t wait_us, cb_reclaim_result *out, cb_error *err)
{
    cb_session_request request = {.name = CB_NAME_RECLAIM, .lock_wait_us = wait_us};
    cb_reclaim run = {.repo = repo};
    cb_patience patience = cb_patience_begin(repo->ctx, wait_us);
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = cb_session_open(repo, &request, &run.session, err);
    if (code == CB_BUSY) {
        snprintf(out->pending, sizeof(out->pending), "another run gives back space: %.200s",
                 err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return cb_context(err, "giving back space");
    code = run_all(&run, &patience, out, err);
    cb_session_free(run.session);
    cb_id_set_free(&run.live);
    cb_id_set_free(&run.proven);
    cb_id_set_free(&run.rotten);
    cb_id_set_free(&run.rotten_packs);
    cb_reclaim_lists_free(&run.lists);
    if (code != CB_OK)
        return cb_context(err, "giving back space");
    return CB_OK;
}
