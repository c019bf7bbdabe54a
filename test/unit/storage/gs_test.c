/*
 * The store at Google: its answers taken apart, its requests before a scripted server, and what
 * the common tests do not ask of a real one (CB_TEST_GS).
 */
#include "unit.h"

#include "codec/checksum.h"
#include "storage/gs/gs_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "cloud_kit.h"
#include "temp.h"

#define PLACE "gs://bucket/some/pre?endpoint=http://127.0.0.1:%u"

static cb_bytes text_bytes(const char *text)
{
    return cb_bytes_of(text, strlen(text));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void test_reads_listings(void **state)
{
    CB_CLEANUP(cb_gs_page_free) cb_gs_page page = {0};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_gs_parse_page(
        text_bytes("{\"kind\":\"storage#objects\",\"nextPageToken\":\"tok==\",\"items\":["
                   "{\"name\":\"a/b c\",\"size\":\"18446744073709551615\",\"generation\":\"17\","
                   "\"timeCreated\":\"2026-11-21T11:27:57.5892Z\",\"crc32c\":\"mnG7TA==\","
                   "\"metadata\":{\"canvasback-nonce\":\"n1\",\"other\":\"x\"},"
                   "\"retention\":{\"mode\":\"Locked\",\"retainUntilTime\":"
                   "\"2026-12-01T00:00:00Z\"}},"
                   "{\"name\":\"b\",\"timeDeleted\":\"2026-11-21T11:27:58Z\","
                   "\"retention\":{\"mode\":\"Unlocked\",\"retainUntilTime\":"
                   "\"2026-12-01T00:00:00Z\"}}]}"),
        &page, &err));
    assert_int_equal(page.count, 2);
    assert_string_equal(page.next, "tok==");
    assert_string_equal(page.objects[0].name, "a/b c");
    assert_string_equal(page.objects[0].generation, "17");
    assert_string_equal(page.objects[0].nonce, "n1");
    assert_true(page.objects[0].size_bytes == UINT64_MAX);
    assert_true(page.objects[0].created_us == INT64_C(1795260477589200));
    assert_true(page.objects[0].removed_us == 0);
    assert_true(page.objects[0].retain_until_us == INT64_C(1796083200000000));
    assert_true(page.objects[0].has_crc32c && page.objects[0].crc32c == 0x9a71bb4c);
    assert_string_equal(page.objects[1].generation, "");
    assert_true(page.objects[1].removed_us == INT64_C(1795260478000000));
    assert_true(page.objects[1].retain_until_us == 0);
    assert_false(page.objects[1].has_crc32c);
}

static void test_refuses_other_answers(void **state)
{
    static const char *const wrong[] = {"",
                                        "null",
                                        "[]",
                                        "{",
                                        "{\"items\":{}}",
                                        "{\"items\":[1]}",
                                        "{\"items\":[{}]}",
                                        "{\"items\":[{\"name\":\"\"}]}",
                                        "{\"items\":[{\"name\":\"a\",\"size\":\"-1\"}]}",
                                        "{\"items\":[{\"name\":\"a\",\"size\":\"1x\"}]}",
                                        "{\"items\":[{\"name\":\"a\",\"generation\":\"1/x\"}]}",
                                        "{\"items\":[{\"name\":\"a\",\"name\":\"b\"}]}",
                                        "{\"items\":[{\"name\":\"a\\u0000b\"}]}"};
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        cb_gs_page page = {0};

        assert_code(CB_IO, cb_gs_parse_page(text_bytes(wrong[i]), &page, &err));
        cb_gs_page_free(&page);
    }
}

