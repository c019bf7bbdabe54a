/*
 * A catalog cut to a snapshot, to some tables, and brought to another place.
 */
#include "temp.h"
#include "unit.h"

#include "lake_kit.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
    cb_lake_address address;
    cb_lake_changed changed;
    cb_error err;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    test_temp_make(k->folder);
    snprintf(k->path, sizeof(k->path), "%s/meta.sqlite", k->folder);
    lake_kit_make(k->path, "/old/data/");
    lake_kit_address(k->path, &k->address);
    k->ctx = test_ctx_new();
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

typedef struct task {
    kit *k;
    const cb_lake_changes *changes;
} task;

static cb_code apply(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                     cb_error *err)
{
    task *t = arg;

    *keep = true;
    return cb_lake_change(db, schema, t->changes, &t->k->changed, err);
}

static cb_code change(kit *k, const cb_lake_changes *changes)
{
    task t = {k, changes};

    cb_error_clear(&k->err);
    return cb_lake_transact(k->ctx, &k->address, apply, &t, &k->err);
}

#define NUMBER(sql)        lake_kit_number(k->path, sql)
#define COUNT(table, rest) lake_kit_number(k->path, "SELECT count(*) FROM ducklake_" table " " rest)

static void test_cut(void **state)
{
    kit *k = *state;
    cb_lake_changes changes = {.cut = true, .snapshot = 4};

    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(k->changed.snapshots_removed, 2);
    assert_int_equal(k->changed.files_removed, 2);
    assert_int_equal(k->changed.tables_removed, 1);
    assert_int_equal(NUMBER("SELECT max(snapshot_id) FROM ducklake_snapshot"), 4);
    assert_int_equal(COUNT("snapshot_changes", "WHERE snapshot_id > 4"), 0);
    /* what ended later is open again, what began later is gone, with what hung on it */
    assert_int_equal(COUNT("data_file", ""), 2);
    assert_int_equal(COUNT("data_file", "WHERE data_file_id = 20 AND end_snapshot IS NULL"), 1);
    assert_int_equal(COUNT("delete_file", ""), 1);
    assert_int_equal(COUNT("file_column_stats", "WHERE data_file_id IN (11, 30)"), 0);
    assert_int_equal(COUNT("file_column_stats", ""), 2);
    assert_int_equal(COUNT("table", ""), 2);
    assert_int_equal(COUNT("schema", ""), 1);
    assert_int_equal(COUNT("table_stats", ""), 2);
    assert_int_equal(COUNT("column", "WHERE begin_snapshot > 4"), 0);
    assert_int_equal(COUNT("partition_info", ""), 1);
    assert_int_equal(COUNT("partition_column", ""), 1);
    assert_int_equal(COUNT("metadata", "WHERE \"scope\" = 'table'"), 0);
    assert_int_equal(COUNT("schema_versions", ""), 2);
    /* inlined rows: the later table would meet the one that DuckLake makes at that number again */
    assert_int_equal(COUNT("inlined_data_1_1", "WHERE end_snapshot IS NULL"), 2);
    assert_int_equal(COUNT("inlined_data_tables", ""), 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM sqlite_master WHERE name LIKE "
                            "'ducklake_inlined_data_1_3'"),
                     0);
    assert_int_equal(COUNT("inlined_delete_1", ""), 1);
    /* named again: the next cleanup must not delete it */
    assert_int_equal(COUNT("files_scheduled_for_deletion", ""), 1);
    assert_int_equal(COUNT("files_scheduled_for_deletion", "WHERE data_file_id = 20"), 0);
    /* ids are not given out a second time */
    assert_int_equal(NUMBER("SELECT next_file_id FROM ducklake_snapshot WHERE snapshot_id = 4"),
                     106);
    assert_int_equal(NUMBER("SELECT next_row_id FROM ducklake_table_stats WHERE table_id = 1"), 13);
}

static void test_cut_to_newest_changes_nothing(void **state)
{
    kit *k = *state;
    cb_lake_changes changes = {.cut = true, .snapshot = 6};

    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(k->changed.snapshots_removed, 0);
    assert_int_equal(COUNT("data_file", ""), 4);
    assert_int_equal(COUNT("files_scheduled_for_deletion", ""), 2);
}

