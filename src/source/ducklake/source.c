/*
 * source.c - a lake as a source: the steps, and the reading.
 *
 * One pass over the items. Files that prove to be gone are passed over, the pass goes on to its
 * end, and only then the catalog is frozen again and the items begin anew: so each further pass
 * reads only what was written since the one before, and is the shorter.
 *
 * Pieces are read by other threads from slots that stay as they are from one barrier to the next;
 * nothing else is kept of an item, however many there are.
 */
#include "source/ducklake/source_internal.h"

#include "base/text.h"
#include "source/ducklake/catalog_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DUCKDB_HEAD = 12288, /* the grid of a DuckDB file: doc/format.md, "Items" */
    DUCKDB_BLOCK = 256 << 10,
    SQLITE_CHUNK = 64 << 10,
    MAGIC_BYTES = 4,
};

static cb_lake_source *of(cb_source *source)
{
    return (cb_lake_source *)source;
}

/* ---- items ---------------------------------------------------------------------------------- */

static void free_slots(cb_lake_source *s)
{
    for (size_t i = 0; i < s->slot_count; i++)
        free(s->slots[i].from);
    s->slot_count = 0;
}

static cb_code put_text(cb_buf *into, cb_error *err, const char *text)
{
    cb_code code;

    into->size = 0;
    code = cb_buf_append(into, text, strlen(text) + 1, err);
    return code;
}

/* An item is found: path, where it is read from and size are known. */
static void open_item(cb_lake_source *s, uint64_t size)
{
    s->item.path = (const char *)s->path.data;
    s->item.size_bytes = size;
    s->item.attrs = cb_buf_bytes(&s->attrs);
    s->item_number++;
    s->is_in_item = true;
    s->is_reused = s->was_asked = s->has_slot = s->must_tell = false;
    s->at = 0;
    s->chunks = cb_item_chunks(&s->item);
}

static void yield_item(cb_lake_source *s, cb_step *step)
{
    step->kind = CB_STEP_ITEM;
    step->item = s->item;
    step->piece.item = s->item_number;
}

static cb_code next_catalog_item(cb_lake_source *s, bool *found, cb_error *err)
{
    const cb_lake_part *part = &s->parts[s->part];
    char number[32] = "";
    struct stat st;
    cb_code code;

    *found = s->part < s->part_count;
    if (!*found)
        return CB_OK;
    if (part->segments > 0)
        snprintf(number, sizeof(number), "/%08llu", (unsigned long long)s->segment);
    if (++s->segment >= part->segments) {
        s->segment = 0;
        s->part++;
    }
    s->path.size = s->from.size = s->attrs.size = 0;
    code = cb_buf_format(&s->path, err, "catalog/%s%s", part->name, number);
    if (code == CB_OK)
        code = cb_buf_format(&s->from, err, "%s/%s%s", s->scratch.path, part->name, number);
    if (code == CB_OK && stat((const char *)s->from.data, &st) != 0)
        return cb_fail(err, CB_IO, "the copy of the catalog has lost '%s'", part->name);
    if (code != CB_OK)
        return code;
    s->item = (cb_item){.kind = CB_ITEM_FILE, .chunk_bytes = CB_CHUNK_BYTES_MAX};
    if (strcmp(part->name, "catalog.duckdb") == 0)
        s->item =
            (cb_item){.kind = CB_ITEM_FILE, .head_bytes = DUCKDB_HEAD, .chunk_bytes = DUCKDB_BLOCK};
    else if (strcmp(part->name, "catalog.sqlite") == 0)
        s->item.chunk_bytes = SQLITE_CHUNK;
    s->is_catalog = true;
    s->is_damaged = s->is_checked = false;
    s->catalog_bytes += (uint64_t)st.st_size;
    s->left_bytes += (uint64_t)st.st_size;
    open_item(s, (uint64_t)st.st_size);
    return CB_OK;
}

