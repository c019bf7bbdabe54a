/*
 * sync.c - copy backups from one repository to another: other store, other keys.
 *
 * Each backup is read from the one as a source and taken in by the other as a backup of its own,
 * with a session and a commit: it is complete there or not there, and what an interrupted run has
 * stored is found again. Ids differ between repositories, so every chunk is read, checked against
 * its id here, and put there. The copy of the backup before serves as parent: what both have at the
 * same place is neither read nor stored.
 *
 * A backup is recognised by what it says of itself and every copy keeps: name, kind, host, source,
 * and the microseconds at which it began and which it stands for. So a backup that was written to
 * both in one pass counts as copied, and to copy there and back copies nothing twice.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct owned_sync {
    cb_sync_result public;  /* first */
    cb_audit_report damage; /* its arena holds all strings */
    cb_sync_entry *entries;
    size_t capacity;
} owned_sync;

typedef struct sync {
    cb_ctx *ctx;
    const cb_sync_request *request;
    cb_repo *from, *to; /* to NULL: it is not there, and nothing is to be made */
    owned_sync *result;
    char name[65];          /* whose backups the next three speak of; "" none yet */
    cb_manifest_ref *there; /* its backups in `to` */
    size_t there_count;
    bool has_base; /* the newest so far of the name that both have: */
    cb_manifest_ref base_from, base_to;
} sync;

/* ---- which ------------------------------------------------------------------------------- */

static int by_name_and_number(const void *a, const void *b)
{
    const cb_manifest_ref *left = a;
    const cb_manifest_ref *right = b;
    int order = strcmp(left->name, right->name);

    if (order != 0)
        return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

static cb_code add_refs(const cb_manifest_ref *refs, size_t count, cb_manifest_ref **all,
                        size_t *all_count, size_t *capacity, cb_error *err)
{
    cb_code code = cb_array_reserve(all, capacity, *all_count + count + 1, sizeof(**all), err);

    if (code == CB_OK && count > 0)
        memcpy(*all + *all_count, refs, count * sizeof(*refs));
    if (code == CB_OK)
        *all_count += count;
    return code;
}

/* NAME: all of it; NAME@LABEL: that one. */
static cb_code add_wanted(sync *s, const char *text, cb_manifest_ref **all, size_t *all_count,
                          size_t *capacity, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    cb_manifest_ref one;
    size_t count;
    cb_code code = cb_manifest_find(s->from, text, &one, err); /* says what there is */

    if (code != CB_OK)
        return code;
    if (strchr(text, '@') != NULL)
        return add_refs(&one, 1, all, all_count, capacity, err);
    code = cb_manifest_list(s->from, one.name, &refs, &count, err);
    return code == CB_OK ? add_refs(refs, count, all, all_count, capacity, err) : code;
}

/* By name, oldest first, each once. */
static cb_code choose(sync *s, cb_manifest_ref **out, size_t *count, cb_error *err)
{
    size_t capacity = 0;
    size_t kept = 0;
    cb_code code = CB_OK;

    if (s->request->backup_count == 0)
        return cb_manifest_list(s->from, NULL, out, count, err);
    for (size_t i = 0; code == CB_OK && i < s->request->backup_count; i++)
        code = add_wanted(s, s->request->backups[i], out, count, &capacity, err);
    if (code != CB_OK)
        return code;
    qsort(*out, *count, sizeof(**out), by_name_and_number);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || by_name_and_number(&(*out)[kept - 1], &(*out)[i]) != 0)
            (*out)[kept++] = (*out)[i];
    *count = kept;
    return CB_OK;
}

