/*
 * az_list.c - listings, a page at a time. A page is read whole before its first object is visited,
 * so that a visitor may change the store.
 *
 * Names come in byte order, except in accounts with a hierarchical namespace, which put everything
 * of a folder together: what would come out of order is refused, not passed on.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>

typedef cb_code visit_page(void *arg, const cb_az_page *page, cb_error *err);

static cb_code read_page(cb_az_store *self, const cb_pair *query, size_t query_count,
                         cb_az_page *page, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_az_call call = {.query = query, .query_count = query_count};
    cb_code code = cb_az_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_az_is_success(&response))
        return cb_az_fail(self, &response, "list", NULL, err);
    return cb_az_parse_page(cb_buf_bytes(&response.body), page, err);
}

/* All pages below `prefix`; ends without error when `visit` has set *enough. */
static cb_code each_page(cb_az_store *self, const char *prefix, bool versions, visit_page *visit,
                         void *arg, const bool *enough, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    CB_CLEANUP(cb_buf_free) cb_buf marker = {0};
    bool more = true;
    cb_code code = cb_blob_name(&name, self->place.prefix, prefix, err);

    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    while (code == CB_OK && more && (enough == NULL || !*enough)) {
        CB_CLEANUP(cb_az_page_free) cb_az_page page = {0};
        cb_pair query[5] = {
            {"restype", "container"}, {"comp", "list"}, {"prefix", (const char *)name.data}};
        size_t count = name.size > 1 ? 3 : 2;

        if (versions)
            query[count++] = (cb_pair){"include", "versions"};
        if (marker.size > 1)
            query[count++] = (cb_pair){"marker", (const char *)marker.data};
        code = read_page(self, query, count, &page, err);
        if (code == CB_OK)
            code = visit(arg, &page, err);
        if (code != CB_OK)
            return code;
        more = page.next[0] != '\0';
        marker.size = 0;
        code = cb_buf_append(&marker, page.next, strlen(page.next) + 1, err);
    }
    return code;
}

/* ---- objects --------------------------------------------------------------------------------- */

typedef struct listing {
    const cb_az_store *store;
    cb_object_visit *visit;
    void *arg;
    char last[CB_OBJECT_KEY_MAX + 1];
    bool any_order;
} listing;

static cb_code keep_order(listing *to, const char *key, cb_error *err)
{
    if (to->any_order)
        return CB_OK;
    if (strcmp(key, to->last) < 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%.300s' does not list its objects by name",
                to->store->place.address);
        cb_hint(err, "Use a storage account without hierarchical namespace.");
        return err->code;
    }
    snprintf(to->last, sizeof(to->last), "%s", key);
    return CB_OK;
}

static cb_code visit_objects(void *arg, const cb_az_page *page, cb_error *err)
{
    listing *to = arg;
    cb_code code = CB_OK;

    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_az_blob *from = &page->blobs[i];
        cb_object object = {.key = cb_blob_below(to->store->place.prefix, from->name),
                            .size_bytes = from->size_bytes,
                            .modified_us = from->modified_us,
                            .tag = from->tag};

        if (from->is_folder || object.key == NULL || !cb_key_is_plain(object.key))
            continue;
        code = keep_order(to, object.key, err);
        if (code == CB_OK)
            code = to->visit(to->arg, &object, err);
    }
    return code;
}

cb_code cb_az_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    listing to = {.store = self, .visit = visit, .arg = arg};

    return each_page(self, prefix, false, visit_objects, &to, NULL, err);
}

cb_code cb_az_list_any(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                       cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    listing to = {.store = self, .visit = visit, .arg = arg, .any_order = true};

    return each_page(self, prefix, false, visit_objects, &to, NULL, err);
}

/* ---- versions -------------------------------------------------------------------------------- */

typedef struct version_listing {
    const cb_az_store *store;
    cb_blob_versions versions;
} version_listing;

static cb_code visit_versions(void *arg, const cb_az_page *page, cb_error *err)
{
    version_listing *to = arg;
    cb_code code = CB_OK;

    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_az_blob *from = &page->blobs[i];
        cb_version version = {.key = cb_blob_below(to->store->place.prefix, from->name),
                              .id = from->version,
                              .size_bytes = from->size_bytes,
                              .modified_us = from->modified_us,
                              .is_latest = from->is_current || from->version[0] == '\0',
                              .tag = from->tag};

        if (!from->is_folder && version.key != NULL && cb_key_is_plain(version.key))
            code = cb_blob_versions_add(&to->versions, &version, 0, err);
    }
    return code;
}

cb_code cb_az_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    version_listing to = {self, {.visit = visit, .arg = arg}};
    cb_code code = each_page(self, prefix, true, visit_versions, &to, NULL, err);

    if (code == CB_OK)
        code = cb_blob_versions_end(&to.versions, err);
    cb_blob_versions_free(&to.versions);
    return code;
}

/* ---- strangers ------------------------------------------------------------------------------- */

typedef struct stranger {
    const cb_az_store *store;
    char *out;
    bool found;
} stranger;

/* Empty objects whose name ends with a slash are what consoles call folders. */
static cb_code look_for_stranger(void *arg, const cb_az_page *page, cb_error *err)
{
    stranger *to = arg;

    (void)err;
    for (size_t i = 0; i < page->count && !to->found; i++) {
        const cb_az_blob *from = &page->blobs[i];
        const char *key = cb_blob_below(to->store->place.prefix, from->name);
        size_t size = key != NULL ? strlen(key) : 0;

        if (from->is_folder || size == 0 || (key[size - 1] == '/' && from->size_bytes == 0))
            continue;
        snprintf(to->out, CB_KEY_MAX + 1, "%s", key);
        to->found = true;
    }
    return CB_OK;
}

cb_code cb_az_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    stranger to = {self, out, false};

    out[0] = '\0';
    return each_page(self, "", false, look_for_stranger, &to, &to.found, err);
}
