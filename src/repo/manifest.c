/*
 * The manifest: what a backup says of itself, and where its item table is. The create of its
 * object is the commit of the backup. A tombstone takes its key for ever.
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

/* Fields: doc/format.md, "Manifest". */
enum {
    F_SESSION = 1,
    F_NAME = 2,
    F_LABEL = 3,
    F_NUMBER = 4,
    F_KIND = 5,
    F_SOURCE = 6,
    F_HOST = 7,
    F_VERSION = 8,
    F_STARTED = 9,
    F_POINT = 10,
    F_FINISHED = 11,
    F_SOURCE_BYTES = 12,
    F_READ_BYTES = 13,
    F_NEW_BYTES = 14,
    F_STORED_BYTES = 15,
    F_CHUNKS = 16,
    F_NEW_CHUNKS = 17,
    F_PASSES = 18,
    F_CONFIRMED = 19,
    F_COMMITS_IN_LOG = 20,
    F_DAMAGED = 21,
    F_TAG = 22,
    F_FACT = 23,
    F_STATE = 24,
    F_ITEM_CHUNKS = 25,
    /* of a pair */
    F_KEY = 1,
    F_VALUE = 2,
};

/* ---- render ----------------------------------------------------------------------------- */

static cb_code put_pairs(cb_buf *into, uint32_t tag, const cb_pair *pairs, size_t count,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf pair = {0};
    cb_code code = CB_OK;

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        pair.size = 0;
        code = cb_field_put_text(&pair, F_KEY, pairs[i].key, err);
        if (code == CB_OK)
            code = cb_field_put_text(&pair, F_VALUE, pairs[i].value, err);
        if (code == CB_OK)
            code = cb_field_put_bytes(into, tag, cb_buf_bytes(&pair), err);
    }
    return code;
}

static cb_code put_texts(cb_buf *into, const cb_manifest *m, cb_error *err)
{
    const struct {
        uint32_t tag;
        const char *text;
    } fields[] = {
        {F_KIND, m->kind}, {F_SOURCE, m->source}, {F_HOST, m->host}, {F_VERSION, m->version}};
    cb_code code = CB_OK;

    for (size_t i = 0; i < CB_LENGTH(fields) && code == CB_OK; i++)
        code = cb_field_put_text(into, fields[i].tag, fields[i].text, err);
    return code;
}

static cb_code put_times(cb_buf *into, const cb_manifest *m, cb_error *err)
{
    cb_code code = cb_field_put_i64(into, F_STARTED, m->started_us, err);

    if (code == CB_OK)
        code = cb_field_put_i64(into, F_POINT, m->point_us, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_FINISHED, m->finished_us, err);
    return code;
}

static cb_code put_counts(cb_buf *into, const cb_manifest *m, cb_error *err)
{
    const struct {
        uint32_t tag;
        uint64_t value;
    } fields[] = {{F_SOURCE_BYTES, m->source_bytes},
                  {F_READ_BYTES, m->read_bytes},
                  {F_NEW_BYTES, m->new_bytes},
                  {F_STORED_BYTES, m->stored_bytes},
                  {F_CHUNKS, m->chunks},
                  {F_NEW_CHUNKS, m->new_chunks},
                  {F_PASSES, m->passes}};
    cb_code code = CB_OK;

    for (size_t i = 0; i < CB_LENGTH(fields) && code == CB_OK; i++)
        code = cb_field_put_u64(into, fields[i].tag, fields[i].value, err);
    return code;
}

