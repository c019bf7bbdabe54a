/*
 * change_straddle.c - files with rows of later snapshots, in a catalog that is cut: listed, refused
 * where nobody can read them, and hidden once they were read (straddle.h).
 */
#include "source/ducklake/change_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- refusing ----------------------------------------------------------------------------- */

static void refuse(cb_lake_edit *edit, int64_t snapshot, int64_t table_id, const char *why)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *name = NULL;

    if (edit->code != CB_OK)
        return;
    if (cb_lake_table_name(edit->db, table_id, &arena, &name, edit->err) != CB_OK)
        cb_error_clear(edit->err);
    edit->code = cb_fail(edit->err, CB_UNSUPPORTED,
                         "snapshot %lld cannot be the newest: table %s has a file that was merged "
                         "or rewritten later and holds rows of later snapshots too%s",
                         (long long)snapshot, name != NULL ? name : "(unknown)", why);
    cb_hint(edit->err,
            "A backup that was taken before that merge can be cut there: `list` shows them. Or "
            "restore without --snapshot and read the tables AT (VERSION => %lld).",
            (long long)snapshot);
}

typedef struct partial_info {
    int64_t snapshot;
    int64_t table_id; /* out: -1 none */
} partial_info;

/* Spec 0.3 wrote "SNAPSHOT:ROWS|SNAPSHOT:ROWS" or "partial_max:SNAPSHOT". */
static cb_code look_at_info(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    partial_info *seen = arg;
    const char *at = cells[1].text;

    (void)count;
    (void)err;
    while (at != NULL && *at != '\0') {
        const char *colon = strchr(at, ':');
        const char *number = cb_has_prefix(at, "partial_max:") && colon != NULL ? colon + 1 : at;
        char *end;
        long long snapshot = strtoll(number, &end, 10);

        if (end == number || snapshot > seen->snapshot) { /* not understood is not trusted */
            seen->table_id = cells[0].text != NULL ? strtoll(cells[0].text, NULL, 10) : 0;
            return CB_OK;
        }
        at = strchr(at, '|');
        at = at != NULL ? at + 1 : NULL;
    }
    return CB_OK;
}

static void refuse_old(cb_lake_edit *edit, int64_t snapshot)
{
    partial_info info = {snapshot, -1};
    long long n = (long long)snapshot;
    char sql[256];

    if (edit->code != CB_OK || !cb_lake_edit_has(edit, "data_file", "partial_file_info"))
        return;
    snprintf(sql, sizeof(sql),
             "SELECT table_id, partial_file_info FROM {data_file} WHERE partial_file_info IS "
             "NOT NULL AND begin_snapshot <= %lld AND (end_snapshot IS NULL OR "
             "end_snapshot > %lld)",
             n, n);
    edit->code = cb_lake_db_query(edit->db, sql, look_at_info, &info, edit->err);
    if (info.table_id >= 0)
        refuse(edit, snapshot, info.table_id,
               ", and catalogs before spec 1.0 have no way to hide them");
}

/* Of 1.0 it is known how single rows are deleted in the catalog. */
static void refuse_unknown(cb_lake_edit *edit, const cb_lake_straddle *straddle)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *version = NULL;

    if (edit->code != CB_OK || straddle->count == 0)
        return;
    edit->code = cb_lake_db_text(edit->db, "SELECT value FROM {metadata} WHERE key = 'version'",
                                 &arena, &version, edit->err);
    if (edit->code == CB_OK && (version == NULL || strcmp(version, "1.0") != 0))
        refuse(edit, straddle->snapshot, straddle->files[0].table_id,
               ", and only in catalogs of spec 1.0 they can be hidden");
    for (size_t i = 0; edit->code == CB_OK && i < straddle->count; i++)
        if (!straddle->files[i].is_readable)
            refuse(edit, straddle->snapshot, straddle->files[i].table_id,
                   straddle->files[i].is_delete ? " (deletes, encrypted or as vectors)"
                                                : " (encrypted, or not Parquet)");
}

/* ---- listing ------------------------------------------------------------------------------ */

/* Valid at the snapshot, and with rows of later ones. */
#define STRADDLES                                                                                  \
    "partial_max > %lld AND begin_snapshot <= %lld AND "                                           \
    "(end_snapshot IS NULL OR end_snapshot > %lld)"