/* Of a file whose size the catalog does not say. *is_there false: a scheduled one, and gone. */
static cb_code size_in_storage(cb_lake_source *s, const cb_ledger_entry *entry, bool *is_there,
                               uint64_t *size, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry found;
    cb_code code =
        cb_ledger_find(s->ledger, CB_LEDGER_FOUND, entry->url, &arena, &found, is_there, err);

    if (code == CB_OK && *is_there)
        *size = (uint64_t)found.size_bytes;
    if (code != CB_OK || *is_there ||
        (entry->kind == CB_LAKE_FILE_SCHEDULED && cb_has_prefix(entry->item, "data/")))
        return code;
    code = cb_lake_files_size(s->files, entry->url, size, err);
    *is_there = code == CB_OK;
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    if (entry->kind != CB_LAKE_FILE_SCHEDULED)
        atomic_store(&s->is_moved, true);
    return CB_OK;
}

/* The next file; *found false: this entry is none to be copied. */
static cb_code take_entry(cb_lake_source *s, const cb_ledger_entry *entry, bool *found,
                          cb_error *err)
{
    uint64_t size = (uint64_t)entry->size_bytes;
    bool is_there = true;
    cb_code code = CB_OK;

    if (entry->kind == CB_LAKE_FILE_SCHEDULED &&
        (s->leave_scheduled || s->lake.data != CB_LAKE_DATA_COPY))
        return CB_OK;
    if (entry->size_bytes < 0)
        code = size_in_storage(s, entry, &is_there, &size, err);
    if (code != CB_OK || !is_there)
        return code;
    code = cb_lake_damage_of(s, entry, &s->is_damaged, &s->there, err);
    if (code == CB_OK)
        code = put_text(&s->path, err, entry->item);
    if (code == CB_OK)
        code = put_text(&s->from, err, entry->url);
    if (code != CB_OK)
        return code;
    if (cb_lake_path_climbs(entry->url))
        cb_event_text(s->ctx, CB_EVENT_WARNING,
                      "the catalog names '%s': a restore will not write to a path with '..'",
                      entry->url);
    *found = true;
    s->kind = entry->kind;
    s->is_catalog = false;
    s->is_checked = entry->kind != CB_LAKE_FILE_SCHEDULED && !s->is_damaged;
    s->file_count++;
    s->file_bytes += size;
    s->item = (cb_item){.kind = CB_ITEM_FILE, .chunk_bytes = CB_CHUNK_BYTES_MAX};
    if (cb_lake_is_reference(s, entry)) {
        code = cb_lake_refer(s, entry, size, s->is_damaged, err);
        s->item.kind = CB_ITEM_OTHER;
        s->is_damaged = s->is_checked = false;
        size = 0;
    } else {
        code = cb_lake_put_attrs(s, entry, size, false, NULL, err);
    }
    open_item(s, size);
    return code;
}

