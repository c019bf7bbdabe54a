/*
 * fake_hooks.h - clock, chance and sleep of a context, as a test wants them: time stands still
 * but for sleeping and test_time_pass, and random bytes come from a seed. Any thread.
 */
#ifndef CB_TEST_FAKE_HOOKS_H
#define CB_TEST_FAKE_HOOKS_H

#include "base/ctx.h"

#include "random.h"

typedef struct test_hooks {
    atomic_llong now_us;
    pthread_mutex_t lock; /* guards `random` */
    test_random random;
} test_hooks;

/* Put them into `ctx`; `hooks` must outlive it. */
void test_hooks_install(test_hooks *hooks, cb_ctx *ctx, int64_t now_us, uint64_t seed);
void test_time_pass(test_hooks *hooks, int64_t us);

#endif
