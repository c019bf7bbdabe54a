/*
 * cipher.c - the ciphers by libcrypto, which picks the processor's own instructions.
 *
 * Algorithms are fetched once a process, contexts are made once per owner: for each chunk only the
 * nonce is new.
 */
#include "codec/cipher.h"

#include "codec/mac.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_CIPHER *aes_gcm;
static EVP_CIPHER *chacha;
static EVP_MAC *hmac;

static void fetch(void) /* lives as long as the process */
{
    aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

/* A key or an id that is not what it should be would be a lie in the repository. */
static void must(int result)
{
    if (result != 1)
        abort();
}

#if defined(__x86_64__) || defined(__i386__)
static bool has_aes(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}
#elif defined(__aarch64__)
static bool has_aes(void)
{
    return (getauxval(AT_HWCAP) & (HWCAP_AES | HWCAP_PMULL)) == (HWCAP_AES | HWCAP_PMULL);
}
#else
static bool has_aes(void)
{
    return false;
}
#endif

cb_aead cb_aead_best(void)
{
    return has_aes() ? CB_AEAD_AES_256_GCM : CB_AEAD_CHACHA20_POLY1305;
}

const char *cb_aead_name(cb_aead aead)
{
    switch (aead) {
    case CB_AEAD_NONE:
        return "";
    case CB_AEAD_AES_256_GCM:
        return "AES-256-GCM";
    case CB_AEAD_CHACHA20_POLY1305:
        return "ChaCha20-Poly1305";
    }
    return "";
}

/* ---- AEAD ------------------------------------------------------------------------------- */

struct cb_cipher {
    EVP_CIPHER_CTX *in;
    EVP_CIPHER_CTX *out;
};

cb_code cb_cipher_new(cb_aead aead, cb_cipher **out, cb_error *err)
{
    cb_cipher *cipher = calloc(1, sizeof(*cipher));
    const EVP_CIPHER *algorithm;

    *out = NULL;
    if (cipher == NULL)
        return cb_fail_memory(err, sizeof(*cipher));
    pthread_once(&fetched, fetch);
    algorithm = aead == CB_AEAD_CHACHA20_POLY1305 ? chacha : aes_gcm;
    if (algorithm == NULL) {
        free(cipher);
        return cb_fail(err, CB_UNSUPPORTED, "libcrypto has no %s", cb_aead_name(aead));
    }
    cipher->in = EVP_CIPHER_CTX_new();
    cipher->out = EVP_CIPHER_CTX_new();
    if (cipher->in == NULL || cipher->out == NULL ||
        EVP_DecryptInit_ex2(cipher->in, algorithm, NULL, NULL, NULL) != 1 ||
        EVP_EncryptInit_ex2(cipher->out, algorithm, NULL, NULL, NULL) != 1) {
        ERR_clear_error();
        cb_cipher_free(cipher);
        return cb_fail(err, CB_NO_MEMORY, "no memory for a cipher");
    }
    *out = cipher;
    return CB_OK;
}

void cb_cipher_free(cb_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->in); /* wipes what it holds */
    EVP_CIPHER_CTX_free(cipher->out);
    free(cipher);
}

void cb_cipher_set_key(cb_cipher *cipher, const uint8_t key[CB_SECRET_BYTES])
{
    must(EVP_DecryptInit_ex2(cipher->in, NULL, key, NULL, NULL));
    must(EVP_EncryptInit_ex2(cipher->out, NULL, key, NULL, NULL));
}

static cb_code check_sizes(cb_bytes bound, cb_bytes data, cb_error *err)
{
    if (bound.size > INT_MAX || data.size > INT_MAX - CB_TAG_BYTES)
        return cb_fail(err, CB_TOO_LARGE, "%zu bytes cannot be encrypted at once", data.size);
    return CB_OK;
}

cb_code cb_cipher_seal(cb_cipher *cipher, const uint8_t nonce[CB_NONCE_BYTES], cb_bytes bound,
                       cb_bytes plain, uint8_t *out, cb_error *err)
{
    uint8_t none[CB_TAG_BYTES];
    int size = 0;
    cb_code code = check_sizes(bound, plain, err);

    if (code != CB_OK)
        return code;
    must(EVP_EncryptInit_ex2(cipher->out, NULL, NULL, nonce, NULL));
    if (bound.size > 0)
        must(EVP_EncryptUpdate(cipher->out, NULL, &size, bound.data, (int)bound.size));
    if (plain.size > 0)
        must(EVP_EncryptUpdate(cipher->out, out, &size, plain.data, (int)plain.size));
    must(EVP_EncryptFinal_ex(cipher->out, none, &size)); /* streams: nothing is left */
    must(EVP_CIPHER_CTX_ctrl(cipher->out, EVP_CTRL_AEAD_GET_TAG, CB_TAG_BYTES, out + plain.size));
    return CB_OK;
}