static cb_code next_file(cb_lake_source *s, bool *found, cb_error *err)
{
    cb_ledger_entry entry;
    bool more = true;
    cb_code code = CB_OK;

    if (s->cursor == NULL)
        code = cb_ledger_cursor_open(s->ledger, CB_LEDGER_NAMED, &s->cursor, err);
    *found = false;
    while (code == CB_OK && more && !*found) {
        code = cb_ledger_cursor_next(s->cursor, &entry, &more, err);
        if (code == CB_OK && more)
            code = take_entry(s, &entry, found, err);
    }
    return code;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* A damaged file that no parent has whole is stored as what there is of it, and marked. */
static cb_code declare_damaged(cb_lake_source *s, cb_step *step, cb_error *err)
{
    cb_ledger_entry entry = {.kind = s->kind, .url = (const char *)s->from.data};
    cb_code code = cb_lake_put_attrs(s, &entry, s->there, true, NULL, err);

    s->is_damaged = false; /* is seen to */
    s->item.size_bytes = s->there;
    s->item.attrs = cb_buf_bytes(&s->attrs);
    s->chunks = cb_item_chunks(&s->item);
    yield_item(s, step);
    return code;
}

/* With --allow-damage it is looked at first whether a file of the right size is torn: that is told
   with the item, before its bytes. Else the bytes tell, and end the backup. */
static cb_code find_torn(cb_lake_source *s, cb_error *err)
{
    cb_code code;

    if (!s->options.allow_damage || !s->is_checked || s->at > 0)
        return CB_OK;
    s->is_checked = false;
    code = cb_lake_files_check(s->files, (const char *)s->from.data, s->kind,
                               (int64_t)s->item.size_bytes, -1, err);
    if (code == CB_CORRUPT) {
        cb_event_text(s->ctx, CB_EVENT_ERROR, "%s", err->message);
        s->is_damaged = true;
        s->there = s->item.size_bytes;
        s->torn_files++;
    }
    if (code == CB_CORRUPT || code == CB_NOT_FOUND) /* of what is gone the reading tells */
        cb_error_clear(err);
    return code == CB_CORRUPT || code == CB_NOT_FOUND ? CB_OK : code;
}

static cb_code take_slot(cb_lake_source *s, cb_error *err)
{
    cb_lake_slot *slot = &s->slots[s->slot_count];

    slot->from = strdup((const char *)s->from.data);
    if (slot->from == NULL)
        return cb_fail_memory(err, s->from.size);
    slot->is_catalog = s->is_catalog;
    slot->is_checked = s->is_checked;
    slot->kind = s->kind;
    slot->size = s->item.size_bytes;
    s->slot_count++;
    s->has_slot = true;
    s->read_count += !s->is_catalog;
    return CB_OK;
}

static cb_code go_on_with_item(cb_lake_source *s, cb_step *step, cb_error *err)
{
    cb_code code = CB_OK;

    if (s->must_tell) { /* more is known of a reference than when it was declared */
        s->must_tell = false;
        s->item.attrs = cb_buf_bytes(&s->attrs);
        yield_item(s, step);
        return CB_OK;
    }
    if (s->is_reused) {
        s->left_bytes -= s->item.size_bytes < s->left_bytes ? s->item.size_bytes : s->left_bytes;
        s->at = s->chunks;
    } else {
        code = find_torn(s, err);
        if (code != CB_OK)
            return code;
        if (s->is_damaged)
            return declare_damaged(s, step, err);
    }
    if (s->at < s->chunks) {
        uint32_t slot;

        if (!s->has_slot)
            code = take_slot(s, err);
        step->kind = CB_STEP_PIECE;
        step->piece.item = s->item_number;
        step->piece.index = s->at;
        cb_item_chunk(&s->item, s->at++, &step->piece.offset, &step->piece.length);
        slot = (uint32_t)s->slot_count - 1;
        cb_put_u32(step->piece.note, slot);
        return code;
    }
    step->kind = CB_STEP_DONE;
    step->piece.item = s->item_number;
    s->is_in_item = false;
    return CB_OK;
}

/* All reads have ended. What was gone may not be named any more. */
static cb_code judge(cb_lake_source *s, cb_step *step, cb_error *err)
{
    cb_code code;

    free_slots(s);
    if (!atomic_load(&s->is_moved)) {
        s->phase = CB_LAKE_PHASE_END;
        step->kind = CB_STEP_END;
        return cb_lake_judge_references(s, err);
    }
    if (s->restarts >= CB_LAKE_RESTARTS) {
        cb_fail(err, CB_BUSY,
                "files of the lake go faster than they can be copied: %u times some were removed "
                "while the backup read",
                s->restarts + 1);
        cb_hint(err, "Let cleanup leave files alone for longer than a backup takes: set "
                     "delete_older_than, and leave cleanup_all out.");
        return err->code;
    }
    s->restarts++;
    /* What is scheduled goes first, and no snapshot needs it. */
    s->leave_scheduled = s->restarts > 1;
    cb_event_text(s->ctx, CB_EVENT_INFO,
                  "files were removed while they were copied: the catalog is taken again");
    code = cb_lake_inventory(s, err);
    step->kind = CB_STEP_RESTART;
    return code;
}

static cb_code next(cb_source *source, cb_step *step, cb_error *err)
{
    cb_lake_source *s = of(source);
    bool found = false;
    cb_code code = CB_OK;

    *step = (cb_step){.pass = s->restarts + 1};
    if (s->is_in_item) {
        code = go_on_with_item(s, step, err);
        step->total_bytes = s->left_bytes;
        return code;
    }
    if (s->slot_count == CB_LAKE_WINDOW) {
        if (!s->was_asked) {
            s->was_asked = true; /* of the barrier, here */
            step->kind = CB_STEP_BARRIER;
            return CB_OK;
        }
        free_slots(s);
    }
    if (s->phase == CB_LAKE_PHASE_CATALOG) {
        code = next_catalog_item(s, &found, err);
        if (!found)
            s->phase = CB_LAKE_PHASE_FILES;
    }
    if (code == CB_OK && !found && s->phase == CB_LAKE_PHASE_FILES) {
        code = next_file(s, &found, err);
        if (!found)
            s->phase = CB_LAKE_PHASE_BARRIER;
    }
    if (code != CB_OK)
        return code;
    step->total_bytes = s->left_bytes;
    if (found) {
        s->item_count++;
        yield_item(s, step);
        return CB_OK;
    }
    if (s->phase == CB_LAKE_PHASE_BARRIER) {
        s->phase = CB_LAKE_PHASE_JUDGE;
        step->kind = CB_STEP_BARRIER;
        return CB_OK;
    }
    return judge(s, step, err);
}

static cb_code take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    cb_lake_source *s = of(source);
    cb_code code = CB_OK;

    *reuse = !s->is_catalog && parent != NULL && s->item.kind == parent->kind &&
             cb_lake_is_whole(parent, s->item.size_bytes);
    s->is_reused = *reuse;
    if (s->item.kind == CB_ITEM_OTHER)
        code = cb_lake_settle_reference(s, parent, &s->must_tell, err);
    if (*reuse && s->is_damaged)
        cb_event_text(s->ctx, CB_EVENT_WARNING,
                      "'%s': the backup before has it whole, and so has "
                      "this one",
                      (const char *)s->from.data);
    return code;
}

