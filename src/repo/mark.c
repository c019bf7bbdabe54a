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

/*
 * Of several copies of a live chunk the one in the fullest safe pack is needed; a pack in which
 * anything proved damaged comes last, and a damaged copy not at all. NULL: no copy is safe.
 */
static const cb_index_entry *best_copy(const cb_reclaim *run, size_t from, size_t end,
                                       const cb_pack_use *uses)
{
    const cb_index_entry *best = NULL;

    for (size_t i = from; i < end; i++) {
        const cb_index_entry *entry = &run->repo->index.entries[i];
        const cb_pack_use *use = &uses[entry->pack];
        const cb_pack_use *best_use = best != NULL ? &uses[best->pack] : NULL;

        if (!use->is_safe || (use->is_rotten && cb_reclaim_copy_is_rotten(run, entry)))
            continue;
        if (best_use == NULL || use->is_rotten < best_use->is_rotten ||
            (use->is_rotten == best_use->is_rotten && use->live_bytes > best_use->live_bytes))
            best = entry;
    }
    return best;
}

static bool is_safe(const cb_reclaim *run, const cb_pack_info *pack)
{
    return pack->exists && pack->indexed && !cb_reclaim_lists_have(&run->lists, pack->id);
}

static bool is_live(const cb_reclaim *run, size_t from)
{
    return cb_id_set_has(&run->live, run->repo->index.entries[from].prefix);
}

static void sum_bytes(const cb_reclaim *run, cb_pack_use *uses)
{
    const cb_index *index = &run->repo->index;

    memset(uses, 0, index->pack_count * sizeof(*uses));
    for (size_t i = 0; i < index->count; i++) {
        const cb_index_entry *entry = &index->entries[i];

        uses[entry->pack].total_bytes += entry->stored_bytes;
        if (is_live(run, i))
            uses[entry->pack].live_bytes += entry->stored_bytes;
    }
    for (size_t i = 0; i < index->pack_count; i++) {
        uses[i].is_safe = is_safe(run, &index->packs[i]);
        uses[i].is_rotten = cb_id_set_has(&run->rotten_packs, index->packs[i].id);
    }
    for (size_t from = 0, end; from < index->count; from = end) {
        const cb_index_entry *best;

        end = group_end(index, from);
        if (!is_live(run, from))
            continue;
        best = best_copy(run, from, end, uses);
        for (size_t i = from; i < end; i++) /* without a safe copy all that there are are needed */
            if (best == NULL || best == &index->entries[i])
                uses[index->entries[i].pack].needed_bytes += index->entries[i].stored_bytes;
    }
}

/* Known, in no list, and of nobody who is at work. One that was lost goes from the index only. */
static bool may_go(const cb_reclaim *run, const session_ids *kept, const cb_pack_info *pack)
{
    return (pack->indexed || (pack->exists && pack->adopted)) &&
           !cb_reclaim_lists_have(&run->lists, pack->id) && !is_protected(kept, pack->id);
}

static bool is_mostly_dead(const cb_pack_use *use)
{
    return use->needed_bytes == 0 || use->needed_bytes < use->total_bytes / 100 * LIVE_PERCENT_KEPT;
}

/* Read the copies for whose sake others would go; *again when one proved damaged. */
static cb_code prove_copies(cb_reclaim *run, const session_ids *kept, const cb_pack_use *uses,
                            bool *again, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    cb_code code = CB_OK;

    *again = false;
    for (size_t from = 0, end; from < index->count && code == CB_OK; from = end) {
        const cb_index_entry *best;
        bool at_stake = false;
        bool good;

        end = group_end(index, from);
        if (end - from < 2 || !is_live(run, from))
            continue;
        best = best_copy(run, from, end, uses);
        for (size_t i = from; i < end && best != NULL; i++) {
            uint32_t pack = index->entries[i].pack;

            at_stake |= &index->entries[i] != best && is_mostly_dead(&uses[pack]) &&
                        may_go(run, kept, &index->packs[pack]);
        }
        if (!at_stake)
            continue;
        code = cb_reclaim_copy_is_good(run, best, &good, err);
        *again |= code == CB_OK && !good;
    }
    return code;
}

static cb_code measure(cb_reclaim *run, const session_ids *kept, cb_pack_use **out, cb_error *err)
{
    size_t packs = run->repo->index.pack_count;
    bool again = true;
    cb_code code = CB_OK;

    *out = calloc(packs + 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, packs * sizeof(**out));
    while (code == CB_OK && again) { /* each round knows more damaged copies than the one before */
        sum_bytes(run, *out);
        code = prove_copies(run, kept, *out, &again, err);
    }
    return code;
}

/* Has the group a copy in a safe pack, one that was read when anything depends on it? */
static cb_code has_copy(cb_reclaim *run, size_t from, size_t end, const bool *safe,
                        const bool *at_stake, bool *out, cb_error *err)
{
    const cb_index_entry *entries = run->repo->index.entries;
    bool is_at_stake = false;
    cb_code code = CB_OK;

    *out = false;
    for (size_t i = from; i < end; i++)
        is_at_stake |= at_stake[entries[i].pack];
    for (size_t i = from; i < end && code == CB_OK && !*out; i++) {
        if (!safe[entries[i].pack])
            continue;
        *out = true;
        if (is_at_stake)
            code = cb_reclaim_copy_is_good(run, &entries[i], out, err);
    }
    return code;
}

