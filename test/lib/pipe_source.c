#include "pipe_source.h"

#include "base/array.h"

#include <stdlib.h>

enum { ITEMS_AT_ONCE = 8 };

static void free_chunks(test_item *item)
{
    for (uint64_t i = 0; i < item->chunk_count; i++)
        free(item->chunks[i].data);
    free(item->chunks);
    item->chunks = NULL;
    item->chunk_count = 0;
}

static void forget_description(test_item *item)
{
    free((void *)(uintptr_t)item->item.path);
    free((void *)(uintptr_t)item->item.attrs.data);
}

void test_backup_free(test_backup *backup)
{
    for (size_t i = 0; i < backup->count; i++) {
        free_chunks(&backup->items[i]);
        forget_description(&backup->items[i]);
    }
    free(backup->items);
    *backup = (test_backup){0};
}

const test_item *test_backup_find(const test_backup *backup, const char *path)
{
    for (size_t i = 0; i < backup->count; i++)
        if (strcmp(backup->items[i].item.path, path) == 0)
            return &backup->items[i];
    return NULL;
}

static test_item *by_number(test_backup *backup, uint32_t number)
{
    for (size_t i = backup->count; i-- > 0;)
        if (backup->items[i].number == number)
            return &backup->items[i];
    return NULL;
}

/* ---- taking ------------------------------------------------------------------------------- */

static cb_code copy_chunk(test_chunk *to, const test_chunk *from, cb_error *err)
{
    if (from->data == NULL)
        return CB_OK;
    to->data = malloc(from->size + 1);
    if (to->data == NULL)
        return cb_fail_memory(err, from->size);
    memcpy(to->data, from->data, from->size);
    to->size = from->size;
    return CB_OK;
}

/* Take the description over, and room for its chunks; what fits in both grids stays. */
static cb_code describe(test_item *item, const cb_item *from, cb_error *err)
{
    uint64_t count = cb_item_chunks(from);
    char *path = strdup(from->path);
    uint8_t *attrs = malloc(from->attrs.size + 1);
    test_chunk *chunks = calloc(count + 1, sizeof(*chunks));

    if (path == NULL || attrs == NULL || chunks == NULL) {
        free(path);
        free(attrs);
        free(chunks);
        return cb_fail_memory(err, (size_t)count);
    }
    if (from->attrs.size > 0)
        memcpy(attrs, from->attrs.data, from->attrs.size);
    for (uint64_t i = 0; i < count && i < item->chunk_count; i++) {
        chunks[i] = item->chunks[i];
        item->chunks[i] = (test_chunk){0};
    }
    free_chunks(item);
    forget_description(item);
    item->item = *from;
    item->item.path = path;
    item->item.attrs.data = attrs;
    item->chunks = chunks;
    item->chunk_count = count;
    return CB_OK;
}

/* Of the items before a restart only those count that were read to the end. */
static const test_item *find_whole(const test_backup *earlier, const char *path)
{
    const test_item *item = test_backup_find(earlier, path);

    for (uint64_t i = 0; item != NULL && i < item->chunk_count; i++)
        if (item->chunks[i].data == NULL)
            return NULL;
    return item;
}

static cb_code declare(cb_source *source, const test_backup *parent, const test_backup *earlier,
                       test_backup *out, const cb_step *step, cb_error *err)
{
    test_item *item = by_number(out, step->piece.item);
    const test_item *known = NULL;
    bool again = item != NULL;
    cb_code code = CB_OK;

    if (!again) {
        if (out->count == out->capacity)
            code = cb_array_grow(&out->items, &out->capacity, sizeof(*out->items), err);
        if (code != CB_OK)
            return code;
        item = &out->items[out->count++];
        item->number = step->piece.item;
    }
    if (again && item->done)
        return cb_fail(err, CB_INTERNAL, "'%s' is declared again behind its end", step->item.path);
    out->declared_again += again ? 1 : 0;
    code = describe(item, &step->item, err);
    if (code != CB_OK)
        return code;
    if (!again)
        known = find_whole(earlier, step->item.path);
    if (parent != NULL && !again && known == NULL)
        known = test_backup_find(parent, step->item.path);
    code = cb_source_take(source, known == NULL ? NULL : &known->item, &item->reused, err);
    for (uint64_t i = 0; code == CB_OK && item->reused && i < item->chunk_count; i++)
        code = copy_chunk(&item->chunks[i], &known->chunks[i], err);
    return code;
}

static cb_code take_piece(cb_source *source, test_backup *out, const cb_step *step, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    test_item *item = by_number(out, step->piece.item);
    test_chunk *chunk;
    cb_code code;

    if (item == NULL || item->done || item->reused || step->piece.index >= item->chunk_count)
        return cb_fail(err, CB_INTERNAL, "a piece of no open item");
    chunk = &item->chunks[step->piece.index];
    free(chunk->data);
    *chunk = (test_chunk){0};
    if (step->kind == CB_STEP_HOLE)
        return CB_OK;
    out->pieces++;
    code = cb_source_read(source, &step->piece, &into, err);
    if (code == CB_RETRY) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK && into.size != step->piece.length)
        code = cb_fail(err, CB_INTERNAL, "a piece of %u bytes came with %zu", step->piece.length,
                       into.size);
    if (code != CB_OK)
        return code;
    *chunk = (test_chunk){into.data, into.size};
    into.data = NULL;
    return CB_OK;
}

