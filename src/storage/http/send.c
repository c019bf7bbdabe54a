/*
 * send.c - a request until it has an answer: signed anew for each attempt, sent again while there
 * is hope, with waits that double and are drawn at random below that, so that many who met the same
 * trouble do not come back together.
 */
#include "storage/http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

/* A server that was there comes back: about a minute of waits. One that never answered is more
   likely a wrong address: some ten seconds. Once someone has waited in vain, others need not. */
enum {
    ATTEMPTS_AFTER_ANSWER = 10,
    ATTEMPTS_BEFORE_ANSWER = 7,
    ATTEMPTS_WHILE_AWAY = 2,
    HOST_MAX = 300,
};

#define WAIT_FIRST_US INT64_C(200000)   /* after a transport error; doubles */
#define WAIT_BUSY_US  INT64_C(500000)   /* after an answer that says "later" */
#define WAIT_MOST_US  INT64_C(20000000) /* of our own */
#define WAIT_ASKED_US                                                                              \
    INT64_C(300000000) /* of Retry-After; a server that asks for more gets no more */
#define TELL_EVERY_US INT64_C(60000000)

/* ---- headers -------------------------------------------------------------------------------- */

static cb_code append_line(cb_http_headers *headers, const char *line, cb_error *err)
{
    struct curl_slist *list;

    if (strpbrk(line, "\r\n") != NULL)
        return cb_fail(err, CB_INTERNAL, "a header with a line break in it");
    list = curl_slist_append(headers->list, line);
    if (list == NULL)
        return cb_fail_memory(err, strlen(line));
    headers->list = list;
    return CB_OK;
}

cb_code cb_http_add(cb_http_headers *headers, cb_error *err, const char *name, const char *format,
                    ...)
{
    CB_CLEANUP(cb_buf_free) cb_buf line = {0};
    va_list args;
    va_list again;
    int length;
    cb_code code = cb_buf_format(&line, err, "%s: ", name);

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (code == CB_OK && length < 0)
        code = cb_fail(err, CB_INTERNAL, "a header cannot be formatted");
    if (code == CB_OK)
        code = cb_buf_reserve(&line, (size_t)length + 1, err);
    if (code == CB_OK) {
        vsnprintf((char *)line.data + line.size, (size_t)length + 1, format, again);
        code = append_line(headers, (const char *)line.data, err);
        explicit_bzero(line.data, line.capacity);
    }
    va_end(again);
    return code;
}

cb_code cb_http_sigv4(cb_http_headers *headers, const char *provider, const char *access_key,
                      const char *secret, cb_error *err)
{
    if (strlen(provider) >= sizeof(headers->provider) ||
        strlen(access_key) >= sizeof(headers->access_key) ||
        strlen(secret) >= sizeof(headers->secret))
        return cb_fail(err, CB_USAGE, "a key to sign requests with is too long");
    memcpy(headers->provider, provider, strlen(provider) + 1);
    memcpy(headers->access_key, access_key, strlen(access_key) + 1);
    memcpy(headers->secret, secret, strlen(secret) + 1);
    return CB_OK;
}

cb_code cb_http_append_query(cb_http_headers *headers, const char *query, cb_error *err)
{
    while (*query == '?' || *query == '&')
        query++;
    return cb_buf_append(&headers->query, query, strlen(query), err);
}

