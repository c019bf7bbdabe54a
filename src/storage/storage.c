/*
 * storage.c - the plain functions in front of every store: keys are checked here, once, so that
 * no store ever sees one that could lead out of its place.
 */
#include "storage/storage.h"

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '~' || c == '-';
}

static bool is_dots(const char *segment, size_t size)
{
    return (size == 1 && segment[0] == '.') ||
           (size == 2 && segment[0] == '.' && segment[1] == '.');
}

/* Segments up to the last, which may be empty only if `open_end` (a prefix). */
static bool is_key(const char *text, bool open_end)
{
    size_t begin = 0;

    for (size_t i = 0; i <= CB_KEY_MAX; i++) {
        bool is_end = text[i] == '\0';

        if (is_end && open_end)
            return true;
        if (is_end || text[i] == '/') {
            if (i == begin || is_dots(text + begin, i - begin))
                return false;
            if (is_end)
                return true;
            begin = i + 1;
        } else if (!is_key_char(text[i])) {
            return false;
        }
    }
    return false;
}

bool cb_key_is_valid(const char *key)
{
    return is_key(key, false);
}

static cb_code check_key(const char *key, cb_error *err)
{
    if (!cb_key_is_valid(key))
        return cb_fail(err, CB_INTERNAL, "'%.64s' is not the key of an object", key);
    return CB_OK;
}

cb_code cb_store_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                     cb_buf *into, cb_error *err)
{
    size_t before = into->size;
    cb_code code = check_key(key, err);

    if (code == CB_OK)
        code = store->ops->get(store, key, offset, length, into, err);
    if (code != CB_OK)
        into->size = before;
    return code;
}

cb_code cb_store_put(cb_store *store, const char *key, cb_put_mode mode, cb_writer **out,
                     cb_error *err)
{
    cb_code code = check_key(key, err);

    *out = NULL;
    if (code != CB_OK)
        return code;
    return store->ops->put(store, key, mode, out, err);
}

cb_code cb_writer_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    if (data.size == 0)
        return CB_OK;
    return writer->ops->write(writer, data, err);
}

cb_code cb_writer_commit(cb_writer *writer, cb_error *err)
{
    return writer->ops->commit(writer, err);
}

void cb_writer_free(cb_writer *writer)
{
    if (writer != NULL)
        writer->ops->free(writer);
}

cb_code cb_store_put_bytes(cb_store *store, const char *key, cb_put_mode mode, cb_bytes data,
                           cb_error *err)
{
    cb_writer *writer;
    cb_code code = cb_store_put(store, key, mode, &writer, err);

    if (code != CB_OK)
        return code;
    code = cb_writer_write(writer, data, err);
    if (code == CB_OK)
        code = cb_writer_commit(writer, err);
    cb_writer_free(writer);
    return code;
}

cb_code cb_store_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                      cb_error *err)
{
    if (!is_key(prefix, true))
        return cb_fail(err, CB_INTERNAL, "'%.64s' is not the beginning of a key", prefix);
    return store->ops->list(store, prefix, visit, arg, err);
}

cb_code cb_store_remove(cb_store *store, const char *key, cb_error *err)
{
    cb_code code = check_key(key, err);

    if (code != CB_OK)
        return code;
    return store->ops->remove(store, key, err);
}

cb_code cb_store_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    return store->ops->now(store, out_us, err);
}

cb_code cb_store_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return store->ops->free_space(store, out, err);
}

cb_code cb_store_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err)
{
    out[0] = '\0';
    return store->ops->stranger != NULL ? store->ops->stranger(store, out, err) : CB_OK;
}

const char *cb_store_address(cb_store *store)
{
    return store->ops->address(store);
}

void cb_store_close(cb_store *store)
{
    if (store != NULL)
        store->ops->close(store);
}
