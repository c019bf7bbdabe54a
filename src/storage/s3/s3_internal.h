/*
 * s3_internal.h - what the files of this folder share: the store, and one request to it.
 */
#ifndef CB_STORAGE_S3_S3_INTERNAL_H
#define CB_STORAGE_S3_S3_INTERNAL_H

#include "storage/auth/auth.h"
#include "storage/blob/blob.h"
#include "storage/http/http.h"
#include "storage/place.h"
#include "storage/s3/s3_xml.h"

/* What the store computes and compares for us. Stores that do not know the better ones refuse or
   ignore them; the first refusal is remembered. */
typedef enum cb_s3_sum { CB_S3_SUM_CRC64NVME, CB_S3_SUM_MD5 } cb_s3_sum;

typedef struct cb_s3_store {
    cb_store store;
    cb_ctx *ctx;
    cb_http *http;
    cb_aws *aws;
    cb_place place;
    bool is_amazon; /* hosts are made of the region */
    bool path_style;
    char endpoint[512];   /* where it is not Amazon's */
    pthread_mutex_t lock; /* guards what follows */
    char region[64];
    cb_s3_sum sum;
    cb_answer sums_told; /* does it repeat the checksums that it was given? */
    bool no_batches;     /* it knows no DeleteObjects */
    struct {
        bool versioning_asked, lock_asked;
        cb_answer versioning, object_lock;
        int64_t retain_default_us;
    } known; /* of the bucket */
    /* Its clock less our monotonic one, as far as answers have told; 0 asked_us: not yet. */
    int64_t clock_offset_us, clock_asked_us;
} cb_s3_store;

static inline cb_s3_store *cb_s3_of(cb_store *store)
{
    return (cb_s3_store *)store; /* the first member */
}

typedef struct cb_s3_call {
    const char *method; /* NULL: GET */
    const char *key;    /* below the place's prefix; NULL: the bucket */
    const cb_pair *query;
    size_t query_count;
    const char *const *headers; /* NULL-terminated; may be NULL */
    const cb_bytes *body;
    size_t body_parts;
    bool has_body;
    cb_buf *into;
    size_t answer_max;
    unsigned attempts;
    bool is_tidying; /* sent though all was cancelled; then it has five seconds */
    bool may_lie;    /* a 200 may hold an <Error>: completed uploads and copies */
} cb_s3_call;

/*
 * Signed, judged as S3 means it, and sent again to the right region when it was the wrong one.
 * CB_OK for every final answer; a 200 that held an error has status 500 then.
 */
CB_MUST_USE cb_code cb_s3_send(cb_s3_store *self, const cb_s3_call *call,
                               cb_http_response *response, cb_error *err);

/* What an answer that is no success means; `doing` as in "cannot read", key NULL: the bucket. */
cb_code cb_s3_fail(cb_s3_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err);
cb_code cb_s3_fail_no_locks(cb_s3_store *self, cb_error *err);

static inline bool cb_s3_is_success(const cb_http_response *response)
{
    return response->status >= 200 && response->status < 300;
}

bool cb_s3_is_code(const cb_http_response *response, const char *code);

/* "/bucket/prefix/key" encoded, as copies name their source. */
CB_MUST_USE cb_code cb_s3_source(const cb_s3_store *self, const char *key, const char *version,
                                 cb_buf *into, cb_error *err);

/* s3_read.c */
cb_code cb_s3_get(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                  cb_error *err);
cb_code cb_s3_get_version(cb_store *store, const char *key, const char *version, uint64_t offset,
                          uint64_t length, cb_buf *into, cb_error *err);
cb_code cb_s3_size(cb_store *store, const char *key, uint64_t *out, cb_error *err);
/* The answer to a HEAD, whatever its status; `version` may be NULL. */
CB_MUST_USE cb_code cb_s3_head(cb_s3_store *self, const char *key, const char *version,
                               cb_http_response *response, cb_error *err);

/* s3_list.c */
cb_code cb_s3_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                   cb_error *err);
cb_code cb_s3_versions(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                       cb_error *err);
cb_code cb_s3_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);
cb_code cb_s3_remove_uploads(cb_store *store, int64_t older_than_us, uint64_t *count,
                             cb_error *err);

/* s3_write.c */
cb_code cb_s3_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err);

/* s3_remove.c */
cb_code cb_s3_remove(cb_store *store, const char *key, cb_error *err);
cb_code cb_s3_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err);

/* s3_lock.c */
cb_code cb_s3_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err);
cb_code cb_s3_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err);
cb_code cb_s3_version_retained(cb_store *store, const char *key, const char *version,
                               int64_t *until_us, cb_error *err);
/* "2026-11-21T11:04:31Z", rounded up to the second. */
enum { CB_S3_DATE_MAX = 40 };
const char *cb_s3_date(int64_t us, char out[CB_S3_DATE_MAX]);

/* s3_revert.c */
cb_code cb_s3_revert(cb_store *store, const char *key, const char *version, cb_error *err);
cb_code cb_s3_unremove(cb_store *store, const char *key, const char *marker, cb_error *err);

/* s3_bucket.c: ask the bucket, once; what may not be asked stays unknown. */
cb_code cb_s3_make_bucket(cb_store *store, cb_error *err);
CB_MUST_USE cb_code cb_s3_ask_versioning(cb_s3_store *self, cb_answer *out, cb_error *err);
CB_MUST_USE cb_code cb_s3_ask_locks(cb_s3_store *self, cb_error *err);
cb_code cb_s3_look(cb_store *store, cb_store_facts *out, cb_error *err);
void cb_s3_facts(cb_store *store, cb_store_facts *out);
cb_code cb_s3_now(cb_store *store, int64_t *out_us, cb_error *err);

/* A body that the store is to compare: "Content-MD5: ...", or a SHA-256 where there is no MD5. */
enum { CB_S3_SUM_HEADER_MAX = 128 };
const char *cb_s3_body_sum(cb_bytes body, char out[CB_S3_SUM_HEADER_MAX]);

#endif
