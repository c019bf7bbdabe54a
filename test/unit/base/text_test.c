/*
 * What people type and read.
 */
#include "unit.h"

#include "base/text.h"

static void test_numbers(void **state)
{
    cb_error err = {0};
    uint64_t number;
    int64_t value;
    bool flag;

    (void)state;
    assert_ok(cb_parse_u64("18446744073709551615", &number, &err));
    assert_int_equal(number, UINT64_MAX);
    assert_code(CB_USAGE, cb_parse_u64("18446744073709551616", &number, &err));
    assert_code(CB_USAGE, cb_parse_u64("", &number, &err));
    assert_code(CB_USAGE, cb_parse_u64(" 1", &number, &err));
    assert_code(CB_USAGE, cb_parse_u64("1x", &number, &err));
    assert_code(CB_USAGE, cb_parse_u64("-1", &number, &err));
    assert_ok(cb_parse_i64("-9223372036854775808", &value, &err));
    assert_int_equal(value, INT64_MIN);
    assert_ok(cb_parse_i64("-0", &value, &err));
    assert_int_equal(value, 0);
    assert_code(CB_USAGE, cb_parse_i64("9223372036854775808", &value, &err));
    assert_code(CB_USAGE, cb_parse_i64("-", &value, &err));
    assert_ok(cb_parse_bool("Yes", &flag, &err));
    assert_true(flag);
    assert_ok(cb_parse_bool("off", &flag, &err));
    assert_false(flag);
    assert_code(CB_USAGE, cb_parse_bool("maybe", &flag, &err));
    assert_non_null(strstr(err.message, "maybe"));
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"64k", 65536},
        {"32MiB", 32u << 20},
        {"1.5GB", 1500000000},
        {"2G", UINT64_C(2) << 30},
        {"0.125 MiB", 131072},
        {"3PB", UINT64_C(3000000000000000)},
    };
    static const char *const bad[] = {"",   "K",   "1KK",       "1.5", "1.KiB", "1.2345K",
                                      "-1", "1 2", "99999999P", "1ki", "1e3"};
    cb_error err = {0};
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(good); i++) {
        assert_ok(cb_parse_size(good[i].text, &bytes, &err));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_code(CB_USAGE, cb_parse_size(bad[i], &bytes, &err));
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"0", 0},          {"90", 90},
                {"10s", 10},       {"5m", 300},
                {"36h", 129600},   {"7d", 604800},
                {"2w", 1209600},   {"1y", 31536000},
                {"1d12h", 129600}, {"1y2w3d4h5m6s", 33019506}};
    static const char *const bad[] = {"",     "h",  "1x",  "1h1h",          "1h1d",
                                      "1d12", "-5", "5 m", "300000000000y", "99999999999999999999"};
    cb_error err = {0};
    int64_t us;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(good); i++) {
        assert_ok(cb_parse_duration(good[i].text, &us, &err));
        assert_int_equal(us, good[i].seconds * 1000000);
    }
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_code(CB_USAGE, cb_parse_duration(bad[i], &us, &err));
}

static void test_printed_sizes_and_durations(void **state)
{
    char size[CB_SIZE_TEXT_MAX];
    char span[CB_DURATION_TEXT_MAX];

    (void)state;
    assert_string_equal(cb_format_size(0, size), "0 B");
    assert_string_equal(cb_format_size(1023, size), "1023 B");
    assert_string_equal(cb_format_size(1024, size), "1 KiB");
    assert_string_equal(cb_format_size(312 * 1024, size), "312 KiB");
    assert_string_equal(cb_format_size(1503238554, size), "1.4 GiB");
    assert_string_equal(cb_format_size((1u << 20) - 1, size), "1 MiB");
    assert_string_equal(cb_format_size(UINT64_MAX, size), "16 EiB");
    assert_string_equal(cb_format_duration(3200000, span), "3.2 s");
    assert_string_equal(cb_format_duration(240000000, span), "4 min");
    assert_string_equal(cb_format_duration(12000, span), "12 ms");
    assert_string_equal(cb_format_duration(59990000, span), "1 min");
    assert_string_equal(cb_format_duration(INT64_C(12000) * 1000000, span), "3 h 20 min");
    assert_string_equal(cb_format_duration(INT64_C(183600) * 1000000, span), "2 d 3 h");
    assert_true(strlen(cb_format_duration(INT64_MAX, span)) < sizeof(span));
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", ".x", "-x", "a/b", "a b", "\xc3\xa4", "a\n"};
    char name[66];

    (void)state;
    assert_true(cb_is_name("prod_1.eu-west"));
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_false(cb_is_name(bad[i]));
    memset(name, 'a', sizeof(name));
    name[64] = '\0';
    assert_true(cb_is_name(name));
    name[64] = 'a';
    name[65] = '\0';
    assert_false(cb_is_name(name));
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(cb_text_distance("", ""), 0);
    assert_int_equal(cb_text_distance("restore", "restore"), 0);
    assert_int_equal(cb_text_distance("", "abc"), 3);
    assert_int_equal(cb_text_distance("restroe", "restore"), 1);
    assert_int_equal(cb_text_distance("kitten", "sitting"), 3);
    assert_int_equal(cb_text_distance("ca", "abc"), 3);
}

static void test_utf8(void **state)
{
    static const char *const good[] = {
        "", "plain", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\xa6\x86", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc3", "\xe0\x80\x80",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(good); i++)
        assert_true(cb_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_false(cb_is_utf8(bad[i], strlen(bad[i])));
    assert_true(cb_is_utf8("a\0b", 3));
}

static void test_prefix_and_suffix(void **state)
{
    (void)state;
    assert_true(cb_has_prefix("duckdb:x", "duckdb:"));
    assert_false(cb_has_prefix("duck", "duckdb:"));
    assert_true(cb_has_suffix("x.wal", ".wal"));
    assert_false(cb_has_suffix("wal", ".wal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_durations), cmocka_unit_test(test_printed_sizes_and_durations),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_distance),
        cmocka_unit_test(test_utf8),      cmocka_unit_test(test_prefix_and_suffix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
