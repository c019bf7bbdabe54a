/*
 * Marking: which packs no manifest needs. A mark may be wrong or old without harm, since a
 * judgement follows; it only must not be wasteful. So the packs of runs at work are left alone, and
 * those of runs that died lately too while others are at work: the next run finds them again.
 */
#include "repo/reclaim_internal.h"

#include <stdlib.h>

#include "base/array.h"

#define RECENT_US         ((int64_t)7 * 24 * 3600 * 1000000)
#define REWRITE_BYTES_MAX ((uint64_t)4 << 30)

enum { LIVE_PERCENT_KEPT = 70 };

/* ---- sessions whose packs are left alone ------------------------------------------------ */

typedef struct session_ids {
    uint8_t (*ids)[CB_PACK_ID_BYTES / 2];
    size_t count;
    size_t capacity;
} session_ids;

static void session_ids_free(session_ids *list)
{
    free(list->ids);
}

static cb_code add_session(session_ids *list, const uint8_t *id, cb_error *err)
{
    cb_code code = CB_OK;

    if (list->count == list->capacity)
        code = cb_array_grow(&list->ids, &list->capacity, sizeof(*list->ids), err);
    if (code == CB_OK)
        memcpy(list->ids[list->count++], id, sizeof(*list->ids));
    return code;
}

static cb_code sort_out(cb_reclaim *run, const cb_session_info *info, int64_t now_us,
                        session_ids *living, session_ids *dead, bool *others, cb_error *err)
{
    cb_session_open_record record;
    cb_code code = cb_session_open_read(run->repo, info->name, info->number, &record, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_CORRUPT)
        cb_hint(err, "If no run of '%s' is at work, remove this object and try again.", info->name);
    if (code != CB_OK)
        return code;
    if (!cb_session_is_stale(info, &record, now_us)) {
        *others |= memcmp(record.id, cb_session_id(run->session), CB_SESSION_ID_BYTES) != 0;
        return add_session(living, record.id, err);
    }
    if (now_us - info->last_us < RECENT_US)
        return add_session(dead, record.id, err);
    return CB_OK;
}

/* First halves of the pack ids that must not be suspected. */
static cb_code protected_sessions(cb_reclaim *run, session_ids *out, cb_error *err)
{
    CB_CLEANUP(session_ids_free) session_ids dead = {0};
    cb_session_info *infos;
    size_t count;
    int64_t now_us;
    bool others = false;
    cb_code code = cb_session_scan(run->repo, NULL, &infos, &count, err);

    if (code == CB_OK)
        code = cb_store_now(run->repo->store, &now_us, err);
    for (size_t i = 0; code == CB_OK && i < count; i++)
        if (infos[i].has_open && !infos[i].has_ended)
            code = sort_out(run, &infos[i], now_us, out, &dead, &others, err);
    for (size_t i = 0; code == CB_OK && others && i < dead.count; i++)
        code = add_session(out, dead.ids[i], err);
    free(infos);
    return code;
}

static bool is_protected(const session_ids *list, const uint8_t *pack_id)
{
    for (size_t i = 0; i < list->count; i++)
        if (memcmp(list->ids[i], pack_id, sizeof(*list->ids)) == 0)
            return true;
    return false;
}

/* ---- use of each pack ------------------------------------------------------------------- */

static size_t group_end(const cb_index *index, size_t from)
{
    size_t end = from + 1;

    while (end < index->count && memcmp(index->entries[from].prefix, index->entries[end].prefix,
                                        CB_INDEX_PREFIX_BYTES) == 0)
        end++;
    return end;
}

/* Of several copies of a live chunk the one in the fullest safe pack is the one that is needed. */
static void need_best(const cb_index *index, size_t from, size_t end, const uint64_t *live_bytes,
                      cb_pack_use *uses)
{
    const cb_index_entry *best = NULL;

    for (size_t i = from; i < end; i++) {
        const cb_index_entry *entry = &index->entries[i];

        if (uses[entry->pack].is_safe &&
            (best == NULL || live_bytes[entry->pack] > live_bytes[best->pack]))
            best = entry;
    }
    for (size_t i = from; i < end; i++) /* without a safe copy all that there are are needed */
        if (best == NULL || best == &index->entries[i])
            uses[index->entries[i].pack].needed_bytes += index->entries[i].stored_bytes;
}

static void sum_bytes(cb_reclaim *run, uint64_t *live_bytes, cb_pack_use *uses)
{
    const cb_index *index = &run->repo->index;

    for (size_t i = 0; i < index->count; i++) {
        const cb_index_entry *entry = &index->entries[i];

        uses[entry->pack].total_bytes += entry->stored_bytes;
        if (cb_id_set_has(&run->live, entry->prefix))
            live_bytes[entry->pack] += entry->stored_bytes;
    }
    for (size_t i = 0; i < index->pack_count; i++)
        uses[i].is_safe = index->packs[i].exists && index->packs[i].indexed &&
                          !cb_reclaim_lists_have(&run->lists, index->packs[i].id);
}

