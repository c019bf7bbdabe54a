/*
 * lake_repoint.c - a lake's data is somewhere else now: tell its catalog, after making sure that
 * all of it is there.
 *
 * The files are compared outside of any transaction: that may take minutes. The change itself is
 * one short step that first makes sure that nobody has committed since, for such a commit's files
 * would be at the old place.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct owned_repoint {
    cb_lake_repoint_result public; /* first */
    cb_arena arena;
    cb_lake_change_info *changes;
    size_t change_capacity;
    const char **left;
    size_t left_capacity;
} owned_repoint;

typedef struct repointing {
    cb_ctx *ctx;
    const cb_lake_repoint_request *request;
    const cb_lake_address *address;
    owned_repoint *owned;
    cb_ledger *ledger;
    cb_lake_info from; /* as the catalog says it */
    cb_lake_info to;   /* the same with the new data path */
    struct cb_lake_prefix prefixes[2];
    size_t prefix_count;
    /* Of the rows being listed. */
    const char *what;
    /* Of the comparison. */
    uint64_t named, missing;
    char first[CB_MESSAGE_MAX]; /* that is missing, and how */
} repointing;

/* ---- what the catalog has ------------------------------------------------------------------ */

/* The path as it will be; NULL: it stays. */
static cb_code rewritten(repointing *p, const char *path, const char **out, cb_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < p->prefix_count; i++)
        if (cb_has_prefix(path, p->prefixes[i].from))
            return cb_arena_format(&p->owned->arena, out, err, "%s%s", p->prefixes[i].to,
                                   path + strlen(p->prefixes[i].from));
    return CB_OK;
}

static cb_code add_change(repointing *p, const char *what, const char *from, const char *to,
                          cb_error *err)
{
    owned_repoint *owned = p->owned;
    cb_lake_repoint_result *r = &owned->public;
    cb_lake_change_info *change;
    cb_code code = CB_OK;

    if (r->change_count == owned->change_capacity)
        code =
            cb_array_grow(&owned->changes, &owned->change_capacity, sizeof(*owned->changes), err);
    if (code != CB_OK)
        return code;
    r->changes = owned->changes;
    change = &owned->changes[r->change_count];
    change->what = what;
    change->to = to;
    code = cb_arena_text(&owned->arena, from, &change->from, err);
    if (code == CB_OK)
        r->change_count++;
    return code;
}

static cb_code add_left(repointing *p, const char *path, cb_error *err)
{
    owned_repoint *owned = p->owned;
    cb_lake_repoint_result *r = &owned->public;
    cb_code code = CB_OK;

    if (cb_has_prefix(path, p->to.data_path))
        return CB_OK; /* it is there already */
    if (r->left_count == owned->left_capacity)
        code = cb_array_grow(&owned->left, &owned->left_capacity, sizeof(*owned->left), err);
    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, path, &owned->left[r->left_count], err);
    if (code != CB_OK)
        return code;
    r->left = owned->left;
    r->left_count++;
    return CB_OK;
}

static cb_code take_absolute(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    repointing *p = arg;
    const char *to;
    cb_code code;

    if (count != 1 || cells[0].text == NULL)
        return CB_OK;
    code = rewritten(p, cells[0].text, &to, err);
    if (code != CB_OK)
        return code;
    return to != NULL ? add_change(p, p->what, cells[0].text, to, err)
                      : add_left(p, cells[0].text, err);
}

/* Every absolute path, with what becomes of it. */
static cb_code list_absolute(repointing *p, cb_lake_db *db, const cb_lake_schema *schema,
                             cb_error *err)
{
    static const struct {
        const char *table, *what;
    } tables[] = {
        {"ducklake_schema", "schema"},
        {"ducklake_table", "table"},
        {"ducklake_data_file", "file"},
        {"ducklake_delete_file", "delete file"},
        {"ducklake_files_scheduled_for_deletion", "scheduled file"},
    };
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(tables); i++) {
        const cb_lake_table *table = cb_lake_schema_find(schema, tables[i].table);
        char sql[160];

        if (table == NULL || !cb_lake_table_has(table, "path_is_relative"))
            continue;
        p->what = tables[i].what;
        snprintf(sql, sizeof(sql),
                 "SELECT path FROM {%s} WHERE CAST(path_is_relative AS INTEGER) = 0 ORDER BY path",
                 tables[i].table + strlen("ducklake_"));
        code = cb_lake_db_query(db, sql, take_absolute, p, err);
    }
    return code;
}