/* ---- is it there? ------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_backup(const cb_manifest *a, const cb_manifest *b)
{
    return a->started_us == b->started_us && a->point_us == b->point_us &&
           a->source_bytes == b->source_bytes && same_text(a->name, b->name) &&
           same_text(a->kind, b->kind) && same_text(a->host, b->host) &&
           same_text(a->source, b->source);
}

static cb_code list_there(sync *s, const char *name, cb_error *err)
{
    free(s->there);
    s->there = NULL;
    s->there_count = 0;
    if (s->to == NULL)
        return CB_OK;
    return cb_manifest_list(s->to, name, &s->there, &s->there_count, err);
}

/* The label is made from the time of the start: only those of that second need a look. */
static cb_code find_there(sync *s, const cb_manifest *manifest, const cb_manifest_ref **found,
                          cb_error *err)
{
    char label[CB_LABEL_MAX];

    *found = NULL;
    cb_format_label(manifest->started_us, false, label);
    for (size_t i = 0; i < s->there_count; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *other = NULL;
        cb_code code;

        if (!cb_has_prefix(s->there[i].label, label))
            continue;
        code = cb_manifest_load(s->to, &s->there[i], &other, err);
        if (code == CB_OK && same_backup(manifest, other)) {
            *found = &s->there[i];
            return CB_OK;
        }
        if (code == CB_CORRUPT) /* not there, then: it is copied again beside it */
            cb_event_text(s->ctx, CB_EVENT_WARNING, "%s", err->message);
        else if (code != CB_OK && code != CB_NOT_FOUND)
            return code;
        cb_error_clear(err);
    }
    return CB_OK;
}