static cb_code put_ends(cb_buf *into, const cb_manifest *m, cb_error *err)
{
    cb_code code = cb_field_put_text(into, F_CONFIRMED, m->confirmed, err);

    if (code == CB_OK)
        code = cb_field_put_u64(into, F_COMMITS_IN_LOG, m->commits_in_log, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_DAMAGED, m->damaged, err);
    if (code == CB_OK)
        code = put_pairs(into, F_TAG, m->tags, m->tag_count, err);
    if (code == CB_OK)
        code = put_pairs(into, F_FACT, m->facts, m->fact_count, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, F_STATE, m->state, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(
            into, F_ITEM_CHUNKS,
            cb_bytes_of(m->item_chunks, m->item_chunk_count * sizeof(*m->item_chunks)), err);
    return code;
}

cb_code cb_manifest_render(const cb_manifest *manifest,
                           const uint8_t session_id[CB_SESSION_ID_BYTES], cb_buf *into,
                           cb_error *err)
{
    cb_code code =
        cb_field_put_bytes(into, F_SESSION, cb_bytes_of(session_id, CB_SESSION_ID_BYTES), err);

    if (code == CB_OK)
        code = cb_field_put_text(into, F_NAME, manifest->name, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, F_LABEL, manifest->label, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_NUMBER, manifest->number, err);
    if (code == CB_OK)
        code = put_texts(into, manifest, err);
    if (code == CB_OK)
        code = put_times(into, manifest, err);
    if (code == CB_OK)
        code = put_counts(into, manifest, err);
    if (code == CB_OK)
        code = put_ends(into, manifest, err);
    return code;
}

/* ---- parse ------------------------------------------------------------------------------ */

/* Lists grow while parsing and move into the arena's care at the end. */
typedef struct pair_list {
    cb_pair *pairs;
    size_t count;
    size_t capacity;
} pair_list;

static cb_code take_pair(const cb_field *field, cb_arena *arena, pair_list *list, cb_error *err)
{
    cb_field_reader reader = {field->value};
    cb_pair pair = {"", ""};
    cb_field part;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &part, &more, err)) == CB_OK && more) {
        if (part.tag == F_KEY)
            code = cb_field_text(&part, arena, &pair.key, err);
        else if (part.tag == F_VALUE)
            code = cb_field_text(&part, arena, &pair.value, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK && list->count == list->capacity)
        code = cb_array_grow(&list->pairs, &list->capacity, sizeof(*list->pairs), err);
    if (code == CB_OK)
        list->pairs[list->count++] = pair;
    return code;
}

static cb_code keep_bytes(cb_arena *arena, cb_bytes from, const void **out, cb_error *err)
{
    void *copy;
    cb_code code = cb_arena_alloc(arena, from.size > 0 ? from.size : 1, &copy, err);

    if (code != CB_OK)
        return code;
    if (from.size > 0)
        memcpy(copy, from.data, from.size);
    *out = copy;
    return CB_OK;
}

static cb_code take_item_chunks(cb_manifest *m, cb_bytes value, cb_error *err)
{
    const void *copy;
    cb_code code;

    if (value.size % CB_HASH_BYTES != 0)
        return cb_fail(err, CB_CORRUPT, "the list of item chunks has %zu bytes", value.size);
    code = keep_bytes(&m->arena, value, &copy, err);
    if (code != CB_OK)
        return code;
    m->item_chunks = copy;
    m->item_chunk_count = value.size / CB_HASH_BYTES;
    return CB_OK;
}

static cb_code take_state(cb_manifest *m, cb_bytes value, cb_error *err)
{
    const void *copy;
    cb_code code = keep_bytes(&m->arena, value, &copy, err);

    if (code != CB_OK)
        return code;
    m->state = cb_bytes_of(copy, value.size);
    return CB_OK;
}

static cb_code take_passes(cb_manifest *m, const cb_field *field, cb_error *err)
{
    uint64_t value;
    cb_code code = cb_field_u64(field, &value, err);

    if (code == CB_OK && value > UINT32_MAX)
        return cb_fail(err, CB_CORRUPT, "the number of passes cannot be");
    if (code == CB_OK)
        m->passes = (unsigned)value;
    return code;
}

static cb_code take_session(const cb_field *field, uint8_t *session_id, cb_error *err)
{
    if (field->value.size != CB_SESSION_ID_BYTES)
        return cb_fail(err, CB_CORRUPT, "the session id has %zu bytes", field->value.size);
    if (session_id != NULL)
        memcpy(session_id, field->value.data, CB_SESSION_ID_BYTES);
    return CB_OK;
}

