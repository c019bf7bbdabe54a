/*
 * copy_remote.c - one plain DuckDB file into an object store.
 *
 * The file is uploaded while it is read, in file order and without a temporary copy. Its header
 * comes first and is only certain at the end, when the source has confirmed itself: so the one that
 * would be right now is sent, and at the end it must be the right one still, as must every block
 * that a later pass reads again. If anything has moved, the upload is abandoned, of which nothing
 * stays, and begun anew; after a few times, or when commits lie in the log, a temporary copy is
 * made, folded and uploaded.
 */
#include "command/copy_internal.h"

#include "base/array.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { BYTES_AT_ONCE = 1 << 20, ATTEMPTS = 3 };

typedef enum outcome {
    STREAM_DONE,
    STREAM_MOVED, /* the database changed: what was sent is of no use */
    STREAM_LOG,   /* commits are in the log and must be folded in */
} outcome;

typedef struct upload {
    cb_copy *copy;
    cb_ctx *ctx;
    cb_store *store;
    char key[CB_KEY_MAX + 1];
    cb_writer *writer;
    cb_hasher *hasher;
    uint64_t sent;
} upload;

/* ---- sending ----------------------------------------------------------------------------- */

static void abandon(upload *u)
{
    cb_writer_free(u->writer);
    cb_hasher_free(u->hasher);
    u->writer = NULL;
    u->hasher = NULL;
}

static cb_code begin(upload *u, cb_error *err)
{
    cb_put_mode mode = u->copy->request->force ? CB_PUT_REPLACE : CB_PUT_NEW;
    cb_code code = cb_hasher_new(&u->hasher, err);

    u->sent = 0;
    return code == CB_OK ? cb_store_put(u->store, u->key, mode, &u->writer, err) : code;
}

static cb_code send_bytes(upload *u, cb_bytes data, cb_error *err)
{
    cb_code code = cb_writer_write(u->writer, data, err);

    cb_hasher_step(u->hasher, data);
    u->sent += data.size;
    return code;
}

static cb_code send_zeros(upload *u, uint64_t until, cb_error *err)
{
    static const uint8_t zeros[64 << 10];
    cb_code code = CB_OK;

    while (code == CB_OK && u->sent < until) {
        uint64_t rest = until - u->sent;

        code = send_bytes(
            u, cb_bytes_of(zeros, rest < sizeof(zeros) ? (size_t)rest : sizeof(zeros)), err);
    }
    return code;
}

static cb_code publish(upload *u, cb_error *err)
{
    cb_copy_result *r = &u->copy->result->public;
    cb_hash hash;
    cb_code code = cb_check_cancel(u->ctx, err);

    if (code == CB_OK)
        code = cb_writer_commit(u->writer, err);
    if (code != CB_OK)
        return code;
    cb_hasher_end(u->hasher, &hash);
    cb_hex(hash.bytes, sizeof(hash.bytes), r->sha256);
    r->bytes = u->sent;
    return CB_OK;
}

/* ---- a source, in file order ------------------------------------------------------------- */

typedef struct stream {
    upload *to;
    cb_source *source;
    uint32_t item; /* number of the database; 0: none was declared */
    bool has_item;
    cb_item shape;
    cb_buf piece;
    uint8_t secret[CB_FINGERPRINT_SECRET_BYTES];
    cb_fingerprint *prints; /* of what was sent, by chunk */
    size_t capacity;
    outcome outcome;
} stream;

static cb_code declare(stream *s, const cb_step *step, cb_error *err)
{
    bool reuse;
    cb_code code = cb_source_take(s->source, NULL, &reuse, err);

    if (code != CB_OK)
        return code;
    if (step->item.kind != CB_ITEM_DATABASE) {
        if (step->item.size_bytes > 0)
            s->outcome = STREAM_LOG;
        return CB_OK;
    }
    if (s->has_item && !cb_item_same_grid(&s->shape, &step->item))
        s->outcome = STREAM_MOVED;
    s->has_item = true;
    s->item = step->piece.item;
    s->shape = step->item;
    s->shape.path = "database";
    s->shape.attrs = cb_bytes_of(NULL, 0);
    return cb_array_reserve(&s->prints, &s->capacity, (size_t)cb_item_chunks(&s->shape) + 1,
                            sizeof(*s->prints), err);
}

