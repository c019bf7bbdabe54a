/*
 * Storing chunks: known already, or compressed by the calling thread and appended to the one pack
 * of its kind that is being filled. A full pack goes to a committer, which makes it durable while
 * the workers fill the next; a remote store gets three packs at once.
 *
 * A chunk is entered as known before it is stored, so that two threads which put the same one store
 * it once. The promise is kept by failing the whole session when any pack fails.
 */
#include "repo/fetch.h"
#include "repo/session_internal.h"

enum { PENDING_CHUNKS_MAX = 1 << 17, ADOPT_CHUNKS_MAX = 1 << 17, META_BYTES_REMOTE = 16 << 20 };

#define PENDING_BYTES_MAX ((uint64_t)1 << 30)

/* ---- looking up ------------------------------------------------------------------------- */

/* Which packs may be relied upon: there, and neither doomed nor suspected when we opened. */
static cb_code prepare_usable(cb_session *session, cb_error *err)
{
    cb_index *index = &session->repo->index;
    uint8_t *usable;
    cb_code code = cb_reclaim_lists_complete(session->repo, &session->lists, err);

    if (code != CB_OK)
        return code;
    usable = calloc(index->pack_count + 1, 1);
    if (usable == NULL)
        return cb_fail_memory(err, index->pack_count);
    for (size_t i = 0; i < index->pack_count; i++)
        usable[i] = index->packs[i].exists &&
                    (index->packs[i].indexed || index->packs[i].adopted) &&
                    !cb_reclaim_lists_have(&session->lists, index->packs[i].id) &&
                    !cb_repo_pack_is_damaged(session->repo, index->packs[i].id);
    free(session->usable);
    session->usable = usable;
    session->usable_count = index->pack_count;
    session->usable_generation = session->repo->index_generation;
    return CB_OK;
}

/* Under session->lock and the repository's lock for reading. */
static bool find_usable(const cb_session *session, const cb_hash *id)
{
    cb_index_entry entry[CB_COPIES_MAX];
    size_t count;

    cb_index_look(&session->repo->index, id, entry, &count);
    for (size_t i = 0; i < count; i++)
        if (entry[i].pack < session->usable_count && session->usable[entry[i].pack])
            return true;
    return false;
}

static cb_code look_up_locked(cb_session *session, const cb_hash *id, bool *found, cb_error *err)
{
    cb_repo *repo = session->repo;
    cb_code code = CB_OK;

    for (;;) {
        pthread_rwlock_rdlock(&repo->lock);
        if (repo->index_is_loaded) {
            if (session->usable_generation != repo->index_generation)
                code = prepare_usable(session, err);
            if (code == CB_OK)
                *found = find_usable(session, id);
            pthread_rwlock_unlock(&repo->lock);
            return code;
        }
        pthread_rwlock_unlock(&repo->lock);
        code = cb_repo_load_index(repo, err);
        if (code != CB_OK)
            return code;
    }
}

cb_code cb_session_look_up(cb_session *session, const cb_hash *id, bool *found, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&session->lock);
    *found = cb_id_set_has(&session->known, id->bytes);
    if (!*found && !session->request.full)
        code = look_up_locked(session, id, found, err);
    pthread_mutex_unlock(&session->lock);
    return code;
}

bool cb_session_has(cb_session *session, const cb_hash *id)
{
    cb_error err = {0};
    bool found = false;

    /* A parent that was loaded after the lists were read needs no look-up, unless a list lay
       unjudged or we have met damage: every chunk it names has a copy that no one may remove while
       we live. */
    if (!session->request.full && !atomic_load(&session->repo->has_damage) &&
        !cb_reclaim_lists_pending(&session->lists) &&
        session->repo->manifest_loads > session->loads_at_lists)
        return true;
    /* No answer is the answer no: the chunk is put, and that reports what is wrong. */
    if (cb_session_look_up(session, id, &found, &err) != CB_OK)
        return false;
    return found;
}

/* ---- packs ------------------------------------------------------------------------------ */

/* Under pack_lock, or when no committer is at work. */
static void note_written(cb_session *session, const cb_index_builder *builder)
{
    if (session->written_count < CB_LENGTH(session->written))
        session->written[session->written_count++] = builder->count;
}

static cb_code write_index(cb_session *session, cb_index_builder *builder, cb_error *err)
{
    uint8_t id[CB_PACK_ID_BYTES];

    if (builder->pack_count == 0)
        return CB_OK;
    return cb_index_object_write(session->repo, session->id, builder, id, err);
}

/* When no committer is at work. */
static cb_code write_pending(cb_session *session, cb_error *err)
{
    cb_code code = write_index(session, &session->pending, err);

    if (code != CB_OK || session->pending.pack_count == 0)
        return code;
    note_written(session, &session->pending);
    cb_index_builder_clear(&session->pending);
    session->pending_bytes = 0;
    return CB_OK;
}