/* One case a field: long, but a single thing. */
static cb_code take_field(cb_manifest *m, const cb_field *field, pair_list *tags, pair_list *facts,
                          uint8_t *session_id, cb_error *err)
{
    switch (field->tag) {
    case F_SESSION:
        return take_session(field, session_id, err);
    case F_NAME:
        return cb_field_text(field, &m->arena, &m->name, err);
    case F_LABEL:
        return cb_field_text(field, &m->arena, &m->label, err);
    case F_NUMBER:
        return cb_field_u64(field, &m->number, err);
    case F_KIND:
        return cb_field_text(field, &m->arena, &m->kind, err);
    case F_SOURCE:
        return cb_field_text(field, &m->arena, &m->source, err);
    case F_HOST:
        return cb_field_text(field, &m->arena, &m->host, err);
    case F_VERSION:
        return cb_field_text(field, &m->arena, &m->version, err);
    case F_STARTED:
        return cb_field_i64(field, &m->started_us, err);
    case F_POINT:
        return cb_field_i64(field, &m->point_us, err);
    case F_FINISHED:
        return cb_field_i64(field, &m->finished_us, err);
    case F_SOURCE_BYTES:
        return cb_field_u64(field, &m->source_bytes, err);
    case F_READ_BYTES:
        return cb_field_u64(field, &m->read_bytes, err);
    case F_NEW_BYTES:
        return cb_field_u64(field, &m->new_bytes, err);
    case F_STORED_BYTES:
        return cb_field_u64(field, &m->stored_bytes, err);
    case F_CHUNKS:
        return cb_field_u64(field, &m->chunks, err);
    case F_NEW_CHUNKS:
        return cb_field_u64(field, &m->new_chunks, err);
    case F_PASSES:
        return take_passes(m, field, err);
    case F_CONFIRMED:
        return cb_field_text(field, &m->arena, &m->confirmed, err);
    case F_COMMITS_IN_LOG:
        return cb_field_u64(field, &m->commits_in_log, err);
    case F_DAMAGED:
        return cb_field_u64(field, &m->damaged, err);
    case F_TAG:
        return take_pair(field, &m->arena, tags, err);
    case F_FACT:
        return take_pair(field, &m->arena, facts, err);
    case F_STATE:
        return take_state(m, field->value, err);
    case F_ITEM_CHUNKS:
        return take_item_chunks(m, field->value, err);
    }
    return CB_OK; /* of a later release, and not needed to restore */
}

static cb_code keep_pairs(cb_arena *arena, const pair_list *list, const cb_pair **out,
                          size_t *count, cb_error *err)
{
    const void *copy;
    cb_code code =
        keep_bytes(arena, cb_bytes_of(list->pairs, list->count * sizeof(cb_pair)), &copy, err);

    if (code != CB_OK)
        return code;
    *out = copy;
    *count = list->count;
    return CB_OK;
}

static cb_code parse_all(cb_bytes payload, cb_manifest *m, pair_list *tags, pair_list *facts,
                         uint8_t *session_id, cb_error *err)
{
    cb_field_reader reader = {payload};
    cb_field field;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_field(m, &field, tags, facts, session_id, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK)
        code = keep_pairs(&m->arena, tags, &m->tags, &m->tag_count, err);
    if (code == CB_OK)
        code = keep_pairs(&m->arena, facts, &m->facts, &m->fact_count, err);
    if (code == CB_OK && (m->name[0] == '\0' || m->label[0] == '\0' || m->kind[0] == '\0'))
        return cb_fail(err, CB_CORRUPT, "the manifest has no name, label or kind");
    return code;
}

cb_code cb_manifest_parse(cb_bytes payload, cb_manifest **out, uint8_t *session_id, cb_error *err)
{
    cb_manifest *m = calloc(1, sizeof(*m));
    pair_list tags = {0};
    pair_list facts = {0};
    cb_code code;

    *out = NULL;
    if (m == NULL)
        return cb_fail_memory(err, sizeof(*m));
    m->name = m->label = m->kind = m->source = m->host = m->version = m->confirmed = "";
    code = parse_all(payload, m, &tags, &facts, session_id, err);
    free(tags.pairs);
    free(facts.pairs);
    if (code != CB_OK) {
        cb_manifest_free(m);
        return code;
    }
    *out = m;
    return CB_OK;
}

