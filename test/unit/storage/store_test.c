/*
 * What every store must do: the same tests over each kind, and over the fault store at rest.
 *
 * Object stores take part where CB_TEST_S3, CB_TEST_GS or CB_TEST_AZ gives the address of a place
 * in one; each test has a prefix of its own there.
 */
#include "unit.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/checksum.h"
#include "storage/place.h"
#include "storage/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_store.h"
#include "temp.h"

typedef struct place {
    char folder[256];
    cb_ctx *ctx;
    cb_store *inner;
    cb_store *store;
    cb_fault fault;
} place;

static place *place_new(void)
{
    place *here = calloc(1, sizeof(*here));

    here->ctx = test_ctx_new();
    test_temp_make(here->folder);
    return here;
}

static int set_up_file(void **state)
{
    place *here = place_new();
    cb_error err = {0};

    *state = here;
    return cb_file_store_open(here->ctx, here->folder, false, &here->store, &err);
}

static int set_up_memory(void **state)
{
    place *here = place_new();
    cb_error err = {0};

    *state = here;
    return cb_memory_store_new(here->ctx, &here->store, &err);
}

static int set_up_fault(void **state)
{
    place *here = place_new();
    cb_error err = {0};

    *state = here;
    if (cb_file_store_open(here->ctx, here->folder, false, &here->inner, &err) != CB_OK)
        return -1;
    here->store = cb_fault_store_new(here->inner, &here->fault);
    return 0;
}

/* "s3://bucket/tests?x=y" gives "s3://bucket/tests/<random>?x=y". */
static int set_up_remote(void **state, const char *variable)
{
    place *here = place_new();
    const char *address = getenv(variable);
    size_t size = strcspn(address, "?");
    char own[CB_PLACE_TEXT_MAX];
    uint8_t chance[8];
    char name[17];
    cb_error err = {0};

    *state = here;
    cb_random(here->ctx, chance, sizeof(chance));
    cb_hex(chance, sizeof(chance), name);
    snprintf(own, sizeof(own), "%.*s/%s%s", (int)size, address, name, address + size);
    if (cb_store_open(here->ctx, own, false, &here->store, &err) == CB_OK)
        return 0;
    print_error("%s: %s\n", cb_code_name(err.code), err.message);
    return -1;
}

static int set_up_s3(void **state)
{
    return set_up_remote(state, "CB_TEST_S3");
}

static int set_up_gs(void **state)
{
    return set_up_remote(state, "CB_TEST_GS");
}

static int set_up_az(void **state)
{
    return set_up_remote(state, "CB_TEST_AZ");
}

static bool is_remote(cb_store *store)
{
    cb_store_facts facts;

    cb_store_facts_of(store, &facts);
    return facts.is_remote;
}

static int tear_down(void **state)
{
    place *here = *state;

    cb_store_close(here->store);
    cb_store_close(here->inner);
    cb_ctx_free(here->ctx);
    test_temp_remove(here->folder);
    free(here);
    return 0;
}

static cb_code put(cb_store *store, const char *key, cb_put_mode mode, const char *text,
                   cb_error *err)
{
    return cb_store_put_bytes(store, key, mode, cb_bytes_of(text, strlen(text)), err);
}

static void assert_object(cb_store *store, const char *key, const char *text)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cb_error err = {0};

    assert_ok(cb_store_get(store, key, 0, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, strlen(text));
    if (into.size > 0)
        assert_memory_equal(into.data, text, into.size);
}

static cb_code add_key(void *arg, const cb_object *object, cb_error *err)
{
    return cb_buf_format(arg, err, "%s=%llu ", object->key, (unsigned long long)object->size_bytes);
}

static void assert_listing(cb_store *store, const char *prefix, const char *wanted)
{
    CB_CLEANUP(cb_buf_free) cb_buf keys = {0};
    cb_error err = {0};

    assert_ok(cb_store_list(store, prefix, add_key, &keys, &err));
    assert_ok(cb_buf_u8(&keys, 0, &err));
    assert_string_equal((char *)keys.data, wanted);
}

static void test_puts_and_gets(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};

    assert_ok(put(store, "a/b/c", CB_PUT_NEW, "first", &err));
    assert_object(store, "a/b/c", "first");
    assert_code(CB_EXISTS, put(store, "a/b/c", CB_PUT_NEW, "second", &err));
    assert_object(store, "a/b/c", "first");
    assert_ok(put(store, "a/b/c", CB_PUT_REPLACE, "third", &err));
    assert_object(store, "a/b/c", "third");
    assert_ok(put(store, "empty", CB_PUT_REPLACE, "", &err));
    assert_object(store, "empty", "");
    assert_listing(store, "", "a/b/c=5 empty=0 ");
}