static void test_reads_buckets_and_refusals(void **state)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_gs_refusal refusal;
    cb_gs_bucket bucket;
    const char *token;
    cb_error err = {0};

    (void)state;
    assert_ok(cb_gs_parse_bucket(
        text_bytes("{\"location\":\"EU\",\"versioning\":{\"enabled\":true},\"objectRetention\":"
                   "{\"mode\":\"Enabled\"},\"retentionPolicy\":{\"retentionPeriod\":\"86400\"}}"),
        &bucket, &err));
    assert_string_equal(bucket.location, "EU");
    assert_true(bucket.has_versioning && bucket.has_object_retention);
    assert_true(bucket.retain_default_us == INT64_C(86400000000));
    assert_ok(
        cb_gs_parse_bucket(text_bytes("{\"versioning\":{\"enabled\":false}}"), &bucket, &err));
    assert_false(bucket.has_versioning || bucket.has_object_retention);

    cb_gs_parse_refusal(text_bytes("{\"error\":{\"code\":404,\"message\":\"No such object: b/x\","
                                   "\"errors\":[{\"reason\":\"notFound\"}]}}"),
                        &refusal);
    assert_string_equal(refusal.reason, "notFound");
    assert_string_equal(refusal.message, "No such object: b/x");
    cb_gs_parse_refusal(text_bytes("<html>"), &refusal);
    assert_string_equal(refusal.reason, "");

    assert_ok(cb_gs_parse_rewrite(text_bytes("{\"done\":true}"), &arena, &token, &err));
    assert_string_equal(token, "");
    assert_ok(cb_gs_parse_rewrite(text_bytes("{\"done\":false,\"rewriteToken\":\"t\"}"), &arena,
                                  &token, &err));
    assert_string_equal(token, "t");
    assert_code(CB_IO, cb_gs_parse_rewrite(text_bytes("{\"done\":false}"), &arena, &token, &err));
}

static void test_describes_objects(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf json = {0};
    uint32_t crc32c = 0x9a71bb4c;
    cb_gs_metadata of = {.name = "a\"b/\xc3\xbc",
                         .nonce = "0123",
                         .crc32c = &crc32c,
                         .retain_until_us = INT64_C(1796083200000000)};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_gs_render_metadata(&of, &json, &err));
    assert_ok(cb_buf_u8(&json, 0, &err));
    assert_string_equal((char *)json.data,
                        "{\"name\":\"a\\\"b/\\u00FC\",\"crc32c\":\"mnG7TA==\",\"metadata\":"
                        "{\"canvasback-nonce\":\"0123\"},\"retention\":{\"mode\":\"Locked\","
                        "\"retainUntilTime\":\"2026-12-01T00:00:00Z\"}}");
    of.name = "\xff";
    assert_code(CB_USAGE, cb_gs_render_metadata(&of, &json, &err));
}

/* ---- requests -------------------------------------------------------------------------------- */

static void test_lists_page_after_page(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cloud self;
    CLOUD_SCRIPT(
        &self, PLACE,
        {.status = "200 OK",
         .body = "{\"nextPageToken\":\"a+b\",\"items\":[{\"name\":\"some/pre/x/1\","
                 "\"size\":\"1\"},{\"name\":\"some/pre/x//\",\"size\":\"1\"}]}"},
        {.status = "200 OK", .body = "{\"items\":[{\"name\":\"some/pre/x/2\",\"size\":\"2\"}]}"});

    (void)state;
    assert_string_equal(cloud_list(&self, "x/", &seen), "x/1=1 x/2=2 ");
    assert_int_equal(self.server.requests, 2);
    assert_true(cloud_was_asked(&self,
                                "GET /storage/v1/b/bucket/o?fields=nextPageToken%2Citems"
                                "%28name%2Csize%2CtimeCreated%2Cmd5Hash%2Ccrc32c%29&pageToken=a%2Bb"
                                "&prefix=some%2Fpre%2Fx%2F HTTP/1.1\r\n"));
    cloud_stop(&self);
}

/* What the service says of "hello" below `name`, with a nonce. */
static void describe(char out[256], const char *name, const char *nonce)
{
    snprintf(out, 256,
             "{\"name\":\"some/pre/%s\",\"generation\":\"1\",\"size\":\"5\","
             "\"crc32c\":\"mnG7TA==\",\"metadata\":{\"canvasback-nonce\":\"%s\"}}",
             name, nonce);
}

