/*
 * The commit: packs, index, then the manifest, created exclusively. Before the last step nothing
 * of the backup is visible; after it nothing of it is missing.
 */
#include "repo/fetch.h"
#include "repo/session_internal.h"

#include "base/array.h"

/* ---- adopting a parent's table ----------------------------------------------------------- */

static cb_code usable(cb_session *session, const cb_hash *id, cb_error *err)
{
    bool found;
    cb_code code = cb_session_look_up(session, id, &found, err);

    if (code == CB_OK && !found)
        return cb_fail(err, CB_NOT_FOUND, "a chunk of the parent is not usable");
    return code;
}

static cb_code entries_usable(cb_session *session, cb_tree *tree, const cb_item *item,
                              cb_error *err)
{
    uint64_t count = cb_item_chunks(item);

    for (uint64_t i = 0; i < count; i++) {
        cb_entry entry;
        cb_code code = cb_tree_entries(tree, i, 1, &entry, err);

        if (code == CB_OK && !cb_entry_is_hole(&entry))
            code = usable(session, &entry.id, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code item_usable(cb_session *session, cb_tree *tree, const cb_item *item, cb_error *err)
{
    static const cb_hash none;
    size_t page_count;
    const cb_hash *pages = cb_tree_pages(tree, &page_count);

    for (size_t i = 0; i < page_count; i++) {
        cb_code code;

        if (cb_hash_equal(&pages[i], &none))
            continue;
        code = usable(session, &pages[i], err);
        if (code != CB_OK)
            return code;
    }
    return entries_usable(session, tree, item, err);
}

static void free_tree(cb_tree **tree)
{
    cb_tree_free(*tree);
}

/* Every chunk looked up by itself. */
static cb_code table_usable(cb_session *session, const cb_manifest *parent, cb_error *err)
{
    CB_CLEANUP(free_tree) cb_tree *tree = NULL;
    cb_item item;
    bool more;
    cb_code code = CB_OK;

    for (size_t i = 0; i < parent->item_chunk_count && code == CB_OK; i++)
        code = usable(session, &parent->item_chunks[i], err);
    if (code == CB_OK)
        code = cb_tree_open(session->repo, parent, &tree, err);
    while (code == CB_OK) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            break;
        code = item_usable(session, tree, &item, err);
    }
    if (code == CB_CORRUPT) /* a table or page that cannot be read cannot be taken over */
        err->code = code = CB_NOT_FOUND;
    return code;
}

/* Nothing of the parent can go while we live: it was there after we read the lists. */
static bool parent_is_safe(const cb_session *session, const cb_manifest *parent)
{
    return !cb_reclaim_lists_pending(&session->lists) && !cb_repo_has_damage(session->repo) &&
           parent->load_number > session->loads_at_lists;
}

cb_code cb_session_adopt_items(cb_session *session, const cb_manifest *parent, cb_error *err)
{
    cb_item_writer *items = &session->items;
    cb_code code;

    if (session->request.full)
        return cb_fail(err, CB_NOT_FOUND, "a full backup takes nothing over");
    if (!parent_is_safe(session, parent)) {
        code = table_usable(session, parent, err);
        if (code != CB_OK)
            return code;
    }
    code = cb_array_reserve(&items->chunks, &items->capacity, parent->item_chunk_count + 1,
                            sizeof(*items->chunks), err);
    if (code != CB_OK)
        return code;
    if (parent->item_chunk_count > 0)
        memcpy(items->chunks, parent->item_chunks,
               parent->item_chunk_count * sizeof(*items->chunks));
    items->count = parent->item_chunk_count;
    items->entries = parent->chunks;
    items->chunk.size = 0;
    items->is_adopted = true;
    return CB_OK;
}

/* ---- the manifest ----------------------------------------------------------------------- */

static void fill_manifest(cb_session *session, cb_manifest *manifest)
{
    cb_session_counts counts = cb_session_counts_of(session);

    manifest->name = session->name;
    manifest->label = session->label;
    manifest->number = session->number;
    manifest->item_chunks = session->items.chunks;
    manifest->item_chunk_count = session->items.count;
    manifest->chunks = session->items.entries;
    manifest->new_chunks = counts.new_chunks;
    manifest->new_bytes = counts.new_bytes;
    manifest->stored_bytes = counts.stored_bytes;
    if (manifest->kind == NULL)
        manifest->kind = "unknown";
    if (manifest->finished_us == 0) /* all but itself lies in the store now */
        manifest->finished_us = cb_now_us(session->repo->ctx);
}

/* Is what lies there byte for byte what we sent? That can be told without being able to read it. */
static bool is_what_we_sent(cb_session *session, cb_bytes sent)
{
    CB_CLEANUP(cb_buf_free) cb_buf there = {.limit = sent.size + 1};
    cb_error quiet = {0};

    return cb_store_get(session->repo->store, session->manifest_key, 0, sent.size + 1, &there,
                        &quiet) == CB_OK &&
           there.size == sent.size && memcmp(there.data, sent.data, sent.size) == 0;
}

/* The key is taken: by ourselves (an answer was lost), or by those who took us for dead. */
static cb_code whose_is_it(cb_session *session, cb_bytes sent, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    uint8_t id[CB_SESSION_ID_BYTES] = {0};
    cb_object_view view;
    cb_manifest *there;
    cb_code code;

    cb_error_clear(err);
    if (is_what_we_sent(session, sent))
        return CB_OK;
    code = cb_object_read(session->repo, session->manifest_key, CB_MANIFEST_BYTES_MAX, &raw, &view,
                          err);
    if (code == CB_NOT_FOUND || (code == CB_OK && view.kind == CB_OBJECT_TOMBSTONE)) {
        cb_error_clear(err);
        cb_fail(err, CB_RETRY, "this run of '%s' was silent for so long that it was given up",
                session->name);
        cb_hint(err, "Start it again: what it stored is found again.");
        return err->code;
    }
    if (code == CB_OK)
        code = cb_manifest_parse(view.payload, &there, id, err);
    if (code != CB_OK)
        return code;
    cb_manifest_free(there);
    if (memcmp(id, session->id, sizeof(id)) == 0)
        return CB_OK;
    return cb_fail(err, CB_INTERNAL, "'%s' belongs to another session", session->manifest_key);
}

static cb_code create_manifest(cb_session *session, const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    const cb_put_options options = {.mode = CB_PUT_NEW,
                                    .retain_until_us = cb_repo_retain_until(session->repo)};
    cb_code code = cb_manifest_render(manifest, session->id, &payload, err);

    if (code == CB_OK)
        code = cb_object_seal(session->repo->keys, session->repo->id, CB_OBJECT_MANIFEST,
                              session->manifest_key, cb_buf_bytes(&payload), &raw, err);
    if (code != CB_OK)
        return code;
    /* From here until an answer is known, our `end` must not be written: while it is missing,
       a reclaim waits for us or takes the key away for good. */
    session->may_have_commit = true;
    code = cb_store_put_bytes_with(session->repo->store, session->manifest_key, &options,
                                   cb_buf_bytes(&raw), err);
    if (code == CB_OK) {
        session->may_have_commit = false;
        cb_cache_put(cb_fetch_cache(session->repo), session->manifest_key, 0, cb_buf_bytes(&raw));
        return CB_OK;
    }
    if (code != CB_EXISTS) {
        if (code == CB_RETRY)
            err->code = CB_IO; /* CB_RETRY is kept for those who were declared dead */
        return err->code;
    }
    code = whose_is_it(session, cb_buf_bytes(&raw), err);
    if (code == CB_OK || code == CB_RETRY)
        session->may_have_commit = false; /* the key is taken for good, whoever asks again */
    return code;
}

/* What may fail without harm once the backup exists. */
static void tidy(cb_session *session)
{
    cb_error err = {0};

    if (session->written_count > 0 &&
        cb_index_wants_merge(session->repo, session->written, session->written_count) &&
        cb_index_merge(session->repo, session->id, &err) != CB_OK)
        cb_event_text(session->repo->ctx, CB_EVENT_DEBUG, "index not merged: %s", err.message);
    cb_index_forget(session->repo);
}

cb_code cb_session_commit(cb_session *session, cb_manifest *manifest, cb_error *err)
{
    cb_code code;

    if (session->name[0] == '~')
        return cb_fail(err, CB_INTERNAL, "'%s' commits no manifest", session->name);
    code = cb_session_items_end(session, err);
    if (code == CB_OK)
        code = cb_session_flush(session, err);
    if (code == CB_OK)
        code = cb_check_cancel(session->repo->ctx, err);
    if (code != CB_OK)
        return code;
    fill_manifest(session, manifest);
    code = create_manifest(session, manifest, err);
    if (code != CB_OK)
        return code;
    cb_session_stop_committer(session);
    tidy(session);
    cb_session_stop_beats(session);
    cb_session_write_end(session);
    return CB_OK;
}
