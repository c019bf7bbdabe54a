/*
 * backup.c - take a backup: hold the name, freeze the source, store what is new, commit.
 *
 * The order is the promise: nothing names a chunk before its pack is durable, and the manifest,
 * written last and only after the source has confirmed itself, is the backup.
 *
 * There may be several repositories: the source is frozen and read once, each place has its own
 * parent, session and commit, and one that fails is left behind while the others go on.
 */
#include "command/lake_internal.h"

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <stdlib.h>

/* Every seventh backup of a name hashes all it reads instead of believing fingerprints. */
enum { REHASH_EVERY = 7 };

/* How far a lake looks back for a backup that keeps its files in the same way. */
enum { PARENTS_LOOKED_AT = 16 };

/* Compression that saves more than this is not counted upon. */
enum { LEAST_RATIO = 10 };

/* One of the repositories. */
typedef struct place {
    const char *address;
    cb_repo *repo;
    bool made_repo, is_open, is_skipped, is_taken;
    cb_session *session;
    cb_manifest *parent; /* NULL: none */
    cb_error error;      /* code CB_OK: it is still with us */
} place;

typedef struct backup {
    cb_ctx *ctx;
    const cb_backup_request *request;
    const cb_engine *engine;
    const char *path; /* borrowed from the request */
    const char *name; /* arena */
    cb_source *source;
    place places[CB_OUTLETS_MAX];
    size_t place_count;
    bool is_second; /* attempt: who fails now has failed */
    cb_backup_place results[CB_OUTLETS_MAX];
    cb_arena arena; /* becomes the result's */
    cb_backup_result result;
} backup;

typedef struct owned_result {
    cb_backup_result public; /* first: a pointer to one is a pointer to the other */
    cb_arena arena;
} owned_result;

/* ---- places ------------------------------------------------------------------------------ */

static bool is_with_us(const place *p)
{
    return p->error.code == CB_OK && !p->is_taken && !p->is_skipped;
}

static size_t count_with_us(const backup *b)
{
    size_t count = 0;

    for (size_t i = 0; i < b->place_count; i++)
        count += is_with_us(&b->places[i]);
    return count;
}

/* A place failed: with others left the run goes on, and it is told at once which one did. */
static cb_code leave_behind(backup *b, place *p, cb_error *err)
{
    p->error = *err;
    if (err->code == CB_CANCELLED || b->place_count == 1)
        return err->code;
    if (err->code != CB_RETRY || b->is_second)
        cb_event_text(b->ctx, CB_EVENT_ERROR, "not in repository '%s': %s", p->address,
                      err->message);
    cb_error_clear(err);
    return CB_OK;
}

/* Do one thing in every place that is still with us. */
typedef cb_code in_place(backup *b, place *p, void *arg, cb_error *err);

static cb_code for_each(backup *b, in_place *what, void *arg, cb_error *err)
{
    for (size_t i = 0; i < b->place_count; i++) {
        place *p = &b->places[i];

        if (is_with_us(p) && what(b, p, arg, err) != CB_OK && leave_behind(b, p, err) != CB_OK)
            return err->code;
    }
    return CB_OK;
}

/* Nothing was done anywhere: the first place's reason stands for all. */
static cb_code none_left(const backup *b, cb_error *err)
{
    for (size_t i = 0; i < b->place_count; i++)
        if (b->places[i].error.code != CB_OK) {
            *err = b->places[i].error;
            return b->place_count == 1 ? err->code
                                       : cb_context(err, "none of %zu repositories has it; '%s'",
                                                    b->place_count, b->places[i].address);
        }
    return CB_OK;
}

static cb_code list_places(backup *b, cb_error *err)
{
    const cb_settings *s = &b->ctx->settings;

    b->place_count = 1 + s->more_repository_count;
    if (b->place_count > CB_OUTLETS_MAX)
        return cb_fail(err, CB_USAGE, "a backup goes to at most %d repositories, not %zu",
                       CB_OUTLETS_MAX, b->place_count);
    b->places[0].address = s->repository;
    for (size_t i = 0; i < s->more_repository_count; i++)
        b->places[i + 1].address = s->more_repositories[i];
    return CB_OK;
}

