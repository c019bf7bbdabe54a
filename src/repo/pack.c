/*
 * The footer carries a copy of the header, so that one ranged read of a pack's end tells all:
 *
 *   header (64) | chunks | footer: header copy, count, extra length, entries, extra, sum | trailer
 *
 * Offsets are from the pack's first byte. `extra` is the room for what encryption will need.
 */
#include "repo/pack.h"

#include <stdlib.h>

#include "base/array.h"

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
};

static const uint8_t header_magic[4] = {'C', 'B', 'K', 'P'};
static const uint8_t trailer_magic[4] = {'C', 'B', 'K', 'E'};

static void render_header(const cb_pack_writer *pack, uint8_t out[CB_PACK_HEADER_BYTES])
{
    memset(out, 0, CB_PACK_HEADER_BYTES);
    memcpy(out, header_magic, sizeof(header_magic));
    out[AT_KIND] = (uint8_t)pack->kind;
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
           (entry->codec != CB_CODEC_RAW || entry->stored_bytes == entry->raw_bytes);
}

/* ---- writing ---------------------------------------------------------------------------- */

cb_code cb_pack_begin(cb_store *store, const uint8_t repo_id[CB_REPO_ID_BYTES],
                      const uint8_t id[CB_PACK_ID_BYTES], cb_pack_kind kind, cb_pack_writer **out,
                      cb_error *err)
{
    cb_pack_writer *pack = calloc(1, sizeof(*pack));
    uint8_t header[CB_PACK_HEADER_BYTES];
    char key[CB_KEY_MAX];
    cb_code code;

    *out = NULL;
    if (pack == NULL)
        return cb_fail_memory(err, sizeof(*pack));
    memcpy(pack->id, id, CB_PACK_ID_BYTES);
    memcpy(pack->repo_id, repo_id, CB_REPO_ID_BYTES);
    pack->kind = kind;
    code = cb_store_put(store, cb_key_pack(key, id), CB_PUT_NEW, &pack->writer, err);
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
    free(pack->entries);
    free(pack);
}

cb_code cb_pack_append(cb_pack_writer *pack, cb_pack_entry *entry, cb_bytes stored, cb_error *err)
{
    cb_code code = CB_OK;

    entry->offset = (uint32_t)pack->size_bytes;
    entry->stored_bytes = (uint32_t)stored.size;
    if (pack->count == pack->capacity)
        code = cb_array_grow(&pack->entries, &pack->capacity, sizeof(*pack->entries), err);
    if (code == CB_OK)
        code = cb_writer_write(pack->writer, stored, err);
    if (code != CB_OK)
        return code;
    pack->entries[pack->count++] = *entry;
    pack->size_bytes += stored.size;
    return CB_OK;
}

