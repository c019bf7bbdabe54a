/*
 * gs_change.c - removal, locks, and the way back to an older version.
 */
#include "storage/gs/gs_internal.h"

cb_code cb_gs_remove(cb_store *store, const char *key, cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_gs_call call = {.method = "DELETE", .path = CB_GS_OBJECT, .key = key};
    cb_code code = cb_gs_send(self, &call, &response, err);

    if (code != CB_OK || cb_gs_is_success(&response))
        return code;
    code = cb_gs_fail(self, &response, "remove", key, err);
    /* There is none, which is what was asked for; but not that there is no bucket. */
    return code == CB_NOT_FOUND && !err->in_repository ? CB_OK : code;
}

cb_code cb_gs_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err)
{
    return cb_blob_remove_many(store, keys, count, cb_gs_remove, err);
}

cb_code cb_gs_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_gs_object object;
    cb_code code = cb_gs_stat((cb_gs_store *)store, key, &arena, &object, err);

    if (code == CB_OK)
        *until_us = object.retain_until_us;
    return code;
}

/* The service refuses to shorten a lock: one that is long enough is left alone. */
cb_code cb_gs_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_buf_free) cb_buf json = {0};
    const cb_pair query[] = {{"fields", "retention"}};
    const char *headers[] = {"Content-Type: application/json; charset=UTF-8", NULL};
    cb_gs_metadata wanted = {.retain_until_us = until_us};
    cb_bytes body;
    cb_gs_call call = {.method = "PATCH",
                       .path = CB_GS_OBJECT,
                       .key = key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers,
                       .body = &body,
                       .body_parts = 1};
    int64_t now_until_us;
    cb_code code = cb_gs_check_locks(self, err);

    if (code == CB_OK)
        code = cb_gs_retained(store, key, &now_until_us, err);
    if (code == CB_OK && now_until_us >= until_us)
        return CB_OK;
    if (code == CB_OK)
        code = cb_gs_render_metadata(&wanted, &json, err);
    if (code != CB_OK)
        return code;
    body = cb_buf_bytes(&json);
    code = cb_gs_send(self, &call, &response, err);
    if (code != CB_OK || cb_gs_is_success(&response))
        return code;
    if (response.status == 400 || response.status == 501)
        return cb_gs_fail_no_locks(self, err);
    return cb_gs_fail(self, &response, "lock", key, err);
}

/* A copy onto itself; between storage classes and places it takes several calls. */
cb_code cb_gs_revert(cb_store *store, const char *key, const char *version, cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *token = "";
    cb_code code;

    do {
        CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
        const cb_pair query[] = {{"fields", "done,rewriteToken"},
                                 {"sourceGeneration", version},
                                 {"rewriteToken", token}};
        cb_gs_call call = {.method = "POST",
                           .path = CB_GS_REWRITE,
                           .key = key,
                           .query = query,
                           .query_count = token[0] != '\0' ? 3 : 2};

        code = cb_check_cancel(self->ctx, err);
        if (code == CB_OK)
            code = cb_gs_send(self, &call, &response, err);
        if (code != CB_OK)
            return code;
        if (!cb_gs_is_success(&response))
            return cb_gs_fail(self, &response, "bring back", key, err);
        code = cb_gs_parse_rewrite(cb_buf_bytes(&response.body), &arena, &token, err);
    } while (code == CB_OK && token[0] != '\0');
    return code;
}
