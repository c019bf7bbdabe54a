/*
 * Index objects in the store: listed, read, written, merged.
 *
 * The index is a shortcut: all of it can be made again from the packs' footers. So a damaged
 * object is passed over with a warning and its packs' footers are read instead, like those of a
 * run that died before it wrote its index. Objects are only removed once another, durable one
 * holds all that they said; a reader who misses one lists again.
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include <stdlib.h>

#include "base/array.h"

enum {
    MERGE_COUNT = 8,
    MERGE_LEVELS = 3,
    MERGE_FIRST_ENTRIES = 4096, /* level k holds objects below 4096 * 8^k entries */
};

/* ---- list ------------------------------------------------------------------------------- */

typedef struct object_list {
    cb_index_object *objects;
    size_t count;
    size_t capacity;
} object_list;

static cb_code see_object(void *arg, const cb_object *object, cb_error *err)
{
    object_list *list = arg;
    cb_index_object found = {.size_bytes = object->size_bytes};
    cb_code code = CB_OK;

    if (!cb_key_parse_index(object->key, found.id))
        return CB_OK;
    if (list->count == list->capacity)
        code = cb_array_grow(&list->objects, &list->capacity, sizeof(*list->objects), err);
    if (code == CB_OK)
        list->objects[list->count++] = found;
    return code;
}

cb_code cb_index_list(cb_repo *repo, cb_index_object **out, size_t *count, cb_error *err)
{
    object_list list = {0};
    cb_code code = cb_store_list(repo->store, "index/", see_object, &list, err);

    *out = NULL;
    *count = 0;
    if (code != CB_OK) {
        free(list.objects);
        return code;
    }
    *out = list.objects;
    *count = list.count;
    return CB_OK;
}

/* ---- read ------------------------------------------------------------------------------- */

cb_code cb_index_object_read(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES], cb_buf *raw,
                             cb_index_view *view, cb_error *err)
{
    char key[CB_KEY_MAX];
    cb_object_view object;
    cb_code code;

    cb_key_index(key, id);
    /* Those who remove anything trust nothing but the repository. */
    code = repo->needs_flat
               ? cb_object_read(repo, key, CB_OBJECT_BYTES_MAX, raw, &object, err)
               : cb_object_read_kept(repo, key, 0, CB_OBJECT_BYTES_MAX, raw, &object, err);
    if (code == CB_OK)
        code = cb_object_expect(&object, CB_OBJECT_INDEX, key, err);
    if (code != CB_OK)
        return code;
    if (cb_index_view_parse(object.payload, view, err) != CB_OK)
        return cb_context(err, "'%s'", key);
    if (view->pack_count > 0 && (view->wraps != NULL) != (repo->keys != NULL))
        return cb_fail(err, CB_CORRUPT, "'%s' does not say how its packs are encrypted", key);
    return CB_OK;
}

static bool is_damage(cb_code code)
{
    return code == CB_CORRUPT || code == CB_UNSUPPORTED;
}

/* ---- write ------------------------------------------------------------------------------ */

cb_code cb_index_object_write(cb_repo *repo, const uint8_t *session_id, cb_index_builder *builder,
                              uint8_t id_out[CB_PACK_ID_BYTES], cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    char key[CB_KEY_MAX];
    cb_code code = cb_index_builder_render(builder, &payload, err);

    if (code != CB_OK)
        return code;
    memcpy(id_out, session_id, CB_PACK_ID_BYTES / 2);
    cb_random(repo->ctx, id_out + CB_PACK_ID_BYTES / 2, CB_PACK_ID_BYTES / 2);
    cb_key_index(key, id_out);
    code = cb_object_write(repo, CB_OBJECT_INDEX, key, CB_PUT_NEW, cb_buf_bytes(&payload), err);
    if (code == CB_EXISTS) {
        cb_error_clear(err); /* a random id: our own, from a repeated request */
        code = CB_OK;
    }
    if (code != CB_OK)
        return cb_context(err, "writing the index");
    return CB_OK;
}

typedef struct by_pack {
    uint32_t *first; /* where each pack's entries begin in `order` */
    uint32_t *order; /* entry numbers, grouped by pack */
} by_pack;

static void by_pack_free(by_pack *groups)
{
    free(groups->first);
    free(groups->order);
}

/* Entries of a view grouped by pack, by counting. */
static cb_code group_by_pack(const cb_index_view *view, by_pack *out, cb_error *err)
{
    out->first = calloc((size_t)view->pack_count + 2, sizeof(*out->first));
    out->order = calloc((size_t)view->entry_count + 1, sizeof(*out->order));
    if (out->first == NULL || out->order == NULL)
        return cb_fail_memory(err, view->entry_count * sizeof(*out->order));
    for (uint32_t i = 0; i < view->entry_count; i++) {
        cb_pack_entry entry;

        out->first[cb_index_view_entry(view, i, &entry) + 2]++;
    }
    for (uint32_t i = 2; i < view->pack_count + 2; i++)
        out->first[i] += out->first[i - 1];
    for (uint32_t i = 0; i < view->entry_count; i++) {
        cb_pack_entry entry;
        uint32_t pack = cb_index_view_entry(view, i, &entry);

        out->order[out->first[pack + 1]++] = i;
    }
    return CB_OK; /* first[p] .. first[p + 1] are the entries of pack p */
}

