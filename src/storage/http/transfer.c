/*
 * transfer.c - one attempt, as libcurl wants it told, and its callbacks: they run in the engine's
 * thread and touch nothing but their transfer and the two buckets.
 */
#include "storage/http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/array.h"

enum {
    BUFFER_BYTES = 256 << 10, /* of libcurl, each way: fewer system calls, little memory */
    HEADERS_MAX = 256,
    ANSWER_USUAL = 64 << 20,
    FAILURE_MAX = 1 << 20 /* of answers other than 2xx: what they say is short */
};

/* ---- so many bytes a second ----------------------------------------------------------------- */

static void fill(cb_bucket *bucket)
{
    int64_t now = cb_monotonic_us();
    double most = (double)bucket->rate / 10; /* a tenth of a second may come at once */

    if (most < 16384)
        most = 16384;
    if (bucket->filled_us == 0)
        bucket->level = most;
    else
        bucket->level += (double)bucket->rate * (double)(now - bucket->filled_us) / 1e6;
    if (bucket->level > most)
        bucket->level = most;
    bucket->filled_us = now;
}

int64_t cb_bucket_wait(cb_bucket *bucket)
{
    if (bucket->rate == 0)
        return 0;
    fill(bucket);
    return bucket->level >= 1 ? 0 : 1 + (int64_t)((1 - bucket->level) * 1e6 / (double)bucket->rate);
}

