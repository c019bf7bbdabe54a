/*
 * HMAC against RFC 4231; RS256 is verified with the public key.
 */
#include "codec/mac.h"

#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "unit.h"

static void check_hmac(const void *key, size_t key_size, const void *data, size_t size,
                       const char *wanted)
{
    uint8_t mac[CB_HMAC_BYTES];
    char hex[2 * CB_HMAC_BYTES + 1];

    cb_hmac_sha256(key, key_size, cb_bytes_of(data, size), mac);
    cb_hex(mac, sizeof(mac), hex);
    assert_string_equal(hex, wanted);
}

static void test_hmac_of_the_standard(void **state)
{
    static const char long_text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t key[131];

    (void)state;
    memset(key, 0x0b, 20);
    check_hmac(key, 20, "Hi There", 8,
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_hmac("Jefe", 4, "what do ya want for nothing?", 28,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    check_hmac(key, 131, long_text, sizeof(long_text) - 1,
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check_hmac(NULL, 0, NULL, 0,
               "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static char *pem_of(EVP_PKEY *key, bool traditional)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    char *copy;
    long size;

    if (traditional)
        PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
    else
        PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    size = BIO_get_mem_data(bio, &text);
    copy = strndup(text, (size_t)size);
    BIO_free(bio);
    return copy;
}

static void test_a_signature_is_verified(void **state)
{
    static const char text[] = "header.claim";
    EVP_PKEY *key = EVP_RSA_gen(2048);

    (void)state;
    for (int traditional = 0; traditional < 2; traditional++) {
        CB_CLEANUP(cb_buf_free) cb_buf signature = {0};
        char *pem = pem_of(key, traditional != 0);
        EVP_MD_CTX *verify = EVP_MD_CTX_new();
        cb_error err = {0};

        assert_ok(cb_buf_append(&signature, "<", 1, &err));
        assert_ok(cb_rs256_sign(pem, cb_bytes_of(text, sizeof(text) - 1), &signature, &err));
        assert_int_equal(signature.size, 257);
        assert_int_equal(EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, key), 1);
        assert_int_equal(EVP_DigestVerify(verify, signature.data + 1, 256, (const uint8_t *)text,
                                          sizeof(text) - 1),
                         1);
        EVP_MD_CTX_free(verify);
        free(pem);
    }
    EVP_PKEY_free(key);
}

static void test_what_is_no_rsa_key_is_refused(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf signature = {0};
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    char *pem = pem_of(curve, false);
    const char *const bad[] = {"", "S3CRET", "-----BEGIN PRIVATE KEY-----\nS3CRET\n", pem,
                               "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n"
                               "-----END ENCRYPTED PRIVATE KEY-----\n"};
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(bad); i++) {
        assert_code(CB_USAGE, cb_rs256_sign(bad[i], cb_bytes_of("x", 1), &signature, &err));
        assert_null(strstr(err.message, "S3CRET"));
    }
    assert_int_equal(signature.size, 0);
    free(pem);
    EVP_PKEY_free(curve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac_of_the_standard),
        cmocka_unit_test(test_a_signature_is_verified),
        cmocka_unit_test(test_what_is_no_rsa_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