static cb_code take_file(cb_lake_straddle *straddle, bool is_delete, const cb_lake_cell *cells,
                         cb_error *err)
{
    cb_lake_straddler file = {.is_delete = is_delete, .records = -1};
    int64_t *const numbers[] = {&file.table_id, &file.id, &file.data_file_id, &file.records};
    const char *format = cells[4].text;
    bool is_parquet = format != NULL && strcmp(format, "parquet") == 0;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(numbers); i++)
        if (cells[i].text != NULL)
            code = cb_parse_i64(cells[i].text, numbers[i], err);
        else if (numbers[i] != &file.records)
            code = cb_fail(err, CB_CORRUPT, "a file in the catalog has no id");
    file.is_readable = is_parquet && (cells[5].text == NULL || cells[5].size == 0);
    if (code == CB_OK && straddle->count == straddle->capacity)
        code = cb_array_grow(&straddle->files, &straddle->capacity, sizeof(file), err);
    if (code == CB_OK)
        straddle->files[straddle->count++] = file;
    return code;
}

static cb_code take_data(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return take_file(arg, false, cells, err);
}

static cb_code take_delete(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return take_file(arg, true, cells, err);
}

static void list(cb_lake_edit *edit, cb_lake_straddle *straddle)
{
    long long n = (long long)straddle->snapshot;
    char sql[512];

    if (edit->code == CB_OK && cb_lake_edit_has(edit, "data_file", "partial_max")) {
        snprintf(sql, sizeof(sql),
                 "SELECT table_id, data_file_id, data_file_id, record_count, file_format, "
                 "encryption_key FROM {data_file} WHERE " STRADDLES,
                 n, n, n);
        edit->code = cb_lake_db_query(edit->db, sql, take_data, straddle, edit->err);
    }
    if (edit->code == CB_OK && cb_lake_edit_has(edit, "delete_file", "partial_max")) {
        snprintf(sql, sizeof(sql),
                 "SELECT table_id, delete_file_id, data_file_id, delete_count, format, "
                 "encryption_key FROM {delete_file} WHERE " STRADDLES,
                 n, n, n);
        edit->code = cb_lake_db_query(edit->db, sql, take_delete, straddle, edit->err);
    }
    if (edit->code == CB_OK && straddle->count > 0)
        qsort(straddle->files, straddle->count, sizeof(*straddle->files), cb_lake_straddle_order);
}

/* ---- hiding ------------------------------------------------------------------------------- */

static const char *const delete_columns[] = {"file_id", "row_id", "begin_snapshot"};

/* The table of single deletes, as DuckLake makes it on first use. A loader borrows it. */
typedef struct deletes_table {
    char name[64];
    cb_lake_column columns[CB_LENGTH(delete_columns)];
    cb_lake_table table;
} deletes_table;

static void open_deletes(cb_lake_edit *edit, int64_t table_id, deletes_table *d,
                         cb_lake_loader **out)
{
    const cb_lake_table *found;

    *d = (deletes_table){.table = {.column_count = CB_LENGTH(d->columns)}};
    d->table.name = d->name;
    d->table.columns = d->columns;
    snprintf(d->name, sizeof(d->name), "ducklake_inlined_delete_%lld", (long long)table_id);
    found = cb_lake_schema_find(edit->schema, d->name);
    for (size_t i = 0; i < CB_LENGTH(d->columns); i++) {
        d->columns[i] = (cb_lake_column){.name = delete_columns[i], .type = CB_LAKE_BIGINT};
        if (edit->code == CB_OK && found != NULL &&
            (found->column_count != CB_LENGTH(d->columns) ||
             strcmp(found->columns[i].name, delete_columns[i]) != 0))
            edit->code = cb_fail(edit->err, CB_UNSUPPORTED,
                                 "table '%s' of the catalog has other columns than known", d->name);
    }
    if (edit->code == CB_OK && found == NULL)
        edit->code = cb_lake_db_create(edit->db, &d->table, edit->err);
    if (edit->code == CB_OK)
        edit->code = cb_lake_loader_open(edit->db, &d->table, out, edit->err);
}

