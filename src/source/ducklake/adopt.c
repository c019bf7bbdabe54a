#include "source/ducklake/adopt.h"

#include "base/text.h"
#include "base/time.h"

#include <stdio.h>

/* ---- columns ------------------------------------------------------------------------------ */

typedef struct known {
    cb_arena *arena;
    const cb_parquet *parquet;
    bool *is_known; /* of each column of the file */
} known;

static cb_code take_column(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    const known *k = arg;
    int64_t id;

    if (count < 1 || cells[0].text == NULL)
        return CB_OK;
    if (cb_parse_i64(cells[0].text, &id, err) != CB_OK)
        return err->code;
    for (size_t i = 0; i < k->parquet->column_count; i++)
        if (k->parquet->columns[i].top_field_id == id)
            k->is_known[i] = true;
    return CB_OK;
}

static bool is_internal(const char *name)
{
    return cb_has_prefix(name, "_ducklake_internal_");
}

cb_code cb_adopt_strangers(cb_lake_db *db, const cb_adopt_file *file, cb_arena *arena,
                           const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    known k = {.arena = arena, .parquet = &file->parquet};
    cb_code code;

    *out = NULL;
    code = cb_arena_alloc(arena, file->parquet.column_count + 1, &k.is_known, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err,
                             "SELECT column_id FROM {column} WHERE table_id = %lld AND "
                             "end_snapshot IS NULL",
                             (long long)file->place->table_id);
    if (code == CB_OK)
        code = cb_lake_db_query(db, (const char *)sql.data, take_column, &k, err);
    for (size_t i = 0; code == CB_OK && *out == NULL && i < file->parquet.column_count; i++)
        if (!k.is_known[i] && !is_internal(file->parquet.columns[i].top))
            *out = file->parquet.columns[i].top;
    return code;
}

/* ---- rows of the catalog ------------------------------------------------------------------- */

static cb_code number(cb_lake_db *db, const char *column, int64_t *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err,
                                 "SELECT %s FROM {snapshot} WHERE snapshot_id = "
                                 "(SELECT max(snapshot_id) FROM {snapshot})",
                                 column);

    return code == CB_OK ? cb_lake_db_number(db, (const char *)sql.data, -1, out, err) : code;
}

cb_code cb_adoption_begin(cb_ctx *ctx, cb_lake_db *db, cb_adoption *out, cb_error *err)
{
    cb_code code;

    *out = (cb_adoption){.now_us = cb_now_us(ctx)};
    code = number(db, "snapshot_id", &out->snapshot, err);
    if (code == CB_OK)
        code = number(db, "schema_version", &out->schema_version, err);
    if (code == CB_OK)
        code = number(db, "next_catalog_id", &out->next_catalog_id, err);
    if (code == CB_OK)
        code = number(db, "next_file_id", &out->next_file_id, err);
    if (code == CB_OK && (out->snapshot < 0 || out->next_file_id < 0))
        return cb_fail(err, CB_CORRUPT, "the catalog has no snapshot to stand on");
    out->snapshot++;
    return code;
}

void cb_adoption_free(cb_adoption *adoption)
{
    cb_buf_free(&adoption->changes);
}

/* INSERT with the columns that this spec version has: pairs of name and value as SQL. */
typedef struct value {
    const char *column;
    const char *sql;
} value;

static cb_code insert(cb_lake_db *db, const cb_lake_schema *schema, const char *name,
                      const value *values, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_buf_free) cb_buf behind = {0};
    const cb_lake_table *table = cb_lake_schema_find(schema, name);
    cb_code code;

    if (table == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog has no table %s", name);
    code = cb_lake_db_table(db, &sql, name, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        if (!cb_lake_table_has(table, values[i].column))
            continue;
        code = cb_buf_format(&sql, err, "%s%s", behind.size == 0 ? " (" : ", ", values[i].column);
        if (code == CB_OK)
            code = cb_buf_format(&behind, err, "%s%s", behind.size == 0 ? "" : ", ", values[i].sql);
    }
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, ") VALUES (%s)", (const char *)behind.data);
    behind.size = 0;
    if (code == CB_OK)
        code = cb_buf_format(&behind, err, "INSERT INTO %s", (const char *)sql.data);
    return code == CB_OK ? cb_lake_db_exec(db, (const char *)behind.data, NULL, err) : code;
}

