/*
 * change.c - what is done to a copy of a catalog before it becomes a live one: paths, and the steps
 * that cutting to a snapshot (change_cut.c) and to some tables (change_tables.c) have in common.
 *
 * The statements are of the kind that all three databases understand. Tables and columns that a
 * version of the specification does not have yet, or has no longer, are passed over.
 */
#include "source/ducklake/change_internal.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- an edit ------------------------------------------------------------------------------ */

void cb_lake_inlined_of(const cb_lake_table *table, cb_lake_inlined *out)
{
    static const char data[] = "ducklake_inlined_data_";
    static const char deletes[] = "ducklake_inlined_delete_";
    long long id, version;
    int length = 0;

    *out = (cb_lake_inlined){.schema_version = -1};
    if (cb_has_prefix(table->name, deletes)) {
        out->is_delete = out->is_inlined =
            sscanf(table->name + sizeof(deletes) - 1, "%lld%n", &id, &length) == 1 &&
            table->name[sizeof(deletes) - 1 + (size_t)length] == '\0';
    } else if (cb_has_prefix(table->name, data)) {
        out->is_inlined =
            sscanf(table->name + sizeof(data) - 1, "%lld_%lld%n", &id, &version, &length) == 2 &&
            table->name[sizeof(data) - 1 + (size_t)length] == '\0';
        if (out->is_inlined)
            out->schema_version = version;
    }
    if (!out->is_inlined)
        return;
    out->table_id = id;
    if (cb_lake_table_has(table, "_ducklake_begin_snapshot"))
        out->begin = "_ducklake_begin_snapshot";
    else if (cb_lake_table_has(table, "begin_snapshot"))
        out->begin = "begin_snapshot";
    if (cb_lake_table_has(table, "_ducklake_end_snapshot"))
        out->end = "_ducklake_end_snapshot";
    else if (!out->is_delete && cb_lake_table_has(table, "end_snapshot"))
        out->end = "end_snapshot";
}

bool cb_lake_edit_has(const cb_lake_edit *edit, const char *table, const char *column)
{
    const cb_lake_table *found;
    char name[128];

    snprintf(name, sizeof(name), "ducklake_%s", table);
    found = cb_lake_schema_find(edit->schema, name);
    return found != NULL && !edit->is_dropped[found - edit->schema->tables] &&
           cb_lake_table_has(found, column);
}

static cb_code render(cb_buf *sql, cb_error *err, const char *format, va_list args)
{
    va_list again;
    int size;
    cb_code code;

    va_copy(again, args);
    size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (size < 0)
        return cb_fail(err, CB_INTERNAL, "a statement cannot be written");
    code = cb_buf_reserve(sql, (size_t)size + 1, err);
    if (code == CB_OK)
        vsnprintf((char *)sql->data, (size_t)size + 1, format, args);
    return code;
}

void cb_lake_edit_run(cb_lake_edit *edit, uint64_t *count, const char *format, ...)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    uint64_t changed = 0;
    va_list args;

    if (edit->code != CB_OK)
        return;
    va_start(args, format);
    edit->code = render(&sql, edit->err, format, args);
    va_end(args);
    if (edit->code == CB_OK)
        edit->code = cb_lake_db_exec(edit->db, (const char *)sql.data, &changed, edit->err);
    if (count != NULL)
        *count += changed;
}

int64_t cb_lake_edit_number(cb_lake_edit *edit, int64_t fallback, const char *format, ...)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    int64_t number = fallback;
    va_list args;

    if (edit->code != CB_OK)
        return fallback;
    va_start(args, format);
    edit->code = render(&sql, edit->err, format, args);
    va_end(args);
    if (edit->code == CB_OK)
        edit->code =
            cb_lake_db_number(edit->db, (const char *)sql.data, fallback, &number, edit->err);
    return number;
}

void cb_lake_edit_drop(cb_lake_edit *edit, size_t table)
{
    if (edit->is_dropped[table])
        return;
    edit->is_dropped[table] = true;
    cb_lake_edit_run(edit, NULL, "DROP TABLE {%s}",
                     edit->schema->tables[table].name + strlen("ducklake_"));
}

static void sweep(cb_lake_edit *edit, const char *table, const char *column, const char *owner)
{
    if (cb_lake_edit_has(edit, table, column) && cb_lake_edit_has(edit, owner, column))
        cb_lake_edit_run(edit, NULL,
                         "DELETE FROM {%s} WHERE %s IS NOT NULL AND %s NOT IN "
                         "(SELECT %s FROM {%s} WHERE %s IS NOT NULL)",
                         table, column, column, column, owner, column);
}

static void sweep_options(cb_lake_edit *edit, const char *scope, const char *owner,
                          const char *column)
{
    if (cb_lake_edit_has(edit, "metadata", "scope_id"))
        cb_lake_edit_run(edit, NULL,
                         "DELETE FROM {metadata} WHERE scope = '%s' AND scope_id NOT IN "
                         "(SELECT %s FROM {%s})",
                         scope, column, owner);
}

