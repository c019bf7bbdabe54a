/*
 * Checksum, header pages and free lists of DuckDB files.
 */
#include "unit.h"

#include "duckdb_kit.h"

#include "source/duckdb/freelist.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- checksum ----------------------------------------------------------------------------- */

/* As it is written down: one word after another, then the tail. */
static uint64_t plain_checksum(const uint8_t *data, size_t size)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t sum = 5381;
    size_t tail = size % 8;
    uint64_t h;

    for (size_t i = 0; i + 8 <= size; i += 8)
        sum ^= cb_get_u64(data + i) * UINT64_C(0xbf58476d1ce4e5b9);
    if (tail == 0)
        return sum;
    h = UINT64_C(0xe17a1465) ^ (tail * m);
    for (size_t i = 0; i < tail; i++)
        h ^= (uint64_t)data[size - tail + i] << (8 * i);
    h *= m;
    h ^= h >> 47;
    h *= m;
    h ^= h >> 47;
    return sum ^ h;
}

static void test_checksum_of_every_length(void **state)
{
    uint8_t data[600];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 131 + i / 7);
    for (size_t size = 0; size <= sizeof(data); size++)
        assert_true(cb_duckdb_checksum(cb_bytes_of(data, size)) == plain_checksum(data, size));
}

/* A commit marker as DuckDB 1.1 to 2.0 write it: the frame's bytes are the same in all logs. */
static void test_checksum_is_that_of_duckdb(void **state)
{
    static const uint8_t flush[] = {100, 0, 100, 0xff, 0xff};

    (void)state;
    assert_true(cb_duckdb_checksum(cb_bytes_of(flush, sizeof(flush))) ==
                UINT64_C(0x5e3ded2f727dfee7));
}

static void test_block_is_ok_only_with_its_checksum(void **state)
{
    uint8_t block[4096];

    (void)state;
    memset(block, 7, sizeof(block));
    kit_seal(block, sizeof(block));
    assert_true(cb_duckdb_block_ok(cb_bytes_of(block, sizeof(block))));
    block[4000] ^= 1;
    assert_false(cb_duckdb_block_ok(cb_bytes_of(block, sizeof(block))));
    assert_false(cb_duckdb_block_ok(cb_bytes_of(block, 8)));
}

/* ---- header ------------------------------------------------------------------------------- */

static void test_current_header_is_the_higher_one(void **state)
{
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_error err = {0};
    cb_duckdb_head head;

    (void)state;
    for (uint64_t iteration = 0; iteration < 6; iteration++) {
        kit_file file = {
            .block_bytes = 16384, .iteration = iteration, .block_count = 40 + iteration};

        kit_pages(&file, pages);
        assert_ok(cb_duckdb_head_parse(cb_bytes_of(pages, sizeof(pages)), &head, &err));
        assert_true(cb_duckdb_head_ok(&head));
        assert_int_equal(head.header.iteration, iteration);
        assert_int_equal(head.slot, iteration % 2 != 0 ? 0 : 1);
        assert_int_equal(head.header.block_count, 40 + iteration);
        assert_int_equal(head.header.block_bytes, 16384);
        assert_string_equal(head.main.library, "v1.5.6");
        assert_false(head.main.has_identifier);
    }
}

static void test_composed_pages_verify_and_choose_the_same(void **state)
{
    uint8_t pages[CB_DUCKDB_HEAD], composed[CB_DUCKDB_HEAD];
    cb_error err = {0};
    cb_duckdb_head head, again;

    (void)state;
    for (uint64_t iteration = 0; iteration < 6; iteration++) {
        kit_file file = {.block_bytes = 32768, .iteration = iteration, .block_count = 3};

        kit_pages(&file, pages);
        assert_ok(cb_duckdb_head_parse(cb_bytes_of(pages, sizeof(pages)), &head, &err));
        cb_duckdb_head_compose(&head, pages, composed);
        assert_ok(cb_duckdb_head_parse(cb_bytes_of(composed, sizeof(composed)), &again, &err));
        assert_true(cb_duckdb_head_ok(&again));
        assert_int_equal(again.slot, head.slot);
        assert_int_equal(again.header.iteration, iteration);
        /* The other slot is one lower; never 2^64-1, which DuckDB would take for the newest. */
        assert_int_equal(cb_get_u64(composed + (size_t)CB_DUCKDB_PAGE * (2 - head.slot) + 8),
                         iteration == 0 ? 0 : iteration - 1);
    }
}

