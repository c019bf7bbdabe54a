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

static bool is_plain_char(char c)
{
    return (unsigned char)c >= 0x20 && c != 0x7f;
}

/* Segments up to the last, which may be empty only if `open_end` (a prefix). */
static bool is_key(const char *text, size_t max, bool open_end, bool (*is_char)(char c))
{
    size_t begin = 0;

    for (size_t i = 0; i <= max; i++) {
        bool is_end = text[i] == '\0';

        if (is_end && open_end)
            return true;
        if (is_end || text[i] == '/') {
            if (i == begin || is_dots(text + begin, i - begin))
                return false;
            if (is_end)
                return true;
            begin = i + 1;
        } else if (!is_char(text[i])) {
            return false;
        }
    }
    return false;
}

bool cb_key_is_valid(const char *key)
{
    return is_key(key, CB_KEY_MAX, false, is_key_char);
}

bool cb_key_is_plain(const char *key)
{
    return is_key(key, CB_OBJECT_KEY_MAX, false, is_plain_char);
}

static size_t key_max(const cb_store *store)
{
    return store->ops->key_max != 0 ? store->ops->key_max : CB_KEY_MAX;
}

static cb_code check_key(const cb_store *store, const char *key, cb_error *err)
{
    if (!is_key(key, key_max(store), false, is_plain_char))
        return cb_fail(err, CB_USAGE, "'%.64s' cannot be the key of an object", key);
    return CB_OK;
}

static cb_code check_prefix(const cb_store *store, const char *prefix, cb_error *err)
{
    if (!is_key(prefix, key_max(store), true, is_plain_char))
        return cb_fail(err, CB_INTERNAL, "'%.64s' is not the beginning of a key", prefix);
    return CB_OK;
}

static cb_code no_locks(cb_store *store, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "'%s' cannot lock objects", cb_store_address(store));
    cb_hint(err, "Object lock needs a bucket that was made with it, on S3 or a store like it.");
    return err->code;
}

cb_code cb_store_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                     cb_buf *into, cb_error *err)
{
    size_t before = into->size;
    cb_code code = check_key(store, key, err);

    if (code == CB_OK)
        code = store->ops->get(store, key, offset, length, into, err);
    if (code != CB_OK)
        into->size = before;
    return code;
}

cb_code cb_store_put_with(cb_store *store, const char *key, const cb_put_options *options,
                          cb_writer **out, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    *out = NULL;
    if (code != CB_OK)
        return code;
    if (options->retain_until_us != 0 && store->ops->retain == NULL)
        return no_locks(store, err);
    return store->ops->put(store, key, options, out, err);
}

cb_code cb_store_put(cb_store *store, const char *key, cb_put_mode mode, cb_writer **out,
                     cb_error *err)
{
    return cb_store_put_with(store, key, &(cb_put_options){.mode = mode}, out, err);
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

cb_code cb_store_put_bytes_with(cb_store *store, const char *key, const cb_put_options *options,
                                cb_bytes data, cb_error *err)
{
    cb_writer *writer;
    cb_code code = cb_store_put_with(store, key, options, &writer, err);

    if (code != CB_OK)
        return code;
    code = cb_writer_write(writer, data, err);
    if (code == CB_OK)
        code = cb_writer_commit(writer, err);
    cb_writer_free(writer);
    return code;
}

cb_code cb_store_put_bytes(cb_store *store, const char *key, cb_put_mode mode, cb_bytes data,
                           cb_error *err)
{
    return cb_store_put_bytes_with(store, key, &(cb_put_options){.mode = mode}, data, err);
}

typedef struct short_visit {
    cb_object_visit *visit;
    void *arg;
} short_visit;

static cb_code visit_short(void *arg, const cb_object *object, cb_error *err)
{
    const short_visit *to = arg;

    return strnlen(object->key, CB_KEY_MAX + 1) <= CB_KEY_MAX ? to->visit(to->arg, object, err)
                                                              : CB_OK;
}

cb_code cb_store_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                      cb_error *err)
{
    short_visit to = {visit, arg};
    cb_code code = check_prefix(store, prefix, err);

    return code == CB_OK ? store->ops->list(store, prefix, visit_short, &to, err) : code;
}

cb_code cb_store_list_any(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                          cb_error *err)
{
    cb_code code = check_prefix(store, prefix, err);

    if (code != CB_OK)
        return code;
    return store->ops->list_any != NULL ? store->ops->list_any(store, prefix, visit, arg, err)
                                        : store->ops->list(store, prefix, visit, arg, err);
}

cb_code cb_store_remove(cb_store *store, const char *key, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    if (code != CB_OK)
        return code;
    return store->ops->remove(store, key, err);
}

cb_code cb_store_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < count && code == CB_OK; i++)
        code = check_key(store, keys[i], err);
    if (code == CB_OK && store->ops->remove_many != NULL)
        return store->ops->remove_many(store, keys, count, err);
    for (size_t i = 0; i < count && code == CB_OK; i++)
        code = store->ops->remove(store, keys[i], err);
    return code;
}