void cb_lake_edit_sweep(cb_lake_edit *edit)
{
    static const char *const of_table[] = {
        "table_stats",    "table_column_stats", "partition_info",      "sort_info",
        "column_mapping", "column_tag",         "inlined_data_tables", "schema_versions",
    };

    for (size_t i = 0; i < CB_LENGTH(of_table); i++)
        sweep(edit, of_table[i], "table_id", "table");
    sweep(edit, "partition_column", "partition_id", "partition_info");
    sweep(edit, "sort_expression", "sort_id", "sort_info");
    sweep(edit, "name_mapping", "mapping_id", "column_mapping");
    sweep(edit, "macro_impl", "macro_id", "macro");
    sweep(edit, "macro_parameters", "macro_id", "macro");
    sweep_options(edit, "table", "table", "table_id");
    sweep_options(edit, "schema", "schema", "schema_id");
}

/* ---- paths -------------------------------------------------------------------------------- */

/* What substr counts: code points. */
static size_t count_characters(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* "substr(path, 1, 5) = '/old/'" */
static cb_code put_test(cb_buf *sql, const char *from, cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "substr(path, 1, %zu) = ", count_characters(from));

    return code == CB_OK ? cb_lake_quote(sql, from, err) : code;
}

/* One statement for all prefixes: what one of them made is not to be seen by the next. */
static cb_code put_rewrite(cb_buf *sql, const char *table, const cb_lake_changes *changes,
                           cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "UPDATE {%s} SET path = CASE", table);

    for (size_t i = 0; code == CB_OK && i < changes->prefix_count; i++) {
        code = cb_buf_format(sql, err, " WHEN ");
        if (code == CB_OK)
            code = put_test(sql, changes->prefixes[i].from, err);
        if (code == CB_OK)
            code = cb_buf_format(sql, err, " THEN ");
        if (code == CB_OK)
            code = cb_lake_quote(sql, changes->prefixes[i].to, err);
        if (code == CB_OK)
            code = cb_buf_format(sql, err, " || substr(path, %zu)",
                                 count_characters(changes->prefixes[i].from) + 1);
    }
    if (code == CB_OK)
        code = cb_buf_format(sql, err,
                             " ELSE path END WHERE CAST(path_is_relative AS INTEGER) = 0 AND (");
    for (size_t i = 0; code == CB_OK && i < changes->prefix_count; i++) {
        code = cb_buf_format(sql, err, "%s", i == 0 ? "" : " OR ");
        if (code == CB_OK)
            code = put_test(sql, changes->prefixes[i].from, err);
    }
    return code == CB_OK ? cb_buf_append(sql, ")", 2, err) : code;
}

static void rewrite_paths(cb_lake_edit *edit, const cb_lake_changes *changes)
{
    static const char *const tables[] = {"schema", "table", "data_file", "delete_file",
                                         "files_scheduled_for_deletion"};

    for (size_t i = 0; edit->code == CB_OK && i < CB_LENGTH(tables); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
        uint64_t changed = 0;

        if (!cb_lake_edit_has(edit, tables[i], "path_is_relative"))
            continue;
        edit->code = put_rewrite(&sql, tables[i], changes, edit->err);
        if (edit->code == CB_OK)
            edit->code = cb_lake_db_exec(edit->db, (const char *)sql.data, &changed, edit->err);
        edit->counts->paths += changed;
    }
}

static void set_data_path(cb_lake_edit *edit, const char *data_path)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    uint64_t changed = 0;

    if (edit->code != CB_OK)
        return;
    edit->code = cb_buf_format(&sql, edit->err, "UPDATE {metadata} SET \"value\" = ");
    if (edit->code == CB_OK)
        edit->code = cb_lake_quote(&sql, data_path, edit->err);
    if (edit->code == CB_OK)
        edit->code = cb_buf_format(
            &sql, edit->err, " WHERE \"key\" = 'data_path'%s",
            cb_lake_edit_has(edit, "metadata", "scope") ? " AND \"scope\" IS NULL" : "");
    if (edit->code == CB_OK)
        edit->code = cb_lake_db_exec(edit->db, (const char *)sql.data, &changed, edit->err);
    if (edit->code == CB_OK && changed == 0)
        edit->code = cb_fail(edit->err, CB_CORRUPT, "the catalog has no data path to change");
}

cb_code cb_lake_change(cb_lake_db *db, const cb_lake_schema *schema, const cb_lake_changes *changes,
                       cb_lake_changed *out, cb_error *err)
{
    cb_lake_edit edit = {.db = db, .schema = schema, .counts = out, .err = err};

    *out = (cb_lake_changed){0};
    edit.is_dropped = calloc(schema->count + 1, sizeof(*edit.is_dropped));
    if (edit.is_dropped == NULL)
        return cb_fail_memory(err, schema->count + 1);
    if (changes->cut)
        cb_lake_edit_cut(&edit, changes->snapshot);
    if (changes->table_count > 0)
        cb_lake_edit_tables(&edit, changes->tables, changes->table_count);
    if (changes->cut) /* of the tables that stayed */
        cb_lake_edit_straddle(&edit, changes->snapshot, changes->straddle);
    if (changes->prefix_count > 0)
        rewrite_paths(&edit, changes);
    if (changes->data_path != NULL)
        set_data_path(&edit, changes->data_path);
    free(edit.is_dropped);
    return edit.code;
}
