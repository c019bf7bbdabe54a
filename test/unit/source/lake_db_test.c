/*
 * Conversations with a lake's catalog, the same tests for each kind of database: SQLite always,
 * DuckDB where tools/fetch_duckdb has put a library, PostgreSQL where CB_TEST_PG holds a conninfo
 * of a database in which schemas may be made.
 */
#include "temp.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/text.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/db_pg_internal.h"

static cb_lake_kind kind;
static char library[CB_PATH_MAX]; /* "": none */
static char old_library[CB_PATH_MAX];
static const char *conninfo;

typedef struct fixture {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
    cb_lake_address address;
    unsigned waits; /* events */
} fixture;

/* ---- kit ------------------------------------------------------------------------------------- */

static void see_event(void *arg, const cb_event *event)
{
    fixture *f = arg;

    if (event->kind == CB_EVENT_WAITING)
        f->waits++;
}

static cb_ctx *new_ctx(fixture *f, const char *use)
{
    cb_settings settings = {.jobs = 2, .duckdb_library = use[0] != '\0' ? use : NULL};
    cb_error err = {0};
    cb_ctx *ctx;

    assert_ok(cb_ctx_new(&settings, see_event, f, &ctx, &err));
    return ctx;
}

static void parse(fixture *f)
{
    char text[CB_PATH_MAX];
    char schema[64];
    cb_error err = {0};

    snprintf(schema, sizeof(schema), "a \"lake's\" %d", (int)getpid());
    if (kind == CB_LAKE_POSTGRES)
        snprintf(text, sizeof(text), "postgres:%s", conninfo);
    else
        snprintf(text, sizeof(text), "%s:%s", cb_lake_kind_name(kind), f->path);
    assert_ok(
        cb_lake_address_parse(text, kind == CB_LAKE_POSTGRES ? schema : NULL, &f->address, &err));
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return 1;
    f->ctx = new_ctx(f, library);
    test_temp_make(f->folder);
    snprintf(f->path, sizeof(f->path), "%s/it's a \"catalog\"", f->folder);
    parse(f);
    *state = f;
    return 0;
}

static cb_lake_db *open_db(fixture *f, cb_lake_mode mode)
{
    cb_lake_db *db;
    cb_error err = {0};

    assert_ok(cb_lake_db_open(f->ctx, &f->address, mode, &db, &err));
    return db;
}

static void exec(cb_lake_db *db, const char *sql, uint64_t wanted)
{
    uint64_t changed;
    cb_error err = {0};

    assert_ok(cb_lake_db_exec(db, sql, &changed, &err));
    assert_int_equal(changed, wanted);
}

static void commit(cb_lake_db *db)
{
    cb_error err = {0};

    assert_ok(cb_lake_db_commit(db, &err));
    cb_lake_db_close(db);
}

static int tear_down(void **state)
{
    fixture *f = *state;

    if (kind == CB_LAKE_POSTGRES) {
        cb_lake_db *db = open_db(f, CB_LAKE_WRITE);
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
        cb_error err = {0};

        assert_ok(cb_buf_format(&sql, &err, "DROP SCHEMA IF EXISTS "));
        assert_ok(cb_lake_quote_name(&sql, f->address.schema, &err));
        assert_ok(cb_buf_format(&sql, &err, " CASCADE"));
        assert_ok(cb_lake_db_exec(db, (const char *)sql.data, NULL, &err));
        commit(db);
    }
    test_temp_remove(f->folder);
    cb_ctx_free(f->ctx);
    free(f);
    return 0;
}

static int64_t number(cb_lake_db *db, const char *sql)
{
    int64_t value;
    cb_error err = {0};

    assert_ok(cb_lake_db_number(db, sql, -1, &value, &err));
    return value;
}

static unsigned count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2; /* "." and ".." */
}

/* ---- a table with everything ----------------------------------------------------------------- */

#define CELL(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
enum { COLUMNS = 7, ROWS = 4 };

static const cb_lake_column columns[COLUMNS] = {
    {.name = "schema_id", .type = CB_LAKE_BIGINT, .not_null = true},
    {.name = "path_is_relative", .type = CB_LAKE_BOOLEAN},
    {.name = "schema_uuid", .type = CB_LAKE_UUID},
    {.name = "snapshot_time", .type = CB_LAKE_TIMESTAMPTZ},
    {.name = "odd \"name\"", .type = CB_LAKE_VARCHAR},
    {.name = "bytes", .type = CB_LAKE_BLOB},
    {.name = "end_snapshot", .type = CB_LAKE_BIGINT},
};

static const char *const key[] = {"schema_id"};

static const cb_lake_table everything = {
    .name = "ducklake_schema",
    .columns = columns,
    .column_count = COLUMNS,
    .key = key,
    .key_count = 1,
};