/* Under pack_lock: what the index must say of a pack that is durable; *full takes what is enough
   for an index object of its own. */
static cb_code note_pack(cb_session *session, const cb_pack_writer *pack, cb_index_builder *full,
                         cb_error *err)
{
    cb_code code = cb_index_builder_add(&session->pending, pack->id, pack->kind, cb_pack_wrap(pack),
                                        pack->entries, pack->count, err);

    session->pending_bytes += pack->size_bytes;
    if (code != CB_OK ||
        (session->pending_bytes < PENDING_BYTES_MAX && session->pending.count < PENDING_CHUNKS_MAX))
        return code;
    *full = session->pending;
    memset(&session->pending, 0, sizeof(session->pending));
    session->pending_bytes = 0;
    note_written(session, full);
    return CB_OK;
}

static void remember_failure(cb_session *session, const cb_error *err)
{
    if (session->failure.code == CB_OK)
        session->failure = *err;
}

/* Under pack_lock, which is released while the store is asked. Frees the pack. */
static cb_code finish_pack(cb_session *session, cb_pack_writer *pack, cb_error *err)
{
    cb_index_builder full = {0};
    cb_code code;

    session->finishing++;
    pthread_mutex_unlock(&session->pack_lock);
    code = cb_pack_finish(pack, err);
    pthread_mutex_lock(&session->pack_lock);
    if (code == CB_OK)
        code = note_pack(session, pack, &full, err);
    pthread_mutex_unlock(&session->pack_lock);
    cb_pack_free(pack);
    if (code == CB_OK)
        code = write_index(session, &full, err);
    cb_index_builder_free(&full);
    pthread_mutex_lock(&session->pack_lock);
    session->finishing--;
    if (code != CB_OK)
        remember_failure(session, err);
    pthread_cond_broadcast(&session->pack_changed);
    return code;
}

static void *commit_packs(void *arg)
{
    cb_session *session = arg;

    pthread_mutex_lock(&session->pack_lock);
    while (!session->committer_stop) {
        cb_pack_writer *pack;
        cb_error err = {0};

        if (session->sealed_count == 0) {
            pthread_cond_wait(&session->pack_changed, &session->pack_lock);
            continue;
        }
        pack = session->sealed[0];
        session->sealed_count--;
        memmove(&session->sealed[0], &session->sealed[1],
                session->sealed_count * sizeof(session->sealed[0]));
        cb_ignore(finish_pack(session, pack, &err)); /* the session remembers its first failure */
    }
    pthread_mutex_unlock(&session->pack_lock);
    return NULL;
}

void cb_session_stop_committer(cb_session *session)
{
    pthread_mutex_lock(&session->pack_lock);
    session->committer_stop = true;
    pthread_cond_broadcast(&session->pack_changed);
    pthread_mutex_unlock(&session->pack_lock);
    while (session->committer_count > 0)
        pthread_join(session->committers[--session->committer_count], NULL);
}

/* One thread more than packs are under way, up to as many as serve this kind of store. */
static cb_code start_committer(cb_session *session, cb_error *err)
{
    if (session->committer_count == session->committers_wanted ||
        session->committer_count > session->sealed_count + session->finishing)
        return CB_OK;
    if (pthread_create(&session->committers[session->committer_count], NULL, commit_packs,
                       session) != 0)
        return session->committer_count > 0
                   ? CB_OK
                   : cb_fail(err, CB_NO_MEMORY, "no thread to finish packs");
    session->committer_count++;
    return CB_OK;
}

/*
 * A folder's writer streams: what waits costs nothing, and one thread's fsyncs are enough. A remote
 * store's writer holds a pack until it is sent: none waits, so that filling one of each kind and
 * sending three is all the memory there is.
 */
static bool has_room(const cb_session *session)
{
    return session->committers_wanted > 1
               ? session->sealed_count + session->finishing < session->committers_wanted
               : session->sealed_count < CB_SEALED_MAX;
}

/* Hand the pack of `kind` on, once there is room; under pack_lock, released while waiting. While it
   waits the pack stays where it is, so that nobody begins another. */
static cb_code seal(cb_session *session, cb_pack_kind kind, cb_error *err)
{
    cb_pack_writer **filling = &session->filling[kind - CB_PACK_DATA];
    cb_pack_writer *pack = *filling;
    cb_code code;

    if (session->request.single_threaded) {
        *filling = NULL;
        return finish_pack(session, pack, err);
    }
    code = start_committer(session, err);
    if (code != CB_OK)
        return code;
    session->sealed[session->sealed_count++] = pack;
    *filling = NULL;
    pthread_cond_broadcast(&session->pack_changed);
    return CB_OK;
}

