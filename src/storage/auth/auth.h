/*
 * auth.h - who we are to a cloud: found by the conventions of each, renewed before it expires.
 *
 * Order everywhere: address and options, environment, files, workload identity, machine identity;
 * the first hit wins. Which source that was can be asked (words, never values). Tokens are renewed
 * 5 minutes before they expire, by one thread (the others wait only when the old one has ended),
 * and once more when a request was refused as expired. What cannot be renewed (temporary keys in
 * the environment) is CB_DENIED then, and says so.
 *
 * Threads: all calls may be made from any thread. Environment: read once, when made.
 */
#ifndef CB_STORAGE_AUTH_AUTH_H
#define CB_STORAGE_AUTH_AUTH_H

#include "storage/http/http.h"
#include "storage/place.h"

enum { CB_AUTH_TOKEN_MAX = 8192, CB_AUTH_SOURCE_MAX = 256 };

/* ---- Amazon and whatever speaks S3 ------------------------------------------------------- */

typedef struct cb_aws cb_aws;

typedef struct cb_aws_keys {
    char access_key[256];
    char secret[256];
    char token[CB_AUTH_TOKEN_MAX]; /* "" for long-lived keys */
    bool anonymous;                /* AWS_NO_SIGN_REQUEST: send unsigned */
} cb_aws_keys;

/*
 * Reads environment and files at once, asks the network only at the first cb_aws_keys_get.
 * `http` is borrowed and must outlive *out. Errors: CB_USAGE (a profile that is not there, a file
 * that cannot be parsed: line and file are named), CB_DENIED (a file that cannot be read).
 */
CB_MUST_USE cb_code cb_aws_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_aws **out,
                               cb_error *err);
void cb_aws_free(cb_aws *aws);
/* `refused`: the keys that were given last were answered with "expired". Errors: CB_DENIED when
   there are none anywhere (the hint lists where was looked), CB_RETRY. */
CB_MUST_USE cb_code cb_aws_keys_get(cb_aws *aws, bool refused, cb_aws_keys *out, cb_error *err);
/* "environment", "profile 'prod' in ~/.aws/credentials", "web identity", "container",
   "instance role 'backup'", ... ; of the newest keys, "" before the first. */
void cb_aws_source(cb_aws *aws, char out[CB_AUTH_SOURCE_MAX]);
/* Region and endpoint by environment and profile; "" unknown. Borrowed from aws. */
const char *cb_aws_region(const cb_aws *aws);
const char *cb_aws_endpoint(const cb_aws *aws); /* AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, profile */

/* ---- Google -------------------------------------------------------------------------------- */

#define CB_GCP_ENDPOINT "https://storage.googleapis.com"

typedef struct cb_gcp cb_gcp;
CB_MUST_USE cb_code cb_gcp_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_gcp **out,
                               cb_error *err);
void cb_gcp_free(cb_gcp *gcp);
/* A bearer token; "" when requests go unsigned (an emulator, STORAGE_EMULATOR_HOST). */
CB_MUST_USE cb_code cb_gcp_token(cb_gcp *gcp, bool refused, char out[CB_AUTH_TOKEN_MAX],
                                 cb_error *err);
void cb_gcp_source(cb_gcp *gcp, char out[CB_AUTH_SOURCE_MAX]);
const char *cb_gcp_endpoint(const cb_gcp *gcp); /* with scheme, no slash behind */

/* ---- Azure --------------------------------------------------------------------------------- */

typedef enum cb_az_how { CB_AZ_SHARED_KEY, CB_AZ_SAS, CB_AZ_BEARER, CB_AZ_ANONYMOUS } cb_az_how;

typedef struct cb_az_auth {
    cb_az_how how;
    uint8_t key[64]; /* decoded account key */
    size_t key_size;
    char text[CB_AUTH_TOKEN_MAX]; /* SAS without '?', or bearer token */
} cb_az_auth;

typedef struct cb_az cb_az;
CB_MUST_USE cb_code cb_az_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_az **out,
                              cb_error *err);
void cb_az_free(cb_az *az);
CB_MUST_USE cb_code cb_az_get(cb_az *az, bool refused, cb_az_auth *out, cb_error *err);
void cb_az_source(cb_az *az, char out[CB_AUTH_SOURCE_MAX]);
const char *cb_az_account(const cb_az *az);
/* Blob endpoint with scheme, no slash behind: "https://ACCOUNT.blob.core.windows.net", or what the
   connection string or AZURE_STORAGE_... says ("http://127.0.0.1:10000/devstoreaccount1"). */
const char *cb_az_endpoint(const cb_az *az);

#endif