/* Send what is next; compare what was sent already. */
static cb_code pass_on(stream *s, uint64_t index, uint64_t offset, cb_error *err)
{
    cb_bytes data = cb_buf_bytes(&s->piece);
    cb_fingerprint print;
    cb_code code;

    cb_fingerprint_of(s->secret, data, &print);
    if (offset < s->to->sent) { /* a hole has no print, and so differs from anything */
        if (memcmp(&print, &s->prints[index], sizeof(print)) != 0)
            s->outcome = STREAM_MOVED;
        return CB_OK;
    }
    code = send_zeros(s->to, offset, err);
    if (code == CB_OK)
        code = send_bytes(s->to, data, err);
    s->prints[index] = print;
    return code;
}

static cb_code take_piece(stream *s, const cb_piece *piece, cb_error *err)
{
    cb_code code;

    s->piece.size = 0;
    code = cb_source_read(s->source, piece, &s->piece, err);
    if (code == CB_RETRY) { /* a later pass would bring it: too late for us */
        cb_error_clear(err);
        s->outcome = STREAM_MOVED;
        return CB_OK;
    }
    return code == CB_OK ? pass_on(s, piece->index, piece->offset, err) : code;
}

/* The header as it would be if this pass were the last. */
static cb_code send_head(stream *s, cb_error *err)
{
    cb_piece head = {.item = s->item, .length = s->shape.head_bytes};

    if (s->to->sent > 0 || s->shape.head_bytes == 0)
        return CB_OK;
    return take_piece(s, &head, err);
}

static cb_code do_step(stream *s, const cb_step *step, cb_error *err)
{
    cb_code code = CB_OK;

    switch (step->kind) {
    case CB_STEP_ITEM:
        return declare(s, step, err);
    case CB_STEP_PIECE:
        if (!s->has_item || step->piece.item != s->item ||
            step->piece.index >= cb_item_chunks(&s->shape))
            return cb_fail(err, CB_INTERNAL, "a piece of item %u was never declared",
                           step->piece.item);
        if (step->piece.index > 0)
            code = send_head(s, err);
        return code == CB_OK && s->outcome == STREAM_DONE ? take_piece(s, &step->piece, err) : code;
    case CB_STEP_END: /* free blocks at the end; a file that became shorter than what was sent */
        if (s->shape.size_bytes < s->to->sent)
            s->outcome = STREAM_MOVED;
        return send_zeros(s->to, s->shape.size_bytes, err);
    case CB_STEP_HOLE: /* what was sent there means nothing, and harms nobody */
    case CB_STEP_BARRIER:
    case CB_STEP_DONE:
    case CB_STEP_RESTART:
        break;
    }
    return CB_OK;
}

static cb_code drive(stream *s, cb_error *err)
{
    cb_step step = {0};
    cb_code code;

    do {
        code = cb_check_cancel(s->to->ctx, err);
        if (code == CB_OK)
            code = cb_source_next(s->source, &step, err);
        if (code == CB_OK)
            code = do_step(s, &step, err);
        cb_event_progress(s->to->ctx, s->to->sent, s->shape.size_bytes, 0);
    } while (code == CB_OK && s->outcome == STREAM_DONE && step.kind != CB_STEP_END);
    return code;
}

static cb_code stream_source(upload *u, cb_source *source, outcome *out, cb_error *err)
{
    stream *s = calloc(1, sizeof(*s));
    cb_source_facts facts = {0};
    bool unchanged;
    uint8_t seed[32];
    cb_code code;

    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->to = u;
    s->source = source;
    s->piece.limit = CB_CHUNK_BYTES_MAX;
    cb_random(u->ctx, seed, sizeof(seed));
    cb_fingerprint_secret(seed, s->secret);
    code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    if (code == CB_OK)
        code = begin(u, err);
    if (code == CB_OK)
        code = drive(s, err);
    if (code == CB_OK && s->outcome == STREAM_DONE)
        code = cb_source_end(source, &facts, err);
    if (code == CB_OK && s->outcome == STREAM_DONE && facts.commits_in_log > 0)
        s->outcome = STREAM_LOG;
    if (code == CB_OK && s->outcome == STREAM_DONE)
        code = publish(u, err);
    abandon(u);
    *out = s->outcome;
    cb_buf_free(&s->piece);
    free(s->prints);
    free(s);
    return code;
}

