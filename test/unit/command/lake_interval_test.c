/*
 * Intervals as DuckDB's users set them.
 */
#include "unit.h"

#include "command/lake_internal.h"

#define SECOND ((int64_t)1000000)
#define DAY    (86400 * SECOND)

static void check(const char *text, int64_t wanted)
{
    int64_t us = -1;

    if (!cb_lake_interval_parse(text, &us))
        fail_msg("'%s' is not understood", text);
    assert_int_equal(us, wanted);
}

static void refuse(const char *text)
{
    int64_t us;

    if (cb_lake_interval_parse(text, &us))
        fail_msg("'%s' is taken for an interval", text);
}

static void test_intervals(void **state)
{
    (void)state;
    check("2 days", 2 * DAY);
    check("7d", 7 * DAY);
    check(" 1 week 12 hours ", 7 * DAY + DAY / 2);
    check("1 Month", 30 * DAY);
    check("1 year", 365 * DAY);
    check("36h", 36 * 3600 * SECOND);
    check("90 minutes 5s", 5405 * SECOND);
    check("00:00:30", 30 * SECOND);
    check("1 month 2 days 03:04", 32 * DAY + 11040 * SECOND);
    check("5 ms", 5000);
    check("0 seconds", 0);
}

static void test_what_is_none(void **state)
{
    (void)state;
    refuse("");
    refuse("  ");
    refuse("7");
    refuse("days");
    refuse("7 parsecs");
    refuse("7 da ys");
    refuse("-1 day");
    refuse("1.5 days");
    refuse("1:60");
    refuse("99999999999999999999 days");
    refuse("1000000000 decades");
    refuse("7 dayssssssssssssssssssssssssssss");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
