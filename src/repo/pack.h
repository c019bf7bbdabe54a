/*
 * pack.h - a pack: a header, chunks one after another, a footer that says what lies where.
 *
 * Packs are streamed into the store and never held; only the footer's entries stay in memory
 * until the pack is finished. A finished pack describes itself, so that the index can always be
 * rebuilt. Format: doc/format.md, "Packs".
 *
 * Threads: none; the owner of a pack serialises its calls.
 */
#ifndef CB_REPO_PACK_H
#define CB_REPO_PACK_H

#include "repo/key.h"
#include "repo/keys.h"

#include "codec/compress.h"
#include "codec/hash.h"
#include "codec/item.h"

enum {
    CB_PACK_HEADER_BYTES = 64,
    CB_PACK_ENTRY_BYTES = 46,
    CB_PACK_TRAILER_BYTES = 8,
    CB_PACK_CHUNKS_MAX = 1 << 16,
    CB_PACK_FOOTER_MAX = 8 << 20, /* 65536 entries are 3 MB; the rest is for key wraps */
    CB_STORED_BYTES_MAX = CB_CHUNK_BYTES_MAX + (CB_CHUNK_BYTES_MAX >> 3),
};

typedef enum cb_pack_kind {
    CB_PACK_DATA = 1,
    CB_PACK_META = 2, /* pages of entries and item tables */
} cb_pack_kind;

typedef struct cb_pack_entry {
    cb_hash id;
    uint32_t offset;
    uint32_t stored_bytes;
    uint32_t raw_bytes;
    uint8_t codec;
    uint8_t flags;
} cb_pack_entry;

/* ---- writing ---- */

typedef struct cb_pack_writer {
    uint8_t id[CB_PACK_ID_BYTES];
    uint8_t repo_id[CB_REPO_ID_BYTES];
    const cb_keys *keys; /* NULL: not encrypted; borrowed */
    cb_cipher *cipher;   /* under the pack's own key, which nobody else ever has */
    uint8_t wrap[CB_WRAP_BYTES];
    cb_buf sealed;
    bool is_broken; /* a write failed: an offset, and with it a nonce, may be used up */
    cb_pack_kind kind;
    cb_writer *writer;
    uint64_t size_bytes;
    cb_pack_entry *entries;
    size_t count;
    size_t capacity;
} cb_pack_writer;

/* `keys` NULL: the pack is not encrypted. `retain_until_us`: object lock; 0: none. */
CB_MUST_USE cb_code cb_pack_begin(cb_store *store, const uint8_t repo_id[CB_REPO_ID_BYTES],
                                  const uint8_t id[CB_PACK_ID_BYTES], cb_pack_kind kind,
                                  int64_t retain_until_us, const cb_keys *keys,
                                  cb_pack_writer **out, cb_error *err);
/* What an index must say of the pack's key; NULL when it has none. */
const uint8_t *cb_pack_wrap(const cb_pack_writer *pack);
/* `entry` says id, raw_bytes, codec; offset and stored_bytes are filled in. Encrypts `stored`. */
CB_MUST_USE cb_code cb_pack_append(cb_pack_writer *pack, cb_pack_entry *entry, cb_bytes stored,
                                   cb_error *err);
/* Footer, then commit: the pack is durable once this has returned CB_OK. */
CB_MUST_USE cb_code cb_pack_finish(cb_pack_writer *pack, cb_error *err);
void cb_pack_free(cb_pack_writer *pack); /* without finish nothing stays; NULL is allowed */

/* ---- reading ---- */

typedef struct cb_footer {
    cb_pack_kind kind;
    cb_pack_entry *entries; /* in the order in which they lie */
    size_t count;
    bool has_wrap;
    uint8_t wrap[CB_WRAP_BYTES];
} cb_footer;
void cb_footer_free(cb_footer *footer);
const uint8_t *cb_footer_wrap(const cb_footer *footer); /* NULL: the pack is not encrypted */

/*
 * Parse the last bytes of a pack. *need is set to the bytes of footer and trailer together; when
 * `tail` holds fewer, CB_TOO_LARGE is returned and the caller reads that many.
 * Errors: CB_CORRUPT, CB_UNSUPPORTED.
 */
CB_MUST_USE cb_code cb_footer_parse(cb_bytes tail, uint64_t pack_bytes, const uint8_t *repo_id,
                                    const uint8_t *pack_id, const cb_keys *keys, size_t *need,
                                    cb_footer *out, cb_error *err);

/* Read and parse the footer of a pack of `pack_bytes`. Errors also: CB_NOT_FOUND. */
CB_MUST_USE cb_code cb_footer_read(cb_store *store, const uint8_t *repo_id,
                                   const uint8_t pack_id[CB_PACK_ID_BYTES], uint64_t pack_bytes,
                                   const cb_keys *keys, cb_footer *out, cb_error *err);

/*
 * One chunk as it lies in an encrypted pack. The nonce is its offset: a pack's key encrypts each
 * place once. Of the id the first half is bound (an index in memory knows no more); the rest is
 * compared with the content.
 */
typedef struct cb_chunk_place {
    const uint8_t *repo_id;
    const uint8_t *pack_id;
    const uint8_t *id; /* CB_INDEX_PREFIX_BYTES of it */
    uint32_t offset;
    uint32_t raw_bytes;
    uint8_t codec;
} cb_chunk_place;
/* `out` has room for CB_TAG_BYTES more. */
CB_MUST_USE cb_code cb_chunk_seal(cb_cipher *cipher, const cb_chunk_place *place, cb_bytes plain,
                                  uint8_t *out, cb_error *err);
CB_MUST_USE cb_code cb_chunk_unseal(cb_cipher *cipher, const cb_chunk_place *place, cb_bytes sealed,
                                    uint8_t *out, cb_error *err);
/* Of a pack's wrap. */
cb_bytes cb_pack_context(const uint8_t id[CB_PACK_ID_BYTES]);

/* Bounds that every entry must keep, wherever it was read from. */
bool cb_pack_entry_is_sane(const cb_pack_entry *entry);
void cb_pack_entry_render(const cb_pack_entry *entry, uint8_t out[CB_PACK_ENTRY_BYTES]);
void cb_pack_entry_parse(const uint8_t *at, cb_pack_entry *out);

#endif
