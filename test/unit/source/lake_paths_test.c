/*
 * Paths of a lake as items and back: one to one, and no way out for a hostile catalog.
 */
#include "unit.h"

#include <stdio.h>

#include "random.h"
#include "source/ducklake/catalog_internal.h"

#define DATA "/lake/data/"

static void check_item(const char *data, const char *url, const char *item)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    cb_error err = {0};

    assert_ok(cb_lake_item_of(data, url, &out, &err));
    assert_string_equal((const char *)out.data, item);
    assert_int_equal(out.size, strlen(item));
    assert_ok(cb_lake_url_of(data, item, &back, &err));
    assert_string_equal((const char *)back.data, url);
    assert_int_equal(back.size, strlen(url));
}

static void test_items(void **state)
{
    (void)state;
    check_item(DATA, DATA "main/t/x.parquet", "data/main/t/x.parquet");
    check_item(DATA, DATA "main/t/r=a%20b/x y.parquet", "data/main/t/r=a%2520b/x y.parquet");
    check_item(DATA, DATA "a/\xc3\xa4/\xff.parquet", "data/a/\xc3\xa4/\xff.parquet");
    check_item(DATA, DATA "a/\n\x7f", "data/a/%0A%7F");
    check_item(DATA, DATA ".x/...", "data/.x/...");
    check_item(DATA, "/other/x.parquet", "outside/file/other/x.parquet");
    check_item(DATA, "/lake/database/x", "outside/file/lake/database/x");
    check_item(DATA, "s3://b/p/x.parquet", "outside/s3/b/p/x.parquet");
    check_item("s3://b/p/", "s3://b/p/main/x", "data/main/x");
    check_item("s3://b/p/", "s3://b/p//x", "data/%/x");
    check_item("s3://b/p/", "s3://b/other/x", "outside/s3/b/other/x");
    check_item("s3://b/p/", "/x", "outside/file/x");
    check_item("s3://b/p/", "az://acc.blob.core.windows.net/c/x",
               "outside/az/acc.blob.core.windows.net/c/x");
}

/* What begins as the data path but climbs out of it is outside, and says so. */
static void test_climbing(void **state)
{
    (void)state;
    check_item(DATA, DATA "../../etc/passwd", "outside/file/lake/data/%2E%2E/%2E%2E/etc/passwd");
    check_item(DATA, DATA "main/../../x", "outside/file/lake/data/main/%2E%2E/%2E%2E/x");
    check_item(DATA, DATA "main/..", "outside/file/lake/data/main/%2E%2E");
    check_item(DATA, DATA "./x", "data/%2E/x");
    check_item(DATA, DATA, "outside/file/lake/data/%");
}

static void refuse_item(const char *item)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    if (cb_lake_url_of(DATA, item, &out, &err) == CB_OK)
        fail_msg("'%s' became '%s'", item, (const char *)out.data);
    assert_int_equal(err.code, CB_CORRUPT);
    assert_int_equal(out.size, 0);
}

static void test_hostile_items(void **state)
{
    static const char *const items[] = {
        "",
        "data",
        "data/",
        "data//x",
        "data/../x",
        "data/./x",
        "data/a/..",
        "data/%2E%2E/x",
        "data/a/%2E%2E",
        "data/%2e%2e/x",
        "data/%2F/x",
        "data/a%00b",
        "data/%41",
        "data/a%2Eb",
        "data/%2E%2E%2E",
        "data/.%2E",
        "data/a%",
        "data/a%2",
        "data/%%",
        "data/\nx",
        "/data/x",
        "x/data/y",
        "outside",
        "outside/",
        "outside/file",
        "outside/file/",
        "outside/file//x",
        "outside/file/../x",
        "outside/../x",
        "outside/%/x",
        "outside/1s/x",
        "outside/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/x",
        "catalog/x",
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(items); i++)
        refuse_item(items[i]);
}

/* Paths from few characters, those that mean something most of all. */
static void random_path(test_random *random, char *out, size_t size)
{
    static const char *const parts[] = {"/", "/",  ".",    "..", "%",    "%2E", "a",     "b=",
                                        " ", "\n", "\xff", "//", "/../", "/./", "s3://", "file"};
    size_t used = 0;

    out[0] = '\0';
    for (uint64_t i = test_random_below(random, 12); i > 0; i--)
        used += (size_t)snprintf(out + used, size - used, "%s",
                                 parts[test_random_below(random, CB_LENGTH(parts))]);
}

static void check_random(const char *data, const char *url)
{
    CB_CLEANUP(cb_buf_free) cb_buf item = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    CB_CLEANUP(cb_buf_free) cb_buf moved = {0};
    cb_error err = {0};

    assert_ok(cb_lake_item_of(data, url, &item, &err));
    assert_ok(cb_lake_url_of(data, (const char *)item.data, &back, &err));
    assert_string_equal((const char *)back.data, url);
    /* As an item it is safe wherever it is written below. */
    assert_false(cb_lake_path_climbs((const char *)item.data));
    assert_null(strstr((const char *)item.data, "//"));
    assert_true(item.data[item.size - 1] != '/');
    if (memcmp(item.data, "data/", 5) != 0)
        return;
    assert_ok(cb_lake_url_of("/new/", (const char *)item.data, &moved, &err));
    assert_false(cb_lake_path_climbs((const char *)moved.data));
    assert_memory_equal(moved.data, "/new/", 5);
}

static void test_there_and_back(void **state)
{
    test_random random = test_random_seeded();
    size_t below = 0;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        static const char *const roots[] = {DATA, "/", "s3://b/p/", "gs://b/"};
        const char *data = roots[test_random_below(&random, CB_LENGTH(roots))];
        const char *root = roots[test_random_below(&random, CB_LENGTH(roots))];
        char path[200];
        char url[256];

        random_path(&random, path, sizeof(path));
        snprintf(url, sizeof(url), "%s%s", root, path);
        check_random(data, url);
        below += data == root;
    }
    assert_true(below > 1000);
}

static void check_tidy(const char *base, const char *text, const char *wanted)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    assert_ok(cb_lake_path_tidy(base, text, &out, &err));
    assert_string_equal((const char *)out.data, wanted);
}

static void test_one_spelling(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    check_tidy("/base", "/a//b/./c/", "/a/b/c/");
    check_tidy("/base", "a/b", "/base/a/b");
    check_tidy("/", "a/", "/a/");
    check_tidy("/base", "../w/./d//e/", "/base/../w/d/e/");
    check_tidy("/base", "file:///a//b", "/a/b");
    check_tidy("/base", "file://localhost/a", "/a");
    check_tidy("/base", "file:/a", "/a");
    check_tidy("/base", "", "/base");
    check_tidy("/base", "/", "/");
    check_tidy("/base", "s3://b//x/./y", "s3://b//x/./y");
    check_tidy("/base", "1://b//x", "/base/1:/b/x");
    assert_code(CB_UNSUPPORTED, cb_lake_path_tidy("/base", "file://host/a", &out, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),         cmocka_unit_test(test_climbing),
        cmocka_unit_test(test_hostile_items), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_one_spelling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
