/*
 * audit.c - everything that some backups need, checked once.
 *
 * First the ids are collected from manifests and item tables into a set (a page that was seen
 * before is not opened again: its chunks are in the set). Then each is checked, in the order of the
 * packs. Only when something is damaged are the item tables walked again, to say whose it is.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"

#include <stdlib.h>

enum { ENTRIES_AT_ONCE = 256, ENTRIES_PER_PAGE = 1024 };

typedef struct chunk_state {
    cb_hash id;
    cb_location at;
    uint8_t used;    /* of a slot in the set */
    uint8_t damaged; /* index into the reasons, from 1; 0: good */
} chunk_state;

typedef struct audit {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_audit_report *out;
    const cb_manifest_ref *refs;
    size_t ref_count;
    const cb_audit_share *share;
    chunk_state *slots; /* open addressing, a power of two */
    size_t slot_count, used;
    chunk_state **order; /* the used slots, by place */
    cb_pool_buffers buffers;
    atomic_uint_fast64_t bytes, stored_bytes, damaged;
    const char *reasons[255]; /* in the report's arena */
    size_t reason_count;
    pthread_mutex_t lock; /* of reasons and the arena */
} audit;

/* ---- the set ----------------------------------------------------------------------------- */

static chunk_state *find_slot(chunk_state *slots, size_t count, const cb_hash *id)
{
    size_t at = (size_t)cb_get_u64(id->bytes) & (count - 1);

    while (slots[at].used != 0 && !cb_hash_equal(&slots[at].id, id))
        at = (at + 1) & (count - 1);
    return &slots[at];
}

static cb_code grow_set(audit *a, cb_error *err)
{
    size_t count = a->slot_count == 0 ? 4096 : a->slot_count * 2;
    chunk_state *slots = calloc(count, sizeof(*slots));

    if (slots == NULL)
        return cb_fail_memory(err, count * sizeof(*slots));
    for (size_t i = 0; i < a->slot_count; i++)
        if (a->slots[i].used != 0)
            *find_slot(slots, count, &a->slots[i].id) = a->slots[i];
    free(a->slots);
    a->slots = slots;
    a->slot_count = count;
    return CB_OK;
}

static cb_code add(audit *a, const cb_hash *id, bool *is_new, cb_error *err)
{
    chunk_state *slot;

    if ((a->used + 1) * 10 > a->slot_count * 7 && grow_set(a, err) != CB_OK)
        return err->code;
    slot = find_slot(a->slots, a->slot_count, id);
    *is_new = slot->used == 0;
    if (*is_new) {
        slot->used = 1;
        slot->id = *id;
        a->used++;
    }
    return CB_OK;
}

/* ---- collecting -------------------------------------------------------------------------- */

static cb_code collect_entries(audit *a, cb_tree *tree, uint64_t first, uint64_t end, cb_error *err)
{
    cb_entry entries[ENTRIES_AT_ONCE];
    bool is_new;
    cb_code code = CB_OK;

    for (; code == CB_OK && first < end; first += ENTRIES_AT_ONCE) {
        size_t some = end - first < ENTRIES_AT_ONCE ? (size_t)(end - first) : ENTRIES_AT_ONCE;

        code = cb_tree_entries(tree, first, some, entries, err);
        for (size_t i = 0; code == CB_OK && i < some; i++)
            if (!cb_entry_is_hole(&entries[i]))
                code = add(a, &entries[i].id, &is_new, err);
    }
    return code;
}

static cb_code collect_item(audit *a, cb_tree *tree, const cb_item *item, cb_error *err)
{
    static const cb_hash none;
    uint64_t count = cb_item_chunks(item);
    size_t page_count;
    const cb_hash *pages = cb_tree_pages(tree, &page_count);
    cb_code code = CB_OK;

    if (page_count == 0)
        return collect_entries(a, tree, 0, count, err);
    for (size_t i = 0; code == CB_OK && i < page_count; i++) {
        uint64_t first = (uint64_t)i * ENTRIES_PER_PAGE;
        bool is_new = false;

        if (cb_hash_equal(&pages[i], &none))
            continue;
        code = add(a, &pages[i], &is_new, err);
        if (code == CB_OK && is_new)
            code = collect_entries(
                a, tree, first, count - first < ENTRIES_PER_PAGE ? count : first + ENTRIES_PER_PAGE,
                err);
    }
    return code;
}

