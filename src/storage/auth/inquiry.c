/*
 * inquiry.c - asking services for keys and tokens. What is sent and what comes back are secrets:
 * messages name the service, its address without query, the status and the service's own short
 * word for what is wrong, nothing else.
 */
#include "storage/auth/auth_internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/text.h"
#include "codec/mac.h"

enum { USUAL_TRIES = 4, QUICK_TRIES = 2, REASON_MAX = 64 };
#define USUAL_TIMEOUT_US INT64_C(20000000)
#define QUICK_TIMEOUT_US INT64_C(1000000)

/* ---- addresses ------------------------------------------------------------------------------ */

typedef struct url_parts {
    char scheme[16];
    char host[256]; /* IPv6 without brackets */
} url_parts;

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

static bool copy_part(CURLU *url, CURLUPart which, char *out, size_t size)
{
    char *text = NULL;
    bool fits = curl_url_get(url, which, &text, 0) == CURLUE_OK && strlen(text) < size;

    if (fits)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return fits;
}

/* By libcurl itself, so that we and it never disagree about which host is meant. */
static bool take_apart(const char *text, url_parts *out)
{
    CB_CLEANUP(free_url) CURLU *url = curl_url();
    size_t length;

    if (url == NULL || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        !copy_part(url, CURLUPART_SCHEME, out->scheme, sizeof(out->scheme)) ||
        !copy_part(url, CURLUPART_HOST, out->host, sizeof(out->host)))
        return false;
    length = strlen(out->host);
    if (out->host[0] == '[' && out->host[length - 1] == ']') {
        memmove(out->host, out->host + 1, length - 2);
        out->host[length - 2] = '\0';
    }
    return true;
}

static bool is_loopback_host(const char *host)
{
    struct in_addr four;
    struct in6_addr six;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool cb_url_is_loopback(const char *url)
{
    url_parts parts;

    return take_apart(url, &parts) && is_loopback_host(parts.host);
}

bool cb_url_is_safe(const char *url)
{
    url_parts parts;

    if (!take_apart(url, &parts))
        return false;
    return strcasecmp(parts.scheme, "https") == 0 ||
           (strcasecmp(parts.scheme, "http") == 0 && is_loopback_host(parts.host));
}

bool cb_url_is_container(const char *url)
{
    static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23"};
    url_parts parts;

    if (cb_url_is_safe(url))
        return true;
    if (!take_apart(url, &parts) || strcasecmp(parts.scheme, "http") != 0)
        return false;
    for (size_t i = 0; i < CB_LENGTH(hosts); i++) {
        if (strcasecmp(parts.host, hosts[i]) == 0)
            return true;
    }
    return false;
}

void cb_url_trim(char *url)
{
    size_t length = strlen(url);

    while (length > 0 && url[length - 1] == '/')
        url[--length] = '\0';
}

void cb_url_shown(const char *url, char out[CB_AUTH_URL_MAX])
{
    size_t length = strcspn(url, "?#");
    const char *scheme_end = strstr(url, "://");
    size_t host = scheme_end != NULL ? (size_t)(scheme_end + 3 - url) : 0;
    size_t host_end = host < length ? host + strcspn(url + host, "/?#") : length;
    size_t after_user = host;

    for (size_t i = host; i < host_end; i++) {
        if (url[i] == '@')
            after_user = i + 1;
    }
    snprintf(out, CB_AUTH_URL_MAX, "%.*s%.*s", (int)(host < length ? host : length), url,
             (int)(length > after_user ? length - after_user : 0), url + after_user);
    cb_url_trim(out);
}

static bool is_plain_address(const char *url)
{
    url_parts parts;

    if (!cb_has_prefix(url, "http://") && !cb_has_prefix(url, "https://"))
        return false;
    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7f || strchr("?#@\\\"", *at) != NULL)
            return false;
    }
    return take_apart(url, &parts);
}

cb_code cb_url_endpoint(const char *what, const char *text, char *out, size_t size, cb_error *err)
{
    bool has_scheme = strstr(text, "://") != NULL;
    int length = snprintf(out, size, "%s%s", has_scheme ? "" : "http://", text);

    /* In small letters, so that whoever asks for "http://" finds it. */
    for (size_t i = 0; i < size && out[i] != '\0' && out[i] != ':'; i++)
        out[i] = (char)tolower((unsigned char)out[i]);
    cb_url_trim(out);
    if (length < 0 || (size_t)length >= size || !is_plain_address(out)) {
        out[0] = '\0';
        cb_fail(err, CB_USAGE, "%s is not the address of a server", what);
        cb_hint(err, "Write it as https://host or http://host:port.");
        return err->code;
    }
    return CB_OK;
}