cb_code cb_cipher_open(cb_cipher *cipher, const uint8_t nonce[CB_NONCE_BYTES], cb_bytes bound,
                       cb_bytes sealed, uint8_t *out, cb_error *err)
{
    uint8_t none[CB_TAG_BYTES];
    uint8_t tag[CB_TAG_BYTES];
    size_t plain_size = sealed.size - CB_TAG_BYTES;
    int size = 0;
    cb_code code = check_sizes(bound, sealed, err);

    if (code != CB_OK)
        return code;
    if (sealed.size < CB_TAG_BYTES)
        return cb_fail(err, CB_CORRUPT, "%zu bytes are too few for something encrypted",
                       sealed.size);
    memcpy(tag, sealed.data + plain_size, CB_TAG_BYTES);
    must(EVP_DecryptInit_ex2(cipher->in, NULL, NULL, nonce, NULL));
    must(EVP_CIPHER_CTX_ctrl(cipher->in, EVP_CTRL_AEAD_SET_TAG, CB_TAG_BYTES, tag));
    if (bound.size > 0)
        must(EVP_DecryptUpdate(cipher->in, NULL, &size, bound.data, (int)bound.size));
    if (plain_size > 0)
        must(EVP_DecryptUpdate(cipher->in, out, &size, sealed.data, (int)plain_size));
    if (EVP_DecryptFinal_ex(cipher->in, none, &size) == 1)
        return CB_OK;
    ERR_clear_error();
    cb_wipe(out, plain_size);
    return cb_fail(err, CB_CORRUPT, "it is not authentic: no key of this repository wrote it so");
}

static const uint8_t zero_nonce[CB_NONCE_BYTES];

static void free_cipher(cb_cipher **cipher)
{
    cb_cipher_free(*cipher);
}

cb_code cb_seal_once(cb_aead aead, const uint8_t key[CB_SECRET_BYTES], cb_bytes bound,
                     cb_bytes plain, uint8_t *out, cb_error *err)
{
    CB_CLEANUP(free_cipher) cb_cipher *cipher = NULL;
    cb_code code = cb_cipher_new(aead, &cipher, err);

    if (code != CB_OK)
        return code;
    cb_cipher_set_key(cipher, key);
    return cb_cipher_seal(cipher, zero_nonce, bound, plain, out, err);
}

cb_code cb_open_once(cb_aead aead, const uint8_t key[CB_SECRET_BYTES], cb_bytes bound,
                     cb_bytes sealed, uint8_t *out, cb_error *err)
{
    CB_CLEANUP(free_cipher) cb_cipher *cipher = NULL;
    cb_code code = cb_cipher_new(aead, &cipher, err);

    if (code != CB_OK)
        return code;
    cb_cipher_set_key(cipher, key);
    return cb_cipher_open(cipher, zero_nonce, bound, sealed, out, err);
}

/* ---- keys from keys --------------------------------------------------------------------- */

void cb_hkdf(cb_bytes secret, cb_bytes salt, cb_bytes info, uint8_t out[CB_SECRET_BYTES])
{
    uint8_t middle[CB_HMAC_BYTES];
    uint8_t step[256];

    if (info.size >= sizeof(step))
        abort(); /* ours are short */
    cb_hmac_sha256(salt.data, salt.size, secret, middle);
    if (info.size > 0)
        memcpy(step, info.data, info.size);
    step[info.size] = 1;
    cb_hmac_sha256(middle, sizeof(middle), cb_bytes_of(step, info.size + 1), out);
    cb_wipe(middle, sizeof(middle));
}

struct cb_keyed_hash {
    EVP_MAC_CTX *state; /* keyed, and never fed: each use copies it */
};

cb_code cb_keyed_hash_new(const uint8_t key[CB_SECRET_BYTES], cb_keyed_hash **out, cb_error *err)
{
    char name[] = "SHA256";
    OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    cb_keyed_hash *hash = calloc(1, sizeof(*hash));

    *out = NULL;
    if (hash == NULL)
        return cb_fail_memory(err, sizeof(*hash));
    pthread_once(&fetched, fetch);
    hash->state = EVP_MAC_CTX_new(hmac);
    if (hash->state == NULL || EVP_MAC_init(hash->state, key, CB_SECRET_BYTES, digest) != 1) {
        ERR_clear_error();
        cb_keyed_hash_free(hash);
        return cb_fail(err, CB_NO_MEMORY, "no memory for a keyed hash");
    }
    *out = hash;
    return CB_OK;
}

