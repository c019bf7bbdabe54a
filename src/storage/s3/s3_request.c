/*
 * s3_request.c - one request: where it goes, who signs it, and what its answer is worth.
 *
 * URLs are spelt as the signature wants them (http/url.c), so that libcurl signs what it sends.
 * The hash of the body is always given by us: small bodies, and all over a foreign network without
 * TLS, by their SHA-256. Large ones are left unsigned where nobody can change them on the way;
 * their CRC64, which is signed, guards against accidents. (A third of the work of an upload is
 * saved.)
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "codec/hash.h"

enum { HEADERS_MAX = 16, HASH_HEADER_MAX = 96, UNSIGNED_FROM = 1 << 20, MOVES_MAX = 2 };

/* ---- where ---------------------------------------------------------------------------------- */

static const char *region_of(cb_s3_store *self, char out[64])
{
    pthread_mutex_lock(&self->lock);
    memcpy(out, self->region, sizeof(self->region));
    pthread_mutex_unlock(&self->lock);
    return out;
}

static cb_code append_path(const cb_s3_store *self, const char *key, cb_buf *into, cb_error *err)
{
    cb_code code = CB_OK;

    if (key == NULL)
        return CB_OK;
    if (self->place.prefix[0] != '\0') {
        code = cb_url_encode(into, self->place.prefix, true, err);
        if (code == CB_OK)
            code = cb_buf_u8(into, '/', err);
    }
    return code == CB_OK ? cb_url_encode(into, key, true, err) : code;
}

static cb_code append_host(const cb_s3_store *self, const char *region, cb_buf *into, cb_error *err)
{
    const char *bucket = self->place.bucket;
    const char *end = cb_has_prefix(region, "cn-") ? ".cn" : "";
    const char *host = strstr(self->endpoint, "://");

    if (self->is_amazon && self->path_style)
        return cb_buf_format(into, err, "https://s3.%s.amazonaws.com%s/%s/", region, end, bucket);
    if (self->is_amazon)
        return cb_buf_format(into, err, "https://%s.s3.%s.amazonaws.com%s/", bucket, region, end);
    if (self->path_style || host == NULL)
        return cb_buf_format(into, err, "%s/%s/", self->endpoint, bucket);
    return cb_buf_format(into, err, "%.*s://%s.%s/", (int)(host - self->endpoint), self->endpoint,
                         bucket, host + 3);
}

static cb_code make_url(cb_s3_store *self, const cb_s3_call *call, const char *region, cb_buf *into,
                        cb_error *err)
{
    cb_code code = append_host(self, region, into, err);

    if (code == CB_OK)
        code = append_path(self, call->key, into, err);
    if (code == CB_OK && call->query_count > 0)
        code = cb_buf_u8(into, '?', err);
    if (code == CB_OK && call->query_count > 0)
        code = cb_url_query(into, call->query, call->query_count, err);
    if (code == CB_OK)
        code = cb_buf_u8(into, 0, err);
    return code;
}

cb_code cb_s3_source(const cb_s3_store *self, const char *key, const char *version, cb_buf *into,
                     cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "/%s/", self->place.bucket);

    if (code == CB_OK)
        code = append_path(self, key, into, err);
    if (code == CB_OK)
        code = cb_buf_format(into, err, "?versionId=");
    if (code == CB_OK)
        code = cb_url_encode(into, version, false, err);
    return code;
}

/* ---- who ------------------------------------------------------------------------------------ */

typedef struct attempt {
    cb_s3_store *store;
    const cb_s3_call *call;
    const char *region;
} attempt;

static cb_code sign(void *arg, const cb_http_request *request, bool again, cb_http_headers *headers,
                    cb_error *err)
{
    const attempt *self = arg;
    char provider[128];
    cb_aws_keys keys = {0};
    cb_code code = cb_aws_keys_get(self->store->aws, again, &keys, err);

    (void)request;
    snprintf(provider, sizeof(provider), "aws:amz:%s:s3", self->region);
    if (code == CB_OK && !keys.anonymous) {
        if (keys.token[0] != '\0')
            code = cb_http_add(headers, err, "x-amz-security-token", "%s", keys.token);
        if (code == CB_OK)
            code = cb_http_sigv4(headers, provider, keys.access_key, keys.secret, err);
    }
    explicit_bzero(&keys, sizeof(keys));
    return code;
}

