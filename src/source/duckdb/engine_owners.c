/*
 * engine_owners.c - which blocks hold data of which table, as the engine's own storage_info says.
 */
#include "source/duckdb/duckdb.h"

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/engine.h"

typedef cb_code owner_visit(void *arg, const char *table, uint64_t block, cb_error *err);

static cb_code visit_blocks(cb_duck_session *session, const char *schema, const char *table,
                            owner_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_duck_table blocks;
    const cb_duck_piece full[] = {{'"', schema}, {0, "."}, {'"', table}, {0, NULL}};
    cb_code code = cb_duck_compose(&name, full, err);

    if (code == CB_OK) {
        CB_CLEANUP(cb_buf_free) cb_buf in_file = {0};
        const cb_duck_piece of[] = {{0, "owned."}, {0, (const char *)name.data}, {0, NULL}};

        code = cb_duck_compose(&in_file, of, err);
        if (code == CB_OK) {
            const cb_duck_piece ask[] = {
                {0, "WITH s AS (SELECT * FROM pragma_storage_info("},
                {'\'', (const char *)in_file.data},
                {0, ")) SELECT DISTINCT b FROM (SELECT block_id AS b FROM s UNION ALL SELECT "
                    "unnest(additional_block_ids) FROM s) WHERE b >= 0 ORDER BY b"},
                {0, NULL}};

            code = cb_duck_compose(&sql, ask, err);
        }
    }
    if (code == CB_OK)
        code = cb_duck_select(session, (const char *)sql.data, &arena, &blocks, err);
    for (uint64_t i = 0; code == CB_OK && i < blocks.rows; i++) {
        uint64_t block;

        code = cb_parse_u64(blocks.cells[i], &block, err);
        if (code == CB_OK)
            code = visit(arg, (const char *)name.data, block, err);
    }
    return code;
}

static cb_code visit_tables(cb_duck_session *session, owner_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_duck_table tables;
    cb_code code = cb_duck_select(session,
                                  "SELECT schema_name, table_name FROM duckdb_tables() WHERE "
                                  "database_name = 'owned' AND NOT internal ORDER BY 1, 2",
                                  &arena, &tables, err);

    for (uint64_t i = 0; code == CB_OK && i < tables.rows; i++) {
        code = visit_blocks(session, tables.cells[2 * i], tables.cells[2 * i + 1], visit, arg, err);
        if (code == CB_CORRUPT || code == CB_UNSUPPORTED) {
            cb_error_clear(err);
            code = CB_OK;
        }
    }
    return code;
}

cb_code cb_duckdb_owners(cb_ctx *ctx, const char *path, owner_visit *visit, void *arg,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_duck_session_cleanup) cb_duck_session *session = NULL;
    char absolute[CB_PATH_MAX];
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', absolute}, {0, " AS owned (READ_ONLY)"}, {0, NULL}};
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
    return code == CB_OK ? visit_tables(session, visit, arg, err) : code;
}