static const cb_lake_cell rows[ROWS][COLUMNS] = {
    {CELL("1"), CELL("true"), CELL("6ccd780c-baba-1026-9564-5b8c656024db"),
     CELL("2026-11-21 14:00:00.123456+00"), CELL("it's \\N \t\n\r \"x\" \xc3\xa4"),
     CELL("\x00\xff\\x'\n"), CELL("9223372036854775807")},
    {CELL("2"), CELL("false"), CELL("00000000-0000-0000-0000-000000000000"),
     CELL("1969-12-31 23:59:59.5+00"), CELL(""), CELL(""), CELL("-9223372036854775808")},
    {CELL("3"), {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}},
    {CELL("4"), CELL("true"), CELL("ffffffff-ffff-ffff-ffff-ffffffffffff"),
     CELL("2026-01-01 00:00:00+00"), CELL("NULL"), CELL("text"), CELL("0")},
};

static void load(cb_lake_db *db, const cb_lake_table *table, const cb_lake_cell *cells,
                 size_t count)
{
    cb_lake_loader *loader;
    cb_error err = {0};

    assert_ok(cb_lake_loader_open(db, table, &loader, &err));
    for (size_t i = 0; i < count; i++)
        assert_ok(cb_lake_loader_row(loader, cells + i * table->column_count, &err));
    assert_ok(cb_lake_loader_end(loader, &err));
    cb_lake_loader_free(loader);
}

static void make_lake(fixture *f)
{
    cb_lake_db *db = open_db(f, CB_LAKE_CREATE);
    cb_error err = {0};

    assert_ok(cb_lake_db_create(db, &everything, &err));
    load(db, &everything, rows[0], ROWS);
    exec(db, "CREATE TABLE {metadata}(\"key\" VARCHAR NOT NULL, \"value\" VARCHAR)", 0);
    exec(db, "INSERT INTO {metadata} VALUES ('version', '1.0'), ('{metadata}', NULL)", 2);
    commit(db);
}

static cb_code see_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    unsigned *seen = arg;

    (void)err;
    assert_int_equal(count, COLUMNS);
    assert_true(*seen < ROWS);
    for (size_t i = 0; i < count; i++) {
        const cb_lake_cell *wanted = &rows[*seen][i];

        if (wanted->text == NULL) {
            assert_null(cells[i].text);
            continue;
        }
        assert_non_null(cells[i].text);
        assert_int_equal(cells[i].size, wanted->size);
        assert_memory_equal(cells[i].text, wanted->text, wanted->size + 1);
    }
    (*seen)++;
    return CB_OK;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_there_and_back(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    unsigned seen = 0;
    cb_error err = {0};
    struct stat st;

    make_lake(f);
    if (kind != CB_LAKE_POSTGRES) {
        assert_int_equal(count_files(f->folder), 1);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    db = open_db(f, CB_LAKE_READ);
    assert_ok(
        cb_lake_db_query(db, "SELECT * FROM {schema} ORDER BY schema_id", see_row, &seen, &err));
    assert_int_equal(seen, ROWS);
    cb_lake_db_close(db);
}

static void test_tables(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_lake_schema schema;
    const cb_lake_table *table;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_WRITE);
    exec(db, "CREATE TABLE {inlined_data_1_1}(path_is_relative BIGINT, schema_uuid VARCHAR)", 0);
    /* SQLite wants the schema before the index's name instead. */
    exec(db,
         kind == CB_LAKE_SQLITE
             ? "CREATE INDEX \"an index\" ON ducklake_inlined_data_1_1(schema_uuid)"
             : "CREATE INDEX \"an index\" ON {inlined_data_1_1}(schema_uuid)",
         0);
    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_int_equal(schema.count, 3);
    assert_string_equal(schema.tables[0].name, "ducklake_inlined_data_1_1");
    assert_string_equal(schema.tables[1].name, "ducklake_metadata");
    table = cb_lake_schema_find(&schema, "ducklake_schema");
    assert_non_null(table);
    assert_int_equal(table->column_count, COLUMNS);
    for (size_t i = 0; i < COLUMNS; i++) {
        assert_string_equal(table->columns[i].name, columns[i].name);
        assert_int_equal(table->columns[i].type, columns[i].type);
        assert_int_equal(table->columns[i].not_null, columns[i].not_null);
    }
    assert_int_equal(table->key_count, 1);
    assert_string_equal(table->key[0], "schema_id");
    assert_int_equal(table->extra_count, 0);
    assert_true(cb_lake_table_has(table, "schema_uuid"));
    assert_false(cb_lake_table_has(table, "Schema_uuid"));
    assert_null(cb_lake_schema_find(&schema, "ducklake_snapshot"));
    /* A user's column may have any name: it is what it was declared as. */
    table = &schema.tables[0];
    assert_int_equal(table->columns[0].type, CB_LAKE_BIGINT);
    assert_int_equal(table->columns[1].type, CB_LAKE_VARCHAR);
    assert_int_equal(table->extra_count, 1);
    /* The same tables again, from what was read. */
    exec(db, "DROP TABLE {inlined_data_1_1}", 0);
    assert_ok(cb_lake_db_create(db, table, &err));
    cb_lake_schema_free(&schema);
    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_int_equal(schema.tables[0].extra_count, 1);
    assert_code(CB_EXISTS, cb_lake_db_create(db, &schema.tables[0], &err));
    cb_lake_schema_free(&schema);
    cb_lake_db_close(db);
}