static void test_sends_small_objects_whole(void **state)
{
    char described[256];
    char body[1024];
    const http_step steps[] = {{.status = "200 OK", .body = described}};
    cloud self;

    (void)state;
    cloud_start(&self, PLACE, steps, 1);
    describe(described, "k k", self.nonce);
    assert_int_equal(cloud_put(&self, "k k", CB_PUT_NEW, "hello"), CB_OK);
    assert_int_equal(self.server.requests, 1);
    assert_true(cloud_was_asked(&self, "POST /upload/storage/v1/b/bucket/o?fields=name%2C"
                                       "generation%2Csize%2Ccrc32c%2Cmetadata"
                                       "&ifGenerationMatch=0&uploadType=multipart HTTP/1.1\r\n"));
    snprintf(body, sizeof(body),
             "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
             "{\"name\":\"some/pre/k k\",\"crc32c\":\"mnG7TA==\",\"metadata\":"
             "{\"canvasback-nonce\":\"%s\"}}\r\n--%s\r\n"
             "Content-Type: application/octet-stream\r\n\r\nhello\r\n--%s--\r\n",
             self.nonce, self.nonce, self.nonce, self.nonce);
    assert_int_equal(self.server.body.size, strlen(body));
    assert_memory_equal(self.server.body.data, body, strlen(body));
    cloud_stop(&self);
}

/* Each step answers "success"; what is described decides whether it is believed. */
static void put_with_answers(const char *const *answers, size_t count, cb_code wanted)
{
    http_step steps[8] = {{.status = NULL}};
    char described[8][256];
    cloud self;

    for (size_t i = 0; i < count; i++) {
        const char *status = strcmp(answers[i], "missing") == 0 ? "404 Not Found" : "200 OK";

        steps[i] = (http_step){.status = status, .body = described[i]};
    }
    cloud_start(&self, PLACE, steps, count);
    for (size_t i = 0; i < count; i++) {
        snprintf(described[i], sizeof(described[i]), "{}");
        if (strcmp(answers[i], "ours") == 0)
            describe(described[i], "k", self.nonce);
        else if (strcmp(answers[i], "other") == 0)
            describe(described[i], "k", "11111111111111111111111111111111");
        else if (strcmp(answers[i], "elsewhere") == 0)
            describe(described[i], "l", self.nonce);
    }
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "hello"), wanted);
    assert_int_equal(self.server.requests, count);
    assert_false(cloud_was_asked(&self, "ifGenerationMatch"));
    cloud_stop(&self);
}

static void test_answers_are_not_believed_alone(void **state)
{
    static const char *const told[] = {"", "ours"};
    static const char *const lost_once[] = {"", "missing", "ours"};
    static const char *const misled[] = {"elsewhere", "missing", "ours"};
    static const char *const always_lost[] = {"", "missing", "other", "other", "", "missing"};

    (void)state;
    put_with_answers(told, CB_LENGTH(told), CB_OK);
    put_with_answers(lost_once, CB_LENGTH(lost_once), CB_OK);
    put_with_answers(misled, CB_LENGTH(misled), CB_OK);
    put_with_answers(always_lost, CB_LENGTH(always_lost), CB_IO);
}

/* The answer to the first attempt is lost, the second is refused: by whose object? */
static void put_after_lost_answer(bool is_ours, bool is_lost, cb_code wanted, unsigned requests)
{
    char stat[256];
    const http_step steps[] = {{.status = "200 OK", .action = HTTP_HANG_UP},
                               {.status = "412 Precondition Failed", .body = "{}"},
                               {.status = "200 OK", .body = stat}};
    cloud self;

    cloud_start(&self, PLACE, steps + (is_lost ? 0 : 1), is_lost ? 3 : 2);
    describe(stat, "k", is_ours ? self.nonce : "11111111111111111111111111111111");
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "hello"), wanted);
    assert_int_equal(self.server.requests, requests);
    cloud_stop(&self);
}

static void test_knows_its_own_object_again(void **state)
{
    (void)state;
    put_after_lost_answer(true, true, CB_OK, 3);
    put_after_lost_answer(false, true, CB_EXISTS, 3);
    put_after_lost_answer(true, false, CB_EXISTS, 1); /* nothing was sent before: not ours */
}