enum { NUMBER_MAX = 24 };

static const char *as_sql(char out[NUMBER_MAX], int64_t number_value)
{
    snprintf(out, NUMBER_MAX, "%lld", (long long)number_value);
    return out;
}

static cb_code add_statistics(cb_lake_db *db, const cb_lake_schema *schema,
                              const cb_adopt_file *file, int64_t file_id, cb_error *err)
{
    /* Until spec 0.2 the table had a longer name. */
    const char *name = cb_lake_schema_find(schema, "ducklake_file_column_stats") != NULL
                           ? "ducklake_file_column_stats"
                           : "ducklake_file_column_statistics";
    char id[NUMBER_MAX], table[NUMBER_MAX], column_id[NUMBER_MAX], bytes[NUMBER_MAX];
    char values[NUMBER_MAX], nulls[NUMBER_MAX];

    for (size_t i = 0; i < file->parquet.column_count; i++) {
        const cb_parquet_column *c = &file->parquet.columns[i];
        const value row[] = {
            {"data_file_id", as_sql(id, file_id)},
            {"table_id", as_sql(table, file->place->table_id)},
            {"column_id", as_sql(column_id, c->field_id)},
            {"column_size_bytes", as_sql(bytes, (int64_t)c->stored_bytes)},
            {"value_count", as_sql(values, (int64_t)c->values)},
            {"null_count", as_sql(nulls, (int64_t)c->nulls)},
        };

        if (c->field_id < 0 || is_internal(c->top))
            continue;
        if (insert(db, schema, name, row, CB_LENGTH(row), err) != CB_OK)
            return err->code;
    }
    return CB_OK;
}

/* Where the table's own numbers stand before the file, and after. */
static cb_code count_in(cb_lake_db *db, const cb_lake_schema *schema, const cb_adopt_file *file,
                        int64_t *first_row, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    long long table = (long long)file->place->table_id;
    char id[NUMBER_MAX], rows[NUMBER_MAX], bytes[NUMBER_MAX];
    cb_code code;

    code = cb_buf_format(&sql, err, "SELECT next_row_id FROM {table_stats} WHERE table_id = %lld",
                         table);
    if (code == CB_OK)
        code = cb_lake_db_number(db, (const char *)sql.data, -1, first_row, err);
    if (code != CB_OK)
        return code;
    if (*first_row < 0) { /* nothing was ever written to it */
        const value row[] = {
            {"table_id", as_sql(id, table)},
            {"record_count", as_sql(rows, (int64_t)file->parquet.rows)},
            {"next_row_id", rows},
            {"file_size_bytes", as_sql(bytes, (int64_t)file->size_bytes)},
        };

        *first_row = 0;
        return insert(db, schema, "ducklake_table_stats", row, CB_LENGTH(row), err);
    }
    sql.size = 0;
    code = cb_buf_format(
        &sql, err,
        "UPDATE {table_stats} SET record_count = record_count + %llu, next_row_id = next_row_id + "
        "%llu, file_size_bytes = file_size_bytes + %llu WHERE table_id = %lld",
        (unsigned long long)file->parquet.rows, (unsigned long long)file->parquet.rows,
        (unsigned long long)file->size_bytes, table);
    if (code == CB_OK)
        code = cb_lake_db_exec(db, (const char *)sql.data, NULL, err);
    sql.size = 0;
    if (code == CB_OK)
        code = cb_buf_format(&sql, err,
                             "UPDATE {table_column_stats} SET contains_null = TRUE, min_value = "
                             "NULL, max_value = NULL WHERE table_id = %lld",
                             table);
    return code == CB_OK ? cb_lake_db_exec(db, (const char *)sql.data, NULL, err) : code;
}

/* NaN is only ever said of floats: where it was said at all, it must be "may be" now. */
static cb_code widen_nan(cb_lake_db *db, const cb_lake_schema *schema, int64_t table_id,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table = cb_lake_schema_find(schema, "ducklake_table_column_stats");
    cb_code code;

    if (table == NULL || !cb_lake_table_has(table, "contains_nan"))
        return CB_OK;
    code = cb_buf_format(&sql, err,
                         "UPDATE {table_column_stats} SET contains_nan = TRUE WHERE table_id = "
                         "%lld AND contains_nan IS NOT NULL",
                         (long long)table_id);
    return code == CB_OK ? cb_lake_db_exec(db, (const char *)sql.data, NULL, err) : code;
}

