/*
 * The http client against a server that misbehaves by script.
 */
#include "unit.h"

#include "storage/http/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_hooks.h"
#include "http_server.h"
#include "temp.h"

typedef struct rig {
    cb_ctx *ctx;
    test_hooks hooks;
    cb_http *http;
    http_server server;
    char url[128];
    cb_http_response response;
    cb_error err;
} rig;

#define START(rig_, settings_, ...)                                                                \
    static const http_step steps_[] = {__VA_ARGS__};                                               \
    start(rig_, settings_, steps_, CB_LENGTH(steps_))

static void start(rig *self, cb_http_settings settings, const http_step *steps, size_t count)
{
    cb_error err = {0};

    memset(self, 0, sizeof(*self));
    self->ctx = test_ctx_new();
    test_hooks_install(&self->hooks, self->ctx, 1000000, 7);
    assert_ok(cb_http_new(self->ctx, &settings, &self->http, &err));
    http_server_start(&self->server, steps, count);
    snprintf(self->url, sizeof(self->url), "http://127.0.0.1:%u/b/k?secret=querysecret",
             self->server.port);
}

static void stop(rig *self)
{
    cb_http_response_free(&self->response);
    cb_http_free(self->http);
    http_server_stop(&self->server);
    cb_ctx_free(self->ctx);
}

static cb_code send_it(rig *self, const cb_http_request *request)
{
    cb_http_response_free(&self->response);
    self->err = (cb_error){0};
    return cb_http_send(self->http, request, &self->response, &self->err);
}

#define assert_sent(call)                                                                          \
    do {                                                                                           \
        if ((call) != CB_OK)                                                                       \
            fail_msg("%s: %s", #call, self.err.message);                                           \
    } while (0)

static void test_answer_and_connection_are_kept(void **state)
{
    rig self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    static const char *const headers[] = {"X-Mine: yes", NULL};
    cb_http_request request = {.method = "GET", .headers = headers, .into = &into};
    cb_traffic traffic;
    START(&self, (cb_http_settings){0},
          {.status = "200 OK", .headers = "X-Odd:  a b \r\nETag: \"x\"\r\n", .body = "hello"});

    (void)state;
    request.url = self.url;
    for (int i = 0; i < 3; i++)
        assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.status, 200);
    assert_int_equal(into.size, 15);
    assert_memory_equal(into.data, "hellohellohello", 15);
    assert_string_equal(cb_http_header(&self.response, "x-odd"), "a b");
    assert_string_equal(cb_http_header(&self.response, "etag"), "\"x\"");
    assert_null(cb_http_header(&self.response, "not-there"));
    assert_int_equal(self.server.connections, 1);
    assert_int_equal(self.response.attempts, 1);
    assert_false(self.response.repeated);
    assert_non_null(strstr((const char *)self.server.head.data, "X-Mine: yes"));
    cb_http_traffic(self.http, &traffic);
    assert_int_equal(traffic.requests, 3);
    assert_int_equal(traffic.retries, 0);
    assert_int_equal(traffic.received_bytes, 15);
    request.method = "HEAD";
    assert_sent(send_it(&self, &request));
    assert_int_equal(into.size, 15);
    assert_int_equal(self.server.connections, 1);
    stop(&self);
}

static void test_bodies(void **state)
{
    rig self;
    static uint8_t large[3 << 20];
    cb_bytes parts[] = {cb_bytes_of("ab", 2), cb_bytes_of("", 0), cb_bytes_of(large, sizeof(large)),
                        cb_bytes_of("yz", 2)};
    cb_http_request request = {.method = "PUT", .body = parts, .body_parts = 4, .has_body = true};
    cb_traffic traffic;
    START(&self, (cb_http_settings){0}, {.status = "200 OK"}, {.status = "503 Busy"},
          {.status = "200 OK"});

    (void)state;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 7 >> 3);
    request.url = self.url;
    for (int i = 0; i < 2; i++) {
        assert_sent(send_it(&self, &request));
        assert_int_equal(self.server.body.size, sizeof(large) + 4);
        assert_memory_equal(self.server.body.data, "ab", 2);
        assert_memory_equal(self.server.body.data + 2, large, sizeof(large));
        assert_memory_equal(self.server.body.data + 2 + sizeof(large), "yz", 2);
    }
    assert_int_equal(self.response.attempts, 2);
    assert_true(self.response.repeated);
    cb_http_traffic(self.http, &traffic);
    assert_int_equal(traffic.requests, 3);
    assert_int_equal(traffic.retries, 1);
    assert_int_equal(traffic.sent_bytes, 3 * (sizeof(large) + 4));
    request.body_parts = 0;
    assert_sent(send_it(&self, &request));
    assert_non_null(strcasestr((const char *)self.server.head.data, "content-length: 0\r\n"));
    request.method = "POST";
    assert_sent(send_it(&self, &request));
    assert_memory_equal(self.server.head.data, "POST /b/k?secret=querysecret HTTP/1.1", 37);
    assert_non_null(strcasestr((const char *)self.server.head.data, "content-length: 0\r\n"));
    stop(&self);
}

