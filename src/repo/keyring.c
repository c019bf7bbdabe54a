/*
 * The keys of a repository as people manage them: list, add, remove, change.
 *
 * Only slots that the master key vouches for count: an attacker who can write could put a false
 * one there, so that the last true one looks dispensable. A change makes the new one first: a
 * crash leaves both.
 */
#include "repo/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

static cb_code check_access(const cb_repo *repo, cb_error *err)
{
    if (repo->keys == NULL) {
        cb_fail(err, CB_USAGE, "the repository at '%s' is not encrypted: it has no keys",
                cb_store_address(repo->store));
        cb_hint(err, "A new one is encrypted with: canvasback init --encrypt; sync copies backups "
                     "into it.");
        return err->code;
    }
    if (!repo->keys->can_read) {
        cb_fail(err, CB_DENIED, "a write-only key cannot manage keys");
        cb_hint(err, "Use a passphrase of the repository instead of the key file.");
        return err->code;
    }
    return CB_OK;
}

/* ---- list ------------------------------------------------------------------------------- */

static cb_code describe(cb_repo *repo, const uint8_t *id, cb_key_entry *out, bool *there,
                        cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_slot_note note = {0};
    cb_slot slot = {0};
    cb_code code = cb_slot_read(repo->store, repo->id, id, &raw, &slot, err);

    memset(out, 0, sizeof(*out));
    *there = code != CB_NOT_FOUND;
    if (code == CB_OK) {
        out->write_only = slot.kind == CB_SLOT_WRITE_ONLY;
        code = cb_slot_note_open(repo->keys, id, &slot, &note, err);
    }
    if (code != CB_OK && code != CB_NOT_FOUND && code != CB_CORRUPT && code != CB_UNSUPPORTED)
        return code;
    out->is_valid = code == CB_OK;
    cb_error_clear(err);
    cb_hex(id, CB_SLOT_ID_BYTES, out->id);
    out->current = memcmp(id, repo->keys->slot_id, CB_SLOT_ID_BYTES) == 0;
    memcpy(out->label, note.label, sizeof(out->label));
    memcpy(out->host, note.host, sizeof(out->host));
    out->created_us = note.created_us;
    return CB_OK;
}

cb_code cb_repo_key_list(cb_repo *repo, cb_key_entry **out, size_t *count, cb_error *err)
{
    CB_CLEANUP(cb_slot_ids_free) cb_slot_ids list = {0};
    cb_code code = check_access(repo, err);

    *out = NULL;
    *count = 0;
    if (code == CB_OK)
        code = cb_slot_list(repo->store, &list, err);
    if (code != CB_OK)
        return code;
    *out = calloc(list.count + 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, list.count * sizeof(**out));
    for (size_t i = 0; i < list.count && code == CB_OK; i++) {
        bool there;

        code = describe(repo, list.ids[i], &(*out)[*count], &there, err);
        *count += there;
    }
    if (code != CB_OK) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return code;
}

/* ---- add -------------------------------------------------------------------------------- */

static void tell_id(const uint8_t *id, char out[17])
{
    if (out != NULL)
        cb_hex(id, CB_SLOT_ID_BYTES, out);
}

static cb_code check_label(const char *label, cb_error *err)
{
    if (label != NULL &&
        (strlen(label) >= sizeof(((cb_slot_note *)0)->label) || !cb_is_utf8(label, strlen(label))))
        return cb_fail(err, CB_USAGE, "the label of a key has at most %zu bytes of UTF-8",
                       sizeof(((cb_slot_note *)0)->label) - 1);
    return CB_OK;
}

static cb_code add(cb_repo *repo, const cb_unlock *unlock, const char *label,
                   uint8_t id[CB_SLOT_ID_BYTES], cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf passphrase = {0};
    cb_bytes text;
    cb_code code = check_access(repo, err);

    if (code == CB_OK)
        code = check_label(label, err);
    if (code == CB_OK)
        code = cb_passphrase_get(repo->ctx, unlock, cb_store_address(repo->store), true,
                                 &passphrase, err);
    if (code != CB_OK)
        return code;
    text = cb_buf_bytes(&passphrase);
    cb_random(repo->ctx, id, CB_SLOT_ID_BYTES);
    return cb_slot_write(repo->store, repo->keys, &repo->config.scrypt, &repo->config_sum, &text,
                         label, id, err);
}

cb_code cb_repo_key_add(cb_repo *repo, const cb_unlock *passphrase, const char *label, char id[17],
                        cb_error *err)
{
    uint8_t made[CB_SLOT_ID_BYTES];
    cb_code code = add(repo, passphrase, label, made, err);

    if (code == CB_OK)
        tell_id(made, id);
    return code;
}

