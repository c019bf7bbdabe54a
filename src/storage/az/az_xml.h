/*
 * az_xml.h - the answers of Azure's Blob service, taken apart. All of it is foreign: what is not as
 * documented is CB_IO. Document types, and with them entities of one's own, are refused.
 *
 * Source: the public reference of the Blob service, "List Blobs" and "Status and error codes".
 */
#ifndef CB_STORAGE_AZ_AZ_XML_H
#define CB_STORAGE_AZ_AZ_XML_H

#include "base/arena.h"

typedef struct cb_az_blob {
    const char *name;
    const char *version; /* "" where the account keeps none */
    const char *tag;     /* "md5:..."; "" where the blob has none */
    uint64_t size_bytes;
    int64_t modified_us; /* 0 unknown */
    bool is_current;     /* says the listing; only of versions */
    bool is_folder;      /* of a hierarchical namespace */
} cb_az_blob;

/* Zero-initialise; strings live in its arena. */
typedef struct cb_az_page {
    cb_arena arena;
    cb_az_blob *blobs;
    size_t count, capacity;
    const char *next; /* marker of the next page; "" at the end */
} cb_az_page;

void cb_az_page_free(cb_az_page *page);
CB_MUST_USE cb_code cb_az_parse_page(cb_bytes xml, cb_az_page *out, cb_error *err);

/* The code of a failure: "BlobNotFound"; "" where the answer has none. */
enum { CB_AZ_CODE_MAX = 64 };
void cb_az_parse_failure(cb_bytes xml, char out[CB_AZ_CODE_MAX]);

#endif
