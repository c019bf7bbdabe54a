/*
 * Unlocking: from a passphrase to the master key, or from a key file to what a write-only host may
 * know.
 *
 * A passphrase is tried on each key in turn: nothing says whose it is. What opens must also vouch
 * for the `config` that was read: without that, whoever can write to the store could put another
 * public key there, and read every backup made from then on.
 */
#include "repo/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "codec/mac.h"

enum { SLOTS_TRIED_MAX = 64, F_MASTER = 1, F_CONFIG_SUM = 2 };

#define COMMAND_US ((int64_t)300 * 1000000)

void cb_secret_free(cb_buf *secret)
{
    if (secret->data != NULL)
        cb_wipe(secret->data, secret->capacity);
    cb_buf_free(secret);
}

cb_unlock cb_unlock_of(const cb_ctx *ctx)
{
    const cb_settings *settings = &ctx->settings;

    return (cb_unlock){.key_file = settings->key_file,
                       .passphrase_file = settings->passphrase_file,
                       .passphrase_command = settings->passphrase_command,
                       .passphrase = settings->passphrase,
                       .ask = settings->ask,
                       .ask_arg = settings->ask_arg};
}

/* ---- passphrases ------------------------------------------------------------------------ */

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Up to the first newline, which may be one of Windows, without the mark that its editors put
   before the text. */