static cb_code collect(audit *a, const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    bool any_new = false;
    bool more = true;
    cb_item item;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < manifest->item_chunk_count; i++) {
        bool is_new = false;

        code = add(a, &manifest->item_chunks[i], &is_new, err);
        any_new = any_new || is_new;
    }
    if (code != CB_OK || !any_new) /* a table that was walked before */
        return code;
    code = cb_tree_open(a->repo, manifest, &tree, err);
    while (code == CB_OK) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            return code;
        code = collect_item(a, tree, &item, err);
    }
    return code;
}

/* What cannot even be walked is damage of that backup, and no reason to stop. */
static cb_code collect_all(audit *a, cb_error *err)
{
    for (size_t i = 0; i < a->ref_count; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
        const char *where = "manifest";
        cb_code code = cb_check_cancel(a->ctx, err);

        if (code == CB_OK)
            code = cb_manifest_load(a->repo, &a->refs[i], &manifest, err);
        if (code == CB_OK) {
            where = "item table";
            code = collect(a, manifest, err);
        }
        if (code != CB_OK && cb_manifest_is_gone(a->repo, &a->refs[i])) {
            cb_error_clear(err); /* expired while we read */
            a->out->is_good[i] = false;
            continue;
        }
        if (code == CB_CORRUPT || (code == CB_NOT_FOUND && manifest != NULL)) {
            char reason[CB_MESSAGE_MAX];

            memcpy(reason, err->message, sizeof(reason));
            cb_error_clear(err);
            a->out->is_good[i] = false;
            code = cb_audit_damage(a->out, &a->refs[i], where, NULL, reason, err);
        }
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* ---- checking ---------------------------------------------------------------------------- */

/* Reasons repeat (one lost pack hits many chunks): the first 254 are kept, then one for all. */
static cb_code mark_damaged(audit *a, chunk_state *chunk, const char *reason, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&a->lock);
    if (a->reason_count < CB_LENGTH(a->reasons) - 1) {
        code = cb_arena_text(&a->out->arena, reason, &a->reasons[a->reason_count], err);
        if (code == CB_OK)
            a->reason_count++;
    } else if (a->reason_count == CB_LENGTH(a->reasons) - 1) {
        a->reasons[a->reason_count++] = "damaged or missing";
    }
    chunk->damaged = (uint8_t)a->reason_count;
    pthread_mutex_unlock(&a->lock);
    atomic_fetch_add(&a->damaged, 1);
    return code;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    audit *a = arg;
    chunk_state *chunk;
    cb_buf *raw = &a->buffers.of[worker];
    cb_code code;

    memcpy(&chunk, data, sizeof(chunk));
    raw->size = 0;
    code = cb_repo_get(a->repo, worker, &chunk->id, raw, err);
    atomic_fetch_add(&a->bytes, raw->size);
    atomic_fetch_add(&a->stored_bytes, chunk->at.stored_bytes);
    if (code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_TOO_LARGE || code == CB_IO) {
        char reason[CB_MESSAGE_MAX];

        memcpy(reason, err->message, sizeof(reason));
        cb_error_clear(err);
        return mark_damaged(a, chunk, reason, err);
    }
    return code;
}

static int by_place(const void *a, const void *b)
{
    const chunk_state *left = *(chunk_state *const *)a;
    const chunk_state *right = *(chunk_state *const *)b;

    if (left->at.pack != right->at.pack)
        return left->at.pack < right->at.pack ? -1 : 1;
    return left->at.offset < right->at.offset ? -1 : left->at.offset > right->at.offset;
}

static cb_code put_in_order(audit *a, size_t *count, uint64_t *stored_bytes, cb_error *err)
{
    size_t used = 0;

    a->order = calloc(a->used + 1, sizeof(*a->order));
    if (a->order == NULL)
        return cb_fail_memory(err, a->used * sizeof(*a->order));
    for (size_t i = 0; i < a->slot_count; i++) {
        chunk_state *chunk = &a->slots[i];
        cb_code code;

        if (chunk->used == 0)
            continue;
        code = cb_repo_locate(a->repo, &chunk->id, &chunk->at, err);
        if (code == CB_NOT_FOUND) {
            cb_error_clear(err);
            code = mark_damaged(a, chunk, "the chunk lies in no pack of the repository", err);
        } else if (code == CB_OK) {
            a->order[used++] = chunk;
            *stored_bytes += chunk->at.stored_bytes;
        }
        if (code != CB_OK)
            return code;
    }
    qsort(a->order, used, sizeof(*a->order), by_place);
    *count = used;
    return CB_OK;
}

/* ---- how much of it ---------------------------------------------------------------------- */

/* The needed chunks of one pack, as they stand in `order`. */
typedef struct span {
    size_t first, end;
    uint64_t stored_bytes;
    cb_pack_note note;
    bool is_chosen;
} span;

static int by_id(const void *key, const void *note)
{
    return memcmp(key, ((const cb_pack_note *)note)->id, sizeof(((const cb_pack_note *)note)->id));
}

static int oldest_first(const void *a, const void *b)
{
    const span *left = a;
    const span *right = b;

    if (left->note.checked_us != right->note.checked_us)
        return left->note.checked_us < right->note.checked_us ? -1 : 1;
    return left->first < right->first ? -1 : left->first > right->first;
}

static int in_place(const void *a, const void *b)
{
    const span *left = a;
    const span *right = b;

    return left->first < right->first ? -1 : left->first > right->first;
}

static cb_code make_spans(audit *a, size_t count, span **out, size_t *span_count, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_pack_note *notes = NULL;
    size_t capacity = 0;
    size_t note_count = 0;
    cb_code code = cb_repo_pack_notes(a->repo, &notes, &note_count, err);

    for (size_t i = 0; code == CB_OK && i < count; i++) {
        const chunk_state *chunk = a->order[i];
        const cb_pack_note *note;
        span *last = *span_count > 0 ? &(*out)[*span_count - 1] : NULL;

        if (last == NULL || a->order[last->first]->at.pack != chunk->at.pack) {
            code = cb_array_reserve(out, &capacity, *span_count + 1, sizeof(**out), err);
            if (code != CB_OK)
                break;
            last = &(*out)[(*span_count)++];
            *last = (span){.first = i};
            if (!cb_repo_pack_id(a->repo, chunk->at.pack, last->note.id))
                continue;
            note = note_count > 0 ? bsearch(last->note.id, notes, note_count, sizeof(*notes), by_id)
                                  : NULL;
            last->note.checked_us = note != NULL ? note->checked_us : 0;
        }
        last->end = i + 1;
        last->stored_bytes += chunk->at.stored_bytes;
    }
    return code;
}

/* The oldest until it is enough; at least one. */
static void choose_spans(audit *a, span *spans, size_t count)
{
    const cb_audit_share *share = a->share;
    uint64_t limit = UINT64_MAX;
    uint64_t chosen = 0;

    if (share->percent > 0)
        limit = (uint64_t)((double)a->out->bytes_in_all * share->percent / 100.0);
    if (share->max_bytes > 0 && share->max_bytes < limit)
        limit = share->max_bytes;
    qsort(spans, count, sizeof(*spans), oldest_first);
    for (size_t i = 0; i < count && (i == 0 || chosen < limit); i++) {
        spans[i].is_chosen = true;
        chosen += spans[i].stored_bytes;
    }
    qsort(spans, count, sizeof(*spans), in_place);
}

/* Leave in `order` what is to be read. */
static size_t keep_chosen(audit *a, span *spans, size_t count, uint64_t *stored_bytes)
{
    size_t used = 0;

    *stored_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t first = used;

        if (!spans[i].is_chosen) {
            a->out->is_part = true;
            continue;
        }
        for (size_t n = spans[i].first; n < spans[i].end; n++)
            a->order[used++] = a->order[n];
        spans[i].first = first;
        spans[i].end = used;
        *stored_bytes += spans[i].stored_bytes;
    }
    return used;
}

