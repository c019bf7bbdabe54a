/*
 * Laws of the codec: decompress(compress(x)) = x; parse(render(record)) = record, and rendering
 * is canonical.
 */
#include "unit.h"

#include "codec/compress.h"
#include "codec/field.h"

#include <stdlib.h>

#include "random.h"

enum { ROUNDS = 1500, SIZE_MAX_BYTES = 300000 };

static void test_decompress_undoes_compress(void **state)
{
    test_random random = test_random_seeded();
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    uint8_t *raw = malloc(SIZE_MAX_BYTES);
    unsigned times[3] = {0};
    cb_compressor *compressor;
    cb_error err = {0};

    (void)state;
    assert_ok(cb_compressor_new(&compressor, &err));
    for (int round = 0; round < ROUNDS; round++) {
        size_t most = round % 10 == 0 ? SIZE_MAX_BYTES : 5000;
        size_t size = (size_t)test_random_below(&random, most);
        cb_bytes content = cb_bytes_of(raw, size);
        cb_codec wanted = (cb_codec)test_random_below(&random, 3);
        int level = (int)test_random_below(&random, 12) - 7;
        cb_codec used;

        test_random_content(&random, raw, size);
        stored.size = back.size = 0;
        assert_ok(cb_compress(compressor, wanted, level, content, &stored, &used, &err));
        assert_true(used == wanted || used == CB_CODEC_RAW);
        assert_true(used == CB_CODEC_RAW ? stored.size == 0
                                         : stored.size + (size + 31) / 32 <= size);
        times[used]++;
        assert_ok(cb_decompress(compressor, used,
                                used == CB_CODEC_RAW ? content : cb_buf_bytes(&stored), size, &back,
                                &err));
        assert_int_equal(back.size, size);
        if (size > 0)
            assert_memory_equal(back.data, raw, size);
    }
    for (size_t i = 0; i < CB_LENGTH(times); i++)
        assert_true(times[i] > ROUNDS / 20); /* each way was gone often */
    cb_compressor_free(compressor);
    free(raw);
}

static void render_random(test_random *random, cb_buf *record)
{
    uint64_t count = test_random_below(random, 20);
    cb_error err = {0};

    for (uint64_t i = 0; i < count; i++) {
        uint32_t tag = (uint32_t)(test_random_u64(random) >> (32 + test_random_below(random, 31)));
        uint64_t number = test_random_u64(random) >> test_random_below(random, 64);
        uint8_t bytes[200];

        test_random_fill(random, bytes, sizeof(bytes));
        if (test_random_below(random, 2) == 0)
            assert_ok(cb_field_put_u64(record, tag | 1, number, &err));
        else
            assert_ok(cb_field_put_bytes(record, tag | 1,
                                         cb_bytes_of(bytes, number % sizeof(bytes)), &err));
    }
}

static void test_records_are_canonical(void **state)
{
    test_random random = test_random_seeded();
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    CB_CLEANUP(cb_buf_free) cb_buf again = {0};
    cb_error err = {0};

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        cb_field_reader reader;
        cb_field field;
        bool more;

        record.size = again.size = 0;
        render_random(&random, &record);
        reader.rest = cb_buf_bytes(&record);
        for (;;) {
            assert_ok(cb_field_next(&reader, &field, &more, &err));
            if (!more)
                break;
            assert_ok(cb_field_put_bytes(&again, field.tag, field.value, &err));
        }
        assert_int_equal(again.size, record.size);
        if (record.size > 0)
            assert_memory_equal(again.data, record.data, record.size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decompress_undoes_compress),
        cmocka_unit_test(test_records_are_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