static cb_code collect_pack(const cb_index_view *view, const by_pack *groups, uint32_t pack,
                            cb_index_builder *builder, cb_error *err)
{
    uint8_t id[CB_PACK_ID_BYTES];
    cb_pack_kind kind;
    uint32_t chunks;
    cb_pack_entry *entries;
    cb_code code;

    cb_index_view_pack(view, pack, id, &chunks, &kind);
    entries = calloc((size_t)chunks + 1, sizeof(*entries));
    if (entries == NULL)
        return cb_fail_memory(err, chunks * sizeof(*entries));
    for (uint32_t i = 0; i < chunks; i++)
        (void)cb_index_view_entry(view, groups->order[groups->first[pack] + i], &entries[i]);
    code = cb_index_builder_add(builder, id, kind, cb_index_view_wrap(view, pack), entries, chunks,
                                err);
    free(entries);
    return code;
}

cb_code cb_index_object_collect(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES],
                                cb_index_drop *drop, void *arg, cb_index_builder *builder,
                                size_t *dropped, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(by_pack_free) by_pack groups = {0};
    cb_index_view view = {0};
    cb_code code = cb_index_object_read(repo, id, &raw, &view, err);

    *dropped = 0;
    if (code == CB_OK)
        code = group_by_pack(&view, &groups, err);
    for (uint32_t i = 0; i < view.pack_count && code == CB_OK; i++) {
        uint8_t pack[CB_PACK_ID_BYTES];
        cb_pack_kind kind;
        uint32_t chunks;

        cb_index_view_pack(&view, i, pack, &chunks, &kind);
        if (drop != NULL && drop(arg, pack))
            (*dropped)++;
        else
            code = collect_pack(&view, &groups, i, builder, err);
    }
    return code;
}

/* ---- merge ------------------------------------------------------------------------------ */

static unsigned level_of(const cb_index_object *object)
{
    uint64_t entries = object->size_bytes / CB_INDEX_ENTRY_BYTES;
    uint64_t bound = MERGE_FIRST_ENTRIES;
    unsigned level = 0;

    for (; level < MERGE_LEVELS && entries >= bound; level++)
        bound *= MERGE_COUNT;
    return level;
}

typedef struct merge {
    cb_index_builder builder;
    const cb_index_object *parts[MERGE_COUNT];
    size_t count;
} merge;

static void merge_free(merge *m)
{
    cb_index_builder_free(&m->builder);
}

/* Would its entries make the merged object too large? */
static bool fits(const merge *m, const cb_index_object *object)
{
    return m->builder.count + object->size_bytes / CB_INDEX_ENTRY_BYTES <= CB_INDEX_ENTRIES_MAX;
}

/* A damaged object is left where it is: it must not keep the others from being merged for ever. */
static cb_code take_part(cb_repo *repo, merge *m, const cb_index_object *object, cb_error *err)
{
    size_t dropped;
    cb_code code =
        cb_index_object_collect(repo, object->id, NULL, NULL, &m->builder, &dropped, err);

    if (is_damage(code)) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        m->parts[m->count++] = object;
    return code;
}

/* The superset first, the parts after it is durable. */
static cb_code write_merged(cb_repo *repo, const uint8_t *session_id, merge *m, cb_error *err)
{
    uint8_t id[CB_PACK_ID_BYTES];
    char keys[MERGE_COUNT][CB_KEY_MAX];
    const char *parts[MERGE_COUNT];
    cb_code code;

    if (m->builder.count > CB_INDEX_ENTRIES_MAX)
        return CB_OK;
    code = cb_index_object_write(repo, session_id, &m->builder, id, err);
    for (size_t i = 0; i < m->count; i++)
        parts[i] = cb_key_index(keys[i], m->parts[i]->id);
    return code == CB_OK ? cb_store_remove_many(repo->store, parts, m->count, err) : code;
}

/* Merge the first eight readable objects of a level, if there are as many; fewer when eight would
   be too large for one object. */
static cb_code merge_level(cb_repo *repo, const uint8_t *session_id, unsigned level,
                           const cb_index_object *objects, size_t count, bool *merged,
                           cb_error *err)
{
    CB_CLEANUP(merge_free) merge m = {0};
    size_t found = 0;
    size_t i = 0;
    cb_code code = CB_OK;

    *merged = false;
    for (size_t k = 0; k < count; k++)
        found += level_of(&objects[k]) == level;
    for (; i < count && found >= MERGE_COUNT && m.count < MERGE_COUNT; i++) {
        if (level_of(&objects[i]) != level)
            continue;
        if (!fits(&m, &objects[i]))
            break;
        code = take_part(repo, &m, &objects[i], err);
        if (code != CB_OK)
            return code;
    }
    if (m.count < 2 || (m.count < MERGE_COUNT && i == count))
        return CB_OK;
    *merged = true;
    return write_merged(repo, session_id, &m, err);
}

bool cb_index_wants_merge(const cb_repo *repo, const size_t *written, size_t written_count)
{
    size_t at_level[MERGE_LEVELS] = {0};

    if (!repo->index_is_loaded) /* nobody knows what there is */
        return true;
    for (size_t i = 0; i < repo->index.object_count + written_count; i++) {
        cb_index_object own = {.size_bytes =
                                   i < written_count ? written[i] * CB_INDEX_ENTRY_BYTES : 0};
        unsigned level =
            level_of(i < written_count ? &own : &repo->index.objects[i - written_count]);

        if (level < MERGE_LEVELS && ++at_level[level] >= MERGE_COUNT)
            return true;
    }
    return false;
}

cb_code cb_index_merge(cb_repo *repo, const uint8_t *session_id, cb_error *err)
{
    cb_index_object *objects;
    size_t count;
    bool merged = false;
    cb_code code = cb_index_list(repo, &objects, &count, err);

    if (code != CB_OK)
        return code;
    for (unsigned level = 0; level < MERGE_LEVELS && code == CB_OK && !merged; level++)
        code = merge_level(repo, session_id, level, objects, count, &merged, err);
    free(objects);
    return code;
}