static void test_gets_ranges(void **state)
{
    cb_store *store = ((place *)*state)->store;
    CB_CLEANUP(cb_buf_free) cb_buf into = {.limit = 8};
    cb_error err = {0};

    assert_ok(put(store, "x", CB_PUT_NEW, "0123456789", &err));
    assert_ok(cb_store_get(store, "x", 2, 3, &into, &err));
    assert_ok(cb_store_get(store, "x", 8, 100, &into, &err));
    assert_ok(cb_store_get(store, "x", 10, 1, &into, &err));
    assert_ok(cb_store_get(store, "x", UINT64_MAX, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, 5);
    assert_memory_equal(into.data, "23489", 5);
    assert_code(CB_TOO_LARGE, cb_store_get(store, "x", 0, 4, &into, &err));
    assert_int_equal(into.size, 5);
    assert_code(CB_NOT_FOUND, cb_store_get(store, "y", 0, 4, &into, &err));
    assert_code(CB_NOT_FOUND, cb_store_get(store, "none/y", 0, 4, &into, &err));
    assert_code(CB_NOT_FOUND, cb_store_get(store, "x/y", 0, 4, &into, &err));
    assert_int_equal(into.size, 5);
}

static void test_nothing_is_there_before_the_commit(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};
    cb_writer *writer;

    assert_ok(cb_store_put(store, "k", CB_PUT_NEW, &writer, &err));
    assert_ok(cb_writer_write(writer, cb_bytes_of("abc", 3), &err));
    assert_listing(store, "", "");
    cb_writer_free(writer);
    assert_listing(store, "", "");

    assert_ok(cb_store_put(store, "k", CB_PUT_NEW, &writer, &err));
    assert_ok(cb_writer_write(writer, cb_bytes_of("abc", 3), &err));
    assert_ok(cb_writer_write(writer, cb_bytes_of("", 0), &err));
    assert_ok(cb_writer_write(writer, cb_bytes_of("def", 3), &err));
    assert_ok(cb_writer_commit(writer, &err));
    assert_code(CB_INTERNAL, cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    assert_object(store, "k", "abcdef");
    cb_writer_free(NULL);
}

static void test_lists_in_byte_order(void **state)
{
    static const char *const keys[] = {"a/x", "a-b", "a.c", "a0",      "b/c/d", "b/c-d",
                                       "A",   "a~",  "a_z", "b/c.d/e", "z",     "b/b"};
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};

    for (size_t i = 0; i < CB_LENGTH(keys); i++)
        assert_ok(put(store, keys[i], CB_PUT_NEW, "x", &err));
    assert_listing(store, "",
                   "A=1 a-b=1 a.c=1 a/x=1 a0=1 a_z=1 a~=1 b/b=1 b/c-d=1 b/c.d/e=1 "
                   "b/c/d=1 z=1 ");
    assert_listing(store, "a", "a-b=1 a.c=1 a/x=1 a0=1 a_z=1 a~=1 ");
    assert_listing(store, "b/", "b/b=1 b/c-d=1 b/c.d/e=1 b/c/d=1 ");
    assert_listing(store, "b/c", "b/c-d=1 b/c.d/e=1 b/c/d=1 ");
    assert_listing(store, "b/c/", "b/c/d=1 ");
    assert_listing(store, "b/c/d", "b/c/d=1 ");
    assert_listing(store, "b/c/d/", "");
    assert_listing(store, "none/", "");
    assert_listing(store, "c", "");
}

static cb_code remove_it(void *arg, const cb_object *object, cb_error *err)
{
    return cb_store_remove(arg, object->key, err);
}

static cb_code stop_at_once(void *arg, const cb_object *object, cb_error *err)
{
    ++*(int *)arg;
    return cb_fail(err, CB_CANCELLED, "%s is enough", object->key);
}

static void test_a_visitor_may_remove_and_may_stop(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};
    char key[16];
    int visits = 0;

    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "d%d/k%d", i % 3, i);
        assert_ok(put(store, key, CB_PUT_NEW, "x", &err));
    }
    assert_code(CB_CANCELLED, cb_store_list(store, "", stop_at_once, &visits, &err));
    assert_int_equal(visits, 1);
    assert_string_equal(err.message, "d0/k0 is enough");
    assert_ok(cb_store_list(store, "", remove_it, store, &err));
    assert_listing(store, "", "");
}

