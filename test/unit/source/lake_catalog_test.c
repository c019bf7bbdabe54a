/*
 * What a catalog says, read from catalogs made by hand in SQLite: each version's columns, paths at
 * three levels, renamed tables, and what strangers may have written.
 */
#include "temp.h"
#include "unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "source/ducklake/catalog.h"

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
    cb_lake_db *db;
    cb_lake_schema schema;
    cb_arena arena;
    cb_lake_info info;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    test_temp_make(k->folder);
    snprintf(k->path, sizeof(k->path), "%s/meta.sqlite", k->folder);
    k->ctx = test_ctx_new();
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_lake_db_close(k->db);
    cb_lake_schema_free(&k->schema);
    cb_arena_free(&k->arena);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

static void sql(kit *k, const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(k->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(db);
}

/* As DuckLake makes them in SQLite; of 0.1 and of 1.0. */
static const char tables_01[] =
    "CREATE TABLE ducklake_metadata(key VARCHAR, value VARCHAR);"
    "CREATE TABLE ducklake_snapshot(snapshot_id BIGINT PRIMARY KEY, snapshot_time TIMESTAMP,"
    " schema_version BIGINT, next_catalog_id BIGINT, next_file_id BIGINT);"
    "CREATE TABLE ducklake_schema(schema_id BIGINT PRIMARY KEY, schema_uuid UUID,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, schema_name VARCHAR);"
    "CREATE TABLE ducklake_table(table_id BIGINT, table_uuid UUID, begin_snapshot BIGINT,"
    " end_snapshot BIGINT, schema_id BIGINT, table_name VARCHAR);"
    "CREATE TABLE ducklake_data_file(data_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, file_order BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, file_format VARCHAR, record_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, row_id_start BIGINT, partition_id BIGINT, encryption_key VARCHAR);"
    "CREATE TABLE ducklake_delete_file(delete_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, encryption_key VARCHAR);"
    "CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, schedule_start TIMESTAMP);";

static const char to_10[] = "ALTER TABLE ducklake_metadata ADD COLUMN scope VARCHAR;"
                            "ALTER TABLE ducklake_metadata ADD COLUMN scope_id BIGINT;"
                            "ALTER TABLE ducklake_schema ADD COLUMN path VARCHAR;"
                            "ALTER TABLE ducklake_schema ADD COLUMN path_is_relative BIGINT;"
                            "ALTER TABLE ducklake_table ADD COLUMN path VARCHAR;"
                            "ALTER TABLE ducklake_table ADD COLUMN path_is_relative BIGINT;";

static const char lake_10[] =
    "INSERT INTO ducklake_metadata VALUES('version','1.0',NULL,NULL),"
    "('created_by','DuckDB abc',NULL,NULL),('data_path','/lake/data/',NULL,NULL),"
    "('encrypted','false',NULL,NULL),('delete_older_than','1 day',NULL,NULL),"
    "('expire_older_than','2 days','table',1),('data_path','/wrong/','schema',0);"
    "INSERT INTO ducklake_snapshot VALUES(0,'2026-01-01 00:00:00+00',0,1,0),"
    "(5,'2026-01-02 03:04:05.678901+00',1,9,9);"
    "INSERT INTO ducklake_schema VALUES(0,'aaaaaaaa-0000-0000-0000-000000000000',0,NULL,'main',"
    "'main/',1);"
    "INSERT INTO ducklake_table VALUES(1,'b',1,NULL,0,'t','t/',1);";

static void look(kit *k)
{
    cb_lake_address address;
    cb_error err = {0};
    char text[320];

    snprintf(text, sizeof(text), "sqlite:%s", k->path);
    assert_ok(cb_lake_address_parse(text, NULL, &address, &err));
    assert_ok(cb_lake_db_open(k->ctx, &address, CB_LAKE_READ, &k->db, &err));
    assert_ok(cb_lake_schema_read(k->db, &k->schema, &err));
}

static void read_info(kit *k)
{
    cb_error err = {0};

    look(k);
    assert_ok(cb_lake_info_read(k->db, &k->schema, &k->arena, &k->info, &err));
}

/* ---- versions, times ------------------------------------------------------------------------ */

static void check_order(const char *a, const char *b, int wanted)
{
    int order = cb_lake_version_compare(a, b);

    if ((order > 0) - (order < 0) != wanted)
        fail_msg("'%s' and '%s' compare as %d", a, b, order);
    order = cb_lake_version_compare(b, a);
    if ((order > 0) - (order < 0) != -wanted)
        fail_msg("'%s' and '%s' compare as %d", b, a, order);
}

static void test_versions(void **state)
{
    static const char *const rising[] = {"0.1", "0.2",      "0.3-dev1", "0.3-dev2", "0.3-dev10",
                                         "0.3", "0.4-dev1", "0.4",      "0.9",      "0.10",
                                         "1.0", "1.1-dev1", "1.1",      "2",        "10.0"};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(rising); i++)
        for (size_t j = 0; j < CB_LENGTH(rising); j++)
            check_order(rising[i], rising[j], i < j ? -1 : i > j);
    check_order("1", "1.0", 0);
    check_order("1.0.0", "1", 0);
    check_order("01.00", "1.0", 0);
    check_order("1.0-dev1", "1", -1);
    check_order("99999999999999999999999", "100000000000000000000000", -1);
    check_order("", "0.1", -1);
    assert_true(cb_lake_version_is_known("0.3-dev1"));
    assert_true(cb_lake_version_is_known("1.1-dev1"));
    assert_false(cb_lake_version_is_known("1.1"));
    assert_false(cb_lake_version_is_known("0.10"));
}

