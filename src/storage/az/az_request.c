/*
 * az_request.c - one request to the Blob service: its URL, how it is signed, what its answer means.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/checksum.h"
#include "codec/mac.h"
#include "storage/az/az_sign.h"

enum { CLOCK_TOLERANCE_MINUTES = 15, MINUTE_US = 60 * 1000000 };

/* ---- URL ------------------------------------------------------------------------------------- */

/* NUL-terminated. */
static cb_code make_url(const cb_az_store *self, const char *key, const cb_pair *query,
                        size_t query_count, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code = cb_buf_format(into, err, "%s/", cb_az_endpoint(self->az));

    if (code == CB_OK)
        code = cb_url_encode(into, self->place.bucket, false, err);
    if (code == CB_OK && key != NULL) {
        code = cb_blob_name(&name, self->place.prefix, key, err);
        if (code == CB_OK)
            code = cb_buf_u8(&name, 0, err);
        if (code == CB_OK)
            code = cb_buf_u8(into, '/', err);
        if (code == CB_OK)
            code = cb_url_encode(into, (const char *)name.data, true, err);
    }
    if (code == CB_OK && query_count > 0)
        code = cb_buf_u8(into, '?', err);
    if (code == CB_OK && query_count > 0)
        code = cb_url_query(into, query, query_count, err);
    return code == CB_OK ? cb_buf_u8(into, 0, err) : code;
}

/* ---- signing --------------------------------------------------------------------------------- */

typedef struct attempt {
    cb_az_store *store;
    const char *copy_source; /* URL without a SAS; NULL */
    bool has_body;
} attempt;

static cb_code sign_shared(const attempt *of, const cb_az_auth *auth,
                           const cb_http_request *request, const char *const *more,
                           cb_http_headers *headers, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    const char *account = cb_az_account(of->store->az);
    cb_az_signing signing = {.account = account,
                             .method = request->method,
                             .url = request->url,
                             .headers = request->headers,
                             .more = more};
    uint8_t mac[CB_HMAC_BYTES];
    char signature[CB_BASE64_SIZE(CB_HMAC_BYTES)];
    cb_code code;

    for (size_t i = 0; i < request->body_parts; i++)
        signing.body_bytes += request->body[i].size;
    code = cb_az_string_to_sign(&signing, &text, err);
    if (code != CB_OK)
        return code;
    cb_hmac_sha256(auth->key, auth->key_size, cb_buf_bytes(&text), mac);
    return cb_http_add(headers, err, "Authorization", "SharedKey %s:%s", account,
                       cb_base64(mac, sizeof(mac), signature));
}

/* The source of a copy is read with the same rights: a SAS is part of its URL too. */
static cb_code copy_source_of(const attempt *of, const cb_az_auth *auth, cb_buf *into,
                              cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "x-ms-copy-source: %s", of->copy_source);

    if (code == CB_OK && auth->how == CB_AZ_SAS)
        code = cb_buf_format(into, err, "%c%s", strchr(of->copy_source, '?') != NULL ? '&' : '?',
                             auth->text);
    return code == CB_OK ? cb_buf_u8(into, 0, err) : code;
}

static void wipe_buf(cb_buf *buf)
{
    if (buf->data != NULL)
        cb_wipe(buf->data, buf->capacity);
    cb_buf_free(buf);
}

