/*
 * sorter.c - an external merge sort.
 *
 * A record is the size of its key and of its body, 4 bytes each, and both. In memory records lie
 * one behind the other, with a list of where each begins, which is what is sorted. What was added
 * in order, as a bucket lists it, is not sorted at all.
 */
#include "source/ducklake/sorter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"

enum {
    HEAD_BYTES = 8,
    MEMORY_BYTES = 16 << 20,
    MERGE_BYTES = 8 << 20, /* all windows together, as long as they keep the least */
    WINDOW_MIN = 16 << 10,
    WINDOW_MAX = 1 << 20,
    WRITE_BYTES = 256 << 10,
};

/* Records in the file, from `at` to `end`, and the piece of them that is in memory. */
typedef struct run {
    uint64_t at, end; /* of what was not read yet */
    cb_buf window;
    size_t position; /* of the next record in it */
    cb_bytes key, body;
    bool has_record;
} run;

struct cb_sorter {
    char folder[CB_PATH_MAX];
    size_t memory_bytes;
    cb_buf records;
    uint32_t *begins; /* where each begins */
    size_t count, capacity;
    bool is_disordered;
    int fd; /* -1: none yet */
    uint64_t file_bytes;
    run *runs;
    size_t run_count, run_capacity;
    /* Reading: the position in memory, or a heap of runs whose least record is first. */
    bool is_reading;
    size_t position;
    uint32_t *heap;
    size_t heap_count;
    bool must_step; /* the first run's record was handed out */
};

/* ---- records ------------------------------------------------------------------------------ */

static cb_bytes key_at(const uint8_t *record)
{
    return cb_bytes_of(record + HEAD_BYTES, cb_get_u32(record));
}

static cb_bytes body_at(const uint8_t *record)
{
    return cb_bytes_of(record + HEAD_BYTES + cb_get_u32(record), cb_get_u32(record + 4));
}

static int compare_keys(cb_bytes a, cb_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;

    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

/* Of equal keys the one that was added first lies in front. */
static int by_key(const void *a, const void *b, void *records)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    const uint8_t *base = records;
    int order = compare_keys(key_at(base + x), key_at(base + y));

    return order != 0 ? order : x < y ? -1 : x > y;
}

static void sort_memory(cb_sorter *s)
{
    if (s->is_disordered)
        qsort_r(s->begins, s->count, sizeof(*s->begins), by_key, s->records.data);
    s->is_disordered = false;
}

/* ---- the file ----------------------------------------------------------------------------- */

static cb_code open_file(cb_sorter *s, cb_error *err)
{
    char path[CB_PATH_MAX];
    cb_code code = CB_OK;

    if (s->fd >= 0)
        return CB_OK;
    code = cb_path_join(s->folder, "canvasback-sort-XXXXXX", path, err);
    if (code != CB_OK)
        return code;
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return cb_fail_errno(err, errno, "cannot make a scratch file in '%s'", s->folder);
    if (unlink(path) != 0)
        return cb_fail_errno(err, errno, "cannot remove '%s'", path);
    return CB_OK;
}

static cb_code flush(cb_sorter *s, cb_buf *part, cb_error *err)
{
    cb_code code =
        cb_file_write(s->fd, "a scratch file", s->file_bytes, part->data, part->size, err);

    if (code == CB_NO_SPACE)
        cb_hint(err, "Set TMPDIR to a folder with more room.");
    s->file_bytes += part->size;
    part->size = 0;
    return code;
}

/* What is in memory becomes a run of the file. */
static cb_code spill(cb_sorter *s, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf part = {0};
    cb_code code = open_file(s, err);
    uint64_t begin = s->file_bytes;

    if (code == CB_OK && s->run_count == s->run_capacity)
        code = cb_array_grow(&s->runs, &s->run_capacity, sizeof(*s->runs), err);
    sort_memory(s);
    for (size_t i = 0; code == CB_OK && i < s->count; i++) {
        const uint8_t *record = s->records.data + s->begins[i];

        code = cb_buf_append(&part, record,
                             HEAD_BYTES + (size_t)cb_get_u32(record) + cb_get_u32(record + 4), err);
        if (code == CB_OK && part.size >= WRITE_BYTES)
            code = flush(s, &part, err);
    }
    if (code == CB_OK)
        code = flush(s, &part, err);
    if (code != CB_OK)
        return code;
    s->runs[s->run_count++] = (run){.at = begin, .end = s->file_bytes};
    s->count = 0;
    s->records.size = 0;
    return CB_OK;
}

