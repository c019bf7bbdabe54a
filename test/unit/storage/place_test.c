/*
 * Addresses taken apart.
 */
#include "unit.h"

#include "storage/place.h"

#include <stdio.h>

#include "temp.h"

static cb_ctx *ctx_with(const cb_settings *settings)
{
    cb_ctx *ctx;
    cb_error err = {0};

    assert_ok(cb_ctx_new(settings, NULL, NULL, &ctx, &err));
    return ctx;
}

static cb_place parsed(const cb_settings *settings, const char *address)
{
    cb_ctx *ctx = ctx_with(settings);
    cb_place place;
    cb_error err = {0};

    if (cb_place_parse(ctx, address, &place, &err) != CB_OK)
        fail_msg("%s: %s", address, err.message);
    cb_ctx_free(ctx);
    return place;
}

static void test_kinds(void **state)
{
    cb_settings none = {0};
    cb_place p = parsed(&none, "s3://bucket/a/b/");

    (void)state;
    assert_int_equal(p.kind, CB_PLACE_S3);
    assert_string_equal(p.scheme, "s3");
    assert_string_equal(p.bucket, "bucket");
    assert_string_equal(p.prefix, "a/b");
    assert_string_equal(p.endpoint, "");
    assert_string_equal(p.address, "s3://bucket/a/b/");
    assert_false(p.path_style);
    p = parsed(&none, "s3c://b-1.x");
    assert_string_equal(p.bucket, "b-1.x");
    assert_string_equal(p.prefix, "");
    assert_true(p.path_style);
    assert_int_equal(parsed(&none, "gs://b/p").kind, CB_PLACE_GS);
    assert_int_equal(parsed(&none, "gcs://b/p").kind, CB_PLACE_GS);
    assert_int_equal(parsed(&none, "azure://c/p").kind, CB_PLACE_AZ);
    assert_string_equal(parsed(&none, "az://$root/p").bucket, "$root");
    p = parsed(&none, "az://acc.blob.core.windows.net/c/p/q");
    assert_string_equal(p.account, "acc");
    assert_string_equal(p.endpoint, "https://acc.blob.core.windows.net");
    assert_string_equal(p.bucket, "c");
    assert_string_equal(p.prefix, "p/q");
    p = parsed(&none, "gs://b/p?access_key_id=GOOG1ABC");
    assert_int_equal(p.kind, CB_PLACE_S3);
    assert_string_equal(p.endpoint, "https://storage.googleapis.com");
    assert_string_equal(p.region, "auto");
    assert_true(p.path_style);
    assert_int_equal(parsed(&none, "gs://b/p?access_key_id=AKIA1").kind, CB_PLACE_GS);
    p = parsed(&none, "/some/where?x=1");
    assert_int_equal(p.kind, CB_PLACE_FOLDER);
    assert_string_equal(p.path, "/some/where?x=1");
    assert_string_equal(parsed(&none, "file:///x y").path, "/x y");
    assert_true(cb_place_is_remote("r2://b"));
    assert_false(cb_place_is_remote("s3:/b"));
    assert_false(cb_place_is_remote("S3://b"));
    assert_false(cb_place_is_remote("file:///b"));
    assert_false(cb_place_is_remote(""));
}

