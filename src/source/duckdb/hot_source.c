/*
 * hot_source.c - the hot copy as a source: passes become steps.
 *
 *     ITEM database [ITEM log ...]  PIECE ...  BARRIER  -> confirm: again, or
 *     HOLE ... ITEM (final size)  PIECE head  DONE ...  END
 *
 * The header pages are the last piece, made from the sight that was confirmed, so they always
 * belong to the blocks before them.
 */
#include "source/duckdb/duckdb_internal.h"

#include "source/duckdb/duckdb.h"
#include "source/duckdb/hot.h"
#include "source/duckdb/state.h"

#include "base/array.h"
#include "base/temp.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum phase {
    PHASE_LOOK,
    PHASE_ITEMS,
    PHASE_BLOCKS,
    PHASE_LOGS,
    PHASE_CONFIRM,
    PHASE_HOLES,
    PHASE_FINAL_ITEMS,
    PHASE_HEAD,
    PHASE_DONE,
    PHASE_END,
} phase;

/* What the caller was told of an item. */
typedef struct told_item {
    bool is_declared;
    uint64_t size_bytes;
    uint32_t chunk_bytes;
} told_item;

typedef struct hot_source {
    cb_source base;
    cb_ctx *ctx;
    cb_source_options options;
    char path[CB_PATH_MAX];     /* as named, absolute */
    char snapshot[CB_PATH_MAX]; /* "" none */
    cb_temp scratch;            /* of the engine's copy */
    char name[65];
    char identity[33];
    cb_hot hot;
    bool has_hot;
    bool is_unchanged;
    cb_duckdb_state state; /* of this backup; when unchanged, the parent's */
    cb_buf state_raw;

    phase phase;
    told_item told[CB_DUCKDB_FILES];
    uint64_t at;                /* cursor of the phase */
    unsigned file;              /* and its item */
    uint64_t pass_bytes;        /* what this pass reads */
    cb_fingerprint *log_stored; /* of the log's chunks that the caller has */
    size_t log_stored_count, log_stored_capacity;
    cb_code failed; /* by next(): there is nothing to go on with */
} hot_source;

static hot_source *of(cb_source *source)
{
    return (hot_source *)source;
}

static bool takes_as_it_is(const hot_source *s)
{
    return s->hot.now.opaque || s->hot.now.verdict == CB_SIGHT_CRASHED;
}

/* ---- begin -------------------------------------------------------------------------------- */

/* Let the engine write a logical copy; it is then read like any file that nobody has open. */
static cb_code copy_through_engine(hot_source *s, char copy[CB_PATH_MAX], cb_error *err)
{
    const char *root = s->options.scratch;
    cb_code code = cb_temp_make(s->ctx, root != NULL && root[0] != '\0' ? root : NULL,
                                cb_temp_prefix, &s->scratch, err);

    if (code != CB_OK)
        return code;
    code = cb_path_join(s->scratch.path, "copy.duckdb", copy, err);
    if (code != CB_OK)
        return code;
    cb_event_text(s->ctx, CB_EVENT_PHASE, "copying through the engine");
    return cb_duckdb_attach_copy(s->ctx, s->path, copy, err);
}

