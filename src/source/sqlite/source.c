/*
 * source.c - the read half: freeze into a nameless copy at begin, then hand out its chunks.
 *
 * After begin nothing can move any more, so there is one pass and nothing to confirm.
 *
 * Nothing changed (no copy is made) only if it is certain: the same inode with the same size and
 * times as at the last backup, whose times lay back far enough to have moved with a later write;
 * no log with contents and no journal beside it; and the counter that SQLite moves with each
 * transaction in rollback mode stands where it stood.
 */
#include "source/sqlite/sqlite_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

enum {
    DEADLINE_US = 600 * 1000000,
    SETTLED_NS = 2000000000, /* the coarsest time stamps of common file systems */
    FACTS_MAX = 6,
    SCHEME_LENGTH = 7, /* "sqlite:" */
};

typedef enum sqlite_phase {
    PHASE_ITEM,
    PHASE_PIECES,
    PHASE_END,
} sqlite_phase;

typedef struct sqlite_source {
    cb_source base;
    cb_ctx *ctx;
    cb_arena arena;
    const char *path; /* of the database, absolute */
    const char *read; /* where it is read: `path`, or its place in a snapshot */
    const char *scratch;
    int64_t deadline_us;
    bool is_snapshot;
    cb_sqlite_header header; /* before the copy */
    uint64_t log_bytes;
    cb_sqlite_frozen frozen;
    sqlite_phase phase;
    uint64_t next_index;
    cb_item item;
    cb_buf attrs;
    cb_buf state;
    cb_pair facts[FACTS_MAX];
    size_t fact_count;
} sqlite_source;

/* ---- the state, for the next run ------------------------------------------------------------ */

typedef struct sqlite_state {
    uint64_t settled, size, device, inode, changes, page_bytes, pages;
    int64_t mtime_ns, ctime_ns;
} sqlite_state;

static cb_code put_state(const sqlite_state *state, cb_buf *into, cb_error *err)
{
    const uint64_t numbers[] = {state->settled, state->size,       state->device, state->inode,
                                state->changes, state->page_bytes, state->pages};
    cb_code code = CB_OK;

    into->size = 0;
    for (uint32_t i = 0; code == CB_OK && i < CB_LENGTH(numbers); i++)
        code = cb_field_put_u64(into, CB_SQLITE_STATE_SETTLED + i, numbers[i], err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, CB_SQLITE_STATE_MTIME, state->mtime_ns, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, CB_SQLITE_STATE_CTIME, state->ctime_ns, err);
    return code;
}

static cb_code take_field(const cb_field *field, sqlite_state *out, cb_error *err)
{
    switch ((cb_sqlite_state)field->tag) {
    case CB_SQLITE_STATE_SETTLED:
        return cb_field_u64(field, &out->settled, err);
    case CB_SQLITE_STATE_SIZE:
        return cb_field_u64(field, &out->size, err);
    case CB_SQLITE_STATE_DEVICE:
        return cb_field_u64(field, &out->device, err);
    case CB_SQLITE_STATE_INODE:
        return cb_field_u64(field, &out->inode, err);
    case CB_SQLITE_STATE_MTIME:
        return cb_field_i64(field, &out->mtime_ns, err);
    case CB_SQLITE_STATE_CTIME:
        return cb_field_i64(field, &out->ctime_ns, err);
    case CB_SQLITE_STATE_CHANGES:
        return cb_field_u64(field, &out->changes, err);
    case CB_SQLITE_STATE_PAGE_BYTES:
        return cb_field_u64(field, &out->page_bytes, err);
    case CB_SQLITE_STATE_PAGES:
        return cb_field_u64(field, &out->pages, err);
    }
    return CB_OK; /* of a later version: not needed */
}

