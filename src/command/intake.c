/*
 * intake.c - a source's pieces on their way into a session.
 *
 * The coordinator (the caller's thread) asks the source for steps and queues pieces; workers read,
 * fingerprint, and put what is new. Each open item has one array of entries, first filled with the
 * parent's: a piece whose fingerprint equals the entry at its place keeps that entry and is neither
 * hashed nor stored. A later pass meets the entries of the earlier one in the same way.
 *
 * An entry belongs to the one worker that has a piece for it; the coordinator touches entries only
 * after a drain. Items are handed to the session in the order in which they were declared, which
 * is the order of the item table.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"
#include "base/text.h"

#include <stdlib.h>

enum { ITEMS_IN_FLIGHT = 512, WORKERS_MAX = 64, PROGRESS_US = 100000 };

typedef struct open_item {
    struct open_item *next;
    uint32_t number;
    cb_item item; /* path and attrs are ours */
    cb_entry *entries;
    uint8_t *fresh; /* 1: the entry was confirmed or set by a piece of this run */
    size_t entry_capacity, fresh_capacity;
    uint64_t count;
    bool done;
} open_item;

typedef struct intake {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_session *session;
    cb_source *source;
    cb_tree *parent;     /* NULL: none */
    cb_item parent_item; /* valid while has_parent_item */
    bool has_parent_item;
    bool trust_parent;
    unsigned space_divisor;
    open_item *first, *last; /* in order of declaration */
    size_t open_count;
    cb_pool *pool;
    cb_buf buffers[WORKERS_MAX];
    atomic_uint_fast64_t read_bytes;
    uint64_t pass_began_at; /* read_bytes when the pass began */
    unsigned pass;
    int64_t last_progress_us;
    cb_intake_counts counts;
} intake;

typedef struct piece_job {
    open_item *item;
    cb_piece piece;
} piece_job;

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    intake *in = arg;
    const piece_job *job = data;
    cb_buf *raw = &in->buffers[worker];
    cb_entry *entry = &job->item->entries[job->piece.index];
    cb_fingerprint fingerprint;
    cb_put_result put;
    cb_code code;

    raw->size = 0;
    code = cb_source_read(in->source, &job->piece, raw, err);
    if (code == CB_RETRY) /* the source moved on: a later pass brings this piece again */
        return CB_OK;
    if (code != CB_OK)
        return code;
    atomic_fetch_add(&in->read_bytes, raw->size);
    cb_fingerprint_of(cb_repo_fingerprint_secret(in->repo), cb_buf_bytes(raw), &fingerprint);
    if (cb_entry_is_hole(entry) ||
        memcmp(&fingerprint, &entry->fingerprint, sizeof(fingerprint)) != 0 ||
        !cb_session_has(in->session, &entry->id)) {
        code = cb_session_put(in->session, worker, cb_buf_bytes(raw), &put, err);
        if (code != CB_OK)
            return code;
        entry->id = put.id;
        entry->fingerprint = fingerprint;
    }
    job->item->fresh[job->piece.index] = 1;
    return CB_OK;
}

static void item_free(open_item *item)
{
    if (item == NULL)
        return;
    free((void *)(uintptr_t)item->item.path);
    free((void *)(uintptr_t)item->item.attrs.data);
    free(item->entries);
    free(item->fresh);
    free(item);
}

/* ---- the parent -------------------------------------------------------------------------- */

/* Move the parent's cursor to `path`; both tables are in the order of cb_item_path_compare. */
static cb_code seek_parent(intake *in, const char *path, bool *found, cb_error *err)
{
    cb_code code;

    *found = false;
    while (in->has_parent_item && cb_item_path_compare(in->parent_item.path, path) < 0) {
        code = cb_tree_next(in->parent, &in->parent_item, &in->has_parent_item, err);
        if (code != CB_OK)
            return code;
    }
    *found = in->has_parent_item && cb_item_path_compare(in->parent_item.path, path) == 0;
    return CB_OK;
}

static cb_code fill_from_parent(intake *in, open_item *item, cb_error *err)
{
    uint64_t have = cb_item_chunks(&in->parent_item);

    if (!cb_item_same_grid(&in->parent_item, &item->item))
        return CB_OK;
    return cb_tree_entries(in->parent, 0, (size_t)(have < item->count ? have : item->count),
                           item->entries, err);
}

/* A parent that cannot be read is only a saving lost; anything else stays an error. */
static cb_code drop_damaged_parent(intake *in, cb_error *err)
{
    if (err->code != CB_CORRUPT && err->code != CB_NOT_FOUND)
        return err->code;
    cb_event_text(in->ctx, CB_EVENT_WARNING,
                  "the backup before cannot serve as a base, all is read and hashed: %s",
                  err->message);
    cb_error_clear(err);
    cb_tree_free(in->parent);
    in->parent = NULL;
    in->has_parent_item = false;
    return CB_OK;
}