static void test_tells_why_it_failed(void **state)
{
    static const struct {
        http_step step;
        cb_code code;
        const char *words;
    } cases[] = {
        {{.status = "404 Not Found",
          .body = "{\"error\":{\"message\":\"The specified bucket does not exist.\"}}"},
         CB_NOT_FOUND,
         "there is no bucket 'bucket' at"},
        {{.status = "404 Not Found",
          .body = "{\"error\":{\"message\":\"No such object: bucket/some/pre/k\"}}"},
         CB_NOT_FOUND,
         "there is no object 'k' in 'gs://bucket/some/pre'"},
        {{.status = "403 Forbidden",
          .body = "{\"error\":{\"message\":\"me@x does not have storage.objects.get\\naccess\"}}"},
         CB_DENIED,
         "cannot read 'k' in 'gs://bucket/some/pre': Google refused: me@x does not have "
         "storage.objects.get access"},
        {{.status = "401 Unauthorized", .body = "{}"},
         CB_DENIED,
         "Google does not accept the credentials"},
        {{.status = "400 Bad Request", .body = "<"}, CB_IO, "the store answered 400"},
    };
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        cloud self;

        cloud_start(&self, PLACE, &cases[i].step, 1);
        assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), cases[i].code);
        if (strstr(self.err.message, cases[i].words) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].words, self.err.message);
        assert_int_equal(into.size, 0);
        cloud_stop(&self);
    }
}

static void test_cuts_what_was_sent_whole(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cloud self;
    CLOUD_SCRIPT(&self, PLACE, {.status = "200 OK", .body = "0123456789"});

    (void)state;
    assert_int_equal(cb_store_get(self.store, "k", 3, 4, &into, &self.err), CB_OK);
    assert_true(cloud_was_asked(&self, "Range: bytes=3-6\r\n"));
    assert_true(cloud_was_asked(&self, "GET /storage/v1/b/bucket/o/some%2Fpre%2Fk?alt=media "));
    assert_int_equal(into.size, 4);
    assert_memory_equal(into.data, "3456", 4);
    cloud_stop(&self);
}

#define UNTIL_US INT64_C(1796083200000000) /* 2026-12-01 */

static bool body_holds(cloud *self, const char *text)
{
    return memmem(self->server.body.data, self->server.body.size, text, strlen(text)) != NULL;
}

static void test_locks_objects(void **state)
{
    char described[256];
    const http_step put[] = {
        {.status = "200 OK", .body = "{\"objectRetention\":{\"mode\":\"Enabled\"}}"},
        {.status = "200 OK", .body = described}};
    const http_step longer[] = {{.status = "200 OK",
                                 .body = "{\"retention\":{\"mode\":\"Locked\",\"retainUntilTime\":"
                                         "\"2026-11-30T00:00:00Z\"}}"},
                                {.status = "200 OK", .body = "{}"}};
    const http_step long_enough[] = {{.status = "200 OK",
                                      .body =
                                          "{\"retention\":{\"mode\":\"Locked\",\"retainUntilTime\":"
                                          "\"2026-12-02T00:00:00Z\"}}"}};
    cb_put_options options = {.mode = CB_PUT_NEW, .retain_until_us = UNTIL_US};
    cb_error err = {0};
    cloud self;

    (void)state;
    cloud_start(&self, PLACE, put, 2);
    describe(described, "k", self.nonce);
    assert_ok(cb_store_put_bytes_with(self.store, "k", &options, text_bytes("hello"), &err));
    assert_true(body_holds(&self, "\"retention\":{\"mode\":\"Locked\",\"retainUntilTime\":"
                                  "\"2026-12-01T00:00:00Z\"}"));
    /* The bucket is asked once only. */
    http_server_script(&self.server, longer, 2);
    self.server.requests = 0;
    assert_ok(cb_store_retain(self.store, "k", UNTIL_US, &err));
    assert_int_equal(self.server.requests, 2);
    assert_true(cloud_was_asked(&self, "PATCH /storage/v1/b/bucket/o/some%2Fpre%2Fk?"));
    assert_true(body_holds(&self, "{\"retention\":{\"mode\":\"Locked\",\"retainUntilTime\":"
                                  "\"2026-12-01T00:00:00Z\"}}"));
    http_server_script(&self.server, long_enough, 1);
    self.server.requests = 0;
    assert_ok(cb_store_retain(self.store, "k", UNTIL_US, &err));
    assert_int_equal(self.server.requests, 1);
    cloud_stop(&self);
}

