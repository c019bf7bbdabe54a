/*
 * catalog_files.c - every file that a catalog names, by its full path.
 *
 * Tables and schemas are held in memory (one row for each of their names, so that a file finds the
 * row of its own time: a table that was made anew after a restore may lie elsewhere); files are
 * streamed. Below 0.2 tables have no paths: files are relative to the data path.
 *
 * A file of a table that no row describes can be read by nobody, and where it lies is a guess: it
 * is handed out as one that may be missing.
 */
#include "source/ducklake/catalog_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "source/ducklake/bucket.h"

/* One row of ducklake_schema or ducklake_table; `prefix` is the path with all above it. */
typedef struct folder {
    int64_t id, begin, end; /* end INT64_MAX: still valid */
    int64_t parent;         /* schema_id of a table */
    const char *prefix;
    bool is_absolute;
} folder;

typedef struct folders {
    folder *rows;
    size_t count, capacity;
} folders;

typedef struct visiting {
    cb_lake_db *db;
    const cb_lake_schema *schema;
    const cb_lake_info *info;
    cb_lake_file_visit *visit;
    void *arg;
    folders schemas, tables;
    folders *filling;
    cb_lake_file_kind kind;
    cb_buf joined, url, item;
    cb_arena arena;
} visiting;

static void visiting_free(visiting *v)
{
    free(v->schemas.rows);
    free(v->tables.rows);
    cb_buf_free(&v->joined);
    cb_buf_free(&v->url);
    cb_buf_free(&v->item);
    cb_arena_free(&v->arena);
}

/* ---- cells ---------------------------------------------------------------------------------- */

static cb_code take_number(const cb_lake_cell *cell, int64_t fallback, int64_t *out, cb_error *err)
{
    *out = fallback;
    if (cell->text == NULL)
        return CB_OK;
    if (cb_parse_i64(cell->text, out, err) != CB_OK)
        return cb_fail(err, CB_CORRUPT, "the catalog has '%.40s' where a number belongs",
                       cell->text);
    return CB_OK;
}

/* Relative unless it says otherwise; kinds write booleans as they like. */
static bool is_relative(const cb_lake_cell *cell)
{
    return cell->text == NULL || cell->text[0] == 't' || cell->text[0] == 'T' ||
           cell->text[0] == '1';
}

static cb_code take_path(const cb_lake_cell *cell, const char **out, cb_error *err)
{
    *out = cell->text != NULL ? cell->text : "";
    if (cell->text != NULL && strlen(cell->text) != cell->size)
        return cb_fail(err, CB_CORRUPT, "the path '%.400s' in the catalog holds a NUL", cell->text);
    return CB_OK;
}

/* `name` where the table has it, else a NULL of the same place. */
static cb_code append_column(cb_buf *sql, const cb_lake_table *table, const char *name,
                             const char *more, cb_error *err)
{
    return cb_buf_format(sql, err, "%s%s", cb_lake_table_has(table, name) ? name : "NULL", more);
}

static cb_code compose(cb_buf *sql, const cb_lake_table *table, const char *const *names,
                       size_t count, cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "SELECT ");

    for (size_t i = 0; code == CB_OK && i < count; i++)
        code = append_column(sql, table, names[i], i + 1 < count ? ", " : " ", err);
    return code;
}

/* ---- schemas and tables --------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const folder *x = a;
    const folder *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* The row of `id` that was valid at `snapshot`; else the last before it, else the first. */
static const folder *find(const folders *all, int64_t id, int64_t snapshot)
{
    size_t low = 0;
    size_t high = all->count;

    while (low < high) { /* the first row that is behind */
        size_t middle = low + (high - low) / 2;
        const folder *at = &all->rows[middle];

        if (at->id < id || (at->id == id && at->begin <= snapshot))
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && all->rows[low - 1].id == id)
        return &all->rows[low - 1];
    return low < all->count && all->rows[low].id == id ? &all->rows[low] : NULL;
}

/* Put `path` behind that of `parent` (NULL: the data path) when it is relative. */
static cb_code join(visiting *v, const folder *parent, const char *path, bool relative,
                    cb_error *err)
{
    const char *before = !relative ? "" : parent != NULL ? parent->prefix : v->info->data_path;
    cb_code code;

    v->joined.size = 0;
    code = cb_buf_append(&v->joined, before, strlen(before), err);
    if (code == CB_OK)
        code = cb_buf_append(&v->joined, path, strlen(path), err);
    return code == CB_OK ? cb_lake_terminate(&v->joined, err) : code;
}