/* Where each file must be found afterwards. Scheduled ones may be missing anywhere. */
static cb_code take_file(void *arg, const cb_lake_file *file, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf item = {0};
    repointing *p = arg;
    cb_ledger_entry entry = {
        .url = file->url,
        .item = file->item,
        .kind = file->kind,
        .id = file->id,
        .table_id = file->table_id,
        .begin_snapshot = file->begin_snapshot,
        .end_snapshot = file->end_snapshot,
        .size_bytes = file->size_bytes,
        .footer_bytes = file->footer_bytes,
        .records = file->records,
        .is_encrypted = file->is_encrypted,
        .is_absolute = file->is_absolute,
        .checksum = "",
    };
    cb_code code = CB_OK;

    if (file->kind == CB_LAKE_FILE_SCHEDULED)
        return CB_OK;
    if (file->is_absolute) {
        code = rewritten(p, file->url, &entry.url, err);
        if (code != CB_OK || entry.url == NULL)
            return code;
        code = cb_lake_item_of(p->to.data_path, entry.url, &item, err);
        if (code == CB_OK)
            code = cb_buf_u8(&item, '\0', err);
        entry.item = (const char *)item.data;
    }
    return code == CB_OK ? cb_ledger_add(p->ledger, CB_LEDGER_NAMED, &entry, err) : code;
}

static void set_prefixes(repointing *p)
{
    const char *olds[] = {p->from.data_path, p->from.stored_data_path};

    if (!p->request->absolute)
        return;
    /* The path as it is stored, too, when that is another way to write it. */
    for (size_t i = 0; i < CB_LENGTH(olds); i++)
        if (olds[i][0] != '\0' && (i == 0 || strcmp(olds[0], olds[i]) != 0) &&
            strcmp(olds[i], p->to.data_path) != 0)
            p->prefixes[p->prefix_count++] = (struct cb_lake_prefix){olds[i], p->to.data_path};
}

static cb_code plan(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                    cb_error *err)
{
    repointing *p = arg;
    cb_arena *arena = &p->owned->arena;
    cb_lake_repoint_result *r = &p->owned->public;
    cb_code code;

    *keep = false;
    code = cb_lake_info_read(db, schema, arena, &p->from, err);
    if (code == CB_OK && !p->from.is_known) {
        cb_fail(err, CB_UNSUPPORTED, "the lake has version %s, which is not known to this program",
                p->from.version);
        cb_hint(err, "Nothing was changed. A newer release may know it.");
        return err->code;
    }
    if (code == CB_OK)
        code = cb_lake_info_place(p->address, NULL, arena, &p->from, err);
    p->to = p->from;
    if (code == CB_OK)
        code = cb_lake_info_place(p->address, p->request->options.data_path, arena, &p->to, err);
    if (code != CB_OK)
        return code;
    r->from = p->from.data_path;
    r->to = p->to.data_path;
    set_prefixes(p);
    if (strcmp(p->from.stored_data_path, p->to.data_path) != 0)
        code = add_change(p, "data_path", p->from.stored_data_path, p->to.data_path, err);
    if (code == CB_OK)
        code = list_absolute(p, db, schema, err);
    return code == CB_OK ? cb_lake_files_visit(db, schema, &p->to, take_file, p, err) : code;
}

/* ---- what the new place has ---------------------------------------------------------------- */

static cb_code take_pair(void *arg, const cb_ledger_entry *named, const cb_ledger_entry *found,
                         cb_error *err)
{
    repointing *p = arg;
    bool is_there = found != NULL && named != NULL &&
                    (named->size_bytes < 0 || named->size_bytes == found->size_bytes);

    (void)err;
    if (named == NULL)
        return CB_OK;
    p->named++;
    if (is_there) {
        p->owned->public.files++;
        return CB_OK;
    }
    if (p->missing++ > 0)
        return CB_OK;
    if (found == NULL)
        snprintf(p->first, sizeof(p->first), "'%s' is missing", named->url);
    else
        snprintf(p->first, sizeof(p->first), "'%s' has %lld bytes, not %lld", named->url,
                 (long long)found->size_bytes, (long long)named->size_bytes);
    return CB_OK;
}

