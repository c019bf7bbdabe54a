/*
 * Records: their bytes are fixed, since they are on disk.
 */
#include "unit.h"

#include "codec/field.h"

static void test_bytes_on_disk(void **state)
{
    static const uint8_t wanted[] = {
        1,    2, 0xac, 0x02,      /* 300 */
        2,    3, 'a',  'b',  'c', /* text */
        0x80, 1, 1,    3,         /* tag 128: -2 */
        4,    0,                  /* empty */
        5,    1, 0x7f,            /* 127 */
    };
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_field_put_u64(&record, 1, 300, &err));
    assert_ok(cb_field_put_text(&record, 2, "abc", &err));
    assert_ok(cb_field_put_i64(&record, 128, -2, &err));
    assert_ok(cb_field_put_bytes(&record, 4, cb_bytes_of(NULL, 0), &err));
    assert_ok(cb_field_put_text(&record, 9, NULL, &err));
    assert_ok(cb_field_put_u64(&record, 5, 127, &err));
    assert_int_equal(record.size, sizeof(wanted));
    assert_memory_equal(record.data, wanted, sizeof(wanted));
}

static void test_integers_there_and_back(void **state)
{
    static const int64_t edges[] = {0, 1, -1, 63, 64, -64, -65, INT64_MAX, INT64_MIN, 1 << 20};
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    cb_error err = {0};
    cb_field_reader reader;
    cb_field field;
    bool more;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(edges); i++) {
        assert_ok(cb_field_put_i64(&record, 1, edges[i], &err));
        assert_ok(cb_field_put_u64(&record, UINT32_MAX, (uint64_t)edges[i], &err));
    }
    reader.rest = cb_buf_bytes(&record);
    for (size_t i = 0; i < CB_LENGTH(edges); i++) {
        int64_t value;
        uint64_t number;

        assert_ok(cb_field_next(&reader, &field, &more, &err));
        assert_true(more && field.tag == 1);
        assert_ok(cb_field_i64(&field, &value, &err));
        assert_int_equal(value, edges[i]);
        assert_ok(cb_field_next(&reader, &field, &more, &err));
        assert_true(more && field.tag == UINT32_MAX);
        assert_ok(cb_field_u64(&field, &number, &err));
        assert_int_equal(number, (uint64_t)edges[i]);
    }
    assert_ok(cb_field_next(&reader, &field, &more, &err));
    assert_false(more);
}

static cb_code next_of(const void *data, size_t size, cb_field *field, cb_error *err)
{
    cb_field_reader reader = {cb_bytes_of(data, size)};
    bool more;

    return cb_field_next(&reader, field, &more, err);
}

static void test_damage_is_corrupt(void **state)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {"\x01", 1},         /* no length */
        {"\x01\x02\x05", 3}, /* past the end */
        {"\x00\x00", 2},     /* tag 0 */
        {"\x81\x00\x00", 3}, /* overlong tag */
        {"\x80\x80\x80\x80\x10\x00", 6},
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* more than 64 bits */
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
    };
    cb_error err = {0};
    cb_field field;
    const char *text;
    uint64_t number;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_code(CB_CORRUPT, next_of(bad[i].bytes, bad[i].size, &field, &err));

    assert_ok(next_of("\x01\x02\x80\x00", 4, &field, &err));
    assert_code(CB_CORRUPT, cb_field_u64(&field, &number, &err));
    assert_ok(next_of("\x01\x02\x01\x01", 4, &field, &err));
    assert_code(CB_CORRUPT, cb_field_u64(&field, &number, &err));
    assert_ok(next_of("\x01\x00", 2, &field, &err));
    assert_code(CB_CORRUPT, cb_field_u64(&field, &number, &err));
    assert_ok(cb_field_text(&field, &arena, &text, &err));
    assert_string_equal(text, "");
    assert_ok(next_of("\x01\x03"
                      "a\0b",
                      5, &field, &err));
    assert_code(CB_CORRUPT, cb_field_text(&field, &arena, &text, &err));
    assert_null(text);
}

static void test_a_full_buffer_keeps_whole_fields(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf record = {.limit = 6};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_field_put_text(&record, 1, "ab", &err));
    assert_code(CB_TOO_LARGE, cb_field_put_text(&record, 2, "cd", &err));
    assert_int_equal(record.size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_on_disk),
        cmocka_unit_test(test_integers_there_and_back),
        cmocka_unit_test(test_damage_is_corrupt),
        cmocka_unit_test(test_a_full_buffer_keeps_whole_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