static void test_cut_to_unknown(void **state)
{
    kit *k = *state;
    cb_lake_changes changes = {.cut = true, .snapshot = 4};

    lake_kit_sql(k->path, "DELETE FROM ducklake_snapshot WHERE snapshot_id = 4");
    assert_int_equal(change(k, &changes), CB_NOT_FOUND);
    assert_non_null(strstr(k->err.hint, "0 to 6"));
    assert_int_equal(COUNT("data_file", ""), 4);
}

/* Rows of later snapshots in a file that stays would come back one by one. */
static void test_cut_refused(void **state)
{
    kit *k = *state;
    cb_lake_changes changes = {.cut = true, .snapshot = 4};

    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_max = 5 WHERE data_file_id = 10");
    assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
    assert_non_null(strstr(k->err.message, "\"main\".\"t\""));
    assert_int_equal(NUMBER("SELECT max(snapshot_id) FROM ducklake_snapshot"), 6);
    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_max = 4 WHERE data_file_id = 10;"
                          "UPDATE ducklake_delete_file SET partial_max = 6");
    assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
    /* one that had ended by then is not read any more, one that began later goes */
    lake_kit_sql(k->path, "UPDATE ducklake_delete_file SET end_snapshot = 4;"
                          "UPDATE ducklake_data_file SET partial_max = 6 WHERE data_file_id = 11");
    assert_int_equal(change(k, &changes), CB_OK);
}

/* The file and its deletes are listed first; once somebody has read them, what is later is hidden
   row by row. */
static void test_cut_hides(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_straddle_free) cb_lake_straddle straddle = {0};
    cb_lake_changes changes = {.cut = true, .snapshot = 4, .straddle = &straddle};
    cb_lake_run runs[] = {{0, 3, 4, 4}, {1, 0, 0, 4}};
    char text[512];

    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_max = 5 WHERE data_file_id = 10;"
                          "UPDATE ducklake_delete_file SET partial_max = 6");
    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(straddle.count, 2);
    assert_int_equal(straddle.snapshot, 4);
    assert_int_equal(straddle.files[0].id, 10);
    assert_false(straddle.files[0].is_delete);
    assert_int_equal(straddle.files[0].records, 5);
    assert_int_equal(straddle.files[1].id, 12);
    assert_true(straddle.files[1].is_delete);
    assert_int_equal(straddle.files[1].data_file_id, 10);
    assert_int_equal(COUNT("data_file", "WHERE partial_max = 5"), 1);
    assert_int_equal(COUNT("delete_file", ""), 1);
    assert_int_equal(COUNT("inlined_delete_1", ""), 1);

    straddle.files[1].path = "main/t/it's.parquet";
    straddle.runs = runs;
    straddle.run_count = CB_LENGTH(runs);
    straddle.is_read = true;
    assert_int_equal(change(k, &changes), CB_OK);
    straddle.runs = NULL;
    assert_string_equal(
        lake_kit_text(k->path,
                      "SELECT group_concat(file_id || ':' || row_id || '@' || begin_snapshot) FROM "
                      "(SELECT * FROM ducklake_inlined_delete_1 ORDER BY row_id)",
                      text),
        "10:0@4,10:1@3,10:3@4,10:4@4");
    assert_int_equal(NUMBER("SELECT partial_max FROM ducklake_data_file WHERE data_file_id = 10"),
                     4);
    assert_int_equal(COUNT("delete_file", ""), 0);
    assert_string_equal(lake_kit_text(k->path,
                                      "SELECT path || ' ' || path_is_relative FROM "
                                      "ducklake_files_scheduled_for_deletion "
                                      "WHERE data_file_id = 12",
                                      text),
                        "main/t/it's.parquet 1");
}

/* DuckLake makes the table of single deletes on first use: so is it here. */
static void test_cut_hides_first(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_straddle_free) cb_lake_straddle straddle = {0};
    cb_lake_changes changes = {.cut = true, .snapshot = 4, .straddle = &straddle};
    cb_lake_run run = {0, 2, 2, 4};

    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_max = 6, end_snapshot = NULL "
                          "WHERE data_file_id = 20");
    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(straddle.count, 1);
    straddle.runs = &run;
    straddle.run_count = 1;
    straddle.is_read = true;
    assert_int_equal(change(k, &changes), CB_OK);
    straddle.runs = NULL;
    assert_int_equal(COUNT("inlined_delete_2", "WHERE file_id = 20 AND row_id = 2"), 1);
}

