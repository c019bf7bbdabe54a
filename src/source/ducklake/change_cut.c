/*
 * change_cut.c - a catalog as if nothing had been committed after snapshot N.
 *
 * Rows that began later go, rows that ended later are open again, and what hangs on a row that went
 * goes with it. Ids that later commits gave out are not given out again: next_catalog_id and
 * next_file_id of N are raised to what they had become; next_row_id is not touched. Statistics of
 * tables stay: as bounds they are right for fewer rows as well, but for columns of another type.
 *
 * Files that hold rows of snapshots up to N and of later ones are another matter:
 * change_straddle.c.
 */
#include "source/ducklake/change_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- may it be cut? ----------------------------------------------------------------------- */

static void require_snapshot(cb_lake_edit *edit, int64_t snapshot)
{
    int64_t newest, oldest;

    if (cb_lake_edit_number(edit, 0, "SELECT count(*) FROM {snapshot} WHERE snapshot_id = %lld",
                            (long long)snapshot) > 0)
        return;
    oldest = cb_lake_edit_number(edit, -1, "SELECT min(snapshot_id) FROM {snapshot}");
    newest = cb_lake_edit_number(edit, -1, "SELECT max(snapshot_id) FROM {snapshot}");
    if (edit->code != CB_OK)
        return;
    edit->code =
        cb_fail(edit->err, CB_NOT_FOUND, "this catalog has no snapshot %lld", (long long)snapshot);
    cb_hint(edit->err, "It has snapshots from %lld to %lld, less those that had expired.",
            (long long)oldest, (long long)newest);
}

/* ---- cutting ------------------------------------------------------------------------------ */

/* What belongs to data files that are about to go. */
static void drop_file_details(cb_lake_edit *edit, long long n)
{
    static const char *const tables[] = {"file_column_stats", "file_column_statistics",
                                         "file_variant_stats", "file_partition_value",
                                         "delete_file"};
    uint64_t *removed = &edit->counts->files_removed;

    for (size_t i = 0; i < CB_LENGTH(tables); i++)
        if (cb_lake_edit_has(edit, tables[i], "data_file_id"))
            cb_lake_edit_run(edit, strcmp(tables[i], "delete_file") == 0 ? removed : NULL,
                             "DELETE FROM {%s} WHERE data_file_id IN "
                             "(SELECT data_file_id FROM {data_file} WHERE begin_snapshot > %lld)",
                             tables[i], n);
    for (size_t i = 0; i < edit->schema->count; i++) {
        cb_lake_inlined inlined;

        cb_lake_inlined_of(&edit->schema->tables[i], &inlined);
        if (inlined.is_delete && cb_lake_table_has(&edit->schema->tables[i], "file_id"))
            cb_lake_edit_run(edit, NULL,
                             "DELETE FROM {%s} WHERE file_id IN "
                             "(SELECT data_file_id FROM {data_file} WHERE begin_snapshot > %lld)",
                             edit->schema->tables[i].name + strlen("ducklake_"), n);
    }
}

/* An inlined table of a later schema would meet the one that DuckLake makes when its commits reach
   that number again. */
static void drop_later_inlined(cb_lake_edit *edit, long long n)
{
    int64_t version = cb_lake_edit_number(
        edit, INT64_MAX, "SELECT schema_version FROM {snapshot} WHERE snapshot_id = %lld", n);

    for (size_t i = 0; edit->code == CB_OK && i < edit->schema->count; i++) {
        cb_lake_inlined inlined;

        cb_lake_inlined_of(&edit->schema->tables[i], &inlined);
        if (inlined.is_inlined && !inlined.is_delete && inlined.schema_version > version)
            cb_lake_edit_drop(edit, i);
    }
    if (cb_lake_edit_has(edit, "inlined_data_tables", "schema_version"))
        cb_lake_edit_run(edit, NULL,
                         "DELETE FROM {inlined_data_tables} WHERE schema_version > %lld",
                         (long long)version);
}

