/*
 * The context: copied settings, events one at a time, cancel, and the hooks of tests.
 */
#include "unit.h"

#include "base/ctx.h"

#include <stdio.h>
#include <string.h>

#include "fake_hooks.h"
#include "temp.h"

typedef struct seen {
    char text[64];
    cb_event last;
    int inside, worst, count;
} seen;

static void keep(void *arg, const cb_event *event)
{
    seen *self = arg;

    self->inside++;
    if (self->inside > self->worst)
        self->worst = self->inside;
    self->last = *event;
    snprintf(self->text, sizeof(self->text), "%s", event->text);
    self->count++;
    self->inside--;
}

static void *send_many(void *arg)
{
    for (unsigned i = 0; i < 1000; i++)
        cb_event_text(arg, CB_EVENT_DEBUG, "%u", i);
    return NULL;
}

static void test_events_reach_the_sink_one_at_a_time(void **state)
{
    cb_settings settings = {.jobs = 3};
    cb_error err = {0};
    seen all = {0};
    pthread_t threads[4];
    cb_ctx *ctx;

    (void)state;
    assert_ok(cb_ctx_new(&settings, keep, &all, &ctx, &err));
    assert_int_equal(cb_jobs(ctx), 3);
    cb_event_text(ctx, CB_EVENT_WARNING, "%d of %s", 3, "them");
    assert_string_equal(all.text, "3 of them");
    assert_int_equal(all.last.kind, CB_EVENT_WARNING);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, ctx), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(all.count, 4001);
    assert_int_equal(all.worst, 1);
    cb_ctx_free(ctx);
}

static void test_progress_is_told_now_and_then(void **state)
{
    cb_error err = {0};
    seen all = {0};
    cb_ctx *ctx;

    (void)state;
    assert_ok(cb_ctx_new(&(cb_settings){0}, keep, &all, &ctx, &err));
    for (uint64_t i = 0; i < 1000; i++)
        cb_event_progress(ctx, i, 1000, 1);
    assert_true(all.count >= 1 && all.count < 10);
    assert_int_equal(all.last.total_bytes, 1000);
    all.count = 0;
    cb_event_progress(ctx, 0, 1000, 2); /* a new pass is told at once, a new phase too */
    assert_int_equal(all.count, 1);
    cb_event_text(ctx, CB_EVENT_PHASE, "confirming");
    cb_event_progress(ctx, 1, 1000, 2);
    assert_int_equal(all.count, 3);
    cb_ctx_free(ctx);
}

static void test_settings_are_copied(void **state)
{
    char address[] = "/somewhere";
    cb_settings settings = {.repository = address};
    cb_error err = {0};
    cb_ctx *ctx;

    (void)state;
    assert_ok(cb_ctx_new(&settings, NULL, NULL, &ctx, &err));
    address[1] = 'X';
    assert_string_equal(ctx->settings.repository, "/somewhere");
    assert_null(ctx->settings.region);
    assert_true(cb_jobs(ctx) >= 1);
    cb_event_text(ctx, CB_EVENT_INFO, "to nobody");
    cb_ctx_free(ctx);
    cb_ctx_free(NULL);
}

static void test_cancel_ends_a_sleep(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};

    (void)state;
    assert_ok(cb_check_cancel(ctx, &err));
    cb_cancel(ctx);
    assert_code(CB_CANCELLED, cb_check_cancel(ctx, &err));
    assert_code(CB_CANCELLED, cb_sleep_us(ctx, INT64_C(3600) * 1000000, &err));
    cb_ctx_free(ctx);
}

static void test_hooks_make_time_and_chance_repeatable(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    test_hooks hooks;
    uint8_t first[16];
    uint8_t second[16];

    (void)state;
    test_hooks_install(&hooks, ctx, 5000000, 42);
    cb_random(ctx, first, sizeof(first));
    test_hooks_install(&hooks, ctx, 5000000, 42);
    cb_random(ctx, second, sizeof(second));
    assert_memory_equal(first, second, sizeof(first));
    assert_ok(cb_sleep_us(ctx, 1234567, &err));
    assert_int_equal(cb_now_us(ctx), 6234567);
    cb_ctx_free(ctx);
}

static void test_the_real_clock_is_near_now(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    uint8_t zero[64] = {0};
    uint8_t bytes[64] = {0};
    int64_t before = cb_monotonic_us();

    (void)state;
    assert_true(cb_now_us(ctx) > INT64_C(1700000000) * 1000000);
    cb_random(ctx, bytes, sizeof(bytes));
    assert_memory_not_equal(bytes, zero, sizeof(zero));
    assert_true(cb_monotonic_us() >= before);
    cb_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_reach_the_sink_one_at_a_time),
        cmocka_unit_test(test_progress_is_told_now_and_then),
        cmocka_unit_test(test_settings_are_copied),
        cmocka_unit_test(test_cancel_ends_a_sleep),
        cmocka_unit_test(test_hooks_make_time_and_chance_repeatable),
        cmocka_unit_test(test_the_real_clock_is_near_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
