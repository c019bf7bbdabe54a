/*
 * straddle.c - which positions of a file are of which snapshot, by DuckDB's own reading of it.
 */
#include "source/ducklake/straddle.h"

#include "base/array.h"
#include "base/text.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/bucket.h"
#include "source/ducklake/extension_internal.h"

#include <stdio.h>
#include <stdlib.h>

void cb_lake_straddle_free(cb_lake_straddle *straddle)
{
    free(straddle->files);
    free(straddle->runs);
    cb_arena_free(&straddle->arena);
    *straddle = (cb_lake_straddle){0};
}

int cb_lake_straddle_order(const void *a, const void *b)
{
    const cb_lake_straddler *x = a;
    const cb_lake_straddler *y = b;

    if (x->table_id != y->table_id)
        return x->table_id < y->table_id ? -1 : 1;
    if (x->is_delete != y->is_delete)
        return x->is_delete ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

cb_code cb_lake_straddle_check(cb_ctx *ctx, const cb_lake_straddle *straddle, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    cb_code code = CB_OK;

    if (straddle->count > 0)
        code = cb_lake_engine_start(ctx, NULL, NULL, &engine, err);
    return code == CB_OK
               ? CB_OK
               : cb_context(err,
                            "snapshot %lld cannot be the newest without DuckDB: %zu files hold "
                            "rows of later snapshots too, and it finds them",
                            (long long)straddle->snapshot, straddle->count);
}

/* ---- where they are ----------------------------------------------------------------------- */

typedef struct placing {
    cb_lake_straddle *straddle;
    const char *data_path;
} placing;

static cb_code place_file(void *arg, const cb_lake_file *file, cb_error *err)
{
    const placing *p = arg;
    cb_lake_straddle *straddle = p->straddle;
    bool is_delete = file->kind == CB_LAKE_FILE_DELETE || file->kind == CB_LAKE_FILE_PUFFIN;
    cb_lake_straddler key = {.table_id = file->table_id, .id = file->id, .is_delete = is_delete};
    cb_lake_straddler *found;
    cb_code code;

    if (file->kind == CB_LAKE_FILE_SCHEDULED || straddle->count == 0)
        return CB_OK;
    found = bsearch(&key, straddle->files, straddle->count, sizeof(key), cb_lake_straddle_order);
    if (found == NULL || found->item != NULL)
        return CB_OK;
    found->path_is_absolute = !cb_has_prefix(file->url, p->data_path);
    code = cb_arena_text(&straddle->arena,
                         file->url + (found->path_is_absolute ? 0 : strlen(p->data_path)),
                         &found->path, err);
    return code == CB_OK ? cb_arena_text(&straddle->arena, file->item, &found->item, err) : code;
}

cb_code cb_lake_straddle_place(cb_lake_straddle *straddle, cb_lake_db *db,
                               const cb_lake_schema *schema, const cb_lake_info *info,
                               cb_error *err)
{
    placing p = {straddle, info->data_path};
    cb_lake_straddler *file = straddle->files;
    cb_code code = CB_OK;

    if (straddle->count > 0)
        code = cb_lake_files_visit(db, schema, info, place_file, &p, err);
    for (size_t i = 0; code == CB_OK && i < straddle->count; i++, file++) {
        if (file->item == NULL)
            code = cb_fail(err, CB_CORRUPT, "file %lld of the catalog has no place",
                           (long long)file->id);
        else if (i > 0 && file[-1].table_id == file->table_id)
            file->table = file[-1].table;
        else
            code = cb_lake_table_name(db, file->table_id, &straddle->arena, &file->table, err);
    }
    return code;
}

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct reading {
    cb_ctx *ctx;
    cb_lake_straddle *straddle;
    cb_lake_engine *engine;
    const char *hint;
    char bucket[256]; /* whose credentials the engine has got last */
    size_t file;
    const char *url;
    int64_t rows, numbered;
} reading;

static cb_code parse(const char *const *cells, size_t count, int64_t *const *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < count; i++)
        code = cells[i] != NULL ? cb_parse_i64(cells[i], out[i], err)
                                : cb_fail(err, CB_CORRUPT, "a row has no position");
    return code;
}

static cb_code note_counts(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    reading *r = arg;

    (void)count;
    return parse(cells, 2, (int64_t *const[]){&r->rows, &r->numbered}, err);
}

static cb_code note_run(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    cb_lake_straddle *straddle = r->straddle;
    cb_lake_run run = {.file = r->file};
    cb_code code = parse(cells, 3, (int64_t *const[]){&run.from, &run.to, &run.began}, err);

    (void)count;
    if (code == CB_OK && (run.from < 0 || run.to < run.from || run.began < 0))
        code = cb_fail(err, CB_CORRUPT, "it deletes what cannot be a row");
    if (code == CB_OK && straddle->run_count == CB_LAKE_RUNS_MAX)
        code = cb_fail(err, CB_TOO_LARGE,
                       "rows of later snapshots are scattered over more than "
                       "%d places",
                       (int)CB_LAKE_RUNS_MAX);
    if (code == CB_OK && straddle->run_count == straddle->run_capacity)
        code = cb_array_grow(&straddle->runs, &straddle->run_capacity, sizeof(run), err);
    if (code == CB_OK)
        straddle->runs[straddle->run_count++] = run;
    return code;
}

