/*
 * The tree of keys. From the master come, by HKDF with the repository's id as salt and a purpose as
 * info, all others; no key serves two purposes. A content key is wrapped by a fresh key pair: who
 * wraps forgets the private half, so that not even the writer can open the wrap again.
 */
#include "repo/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/mac.h"

#define PREFIX "canvasback 1 "

static void derive(const cb_keys *keys, const char *purpose, uint8_t out[CB_SECRET_BYTES])
{
    char info[64];

    snprintf(info, sizeof(info), PREFIX "%s", purpose);
    cb_hkdf(cb_bytes_of(keys->master, CB_SECRET_BYTES),
            cb_bytes_of(keys->repo_id, CB_REPO_ID_BYTES), cb_bytes_of(info, strlen(info)), out);
}

static cb_code new_keys(cb_ctx *ctx, cb_aead aead, const uint8_t repo_id[CB_REPO_ID_BYTES],
                        cb_keys **out, cb_error *err)
{
    cb_keys *keys = calloc(1, sizeof(*keys));

    *out = keys;
    if (keys == NULL)
        return cb_fail_memory(err, sizeof(*keys));
    keys->ctx = ctx;
    keys->aead = aead;
    memcpy(keys->repo_id, repo_id, CB_REPO_ID_BYTES);
    return CB_OK;
}

/* What is made from the keys that both kinds of host have; on failure the keys are freed. */
static cb_code finish(cb_keys **keys, cb_error *err)
{
    cb_code code = cb_keyed_hash_new((*keys)->ids, &(*keys)->id_hash, err);

    if (code == CB_OK)
        code = cb_keyed_hash_new((*keys)->names, &(*keys)->name_hash, err);
    if (code != CB_OK) {
        cb_keys_free(*keys);
        *keys = NULL;
    }
    return code;
}

cb_code cb_keys_from_master(cb_ctx *ctx, cb_aead aead, const uint8_t repo_id[CB_REPO_ID_BYTES],
                            const uint8_t master[CB_SECRET_BYTES], cb_keys **out, cb_error *err)
{
    cb_keys *keys;
    cb_code code = new_keys(ctx, aead, repo_id, out, err);

    if (code != CB_OK)
        return code;
    keys = *out;
    keys->can_read = true;
    memcpy(keys->master, master, CB_SECRET_BYTES);
    derive(keys, "private key", keys->private_key);
    derive(keys, "key notes", keys->notes);
    derive(keys, "chunk ids", keys->ids);
    derive(keys, "shared objects", keys->shared);
    derive(keys, "names", keys->names);
    derive(keys, "fingerprints", keys->seed);
    derive(keys, "writing", keys->write);
    code = cb_x25519_public(keys->private_key, keys->public_key, err);
    if (code == CB_OK)
        return finish(out, err);
    cb_keys_free(keys);
    *out = NULL;
    return code;
}

cb_code cb_keys_from_shared(cb_ctx *ctx, cb_aead aead, const uint8_t repo_id[CB_REPO_ID_BYTES],
                            const uint8_t secrets[CB_SHARED_BYTES], cb_keys **out, cb_error *err)
{
    cb_code code = new_keys(ctx, aead, repo_id, out, err);

    if (code != CB_OK)
        return code;
    memcpy((*out)->public_key, secrets, CB_SECRET_BYTES);
    memcpy((*out)->ids, secrets + CB_SECRET_BYTES, CB_SECRET_BYTES);
    memcpy((*out)->shared, secrets + 2 * CB_SECRET_BYTES, CB_SECRET_BYTES);
    memcpy((*out)->names, secrets + 3 * CB_SECRET_BYTES, CB_SECRET_BYTES);
    memcpy((*out)->seed, secrets + 4 * CB_SECRET_BYTES, CB_SECRET_BYTES);
    memcpy((*out)->write, secrets + 5 * CB_SECRET_BYTES, CB_SECRET_BYTES);
    return finish(out, err);
}

void cb_keys_to_shared(const cb_keys *keys, uint8_t out[CB_SHARED_BYTES])
{
    memcpy(out, keys->public_key, CB_SECRET_BYTES);
    memcpy(out + CB_SECRET_BYTES, keys->ids, CB_SECRET_BYTES);
    memcpy(out + 2 * CB_SECRET_BYTES, keys->shared, CB_SECRET_BYTES);
    memcpy(out + 3 * CB_SECRET_BYTES, keys->names, CB_SECRET_BYTES);
    memcpy(out + 4 * CB_SECRET_BYTES, keys->seed, CB_SECRET_BYTES);
    memcpy(out + 5 * CB_SECRET_BYTES, keys->write, CB_SECRET_BYTES);
}