/* Cells: id, begin, end, path, path_is_relative, schema_id. */
static cb_code take_folder(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    visiting *v = arg;
    folders *all = v->filling;
    const folder *parent = NULL;
    const char *path;
    folder row = {.parent = -1};
    cb_code code = CB_OK;

    if (count < 6)
        return cb_fail(err, CB_INTERNAL, "a query gave %zu columns of 6", count);
    if (take_number(&cells[0], -1, &row.id, err) != CB_OK ||
        take_number(&cells[1], 0, &row.begin, err) != CB_OK ||
        take_number(&cells[2], INT64_MAX, &row.end, err) != CB_OK ||
        take_number(&cells[5], -1, &row.parent, err) != CB_OK ||
        take_path(&cells[3], &path, err) != CB_OK)
        return err->code;
    if (all == &v->tables)
        parent = find(&v->schemas, row.parent, row.begin);
    row.is_absolute = !is_relative(&cells[4]) || (parent != NULL && parent->is_absolute);
    code = join(v, parent, path, is_relative(&cells[4]), err);
    if (code == CB_OK)
        code = cb_arena_text_n(&v->arena, v->joined.data, v->joined.size, &row.prefix, err);
    if (code == CB_OK && all->count == all->capacity)
        code = cb_array_grow(&all->rows, &all->capacity, sizeof(*all->rows), err);
    if (code == CB_OK)
        all->rows[all->count++] = row;
    return code;
}

static cb_code read_folders(visiting *v, const char *name, const char *id, folders *into,
                            cb_error *err)
{
    const char *const names[] = {id,     "begin_snapshot",   "end_snapshot",
                                 "path", "path_is_relative", "schema_id"};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table = cb_lake_schema_find(v->schema, name);
    cb_code code;

    if (table == NULL || !cb_lake_table_has(table, id))
        return CB_OK;
    v->filling = into;
    code = compose(&sql, table, names, CB_LENGTH(names), err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "FROM {%s}", name + sizeof("ducklake_") - 1);
    if (code == CB_OK)
        code = cb_lake_db_query(v->db, (const char *)sql.data, take_folder, v, err);
    if (code == CB_OK && into->count > 1)
        qsort(into->rows, into->count, sizeof(*into->rows), by_id);
    return code;
}

/* ---- files ---------------------------------------------------------------------------------- */

static cb_code hand_out(visiting *v, cb_lake_file *file, cb_error *err)
{
    cb_code code =
        cb_lake_path_tidy(v->info->relative_to, (const char *)v->joined.data, &v->url, err);

    v->item.size = 0;
    if (code == CB_OK)
        code = cb_lake_item_of(v->info->data_path, (const char *)v->url.data, &v->item, err);
    if (code != CB_OK)
        return cb_context(err, "file %lld of table %lld", (long long)file->id,
                          (long long)file->table_id);
    file->url = (const char *)v->url.data;
    file->item = (const char *)v->item.data;
    return v->visit(v->arg, file, err);
}

static bool is_puffin(const cb_lake_cell *format, const char *path)
{
    return (format->text != NULL && strcasecmp(format->text, "puffin") == 0) ||
           cb_has_suffix(path, ".puffin");
}

/* Cells: id, table, begin, end, path, path_is_relative, size, footer, records, format, has key. */
static cb_code take_file(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    visiting *v = arg;
    cb_lake_file file = {.kind = v->kind};
    const folder *table;
    const char *path;
    cb_code code;

    if (count < 11)
        return cb_fail(err, CB_INTERNAL, "a query gave %zu columns of 11", count);
    if (take_number(&cells[0], -1, &file.id, err) != CB_OK ||
        take_number(&cells[1], -1, &file.table_id, err) != CB_OK ||
        take_number(&cells[2], 0, &file.begin_snapshot, err) != CB_OK ||
        take_number(&cells[3], -1, &file.end_snapshot, err) != CB_OK ||
        take_path(&cells[4], &path, err) != CB_OK ||
        take_number(&cells[6], -1, &file.size_bytes, err) != CB_OK ||
        take_number(&cells[7], -1, &file.footer_bytes, err) != CB_OK ||
        take_number(&cells[8], -1, &file.records, err) != CB_OK)
        return err->code;
    table = find(&v->tables, file.table_id, file.begin_snapshot);
    file.is_encrypted = cells[10].text != NULL && cells[10].text[0] == '1';
    file.is_absolute = !is_relative(&cells[5]) || (table != NULL && table->is_absolute);
    if (v->kind == CB_LAKE_FILE_DELETE && is_puffin(&cells[9], path))
        file.kind = CB_LAKE_FILE_PUFFIN;
    if (table == NULL)
        file.kind = CB_LAKE_FILE_SCHEDULED;
    code = join(v, table, path, is_relative(&cells[5]), err);
    return code == CB_OK ? hand_out(v, &file, err) : code;
}