static cb_code measure(cb_reclaim *run, cb_pack_use **out, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    uint64_t *live_bytes = calloc(index->pack_count + 1, sizeof(*live_bytes));
    cb_pack_use *uses = calloc(index->pack_count + 1, sizeof(*uses));

    if (live_bytes == NULL || uses == NULL) {
        free(live_bytes);
        free(uses);
        return cb_fail_memory(err, index->pack_count * sizeof(*uses));
    }
    sum_bytes(run, live_bytes, uses);
    for (size_t from = 0, end; from < index->count; from = end) {
        end = group_end(index, from);
        if (cb_id_set_has(&run->live, index->entries[from].prefix))
            need_best(index, from, end, live_bytes, uses);
    }
    free(live_bytes);
    *out = uses;
    return CB_OK;
}

cb_code cb_reclaim_needed(cb_reclaim *run, bool **out, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    bool *needed = calloc(index->pack_count + 1, sizeof(*needed));
    bool *safe = calloc(index->pack_count + 1, sizeof(*safe));

    if (needed == NULL || safe == NULL) {
        free(needed);
        free(safe);
        return cb_fail_memory(err, index->pack_count);
    }
    for (size_t i = 0; i < index->pack_count; i++)
        safe[i] = index->packs[i].exists && index->packs[i].indexed &&
                  !cb_reclaim_lists_have(&run->lists, index->packs[i].id);
    for (size_t from = 0, end; from < index->count; from = end) {
        bool has_copy = false;

        end = group_end(index, from);
        if (!cb_id_set_has(&run->live, index->entries[from].prefix))
            continue;
        for (size_t i = from; i < end; i++)
            has_copy |= safe[index->entries[i].pack];
        for (size_t i = from; i < end && !has_copy; i++)
            needed[index->entries[i].pack] = true;
    }
    /* What nobody can read may hold anything: a pack without a known footer stays. */
    for (size_t i = 0; i < index->pack_count; i++)
        needed[i] |= index->packs[i].exists && !index->packs[i].indexed && !index->packs[i].adopted;
    free(safe);
    *out = needed;
    return CB_OK;
}

/* ---- rewriting mostly dead packs -------------------------------------------------------- */

/* Copy one chunk as it is stored, once its content has proved good. */
static cb_code copy_chunk(cb_reclaim *run, const cb_pack_info *pack, const cb_pack_entry *entry,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {.limit = CB_STORED_BYTES_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = CB_CHUNK_BYTES_MAX};
    cb_repo_worker *own = cb_repo_worker_of(run->repo->workers, CB_WORKER_SELF);
    char key[CB_KEY_MAX];
    cb_hash real;
    cb_code code = cb_repo_worker_ready(own, err);

    cb_key_pack(key, pack->id);
    if (code == CB_OK)
        code =
            cb_store_get(run->repo->store, key, entry->offset, entry->stored_bytes, &stored, err);
    if (code == CB_OK && stored.size != entry->stored_bytes)
        code = cb_fail(err, CB_CORRUPT, "'%s' is cut", key);
    if (code == CB_OK)
        code = cb_decompress(own->compressor, (cb_codec)entry->codec, cb_buf_bytes(&stored),
                             entry->raw_bytes, &raw, err);
    if (code != CB_OK)
        return code;
    cb_sha256(cb_buf_bytes(&raw), &real);
    if (!cb_hash_equal(&real, &entry->id))
        return cb_fail(err, CB_CORRUPT, "'%s' has a damaged chunk", key);
    return cb_session_copy_stored(run->session, pack->kind, *entry, cb_buf_bytes(&stored), err);
}

static bool has_safe_copy(const cb_index *index, const cb_pack_use *uses, uint32_t but,
                          const cb_hash *id)
{
    size_t count;
    const cb_index_entry *entry = cb_index_find(index, id, &count);

    for (size_t i = 0; i < count; i++)
        if (entry[i].pack != but && uses[entry[i].pack].is_safe)
            return true;
    return false;
}

static cb_code copy_live(cb_reclaim *run, const cb_pack_use *uses, uint32_t number, cb_error *err)
{
    const cb_pack_info *pack = &run->repo->index.packs[number];
    cb_footer footer;
    cb_code code =
        cb_footer_read(run->repo->store, run->repo->id, pack->id, pack->size_bytes, &footer, err);

    for (size_t i = 0; code == CB_OK && i < footer.count; i++) {
        const cb_pack_entry *entry = &footer.entries[i];

        if (!cb_id_set_has(&run->live, entry->id.bytes) ||
            has_safe_copy(&run->repo->index, uses, number, &entry->id))
            continue;
        code = cb_check_cancel(run->repo->ctx, err);
        if (code == CB_OK)
            code = copy_chunk(run, pack, entry, err);
    }
    cb_footer_free(&footer);
    return code;
}

