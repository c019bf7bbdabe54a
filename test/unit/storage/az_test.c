/*
 * The store at Azure: what it signs, its answers taken apart, its requests before a scripted
 * server, and what the common tests do not ask of a real one (CB_TEST_AZ).
 */
#include "unit.h"

#include "codec/checksum.h"
#include "codec/mac.h"
#include "storage/az/az_internal.h"
#include "storage/az/az_sign.h"
#include "storage/az/az_xml.h"

#include <stdio.h>
#include <stdlib.h>

#include "cloud_kit.h"
#include "temp.h"

#define PLACE "az://cont/some/pre?endpoint=http://127.0.0.1:%u/devstoreaccount1"

static cb_bytes text_bytes(const char *text)
{
    return cb_bytes_of(text, strlen(text));
}

/* ---- signing --------------------------------------------------------------------------------- */

static void test_signs_what_is_sent(void **state)
{
    static const char *const headers[] = {
        "Content-Type: text/x", "If-None-Match: *", "x-ms-blob-type: BlockBlob",
        "Content-MD5: m==",     "Range: bytes=1-2", NULL};
    static const char *const more[] = {"x-ms-date: now", "X-MS-Version:2021-12-02", NULL};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_az_signing of = {.account = "acc",
                        .method = "PUT",
                        .url = "https://acc.host/c/a%20b/%2B?restype=x&Comp=a%2Fb%3D&blockid=",
                        .headers = headers,
                        .more = more,
                        .body_bytes = 5};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_az_string_to_sign(&of, &text, &err));
    assert_ok(cb_buf_u8(&text, 0, &err));
    assert_string_equal((char *)text.data,
                        "PUT\n\n\n5\nm==\ntext/x\n\n\n\n*\n\nbytes=1-2\n"
                        "x-ms-blob-type:BlockBlob\nx-ms-date:now\nx-ms-version:2021-12-02\n"
                        "/acc/c/a%20b/%2B\nblockid:\ncomp:a/b=\nrestype:x");
    text.size = 0;
    of = (cb_az_signing){.account = "dev", .method = "GET", .url = "http://127.0.0.1:1/dev/c"};
    assert_ok(cb_az_string_to_sign(&of, &text, &err));
    assert_ok(cb_buf_u8(&text, 0, &err));
    assert_string_equal((char *)text.data, "GET\n\n\n\n\n\n\n\n\n\n\n\n/dev/dev/c");
}

static void test_writes_dates(void **state)
{
    char text[CB_AZ_DATE_MAX];

    (void)state;
    assert_string_equal(cb_az_date(0, text), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_string_equal(cb_az_date(INT64_C(1795258800999999), text),
                        "Sat, 21 Nov 2026 11:00:00 GMT");
    assert_string_equal(cb_az_date(INT64_C(951782399000000), text),
                        "Mon, 28 Feb 2000 23:59:59 GMT");
}

/* ---- answers --------------------------------------------------------------------------------- */

static void test_reads_listings(void **state)
{
    CB_CLEANUP(cb_az_page_free) cb_az_page page = {0};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_az_parse_page(
        text_bytes(
            "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults "
            "ServiceEndpoint=\"http://h/\"><Prefix>p</Prefix><Blobs><Blob><Name>a&amp;b/\xc3\xbc"
            "</Name><VersionId>2026-11-21T11:27:57.1Z</VersionId><IsCurrentVersion>true"
            "</IsCurrentVersion><Properties><Last-Modified>Sat, 21 Nov 2026 11:00:00 GMT"
            "</Last-Modified><Content-Length>18446744073709551615</Content-Length></Properties>"
            "<Metadata><Name>not this</Name><Content-Length>9</Content-Length></Metadata></Blob>"
            "<BlobPrefix><Name>no blob</Name></BlobPrefix>"
            "<Blob><Name Encoded=\"true\">x%EF%BF%BF</Name><Properties><ResourceType>directory"
            "</ResourceType></Properties></Blob></Blobs><NextMarker>m&lt;</NextMarker>"
            "</EnumerationResults>"),
        &page, &err));
    assert_int_equal(page.count, 2);
    assert_string_equal(page.next, "m<");
    assert_string_equal(page.blobs[0].name, "a&b/\xc3\xbc");
    assert_string_equal(page.blobs[0].version, "2026-11-21T11:27:57.1Z");
    assert_true(page.blobs[0].is_current && !page.blobs[0].is_folder);
    assert_true(page.blobs[0].size_bytes == UINT64_MAX);
    assert_true(page.blobs[0].modified_us == INT64_C(1795258800000000));
    assert_string_equal(page.blobs[1].name, "x\xef\xbf\xbf");
    assert_string_equal(page.blobs[1].version, "");
    assert_true(page.blobs[1].is_folder && !page.blobs[1].is_current);
}

