/*
 * mac.c - signatures by libcrypto. Nothing of a key outlives the call that was given it.
 */
#include "codec/mac.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

void cb_wipe(void *at, size_t size)
{
    OPENSSL_cleanse(at, size);
}

void cb_hmac_sha256(const void *key, size_t key_size, cb_bytes data, uint8_t out[CB_HMAC_BYTES])
{
    static const uint8_t none[1];
    unsigned size = CB_HMAC_BYTES;

    /* libcrypto takes a missing key for "the one of before", and sizes as int: no key of a cloud
       comes near that. A signature that is not one would only ever be refused, so we end. */
    if (key_size > INT_MAX || HMAC(EVP_sha256(), key_size > 0 ? key : none, (int)key_size,
                                   data.size > 0 ? data.data : none, data.size, out, &size) == NULL)
        abort();
}

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key); /* wipes what it held */
}

static void free_digest(EVP_MD_CTX **state)
{
    EVP_MD_CTX_free(*state);
}

/* Asked for the passphrase of an encrypted key: without this, libcrypto would ask the terminal. */
static int no_passphrase(char *into, int size, int writing, void *arg)
{
    (void)into;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

cb_code cb_rs256_sign(const char *pem, cb_bytes data, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(free_bio) BIO *bio = NULL;
    CB_CLEANUP(free_key) EVP_PKEY *key = NULL;
    CB_CLEANUP(free_digest) EVP_MD_CTX *state = EVP_MD_CTX_new();
    size_t length = strlen(pem);
    size_t size;
    cb_code code;

    bio = length <= INT_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    if (bio == NULL || state == NULL)
        return cb_fail(err, CB_NO_MEMORY, "no memory for a signature");
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error(); /* of this thread: the next user of libcrypto must not find it */
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        return cb_fail(err, CB_USAGE, "this is not an RSA private key in PEM");

    size = (size_t)EVP_PKEY_get_size(key);
    code = cb_buf_reserve(into, size, err);
    if (code != CB_OK)
        return code;
    if (EVP_DigestSignInit(state, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(state, into->data + into->size, &size, data.data, data.size) != 1) {
        ERR_clear_error();
        return cb_fail(err, CB_INTERNAL, "libcrypto cannot sign with this RSA key");
    }
    into->size += size;
    return CB_OK;
}
