/*
 * target_place.c - where the files of a restored lake go, and which of them are wanted.
 *
 * Without --data-path the files go where the backup's catalog says; a path that is relative there
 * is so to the catalog, wherever that is now. With it, what lay below the old data path goes below
 * the new one, and what lay elsewhere to NEW/outside/...: the catalog's absolute paths are
 * rewritten, one prefix at a time, so that both come to the same URL.
 */
#include "source/ducklake/target_internal.h"

#include "base/text.h"
#include "base/time.h"
#include "source/ducklake/catalog_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- before the catalog is there ---------------------------------------------------------- */

static bool folder_has_anything(const char *path)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = opendir(path);
    const struct dirent *entry;

    if (folder == NULL)
        return false;
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return true;
    return false;
}

cb_code cb_lake_target_ledger(cb_lake_target *t, cb_error *err)
{
    return t->ledger != NULL ? CB_OK : cb_ledger_open(t->ctx, t->folder.path, &t->ledger, err);
}

static cb_code set_data_path(cb_lake_target *t, const char *given, const char *stored,
                             cb_error *err)
{
    cb_lake_info info = {.stored_data_path = stored};
    cb_code code = cb_lake_info_place(&t->address, given, &t->arena, &info, err);

    if (code == CB_OK &&
        snprintf(t->data_path, sizeof(t->data_path), "%s", info.data_path) >= CB_PATH_MAX)
        code = cb_fail(err, CB_TOO_LARGE, "the data path '%.100s' is too long", info.data_path);
    if (code == CB_OK && cb_lake_path_climbs(t->data_path) && !cb_lake_url_is_remote(t->data_path))
        code = cb_fail(err, CB_USAGE, "the data path '%.200s' has a part '..'", t->data_path);
    t->is_moved = strcmp(t->data_path, t->was.data_path) != 0;
    return code;
}

const char *cb_lake_target_given(const cb_lake_target *t)
{
    if (t->lake.data_path != NULL)
        return t->lake.data_path;
    return t->was.mode == CB_LAKE_DATA_REPLICA ? t->was.replica : NULL;
}

/* Only where files are put: one that a backup merely refers to has lost them with its bucket. */
static bool puts_files(const cb_lake_target *t)
{
    return !t->options.look_only &&
           (t->was.mode == CB_LAKE_DATA_COPY || (t->lake.data_path != NULL && t->is_moved));
}

/* Its bucket may be what was lost: it is made as a folder would be. */
static cb_code make_bucket(cb_lake_target *t, cb_error *err)
{
    cb_error missing = *err;
    cb_code code;

    cb_error_clear(err);
    code = cb_lake_files_make_bucket(t->files, t->data_path, err);
    if (code == CB_UNSUPPORTED) {
        *err = missing;
        return missing.code;
    }
    if (code == CB_OK)
        cb_event_text(t->ctx, CB_EVENT_WARNING,
                      "the bucket of '%s' was not there, and was made: versioning, locks and "
                      "rights are settings of a bucket, and in no backup",
                      t->data_path);
    return code;
}

/* One listing instead of a question for each file. */
static cb_code list_objects(cb_lake_target *t, cb_error *err)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    cb_code code = cb_lake_target_ledger(t, err);

    if (code == CB_OK)
        code = cb_lake_files_list(t->files, t->data_path, t->data_path, t->ledger, CB_LEDGER_FOUND,
                                  err);
    if (code == CB_NOT_FOUND && puts_files(t))
        code = make_bucket(t, err);
    if (code == CB_OK)
        code = cb_ledger_count(t->ledger, CB_LEDGER_FOUND, &count, &bytes, err);
    t->is_listed = code == CB_OK;
    t->base.in_place = count > 0;
    return code;
}

cb_code cb_lake_target_expect(cb_lake_target *t, cb_error *err)
{
    cb_code code = cb_lake_files_open(t->ctx, cb_lake_target_given(t), &t->files, err);

    if (code == CB_OK)
        code = set_data_path(t, cb_lake_target_given(t), t->was.data_path, err);
    if (code != CB_OK)
        return code;
    if (cb_lake_url_is_remote(t->data_path))
        return list_objects(t, err);
    t->base.in_place = folder_has_anything(t->data_path);
    return CB_OK;
}

/* ---- prefixes ----------------------------------------------------------------------------- */

static cb_code add_prefix(cb_lake_target *t, cb_error *err, const char *from, const char *format,
                          ...) CB_PRINTF(4, 5);