static void test_later_is_waited_for(void **state)
{
    rig self;
    cb_http_request request = {.method = "GET"};
    int64_t before;
    START(&self, (cb_http_settings){0},
          {.status = "503 Slow Down", .headers = "Retry-After: 7\r\n", .body = "<Error/>"},
          {.status = "200 OK", .body = "x"}, {.status = "500 No"});

    (void)state;
    request.url = self.url;
    before = cb_now_us(self.ctx);
    assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.status, 200);
    assert_int_equal(self.response.attempts, 2);
    assert_in_range(cb_now_us(self.ctx) - before, 7000000, 8000000);
    assert_int_equal(self.response.body.size, 1);

    before = cb_now_us(self.ctx);
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_int_equal(self.response.attempts, 10); /* it has answered before */
    assert_int_equal(self.response.status, 500);
    assert_non_null(strstr(self.err.message, "answered 500"));
    assert_null(strstr(self.err.message, "querysecret"));
    assert_in_range(cb_now_us(self.ctx) - before, 10000000, 180000000);
    request.attempts = 2;
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_int_equal(self.response.attempts, 2);
    stop(&self);
}

static void test_broken_answers_are_fetched_again(void **state)
{
    rig self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cb_http_request request = {.method = "GET", .into = &into};
    START(&self, (cb_http_settings){0},
          {.status = "200 OK", .body = "0123456789", .action = HTTP_CUT}, {.action = HTTP_HANG_UP},
          {.status = "200 OK", .body = "right"}, {.action = HTTP_HANG_UP},
          {.status = "404 No", .body = "whole"},
          {.status = "200 OK", .body = "0123456789", .action = HTTP_CUT});

    (void)state;
    request.url = self.url;
    assert_int_equal(cb_buf_append(&into, "-", 1, &self.err), CB_OK);
    assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.attempts, 3);
    assert_int_equal(into.size, 6);
    assert_memory_equal(into.data, "-right", 6);
    /* libcurl itself repeats on a connection that was kept and is dead: that shows, too. */
    assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.status, 404);
    assert_true(self.response.repeated);
    assert_int_equal(self.response.body.size, 5);
    assert_int_equal(into.size, 6);
    request.attempts = 3;
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_int_equal(into.size, 6);
    assert_null(strstr(self.err.message, "querysecret"));
    stop(&self);
}

static void test_upload_cut_in_the_middle(void **state)
{
    rig self;
    static uint8_t large[5 << 20];
    cb_bytes part = cb_bytes_of(large, sizeof(large));
    cb_http_request request = {.method = "PUT", .body = &part, .body_parts = 1, .has_body = true};
    START(&self, (cb_http_settings){0}, {.action = HTTP_CUT_FIRST}, {.status = "412 There"});

    (void)state;
    request.url = self.url;
    assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.status, 412);
    assert_true(self.response.repeated);
    assert_int_equal(self.server.body.size, sizeof(large));
    stop(&self);
}

static void test_nobody_there(void **state)
{
    rig self;
    cb_http_request request = {.method = "GET", .attempts = 3};
    START(&self, (cb_http_settings){0}, {.status = "200 OK"});

    (void)state;
    http_server_stop(&self.server);
    request.url = self.url;
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_non_null(strstr(self.err.message, "cannot reach 127.0.0.1:"));
    assert_null(strstr(self.err.message, "querysecret"));
    assert_true(self.err.hint[0] != '\0');
    request.url = "http://nobody.invalid:1/"; /* each attempt looks the name up again */
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_non_null(strstr(self.err.message, "cannot reach nobody.invalid:1: "));
    assert_int_equal(self.response.attempts, 3);
    request.url = "nonsense://x/y";
    assert_int_equal(send_it(&self, &request), CB_USAGE);
    http_server_start(&self.server, steps_, 1);
    stop(&self);
}