/* As far as the headers tell, is the snapshot one of this database? */
static cb_code check_snapshot(hot_source *s, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t live_pages[CB_DUCKDB_HEAD], snap_pages[CB_DUCKDB_HEAD];
    cb_duckdb_head live, snap;
    size_t got;
    cb_code code = cb_file_open(s->path, O_RDONLY, 0, &fd, err);

    if (code == CB_NOT_FOUND || code == CB_DENIED) { /* then there is nothing to compare with */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_file_read(fd, s->path, 0, live_pages, sizeof(live_pages), &got, err);
    if (code != CB_OK)
        return code;
    if (cb_duckdb_head_parse(cb_bytes_of(live_pages, got), &live, err) != CB_OK ||
        !cb_duckdb_head_ok(&live)) {
        cb_error_clear(err); /* a damaged original is a reason to read the snapshot */
        return CB_OK;
    }
    code = cb_duckdb_watch_read(&s->hot.watch, CB_DUCKDB_DATABASE, 0, snap_pages,
                                sizeof(snap_pages), &got, err);
    if (code == CB_OK)
        code = cb_duckdb_head_parse(cb_bytes_of(snap_pages, got), &snap, err);
    if (code != CB_OK)
        return cb_context(err, "'%s'", s->snapshot);
    if (memcmp(live.main.identifier, snap.main.identifier, sizeof(live.main.identifier)) == 0 &&
        live.main.encrypted == snap.main.encrypted &&
        live.header.block_bytes == snap.header.block_bytes &&
        live.header.iteration >= snap.header.iteration)
        return CB_OK;
    cb_fail(err, CB_USAGE, "'%s' is not a snapshot of '%s'", s->snapshot, s->path);
    cb_hint(err, "Name the same database's file below the snapshot's mount point.");
    return err->code;
}

static cb_code open_hot(hot_source *s, cb_error *err)
{
    char copy[CB_PATH_MAX] = "";
    const char *other = s->snapshot[0] != '\0' ? s->snapshot : NULL;
    cb_code code = CB_OK;

    if (s->options.method == CB_METHOD_ATTACH) {
        code = copy_through_engine(s, copy, err);
        other = copy;
    }
    if (code != CB_OK)
        return code;
    s->has_hot = true;
    code = cb_hot_begin(s->ctx, s->path, other, s->options.deadline_us, s->options.allow_damage,
                        &s->hot, err);
    if (code == CB_OK && s->snapshot[0] != '\0')
        code = check_snapshot(s, err);
    return code;
}

static cb_code begin(cb_source *source, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    hot_source *s = of(source);
    cb_duckdb_state parent = {0};
    cb_code code;

    *unchanged = false;
    code = open_hot(s, err);
    if (code != CB_OK || parent_state.size == 0 || s->snapshot[0] != '\0' ||
        s->options.method == CB_METHOD_ATTACH)
        return code;
    if (cb_duckdb_state_parse(parent_state, &parent, err) != CB_OK) {
        cb_error_clear(err); /* of a newer release: then everything is read */
        return CB_OK;
    }
    code = cb_duckdb_state_unchanged(&s->hot.watch, &parent, unchanged, err);
    if (code == CB_OK && *unchanged) {
        s->is_unchanged = true;
        s->phase = PHASE_END;
        s->state = parent;
        return CB_OK;
    }
    cb_duckdb_state_free(&parent);
    return code;
}

/* ---- next --------------------------------------------------------------------------------- */

static uint64_t wanted_size(const hot_source *s, unsigned file)
{
    return file == CB_DUCKDB_DATABASE ? cb_hot_size(&s->hot)
                                      : cb_hot_log_bytes(&s->hot, (cb_duckdb_file)file);
}

static uint32_t chunk_bytes(const hot_source *s, unsigned file)
{
    return file == CB_DUCKDB_DATABASE ? s->hot.now.block_bytes : CB_DUCKDB_LOG_CHUNK;
}

static void item_step(hot_source *s, unsigned file, uint64_t size, cb_step *step)
{
    told_item *told = &s->told[file];

    *told = (told_item){true, size, chunk_bytes(s, file)};
    if (file == CB_DUCKDB_LOG && s->log_stored_count > size / CB_DUCKDB_LOG_CHUNK)
        s->log_stored_count = (size_t)(size / CB_DUCKDB_LOG_CHUNK);
    step->kind = CB_STEP_ITEM;
    step->piece.item = file;
    step->item = (cb_item){
        .path = cb_duckdb_file_item((cb_duckdb_file)file),
        .kind = file == CB_DUCKDB_DATABASE ? CB_ITEM_DATABASE : CB_ITEM_LOG,
        .size_bytes = size,
        .head_bytes = file == CB_DUCKDB_DATABASE ? CB_DUCKDB_HEAD : 0,
        .chunk_bytes = told->chunk_bytes,
    };
}

/*
 * While passes go on the database only grows in what the caller is told, so that no piece that it
 * has falls off the end; the last word is FINAL_ITEMS. *given: a step was made.
 */
static void next_item(hot_source *s, bool is_final, cb_step *step, bool *given)
{
    *given = false;
    for (; s->file < CB_DUCKDB_FILES && !*given; s->file++) {
        told_item *told = &s->told[s->file];
        uint64_t size = wanted_size(s, s->file);
        bool is_other_grid = told->is_declared && told->chunk_bytes != chunk_bytes(s, s->file);

        if (!told->is_declared && s->file != CB_DUCKDB_DATABASE && size == 0)
            continue;
        if (is_other_grid) {
            cb_bits_clear(&s->hot.stored);
        } else if (told->is_declared && s->file == CB_DUCKDB_DATABASE && !is_final &&
                   !takes_as_it_is(s) && size < told->size_bytes) {
            size = told->size_bytes;
        }
        if (told->is_declared && !is_other_grid && size == told->size_bytes)
            continue;
        item_step(s, s->file, size, step);
        *given = true;
    }
}

static void next_block(hot_source *s, cb_step *step, bool *given)
{
    uint64_t block = cb_bits_next(&s->hot.todo, s->at);
    uint64_t size = s->told[CB_DUCKDB_DATABASE].size_bytes;
    uint64_t offset;

    *given = block < s->hot.todo.bound;
    if (!*given)
        return;
    s->at = block + 1;
    cb_bits_add(&s->hot.stored, block);
    offset = cb_duckdb_block_offset(block, s->hot.now.block_bytes);
    step->kind = CB_STEP_PIECE;
    step->piece = (cb_piece){
        .item = CB_DUCKDB_DATABASE,
        .index = block + 1,
        .offset = offset,
        .length = size - offset < s->hot.now.block_bytes ? (uint32_t)(size - offset)
                                                         : s->hot.now.block_bytes,
    };
}

/* Has the caller this chunk of the log already, from an earlier pass? Then note it as given. */
static cb_code note_log_chunk(hot_source *s, uint64_t index, bool *known, cb_error *err)
{
    const cb_fingerprint *print = &s->hot.now.prints[index];
    cb_code code;

    *known =
        index < s->log_stored_count && memcmp(&s->log_stored[index], print, sizeof(*print)) == 0;
    if (*known)
        return CB_OK;
    code = cb_array_reserve(&s->log_stored, &s->log_stored_capacity, (size_t)index + 1,
                            sizeof(*print), err);
    if (code != CB_OK)
        return code;
    s->log_stored[index] = *print;
    if (index >= s->log_stored_count)
        s->log_stored_count = (size_t)index + 1;
    return CB_OK;
}

static cb_code next_log(hot_source *s, cb_step *step, bool *given, cb_error *err)
{
    *given = false;
    for (; s->file < CB_DUCKDB_FILES; s->file++, s->at = 0) {
        uint64_t size = wanted_size(s, s->file);

        while (s->at < size && !*given) {
            uint64_t offset = s->at;
            bool known = false;
            cb_code code = CB_OK;

            s->at += CB_DUCKDB_LOG_CHUNK;
            if (s->file == CB_DUCKDB_LOG)
                code = note_log_chunk(s, offset / CB_DUCKDB_LOG_CHUNK, &known, err);
            if (code != CB_OK)
                return code;
            if (known)
                continue;
            *given = true;
            step->kind = CB_STEP_PIECE;
            step->piece = (cb_piece){
                .item = s->file,
                .index = offset / CB_DUCKDB_LOG_CHUNK,
                .offset = offset,
                .length = size - offset < CB_DUCKDB_LOG_CHUNK ? (uint32_t)(size - offset)
                                                              : CB_DUCKDB_LOG_CHUNK,
            };
        }
        if (*given)
            return CB_OK;
    }
    return CB_OK;
}

static void next_hole(hot_source *s, cb_step *step, bool *given)
{
    uint64_t block = cb_bits_next(&s->hot.stored, s->at);
    uint64_t end = s->hot.block_end;

    while (block < end && cb_bits_has(&s->hot.wanted, block))
        block = cb_bits_next(&s->hot.stored, block + 1);
    *given = block < end; /* those past the end go with the final size */
    if (!*given)
        return;
    s->at = block + 1;
    step->kind = CB_STEP_HOLE;
    step->piece = (cb_piece){
        .item = CB_DUCKDB_DATABASE,
        .index = block + 1,
        .offset = cb_duckdb_block_offset(block, s->hot.now.block_bytes),
        .length = s->hot.now.block_bytes,
    };
}

static void enter(hot_source *s, phase to)
{
    s->phase = to;
    s->at = 0;
    s->file = to == PHASE_LOGS ? CB_DUCKDB_LOG : CB_DUCKDB_DATABASE;
}

static cb_code look(hot_source *s, cb_error *err)
{
    cb_code code;

    if (s->hot.passes == 0)
        cb_event_text(s->ctx, CB_EVENT_PHASE, "reading");
    if (s->hot.log_moved)
        s->log_stored_count = 0; /* some of what was noted never reached the caller */
    code = cb_hot_look(&s->hot, err);
    s->pass_bytes = cb_bits_count(&s->hot.todo) * s->hot.now.block_bytes + s->hot.now.log_bytes;
    enter(s, PHASE_ITEMS);
    return code;
}

static cb_code confirm(hot_source *s, cb_error *err)
{
    cb_hot_outcome outcome = CB_HOT_AGAIN;
    cb_code code;

    code = cb_hot_confirm(&s->hot, &outcome, err);
    switch (outcome) {
    case CB_HOT_CONFIRMED:
        enter(s, PHASE_HOLES);
        break;
    case CB_HOT_AGAIN:
        enter(s, PHASE_LOOK);
        break;
    case CB_HOT_REREAD:
        enter(s, PHASE_BLOCKS);
        break;
    }
    return code;
}

/* One turn of the machine; *given when it made a step. */
static cb_code turn(hot_source *s, cb_step *step, bool *given, cb_error *err)
{
    cb_code code = CB_OK;

    *given = false;
    switch (s->phase) {
    case PHASE_LOOK:
        return look(s, err);
    case PHASE_ITEMS:
        next_item(s, false, step, given);
        if (!*given)
            enter(s, PHASE_BLOCKS);
        return CB_OK;
    case PHASE_BLOCKS:
        next_block(s, step, given);
        if (!*given)
            enter(s, PHASE_LOGS);
        return CB_OK;
    case PHASE_LOGS:
        code = next_log(s, step, given, err);
        if (code == CB_OK && !*given) {
            step->kind = CB_STEP_BARRIER;
            *given = true;
            enter(s, PHASE_CONFIRM);
        }
        return code;
    case PHASE_CONFIRM:
        return confirm(s, err);
    case PHASE_HOLES:
        next_hole(s, step, given);
        if (!*given)
            enter(s, PHASE_FINAL_ITEMS);
        return CB_OK;
    case PHASE_FINAL_ITEMS:
        next_item(s, true, step, given);
        if (!*given)
            enter(s, PHASE_HEAD);
        return CB_OK;
    case PHASE_HEAD:
        step->kind = CB_STEP_PIECE;
        step->piece = (cb_piece){.length = CB_DUCKDB_HEAD};
        *given = true;
        enter(s, PHASE_DONE);
        return CB_OK;
    case PHASE_DONE:
        while (s->file < CB_DUCKDB_FILES && !s->told[s->file].is_declared)
            s->file++;
        if (s->file >= CB_DUCKDB_FILES) {
            enter(s, PHASE_END);
            return CB_OK;
        }
        step->kind = CB_STEP_DONE;
        step->piece.item = s->file++;
        *given = true;
        return CB_OK;
    case PHASE_END:
        step->kind = CB_STEP_END;
        *given = true;
        return CB_OK;
    }
    return cb_fail(err, CB_INTERNAL, "the hot copy lost its way");
}

static cb_code next(cb_source *source, cb_step *step, cb_error *err)
{
    hot_source *s = of(source);
    bool given = false;
    cb_code code = s->failed;

    if (code != CB_OK)
        return cb_fail(err, code, "the copy of '%s' has failed before", s->path);
    while (code == CB_OK && !given) {
        *step = (cb_step){0};
        code = turn(s, step, &given, err);
    }
    step->pass = s->hot.passes;
    step->total_bytes = s->pass_bytes;
    s->failed = code;
    return code;
}

static cb_code take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    (void)source;
    (void)parent;
    (void)err;
    *reuse = false; /* headers do not tell one history from another: every block is compared */
    return CB_OK;
}