/* A note for the next run, worth no failure: the repository may be read-only here. */
static cb_code note_spans(audit *a, span *spans, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_pack_note *notes = calloc(count + 1, sizeof(*notes));
    int64_t before = INT64_MAX;
    int64_t after = INT64_MAX;
    int64_t now = cb_now_us(a->ctx);
    cb_error ignored = {0};

    if (notes == NULL)
        return cb_fail_memory(err, count * sizeof(*notes));
    for (size_t i = 0; i < count; i++) {
        bool is_good = true;

        before = spans[i].note.checked_us < before ? spans[i].note.checked_us : before;
        for (size_t n = spans[i].first; spans[i].is_chosen && n < spans[i].end; n++)
            is_good = is_good && a->order[n]->damaged == 0;
        if (spans[i].is_chosen)
            spans[i].note.checked_us = is_good ? now : 0;
        after = spans[i].note.checked_us < after ? spans[i].note.checked_us : after;
        notes[i] = spans[i].note;
    }
    a->out->all_checked_us = after == INT64_MAX ? 0 : after;
    a->out->has_come_round = a->out->all_checked_us > before;
    if (cb_repo_set_pack_notes(a->repo, notes, count, &ignored) != CB_OK)
        cb_event_text(a->ctx, CB_EVENT_WARNING,
                      "what was verified cannot be remembered, the next run begins again: %s",
                      ignored.message);
    return CB_OK;
}

