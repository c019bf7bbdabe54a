/*
 * inventory.c - what a backup of a lake consists of: the catalog, frozen, and the files it names.
 *
 * The storage is listed once, below the data path, and merged with what the catalog names; only
 * files elsewhere are asked for one by one. A file that is not there, or not of the size that the
 * catalog says, may have been removed by a cleanup between the freeze and the listing: so it is
 * noted, and the catalog frozen again. What a catalog names that was taken after the file was seen
 * to be missing is damage.
 */
#include "source/ducklake/source_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define FRESH_US ((int64_t)10 * 1000000) /* so old a first look still serves */

/* ---- the catalog ---------------------------------------------------------------------------- */

void cb_lake_drop_round(cb_lake_source *s)
{
    cb_lake_db_close(s->db);
    s->db = NULL;
    cb_lake_schema_free(&s->schema);
    s->schema = (cb_lake_schema){0};
    s->info = (cb_lake_info){0};
    free(s->parts);
    s->parts = NULL;
    s->part_count = 0;
    cb_arena_free(&s->round);
    cb_lake_scratch_free(&s->scratch);
    s->frozen_at = 0;
    s->has_catalog_hash = false;
}

static cb_code has_key(cb_lake_source *s, const char *table, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *there = cb_lake_schema_find(&s->schema, table);
    int64_t number = 0;
    cb_code code;

    if (there == NULL || !cb_lake_table_has(there, "encryption_key"))
        return CB_OK;
    code = cb_buf_format(&sql, err, "SELECT 1 FROM ");
    if (code == CB_OK)
        code = cb_lake_db_table(s->db, &sql, table, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, " WHERE encryption_key IS NOT NULL LIMIT 1");
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (code == CB_OK)
        code = cb_lake_db_number(s->db, (const char *)sql.data, 0, &number, err);
    *out = *out || number != 0;
    return code;
}

/* Version, options, data path and keys, from the conversation that is open. */
static cb_code read_info(cb_lake_source *s, cb_error *err)
{
    bool holds_keys = false;
    cb_code code = cb_lake_schema_read(s->db, &s->schema, err);

    if (code == CB_OK)
        code = cb_lake_info_read(s->db, &s->schema, &s->round, &s->info, err);
    if (code == CB_OK)
        code = cb_lake_info_place(&s->address, s->lake.data_path, &s->round, &s->info, err);
    if (code == CB_OK)
        code = has_key(s, "ducklake_data_file", &holds_keys, err);
    if (code == CB_OK && !holds_keys)
        code = has_key(s, "ducklake_delete_file", &holds_keys, err);
    s->base.holds_keys = holds_keys || s->info.encrypted;
    return code;
}

static cb_code freeze(cb_lake_source *s, cb_error *err)
{
    cb_code code;

    cb_lake_drop_round(s);
    code = cb_lake_scratch_make(s->ctx, s->home.path, &s->scratch, err);
    if (code == CB_OK)
        code = cb_lake_freeze(s->ctx, &s->address, s->scratch.path, &s->options, &s->frozen, &s->db,
                              err);
    if (code == CB_OK)
        code = read_info(s, err);
    if (code == CB_OK)
        s->frozen_at = cb_monotonic_us();
    return code;
}

/* A DuckDB catalog cannot be asked while another process has it: then it is frozen at once, and
   that copy is used when the backup begins right away. */
cb_code cb_lake_first_look(cb_lake_source *s, cb_error *err)
{
    cb_code code;

    if (s->address.kind == CB_LAKE_DUCKDB)
        return freeze(s, err);
    code = cb_lake_db_open(s->ctx, &s->address, CB_LAKE_READ, &s->db, err);
    if (code == CB_OK)
        code = read_info(s, err);
    cb_lake_db_close(s->db);
    s->db = NULL;
    return code;
}

