/*
 * gs_json.h - the answers of Google's JSON API, taken apart. All of it is foreign: anything that is
 * not as documented is CB_IO, and nothing is believed beyond its type and range.
 *
 * Source: the public reference of the JSON API, resources "Objects" and "Buckets".
 */
#ifndef CB_STORAGE_GS_GS_JSON_H
#define CB_STORAGE_GS_GS_JSON_H

#include "base/arena.h"

typedef struct cb_gs_object {
    const char *name;
    const char *generation; /* decimal digits; "" when the answer has none */
    const char *nonce;      /* our own mark in the metadata; "" when it is not ours */
    uint64_t size_bytes;
    int64_t created_us;      /* of this generation */
    int64_t removed_us;      /* when it stopped being the live one; 0: it is live */
    int64_t retain_until_us; /* of a locked retention; 0 none */
    uint32_t crc32c;
    bool has_crc32c;
    const char *tag; /* "md5:..." or, of a composed object, "crc32c:..."; "" none */
} cb_gs_object;

/* Zero-initialise; strings live in its arena. */
typedef struct cb_gs_page {
    cb_arena arena;
    cb_gs_object *objects;
    size_t count;
    const char *next; /* token of the next page; "" at the end */
} cb_gs_page;

void cb_gs_page_free(cb_gs_page *page);
CB_MUST_USE cb_code cb_gs_parse_page(cb_bytes json, cb_gs_page *out, cb_error *err);
/* Of one object; strings live in `arena`. */
CB_MUST_USE cb_code cb_gs_parse_object(cb_bytes json, cb_arena *arena, cb_gs_object *out,
                                       cb_error *err);

typedef struct cb_gs_bucket {
    char location[64];
    bool has_versioning, has_object_retention;
    int64_t retain_default_us; /* of the bucket's own policy; 0 none */
} cb_gs_bucket;
CB_MUST_USE cb_code cb_gs_parse_bucket(cb_bytes json, cb_gs_bucket *out, cb_error *err);

/* "done" of a rewrite, and the token to go on with; "" when done. */
CB_MUST_USE cb_code cb_gs_parse_rewrite(cb_bytes json, cb_arena *arena, const char **token,
                                        cb_error *err);

/* Why a request failed: "notFound", "forbidden", ...; "" where the answer says nothing. */
typedef struct cb_gs_refusal {
    char reason[64];
    char message[256];
} cb_gs_refusal;
void cb_gs_parse_refusal(cb_bytes json, cb_gs_refusal *out);

/* What is sent in front of an object's bytes; `retain_until_us` 0: none; `crc32c` NULL: none. */
typedef struct cb_gs_metadata {
    const char *name;
    const char *nonce;
    int64_t retain_until_us;
    const uint32_t *crc32c;
} cb_gs_metadata;
CB_MUST_USE cb_code cb_gs_render_metadata(const cb_gs_metadata *of, cb_buf *into, cb_error *err);

#endif
