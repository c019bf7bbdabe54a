/*
 * gcp_external.c - workload identity federation (RFC 8693): a token of somewhere else, from a file
 * or a local service, is exchanged for Google's, and that perhaps for one of a service account.
 */
#include "storage/auth/gcp_internal.h"

#include <stdio.h>

#include "base/text.h"
#include "codec/mac.h"

enum { HEADERS_MAX = 16 };

/* The whole text, or the field of it that "format" names. */
static cb_code take_subject(const char *name, const json_t *source, cb_bytes text, cb_vault *vault,
                            const char **out, cb_error *err)
{
    CB_CLEANUP(cb_json_wipe) json_t *parsed = NULL;
    const json_t *format = json_object_get(source, "format");
    const char *type = cb_json_text(format, "type");
    const char *field;
    const char *token;
    cb_code code;

    if (type == NULL || strcmp(type, "text") == 0) {
        while (text.size > 0 && strchr(" \t\r\n", text.data[text.size - 1]) != NULL)
            text.size--;
        if (text.size == 0 || memchr(text.data, '\0', text.size) != NULL)
            return cb_fail(err, CB_DENIED, "the credential_source of %s gave no token", name);
        return cb_vault_text_n(vault, text.data, text.size, out, err);
    }
    if (strcmp(type, "json") != 0)
        return cb_fail(err, CB_UNSUPPORTED, "the credential_source of %s has an unknown format",
                       name);
    code = cb_json_need(name, format, "subject_token_field_name", &field, err);
    if (code == CB_OK)
        code = cb_json_parse("what the credential_source gave", text, &parsed, err);
    if (code == CB_OK)
        code = cb_json_need("what the credential_source gave", parsed, field, &token, err);
    return code == CB_OK ? cb_vault_text(vault, token, out, err) : code;
}

static cb_code source_headers(const char *name, const json_t *source, cb_vault *vault,
                              const char *headers[HEADERS_MAX + 1], cb_error *err)
{
    size_t used = 0;
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(source, "headers"), key, value)
    {
        char checked[1024];
        cb_code code;

        if (used == HEADERS_MAX || !json_is_string(value) || strpbrk(key, ": \r\n\t") != NULL)
            return cb_fail(err, CB_USAGE, "the headers of credential_source in %s cannot be sent",
                           name);
        code = cb_auth_copy(checked, sizeof(checked), json_string_value(value),
                            "a header of credential_source", err);
        if (code == CB_OK)
            code = cb_vault_format(vault, &headers[used++], err, "%s: %s", key, checked);
        cb_wipe(checked, sizeof(checked));
        if (code != CB_OK)
            return code;
    }
    headers[used] = NULL;
    return CB_OK;
}

static cb_code subject_from_url(cb_gcp *gcp, const char *name, const json_t *source,
                                const char *url, cb_vault *vault, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_answer_wipe) cb_http_response response = {0};
    const char *headers[HEADERS_MAX + 1] = {NULL};
    cb_inquiry inquiry = {
        .who = "the credential_source",
        .method = "GET",
        .url = url,
        .headers = headers,
        /* Those in the clear are of the machine: the metadata of another cloud, a runner. */
        .is_direct = cb_has_prefix(url, "http://"),
    };
    cb_code code = source_headers(name, source, vault, headers, err);

    if (code == CB_OK && !cb_has_prefix(url, "http://") && !cb_has_prefix(url, "https://"))
        code = cb_fail(err, CB_USAGE, "the credential_source of %s has an address that is not http",
                       name);
    if (code == CB_OK)
        code = cb_inquire(gcp->http, &inquiry, &response, err);
    if (code == CB_OK && (response.status < 200 || response.status > 299))
        code = cb_inquiry_failed(&inquiry, response.status, NULL, err);
    if (code == CB_OK)
        code = take_subject(name, source, cb_buf_bytes(&response.body), vault, out, err);
    return code;
}

