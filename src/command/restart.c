/*
 * restart.c - what was read before a source began its items anew, kept so that it is not read
 * again.
 *
 * A journal in a nameless file: records in the order of item paths, each an item and its entries in
 * every repository. One is written while the items are handed over; with a restart it becomes the
 * one that is read, by a cursor that moves along with the items of the second table, and another
 * is begun. What the cursor had not reached when the next restart comes goes over into that. The
 * file is ours alone and lives no longer than we do: records are as they are in memory.
 */
#include "command/command_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITE_BYTES = 1 << 20 };

typedef struct journal {
    int fd;
    uint64_t size;
} journal;

typedef struct record_head {
    uint64_t bytes; /* of all of it */
    uint64_t size_bytes, count;
    uint32_t path_bytes, attrs_bytes, head_bytes, chunk_bytes;
    cb_item_kind kind;
} record_head;

struct cb_earlier {
    cb_ctx *ctx;
    size_t outlets;
    journal written, read;
    cb_buf pending; /* of `written`, not yet in the file */
    char *last;     /* path of the item that was kept last; NULL: none */
    uint64_t at;    /* of `read`: where the next record begins */
    cb_buf record;  /* the current one */
    record_head head;
    cb_item item; /* of the current record; valid while has_item */
    bool has_item;
};

/* ---- the file ---------------------------------------------------------------------------- */

static cb_code open_nameless(cb_ctx *ctx, int *fd, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch folder = {0};
    char path[CB_PATH_MAX];
    cb_code code = cb_scratch_make(ctx, &folder, err);

    if (code == CB_OK)
        code = cb_path_join(folder.path, "journal", path, err);
    if (code == CB_OK)
        code = cb_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, fd, err);
    return code;
}

static cb_code write_pending(cb_earlier *e, cb_error *err)
{
    journal *j = &e->written;
    cb_code code = CB_OK;

    if (e->pending.size == 0)
        return CB_OK;
    if (j->fd < 0)
        code = open_nameless(e->ctx, &j->fd, err);
    if (code == CB_OK)
        code = cb_file_write(j->fd, "journal", j->size, e->pending.data, e->pending.size, err);
    if (code != CB_OK)
        return cb_context(err, "what was read so far, in the temporary folder");
    j->size += e->pending.size;
    e->pending.size = 0;
    return CB_OK;
}

static cb_code read_exactly(const journal *j, uint64_t offset, size_t size, cb_buf *into,
                            cb_error *err)
{
    size_t got;
    cb_code code = cb_buf_reserve(into, size + 1, err);

    if (code == CB_OK)
        code = cb_file_read(j->fd, "journal", offset, into->data + into->size, size, &got, err);
    if (code == CB_OK && got != size)
        code = cb_fail(err, CB_IO, "the journal in the temporary folder ends early");
    if (code == CB_OK)
        into->size += size;
    return code;
}

/* ---- keeping ----------------------------------------------------------------------------- */

static cb_code note_last(cb_earlier *e, const char *path, cb_error *err)
{
    char *copy = strdup(path);

    if (copy == NULL)
        return cb_fail_memory(err, strlen(path));
    free(e->last);
    e->last = copy;
    return CB_OK;
}

cb_code cb_earlier_keep(cb_earlier *e, const cb_item *item, const cb_entry *const *entries,
                        uint64_t count, cb_error *err)
{
    record_head head = {
        .size_bytes = item->size_bytes,
        .count = count,
        .path_bytes = (uint32_t)strlen(item->path) + 1,
        .attrs_bytes = (uint32_t)item->attrs.size,
        .head_bytes = item->head_bytes,
        .chunk_bytes = item->chunk_bytes,
        .kind = item->kind,
    };
    size_t entry_bytes = (size_t)count * sizeof(cb_entry);
    cb_code code;

    head.bytes = sizeof(head) + head.path_bytes + head.attrs_bytes + e->outlets * entry_bytes;
    code = cb_buf_append(&e->pending, &head, sizeof(head), err);
    if (code == CB_OK)
        code = cb_buf_append(&e->pending, item->path, head.path_bytes, err);
    if (code == CB_OK && head.attrs_bytes > 0)
        code = cb_buf_append(&e->pending, item->attrs.data, head.attrs_bytes, err);
    for (size_t i = 0; code == CB_OK && count > 0 && i < e->outlets; i++)
        code = cb_buf_append(&e->pending, entries[i], entry_bytes, err);
    if (code == CB_OK)
        code = note_last(e, item->path, err);
    if (code == CB_OK && e->pending.size >= WRITE_BYTES)
        code = write_pending(e, err);
    return code;
}

