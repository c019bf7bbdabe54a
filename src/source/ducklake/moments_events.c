/*
 * moments_events.c - every snapshot at which something of a table begins or ends, and how many rows
 * it brings or takes.
 *
 *     rows of its data files - deletes in those files - rows deleted while inlined
 *     + rows inlined, all of them as far as they are alive at the snapshot
 *
 * A file that holds rows of several snapshots (merged ones do) counts for less at a snapshot before
 * its newest. Where the catalog says for how much ("16:50|17:100|18:150", in 0.3), that is taken;
 * where it does not (partial_max), the number is unknown there, and only the engines can tell.
 */
#include "source/ducklake/moments.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

void cb_lake_events_free(cb_lake_events *events)
{
    free(events->list);
    free(events->spans);
    *events = (cb_lake_events){0};
}

static cb_code add(cb_lake_events *events, const cb_lake_event *event, cb_error *err)
{
    cb_code code = CB_OK;

    if (events->count == events->capacity)
        code = cb_array_grow(&events->list, &events->capacity, sizeof(*events->list), err);
    if (code == CB_OK)
        events->list[events->count++] = *event;
    return code;
}

static cb_code add_span(cb_lake_events *events, const cb_lake_span *span, cb_error *err)
{
    cb_code code = CB_OK;

    if (events->span_count == events->span_capacity)
        code = cb_array_grow(&events->spans, &events->span_capacity, sizeof(*events->spans), err);
    if (code == CB_OK)
        events->spans[events->span_count++] = *span;
    return code;
}

static cb_code parse(const cb_lake_cell *cells, size_t count, size_t wanted, int64_t *out,
                     cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < wanted; i++) {
        if (i >= count || cells[i].text == NULL)
            return cb_fail(err, CB_CORRUPT, "the catalog has a row without its table or snapshot");
        code = cb_parse_i64(cells[i].text, &out[i], err);
    }
    return code;
}

static cb_code note_event(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    int64_t numbers[4];
    cb_code code = parse(cells, count, CB_LENGTH(numbers), numbers, err);

    return code == CB_OK ? add(arg,
                               &(cb_lake_event){.table_id = numbers[0],
                                                .at = numbers[1],
                                                .rows = numbers[2],
                                                .unknown = numbers[3]},
                               err)
                         : code;
}

static cb_code note_span(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    int64_t numbers[3];
    cb_code code = parse(cells, count, CB_LENGTH(numbers), numbers, err);

    return code == CB_OK ? add_span(arg, &(cb_lake_span){numbers[0], numbers[1], numbers[2]}, err)
                         : code;
}

static cb_code ask(cb_lake_db *db, cb_buf *sql, cb_lake_row *visit, void *arg, cb_error *err)
{
    cb_code code = cb_buf_u8(sql, 0, err);

    return code == CB_OK ? cb_lake_db_query(db, (const char *)sql->data, visit, arg, err) : code;
}

/* `rows`: of what `columns` (table, snapshot, rows, unknown) are; summed by table and snapshot. */
static cb_code ask_events(cb_lake_db *db, const char *rows, cb_lake_events *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(
        &sql, err,
        "SELECT table_id, snapshot_id, CAST(sum(n) AS BIGINT) AS record_count, CAST(sum(u) AS "
        "BIGINT) AS delete_count FROM (%s) canvasback_e GROUP BY table_id, snapshot_id",
        rows);

    return code == CB_OK ? ask(db, &sql, note_event, out, err) : code;
}

/* ---- columns, files, deletes ---------------------------------------------------------------- */

/* What the catalog calls the newest snapshot whose rows a file has, by its version; NULL: no file
   has rows of several. */
static const char *newest_of(const cb_lake_schema *schema, const char *table)
{
    const cb_lake_table *found = cb_lake_schema_find(schema, table);

    if (found != NULL && cb_lake_table_has(found, "partial_max"))
        return "f.partial_max";
    if (found != NULL && cb_lake_table_has(found, "partial_file_info"))
        return "CASE WHEN f.partial_file_info LIKE 'partial_max:%' THEN "
               "CAST(substr(f.partial_file_info, 13) AS BIGINT) END";
    return NULL;
}