static void keep_first_line(cb_buf *text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    uint8_t *end = text->size > 0 ? memchr(text->data, '\n', text->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;

    if (end != NULL && size > 0 && text->data[size - 1] == '\r')
        size--;
    cb_wipe(text->data + size, text->size - size);
    text->size = size;
    if (size >= sizeof(mark) && memcmp(text->data, mark, sizeof(mark)) == 0) {
        text->size -= sizeof(mark);
        memmove(text->data, text->data + sizeof(mark), text->size);
        cb_wipe(text->data + text->size, sizeof(mark));
    }
}

/* All of a small file or pipe; never CB_NOT_FOUND, which is kept for the repository. */
static cb_code read_secret_file(cb_ctx *ctx, const char *path, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    struct stat at;
    cb_code code = cb_file_open(path, O_RDONLY | O_NOCTTY, 0, &fd, err);

    if (code == CB_NOT_FOUND)
        err->code = code = CB_USAGE;
    if (code != CB_OK)
        return code;
    if (fstat(fd, &at) == 0 && S_ISREG(at.st_mode) && (at.st_mode & 077) != 0)
        cb_event_text(ctx, CB_EVENT_WARNING,
                      "others on this machine may read '%s': chmod 600 keeps it secret", path);
    while (into->size < into->limit) {
        ssize_t got = read(fd, into->data + into->size, into->limit - into->size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cb_fail_errno(err, errno, "cannot read '%s'", path);
        if (got == 0)
            return CB_OK;
        into->size += (size_t)got;
    }
    return cb_fail(err, CB_USAGE, "'%s' is too long to be what it should be", path);
}

static bool ask(const cb_unlock *unlock, const char *prompt, cb_buf *out)
{
    char text[CB_PASSPHRASE_MAX] = "";
    cb_error quiet = {0};
    bool answered = unlock->ask(unlock->ask_arg, prompt, text, sizeof(text));

    text[sizeof(text) - 1] = '\0';
    out->size = 0;
    answered = answered && cb_buf_append(out, text, strlen(text), &quiet) == CB_OK;
    cb_wipe(text, sizeof(text));
    return answered;
}

/* What a person typed is kept, so that it is asked for once. */
static void ask_name(const char *address, uint8_t out[CB_KEPT_NAME_BYTES])
{
    cb_hash sum;

    cb_sha256(cb_bytes_of(address, strlen(address)), &sum);
    memcpy(out, sum.bytes, CB_KEPT_NAME_BYTES);
    out[0] ^= 'a';
}

static cb_code no_passphrase(const char *address, bool new_one, cb_error *err)
{
    if (new_one)
        cb_fail(err, CB_USAGE, "a new passphrase is needed and none was given");
    else
        cb_fail(err, CB_USAGE, "the repository at '%s' is encrypted and no passphrase was given",
                address);
    if (new_one)
        cb_hint(err, "Say where it is with --new-passphrase-file FILE.");
    else
        cb_hint(err, "Say where it is with --passphrase-file FILE or --passphrase-command "
                     "COMMAND.");
    return err->code;
}

static cb_code ask_new(const cb_unlock *unlock, const char *address, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf again = {.limit = CB_PASSPHRASE_MAX};
    char prompt[CB_MESSAGE_MAX];
    cb_code code = cb_buf_reserve(&again, CB_PASSPHRASE_MAX, err);

    if (code != CB_OK)
        return code;
    snprintf(prompt, sizeof(prompt), "new passphrase for '%s'", address);
    if (!ask(unlock, prompt, out))
        return no_passphrase(address, true, err);
    if (out->size == 0)
        return CB_OK; /* refused by the caller */
    if (!ask(unlock, "the same again", &again))
        return no_passphrase(address, true, err);
    if (again.size != out->size || memcmp(again.data, out->data, out->size) != 0)
        return cb_fail(err, CB_USAGE, "the two passphrases are not the same");
    return CB_OK;
}

static cb_code ask_for(cb_ctx *ctx, const cb_unlock *unlock, const char *address, bool new_one,
                       cb_buf *out, cb_error *err)
{
    char prompt[CB_MESSAGE_MAX];
    uint8_t name[CB_KEPT_NAME_BYTES];
    cb_code code;

    ask_name(address, name);
    if (!new_one && cb_ctx_recall(ctx, name, out))
        return CB_OK;
    if (unlock->ask == NULL)
        return no_passphrase(address, new_one, err);
    if (new_one) {
        code = ask_new(unlock, address, out, err);
        if (code != CB_OK)
            return code;
    } else {
        snprintf(prompt, sizeof(prompt), "passphrase for '%s'", address);
        if (!ask(unlock, prompt, out))
            return no_passphrase(address, false, err);
    }
    return cb_ctx_keep(ctx, name, cb_buf_bytes(out), err);
}

static cb_code find_passphrase(cb_ctx *ctx, const cb_unlock *unlock, const char *address,
                               bool new_one, cb_buf *out, cb_error *err)
{
    cb_code code;

    if (is_set(unlock->passphrase_file)) {
        code = read_secret_file(ctx, unlock->passphrase_file, out, err);
        keep_first_line(out);
        if (code == CB_OK)
            return CB_OK;
        cb_hint(err, "Name a readable file whose first line is the passphrase.");
        return cb_context(err, "passphrase file");
    }
    if (is_set(unlock->passphrase_command)) {
        code = cb_run_output(ctx, unlock->passphrase_command, COMMAND_US, out, err);
        keep_first_line(out);
        if (code == CB_OK)
            return CB_OK;
        cb_hint(err, "Run the command by hand: it must print the passphrase and end with 0.");
        return cb_context(err, "passphrase command");
    }
    if (unlock->passphrase != NULL)
        return cb_buf_append(out, unlock->passphrase, strlen(unlock->passphrase), err);
    return ask_for(ctx, unlock, address, new_one, out, err);
}

cb_code cb_passphrase_get(cb_ctx *ctx, const cb_unlock *unlock, const char *address, bool new_one,
                          cb_buf *out, cb_error *err)
{
    cb_code code;

    out->limit = CB_PASSPHRASE_MAX;
    code = cb_buf_reserve(out, CB_PASSPHRASE_MAX, err); /* it never moves, so no copy stays */
    if (code == CB_OK)
        code = find_passphrase(ctx, unlock, address, new_one, out, err);
    if (code != CB_OK)
        return code;
    if (out->size > 0 && memchr(out->data, 0, out->size) != NULL) { /* nobody could type it */
        cb_fail(err, CB_USAGE, "the passphrase has a zero byte");
        cb_hint(err, "Write it as plain text in UTF-8, not in UTF-16.");
        return err->code;
    }
    if (out->size == 0) {
        cb_fail(err, CB_USAGE, "the passphrase is empty");
        cb_hint(err, "Choose one of several words.");
        return err->code;
    }
    return CB_OK;
}

/* ---- a key file ------------------------------------------------------------------------- */

cb_code cb_key_file_read(cb_ctx *ctx, const char *path, cb_key_file *out, cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf text = {.limit = 4096};
    cb_code code = cb_buf_reserve(&text, 4096, err);

    if (code == CB_OK)
        code = read_secret_file(ctx, path, &text, err);
    if (code == CB_OK)
        code = cb_key_file_parse(cb_buf_bytes(&text), out, err);
    if (code != CB_OK)
        return cb_context(err, "key file '%s'", path);
    return CB_OK;
}

static cb_code config_exchanged(cb_error *err)
{
    cb_fail(err, CB_CORRUPT,
            "'" CB_CONFIG_KEY "' was exchanged: it is not the one that the "
            "repository was made with");
    cb_hint(err, "Trust nothing that this place says. Bring '" CB_CONFIG_KEY
                 "' back from a copy of the repository.");
    return err->code;
}

/* A removed slot tells an honest host to stop; see doc/format.md for what it cannot do. */
static cb_code check_slot_there(cb_repo *repo, const uint8_t *id, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char hex[CB_SLOT_HEX];
    cb_slot slot;
    cb_code code = cb_slot_read(repo->store, repo->id, id, &raw, &slot, err);

    cb_hex(id, CB_SLOT_ID_BYTES, hex);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        cb_fail(err, CB_DENIED, "the key %s was removed from the repository", hex);
        cb_hint(err, "Make a new key file with: canvasback repo key add --write-only");
        return err->code;
    }
    return code;
}

static cb_code open_by_file(cb_repo *repo, const char *path, cb_error *err)
{
    cb_key_file file;
    cb_code code = cb_key_file_read(repo->ctx, path, &file, err);

    if (code == CB_OK && memcmp(file.repo_id, repo->id, CB_REPO_ID_BYTES) != 0)
        code = cb_fail(err, CB_DENIED, "the key file '%s' is of another repository", path);
    if (code == CB_OK && !cb_hash_equal(&file.config_sum, &repo->config_sum))
        code = config_exchanged(err);
    if (code == CB_OK)
        code = check_slot_there(repo, file.slot_id, err);
    if (code == CB_OK)
        code = cb_keys_from_shared(repo->ctx, repo->config.encryption, repo->id, file.secrets,
                                   &repo->keys, err);
    if (code == CB_OK)
        memcpy(repo->keys->slot_id, file.slot_id, CB_SLOT_ID_BYTES);
    cb_wipe(&file, sizeof(file));
    return code;
}

/* ---- a passphrase ----------------------------------------------------------------------- */

static cb_code take_master(cb_repo *repo, cb_bytes plain, const uint8_t *id, cb_error *err)
{
    cb_field_reader reader = {plain};
    cb_field field;
    const uint8_t *master = NULL;
    bool is_vouched = false;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_MASTER && field.value.size == CB_SECRET_BYTES)
            master = field.value.data;
        else if (field.tag == F_CONFIG_SUM && field.value.size == CB_HASH_BYTES)
            is_vouched = memcmp(field.value.data, repo->config_sum.bytes, CB_HASH_BYTES) == 0;
    }
    if (code == CB_OK && master == NULL)
        return cb_fail(err, CB_CORRUPT, "a key holds no master key");
    if (code == CB_OK && !is_vouched)
        return config_exchanged(err);
    if (code == CB_OK)
        code = cb_keys_from_master(repo->ctx, repo->config.encryption, repo->id, master,
                                   &repo->keys, err);
    if (code == CB_OK)
        memcpy(repo->keys->slot_id, id, CB_SLOT_ID_BYTES);
    return code;
}

