/*
 * Writing the item table: records one after another, cut into chunks at places that depend on the
 * paths, so that an item more or less moves nothing but its own neighbourhood.
 */
#include "repo/session_internal.h"

#include "base/array.h"

/* Fields of a record: doc/format.md, "Items". */
enum {
    F_PATH = 1,
    F_KIND = 2,
    F_SIZE = 3,
    F_HEAD_BYTES = 4,
    F_CHUNK_BYTES = 5,
    F_ATTRS = 6,
    F_ENTRIES = 7,
    F_PAGES = 8,
};

void cb_entry_render(const cb_entry *entry, uint8_t out[CB_ENTRY_BYTES])
{
    memcpy(out, entry->id.bytes, CB_HASH_BYTES);
    memcpy(out + CB_HASH_BYTES, entry->fingerprint.bytes, CB_FINGERPRINT_BYTES);
}

void cb_entry_parse(const uint8_t *at, cb_entry *out)
{
    memcpy(out->id.bytes, at, CB_HASH_BYTES);
    memcpy(out->fingerprint.bytes, at + CB_HASH_BYTES, CB_FINGERPRINT_BYTES);
}

/* ---- writing ---------------------------------------------------------------------------- */

static cb_code end_chunk(cb_session *session, cb_error *err)
{
    cb_item_writer *items = &session->items;
    cb_put_result put;
    cb_code code = CB_OK;

    if (items->chunk.size == 0)
        return CB_OK;
    if (items->count == items->capacity)
        code = cb_array_grow(&items->chunks, &items->capacity, sizeof(*items->chunks), err);
    if (code == CB_OK)
        code = cb_session_put_kind(session, CB_WORKER_SELF, CB_PACK_META,
                                   cb_buf_bytes(&items->chunk), &put, err);
    if (code != CB_OK)
        return code;
    items->chunks[items->count++] = put.id;
    items->chunk.size = 0;
    return CB_OK;
}

static cb_code render_entries(const cb_entry *entries, size_t count, cb_buf *into, uint64_t *named,
                              cb_error *err)
{
    cb_code code = cb_buf_reserve(into, count * CB_ENTRY_BYTES + 1, err);

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        cb_entry_render(&entries[i], into->data + into->size);
        into->size += CB_ENTRY_BYTES;
        *named += !cb_entry_is_hole(&entries[i]);
    }
    return code;
}

/* One page of entries, as a chunk of its own; the zero id when it is all holes. */
static cb_code put_page(cb_session *session, const cb_entry *entries, size_t count, cb_buf *page,
                        cb_buf *ids, cb_error *err)
{
    cb_put_result put = {0};
    uint64_t named = 0;
    cb_code code;

    page->size = 0;
    code = render_entries(entries, count, page, &named, err);
    if (code == CB_OK && named > 0)
        code = cb_session_put_kind(session, CB_WORKER_SELF, CB_PACK_META, cb_buf_bytes(page), &put,
                                   err);
    session->items.entries += named;
    if (code == CB_OK)
        code = cb_buf_append(ids, put.id.bytes, CB_HASH_BYTES, err);
    return code;
}

static cb_code put_entries(cb_session *session, const cb_entry *entries, uint64_t count,
                           cb_buf *record, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf ids = {0};
    CB_CLEANUP(cb_buf_free) cb_buf page = {0};
    cb_code code = CB_OK;

    if (count <= CB_INLINE_ENTRIES) {
        code = render_entries(entries, (size_t)count, &page, &session->items.entries, err);
        if (code == CB_OK && count > 0)
            code = cb_field_put_bytes(record, F_ENTRIES, cb_buf_bytes(&page), err);
        return code;
    }
    for (uint64_t at = 0; at < count && code == CB_OK; at += CB_PAGE_ENTRIES) {
        uint64_t rest = count - at;

        code =
            put_page(session, entries + at,
                     (size_t)(rest < CB_PAGE_ENTRIES ? rest : CB_PAGE_ENTRIES), &page, &ids, err);
    }
    if (code == CB_OK)
        code = cb_field_put_bytes(record, F_PAGES, cb_buf_bytes(&ids), err);
    return code;
}

