/*
 * gs_request.c - one request to Google Cloud Storage: its URL, its token, what its answer means.
 */
#include "storage/gs/gs_internal.h"

#include <stdio.h>

#include "codec/mac.h"

/* ---- URL ------------------------------------------------------------------------------------- */

/* "/o/NAME", all but unreserved characters encoded: a slash in a name is none in the path. */
static cb_code append_object(const cb_gs_store *self, const char *key, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code = cb_blob_name(&name, self->place.prefix, key, err);

    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    if (code == CB_OK)
        code = cb_buf_format(into, err, "/o/");
    if (code == CB_OK)
        code = cb_url_encode(into, (const char *)name.data, false, err);
    return code;
}

static cb_code append_bucket(const cb_gs_store *self, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "/b/");

    return code == CB_OK ? cb_url_encode(into, self->place.bucket, false, err) : code;
}

static cb_code append_path(const cb_gs_store *self, cb_gs_path path, const char *key, cb_buf *into,
                           cb_error *err)
{
    cb_code code = append_bucket(self, into, err);

    if (code != CB_OK)
        return code;
    switch (path) {
    case CB_GS_BUCKET:
        break;
    case CB_GS_OBJECTS:
    case CB_GS_UPLOAD:
        code = cb_buf_format(into, err, "/o");
        break;
    case CB_GS_OBJECT:
        code = append_object(self, key, into, err);
        break;
    case CB_GS_REWRITE:
        code = append_object(self, key, into, err);
        if (code == CB_OK)
            code = cb_buf_format(into, err, "/rewriteTo");
        if (code == CB_OK)
            code = append_bucket(self, into, err);
        if (code == CB_OK)
            code = append_object(self, key, into, err);
        break;
    }
    return code;
}

cb_code cb_gs_url(const cb_gs_store *self, cb_gs_path path, const char *key, const cb_pair *query,
                  size_t query_count, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "%s%s/storage/v1", cb_gcp_endpoint(self->gcp),
                                 path == CB_GS_UPLOAD ? "/upload" : "");

    if (code == CB_OK)
        code = append_path(self, path, key, into, err);
    if (code == CB_OK && query_count > 0)
        code = cb_buf_u8(into, '?', err);
    if (code == CB_OK && query_count > 0)
        code = cb_url_query(into, query, query_count, err);
    return code == CB_OK ? cb_buf_u8(into, 0, err) : code;
}

/* ---- sending --------------------------------------------------------------------------------- */

static cb_code sign(void *arg, const cb_http_request *request, bool again, cb_http_headers *headers,
                    cb_error *err)
{
    cb_gs_store *self = arg;
    char token[CB_AUTH_TOKEN_MAX];
    cb_code code = cb_gcp_token(self->gcp, again, token, err);

    (void)request;
    if (code == CB_OK && token[0] != '\0')
        code = cb_http_add(headers, err, "Authorization", "Bearer %s", token);
    cb_wipe(token, sizeof(token));
    return code;
}

/*
 * Besides what every service means: an expired token is 401; too many requests may be a 403 with a
 * reason; 409 is a race of two changes; bytes that changed on the way are a 400.
 */
static cb_http_verdict judge(void *arg, const cb_http_response *response, cb_http_verdict usual)
{
    cb_gs_refusal refusal;

    (void)arg;
    if (response->status == 401)
        return CB_HTTP_REFRESH;
    if (response->status == 409)
        return CB_HTTP_AGAIN;
    if (response->status != 403 && response->status != 400)
        return usual;
    cb_gs_parse_refusal(cb_buf_bytes(&response->body), &refusal);
    if (response->status == 400)
        return strstr(refusal.message, "match calculated CRC32C") != NULL ? CB_HTTP_AGAIN : usual;
    if (strcmp(refusal.reason, "rateLimitExceeded") == 0 ||
        strcmp(refusal.reason, "userRateLimitExceeded") == 0)
        return CB_HTTP_AGAIN;
    return usual;
}