/* A record that cannot be read only costs the shortcut. */
static bool parse_state(cb_bytes raw, sqlite_state *out)
{
    cb_field_reader reader = {raw};
    cb_error err = {0};
    cb_field field;
    bool more = false;

    memset(out, 0, sizeof(*out));
    while (cb_field_next(&reader, &field, &more, &err) == CB_OK && more)
        if (take_field(&field, out, &err) != CB_OK)
            return false;
    return err.code == CB_OK && out->settled == 1;
}

static bool is_unchanged(const sqlite_source *s, const sqlite_state *before)
{
    char journal[CB_PATH_MAX];
    cb_error err = {0};

    return s->log_bytes == 0 && s->header.size == before->size &&
           s->header.device == before->device && s->header.inode == before->inode &&
           s->header.mtime_ns == before->mtime_ns && s->header.ctime_ns == before->ctime_ns &&
           s->header.change_counter == before->changes &&
           cb_sqlite_beside(s->read, cb_sqlite_suffix[CB_SQLITE_JOURNAL], journal, &err) == CB_OK &&
           !cb_path_exists(journal);
}

/* What was seen before the copy; usable next time only if it is still so after it. */
static cb_code render_state(sqlite_source *s, cb_error *err)
{
    sqlite_state state = {
        .size = s->header.size,
        .device = s->header.device,
        .inode = s->header.inode,
        .mtime_ns = s->header.mtime_ns,
        .ctime_ns = s->header.ctime_ns,
        .changes = s->header.change_counter,
        .page_bytes = s->header.page_bytes,
        .pages = s->header.page_bytes > 0 ? s->frozen.size / s->header.page_bytes : 0,
    };
    int64_t now_ns = cb_now_us(s->ctx) * 1000;
    cb_sqlite_header after;

    if (cb_sqlite_look(s->read, &after, err) != CB_OK)
        return err->code;
    state.settled = s->log_bytes == 0 && !s->is_snapshot && cb_sqlite_same(&s->header, &after) &&
                    state.mtime_ns < now_ns - SETTLED_NS && state.ctime_ns < now_ns - SETTLED_NS;
    return put_state(&state, &s->state, err);
}

/* ---- begin ---------------------------------------------------------------------------------- */

static void add_fact(sqlite_source *s, const char *key, const char *value)
{
    s->facts[s->fact_count++] = (cb_pair){key, value};
}

static cb_code note_facts(sqlite_source *s, cb_error *err)
{
    uint32_t version = s->header.writer_version;
    const char *page;
    const char *writer;
    cb_code code = cb_arena_format(&s->arena, &page, err, "%u", s->header.page_bytes);

    if (code == CB_OK)
        code = cb_arena_format(&s->arena, &writer, err, "%u.%u.%u", version / 1000000,
                               version / 1000 % 1000, version % 1000);
    if (code != CB_OK)
        return code;
    s->fact_count = 0;
    add_fact(s, "page size", page);
    add_fact(s, "last written by SQLite", writer);
    add_fact(s, "journal mode", s->header.is_wal ? "wal" : "rollback");
    return CB_OK;
}

static cb_code render_attrs(sqlite_source *s, cb_error *err)
{
    cb_code code = cb_field_put_u64(&s->attrs, CB_SQLITE_ATTR_MODE, s->header.mode, err);

    if (code == CB_OK)
        code = cb_field_put_u64(&s->attrs, CB_SQLITE_ATTR_UID, s->header.uid, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&s->attrs, CB_SQLITE_ATTR_GID, s->header.gid, err);
    return code;
}

static cb_code look_around(sqlite_source *s, cb_error *err)
{
    char log[CB_PATH_MAX];
    struct stat st;
    cb_code code = cb_sqlite_look(s->read, &s->header, err);

    if (code == CB_OK)
        code = cb_sqlite_require(s->read, &s->header, err);
    if (code == CB_OK)
        code = cb_sqlite_beside(s->read, cb_sqlite_suffix[CB_SQLITE_WAL], log, err);
    if (code == CB_OK)
        s->log_bytes = stat(log, &st) == 0 ? (uint64_t)st.st_size : 0;
    return code;
}

