/*
 * keys.h - the secrets of an encrypted repository, and what is sealed with them.
 *
 * All are derived from one random master key, which the key slots hold (slot.c). Two kinds of
 * host: one that has opened a slot knows the master and reads all; a write-only one has a key file
 * with the shared secrets, which is enough to find what is stored and to add to it. What only the
 * first may read (chunks, manifests) is encrypted with random keys, and those are wrapped for the
 * repository's public key. Format: doc/format.md, "Encryption".
 *
 * Threads: a cb_keys never changes and may be shared; all calls below may come from any thread.
 */
#ifndef CB_REPO_KEYS_H
#define CB_REPO_KEYS_H

#include "repo/object.h"

#include "base/ctx.h"
#include "codec/cipher.h"

enum {
    CB_SALT_BYTES = 32,
    CB_WRAP_BYTES = 80, /* ephemeral public key, sealed content key */
    CB_SLOT_ID_BYTES = 8,
    CB_SLOT_HEX = 2 * CB_SLOT_ID_BYTES + 1,
    CB_NAME_HASH_BYTES = 16,
    CB_NAME_HASH_HEX = 2 * CB_NAME_HASH_BYTES + 1,
    CB_SHARED_BYTES = 6 * CB_SECRET_BYTES, /* what a key file holds */
};

typedef struct cb_keys {
    cb_ctx *ctx; /* chance */
    cb_aead aead;
    uint8_t repo_id[CB_REPO_ID_BYTES];
    uint8_t slot_id[CB_SLOT_ID_BYTES]; /* by which it was opened */
    bool can_read;
    uint8_t master[CB_SECRET_BYTES]; /* these three only when can_read */
    uint8_t private_key[CB_SECRET_BYTES];
    uint8_t notes[CB_SECRET_BYTES]; /* what slots say of themselves */
    uint8_t public_key[CB_SECRET_BYTES];
    uint8_t ids[CB_SECRET_BYTES];
    uint8_t shared[CB_SECRET_BYTES];
    uint8_t names[CB_SECRET_BYTES];
    uint8_t seed[CB_SECRET_BYTES]; /* of fingerprints */
    uint8_t
        write[CB_SECRET_BYTES]; /* enters every wrap: who only knows the public key forges none */
    cb_keyed_hash *id_hash;
    cb_keyed_hash *name_hash;
} cb_keys;

CB_MUST_USE cb_code cb_keys_from_master(cb_ctx *ctx, cb_aead aead,
                                        const uint8_t repo_id[CB_REPO_ID_BYTES],
                                        const uint8_t master[CB_SECRET_BYTES], cb_keys **out,
                                        cb_error *err);
/* What a key file holds: public, ids, shared, names, seed, write. */
CB_MUST_USE cb_code cb_keys_from_shared(cb_ctx *ctx, cb_aead aead,
                                        const uint8_t repo_id[CB_REPO_ID_BYTES],
                                        const uint8_t secrets[CB_SHARED_BYTES], cb_keys **out,
                                        cb_error *err);
void cb_keys_to_shared(const cb_keys *keys, uint8_t out[CB_SHARED_BYTES]);
void cb_keys_free(cb_keys *keys); /* wipes; NULL is allowed */

/* ---- content keys ---- */

/* `context` says where the wrap stands: it opens nowhere else. */
CB_MUST_USE cb_code cb_wrap_seal(const cb_keys *keys, cb_bytes context,
                                 const uint8_t content_key[CB_SECRET_BYTES],
                                 uint8_t out[CB_WRAP_BYTES], cb_error *err);
/* Errors: CB_DENIED without the private key, CB_CORRUPT. */
CB_MUST_USE cb_code cb_wrap_open(const cb_keys *keys, cb_bytes context,
                                 const uint8_t wrap[CB_WRAP_BYTES], uint8_t out[CB_SECRET_BYTES],
                                 cb_error *err);

/* A key for one use, from the shared secret and a random salt. */
void cb_shared_key(const cb_keys *keys, const char *purpose, const uint8_t salt[CB_SALT_BYTES],
                   uint8_t out[CB_SECRET_BYTES]);

/* ---- objects ---- */

/* The frame of an object as this repository wants it: `keys` NULL makes it plain. */
CB_MUST_USE cb_code cb_object_seal(const cb_keys *keys, const uint8_t repo_id[CB_REPO_ID_BYTES],
                                   cb_object_kind kind, const char *key, cb_bytes payload,
                                   cb_buf *into, cb_error *err);
/*
 * Check and open a frame in place: view->payload is what was sealed. Errors: those of
 * cb_object_parse; CB_CORRUPT when it is not authentic, or sealed otherwise than its kind must be;
 * CB_DENIED when it is for readers only and we are none.
 */
CB_MUST_USE cb_code cb_object_unseal(const cb_keys *keys, const uint8_t repo_id[CB_REPO_ID_BYTES],
                                     cb_buf *raw, const char *key, cb_object_view *out,
                                     cb_error *err);

#endif
