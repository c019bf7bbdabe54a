/*
 * A PostgreSQL catalog as files, without a server: what the conversation would give is made up
 * here. And copies of files, with the conversation that sees them.
 */
#include "source/ducklake/freeze.h"
#include "source/ducklake/segments.h"

#include "base/file.h"

#include "temp.h"
#include "unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a server that is none ------------------------------------------------------------------- */

static int server_stands_here;
#define SERVER ((cb_lake_db *)&server_stands_here)

static const cb_lake_column big_columns[] = {
    {"id", CB_LAKE_BIGINT, "bigint", true},
    {"text", CB_LAKE_VARCHAR, "character varying", false},
};
static const cb_lake_column hard_columns[] = {
    {"id", CB_LAKE_BIGINT, "bigint", true},
    {"ok", CB_LAKE_BOOLEAN, "boolean", false},
    {"text", CB_LAKE_VARCHAR, "character varying", false},
    {"raw", CB_LAKE_BLOB, "bytea", false},
    {"price", CB_LAKE_OTHER, "numeric(38,10)", false},
    {"real", CB_LAKE_OTHER, "double precision", false},
};
static const char *const key[] = {"id"};
static const char *const extra[] = {"CREATE INDEX i ON ducklake_big (text)"};
static const cb_lake_table tables[] = {
    {.name = "ducklake_big",
     .columns = big_columns,
     .column_count = 2,
     .key = key,
     .key_count = 1,
     .extra = extra,
     .extra_count = 1},
    {.name = "ducklake_empty", .columns = big_columns, .column_count = 2},
    {.name = "ducklake_ha rd/%..", .columns = hard_columns, .column_count = 6},
};

static unsigned first_row, row_count; /* of ducklake_big */
static size_t long_row;               /* one of them has so many bytes; 0: none */

static const char hard_rows[] = "1\tt\ttab\\there\\nnl\\\\N\\r\\b\\f\\v\t\\\\x00ff41\t"
                                "12345678901234567890.1234567890\tNaN\n"
                                "2\tf\t\t\\\\x\t-0.5\t-Infinity\n"
                                "3\t\\N\t\\N\t\\N\t\\N\t1e-05\n";

cb_code __real_cb_lake_schema_read(cb_lake_db *db, cb_lake_schema *out, cb_error *err);
cb_code __wrap_cb_lake_schema_read(cb_lake_db *db, cb_lake_schema *out, cb_error *err);
cb_code __wrap_cb_lake_db_copy_out(cb_lake_db *db, const char *table, cb_lake_copy_visit *visit,
                                   void *arg, cb_error *err);

cb_code __wrap_cb_lake_schema_read(cb_lake_db *db, cb_lake_schema *out, cb_error *err)
{
    if (db != SERVER)
        return __real_cb_lake_schema_read(db, out, err);
    *out = (cb_lake_schema){.tables = tables, .count = CB_LENGTH(tables)};
    return CB_OK;
}

static cb_code big_row(unsigned number, cb_buf *row, cb_error *err)
{
    cb_code code;

    row->size = 0;
    code = cb_buf_format(row, err, "%u\trow %u of the table ", number, number * 7919);
    for (unsigned i = 0; code == CB_OK && i < number % 40; i++)
        code = cb_buf_format(row, err, "x%u", number * i);
    if (long_row > 0 && number == first_row + row_count / 2)
        for (size_t i = 0; code == CB_OK && i < long_row; i++)
            code = cb_buf_u8(row, (uint8_t)('a' + i % 26), err);
    return code == CB_OK ? cb_buf_u8(row, '\n', err) : code;
}

