/*
 * The S3 store against a real server, where CB_TEST_S3 names one; 77 (skipped) without.
 */
#include "unit.h"

#include "cloud_kit.h"

#include "codec/hash.h"
#include "storage/blob/blob.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "random.h"
#include "temp.h"

static void test_objects(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    uint64_t size;
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cloud_put(&self, "a/b", CB_PUT_NEW, "hello"));
    assert_code(CB_EXISTS, cloud_put(&self, "a/b", CB_PUT_NEW, "other"));
    assert_string_equal(cloud_get(&self, "a/b", &text), "hello");
    assert_ok(cloud_put(&self, "a/b", CB_PUT_REPLACE, "second"));
    assert_string_equal(cloud_get(&self, "a/b", &text), "second");
    assert_ok(cloud_put(&self, "a.b", CB_PUT_NEW, ""));
    assert_ok(cloud_put(&self, "b", CB_PUT_NEW, "x"));
    assert_string_equal(cloud_list(&self, "", &text), "a.b=0 a/b=6 b=1 ");
    assert_string_equal(cloud_list(&self, "a", &text), "a.b=0 a/b=6 ");
    assert_string_equal(cloud_list(&self, "a/", &text), "a/b=6 ");
    assert_string_equal(cloud_list(&self, "nothing", &text), "");
    assert_string_equal(cloud_get(&self, "a.b", &text), "");
    assert_ok(cb_store_size(self.store, "a/b", &size, &err));
    assert_int_equal(size, 6);
    assert_code(CB_NOT_FOUND, cb_store_size(self.store, "a/c", &size, &err));
    text.size = 0;
    assert_code(CB_NOT_FOUND, cb_store_get(self.store, "a/c", 0, 5, &text, &err));
    assert_non_null(strstr(err.message, "there is no object 'a/c'"));
    assert_ok(cb_store_remove(self.store, "a/b", &err));
    assert_ok(cb_store_remove(self.store, "a/b", &err));
    assert_code(CB_NOT_FOUND, cb_store_get(self.store, "a/b", 0, 5, &text, &err));
    assert_string_equal(cloud_list(&self, "", &text), "a.b=0 b=1 ");
    cloud_stop(&self);
}

