/*
 * gs_list.c - listings, a page at a time. Names come in byte order; a page is read whole before its
 * first object is visited, so that a visitor may change the store.
 */
#include "storage/gs/gs_internal.h"

#include <stdio.h>

typedef cb_code visit_page(void *arg, const cb_gs_page *page, cb_error *err);

static cb_code read_page(cb_gs_store *self, const cb_pair *query, size_t query_count,
                         cb_gs_page *page, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_gs_call call = {.path = CB_GS_OBJECTS, .query = query, .query_count = query_count};
    cb_code code = cb_gs_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_gs_is_success(&response))
        return cb_gs_fail(self, &response, "list", NULL, err);
    return cb_gs_parse_page(cb_buf_bytes(&response.body), page, err);
}

/* All pages below `prefix`; ends without error when `visit` has set *enough. */
static cb_code each_page(cb_gs_store *self, const char *prefix, bool versions, visit_page *visit,
                         void *arg, const bool *enough, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    CB_CLEANUP(cb_buf_free) cb_buf token = {0};
    bool more = true;
    cb_code code = cb_blob_name(&name, self->place.prefix, prefix, err);

    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    while (code == CB_OK && more && (enough == NULL || !*enough)) {
        CB_CLEANUP(cb_gs_page_free) cb_gs_page page = {0};
        cb_pair query[4] = {{"fields", versions ? "nextPageToken,items(name,size,timeCreated,"
                                                  "timeDeleted,generation,md5Hash,crc32c)"
                                                : "nextPageToken,items(name,size,timeCreated,"
                                                  "md5Hash,crc32c)"},
                            {"prefix", (const char *)name.data}};
        size_t count = 2;

        if (versions)
            query[count++] = (cb_pair){"versions", "true"};
        if (token.size > 1)
            query[count++] = (cb_pair){"pageToken", (const char *)token.data};
        code = read_page(self, query, count, &page, err);
        if (code == CB_OK)
            code = visit(arg, &page, err);
        if (code != CB_OK)
            return code;
        more = page.next[0] != '\0';
        token.size = 0;
        code = cb_buf_append(&token, page.next, strlen(page.next) + 1, err);
    }
    return code;
}

/* ---- objects --------------------------------------------------------------------------------- */

typedef struct listing {
    const cb_gs_store *store;
    cb_object_visit *visit;
    void *arg;
} listing;

static cb_code visit_objects(void *arg, const cb_gs_page *page, cb_error *err)
{
    const listing *to = arg;
    cb_code code = CB_OK;

    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_gs_object *from = &page->objects[i];
        cb_object object = {.key = cb_blob_below(to->store->place.prefix, from->name),
                            .size_bytes = from->size_bytes,
                            .modified_us = from->created_us,
                            .tag = from->tag};

        if (object.key != NULL && cb_key_is_plain(object.key))
            code = to->visit(to->arg, &object, err);
    }
    return code;
}

cb_code cb_gs_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    listing to = {self, visit, arg};

    return each_page(self, prefix, false, visit_objects, &to, NULL, err);
}

/* ---- versions -------------------------------------------------------------------------------- */

typedef struct version_listing {
    const cb_gs_store *store;
    cb_blob_versions versions;
} version_listing;

static cb_code visit_versions(void *arg, const cb_gs_page *page, cb_error *err)
{
    version_listing *to = arg;
    cb_code code = CB_OK;

    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_gs_object *from = &page->objects[i];
        cb_version version = {.key = cb_blob_below(to->store->place.prefix, from->name),
                              .id = from->generation,
                              .size_bytes = from->size_bytes,
                              .modified_us = from->created_us,
                              .is_latest = from->removed_us == 0,
                              .tag = from->tag};

        if (version.key != NULL && cb_key_is_plain(version.key))
            code = cb_blob_versions_add(&to->versions, &version, from->removed_us, err);
    }
    return code;
}

cb_code cb_gs_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    version_listing to = {self, {.visit = visit, .arg = arg}};
    cb_code code = each_page(self, prefix, true, visit_versions, &to, NULL, err);

    if (code == CB_OK)
        code = cb_blob_versions_end(&to.versions, err);
    cb_blob_versions_free(&to.versions);
    return code;
}

/* ---- strangers ------------------------------------------------------------------------------- */

typedef struct stranger {
    const cb_gs_store *store;
    char *out;
    bool found;
} stranger;

/* Empty objects whose name ends with a slash are what consoles call folders. */
static cb_code look_for_stranger(void *arg, const cb_gs_page *page, cb_error *err)
{
    stranger *to = arg;

    (void)err;
    for (size_t i = 0; i < page->count && !to->found; i++) {
        const char *key = cb_blob_below(to->store->place.prefix, page->objects[i].name);
        size_t size = key != NULL ? strlen(key) : 0;

        if (size == 0 || (key[size - 1] == '/' && page->objects[i].size_bytes == 0))
            continue;
        snprintf(to->out, CB_KEY_MAX + 1, "%s", key);
        to->found = true;
    }
    return CB_OK;
}

cb_code cb_gs_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err)
{
    cb_gs_store *self = (cb_gs_store *)store;
    stranger to = {self, out, false};

    out[0] = '\0';
    return each_page(self, "", false, look_for_stranger, &to, &to.found, err);
}
