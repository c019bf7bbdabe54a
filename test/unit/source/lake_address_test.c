/*
 * Addresses of lakes: which catalog they mean, how they are shown, and that no password ever is.
 */
#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "source/ducklake/address.h"

static void write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static void test_files(void **state)
{
    static const struct {
        const char *text;
        cb_lake_kind kind;
        const char *path;
        const char *name;
    } cases[] = {
        {"ducklake:/a/meta.ducklake", CB_LAKE_DUCKDB, "/a/meta.ducklake", "meta"},
        {"/a/meta.ducklake", CB_LAKE_DUCKDB, "/a/meta.ducklake", "meta"},
        {"ducklake:duckdb:/a/m.x.db", CB_LAKE_DUCKDB, "/a/m.x.db", "m.x"},
        {"duckdb:/a/.hidden", CB_LAKE_DUCKDB, "/a/.hidden", ".hidden"},
        {"ducklake:sqlite:/a/meta.sqlite", CB_LAKE_SQLITE, "/a/meta.sqlite", "meta"},
        {"sqlite:/a/with space", CB_LAKE_SQLITE, "/a/with space", "with space"},
        {"ducklake:/a/it's \"x\"", CB_LAKE_DUCKDB, "/a/it's \"x\"", "it's \"x\""},
        {"ducklake:duckdb:/a/sqlite:b", CB_LAKE_DUCKDB, "/a/sqlite:b", "sqlite:b"},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        cb_lake_address address;
        cb_error err = {0};
        char shown[CB_PATH_MAX];

        assert_ok(cb_lake_address_parse(cases[i].text, NULL, &address, &err));
        assert_int_equal(address.kind, cases[i].kind);
        assert_string_equal(address.path, cases[i].path);
        assert_string_equal(address.name, cases[i].name);
        assert_string_equal(address.schema, "main");
        assert_true(address.schema_is_default);
        snprintf(shown, sizeof(shown), "ducklake:%s:%s", cb_lake_kind_name(cases[i].kind),
                 cases[i].path);
        assert_string_equal(address.shown, shown);
        /* What is shown can be typed again. */
        assert_ok(cb_lake_address_parse(shown, NULL, &address, &err));
        assert_string_equal(address.shown, shown);
    }
}

static void test_magic(void **state)
{
    static const char magic[16] = "SQLite format 3";
    char folder[256];
    char path[300];
    char text[400];
    cb_lake_address address;
    cb_error err = {0};

    (void)state;
    test_temp_make(folder);
    snprintf(path, sizeof(path), "%s/meta", folder);
    snprintf(text, sizeof(text), "ducklake:%s", path);
    write_file(path, magic, sizeof(magic));
    assert_ok(cb_lake_address_parse(text, NULL, &address, &err));
    assert_int_equal(address.kind, CB_LAKE_SQLITE);
    write_file(path, magic, sizeof(magic) - 1);
    assert_ok(cb_lake_address_parse(text, NULL, &address, &err));
    assert_int_equal(address.kind, CB_LAKE_DUCKDB);
    test_temp_remove(folder);
}

/* Relative to where we are, links resolved. */
static void test_relative(void **state)
{
    char here[CB_PATH_MAX];
    char wanted[CB_PATH_MAX + 16];
    cb_lake_address address;
    cb_error err = {0};

    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(wanted, sizeof(wanted), "%s/no-such-lake", here);
    assert_ok(cb_lake_address_parse("ducklake:no-such-lake", NULL, &address, &err));
    assert_string_equal(address.path, wanted);
}

