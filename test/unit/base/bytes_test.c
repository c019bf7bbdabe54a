/*
 * Buffers, integers, arenas and arrays.
 */
#include "unit.h"

#include "base/arena.h"
#include "base/array.h"

#include <stdlib.h>

static void test_buffer_grows_and_keeps_its_bytes(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf buf = {0};
    cb_error err = {0};

    (void)state;
    for (uint32_t i = 0; i < 5000; i++)
        assert_ok(cb_buf_u32(&buf, i * 7, &err));
    assert_int_equal(buf.size, 20000);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(cb_get_u32(buf.data + (size_t)i * 4), i * 7);
}

static void test_buffer_stops_at_its_limit(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf buf = {.limit = 10};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_buf_append(&buf, "0123456", 7, &err));
    assert_code(CB_TOO_LARGE, cb_buf_append(&buf, "0123", 4, &err));
    assert_int_equal(buf.size, 7);
    assert_code(CB_TOO_LARGE, cb_buf_reserve(&buf, SIZE_MAX, &err));
    assert_ok(cb_buf_append(&buf, "789", 3, &err));
    assert_code(CB_TOO_LARGE, cb_buf_u8(&buf, 1, &err));
    assert_memory_equal(buf.data, "0123456789", 10);
}

static void test_buffer_formats_with_a_nul_behind(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf buf = {.limit = 5};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_buf_format(&buf, &err, "%s%d", "ab", 123));
    assert_int_equal(buf.size, 5);
    assert_string_equal((char *)buf.data, "ab123");
    assert_code(CB_TOO_LARGE, cb_buf_format(&buf, &err, "x"));
    assert_int_equal(buf.size, 5);
}

static void test_integers_are_little_endian(void **state)
{
    uint8_t raw[9] = {0};

    (void)state;
    cb_put_u64(raw + 1, UINT64_C(0x8877665544332211));
    for (unsigned i = 1; i <= 8; i++)
        assert_int_equal(raw[i], i * 0x11);
    assert_int_equal(cb_get_u64(raw + 1), UINT64_C(0x8877665544332211));
    assert_int_equal(cb_get_u32(raw + 5), 0x88776655);
    assert_int_equal(cb_get_u16(raw + 7), 0x8877);
}

static void test_overflow_is_said(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_false(cb_add_u64(UINT64_MAX, 1, &out));
    assert_false(cb_mul_u64(UINT64_C(1) << 33, UINT64_C(1) << 31, &out));
    assert_int_equal(out, 7);
    assert_true(cb_add_u64(UINT64_MAX - 1, 1, &out));
    assert_int_equal(out, UINT64_MAX);
    assert_true(cb_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 31, &out));
    assert_int_equal(out, UINT64_C(1) << 63);
}

static void test_hex_there_and_back(void **state)
{
    uint8_t raw[256];
    uint8_t back[256];
    char text[513];

    (void)state;
    for (unsigned i = 0; i < 256; i++)
        raw[i] = (uint8_t)i;
    cb_hex(raw, 256, text);
    assert_int_equal(strlen(text), 512);
    assert_true(cb_unhex(text, 256, back));
    assert_memory_equal(raw, back, 256);
    assert_true(cb_unhex("aBCd", 2, back));
    assert_int_equal(back[1], 0xcd);
    assert_false(cb_unhex("abc", 2, back));
    assert_false(cb_unhex("0g", 1, back));
    assert_false(cb_unhex("", 1, back));
}

static void test_arena_gives_zeroed_aligned_memory(void **state)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error err = {0};
    unsigned char *first;
    const char *text;

    (void)state;
    assert_ok(cb_arena_alloc(&arena, 100, &first, &err));
    memset(first, 0xee, 100);
    for (size_t size = 0; size < 20000; size = size * 2 + 1) {
        unsigned char *memory;

        assert_ok(cb_arena_alloc(&arena, size, &memory, &err));
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xff, size);
    }
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(first[i], 0xee);
    assert_ok(cb_arena_format(&arena, &text, &err, "%d-%s", 5, "x"));
    assert_string_equal(text, "5-x");
    assert_ok(cb_arena_text_n(&arena, "abcdef", 3, &text, &err));
    assert_string_equal(text, "abc");
    assert_ok(cb_arena_text(&arena, NULL, &text, &err));
    assert_null(text);
    assert_code(CB_NO_MEMORY, cb_arena_alloc(&arena, SIZE_MAX - 3, &first, &err));
    assert_null(first);
}

static void test_array_grows_with_zeroed_elements(void **state)
{
    cb_error err = {0};
    uint64_t *items = NULL;
    size_t capacity = 0;
    size_t count = 0;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        if (count == capacity)
            assert_ok(cb_array_grow(&items, &capacity, sizeof(*items), &err));
        assert_int_equal(items[count], 0);
        items[count++] = i + 1;
    }
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i + 1);
    assert_code(CB_NO_MEMORY, cb_array_reserve(&items, &capacity, SIZE_MAX / 4, 8, &err));
    assert_int_equal(items[999], 1000);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_grows_and_keeps_its_bytes),
        cmocka_unit_test(test_buffer_stops_at_its_limit),
        cmocka_unit_test(test_buffer_formats_with_a_nul_behind),
        cmocka_unit_test(test_integers_are_little_endian),
        cmocka_unit_test(test_overflow_is_said),
        cmocka_unit_test(test_hex_there_and_back),
        cmocka_unit_test(test_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(test_array_grows_with_zeroed_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
