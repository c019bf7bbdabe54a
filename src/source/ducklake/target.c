/*
 * target.c - a lake brought back: its files first, each at its place, then its catalog.
 *
 *     prepare   what is there; refuse what must not be replaced; list what lies in a bucket
 *     catalog/  into a private folder beside the place of the catalog
 *     data/     with the first of them the catalog's copy is complete: it is cut to the snapshot
 *               and the tables that were asked for, and only files that it still names are wanted
 *     finish    uploads end, files are durable; of a lake that is cut, rows of later snapshots are
 *               looked for in its files; the list of lost files is written, and the catalog is
 *               published in one step
 *
 * Killed at any instant before that step the lake that was there is as it was, but for damaged
 * files of its own that became whole; what else is left are files that no catalog names.
 */
#include "source/ducklake/target_internal.h"

#include "base/text.h"
#include "codec/field.h"
#include "source/duckdb/api.h"
#include "source/duckdb/duckdb.h"
#include "source/duckdb/exchange.h"
#include "source/ducklake/catalog_internal.h"
#include "source/sqlite/sqlite_internal.h"

#include <stdlib.h>

static cb_lake_target *of(cb_target *base)
{
    return (cb_lake_target *)base;
}

/* ---- prepare ------------------------------------------------------------------------------ */

/* What an interrupted run left is finished or undone before anybody looks. */
static cb_code mend(cb_lake_target *t, cb_error *err)
{
    cb_exchange exchange;
    cb_code code = CB_OK;

    switch (t->address.kind) {
    case CB_LAKE_DUCKDB:
        code = cb_exchange_begin(t->ctx, t->address.path, &exchange, err);
        if (code == CB_OK) {
            code = cb_exchange_recover(&exchange, err);
            cb_exchange_end(&exchange);
        }
        break;
    case CB_LAKE_SQLITE:
        code = cb_sqlite_exchange_mend(t->ctx, t->address.path, err);
        break;
    case CB_LAKE_POSTGRES:
        break;
    }
    return code;
}

/* Better before hours of copying than after. */
static cb_code refuse_open(const cb_lake_target *t, cb_error *err)
{
    int64_t pid = 0;
    cb_code code = CB_OK;

    if (t->address.kind == CB_LAKE_DUCKDB)
        code = cb_duckdb_holder(t->address.path, &pid, err);
    else if (t->address.kind == CB_LAKE_SQLITE)
        code = cb_sqlite_holder(t->address.path, &pid, err);
    if (code != CB_OK || pid == 0)
        return code;
    if (pid > 0)
        cb_fail(err, CB_BUSY, "'%s' is open in process %lld", t->address.path, (long long)pid);
    else
        cb_fail(err, CB_BUSY, "'%s' is open in another process", t->address.path);
    cb_hint(err, "Stop that process, or restore to another place.");
    return err->code;
}

static cb_code refuse_old(cb_lake_target *t, cb_error *err)
{
    struct stat st;

    if (!t->exists)
        return CB_OK;
    if (t->address.kind != CB_LAKE_POSTGRES && stat(t->address.path, &st) == 0 &&
        !S_ISREG(st.st_mode)) {
        cb_fail(err, CB_EXISTS, "'%s' is not a file", t->address.path);
        cb_hint(err, "Name the file that the catalog is to become.");
        return err->code;
    }
    if (t->options.force || t->options.delta)
        return refuse_open(t, err);
    cb_fail(err, CB_EXISTS, "there is a lake at '%s'", t->address.shown);
    cb_hint(err, "Put back what is missing or differs with --delta, or replace it with --force.");
    return err->code;
}

typedef struct others {
    const cb_lake_target *target;
    cb_buf first; /* schema.table that would be gone */
    uint64_t count;
} others;

static cb_code look_at_other(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    others *o = arg;
    const cb_lake_options *lake = &o->target->lake;

    (void)count;
    if (cells[0].text == NULL || cells[1].text == NULL ||
        cb_lake_table_is_wanted(lake->tables, lake->table_count, cells[0].text, cells[1].text))
        return CB_OK;
    if (o->count++ > 0)
        return CB_OK;
    return cb_buf_format(&o->first, err, "%s.%s", cells[0].text, cells[1].text);
}

