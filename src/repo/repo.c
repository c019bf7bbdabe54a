/*
 * Making and opening a repository, and its configuration. The configuration is the only object
 * that creating one writes: a crash leaves an empty place or a whole repository.
 */
#include "repo/repo_internal.h"

#include <stdlib.h>

#include "base/process.h"
#include "base/text.h"

enum { ALGORITHM_SHA256 = 1, FINGERPRINT_XXH3_128 = 1, SEED_BYTES = 32 };

/* Fields of the configuration: doc/format.md, "Configuration". */
enum {
    F_CHUNK_ALGORITHM = 1,
    F_FINGERPRINT_ALGORITHM = 2,
    F_SEED = 3,
    F_CREATED = 4,
    F_ENCRYPTION = 5,
};

static const char config_key[] = "config";

/* ---- objects ---------------------------------------------------------------------------- */

cb_code cb_object_read(cb_repo *repo, const char *key, size_t limit, cb_buf *raw,
                       cb_object_view *view, cb_error *err)
{
    cb_code code;

    raw->size = 0;
    raw->limit = limit + 1; /* one more than is allowed, so that too large is seen */
    code = cb_store_get(repo->store, key, 0, limit + 1, raw, err);
    if (code != CB_OK)
        return code;
    if (raw->size > limit)
        return cb_fail(err, CB_CORRUPT, "'%s' is larger than the %zu bytes allowed", key, limit);
    return cb_object_parse(cb_buf_bytes(raw), repo->id, key, view, err);
}

cb_code cb_object_write(cb_repo *repo, cb_object_kind kind, const char *key, cb_put_mode mode,
                        cb_bytes payload, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_code code = cb_object_build(repo->id, kind, key, payload, &raw, err);

    if (code != CB_OK)
        return code;
    return cb_store_put_bytes(repo->store, key, mode, cb_buf_bytes(&raw), err);
}

cb_repo_worker *cb_repo_worker_of(cb_repo_worker *workers, unsigned worker)
{
    return &workers[worker <= CB_WORKERS_MAX ? worker : CB_WORKERS_MAX];
}

cb_code cb_repo_worker_ready(cb_repo_worker *worker, cb_error *err)
{
    if (worker->compressor != NULL)
        return CB_OK;
    worker->stored.limit = CB_STORED_BYTES_MAX;
    return cb_compressor_new(&worker->compressor, err);
}

void cb_repo_worker_free(cb_repo_worker *worker)
{
    cb_compressor_free(worker->compressor);
    worker->compressor = NULL;
    cb_buf_free(&worker->stored);
}

/* ---- configuration ---------------------------------------------------------------------- */

static cb_code render_config(cb_ctx *ctx, cb_buf *into, cb_error *err)
{
    uint8_t seed[SEED_BYTES];
    cb_code code;

    cb_random(ctx, seed, sizeof(seed));
    code = cb_field_put_u64(into, F_CHUNK_ALGORITHM, ALGORITHM_SHA256, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_FINGERPRINT_ALGORITHM, FINGERPRINT_XXH3_128, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, F_SEED, cb_bytes_of(seed, sizeof(seed)), err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_CREATED, cb_now_us(ctx), err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_ENCRYPTION, 0, err);
    return code;
}

static cb_code check_algorithms(uint64_t chunk, uint64_t fingerprint, uint64_t encryption,
                                cb_error *err)
{
    if (chunk == ALGORITHM_SHA256 && fingerprint == FINGERPRINT_XXH3_128 && encryption == 0)
        return CB_OK;
    cb_fail(err, CB_UNSUPPORTED,
            "the repository uses chunk ids %u, fingerprints %u, encryption %u; known are 1, 1, 0",
            (unsigned)chunk, (unsigned)fingerprint, (unsigned)encryption);
    cb_hint(err, "Use the release that made it, or a later one.");
    return err->code;
}

static cb_code parse_config(cb_repo *repo, cb_bytes payload, cb_error *err)
{
    cb_field_reader reader = {payload};
    cb_field field;
    uint64_t chunk = 0;
    uint64_t fingerprint = 0;
    uint64_t encryption = 0;
    bool has_seed = false;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_CHUNK_ALGORITHM)
            code = cb_field_u64(&field, &chunk, err);
        else if (field.tag == F_FINGERPRINT_ALGORITHM)
            code = cb_field_u64(&field, &fingerprint, err);
        else if (field.tag == F_CREATED)
            code = cb_field_i64(&field, &repo->facts.created_us, err);
        else if (field.tag == F_ENCRYPTION)
            code = cb_field_u64(&field, &encryption, err);
        else if (field.tag == F_SEED && field.value.size == SEED_BYTES) {
            cb_fingerprint_secret(field.value.data, repo->fingerprint_secret);
            has_seed = true;
        }
        if (code != CB_OK)
            return code;
    }
    if (code != CB_OK)
        return code;
    code = check_algorithms(chunk, fingerprint, encryption, err);
    if (code == CB_OK && !has_seed)
        return cb_fail(err, CB_CORRUPT, "'%s' has no fingerprint seed", config_key);
    return code;
}

/* ---- create ----------------------------------------------------------------------------- */

typedef struct first_keys {
    size_t count;
    char first[CB_KEY_MAX + 1];
    bool has_ours; /* packs or manifests without a configuration */
} first_keys;

static cb_code look_at_key(void *arg, const cb_object *object, cb_error *err)
{
    first_keys *seen = arg;

    (void)err;
    if (seen->count++ == 0)
        memcpy(seen->first, object->key, strlen(object->key) + 1);
    if (cb_has_prefix(object->key, "pack/") || cb_has_prefix(object->key, "manifest/"))
        seen->has_ours = true;
    return CB_OK;
}

