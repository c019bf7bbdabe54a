/*
 * place.h - an address taken apart: which kind of store, which bucket, what below it.
 *
 *     path   file:///path
 *     s3://bucket/prefix    (also s3a://)       Amazon's, or any other at an endpoint
 *     s3c://bucket/prefix   (also r2://)        S3-compatible: an endpoint is needed, path style
 *     gs://bucket/prefix    (also gcs://)       Google Cloud Storage
 *     az://container/prefix (also azure://)     Azure Blob; az://account.blob.core.windows.net/c/p
 *
 * Behind '?' an object store's address may carry its own settings, name=value joined by '&', values
 * percent-encoded; they win over the options: endpoint, region, access_key_id, s3_path_style (or
 * url_style=path|vhost), use_ssl, profile, account, passphrase_file. Secrets are refused there.
 *
 * gs:// with an access key id of Google's (GOOG...) is of kind CB_PLACE_S3, at Google's endpoint.
 */
#ifndef CB_STORAGE_PLACE_H
#define CB_STORAGE_PLACE_H

#include "storage/storage.h"

typedef enum cb_place_kind { CB_PLACE_FOLDER, CB_PLACE_S3, CB_PLACE_GS, CB_PLACE_AZ } cb_place_kind;

enum { CB_PLACE_BUCKET_MAX = 256, CB_PLACE_TEXT_MAX = 1024 };

typedef struct cb_place {
    cb_place_kind kind;
    char scheme[8];                   /* as written: "s3c" */
    char path[CB_PLACE_TEXT_MAX];     /* of a folder */
    char bucket[CB_PLACE_BUCKET_MAX]; /* or container */
    char prefix[CB_PLACE_TEXT_MAX];   /* no slash at either end; "" none; percent-decoded: no */
    char endpoint[512];               /* "" the cloud's own; with scheme, without slash behind */
    char region[64];                  /* "" unknown */
    char access_key_id[256];          /* "" by the conventions of the cloud */
    char profile[128];                /* of the shared files; "" by AWS_PROFILE */
    char account[128];                /* az */
    bool path_style;                  /* s3: bucket in the path, not in the host */
    char passphrase_file[CB_PLACE_TEXT_MAX]; /* "" none given */
    char address[CB_PLACE_TEXT_MAX];         /* as people write it, without settings */
} cb_place;

/* Settings of the context fill what the address does not say. Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_place_parse(cb_ctx *ctx, const char *address, cb_place *out, cb_error *err);

/*
 * An address as it may be shown: without its settings, and without what stands before an '@' where
 * a bucket belongs. Fills and returns `out`.
 */
const char *cb_place_shown(const char *address, char out[CB_PLACE_TEXT_MAX]);

/* Does this text begin with the scheme of an object store? Needs no context, never fails. */
bool cb_place_is_remote(const char *address);

/*
 * Split the address of one object into the place of its folder and its last segment:
 * s3://b/x/y.db?region=r gives s3://b/x?region=r and "y.db". Errors: CB_USAGE (no object named).
 */
CB_MUST_USE cb_code cb_place_split(const char *address, char folder[CB_PLACE_TEXT_MAX],
                                   char key[CB_KEY_MAX + 1], cb_error *err);

/* The kinds behind cb_store_open. */
CB_MUST_USE cb_code cb_s3_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out,
                                     cb_error *err);
CB_MUST_USE cb_code cb_gs_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out,
                                     cb_error *err);
CB_MUST_USE cb_code cb_az_store_open(cb_ctx *ctx, const cb_place *place, cb_store **out,
                                     cb_error *err);

#endif
