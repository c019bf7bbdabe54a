/*
 * SHA-256 against FIPS 180-4's examples; the fingerprint's builds against each other.
 */
#include "unit.h"

#include "codec/fingerprint_kernel.h"
#include "codec/hash.h"

#include <pthread.h>
#include <stdlib.h>

#include "random.h"

static const char *const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char *const nothing =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char *const million =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void assert_hash(const cb_hash *hash, const char *wanted)
{
    char text[2 * CB_HASH_BYTES + 1];

    cb_hex(hash->bytes, CB_HASH_BYTES, text);
    assert_string_equal(text, wanted);
}

static void test_sha256_of_known_texts(void **state)
{
    cb_hash hash;

    (void)state;
    cb_sha256(cb_bytes_of("abc", 3), &hash);
    assert_hash(&hash, abc);
    cb_sha256(cb_bytes_of(NULL, 0), &hash);
    assert_hash(&hash, nothing);
}

static void test_hasher_takes_pieces_and_is_used_again(void **state)
{
    cb_error err = {0};
    cb_hasher *hasher;
    cb_hash hash;
    uint8_t part[1000];

    (void)state;
    memset(part, 'a', sizeof(part));
    assert_ok(cb_hasher_new(&hasher, &err));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++)
            cb_hasher_step(hasher, cb_bytes_of(part, sizeof(part)));
        cb_hasher_end(hasher, &hash);
        assert_hash(&hash, million);
    }
    cb_hasher_end(hasher, &hash);
    assert_hash(&hash, nothing);
    cb_hasher_free(hasher);
    cb_hasher_free(NULL);
}

static void *hash_many(void *wrong)
{
    cb_hash first;
    cb_hash hash;

    cb_sha256(cb_bytes_of("abc", 3), &first);
    for (int i = 0; i < 1000; i++) {
        cb_sha256(cb_bytes_of("abc", 3), &hash);
        if (!cb_hash_equal(&first, &hash))
            *(bool *)wrong = true;
    }
    return NULL;
}

static void test_threads_hash_at_once(void **state)
{
    pthread_t threads[4];
    bool wrong[4] = {false};

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, &wrong[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_false(wrong[i]);
    }
}

static void test_fingerprints_of_all_builds_agree(void **state)
{
    enum { SIZE = 300000 };
    test_random random = test_random_from(11);
    uint8_t secret[CB_FINGERPRINT_SECRET_BYTES];
    uint8_t seed[32];
    uint8_t *data = malloc(SIZE);

    (void)state;
    test_random_fill(&random, seed, sizeof(seed));
    test_random_fill(&random, data, SIZE);
    cb_fingerprint_secret(seed, secret);
    for (size_t size = 0; size < SIZE; size = size * 5 / 3 + 1) {
        cb_fingerprint chosen;
        cb_fingerprint plain;

        cb_fingerprint_of(secret, cb_bytes_of(data, size), &chosen);
        cb_fingerprint_base(secret, cb_bytes_of(data, size), &plain);
        assert_memory_equal(chosen.bytes, plain.bytes, CB_FINGERPRINT_BYTES);
        if (size > 0) {
            data[size / 2] ^= 1;
            cb_fingerprint_of(secret, cb_bytes_of(data, size), &plain);
            assert_memory_not_equal(chosen.bytes, plain.bytes, CB_FINGERPRINT_BYTES);
        }
    }
    free(data);
}

/* They stand in manifests: another release of the library must give the same. */
static void test_fingerprint_on_disk(void **state)
{
    uint8_t seed[32];
    uint8_t secret[CB_FINGERPRINT_SECRET_BYTES];
    uint8_t other[CB_FINGERPRINT_SECRET_BYTES];
    uint8_t data[1024];
    char text[2 * CB_FINGERPRINT_BYTES + 1];
    cb_fingerprint fingerprint;

    (void)state;
    for (unsigned i = 0; i < sizeof(seed); i++)
        seed[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    cb_fingerprint_secret(seed, secret);
    cb_fingerprint_of(secret, cb_bytes_of(data, sizeof(data)), &fingerprint);
    cb_hex(fingerprint.bytes, CB_FINGERPRINT_BYTES, text);
    assert_string_equal(text, "f9c84cfccac0030ec01b8ad7b0d1810f");
    seed[0] = 1;
    cb_fingerprint_secret(seed, other);
    assert_memory_not_equal(secret, other, sizeof(secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_of_known_texts),
        cmocka_unit_test(test_hasher_takes_pieces_and_is_used_again),
        cmocka_unit_test(test_threads_hash_at_once),
        cmocka_unit_test(test_fingerprints_of_all_builds_agree),
        cmocka_unit_test(test_fingerprint_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