/* *opened false: another passphrase's, or forged. */
static cb_code try_slot(cb_repo *repo, const uint8_t *id, const cb_slot *slot, cb_bytes passphrase,
                        bool *opened, cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf plain = {0};
    uint8_t key[CB_SECRET_BYTES];
    cb_bytes bound;
    uint8_t bound_bytes[CB_SLOT_BOUND_MAX];
    cb_code code = cb_slot_key(repo->ctx, passphrase, slot->salt, &slot->cost, key, err);

    *opened = false;
    if (code == CB_OK)
        code = cb_buf_reserve(&plain, slot->secret.size, err);
    if (code != CB_OK)
        return code;
    bound = cb_slot_bound(CB_SLOT_PURPOSE_SECRET, repo->id, id, slot->kind, bound_bytes);
    code = cb_open_once(CB_AEAD_AES_256_GCM, key, bound, slot->secret, plain.data, err);
    cb_wipe(key, sizeof(key));
    if (code == CB_CORRUPT) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    *opened = true;
    return take_master(repo, cb_bytes_of(plain.data, slot->secret.size - CB_TAG_BYTES), id, err);
}

/* What cannot be read or used is passed over: another key may open. */
static bool is_useless(cb_code code)
{
    return code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_UNSUPPORTED;
}

static cb_code try_all(cb_repo *repo, const cb_slot_ids *list, cb_bytes passphrase, bool *opened,
                       size_t *tried, cb_error *err)
{
    *tried = 0;
    *opened = false;
    for (size_t i = 0; i < list->count && *tried < SLOTS_TRIED_MAX; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
        cb_slot slot;
        cb_code code = cb_slot_read(repo->store, repo->id, list->ids[i], &raw, &slot, err);

        if (code == CB_OK && slot.kind != CB_SLOT_FULL)
            continue;
        if (code == CB_OK) {
            (*tried)++;
            code = try_slot(repo, list->ids[i], &slot, passphrase, opened, err);
            if (*opened)
                return code;
        }
        if (is_useless(code)) {
            cb_event_text(repo->ctx, CB_EVENT_WARNING, "a key was passed over: %s", err->message);
            cb_error_clear(err);
            code = CB_OK;
        }
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code open_by_passphrase(cb_repo *repo, const cb_unlock *unlock, cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf passphrase = {0};
    CB_CLEANUP(cb_slot_ids_free) cb_slot_ids list = {0};
    bool opened;
    size_t tried;
    cb_code code = cb_passphrase_get(repo->ctx, unlock, cb_store_address(repo->store), false,
                                     &passphrase, err);

    if (code == CB_OK)
        code = cb_slot_list(repo->store, &list, err);
    if (code == CB_OK)
        code = try_all(repo, &list, cb_buf_bytes(&passphrase), &opened, &tried, err);
    if (code != CB_OK || opened)
        return code;
    if (tried == 0) {
        cb_fail(err, CB_CORRUPT, "no key of the repository can be read (the objects below 'key/')");
        cb_hint(err, "Bring them back from a copy of the repository: without a key nobody can read "
                     "its backups.");
        return err->code;
    }
    cb_fail(err, CB_DENIED, "no key of this repository opens with this passphrase");
    cb_hint(err, "Check the passphrase, and that --repo names the repository you mean.");
    return err->code;
}

/* ---- both ------------------------------------------------------------------------------- */

/*
 * A `config` that says "not encrypted" may have been put there by who wants to read the next
 * backup: whatever still shows that it was another one makes it an error, and a session that would
 * store data is refused in any case.
 */
static cb_code check_plain(cb_repo *repo, const cb_unlock *unlock, cb_error *err)
{
    CB_CLEANUP(cb_slot_ids_free) cb_slot_ids list = {0};
    cb_key_file file;
    bool is_ours = false;
    cb_code code = CB_OK;

    repo->has_unused_secret = is_set(unlock->key_file) || is_set(unlock->passphrase_file) ||
                              is_set(unlock->passphrase_command) || is_set(unlock->passphrase);
    if (!repo->has_unused_secret)
        return CB_OK;
    if (is_set(unlock->key_file)) {
        code = cb_key_file_read(repo->ctx, unlock->key_file, &file, err);
        is_ours = code == CB_OK && memcmp(file.repo_id, repo->id, CB_REPO_ID_BYTES) == 0;
        cb_wipe(&file, sizeof(file));
    }
    if (code == CB_OK)
        code = cb_slot_list(repo->store, &list, err);
    if (code != CB_OK)
        return code;
    if (is_ours || list.count > 0)
        return config_exchanged(err);
    cb_event_text(repo->ctx, CB_EVENT_WARNING,
                  "the repository at '%s' is not encrypted: the passphrase is not used",
                  cb_store_address(repo->store));
    return CB_OK;
}

cb_code cb_repo_unlock(cb_repo *repo, const cb_unlock *unlock, cb_error *err)
{
    cb_code code;

    if (repo->config.encryption == CB_AEAD_NONE)
        return check_plain(repo, unlock, err);
    code = is_set(unlock->key_file) ? open_by_file(repo, unlock->key_file, err)
                                    : open_by_passphrase(repo, unlock, err);
    if (code == CB_OK &&
        memcmp(repo->keys->public_key, repo->config.public_key, CB_SECRET_BYTES) != 0)
        code = config_exchanged(err);
    return code;
}
