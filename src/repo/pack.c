/*
 * The footer carries a copy of the header, so that one ranged read of a pack's end tells all:
 *
 *   header (64) | chunks | footer: header copy, count, extra length, entries, extra, sum | trailer
 *
 * Offsets are from the pack's first byte. In an encrypted pack each chunk and the list of entries
 * are sealed, and `extra` says how to open them.
 */
#include "repo/pack.h"

#include <stdlib.h>

#include "base/array.h"
#include "codec/field.h"
#include "codec/mac.h"

enum {
    AT_KIND = 4,
    AT_FLAGS = 5,
    AT_VERSION = 6,
    AT_REPO_ID = 8,
    AT_PACK_ID = 24,
    AT_COUNT = CB_PACK_HEADER_BYTES,
    AT_EXTRA_BYTES = AT_COUNT + 4,
    AT_ENTRIES = AT_EXTRA_BYTES + 4,
    TAIL_GUESS = 32 << 10,
    FLAG_SEALED = 1,
    ID_BOUND_BYTES = 16,
};

/* Fields of `extra`: doc/format.md, "Packs". */
enum { F_SALT = 1, F_WRAP = 2 };

static const uint8_t header_magic[4] = {'C', 'B', 'K', 'P'};
static const uint8_t trailer_magic[4] = {'C', 'B', 'K', 'E'};

static void render_header(const cb_pack_writer *pack, uint8_t out[CB_PACK_HEADER_BYTES])
{
    memset(out, 0, CB_PACK_HEADER_BYTES);
    memcpy(out, header_magic, sizeof(header_magic));
    out[AT_KIND] = (uint8_t)pack->kind;
    out[AT_FLAGS] = pack->keys != NULL ? FLAG_SEALED : 0;
    cb_put_u16(out + AT_VERSION, CB_FORMAT_VERSION);
    memcpy(out + AT_REPO_ID, pack->repo_id, CB_REPO_ID_BYTES);
    memcpy(out + AT_PACK_ID, pack->id, CB_PACK_ID_BYTES);
}

void cb_pack_entry_render(const cb_pack_entry *entry, uint8_t out[CB_PACK_ENTRY_BYTES])
{
    memcpy(out, entry->id.bytes, CB_HASH_BYTES);
    cb_put_u32(out + 32, entry->offset);
    cb_put_u32(out + 36, entry->stored_bytes);
    cb_put_u32(out + 40, entry->raw_bytes);
    out[44] = entry->codec;
    out[45] = entry->flags;
}

void cb_pack_entry_parse(const uint8_t *at, cb_pack_entry *out)
{
    memcpy(out->id.bytes, at, CB_HASH_BYTES);
    out->offset = cb_get_u32(at + 32);
    out->stored_bytes = cb_get_u32(at + 36);
    out->raw_bytes = cb_get_u32(at + 40);
    out->codec = at[44];
    out->flags = at[45];
}

bool cb_pack_entry_is_sane(const cb_pack_entry *entry)
{
    return entry->offset >= CB_PACK_HEADER_BYTES && entry->raw_bytes >= 1 &&
           entry->raw_bytes <= CB_CHUNK_BYTES_MAX && entry->stored_bytes >= 1 &&
           entry->stored_bytes <= CB_STORED_BYTES_MAX && entry->codec <= CB_CODEC_ZSTD &&
           entry->flags == 0 &&
           (entry->codec != CB_CODEC_RAW || entry->stored_bytes == entry->raw_bytes ||
            entry->stored_bytes == entry->raw_bytes + CB_TAG_BYTES);
}

/* ---- encryption ------------------------------------------------------------------------- */

cb_bytes cb_pack_context(const uint8_t id[CB_PACK_ID_BYTES])
{
    return cb_bytes_of(id, CB_PACK_ID_BYTES);
}

enum { BOUND_BYTES = CB_REPO_ID_BYTES + CB_PACK_ID_BYTES + ID_BOUND_BYTES + 4 + 4 + 1 };

