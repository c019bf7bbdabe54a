/*
 * fetch.c - how the bytes of packs and of objects that never change come here: from this machine's
 * cache, by few large reads of a remote store, or straight from the store.
 *
 * A metadata pack (item tables, pages) of a remote repository is small and read at many places, by
 * the next backup too: it is fetched and kept whole, and one that we write is kept as it is sent.
 */
#include "repo/expect.h"
#include "repo/fetch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "storage/readahead.h"

enum { THREADS_AHEAD = 4 };

struct cb_fetch {
    cb_store tee; /* first: what is put through it is kept, too */
    cb_repo *repo;
    atomic_bool is_afresh; /* what is kept here is not believed */

    pthread_mutex_t begin_lock; /* guards what follows: made when first needed, then unchanged */
    bool has_cache, has_readahead;
    cb_cache *cache; /* NULL: none */
    cb_readahead *readahead;

    pthread_mutex_t lock; /* guards what follows */
    char meta_key[CB_KEY_MAX];
    cb_buf meta;          /* the metadata pack that was read last, whole */
    cb_id_set large_meta; /* ids of those that are too large for that */
};

/* ---- keeping what is written ------------------------------------------------------------- */

typedef struct tee_writer {
    cb_writer writer;
    cb_fetch *fetch;
    cb_writer *inner;
    cb_buf copy;
    bool is_kept;
    char key[CB_KEY_MAX];
} tee_writer;

static cb_code tee_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    tee_writer *self = (tee_writer *)writer;
    cb_error quiet = {0};

    if (self->is_kept && cb_buf_append(&self->copy, data.data, data.size, &quiet) != CB_OK) {
        self->is_kept = false; /* too large */
        cb_buf_free(&self->copy);
    }
    return cb_writer_write(self->inner, data, err);
}

static cb_code tee_commit(cb_writer *writer, cb_error *err)
{
    tee_writer *self = (tee_writer *)writer;
    cb_code code = cb_writer_commit(self->inner, err);

    if (code == CB_OK && self->is_kept)
        cb_cache_put(self->fetch->cache, self->key, 0, cb_buf_bytes(&self->copy));
    return code;
}

static void tee_free(cb_writer *writer)
{
    tee_writer *self = (tee_writer *)writer;

    cb_writer_free(self->inner);
    cb_buf_free(&self->copy);
    free(self);
}

static const cb_writer_ops tee_writer_ops = {tee_write, tee_commit, tee_free};

static cb_code tee_put(cb_store *store, const char *key, const cb_put_options *options,
                       cb_writer **out, cb_error *err)
{
    cb_fetch *fetch = (cb_fetch *)store;
    tee_writer *writer = calloc(1, sizeof(*writer));
    cb_code code;

    if (writer == NULL)
        return cb_fail_memory(err, sizeof(*writer));
    writer->writer.ops = &tee_writer_ops;
    writer->fetch = fetch;
    writer->copy.limit = CB_CACHED_OBJECT_MAX;
    writer->is_kept = true;
    snprintf(writer->key, sizeof(writer->key), "%s", key);
    code = cb_store_put_with(fetch->repo->store, key, options, &writer->inner, err);
    if (code != CB_OK)
        free(writer);
    else
        *out = &writer->writer;
    return code;
}

static cb_code tee_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err)
{
    return cb_store_retain(((cb_fetch *)store)->repo->store, key, until_us, err);
}

static const char *tee_address(cb_store *store)
{
    return cb_store_address(((cb_fetch *)store)->repo->store);
}

/* Packs are put through it and nothing else. */
static const cb_store_ops tee_ops = {.put = tee_put, .retain = tee_retain, .address = tee_address};

cb_store *cb_fetch_store_for(cb_repo *repo, cb_pack_kind kind)
{
    cb_fetch *fetch = repo->fetch;

    return kind == CB_PACK_META && cb_fetch_cache(repo) != NULL ? &fetch->tee : repo->store;
}

/* ---- begin and end ----------------------------------------------------------------------- */

cb_code cb_fetch_begin(cb_repo *repo, cb_error *err)
{
    cb_fetch *fetch = calloc(1, sizeof(*fetch));

    if (fetch == NULL)
        return cb_fail_memory(err, sizeof(*fetch));
    fetch->tee.ops = &tee_ops;
    fetch->repo = repo;
    fetch->meta.limit = CB_CACHED_OBJECT_MAX + 1;
    pthread_mutex_init(&fetch->lock, NULL);
    pthread_mutex_init(&fetch->begin_lock, NULL);
    repo->fetch = fetch;
    return CB_OK;
}