/* ---- looking up -------------------------------------------------------------------------- */

static cb_code next_record(cb_earlier *e, cb_error *err)
{
    cb_code code;

    e->has_item = false;
    if (e->at >= e->read.size)
        return CB_OK;
    e->record.size = 0;
    code = read_exactly(&e->read, e->at, sizeof(e->head), &e->record, err);
    if (code != CB_OK)
        return code;
    memcpy(&e->head, e->record.data, sizeof(e->head));
    code = read_exactly(&e->read, e->at + sizeof(e->head),
                        (size_t)(e->head.bytes - sizeof(e->head)), &e->record, err);
    if (code != CB_OK)
        return code;
    e->at += e->head.bytes;
    e->item = (cb_item){
        .path = (const char *)e->record.data + sizeof(e->head),
        .kind = e->head.kind,
        .size_bytes = e->head.size_bytes,
        .head_bytes = e->head.head_bytes,
        .chunk_bytes = e->head.chunk_bytes,
        .attrs =
            cb_bytes_of(e->record.data + sizeof(e->head) + e->head.path_bytes, e->head.attrs_bytes),
    };
    e->has_item = true;
    return CB_OK;
}

cb_code cb_earlier_seek(cb_earlier *e, const char *path, const cb_item **item, cb_error *err)
{
    cb_code code = CB_OK;

    *item = NULL;
    while (code == CB_OK && e->has_item && cb_item_path_compare(e->item.path, path) < 0)
        code = next_record(e, err);
    if (code == CB_OK && e->has_item && cb_item_path_compare(e->item.path, path) == 0)
        *item = &e->item;
    return code;
}

void cb_earlier_entries(const cb_earlier *e, size_t outlet, uint64_t count, cb_entry *out)
{
    size_t entry_bytes = (size_t)e->head.count * sizeof(cb_entry);
    const uint8_t *at = e->record.data + sizeof(e->head) + e->head.path_bytes +
                        e->head.attrs_bytes + outlet * entry_bytes;
    uint64_t some = count < e->head.count ? count : e->head.count;

    if (some > 0)
        memcpy(out, at, (size_t)some * sizeof(cb_entry));
}

/* ---- restarting -------------------------------------------------------------------------- */

/* Behind the last that was kept now: what the second table had not come to. */
static cb_code carry_over(cb_earlier *e, cb_error *err)
{
    cb_code code = CB_OK;

    while (code == CB_OK && e->has_item) {
        if (e->last == NULL || cb_item_path_compare(e->last, e->item.path) < 0)
            code = cb_buf_append(&e->pending, e->record.data, e->record.size, err);
        if (code == CB_OK && e->pending.size >= WRITE_BYTES)
            code = write_pending(e, err);
        if (code == CB_OK)
            code = next_record(e, err);
    }
    return code;
}

cb_code cb_earlier_restart(cb_earlier *e, cb_error *err)
{
    cb_code code = carry_over(e, err);

    if (code == CB_OK)
        code = write_pending(e, err);
    if (code != CB_OK)
        return code;
    cb_fd_close(&e->read.fd);
    e->read = e->written;
    e->written = (journal){.fd = -1};
    e->at = 0;
    free(e->last);
    e->last = NULL;
    return next_record(e, err);
}

cb_code cb_earlier_new(cb_ctx *ctx, size_t outlets, cb_earlier **out, cb_error *err)
{
    cb_earlier *e = calloc(1, sizeof(*e));

    *out = e;
    if (e == NULL)
        return cb_fail_memory(err, sizeof(*e));
    e->ctx = ctx;
    e->outlets = outlets;
    e->written.fd = e->read.fd = -1;
    return CB_OK;
}

void cb_earlier_free(cb_earlier *e)
{
    if (e == NULL)
        return;
    cb_fd_close(&e->written.fd);
    cb_fd_close(&e->read.fd);
    cb_buf_free(&e->pending);
    cb_buf_free(&e->record);
    free(e->last);
    free(e);
}
