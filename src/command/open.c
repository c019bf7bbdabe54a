/*
 * open.c - the repository that the settings name, and small things that every verb needs.
 */
#include "command/command_internal.h"

#include "base/file.h"
#include "base/text.h"
#include "storage/place.h"

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

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Encrypted when there is a passphrase to do it with, or when that was asked for. */
static cb_code make(cb_ctx *ctx, cb_open_mode mode, cb_store *store, const cb_unlock *unlock,
                    cb_error *err)
{
    bool has_passphrase = is_set(unlock->passphrase_file) || is_set(unlock->passphrase_command) ||
                          is_set(unlock->passphrase);

    if (is_set(unlock->key_file)) { /* never a readable one where an encrypted one was meant */
        cb_fail(err, CB_USAGE, "there is no repository, and with a key file none can be made");
        cb_hint(err, "Check the address; make the repository with a passphrase first.");
        return err->code;
    }
    return cb_repo_create(ctx, store,
                          has_passphrase || mode == CB_OPEN_MAKE_ENCRYPTED ? unlock : NULL, err);
}

static cb_code open_or_make(cb_ctx *ctx, cb_open_mode mode, cb_store *store,
                            const cb_unlock *unlock, cb_repo **out, bool *made, cb_error *err)
{
    cb_code code;

    if (mode == CB_OPEN_MAKE || mode == CB_OPEN_MAKE_ENCRYPTED) {
        code = make(ctx, mode, store, unlock, err);
        if (code != CB_OK)
            return code;
        *made = true;
        return cb_repo_open_with(ctx, store, unlock, out, err);
    }
    code = cb_repo_open_with(ctx, store, unlock, out, err);
    if (code != CB_NOT_FOUND || mode == CB_OPEN_EXISTING)
        return code;
    cb_error_clear(err);
    code = make(ctx, mode, store, unlock, err);
    if (code == CB_OK)
        *made = true;
    else if (code != CB_EXISTS) /* another process may have made it a moment ago: use that one */
        return code;
    cb_error_clear(err);
    return cb_repo_open_with(ctx, store, unlock, out, err);
}

cb_code cb_command_open(cb_ctx *ctx, cb_open_mode mode, cb_repo **out, bool *made, cb_error *err)
{
    return cb_command_open_at(ctx, ctx->settings.repository, NULL, mode, out, made, err);
}

/* An object store's address may name a passphrase file of its own, which then is the only word. */
static cb_code choose_unlock(cb_ctx *ctx, const char *address, cb_place *place, cb_unlock *out,
                             cb_error *err)
{
    cb_code code = CB_OK;

    *out = cb_unlock_of(ctx);
    if (cb_place_is_remote(address))
        code = cb_place_parse(ctx, address, place, err);
    if (code == CB_OK && place->passphrase_file[0] != '\0')
        *out = (cb_unlock){.passphrase_file = place->passphrase_file};
    return code;
}

static cb_code open_store(cb_ctx *ctx, const char *address, const cb_unlock *unlock,
                          cb_open_mode mode, cb_repo **out, bool *made, cb_error *err)
{
    CB_CLEANUP(store_cleanup) cb_store *store = NULL;
    CB_CLEANUP(cb_free_cleanup) cb_place *place = calloc(1, sizeof(*place));
    cb_unlock own;
    cb_code code;

    if (place == NULL)
        return cb_fail_memory(err, sizeof(*place));
    code = choose_unlock(ctx, address, place, &own, err);
    if (code == CB_OK)
        code = cb_store_open(ctx, address, mode != CB_OPEN_EXISTING, &store, err);
    if (code == CB_OK)
        code = open_or_make(ctx, mode, store, unlock != NULL ? unlock : &own, out, made, err);
    if (code == CB_OK)
        store = NULL; /* the repository owns it now */
    return code;
}

cb_code cb_command_open_at(cb_ctx *ctx, const char *address, const cb_unlock *unlock,
                           cb_open_mode mode, cb_repo **out, bool *made, cb_error *err)
{
    bool was_made = false;
    char shown[CB_PLACE_TEXT_MAX];
    cb_code code;

    *out = NULL;
    if (!is_set(address)) {
        cb_fail(err, CB_USAGE, "no repository was named");
        cb_hint(err, "Say where it is with --repo ADDRESS or CANVASBACK_REPO.");
        return err->code;
    }
    code = open_store(ctx, address, unlock, mode, out, &was_made, err);
    if (code == CB_NOT_FOUND && cb_place_is_remote(address)) {
        err->in_repository = true; /* no such bucket, or nothing in it: that was said better */
        return err->code;
    }
    if (code == CB_NOT_FOUND) {
        cb_fail(err, CB_NOT_FOUND, "there is no repository at '%s'", address);
        cb_hint(err, "Check --repo and that the disk is mounted; `canvasback init` makes one.");
        err->in_repository = true;
        return err->code;
    }
    if (code == CB_CORRUPT)
        cb_hint(err, "Run 'canvasback repair' with the same settings; doc/recovery.md says more.");
    if (code != CB_OK)
        return cb_context(err, "repository '%s'", cb_place_shown(address, shown));
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

#define ABANDONED_US (INT64_C(24) * 3600 * 1000000)

uint64_t cb_command_clear_uploads(cb_ctx *ctx, cb_repo *repo)
{
    cb_store *store = cb_repo_store(repo);
    cb_error err = {0};
    uint64_t count = 0;
    int64_t now_us;
    cb_code code = cb_store_now(store, &now_us, &err);

    if (code == CB_OK)
        code = cb_store_remove_uploads(store, now_us - ABANDONED_US, &count, &err);
    if (code != CB_OK)
        cb_event_text(ctx, CB_EVENT_DEBUG, "unfinished uploads stay: %s", err.message);
    return count;
}

void cb_command_condemn(cb_ctx *ctx, cb_repo *repo, bool find_lost)
{
    cb_error err = {0};
    size_t count = 0;

    if (repo == NULL || (!find_lost && !cb_repo_has_damage(repo)))
        return;
    if (cb_repo_condemn(repo, find_lost, &count, &err) != CB_OK)
        cb_event_text(ctx, CB_EVENT_WARNING,
                      "the next backup may rely on packs that are damaged: %s. Run verify from "
                      "where the repository can be written to",
                      err.message);
    else if (count > 0)
        cb_event_text(ctx, CB_EVENT_WARNING,
                      "%zu damaged %s not relied upon any more: the next backup of a source that "
                      "still has their content stores it again",
                      count, count == 1 ? "pack is" : "packs are");
}
