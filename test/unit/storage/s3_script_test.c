/*
 * The S3 store against answers that a well-behaved server never gives, by script: no network is
 * needed but loopback.
 */
#include "unit.h"

#include "cloud_kit.h"

#include "codec/checksum.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

#define PLACE        "s3c://bucket/p?endpoint=http://127.0.0.1:%u"
#define ERROR_(code) "<Error><Code>" code "</Code><Message>said so</Message></Error>"

static bool message_has(const cloud *self, const char *text)
{
    return strstr(self->err.message, text) != NULL;
}

/* ---- what a request looks like -------------------------------------------------------------- */

static void test_a_request(void **state)
{
    cloud self;
    char text[CB_BASE64_SIZE(8)];
    char line[128];
    cb_bytes hello = cb_bytes_of("hello", 5);

    (void)state;
    snprintf(line, sizeof(line), "x-amz-checksum-crc64nvme: %s\r\n",
             cb_base64_u64(cb_crc64nvme(0, hello), text));
    http_step step = {.status = "200 OK", .headers = line};
    cloud_start(&self, PLACE, &step, 1);
    assert_int_equal(cloud_put(&self, "a b/c+d", CB_PUT_NEW, "hello"), CB_OK);
    assert_int_equal(self.server.requests, 1);
    assert_true(cloud_was_asked(&self, "PUT /bucket/p/a%20b/c%2Bd HTTP/1.1\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=unitkey/"));
    assert_true(cloud_was_asked(&self, "/us-east-1/s3/aws4_request"));
    assert_true(cloud_was_asked(&self,
                                "x-amz-content-sha256: "
                                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b"
                                "9824\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nIf-None-Match: *\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nx-amz-security-token: unittoken\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nx-amz-meta-canvasback: "));
    assert_true(cloud_was_asked(&self, line));
    assert_false(cloud_was_asked(&self, "unitsecret"));
    cloud_stop(&self);
}

static void test_styles_of_addresses(void **state)
{
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, "s3://bucket?region=eu-x-1&url_style=vhost&endpoint=http://localhost:%u",
                 {.status = "404 No", .body = ERROR_("NoSuchKey")});
    assert_int_equal(cb_store_remove(self.store, "k", &self.err), CB_OK);
    /* "bucket.localhost" is this machine, too, to libcurl. */
    assert_true(cloud_was_asked(&self, "DELETE /k HTTP/1.1\r\nHost: bucket.localhost:"));
    assert_true(cloud_was_asked(&self, "/eu-x-1/s3/aws4_request"));
    cloud_stop(&self);
}

/* ---- uploads whose answers are lost or lie -------------------------------------------------- */

static void script_put(cloud *self, http_step *steps, size_t count, char line[256], bool nonce)
{
    char text[CB_BASE64_SIZE(8)];

    snprintf(line, 256, "x-amz-checksum-crc64nvme: %s\r\n%s",
             cb_base64_u64(cb_crc64nvme(0, cb_bytes_of("x", 1)), text),
             nonce ? "x-amz-meta-canvasback: 0123456789abcdef0123456789abcdef\r\n" : "");
    cloud_start(self, PLACE, steps, count);
    if (nonce)
        memcpy(strstr(line, "0123456789abcdef"), self->nonce, 32);
}

static void test_our_own_create_met_again(void **state)
{
    cloud self;
    char line[256];
    http_step steps[] = {{.action = HTTP_HANG_UP},
                         {.status = "412 There", .body = ERROR_("PreconditionFailed")},
                         {.status = "200 OK", .headers = line, .body = "x"}};

    (void)state;
    script_put(&self, steps, 3, line, true);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_OK);
    assert_int_equal(self.server.requests, 3);
    assert_true(cloud_was_asked(&self, "HEAD /bucket/p/k"));
    cloud_stop(&self);
}

static void test_anothers_create_met_after_ours_was_lost(void **state)
{
    cloud self;
    char line[256];
    http_step steps[] = {{.action = HTTP_HANG_UP},
                         {.status = "412 There", .body = ERROR_("PreconditionFailed")},
                         {.status = "200 OK", .headers = line, .body = "x"}};

    (void)state;
    script_put(&self, steps, 3, line, false); /* the very same bytes, but another's */
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_EXISTS);
    cloud_stop(&self);
}

static void test_create_refused_at_once(void **state)
{
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, {.status = "412 There", .body = ERROR_("PreconditionFailed")});
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_EXISTS);
    assert_int_equal(self.server.requests, 1);
    cloud_stop(&self);
}