static cb_code consult_parent(intake *in, open_item *item, bool *found, cb_error *err)
{
    cb_code code;

    *found = false;
    if (in->parent == NULL)
        return CB_OK;
    code = seek_parent(in, item->item.path, found, err);
    if (code == CB_OK && *found)
        code = fill_from_parent(in, item, err);
    if (code == CB_OK)
        return CB_OK;
    *found = false;
    memset(item->entries, 0, (size_t)item->count * sizeof(cb_entry));
    return drop_damaged_parent(in, err);
}

/* Every entry that would be taken over must still be usable by this session. */
static bool all_usable(intake *in, const open_item *item)
{
    for (uint64_t i = 0; i < item->count; i++)
        if (!cb_entry_is_hole(&item->entries[i]) &&
            !cb_session_has(in->session, &item->entries[i].id))
            return false;
    return true;
}

/* ---- steps ------------------------------------------------------------------------------- */

static open_item *find_item(intake *in, uint32_t number)
{
    for (open_item *item = in->first; item != NULL; item = item->next)
        if (item->number == number)
            return item;
    return NULL;
}

/* Take the description over and make room for its entries; new ones are holes. */
static cb_code describe(open_item *item, const cb_item *from, cb_error *err)
{
    uint64_t count = cb_item_chunks(from);
    char *path = strdup(from->path);
    uint8_t *attrs = malloc(from->attrs.size + 1);
    cb_code code;

    if (path == NULL || attrs == NULL) {
        free(path);
        free(attrs);
        return cb_fail_memory(err, from->attrs.size);
    }
    if (from->attrs.size > 0)
        memcpy(attrs, from->attrs.data, from->attrs.size);
    free((void *)(uintptr_t)item->item.path);
    free((void *)(uintptr_t)item->item.attrs.data);
    item->item = *from;
    item->item.path = path;
    item->item.attrs.data = attrs;
    code =
        cb_array_reserve(&item->entries, &item->entry_capacity, count + 1, sizeof(cb_entry), err);
    if (code == CB_OK)
        code = cb_array_reserve(&item->fresh, &item->fresh_capacity, count + 1, 1, err);
    if (code != CB_OK)
        return code;
    /* What an earlier, longer description had behind the end must not come back with a later. */
    if (count < item->count) {
        memset(item->entries + count, 0, (size_t)(item->count - count) * sizeof(cb_entry));
        memset(item->fresh + count, 0, (size_t)(item->count - count));
    }
    item->count = count;
    return CB_OK;
}

static cb_code declare_again(intake *in, open_item *item, const cb_item *from, cb_error *err)
{
    bool reuse;
    bool same = cb_item_same_grid(&item->item, from);
    cb_code code;

    code = cb_pool_drain(in->pool, err); /* workers hold pointers into the arrays */
    if (code != CB_OK)
        return code;
    if (!same) {
        memset(item->entries, 0, (size_t)item->count * sizeof(cb_entry));
        memset(item->fresh, 0, (size_t)item->count);
    }
    code = describe(item, from, err);
    if (code != CB_OK)
        return code;
    return cb_source_take(in->source, NULL, &reuse, err);
}

static cb_code declare_new(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = calloc(1, sizeof(*item));
    bool in_parent = false;
    bool reuse = false;
    cb_code code;

    if (item == NULL)
        return cb_fail_memory(err, sizeof(*item));
    item->number = step->piece.item;
    if (in->last != NULL)
        in->last->next = item;
    else
        in->first = item;
    in->last = item;
    in->open_count++;

    code = describe(item, &step->item, err);
    if (code == CB_OK)
        code = consult_parent(in, item, &in_parent, err);
    if (code != CB_OK)
        return code;
    code = cb_source_take(
        in->source, in_parent && in->trust_parent && all_usable(in, item) ? &in->parent_item : NULL,
        &reuse, err);
    if (code != CB_OK)
        return code;
    if (reuse)
        memset(item->fresh, 1, (size_t)item->count);
    else if (!in->trust_parent)
        memset(item->entries, 0, (size_t)item->count * sizeof(cb_entry));
    return CB_OK;
}

static cb_code declare(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = find_item(in, step->piece.item);

    if (item != NULL)
        return declare_again(in, item, &step->item, err);
    return declare_new(in, step, err);
}

static cb_code piece(intake *in, const cb_step *step, cb_error *err)
{
    piece_job job = {find_item(in, step->piece.item), step->piece};

    if (job.item == NULL || step->piece.index >= job.item->count)
        return cb_fail(err, CB_INTERNAL, "piece %llu of item %u was never declared",
                       (unsigned long long)step->piece.index, step->piece.item);
    return cb_pool_submit(in->pool, &job, err);
}

static cb_code hole(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = find_item(in, step->piece.item);

    (void)err;
    if (item != NULL && step->piece.index < item->count)
        item->fresh[step->piece.index] = 0;
    return CB_OK;
}

/* ---- handing over ------------------------------------------------------------------------ */

static cb_code hand_over(intake *in, open_item *item, cb_error *err)
{
    for (uint64_t i = 0; i < item->count; i++) {
        if (item->fresh[i] == 0)
            memset(&item->entries[i], 0, sizeof(cb_entry));
        else if (!cb_entry_is_hole(&item->entries[i]))
            in->counts.chunks++;
    }
    return cb_session_item(in->session, &item->item, item->entries, item->count, err);
}