void cb_manifest_free(cb_manifest *manifest)
{
    if (manifest == NULL)
        return;
    cb_arena_free(&manifest->arena);
    free(manifest);
}

static cb_code load(cb_repo *repo, const cb_manifest_ref *ref, bool is_listed, cb_manifest **out,
                    cb_error *err);

/* ---- list ------------------------------------------------------------------------------- */

typedef struct scan {
    const cb_repo *repo;
    const char *name; /* NULL: all */
    cb_manifest_key *keys;
    size_t count;
    size_t capacity;
} scan;

static cb_code scan_key(void *arg, const cb_object *object, cb_error *err)
{
    scan *s = arg;
    cb_manifest_key found = {.size_bytes = object->size_bytes};
    char name[CB_NAME_MAX + 1];
    cb_code code = CB_OK;

    if (!cb_key_parse_manifest(object->key, name, &found.ref.number, found.ref.label))
        return CB_OK;
    if (s->name != NULL)
        snprintf(found.ref.name, sizeof(found.ref.name), "%s", s->name);
    else if (!cb_name_from_key(s->repo, name, found.ref.name))
        return CB_OK;
    /* A tombstone is a frame around nothing, and nothing else is as short. */
    found.is_tombstone = object->size_bytes == CB_OBJECT_FRAME_BYTES + strlen(object->key);
    if (s->count == s->capacity)
        code = cb_array_grow(&s->keys, &s->capacity, sizeof(*s->keys), err);
    if (code == CB_OK)
        s->keys[s->count++] = found;
    return code;
}

static int compare_keys(const void *a, const void *b)
{
    const cb_manifest_key *left = a;
    const cb_manifest_key *right = b;
    int order = strcmp(left->ref.name, right->ref.name);

    if (order != 0)
        return order;
    return left->ref.number < right->ref.number ? -1 : left->ref.number > right->ref.number;
}

cb_code cb_manifest_scan(cb_repo *repo, const char *name, cb_manifest_key **out, size_t *count,
                         cb_error *err)
{
    scan s = {.repo = repo, .name = name};
    char prefix[CB_KEY_MAX] = "manifest/";
    char key_name[CB_NAME_MAX + 1];
    cb_code code;

    *out = NULL;
    *count = 0;
    if (name != NULL)
        snprintf(prefix, sizeof(prefix), "manifest/%s/", cb_name_key(repo, name, key_name));
    code = cb_store_list(repo->store, prefix, scan_key, &s, err);
    if (code != CB_OK) {
        free(s.keys);
        return code;
    }
    if (s.count > 0)
        qsort(s.keys, s.count, sizeof(*s.keys), compare_keys);
    *out = s.keys;
    *count = s.count;
    return CB_OK;
}

