/*
 * Retention over one name: each rule alone, rules together, local days, and what no rule may
 * remove. The zone is Europe/Berlin (set by the build file), so that a local day is not a UTC day.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "command/command_internal.h"

enum { CANDIDATES_MAX = 400 };

typedef struct history {
    cb_candidate backups[CANDIDATES_MAX];
    size_t count;
    cb_arena arena;
} history;

static void add(history *h, const char *point)
{
    cb_error err = {0};
    cb_candidate *c = &h->backups[h->count++];

    assert_int_equal(cb_parse_time(point, &c->point_us, &err), CB_OK);
    c->is_good = true;
}

static void decide(history *h, const cb_expire_request *rules)
{
    cb_error err = {0};

    assert_int_equal(cb_retention(rules, h->backups, h->count, &h->arena, &err), CB_OK);
}

/* The kept ones as a string of '+' and '-', oldest first. */
static const char *kept(const history *h, char *text)
{
    for (size_t i = 0; i < h->count; i++)
        text[i] = h->backups[i].keep ? '+' : '-';
    text[h->count] = '\0';
    return text;
}

static void last_counts_from_the_newest(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    for (int day = 1; day <= 5; day++) {
        char point[32];

        snprintf(point, sizeof(point), "2026-03-%02d 12:00:00Z", day);
        add(&h, point);
    }
    decide(&h, &(cb_expire_request){.keep_last = 2});
    assert_string_equal(kept(&h, text), "---++");
    assert_string_equal(h.backups[4].why, "last 1");
    cb_arena_free(&h.arena);
}

static void a_day_is_a_local_day(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2026-01-10 22:30:00Z"); /* 23:30 on the 10th */
    add(&h, "2026-01-10 23:30:00Z"); /* 00:30 on the 11th, the same day in UTC */
    add(&h, "2026-01-11 10:00:00Z");
    decide(&h, &(cb_expire_request){.keep_daily = 2});
    assert_string_equal(kept(&h, text), "+-+");
    assert_string_equal(h.backups[0].why, "daily 2026-01-10");
    assert_string_equal(h.backups[2].why, "daily 2026-01-11");
    cb_arena_free(&h.arena);
}

static void periods_without_backups_do_not_count(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2025-02-01 12:00:00");
    add(&h, "2026-05-01 12:00:00");
    add(&h, "2026-11-20 12:00:00");
    decide(&h, &(cb_expire_request){.keep_monthly = 2, .keep_yearly = 2});
    assert_string_equal(kept(&h, text), "+++");
    assert_string_equal(h.backups[0].why, "yearly 2025");
    assert_string_equal(h.backups[1].why, "monthly 2026-05");
    assert_string_equal(h.backups[2].why, "monthly 2026-11, yearly 2026");
    cb_arena_free(&h.arena);
}

static void weeks_are_iso_weeks(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2025-12-28 12:00:00"); /* Sunday of 2025-W52 */
    add(&h, "2025-12-31 12:00:00"); /* 2026-W01 */
    add(&h, "2026-01-02 12:00:00"); /* 2026-W01 */
    decide(&h, &(cb_expire_request){.keep_weekly = 2});
    assert_string_equal(kept(&h, text), "+-+");
    assert_string_equal(h.backups[2].why, "weekly 2026-W01");
    cb_arena_free(&h.arena);
}

static void hourly_keeps_the_last_of_each_hour(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2026-03-01 10:05:00");
    add(&h, "2026-03-01 10:55:00");
    add(&h, "2026-03-01 11:05:00");
    add(&h, "2026-03-01 11:06:00");
    decide(&h, &(cb_expire_request){.keep_hourly = 2});
    assert_string_equal(kept(&h, text), "-+-+");
    cb_arena_free(&h.arena);
}

static void within_counts_back_from_the_newest_backup(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2020-01-01 00:00:00Z");
    add(&h, "2020-01-08 00:00:00Z");
    add(&h, "2020-01-09 00:00:00Z");
    decide(&h, &(cb_expire_request){.keep_within_us = INT64_C(86400) * 1000000});
    assert_string_equal(kept(&h, text), "-++");
    cb_arena_free(&h.arena);
}

static void the_newest_good_backup_always_stays(void **state)
{
    history h = {0};
    char text[CANDIDATES_MAX + 1];

    (void)state;
    add(&h, "2026-03-01 10:00:00");
    add(&h, "2026-03-02 10:00:00");
    add(&h, "2026-03-03 10:00:00");
    h.backups[1].is_good = false;
    h.backups[2].is_good = false;
    decide(&h, &(cb_expire_request){.keep_last = 1});
    assert_string_equal(kept(&h, text), "+-+");
    assert_string_equal(h.backups[0].why, "newest good backup");
    cb_arena_free(&h.arena);
}

/* Whatever the rules, what they keep of a longer list is never less than one. */
static void something_always_stays(void **state)
{
    unsigned seed = 20261121;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        history h = {0};
        int64_t point = INT64_C(1700000000) * 1000000;
        size_t left = 0;
        cb_expire_request rules = {
            .keep_last = rand_r(&seed) % 3,
            .keep_hourly = rand_r(&seed) % 3,
            .keep_daily = rand_r(&seed) % 3,
            .keep_weekly = rand_r(&seed) % 3,
        };

        h.count = (size_t)(1 + rand_r(&seed) % 30);
        for (size_t i = 0; i < h.count; i++) {
            point += (int64_t)(rand_r(&seed) % 100000) * 1000000;
            h.backups[i].point_us = point;
            h.backups[i].is_good = rand_r(&seed) % 4 != 0;
        }
        decide(&h, &rules);
        for (size_t i = 0; i < h.count; i++)
            left += h.backups[i].keep;
        assert_true(left >= 1);
        cb_arena_free(&h.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_counts_from_the_newest),
        cmocka_unit_test(a_day_is_a_local_day),
        cmocka_unit_test(periods_without_backups_do_not_count),
        cmocka_unit_test(weeks_are_iso_weeks),
        cmocka_unit_test(hourly_keeps_the_last_of_each_hour),
        cmocka_unit_test(within_counts_back_from_the_newest_backup),
        cmocka_unit_test(the_newest_good_backup_always_stays),
        cmocka_unit_test(something_always_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