static void cut_table(cb_lake_edit *edit, const cb_lake_table *table, long long n)
{
    const char *name = table->name + strlen("ducklake_");
    bool is_file = strcmp(name, "data_file") == 0 || strcmp(name, "delete_file") == 0;
    const char *begin = cb_lake_table_has(table, "begin_snapshot") ? "begin_snapshot" : NULL;
    const char *end = cb_lake_table_has(table, "end_snapshot") ? "end_snapshot" : NULL;
    cb_lake_inlined inlined;

    cb_lake_inlined_of(table, &inlined);
    if (inlined.is_inlined) {
        begin = inlined.begin;
        end = inlined.end;
    }
    if (begin != NULL)
        cb_lake_edit_run(edit, is_file ? &edit->counts->files_removed : NULL,
                         "DELETE FROM {%s} WHERE %s > %lld", name, begin, n);
    if (end != NULL)
        cb_lake_edit_run(edit, NULL, "UPDATE {%s} SET %s = NULL WHERE %s > %lld", name, end, end,
                         n);
}

/* Bounds of a column that changed later may not be values of the type that it had: DuckLake would
   refuse to read the table. Without bounds it reads all of it. */
static void forget_bounds(cb_lake_edit *edit, long long n)
{
    if (cb_lake_edit_has(edit, "table_column_stats", "max_value"))
        cb_lake_edit_run(edit, NULL,
                         "UPDATE {table_column_stats} SET min_value = NULL, max_value = NULL "
                         "WHERE (table_id, column_id) IN "
                         "(SELECT table_id, column_id FROM {column} WHERE begin_snapshot > %lld)",
                         n);
}

/* Deletes of a table that is gone. Empty ones of others stay: DuckLake makes them on first use and
   takes one that is there. */
static void drop_lost_inlined(cb_lake_edit *edit)
{
    for (size_t i = 0; edit->code == CB_OK && i < edit->schema->count; i++) {
        cb_lake_inlined inlined;

        cb_lake_inlined_of(&edit->schema->tables[i], &inlined);
        if (inlined.is_inlined && !edit->is_dropped[i] &&
            cb_lake_edit_number(edit, 0, "SELECT count(*) FROM {table} WHERE table_id = %lld",
                                (long long)inlined.table_id) == 0 &&
            edit->code == CB_OK)
            cb_lake_edit_drop(edit, i);
    }
}

/* A file that the cut catalog names again must not be deleted by the next cleanup. */
static void clear_schedule(cb_lake_edit *edit)
{
    if (cb_lake_edit_has(edit, "files_scheduled_for_deletion", "data_file_id"))
        cb_lake_edit_run(edit, NULL,
                         "DELETE FROM {files_scheduled_for_deletion} WHERE data_file_id IN "
                         "(SELECT data_file_id FROM {data_file} UNION ALL "
                         "SELECT delete_file_id FROM {delete_file})");
}

void cb_lake_edit_cut(cb_lake_edit *edit, int64_t snapshot)
{
    long long n = (long long)snapshot;
    int64_t tables, next_catalog, next_file;

    require_snapshot(edit, snapshot);
    if (cb_lake_edit_number(edit, snapshot, "SELECT max(snapshot_id) FROM {snapshot}") == snapshot)
        return;
    tables = cb_lake_edit_number(edit, 0, "SELECT count(DISTINCT table_id) FROM {table}");
    next_catalog = cb_lake_edit_number(edit, 0, "SELECT max(next_catalog_id) FROM {snapshot}");
    next_file = cb_lake_edit_number(edit, 0, "SELECT max(next_file_id) FROM {snapshot}");
    forget_bounds(edit, n);
    drop_file_details(edit, n);
    drop_later_inlined(edit, n);
    for (size_t i = 0; i < edit->schema->count; i++)
        if (!edit->is_dropped[i])
            cut_table(edit, &edit->schema->tables[i], n);
    cb_lake_edit_run(edit, &edit->counts->snapshots_removed,
                     "DELETE FROM {snapshot} WHERE snapshot_id > %lld", n);
    cb_lake_edit_run(edit, NULL, "DELETE FROM {snapshot_changes} WHERE snapshot_id > %lld", n);
    cb_lake_edit_run(edit, NULL,
                     "UPDATE {snapshot} SET next_catalog_id = %lld, next_file_id = %lld "
                     "WHERE snapshot_id = %lld",
                     (long long)next_catalog, (long long)next_file, n);
    drop_lost_inlined(edit);
    cb_lake_edit_sweep(edit);
    clear_schedule(edit);
    edit->counts->tables_removed +=
        (uint64_t)(tables - cb_lake_edit_number(edit, tables,
                                                "SELECT count(DISTINCT table_id) FROM {table}"));
}