static cb_code render_item(const cb_item *item, cb_buf *into, cb_error *err)
{
    cb_code code = cb_field_put_text(into, F_PATH, item->path, err);

    if (code == CB_OK)
        code = cb_field_put_u64(into, F_KIND, (uint64_t)item->kind, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_SIZE, item->size_bytes, err);
    if (code == CB_OK && item->head_bytes != 0)
        code = cb_field_put_u64(into, F_HEAD_BYTES, item->head_bytes, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_CHUNK_BYTES, item->chunk_bytes, err);
    if (code == CB_OK && item->attrs.size > 0)
        code = cb_field_put_bytes(into, F_ATTRS, item->attrs, err);
    return code;
}

/* Append the record, beginning a new chunk before it when it would not fit. */
static cb_code append_record(cb_session *session, const char *path, cb_error *err)
{
    cb_item_writer *items = &session->items;
    size_t framed = items->record.size + 10;
    cb_hash hash;
    cb_code code = CB_OK;

    if (framed > CB_CHUNK_BYTES_MAX) {
        cb_fail(err, CB_TOO_LARGE, "what has to be said of '%s' takes %zu bytes, at most %d fit",
                path, framed, CB_CHUNK_BYTES_MAX);
        return err->code;
    }
    if (items->chunk.size + framed > CB_CHUNK_BYTES_MAX)
        code = end_chunk(session, err);
    if (code == CB_OK)
        code = cb_varint_put(&items->chunk, items->record.size, err);
    if (code == CB_OK)
        code = cb_buf_append(&items->chunk, items->record.data, items->record.size, err);
    if (code != CB_OK)
        return code;
    cb_sha256(cb_bytes_of(path, strlen(path)), &hash);
    if (hash.bytes[0] == 0 || items->chunk.size >= CB_ITEM_CHUNK_SOFT)
        code = end_chunk(session, err);
    return code;
}

cb_code cb_session_item(cb_session *session, const cb_item *item, const cb_entry *entries,
                        uint64_t entry_count, cb_error *err)
{
    cb_buf *record = &session->items.record;
    cb_code code;

    if (entry_count != cb_item_chunks(item))
        return cb_fail(err, CB_INTERNAL, "'%s' has %llu chunks, not %llu", item->path,
                       (unsigned long long)cb_item_chunks(item), (unsigned long long)entry_count);
    if (session->items.is_adopted) /* written after all: what was taken over is forgotten */
        cb_session_items_void(session);
    record->size = 0;
    code = render_item(item, record, err);
    if (code == CB_OK)
        code = put_entries(session, entries, entry_count, record, err);
    if (code == CB_OK)
        code = append_record(session, item->path, err);
    return code;
}

void cb_session_items_void(cb_session *session)
{
    cb_item_writer *items = &session->items;

    items->chunk.size = 0;
    items->count = 0;
    items->entries = 0;
    items->is_adopted = false;
}

cb_code cb_session_items_end(cb_session *session, cb_error *err)
{
    return session->items.is_adopted ? CB_OK : end_chunk(session, err);
}

/* ---- parsing ---------------------------------------------------------------------------- */

static cb_code take_u32(const cb_field *field, uint32_t *out, cb_error *err)
{
    uint64_t value;
    cb_code code = cb_field_u64(field, &value, err);

    if (code == CB_OK && value > UINT32_MAX)
        return cb_fail(err, CB_CORRUPT, "field %u of an item cannot be", field->tag);
    if (code == CB_OK)
        *out = (uint32_t)value;
    return code;
}

static cb_code take_path(const cb_field *field, cb_buf *text, cb_error *err)
{
    cb_code code;

    if (field->value.size == 0 || memchr(field->value.data, 0, field->value.size) != NULL)
        return cb_fail(err, CB_CORRUPT, "the path of an item is not one");
    text->size = 0;
    code = cb_buf_append(text, field->value.data, field->value.size, err);
    if (code == CB_OK)
        code = cb_buf_u8(text, 0, err);
    return code;
}

