/*
 * s3_remove.c - removal, a thousand a request.
 *
 * In a bucket that keeps versions a plain removal frees nothing: it puts a delete marker on top. So
 * there all versions of a key are removed by their ids, older ones first: at every moment the key
 * reads as it did before or as gone, never as something older. What is locked stays, and is covered
 * by a marker.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

enum { BATCH = 1000, SWEEP_FROM = 16 };

/* One thing to remove: a version, or with id NULL whatever is on top. */
typedef struct item {
    const char *key;
    const char *id;
    const char *covered_id; /* of the version under a marker that we put */
    bool is_latest, is_removal;
    bool stays; /* it is locked, or we may not remove versions */
    bool is_due;
} item;

typedef struct items {
    cb_arena arena; /* of keys and ids */
    item *all;
    size_t count, capacity;
} items;

static void items_free(items *of)
{
    cb_arena_free(&of->arena);
    free(of->all);
}

static cb_code items_add(items *to, const item *one, cb_error *err)
{
    cb_code code = CB_OK;

    if (to->count == to->capacity)
        code = cb_array_grow(&to->all, &to->capacity, sizeof(*to->all), err);
    if (code == CB_OK)
        to->all[to->count++] = *one;
    return code;
}

/* A refusal that concerns one version only. */
static bool means_stays(const item *one, const char *code)
{
    return one->id != NULL &&
           (strcmp(code, "AccessDenied") == 0 || strcmp(code, "InvalidRequest") == 0 ||
            strcmp(code, "ObjectLocked") == 0 || strcmp(code, "MethodNotAllowed") == 0);
}

static bool means_gone(const char *code)
{
    return strcmp(code, "NoSuchKey") == 0 || strcmp(code, "NoSuchVersion") == 0;
}

/* ---- one a request -------------------------------------------------------------------------- */

static cb_code remove_alone(cb_s3_store *self, item *one, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"versionId", one->id}};
    cb_s3_call call = {.method = "DELETE",
                       .key = one->key,
                       .query = query,
                       .query_count = one->id != NULL ? 1 : 0};
    cb_s3_failure failure;
    cb_code code = cb_s3_send(self, &call, &response, err);

    if (code != CB_OK || cb_s3_is_success(&response))
        return code;
    cb_s3_parse_failure(cb_buf_bytes(&response.body), &failure);
    if (means_gone(failure.code))
        return CB_OK;
    one->stays = means_stays(one, failure.code);
    return one->stays ? CB_OK : cb_s3_fail(self, &response, "remove", one->key, err);
}

/* ---- a thousand a request ------------------------------------------------------------------- */

static cb_code render(item *const *some, size_t count, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_format(into, err,
                                 "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                                 "<Quiet>true</Quiet>");

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        code = cb_buf_format(into, err, "<Object><Key>");
        if (code == CB_OK)
            code = cb_s3_escape(into, some[i]->key, err);
        if (code == CB_OK)
            code = cb_buf_format(into, err, "</Key>");
        if (code == CB_OK && some[i]->id != NULL) {
            code = cb_buf_format(into, err, "<VersionId>");
            if (code == CB_OK)
                code = cb_s3_escape(into, some[i]->id, err);
            if (code == CB_OK)
                code = cb_buf_format(into, err, "</VersionId>");
        }
        if (code == CB_OK)
            code = cb_buf_format(into, err, "</Object>");
    }
    return code == CB_OK ? cb_buf_format(into, err, "</Delete>") : code;
}

static cb_code fail_item(const cb_s3_store *self, const char *key, const char *why, cb_error *err)
{
    bool denied = strcmp(why, "AccessDenied") == 0;
    bool later = strcmp(why, "InternalError") == 0 || strcmp(why, "SlowDown") == 0 ||
                 strcmp(why, "ServiceUnavailable") == 0;

    return cb_fail(err,
                   denied  ? CB_DENIED
                   : later ? CB_RETRY
                           : CB_IO,
                   denied ? "not allowed to remove '%s' in '%.300s' (%s)"
                          : "cannot remove '%s' in '%.300s' (%s)",
                   key, self->place.address, why);
}

