/*
 * Copies: before a pack may go because its chunks lie elsewhere too, what lies elsewhere is read.
 * An index says where a copy should be, not that it is still good: a pack that has rotted unseen
 * must never be the one that stays. Each copy is read once in a run.
 */
#include "repo/reclaim_internal.h"

/* Chunk and pack ids are random enough to tell their mixtures apart. */
static void copy_name(const cb_index_entry *entry, const uint8_t *pack,
                      uint8_t out[CB_INDEX_PREFIX_BYTES])
{
    for (size_t i = 0; i < CB_INDEX_PREFIX_BYTES; i++)
        out[i] = entry->prefix[i] ^ pack[i];
}

/* Written by this run from content that had just been proved, and durable. */
static bool is_own(const cb_reclaim *run, const uint8_t *pack)
{
    return memcmp(pack, cb_session_id(run->session), CB_PACK_ID_BYTES / 2) == 0;
}

cb_code cb_reclaim_read_copy(cb_reclaim *run, const uint8_t *pack, const cb_pack_entry *entry,
                             size_t id_bytes, cb_buf *stored, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = CB_CHUNK_BYTES_MAX};
    cb_chunk_place place = {run->repo->id,    pack,        entry->id.bytes, entry->offset,
                            entry->raw_bytes, entry->codec};
    cb_bytes plain;
    cb_repo_worker *own = cb_repo_worker_of(run->repo->workers, CB_WORKER_SELF);
    char key[CB_KEY_MAX];
    cb_hash real;
    cb_code code = cb_repo_worker_ready(own, err);

    cb_key_pack(key, pack);
    stored->size = 0;
    stored->limit = CB_STORED_BYTES_MAX;
    if (code == CB_OK)
        code = cb_store_get(run->repo->store, key, entry->offset, entry->stored_bytes, stored, err);
    if (code == CB_OK && stored->size != entry->stored_bytes)
        code = cb_fail(err, CB_CORRUPT, "it is cut");
    if (code == CB_OK)
        code = cb_chunk_decrypt(run->repo, own, &place, cb_buf_bytes(stored), &plain, err);
    if (code == CB_OK)
        code = cb_decompress(own->compressor, (cb_codec)entry->codec, plain, entry->raw_bytes, &raw,
                             err);
    if (code == CB_OK && run->repo->keys != NULL) { /* as it was before encryption */
        memcpy(stored->data, plain.data, plain.size);
        stored->size = plain.size;
    }
    if (code == CB_OK) {
        cb_chunk_id(run->repo, cb_buf_bytes(&raw), &real);
        if (memcmp(real.bytes, entry->id.bytes, id_bytes) != 0)
            code = cb_fail(err, CB_CORRUPT, "the content of a chunk is not what its id says");
    }
    if (code != CB_OK)
        return cb_context(err, "pack '%s', offset %u", key, entry->offset);
    return CB_OK;
}

/* Said once for a pack. */
static cb_code note_rot(cb_reclaim *run, const uint8_t *name, const uint8_t *pack,
                        const cb_error *why, cb_error *err)
{
    cb_code code = cb_id_set_add(&run->rotten, name, err);

    if (code != CB_OK || cb_id_set_has(&run->rotten_packs, pack))
        return code;
    cb_event_text(run->repo->ctx, CB_EVENT_WARNING, "a copy is not relied upon: %s", why->message);
    return cb_id_set_add(&run->rotten_packs, pack, err);
}

bool cb_reclaim_copy_is_rotten(const cb_reclaim *run, const cb_index_entry *entry)
{
    uint8_t name[CB_INDEX_PREFIX_BYTES];

    copy_name(entry, run->repo->index.packs[entry->pack].id, name);
    return cb_id_set_has(&run->rotten, name);
}

cb_code cb_reclaim_copy_is_good(cb_reclaim *run, const cb_index_entry *entry, bool *good,
                                cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf stored = {0};
    const uint8_t *pack = run->repo->index.packs[entry->pack].id;
    uint8_t name[CB_INDEX_PREFIX_BYTES];
    cb_pack_entry whole = {.offset = entry->offset,
                           .stored_bytes = entry->stored_bytes,
                           .raw_bytes = cb_index_entry_raw(entry),
                           .codec = (uint8_t)cb_index_entry_codec(entry)};
    cb_error why = {0};
    cb_code code;

    copy_name(entry, pack, name);
    *good = cb_id_set_has(&run->proven, name) || is_own(run, pack);
    if (*good || cb_id_set_has(&run->rotten, name))
        return CB_OK;
    code = cb_check_cancel(run->repo->ctx, err);
    if (code != CB_OK)
        return code;
    memcpy(whole.id.bytes, entry->prefix, CB_INDEX_PREFIX_BYTES);
    code = cb_reclaim_read_copy(run, pack, &whole, CB_INDEX_PREFIX_BYTES, &stored, &why);
    *good = code == CB_OK;
    if (code == CB_OK)
        return cb_id_set_add(&run->proven, name, err);
    if (code == CB_CORRUPT || code == CB_NOT_FOUND || code == CB_IO || code == CB_UNSUPPORTED ||
        code == CB_TOO_LARGE)
        return note_rot(run, name, pack, &why, err);
    *err = why;
    return code;
}