/* What cannot be read, or not be hidden there, is refused with its table. */
static void test_cut_cannot_hide(void **state)
{
    static const char *const ways[] = {
        "UPDATE ducklake_data_file SET partial_max = 5, encryption_key = 'k' "
        "WHERE data_file_id = 10",
        "UPDATE ducklake_data_file SET encryption_key = NULL, partial_max = NULL;"
        "UPDATE ducklake_delete_file SET partial_max = 6, format = 'puffin'",
        "UPDATE ducklake_delete_file SET format = 'parquet';"
        "UPDATE ducklake_metadata SET value = '0.4' WHERE \"key\" = 'version'",
    };
    kit *k = *state;

    for (size_t i = 0; i < CB_LENGTH(ways); i++) {
        CB_CLEANUP(cb_lake_straddle_free) cb_lake_straddle straddle = {0};
        cb_lake_changes changes = {.cut = true, .snapshot = 4, .straddle = &straddle};

        lake_kit_sql(k->path, ways[i]);
        assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
        assert_non_null(strstr(k->err.message, "\"main\".\"t\""));
        assert_int_equal(COUNT("snapshot", ""), 7);
    }
}

/* A table that is left out is no obstacle. */
static void test_cut_of_other_tables(void **state)
{
    kit *k = *state;
    const char *keep[] = {"u"};
    cb_lake_changes changes = {.cut = true, .snapshot = 4, .tables = keep, .table_count = 1};

    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_max = 5 WHERE data_file_id = 10");
    assert_int_equal(change(k, &changes), CB_OK);
}

static void test_cut_refused_in_0_3(void **state)
{
    kit *k = *state;
    cb_lake_changes changes = {.cut = true, .snapshot = 4};

    lake_kit_sql(k->path, "ALTER TABLE ducklake_data_file DROP COLUMN partial_max;"
                          "ALTER TABLE ducklake_data_file ADD COLUMN partial_file_info VARCHAR;"
                          "UPDATE ducklake_data_file SET partial_file_info = '2:3|5:2' "
                          "WHERE data_file_id = 10");
    assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_file_info = 'partial_max:5'");
    assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_file_info = 'what is this'");
    assert_int_equal(change(k, &changes), CB_UNSUPPORTED);
    lake_kit_sql(k->path, "UPDATE ducklake_data_file SET partial_file_info = '2:3|4:2'");
    assert_int_equal(change(k, &changes), CB_OK);
}

static void test_tables(void **state)
{
    kit *k = *state;
    const char *keep[] = {"main.U", "\"s2\".\"new\""};
    cb_lake_changes changes = {.tables = keep, .table_count = 2};

    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(k->changed.tables_removed, 1);
    assert_int_equal(k->changed.files_removed, 3);
    assert_int_equal(COUNT("table", "WHERE table_id = 1"), 0);
    assert_int_equal(COUNT("data_file", ""), 2);
    assert_int_equal(COUNT("delete_file", ""), 0);
    assert_int_equal(COUNT("column", "WHERE table_id = 1"), 0);
    assert_int_equal(COUNT("tag", ""), 1);
    assert_int_equal(COUNT("table_stats", ""), 2);
    assert_int_equal(COUNT("partition_column", ""), 1);
    assert_int_equal(COUNT("inlined_data_tables", ""), 0);
    assert_int_equal(
        NUMBER("SELECT count(*) FROM sqlite_master WHERE name LIKE 'ducklake_inlined_d%\\_1%' "
               "ESCAPE '\\'"),
        0);
    assert_int_equal(COUNT("metadata", "WHERE \"scope\" = 'table'"), 1);
    assert_int_equal(COUNT("schema", ""), 2);
}