static cb_code look_for_others(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                               cb_error *err)
{
    *keep = false;
    if (cb_lake_schema_find(schema, "ducklake_table") == NULL ||
        cb_lake_schema_find(schema, "ducklake_schema") == NULL)
        return CB_OK;
    return cb_lake_db_query(db,
                            "SELECT s.schema_name, t.table_name FROM {table} t JOIN {schema} s "
                            "ON s.schema_id = t.schema_id WHERE t.end_snapshot IS NULL AND "
                            "s.end_snapshot IS NULL ORDER BY s.schema_name, t.table_name",
                            look_at_other, arg, err);
}

/* Who wants one dropped table back does not mean to lose all others for it. */
static cb_code refuse_part(const cb_lake_target *t, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    others o = {.target = t};
    cb_code code;

    if (!t->exists || t->options.force || t->lake.table_count == 0)
        return CB_OK;
    code = cb_lake_look(t->ctx, &t->address, look_for_others, &o, err);
    first = o.first;
    if (code == CB_CANCELLED || code == CB_NO_MEMORY)
        return code;
    if (code != CB_OK) { /* a lake that nobody can read has nothing to lose */
        cb_error_clear(err);
        return CB_OK;
    }
    if (o.count == 0)
        return CB_OK;
    cb_fail(err, CB_EXISTS, "with --tables the lake at '%s' would lose its other tables: %.*s%s",
            t->address.shown, (int)first.size, (const char *)first.data,
            o.count > 1 ? " and more" : "");
    cb_hint(err, "Restore these tables to another place (ducklake:part.ducklake --data-path part/),"
                 " attach both lakes in DuckDB and copy them over; --force replaces the whole "
                 "lake.");
    return err->code;
}

/* Is there the database, and may we make tables in it? Asked before hours of copying, and given up
   again: nothing is there until finish, but a database that had to be made. */
static cb_code try_server(const cb_lake_target *t, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;

    cb_code code;

    if (t->address.kind != CB_LAKE_POSTGRES || t->exists)
        return CB_OK;
    code = cb_lake_db_open(t->ctx, &t->address, CB_LAKE_CREATE, &db, err);
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    code = cb_lake_database_make(t->ctx, &t->address, err);
    return code == CB_OK ? cb_lake_db_open(t->ctx, &t->address, CB_LAKE_CREATE, &db, err)
                         : cb_context(err, "catalog '%.300s'", t->address.shown);
}

/* A catalog becomes a DuckDB file, or was one: without libduckdb nothing is copied. */
static cb_code try_library(const cb_lake_target *t, cb_error *err)
{
    cb_duckdb_api api;

    if ((t->address.kind == CB_LAKE_DUCKDB) == (t->was.kind == CB_LAKE_DUCKDB))
        return CB_OK;
    return cb_duckdb_api_load(t->ctx, &api, err);
}

static cb_code refuse_full(const cb_lake_target *t, cb_error *err)
{
    char need[CB_SIZE_TEXT_MAX];
    char have[CB_SIZE_TEXT_MAX];
    uint64_t free_bytes;

    if (cb_lake_url_is_remote(t->data_path) || t->base.in_place || t->options.total_bytes == 0 ||
        t->lake.has_snapshot || t->lake.table_count > 0)
        return CB_OK;
    if (cb_free_space(t->data_path, &free_bytes, err) != CB_OK)
        return err->code;
    if (free_bytes >= t->options.total_bytes)
        return CB_OK;
    cb_fail(err, CB_NO_SPACE, "'%s' needs %s, and %s are free there", t->data_path,
            cb_format_size(t->options.total_bytes, need), cb_format_size(free_bytes, have));
    cb_hint(err, "Make room, or restore to another place with --data-path.");
    return err->code;
}

static cb_code prepare(cb_target *base, cb_error *err)
{
    cb_lake_target *t = of(base);
    bool is_file = t->address.kind != CB_LAKE_POSTGRES;
    cb_code code = mend(t, err);

    if (code == CB_OK)
        code = cb_lake_exists(t->ctx, &t->address, &t->exists, err);
    if (code == CB_OK)
        code = refuse_old(t, err);
    if (code == CB_OK)
        code = refuse_part(t, err);
    if (code == CB_OK)
        code = try_library(t, err);
    if (code == CB_OK)
        code = try_server(t, err);
    if (code == CB_OK)
        code = cb_lake_beside_make(t->ctx, is_file ? t->address.path : NULL, &t->folder, err);
    if (code == CB_OK)
        code = cb_lake_target_expect(t, err);
    return code == CB_OK ? refuse_full(t, err) : code;
}