static void test_refuses_other_answers(void **state)
{
#define LISTING(text)                                                                              \
    "<EnumerationResults><Blobs><Blob>" text "</Blob></Blobs></EnumerationResults>"
    static const char *const wrong[] = {
        "",
        "{}",
        "<Other/>",
        "<EnumerationResults>",
        LISTING(""),
        LISTING("<Name/>"),
        LISTING("<Name>a</Name><Properties><Content-Length>-1</Content-Length></Properties>"),
        LISTING("<Name Encoded='true'>%x</Name>"),
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" LISTING("<Name>&a;</Name>"),
        LISTING("<Name>a\x01</Name>"),
    };
    char code[CB_AZ_CODE_MAX];
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        cb_az_page page = {0};

        if (cb_az_parse_page(text_bytes(wrong[i]), &page, &err) != CB_IO)
            fail_msg("%s", wrong[i]);
        cb_az_page_free(&page);
    }
    cb_az_parse_failure(text_bytes("<Error><Code>BlobNotFound</Code><X><Code>y</Code></X></Error>"),
                        code);
    assert_string_equal(code, "BlobNotFound");
    cb_az_parse_failure(text_bytes("<html>"), code);
    assert_string_equal(code, "");
}

/* ---- requests -------------------------------------------------------------------------------- */

static void test_lists_page_after_page(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cloud self;
    CLOUD_SCRIPT(
        &self, PLACE,
        {.status = "200 OK",
         .body = "<EnumerationResults><Blobs><Blob><Name>some/pre/x/1</Name></Blob><Blob><Name>"
                 "some/pre/x//</Name></Blob></Blobs><NextMarker>a+b</NextMarker>"
                 "</EnumerationResults>"},
        {.status = "200 OK",
         .body = "<EnumerationResults><Blobs><Blob><Name>some/pre/x/2</Name></Blob></Blobs>"
                 "<NextMarker/></EnumerationResults>"});

    (void)state;
    assert_string_equal(cloud_list(&self, "x/", &seen), "x/1=0 x/2=0 ");
    assert_int_equal(self.server.requests, 2);
    assert_true(cloud_was_asked(&self, "GET /devstoreaccount1/cont?comp=list&marker=a%2Bb&"
                                       "prefix=some%2Fpre%2Fx%2F&restype=container HTTP/1.1\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nAuthorization: SharedKey devstoreaccount1:"));
    cloud_stop(&self);
}

static cb_code pass_on(void *arg, const cb_object *object, cb_error *err)
{
    (void)arg;
    (void)object;
    (void)err;
    return CB_OK;
}

/* A hierarchical namespace puts a/x before a-b, which whoever merges lists must not believe. */
static void test_refuses_lists_out_of_order(void **state)
{
    cloud self;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "200 OK",
                  .body = "<EnumerationResults><Blobs><Blob><Name>some/pre/a/x</Name></Blob>"
                          "<Blob><Name>some/pre/a-b</Name></Blob></Blobs></EnumerationResults>"});

    (void)state;
    assert_int_equal(cb_store_list(self.store, "", pass_on, NULL, &self.err), CB_UNSUPPORTED);
    assert_non_null(strstr(self.err.hint, "hierarchical namespace"));
    cloud_stop(&self);
}

