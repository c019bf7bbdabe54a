/*
 * address.c - which store an address means. A place is a path unless it begins with a scheme.
 */
#include "base/text.h"
#include "storage/storage.h"

/* Length of "word" in "word://...", else 0. */
static size_t scheme_length(const char *address)
{
    size_t length =
        strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return length > 0 && cb_has_prefix(address + length, "://") ? length : 0;
}

static bool is_scheme(const char *address, size_t length, const char *scheme)
{
    return strlen(scheme) == length && strncmp(address, scheme, length) == 0;
}

static cb_code refuse_scheme(const char *address, size_t length, cb_error *err)
{
    static const char *const object_stores[] = {"s3", "s3c", "gs", "az"};

    for (size_t i = 0; i < CB_LENGTH(object_stores); i++) {
        if (!is_scheme(address, length, object_stores[i]))
            continue;
        cb_fail(err, CB_UNSUPPORTED, "the store of '%s' is not built into this program yet",
                address);
        cb_hint(err, "Use a path or file:///path as the place.");
        return err->code;
    }
    cb_fail(err, CB_USAGE, "'%s' begins with '%.*s://', which is no known kind of place", address,
            (int)length, address);
    cb_hint(err, "Write a path, or file:///path.");
    return err->code;
}

cb_code cb_store_open(cb_ctx *ctx, const char *address, bool make, cb_store **out, cb_error *err)
{
    size_t length = scheme_length(address);
    const char *path = address;

    *out = NULL;
    if (length > 0 && !is_scheme(address, length, "file"))
        return refuse_scheme(address, length, err);
    if (length > 0) {
        path = address + strlen("file://");
        if (path[0] != '/') {
            cb_fail(err, CB_USAGE, "'%s' names another host", address);
            cb_hint(err, "Write file:///path with three slashes.");
            return err->code;
        }
    }
    if (path[0] == '\0')
        return cb_fail(err, CB_USAGE, "the address of the repository is empty");
    return cb_file_store_open(ctx, path, make, out, err);
}