static void test_postgres(void **state)
{
    static const struct {
        const char *text;
        const char *shown;
        const char *name;
    } cases[] = {
        {"ducklake:postgres:dbname=lake host=h", "dbname=lake host=h", "lake"},
        {"ducklake:postgres:host=h user=u dbname=lake port=5 password=geheim",
         "dbname=lake host=h port=5 user=u", "lake"},
        {"postgresql:dbname='a b' passfile=/geheim sslpassword=geheim", "dbname='a b'", "a b"},
        {"postgres:dbname='it\\'s'", "dbname='it\\'s'", "it's"},
        {"ducklake:postgres:postgres://u:geheim@h:99/lake?sslmode=require",
         "dbname=lake host=h port=99 user=u", "lake"},
        {"postgresql://u:geheim@h/lake", "dbname=lake host=h user=u", "lake"},
        {"ducklake:postgres://h/", "host=h", ""},
        {"ducklake:postgres:service=s", "service=s", ""},
        {"ducklake:postgres:", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        cb_lake_address address;
        cb_error err = {0};
        char shown[300];

        assert_ok(cb_lake_address_parse(cases[i].text, NULL, &address, &err));
        assert_int_equal(address.kind, CB_LAKE_POSTGRES);
        snprintf(shown, sizeof(shown), "ducklake:postgres:%s", cases[i].shown);
        assert_string_equal(address.shown, shown);
        assert_string_equal(address.name, cases[i].name);
        assert_string_equal(address.schema, "public");
        assert_string_equal(address.path, "");
        assert_null(strstr(address.shown, "geheim"));
        assert_ok(cb_lake_address_parse(shown, NULL, &address, &err));
        assert_string_equal(address.shown, shown);
    }
}

static void test_schema(void **state)
{
    char long_name[300];
    cb_lake_address address;
    cb_error err = {0};

    (void)state;
    assert_ok(cb_lake_address_parse("postgres:dbname=x", "my \"lake", &address, &err));
    assert_string_equal(address.schema, "my \"lake");
    assert_false(address.schema_is_default);
    assert_ok(cb_lake_address_parse("postgres:dbname=x", "public", &address, &err));
    assert_true(address.schema_is_default);
    assert_ok(cb_lake_address_parse("duckdb:/x", "public", &address, &err));
    assert_false(address.schema_is_default);
    assert_ok(cb_lake_address_parse("sqlite:/x", "main", &address, &err));
    assert_code(CB_USAGE, cb_lake_address_parse("sqlite:/x", "other", &address, &err));
    assert_code(CB_USAGE, cb_lake_address_parse("duckdb:/x", "", &address, &err));
    assert_code(CB_USAGE, cb_lake_address_parse("duckdb:/x", "\xff", &address, &err));
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_code(CB_TOO_LARGE, cb_lake_address_parse("duckdb:/x", long_name, &address, &err));
    assert_string_equal(address.schema, "");
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "ducklake:",
        "",
        "ducklake:sqlite:",
        "ducklake:s3://bucket/meta.ducklake",
        "ducklake:mysql:db=x",
        "ducklake:md:x",
        "ducklake:postgres:host=h geheim",
        "ducklake:postgres:geheim=1",
        "ducklake:postgres:password='geheim",
        "ducklake:postgres://u:geheim@h/db?geheim=geheim",
        "ducklake:postgres://u:geheim%zz@h/db",
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        cb_lake_address address;
        cb_error err = {0};

        assert_code(CB_USAGE, cb_lake_address_parse(cases[i], NULL, &address, &err));
        assert_null(strstr(err.message, "geheim"));
        assert_null(strstr(err.hint, "geheim"));
        assert_string_equal(address.conninfo, "");
    }
}

static void test_too_long(void **state)
{
    static char text[8000];
    cb_lake_address address;
    cb_error err = {0};

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "ducklake:/", 10);
    assert_code(CB_TOO_LARGE, cb_lake_address_parse(text, NULL, &address, &err));
    memcpy(text, "ducklake:postgres:dbname=", 25);
    assert_code(CB_TOO_LARGE, cb_lake_address_parse(text, NULL, &address, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),    cmocka_unit_test(test_magic),
        cmocka_unit_test(test_relative), cmocka_unit_test(test_postgres),
        cmocka_unit_test(test_schema),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests_name("lake_address", tests, NULL, NULL);
}
