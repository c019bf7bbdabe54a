/*
 * lake_orphans.c - files in a lake's storage that its catalog does not name.
 *
 * Writers put files there before they commit. So the storage is listed first and the catalog read
 * afterwards: what was committed in between is named by then. What a transaction has written that
 * is still open looks like that of one that failed: only its age tells.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/text.h"
#include "source/ducklake/scratch.h"
#include "source/ducklake/tables.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct owned_orphans {
    cb_lake_orphans_result public; /* first */
    cb_arena arena;
    cb_lake_orphan *files;
    size_t capacity;
    cb_lake_places places; /* the files' tables */
} owned_orphans;

typedef struct searching {
    cb_ctx *ctx;
    const cb_lake_address *address;
    const char *given_path;
    owned_orphans *owned;
    cb_ledger *ledger;
    cb_lake_info info;
} searching;

/* ---- what restores have left --------------------------------------------------------------- */

static cb_code take_lost(void *arg, const cb_lake_file *file, const char *table, cb_error *err)
{
    searching *s = arg;
    CB_CLEANUP(cb_buf_free) cb_buf item = {0};
    cb_ledger_entry entry = {.url = file->url,
                             .kind = file->kind,
                             .table_id = -1,
                             .size_bytes = file->size_bytes,
                             .checksum = ""};
    cb_code code = cb_lake_item_of(s->info.data_path, file->url, &item, err);

    (void)table;
    if (code == CB_OK)
        code = cb_buf_u8(&item, '\0', err);
    entry.item = (const char *)item.data;
    return code == CB_OK ? cb_ledger_add(s->ledger, CB_LEDGER_KEPT, &entry, err) : code;
}

static cb_code take_list(void *arg, const char *path, const cb_lost_list_head *head, cb_error *err)
{
    cb_lost_list_head again;

    (void)head;
    return cb_lost_list_read(path, &again, take_lost, arg, err);
}

/* ---- what is named, and what is not -------------------------------------------------------- */

static cb_code read_place(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    searching *s = arg;
    cb_code code;

    *keep = false;
    code = cb_lake_info_read(db, schema, &s->owned->arena, &s->info, err);
    return code == CB_OK
               ? cb_lake_info_place(s->address, s->given_path, &s->owned->arena, &s->info, err)
               : code;
}

static cb_code read_names(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    searching *s = arg;
    char listed[CB_PATH_MAX];
    cb_code code;

    snprintf(listed, sizeof(listed), "%s", s->info.data_path);
    code = read_place(s, db, schema, keep, err);
    if (code == CB_OK && strcmp(listed, s->info.data_path) != 0) {
        cb_fail(err, CB_BUSY, "the lake's data path was changed while its files were listed");
        cb_hint(err, "Try again.");
        return err->code;
    }
    if (code == CB_OK)
        code = cb_ledger_add_named(s->ledger, db, schema, &s->info, err);
    return code == CB_OK ? cb_lake_places_read(db, schema, &s->info, false, &s->owned->places, err)
                         : code;
}

/* The catalog's own file, when it lies among the data. */
static bool is_catalog(const searching *s, const char *url)
{
    const char *own = s->address->path;
    size_t size = strlen(own);

    if (s->address->kind == CB_LAKE_POSTGRES || strncmp(url, own, size) != 0)
        return false;
    return url[size] == '\0' || strcmp(url + size, ".wal") == 0 ||
           strcmp(url + size, "-wal") == 0 || strcmp(url + size, "-shm") == 0 ||
           strcmp(url + size, "-journal") == 0;
}

static cb_code kind_of(searching *s, const cb_ledger_entry *found, const cb_ledger_entry *named,
                       const char *table, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry entry;
    bool is_lost = false;
    cb_code code;

    *out = "scheduled";
    if (named != NULL)
        return CB_OK;
    code = cb_ledger_find(s->ledger, CB_LEDGER_KEPT, found->url, &arena, &entry, &is_lost, err);
    if (is_lost)
        *out = "lost by a restore";
    else if (cb_temp_is_name(cb_path_base(found->url), cb_lake_part_prefix))
        *out = "killed restore";
    else if (table[0] != '\0' &&
             (cb_has_suffix(found->url, ".parquet") || cb_has_suffix(found->url, ".puffin")))
        *out = "failed write";
    else
        *out = "other";
    return code;
}

