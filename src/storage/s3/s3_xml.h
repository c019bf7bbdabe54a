/*
 * s3_xml.h - the answers of S3, taken apart. All of it is foreign: what is not as documented is
 * CB_IO. Document types, and with them entities of one's own, are refused. Namespaces are ignored,
 * since stores that speak S3 write them as they like.
 *
 * Source: the S3 API reference: ListObjectsV2, ListObjectVersions, ListMultipartUploads,
 * DeleteObjects, "Error responses".
 */
#ifndef CB_STORAGE_S3_S3_XML_H
#define CB_STORAGE_S3_S3_XML_H

#include "base/arena.h"

/* One line of any of the listings, or one key that DeleteObjects could not remove. */
typedef struct cb_s3_entry {
    const char *key;  /* whole, with the prefix of the place */
    const char *id;   /* of a version or an upload; "" none */
    const char *code; /* of a failed removal; "" none */
    const char *tag;  /* ETag without its quotes; "" none */
    uint64_t size_bytes;
    int64_t modified_us; /* 0 unknown; of an upload: when it was begun */
    bool is_latest, is_removal;
} cb_s3_entry;

/* Zero-initialise; strings live in its arena. Entries are in the order of the document: for
   versions it means newest first. */
typedef struct cb_s3_page {
    cb_arena arena;
    cb_s3_entry *entries;
    size_t count, capacity;
    bool is_truncated;
    const char *next;    /* continuation token or key marker; "" none */
    const char *next_id; /* version or upload marker; "" none */
} cb_s3_page;

void cb_s3_page_free(cb_s3_page *page);
CB_MUST_USE cb_code cb_s3_parse_page(cb_bytes xml, cb_s3_page *out, cb_error *err);

/* A failure: "NoSuchKey" and what was said to it; empty where the answer has none. */
enum { CB_S3_CODE_MAX = 64, CB_S3_MESSAGE_MAX = 256, CB_S3_REGION_MAX = 64 };
typedef struct cb_s3_failure {
    char code[CB_S3_CODE_MAX];
    char message[CB_S3_MESSAGE_MAX]; /* no control characters */
    char region[CB_S3_REGION_MAX];
    char endpoint[CB_S3_MESSAGE_MAX];
} cb_s3_failure;
/* False: this is no failure. */
bool cb_s3_parse_failure(cb_bytes xml, cb_s3_failure *out);

/* The text of the first element of that name; "" when there is none. Never fails: what it asks for
   is checked by whoever uses it. */
enum { CB_S3_TEXT_MAX = 2048 };
const char *cb_s3_find_text(cb_bytes xml, const char *name, char out[CB_S3_TEXT_MAX]);

/* Append `text` as the content of an element. */
CB_MUST_USE cb_code cb_s3_escape(cb_buf *into, const char *text, cb_error *err);

#endif