static void test_ranges(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cloud_put(&self, "k", CB_PUT_NEW, "0123456789"));
    assert_ok(cb_buf_append(&into, ">", 1, &err));
    assert_ok(cb_store_get(self.store, "k", 2, 3, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 8, 100, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 10, 5, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 1000, UINT64_MAX, &into, &err));
    assert_ok(cb_store_get(self.store, "k", UINT64_MAX, 5, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 3, 0, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 9, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, 7);
    assert_memory_equal(into.data, ">234899", 7);
    into.limit = 12;
    assert_code(CB_TOO_LARGE, cb_store_get(self.store, "k", 0, 10, &into, &err));
    assert_int_equal(into.size, 7);
    assert_ok(cb_store_get(self.store, "k", 0, 5, &into, &err));
    cloud_stop(&self);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static cb_code collect(void *arg, const cb_object *object, cb_error *err)
{
    return cb_buf_format(arg, err, "%s|", object->key);
}

static void test_odd_keys(void **state)
{
    static const char *const keys[] = {" space in front",
                                       "a b/c+d/e&f=g",
                                       "caf\xc3\xa9/\xf0\x9f\xa6\x86",
                                       "percent%2Fnot a slash",
                                       "quotes\"'<>&amp;",
                                       "star*(bang!)[x]{y}",
                                       "tilde~-_.",
                                       "x;y:@,$?#z"};
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    CB_CLEANUP(cb_buf_free) cb_buf wanted = {0};
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    for (size_t i = 0; i < CB_LENGTH(keys); i++) {
        assert_ok(cloud_put(&self, keys[i], CB_PUT_NEW, keys[i]));
        assert_ok(cb_buf_format(&wanted, &err, "%s|", keys[i]));
    }
    for (size_t i = 0; i < CB_LENGTH(keys); i++)
        assert_string_equal(cloud_get(&self, keys[i], &text), keys[i]);
    text.size = 0;
    assert_ok(cb_store_list(self.store, "", collect, &text, &err));
    assert_int_equal(text.size, wanted.size);
    assert_memory_equal(text.data, wanted.data, wanted.size);
    text.size = 0;
    assert_ok(cb_store_list(self.store, "a b/c+", collect, &text, &err));
    assert_memory_equal(text.data, "a b/c+d/e&f=g|", text.size);
    assert_int_equal(text.size, 14);
    assert_ok(cb_store_remove_many(self.store, keys, CB_LENGTH(keys), &err));
    text.size = 0;
    assert_ok(cb_store_list(self.store, "", collect, &text, &err));
    assert_int_equal(text.size, 0);
    cloud_stop(&self);
}

/* ---- more than a page, more than a batch ---------------------------------------------------- */

enum { MANY = 1203 };

typedef struct many {
    cloud *self;
    atomic_uint next, failures;
} many;

static void *put_many(void *arg)
{
    many *all = arg;

    for (;;) {
        unsigned i = atomic_fetch_add(&all->next, 1);
        char key[32];
        cb_error err = {0};

        if (i >= MANY)
            return NULL;
        snprintf(key, sizeof(key), "m/%05u", i);
        if (cb_store_put_bytes(all->self->store, key, CB_PUT_NEW, cb_bytes_of("x", 1), &err) !=
            CB_OK)
            atomic_fetch_add(&all->failures, 1);
    }
}

static cb_code count_in_order(void *arg, const cb_object *object, cb_error *err)
{
    unsigned *count = arg;
    char key[32];

    snprintf(key, sizeof(key), "m/%05u", (*count)++);
    return strcmp(key, object->key) == 0 ? CB_OK
                                         : cb_fail(err, CB_INTERNAL, "%s came", object->key);
}

static void test_pages_and_batches(void **state)
{
    cloud self;
    many all = {.self = &self};
    pthread_t threads[16];
    static char texts[MANY][16];
    const char *keys[MANY];
    unsigned count = 0;
    cb_error err = {0};
    cb_traffic before;
    cb_traffic after;

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    for (size_t i = 0; i < CB_LENGTH(threads); i++)
        pthread_create(&threads[i], NULL, put_many, &all);
    for (size_t i = 0; i < CB_LENGTH(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(all.failures, 0);
    cb_store_traffic(self.store, &before);
    assert_ok(cb_store_list(self.store, "m/", count_in_order, &count, &err));
    assert_int_equal(count, MANY);
    cb_store_traffic(self.store, &after);
    assert_int_equal(after.requests - before.requests, 2);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof(texts[i]), "m/%05u", (i * 7) % MANY);
        keys[i] = texts[i];
    }
    assert_ok(cb_store_remove_many(self.store, keys, MANY, &err));
    cb_store_traffic(self.store, &before);
    assert_in_range(before.requests - after.requests, 2, 3); /* perhaps one for the versioning */
    count = 0;
    assert_ok(cb_store_list(self.store, "", count_in_order, &count, &err));
    assert_int_equal(count, 0);
    cloud_stop(&self);
}

/* ---- one winner ----------------------------------------------------------------------------- */

typedef struct race {
    cloud *self;
    pthread_barrier_t *start;
    char key[32];
    unsigned number;
    size_t size;
    cb_code code;
    pthread_t thread;
} race;

static void *run_race(void *arg)
{
    race *mine = arg;
    uint8_t *data = malloc(mine->size);
    cb_error err = {0};

    memset(data, (int)mine->number, mine->size);
    pthread_barrier_wait(mine->start);
    mine->code = cb_store_put_bytes(mine->self->store, mine->key, CB_PUT_NEW,
                                    cb_bytes_of(data, mine->size), &err);
    free(data);
    return NULL;
}

static void race_once(cloud *self, const char *key, unsigned count, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    race racers[16];
    pthread_barrier_t start;
    unsigned winner = 99;
    cb_error err = {0};

    pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        racers[i] = (race){.self = self, .start = &start, .number = i, .size = size};
        snprintf(racers[i].key, sizeof(racers[i].key), "%s", key);
        pthread_create(&racers[i].thread, NULL, run_race, &racers[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].code == CB_OK) {
            assert_int_equal(winner, 99);
            winner = i;
        } else {
            assert_int_equal(racers[i].code, CB_EXISTS);
        }
    }
    assert_true(winner < count);
    assert_ok(cb_store_get(self->store, key, 0, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, size);
    for (size_t i = 0; i < size; i += 4096)
        assert_int_equal(into.data[i], winner);
    pthread_barrier_destroy(&start);
}

static void test_one_winner(void **state)
{
    cloud self;

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    for (int i = 0; i < 10; i++) {
        char key[32];

        snprintf(key, sizeof(key), "race/%d", i);
        race_once(&self, key, 16, 100);
    }
    race_once(&self, "race/parts", 3, (40 << 20) + 5); /* at the completion of parts */
    cloud_stop(&self);
}

/* ---- large objects -------------------------------------------------------------------------- */

static void write_large(cloud *self, const char *key, size_t size, test_random *random,
                        cb_hash *hash)
{
    static uint8_t piece[777777];
    cb_writer *writer;
    cb_hasher *hasher;
    cb_error err = {0};

    assert_ok(cb_hasher_new(&hasher, &err));
    assert_ok(cb_store_put(self->store, key, CB_PUT_NEW, &writer, &err));
    while (size > 0) {
        size_t n = size < sizeof(piece) ? size : sizeof(piece);

        test_random_fill(random, piece, n);
        cb_hasher_step(hasher, cb_bytes_of(piece, n));
        assert_ok(cb_writer_write(writer, cb_bytes_of(piece, n), &err));
        size -= n;
    }
    assert_ok(cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    cb_hasher_end(hasher, hash);
    cb_hasher_free(hasher);
}

static void test_large_objects(void **state)
{
    static const struct {
        size_t size;
        unsigned requests;
    } sizes[] = {{32 << 20, 1}, {40 << 20, 1}, {(40 << 20) + 1, 2 + 3}, {100 << 20, 2 + 7}};
    cloud self;
    test_random random = test_random_seeded();
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    for (size_t i = 0; i < CB_LENGTH(sizes); i++) {
        cb_hash sent;
        cb_hash got;
        cb_traffic before;
        cb_traffic after;
        char key[16];

        snprintf(key, sizeof(key), "large/%zu", i);
        cb_store_traffic(self.store, &before);
        write_large(&self, key, sizes[i].size, &random, &sent);
        cb_store_traffic(self.store, &after);
        assert_int_equal(after.requests - before.requests, sizes[i].requests);
        assert_in_range(after.sent_bytes - before.sent_bytes, sizes[i].size, sizes[i].size + 10000);
        back.size = 0;
        assert_ok(cb_store_get(self.store, key, 0, UINT64_MAX, &back, &err));
        assert_int_equal(back.size, sizes[i].size);
        cb_sha256(cb_buf_bytes(&back), &got);
        assert_true(cb_hash_equal(&sent, &got));
        assert_ok(cb_store_remove(self.store, key, &err));
    }
    cloud_stop(&self);
}

static void test_abandoned_uploads(void **state)
{
    cloud self;
    cb_writer *writer;
    static uint8_t piece[1 << 20];
    uint64_t count;
    int64_t now;
    cb_error err = {0};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    for (int round = 0; round < 2; round++) {
        assert_ok(cb_store_put(self.store, "half", CB_PUT_NEW, &writer, &err));
        for (int i = 0; i < 60; i++)
            assert_ok(cb_writer_write(writer, cb_bytes_of(piece, sizeof(piece)), &err));
        assert_ok(cb_store_now(self.store, &now, &err));
        if (round == 0) { /* as if we had died: what is removed under the writer is not finished */
            assert_ok(
                cb_store_remove_uploads(self.store, now - 3600 * INT64_C(1000000), &count, &err));
            assert_int_equal(count, 0);
            assert_ok(
                cb_store_remove_uploads(self.store, now + 3600 * INT64_C(1000000), &count, &err));
            assert_int_equal(count, 1);
            assert_true(cb_writer_commit(writer, &err) != CB_OK);
        }
        cb_writer_free(writer); /* uncommitted: it clears up */
        assert_ok(cb_store_remove_uploads(self.store, now + 3600 * INT64_C(1000000), &count, &err));
        assert_int_equal(count, 0);
    }
    assert_string_equal(cloud_list(&self, "", &text), "");
    cloud_stop(&self);
}

/* ---- buckets that keep ---------------------------------------------------------------------- */

typedef struct keeping {
    cloud cloud;
    char bucket[64];
} keeping;

static cb_code sign_test(void *arg, const cb_http_request *request, bool again,
                         cb_http_headers *headers, cb_error *err)
{
    (void)arg;
    (void)request;
    (void)again;
    return cb_http_sigv4(headers, "aws:amz:us-east-1:s3", getenv("AWS_ACCESS_KEY_ID"),
                         getenv("AWS_SECRET_ACCESS_KEY"), err);
}

/* A bucket of its own, made with versions and locks, at the server of CB_TEST_S3. */
static void keeping_open(keeping *self)
{
    static const char *const headers[] = {
        "x-amz-bucket-object-lock-enabled: true",
        "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        NULL};
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_ctx *ctx = test_ctx_new();
    cb_place place;
    cb_http *http;
    char text[1024];
    cb_http_request request = {
        .method = "PUT", .url = text, .headers = headers, .has_body = true, .sign = sign_test};
    cb_error err = {0};

    memset(self, 0, sizeof(*self));
    assert_ok(cb_place_parse(ctx, getenv("CB_TEST_S3"), &place, &err));
    cb_blob_nonce(ctx, self->bucket);
    memcpy(self->bucket, "keep", 4);
    snprintf(text, sizeof(text), "%s/%s", place.endpoint, self->bucket);
    assert_ok(cb_http_new(ctx, &(cb_http_settings){0}, &http, &err));
    assert_ok(cb_http_send(http, &request, &response, &err));
    assert_int_equal(response.status, 200);
    cb_http_free(http);
    snprintf(text, sizeof(text), "s3c://%s/p?endpoint=%s", self->bucket, place.endpoint);
    self->cloud.ctx = ctx;
    assert_ok(cb_store_open(ctx, text, false, &self->cloud.store, &err));
}

static cb_code keep_id(void *arg, const cb_version *version, cb_error *err)
{
    cb_buf *into = arg;

    return cb_buf_append(into, version->id, strlen(version->id) + 1, err);
}

static void test_versions(void **state)
{
    keeping self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    CB_CLEANUP(cb_buf_free) cb_buf ids = {0};
    const char *oldest;
    cb_store_facts facts;
    cb_error err = {0};

    (void)state;
    keeping_open(&self);
    assert_ok(self.cloud.store->ops->look(self.cloud.store, &facts, &err));
    assert_int_equal(facts.versioning, CB_ANSWER_YES);
    assert_int_equal(facts.object_lock, CB_ANSWER_YES);
    assert_ok(cloud_put(&self.cloud, "k", CB_PUT_NEW, "1"));
    assert_ok(cloud_put(&self.cloud, "k", CB_PUT_REPLACE, "22"));
    assert_ok(cloud_put(&self.cloud, "kk", CB_PUT_NEW, "other"));
    assert_string_equal(cloud_versions(&self.cloud, "", false, &text),
                        "k=2 latest; k=1; kk=5 latest; ");
    assert_ok(cb_store_versions(self.cloud.store, "k", keep_id, &ids, &err));
    oldest = (const char *)ids.data + strlen((const char *)ids.data) + 1;
    text.size = 0;
    assert_ok(cb_store_get_version(self.cloud.store, "k", oldest, 0, 10, &text, &err));
    assert_int_equal(text.size, 1);
    assert_int_equal(text.data[0], '1');
    assert_ok(cb_store_revert(self.cloud.store, "k", oldest, &err));
    assert_string_equal(cloud_get(&self.cloud, "k", &text), "1");
    assert_string_equal(cloud_versions(&self.cloud, "k", false, &text),
                        "k=1 latest; k=2; k=1; kk=5 latest; ");
    assert_ok(cb_store_remove(self.cloud.store, "k", &err));
    assert_string_equal(cloud_versions(&self.cloud, "", false, &text), "kk=5 latest; ");
    assert_ok(cb_store_remove(self.cloud.store, "kk", &err));
    assert_string_equal(cloud_versions(&self.cloud, "", false, &text), "");
    assert_code(CB_NOT_FOUND,
                cb_store_get_version(self.cloud.store, "k", oldest, 0, 10, &text, &err));
    cloud_stop(&self.cloud);
}

static void test_locks(void **state)
{
    keeping self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    int64_t now;
    int64_t until;
    cb_error err = {0};
    static uint8_t large[(40 << 20) + 1];

    (void)state;
    keeping_open(&self);
    assert_ok(cb_store_now(self.cloud.store, &now, &err));
    until = (now / 1000000 + 3600) * 1000000;
    assert_ok(cb_store_put_bytes_with(
        self.cloud.store, "k", &(cb_put_options){.mode = CB_PUT_NEW, .retain_until_us = until},
        cb_bytes_of("kept", 4), &err));
    assert_ok(cb_store_put_bytes_with(
        self.cloud.store, "large",
        &(cb_put_options){.mode = CB_PUT_NEW, .retain_until_us = until - 400001},
        cb_bytes_of(large, sizeof(large)), &err));
    assert_ok(cloud_put(&self.cloud, "free", CB_PUT_NEW, "free"));
    assert_ok(cb_store_retained(self.cloud.store, "k", &now, &err));
    assert_int_equal(now, until);
    assert_ok(cb_store_retained(self.cloud.store, "large", &now, &err));
    assert_int_equal(now, until); /* rounded up */
    assert_ok(cb_store_retained(self.cloud.store, "free", &now, &err));
    assert_int_equal(now, 0);
    assert_code(CB_NOT_FOUND, cb_store_retained(self.cloud.store, "none", &now, &err));
    assert_ok(cb_store_retain(self.cloud.store, "k", until + 60000000, &err));
    assert_ok(cb_store_retained(self.cloud.store, "k", &now, &err));
    assert_int_equal(now, until + 60000000);
    assert_ok(cb_store_retain(self.cloud.store, "k", until, &err)); /* it is longer already */
    assert_ok(cb_store_retain(self.cloud.store, "free", until, &err));
    assert_code(CB_NOT_FOUND, cb_store_retain(self.cloud.store, "none", until, &err));

    /* What is locked reads as gone when it was removed, and stays. */
    assert_ok(cb_store_remove(self.cloud.store, "k", &err));
    text.size = 0;
    assert_code(CB_NOT_FOUND, cb_store_get(self.cloud.store, "k", 0, 9, &text, &err));
    assert_string_equal(cloud_versions(&self.cloud, "k", false, &text), "k=0 latest gone; k=4; ");
    assert_ok(cb_store_remove(self.cloud.store, "k", &err)); /* no second marker */
    assert_string_equal(cloud_versions(&self.cloud, "k", false, &text), "k=0 latest gone; k=4; ");
    assert_ok(cloud_put(&self.cloud, "k", CB_PUT_NEW, "again")); /* below a marker it is free */
    assert_string_equal(cloud_get(&self.cloud, "k", &text), "again");
    assert_ok(cb_store_remove(self.cloud.store, "k", &err));
    assert_string_equal(cloud_versions(&self.cloud, "k", false, &text), "k=0 latest gone; k=4; ");
    cloud_stop(&self.cloud);
}

static void test_many_versions_removed(void **state)
{
    keeping self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    static char texts[40][16];
    const char *keys[40];
    cb_error err = {0};
    int64_t until = 4102444800000000;
    cb_traffic before;
    cb_traffic after;

    (void)state;
    keeping_open(&self);
    assert_ok(cb_store_now(self.cloud.store, &until, &err));
    until = (until / 1000000 + 3600) * 1000000;
    for (int i = 0; i < 40; i++) {
        snprintf(texts[i], sizeof(texts[i]), "d/%03d", i);
        keys[i] = texts[i];
        assert_ok(cb_store_put_bytes_with(
            self.cloud.store, keys[i],
            &(cb_put_options){.mode = CB_PUT_NEW, .retain_until_us = i == 7 ? until : 0},
            cb_bytes_of("1", 1), &err));
        if (i % 2 == 1)
            assert_ok(cloud_put(&self.cloud, keys[i], CB_PUT_REPLACE, "22"));
    }
    assert_ok(cloud_put(&self.cloud, "d/0", CB_PUT_NEW, "not named"));
    cb_store_traffic(self.cloud.store, &before);
    assert_ok(cb_store_remove_many(self.cloud.store, keys, 40, &err));
    cb_store_traffic(self.cloud.store, &after);
    assert_in_range(after.requests - before.requests, 3, 6);
    assert_string_equal(cloud_versions(&self.cloud, "", false, &text),
                        "d/0=9 latest; d/007=0 latest gone; d/007=1; ");
    cloud_stop(&self.cloud);
}

static void test_no_locks_here(void **state)
{
    cloud self;
    cb_error err = {0};
    int64_t until;

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cloud_put(&self, "k", CB_PUT_NEW, "x"));
    assert_code(CB_UNSUPPORTED, cb_store_retain(self.store, "k", INT64_C(4102444800000000), &err));
    assert_ok(cb_store_retained(self.store, "k", &until, &err));
    assert_int_equal(until, 0);
    assert_code(CB_UNSUPPORTED, cb_store_put_bytes_with(
                                    self.store, "l",
                                    &(cb_put_options){.mode = CB_PUT_NEW,
                                                      .retain_until_us = INT64_C(4102444800000000)},
                                    cb_bytes_of("x", 1), &err));
    cloud_stop(&self);
}

/* ---- what people are told ------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    char address[1024];
    const char *known = getenv("CB_TEST_S3");
    const char *settings = strchr(known, '?');
    char secret[256];
    char key[256];
    cb_ctx *ctx = test_ctx_new();
    cb_store *store;
    uint64_t size;
    cb_error err = {0};
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    snprintf(secret, sizeof(secret), "%s", getenv("AWS_SECRET_ACCESS_KEY"));
    snprintf(key, sizeof(key), "%s", getenv("AWS_ACCESS_KEY_ID"));
    snprintf(address, sizeof(address), "s3c://no-such-bucket/p%s", settings);
    assert_ok(cb_store_open(ctx, address, false, &store, &err));
    assert_code(CB_NOT_FOUND, cb_store_get(store, "k", 0, 1, &into, &err));
    assert_non_null(strstr(err.message, "there is no bucket 'no-such-bucket' at http://"));
    assert_code(CB_NOT_FOUND,
                cb_store_put_bytes(store, "k", CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    assert_non_null(strstr(err.message, "there is no bucket 'no-such-bucket'"));
    cb_store_close(store);

    setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret", 1);
    memset(&err, 0, sizeof(err));
    assert_ok(cb_store_open(ctx, known, false, &store, &err));
    assert_code(CB_DENIED, cb_store_get(store, "k", 0, 1, &into, &err));
    assert_non_null(strstr(err.message, "the secret does not fit the access key"));
    assert_null(strstr(err.message, "not-the-secret"));
    assert_null(strstr(err.hint, "not-the-secret"));
    assert_code(CB_DENIED, cb_store_size(store, "k", &size, &err));
    cb_store_close(store);

    setenv("AWS_ACCESS_KEY_ID", "nobody", 1);
    memset(&err, 0, sizeof(err));
    assert_ok(cb_store_open(ctx, known, false, &store, &err));
    assert_code(CB_DENIED, cb_store_get(store, "k", 0, 1, &into, &err));
    assert_non_null(strstr(err.message, "the access key is not known"));
    cb_store_close(store);
    setenv("AWS_SECRET_ACCESS_KEY", secret, 1);
    setenv("AWS_ACCESS_KEY_ID", key, 1);
    cb_ctx_free(ctx);
}

static void test_stranger_clock_and_probe(void **state)
{
    cloud self;
    char found[CB_KEY_MAX + 1];
    int64_t now;
    int64_t ours;
    cb_store_facts facts;
    cb_store_speed speed;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_traffic before;
    cb_traffic after;
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cb_store_now(self.store, &now, &err));
    ours = cb_now_us(self.ctx);
    assert_in_range(now - ours + 3000000, 0, 6000000); /* the same machine, in whole seconds */
    cb_store_traffic(self.store, &before);
    assert_ok(cb_store_now(self.store, &now, &err));
    cb_store_traffic(self.store, &after);
    assert_int_equal(after.requests, before.requests);
    assert_ok(cb_store_stranger(self.store, found, &err));
    assert_string_equal(found, "");
    assert_ok(cloud_put(&self, "some/file.txt", CB_PUT_NEW, "x"));
    assert_ok(cb_store_stranger(self.store, found, &err));
    assert_string_equal(found, "some/file.txt");
    assert_ok(cb_store_probe(self.ctx, self.store, &facts, &speed, &err));
    assert_string_equal(facts.kind, "s3");
    assert_int_equal(facts.create_if_absent, CB_ANSWER_YES);
    assert_int_equal(facts.versioning, CB_ANSWER_NO);
    assert_int_equal(facts.object_lock, CB_ANSWER_NO);
    assert_int_equal(facts.checksums, CB_ANSWER_YES);
    assert_true(facts.is_remote && facts.credentials[0] != '\0');
    assert_true(speed.put_bytes_per_second > 0 && speed.get_bytes_per_second > 0 &&
                speed.round_trip_us > 0);
    assert_string_equal(cloud_list(&self, "", &text), "some/file.txt=1 ");
    cloud_stop(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_pages_and_batches),
        cmocka_unit_test(test_one_winner),
        cmocka_unit_test(test_large_objects),
        cmocka_unit_test(test_abandoned_uploads),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_many_versions_removed),
        cmocka_unit_test(test_no_locks_here),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stranger_clock_and_probe),
    };
    if (getenv("CB_TEST_S3") == NULL)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
