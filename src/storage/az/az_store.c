/*
 * az_store.c - a repository in a container of Azure Blob Storage: an object's name is the prefix of
 * the place and the key.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>
#include <stdlib.h>

static cb_az_store *of_store(cb_store *store)
{
    return (cb_az_store *)store; /* the first member */
}

/*
 * Whatever the answer is, it says when it was given: whole seconds, cut off, as the times of the
 * objects are. So nothing looks older than it is.
 */
static cb_code az_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_az_call call = {.method = "HEAD", .key = "now"};
    cb_code code = cb_az_send(of_store(store), &call, &response, err);

    return code == CB_OK ? cb_blob_date(&response, out_us, err) : code;
}

static cb_code az_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    (void)store;
    (void)err;
    *out = UINT64_MAX;
    return CB_OK;
}

static const char *az_address(cb_store *store)
{
    return of_store(store)->place.address;
}

static void az_facts(cb_store *store, cb_store_facts *out)
{
    cb_az_store *self = of_store(store);

    memset(out, 0, sizeof(*out));
    out->kind = "az";
    out->is_remote = true;
    out->create_if_absent = CB_ANSWER_YES;
    out->checksums = CB_ANSWER_YES;
    snprintf(out->endpoint, sizeof(out->endpoint), "%s", cb_az_endpoint(self->az));
    cb_az_source(self->az, out->credentials);
    pthread_mutex_lock(&self->lock);
    out->versioning = self->versioning;
    out->object_lock = self->object_lock;
    pthread_mutex_unlock(&self->lock);
}

void cb_az_learn_versioning(cb_az_store *self, const cb_http_response *response)
{
    const char *version = cb_http_header(response, "x-ms-version-id");

    pthread_mutex_lock(&self->lock);
    self->versioning = version != NULL && version[0] != '\0' ? CB_ANSWER_YES : CB_ANSWER_NO;
    pthread_mutex_unlock(&self->lock);
}

cb_code cb_az_look_at_container(cb_az_store *self, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {{"restype", "container"}};
    cb_az_call call = {.method = "HEAD", .query = query, .query_count = 1};
    const char *locks;
    bool is_known;
    cb_code code;

    pthread_mutex_lock(&self->lock);
    is_known = self->object_lock != CB_ANSWER_UNKNOWN;
    pthread_mutex_unlock(&self->lock);
    if (is_known)
        return CB_OK;
    code = cb_az_send(self, &call, &response, err);
    if (code != CB_OK || response.status == 403)
        return code;
    if (!cb_az_is_success(&response))
        return cb_az_fail(self, &response, "look at", NULL, err);
    locks = cb_http_header(&response, "x-ms-immutable-storage-with-versioning-enabled");
    pthread_mutex_lock(&self->lock);
    self->object_lock = locks != NULL && strcmp(locks, "true") == 0 ? CB_ANSWER_YES : CB_ANSWER_NO;
    if (self->object_lock == CB_ANSWER_YES)
        self->versioning = CB_ANSWER_YES; /* which it is built on */
    pthread_mutex_unlock(&self->lock);
    return CB_OK;
}

static cb_code az_make_bucket(cb_store *store, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_az_store *self = of_store(store);
    const cb_pair query[] = {{"restype", "container"}};
    cb_az_call call = {.method = "PUT", .query = query, .query_count = 1};
    char failure[CB_AZ_CODE_MAX] = "";
    cb_code code = cb_az_send(self, &call, &response, err);

    if (code != CB_OK || cb_az_is_success(&response))
        return code;
    cb_az_failure_code(&response, failure);
    if (strcmp(failure, "ContainerAlreadyExists") == 0)
        return CB_OK;
    return cb_az_fail(self, &response, "make the container of", NULL, err);
}

cb_code cb_az_check_locks(cb_az_store *self, cb_error *err)
{
    cb_answer answer;
    cb_code code = cb_az_look_at_container(self, err);

    pthread_mutex_lock(&self->lock);
    answer = self->object_lock;
    pthread_mutex_unlock(&self->lock);
    return code == CB_OK && answer == CB_ANSWER_NO ? cb_az_fail_no_locks(self, err) : code;
}

static cb_code az_look(cb_store *store, cb_store_facts *out, cb_error *err)
{
    cb_code code = cb_az_look_at_container(of_store(store), err);

    if (code == CB_OK)
        az_facts(store, out);
    return code;
}

static void az_traffic(cb_store *store, cb_traffic *out)
{
    cb_http_traffic(of_store(store)->http, out);
}

static void az_close(cb_store *store)
{
    cb_az_store *self = of_store(store);

    cb_az_free(self->az);
    cb_http_free(self->http);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_store_ops az_ops = {
    .key_max = CB_OBJECT_KEY_MAX,
    .get = cb_az_read,
    .put = cb_az_put,
    .list = cb_az_list,
    .list_any = cb_az_list_any,
    .remove = cb_az_remove,
    .now = az_now,
    .free_space = az_free_space,
    .address = az_address,
    .close = az_close,
    .stranger = cb_az_stranger,
    .remove_many = cb_az_remove_many,
    .size = cb_az_size,
    .retain = cb_az_retain,
    .retained = cb_az_retained,
    .versions = cb_az_versions,
    .get_version = cb_az_read_version,
    .revert = cb_az_revert,
    .make_bucket = az_make_bucket,
    .look = az_look,
    .facts = az_facts,
    .traffic = az_traffic,
};

cb_code cb_az_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out, cb_error *err)
{
    cb_http_settings settings = {.upload_bytes_per_second = ctx->settings.limit_upload,
                                 .download_bytes_per_second = ctx->settings.limit_download};
    cb_az_store *self = calloc(1, sizeof(*self));
    cb_code code;

    *out = NULL;
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->store.ops = &az_ops;
    self->ctx = ctx;
    self->place = *place;
    pthread_mutex_init(&self->lock, NULL);
    code = cb_http_new(ctx, &settings, &self->http, err);
    if (code == CB_OK)
        code = cb_az_new(ctx, self->http, place, &self->az, err);
    if (code != CB_OK) {
        az_close(&self->store);
        return code;
    }
    *out = &self->store;
    return CB_OK;
}