static void load_run(cb_lake_edit *edit, cb_lake_loader *loader, int64_t file_id,
                     const cb_lake_run *run)
{
    char texts[CB_LENGTH(delete_columns)][24];
    cb_lake_cell cells[CB_LENGTH(delete_columns)];

    for (int64_t at = run->from; edit->code == CB_OK && at <= run->to; at++) {
        const int64_t numbers[] = {file_id, at, run->began};

        for (size_t i = 0; i < CB_LENGTH(cells); i++) {
            int size = snprintf(texts[i], sizeof(texts[i]), "%lld", (long long)numbers[i]);

            cells[i] = (cb_lake_cell){texts[i], (size_t)size};
        }
        edit->code = cb_lake_loader_row(loader, cells, edit->err);
    }
}

static void loader_cleanup(cb_lake_loader **loader)
{
    cb_lake_loader_free(*loader);
}

/* Runs stand in the order of files, and these in that of tables. */
static void load_deletes(cb_lake_edit *edit, const cb_lake_straddle *straddle)
{
    for (size_t at = 0; edit->code == CB_OK && at < straddle->run_count;) {
        deletes_table deletes;
        CB_CLEANUP(loader_cleanup) cb_lake_loader *loader = NULL;
        int64_t table_id = straddle->files[straddle->runs[at].file].table_id;

        open_deletes(edit, table_id, &deletes, &loader);
        for (; edit->code == CB_OK && at < straddle->run_count; at++) {
            const cb_lake_straddler *file = &straddle->files[straddle->runs[at].file];

            if (file->table_id != table_id)
                break;
            load_run(edit, loader, file->data_file_id, &straddle->runs[at]);
        }
        if (edit->code == CB_OK)
            edit->code = cb_lake_loader_end(loader, edit->err);
    }
}

/* A delete file that is not named any more. */
static void schedule(cb_lake_edit *edit, const cb_lake_straddler *file, int64_t snapshot)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};

    if (edit->code != CB_OK || !file->is_delete ||
        !cb_lake_edit_has(edit, "files_scheduled_for_deletion", "path_is_relative"))
        return;
    edit->code = cb_buf_format(&sql, edit->err,
                               "INSERT INTO {files_scheduled_for_deletion} (data_file_id, path, "
                               "path_is_relative, schedule_start) SELECT %lld, ",
                               (long long)file->id);
    if (edit->code == CB_OK)
        edit->code = cb_lake_quote(&sql, file->path, edit->err);
    if (edit->code == CB_OK)
        edit->code = cb_buf_format(&sql, edit->err,
                                   ", %s, snapshot_time FROM {snapshot} WHERE snapshot_id = %lld",
                                   file->path_is_absolute ? "false" : "true", (long long)snapshot);
    if (edit->code == CB_OK)
        edit->code = cb_buf_u8(&sql, 0, edit->err);
    if (edit->code == CB_OK)
        edit->code = cb_lake_db_exec(edit->db, (const char *)sql.data, NULL, edit->err);
}

static void hide(cb_lake_edit *edit, const cb_lake_straddle *straddle)
{
    long long n = (long long)straddle->snapshot;
    uint64_t changed = 0;

    if (straddle->count == 0)
        return;
    load_deletes(edit, straddle);
    for (size_t i = 0; i < straddle->count; i++)
        schedule(edit, &straddle->files[i], straddle->snapshot);
    cb_lake_edit_run(edit, &changed, "UPDATE {data_file} SET partial_max = %lld WHERE " STRADDLES,
                     n, n, n, n);
    cb_lake_edit_run(edit, &changed, "DELETE FROM {delete_file} WHERE " STRADDLES, n, n, n);
    if (edit->code == CB_OK && changed != straddle->count)
        edit->code =
            cb_fail(edit->err, CB_INTERNAL,
                    "%llu files of the catalog have rows of later snapshots, %zu were read",
                    (unsigned long long)changed, straddle->count);
}

void cb_lake_edit_straddle(cb_lake_edit *edit, int64_t snapshot, cb_lake_straddle *straddle)
{
    CB_CLEANUP(cb_lake_straddle_free) cb_lake_straddle own = {.snapshot = snapshot};

    if (straddle != NULL && straddle->is_read) {
        hide(edit, straddle);
        return;
    }
    refuse_old(edit, snapshot);
    list(edit, &own);
    refuse_unknown(edit, &own);
    if (edit->code == CB_OK && straddle == NULL && own.count > 0)
        refuse(edit, snapshot, own.files[0].table_id, "");
    if (edit->code == CB_OK && straddle != NULL) {
        cb_lake_straddle_free(straddle);
        *straddle = own;
        own = (cb_lake_straddle){0};
    }
}
