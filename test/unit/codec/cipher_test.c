/*
 * The ciphers against published vectors, and what a flipped bit, another nonce or another context
 * do to what was sealed.
 */
#include "unit.h"

#include "codec/cipher.h"
#include "codec/mac.h"

static void expect(const uint8_t *got, size_t size, const char *hex)
{
    char text[256];

    cb_hex(got, size, text);
    assert_string_equal(text, hex);
}

static void from_hex(const char *hex, uint8_t out[CB_SECRET_BYTES])
{
    assert_true(cb_unhex(hex, CB_SECRET_BYTES, out));
}

/* The GCM specification, test case 14. */
static void test_aead_vectors(void **state)
{
    static const uint8_t key[CB_SECRET_BYTES];
    uint8_t block[CB_TAG_BYTES + 16] = {0};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_seal_once(CB_AEAD_AES_256_GCM, key, cb_bytes_of(NULL, 0), cb_bytes_of(block, 16),
                           block, &err));
    expect(block, sizeof(block),
           "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

static void try_aead(cb_aead aead)
{
    uint8_t key[CB_SECRET_BYTES] = {1, 2, 3};
    uint8_t nonce[CB_NONCE_BYTES] = {9};
    uint8_t text[100], sealed[100 + CB_TAG_BYTES], back[100];
    cb_bytes bound = cb_bytes_of("where it lies", 13);
    cb_cipher *cipher;
    cb_error err = {0};

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)i;
    assert_ok(cb_cipher_new(aead, &cipher, &err));
    cb_cipher_set_key(cipher, key);
    assert_ok(cb_cipher_seal(cipher, nonce, bound, cb_bytes_of(text, sizeof(text)), sealed, &err));
    assert_memory_not_equal(sealed, text, sizeof(text));
    assert_ok(
        cb_cipher_open(cipher, nonce, bound, cb_bytes_of(sealed, sizeof(sealed)), back, &err));
    assert_memory_equal(back, text, sizeof(text));
    for (size_t at = 0; at < sizeof(sealed); at++) {
        sealed[at] ^= 4;
        err = (cb_error){0};
        assert_code(CB_CORRUPT, cb_cipher_open(cipher, nonce, bound,
                                               cb_bytes_of(sealed, sizeof(sealed)), back, &err));
        sealed[at] ^= 4;
    }
    bound.size--;
    err = (cb_error){0};
    assert_code(CB_CORRUPT, cb_cipher_open(cipher, nonce, bound,
                                           cb_bytes_of(sealed, sizeof(sealed)), back, &err));
    bound.size++;
    nonce[11] = 1;
    err = (cb_error){0};
    assert_code(CB_CORRUPT, cb_cipher_open(cipher, nonce, bound,
                                           cb_bytes_of(sealed, sizeof(sealed)), back, &err));
    nonce[11] = 0;
    for (size_t size = 0; size < sizeof(sealed); size++) {
        err = (cb_error){0};
        assert_code(CB_CORRUPT,
                    cb_cipher_open(cipher, nonce, bound, cb_bytes_of(sealed, size), back, &err));
    }
    key[0] ^= 1;
    cb_cipher_set_key(cipher, key);
    err = (cb_error){0};
    assert_code(CB_CORRUPT, cb_cipher_open(cipher, nonce, bound,
                                           cb_bytes_of(sealed, sizeof(sealed)), back, &err));
    cb_cipher_free(cipher);
}

static void test_aead(void **state)
{
    (void)state;
    try_aead(CB_AEAD_AES_256_GCM);
    try_aead(CB_AEAD_CHACHA20_POLY1305);
    assert_string_not_equal(cb_aead_name(cb_aead_best()), "");
}

/* RFC 5869, A.1. */
static void test_hkdf(void **state)
{
    uint8_t secret[22], salt[13], info[10], out[CB_SECRET_BYTES];

    (void)state;
    memset(secret, 0x0b, sizeof(secret));
    for (size_t i = 0; i < sizeof(salt); i++)
        salt[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    cb_hkdf(cb_bytes_of(secret, sizeof(secret)), cb_bytes_of(salt, sizeof(salt)),
            cb_bytes_of(info, sizeof(info)), out);
    expect(out, sizeof(out), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

static void test_keyed_hash(void **state)
{
    uint8_t key[CB_SECRET_BYTES] = {7};
    cb_keyed_hash *hash;
    cb_hash got, again;
    uint8_t wanted[CB_HMAC_BYTES];
    cb_error err = {0};

    (void)state;
    assert_ok(cb_keyed_hash_new(key, &hash, &err));
    cb_keyed_hash_of(hash, cb_bytes_of("abc", 3), &got);
    cb_keyed_hash_of(hash, cb_bytes_of("abc", 3), &again);
    cb_hmac_sha256(key, sizeof(key), cb_bytes_of("abc", 3), wanted);
    assert_memory_equal(got.bytes, wanted, sizeof(wanted));
    assert_memory_equal(again.bytes, wanted, sizeof(wanted));
    cb_keyed_hash_free(hash);
}

/* RFC 7748, section 6.1. */
static void test_x25519(void **state)
{
    uint8_t bob[CB_SECRET_BYTES], alice[CB_SECRET_BYTES], out[CB_SECRET_BYTES];
    static const uint8_t zero[CB_SECRET_BYTES];
    cb_error err = {0};

    (void)state;
    from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", bob);
    from_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", alice);
    assert_ok(cb_x25519_public(bob, out, &err));
    expect(out, sizeof(out), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    assert_ok(cb_x25519_shared(bob, alice, out, &err));
    expect(out, sizeof(out), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_code(CB_CORRUPT, cb_x25519_shared(bob, zero, out, &err));
}

/* RFC 7914, section 12; and what a hostile slot may ask for. */
static void test_scrypt(void **state)
{
    static const cb_scrypt too_dear[] = {
        {24, 8, 1}, {20, 16, 1}, {21, 8, 1}, {16, 8, 64},        {0, 8, 1},       {10, 0, 1},
        {10, 8, 0}, {10, 65, 1}, {63, 1, 1}, {1, UINT64_MAX, 1}, {1, 1, 1u << 30}};
    cb_scrypt cost = {10, 8, 16};
    uint8_t out[CB_SECRET_BYTES];
    cb_error err = {0};

    (void)state;
    assert_ok(cb_scrypt_key(cb_bytes_of("password", 8), cb_bytes_of("NaCl", 4), &cost, out, &err));
    expect(out, sizeof(out), "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162");
    for (size_t i = 0; i < CB_LENGTH(too_dear); i++) {
        err = (cb_error){0};
        assert_code(CB_UNSUPPORTED, cb_scrypt_key(cb_bytes_of("x", 1), cb_bytes_of("y", 1),
                                                  &too_dear[i], out, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aead_vectors), cmocka_unit_test(test_aead),
        cmocka_unit_test(test_hkdf),         cmocka_unit_test(test_keyed_hash),
        cmocka_unit_test(test_x25519),       cmocka_unit_test(test_scrypt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