static cb_code add_prefix(cb_lake_target *t, cb_error *err, const char *from, const char *format,
                          ...)
{
    struct cb_lake_prefix *prefix = &t->prefixes[t->prefix_count];
    char to[2 * CB_PATH_MAX];
    va_list args;
    cb_code code;

    for (size_t i = 0; i < t->prefix_count; i++)
        if (strcmp(t->prefixes[i].from, from) == 0)
            return CB_OK;
    if (t->prefix_count == CB_LAKE_PREFIXES)
        return cb_fail(err, CB_TOO_LARGE, "the lake's files are in too many kinds of stores");
    va_start(args, format);
    vsnprintf(to, sizeof(to), format, args);
    va_end(args);
    code = cb_arena_text(&t->arena, from, &prefix->from, err);
    if (code == CB_OK)
        code = cb_arena_text(&t->arena, to, &prefix->to, err);
    if (code == CB_OK)
        t->prefix_count++;
    return code;
}

static cb_code move_data(cb_lake_target *t, cb_error *err)
{
    char spelled[CB_PATH_MAX + 16];
    cb_code code = add_prefix(t, err, t->was.data_path, "%s", t->data_path);

    if (code == CB_OK && t->was.data_path[0] == '/') {
        snprintf(spelled, sizeof(spelled), "file://%s", t->was.data_path);
        code = add_prefix(t, err, spelled, "%s", t->data_path);
    }
    return code;
}

/* A file elsewhere: its scheme's prefix, and where that brings it. */
static cb_code map_outside(cb_lake_target *t, const char *url, cb_buf *out, cb_error *err)
{
    size_t scheme = cb_lake_scheme_length(url);
    char from[64];
    cb_code code;

    if (scheme == 0) {
        code = add_prefix(t, err, "/", "%soutside/file/", t->data_path);
        if (code == CB_OK)
            code = add_prefix(t, err, "file:///", "%soutside/file/", t->data_path);
        return code == CB_OK ? cb_buf_format(out, err, "%soutside/file/%s", t->data_path, url + 1)
                             : code;
    }
    if (scheme > sizeof(from) - 8)
        return cb_fail(err, CB_CORRUPT, "'%.60s' has no scheme that could be", url);
    snprintf(from, sizeof(from), "%.*s://", (int)scheme, url);
    code = add_prefix(t, err, from, "%soutside/%.*s/", t->data_path, (int)scheme, url);
    return code == CB_OK ? cb_buf_format(out, err, "%soutside/%.*s/%s", t->data_path, (int)scheme,
                                         url, url + scheme + 3)
                         : code;
}

cb_code cb_lake_target_url(cb_lake_target *t, const char *item, cb_buf *out, cb_error *err)
{
    bool is_outside = cb_has_prefix(item, "outside/");
    CB_CLEANUP(cb_buf_free) cb_buf was = {0};
    cb_code code;

    if (is_outside && t->maps_outside) {
        code = cb_lake_url_of(t->was.data_path, item, &was, err);
        if (code == CB_OK)
            code = cb_lake_terminate(&was, err);
        if (code == CB_OK)
            code = map_outside(t, (const char *)was.data, out, err);
    } else {
        code = cb_lake_url_of(t->data_path, item, out, err);
    }
    if (code == CB_OK)
        code = cb_lake_terminate(out, err);
    /* Items come from a repository: one that climbs could be written anywhere. */
    if (code == CB_OK && cb_lake_path_climbs((const char *)out->data))
        code = cb_fail(err, CB_CORRUPT, "the item '%.200s' leads out of its place", item);
    return code;
}

/* ---- what the catalog says ---------------------------------------------------------------- */

static cb_code read_stored_path(cb_lake_target *t, cb_lake_db *db, const cb_lake_schema *schema,
                                const char **out, cb_error *err)
{
    const cb_lake_table *metadata = cb_lake_schema_find(schema, "ducklake_metadata");
    bool has_scope = metadata != NULL && cb_lake_table_has(metadata, "scope");
    char sql[160];

    snprintf(sql, sizeof(sql),
             "SELECT max(\"value\") FROM {metadata} WHERE \"key\" = 'data_path'%s",
             has_scope ? " AND \"scope\" IS NULL" : "");
    return cb_lake_db_text(db, sql, &t->arena, out, err);
}

typedef struct newest {
    int64_t time_us;    /* not after this */
    int64_t id, its_us; /* id -1: none yet */
} newest;

static cb_code look_at_snapshot(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    newest *seen = arg;
    int64_t id, us;
    cb_code code;

    (void)count;
    if (cells[0].text == NULL || cells[1].text == NULL)
        return cb_fail(err, CB_CORRUPT, "a snapshot of the catalog has no id or no time");
    code = cb_parse_i64(cells[0].text, &id, err);
    if (code == CB_OK)
        code = cb_lake_time_parse(cells[1].text, &us, err);
    if (code == CB_OK && us <= seen->time_us && id > seen->id) {
        seen->id = id;
        seen->its_us = us;
    }
    return code;
}