static void test_torn_pages_are_seen(void **state)
{
    kit_file file = {.block_bytes = 16384, .iteration = 5, .block_count = 3};
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_error err = {0};
    cb_duckdb_head head;

    (void)state;
    for (size_t at = 20; at < sizeof(pages); at += 1000) {
        kit_pages(&file, pages);
        pages[at] ^= 0x10;
        assert_ok(cb_duckdb_head_parse(cb_bytes_of(pages, sizeof(pages)), &head, &err));
        assert_false(cb_duckdb_head_ok(&head));
    }
}

static void expect_refused(const uint8_t *pages, cb_code code)
{
    cb_error err = {0};
    cb_duckdb_head head;

    assert_code(code, cb_duckdb_head_parse(cb_bytes_of(pages, CB_DUCKDB_HEAD), &head, &err));
    assert_true(err.message[0] != '\0');
}

static void test_foreign_and_newer_files_are_refused(void **state)
{
    kit_file file = {.block_bytes = 16384, .iteration = 5, .block_count = 3};
    uint8_t pages[CB_DUCKDB_HEAD];

    (void)state;
    kit_pages(&file, pages);
    pages[8] = 'd';
    expect_refused(pages, CB_UNSUPPORTED);
    kit_pages(&file, pages);
    cb_put_u64(pages + 12, 70); /* newer */
    kit_seal(pages, CB_DUCKDB_PAGE);
    expect_refused(pages, CB_UNSUPPORTED);
    cb_put_u64(pages + 12, 999); /* "see the header", which names a version to come */
    kit_seal(pages, CB_DUCKDB_PAGE);
    cb_put_u64(pages + CB_DUCKDB_PAGE + 56, 70);
    kit_seal(pages + CB_DUCKDB_PAGE, CB_DUCKDB_PAGE);
    expect_refused(pages, CB_UNSUPPORTED);
    kit_pages(&file, pages);
    cb_put_u64(pages + CB_DUCKDB_PAGE + 40, 12345); /* no block size */
    kit_seal(pages + CB_DUCKDB_PAGE, CB_DUCKDB_PAGE);
    expect_refused(pages, CB_CORRUPT);
    kit_pages(&file, pages);
    memcpy(pages + 8, CB_DUCKDB_INTERRUPTED_MAGIC, 4);
    expect_refused(pages, CB_UNSUPPORTED);
}

static void test_encrypted_header_is_not_looked_into(void **state)
{
    kit_file file = {.block_bytes = 16384, .iteration = 5, .block_count = 3};
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_error err = {0};
    cb_duckdb_head head;

    (void)state;
    kit_pages(&file, pages);
    pages[20] = 1;
    memset(pages + 124, 0xab, 16);
    kit_seal(pages, CB_DUCKDB_PAGE);
    memset(pages + CB_DUCKDB_PAGE, 0x5a, (size_t)2 * CB_DUCKDB_PAGE);
    assert_ok(cb_duckdb_head_parse(cb_bytes_of(pages, sizeof(pages)), &head, &err));
    assert_true(head.main.encrypted && head.main.has_identifier && cb_duckdb_head_ok(&head));
}

/* ---- free list ---------------------------------------------------------------------------- */

typedef struct reader {
    const kit_file *file;
    uint64_t wrong_block; /* CB_RETRY for this one */
    unsigned reads;
    uint8_t block[CB_DUCKDB_BLOCK_MAX];
} reader;

static cb_code read_block(void *arg, uint64_t id, cb_bytes *out, cb_error *err)
{
    reader *r = arg;

    r->reads++;
    if (id == r->wrong_block)
        return cb_fail(err, CB_RETRY, "torn");
    kit_block(r->file, id, r->block);
    *out = cb_bytes_of(r->block, r->file->block_bytes);
    return CB_OK;
}

