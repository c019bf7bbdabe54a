#include "lake_kit.h"

#include "unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Table 1 "t": made at 1, file 10 at 2, inlined rows at 3, file 11 at 5, all deletes of file 10 at
 * 4, a column more at 5. Table 2 "u": made at 2, file 20 at 2, which ended at 6. Table 3 "new" in
 * schema s2: made at 6 with file 30.
 */
static const char tables[] =
    "CREATE TABLE ducklake_metadata(\"key\" VARCHAR NOT NULL, \"value\" VARCHAR NOT NULL,"
    " \"scope\" VARCHAR, scope_id BIGINT);"
    "CREATE TABLE ducklake_snapshot(snapshot_id BIGINT PRIMARY KEY, snapshot_time VARCHAR,"
    " schema_version BIGINT, next_catalog_id BIGINT, next_file_id BIGINT);"
    "CREATE TABLE ducklake_snapshot_changes(snapshot_id BIGINT PRIMARY KEY, changes_made VARCHAR,"
    " author VARCHAR, commit_message VARCHAR, commit_extra_info VARCHAR);"
    "CREATE TABLE ducklake_schema(schema_id BIGINT PRIMARY KEY, schema_uuid VARCHAR,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, schema_name VARCHAR, path VARCHAR,"
    " path_is_relative BIGINT);"
    "CREATE TABLE ducklake_table(table_id BIGINT, table_uuid VARCHAR, begin_snapshot BIGINT,"
    " end_snapshot BIGINT, schema_id BIGINT, table_name VARCHAR, path VARCHAR,"
    " path_is_relative BIGINT);"
    "CREATE TABLE ducklake_tag(object_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT,"
    " \"key\" VARCHAR, \"value\" VARCHAR);"
    "CREATE TABLE ducklake_column(column_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT,"
    " table_id BIGINT, column_order BIGINT, column_name VARCHAR, column_type VARCHAR,"
    " initial_default VARCHAR, default_value VARCHAR, nulls_allowed BIGINT, parent_column BIGINT,"
    " default_value_type VARCHAR, default_value_dialect VARCHAR);"
    "CREATE TABLE ducklake_data_file(data_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, file_order BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, file_format VARCHAR, record_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, row_id_start BIGINT, partition_id BIGINT, encryption_key VARCHAR,"
    " mapping_id BIGINT, partial_max BIGINT);"
    "CREATE TABLE ducklake_delete_file(delete_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, encryption_key VARCHAR, partial_max BIGINT);"
    "CREATE TABLE ducklake_file_column_stats(data_file_id BIGINT, table_id BIGINT,"
    " column_id BIGINT, column_size_bytes BIGINT, value_count BIGINT, null_count BIGINT,"
    " min_value VARCHAR, max_value VARCHAR, contains_nan BIGINT, extra_stats VARCHAR);"
    "CREATE TABLE ducklake_table_stats(table_id BIGINT, record_count BIGINT, next_row_id BIGINT,"
    " file_size_bytes BIGINT);"
    "CREATE TABLE ducklake_partition_info(partition_id BIGINT, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT);"
    "CREATE TABLE ducklake_partition_column(partition_id BIGINT, table_id BIGINT,"
    " partition_key_index BIGINT, column_id BIGINT, \"transform\" VARCHAR);"
    "CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, schedule_start VARCHAR);"
    "CREATE TABLE ducklake_inlined_data_tables(table_id BIGINT, table_name VARCHAR,"
    " schema_version BIGINT);"
    "CREATE TABLE ducklake_schema_versions(begin_snapshot BIGINT, schema_version BIGINT,"
    " table_id BIGINT);"
    "CREATE TABLE ducklake_inlined_data_1_1(row_id BIGINT, begin_snapshot BIGINT,"
    " end_snapshot BIGINT, i BIGINT, ok BIGINT, s VARCHAR);"
    "CREATE TABLE ducklake_inlined_data_1_3(row_id BIGINT, begin_snapshot BIGINT,"
    " end_snapshot BIGINT, i BIGINT, ok BIGINT, s VARCHAR, n VARCHAR);"
    "CREATE TABLE ducklake_inlined_delete_1(file_id BIGINT, row_id BIGINT, begin_snapshot BIGINT);";

