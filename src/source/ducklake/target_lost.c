/*
 * target_lost.c - before a live lake's catalog is replaced: the files that it names and the
 * restored one will not, as a list that outlives both catalogs.
 */
#include "source/ducklake/target_internal.h"

#include "base/time.h"
#include "source/ducklake/lost_list.h"

#include <stdio.h>

typedef struct losing {
    cb_lake_target *target;
    cb_lake_db *db;
    cb_lake_info info;
    cb_lost_list_writer *writer;
    cb_arena arena; /* of the table's name */
    int64_t table_id;
    const char *table;
    char path[CB_PATH_MAX];
} losing;

static cb_code keep_name(void *arg, const cb_lake_file *file, cb_error *err)
{
    losing *l = arg;
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

    return cb_ledger_add(l->target->ledger, CB_LEDGER_KEPT, &entry, err);
}

/* NAME-20261121-140000.lost in the folder; the first file makes it. */
static cb_code create_list(losing *l, cb_error *err)
{
    cb_lake_target *t = l->target;
    cb_lost_list_head head = {.restored_snapshot =
                                  t->lake.has_snapshot ? t->lake.snapshot : t->was.snapshot,
                              .replaced_snapshot = l->info.snapshot_id};
    const char *name = t->address.name[0] != '\0' ? t->address.name : "lake";
    char stamp[CB_TIME_TEXT_MAX];
    char label[32];
    char base[160];
    size_t size = 0;
    cb_code code = cb_folder_make(t->options.lost_list, err);

    /* 2026-11-21T14:00:00... -> 20261121-140000 */
    cb_format_rfc3339(cb_now_us(t->ctx), stamp);
    for (const char *at = stamp; *at != '\0' && *at != '.' && *at != 'Z' && size < 15; at++)
        if (*at != '-' && *at != ':')
            label[size++] = *at == 'T' || *at == ' ' ? '-' : *at;
    label[size] = '\0';
    snprintf(head.identity, sizeof(head.identity), "%s", l->info.identity);
    for (unsigned nth = 1; code == CB_OK; nth++) {
        if (nth == 1)
            snprintf(base, sizeof(base), "%s-%s.lost", name, label);
        else
            snprintf(base, sizeof(base), "%s-%s-%u.lost", name, label, nth);
        code = cb_path_join(t->options.lost_list, base, l->path, err);
        if (code != CB_OK || !cb_path_exists(l->path))
            break;
    }
    return code == CB_OK ? cb_lost_list_create(l->path, &head, &l->writer, err) : code;
}

static cb_code table_of(losing *l, int64_t table_id, cb_error *err)
{
    if (l->table_id == table_id && l->table != NULL)
        return CB_OK;
    cb_arena_free(&l->arena);
    l->table_id = table_id;
    l->table = NULL;
    return table_id >= 0 ? cb_lake_table_name(l->db, table_id, &l->arena, &l->table, err) : CB_OK;
}

static cb_code look_at_pair(void *arg, const cb_ledger_entry *restored, const cb_ledger_entry *old,
                            cb_error *err)
{
    losing *l = arg;
    cb_lake_file file;
    cb_code code = CB_OK;

    if (restored != NULL || old == NULL)
        return CB_OK;
    if (l->writer == NULL)
        code = create_list(l, err);
    if (code == CB_OK)
        code = table_of(l, old->table_id, err);
    if (code != CB_OK)
        return code;
    file = (cb_lake_file){
        .url = old->url,
        .item = old->item,
        .kind = old->kind,
        .id = old->id,
        .table_id = old->table_id,
        .begin_snapshot = old->begin_snapshot,
        .end_snapshot = old->end_snapshot,
        .size_bytes = old->size_bytes,
        .footer_bytes = old->footer_bytes,
        .records = old->records,
        .is_encrypted = old->is_encrypted,
        .is_absolute = old->is_absolute,
    };
    l->target->lost_count++;
    return cb_lost_list_add(l->writer, &file, l->table, err);
}

static cb_code compare(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                       cb_error *err)
{
    losing *l = arg;
    cb_lake_target *t = l->target;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_code code = cb_lake_info_read(db, schema, &arena, &l->info, err);

    *keep = false;
    l->db = db;
    if (code == CB_OK)
        code = cb_lake_info_place(&t->address, NULL, &arena, &l->info, err);
    if (code == CB_OK)
        code = cb_ledger_clear(t->ledger, CB_LEDGER_KEPT, err);
    if (code == CB_OK)
        code = cb_lake_files_visit(db, schema, &l->info, keep_name, l, err);
    if (code == CB_OK)
        code = cb_ledger_compare(t->ledger, CB_LEDGER_NAMED, CB_LEDGER_KEPT, look_at_pair, l, err);
    if (code == CB_OK && l->writer != NULL)
        code = cb_lost_list_end(l->writer, err);
    return code;
}

cb_code cb_lake_target_list_lost(cb_lake_target *t, cb_error *err)
{
    losing l = {.target = t, .table_id = -1};
    bool has_list;
    cb_code code;

    if (!t->exists || t->options.lost_list == NULL)
        return CB_OK;
    code = cb_lake_target_ledger(t, err);
    if (code == CB_OK)
        code = cb_lake_look(t->ctx, &t->address, compare, &l, err);
    has_list = code == CB_OK && l.writer != NULL;
    cb_lost_list_free(l.writer);
    cb_arena_free(&l.arena);
    if (has_list) {
        snprintf(t->lost_path, sizeof(t->lost_path), "%s", l.path);
        cb_event_text(t->ctx, CB_EVENT_INFO,
                      "%llu file%s of the lake that is replaced will not be named any more, as "
                      "listed in '%s'",
                      (unsigned long long)t->lost_count, t->lost_count == 1 ? "" : "s",
                      t->lost_path);
        return CB_OK;
    }
    t->lost_count = 0;
    if (code == CB_OK || code == CB_CANCELLED || code == CB_NO_MEMORY || code == CB_NO_SPACE)
        return code;
    cb_event_text(t->ctx, CB_EVENT_WARNING,
                  "the files that the replaced lake named cannot be listed: %s", err->message);
    cb_error_clear(err);
    return CB_OK;
}
