/*
 * Reading ahead over a store that counts: requests, what is right in every order, several threads,
 * errors, objects that end too soon.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "count_store.h"
#include "random.h"
#include "temp.h"

#include "storage/readahead.h"

enum { OBJECT = 32 << 20, CHUNK = 200 << 10, OBJECTS = 3 };

typedef struct place {
    cb_ctx *ctx;
    cb_store *memory, *store;
    cb_count count;
    uint8_t *content[OBJECTS];
    atomic_uint fail_from, calls; /* calls that fail: fail_from .. fail_to */
    unsigned fail_to;
} place;

static const char *const keys[OBJECTS] = {"pack/a", "pack/b", "pack/c"};

static cb_code maybe_fail(void *arg, const char *key, uint64_t offset, uint64_t length,
                          cb_error *err)
{
    place *p = arg;
    unsigned call = atomic_fetch_add(&p->calls, 1) + 1;

    (void)key;
    (void)offset;
    (void)length;
    if (p->fail_from != 0 && call >= p->fail_from && call <= p->fail_to)
        return cb_fail(err, CB_RETRY, "the store is away");
    return CB_OK;
}

static int set_up(void **state)
{
    place *p = calloc(1, sizeof(*p));
    test_random random = test_random_from(7);
    cb_error err = {0};

    p->ctx = test_ctx_new();
    p->count.is_remote = true;
    p->count.before_get = maybe_fail;
    p->count.arg = p;
    assert_ok(cb_memory_store_new(p->ctx, &p->memory, &err));
    for (size_t i = 0; i < OBJECTS; i++) {
        p->content[i] = malloc(OBJECT);
        test_random_fill(&random, p->content[i], OBJECT);
        assert_ok(cb_store_put_bytes(p->memory, keys[i], CB_PUT_NEW,
                                     cb_bytes_of(p->content[i], OBJECT), &err));
    }
    p->store = cb_count_store_new(p->memory, &p->count);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    place *p = *state;

    cb_store_close(p->store);
    cb_store_close(p->memory);
    for (size_t i = 0; i < OBJECTS; i++)
        free(p->content[i]);
    cb_ctx_free(p->ctx);
    free(p);
    return 0;
}

static cb_readahead *begin(place *p, unsigned threads)
{
    cb_readahead_limits limits = {.threads = threads};
    cb_readahead *ra;
    cb_error err = {0};

    assert_ok(cb_readahead_new(p->store, &limits, &ra, &err));
    cb_count_reset(&p->count);
    return ra;
}

static void read_one(place *p, cb_readahead *ra, size_t object, uint64_t offset, uint64_t length)
{
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    uint64_t there = offset < OBJECT ? OBJECT - offset : 0;
    cb_error err = {0};

    assert_ok(cb_readahead_get(ra, keys[object], 0, offset, length, &got, &err));
    assert_int_equal(got.size, length < there ? length : there);
    if (got.size > 0)
        assert_memory_equal(got.data, p->content[object] + offset, got.size);
}

static void test_in_order(void **state)
{
    place *p = *state;

    for (unsigned threads = 0; threads <= 4; threads += 4) {
        cb_readahead *ra = begin(p, threads);

        for (size_t object = 0; object < OBJECTS; object++)
            for (uint64_t at = 64; at < OBJECT; at += CHUNK)
                read_one(p, ra, object, at, CHUNK);
        cb_readahead_free(ra);
        assert_in_range(p->count.gets, 12, 24); /* 480 chunks */
        assert_true(p->count.got_bytes <= (uint64_t)OBJECTS * OBJECT);
        if (threads > 0)
            assert_in_range(p->count.most, 1, 5);
    }
}

/* Anywhere, any length, over the end. */
static void test_scattered(void **state)
{
    place *p = *state;
    test_random random = test_random_from(3);
    cb_readahead *ra = begin(p, 4);

    for (unsigned i = 0; i < 600; i++)
        read_one(p, ra, (size_t)test_random_below(&random, OBJECTS),
                 test_random_below(&random, OBJECT + 1000),
                 1 + test_random_below(&random, 1 << 18));
    cb_readahead_free(ra);
}

static void test_exact(void **state)
{
    place *p = *state;
    cb_readahead *ra = begin(p, 4);

    read_one(p, ra, 0, 20 << 20, CHUNK);
    read_one(p, ra, 1, 5 << 20, CHUNK);
    read_one(p, ra, 2, 64, CHUNK);
    read_one(p, ra, 0, 1 << 20, CHUNK);
    read_one(p, ra, 1, 25 << 20, CHUNK);
    cb_readahead_free(ra);
    assert_int_equal(p->count.gets, 5);
    assert_int_equal(p->count.got_bytes, 5 * CHUNK);
}