/* ---- reading -------------------------------------------------------------------------------- */

static cb_code read_catalog(const cb_lake_slot *slot, const cb_piece *piece, cb_buf *into,
                            cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    size_t got;
    cb_code code = cb_file_open(slot->from, O_RDONLY, 0, &fd, err);

    if (code == CB_OK)
        code = cb_buf_reserve(into, piece->length, err);
    if (code == CB_OK)
        code = cb_file_read(fd, slot->from, piece->offset, into->data + into->size, piece->length,
                            &got, err);
    if (code == CB_OK && got != piece->length)
        code = cb_fail(err, CB_IO, "the copy of the catalog, '%s', ends early", slot->from);
    if (code == CB_OK)
        into->size += got;
    return code;
}

static bool is_magic(const uint8_t *at)
{
    return memcmp(at, "PAR1", MAGIC_BYTES) == 0 || memcmp(at, "PARE", MAGIC_BYTES) == 0;
}

/* DuckLake writes a deletion vector as the bare blob of the Puffin specification: its length, big
   end first and without itself and a checksum, and a magic. A whole Puffin file is one too. */
static bool is_vector(const uint8_t *at, size_t size, uint64_t file_size)
{
    static const uint8_t magic[MAGIC_BYTES] = {0xd1, 0xd3, 0x39, 0x64};

    if (memcmp(at, "PFA1", MAGIC_BYTES) == 0)
        return true;
    return size >= 2 * MAGIC_BYTES && memcmp(at + MAGIC_BYTES, magic, MAGIC_BYTES) == 0 &&
           ((uint64_t)at[0] << 24 | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 8 | at[3]) +
                   2 * MAGIC_BYTES ==
               file_size;
}