cb_code cb_repo_create(cb_ctx *ctx, cb_store *store, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf there = {.limit = CB_SMALL_OBJECT_MAX};
    uint8_t id[CB_REPO_ID_BYTES];
    first_keys seen = {0};
    cb_code code;

    code = cb_store_get(store, config_key, 0, 1, &there, err);
    if (code == CB_OK)
        return cb_fail(err, CB_EXISTS, "there is a repository at '%s' already",
                       cb_store_address(store));
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    code = cb_store_list(store, "", look_at_key, &seen, err);
    if (code == CB_OK && seen.count == 0)
        code = cb_store_stranger(store, seen.first, err);
    if (code != CB_OK)
        return code;
    if (seen.first[0] != '\0') {
        cb_fail(err, CB_USAGE, "'%s' is not empty: it holds '%s'", cb_store_address(store),
                seen.first);
        cb_hint(err, "Choose an empty or a new place for a repository.");
        return err->code;
    }
    cb_random(ctx, id, sizeof(id));
    code = render_config(ctx, &payload, err);
    if (code == CB_OK)
        code = cb_object_build(id, CB_OBJECT_CONFIG, config_key, cb_buf_bytes(&payload), &raw, err);
    if (code == CB_OK)
        code = cb_store_put_bytes(store, config_key, CB_PUT_NEW, cb_buf_bytes(&raw), err);
    if (code == CB_EXISTS)
        return cb_fail(err, CB_EXISTS, "there is a repository at '%s' already",
                       cb_store_address(store));
    return code;
}

/* ---- open ------------------------------------------------------------------------------- */

static cb_code no_config(cb_store *store, cb_error *err)
{
    first_keys seen = {0};
    cb_code code;

    cb_error_clear(err);
    code = cb_store_list(store, "", look_at_key, &seen, err);
    if (code != CB_OK)
        return code;
    if (seen.has_ours) {
        cb_fail(err, CB_CORRUPT, "the repository at '%s' has lost its object 'config'",
                cb_store_address(store));
        cb_hint(err, "Bring 'config' back from a copy of the repository.");
        return err->code;
    }
    if (seen.count > 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a repository: it holds '%s', but no 'config'",
                cb_store_address(store), seen.first);
        cb_hint(err, "Check --repo.");
        return err->code;
    }
    cb_fail(err, CB_NOT_FOUND, "there is no repository at '%s'", cb_store_address(store));
    err->in_repository = true;
    cb_hint(err, "Check --repo, or make one with: canvasback init");
    return err->code;
}

static cb_code read_config(cb_repo *repo, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = CB_SMALL_OBJECT_MAX + 1};
    cb_object_view view;
    cb_code code;

    code = cb_store_get(repo->store, config_key, 0, CB_SMALL_OBJECT_MAX, &raw, err);
    if (code == CB_NOT_FOUND)
        return no_config(repo->store, err);
    if (code != CB_OK)
        return code;
    if (raw.size >= 4 && memcmp(raw.data, "CBK", 3) != 0 && !memchr(raw.data, 0, 4)) {
        cb_fail(err, CB_UNSUPPORTED,
                "'%s' is not a repository of this program: its 'config' "
                "is something else",
                cb_store_address(repo->store));
        cb_hint(err, "Check --repo.");
        return err->code;
    }
    code = cb_object_parse(cb_buf_bytes(&raw), NULL, config_key, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_CONFIG, config_key, err);
    if (code != CB_OK)
        return code;
    memcpy(repo->id, view.repo_id, CB_REPO_ID_BYTES);
    cb_hex(repo->id, CB_REPO_ID_BYTES, repo->facts.id);
    repo->facts.format = CB_FORMAT_VERSION;
    return parse_config(repo, view.payload, err);
}

cb_code cb_repo_open(cb_ctx *ctx, cb_store *store, cb_repo **out, cb_error *err)
{
    cb_repo *repo = calloc(1, sizeof(*repo));
    cb_store_facts facts;
    cb_code code;

    *out = NULL;
    if (repo == NULL)
        return cb_fail_memory(err, sizeof(*repo));
    repo->ctx = ctx;
    repo->store = store;
    cb_store_facts_of(store, &facts);
    repo->is_remote = facts.is_remote;
    repo->lists_packs = !facts.is_remote;
    code = read_config(repo, err);
    if (code == CB_OK && pthread_rwlock_init(&repo->lock, NULL) != 0)
        code = cb_fail(err, CB_NO_MEMORY, "no memory for a lock");
    if (code != CB_OK) {
        free(repo);
        return code;
    }
    *out = repo;
    return CB_OK;
}

void cb_repo_close(cb_repo *repo)
{
    if (repo == NULL)
        return;
    for (unsigned i = 0; i <= CB_WORKERS_MAX; i++)
        cb_repo_worker_free(&repo->workers[i]);
    cb_index_free(&repo->index);
    free(repo->damaged);
    free(repo->orphans);
    pthread_rwlock_destroy(&repo->lock);
    cb_store_close(repo->store);
    free(repo);
}

const cb_repo_facts *cb_repo_facts_of(const cb_repo *repo)
{
    return &repo->facts;
}

cb_store *cb_repo_store(cb_repo *repo)
{
    return repo->store;
}

const uint8_t *cb_repo_fingerprint_secret(const cb_repo *repo)
{
    return repo->fingerprint_secret;
}