/* ---- items -------------------------------------------------------------------------------- */

static cb_code take_out(cb_lake_target *t, uint32_t number, cb_lake_out **out, cb_error *err)
{
    *out = number < CB_LAKE_OUTS ? t->outs[number] : NULL;
    return *out != NULL ? CB_OK : cb_fail(err, CB_INTERNAL, "no such item is open");
}

static cb_code add_out(cb_lake_target *t, cb_lake_out *out, uint32_t *number, cb_error *err)
{
    for (uint32_t i = 0; i < CB_LAKE_OUTS; i++)
        if (t->outs[i] == NULL) {
            t->outs[i] = out;
            *number = i;
            return CB_OK;
        }
    return cb_fail(err, CB_INTERNAL, "too many items are open");
}

/* So that what a replaced lake named beside can be told at the end. */
static cb_code note_named(cb_lake_target *t, const cb_lake_out *out, cb_error *err)
{
    cb_ledger_entry entry = {
        .url = out->url,
        .item = out->item,
        .id = -1,
        .table_id = -1,
        .begin_snapshot = -1,
        .end_snapshot = -1,
        .size_bytes = (int64_t)out->whole_size,
        .footer_bytes = -1,
        .records = -1,
        .checksum = "",
    };
    cb_code code;

    if (!t->exists || out->is_catalog)
        return CB_OK;
    code = cb_lake_target_ledger(t, err);
    return code == CB_OK ? cb_ledger_add(t->ledger, CB_LEDGER_NAMED, &entry, err) : code;
}

static cb_code check_kind(const cb_item *item, bool is_catalog, cb_error *err)
{
    bool is_known =
        is_catalog || cb_has_prefix(item->path, "data/") || cb_has_prefix(item->path, "outside/");

    /* A file that is only referred to has attrs and no bytes. */
    if (is_known && (item->kind == CB_ITEM_FILE || (item->kind == CB_ITEM_OTHER && !is_catalog)))
        return CB_OK;
    return cb_fail(err, CB_UNSUPPORTED, "a backup of a lake has no item such as '%.200s'",
                   item->path);
}

/* A path with ".." could lead anywhere, and from another place to another file: what the catalog
   names so is left out, and said. The look at the restored lake finds it missing. */
static bool climbs(cb_lake_target *t, const cb_item *item)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {.limit = CB_PATH_MAX};
    cb_error ignored = {0};

    if (!cb_has_prefix(item->path, "outside/") ||
        cb_lake_url_of(t->was.data_path, item->path, &url, &ignored) != CB_OK ||
        cb_lake_terminate(&url, &ignored) != CB_OK || !cb_lake_path_climbs((const char *)url.data))
        return false;
    cb_event_text(t->ctx, CB_EVENT_WARNING, "'%s' climbs out of its place and is not brought back",
                  (const char *)url.data);
    return true;
}

