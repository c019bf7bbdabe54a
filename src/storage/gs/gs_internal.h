/*
 * gs_internal.h - what the files of this folder share: the store, and one request to it.
 */
#ifndef CB_STORAGE_GS_GS_INTERNAL_H
#define CB_STORAGE_GS_GS_INTERNAL_H

#include "storage/auth/auth.h"
#include "storage/blob/blob.h"
#include "storage/gs/gs_json.h"
#include "storage/http/http.h"
#include "storage/place.h"

typedef struct cb_gs_store {
    cb_store store;
    cb_ctx *ctx;
    cb_http *http;
    cb_gcp *gcp;
    cb_place place;
    pthread_mutex_t lock; /* guards `known` */
    struct {
        cb_answer versioning, object_lock;
        int64_t retain_default_us;
        char location[64];
    } known; /* of the bucket, once it was looked at */
} cb_gs_store;

/* Which of the service's addresses a request goes to. */
typedef enum cb_gs_path {
    CB_GS_BUCKET,  /* /storage/v1/b/BUCKET */
    CB_GS_OBJECTS, /* .../o */
    CB_GS_OBJECT,  /* .../o/NAME */
    CB_GS_UPLOAD,  /* /upload/storage/v1/b/BUCKET/o */
    CB_GS_REWRITE, /* .../o/NAME/rewriteTo/b/BUCKET/o/NAME */
} cb_gs_path;

/* NUL-terminated. `key` NULL where the path has none; `query` in any order. */
CB_MUST_USE cb_code cb_gs_url(const cb_gs_store *self, cb_gs_path path, const char *key,
                              const cb_pair *query, size_t query_count, cb_buf *into,
                              cb_error *err);

/* A JSON body of one piece, or none. */
typedef struct cb_gs_call {
    const char *method; /* NULL: GET */
    cb_gs_path path;
    const char *key;
    const cb_pair *query;
    size_t query_count;
    const char *const *headers;
    const cb_bytes *body;
    size_t body_parts;
    cb_buf *into;
    uint64_t answer_max; /* 0: 64 MiB */
} cb_gs_call;

/* Signed, and judged as this service means it. CB_OK for every answer that is final. */
CB_MUST_USE cb_code cb_gs_send(cb_gs_store *self, const cb_gs_call *call,
                               cb_http_response *response, cb_error *err);

/* What an answer that is no success means; `doing` as in "cannot read", key NULL: the bucket. */
cb_code cb_gs_fail(cb_gs_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err);

cb_code cb_gs_fail_no_locks(cb_gs_store *self, cb_error *err);

static inline bool cb_gs_is_success(const cb_http_response *response)
{
    return response->status >= 200 && response->status < 300;
}

/* gs_read.c */
cb_code cb_gs_get(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                  cb_error *err);
cb_code cb_gs_get_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                          uint64_t length, cb_buf *into, cb_error *err);
/* Metadata of an object; strings live in `arena`. */
CB_MUST_USE cb_code cb_gs_stat(cb_gs_store *self, const char *key, cb_arena *arena,
                               cb_gs_object *out, cb_error *err);
cb_code cb_gs_size(cb_store *store, const char *key, uint64_t *out, cb_error *err);

/* gs_list.c */
cb_code cb_gs_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err);
cb_code cb_gs_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err);
cb_code cb_gs_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);

/* gs_write.c */
cb_code cb_gs_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err);

/* gs_change.c */
cb_code cb_gs_remove(cb_store *store, const char *key, cb_error *err);
cb_code cb_gs_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err);
cb_code cb_gs_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err);
cb_code cb_gs_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err);
cb_code cb_gs_revert(cb_store *store, const char *key, const char *version, cb_error *err);

/* gs_store.c: what the bucket says of itself, asked once; CB_OK also where that is not allowed. */
CB_MUST_USE cb_code cb_gs_look_at_bucket(cb_gs_store *self, cb_error *err);
/* CB_UNSUPPORTED where it is known that objects cannot be locked: a service that does not know
   locks might pass over the wish. */
CB_MUST_USE cb_code cb_gs_check_locks(cb_gs_store *self, cb_error *err);

#endif