void cb_keys_free(cb_keys *keys)
{
    if (keys == NULL)
        return;
    cb_keyed_hash_free(keys->id_hash);
    cb_keyed_hash_free(keys->name_hash);
    cb_wipe(keys, sizeof(*keys));
    free(keys);
}

/* ---- content keys ----------------------------------------------------------------------- */

/* From what both sides can compute, and the write key, which outsiders cannot know. */
static cb_code wrapping_key(const cb_keys *keys, cb_bytes context,
                            const uint8_t scalar[CB_SECRET_BYTES],
                            const uint8_t other[CB_SECRET_BYTES],
                            const uint8_t ephemeral[CB_SECRET_BYTES], uint8_t out[CB_SECRET_BYTES],
                            cb_error *err)
{
    uint8_t secret[2 * CB_SECRET_BYTES];
    uint8_t salt[2 * CB_SECRET_BYTES];
    uint8_t info[sizeof(PREFIX) + 4 + CB_REPO_ID_BYTES + 160];
    size_t size = sizeof(PREFIX "wrap") - 1;
    cb_code code = cb_x25519_shared(scalar, other, secret, err);

    if (code != CB_OK)
        return code;
    if (context.size > 160)
        return cb_fail(err, CB_INTERNAL, "a wrap's context has %zu bytes", context.size);
    memcpy(secret + CB_SECRET_BYTES, keys->write, CB_SECRET_BYTES);
    memcpy(salt, ephemeral, CB_SECRET_BYTES);
    memcpy(salt + CB_SECRET_BYTES, keys->public_key, CB_SECRET_BYTES);
    memcpy(info, PREFIX "wrap", size);
    memcpy(info + size, keys->repo_id, CB_REPO_ID_BYTES);
    memcpy(info + size + CB_REPO_ID_BYTES, context.data, context.size);
    size += CB_REPO_ID_BYTES + context.size;
    cb_hkdf(cb_bytes_of(secret, sizeof(secret)), cb_bytes_of(salt, sizeof(salt)),
            cb_bytes_of(info, size), out);
    cb_wipe(secret, sizeof(secret));
    return CB_OK;
}

cb_code cb_wrap_seal(const cb_keys *keys, cb_bytes context,
                     const uint8_t content_key[CB_SECRET_BYTES], uint8_t out[CB_WRAP_BYTES],
                     cb_error *err)
{
    uint8_t scalar[CB_SECRET_BYTES];
    uint8_t key[CB_SECRET_BYTES];
    cb_code code;

    cb_random(keys->ctx, scalar, sizeof(scalar));
    code = cb_x25519_public(scalar, out, err);
    if (code == CB_OK)
        code = wrapping_key(keys, context, scalar, keys->public_key, out, key, err);
    if (code == CB_OK)
        code = cb_seal_once(CB_AEAD_AES_256_GCM, key, cb_bytes_of(NULL, 0),
                            cb_bytes_of(content_key, CB_SECRET_BYTES), out + CB_SECRET_BYTES, err);
    cb_wipe(scalar, sizeof(scalar));
    cb_wipe(key, sizeof(key));
    return code;
}

cb_code cb_wrap_open(const cb_keys *keys, cb_bytes context, const uint8_t wrap[CB_WRAP_BYTES],
                     uint8_t out[CB_SECRET_BYTES], cb_error *err)
{
    uint8_t key[CB_SECRET_BYTES];
    cb_code code;

    if (!keys->can_read) {
        cb_fail(err, CB_DENIED, "this key can add backups, but not read what is stored");
        cb_hint(err, "Use a passphrase of the repository instead of the key file.");
        return err->code;
    }
    code = wrapping_key(keys, context, keys->private_key, wrap, wrap, key, err);
    if (code == CB_OK)
        code = cb_open_once(CB_AEAD_AES_256_GCM, key, cb_bytes_of(NULL, 0),
                            cb_bytes_of(wrap + CB_SECRET_BYTES, CB_WRAP_BYTES - CB_SECRET_BYTES),
                            out, err);
    cb_wipe(key, sizeof(key));
    return code;
}

void cb_shared_key(const cb_keys *keys, const char *purpose, const uint8_t salt[CB_SALT_BYTES],
                   uint8_t out[CB_SECRET_BYTES])
{
    char info[64];

    snprintf(info, sizeof(info), PREFIX "%s", purpose);
    cb_hkdf(cb_bytes_of(keys->shared, CB_SECRET_BYTES), cb_bytes_of(salt, CB_SALT_BYTES),
            cb_bytes_of(info, strlen(info)), out);
}

/* ---- objects ---------------------------------------------------------------------------- */

