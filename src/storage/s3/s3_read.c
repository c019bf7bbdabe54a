/*
 * s3_read.c - bytes and sizes of objects.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"

/* "bytes 5-9/100" of an answer to a range; false when it is not that. */
static bool content_range(const char *text, uint64_t *first, uint64_t *last, uint64_t *total)
{
    char number[3][24];
    cb_error ignored;

    return text != NULL &&
           sscanf(text, "bytes %20[0-9]-%20[0-9]/%20[0-9]", number[0], number[1], number[2]) == 3 &&
           cb_parse_u64(number[0], first, &ignored) == CB_OK &&
           cb_parse_u64(number[1], last, &ignored) == CB_OK &&
           cb_parse_u64(number[2], total, &ignored) == CB_OK;
}

/* Fewer bytes than asked for mean the end of the object to our callers: so it must be the end. */
static cb_code check_range(const cb_s3_store *self, const cb_http_response *response,
                           const char *key, uint64_t offset, uint64_t length, uint64_t got,
                           cb_error *err)
{
    uint64_t first;
    uint64_t last;
    uint64_t total;
    uint64_t end;

    if (!cb_add_u64(offset, length, &end))
        end = UINT64_MAX;
    if (content_range(cb_http_header(response, "content-range"), &first, &last, &total) &&
        first == offset && last - first + 1 == got && (last + 1 == end || last + 1 == total))
        return CB_OK;
    return cb_fail(err, CB_IO, "the store of '%.300s' sent another part of '%s' than was asked for",
                   self->place.address, key);
}

static cb_code read_range(cb_s3_store *self, const char *key, const char *version, uint64_t offset,
                          uint64_t length, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char range[CB_BLOB_RANGE_MAX];
    const char *headers[] = {range, NULL};
    cb_pair query[] = {{"versionId", version}};
    size_t before = into->size;
    cb_s3_call call = {.key = key,
                       .query = query,
                       .query_count = version != NULL ? 1 : 0,
                       .into = into,
                       .answer_max = length < SIZE_MAX / 2 ? (size_t)length + 1 : SIZE_MAX / 2};
    cb_code code;

    cb_blob_range(offset, length, range);
    if (range[0] != '\0')
        call.headers = headers;
    code = cb_s3_send(self, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (response.status == 416) /* it is there, and ends before the offset */
        return CB_OK;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self, &response, "read", key, err);
    if (response.status == 206 && length > 0)
        return check_range(self, &response, key, offset, length, into->size - before, err);
    cb_blob_cut(into, before, response.status == 206 ? 0 : offset, length);
    return CB_OK;
}

cb_code cb_s3_get(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                  cb_error *err)
{
    return read_range(cb_s3_of(store), key, NULL, offset, length, into, err);
}

cb_code cb_s3_get_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                          uint64_t length, cb_buf *into, cb_error *err)
{
    return read_range(cb_s3_of(store), key, version, offset, length, into, err);
}

cb_code cb_s3_head(cb_s3_store *self, const char *key, const char *version,
                   cb_http_response *response, cb_error *err)
{
    static const char *const headers[] = {"x-amz-checksum-mode: ENABLED", NULL};
    cb_pair query[] = {{"versionId", version}};
    cb_s3_call call = {.method = "HEAD",
                       .key = key,
                       .query = query,
                       .query_count = version != NULL ? 1 : 0,
                       .headers = headers};

    return cb_s3_send(self, &call, response, err);
}

cb_code cb_s3_size(cb_store *store, const char *key, uint64_t *out, cb_error *err)
{
    cb_s3_store *self = cb_s3_of(store);
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_error ignored;
    const char *size;
    cb_code code = cb_s3_head(self, key, NULL, &response, err);

    *out = 0;
    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self, &response, "look at", key, err);
    size = cb_http_header(&response, "content-length");
    if (size == NULL || cb_parse_u64(size, out, &ignored) != CB_OK)
        return cb_fail(err, CB_IO, "the store of '%.300s' does not say how long '%s' is",
                       self->place.address, key);
    return CB_OK;
}