/* The answer to the first attempt is lost, the second is refused: by whose object? */
static void put_after_lost_answer(bool is_ours, bool is_lost, cb_code wanted, unsigned requests)
{
    char nonce[128];
    const http_step steps[] = {
        {.status = "201 Created", .action = HTTP_HANG_UP},
        {.status = "409 Conflict", .headers = "x-ms-error-code: BlobAlreadyExists\r\n"},
        {.status = "200 OK", .headers = nonce, .body = "hello"}};
    cloud self;

    cloud_start(&self, PLACE, steps + (is_lost ? 0 : 1), is_lost ? 3 : 2);
    snprintf(nonce, sizeof(nonce), "x-ms-meta-canvasbacknonce: %s\r\n",
             is_ours ? self.nonce : "11111111111111111111111111111111");
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

static void test_sends_a_checksum(void **state)
{
    cb_store_facts facts;
    cloud self;
    CLOUD_SCRIPT(&self, PLACE,
                 {.status = "201 Created",
                  .headers = "x-ms-version-id: v\r\nContent-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n"},
                 {.status = "201 Created", .headers = "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n"});

    (void)state;
    assert_int_equal(cloud_put(&self, "k k", CB_PUT_NEW, "hello"), CB_OK);
    assert_true(cloud_was_asked(&self, "PUT /devstoreaccount1/cont/some/pre/k%20k HTTP/1.1\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nContent-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nIf-None-Match: *\r\n"));
    assert_true(cloud_was_asked(&self, "\r\nx-ms-blob-type: BlockBlob\r\n"));
    cb_store_facts_of(self.store, &facts);
    assert_int_equal(facts.versioning, CB_ANSWER_YES); /* the answer named a version */
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, ""), CB_OK);
    assert_false(cloud_was_asked(&self, "If-None-Match"));
    assert_true(cloud_was_asked(&self, "\r\nContent-Length: 0\r\n"));
    assert_int_equal(self.server.requests, 2);
    cloud_stop(&self);
}

/* Success without the checksum is looked after: "ours" and "other" are what lies there then. */
static void put_with_answers(const char *const *there, size_t count, cb_code wanted)
{
    http_step steps[8] = {{.status = NULL}};
    char nonces[8][80];
    cloud self;

    for (size_t i = 0; i < count; i++) {
        steps[2 * i] = (http_step){.status = "201 Created"};
        steps[2 * i + 1] = (http_step){
            .status = there[i] != NULL ? "200 OK" : "404 Not Found",
            .headers = nonces[i],
            .body = "hello",
        };
    }
    cloud_start(&self, PLACE, steps, 2 * count);
    for (size_t i = 0; i < count; i++)
        snprintf(nonces[i], sizeof(nonces[i]), "x-ms-meta-canvasbacknonce: %s\r\n",
                 there[i] != NULL && strcmp(there[i], "ours") == 0 ? self.nonce : "other");
    assert_int_equal(cloud_put(&self, "k", CB_PUT_REPLACE, "hello"), wanted);
    assert_int_equal(self.server.requests, 2 * count);
    cloud_stop(&self);
}

static void test_answers_are_not_believed_alone(void **state)
{
    static const char *const kept[] = {"ours"};
    static const char *const lost_once[] = {NULL, "ours"};
    static const char *const always_lost[] = {NULL, "other", NULL};

    (void)state;
    put_with_answers(kept, CB_LENGTH(kept), CB_OK);
    put_with_answers(lost_once, CB_LENGTH(lost_once), CB_OK);
    put_with_answers(always_lost, CB_LENGTH(always_lost), CB_IO);
}

static void test_tells_why_it_failed(void **state)
{
    static const struct {
        http_step step;
        cb_code code;
        const char *words, *hint;
    } cases[] = {
        {{.status = "404 Not Found", .headers = "x-ms-error-code: ContainerNotFound\r\n"},
         CB_NOT_FOUND,
         "there is no container 'cont' at",
         "only restoring a lake"},
        {{.status = "404 Not Found", .body = "<Error><Code>BlobNotFound</Code></Error>"},
         CB_NOT_FOUND,
         "there is no object 'k' in 'az://cont/some/pre'",
         ""},
        {{.status = "403 Forbidden",
          .headers = "x-ms-error-code: AuthorizationPermissionMismatch\r\n"},
         CB_DENIED,
         "Azure refused (AuthorizationPermissionMismatch)",
         "Storage Blob Data Contributor"},
        {{.status = "403 Forbidden",
          .headers = "x-ms-error-code: AuthenticationFailed\r\n"
                     "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"},
         CB_DENIED,
         "Azure does not accept the credentials",
         "60 minutes ahead of"},
        {{.status = "409 Conflict", .headers = "x-ms-error-code: BlobImmutableDueToPolicy\r\n"},
         CB_DENIED,
         "BlobImmutableDueToPolicy",
         "locked"},
        {{.status = "400 Bad Request"}, CB_IO, "the store answered 400", ""},
    };
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        cloud self;

        cloud_start(&self, PLACE, &cases[i].step, 1);
        assert_int_equal(cb_store_get(self.store, "k", 0, 9, &into, &self.err), cases[i].code);
        if (strstr(self.err.message, cases[i].words) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].words, self.err.message);
        if (strstr(self.err.hint, cases[i].hint) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].hint, self.err.hint);
        assert_int_equal(into.size, 0);
        cloud_stop(&self);
    }
}

