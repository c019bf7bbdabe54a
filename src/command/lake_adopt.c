/*
 * lake_adopt.c - files that commits after the restored backup wrote, back in their tables.
 *
 * What may be registered is decided by what is known of a file: the list that the restore saved
 * says which files were part of a table when the catalog was replaced; the footer says which rows
 * it holds. A file that would bring rows twice, or rows that were deleted, is refused; --accept
 * takes what is only a risk, never what is surely wrong.
 *
 * All of it is one transaction of the catalog, and one new snapshot that undo takes back.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/text.h"
#include "source/ducklake/adopt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct owned_adopt {
    cb_lake_adopt_result public; /* first */
    cb_arena arena;
    cb_lake_adopted *tables;
    size_t table_capacity;
    cb_lake_refused *refused;
    size_t refused_capacity;
} owned_adopt;

/* Delete files of a table that were lost with the catalog. */
typedef struct lost_deletes {
    const cb_lake_place *place;
    uint64_t count;
} lost_deletes;

typedef struct adopting {
    cb_ctx *ctx;
    const cb_lake_adopt_request *request;
    cb_lake_address address;
    owned_adopt *owned;
    cb_ledger *ledger; /* KEPT: the candidates; NAMED: what the catalog names */
    cb_lake_files *files;
    cb_lake_info info;
    cb_lake_places places;
    lost_deletes *deletes;
    size_t delete_count, delete_capacity;
    int64_t restored_snapshot; /* newest of the restored catalog; -1 unknown */
    uint64_t lists;
    cb_adoption adoption;
} adopting;

/* ---- what came of a file ------------------------------------------------------------------- */

static cb_code refuse(adopting *a, const char *url, cb_error *err, const char *format, ...)
    CB_PRINTF(4, 5);
static cb_code refuse(adopting *a, const char *url, cb_error *err, const char *format, ...)
{
    owned_adopt *owned = a->owned;
    cb_lake_refused *row;
    char line[CB_MESSAGE_MAX];
    va_list arguments;
    cb_code code = CB_OK;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (owned->public.refused_count == owned->refused_capacity)
        code = cb_array_grow(&owned->refused, &owned->refused_capacity, sizeof(*row), err);
    if (code != CB_OK)
        return code;
    owned->public.refused = owned->refused;
    row = &owned->refused[owned->public.refused_count];
    row->is_needless = false;
    code = cb_arena_text(&owned->arena, url, &row->path, err);
    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, line, &row->reason, err);
    if (code == CB_OK)
        owned->public.refused_count++;
    return code;
}

static cb_code refuse_needless(adopting *a, const char *url, const char *why, cb_error *err)
{
    cb_code code = refuse(a, url, err, "%s", why);

    if (code == CB_OK)
        a->owned->refused[a->owned->public.refused_count - 1].is_needless = true;
    return code;
}

static cb_code note_adopted(adopting *a, const char *table, uint64_t files, uint64_t rows,
                            cb_error *err)
{
    owned_adopt *owned = a->owned;
    cb_lake_adopted *row = NULL;
    cb_code code = CB_OK;

    for (size_t i = 0; i < owned->public.table_count; i++)
        if (strcmp(owned->tables[i].table, table) == 0)
            row = &owned->tables[i];
    if (row == NULL) {
        if (owned->public.table_count == owned->table_capacity)
            code = cb_array_grow(&owned->tables, &owned->table_capacity, sizeof(*row), err);
        if (code != CB_OK)
            return code;
        owned->public.tables = owned->tables;
        row = &owned->tables[owned->public.table_count];
        *row = (cb_lake_adopted){0};
        code = cb_arena_text(&owned->arena, table, &row->table, err);
        if (code != CB_OK)
            return code;
        owned->public.table_count++;
    }
    row->files += files;
    row->rows += rows;
    return CB_OK;
}

/* ---- candidates ---------------------------------------------------------------------------- */