/* ---- straight from the source ------------------------------------------------------------ */

static cb_code stream_file(upload *u, outcome *out, cb_error *err)
{
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    const cb_copy_request *r = u->copy->request;
    cb_source_options options = {
        .method = CB_METHOD_HOT,
        .deadline_us = r->deadline_us,
        .allow_damage = r->allow_damage,
    };
    const cb_engine *engine;
    const char *path;
    cb_code code = cb_engine_find(r->source, &engine, &path, err);

    if (code != CB_OK)
        return code;
    if (engine != &cb_duckdb_engine) { /* the way over a file says what is wrong */
        *out = STREAM_LOG;
        return CB_OK;
    }
    code = engine->source(u->ctx, path, &options, &source, err);
    return code == CB_OK ? stream_source(u, source, out, err) : code;
}

static cb_code stream_backup(upload *u, outcome *out, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    cb_backup_source_request request;
    cb_manifest_ref ref;
    cb_code code = cb_command_open(u->ctx, CB_OPEN_EXISTING, &repo, NULL, err);

    if (code == CB_OK)
        code = cb_command_find(repo, u->copy->request->source, &ref, &manifest, err);
    if (code != CB_OK)
        return code;
    if (manifest->commits_in_log > 0 || strcmp(manifest->kind, cb_duckdb_engine.kind) != 0) {
        *out = STREAM_LOG;
        return CB_OK;
    }
    request = (cb_backup_source_request){.repo = repo, .manifest = manifest};
    code = cb_backup_source_new(u->ctx, &request, &source, err);
    if (code == CB_OK)
        code = stream_source(u, source, out, err);
    cb_command_condemn(u->ctx, repo, false);
    return code;
}

/* *out STREAM_DONE: it is there. */
static cb_code try_streams(upload *u, outcome *out, cb_error *err)
{
    const cb_copy_request *r = u->copy->request;

    *out = STREAM_LOG;
    if (r->method == CB_METHOD_ATTACH || cb_place_is_remote(r->source))
        return CB_OK;
    cb_event_text(u->ctx, CB_EVENT_PHASE, "copying");
    u->copy->result->public.method = "hot";
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        cb_code code =
            cb_is_address(r->source) ? stream_file(u, out, err) : stream_backup(u, out, err);

        if (code != CB_OK || *out != STREAM_MOVED)
            return code;
        cb_event_text(u->ctx, CB_EVENT_INFO,
                      "the database changed while it was uploaded: once more");
    }
    return CB_OK;
}

/* ---- over a temporary file --------------------------------------------------------------- */

static cb_code send_file(upload *u, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(cb_free_cleanup) uint8_t *block = malloc(BYTES_AT_ONCE);
    struct stat at;
    size_t got;
    cb_code code;

    if (block == NULL)
        return cb_fail_memory(err, BYTES_AT_ONCE);
    code = cb_file_open(path, O_RDONLY, 0, &fd, err);
    if (code == CB_OK && fstat(fd, &at) != 0)
        code = cb_fail(err, CB_IO, "cannot look at '%s'", path);
    if (code == CB_OK)
        code = begin(u, err);
    while (code == CB_OK) {
        code = cb_check_cancel(u->ctx, err);
        if (code == CB_OK)
            code = cb_file_read(fd, path, u->sent, block, BYTES_AT_ONCE, &got, err);
        if (code != CB_OK || got == 0)
            break;
        code = send_bytes(u, cb_bytes_of(block, got), err);
        cb_event_progress(u->ctx, u->sent, (uint64_t)at.st_size, 0);
    }
    return code;
}