/* Rows of such a file are counted by hand: see add_splits. */
static bool has_splits(const cb_lake_schema *schema)
{
    const cb_lake_table *files = cb_lake_schema_find(schema, "ducklake_data_file");

    return files != NULL && cb_lake_table_has(files, "partial_file_info");
}

static cb_code read_columns(cb_lake_db *db, cb_lake_events *out, cb_error *err)
{
    return ask_events(db,
                      "SELECT c.table_id, c.begin_snapshot AS snapshot_id, 0 AS n, 0 AS u FROM "
                      "{column} c WHERE c.begin_snapshot IS NOT NULL UNION ALL SELECT c.table_id, "
                      "c.end_snapshot, 0, 0 FROM {column} c WHERE c.end_snapshot IS NOT NULL",
                      out, err);
}

static cb_code read_data_files(cb_lake_db *db, const cb_lake_schema *schema, cb_lake_events *out,
                               cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *rows = has_splits(schema)
                           ? "CASE WHEN f.partial_file_info IS NULL OR f.partial_file_info LIKE "
                             "'partial_max:%' THEN COALESCE(f.record_count, 0) ELSE 0 END"
                           : "COALESCE(f.record_count, 0)";
    cb_code code = cb_buf_format(
        &sql, err,
        "SELECT f.table_id, f.begin_snapshot AS snapshot_id, %s AS n, 0 AS u FROM {data_file} f "
        "UNION ALL SELECT f.table_id, f.end_snapshot, 0 - %s, 0 FROM {data_file} f WHERE "
        "f.end_snapshot IS NOT NULL",
        rows, rows);

    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? ask_events(db, (const char *)sql.data, out, err) : code;
}

/* A delete counts while both it and its file are alive. */
static const char delete_lives[] =
    "(SELECT d.table_id, CASE WHEN d.begin_snapshot > f.begin_snapshot THEN d.begin_snapshot ELSE "
    "f.begin_snapshot END AS began, CASE WHEN d.end_snapshot IS NULL OR f.end_snapshot < "
    "d.end_snapshot THEN f.end_snapshot ELSE d.end_snapshot END AS ended, "
    "COALESCE(d.delete_count, 0) AS n FROM {delete_file} d JOIN {data_file} f ON f.data_file_id = "
    "d.data_file_id) b";

static cb_code read_delete_files(cb_lake_db *db, const cb_lake_schema *schema, cb_lake_events *out,
                                 cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code;

    if (cb_lake_schema_find(schema, "ducklake_delete_file") == NULL)
        return CB_OK;
    code = cb_buf_format(
        &sql, err,
        "SELECT d.table_id, d.begin_snapshot AS snapshot_id, 0 AS n, 0 AS u FROM {delete_file} d "
        "UNION ALL SELECT d.table_id, d.end_snapshot, 0, 0 FROM {delete_file} d WHERE "
        "d.end_snapshot IS NOT NULL UNION ALL SELECT b.table_id, b.began, 0 - b.n, 0 FROM %s WHERE "
        "b.ended IS NULL OR b.ended > b.began UNION ALL SELECT b.table_id, b.ended, b.n, 0 FROM %s "
        "WHERE b.ended > b.began",
        delete_lives, delete_lives);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? ask_events(db, (const char *)sql.data, out, err) : code;
}

/* Files with rows, or deletes, of several snapshots: until the newest of them each snapshot sees
   something else, and nobody can say how much of it. */
static cb_code read_spans(cb_lake_db *db, const cb_lake_schema *schema, const char *table,
                          cb_lake_events *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *newest = newest_of(schema, table);
    size_t first = out->span_count;
    cb_code code;

    if (newest == NULL)
        return CB_OK;
    code = cb_buf_format(&sql, err,
                         "SELECT DISTINCT p.table_id, p.begin_snapshot, CASE WHEN p.end_snapshot < "
                         "p.newest THEN p.end_snapshot ELSE p.newest END AS end_snapshot FROM "
                         "(SELECT f.table_id, f.begin_snapshot, f.end_snapshot, %s AS newest FROM "
                         "{%s} f) p WHERE p.newest > p.begin_snapshot AND (p.end_snapshot IS NULL "
                         "OR p.end_snapshot > p.begin_snapshot)",
                         newest, table + strlen("ducklake_"));
    if (code == CB_OK)
        code = ask(db, &sql, note_span, out, err);
    for (size_t i = first; code == CB_OK && i < out->span_count; i++) {
        const cb_lake_span *span = &out->spans[i];

        code = add(out, &(cb_lake_event){span->table_id, span->from, 0, 1}, err);
        if (code == CB_OK)
            code = add(out, &(cb_lake_event){span->table_id, span->to, 0, -1}, err);
    }
    return code;
}

