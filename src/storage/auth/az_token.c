/*
 * az_token.c - tokens of Entra ID: for a service principal by its secret or by a federated token,
 * for the machine by its managed identity.
 */
#include "storage/auth/az_internal.h"

#include <stdio.h>

#include "base/text.h"
#include "codec/mac.h"

#define RESOURCE "https://storage.azure.com/"

/* ---- service principals --------------------------------------------------------------------- */

static cb_code principal_form(const cb_az *az, const char *assertion, cb_buf *form, cb_error *err)
{
    const char *secret = assertion == NULL ? az->environment[CB_AZ_CLIENT_SECRET] : NULL;
    cb_code code = cb_form_add(form, "grant_type", "client_credentials", err);

    if (code == CB_OK)
        code = cb_form_add(form, "client_id", az->environment[CB_AZ_CLIENT_ID], err);
    if (code == CB_OK)
        code = cb_form_add(form, "scope", RESOURCE ".default", err);
    if (code == CB_OK)
        code = cb_form_add(form, "client_secret", secret, err);
    if (code == CB_OK && assertion != NULL)
        code = cb_form_add(form, "client_assertion_type",
                           "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", err);
    return code == CB_OK ? cb_form_add(form, "client_assertion", assertion, err) : code;
}

static cb_code principal_url(const cb_az *az, char out[CB_AUTH_URL_MAX], cb_error *err)
{
    const char *host = az->environment[CB_AZ_AUTHORITY_HOST];
    const char *tenant = az->environment[CB_AZ_TENANT_ID];
    char base[512];
    cb_code code;

    for (const char *at = tenant; *at != '\0'; at++) {
        if (strchr("/?#%@ \t\r\n", *at) != NULL)
            return cb_fail(err, CB_USAGE, "AZURE_TENANT_ID is not the id of a tenant");
    }
    code = cb_url_endpoint("AZURE_AUTHORITY_HOST",
                           host != NULL ? host : "https://login.microsoftonline.com", base,
                           sizeof(base), err);
    if (code == CB_OK && !cb_url_is_safe(base))
        code = cb_fail(err, CB_USAGE, "AZURE_AUTHORITY_HOST is not https");
    if (code == CB_OK)
        snprintf(out, CB_AUTH_URL_MAX, "%s/%.200s/oauth2/v2.0/token", base, tenant);
    return code;
}

static cb_code ask_principal(cb_az *az, const char *assertion, cb_az_auth *auth, cb_grant *grant,
                             cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    char url[CB_AUTH_URL_MAX];
    cb_inquiry inquiry = {
        .who = "the token service of Azure",
        .method = "POST",
        .url = url,
        .headers = headers,
    };
    cb_code code = principal_url(az, url, err);

    if (code == CB_OK)
        code = principal_form(az, assertion, &form, err);
    inquiry.body = cb_buf_bytes(&form);
    if (code == CB_OK)
        code = cb_inquire_json(az->http, &inquiry, &answer, err);
    auth->how = CB_AZ_BEARER;
    return code == CB_OK
               ? cb_json_bearer(inquiry.who, answer, cb_now_us(az->ctx), auth->text, grant, err)
               : code;
}

cb_code cb_az_from_principal(cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found,
                             cb_error *err)
{
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    const char *file = az->environment[CB_AZ_FEDERATED_TOKEN_FILE];
    bool has_secret = az->environment[CB_AZ_CLIENT_SECRET] != NULL;
    const char *assertion = NULL;
    cb_code code = CB_OK;

    if (az->environment[CB_AZ_TENANT_ID] == NULL || az->environment[CB_AZ_CLIENT_ID] == NULL ||
        (!has_secret && file == NULL))
        return CB_OK;
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "%s",
             has_secret ? "service principal in the environment" : "workload identity");
    if (!has_secret) /* read anew each time: it rotates */
        code = cb_auth_token_file(&vault, file, &assertion, err);
    if (code == CB_NOT_FOUND)
        code = err->code = CB_DENIED;
    return code == CB_OK ? ask_principal(az, assertion, auth, grant, err) : code;
}

/* ---- managed identity ----------------------------------------------------------------------- */