/* The state at a time is that of the last commit before it. */
static cb_code resolve_time(cb_lake_target *t, cb_lake_db *db, cb_error *err)
{
    newest seen = {.time_us = t->options.lake_time_us, .id = -1};
    char wanted[CB_TIME_TEXT_MAX];
    char found[CB_TIME_TEXT_MAX];
    cb_code code;

    if (!t->options.has_lake_time)
        return CB_OK;
    code = cb_lake_db_query(db, "SELECT snapshot_id, snapshot_time FROM {snapshot}",
                            look_at_snapshot, &seen, err);
    if (code != CB_OK)
        return code;
    cb_format_rfc3339(seen.time_us, wanted);
    if (seen.id < 0)
        return cb_fail(err, CB_NOT_FOUND, "the catalog has no snapshot from %s or before", wanted);
    cb_event_text(t->ctx, CB_EVENT_INFO, "at %s the newest snapshot was %lld, of %s", wanted,
                  (long long)seen.id, cb_format_rfc3339(seen.its_us, found));
    t->snapshot_us = seen.its_us;
    t->lake.has_snapshot = true;
    t->lake.snapshot = seen.id;
    return CB_OK;
}

static cb_code take_time(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cells[0].text == NULL ? CB_OK : cb_lake_time_parse(cells[0].text, arg, err);
}

/* When the snapshot was taken that is asked for; whether there is one is seen when it is cut. */
static cb_code time_snapshot(cb_lake_target *t, cb_lake_db *db, cb_error *err)
{
    char sql[96];

    if (!t->lake.has_snapshot || t->snapshot_us != 0)
        return CB_OK;
    snprintf(sql, sizeof(sql), "SELECT snapshot_time FROM {snapshot} WHERE snapshot_id = %lld",
             (long long)t->lake.snapshot);
    return cb_lake_db_query(db, sql, take_time, &t->snapshot_us, err);
}

/* "4 later snapshots, 1 file, 2 tables"; "" for nothing. */
static cb_code describe_cut(const cb_lake_changed *changed, cb_buf *out, cb_error *err)
{
    const struct {
        uint64_t count;
        const char *what;
    } parts[] = {{changed->snapshots_removed, "later snapshot"},
                 {changed->files_removed, "file"},
                 {changed->tables_removed, "table"}};
    cb_code code = CB_OK;

    for (size_t i = 0; i < CB_LENGTH(parts) && code == CB_OK; i++)
        if (parts[i].count > 0)
            code = cb_buf_format(out, err, "%s%llu %s%s", out->size > 0 ? ", " : "",
                                 (unsigned long long)parts[i].count, parts[i].what,
                                 parts[i].count == 1 ? "" : "s");
    return code == CB_OK ? cb_lake_terminate(out, err) : code;
}

/* Cut the copy, and remember which files it names then. Applied again when it is published, which
   only hides rows of later snapshots: for that their files must be there. */
static cb_code choose_files(cb_lake_target *t, cb_lake_db *db, const cb_lake_schema *schema,
                            cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema after = {0};
    CB_CLEANUP(cb_buf_free) cb_buf cut = {0};
    cb_lake_changes changes = {.tables = t->lake.tables, .table_count = t->lake.table_count};
    cb_lake_changed changed;
    cb_lake_info info = {0};
    cb_code code = resolve_time(t, db, err);

    if (code == CB_OK)
        code = time_snapshot(t, db, err);
    changes.cut = t->lake.has_snapshot;
    changes.snapshot = t->lake.snapshot;
    changes.straddle = &t->straddle;
    if (code == CB_OK)
        code = cb_lake_change(db, schema, &changes, &changed, err);
    if (code == CB_OK) /* better before hours of copying than after */
        code = cb_lake_straddle_check(t->ctx, &t->straddle, err);
    if (code == CB_OK)
        code = cb_lake_schema_read(db, &after, err);
    if (code == CB_OK)
        code = cb_lake_info_read(db, &after, &arena, &info, err);
    if (code == CB_OK)
        code = cb_ledger_open(t->ctx, t->folder.path, &t->chosen, err);
    if (code != CB_OK)
        return code;
    info.data_path = t->was.data_path;
    code = cb_ledger_add_named(t->chosen, db, &after, &info, err);
    if (code == CB_OK)
        code = cb_lake_straddle_place(&t->straddle, db, &after, &info, err);
    if (code == CB_OK)
        code = cb_lake_db_commit(db, err);
    t->is_chosen = code == CB_OK;
    if (code == CB_OK)
        code = describe_cut(&changed, &cut, err);
    if (code == CB_OK && *(const char *)cut.data != '\0')
        cb_event_text(t->ctx, CB_EVENT_INFO, "left out: %s", (const char *)cut.data);
    return code;
}

