/*
 * blob.c - names, ranges and the like; see blob.h.
 */
#include "storage/blob/blob.h"

#include <stdio.h>

#include "base/pool.h"
#include "base/text.h"

cb_code cb_blob_name(cb_buf *into, const char *prefix, const char *key, cb_error *err)
{
    return prefix[0] != '\0' ? cb_buf_format(into, err, "%s/%s", prefix, key)
                             : cb_buf_format(into, err, "%s", key);
}

const char *cb_blob_below(const char *prefix, const char *name)
{
    size_t size = strlen(prefix);

    if (size == 0)
        return name;
    return strncmp(name, prefix, size) == 0 && name[size] == '/' ? name + size + 1 : NULL;
}

const char *cb_blob_range(uint64_t offset, uint64_t length, char out[CB_BLOB_RANGE_MAX])
{
    const uint64_t last = INT64_MAX - 1;
    uint64_t end;

    out[0] = '\0';
    if (offset == 0 && length > last)
        return out;
    if (offset > last)
        offset = last;
    if (!cb_add_u64(offset, length, &end) || end > last)
        snprintf(out, CB_BLOB_RANGE_MAX, "Range: bytes=%llu-", (unsigned long long)offset);
    else
        snprintf(out, CB_BLOB_RANGE_MAX, "Range: bytes=%llu-%llu", (unsigned long long)offset,
                 (unsigned long long)(length > 0 ? end - 1 : end));
    return out;
}

void cb_blob_cut(cb_buf *into, size_t before, uint64_t offset, uint64_t length)
{
    uint64_t came = into->size - before;
    uint64_t rest = offset < came ? came - offset : 0;

    if (rest > length)
        rest = length;
    if (rest > 0 && offset > 0)
        memmove(into->data + before, into->data + before + offset, (size_t)rest);
    into->size = before + (size_t)rest;
}

void cb_blob_nonce(cb_ctx *ctx, char out[CB_BLOB_NONCE_MAX])
{
    uint8_t chance[16];

    cb_random(ctx, chance, sizeof(chance));
    cb_hex(chance, sizeof(chance), out);
}

cb_code cb_blob_quote(cb_buf *into, const char *said, cb_error *err)
{
    enum { QUOTE_MAX = 200 };
    size_t size = strnlen(said, QUOTE_MAX);
    cb_code code = CB_OK;

    /* Not in the middle of a character. */
    while (size > 0 && said[size] != '\0' && ((unsigned char)said[size] & 0xc0) == 0x80)
        size--;
    for (size_t i = 0; i < size && code == CB_OK; i++) {
        bool is_plain = (unsigned char)said[i] >= 0x20 && said[i] != 0x7f;

        code = cb_buf_u8(into, is_plain ? (uint8_t)said[i] : ' ', err);
    }
    return code;
}

cb_code cb_blob_date(const cb_http_response *response, int64_t *out_us, cb_error *err)
{
    const char *date = cb_http_header(response, "date");

    if (date == NULL || !cb_http_time(date, out_us))
        return cb_fail(err, CB_IO, "the store does not say what time it is");
    return CB_OK;
}

/* ---- many at once ---------------------------------------------------------------------------- */

typedef struct removal {
    cb_store *store;
    cb_blob_remove *remove;
} removal;

static cb_code remove_one(void *arg, unsigned worker, void *job, cb_error *err)
{
    const removal *self = arg;

    (void)worker;
    return self->remove(self->store, *(const char **)job, err);
}

cb_code cb_blob_remove_many(cb_store *store, const char *const *keys, size_t count,
                            cb_blob_remove *remove, cb_error *err)
{
    enum { AT_ONCE = 8 };
    removal self = {store, remove};
    cb_pool *pool;
    cb_code code = CB_OK;

    if (count < 3) {
        for (size_t i = 0; i < count && code == CB_OK; i++)
            code = remove(store, keys[i], err);
        return code;
    }
    code = cb_pool_new(count < AT_ONCE ? (unsigned)count : AT_ONCE, AT_ONCE, sizeof(char *),
                       remove_one, &self, &pool, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < count && code == CB_OK; i++)
        code = cb_pool_submit(pool, &keys[i], err);
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}
