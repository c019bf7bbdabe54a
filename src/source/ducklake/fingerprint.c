/*
 * fingerprint.c - read every table at every snapshot by the engine, to a digest that two engines of
 * different versions give alike for the same contents.
 *
 * Each row becomes a text: every column cast to VARCHAR, its length before it, so that no two rows
 * read alike that are not; MD5 of it; and the two halves of the digest are summed over all rows.
 * The sum does not depend on the order of the rows and counts duplicates. Names and types of the
 * columns are part of the digest.
 *
 * Snapshot by snapshot, and the lake is attached anew for each: older versions of the extension
 * take the columns of a table from a snapshot that was read before.
 *
 * Which tables there are at a snapshot is asked of the catalog's own rows, not of the attached
 * lake: the engine lists the newest only.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/extension_internal.h"

typedef struct table_at {
    const char *schema, *table;
    int64_t snapshot;
} table_at;

typedef struct table_list {
    cb_arena arena;
    table_at *tables; /* free() */
    size_t count, capacity;
} table_list;

static void table_list_free(table_list *list)
{
    cb_arena_free(&list->arena);
    free(list->tables);
}

static cb_code note_table(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    table_list *list = arg;
    table_at *at;
    cb_code code = CB_OK;

    if (count < 3 || cells[0] == NULL || cells[1] == NULL || cells[2] == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog has a table without a name");
    if (list->count == list->capacity)
        code = cb_array_grow(&list->tables, &list->capacity, sizeof(*list->tables), err);
    if (code != CB_OK)
        return code;
    at = &list->tables[list->count];
    code = cb_parse_i64(cells[0], &at->snapshot, err);
    /* Thousands of snapshots of the same tables: a name that is the same as before is shared. */
    at->schema = list->count > 0 && strcmp(list->tables[list->count - 1].schema, cells[1]) == 0
                     ? list->tables[list->count - 1].schema
                     : NULL;
    if (code == CB_OK && at->schema == NULL)
        code = cb_arena_text(&list->arena, cells[1], &at->schema, err);
    if (code == CB_OK)
        code = cb_arena_text(&list->arena, cells[2], &at->table, err);
    if (code == CB_OK)
        list->count++;
    return code;
}

static cb_code list_tables(cb_lake_engine *engine, bool all_snapshots, table_list *list,
                           cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code;

    code = cb_lake_engine_catalog_sql(
        engine, &sql,
        all_snapshots ? "SELECT s.snapshot_id, c.schema_name, t.table_name FROM {snapshot} s"
                      : "SELECT s.snapshot_id, c.schema_name, t.table_name FROM "
                        "(SELECT max(snapshot_id) AS snapshot_id FROM {snapshot}) s",
        err);
    if (code == CB_OK)
        code = cb_lake_engine_catalog_sql(
            engine, &sql,
            " JOIN {table} t ON t.begin_snapshot <= s.snapshot_id AND"
            " (t.end_snapshot IS NULL OR t.end_snapshot > s.snapshot_id)"
            " JOIN {schema} c ON c.schema_id = t.schema_id AND c.begin_snapshot <= s.snapshot_id"
            " AND (c.end_snapshot IS NULL OR c.end_snapshot > s.snapshot_id)"
            " ORDER BY s.snapshot_id, c.schema_name, t.table_name",
            err);
    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)sql.data, note_table, list, err);
    return code;
}

/* ---- one table ------------------------------------------------------------------------------ */

typedef struct column_list {
    cb_buf *row;    /* the expression of a row's text */
    cb_buf *header; /* names and types */
} column_list;

static cb_code note_column(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    column_list *list = arg;
    cb_code code;

    if (count < 2 || cells[0] == NULL || cells[1] == NULL)
        return cb_fail(err, CB_CORRUPT, "a column has no name");
    code = cb_buf_format(list->header, err, "%s %s\n", cells[0], cells[1]);
    if (code == CB_OK && list->row->size > 0)
        code = cb_buf_format(list->row, err, " || ");
    if (code == CB_OK)
        code = cb_duck_compose(list->row,
                               (cb_duck_piece[]){{0, "coalesce(length("},
                                                 {'"', cells[0]},
                                                 {0, "::VARCHAR)::VARCHAR || ':' || "},
                                                 {'"', cells[0]},
                                                 {0, "::VARCHAR, '-')"},
                                                 {0, NULL}},
                               err);
    return code;
}

