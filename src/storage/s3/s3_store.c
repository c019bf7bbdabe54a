/*
 * s3_store.c - a repository in a bucket of Amazon S3, or of anything that speaks it: an object's
 * name is the prefix of the place and the key.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

static cb_code s3_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    (void)store;
    (void)err;
    *out = UINT64_MAX;
    return CB_OK;
}

static const char *s3_address(cb_store *store)
{
    return cb_s3_of(store)->place.address;
}

static void s3_traffic(cb_store *store, cb_traffic *out)
{
    cb_http_traffic(cb_s3_of(store)->http, out);
}

static void s3_close(cb_store *store)
{
    cb_s3_store *self = cb_s3_of(store);

    cb_aws_free(self->aws);
    cb_http_free(self->http);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_store_ops s3_ops = {
    .key_max = CB_OBJECT_KEY_MAX,
    .get = cb_s3_get,
    .put = cb_s3_put,
    .list = cb_s3_list,
    .remove = cb_s3_remove,
    .now = cb_s3_now,
    .free_space = s3_free_space,
    .address = s3_address,
    .close = s3_close,
    .stranger = cb_s3_stranger,
    .remove_many = cb_s3_remove_many,
    .size = cb_s3_size,
    .retain = cb_s3_retain,
    .retained = cb_s3_retained,
    .version_retained = cb_s3_version_retained,
    .versions = cb_s3_versions,
    .get_version = cb_s3_get_version,
    .revert = cb_s3_revert,
    .unremove = cb_s3_unremove,
    .make_bucket = cb_s3_make_bucket,
    .look = cb_s3_look,
    .facts = cb_s3_facts,
    .traffic = s3_traffic,
    .remove_uploads = cb_s3_remove_uploads,
};

/* The bucket is a part of the host's name, unless that would not fit: certificates know one level
   of names only, and a name in capitals or with '_' is none. */
static bool needs_path(const char *bucket)
{
    return bucket[strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0';
}

/* Address and options first, then what the cloud's own environment and files say. */
static cb_code choose_server(cb_s3_store *self, cb_error *err)
{
    const cb_place *place = &self->place;
    const char *endpoint =
        place->endpoint[0] != '\0' ? place->endpoint : cb_aws_endpoint(self->aws);
    const char *region = place->region[0] != '\0' ? place->region : cb_aws_region(self->aws);
    bool is_compatible = strcmp(place->scheme, "s3c") == 0 || strcmp(place->scheme, "r2") == 0;
    size_t size = strlen(endpoint);

    if (is_compatible && size == 0) {
        cb_fail(err, CB_USAGE, "'%.300s' needs an endpoint", place->address);
        cb_hint(err, "Give --endpoint https://host:port, or %.300s?endpoint=...", place->address);
        return err->code;
    }
    while (size > 0 && endpoint[size - 1] == '/')
        size--;
    self->is_amazon = size == 0;
    self->path_style =
        place->path_style || needs_path(place->bucket) || (place->endpoint[0] == '\0' && size > 0);
    snprintf(self->endpoint, sizeof(self->endpoint), "%s%.*s",
             size > 0 && strstr(endpoint, "://") == NULL ? "https://" : "", (int)size, endpoint);
    if (region[0] == '\0')
        region = strcmp(place->scheme, "r2") == 0 ? "auto" : "us-east-1";
    snprintf(self->region, sizeof(self->region), "%s", region);
    return CB_OK;
}

static cb_code open_store(cb_s3_store *self, cb_error *err)
{
    const cb_settings *settings = &self->ctx->settings;
    cb_http_settings http = {.upload_bytes_per_second = settings->limit_upload,
                             .download_bytes_per_second = settings->limit_download};
    cb_code code = cb_http_new(self->ctx, &http, &self->http, err);

    if (code == CB_OK)
        code = cb_aws_new(self->ctx, self->http, &self->place, &self->aws, err);
    return code == CB_OK ? choose_server(self, err) : code;
}

cb_code cb_s3_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out, cb_error *err)
{
    cb_s3_store *self = calloc(1, sizeof(*self));
    cb_code code;

    *out = NULL;
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->store.ops = &s3_ops;
    self->ctx = ctx;
    self->place = *place;
    pthread_mutex_init(&self->lock, NULL);
    code = open_store(self, err);
    if (code != CB_OK) {
        s3_close(&self->store);
        return code;
    }
    *out = &self->store;
    return CB_OK;
}