void cb_http_headers_free(cb_http_headers *headers)
{
    for (struct curl_slist *at = headers->list; at != NULL; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(headers->list);
    if (headers->query.data != NULL)
        explicit_bzero(headers->query.data, headers->query.capacity);
    cb_buf_free(&headers->query);
    explicit_bzero(headers, sizeof(*headers));
}

const char *cb_http_header(const cb_http_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (strcmp(response->headers[i].key, name) == 0)
            return response->headers[i].value;
    return NULL;
}

void cb_http_response_free(cb_http_response *response)
{
    cb_buf_free(&response->body);
    cb_arena_free(&response->arena);
    free(response->headers);
    memset(response, 0, sizeof(*response));
}

/* ---- what happened -------------------------------------------------------------------------- */

/* "host:port" of a URL: that much of it is no secret. */
static const char *host_of(const char *url, char out[HOST_MAX])
{
    const char *begin = strstr(url, "://");
    size_t size;

    begin = begin != NULL ? begin + 3 : url;
    size = strcspn(begin, "/?#");
    if (size >= HOST_MAX)
        size = HOST_MAX - 1;
    memcpy(out, begin, size);
    out[size] = '\0';
    return out;
}

typedef enum outcome { ANSWERED, PASSING, REFUSED, BROKEN, GIVEN_UP } outcome;

static outcome outcome_of(CURLcode result)
{
    switch ((int)result) {
    case CURLE_OK:
        return ANSWERED;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_UPLOAD_FAILED:
    case CURLE_AGAIN:
        return PASSING;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_PROXY:
    case CURLE_LOGIN_DENIED:
        return REFUSED;
    case CURLE_ABORTED_BY_CALLBACK:
        return GIVEN_UP;
    default:
        return BROKEN;
    }
}

static const char *reason_of(const cb_transfer *transfer, char out[CURL_ERROR_SIZE])
{
    if (transfer->is_stalled)
        snprintf(out, CURL_ERROR_SIZE, "no byte has moved for %lld s",
                 (long long)(transfer->http->settings.stall_us / 1000000));
    else
        snprintf(out, CURL_ERROR_SIZE, "%s",
                 transfer->problem[0] != '\0' ? transfer->problem
                                              : curl_easy_strerror(transfer->result));
    return out;
}

static cb_code fail_refused(const cb_transfer *transfer, const char *host, const char *reason,
                            cb_error *err)
{
    if (transfer->result == CURLE_PROXY || transfer->result == CURLE_LOGIN_DENIED) {
        cb_fail(err, CB_DENIED, "the proxy before %s refuses: %s", host, reason);
        cb_hint(err, "Look at https_proxy, http_proxy and no_proxy in the environment.");
        return err->code;
    }
    cb_fail(err, CB_DENIED, "the connection to %s is not trusted: %s", host, reason);
    cb_hint(err, "If the certificate is one of your own, name the file with its authority in "
                 "SSL_CERT_FILE or AWS_CA_BUNDLE.");
    return err->code;
}

/* No answer, and no hope of one. */
static cb_code fail_attempt(cb_transfer *transfer, outcome what, cb_error *err)
{
    char host[HOST_MAX];
    char reason[CURL_ERROR_SIZE];

    host_of(transfer->request->url, host);
    reason_of(transfer, reason);
    if (transfer->err.code != CB_OK) {
        *err = transfer->err;
        return cb_context(err, "%s", host);
    }
    if (what == GIVEN_UP && cb_check_cancel(transfer->http->ctx, err) != CB_OK)
        return err->code;
    if (what == REFUSED)
        return fail_refused(transfer, host, reason, err);
    if (transfer->result == CURLE_OUT_OF_MEMORY)
        return cb_fail(err, CB_NO_MEMORY, "no memory for a request to %s", host);
    if (transfer->result == CURLE_URL_MALFORMAT || transfer->result == CURLE_UNSUPPORTED_PROTOCOL)
        return cb_fail(err, CB_USAGE, "'%s' is no address of a server", host);
    return cb_fail(err, CB_IO, "%s: %s", host, reason);
}

static cb_code fail_spent(const cb_transfer *transfer, unsigned attempts, cb_error *err)
{
    char host[HOST_MAX];
    char reason[CURL_ERROR_SIZE];
    const char *times = attempts == 1 ? "" : "s";

    host_of(transfer->request->url, host);
    if (transfer->result == CURLE_OK)
        cb_fail(err, CB_RETRY, "%s answered %u to the last of %u attempt%s", host,
                transfer->response->status, attempts, times);
    else
        cb_fail(err, CB_RETRY, "cannot reach %s: %s (%u attempt%s)", host,
                reason_of(transfer, reason), attempts, times);
    if (transfer->result != CURLE_OK && transfer->sends == 0)
        cb_hint(err, "Is the endpoint right, and can this machine reach it?");
    else
        cb_hint(err, "Run it again when the store and the network before it are well; what is "
                     "stored by then is found again.");
    return err->code;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static int64_t asked_wait(cb_http *http, const cb_http_response *response)
{
    const char *text = cb_http_header(response, "retry-after");
    cb_error ignored;
    uint64_t seconds;
    int64_t date;
    int64_t wait = 0;

    if (text == NULL)
        return 0;
    if (cb_parse_u64(text, &seconds, &ignored) == CB_OK)
        wait = seconds < 1000000 ? (int64_t)seconds * 1000000 : WAIT_ASKED_US;
    else if (cb_http_time(text, &date))
        wait = date - cb_now_us(http->ctx);
    if (wait < 0)
        return 0;
    return wait < WAIT_ASKED_US ? wait : WAIT_ASKED_US;
}

static void tell(cb_http *http, const cb_transfer *transfer)
{
    char host[HOST_MAX];
    char reason[CURL_ERROR_SIZE];
    int64_t now = cb_monotonic_us();
    bool due;

    pthread_mutex_lock(&http->lock);
    due = http->told_us == 0 || now - http->told_us > TELL_EVERY_US;
    if (due)
        http->told_us = now;
    pthread_mutex_unlock(&http->lock);
    if (!due)
        return;
    host_of(transfer->request->url, host);
    if (transfer->result == CURLE_OK)
        cb_event_text(http->ctx, CB_EVENT_WAITING, "%s answers %u; trying again", host,
                      transfer->response->status);
    else
        cb_event_text(http->ctx, CB_EVENT_WAITING, "cannot reach %s: %s; trying again", host,
                      reason_of(transfer, reason));
}

/* Anywhere between nothing and the doubled wait, but not before the server wants us back. */
static cb_code wait_before(cb_http *http, const cb_transfer *transfer, unsigned attempt,
                           cb_error *err)
{
    int64_t most = transfer->result == CURLE_OK ? WAIT_BUSY_US : WAIT_FIRST_US;
    int64_t asked = 0;
    uint64_t random;

    for (unsigned i = 1; i < attempt && most < WAIT_MOST_US; i++)
        most *= 2;
    if (most > WAIT_MOST_US)
        most = WAIT_MOST_US;
    cb_random(http->ctx, &random, sizeof(random));
    if (transfer->result == CURLE_OK)
        asked = asked_wait(http, transfer->response);
    if (attempt >= 2 || asked > WAIT_BUSY_US)
        tell(http, transfer);
    return cb_sleep_us(http->ctx, asked + (int64_t)(random % (uint64_t)most), err);
}

/* ---- sending -------------------------------------------------------------------------------- */

static cb_http_verdict usual_verdict(unsigned status)
{
    switch (status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return CB_HTTP_AGAIN;
    default:
        return CB_HTTP_DONE;
    }
}

static cb_code add_request_headers(const cb_http_request *request, cb_http_headers *headers,
                                   cb_error *err)
{
    cb_code code = CB_OK;

    if (request->headers == NULL)
        return CB_OK;
    for (size_t i = 0; request->headers[i] != NULL && code == CB_OK; i++)
        code = append_line(headers, request->headers[i], err);
    return code;
}

/* One attempt. CB_OK: it was made, transfer->result says how it went. */
static cb_code attempt_once(cb_http *http, cb_transfer *transfer, bool renewed, cb_error *err)
{
    CB_CLEANUP(cb_http_headers_free) cb_http_headers headers = {0};
    const cb_http_request *request = transfer->request;
    cb_code code = add_request_headers(request, &headers, err);

    if (code == CB_OK && request->sign != NULL)
        code = request->sign(request->arg, request, renewed, &headers, err);
    if (code == CB_OK)
        code = cb_http_run(http, transfer, &headers, err);
    return code;
}

static cb_http_verdict verdict_of(const cb_transfer *transfer)
{
    const cb_http_request *request = transfer->request;
    cb_http_verdict usual = usual_verdict(transfer->response->status);

    return request->judge != NULL ? request->judge(request->arg, transfer->response, usual) : usual;
}

static unsigned attempts_of(cb_http *http, const cb_http_request *request)
{
    if (request->attempts != 0)
        return request->attempts;
    if (atomic_load(&http->is_away))
        return ATTEMPTS_WHILE_AWAY;
    return atomic_load(&http->has_answered) ? ATTEMPTS_AFTER_ANSWER : ATTEMPTS_BEFORE_ANSWER;
}

static cb_code send_until_answered(cb_http *http, const cb_http_request *request,
                                   cb_http_response *response, cb_error *err)
{
    size_t into_start = request->into != NULL ? request->into->size : 0;
    size_t header_capacity = 0;
    bool renew = false;
    bool was_renewed = false;
    bool was_sent = false;

    for (unsigned attempt = 1;; attempt++) {
        cb_transfer transfer = {.http = http,
                                .request = request,
                                .response = response,
                                .into_start = into_start,
                                .header_capacity = header_capacity};
        cb_http_verdict verdict = CB_HTTP_AGAIN;
        outcome what;
        cb_code code = request->is_tidying ? CB_OK : cb_check_cancel(http->ctx, err);

        if (code == CB_OK)
            code = attempt_once(http, &transfer, renew, err);
        if (code != CB_OK)
            return code;
        header_capacity = transfer.header_capacity;
        response->attempts = attempt;
        response->repeated = was_sent || transfer.sends > 1;
        was_sent = was_sent || transfer.sends > 0;
        what = outcome_of(transfer.result);
        if (what != ANSWERED && what != PASSING)
            return fail_attempt(&transfer, what, err);
        if (what == ANSWERED) {
            atomic_store(&http->has_answered, true);
            verdict = verdict_of(&transfer);
        }
        if (verdict == CB_HTTP_DONE)
            atomic_store(&http->is_away, false);
        if (verdict == CB_HTTP_DONE || (verdict == CB_HTTP_REFRESH && was_renewed))
            return CB_OK;
        renew = verdict == CB_HTTP_REFRESH;
        was_renewed = was_renewed || renew;
        if (!renew && attempt >= attempts_of(http, request)) {
            atomic_store(&http->is_away, true);
            return fail_spent(&transfer, attempt, err);
        }
        atomic_fetch_add(&http->retries, 1);
        if (!renew)
            code = wait_before(http, &transfer, attempt, err);
        if (code != CB_OK)
            return code;
    }
}

cb_code cb_http_send(cb_http *http, const cb_http_request *request, cb_http_response *response,
                     cb_error *err)
{
    size_t into_start = request->into != NULL ? request->into->size : 0;
    cb_code code = send_until_answered(http, request, response, err);

    if (code != CB_OK && request->into != NULL)
        request->into->size = into_start; /* a piece of an answer is none */
    return code;
}
