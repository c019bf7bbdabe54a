/*
 * fiber.h - functions that take turns: each runs until it pauses or ends, on a stack of its own.
 *
 * On threads where a sanitizer watches stacks, else on ucontext, which is ten times as fast.
 */
#ifndef CB_TEST_FIBER_H
#define CB_TEST_FIBER_H

typedef struct test_fiber test_fiber;

/* Does not run before test_fiber_run. Exits the test on failure. */
test_fiber *test_fiber_new(void (*run)(void *arg), void *arg);
/* Let it go on until it pauses or has ended. */
void test_fiber_run(test_fiber *fiber);
/* Called by the fiber itself. */
void test_fiber_pause(test_fiber *fiber);
void test_fiber_free(test_fiber *fiber); /* of one that has ended */

#endif