/* The file first: a slot that no file belongs to would be listed for ever. */
cb_code cb_repo_key_add_write_only(cb_repo *repo, const char *path, const char *label, char id[17],
                                   cb_error *err)
{
    uint8_t made[CB_SLOT_ID_BYTES];
    cb_code code = check_access(repo, err);

    if (code == CB_OK)
        code = check_label(label, err);
    if (code != CB_OK)
        return code;
    cb_random(repo->ctx, made, sizeof(made));
    code = cb_key_file_write(path, repo->keys, &repo->config_sum, made, err);
    if (code != CB_OK)
        return cb_context(err, "key file");
    code = cb_slot_write(repo->store, repo->keys, &repo->config.scrypt, &repo->config_sum, NULL,
                         label, made, err);
    if (code != CB_OK) {
        unlink(path);
        return code;
    }
    tell_id(made, id);
    return CB_OK;
}

/* ---- remove ----------------------------------------------------------------------------- */

static const cb_key_entry *find_key(const cb_key_entry *keys, size_t count, const char *id,
                                    cb_error *err)
{
    const cb_key_entry *found = NULL;

    for (size_t i = 0; i < count && id[0] != '\0'; i++) {
        if (!cb_has_prefix(keys[i].id, id))
            continue;
        if (found != NULL) {
            cb_fail(err, CB_USAGE, "'%s' may be key %s or %s", id, found->id, keys[i].id);
            cb_hint(err, "Write more of it.");
            return NULL;
        }
        found = &keys[i];
    }
    if (found == NULL) {
        cb_fail(err, CB_USAGE, "the repository has no key '%s'", id);
        cb_hint(err, "List them with: canvasback repo key list");
    }
    return found;
}

static size_t count_full(const cb_key_entry *keys, size_t count, const char *but)
{
    size_t full = 0;

    for (size_t i = 0; i < count; i++)
        full += keys[i].is_valid && !keys[i].write_only &&
                (but == NULL || strcmp(keys[i].id, but) != 0);
    return full;
}

static cb_code last_one(const char *id, cb_error *err)
{
    cb_fail(err, CB_USAGE, "key %s is the last that opens the repository by a passphrase", id);
    cb_hint(err, "Without it nobody could ever read the backups. Add another first, or use: "
                 "canvasback repo key change");
    return err->code;
}

/* Two who remove the last two at once: whoever sees that none is left puts its own back. */
static cb_code remove_checked(cb_repo *repo, const cb_key_entry *victim, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = CB_SMALL_OBJECT_MAX};
    cb_key_entry *left;
    size_t count;
    size_t full;
    char key[CB_KEY_MAX];
    cb_code code;

    snprintf(key, sizeof(key), "key/%s", victim->id);
    code = cb_store_get(repo->store, key, 0, CB_SMALL_OBJECT_MAX, &raw, err);
    if (code == CB_OK)
        code = cb_store_remove(repo->store, key, err);
    if (code != CB_OK || victim->write_only || !victim->is_valid)
        return code;
    code = cb_repo_key_list(repo, &left, &count, err);
    if (code != CB_OK)
        return code;
    full = count_full(left, count, NULL);
    free(left);
    if (full > 0)
        return CB_OK;
    code = cb_store_put_bytes(repo->store, key, CB_PUT_NEW, cb_buf_bytes(&raw), err);
    if (code != CB_OK)
        return cb_context(err, "putting back the last key");
    return last_one(victim->id, err);
}

cb_code cb_repo_key_remove(cb_repo *repo, const char *id, cb_error *err)
{
    cb_key_entry *keys;
    const cb_key_entry *victim;
    size_t count;
    cb_code code = cb_repo_key_list(repo, &keys, &count, err);

    if (code != CB_OK)
        return code;
    victim = find_key(keys, count, id, err);
    if (victim == NULL)
        code = err->code;
    else if (!victim->write_only && count_full(keys, count, victim->id) == 0)
        code = last_one(victim->id, err);
    else
        code = remove_checked(repo, victim, err);
    free(keys);
    return code;
}

cb_code cb_repo_key_change(cb_repo *repo, const cb_unlock *passphrase, char id[17], cb_error *err)
{
    uint8_t made[CB_SLOT_ID_BYTES];
    char key[CB_KEY_MAX];
    cb_key_entry old;
    bool there;
    cb_code code = check_access(repo, err);

    if (code == CB_OK)
        code = describe(repo, repo->keys->slot_id, &old, &there, err);
    if (code == CB_OK)
        code = add(repo, passphrase, old.label, made, err);
    if (code == CB_OK)
        code = cb_store_remove(repo->store, cb_key_slot(key, repo->keys->slot_id), err);
    if (code != CB_OK)
        return code;
    memcpy(repo->keys->slot_id, made, sizeof(made));
    cb_hex(made, CB_SLOT_ID_BYTES, repo->facts.key_id);
    tell_id(made, id);
    return CB_OK;
}