static void check_time(const char *text, int64_t wanted)
{
    cb_error err = {0};
    int64_t us;

    assert_ok(cb_lake_time_parse(text, &us, &err));
    if (us != wanted)
        fail_msg("'%s' is %lld", text, (long long)us);
}

static void test_times(void **state)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "infinity",
                                        "2026-11-21 14:00:00+",
                                        "2026-13-01",
                                        "2026-11-21 14:00:00 UTC",
                                        "10000-01-01 00:00:00"};
    const int64_t noon = INT64_C(1795269600) * 1000000; /* 2026-11-21 14:00 */
    cb_error err = {0};
    int64_t us;

    (void)state;
    setenv("TZ", "America/New_York", 1); /* nothing of it may show */
    check_time("2026-11-21 14:00:00.123456+00", noon + 123456);
    check_time("2026-11-21 14:00:00", noon);
    check_time("2026-11-21T14:00:00Z", noon);
    check_time("2026-11-21 15:30:00+01:30", noon);
    check_time("2026-11-21 15:00:00+01", noon);
    check_time("2026-11-21 09:00:00-05", noon);
    check_time("2026-11-21 14:00", noon);
    check_time("2026-11-21", noon - INT64_C(14) * 3600000000);
    check_time("1969-12-31 23:59:59+00", -1000000);
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        err = (cb_error){0};
        assert_code(CB_USAGE, cb_lake_time_parse(wrong[i], &us, &err));
    }
}

/* ---- what it says --------------------------------------------------------------------------- */

