/*
 * fingerprint.c - read every table at every snapshot by the engine, to a digest that two engines of
 * different versions give alike for the same contents.
 *
 * Each row becomes a text: every column cast to VARCHAR, its length before it, so that no two rows
 * read alike that are not; MD5 of it; and the two halves of the digest are summed over all rows.
 * The sum does not depend on the order of the rows and counts duplicates. Names and types of the
 * columns are part of the digest.
 *
 * Snapshot by snapshot, and the lake is attached anew where the schema is another: older versions
 * of the extension take the columns of a table from a snapshot that was read before.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/extension_internal.h"

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

static cb_code append_from(cb_buf *sql, const cb_lake_moment *at, cb_error *err)
{
    char version[48];

    snprintf(version, sizeof(version), " AT (VERSION => %lld)", (long long)at->to);
    return cb_duck_compose(sql,
                           (cb_duck_piece[]){{0, " FROM lake."},
                                             {'"', at->schema},
                                             {0, "."},
                                             {'"', at->name},
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

static cb_code read_table(cb_lake_engine *engine, const cb_lake_moment *at, table_digest *out,
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

static cb_code note_count(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    return count < 1 || cells[0] == NULL ? CB_OK : cb_parse_u64(cells[0], arg, err);
}

/* Why did it fail: is there no such table at that snapshot? Asked of the catalog's own rows. */
static cb_code look_for(cb_lake_engine *engine, const cb_lake_moment *at, bool *is_missing,
                        cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    char numbers[96];
    uint64_t found = 0;
    cb_code code = cb_lake_engine_catalog_sql(
        engine, &sql,
        "SELECT count(*) FROM {snapshot} s JOIN {table} t ON t.begin_snapshot <= s.snapshot_id AND "
        "(t.end_snapshot IS NULL OR t.end_snapshot > s.snapshot_id) WHERE ",
        err);

    snprintf(numbers, sizeof(numbers), "s.snapshot_id = %lld AND t.table_id = %lld",
             (long long)at->to, (long long)at->table_id);
    if (code == CB_OK)
        code = cb_buf_append(&sql, numbers, strlen(numbers) + 1, err);
    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)sql.data, note_count, &found, err);
    *is_missing = code == CB_OK && found == 0;
    return code;
}

static cb_code visit_table(cb_lake_engine *engine, const cb_lake_moments *moments, size_t index,
                           cb_lake_fingerprint_visit *visit, void *arg, cb_error *err)
{
    const cb_lake_moment *at = &moments->list[index];
    char reason[CB_MESSAGE_MAX];
    table_digest digest = {0};
    cb_lake_fingerprint seen = {.moment = index};
    cb_code code = read_table(engine, at, &digest, err);

    if (code != CB_OK) {
        /* What is wrong with one table is told of it; what is wrong with all of them ends this. */
        if (code == CB_CANCELLED || code == CB_NO_MEMORY || code == CB_NO_SPACE ||
            code == CB_DENIED || code == CB_RETRY || !cb_lake_engine_is_alive(engine))
            return cb_context(err, "table %s at snapshot %lld", at->table, (long long)at->to);
        memcpy(reason, err->message, sizeof(reason));
        cb_error_clear(err);
        seen.failure = reason;
        code = look_for(engine, at, &seen.is_missing, err);
        if (code != CB_OK)
            return code;
    } else {
        seen.rows = digest.rows;
        seen.digest = digest.digest;
    }
    return visit(arg, &seen, err);
}

cb_code cb_lake_engine_read_all(cb_lake_engine *engine, const cb_lake_moments *moments,
                                cb_lake_fingerprint_visit *visit, void *arg, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < moments->count; i++) {
        if (i > 0 && !cb_lake_engine_keeps_attached(engine) &&
            moments->list[i].schema_version != moments->list[i - 1].schema_version)
            code = cb_lake_engine_reattach(engine, err);
        if (code == CB_OK)
            code = visit_table(engine, moments, i, visit, arg, err);
    }
    return code;
}