static int compare_refs(const void *a, const void *b)
{
    const cb_manifest_ref *left = a;
    const cb_manifest_ref *right = b;
    int order = strcmp(left->name, right->name);

    if (order != 0)
        return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* Of an encrypted repository: from hashes to names, as the names' own objects say them, or else a
   manifest. */
static cb_code name_refs(cb_repo *repo, cb_manifest_ref *refs, size_t count, cb_error *err)
{
    for (size_t from = 0, end; from < count; from = end) {
        char name[CB_NAME_MAX + 1];
        cb_manifest *manifest;
        cb_error quiet = {0};
        cb_code code;

        for (end = from; end < count && strcmp(refs[end].name, refs[from].name) == 0; end++)
            ;
        memcpy(name, refs[from].name, sizeof(name));
        code = cb_name_resolve(repo, name, err);
        if (code != CB_OK)
            return code;
        for (size_t i = end; i > from && name[0] == '~' && repo->keys->can_read; i--) {
            if (load(repo, &refs[i - 1], true, &manifest, &quiet) != CB_OK)
                continue;
            snprintf(name, sizeof(name), "%s", manifest->name);
            cb_name_remember(repo, name);
            cb_manifest_free(manifest);
        }
        for (size_t i = from; i < end; i++)
            memcpy(refs[i].name, name, sizeof(name));
    }
    if (count > 0)
        qsort(refs, count, sizeof(*refs), compare_refs);
    return CB_OK;
}

cb_code cb_manifest_list(cb_repo *repo, const char *name, cb_manifest_ref **out, size_t *count,
                         cb_error *err)
{
    cb_manifest_key *keys;
    size_t key_count;
    cb_code code = cb_manifest_scan(repo, name, &keys, &key_count, err);

    *out = NULL;
    *count = 0;
    if (code != CB_OK)
        return code;
    *out = calloc(key_count > 0 ? key_count : 1, sizeof(**out));
    if (*out == NULL) {
        free(keys);
        return cb_fail_memory(err, key_count * sizeof(**out));
    }
    for (size_t i = 0; i < key_count; i++)
        if (!keys[i].is_tombstone)
            (*out)[(*count)++] = keys[i].ref;
    free(keys);
    if (repo->keys == NULL || name != NULL)
        return CB_OK;
    code = name_refs(repo, *out, *count, err);
    if (code == CB_OK)
        cb_seen_check(repo, *out, *count);
    if (code != CB_OK) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return code;
}

/* ---- load ------------------------------------------------------------------------------- */

/* The manifest must be the one whose key it was read from, not only a whole one. */
static cb_code check_ref(const cb_repo *repo, const cb_manifest *m, const cb_manifest_ref *ref,
                         cb_error *err)
{
    char said[CB_NAME_MAX + 1];
    char wanted[CB_NAME_MAX + 1];

    if (!cb_is_name(m->name) ||
        strcmp(cb_name_key(repo, m->name, said), cb_name_key(repo, ref->name, wanted)) != 0 ||
        strcmp(m->label, ref->label) != 0 || m->number != ref->number)
        return cb_fail(err, CB_CORRUPT, "it says that it is %s@%s", m->name, m->label);
    return CB_OK;
}

static cb_code load(cb_repo *repo, const cb_manifest_ref *ref, bool is_listed, cb_manifest **out,
                    cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_code code;

    cb_ref_key(repo, ref, key);
    code = is_listed ? cb_object_read_kept(repo, key, 0, CB_MANIFEST_BYTES_MAX, &raw, &view, err)
                     : cb_object_read(repo, key, CB_MANIFEST_BYTES_MAX, &raw, &view, err);
    if (code == CB_OK && view.kind == CB_OBJECT_TOMBSTONE)
        code = cb_fail(err, CB_NOT_FOUND, "it was removed");
    if (code == CB_NOT_FOUND) {
        err->in_repository = true;
        cb_hint(err, "List what there is with: canvasback list %s", ref->name);
        return code;
    }
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_MANIFEST, key, err);
    if (code == CB_OK)
        code = cb_manifest_parse(view.payload, out, NULL, err);
    if (code != CB_OK)
        return code;
    code = check_ref(repo, *out, ref, err);
    if (code != CB_OK) {
        cb_manifest_free(*out);
        *out = NULL;
    }
    return code;
}

static cb_code load_and_explain(cb_repo *repo, const cb_manifest_ref *ref, bool is_listed,
                                cb_manifest **out, cb_error *err)
{
    char key[CB_KEY_MAX];
    cb_code code = load(repo, ref, is_listed, out, err);

    if (code == CB_CORRUPT) {
        cb_ref_key(repo, ref, key);
        cb_hint(err,
                "Bring '%s' back from a copy of the repository. As last resort remove that file: "
                "it gives this backup up and leaves all others. See doc/recovery.md.",
                key);
    }
    if (code != CB_OK) {
        *out = NULL;
        return cb_context(err, "backup %s@%s", ref->name, ref->label);
    }
    return CB_OK;
}

cb_code cb_manifest_load(cb_repo *repo, const cb_manifest_ref *ref, cb_manifest **out,
                         cb_error *err)
{
    cb_code code = load_and_explain(repo, ref, false, out, err);

    if (code == CB_OK)
        (*out)->load_number = ++repo->manifest_loads;
    return code;
}

cb_code cb_manifest_load_listed(cb_repo *repo, const cb_manifest_ref *ref, cb_manifest **out,
                                cb_error *err)
{
    return load_and_explain(repo, ref, true, out, err);
}
