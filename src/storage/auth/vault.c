/*
 * vault.c - memory for what may be secret: every piece knows its size, so that all can be wiped.
 */
#include "storage/auth/auth_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/file.h"
#include "base/time.h"
#include "codec/mac.h"

struct cb_vault_item {
    struct cb_vault_item *next;
    size_t size;
    char text[];
};

void cb_vault_free(cb_vault *vault)
{
    while (vault->items != NULL) {
        struct cb_vault_item *item = vault->items;

        vault->items = item->next;
        cb_wipe(item->text, item->size);
        free(item);
    }
}

cb_code cb_vault_text_n(cb_vault *vault, const void *data, size_t size, const char **out,
                        cb_error *err)
{
    struct cb_vault_item *item;

    *out = NULL;
    if (size > SIZE_MAX / 2)
        return cb_fail_memory(err, size);
    item = malloc(sizeof(*item) + size + 1);
    if (item == NULL)
        return cb_fail_memory(err, size);
    item->size = size + 1;
    if (size > 0)
        memcpy(item->text, data, size);
    item->text[size] = '\0';
    item->next = vault->items;
    vault->items = item;
    *out = item->text;
    return CB_OK;
}

cb_code cb_vault_text(cb_vault *vault, const char *text, const char **out, cb_error *err)
{
    return cb_vault_text_n(vault, text, strlen(text), out, err);
}

cb_code cb_vault_format(cb_vault *vault, const char **out, cb_error *err, const char *format, ...)
{
    char text[CB_PATH_MAX];
    va_list args;
    int size;
    cb_code code;

    *out = NULL;
    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(text))
        return cb_fail(err, CB_TOO_LARGE, "a text for a cloud is longer than %zu bytes",
                       sizeof(text) - 1);
    code = cb_vault_text_n(vault, text, (size_t)size, out, err);
    cb_wipe(text, sizeof(text));
    return code;
}

cb_code cb_vault_environment(cb_vault *vault, const char *const *names, size_t count,
                             const char **out, cb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        cb_code code;

        out[i] = NULL;
        if (value == NULL || value[0] == '\0')
            continue;
        code = cb_vault_text(vault, value, &out[i], err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

void cb_buf_wipe(cb_buf *buf)
{
    if (buf->data != NULL)
        cb_wipe(buf->data, buf->capacity);
    cb_buf_free(buf);
}

cb_code cb_auth_slurp(const char *path, cb_buf *into, cb_error *err)
{
    cb_code code;

    into->limit = CB_AUTH_FILE_MAX;
    /* Enough for nearly all such files: what they hold is then not moved, leaving copies. */
    code = cb_buf_reserve(into, 64 * 1024, err);
    return code != CB_OK ? code : cb_file_slurp(path, into, err);
}

cb_code cb_auth_token_file(cb_vault *vault, const char *path, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf raw = {0};
    cb_code code = cb_auth_slurp(path, &raw, err);
    size_t start = 0;
    size_t end;

    *out = NULL;
    if (code != CB_OK)
        return code;
    end = raw.size;
    while (start < end && strchr(" \t\r\n", raw.data[start]) != NULL)
        start++;
    while (end > start && strchr(" \t\r\n", raw.data[end - 1]) != NULL)
        end--;
    if (start == end || memchr(raw.data + start, '\0', end - start) != NULL)
        return cb_fail(err, CB_DENIED, "'%s' holds no token", path);
    return cb_vault_text_n(vault, raw.data + start, end - start, out, err);
}

cb_code cb_auth_copy(char *out, size_t size, const char *text, const char *what, cb_error *err)
{
    size_t length = strlen(text);

    out[0] = '\0';
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return cb_fail(err, CB_USAGE, "%s holds a control character", what);
    }
    if (length >= size)
        return cb_fail(err, CB_TOO_LARGE, "%s is longer than %zu bytes", what, size - 1);
    memcpy(out, text, length + 1);
    return CB_OK;
}

bool cb_auth_is_true(const char *text)
{
    static const char *const words[] = {"true", "1", "yes", "on"};

    for (size_t i = 0; text != NULL && i < CB_LENGTH(words); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

cb_code cb_auth_home_path(cb_vault *vault, const char *home, const char *below, const char **out,
                          cb_error *err)
{
    if (strncmp(below, "~/", 2) != 0)
        return cb_vault_text(vault, below, out, err);
    return cb_vault_format(vault, out, err, "%s/%s", home != NULL ? home : "", below + 2);
}

bool cb_auth_time(const char *text, int64_t *out_us)
{
    char whole[64];
    cb_error unused;
    size_t used = 0;
    bool in_fraction = false;
    bool has_zone;

    /* Fractions below microseconds are left out: some services write nanoseconds. */
    for (unsigned digits = 0; *text != '\0'; text++) {
        if (used + 2 >= sizeof(whole))
            return false;
        if (*text < '0' || *text > '9')
            in_fraction = *text == '.';
        digits = in_fraction ? digits + 1 : 0;
        if (digits <= 7)
            whole[used++] = *text;
    }
    whole[used] = '\0';
    if (used < 11) /* a day alone has an end that depends on where one is */
        return false;
    has_zone = strpbrk(whole + 10, "Z+-") != NULL;
    if (!has_zone)
        memcpy(whole + used, "Z", 2);
    return cb_parse_time(whole, out_us, &unused) == CB_OK;
}
