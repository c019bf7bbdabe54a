/*
 * references.c - files of a lake that a backup tells of and does not copy: they stay where they
 * are, in a bucket that keeps versions or in a replica that somebody else keeps up.
 *
 * An item says where the file is, how long, and which version of it. What was found in storage, or
 * in the replica, is walked beside what the catalog names: both in the order of items. Files that
 * lie outside the data path have no place in a replica: those are copied.
 */
#include "source/ducklake/source_internal.h"

#include "base/text.h"
#include "codec/field.h"

#include <stdio.h>

/* ---- what is there -------------------------------------------------------------------------- */

/* Sizes and, where they count, versions come with the same listing. */
cb_code cb_lake_list_storage(cb_lake_source *s, cb_error *err)
{
    const char *path = s->info.data_path;
    cb_code code;

    if (s->lake.data == CB_LAKE_DATA_REFERENCE) {
        code = cb_lake_files_list_versions(s->files, path, path, s->ledger, CB_LEDGER_FOUND, err);
        if (code != CB_DENIED && code != CB_UNSUPPORTED)
            return code;
        cb_event_text(s->ctx, CB_EVENT_WARNING,
                      "the versions of the lake's files are not kept in mind: %s", err->message);
        cb_error_clear(err);
        code = cb_ledger_clear(s->ledger, CB_LEDGER_FOUND, err);
        if (code != CB_OK)
            return code;
    }
    return cb_lake_files_list(s->files, path, path, s->ledger, CB_LEDGER_FOUND, err);
}

cb_code cb_lake_list_replica(cb_lake_source *s, cb_error *err)
{
    cb_lake_info info = s->info;
    cb_code code = CB_OK;

    if (s->lake.data != CB_LAKE_DATA_REPLICA)
        return CB_OK;
    if (s->replica_files == NULL)
        code = cb_lake_files_open(s->ctx, s->lake.replica, &s->replica_files, err);
    if (code == CB_OK && s->replica == NULL)
        code = cb_ledger_open(s->ctx, s->home.path, &s->replica, err);
    if (code == CB_OK)
        code = cb_ledger_clear(s->replica, CB_LEDGER_FOUND, err);
    if (code == CB_OK)
        code = cb_lake_info_place(&s->address, s->lake.replica, &s->round, &info, err);
    if (code == CB_OK && !cb_lake_url_is_remote(info.data_path)) /* a restore runs elsewhere */
        code = cb_arena_text(&s->arena, info.data_path, &s->lake.replica, err);
    if (code == CB_OK)
        code = cb_lake_files_list(s->replica_files, info.data_path, info.data_path, s->replica,
                                  CB_LEDGER_FOUND, err);
    return code == CB_OK ? CB_OK : cb_context(err, "the replica '%s'", s->lake.replica);
}

void cb_lake_rewind_references(cb_lake_source *s)
{
    cb_ledger_cursor_close(s->beside);
    s->beside = NULL;
    s->has_beside = s->is_beside_open = false;
    s->absent = 0;
}

/* Move along to the item; has_beside and an equal path: it is there. */
static cb_code seek_beside(cb_lake_source *s, const char *item, bool *found, cb_error *err)
{
    cb_ledger *ledger = s->lake.data == CB_LAKE_DATA_REPLICA ? s->replica : s->ledger;
    cb_code code = CB_OK;

    *found = false;
    if (!s->is_beside_open) {
        s->is_beside_open = true;
        code = cb_ledger_cursor_open(ledger, CB_LEDGER_FOUND, &s->beside, err);
        if (code == CB_OK)
            code = cb_ledger_cursor_next(s->beside, &s->beside_entry, &s->has_beside, err);
    }
    while (code == CB_OK && s->has_beside && cb_item_path_compare(s->beside_entry.item, item) < 0)
        code = cb_ledger_cursor_next(s->beside, &s->beside_entry, &s->has_beside, err);
    *found = code == CB_OK && s->has_beside && strcmp(s->beside_entry.item, item) == 0;
    return code;
}

