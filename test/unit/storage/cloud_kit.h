/*
 * cloud_kit.h - a store in a cloud, spoken to by a server that follows a script, or a real one.
 */
#ifndef CB_TEST_CLOUD_KIT_H
#define CB_TEST_CLOUD_KIT_H

#include "storage/place.h"

#include "fake_hooks.h"
#include "http_server.h"

typedef struct cloud {
    cb_ctx *ctx;
    test_hooks hooks;
    http_server server;
    bool has_server;
    cb_store *store;
    char nonce[33]; /* of the first writer of a scripted store */
    cb_error err;
} cloud;

/* `format` takes the port of the server: "gs://b/p?endpoint=http://127.0.0.1:%u". */
void cloud_start(cloud *self, const char *format, const http_step *steps, size_t count);
/* A place of its own below the address in the environment; false: there is none. */
bool cloud_open(cloud *self, const char *variable);
void cloud_stop(cloud *self);

cb_code cloud_put(cloud *self, const char *key, cb_put_mode mode, const char *text);
/* The text of an object; fails the test when it cannot be read. */
const char *cloud_get(cloud *self, const char *key, cb_buf *into);
/* "key=size ..." of a listing. */
const char *cloud_list(cloud *self, const char *prefix, cb_buf *into);
/* "key@id=size[ latest][ gone]; ..." with ids left out when `ids` is false. */
const char *cloud_versions(cloud *self, const char *prefix, bool ids, cb_buf *into);
/* Did the head of the last request hold this text? */
bool cloud_was_asked(cloud *self, const char *text);

#define CLOUD_SCRIPT(self, format, ...)                                                            \
    static const http_step steps_[] = {__VA_ARGS__};                                               \
    cloud_start(self, format, steps_, CB_LENGTH(steps_))

#endif
