/*
 * Reading chunks back: one ranged read each, decoded and compared with its id. When a copy is
 * damaged or its pack is gone, the other copies are tried, and once all fail the index is looked
 * at again: a reclaim may have moved the chunk meanwhile.
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include "base/array.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct copy {
    cb_location where;
    uint32_t raw_bytes;
    cb_codec codec;
    uint8_t pack_id[CB_PACK_ID_BYTES];
} copy;

/* Copies in packs that exist; newest packs last, as they were numbered. */
static cb_code find_copies(cb_repo *repo, const cb_hash *id, copy out[CB_COPIES_MAX], size_t *count,
                           cb_error *err)
{
    cb_index_entry entry[CB_COPIES_MAX];
    size_t found;
    cb_code code = CB_OK;

    *count = 0;
    pthread_rwlock_rdlock(&repo->lock);
    while (!repo->index_is_loaded && code == CB_OK) {
        pthread_rwlock_unlock(&repo->lock);
        code = cb_repo_load_index(repo, err);
        pthread_rwlock_rdlock(&repo->lock);
    }
    if (code == CB_OK) {
        cb_index_look(&repo->index, id, entry, &found);
        for (size_t i = 0; i < found; i++) {
            const cb_pack_info *pack = &repo->index.packs[entry[i].pack];

            if (!pack->exists)
                continue;
            out[*count].where =
                (cb_location){entry[i].pack, entry[i].offset, entry[i].stored_bytes};
            out[*count].raw_bytes = cb_index_entry_raw(&entry[i]);
            out[*count].codec = cb_index_entry_codec(&entry[i]);
            memcpy(out[*count].pack_id, pack->id, CB_PACK_ID_BYTES);
            (*count)++;
        }
    }
    pthread_rwlock_unlock(&repo->lock);
    return code;
}

static cb_code not_found(const cb_hash *id, cb_error *err)
{
    char hex[2 * CB_HASH_BYTES + 1];

    cb_hex(id->bytes, CB_HASH_BYTES, hex);
    cb_fail(err, CB_NOT_FOUND, "chunk %.16s is in no pack of the repository", hex);
    cb_hint(err, "Run verify to learn which backups use it.");
    return err->code;
}

/*
 * Looking at the index again, for what is not where it should be. A listing that is made while
 * another run merges objects may show neither the old ones nor the new, so only the second in a row
 * that shows nothing new is believed.
 */
enum { LISTINGS_BELIEVED = 2, LISTINGS_MAX = 8 };

typedef struct looking {
    uint64_t seen;        /* loads of the index when it was last looked into */
    unsigned same, total; /* listings without news in a row, and all */
} looking;

static bool may_look(const looking *l)
{
    return l->same < LISTINGS_BELIEVED && l->total < LISTINGS_MAX;
}

static cb_code look_again(cb_repo *repo, looking *l, bool *changed, cb_error *err)
{
    cb_code code = cb_index_refresh(repo, l->seen, changed, err);

    l->total++;
    l->same = *changed ? 0 : l->same + 1;
    l->seen = cb_index_loads(repo);
    return code;
}

cb_code cb_repo_locate(cb_repo *repo, const cb_hash *id, cb_location *out, cb_error *err)
{
    copy copies[CB_COPIES_MAX];
    size_t count;
    looking again = {.seen = cb_index_loads(repo)};
    cb_code code = find_copies(repo, id, copies, &count, err);

    while (code == CB_OK && count == 0 && may_look(&again)) {
        bool changed;

        code = look_again(repo, &again, &changed, err);
        if (code == CB_OK && changed)
            code = find_copies(repo, id, copies, &count, err);
    }
    if (code != CB_OK)
        return code;
    if (count == 0)
        return not_found(id, err);
    *out = copies[0].where;
    return CB_OK;
}

bool cb_repo_pack_id(cb_repo *repo, uint32_t pack, uint8_t out[16])
{
    bool is_known;

    pthread_rwlock_rdlock(&repo->lock);
    is_known = pack < repo->index.pack_count;
    if (is_known)
        memcpy(out, repo->index.packs[pack].id, CB_PACK_ID_BYTES);
    pthread_rwlock_unlock(&repo->lock);
    return is_known;
}