/* A service that does not know locks might pass over the wish: nothing is written then. */
static void test_asks_before_it_relies_on_locks(void **state)
{
    cb_put_options options = {.mode = CB_PUT_NEW, .retain_until_us = UNTIL_US};
    cb_error err = {0};
    cloud self;
    CLOUD_SCRIPT(&self, PLACE, {.status = "200 OK", .body = "{\"versioning\":{}}"});

    (void)state;
    assert_code(CB_UNSUPPORTED,
                cb_store_put_bytes_with(self.store, "k", &options, text_bytes("hello"), &err));
    assert_code(CB_UNSUPPORTED, cb_store_retain(self.store, "k", UNTIL_US, &err));
    assert_int_equal(self.server.requests, 1);
    cloud_stop(&self);
}

/* ---- sessions -------------------------------------------------------------------------------- */

enum { CHUNK = 16 << 20, LARGE = (40 << 20) + 1000 };

typedef struct large {
    cloud cloud;
    char location[96], result[320];
    char ranges[8][64];
    uint8_t *data;
} large;

static void large_start(large *self)
{
    static const http_step nothing[] = {{.status = "500 Unexpected"}};
    uint32_t crc32c;
    char crc_text[CB_BASE64_SIZE(4)];

    cloud_start(&self->cloud, PLACE, nothing, 1);
    self->data = malloc(LARGE);
    assert_non_null(self->data);
    for (size_t i = 0; i < LARGE; i++)
        self->data[i] = (uint8_t)(i * 2654435761u >> 13);
    crc32c = cb_crc32c(0, cb_bytes_of(self->data, LARGE));
    snprintf(self->location, sizeof(self->location),
             "Location: http://127.0.0.1:%u/session?id=1\r\n", self->cloud.server.port);
    snprintf(self->result, sizeof(self->result),
             "{\"name\":\"some/pre/"
             "large\",\"generation\":\"99\",\"size\":\"%d\",\"crc32c\":\"%s\",\"metadata\":"
             "{\"canvasback-nonce\":\"%s\"}}",
             LARGE, cb_base64_u32(crc32c, crc_text), self->cloud.nonce);
}

static void large_stop(large *self)
{
    free(self->data);
    cloud_stop(&self->cloud);
}

static http_step persisted_to(large *self, size_t at, uint64_t bytes)
{
    snprintf(self->ranges[at], sizeof(self->ranges[at]), "Range: bytes=0-%llu\r\n",
             (unsigned long long)bytes - 1);
    return (http_step){.status = "308 Resume Incomplete", .headers = self->ranges[at]};
}

static cb_code put_it(large *self, const http_step *steps, size_t count)
{
    http_server_script(&self->cloud.server, steps, count);
    cb_error_clear(&self->cloud.err);
    return cb_store_put_bytes(self->cloud.store, "large", CB_PUT_NEW,
                              cb_bytes_of(self->data, LARGE), &self->cloud.err);
}

