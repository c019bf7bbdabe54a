/*
 * s3_revert.c - an older version on top again: the store copies it onto its own key. Up to 5 GiB
 * that is one request; above, parts are copied. A marker that hides a version is simply taken away.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"

#define COPY_MAX  (UINT64_C(5) << 30)
#define PART_SIZE (UINT64_C(1) << 30)

enum { PARTS_MAX = 10000 };

typedef struct copy {
    cb_s3_store *store;
    const char *key;
    cb_buf source; /* header line */
    uint64_t size;
    char id[CB_S3_TEXT_MAX];
    cb_buf list;
} copy;

static void copy_free(copy *self)
{
    cb_buf_free(&self->source);
    cb_buf_free(&self->list);
}

static cb_code look_at_version(copy *self, const char *version, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const char *size;
    cb_code code = cb_s3_head(self->store, self->key, version, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self->store, &response, "look at an older version of", self->key, err);
    size = cb_http_header(&response, "content-length");
    if (size == NULL || cb_parse_u64(size, &self->size, err) != CB_OK)
        return cb_fail(err, CB_IO, "the store does not say how long a version of '%s' is",
                       self->key);
    return CB_OK;
}

static cb_code send(copy *self, const cb_s3_call *call, cb_http_response *response, cb_error *err)
{
    cb_code code = cb_s3_send(self->store, call, response, err);

    if (code != CB_OK || cb_s3_is_success(response))
        return code;
    return cb_s3_fail(self->store, response, "bring back", self->key, err);
}

static cb_code copy_whole(copy *self, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const char *headers[] = {"Content-Type: application/octet-stream",
                             (const char *)self->source.data, NULL};
    cb_s3_call call = {
        .method = "PUT", .key = self->key, .headers = headers, .has_body = true, .may_lie = true};

    return send(self, &call, &response, err);
}

static cb_code begin(copy *self, cb_error *err)
{
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"uploads", ""}};
    cb_s3_call call = {.method = "POST",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers,
                       .has_body = true};
    cb_code code = send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    cb_s3_find_text(cb_buf_bytes(&response.body), "UploadId", self->id);
    return self->id[0] != '\0' ? CB_OK : cb_fail(err, CB_IO, "an upload was begun without a name");
}

static cb_code copy_part(copy *self, unsigned number, uint64_t offset, uint64_t size, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char range[96];
    char text[16];
    char etag[CB_S3_TEXT_MAX];
    const char *headers[] = {(const char *)self->source.data, range, NULL};
    cb_pair query[] = {{"partNumber", text}, {"uploadId", self->id}};
    cb_s3_call call = {.method = "PUT",
                       .key = self->key,
                       .query = query,
                       .query_count = 2,
                       .headers = headers,
                       .has_body = true,
                       .may_lie = true};
    cb_code code;

    snprintf(text, sizeof(text), "%u", number);
    snprintf(range, sizeof(range), "x-amz-copy-source-range: bytes=%llu-%llu",
             (unsigned long long)offset, (unsigned long long)(offset + size - 1));
    code = send(self, &call, &response, err);
    if (code != CB_OK)
        return code;
    cb_s3_find_text(cb_buf_bytes(&response.body), "ETag", etag);
    code = cb_buf_format(&self->list, err, "<Part><PartNumber>%u</PartNumber><ETag>", number);
    if (code == CB_OK)
        code = cb_s3_escape(&self->list, etag, err);
    return code == CB_OK ? cb_buf_format(&self->list, err, "</ETag></Part>") : code;
}

static cb_code finish(copy *self, cb_error *err)
{
    static const char *const headers[] = {"Content-Type: application/xml", NULL};
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"uploadId", self->id}};
    cb_bytes body = cb_buf_bytes(&self->list);
    cb_s3_call call = {.method = "POST",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers,
                       .body = &body,
                       .body_parts = 1,
                       .has_body = true,
                       .may_lie = true};

    return send(self, &call, &response, err);
}

static void abandon(copy *self)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"uploadId", self->id}};
    cb_s3_call call = {
        .method = "DELETE", .key = self->key, .query = query, .query_count = 1, .attempts = 2};
    cb_error ignored = {0};

    /* If it fails, the parts are left-overs: cb_s3_remove_uploads. */
    cb_ignore(cb_s3_send(self->store, &call, &response, &ignored));
}

static cb_code copy_parts(copy *self, uint64_t part_size, cb_error *err)
{
    unsigned number = 1;
    cb_code code = begin(self, err);

    if (code != CB_OK)
        return code;
    if (self->size / part_size >= PARTS_MAX)
        part_size = COPY_MAX;
    code = cb_buf_format(&self->list, err, "<CompleteMultipartUpload>");
    for (uint64_t at = 0; at < self->size && code == CB_OK; at += part_size, number++)
        code = copy_part(self, number, at,
                         self->size - at < part_size ? self->size - at : part_size, err);
    if (code == CB_OK)
        code = cb_buf_format(&self->list, err, "</CompleteMultipartUpload>");
    if (code == CB_OK)
        code = finish(self, err);
    if (code != CB_OK)
        abandon(self);
    return code;
}

cb_code cb_s3_revert(cb_store *store, const char *key, const char *version, cb_error *err)
{
    CB_CLEANUP(copy_free) copy self = {.store = cb_s3_of(store), .key = key};
    cb_code code = look_at_version(&self, version, err);

    if (code == CB_OK)
        code = cb_buf_format(&self.source, err, "x-amz-copy-source: ");
    if (code == CB_OK)
        code = cb_s3_source(self.store, key, version, &self.source, err);
    if (code == CB_OK)
        code = cb_buf_u8(&self.source, 0, err);
    if (code != CB_OK)
        return code;
    return self.size <= COPY_MAX ? copy_whole(&self, err) : copy_parts(&self, PART_SIZE, err);
}

cb_code cb_s3_unremove(cb_store *store, const char *key, const char *marker, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_store *self = cb_s3_of(store);
    cb_pair query[] = {{"versionId", marker}};
    cb_s3_call call = {.method = "DELETE", .key = key, .query = query, .query_count = 1};
    cb_code code = cb_s3_send(self, &call, &response, err);

    if (code != CB_OK || cb_s3_is_success(&response) || response.status == 404)
        return code;
    return cb_s3_fail(self, &response, "take away the delete marker of", key, err);
}
