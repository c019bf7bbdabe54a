/*
 * open.c - the repository that the settings name, and small things that every verb needs.
 */
#include "command/command_internal.h"

#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <sys/stat.h>

void cb_repo_cleanup(cb_repo **repo)
{
    cb_repo_close(*repo);
}

void cb_manifest_cleanup(cb_manifest **manifest)
{
    cb_manifest_free(*manifest);
}

void cb_source_cleanup(cb_source **source)
{
    cb_source_free(*source);
}

void cb_target_cleanup(cb_target **target)
{
    cb_target_free(*target);
}

void cb_tree_cleanup(cb_tree **tree)
{
    cb_tree_free(*tree);
}

void cb_session_cleanup(cb_session **session)
{
    cb_session_free(*session);
}

void cb_free_cleanup(void *pointer)
{
    void *memory;

    memcpy(&memory, pointer, sizeof(memory));
    free(memory);
}

static void store_cleanup(cb_store **store)
{
    cb_store_close(*store);
}

static cb_code open_or_make(cb_ctx *ctx, cb_open_mode mode, cb_store *store, cb_repo **out,
                            bool *made, cb_error *err)
{
    cb_code code;

    if (mode == CB_OPEN_MAKE) {
        code = cb_repo_create(ctx, store, NULL, err);
        if (code != CB_OK)
            return code;
        *made = true;
        return cb_repo_open(ctx, store, out, err);
    }
    code = cb_repo_open(ctx, store, out, err);
    if (code != CB_NOT_FOUND || mode == CB_OPEN_EXISTING)
        return code;
    code = cb_repo_create(ctx, store, NULL, err);
    if (code == CB_OK)
        *made = true;
    else if (code != CB_EXISTS) /* another process may have made it a moment ago: use that one */
        return code;
    return cb_repo_open(ctx, store, out, err);
}

cb_code cb_command_open(cb_ctx *ctx, cb_open_mode mode, cb_repo **out, bool *made, cb_error *err)
{
    return cb_command_open_at(ctx, ctx->settings.repository, mode, out, made, err);
}

cb_code cb_command_open_at(cb_ctx *ctx, const char *address, cb_open_mode mode, cb_repo **out,
                           bool *made, cb_error *err)
{
    CB_CLEANUP(store_cleanup) cb_store *store = NULL;
    bool was_made = false;
    cb_code code;

    *out = NULL;
    if (address == NULL || address[0] == '\0') {
        cb_fail(err, CB_USAGE, "no repository was named");
        cb_hint(err, "Say where it is with --repo ADDRESS or CANVASBACK_REPO.");
        return err->code;
    }
    code = cb_store_open(ctx, address, mode != CB_OPEN_EXISTING, &store, err);
    if (code == CB_OK)
        code = open_or_make(ctx, mode, store, out, &was_made, err);
    if (code == CB_NOT_FOUND) {
        cb_fail(err, CB_NOT_FOUND, "there is no repository at '%s'", address);
        cb_hint(err, "Check --repo and that the disk is mounted; `canvasback init` makes one.");
        err->in_repository = true;
        return err->code;
    }
    if (code != CB_OK)
        return cb_context(err, "repository '%s'", address);
    store = NULL; /* the repository owns it now */
    if (made != NULL)
        *made = was_made;
    return CB_OK;
}

cb_code cb_name_check(const char *name, cb_error *err)
{
    if (cb_is_name(name))
        return CB_OK;
    cb_fail(err, CB_USAGE, "'%s' is not a name", name);
    cb_hint(err, "Names have 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter, "
                 "digit or '_'.");
    return err->code;
}

cb_code cb_command_find(cb_repo *repo, const char *text, cb_manifest_ref *ref, cb_manifest **out,
                        cb_error *err)
{
    cb_code code;

    *out = NULL;
    code = cb_manifest_find(repo, text, ref, err);
    if (code == CB_OK)
        code = cb_manifest_load(repo, ref, out, err);
    return code;
}

bool cb_manifest_is_gone(cb_repo *repo, const cb_manifest_ref *ref)
{
    cb_manifest *manifest;
    cb_error ignored = {0};
    cb_code code = cb_manifest_load(repo, ref, &manifest, &ignored);

    if (code == CB_OK)
        cb_manifest_free(manifest);
    return code == CB_NOT_FOUND;
}

bool cb_is_address(const char *text)
{
    struct stat at;

    return strchr(text, ':') != NULL || strchr(text, '/') != NULL ||
           (stat(text, &at) == 0 && !S_ISDIR(at.st_mode));
}
