/*
 * cloud_kit.c - see cloud_kit.h.
 */
#include "unit.h"

#include "cloud_kit.h"

#include "storage/blob/blob.h"

#include <stdio.h>
#include <stdlib.h>

#include "temp.h"

enum { SEED = 20261121 };
#define START_US INT64_C(1795258800000000)

/* What the first writer will draw, so that a script can answer with it. */
static void foresee_nonce(cloud *self)
{
    cb_ctx *twin = test_ctx_new();
    test_hooks hooks;

    test_hooks_install(&hooks, twin, START_US, SEED);
    cb_blob_nonce(twin, self->nonce);
    cb_ctx_free(twin);
}

void cloud_start(cloud *self, const char *format, const http_step *steps, size_t count)
{
    char address[256];
    char *with_port;

    memset(self, 0, sizeof(*self));
    self->ctx = test_ctx_new();
    test_hooks_install(&self->hooks, self->ctx, START_US, SEED);
    foresee_nonce(self);
    http_server_start(&self->server, steps, count);
    self->has_server = true;
    with_port = strstr(format, "%u");
    assert_non_null(with_port);
    snprintf(address, sizeof(address), "%.*s%u%s", (int)(with_port - format), format,
             self->server.port, with_port + 2);
    if (cb_store_open(self->ctx, address, false, &self->store, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
}

bool cloud_open(cloud *self, const char *variable)
{
    const char *address = getenv(variable);
    char own[CB_PLACE_TEXT_MAX];
    char nonce[33];
    size_t size;

    if (address == NULL)
        return false;
    memset(self, 0, sizeof(*self));
    self->ctx = test_ctx_new();
    cb_blob_nonce(self->ctx, nonce);
    size = strcspn(address, "?");
    snprintf(own, sizeof(own), "%.*s/%s%s", (int)size, address, nonce, address + size);
    if (cb_store_open(self->ctx, own, false, &self->store, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
    return true;
}

void cloud_stop(cloud *self)
{
    cb_store_close(self->store);
    if (self->has_server)
        http_server_stop(&self->server);
    cb_ctx_free(self->ctx);
}

cb_code cloud_put(cloud *self, const char *key, cb_put_mode mode, const char *text)
{
    cb_error_clear(&self->err);
    return cb_store_put_bytes(self->store, key, mode, cb_bytes_of(text, strlen(text)), &self->err);
}

static const char *end_text(cb_buf *into)
{
    cb_error err;

    assert_int_equal(cb_buf_u8(into, 0, &err), CB_OK);
    return (const char *)into->data;
}

const char *cloud_get(cloud *self, const char *key, cb_buf *into)
{
    into->size = 0;
    if (cb_store_get(self->store, key, 0, UINT64_MAX, into, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
    return end_text(into);
}

static cb_code add_object(void *arg, const cb_object *object, cb_error *err)
{
    return cb_buf_format(arg, err, "%s=%llu ", object->key, (unsigned long long)object->size_bytes);
}

const char *cloud_list(cloud *self, const char *prefix, cb_buf *into)
{
    into->size = 0;
    if (cb_store_list(self->store, prefix, add_object, into, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
    return end_text(into);
}

typedef struct version_list {
    cb_buf *into;
    bool ids;
} version_list;

static cb_code add_version(void *arg, const cb_version *version, cb_error *err)
{
    const version_list *to = arg;

    return cb_buf_format(to->into, err, "%s%s%s=%llu%s%s; ", version->key, to->ids ? "@" : "",
                         to->ids ? version->id : "", (unsigned long long)version->size_bytes,
                         version->is_latest ? " latest" : "", version->is_removal ? " gone" : "");
}

const char *cloud_versions(cloud *self, const char *prefix, bool ids, cb_buf *into)
{
    version_list to = {into, ids};

    into->size = 0;
    if (cb_store_versions(self->store, prefix, add_version, &to, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
    return end_text(into);
}

bool cloud_was_asked(cloud *self, const char *text)
{
    return strstr((const char *)self->server.head.data, text) != NULL;
}
