/*
 * references.c - files of a lake that a backup tells of and does not copy: they stay where they
 * are, in a bucket that keeps versions or in a replica that somebody else keeps up.
 *
 * An item says where the file is, how long, which version of it, and the mark of its content: the
 * store's own, which comes with the listing; of a local file the SHA-256, for which it is read
 * once. So one that somebody wrote over is noticed, though its size is the same. What was found in
 * storage, or in the replica, is walked beside what the catalog names: both in the order of items.
 * Files that lie outside the data path have no place in a replica: those are copied.
 */
#include "source/ducklake/source_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

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
    s->absent = s->altered = s->lasting = s->fleeting = 0;
    free(s->reference.place);
    s->reference = (cb_lake_reference){0};
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

static cb_code describe(cb_lake_source *s, cb_error *err)
{
    const cb_lake_reference *r = &s->reference;
    const cb_ledger_entry entry = {.kind = r->kind, .url = r->url};

    return cb_lake_put_attrs(s, &entry, r->size, r->is_damaged, r, err);
}

/* What the listing says; a file outside is in none, and is looked at by itself. */
static cb_code find_facts(cb_lake_source *s, const cb_ledger_entry *entry, bool found,
                          cb_error *err)
{
    cb_lake_reference *r = &s->reference;
    cb_lake_facts facts = {0};
    cb_code code;

    r->is_there = found;
    if (found) {
        r->modified_us = s->beside_entry.modified_us;
        snprintf(r->version, sizeof(r->version), "%s", s->beside_entry.version);
        if (strlen(s->beside_entry.checksum) < sizeof(r->tag))
            snprintf(r->tag, sizeof(r->tag), "%s", s->beside_entry.checksum);
        return CB_OK;
    }
    if (s->lake.data == CB_LAKE_DATA_REPLICA || cb_has_prefix(entry->item, "data/"))
        return CB_OK;
    code = cb_lake_files_look(s->files, entry->url, &facts, err);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    r->is_there = code == CB_OK;
    r->modified_us = facts.modified_us;
    memcpy(r->version, facts.version, sizeof(r->version));
    memcpy(r->tag, facts.tag, sizeof(r->tag));
    return code;
}

cb_code cb_lake_refer(cb_lake_source *s, const cb_ledger_entry *entry, uint64_t size,
                      bool is_damaged, cb_error *err)
{
    cb_lake_reference *r = &s->reference;
    bool found;
    cb_code code = seek_beside(s, entry->item, &found, err);

    free(r->place);
    *r = (cb_lake_reference){.kind = entry->kind,
                             .size = size,
                             .url = (const char *)s->from.data,
                             .is_damaged = is_damaged};
    s->is_settled = false;
    if (code == CB_OK)
        code = find_facts(s, entry, found, err);
    if (code != CB_OK)
        return code;
    if (s->lake.data == CB_LAKE_DATA_REPLICA) {
        r->is_damaged = !found || (uint64_t)s->beside_entry.size_bytes != size;
        if (r->is_damaged) /* what counts is where a restore will look */
            tell_absent(s, entry, found);
    }
    r->place = strdup(found ? s->beside_entry.url : entry->url);
    if (r->place == NULL)
        return cb_fail_memory(err, strlen(entry->url));
    r->has_modified = r->is_there && !cb_lake_url_is_remote(r->place);
    if (!r->has_modified)
        r->modified_us = 0;
    return describe(s, err);
}

/* ---- is it as it was? ----------------------------------------------------------------------- */

/* Local files have no mark: theirs is the SHA-256, taken once and again when the file was touched.
   One that went meanwhile is nothing else than one that went while it was read. */
static cb_code take_checksum(cb_lake_source *s, const cb_lake_attrs *was, cb_error *err)
{
    cb_lake_reference *r = &s->reference;
    cb_code code;

    if (was->has_checksum && was->has_modified && was->size == r->size &&
        was->modified_us == r->modified_us) {
        memcpy(r->checksum, was->checksum, sizeof(r->checksum));
        r->has_checksum = true;
        return CB_OK;
    }
    code = cb_lake_files_hash(s->lake.data == CB_LAKE_DATA_REPLICA ? s->replica_files : s->files,
                              r->place, r->size, r->checksum, err);
    r->has_checksum = code == CB_OK;
    if (code != CB_NOT_FOUND && code != CB_CORRUPT)
        return code;
    cb_error_clear(err);
    atomic_store(&s->is_moved, true);
    return CB_OK;
}