/* Is there nobody between us and the server who could change a body? */
static bool is_safe_on_the_way(const char *url)
{
    const char *host = url + strlen("http://");

    if (cb_has_prefix(url, "https://"))
        return true;
    if (cb_has_prefix(host, "localhost"))
        host += strlen("localhost");
    else if (cb_has_prefix(host, "[::1]"))
        host += strlen("[::1]");
    else if (cb_has_prefix(host, "127."))
        host += strspn(host, "0123456789.");
    else
        return false;
    return *host == ':' || *host == '/';
}

static void add_body_hash(const cb_s3_call *call, const char *url, char out[HASH_HEADER_MAX])
{
    uint64_t size = 0;
    cb_hash hash;
    cb_error err;
    cb_hasher *hasher;
    char hex[2 * CB_HASH_BYTES + 1];

    for (size_t i = 0; i < call->body_parts; i++)
        size += call->body[i].size;
    snprintf(out, HASH_HEADER_MAX, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    if (size >= UNSIGNED_FROM && is_safe_on_the_way(url))
        return;
    if (cb_hasher_new(&hasher, &err) != CB_OK)
        return;
    for (size_t i = 0; i < call->body_parts; i++)
        cb_hasher_step(hasher, call->body[i]);
    cb_hasher_end(hasher, &hash);
    cb_hasher_free(hasher);
    cb_hex(hash.bytes, CB_HASH_BYTES, hex);
    snprintf(out, HASH_HEADER_MAX, "x-amz-content-sha256: %s", hex);
}

const char *cb_s3_body_sum(cb_bytes body, char out[CB_S3_SUM_HEADER_MAX])
{
    uint8_t md5[CB_MD5_BYTES];
    cb_hash hash;
    char text[CB_BASE64_SIZE(CB_HASH_BYTES)];

    if (cb_md5(body, md5)) {
        snprintf(out, CB_S3_SUM_HEADER_MAX, "Content-MD5: %s", cb_base64(md5, sizeof(md5), text));
        return out;
    }
    cb_sha256(body, &hash);
    snprintf(out, CB_S3_SUM_HEADER_MAX, "x-amz-checksum-sha256: %s",
             cb_base64(hash.bytes, CB_HASH_BYTES, text));
    return out;
}

/* ---- what it is worth ----------------------------------------------------------------------- */

static bool is_one_of(const char *code, const char *const *codes)
{
    for (; *codes != NULL; codes++)
        if (strcmp(code, *codes) == 0)
            return true;
    return false;
}

bool cb_s3_is_code(const cb_http_response *response, const char *code)
{
    cb_s3_failure failure;

    return cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure) &&
           strcmp(failure.code, code) == 0;
}

static cb_http_verdict judge(void *arg, const cb_http_response *response, cb_http_verdict usual)
{
    /* Passing troubles, and bytes that were not the same when they arrived. */
    static const char *const again[] = {"RequestTimeout",
                                        "SlowDown",
                                        "SlowDownRead",
                                        "SlowDownWrite",
                                        "InternalError",
                                        "ServiceUnavailable",
                                        "Throttling",
                                        "ThrottlingException",
                                        "RequestLimitExceeded",
                                        "BandwidthLimitExceeded",
                                        "TooManyRequests",
                                        "ConditionalRequestConflict",
                                        "OperationAborted",
                                        "IncompleteBody",
                                        "BadDigest",
                                        "XAmzContentChecksumMismatch",
                                        "XAmzContentSHA256Mismatch",
                                        NULL};
    static const char *const expired[] = {"ExpiredToken", "ExpiredTokenException", "InvalidToken",
                                          "TokenRefreshRequired", NULL};
    const attempt *self = arg;
    cb_s3_failure failure;

    if (cb_s3_is_success(response) && !self->call->may_lie)
        return usual;
    /* An answer to HEAD has no body to tell why; 400 is how an expired token looks there. */
    if (response->status == 400 && self->call->method != NULL &&
        strcmp(self->call->method, "HEAD") == 0)
        return CB_HTTP_REFRESH;
    if (!cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure))
        return usual;
    if (is_one_of(failure.code, again))
        return CB_HTTP_AGAIN;
    return is_one_of(failure.code, expired) ? CB_HTTP_REFRESH : usual;
}