#define UNTIL_US INT64_C(1796083200500000) /* 2026-12-01, and half a second */

static void test_locks_objects(void **state)
{
    static const http_step put[] = {
        {.status = "200 OK", .headers = "x-ms-immutable-storage-with-versioning-enabled: true\r\n"},
        {.status = "201 Created", .headers = "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n"}};
    static const http_step longer[] = {
        {.status = "200 OK",
         .headers = "x-ms-immutability-policy-until-date: Mon, 30 Nov 2026 00:00:00 GMT\r\n"
                    "x-ms-immutability-policy-mode: locked\r\n"},
        {.status = "200 OK"}};
    static const http_step long_enough[] = {
        {.status = "200 OK",
         .headers = "x-ms-immutability-policy-until-date: Tue, 01 Dec 2026 00:00:01 GMT\r\n"
                    "x-ms-immutability-policy-mode: Locked\r\n"}};
    static const char wanted[] =
        "\r\nx-ms-immutability-policy-until-date: Tue, 01 Dec 2026 00:00:01 GMT\r\n";
    cb_put_options options = {.mode = CB_PUT_NEW, .retain_until_us = UNTIL_US};
    cb_error err = {0};
    cloud self;

    (void)state;
    cloud_start(&self, PLACE, put, 2);
    assert_ok(cb_store_put_bytes_with(self.store, "k", &options, text_bytes("hello"), &err));
    assert_true(cloud_was_asked(&self, wanted));
    assert_true(cloud_was_asked(&self, "\r\nx-ms-immutability-policy-mode: Locked\r\n"));
    /* The container is asked once only. */
    http_server_script(&self.server, longer, 2);
    self.server.requests = 0;
    assert_ok(cb_store_retain(self.store, "k", UNTIL_US, &err));
    assert_int_equal(self.server.requests, 2);
    assert_true(cloud_was_asked(&self, "/cont/some/pre/k?comp=immutabilityPolicies HTTP"));
    assert_true(cloud_was_asked(&self, wanted));
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
    CLOUD_SCRIPT(&self, PLACE, {.status = "200 OK"});

    (void)state;
    assert_code(CB_UNSUPPORTED,
                cb_store_put_bytes_with(self.store, "k", &options, text_bytes("hello"), &err));
    assert_code(CB_UNSUPPORTED, cb_store_retain(self.store, "k", UNTIL_US, &err));
    assert_int_equal(self.server.requests, 1);
    cloud_stop(&self);
}

/* Whoever commits first throws the waiting blocks of the others away. */
static void test_another_writer_came_between(void **state)
{
    enum { LARGE = (40 << 20) + 1 };
    uint8_t *data = calloc(1, LARGE);
    cb_error err = {0};
    cloud self;
    CLOUD_SCRIPT(&self, PLACE, {.status = "201 Created"}, {.status = "201 Created"},
                 {.status = "201 Created"}, {.status = "201 Created"}, {.status = "201 Created"},
                 {.status = "201 Created"},
                 {.status = "400 Bad Request", .headers = "x-ms-error-code: InvalidBlockList\r\n"},
                 {.status = "404 Not Found"});

    (void)state;
    assert_non_null(data);
    assert_code(CB_RETRY,
                cb_store_put_bytes(self.store, "k", CB_PUT_NEW, cb_bytes_of(data, LARGE), &err));
    assert_non_null(strstr(err.message, "another writer of 'k' came between"));
    assert_int_equal(self.server.requests, 8); /* six blocks, the list, a look */

    free(data);
    cloud_stop(&self);
}