static void test_info(void **state)
{
    kit *k = *state;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    sql(k, "INSERT INTO ducklake_table VALUES(2,'c',1,4,0,'gone','gone/',1),"
           "(1,'b',0,1,0,'old','t/',1);"
           "INSERT INTO ducklake_data_file(data_file_id, table_id, begin_snapshot, path,"
           " path_is_relative, file_size_bytes) VALUES(1,1,1,'a',1,100),(2,1,2,'b',1,23);"
           "INSERT INTO ducklake_delete_file(delete_file_id, table_id, path, file_size_bytes)"
           " VALUES(3,1,'c',7);"
           "INSERT INTO ducklake_files_scheduled_for_deletion VALUES(4,'x',1,NULL);"
           "CREATE TABLE ducklake_inlined_data_tables(table_id, table_name, schema_version);"
           "CREATE TABLE ducklake_inlined_data_1_0(row_id, begin_snapshot, end_snapshot, i);"
           "CREATE TABLE ducklake_inlined_data_1_2(row_id, begin_snapshot, end_snapshot, i);"
           "CREATE TABLE ducklake_inlined_delete_1(file_id, row_id, begin_snapshot);"
           "INSERT INTO ducklake_inlined_data_tables VALUES(1,'x',0);"
           "INSERT INTO ducklake_inlined_data_1_0 VALUES(1,1,NULL,5);"
           "INSERT INTO ducklake_inlined_data_1_2 VALUES(1,1,NULL,5),(2,1,NULL,5);"
           "INSERT INTO ducklake_inlined_delete_1 VALUES(1,1,1);");
    read_info(k);
    assert_string_equal(k->info.version, "1.0");
    assert_true(k->info.is_known);
    assert_string_equal(k->info.created_by, "DuckDB abc");
    assert_string_equal(k->info.data_path, "/lake/data/");
    assert_false(k->info.encrypted);
    assert_string_equal(k->info.delete_older_than, "1 day");
    assert_null(k->info.expire_older_than); /* that is a table's */
    assert_int_equal(k->info.snapshot_id, 5);
    assert_int_equal(k->info.oldest_snapshot_id, 0);
    assert_int_equal(k->info.snapshots, 2);
    assert_true(k->info.oldest_snapshot_us == INT64_C(1767225600000000));
    assert_true(k->info.snapshot_us == INT64_C(1767323045678901));
    assert_int_equal(k->info.tables, 1);
    assert_int_equal(k->info.data_files, 2);
    assert_int_equal(k->info.data_bytes, 123);
    assert_int_equal(k->info.delete_files, 1);
    assert_int_equal(k->info.delete_bytes, 7);
    assert_int_equal(k->info.scheduled_files, 1);
    assert_int_equal(k->info.inlined_rows, 3);
    assert_int_equal(k->info.inlined_deletes, 1);
    assert_int_equal(strlen(k->info.identity), 32);
}

static void read_identity(kit *k, char out[33])
{
    read_info(k);
    memcpy(out, k->info.identity, 33);
    cb_lake_db_cleanup(&k->db);
    cb_lake_schema_free(&k->schema);
}

/* Expiry takes old snapshots away: it is the same lake. Another uuid is another lake. */
static void test_identity(void **state)
{
    kit *k = *state;
    char before[33], after[33], other[33];

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    read_identity(k, before);
    sql(k, "DELETE FROM ducklake_snapshot WHERE snapshot_id = 0;"
           "UPDATE ducklake_metadata SET value = '1.1' WHERE key = 'version'");
    read_identity(k, after);
    sql(k, "UPDATE ducklake_schema SET schema_uuid = 'bbbbbbbb-0000-0000-0000-000000000000'");
    read_identity(k, other);
    assert_string_equal(before, after);
    assert_string_not_equal(before, other);
}

static void test_no_lake(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    sql(k, "CREATE TABLE something(i)");
    look(k);
    assert_code(CB_NOT_FOUND, cb_lake_info_read(k->db, &k->schema, &k->arena, &k->info, &err));
    assert_true(err.hint[0] != '\0');
}

static void test_no_version(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    sql(k, tables_01);
    sql(k, "INSERT INTO ducklake_metadata VALUES('data_path','/x/')");
    look(k);
    assert_code(CB_CORRUPT, cb_lake_info_read(k->db, &k->schema, &k->arena, &k->info, &err));
}

/* Of a version from the future what has kept its name is read, the rest is nothing. */
static void test_unknown_version(void **state)
{
    kit *k = *state;

    sql(k, "CREATE TABLE ducklake_metadata(\"key\" VARCHAR, \"value\" VARCHAR, extra VARCHAR);"
           "INSERT INTO ducklake_metadata VALUES('version','7.3','x'),('data_path','/x',NULL)");
    read_info(k);
    assert_false(k->info.is_known);
    assert_string_equal(k->info.version, "7.3");
    assert_string_equal(k->info.data_path, "/x/");
    assert_int_equal(k->info.snapshot_id, -1);
    assert_int_equal(k->info.data_files, 0);
}