static void test_settings(void **state)
{
    cb_settings settings = {.endpoint = "https://far:1", .region = "r-1", .access_key_id = "KEY"};
    cb_place p = parsed(&settings, "s3://b/p");

    (void)state;
    assert_string_equal(p.endpoint, "https://far:1");
    assert_string_equal(p.region, "r-1");
    assert_string_equal(p.access_key_id, "KEY");
    assert_true(p.path_style);
    p = parsed(&settings, "s3c://b/p?endpoint=http%3A%2F%2F127.0.0.1%3A9000/&region=x&profile=a%20b"
                          "&access_key_id=OWN&passphrase_file=/k%26y&url_style=vhost");
    assert_string_equal(p.endpoint, "http://127.0.0.1:9000");
    assert_string_equal(p.region, "x");
    assert_string_equal(p.profile, "a b");
    assert_string_equal(p.access_key_id, "OWN");
    assert_string_equal(p.passphrase_file, "/k&y");
    assert_string_equal(p.address, "s3c://b/p");
    assert_false(p.path_style);
    assert_string_equal(parsed(&settings, "s3://b?endpoint=").endpoint, "");
    assert_string_equal(parsed(&settings, "s3://b?endpoint=h:1").endpoint, "https://h:1");
    assert_string_equal(parsed(&settings, "s3://b?use_ssl=false&endpoint=h:1").endpoint,
                        "http://h:1");
    assert_string_equal(parsed(&settings, "az://c?endpoint=http://127.0.0.1:1/acc").endpoint,
                        "http://127.0.0.1:1/acc");
    settings = (cb_settings){.s3_path_style = true};
    assert_true(parsed(&settings, "s3://b").path_style);
    assert_false(parsed(&settings, "s3://b?s3_path_style=false").path_style);
}

static void test_what_is_refused(void **state)
{
    static const char *const wrong[] = {"s3://",
                                        "s3:///p",
                                        "s3://?region=x",
                                        "s3://b/p//q",
                                        "s3://b/../q",
                                        "s3://b/./q",
                                        "s3://b/a\nb",
                                        "s3://b b/p",
                                        "s3://../p",
                                        "s3://u:secret123@b/p",
                                        "s3://b?region",
                                        "s3://b?region=%zz",
                                        "s3://b?region=a/b",
                                        "s3://b?unknown=1",
                                        "s3://b?secret=secret123",
                                        "s3://b?secret_access_key=secret123",
                                        "s3://b?session_token=secret123",
                                        "s3://b?sig=secret123",
                                        "s3://b?passphrase=secret123",
                                        "az://c?sas_token=secret123",
                                        "s3://b?endpoint=http://u:secret123@h",
                                        "s3://b?endpoint=http://",
                                        "s3://b?endpoint=ftp://h",
                                        "s3://b?endpoint=http://h/path",
                                        "s3://b?url_style=none",
                                        "s3://b?s3_path_style=perhaps",
                                        "ftp://h/p",
                                        "file://host/p",
                                        ""};
    cb_ctx *ctx = test_ctx_new();
    cb_place place;
    char long_prefix[600] = "s3://b/";

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        cb_error err = {0};

        assert_code(CB_USAGE, cb_place_parse(ctx, wrong[i], &place, &err));
        assert_true(err.message[0] != '\0');
        assert_null(strstr(err.message, "secret123"));
        assert_null(strstr(err.hint, "secret123"));
    }
    memset(long_prefix + 7, 'x', 500);
    assert_int_equal(cb_place_parse(ctx, long_prefix, &place, &(cb_error){0}), CB_USAGE);
    cb_ctx_free(ctx);
}

static void test_one_object(void **state)
{
    static const char *const right[][3] = {
        {"s3://b/x/y.db?region=r", "s3://b/x?region=r", "y.db"},
        {"s3c://b/y.db?endpoint=http://h/", "s3c://b?endpoint=http://h/", "y.db"},
        {"az://a.blob.core.windows.net/c/y", "az://a.blob.core.windows.net/c", "y"},
        {"/a/b.db", "/a", "b.db"},
        {"/b.db", "/", "b.db"},
        {"b.db", ".", "b.db"},
        {"file:///a/b?c", "file:///a", "b?c"},
    };
    static const char *const wrong[] = {"s3://b", "s3://b/", "s3://b/x/", "s3:///x",
                                        "",       "/a/",     "s3://b/..", "s3://b?x=/y"};
    char folder[CB_PLACE_TEXT_MAX];
    char key[CB_KEY_MAX + 1];
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(right); i++) {
        assert_ok(cb_place_split(right[i][0], folder, key, &err));
        assert_string_equal(folder, right[i][1]);
        assert_string_equal(key, right[i][2]);
    }
    for (size_t i = 0; i < CB_LENGTH(wrong); i++)
        assert_code(CB_USAGE, cb_place_split(wrong[i], folder, key, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