static void take(cb_bucket *bucket, size_t bytes)
{
    if (bucket->rate != 0)
        bucket->level -= (double)bytes;
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static size_t on_read(char *into, size_t size, size_t count, void *arg)
{
    cb_transfer *self = arg;
    const cb_http_request *request = self->request;
    cb_http *http = self->http;
    size_t room = size * count;
    size_t got = 0;

    if (cb_bucket_wait(&http->up) > 0) {
        self->waits_to_send = true;
        return CURL_READFUNC_PAUSE;
    }
    if (http->up.rate != 0 && (double)room > http->up.level)
        room = (size_t)http->up.level;
    while (got < room && self->part < request->body_parts) {
        const cb_bytes *part = &request->body[self->part];
        size_t rest = part->size - self->part_offset;
        size_t n = rest < room - got ? rest : room - got;

        if (n > 0)
            memcpy(into + got, part->data + self->part_offset, n);
        got += n;
        self->part_offset += n;
        if (self->part_offset == part->size) {
            self->part++;
            self->part_offset = 0;
        }
    }
    take(&http->up, got);
    atomic_fetch_add(&http->sent, got);
    return got;
}

/* libcurl goes back to the start when it repeats a request on a new connection. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    cb_transfer *self = arg;

    if (origin != SEEK_SET || offset != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    self->part = 0;
    self->part_offset = 0;
    return CURL_SEEKFUNC_OK;
}

static int on_request(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    cb_transfer *self = arg;

    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (self->sends++ > 0) {
        atomic_fetch_add(&self->http->requests, 1);
        atomic_fetch_add(&self->http->retries, 1);
    }
    return CURL_PREREQFUNC_OK;
}

/* The buffer that this answer's body goes to. */
static cb_buf *body_of(cb_transfer *self)
{
    unsigned status = self->response->status;

    return self->request->into != NULL && status >= 200 && status < 300 ? self->request->into
                                                                        : &self->response->body;
}

static void forget_answer(cb_transfer *self)
{
    self->response->status = 0;
    self->response->header_count = 0;
    self->response->body.size = 0;
    if (self->request->into != NULL)
        self->request->into->size = self->into_start;
    self->received = 0;
}

static size_t answer_max(const cb_transfer *self)
{
    unsigned status = self->response->status;

    if (status < 200 || status >= 300)
        return FAILURE_MAX;
    return self->request->answer_max != 0 ? self->request->answer_max : ANSWER_USUAL;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    cb_transfer *self = arg;
    cb_buf *into = body_of(self);
    size_t bytes = size * count;

    if (cb_bucket_wait(&self->http->down) > 0) {
        self->waits_to_receive = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (bytes > answer_max(self) - self->received) {
        cb_fail(&self->err, CB_TOO_LARGE, "an answer is longer than %zu bytes", answer_max(self));
        return 0;
    }
    if (self->received == 0) {
        curl_off_t length = -1;

        /* All of it at once, so that it is not moved while it grows. A failure is met again below.
         */
        curl_easy_getinfo(self->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        if (length > 0 && (uint64_t)length <= answer_max(self))
            cb_ignore(cb_buf_reserve(into, (size_t)length, &self->err));
        self->err = (cb_error){0};
    }
    if (cb_buf_append(into, data, bytes, &self->err) != CB_OK)
        return 0;
    self->received += bytes;
    take(&self->http->down, bytes);
    atomic_fetch_add(&self->http->received, bytes);
    return bytes;
}

static cb_code keep_header(cb_transfer *self, const char *line, size_t size)
{
    cb_http_response *response = self->response;
    const char *colon = memchr(line, ':', size);
    const char *value;
    const char *name;
    char *lower;
    cb_code code = CB_OK;

    if (colon == NULL || response->header_count >= HEADERS_MAX)
        return CB_OK;
    value = colon + 1;
    while (size > 0 && strchr("\r\n \t", line[size - 1]) != NULL)
        size--;
    while (value < line + size && (*value == ' ' || *value == '\t'))
        value++;
    if (response->header_count == self->header_capacity)
        code =
            cb_array_grow(&response->headers, &self->header_capacity, sizeof(cb_pair), &self->err);
    if (code == CB_OK)
        code = cb_arena_alloc(&response->arena, (size_t)(colon - line) + 1, &lower, &self->err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; line + i < colon; i++)
        lower[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + ('a' - 'A') : line[i]);
    name = lower;
    response->headers[response->header_count].key = name;
    code = cb_arena_text_n(&response->arena, value,
                           value < line + size ? (size_t)(line + size - value) : 0,
                           &response->headers[response->header_count].value, &self->err);
    if (code == CB_OK)
        response->header_count++;
    return code;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    cb_transfer *self = arg;
    size_t bytes = size * count;
    long status = 0;

    if (bytes >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* also behind "100 Continue" */
        forget_answer(self);
        curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
        self->response->status = (unsigned)status;
        return bytes;
    }
    return keep_header(self, line, bytes) == CB_OK ? bytes : 0;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    cb_transfer *self = arg;

    (void)down_all;
    (void)up_all;
    if (down + up != self->moved || self->waits_to_send || self->waits_to_receive) {
        self->moved = down + up;
        self->active_us = cb_monotonic_us();
    }
    return 0;
}

void cb_transfer_resume(cb_transfer *self)
{
    bool send = self->waits_to_send && cb_bucket_wait(&self->http->up) == 0;
    bool receive = self->waits_to_receive && cb_bucket_wait(&self->http->down) == 0;

    if (!send && !receive)
        return;
    if (send)
        self->waits_to_send = false;
    if (receive)
        self->waits_to_receive = false;
    self->active_us = cb_monotonic_us();
    /* This may call on_write or on_read at once, which may pause it again. */
    (void)curl_easy_pause(self->easy, (self->waits_to_send ? CURLPAUSE_SEND : 0) |
                                          (self->waits_to_receive ? CURLPAUSE_RECV : 0));
}

/* ---- telling libcurl ------------------------------------------------------------------------ */

static CURLcode set_request(cb_transfer *self, const cb_http_headers *headers)
{
    const cb_http_request *request = self->request;
    CURL *easy = self->easy;
    curl_off_t size = 0;
    CURLcode r = CURLE_OK;

    for (size_t i = 0; i < request->body_parts; i++)
        size += (curl_off_t)request->body[i].size;
    if (strcmp(request->method, "HEAD") == 0) {
        r = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (request->has_body || size > 0) {
        r = curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        if (r == CURLE_OK)
            r = curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, size);
    } else {
        r = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (r == CURLE_OK && headers->list != NULL)
        r = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers->list);
    if (r != CURLE_OK || headers->provider[0] == '\0')
        return r;
    r = curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, headers->provider);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_USERNAME, headers->access_key);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_PASSWORD, headers->secret);
    return r;
}

