/*
 * gcp_internal.h - Google's credentials: the kinds of files, and what each exchanges for a token.
 */
#ifndef CB_STORAGE_AUTH_GCP_INTERNAL_H
#define CB_STORAGE_AUTH_GCP_INTERNAL_H

#include "storage/auth/auth_internal.h"

typedef enum cb_gcp_variable {
    CB_GCP_CREDENTIALS,
    CB_GCP_CLOUDSDK_CONFIG,
    CB_GCP_METADATA_HOST,
    CB_GCP_NO_METADATA,
    CB_GCP_EMULATOR,
    CB_GCP_HOME,
    CB_GCP_VARIABLES_END,
} cb_gcp_variable;

struct cb_gcp {
    cb_ctx *ctx;
    cb_http *http;
    cb_vault vault;
    const char *environment[CB_GCP_VARIABLES_END];
    const char *well_known; /* path of the file that gcloud writes */
    char endpoint[512];
    bool is_unsigned;
    bool has_metadata; /* the metadata service has answered before: silence is a fault */
    char metadata[64]; /* why it gave nothing, for the hint */
    cb_lease *lease;
};

/*
 * The token that a file of credentials stands for. `name` is its path, for messages. Errors:
 * CB_USAGE (not such a file), CB_UNSUPPORTED (a kind that is not known), CB_DENIED, CB_RETRY.
 */
CB_MUST_USE cb_code cb_gcp_from_json(cb_gcp *gcp, const char *name, const json_t *file,
                                     char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err);
/* The signed claim of a service account (RFC 7523), good for an hour from `now_us`. Appended. */
CB_MUST_USE cb_code cb_gcp_jwt(const char *name, const json_t *file, const char *audience,
                               int64_t now_us, cb_buf *into, cb_error *err);

/* gcp_external.c: an identity of elsewhere, and accounts that are acted for. */
CB_MUST_USE cb_code cb_gcp_external(cb_gcp *gcp, const char *name, const json_t *file,
                                    char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err);
/* Exchange `token`, in place, for one of the service account behind `url`. */
CB_MUST_USE cb_code cb_gcp_impersonate(cb_gcp *gcp, const char *name, const char *url,
                                       char token[CB_AUTH_TOKEN_MAX], cb_grant *grant,
                                       cb_error *err);
/* A form to a token service; the answer's bearer token. */
CB_MUST_USE cb_code cb_gcp_exchange(cb_gcp *gcp, const char *name, const char *url,
                                    const cb_buf *form, char token[CB_AUTH_TOKEN_MAX],
                                    cb_grant *grant, cb_error *err);

#define CB_GCP_SCOPE       "https://www.googleapis.com/auth/devstorage.read_write"
#define CB_GCP_SCOPE_CLOUD "https://www.googleapis.com/auth/cloud-platform"

#endif