static bool begins_well(const cb_lake_slot *slot, const uint8_t *data, size_t size)
{
    if (slot->kind == CB_LAKE_FILE_PUFFIN)
        return is_vector(data, size, slot->size);
    return is_magic(data);
}

/* The first and the last bytes pass by anyway: a torn file of the right size is seen by them. */
static cb_code check_shape(cb_lake_source *s, const cb_lake_slot *slot, const cb_piece *piece,
                           const uint8_t *data, cb_error *err)
{
    bool is_first = piece->offset == 0;
    bool is_last = piece->offset + piece->length == slot->size;

    if (!slot->is_checked || piece->length < MAGIC_BYTES ||
        ((!is_first || begins_well(slot, data, piece->length)) &&
         (!is_last || slot->kind == CB_LAKE_FILE_PUFFIN ||
          is_magic(data + piece->length - MAGIC_BYTES))))
        return CB_OK;
    if (s->options.allow_damage) {
        atomic_fetch_add(&s->misshaped, 1);
        cb_event_text(s->ctx, CB_EVENT_ERROR, "'%s' is torn: it does not %s as a %s file does",
                      slot->from, is_first ? "begin" : "end",
                      slot->kind == CB_LAKE_FILE_PUFFIN ? "Puffin" : "Parquet");
        return CB_OK;
    }
    cb_fail(err, CB_CORRUPT, "'%s' is torn: it does not %s as a %s file does", slot->from,
            is_first ? "begin" : "end", slot->kind == CB_LAKE_FILE_PUFFIN ? "Puffin" : "Parquet");
    cb_hint(err, "The lake cannot read it either; --allow-damage keeps a backup all the same.");
    return err->code;
}

static cb_code moved(cb_lake_source *s, const cb_lake_slot *slot, cb_error *err)
{
    atomic_store(&s->is_moved, true);
    cb_error_clear(err);
    return cb_fail(err, CB_RETRY, "'%s' is gone", slot->from);
}

/* A bucket that keeps versions has a file that was deleted: then the catalog that names it is as
   good as ever. */
static cb_code read_file(cb_lake_source *s, const cb_lake_slot *slot, const cb_piece *piece,
                         cb_buf *into, bool *is_gone, cb_error *err)
{
    bool done;
    cb_code code =
        cb_lake_files_read(s->files, slot->from, piece->offset, piece->length, into, err);

    *is_gone = false;
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    code = cb_lake_files_read_past(s->files, slot->from, slot->size, piece->offset, piece->length,
                                   into, &done, err);
    *is_gone = code == CB_OK && !done;
    return code;
}

static cb_code read_piece(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    cb_lake_source *s = of(source);
    const cb_lake_slot *slot = &s->slots[cb_get_u32(piece->note)];
    size_t before = into->size;
    bool is_gone;
    cb_code code;

    if (slot->is_catalog)
        return read_catalog(slot, piece, into, err);
    code = read_file(s, slot, piece, into, &is_gone, err);
    if (code == CB_RETRY) /* of a server; for us it would mean that the file is gone */
        err->code = code = CB_IO;
    if (code != CB_OK)
        return cb_context(err, "'%s'", slot->from);
    if (is_gone || into->size - before != piece->length)
        return moved(s, slot, err);
    return check_shape(s, slot, piece, into->data + before, err);
}

/* ---- begin, end ----------------------------------------------------------------------------- */

static cb_code begin(cb_source *source, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    cb_lake_source *s = of(source);
    cb_code code;

    code = cb_lake_is_unchanged(s, parent_state, unchanged, err);
    if (code == CB_OK && !*unchanged)
        code = cb_lake_inventory(s, err);
    if (code == CB_OK && !s->info.is_known)
        cb_event_text(s->ctx, CB_EVENT_WARNING,
                      "the lake is of version %s, which this release does not know: its tables are "
                      "kept as they are, its files as far as they are understood",
                      s->info.version);
    return code;
}