static cb_code subject(cb_gcp *gcp, const char *name, const json_t *source, cb_vault *vault,
                       const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf text = {0};
    const char *path = cb_json_text(source, "file");
    const char *url = cb_json_text(source, "url");
    cb_code code;

    if (cb_json_text(source, "environment_id") != NULL || (path == NULL && url == NULL)) {
        cb_fail(err, CB_UNSUPPORTED, "the credential_source of %s is neither a file nor an address",
                name);
        cb_hint(err, "Sources 'aws' and 'executable' are not known here.");
        return err->code;
    }
    if (path == NULL)
        return subject_from_url(gcp, name, source, url, vault, out, err);
    code = cb_auth_slurp(path, &text, err);
    if (code == CB_NOT_FOUND)
        code = err->code = CB_DENIED;
    if (code == CB_OK)
        code = take_subject(name, source, cb_buf_bytes(&text), vault, out, err);
    return code;
}

cb_code cb_gcp_impersonate(cb_gcp *gcp, const char *name, const char *url,
                           char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    static const char body[] = "{\"scope\":[\"" CB_GCP_SCOPE "\"],\"lifetime\":\"3600s\"}";
    CB_CLEANUP(cb_buf_wipe) cb_buf bearer = {0};
    const char *headers[] = {"Content-Type: application/json", NULL, NULL};
    cb_inquiry inquiry = {
        .who = "the service that gives tokens of service accounts",
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = cb_bytes_of(body, sizeof(body) - 1),
    };
    const char *fresh;
    const char *expiry;
    cb_code code;

    if (!cb_url_is_safe(url))
        return cb_fail(err, CB_USAGE, "%s names a token service that is not https", name);
    code = cb_buf_format(&bearer, err, "Authorization: Bearer %s", token);
    if (code == CB_OK)
        code = cb_vault_text_n(&vault, bearer.data, bearer.size, &headers[1], err);
    if (code == CB_OK)
        code = cb_inquire_json(gcp->http, &inquiry, &answer, err);
    if (code == CB_OK)
        code = cb_json_need("the answer for a service account", answer, "accessToken", &fresh, err);
    if (code == CB_OK)
        code = cb_json_need("the answer for a service account", answer, "expireTime", &expiry, err);
    if (code == CB_OK && !cb_auth_time(expiry, &grant->expires_us))
        code = cb_fail(err, CB_IO, "the token of a service account ends at no time");
    return code == CB_OK ? cb_auth_copy(token, CB_AUTH_TOKEN_MAX, fresh, "a token", err) : code;
}

static cb_code exchange_form(const json_t *file, const char *name, const char *token,
                             bool impersonates, cb_buf *form, cb_error *err)
{
    const char *audience;
    const char *type;
    cb_code code = cb_json_need(name, file, "audience", &audience, err);

    if (code == CB_OK)
        code = cb_json_need(name, file, "subject_token_type", &type, err);
    if (code == CB_OK)
        code =
            cb_form_add(form, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", err);
    if (code == CB_OK)
        code = cb_form_add(form, "audience", audience, err);
    if (code == CB_OK)
        code = cb_form_add(form, "scope", impersonates ? CB_GCP_SCOPE_CLOUD : CB_GCP_SCOPE, err);
    if (code == CB_OK)
        code = cb_form_add(form, "requested_token_type",
                           "urn:ietf:params:oauth:token-type:access_token", err);
    if (code == CB_OK)
        code = cb_form_add(form, "subject_token_type", type, err);
    return code == CB_OK ? cb_form_add(form, "subject_token", token, err) : code;
}

cb_code cb_gcp_external(cb_gcp *gcp, const char *name, const json_t *file,
                        char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    const char *act_for = cb_json_text(file, "service_account_impersonation_url");
    const char *text;
    const char *url;
    cb_code code;

    snprintf(grant->source, sizeof(grant->source), "external account in %.200s", name);
    code = cb_json_need(name, file, "token_url", &url, err);
    if (code == CB_OK)
        code = subject(gcp, name, json_object_get(file, "credential_source"), &vault, &text, err);
    if (code == CB_OK)
        code = exchange_form(file, name, text, act_for != NULL, &form, err);
    if (code == CB_OK)
        code = cb_gcp_exchange(gcp, name, url, &form, token, grant, err);
    if (code == CB_OK && act_for != NULL)
        code = cb_gcp_impersonate(gcp, name, act_for, token, grant, err);
    return code;
}
