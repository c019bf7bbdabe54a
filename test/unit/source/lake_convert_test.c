/*
 * A catalog in the tables of another: types of users' columns, values, what cannot be held.
 */
#include "temp.h"
#include "unit.h"

#include "lake_kit.h"
#include "source/ducklake/convert_type.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char from[300], to[300];
    cb_arena arena;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    test_temp_make(k->folder);
    snprintf(k->from, sizeof(k->from), "%s/from.sqlite", k->folder);
    snprintf(k->to, sizeof(k->to), "%s/to.sqlite", k->folder);
    lake_kit_make(k->from, "/old/data/");
    k->ctx = test_ctx_new();
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_arena_free(&k->arena);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

/* ---- how types are held ------------------------------------------------------------------- */

static const char *held(kit *k, cb_lake_kind kind, const char *type, cb_lake_type expected)
{
    cb_lake_column column = {.name = "c"};
    cb_error err = {0};

    assert_ok(cb_lake_type_hold(kind, false, type, &k->arena, &column, &err));
    assert_int_equal(column.type, expected);
    return column.declared;
}

static void test_types_as_ducklake_makes_them(void **state)
{
    kit *k = *state;

    assert_string_equal(held(k, CB_LAKE_POSTGRES, "BOOLEAN", CB_LAKE_BOOLEAN), "boolean");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "UINTEGER", CB_LAKE_BIGINT), "bigint");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "UBIGINT", CB_LAKE_VARCHAR), "character varying");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "VARCHAR", CB_LAKE_BLOB), "bytea");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "DECIMAL(18,3)", CB_LAKE_OTHER), "numeric(18,3)");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "DECIMAL(18,3)[]", CB_LAKE_VARCHAR),
                        "character varying");
    assert_string_equal(held(k, CB_LAKE_POSTGRES, "TIMESTAMP WITH TIME ZONE", CB_LAKE_VARCHAR),
                        "character varying");
    assert_string_equal(held(k, CB_LAKE_SQLITE, "BOOLEAN", CB_LAKE_BIGINT), "BIGINT");
    assert_string_equal(held(k, CB_LAKE_SQLITE, "DOUBLE", CB_LAKE_VARCHAR), "VARCHAR");
    assert_string_equal(held(k, CB_LAKE_SQLITE, "BLOB", CB_LAKE_BLOB), "BLOB");
    assert_string_equal(held(k, CB_LAKE_SQLITE, "STRUCT(a INTEGER)", CB_LAKE_VARCHAR), "VARCHAR");
    assert_string_equal(held(k, CB_LAKE_DUCKDB, "STRUCT(a INTEGER)[]", CB_LAKE_OTHER),
                        "STRUCT(a INTEGER)[]");
}

/* Before 0.4 a text was held as one, and a bytea is read as what it is. */
static void test_text_of_old_lakes(void **state)
{
    kit *k = *state;
    cb_lake_column column = {.name = "c"};
    cb_error err = {0};

    assert_ok(cb_lake_type_hold(CB_LAKE_POSTGRES, true, "VARCHAR", &k->arena, &column, &err));
    assert_string_equal(column.declared, "character varying");
    assert_int_equal(column.type, CB_LAKE_VARCHAR);
    assert_ok(cb_lake_type_hold(CB_LAKE_POSTGRES, true, "BLOB", &k->arena, &column, &err));
    assert_string_equal(column.declared, "bytea");
    assert_ok(cb_lake_type_hold(CB_LAKE_POSTGRES, true, "UUID", &k->arena, &column, &err));
    assert_string_equal(column.declared, "uuid");
}

static void test_variant(void **state)
{
    kit *k = *state;
    static const char *const types[] = {"VARIANT", "VARIANT[]", "STRUCT(a INTEGER, b VARIANT)"};
    cb_lake_column column = {.name = "c"};

    for (size_t i = 0; i < CB_LENGTH(types); i++) {
        cb_error err = {0};

        assert_code(CB_UNSUPPORTED,
                    cb_lake_type_hold(CB_LAKE_SQLITE, false, types[i], &k->arena, &column, &err));
        cb_error_clear(&err);
        assert_code(CB_OK,
                    cb_lake_type_hold(CB_LAKE_DUCKDB, false, types[i], &k->arena, &column, &err));
    }
    assert_string_equal(held(k, CB_LAKE_SQLITE, "STRUCT(\"VARIANT\" INTEGER)", CB_LAKE_VARCHAR),
                        "VARCHAR");
}

/* ---- whole catalogs ----------------------------------------------------------------------- */

