#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

bool fixture_is_encrypted(void)
{
    return getenv("CB_TEST_ENCRYPTED") != NULL;
}

cb_code fixture_create(cb_ctx *ctx, cb_store *store, cb_error *err)
{
    cb_unlock unlock = {.passphrase = FIXTURE_PASSPHRASE, .scrypt_log2_n = 2};

    if (!fixture_is_encrypted())
        return cb_repo_create(ctx, store, NULL, err);
    ctx->settings.passphrase = FIXTURE_PASSPHRASE;
    return cb_repo_create(ctx, store, &unlock, err);
}

/* A way to a store that a repository may own and close. */
static void leave_open(cb_store *store)
{
    (void)store;
}

const char *fixture_name(cb_ctx *ctx, cb_store *store, const char *name, char out[CB_NAME_MAX + 1])
{
    cb_store_ops ops = *store->ops;
    const cb_store_ops *kept = store->ops;
    cb_error err = {0};
    cb_repo *repo;

    ops.close = leave_open;
    out[0] = '\0'; /* fails the test */
    if (cb_repo_open(ctx, store, &repo, &err) == CB_OK) {
        cb_name_key(repo, name, out);
        store->ops = &ops;
        cb_repo_close(repo);
        store->ops = kept;
    }
    return out;
}

const char *fixture_session_key(cb_ctx *ctx, cb_store *store, const char *name, uint64_t number,
                                const char *what, char out[CB_KEY_MAX])
{
    char key_name[CB_NAME_MAX + 1];

    return cb_key_session(out, fixture_name(ctx, store, name, key_name), number, what);
}