/* By the name's beginning, letter by letter: no wildcard, no view. */
static void test_foreign_tables(void **state)
{
    fixture *f = *state;
    cb_lake_db *db = open_db(f, CB_LAKE_CREATE);
    cb_lake_schema schema;
    cb_error err = {0};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};

    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_int_equal(schema.count, 0);
    cb_lake_schema_free(&schema);
    assert_ok(cb_buf_format(&sql, &err, "CREATE TABLE "));
    assert_ok(cb_lake_db_table(db, &sql, "ducklakeXtable", &err));
    assert_ok(cb_buf_format(&sql, &err, "(i BIGINT)"));
    exec(db, (const char *)sql.data, 0);
    exec(db, "CREATE TABLE {t}(i BIGINT)", 0);
    exec(db, "CREATE VIEW {v} AS SELECT * FROM {t}", 0);
    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_int_equal(schema.count, 1);
    assert_string_equal(schema.tables[0].name, "ducklake_t");
    cb_lake_schema_free(&schema);
    cb_lake_db_close(db);
}

static void test_create_only_new(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};

    db = open_db(f, CB_LAKE_CREATE);
    assert_ok(cb_lake_db_create(db, &everything, &err));
    cb_lake_db_close(db); /* given up: nothing is left */
    if (kind != CB_LAKE_POSTGRES)
        assert_int_equal(count_files(f->folder), 0);
    make_lake(f);
    assert_code(CB_EXISTS, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_CREATE, &db, &err));
    assert_null(db);
    assert_true(err.hint[0] != '\0');
    db = open_db(f, CB_LAKE_READ);
    assert_int_equal(number(db, "SELECT count(*) FROM {schema}"), ROWS);
    cb_lake_db_close(db);
}

static void test_all_or_nothing(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_WRITE);
    exec(db, "UPDATE {schema} SET path_is_relative = true WHERE NOT path_is_relative", 1);
    exec(db, "DELETE FROM {metadata}", 2);
    cb_lake_db_close(db);
    db = open_db(f, CB_LAKE_WRITE);
    assert_int_equal(number(db, "SELECT count(*) FROM {metadata}"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM {schema} WHERE path_is_relative"), 2);
    exec(db, "UPDATE {schema} SET path_is_relative = true WHERE NOT path_is_relative", 1);
    exec(db, "DELETE FROM {metadata}", 2);
    assert_ok(cb_lake_db_commit(db, &err));
    assert_code(CB_INTERNAL, cb_lake_db_exec(db, "SELECT 1", NULL, &err));
    cb_lake_db_close(db);
    if (kind != CB_LAKE_POSTGRES)
        assert_int_equal(count_files(f->folder), 1); /* no log beside it */
    db = open_db(f, CB_LAKE_READ);
    assert_int_equal(number(db, "SELECT count(*) FROM {metadata}"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM {schema} WHERE path_is_relative"), 3);
    assert_true(cb_lake_db_exec(db, "DELETE FROM {schema}", NULL, &err) != CB_OK);
    cb_lake_db_close(db);
}

static void test_single_values(void **state)
{
    fixture *f = *state;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_lake_db *db;
    const char *text;
    int64_t value;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_READ);
    assert_int_equal(number(db, "SELECT max(schema_id) FROM {schema}"), 4);
    assert_int_equal(number(db, "SELECT max(schema_id) FROM {schema} WHERE schema_id > 9"), -1);
    assert_int_equal(number(db, "SELECT schema_id FROM {schema} WHERE schema_id > 9"), -1);
    assert_code(CB_CORRUPT,
                cb_lake_db_number(db, "SELECT \"value\" FROM {metadata} WHERE \"key\" = 'version'",
                                  7, &value, &err));
    assert_int_equal(value, 7);
    cb_error_clear(&err);
    assert_ok(cb_lake_db_text(db, "SELECT \"value\" FROM {metadata} WHERE \"key\" = 'version';",
                              &arena, &text, &err));
    assert_string_equal(text, "1.0");
    /* What stands in quotes is no table. */
    assert_ok(cb_lake_db_text(db, "SELECT \"key\" FROM {metadata} WHERE \"key\" = '{metadata}'",
                              &arena, &text, &err));
    assert_string_equal(text, "{metadata}");
    assert_ok(cb_lake_db_text(db, "SELECT \"value\" FROM {metadata} WHERE \"key\" = '{metadata}'",
                              &arena, &text, &err));
    assert_null(text);
    cb_lake_db_close(db);
}

typedef struct reentry {
    cb_lake_db *db;
    unsigned seen;
} reentry;

static cb_code ask_again(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reentry *of = arg;

    (void)cells;
    (void)count;
    of->seen++;
    return cb_lake_db_exec(of->db, "SELECT 1", NULL, err);
}

static cb_code stop_at_two(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    unsigned *seen = arg;

    (void)cells;
    (void)count;
    return ++*seen == 2 ? cb_fail(err, CB_NO_SPACE, "enough") : CB_OK;
}

/* One statement at a time; one that was ended early does not stand in the way of the next. */
static void test_one_at_a_time(void **state)
{
    fixture *f = *state;
    reentry of = {0};
    unsigned seen = 0;
    cb_error err = {0};

    make_lake(f);
    of.db = open_db(f, CB_LAKE_READ);
    assert_code(CB_INTERNAL,
                cb_lake_db_query(of.db, "SELECT * FROM {schema}", ask_again, &of, &err));
    assert_int_equal(of.seen, 1);
    cb_error_clear(&err);
    assert_code(CB_NO_SPACE,
                cb_lake_db_query(of.db, "SELECT a.schema_id FROM {schema} a, {schema} b",
                                 stop_at_two, &seen, &err));
    assert_int_equal(seen, 2);
    assert_string_equal(err.message, "enough");
    assert_int_equal(number(of.db, "SELECT count(*) FROM {schema}"), ROWS);
    cb_lake_db_close(of.db);
}

static cb_code cancel_it(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)cells;
    (void)count;
    (void)err;
    cb_cancel(arg);
    return CB_OK;
}

static void test_cancel(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_READ);
    assert_code(CB_CANCELLED,
                cb_lake_db_query(db,
                                 "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r "
                                 "WHERE i < 100000000) SELECT i FROM r",
                                 cancel_it, f->ctx, &err));
    cb_lake_db_close(db);
    cb_ctx_free(f->ctx);
    f->ctx = new_ctx(f, library); /* for the tear down */
}

