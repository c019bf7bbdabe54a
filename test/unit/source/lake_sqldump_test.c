/*
 * Dumps of a catalog: literals that no shell harms, a reader that finds the parts however the bytes
 * come, and files that are whole, or known not to be.
 */
#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "random.h"
#include "source/ducklake/sqldump_internal.h"

/* ---- texts ---------------------------------------------------------------------------------- */

static void check_literal(const char *text, size_t size, const char *wanted)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    cb_lake_cell cell = {text, size};

    assert_ok(cb_sqldump_literal(&out, &cell, &err));
    assert_int_equal(out.size, strlen(wanted));
    assert_memory_equal(out.data, wanted, out.size);
}

static void test_literals(void **state)
{
    (void)state;
    check_literal(NULL, 0, "NULL");
    check_literal("", 0, "''");
    check_literal("NULL", 4, "'NULL'");
    check_literal("it's", 4, "'it''s'");
    check_literal("'", 1, "''''");
    check_literal("a\nb\\", 4, "'a\nb\\'");
    check_literal("\r\n", 2, "''||chr(13)||'\n'");
    check_literal("a\0'", 3, "'a'||chr(0)||''''");
}

static void test_comments(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    char value[16];

    (void)state;
    assert_ok(cb_sqldump_comment(&out, "version", "1.0\n\\! rm", &err));
    assert_ok(cb_sqldump_comment(&out, "schema", "a: b", &err));
    assert_ok(cb_buf_append(&out, "BEGIN;\n-- kind: no\n", 19, &err));
    assert_memory_equal(out.data, "-- version: 1.0?\\! rm\n-- schema: a: b\nBEGIN;\n", 45);
    assert_true(cb_sqldump_head_value(cb_buf_bytes(&out), "schema", value, sizeof(value)));
    assert_string_equal(value, "a: b");
    assert_true(cb_sqldump_head_value(cb_buf_bytes(&out), "version", value, sizeof(value)));
    assert_string_equal(value, "1.0?\\! rm");
    assert_false(cb_sqldump_head_value(cb_buf_bytes(&out), "kind", value, sizeof(value)));
    assert_false(cb_sqldump_head_value(cb_buf_bytes(&out), "version", value, 4));
}

/* ---- parts ---------------------------------------------------------------------------------- */

static cb_code note_part(void *arg, cb_sqldump_part part, cb_bytes text, cb_error *err)
{
    static const char *const names[] = {"S", "R", "E"};
    cb_buf *out = arg;

    assert_int_equal(cb_buf_format(out, err, "%s<", names[part]), CB_OK);
    assert_int_equal(cb_buf_append(out, text.data, text.size, err), CB_OK);
    return cb_buf_append(out, ">", 1, err);
}

/* In steps of so many bytes. */
static cb_code scan(const char *text, size_t size, size_t step, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_sqldump_scan_free) cb_sqldump_scan s = {0};
    cb_code code = CB_OK;

    out->size = 0;
    for (size_t at = 0; code == CB_OK && at < size; at += step) {
        /* A copy of its own size: what is read beyond its end shows. */
        size_t some = size - at < step ? size - at : step;
        uint8_t *piece = malloc(some);

        memcpy(piece, text + at, some);
        code = cb_sqldump_scan_step(&s, cb_bytes_of(piece, some), note_part, out, err);
        free(piece);
    }
    return code == CB_OK ? cb_sqldump_scan_end(&s, err) : code;
}

static void check_scan(const char *text, const char *wanted)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        cb_error err = {0};

        assert_ok(scan(text, strlen(text), step, &out, &err));
        assert_int_equal(out.size, strlen(wanted));
        assert_memory_equal(out.data, wanted, out.size);
    }
}

static void refuse_scan(const char *text, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    for (size_t step = 1; step <= size; step++) {
        cb_error err = {0};

        assert_code(CB_CORRUPT, scan(text, size, step, &out, &err));
    }
}

static void test_parts(void **state)
{
    (void)state;
    check_scan("", "");
    check_scan("-- a; b 'c\n.bail on\n\\set x ';'\n  BEGIN;\nCOMMIT;-- x", "S<BEGIN>S<COMMIT>");
    check_scan(";; A;;'x;'; \"y;\" ;", "S<A>S<'x;'>S<\"y;\" >");
    check_scan("A 'x;''y' \"b;\"\"'\" -1 - -2;B;", "S<A 'x;''y' \"b;\"\"'\" -1 - -2>S<B>");
    check_scan("I E'a\\';\\\\' '\\';e'x;\\'y';", "S<I E'a\\';\\\\' '\\'>S<e'x;\\'y'>");
    check_scan("I E'a''\\';' be'\\';", "S<I E'a''\\';' be'\\'>");
    check_scan("I '\n.x\n-- y\n';", "S<I '\n.x\n-- y\n'>");
    check_scan("COPY t FROM stdin;\na\tb;'\n\\.x\n\\N\n\n\\.\nX;",
               "S<COPY t FROM stdin>R<a\tb;'\n>R<\\.x\n>R<\\N\n>R<\n>E<>S<X>");
    check_scan("COPY t;\n\\.\nCOPY u;\nx\n\\.\n", "S<COPY t>E<>S<COPY u>R<x\n>E<>");
}

