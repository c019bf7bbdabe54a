/*
 * Verify of a lake's backup against its own catalog: what that names and the backup has not, or has
 * in another size, is found though every chunk is good. No backup is like that unless something
 * went wrong, so a source that leaves things out stands in front of the real one.
 */
#include "command/lake_internal.h"

#include "base/file.h"

#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_BYTES = 600 };

static const char catalog[] =
    "CREATE TABLE ducklake_metadata(key VARCHAR, value VARCHAR, scope VARCHAR, scope_id BIGINT);"
    "CREATE TABLE ducklake_snapshot(snapshot_id BIGINT PRIMARY KEY, snapshot_time VARCHAR,"
    " schema_version BIGINT, next_catalog_id BIGINT, next_file_id BIGINT);"
    "CREATE TABLE ducklake_schema(schema_id BIGINT PRIMARY KEY, schema_uuid VARCHAR,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, schema_name VARCHAR, path VARCHAR,"
    " path_is_relative BIGINT);"
    "CREATE TABLE ducklake_table(table_id BIGINT, table_uuid VARCHAR, begin_snapshot BIGINT,"
    " end_snapshot BIGINT, schema_id BIGINT, table_name VARCHAR, path VARCHAR,"
    " path_is_relative BIGINT);"
    "CREATE TABLE ducklake_data_file(data_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, file_order BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, file_format VARCHAR, record_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, row_id_start BIGINT, partition_id BIGINT, encryption_key VARCHAR,"
    " mapping_id BIGINT, partial_max BIGINT);"
    "CREATE TABLE ducklake_delete_file(delete_file_id BIGINT PRIMARY KEY, table_id BIGINT,"
    " begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT,"
    " footer_size BIGINT, encryption_key VARCHAR, partial_max BIGINT);"
    "CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id BIGINT, path VARCHAR,"
    " path_is_relative BIGINT, schedule_start VARCHAR);"
    "INSERT INTO ducklake_metadata VALUES ('version','1.0',NULL,NULL),"
    " ('created_by','DuckDB test',NULL,NULL), ('encrypted','false',NULL,NULL),"
    " ('data_path','data/',NULL,NULL);"
    "INSERT INTO ducklake_snapshot VALUES (0,'2026-11-20 10:00:00+00',0,1,0),"
    " (1,'2026-11-21 10:00:00.5+00',1,2,9);"
    "INSERT INTO ducklake_schema VALUES (0,'0191a0c0-0000-7000-8000-000000000000',0,NULL,'main',"
    " 'main/',1);"
    "INSERT INTO ducklake_table VALUES (1,'0191a0c0-0000-7000-8000-000000000001',1,NULL,0,'t',"
    " 't/',1);"
    "INSERT INTO ducklake_data_file VALUES"
    " (1,1,1,NULL,NULL,'a.parquet',1,'parquet',1,600,10,0,NULL,NULL,NULL,NULL),"
    " (2,1,1,NULL,NULL,'b.parquet',1,'parquet',1,600,10,0,NULL,NULL,NULL,NULL);";

static const char chosen[] = "data/main/t/a.parquet";

/* ---- a source that leaves something out ------------------------------------------------------ */

typedef enum fault { NONE, LEFT_OUT, CUT } fault;

typedef struct faulty {
    cb_source base;
    cb_source *real;
    fault fault;
    bool is_in; /* the chosen item */
} faulty;

static cb_code faulty_begin(cb_source *source, cb_bytes state, bool *unchanged, cb_error *err)
{
    return cb_source_begin(((faulty *)source)->real, state, unchanged, err);
}

static cb_code faulty_next(cb_source *source, cb_step *step, cb_error *err)
{
    faulty *f = (faulty *)source;
    bool reuse;

    for (;;) {
        cb_code code = cb_source_next(f->real, step, err);

        if (code != CB_OK)
            return code;
        if (step->kind == CB_STEP_ITEM)
            f->is_in = strcmp(step->item.path, chosen) == 0;
        if (!f->is_in || f->fault == NONE || step->kind == CB_STEP_END)
            return CB_OK;
        if (step->kind == CB_STEP_DONE)
            f->is_in = false;
        if (f->fault == CUT) {
            step->item.size_bytes -= step->kind == CB_STEP_ITEM;
            step->piece.length -= step->kind == CB_STEP_PIECE;
            return CB_OK;
        }
        if (step->kind == CB_STEP_ITEM && cb_source_take(f->real, NULL, &reuse, err) != CB_OK)
            return err->code;
    }
}

static cb_code faulty_take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    return cb_source_take(((faulty *)source)->real, parent, reuse, err);
}

static cb_code faulty_read(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    return cb_source_read(((faulty *)source)->real, piece, into, err);
}