void fixture_chunk(const fixture_shape *shape, unsigned item, unsigned place,
                   uint8_t into[FIXTURE_CHUNK])
{
    uint32_t version = place < shape->changing ? shape->version : 0;
    uint64_t state = ((uint64_t)item << 40 ^ (uint64_t)place << 16 ^ version) + 1;

    for (size_t i = 0; i < FIXTURE_CHUNK; i += 8) {
        if (i < FIXTURE_CHUNK / 2) { /* one half does not compress, the other does */
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        memcpy(into + i, &state, 8);
    }
}

static cb_code put_item(cb_session *session, const fixture_shape *shape, unsigned item_number,
                        cb_entry *entries, cb_error *err)
{
    char path[32];
    cb_item item = {.path = path,
                    .kind = CB_ITEM_FILE,
                    .size_bytes = (uint64_t)shape->chunks * FIXTURE_CHUNK,
                    .chunk_bytes = FIXTURE_CHUNK};
    uint8_t raw[FIXTURE_CHUNK];

    snprintf(path, sizeof(path), "file-%05u", item_number);
    for (unsigned c = 0; c < shape->chunks; c++) {
        cb_put_result put;
        cb_code code;

        fixture_chunk(shape, item_number, c, raw);
        code = cb_session_put(session, 0, cb_bytes_of(raw, sizeof(raw)), &put, err);
        if (code != CB_OK)
            return code;
        entries[c].id = put.id;
        memset(&entries[c].fingerprint, (int)c, sizeof(entries[c].fingerprint));
    }
    return cb_session_item(session, &item, entries, shape->chunks, err);
}

cb_code fixture_fill(cb_repo *repo, cb_session *session, const fixture_shape *shape, cb_error *err)
{
    char text[96];
    cb_pair fact = {"shape", text};
    cb_manifest manifest = {.kind = "dir", .source = "/fixture", .facts = &fact, .fact_count = 1};
    cb_entry *entries = calloc((size_t)shape->chunks + 1, sizeof(*entries));
    cb_code code = CB_OK;

    (void)repo;
    snprintf(text, sizeof(text), "%u %u %u %u", shape->items, shape->chunks, shape->changing,
             shape->version);
    for (unsigned i = 0; i < shape->items && code == CB_OK; i++)
        code = put_item(session, shape, i, entries, err);
    if (code == CB_OK)
        code = cb_session_commit(session, &manifest, err);
    free(entries);
    return code;
}

cb_code fixture_backup(cb_repo *repo, const fixture_shape *shape, cb_manifest_ref *ref,
                       cb_error *err)
{
    cb_session_request request = {.name = shape->name,
                                  .codec = CB_CODEC_ZSTD,
                                  .codec_level = -1,
                                  .full = shape->full,
                                  .single_threaded = shape->single_threaded,
                                  .pack_bytes = shape->pack_bytes};
    cb_session *session;
    cb_code code = cb_session_open(repo, &request, &session, err);

    if (code != CB_OK)
        return code;
    code = fixture_fill(repo, session, shape, err);
    if (ref != NULL) {
        snprintf(ref->name, sizeof(ref->name), "%s", shape->name);
        snprintf(ref->label, sizeof(ref->label), "%s", cb_session_label(session));
        ref->number = cb_session_number(session);
    }
    cb_session_free(session);
    return code;
}

static cb_code read_shape(const cb_manifest *manifest, fixture_shape *shape, cb_error *err)
{
    memset(shape, 0, sizeof(*shape));
    if (manifest->fact_count != 1 || sscanf(manifest->facts[0].value, "%u %u %u %u", &shape->items,
                                            &shape->chunks, &shape->changing, &shape->version) != 4)
        return cb_fail(err, CB_CORRUPT, "the manifest has not the fixture's fact");
    return CB_OK;
}

static cb_code check_item(cb_repo *repo, cb_tree *tree, const fixture_shape *shape, unsigned number,
                          cb_error *err)
{
    uint8_t raw[FIXTURE_CHUNK];
    cb_code code = CB_OK;

    for (unsigned c = 0; c < shape->chunks && code == CB_OK; c++) {
        CB_CLEANUP(cb_buf_free) cb_buf got = {.limit = CB_CHUNK_BYTES_MAX};
        cb_entry entry;

        code = cb_tree_entries(tree, c, 1, &entry, err);
        if (code == CB_OK)
            code = cb_repo_get(repo, 0, &entry.id, &got, err);
        fixture_chunk(shape, number, c, raw);
        if (code == CB_OK && (got.size != sizeof(raw) || memcmp(got.data, raw, sizeof(raw)) != 0))
            code = cb_fail(err, CB_CORRUPT, "chunk %u of item %u differs", c, number);
    }
    return code;
}

cb_code fixture_check(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err)
{
    cb_manifest *manifest;
    fixture_shape shape;
    cb_tree *tree = NULL;
    cb_item item;
    bool more = true;
    unsigned seen = 0;
    cb_code code = cb_manifest_load(repo, ref, &manifest, err);

    if (code != CB_OK)
        return code;
    code = read_shape(manifest, &shape, err);
    if (code == CB_OK)
        code = cb_tree_open(repo, manifest, &tree, err);
    while (code == CB_OK) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            break;
        code = check_item(repo, tree, &shape, seen++, err);
    }
    if (code == CB_OK && seen != shape.items)
        code = cb_fail(err, CB_CORRUPT, "%u items instead of %u", seen, shape.items);
    cb_tree_free(tree);
    cb_manifest_free(manifest);
    return code;
}

cb_code fixture_check_all(cb_repo *repo, size_t *count, cb_error *err)
{
    cb_manifest_ref *refs;
    cb_code code = cb_manifest_list(repo, NULL, &refs, count, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < *count && code == CB_OK; i++) {
        code = fixture_check(repo, &refs[i], err);
        if (code != CB_OK)
            cb_context(err, "%s@%s", refs[i].name, refs[i].label);
    }
    free(refs);
    return code;
}

typedef struct counting {
    size_t count, wanted;
    char *key;
} counting;

static cb_code count_key(void *arg, const cb_object *object, cb_error *err)
{
    counting *c = arg;

    (void)err;
    if (c->key != NULL && c->count == c->wanted)
        snprintf(c->key, CB_KEY_MAX, "%s", object->key);
    c->count++;
    return CB_OK;
}

size_t fixture_count(cb_store *store, const char *prefix)
{
    counting c = {0};
    cb_error err = {0};

    cb_ignore(cb_store_list(store, prefix, count_key, &c, &err)); /* 0 fails the test */
    return c.count;
}

void fixture_key(cb_store *store, const char *prefix, size_t at, char out[CB_KEY_MAX])
{
    counting c = {.wanted = at, .key = out};
    cb_error err = {0};

    out[0] = '\0';
    cb_ignore(cb_store_list(store, prefix, count_key, &c, &err)); /* "" fails the test */
}
