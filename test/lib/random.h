/*
 * random.h - a seeded generator (xorshift64*), so that a failing test fails again.
 */
#ifndef CB_TEST_RANDOM_H
#define CB_TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_random {
    uint64_t state; /* never 0 */
} test_random;

/* From CB_TEST_SEED, else 1; printed, so that a failure names its seed. */
test_random test_random_seeded(void);
test_random test_random_from(uint64_t seed);

uint64_t test_random_u64(test_random *random);
uint64_t test_random_below(test_random *random, uint64_t limit); /* 0 .. limit - 1 */
void test_random_fill(test_random *random, void *into, size_t size);
/* Bytes that look like a database's: runs, repeated records, noise. */
void test_random_content(test_random *random, uint8_t *into, size_t size);

#endif
