/*
 * engine_scan.c - let the engine read all of a restored copy: every column of every row of every
 * table, folded into one number so that nothing can be skipped and no result grows.
 *
 * The copy is opened read-write, since an engine that finds a log replays it. Views, macros and
 * generated columns hold no data of their own and are not run.
 */
#include "source/duckdb/duckdb.h"

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/engine.h"

/* hash() takes any type, nested ones too, and any number of columns; bit_xor keeps 8 bytes. */
static cb_code scan_table(cb_duck_session *session, const char *schema, const char *table,
                          uint64_t *rows, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_duck_table columns;
    cb_duck_table answer;
    const cb_duck_piece ask[] = {
        {0,
         "SELECT column_name FROM information_schema.columns WHERE table_catalog = 'scanned' AND "
         "coalesce(is_generated, '') <> 'ALWAYS' AND table_schema = "},
        {'\'', schema},
        {0, " AND table_name = "},
        {'\'', table},
        {0, " ORDER BY ordinal_position"},
        {0, NULL},
    };
    const cb_duck_piece from[] = {
        {0, ")) FROM scanned."}, {'"', schema}, {0, "."}, {'"', table}, {0, NULL}};
    cb_code code = cb_duck_compose(&sql, ask, err);

    if (code == CB_OK)
        code = cb_duck_select(session, (const char *)sql.data, &arena, &columns, err);
    if (code == CB_OK && columns.rows == 0)
        return cb_fail(err, CB_CORRUPT, "the engine shows no column of table '%s'", table);
    sql.size = 0;
    for (uint64_t i = 0; code == CB_OK && i < columns.rows; i++) {
        const cb_duck_piece column[] = {{0, i == 0 ? "SELECT count(*), bit_xor(hash(" : ", "},
                                        {'"', columns.cells[i]},
                                        {0, NULL}};

        code = cb_duck_compose(&sql, column, err);
    }
    if (code == CB_OK)
        code = cb_duck_compose(&sql, from, err);
    if (code == CB_OK)
        code = cb_duck_select(session, (const char *)sql.data, &arena, &answer, err);
    if (code == CB_OK && (answer.rows != 1 || answer.columns != 2 || answer.cells[0] == NULL))
        return cb_fail(err, CB_INTERNAL, "unexpected answer of the engine");
    if (code == CB_OK)
        code = cb_parse_u64(answer.cells[0], rows, err);
    return code;
}

static cb_code scan_all(cb_duck_session *session,
                        cb_code (*visit)(void *arg, const char *table, uint64_t rows,
                                         cb_error *err),
                        void *arg, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_duck_table tables;
    cb_code code = cb_duck_select(session,
                                  "SELECT schema_name, table_name FROM duckdb_tables() WHERE "
                                  "database_name = 'scanned' AND NOT internal ORDER BY 1, 2",
                                  &arena, &tables, err);

    for (uint64_t i = 0; code == CB_OK && i < tables.rows; i++) {
        const char *schema = tables.cells[2 * i];
        const char *table = tables.cells[2 * i + 1];
        const cb_duck_piece pieces[] = {{'"', schema}, {0, "."}, {'"', table}, {0, NULL}};
        uint64_t rows = 0;

        name.size = 0;
        code = cb_duck_compose(&name, pieces, err);
        if (code == CB_OK && scan_table(session, schema, table, &rows, err) != CB_OK)
            code = cb_context(err, "table %s", (const char *)name.data);
        if (code == CB_OK)
            code = visit(arg, (const char *)name.data, rows, err);
    }
    return code;
}

cb_code cb_duckdb_scan(cb_ctx *ctx, const char *path,
                       cb_code (*visit)(void *arg, const char *table, uint64_t rows, cb_error *err),
                       void *arg, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_duck_session_cleanup) cb_duck_session *session = NULL;
    char absolute[CB_PATH_MAX];
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', absolute}, {0, " AS scanned (READ_WRITE)"}, {0, NULL}};
    cb_duck_file file;
    cb_code code = cb_path_absolute(path, absolute, err);

    if (code == CB_OK)
        code = cb_duck_file_openable(absolute, &file, err);
    if (code == CB_OK)
        code = cb_duck_compose(&sql, pieces, err);
    if (code == CB_OK)
        code = cb_duck_session_open(ctx, absolute, absolute, &session, err);
    if (code == CB_OK)
        code = cb_duck_run(session, (const char *)sql.data, err);
    if (code == CB_OK)
        code = scan_all(session, visit, arg, err);
    return code;
}