static void test_removes_again_and_again(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};

    assert_ok(put(store, "a/b", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_remove(store, "a/b", &err));
    assert_ok(cb_store_remove(store, "a/b", &err));
    assert_ok(cb_store_remove(store, "never/there", &err));
    assert_ok(put(store, "a/b", CB_PUT_NEW, "y", &err));
    assert_object(store, "a/b", "y");
}

static void test_refuses_bad_keys(void **state)
{
    static const char *const bad[] = {"",     "/a",   "a/",  "a//b",  ".",    "..",
                                      "a/..", "../a", "./a", "a/./b", "a\nb", "a\x7f"};
    static const char *const odd[] = {"a b", "a\\b", "a:b", "\xc3", "a%2fb"};
    cb_store *store = ((place *)*state)->store;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    char large[CB_OBJECT_KEY_MAX + 2];
    cb_store_facts facts;
    cb_error err = {0};
    cb_writer *writer;

    for (size_t i = 0; i < CB_LENGTH(bad); i++) {
        assert_false(cb_key_is_valid(bad[i]));
        assert_false(cb_key_is_plain(bad[i]));
        assert_code(CB_USAGE, cb_store_get(store, bad[i], 0, 1, &into, &err));
        assert_code(CB_USAGE, cb_store_put(store, bad[i], CB_PUT_NEW, &writer, &err));
        assert_null(writer);
        assert_code(CB_USAGE, cb_store_remove(store, bad[i], &err));
    }
    for (size_t i = 0; i < CB_LENGTH(odd); i++)
        assert_true(!cb_key_is_valid(odd[i]) && cb_key_is_plain(odd[i]));
    assert_code(CB_INTERNAL, cb_store_list(store, "../", add_key, &into, &err));
    assert_true(cb_key_is_valid("...") && cb_key_is_valid("a~1/B_2/c.-d"));
    memset(large, 'k', sizeof(large));
    for (size_t i = 200; i < sizeof(large); i += 200)
        large[i] = '/';
    large[CB_OBJECT_KEY_MAX + 1] = '\0';
    assert_false(cb_key_is_plain(large));
    assert_code(CB_USAGE, put(store, large, CB_PUT_NEW, "x", &err));
    large[CB_OBJECT_KEY_MAX] = '\0';
    assert_true(cb_key_is_plain(large));
    cb_store_facts_of(store, &facts);
    if (facts.is_remote) { /* its own prefix counts too */
        large[CB_OBJECT_KEY_MAX - 100] = '\0';
        assert_ok(put(store, large, CB_PUT_NEW, "y", &err));
        assert_object(store, large, "y");
        assert_ok(cb_store_remove(store, large, &err));
    } else {
        assert_code(CB_USAGE, put(store, large, CB_PUT_NEW, "y", &err));
    }
    large[CB_KEY_MAX + 1] = '\0';
    assert_false(cb_key_is_valid(large));
    large[CB_KEY_MAX] = '\0';
    assert_true(cb_key_is_valid(large));
    assert_ok(put(store, large, CB_PUT_NEW, "x", &err));
    assert_object(store, large, "x");
}

/* Keys of plain objects, as people name them; in byte order. */
static void test_takes_the_names_that_people_give(void **state)
{
    static const char *const keys[] = {"%2F",
                                       "a b/c  d.db",
                                       "a#b?c",
                                       "a&b=c;d+e",
                                       "it's (a) [b] {c}!*,$@^`|~",
                                       "x/\"quoted\"<&amp;>",
                                       "x/%",
                                       "\xc3\xbc/\xe6\x97\xa5\xe6\x9c\xac",
                                       "\xf0\x9f\xa6\x86.duckdb"};
    cb_store *store = ((place *)*state)->store;
    CB_CLEANUP(cb_buf_free) cb_buf wanted = {0};
    cb_error err = {0};
    uint64_t size;

    for (size_t i = 0; i < CB_LENGTH(keys); i++) {
        assert_ok(put(store, keys[i], CB_PUT_NEW, keys[i], &err));
        assert_code(CB_EXISTS, put(store, keys[i], CB_PUT_NEW, "other", &err));
        assert_object(store, keys[i], keys[i]);
        if (is_remote(store)) {
            assert_ok(cb_store_size(store, keys[i], &size, &err));
            assert_int_equal(size, strlen(keys[i]));
        }
        assert_ok(cb_buf_format(&wanted, &err, "%s=%zu ", keys[i], strlen(keys[i])));
    }
    assert_ok(cb_buf_u8(&wanted, 0, &err));
    if (is_remote(store))
        assert_listing(store, "", (char *)wanted.data);
    assert_ok(cb_store_remove_many(store, keys, CB_LENGTH(keys), &err));
    assert_listing(store, "", "");
}