/* The log first, so that whoever sees the file finds it. */
static cb_code send_log(upload *u, const char *path, cb_error *err)
{
    upload log = *u;
    cb_error ignored = {0};
    char key[CB_KEY_MAX + 1];
    cb_code code;

    if (!cb_path_exists(path))
        return CB_OK;
    if (snprintf(key, sizeof(key), "%s.wal", u->key) >= (int)sizeof(key))
        return cb_fail(err, CB_TOO_LARGE, "the name '%s.wal' is too long", u->key);
    memcpy(log.key, key, sizeof(key));
    code = send_file(&log, path, err);
    if (code == CB_OK)
        code = cb_writer_commit(log.writer, err);
    abandon(&log);
    if (code != CB_OK)
        cb_ignore(cb_store_remove(u->store, key, &ignored)); /* the error in hand is the one */
    return code;
}

static cb_code over_a_file(upload *u, bool *has_log, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    cb_copy *c = u->copy;
    char log[CB_PATH_MAX + 8];
    bool commits;
    cb_code code = cb_scratch_make(u->ctx, &scratch, err);

    if (code == CB_OK)
        code = cb_path_join(scratch.path, "copy", c->partial, err);
    if (code == CB_OK)
        code = cb_copy_make_partial(c, &commits, err);
    if (code == CB_OK)
        code = cb_copy_fold(c, commits, err);
    if (code != CB_OK)
        return code;
    snprintf(log, sizeof(log), "%s.wal", c->partial);
    *has_log = cb_path_exists(log);
    cb_event_text(u->ctx, CB_EVENT_PHASE, "uploading");
    code = send_log(u, log, err);
    if (code == CB_OK)
        code = send_file(u, c->partial, err);
    if (code == CB_OK)
        code = publish(u, err);
    abandon(u);
    return code;
}

/* ---- names ------------------------------------------------------------------------------- */

typedef struct stamps {
    char (*names)[CB_STAMP_MAX];
    size_t count, capacity;
} stamps;

static cb_code note_stamp(void *arg, const cb_object *object, cb_error *err)
{
    stamps *s = arg;

    if (strlen(object->key) >= CB_STAMP_MAX || !cb_stamp_is(object->key))
        return CB_OK;
    if (s->count == s->capacity &&
        cb_array_grow(&s->names, &s->capacity, sizeof(*s->names), err) != CB_OK)
        return err->code;
    memcpy(s->names[s->count++], object->key, strlen(object->key) + 1);
    return CB_OK;
}

static cb_code list_stamps(upload *u, stamps *out, cb_error *err)
{
    return cb_store_list(u->store, "backup-", note_stamp, out, err);
}

/* Behind all copies of this second that are there. */
static cb_code stamp_key(upload *u, cb_error *err)
{
    bool utc = u->copy->request->utc;
    stamps there = {0};
    int64_t now_us = cb_now_us(u->ctx);
    unsigned last = 0;
    cb_code code = list_stamps(u, &there, err);

    for (size_t i = 0; i < there.count; i++) {
        unsigned nth = cb_stamp_nth(there.names[i], now_us, utc);

        last = nth > last ? nth : last;
    }
    cb_stamp_name(now_us, utc, last + 1, u->key);
    free(there.names);
    return code;
}

/* How much of the folder's address stands before the '/' and a name in it. */
static int folder_size(const upload *u)
{
    const char *address = cb_store_address(u->store);
    size_t size = strlen(address);

    while (size > 0 && address[size - 1] == '/')
        size--;
    return (int)size;
}

/* Is the key free, or may it be replaced? A log without its file would be taken for ours. */
static cb_code check_key(upload *u, cb_error *err)
{
    const char *const suffixes[] = {"", ".wal"};

    for (size_t i = 0; i < CB_LENGTH(suffixes) && !u->copy->request->force; i++) {
        char key[CB_KEY_MAX + 8];
        uint64_t size;
        cb_code code;

        snprintf(key, sizeof(key), "%s%s", u->key, suffixes[i]);
        code = cb_store_size(u->store, key, &size, err);
        if (code == CB_OK) {
            cb_fail(err, CB_EXISTS, "'%.*s/%s' is there already", folder_size(u),
                    cb_store_address(u->store), key);
            cb_hint(err, "Choose another target, or replace it with --force.");
            return err->code;
        }
        if (code != CB_NOT_FOUND && code != CB_DENIED) /* who may only write cannot ask */
            return code;
        cb_error_clear(err);
    }
    return CB_OK;
}