static cb_code faulty_end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    return cb_source_end(((faulty *)source)->real, out, err);
}

static void faulty_free(cb_source *source)
{
    cb_source_free(((faulty *)source)->real);
}

static const cb_source_ops faulty_ops = {faulty_begin, faulty_next, faulty_take,
                                         faulty_read,  faulty_end,  faulty_free};

/* ---- a lake and its backup ------------------------------------------------------------------- */

static void write_file(const char *root, const char *name)
{
    uint8_t data[FILE_BYTES] = "PAR1";
    char path[CB_PATH_MAX];
    cb_error err = {0};
    int fd;

    memcpy(data + FILE_BYTES - 8, "\10\0\0\0PAR1", 8);
    assert_ok(cb_path_join(root, name, path, &err));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_ok(cb_file_write(fd, path, 0, data, sizeof(data), &err));
    close(fd);
}

static void make_lake(char root[256], char address[320])
{
    char path[CB_PATH_MAX];
    cb_error err = {0};
    sqlite3 *db;

    test_temp_make(root);
    assert_ok(cb_path_join(root, "data/main/t", path, &err));
    assert_ok(cb_folder_make(path, &err));
    write_file(root, "data/main/t/a.parquet");
    write_file(root, "data/main/t/b.parquet");
    snprintf(address, 320, "sqlite:%s/meta.sqlite", root);
    assert_int_equal(sqlite3_open(address + strlen("sqlite:"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, catalog, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void take(cb_ctx *ctx, cb_repo *repo, const char *address, fault what)
{
    cb_lake_options lake = {0};
    cb_source_options options = {.lake = &lake};
    faulty f = {.base = {.ops = &faulty_ops, .kind = "ducklake", .name = "lake"}, .fault = what};
    cb_session_request request = {.name = "lake", .codec = CB_CODEC_RAW, .single_threaded = true};
    cb_outlet outlet = {.repo = repo};
    cb_manifest manifest = {
        .kind = "ducklake", .source = "lake", .host = "h", .version = "1", .confirmed = "once"};
    cb_source_facts facts;
    uint64_t read_bytes;
    bool unchanged;
    cb_error err = {0};

    assert_ok(cb_lake_source_new(ctx, address, &options, &f.real, &err));
    assert_ok(cb_session_open(repo, &request, &outlet.session, &err));
    assert_ok(cb_source_begin(&f.base, cb_bytes_of(NULL, 0), &unchanged, &err));
    assert_ok(cb_intake(ctx, &f.base, &outlet, 1, &read_bytes, &err));
    assert_ok(cb_source_end(&f.base, &facts, &err));
    manifest.state = facts.state;
    manifest.facts = facts.facts;
    manifest.fact_count = facts.fact_count;
    assert_ok(cb_session_commit(outlet.session, &manifest, &err));
    cb_session_free(outlet.session);
    cb_source_free(&f.base);
}

/* Verify of such a backup: `reason` NULL, nothing is found; else the chosen file, for this. */
static void expect(fault what, const char *reason)
{
    char root[256], address[320];
    cb_ctx *ctx = test_ctx_new();
    cb_audit_report report = {0};
    cb_manifest_ref ref;
    cb_manifest *manifest;
    cb_store *store;
    cb_repo *repo;
    bool is_good = true;
    cb_error err = {0};

    make_lake(root, address);
    assert_ok(cb_memory_store_new(ctx, &store, &err));
    assert_ok(cb_repo_create(ctx, store, NULL, &err));
    assert_ok(cb_repo_open(ctx, store, &repo, &err));
    take(ctx, repo, address, what);
    assert_ok(cb_command_find(repo, "lake", &ref, &manifest, &err));
    assert_ok(cb_lake_verify(ctx, repo, &ref, manifest, NULL, &report, &is_good, &err));
    assert_int_equal(is_good, reason == NULL);
    assert_int_equal(report.damaged_count, reason != NULL);
    if (reason != NULL && report.damaged_count == 1) {
        assert_string_equal(report.damaged[0].item, chosen);
        assert_non_null(strstr(report.damaged[0].reason, reason));
    }
    cb_audit_report_free(&report);
    cb_manifest_free(manifest);
    cb_repo_close(repo);
    cb_ctx_free(ctx);
    test_temp_remove(root);
}

static void all_is_there(void **state)
{
    (void)state;
    expect(NONE, NULL);
}

static void a_file_was_left_out(void **state)
{
    (void)state;
    expect(LEFT_OUT, "the catalog names it, and the backup does not have it");
}

static void a_file_has_another_size(void **state)
{
    (void)state;
    expect(CUT, "the catalog says 600 bytes, and the backup has 599");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_there),
        cmocka_unit_test(a_file_was_left_out),
        cmocka_unit_test(a_file_has_another_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
