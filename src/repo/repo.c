/*
 * Making and opening a repository. The configuration is the last object that creating one writes,
 * after the first key and a copy of itself: a crash leaves a place that still counts as empty, or a
 * whole repository. Without it nothing could be read, so a lost one is read from its copy.
 */
#include "repo/fetch.h"
#include "repo/slot.h"

#include <stdlib.h>

#include "base/process.h"
#include "base/text.h"
#include "codec/mac.h"

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
    return cb_object_unseal(repo->keys, repo->id, raw, key, view, err);
}

int64_t cb_repo_retain_until(const cb_repo *repo)
{
    int64_t lock_for_us = repo->ctx->settings.lock_for_us;

    return lock_for_us > 0 ? cb_now_us(repo->ctx) + lock_for_us : 0;
}

cb_code cb_object_write(cb_repo *repo, cb_object_kind kind, const char *key, cb_put_mode mode,
                        cb_bytes payload, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    const cb_put_options options = {
        .mode = mode,
        .retain_until_us = kind == CB_OBJECT_INDEX ? cb_repo_retain_until(repo) : 0,
    };
    cb_code code = cb_object_seal(repo->keys, repo->id, kind, key, payload, &raw, err);

    if (code != CB_OK)
        return code;
    code = cb_store_put_bytes_with(repo->store, key, &options, cb_buf_bytes(&raw), err);
    if (code == CB_OK && kind == CB_OBJECT_INDEX) /* read again by the next run */
        cb_cache_put(cb_fetch_cache(repo), key, 0, cb_buf_bytes(&raw));
    return code;
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
    cb_buf_free(&worker->plain);
    cb_cipher_free(worker->cipher);
    worker->cipher = NULL;
    worker->has_key = false;
}

/* ---- create ----------------------------------------------------------------------------- */

typedef struct first_keys {
    size_t count;
    char first[CB_KEY_MAX + 1];
    bool has_ours;   /* packs or manifests without a configuration */
    bool has_config; /* somebody has made the repository since we asked for it */
} first_keys;

static cb_code look_at_key(void *arg, const cb_object *object, cb_error *err)
{
    first_keys *seen = arg;

    (void)err;
    /* A key and a copy alone were left by one who died while making a repository, or is making it
       now; and what a probe has left holds nothing. */
    if (cb_has_prefix(object->key, "key/") || cb_has_prefix(object->key, "probe/") ||
        strcmp(object->key, CB_CONFIG_COPY_KEY) == 0)
        return CB_OK;
    if (seen->count++ == 0)
        memcpy(seen->first, object->key, strlen(object->key) + 1);
    seen->has_config |= strcmp(object->key, CB_CONFIG_KEY) == 0;
    if (cb_has_prefix(object->key, "pack/") || cb_has_prefix(object->key, "manifest/"))
        seen->has_ours = true;
    return CB_OK;
}

static cb_code check_empty(cb_store *store, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf there = {.limit = CB_SMALL_OBJECT_MAX};
    first_keys seen = {0};
    cb_code code;

    code = cb_store_get(store, CB_CONFIG_KEY, 0, 1, &there, err);
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
    /* What another process that makes a repository here has put there since the listing. */
    seen.has_config |= strcmp(seen.first, CB_CONFIG_KEY) == 0;
    if (strcmp(seen.first, CB_CONFIG_COPY_KEY) == 0 || strcmp(seen.first, "key") == 0 ||
        cb_has_prefix(seen.first, "key/"))
        seen.first[0] = '\0';
    if (seen.has_config)
        return cb_fail(err, CB_EXISTS, "there is a repository at '%s' since a moment ago",
                       cb_store_address(store));
    if (seen.first[0] != '\0') {
        cb_fail(err, CB_USAGE, "'%s' is not empty: it holds '%s'", cb_store_address(store),
                seen.first);
        cb_hint(err, "Choose an empty or a new place for a repository.");
        return err->code;
    }
    return CB_OK;
}

/* Memory 128 * r * N: 64 MiB, which fits what a run may take; a fifth of a second of each run. */
enum { SCRYPT_LOG2_N = 16, SCRYPT_R = 8, SCRYPT_P = 1 };