static void bind_place(const cb_chunk_place *place, uint8_t nonce[CB_NONCE_BYTES],
                       uint8_t bound[BOUND_BYTES])
{
    uint8_t *at = bound;

    memset(nonce, 0, CB_NONCE_BYTES);
    cb_put_u32(nonce, place->offset);
    memcpy(at, place->repo_id, CB_REPO_ID_BYTES);
    at += CB_REPO_ID_BYTES;
    memcpy(at, place->pack_id, CB_PACK_ID_BYTES);
    at += CB_PACK_ID_BYTES;
    memcpy(at, place->id, ID_BOUND_BYTES);
    at += ID_BOUND_BYTES;
    cb_put_u32(at, place->offset);
    cb_put_u32(at + 4, place->raw_bytes);
    at[8] = place->codec;
}

cb_code cb_chunk_seal(cb_cipher *cipher, const cb_chunk_place *place, cb_bytes plain, uint8_t *out,
                      cb_error *err)
{
    uint8_t nonce[CB_NONCE_BYTES];
    uint8_t bound[BOUND_BYTES];

    bind_place(place, nonce, bound);
    return cb_cipher_seal(cipher, nonce, cb_bytes_of(bound, sizeof(bound)), plain, out, err);
}

cb_code cb_chunk_unseal(cb_cipher *cipher, const cb_chunk_place *place, cb_bytes sealed,
                        uint8_t *out, cb_error *err)
{
    uint8_t nonce[CB_NONCE_BYTES];
    uint8_t bound[BOUND_BYTES];

    bind_place(place, nonce, bound);
    return cb_cipher_open(cipher, nonce, cb_bytes_of(bound, sizeof(bound)), sealed, out, err);
}

/* A key of its own for the pack: only its wrap remains of it. */
static cb_code begin_cipher(cb_pack_writer *pack, cb_error *err)
{
    uint8_t key[CB_SECRET_BYTES];
    cb_code code = cb_cipher_new(pack->keys->aead, &pack->cipher, err);

    if (code != CB_OK)
        return code;
    cb_random(pack->keys->ctx, key, sizeof(key));
    code = cb_wrap_seal(pack->keys, cb_pack_context(pack->id), key, pack->wrap, err);
    cb_cipher_set_key(pack->cipher, key);
    cb_wipe(key, sizeof(key));
    return code;
}

const uint8_t *cb_pack_wrap(const cb_pack_writer *pack)
{
    return pack->keys != NULL ? pack->wrap : NULL;
}

/* ---- writing ---------------------------------------------------------------------------- */

cb_code cb_pack_begin(cb_store *store, const uint8_t repo_id[CB_REPO_ID_BYTES],
                      const uint8_t id[CB_PACK_ID_BYTES], cb_pack_kind kind,
                      int64_t retain_until_us, const cb_keys *keys, cb_pack_writer **out,
                      cb_error *err)
{
    const cb_put_options options = {.mode = CB_PUT_NEW, .retain_until_us = retain_until_us};
    cb_pack_writer *pack = calloc(1, sizeof(*pack));
    uint8_t header[CB_PACK_HEADER_BYTES];
    char key[CB_KEY_MAX];
    cb_code code = CB_OK;

    *out = NULL;
    if (pack == NULL)
        return cb_fail_memory(err, sizeof(*pack));
    memcpy(pack->id, id, CB_PACK_ID_BYTES);
    memcpy(pack->repo_id, repo_id, CB_REPO_ID_BYTES);
    pack->kind = kind;
    pack->keys = keys;
    if (keys != NULL)
        code = begin_cipher(pack, err);
    if (code == CB_OK)
        code = cb_store_put_with(store, cb_key_pack(key, id), &options, &pack->writer, err);
    if (code == CB_OK) {
        render_header(pack, header);
        code = cb_writer_write(pack->writer, cb_bytes_of(header, sizeof(header)), err);
        pack->size_bytes = sizeof(header);
    }
    if (code != CB_OK) {
        cb_pack_free(pack);
        return code;
    }
    *out = pack;
    return CB_OK;
}