static cb_code item(cb_target *base, const cb_item *item, uint32_t *number, cb_error *err)
{
    cb_lake_target *t = of(base);
    bool is_catalog = cb_has_prefix(item->path, "catalog/");
    bool is_wanted = true;
    cb_lake_out *out = NULL;
    cb_code code = check_kind(item, is_catalog, err);

    if (code == CB_OK && !is_catalog)
        code = cb_lake_target_plan(t, err);
    else if (code == CB_OK && t->is_catalog_done)
        code = cb_fail(err, CB_CORRUPT, "a part of the catalog stands behind the files");
    if (code == CB_OK && !is_catalog)
        code = cb_lake_target_wants(t, item->path, &is_wanted, err);
    if (code == CB_OK && is_wanted && climbs(t, item)) {
        *number = CB_TARGET_SKIP;
        return CB_OK;
    }
    if (code == CB_OK && !is_wanted) {
        t->skipped++;
        *number = CB_TARGET_SKIP;
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_lake_out_open(t, item, &out, err);
    if (code == CB_OK)
        code = note_named(t, out, err);
    if (code == CB_OK)
        code = add_out(t, out, number, err);
    if (code != CB_OK)
        cb_lake_out_free(out);
    return code;
}

static cb_code read_there(cb_target *base, uint32_t number, uint64_t offset, uint32_t length,
                          cb_buf *into, cb_error *err)
{
    cb_lake_out *out;
    cb_code code = take_out(of(base), number, &out, err);

    return code == CB_OK ? cb_lake_out_read(of(base), out, offset, length, into, err) : code;
}

static cb_code write_part(cb_target *base, uint32_t number, uint64_t offset, cb_bytes data,
                          cb_error *err)
{
    cb_lake_out *out;
    cb_code code = take_out(of(base), number, &out, err);

    return code == CB_OK ? cb_lake_out_write(of(base), out, offset, data, err) : code;
}

/* A new file has holes of its own; over an old one zeros are written. */
static cb_code hole(cb_target *base, uint32_t number, uint64_t offset, uint32_t length,
                    cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf zeros = {0};
    cb_lake_out *out;
    cb_code code = take_out(of(base), number, &out, err);

    if (code != CB_OK || !out->is_there)
        return code;
    code = cb_buf_reserve(&zeros, length, err);
    if (code != CB_OK)
        return code;
    memset(zeros.data, 0, length);
    return cb_lake_out_write(of(base), out, offset, cb_bytes_of(zeros.data, length), err);
}

static cb_code done(cb_target *base, uint32_t number, cb_error *err)
{
    cb_lake_target *t = of(base);
    cb_lake_out *out;
    cb_code code = take_out(t, number, &out, err);

    if (code != CB_OK)
        return code;
    t->outs[number] = NULL;
    code = cb_lake_out_done(t, &out, err);
    cb_lake_out_free(out);
    return code == CB_OK ? CB_OK : cb_context(err, "restoring the lake's files");
}

/* ---- finish ------------------------------------------------------------------------------- */

static void tell_changes(const cb_lake_target *t, const cb_lake_changed *changed)
{
    if (t->options.look_only)
        return;
    if (t->maps_outside && t->prefix_count > 2)
        cb_event_text(t->ctx, CB_EVENT_INFO,
                      "files from outside the old data path are now below '%soutside/'",
                      t->data_path);
    if (changed->paths > 0)
        cb_event_text(t->ctx, CB_EVENT_INFO, "%llu absolute path%s of the catalog rewritten",
                      (unsigned long long)changed->paths, changed->paths == 1 ? " was" : "s were");
}

static cb_code place_of(void *arg, const char *item, cb_buf *out, cb_error *err)
{
    return cb_lake_target_url(arg, item, out, err);
}

static cb_code finish(cb_target *base, cb_error *err)
{
    cb_lake_target *t = of(base);
    cb_lake_changes changes;
    cb_lake_changed changed = {0};
    cb_code code = cb_lake_target_plan(t, err); /* for a lake without files */

    if (code == CB_OK)
        code = cb_lake_out_settle(t, err);
    if (code == CB_OK)
        code = cb_lake_refer_settle(t, err);
    if (code == CB_OK)
        code =
            cb_lake_straddle_read(t->ctx, &t->straddle, place_of, t, cb_lake_target_given(t), err);
    if (code == CB_OK)
        code = cb_lake_target_list_lost(t, err);
    cb_lake_target_changes(t, &changes);
    if (code == CB_OK)
        code = cb_lake_publish(t->ctx, t->folder.path, t->was.kind, &t->address, &changes,
                               t->exists, &changed, err);
    if (code == CB_OK)
        tell_changes(t, &changed);
    return code;
}

static void release(cb_target *base)
{
    cb_lake_target *t = of(base);

    cb_pool_free(t->pool);
    cb_lake_out_drop(t);
    for (size_t i = 0; i < CB_LAKE_OUTS; i++)
        cb_lake_out_free(t->outs[i]);
    for (size_t i = 0; i < t->device_count; i++)
        cb_fd_close(&t->device_fds[i]);
    cb_ledger_close(t->ledger);
    cb_ledger_close(t->chosen);
    cb_lake_refer_free(t);
    cb_lake_files_close(t->files);
    cb_lake_straddle_free(&t->straddle);
    cb_lake_beside_free(&t->spool);
    cb_lake_beside_free(&t->folder);
    pthread_mutex_destroy(&t->lock);
    cb_arena_free(&t->arena);
    free(t);
}

/* ---- making one --------------------------------------------------------------------------- */

static cb_code parse_number(const cb_field *field, uint64_t most, uint64_t *out, cb_error *err)
{
    cb_code code = cb_field_u64(field, out, err);

    if (code == CB_OK && *out > most)
        code = cb_fail(err, CB_UNSUPPORTED, "the backup is of a later release of this program");
    return code;
}

static cb_code parse_field(cb_lake_target *t, const cb_field *field, cb_error *err)
{
    uint64_t value = 0;
    cb_code code = CB_OK;

    switch (field->tag) {
    case CB_LAKE_STATE_KIND:
        code = parse_number(field, CB_LAKE_POSTGRES, &value, err);
        t->was.kind = (cb_lake_kind)value;
        break;
    case CB_LAKE_STATE_SCHEMA:
        return cb_field_text(field, &t->arena, &t->was.schema, err);
    case CB_LAKE_STATE_DATA_PATH:
        return cb_field_text(field, &t->arena, &t->was.data_path, err);
    case CB_LAKE_STATE_SNAPSHOT:
        return cb_field_i64(field, &t->was.snapshot, err);
    case CB_LAKE_STATE_MODE:
        code = parse_number(field, CB_LAKE_DATA_REPLICA, &value, err);
        t->was.mode = (cb_lake_data)value;
        break;
    case CB_LAKE_STATE_REPLICA:
        return cb_field_text(field, &t->arena, &t->was.replica, err);
    case CB_LAKE_STATE_ENCRYPTED:
        code = cb_field_u64(field, &value, err);
        t->was.is_encrypted = value != 0;
        break;
    default:
        break;
    }
    return code;
}

static cb_code parse_state(cb_lake_target *t, cb_bytes state, cb_error *err)
{
    cb_field_reader reader = {state};
    cb_field field;
    bool more = true;
    cb_code code = CB_OK;

    while (code == CB_OK) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        code = parse_field(t, &field, err);
    }
    if (code == CB_OK && t->was.data_path == NULL)
        code = cb_fail(err, CB_CORRUPT, "the backup does not say where the lake's files were");
    return code == CB_OK ? CB_OK : cb_context(err, "the description of the lake");
}

