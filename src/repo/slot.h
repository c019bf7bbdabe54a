/*
 * slot.h - key slots: where an encrypted repository keeps its master key, once for each passphrase.
 *
 * A slot is an object `key/ID`. What a full one holds opens with a passphrase; one of a write-only
 * key holds nothing but a note for people, the secrets are in the host's key file. Any number may
 * stand side by side; a change is a new slot, then the removal of the old one. Format:
 * doc/format.md, "Key slots".
 */
#ifndef CB_REPO_SLOT_H
#define CB_REPO_SLOT_H

#include "repo/repo_internal.h"

typedef enum cb_slot_kind {
    CB_SLOT_FULL = 1,
    CB_SLOT_WRITE_ONLY = 2,
} cb_slot_kind;

/* A slot's payload, parsed; borrows from it. */
typedef struct cb_slot {
    uint64_t kind;
    cb_scrypt cost;
    uint8_t salt[CB_SALT_BYTES];
    cb_bytes secret; /* sealed */
    cb_bytes note;   /* sealed, "" when there is none */
    cb_bytes noted;  /* the part of the payload that the note vouches for */
} cb_slot;

/* Errors: CB_CORRUPT. */
CB_MUST_USE cb_code cb_slot_parse(cb_bytes payload, cb_slot *out, cb_error *err);

#define CB_SLOT_PURPOSE_SECRET "canvasback 1 slot"
#define CB_SLOT_PURPOSE_NOTE   "canvasback 1 note"
enum { CB_SLOT_BOUND_MAX = 32 + CB_REPO_ID_BYTES + CB_SLOT_ID_BYTES + 1 };
/* What a sealed part of a slot is bound to. */
cb_bytes cb_slot_bound(const char *purpose, const uint8_t *repo_id, const uint8_t *id,
                       uint64_t kind, uint8_t out[CB_SLOT_BOUND_MAX]);

/* scrypt; it is dear, so its result is kept in the context. */
CB_MUST_USE cb_code cb_slot_key(cb_ctx *ctx, cb_bytes passphrase, const uint8_t salt[CB_SALT_BYTES],
                                const cb_scrypt *cost, uint8_t out[CB_SECRET_BYTES], cb_error *err);

/* What it says of itself to who has the master key. */
typedef struct cb_slot_note {
    char label[128];
    char host[256];
    int64_t created_us;
} cb_slot_note;

/* Make a slot; its id is random and the caller's. `passphrase` NULL: one of a write-only key. */
CB_MUST_USE cb_code cb_slot_write(cb_store *store, const cb_keys *keys, const cb_scrypt *cost,
                                  const cb_hash *config_sum, const cb_bytes *passphrase,
                                  const char *label, const uint8_t id[CB_SLOT_ID_BYTES],
                                  cb_error *err);
/* Errors: CB_CORRUPT when this repository's master key did not vouch for the slot. */
CB_MUST_USE cb_code cb_slot_note_open(const cb_keys *keys, const uint8_t id[CB_SLOT_ID_BYTES],
                                      const cb_slot *slot, cb_slot_note *out, cb_error *err);
/* Read and check the frame, and parse. `raw` keeps what *out borrows from. */
CB_MUST_USE cb_code cb_slot_read(cb_store *store, const uint8_t repo_id[CB_REPO_ID_BYTES],
                                 const uint8_t id[CB_SLOT_ID_BYTES], cb_buf *raw, cb_slot *out,
                                 cb_error *err);

typedef struct cb_slot_ids {
    uint8_t (*ids)[CB_SLOT_ID_BYTES];
    size_t count, capacity;
} cb_slot_ids;
void cb_slot_ids_free(cb_slot_ids *list);
CB_MUST_USE cb_code cb_slot_list(cb_store *store, cb_slot_ids *out, cb_error *err);
const char *cb_key_slot(char out[CB_KEY_MAX], const uint8_t id[CB_SLOT_ID_BYTES]);

/* unlock.c: find the keys of the repository, whose `config` was read; sets repo->keys. */
CB_MUST_USE cb_code cb_repo_unlock(cb_repo *repo, const cb_unlock *unlock, cb_error *err);

/* ---- passphrases ---- */

enum { CB_PASSPHRASE_MAX = 1024 };

/* Wipes and releases. */
void cb_secret_free(cb_buf *secret);
/* The first that is set, else who can be asked: once, or twice for a `new_one`. Errors: CB_USAGE
   when there is none or it is empty. */
CB_MUST_USE cb_code cb_passphrase_get(cb_ctx *ctx, const cb_unlock *unlock, const char *address,
                                      bool new_one, cb_buf *out, cb_error *err);

/* ---- key files ---- */

CB_MUST_USE cb_code cb_key_file_write(const char *path, const cb_keys *keys,
                                      const cb_hash *config_sum,
                                      const uint8_t slot_id[CB_SLOT_ID_BYTES], cb_error *err);
typedef struct cb_key_file {
    uint8_t repo_id[CB_REPO_ID_BYTES];
    uint8_t slot_id[CB_SLOT_ID_BYTES];
    uint8_t secrets[CB_SHARED_BYTES];
    cb_hash config_sum;
} cb_key_file;
CB_MUST_USE cb_code cb_key_file_parse(cb_bytes text, cb_key_file *out, cb_error *err);
CB_MUST_USE cb_code cb_key_file_read(cb_ctx *ctx, const char *path, cb_key_file *out,
                                     cb_error *err);

#endif