static cb_code add_candidate(adopting *a, const cb_lake_file *file, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf item = {0};
    cb_ledger_entry entry = {
        .url = file->url,
        .kind = file->kind,
        .id = file->id,
        .table_id = file->table_id,
        .begin_snapshot = file->begin_snapshot,
        .end_snapshot = file->end_snapshot,
        .size_bytes = file->size_bytes,
        .records = file->records,
        .is_encrypted = file->is_encrypted,
        .checksum = "",
    };
    cb_code code = cb_lake_item_of(a->info.data_path, file->url, &item, err);

    if (code == CB_OK)
        code = cb_buf_u8(&item, '\0', err);
    entry.item = (const char *)item.data;
    return code == CB_OK ? cb_ledger_add(a->ledger, CB_LEDGER_KEPT, &entry, err) : code;
}

/* A path as people type it: whole, or below the data path. */
static bool is_asked_for(const adopting *a, const char *url)
{
    const cb_lake_adopt_request *r = a->request;

    if (r->file_count == 0)
        return true;
    for (size_t i = 0; i < r->file_count; i++)
        if (strcmp(r->files[i], url) == 0 ||
            (cb_has_prefix(url, a->info.data_path) &&
             strcmp(url + strlen(a->info.data_path), r->files[i]) == 0))
            return true;
    return false;
}

/* Delete files count even when they were not asked for: what they removed would come back. */
static cb_code take_lost(void *arg, const cb_lake_file *file, const char *table, cb_error *err)
{
    adopting *a = arg;
    bool is_delete = file->kind == CB_LAKE_FILE_DELETE || file->kind == CB_LAKE_FILE_PUFFIN;

    (void)table;
    return is_delete || is_asked_for(a, file->url) ? add_candidate(a, file, err) : CB_OK;
}

static cb_code take_list(void *arg, const char *path, const cb_lost_list_head *head, cb_error *err)
{
    adopting *a = arg;
    cb_lost_list_head again;

    a->lists++;
    if (head->restored_snapshot > a->restored_snapshot)
        a->restored_snapshot = head->restored_snapshot;
    return cb_lost_list_read(path, &again, take_lost, a, err);
}

static cb_code take_given_list(adopting *a, const char *path, cb_error *err)
{
    cb_lost_list_head head;
    cb_code code = cb_lost_list_read(path, &head, NULL, NULL, err);

    if (code == CB_OK && strcmp(head.identity, a->info.identity) != 0) {
        cb_fail(err, CB_USAGE, "'%s' is a list of another lake", path);
        cb_hint(err, "Leave it out: the lists of this lake in the data directory are found.");
        return err->code;
    }
    return code == CB_OK ? take_list(a, path, &head, err) : code;
}

/* Files of which nothing is known but where they lie. */
static cb_code take_unknown(adopting *a, const char *url, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_lake_file file = {
        .url = url, .id = -1, .table_id = -1, .end_snapshot = -1, .size_bytes = -1, .records = -1};
    cb_ledger_entry entry;
    bool found;
    cb_code code = cb_ledger_find(a->ledger, CB_LEDGER_KEPT, url, &arena, &entry, &found, err);

    if (cb_has_suffix(url, "-delete.parquet"))
        file.kind = CB_LAKE_FILE_DELETE;
    else if (cb_has_suffix(url, ".puffin"))
        file.kind = CB_LAKE_FILE_PUFFIN;
    return code == CB_OK && !found ? add_candidate(a, &file, err) : code;
}