static cb_code sign_with(const attempt *of, const cb_az_auth *auth, const cb_http_request *request,
                         cb_http_headers *headers, cb_error *err)
{
    CB_CLEANUP(wipe_buf) cb_buf source = {0};
    char date[CB_AZ_DATE_MAX];
    char date_line[CB_AZ_DATE_MAX + 16];
    const char *more[] = {date_line, "x-ms-version: " CB_AZ_SERVICE_VERSION, NULL, NULL};
    cb_code code = CB_OK;

    cb_az_date(cb_now_us(of->store->ctx), date);
    snprintf(date_line, sizeof(date_line), "x-ms-date: %s", date);
    if (of->copy_source != NULL) {
        code = copy_source_of(of, auth, &source, err);
        more[2] = (const char *)source.data;
    }
    for (size_t i = 0; more[i] != NULL && code == CB_OK; i++) {
        const char *colon = strchr(more[i], ':');
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)(colon - more[i]), more[i]);
        code = cb_http_add(headers, err, name, "%s", colon + 2);
    }
    if (code != CB_OK)
        return code;
    switch (auth->how) {
    case CB_AZ_SHARED_KEY:
        return sign_shared(of, auth, request, more, headers, err);
    case CB_AZ_SAS:
        return cb_http_append_query(headers, auth->text, err);
    case CB_AZ_BEARER:
        return cb_http_add(headers, err, "Authorization", "Bearer %s", auth->text);
    case CB_AZ_ANONYMOUS:
        break;
    }
    return CB_OK;
}

static cb_code sign(void *arg, const cb_http_request *request, bool again, cb_http_headers *headers,
                    cb_error *err)
{
    const attempt *of = arg;
    cb_az_auth auth;
    cb_code code = cb_az_get(of->store->az, again, &auth, err);

    if (code == CB_OK)
        code = sign_with(of, &auth, request, headers, err);
    cb_wipe(&auth, sizeof(auth));
    return code;
}

/* ---- sending --------------------------------------------------------------------------------- */

void cb_az_failure_code(const cb_http_response *response, char out[CB_AZ_CODE_MAX])
{
    const char *code = cb_http_header(response, "x-ms-error-code");

    if (code != NULL)
        snprintf(out, CB_AZ_CODE_MAX, "%s", code);
    else
        cb_az_parse_failure(cb_buf_bytes(&response->body), out);
}

/* Besides what every service means: 401 is an expired token, and bytes that changed on the way are
   a 400, which the emulator calls an invalid operation. */
static cb_http_verdict judge(void *arg, const cb_http_response *response, cb_http_verdict usual)
{
    const attempt *of = arg;
    char code[CB_AZ_CODE_MAX];

    if (response->status == 401)
        return CB_HTTP_REFRESH;
    if (response->status != 400 && response->status != 409)
        return usual;
    cb_az_failure_code(response, code);
    if (strcmp(code, "Md5Mismatch") == 0 || strcmp(code, "PendingCopyOperation") == 0 ||
        (of->has_body && strcmp(code, "InvalidOperation") == 0))
        return CB_HTTP_AGAIN;
    return usual;
}

cb_code cb_az_send(cb_az_store *self, const cb_az_call *call, cb_http_response *response,
                   cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    CB_CLEANUP(cb_buf_free) cb_buf source = {0};
    const cb_pair version = {"versionid", call->copy_version};
    const char *method = call->method != NULL ? call->method : "GET";
    attempt of = {.store = self, .has_body = call->body_parts > 0};
    cb_http_request request = {.method = method,
                               .headers = call->headers,
                               .body = call->body,
                               .body_parts = call->body_parts,
                               .has_body = method[0] == 'P',
                               .sign = sign,
                               .judge = judge,
                               .arg = &of,
                               .into = call->into};
    cb_code code = make_url(self, call->key, call->query, call->query_count, &url, err);

    if (code == CB_OK && call->copy_version != NULL)
        code = make_url(self, call->key, &version, call->copy_version[0] != '\0' ? 1 : 0, &source,
                        err);
    if (code != CB_OK)
        return code;
    of.copy_source = (const char *)source.data;
    request.url = (const char *)url.data;
    request.answer_max = call->answer_max < SIZE_MAX / 2 ? (size_t)call->answer_max : SIZE_MAX / 2;
    return cb_http_send(self->http, &request, response, err);
}

/* ---- failures -------------------------------------------------------------------------------- */

static cb_code fail_container(cb_az_store *self, cb_error *err)
{
    cb_fail(err, CB_NOT_FOUND, "there is no container '%s' at %s", self->place.bucket,
            cb_az_endpoint(self->az));
    err->in_repository = true;
    cb_hint(err, "Check its name, or make it: only restoring a lake makes containers.");
    return err->code;
}