static cb_code read_all(audit *a, size_t count, uint64_t stored_bytes, cb_error *err);

static cb_code read_share(audit *a, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) span *spans = NULL;
    size_t span_count = 0;
    uint64_t stored_bytes;
    cb_code code = make_spans(a, count, &spans, &span_count, err);

    if (code != CB_OK)
        return code;
    choose_spans(a, spans, span_count);
    count = keep_chosen(a, spans, span_count, &stored_bytes);
    code = read_all(a, count, stored_bytes, err);
    if (code == CB_OK && a->share->remember && span_count > 0)
        code = note_spans(a, spans, span_count, err);
    a->out->chunks = count;
    return code;
}

static cb_code read_all(audit *a, size_t count, uint64_t stored_bytes, cb_error *err)
{
    cb_pool *pool;
    cb_code code;

    code = cb_pool_new(cb_jobs(a->ctx), 4 * (size_t)cb_jobs(a->ctx), sizeof(chunk_state *), work, a,
                       &pool, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        code = cb_check_cancel(a->ctx, err);
        if (code == CB_OK)
            code = cb_pool_submit(pool, &a->order[i], err);
        cb_event_progress(a->ctx, atomic_load(&a->stored_bytes), stored_bytes, 0);
    }
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

/* ---- whose is it ------------------------------------------------------------------------- */

static cb_code blame_chunk(audit *a, size_t ref, const char *item, const cb_hash *id, cb_error *err)
{
    const chunk_state *chunk = find_slot(a->slots, a->slot_count, id);

    if (chunk->used == 0 || chunk->damaged == 0)
        return CB_OK;
    a->out->is_good[ref] = false;
    return cb_audit_damage(a->out, &a->refs[ref], item, id, a->reasons[chunk->damaged - 1], err);
}

static cb_code blame_item(audit *a, size_t ref, cb_tree *tree, const cb_item *item, cb_error *err)
{
    cb_entry entries[ENTRIES_AT_ONCE];
    uint64_t count = cb_item_chunks(item);
    size_t page_count;
    const cb_hash *pages = cb_tree_pages(tree, &page_count);
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < page_count; i++)
        code = blame_chunk(a, ref, item->path, &pages[i], err);
    for (uint64_t first = 0; code == CB_OK && first < count; first += ENTRIES_AT_ONCE) {
        size_t some = count - first < ENTRIES_AT_ONCE ? (size_t)(count - first) : ENTRIES_AT_ONCE;

        code = cb_tree_entries(tree, first, some, entries, err);
        if (code == CB_CORRUPT || code == CB_NOT_FOUND) { /* the page itself: blamed above */
            cb_error_clear(err);
            code = CB_OK;
            continue;
        }
        for (size_t i = 0; code == CB_OK && i < some; i++)
            if (!cb_entry_is_hole(&entries[i]))
                code = blame_chunk(a, ref, item->path, &entries[i].id, err);
    }
    return code;
}