static cb_code read_copy(cb_lake_target *t, const char **stored, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    bool choose = t->lake.has_snapshot || t->options.has_lake_time || t->lake.table_count > 0;
    cb_lake_changes changes;
    cb_code code;

    /* A PostgreSQL catalog's path is never relative to it, and its copy is dear to open. */
    if (!choose && t->was.kind == CB_LAKE_POSTGRES)
        return CB_OK;
    cb_lake_target_changes(t, &changes);
    code = cb_lake_copy_open_in(t->ctx, t->folder.path, t->was.kind, changes.copy_schema,
                                choose ? CB_LAKE_WRITE : CB_LAKE_READ, &db, err);
    if (code == CB_UNSUPPORTED && !choose) { /* no engine that opens it: the path as it was */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_lake_schema_read(db, &schema, err);
    if (code == CB_OK)
        code = read_stored_path(t, db, &schema, stored, err);
    return code == CB_OK && choose ? choose_files(t, db, &schema, err) : code;
}

static void tell_place(const cb_lake_target *t)
{
    if (t->options.look_only)
        return;
    if (t->lake.data_path == NULL && t->was.mode == CB_LAKE_DATA_REPLICA)
        cb_event_text(t->ctx, CB_EVENT_INFO, "the lake's files are those of the replica: '%s'",
                      t->data_path);
    else if (t->lake.data_path == NULL)
        cb_event_text(t->ctx, CB_EVENT_INFO,
                      "the files go where the catalog says: '%s' (another place: --data-path)",
                      t->data_path);
    else if (t->is_moved)
        cb_event_text(t->ctx, CB_EVENT_INFO, "the lake's data path is now '%s', it was '%s'",
                      t->data_path, t->was.data_path);
}

cb_code cb_lake_target_plan(cb_lake_target *t, cb_error *err)
{
    const char *stored = NULL;
    const char *given = cb_lake_target_given(t);
    char before[CB_PATH_MAX];
    cb_code code;

    if (t->is_catalog_done)
        return CB_OK;
    snprintf(before, sizeof(before), "%s", t->data_path);
    code = read_copy(t, &stored, err);
    if (code == CB_OK && given == NULL && stored != NULL)
        code = set_data_path(t, NULL, stored, err);
    if (code != CB_OK)
        return cb_context(err, "the catalog of the backup");
    /* A path that is relative means another place where the catalog is elsewhere. */
    if (given != NULL &&
        (t->is_moved || (stored != NULL && stored[0] != '/' && !cb_lake_url_is_remote(stored))))
        t->new_path = t->data_path;
    t->maps_outside = t->lake.data_path != NULL && t->is_moved;
    if (t->is_moved)
        code = move_data(t, err);
    if (strcmp(before, t->data_path) != 0)
        t->is_listed = false;
    t->is_catalog_done = code == CB_OK;
    if (code != CB_OK)
        return code;
    tell_place(t);
    if (!cb_lake_url_is_remote(t->data_path)) /* what killed restores left there */
        cb_temp_sweep_files(t->data_path, cb_lake_part_prefix, true);
    return code;
}

cb_code cb_lake_target_wants(cb_lake_target *t, const char *item, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    cb_ledger_entry entry;
    cb_code code;

    *out = true;
    if (!t->is_chosen)
        return CB_OK;
    code = cb_lake_url_of(t->was.data_path, item, &url, err);
    if (code == CB_OK)
        code = cb_lake_terminate(&url, err);
    return code == CB_OK ? cb_ledger_find(t->chosen, CB_LEDGER_NAMED, (const char *)url.data,
                                          &arena, &entry, out, err)
                         : code;
}

void cb_lake_target_changes(cb_lake_target *t, cb_lake_changes *out)
{
    *out = (cb_lake_changes){
        .data_path = t->new_path,
        .prefixes = t->prefixes,
        .prefix_count = t->prefix_count,
        .cut = t->lake.has_snapshot,
        .snapshot = t->lake.snapshot,
        .straddle = &t->straddle,
        .tables = t->lake.tables,
        .table_count = t->lake.table_count,
    };
    if (t->was.kind == CB_LAKE_DUCKDB && t->was.schema != NULL &&
        strcmp(t->was.schema, "main") != 0)
        out->copy_schema = t->was.schema;
}
