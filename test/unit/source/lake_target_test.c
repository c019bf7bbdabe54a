/*
 * A lake brought back: where files go, what is left alone, what is refused, and what a restore that
 * is given up leaves.
 */
#include "temp.h"
#include "unit.h"

#include "codec/field.h"
#include "lake_kit.h"
#include "source/ducklake/ducklake.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char old[300];     /* data path of the backup */
    char backup[300];  /* the catalog that was backed up */
    char catalog[300]; /* where it is to be */
    char address[400];
    cb_buf state;
    cb_lake_options lake;
    cb_target_options options;
    cb_target *target;
    bool delta;
    cb_error err;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));
    cb_error err = {0};

    test_temp_make(k->folder);
    snprintf(k->old, sizeof(k->old), "%s/old/data/", k->folder);
    snprintf(k->backup, sizeof(k->backup), "%s/backup.sqlite", k->folder);
    snprintf(k->catalog, sizeof(k->catalog), "%s/new/meta.sqlite", k->folder);
    snprintf(k->address, sizeof(k->address), "sqlite:%s", k->catalog);
    lake_kit_make(k->backup, k->old);
    assert_ok(cb_field_put_u64(&k->state, CB_LAKE_STATE_KIND, CB_LAKE_SQLITE, &err));
    assert_ok(cb_field_put_text(&k->state, CB_LAKE_STATE_SCHEMA, "main", &err));
    assert_ok(cb_field_put_text(&k->state, CB_LAKE_STATE_DATA_PATH, k->old, &err));
    k->options = (cb_target_options){.lake = &k->lake};
    k->ctx = test_ctx_new();
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_target_free(k->target);
    cb_buf_free(&k->state);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

static cb_code open_target(kit *k)
{
    cb_code code;

    cb_target_free(k->target);
    k->target = NULL;
    cb_error_clear(&k->err);
    k->options.state = cb_buf_bytes(&k->state);
    code = cb_lake_target_new(k->ctx, k->address, &k->options, &k->target, &k->err);
    return code == CB_OK ? cb_target_prepare(k->target, &k->err) : code;
}

/* As the command does it: what is there is read, and only what differs is written. */
static cb_code give(kit *k, const char *path, const void *data, size_t size, cb_bytes attrs,
                    bool *skipped)
{
    CB_CLEANUP(cb_buf_free) cb_buf there = {0};
    cb_item item = {.path = path,
                    .kind = CB_ITEM_FILE,
                    .size_bytes = size,
                    .chunk_bytes = CB_CHUNK_BYTES_MAX,
                    .attrs = attrs};
    uint32_t number;
    bool is_right = false;
    cb_code code = cb_target_item(k->target, &item, &number, &k->err);

    *skipped = code == CB_OK && number == CB_TARGET_SKIP;
    if (code != CB_OK || *skipped)
        return code;
    if (size > 0 && (k->options.delta || k->target->in_place)) {
        code = cb_target_read(k->target, number, 0, (uint32_t)size, &there, &k->err);
        is_right = there.size == size && memcmp(there.data, data, size) == 0;
    }
    if (code == CB_OK && size > 0 && !is_right)
        code = cb_target_write(k->target, number, 0, cb_bytes_of(data, size), &k->err);
    return code == CB_OK ? cb_target_done(k->target, number, &k->err) : code;
}

static cb_code give_text(kit *k, const char *path, const char *text)
{
    bool skipped;

    return give(k, path, text, strlen(text), cb_bytes_of(NULL, 0), &skipped);
}

static cb_code give_catalog(kit *k)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    bool skipped;
    cb_code code = cb_file_slurp(k->backup, &raw, &k->err);

    return code == CB_OK ? give(k, "catalog/catalog.sqlite", raw.data, raw.size,
                                cb_bytes_of(NULL, 0), &skipped)
                         : code;
}

static cb_code give_all(kit *k)
{
    cb_code code = give_catalog(k);

    if (code == CB_OK)
        code = give_text(k, "data/main/t/a.parquet", "AAAA");
    if (code == CB_OK)
        code = give_text(k, "data/main/t/b.parquet", "BBBBB");
    if (code == CB_OK)
        code = give_text(k, "outside/file/elsewhere/c.parquet", "CCCCCC");
    return code;
}