static cb_code convert(kit *k, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *from = NULL;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *to = NULL;
    cb_lake_address from_address, to_address;
    cb_code code;

    lake_kit_address(k->from, &from_address);
    lake_kit_address(k->to, &to_address);
    code = cb_lake_db_open(k->ctx, &from_address, CB_LAKE_READ, &from, err);
    if (code == CB_OK)
        code = cb_lake_db_open(k->ctx, &to_address, CB_LAKE_CREATE, &to, err);
    if (code == CB_OK)
        code = cb_lake_convert(k->ctx, from, to, err);
    return code == CB_OK ? cb_lake_db_commit(to, err) : code;
}

static void test_types_from_the_catalog(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    cb_lake_column columns[] = {{.name = "i"}, {.name = "ok"}, {.name = "n"}, {.name = "nobody"}};
    const char *types[4];
    cb_lake_address address;
    cb_error err = {0};

    lake_kit_address(k->from, &address);
    assert_ok(cb_lake_db_open(k->ctx, &address, CB_LAKE_READ, &db, &err));
    assert_ok(cb_lake_schema_read(db, &schema, &err));
    assert_ok(cb_lake_type_list(db, &schema, 1, 3, columns, 4, &k->arena, types, &err));
    assert_string_equal(types[0], "INTEGER");
    assert_string_equal(types[1], "BOOLEAN");
    assert_string_equal(types[2], "STRUCT(\"a b\" DECIMAL(10,2)[])");
    assert_null(types[3]);
    /* at an older version that column was not there */
    assert_ok(cb_lake_type_list(db, &schema, 1, 1, columns, 4, &k->arena, types, &err));
    assert_string_equal(types[0], "INTEGER");
    assert_null(types[2]);
}

static void test_values_and_keys(void **state)
{
    static const char *const tables[] = {
        "metadata",         "snapshot",         "column",           "data_file",          "table",
        "inlined_data_1_1", "inlined_data_1_3", "inlined_delete_1", "inlined_data_tables"};
    kit *k = *state;
    cb_error err = {0};
    char sql[1024];
    char text[512];

    assert_ok(convert(k, &err));
    for (size_t i = 0; i < CB_LENGTH(tables); i++) {
        snprintf(sql, sizeof(sql),
                 "ATTACH '%s' AS f; SELECT (SELECT count(*) FROM (SELECT * FROM f.ducklake_%s "
                 "EXCEPT SELECT * FROM main.ducklake_%s)) + (SELECT abs((SELECT count(*) FROM "
                 "f.ducklake_%s) - (SELECT count(*) FROM main.ducklake_%s)))",
                 k->from, tables[i], tables[i], tables[i], tables[i]);
        if (lake_kit_number(k->to, sql) != 0)
            fail_msg("rows of %s differ", tables[i]);
    }
    assert_int_equal(lake_kit_number(k->to, "SELECT pk FROM pragma_table_info("
                                            "'ducklake_data_file') WHERE name = 'data_file_id'"),
                     1);
    assert_string_equal(
        lake_kit_text(k->to,
                      "SELECT typeof(ok) || typeof(s) FROM ducklake_inlined_data_1_1 "
                      "WHERE row_id = 5",
                      text),
        "integertext");
    assert_string_equal(lake_kit_text(k->to,
                                      "SELECT type FROM pragma_table_info("
                                      "'ducklake_inlined_data_1_1') WHERE name = 'ok'",
                                      text),
                        "BIGINT");
}

static void test_what_cannot_be_held(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    lake_kit_sql(k->from, "UPDATE ducklake_column SET column_type = 'variant' "
                          "WHERE table_id = 1 AND column_id = 3");
    assert_code(CB_UNSUPPORTED, convert(k, &err));
    assert_non_null(strstr(err.hint, "ducklake_flush_inlined_data"));
    assert_false(cb_path_exists(k->to));
    /* without rows they are left out, in the list of tables as well */
    cb_error_clear(&err);
    lake_kit_sql(k->from, "DELETE FROM ducklake_inlined_data_1_1;"
                          "DELETE FROM ducklake_inlined_data_1_3");
    assert_ok(convert(k, &err));
    assert_int_equal(lake_kit_number(k->to, "SELECT count(*) FROM ducklake_inlined_data_tables"),
                     0);
    assert_int_equal(lake_kit_number(k->to, "SELECT count(*) FROM sqlite_master WHERE name LIKE "
                                            "'ducklake_inlined_data_1%'"),
                     0);
}

static void test_unknown_column(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    lake_kit_sql(k->from, "UPDATE ducklake_column SET column_name = 'other' "
                          "WHERE table_id = 1 AND column_id = 3");
    assert_code(CB_CORRUPT, convert(k, &err));
    assert_non_null(strstr(err.message, "'s'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_types_as_ducklake_makes_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_of_old_lakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_variant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types_from_the_catalog, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_and_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_column, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