static cb_code blame(audit *a, size_t ref, cb_error *err)
{
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    bool more = true;
    cb_item item;
    cb_code code;

    if (cb_manifest_is_gone(a->repo, &a->refs[ref])) { /* its chunks may go, too */
        a->out->is_good[ref] = false;
        return CB_OK;
    }
    code = cb_manifest_load(a->repo, &a->refs[ref], &manifest, err);
    for (size_t i = 0; code == CB_OK && i < manifest->item_chunk_count; i++)
        code = blame_chunk(a, ref, "item table", &manifest->item_chunks[i], err);
    if (code == CB_OK)
        code = cb_tree_open(a->repo, manifest, &tree, err);
    while (code == CB_OK) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            break;
        code = blame_item(a, ref, tree, &item, err);
    }
    if (code == CB_CORRUPT || code == CB_NOT_FOUND) { /* reported when it was collected */
        a->out->is_good[ref] = false;
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

static cb_code run(audit *a, cb_audit_depth depth, cb_error *err)
{
    uint64_t stored_bytes = 0;
    size_t count = 0;
    cb_code code;

    code = cb_repo_load_index(a->repo, err);
    if (code == CB_OK)
        code = collect_all(a, err);
    if (code == CB_OK)
        code = put_in_order(a, &count, &stored_bytes, err);
    a->out->bytes_in_all = stored_bytes;
    a->out->chunks = a->used;
    if (code == CB_OK && depth == CB_AUDIT_CONTENT)
        code = a->share != NULL ? read_share(a, count, err) : read_all(a, count, stored_bytes, err);
    for (size_t i = 0; code == CB_OK && atomic_load(&a->damaged) > 0 && i < a->ref_count; i++)
        code = blame(a, i, err);
    a->out->bytes = atomic_load(&a->bytes);
    return code;
}

/* `a` is taken over, on failure too. */
static cb_code audit_begin(audit *a, cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs,
                           size_t count, cb_audit_report *out, cb_error *err)
{
    a->ctx = ctx;
    a->repo = repo;
    a->out = out;
    a->refs = refs;
    a->ref_count = count;
    pthread_mutex_init(&a->lock, NULL);
    cb_pool_buffers_init(&a->buffers, CB_CHUNK_BYTES_MAX);
    out->is_good = calloc(count + 1, sizeof(*out->is_good));
    if (out->is_good == NULL)
        return cb_fail_memory(err, count);
    for (size_t i = 0; i < count; i++)
        out->is_good[i] = true;
    return grow_set(a, err);
}

static void audit_end(audit *a)
{
    cb_pool_buffers_free(&a->buffers);
    pthread_mutex_destroy(&a->lock);
    free(a->slots);
    free(a->order);
    free(a);
}

cb_code cb_audit(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                 cb_audit_depth depth, const cb_audit_share *share, cb_audit_report *out,
                 cb_error *err)
{
    audit *a = calloc(1, sizeof(*a));
    cb_code code;

    if (a == NULL)
        return cb_fail_memory(err, sizeof(*a));
    a->share = share;
    cb_repo_read_afresh(repo); /* what lies here says nothing about what lies there */
    code = audit_begin(a, ctx, repo, refs, count, out, err);
    if (code == CB_OK)
        code = run(a, depth, err);
    audit_end(a);
    return code;
}

cb_code cb_audit_packs(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                       char (**out)[CB_KEY_MAX], size_t *pack_count, cb_error *err)
{
    CB_CLEANUP(cb_audit_report_free) cb_audit_report report = {0};
    audit *a = calloc(1, sizeof(*a));
    size_t used = 0, capacity = 0;
    uint64_t stored_bytes = 0;
    cb_code code;

    *out = NULL;
    *pack_count = 0;
    if (a == NULL)
        return cb_fail_memory(err, sizeof(*a));
    code = audit_begin(a, ctx, repo, refs, count, &report, err);
    if (code == CB_OK)
        code = cb_repo_load_index(repo, err);
    if (code == CB_OK)
        code = collect_all(a, err);
    if (code == CB_OK)
        code = put_in_order(a, &used, &stored_bytes, err);
    for (size_t i = 0; code == CB_OK && i < used; i++) {
        if (i > 0 && a->order[i]->at.pack == a->order[i - 1]->at.pack)
            continue;
        code = cb_array_reserve(out, &capacity, *pack_count + 1, sizeof(**out), err);
        if (code == CB_OK)
            cb_repo_pack_name(repo, a->order[i]->at.pack, (*out)[(*pack_count)++]);
    }
    audit_end(a);
    return code;
}

cb_code cb_audit_damage(cb_audit_report *report, const cb_manifest_ref *ref, const char *item,
                        const cb_hash *chunk, const char *reason, cb_error *err)
{
    char hex[2 * CB_HASH_BYTES + 1] = "";
    cb_damage *damage;
    cb_code code = CB_OK;

    if (report->damaged_count == report->damaged_capacity)
        code = cb_array_grow(&report->damaged, &report->damaged_capacity, sizeof(*damage), err);
    if (code != CB_OK)
        return code;
    damage = &report->damaged[report->damaged_count];
    if (chunk != NULL)
        cb_hex(chunk->bytes, sizeof(chunk->bytes), hex);
    code = cb_arena_format(&report->arena, &damage->backup, err, "%s@%s", ref->name, ref->label);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, item, &damage->item, err);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, hex, &damage->chunk, err);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, reason, &damage->reason, err);
    if (code == CB_OK)
        report->damaged_count++;
    return code;
}

void cb_audit_report_free(cb_audit_report *report)
{
    free(report->damaged);
    free(report->is_good);
    cb_arena_free(&report->arena);
}