static cb_code choose_key(upload *u, cb_error *err)
{
    const cb_copy_request *r = u->copy->request;
    size_t path = strcspn(r->target, "?");
    bool names_folder = path > 0 && r->target[path - 1] == '/';
    char folder[CB_PLACE_TEXT_MAX];
    cb_code code = CB_OK;

    if (strlen(r->target) >= sizeof(folder))
        return cb_fail(err, CB_USAGE, "'%.64s...' is too long an address", r->target);
    if (r->timestamp || names_folder)
        memcpy(folder, r->target, strlen(r->target) + 1);
    else
        code = cb_place_split(r->target, folder, u->key, err);
    if (code == CB_OK)
        code = cb_store_open(u->ctx, folder, true, &u->store, err);
    if (code != CB_OK)
        return code;
    if (r->timestamp)
        return stamp_key(u, err);
    if (names_folder)
        memcpy(u->key, u->copy->base, sizeof(u->key));
    return check_key(u, err);
}

/* ---- afterwards -------------------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
    return cb_stamp_newest_first(a, b);
}

static cb_code remove_stamp(upload *u, const char *name, cb_error *err)
{
    cb_owned_copy *result = u->copy->result;
    cb_code code;

    if (strcmp(name, u->key) == 0) /* never what was made just now */
        return CB_OK;
    code = cb_store_remove(u->store, name, err);
    if (code != CB_OK)
        return cb_context(err, "the copy was made, but '%s' cannot be removed", name);
    code = cb_arena_format(&result->arena, &result->removed[result->public.removed_count], err,
                           "%.*s/%s", folder_size(u), cb_store_address(u->store), name);
    if (code == CB_OK)
        result->public.removed_count++;
    return code;
}

static cb_code keep_newest(upload *u, cb_error *err)
{
    cb_owned_copy *result = u->copy->result;
    stamps there = {0};
    cb_code code = list_stamps(u, &there, err);

    if (code == CB_OK) {
        qsort(there.names, there.count, sizeof(*there.names), newest_first);
        result->removed = calloc(there.count + 1, sizeof(*result->removed));
        if (result->removed == NULL)
            code = cb_fail_memory(err, there.count * sizeof(char *));
    }
    for (size_t i = (size_t)u->copy->request->keep; code == CB_OK && i < there.count; i++)
        code = remove_stamp(u, there.names[i], err);
    result->public.removed = result->removed;
    free(there.names);
    return code;
}

/* A log that belonged to what was replaced. */
static cb_code remove_old_log(upload *u, cb_error *err)
{
    char key[CB_KEY_MAX + 8];

    snprintf(key, sizeof(key), "%s.wal", u->key);
    if (cb_store_remove(u->store, key, err) != CB_OK)
        return cb_context(err, "the copy was made, but the log '%s' of the old one is still there",
                          key);
    return CB_OK;
}

static cb_code run(upload *u, cb_error *err)
{
    const cb_copy_request *r = u->copy->request;
    bool has_log = false;
    outcome streamed;
    cb_code code = choose_key(u, err);

    if (code == CB_OK)
        code = try_streams(u, &streamed, err);
    if (code == CB_OK && streamed != STREAM_DONE)
        code = over_a_file(u, &has_log, err);
    if (code == CB_OK && r->force && !has_log)
        code = remove_old_log(u, err);
    if (code == CB_OK)
        code = cb_arena_format(&u->copy->result->arena, &u->copy->result->public.target, err,
                               "%.*s/%s", folder_size(u), cb_store_address(u->store), u->key);
    if (code == CB_OK && r->timestamp && r->keep > 0)
        code = keep_newest(u, err);
    return code;
}

cb_code cb_copy_to_store(cb_copy *c, cb_error *err)
{
    upload u = {.copy = c, .ctx = c->ctx};
    cb_code code = run(&u, err);

    abandon(&u);
    cb_store_close(u.store);
    return code;
}