/* Numbers with fractions read back as they were, and as the other kinds write them. */
static cb_code see_floats(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    static const char *const wanted[] = {"0.1", "-2.5e-300", "inf", "-inf", "nan"};
    unsigned *seen = arg;

    (void)count;
    (void)err;
    assert_true(*seen < CB_LENGTH(wanted));
    assert_string_equal(cells[0].text, wanted[*seen]);
    (*seen)++;
    return CB_OK;
}

static void test_floats(void **state)
{
    const cb_lake_column floats[] = {
        {.name = "f", .type = CB_LAKE_OTHER, .declared = "DOUBLE PRECISION"},
        {.name = "n", .type = CB_LAKE_BIGINT},
    };
    const cb_lake_table table = {
        .name = "ducklake_inlined_data_1_1", .columns = floats, .column_count = CB_LENGTH(floats)};
    const cb_lake_cell cells[][2] = {{CELL("0.1"), CELL("1")},
                                     {CELL("-2.5e-300"), CELL("2")},
                                     {CELL("inf"), CELL("3")},
                                     {CELL("-inf"), CELL("4")},
                                     {CELL("nan"), CELL("5")}};
    fixture *f = *state;
    cb_lake_db *db = open_db(f, CB_LAKE_CREATE);
    unsigned seen = 0;
    cb_error err = {0};

    assert_ok(cb_lake_db_create(db, &table, &err));
    load(db, &table, cells[0], CB_LENGTH(cells));
    assert_ok(cb_lake_db_query(db, "SELECT f FROM {inlined_data_1_1} ORDER BY n", see_floats, &seen,
                               &err));
    assert_int_equal(seen, CB_LENGTH(cells));
    cb_lake_db_close(db);
}

/* A value that the column cannot hold is an error, and not another value. */
static void test_bad_value(void **state)
{
    fixture *f = *state;
    cb_lake_cell bad[COLUMNS];
    cb_lake_db *db = open_db(f, CB_LAKE_CREATE);
    cb_lake_loader *loader;
    cb_error err = {0};
    cb_code code;

    assert_ok(cb_lake_db_create(db, &everything, &err));
    memcpy(bad, rows[0], sizeof(bad));
    bad[0] = (cb_lake_cell){NULL, 0};
    assert_ok(cb_lake_loader_open(db, &everything, &loader, &err));
    code = cb_lake_loader_row(loader, bad, &err);
    if (code == CB_OK)
        code = cb_lake_loader_end(loader, &err);
    assert_true(code != CB_OK);
    assert_non_null(strstr(err.message, "ducklake_schema"));
    cb_lake_loader_free(loader);
    cb_error_clear(&err);
    assert_true(cb_lake_db_commit(db, &err) != CB_OK);
    cb_lake_db_close(db);
}