void cb_fetch_end(cb_repo *repo)
{
    cb_fetch *fetch = repo->fetch;

    if (fetch == NULL)
        return;
    cb_readahead_free(fetch->readahead);
    cb_cache_close(fetch->cache);
    cb_buf_free(&fetch->meta);
    cb_id_set_free(&fetch->large_meta);
    pthread_mutex_destroy(&fetch->lock);
    pthread_mutex_destroy(&fetch->begin_lock);
    free(fetch);
    repo->fetch = NULL;
}

/* A repository that was copied as files keeps its id, and each copy goes its own way: two runs of
   the same second may even make the same key. So the address counts, too. */
static void cache_name(const cb_repo *repo, char out[CB_KEY_MAX])
{
    const char *address = cb_store_address(repo->store);
    char place[2 * CB_HASH_BYTES + 1];
    cb_hash sum;

    cb_sha256(cb_bytes_of(address, strlen(address)), &sum);
    cb_hex(sum.bytes, CB_HASH_BYTES, place);
    snprintf(out, CB_KEY_MAX, "%s-%.8s", repo->facts.id, place);
}

static cb_cache *cache_of(cb_repo *repo)
{
    char name[CB_KEY_MAX];
    cb_fetch *fetch = repo->fetch;
    cb_cache *cache;

    if (fetch == NULL || atomic_load(&fetch->is_afresh))
        return NULL;
    pthread_mutex_lock(&fetch->begin_lock);
    if (!fetch->has_cache) {
        cache_name(repo, name);
        fetch->cache = cb_cache_open(repo->ctx, name, repo->fingerprint_secret);
    }
    fetch->has_cache = true;
    cache = fetch->cache;
    pthread_mutex_unlock(&fetch->begin_lock);
    return cache;
}

cb_cache *cb_fetch_cache(cb_repo *repo)
{
    return repo->is_remote ? cache_of(repo) : NULL; /* a folder is as near as a cache */
}

const char *cb_fetch_folder(cb_repo *repo)
{
    cb_cache *cache = cache_of(repo);

    return cache != NULL ? cb_cache_folder(cache) : NULL;
}

/* NULL: there is none, or no memory for it; then each read is one of its own. */
static cb_readahead *readahead_of(cb_repo *repo)
{
    cb_readahead_limits limits = {.threads = repo->single_threaded ? 0 : THREADS_AHEAD};
    cb_fetch *fetch = repo->fetch;
    cb_readahead *readahead;
    cb_error quiet = {0};

    pthread_mutex_lock(&fetch->begin_lock);
    if (!fetch->has_readahead)
        cb_ignore(cb_readahead_new(repo->store, &limits, &fetch->readahead, &quiet));
    fetch->has_readahead = true;
    readahead = fetch->readahead;
    pthread_mutex_unlock(&fetch->begin_lock);
    return readahead;
}

void cb_repo_read_afresh(cb_repo *repo)
{
    if (repo->fetch != NULL)
        atomic_store(&repo->fetch->is_afresh, true);
    cb_index_forget(repo);
}

/* ---- packs ------------------------------------------------------------------------------- */

static cb_code slice(const cb_buf *whole, uint64_t offset, uint64_t length, cb_buf *into,
                     cb_error *err)
{
    uint64_t there = offset < whole->size ? whole->size - offset : 0;

    return there > 0 ? cb_buf_append(into, whole->data + offset,
                                     (size_t)(length < there ? length : there), err)
                     : CB_OK;
}

/* Under the lock: have the pack whole in `meta`; *whole false when it is too large. */
static cb_code load_meta(cb_fetch *fetch, const char *key, const uint8_t *pack, bool *whole,
                         cb_error *err)
{
    cb_code code;

    *whole = strcmp(fetch->meta_key, key) == 0;
    if (*whole || cb_id_set_has(&fetch->large_meta, pack))
        return CB_OK;
    fetch->meta_key[0] = '\0';
    fetch->meta.size = 0;
    if (!cb_cache_get(fetch->cache, key, 0, &fetch->meta)) {
        fetch->meta.size = 0;
        code =
            cb_store_get(fetch->repo->store, key, 0, CB_CACHED_OBJECT_MAX + 1, &fetch->meta, err);
        if (code != CB_OK)
            return code;
        if (fetch->meta.size > CB_CACHED_OBJECT_MAX)
            return cb_id_set_add(&fetch->large_meta, pack, err);
        cb_cache_put(fetch->cache, key, 0, cb_buf_bytes(&fetch->meta));
    }
    snprintf(fetch->meta_key, sizeof(fetch->meta_key), "%s", key);
    *whole = true;
    return CB_OK;
}

static cb_code read_meta(cb_fetch *fetch, const char *key, const uint8_t *pack, uint64_t offset,
                         uint64_t length, cb_buf *into, bool *done, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&fetch->lock);
    code = load_meta(fetch, key, pack, done, err);
    if (code == CB_OK && *done)
        code = slice(&fetch->meta, offset, length, into, err);
    pthread_mutex_unlock(&fetch->lock);
    return code;
}

