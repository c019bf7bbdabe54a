/*
 * backup.c - take a backup: hold the name, freeze the source, store what is new, commit.
 *
 * The order is the promise: nothing names a chunk before its pack is durable, and the manifest,
 * written last and only after the source has confirmed itself, is the backup.
 */
#include "command/command_internal.h"

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <stdlib.h>

/* Every seventh backup of a name hashes all it reads instead of believing fingerprints. */
enum { REHASH_EVERY = 7 };

/* Compression that saves more than this is not counted upon. */
enum { LEAST_RATIO = 10 };

typedef struct backup {
    cb_ctx *ctx;
    const cb_backup_request *request;
    const cb_engine *engine;
    const char *path; /* borrowed from the request */
    const char *name; /* arena */
    cb_repo *repo;
    bool made_repo;
    cb_arena arena; /* becomes the result's */
    cb_backup_result result;
} backup;

typedef struct owned_result {
    cb_backup_result public; /* first: a pointer to one is a pointer to the other */
    cb_arena arena;
} owned_result;

static cb_code open_source(const backup *b, cb_source **out, cb_error *err)
{
    cb_source_options options = {
        .method = b->request->method,
        .deadline_us = b->request->deadline_us,
        .allow_damage = b->request->allow_damage,
        .snapshot = b->request->source_snapshot,
    };

    return b->engine->source(b->ctx, b->path, &options, out, err);
}