/* What was read so far stands beside the parent for the next table. */
static void restart(test_backup *earlier, test_backup *out)
{
    test_backup before = *out;

    test_backup_free(earlier);
    *earlier = before;
    *out = (test_backup){
        .pieces = before.pieces,
        .barriers = before.barriers,
        .declared_again = before.declared_again,
        .restarts = before.restarts + 1,
    };
}

static cb_code act(cb_source *source, const test_backup *parent, test_backup *earlier,
                   test_backup *out, const cb_step *step, cb_error *err)
{
    test_item *item;

    switch (step->kind) {
    case CB_STEP_ITEM:
        return declare(source, parent, earlier, out, step, err);
    case CB_STEP_PIECE:
    case CB_STEP_HOLE:
        return take_piece(source, out, step, err);
    case CB_STEP_BARRIER:
        out->barriers++;
        return CB_OK;
    case CB_STEP_DONE:
        item = by_number(out, step->piece.item);
        if (item == NULL || item->done)
            return cb_fail(err, CB_INTERNAL, "an item ended that was not open");
        item->done = true;
        return CB_OK;
    case CB_STEP_RESTART:
        restart(earlier, out);
        return CB_OK;
    case CB_STEP_END:
        return CB_OK;
    }
    return CB_OK;
}

cb_code test_backup_take(cb_source *source, const test_backup *parent, test_step_hook *hook,
                         void *arg, test_backup *out, cb_error *err)
{
    test_backup earlier = {0};
    cb_step step = {0};
    bool unchanged = false;
    cb_code code;

    *out = (test_backup){0};
    code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    while (code == CB_OK && !unchanged && step.kind != CB_STEP_END) {
        code = cb_source_next(source, &step, err);
        if (code == CB_OK && hook != NULL)
            code = hook(arg, &step, err);
        if (code == CB_OK)
            code = act(source, parent, &earlier, out, &step, err);
    }
    test_backup_free(&earlier);
    for (size_t i = 0; code == CB_OK && i < out->count; i++)
        if (!out->items[i].done)
            code = cb_fail(err, CB_INTERNAL, "'%s' never ended", out->items[i].item.path);
    if (code == CB_OK)
        code = cb_source_end(source, &out->facts, err);
    return code;
}

/* ---- restoring ---------------------------------------------------------------------------- */

static cb_code put_chunk(cb_target *target, uint32_t number, const test_item *item, uint64_t index,
                         bool delta, test_restore_counts *counts, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf there = {0};
    const test_chunk *chunk = &item->chunks[index];
    uint64_t offset;
    uint32_t length;
    cb_code code = CB_OK;

    cb_item_chunk(&item->item, index, &offset, &length);
    if (chunk->data == NULL)
        return cb_target_hole(target, number, offset, length, err);
    if (delta)
        code = cb_target_read(target, number, offset, length, &there, err);
    if (code != CB_OK)
        return code;
    if (delta && there.size == length && memcmp(there.data, chunk->data, length) == 0) {
        counts->reused_bytes += length;
        return CB_OK;
    }
    counts->written_bytes += length;
    return cb_target_write(target, number, offset, cb_bytes_of(chunk->data, chunk->size), err);
}

static cb_code end_items(cb_target *target, uint32_t *numbers, size_t *count, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < *count; i++)
        code = cb_target_done(target, numbers[i], err);
    *count = 0;
    return code;
}

/* Several items open at once, as the command has them. */
cb_code test_backup_restore(const test_backup *backup, cb_target *target, bool delta,
                            test_restore_counts *counts, cb_error *err)
{
    test_restore_counts unused = {0};
    uint32_t numbers[ITEMS_AT_ONCE];
    size_t open = 0;
    cb_code code = cb_target_prepare(target, err);

    if (counts == NULL)
        counts = &unused;
    *counts = unused;
    for (size_t i = 0; code == CB_OK && i < backup->count; i++) {
        const test_item *item = &backup->items[i];

        code = cb_target_item(target, &item->item, &numbers[open], err);
        for (uint64_t chunk = 0; code == CB_OK && chunk < item->chunk_count; chunk++)
            code = put_chunk(target, numbers[open], item, chunk, delta, counts, err);
        if (code == CB_OK && ++open == ITEMS_AT_ONCE)
            code = end_items(target, numbers, &open, err);
    }
    if (code == CB_OK)
        code = end_items(target, numbers, &open, err);
    return code == CB_OK ? cb_target_finish(target, err) : code;
}