static cb_code bind_name(backup *b, const place *p, cb_error *err)
{
    cb_process_identity self;
    cb_binding binding = {
        .kind = b->source->kind,
        .host = self.host,
        .path = b->source->address,
        .identity = b->source->identity,
    };

    cb_process_self(&self);
    return cb_name_bind(p->repo, b->name, &binding, b->request->adopt_name, err);
}

/* Two sessions of one name in one repository would wait for each other. */
static cb_code refuse_twice(const backup *b, const place *p, cb_error *err)
{
    for (const place *other = b->places; other < p; other++)
        if (other->repo != NULL &&
            strcmp(cb_repo_facts_of(other->repo)->id, cb_repo_facts_of(p->repo)->id) == 0) {
            cb_fail(err, CB_USAGE, "'%s' is the same repository as '%s'", p->address,
                    other->address);
            cb_hint(err, "Name each repository once.");
            return err->code;
        }
    return CB_OK;
}

/* Keys to data that is encrypted elsewhere are not to lie in the open. */
static cb_code refuse_keys(backup *b, place *p, void *arg, cb_error *err)
{
    (void)arg;
    if (!b->source->holds_keys || b->request->lake.allow_keys ||
        (p->repo != NULL && cb_repo_facts_of(p->repo)->encrypted))
        return CB_OK;
    cb_fail(err, CB_DENIED,
            "'%s' is encrypted, its catalog holds the keys, and the repository at '%s' %s",
            b->source->address, p->address,
            p->repo != NULL ? "is not encrypted" : "would be made without encryption");
    cb_hint(err, "Keep it in a repository made with a passphrase (canvasback init --encrypt), or "
                 "give --allow-unencrypted-keys.");
    return err->code;
}

/* A repository that is made for keys is an encrypted one: a person is asked for its passphrase. */
static cb_code open_for_keys(backup *b, place *p, cb_error *err)
{
    cb_code code =
        cb_command_open_at(b->ctx, p->address, NULL, CB_OPEN_EXISTING, &p->repo, NULL, err);

    if (code != CB_NOT_FOUND || b->request->no_create)
        return code;
    cb_error_clear(err);
    code = cb_command_open_at(b->ctx, p->address, NULL, CB_OPEN_MAKE_ENCRYPTED, &p->repo,
                              &p->made_repo, err);
    if (code == CB_EXISTS) { /* another process has made it a moment ago */
        cb_error_clear(err);
        return cb_command_open_at(b->ctx, p->address, NULL, CB_OPEN_EXISTING, &p->repo, NULL, err);
    }
    if (code != CB_USAGE)
        return code;
    cb_error_clear(err); /* there is no passphrase */
    return refuse_keys(b, p, NULL, err);
}

static cb_code open_or_make(backup *b, place *p, cb_error *err)
{
    if (b->source->holds_keys && !b->request->lake.allow_keys)
        return open_for_keys(b, p, err);
    return cb_command_open_at(b->ctx, p->address, NULL,
                              b->request->no_create ? CB_OPEN_EXISTING : CB_OPEN_OR_MAKE, &p->repo,
                              &p->made_repo, err);
}

static cb_code open_place(backup *b, place *p, void *arg, cb_error *err)
{
    cb_code code;

    (void)arg;
    code = open_or_make(b, p, err);
    if (code == CB_OK && p->made_repo)
        cb_event_text(b->ctx, CB_EVENT_INFO, "made a new repository at '%s'", p->address);
    if (code == CB_OK)
        code = refuse_keys(b, p, NULL, err);
    if (code == CB_OK)
        code = refuse_twice(b, p, err);
    if (code == CB_OK)
        code = bind_name(b, p, err);
    p->is_open = code == CB_OK;
    return code;
}

static void close_session(place *p)
{
    cb_session_free(p->session);
    p->session = NULL;
    cb_manifest_free(p->parent);
    p->parent = NULL;
}

/* ---- a session in each place ------------------------------------------------------------- */

/* Does it keep a lake's files in the way that is asked for now? Of anything else there is one way.
 */