static cb_lake_likeness compare_contents(const cb_lake_reference *now, const cb_lake_attrs *was)
{
    if (was->size != now->size)
        return CB_LAKE_UNLIKE;
    if (now->has_checksum && was->has_checksum)
        return memcmp(now->checksum, was->checksum, sizeof(now->checksum)) == 0 ? CB_LAKE_ALIKE
                                                                                : CB_LAKE_UNLIKE;
    if (now->version[0] != '\0' && strcmp(now->version, was->version) == 0)
        return CB_LAKE_ALIKE;
    return cb_lake_tag_compare(now->tag, was->tag);
}

static void tell_altered(cb_lake_source *s, const char *place)
{
    if (s->altered++ == 0)
        snprintf(s->first_altered, sizeof(s->first_altered), "%s", place);
    if (s->altered <= CB_LAKE_NAMED_MAX)
        cb_event_text(s->ctx, CB_EVENT_ERROR,
                      "'%s' was written over since the backup before: it has other content", place);
    else if (s->altered == CB_LAKE_NAMED_MAX + 1)
        cb_event_text(s->ctx, CB_EVENT_ERROR, "and more files were written over");
}

/* A file of a lake never changes: one that did was overwritten by somebody. */
static void compare_with(cb_lake_source *s, const cb_lake_attrs *was)
{
    cb_lake_reference *r = &s->reference;

    if (!was->is_reference || was->is_damaged || r->is_damaged || !r->is_there)
        return;
    switch (compare_contents(r, was)) {
    case CB_LAKE_ALIKE:
        break;
    case CB_LAKE_UNLIKE:
        r->is_damaged = true;
        tell_altered(s, r->place);
        break;
    case CB_LAKE_UNTOLD:
        if (was->version[0] != '\0' && r->version[0] != '\0')
            cb_event_text(s->ctx, CB_EVENT_WARNING,
                          "'%s' was put anew since the backup before, in a way that does not tell "
                          "whether its content is the same",
                          r->place);
        break;
    }
}

cb_code cb_lake_settle_reference(cb_lake_source *s, const cb_item *parent, bool *changed,
                                 cb_error *err)
{
    cb_lake_reference *r = &s->reference;
    cb_lake_attrs was = {0};
    cb_code code = CB_OK;

    *changed = false;
    if (s->is_settled)
        return CB_OK;
    s->is_settled = true;
    if (parent != NULL)
        code = cb_lake_attrs_read(parent->attrs, &was, err);
    if (code == CB_OK && r->has_modified && !r->is_damaged)
        code = take_checksum(s, &was, err);
    if (code != CB_OK)
        return code;
    compare_with(s, &was);
    if (r->version[0] != '\0')
        s->lasting++;
    else
        s->fleeting++;
    *changed = r->has_checksum || r->is_damaged;
    return *changed ? describe(s, err) : CB_OK;
}

/* ---- judgement ------------------------------------------------------------------------------ */

static cb_code refuse_altered(cb_lake_source *s, cb_error *err)
{
    cb_fail(err, CB_CORRUPT,
            "%llu %s of the lake %s written over since the backup before, the first is '%s'",
            (unsigned long long)s->altered, s->altered == 1 ? "file" : "files",
            s->altered == 1 ? "was" : "were", s->first_altered);
    cb_hint(err, "DuckLake never does that. `canvasback restore NAME@LABEL --delta` of the backup "
                 "before puts back what it knows, where the store keeps versions; --allow-damage "
                 "takes the new content as it is.");
    return err->code;
}

cb_code cb_lake_judge_references(cb_lake_source *s, cb_error *err)
{
    if (s->fleeting > 0 && s->lake.data == CB_LAKE_DATA_REFERENCE)
        cb_event_text(s->ctx, CB_EVENT_WARNING,
                      "%llu of the %llu files lie where no versions are kept: what DuckLake's "
                      "cleanup deletes there, this backup will lack",
                      (unsigned long long)s->fleeting,
                      (unsigned long long)(s->fleeting + s->lasting));
    if (s->options.allow_damage)
        return CB_OK;
    if (s->altered > 0)
        return refuse_altered(s, err);
    if (s->absent == 0)
        return CB_OK;
    cb_fail(err, CB_CORRUPT, "the replica '%s' lacks %llu of the lake's files, the first is %s",
            s->lake.replica, (unsigned long long)s->absent, s->first_absent);
    cb_hint(err, "Try again when the replication has caught up; --allow-damage keeps a backup "
                 "that says which files it lacks.");
    return err->code;
}