/* ---- rows in the catalog itself ------------------------------------------------------------- */

/* Inlined rows lie in tables of their own, named by table and schema version. */
static cb_code read_inlined_data(cb_lake_db *db, const cb_lake_table *table, const char *id,
                                 int digits, cb_lake_events *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *prefix = cb_lake_table_has(table, "_ducklake_begin_snapshot") ? "_ducklake_" : "";
    const char *name = table->name + strlen("ducklake_");
    cb_code code = cb_buf_format(
        &sql, err,
        "SELECT %.*s AS table_id, i.%sbegin_snapshot AS snapshot_id, 1 AS n, 0 AS u FROM {%s} i "
        "UNION ALL SELECT %.*s, i.%send_snapshot, -1, 0 FROM {%s} i WHERE i.%send_snapshot IS NOT "
        "NULL",
        digits, id, prefix, name, digits, id, prefix, name, prefix);

    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? ask_events(db, (const char *)sql.data, out, err) : code;
}

static cb_code read_inlined_deletes(cb_lake_db *db, const cb_lake_table *table, const char *id,
                                    int digits, cb_lake_events *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *name = table->name + strlen("ducklake_");
    char lives[320];
    cb_code code;

    snprintf(lives, sizeof(lives),
             "(SELECT CASE WHEN i.begin_snapshot > f.begin_snapshot THEN i.begin_snapshot ELSE "
             "f.begin_snapshot END AS began, f.end_snapshot AS ended FROM {%.64s} i JOIN "
             "{data_file} f ON f.data_file_id = i.file_id) b",
             name);
    code = cb_buf_format(
        &sql, err,
        "SELECT %.*s AS table_id, i.begin_snapshot AS snapshot_id, 0 AS n, 0 AS u FROM {%s} i "
        "UNION ALL SELECT %.*s, b.began, -1, 0 FROM %s WHERE b.ended IS NULL OR b.ended > b.began "
        "UNION ALL SELECT %.*s, b.ended, 1, 0 FROM %s WHERE b.ended > b.began",
        digits, id, name, digits, id, lives, digits, id, lives);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? ask_events(db, (const char *)sql.data, out, err) : code;
}

static cb_code read_inlined(cb_lake_db *db, const cb_lake_schema *schema, cb_lake_events *out,
                            cb_error *err)
{
    static const char data[] = "ducklake_inlined_data_";
    static const char deletes[] = "ducklake_inlined_delete_";
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < schema->count; i++) {
        const cb_lake_table *table = &schema->tables[i];
        bool is_data = cb_has_prefix(table->name, data);
        const char *id = table->name + (is_data ? sizeof(data) : sizeof(deletes)) - 1;
        int digits;

        if (!is_data && !cb_has_prefix(table->name, deletes))
            continue;
        digits = (int)strspn(id, "0123456789");
        if (digits == 0) /* ducklake_inlined_data_tables */
            continue;
        code = is_data ? read_inlined_data(db, table, id, digits, out, err)
                       : read_inlined_deletes(db, table, id, digits, out, err);
        if (code != CB_OK)
            cb_context(err, "table '%s'", table->name);
    }
    return code;
}

/* ---- merged files of 0.3 -------------------------------------------------------------------- */

/* The number at *text, which moves behind it and `end`, if that follows. */
static bool take_number(const char **text, char end, int64_t *out)
{
    char digits[24];
    size_t size = strspn(*text, "0123456789");
    cb_error ignored = {0};

    if (size == 0 || size >= sizeof(digits))
        return false;
    memcpy(digits, *text, size);
    digits[size] = '\0';
    *text += size;
    if (**text == end)
        (*text)++;
    return cb_parse_i64(digits, out, &ignored) == CB_OK;
}