/* No emulator keeps versions: the listing of an account that does, and what is asked of it. */
static void test_goes_back_to_a_version(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cloud self;
    CLOUD_SCRIPT(
        &self, PLACE,
        {.status = "200 OK",
         .body = "<EnumerationResults><Blobs>"
                 "<Blob><Name>some/pre/a</Name><VersionId>2026-11-21T11:00:01Z</VersionId></Blob>"
                 "<Blob><Name>some/pre/a</Name><VersionId>2026-11-21T11:00:02Z</VersionId></Blob>"
                 "<Blob><Name>some/pre/b</Name><VersionId>2026-11-21T11:00:03Z</VersionId></Blob>"
                 "<Blob><Name>some/pre/b</Name><VersionId>2026-11-21T11:00:04Z</VersionId>"
                 "<IsCurrentVersion>true</IsCurrentVersion></Blob>"
                 "</Blobs></EnumerationResults>"},
        {.status = "206 Partial Content", .body = "x"},
        {.status = "202 Accepted", .headers = "x-ms-copy-status: pending\r\n"},
        {.status = "200 OK", .headers = "x-ms-copy-status: pending\r\n", .body = "x"},
        {.status = "200 OK", .headers = "x-ms-copy-status: success\r\n", .body = "x"});

    (void)state;
    assert_string_equal(cloud_versions(&self, "", true, &seen),
                        "a@=0 latest gone; a@2026-11-21T11:00:02Z=0; a@2026-11-21T11:00:01Z=0; "
                        "b@2026-11-21T11:00:04Z=0 latest; b@2026-11-21T11:00:03Z=0; ");
    assert_true(cloud_was_asked(&self, "&include=versions&"));
    assert_int_equal(
        cb_store_get_version(self.store, "a", "2026-11-21T11:00:02Z", 0, 1, &seen, &self.err),
        CB_OK);
    assert_true(cloud_was_asked(&self, "/some/pre/a?versionid=2026-11-21T11%3A00%3A02Z "));
    assert_int_equal(cb_store_revert(self.store, "a", "2026-11-21T11:00:02Z", &self.err), CB_OK);
    assert_int_equal(self.server.requests, 5);
    cloud_stop(&self);
}

/* ---- a real one ------------------------------------------------------------------------------ */

static void test_says_what_it_is(void **state)
{
    char name[CB_KEY_MAX + 1];
    cb_store_facts facts;
    cb_traffic traffic;
    cb_error err = {0};
    int64_t until;
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_AZ"))
        skip();
    assert_ok(self.store->ops->look(self.store, &facts, &err));
    assert_string_equal(facts.kind, "az");
    assert_int_equal(facts.object_lock, CB_ANSWER_NO);
    assert_ok(cb_store_stranger(self.store, name, &err));
    assert_string_equal(name, "");
    assert_int_equal(cloud_put(&self, "some thing", CB_PUT_NEW, "x"), CB_OK);
    assert_ok(cb_store_stranger(self.store, name, &err));
    assert_string_equal(name, "some thing");

    assert_code(CB_UNSUPPORTED,
                cb_store_retain(self.store, "some thing", INT64_C(1900000000000000), &err));
    assert_ok(cb_store_retained(self.store, "some thing", &until, &err));
    assert_true(until == 0);
    cb_store_traffic(self.store, &traffic);
    assert_true(traffic.requests >= 5 && traffic.requests < 12 && traffic.retries == 0);
    cloud_stop(&self);
}

/* An address like that of the environment, in another container; opened. */
static void open_elsewhere(cloud *self, const char *container)
{
    const char *address = getenv("CB_TEST_AZ");
    char other[CB_PLACE_TEXT_MAX];

    snprintf(other, sizeof(other), "az://%s/x%s", container, address + strcspn(address, "?"));
    memset(self, 0, sizeof(*self));
    self->ctx = test_ctx_new();
    if (cb_store_open(self->ctx, other, false, &self->store, &self->err) != CB_OK)
        fail_msg("%s", self->err.message);
}

static void test_container_is_missing(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cloud self;

    (void)state;
    if (getenv("CB_TEST_AZ") == NULL)
        skip();
    open_elsewhere(&self, "never-made");
    assert_int_equal(cb_store_get(self.store, "k", 0, 1, &into, &self.err), CB_NOT_FOUND);
    assert_non_null(strstr(self.err.message, "there is no container 'never-made'"));
    assert_true(self.err.in_repository);
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_NOT_FOUND);
    assert_non_null(strstr(self.err.message, "there is no container 'never-made'"));
    assert_int_equal(cb_store_list(self.store, "", pass_on, NULL, &self.err), CB_NOT_FOUND);
    assert_int_equal(cb_store_remove(self.store, "k", &self.err), CB_NOT_FOUND);
    cloud_stop(&self);
}

