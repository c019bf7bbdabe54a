/*
 * gcp_file.c - the credentials that lie in a JSON file, by its field "type".
 */
#include "storage/auth/gcp_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "codec/mac.h"

#define TOKEN_URL "https://oauth2.googleapis.com/token"

cb_code cb_gcp_exchange(cb_gcp *gcp, const char *name, const char *url, const cb_buf *form,
                        char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    cb_inquiry inquiry = {
        .who = "the token service",
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = cb_buf_bytes(form),
    };
    cb_code code;

    if (!cb_url_is_safe(url))
        return cb_fail(err, CB_USAGE, "%s names a token service that is not https", name);
    code = cb_inquire_json(gcp->http, &inquiry, &answer, err);
    if (code == CB_OK)
        code = cb_json_bearer(inquiry.who, answer, cb_now_us(gcp->ctx), token, grant, err);
    return code;
}

/* ---- service accounts ----------------------------------------------------------------------- */

static cb_code add_part(cb_buf *into, json_t *part, cb_error *err)
{
    char *text = part != NULL ? json_dumps(part, JSON_COMPACT) : NULL;
    char *coded = NULL;
    cb_code code = CB_OK;

    if (text != NULL)
        coded = malloc(CB_BASE64_SIZE(strlen(text)));
    if (coded == NULL)
        code = cb_fail_memory(err, 1024);
    else
        code = cb_buf_format(into, err, "%s", cb_base64url(text, strlen(text), coded));
    free(coded);
    free(text);
    json_decref(part);
    return code;
}

/* RFC 7515: the signature is of what was appended from `start` on. */
static cb_code add_signature(const char *name, const char *key, cb_buf *into, size_t start,
                             cb_error *err)
{
    cb_buf signature = {0};
    char coded[CB_BASE64_SIZE(2048)]; /* RSA of 16384 bits */
    cb_code code;

    code = cb_rs256_sign(key, cb_bytes_of(into->data + start, into->size - start), &signature, err);
    if (code == CB_OK && signature.size > 2048)
        code = cb_fail(err, CB_UNSUPPORTED, "its RSA key is too large");
    if (code == CB_OK)
        code = cb_buf_format(into, err, ".%s", cb_base64url(signature.data, signature.size, coded));
    cb_buf_free(&signature);
    return code == CB_OK ? CB_OK : cb_context(err, "field 'private_key' of %s", name);
}

cb_code cb_gcp_jwt(const char *name, const json_t *file, const char *audience, int64_t now_us,
                   cb_buf *into, cb_error *err)
{
    const char *key_id = cb_json_text(file, "private_key_id");
    long long now = (long long)(now_us / 1000000);
    size_t start = into->size;
    const char *email;
    const char *key;
    cb_code code;

    code = cb_json_need(name, file, "client_email", &email, err);
    if (code == CB_OK)
        code = cb_json_need(name, file, "private_key", &key, err);
    if (code == CB_OK)
        code = add_part(
            into, json_pack("{s:s, s:s, s:s*}", "alg", "RS256", "typ", "JWT", "kid", key_id), err);
    if (code == CB_OK)
        code = cb_buf_append(into, ".", 1, err);
    if (code == CB_OK)
        code = add_part(into,
                        json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", email, "scope", CB_GCP_SCOPE,
                                  "aud", audience, "iat", (json_int_t)now, "exp",
                                  (json_int_t)(now + 3600)),
                        err);
    if (code == CB_OK)
        code = add_signature(name, key, into, start, err);
    return code;
}

static cb_code from_service_account(cb_gcp *gcp, const char *name, const json_t *file,
                                    char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf jwt = {.limit = CB_AUTH_FILE_MAX};
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    const char *url = cb_json_text(file, "token_uri");
    cb_code code;

    snprintf(grant->source, sizeof(grant->source), "service account in %.200s", name);
    if (url == NULL)
        url = TOKEN_URL;
    code = cb_gcp_jwt(name, file, url, cb_now_us(gcp->ctx), &jwt, err);
    if (code == CB_OK)
        code = cb_buf_u8(&jwt, 0, err);
    if (code == CB_OK)
        code = cb_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", err);
    if (code == CB_OK)
        code = cb_form_add(&form, "assertion", (const char *)jwt.data, err);
    return code == CB_OK ? cb_gcp_exchange(gcp, name, url, &form, token, grant, err) : code;
}

/* ---- people --------------------------------------------------------------------------------- */

static cb_code from_user(cb_gcp *gcp, const char *name, const json_t *file,
                         char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    static const char *const fields[] = {"client_id", "client_secret", "refresh_token"};
    const char *url = cb_json_text(file, "token_uri");
    cb_code code = cb_form_add(&form, "grant_type", "refresh_token", err);

    snprintf(grant->source, sizeof(grant->source), "user's login in %.200s", name);
    for (size_t i = 0; i < CB_LENGTH(fields) && code == CB_OK; i++) {
        const char *value;

        code = cb_json_need(name, file, fields[i], &value, err);
        if (code == CB_OK)
            code = cb_form_add(&form, fields[i], value, err);
    }
    if (code == CB_OK)
        code = cb_gcp_exchange(gcp, name, url != NULL ? url : TOKEN_URL, &form, token, grant, err);
    if (code == CB_DENIED)
        cb_hint(err, "The login may have ended: gcloud auth application-default login.");
    return code;
}

static cb_code from_impersonated(cb_gcp *gcp, const char *name, const json_t *file,
                                 char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    const json_t *source = json_object_get(file, "source_credentials");
    const char *kind = cb_json_text(source, "type");
    const char *url;
    cb_code code = cb_json_need(name, file, "service_account_impersonation_url", &url, err);

    if (code != CB_OK)
        return code;
    if (kind == NULL || strcmp(kind, "impersonated_service_account") == 0)
        return cb_fail(err, CB_USAGE, "%s has no usable 'source_credentials'", name);
    code = cb_gcp_from_json(gcp, name, source, token, grant, err);
    snprintf(grant->source, sizeof(grant->source), "impersonated account in %.200s", name);
    return code == CB_OK ? cb_gcp_impersonate(gcp, name, url, token, grant, err) : code;
}

cb_code cb_gcp_from_json(cb_gcp *gcp, const char *name, const json_t *file,
                         char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    static const struct {
        const char *type;
        cb_code (*get)(cb_gcp *gcp, const char *name, const json_t *file,
                       char token[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err);
    } kinds[] = {
        {"service_account", from_service_account},
        {"authorized_user", from_user},
        {"external_account", cb_gcp_external},
        {"impersonated_service_account", from_impersonated},
    };
    const char *type;
    cb_code code = cb_json_need(name, file, "type", &type, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < CB_LENGTH(kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0)
            return kinds[i].get(gcp, name, file, token, grant, err);
    }
    cb_fail(err, CB_UNSUPPORTED, "%s holds credentials of a kind that is not known", name);
    cb_hint(err, "Known are service_account, authorized_user, external_account and "
                 "impersonated_service_account.");
    return err->code;
}
