/*
 * paths.c - a file's path in a lake as an item of a backup, and back, one to one.
 *
 * Catalogs are strangers': a relative path may hold "..", or be an absolute one in disguise. What
 * climbs is not below the data path whatever it begins with: it becomes an item of "outside/", so
 * that no "data/" item ever leads out of the place where data is restored to. Going back only the
 * one spelling that item_of makes is understood.
 */
#include "source/ducklake/catalog_internal.h"

#include <stdio.h>

#include "base/text.h"

enum { SCHEME_MAX = 32 };

static const char data_folder[] = "data/";
static const char outside_folder[] = "outside/";
static const char file_scheme[] = "file";

size_t cb_lake_scheme_length(const char *url)
{
    size_t length =
        strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    if (length == 0 || (url[0] | 0x20) < 'a' || (url[0] | 0x20) > 'z')
        return 0;
    return cb_has_prefix(url + length, "://") ? length : 0;
}

bool cb_lake_path_climbs(const char *path)
{
    for (;;) {
        size_t size = strcspn(path, "/");

        if (size == 2 && path[0] == '.' && path[1] == '.')
            return true;
        if (path[size] == '\0')
            return false;
        path += size + 1;
    }
}

cb_code cb_lake_terminate(cb_buf *buf, cb_error *err)
{
    cb_code code = cb_buf_reserve(buf, 1, err);

    if (code == CB_OK)
        buf->data[buf->size] = '\0';
    return code;
}

/* ---- one spelling --------------------------------------------------------------------------- */

/* Append the parts of `text` that mean something, each with the slash before it. */
static cb_code append_parts(const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    while (code == CB_OK && *text != '\0') {
        size_t size;

        text += strspn(text, "/");
        size = strcspn(text, "/");
        if (size > 0 && !(size == 1 && text[0] == '.')) {
            code = cb_buf_u8(out, '/', err);
            if (code == CB_OK)
                code = cb_buf_append(out, text, size, err);
        }
        text += size;
    }
    return code;
}

/* "file:///x", "file://localhost/x" and "file:/x" are /x; anything else stays. */
static cb_code without_file_scheme(const char **text, cb_error *err)
{
    const char *rest = *text;

    if (!cb_has_prefix(rest, "file:/"))
        return CB_OK;
    rest += sizeof("file:") - 1;
    if (cb_has_prefix(rest, "//")) {
        rest += 2;
        if (cb_has_prefix(rest, "localhost/"))
            rest += sizeof("localhost") - 1;
        if (rest[0] != '/')
            return cb_fail(err, CB_UNSUPPORTED, "'%.400s' is a file of another host", *text);
    }
    *text = rest;
    return CB_OK;
}

cb_code cb_lake_path_tidy(const char *base, const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = without_file_scheme(&text, err);
    size_t size = strlen(text);

    if (code != CB_OK)
        return code;
    out->size = 0;
    if (cb_lake_scheme_length(text) > 0) {
        code = cb_buf_append(out, text, size, err);
        return code == CB_OK ? cb_lake_terminate(out, err) : code;
    }
    if (text[0] != '/')
        code = append_parts(base, out, err);
    if (code == CB_OK)
        code = append_parts(text, out, err);
    if (code == CB_OK && (out->size == 0 || (size > 0 && text[size - 1] == '/')))
        code = cb_buf_u8(out, '/', err);
    return code == CB_OK ? cb_lake_terminate(out, err) : code;
}

/* ---- to an item ----------------------------------------------------------------------------- */

static bool is_special(uint8_t byte)
{
    return byte == '%' || byte < 0x20 || byte == 0x7f;
}

static bool is_dots(const char *part, size_t size)
{
    return (size == 1 || (size == 2 && part[1] == '.')) && part[0] == '.';
}

/* An empty part is written "%", which no escape can be. */
static cb_code escape_part(const char *part, size_t size, cb_buf *out, cb_error *err)
{
    bool dots = is_dots(part, size);
    cb_code code = size == 0 ? cb_buf_u8(out, '%', err) : CB_OK;

    for (size_t i = 0; code == CB_OK && i < size; i++) {
        uint8_t byte = (uint8_t)part[i];

        code = dots || is_special(byte) ? cb_buf_format(out, err, "%%%02X", byte)
                                        : cb_buf_u8(out, byte, err);
    }
    return code;
}

static cb_code escape(const char *path, cb_buf *out, cb_error *err)
{
    for (;;) {
        size_t size = strcspn(path, "/");
        cb_code code = escape_part(path, size, out, err);

        if (code == CB_OK && path[size] == '\0')
            return cb_lake_terminate(out, err);
        if (code == CB_OK)
            code = cb_buf_u8(out, '/', err);
        if (code != CB_OK)
            return code;
        path += size + 1;
    }
}