static cb_code compare(repointing *p, cb_error *err)
{
    CB_CLEANUP(cb_lake_files_cleanup) cb_lake_files *files = NULL;
    const char *to = p->to.data_path;
    cb_code code;

    cb_event_text(p->ctx, CB_EVENT_PHASE, "looking for the files at %s", to);
    code = cb_lake_files_open(p->ctx, p->request->options.data_path, &files, err);
    if (code == CB_OK)
        code = cb_lake_files_list(files, to, to, p->ledger, CB_LEDGER_FOUND, err);
    if (code == CB_OK)
        code = cb_ledger_compare(p->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, take_pair, p, err);
    if (code != CB_OK || p->missing == 0)
        return code;
    cb_fail(err, CB_CORRUPT,
            "%llu of the lake's %llu files %s not as %s should be under '%.300s': %s",
            (unsigned long long)p->missing, (unsigned long long)p->named,
            p->missing == 1 ? "is" : "are", p->missing == 1 ? "it" : "they", to, p->first);
    cb_hint(err, "Nothing was changed. Copy the data there first, or run `canvasback restore "
                 "--data-path` from a backup.");
    return err->code;
}

/* ---- the change ---------------------------------------------------------------------------- */

static cb_code apply(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                     cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    repointing *p = arg;
    cb_lake_info now;
    cb_lake_changes changes = {
        .data_path = p->to.data_path,
        .prefixes = p->prefixes,
        .prefix_count = p->prefix_count,
    };
    cb_lake_changed changed;
    cb_code code = CB_OK;

    /* Every commit inserts a snapshot: from here to our own commit there is none. SQLite and DuckDB
       let one writer in at a time anyway. */
    if (cb_lake_db_kind(db) == CB_LAKE_POSTGRES)
        code = cb_lake_db_exec(db, "LOCK TABLE {snapshot} IN SHARE MODE", NULL, err);
    if (code == CB_OK)
        code = cb_lake_info_read(db, schema, &arena, &now, err);
    if (code != CB_OK)
        return code;
    if (now.snapshot_id != p->from.snapshot_id || now.data_files != p->from.data_files ||
        now.delete_files != p->from.delete_files ||
        strcmp(now.stored_data_path, p->from.stored_data_path) != 0) {
        cb_fail(err, CB_BUSY, "somebody committed to the lake while its files were looked for");
        cb_hint(err, "Nothing was changed. Stop the writers, bring their files to the new place, "
                     "and try again.");
        return err->code;
    }
    code = cb_lake_change(db, schema, &changes, &changed, err);
    *keep = true;
    return code;
}

static cb_code repoint(repointing *p, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    CB_CLEANUP(cb_ledger_cleanup) cb_ledger *ledger = NULL;
    cb_code code = cb_scratch_make(p->ctx, &scratch, err);

    if (code == CB_OK)
        code = cb_ledger_open(p->ctx, scratch.path, &ledger, err);
    p->ledger = ledger;
    if (code == CB_OK)
        code = cb_lake_look(p->ctx, p->address, plan, p, err);
    if (code == CB_OK)
        code = compare(p, err);
    if (code == CB_OK && !p->request->dry_run && p->owned->public.change_count > 0)
        code = cb_lake_transact(p->ctx, p->address, apply, p, err);
    p->ledger = NULL;
    return code;
}

cb_code cb_lake_repoint(cb_ctx *ctx, const cb_lake_repoint_request *request,
                        cb_lake_repoint_result **out, cb_error *err)
{
    cb_lake_address address;
    repointing p = {.ctx = ctx, .request = request, .address = &address};
    cb_code code;

    *out = NULL;
    if (request->options.data_path == NULL || request->options.data_path[0] == '\0') {
        cb_fail(err, CB_USAGE, "no new place for the data was named");
        cb_hint(err, "Say where the files are now with --data-path.");
        return err->code;
    }
    code = cb_lake_address_parse(request->lake, request->options.metadata_schema, &address, err);
    if (code != CB_OK)
        return code;
    p.owned = calloc(1, sizeof(*p.owned));
    if (p.owned == NULL)
        return cb_fail_memory(err, sizeof(*p.owned));
    p.owned->public.dry_run = request->dry_run;
    code = repoint(&p, err);
    if (code != CB_OK) {
        cb_lake_repoint_result_free(&p.owned->public);
        return code;
    }
    *out = &p.owned->public;
    return CB_OK;
}

void cb_lake_repoint_result_free(cb_lake_repoint_result *result)
{
    owned_repoint *owned = (owned_repoint *)result;

    if (owned == NULL)
        return;
    free(owned->changes);
    free(owned->left);
    cb_arena_free(&owned->arena);
    free(owned);
}