static void test_table_name(void **state)
{
    kit *k = *state;
    cb_error err = {0};
    const char *name;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    sql(k, "UPDATE ducklake_table SET end_snapshot = 3;"
           "INSERT INTO ducklake_table VALUES(1,'b',3,NULL,0,'a \"new\" name','t/',1)");
    read_info(k);
    assert_ok(cb_lake_table_name(k->db, 1, &k->arena, &name, &err));
    assert_string_equal(name, "\"main\".\"a \"\"new\"\" name\"");
    assert_ok(cb_lake_table_name(k->db, 77, &k->arena, &name, &err));
    assert_null(name);
}

/* ---- files ---------------------------------------------------------------------------------- */

typedef struct seen {
    cb_lake_file files[16];
    char urls[16][256], items[16][256];
    size_t count;
} seen;

static cb_code note_file(void *arg, const cb_lake_file *file, cb_error *err)
{
    seen *s = arg;

    (void)err;
    assert_true(s->count < CB_LENGTH(s->files));
    s->files[s->count] = *file;
    snprintf(s->urls[s->count], sizeof(s->urls[0]), "%s", file->url);
    snprintf(s->items[s->count], sizeof(s->items[0]), "%s", file->item);
    s->count++;
    return CB_OK;
}

static void visit(kit *k, seen *s)
{
    cb_error err = {0};

    read_info(k);
    s->count = 0;
    assert_ok(cb_lake_files_visit(k->db, &k->schema, &k->info, note_file, s, &err));
}

static void check_file(const seen *s, int64_t id, cb_lake_file_kind kind, const char *url,
                       const char *item)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->files[i].id != id)
            continue;
        assert_string_equal(s->urls[i], url);
        assert_string_equal(s->items[i], item);
        assert_int_equal(s->files[i].kind, kind);
        return;
    }
    fail_msg("file %lld was not visited", (long long)id);
}

/* Each level can be absolute by itself. */
static void test_three_levels(void **state)
{
    kit *k = *state;
    seen s;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    sql(k, "INSERT INTO ducklake_schema VALUES(7,'x',0,NULL,'far','s3://b/far/',0);"
           "INSERT INTO ducklake_table VALUES(2,'c',1,NULL,0,'u','/elsewhere/u/',0),"
           "(3,'d',1,NULL,7,'v','v/',1);"
           "INSERT INTO ducklake_data_file(data_file_id, table_id, begin_snapshot, path,"
           " path_is_relative, file_size_bytes, footer_size, record_count, encryption_key) VALUES"
           "(10,1,1,'a.parquet',1,100,5,6,NULL),(11,1,1,'/abs//a.parquet',0,NULL,NULL,NULL,'k'),"
           "(12,2,1,'x=1/a.parquet',1,1,1,1,NULL),(13,3,1,'a.parquet',1,1,1,1,NULL),"
           "(14,1,1,'/lake/data/in.parquet',0,1,1,1,NULL),"
           "(15,2,1,'file:///lake/data/f.parquet',0,1,1,1,NULL);"
           "INSERT INTO ducklake_delete_file(delete_file_id, table_id, begin_snapshot, path,"
           " path_is_relative, format) VALUES(20,1,1,'d.parquet',1,'parquet'),"
           "(21,1,1,'d.puffin',1,'puffin');"
           "INSERT INTO ducklake_files_scheduled_for_deletion VALUES(30,'main/t/o.parquet',1,NULL),"
           "(31,'/abs/o.parquet',0,NULL);");
    visit(k, &s);
    assert_int_equal(s.count, 10);
    check_file(&s, 10, CB_LAKE_FILE_DATA, "/lake/data/main/t/a.parquet", "data/main/t/a.parquet");
    check_file(&s, 11, CB_LAKE_FILE_DATA, "/abs/a.parquet", "outside/file/abs/a.parquet");
    check_file(&s, 12, CB_LAKE_FILE_DATA, "/elsewhere/u/x=1/a.parquet",
               "outside/file/elsewhere/u/x=1/a.parquet");
    check_file(&s, 13, CB_LAKE_FILE_DATA, "s3://b/far/v/a.parquet", "outside/s3/b/far/v/a.parquet");
    check_file(&s, 14, CB_LAKE_FILE_DATA, "/lake/data/in.parquet", "data/in.parquet");
    check_file(&s, 15, CB_LAKE_FILE_DATA, "/lake/data/f.parquet", "data/f.parquet");
    check_file(&s, 20, CB_LAKE_FILE_DELETE, "/lake/data/main/t/d.parquet", "data/main/t/d.parquet");
    check_file(&s, 21, CB_LAKE_FILE_PUFFIN, "/lake/data/main/t/d.puffin", "data/main/t/d.puffin");
    check_file(&s, 30, CB_LAKE_FILE_SCHEDULED, "/lake/data/main/t/o.parquet",
               "data/main/t/o.parquet");
    check_file(&s, 31, CB_LAKE_FILE_SCHEDULED, "/abs/o.parquet", "outside/file/abs/o.parquet");
    assert_int_equal(s.files[0].size_bytes, 100);
    assert_int_equal(s.files[0].footer_bytes, 5);
    assert_int_equal(s.files[0].records, 6);
    assert_int_equal(s.files[0].end_snapshot, -1);
    assert_false(s.files[0].is_encrypted || s.files[0].is_absolute);
    assert_true(s.files[1].is_encrypted && s.files[1].is_absolute);
    assert_int_equal(s.files[1].size_bytes, -1);
    assert_true(s.files[2].is_absolute && s.files[3].is_absolute);
}

