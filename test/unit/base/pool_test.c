/*
 * The worker pool: every job once, drain is a barrier, the first error wins.
 */
#include "unit.h"

#include "base/pool.h"

#include <stdatomic.h>
#include <time.h>

enum { JOBS = 500 };

typedef struct tally {
    atomic_int done[JOBS];
    atomic_int total;
    int fail_at; /* -1: none */
    long pause_ns;
} tally;

static cb_code count(void *arg, unsigned worker, void *job, cb_error *err)
{
    tally *self = arg;
    int number = *(int *)job;
    struct timespec pause = {.tv_nsec = self->pause_ns};

    assert_true(worker < 3);
    nanosleep(&pause, NULL);
    if (number == self->fail_at)
        return cb_fail(err, CB_CORRUPT, "job %d", number);
    atomic_fetch_add(&self->done[number], 1);
    atomic_fetch_add(&self->total, 1);
    return CB_OK;
}

static void test_every_job_runs_once(void **state)
{
    static tally all;
    cb_error err = {0};
    cb_pool *pool;

    (void)state;
    all = (tally){.fail_at = -1, .pause_ns = 1000};
    assert_ok(cb_pool_new(3, 4, sizeof(int), count, &all, &pool, &err));
    for (int i = 0; i < JOBS; i++) {
        assert_ok(cb_pool_submit(pool, &i, &err));
        if (i % 100 == 99) {
            assert_ok(cb_pool_drain(pool, &err));
            assert_int_equal(atomic_load(&all.total), i + 1);
        }
    }
    cb_pool_free(pool);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(atomic_load(&all.done[i]), 1);
}

static void test_the_first_error_wins_and_stays(void **state)
{
    static tally all;
    cb_error err = {0};
    cb_pool *pool;
    cb_code code = CB_OK;
    int submitted = 0;

    (void)state;
    all = (tally){.fail_at = 20, .pause_ns = 20000};
    assert_ok(cb_pool_new(3, 8, sizeof(int), count, &all, &pool, &err));
    for (int i = 0; i < JOBS && code == CB_OK; i++, submitted++)
        code = cb_pool_submit(pool, &i, &err);
    assert_int_equal(code, CB_CORRUPT);
    assert_string_equal(err.message, "job 20");
    cb_error_clear(&err);
    assert_code(CB_CORRUPT, cb_pool_drain(pool, &err));
    assert_string_equal(err.message, "job 20");
    assert_true(submitted < 60);
    assert_true(atomic_load(&all.total) < 60);
    cb_pool_free(pool);
}

static void test_an_error_drops_what_waits(void **state)
{
    static tally all;
    cb_error err = {0};
    cb_pool *pool;
    cb_code code = CB_OK;

    (void)state;
    all = (tally){.fail_at = 0, .pause_ns = 20000000};
    assert_ok(cb_pool_new(1, JOBS, sizeof(int), count, &all, &pool, &err));
    for (int i = 0; i < JOBS && code == CB_OK; i++)
        code = cb_pool_submit(pool, &i, &err);
    assert_code(CB_CORRUPT, cb_pool_drain(pool, &err));
    assert_int_equal(atomic_load(&all.total), 0);
    cb_pool_free(pool);
}

static void test_free_drops_what_waits(void **state)
{
    static tally all;
    cb_error err = {0};
    cb_pool *pool;

    (void)state;
    all = (tally){.fail_at = -1, .pause_ns = 50000000};
    assert_ok(cb_pool_new(1, 100, sizeof(int), count, &all, &pool, &err));
    for (int i = 0; i < 100; i++)
        assert_ok(cb_pool_submit(pool, &i, &err));
    cb_pool_free(pool);
    assert_true(atomic_load(&all.total) < 5);
    cb_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_runs_once),
        cmocka_unit_test(test_the_first_error_wins_and_stays),
        cmocka_unit_test(test_an_error_drops_what_waits),
        cmocka_unit_test(test_free_drops_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