static void test_too_large(void **state)
{
    rig self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {.limit = 4};
    cb_http_request request = {.method = "GET", .answer_max = 4};
    START(&self, (cb_http_settings){0}, {.status = "200 OK", .body = "hello"});

    (void)state;
    request.url = self.url;
    assert_int_equal(send_it(&self, &request), CB_TOO_LARGE);
    request.answer_max = 0;
    assert_sent(send_it(&self, &request));
    request.into = &into;
    assert_int_equal(send_it(&self, &request), CB_TOO_LARGE);
    assert_int_equal(into.size, 0);
    stop(&self);
}

static void *cancel_soon(void *arg)
{
    usleep(200000);
    cb_cancel(arg);
    return NULL;
}

static void test_stall_and_cancel(void **state)
{
    rig self;
    cb_http_request request = {.method = "GET", .attempts = 1};
    pthread_t thread;
    int64_t before;
    START(&self, (cb_http_settings){.stall_us = 1000000},
          {.status = "200 OK", .body = "0123456789", .action = HTTP_STALL});

    (void)state;
    request.url = self.url;
    before = cb_monotonic_us();
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_non_null(strstr(self.err.message, "no byte has moved for 1 s"));
    assert_in_range(cb_monotonic_us() - before, 900000, 4000000);
    before = cb_monotonic_us();
    request.timeout_us = 300000;
    assert_int_equal(send_it(&self, &request), CB_RETRY);
    assert_in_range(cb_monotonic_us() - before, 250000, 900000);
    request.timeout_us = 0;
    pthread_create(&thread, NULL, cancel_soon, self.ctx);
    before = cb_monotonic_us();
    assert_int_equal(send_it(&self, &request), CB_CANCELLED);
    assert_in_range(cb_monotonic_us() - before, 100000, 900000);
    pthread_join(thread, NULL);
    stop(&self);
}

static void test_limits(void **state)
{
    rig self;
    static uint8_t large[1 << 20];
    cb_bytes part = cb_bytes_of(large, sizeof(large));
    cb_http_request request = {.method = "PUT", .body = &part, .body_parts = 1, .has_body = true};
    int64_t before;
    http_step step = {.status = "200 OK", .body = (const char *)large, .body_size = sizeof(large)};

    (void)state;
    start(&self,
          (cb_http_settings){.upload_bytes_per_second = 2 << 20,
                             .download_bytes_per_second = 2 << 20},
          &step, 1);
    request.url = self.url;
    before = cb_monotonic_us();
    assert_sent(send_it(&self, &request));
    /* A megabyte each way at two a second, less what may come at once. */
    assert_in_range(cb_monotonic_us() - before, 500000, 3000000);
    assert_int_equal(self.response.body.size, sizeof(large));
    stop(&self);
}

typedef struct signer {
    unsigned calls, renewals;
} signer;

static cb_code sign(void *arg, const cb_http_request *request, bool again, cb_http_headers *headers,
                    cb_error *err)
{
    signer *self = arg;
    cb_code code;

    (void)request;
    self->calls++;
    self->renewals += again;
    code = cb_http_add(headers, err, "Authorization", "Bearer %s-%u", "headersecret", self->calls);
    if (code == CB_OK)
        code = cb_http_append_query(headers, "?sig=more", err);
    return code;
}

static cb_http_verdict judge(void *arg, const cb_http_response *response, cb_http_verdict usual)
{
    (void)arg;
    return response->status == 401 ? CB_HTTP_REFRESH : usual;
}

static void test_signing_and_renewal(void **state)
{
    rig self;
    signer mine = {0};
    cb_http_request request = {.method = "GET", .sign = sign, .judge = judge, .arg = &mine};
    START(&self, (cb_http_settings){0}, {.status = "503 Busy"}, {.status = "401 Old"},
          {.status = "200 OK"}, {.status = "401 Old"});

    (void)state;
    request.url = self.url;
    assert_sent(send_it(&self, &request));
    assert_int_equal(self.response.status, 200);
    assert_int_equal(mine.calls, 3);
    assert_int_equal(mine.renewals, 1);
    assert_non_null(
        strstr((const char *)self.server.head.data, "Authorization: Bearer headersecret-3\r\n"));
    assert_memory_equal(self.server.head.data, "GET /b/k?secret=querysecret&sig=more HTTP", 41);
    assert_sent(send_it(&self, &request)); /* renewed once, and then it is the answer */
    assert_int_equal(self.response.status, 401);
    assert_int_equal(mine.renewals, 2);
    assert_int_equal(mine.calls, 5);
    stop(&self);
}