static cb_code read_piece(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    hot_source *s = of(source);
    uint8_t head[CB_DUCKDB_HEAD];

    if (piece->item != CB_DUCKDB_DATABASE)
        return cb_hot_read_log(&s->hot, (cb_duckdb_file)piece->item, piece->offset, piece->length,
                               into, err);
    if (piece->index > 0)
        return cb_hot_read_block(&s->hot, piece->index - 1, piece->length, into, err);
    cb_hot_head(&s->hot, head);
    return cb_buf_append(into, head, sizeof(head), err);
}

/* ---- end ---------------------------------------------------------------------------------- */

static cb_code list_torn(hot_source *s, cb_error *err)
{
    const cb_bits *torn = &s->hot.torn;
    uint64_t count = cb_bits_count(torn);
    cb_code code;

    if (count == 0)
        return CB_OK;
    code = cb_arena_alloc(&s->state.arena, (size_t)count * sizeof(uint64_t), &s->state.torn, err);
    if (code != CB_OK)
        return code;
    for (uint64_t i = cb_bits_next(torn, 0); i < torn->bound; i = cb_bits_next(torn, i + 1))
        s->state.torn[s->state.torn_count++] = i;
    return cb_duckdb_state_fact(&s->state, err, "torn_metadata", "%llu blocks, the first is %llu",
                                (unsigned long long)count, (unsigned long long)s->state.torn[0]);
}