/* How far our clock is from the service's, in minutes; 0 when that is not known. */
static int64_t clock_is_off(const cb_az_store *self, const cb_http_response *response)
{
    int64_t theirs;
    cb_error ignored;

    if (cb_blob_date(response, &theirs, &ignored) != CB_OK)
        return 0;
    return (cb_now_us(self->ctx) - theirs) / MINUTE_US;
}

static cb_code fail_credentials(cb_az_store *self, const cb_http_response *response,
                                const char *doing, const char *what, cb_error *err)
{
    int64_t minutes = clock_is_off(self, response);
    char source[CB_AUTH_SOURCE_MAX];

    cb_az_source(self->az, source);
    cb_fail(err, CB_DENIED, "cannot %s %s: Azure does not accept the credentials (%s)", doing, what,
            source[0] != '\0' ? source : "none were found");
    if (llabs(minutes) >= CLOCK_TOLERANCE_MINUTES)
        cb_hint(err, "The clock of this machine is %lld minutes %s that of Azure: set it right.",
                (long long)llabs(minutes), minutes > 0 ? "ahead of" : "behind");
    else
        cb_hint(err,
                "Look whether the key belongs to the account '%s', and whether the shared "
                "access signature or the token has expired.",
                cb_az_account(self->az));
    return err->code;
}

static cb_code fail_denied(cb_az_store *self, const char *failure, const char *doing,
                           const char *what, cb_error *err)
{
    char source[CB_AUTH_SOURCE_MAX];

    cb_az_source(self->az, source);
    cb_fail(err, CB_DENIED, "cannot %s %s: Azure refused (%s)", doing, what,
            failure[0] != '\0' ? failure : "forbidden");
    if (strstr(failure, "Immutable") != NULL)
        cb_hint(err, "The object is locked; nobody can change it before its time is over.");
    else if (strcmp(failure, "AuthorizationFailure") == 0)
        cb_hint(err,
                "Look whether the key or the shared access signature (%s) belongs to the account "
                "'%s', and whether the firewall of the account lets this machine in.",
                source[0] != '\0' ? source : "none", cb_az_account(self->az));
    else
        cb_hint(err,
                "The credentials (%s) need the role Storage Blob Data Contributor on the "
                "container '%s', or a shared access signature that allows as much; a firewall "
                "of the account may refuse too.",
                source[0] != '\0' ? source : "none", self->place.bucket);
    return err->code;
}

cb_code cb_az_fail_no_locks(cb_az_store *self, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "'%.300s' cannot lock objects", self->place.address);
    cb_hint(err, "The container needs version-level immutability, which is switched on in its "
                 "access policy.");
    return err->code;
}

cb_code cb_az_fail(cb_az_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err)
{
    char failure[CB_AZ_CODE_MAX];
    char what[CB_OBJECT_KEY_MAX + 400];

    cb_az_failure_code(response, failure);
    if (key != NULL)
        snprintf(what, sizeof(what), "'%s' in '%.300s'", key, self->place.address);
    else
        snprintf(what, sizeof(what), "'%.300s'", self->place.address);
    if (strcmp(failure, "ContainerNotFound") == 0 || (response->status == 404 && key == NULL))
        return fail_container(self, err);
    if (response->status == 404)
        return cb_fail(err, CB_NOT_FOUND, "there is no object '%s' in '%.300s'", key,
                       self->place.address);
    if (response->status == 401 || strcmp(failure, "AuthenticationFailed") == 0)
        return fail_credentials(self, response, doing, what, err);
    if (response->status == 403 || strstr(failure, "Immutable") != NULL ||
        strcmp(failure, "PublicAccessNotPermitted") == 0)
        return fail_denied(self, failure, doing, what, err);
    return cb_fail(err, CB_IO, "cannot %s %s: the store answered %u%s%s", doing, what,
                   response->status, failure[0] != '\0' ? ", " : "", failure);
}
