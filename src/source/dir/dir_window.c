/*
 * dir_window.c - the window that objects pass through between the walk and their end.
 *
 * Entries are read by workers while the coordinator adds others; an entry that is being read does
 * not move, and what the two share of it is one flag. It is judged only behind a barrier.
 */
#include "source/dir/dir_source.h"

#include "base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WINDOW_FILES = 128,     /* of the entries open */
    WINDOW_BYTES = 4 << 20, /* of paths and attributes */
    ATTEMPTS_MAX = 3,       /* reads of a file that does not hold still, after the first */
    ATTEMPT_PAUSE_US = 200000,
    SPARSE_BYTES_MIN = 64 * 1024, /* smaller ones are not asked for holes */
};

/* ---- entries -------------------------------------------------------------------------------- */

void cb_dir_window_skip(cb_dir_source *source, cb_dir_seen *seen)
{
    if (seen->fd < 0)
        return;
    cb_fd_close(&seen->fd);
    source->open_files--;
}

void cb_dir_window_empty(cb_dir_source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        cb_dir_window_skip(source, &source->window[i]);
        free(source->window[i].path);
        cb_buf_free(&source->window[i].attrs);
    }
    source->first_number += (uint32_t)source->count;
    source->count = 0;
    source->window_bytes = 0;
}

/* The window is as large as it may be: wait for its reads, before any of its files is judged. */
void cb_dir_window_start_settling(cb_dir_source *source)
{
    source->state = CB_DIR_STATE_SETTLE;
    source->settled = source->count;
}

bool cb_dir_window_is_full(const cb_dir_source *source)
{
    return source->count == CB_DIR_WINDOW_ITEMS || source->open_files >= WINDOW_FILES ||
           source->window_bytes >= WINDOW_BYTES;
}

static void set_size(cb_dir_seen *seen)
{
    seen->size = (uint64_t)seen->before.st_size;
    seen->is_sparse =
        seen->size >= SPARSE_BYTES_MIN && (uint64_t)seen->before.st_blocks * 512 < seen->size;
}

cb_code cb_dir_window_add(cb_dir_source *source, const char *path, const cb_dir_object *object,
                          const struct stat *st, const char *same_as, int fd, cb_error *err)
{
    cb_dir_seen *seen = &source->window[source->count];
    cb_code code;

    *seen = (cb_dir_seen){.kind = cb_dir_kind(st->st_mode), .fd = -1, .before = *st};
    code = cb_dir_attrs_capture(object, st, cb_now_us(source->ctx), same_as, &seen->attrs, err);
    if (code == CB_OK) {
        seen->path = strdup(path);
        if (seen->path == NULL)
            code = cb_fail_memory(err, strlen(path));
    }
    if (code != CB_OK) {
        cb_buf_free(&seen->attrs);
        return code;
    }
    if (seen->kind == CB_ITEM_FILE && same_as == NULL)
        set_size(seen);
    seen->fd = fd;
    if (fd >= 0)
        source->open_files++;
    source->window_bytes += strlen(path) + seen->attrs.size;
    source->count++;
    return CB_OK;
}

void cb_dir_window_describe(const cb_dir_source *source, size_t at, cb_step *step)
{
    const cb_dir_seen *seen = &source->window[at];

    step->kind = CB_STEP_ITEM;
    step->piece.item = source->first_number + (uint32_t)at;
    step->item = (cb_item){
        .path = seen->path,
        .kind = seen->kind,
        .size_bytes = seen->size,
        .chunk_bytes = CB_DIR_CHUNK_BYTES,
        .attrs = cb_buf_bytes(&seen->attrs),
    };
}