/* ---- the parts of the copy ------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const cb_lake_part *)a)->name, ((const cb_lake_part *)b)->name);
}

static cb_code part_name(cb_arena *arena, const char *table, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code = cb_segments_folder(table, &name, err);

    return code == CB_OK ? cb_arena_text_n(arena, name.data, name.size, out, err) : code;
}

static cb_code list_segments(cb_lake_source *s, cb_error *err)
{
    cb_segments segments;
    cb_code code = cb_segments_open(s->scratch.path, &segments, err);

    if (code != CB_OK)
        return code;
    s->parts = calloc(segments.schema.count + 1, sizeof(*s->parts));
    if (s->parts == NULL)
        code = cb_fail_memory(err, segments.schema.count * sizeof(*s->parts));
    for (size_t i = 0; code == CB_OK && i < segments.schema.count; i++) {
        cb_lake_part *part = &s->parts[s->part_count];

        if (segments.counts[i].segments == 0)
            continue;
        part->segments = segments.counts[i].segments;
        code = part_name(&s->round, segments.schema.tables[i].name, &part->name, err);
        s->part_count++;
    }
    if (code == CB_OK)
        s->parts[s->part_count++] = (cb_lake_part){.name = "schema"};
    if (code == CB_OK)
        qsort(s->parts, s->part_count, sizeof(*s->parts), by_name);
    cb_segments_close(&segments);
    return code;
}

static cb_code list_files(cb_lake_source *s, const char *name, const char *log, cb_error *err)
{
    char path[CB_PATH_MAX];
    struct stat st;
    cb_code code = cb_path_join(s->scratch.path, log, path, err);

    s->parts = calloc(2, sizeof(*s->parts));
    if (s->parts == NULL)
        return cb_fail_memory(err, 2 * sizeof(*s->parts));
    s->parts[s->part_count++] = (cb_lake_part){.name = name};
    if (code == CB_OK && stat(path, &st) == 0 && st.st_size > 0)
        s->parts[s->part_count++] = (cb_lake_part){.name = log};
    return code;
}

static cb_code list_parts(cb_lake_source *s, cb_error *err)
{
    if (s->parts != NULL)
        return CB_OK;
    switch (s->address.kind) {
    case CB_LAKE_DUCKDB:
        return list_files(s, "catalog.duckdb", "catalog.duckdb.wal", err);
    case CB_LAKE_SQLITE:
        return list_files(s, "catalog.sqlite", "catalog.sqlite-wal", err);
    case CB_LAKE_POSTGRES:
        return list_segments(s, err);
    }
    return cb_fail(err, CB_INTERNAL, "a catalog of kind %d", (int)s->address.kind);
}

/* ---- missing files -------------------------------------------------------------------------- */

/* A catalog that names a file twice, or a listing that spells it in another way, is no damage: the
   file itself is asked. *there: its size, 0 when there is none. */
static cb_code ask_file(cb_lake_source *s, const cb_ledger_entry *entry, bool *is_there,
                        uint64_t *there, cb_error *err)
{
    cb_code code = cb_lake_files_size(s->files, entry->url, there, err);

    *is_there = code == CB_OK;
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    *there = 0;
    return CB_OK;
}

typedef struct comparison {
    cb_lake_source *s;
    uint64_t suspects; /* seen for the first time: the catalog may be older than the loss */
} comparison;

static const char *table_of(cb_lake_source *s, int64_t table_id)
{
    const char *name = NULL;
    cb_error ignored = {0};

    if (table_id < 0 || cb_lake_table_name(s->db, table_id, &s->round, &name, &ignored) != CB_OK ||
        name == NULL)
        return "";
    return name;
}

static void tell_damage(cb_lake_source *s, const cb_ledger_entry *entry, bool is_there,
                        uint64_t there)
{
    char what[128] = "it is missing";

    if (is_there)
        snprintf(what, sizeof(what), "it has %llu bytes where the catalog says %lld",
                 (unsigned long long)there, (long long)entry->size_bytes);
    if (s->damaged_files++ == 0)
        snprintf(s->first_damage, sizeof(s->first_damage), "'%.380s': %s", entry->url, what);
    if (s->damaged_files <= CB_LAKE_NAMED_MAX)
        cb_event_text(s->ctx, CB_EVENT_ERROR, "'%s' of table %s: %s", entry->url,
                      table_of(s, entry->table_id), what);
    else if (s->damaged_files == CB_LAKE_NAMED_MAX + 1)
        cb_event_text(s->ctx, CB_EVENT_ERROR, "and more files are missing or cut");
}

static cb_code note_suspect(comparison *c, const cb_ledger_entry *entry, bool is_there,
                            uint64_t there, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry known;
    bool found;
    cb_code code =
        cb_ledger_find(c->s->ledger, CB_LEDGER_KEPT, entry->url, &arena, &known, &found, err);

    if (code != CB_OK)
        return code;
    if (found) {
        tell_damage(c->s, entry, is_there, there);
        return CB_OK;
    }
    c->suspects++;
    return cb_ledger_add(c->s->ledger, CB_LEDGER_KEPT, entry, err);
}

static cb_code compare(void *arg, const cb_ledger_entry *named, const cb_ledger_entry *found,
                       cb_error *err)
{
    comparison *c = arg;
    uint64_t there;
    bool is_there;
    cb_code code;

    if (named != NULL && cb_has_prefix(named->item, "outside/"))
        c->s->has_outside = true;
    if (named == NULL || named->kind == CB_LAKE_FILE_SCHEDULED)
        return CB_OK;
    if (found != NULL && (named->size_bytes < 0 || named->size_bytes == found->size_bytes))
        return CB_OK;
    code = ask_file(c->s, named, &is_there, &there, err);
    if (code != CB_OK)
        return code;
    if (is_there && (named->size_bytes < 0 || (uint64_t)named->size_bytes == there))
        return CB_OK;
    return note_suspect(c, named, is_there, there, err);
}

cb_code cb_lake_damage_of(cb_lake_source *s, const cb_ledger_entry *entry, bool *is_damaged,
                          uint64_t *there, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry known;
    bool is_there;
    cb_code code;

    *is_damaged = false;
    if (s->damaged_files == 0 || entry->kind == CB_LAKE_FILE_SCHEDULED)
        return CB_OK;
    code = cb_ledger_find(s->ledger, CB_LEDGER_KEPT, entry->url, &arena, &known, is_damaged, err);
    if (code != CB_OK || !*is_damaged)
        return code;
    code = ask_file(s, entry, &is_there, there, err);
    *is_damaged = !is_there || (entry->size_bytes >= 0 && (uint64_t)entry->size_bytes != *there);
    return code;
}

