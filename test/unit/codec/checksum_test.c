/*
 * Checksums against published values and against the bit-by-bit definition; base64 both ways.
 */
#include "unit.h"

#include "codec/checksum.h"

#include <string.h>

#include "random.h"

static uint64_t bit_by_bit(uint64_t poly, uint64_t all_ones, const uint8_t *data, size_t size)
{
    uint64_t crc = all_ones;

    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? poly : 0);
    }
    return crc ^ all_ones;
}

static void test_published_values(void **state)
{
    cb_bytes digits = cb_bytes_of("123456789", 9);
    uint8_t zeros[32] = {0};
    char text[CB_BASE64_SIZE(8)];

    (void)state;
    assert_int_equal(cb_crc32c(0, digits), 0xe3069283);
    assert_int_equal(cb_crc32c(0, cb_bytes_of(zeros, 32)), 0x8a9136aa);
    assert_true(cb_crc64nvme(0, digits) == UINT64_C(0xae8b14860a799888));
    assert_int_equal(cb_crc32c(0, cb_bytes_of("", 0)), 0);
    assert_true(cb_crc64nvme(0, cb_bytes_of("", 0)) == 0);
    assert_string_equal(cb_base64_u32(0xe3069283, text), "4waSgw==");
    assert_string_equal(cb_base64_u64(UINT64_C(0xae8b14860a799888), text), "rosUhgp5mIg=");
}

static void test_every_length_and_start(void **state)
{
    static uint8_t data[1100];
    test_random random = test_random_seeded();

    (void)state;
    test_random_fill(&random, data, sizeof(data));
    for (size_t size = 0; size < 1000; size++) {
        size_t start = (size_t)test_random_below(&random, 64);
        size_t cut = (size_t)test_random_below(&random, size + 1);
        cb_bytes all = cb_bytes_of(data + start, size);
        cb_bytes head = cb_bytes_of(data + start, cut);
        cb_bytes tail = cb_bytes_of(data + start + cut, size - cut);
        uint32_t narrow = (uint32_t)bit_by_bit(0x82f63b78, 0xffffffff, all.data, size);
        uint64_t wide = bit_by_bit(UINT64_C(0x9a6c9329ac4bc9b5), UINT64_MAX, all.data, size);

        assert_int_equal(cb_crc32c(0, all), narrow);
        assert_true(cb_crc64nvme(0, all) == wide);
        assert_int_equal(cb_crc32c(cb_crc32c(0, head), tail), narrow);
        assert_true(cb_crc64nvme(cb_crc64nvme(0, head), tail) == wide);
        assert_int_equal(cb_crc32c_join(cb_crc32c(0, head), cb_crc32c(0, tail), tail.size), narrow);
        assert_true(cb_crc64nvme_join(cb_crc64nvme(0, head), cb_crc64nvme(0, tail), tail.size) ==
                    wide);
    }
}

static void test_base64(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    static const char *const wrong[] = {
        "Z", "Zg=", "Zh==", "Zm9=", "Z g=", "=", "====", "Zg==Zg=="};
    char text[CB_BASE64_SIZE(8)];
    uint8_t back[8];
    size_t got;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(pairs); i++) {
        assert_string_equal(cb_base64(pairs[i][0], strlen(pairs[i][0]), text), pairs[i][1]);
        assert_true(cb_unbase64(text, strlen(text), back, sizeof(back), &got));
        assert_int_equal(got, strlen(pairs[i][0]));
        assert_memory_equal(back, pairs[i][0], got);
        if (got > 0)
            assert_false(cb_unbase64(text, strlen(text), back, got - 1, &got));
    }
    for (size_t i = 0; i < CB_LENGTH(wrong); i++)
        assert_false(cb_unbase64(wrong[i], strlen(wrong[i]), back, sizeof(back), &got));
    assert_string_equal(cb_base64("\xfb\xff", 2, text), "+/8=");
    assert_string_equal(cb_base64url("\xfb\xff", 2, text), "-_8");
    assert_true(cb_unbase64("-_8", 3, back, sizeof(back), &got) && got == 2);
    assert_memory_equal(back, "\xfb\xff", 2);
}

static void test_md5(void **state)
{
    uint8_t out[CB_MD5_BYTES];
    char text[CB_BASE64_SIZE(CB_MD5_BYTES)];

    (void)state;
    if (cb_md5(cb_bytes_of("", 0), out))
        assert_string_equal(cb_base64(out, sizeof(out), text), "1B2M2Y8AsgTpgAmY7PhCfg==");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_every_length_and_start),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