/* A file belongs to the row of its table that was valid when it began. */
static void test_rows_of_a_table(void **state)
{
    kit *k = *state;
    seen s;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    sql(k, "UPDATE ducklake_table SET end_snapshot = 3;"
           "INSERT INTO ducklake_table VALUES(1,'b',3,5,0,'t2','t/',1),"
           "(1,'b',5,NULL,0,'t3','new/',1);"
           "INSERT INTO ducklake_data_file(data_file_id, table_id, begin_snapshot, path,"
           " path_is_relative) VALUES(9,1,0,'a',1),(10,1,1,'b',1),(11,1,4,'c',1),(12,1,5,'d',1),"
           "(13,1,99,'e',1),(14,55,1,'f',1);");
    visit(k, &s);
    check_file(&s, 9, CB_LAKE_FILE_DATA, "/lake/data/main/t/a", "data/main/t/a");
    check_file(&s, 10, CB_LAKE_FILE_DATA, "/lake/data/main/t/b", "data/main/t/b");
    check_file(&s, 11, CB_LAKE_FILE_DATA, "/lake/data/main/t/c", "data/main/t/c");
    check_file(&s, 12, CB_LAKE_FILE_DATA, "/lake/data/main/new/d", "data/main/new/d");
    check_file(&s, 13, CB_LAKE_FILE_DATA, "/lake/data/main/new/e", "data/main/new/e");
    /* Nobody can read a file of a table without a row. */
    check_file(&s, 14, CB_LAKE_FILE_SCHEDULED, "/lake/data/f", "data/f");
}

/* 0.1 knows no folders of schemas and tables. */
static void test_first_version(void **state)
{
    kit *k = *state;
    seen s;

    sql(k, tables_01);
    sql(k, "INSERT INTO ducklake_metadata VALUES('version','0.1'),('data_path','data/');"
           "INSERT INTO ducklake_schema VALUES(0,'a',0,NULL,'main');"
           "INSERT INTO ducklake_table VALUES(1,'b',1,NULL,0,'t');"
           "INSERT INTO ducklake_data_file(data_file_id, table_id, begin_snapshot, path,"
           " path_is_relative) VALUES(1,1,1,'a.parquet',1);");
    visit(k, &s);
    assert_true(k->info.is_known);
    assert_string_equal(k->info.stored_data_path, "data/");
    assert_true(cb_has_prefix(k->info.data_path, k->folder)); /* beside the catalog */
    assert_int_equal(s.count, 1);
    assert_true(cb_has_suffix(s.urls[0], "/data/a.parquet"));
    assert_string_equal(s.items[0], "data/a.parquet");
}