static cb_code note_change(cb_adoption *adoption, int64_t table_id, cb_error *err)
{
    char entry[64];

    snprintf(entry, sizeof(entry), "inserted_into_table:%lld", (long long)table_id);
    if (adoption->changes.size > 0 && strstr((const char *)adoption->changes.data, entry) != NULL) {
        const char *at = strstr((const char *)adoption->changes.data, entry) + strlen(entry);

        if (*at == ',' || *at == '\0')
            return CB_OK;
    }
    return cb_buf_format(&adoption->changes, err, "%s%s", adoption->changes.size > 0 ? "," : "",
                         entry);
}

cb_code cb_adoption_add(cb_adoption *adoption, cb_lake_db *db, const cb_lake_schema *schema,
                        const cb_adopt_file *file, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf path = {0};
    bool below = file->place->folder[0] != '\0' && cb_has_prefix(file->url, file->place->folder);
    char id[NUMBER_MAX], table[NUMBER_MAX], begin[NUMBER_MAX], rows[NUMBER_MAX];
    char bytes[NUMBER_MAX], footer[NUMBER_MAX], first[NUMBER_MAX];
    int64_t file_id = adoption->next_file_id++;
    int64_t first_row;
    cb_code code;

    code = cb_lake_quote(&path, below ? file->url + strlen(file->place->folder) : file->url, err);
    if (code == CB_OK)
        code = cb_buf_u8(&path, 0, err);
    if (code == CB_OK)
        code = count_in(db, schema, file, &first_row, err);
    if (code == CB_OK)
        code = widen_nan(db, schema, file->place->table_id, err);
    if (code == CB_OK) {
        const value row[] = {
            {"data_file_id", as_sql(id, file_id)},
            {"table_id", as_sql(table, file->place->table_id)},
            {"begin_snapshot", as_sql(begin, adoption->snapshot)},
            {"path", (const char *)path.data},
            {"path_is_relative", below ? "TRUE" : "FALSE"},
            {"file_format", "'parquet'"},
            {"record_count", as_sql(rows, (int64_t)file->parquet.rows)},
            {"file_size_bytes", as_sql(bytes, (int64_t)file->size_bytes)},
            {"footer_size", as_sql(footer, file->footer_bytes)},
            {"row_id_start", as_sql(first, first_row)},
        };

        code = insert(db, schema, "ducklake_data_file", row, CB_LENGTH(row), err);
    }
    if (code == CB_OK)
        code = add_statistics(db, schema, file, file_id, err);
    if (code == CB_OK)
        code = note_change(adoption, file->place->table_id, err);
    adoption->files++;
    return code;
}

cb_code cb_adoption_end(cb_adoption *adoption, cb_lake_db *db, const cb_lake_schema *schema,
                        cb_error *err)
{
    char id[NUMBER_MAX], version[NUMBER_MAX], next_catalog[NUMBER_MAX], next_file[NUMBER_MAX];
    char when[CB_TIME_TEXT_MAX];
    char moment[CB_TIME_TEXT_MAX + 2];
    char changes[64 << 10];
    char message[128];
    const value snapshot[] = {
        {"snapshot_id", as_sql(id, adoption->snapshot)},
        {"snapshot_time", moment},
        {"schema_version", as_sql(version, adoption->schema_version)},
        {"next_catalog_id", as_sql(next_catalog, adoption->next_catalog_id)},
        {"next_file_id", as_sql(next_file, adoption->next_file_id)},
    };
    const value change[] = {
        {"snapshot_id", id},
        {"changes_made", changes},
        {"author", "'canvasback'"},
        {"commit_message", message},
    };
    cb_code code;

    snprintf(moment, sizeof(moment), "'%s'", cb_format_rfc3339(adoption->now_us, when));
    for (char *at = moment; *at != '\0'; at++) /* as DuckLake writes it: blank and offset */
        if (*at == 'T')
            *at = ' ';
        else if (*at == 'Z')
            memcpy(at, "+00'", 5), at += 3;
    snprintf(message, sizeof(message), "'" CB_ADOPT_MESSAGE ": %llu files'",
             (unsigned long long)adoption->files);
    if (snprintf(changes, sizeof(changes), "'%s'", (const char *)adoption->changes.data) >=
        (int)sizeof(changes))
        return cb_fail(err, CB_TOO_LARGE, "files of too many tables at once");
    code = insert(db, schema, "ducklake_snapshot", snapshot, CB_LENGTH(snapshot), err);
    return code == CB_OK
               ? insert(db, schema, "ducklake_snapshot_changes", change, CB_LENGTH(change), err)
               : code;
}