/* The keys that could not be removed, each with its reason; they are whole names. */
static cb_code read_failures(cb_s3_store *self, const cb_s3_page *page, item *const *some,
                             size_t count, cb_error *err)
{
    for (size_t i = 0; i < page->count; i++) {
        const cb_s3_entry *failed = &page->entries[i];
        const char *key = cb_blob_below(self->place.prefix, failed->key);
        item *found = NULL;

        for (size_t k = 0; key != NULL && k < count && found == NULL; k++)
            if (strcmp(some[k]->key, failed->key) == 0 &&
                strcmp(some[k]->id != NULL ? some[k]->id : "", failed->id) == 0)
                found = some[k];
        if (means_gone(failed->code))
            continue;
        if (found == NULL || !means_stays(found, failed->code))
            return fail_item(self, key != NULL ? key : failed->key, failed->code, err);
        found->stays = true;
    }
    return CB_OK;
}

/* *known false: the store has no such request. Keys are whole names here. */
static cb_code send_batch(cb_s3_store *self, item *const *some, size_t count, bool *known,
                          cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_s3_page_free) cb_s3_page page = {0};
    CB_CLEANUP(cb_buf_free) cb_buf xml = {0};
    char sum[CB_S3_SUM_HEADER_MAX];
    const char *headers[] = {"Content-Type: application/xml", sum, NULL};
    cb_pair query[] = {{"delete", ""}};
    cb_bytes body;
    cb_s3_call call = {.method = "POST",
                       .query = query,
                       .query_count = 1,
                       .headers = headers,
                       .body = &body,
                       .body_parts = 1,
                       .has_body = true};
    cb_code code = render(some, count, &xml, err);

    if (code != CB_OK)
        return code;
    body = cb_buf_bytes(&xml);
    cb_s3_body_sum(body, sum);
    code = cb_s3_send(self, &call, &response, err);
    if (code != CB_OK)
        return code;
    *known = response.status != 501 && response.status != 405;
    if (!*known)
        return CB_OK;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self, &response, "remove objects in", NULL, err);
    code = cb_s3_parse_page(cb_buf_bytes(&response.body), &page, err);
    return code == CB_OK ? read_failures(self, &page, some, count, err) : code;
}

/* Copies of the items with whole names, as the request wants them. */
static cb_code whole_names(const cb_s3_store *self, item *const *some, size_t count,
                           cb_arena *arena, item ***out, cb_error *err)
{
    const char *prefix = self->place.prefix;
    item *copies = NULL;
    cb_code code = cb_arena_alloc(arena, count * sizeof(**out), out, err);

    if (code == CB_OK)
        code = cb_arena_alloc(arena, count * sizeof(*copies), &copies, err);
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        copies[i] = *some[i];
        (*out)[i] = &copies[i];
        code = cb_arena_format(arena, &copies[i].key, err, "%s%s%s", prefix,
                               prefix[0] != '\0' ? "/" : "", some[i]->key);
    }
    return code;
}

static bool can_be_batched(cb_s3_store *self, item *const *some, size_t count)
{
    bool can = count > 1;

    pthread_mutex_lock(&self->lock);
    can = can && !self->no_batches;
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < count && can; i++)
        can = cb_is_utf8(some[i]->key, strlen(some[i]->key)); /* XML has no words for the others */
    return can;
}

static cb_code remove_some(cb_s3_store *self, item *const *some, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    item **whole;
    bool known = can_be_batched(self, some, count);
    cb_code code = CB_OK;

    if (known) {
        code = whole_names(self, some, count, &arena, &whole, err);
        if (code == CB_OK)
            code = send_batch(self, whole, count, &known, err);
        for (size_t i = 0; i < count && code == CB_OK; i++)
            some[i]->stays = whole[i]->stays;
        if (code != CB_OK || known)
            return code;
        pthread_mutex_lock(&self->lock);
        self->no_batches = true;
        pthread_mutex_unlock(&self->lock);
    }
    for (size_t i = 0; i < count && code == CB_OK; i++)
        code = remove_alone(self, some[i], err);
    return code;
}

/* All that are due. */
static cb_code remove_due(cb_s3_store *self, items *of, cb_error *err)
{
    item *some[BATCH];
    size_t count = 0;
    cb_code code = CB_OK;

    for (size_t i = 0; i < of->count && code == CB_OK; i++) {
        if (of->all[i].is_due)
            some[count++] = &of->all[i];
        if (count == BATCH) {
            code = remove_some(self, some, count, err);
            count = 0;
        }
    }
    return code == CB_OK && count > 0 ? remove_some(self, some, count, err) : code;
}

