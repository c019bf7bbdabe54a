/*
 * The free list of a header, read while checkpoints go by: any bytes in any block. The first 24
 * bytes of the input choose pointer, counts and block size; blocks are cut out of the rest.
 */
#include "fuzz.h"

#include "source/duckdb/freelist.h"

enum { FILE_BLOCKS = 97, READS_MAX = 20000 };

typedef struct blocks {
    cb_bytes from;
    uint32_t block_bytes;
    unsigned reads;
    uint8_t block[CB_DUCKDB_BLOCK_MAX];
} blocks;

static cb_code read_block(void *arg, uint64_t block, cb_bytes *out, cb_error *err)
{
    blocks *b = arg;

    FUZZ_CHECK(block < FILE_BLOCKS);
    FUZZ_CHECK(++b->reads < READS_MAX);
    if (b->from.size == 0)
        return cb_fail(err, CB_RETRY, "no such block");
    for (uint32_t done = 0; done < b->block_bytes;) {
        size_t from = (block * 31 + done) % b->from.size;
        size_t part = b->from.size - from;

        if (part > b->block_bytes - done)
            part = b->block_bytes - done;
        memcpy(b->block + done, b->from.data + from, part);
        done += (uint32_t)part;
    }
    *out = cb_bytes_of(b->block, b->block_bytes);
    return CB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blocks b;
    cb_duckdb_header header = {.block_bytes = CB_DUCKDB_BLOCK_MIN};
    cb_duckdb_blocks out;
    cb_error err = {0};

    if (size < 24)
        return 0;
    header.free_list = cb_get_u64(data);
    header.block_count = cb_get_u64(data + 8);
    if (data[16] % 4 != 0) /* mostly something that leads on */
        header.free_list &= UINT64_C(0x3f0000000000003f);
    if (data[17] % 8 != 0)
        header.block_count %= 2 * FILE_BLOCKS;
    header.block_bytes <<= data[18] % 2;
    b = (blocks){.from = cb_bytes_of(data + 24, size - 24), .block_bytes = header.block_bytes};
    if (cb_duckdb_blocks_read(&header, FILE_BLOCKS, read_block, &b, &out, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_CORRUPT || err.code == CB_RETRY);
        FUZZ_CHECK(out.used.words == NULL && out.metadata.words == NULL);
        return 0;
    }
    FUZZ_CHECK(out.used_count + out.free_count == header.block_count);
    FUZZ_CHECK(cb_bits_next(&out.used, FILE_BLOCKS) >= header.block_count);
    for (uint64_t i = cb_bits_next(&out.metadata, 0); i < header.block_count;
         i = cb_bits_next(&out.metadata, i + 1))
        FUZZ_CHECK(cb_bits_has(&out.used, i));
    cb_duckdb_blocks_free(&out);
    return 0;
}