/* ---- taking it back ------------------------------------------------------------------------ */

static cb_code is_adoption(cb_lake_db *db, const cb_lake_schema *schema, int64_t snapshot,
                           cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table = cb_lake_schema_find(schema, "ducklake_snapshot_changes");
    int64_t count;
    cb_code code;

    if (table == NULL || !cb_lake_table_has(table, "commit_message")) {
        cb_fail(err, CB_UNSUPPORTED,
                "this lake's version keeps no commit messages, by which an "
                "adoption is known");
        cb_hint(err, "DELETE the rows, or restore the backup from before.");
        return err->code;
    }
    code = cb_buf_format(&sql, err,
                         "SELECT count(*) FROM {snapshot_changes} WHERE snapshot_id = %lld AND "
                         "commit_message LIKE '" CB_ADOPT_MESSAGE ":%%'",
                         (long long)snapshot);
    if (code == CB_OK)
        code = cb_lake_db_number(db, (const char *)sql.data, 0, &count, err);
    if (code == CB_OK && count == 0) {
        cb_fail(err, CB_NOT_FOUND, "the newest snapshot, %lld, is no adoption",
                (long long)snapshot);
        cb_hint(err, "Only the newest snapshot can be taken back: later commits stand on the "
                     "earlier ones.");
        return err->code;
    }
    return code;
}

cb_code cb_adoption_undo(cb_lake_db *db, const cb_lake_schema *schema, int64_t *snapshot,
                         uint64_t *files, cb_error *err)
{
    /* Each with the snapshot's id once; what refers to the files goes before them. */
    static const char *const steps[] = {
        "UPDATE {table_stats} SET record_count = record_count - (SELECT sum(d.record_count) FROM "
        "{data_file} d WHERE d.table_id = {table_stats}.table_id AND d.begin_snapshot = %lld) "
        "WHERE table_id IN (SELECT table_id FROM {data_file} WHERE begin_snapshot = %lld)",
        "UPDATE {table_stats} SET file_size_bytes = file_size_bytes - (SELECT "
        "sum(d.file_size_bytes) FROM {data_file} d WHERE d.table_id = {table_stats}.table_id AND "
        "d.begin_snapshot = %lld) WHERE table_id IN (SELECT table_id FROM {data_file} WHERE "
        "begin_snapshot = %lld)",
        NULL, /* the statistics of the files, by the name that the table has */
        "DELETE FROM {data_file} WHERE begin_snapshot = %lld",
        "DELETE FROM {snapshot_changes} WHERE snapshot_id = %lld",
        "DELETE FROM {snapshot} WHERE snapshot_id = %lld",
    };
    const char *statistics = cb_lake_schema_find(schema, "ducklake_file_column_stats") != NULL
                                 ? "DELETE FROM {file_column_stats} WHERE data_file_id IN (SELECT "
                                   "data_file_id FROM {data_file} WHERE begin_snapshot = %lld)"
                                 : "DELETE FROM {file_column_statistics} WHERE data_file_id IN "
                                   "(SELECT data_file_id FROM {data_file} WHERE begin_snapshot = "
                                   "%lld)";
    cb_code code;

    *files = 0;
    code = number(db, "snapshot_id", snapshot, err);
    if (code == CB_OK)
        code = is_adoption(db, schema, *snapshot, err);
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(steps); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
        const char *format = steps[i] != NULL ? steps[i] : statistics;
        const char *at = format;
        const char *hole;

        while (code == CB_OK && (hole = strstr(at, "%lld")) != NULL) {
            code = cb_buf_append(&sql, at, (size_t)(hole - at), err);
            if (code == CB_OK)
                code = cb_buf_format(&sql, err, "%lld", (long long)*snapshot);
            at = hole + strlen("%lld");
        }
        if (code == CB_OK)
            code = cb_buf_format(&sql, err, "%s", at);
        if (code == CB_OK)
            code = cb_lake_db_exec(db, (const char *)sql.data, i == 3 ? files : NULL, err);
    }
    return code;
}