void cb_pack_free(cb_pack_writer *pack)
{
    if (pack == NULL)
        return;
    cb_writer_free(pack->writer);
    cb_cipher_free(pack->cipher);
    cb_buf_free(&pack->sealed);
    free(pack->entries);
    free(pack);
}

static cb_code seal_chunk(cb_pack_writer *pack, const cb_pack_entry *entry, cb_bytes *stored,
                          cb_error *err)
{
    cb_chunk_place place = {.repo_id = pack->repo_id,
                            .pack_id = pack->id,
                            .id = entry->id.bytes,
                            .offset = entry->offset,
                            .raw_bytes = entry->raw_bytes,
                            .codec = entry->codec};
    cb_code code;

    pack->sealed.size = 0;
    code = cb_buf_reserve(&pack->sealed, stored->size + CB_TAG_BYTES, err);
    if (code == CB_OK)
        code = cb_chunk_seal(pack->cipher, &place, *stored, pack->sealed.data, err);
    *stored = cb_bytes_of(pack->sealed.data, stored->size + CB_TAG_BYTES);
    return code;
}

cb_code cb_pack_append(cb_pack_writer *pack, cb_pack_entry *entry, cb_bytes stored, cb_error *err)
{
    cb_code code = CB_OK;

    if (pack->is_broken)
        return cb_fail(err, CB_INTERNAL, "a pack is written to after a failure");
    entry->offset = (uint32_t)pack->size_bytes;
    if (pack->count == pack->capacity)
        code = cb_array_grow(&pack->entries, &pack->capacity, sizeof(*pack->entries), err);
    if (code == CB_OK && pack->keys != NULL)
        code = seal_chunk(pack, entry, &stored, err);
    if (code == CB_OK)
        code = cb_writer_write(pack->writer, stored, err);
    if (code != CB_OK) {
        pack->is_broken = true;
        return code;
    }
    entry->stored_bytes = (uint32_t)stored.size;
    pack->entries[pack->count++] = *entry;
    pack->size_bytes += stored.size;
    return CB_OK;
}

