/*
 * az.c - how we prove to Azure who we are: account key, shared access signature, token.
 */
#include "storage/auth/az_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "codec/mac.h"

static const char *const variables[CB_AZ_VARIABLES_END] = {
    [CB_AZ_CONNECTION_STRING] = "AZURE_STORAGE_CONNECTION_STRING",
    [CB_AZ_ACCOUNT] = "AZURE_STORAGE_ACCOUNT",
    [CB_AZ_KEY] = "AZURE_STORAGE_KEY",
    [CB_AZ_SAS_TOKEN] = "AZURE_STORAGE_SAS_TOKEN",
    [CB_AZ_ENDPOINT] = "AZURE_STORAGE_ENDPOINT",
    [CB_AZ_BLOB_ENDPOINT] = "AZURE_STORAGE_BLOB_ENDPOINT",
    [CB_AZ_ANON] = "AZURE_STORAGE_ANON",
    [CB_AZ_TENANT_ID] = "AZURE_TENANT_ID",
    [CB_AZ_CLIENT_ID] = "AZURE_CLIENT_ID",
    [CB_AZ_CLIENT_SECRET] = "AZURE_CLIENT_SECRET",
    [CB_AZ_FEDERATED_TOKEN_FILE] = "AZURE_FEDERATED_TOKEN_FILE",
    [CB_AZ_AUTHORITY_HOST] = "AZURE_AUTHORITY_HOST",
    [CB_AZ_IDENTITY_ENDPOINT] = "IDENTITY_ENDPOINT",
    [CB_AZ_IDENTITY_HEADER] = "IDENTITY_HEADER",
    [CB_AZ_METADATA_HOST] = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
};

/* ---- keys and signatures -------------------------------------------------------------------- */

static cb_code use_key(cb_az_auth *auth, const char *key, const char *what, cb_error *err)
{
    auth->how = CB_AZ_SHARED_KEY;
    if (!cb_unbase64(key, strlen(key), auth->key, sizeof(auth->key), &auth->key_size) ||
        auth->key_size == 0) {
        cb_fail(err, CB_USAGE, "%s is not the key of a storage account", what);
        cb_hint(err, "A key is 88 characters of base64.");
        return err->code;
    }
    return CB_OK;
}

/* "se" of a signature: when it ends. What cannot be read is left to the store. */
static void note_end(const char *sas, cb_grant *grant)
{
    const char *at = cb_has_prefix(sas, "se=") ? sas : strstr(sas, "&se=");
    char text[64];
    int64_t end;

    if (at == NULL)
        return;
    at = strchr(at, '=') + 1;
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(at, "&"), at);
    if (cb_url_decode(text) && cb_auth_time(text, &end))
        grant->expires_us = end;
}

static cb_code use_sas(cb_az_auth *auth, const char *sas, const char *what, cb_grant *grant,
                       cb_error *err)
{
    cb_code code;

    auth->how = CB_AZ_SAS;
    if (sas[0] == '?')
        sas++;
    code = cb_auth_copy(auth->text, sizeof(auth->text), sas, what, err);
    if (code == CB_OK && (strpbrk(sas, " #") != NULL || strstr(sas, "sig=") == NULL))
        code = cb_fail(err, CB_USAGE, "%s is not a shared access signature", what);
    if (code == CB_OK)
        note_end(sas, grant);
    return code;
}

/* ---- the search ----------------------------------------------------------------------------- */

static cb_code from_connection(const cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                               cb_error *err)
{
    const cb_az_connection *connection = &az->connection;
    const char *name = variables[CB_AZ_CONNECTION_STRING];

    if (!az->has_connection || (connection->key == NULL && connection->sas == NULL))
        return CB_OK;
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "connection string in the environment");
    if (connection->key != NULL)
        return use_key(auth, connection->key, "AccountKey of AZURE_STORAGE_CONNECTION_STRING", err);
    return use_sas(auth, connection->sas, name, grant, err);
}

