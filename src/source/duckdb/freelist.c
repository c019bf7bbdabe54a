/*
 * freelist.c - see freelist.h.
 *
 * A metadata block is 64 sub-blocks of floor8((block - 8) / 64) bytes behind the block's checksum.
 * A pointer is a block id (low 56 bits) and a sub-block (high 8); a sub-block begins with the
 * pointer to the next. Work is bounded by the three counts, and these by the number of blocks, so
 * a chain that runs in a circle only yields wrong numbers.
 */
#include "source/duckdb/freelist.h"

enum {
    CHECKSUM_BYTES = 8,
    POINTER_BYTES = 8,
    FREE_ENTRY_BYTES = 8,
    SHARED_ENTRY_BYTES = 12,   /* block, how often it is used */
    METADATA_ENTRY_BYTES = 16, /* block, which of its sub-blocks are free */
    ENTRY_BYTES_MAX = 16,
};

typedef struct stream {
    const cb_duckdb_header *header;
    uint64_t file_blocks;
    cb_duckdb_block_read *read;
    void *arg;
    uint32_t sub_block_bytes;
    uint64_t next; /* pointer to the sub-block that follows */
    cb_bytes rest; /* of the current one */
} stream;

static cb_code next_sub_block(stream *s, cb_error *err)
{
    uint64_t block = s->next & (((uint64_t)1 << 56) - 1);
    uint64_t index = s->next >> 56;
    const uint8_t *at;
    cb_bytes data;
    cb_code code;

    if (s->next == CB_DUCKDB_NONE)
        return cb_fail(err, CB_CORRUPT, "the free list ends too early");
    if (index >= CB_DUCKDB_SUB_BLOCKS || block >= s->file_blocks)
        return cb_fail(err, CB_CORRUPT, "the free list goes on in block %llu, which does not exist",
                       (unsigned long long)block);
    code = s->read(s->arg, block, &data, err);
    if (code != CB_OK)
        return code;
    at = data.data + CHECKSUM_BYTES + index * s->sub_block_bytes;
    s->next = cb_get_u64(at);
    s->rest = cb_bytes_of(at + POINTER_BYTES, s->sub_block_bytes - POINTER_BYTES);
    return CB_OK;
}

/* Values may straddle sub-blocks. */
static cb_code take(stream *s, uint8_t *into, size_t size, cb_error *err)
{
    while (size > 0) {
        size_t part = size < s->rest.size ? size : s->rest.size;

        if (part == 0) {
            cb_code code = next_sub_block(s, err);

            if (code != CB_OK)
                return code;
            continue;
        }
        memcpy(into, s->rest.data, part);
        s->rest = cb_bytes_of(s->rest.data + part, s->rest.size - part);
        into += part;
        size -= part;
    }
    return CB_OK;
}

static cb_code take_count(stream *s, const char *what, uint64_t *out, cb_error *err)
{
    uint8_t raw[8];
    cb_code code = take(s, raw, sizeof(raw), err);

    if (code != CB_OK)
        return code;
    *out = cb_get_u64(raw);
    if (*out > s->header->block_count)
        return cb_fail(err, CB_CORRUPT, "the free list counts %llu %s, the header %llu blocks",
                       (unsigned long long)*out, what, (unsigned long long)s->header->block_count);
    return CB_OK;
}

/* An entry of `size` bytes, which begins with the number of a block. */
static cb_code take_block(stream *s, size_t size, uint64_t *id, cb_error *err)
{
    uint8_t raw[ENTRY_BYTES_MAX];
    cb_code code = take(s, raw, size, err);

    if (code != CB_OK)
        return code;
    *id = cb_get_u64(raw);
    if (*id >= s->header->block_count)
        return cb_fail(err, CB_CORRUPT, "the free list names block %llu of %llu",
                       (unsigned long long)*id, (unsigned long long)s->header->block_count);
    return CB_OK;
}

typedef cb_code entry_visit(cb_duckdb_blocks *out, uint64_t id, cb_error *err);