static cb_code not_listed(const visiting *v, const char *name, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED,
            "the lake is of version %s, and its table %s does not say where "
            "the files are in a way that is known",
            v->info->version, name);
    cb_hint(err, "A newer release of this program may know that version.");
    return err->code;
}

static cb_code read_files(visiting *v, const char *name, const char *id, const char *records,
                          const char *format, cb_lake_file_kind kind, cb_error *err)
{
    const char *const names[] = {id,
                                 "table_id",
                                 "begin_snapshot",
                                 "end_snapshot",
                                 "path",
                                 "path_is_relative",
                                 "file_size_bytes",
                                 "footer_size",
                                 records,
                                 format};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table = cb_lake_schema_find(v->schema, name);
    cb_code code;

    if (table == NULL || !cb_lake_table_has(table, id) || !cb_lake_table_has(table, "path"))
        return not_listed(v, name, err);
    v->kind = kind;
    code = compose(&sql, table, names, CB_LENGTH(names), err);
    /* Whether there is a key, never the key. */
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, ", %s FROM {%s}",
                             cb_lake_table_has(table, "encryption_key")
                                 ? "CASE WHEN encryption_key IS NULL THEN 0 ELSE 1 END"
                                 : "0",
                             name + sizeof("ducklake_") - 1);
    return code == CB_OK ? cb_lake_db_query(v->db, (const char *)sql.data, take_file, v, err)
                         : code;
}

/* Cells: data_file_id, path, path_is_relative; relative to the data path alone. */
static cb_code take_scheduled(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    visiting *v = arg;
    cb_lake_file file = {.kind = CB_LAKE_FILE_SCHEDULED,
                         .table_id = -1,
                         .end_snapshot = -1,
                         .size_bytes = -1,
                         .footer_bytes = -1,
                         .records = -1};
    const char *path;
    cb_code code;

    if (count < 3)
        return cb_fail(err, CB_INTERNAL, "a query gave %zu columns of 3", count);
    if (take_number(&cells[0], -1, &file.id, err) != CB_OK ||
        take_path(&cells[1], &path, err) != CB_OK)
        return err->code;
    file.is_absolute = !is_relative(&cells[2]);
    code = join(v, NULL, path, !file.is_absolute, err);
    return code == CB_OK ? hand_out(v, &file, err) : code;
}

static cb_code read_scheduled(visiting *v, cb_error *err)
{
    const char *const names[] = {"data_file_id", "path", "path_is_relative"};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table =
        cb_lake_schema_find(v->schema, "ducklake_files_scheduled_for_deletion");
    cb_code code;

    if (table == NULL || !cb_lake_table_has(table, "path"))
        return CB_OK;
    code = compose(&sql, table, names, CB_LENGTH(names), err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "FROM {files_scheduled_for_deletion}");
    return code == CB_OK ? cb_lake_db_query(v->db, (const char *)sql.data, take_scheduled, v, err)
                         : code;
}

cb_code cb_lake_files_visit(cb_lake_db *db, const cb_lake_schema *schema, const cb_lake_info *info,
                            cb_lake_file_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(visiting_free)
    visiting v = {.db = db, .schema = schema, .info = info, .visit = visit, .arg = arg};
    cb_code code = read_folders(&v, "ducklake_schema", "schema_id", &v.schemas, err);

    if (code == CB_OK)
        code = read_folders(&v, "ducklake_table", "table_id", &v.tables, err);
    if (code == CB_OK)
        code = read_files(&v, "ducklake_data_file", "data_file_id", "record_count", "file_format",
                          CB_LAKE_FILE_DATA, err);
    if (code == CB_OK)
        code = read_files(&v, "ducklake_delete_file", "delete_file_id", "delete_count", "format",
                          CB_LAKE_FILE_DELETE, err);
    if (code == CB_OK)
        code = read_scheduled(&v, err);
    return code;
}