cb_code cb_gs_send(cb_gs_store *self, const cb_gs_call *call, cb_http_response *response,
                   cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    const char *method = call->method != NULL ? call->method : "GET";
    cb_http_request request = {.method = method,
                               .headers = call->headers,
                               .body = call->body,
                               .body_parts = call->body_parts,
                               .has_body = method[0] == 'P',
                               .sign = sign,
                               .judge = judge,
                               .arg = self,
                               .into = call->into};
    cb_code code =
        cb_gs_url(self, call->path, call->key, call->query, call->query_count, &url, err);

    if (code != CB_OK)
        return code;
    request.url = (const char *)url.data;
    request.answer_max = call->answer_max < SIZE_MAX / 2 ? (size_t)call->answer_max : SIZE_MAX / 2;
    return cb_http_send(self->http, &request, response, err);
}

/* ---- failures -------------------------------------------------------------------------------- */

static cb_code fail_denied(cb_gs_store *self, const cb_gs_refusal *refusal, const char *doing,
                           const char *what, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf said = {0};
    char source[CB_AUTH_SOURCE_MAX];
    cb_code code = cb_blob_quote(&said, refusal->message, err);

    if (code != CB_OK)
        return code;
    cb_gcp_source(self->gcp, source);
    cb_fail(err, CB_DENIED, "cannot %s %s: Google refused: %.*s", doing, what,
            said.size > 0 ? (int)said.size : 6, said.size > 0 ? (const char *)said.data : "denied");
    if (strstr(refusal->reason, "etention") != NULL || strstr(refusal->message, "etention") != NULL)
        cb_hint(err, "The object is locked; nobody can change it before its time is over.");
    else
        cb_hint(err,
                "The credentials (%s) need the role Storage Object User on the bucket '%s'; a host "
                "that only adds backups needs Storage Object Creator and Viewer.",
                source[0] != '\0' ? source : "none", self->place.bucket);
    return err->code;
}

static cb_code fail_unknown(cb_gs_store *self, const char *doing, const char *what, cb_error *err)
{
    char source[CB_AUTH_SOURCE_MAX];

    cb_gcp_source(self->gcp, source);
    cb_fail(err, CB_DENIED, "cannot %s %s: Google does not accept the credentials (%s)", doing,
            what, source[0] != '\0' ? source : "none were found");
    cb_hint(err, "Log in with 'gcloud auth application-default login', or let "
                 "GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account.");
    return err->code;
}

static cb_code fail_no_bucket(cb_gs_store *self, cb_error *err)
{
    cb_fail(err, CB_NOT_FOUND, "there is no bucket '%s' at %s", self->place.bucket,
            cb_gcp_endpoint(self->gcp));
    err->in_repository = true;
    cb_hint(err, "Check its name, or make it: buckets are never made by canvasback.");
    return err->code;
}

cb_code cb_gs_fail_no_locks(cb_gs_store *self, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "'%.300s' cannot lock objects", self->place.address);
    cb_hint(err, "Object retention is enabled when a bucket is made.");
    return err->code;
}

static cb_code fail_otherwise(const cb_http_response *response, const cb_gs_refusal *refusal,
                              const char *doing, const char *what, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf said = {0};
    cb_code code = cb_blob_quote(&said, refusal->message, err);

    if (code != CB_OK)
        return code;
    return cb_fail(err, CB_IO, "cannot %s %s: the store answered %u%s%.*s", doing, what,
                   response->status, said.size > 0 ? ": " : "", (int)said.size,
                   said.size > 0 ? (const char *)said.data : "");
}

cb_code cb_gs_fail(cb_gs_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err)
{
    char what[CB_OBJECT_KEY_MAX + 400];
    cb_gs_refusal refusal;

    cb_gs_parse_refusal(cb_buf_bytes(&response->body), &refusal);
    if (key != NULL)
        snprintf(what, sizeof(what), "'%s' in '%.300s'", key, self->place.address);
    else
        snprintf(what, sizeof(what), "'%.300s'", self->place.address);
    if (response->status == 401)
        return fail_unknown(self, doing, what, err);
    if (response->status == 403)
        return fail_denied(self, &refusal, doing, what, err);
    if (response->status == 404 &&
        (key == NULL || strstr(refusal.message, "bucket does not exist")))
        return fail_no_bucket(self, err);
    if (response->status == 404)
        return cb_fail(err, CB_NOT_FOUND, "there is no object '%s' in '%.300s'", key,
                       self->place.address);
    return fail_otherwise(response, &refusal, doing, what, err);
}