/* The name belongs to the same source there, or to nobody yet. */
static cb_code bind_name(sync *s, const char *name, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_binding binding;
    cb_code code = cb_name_binding(s->from, name, &arena, &binding, err);

    if (code == CB_NOT_FOUND || code == CB_CORRUPT) { /* a guard, and not needed to restore */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_name_bind(s->to, name, &binding, false, err);
    if (code != CB_USAGE)
        return code;
    err->hint[0] = '\0';
    cb_hint(err, "Two sources have one name: name the backups to copy, leaving this one out, or "
                 "copy to another repository.");
    return cb_context(err, "in '%s'", s->request->to);
}

static cb_code enter_name(sync *s, const char *name, cb_error *err)
{
    cb_code code;

    if (strcmp(s->name, name) == 0)
        return CB_OK;
    memcpy(s->name, name, strlen(name) + 1);
    s->has_base = false;
    code = list_there(s, name, err);
    if (code == CB_OK && s->to != NULL && !s->request->dry_run)
        code = bind_name(s, name, err);
    return code;
}

/* ---- copying one ------------------------------------------------------------------------- */

/* `latest` there is the one that came last, and that is this one now. */
static void warn_of_order(const sync *s, const cb_manifest *manifest)
{
    char label[CB_LABEL_MAX];
    const cb_manifest_ref *last;

    if (s->there_count == 0)
        return;
    last = &s->there[s->there_count - 1];
    cb_format_label(manifest->started_us, false, label);
    if (strncmp(last->label, label, strlen(label)) > 0)
        cb_event_text(
            s->ctx, CB_EVENT_WARNING,
            "'%s' had a newer backup, %s@%s, and %s without a label now means the copy of "
            "%s, which came last: name the label when you restore there",
            s->request->to, last->name, last->label, last->name, label);
}

static cb_code load_base(sync *s, cb_manifest **from, cb_manifest **to, cb_error *err)
{
    cb_code code;

    if (!s->has_base)
        return CB_OK;
    code = cb_manifest_load(s->from, &s->base_from, from, err);
    if (code == CB_OK)
        code = cb_manifest_load(s->to, &s->base_to, to, err);
    if (code == CB_OK)
        return CB_OK;
    cb_manifest_free(*from);
    *from = NULL;
    if (code != CB_NOT_FOUND && code != CB_CORRUPT)
        return code;
    cb_error_clear(err); /* expired or damaged meanwhile: more is read, that is all */
    return CB_OK;
}

/* *unchanged: the whole table is that of the base, of which there is a copy. */
static cb_code begin(sync *s, const cb_manifest *manifest, const cb_manifest *base, cb_source **out,
                     bool *unchanged, cb_error *err)
{
    cb_backup_source_request request = {.repo = s->from, .manifest = manifest, .parent = base};
    cb_code code;

    cb_source_free(*out);
    code = cb_backup_source_new(s->ctx, &request, out, err);
    return code == CB_OK ? cb_source_begin(*out, cb_bytes_of(NULL, 0), unchanged, err) : code;
}

static cb_code take_in(sync *s, cb_session *session, const cb_manifest *manifest,
                       const cb_manifest *base_from, const cb_manifest *base_to, cb_source **source,
                       cb_error *err)
{
    cb_outlet outlet = {.repo = s->to, .session = session, .parent = base_to, .trust_parent = true};
    bool unchanged = false;
    uint64_t read_bytes;
    cb_code code = begin(s, manifest, base_from, source, &unchanged, err);

    if (code == CB_OK && unchanged) {
        code = cb_session_adopt_items(session, base_to, err);
        if (code != CB_NOT_FOUND && code != CB_CORRUPT)
            return code;
        cb_error_clear(err); /* not usable as a whole: chunk by chunk, then */
        code = begin(s, manifest, NULL, source, &unchanged, err);
    }
    return code == CB_OK ? cb_intake(s->ctx, *source, &outlet, 1, &read_bytes, err) : code;
}

/* Which item is it? Its path says more than its number. */
static cb_code find_path(sync *s, const cb_manifest *manifest, uint64_t number, const char **out,
                         cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    cb_item item = {.path = manifest != NULL ? "item table" : "manifest"};
    bool more = true;
    cb_code code = number > 0 ? cb_tree_open(s->from, manifest, &tree, err) : CB_OK;

    for (uint64_t i = 0; code == CB_OK && more && i < number; i++)
        code = cb_tree_next(tree, &item, &more, err);
    if (code == CB_CORRUPT || code == CB_NOT_FOUND) {
        cb_error_clear(err);
        code = CB_OK;
    }
    return code == CB_OK ? cb_arena_text(&s->result->damage.arena, item.path, out, err) : code;
}

static cb_code list_damage(sync *s, const cb_manifest_ref *ref, const cb_manifest *manifest,
                           const cb_backup_source_damage *damage, cb_error *err)
{
    static const cb_hash none;
    const char *path;
    cb_code code;

    if (cb_manifest_is_gone(s->from, ref)) { /* expired while it was read */
        cb_error_clear(err);
        return CB_OK;
    }
    cb_event_text(s->ctx, CB_EVENT_ERROR, "left out, it is damaged: %s@%s: %s", ref->name,
                  ref->label, damage->error.message);
    cb_error_clear(err);
    code = find_path(s, manifest, damage->item, &path, err);
    return code == CB_OK
               ? cb_audit_damage(&s->result->damage, ref, path,
                                 cb_hash_equal(&damage->chunk, &none) ? NULL : &damage->chunk,
                                 damage->error.message, err)
               : code;
}

static cb_code note(sync *s, const cb_manifest_ref *ref, const char *to_label, bool copied,
                    cb_error *err)
{
    cb_sync_result *r = &s->result->public;
    cb_sync_entry *entry;
    cb_code code = cb_array_reserve(&s->result->entries, &s->result->capacity, r->count + 1,
                                    sizeof(*entry), err);

    if (code != CB_OK)
        return code;
    entry = &s->result->entries[r->count++];
    entry->copied = copied;
    code = cb_arena_text(&s->result->damage.arena, ref->name, &entry->name, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->result->damage.arena, ref->label, &entry->label, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->result->damage.arena, to_label, &entry->to_label, err);
    return code;
}

static void set_base(sync *s, const cb_manifest_ref *from, const cb_manifest *to)
{
    s->has_base = true;
    s->base_from = *from;
    s->base_to = (cb_manifest_ref){.number = to->number};
    snprintf(s->base_to.name, sizeof(s->base_to.name), "%s", to->name);
    snprintf(s->base_to.label, sizeof(s->base_to.label), "%s", to->label);
}

static cb_code commit(sync *s, cb_session *session, const cb_manifest_ref *ref,
                      const cb_manifest *manifest, cb_error *err)
{
    cb_sync_result *r = &s->result->public;
    cb_manifest copy = *manifest; /* the session fills in what is its own */
    cb_code code = cb_session_commit(session, &copy, err);

    if (code != CB_OK)
        return code;
    r->copied++;
    r->chunks += copy.chunks;
    r->new_chunks += copy.new_chunks;
    r->new_bytes += copy.new_bytes;
    r->stored_bytes += copy.stored_bytes;
    set_base(s, ref, &copy);
    cb_cover_extend_manifest(s->ctx, s->to, &copy);
    return note(s, ref, copy.label, true, err);
}

static cb_code copy_in_session(sync *s, cb_session *session, const cb_manifest_ref *ref,
                               const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *base_from = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *base_to = NULL;
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    const cb_backup_source_damage *damage;
    cb_code code = load_base(s, &base_from, &base_to, err);

    if (code == CB_OK)
        code = take_in(s, session, manifest, base_from, base_to, &source, err);
    damage = source != NULL ? cb_backup_source_damage_of(source) : NULL;
    if (code != CB_OK && damage != NULL && damage->error.code != CB_OK)
        return list_damage(s, ref, manifest, damage, err);
    return code == CB_OK ? commit(s, session, ref, manifest, err) : code;
}

/* As a backup is refused: keys to data that is encrypted elsewhere are not to lie in the open. */
static cb_code refuse_keys(const sync *s, const cb_manifest_ref *ref, const cb_manifest *manifest,
                           cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_lake_kept kept;
    cb_code code = CB_OK;

    if (s->request->allow_keys || s->to == NULL || cb_repo_facts_of(s->to)->encrypted ||
        strcmp(manifest->kind, cb_ducklake_engine.kind) != 0)
        return CB_OK;
    code = cb_lake_kept_read(manifest, &arena, &kept, err);
    if (code == CB_CORRUPT || code == CB_UNSUPPORTED) { /* who cannot read it cannot tell */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK || !kept.is_encrypted)
        return code;
    cb_fail(err, CB_DENIED,
            "%s@%s is of an encrypted lake, its catalog holds the keys, and the repository at '%s' "
            "is not encrypted",
            ref->name, ref->label, s->request->to);
    cb_hint(err, "Copy it to a repository made with a passphrase (canvasback init --encrypt), or "
                 "give --allow-unencrypted-keys.");
    return err->code;
}

static cb_code copy_one(sync *s, const cb_manifest_ref *ref, const cb_manifest *manifest,
                        cb_error *err)
{
    CB_CLEANUP(cb_session_cleanup) cb_session *session = NULL;
    const cb_manifest_ref *found = NULL;
    cb_session_request wanted = {
        .name = ref->name,
        .started_us = manifest->started_us,
        .lock_wait_us = s->ctx->settings.lock_wait_us,
        .codec = CB_CODEC_ZSTD,
        .codec_level = -1,
        /* The one passphrase that both were opened with may be meant for the other. */
        .is_plain_meant = s->request->to_key_file == NULL && s->request->to_passphrase_file == NULL,
    };
    cb_code code;

    cb_event_text(s->ctx, CB_EVENT_PHASE, "copying %s@%s", ref->name, ref->label);
    code = cb_session_open(s->to, &wanted, &session, err);
    if (code == CB_OK)
        code = list_there(s, ref->name, err); /* another run may have copied it while we waited */
    if (code == CB_OK)
        code = find_there(s, manifest, &found, err);
    if (code != CB_OK)
        return code;
    if (found != NULL) {
        s->result->public.present++;
        return note(s, ref, found->label, false, err);
    }
    warn_of_order(s, manifest);
    return copy_in_session(s, session, ref, manifest, err);
}

static cb_code visit(sync *s, const cb_manifest_ref *ref, cb_error *err)
{
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    const cb_manifest_ref *found;
    cb_code code = cb_manifest_load(s->from, ref, &manifest, err);

    if (code == CB_NOT_FOUND) { /* expired a moment ago */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_CORRUPT) {
        cb_backup_source_damage damage = {.error = *err};

        return list_damage(s, ref, NULL, &damage, err);
    }
    if (code == CB_OK)
        code = enter_name(s, ref->name, err);
    if (code == CB_OK)
        code = find_there(s, manifest, &found, err);
    if (code != CB_OK)
        return code;
    if (found != NULL) {
        s->has_base = true;
        s->base_from = *ref;
        s->base_to = *found;
        s->result->public.present++;
        return note(s, ref, found->label, false, err);
    }
    code = refuse_keys(s, ref, manifest, err);
    if (code != CB_OK)
        return code;
    if (s->request->dry_run) {
        s->result->public.copied++;
        return note(s, ref, NULL, false, err);
    }
    code = copy_one(s, ref, manifest, err);
    if (code == CB_RETRY) { /* we slept so long that we were given up; what was stored is found */
        cb_event_text(s->ctx, CB_EVENT_WARNING, "starting over: %s", err->message);
        cb_error_clear(err);
        code = copy_one(s, ref, manifest, err);
    }
    return code == CB_OK ? list_there(s, ref->name, err) : code;
}

/* ---- the whole --------------------------------------------------------------------------- */

static cb_code open_both(sync *s, cb_error *err)
{
    const cb_sync_request *r = s->request;
    bool must_be_there = r->no_create || r->dry_run;
    bool made = false;
    cb_unlock own = {.key_file = r->to_key_file, .passphrase_file = r->to_passphrase_file};
    bool has_own = r->to_key_file != NULL || r->to_passphrase_file != NULL;
    cb_code code = cb_command_open_at(s->ctx, r->from, NULL, CB_OPEN_EXISTING, &s->from, NULL, err);

    if (code != CB_OK)
        return code;
    code =
        cb_command_open_at(s->ctx, r->to, has_own ? &own : NULL,
                           must_be_there ? CB_OPEN_EXISTING : CB_OPEN_OR_MAKE, &s->to, &made, err);
    if (code == CB_NOT_FOUND && err->in_repository && r->dry_run && !r->no_create) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    if (made)
        cb_event_text(s->ctx, CB_EVENT_INFO, "made a new repository at '%s'", r->to);
    if (strcmp(cb_repo_facts_of(s->from)->id, cb_repo_facts_of(s->to)->id) != 0)
        return CB_OK;
    cb_fail(err, CB_USAGE, "'%s' and '%s' are the same repository", r->from, r->to);
    cb_hint(err, "Name two; a repository that was copied as files is the same one, too.");
    return err->code;
}

static cb_code run(sync *s, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    size_t count = 0;
    cb_code code = open_both(s, err);

    if (code == CB_OK)
        code = choose(s, &refs, &count, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        code = cb_check_cancel(s->ctx, err);
        if (code == CB_OK)
            code = visit(s, &refs[i], err);
    }
    return code;
}

cb_code cb_repo_sync(cb_ctx *ctx, const cb_sync_request *request, cb_sync_result **out,
                     cb_error *err)
{
    int64_t began = cb_monotonic_us();
    sync s = {.ctx = ctx, .request = request};
    cb_sync_result *r;
    cb_code code;

    *out = NULL;
    if (request->from == NULL || request->to == NULL) {
        cb_fail(err, CB_USAGE, "sync needs two repositories");
        cb_hint(err, "canvasback repo sync FROM TO");
        return err->code;
    }
    s.result = calloc(1, sizeof(*s.result));
    if (s.result == NULL)
        return cb_fail_memory(err, sizeof(*s.result));
    code = run(&s, err);
    free(s.there);
    cb_command_condemn(ctx, s.to, false);
    cb_command_condemn(ctx, s.from, s.result->damage.damaged_count > 0);
    cb_repo_close(s.to);
    cb_repo_close(s.from);
    r = &s.result->public;
    r->entries = s.result->entries;
    r->damaged = s.result->damage.damaged;
    r->damaged_count = s.result->damage.damaged_count;
    r->seconds = (double)(cb_monotonic_us() - began) / 1e6;
    if (code != CB_OK) {
        cb_sync_result_free(r);
        return code;
    }
    *out = r;
    return CB_OK;
}

void cb_sync_result_free(cb_sync_result *result)
{
    owned_sync *owned = (owned_sync *)result;

    if (owned == NULL)
        return;
    free(owned->entries);
    cb_audit_report_free(&owned->damage);
    free(owned);
}
