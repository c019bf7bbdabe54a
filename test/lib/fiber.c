#include "fiber.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)

struct test_fiber {
    pthread_t thread;
    sem_t go, turn_over;
    void (*run)(void *arg);
    void *arg;
};

static void *begin(void *arg)
{
    test_fiber *fiber = arg;

    sem_wait(&fiber->go);
    fiber->run(fiber->arg);
    sem_post(&fiber->turn_over);
    return NULL;
}

test_fiber *test_fiber_new(void (*run)(void *arg), void *arg)
{
    test_fiber *fiber = calloc(1, sizeof(*fiber));

    if (fiber == NULL)
        exit(99);
    fiber->run = run;
    fiber->arg = arg;
    sem_init(&fiber->go, 0, 0);
    sem_init(&fiber->turn_over, 0, 0);
    if (pthread_create(&fiber->thread, NULL, begin, fiber) != 0) {
        fputs("no thread for a fiber\n", stderr);
        exit(99);
    }
    return fiber;
}

void test_fiber_run(test_fiber *fiber)
{
    sem_post(&fiber->go);
    sem_wait(&fiber->turn_over);
}

void test_fiber_pause(test_fiber *fiber)
{
    sem_post(&fiber->turn_over);
    sem_wait(&fiber->go);
}

void test_fiber_free(test_fiber *fiber)
{
    pthread_join(fiber->thread, NULL);
    sem_destroy(&fiber->go);
    sem_destroy(&fiber->turn_over);
    free(fiber);
}

#else

enum { STACK_BYTES = 512 << 10 };

struct test_fiber {
    ucontext_t own, caller;
    void (*run)(void *arg);
    void *arg;
    uint8_t *stack;
};

/* makecontext hands over ints alone: the pointer comes in two. */
static void begin(unsigned high, unsigned low)
{
    test_fiber *fiber = (test_fiber *)((uintptr_t)high << 32 | low);

    fiber->run(fiber->arg);
}

test_fiber *test_fiber_new(void (*run)(void *arg), void *arg)
{
    test_fiber *fiber = calloc(1, sizeof(*fiber));

    if (fiber == NULL || (fiber->stack = malloc(STACK_BYTES)) == NULL ||
        getcontext(&fiber->own) != 0) {
        fputs("no stack for a fiber\n", stderr);
        exit(99);
    }
    fiber->run = run;
    fiber->arg = arg;
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = STACK_BYTES;
    fiber->own.uc_link = &fiber->caller;
    makecontext(&fiber->own, (void (*)(void))begin, 2, (unsigned)((uintptr_t)fiber >> 32),
                (unsigned)(uintptr_t)fiber);
    return fiber;
}

void test_fiber_run(test_fiber *fiber)
{
    swapcontext(&fiber->caller, &fiber->own);
}

void test_fiber_pause(test_fiber *fiber)
{
    swapcontext(&fiber->own, &fiber->caller);
}

void test_fiber_free(test_fiber *fiber)
{
    free(fiber->stack);
    free(fiber);
}

#endif
