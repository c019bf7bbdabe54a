/*
 * http.h - requests to object stores: one libcurl multi handle, driven by one thread of its own;
 * connections are kept and shared by all callers. Calls block; any thread may make them.
 *
 * A request is sent again, up to its limit, after transport errors and answers that say "later"
 * (408, 429, 500, 502, 503, 504, and what `judge` adds), with exponential back-off, full jitter and
 * Retry-After honoured. Bodies lie in memory, so that they can be sent again. Redirects are not
 * followed. Proxies and certificates: libcurl's own conventions (https_proxy, no_proxy,
 * CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR), and AWS_CA_BUNDLE.
 *
 * No header, URL query or body is ever put into a message: they may hold secrets.
 */
#ifndef CB_STORAGE_HTTP_HTTP_H
#define CB_STORAGE_HTTP_HTTP_H

#include "storage/storage.h"

typedef struct cb_http cb_http;

typedef struct cb_http_settings {
    uint64_t upload_bytes_per_second, download_bytes_per_second; /* over all requests; 0 no limit */
    unsigned connections_max;                                    /* 0: 32 */
    int64_t stall_us; /* give an attempt up after that long without a byte; 0: 60 s */
} cb_http_settings;

CB_MUST_USE cb_code cb_http_new(cb_ctx *ctx, const cb_http_settings *settings, cb_http **out,
                                cb_error *err);
void cb_http_free(cb_http *http); /* NULL is allowed; no request may be under way */
void cb_http_traffic(cb_http *http, cb_traffic *out);

typedef struct cb_http_request cb_http_request;
typedef struct cb_http_response cb_http_response;

/* Headers of one attempt, added by `sign`. */
typedef struct cb_http_headers cb_http_headers;
CB_MUST_USE cb_code cb_http_add(cb_http_headers *headers, cb_error *err, const char *name,
                                const char *format, ...) CB_PRINTF(4, 5);
/* Let libcurl sign this attempt: provider as CURLOPT_AWS_SIGV4 wants it. Copied. */
CB_MUST_USE cb_code cb_http_sigv4(cb_http_headers *headers, const char *provider,
                                  const char *access_key, const char *secret, cb_error *err);
/* Append to this attempt's URL ("&sig=..."): a SAS token. Copied. */
CB_MUST_USE cb_code cb_http_append_query(cb_http_headers *headers, const char *query,
                                         cb_error *err);

/* Before every attempt, by the calling thread. `again`: the last one was answered with
   CB_HTTP_REFRESH, so that credentials must be renewed. */
typedef cb_code cb_http_sign(void *arg, const cb_http_request *request, bool again,
                             cb_http_headers *headers, cb_error *err);

typedef enum cb_http_verdict {
    CB_HTTP_DONE,    /* the caller understands this answer */
    CB_HTTP_AGAIN,   /* later */
    CB_HTTP_REFRESH, /* credentials expired: renew them and send again, once */
} cb_http_verdict;

/* Look at an answer; `usual` is what the status alone says. */
typedef cb_http_verdict cb_http_judge(void *arg, const cb_http_response *response,
                                      cb_http_verdict usual);

struct cb_http_request {
    const char *method;
    const char *url;            /* canonical: percent-encoded, query sorted, no fragment */
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    const cb_bytes *body;       /* parts, sent one after another; borrowed for the call */
    size_t body_parts;
    bool has_body;        /* send "Content-Length: 0" even when there are no parts (PUT, POST) */
    cb_http_sign *sign;   /* may be NULL */
    cb_http_judge *judge; /* may be NULL */
    void *arg;            /* of sign and judge */
    size_t answer_max;    /* a longer body of a 2xx answer is CB_TOO_LARGE; 0: 64 MiB */
    cb_buf *into;         /* where the body of a 2xx answer is appended; NULL: response->body */
    unsigned attempts;    /* 0: 7, 10 once any server has answered, 2 while it is away */
    int64_t timeout_us;   /* for the whole attempt; 0: none but the stall limit */
    int64_t connect_timeout_us; /* 0: 10 s */
    bool is_direct;  /* past any proxy: metadata services, which only this machine can reach */
    bool is_tidying; /* sent though all was cancelled, to clear up after it: give few attempts and a
                        timeout */
};

struct cb_http_response {
    unsigned status;
    cb_buf body; /* of answers other than 2xx, and of all when `into` is NULL */
    cb_arena arena;
    cb_pair *headers; /* names in lower case */
    size_t header_count;
    unsigned attempts; /* how many were made */
    bool repeated;     /* an earlier attempt may have been carried out unseen: a 412 for a create
                          may be our own doing */
};

/*
 * Zero-initialise *response; free it with cb_http_response_free whatever comes back.
 * Returns CB_OK for any answer that is not to be repeated, whatever its status. Errors: CB_RETRY
 * (attempts are spent; the message says what the last one met), CB_DENIED (certificate, proxy
 * refused), CB_TOO_LARGE, CB_CANCELLED, CB_IO, and those of sign.
 */
CB_MUST_USE cb_code cb_http_send(cb_http *http, const cb_http_request *request,
                                 cb_http_response *response, cb_error *err);
void cb_http_response_free(cb_http_response *response);
/* NULL when there is none; `name` in lower case. */
const char *cb_http_header(const cb_http_response *response, const char *name);

/* Append `text` percent-encoded: all bytes but A-Z a-z 0-9 - _ . ~, and '/' where `keep_slash`. */
CB_MUST_USE cb_code cb_url_encode(cb_buf *into, const char *text, bool keep_slash, cb_error *err);
/* Append "name=value" pairs, sorted by encoded name as signatures want it, joined by '&'. */
CB_MUST_USE cb_code cb_url_query(cb_buf *into, const cb_pair *pairs, size_t count, cb_error *err);
/* In place; false when a '%' is followed by anything but two hex digits, or hides a NUL. */
CB_MUST_USE bool cb_url_decode(char *text);

/* "Sat, 21 Nov 2026 11:04:31 GMT", and ISO 8601 as listings have it. False: neither. */
CB_MUST_USE bool cb_http_time(const char *text, int64_t *out_us);

#endif