/* A master key nobody has seen, all that follows from it, and what the configuration says of it. */
static cb_code new_master(cb_ctx *ctx, const cb_unlock *unlock, const uint8_t *id,
                          cb_config *config, cb_keys **out, cb_error *err)
{
    uint8_t master[CB_SECRET_BYTES];
    cb_code code;

    config->encryption = unlock->cipher != CB_AEAD_NONE ? unlock->cipher : cb_aead_best();
    config->scrypt.log2_n = unlock->scrypt_log2_n != 0 ? unlock->scrypt_log2_n : SCRYPT_LOG2_N;
    config->scrypt.r = SCRYPT_R;
    config->scrypt.p = SCRYPT_P;
    cb_random(ctx, master, sizeof(master));
    code = cb_keys_from_master(ctx, config->encryption, id, master, out, err);
    cb_wipe(master, sizeof(master));
    if (code == CB_OK)
        memcpy(config->public_key, (*out)->public_key, CB_SECRET_BYTES);
    return code;
}

static void free_keys(cb_keys **keys)
{
    cb_keys_free(*keys);
}

/* The first slot, of a repository whose configuration will be `raw`. */
static cb_code first_slot(cb_store *store, const cb_keys *keys, const cb_config *config,
                          cb_bytes raw, cb_bytes passphrase, uint8_t slot[CB_SLOT_ID_BYTES],
                          cb_error *err)
{
    cb_hash sum;

    cb_sha256(raw, &sum);
    cb_random(keys->ctx, slot, CB_SLOT_ID_BYTES);
    return cb_slot_write(store, keys, &config->scrypt, &sum, &passphrase, "", slot, err);
}

/* What stands there; an empty buffer when nothing does. */
static cb_code read_raw(cb_store *store, const char *key, cb_buf *into, cb_error *err)
{
    cb_code code;

    into->limit = CB_SMALL_OBJECT_MAX;
    code = cb_store_get(store, key, 0, CB_SMALL_OBJECT_MAX, into, err);
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    into->size = 0;
    return CB_OK;
}

static bool is_same(const cb_buf *a, const cb_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static cb_code put_copy(cb_store *store, cb_bytes raw, cb_error *err)
{
    cb_code code = cb_store_put_bytes(store, CB_CONFIG_COPY_KEY, CB_PUT_NEW, raw, err);

    if (code != CB_EXISTS)
        return code;
    cb_error_clear(err); /* of one who died before his `config` was there */
    return cb_store_put_bytes(store, CB_CONFIG_COPY_KEY, CB_PUT_REPLACE, raw, err);
}

/* Of two who make a repository at once, one may have the `config` and the other the copy. Whatever
   fails here costs the copy alone, and repair makes that again. */
static void settle_copy(cb_store *store)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf copy = {0};
    cb_error quiet = {0};

    if (read_raw(store, CB_CONFIG_KEY, &raw, &quiet) == CB_OK && raw.size > 0 &&
        read_raw(store, CB_CONFIG_COPY_KEY, &copy, &quiet) == CB_OK && !is_same(&raw, &copy))
        cb_ignore(cb_store_put_bytes(store, CB_CONFIG_COPY_KEY, CB_PUT_REPLACE, cb_buf_bytes(&raw),
                                     &quiet));
}

