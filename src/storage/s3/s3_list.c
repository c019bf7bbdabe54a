/*
 * s3_list.c - listings, a page of a thousand a request. A listing must go forward: one that comes
 * back to an earlier key would never end.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"

enum { PAGE_MAX = 16 << 20, TOKEN_MAX = 8192 };

typedef enum kind { OBJECTS, VERSIONS, UPLOADS } kind;

typedef cb_code page_visit(void *arg, const cb_s3_page *page, bool *enough, cb_error *err);

/* Where the next page begins. */
typedef struct place_in_list {
    cb_buf next, next_id;
} place_in_list;

static void place_free(place_in_list *at)
{
    cb_buf_free(&at->next);
    cb_buf_free(&at->next_id);
}

static cb_code keep(cb_buf *into, const char *text, cb_error *err)
{
    into->size = 0;
    return cb_buf_append(into, text, strlen(text) + 1, err);
}

/* A store that cuts its list must say where it goes on; of objects, the last key is as good. */
static cb_code go_on(const cb_s3_store *self, kind what, const cb_s3_page *page, place_in_list *at,
                     bool *by_key, cb_error *err)
{
    const char *next = page->next;
    cb_code code;

    *by_key = what == OBJECTS && next[0] == '\0';
    if (*by_key && page->count > 0)
        next = page->entries[page->count - 1].key;
    if (next[0] == '\0' || strlen(next) > TOKEN_MAX)
        return cb_fail(err, CB_IO, "the store of '%.300s' does not say how its list goes on",
                       self->place.address);
    if (at->next.size > 0 && strcmp((const char *)at->next.data, next) == 0 &&
        strcmp((const char *)at->next_id.data, page->next_id) == 0)
        return cb_fail(err, CB_IO, "the store of '%.300s' lists the same page for ever",
                       self->place.address);
    code = keep(&at->next, next, err);
    return code == CB_OK ? keep(&at->next_id, page->next_id, err) : code;
}

static size_t make_query(kind what, const char *prefix, const place_in_list *at, bool by_key,
                         cb_pair out[8])
{
    static const char *const first[] = {"list-type", "versions", "uploads"};
    static const char *const most[] = {"max-keys", "max-keys", "max-uploads"};
    static const char *const ids[] = {NULL, "version-id-marker", "upload-id-marker"};
    const char *marker = what != OBJECTS ? "key-marker"
                         : by_key        ? "start-after"
                                         : "continuation-token";
    size_t count = 0;

    out[count++] = (cb_pair){first[what], what == OBJECTS ? "2" : ""};
    out[count++] = (cb_pair){"encoding-type", "url"};
    out[count++] = (cb_pair){most[what], "1000"};
    out[count++] = (cb_pair){"prefix", prefix};
    if (at->next.size > 0)
        out[count++] = (cb_pair){marker, (const char *)at->next.data};
    if (ids[what] != NULL && at->next_id.size > 1)
        out[count++] = (cb_pair){ids[what], (const char *)at->next_id.data};
    return count;
}

static cb_code fetch_page(cb_s3_store *self, const cb_pair *query, size_t count, cb_s3_page *page,
                          cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_call call = {.query = query, .query_count = count, .answer_max = PAGE_MAX};
    cb_code code = cb_s3_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self, &response, "list", NULL, err);
    code = cb_s3_parse_page(cb_buf_bytes(&response.body), page, err);
    return code == CB_OK ? CB_OK : cb_context(err, "list of '%.300s'", self->place.address);
}

static cb_code each_page(cb_s3_store *self, kind what, const char *prefix, page_visit *visit,
                         void *arg, cb_error *err)
{
    CB_CLEANUP(place_free) place_in_list at = {0};
    bool by_key = false;

    for (;;) {
        CB_CLEANUP(cb_s3_page_free) cb_s3_page page = {0};
        cb_pair query[8];
        bool enough = false;
        size_t count = make_query(what, prefix, &at, by_key, query);
        cb_code code = fetch_page(self, query, count, &page, err);

        if (code == CB_OK)
            code = visit(arg, &page, &enough, err);
        if (code != CB_OK || enough || !page.is_truncated)
            return code;
        code = go_on(self, what, &page, &at, &by_key, err);
        if (code != CB_OK)
            return code;
    }
}

static cb_code whole_prefix(const cb_s3_store *self, const char *prefix, cb_buf *into,
                            cb_error *err)
{
    cb_code code = cb_blob_name(into, self->place.prefix, prefix, err);

    return code == CB_OK ? cb_buf_u8(into, 0, err) : code;
}

/* ---- objects and versions ------------------------------------------------------------------- */

typedef struct listing {
    const cb_s3_store *store;
    cb_object_visit *visit;
    cb_version_visit *visit_version;
    void *arg;
    char last[CB_OBJECT_KEY_MAX + 1];
} listing;

/* Below our prefix, and such as can be asked for. NULL: neither. */
static const char *key_of(const cb_s3_store *store, const cb_s3_entry *entry)
{
    const char *key = cb_blob_below(store->place.prefix, entry->key);

    return key != NULL && cb_key_is_plain(key) ? key : NULL;
}

static cb_code check_order(listing *self, const char *key, bool may_repeat, cb_error *err)
{
    int order = strcmp(self->last, key);

    if (order > 0 || (order == 0 && !may_repeat))
        return cb_fail(err, CB_UNSUPPORTED, "'%.300s' is not listed in the order of its keys",
                       self->store->place.address);
    snprintf(self->last, sizeof(self->last), "%s", key);
    return CB_OK;
}

