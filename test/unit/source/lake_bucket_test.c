/*
 * Which bucket a URL of DuckDB's means, and how its store is addressed here.
 */
#include "unit.h"

#include "source/ducklake/bucket.h"

static void check(const char *url, const char *hint, const char *bucket, const char *address)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    assert_int_equal(cb_lake_bucket_size(url), strlen(bucket));
    assert_memory_equal(url, bucket, strlen(bucket));
    assert_ok(cb_lake_bucket_address(url, hint, &out, &err));
    assert_string_equal((const char *)out.data, address);
    assert_int_equal(out.size, strlen(address));
}

static void test_addresses(void **state)
{
    (void)state;
    check("s3://b/p/x.parquet", NULL, "s3://b", "s3://b");
    check("s3a://b/p", NULL, "s3a://b", "s3a://b");
    check("s3n://b", NULL, "s3n://b", "s3://b");
    check("r2://b/p", NULL, "r2://b", "r2://b");
    check("gcs://b/p", NULL, "gcs://b", "gcs://b");
    check("azure://c/p", NULL, "azure://c", "az://c");
    check("abfss://c/p", NULL, "abfss://c", "az://c");
    check("az://acc.blob.core.windows.net/c/p", NULL, "az://acc.blob.core.windows.net/c",
          "az://acc.blob.core.windows.net/c");
    check("abfss://acc.dfs.core.windows.net/c/p", NULL, "abfss://acc.dfs.core.windows.net/c",
          "az://acc.blob.core.windows.net/c");
    check("abfss://c@acc.dfs.core.chinacloudapi.cn/p/q", NULL,
          "abfss://c@acc.dfs.core.chinacloudapi.cn", "az://acc.blob.core.chinacloudapi.cn/c");
}

/* A '?' in a catalog's path is a letter of the key; in an address by hand it begins settings. */
static void test_hints(void **state)
{
    (void)state;
    check("s3://b/p?x/y", "s3c://b/other?endpoint=http://h:1&region=r", "s3://b",
          "s3c://b?endpoint=http://h:1&region=r");
    check("s3://b2/p", "s3://b?endpoint=http://h:1", "s3://b2", "s3://b2");
    check("gs://b/p", "s3://b?endpoint=http://h:1", "gs://b", "gs://b");
    check("gcs://b/p", "gs://b/p", "gcs://b", "gs://b");
    check("abfss://c@acc.dfs.core.windows.net/p",
          "az://acc.blob.core.windows.net/c/p?endpoint=http://h",
          "abfss://c@acc.dfs.core.windows.net",
          "az://acc.blob.core.windows.net/c?endpoint=http://h");
    check("az://c/p", "az://acc.blob.core.windows.net/c?endpoint=http://h", "az://c", "az://c");
    check("s3://b/p", "/some/folder?x", "s3://b", "s3://b");
}

static void test_what_is_none(void **state)
{
    static const char *const urls[] = {"/a/b", "https://h/x.parquet", "hf://datasets/x",
                                       "s4://b/x"};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(urls); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};
        cb_error err = {0};

        assert_int_equal(cb_lake_bucket_size(urls[i]), 0);
        assert_code(CB_UNSUPPORTED, cb_lake_bucket_address(urls[i], NULL, &out, &err));
    }
}

static void test_words_of_a_catalog(void **state)
{
    (void)state;
    assert_string_equal(cb_lake_duckdb_scheme("s3c"), "s3");
    assert_string_equal(cb_lake_duckdb_scheme("s3a"), "s3a");
    assert_string_equal(cb_lake_duckdb_scheme("azure"), "azure");
    assert_string_equal(cb_lake_duckdb_scheme("file"), "file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_words_of_a_catalog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
