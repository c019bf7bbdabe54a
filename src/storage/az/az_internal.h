/*
 * az_internal.h - what the files of this folder share: the store, and one request to it.
 */
#ifndef CB_STORAGE_AZ_AZ_INTERNAL_H
#define CB_STORAGE_AZ_AZ_INTERNAL_H

#include "storage/auth/auth.h"
#include "storage/az/az_xml.h"
#include "storage/blob/blob.h"
#include "storage/http/http.h"
#include "storage/place.h"

/* Whose meaning this room was written for; sent with every request. */
#define CB_AZ_SERVICE_VERSION "2021-12-02"
#define CB_AZ_NONCE_HEADER    "x-ms-meta-canvasbacknonce"

typedef struct cb_az_store {
    cb_store store;
    cb_ctx *ctx;
    cb_http *http;
    cb_az *az;
    cb_place place;
    pthread_mutex_t lock; /* guards what is known */
    cb_answer versioning, object_lock;
} cb_az_store;

typedef struct cb_az_call {
    const char *method; /* NULL: GET */
    const char *key;    /* NULL: the container */
    const cb_pair *query;
    size_t query_count;
    const char *const *headers;
    const cb_bytes *body;
    size_t body_parts;
    cb_buf *into;
    uint64_t answer_max;      /* 0: 64 MiB */
    const char *copy_version; /* of `key`, to be copied onto it; NULL: no copy */
} cb_az_call;

/* Signed, and judged as this service means it. CB_OK for every answer that is final. */
CB_MUST_USE cb_code cb_az_send(cb_az_store *self, const cb_az_call *call,
                               cb_http_response *response, cb_error *err);

/* "BlobNotFound" and the like; "" where the answer has none. */
void cb_az_failure_code(const cb_http_response *response, char out[CB_AZ_CODE_MAX]);

/* What an answer that is no success means; `doing` as in "cannot read", key NULL: the container. */
cb_code cb_az_fail(cb_az_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err);
cb_code cb_az_fail_no_locks(cb_az_store *self, cb_error *err);

static inline bool cb_az_is_success(const cb_http_response *response)
{
    return response->status >= 200 && response->status < 300;
}

/* az_read.c */
typedef struct cb_az_facts {
    uint64_t size_bytes;
    int64_t retain_until_us; /* of a locked policy; 0 none */
    char nonce[CB_BLOB_NONCE_MAX];
    bool is_copying; /* a copy onto it is not done yet */
    bool copy_failed;
} cb_az_facts;
CB_MUST_USE cb_code cb_az_stat(cb_az_store *self, const char *key, cb_az_facts *out, cb_error *err);
cb_code cb_az_read(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                   cb_error *err);
cb_code cb_az_read_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                           uint64_t length, cb_buf *into, cb_error *err);
cb_code cb_az_size(cb_store *store, const char *key, uint64_t *out, cb_error *err);

/* az_list.c */
cb_code cb_az_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err);
cb_code cb_az_list_any(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                       cb_error *err);
cb_code cb_az_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err);
cb_code cb_az_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);

/* az_write.c */
cb_code cb_az_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err);

/* az_change.c */
cb_code cb_az_remove(cb_store *store, const char *key, cb_error *err);
cb_code cb_az_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err);
cb_code cb_az_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err);
cb_code cb_az_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err);
cb_code cb_az_revert(cb_store *store, const char *key, const char *version, cb_error *err);

/* az_store.c: what the container says of itself, asked once; CB_OK also where that is not allowed.
 */
CB_MUST_USE cb_code cb_az_look_at_container(cb_az_store *self, cb_error *err);
/* CB_UNSUPPORTED where it is known that objects cannot be locked: a service that does not know
   locks might pass over the wish. */
CB_MUST_USE cb_code cb_az_check_locks(cb_az_store *self, cb_error *err);
/* Versioning is a setting of the account, seen only in answers that name a version. */
void cb_az_learn_versioning(cb_az_store *self, const cb_http_response *response);

#endif