static bool is_full(const cb_session *session, cb_pack_kind kind)
{
    const cb_pack_writer *pack = session->filling[kind - CB_PACK_DATA];
    uint64_t limit = session->request.pack_bytes;

    if (kind == CB_PACK_META && session->committers_wanted > 1 && limit > META_BYTES_REMOTE)
        limit = META_BYTES_REMOTE;
    return pack != NULL && (pack->size_bytes >= limit || pack->count >= CB_PACK_CHUNKS_MAX);
}

static cb_code first_failure(const cb_session *session, cb_error *err)
{
    if (session->failure.code != CB_OK)
        *err = session->failure;
    return session->failure.code;
}

/* Wait until the pack of `kind` is not full. */
static cb_code make_room(cb_session *session, cb_pack_kind kind, cb_error *err)
{
    for (;;) {
        cb_code code = first_failure(session, err);

        if (code != CB_OK || !is_full(session, kind))
            return code;
        if (has_room(session) || session->request.single_threaded)
            code = seal(session, kind, err);
        else
            pthread_cond_wait(&session->pack_changed, &session->pack_lock);
        if (code != CB_OK)
            return code;
    }
}

static cb_code open_pack(cb_session *session, cb_pack_kind kind, cb_error *err)
{
    uint8_t id[CB_PACK_ID_BYTES];

    memcpy(id, session->id, CB_PACK_ID_BYTES / 2);
    cb_random(session->repo->ctx, id + CB_PACK_ID_BYTES / 2, CB_PACK_ID_BYTES / 2);
    return cb_pack_begin(cb_fetch_store_for(session->repo, kind), session->repo->id, id, kind,
                         cb_repo_retain_until(session->repo), session->repo->keys,
                         &session->filling[kind - CB_PACK_DATA], err);
}

static cb_code append_locked(cb_session *session, cb_pack_kind kind, cb_pack_entry *entry,
                             cb_bytes stored, cb_error *err)
{
    cb_pack_writer **filling = &session->filling[kind - CB_PACK_DATA];
    cb_code code = make_room(session, kind, err);

    if (code == CB_OK && *filling == NULL)
        code = open_pack(session, kind, err);
    if (code == CB_OK)
        code = cb_pack_append(*filling, entry, stored, err);
    /* A full one goes at once if it can; else the next who comes waits for it. */
    if (code == CB_OK && is_full(session, kind) &&
        (has_room(session) || session->request.single_threaded))
        code = seal(session, kind, err);
    if (code != CB_OK)
        remember_failure(session, err);
    return code;
}

static cb_code append(cb_session *session, cb_pack_kind kind, cb_pack_entry *entry, cb_bytes stored,
                      cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&session->pack_lock);
    code = append_locked(session, kind, entry, stored, err);
    pthread_mutex_unlock(&session->pack_lock);
    return code;
}

/* ---- put -------------------------------------------------------------------------------- */

/* Enter the id as ours; *is_new false when another thread was quicker. */
static cb_code claim(cb_session *session, const cb_hash *id, bool *is_new, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&session->lock);
    *is_new = !cb_id_set_has(&session->known, id->bytes);
    if (*is_new)
        code = cb_id_set_add(&session->known, id->bytes, err);
    pthread_mutex_unlock(&session->lock);
    return code;
}

static void count_new(cb_session *session, cb_pack_kind kind, uint64_t raw_bytes,
                      uint64_t stored_bytes)
{
    pthread_mutex_lock(&session->lock);
    if (kind == CB_PACK_DATA) {
        session->counts.new_chunks++;
        session->counts.new_bytes += raw_bytes;
    }
    session->counts.stored_bytes += stored_bytes;
    pthread_mutex_unlock(&session->lock);
}

static cb_code store_new(cb_session *session, unsigned worker, cb_pack_kind kind, cb_bytes raw,
                         cb_put_result *out, cb_error *err)
{
    cb_repo_worker *own = cb_repo_worker_of(session->workers, worker);
    cb_pack_entry entry = {.id = out->id, .raw_bytes = (uint32_t)raw.size};
    cb_codec used;
    cb_bytes stored;
    cb_code code = cb_repo_worker_ready(own, err);

    if (code != CB_OK)
        return code;
    own->stored.size = 0;
    code = cb_compress(own->compressor, session->request.codec, session->request.codec_level, raw,
                       &own->stored, &used, err);
    if (code != CB_OK)
        return code;
    entry.codec = (uint8_t)used;
    stored = used == CB_CODEC_RAW ? raw : cb_buf_bytes(&own->stored);
    code = append(session, kind, &entry, stored, err);
    if (code != CB_OK)
        return code;
    out->is_new = true;
    out->stored_bytes = (uint32_t)stored.size;
    count_new(session, kind, raw.size, stored.size);
    return CB_OK;
}

