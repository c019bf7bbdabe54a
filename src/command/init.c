/*
 * init.c - init and repo: the repository itself.
 */
#include "command/command_internal.h"

#include "base/array.h"

#include <stdlib.h>

typedef struct owned_repo {
    cb_repo_result public; /* first */
    cb_arena arena;
} owned_repo;

static cb_code count_keys(cb_repo *repo, uint64_t *out, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_key_entry *keys = NULL;
    size_t count = 0;
    cb_code code = cb_repo_key_list(repo, &keys, &count, err);

    *out = count;
    return code;
}

static cb_code describe(cb_repo *repo, bool created, cb_repo_result **out, cb_error *err)
{
    const cb_repo_facts *facts = cb_repo_facts_of(repo);
    owned_repo *result = calloc(1, sizeof(*result));
    cb_repo_counts counts = {0};
    cb_repo_result *r;
    cb_code code;

    if (result == NULL)
        return cb_fail_memory(err, sizeof(*result));
    r = &result->public;
    code = cb_repo_count(repo, &counts, err);
    if (code == CB_OK)
        code =
            cb_arena_text(&result->arena, cb_store_address(cb_repo_store(repo)), &r->address, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, facts->id, &r->id, err);
    if (code == CB_OK)
        code = cb_arena_text(&result->arena, facts->cipher != NULL ? facts->cipher : "", &r->cipher,
                             err);
    if (code == CB_OK && facts->encrypted && facts->can_read)
        code = count_keys(repo, &r->keys, err);
    if (code != CB_OK) {
        cb_repo_result_free(r);
        return code;
    }
    r->format = facts->format;
    r->encrypted = facts->encrypted;
    r->created = created;
    r->created_us = facts->created_us;
    r->names = counts.names;
    r->backups = counts.backups;
    r->packs = counts.packs;
    r->chunks = counts.chunks;
    r->stored_bytes = counts.stored_bytes;
    r->raw_bytes = counts.raw_bytes;
    *out = r;
    return CB_OK;
}

cb_code cb_init(cb_ctx *ctx, bool encrypt, cb_repo_result **out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    cb_code code;

    *out = NULL;
    code = cb_command_open(ctx, encrypt ? CB_OPEN_MAKE_ENCRYPTED : CB_OPEN_MAKE, &repo, NULL, err);
    return code == CB_OK ? describe(repo, true, out, err) : code;
}

cb_code cb_repo_info(cb_ctx *ctx, cb_repo_result **out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    cb_code code;

    *out = NULL;
    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    return code == CB_OK ? describe(repo, false, out, err) : code;
}

void cb_repo_result_free(cb_repo_result *result)
{
    owned_repo *owned = (owned_repo *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
