#include "fake_hooks.h"

static int64_t fake_clock(void *arg)
{
    test_hooks *hooks = arg;

    return atomic_load(&hooks->now_us);
}

static void fake_random(void *arg, void *into, size_t size)
{
    test_hooks *hooks = arg;

    pthread_mutex_lock(&hooks->lock);
    test_random_fill(&hooks->random, into, size);
    pthread_mutex_unlock(&hooks->lock);
}

static void fake_sleep(void *arg, int64_t us)
{
    test_time_pass(arg, us);
}

void test_hooks_install(test_hooks *hooks, cb_ctx *ctx, int64_t now_us, uint64_t seed)
{
    atomic_init(&hooks->now_us, now_us);
    pthread_mutex_init(&hooks->lock, NULL);
    hooks->random = test_random_from(seed);
    ctx->clock = fake_clock;
    ctx->random = fake_random;
    ctx->sleep = fake_sleep;
    ctx->hooks_arg = hooks;
}

void test_time_pass(test_hooks *hooks, int64_t us)
{
    atomic_fetch_add(&hooks->now_us, us);
}