static CURLcode set_callbacks(cb_transfer *self)
{
    CURL *easy = self->easy;
    const struct {
        CURLoption function, data;
    } with_data[] = {{CURLOPT_READFUNCTION, CURLOPT_READDATA},
                     {CURLOPT_SEEKFUNCTION, CURLOPT_SEEKDATA},
                     {CURLOPT_WRITEFUNCTION, CURLOPT_WRITEDATA},
                     {CURLOPT_HEADERFUNCTION, CURLOPT_HEADERDATA},
                     {CURLOPT_XFERINFOFUNCTION, CURLOPT_XFERINFODATA},
                     {CURLOPT_PREREQFUNCTION, CURLOPT_PREREQDATA}};
    CURLcode r = CURLE_OK;

    for (size_t i = 0; i < CB_LENGTH(with_data) && r == CURLE_OK; i++)
        r = curl_easy_setopt(easy, with_data[i].data, self);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    return r;
}

static CURLcode set_connection(cb_transfer *self)
{
    const cb_http_request *request = self->request;
    const cb_http *http = self->http;
    int64_t connect_us =
        request->connect_timeout_us != 0 ? request->connect_timeout_us : INT64_C(10000000);
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_NOPROGRESS, 0},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS},
        {CURLOPT_BUFFERSIZE, BUFFER_BYTES},
        {CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES},
        {CURLOPT_CONNECTTIMEOUT_MS, (long)((connect_us + 999) / 1000)},
        {CURLOPT_TIMEOUT_MS, (long)((request->timeout_us + 999) / 1000)},
    };
    CURLcode r = curl_easy_setopt(self->easy, CURLOPT_PROTOCOLS_STR, "http,https");

    for (size_t i = 0; i < CB_LENGTH(numbers) && r == CURLE_OK; i++)
        r = curl_easy_setopt(self->easy, numbers[i].option, numbers[i].value);
    if (r == CURLE_OK)
        r = curl_easy_setopt(self->easy, CURLOPT_ERRORBUFFER, self->problem);
    if (r == CURLE_OK)
        r = curl_easy_setopt(self->easy, CURLOPT_PRIVATE, self);
    if (r == CURLE_OK && request->is_direct)
        r = curl_easy_setopt(self->easy, CURLOPT_NOPROXY, "*");
    if (r == CURLE_OK && http->ca_file != NULL)
        r = curl_easy_setopt(self->easy, CURLOPT_CAINFO, http->ca_file);
    if (r == CURLE_OK && request->is_direct)
        r = curl_easy_setopt(self->easy, CURLOPT_NOPROXY, "*");
    if (r == CURLE_OK && http->ca_folder != NULL)
        r = curl_easy_setopt(self->easy, CURLOPT_CAPATH, http->ca_folder);
    return r;
}

/* The request's URL with what `sign` put behind it; libcurl copies it. */
static CURLcode set_url(cb_transfer *self, const cb_http_headers *headers, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    const char *base = self->request->url;
    cb_code code;
    CURLcode r;

    if (headers->query.size == 0)
        return curl_easy_setopt(self->easy, CURLOPT_URL, base);
    code = cb_buf_format(&url, err, "%s%c%.*s", base, strchr(base, '?') != NULL ? '&' : '?',
                         (int)headers->query.size, (const char *)headers->query.data);
    if (code != CB_OK)
        return CURLE_OUT_OF_MEMORY;
    r = curl_easy_setopt(self->easy, CURLOPT_URL, (const char *)url.data);
    explicit_bzero(url.data, url.size);
    return r;
}

cb_code cb_transfer_prepare(cb_transfer *self, const cb_http_headers *headers, cb_error *err)
{
    CURLcode r = set_url(self, headers, err);

    if (r == CURLE_OK)
        r = set_connection(self);
    if (r == CURLE_OK)
        r = set_callbacks(self);
    if (r == CURLE_OK)
        r = set_request(self, headers);
    if (r == CURLE_OUT_OF_MEMORY)
        return cb_fail_memory(err, BUFFER_BYTES);
    if (r != CURLE_OK)
        return cb_fail(err, CB_UNSUPPORTED, "libcurl cannot do what is asked of it: %s",
                       curl_easy_strerror(r));
    forget_answer(self);
    return CB_OK;
}