static cb_code from_environment(const cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                                cb_error *err)
{
    const char *account = az->environment[CB_AZ_ACCOUNT];
    const char *key = az->environment[CB_AZ_KEY];
    const char *sas = az->environment[CB_AZ_SAS_TOKEN];
    /* A key belongs to the account that stands beside it, not to another one that the address
       names. */
    bool is_ours = account == NULL || strcmp(account, az->account) == 0;

    if (!is_ours || (key == NULL && sas == NULL))
        return CB_OK;
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "%s in the environment",
             key != NULL ? "account key" : "shared access signature");
    if (key != NULL)
        return use_key(auth, key, variables[CB_AZ_KEY], err);
    return use_sas(auth, sas, variables[CB_AZ_SAS_TOKEN], grant, err);
}

static cb_code from_emulator(const cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                             cb_error *err)
{
    if (strcmp(az->account, CB_AZ_EMULATOR_ACCOUNT) != 0 || !cb_url_is_loopback(az->endpoint))
        return CB_OK;
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "emulator's published key");
    return use_key(auth, cb_az_emulator_key, "the emulator's key", err);
}

static cb_code from_tokens(cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found, cb_error *err)
{
    cb_code code;

    if (!cb_url_is_safe(az->endpoint)) {
        snprintf(az->metadata, sizeof(az->metadata), "not asked: the endpoint is not https");
        return CB_OK; /* a token would travel in the clear */
    }
    code = cb_az_from_principal(az, auth, grant, found, err);
    if (code == CB_OK && !*found)
        code = cb_az_from_machine(az, auth, grant, found, err);
    return code;
}

static cb_code fail_nowhere(const cb_az *az, cb_error *err)
{
    cb_fail(err, CB_DENIED, "no credentials for the Azure storage account '%.64s' were found",
            az->account);
    cb_hint(err,
            "Looked at AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY and "
            "AZURE_STORAGE_SAS_TOKEN (for this account), AZURE_TENANT_ID with "
            "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, and at "
            "the identity of this machine (%s).",
            az->metadata);
    return err->code;
}

static cb_code fetch(void *arg, void *value, cb_grant *grant, cb_error *err)
{
    cb_az *az = arg;
    cb_az_auth *auth = value;
    bool found = false;
    cb_code code;

    grant->is_fixed = true;
    code = from_connection(az, auth, grant, &found, err);
    if (code == CB_OK && !found)
        code = from_environment(az, auth, grant, &found, err);
    if (code == CB_OK && !found && cb_auth_is_true(az->environment[CB_AZ_ANON])) {
        found = true;
        auth->how = CB_AZ_ANONYMOUS;
        snprintf(grant->source, sizeof(grant->source), "none: requests are not signed");
    }
    if (code == CB_OK && !found)
        code = from_emulator(az, auth, grant, &found, err);
    if (code == CB_OK && !found) {
        grant->is_fixed = false;
        code = from_tokens(az, auth, grant, &found, err);
    }
    if (code == CB_OK && !found)
        code = fail_nowhere(az, err);
    return code;
}

/* ---- the interface -------------------------------------------------------------------------- */

cb_code cb_az_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_az **out, cb_error *err)
{
    cb_az *az = calloc(1, sizeof(*az));
    cb_code code;

    *out = NULL;
    if (az == NULL)
        return cb_fail_memory(err, sizeof(*az));
    az->ctx = ctx;
    az->http = http;
    code = cb_vault_environment(&az->vault, variables, CB_AZ_VARIABLES_END, az->environment, err);
    if (code == CB_OK)
        code = cb_az_settle(az, place, err);
    if (code == CB_OK)
        code = cb_lease_new(ctx, sizeof(cb_az_auth), fetch, az, &az->lease, err);
    if (code != CB_OK) {
        cb_az_free(az);
        return code;
    }
    *out = az;
    return CB_OK;
}

void cb_az_free(cb_az *az)
{
    if (az == NULL)
        return;
    cb_lease_free(az->lease);
    cb_vault_free(&az->vault);
    free(az);
}

cb_code cb_az_get(cb_az *az, bool refused, cb_az_auth *out, cb_error *err)
{
    return cb_lease_get(az->lease, refused, out, err);
}

void cb_az_source(cb_az *az, char out[CB_AUTH_SOURCE_MAX])
{
    cb_lease_source(az->lease, out);
}

const char *cb_az_account(const cb_az *az)
{
    return az->account;
}

const char *cb_az_endpoint(const cb_az *az)
{
    return az->endpoint;
}
