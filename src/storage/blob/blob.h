/*
 * blob.h - what the stores in clouds share: names below a prefix, ranges, removal of many, groups
 * of versions.
 */
#ifndef CB_STORAGE_BLOB_BLOB_H
#define CB_STORAGE_BLOB_BLOB_H

#include "storage/http/http.h"

/* Append the full name of an object: "prefix/key", or the key where there is no prefix. */
CB_MUST_USE cb_code cb_blob_name(cb_buf *into, const char *prefix, const char *key, cb_error *err);
/* What `name` is called below `prefix`; NULL when it lies elsewhere. May be "". */
const char *cb_blob_below(const char *prefix, const char *name);

/*
 * The header "Range: bytes=..." of a read, "" when all is wanted. Offsets past what services count
 * with are brought down to the largest one, which lies behind every object too.
 */
enum { CB_BLOB_RANGE_MAX = 64 };
const char *cb_blob_range(uint64_t offset, uint64_t length, char out[CB_BLOB_RANGE_MAX]);
/* A service that sent all of the object instead of a range: cut what was appended at `before`. */
void cb_blob_cut(cb_buf *into, size_t before, uint64_t offset, uint64_t length);

/* 32 hex digits that tell our own write from another's. */
enum { CB_BLOB_NONCE_MAX = 33 };
void cb_blob_nonce(cb_ctx *ctx, char out[CB_BLOB_NONCE_MAX]);

/* Append what a service said, shortened, without control characters. */
CB_MUST_USE cb_code cb_blob_quote(cb_buf *into, const char *said, cb_error *err);

/* Call `remove` for every key, by some threads at once; ends at the first failure. */
typedef cb_code cb_blob_remove(cb_store *store, const char *key, cb_error *err);
CB_MUST_USE cb_code cb_blob_remove_many(cb_store *store, const char *const *keys, size_t count,
                                        cb_blob_remove *remove, cb_error *err);

/* The time of the service, from the Date of an answer. Errors: CB_IO when it has none. */
CB_MUST_USE cb_code cb_blob_date(const cb_http_response *response, int64_t *out_us, cb_error *err);

/*
 * Versions of one key after another, as listings give them in any order within a key, visited by
 * key, newest first. Services without delete markers show a removed key by having no latest
 * version: a removal is visited before its versions then, with id "".
 */
typedef struct cb_blob_versions {
    cb_version_visit *visit;
    void *arg;
    cb_arena arena; /* of the group */
    cb_version *group;
    size_t count, capacity;
    int64_t removed_us; /* newest known removal in the group */
} cb_blob_versions;

/* `removed_us`: when this version stopped being the latest, 0 where that is not known. */
CB_MUST_USE cb_code cb_blob_versions_add(cb_blob_versions *versions, const cb_version *version,
                                         int64_t removed_us, cb_error *err);
CB_MUST_USE cb_code cb_blob_versions_end(cb_blob_versions *versions, cb_error *err);
void cb_blob_versions_free(cb_blob_versions *versions);

#endif