static void test_parts_that_are_none(void **state)
{
    (void)state;
    refuse_scan("SELECT 1", 8);
    refuse_scan("SELECT '", 8);
    refuse_scan("SELECT 'x;", 10);
    refuse_scan("SELECT \"x", 9);
    refuse_scan("SELECT 1 -- x\n;", 15);
    refuse_scan("SELECT \0;", 9);
    refuse_scan("COPY t;", 7);
    refuse_scan("COPY t;\nx\n", 10);
    refuse_scan("COPY t;\n\\.", 10);
}

static cb_code note_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    cb_buf *out = arg;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < count; i++) {
        code = cells[i].text == NULL ? cb_buf_append(out, "~", 1, err)
                                     : cb_buf_append(out, cells[i].text, cells[i].size, err);
        if (code == CB_OK)
            code = cb_buf_u8(out, i + 1 < count ? '|' : '/', err);
    }
    return code;
}

/* `wanted` NULL: such rows are left to the engine. */
static void check_values(const char *values, size_t columns, const char *wanted, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    bool is_plain;

    assert_ok(cb_sqldump_values(values, columns, note_row, &out, &is_plain, &err));
    assert_int_equal(is_plain, wanted != NULL);
    if (wanted != NULL) {
        assert_int_equal(out.size, size);
        assert_memory_equal(out.data, wanted, size);
    }
}

static void test_values(void **state)
{
    (void)state;
    check_values("(1,'a',NULL)", 3, "1|a|~/", 6);
    check_values("(-1,true),\n('NULL','')", 2, "-1|true/NULL|/", 14);
    check_values("('it''s,(;\n','a'||chr(0)||'b'||chr(13)||'''')", 2, "it's,(;\n|a\0b\r'/", 15);
    check_values("(1)", 2, NULL, 0);
    check_values("(1,2)", 1, NULL, 0);
    check_values("(1,2", 2, NULL, 0);
    check_values("(1),(2)", 1, NULL, 0);
    check_values("(1),\n", 1, NULL, 0);
    check_values("('a)", 1, NULL, 0);
    check_values("('a'||chr(400)||'b')", 1, NULL, 0);
    check_values("('a'||x)", 1, NULL, 0);
    check_values("(f(1))", 1, NULL, 0);
    check_values("()", 1, NULL, 0);
    check_values("", 1, NULL, 0);
    check_values("", 0, NULL, 0);
}

/* ---- files ---------------------------------------------------------------------------------- */

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    test_temp_make(k->folder);
    k->ctx = test_ctx_new();
    snprintf(k->path, sizeof(k->path), "%s/x.sql", k->folder);
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

static void open_lake(kit *k, const char *name, cb_lake_mode mode, cb_lake_db **out)
{
    char text[400];
    cb_lake_address address;
    cb_error err = {0};

    snprintf(text, sizeof(text), "ducklake:sqlite:%s/%s", k->folder, name);
    assert_ok(cb_lake_address_parse(text, NULL, &address, &err));
    assert_ok(cb_lake_db_open(k->ctx, &address, mode, out, &err));
}

/* A catalog that has nothing but what a dump looks at, and `rows` rows. */
static void make_lake(kit *k, const char *name, unsigned rows)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_error err = {0};
    char sql[256];

    open_lake(k, name, CB_LAKE_CREATE, &db);
    assert_ok(cb_lake_db_exec(
        db, "CREATE TABLE {metadata}(key VARCHAR NOT NULL, value VARCHAR NOT NULL)", NULL, &err));
    assert_ok(cb_lake_db_exec(db,
                              "INSERT INTO {metadata} VALUES ('version', '0.1'), ('data_path', "
                              "'/it''s/')",
                              NULL, &err));
    assert_ok(cb_lake_db_exec(db,
                              "CREATE TABLE \"ducklake_x {y}\"(i BIGINT PRIMARY KEY, \"{z}\" "
                              "VARCHAR)",
                              NULL, &err));
    for (unsigned i = 0; i < rows; i++) {
        snprintf(sql, sizeof(sql), "INSERT INTO \"ducklake_x {y}\" VALUES (%u, 'a%c;{metadata}')",
                 i, (int)('a' + i % 26));
        assert_ok(cb_lake_db_exec(db, sql, NULL, &err));
    }
    assert_ok(cb_lake_db_commit(db, &err));
}