/* Credentials are read from the environment when a store is opened. */
static void with_credentials(const char *key, const char *sas, void (*check)(void))
{
    char *kept = getenv("AZURE_STORAGE_KEY") != NULL ? strdup(getenv("AZURE_STORAGE_KEY")) : NULL;

    if (key != NULL)
        setenv("AZURE_STORAGE_KEY", key, 1);
    else
        unsetenv("AZURE_STORAGE_KEY");
    if (sas != NULL)
        setenv("AZURE_STORAGE_SAS_TOKEN", sas, 1);
    check();
    unsetenv("AZURE_STORAGE_SAS_TOKEN");
    if (kept != NULL)
        setenv("AZURE_STORAGE_KEY", kept, 1);
    free(kept);
}

static void is_refused(void)
{
    cloud self;

    assert_true(cloud_open(&self, "CB_TEST_AZ"));
    assert_int_equal(cloud_put(&self, "k", CB_PUT_NEW, "x"), CB_DENIED);
    if (strstr(self.err.hint, "shared access signature") == NULL)
        fail_msg("%s; %s", self.err.message, self.err.hint);
    assert_null(strstr(self.err.message, "AAECAw"));
    assert_null(strstr(self.err.hint, "AAECAw"));
    cloud_stop(&self);
}

static void works(void)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cloud self;

    assert_true(cloud_open(&self, "CB_TEST_AZ"));
    if (cloud_put(&self, "a b", CB_PUT_NEW, "x") != CB_OK)
        fail_msg("%s", self.err.message);
    assert_string_equal(cloud_get(&self, "a b", &seen), "x");
    assert_string_equal(cloud_list(&self, "", &seen), "a b=1 ");
    if (cb_store_revert(self.store, "a b", "", &self.err) != CB_OK)
        fail_msg("%s", self.err.message);
    assert_int_equal(cb_store_remove(self.store, "a b", &self.err), CB_OK);
    cloud_stop(&self);
}

/* Of the emulator's account, with its published key. */
static void make_sas(const char *expiry, char out[512])
{
    static const char published[] =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    CB_CLEANUP(cb_buf_free) cb_buf encoded = {0};
    char signature[CB_BASE64_SIZE(CB_HMAC_BYTES)];
    uint8_t mac[CB_HMAC_BYTES];
    uint8_t key[64];
    size_t size;
    cb_error err = {0};

    assert_true(cb_unbase64(published, strlen(published), key, sizeof(key), &size));
    assert_ok(cb_buf_format(&text, &err,
                            "devstoreaccount1\nrwdlac\nb\nco\n\n%s\n\nhttps,http\n%s\n\n", expiry,
                            CB_AZ_SERVICE_VERSION));
    cb_hmac_sha256(key, size, cb_buf_bytes(&text), mac);
    assert_ok(cb_url_encode(&encoded, cb_base64(mac, sizeof(mac), signature), false, &err));
    snprintf(out, 512, "sv=%s&ss=b&srt=co&sp=rwdlac&se=%s&spr=https,http&sig=%.*s",
             CB_AZ_SERVICE_VERSION, expiry, (int)encoded.size, (char *)encoded.data);
}

static void test_credentials(void **state)
{
    char sas[512];

    (void)state;
    if (getenv("CB_TEST_AZ") == NULL)
        skip();
    with_credentials("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", NULL, is_refused);
    make_sas("2036-01-01T00:00:00Z", sas);
    with_credentials(NULL, sas, works);
    make_sas("2020-01-01T00:00:00Z", sas);
    with_credentials(NULL, sas, is_refused);
}