/* Another process holds what we want until it is told to end. */
static pid_t hold(fixture *f, int *tell)
{
    int ready[2];
    int done[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid = fork();
    if (pid == 0) {
        cb_error err = {0};
        cb_lake_db *db = NULL;

        close(done[1]);
        if (cb_lake_db_open(f->ctx, &f->address, CB_LAKE_WRITE, &db, &err) != CB_OK ||
            cb_lake_db_exec(db, "DELETE FROM {metadata}", NULL, &err) != CB_OK ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        if (read(done[0], &byte, 1) < 0)
            _exit(2);
        _exit(0); /* as a crash: the rest of the transaction is the database's to undo */
    }
    close(done[0]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *tell = done[1];
    return pid;
}

static void test_busy(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};
    int tell;
    int status;
    pid_t pid;
    char name[32];

    make_lake(f);
    pid = hold(f, &tell);
    assert_code(CB_BUSY, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_WRITE, &db, &err));
    assert_null(db);
    snprintf(name, sizeof(name), "%d", (int)pid);
    if (kind == CB_LAKE_POSTGRES)
        assert_non_null(strstr(err.message, "server process "));
    else
        assert_non_null(strstr(err.message, name));
    assert_true(err.hint[0] != '\0');
    close(tell);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* It ended without a commit. */
    f->ctx->settings.lock_wait_us = 5000000;
    db = open_db(f, CB_LAKE_WRITE);
    assert_int_equal(number(db, "SELECT count(*) FROM {metadata}"), 2);
    cb_lake_db_close(db);
}

static void test_not_there(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};
    int fd;

    if (kind == CB_LAKE_POSTGRES) {
        db = open_db(f, CB_LAKE_READ);
        assert_code(CB_NOT_FOUND, cb_lake_db_exec(db, "SELECT * FROM {metadata}", NULL, &err));
        cb_lake_db_close(db);
        return;
    }
    assert_code(CB_NOT_FOUND, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_READ, &db, &err));
    assert_code(CB_NOT_FOUND, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_WRITE, &db, &err));
    assert_int_equal(count_files(f->folder), 0);
    fd = open(f->path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_code(CB_UNSUPPORTED, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_READ, &db, &err));
    assert_int_equal(write(fd, "no database at all", 18), 18);
    close(fd);
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_WRITE, &db, &err));
    assert_int_equal(count_files(f->folder), 1);
    assert_code(CB_EXISTS, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_CREATE, &db, &err));
}

/* ---- COPY ------------------------------------------------------------------------------------ */

static cb_code gather(void *arg, cb_bytes row, cb_error *err)
{
    assert_true(row.size > 0 && row.data[row.size - 1] == '\n');
    return cb_buf_append(arg, row.data, row.size, err);
}

static void test_copies(void **state)
{
    fixture *f = *state;
    CB_CLEANUP(cb_buf_free) cb_buf all = {0};
    cb_lake_db *db;
    unsigned seen = 0;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_WRITE);
    if (kind != CB_LAKE_POSTGRES) {
        assert_code(CB_UNSUPPORTED, cb_lake_db_copy_out(db, "ducklake_schema", gather, &all, &err));
        assert_code(CB_UNSUPPORTED, cb_lake_db_copy_begin(db, "ducklake_schema", &err));
        cb_lake_db_close(db);
        return;
    }
    assert_ok(cb_lake_db_copy_out(db, "ducklake_schema", gather, &all, &err));
    exec(db, "DELETE FROM {schema}", ROWS);
    assert_ok(cb_lake_db_copy_begin(db, "ducklake_schema", &err));
    for (size_t i = 0; i < all.size; i++) /* torn anywhere */
        assert_ok(cb_lake_db_copy_data(db, cb_bytes_of(all.data + i, 1), &err));
    assert_ok(cb_lake_db_copy_end(db, &err));
    assert_ok(
        cb_lake_db_query(db, "SELECT * FROM {schema} ORDER BY schema_id", see_row, &seen, &err));
    assert_int_equal(seen, ROWS);
    assert_ok(cb_lake_db_copy_begin(db, "ducklake_schema", &err));
    assert_ok(cb_lake_db_copy_data(db, cb_bytes_of("nonsense\n", 9), &err));
    assert_true(cb_lake_db_copy_end(db, &err) != CB_OK);
    cb_lake_db_close(db);
}

/* ---- PostgreSQL alone ------------------------------------------------------------------------ */

static void test_one_instant(void **state)
{
    fixture *f = *state;
    cb_lake_db *reader;
    cb_lake_db *writer;

    make_lake(f);
    reader = open_db(f, CB_LAKE_READ);
    writer = open_db(f, CB_LAKE_WRITE);
    exec(writer, "DELETE FROM {schema}", ROWS);
    commit(writer);
    assert_int_equal(number(reader, "SELECT count(*) FROM {schema}"), ROWS);
    cb_lake_db_close(reader);
    reader = open_db(f, CB_LAKE_READ);
    assert_int_equal(number(reader, "SELECT count(*) FROM {schema}"), 0);
    cb_lake_db_close(reader);
}

static void refused(fixture *f, const char *what, cb_code wanted)
{
    char text[CB_PATH_MAX];
    cb_lake_address address;
    cb_lake_db *db;
    cb_error err = {0};

    snprintf(text, sizeof(text), "postgres:%s %s", conninfo, what);
    assert_ok(cb_lake_address_parse(text, NULL, &address, &err));
    assert_code(wanted, cb_lake_db_open(f->ctx, &address, CB_LAKE_READ, &db, &err));
    assert_null(strstr(err.message, "\"geheim\"")); /* as libpq repeats a value */
}