static cb_code restore(kit *k)
{
    cb_code code = open_target(k);

    if (code == CB_OK)
        code = give_all(k);
    return code == CB_OK ? cb_target_finish(k->target, &k->err) : code;
}

static void expect_text(kit *k, const char *below, const char *text)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char path[700];
    cb_error err = {0};

    snprintf(path, sizeof(path), "%s/%s", k->folder, below);
    assert_ok(cb_file_slurp(path, &raw, &err));
    assert_int_equal(raw.size, strlen(text));
    assert_memory_equal(raw.data, text, raw.size);
}

static void put_text(kit *k, const char *below, const char *text)
{
    char path[700];
    char folder[700];
    cb_error err = {0};
    int fd = -1;

    snprintf(path, sizeof(path), "%s/%s", k->folder, below);
    snprintf(folder, sizeof(folder), "%.*s", (int)(cb_path_base(path) - path), path);
    assert_ok(cb_folder_make(folder, &err));
    assert_ok(cb_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, &err));
    assert_ok(cb_file_write(fd, path, 0, text, strlen(text), &err));
    cb_fd_close(&fd);
}

static bool is_there(kit *k, const char *below)
{
    char path[700];

    snprintf(path, sizeof(path), "%s/%s", k->folder, below);
    return cb_path_exists(path);
}

static const char *new_path(kit *k)
{
    static char path[300];

    snprintf(path, sizeof(path), "%s/moved", k->folder);
    return path;
}

/* ---- where files go ----------------------------------------------------------------------- */

static void test_elsewhere(void **state)
{
    kit *k = *state;
    char text[512];
    char wanted[600];
    cb_code code;

    lake_kit_sql(k->backup, "UPDATE ducklake_data_file SET path = '/elsewhere/c.parquet', "
                            "path_is_relative = 0 WHERE data_file_id = 20");
    k->lake.data_path = new_path(k);
    code = restore(k);
    assert_string_equal(k->err.message, "");
    assert_int_equal(code, CB_OK);
    expect_text(k, "moved/main/t/a.parquet", "AAAA");
    expect_text(k, "moved/main/t/b.parquet", "BBBBB");
    expect_text(k, "moved/outside/file/elsewhere/c.parquet", "CCCCCC");
    snprintf(wanted, sizeof(wanted), "%s/moved/", k->folder);
    assert_string_equal(lake_kit_text(k->catalog,
                                      "SELECT value FROM ducklake_metadata WHERE \"key\" = "
                                      "'data_path'",
                                      text),
                        wanted);
    snprintf(wanted, sizeof(wanted), "%s/moved/outside/file/elsewhere/c.parquet", k->folder);
    assert_string_equal(lake_kit_text(k->catalog,
                                      "SELECT path FROM ducklake_data_file WHERE data_file_id = 20",
                                      text),
                        wanted);
    assert_false(is_there(k, "old"));
}

static void test_where_it_was(void **state)
{
    kit *k = *state;

    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give_text(k, "data/main/t/a.parquet", "AAAA"), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    expect_text(k, "old/data/main/t/a.parquet", "AAAA");
    assert_int_equal(lake_kit_number(k->catalog, "SELECT count(*) FROM ducklake_table"), 3);
}

static void test_relative_path_follows_the_catalog(void **state)
{
    kit *k = *state;
    char text[512];

    lake_kit_sql(k->backup, "UPDATE ducklake_metadata SET value = 'files/' WHERE \"key\" = "
                            "'data_path'");
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give_text(k, "data/main/t/a.parquet", "AAAA"), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    expect_text(k, "new/files/main/t/a.parquet", "AAAA");
    assert_string_equal(lake_kit_text(k->catalog,
                                      "SELECT value FROM ducklake_metadata WHERE \"key\" = "
                                      "'data_path'",
                                      text),
                        "files/");
}

