/*
 * What is needed: every chunk that a manifest names. Pages and item tables that backups share are
 * walked once.
 */
#include "repo/repo_internal.h"

#include <stdlib.h>

typedef struct walk {
    cb_repo *repo;
    cb_id_set *live;
    cb_id_set walked; /* pages and item tables */
    cb_buf chunk;
    cb_buf page;
    cb_buf path;
} walk;

static void walk_free(walk *w)
{
    cb_id_set_free(&w->walked);
    cb_buf_free(&w->chunk);
    cb_buf_free(&w->page);
    cb_buf_free(&w->path);
}

static bool is_hole(const uint8_t *id)
{
    static const cb_hash none;

    return memcmp(id, none.bytes, CB_HASH_BYTES) == 0;
}

static cb_code mark_entries(walk *w, cb_bytes entries, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t at = 0; at + CB_ENTRY_BYTES <= entries.size && code == CB_OK; at += CB_ENTRY_BYTES)
        if (!is_hole(entries.data + at))
            code = cb_id_set_add(w->live, entries.data + at, err);
    return code;
}

/* Mark a metadata chunk and read it; *seen when its content was walked before. */
static cb_code mark_meta(walk *w, const uint8_t *bytes, cb_buf *into, bool *seen, cb_error *err)
{
    cb_hash id;
    cb_code code;

    memcpy(id.bytes, bytes, CB_HASH_BYTES);
    *seen = cb_id_set_has(&w->walked, id.bytes);
    if (*seen)
        return CB_OK;
    code = cb_id_set_add(w->live, id.bytes, err);
    if (code == CB_OK) {
        into->size = 0;
        code = cb_repo_get(w->repo, CB_WORKER_SELF, &id, into, err);
    }
    if (code == CB_NOT_FOUND)
        err->code = code = CB_CORRUPT; /* a backup names it, so its absence is damage */
    if (code == CB_OK)
        code = cb_id_set_add(&w->walked, id.bytes, err);
    return code;
}

static cb_code mark_pages(walk *w, const cb_item_record *record, cb_error *err)
{
    for (size_t at = 0; at < record->pages.size; at += CB_HASH_BYTES) {
        bool seen;
        cb_code code;

        if (is_hole(record->pages.data + at))
            continue;
        code = mark_meta(w, record->pages.data + at, &w->page, &seen, err);
        if (code == CB_OK && !seen) {
            code = cb_page_check(&record->item, at / CB_HASH_BYTES, w->page.size, err);
            if (code == CB_OK)
                code = mark_entries(w, cb_buf_bytes(&w->page), err);
        }
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code mark_table(walk *w, const cb_hash *id, cb_error *err)
{
    bool seen;
    cb_bytes rest;
    cb_code code = mark_meta(w, id->bytes, &w->chunk, &seen, err);

    if (code != CB_OK || seen)
        return code;
    rest = cb_buf_bytes(&w->chunk);
    while (rest.size > 0 && code == CB_OK) {
        cb_item_record record;

        code = cb_item_record_next(&rest, &w->path, &record, err);
        if (code == CB_OK)
            code = mark_entries(w, record.entries, err);
        if (code == CB_OK)
            code = mark_pages(w, &record, err);
    }
    return code;
}

/* Was it removed while it was walked? Then what is missing of it is no damage. */
static bool is_gone(cb_repo *repo, const cb_manifest_ref *ref)
{
    cb_manifest *manifest;
    cb_error quiet = {0};

    if (cb_manifest_load(repo, ref, &manifest, &quiet) == CB_OK)
        cb_manifest_free(manifest);
    return quiet.code == CB_NOT_FOUND;
}

static cb_code mark_manifest(walk *w, const cb_manifest_ref *ref, cb_error *err)
{
    cb_manifest *manifest;
    cb_code code = cb_manifest_load_listed(w->repo, ref, &manifest, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err); /* removed between the listing and now: it needs nothing any more */
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < manifest->item_chunk_count && code == CB_OK; i++) {
        code = cb_check_cancel(w->repo->ctx, err);
        if (code == CB_OK)
            code = mark_table(w, &manifest->item_chunks[i], err);
    }
    cb_manifest_free(manifest);
    if (code == CB_CORRUPT && is_gone(w->repo, ref)) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return cb_context(err, "backup %s@%s", ref->name, ref->label);
    return CB_OK;
}

/* Who is told that a backup is damaged is told how to get rid of it. */
static void hint_last_resort(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err)
{
    char key[CB_KEY_MAX];

    cb_ref_key(repo, ref, key);
    err->hint[0] = '\0'; /* of the part that is damaged: it says less */
    cb_hint(err,
            "No space is given back while a backup cannot be read. Bring the repository's files "
            "back, or store the chunks again (backup --full). As last resort remove '%s' in the "
            "repository: it gives that backup up. See doc/recovery.md.",
            key);
}

/* What looks like a tombstone must be one: a manifest cut to its length would be missed. */
static cb_code check_tombstone(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_code code;

    cb_ref_key(repo, ref, key);
    code = cb_object_read(repo, key, CB_SMALL_OBJECT_MAX, &raw, &view, err);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_TOMBSTONE, key, err);
    return code;
}

cb_code cb_live_collect(cb_repo *repo, cb_id_set *live, cb_error *err)
{
    CB_CLEANUP(walk_free) walk w = {.repo = repo, .live = live};
    cb_manifest_key *keys;
    size_t count;
    cb_code code = cb_manifest_scan(repo, NULL, &keys, &count, err);

    w.chunk.limit = w.page.limit = CB_CHUNK_BYTES_MAX;
    cb_id_set_free(live);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        code = keys[i].is_tombstone ? check_tombstone(repo, &keys[i].ref, err)
                                    : mark_manifest(&w, &keys[i].ref, err);
        if (code == CB_CORRUPT)
            hint_last_resort(repo, &keys[i].ref, err);
    }
    free(keys);
    return code;
}
