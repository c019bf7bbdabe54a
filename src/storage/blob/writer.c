/*
 * writer.c - segments, and parts on their way.
 *
 * A part is cut off only when there are bytes behind it, so that the last part is never empty and
 * is known to be the last. Parts that are under way hang in a list, since a pool drops what is
 * queued after its first error: whatever is left there is released at the end.
 */
#include "storage/blob/writer.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/pool.h"

enum { GROWTH_USUAL = 3 };

typedef struct segments {
    cb_buf *items; /* all but the last are full */
    size_t count, capacity;
    uint64_t size;
} segments;

typedef struct job {
    struct job *next;
    struct blob_writer *writer;
    segments data;
    unsigned number;
    uint64_t offset;
    bool is_last;
} job;

typedef struct blob_writer {
    cb_writer writer;
    cb_blob_upload *upload;
    segments held;
    cb_pool *pool; /* NULL: not begun */
    unsigned parts;
    uint64_t offset; /* of the first held byte */
    bool is_begun, is_committed;
    cb_error failed; /* the first failure: an upload that lost bytes is never finished */

    pthread_mutex_t lock; /* guards the list */
    job *jobs;
} blob_writer;

static blob_writer *of_writer(cb_writer *writer)
{
    return (blob_writer *)writer; /* the first member */
}

/* ---- segments -------------------------------------------------------------------------------- */

static void segments_free(segments *of)
{
    for (size_t i = 0; i < of->count; i++)
        cb_buf_free(&of->items[i]);
    free(of->items);
    *of = (segments){0};
}

/* The first grows with what comes, since most objects are small; the others are whole at once. */
static cb_code segments_open(segments *of, cb_error *err)
{
    cb_code code = CB_OK;

    if (of->count == of->capacity)
        code = cb_array_grow(&of->items, &of->capacity, sizeof(*of->items), err);
    if (code != CB_OK)
        return code;
    of->items[of->count] = (cb_buf){0};
    if (of->count > 0)
        code = cb_buf_reserve(&of->items[of->count], CB_BLOB_SEGMENT, err);
    if (code == CB_OK)
        of->count++;
    return code;
}

/* As much of `data` as fits into one segment. */
static cb_code segments_append(segments *of, cb_bytes *data, cb_error *err)
{
    cb_buf *last;
    size_t more;
    cb_code code = CB_OK;

    if (of->count == 0 || of->items[of->count - 1].size == CB_BLOB_SEGMENT)
        code = segments_open(of, err);
    if (code != CB_OK)
        return code;
    last = &of->items[of->count - 1];
    more = CB_BLOB_SEGMENT - last->size;
    if (more > data->size)
        more = data->size;
    code = cb_buf_append(last, data->data, more, err);
    if (code == CB_OK) {
        of->size += more;
        *data = cb_bytes_of(data->data + more, data->size - more);
    }
    return code;
}

/* Move the first `count` segments to `to`, which is empty. */
static cb_code segments_split(segments *of, size_t count, segments *to, cb_error *err)
{
    cb_code code = cb_array_reserve(&to->items, &to->capacity, count, sizeof(*to->items), err);

    if (code != CB_OK)
        return code;
    memcpy(to->items, of->items, count * sizeof(*to->items));
    to->count = count;
    for (size_t i = 0; i < count; i++)
        to->size += to->items[i].size;
    memmove(of->items, of->items + count, (of->count - count) * sizeof(*of->items));
    of->count -= count;
    of->size -= to->size;
    return CB_OK;
}

static void bytes_free(cb_bytes **pieces)
{
    free(*pieces);
}