/* A chunk that was claimed and not stored must not be relied upon by anyone. */
static cb_code fail_session(cb_session *session, cb_error *err)
{
    pthread_mutex_lock(&session->pack_lock);
    remember_failure(session, err);
    pthread_mutex_unlock(&session->pack_lock);
    return err->code;
}

cb_code cb_session_put_kind(cb_session *session, unsigned worker, cb_pack_kind kind, cb_bytes raw,
                            cb_put_result *out, cb_error *err)
{
    bool found;
    bool is_new;
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (raw.size == 0 || raw.size > CB_CHUNK_BYTES_MAX)
        return cb_fail(err, CB_INTERNAL, "a chunk of %zu bytes cannot be stored", raw.size);
    cb_chunk_id(session->repo, raw, &out->id);
    code = cb_session_look_up(session, &out->id, &found, err);
    if (code != CB_OK || found)
        return code;
    code = claim(session, &out->id, &is_new, err);
    if (code == CB_OK && is_new) {
        code = store_new(session, worker, kind, raw, out, err);
        if (code != CB_OK)
            return fail_session(session, err);
    }
    return code;
}

cb_code cb_session_put(cb_session *session, unsigned worker, cb_bytes raw, cb_put_result *out,
                       cb_error *err)
{
    return cb_session_put_kind(session, worker, CB_PACK_DATA, raw, out, err);
}

cb_code cb_session_copy_stored(cb_session *session, cb_pack_kind kind, cb_pack_entry entry,
                               cb_bytes stored, cb_error *err)
{
    bool is_new;
    cb_code code = claim(session, &entry.id, &is_new, err);

    if (code == CB_OK && is_new)
        code = append(session, kind, &entry, stored, err);
    return code;
}

cb_session_counts cb_session_counts_of(cb_session *session)
{
    cb_session_counts counts;

    pthread_mutex_lock(&session->lock);
    counts = session->counts;
    pthread_mutex_unlock(&session->lock);
    return counts;
}

/* ---- flush ------------------------------------------------------------------------------ */

static cb_code seal_last(cb_session *session, cb_pack_kind kind, cb_error *err)
{
    cb_code code = first_failure(session, err);

    while (code == CB_OK && !has_room(session) && !session->request.single_threaded) {
        pthread_cond_wait(&session->pack_changed, &session->pack_lock);
        code = first_failure(session, err);
    }
    if (code != CB_OK || session->filling[kind - CB_PACK_DATA] == NULL)
        return code;
    return seal(session, kind, err);
}

static cb_code flush_packs(cb_session *session, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&session->pack_lock);
    code = seal_last(session, CB_PACK_DATA, err);
    if (code == CB_OK)
        code = seal_last(session, CB_PACK_META, err);
    while ((session->sealed_count > 0 && session->failure.code == CB_OK) || session->finishing > 0)
        pthread_cond_wait(&session->pack_changed, &session->pack_lock);
    if (code == CB_OK)
        code = first_failure(session, err);
    if (code != CB_OK)
        remember_failure(session, err);
    pthread_mutex_unlock(&session->pack_lock);
    return code;
}

/* Packs that we may have relied upon, but no index object names: name them, before the manifest. */
static cb_code adopt_packs(cb_session *session, cb_error *err)
{
    cb_index *index = &session->repo->index;
    cb_code code = CB_OK;

    for (size_t i = 0; i < session->usable_count && code == CB_OK; i++) {
        const cb_pack_info *pack = &index->packs[i];
        cb_footer footer;

        if (!session->usable[i] || !pack->adopted)
            continue;
        code = cb_footer_read(session->repo->store, session->repo->id, pack->id, pack->size_bytes,
                              session->repo->keys, &footer, err);
        if (code == CB_OK)
            code = cb_index_builder_add(&session->pending, pack->id, footer.kind,
                                        cb_footer_wrap(&footer), footer.entries, footer.count, err);
        cb_footer_free(&footer);
        if (code == CB_OK && session->pending.count >= ADOPT_CHUNKS_MAX)
            code = write_pending(session, err);
    }
    return code;
}

void cb_session_save_index(cb_session *session)
{
    cb_error err = {0};

    /* A courtesy to the next run, which then finds the packs of this one without a search. */
    if (session->is_open && session->pending.pack_count > 0)
        cb_ignore(write_pending(session, &err));
}

cb_code cb_session_flush(cb_session *session, cb_error *err)
{
    cb_code code = flush_packs(session, err);

    if (code == CB_OK)
        code = adopt_packs(session, err);
    if (code == CB_OK)
        code = write_pending(session, err);
    if (code != CB_OK)
        return fail_session(session, err);
    return CB_OK;
}