/* Every answer tells the time. Seconds are cut off in it, so of several the latest is nearest; a
   clock that was put back shows by more than that. */
static void learn_clock(cb_s3_store *self, const cb_http_response *response)
{
    const char *text = cb_http_header(response, "date");
    int64_t mono = cb_monotonic_us();
    int64_t date;

    if (text == NULL || !cb_http_time(text, &date))
        return;
    pthread_mutex_lock(&self->lock);
    if (self->clock_asked_us == 0 || date - mono > self->clock_offset_us ||
        date - mono < self->clock_offset_us - 2000000)
        self->clock_offset_us = date - mono;
    self->clock_asked_us = mono;
    pthread_mutex_unlock(&self->lock);
}

/* Is the bucket in another region than we thought? Then remember it. */
static bool learn_region(cb_s3_store *self, const char *used, const cb_http_response *response)
{
    const char *region = cb_http_header(response, "x-amz-bucket-region");
    cb_s3_failure failure;

    if (cb_s3_is_success(response) || response->status == 404 || response->status == 412)
        return false;
    if (region == NULL && cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure))
        region = failure.region;
    if (region == NULL || region[0] == '\0' || strlen(region) >= sizeof(self->region) ||
        strcmp(region, used) == 0 ||
        region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return false;
    pthread_mutex_lock(&self->lock);
    memcpy(self->region, region, strlen(region) + 1);
    pthread_mutex_unlock(&self->lock);
    return true;
}

/* ---- sending -------------------------------------------------------------------------------- */

static cb_code send_to(cb_s3_store *self, const cb_s3_call *call, const char *region,
                       cb_http_response *response, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    char hash[HASH_HEADER_MAX];
    const char *headers[HEADERS_MAX + 2] = {hash};
    attempt arg = {self, call, region};
    cb_http_request request = {.method = call->method != NULL ? call->method : "GET",
                               .headers = headers,
                               .body = call->body,
                               .body_parts = call->body_parts,
                               .has_body = call->has_body,
                               .sign = sign,
                               .judge = judge,
                               .arg = &arg,
                               .answer_max = call->answer_max,
                               .into = call->into,
                               .attempts = call->attempts,
                               .is_tidying = call->is_tidying,
                               .timeout_us = call->is_tidying ? 5000000 : 0};
    cb_code code = make_url(self, call, region, &url, err);

    if (code != CB_OK)
        return code;
    request.url = (const char *)url.data;
    for (size_t i = 0; call->headers != NULL && call->headers[i] != NULL; i++) {
        if (i == HEADERS_MAX)
            return cb_fail(err, CB_INTERNAL, "too many headers in a request");
        headers[i + 1] = call->headers[i];
    }
    add_body_hash(call, request.url, hash);
    return cb_http_send(self->http, &request, response, err);
}

/* The number of the last answer is known already; what the store said to it helps people more. */
static cb_code explain_spent(const cb_http_response *response, cb_error *err)
{
    cb_s3_failure failure;

    if (err->code == CB_RETRY && cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure))
        return cb_context(err, "%s (%s)", failure.code, failure.message);
    return err->code;
}

cb_code cb_s3_send(cb_s3_store *self, const cb_s3_call *call, cb_http_response *response,
                   cb_error *err)
{
    char region[64];

    for (int moves = 0;; moves++) {
        cb_code code = send_to(self, call, region_of(self, region), response, err);

        learn_clock(self, response);
        if (code != CB_OK)
            return explain_spent(response, err);
        if (moves < MOVES_MAX && learn_region(self, region, response)) {
            cb_http_response_free(response);
            continue;
        }
        if (call->may_lie && cb_s3_is_success(response)) {
            cb_s3_failure failure;

            if (cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure))
                response->status = 500;
        }
        return CB_OK;
    }
}
