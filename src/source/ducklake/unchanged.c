/*
 * unchanged.c - is everything as the newest backup has it?
 *
 * When the copy of the catalog is, byte for byte, the one that the backup before holds, and below
 * the data path lies what lay there then, each item would come out as it is in that backup: so its
 * items are taken over as they are, and nothing is sorted, compared or written. A backup keeps the
 * checksums of both in its state for that. The rows of a catalog change without a trace; that is
 * why it is read and hashed, and why nothing less will do. Names, sizes and times of files come
 * with one listing, as always.
 *
 * Not where more was asked than this tells again: files outside the data path, references, damage,
 * or a table of items that was begun anew.
 */
#include "source/ducklake/source_internal.h"

#include "codec/field.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_BYTES = 1 << 20 };

/* What the state of a backup says of this. */
typedef struct known {
    cb_hash catalog, storage;
    bool has_catalog, has_storage;
    uint64_t file_count, file_bytes;
} known;

static void hasher_end(cb_hasher **hasher)
{
    cb_hasher_free(*hasher);
}

/* ---- the catalog ---------------------------------------------------------------------------- */

static cb_code hash_file(cb_lake_source *s, cb_hasher *hasher, const char *path, cb_buf *piece,
                         cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    size_t got = 1;
    uint8_t size[8];
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    for (uint64_t at = 0; code == CB_OK && got > 0; at += got) {
        code = cb_file_read(fd, path, at, piece->data, PIECE_BYTES, &got, err);
        if (code == CB_OK)
            code = cb_check_cancel(s->ctx, err);
        if (code == CB_OK && got > 0)
            cb_hasher_step(hasher, cb_bytes_of(piece->data, got));
        else if (code == CB_OK) {
            cb_put_u64(size, at); /* where one ends counts, too */
            cb_hasher_step(hasher, cb_bytes_of(size, sizeof(size)));
            s->frozen_bytes += at;
        }
    }
    return code;
}

/* All parts, by their names. What the items depend on beside them comes first. */
static cb_code hash_catalog(cb_lake_source *s, cb_error *err)
{
    CB_CLEANUP(hasher_end) cb_hasher *hasher = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf piece = {0};
    const char *path = s->info.data_path;
    cb_code code = cb_hasher_new(&hasher, err);

    if (code == CB_OK)
        code = cb_buf_reserve(&piece, PIECE_BYTES, err);
    if (code == CB_OK)
        cb_hasher_step(hasher, cb_bytes_of(path, strlen(path) + 1));
    s->frozen_bytes = 0;
    for (size_t i = 0; code == CB_OK && i < s->part_count; i++) {
        const cb_lake_part *part = &s->parts[i];
        uint64_t segment = 0;

        cb_hasher_step(hasher, cb_bytes_of(part->name, strlen(part->name) + 1));
        do {
            char name[2 * CB_PATH_MAX];

            snprintf(name, sizeof(name), "%s/%s", s->scratch.path, part->name);
            if (part->segments > 0)
                snprintf(name + strlen(name), 32, "/%08llu", (unsigned long long)segment);
            code = hash_file(s, hasher, name, &piece, err);
        } while (code == CB_OK && ++segment < part->segments);
    }
    if (code == CB_OK)
        cb_hasher_end(hasher, &s->catalog_hash);
    s->has_catalog_hash = code == CB_OK;
    return code;
}

cb_code cb_lake_hash_catalog(cb_lake_source *s, cb_error *err)
{
    return s->has_catalog_hash || s->lake.data != CB_LAKE_DATA_COPY ? CB_OK : hash_catalog(s, err);
}

/* ---- the state ------------------------------------------------------------------------------ */

cb_code cb_lake_put_hashes(cb_lake_source *s, cb_buf *into, uint64_t damaged, cb_error *err)
{
    cb_hash storage;
    cb_code code;

    if (!s->has_catalog_hash || s->lake.data != CB_LAKE_DATA_COPY || damaged > 0 ||
        s->has_outside || s->restarts > 0)
        return CB_OK;
    cb_ledger_hash(s->ledger, CB_LEDGER_FOUND, &storage);
    code = cb_field_put_bytes(into, CB_LAKE_STATE_CATALOG_HASH,
                              cb_bytes_of(s->catalog_hash.bytes, CB_HASH_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, CB_LAKE_STATE_STORAGE_HASH,
                                  cb_bytes_of(storage.bytes, CB_HASH_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, CB_LAKE_STATE_FILES, s->file_count, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, CB_LAKE_STATE_FILE_BYTES, s->file_bytes, err);
    return code;
}

static bool take_hash(const cb_field *field, cb_hash *out)
{
    if (field->value.size != CB_HASH_BYTES)
        return false;
    memcpy(out->bytes, field->value.data, CB_HASH_BYTES);
    return true;
}

static cb_code take_field(const cb_field *field, known *out, cb_error *err)
{
    switch (field->tag) {
    case CB_LAKE_STATE_CATALOG_HASH:
        out->has_catalog = take_hash(field, &out->catalog);
        break;
    case CB_LAKE_STATE_STORAGE_HASH:
        out->has_storage = take_hash(field, &out->storage);
        break;
    case CB_LAKE_STATE_FILES:
        return cb_field_u64(field, &out->file_count, err);
    case CB_LAKE_STATE_FILE_BYTES:
        return cb_field_u64(field, &out->file_bytes, err);
    default:
        break;
    }
    return CB_OK;
}

/* A state that cannot be read is one that says nothing. */
static void read_state(cb_bytes state, known *out)
{
    cb_field_reader reader = {state};
    cb_error ignored = {0};
    cb_field field;
    bool more = true;
    cb_code code = CB_OK;

    *out = (known){0};
    while (code == CB_OK && more) {
        code = cb_field_next(&reader, &field, &more, &ignored);
        if (code == CB_OK && more)
            code = take_field(&field, out, &ignored);
    }
    if (code != CB_OK)
        *out = (known){0};
}

/* ---- the question --------------------------------------------------------------------------- */

cb_code cb_lake_is_unchanged(cb_lake_source *s, cb_bytes parent_state, bool *unchanged,
                             cb_error *err)
{
    cb_hash storage;
    known before;
    cb_code code;

    *unchanged = false;
    read_state(parent_state, &before);
    if (s->lake.data != CB_LAKE_DATA_COPY || !before.has_catalog || !before.has_storage)
        return CB_OK;
    code = cb_lake_take_catalog(s, err);
    if (code == CB_OK)
        code = cb_lake_hash_catalog(s, err);
    if (code != CB_OK || !cb_hash_equal(&s->catalog_hash, &before.catalog))
        return code;
    code = cb_ledger_clear(s->ledger, CB_LEDGER_FOUND, err);
    if (code == CB_OK && before.file_count > 0)
        code = cb_lake_list_storage(s, err);
    if (code != CB_OK)
        return code;
    cb_ledger_hash(s->ledger, CB_LEDGER_FOUND, &storage);
    if (!cb_hash_equal(&storage, &before.storage))
        return CB_OK;
    *unchanged = true;
    s->catalog_bytes = s->frozen_bytes;
    s->file_count = before.file_count;
    s->file_bytes = before.file_bytes;
    cb_lake_db_close(s->db);
    s->db = NULL;
    return CB_OK;
}
