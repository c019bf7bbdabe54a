/*
 * repo_key.c - the keys of an encrypted repository: list, add, remove, change.
 */
#include "command/command_internal.h"

#include <stdlib.h>

typedef struct owned_keys {
    cb_keys_result public; /* first */
    cb_arena arena;
} owned_keys;

static cb_code list_keys(cb_ctx *ctx, cb_repo *repo, owned_keys *result, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_key_entry *keys = NULL;
    cb_key_info *infos;
    size_t count = 0;
    cb_code code = cb_repo_key_list(repo, &keys, &count, err);

    if (code == CB_OK)
        code = cb_arena_alloc(&result->arena, (count + 1) * sizeof(*infos), &infos, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        memcpy(infos[i].id, keys[i].id, sizeof(infos[i].id));
        infos[i].created_us = keys[i].created_us;
        infos[i].write_only = keys[i].write_only;
        infos[i].current = keys[i].current;
        code = cb_arena_text(&result->arena, keys[i].label, &infos[i].label, err);
        if (code == CB_OK)
            code = cb_arena_text(&result->arena, keys[i].host, &infos[i].host, err);
        if (!keys[i].is_valid)
            cb_event_text(ctx, CB_EVENT_WARNING,
                          "key %s is damaged, or was put there by someone who cannot open the "
                          "repository: remove it",
                          keys[i].id);
    }
    result->public.keys = infos;
    result->public.count = count;
    return code;
}

static cb_code act(cb_ctx *ctx, cb_repo *repo, const cb_key_request *request, cb_error *err)
{
    cb_unlock fresh = {
        .passphrase_file = request->new_passphrase_file,
        .passphrase = request->new_passphrase,
        .ask = ctx->settings.ask,
        .ask_arg = ctx->settings.ask_arg,
    };
    char id[17];

    switch (request->action) {
    case CB_KEY_LIST:
        return CB_OK;
    case CB_KEY_ADD:
        if (!request->write_only)
            return cb_repo_key_add(repo, &fresh, request->label, id, err);
        if (request->file == NULL) {
            cb_fail(err, CB_USAGE, "a write-only key needs a file to be put in");
            cb_hint(err, "Name one that does not exist yet.");
            return err->code;
        }
        return cb_repo_key_add_write_only(repo, request->file, request->label, id, err);
    case CB_KEY_REMOVE:
        if (request->id == NULL)
            return cb_fail(err, CB_USAGE, "no key was named");
        return cb_repo_key_remove(repo, request->id, err);
    case CB_KEY_CHANGE:
        return cb_repo_key_change(repo, &fresh, id, err);
    }
    return cb_fail(err, CB_USAGE, "there is no such action on keys");
}

cb_code cb_repo_key(cb_ctx *ctx, const cb_key_request *request, cb_keys_result **out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    owned_keys *result;
    cb_code code;

    *out = NULL;
    code = cb_command_open(ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = act(ctx, repo, request, err);
    if (code != CB_OK)
        return code;
    result = calloc(1, sizeof(*result));
    if (result == NULL)
        return cb_fail_memory(err, sizeof(*result));
    code = list_keys(ctx, repo, result, err);
    if (code != CB_OK) {
        cb_keys_result_free(&result->public);
        return code;
    }
    *out = &result->public;
    return CB_OK;
}

void cb_keys_result_free(cb_keys_result *result)
{
    owned_keys *owned = (owned_keys *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