static cb_code visit_objects(void *arg, const cb_s3_page *page, bool *enough, cb_error *err)
{
    listing *self = arg;
    cb_code code = CB_OK;

    (void)enough;
    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_s3_entry *entry = &page->entries[i];
        cb_object object = {.key = key_of(self->store, entry),
                            .size_bytes = entry->size_bytes,
                            .modified_us = entry->modified_us,
                            .tag = entry->tag};

        if (object.key == NULL)
            continue;
        code = check_order(self, object.key, false, err);
        if (code == CB_OK)
            code = self->visit(self->arg, &object, err);
    }
    return code;
}

cb_code cb_s3_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    listing to = {.store = cb_s3_of(store), .visit = visit, .arg = arg};
    cb_code code = whole_prefix(to.store, prefix, &whole, err);

    return code == CB_OK ? each_page(cb_s3_of(store), OBJECTS, (const char *)whole.data,
                                     visit_objects, &to, err)
                         : code;
}

static cb_code visit_versions(void *arg, const cb_s3_page *page, bool *enough, cb_error *err)
{
    listing *self = arg;
    cb_code code = CB_OK;

    (void)enough;
    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_s3_entry *entry = &page->entries[i];
        cb_version version = {.key = key_of(self->store, entry),
                              .id = entry->id,
                              .size_bytes = entry->size_bytes,
                              .modified_us = entry->modified_us,
                              .is_latest = entry->is_latest,
                              .is_removal = entry->is_removal,
                              .tag = entry->tag};

        if (version.key == NULL)
            continue;
        code = check_order(self, version.key, true, err);
        if (code == CB_OK)
            code = self->visit_version(self->arg, &version, err);
    }
    return code;
}

cb_code cb_s3_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    listing to = {.store = cb_s3_of(store), .visit_version = visit, .arg = arg};
    cb_code code = whole_prefix(to.store, prefix, &whole, err);

    return code == CB_OK ? each_page(cb_s3_of(store), VERSIONS, (const char *)whole.data,
                                     visit_versions, &to, err)
                         : code;
}

/* ---- strangers ------------------------------------------------------------------------------ */

typedef struct stranger {
    const cb_s3_store *store;
    char *out;
} stranger;

/* Empty objects whose name ends with a slash are what consoles call folders. */
static cb_code look_for_stranger(void *arg, const cb_s3_page *page, bool *enough, cb_error *err)
{
    stranger *self = arg;

    (void)err;
    for (size_t i = 0; i < page->count && !*enough; i++) {
        const char *key = cb_blob_below(self->store->place.prefix, page->entries[i].key);
        size_t size = key != NULL ? strlen(key) : 0;

        if (size == 0 || (key[size - 1] == '/' && page->entries[i].size_bytes == 0))
            continue;
        snprintf(self->out, CB_KEY_MAX + 1, "%s", key);
        *enough = true;
    }
    return CB_OK;
}

cb_code cb_s3_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    stranger to = {cb_s3_of(store), out};
    cb_code code = whole_prefix(to.store, "", &whole, err);

    out[0] = '\0';
    return code == CB_OK ? each_page(cb_s3_of(store), OBJECTS, (const char *)whole.data,
                                     look_for_stranger, &to, err)
                         : code;
}

/* ---- uploads that nobody will finish -------------------------------------------------------- */

typedef struct sweep {
    cb_s3_store *store;
    int64_t older_than_us;
    uint64_t seen, removed;
} sweep;

static cb_code remove_upload(sweep *self, const char *key, const char *id, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"uploadId", id}};
    cb_s3_call call = {.method = "DELETE", .key = key, .query = query, .query_count = 1};
    cb_code code = cb_s3_send(self->store, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (response.status == 404) /* finished or removed meanwhile */
        return CB_OK;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self->store, &response, "remove an unfinished upload of", key, err);
    self->removed++;
    return CB_OK;
}

static cb_code visit_uploads(void *arg, const cb_s3_page *page, bool *enough, cb_error *err)
{
    sweep *self = arg;
    cb_code code = CB_OK;

    (void)enough;
    for (size_t i = 0; i < page->count && code == CB_OK; i++) {
        const cb_s3_entry *upload = &page->entries[i];
        const char *key = key_of(self->store, upload);

        if (key == NULL || upload->id[0] == '\0')
            continue;
        self->seen++;
        if (upload->modified_us != 0 && upload->modified_us < self->older_than_us)
            code = remove_upload(self, key, upload->id, err);
    }
    return code;
}

cb_code cb_s3_remove_uploads(cb_store *store, int64_t older_than_us, uint64_t *count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    sweep self = {.store = cb_s3_of(store), .older_than_us = older_than_us};
    cb_code code = whole_prefix(self.store, "", &whole, err);

    if (code == CB_OK)
        code = each_page(self.store, UPLOADS, (const char *)whole.data, visit_uploads, &self, err);
    /* Some stores list uploads by the whole key or all of the bucket's only. */
    if (code == CB_OK && self.seen == 0 && whole.size > 1)
        code = each_page(self.store, UPLOADS, "", visit_uploads, &self, err);
    *count = self.removed;
    return code;
}