void cb_keyed_hash_free(cb_keyed_hash *hash)
{
    if (hash == NULL)
        return;
    EVP_MAC_CTX_free(hash->state);
    free(hash);
}

void cb_keyed_hash_of(const cb_keyed_hash *hash, cb_bytes data, cb_hash *out)
{
    EVP_MAC_CTX *state = EVP_MAC_CTX_dup(hash->state);
    size_t size;

    must(state != NULL);
    must(EVP_MAC_update(state, data.data, data.size));
    must(EVP_MAC_final(state, out->bytes, &size, CB_HASH_BYTES));
    EVP_MAC_CTX_free(state);
}

/* ---- X25519 ----------------------------------------------------------------------------- */

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_exchange(EVP_PKEY_CTX **exchange)
{
    EVP_PKEY_CTX_free(*exchange);
}

cb_code cb_x25519_public(const uint8_t scalar[CB_SECRET_BYTES], uint8_t out[CB_SECRET_BYTES],
                         cb_error *err)
{
    CB_CLEANUP(free_key)
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, CB_SECRET_BYTES);
    size_t size = CB_SECRET_BYTES;

    if (own == NULL || EVP_PKEY_get_raw_public_key(own, out, &size) != 1) {
        ERR_clear_error();
        return cb_fail(err, CB_NO_MEMORY, "libcrypto makes no X25519 key");
    }
    return CB_OK;
}

cb_code cb_x25519_shared(const uint8_t scalar[CB_SECRET_BYTES],
                         const uint8_t other[CB_SECRET_BYTES], uint8_t out[CB_SECRET_BYTES],
                         cb_error *err)
{
    CB_CLEANUP(free_key)
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, CB_SECRET_BYTES);
    CB_CLEANUP(free_key)
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, other, CB_SECRET_BYTES);
    CB_CLEANUP(free_exchange) EVP_PKEY_CTX *exchange = NULL;
    size_t size = CB_SECRET_BYTES;

    if (own != NULL && peer != NULL)
        exchange = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    if (exchange == NULL || EVP_PKEY_derive_init(exchange) != 1) {
        ERR_clear_error();
        return cb_fail(err, CB_NO_MEMORY, "libcrypto makes no X25519 key");
    }
    if (EVP_PKEY_derive_set_peer(exchange, peer) == 1 &&
        EVP_PKEY_derive(exchange, out, &size) == 1) /* refuses the secret of all zeros */
        return CB_OK;
    ERR_clear_error();
    return cb_fail(err, CB_CORRUPT, "a public key makes no shared secret");
}

/* ---- scrypt ----------------------------------------------------------------------------- */

enum { SCRYPT_WORK_LOG2 = 24 };

#define SCRYPT_MEMORY_MAX ((uint64_t)1 << 30)

static bool is_bearable(const cb_scrypt *cost)
{
    if (cost->log2_n < 1 || cost->log2_n > 23 || cost->r < 1 || cost->r > 64 || cost->p < 1 ||
        cost->p > 64)
        return false;
    return ((uint64_t)128 * cost->r << cost->log2_n) <= SCRYPT_MEMORY_MAX &&
           (cost->r * cost->p << cost->log2_n) <= (uint64_t)1 << SCRYPT_WORK_LOG2;
}

cb_code cb_scrypt_key(cb_bytes passphrase, cb_bytes salt, const cb_scrypt *cost,
                      uint8_t out[CB_SECRET_BYTES], cb_error *err)
{
    uint64_t memory = SCRYPT_MEMORY_MAX + (1 << 20); /* and what it needs besides the large table */

    if (!is_bearable(cost))
        return cb_fail(err, CB_UNSUPPORTED,
                       "scrypt with N=2^%u, r=%u, p=%u costs more than is allowed",
                       (unsigned)cost->log2_n, (unsigned)cost->r, (unsigned)cost->p);
    if (EVP_PBE_scrypt((const char *)passphrase.data, passphrase.size, salt.data, salt.size,
                       (uint64_t)1 << cost->log2_n, cost->r, cost->p, memory, out,
                       CB_SECRET_BYTES) == 1)
        return CB_OK;
    ERR_clear_error();
    return cb_fail(err, CB_NO_MEMORY, "no memory for scrypt, which takes %u MiB",
                   (unsigned)((128 * cost->r << cost->log2_n) >> 20));
}