typedef struct reader {
    place *p;
    cb_readahead *ra;
    atomic_uint *next;
    pthread_t thread;
} reader;

static void *read_shared(void *arg)
{
    reader *self = arg;
    unsigned per_object = OBJECT / CHUNK;

    for (;;) {
        unsigned number = atomic_fetch_add(self->next, 1);

        if (number >= OBJECTS * per_object)
            return NULL;
        read_one(self->p, self->ra, number / per_object, (uint64_t)(number % per_object) * CHUNK,
                 CHUNK);
    }
}

static void test_many_threads(void **state)
{
    place *p = *state;
    cb_readahead *ra = begin(p, 3);
    atomic_uint next = 0;
    reader readers[16];

    p->count.latency_us = 2000;
    for (size_t i = 0; i < CB_LENGTH(readers); i++) {
        readers[i] = (reader){p, ra, &next, 0};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_shared, &readers[i]), 0);
    }
    for (size_t i = 0; i < CB_LENGTH(readers); i++)
        pthread_join(readers[i].thread, NULL);
    cb_readahead_free(ra);
    assert_in_range(p->count.gets, 12, 60);
    assert_true(p->count.most >= 2); /* windows ahead are fetched beside */
    assert_true(p->count.got_bytes < (uint64_t)OBJECTS * OBJECT * 11 / 10);
}

static void *read_same(void *arg)
{
    reader *self = arg;

    read_one(self->p, self->ra, 0, 4 << 20, CHUNK);
    return NULL;
}

/* One is on its way: the others wait for it. */
static void test_single_flight(void **state)
{
    place *p = *state;
    cb_readahead *ra = begin(p, 0);
    reader readers[8];

    p->count.latency_us = 50000;
    for (size_t i = 0; i < CB_LENGTH(readers); i++) {
        readers[i] = (reader){p, ra, NULL, 0};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_same, &readers[i]), 0);
    }
    for (size_t i = 0; i < CB_LENGTH(readers); i++)
        pthread_join(readers[i].thread, NULL);
    cb_readahead_free(ra);
    assert_int_equal(p->count.gets, 1);
}

/* A guess that fails is asked for again by who needs it; a store that is away is told of. */
static void test_errors(void **state)
{
    place *p = *state;

    for (unsigned fail = 1; fail < 8; fail++) {
        cb_readahead *ra = begin(p, fail % 2 * 3);

        p->fail_from = p->fail_to = fail;
        p->calls = 0;
        for (uint64_t at = 0; at < OBJECT / 2; at += CHUNK)
            read_one(p, ra, 0, at, CHUNK);
        cb_readahead_free(ra);
    }
    {
        CB_CLEANUP(cb_buf_free) cb_buf got = {0};
        cb_readahead *ra = begin(p, 3);
        cb_error err = {0};

        p->fail_from = 1;
        p->fail_to = UINT32_MAX;
        assert_code(CB_RETRY, cb_readahead_get(ra, keys[0], 0, 0, CHUNK, &got, &err));
        assert_int_equal(got.size, 0);
        p->fail_from = 0;
        read_one(p, ra, 0, 0, CHUNK);
        assert_code(CB_NOT_FOUND, cb_readahead_get(ra, "pack/none", 0, 0, CHUNK, &got, &err));
        assert_int_equal(got.size, 0);
        cb_readahead_free(ra);
    }
}

/* It is thought to be larger, or smaller, than it is. */
static void test_short_object(void **state)
{
    place *p = *state;
    uint64_t thought[] = {OBJECT * 2, OBJECT / 2, OBJECT - 10, 1};

    for (size_t i = 0; i < CB_LENGTH(thought); i++) {
        cb_readahead *ra = begin(p, 3);

        for (uint64_t at = OBJECT / 2; at < OBJECT + 3 * CHUNK; at += CHUNK) {
            CB_CLEANUP(cb_buf_free) cb_buf got = {0};
            uint64_t there = at < OBJECT ? OBJECT - at : 0;
            cb_error err = {0};

            assert_ok(cb_readahead_get(ra, keys[1], thought[i], at, CHUNK, &got, &err));
            assert_int_equal(got.size, there < CHUNK ? there : CHUNK);
            if (got.size > 0)
                assert_memory_equal(got.data, p->content[1] + at, got.size);
        }
        cb_readahead_free(ra);
    }
}

