#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

test_random test_random_from(uint64_t seed)
{
    test_random random = {seed * UINT64_C(0x9e3779b97f4a7c15) + 1};

    if (random.state == 0)
        random.state = 1;
    return random;
}

test_random test_random_seeded(void)
{
    const char *text = getenv("CB_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;

    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    return test_random_from(seed);
}

uint64_t test_random_u64(test_random *random)
{
    uint64_t x = random->state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t test_random_below(test_random *random, uint64_t limit)
{
    return test_random_u64(random) % limit;
}

void test_random_fill(test_random *random, void *into, size_t size)
{
    uint8_t *at = into;

    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(test_random_u64(random) >> 32);
}

void test_random_content(test_random *random, uint8_t *into, size_t size)
{
    size_t done = 0;

    while (done < size) {
        size_t length = 1 + (size_t)test_random_below(random, 4096);
        uint64_t shape = test_random_below(random, 4);

        if (length > size - done)
            length = size - done;
        if (shape == 0)
            test_random_fill(random, into + done, length);
        else if (shape == 1)
            memset(into + done, (int)test_random_below(random, 256), length);
        else if (done >= length)
            memcpy(into + done, into + test_random_below(random, done - length + 1), length);
        else
            memset(into + done, 0, length);
        done += length;
    }
}