/* All workers are idle: give the session every finished item that no unfinished one precedes. */
static cb_code flush(intake *in, cb_error *err)
{
    cb_code code = cb_pool_drain(in->pool, err);

    while (code == CB_OK && in->first != NULL && in->first->done) {
        open_item *item = in->first;

        code = hand_over(in, item, err);
        in->first = item->next;
        if (in->first == NULL)
            in->last = NULL;
        in->open_count--;
        item_free(item);
    }
    return code;
}

static cb_code done(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = find_item(in, step->piece.item);

    if (item == NULL)
        return cb_fail(err, CB_INTERNAL, "item %u ended but never began", step->piece.item);
    item->done = true;
    return in->open_count >= ITEMS_IN_FLIGHT ? flush(in, err) : CB_OK;
}

static void progress(intake *in, const cb_step *step)
{
    int64_t now = cb_monotonic_us();

    if (step->pass != in->pass) {
        in->pass = step->pass;
        in->pass_began_at = atomic_load(&in->read_bytes);
    } else if (now - in->last_progress_us < PROGRESS_US) {
        return;
    }
    in->last_progress_us = now;
    cb_event_progress(in->ctx, atomic_load(&in->read_bytes) - in->pass_began_at, step->total_bytes,
                      step->pass);
}

/* What a source says it will read is known with its first step, before anything is written. */
static cb_code check_space(intake *in, const cb_step *step, cb_error *err)
{
    char need[CB_SIZE_TEXT_MAX];
    char have[CB_SIZE_TEXT_MAX];
    uint64_t least, free_bytes;
    cb_code code;

    if (in->space_divisor == 0 || step->total_bytes == 0)
        return CB_OK;
    least = step->total_bytes / in->space_divisor;
    in->space_divisor = 0; /* once */
    code = cb_store_free_space(cb_repo_store(in->repo), &free_bytes, err);
    if (code != CB_OK || free_bytes >= least)
        return code;
    cb_fail(err, CB_NO_SPACE, "the repository has %s left, and this backup needs %s or more",
            cb_format_size(free_bytes, have), cb_format_size(least, need));
    cb_hint(err, "Free some space there, or name another repository with --repo.");
    return err->code;
}

static cb_code run(intake *in, cb_error *err)
{
    cb_step step = {0};
    cb_code code;

    for (;;) {
        code = cb_check_cancel(in->ctx, err);
        if (code == CB_OK)
            code = cb_source_next(in->source, &step, err);
        if (code == CB_OK)
            code = check_space(in, &step, err);
        if (code != CB_OK)
            return code;
        progress(in, &step);
        switch (step.kind) {
        case CB_STEP_ITEM:
            code = declare(in, &step, err);
            break;
        case CB_STEP_PIECE:
            code = piece(in, &step, err);
            break;
        case CB_STEP_HOLE:
            code = hole(in, &step, err);
            break;
        case CB_STEP_BARRIER:
            code = cb_pool_drain(in->pool, err);
            break;
        case CB_STEP_DONE:
            code = done(in, &step, err);
            break;
        case CB_STEP_END:
            return flush(in, err);
        }
        if (code != CB_OK)
            return code;
    }
}

static cb_code open_parent(intake *in, const cb_manifest *parent, cb_error *err)
{
    cb_code code;

    if (parent == NULL)
        return CB_OK;
    code = cb_tree_open(in->repo, parent, &in->parent, err);
    if (code == CB_OK)
        code = cb_tree_next(in->parent, &in->parent_item, &in->has_parent_item, err);
    return code == CB_OK ? CB_OK : drop_damaged_parent(in, err);
}

static void release(intake *in)
{
    cb_pool_free(in->pool); /* joins before the items go */
    for (open_item *item = in->first, *next; item != NULL; item = next) {
        next = item->next;
        item_free(item);
    }
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        cb_buf_free(&in->buffers[i]);
    cb_tree_free(in->parent);
    free(in);
}

cb_code cb_intake(cb_ctx *ctx, const cb_intake_request *request, cb_intake_counts *out,
                  cb_error *err)
{
    intake *in = calloc(1, sizeof(*in));
    cb_code code;

    if (in == NULL)
        return cb_fail_memory(err, sizeof(*in));
    in->ctx = ctx;
    in->repo = request->repo;
    in->session = request->session;
    in->source = request->source;
    in->trust_parent = request->trust_parent;
    in->space_divisor = request->space_divisor;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        in->buffers[i].limit = CB_CHUNK_BYTES_MAX;

    code = open_parent(in, request->parent, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(ctx), 4 * (size_t)cb_jobs(ctx), sizeof(piece_job), work, in,
                           &in->pool, err);
    if (code == CB_OK)
        code = run(in, err);
    in->counts.read_bytes = atomic_load(&in->read_bytes);
    *out = in->counts;
    release(in);
    return code;
}