void cb_dir_window_yield(cb_dir_source *source, size_t at, cb_dir_state resume, cb_step *step)
{
    source->current = at;
    source->chunk = 0;
    source->data_from = source->data_to = 0;
    source->state = CB_DIR_STATE_PIECES;
    source->resume = resume;
    cb_dir_window_describe(source, at, step);
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Does [offset, offset + length) hold no data at all? Asked in rising order. */
static bool is_hole(cb_dir_source *source, const cb_dir_seen *seen, uint64_t offset,
                    uint32_t length)
{
    off_t from, to;

    if (!seen->is_sparse)
        return false;
    if (source->data_to <= offset) {
        from = lseek(seen->fd, (off_t)offset, SEEK_DATA);
        if (from < 0 && errno == ENXIO) { /* no data from here to the end */
            source->data_from = source->data_to = UINT64_MAX;
        } else {
            to = from < 0 ? -1 : lseek(seen->fd, from, SEEK_HOLE);
            source->data_from = from < 0 ? offset : (uint64_t)from;
            source->data_to = to < 0 ? UINT64_MAX : (uint64_t)to; /* cannot tell: all is data */
        }
    }
    return source->data_from >= offset + length;
}

void cb_dir_window_piece(cb_dir_source *source, cb_step *step, bool *yielded)
{
    cb_dir_seen *seen = &source->window[source->current];
    cb_item item;
    cb_piece piece;

    cb_dir_window_describe(source, source->current, step);
    item = step->item;
    if (seen->fd < 0 || source->chunk >= cb_item_chunks(&item)) {
        source->state = source->resume;
        return;
    }
    piece.item = step->piece.item;
    piece.index = source->chunk++;
    cb_item_chunk(&item, piece.index, &piece.offset, &piece.length);
    if (is_hole(source, seen, piece.offset, piece.length)) {
        if (seen->attempts == 0)
            return;
        step->kind = CB_STEP_HOLE; /* an earlier attempt may have found data there */
    } else {
        step->kind = CB_STEP_PIECE;
        source->is_reading = true;
    }
    step->piece = piece;
    *yielded = true;
}

cb_code cb_dir_window_read(cb_source *base, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    cb_dir_source *source = (cb_dir_source *)base;
    cb_dir_seen *seen = &source->window[piece->item - source->first_number];
    size_t done = 0;
    cb_code code = cb_buf_reserve(into, piece->length, err);

    if (code != CB_OK)
        return code;
    while (done < piece->length) {
        ssize_t got = pread(seen->fd, into->data + into->size + done, piece->length - done,
                            (off_t)(piece->offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            atomic_store(&seen->came_short,
                         true); /* it shrank: the look behind the barrier decides */
        if (got < 0) {
            cb_fail_errno(err, errno, "cannot read %zu bytes at %llu", piece->length - done,
                          (unsigned long long)(piece->offset + done));
            code = cb_dir_report(source, seen->path, err);
        }
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    if (code != CB_OK)
        return code;
    memset(into->data + into->size + done, 0, piece->length - done);
    into->size += piece->length;
    return CB_OK;
}

/* ---- did the files hold still? ------------------------------------------------------------- */

/* A file without a name left is only held by us and by who wrote it; its ctime moved with the
   unlink alone, and what was read is what it was. */
static bool held_still(const cb_dir_seen *seen, const struct stat *after)
{
    const struct stat *before = &seen->before;

    if (atomic_load(&seen->came_short) || after->st_size != before->st_size ||
        cb_dir_time_ns(&after->st_mtim) != cb_dir_time_ns(&before->st_mtim))
        return false;
    return after->st_nlink == 0 ||
           cb_dir_time_ns(&after->st_ctim) == cb_dir_time_ns(&before->st_ctim);
}

static cb_code declare_again(cb_dir_source *source, size_t at, cb_step *step, cb_error *err)
{
    cb_dir_seen *seen = &source->window[at];
    const cb_dir_object object = {seen->fd, -1, seen->path};
    cb_code code = CB_OK;

    if (++seen->attempts > 1)
        code = cb_sleep_us(source->ctx, ATTEMPT_PAUSE_US, err);
    if (code != CB_OK)
        return code;
    if (fstat(seen->fd, &seen->before) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s' again", seen->path);
    set_size(seen);
    atomic_store(&seen->came_short, false);
    seen->attrs.size = 0;
    code = cb_dir_attrs_capture(&object, &seen->before, cb_now_us(source->ctx), NULL, &seen->attrs,
                                err);
    if (code == CB_OK)
        cb_dir_window_yield(source, at, CB_DIR_STATE_SETTLE, step);
    return code;
}

static cb_code settle_one(cb_dir_source *source, size_t at, cb_step *step, bool *yielded,
                          cb_error *err)
{
    cb_dir_seen *seen = &source->window[at];
    struct stat after;
    cb_code code;

    if (seen->fd < 0 || seen->is_checked)
        return CB_OK;
    if (fstat(seen->fd, &after) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s' again", seen->path);
    seen->is_checked = held_still(seen, &after);
    if (seen->is_checked)
        return CB_OK;
    if (seen->attempts == ATTEMPTS_MAX) {
        seen->is_checked = true;
        source->changed++;
        cb_event_text(source->ctx, CB_EVENT_WARNING,
                      "'%s' changed each time it was read: stored as it was read last", seen->path);
        return CB_OK;
    }
    code = declare_again(source, at, step, err);
    *yielded = code == CB_OK;
    return code;
}

cb_code cb_dir_window_settle(cb_dir_source *source, cb_step *step, bool *yielded, cb_error *err)
{
    if (source->is_reading && source->settled == source->count) {
        source->is_reading = false;
        source->settled = 0;
        step->kind = CB_STEP_BARRIER;
        *yielded = true;
        return CB_OK;
    }
    while (source->settled < source->count) {
        cb_code code = settle_one(source, source->settled++, step, yielded, err);

        if (code != CB_OK || *yielded)
            return code;
    }
    if (!source->is_reading) {
        source->state = CB_DIR_STATE_DONE;
        source->current = 0;
    }
    return CB_OK;
}

void cb_dir_window_hand_over(cb_dir_source *source, cb_step *step, bool *yielded)
{
    if (source->current < source->count) {
        step->kind = CB_STEP_DONE;
        step->piece.item = source->first_number + (uint32_t)source->current++;
        *yielded = true;
        return;
    }
    cb_dir_window_empty(source);
    source->state = source->ended_walk ? CB_DIR_STATE_END : CB_DIR_STATE_WALK;
}
