/*
 * az_internal.h - Azure's account, endpoint and the ways to prove who we are.
 */
#ifndef CB_STORAGE_AUTH_AZ_INTERNAL_H
#define CB_STORAGE_AUTH_AZ_INTERNAL_H

#include "storage/auth/auth_internal.h"

typedef enum cb_az_variable {
    CB_AZ_CONNECTION_STRING,
    CB_AZ_ACCOUNT,
    CB_AZ_KEY,
    CB_AZ_SAS_TOKEN,
    CB_AZ_ENDPOINT,
    CB_AZ_BLOB_ENDPOINT,
    CB_AZ_ANON,
    CB_AZ_TENANT_ID,
    CB_AZ_CLIENT_ID,
    CB_AZ_CLIENT_SECRET,
    CB_AZ_FEDERATED_TOKEN_FILE,
    CB_AZ_AUTHORITY_HOST,
    CB_AZ_IDENTITY_ENDPOINT,
    CB_AZ_IDENTITY_HEADER,
    CB_AZ_METADATA_HOST,
    CB_AZ_VARIABLES_END,
} cb_az_variable;

/* What a connection string says; NULL: nothing. Texts live in the vault. */
typedef struct cb_az_connection {
    const char *account, *key, *sas, *blob_endpoint, *protocol, *suffix;
    bool is_development;
} cb_az_connection;

/* "Name=value;Name=value": names in any case, values up to the next ';'. Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_az_connection_parse(const char *text, cb_vault *vault, cb_az_connection *out,
                                           cb_error *err);

struct cb_az {
    cb_ctx *ctx;
    cb_http *http;
    cb_vault vault;
    const char *environment[CB_AZ_VARIABLES_END];
    cb_az_connection connection;
    bool has_connection; /* it is there, and of our account */
    char account[128], endpoint[512];
    bool has_metadata; /* the metadata service has answered before: silence is a fault */
    char metadata[64]; /* why it gave nothing, for the hint */
    cb_lease *lease;
};

/* The emulator's account and key, published by its maker: no secret. */
#define CB_AZ_EMULATOR_ACCOUNT  "devstoreaccount1"
#define CB_AZ_EMULATOR_ENDPOINT "http://127.0.0.1:10000/" CB_AZ_EMULATOR_ACCOUNT
extern const char cb_az_emulator_key[];

/* az_place.c: fill account, endpoint and connection. Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_az_settle(cb_az *az, const cb_place *place, cb_error *err);

/* az_token.c: each *found false and CB_OK when it is not set up. */
CB_MUST_USE cb_code cb_az_from_principal(cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                                         cb_error *err);
CB_MUST_USE cb_code cb_az_from_machine(cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                                       cb_error *err);

#endif
