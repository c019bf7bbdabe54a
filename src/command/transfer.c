/*
 * transfer.c - from a live source straight to a target, for `copy` and for restoring a plain file.
 *
 * Which chunks were given is remembered, so that a block that a later pass no longer counts as
 * used becomes a hole again and nothing stale stays in the copy.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"

#include <stdlib.h>

enum { ITEMS_MAX = 8 };

typedef struct moved_item {
    cb_item item; /* path is ours; attrs are not needed by a target of a database */
    char path[64];
    bool declared;
    uint32_t target_number;
    uint8_t *written; /* 1: the chunk is there */
    size_t capacity;
    uint64_t count;
} moved_item;

typedef struct transfer {
    cb_ctx *ctx;
    cb_source *source;
    cb_target *target;
    moved_item items[ITEMS_MAX];
    cb_pool_buffers buffers;
    atomic_uint_fast64_t read_bytes;
    cb_pool *pool;
} transfer;

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    transfer *t = arg;
    const cb_piece *piece = data;
    moved_item *item = &t->items[piece->item];
    cb_buf *raw = &t->buffers.of[worker];
    cb_code code;

    raw->size = 0;
    code = cb_source_read(t->source, piece, raw, err);
    if (code == CB_RETRY) /* a later pass brings it again */
        return CB_OK;
    if (code == CB_OK)
        code =
            cb_target_write(t->target, item->target_number, piece->offset, cb_buf_bytes(raw), err);
    if (code != CB_OK)
        return code;
    atomic_fetch_add(&t->read_bytes, raw->size);
    item->written[piece->index] = 1;
    return CB_OK;
}

/* Unwritten chunks of an item: freed, when an earlier pass had put something there. */
static cb_code forget(transfer *t, moved_item *item, uint64_t index, cb_error *err)
{
    uint64_t offset;
    uint32_t length;

    item->written[index] = 0;
    cb_item_chunk(&item->item, index, &offset, &length);
    return cb_target_hole(t->target, item->target_number, offset, length, err);
}

static cb_code declare(transfer *t, const cb_step *step, cb_error *err)
{
    moved_item *item;
    uint64_t count = cb_item_chunks(&step->item);
    bool reuse;
    cb_code code;

    if (step->piece.item >= ITEMS_MAX || strlen(step->item.path) >= sizeof(item->path))
        return cb_fail(err, CB_UNSUPPORTED, "only a single database can be copied this way");
    item = &t->items[step->piece.item];
    code = cb_pool_drain(t->pool, err);
    if (code == CB_OK)
        code = cb_array_reserve(&item->written, &item->capacity, (size_t)count + 1, 1, err);
    if (code != CB_OK)
        return code;
    if (count < item->count)
        memset(item->written + count, 0, (size_t)(item->count - count));
    item->item = step->item;
    memcpy(item->path, step->item.path, strlen(step->item.path) + 1);
    item->item.path = item->path;
    item->count = count;
    code = cb_target_item(t->target, &item->item, &item->target_number, err);
    if (code == CB_OK)
        code = cb_source_take(t->source, NULL, &reuse, err);
    item->declared = true;
    return code;
}

static cb_code finish_item(transfer *t, uint32_t number, cb_error *err)
{
    moved_item *item = &t->items[number];
    cb_code code = cb_pool_drain(t->pool, err);

    for (uint64_t i = 0; code == CB_OK && i < item->count; i++)
        if (item->written[i] == 0)
            code = forget(t, item, i, err);
    if (code == CB_OK)
        code = cb_target_done(t->target, item->target_number, err);
    return code;
}

static cb_code do_step(transfer *t, const cb_step *step, cb_error *err)
{
    const cb_piece *piece = &step->piece;

    if (step->kind != CB_STEP_ITEM && step->kind != CB_STEP_BARRIER &&
        (piece->item >= ITEMS_MAX || !t->items[piece->item].declared ||
         (step->kind != CB_STEP_DONE && piece->index >= t->items[piece->item].count)))
        return cb_fail(err, CB_INTERNAL, "a piece of item %u was never declared", piece->item);
    switch (step->kind) {
    case CB_STEP_ITEM:
        return declare(t, step, err);
    case CB_STEP_PIECE:
        return cb_pool_submit(t->pool, piece, err);
    case CB_STEP_HOLE:
        return forget(t, &t->items[piece->item], piece->index, err);
    case CB_STEP_DONE:
        return finish_item(t, piece->item, err);
    case CB_STEP_BARRIER:
    case CB_STEP_END:
        break;
    }
    return cb_pool_drain(t->pool, err);
}

static cb_code run(transfer *t, cb_error *err)
{
    cb_step step = {0};
    cb_code code;

    do {
        code = cb_check_cancel(t->ctx, err);
        if (code == CB_OK)
            code = cb_source_next(t->source, &step, err);
        if (code == CB_OK && step.kind != CB_STEP_END)
            code = do_step(t, &step, err);
        cb_event_progress(t->ctx, atomic_load(&t->read_bytes), step.total_bytes, step.pass);
    } while (code == CB_OK && step.kind != CB_STEP_END);
    return code == CB_OK ? cb_pool_drain(t->pool, err) : code;
}

cb_code cb_transfer(cb_ctx *ctx, cb_source *source, cb_target *target, uint64_t *bytes_written,
                    cb_error *err)
{
    transfer *t = calloc(1, sizeof(*t));
    cb_code code;

    if (t == NULL)
        return cb_fail_memory(err, sizeof(*t));
    t->ctx = ctx;
    t->source = source;
    t->target = target;
    cb_pool_buffers_init(&t->buffers, CB_CHUNK_BYTES_MAX);
    code = cb_pool_new(cb_jobs(ctx), 4 * (size_t)cb_jobs(ctx), sizeof(cb_piece), work, t, &t->pool,
                       err);
    if (code == CB_OK)
        code = run(t, err);
    cb_pool_free(t->pool);
    *bytes_written = atomic_load(&t->read_bytes);
    cb_pool_buffers_free(&t->buffers);
    for (unsigned i = 0; i < ITEMS_MAX; i++)
        free(t->items[i].written);
    free(t);
    return code;
}