static void test_only_what_is_needed(void **state)
{
    kit *k = *state;
    bool skipped;

    k->lake.data_path = new_path(k);
    k->lake.has_snapshot = true;
    k->lake.snapshot = 4;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give(k, "data/main/t/a.parquet", "AAAA", 4, cb_bytes_of(NULL, 0), &skipped),
                     CB_OK);
    assert_false(skipped);
    assert_int_equal(give(k, "data/main/t/b.parquet", "BBBBB", 5, cb_bytes_of(NULL, 0), &skipped),
                     CB_OK);
    assert_true(skipped);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    assert_true(is_there(k, "moved/main/t/a.parquet"));
    assert_false(is_there(k, "moved/main/t/b.parquet"));
    assert_int_equal(lake_kit_number(k->catalog, "SELECT max(snapshot_id) FROM ducklake_snapshot"),
                     4);
}

static void test_as_of_a_time(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    k->lake.data_path = new_path(k);
    k->options.has_lake_time = true;
    assert_ok(cb_lake_time_parse("2026-11-21 10:03:00.4+00", &k->options.lake_time_us, &err));
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    assert_int_equal(lake_kit_number(k->catalog, "SELECT max(snapshot_id) FROM ducklake_snapshot"),
                     2);
    k->options.lake_time_us = 1;
    k->options.force = true;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_NOT_FOUND);
}

/* ---- what is there ------------------------------------------------------------------------ */

static void test_lake_that_is_there(void **state)
{
    kit *k = *state;
    struct stat before, after;
    char path[600];

    k->lake.data_path = new_path(k);
    assert_int_equal(restore(k), CB_OK);
    assert_int_equal(restore(k), CB_EXISTS);
    put_text(k, "moved/main/t/b.parquet", "BxBBB and more");
    snprintf(path, sizeof(path), "%s/moved/main/t/a.parquet", k->folder);
    assert_int_equal(stat(path, &before), 0);
    k->options.delta = true;
    assert_int_equal(restore(k), CB_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* was right, and was not touched */
    expect_text(k, "moved/main/t/b.parquet", "BBBBB");
}

static void test_files_without_a_lake(void **state)
{
    kit *k = *state;

    k->lake.data_path = new_path(k);
    put_text(k, "moved/main/t/a.parquet", "AAAA");
    assert_int_equal(restore(k), CB_OK);
    unlink(k->catalog);
    put_text(k, "moved/main/t/b.parquet", "other");
    assert_int_equal(restore(k), CB_EXISTS);
    expect_text(k, "moved/main/t/b.parquet", "other");
    assert_false(cb_path_exists(k->catalog));
    k->options.delta = true;
    assert_int_equal(restore(k), CB_OK);
    expect_text(k, "moved/main/t/b.parquet", "BBBBB");
}

/* Outside the data path a file may be anybody's by now. */
static void test_file_outside(void **state)
{
    kit *k = *state;
    char item[600];

    snprintf(item, sizeof(item), "outside/file%s/mine.parquet", k->folder);
    put_text(k, "mine.parquet", "mine");
    k->options.delta = true;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give_text(k, item, "theirs"), CB_EXISTS);
    expect_text(k, "mine.parquet", "mine");
    k->options.force = true;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give_text(k, item, "theirs"), CB_OK);
    expect_text(k, "mine.parquet", "theirs");
}

/* Given up before finish: no catalog, no partial file, and what was there is as it was. */
static void test_given_up(void **state)
{
    kit *k = *state;
    char command[600];

    k->lake.data_path = new_path(k);
    assert_int_equal(restore(k), CB_OK);
    lake_kit_sql(k->catalog, "INSERT INTO ducklake_tag VALUES (99, 1, NULL, 'a', 'b')");
    k->options.force = true;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_all(k), CB_OK);
    cb_target_free(k->target);
    k->target = NULL;
    assert_int_equal(
        lake_kit_number(k->catalog, "SELECT count(*) FROM ducklake_tag WHERE object_id = 99"), 1);
    snprintf(command, sizeof(command), "%s/new", k->folder);
    {
        CB_CLEANUP(cb_folder_close) DIR *folder = opendir(command);
        const struct dirent *entry;

        assert_non_null(folder);
        while ((entry = readdir(folder)) != NULL)
            assert_null(strstr(entry->d_name, "canvasback"));
    }
}