void cb_repo_pack_name(cb_repo *repo, uint32_t pack, char out[CB_KEY_MAX])
{
    pthread_rwlock_rdlock(&repo->lock);
    if (pack < repo->index.pack_count)
        cb_key_pack(out, repo->index.packs[pack].id);
    else
        snprintf(out, CB_KEY_MAX, "pack %u", pack);
    pthread_rwlock_unlock(&repo->lock);
}

/* ---- one copy --------------------------------------------------------------------------- */

/* Raw chunks are read where they are wanted, others through the worker's buffer. */
static cb_code read_stored(cb_repo *repo, cb_repo_worker *own, const cb_hash *id, const copy *from,
                           cb_buf *into, cb_error *err)
{
    bool is_plain = from->codec == CB_CODEC_RAW && repo->keys == NULL;
    cb_chunk_place place = {repo->id,           from->pack_id,   id->bytes,
                            from->where.offset, from->raw_bytes, (uint8_t)from->codec};
    cb_buf *target = is_plain ? into : &own->stored;
    cb_bytes stored;
    size_t before;
    cb_code code;

    if (target == &own->stored)
        own->stored.size = 0;
    before = target->size;
    code = cb_pack_read(repo, from->pack_id, from->where.offset, from->where.stored_bytes, target,
                        err);
    if (code == CB_OK && target->size - before != from->where.stored_bytes)
        return cb_fail(err, CB_CORRUPT, "it ends before the chunk does");
    if (code != CB_OK || is_plain)
        return code;
    code = cb_chunk_decrypt(repo, own, &place, cb_buf_bytes(&own->stored), &stored, err);
    if (code == CB_OK)
        code = cb_decompress(own->compressor, from->codec, stored, from->raw_bytes, into, err);
    return code;
}

static cb_code read_copy(cb_repo *repo, cb_repo_worker *own, const cb_hash *id, const copy *from,
                         cb_buf *into, cb_error *err)
{
    size_t before = into->size;
    char key[CB_KEY_MAX];
    cb_hash real;
    cb_code code;

    cb_key_pack(key, from->pack_id);
    code = read_stored(repo, own, id, from, into, err);
    if (code == CB_OK) {
        cb_chunk_id(repo, cb_bytes_of(into->data + before, into->size - before), &real);
        if (!cb_hash_equal(&real, id))
            code = cb_fail(err, CB_CORRUPT, "the content of a chunk is not what its id says");
    }
    if (code == CB_OK)
        return CB_OK;
    into->size = before;
    if (code == CB_CORRUPT)
        cb_hint(err, "Run verify to learn which backups use it.");
    return cb_context(err, "pack '%s', offset %u", key, from->where.offset);
}

/* Once for a pack: a copy in it is damaged though another pack could stand in. */
static void report_rot(cb_repo *repo, const copy *from, const cb_error *why)
{
    bool is_news;

    pthread_rwlock_wrlock(&repo->lock);
    is_news = !repo->index.packs[from->where.pack].is_reported;
    repo->index.packs[from->where.pack].is_reported = true;
    pthread_rwlock_unlock(&repo->lock);
    if (is_news)
        cb_event_text(repo->ctx, CB_EVENT_WARNING,
                      "a damaged copy was passed over, another pack has the chunk: %s",
                      why->message);
}

bool cb_repo_pack_is_damaged(const cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES])
{
    for (size_t i = 0; i < repo->damaged_count; i++)
        if (memcmp(repo->damaged[i], id, CB_PACK_ID_BYTES) == 0)
            return true;
    return false;
}

/* From now on no chunk of it counts as stored: what is put again is stored again. */
void cb_repo_note_damaged(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES])
{
    cb_error err;
    cb_code code = CB_OK;

    pthread_rwlock_wrlock(&repo->lock);
    if (!cb_repo_pack_is_damaged(repo, id)) {
        if (repo->damaged_count == repo->damaged_capacity)
            code = cb_array_grow(&repo->damaged, &repo->damaged_capacity, sizeof(*repo->damaged),
                                 &err);
        if (code == CB_OK) { /* else it stays unknown, as it was before it was read */
            memcpy(repo->damaged[repo->damaged_count++], id, CB_PACK_ID_BYTES);
            repo->index_generation++;
            atomic_store(&repo->has_damage, true);
        }
    }
    pthread_rwlock_unlock(&repo->lock);
    cb_fetch_doubt(repo, id);
}