static cb_code take_pair(void *arg, const cb_ledger_entry *found, const cb_ledger_entry *named,
                         cb_error *err)
{
    searching *s = arg;
    owned_orphans *owned = s->owned;
    cb_lake_orphans_result *r = &owned->public;
    const cb_lake_place *place;
    cb_lake_orphan *orphan;
    cb_code code = CB_OK;

    if (named != NULL && named->kind != CB_LAKE_FILE_SCHEDULED)
        r->named++;
    if (found == NULL || (named != NULL && named->kind != CB_LAKE_FILE_SCHEDULED) ||
        is_catalog(s, found->url))
        return CB_OK;
    if (r->count == owned->capacity)
        code = cb_array_grow(&owned->files, &owned->capacity, sizeof(*owned->files), err);
    if (code != CB_OK)
        return code;
    r->files = owned->files;
    orphan = &owned->files[r->count];
    place = cb_lake_places_of(&s->owned->places, found->url);
    orphan->table = place != NULL ? place->name : "";
    orphan->size_bytes = found->size_bytes < 0 ? 0 : (uint64_t)found->size_bytes;
    orphan->modified_us = found->modified_us;
    code = kind_of(s, found, named, orphan->table, &orphan->kind, err);
    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, found->url, &orphan->path, err);
    if (code != CB_OK)
        return code;
    r->count++;
    r->bytes += orphan->size_bytes;
    return CB_OK;
}

/* By table, kind, age: the oldest first. */
static int in_order(const void *left, const void *right)
{
    const cb_lake_orphan *a = left;
    const cb_lake_orphan *b = right;
    int order = strcmp(a->table, b->table);

    if (order == 0)
        order = strcmp(a->kind, b->kind);
    if (order == 0 && a->modified_us != b->modified_us)
        order = a->modified_us < b->modified_us ? -1 : 1;
    return order != 0 ? order : strcmp(a->path, b->path);
}

static cb_code search(searching *s, cb_error *err)
{
    CB_CLEANUP(cb_lake_files_cleanup) cb_lake_files *files = NULL;
    owned_orphans *owned = s->owned;
    cb_code code = cb_lake_look(s->ctx, s->address, read_place, s, err);

    if (code == CB_OK)
        code = cb_lake_files_open(s->ctx, s->given_path, &files, err);
    if (code == CB_OK) {
        cb_event_text(s->ctx, CB_EVENT_PHASE, "listing %s", s->info.data_path);
        code = cb_lake_files_list(files, s->info.data_path, s->info.data_path, s->ledger,
                                  CB_LEDGER_FOUND, err);
    }
    if (code == CB_OK)
        code = cb_lake_look(s->ctx, s->address, read_names, s, err);
    if (code == CB_OK)
        code = cb_lake_lists_visit(s->ctx, s->info.identity, take_list, s, err);
    if (code == CB_OK)
        code = cb_ledger_compare(s->ledger, CB_LEDGER_FOUND, CB_LEDGER_NAMED, take_pair, s, err);
    if (code == CB_OK && owned->public.count > 0)
        qsort(owned->files, owned->public.count, sizeof(*owned->files), in_order);
    return code;
}

cb_code cb_lake_orphans(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                        cb_lake_orphans_result **out, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    CB_CLEANUP(cb_ledger_cleanup) cb_ledger *ledger = NULL;
    cb_lake_address address;
    searching s = {.ctx = ctx, .address = &address};
    cb_code code;

    *out = NULL;
    s.given_path = options == NULL ? NULL : options->data_path;
    code = cb_lake_address_parse(lake, options == NULL ? NULL : options->metadata_schema, &address,
                                 err);
    if (code == CB_OK)
        code = cb_scratch_make(ctx, &scratch, err);
    if (code == CB_OK)
        code = cb_ledger_open(ctx, scratch.path, &ledger, err);
    if (code != CB_OK)
        return code;
    s.ledger = ledger;
    s.owned = calloc(1, sizeof(*s.owned));
    if (s.owned == NULL)
        return cb_fail_memory(err, sizeof(*s.owned));
    code = search(&s, err);
    if (code != CB_OK) {
        cb_lake_orphans_result_free(&s.owned->public);
        return code;
    }
    *out = &s.owned->public;
    return CB_OK;
}

void cb_lake_orphans_result_free(cb_lake_orphans_result *result)
{
    owned_orphans *owned = (owned_orphans *)result;

    if (owned == NULL)
        return;
    free(owned->files);
    cb_lake_places_free(&owned->places);
    cb_arena_free(&owned->arena);
    free(owned);
}
