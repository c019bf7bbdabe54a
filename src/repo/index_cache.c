/*
 * index_cache.c - the file of the merged index: open, look up, merge.
 *
 * Entries stand in the file as they do in memory (this machine's byte order: the magic tells), in
 * blocks of 8 KiB. For each block the tables have its first prefix and its checksum, so a look-up
 * searches that small table and then reads one block. It is not mapped: a file that somebody cuts
 * under us would be a signal then, in a process that may not be ours.
 */
#include "repo/index_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"

enum {
    HEADER_BYTES = 4096,
    BLOCK_ENTRIES = 256,
    OBJECT_BYTES = CB_PACK_ID_BYTES,
    AT_WRAP = CB_PACK_ID_BYTES + 2,
    AT_NAMED_BY = AT_WRAP + CB_WRAP_BYTES,
    PACK_BYTES = AT_NAMED_BY + CB_NAMED_BY_MAX * CB_PACK_ID_BYTES,
    BLOCK_BYTES = CB_INDEX_PREFIX_BYTES + CB_FINGERPRINT_BYTES,
    RUN_BUFFER = 2048, /* entries */
};

/* A header of 32-bit numbers in this machine's order, then ids and sums as bytes. */
typedef struct header {
    uint32_t magic, version;
    uint64_t entry_count, object_count, pack_count, block_count;
    uint8_t repo_id[CB_REPO_ID_BYTES];
    cb_fingerprint tables_sum;
    cb_fingerprint own_sum; /* of all before it */
} header;

enum { MAGIC = 0x43424958, VERSION = 2 };

static bool path_in(const char *folder, char out[CB_PATH_MAX])
{
    cb_error quiet = {0};

    return cb_path_join(folder, "index", out, &quiet) == CB_OK;
}

void cb_index_base_remove(const char *folder)
{
    char path[CB_PATH_MAX];

    if (path_in(folder, path))
        unlink(path);
}

/* ---- open -------------------------------------------------------------------------------- */

static void sum_header(const header *h, const uint8_t *secret, cb_fingerprint *out)
{
    cb_fingerprint_of(secret, cb_bytes_of(h, offsetof(header, own_sum)), out);
}

static bool read_at(int fd, uint64_t offset, void *into, size_t size)
{
    cb_error quiet = {0};
    size_t got;

    return cb_file_read(fd, "index", offset, into, size, &got, &quiet) == CB_OK && got == size;
}

static bool read_header(const cb_index_base *base, const uint8_t *repo_id, header *out)
{
    cb_fingerprint sum;

    if (!read_at(base->fd, 0, out, sizeof(*out)))
        return false;
    sum_header(out, base->secret, &sum);
    return out->magic == MAGIC && out->version == VERSION &&
           memcmp(&sum, &out->own_sum, sizeof(sum)) == 0 &&
           memcmp(out->repo_id, repo_id, CB_REPO_ID_BYTES) == 0;
}