static const char *confirmed(const hot_source *s)
{
    return s->options.method == CB_METHOD_ATTACH ? "engine" : s->hot.confirmed;
}

static cb_code list_facts(hot_source *s, cb_error *err)
{
    const cb_duckdb_sight *now = &s->hot.now;
    cb_duckdb_state *st = &s->state;
    char version[64];
    bool plain = !now->opaque;
    cb_code code;

    code = cb_duckdb_state_fact(st, err, "file_version", "%s",
                                cb_duckdb_version_text(&now->head, version));
    if (code == CB_OK)
        code = cb_duckdb_state_fact(st, err, "created_by", "DuckDB %s",
                                    now->head.main.library[0] != '\0' ? now->head.main.library
                                                                      : "unknown");
    if (code == CB_OK)
        code = cb_duckdb_state_fact(st, err, "method", "%s",
                                    s->options.method == CB_METHOD_ATTACH ? "attach" : "hot");
    if (code == CB_OK)
        code = cb_duckdb_state_fact(st, err, "encrypted", "%s",
                                    now->head.main.encrypted ? "yes" : "no");
    if (code == CB_OK && plain)
        code = cb_duckdb_state_fact(st, err, "block_size", "%u", now->block_bytes);
    if (code == CB_OK && plain)
        code = cb_duckdb_state_fact(st, err, "iteration", "%llu",
                                    (unsigned long long)now->head.header.iteration);
    if (code == CB_OK && plain)
        code = cb_duckdb_state_fact(st, err, "blocks", "%llu used, %llu free",
                                    (unsigned long long)now->blocks.used_count,
                                    (unsigned long long)now->blocks.free_count);
    if (code == CB_OK)
        code =
            cb_duckdb_state_fact(st, err, "log_bytes", "%llu", (unsigned long long)now->log_bytes);
    if (code == CB_OK)
        code = cb_duckdb_state_fact(st, err, "confirmed", "%s", confirmed(s));
    if (code == CB_OK && now->lock.held)
        code = cb_duckdb_state_fact(st, err, "open_by", "process %lld", (long long)now->lock.pid);
    if (code == CB_OK && s->snapshot[0] != '\0')
        code = cb_duckdb_state_fact(st, err, "snapshot", "%s", s->snapshot);
    return code == CB_OK ? list_torn(s, err) : code;
}

