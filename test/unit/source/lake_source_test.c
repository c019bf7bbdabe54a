/*
 * A lake as a source, with a catalog in SQLite made by hand: exactly the files that it names, what
 * is missing, and what goes while the backup reads.
 */
#include "source/ducklake/ducklake.h"

#include "base/file.h"
#include "codec/field.h"

#include "pipe_source.h"
#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char tables[] =
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
    " 't/',1);";

typedef struct lake {
    char root[256];
    char catalog[300];
    char address[320];
    cb_ctx *ctx;
    cb_source_options options;
    cb_lake_options lake;
} lake;

static void run_sql(const lake *l, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    assert_int_equal(sqlite3_open(l->catalog, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(db);
}

/* A file of `size` bytes with a Parquet file's ends, by a path relative to the lake's folder. */
static void write_file(const lake *l, const char *name, size_t size, uint8_t fill)
{
    char path[CB_PATH_MAX];
    cb_error err = {0};
    uint8_t *data = malloc(size + 1);
    int fd;

    memset(data, fill, size);
    if (size >= 8) {
        memcpy(data, "PAR1", 4);
        memcpy(data + size - 4, "PAR1", 4);
    }
    if (size >= 20) /* the length of a footer that fits */
        memcpy(data + size - 8, "\10\0\0", 4);
    assert_ok(cb_path_join(l->root, name, path, &err));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_ok(cb_file_write(fd, path, 0, data, size, &err));
    close(fd);
    free(data);
}

static void remove_file(const lake *l, const char *name)
{
    char path[CB_PATH_MAX];
    cb_error err = {0};

    assert_ok(cb_path_join(l->root, name, path, &err));
    assert_int_equal(unlink(path), 0);
}

static void add_data(const lake *l, int id, const char *path, bool relative, long long size)
{
    char sql[1024];

    snprintf(sql, sizeof(sql),
             "INSERT INTO ducklake_data_file VALUES (%d,1,1,NULL,NULL,'%s',%d,'parquet',1,%lld,10,"
             "0,NULL,NULL,NULL,NULL)",
             id, path, relative, size);
    run_sql(l, sql);
}

static lake *make_lake(void)
{
    lake *l = calloc(1, sizeof(*l));
    char path[CB_PATH_MAX];
    cb_error err = {0};

    test_temp_make(l->root);
    l->ctx = test_ctx_new();
    l->options.lake = &l->lake;
    snprintf(l->catalog, sizeof(l->catalog), "%s/meta.sqlite", l->root);
    snprintf(l->address, sizeof(l->address), "sqlite:%s", l->catalog);
    assert_ok(cb_path_join(l->root, "data/main/t", path, &err));
    assert_ok(cb_folder_make(path, &err));
    assert_ok(cb_path_join(l->root, "elsewhere", path, &err));
    assert_ok(cb_folder_make(path, &err));
    run_sql(l, tables);
    return l;
}

static void drop_lake(lake *l)
{
    test_temp_remove(l->root);
    cb_ctx_free(l->ctx);
    free(l);
}

/* Three files below the data path, one elsewhere, one delete file. */
static lake *make_usual(void)
{
    lake *l = make_lake();
    char elsewhere[300];
    char sql[512];

    write_file(l, "data/main/t/a.parquet", 3000000, 1);
    write_file(l, "data/main/t/b.parquet", 5000, 2);
    write_file(l, "data/main/t/c.parquet", 7000, 3);
    write_file(l, "data/main/t/b-delete.parquet", 800, 4);
    write_file(l, "data/main/t/unnamed.parquet", 900, 5);
    write_file(l, "elsewhere/x.parquet", 600, 6);
    add_data(l, 0, "a.parquet", true, 3000000);
    add_data(l, 1, "b.parquet", true, 5000);
    add_data(l, 2, "c.parquet", true, 7000);
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere/x.parquet", l->root);
    add_data(l, 3, elsewhere, false, 600);
    snprintf(sql, sizeof(sql),
             "INSERT INTO ducklake_delete_file VALUES (4,1,1,NULL,1,'b-delete.parquet',1,'parquet',"
             "3,800,10,NULL,NULL)");
    run_sql(l, sql);
    return l;
}

static cb_code take(lake *l, const test_backup *parent, test_step_hook *hook, void *arg,
                    test_backup *out, cb_error *err)
{
    cb_source *source;
    cb_code code = cb_lake_source_new(l->ctx, l->address, &l->options, &source, err);

    *out = (test_backup){0};
    if (code != CB_OK)
        return code;
    code = test_backup_take(source, parent, hook, arg, out, err);
    cb_source_free(source);
    return code;
}

/* The item is the file, byte for byte. */
static void expect_same(const lake *l, const test_backup *backup, const char *item,
                        const char *name)
{
    const test_item *found = test_backup_find(backup, item);
    CB_CLEANUP(cb_buf_free) cb_buf data = {0};
    char path[CB_PATH_MAX];
    size_t at = 0;
    cb_error err = {0};

    if (found == NULL)
        fail_msg("there is no item %s", item);
    assert_ok(cb_path_join(l->root, name, path, &err));
    assert_ok(cb_file_slurp(path, &data, &err));
    assert_int_equal(found->item.size_bytes, data.size);
    for (uint64_t i = 0; i < found->chunk_count; i++) {
        assert_non_null(found->chunks[i].data);
        assert_memory_equal(found->chunks[i].data, data.data + at, found->chunks[i].size);
        at += found->chunks[i].size;
    }
    assert_int_equal(at, data.size);
}

static size_t count_below(const test_backup *backup, const char *prefix)
{
    size_t count = 0;

    for (size_t i = 0; i < backup->count; i++)
        count += strncmp(backup->items[i].item.path, prefix, strlen(prefix)) == 0;
    return count;
}

static const char *outside_item(const lake *l, const char *name, char out[CB_PATH_MAX])
{
    snprintf(out, CB_PATH_MAX, "outside/file%s/%s", l->root, name);
    return out;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void exactly_what_is_named(void **state)
{
    lake *l = make_usual();
    char outside[CB_PATH_MAX];
    test_backup backup, again;
    cb_error err = {0};

    (void)state;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_same(l, &backup, "data/main/t/a.parquet", "data/main/t/a.parquet");
    expect_same(l, &backup, "data/main/t/b.parquet", "data/main/t/b.parquet");
    expect_same(l, &backup, "data/main/t/c.parquet", "data/main/t/c.parquet");
    expect_same(l, &backup, "data/main/t/b-delete.parquet", "data/main/t/b-delete.parquet");
    expect_same(l, &backup, outside_item(l, "elsewhere/x.parquet", outside), "elsewhere/x.parquet");
    assert_non_null(test_backup_find(&backup, "catalog/catalog.sqlite"));
    assert_int_equal(backup.count, 6);
    for (size_t i = 1; i < backup.count; i++)
        assert_true(cb_item_path_compare(backup.items[i - 1].item.path, backup.items[i].item.path) <
                    0);
    assert_int_equal(backup.facts.damaged, 0);

    /* With a parent only the catalog is read. */
    assert_ok(take(l, &backup, NULL, NULL, &again, &err));
    assert_int_equal(again.pieces,
                     cb_item_chunks(&test_backup_find(&again, "catalog/catalog.sqlite")->item));
    expect_same(l, &again, "data/main/t/a.parquet", "data/main/t/a.parquet");
    test_backup_free(&again);

    /* One new file: it alone is read. */
    write_file(l, "data/main/t/d.parquet", 1500000, 7);
    add_data(l, 5, "d.parquet", true, 1500000);
    assert_ok(take(l, &backup, NULL, NULL, &again, &err));
    assert_int_equal(again.pieces,
                     2 + cb_item_chunks(&test_backup_find(&again, "catalog/catalog.sqlite")->item));
    expect_same(l, &again, "data/main/t/d.parquet", "data/main/t/d.parquet");
    test_backup_free(&again);
    test_backup_free(&backup);
    drop_lake(l);
}

/* The state of a backup of the lake as it is. */
static void take_state(lake *l, cb_buf *into)
{
    test_backup backup;
    cb_source *source;
    cb_error err = {0};

    into->size = 0;
    assert_ok(cb_lake_source_new(l->ctx, l->address, &l->options, &source, &err));
    assert_ok(test_backup_take(source, NULL, NULL, NULL, &backup, &err));
    assert_ok(cb_buf_append(into, backup.facts.state.data, backup.facts.state.size, &err));
    test_backup_free(&backup);
    cb_source_free(source);
}

/* Says so, with the same words about the lake, and without a step. */
static bool is_as_in(lake *l, const cb_buf *before)
{
    cb_source_facts facts;
    cb_source *source;
    bool unchanged;
    cb_error err = {0};

    assert_ok(cb_lake_source_new(l->ctx, l->address, &l->options, &source, &err));
    assert_ok(cb_source_begin(source, cb_buf_bytes(before), &unchanged, &err));
    if (unchanged) {
        assert_ok(cb_source_end(source, &facts, &err));
        assert_int_equal(facts.state.size, before->size);
        assert_memory_equal(facts.state.data, before->data, before->size);
        assert_true(facts.source_bytes > 3005000);
    }
    cb_source_free(source);
    return unchanged;
}

static void an_unchanged_lake_is_known(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf before = {0};
    lake *l = make_lake();
    char outside[300];

    (void)state;
    write_file(l, "data/main/t/a.parquet", 3000000, 1);
    write_file(l, "data/main/t/b.parquet", 5000, 2);
    add_data(l, 0, "a.parquet", true, 3000000);
    add_data(l, 1, "b.parquet", true, 5000);
    take_state(l, &before);
    assert_true(is_as_in(l, &before));

    /* Storage alone, the catalog alone; what was there before a file is gone again. */
    write_file(l, "data/main/t/unnamed.parquet", 900, 3);
    assert_false(is_as_in(l, &before));
    remove_file(l, "data/main/t/unnamed.parquet");
    assert_true(is_as_in(l, &before));
    write_file(l, "data/main/t/b.parquet", 5000, 2); /* at another time */
    assert_false(is_as_in(l, &before));
    take_state(l, &before);
    run_sql(l, "UPDATE ducklake_data_file SET end_snapshot = 2 WHERE data_file_id = 1");
    assert_false(is_as_in(l, &before));

    /* Neither with damage nor with files that no listing shows. */
    remove_file(l, "data/main/t/b.parquet");
    l->options.allow_damage = true;
    take_state(l, &before);
    assert_false(is_as_in(l, &before));
    write_file(l, "data/main/t/b.parquet", 5000, 2);
    take_state(l, &before);
    assert_true(is_as_in(l, &before));
    write_file(l, "elsewhere/x.parquet", 600, 6);
    snprintf(outside, sizeof(outside), "%s/elsewhere/x.parquet", l->root);
    add_data(l, 3, outside, false, 600);
    take_state(l, &before);
    assert_false(is_as_in(l, &before));
    drop_lake(l);
}

static void scheduled_files_may_be_missing(void **state)
{
    lake *l = make_usual();
    test_backup backup;
    cb_error err = {0};

    (void)state;
    write_file(l, "data/main/t/old.parquet", 4000, 8);
    run_sql(l, "INSERT INTO ducklake_files_scheduled_for_deletion VALUES"
               " (8,'main/t/old.parquet',1,'2026-11-21 10:00:00+00'),"
               " (9,'main/t/gone.parquet',1,'2026-11-21 10:00:00+00')");
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_same(l, &backup, "data/main/t/old.parquet", "data/main/t/old.parquet");
    assert_null(test_backup_find(&backup, "data/main/t/gone.parquet"));
    assert_int_equal(backup.count, 7);
    test_backup_free(&backup);
    drop_lake(l);
}

static void missing_and_cut_files_are_damage(void **state)
{
    static const size_t sizes[] = {0, 4999, 5001};
    test_backup backup;
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        lake *l = make_usual();

        write_file(l, "data/main/t/b.parquet", sizes[i], 2);
        assert_code(CB_CORRUPT, take(l, NULL, NULL, NULL, &backup, &err));
        assert_non_null(strstr(err.message, "/data/main/t/b.parquet"));
        assert_non_null(strstr(err.hint, "--allow-damage"));
        cb_error_clear(&err);
        test_backup_free(&backup);
        l->options.allow_damage = true;
        assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
        assert_int_equal(backup.facts.damaged, 1);
        expect_same(l, &backup, "data/main/t/b.parquet", "data/main/t/b.parquet");
        expect_same(l, &backup, "data/main/t/a.parquet", "data/main/t/a.parquet");
        test_backup_free(&backup);
        drop_lake(l);
    }
}

/* A damaged item is no parent; a whole one of the parent makes up for what is missing. */
static void the_parent_makes_up_for_it(void **state)
{
    lake *l = make_usual();
    test_backup whole, damaged, backup;
    const test_item *item;
    cb_error err = {0};

    (void)state;
    assert_ok(take(l, NULL, NULL, NULL, &whole, &err));
    remove_file(l, "data/main/t/c.parquet");
    remove_file(l, "elsewhere/x.parquet");
    assert_code(CB_CORRUPT, take(l, &whole, NULL, NULL, &backup, &err));
    assert_non_null(strstr(err.message, "2 files"));
    cb_error_clear(&err);
    test_backup_free(&backup);

    l->options.allow_damage = true;
    assert_ok(take(l, &whole, NULL, NULL, &backup, &err));
    item = test_backup_find(&backup, "data/main/t/c.parquet");
    assert_int_equal(item->item.size_bytes, 7000);
    assert_true(item->reused);
    assert_int_equal(backup.facts.damaged, 2);
    test_backup_free(&backup);

    assert_ok(take(l, NULL, NULL, NULL, &damaged, &err));
    item = test_backup_find(&damaged, "data/main/t/c.parquet");
    assert_int_equal(item->item.size_bytes, 0);
    assert_false(item->reused);
    write_file(l, "data/main/t/c.parquet", 7000, 3);
    write_file(l, "elsewhere/x.parquet", 600, 6);
    assert_ok(take(l, &damaged, NULL, NULL, &backup, &err));
    assert_int_equal(backup.facts.damaged, 0);
    expect_same(l, &backup, "data/main/t/c.parquet", "data/main/t/c.parquet");
    test_backup_free(&backup);
    test_backup_free(&damaged);
    test_backup_free(&whole);
    drop_lake(l);
}

static void torn_files_of_the_right_size(void **state)
{
    lake *l = make_usual();
    test_backup backup;
    cb_error err = {0};
    char path[CB_PATH_MAX];

    (void)state;
    assert_ok(cb_path_join(l->root, "data/main/t/a.parquet", path, &err));
    assert_int_equal(truncate(path, 2999000), 0);
    assert_int_equal(truncate(path, 3000000), 0); /* ends with zeros */
    assert_code(CB_CORRUPT, take(l, NULL, NULL, NULL, &backup, &err));
    assert_non_null(strstr(err.message, "a.parquet' is torn: it does not end"));
    cb_error_clear(&err);
    test_backup_free(&backup);
    l->options.allow_damage = true;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    assert_int_equal(backup.facts.damaged, 1);
    test_backup_free(&backup);
    drop_lake(l);
}

/* ---- what goes while it is read -------------------------------------------------------------- */

typedef struct interference {
    lake *l;
    unsigned times; /* how often it interferes */
    unsigned done;
    bool is_named_still; /* the file goes, and the catalog is left as it is */
} interference;

/* Before the first data file is read: c is merged into a new file, and cleaned up. */
static cb_code interfere(void *arg, const cb_step *step, cb_error *err)
{
    interference *i = arg;
    char sql[256];
    char name[64];

    (void)err;
    if (step->kind != CB_STEP_ITEM || strcmp(step->item.path, "data/main/t/a.parquet") != 0 ||
        i->done == i->times)
        return CB_OK;
    snprintf(name, sizeof(name), i->done == 0 ? "c.parquet" : "m%u.parquet", i->done);
    snprintf(sql, sizeof(sql), "DELETE FROM ducklake_data_file WHERE path='%s'", name);
    if (!i->is_named_still)
        run_sql(i->l, sql);
    snprintf(sql, sizeof(sql), "data/main/t/%s", name);
    remove_file(i->l, sql);
    i->done++;
    if (i->is_named_still)
        return CB_OK;
    snprintf(name, sizeof(name), "m%u.parquet", i->done);
    snprintf(sql, sizeof(sql), "data/main/t/%s", name);
    write_file(i->l, sql, 7500, (uint8_t)(10 + i->done));
    add_data(i->l, (int)(100 + i->done), name, true, 7500);
    return CB_OK;
}

static void a_cleanup_makes_it_begin_anew(void **state)
{
    lake *l = make_usual();
    interference i = {.l = l, .times = 2};
    test_backup backup;
    cb_error err = {0};
    uint64_t catalog;

    (void)state;
    assert_ok(take(l, NULL, interfere, &i, &backup, &err));
    assert_int_equal(backup.restarts, 2);
    assert_int_equal(backup.count, 6);
    assert_null(test_backup_find(&backup, "data/main/t/c.parquet"));
    assert_null(test_backup_find(&backup, "data/main/t/m1.parquet"));
    expect_same(l, &backup, "data/main/t/m2.parquet", "data/main/t/m2.parquet");
    expect_same(l, &backup, "data/main/t/a.parquet", "data/main/t/a.parquet");
    assert_int_equal(backup.facts.damaged, 0);
    /* a (3), b, its deletes, c, x; then m1; then m2: nothing twice but the catalog. */
    catalog = cb_item_chunks(&test_backup_find(&backup, "catalog/catalog.sqlite")->item);
    assert_int_equal(backup.pieces, 3 * catalog + 3 + 1 + 1 + 1 + 1 + 1 + 1);
    test_backup_free(&backup);
    drop_lake(l);
}

static void it_does_not_go_on_for_ever(void **state)
{
    lake *l = make_usual();
    interference i = {.l = l, .times = 100};
    test_backup backup;
    cb_error err = {0};

    (void)state;
    assert_code(CB_BUSY, take(l, NULL, interfere, &i, &backup, &err));
    assert_non_null(strstr(err.hint, "delete_older_than"));
    assert_int_equal(i.done, 6);
    test_backup_free(&backup);
    drop_lake(l);
}

static void what_the_fresh_catalog_still_names_is_damage(void **state)
{
    lake *l = make_usual();
    interference i = {.l = l, .times = 1, .is_named_still = true};
    test_backup backup;
    cb_error err = {0};

    (void)state;
    assert_code(CB_CORRUPT, take(l, NULL, interfere, &i, &backup, &err));
    assert_non_null(strstr(err.message, "c.parquet"));
    test_backup_free(&backup);
    drop_lake(l);
}

/* ---- keys, facts, options -------------------------------------------------------------------- */

static void keys_are_told(void **state)
{
    lake *l = make_usual();
    cb_source *source;
    cb_error err = {0};

    (void)state;
    assert_ok(cb_lake_source_new(l->ctx, l->address, &l->options, &source, &err));
    assert_false(source->holds_keys);
    assert_string_equal(source->name, "meta");
    assert_string_not_equal(source->identity, "");
    cb_source_free(source);
    run_sql(l, "UPDATE ducklake_data_file SET encryption_key='a2V5' WHERE data_file_id=2");
    assert_ok(cb_lake_source_new(l->ctx, l->address, &l->options, &source, &err));
    assert_true(source->holds_keys);
    cb_source_free(source);
    run_sql(l, "UPDATE ducklake_data_file SET encryption_key=NULL");
    run_sql(l, "UPDATE ducklake_metadata SET value='true' WHERE key='encrypted'");
    assert_ok(cb_lake_source_new(l->ctx, l->address, &l->options, &source, &err));
    assert_true(source->holds_keys);
    cb_source_free(source);
    drop_lake(l);
}

static void another_data_path_by_hand(void **state)
{
    lake *l = make_usual();
    char from[300], to[300];
    test_backup backup;
    cb_error err = {0};

    (void)state;
    snprintf(from, sizeof(from), "%s/data", l->root);
    snprintf(to, sizeof(to), "%s/moved", l->root);
    assert_int_equal(rename(from, to), 0);
    assert_code(CB_CORRUPT, take(l, NULL, NULL, NULL, &backup, &err));
    test_backup_free(&backup);
    cb_error_clear(&err);
    l->lake.data_path = to;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_same(l, &backup, "data/main/t/a.parquet", "moved/main/t/a.parquet");
    assert_int_equal(count_below(&backup, "data/"), 4);
    test_backup_free(&backup);
    drop_lake(l);
}

/* ---- references ------------------------------------------------------------------------------ */

static uint64_t attr_number(const test_item *item, uint32_t tag)
{
    cb_field_reader reader = {item->item.attrs};
    cb_field field;
    cb_error err = {0};
    uint64_t value = 0;
    bool more;

    while (cb_field_next(&reader, &field, &more, &err) == CB_OK && more)
        if (field.tag == tag)
            assert_ok(cb_field_u64(&field, &value, &err));
    return value;
}

static void expect_reference(const test_backup *backup, const char *path, uint64_t size,
                             bool is_damaged)
{
    const test_item *item = test_backup_find(backup, path);

    if (item == NULL)
        fail_msg("there is no item %s", path);
    assert_int_equal(item->item.kind, CB_ITEM_OTHER);
    assert_int_equal(item->item.size_bytes, 0);
    assert_int_equal(attr_number(item, CB_LAKE_ATTR_REFERENCE), 1);
    assert_int_equal(attr_number(item, CB_LAKE_ATTR_SIZE), size);
    assert_int_equal(attr_number(item, CB_LAKE_ATTR_DAMAGED), is_damaged);
}

static void references_are_told_and_not_read(void **state)
{
    lake *l = make_usual();
    char outside[CB_PATH_MAX];
    test_backup backup, copy;
    cb_error err = {0};

    (void)state;
    l->lake.data = CB_LAKE_DATA_REFERENCE;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    assert_int_equal(backup.count, 6);
    assert_int_equal(backup.pieces,
                     cb_item_chunks(&test_backup_find(&backup, "catalog/catalog.sqlite")->item));
    expect_reference(&backup, "data/main/t/a.parquet", 3000000, false);
    expect_reference(&backup, "data/main/t/b-delete.parquet", 800, false);
    expect_reference(&backup, outside_item(l, "elsewhere/x.parquet", outside), 600, false);

    /* A reference is no parent of a copy. */
    l->lake.data = CB_LAKE_DATA_COPY;
    assert_ok(take(l, &backup, NULL, NULL, &copy, &err));
    expect_same(l, &copy, "data/main/t/a.parquet", "data/main/t/a.parquet");
    test_backup_free(&copy);
    test_backup_free(&backup);

    l->lake.data = CB_LAKE_DATA_REFERENCE;
    remove_file(l, "data/main/t/b.parquet");
    assert_code(CB_CORRUPT, take(l, NULL, NULL, NULL, &backup, &err));
    cb_error_clear(&err);
    test_backup_free(&backup);
    l->options.allow_damage = true;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_reference(&backup, "data/main/t/b.parquet", 5000, true);
    test_backup_free(&backup);
    drop_lake(l);
}

static void a_replica_has_every_file(void **state)
{
    lake *l = make_usual();
    char replica[300], outside[CB_PATH_MAX];
    test_backup backup;
    cb_error err = {0};
    char path[CB_PATH_MAX];

    (void)state;
    assert_ok(cb_path_join(l->root, "replica/main/t", path, &err));
    assert_ok(cb_folder_make(path, &err));
    write_file(l, "replica/main/t/a.parquet", 3000000, 1);
    write_file(l, "replica/main/t/aa-not-named.parquet", 30, 1);
    write_file(l, "replica/main/t/b.parquet", 5000, 2);
    write_file(l, "replica/main/t/b-delete.parquet", 800, 4);
    write_file(l, "replica/main/t/c.parquet", 7000, 3);
    snprintf(replica, sizeof(replica), "%s/replica", l->root);
    l->lake.data = CB_LAKE_DATA_REPLICA;
    l->lake.replica = replica;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_reference(&backup, "data/main/t/c.parquet", 7000, false);
    /* It has no place for what lies elsewhere: that is copied. */
    expect_same(l, &backup, outside_item(l, "elsewhere/x.parquet", outside), "elsewhere/x.parquet");
    assert_int_equal(backup.facts.damaged, 0);
    test_backup_free(&backup);

    write_file(l, "replica/main/t/b.parquet", 4999, 2);
    remove_file(l, "replica/main/t/c.parquet");
    assert_code(CB_CORRUPT, take(l, NULL, NULL, NULL, &backup, &err));
    assert_non_null(strstr(err.message, "lacks 2 of the lake's files"));
    assert_non_null(strstr(err.message, "b.parquet"));
    cb_error_clear(&err);
    test_backup_free(&backup);
    l->options.allow_damage = true;
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    expect_reference(&backup, "data/main/t/a.parquet", 3000000, false);
    expect_reference(&backup, "data/main/t/b.parquet", 5000, true);
    expect_reference(&backup, "data/main/t/c.parquet", 7000, true);
    assert_int_equal(backup.facts.damaged, 2);
    test_backup_free(&backup);
    drop_lake(l);
}

/* More files than stand open at once. */
static void many_files(void **state)
{
    lake *l = make_lake();
    test_backup backup;
    cb_error err = {0};
    char name[64], path[96];

    (void)state;
    for (int i = 0; i < 1300; i++) {
        snprintf(name, sizeof(name), "f%05d.parquet", i);
        snprintf(path, sizeof(path), "data/main/t/%s", name);
        write_file(l, path, 20, (uint8_t)i);
    }
    run_sql(l, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<1299)"
               " INSERT INTO ducklake_data_file SELECT i,1,1,NULL,NULL,"
               " printf('f%05d.parquet',i),1,'parquet',1,20,10,0,NULL,NULL,NULL,NULL FROM n");
    assert_ok(take(l, NULL, NULL, NULL, &backup, &err));
    assert_int_equal(count_below(&backup, "data/"), 1300);
    for (int i = 0; i < 1300; i += 37) {
        snprintf(path, sizeof(path), "data/main/t/f%05d.parquet", i);
        expect_same(l, &backup, path, path);
    }
    assert_true(backup.barriers >= 3);
    test_backup_free(&backup);
    drop_lake(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_what_is_named),
        cmocka_unit_test(an_unchanged_lake_is_known),
        cmocka_unit_test(scheduled_files_may_be_missing),
        cmocka_unit_test(missing_and_cut_files_are_damage),
        cmocka_unit_test(the_parent_makes_up_for_it),
        cmocka_unit_test(torn_files_of_the_right_size),
        cmocka_unit_test(a_cleanup_makes_it_begin_anew),
        cmocka_unit_test(it_does_not_go_on_for_ever),
        cmocka_unit_test(what_the_fresh_catalog_still_names_is_damage),
        cmocka_unit_test(keys_are_told),
        cmocka_unit_test(another_data_path_by_hand),
        cmocka_unit_test(references_are_told_and_not_read),
        cmocka_unit_test(a_replica_has_every_file),
        cmocka_unit_test(many_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