static void test_list_of_lost_files(void **state)
{
    kit *k = *state;
    cb_lake_target_report report;
    char lists[300];

    snprintf(lists, sizeof(lists), "%s/lists", k->folder);
    k->options.lost_list = lists;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    cb_lake_target_facts(k->target, &report);
    assert_null(report.lost_list);
    k->options.force = true;
    k->lake.has_snapshot = true;
    k->lake.snapshot = 4;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give_text(k, "data/main/t/a.parquet", "AAAA"), CB_OK);
    assert_int_equal(give_text(k, "data/main/t/b.parquet", "BBBBB"), CB_OK);
    assert_int_equal(give_text(k, "data/main/u/c.parquet", "CCCCCC"), CB_OK);
    assert_int_equal(give_text(k, "data/main/t/a-delete.parquet", "DDDDDDDD"), CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    cb_lake_target_facts(k->target, &report);
    assert_non_null(report.lost_list);
    assert_true(cb_path_exists(report.lost_list));
    assert_int_equal(report.lost_count, 3); /* b, d, and what is scheduled */
}

/* ---- what strangers may have written ------------------------------------------------------ */

static void test_items_that_climb(void **state)
{
    static const char *const items[] = {
        "data/../../x.parquet",
        "data/%2E%2E/x.parquet",
        "data//x.parquet",
        "outside/file/../x",
        "catalog/../x",
        "other/x",
        "data",
        "/etc/x",
        "catalog//etc/x",
        "outside/file",
    };
    kit *k = *state;

    k->lake.data_path = new_path(k);
    for (size_t i = 0; i < CB_LENGTH(items); i++) {
        cb_code code;

        assert_int_equal(open_target(k), CB_OK);
        if (strncmp(items[i], "catalog", 7) != 0)
            assert_int_equal(give_catalog(k), CB_OK);
        code = give_text(k, items[i], "x");
        if (code == CB_OK)
            fail_msg("'%s' was taken", items[i]);
    }
    assert_false(is_there(k, "x.parquet"));
    assert_false(cb_path_exists(k->catalog));
}

static void test_references(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf attrs = {0};
    cb_lake_target_report report;
    cb_error err = {0};
    bool skipped;

    assert_ok(cb_field_put_u64(&attrs, CB_LAKE_ATTR_SIZE, 4, &err));
    assert_ok(cb_field_put_u64(&attrs, CB_LAKE_ATTR_REFERENCE, 1, &err));
    put_text(k, "old/data/main/t/a.parquet", "AAAA");
    put_text(k, "old/data/main/t/b.parquet", "AAAAx");
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give(k, "data/main/t/a.parquet", "", 0, cb_buf_bytes(&attrs), &skipped),
                     CB_OK);
    assert_int_equal(give(k, "data/main/t/b.parquet", "", 0, cb_buf_bytes(&attrs), &skipped),
                     CB_OK);
    assert_int_equal(give(k, "data/main/t/c.parquet", "", 0, cb_buf_bytes(&attrs), &skipped),
                     CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_CORRUPT);
    assert_non_null(strstr(k->err.message, "2 files"));
    assert_false(cb_path_exists(k->catalog));
    expect_text(k, "old/data/main/t/a.parquet", "AAAA");
    k->options.salvage = true;
    assert_int_equal(open_target(k), CB_OK);
    assert_int_equal(give_catalog(k), CB_OK);
    assert_int_equal(give(k, "data/main/t/c.parquet", "", 0, cb_buf_bytes(&attrs), &skipped),
                     CB_OK);
    assert_int_equal(cb_target_finish(k->target, &k->err), CB_OK);
    cb_lake_target_facts(k->target, &report);
    assert_int_equal(report.missing, 1);
    assert_true(cb_path_exists(k->catalog));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_relative_path_follows_the_catalog, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_is_needed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_as_of_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lake_that_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_without_a_lake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_outside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list_of_lost_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_items_that_climb, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_references, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