static cb_code refuse_damage(cb_lake_source *s, cb_error *err)
{
    if (s->damaged_files == 0 || s->options.allow_damage)
        return CB_OK;
    cb_fail(err, CB_CORRUPT, "%llu %s which the catalog names %s missing or cut, the first is %s",
            (unsigned long long)s->damaged_files, s->damaged_files == 1 ? "file" : "files",
            s->damaged_files == 1 ? "is" : "are", s->first_damage);
    cb_hint(err, "`canvasback restore NAME LAKE --delta` of an older backup puts them back; "
                 "--allow-damage keeps a backup without them.");
    return err->code;
}

/* ---- a round -------------------------------------------------------------------------------- */

static cb_code take_stock(cb_lake_source *s, uint64_t *suspects, cb_error *err)
{
    comparison c = {.s = s};
    cb_code code = cb_ledger_clear(s->ledger, CB_LEDGER_NAMED, err);

    s->damaged_files = 0;
    s->has_outside = false;
    if (code == CB_OK)
        code = cb_ledger_clear(s->ledger, CB_LEDGER_FOUND, err);
    if (code == CB_OK)
        code = cb_ledger_add_named(s->ledger, s->db, &s->schema, &s->info, err);
    if (code == CB_OK)
        code = cb_ledger_count(s->ledger, CB_LEDGER_NAMED, &s->named_files, &s->named_bytes, err);
    if (code == CB_OK && s->named_files > 0)
        code = cb_lake_list_storage(s, err);
    if (code == CB_OK && s->named_files > 0)
        code = cb_lake_list_replica(s, err);
    if (code == CB_OK)
        code = cb_ledger_compare(s->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, compare, &c, err);
    *suspects = c.suspects;
    return code;
}

static cb_code open_places(cb_lake_source *s, cb_error *err)
{
    cb_code code = CB_OK;

    if (s->files == NULL)
        code = cb_lake_files_open(s->ctx, s->lake.data_path, &s->files, err);
    if (code == CB_OK && s->ledger == NULL)
        code = cb_ledger_open(s->ctx, s->home.path, &s->ledger, err);
    return code;
}

static void begin_steps(cb_lake_source *s)
{
    cb_lake_db_close(s->db); /* nobody is kept waiting by a backup that reads files */
    s->db = NULL;
    s->frozen_at = 0; /* serves once */
    s->phase = CB_LAKE_PHASE_CATALOG;
    s->part = 0;
    s->segment = 0;
    s->is_in_item = false;
    s->catalog_bytes = s->file_count = s->file_bytes = 0;
    s->left_bytes = s->lake.data == CB_LAKE_DATA_COPY ? s->named_bytes : 0;
    s->item_count = s->read_count = 0;
    s->torn_files = 0;
    cb_ledger_cursor_close(s->cursor);
    s->cursor = NULL;
    cb_lake_rewind_references(s);
    atomic_store(&s->is_moved, false);
}

static cb_code fail_moving(cb_error *err)
{
    cb_fail(err, CB_BUSY,
            "files of the lake go faster than they can be found: %d catalogs in a row "
            "named some that were gone",
            (int)CB_LAKE_ROUNDS);
    cb_hint(err, "Let cleanup leave files alone for longer than a backup takes: set "
                 "delete_older_than, and leave cleanup_all out.");
    return err->code;
}

static bool is_stale(const cb_lake_source *s)
{
    return s->frozen_at == 0 || (!s->is_taken && cb_monotonic_us() - s->frozen_at > FRESH_US);
}

cb_code cb_lake_take_catalog(cb_lake_source *s, cb_error *err)
{
    cb_code code = open_places(s, err);

    if (code == CB_OK && is_stale(s))
        code = freeze(s, err);
    s->is_taken = code == CB_OK;
    return code == CB_OK ? list_parts(s, err) : code;
}

cb_code cb_lake_inventory(cb_lake_source *s, cb_error *err)
{
    uint64_t suspects = 0;
    cb_code code = open_places(s, err);

    for (unsigned round = 0; code == CB_OK && round < CB_LAKE_ROUNDS; round++) {
        if (is_stale(s) || round > 0)
            code = freeze(s, err);
        s->is_taken = false;
        if (code == CB_OK)
            code = take_stock(s, &suspects, err);
        if (code != CB_OK)
            return code;
        if (suspects == 0)
            break;
        cb_event_text(s->ctx, CB_EVENT_DEBUG, "%llu files are gone: the catalog is taken again",
                      (unsigned long long)suspects);
    }
    if (code == CB_OK && suspects > 0)
        return fail_moving(err);
    if (code == CB_OK)
        code = refuse_damage(s, err);
    if (code == CB_OK)
        code = list_parts(s, err);
    if (code == CB_OK)
        code = cb_lake_hash_catalog(s, err);
    if (code == CB_OK)
        begin_steps(s);
    return code;
}