static cb_code segments_view(const segments *of, cb_bytes **pieces, cb_blob_body *out,
                             cb_error *err)
{
    *pieces = calloc(of->count + 1, sizeof(**pieces));
    if (*pieces == NULL)
        return cb_fail_memory(err, of->count * sizeof(**pieces));
    for (size_t i = 0; i < of->count; i++)
        (*pieces)[i] = cb_buf_bytes(&of->items[i]);
    *out = (cb_blob_body){*pieces, of->count, of->size};
    return CB_OK;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void job_end(job *done)
{
    blob_writer *self = done->writer;
    job **at = &self->jobs;

    pthread_mutex_lock(&self->lock);
    while (*at != done)
        at = &(*at)->next;
    *at = done->next;
    pthread_mutex_unlock(&self->lock);
    segments_free(&done->data);
    free(done);
}

static cb_code send_part(void *arg, unsigned worker, void *item, cb_error *err)
{
    CB_CLEANUP(bytes_free) cb_bytes *pieces = NULL;
    blob_writer *self = arg;
    job *now = *(job **)item;
    cb_blob_part part = {.number = now->number, .is_last = now->is_last, .offset = now->offset};
    cb_code code = segments_view(&now->data, &pieces, &part.body, err);

    (void)worker;
    if (code == CB_OK)
        code = self->upload->ops->part(self->upload, &part, err);
    job_end(now);
    return code;
}

static uint64_t part_size(const blob_writer *self)
{
    const cb_blob_upload *upload = self->upload;
    unsigned doubled = upload->grow_every > 0 ? self->parts / upload->grow_every : 0;
    unsigned most = upload->grow_most > 0 ? upload->grow_most : GROWTH_USUAL;

    return upload->part_bytes << (doubled < most ? doubled : most);
}

static cb_code begin(blob_writer *self, cb_error *err)
{
    cb_code code = self->upload->ops->begin(self->upload, err);

    if (code != CB_OK)
        return code;
    self->is_begun = true;
    return cb_pool_new(self->upload->in_flight, 1, sizeof(job *), send_part, self, &self->pool,
                       err);
}

static cb_code submit(blob_writer *self, size_t count, bool is_last, cb_error *err)
{
    job *next = calloc(1, sizeof(*next));
    cb_code code;

    if (next == NULL)
        return cb_fail_memory(err, sizeof(*next));
    next->writer = self;
    next->number = self->parts;
    next->offset = self->offset;
    next->is_last = is_last;
    code = segments_split(&self->held, count, &next->data, err);
    if (code != CB_OK) {
        free(next);
        return code;
    }
    self->parts++;
    self->offset += next->data.size;
    pthread_mutex_lock(&self->lock);
    next->next = self->jobs;
    self->jobs = next;
    pthread_mutex_unlock(&self->lock);
    return cb_pool_submit(self->pool, &next, err);
}

static cb_code send_full_parts(blob_writer *self, cb_error *err)
{
    cb_code code = CB_OK;

    if (!self->is_begun && self->held.size > self->upload->whole_max)
        code = begin(self, err);
    while (code == CB_OK && self->is_begun && self->held.size > part_size(self))
        code = submit(self, (size_t)(part_size(self) / CB_BLOB_SEGMENT), false, err);
    return code;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static cb_code keep_failure(blob_writer *self, cb_code code, const cb_error *err)
{
    if (code != CB_OK) {
        self->failed = *err;
        self->failed.code = code;
    }
    return code;
}

static cb_code blob_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    blob_writer *self = of_writer(writer);
    cb_code code = CB_OK;

    if (self->is_committed)
        return cb_fail(err, CB_INTERNAL, "a committed writer was written to");
    if (self->failed.code != CB_OK) {
        *err = self->failed;
        return err->code;
    }
    while (code == CB_OK && data.size > 0) {
        code = segments_append(&self->held, &data, err);
        if (code == CB_OK)
            code = send_full_parts(self, err);
    }
    return keep_failure(self, code, err);
}

static cb_code send_whole(blob_writer *self, cb_error *err)
{
    CB_CLEANUP(bytes_free) cb_bytes *pieces = NULL;
    cb_blob_body body;
    cb_code code = segments_view(&self->held, &pieces, &body, err);

    return code == CB_OK ? self->upload->ops->whole(self->upload, &body, err) : code;
}

static cb_code send_rest(blob_writer *self, cb_error *err)
{
    cb_code code = submit(self, self->held.count, true, err);

    if (code == CB_OK)
        code = cb_pool_drain(self->pool, err);
    if (code == CB_OK)
        code = self->upload->ops->finish(self->upload, self->parts, self->offset, err);
    return code;
}

static cb_code blob_commit(cb_writer *writer, cb_error *err)
{
    blob_writer *self = of_writer(writer);
    cb_code code;

    if (self->is_committed)
        return cb_fail(err, CB_INTERNAL, "a writer was committed twice");
    if (self->failed.code != CB_OK) {
        *err = self->failed;
        return err->code;
    }
    code = self->is_begun ? send_rest(self, err) : send_whole(self, err);
    self->is_committed = code == CB_OK;
    return keep_failure(self, code, err);
}

static void blob_free(cb_writer *writer)
{
    blob_writer *self = of_writer(writer);

    cb_pool_free(self->pool); /* waits for the parts under way, drops the others */
    while (self->jobs != NULL)
        job_end(self->jobs);
    if (self->is_begun && !self->is_committed)
        self->upload->ops->abandon(self->upload);
    self->upload->ops->free(self->upload);
    segments_free(&self->held);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_writer_ops blob_writer_ops = {
    .write = blob_write,
    .commit = blob_commit,
    .free = blob_free,
};

cb_code cb_blob_writer_new(cb_blob_upload *upload, cb_writer **out, cb_error *err)
{
    blob_writer *self = calloc(1, sizeof(*self));

    *out = NULL;
    if (self == NULL) {
        upload->ops->free(upload);
        return cb_fail_memory(err, sizeof(*self));
    }
    self->writer.ops = &blob_writer_ops;
    self->upload = upload;
    pthread_mutex_init(&self->lock, NULL);
    *out = &self->writer;
    return CB_OK;
}
