/*
 * az_read.c - bytes of an object, and what is known of it.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>

#include "base/text.h"

static cb_code get(cb_az_store *self, const char *key, const char *version, uint64_t offset,
                   uint64_t length, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char range[CB_BLOB_RANGE_MAX];
    const char *headers[] = {cb_blob_range(offset, length, range), NULL};
    const cb_pair query[] = {{"versionid", version}};
    cb_az_call call = {.key = key,
                       .query = query,
                       .query_count = version != NULL ? 1 : 0,
                       .headers = range[0] != '\0' ? headers : NULL,
                       .into = into,
                       .answer_max = UINT64_MAX};
    size_t before = into->size;
    cb_code code = cb_az_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (response.status == 416) /* it begins behind the end, or the object is empty */
        return CB_OK;
    if (!cb_az_is_success(&response))
        return cb_az_fail(self, &response, "read", key, err);
    if (response.status != 206)
        cb_blob_cut(into, before, offset, length);
    else if (length == 0)
        into->size = before;
    return CB_OK;
}

cb_code cb_az_read(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                   cb_error *err)
{
    return get((cb_az_store *)store, key, NULL, offset, length, into, err);
}

cb_code cb_az_read_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                           uint64_t length, cb_buf *into, cb_error *err)
{
    return get((cb_az_store *)store, key, version, offset, length, into, err);
}

static const char *header_or_empty(const cb_http_response *response, const char *name)
{
    const char *value = cb_http_header(response, name);

    return value != NULL ? value : "";
}

cb_code cb_az_stat(cb_az_store *self, const char *key, cb_az_facts *out, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_az_call call = {.method = "HEAD", .key = key};
    const char *copy;
    cb_code code = cb_az_send(self, &call, &response, err);

    memset(out, 0, sizeof(*out));
    if (code != CB_OK)
        return code;
    if (!cb_az_is_success(&response))
        return cb_az_fail(self, &response, "look at", key, err);
    if (cb_parse_u64(header_or_empty(&response, "content-length"), &out->size_bytes, err) != CB_OK)
        return cb_fail(err, CB_IO, "the store does not say how large '%s' is", key);
    snprintf(out->nonce, sizeof(out->nonce), "%s", header_or_empty(&response, CB_AZ_NONCE_HEADER));
    if (strcasecmp(header_or_empty(&response, "x-ms-immutability-policy-mode"), "locked") == 0 &&
        !cb_http_time(header_or_empty(&response, "x-ms-immutability-policy-until-date"),
                      &out->retain_until_us))
        out->retain_until_us = 0;
    copy = header_or_empty(&response, "x-ms-copy-status");
    out->is_copying = strcmp(copy, "pending") == 0;
    out->copy_failed = strcmp(copy, "failed") == 0 || strcmp(copy, "aborted") == 0;
    return CB_OK;
}

cb_code cb_az_size(cb_store *store, const char *key, uint64_t *out, cb_error *err)
{
    cb_az_facts facts;
    cb_code code = cb_az_stat((cb_az_store *)store, key, &facts, err);

    if (code == CB_OK)
        *out = facts.size_bytes;
    return code;
}