/* The schema that it had, when the kind is the same and nothing else was asked for. */
static cb_code parse_address(cb_lake_target *t, const char *path, cb_error *err)
{
    cb_code code = cb_lake_address_parse(path, t->lake.metadata_schema, &t->address, err);

    if (code != CB_OK || t->lake.metadata_schema != NULL || t->was.schema == NULL ||
        t->address.kind != t->was.kind || t->address.kind == CB_LAKE_SQLITE ||
        strcmp(t->address.schema, t->was.schema) == 0)
        return code;
    cb_event_text(t->ctx, CB_EVENT_INFO, "the catalog goes to schema '%s', where it was",
                  t->was.schema);
    return cb_lake_address_parse(path, t->was.schema, &t->address, err);
}

cb_code cb_lake_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                           cb_target **out, cb_error *err)
{
    static const cb_target_ops ops = {prepare, item, read_there, write_part,
                                      hole,    done, finish,     release};
    cb_lake_target *t = calloc(1, sizeof(*t));
    cb_code code;

    *out = NULL;
    if (t == NULL)
        return cb_fail_memory(err, sizeof(*t));
    t->base = (cb_target){.ops = &ops, .path = t->address.shown, .in_stages = true};
    t->ctx = ctx;
    t->options = *options;
    if (options->lake != NULL)
        t->lake = *options->lake;
    t->was.snapshot = -1;
    t->folder.lock = t->spool.lock = -1;
    pthread_mutex_init(&t->lock, NULL);
    code = cb_arena_text(&t->arena, options->lost_list, &t->options.lost_list, err);
    if (code == CB_OK)
        code = parse_state(t, options->state, err);
    if (code == CB_OK)
        code = parse_address(t, path, err);
    if (code != CB_OK) {
        release(&t->base);
        return code;
    }
    *out = &t->base;
    return CB_OK;
}

void cb_lake_target_facts(cb_target *target, cb_lake_target_report *out)
{
    cb_lake_target *t = of(target);

    *out = (cb_lake_target_report){
        .lost_list = t->lost_path[0] != '\0' ? t->lost_path : NULL,
        .lost_count = t->lost_count,
        .metadata_schema = t->address.schema_is_default ? NULL : t->address.schema,
        .data_path = cb_lake_target_given(t),
        .missing = t->missing_count,
        .snapshot = t->lake.has_snapshot ? t->lake.snapshot : t->was.snapshot,
        .snapshot_us = t->lake.has_snapshot ? t->snapshot_us : 0,
    };
}