/* Salt and wrap; *salt_at is where the salt stands in `extra`. */
static cb_code render_extra(const cb_pack_writer *pack, uint8_t salt[CB_SALT_BYTES], cb_buf *extra,
                            cb_error *err)
{
    cb_code code;

    cb_random(pack->keys->ctx, salt, CB_SALT_BYTES);
    code = cb_field_put_bytes(extra, F_SALT, cb_bytes_of(salt, CB_SALT_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_bytes(extra, F_WRAP, cb_bytes_of(pack->wrap, CB_WRAP_BYTES), err);
    return code;
}

/* Bound to the entries: header, count, length of extra, extra. */
static cb_code footer_bound(const uint8_t *footer, cb_bytes extra, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_append(into, footer, AT_ENTRIES, err);

    if (code == CB_OK)
        code = cb_buf_append(into, extra.data, extra.size, err);
    return code;
}

/* Seal the entries where they stand. */
static cb_code seal_entries(const cb_pack_writer *pack, uint8_t *footer,
                            const uint8_t salt[CB_SALT_BYTES], cb_bytes extra, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf bound = {0};
    uint8_t key[CB_SECRET_BYTES];
    cb_code code = footer_bound(footer, extra, &bound, err);

    if (code != CB_OK)
        return code;
    cb_shared_key(pack->keys, "footer", salt, key);
    code = cb_seal_once(pack->keys->aead, key, cb_buf_bytes(&bound),
                        cb_bytes_of(footer + AT_ENTRIES, pack->count * CB_PACK_ENTRY_BYTES),
                        footer + AT_ENTRIES, err);
    cb_wipe(key, sizeof(key));
    return code;
}

static cb_code render_footer(const cb_pack_writer *pack, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf extra = {0};
    uint8_t salt[CB_SALT_BYTES];
    size_t tag = pack->keys != NULL ? CB_TAG_BYTES : 0;
    size_t at = AT_ENTRIES + pack->count * CB_PACK_ENTRY_BYTES + tag;
    size_t body;
    cb_hash sum;
    cb_code code = pack->keys != NULL ? render_extra(pack, salt, &extra, err) : CB_OK;

    body = at + extra.size;
    if (code == CB_OK)
        code = cb_buf_reserve(into, body + CB_HASH_BYTES + CB_PACK_TRAILER_BYTES, err);
    if (code != CB_OK)
        return code;
    render_header(pack, into->data);
    cb_put_u32(into->data + AT_COUNT, (uint32_t)pack->count);
    cb_put_u32(into->data + AT_EXTRA_BYTES, (uint32_t)extra.size);
    for (size_t i = 0; i < pack->count; i++)
        cb_pack_entry_render(&pack->entries[i], into->data + AT_ENTRIES + i * CB_PACK_ENTRY_BYTES);
    if (pack->keys != NULL) {
        code = seal_entries(pack, into->data, salt, cb_buf_bytes(&extra), err);
        if (code != CB_OK)
            return code;
        memcpy(into->data + at, extra.data, extra.size);
    }
    cb_sha256(cb_bytes_of(into->data, body), &sum);
    memcpy(into->data + body, sum.bytes, CB_HASH_BYTES);
    cb_put_u32(into->data + body + CB_HASH_BYTES, (uint32_t)(body + CB_HASH_BYTES));
    memcpy(into->data + body + CB_HASH_BYTES + 4, trailer_magic, sizeof(trailer_magic));
    into->size = body + CB_HASH_BYTES + CB_PACK_TRAILER_BYTES;
    return CB_OK;
}

cb_code cb_pack_finish(cb_pack_writer *pack, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf footer = {0};
    cb_code code = render_footer(pack, &footer, err);

    if (code == CB_OK)
        code = cb_writer_write(pack->writer, cb_buf_bytes(&footer), err);
    if (code == CB_OK)
        code = cb_writer_commit(pack->writer, err);
    if (code == CB_EXISTS) {
        /* The id is 128 random bits: what is there is our own, written by a repeated request. */
        cb_error_clear(err);
        code = CB_OK;
    }
    if (code != CB_OK)
        return code;
    pack->size_bytes += footer.size;
    cb_writer_free(pack->writer);
    pack->writer = NULL;
    return CB_OK;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The length in the trailer, as far as it can be true. */
static cb_code trailer_length(cb_bytes tail, uint64_t pack_bytes, size_t *need, cb_error *err)
{
    const uint8_t *trailer;
    uint32_t length;

    if (tail.size < CB_PACK_TRAILER_BYTES)
        return cb_fail(err, CB_CORRUPT, "it is cut: %zu bytes are too few for a pack", tail.size);
    trailer = tail.data + tail.size - CB_PACK_TRAILER_BYTES;
    if (memcmp(trailer + 4, trailer_magic, sizeof(trailer_magic)) != 0)
        return cb_fail(err, CB_CORRUPT, "it does not end like a pack: cut, or damaged at its end");
    length = cb_get_u32(trailer);
    if (length < AT_ENTRIES + CB_HASH_BYTES || length > CB_PACK_FOOTER_MAX ||
        (uint64_t)length + CB_PACK_TRAILER_BYTES + CB_PACK_HEADER_BYTES > pack_bytes)
        return cb_fail(err, CB_CORRUPT, "its footer cannot be %u bytes long", length);
    *need = length + CB_PACK_TRAILER_BYTES;
    return CB_OK;
}

static cb_code check_footer(cb_bytes footer, const uint8_t *repo_id, const uint8_t *pack_id,
                            const cb_keys *keys, cb_error *err)
{
    cb_hash sum;
    unsigned version = cb_get_u16(footer.data + AT_VERSION);

    if (memcmp(footer.data, header_magic, sizeof(header_magic)) != 0)
        return cb_fail(err, CB_CORRUPT, "its footer does not begin like one");
    if (version > CB_FORMAT_VERSION || footer.data[AT_FLAGS] > FLAG_SEALED) {
        cb_fail(err, CB_UNSUPPORTED, "it has format %u.%u, the newest known is %d.0", version,
                (unsigned)footer.data[AT_FLAGS], CB_FORMAT_VERSION);
        cb_hint(err, "Use the release that wrote it, or a later one.");
        return err->code;
    }
    cb_sha256(cb_bytes_of(footer.data, footer.size - CB_HASH_BYTES), &sum);
    if (memcmp(sum.bytes, footer.data + footer.size - CB_HASH_BYTES, CB_HASH_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "the checksum of its footer differs");
    if (memcmp(footer.data + AT_REPO_ID, repo_id, CB_REPO_ID_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "it belongs to another repository");
    if (memcmp(footer.data + AT_PACK_ID, pack_id, CB_PACK_ID_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "it is the pack of another key");
    if (footer.data[AT_FLAGS] == FLAG_SEALED && keys == NULL)
        return cb_fail(err, CB_CORRUPT, "it is encrypted, but the repository is not");
    if (footer.data[AT_FLAGS] != FLAG_SEALED && keys != NULL)
        return cb_fail(err, CB_CORRUPT,
                       "it is not encrypted: no key of this repository wrote it so");
    return CB_OK;
}

void cb_footer_free(cb_footer *footer)
{
    free(footer->entries);
    memset(footer, 0, sizeof(*footer));
}

const uint8_t *cb_footer_wrap(const cb_footer *footer)
{
    return footer->has_wrap ? footer->wrap : NULL;
}

static cb_code parse_extra(cb_bytes extra, uint8_t salt[CB_SALT_BYTES], cb_footer *out,
                           cb_error *err)
{
    cb_field_reader reader = {extra};
    cb_field field;
    bool has_salt = false;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_SALT && field.value.size == CB_SALT_BYTES) {
            memcpy(salt, field.value.data, CB_SALT_BYTES);
            has_salt = true;
        } else if (field.tag == F_WRAP && field.value.size == CB_WRAP_BYTES && !out->has_wrap) {
            memcpy(out->wrap, field.value.data, CB_WRAP_BYTES);
            out->has_wrap = true; /* the first is for the repository's own key pair */
        }
    }
    if (code == CB_OK && (!has_salt || !out->has_wrap))
        return cb_fail(err, CB_CORRUPT, "its footer does not say how it is encrypted");
    return code;
}

/* The entries as they were before they were sealed, into `plain`. */
static cb_code open_entries(cb_bytes footer, size_t sealed_bytes, cb_bytes extra,
                            const cb_keys *keys, cb_buf *plain, cb_footer *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf bound = {0};
    uint8_t salt[CB_SALT_BYTES];
    uint8_t key[CB_SECRET_BYTES];
    cb_code code = parse_extra(extra, salt, out, err);

    if (code == CB_OK)
        code = footer_bound(footer.data, extra, &bound, err);
    if (code == CB_OK)
        code = cb_buf_reserve(plain, sealed_bytes, err);
    if (code != CB_OK)
        return code;
    cb_shared_key(keys, "footer", salt, key);
    code = cb_open_once(keys->aead, key, cb_buf_bytes(&bound),
                        cb_bytes_of(footer.data + AT_ENTRIES, sealed_bytes), plain->data, err);
    cb_wipe(key, sizeof(key));
    if (code == CB_OK)
        plain->size = sealed_bytes - CB_TAG_BYTES;
    return code;
}

static cb_code parse_entries(cb_bytes footer, uint64_t pack_bytes, const cb_keys *keys,
                             cb_footer *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf plain = {0};
    uint32_t count = cb_get_u32(footer.data + AT_COUNT);
    uint32_t extra = cb_get_u32(footer.data + AT_EXTRA_BYTES);
    uint64_t chunks_end = pack_bytes - CB_PACK_TRAILER_BYTES - footer.size;
    size_t list = (size_t)count * CB_PACK_ENTRY_BYTES + (keys != NULL ? CB_TAG_BYTES : 0);
    const uint8_t *entries = footer.data + AT_ENTRIES;

    if (count > CB_PACK_CHUNKS_MAX ||
        AT_ENTRIES + (uint64_t)list + extra + CB_HASH_BYTES != footer.size)
        return cb_fail(err, CB_CORRUPT, "its footer says %u chunks, which do not fit it", count);
    if (keys != NULL) {
        cb_code code =
            open_entries(footer, list, cb_bytes_of(entries + list, extra), keys, &plain, out, err);

        if (code != CB_OK)
            return code;
        entries = plain.data;
    }
    out->entries = calloc(count > 0 ? count : 1, sizeof(*out->entries));
    if (out->entries == NULL)
        return cb_fail_memory(err, count * sizeof(*out->entries));
    for (uint32_t i = 0; i < count; i++) {
        cb_pack_entry *entry = &out->entries[i];

        cb_pack_entry_parse(entries + (size_t)i * CB_PACK_ENTRY_BYTES, entry);
        if (!cb_pack_entry_is_sane(entry) ||
            (uint64_t)entry->offset + entry->stored_bytes > chunks_end)
            return cb_fail(err, CB_CORRUPT, "chunk %u of its footer lies outside of it", i);
    }
    out->kind = footer.data[AT_KIND] == CB_PACK_META ? CB_PACK_META : CB_PACK_DATA;
    out->count = count;
    return CB_OK;
}

cb_code cb_footer_parse(cb_bytes tail, uint64_t pack_bytes, const uint8_t *repo_id,
                        const uint8_t *pack_id, const cb_keys *keys, size_t *need, cb_footer *out,
                        cb_error *err)
{
    cb_bytes footer;
    cb_code code = trailer_length(tail, pack_bytes, need, err);

    memset(out, 0, sizeof(*out));
    if (code != CB_OK)
        return code;
    if (*need > tail.size)
        return cb_fail(err, CB_TOO_LARGE, "its footer has %zu bytes", *need);
    footer = cb_bytes_of(tail.data + tail.size - *need, *need - CB_PACK_TRAILER_BYTES);
    code = check_footer(footer, repo_id, pack_id, keys, err);
    if (code == CB_OK)
        code = parse_entries(footer, pack_bytes, keys, out, err);
    if (code != CB_OK)
        cb_footer_free(out);
    return code;
}

static cb_code read_tail(cb_store *store, const char *key, uint64_t pack_bytes, size_t tail_bytes,
                         cb_buf *into, cb_error *err)
{
    if (tail_bytes > pack_bytes)
        tail_bytes = (size_t)pack_bytes;
    into->size = 0;
    return cb_store_get(store, key, pack_bytes - tail_bytes, tail_bytes, into, err);
}

cb_code cb_footer_read(cb_store *store, const uint8_t *repo_id,
                       const uint8_t pack_id[CB_PACK_ID_BYTES], uint64_t pack_bytes,
                       const cb_keys *keys, cb_footer *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf tail = {.limit = CB_PACK_FOOTER_MAX + CB_PACK_TRAILER_BYTES};
    char key[CB_KEY_MAX];
    size_t need = 0;
    cb_code code;

    memset(out, 0, sizeof(*out));
    cb_key_pack(key, pack_id);
    code = read_tail(store, key, pack_bytes, TAIL_GUESS, &tail, err);
    if (code == CB_OK) {
        code = cb_footer_parse(cb_buf_bytes(&tail), pack_bytes, repo_id, pack_id, keys, &need, out,
                               err);
        if (code == CB_TOO_LARGE) {
            cb_error_clear(err);
            code = read_tail(store, key, pack_bytes, need, &tail, err);
            if (code == CB_OK)
                code = cb_footer_parse(cb_buf_bytes(&tail), pack_bytes, repo_id, pack_id, keys,
                                       &need, out, err);
            if (code == CB_TOO_LARGE) /* the pack shrank between the two reads */
                code = cb_fail(err, CB_CORRUPT, "its end changed while it was read");
        }
    }
    if (code != CB_OK)
        return cb_context(err, "pack '%s'", key);
    return CB_OK;
}