cb_code cb_pack_read(cb_repo *repo, const uint8_t pack[CB_PACK_ID_BYTES], uint64_t offset,
                     uint64_t length, cb_buf *into, cb_error *err)
{
    cb_fetch *fetch = repo->fetch;
    cb_pack_info info = {0};
    cb_readahead *readahead;
    char key[CB_KEY_MAX];
    bool done = false;
    uint32_t number;
    cb_code code = CB_OK;

    cb_key_pack(key, pack);
    if (!repo->is_remote)
        return cb_store_get(repo->store, key, offset, length, into, err);
    pthread_rwlock_rdlock(&repo->lock);
    number = cb_index_find_pack(&repo->index, pack);
    if (number != UINT32_MAX)
        info = repo->index.packs[number];
    pthread_rwlock_unlock(&repo->lock);
    if (info.kind == CB_PACK_META && cb_fetch_cache(repo) != NULL &&
        info.size_bytes <= CB_CACHED_OBJECT_MAX)
        code = read_meta(fetch, key, pack, offset, length, into, &done, err);
    if (done || code != CB_OK)
        return code;
    readahead = readahead_of(repo);
    if (readahead == NULL)
        return cb_store_get(repo->store, key, offset, length, into, err);
    return cb_readahead_get(readahead, key, info.size_bytes, offset, length, into, err);
}

/* Under the lock. False: nobody knows where it is, and who reads it says so. */
static bool where_is(const cb_repo *repo, const cb_hash *id, cb_expected *out)
{
    cb_index_entry entry[CB_COPIES_MAX];
    size_t found;

    cb_index_look(&repo->index, id, entry, &found);
    for (size_t i = 0; i < found; i++) {
        const cb_pack_info *pack = &repo->index.packs[entry[i].pack];

        if (!pack->exists)
            continue;
        cb_key_pack(out->key, pack->id);
        out->offset = entry[i].offset;
        out->length = entry[i].stored_bytes;
        return true;
    }
    return false;
}

void cb_repo_expect(cb_repo *repo, const cb_hash *ids, size_t count)
{
    cb_readahead *readahead;
    cb_expected *pieces;
    size_t known = 0;

    if (!repo->is_remote || repo->single_threaded)
        return;
    readahead = readahead_of(repo);
    pieces = calloc(count, sizeof(*pieces));
    if (readahead == NULL || pieces == NULL) {
        free(pieces);
        return;
    }
    pthread_rwlock_rdlock(&repo->lock);
    for (size_t i = 0; i < count && repo->index_is_loaded; i++)
        known += where_is(repo, &ids[i], &pieces[known]);
    pthread_rwlock_unlock(&repo->lock);
    cb_readahead_expect(readahead, pieces, known);
    free(pieces);
}

void cb_fetch_doubt(cb_repo *repo, const uint8_t pack[CB_PACK_ID_BYTES])
{
    cb_fetch *fetch = repo->fetch;
    char key[CB_KEY_MAX];

    if (fetch == NULL)
        return;
    cb_key_pack(key, pack);
    pthread_mutex_lock(&fetch->lock);
    if (strcmp(fetch->meta_key, key) == 0)
        fetch->meta_key[0] = '\0';
    pthread_mutex_unlock(&fetch->lock);
    cb_cache_drop(cb_fetch_cache(repo), key);
}

/* ---- objects ----------------------------------------------------------------------------- */

cb_code cb_object_read_kept(cb_repo *repo, const char *key, uint64_t version, size_t limit,
                            cb_buf *raw, cb_object_view *view, cb_error *err)
{
    cb_cache *cache = cb_fetch_cache(repo);
    cb_code code;

    raw->size = 0;
    raw->limit = limit + 1;
    if (cache != NULL && cb_cache_get(cache, key, version, raw) && raw->size <= limit) {
        if (cb_object_unseal(repo->keys, repo->id, raw, key, view, err) == CB_OK)
            return CB_OK;
        cb_error_clear(err);
        cb_cache_drop(cache, key);
    }
    raw->size = 0;
    code = cb_store_get(repo->store, key, 0, limit + 1, raw, err);
    if (code != CB_OK)
        return code;
    if (raw->size > limit)
        return cb_fail(err, CB_CORRUPT, "'%s' is larger than the %zu bytes allowed", key, limit);
    /* Kept as it was stored, and whole; what stands on a grave is no manifest. */
    if (cache != NULL && raw->size <= CB_CACHED_OBJECT_MAX) {
        code = cb_object_parse(cb_buf_bytes(raw), repo->id, key, view, err);
        if (code != CB_OK)
            return code;
        if (view->kind != CB_OBJECT_TOMBSTONE)
            cb_cache_put(cache, key, version, cb_buf_bytes(raw));
    }
    return cb_object_unseal(repo->keys, repo->id, raw, key, view, err);
}