static void test_refused(void **state)
{
    fixture *f = *state;

    refused(f, "password=geheim user=nobody_at_all", CB_DENIED);
    refused(f, "dbname=no_such_database", CB_NOT_FOUND);
    refused(f, "port=1", CB_RETRY);
    refused(f, "host=/nonexistent hostaddr=''", CB_RETRY);
    refused(f, "password=geheim port=geheim", CB_USAGE);
    refused(f, "password=geheim sslmode=geheim", CB_USAGE);
    refused(f, "sslpassword=geheim channel_binding=geheim", CB_USAGE);
}

static void test_states(void **state)
{
    static const struct {
        const char *state;
        cb_code code;
    } cases[] = {
        {"28P01", CB_DENIED},    {"28000", CB_DENIED},
        {"42501", CB_DENIED},    {"3D000", CB_NOT_FOUND},
        {"53100", CB_NO_SPACE},  {"53300", CB_RETRY},
        {"55P03", CB_BUSY},      {"40001", CB_BUSY},
        {"40P01", CB_BUSY},      {"57014", CB_CANCELLED},
        {"57P01", CB_RETRY},     {"08006", CB_RETRY},
        {"42P01", CB_NOT_FOUND}, {"42601", CB_UNSUPPORTED},
        {"23505", CB_CORRUPT},   {"99999", CB_IO},
        {"", CB_RETRY},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++)
        assert_int_equal(cb_pg_classify(cases[i].state), cases[i].code);
}

/* ---- SQLite alone ---------------------------------------------------------------------------- */

static void sqlite(const char *path, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Times and uuids as others may have written them; expressions by the name that they get. */
static void test_sqlite_forms(void **state)
{
    static const struct {
        const char *stored;
        const char *seen;
    } cases[] = {
        {"2026-11-21 14:00:00.123456+00", "2026-11-21 14:00:00.123456+00"},
        {"2026-11-21T14:00:00.120Z", "2026-11-21 14:00:00.12+00"},
        {"2026-11-21 16:00:00+02:00", "2026-11-21 14:00:00+00"},
        {"2026-11-21 14:00:00", "2026-11-21 14:00:00+00"},
        {"2026-11-21 14:00:00.5", "2026-11-21 14:00:00.5+00"},
        {"yesterday, perhaps", "yesterday, perhaps"},
        {"", ""},
    };
    fixture *f = *state;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_lake_db *db;
    const char *text;
    cb_error err = {0};

    make_lake(f);
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};

        assert_ok(cb_buf_format(&sql, &err,
                                "UPDATE ducklake_schema SET snapshot_time = '%s', schema_uuid = "
                                "'6CCD780C-BABA-1026-9564-5B8C656024DB'",
                                cases[i].stored));
        sqlite(f->path, (const char *)sql.data);
        db = open_db(f, CB_LAKE_READ);
        assert_ok(cb_lake_db_text(db, "SELECT snapshot_time FROM {schema} WHERE schema_id = 1",
                                  &arena, &text, &err));
        assert_string_equal(text, cases[i].seen);
        cb_lake_db_close(db);
    }
    db = open_db(f, CB_LAKE_READ);
    assert_ok(cb_lake_db_text(db, "SELECT min(schema_uuid) AS schema_uuid FROM {schema}", &arena,
                              &text, &err));
    assert_string_equal(text, "6ccd780c-baba-1026-9564-5b8c656024db");
    assert_ok(cb_lake_db_text(db,
                              "SELECT COALESCE(max(path_is_relative), 0) AS path_is_relative "
                              "FROM {schema}",
                              &arena, &text, &err));
    assert_string_equal(text, "true");
    assert_ok(cb_lake_db_text(db, "SELECT path_is_relative AS x FROM {schema} WHERE schema_id = 2",
                              &arena, &text, &err));
    assert_string_equal(text, "false");
    cb_lake_db_close(db);
}

/* A table that is a program of the file's is not looked at. */
static void test_sqlite_hostile(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_lake_schema schema;
    cb_error err = {0};

    sqlite(f->path, "CREATE VIRTUAL TABLE ducklake_metadata USING fts5(a); CREATE TABLE "
                    "ducklake_t(\"select\" , b DOUBLE, PRIMARY KEY(b, \"select\")) WITHOUT ROWID");
    db = open_db(f, CB_LAKE_READ);
    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_null(cb_lake_schema_find(&schema, "ducklake_metadata"));
    assert_non_null(cb_lake_schema_find(&schema, "ducklake_t"));
    assert_string_equal(cb_lake_schema_find(&schema, "ducklake_t")->key[0], "b");
    assert_int_equal(cb_lake_schema_find(&schema, "ducklake_t")->key_count, 2);
    cb_lake_schema_free(&schema);
    cb_lake_db_close(db);
}