cb_code __wrap_cb_lake_db_copy_out(cb_lake_db *db, const char *table, cb_lake_copy_visit *visit,
                                   void *arg, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf row = {0};
    const char *at = hard_rows;
    cb_code code = CB_OK;

    assert_true(db == SERVER);
    if (strcmp(table, "ducklake_big") == 0)
        for (unsigned i = first_row; code == CB_OK && i < first_row + row_count; i++) {
            code = big_row(i, &row, err);
            if (code == CB_OK)
                code = visit(arg, cb_buf_bytes(&row), err);
        }
    if (table[9] != 'h')
        return code;
    for (const char *end; code == CB_OK && *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        code = visit(arg, cb_bytes_of(at, (size_t)(end + 1 - at)), err);
    }
    return code;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static void write_to(cb_ctx *ctx, char folder[256])
{
    cb_error err = {0};

    test_temp_make(folder);
    assert_ok(cb_segments_write(ctx, SERVER, folder, &err));
}

static void read_segment(const char *folder, unsigned number, cb_buf *into)
{
    char path[512];
    cb_error err = {0};

    into->size = 0;
    snprintf(path, sizeof(path), "%s/ducklake_big/%08u", folder, number);
    assert_ok(cb_file_slurp(path, into, &err));
}

typedef struct seen_rows {
    unsigned next, rows;
    char texts[3][6][64];
    bool is_null[3][6];
    size_t sizes[3][6];
} seen_rows;

static cb_code see_big(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    seen_rows *seen = arg;
    char id[16];

    (void)err;
    assert_int_equal(count, 2);
    snprintf(id, sizeof(id), "%u", seen->next++);
    assert_string_equal(cells[0].text, id);
    assert_int_equal(strncmp(cells[1].text, "row ", 4), 0);
    seen->rows++;
    return CB_OK;
}

static cb_code see_hard(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    seen_rows *seen = arg;

    (void)err;
    assert_int_equal(count, 6);
    assert_true(seen->rows < 3);
    for (size_t i = 0; i < 6; i++) {
        seen->is_null[seen->rows][i] = cells[i].text == NULL;
        seen->sizes[seen->rows][i] = cells[i].size;
        if (cells[i].text != NULL)
            memcpy(seen->texts[seen->rows][i], cells[i].text, cells[i].size + 1);
    }
    seen->rows++;
    return CB_OK;
}

/* SQLite has numbers for booleans, but in columns that are known to be some. */
static void expect_hard(const seen_rows *seen, const char *yes, const char *no)
{
    assert_int_equal(seen->rows, 3);
    assert_string_equal(seen->texts[0][0], "1");
    assert_string_equal(seen->texts[0][1], yes);
    assert_string_equal(seen->texts[0][2], "tab\there\nnl\\N\r\b\f\v");
    assert_int_equal(seen->sizes[0][3], 3);
    assert_memory_equal(seen->texts[0][3], "\0\xff\x41", 3);
    assert_string_equal(seen->texts[0][4], "12345678901234567890.1234567890");
    assert_string_equal(seen->texts[0][5], "nan");
    assert_string_equal(seen->texts[1][1], no);
    assert_false(seen->is_null[1][2]);
    assert_int_equal(seen->sizes[1][2], 0);
    assert_int_equal(seen->sizes[1][3], 0);
    assert_false(seen->is_null[1][3]);
    assert_string_equal(seen->texts[1][5], "-inf");
    for (size_t i = 1; i < 5; i++)
        assert_true(seen->is_null[2][i]);
    assert_string_equal(seen->texts[2][5], "1e-05");
}

/* ---- segments -------------------------------------------------------------------------------- */

static void segments_have_their_sizes(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf one = {0};
    cb_ctx *ctx = test_ctx_new();
    cb_segments segments;
    cb_error err = {0};
    char folder[256];
    uint64_t bytes = 0;

    (void)state;
    first_row = 0;
    row_count = 100000;
    long_row = 3 << 20;
    write_to(ctx, folder);
    assert_ok(cb_segments_open(folder, &segments, &err));
    assert_int_equal(segments.counts[0].rows, row_count);
    for (unsigned i = 0; i < segments.counts[0].segments; i++) {
        read_segment(folder, i, &one);
        bytes += one.size;
        assert_int_equal(one.data[one.size - 1], '\n');
        if (i + 1 < segments.counts[0].segments && one.size < CB_SEGMENT_LEAST) {
            /* only what stood before the long row may be shorter */
            read_segment(folder, i + 1, &one);
            assert_true(one.size > long_row);
        }
        if (one.size > CB_SEGMENT_MOST) /* the long row alone */
            assert_ptr_equal(memchr(one.data, '\n', one.size), one.data + one.size - 1);
    }
    assert_int_equal(segments.counts[0].bytes, bytes);
    bytes = (bytes - long_row) / (segments.counts[0].segments - 2);
    assert_in_range(bytes, 150000, 450000); /* about 256 KiB on average */
    cb_segments_close(&segments);
    test_temp_remove(folder);
    long_row = 0;
    cb_ctx_free(ctx);
}

/* Rows more at the beginning move the numbers, and hardly a segment's content. */
static void equal_rows_are_equal_segments(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf one = {0};
    CB_CLEANUP(cb_buf_free) cb_buf other = {0};
    cb_ctx *ctx = test_ctx_new();
    cb_segments a, b;
    cb_error err = {0};
    char before[256], after[256];
    unsigned equal = 0;

    (void)state;
    first_row = 5000;
    row_count = 60000;
    write_to(ctx, before);
    first_row = 0;
    row_count = 65000;
    write_to(ctx, after);
    assert_ok(cb_segments_open(before, &a, &err));
    assert_ok(cb_segments_open(after, &b, &err));
    assert_true(a.counts[0].segments > 20);
    for (unsigned i = 0; i < a.counts[0].segments; i++) {
        bool found = false;

        read_segment(before, i, &one);
        for (unsigned j = 0; !found && j < b.counts[0].segments; j++) {
            read_segment(after, j, &other);
            found = one.size == other.size && memcmp(one.data, other.data, one.size) == 0;
        }
        equal += found;
    }
    assert_true(equal + 3 >= a.counts[0].segments);
    cb_segments_close(&a);
    cb_segments_close(&b);
    test_temp_remove(before);
    test_temp_remove(after);
    cb_ctx_free(ctx);
}

static cb_code append_block(void *arg, cb_bytes data, cb_error *err)
{
    return cb_buf_append(arg, data.data, data.size, err);
}

static void all_comes_back(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_ctx *ctx = test_ctx_new();
    seen_rows *seen = calloc(1, sizeof(*seen));
    cb_segments s;
    cb_error err = {0};
    char folder[256], path[512];

    (void)state;
    first_row = 17;
    row_count = 30000;
    write_to(ctx, folder);
    assert_ok(cb_segments_open(folder, &s, &err));
    assert_int_equal(s.schema.count, 3);
    assert_string_equal(s.schema.tables[0].name, "ducklake_big");
    assert_string_equal(s.schema.tables[0].key[0], "id");
    assert_int_equal(s.schema.tables[0].key_count, 1);
    assert_string_equal(s.schema.tables[0].extra[0], extra[0]);
    assert_string_equal(s.schema.tables[2].columns[4].declared, "numeric(38,10)");
    assert_int_equal(s.schema.tables[2].columns[3].type, CB_LAKE_BLOB);
    assert_true(s.schema.tables[0].columns[0].not_null);
    assert_false(s.schema.tables[0].columns[1].not_null);
    assert_int_equal(s.counts[1].segments, 0);

    /* Byte for byte, and a hard name stays below the folder. */
    assert_ok(cb_segments_copy(ctx, &s, 2, append_block, &text, &err));
    assert_int_equal(text.size, sizeof(hard_rows) - 1);
    assert_memory_equal(text.data, hard_rows, text.size);
    snprintf(path, sizeof(path), "%s/ducklake_ha%%20rd%%2F%%25%%2E%%2E/00000000", folder);
    assert_true(cb_path_exists(path));

    assert_ok(cb_segments_rows(ctx, &s, 2, see_hard, seen, &err));
    expect_hard(seen, "true", "false");
    memset(seen, 0, sizeof(*seen));
    seen->next = 17;
    assert_ok(cb_segments_rows(ctx, &s, 0, see_big, seen, &err));
    assert_int_equal(seen->rows, 30000);
    cb_segments_close(&s);
    test_temp_remove(folder);
    free(seen);
    cb_ctx_free(ctx);
}

static void what_lacks_is_told(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_ctx *ctx = test_ctx_new();
    cb_segments s;
    cb_error err = {0};
    char folder[256], path[512];

    (void)state;
    first_row = 0;
    row_count = 30000;
    write_to(ctx, folder);
    assert_ok(cb_segments_open(folder, &s, &err));
    snprintf(path, sizeof(path), "%s/ducklake_big/00000002", folder);
    assert_int_equal(truncate(path, 1000), 0);
    assert_code(CB_CORRUPT, cb_segments_copy(ctx, &s, 0, append_block, &text, &err));
    assert_non_null(strstr(err.message, "ducklake_big"));
    cb_error_clear(&err);
    assert_int_equal(unlink(path), 0);
    assert_code(CB_CORRUPT, cb_segments_copy(ctx, &s, 0, append_block, &text, &err));
    cb_segments_close(&s);
    cb_error_clear(&err);
    snprintf(path, sizeof(path), "%s/schema", folder);
    assert_int_equal(truncate(path, 100), 0);
    assert_code(CB_CORRUPT, cb_segments_open(folder, &s, &err));
    test_temp_remove(folder);
    cb_ctx_free(ctx);
}

/* ---- conversations with copies --------------------------------------------------------------- */

static void a_server_copy_can_be_asked(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    seen_rows *seen = calloc(1, sizeof(*seen));
    cb_lake_db *db;
    cb_lake_schema schema;
    cb_error err = {0};
    char folder[256];
    int64_t number;

    (void)state;
    first_row = 0;
    row_count = 3000;
    write_to(ctx, folder);
    for (int times = 0; times < 2; times++) { /* the second time it is there already */
        assert_ok(cb_lake_copy_open(ctx, folder, CB_LAKE_POSTGRES, CB_LAKE_READ, &db, &err));
        assert_int_equal(cb_lake_db_kind(db), CB_LAKE_SQLITE);
        assert_ok(cb_lake_schema_read(db, &schema, &err));
        assert_int_equal(schema.count, 3);
        assert_int_equal(schema.tables[0].key_count, 1);
        cb_lake_schema_free(&schema);
        assert_ok(cb_lake_db_number(db, "SELECT count(*) FROM {big}", -1, &number, &err));
        assert_int_equal(number, 3000);
        memset(seen, 0, sizeof(*seen));
        assert_ok(cb_lake_db_query(db, "SELECT * FROM \"ducklake_ha rd/%..\" ORDER BY id", see_hard,
                                   seen, &err));
        expect_hard(seen, "1", "0");
        cb_lake_db_close(db);
    }
    test_temp_remove(folder);
    free(seen);
    cb_ctx_free(ctx);
}

/* The copy of a live SQLite file is as of one instant, and what is committed later is not in it. */
static void a_file_is_frozen(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_source_options options = {0};
    cb_lake_address *address = calloc(1, sizeof(*address));
    cb_lake_frozen frozen;
    cb_lake_db *db;
    cb_error err = {0};
    char root[256], path[300], folder[300], text[320];
    int64_t number;
    sqlite3 *live;

    (void)state;
    test_temp_make(root);
    snprintf(path, sizeof(path), "%s/live.sqlite", root);
    snprintf(text, sizeof(text), "sqlite:%s", path);
    snprintf(folder, sizeof(folder), "%s/copy", root);
    assert_ok(cb_folder_make(folder, &err));
    assert_int_equal(sqlite3_open(path, &live), SQLITE_OK);
    assert_int_equal(sqlite3_exec(live,
                                  "PRAGMA journal_mode=wal; CREATE TABLE ducklake_snapshot("
                                  "snapshot_id BIGINT); INSERT INTO ducklake_snapshot VALUES (1);"
                                  "BEGIN; INSERT INTO ducklake_snapshot VALUES (2)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_ok(cb_lake_address_parse(text, NULL, address, &err));
    assert_ok(cb_lake_freeze(ctx, address, folder, &options, &frozen, &db, &err));
    assert_int_equal(sqlite3_exec(live, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(frozen.kind, CB_LAKE_SQLITE);
    assert_true(frozen.point_us > 0);
    assert_string_not_equal(frozen.confirmed, "");
    assert_ok(cb_lake_db_number(db, "SELECT count(*) FROM {snapshot}", -1, &number, &err));
    assert_int_equal(number, 1);
    cb_lake_db_close(db);
    assert_ok(cb_lake_copy_open(ctx, folder, CB_LAKE_SQLITE, CB_LAKE_READ, &db, &err));
    assert_ok(cb_lake_db_number(db, "SELECT max(snapshot_id) FROM {snapshot}", -1, &number, &err));
    assert_int_equal(number, 1);
    cb_lake_db_close(db);
    sqlite3_close(live);
    free(address);
    test_temp_remove(root);
    cb_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_have_their_sizes),
        cmocka_unit_test(equal_rows_are_equal_segments),
        cmocka_unit_test(all_comes_back),
        cmocka_unit_test(what_lacks_is_told),
        cmocka_unit_test(a_server_copy_can_be_asked),
        cmocka_unit_test(a_file_is_frozen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