static cb_code create(cb_ctx *ctx, cb_store *store, const cb_unlock *unlock, cb_bytes passphrase,
                      cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(free_keys) cb_keys *keys = NULL;
    uint8_t id[CB_REPO_ID_BYTES];
    uint8_t slot[CB_SLOT_ID_BYTES];
    cb_config config = {0};
    char key[CB_KEY_MAX];
    cb_error quiet = {0};
    cb_code code = CB_OK;

    cb_random(ctx, id, sizeof(id));
    if (unlock != NULL)
        code = new_master(ctx, unlock, id, &config, &keys, err);
    else
        cb_random(ctx, config.seed, sizeof(config.seed));
    config.created_us = cb_now_us(ctx);
    if (code == CB_OK)
        code = cb_config_render(&config, &payload, err);
    if (code == CB_OK)
        code =
            cb_object_build(id, CB_OBJECT_CONFIG, CB_CONFIG_KEY, cb_buf_bytes(&payload), &raw, err);
    if (code == CB_OK && keys != NULL)
        code = first_slot(store, keys, &config, cb_buf_bytes(&raw), passphrase, slot, err);
    if (code != CB_OK)
        return code;
    code = put_copy(store, cb_buf_bytes(&raw), err);
    if (code != CB_OK)
        return code;
    code = cb_store_put_bytes(store, CB_CONFIG_KEY, CB_PUT_NEW, cb_buf_bytes(&raw), err);
    if (code == CB_OK || code == CB_EXISTS)
        settle_copy(store);
    if (code != CB_EXISTS)
        return code;
    if (keys != NULL) /* another was quicker: our key opens nothing */
        cb_ignore(cb_store_remove(store, cb_key_slot(key, slot), &quiet));
    return cb_fail(err, CB_EXISTS, "there is a repository at '%s' already",
                   cb_store_address(store));
}

