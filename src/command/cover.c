/*
 * cover.c - object lock over all that a backup needs: how long it lasts, and extending it.
 *
 * What is new is locked as it is put; what a backup shares with older ones was locked for them, and
 * runs out earlier. A backup is covered for as long as the first of its parts.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct cover {
    cb_ctx *ctx;
    cb_repo *repo;
    int64_t extend_before_us, extend_to_us; /* 0: look only */
    char (*keys)[CB_KEY_MAX];
    size_t count, capacity;
    atomic_int_least64_t until_us; /* of the part that runs out first */
} cover;

/* ---- what is needed ---------------------------------------------------------------------- */

static cb_code add_key(cover *c, const char *key, cb_error *err)
{
    cb_code code = cb_array_reserve(&c->keys, &c->capacity, c->count + 1, sizeof(*c->keys), err);

    if (code == CB_OK && strlen(key) < CB_KEY_MAX)
        memcpy(c->keys[c->count++], key, strlen(key) + 1);
    return code;
}

static cb_code add_object(void *arg, const cb_object *object, cb_error *err)
{
    return add_key(arg, object->key, err);
}

static cb_code collect(cover *c, const cb_manifest_ref *refs, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) char(*packs)[CB_KEY_MAX] = NULL;
    cb_store *store = cb_repo_store(c->repo);
    size_t pack_count = 0;
    char key[CB_KEY_MAX];
    cb_code code = cb_store_list(store, "config", add_object, c, err);

    if (code == CB_OK && cb_repo_facts_of(c->repo)->encrypted)
        code = cb_store_list(store, "key/", add_object, c, err);
    if (code == CB_OK)
        code = cb_store_list(store, "index/", add_object, c, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        cb_manifest_object(c->repo, &refs[i], key);
        code = add_key(c, key, err);
    }
    if (code != CB_OK || !cb_repo_facts_of(c->repo)->can_read)
        return code; /* who cannot read a backup cannot know which packs it shares */
    code = cb_audit_packs(c->ctx, c->repo, refs, count, &packs, &pack_count, err);
    for (size_t i = 0; code == CB_OK && i < pack_count; i++)
        code = add_key(c, packs[i], err);
    return code;
}

/* ---- locks ------------------------------------------------------------------------------- */

static void note_until(cover *c, int64_t until_us)
{
    int64_t seen = atomic_load(&c->until_us);

    while (until_us < seen && !atomic_compare_exchange_weak(&c->until_us, &seen, until_us))
        ;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    cover *c = arg;
    cb_store *store = cb_repo_store(c->repo);
    const char *key;
    int64_t until_us = 0;
    cb_code code;

    (void)worker;
    memcpy(&key, data, sizeof(key));
    code = cb_store_retained(store, key, &until_us, err);
    if (code == CB_NOT_FOUND) { /* an index object that was merged, a backup that was expired */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK && until_us < c->extend_before_us) {
        code = cb_store_retain(store, key, c->extend_to_us, err);
        if (code == CB_OK)
            until_us = c->extend_to_us;
    }
    if (code == CB_OK)
        note_until(c, until_us);
    return code;
}

static cb_code visit_all(cover *c, cb_error *err)
{
    cb_pool *pool;
    cb_code code = cb_pool_new(cb_jobs(c->ctx), 4 * (size_t)cb_jobs(c->ctx), sizeof(const char *),
                               work, c, &pool, err);

    if (code != CB_OK)
        return code;
    atomic_store(&c->until_us, INT64_MAX);
    for (size_t i = 0; code == CB_OK && i < c->count; i++) {
        const char *key = c->keys[i];

        code = cb_check_cancel(c->ctx, err);
        if (code == CB_OK)
            code = cb_pool_submit(pool, &key, err);
    }
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

cb_code cb_cover_look(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *ref, int64_t *until_us,
                      cb_error *err)
{
    cover c = {.ctx = ctx, .repo = repo};
    cb_store_facts facts = {0};
    char key[CB_KEY_MAX];
    int64_t own_us = 0;
    cb_code code = CB_OK;

    *until_us = 0;
    cb_store_facts_of(cb_repo_store(repo), &facts);
    if (facts.object_lock == CB_ANSWER_NO)
        return CB_OK;
    cb_manifest_object(repo, ref, key); /* where that is not locked, nothing else needs a look */
    code = cb_store_retained(cb_repo_store(repo), key, &own_us, err);
    if (code == CB_OK && own_us > 0) {
        code = collect(&c, ref, 1, err);
        if (code == CB_OK)
            code = visit_all(&c, err);
        if (code == CB_OK && atomic_load(&c.until_us) != INT64_MAX)
            *until_us = atomic_load(&c.until_us);
    }
    free(c.keys);
    if (code != CB_DENIED && code != CB_UNSUPPORTED && code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err); /* who may not see locks cannot say */
    *until_us = 0;
    return CB_OK;
}

void cb_cover_extend(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count)
{
    int64_t lock_for_us = ctx->settings.lock_for_us;
    int64_t now = cb_now_us(ctx);
    cover c = {
        .ctx = ctx,
        .repo = repo,
        .extend_before_us = now + lock_for_us / 2,
        .extend_to_us = now + lock_for_us,
    };
    cb_error err = {0};
    cb_code code;

    if (lock_for_us <= 0 || count == 0)
        return;
    if (!cb_repo_facts_of(repo)->can_read) /* expire, where more is known, sees to it */
        cb_event_text(ctx, CB_EVENT_DEBUG,
                      "locks of what older backups share are not extended here");
    code = collect(&c, refs, count, &err);
    if (code == CB_OK)
        code = visit_all(&c, &err);
    free(c.keys);
    if (code != CB_OK)
        cb_event_text(
            ctx, CB_EVENT_WARNING,
            "the locks of what is shared with older backups could not all be extended: %s",
            err.message);
}

void cb_cover_extend_manifest(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest)
{
    cb_manifest_ref ref = {.number = manifest->number};

    snprintf(ref.name, sizeof(ref.name), "%s", manifest->name);
    snprintf(ref.label, sizeof(ref.label), "%s", manifest->label);
    cb_cover_extend(ctx, repo, &ref, 1);
}