cb_code cb_reclaim_needed(cb_reclaim *run, const bool *at_stake, bool **out, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    bool *needed = calloc(index->pack_count + 1, sizeof(*needed));
    bool *safe = calloc(index->pack_count + 1, sizeof(*safe));
    cb_code code = CB_OK;

    if (needed == NULL || safe == NULL)
        code = cb_fail_memory(err, index->pack_count);
    for (size_t i = 0; i < index->pack_count && code == CB_OK; i++)
        safe[i] = is_safe(run, &index->packs[i]);
    for (size_t from = 0, end; from < index->count && code == CB_OK; from = end) {
        bool found;

        end = group_end(index, from);
        if (!is_live(run, from))
            continue;
        code = has_copy(run, from, end, safe, at_stake, &found, err);
        for (size_t i = from; i < end && code == CB_OK && !found; i++)
            needed[index->entries[i].pack] = true;
    }
    free(safe);
    if (code != CB_OK) {
        free(needed);
        return code;
    }
    /* What nobody can read may hold anything: a pack without a known footer stays. */
    for (size_t i = 0; i < index->pack_count; i++)
        needed[i] |= index->packs[i].exists && !index->packs[i].indexed && !index->packs[i].adopted;
    *out = needed;
    return CB_OK;
}

/* Is there a live chunk without a good copy in a safe pack, and damaged in one of `at_stake`? */
cb_code cb_reclaim_has_rot(cb_reclaim *run, const bool *at_stake, bool *out, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    bool *safe = calloc(index->pack_count + 1, sizeof(*safe));
    cb_code code = safe != NULL ? CB_OK : cb_fail_memory(err, index->pack_count);

    *out = false;
    for (size_t i = 0; code == CB_OK && i < index->pack_count; i++)
        safe[i] = is_safe(run, &index->packs[i]);
    for (size_t from = 0, end; code == CB_OK && !*out && from < index->count; from = end) {
        bool found = true;

        end = group_end(index, from);
        if (is_live(run, from))
            code = has_copy(run, from, end, safe, at_stake, &found, err);
        for (size_t i = from; code == CB_OK && !found && !*out && i < end; i++) {
            const cb_index_entry *entry = &index->entries[i];
            bool good = true;

            if (at_stake[entry->pack] && index->packs[entry->pack].exists)
                code = cb_reclaim_copy_is_good(run, entry, &good, err);
            *out = code == CB_OK && !good;
        }
    }
    free(safe);
    return code;
}

/* ---- rewriting mostly dead packs -------------------------------------------------------- */

/* Copy one chunk as it is stored, once its content has proved good. */
static cb_code copy_chunk(cb_reclaim *run, const cb_pack_info *pack, const cb_pack_entry *entry,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    cb_code code = cb_reclaim_read_copy(run, pack->id, entry, CB_HASH_BYTES, &stored, err);

    if (code == CB_OK)
        code = cb_session_copy_stored(run->session, pack->kind, *entry, cb_buf_bytes(&stored), err);
    return code;
}

static cb_code has_good_copy(cb_reclaim *run, const cb_pack_use *uses, uint32_t but,
                             const cb_hash *id, bool *out, cb_error *err)
{
    size_t count;
    const cb_index_entry *entry = cb_index_find(&run->repo->index, id, &count);
    cb_code code = CB_OK;

    *out = false;
    for (size_t i = 0; i < count && code == CB_OK && !*out; i++)
        if (entry[i].pack != but && uses[entry[i].pack].is_safe)
            code = cb_reclaim_copy_is_good(run, &entry[i], out, err);
    return code;
}

static cb_code copy_live(cb_reclaim *run, const cb_pack_use *uses, uint32_t number, cb_error *err)
{
    const cb_pack_info *pack = &run->repo->index.packs[number];
    cb_footer footer;
    cb_code code = cb_footer_read(run->repo->store, run->repo->id, pack->id, pack->size_bytes,
                                  run->repo->keys, &footer, err);

    for (size_t i = 0; code == CB_OK && i < footer.count; i++) {
        const cb_pack_entry *entry = &footer.entries[i];
        bool found;

        if (!cb_id_set_has(&run->live, entry->id.bytes))
            continue;
        code = cb_check_cancel(run->repo->ctx, err);
        if (code == CB_OK)
            code = has_good_copy(run, uses, number, &entry->id, &found, err);
        if (code == CB_OK && !found)
            code = copy_chunk(run, pack, entry, err);
    }
    cb_footer_free(&footer);
    return code;
}

/* ---- what is left of packs that rotted --------------------------------------------------- */