/* ---- DuckDB alone ---------------------------------------------------------------------------- */

/* In a process of its own: two versions of the engine do not live in one. */
static void apart(fixture *f, const char *use, void (*work)(fixture *))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        f->ctx = new_ctx(f, use);
        work(f);
        cb_ctx_free(f->ctx);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void change(fixture *f)
{
    cb_lake_db *db = open_db(f, CB_LAKE_WRITE);

    exec(db, "INSERT INTO {metadata} VALUES ('more', 'x')", 1);
    exec(db, "UPDATE {schema} SET end_snapshot = 5", ROWS);
    commit(db);
}

/* Committed, and then killed before the log was written back. */
static void change_and_die(fixture *f)
{
    cb_lake_db *db = open_db(f, CB_LAKE_WRITE);

    exec(db, "INSERT INTO {metadata} VALUES ('more', 'x')", 1);
    exec(db, "COMMIT", 0);
    raise(SIGKILL);
}

static void die(fixture *f)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        f->ctx = new_ctx(f, library);
        change_and_die(f);
        _exit(9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int64_t entries;

static void count_entries(fixture *f)
{
    cb_lake_db *db = open_db(f, CB_LAKE_READ);

    if (number(db, "SELECT count(*) FROM {metadata}") != entries ||
        number(db, "SELECT count(*) FROM {schema}") != ROWS)
        _exit(7);
    cb_lake_db_close(db);
}

static void make_variant(fixture *f)
{
    cb_lake_db *db = open_db(f, CB_LAKE_CREATE);

    exec(db, "CREATE TABLE {inlined_data_1_1}(v VARIANT)", 0);
    commit(db);
}

/* What the newest engine makes and changes, DuckDB 1.5.5 reads and changes after it, and so on. */
static void test_versions(void **state)
{
    fixture *f = *state;
    cb_duck_file before;
    cb_duck_file after;
    cb_error err = {0};

    apart(f, library, make_lake);
    assert_ok(cb_duck_file_look(f->path, &before, &err));
    entries = 2;
    apart(f, old_library, count_entries);
    for (unsigned i = 0; i < 2; i++) {
        apart(f, library, change);
        entries++;
        apart(f, old_library, count_entries);
        apart(f, old_library, change);
        entries++;
        apart(f, library, count_entries);
    }
    die(f);
    entries++;
    assert_int_equal(count_files(f->folder), 2); /* its log */
    apart(f, old_library, count_entries);
    apart(f, old_library, change);
    entries++;
    apart(f, library, count_entries);
    assert_int_equal(count_files(f->folder), 1);
    assert_ok(cb_duck_file_look(f->path, &after, &err));
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.compatibility, before.compatibility);
    assert_int_equal(unlink(f->path), 0);
    apart(f, library, make_variant);
}

static void make_old(fixture *f)
{
    cb_duck_session *session;
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', f->path}, {0, " AS d (STORAGE_VERSION 'v1.0.0')"}, {0, NULL}};
    cb_error err = {0};

    assert_ok(cb_duck_session_open(f->ctx, f->path, f->path, &session, &err));
    assert_ok(cb_duck_compose(&sql, pieces, &err));
    assert_ok(cb_duck_run(session, (const char *)sql.data, &err));
    assert_ok(
        cb_duck_run(session, "CREATE TABLE d.ducklake_metadata(key VARCHAR, v VARCHAR)", &err));
    assert_ok(cb_duck_run(session, "CREATE TABLE d.ducklake_schema(end_snapshot BIGINT)", &err));
    assert_ok(
        cb_duck_run(session, "INSERT INTO d.ducklake_schema SELECT i FROM range(4) r(i)", &err));
    assert_ok(cb_duck_run(session, "DETACH d", &err));
    cb_duck_session_close(session);
}

/* The file of an old release stays one. */
static void test_old_file(void **state)
{
    fixture *f = *state;
    cb_duck_file before;
    cb_duck_file after;
    cb_error err = {0};

    make_old(f);
    assert_ok(cb_duck_file_look(f->path, &before, &err));
    change(f);
    assert_ok(cb_duck_file_look(f->path, &after, &err));
    assert_int_equal(before.version, 64);
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.compatibility, before.compatibility);
    assert_int_equal(count_files(f->folder), 1);
}

/* A new file is for the DuckDB that wrote lakes of that version. */
static void test_for_version(void **state)
{
    static const struct {
        const char *spec;
        uint64_t version;
    } cases[] = {{"", 68},    {"1.0", 68},      {"0.4", 68}, {"0.10", 68},
                 {"0.3", 67}, {"0.3-dev1", 67}, {"0.2", 66}, {"0.1", 66}};
    fixture *f = *state;
    cb_duck_file file;
    cb_error err = {0};

    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        snprintf(f->address.for_version, sizeof(f->address.for_version), "%s", cases[i].spec);
        make_lake(f);
        assert_ok(cb_duck_file_look(f->path, &file, &err));
        assert_int_equal(file.version, cases[i].version);
        assert_int_equal(file.compatibility, cases[i].version - 61);
        assert_int_equal(unlink(f->path), 0);
    }
}