static bool is_alike(const backup *b, const cb_manifest *manifest)
{
    const char *mode = b->request->lake.data == CB_LAKE_DATA_COPY ? "copy" : NULL;

    if (b->request->lake.data == CB_LAKE_DATA_REFERENCE)
        mode = "reference";
    else if (b->request->lake.data == CB_LAKE_DATA_REPLICA)
        mode = "replica";
    for (size_t i = 0; i < manifest->fact_count; i++)
        if (strcmp(manifest->facts[i].key, CB_LAKE_FACT_MODE) == 0)
            return mode == NULL || strcmp(manifest->facts[i].value, mode) == 0;
    return true;
}

/* A backup that only refers to a lake's files saves a copy nothing, and a copy does not tell
   whether they are what they were: the newest of the same kind among the last few is the better
   parent. */
static cb_code prefer_like(backup *b, place *p, const cb_manifest_ref *newest, cb_error *err)
{
    cb_manifest_ref ref = *newest;

    if (strcmp(b->engine->kind, cb_ducklake_engine.kind) != 0 || is_alike(b, p->parent))
        return CB_OK;
    for (unsigned i = 0; i < PARENTS_LOOKED_AT; i++) {
        CB_CLEANUP(cb_manifest_cleanup) cb_manifest *older = NULL;
        cb_code code = cb_session_parent_below(p->session, ref.number, &ref, &older, err);

        if (code == CB_CORRUPT || code == CB_NOT_FOUND) {
            cb_error_clear(err);
            continue;
        }
        if (code != CB_OK || older == NULL)
            return code;
        if (strcmp(older->kind, b->engine->kind) != 0 || !is_alike(b, older))
            continue;
        cb_manifest_free(p->parent);
        p->parent = older;
        older = NULL;
        return CB_OK;
    }
    return CB_OK;
}