static void dump_lake(kit *k, const char *name, cb_sqldump_facts *facts)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_error err = {0};

    open_lake(k, name, CB_LAKE_READ, &db);
    assert_ok(cb_sqldump_write(k->ctx, db, k->path, facts, &err));
}

static void slurp(const char *path, cb_buf *into)
{
    cb_error err = {0};

    assert_ok(cb_file_slurp(path, into, &err));
}

static void test_round_trip(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    CB_CLEANUP(cb_buf_free) cb_buf second = {0};
    cb_sqldump_facts facts, again;
    cb_error err = {0};
    struct stat st;
    char body[] = "BEGIN;";
    const char *from, *to;

    make_lake(k, "a.sqlite", 1234); /* several statements */
    dump_lake(k, "a.sqlite", &facts);
    assert_int_equal(stat(k->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(facts.bytes, st.st_size);
    assert_int_equal(facts.tables, 2);
    assert_int_equal(facts.rows, 1236);
    assert_ok(cb_sqldump_check(k->ctx, k->path, &again, &err));
    assert_memory_equal(&facts, &again, sizeof(facts.version));
    assert_string_equal(facts.sha256, again.sha256);
    assert_int_equal(again.rows, facts.rows);
    assert_int_equal(again.kind, CB_LAKE_SQLITE);
    assert_true(again.schema_is_default);

    open_lake(k, "b.sqlite", CB_LAKE_CREATE, &db);
    assert_ok(cb_sqldump_read(k->ctx, k->path, db, &err));
    assert_ok(cb_lake_db_commit(db, &err));
    slurp(k->path, &first);
    assert_int_equal(unlink(k->path), 0);
    dump_lake(k, "b.sqlite", &again);
    slurp(k->path, &second);
    /* All but the time it was taken at. */
    from = memmem(first.data, first.size, body, strlen(body));
    to = memmem(second.data, second.size, body, strlen(body));
    assert_int_equal(first.size - (size_t)(from - (char *)first.data),
                     second.size - (size_t)(to - (char *)second.data));
    assert_memory_equal(from, to, first.size - (size_t)(from - (char *)first.data) - 80);
}

/* Cut anywhere, or with any one bit changed: never taken for whole. */
static void test_damage(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    cb_sqldump_facts facts;
    test_random random = test_random_from(7);
    cb_error err = {0};
    int fd;

    make_lake(k, "a.sqlite", 3);
    dump_lake(k, "a.sqlite", &facts);
    slurp(k->path, &whole);
    fd = open(k->path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0; i < whole.size; i++) {
        uint8_t changed = whole.data[i] ^ (uint8_t)(1u << test_random_below(&random, 8));

        assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
        assert_int_not_equal(cb_sqldump_check(k->ctx, k->path, &facts, &err), CB_OK);
        assert_true(err.message[0] != '\0');
        cb_error_clear(&err);
        assert_int_equal(pwrite(fd, &whole.data[i], 1, (off_t)i), 1);
    }
    assert_ok(cb_sqldump_check(k->ctx, k->path, &facts, &err));
    for (size_t size = whole.size; size-- > 0;) {
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_int_not_equal(cb_sqldump_check(k->ctx, k->path, &facts, &err), CB_OK);
        cb_error_clear(&err);
    }
    close(fd);
}

static void test_never_over_another(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf found = {0};
    cb_sqldump_facts facts;
    cb_error err = {0};
    int fd = open(k->path, O_WRONLY | O_CREAT, 0644);

    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    make_lake(k, "a.sqlite", 1);
    open_lake(k, "a.sqlite", CB_LAKE_READ, &db);
    assert_code(CB_EXISTS, cb_sqldump_write(k->ctx, db, k->path, &facts, &err));
    slurp(k->path, &found);
    assert_int_equal(found.size, 4);
}

static void test_no_lake(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_sqldump_facts facts;
    cb_error err = {0};

    open_lake(k, "a.sqlite", CB_LAKE_CREATE, &db);
    assert_code(CB_NOT_FOUND, cb_sqldump_write(k->ctx, db, k->path, &facts, &err));
    assert_false(cb_path_exists(k->path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_parts_that_are_none),
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_never_over_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_lake, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