static void test_removes_many(void **state)
{
    cb_store *store = ((place *)*state)->store;
    char names[40][16];
    const char *keys[40];
    cb_error err = {0};

    for (size_t i = 0; i < CB_LENGTH(keys); i++) {
        snprintf(names[i], sizeof(names[i]), "m/%zu", i);
        keys[i] = names[i];
        if (i % 4 != 0) /* what is not there is removed too */
            assert_ok(put(store, keys[i], CB_PUT_NEW, "x", &err));
    }
    assert_ok(put(store, "m/keep", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_remove_many(store, keys, CB_LENGTH(keys), &err));
    assert_listing(store, "", "m/keep=1 ");
    assert_ok(cb_store_remove_many(store, NULL, 0, &err));
}

static void test_knows_sizes(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};
    uint64_t size = 7;

    assert_ok(put(store, "s/a", CB_PUT_NEW, "abc", &err));
    assert_ok(put(store, "s/ab", CB_PUT_NEW, "", &err));
    assert_ok(cb_store_size(store, "s/a", &size, &err));
    assert_int_equal(size, 3);
    assert_ok(cb_store_size(store, "s/ab", &size, &err));
    assert_int_equal(size, 0);
    assert_code(CB_NOT_FOUND, cb_store_size(store, "s", &size, &err));
}

/* Of any store: the latest version of each object is what a listing shows. */
static cb_code add_version(void *arg, const cb_version *version, cb_error *err)
{
    return version->is_latest ? cb_buf_format(arg, err, "%s=%llu%s ", version->key,
                                              (unsigned long long)version->size_bytes,
                                              version->is_removal ? " gone" : "")
                              : CB_OK;
}

static void test_shows_versions(void **state)
{
    cb_store *store = ((place *)*state)->store;
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cb_error err = {0};

    assert_ok(put(store, "v/a", CB_PUT_REPLACE, "1", &err));
    assert_ok(put(store, "v/a", CB_PUT_REPLACE, "22", &err));
    assert_ok(put(store, "v/b", CB_PUT_REPLACE, "333", &err));
    assert_ok(cb_store_versions(store, "v/", add_version, &seen, &err));
    assert_ok(cb_buf_u8(&seen, 0, &err));
    assert_string_equal((char *)seen.data, "v/a=2 v/b=3 ");
}

/* ---- large objects ---- */

enum { LARGE_BYTES = (60 << 20) + 12345 };

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(seed >> 56);
    }
}

static cb_code put_large(cb_store *store, const char *key, cb_put_mode mode, bool commit,
                         const uint8_t *data, cb_error *err)
{
    size_t piece = 1;
    cb_writer *writer;
    cb_code code = cb_store_put(store, key, mode, &writer, err);

    for (size_t at = 0; at < LARGE_BYTES && code == CB_OK; at += piece) {
        piece = piece * 3 % 1999993 + 1;
        if (piece > LARGE_BYTES - at)
            piece = LARGE_BYTES - at;
        code = cb_writer_write(writer, cb_bytes_of(data + at, piece), err);
    }
    if (code == CB_OK && commit)
        code = cb_writer_commit(writer, err);
    cb_writer_free(writer);
    return code;
}