static bool is_suspect(const cb_reclaim *run, const cb_pack_info *pack)
{
    for (size_t i = 0; i < run->lists.count; i++)
        if (!run->lists.lists[i].has_verdict && cb_reclaim_list_has(&run->lists.lists[i], pack->id))
            return true;
    return false;
}

/* Is any live chunk of the pack damaged? */
static cb_code look_for_rot(cb_reclaim *run, const cb_pack_info *pack, const cb_footer *footer,
                            bool *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < footer->count; i++) {
        if (!cb_id_set_has(&run->live, footer->entries[i].id.bytes))
            continue;
        code = cb_check_cancel(run->repo->ctx, err);
        if (code == CB_OK)
            code = cb_reclaim_read_copy(run, pack->id, &footer->entries[i], CB_HASH_BYTES, &stored,
                                        err);
    }
    *out = code == CB_CORRUPT;
    if (!*out)
        return code;
    cb_error_clear(err);
    return CB_OK;
}

static cb_code save_chunks(cb_reclaim *run, const cb_pack_use *uses, uint32_t number,
                           const cb_footer *footer, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < footer->count; i++) {
        const cb_pack_entry *entry = &footer->entries[i];
        bool found;

        if (!cb_id_set_has(&run->live, entry->id.bytes))
            continue;
        code = cb_check_cancel(run->repo->ctx, err);
        if (code == CB_OK)
            code = has_good_copy(run, uses, number, &entry->id, &found, err);
        if (code == CB_OK && !found)
            code = copy_chunk(run, &run->repo->index.packs[number], entry, err);
        if (code == CB_CORRUPT) {
            cb_error_clear(err); /* it is lost, unless a backup brings it back */
            code = CB_OK;
        }
    }
    return code;
}

/*
 * A suspected pack with a damaged chunk: what is good in it is copied, so that it can go as soon as
 * a backup has brought back the rest. Else it would stay for the sake of that, damaged for ever.
 */
static cb_code save_rest(cb_reclaim *run, const cb_pack_use *uses, bool *any, cb_error *err)
{
    const cb_index *index = &run->repo->index;
    cb_code code = CB_OK;

    *any = false;
    for (uint32_t i = 0; code == CB_OK && i < index->pack_count; i++) {
        const cb_pack_info *pack = &index->packs[i];
        bool is_rotten = false;
        cb_footer footer;

        if (!pack->exists || !pack->indexed || uses[i].live_bytes == 0 || !is_suspect(run, pack))
            continue;
        code = cb_footer_read(run->repo->store, run->repo->id, pack->id, pack->size_bytes,
                              run->repo->keys, &footer, err);
        if (code == CB_OK)
            code = look_for_rot(run, pack, &footer, &is_rotten, err);
        if (code == CB_OK && is_rotten)
            code = save_chunks(run, uses, i, &footer, err);
        *any |= is_rotten;
        cb_footer_free(&footer);
        if (code == CB_CORRUPT || code == CB_UNSUPPORTED || code == CB_NOT_FOUND || code == CB_IO) {
            cb_error_clear(err); /* the judgement says what that means */
            code = CB_OK;
        }
    }
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

/* A full disk must not keep what is wholly dead from going: that makes room for the rest. */
static bool is_full(cb_reclaim *run, cb_code code, cb_error *err)
{
    if (code != CB_NO_SPACE)
        return false;
    cb_event_text(run->repo->ctx, CB_EVENT_WARNING,
                  "no room to rewrite packs, only those without any use are removed: %s",
                  err->message);
    cb_error_clear(err);
    return true;
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
            if (code == CB_CORRUPT)
                cb_repo_note_damaged(run->repo, run->repo->index.packs[candidates[i].pack].id);
            cb_event_text(run->repo->ctx, CB_EVENT_WARNING, "pack not rewritten: %s", err->message);
            cb_error_clear(err);
            code = CB_OK;
        }
    }
    if (code == CB_OK)
        code = cb_session_flush(run->session, err);
    if (is_full(run, code, err)) { /* the session is of no more use for packs */
        memset(rewritten, 0, count * sizeof(*rewritten));
        code = CB_OK;
    }
    return code;
}

static cb_code choose(cb_reclaim *run, const session_ids *kept, cb_pack_use *uses,
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
        else if (index->packs[i].exists && is_mostly_dead(use))
            candidates[candidate_count++] =
                (candidate){(uint32_t)i, use->needed_bytes, use->total_bytes};
        else
            continue;
        /* Who may go is nobody's reason to go: two packs would wait for each other for ever. */
        uses[i].is_safe = false;
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
    bool any = false;
    cb_code code = CB_OK;

    *out = NULL;
    *count = 0;
    if (suspects == NULL || candidates == NULL)
        code = cb_fail_memory(err, packs * sizeof(*candidates));
    if (code == CB_OK)
        code = protected_sessions(run, &kept, err);
    if (code == CB_OK)
        code = measure(run, &kept, &uses, err);
    if (code == CB_OK) {
        code = save_rest(run, uses, &any, err);
        if (code == CB_OK && any)
            code = cb_session_flush(run->session, err);
        if (is_full(run, code, err))
            code = CB_OK;
    }
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