/* The newest backup of the name, as a parent; NULL when there is none that can be one. */
static cb_code load_parent(backup *b, place *p, cb_error *err)
{
    cb_manifest_ref ref;
    cb_code code;

    if (b->request->full)
        return CB_OK;
    code = cb_session_parent(p->session, &ref, &p->parent, err);
    if (code == CB_CORRUPT || code == CB_NOT_FOUND) {
        cb_event_text(b->ctx, CB_EVENT_WARNING,
                      "the backup before, %s@%s, cannot serve as a base: %s", ref.name, ref.label,
                      err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK && p->parent != NULL && strcmp(p->parent->kind, b->engine->kind) != 0) {
        cb_manifest_free(p->parent);
        p->parent = NULL;
    }
    return code == CB_OK && p->parent != NULL ? prefer_like(b, p, &ref, err) : code;
}

static cb_code open_session(backup *b, place *p, void *arg, cb_error *err)
{
    static const cb_codec codecs[] = {
        [CB_COMPRESS_DEFAULT] = CB_CODEC_ZSTD,
        [CB_COMPRESS_NONE] = CB_CODEC_RAW,
        [CB_COMPRESS_LZ4] = CB_CODEC_LZ4,
        [CB_COMPRESS_ZSTD] = CB_CODEC_ZSTD,
    };
    const cb_backup_request *r = b->request;
    cb_session_request wanted = {
        .name = b->name,
        .started_us = b->result.started_us,
        .lock_wait_us = r->skip_if_busy ? 0 : b->ctx->settings.lock_wait_us,
        .codec = codecs[r->compress],
        .codec_level = r->compress == CB_COMPRESS_ZSTD ? r->compress_level : -1,
        .full = r->full,
    };
    cb_code code = cb_session_open(p->repo, &wanted, &p->session, err);

    (void)arg;
    if (code == CB_BUSY && r->skip_if_busy) {
        cb_event_text(b->ctx, CB_EVENT_WARNING, "skipped: %s", err->message);
        p->error = *err; /* told in the list of places; no failure */
        p->is_skipped = true;
        cb_error_clear(err);
        return CB_OK;
    }
    return code == CB_OK ? load_parent(b, p, err) : code;
}

/* ---- reading ----------------------------------------------------------------------------- */

static cb_code open_source(backup *b, cb_error *err)
{
    cb_source_options options = {
        .method = b->request->method,
        .deadline_us = b->request->deadline_us,
        .allow_damage = b->request->allow_damage,
        .snapshot = b->request->source_snapshot,
        .lake = &b->request->lake,
    };

    cb_source_free(b->source);
    b->source = NULL;
    return b->engine->source(b->ctx, b->path, &options, &b->source, err);
}

/* What all parents say of the source; nothing when they differ: then everything is compared. */
static cb_bytes common_state(const backup *b)
{
    const cb_manifest *first = NULL;

    for (size_t i = 0; i < b->place_count; i++) {
        const place *p = &b->places[i];

        if (!is_with_us(p))
            continue;
        if (p->parent == NULL ||
            (first != NULL &&
             (first->state.size != p->parent->state.size || first->state.size == 0 ||
              memcmp(first->state.data, p->parent->state.data, first->state.size) != 0)))
            return cb_bytes_of(NULL, 0);
        first = p->parent;
    }
    return first != NULL ? first->state : cb_bytes_of(NULL, 0);
}

/* *all: every place has taken its parent's items over. One whose chunks are partly doomed cannot,
   and then the source is read after all, for every place alike. */
static cb_code adopt_items(backup *b, bool *all, cb_error *err)
{
    *all = true;
    for (size_t i = 0; i < b->place_count && *all; i++) {
        const place *p = &b->places[i];
        cb_code code;

        if (!is_with_us(p))
            continue;
        code = cb_session_adopt_items(p->session, p->parent, err);
        if (code != CB_OK && code != CB_NOT_FOUND && code != CB_CORRUPT)
            return code;
        *all = code == CB_OK;
        cb_error_clear(err);
    }
    return CB_OK;
}

static cb_code take_in(backup *b, uint64_t *read_bytes, cb_error *err)
{
    cb_outlet outlets[CB_OUTLETS_MAX] = {0};
    place *of[CB_OUTLETS_MAX];
    size_t count = 0;
    cb_code code;

    for (size_t i = 0; i < b->place_count; i++) {
        place *p = &b->places[i];

        if (!is_with_us(p))
            continue;
        outlets[count] = (cb_outlet){
            .repo = p->repo,
            .session = p->session,
            .parent = p->parent,
            .trust_parent =
                b->source->is_immutable || cb_session_number(p->session) % REHASH_EVERY != 0,
        };
        if (p->parent == NULL) /* nothing to share: what will surely not fit is refused */
            outlets[count].space_divisor =
                b->request->compress == CB_COMPRESS_NONE ? 1 : LEAST_RATIO;
        of[count++] = p;
    }
    code = cb_intake(b->ctx, b->source, outlets, count, read_bytes, err);
    for (size_t i = 0; code == CB_OK && i < count; i++)
        if (outlets[i].error.code != CB_OK) {
            *err = outlets[i].error;
            code = leave_behind(b, of[i], err);
        }
    return code;
}

/* Read the source into the sessions, or find that nothing can have changed. */
static cb_code read_source(backup *b, uint64_t *read_bytes, cb_error *err)
{
    bool unchanged = false;
    bool adopted = false;
    cb_code code;

    code = cb_source_begin(b->source, common_state(b), &unchanged, err);
    if (code == CB_OK) /* what it knew when the places were opened may be known better now */
        code = for_each(b, refuse_keys, NULL, err);
    if (code == CB_OK && count_with_us(b) == 0)
        return CB_OK;
    if (code == CB_OK && unchanged) {
        code = adopt_items(b, &adopted, err);
        if (code != CB_OK || adopted)
            return code;
        code = open_source(b, err);
        if (code == CB_OK)
            code = cb_source_begin(b->source, cb_bytes_of(NULL, 0), &unchanged, err);
    }
    return code == CB_OK ? take_in(b, read_bytes, err) : code;
}

/* ---- committing -------------------------------------------------------------------------- */

static cb_code describe_manifest(backup *b, const cb_source_facts *facts, uint64_t read_bytes,
                                 cb_manifest *into, cb_error *err)
{
    cb_process_identity self;

    cb_process_self(&self);
    into->started_us = b->result.started_us;
    into->kind = b->source->kind;
    into->source = b->source->address;
    into->version = CB_VERSION;
    into->point_us = facts->point_us;
    into->source_bytes = facts->source_bytes;
    into->read_bytes = read_bytes;
    into->passes = facts->passes;
    into->confirmed = facts->confirmed;
    into->commits_in_log = facts->commits_in_log;
    into->damaged = facts->damaged;
    into->tags = b->request->tags;
    into->tag_count = b->request->tag_count;
    into->facts = facts->facts;
    into->fact_count = facts->fact_count;
    into->state = facts->state;
    return cb_arena_text(&b->arena, self.host, &into->host, err);
}

static cb_code fill_result(backup *b, const cb_manifest *from, cb_error *err)
{
    cb_backup_result *r = &b->result;
    cb_code code;

    r->started_us = from->started_us;
    r->point_us = from->point_us;
    r->finished_us = from->finished_us;
    r->source_bytes = from->source_bytes;
    r->read_bytes = from->read_bytes;
    r->new_bytes = from->new_bytes;
    r->stored_bytes = from->stored_bytes;
    r->chunks = from->chunks;
    r->new_chunks = from->new_chunks;
    r->passes = from->passes;
    r->commits_in_log = from->commits_in_log;
    r->damaged = from->damaged;
    r->name = b->name;
    code = cb_arena_text(&b->arena, from->label, &r->label, err);
    if (code == CB_OK)
        code = cb_arena_text(&b->arena, from->source, &r->source, err);
    if (code == CB_OK)
        code = cb_arena_text(&b->arena, from->kind, &r->kind, err);
    if (code == CB_OK)
        code = cb_arena_text(&b->arena, from->confirmed, &r->confirmed, err);
    return code;
}

static cb_code commit(backup *b, place *p, void *arg, cb_error *err)
{
    const cb_manifest *what = arg;
    cb_backup_place *result = &b->results[p - b->places];
    cb_manifest manifest = *what; /* the session fills in what is its own */
    cb_code code = cb_session_commit(p->session, &manifest, err);

    if (code != CB_OK)
        return code;
    p->is_taken = true;
    cb_cover_extend_manifest(b->ctx, p->repo, &manifest);
    result->new_bytes = manifest.new_bytes;
    result->stored_bytes = manifest.stored_bytes;
    result->new_chunks = manifest.new_chunks;
    code = cb_arena_text(&b->arena, manifest.label, &result->label, err);
    if (code != CB_OK || b->result.label != NULL)
        return code;
    b->result.created_repo = p->made_repo;
    return fill_result(b, &manifest, err);
}

static cb_code attempt(backup *b, cb_error *err)
{
    cb_manifest manifest = {0};
    cb_source_facts facts = {0};
    uint64_t read_bytes = 0;
    cb_code code;

    code = for_each(b, open_session, NULL, err);
    if (code != CB_OK || count_with_us(b) == 0)
        return code;
    code = read_source(b, &read_bytes, err);
    if (code == CB_OK)
        code = cb_source_end(b->source, &facts, err);
    if (code == CB_OK)
        code = describe_manifest(b, &facts, read_bytes, &manifest, err);
    return code == CB_OK ? for_each(b, commit, &manifest, err) : code;
}

/* ---- the whole --------------------------------------------------------------------------- */

static cb_code choose_name(backup *b, cb_error *err)
{
    const char *name = b->request->name != NULL ? b->request->name : b->source->name;

    if (b->request->name == NULL && !cb_is_name(name)) {
        cb_fail(err, CB_USAGE, "no name can be made from '%s'", b->source->address);
        cb_hint(err, "Give one with --name.");
        return err->code;
    }
    if (cb_name_check(name, err) != CB_OK)
        return err->code;
    return cb_arena_text(&b->arena, name, &b->name, err);
}

/* Places that slept so long that others declared them dead; they begin again, once. */
static bool revive(backup *b)
{
    bool any = false;

    for (size_t i = 0; i < b->place_count; i++) {
        place *p = &b->places[i];

        close_session(p);
        if (p->error.code != CB_RETRY || !p->is_open)
            continue;
        cb_event_text(b->ctx, CB_EVENT_WARNING, "starting over: %s", p->error.message);
        cb_error_clear(&p->error);
        any = true;
    }
    return any;
}

static cb_code run_places(backup *b, cb_error *err)
{
    cb_code code;

    code = for_each(b, open_place, NULL, err);
    if (code == CB_OK)
        code = attempt(b, err);
    if (code != CB_OK && code != CB_RETRY)
        return code;
    /* What was stored is found again. */
    if (revive(b)) {
        b->is_second = true;
        cb_error_clear(err);
        code = open_source(b, err);
        if (code == CB_OK)
            code = attempt(b, err);
    }
    return code;
}

/* Half a lake is no backup of it. */
static void warn_of_catalog(const backup *b)
{
    if (b->engine == &cb_duckdb_engine && cb_has_suffix(b->path, ".ducklake"))
        cb_event_text(b->ctx, CB_EVENT_WARNING,
                      "'%s' looks like the catalog of a DuckLake, whose files are not in this "
                      "backup; 'canvasback backup ducklake:%s' takes both",
                      b->path, b->path);
}

static cb_code run(backup *b, cb_error *err)
{
    cb_code code;

    b->result.started_us = cb_now_us(b->ctx);
    code = cb_engine_find(b->request->source, &b->engine, &b->path, err);
    if (code == CB_OK)
        warn_of_catalog(b);
    if (code == CB_OK)
        code = list_places(b, err);
    if (code == CB_OK)
        code = open_source(b, err);
    if (code == CB_OK)
        code = choose_name(b, err);
    if (code == CB_OK)
        code = run_places(b, err);
    if (code == CB_OK && b->result.label == NULL) { /* nowhere */
        for (size_t i = 0; i < b->place_count; i++)
            b->result.skipped = b->result.skipped || b->places[i].is_skipped;
        if (!b->result.skipped)
            code = none_left(b, err);
    }
    return code;
}

static cb_code run_with_hook(backup *b, cb_error *err)
{
    const char *before = b->request->before;

    if (before != NULL && cb_run_command(b->ctx, before, NULL, NULL, err) != CB_OK)
        return cb_context(err, "before");
    return run(b, err);
}

/* Sessions end before the source goes, and both before their repositories. */
static void release(backup *b)
{
    for (size_t i = 0; i < b->place_count; i++)
        close_session(&b->places[i]);
    cb_source_free(b->source);
    for (size_t i = 0; i < b->place_count; i++) {
        cb_command_condemn(b->ctx, b->places[i].repo, false);
        cb_repo_close(b->places[i].repo);
    }
}

/* With several places: what became of each. */
static cb_code list_results(backup *b, cb_error *err)
{
    cb_backup_place *list;
    cb_code code = CB_OK;

    if (b->place_count < 2)
        return CB_OK;
    code = cb_arena_alloc(&b->arena, b->place_count * sizeof(*list), &list, err);
    for (size_t i = 0; code == CB_OK && i < b->place_count; i++) {
        list[i] = b->results[i];
        list[i].created_repo = b->places[i].made_repo;
        list[i].error = b->places[i].error;
        code = cb_arena_text(&b->arena, b->places[i].address, &list[i].address, err);
    }
    b->result.places = list;
    b->result.place_count = b->place_count;
    return code;
}

cb_code cb_backup(cb_ctx *ctx, const cb_backup_request *request, cb_backup_result **out,
                  cb_error *err)
{
    backup b = {.ctx = ctx, .request = request};
    owned_result *result = NULL;
    cb_code code;

    *out = NULL;
    if (request->source == NULL)
        return cb_fail(err, CB_USAGE, "no source was named");
    if (request->name != NULL && cb_name_check(request->name, err) != CB_OK)
        return err->code;
    code = run_with_hook(&b, err);
    release(&b);
    if (code == CB_OK)
        code = list_results(&b, err);
    if (code == CB_OK) {
        result = calloc(1, sizeof(*result));
        if (result == NULL)
            code = cb_fail_memory(err, sizeof(*result));
    }
    if (code != CB_OK) {
        cb_arena_free(&b.arena);
        return code;
    }
    b.result.name = b.name;
    result->public = b.result;
    result->arena = b.arena;
    *out = &result->public;
    return CB_OK;
}

void cb_backup_result_free(cb_backup_result *result)
{
    owned_result *owned = (owned_result *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