static void test_racing_creates_are_tried_again(void **state)
{
    cloud self;
    char line[256];
    http_step steps[] = {{.status = "409 Conflict", .body = ERROR_("ConditionalRequestConflict")},
                         {.status = "503 Busy", .body = ERROR_("SlowDown")},
                         {.status = "400 Bad", .body = ERROR_("RequestTimeout")},
                         {.status = "200 OK", .headers = line}};

    (void)state;
    script_put(&self, steps, 4, line, false);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_OK);
    assert_int_equal(self.server.requests, 4);
    cloud_stop(&self);
}

static void test_success_that_is_none(void **state)
{
    cloud self;
    char line[256];
    /* An answer without the checksum is looked after: nothing there, so it is sent again. */
    http_step steps[] = {{.status = "200 OK", .headers = "ETag: \"1\"\r\n"},
                         {.status = "404 No"},
                         {.status = "200 OK", .headers = "ETag: \"1\"\r\n"},
                         {.status = "200 OK", .headers = line, .body = "x"}};

    (void)state;
    script_put(&self, steps, 4, line, true);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_OK);
    assert_int_equal(self.server.requests, 4);
    cloud_stop(&self);

    CLOUD_SCRIPT(&self, PLACE, {.status = "200 OK"}, {.status = "404 No"}, {.status = "200 OK"},
                 {.status = "404 No"}, {.status = "200 OK"}, {.status = "404 No"});
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "x"), CB_IO);
    assert_true(message_has(&self, "answers that 'k' is stored, but it is not there"));
    cloud_stop(&self);
}

static void test_success_for_other_bytes(void **state)
{
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "200 OK", .headers = "x-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\n"});
    /* Each look sees an object that is not ours either. */
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "x"), CB_IO);
    assert_int_equal(self.server.requests, 6);
    cloud_stop(&self);
}

static void test_a_store_without_crc64(void **state)
{
    cloud self;
    char line[256];
    http_step steps[] = {{.status = "400 Bad",
                          .body = "<Error><Code>InvalidRequest</Code><Message>The algorithm type "
                                  "you specified in x-amz-checksum- header is invalid.</Message>"
                                  "</Error>"},
                         {.status = "200 OK", .headers = "ETag: \"1\"\r\n"},
                         {.status = "200 OK", .headers = line, .body = "x"}};

    (void)state;
    script_put(&self, steps, 2, line, true);
    http_server_script(&self.server, steps, 3);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "x"), CB_OK);
    assert_int_equal(self.server.requests, 3);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "x"), CB_OK); /* it is remembered */
    assert_int_equal(self.server.requests, 4);
    assert_true(cloud_was_asked(&self, "PUT "));
    assert_true(cloud_was_asked(&self, "\r\nContent-MD5: ndTkYSaMgDT1yFZOFVxnpg==\r\n"));
    cloud_stop(&self);
}

/* ---- parts ---------------------------------------------------------------------------------- */

static cb_code put_parts(cloud *self)
{
    static uint8_t large[(40 << 20) + 1];

    return cb_store_put_bytes(self->store, "k", CB_PUT_NEW, cb_bytes_of(large, sizeof(large)),
                              &self->err);
}

#define BEGUN                                                                                      \
    {                                                                                              \
        .status = "200 OK", .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></"     \
                                    "InitiateMultipartUploadResult>"                               \
    }
#define PART                                                                                       \
    {                                                                                              \
        .status = "200 OK", .headers = "ETag: \"p\"\r\n"                                           \
    }

static void test_completion_that_lies(void **state)
{
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, BEGUN, PART, PART, PART,
                 {.status = "200 OK", .body = ERROR_("InternalError")},
                 {.status = "200 OK", .body = ERROR_("AccessDenied")}, {.status = "204 OK"});
    assert_int_equal(put_parts(&self), CB_DENIED);
    assert_int_equal(self.server.requests, 7);
    assert_true(cloud_was_asked(&self, "DELETE /bucket/p/k?uploadId=u1"));
    cloud_stop(&self);
}

static void test_completion_met_again(void **state)
{
    cloud self;
    char line[256];
    http_step steps[] = {BEGUN,
                         PART,
                         PART,
                         PART,
                         {.action = HTTP_HANG_UP},
                         {.status = "404 No", .body = ERROR_("NoSuchUpload")},
                         {.status = "200 OK", .headers = line, .body = NULL}};
    static char body[(40 << 20) + 1];

    (void)state;
    script_put(&self, steps, 7, line, true);
    steps[6].body = body; /* its length is what HEAD tells */
    steps[6].body_size = sizeof(body);
    assert_int_equal(put_parts(&self), CB_OK);
    assert_int_equal(self.server.requests, 7);
    cloud_stop(&self);

    script_put(&self, steps, 7, line, false); /* gone, and not ours */
    assert_int_equal(put_parts(&self), CB_IO);
    cloud_stop(&self);
}