static void test_sends_large_objects_in_chunks(void **state)
{
    large self;
    char hash[64];

    (void)state;
    large_start(&self);
    {
        /* The second chunk arrives in two pieces. */
        const http_step steps[] = {{.status = "200 OK", .headers = self.location},
                                   persisted_to(&self, 0, CHUNK),
                                   persisted_to(&self, 1, CHUNK + 262144),
                                   persisted_to(&self, 2, 2 * CHUNK),
                                   {.status = "200 OK", .body = self.result}};

        assert_int_equal(put_it(&self, steps, CB_LENGTH(steps)), CB_OK);
    }
    assert_int_equal(self.cloud.server.requests, 5);
    assert_true(cloud_was_asked(&self.cloud, "PUT /session?id=1 HTTP/1.1\r\n"));
    assert_true(
        cloud_was_asked(&self.cloud, "Content-Range: bytes 33554432-41944039/41944040\r\n"));
    snprintf(hash, sizeof(hash), "X-Goog-Hash: crc32c=%.8s\r\n",
             strstr(self.result, "crc32c") + strlen("crc32c\":\""));
    assert_true(cloud_was_asked(&self.cloud, hash));
    assert_int_equal(self.cloud.server.body.size, LARGE - 2 * CHUNK);
    assert_memory_equal(self.cloud.server.body.data, self.data + 2 * CHUNK, LARGE - 2 * CHUNK);
    large_stop(&self);
}

static void test_removes_what_came_out_wrong(void **state)
{
    large self;

    (void)state;
    large_start(&self);
    memcpy(strstr(self.result, "crc32c") + strlen("crc32c\":\""), "AAAA", 4);
    {
        const http_step steps[] = {{.status = "200 OK", .headers = self.location},
                                   persisted_to(&self, 0, CHUNK),
                                   persisted_to(&self, 1, 2 * CHUNK),
                                   {.status = "200 OK", .body = self.result},
                                   {.status = "200 OK", .body = self.result},
                                   {.status = "204 No Content"}};

        assert_int_equal(put_it(&self, steps, CB_LENGTH(steps)), CB_RETRY);
    }
    assert_non_null(strstr(self.cloud.err.message, "changed on the way"));
    /* It was looked at; then the object went, and the session that never came to its end. */
    assert_int_equal(self.cloud.server.requests, 7);
    assert_true(cloud_was_asked(&self.cloud, "DELETE /session?id=1 "));
    large_stop(&self);
}

static void test_never_skips_lost_bytes(void **state)
{
    large self;

    (void)state;
    large_start(&self);
    {
        /* The service says that it has less than it has confirmed before. */
        const http_step steps[] = {{.status = "200 OK", .headers = self.location},
                                   persisted_to(&self, 0, CHUNK),
                                   persisted_to(&self, 1, CHUNK - 262144)};

        assert_int_equal(put_it(&self, steps, CB_LENGTH(steps)), CB_RETRY);
    }
    assert_non_null(strstr(self.cloud.err.message, "lost bytes"));
    large_stop(&self);
}

/* ---- a real one ------------------------------------------------------------------------------ */

static cb_code keep_versions(void *arg, const cb_version *version, cb_error *err)
{
    char(*ids)[32] = arg;

    (void)err;
    for (size_t i = 0; i < 4; i++)
        if (ids[i][0] == '\0') {
            snprintf(ids[i], sizeof(ids[i]), "%s", version->id[0] != '\0' ? version->id : "-");
            break;
        }
    return CB_OK;
}

static void test_goes_back_to_a_version(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    char ids[4][32] = {{0}};
    cb_store_facts facts;
    cb_error err = {0};
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_GS"))
        skip();
    assert_ok(self.store->ops->look(self.store, &facts, &err));
    if (facts.versioning != CB_ANSWER_YES) {
        cloud_stop(&self);
        skip();
    }
    assert_int_equal(cloud_put(&self, "v/a", CB_PUT_NEW, "1"), CB_OK);
    assert_int_equal(cloud_put(&self, "v/a", CB_PUT_REPLACE, "22"), CB_OK);
    assert_int_equal(cloud_put(&self, "v/b", CB_PUT_NEW, "333"), CB_OK);
    assert_string_equal(cloud_versions(&self, "v/", false, &seen),
                        "v/a=2 latest; v/a=1; v/b=3 latest; ");
    assert_ok(cb_store_remove(self.store, "v/a", &err));
    assert_string_equal(cloud_versions(&self, "v/a", false, &seen),
                        "v/a=0 latest gone; v/a=2; v/a=1; ");
    assert_ok(cb_store_versions(self.store, "v/a", keep_versions, ids, &err));
    seen.size = 0;
    assert_ok(cb_store_get_version(self.store, "v/a", ids[2], 0, 10, &seen, &err));
    assert_int_equal(seen.size, 1);
    assert_ok(cb_store_revert(self.store, "v/a", ids[2], &err));
    assert_string_equal(cloud_get(&self, "v/a", &seen), "1");
    assert_code(CB_NOT_FOUND, cb_store_get_version(self.store, "v/a", "1", 0, 10, &seen, &err));
    cloud_stop(&self);
}

