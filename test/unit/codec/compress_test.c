/*
 * Compression: what shrinks, what stays raw, and foreign or damaged bytes.
 */
#include "unit.h"

#include "codec/compress.h"

#include <stdlib.h>

#include "random.h"

enum { CHUNK = 256 * 1024 };

static int set_up(void **state)
{
    cb_error err = {0};

    return cb_compressor_new((cb_compressor **)state, &err) == CB_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    cb_compressor_free(*state);
    cb_compressor_free(NULL);
    return 0;
}

static void test_levels_and_codecs_shrink_text(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    uint8_t *raw = malloc(CHUNK);
    cb_error err = {0};
    cb_codec used;

    for (size_t i = 0; i < CHUNK; i++)
        raw[i] = (uint8_t)("the duck dives "[i % 15] + (i % 501 == 0));
    for (int level = -7; level <= 19; level += 2) {
        stored.size = 0;
        assert_ok(cb_buf_append(&stored, "front", 5, &err)); /* what is there stays */
        assert_ok(cb_compress(*state, CB_CODEC_ZSTD, level, cb_bytes_of(raw, CHUNK), &stored, &used,
                              &err));
        assert_int_equal(used, CB_CODEC_ZSTD);
        assert_true(stored.size < CHUNK / 4);
        assert_memory_equal(stored.data, "front", 5);
        back.size = 0;
        assert_ok(cb_decompress(*state, used, cb_bytes_of(stored.data + 5, stored.size - 5), CHUNK,
                                &back, &err));
        assert_memory_equal(back.data, raw, CHUNK);
    }
    stored.size = back.size = 0;
    assert_ok(cb_compress(*state, CB_CODEC_LZ4, 0, cb_bytes_of(raw, CHUNK), &stored, &used, &err));
    assert_int_equal(used, CB_CODEC_LZ4);
    assert_ok(cb_decompress(*state, used, cb_buf_bytes(&stored), CHUNK, &back, &err));
    assert_memory_equal(back.data, raw, CHUNK);
    free(raw);
}

static void test_what_does_not_shrink_is_raw(void **state)
{
    static const cb_codec codecs[] = {CB_CODEC_LZ4, CB_CODEC_ZSTD, CB_CODEC_RAW};
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    test_random random = test_random_from(3);
    uint8_t *raw = malloc(CHUNK);
    cb_error err = {0};
    cb_codec used;

    test_random_fill(&random, raw, CHUNK);
    for (size_t i = 0; i < CB_LENGTH(codecs); i++) {
        assert_ok(cb_compress(*state, codecs[i], 3, cb_bytes_of(raw, CHUNK), &stored, &used, &err));
        assert_int_equal(used, CB_CODEC_RAW);
        assert_int_equal(stored.size, 0);
        assert_ok(cb_compress(*state, codecs[i], 3, cb_bytes_of(raw, 0), &stored, &used, &err));
        assert_int_equal(used, CB_CODEC_RAW);
        assert_ok(cb_compress(*state, codecs[i], 3, cb_bytes_of(raw, 1), &stored, &used, &err));
        assert_int_equal(used, CB_CODEC_RAW);
    }
    /* A gain of less than 1/32 is none: zeros for the last 1/64. */
    memset(raw + CHUNK - CHUNK / 64, 0, CHUNK / 64);
    assert_ok(cb_compress(*state, CB_CODEC_ZSTD, 3, cb_bytes_of(raw, CHUNK), &stored, &used, &err));
    assert_int_equal(used, CB_CODEC_RAW);
    memset(raw + CHUNK - CHUNK / 16, 0, CHUNK / 16);
    assert_ok(cb_compress(*state, CB_CODEC_ZSTD, 3, cb_bytes_of(raw, CHUNK), &stored, &used, &err));
    assert_int_equal(used, CB_CODEC_ZSTD);
    assert_true(stored.size <= CHUNK - CHUNK / 32);
    free(raw);
}

static void test_wrong_lengths_are_corrupt(void **state)
{
    static const cb_codec codecs[] = {CB_CODEC_LZ4, CB_CODEC_ZSTD};
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    uint8_t raw[1000] = {0};
    cb_error err = {0};
    cb_codec used;

    for (size_t i = 0; i < CB_LENGTH(codecs); i++) {
        cb_bytes whole;

        stored.size = 0;
        assert_ok(
            cb_compress(*state, codecs[i], 1, cb_bytes_of(raw, sizeof(raw)), &stored, &used, &err));
        assert_int_equal(used, codecs[i]);
        whole = cb_buf_bytes(&stored);
        assert_code(CB_CORRUPT, cb_decompress(*state, used, whole, 999, &back, &err));
        assert_code(CB_CORRUPT, cb_decompress(*state, used, whole, 1001, &back, &err));
        assert_code(CB_CORRUPT, cb_decompress(*state, used, cb_bytes_of(whole.data, whole.size - 1),
                                              1000, &back, &err));
        assert_code(CB_CORRUPT,
                    cb_decompress(*state, used, cb_bytes_of(NULL, 0), 1000, &back, &err));
        assert_int_equal(back.size, 0);
    }
    assert_code(CB_CORRUPT,
                cb_decompress(*state, CB_CODEC_RAW, cb_bytes_of(raw, 10), 11, &back, &err));
    assert_code(CB_CORRUPT, cb_decompress(*state, 77, cb_bytes_of(raw, 10), 10, &back, &err));
    assert_ok(cb_decompress(*state, CB_CODEC_RAW, cb_bytes_of(raw, 10), 10, &back, &err));
    assert_int_equal(back.size, 10);
    assert_ok(cb_decompress(*state, CB_CODEC_RAW, cb_bytes_of(NULL, 0), 0, &back, &err));
}

static void test_the_limit_of_the_buffer_holds(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf back = {.limit = 100};
    cb_error err = {0};

    assert_code(CB_TOO_LARGE, cb_decompress(*state, CB_CODEC_ZSTD, cb_bytes_of("abc", 3),
                                            (size_t)1 << 40, &back, &err));
    assert_int_equal(back.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_and_codecs_shrink_text),
        cmocka_unit_test(test_what_does_not_shrink_is_raw),
        cmocka_unit_test(test_wrong_lengths_are_corrupt),
        cmocka_unit_test(test_the_limit_of_the_buffer_holds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