/* ---- adding ------------------------------------------------------------------------------- */

cb_code cb_sorter_add(cb_sorter *s, cb_bytes key, cb_bytes body, cb_error *err)
{
    uint32_t begin = (uint32_t)s->records.size;
    uint8_t head[HEAD_BYTES];
    cb_code code = CB_OK;

    if (key.size > MEMORY_BYTES || body.size > MEMORY_BYTES)
        return cb_fail(err, CB_TOO_LARGE, "a path of %zu bytes is too long", key.size);
    cb_put_u32(head, (uint32_t)key.size);
    cb_put_u32(head + 4, (uint32_t)body.size);
    if (s->count == s->capacity)
        code = cb_array_grow(&s->begins, &s->capacity, sizeof(*s->begins), err);
    if (code == CB_OK)
        code = cb_buf_reserve(&s->records, HEAD_BYTES + key.size + body.size, err);
    if (code == CB_OK)
        code = cb_buf_append(&s->records, head, sizeof(head), err);
    if (code == CB_OK)
        code = cb_buf_append(&s->records, key.data, key.size, err);
    if (code == CB_OK)
        code = cb_buf_append(&s->records, body.data, body.size, err);
    if (code != CB_OK)
        return code;
    if (s->count > 0 && !s->is_disordered)
        s->is_disordered = compare_keys(key_at(s->records.data + s->begins[s->count - 1]), key) > 0;
    s->begins[s->count++] = begin;
    return s->records.size >= s->memory_bytes ? spill(s, err) : CB_OK;
}

bool cb_sorter_is_empty(const cb_sorter *s)
{
    return s->count == 0 && s->run_count == 0;
}

/* ---- merging ------------------------------------------------------------------------------ */

static cb_code damaged(cb_error *err)
{
    return cb_fail(err, CB_IO, "a scratch file is not what was written to it");
}

/* Bring at least `need` bytes of what follows into the window. */
static cb_code fill(cb_sorter *s, run *r, size_t need, cb_error *err)
{
    size_t window = MERGE_BYTES / s->run_count;
    size_t have = r->window.size - r->position;
    size_t got;
    cb_code code;

    if (window < WINDOW_MIN)
        window = WINDOW_MIN;
    if (window > WINDOW_MAX)
        window = WINDOW_MAX;
    if (window < need)
        window = need;
    if (have > 0)
        memmove(r->window.data, r->window.data + r->position, have);
    r->window.size = have;
    r->position = 0;
    window -= have;
    if (window > r->end - r->at)
        window = (size_t)(r->end - r->at);
    code = cb_buf_reserve(&r->window, window, err);
    if (code == CB_OK)
        code =
            cb_file_read(s->fd, "a scratch file", r->at, r->window.data + have, window, &got, err);
    if (code != CB_OK)
        return code;
    r->window.size += got;
    r->at += got;
    return got == window && r->window.size >= need ? CB_OK : damaged(err);
}

static cb_code step(cb_sorter *s, run *r, cb_error *err)
{
    const uint8_t *record;
    size_t size;
    cb_code code = CB_OK;

    r->has_record = r->position < r->window.size || r->at < r->end;
    if (!r->has_record)
        return CB_OK;
    if (r->window.size - r->position < HEAD_BYTES)
        code = fill(s, r, HEAD_BYTES, err);
    if (code != CB_OK)
        return code;
    record = r->window.data + r->position;
    size = HEAD_BYTES + (size_t)cb_get_u32(record) + cb_get_u32(record + 4);
    if (r->window.size - r->position < size)
        code = fill(s, r, size, err);
    if (code != CB_OK)
        return code;
    record = r->window.data + r->position;
    r->key = key_at(record);
    r->body = body_at(record);
    r->position += size;
    return CB_OK;
}

/* Of equal keys the earlier run's comes first. */
static bool is_before(const cb_sorter *s, uint32_t a, uint32_t b)
{
    int order = compare_keys(s->runs[a].key, s->runs[b].key);

    return order != 0 ? order < 0 : a < b;
}