static cb_code render_footer(const cb_pack_writer *pack, cb_buf *into, cb_error *err)
{
    size_t body = AT_ENTRIES + pack->count * CB_PACK_ENTRY_BYTES;
    cb_hash sum;
    cb_code code = cb_buf_reserve(into, body + CB_HASH_BYTES + CB_PACK_TRAILER_BYTES, err);

    if (code != CB_OK)
        return code;
    render_header(pack, into->data);
    cb_put_u32(into->data + AT_COUNT, (uint32_t)pack->count);
    cb_put_u32(into->data + AT_EXTRA_BYTES, 0);
    for (size_t i = 0; i < pack->count; i++)
        cb_pack_entry_render(&pack->entries[i], into->data + AT_ENTRIES + i * CB_PACK_ENTRY_BYTES);
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

void cb_footer_free(cb_footer *footer)
{
    free(footer->entries);
    memset(footer, 0, sizeof(*footer));
}

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
                            cb_error *err)
{
    cb_hash sum;
    unsigned version = cb_get_u16(footer.data + AT_VERSION);

    if (memcmp(footer.data, header_magic, sizeof(header_magic)) != 0)
        return cb_fail(err, CB_CORRUPT, "its footer does not begin like one");
    if (version > CB_FORMAT_VERSION || footer.data[AT_FLAGS] != 0) {
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
    return CB_OK;
}

static cb_code parse_entries(cb_bytes footer, uint64_t pack_bytes, cb_footer *out, cb_error *err)
{
    uint32_t count = cb_get_u32(footer.data + AT_COUNT);
    uint32_t extra = cb_get_u32(footer.data + AT_EXTRA_BYTES);
    uint64_t chunks_end = pack_bytes - CB_PACK_TRAILER_BYTES - footer.size;

    if (count > CB_PACK_CHUNKS_MAX ||
        AT_ENTRIES + (uint64_t)count * CB_PACK_ENTRY_BYTES + extra + CB_HASH_BYTES != footer.size)
        return cb_fail(err, CB_CORRUPT, "its footer says %u chunks, which do not fit it", count);
    out->entries = calloc(count > 0 ? count : 1, sizeof(*out->entries));
    if (out->entries == NULL)
        return cb_fail_memory(err, count * sizeof(*out->entries));
    for (uint32_t i = 0; i < count; i++) {
        cb_pack_entry *entry = &out->entries[i];

        cb_pack_entry_parse(footer.data + AT_ENTRIES + (size_t)i * CB_PACK_ENTRY_BYTES, entry);
        if (!cb_pack_entry_is_sane(entry) ||
            (uint64_t)entry->offset + entry->stored_bytes > chunks_end)
            return cb_fail(err, CB_CORRUPT, "chunk %u of its footer lies outside of it", i);
    }
    out->kind = footer.data[AT_KIND] == CB_PACK_META ? CB_PACK_META : CB_PACK_DATA;
    out->count = count;
    return CB_OK;
}

cb_code cb_footer_parse(cb_bytes tail, uint64_t pack_bytes, const uint8_t *repo_id,
                        const uint8_t *pack_id, size_t *need, cb_footer *out, cb_error *err)
{
    cb_bytes footer;
    cb_code code = trailer_length(tail, pack_bytes, need, err);

    memset(out, 0, sizeof(*out));
    if (code != CB_OK)
        return code;
    if (*need > tail.size)
        return cb_fail(err, CB_TOO_LARGE, "its footer has %zu bytes", *need);
    footer = cb_bytes_of(tail.data + tail.size - *need, *need - CB_PACK_TRAILER_BYTES);
    code = check_footer(footer, repo_id, pack_id, err);
    if (code == CB_OK)
        code = parse_entries(footer, pack_bytes, out, err);
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
                       const uint8_t pack_id[CB_PACK_ID_BYTES], uint64_t pack_bytes, cb_footer *out,
                       cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf tail = {.limit = CB_PACK_FOOTER_MAX + CB_PACK_TRAILER_BYTES};
    char key[CB_KEY_MAX];
    size_t need = 0;
    cb_code code;

    memset(out, 0, sizeof(*out));
    cb_key_pack(key, pack_id);
    code = read_tail(store, key, pack_bytes, TAIL_GUESS, &tail, err);
    if (code == CB_OK) {
        code = cb_footer_parse(cb_buf_bytes(&tail), pack_bytes, repo_id, pack_id, &need, out, err);
        if (code == CB_TOO_LARGE) {
            cb_error_clear(err);
            code = read_tail(store, key, pack_bytes, need, &tail, err);
            if (code == CB_OK)
                code = cb_footer_parse(cb_buf_bytes(&tail), pack_bytes, repo_id, pack_id, &need,
                                       out, err);
            if (code == CB_TOO_LARGE) /* the pack shrank between the two reads */
                code = cb_fail(err, CB_CORRUPT, "its end changed while it was read");
        }
    }
    if (code != CB_OK)
        return cb_context(err, "pack '%s'", key);
    return CB_OK;
}