static void test_no_schema(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    cb_error err = {0};

    make_lake(f);
    snprintf(f->address.schema, sizeof(f->address.schema), "other");
    assert_code(CB_NOT_FOUND, cb_lake_db_open(f->ctx, &f->address, CB_LAKE_READ, &db, &err));
    assert_non_null(strstr(err.hint, "--metadata-schema"));
}

static cb_code see_many(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    char wanted[64];
    uint64_t *seen = arg;

    (void)err;
    assert_int_equal(count, 3);
    snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)*seen);
    assert_string_equal(cells[0].text, wanted);
    if (*seen % 7 == 0) {
        assert_null(cells[1].text);
    } else {
        snprintf(wanted, sizeof(wanted), "a longer text of row %llu", (unsigned long long)*seen);
        assert_string_equal(cells[1].text, wanted);
    }
    assert_null(cells[2].text);
    (*seen)++;
    return CB_OK;
}

/* Chunk by chunk, and a failure on the way is not the end. */
static void test_many_rows(void **state)
{
    fixture *f = *state;
    cb_lake_db *db;
    uint64_t seen = 0;
    cb_error err = {0};

    make_lake(f);
    db = open_db(f, CB_LAKE_READ);
    assert_ok(cb_lake_db_query(db,
                               "SELECT i, CASE WHEN i % 7 > 0 THEN 'a longer text of row ' || i "
                               "END AS \"same\", NULL AS \"same\" FROM range(20000) r(i) ; ",
                               see_many, &seen, &err));
    assert_int_equal(seen, 20000);
    seen = 0;
    assert_code(CB_CORRUPT,
                cb_lake_db_query(db,
                                 "SELECT i, CASE WHEN i = 15000 THEN error('torn') WHEN i % 7 > 0 "
                                 "THEN 'a longer text of row ' || i END, NULL FROM range(20000) "
                                 "r(i)",
                                 see_many, &seen, &err));
    assert_true(seen < 20000);
    cb_lake_db_close(db);
}

/* ---- all of them ----------------------------------------------------------------------------- */

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static int run_common(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),  TEST(test_tables),         TEST(test_foreign_tables),
        TEST(test_create_only_new), TEST(test_all_or_nothing), TEST(test_single_values),
        TEST(test_one_at_a_time),   TEST(test_cancel),         TEST(test_floats),
        TEST(test_bad_value),       TEST(test_not_there),      TEST(test_copies),
    };

    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run_sqlite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_busy),
        TEST(test_sqlite_forms),
        TEST(test_sqlite_hostile),
    };

    kind = CB_LAKE_SQLITE;
    return run_common("lake_db_sqlite") +
           cmocka_run_group_tests_name("lake_db_sqlite_only", tests, NULL, NULL);
}

/* Those that fork come before this process loads the engine. */
static int run_duckdb(void)
{
    const struct CMUnitTest apart_tests[] = {TEST(test_versions)};
    const struct CMUnitTest tests[] = {
        TEST(test_old_file),
        TEST(test_for_version),
        TEST(test_no_schema),
        TEST(test_many_rows),
    };
    int failed = 0;

    kind = CB_LAKE_DUCKDB;
    if (old_library[0] != '\0')
        failed = cmocka_run_group_tests_name("lake_db_duckdb_versions", apart_tests, NULL, NULL);
    return failed + run_common("lake_db_duckdb") +
           cmocka_run_group_tests_name("lake_db_duckdb_only", tests, NULL, NULL);
}

static int run_postgres(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_busy),
        TEST(test_one_instant),
        TEST(test_refused),
    };

    kind = CB_LAKE_POSTGRES;
    return run_common("lake_db_postgres") +
           cmocka_run_group_tests_name("lake_db_postgres_only", tests, NULL, NULL);
}

static void find_library(const char *version, char out[CB_PATH_MAX])
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (cache != NULL && cache[0] != '\0')
        snprintf(out, CB_PATH_MAX, "%s/canvasback/duckdb/%s/libduckdb.so", cache, version);
    else
        snprintf(out, CB_PATH_MAX, "%s/.cache/canvasback/duckdb/%s/libduckdb.so",
                 home != NULL ? home : "", version);
    if (!cb_path_exists(out)) {
        fprintf(stderr, "left out: no libduckdb at '%s' (tools/fetch_duckdb puts it there)\n", out);
        out[0] = '\0';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_states)};
    int failed = cmocka_run_group_tests_name("lake_db", tests, NULL, NULL);

    find_library("2.0.0", library);
    find_library("1.5.5", old_library);
    conninfo = getenv("CB_TEST_PG");
    if (library[0] != '\0')
        failed += run_duckdb();
    failed += run_sqlite();
    if (conninfo != NULL)
        failed += run_postgres();
    else
        fprintf(stderr, "left out: PostgreSQL (CB_TEST_PG holds no conninfo)\n");
    return failed;
}