static void test_stores_large_objects(void **state)
{
    cb_store *store = ((place *)*state)->store;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    uint8_t *data = malloc(LARGE_BYTES);
    cb_error err = {0};
    uint64_t size;

    assert_non_null(data);
    fill(data, LARGE_BYTES, 42);
    assert_ok(put_large(store, "large", CB_PUT_NEW, false, data, &err));
    assert_listing(store, "", "");
    assert_ok(put_large(store, "large", CB_PUT_NEW, true, data, &err));
    assert_ok(cb_store_size(store, "large", &size, &err));
    assert_int_equal(size, LARGE_BYTES);
    assert_ok(cb_store_get(store, "large", 0, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, LARGE_BYTES);
    assert_int_equal(memcmp(into.data, data, LARGE_BYTES), 0);
    into.size = 0;
    assert_ok(cb_store_get(store, "large", LARGE_BYTES - 5000, 10000, &into, &err));
    assert_int_equal(into.size, 5000);
    assert_memory_equal(into.data, data + LARGE_BYTES - 5000, 5000);

    assert_code(CB_EXISTS, put_large(store, "large", CB_PUT_NEW, true, data, &err));
    data[LARGE_BYTES - 1] ^= 1;
    assert_ok(put_large(store, "large", CB_PUT_REPLACE, true, data, &err));
    into.size = 0;
    assert_ok(cb_store_get(store, "large", LARGE_BYTES - 1, 1, &into, &err));
    assert_int_equal(into.data[0], data[LARGE_BYTES - 1]);
    free(data);
}

static cb_code keep_time(void *arg, const cb_object *object, cb_error *err)
{
    (void)err;
    *(int64_t *)arg = object->modified_us;
    return CB_OK;
}

static void test_times_are_of_one_clock(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};
    int64_t before;
    int64_t after;
    int64_t modified = 0;

    assert_ok(cb_store_now(store, &before, &err));
    assert_ok(put(store, "k", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_now(store, &after, &err));
    assert_ok(cb_store_list(store, "k", keep_time, &modified, &err));
    /* The clock of an object store is told in whole seconds. */
    assert_true(before <= modified && modified <= after + (is_remote(store) ? 1000000 : 0));
    assert_true(before > INT64_C(1700000000) * 1000000);
    assert_listing(store, "", "k=1 ");
}

static void test_free_space_and_address(void **state)
{
    cb_store *store = ((place *)*state)->store;
    cb_error err = {0};
    uint64_t bytes = 0;

    assert_ok(cb_store_free_space(store, &bytes, &err));
    assert_true(bytes > 0);
    assert_true(strlen(cb_store_address(store)) > 0);
}

/* ---- many writers of one key ---- */

enum { RACERS = 16, RACES = 15 };

typedef struct racer {
    cb_store *store;
    pthread_barrier_t *start;
    int number;
    int won;
} racer;

static void *race(void *arg)
{
    racer *self = arg;

    for (int i = 0; i < RACES; i++) {
        char key[32];
        char text[16];
        cb_error err = {0};
        cb_code code;

        snprintf(key, sizeof(key), "race%d/deep/key", i);
        snprintf(text, sizeof(text), "%d", self->number);
        pthread_barrier_wait(self->start);
        code = put(self->store, key, CB_PUT_NEW, text, &err);
        if (code == CB_OK)
            self->won |= 1 << i;
        else if (code != CB_EXISTS)
            self->won = -1;
    }
    return NULL;
}

static void test_racing_threads_have_one_winner(void **state)
{
    cb_store *store = ((place *)*state)->store;
    pthread_t threads[RACERS];
    racer racers[RACERS];
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (racer){.store = store, .start = &start, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < RACES; i++) {
        int winners = 0;

        for (int k = 0; k < RACERS; k++) {
            char key[32];
            char text[16];

            assert_true(racers[k].won >= 0);
            if ((racers[k].won & 1 << i) == 0)
                continue;
            winners++;
            snprintf(key, sizeof(key), "race%d/deep/key", i);
            snprintf(text, sizeof(text), "%d", k);
            assert_object(store, key, text);
        }
        assert_int_equal(winners, 1);
    }
    pthread_barrier_destroy(&start);
}

#define OVER(kind, test)                                                                           \
    {                                                                                              \
#test " over " #kind, test, set_up_##kind, tear_down, NULL                                 \
    }
#define ALL_OVER(kind)                                                                             \
    OVER(kind, test_puts_and_gets), OVER(kind, test_gets_ranges),                                  \
        OVER(kind, test_nothing_is_there_before_the_commit), OVER(kind, test_lists_in_byte_order), \
        OVER(kind, test_a_visitor_may_remove_and_may_stop),                                        \
        OVER(kind, test_removes_again_and_again), OVER(kind, test_refuses_bad_keys),               \
        OVER(kind, test_times_are_of_one_clock), OVER(kind, test_free_space_and_address),          \
        OVER(kind, test_racing_threads_have_one_winner),                                           \
        OVER(kind, test_takes_the_names_that_people_give), OVER(kind, test_removes_many),          \
        OVER(kind, test_knows_sizes), OVER(kind, test_shows_versions),                             \
        OVER(kind, test_stores_large_objects)

static int run_where(const char *variable, const char *name, const struct CMUnitTest *tests,
                     size_t count)
{
    if (getenv(variable) == NULL)
        return 0;
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest local[] = {ALL_OVER(file), ALL_OVER(memory), ALL_OVER(fault)};
    const struct CMUnitTest s3[] = {ALL_OVER(s3)};
    const struct CMUnitTest gs[] = {ALL_OVER(gs)};
    const struct CMUnitTest az[] = {ALL_OVER(az)};
    int failed = cmocka_run_group_tests(local, NULL, NULL);

    failed += run_where("CB_TEST_S3", "s3", s3, CB_LENGTH(s3));
    failed += run_where("CB_TEST_GS", "gs", gs, CB_LENGTH(gs));
    failed += run_where("CB_TEST_AZ", "az", az, CB_LENGTH(az));
    return failed;
}