static cb_code take_list(stream *s, const char *what, size_t entry_bytes, entry_visit *visit,
                         cb_duckdb_blocks *out, cb_error *err)
{
    uint64_t count = 0;
    uint64_t id;
    cb_code code = take_count(s, what, &count, err);

    for (uint64_t i = 0; code == CB_OK && i < count; i++) {
        code = take_block(s, entry_bytes, &id, err);
        if (code == CB_OK)
            code = visit(out, id, err);
    }
    return code;
}

static cb_code visit_free(cb_duckdb_blocks *out, uint64_t id, cb_error *err)
{
    (void)err;
    cb_bits_remove(&out->used, id);
    if (id >= out->tail)
        out->tail = id + 1;
    return CB_OK;
}

/* Shared blocks are used ones; their counts are nobody's concern here. */
static cb_code visit_shared(cb_duckdb_blocks *out, uint64_t id, cb_error *err)
{
    (void)out;
    (void)id;
    (void)err;
    return CB_OK;
}

static cb_code visit_metadata(cb_duckdb_blocks *out, uint64_t id, cb_error *err)
{
    if (!cb_bits_has(&out->used, id))
        return cb_fail(err, CB_CORRUPT, "metadata block %llu is listed as free",
                       (unsigned long long)id);
    cb_bits_add(&out->metadata, id);
    return CB_OK;
}

/* Every used block must be in the file; only free ones may lie past its end. */
static cb_code check_end(const cb_duckdb_header *header, uint64_t file_blocks,
                         const cb_duckdb_blocks *blocks, cb_error *err)
{
    uint64_t missing = cb_bits_next(&blocks->used, file_blocks);

    if (missing >= header->block_count)
        return CB_OK;
    return cb_fail(err, CB_CORRUPT, "block %llu is in use, and the file ends after %llu blocks",
                   (unsigned long long)missing, (unsigned long long)file_blocks);
}

static cb_code read_all(const cb_duckdb_header *header, uint64_t file_blocks,
                        cb_duckdb_block_read *read, void *arg, cb_duckdb_blocks *out, cb_error *err)
{
    stream s = {.header = header, .file_blocks = file_blocks, .read = read, .arg = arg};
    cb_code code;

    if (header->block_count > file_blocks + CB_DUCKDB_BLOCKS_PAST_END_MAX)
        return cb_fail(err, CB_CORRUPT, "the header counts %llu blocks, the file has %llu",
                       (unsigned long long)header->block_count, (unsigned long long)file_blocks);
    code = cb_bits_reserve(&out->used, header->block_count, err);
    if (code == CB_OK)
        code = cb_bits_reserve(&out->metadata, header->block_count, err);
    if (code != CB_OK)
        return code;
    cb_bits_fill(&out->used, header->block_count);

    s.sub_block_bytes = (header->block_bytes - CHECKSUM_BYTES) / CB_DUCKDB_SUB_BLOCKS / 8 * 8;
    s.next = header->free_list;
    if (header->free_list != CB_DUCKDB_NONE) {
        code = take_list(&s, "free blocks", FREE_ENTRY_BYTES, visit_free, out, err);
        if (code == CB_OK)
            code = take_list(&s, "shared blocks", SHARED_ENTRY_BYTES, visit_shared, out, err);
        if (code == CB_OK)
            code = take_list(&s, "metadata blocks", METADATA_ENTRY_BYTES, visit_metadata, out, err);
    }
    if (code == CB_OK)
        code = check_end(header, file_blocks, out, err);
    out->used_count = cb_bits_count(&out->used);
    out->free_count = header->block_count - out->used_count;
    return code;
}

cb_code cb_duckdb_blocks_read(const cb_duckdb_header *header, uint64_t file_blocks,
                              cb_duckdb_block_read *read, void *arg, cb_duckdb_blocks *out,
                              cb_error *err)
{
    cb_code code;

    *out = (cb_duckdb_blocks){0};
    code = read_all(header, file_blocks, read, arg, out, err);
    if (code != CB_OK)
        cb_duckdb_blocks_free(out);
    return code;
}

void cb_duckdb_blocks_free(cb_duckdb_blocks *blocks)
{
    cb_bits_free(&blocks->used);
    cb_bits_free(&blocks->metadata);
    *blocks = (cb_duckdb_blocks){0};
}