/* ---- where the data is ---------------------------------------------------------------------- */

static cb_code folder_of(const cb_lake_address *home, cb_arena *arena, const char **out,
                         cb_error *err)
{
    const char *slash = strrchr(home->path, '/');

    if (slash == NULL || slash == home->path)
        return cb_arena_text(arena, "/", out, err);
    return cb_arena_text_n(arena, home->path, (size_t)(slash - home->path), out, err);
}

static bool is_there(const char *base, const char *path)
{
    char whole[CB_PATH_MAX];
    cb_error ignored = {0};
    struct stat facts;

    return cb_path_join(base, path, whole, &ignored) == CB_OK && stat(whole, &facts) == 0 &&
           S_ISDIR(facts.st_mode);
}

/*
 * DuckLake leaves a relative path to the working folder of whichever process attaches. That is
 * mostly the folder of the catalog's file; where the data is not there but in our own working
 * folder, that one is taken.
 */
static cb_code find_base(const cb_lake_address *home, const char *stored, cb_arena *arena,
                         const char **out, cb_error *err)
{
    char here[CB_PATH_MAX];
    cb_code code;

    if (getcwd(here, sizeof(here)) == NULL)
        return cb_fail_errno(err, errno, "cannot tell the current folder");
    if (home->kind == CB_LAKE_POSTGRES)
        return cb_arena_text(arena, here, out, err);
    code = folder_of(home, arena, out, err);
    if (code == CB_OK && stored[0] != '\0' && stored[0] != '/' && !is_there(*out, stored) &&
        is_there(here, stored))
        code = cb_arena_text(arena, here, out, err);
    return code;
}

/* A data path ends in a slash, whoever wrote it. */
static cb_code set_data_path(const char *base, const char *text, size_t size, cb_arena *arena,
                             const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf tidy = {0};
    cb_code code = cb_buf_append(&raw, text, size, err);

    if (code == CB_OK && (size == 0 || text[size - 1] != '/'))
        code = cb_buf_u8(&raw, '/', err);
    if (code == CB_OK && size == 0) /* an empty path is the base itself */
        raw.size = 0;
    if (code == CB_OK)
        code = cb_lake_terminate(&raw, err);
    if (code == CB_OK)
        code = cb_lake_path_tidy(base, (const char *)raw.data, &tidy, err);
    if (code == CB_OK && tidy.data[tidy.size - 1] != '/')
        code = cb_buf_u8(&tidy, '/', err);
    return code == CB_OK ? cb_arena_text_n(arena, tidy.data, tidy.size, out, err) : code;
}

/* By hand: without settings behind '?', and in DuckDB's words, since a catalog may be told. */
static cb_code set_remote_path(const char *given, cb_arena *arena, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf path = {0};
    size_t scheme = cb_lake_scheme_length(given);
    size_t size = strcspn(given, "?");
    char name[32];
    cb_code code;

    if (scheme >= sizeof(name))
        return cb_lake_unknown_scheme(given, err);
    memcpy(name, given, scheme);
    name[scheme] = '\0';
    code = cb_buf_format(&path, err, "%s", cb_lake_duckdb_scheme(name));
    if (code == CB_OK)
        code = cb_buf_append(&path, given + scheme, size - scheme, err);
    return code == CB_OK ? set_data_path("/", (const char *)path.data, path.size, arena, out, err)
                         : code;
}

cb_code cb_lake_info_place(const cb_lake_address *home, const char *given, cb_arena *arena,
                           cb_lake_info *info, cb_error *err)
{
    char here[CB_PATH_MAX];
    cb_code code = find_base(home, info->stored_data_path, arena, &info->relative_to, err);

    if (code != CB_OK)
        return code;
    if (given == NULL)
        return set_data_path(info->relative_to, info->stored_data_path,
                             strlen(info->stored_data_path), arena, &info->data_path, err);
    if (cb_lake_scheme_length(given) > 0)
        return set_remote_path(given, arena, &info->data_path, err);
    /* By hand: relative to where the hand is. */
    if (getcwd(here, sizeof(here)) == NULL)
        return cb_fail_errno(err, errno, "cannot tell the current folder");
    return set_data_path(here, given, strlen(given), arena, &info->data_path, err);
}