/* The newest backup of the name, as a parent; NULL when there is none that can be one. */
static cb_code load_parent(backup *b, cb_session *session, cb_manifest **out, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    size_t count;
    cb_code code;

    *out = NULL;
    if (b->request->full)
        return CB_OK;
    code = cb_manifest_list(b->repo, b->name, &refs, &count, err);
    if (code != CB_OK || count == 0 || refs[count - 1].number >= cb_session_number(session))
        return code;
    code = cb_manifest_load(b->repo, &refs[count - 1], out, err);
    if (code == CB_CORRUPT || code == CB_NOT_FOUND) {
        cb_event_text(b->ctx, CB_EVENT_WARNING,
                      "the backup before, %s@%s, cannot serve as a base: %s", refs[count - 1].name,
                      refs[count - 1].label, err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK && strcmp((*out)->kind, b->engine->kind) != 0) {
        cb_manifest_free(*out);
        *out = NULL;
    }
    return code;
}

static cb_code describe_manifest(backup *b, const cb_source *source, const cb_source_facts *facts,
                                 const cb_intake_counts *counts, cb_manifest *into, cb_error *err)
{
    cb_process_identity self;

    cb_process_self(&self);
    into->kind = source->kind;
    into->source = source->address;
    into->version = CB_VERSION;
    into->point_us = facts->point_us;
    into->finished_us = cb_now_us(b->ctx);
    into->source_bytes = facts->source_bytes;
    into->read_bytes = counts->read_bytes;
    into->chunks = counts->chunks;
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

/*
 * Read the source into the session. *unchanged goes in as "may be taken over as a whole"; a parent
 * whose chunks are partly doomed cannot be, and then the source is read after all.
 */
static cb_code take_in(backup *b, cb_session *session, cb_source **source,
                       const cb_manifest *parent, cb_intake_counts *counts, cb_error *err)
{
    cb_intake_request intake = {
        .repo = b->repo,
        .session = session,
        .parent = parent,
        .trust_parent = cb_session_number(session) % REHASH_EVERY != 0,
    };
    bool unchanged = false;
    cb_code code;

    code = cb_source_begin(*source, parent != NULL ? parent->state : cb_bytes_of(NULL, 0),
                           &unchanged, err);
    if (code == CB_OK && unchanged) {
        code = cb_session_adopt_items(session, parent, err);
        if (code == CB_OK) {
            counts->chunks = parent->chunks;
            return CB_OK;
        }
        if (code != CB_NOT_FOUND && code != CB_CORRUPT)
            return code;
        cb_error_clear(err);
        cb_source_free(*source);
        *source = NULL;
        code = open_source(b, source, err);
        if (code == CB_OK)
            code = cb_source_begin(*source, cb_bytes_of(NULL, 0), &unchanged, err);
    }
    if (code != CB_OK)
        return code;
    intake.source = *source;
    if (parent ==
        NULL) /* a first backup has nothing to share: what will surely not fit is refused */
        intake.space_divisor = b->request->compress == CB_COMPRESS_NONE ? 1 : LEAST_RATIO;
    return cb_intake(b->ctx, &intake, counts, err);
}

static cb_code run_session(backup *b, cb_source **source, cb_session *session, cb_error *err)
{
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *parent = NULL;
    cb_intake_counts counts = {0};
    cb_manifest manifest = {.started_us = b->result.started_us};
    cb_source_facts facts = {0};
    cb_code code;

    code = load_parent(b, session, &parent, err);
    if (code == CB_OK)
        code = take_in(b, session, source, parent, &counts, err);
    if (code == CB_OK)
        code = cb_source_end(*source, &facts, err);
    if (code == CB_OK)
        code = describe_manifest(b, *source, &facts, &counts, &manifest, err);
    if (code == CB_OK)
        code = cb_session_commit(session, &manifest, err);
    if (code == CB_OK)
        code = fill_result(b, &manifest, err);
    return code;
}

static cb_code attempt(backup *b, cb_source **source, cb_error *err)
{
    static const cb_codec codecs[] = {
        [CB_COMPRESS_DEFAULT] = CB_CODEC_ZSTD,
        [CB_COMPRESS_NONE] = CB_CODEC_RAW,
        [CB_COMPRESS_LZ4] = CB_CODEC_LZ4,
        [CB_COMPRESS_ZSTD] = CB_CODEC_ZSTD,
    };
    CB_CLEANUP(cb_session_cleanup) cb_session *session = NULL;
    const cb_backup_request *r = b->request;
    cb_session_request wanted = {
        .name = b->name,
        .started_us = b->result.started_us,
        .lock_wait_us = r->skip_if_busy ? 0 : b->ctx->settings.lock_wait_us,
        .codec = codecs[r->compress],
        .codec_level = r->compress == CB_COMPRESS_ZSTD ? r->compress_level : -1,
        .full = r->full,
    };
    cb_code code;

    code = cb_session_open(b->repo, &wanted, &session, err);
    if (code == CB_BUSY && r->skip_if_busy) {
        cb_event_text(b->ctx, CB_EVENT_WARNING, "skipped: %s", err->message);
        cb_error_clear(err);
        b->result.skipped = true;
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    return run_session(b, source, session, err);
}

static cb_code bind_name(backup *b, const cb_source *source, cb_error *err)
{
    cb_process_identity self;
    cb_binding binding = {
        .kind = source->kind,
        .host = self.host,
        .path = source->address,
        .identity = source->identity,
    };

    cb_process_self(&self);
    return cb_name_bind(b->repo, b->name, &binding, b->request->adopt_name, err);
}

static cb_code choose_name(backup *b, const cb_source *source, cb_error *err)
{
    const char *name = b->request->name != NULL ? b->request->name : source->name;

    if (b->request->name == NULL && !cb_is_name(name)) {
        cb_fail(err, CB_USAGE, "no name can be made from '%s'", b->request->source);
        cb_hint(err, "Give one with --name.");
        return err->code;
    }
    if (cb_name_check(name, err) != CB_OK)
        return err->code;
    return cb_arena_text(&b->arena, name, &b->name, err);
}

static cb_code run(backup *b, cb_error *err)
{
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    cb_code code;

    b->result.started_us = cb_now_us(b->ctx);
    code = cb_engine_find(b->request->source, &b->engine, &b->path, err);
    if (code == CB_OK)
        code = open_source(b, &source, err);
    if (code == CB_OK)
        code = choose_name(b, source, err);
    if (code == CB_OK)
        code = cb_command_open(b->ctx, b->request->no_create ? CB_OPEN_EXISTING : CB_OPEN_OR_MAKE,
                               &b->repo, &b->made_repo, err);
    if (code != CB_OK)
        return code;
    if (b->made_repo)
        cb_event_text(b->ctx, CB_EVENT_INFO, "made a new repository at '%s'",
                      b->ctx->settings.repository);
    b->result.created_repo = b->made_repo;
    code = bind_name(b, source, err);
    if (code == CB_OK)
        code = attempt(b, &source, err);
    if (code == CB_RETRY && source != NULL) {
        /* We slept so long that others declared us dead. What was stored is found again. */
        cb_event_text(b->ctx, CB_EVENT_WARNING, "starting over: %s", err->message);
        cb_error_clear(err);
        cb_source_free(source);
        source = NULL;
        code = open_source(b, &source, err);
        if (code == CB_OK)
            code = attempt(b, &source, err);
    }
    return code;
}

/* --after runs whenever --before has run, so that what was mounted is unmounted. */
static cb_code run_with_hooks(backup *b, cb_error *err)
{
    const cb_backup_request *r = b->request;
    const char *environment[] = {"CANVASBACK_RESULT=ok", NULL};
    cb_error after = {0};
    cb_code code = CB_OK;

    if (r->before != NULL) {
        code = cb_run_command(b->ctx, r->before, NULL, NULL, err);
        if (code != CB_OK)
            return cb_context(err, "--before");
    }
    code = run(b, err);
    if (r->after == NULL)
        return code;
    if (code != CB_OK)
        environment[0] = "CANVASBACK_RESULT=failed";
    if (cb_run_command(b->ctx, r->after, environment, NULL, &after) == CB_OK || code != CB_OK)
        return code;
    *err = after;
    return cb_context(err, "the backup was taken, but --after");
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
    code = run_with_hooks(&b, err);
    cb_repo_close(b.repo);
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
