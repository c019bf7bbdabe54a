/*
 * check of a live lake: a catalog made by hand in SQLite, files that are Parquet as far as their
 * ends tell, and each kind of damage once.
 */
#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "source/ducklake/ducklake.h"

enum { FILE_BYTES = 100, FOOTER_BYTES = 50 };

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
    char address[320];
    cb_check_report report;
} kit;

static void sql(kit *k, const char *format, ...)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    char *text;
    va_list args;

    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    assert_int_equal(sqlite3_open(k->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_free(text);
    sqlite3_close(db);
}

static void make_file(const kit *k, const char *name, size_t size)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t data[FILE_BYTES] = "PAR1";
    char path[600];

    cb_put_u32(data + FILE_BYTES - 8, FOOTER_BYTES);
    memcpy(data + FILE_BYTES - 4, "PAR1", 4);
    snprintf(path, sizeof(path), "%s/%s", k->folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
}

static void remove_file(const kit *k, const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", k->folder, name);
    assert_int_equal(unlink(path), 0);
}

static void make_folder(const kit *k, const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", k->folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* Two data files and a delete file; one more scheduled for deletion. */
static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    test_temp_make(k->folder);
    snprintf(k->path, sizeof(k->path), "%s/meta.sqlite", k->folder);
    snprintf(k->address, sizeof(k->address), "sqlite:%s", k->path);
    k->ctx = test_ctx_new();
    *state = k;
    sql(k,
        "CREATE TABLE ducklake_metadata(key VARCHAR, value VARCHAR, scope VARCHAR, scope_id);"
        "INSERT INTO ducklake_metadata VALUES('version','1.0',NULL,NULL),"
        "('data_path','%s/data/',NULL,NULL);"
        "CREATE TABLE ducklake_schema(schema_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT,"
        " schema_name VARCHAR, path VARCHAR, path_is_relative BIGINT);"
        "INSERT INTO ducklake_schema VALUES(0,0,NULL,'main','main/',1);"
        "CREATE TABLE ducklake_table(table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT,"
        " schema_id BIGINT, table_name VARCHAR, path VARCHAR, path_is_relative BIGINT);"
        "INSERT INTO ducklake_table VALUES(1,1,NULL,0,'t','t/',1);"
        "CREATE TABLE ducklake_data_file(data_file_id BIGINT, table_id BIGINT,"
        " begin_snapshot BIGINT, end_snapshot BIGINT, path VARCHAR, path_is_relative BIGINT,"
        " record_count BIGINT, file_size_bytes BIGINT, footer_size BIGINT);"
        "INSERT INTO ducklake_data_file VALUES(1,1,1,NULL,'a.parquet',1,10,100,50),"
        "(2,1,2,NULL,'b.parquet',1,10,100,50);"
        "CREATE TABLE ducklake_delete_file(delete_file_id BIGINT, table_id BIGINT,"
        " begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR,"
        " path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT,"
        " footer_size BIGINT);"
        "INSERT INTO ducklake_delete_file VALUES(3,1,3,NULL,1,'a-delete.parquet',1,'parquet',10,100"
        ",50);"
        "CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id BIGINT, path VARCHAR,"
        " path_is_relative BIGINT);"
        "INSERT INTO ducklake_files_scheduled_for_deletion VALUES(4,'main/t/old.parquet',1);",
        k->folder);
    make_folder(k, "data");
    make_folder(k, "data/main");
    make_folder(k, "data/main/t");
    make_file(k, "data/main/t/a.parquet", FILE_BYTES);
    make_file(k, "data/main/t/b.parquet", FILE_BYTES);
    make_file(k, "data/main/t/a-delete.parquet", FILE_BYTES);
    make_file(k, "data/main/t/old.parquet", FILE_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_check_report_free(&k->report);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

static void check(kit *k)
{
    cb_error err = {0};

    assert_ok(cb_lake_check(k->ctx, k->address, &k->report, &err));
}

/* Exactly this one thing is wrong. */
static void expect_damage(kit *k, const char *item, const char *reason)
{
    check(k);
    if (k->report.damaged_count != 1)
        fail_msg("%zu things are damaged instead of %s", k->report.damaged_count, item);
    assert_string_equal(k->report.damaged[0].item, item);
    if (strstr(k->report.damaged[0].reason, reason) == NULL)
        fail_msg("'%s' instead of '%s'", k->report.damaged[0].reason, reason);
    assert_int_equal(k->report.bad_blocks, 1);
}

static bool has_note(const kit *k, const char *words)
{
    for (size_t i = 0; i < k->report.note_count; i++)
        if (strstr(k->report.notes[i], words) != NULL)
            return true;
    return false;
}

static void test_sound(void **state)
{
    kit *k = *state;

    check(k);
    assert_int_equal(k->report.damaged_count, 0);
    assert_int_equal(k->report.bad_blocks, 0);
    assert_int_equal(k->report.blocks, 4);
    assert_int_equal(k->report.used_blocks, 3);
    assert_int_equal(k->report.free_blocks, 1);
    assert_string_equal(k->report.version, "DuckLake 1.0, catalog in SQLite");
    assert_int_equal(k->report.note_count, 1);
    assert_true(has_note(k, "1 file scheduled for deletion (100 B), 0 of them gone"));
}

static void test_missing(void **state)
{
    kit *k = *state;

    remove_file(k, "data/main/t/b.parquet");
    remove_file(k, "data/main/t/old.parquet"); /* that is no damage */
    expect_damage(k, "data/main/t/b.parquet", "missing");
    assert_true(has_note(k, "1 of them gone"));
}

static void test_empty(void **state)
{
    kit *k = *state;

    make_file(k, "data/main/t/b.parquet", 0);
    expect_damage(k, "data/main/t/b.parquet", "empty");
}

static void test_cut(void **state)
{
    kit *k = *state;

    make_file(k, "data/main/t/a-delete.parquet", FILE_BYTES - 1);
    expect_damage(k, "data/main/t/a-delete.parquet", "99 bytes");
}

/* As long as it should be, but not what it should be. */
static void test_footer(void **state)
{
    kit *k = *state;

    sql(k, "UPDATE ducklake_data_file SET footer_size = 51 WHERE data_file_id = 2");
    expect_damage(k, "data/main/t/b.parquet", "footer");
}

static void test_deletes_too_many(void **state)
{
    kit *k = *state;

    sql(k, "UPDATE ducklake_delete_file SET delete_count = 11");
    expect_damage(k, "data/main/t/a-delete.parquet", "deletes 11 rows");
}

static void test_deletes_of_nothing(void **state)
{
    kit *k = *state;

    sql(k, "UPDATE ducklake_delete_file SET data_file_id = 77");
    expect_damage(k, "data/main/t/a-delete.parquet", "does not have");
}

static void test_orphans_and_outside(void **state)
{
    kit *k = *state;

    make_file(k, "data/main/t/z.parquet", FILE_BYTES);
    make_file(k, "data/main/t/readme.txt", 10);
    make_file(k, "out.parquet", FILE_BYTES);
    sql(k, "INSERT INTO ducklake_data_file VALUES(9,1,1,NULL,'%s/out.parquet',0,10,100,50)",
        k->folder);
    check(k);
    assert_int_equal(k->report.damaged_count, 0);
    assert_int_equal(k->report.used_blocks, 4);
    assert_true(has_note(k, "1 file in storage is named by no snapshot (100 B)"));
    assert_true(has_note(k, "1 file outside the data path (100 B)"));
}

/* A file behind an address that is not read here says nothing about the lake. */
static void test_unseen(void **state)
{
    kit *k = *state;

    sql(k, "INSERT INTO ducklake_data_file VALUES(9,1,1,NULL,'https://h/x.parquet',0,10,100,50)");
    check(k);
    assert_int_equal(k->report.damaged_count, 0);
    assert_true(has_note(k, "1 file could not be looked at"));
}

/* The data lies elsewhere than the catalog says, and the user knows. */
static void test_given_data_path(void **state)
{
    kit *k = *state;
    char path[300];
    const cb_lake_options options = {.data_path = path};

    snprintf(path, sizeof(path), "%s/data", k->folder);
    sql(k, "UPDATE ducklake_metadata SET value = '/no/such/place/' WHERE key = 'data_path'");
    k->report.lake = &options;
    check(k);
    assert_int_equal(k->report.damaged_count, 0);
    assert_int_equal(k->report.used_blocks, 3);
}

static void test_no_such_catalog(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    assert_int_equal(unlink(k->path), 0);
    assert_code(CB_NOT_FOUND, cb_lake_check(k->ctx, k->address, &k->report, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_footer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deletes_too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deletes_of_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_orphans_and_outside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unseen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_given_data_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_such_catalog, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