/* Name the one that is in the way, now that no connection of ours can lose its locks by the
   look. */
static cb_code blame(sqlite_source *s, cb_code code, cb_error *err)
{
    cb_error ignored = {0};
    int64_t pid = 0;

    if (code == CB_BUSY && cb_sqlite_holder(s->read, &pid, &ignored) == CB_OK && pid > 0)
        return cb_context(err, "process %lld has it open", (long long)pid);
    return code;
}

static cb_code sqlite_begin(cb_source *base, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    sqlite_source *s = (sqlite_source *)base;
    int64_t begun_us = cb_now_us(s->ctx);
    sqlite_state before;
    cb_code code = look_around(s, err);

    *unchanged = false;
    if (code == CB_OK)
        code = note_facts(s, err);
    if (code != CB_OK)
        return code;
    if (!s->is_snapshot && parse_state(parent_state, &before) && is_unchanged(s, &before)) {
        *unchanged = true;
        s->frozen = (cb_sqlite_frozen){.fd = -1, .confirmed = "unchanged", .point_us = begun_us};
        s->state.size = 0;
        return cb_buf_append(&s->state, parent_state.data, parent_state.size, err);
    }
    if (s->is_snapshot)
        code = cb_sqlite_freeze_cold(s->ctx, s->read, s->scratch, &s->frozen, err);
    else
        code = cb_sqlite_freeze(s->ctx, s->read, s->scratch, cb_monotonic_us() + s->deadline_us,
                                &s->frozen, err);
    if (code == CB_OK)
        code = render_attrs(s, err);
    if (code == CB_OK)
        code = render_state(s, err);
    if (code != CB_OK)
        return blame(s, code, err);
    s->item = (cb_item){.path = cb_sqlite_item,
                        .kind = CB_ITEM_DATABASE,
                        .size_bytes = s->frozen.size,
                        .chunk_bytes = CB_SQLITE_CHUNK_BYTES,
                        .attrs = cb_buf_bytes(&s->attrs)};
    return CB_OK;
}

/* ---- the steps ------------------------------------------------------------------------------ */

static cb_code sqlite_next(cb_source *base, cb_step *step, cb_error *err)
{
    sqlite_source *s = (sqlite_source *)base;

    *step = (cb_step){.pass = 1, .total_bytes = s->frozen.size};
    switch (s->phase) {
    case PHASE_ITEM:
        step->kind = CB_STEP_ITEM;
        step->item = s->item;
        s->phase = PHASE_PIECES;
        return CB_OK;
    case PHASE_PIECES:
        if (s->next_index < cb_item_chunks(&s->item)) {
            step->kind = CB_STEP_PIECE;
            step->piece.index = s->next_index++;
            cb_item_chunk(&s->item, step->piece.index, &step->piece.offset, &step->piece.length);
            return CB_OK;
        }
        step->kind = CB_STEP_DONE;
        s->phase = PHASE_END;
        return CB_OK;
    case PHASE_END:
        step->kind = CB_STEP_END;
        return CB_OK;
    }
    return cb_fail(err, CB_INTERNAL, "sqlite source in phase %d", (int)s->phase);
}

static cb_code sqlite_take(cb_source *base, const cb_item *parent, bool *reuse, cb_error *err)
{
    (void)base;
    (void)parent;
    (void)err;
    *reuse = false; /* begin has decided already */
    return CB_OK;
}

static cb_code sqlite_read(cb_source *base, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    const sqlite_source *s = (const sqlite_source *)base;
    size_t got;

    if (cb_buf_reserve(into, piece->length, err) != CB_OK ||
        cb_file_read(s->frozen.fd, s->path, piece->offset, into->data + into->size, piece->length,
                     &got, err) != CB_OK)
        return err->code;
    if (got != piece->length)
        return cb_fail(err, CB_IO, "the copy of '%s' ends early", s->path);
    into->size += got;
    return CB_OK;
}