static const char rows[] =
    "INSERT INTO ducklake_metadata VALUES ('version', '1.0', NULL, NULL),"
    " ('created_by', 'DuckDB d8cdaa33fd', NULL, NULL), ('encrypted', 'false', NULL, NULL),"
    " ('target_file_size', '1MB', 'table', 3);"
    "INSERT INTO ducklake_snapshot SELECT value,"
    " '2026-11-21 10:0' || value || ':00.5+00', min(value, 3), 4 + value, 100 + value"
    " FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE"
    " value < 6) SELECT value FROM n);"
    "UPDATE ducklake_snapshot SET schema_version = 1 WHERE snapshot_id IN (1, 2, 3, 4);"
    "UPDATE ducklake_snapshot SET schema_version = 3 WHERE snapshot_id >= 5;"
    "INSERT INTO ducklake_snapshot_changes SELECT snapshot_id, 'x', NULL, NULL, NULL FROM"
    " ducklake_snapshot;"
    "INSERT INTO ducklake_schema VALUES (0, '6c1a1f9e-0000-4000-8000-00000000abcd', 0, NULL,"
    " 'main', 'main/', 1), (9, '6c1a1f9e-0000-4000-8000-00000000abce', 6, NULL, 's2', 's2/', 1);"
    "INSERT INTO ducklake_table VALUES (1, 'u1', 1, NULL, 0, 't', 't/', 1),"
    " (2, 'u2', 2, NULL, 0, 'u', 'u/', 1), (3, 'u3', 6, NULL, 9, 'new', 'new/', 1);"
    "INSERT INTO ducklake_tag VALUES (1, 1, NULL, 'comment', 'c'), (2, 2, NULL, 'comment', 'c');"
    "INSERT INTO ducklake_column VALUES"
    " (1, 1, NULL, 1, 1, 'i', 'int32', NULL, NULL, 1, NULL, NULL, NULL),"
    " (2, 1, NULL, 1, 2, 'ok', 'boolean', NULL, NULL, 1, NULL, NULL, NULL),"
    " (3, 1, NULL, 1, 3, 's', 'varchar', NULL, NULL, 1, NULL, NULL, NULL),"
    " (4, 5, NULL, 1, 4, 'n', 'struct', NULL, NULL, 1, NULL, NULL, NULL),"
    " (5, 5, NULL, 1, 5, 'a b', 'list', NULL, NULL, 1, 4, NULL, NULL),"
    " (6, 5, NULL, 1, 6, 'element', 'decimal(10,2)', NULL, NULL, 1, 5, NULL, NULL),"
    " (1, 2, NULL, 2, 1, 'v', 'varchar', NULL, NULL, 1, NULL, NULL, NULL),"
    " (1, 6, NULL, 3, 1, 'v', 'varchar', NULL, NULL, 1, NULL, NULL, NULL);"
    "INSERT INTO ducklake_data_file VALUES"
    " (10, 1, 2, NULL, NULL, 'a.parquet', 1, 'parquet', 5, 4, 1, 0, NULL, NULL, NULL, NULL),"
    " (11, 1, 5, NULL, NULL, 'b.parquet', 1, 'parquet', 5, 5, 1, 8, NULL, NULL, NULL, NULL),"
    " (20, 2, 2, 6, NULL, 'c.parquet', 1, 'parquet', 5, 6, 1, 0, NULL, NULL, NULL, NULL),"
    " (30, 3, 6, NULL, NULL, 'd.parquet', 1, 'parquet', 5, 7, 1, 0, NULL, NULL, NULL, NULL);"
    "INSERT INTO ducklake_delete_file VALUES"
    " (12, 1, 4, NULL, 10, 'a-delete.parquet', 1, 'parquet', 1, 8, 1, NULL, NULL);"
    "INSERT INTO ducklake_file_column_stats SELECT data_file_id, table_id, 1, 1, 1, 0, '1', '2',"
    " 0, NULL FROM ducklake_data_file;"
    "INSERT INTO ducklake_table_stats VALUES (1, 10, 13, 9), (2, 5, 5, 6), (3, 5, 5, 7);"
    "INSERT INTO ducklake_partition_info VALUES (7, 3, 6, NULL), (8, 1, 1, NULL);"
    "INSERT INTO ducklake_partition_column VALUES (7, 3, 0, 1, 'identity'),"
    " (8, 1, 0, 1, 'identity');"
    "INSERT INTO ducklake_files_scheduled_for_deletion VALUES"
    " (5, 'main/t/old.parquet', 1, '2026-11-21 10:00:00+00'),"
    " (20, 'main/u/c.parquet', 1, '2026-11-21 10:00:00+00');"
    "INSERT INTO ducklake_inlined_data_tables VALUES (1, 'ducklake_inlined_data_1_1', 1),"
    " (1, 'ducklake_inlined_data_1_3', 3);"
    "INSERT INTO ducklake_schema_versions VALUES (1, 1, 1), (2, 1, 2), (5, 3, 1), (6, 3, 3);"
    "INSERT INTO ducklake_inlined_data_1_1 VALUES (5, 3, 5, 1, 1, 'it''s'), (6, 3, NULL, 2, 0,"
    " NULL);"
    "INSERT INTO ducklake_inlined_data_1_3 VALUES (7, 5, NULL, 3, 1, 'x', '{''a b'': [1.50]}');"
    "INSERT INTO ducklake_inlined_delete_1 VALUES (10, 1, 3), (10, 2, 5), (11, 0, 6);";

void lake_kit_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(db);
}

void lake_kit_make(const char *path, const char *data_path)
{
    char sql[1024];

    lake_kit_sql(path, tables);
    lake_kit_sql(path, rows);
    snprintf(sql, sizeof(sql),
             "INSERT INTO ducklake_metadata VALUES ('data_path', '%s', NULL, NULL)", data_path);
    lake_kit_sql(path, sql);
}

static int take(void *arg, int count, char **values, char **names)
{
    (void)names;
    if (count > 0 && values[0] != NULL)
        snprintf(arg, 512, "%s", values[0]);
    return 0;
}

const char *lake_kit_text(const char *path, const char *sql, char out[512])
{
    sqlite3 *db = NULL;
    char *message = NULL;

    out[0] = '\0';
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, take, out, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(db);
    return out;
}

int64_t lake_kit_number(const char *path, const char *sql)
{
    char text[512];

    return lake_kit_text(path, sql, text)[0] != '\0' ? strtoll(text, NULL, 10) : -1;
}

void lake_kit_address(const char *path, cb_lake_address *out)
{
    char text[600];
    cb_error err = {0};

    snprintf(text, sizeof(text), "sqlite:%s", path);
    assert_int_equal(cb_lake_address_parse(text, NULL, out, &err), CB_OK);
}