static cb_code append_from(cb_buf *sql, const table_at *at, cb_error *err)
{
    char version[48];

    snprintf(version, sizeof(version), " AT (VERSION => %lld)", (long long)at->snapshot);
    return cb_duck_compose(sql,
                           (cb_duck_piece[]){{0, " FROM lake."},
                                             {'"', at->schema},
                                             {0, "."},
                                             {'"', at->table},
                                             {0, version},
                                             {0, NULL}},
                           err);
}

typedef struct table_digest {
    uint64_t rows;
    char digest[96];
} table_digest;

static cb_code note_digest(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    table_digest *out = arg;

    if (count < 4 || cells[0] == NULL)
        return cb_fail(err, CB_IO, "DuckDB's answer about a table has no rows");
    /* Sums of no rows at all are NULL. */
    snprintf(out->digest, sizeof(out->digest), "%s-%s-%.32s", cells[1] != NULL ? cells[1] : "0",
             cells[2] != NULL ? cells[2] : "0", cells[3] != NULL ? cells[3] : "");
    return cb_parse_u64(cells[0], &out->rows, err);
}

static cb_code read_table(cb_lake_engine *engine, const table_at *at, table_digest *out,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf describe = {0};
    CB_CLEANUP(cb_buf_free) cb_buf row = {0};
    CB_CLEANUP(cb_buf_free) cb_buf header = {0};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    column_list columns = {.row = &row, .header = &header};
    cb_code code = cb_buf_format(&describe, err, "DESCRIBE SELECT *");

    if (code == CB_OK)
        code = append_from(&describe, at, err);
    if (code == CB_OK)
        code =
            cb_lake_engine_query(engine, (const char *)describe.data, note_column, &columns, err);
    if (code == CB_OK && row.size == 0)
        code = cb_fail(err, CB_CORRUPT, "the table has no columns");
    if (code == CB_OK)
        code = cb_duck_compose(
            &sql,
            (cb_duck_piece[]){{0, "SELECT count(*), sum(md5_number_lower(r)::HUGEINT), "
                                  "sum(md5_number_upper(r)::HUGEINT), md5("},
                              {'\'', (const char *)header.data},
                              {0, ") FROM (SELECT "},
                              {0, (const char *)row.data},
                              {0, " AS r"},
                              {0, NULL}},
            err);
    if (code == CB_OK)
        code = append_from(&sql, at, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, ")");
    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)sql.data, note_digest, out, err);
    return code;
}

static cb_code visit_table(cb_lake_engine *engine, const table_at *at,
                           cb_lake_fingerprint_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    char reason[CB_MESSAGE_MAX];
    table_digest digest = {0};
    cb_lake_fingerprint seen = {.snapshot_id = at->snapshot};
    cb_code code = cb_duck_compose(
        &name, (cb_duck_piece[]){{'"', at->schema}, {0, "."}, {'"', at->table}, {0, NULL}}, err);

    if (code != CB_OK)
        return code;
    seen.table = (const char *)name.data;
    code = read_table(engine, at, &digest, err);
    if (code != CB_OK) {
        /* What is wrong with one table is told of it; what is wrong with all of them ends this. */
        if (code == CB_CANCELLED || code == CB_NO_MEMORY || code == CB_NO_SPACE ||
            !cb_lake_engine_is_alive(engine))
            return cb_context(err, "table %s at snapshot %lld", seen.table,
                              (long long)at->snapshot);
        memcpy(reason, err->message, sizeof(reason));
        cb_error_clear(err);
        seen.failure = reason;
    } else {
        seen.rows = digest.rows;
        seen.digest = digest.digest;
    }
    return visit(arg, &seen, err);
}

cb_code cb_lake_engine_read_all(cb_lake_engine *engine, bool all_snapshots,
                                cb_lake_fingerprint_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(table_list_free) table_list list = {0};
    cb_code code = list_tables(engine, all_snapshots, &list, err);

    for (size_t i = 0; code == CB_OK && i < list.count; i++) {
        if (i > 0 && !cb_lake_engine_keeps_attached(engine) &&
            list.tables[i].snapshot != list.tables[i - 1].snapshot)
            code = cb_lake_engine_reattach(engine, err);
        if (code == CB_OK)
            code = visit_table(engine, &list.tables[i], visit, arg, err);
    }
    return code;
}