/* What stands before the sealed bytes of a payload. */
static size_t prefix_bytes(unsigned seal)
{
    return seal == CB_SEAL_OWNER ? CB_WRAP_BYTES : CB_SALT_BYTES;
}

static cb_bytes object_context(const char *key)
{
    return cb_bytes_of(key, strlen(key));
}

/* A new key for one object, and what leads back to it. */
static cb_code new_object_key(const cb_keys *keys, cb_object_seal_kind seal, const char *key,
                              uint8_t *prefix, uint8_t out[CB_SECRET_BYTES], cb_error *err)
{
    if (seal == CB_SEAL_OWNER) {
        cb_random(keys->ctx, out, CB_SECRET_BYTES);
        return cb_wrap_seal(keys, object_context(key), out, prefix, err);
    }
    cb_random(keys->ctx, prefix, CB_SALT_BYTES);
    cb_shared_key(keys, "object", prefix, out);
    return CB_OK;
}

cb_code cb_object_seal(const cb_keys *keys, const uint8_t repo_id[CB_REPO_ID_BYTES],
                       cb_object_kind kind, const char *key, cb_bytes payload, cb_buf *into,
                       cb_error *err)
{
    cb_object_seal_kind seal = cb_object_seal_of(kind);
    uint8_t secret[CB_SECRET_BYTES];
    size_t prefix = prefix_bytes(seal);
    size_t whole = prefix + payload.size + CB_TAG_BYTES;
    size_t before = into->size;
    size_t at;
    cb_code code;

    if (keys == NULL || seal == CB_SEAL_NONE)
        return cb_object_build(repo_id, kind, key, payload, into, err);
    code = cb_object_begin(repo_id, kind, seal, key, whole, into, &at, err);
    if (code == CB_OK)
        code = new_object_key(keys, seal, key, into->data + at, secret, err);
    if (code == CB_OK)
        code = cb_seal_once(keys->aead, secret, cb_bytes_of(into->data + before, at - before),
                            payload, into->data + at + prefix, err);
    cb_wipe(secret, sizeof(secret));
    if (code != CB_OK) {
        into->size = before;
        return code;
    }
    cb_object_end(into, at, whole, strlen(key));
    return CB_OK;
}

/* An object that is not sealed as its kind must be was put there by someone without a key. */
static cb_code check_seal(const cb_keys *keys, const cb_object_view *view, const char *key,
                          cb_error *err)
{
    unsigned wanted = keys != NULL ? (unsigned)cb_object_seal_of(view->kind) : CB_SEAL_NONE;

    if (view->seal == wanted)
        return CB_OK;
    if (keys == NULL)
        return cb_fail(err, CB_CORRUPT, "'%s' is encrypted, but the repository is not", key);
    return cb_fail(err, CB_CORRUPT,
                   "'%s' is not encrypted as it should be: no key of this repository wrote it so",
                   key);
}

static cb_code object_key(const cb_keys *keys, unsigned seal, const char *key,
                          const uint8_t *prefix, uint8_t out[CB_SECRET_BYTES], cb_error *err)
{
    if (seal == CB_SEAL_OWNER)
        return cb_wrap_open(keys, object_context(key), prefix, out, err);
    cb_shared_key(keys, "object", prefix, out);
    return CB_OK;
}

cb_code cb_object_unseal(const cb_keys *keys, const uint8_t repo_id[CB_REPO_ID_BYTES], cb_buf *raw,
                         const char *key, cb_object_view *out, cb_error *err)
{
    uint8_t secret[CB_SECRET_BYTES];
    uint8_t *payload;
    size_t prefix;
    cb_code code = cb_object_parse(cb_buf_bytes(raw), repo_id, key, out, err);

    if (code == CB_OK)
        code = check_seal(keys, out, key, err);
    if (code != CB_OK || out->seal == CB_SEAL_NONE)
        return code;
    prefix = prefix_bytes(out->seal);
    payload = raw->data + (out->payload.data - raw->data);
    if (out->payload.size < prefix + CB_TAG_BYTES)
        return cb_fail(err, CB_CORRUPT, "'%s' is too short for something encrypted", key);
    code = object_key(keys, out->seal, key, payload, secret, err);
    if (code == CB_OK)
        code = cb_open_once(
            keys->aead, secret, cb_bytes_of(raw->data, (size_t)(payload - raw->data)),
            cb_bytes_of(payload + prefix, out->payload.size - prefix), payload + prefix, err);
    cb_wipe(secret, sizeof(secret));
    if (code != CB_OK)
        return cb_context(err, "'%s'", key);
    out->payload = cb_bytes_of(payload + prefix, out->payload.size - prefix - CB_TAG_BYTES);
    return CB_OK;
}