/* ---- items ---------------------------------------------------------------------------------- */

bool cb_lake_is_reference(const cb_lake_source *s, const cb_ledger_entry *entry)
{
    return s->lake.data == CB_LAKE_DATA_REFERENCE ||
           (s->lake.data == CB_LAKE_DATA_REPLICA && cb_has_prefix(entry->item, "data/"));
}

static void tell_absent(cb_lake_source *s, const cb_ledger_entry *entry, bool is_there)
{
    char what[128] = "it is not there";

    if (is_there)
        snprintf(what, sizeof(what), "it has %lld bytes there instead of %lld",
                 (long long)s->beside_entry.size_bytes, (long long)entry->size_bytes);
    if (s->absent++ == 0)
        snprintf(s->first_absent, sizeof(s->first_absent), "'%.380s': %s", entry->url, what);
    if (s->absent <= CB_LAKE_NAMED_MAX)
        cb_event_text(s->ctx, CB_EVENT_ERROR, "the replica lacks '%s': %s", entry->url, what);
    else if (s->absent == CB_LAKE_NAMED_MAX + 1)
        cb_event_text(s->ctx, CB_EVENT_ERROR, "and the replica lacks more files");
}

cb_code cb_lake_refer(cb_lake_source *s, const cb_ledger_entry *entry, uint64_t size,
                      bool is_damaged, cb_error *err)
{
    cb_lake_reference reference = {.url = entry->url};
    bool found;
    cb_code code = seek_beside(s, entry->item, &found, err);

    if (code != CB_OK)
        return code;
    if (s->lake.data == CB_LAKE_DATA_REPLICA) {
        bool is_right = found && (uint64_t)s->beside_entry.size_bytes == size;

        if (!is_right)
            tell_absent(s, entry, found);
        is_damaged = !is_right; /* what counts is where a restore will look */
    } else if (found && s->beside_entry.checksum[0] != '\0') {
        reference.version = s->beside_entry.checksum;
    }
    return cb_lake_put_attrs(s, entry, size, is_damaged, &reference, err);
}

static cb_bytes attr_of(cb_bytes attrs, uint32_t tag)
{
    cb_field_reader reader = {attrs};
    cb_error ignored = {0};
    cb_field field;
    bool more = false;

    while (cb_field_next(&reader, &field, &more, &ignored) == CB_OK && more)
        if (field.tag == tag)
            return field.value;
    return cb_bytes_of(NULL, 0);
}

static bool same_attr(const cb_item *a, const cb_item *b, uint32_t tag)
{
    cb_bytes one = attr_of(a->attrs, tag);
    cb_bytes other = attr_of(b->attrs, tag);

    return one.size == 0 || other.size == 0 ||
           (one.size == other.size && memcmp(one.data, other.data, one.size) == 0);
}

/* A file of a lake never changes: one that did was overwritten by somebody. */
void cb_lake_compare_reference(cb_lake_source *s, const cb_item *parent)
{
    if (same_attr(parent, &s->item, CB_LAKE_ATTR_VERSION) &&
        same_attr(parent, &s->item, CB_LAKE_ATTR_SIZE))
        return;
    cb_event_text(s->ctx, CB_EVENT_WARNING,
                  "'%s' was written anew since the backup before, which refers to another version "
                  "of it",
                  (const char *)s->from.data);
}

cb_code cb_lake_judge_references(cb_lake_source *s, cb_error *err)
{
    if (s->absent == 0 || s->options.allow_damage)
        return CB_OK;
    cb_fail(err, CB_CORRUPT, "the replica '%s' lacks %llu of the lake's files, the first is %s",
            s->lake.replica, (unsigned long long)s->absent, s->first_absent);
    cb_hint(err, "Try again when the replication has caught up; --allow-damage keeps a backup "
                 "that says which files it lacks.");
    return err->code;
}
