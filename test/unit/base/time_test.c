/*
 * Points in time; the zone of this test is Europe/Berlin.
 */
#include "unit.h"

#include "base/time.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "random.h"

static int in_berlin(void **state)
{
    (void)state;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    return 0;
}

static void test_prints(void **state)
{
    char out[CB_TIME_TEXT_MAX];
    char label[CB_LABEL_MAX];
    const int64_t us = INT64_C(1795227635123456);

    (void)state;
    assert_string_equal(cb_format_rfc3339(us, out), "2026-11-21T02:20:35.123456Z");
    assert_string_equal(cb_format_rfc3339(us - 123456, out), "2026-11-21T02:20:35Z");
    assert_string_equal(cb_format_rfc3339(-1, out), "1969-12-31T23:59:59.999999Z");
    assert_string_equal(cb_format_local(us, out), "2026-11-21 03:20:35");
    assert_string_equal(cb_format_label(us, false, label), "20261121-022035");
    assert_string_equal(cb_format_label(us, true, label), "20261121-032035");
    assert_non_null(cb_format_rfc3339(INT64_MAX, out));
    assert_non_null(cb_format_rfc3339(INT64_MIN, out));
}

static void test_parses(void **state)
{
    static const struct {
        const char *text;
        const char *utc;
    } good[] = {
        {"2026-11-21T02:20:35.123456Z", "2026-11-21T02:20:35.123456Z"},
        {"2026-11-21 02:20:35.5Z", "2026-11-21T02:20:35.500000Z"},
        {"2026-11-21 03:20:35+01:00", "2026-11-21T02:20:35Z"},
        {"2026-11-20 20:50:35-05:30", "2026-11-21T02:20:35Z"},
        {"2026-11-21 03:20:35", "2026-11-21T02:20:35Z"},
        {"2026-11-21 03:20", "2026-11-21T02:20:00Z"},
        {"2026-07-01", "2026-06-30T22:00:00Z"},
        {"2024-02-29", "2024-02-28T23:00:00Z"},
        {"2000-02-29 12:00Z", "2000-02-29T12:00:00Z"},
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"},
        /* Comes twice: the first is meant. */
        {"2026-10-25 02:30:00", "2026-10-25T00:30:00Z"},
        {"2026-10-25 02:30:00+01:00", "2026-10-25T01:30:00Z"},
    };
    char out[CB_TIME_TEXT_MAX];
    cb_error err = {0};
    int64_t us;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(good); i++) {
        assert_ok(cb_parse_time(good[i].text, &us, &err));
        assert_string_equal(cb_format_rfc3339(us, out), good[i].utc);
    }
}

static void test_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "yesterday",
        "2026-02-31",
        "2026-02-29 12:00",
        "2026-02-31T00:00:00Z",
        "2026-04-31 12:00+02:00",
        "2100-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-01-00",
        "2026-1-1",
        "2026-11-21 24:00:00",
        "2026-11-21 12:60",
        "2026-11-21 12:00:60",
        "2026-11-21 12:00:00.",
        "2026-11-21 12:00:00.1234567",
        "2026-11-21 12:00:00+0100",
        "2026-11-21 12:00:00+24:00",
        "2026-11-21 12:00:00Zz",
        "2026-11-21 12",
        "2026-11-21 ",
        "2026-11-21x",
        " 2026-11-21",
        "2026-03-29 02:30:00", /* skipped by the zone */
    };
    cb_error err = {0};
    int64_t us;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(bad); i++) {
        assert_code(CB_USAGE, cb_parse_time(bad[i], &us, &err));
        assert_true(err.hint[0] != '\0');
    }
}

static void test_agrees_with_the_c_library(void **state)
{
    test_random random = test_random_from(7);
    cb_error err = {0};

    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t seconds = (int64_t)test_random_below(&random, 253402300800);
        time_t at = (time_t)seconds;
        char wanted[CB_TIME_TEXT_MAX];
        char out[CB_TIME_TEXT_MAX];
        struct tm parts;
        cb_calendar calendar;
        int64_t back;

        gmtime_r(&at, &parts);
        strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &parts);
        assert_string_equal(cb_format_rfc3339(seconds * 1000000, out), wanted);
        assert_ok(cb_parse_time(out, &back, &err));
        assert_int_equal(back, seconds * 1000000);

        localtime_r(&at, &parts);
        cb_calendar_local(seconds * 1000000, &calendar);
        strftime(wanted, sizeof(wanted), "%G %V", &parts);
        assert_int_equal(calendar.iso_year, atoi(wanted));
        assert_int_equal(calendar.iso_week, atoi(strchr(wanted, ' ')));
        assert_int_equal(calendar.year, parts.tm_year + 1900);
        assert_int_equal(calendar.hour, parts.tm_hour);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints),
        cmocka_unit_test(test_parses),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, in_berlin, NULL);
}
