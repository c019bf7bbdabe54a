/*
 * hash.h - SHA-256 (libcrypto) for names, and a fast keyed fingerprint (XXH3-128) for "is it as it
 * was".
 *
 * A fingerprint is never a name: it only tells, together with a known chunk id at the same
 * place, that nothing changed. Its key is a random secret of the repository.
 */
#ifndef CB_CODEC_HASH_H
#define CB_CODEC_HASH_H

#include "base/bytes.h"

enum { CB_HASH_BYTES = 32, CB_FINGERPRINT_BYTES = 16, CB_FINGERPRINT_SECRET_BYTES = 192 };

typedef struct cb_hash {
    uint8_t bytes[CB_HASH_BYTES];
} cb_hash;

typedef struct cb_fingerprint {
    uint8_t bytes[CB_FINGERPRINT_BYTES];
} cb_fingerprint;

void cb_sha256(cb_bytes data, cb_hash *out);

/* Incremental; begin/step/end. */
typedef struct cb_hasher cb_hasher;
CB_MUST_USE cb_code cb_hasher_new(cb_hasher **out, cb_error *err);
void cb_hasher_step(cb_hasher *hasher, cb_bytes data);
void cb_hasher_end(cb_hasher *hasher, cb_hash *out);
void cb_hasher_free(cb_hasher *hasher);

/* The 192-byte XXH3 secret that belongs to a 32-byte seed. */
void cb_fingerprint_secret(const uint8_t seed[32], uint8_t out[CB_FINGERPRINT_SECRET_BYTES]);
void cb_fingerprint_of(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                       cb_fingerprint *out);

static inline bool cb_hash_equal(const cb_hash *a, const cb_hash *b)
{
    return memcmp(a->bytes, b->bytes, CB_HASH_BYTES) == 0;
}

#endif