/* The header's sum was right, so its counts are what we wrote; the file may still be cut. */
static bool read_tables(cb_index_base *base, const header *h)
{
    uint64_t at = HEADER_BYTES + h->entry_count * sizeof(cb_index_entry);
    uint64_t size =
        h->object_count * OBJECT_BYTES + h->pack_count * PACK_BYTES + h->block_count * BLOCK_BYTES;
    struct stat file;
    cb_fingerprint sum;

    if (fstat(base->fd, &file) != 0 || at + size != (uint64_t)file.st_size ||
        h->block_count != (h->entry_count + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES)
        return false;
    base->tables = malloc((size_t)size + 1);
    base->numbers = calloc((size_t)h->pack_count + 1, sizeof(*base->numbers));
    if (base->tables == NULL || base->numbers == NULL ||
        !read_at(base->fd, at, base->tables, (size_t)size))
        return false;
    cb_fingerprint_of(base->secret, cb_bytes_of(base->tables, (size_t)size), &sum);
    if (memcmp(&sum, &h->tables_sum, sizeof(sum)) != 0)
        return false;
    base->count = (size_t)h->entry_count;
    base->object_count = (size_t)h->object_count;
    base->pack_count = (size_t)h->pack_count;
    base->block_count = (size_t)h->block_count;
    base->objects = base->tables;
    base->packs = base->objects + base->object_count * OBJECT_BYTES;
    base->blocks = base->packs + base->pack_count * PACK_BYTES;
    return true;
}

static cb_index_base *open_file(const char *path, const uint8_t *repo_id, const uint8_t *secret)
{
    cb_index_base *base = calloc(1, sizeof(*base));
    cb_error quiet = {0};
    header h;

    if (base == NULL)
        return NULL;
    base->fd = -1;
    base->secret = secret;
    if (cb_file_open(path, O_RDONLY, 0, &base->fd, &quiet) == CB_OK &&
        read_header(base, repo_id, &h) && read_tables(base, &h))
        return base;
    cb_index_base_free(base);
    return NULL;
}

cb_index_base *cb_index_base_open(const char *folder, const uint8_t *repo_id, const uint8_t *secret)
{
    char path[CB_PATH_MAX];

    return path_in(folder, path) ? open_file(path, repo_id, secret) : NULL;
}

void cb_index_base_free(cb_index_base *base)
{
    if (base == NULL)
        return;
    if (base->fd >= 0)
        close(base->fd);
    free(base->tables);
    free(base->numbers);
    free(base);
}

bool cb_index_base_has_object(const cb_index_base *base, const uint8_t id[CB_PACK_ID_BYTES])
{
    for (size_t i = 0; i < base->object_count; i++)
        if (memcmp(base->objects + i * OBJECT_BYTES, id, OBJECT_BYTES) == 0)
            return true;
    return false;
}

static int compare_object(const void *id, const void *object)
{
    return memcmp(id, ((const cb_index_object *)object)->id, CB_PACK_ID_BYTES);
}

static bool is_listed(const cb_index *index, const uint8_t *id)
{
    return index->object_count > 0 && bsearch(id, index->objects, index->object_count,
                                              sizeof(*index->objects), compare_object) != NULL;
}

cb_code cb_index_base_take_packs(cb_index_base *base, cb_index *index, size_t *indexed,
                                 cb_error *err)
{
    *indexed = 0;
    for (size_t i = 0; i < base->pack_count; i++) {
        const uint8_t *at = base->packs + i * PACK_BYTES;
        bool is_named = false;
        cb_pack_info *pack;
        cb_code code = cb_index_pack(index, at, &base->numbers[i], err);

        if (code != CB_OK)
            return code;
        pack = &index->packs[base->numbers[i]];
        for (size_t k = CB_NAMED_BY_MAX; k > 0; k--) { /* the newest last */
            const uint8_t *object = at + AT_NAMED_BY + (k - 1) * CB_PACK_ID_BYTES;

            if (!is_listed(index, object))
                continue;
            cb_index_name_pack(pack, object);
            is_named = true;
        }
        if (!is_named)
            continue;
        (*indexed)++;
        pack->kind = at[CB_PACK_ID_BYTES] == CB_PACK_META ? CB_PACK_META : CB_PACK_DATA;
        pack->has_wrap = at[CB_PACK_ID_BYTES + 1] != 0;
        if (pack->has_wrap)
            memcpy(pack->wrap, at + AT_WRAP, CB_WRAP_BYTES);
    }
    return CB_OK;
}

/* ---- find -------------------------------------------------------------------------------- */

static const uint8_t *first_of(const cb_index_base *base, size_t block)
{
    return base->blocks + block * BLOCK_BYTES;
}

static size_t entries_in(const cb_index_base *base, size_t block)
{
    size_t before = block * BLOCK_ENTRIES;

    return base->count - before < BLOCK_ENTRIES ? base->count - before : BLOCK_ENTRIES;
}

static bool read_block(cb_index_base *base, size_t block, cb_index_entry into[BLOCK_ENTRIES])
{
    size_t size = entries_in(base, block) * sizeof(*into);
    cb_fingerprint sum;

    if (read_at(base->fd, HEADER_BYTES + (uint64_t)block * BLOCK_ENTRIES * sizeof(*into), into,
                size)) {
        cb_fingerprint_of(base->secret, cb_bytes_of(into, size), &sum);
        if (memcmp(&sum, first_of(base, block) + CB_INDEX_PREFIX_BYTES, sizeof(sum)) == 0)
            return true;
    }
    atomic_store(&base->is_bad, true);
    return false;
}

/* The last block whose first prefix is below the wanted one: equal ones may begin in it. */
static size_t block_before(const cb_index_base *base, const uint8_t *prefix)
{
    size_t low = 0;
    size_t high = base->block_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(first_of(base, middle), prefix, CB_INDEX_PREFIX_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : 0;
}

static size_t lower_bound(const cb_index_entry *entries, size_t count, const uint8_t *prefix)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(entries[middle].prefix, prefix, CB_INDEX_PREFIX_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void cb_index_base_find(cb_index_base *base, const cb_index *index, const cb_hash *id,
                        cb_index_entry *out, size_t *count, size_t limit)
{
    cb_index_entry entries[BLOCK_ENTRIES];
    size_t block;
    size_t at;

    if (base == NULL || base->count == 0)
        return;
    block = block_before(base, id->bytes);
    if (!read_block(base, block, entries))
        return;
    at = lower_bound(entries, entries_in(base, block), id->bytes);
    for (; *count < limit; at++) {
        if (at == entries_in(base, block)) {
            at = 0;
            if (++block == base->block_count || !read_block(base, block, entries))
                return;
        }
        if (memcmp(entries[at].prefix, id->bytes, CB_INDEX_PREFIX_BYTES) != 0 ||
            entries[at].pack >= base->pack_count)
            return;
        entries[at].pack = base->numbers[entries[at].pack];
        if (index->packs[entries[at].pack].exists)
            out[(*count)++] = entries[at];
    }
}

/* ---- runs -------------------------------------------------------------------------------- */

static cb_code open_beside(const char *folder, const char *what, char path[CB_PATH_MAX], int *fd,
                           cb_error *err)
{
    cb_code code = cb_path_join(folder, what, path, err);

    if (code != CB_OK)
        return code;
    *fd = mkstemp(path);
    if (*fd < 0)
        return cb_fail_errno(err, errno, "cannot make '%s'", path);
    return CB_OK;
}

cb_code cb_index_spill_add(cb_index_spill *spill, const char *folder, cb_index *index,
                           cb_error *err)
{
    cb_code code = CB_OK;

    if (spill->path[0] == '\0') {
        code = open_beside(folder, "runs-XXXXXX", spill->path, &spill->fd, err);
        if (code != CB_OK) {
            spill->path[0] = '\0';
            return code;
        }
    }
    if (spill->count == spill->capacity)
        code = cb_array_grow(&spill->runs, &spill->capacity, sizeof(*spill->runs), err);
    if (code == CB_OK)
        code = cb_file_write(spill->fd, spill->path, spill->end * sizeof(*index->entries),
                             index->entries, index->count * sizeof(*index->entries), err);
    if (code != CB_OK)
        return code;
    spill->runs[spill->count++] = (cb_index_run){spill->end, index->count};
    spill->end += index->count;
    index->count = 0;
    return CB_OK;
}

void cb_index_spill_free(cb_index_spill *spill)
{
    if (spill->path[0] != '\0') {
        close(spill->fd);
        unlink(spill->path);
    }
    free(spill->runs);
    memset(spill, 0, sizeof(*spill));
}

/* ---- merge ------------------------------------------------------------------------------- */

/* One of the sorted sequences that are merged: in memory, the old base, or in the file of runs. */
typedef struct input {
    const cb_index_entry *memory; /* NULL: in a file */
    cb_index_base *old;           /* NULL: in the file of runs; `offset` counts its blocks */
    cb_index_entry *buffer;
    size_t buffered, at; /* entries in the buffer, and which is next */
    uint64_t offset;     /* of the next to read */
    size_t left;         /* not yet in the buffer */
    cb_index_entry head;
    bool is_over;
} input;

static cb_code refill(input *in, const cb_index_spill *spill, cb_error *err)
{
    size_t some = in->left < RUN_BUFFER ? in->left : RUN_BUFFER;
    size_t got;

    in->at = 0;
    if (in->old != NULL) {
        in->buffered = entries_in(in->old, (size_t)in->offset);
        if (!read_block(in->old, (size_t)in->offset++, in->buffer))
            return cb_fail(err, CB_CORRUPT, "the index kept on this machine is damaged");
        in->left -= in->buffered;
        return CB_OK;
    }
    if (cb_file_read(spill->fd, spill->path, in->offset * sizeof(in->head), in->buffer,
                     some * sizeof(in->head), &got, err) != CB_OK)
        return err->code;
    if (got != some * sizeof(in->head))
        return cb_fail(err, CB_IO, "'%s' was cut", spill->path);
    in->offset += some;
    in->left -= some;
    in->buffered = some;
    return CB_OK;
}

static cb_code advance(input *in, const cb_index_spill *spill, cb_error *err)
{
    cb_code code = CB_OK;

    in->is_over = in->left == 0 && (in->memory != NULL || in->at == in->buffered);
    if (in->is_over)
        return CB_OK;
    if (in->memory != NULL) {
        in->head = *in->memory++;
        in->left--;
        return CB_OK;
    }
    if (in->at == in->buffered)
        code = refill(in, spill, err);
    if (code != CB_OK)
        return code;
    in->head = in->buffer[in->at++];
    if (in->old == NULL)
        return CB_OK;
    if (in->head.pack >= in->old->pack_count)
        return cb_fail(err, CB_CORRUPT, "the index kept on this machine is damaged");
    in->head.pack = in->old->numbers[in->head.pack];
    return CB_OK;
}

/* The old base is in the order of its own pack numbers: where an id repeats ours may differ, which
   nobody minds. */
static bool is_before(const input *a, const input *b)
{
    int order = memcmp(a->head.prefix, b->head.prefix, CB_INDEX_PREFIX_BYTES);

    return order != 0 ? order < 0 : a->head.pack < b->head.pack;
}

static void sink_down(input **heap, size_t count, size_t at)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        input *kept = heap[at];

        if (child + 1 < count && is_before(heap[child + 1], heap[child]))
            child++;
        if (!is_before(heap[child], heap[at]))
            return;
        heap[at] = heap[child];
        heap[child] = kept;
        at = child;
    }
}

typedef struct output {
    int fd;
    char path[CB_PATH_MAX];
    const uint8_t *secret;
    cb_index_entry block[BLOCK_ENTRIES];
    size_t in_block;
    uint64_t count;
    cb_buf blocks; /* the table */
} output;

static void output_free(output *out)
{
    if (out->fd >= 0)
        close(out->fd);
    if (out->path[0] != '\0')
        unlink(out->path);
    cb_buf_free(&out->blocks);
}

static cb_code put_block(output *out, cb_error *err)
{
    cb_bytes bytes = cb_bytes_of(out->block, out->in_block * sizeof(*out->block));
    cb_fingerprint sum;
    cb_code code;

    if (out->in_block == 0)
        return CB_OK;
    cb_fingerprint_of(out->secret, bytes, &sum);
    code = cb_file_write(out->fd, out->path,
                         HEADER_BYTES + (out->count - out->in_block) * sizeof(*out->block),
                         bytes.data, bytes.size, err);
    if (code == CB_OK)
        code = cb_buf_append(&out->blocks, out->block[0].prefix, CB_INDEX_PREFIX_BYTES, err);
    if (code == CB_OK)
        code = cb_buf_append(&out->blocks, &sum, sizeof(sum), err);
    out->in_block = 0;
    return code;
}

/* The same chunk named twice in one pack becomes one entry: `last` are those of its id so far. */
static cb_code put_entry(output *out, const cb_index_entry *entry, cb_index_entry *last,
                         size_t *last_count, cb_error *err)
{
    cb_code code = CB_OK;

    if (*last_count > 0 && memcmp(last[0].prefix, entry->prefix, CB_INDEX_PREFIX_BYTES) != 0)
        *last_count = 0;
    for (size_t i = 0; i < *last_count; i++)
        if (last[i].pack == entry->pack)
            return CB_OK;
    if (*last_count == CB_COPIES_MAX) /* more copies than anyone looks at */
        return CB_OK;
    last[(*last_count)++] = *entry;
    out->block[out->in_block++] = *entry;
    out->count++;
    if (out->in_block == BLOCK_ENTRIES)
        code = put_block(out, err);
    return code;
}

/* What is left of packs that no object names any more stays behind. */
static cb_code merge(input *inputs, size_t input_count, const cb_index *index,
                     const cb_index_spill *spill, output *out, cb_error *err)
{
    cb_index_entry last[CB_COPIES_MAX];
    size_t last_count = 0;
    input **heap = calloc(input_count + 1, sizeof(*heap));
    size_t count = 0;
    cb_code code = CB_OK;

    if (heap == NULL)
        return cb_fail_memory(err, input_count * sizeof(*heap));
    for (size_t i = 0; i < input_count && code == CB_OK; i++) {
        code = advance(&inputs[i], spill, err);
        if (!inputs[i].is_over)
            heap[count++] = &inputs[i];
    }
    for (size_t i = count / 2; i > 0; i--)
        sink_down(heap, count, i - 1);
    while (count > 0 && code == CB_OK) {
        if (index->packs[heap[0]->head.pack].indexed)
            code = put_entry(out, &heap[0]->head, last, &last_count, err);
        if (code == CB_OK)
            code = advance(heap[0], spill, err);
        if (heap[0]->is_over)
            heap[0] = heap[--count];
        sink_down(heap, count, 0);
    }
    free(heap);
    return code == CB_OK ? put_block(out, err) : code;
}

static cb_code merge_all(const cb_index *index, cb_index_base *old, const cb_index_spill *spill,
                         output *out, cb_error *err)
{
    size_t count = spill->count + 2;
    input *inputs = calloc(count, sizeof(*inputs));
    cb_index_entry *buffers = calloc(spill->count + 1, RUN_BUFFER * sizeof(*buffers));
    cb_code code = CB_OK;

    if (inputs == NULL || buffers == NULL)
        code = cb_fail_memory(err, count * RUN_BUFFER * sizeof(*buffers));
    if (code == CB_OK) {
        static const cb_index_entry none;

        inputs[0] =
            (input){.memory = index->count > 0 ? index->entries : &none, .left = index->count};
        inputs[1] = (input){.memory = old == NULL ? &none : NULL,
                            .old = old,
                            .left = old != NULL ? old->count : 0,
                            .buffer = buffers + spill->count * RUN_BUFFER};
        for (size_t i = 0; i < spill->count; i++)
            inputs[i + 2] = (input){.buffer = buffers + i * RUN_BUFFER,
                                    .offset = spill->runs[i].offset,
                                    .left = spill->runs[i].count};
        code = merge(inputs, count, index, spill, out, err);
    }
    free(inputs);
    free(buffers);
    return code;
}

/* ---- write ------------------------------------------------------------------------------- */

static cb_code render_tables(const cb_index *index, const cb_buf *blocks, header *h, cb_buf *into,
                             cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < index->object_count && code == CB_OK; i++) {
        if (index->objects[i].is_damaged)
            continue;
        code = cb_buf_append(into, index->objects[i].id, OBJECT_BYTES, err);
        h->object_count++;
    }
    for (size_t i = 0; i < index->pack_count && code == CB_OK; i++) {
        const cb_pack_info *pack = &index->packs[i];
        uint8_t raw[PACK_BYTES] = {0};

        memcpy(raw, pack->id, CB_PACK_ID_BYTES);
        raw[CB_PACK_ID_BYTES] = (uint8_t)pack->kind;
        raw[CB_PACK_ID_BYTES + 1] = pack->has_wrap;
        memcpy(raw + AT_WRAP, pack->wrap, CB_WRAP_BYTES);
        memcpy(raw + AT_NAMED_BY, pack->named_by, sizeof(pack->named_by));
        code = cb_buf_append(into, raw, sizeof(raw), err);
        h->pack_count++;
    }
    if (code == CB_OK)
        code = cb_buf_append(into, blocks->data, blocks->size, err);
    h->block_count = blocks->size / BLOCK_BYTES;
    return code;
}