static void test_says_what_it_is(void **state)
{
    char name[CB_KEY_MAX + 1];
    cb_store_facts facts;
    cb_traffic traffic;
    cb_error err = {0};
    int64_t until;
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_GS"))
        skip();
    assert_ok(cb_store_stranger(self.store, name, &err));
    assert_string_equal(name, "");
    assert_int_equal(cloud_put(&self, "folder/", CB_PUT_NEW, ""), CB_USAGE);
    assert_int_equal(cloud_put(&self, "some thing", CB_PUT_NEW, "x"), CB_OK);
    assert_ok(cb_store_stranger(self.store, name, &err));
    assert_string_equal(name, "some thing");

    /* The emulator would take the wish for a lock, and forget it. */
    assert_code(CB_UNSUPPORTED,
                cb_store_retain(self.store, "some thing", INT64_C(1900000000000000), &err));
    assert_ok(cb_store_retained(self.store, "some thing", &until, &err));
    assert_true(until == 0);
    cb_store_facts_of(self.store, &facts);
    assert_string_equal(facts.kind, "gs");
    assert_int_equal(facts.object_lock, CB_ANSWER_NO);
    assert_true(facts.region[0] != '\0');
    cb_store_traffic(self.store, &traffic);
    assert_true(traffic.requests >= 5 && traffic.requests < 12 && traffic.retries == 0);
    cloud_stop(&self);
}

static cb_code pass_on(void *arg, const cb_object *object, cb_error *err)
{
    (void)arg;
    (void)object;
    (void)err;
    return CB_OK;
}

static void test_bucket_is_missing(void **state)
{
    const char *address = getenv("CB_TEST_GS");
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    char other[CB_PLACE_TEXT_MAX];
    cloud self = {0};

    (void)state;
    if (address == NULL)
        skip();
    snprintf(other, sizeof(other), "gs://never-made/x%s", address + strcspn(address, "?"));
    self.ctx = test_ctx_new();
    if (cb_store_open(self.ctx, other, false, &self.store, &self.err) != CB_OK)
        fail_msg("%s", self.err.message);
    assert_int_equal(cb_store_get(self.store, "k", 0, 1, &into, &self.err), CB_NOT_FOUND);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_NOT_FOUND);
    assert_non_null(strstr(self.err.message, "there is no bucket 'never-made'"));
    assert_true(self.err.in_repository);
    assert_int_equal(cb_store_list(self.store, "", pass_on, NULL, &self.err), CB_NOT_FOUND);
    assert_non_null(strstr(self.err.message, "there is no bucket 'never-made'"));
    cloud_stop(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_listings),
        cmocka_unit_test(test_refuses_other_answers),
        cmocka_unit_test(test_reads_buckets_and_refusals),
        cmocka_unit_test(test_describes_objects),
        cmocka_unit_test(test_lists_page_after_page),
        cmocka_unit_test(test_sends_small_objects_whole),
        cmocka_unit_test(test_answers_are_not_believed_alone),
        cmocka_unit_test(test_knows_its_own_object_again),
        cmocka_unit_test(test_tells_why_it_failed),
        cmocka_unit_test(test_locks_objects),
        cmocka_unit_test(test_asks_before_it_relies_on_locks),
        cmocka_unit_test(test_cuts_what_was_sent_whole),
        cmocka_unit_test(test_sends_large_objects_in_chunks),
        cmocka_unit_test(test_removes_what_came_out_wrong),
        cmocka_unit_test(test_never_skips_lost_bytes),
        cmocka_unit_test(test_goes_back_to_a_version),
        cmocka_unit_test(test_says_what_it_is),
        cmocka_unit_test(test_bucket_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