/* Two large uploads of one name, block by block in turns: each is itself, whoever comes last. */
static void test_blocks_are_of_one_writer(void **state)
{
    enum { STEP = 1 << 20, STEPS = 45 };
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    uint8_t *data;
    cb_writer *writers[2];
    cb_error err = {0};
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_AZ"))
        skip();
    data = malloc(STEP);
    assert_non_null(data);
    for (int i = 0; i < 2; i++)
        assert_ok(cb_store_put(self.store, "turns", CB_PUT_NEW, &writers[i], &err));
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < 2; i++) {
            memset(data, 'a' + i, STEP);
            assert_ok(cb_writer_write(writers[i], cb_bytes_of(data, STEP), &err));
        }
    assert_ok(cb_writer_commit(writers[1], &err));
    assert_code(CB_EXISTS, cb_writer_commit(writers[0], &err));
    cb_writer_free(writers[0]);
    cb_writer_free(writers[1]);
    assert_ok(cb_store_get(self.store, "turns", 0, UINT64_MAX, &seen, &err));
    assert_int_equal(seen.size, (size_t)STEP * STEPS);
    for (size_t i = 0; i < seen.size; i++)
        if (seen.data[i] != 'b')
            fail_msg("byte %zu is of another writer", i);
    free(data);
    cloud_stop(&self);
}

/* The copy that brings a version back, here of the blob as it is. */
static void test_copies_onto_itself(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cb_error err = {0};
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_AZ"))
        skip();
    assert_int_equal(cloud_put(&self, "c d", CB_PUT_NEW, "xyz"), CB_OK);
    assert_ok(cb_store_revert(self.store, "c d", "", &err));
    assert_string_equal(cloud_get(&self, "c d", &seen), "xyz");
    assert_code(CB_NOT_FOUND, cb_store_revert(self.store, "none", "", &err));
    cloud_stop(&self);
}

static void sleep_not(void *arg, int64_t us)
{
    (void)arg;
    (void)us;
}

/* With its snapshots; and a wrong checksum is refused. */
static void test_service_is_asked_rightly(void **state)
{
    static const cb_pair snapshot[] = {{"comp", "snapshot"}};
    static const char *const headers[] = {
        "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==", "Content-Type: text/plain",
        "x-ms-blob-type: BlockBlob", NULL};
    const cb_bytes body = cb_bytes_of("other", 5);
    cb_az_call take = {.method = "PUT", .key = "s", .query = snapshot, .query_count = 1};
    cb_az_call wrong = {
        .method = "PUT", .key = "w", .headers = headers, .body = &body, .body_parts = 1};
    cb_http_response response = {0};
    cb_error err = {0};
    uint64_t size;
    cloud self;

    (void)state;
    if (!cloud_open(&self, "CB_TEST_AZ"))
        skip();
    assert_int_equal(cloud_put(&self, "s", CB_PUT_NEW, "xyz"), CB_OK);
    assert_ok(cb_az_send((cb_az_store *)self.store, &take, &response, &err));
    assert_int_equal(response.status, 201);
    cb_http_response_free(&response);
    assert_ok(cb_store_remove(self.store, "s", &err));
    assert_code(CB_NOT_FOUND, cb_store_size(self.store, "s", &size, &err));

    /* The bytes may have changed on the way: they are sent again. */
    self.ctx->sleep = sleep_not;
    assert_code(CB_RETRY, cb_az_send((cb_az_store *)self.store, &wrong, &response, &err));
    assert_int_equal(response.status, 400);
    assert_true(response.attempts > 2);
    cb_http_response_free(&response);
    assert_code(CB_NOT_FOUND, cb_store_size(self.store, "w", &size, &err));
    cloud_stop(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs_what_is_sent),
        cmocka_unit_test(test_writes_dates),
        cmocka_unit_test(test_reads_listings),
        cmocka_unit_test(test_refuses_other_answers),
        cmocka_unit_test(test_lists_page_after_page),
        cmocka_unit_test(test_refuses_lists_out_of_order),
        cmocka_unit_test(test_knows_its_own_object_again),
        cmocka_unit_test(test_sends_a_checksum),
        cmocka_unit_test(test_answers_are_not_believed_alone),
        cmocka_unit_test(test_tells_why_it_failed),
        cmocka_unit_test(test_locks_objects),
        cmocka_unit_test(test_asks_before_it_relies_on_locks),
        cmocka_unit_test(test_another_writer_came_between),
        cmocka_unit_test(test_blocks_are_of_one_writer),
        cmocka_unit_test(test_goes_back_to_a_version),
        cmocka_unit_test(test_says_what_it_is),
        cmocka_unit_test(test_container_is_missing),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_copies_onto_itself),
        cmocka_unit_test(test_service_is_asked_rightly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