static void test_a_part_refused(void **state)
{
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, BEGUN, {.status = "403 No", .body = ERROR_("AccessDenied")});
    assert_int_equal(put_parts(&self), CB_DENIED);
    assert_true(cloud_was_asked(&self, "DELETE /bucket/p/k?uploadId=u1"));
    cloud_stop(&self);
}

/* ---- regions, clocks, credentials ----------------------------------------------------------- */

static void test_the_region_is_learned(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "301 Moved",
                  .headers = "x-amz-bucket-region: eu-far-9\r\n",
                  .body = ERROR_("PermanentRedirect")},
                 {.status = "206 OK", .headers = "Content-Range: bytes 0-1/2\r\n", .body = "ok"});
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_OK);
    assert_int_equal(into.size, 2);
    assert_true(cloud_was_asked(&self, "/eu-far-9/s3/aws4_request"));
    cloud_stop(&self);

    static const http_step malformed[] = {
        {.status = "400 Bad",
         .body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-9</Region></Error>"},
        {.status = "404 No", .body = ERROR_("NoSuchKey")},
    };
    cloud_start(&self, PLACE, malformed, 2);
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_NOT_FOUND);
    assert_true(cloud_was_asked(&self, "/us-9/s3/aws4_request"));
    cloud_stop(&self);

    static const http_step round_about[] = {
        {.status = "301 Moved", .headers = "x-amz-bucket-region: a-1\r\n"},
        {.status = "301 Moved", .headers = "x-amz-bucket-region: b-1\r\n"},
        {.status = "301 Moved", .headers = "x-amz-bucket-region: c-1\r\n"},
    };
    cloud_start(&self, PLACE, round_about, 3);
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_USAGE);
    assert_int_equal(self.server.requests, 3);
    cloud_stop(&self);
}

static void test_a_wrong_clock(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    /* The test's clock stands at 11:00:00. */
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "403 No",
                  .headers = "Date: Sat, 21 Nov 2026 11:20:00 GMT\r\n",
                  .body = ERROR_("RequestTimeTooSkewed")});
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_DENIED);
    assert_true(message_has(&self, "the clock of this machine is 20 min behind that of"));
    cloud_stop(&self);
}

static void test_expired_credentials_are_asked_for_once_more(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, {.status = "400 Bad", .body = ERROR_("ExpiredToken")});
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_DENIED);
    assert_in_range(self.server.requests, 1, 2);
    assert_null(strstr(self.err.message, "unittoken"));
    cloud_stop(&self);
}

/* ---- listings ------------------------------------------------------------------------------- */

static cb_code ignore_object(void *arg, const cb_object *object, cb_error *err)
{
    (void)arg;
    (void)object;
    (void)err;
    return CB_OK;
}

static void test_listings_that_go_wrong(void **state)
{
    static const char *const wrong[] = {
        "",
        "<html></html>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><Contents><Key>p/a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>p/%zz</Key></Contents>"
        "</ListBucketResult>",
        "<ListBucketResult><Contents><Key>p/b</Key></Contents><Contents><Key>p/a</Key></Contents>"
        "</ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a 'p'>]><ListBucketResult><Contents><Key>&a;/a</Key></Contents>"
        "</ListBucketResult>",
        /* the same page for ever */
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t"
        "</NextContinuationToken></ListBucketResult>",
    };
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        cloud self;
        http_step step = {.status = "200 OK", .body = wrong[i]};
        char key[CB_KEY_MAX + 1];
        cb_code code;

        cloud_start(&self, PLACE, &step, 1);
        code = cb_store_list(self.store, "", ignore_object, NULL, &self.err);
        assert_int_equal(code, i == 6 ? CB_UNSUPPORTED : CB_IO);
        cb_ignore(cb_store_stranger(self.store, key, &self.err));
        cloud_stop(&self);
    }
}

static void test_listing_shows_only_what_is_ours(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};

    (void)state;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "200 OK",
                  .body = "<ListBucketResult xmlns='urn:x'><EncodingType>url</EncodingType>"
                          "<Contents><Key>other/a</Key><Size>1</Size></Contents>"
                          "<Contents><Key>p/</Key><Size>0</Size></Contents>"
                          "<Contents><Key>p/a+b%2Bc</Key><Size>7</Size></Contents>"
                          "<IsTruncated>true</IsTruncated></ListBucketResult>"},
                 {.status = "200 OK",
                  .body = "<ListBucketResult><Contents><Key>p/x//y</Key><Size>0</Size></Contents>"
                          "<Contents><Key>p/z</Key><Size>8</Size></Contents>"
                          "<Contents><Key>px</Key><Size>1</Size></Contents></ListBucketResult>"});
    assert_string_equal(cloud_list(&self, "", &text), "a b+c=7 z=8 ");
    /* Without a token the list goes on behind the last key. */
    assert_true(cloud_was_asked(&self, "&prefix=p%2F&start-after=p%2Fa%20b%2Bc HTTP"));
    cloud_stop(&self);
}