static cb_code take_operands(adopting *a, cb_error *err)
{
    for (size_t i = 0; i < a->request->file_count; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf url = {0};
        const char *text = a->request->files[i];
        bool is_whole = text[0] == '/' || strstr(text, "://") != NULL;
        cb_code code = cb_buf_format(&url, err, "%s%s", is_whole ? "" : a->info.data_path, text);

        if (code == CB_OK)
            code = take_unknown(a, (const char *)url.data, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* Everything that lies in a table's folder and is named by nobody: only when asked for. */
static cb_code take_orphans(adopting *a, cb_error *err)
{
    cb_lake_orphans_result *orphans;
    cb_code code = cb_lake_orphans(a->ctx, a->request->lake, &a->request->options, &orphans, err);

    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < orphans->count && code == CB_OK; i++)
        if (strcmp(orphans->files[i].kind, "scheduled") != 0 &&
            strcmp(orphans->files[i].kind, "other") != 0)
            code = take_unknown(a, orphans->files[i].path, err);
    cb_lake_orphans_result_free(orphans);
    return code;
}

static cb_code find_candidates(adopting *a, cb_error *err)
{
    const cb_lake_adopt_request *r = a->request;
    cb_code code = r->list != NULL
                       ? take_given_list(a, r->list, err)
                       : cb_lake_lists_visit(a->ctx, a->info.identity, take_list, a, err);

    if (code == CB_OK && r->file_count > 0)
        return take_operands(a, err);
    if (code != CB_OK || a->lists > 0)
        return code;
    if (r->accept)
        return take_orphans(a, err);
    cb_fail(err, CB_NOT_FOUND, "no list of files that a restore of this lake left behind");
    cb_hint(err,
            "Name the files (lake orphans lists them), or say --accept to take all that lie in "
            "tables' folders: without the list nobody knows which of them were committed.");
    return err->code;
}

/* ---- judging ------------------------------------------------------------------------------- */

static lost_deletes *deletes_of(const adopting *a, const cb_lake_place *place)
{
    for (size_t i = 0; i < a->delete_count; i++)
        if (a->deletes[i].place == place)
            return &a->deletes[i];
    return NULL;
}

static const cb_lake_place *place_of(const adopting *a, const cb_ledger_entry *entry)
{
    const cb_lake_place *place = cb_lake_places_of(&a->places, entry->url);

    if (place == NULL && entry->table_id >= 0) {
        place = cb_lake_places_by_id(&a->places, entry->table_id);
        if (place != NULL && place->folder[0] != '\0')
            place = NULL; /* ids are given out again: another table has it now */
    }
    return place;
}

static bool is_delete(const cb_ledger_entry *entry)
{
    return entry->kind == CB_LAKE_FILE_DELETE || entry->kind == CB_LAKE_FILE_PUFFIN;
}

typedef cb_code with_candidate(adopting *a, cb_lake_db *db, const cb_lake_schema *schema,
                               const cb_ledger_entry *entry, cb_error *err);

static cb_code for_each_candidate(adopting *a, cb_lake_db *db, const cb_lake_schema *schema,
                                  with_candidate *what, cb_error *err)
{
    cb_ledger_cursor *cursor;
    cb_ledger_entry entry;
    bool more = true;
    cb_code code = cb_ledger_cursor_open(a->ledger, CB_LEDGER_KEPT, &cursor, err);

    if (code != CB_OK)
        return code;
    while (code == CB_OK && more) {
        code = cb_check_cancel(a->ctx, err);
        if (code == CB_OK)
            code = cb_ledger_cursor_next(cursor, &entry, &more, err);
        if (code == CB_OK && more)
            code = what(a, db, schema, &entry, err);
    }
    cb_ledger_cursor_close(cursor);
    return code;
}

static cb_code is_named(adopting *a, const char *url, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry entry;

    return cb_ledger_find(a->ledger, CB_LEDGER_NAMED, url, &arena, &entry, out, err);
}

static cb_code count_deletes(adopting *a, cb_lake_db *db, const cb_lake_schema *schema,
                             const cb_ledger_entry *entry, cb_error *err)
{
    const cb_lake_place *place = place_of(a, entry);
    lost_deletes *row;
    bool named;
    cb_code code = CB_OK;

    (void)db;
    (void)schema;
    if (!is_delete(entry) || place == NULL)
        return CB_OK;
    code = is_named(a, entry->url, &named, err);
    if (code != CB_OK || named)
        return code;
    row = deletes_of(a, place);
    if (row == NULL) {
        if (a->delete_count == a->delete_capacity)
            code = cb_array_grow(&a->deletes, &a->delete_capacity, sizeof(*a->deletes), err);
        if (code != CB_OK)
            return code;
        row = &a->deletes[a->delete_count++];
        *row = (lost_deletes){.place = place};
    }
    row->count++;
    return CB_OK;
}

/* "main.orders", "orders" or "\"main\".\"orders\"" for the place of that name. */
static bool is_wanted(const adopting *a, const cb_lake_place *place)
{
    const cb_lake_options *o = &a->request->options;
    char plain[512];
    size_t size = 0;

    if (o->table_count == 0)
        return true;
    for (const char *at = place->name; *at != '\0' && size + 1 < sizeof(plain); at++)
        if (*at != '"')
            plain[size++] = *at;
    plain[size] = '\0';
    for (size_t i = 0; i < o->table_count; i++) {
        const char *dot = strchr(plain, '.');

        if (strcmp(o->tables[i], place->name) == 0 || strcmp(o->tables[i], plain) == 0 ||
            (dot != NULL && strcmp(o->tables[i], dot + 1) == 0))
            return true;
    }
    return false;
}

/* What is wrong with it whatever was accepted; NULL: nothing. */
static const char *wrong_by_history(const cb_ledger_entry *entry)
{
    if (is_delete(entry))
        return "a delete file cannot be adopted: rows that it removed are back";
    if (entry->kind == CB_LAKE_FILE_SCHEDULED)
        return "it was scheduled for deletion: its rows are in other files, or were deleted";
    if (entry->end_snapshot >= 0)
        return "it was no longer part of its table when the catalog was replaced";
    if (entry->is_encrypted)
        return "it is encrypted, and its key was in the catalog that was replaced";
    return NULL;
}

/* Its rows are in other files, or were deleted; and --accept does without the delete files. */
static bool is_superseded(const adopting *a, const cb_ledger_entry *entry)
{
    if (is_delete(entry))
        return a->request->accept;
    return entry->kind == CB_LAKE_FILE_SCHEDULED || entry->end_snapshot >= 0;
}

/* Size, footer. *reason in words when the file cannot be read. */
static cb_code read_footer(adopting *a, const cb_ledger_entry *entry, cb_adopt_file *file,
                           cb_arena *arena, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf bytes = {.limit = CB_PARQUET_FOOTER_MAX};
    cb_code code = cb_lake_files_size(a->files, entry->url, &file->size_bytes, err);

    if (code == CB_OK && entry->size_bytes >= 0 && (uint64_t)entry->size_bytes != file->size_bytes)
        return cb_fail(err, CB_CORRUPT, "it has %llu bytes, and had %lld",
                       (unsigned long long)file->size_bytes, (long long)entry->size_bytes);
    if (code == CB_OK && file->size_bytes < CB_PARQUET_TAIL_BYTES + 4)
        return cb_fail(err, CB_CORRUPT, "it is no Parquet file: %llu bytes",
                       (unsigned long long)file->size_bytes);
    if (code == CB_OK)
        code = cb_lake_files_read(a->files, entry->url, file->size_bytes - CB_PARQUET_TAIL_BYTES,
                                  CB_PARQUET_TAIL_BYTES, &bytes, err);
    if (code == CB_OK && bytes.size != CB_PARQUET_TAIL_BYTES)
        return cb_fail(err, CB_CORRUPT, "it became shorter while it was read");
    if (code == CB_OK)
        code = cb_parquet_tail(bytes.data, file->size_bytes, &file->footer_bytes, err);
    bytes.size = 0;
    if (code == CB_OK)
        code = cb_lake_files_read(a->files, entry->url,
                                  file->size_bytes - CB_PARQUET_TAIL_BYTES - file->footer_bytes,
                                  file->footer_bytes, &bytes, err);
    return code == CB_OK ? cb_parquet_parse(cb_buf_bytes(&bytes), arena, &file->parquet, err)
                         : code;
}

/* What makes it a risk that only --accept takes. *risk NULL: none. */
static cb_code find_risk(adopting *a, cb_lake_db *db, const cb_adopt_file *file, cb_arena *arena,
                         const char **risk, cb_error *err)
{
    const cb_parquet_column *snapshots = cb_parquet_find(&file->parquet, CB_LAKE_SNAPSHOT_COLUMN);
    const lost_deletes *deletes = deletes_of(a, file->place);
    const char *stranger;

    *risk = NULL;
    if (deletes != NULL)
        return cb_arena_format(arena, risk, err,
                               "%llu delete files of %s were lost too: rows that they removed "
                               "would come back",
                               (unsigned long long)deletes->count, file->place->name);
    if (snapshots != NULL && (!snapshots->has_range || a->restored_snapshot < 0 ||
                              snapshots->least <= a->restored_snapshot))
        return cb_arena_text(arena,
                             "a merge made it: it holds rows of snapshots that the catalog has, "
                             "which would be there twice",
                             risk, err);
    if (snapshots == NULL && cb_parquet_find(&file->parquet, CB_LAKE_ROW_ID_COLUMN) != NULL)
        return cb_arena_text(
            arena, "an update or a rewrite made it: its rows may be in older files too", risk, err);
    if (cb_adopt_strangers(db, file, arena, &stranger, err) != CB_OK)
        return err->code;
    if (stranger != NULL)
        return cb_arena_format(arena, risk, err,
                               "its column \"%s\" is not in the table: the values would not be "
                               "seen",
                               stranger);
    return CB_OK;
}

/* Read it, weigh it, register it; what the file itself does wrong is a refusal, no failure. */
static cb_code weigh(adopting *a, cb_lake_db *db, const cb_lake_schema *schema,
                     const cb_ledger_entry *entry, const cb_lake_place *place, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_adopt_file file = {.url = entry->url, .place = place};
    const char *risk;
    cb_code code = read_footer(a, entry, &file, &arena, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return refuse(a, entry->url, err, "it is gone");
    }
    if (code == CB_CORRUPT || code == CB_UNSUPPORTED || code == CB_TOO_LARGE) {
        cb_error why = *err;

        cb_error_clear(err);
        return refuse(a, entry->url, err, "%s", why.message);
    }
    if (code == CB_OK)
        code = find_risk(a, db, &file, &arena, &risk, err);
    if (code != CB_OK)
        return code;
    if (risk != NULL && !a->request->accept)
        return refuse(a, entry->url, err, "%s (--accept takes it)", risk);
    if (risk != NULL)
        cb_event_text(a->ctx, CB_EVENT_WARNING, "%s: %s", entry->url, risk);
    if (!a->request->dry_run)
        code = cb_adoption_add(&a->adoption, db, schema, &file, err);
    return code == CB_OK ? note_adopted(a, file.place->name, 1, file.parquet.rows, err) : code;
}

static cb_code judge(adopting *a, cb_lake_db *db, const cb_lake_schema *schema,
                     const cb_ledger_entry *entry, cb_error *err)
{
    const cb_lake_place *place = place_of(a, entry);
    const char *wrong = wrong_by_history(entry);
    bool named;
    cb_code code;

    if (!is_asked_for(a, entry->url) || (place != NULL && !is_wanted(a, place)))
        return CB_OK;
    code = is_named(a, entry->url, &named, err);
    if (code != CB_OK)
        return code;
    if (named)
        return refuse_needless(a, entry->url, "the catalog names it already", err);
    if (wrong != NULL && is_superseded(a, entry))
        return refuse_needless(a, entry->url, wrong, err);
    if (wrong != NULL)
        return refuse(a, entry->url, err, "%s", wrong);
    if (place == NULL)
        return refuse(a, entry->url, err, "no table of the lake keeps its files there");
    return weigh(a, db, schema, entry, place, err);
}

/* ---- in one transaction -------------------------------------------------------------------- */

static cb_code adopt(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                     cb_error *err)
{
    adopting *a = arg;
    owned_adopt *owned = a->owned;
    cb_code code = cb_lake_info_read(db, schema, &owned->arena, &a->info, err);

    *keep = false;
    if (code == CB_OK)
        code = cb_lake_info_place(&a->address, a->request->options.data_path, &owned->arena,
                                  &a->info, err);
    if (code == CB_OK && !a->info.is_known) {
        cb_fail(err, CB_UNSUPPORTED,
                "this release does not know how lakes of version %s register "
                "files",
                a->info.version);
        return err->code;
    }
    if (code == CB_OK)
        code = cb_ledger_add_named(a->ledger, db, schema, &a->info, err);
    if (code == CB_OK)
        code = cb_lake_places_read(db, schema, &a->info, true, &a->places, err);
    if (code == CB_OK)
        code = find_candidates(a, err);
    if (code == CB_OK)
        code = for_each_candidate(a, db, schema, count_deletes, err);
    if (code == CB_OK && !a->request->dry_run)
        code = cb_adoption_begin(a->ctx, db, &a->adoption, err);
    if (code == CB_OK)
        code = for_each_candidate(a, db, schema, judge, err);
    if (code != CB_OK || a->adoption.files == 0)
        return code;
    code = cb_adoption_end(&a->adoption, db, schema, err);
    owned->public.snapshot = a->adoption.snapshot;
    *keep = true;
    return code;
}

/* schema, table, files, rows */
static cb_code note_undone(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    uint64_t files = 0;
    uint64_t rows = 0;
    cb_code code;

    (void)count;
    for (size_t i = 0; i < 4; i++)
        if (cells[i].text == NULL)
            return CB_OK; /* a file of no table: nothing to tell of it */
    code = cb_lake_quote_name(&name, cells[0].text, err);
    if (code == CB_OK)
        code = cb_buf_u8(&name, '.', err);
    if (code == CB_OK)
        code = cb_lake_quote_name(&name, cells[1].text, err);
    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    if (code == CB_OK)
        code = cb_parse_u64(cells[2].text, &files, err);
    if (code == CB_OK)
        code = cb_parse_u64(cells[3].text, &rows, err);
    return code == CB_OK ? note_adopted(arg, (const char *)name.data, files, rows, err) : code;
}

/* What the newest snapshot has added is told first; that it is an adoption, undoing finds out. */
static cb_code undo(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                    cb_error *err)
{
    adopting *a = arg;
    uint64_t files;
    cb_code code;

    *keep = !a->request->dry_run;
    code = cb_lake_db_query(db,
                            "SELECT s.schema_name, t.table_name, count(*), "
                            "CAST(sum(d.record_count) AS BIGINT) FROM {data_file} d JOIN {table} t "
                            "ON t.table_id = d.table_id AND t.end_snapshot IS NULL JOIN {schema} s "
                            "ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL WHERE "
                            "d.begin_snapshot = (SELECT max(snapshot_id) FROM {snapshot}) GROUP BY "
                            "s.schema_name, t.table_name ORDER BY s.schema_name, t.table_name",
                            note_undone, a, err);
    return code == CB_OK ? cb_adoption_undo(db, schema, &a->owned->public.snapshot, &files, err)
                         : code;
}

static cb_code run(adopting *a, cb_error *err)
{
    const cb_lake_adopt_request *r = a->request;
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    CB_CLEANUP(cb_ledger_cleanup) cb_ledger *ledger = NULL;
    CB_CLEANUP(cb_lake_files_cleanup) cb_lake_files *files = NULL;
    cb_code code = cb_lake_address_parse(r->lake, r->options.metadata_schema, &a->address, err);

    if (code == CB_OK && r->undo)
        return cb_lake_transact(a->ctx, &a->address, undo, a, err);
    if (code == CB_OK)
        code = cb_scratch_make(a->ctx, &scratch, err);
    if (code == CB_OK)
        code = cb_ledger_open(a->ctx, scratch.path, &ledger, err);
    if (code == CB_OK)
        code = cb_lake_files_open(a->ctx, r->options.data_path, &files, err);
    a->ledger = ledger;
    a->files = files;
    if (code == CB_OK)
        code = r->dry_run ? cb_lake_look(a->ctx, &a->address, adopt, a, err)
                          : cb_lake_transact(a->ctx, &a->address, adopt, a, err);
    cb_lake_places_free(&a->places);
    cb_adoption_free(&a->adoption);
    free(a->deletes);
    return code;
}

cb_code cb_lake_adopt(cb_ctx *ctx, const cb_lake_adopt_request *request, cb_lake_adopt_result **out,
                      cb_error *err)
{
    adopting a = {.ctx = ctx, .request = request, .restored_snapshot = -1};
    cb_code code;

    *out = NULL;
    a.owned = calloc(1, sizeof(*a.owned));
    if (a.owned == NULL)
        return cb_fail_memory(err, sizeof(*a.owned));
    a.owned->public.snapshot = -1;
    a.owned->public.dry_run = request->dry_run;
    code = run(&a, err);
    if (code != CB_OK) {
        cb_lake_adopt_result_free(&a.owned->public);
        return code;
    }
    *out = &a.owned->public;
    return CB_OK;
}

void cb_lake_adopt_result_free(cb_lake_adopt_result *result)
{
    owned_adopt *owned = (owned_adopt *)result;

    if (owned == NULL)
        return;
    free(owned->tables);
    free(owned->refused);
    cb_arena_free(&owned->arena);
    free(owned);
}