static cb_duckdb_header header_of(const kit_file *file)
{
    return (cb_duckdb_header){
        .iteration = file->iteration,
        .free_list = kit_free_list(file),
        .block_count = file->block_count,
        .block_bytes = file->block_bytes,
    };
}

static cb_code read_list(const kit_file *file, uint64_t file_blocks, cb_duckdb_blocks *out,
                         cb_error *err)
{
    static reader r;
    cb_duckdb_header header = header_of(file);

    r = (reader){.file = file, .wrong_block = UINT64_MAX};
    return cb_duckdb_blocks_read(&header, file_blocks, read_block, &r, out, err);
}

static kit_file *spread_file(uint32_t block_bytes, size_t free_count)
{
    kit_file *file = calloc(1, sizeof(*file));

    assert_non_null(file);
    *file = (kit_file){.block_bytes = block_bytes,
                       .iteration = 9,
                       .block_count = 10000,
                       .metadata = {77, 5, 9001},
                       .metadata_count = 3,
                       .shared_count = 40};
    for (size_t i = 0; i < free_count; i++)
        file->free_ids[i] = 200 + 2 * i;
    file->free_count = free_count;
    return file;
}

/* Lists of no, some, and so many ids that the chain goes through several metadata blocks. */
static void test_free_list_of_every_block_size(void **state)
{
    static const size_t counts[] = {0, 1, 29, 30, 31, 500, 3900};
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    for (uint32_t size = CB_DUCKDB_BLOCK_MIN; size <= CB_DUCKDB_BLOCK_MAX; size *= 2) {
        for (size_t i = 0; i < CB_LENGTH(counts); i++) {
            kit_file *file = spread_file(size, counts[i]);

            assert_ok(read_list(file, 10000, &out, &err));
            assert_int_equal(out.free_count, counts[i]);
            assert_int_equal(out.used_count, 10000 - counts[i]);
            assert_int_equal(cb_bits_count(&out.metadata), 3);
            assert_true(cb_bits_has(&out.metadata, 9001) && cb_bits_has(&out.metadata, 5));
            for (uint64_t id = 0; id < 10000; id++)
                assert_int_equal(cb_bits_has(&out.used, id),
                                 !(id >= 200 && id < 200 + 2 * counts[i] && id % 2 == 0));
            assert_int_equal(out.tail, counts[i] == 0 ? 0 : 200 + 2 * counts[i] - 1);
            cb_duckdb_blocks_free(&out);
            free(file);
        }
    }
}

static void test_chain_may_jump_between_sub_blocks(void **state)
{
    kit_file *file = spread_file(16384, 2500);
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    file->skip_sub_blocks = true;
    assert_ok(read_list(file, 10000, &out, &err));
    assert_int_equal(out.free_count, 2500);
    cb_duckdb_blocks_free(&out);
    free(file);
}

static void test_no_list_means_all_is_used(void **state)
{
    kit_file file = {.block_bytes = 16384, .block_count = 130};
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    assert_ok(read_list(&file, 130, &out, &err));
    assert_int_equal(out.used_count, 130);
    cb_duckdb_blocks_free(&out);
    file.block_count = 0;
    assert_ok(read_list(&file, 0, &out, &err));
    assert_int_equal(out.used_count, 0);
    cb_duckdb_blocks_free(&out);
}

/* Only free blocks may lie past the end of the file. */
static void test_file_may_end_before_free_blocks_only(void **state)
{
    kit_file file = {.block_bytes = 16384,
                     .block_count = 12,
                     .metadata = {1},
                     .metadata_count = 1,
                     .free_ids = {3, 9, 10, 11},
                     .free_count = 4};
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    assert_ok(read_list(&file, 9, &out, &err));
    assert_int_equal(out.used_count, 8);
    cb_duckdb_blocks_free(&out);
    assert_code(CB_CORRUPT, read_list(&file, 8, &out, &err));
}

/* A reader that has only one block. */
static cb_code give(void *arg, uint64_t id, cb_bytes *to, cb_error *err)
{
    (void)id;
    (void)err;
    *to = *(const cb_bytes *)arg;
    return CB_OK;
}