static void test_a_range_that_is_another(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "206 OK", .headers = "Content-Range: bytes 0-1/9\r\n", .body = "ok"},
                 {.status = "206 OK", .headers = "Content-Range: bytes 4-5/9\r\n", .body = "ok"},
                 {.status = "206 OK", .headers = "Content-Range: bytes 4-8/9\r\n", .body = "right"},
                 {.status = "200 OK", .body = "012345678"});
    assert_int_equal(cb_store_get(self.store, "k", 4, 5, &into, &self.err), CB_IO);
    assert_int_equal(cb_store_get(self.store, "k", 4, 5, &into, &self.err), CB_IO);
    assert_int_equal(into.size, 0);
    assert_int_equal(cb_store_get(self.store, "k", 4, 100, &into, &self.err), CB_OK);
    assert_int_equal(into.size, 5);
    assert_int_equal(cb_store_get(self.store, "k", 7, 100, &into, &self.err), CB_OK);
    assert_int_equal(into.size, 7);
    assert_memory_equal(into.data, "right78", 7);
    cloud_stop(&self);
}

/* ---- removal -------------------------------------------------------------------------------- */

static void test_removals(void **state)
{
    static const char *const keys[] = {"a", "b&c"};
    cloud self;

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, {.status = "403 No", .body = ERROR_("AccessDenied")},
                 {.status = "200 OK", .body = "<DeleteResult/>"},
                 {.status = "200 OK",
                  .body = "<DeleteResult><Error><Key>p/a</Key><Code>AccessDenied</Code></Error>"
                          "</DeleteResult>"},
                 {.status = "501 No", .body = ERROR_("NotImplemented")}, {.status = "204 OK"});
    assert_int_equal(cb_store_remove_many(self.store, keys, 2, &self.err), CB_OK);
    assert_true(cloud_was_asked(&self, "POST /bucket/?delete= HTTP"));
    assert_true(cloud_was_asked(&self, "\r\nContent-MD5: "));
    assert_non_null(memmem(self.server.body.data, self.server.body.size,
                           "<Object><Key>p/b&amp;c</Key></Object>", 37));
    assert_int_equal(cb_store_remove_many(self.store, keys, 2, &self.err), CB_DENIED);
    assert_true(message_has(&self, "not allowed to remove 'a' in"));
    assert_int_equal(cb_store_remove_many(self.store, keys, 2, &self.err), CB_OK);
    assert_true(cloud_was_asked(&self, "DELETE /bucket/p/b%26c HTTP"));
    assert_int_equal(self.server.requests, 6);
    cloud_stop(&self);
}

static void test_nobody_answers(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    CLOUD_SCRIPT(&self, PLACE, {.status = "503 Busy", .body = ERROR_("SlowDown")});
    assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), CB_RETRY);
    assert_true(message_has(&self, "SlowDown (said so): 127.0.0.1:"));
    assert_true(message_has(&self, "answered 503 to the last of 10 attempts"));
    cloud_stop(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_styles_of_addresses),
        cmocka_unit_test(test_our_own_create_met_again),
        cmocka_unit_test(test_anothers_create_met_after_ours_was_lost),
        cmocka_unit_test(test_create_refused_at_once),
        cmocka_unit_test(test_racing_creates_are_tried_again),
        cmocka_unit_test(test_success_that_is_none),
        cmocka_unit_test(test_success_for_other_bytes),
        cmocka_unit_test(test_a_store_without_crc64),
        cmocka_unit_test(test_completion_that_lies),
        cmocka_unit_test(test_completion_met_again),
        cmocka_unit_test(test_a_part_refused),
        cmocka_unit_test(test_the_region_is_learned),
        cmocka_unit_test(test_a_wrong_clock),
        cmocka_unit_test(test_expired_credentials_are_asked_for_once_more),
        cmocka_unit_test(test_listings_that_go_wrong),
        cmocka_unit_test(test_listing_shows_only_what_is_ours),
        cmocka_unit_test(test_a_range_that_is_another),
        cmocka_unit_test(test_removals),
        cmocka_unit_test(test_nobody_answers),
    };
    setenv("AWS_ACCESS_KEY_ID", "unitkey", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "unitsecret", 1);
    setenv("AWS_SESSION_TOKEN", "unittoken", 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    unsetenv("AWS_PROFILE");
    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    unsetenv("AWS_ENDPOINT_URL");
    unsetenv("AWS_ENDPOINT_URL_S3");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
