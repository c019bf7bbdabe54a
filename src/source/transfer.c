/*
 * transfer.c - from a live source straight to a target, for `copy` and for restoring a plain file.
 *
 * Which chunks were given is remembered, so that a block that a later pass no longer counts as
 * used becomes a hole again and nothing stale stays in the copy.
 *
 * The copy is hashed on the way, when that is asked for: pieces come in file order, and each worker
 * waits for its turn with the piece still in the processor's cache. The header comes last but
 * stands first: the one that would be right at the beginning is hashed and must be the right one at
 * the end. Whatever else happens (a second pass, a block that became free) makes the hash unknown,
 * and the file is read once more.
 */
#include "source/transfer.h"

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

/* The hash of the database so far, in file order. */
typedef struct follower {
    bool is_wanted;
    uint64_t submitted; /* of the coordinator: pieces given out, and where the last of them ends */
    uint64_t end;
    cb_hasher *hasher;
    uint8_t *head; /* as it was hashed */
    uint32_t head_bytes;
    pthread_mutex_t lock; /* of the two below, and with `turn` of the hasher */
    pthread_cond_t moved;
    uint64_t turn;
    bool is_lost;
} follower;

typedef struct transfer {
    cb_ctx *ctx;
    cb_source *source;
    cb_target *target;
    moved_item items[ITEMS_MAX];
    cb_pool_buffers buffers;
    atomic_uint_fast64_t read_bytes;
    cb_pool *pool;
    follower follower;
} transfer;

typedef struct piece_job {
    cb_piece piece;
    uint64_t turn;  /* from 1; 0: not hashed */
    uint64_t after; /* where the piece before it ended: zeros lie between */
} piece_job;

/* ---- the hash ---------------------------------------------------------------------------- */

static void lose_hash(follower *f)
{
    pthread_mutex_lock(&f->lock);
    f->is_lost = true;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
}

static void hash_zeros(follower *f, uint64_t count)
{
    static const uint8_t zeros[64 << 10];

    for (uint64_t some; count > 0; count -= some) {
        some = count < sizeof(zeros) ? count : sizeof(zeros);
        cb_hasher_step(f->hasher, cb_bytes_of(zeros, (size_t)some));
    }
}

/* The jobs before this one were taken from the queue before it: whoever has them goes on. */
static void hash_in_turn(follower *f, const piece_job *job, cb_bytes data)
{
    bool is_lost;

    if (job->turn == 0)
        return;
    pthread_mutex_lock(&f->lock);
    while (f->turn != job->turn && !f->is_lost)
        pthread_cond_wait(&f->moved, &f->lock);
    is_lost = f->is_lost;
    pthread_mutex_unlock(&f->lock);
    if (is_lost)
        return;
    hash_zeros(f, job->piece.offset - job->after);
    cb_hasher_step(f->hasher, data);
    pthread_mutex_lock(&f->lock);
    f->turn++;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    transfer *t = arg;
    const piece_job *job = data;
    const cb_piece *piece = &job->piece;
    moved_item *item = &t->items[piece->item];
    cb_buf *raw = &t->buffers.of[worker];
    cb_code code;

    raw->size = 0;
    code = cb_source_read(t->source, piece, raw, err);
    if (code == CB_OK)
        code =
            cb_target_write(t->target, item->target_number, piece->offset, cb_buf_bytes(raw), err);
    if (code != CB_OK) {
        lose_hash(&t->follower);
        return code == CB_RETRY ? CB_OK : code; /* a later pass brings it again */
    }
    hash_in_turn(&t->follower, job, cb_buf_bytes(raw));
    atomic_fetch_add(&t->read_bytes, raw->size);
    item->written[piece->index] = 1;
    return CB_OK;
}

/* Unwritten chunks of an item: freed, when an earlier pass had put something there. */
static cb_code forget(transfer *t, moved_item *item, uint64_t index, cb_error *err)
{
    uint64_t offset;
    uint32_t length;

    if (item->written[index] != 0)
        lose_hash(&t->follower);
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
    if (item->item.kind != CB_ITEM_DATABASE && count > 0) /* it will be folded in */
        lose_hash(&t->follower);
    return code;
}

