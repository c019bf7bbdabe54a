/*
 * The engine child: real lakes, made and read by the DuckDB and the DuckLake extension that
 * tools/fetch_duckdb put in place. Without them the tests are skipped (exit 77).
 */
#include "temp.h"
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "source/ducklake/engine_place.h"
#include "source/ducklake/engine_sql.h"
#include "source/ducklake/engine_wire.h"
#include "source/ducklake/extension_internal.h"
#include "source/ducklake/freeze.h"

enum { SKIPPED = 77 };

static char cache[CB_PATH_MAX]; /* its <version> folders are engines */

typedef struct fixture {
    cb_ctx *ctx;
    char folder[256];
    char program[300]; /* a folder as the program's: links to engines and child */
    cb_lake_address lake;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    char link[400];
    cb_settings settings = {.jobs = 2};
    cb_error err = {0};

    if (f == NULL)
        return 1;
    test_temp_make(f->folder);
    snprintf(f->program, sizeof(f->program), "%s/bin", f->folder);
    settings.program_directory = f->program;
    assert_int_equal(mkdir(f->program, 0755), 0);
    snprintf(link, sizeof(link), "%s/duckdb", f->program);
    assert_int_equal(symlink(cache, link), 0);
    snprintf(link, sizeof(link), "%s/canvasback-lake-engine", f->program);
    assert_int_equal(symlink(LAKE_ENGINE, link), 0);
    assert_ok(cb_ctx_new(&settings, NULL, NULL, &f->ctx, &err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    cb_ctx_free(f->ctx);
    test_temp_remove(f->folder);
    free(f);
    return 0;
}

/* ---- lakes ---------------------------------------------------------------------------------- */

static void ask(cb_lake_engine *engine, const char *sql)
{
    cb_error err = {0};

    if (cb_lake_engine_query(engine, sql, NULL, NULL, &err) != CB_OK)
        fail_msg("%s: %s", sql, err.message);
}

static void name_lake(fixture *f, const char *kind)
{
    char address[400];
    cb_error err = {0};

    snprintf(address, sizeof(address), "ducklake:%s:%s/it's a %s lake", kind, f->folder, kind);
    assert_ok(cb_lake_address_parse(address, NULL, &f->lake, &err));
}

/* Two tables, the second with hard names and types; seven snapshots. */
static void make_lake(fixture *f, const char *kind, const char *spec)
{
    static const char *const statements[] = {
        "CREATE TABLE lake.orders AS SELECT i AS id, 'x' || i AS name FROM range(1000) t(i)",
        "INSERT INTO lake.orders VALUES (7, NULL), (8, '')",
        "DELETE FROM lake.orders WHERE id < 5",
        "ALTER TABLE lake.orders RENAME COLUMN name TO \"the \"\"name\"\"\"",
        "CREATE SCHEMA lake.\"od\"\"d\"",
        "CREATE TABLE lake.\"od\"\"d\".\"it's\" (a INTEGER, b STRUCT(x INTEGER, y VARCHAR[]), "
        "\"c d\" BLOB)",
        "INSERT INTO lake.\"od\"\"d\".\"it's\" SELECT 1, {'x': 1, 'y': ['a', NULL]}, 'ab'::BLOB "
        "FROM range(20)",
        "DETACH lake",
    };
    cb_lake_engine *engine;
    char sql[1000];
    cb_error err = {0};

    name_lake(f, kind);
    assert_ok(cb_lake_engine_start(f->ctx, &f->lake, spec, &engine, &err));
    snprintf(sql, sizeof(sql),
             "ATTACH 'ducklake:%s:%s/it''s a %s lake' AS lake (DATA_PATH '%s/%s data/')", kind,
             f->folder, kind, f->folder, kind);
    ask(engine, sql);
    for (size_t i = 0; i < CB_LENGTH(statements); i++)
        ask(engine, statements[i]);
    cb_lake_engine_cleanup(&engine);
}

/* What was seen, a line each, in order. */
typedef struct seen_tables {
    cb_lake_moments moments;
    cb_buf text;
    unsigned tables, failures;
    uint64_t newest_rows;
} seen_tables;

static cb_code note_seen(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    seen_tables *all = arg;
    const cb_lake_moment *at = &all->moments.list[seen->moment];

    all->tables++;
    all->failures += seen->failure != NULL;
    all->newest_rows = seen->rows;
    return cb_buf_format(&all->text, err, "%s %lld %llu %s\n", at->table, (long long)at->to,
                         (unsigned long long)seen->rows,
                         seen->failure != NULL ? "FAILED" : seen->digest);
}

typedef struct moments_wanted {
    bool all;
    cb_lake_moments *out;
} moments_wanted;

static cb_code read_moments(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                            cb_error *err)
{
    const moments_wanted *wanted = arg;

    *keep = false;
    return cb_lake_moments_read(db, schema, wanted->all, wanted->out, err);
}

static void find_moments(fixture *f, bool all, cb_lake_moments *out)
{
    moments_wanted wanted = {all, out};
    cb_error err = {0};

    assert_ok(cb_lake_look(f->ctx, &f->lake, read_moments, &wanted, &err));
}

static void seen_free(seen_tables *seen)
{
    cb_lake_moments_free(&seen->moments);
    cb_buf_free(&seen->text);
}

static void read_lake(fixture *f, bool all_snapshots, seen_tables *out)
{
    cb_lake_engine_options options = {0};
    cb_lake_engine *engine;
    cb_error err = {0};

    find_moments(f, all_snapshots, &out->moments);
    assert_ok(cb_lake_engine_open(f->ctx, &f->lake, &options, &engine, &err));
    assert_ok(cb_lake_engine_read_all(engine, &out->moments, note_seen, out, &err));
    assert_ok(cb_lake_engine_close(engine, &err));
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_target(void **state)
{
    fixture *f = *state;
    cb_arena arena = {0};
    const char *version;
    cb_error err = {0};

    assert_ok(cb_lake_engine_target(f->ctx, &arena, &version, &err));
    assert_string_equal(version, "1.0");
    assert_true(cb_lake_engine_has(f->ctx, "1.0"));
    assert_false(cb_lake_engine_has(f->ctx, "7.0"));
    cb_arena_free(&arena);
}

static void test_not_made(void **state)
{
    fixture *f = *state;
    cb_lake_engine_options options = {.write = true};
    cb_lake_engine *engine;
    cb_error err = {0};

    name_lake(f, "duckdb");
    assert_int_not_equal(cb_lake_engine_open(f->ctx, &f->lake, &options, &engine, &err), CB_OK);
    assert_null(engine);
    assert_non_null(strstr(err.message, "does not exist"));
}

static void test_fingerprints(void **state)
{
    static const char *const expected[] = {
        "\"main\".\"orders\" 1 1000 ", "\"main\".\"orders\" 2 1002 ", "\"main\".\"orders\" 3 997 ",
        "\"main\".\"orders\" 7 997 ",  "\"od\"\"d\".\"it's\" 6 0 ",   "\"od\"\"d\".\"it's\" 7 20 ",
    };
    fixture *f = *state;
    seen_tables duckdb = {0};
    seen_tables sqlite = {0};
    seen_tables newest = {0};
    char *third, *fourth;

    make_lake(f, "duckdb", NULL);
    read_lake(f, true, &duckdb);
    assert_int_equal(duckdb.tables, 4 + 2);
    assert_int_equal(duckdb.failures, 0);
    for (size_t i = 0; i < CB_LENGTH(expected); i++)
        assert_non_null(strstr((const char *)duckdb.text.data, expected[i]));

    /* The same script in another kind: the same contents. A renamed column is another. */
    make_lake(f, "sqlite", NULL);
    read_lake(f, true, &sqlite);
    assert_string_equal((const char *)sqlite.text.data, (const char *)duckdb.text.data);
    third = strstr((char *)duckdb.text.data, "\"main\".\"orders\" 3 997 ") + 20;
    fourth = strstr((char *)duckdb.text.data, "\"main\".\"orders\" 7 997 ") + 20;
    assert_memory_not_equal(third, fourth, strcspn(third, "\n"));

    read_lake(f, false, &newest);
    assert_int_equal(newest.tables, 2);
    assert_int_equal(newest.newest_rows, 20);
    seen_free(&duckdb);
    seen_free(&sqlite);
    seen_free(&newest);
}

/* One table whose file is gone: it is told of, and the other is read. */
static void test_missing_file(void **state)
{
    fixture *f = *state;
    seen_tables seen = {0};
    char folder[400];
    cb_error err = {0};

    make_lake(f, "duckdb", NULL);
    snprintf(folder, sizeof(folder), "%s/duckdb data/main", f->folder);
    assert_ok(cb_tree_remove(folder, &err));
    read_lake(f, false, &seen);
    assert_int_equal(seen.tables, 2);
    assert_int_equal(seen.failures, 1);
    assert_non_null(strstr((const char *)seen.text.data, "\"main\".\"orders\" 7 0 FAILED"));
    seen_free(&seen);
}

/* An engine that falls over, and one that is not wanted any more. */
static void test_ends(void **state)
{
    static const char *const endless = "SELECT count(*) FROM range(100000000000) a";
    fixture *f = *state;
    cb_lake_engine *engine;
    cb_error err = {0};
    pid_t child;

    name_lake(f, "duckdb");
    assert_ok(cb_lake_engine_start(f->ctx, &f->lake, NULL, &engine, &err));
    child = cb_lake_engine_child(engine);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_code(CB_IO, cb_lake_engine_query(engine, "SELECT 1", NULL, NULL, &err));
    assert_non_null(strstr(err.message, "fell over"));
    assert_false(cb_lake_engine_is_alive(engine));
    assert_int_equal(kill(child, 0), -1);
    cb_error_clear(&err);
    assert_code(CB_IO, cb_lake_engine_query(engine, "SELECT 1", NULL, NULL, &err));
    cb_lake_engine_cleanup(&engine);

    cb_error_clear(&err);
    assert_ok(cb_lake_engine_start(f->ctx, &f->lake, NULL, &engine, &err));
    child = cb_lake_engine_child(engine);
    cb_cancel(f->ctx);
    assert_code(CB_CANCELLED, cb_lake_engine_query(engine, endless, NULL, NULL, &err));
    assert_int_equal(kill(child, 0), -1);
    cb_lake_engine_cleanup(&engine);
}

static cb_code count_rows(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    (void)cells;
    (void)err;
    *(size_t *)arg += count;
    return CB_OK;
}

static void test_answers(void **state)
{
    fixture *f = *state;
    cb_lake_engine *engine;
    size_t cells = 0;
    cb_error err = {0};

    assert_ok(cb_lake_engine_start(f->ctx, NULL, NULL, &engine, &err));
    assert_ok(cb_lake_engine_query(engine, "SELECT i, NULL FROM range(5000) t(i)", count_rows,
                                   &cells, &err));
    assert_int_equal(cells, 10000);
    assert_code(CB_CORRUPT, cb_lake_engine_query(engine, "SELECT 'x'::INTEGER", NULL, NULL, &err));
    cb_error_clear(&err); /* and it goes on */
    ask(engine, "SELECT 1");
    assert_code(CB_TOO_LARGE,
                cb_lake_engine_query(engine, "SELECT repeat('x', 10000000) FROM range(8)",
                                     count_rows, &cells, &err));
    cb_lake_engine_cleanup(&engine);
}

/* An older lake is refused by the newest engine, and read by that of its own version. */
static void test_old_lake(void **state)
{
    fixture *f = *state;
    cb_lake_engine_options options = {0};
    seen_tables seen = {0};
    cb_lake_engine *engine;
    cb_error err = {0};

    if (!cb_lake_engine_has(f->ctx, "0.3"))
        skip(); /* tools/fetch_duckdb brings it when asked to */
    make_lake(f, "duckdb", "0.3");
    assert_code(CB_UNSUPPORTED, cb_lake_engine_open(f->ctx, &f->lake, &options, &engine, &err));
    assert_non_null(strstr(err.message, "catalog version is 0.3"));
    cb_error_clear(&err);
    options.version = "0.3";
    find_moments(f, true, &seen.moments);
    assert_ok(cb_lake_engine_open(f->ctx, &f->lake, &options, &engine, &err));
    assert_ok(cb_lake_engine_read_all(engine, &seen.moments, note_seen, &seen, &err));
    assert_ok(cb_lake_engine_close(engine, &err));
    assert_int_equal(seen.tables, 6);
    seen_free(&seen);
}

static void test_login(void **state)
{
    cb_engine_login login;
    cb_error err = {0};

    (void)state;
    assert_ok(
        cb_engine_login_split("host=h dbname='it\\'s' password='pa ss' user=u", &login, &err));
    assert_null(strstr(login.conninfo, "pa ss"));
    assert_string_equal(login.password, "pa ss");
    assert_ok(cb_engine_login_split("postgres://u:p%40ss@h:5433/d\\b", &login, &err));
    assert_string_equal(login.conninfo, "user='u' dbname='d\\\\b' host='h' port='5433'");
    assert_string_equal(login.password, "p@ss");
    assert_code(CB_USAGE, cb_engine_login_split("password=secret nonsense", &login, &err));
    assert_null(strstr(err.message, "secret"));
}

/* The credentials that the program would use, for that bucket alone. */
static void test_secret(void **state)
{
    fixture *f = *state;
    cb_buf sql = {0};
    const char *extension;
    cb_error err = {0};

    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "it's secret", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    assert_ok(cb_engine_secret_sql(f->ctx, "s3://b-1/x/y",
                                   "s3://b-1/x?endpoint=http://127.0.0.1:9000&region=eu", &sql,
                                   &extension, &err));
    assert_string_equal(extension, "httpfs");
    assert_string_equal(
        (const char *)sql.data,
        "CREATE OR REPLACE SECRET \"s3://b-1/\" (TYPE s3, KEY_ID 'key', SECRET "
        "'it''s secret', SESSION_TOKEN 'token', REGION 'eu', URL_STYLE 'path', ENDPOINT "
        "'127.0.0.1:9000', USE_SSL FALSE, SCOPE 's3://b-1/')");
    sql.size = 0;
    assert_ok(cb_engine_secret_sql(f->ctx, "/a/folder/", NULL, &sql, &extension, &err));
    assert_null(extension);
    assert_int_equal(sql.size, 0);
    cb_buf_free(&sql);
}

/* However DuckDB spells the place. */
static void test_secret_of_each_cloud(void **state)
{
    static const struct {
        const char *url, *hint, *extension, *sql;
    } asked[] = {
        {"s3n://b/x", "s3c://b?endpoint=https://h:1", "httpfs",
         "CREATE OR REPLACE SECRET \"s3n://b/\" (TYPE s3, KEY_ID 'key', SECRET 'secret', REGION "
         "'us-east-1', URL_STYLE 'path', ENDPOINT 'h:1', USE_SSL TRUE, SCOPE 's3n://b/')"},
        {"gcs://b/x", NULL, "httpfs",
         "CREATE OR REPLACE SECRET \"gcs://b/\" (TYPE gcs, ENDPOINT '127.0.0.1:4443', USE_SSL "
         "FALSE, SCOPE 'gcs://b/')"},
        {"gs://b/x", "gs://b?access_key_id=GOOG1", "httpfs",
         "CREATE OR REPLACE SECRET \"gs://b/\" (TYPE gcs, KEY_ID 'GOOG1', SECRET 'other', REGION "
         "'auto', URL_STYLE 'path', ENDPOINT 'storage.googleapis.com', USE_SSL TRUE, SCOPE "
         "'gs://b/')"},
        {"abfss://c@acc.dfs.core.windows.net/x", NULL, "azure",
         "CREATE OR REPLACE SECRET \"abfss://c@acc.dfs.core.windows.net/\" (TYPE azure, "
         "CONNECTION_STRING 'BlobEndpoint=https://acc.blob.core.windows.net;AccountName=acc;"
         "AccountKey=c2VjcmV0;', SCOPE 'abfss://c@acc.dfs.core.windows.net/')"},
    };
    fixture *f = *state;
    cb_buf sql = {0};

    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    unsetenv("AWS_SESSION_TOKEN");
    setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443", 1);
    setenv("AZURE_STORAGE_ACCOUNT", "acc", 1);
    setenv("AZURE_STORAGE_KEY", "c2VjcmV0", 1);
    for (size_t i = 0; i < CB_LENGTH(asked); i++) {
        const char *extension;
        cb_error err = {0};

        if (asked[i].hint != NULL && strstr(asked[i].hint, "GOOG1") != NULL) {
            setenv("AWS_ACCESS_KEY_ID", "GOOG1", 1);
            setenv("AWS_SECRET_ACCESS_KEY", "other", 1);
        } else {
            setenv("AWS_ACCESS_KEY_ID", "key", 1);
        }
        sql.size = 0;
        assert_ok(
            cb_engine_secret_sql(f->ctx, asked[i].url, asked[i].hint, &sql, &extension, &err));
        assert_string_equal(extension, asked[i].extension);
        assert_string_equal((const char *)sql.data, asked[i].sql);
    }
    cb_buf_free(&sql);
}

/* What one end says may be cut or foreign. */
static void test_wire(void **state)
{
    cb_buf frame = {0};
    cb_wire_reader reader;
    const char *text;
    uint64_t number;
    cb_error err = {0};

    (void)state;
    assert_ok(cb_wire_begin(&frame, CB_WIRE_ROW, &err));
    frame.size = 0; /* as it is received: without its head */
    assert_ok(cb_wire_field(&frame, "one", &err));
    assert_ok(cb_wire_field(&frame, NULL, &err));
    assert_ok(cb_wire_number(&frame, 42, &err));
    reader = cb_wire_read(&frame);
    assert_ok(cb_wire_next(&reader, &text, &err));
    assert_string_equal(text, "one");
    assert_ok(cb_wire_next(&reader, &text, &err));
    assert_null(text);
    assert_ok(cb_wire_next_number(&reader, &number, &err));
    assert_int_equal(number, 42);
    assert_false(cb_wire_has_more(&reader));
    for (size_t size = 1; size < frame.size; size++) {
        cb_buf cut = {0};
        cb_code code = CB_OK;

        assert_ok(cb_buf_append(&cut, frame.data, size, &err));
        reader = cb_wire_read(&cut);
        while (code == CB_OK && cb_wire_has_more(&reader))
            code = cb_wire_next(&reader, &text, &err);
        assert_true(code == CB_IO || size == 8 || size == 12); /* between two fields */
        cb_error_clear(&err);
        cb_buf_free(&cut);
    }
    cb_buf_free(&frame);
}

static bool find_engines(void)
{
    const char *base = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char extension[CB_PATH_MAX + 64];

    if (base != NULL && base[0] != '\0')
        snprintf(cache, sizeof(cache), "%s/canvasback/duckdb", base);
    else
        snprintf(cache, sizeof(cache), "%s/.cache/canvasback/duckdb", home != NULL ? home : "");
    snprintf(extension, sizeof(extension), "%s/1.5.5/extensions/ducklake.duckdb_extension", cache);
    return cb_path_exists(extension);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_login),
        cmocka_unit_test_setup_teardown(test_secret, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secret_of_each_cloud, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fingerprints, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_lake, set_up, tear_down),
    };

    if (!find_engines()) {
        fprintf(stderr, "skipped: no DuckDB with extensions in '%s' (tools/fetch_duckdb)\n", cache);
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("lake_engine", tests, NULL, NULL);
}