/* Whatever stands in the list, the answer is an error and an end. */
static void test_hostile_lists_end(void **state)
{
    static const struct {
        uint64_t at; /* byte of the stream */
        uint64_t value;
    } pokes[] = {
        {0, 13},                /* more free blocks than blocks */
        {0, UINT64_MAX},        /* far more */
        {8, 12},                /* a block that does not exist */
        {8, UINT64_C(1) << 63}, /* a negative one */
        {8, 1},                 /* the metadata block itself is free */
        {40, 13},               /* too many shared ones */
        {48, UINT64_MAX},       /* too many metadata blocks */
        {56, 400},              /* one that does not exist */
    };
    kit_file file = {.block_bytes = 16384,
                     .block_count = 12,
                     .metadata = {1},
                     .metadata_count = 1,
                     .free_ids = {3, 9, 10, 11},
                     .free_count = 4};
    cb_duckdb_header header = header_of(&file);
    static uint8_t block[16384];
    cb_bytes view = cb_bytes_of(block, sizeof(block));

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(pokes); i++) {
        cb_error err = {0};
        cb_duckdb_blocks out;

        kit_block(&file, 1, block);
        cb_put_u64(block + 16 + pokes[i].at, pokes[i].value);
        assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 12, give, &view, &out, &err));
        assert_null(out.used.words);
    }
}

static void test_circle_and_bad_pointers(void **state)
{
    kit_file *file = spread_file(16384, 3900);
    cb_duckdb_header header = header_of(file);
    static uint8_t block[16384];
    cb_bytes view = cb_bytes_of(block, sizeof(block));
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    kit_block(file, 77, block);
    cb_put_u64(block + 8, 77); /* the first sub-block follows itself */
    assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 10000, give, &view, &out, &err));
    cb_put_u64(block + 8, CB_DUCKDB_NONE); /* it ends where 3900 ids were promised */
    assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 10000, give, &view, &out, &err));
    cb_put_u64(block + 8, 77 | UINT64_C(64) << 56); /* there are 64 sub-blocks */
    assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 10000, give, &view, &out, &err));
    cb_put_u64(block + 8, 10000); /* past the end of the file */
    assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 10000, give, &view, &out, &err));
    header.block_count = UINT64_C(1) << 60; /* no memory is asked for that */
    assert_code(CB_CORRUPT, cb_duckdb_blocks_read(&header, 10000, give, &view, &out, &err));
    free(file);
}

static void test_reader_that_cannot_read_passes_its_error(void **state)
{
    kit_file *file = spread_file(16384, 3900);
    cb_duckdb_header header = header_of(file);
    static reader r;
    cb_error err = {0};
    cb_duckdb_blocks out;

    (void)state;
    r = (reader){.file = file, .wrong_block = 9001};
    assert_code(CB_RETRY, cb_duckdb_blocks_read(&header, 10000, read_block, &r, &out, &err));
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum_of_every_length),
        cmocka_unit_test(test_checksum_is_that_of_duckdb),
        cmocka_unit_test(test_block_is_ok_only_with_its_checksum),
        cmocka_unit_test(test_current_header_is_the_higher_one),
        cmocka_unit_test(test_composed_pages_verify_and_choose_the_same),
        cmocka_unit_test(test_torn_pages_are_seen),
        cmocka_unit_test(test_foreign_and_newer_files_are_refused),
        cmocka_unit_test(test_encrypted_header_is_not_looked_into),
        cmocka_unit_test(test_free_list_of_every_block_size),
        cmocka_unit_test(test_chain_may_jump_between_sub_blocks),
        cmocka_unit_test(test_no_list_means_all_is_used),
        cmocka_unit_test(test_file_may_end_before_free_blocks_only),
        cmocka_unit_test(test_hostile_lists_end),
        cmocka_unit_test(test_circle_and_bad_pointers),
        cmocka_unit_test(test_reader_that_cannot_read_passes_its_error),
    };

    return cmocka_run_group_tests_name("duckdb format", tests, NULL, NULL);
}