/* ---- where versions are kept ---------------------------------------------------------------- */

typedef struct sweep {
    items *into;
    const char *const *keys; /* sorted */
    size_t count;
} sweep;

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cb_code keep_version(void *arg, const cb_version *version, cb_error *err)
{
    sweep *self = arg;
    const char *const *key =
        bsearch(&version->key, self->keys, self->count, sizeof(*self->keys), by_text);
    item one = {.is_latest = version->is_latest, .is_removal = version->is_removal};
    cb_code code;

    if (key == NULL)
        return CB_OK;
    one.key = *key;
    code = cb_arena_text(&self->into->arena, version->id, &one.id, err);
    return code == CB_OK ? items_add(self->into, &one, err) : code;
}

static cb_code find_versions(cb_s3_store *self, const char *const *keys, size_t count, items *into,
                             cb_error *err)
{
    sweep arg = {into, keys, count};
    char common[CB_OBJECT_KEY_MAX + 1];
    size_t same = strlen(keys[0]);
    cb_code code = CB_OK;

    if (count >= SWEEP_FROM) { /* sorted: what the first and the last begin with, all do */
        const char *last = keys[count - 1];

        for (size_t i = 0; i <= same; i++)
            if (keys[0][i] != last[i])
                same = i;
        snprintf(common, sizeof(common), "%.*s", (int)same, keys[0]);
        return cb_s3_versions(&self->store, common, keep_version, &arg, err);
    }
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        sweep alone = {into, &keys[i], 1};

        code = cb_s3_versions(&self->store, keys[i], keep_version, &alone, err);
    }
    return code;
}

static bool leaves_something(const items *of, size_t latest)
{
    for (size_t i = latest + 1; i < of->count && strcmp(of->all[i].key, of->all[latest].key) == 0;
         i++)
        if (of->all[i].stays)
            return true;
    return false;
}

static cb_code remove_versions(cb_s3_store *self, items *of, cb_error *err)
{
    cb_code code;

    for (size_t i = 0; i < of->count; i++)
        of->all[i].is_due = !of->all[i].is_latest;
    code = remove_due(self, of, err);
    /* Then the newest ones, where nothing older would come to light; else a marker is put first. */
    for (size_t i = 0; i < of->count && code == CB_OK; i++) {
        item *one = &of->all[i];
        bool covers = one->is_latest && leaves_something(of, i);

        one->is_due = one->is_latest && !(covers && one->is_removal);
        if (covers) {
            one->covered_id = one->id;
            one->id = NULL;
        }
    }
    if (code == CB_OK)
        code = remove_due(self, of, err);
    /* At last what lies under a marker now, and markers over the newest that turned out locked. */
    for (size_t i = 0; i < of->count && code == CB_OK; i++) {
        item *one = &of->all[i];

        one->is_due = one->is_latest && !one->is_removal && (one->stays || one->covered_id != NULL);
        one->id = one->covered_id;
    }
    return code == CB_OK ? remove_due(self, of, err) : code;
}

static void texts_free(const char ***texts)
{
    free(*texts);
}

cb_code cb_s3_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err)
{
    CB_CLEANUP(items_free) items all = {0};
    CB_CLEANUP(texts_free) const char **sorted = NULL;
    cb_s3_store *self = cb_s3_of(store);
    cb_answer versioning;
    cb_code code;

    if (count == 0)
        return CB_OK;
    code = cb_s3_ask_versioning(self, &versioning, err);
    if (code != CB_OK)
        return code;
    sorted = calloc(count, sizeof(*sorted));
    if (sorted == NULL)
        return cb_fail_memory(err, count * sizeof(*sorted));
    memcpy(sorted, keys, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_text);
    if (versioning == CB_ANSWER_YES) {
        code = find_versions(self, sorted, count, &all, err);
        return code == CB_OK ? remove_versions(self, &all, err) : code;
    }
    for (size_t i = 0; i < count && code == CB_OK; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            code = items_add(&all, &(item){.key = sorted[i], .is_due = true}, err);
    return code == CB_OK ? remove_due(self, &all, err) : code;
}

cb_code cb_s3_remove(cb_store *store, const char *key, cb_error *err)
{
    return cb_s3_remove_many(store, &key, 1, err);
}
