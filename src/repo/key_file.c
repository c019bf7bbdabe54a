/*
 * The key file of a write-only host: text, so that it survives being pasted, with a checksum, so
 * that a slip while pasting is told from a wrong file. Format: doc/format.md, "Key files".
 */
#include "repo/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "codec/checksum.h"
#include "codec/mac.h"

enum {
    SECRET_SIZE = CB_SHARED_BYTES + CB_HASH_BYTES,
    CHECK_BYTES = 8,
};

static const char first_line[] = "canvasback write-only key 1\n";
static const char about[] =
    "# With this file a host adds backups to a repository, and reads none. Keep it secret.\n";

/* ---- write ------------------------------------------------------------------------------ */

static cb_code render(const cb_keys *keys, const cb_hash *config_sum, const uint8_t *slot_id,
                      cb_buf *into, cb_error *err)
{
    uint8_t secrets[SECRET_SIZE];
    char base64[CB_BASE64_SIZE(SECRET_SIZE)];
    char repo_hex[2 * CB_REPO_ID_BYTES + 1];
    char slot_hex[CB_SLOT_HEX];
    char check_hex[2 * CHECK_BYTES + 1];
    cb_hash sum;
    cb_code code;

    cb_keys_to_shared(keys, secrets);
    memcpy(secrets + CB_SHARED_BYTES, config_sum->bytes, CB_HASH_BYTES);
    cb_base64(secrets, sizeof(secrets), base64);
    cb_hex(keys->repo_id, CB_REPO_ID_BYTES, repo_hex);
    cb_hex(slot_id, CB_SLOT_ID_BYTES, slot_hex);
    code = cb_buf_format(into, err, "%s%srepository %s\nkey %s\nsecrets %s\n", first_line, about,
                         repo_hex, slot_hex, base64);
    cb_wipe(secrets, sizeof(secrets));
    cb_wipe(base64, sizeof(base64));
    if (code != CB_OK)
        return code;
    cb_sha256(cb_buf_bytes(into), &sum);
    cb_hex(sum.bytes, CHECK_BYTES, check_hex);
    return cb_buf_format(into, err, "check %s\n", check_hex);
}

cb_code cb_key_file_write(const char *path, const cb_keys *keys, const cb_hash *config_sum,
                          const uint8_t slot_id[CB_SLOT_ID_BYTES], cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf text = {.limit = 4096};
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_buf_reserve(&text, 2048, err);

    if (code == CB_OK)
        code = render(keys, config_sum, slot_id, &text, err);
    if (code == CB_OK)
        code = cb_file_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);
    if (code == CB_EXISTS) {
        cb_hint(err, "Choose another place: a key file is never written over.");
        return code;
    }
    if (code != CB_OK)
        return code;
    code = cb_file_write(fd, path, 0, text.data, text.size, err);
    if (code == CB_OK)
        code = cb_file_sync(fd, path, err);
    if (code == CB_OK)
        code = cb_parent_sync(path, err);
    if (code != CB_OK)
        unlink(path); /* half a key is none */
    return code;
}

/* ---- parse ------------------------------------------------------------------------------ */

/* Take "WORD value\n" off the text. */
static bool take_line(cb_bytes *rest, const char *word, cb_bytes *value)
{
    size_t word_size = strlen(word);
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, '\n', rest->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - rest->data) : 0;

    if (end == NULL || size <= word_size || memcmp(rest->data, word, word_size) != 0 ||
        rest->data[word_size] != ' ')
        return false;
    *value = cb_bytes_of(rest->data + word_size + 1, size - word_size - 1);
    *rest = cb_bytes_of(rest->data + size + 1, rest->size - size - 1);
    return true;
}

static bool take_hex(cb_bytes *rest, const char *word, uint8_t *out, size_t size)
{
    char text[128];
    cb_bytes value;

    if (!take_line(rest, word, &value) || value.size != 2 * size || value.size >= sizeof(text))
        return false;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return cb_unhex(text, size, out);
}

static bool take_secrets(cb_bytes *rest, cb_key_file *out)
{
    uint8_t all[SECRET_SIZE];
    cb_bytes value;
    size_t got;
    bool good = take_line(rest, "secrets", &value) &&
                cb_unbase64((const char *)value.data, value.size, all, sizeof(all), &got) &&
                got == sizeof(all);

    if (good) {
        memcpy(out->secrets, all, sizeof(out->secrets));
        memcpy(out->config_sum.bytes, all + sizeof(out->secrets), CB_HASH_BYTES);
    }
    cb_wipe(all, sizeof(all));
    return good;
}

static void skip_remarks(cb_bytes *rest)
{
    while (rest->size > 0 && rest->data[0] == '#') {
        const uint8_t *end = memchr(rest->data, '\n', rest->size);
        size_t size = end != NULL ? (size_t)(end - rest->data) + 1 : rest->size;

        *rest = cb_bytes_of(rest->data + size, rest->size - size);
    }
}

cb_code cb_key_file_parse(cb_bytes text, cb_key_file *out, cb_error *err)
{
    size_t first_size = strlen(first_line);
    uint8_t check[CHECK_BYTES];
    cb_bytes rest = text;
    size_t summed;
    cb_hash sum;
    bool good;

    memset(out, 0, sizeof(*out));
    if (text.size < first_size || memcmp(text.data, first_line, first_size) != 0) {
        cb_fail(err, CB_USAGE, "it is not a key file of this program, or of a newer release");
        cb_hint(err, "Make one with: canvasback repo key add --write-only");
        return err->code;
    }
    rest = cb_bytes_of(text.data + first_size, text.size - first_size);
    skip_remarks(&rest);
    good = take_hex(&rest, "repository", out->repo_id, CB_REPO_ID_BYTES) &&
           take_hex(&rest, "key", out->slot_id, CB_SLOT_ID_BYTES) && take_secrets(&rest, out);
    summed = text.size - rest.size;
    cb_sha256(cb_bytes_of(text.data, summed), &sum);
    if (good && take_hex(&rest, "check", check, CHECK_BYTES) &&
        memcmp(check, sum.bytes, CHECK_BYTES) == 0)
        return CB_OK;
    cb_wipe(out, sizeof(*out));
    cb_fail(err, CB_CORRUPT, "it is damaged: its check does not match");
    cb_hint(err, "Copy it again from where it was made, or make a new one.");
    return err->code;
}