static cb_code take_item_field(const cb_field *field, cb_buf *text, cb_item_record *out,
                               cb_error *err)
{
    uint32_t kind = 0;
    cb_code code;

    switch (field->tag) {
    case F_PATH:
        return take_path(field, text, err);
    case F_KIND:
        code = take_u32(field, &kind, err);
        if (code == CB_OK)
            out->item.kind = (cb_item_kind)kind;
        return code;
    case F_SIZE:
        return cb_field_u64(field, &out->item.size_bytes, err);
    case F_HEAD_BYTES:
        return take_u32(field, &out->item.head_bytes, err);
    case F_CHUNK_BYTES:
        return take_u32(field, &out->item.chunk_bytes, err);
    case F_ATTRS:
        out->item.attrs = field->value;
        return CB_OK;
    case F_ENTRIES:
        out->entries = field->value;
        return CB_OK;
    case F_PAGES:
        out->pages = field->value;
        return CB_OK;
    }
    return CB_OK;
}

/* The numbers must agree with each other before anyone multiplies them. */
static cb_code check_record(const cb_item_record *record, cb_error *err)
{
    const cb_item *item = &record->item;
    uint64_t chunks;
    uint64_t pages;

    if (item->kind < CB_ITEM_FILE || item->kind > CB_ITEM_OTHER)
        return cb_fail(err, CB_UNSUPPORTED, "item '%s' is of a kind (%u) that is not known here",
                       item->path, (unsigned)item->kind);
    if (item->chunk_bytes < 1 || item->chunk_bytes > CB_CHUNK_BYTES_MAX ||
        item->head_bytes > CB_CHUNK_BYTES_MAX)
        return cb_fail(err, CB_CORRUPT, "item '%s' has chunks of %u bytes", item->path,
                       item->chunk_bytes);
    chunks = cb_item_chunks(item);
    pages = chunks / CB_PAGE_ENTRIES + (chunks % CB_PAGE_ENTRIES != 0);
    if (chunks <= CB_INLINE_ENTRIES
            ? (record->entries.size != chunks * CB_ENTRY_BYTES || record->pages.size != 0)
            : (record->entries.size != 0 || record->pages.size % CB_HASH_BYTES != 0 ||
               record->pages.size / CB_HASH_BYTES != pages))
        return cb_fail(err, CB_CORRUPT, "item '%s' has not as many chunks as its size says",
                       item->path);
    return CB_OK;
}

cb_code cb_item_record_next(cb_bytes *rest, cb_buf *text, cb_item_record *out, cb_error *err)
{
    cb_field_reader reader;
    cb_field field;
    uint64_t size;
    bool more;
    cb_code code = cb_varint_get(rest, &size, err);

    memset(out, 0, sizeof(*out));
    text->size = 0;
    if (code == CB_OK && size > rest->size)
        return cb_fail(err, CB_CORRUPT, "an item reaches past the end of its table");
    if (code != CB_OK)
        return code;
    reader.rest = cb_bytes_of(rest->data, (size_t)size);
    *rest = cb_bytes_of(rest->data + size, rest->size - (size_t)size);
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_item_field(&field, text, out, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK && text->size == 0)
        return cb_fail(err, CB_CORRUPT, "an item has no path");
    if (code != CB_OK)
        return code;
    out->item.path = (const char *)text->data;
    return check_record(out, err);
}

cb_code cb_page_check(const cb_item *item, uint64_t page, size_t page_bytes, cb_error *err)
{
    uint64_t rest = cb_item_chunks(item) - page * CB_PAGE_ENTRIES;
    uint64_t wanted = rest < CB_PAGE_ENTRIES ? rest : CB_PAGE_ENTRIES;

    if (page_bytes != wanted * CB_ENTRY_BYTES)
        return cb_fail(err, CB_CORRUPT, "page %llu of item '%s' has %zu bytes",
                       (unsigned long long)page, item->path, page_bytes);
    return CB_OK;
}