typedef struct size_search {
    const char *key;
    uint64_t *out;
    bool found;
} size_search;

static cb_code look_for_size(void *arg, const cb_object *object, cb_error *err)
{
    size_search *search = arg;

    (void)err;
    if (strcmp(object->key, search->key) == 0) {
        *search->out = object->size_bytes;
        search->found = true;
    }
    return CB_OK;
}

cb_code cb_store_size(cb_store *store, const char *key, uint64_t *out, cb_error *err)
{
    size_search search = {key, out, false};
    cb_code code = check_key(store, key, err);

    *out = 0;
    if (code == CB_OK && store->ops->size != NULL)
        return store->ops->size(store, key, out, err);
    if (code == CB_OK)
        code = store->ops->list(store, key, look_for_size, &search, err);
    if (code == CB_OK && !search.found)
        return cb_fail(err, CB_NOT_FOUND, "there is no object '%s' in '%s'", key,
                       cb_store_address(store));
    return code;
}

cb_code cb_store_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    if (code != CB_OK)
        return code;
    return store->ops->retain != NULL ? store->ops->retain(store, key, until_us, err)
                                      : no_locks(store, err);
}

cb_code cb_store_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    *until_us = 0;
    if (code != CB_OK || store->ops->retained == NULL)
        return code;
    return store->ops->retained(store, key, until_us, err);
}

/* ---- versions ---------------------------------------------------------------------------- */

typedef struct version_visit {
    cb_version_visit *visit;
    void *arg;
} version_visit;

static cb_code visit_only_version(void *arg, const cb_object *object, cb_error *err)
{
    const version_visit *to = arg;
    cb_version version = {.key = object->key,
                          .id = "",
                          .size_bytes = object->size_bytes,
                          .modified_us = object->modified_us,
                          .is_latest = true,
                          .tag = object->tag};

    return to->visit(to->arg, &version, err);
}

cb_code cb_store_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                          cb_error *err)
{
    version_visit to = {visit, arg};
    cb_code code = check_prefix(store, prefix, err);

    if (code != CB_OK)
        return code;
    if (store->ops->versions != NULL)
        return store->ops->versions(store, prefix, visit, arg, err);
    return store->ops->list(store, prefix, visit_only_version, &to, err);
}

static cb_code no_versions(cb_store *store, cb_error *err)
{
    return cb_fail(err, CB_UNSUPPORTED, "'%s' keeps no older versions", cb_store_address(store));
}

cb_code cb_store_get_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                             uint64_t length, cb_buf *into, cb_error *err)
{
    size_t before = into->size;
    cb_code code;

    if (version[0] == '\0')
        return cb_store_get(store, key, offset, length, into, err);
    code = check_key(store, key, err);
    if (code == CB_OK)
        code = store->ops->get_version != NULL
                   ? store->ops->get_version(store, key, version, offset, length, into, err)
                   : no_versions(store, err);
    if (code != CB_OK)
        into->size = before;
    return code;
}

cb_code cb_store_version_retained(cb_store *store, const char *key, const char *version,
                                  int64_t *until_us, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    *until_us = 0;
    if (code != CB_OK || store->ops->version_retained == NULL)
        return code;
    return store->ops->version_retained(store, key, version, until_us, err);
}

cb_code cb_store_revert(cb_store *store, const char *key, const char *version, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    if (code != CB_OK)
        return code;
    return store->ops->revert != NULL ? store->ops->revert(store, key, version, err)
                                      : no_versions(store, err);
}

cb_code cb_store_unremove(cb_store *store, const char *key, const char *marker, cb_error *err)
{
    cb_code code = check_key(store, key, err);

    if (code != CB_OK)
        return code;
    return store->ops->unremove != NULL && marker[0] != '\0'
               ? store->ops->unremove(store, key, marker, err)
               : no_versions(store, err);
}

cb_code cb_store_make_bucket(cb_store *store, cb_error *err)
{
    if (store->ops->make_bucket == NULL)
        return cb_fail(err, CB_UNSUPPORTED, "no bucket is made at '%.300s'",
                       cb_store_address(store));
    return store->ops->make_bucket(store, err);
}

cb_code cb_store_remove_uploads(cb_store *store, int64_t older_than_us, uint64_t *count,
                                cb_error *err)
{
    *count = 0;
    return store->ops->remove_uploads != NULL
               ? store->ops->remove_uploads(store, older_than_us, count, err)
               : CB_OK;
}

/* ---- what it is ---------------------------------------------------------------------------- */

void cb_store_facts_of(cb_store *store, cb_store_facts *out)
{
    memset(out, 0, sizeof(*out));
    out->kind = "folder";
    out->create_if_absent = CB_ANSWER_YES;
    out->versioning = CB_ANSWER_NO;
    out->object_lock = CB_ANSWER_NO;
    if (store->ops->facts != NULL)
        store->ops->facts(store, out);
}

void cb_store_traffic(cb_store *store, cb_traffic *out)
{
    memset(out, 0, sizeof(*out));
    if (store->ops->traffic != NULL)
        store->ops->traffic(store, out);
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