/* "16:50|17:100|18:150": from snapshot 17 on 100 rows of it are alive; the counts are sums. */
static cb_code add_split(cb_lake_events *events, int64_t table_id, int64_t begin, int64_t end,
                         const char *text, cb_error *err)
{
    int64_t alive = 0;
    int64_t newest = begin;
    cb_code code = CB_OK;

    while (code == CB_OK && *text != '\0') {
        int64_t snapshot, rows;

        if (!take_number(&text, ':', &snapshot) || !take_number(&text, '|', &rows) ||
            snapshot < 0 || rows < alive) { /* not understood: nobody can say */
            code = add(events, &(cb_lake_event){table_id, begin, -alive, 1}, err);
            if (code == CB_OK && end != INT64_MAX)
                code = add(events, &(cb_lake_event){table_id, end, 0, -1}, err);
            return code == CB_OK ? add_span(events, &(cb_lake_span){table_id, begin, end}, err)
                                 : code;
        }
        if (snapshot < begin)
            snapshot = begin;
        if (snapshot >= end)
            break;
        code = add(events, &(cb_lake_event){table_id, snapshot, rows - alive, 0}, err);
        alive = rows;
        newest = snapshot;
    }
    if (code == CB_OK && end != INT64_MAX)
        code = add(events, &(cb_lake_event){table_id, end, -alive, 0}, err);
    return code == CB_OK && newest > begin
               ? add_span(events, &(cb_lake_span){table_id, begin, newest}, err)
               : code;
}

static cb_code note_split(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    int64_t numbers[2];
    int64_t end = INT64_MAX;
    cb_code code = parse(cells, count, CB_LENGTH(numbers), numbers, err);

    if (code == CB_OK && (count < 4 || cells[3].text == NULL))
        code = cb_fail(err, CB_CORRUPT, "the catalog has a data file without a table");
    if (code == CB_OK && cells[2].text != NULL)
        code = cb_parse_i64(cells[2].text, &end, err);
    return code == CB_OK && end > numbers[1]
               ? add_split(arg, numbers[0], numbers[1], end, cells[3].text, err)
               : code;
}

static cb_code read_splits(cb_lake_db *db, const cb_lake_schema *schema, cb_lake_events *out,
                           cb_error *err)
{
    return has_splits(schema)
               ? cb_lake_db_query(db,
                                  "SELECT f.table_id, f.begin_snapshot, f.end_snapshot, "
                                  "f.partial_file_info FROM {data_file} f WHERE "
                                  "f.partial_file_info IS NOT NULL AND NOT f.partial_file_info "
                                  "LIKE 'partial_max:%'",
                                  note_split, out, err)
               : CB_OK;
}

/* ---- all ------------------------------------------------------------------------------------ */

static int by_event(const void *a, const void *b)
{
    const cb_lake_event *x = a;
    const cb_lake_event *y = b;

    if (x->table_id != y->table_id)
        return x->table_id < y->table_id ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_span(const void *a, const void *b)
{
    const cb_lake_span *x = a;
    const cb_lake_span *y = b;

    if (x->table_id != y->table_id)
        return x->table_id < y->table_id ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

cb_code cb_lake_events_read(cb_lake_db *db, const cb_lake_schema *schema, cb_lake_events *out,
                            cb_error *err)
{
    cb_code code = read_columns(db, out, err);

    if (code == CB_OK)
        code = read_data_files(db, schema, out, err);
    if (code == CB_OK)
        code = read_delete_files(db, schema, out, err);
    if (code == CB_OK)
        code = read_spans(db, schema, "ducklake_data_file", out, err);
    if (code == CB_OK)
        code = read_spans(db, schema, "ducklake_delete_file", out, err);
    if (code == CB_OK)
        code = read_inlined(db, schema, out, err);
    if (code == CB_OK)
        code = read_splits(db, schema, out, err);
    if (code != CB_OK)
        return code;
    if (out->count > 1)
        qsort(out->list, out->count, sizeof(*out->list), by_event);
    if (out->span_count > 1)
        qsort(out->spans, out->span_count, sizeof(*out->spans), by_span);
    return CB_OK;
}