static cb_code end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    cb_lake_source *s = of(source);

    uint64_t requests = cb_lake_files_requests(s->files);

    if (s->replica_files != NULL)
        requests += cb_lake_files_requests(s->replica_files);
    cb_event_text(s->ctx, CB_EVENT_INFO, "read %llu new file%s of %llu; %llu request%s",
                  (unsigned long long)s->read_count, s->read_count == 1 ? "" : "s",
                  (unsigned long long)s->file_count, (unsigned long long)requests,
                  requests == 1 ? "" : "s");
    return cb_lake_describe(s, out, err);
}

static void free_source(cb_source *source)
{
    cb_lake_source *s = of(source);

    free_slots(s);
    cb_ledger_cursor_close(s->cursor);
    cb_ledger_close(s->ledger);
    cb_lake_files_close(s->files);
    cb_lake_rewind_references(s);
    cb_ledger_close(s->replica);
    cb_lake_files_close(s->replica_files);
    cb_lake_drop_round(s);
    cb_lake_scratch_free(&s->home);
    cb_buf_free(&s->path);
    cb_buf_free(&s->attrs);
    cb_buf_free(&s->from);
    cb_buf_free(&s->state);
    cb_arena_free(&s->arena);
    free(s);
}

/* ---- new ------------------------------------------------------------------------------------ */

static cb_code keep_options(cb_lake_source *s, const cb_source_options *options, cb_error *err)
{
    cb_code code = CB_OK;

    if (options->lake != NULL)
        s->lake = *options->lake;
    s->options = *options;
    s->options.lake = &s->lake;
    code = cb_arena_text(&s->arena, options->scratch, &s->options.scratch, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->arena, s->lake.metadata_schema, &s->lake.metadata_schema, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->arena, s->lake.data_path, &s->lake.data_path, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->arena, s->lake.replica, &s->lake.replica, err);
    s->lake.tables = NULL;
    s->lake.table_count = 0;
    return code;
}

static cb_code refuse_options(const cb_source_options *options, cb_error *err)
{
    if (options->method == CB_METHOD_ATTACH)
        return cb_fail(err, CB_UNSUPPORTED, "a lake is not copied with --method attach");
    if (options->snapshot != NULL)
        return cb_fail(err, CB_UNSUPPORTED,
                       "a lake is not read from a snapshot of a disk: its catalog and its files "
                       "lie in different places");
    if (options->lake != NULL && options->lake->data == CB_LAKE_DATA_REPLICA &&
        options->lake->replica == NULL)
        return cb_fail(err, CB_USAGE, "where is the replica of the lake's files?");
    return CB_OK;
}

static cb_code fill(cb_lake_source *s, const char *path, const cb_source_options *options,
                    cb_error *err)
{
    cb_code code = refuse_options(options, err);

    if (code == CB_OK)
        code = keep_options(s, options, err);
    if (code == CB_OK)
        code = cb_lake_address_parse(path, s->lake.metadata_schema, &s->address, err);
    if (code != CB_OK)
        return code;
    s->base.name = s->address.name;
    s->base.address = s->address.shown;
    code = cb_lake_scratch_make(s->ctx, s->options.scratch, &s->home, err);
    if (code == CB_OK)
        code = cb_lake_first_look(s, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->arena, s->info.identity, &s->base.identity, err);
    return code;
}

cb_code cb_lake_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                           cb_source **out, cb_error *err)
{
    static const cb_source_ops ops = {begin, next, take, read_piece, end, free_source};
    cb_lake_source *s = calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->base = (cb_source){
        .ops = &ops,
        .kind = "ducklake",
        .identity = "",
        .may_restart = true,
        .is_immutable = true,
    };
    s->ctx = ctx;
    if (fill(s, path, options, err) != CB_OK) {
        free_source(&s->base);
        return err->code;
    }
    *out = &s->base;
    return CB_OK;
}