/* ---- choosing --------------------------------------------------------------------------- */

typedef struct candidate {
    uint32_t pack;
    uint64_t needed_bytes, total_bytes;
} candidate;

static int most_dead_first(const void *a, const void *b)
{
    const candidate *left = a;
    const candidate *right = b;
    double left_share = (double)left->needed_bytes / (double)left->total_bytes;
    double right_share = (double)right->needed_bytes / (double)right->total_bytes;

    if (left_share != right_share)
        return left_share < right_share ? -1 : 1;
    return left->pack < right->pack ? -1 : left->pack > right->pack;
}

/* Damage in one pack must not keep the others: it is said, and the pack left as it is. */
static cb_code rewrite(cb_reclaim *run, const cb_pack_use *uses, const candidate *candidates,
                       size_t count, bool *rewritten, cb_error *err)
{
    uint64_t budget = REWRITE_BYTES_MAX;
    cb_code code = CB_OK;

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        if (candidates[i].needed_bytes > budget)
            continue;
        code = copy_live(run, uses, candidates[i].pack, err);
        if (code == CB_OK) {
            budget -= candidates[i].needed_bytes;
            rewritten[i] = true;
        } else if (code == CB_CORRUPT || code == CB_UNSUPPORTED || code == CB_NOT_FOUND) {
            cb_event_text(run->repo->ctx, CB_EVENT_WARNING, "pack not rewritten: %s", err->message);
            cb_error_clear(err);
            code = CB_OK;
        }
    }
    if (code == CB_OK)
        code = cb_session_flush(run->session, err);
    return code;
}

/* Known, there, in no list, and of nobody who is at work. */
static bool may_go(const cb_reclaim *run, const session_ids *kept, const cb_pack_info *pack)
{
    return pack->exists && (pack->indexed || pack->adopted) &&
           !cb_reclaim_lists_have(&run->lists, pack->id) && !is_protected(kept, pack->id);
}

static cb_code choose(cb_reclaim *run, const session_ids *kept, const cb_pack_use *uses,
                      cb_pack_id *suspects, size_t *count, candidate *candidates, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    size_t candidate_count = 0;
    bool *rewritten;
    cb_code code;

    for (size_t i = 0; i < index->pack_count; i++) {
        const cb_pack_use *use = &uses[i];

        if (!may_go(run, kept, &index->packs[i]))
            continue;
        if (use->needed_bytes == 0)
            memcpy(suspects[(*count)++].bytes, index->packs[i].id, CB_PACK_ID_BYTES);
        else if (use->needed_bytes < use->total_bytes / 100 * LIVE_PERCENT_KEPT)
            candidates[candidate_count++] =
                (candidate){(uint32_t)i, use->needed_bytes, use->total_bytes};
    }
    if (candidate_count == 0)
        return CB_OK;
    qsort(candidates, candidate_count, sizeof(*candidates), most_dead_first);
    rewritten = calloc(candidate_count, sizeof(*rewritten));
    if (rewritten == NULL)
        return cb_fail_memory(err, candidate_count);
    code = rewrite(run, uses, candidates, candidate_count, rewritten, err);
    for (size_t i = 0; i < candidate_count; i++)
        if (rewritten[i])
            memcpy(suspects[(*count)++].bytes, index->packs[candidates[i].pack].id,
                   CB_PACK_ID_BYTES);
    free(rewritten);
    return code;
}

cb_code cb_reclaim_mark(cb_reclaim *run, cb_pack_id **out, size_t *count, cb_error *err)
{
    CB_CLEANUP(session_ids_free) session_ids kept = {0};
    size_t packs = run->repo->index.pack_count;
    cb_pack_id *suspects = calloc(packs + 1, sizeof(*suspects));
    candidate *candidates = calloc(packs + 1, sizeof(*candidates));
    cb_pack_use *uses = NULL;
    cb_code code = CB_OK;

    *out = NULL;
    *count = 0;
    if (suspects == NULL || candidates == NULL)
        code = cb_fail_memory(err, packs * sizeof(*candidates));
    if (code == CB_OK)
        code = protected_sessions(run, &kept, err);
    if (code == CB_OK)
        code = measure(run, &uses, err);
    if (code == CB_OK)
        code = choose(run, &kept, uses, suspects, count, candidates, err);
    free(candidates);
    free(uses);
    if (code != CB_OK) {
        free(suspects);
        return code;
    }
    *out = suspects;
    return CB_OK;
}