cb_code cb_repo_create(cb_ctx *ctx, cb_store *store, const cb_unlock *unlock, cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf passphrase = {0};
    cb_code code = check_empty(store, err);

    if (code == CB_OK && unlock != NULL && unlock->key_file != NULL) {
        cb_fail(err, CB_USAGE, "a write-only key cannot make a repository");
        cb_hint(err, "Make it with a passphrase, then key files for hosts with: canvasback repo "
                     "key add --write-only");
        return err->code;
    }
    if (code == CB_OK && unlock != NULL)
        code = cb_passphrase_get(ctx, unlock, cb_store_address(store), true, &passphrase, err);
    if (code == CB_OK)
        code = create(ctx, store, unlock, cb_buf_bytes(&passphrase), err);
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
    if (seen.has_config)
        return cb_fail(err, CB_EXISTS, "the repository at '%s' is just being made",
                       cb_store_address(store));
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

static cb_code take_config(cb_repo *repo, cb_bytes raw, cb_error *err)
{
    cb_object_view view;
    cb_code code;

    if (raw.size >= 4 && memcmp(raw.data, "CBK", 3) != 0 && !memchr(raw.data, 0, 4)) {
        cb_fail(err, CB_UNSUPPORTED,
                "'%s' is not a repository of this program: its 'config' "
                "is something else",
                cb_store_address(repo->store));
        cb_hint(err, "Check --repo.");
        return err->code;
    }
    code = cb_object_parse(raw, NULL, CB_CONFIG_KEY, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_CONFIG, CB_CONFIG_KEY, err);
    if (code != CB_OK)
        return code;
    code = cb_config_parse(view.payload, &repo->config, err);
    if (code != CB_OK)
        return cb_context(err, "'" CB_CONFIG_KEY "'");
    memcpy(repo->id, view.repo_id, CB_REPO_ID_BYTES);
    cb_hex(repo->id, CB_REPO_ID_BYTES, repo->facts.id);
    repo->facts.format = CB_FORMAT_VERSION;
    repo->facts.created_us = repo->config.created_us;
    cb_sha256(raw, &repo->config_sum);
    return CB_OK;
}

static cb_code read_config_at(cb_repo *repo, const char *key, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_code code = read_raw(repo->store, key, &raw, err);

    if (code == CB_OK && raw.size == 0)
        return cb_fail(err, CB_NOT_FOUND, "there is no '%s'", key);
    return code == CB_OK ? take_config(repo, cb_buf_bytes(&raw), err) : code;
}

/* Where there are backups, the copy stands in for what is lost or damaged. It is trusted no more
   than `config` is: an encrypted repository's keys vouch for either. */
static cb_code read_config(cb_repo *repo, cb_error *err)
{
    cb_error quiet = {0};
    cb_code code = read_config_at(repo, CB_CONFIG_KEY, err);

    if (code == CB_NOT_FOUND) {
        code = no_config(repo->store, err);
        if (code == CB_EXISTS) {
            cb_error_clear(err);
            return read_config_at(repo, CB_CONFIG_KEY, err);
        }
        if (code != CB_CORRUPT)
            return code;
    }
    /* One of a newer format is not damaged: what its copy says may be older. */
    if (code != CB_CORRUPT || read_config_at(repo, CB_CONFIG_COPY_KEY, &quiet) != CB_OK)
        return code;
    cb_event_text(repo->ctx, CB_EVENT_WARNING,
                  "'" CB_CONFIG_COPY_KEY "' is used: %s. Run repair to put it back", err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code put_back(cb_repo *repo, const char *key, const cb_buf *there, const cb_buf *good,
                        cb_error *err)
{
    if (is_same(there, good))
        return CB_OK;
    if (cb_store_put_bytes(repo->store, key, CB_PUT_REPLACE, cb_buf_bytes(good), err) != CB_OK)
        return cb_context(err, "putting back '%s'", key);
    cb_event_text(repo->ctx, CB_EVENT_WARNING, "'%s' was %s and has been put back", key,
                  there->size == 0 ? "missing" : "damaged");
    return CB_OK;
}

static bool is_ours(const cb_repo *repo, const cb_buf *raw)
{
    cb_hash sum;

    cb_sha256(cb_buf_bytes(raw), &sum);
    return cb_hash_equal(&sum, &repo->config_sum);
}

cb_code cb_config_put_back(cb_repo *repo, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf copy = {0};
    const cb_buf *good;
    cb_code code = read_raw(repo->store, CB_CONFIG_KEY, &raw, err);

    if (code == CB_OK)
        code = read_raw(repo->store, CB_CONFIG_COPY_KEY, &copy, err);
    if (code != CB_OK)
        return code;
    good = is_ours(repo, &raw) ? &raw : &copy;
    if (!is_ours(repo, good))
        return CB_OK; /* both changed since we opened: whoever opens it next will tell */
    code = put_back(repo, CB_CONFIG_KEY, &raw, good, err);
    return code == CB_OK ? put_back(repo, CB_CONFIG_COPY_KEY, &copy, good, err) : code;
}

static void set_facts(cb_repo *repo)
{
    const cb_keys *keys = repo->keys;

    repo->facts.encrypted = keys != NULL;
    repo->facts.cipher = cb_aead_name(repo->config.encryption);
    repo->facts.can_read = keys == NULL || keys->can_read;
    if (keys != NULL)
        cb_hex(keys->slot_id, CB_SLOT_ID_BYTES, repo->facts.key_id);
    cb_fingerprint_secret(keys != NULL ? keys->seed : repo->config.seed, repo->fingerprint_secret);
}

cb_code cb_repo_open(cb_ctx *ctx, cb_store *store, cb_repo **out, cb_error *err)
{
    cb_unlock unlock = cb_unlock_of(ctx);

    return cb_repo_open_with(ctx, store, &unlock, out, err);
}

cb_code cb_repo_open_with(cb_ctx *ctx, cb_store *store, const cb_unlock *unlock, cb_repo **out,
                          cb_error *err)
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
    if (code == CB_OK)
        code = cb_repo_unlock(repo, unlock, err);
    if (code == CB_OK && (pthread_rwlock_init(&repo->lock, NULL) != 0 ||
                          pthread_mutex_init(&repo->key_lock, NULL) != 0))
        code = cb_fail(err, CB_NO_MEMORY, "no memory for a lock");
    if (code != CB_OK) {
        cb_keys_free(repo->keys);
        free(repo);
        return code;
    }
    set_facts(repo);
    code = cb_fetch_begin(repo, err);
    if (code != CB_OK) {
        repo->store = NULL; /* still the caller's */
        cb_repo_close(repo);
        return code;
    }
    *out = repo;
    return CB_OK;
}

void cb_repo_close(cb_repo *repo)
{
    if (repo == NULL)
        return;
    cb_fetch_end(repo);
    for (unsigned i = 0; i <= CB_WORKERS_MAX; i++)
        cb_repo_worker_free(&repo->workers[i]);
    cb_index_free(&repo->index);
    cb_keys_free(repo->keys);
    cb_repo_forget_keys(repo);
    free(repo->known_names);
    free(repo->damaged);
    free(repo->orphans);
    cb_note_list_free(&repo->notes);
    pthread_rwlock_destroy(&repo->lock);
    pthread_mutex_destroy(&repo->key_lock);
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
