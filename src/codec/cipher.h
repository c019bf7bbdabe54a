/*
 * cipher.h - what encrypts a repository, by libcrypto: AEAD, HKDF, keyed ids, X25519, scrypt.
 *
 * Randomness is an argument: the same input gives the same output. Nothing here knows what a key is
 * for; who may use a nonce with a key once and only once is the caller's to keep (doc/format.md,
 * "Encryption").
 *
 * Threads: a cb_cipher belongs to one thread at a time; a cb_keyed_hash serves any number.
 */
#ifndef CB_CODEC_CIPHER_H
#define CB_CODEC_CIPHER_H

#include "codec/hash.h"

enum { CB_SECRET_BYTES = 32, CB_NONCE_BYTES = 12, CB_TAG_BYTES = 16 };

/* On disk: doc/format.md, "Configuration". Both have keys of 32 bytes. */
typedef enum cb_aead {
    CB_AEAD_NONE = 0,
    CB_AEAD_AES_256_GCM = 1,
    CB_AEAD_CHACHA20_POLY1305 = 2,
} cb_aead;

cb_aead cb_aead_best(void);             /* the faster one on this processor */
const char *cb_aead_name(cb_aead aead); /* "" for none */

/* Encrypts and decrypts under the key that was set last. */
typedef struct cb_cipher cb_cipher;
CB_MUST_USE cb_code cb_cipher_new(cb_aead aead, cb_cipher **out, cb_error *err);
void cb_cipher_free(cb_cipher *cipher); /* wipes the key; NULL is allowed */
void cb_cipher_set_key(cb_cipher *cipher, const uint8_t key[CB_SECRET_BYTES]);

/* `out` has room for plain.size + CB_TAG_BYTES and may be plain.data itself. */
CB_MUST_USE cb_code cb_cipher_seal(cb_cipher *cipher, const uint8_t nonce[CB_NONCE_BYTES],
                                   cb_bytes bound, cb_bytes plain, uint8_t *out, cb_error *err);
/*
 * `out` has room for sealed.size - CB_TAG_BYTES and may be sealed.data itself. Errors: CB_CORRUPT
 * when the bytes were not sealed with this key, nonce and `bound`; then `out` holds nothing of use.
 */
CB_MUST_USE cb_code cb_cipher_open(cb_cipher *cipher, const uint8_t nonce[CB_NONCE_BYTES],
                                   cb_bytes bound, cb_bytes sealed, uint8_t *out, cb_error *err);

/* In one call, with a key that is used once: the nonce is all zero. */
CB_MUST_USE cb_code cb_seal_once(cb_aead aead, const uint8_t key[CB_SECRET_BYTES], cb_bytes bound,
                                 cb_bytes plain, uint8_t *out, cb_error *err);
CB_MUST_USE cb_code cb_open_once(cb_aead aead, const uint8_t key[CB_SECRET_BYTES], cb_bytes bound,
                                 cb_bytes sealed, uint8_t *out, cb_error *err);

/* RFC 5869 with SHA-256, the first 32 bytes. */
void cb_hkdf(cb_bytes secret, cb_bytes salt, cb_bytes info, uint8_t out[CB_SECRET_BYTES]);

/* HMAC-SHA256 under one key, which is worked in once. */
typedef struct cb_keyed_hash cb_keyed_hash;
CB_MUST_USE cb_code cb_keyed_hash_new(const uint8_t key[CB_SECRET_BYTES], cb_keyed_hash **out,
                                      cb_error *err);
void cb_keyed_hash_free(cb_keyed_hash *hash); /* NULL is allowed */
void cb_keyed_hash_of(const cb_keyed_hash *hash, cb_bytes data, cb_hash *out);

/* RFC 7748. CB_CORRUPT when `other` is a point that makes no secret. */
CB_MUST_USE cb_code cb_x25519_public(const uint8_t scalar[CB_SECRET_BYTES],
                                     uint8_t out[CB_SECRET_BYTES], cb_error *err);
CB_MUST_USE cb_code cb_x25519_shared(const uint8_t scalar[CB_SECRET_BYTES],
                                     const uint8_t other[CB_SECRET_BYTES],
                                     uint8_t out[CB_SECRET_BYTES], cb_error *err);

/*
 * RFC 7914: memory 128 * r * N bytes, time N * r * p. Errors: CB_UNSUPPORTED past 1 GiB of memory
 * or sixteen times the time of the usual setting (a hostile slot must not stop us), CB_NO_MEMORY.
 */
typedef struct cb_scrypt {
    uint64_t log2_n, r, p;
} cb_scrypt;
CB_MUST_USE cb_code cb_scrypt_key(cb_bytes passphrase, cb_bytes salt, const cb_scrypt *cost,
                                  uint8_t out[CB_SECRET_BYTES], cb_error *err);

#endif