/* Little memory: right all the same. */
static void test_little_memory(void **state)
{
    place *p = *state;
    cb_readahead_limits limits = {.threads = 2, .memory_bytes = 1 << 20};
    test_random random = test_random_from(11);
    cb_readahead *ra;
    cb_error err = {0};

    assert_ok(cb_readahead_new(p->store, &limits, &ra, &err));
    for (uint64_t at = 0; at < OBJECT; at += CHUNK) {
        read_one(p, ra, 0, at, CHUNK);
        if (test_random_below(&random, 3) == 0)
            read_one(p, ra, 1, test_random_below(&random, OBJECT), 3 << 20);
    }
    cb_readahead_free(ra);
}

/* Pieces of all objects in order, but neighbours change places here and there. */
static size_t expect_all(cb_expected *out, size_t count, test_random *random)
{
    for (size_t i = 0; i < count; i++) {
        size_t per_object = OBJECT / CHUNK;

        snprintf(out[i].key, sizeof(out[i].key), "%s", keys[i / per_object]);
        out[i].offset = (uint64_t)(i % per_object) * CHUNK;
        out[i].length = CHUNK;
    }
    for (size_t i = 3; i < count; i++) {
        size_t other = i - (size_t)test_random_below(random, 4);
        cb_expected one = out[i];

        out[i] = out[other];
        out[other] = one;
    }
    return count;
}

typedef struct expecting {
    place *p;
    cb_readahead *ra;
    const cb_expected *pieces;
    size_t count;
    atomic_uint *next;
    pthread_t thread;
} expecting;

static void *read_expected(void *arg)
{
    expecting *self = arg;

    for (;;) {
        unsigned i = atomic_fetch_add(self->next, 1);
        size_t object = 0;

        if (i >= self->count)
            return NULL;
        while (strcmp(keys[object], self->pieces[i].key) != 0)
            object++;
        read_one(self->p, self->ra, object, self->pieces[i].offset, CHUNK);
    }
}

/* Few requests, and nothing twice: each range is fetched once, by whoever comes first. */
static void test_expected(void **state)
{
    enum { COUNT = OBJECTS * (OBJECT / CHUNK), BATCH = 120 };
    place *p = *state;
    test_random random = test_random_from(5);
    cb_expected *pieces = calloc(COUNT, sizeof(*pieces));
    cb_readahead *ra = begin(p, 4);
    expecting readers[3];
    atomic_uint next = 0;

    expect_all(pieces, COUNT, &random);
    p->count.latency_us = 2000;
    for (size_t at = 0; at < COUNT; at += BATCH)
        cb_readahead_expect(ra, &pieces[at], COUNT - at < BATCH ? COUNT - at : BATCH);
    for (size_t i = 0; i < CB_LENGTH(readers); i++) {
        readers[i] = (expecting){p, ra, pieces, COUNT, &next, 0};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_expected, &readers[i]), 0);
    }
    for (size_t i = 0; i < CB_LENGTH(readers); i++)
        pthread_join(readers[i].thread, NULL);
    cb_readahead_free(ra);
    free(pieces);
    assert_in_range(p->count.gets, 12, 48);
    assert_true(p->count.most >= 2);
    assert_true(p->count.got_bytes < (uint64_t)OBJECTS * OBJECT * 12 / 10);
}

/* What is expected and never read does not stand in the way, nor what is read twice, nor a store
   that is away for a while, nor that there is hardly room. */
static void test_expected_in_vain(void **state)
{
    enum { COUNT = OBJECT / CHUNK };
    place *p = *state;
    test_random random = test_random_from(6);
    cb_expected *pieces = calloc(COUNT, sizeof(*pieces));

    for (unsigned way = 0; way < 6; way++) {
        cb_readahead_limits limits = {.threads = way % 3 * 2,
                                      .memory_bytes = way % 2 == 0 ? 9 << 20 : 0};
        cb_readahead *ra;
        cb_error err = {0};

        assert_ok(cb_readahead_new(p->store, &limits, &ra, &err));
        p->calls = 0;
        p->fail_from = way;
        p->fail_to = 3;
        expect_all(pieces, COUNT, &random);
        cb_readahead_expect(ra, pieces, COUNT);
        cb_readahead_expect(ra, pieces, COUNT); /* twice */
        for (size_t i = 0; i < COUNT; i += 1 + (size_t)test_random_below(&random, 3)) {
            cb_buf got = {0};

            if (cb_readahead_get(ra, keys[0], OBJECT, pieces[i].offset, CHUNK, &got, &err) != CB_OK)
                cb_error_clear(&err);
            else
                assert_memory_equal(got.data, p->content[0] + pieces[i].offset, CHUNK);
            cb_buf_free(&got);
        }
        p->fail_from = 0;
        for (uint64_t at = 0; at < OBJECT; at += CHUNK)
            read_one(p, ra, 1, at, CHUNK);
        cb_readahead_free(ra);
    }
    free(pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scattered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_single_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_little_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expected_in_vain, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