static cb_code finish(output *out, const cb_index *index, const uint8_t *repo_id, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf tables = {0};
    header h = {.magic = MAGIC, .version = VERSION, .entry_count = out->count};
    cb_code code;

    memcpy(h.repo_id, repo_id, CB_REPO_ID_BYTES);
    code = render_tables(index, &out->blocks, &h, &tables, err);
    if (code != CB_OK)
        return code;
    cb_fingerprint_of(out->secret, cb_buf_bytes(&tables), &h.tables_sum);
    sum_header(&h, out->secret, &h.own_sum);
    code = cb_file_write(out->fd, out->path, HEADER_BYTES + out->count * sizeof(cb_index_entry),
                         tables.data, tables.size, err);
    if (code == CB_OK)
        code = cb_file_write(out->fd, out->path, 0, &h, sizeof(h), err);
    return code;
}

cb_code cb_index_base_write(const char *folder, const uint8_t *repo_id, const uint8_t *secret,
                            const cb_index *index, cb_index_base *old, cb_index_spill *spill,
                            cb_index_base **opened, cb_error *err)
{
    CB_CLEANUP(output_free) output out = {.fd = -1, .secret = secret};
    char path[CB_PATH_MAX];
    cb_code code = CB_OK;

    *opened = NULL;
    if (!path_in(folder, path))
        return cb_fail(err, CB_TOO_LARGE, "'%s' is too long a path", folder);
    code = open_beside(folder, "index-XXXXXX", out.path, &out.fd, err);
    if (code != CB_OK)
        out.path[0] = '\0';
    /* Room for the header, also in a file without entries. */
    if (code == CB_OK && ftruncate(out.fd, HEADER_BYTES) != 0)
        code = cb_fail_errno(err, errno, "cannot write '%s'", out.path);
    if (code == CB_OK)
        code = merge_all(index, old, spill, &out, err);
    if (code == CB_OK)
        code = finish(&out, index, repo_id, err);
    if (code != CB_OK)
        return code;
    /* Before it has a name: by then another process may have given that to a file of its own. */
    *opened = open_file(out.path, repo_id, secret);
    if (*opened == NULL)
        return cb_fail(err, CB_IO, "'%s' does not read back", out.path);
    if (rename(out.path, path) == 0)
        out.path[0] = '\0'; /* else it serves us alone */
    return CB_OK;
}
