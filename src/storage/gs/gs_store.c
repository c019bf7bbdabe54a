/*
 * gs_store.c - a repository in a bucket of Google Cloud Storage, by its JSON API: an object's name
 * is the prefix of the place and the key.
 */
#include "storage/gs/gs_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

static cb_gs_store *of_store(cb_store *store)
{
    return (cb_gs_store *)store; /* the first member */
}

/*
 * Whatever the answer is, it says when it was given: whole seconds, cut off. So "now" may be a
 * second early, and nothing looks older than it is.
 */
static cb_code gs_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {{"fields", "name"}};
    cb_gs_call call = {.path = CB_GS_OBJECT, .key = "now", .query = query, .query_count = 1};
    cb_code code = cb_gs_send(of_store(store), &call, &response, err);

    return code == CB_OK ? cb_blob_date(&response, out_us, err) : code;
}

static cb_code gs_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    (void)store;
    (void)err;
    *out = UINT64_MAX;
    return CB_OK;
}

static const char *gs_address(cb_store *store)
{
    return of_store(store)->place.address;
}

static void gs_facts(cb_store *store, cb_store_facts *out)
{
    cb_gs_store *self = of_store(store);

    memset(out, 0, sizeof(*out));
    out->kind = "gs";
    out->is_remote = true;
    out->create_if_absent = CB_ANSWER_YES;
    out->checksums = CB_ANSWER_YES;
    snprintf(out->endpoint, sizeof(out->endpoint), "%s", cb_gcp_endpoint(self->gcp));
    cb_gcp_source(self->gcp, out->credentials);
    pthread_mutex_lock(&self->lock);
    snprintf(out->region, sizeof(out->region), "%s", self->known.location);
    out->versioning = self->known.versioning;
    out->object_lock = self->known.object_lock;
    out->retain_default_us = self->known.retain_default_us;
    pthread_mutex_unlock(&self->lock);
}

/* To look at a bucket needs a right that many who use it do not have: then it stays unknown. */
cb_code cb_gs_look_at_bucket(cb_gs_store *self, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {{"fields", "location,objectRetention,retentionPolicy,versioning"}};
    cb_gs_call call = {.path = CB_GS_BUCKET, .query = query, .query_count = 1};
    cb_gs_bucket bucket;
    bool is_known;
    cb_code code;

    pthread_mutex_lock(&self->lock);
    is_known = self->known.object_lock != CB_ANSWER_UNKNOWN;
    pthread_mutex_unlock(&self->lock);
    if (is_known)
        return CB_OK;
    code = cb_gs_send(self, &call, &response, err);
    if (code != CB_OK || response.status == 403)
        return code;
    if (!cb_gs_is_success(&response))
        return cb_gs_fail(self, &response, "look at", NULL, err);
    code = cb_gs_parse_bucket(cb_buf_bytes(&response.body), &bucket, err);
    if (code != CB_OK)
        return code;
    pthread_mutex_lock(&self->lock);
    self->known.versioning = bucket.has_versioning ? CB_ANSWER_YES : CB_ANSWER_NO;
    self->known.object_lock = bucket.has_object_retention ? CB_ANSWER_YES : CB_ANSWER_NO;
    self->known.retain_default_us = bucket.retain_default_us;
    memcpy(self->known.location, bucket.location, sizeof(self->known.location));
    pthread_mutex_unlock(&self->lock);
    return CB_OK;
}

cb_code cb_gs_check_locks(cb_gs_store *self, cb_error *err)
{
    cb_answer answer;
    cb_code code = cb_gs_look_at_bucket(self, err);

    pthread_mutex_lock(&self->lock);
    answer = self->known.object_lock;
    pthread_mutex_unlock(&self->lock);
    return code == CB_OK && answer == CB_ANSWER_NO ? cb_gs_fail_no_locks(self, err) : code;
}

static cb_code gs_look(cb_store *store, cb_store_facts *out, cb_error *err)
{
    cb_code code = cb_gs_look_at_bucket(of_store(store), err);

    if (code == CB_OK)
        gs_facts(store, out);
    return code;
}

static void gs_traffic(cb_store *store, cb_traffic *out)
{
    cb_http_traffic(of_store(store)->http, out);
}

static void gs_close(cb_store *store)
{
    cb_gs_store *self = of_store(store);

    cb_gcp_free(self->gcp);
    cb_http_free(self->http);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_store_ops gs_ops = {
    .key_max = CB_OBJECT_KEY_MAX,
    .get = cb_gs_get,
    .put = cb_gs_put,
    .list = cb_gs_list,
    .remove = cb_gs_remove,
    .now = gs_now,
    .free_space = gs_free_space,
    .address = gs_address,
    .close = gs_close,
    .stranger = cb_gs_stranger,
    .remove_many = cb_gs_remove_many,
    .size = cb_gs_size,
    .retain = cb_gs_retain,
    .retained = cb_gs_retained,
    .versions = cb_gs_versions,
    .get_version = cb_gs_get_version,
    .revert = cb_gs_revert,
    .look = gs_look,
    .facts = gs_facts,
    .traffic = gs_traffic,
};

cb_code cb_gs_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out, cb_error *err)
{
    cb_http_settings settings = {.upload_bytes_per_second = ctx->settings.limit_upload,
                                 .download_bytes_per_second = ctx->settings.limit_download};
    cb_gs_store *self = calloc(1, sizeof(*self));
    cb_code code;

    *out = NULL;
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->store.ops = &gs_ops;
    self->ctx = ctx;
    self->place = *place;
    pthread_mutex_init(&self->lock, NULL);
    code = cb_http_new(ctx, &settings, &self->http, err);
    if (code == CB_OK)
        code = cb_gcp_new(ctx, self->http, place, &self->gcp, err);
    if (code != CB_OK) {
        gs_close(&self->store);
        return code;
    }
    *out = &self->store;
    return CB_OK;
}
