/*
 * The grid: chunks follow one another without gap or overlap.
 */
#include "unit.h"

#include "codec/item.h"

#include <string.h>

static void test_chunks_cover_the_item(void **state)
{
    static const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, 12288, 12289, 16384, 274432, 1000000};
    static const uint32_t heads[] = {0, 1, 4096, 12288};
    static const uint32_t chunks[] = {1, 4096, 262144, CB_CHUNK_BYTES_MAX};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(sizes) * CB_LENGTH(heads) * CB_LENGTH(chunks); i++) {
        cb_item item = {
            .size_bytes = sizes[i % CB_LENGTH(sizes)],
            .head_bytes = heads[i / CB_LENGTH(sizes) % CB_LENGTH(heads)],
            .chunk_bytes = chunks[i / CB_LENGTH(sizes) / CB_LENGTH(heads)],
        };
        uint64_t count = cb_item_chunks(&item);
        uint64_t at = 0;

        for (uint64_t k = 0; k < count; k++) {
            uint64_t offset;
            uint32_t length;

            cb_item_chunk(&item, k, &offset, &length);
            assert_int_equal(offset, at);
            assert_true(length > 0);
            if (item.head_bytes != 0 && k == 0)
                assert_true(length == item.head_bytes || count == 1);
            else
                assert_true(length == item.chunk_bytes || k == count - 1);
            at += length;
        }
        assert_int_equal(at, item.size_bytes);
    }
}

static void test_a_duckdb_file(void **state)
{
    cb_item item = {.size_bytes = 12288 + 3 * 262144, .head_bytes = 12288, .chunk_bytes = 262144};
    uint64_t offset;
    uint32_t length;

    (void)state;
    assert_int_equal(cb_item_chunks(&item), 4);
    cb_item_chunk(&item, 3, &offset, &length);
    assert_int_equal(offset, 12288 + 2 * 262144);
    assert_int_equal(length, 262144);
}

static void test_the_largest_size_does_not_overflow(void **state)
{
    cb_item item = {.size_bytes = UINT64_MAX, .head_bytes = UINT32_MAX, .chunk_bytes = 1 << 20};
    uint64_t offset;
    uint32_t length;

    (void)state;
    cb_item_chunk(&item, cb_item_chunks(&item) - 1, &offset, &length);
    assert_int_equal(offset + length, UINT64_MAX);
}

static void test_names_and_grids(void **state)
{
    cb_item a = {.size_bytes = 1, .head_bytes = 2, .chunk_bytes = 3};
    cb_item b = {.size_bytes = 9, .head_bytes = 2, .chunk_bytes = 3};

    (void)state;
    assert_true(cb_item_same_grid(&a, &b));
    b.chunk_bytes = 4;
    assert_false(cb_item_same_grid(&a, &b));
    assert_string_equal(cb_item_kind_name(CB_ITEM_LOG), "log");
    assert_string_equal(cb_item_kind_name((cb_item_kind)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_cover_the_item),
        cmocka_unit_test(test_a_duckdb_file),
        cmocka_unit_test(test_the_largest_size_does_not_overflow),
        cmocka_unit_test(test_names_and_grids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
