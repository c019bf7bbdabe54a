/*
 * gs_read.c - bytes of an object, and what is known of it.
 */
#include "storage/gs/gs_internal.h"

static cb_code get(cb_gs_store *self, const char *key, const char *generation, uint64_t offset,
                   uint64_t length, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char range[CB_BLOB_RANGE_MAX];
    const char *headers[] = {cb_blob_range(offset, length, range), NULL};
    const cb_pair query[] = {{"alt", "media"}, {"generation", generation}};
    cb_gs_call call = {.path = CB_GS_OBJECT,
                       .key = key,
                       .query = query,
                       .query_count = generation != NULL ? 2 : 1,
                       .headers = range[0] != '\0' ? headers : NULL,
                       .into = into,
                       .answer_max = UINT64_MAX};
    size_t before = into->size;
    cb_code code = cb_gs_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (response.status == 416) /* it begins behind the end, or the object is empty */
        return CB_OK;
    if (!cb_gs_is_success(&response))
        return cb_gs_fail(self, &response, "read", key, err);
    if (response.status != 206)
        cb_blob_cut(into, before, offset, length);
    else if (length == 0)
        into->size = before;
    return CB_OK;
}

cb_code cb_gs_get(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                  cb_error *err)
{
    return get((cb_gs_store *)store, key, NULL, offset, length, into, err);
}

cb_code cb_gs_get_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                          uint64_t length, cb_buf *into, cb_error *err)
{
    return get((cb_gs_store *)store, key, version, offset, length, into, err);
}

cb_code cb_gs_stat(cb_gs_store *self, const char *key, cb_arena *arena, cb_gs_object *out,
                   cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {
        {"fields", "name,size,generation,timeCreated,crc32c,metadata,retention"}};
    cb_gs_call call = {.path = CB_GS_OBJECT, .key = key, .query = query, .query_count = 1};
    cb_code code = cb_gs_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_gs_is_success(&response))
        return cb_gs_fail(self, &response, "look at", key, err);
    return cb_gs_parse_object(cb_buf_bytes(&response.body), arena, out, err);
}

cb_code cb_gs_size(cb_store *store, const char *key, uint64_t *out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_gs_object object;
    cb_code code = cb_gs_stat((cb_gs_store *)store, key, &arena, &object, err);

    if (code == CB_OK)
        *out = object.size_bytes;
    return code;
}