/* `header` is the one that proves that it is no forged request. *answer NULL: nobody there. */
static cb_code ask_machine(cb_az *az, const char *base_url, const char *version, const char *header,
                           bool may_be_absent, json_t **answer, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {.limit = CB_AUTH_URL_MAX};
    const char *headers[] = {header, NULL};
    cb_inquiry inquiry = {
        .who = "the identity service of this machine",
        .method = "GET",
        .headers = headers,
        .is_direct = true,
        .is_quick = may_be_absent,
    };
    cb_code code;

    *answer = NULL;
    code = cb_buf_format(&url, err, "%s%capi-version=%s&", base_url,
                         strchr(base_url, '?') != NULL ? '&' : '?', version);
    if (code == CB_OK && az->environment[CB_AZ_CLIENT_ID] != NULL) {
        code = cb_buf_append(&url, "client_id=", 10, err);
        if (code == CB_OK)
            code = cb_url_encode(&url, az->environment[CB_AZ_CLIENT_ID], false, err);
        if (code == CB_OK)
            code = cb_buf_append(&url, "&", 1, err);
    }
    if (code == CB_OK)
        code = cb_buf_append(&url, "resource=", 9, err);
    if (code == CB_OK)
        code = cb_url_encode(&url, RESOURCE, false, err);
    if (code == CB_OK)
        code = cb_buf_u8(&url, 0, err);
    if (code != CB_OK)
        return code;
    inquiry.url = (const char *)url.data;
    code = cb_inquire_json(az->http, &inquiry, answer, err);
    if (!may_be_absent || az->has_metadata || code == CB_OK || code == CB_CANCELLED ||
        code == CB_NO_MEMORY)
        return code;
    snprintf(az->metadata, sizeof(az->metadata), code == CB_DENIED ? "it has none" : "no answer");
    return CB_OK;
}

/* Of App Service, Functions and Container Apps, which say where to ask. */
static cb_code ask_app_service(cb_az *az, json_t **answer, cb_error *err)
{
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    char secret[1024];
    const char *header = NULL;
    cb_code code;

    code = cb_auth_copy(secret, sizeof(secret), az->environment[CB_AZ_IDENTITY_HEADER],
                        "IDENTITY_HEADER", err);
    if (code == CB_OK)
        code = cb_vault_format(&vault, &header, err, "X-IDENTITY-HEADER: %s", secret);
    cb_wipe(secret, sizeof(secret));
    if (code == CB_OK)
        code = ask_machine(az, az->environment[CB_AZ_IDENTITY_ENDPOINT], "2019-08-01", header,
                           false, answer, err);
    return code;
}

static cb_code ask_metadata(cb_az *az, json_t **answer, cb_error *err)
{
    const char *host = az->environment[CB_AZ_METADATA_HOST];
    char base[512];
    char url[CB_AUTH_URL_MAX];
    cb_code code =
        cb_url_endpoint("AZURE_POD_IDENTITY_AUTHORITY_HOST",
                        host != NULL ? host : "http://169.254.169.254", base, sizeof(base), err);

    if (code != CB_OK)
        return code;
    snprintf(url, sizeof(url), "%s/metadata/identity/oauth2/token", base);
    return ask_machine(az, url, "2018-02-01", "Metadata: true", true, answer, err);
}

cb_code cb_az_from_machine(cb_az *az, cb_az_auth *auth, cb_grant *grant, bool *found, cb_error *err)
{
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    bool is_app = az->environment[CB_AZ_IDENTITY_ENDPOINT] != NULL &&
                  az->environment[CB_AZ_IDENTITY_HEADER] != NULL;
    cb_code code = is_app ? ask_app_service(az, &answer, err) : ask_metadata(az, &answer, err);
    int64_t end;

    if (code != CB_OK || answer == NULL)
        return code;
    *found = true;
    az->has_metadata = true;
    auth->how = CB_AZ_BEARER;
    snprintf(grant->source, sizeof(grant->source), "managed identity");
    code = cb_json_bearer("the identity service of this machine", answer, cb_now_us(az->ctx),
                          auth->text, grant, err);
    /* App Service says only when it ends, in seconds since 1970. */
    if (json_object_get(answer, "expires_in") == NULL &&
        cb_json_number(answer, "expires_on", &end) && end > 0 && end < INT64_C(1) << 40)
        grant->expires_us = end * 1000000;
    return code;
}