typedef struct worker {
    rig *self;
    unsigned failures;
    pthread_t thread;
} worker;

static void *work(void *arg)
{
    worker *mine = arg;

    for (int i = 0; i < 50; i++) {
        CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
        cb_error err = {0};
        cb_http_request request = {.method = "GET", .url = mine->self->url};

        if (cb_http_send(mine->self->http, &request, &response, &err) != CB_OK ||
            response.body.size != 5)
            mine->failures++;
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    rig self;
    worker workers[16];
    START(&self, (cb_http_settings){.connections_max = 4}, {.status = "200 OK", .body = "hello"});

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(workers); i++) {
        workers[i] = (worker){.self = &self};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (size_t i = 0; i < CB_LENGTH(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_int_equal(self.server.requests, 16 * 50);
    assert_in_range(self.server.connections, 1, 4);
    stop(&self);
}

/* ---- urls and dates ------------------------------------------------------------------------ */

static void test_urls(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_pair pairs[] = {{"b-c", "2"}, {"uploads", ""}, {"b", "/+ ~"}, {"b", "!"}, {"\xc3\xa4", "x"}};
    char good[] = "a%2Fb+%c3%A4";
    char bad[][6] = {"%", "a%4", "%zz", "%00", "%1%41"};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_url_encode(&text, "a/b c+%~_-.\xc3\xa4", true, &err), CB_OK);
    assert_int_equal(cb_buf_u8(&text, '|', &err), CB_OK);
    assert_int_equal(cb_url_encode(&text, "a/b", false, &err), CB_OK);
    assert_int_equal(cb_buf_u8(&text, '|', &err), CB_OK);
    assert_int_equal(cb_url_query(&text, pairs, CB_LENGTH(pairs), &err), CB_OK);
    assert_int_equal(cb_buf_u8(&text, 0, &err), CB_OK);
    assert_string_equal((const char *)text.data,
                        "a/b%20c%2B%25~_-.%C3%A4|a%2Fb|%C3%A4=x&b=%21&b=%2F%2B%20~&b-c=2&uploads=");
    assert_true(cb_url_decode(good));
    assert_string_equal(good, "a/b+\xc3\xa4");
    for (size_t i = 0; i < CB_LENGTH(bad); i++)
        assert_false(cb_url_decode(bad[i]));
}

static void test_dates(void **state)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "Sat, 21 Nov 2026 11:04:31",
                                        "Sat, 21 Nox 2026 11:04:31 GMT",
                                        "Sat, 41 Nov 2026 11:04:31 GMT",
                                        "2026-11-21T11:04:31",
                                        "2026-13-21T11:04:31Z",
                                        "2026-11-21T11:04:31Zx",
                                        "2026-11-21 11:04:31Z"};
    int64_t us;

    (void)state;
    assert_true(cb_http_time("Sat, 21 Nov 2026 11:04:31 GMT", &us));
    assert_int_equal(us, INT64_C(1795259071000000));
    assert_true(cb_http_time("2026-11-21T11:04:31Z", &us));
    assert_int_equal(us, INT64_C(1795259071000000));
    assert_true(cb_http_time("2026-11-21T11:04:31.0123456789Z", &us));
    assert_int_equal(us, INT64_C(1795259071012345));
    assert_true(cb_http_time("1970-01-01T00:00:00.5+00:00", &us));
    assert_int_equal(us, 500000);
    assert_true(cb_http_time("Thu, 29 Feb 2024 00:00:00 GMT", &us));
    assert_int_equal(us, INT64_C(1709164800000000));
    for (size_t i = 0; i < CB_LENGTH(wrong); i++)
        assert_false(cb_http_time(wrong[i], &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_and_connection_are_kept),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_later_is_waited_for),
        cmocka_unit_test(test_broken_answers_are_fetched_again),
        cmocka_unit_test(test_upload_cut_in_the_middle),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_stall_and_cancel),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_signing_and_renewal),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