static cb_code record(hot_source *s, cb_error *err)
{
    const cb_duckdb_sight *now = &s->hot.now;
    cb_duckdb_state *st = &s->state;
    struct stat info;
    cb_code code;

    st->version = CB_DUCKDB_STATE_VERSION;
    memcpy(st->marks, s->hot.final_marks, sizeof(st->marks));
    st->first_read_us = s->hot.first_read_us;
    st->damaged = s->hot.damaged;
    st->block_bytes = now->block_bytes;
    st->is_crashed = now->verdict == CB_SIGHT_CRASHED;
    st->is_encrypted = now->head.main.encrypted;
    st->commits = now->log.commits;
    st->source_bytes =
        st->marks[CB_DUCKDB_DATABASE].size_bytes + st->marks[CB_DUCKDB_LOG].size_bytes;
    if (stat(s->path, &info) == 0 || fstat(s->hot.watch.fds[CB_DUCKDB_DATABASE], &info) == 0) {
        st->mode = info.st_mode & 07777;
        st->uid = info.st_uid;
        st->gid = info.st_gid;
    }
    cb_sha256(cb_bytes_of(now->pages, CB_DUCKDB_HEAD), &st->head_hash);
    code = cb_duckdb_state_hash_log(&s->hot.watch, s->hot.watch.fds[CB_DUCKDB_LOG],
                                    st->marks[CB_DUCKDB_LOG].size_bytes, &st->log_hash, err);
    return code == CB_OK ? list_facts(s, err) : code;
}