static cb_code sqlite_end(cb_source *base, cb_source_facts *out, cb_error *err)
{
    sqlite_source *s = (sqlite_source *)base;

    (void)err;
    *out = (cb_source_facts){
        .point_us = s->frozen.point_us,
        .source_bytes = s->header.size + s->log_bytes,
        .passes = s->frozen.passes,
        .confirmed = s->frozen.confirmed,
        .state = cb_buf_bytes(&s->state),
        .facts = s->facts,
        .fact_count = s->fact_count,
    };
    return CB_OK;
}

static void sqlite_free(cb_source *base)
{
    sqlite_source *s = (sqlite_source *)base;

    cb_fd_close(&s->frozen.fd);
    cb_buf_free(&s->attrs);
    cb_buf_free(&s->state);
    cb_arena_free(&s->arena);
    free(s);
}

/* ---- new ------------------------------------------------------------------------------------ */

/* The file's name without its suffix, made fit for a name of a backup. */
static cb_code make_name(sqlite_source *s, cb_error *err)
{
    const char *base = cb_path_base(s->path);
    const char *dot = strrchr(base, '.');
    size_t length = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
    char name[65];

    if (length > sizeof(name) - 1)
        length = sizeof(name) - 1;
    memcpy(name, base, length);
    name[length] = '\0';
    for (size_t i = 0; i < length; i++) {
        char one[2] = {name[i], '\0'};

        if (name[i] != '.' && name[i] != '-' && !cb_is_name(one))
            name[i] = '-';
    }
    if (!cb_is_name(name))
        snprintf(name, sizeof(name), "sqlite");
    return cb_arena_text(&s->arena, name, &s->base.name, err);
}

/* A snapshot is named by the file in it, or by a folder: the one of the database, or the root of
   the file system that was frozen. */
static cb_code find_in_snapshot(sqlite_source *s, const char *snapshot, cb_error *err)
{
    char place[CB_PATH_MAX];
    struct stat st;
    cb_code code;

    s->is_snapshot = true;
    if (stat(snapshot, &st) != 0 || !S_ISDIR(st.st_mode))
        return cb_arena_text(&s->arena, snapshot, &s->read, err);
    code = cb_path_join(snapshot, s->path + 1, place, err);
    if (code == CB_OK && !cb_path_exists(place))
        code = cb_path_join(snapshot, cb_path_base(s->path), place, err);
    if (code == CB_OK)
        code = cb_arena_text(&s->arena, place, &s->read, err);
    return code;
}

static cb_code fill(sqlite_source *s, const char *path, const cb_source_options *options,
                    cb_error *err)
{
    char absolute[CB_PATH_MAX];
    cb_code code = cb_path_absolute(path, absolute, err);

    if (code == CB_OK)
        code = cb_arena_format(&s->arena, &s->base.address, err, "sqlite:%s", absolute);
    if (code != CB_OK)
        return code;
    s->path = s->base.address + SCHEME_LENGTH;
    s->read = s->path;
    code = cb_arena_text(&s->arena, options->scratch, &s->scratch, err);
    if (code == CB_OK && options->snapshot != NULL)
        code = find_in_snapshot(s, options->snapshot, err);
    if (code == CB_OK)
        code = make_name(s, err);
    return code;
}

cb_code cb_sqlite_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                             cb_source **out, cb_error *err)
{
    static const cb_source_ops ops = {
        sqlite_begin, sqlite_next, sqlite_take, sqlite_read, sqlite_end, sqlite_free,
    };
    sqlite_source *s = calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->base = (cb_source){.ops = &ops, .kind = "sqlite", .identity = ""};
    s->ctx = ctx;
    s->frozen.fd = -1;
    s->deadline_us = options->deadline_us > 0 ? options->deadline_us : DEADLINE_US;
    if (fill(s, path, options, err) != CB_OK) {
        sqlite_free(&s->base);
        return err->code;
    }
    *out = &s->base;
    return CB_OK;
}