static void sift_down(cb_sorter *s, size_t at)
{
    for (;;) {
        size_t least = at;
        uint32_t moved;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->heap_count; child++)
            if (is_before(s, s->heap[child], s->heap[least]))
                least = child;
        if (least == at)
            return;
        moved = s->heap[at];
        s->heap[at] = s->heap[least];
        s->heap[least] = moved;
        at = least;
    }
}

static cb_code begin_reading(cb_sorter *s, cb_error *err)
{
    cb_code code = s->run_count > 0 && s->count > 0 ? spill(s, err) : CB_OK;

    if (code != CB_OK)
        return code;
    s->is_reading = true;
    s->position = 0;
    s->must_step = false;
    sort_memory(s);
    if (s->run_count == 0)
        return CB_OK;
    cb_buf_free(&s->records);
    s->heap = calloc(s->run_count, sizeof(*s->heap));
    if (s->heap == NULL)
        return cb_fail_memory(err, s->run_count * sizeof(*s->heap));
    for (size_t i = 0; code == CB_OK && i < s->run_count; i++) {
        code = step(s, &s->runs[i], err);
        s->heap[s->heap_count++] = (uint32_t)i;
    }
    for (size_t i = s->heap_count; code == CB_OK && i-- > 0;)
        sift_down(s, i);
    return code;
}

static cb_code next_of_runs(cb_sorter *s, cb_bytes *key, cb_bytes *body, bool *more, cb_error *err)
{
    cb_code code = CB_OK;

    if (s->must_step) {
        run *first = &s->runs[s->heap[0]];

        code = step(s, first, err);
        if (code == CB_OK && !first->has_record) {
            cb_buf_free(&first->window);
            s->heap[0] = s->heap[--s->heap_count];
        }
        if (code == CB_OK)
            sift_down(s, 0);
    }
    *more = code == CB_OK && s->heap_count > 0;
    s->must_step = *more;
    if (*more) {
        *key = s->runs[s->heap[0]].key;
        *body = s->runs[s->heap[0]].body;
    }
    return code;
}

cb_code cb_sorter_next(cb_sorter *s, cb_bytes *key, cb_bytes *body, bool *more, cb_error *err)
{
    cb_code code = s->is_reading ? CB_OK : begin_reading(s, err);

    *more = false;
    if (code != CB_OK)
        return code;
    if (s->run_count > 0) {
        code = next_of_runs(s, key, body, more, err);
    } else if (s->position < s->count) {
        const uint8_t *record = s->records.data + s->begins[s->position++];

        *key = key_at(record);
        *body = body_at(record);
        *more = true;
    }
    if (code == CB_OK && !*more)
        cb_sorter_clear(s);
    return code;
}

/* ---- making one --------------------------------------------------------------------------- */

void cb_sorter_clear(cb_sorter *s)
{
    for (size_t i = 0; i < s->run_count; i++)
        cb_buf_free(&s->runs[i].window);
    cb_buf_free(&s->records);
    free(s->begins);
    free(s->heap);
    s->begins = s->heap = NULL;
    s->count = s->capacity = s->heap_count = s->run_count = 0;
    s->file_bytes = 0;
    cb_fd_close(&s->fd); /* and with it its bytes */
    s->is_reading = s->is_disordered = s->must_step = false;
}

cb_code cb_sorter_new(const char *folder, size_t memory_bytes, cb_sorter **out, cb_error *err)
{
    cb_sorter *s = calloc(1, sizeof(*s));
    size_t size = strlen(folder);

    *out = NULL;
    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->fd = -1;
    s->memory_bytes = memory_bytes > 0 && memory_bytes < MEMORY_BYTES ? memory_bytes : MEMORY_BYTES;
    if (size >= sizeof(s->folder)) {
        free(s);
        return cb_fail(err, CB_TOO_LARGE, "the path '%.100s...' is too long", folder);
    }
    memcpy(s->folder, folder, size + 1);
    *out = s;
    return CB_OK;
}

void cb_sorter_free(cb_sorter *s)
{
    if (s == NULL)
        return;
    cb_sorter_clear(s);
    free(s->runs);
    free(s);
}