/* "scheme://bucket", once for files of the same one. */
static cb_code allow(reading *r, cb_error *err)
{
    size_t size = cb_lake_bucket_size(r->url);
    cb_code code;

    if (size == 0)
        return CB_OK;
    if (size < sizeof(r->bucket) && strncmp(r->bucket, r->url, size) == 0 &&
        r->bucket[size] == '\0')
        return CB_OK;
    code = cb_lake_engine_allow(r->engine, r->url, r->hint, err);
    r->bucket[0] = '\0';
    if (code == CB_OK && size < sizeof(r->bucket)) {
        memcpy(r->bucket, r->url, size);
        r->bucket[size] = '\0';
    }
    return code;
}

/* `f`: each row's position, the snapshot that wrote it, and the one it is deleted since. */
static cb_code ask(reading *r, const char *question, cb_lake_engine_row *visit, cb_error *err)
{
    const cb_lake_straddler *file = &r->straddle->files[r->file];
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(
        &sql, err, "WITH f AS (SELECT %s AS pos, \"_ducklake_internal_snapshot_id\" AS sid, ",
        file->is_delete ? "pos" : "file_row_number");

    if (code == CB_OK && file->is_delete)
        code = cb_buf_format(&sql, err, "sid AS began FROM read_parquet(");
    else if (code == CB_OK)
        code = cb_buf_format(&sql, err, "%lld AS began FROM read_parquet(",
                             (long long)r->straddle->snapshot);
    if (code == CB_OK)
        code = cb_duck_quote(&sql, '\'', r->url, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, ", hive_partitioning = false%s)) %s",
                             file->is_delete ? "" : ", file_row_number = true", question);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_lake_engine_query(r->engine, (const char *)sql.data, visit, r, err)
                         : code;
}

static cb_code read_runs(reading *r, cb_error *err)
{
    const cb_lake_straddler *file = &r->straddle->files[r->file];
    char question[256];

    /* Of positions without gaps the difference to their number stays the same. */
    snprintf(question, sizeof(question),
             "SELECT min(pos), max(pos), began FROM (SELECT pos, began, row_number() OVER "
             "(PARTITION BY began ORDER BY pos) AS n FROM (SELECT DISTINCT pos, began FROM f "
             "WHERE sid %s %lld)) GROUP BY began, pos - n ORDER BY 1",
             file->is_delete ? "<=" : ">", (long long)r->straddle->snapshot);
    return ask(r, question, note_run, err);
}

static cb_code read_file(reading *r, cb_error *err)
{
    const cb_lake_straddler *file = &r->straddle->files[r->file];
    cb_code code = allow(r, err);

    if (code == CB_OK)
        code = ask(r, "SELECT count(*), count(sid) FROM f", note_counts, err);
    if (code != CB_OK && strstr(err->message, "_ducklake_internal_snapshot_id") != NULL) {
        cb_error_clear(err);
        code = cb_fail(err, CB_UNSUPPORTED, "it does not say which rows are of which snapshot");
    }
    if (code == CB_OK && r->numbered != r->rows)
        code = cb_fail(err, CB_UNSUPPORTED, "some of its rows have no snapshot");
    if (code == CB_OK && file->records >= 0 && file->records != r->rows)
        code = cb_fail(err, CB_CORRUPT, "it has %lld rows, the catalog says %lld",
                       (long long)r->rows, (long long)file->records);
    return code == CB_OK ? read_runs(r, err) : code;
}

cb_code cb_lake_straddle_read(cb_ctx *ctx, cb_lake_straddle *straddle, cb_lake_straddle_url *url,
                              void *arg, const char *hint, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    reading r = {.ctx = ctx, .straddle = straddle, .hint = hint};
    cb_code code;

    if (straddle->count == 0)
        return CB_OK;
    code = cb_lake_engine_start(ctx, NULL, NULL, &engine, err);
    r.engine = engine;
    for (r.file = 0; code == CB_OK && r.file < straddle->count; r.file++) {
        CB_CLEANUP(cb_buf_free) cb_buf at = {0};

        code = url(arg, straddle->files[r.file].item, &at, err);
        r.url = (const char *)at.data;
        if (code == CB_OK)
            code = read_file(&r, err);
        if (code != CB_OK && code != CB_CANCELLED)
            cb_context(err, "rows of later snapshots in table %s, file '%.300s'",
                       straddle->files[r.file].table, straddle->files[r.file].item);
    }
    if (code != CB_OK)
        return code;
    straddle->is_read = true;
    cb_event_text(ctx, CB_EVENT_INFO,
                  "%zu files hold rows of later snapshots too: these are marked as deleted",
                  straddle->count);
    return CB_OK;
}