/* ---- requests ------------------------------------------------------------------------------- */

cb_code cb_form_add(cb_buf *form, const char *name, const char *value, cb_error *err)
{
    cb_code code;

    if (value == NULL)
        return CB_OK;
    /* At once more than nearly all values need: what is in there is then not moved. */
    code = cb_buf_reserve(form, 4096 + 3 * strlen(value), err);
    if (code == CB_OK && form->size > 0)
        code = cb_buf_append(form, "&", 1, err);
    if (code == CB_OK)
        code = cb_url_encode(form, name, false, err);
    if (code == CB_OK)
        code = cb_buf_append(form, "=", 1, err);
    return code == CB_OK ? cb_url_encode(form, value, false, err) : code;
}

void cb_answer_wipe(cb_http_response *response)
{
    if (response->body.data != NULL)
        cb_wipe(response->body.data, response->body.capacity);
    cb_http_response_free(response);
}

cb_code cb_inquire(cb_http *http, const cb_inquiry *inquiry, cb_http_response *response,
                   cb_error *err)
{
    int64_t patience = inquiry->is_quick ? QUICK_TIMEOUT_US : USUAL_TIMEOUT_US;
    cb_http_request request = {
        .method = inquiry->method,
        .url = inquiry->url,
        .headers = inquiry->headers,
        .body = &inquiry->body,
        .body_parts = inquiry->body.size > 0 ? 1 : 0,
        .has_body = strcmp(inquiry->method, "GET") != 0,
        .sign = inquiry->sign,
        .arg = inquiry->arg,
        .answer_max = CB_AUTH_FILE_MAX,
        .attempts = inquiry->is_quick ? QUICK_TRIES : USUAL_TRIES,
        .timeout_us = patience,
        .connect_timeout_us = patience,
        .is_direct = inquiry->is_direct,
    };
    cb_code code = cb_http_send(http, &request, response, err);

    return code != CB_OK ? cb_context(err, "%s", inquiry->who) : CB_OK;
}

static void keep_word(const char *reason, char out[REASON_MAX])
{
    size_t used = 0;

    for (; reason != NULL && *reason != '\0' && used + 1 < REASON_MAX; reason++) {
        if (!isalnum((unsigned char)*reason) && strchr("_.-", *reason) == NULL)
            break;
        out[used++] = *reason;
    }
    out[used] = '\0';
}

cb_code cb_inquiry_failed(const cb_inquiry *inquiry, unsigned status, const char *reason,
                          cb_error *err)
{
    cb_code code = status >= 500 || status == 429   ? CB_RETRY
                   : status >= 400 && status <= 499 ? CB_DENIED
                                                    : CB_IO;
    char shown[CB_AUTH_URL_MAX];
    char word[REASON_MAX];

    cb_url_shown(inquiry->url, shown);
    keep_word(reason, word);
    return cb_fail(err, code, "%s at %.300s answered %u%s%s", inquiry->who, shown, status,
                   word[0] != '\0' ? " " : "", word);
}

/* RFC 6749 "error"; Azure's numbers stand at the front of the description and say far more. */
static const char *reason_of(const json_t *answer)
{
    const char *description = cb_json_text(answer, "error_description");
    const char *text = cb_json_text(answer, "error");

    if (description != NULL && cb_has_prefix(description, "AADSTS"))
        return description;
    if (text == NULL)
        text = cb_json_text(json_object_get(answer, "error"), "status"); /* Google's APIs */
    return text != NULL ? text : cb_json_text(answer, "code");
}

cb_code cb_inquire_json(cb_http *http, const cb_inquiry *inquiry, json_t **out, cb_error *err)
{
    CB_CLEANUP(cb_answer_wipe) cb_http_response response = {0};
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    char name[CB_AUTH_SOURCE_MAX];
    cb_error unparsed = {0};
    cb_code code;

    *out = NULL;
    code = cb_inquire(http, inquiry, &response, err);
    if (code != CB_OK)
        return code;
    snprintf(name, sizeof(name), "the answer of %s", inquiry->who);
    code = cb_json_parse(name, cb_buf_bytes(&response.body), &answer, &unparsed);
    if (response.status < 200 || response.status > 299)
        return cb_inquiry_failed(inquiry, response.status, reason_of(answer), err);
    if (code != CB_OK) {
        unparsed.code =
            unparsed.code == CB_USAGE ? CB_IO : unparsed.code; /* not the user's doing */
        *err = unparsed;
        return err->code;
    }
    *out = answer;
    answer = NULL;
    return CB_OK;
}