/* Relative paths that are none: nothing of them is an item below the data path. */
static void test_hostile_paths(void **state)
{
    kit *k = *state;
    seen s;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    sql(k, "INSERT INTO ducklake_data_file(data_file_id, table_id, begin_snapshot, path,"
           " path_is_relative) VALUES(1,1,1,'../../../../etc/passwd',1),(2,1,1,'/etc/passwd',1),"
           "(3,1,1,'s3://b/k',1),(4,1,1,'.././x',1),(5,1,1,'',1);");
    visit(k, &s);
    check_file(&s, 1, CB_LAKE_FILE_DATA, "/lake/data/main/t/../../../../etc/passwd",
               "outside/file/lake/data/main/t/%2E%2E/%2E%2E/%2E%2E/%2E%2E/etc/passwd");
    check_file(&s, 2, CB_LAKE_FILE_DATA, "/lake/data/main/t/etc/passwd", "data/main/t/etc/passwd");
    check_file(&s, 3, CB_LAKE_FILE_DATA, "/lake/data/main/t/s3:/b/k", "data/main/t/s3:/b/k");
    check_file(&s, 4, CB_LAKE_FILE_DATA, "/lake/data/main/t/../x",
               "outside/file/lake/data/main/t/%2E%2E/x");
    check_file(&s, 5, CB_LAKE_FILE_DATA, "/lake/data/main/t/", "data/main/t/%");
}

static void refuse_files(kit *k, const char *change, cb_code code)
{
    cb_error err = {0};
    seen s = {.count = 0};

    sql(k, change);
    read_info(k);
    assert_code(code, cb_lake_files_visit(k->db, &k->schema, &k->info, note_file, &s, &err));
    cb_lake_db_cleanup(&k->db);
    cb_lake_schema_free(&k->schema);
}

static void test_nonsense(void **state)
{
    kit *k = *state;

    sql(k, tables_01);
    sql(k, to_10);
    sql(k, lake_10);
    refuse_files(k,
                 "INSERT INTO ducklake_data_file(data_file_id, table_id, path, file_size_bytes)"
                 " VALUES(1,1,'a','many')",
                 CB_CORRUPT);
    refuse_files(k,
                 "DROP TABLE ducklake_delete_file; UPDATE ducklake_data_file SET "
                 "file_size_bytes = 5",
                 CB_UNSUPPORTED);
    refuse_files(k, "ALTER TABLE ducklake_data_file RENAME COLUMN path TO location",
                 CB_UNSUPPORTED);
}

/* ---- where the data is ---------------------------------------------------------------------- */

static void check_place(kit *k, const char *stored, const char *given, const char *wanted)
{
    cb_lake_address home = {.kind = CB_LAKE_SQLITE, .path = "/some/where/meta.sqlite"};
    cb_lake_info info = {.stored_data_path = stored};
    cb_error err = {0};

    assert_ok(cb_lake_info_place(&home, given, &k->arena, &info, &err));
    assert_string_equal(info.data_path, wanted);
}

static void test_place(void **state)
{
    kit *k = *state;

    check_place(k, "/a/b", NULL, "/a/b/");
    check_place(k, "/a//b/./", NULL, "/a/b/");
    check_place(k, "no/such/", NULL, "/some/where/no/such/");
    check_place(k, "", NULL, "/some/where/");
    check_place(k, "s3://b/p", NULL, "s3://b/p/");
    check_place(k, "s3://b", NULL, "s3://b/");
    check_place(k, "file:///a/", NULL, "/a/");
    check_place(k, "/a/", "s3://b/p?endpoint=http://x", "s3://b/p/");
    check_place(k, "/a/", "/c?d", "/c?d/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_times),
        cmocka_unit_test_setup_teardown(test_info, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_lake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_table_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_three_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_of_a_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_first_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_place, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