/* CB_NOT_FOUND when no copy is left; CB_CORRUPT when those that are there are damaged. */
static cb_code read_any(cb_repo *repo, cb_repo_worker *own, const cb_hash *id, cb_buf *into,
                        cb_error *err)
{
    copy copies[CB_COPIES_MAX];
    size_t count;
    cb_error worst = {0};
    size_t bad = 0;
    cb_code code = find_copies(repo, id, copies, &count, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < count; i++) {
        code = read_copy(repo, own, id, &copies[i], into, err);
        if (code == CB_OK && worst.code != CB_OK && worst.code != CB_NOT_FOUND)
            report_rot(repo, &copies[bad], &worst);
        if (code == CB_OK || (code != CB_CORRUPT && code != CB_NOT_FOUND && code != CB_IO))
            return code;
        if (code == CB_CORRUPT)
            cb_repo_note_damaged(repo, copies[i].pack_id);
        if (worst.code == CB_OK || worst.code == CB_NOT_FOUND) {
            worst = *err;
            bad = i;
        }
        cb_error_clear(err);
    }
    if (worst.code == CB_OK || worst.code == CB_NOT_FOUND)
        return not_found(id, err);
    *err = worst;
    return err->code;
}

cb_code cb_repo_get(cb_repo *repo, unsigned worker, const cb_hash *id, cb_buf *into, cb_error *err)
{
    cb_repo_worker *own = cb_repo_worker_of(repo->workers, worker);
    looking again = {.seen = cb_index_loads(repo)};
    cb_code code = cb_repo_worker_ready(own, err);

    if (code == CB_OK)
        code = read_any(repo, own, id, into, err);
    while ((code == CB_NOT_FOUND || code == CB_CORRUPT) && may_look(&again)) {
        cb_error last = *err;
        bool changed;

        cb_error_clear(err);
        code = look_again(repo, &again, &changed, err);
        if (code != CB_OK)
            return code;
        if (changed) {
            code = read_any(repo, own, id, into, err);
        } else {
            *err = last;
            code = last.code;
        }
    }
    return code;
}

/* ---- counting --------------------------------------------------------------------------- */

static cb_code add_size(void *arg, const cb_object *object, cb_error *err)
{
    uint64_t *sum = arg;

    (void)err;
    *sum += object->size_bytes;
    return CB_OK;
}

static void count_chunks(const cb_index *index, cb_repo_counts *out)
{
    for (size_t i = 0; i < index->pack_count; i++)
        out->packs += index->packs[i].exists;
    for (size_t i = 0; i < index->count; i++) {
        if (!index->packs[index->entries[i].pack].exists)
            continue;
        if (i > 0 && index->packs[index->entries[i - 1].pack].exists &&
            memcmp(index->entries[i - 1].prefix, index->entries[i].prefix, CB_INDEX_PREFIX_BYTES) ==
                0)
            continue;
        out->chunks++;
        out->raw_bytes += cb_index_entry_raw(&index->entries[i]);
    }
}

cb_code cb_repo_count(cb_repo *repo, cb_repo_counts *out, cb_error *err)
{
    cb_manifest_ref *refs;
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = cb_repo_load_all(repo, err);
    if (code == CB_OK)
        code = cb_store_list(repo->store, "", add_size, &out->stored_bytes, err);
    if (code != CB_OK)
        return code;
    pthread_rwlock_rdlock(&repo->lock);
    count_chunks(&repo->index, out);
    pthread_rwlock_unlock(&repo->lock);
    code = cb_manifest_list(repo, NULL, &refs, &out->backups, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < out->backups; i++)
        out->names += i == 0 || strcmp(refs[i].name, refs[i - 1].name) != 0;
    free(refs);
    return CB_OK;
}