/* The header as it would be if this pass were the last. */
static cb_code hash_head(transfer *t, const moved_item *item, uint32_t number, cb_error *err)
{
    follower *f = &t->follower;
    cb_piece head = {.item = number, .length = item->item.head_bytes};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_code code = cb_source_read(t->source, &head, &raw, err);

    if (code != CB_OK)
        return code;
    f->head_bytes = head.length;
    f->end = head.length;
    f->head = raw.data; /* ours now */
    raw = (cb_buf){0};
    cb_hasher_step(f->hasher, cb_bytes_of(f->head, f->head_bytes));
    return CB_OK;
}

/* Is the header that comes at the end the one that was hashed? */
static cb_code compare_head(transfer *t, const cb_piece *piece, cb_error *err)
{
    follower *f = &t->follower;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_code code = cb_source_read(t->source, piece, &raw, err);

    if (code == CB_OK && (raw.size != f->head_bytes || memcmp(raw.data, f->head, raw.size) != 0))
        lose_hash(f);
    return code;
}

static cb_code submit(transfer *t, const cb_piece *piece, cb_error *err)
{
    follower *f = &t->follower;
    const moved_item *item = &t->items[piece->item];
    piece_job job = {.piece = *piece};
    cb_code code = CB_OK;

    if (f->is_wanted && item->item.kind == CB_ITEM_DATABASE) {
        if (f->submitted == 0 && f->end == 0 && piece->index > 0 && item->item.head_bytes > 0)
            code = hash_head(t, item, piece->item, err);
        if (code != CB_OK)
            return code;
        if (piece->offset >= f->end) {
            job.turn = ++f->submitted;
            job.after = f->end;
            f->end = piece->offset + piece->length;
        } else if (piece->index == 0 && f->head != NULL) {
            code = compare_head(t, piece, err);
        } else {
            lose_hash(f);
        }
    }
    return code == CB_OK ? cb_pool_submit(t->pool, &job, err) : code;
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
        return submit(t, piece, err);
    case CB_STEP_HOLE:
        return forget(t, &t->items[piece->item], piece->index, err);
    case CB_STEP_DONE:
        return finish_item(t, piece->item, err);
    case CB_STEP_BARRIER:
    case CB_STEP_RESTART:
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

/* All pieces have ended: what is left are zeros, up to the size that was declared last. */
static void end_hash(transfer *t, cb_transfer_hash *out)
{
    follower *f = &t->follower;
    uint64_t size = t->items[0].item.size_bytes;

    *out = (cb_transfer_hash){.bytes = size};
    if (f->is_lost || f->submitted == 0 || size < f->end)
        return;
    hash_zeros(f, size - f->end);
    cb_hasher_end(f->hasher, &out->hash);
    out->is_known = true;
}

static cb_code begin(transfer *t, bool is_hash_wanted, cb_error *err)
{
    follower *f = &t->follower;
    cb_code code = CB_OK;

    cb_pool_buffers_init(&t->buffers, CB_CHUNK_BYTES_MAX);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->moved, NULL);
    f->is_wanted = is_hash_wanted;
    f->turn = 1;
    if (is_hash_wanted)
        code = cb_hasher_new(&f->hasher, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(t->ctx), 4 * (size_t)cb_jobs(t->ctx), sizeof(piece_job), work, t,
                           &t->pool, err);
    return code;
}

cb_code cb_transfer(cb_ctx *ctx, cb_source *source, cb_target *target, uint64_t *bytes_written,
                    cb_transfer_hash *hash, cb_error *err)
{
    transfer *t = calloc(1, sizeof(*t));
    cb_code code;

    if (t == NULL)
        return cb_fail_memory(err, sizeof(*t));
    t->ctx = ctx;
    t->source = source;
    t->target = target;
    code = begin(t, hash != NULL, err);
    if (code == CB_OK)
        code = run(t, err);
    if (code != CB_OK)
        lose_hash(&t->follower); /* nobody waits for jobs that are dropped */
    cb_pool_free(t->pool);
    *bytes_written = atomic_load(&t->read_bytes);
    if (code == CB_OK && hash != NULL)
        end_hash(t, hash);
    cb_pool_buffers_free(&t->buffers);
    for (unsigned i = 0; i < ITEMS_MAX; i++)
        free(t->items[i].written);
    cb_hasher_free(t->follower.hasher);
    free(t->follower.head);
    pthread_cond_destroy(&t->follower.moved);
    pthread_mutex_destroy(&t->follower.lock);
    free(t);
    return code;
}