static void test_tables_unknown(void **state)
{
    kit *k = *state;
    const char *keep[] = {"t", "s2.t"};
    cb_lake_changes changes = {.tables = keep, .table_count = 2};

    assert_int_equal(change(k, &changes), CB_NOT_FOUND);
    assert_non_null(strstr(k->err.message, "s2.t"));
    assert_non_null(strstr(k->err.hint, "main.t, main.u, s2.new"));
    assert_int_equal(COUNT("table", ""), 3);
    /* at the snapshot that is asked for */
    keep[1] = "new";
    changes.cut = true;
    changes.snapshot = 5;
    assert_int_equal(change(k, &changes), CB_NOT_FOUND);
}

static void test_tables_doubtful(void **state)
{
    kit *k = *state;
    const char *keep[] = {"t"};
    cb_lake_changes changes = {.tables = keep, .table_count = 1};

    lake_kit_sql(k->path, "UPDATE ducklake_table SET table_name = 't' WHERE table_id = 3");
    assert_int_equal(change(k, &changes), CB_USAGE);
    keep[0] = "s2.t";
    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(NUMBER("SELECT min(table_id) FROM ducklake_table"), 3);
}

static void test_hard_name(void **state)
{
    kit *k = *state;
    const char *keep[] = {"main.\"a.\"\"b\""};
    cb_lake_changes changes = {.tables = keep, .table_count = 1};

    lake_kit_sql(k->path, "UPDATE ducklake_table SET table_name = 'a.\"b' WHERE table_id = 2");
    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(NUMBER("SELECT min(table_id) FROM ducklake_table"), 2);
}

static void test_paths(void **state)
{
    static const struct cb_lake_prefix prefixes[] = {
        {"/old/d\xc3\xa4t/", "s3://b/{main}'x/"}, {"s3://b/", "never/"}, {"/", "/else/"}};
    kit *k = *state;
    cb_lake_changes changes = {
        .data_path = "s3://b/it's {x}/", .prefixes = prefixes, .prefix_count = 3};
    char text[512];

    lake_kit_sql(k->path,
                 "UPDATE ducklake_data_file SET path = '/old/d\xc3\xa4t/q.parquet', "
                 "path_is_relative = 0 WHERE data_file_id = 10;"
                 "UPDATE ducklake_data_file SET path = '/old/q.parquet', path_is_relative = 0 "
                 "WHERE data_file_id = 11;"
                 "UPDATE ducklake_data_file SET path = '/old/relative' WHERE data_file_id = 20;"
                 "UPDATE ducklake_table SET path = '/own/', path_is_relative = 0 "
                 "WHERE table_id = 3");
    assert_int_equal(change(k, &changes), CB_OK);
    assert_int_equal(k->changed.paths, 3);
    assert_string_equal(
        lake_kit_text(k->path, "SELECT path FROM ducklake_data_file WHERE data_file_id = 10", text),
        "s3://b/{main}'x/q.parquet");
    assert_string_equal(
        lake_kit_text(k->path, "SELECT path FROM ducklake_data_file WHERE data_file_id = 11", text),
        "/else/old/q.parquet");
    assert_string_equal(
        lake_kit_text(k->path, "SELECT path FROM ducklake_data_file WHERE data_file_id = 20", text),
        "/old/relative");
    assert_string_equal(
        lake_kit_text(k->path, "SELECT path FROM ducklake_table WHERE table_id = 3", text),
        "/else/own/");
    assert_string_equal(
        lake_kit_text(k->path, "SELECT value FROM ducklake_metadata WHERE \"key\" = 'data_path'",
                      text),
        "s3://b/it's {x}/");
}

/* A failure in the middle leaves all as it was. */
static void test_all_or_nothing(void **state)
{
    kit *k = *state;
    const char *keep[] = {"nobody"};
    cb_lake_changes changes = {.cut = true, .snapshot = 4, .tables = keep, .table_count = 1};

    assert_int_equal(change(k, &changes), CB_NOT_FOUND);
    assert_int_equal(COUNT("data_file", ""), 4);
    assert_int_equal(COUNT("snapshot", ""), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_to_newest_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_to_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_hides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_hides_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_cannot_hide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_of_other_tables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_refused_in_0_3, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tables_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tables_doubtful, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hard_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_or_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