static cb_code outside_item(const char *url, cb_buf *out, cb_error *err)
{
    size_t scheme = cb_lake_scheme_length(url);
    const char *rest = scheme > 0 ? url + scheme + 3 : url + 1;

    if (scheme == 0 && url[0] != '/')
        return cb_fail(err, CB_CORRUPT, "the path '%.400s' is neither absolute nor an address",
                       url);
    if (scheme > SCHEME_MAX ||
        (scheme == sizeof(file_scheme) - 1 && memcmp(url, file_scheme, scheme) == 0))
        return cb_fail(err, CB_UNSUPPORTED, "'%.400s' is not the plain path of a file", url);
    if (cb_buf_append(out, outside_folder, sizeof(outside_folder) - 1, err) != CB_OK ||
        (scheme > 0 ? escape_part(url, scheme, out, err)
                    : cb_buf_append(out, file_scheme, sizeof(file_scheme) - 1, err)) != CB_OK ||
        cb_buf_u8(out, '/', err) != CB_OK)
        return err->code;
    return escape(rest, out, err);
}

cb_code cb_lake_item_of(const char *data_path, const char *url, cb_buf *out, cb_error *err)
{
    size_t before = out->size;
    size_t root = strlen(data_path);
    cb_code code;

    if (root > 0 && cb_has_prefix(url, data_path) && url[root] != '\0' &&
        !cb_lake_path_climbs(url + root)) {
        code = cb_buf_append(out, data_folder, sizeof(data_folder) - 1, err);
        if (code == CB_OK)
            code = escape(url + root, out, err);
    } else {
        code = outside_item(url, out, err);
    }
    if (code != CB_OK)
        out->size = before;
    return code;
}

/* ---- and back ------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Only what escape_part writes is read: one item is one path. */
static bool unescape_part(const char *part, size_t size, cb_buf *out, cb_error *err)
{
    size_t before = out->size;
    bool escaped_dot = false;

    if (size == 1 && part[0] == '%')
        return true;
    if (size == 0 || is_dots(part, size))
        return false;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)part[i];

        if (byte == '%') {
            int high = size - i > 2 ? hex_value(part[i + 1]) : -1;
            int low = size - i > 2 ? hex_value(part[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            byte = (uint8_t)(high << 4 | low);
            escaped_dot = escaped_dot || byte == '.';
            if (byte == 0 || (byte != '.' && !is_special(byte)))
                return false;
            i += 2;
        } else if (is_special(byte)) {
            return false;
        }
        if (cb_buf_u8(out, byte, err) != CB_OK)
            return false;
    }
    return !escaped_dot || (out->size - before <= 2 && size == 3 * (out->size - before) &&
                            is_dots((const char *)out->data + before, out->size - before));
}

static cb_code bad_item(const char *item, cb_error *err)
{
    return err->code != CB_OK
               ? err->code
               : cb_fail(err, CB_CORRUPT, "'%.400s' is no path of a file in a lake", item);
}

static cb_code unescape(const char *item, const char *rest, bool may_climb, cb_buf *out,
                        cb_error *err)
{
    for (;;) {
        size_t size = strcspn(rest, "/");
        size_t before = out->size;

        if (!unescape_part(rest, size, out, err))
            return bad_item(item, err);
        if (!may_climb && out->size - before == 2 && memcmp(out->data + before, "..", 2) == 0)
            return bad_item(item, err);
        if (rest[size] == '\0')
            return cb_lake_terminate(out, err);
        if (cb_buf_u8(out, '/', err) != CB_OK)
            return err->code;
        rest += size + 1;
    }
}

static cb_code outside_url(const char *item, cb_buf *out, cb_error *err)
{
    const char *scheme = item + sizeof(outside_folder) - 1;
    size_t size = strcspn(scheme, "/");
    cb_code code;

    if (scheme[size] != '/' || size > SCHEME_MAX)
        return bad_item(item, err);
    if (size == sizeof(file_scheme) - 1 && memcmp(scheme, file_scheme, size) == 0) {
        code = cb_buf_u8(out, '/', err);
    } else {
        char address[SCHEME_MAX + 4];

        snprintf(address, sizeof(address), "%.*s://", (int)size, scheme);
        if (cb_lake_scheme_length(address) != size)
            return bad_item(item, err);
        code = cb_buf_append(out, address, size + 3, err);
    }
    return code == CB_OK ? unescape(item, scheme + size + 1, true, out, err) : code;
}

cb_code cb_lake_url_of(const char *data_path, const char *item, cb_buf *out, cb_error *err)
{
    size_t before = out->size;
    cb_code code;

    if (cb_has_prefix(item, data_folder)) {
        code = cb_buf_append(out, data_path, strlen(data_path), err);
        if (code == CB_OK)
            code = unescape(item, item + sizeof(data_folder) - 1, false, out, err);
    } else if (cb_has_prefix(item, outside_folder)) {
        code = outside_url(item, out, err);
    } else {
        code = bad_item(item, err);
    }
    if (code != CB_OK)
        out->size = before;
    return code;
}