static cb_code end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    hot_source *s = of(source);
    cb_code code = CB_OK;

    if (s->phase != PHASE_END)
        return cb_fail(err, CB_INTERNAL, "the copy of '%s' was not finished", s->path);
    if (!s->is_unchanged && s->state.version == 0)
        code = record(s, err);
    s->state_raw.size = 0;
    if (code == CB_OK)
        code = cb_duckdb_state_render(&s->state, &s->state_raw, err);
    if (code != CB_OK)
        return code;
    *out = (cb_source_facts){
        .point_us = s->is_unchanged ? s->hot.first_read_us : s->hot.now.point_us,
        .source_bytes = s->state.source_bytes,
        .passes = s->is_unchanged ? 0 : s->hot.passes,
        .confirmed = s->is_unchanged ? "unchanged" : confirmed(s),
        .commits_in_log = s->state.commits,
        .damaged = s->state.damaged,
        .state = cb_buf_bytes(&s->state_raw),
        .facts = s->state.facts,
        .fact_count = s->state.fact_count,
    };
    return CB_OK;
}

static void free_source(cb_source *source)
{
    hot_source *s = of(source);

    if (s->has_hot)
        cb_hot_end(&s->hot);
    cb_temp_free(&s->scratch);
    cb_duckdb_state_free(&s->state);
    cb_buf_free(&s->state_raw);
    free(s->log_stored);
    free(s);
}

/* ---- new ---------------------------------------------------------------------------------- */

static void name_from_path(const char *path, char out[65])
{
    const char *base = cb_path_base(path);
    const char *dot = strrchr(base, '.');
    size_t size = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
    size_t used = 0;

    for (size_t i = 0; i < size && used < 64; i++) {
        char c = base[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || (used > 0 && (c == '.' || c == '-'));

        out[used++] = ok ? c : '_';
    }
    out[used] = '\0';
    if (!cb_is_name(out))
        snprintf(out, 65, "database");
}

/* The database's identifier, when it has one: it survives renames and tells copies of others. */
static void read_identity(const char *path, char out[33])
{
    uint8_t page[CB_DUCKDB_HEAD];
    cb_duckdb_head head;
    cb_error ignored = {0};
    int fd;
    size_t got = 0;

    out[0] = '\0';
    if (cb_file_open(path, O_RDONLY | O_NONBLOCK, 0, &fd, &ignored) != CB_OK)
        return;
    if (cb_file_read(fd, path, 0, page, sizeof(page), &got, &ignored) == CB_OK &&
        cb_duckdb_head_parse(cb_bytes_of(page, got), &head, &ignored) == CB_OK && head.main_ok &&
        head.main.has_identifier)
        cb_hex(head.main.identifier, sizeof(head.main.identifier), out);
    cb_fd_close(&fd);
}

static const cb_source_ops hot_source_ops = {begin, next, take, read_piece, end, free_source};

static cb_code fill(hot_source *s, const char *path, const cb_source_options *options,
                    cb_error *err)
{
    cb_code code = cb_duckdb_path(path, s->path, err);

    if (code == CB_OK && options->snapshot != NULL)
        code = cb_duckdb_path(options->snapshot, s->snapshot, err);
    if (code != CB_OK)
        return code;
    s->options = *options;
    name_from_path(s->path, s->name);
    read_identity(s->snapshot[0] != '\0' ? s->snapshot : s->path, s->identity);
    s->base = (cb_source){
        .ops = &hot_source_ops,
        .kind = "duckdb",
        .name = s->name,
        .address = s->path,
        .identity = s->identity,
    };
    return CB_OK;
}

cb_code cb_duckdb_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                             cb_source **out, cb_error *err)
{
    hot_source *s = calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->ctx = ctx;
    if (fill(s, path, options, err) != CB_OK) {
        free(s);
        return err->code;
    }
    *out = &s->base;
    return CB_OK;
}
