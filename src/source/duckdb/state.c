/*
 * state.c - see state.h. Tags are for ever: a field that is no longer used leaves a gap.
 */
#include "source/duckdb/state.h"

#include "codec/field.h"

#include <fcntl.h>
#include <stdio.h>

enum {
    TAG_VERSION = 1,
    TAG_FIRST_READ = 2,
    TAG_HEAD_HASH = 3,
    TAG_LOG_HASH = 4,
    TAG_DAMAGED = 5,
    TAG_MODE = 6,
    TAG_UID = 7,
    TAG_GID = 8,
    TAG_BLOCK_BYTES = 9,
    TAG_CRASHED = 10,
    TAG_ENCRYPTED = 11,
    TAG_TORN = 12, /* repeated */
    TAG_SOURCE_BYTES = 13,
    TAG_COMMITS = 14,
    TAG_FACT_KEY = 15, /* repeated, each followed by its value */
    TAG_FACT_VALUE = 16,
    TAG_MARK = 32, /* 32 to 35: one a file, a record of its own */

    MARK_DEVICE = 1,
    MARK_INODE = 2,
    MARK_SIZE = 3,
    MARK_BIRTH = 4,
    MARK_MODIFIED = 5,
    MARK_CHANGED = 6,
};

enum { HASHED_ENDS = 65536, TORN_MAX = 1 << 16 };

#define QUIET_NS ((int64_t)2 * 1000000000)

void cb_duckdb_state_free(cb_duckdb_state *state)
{
    cb_arena_free(&state->arena);
    memset(state, 0, sizeof(*state));
}

cb_code cb_duckdb_state_fact(cb_duckdb_state *state, cb_error *err, const char *key,
                             const char *format, ...)
{
    char value[512];
    cb_pair *pair = &state->facts[state->fact_count];
    va_list args;
    cb_code code;

    if (state->fact_count >= CB_DUCKDB_FACTS_MAX)
        return CB_OK;
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    code = cb_arena_text(&state->arena, key, &pair->key, err);
    if (code == CB_OK)
        code = cb_arena_text(&state->arena, value, &pair->value, err);
    if (code == CB_OK)
        state->fact_count++;
    return code;
}

/* ---- render ------------------------------------------------------------------------------- */

static cb_code render_mark(const cb_duckdb_mark *mark, uint32_t tag, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_code code;

    if (!mark->exists)
        return CB_OK;
    code = cb_field_put_u64(&raw, MARK_DEVICE, mark->device, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&raw, MARK_INODE, mark->inode, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&raw, MARK_SIZE, mark->size_bytes, err);
    if (code == CB_OK)
        code = cb_field_put_i64(&raw, MARK_BIRTH, mark->birth_ns, err);
    if (code == CB_OK)
        code = cb_field_put_i64(&raw, MARK_MODIFIED, mark->modified_ns, err);
    if (code == CB_OK)
        code = cb_field_put_i64(&raw, MARK_CHANGED, mark->changed_ns, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, tag, cb_buf_bytes(&raw), err);
    return code;
}

static cb_code render_lists(const cb_duckdb_state *s, cb_buf *into, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < s->torn_count; i++)
        code = cb_field_put_u64(into, TAG_TORN, s->torn[i], err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, TAG_SOURCE_BYTES, s->source_bytes, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, TAG_COMMITS, s->commits, err);
    for (size_t i = 0; code == CB_OK && i < s->fact_count; i++) {
        code = cb_field_put_text(into, TAG_FACT_KEY, s->facts[i].key, err);
        if (code == CB_OK)
            code = cb_field_put_text(into, TAG_FACT_VALUE, s->facts[i].value, err);
    }
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = render_mark(&s->marks[i], TAG_MARK + i, into, err);
    return code;
}

cb_code cb_duckdb_state_render(const cb_duckdb_state *s, cb_buf *into, cb_error *err)
{
    const struct {
        uint32_t tag;
        uint64_t value;
    } numbers[] = {
        {TAG_DAMAGED, s->damaged},
        {TAG_MODE, s->mode},
        {TAG_UID, s->uid},
        {TAG_GID, s->gid},
        {TAG_BLOCK_BYTES, s->block_bytes},
        {TAG_CRASHED, s->is_crashed},
        {TAG_ENCRYPTED, s->is_encrypted},
    };
    cb_code code = cb_field_put_u64(into, TAG_VERSION, CB_DUCKDB_STATE_VERSION, err);

    if (code == CB_OK)
        code = cb_field_put_i64(into, TAG_FIRST_READ, s->first_read_us, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, TAG_HEAD_HASH,
                                  cb_bytes_of(s->head_hash.bytes, CB_HASH_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, TAG_LOG_HASH, cb_bytes_of(s->log_hash.bytes, CB_HASH_BYTES),
                                  err);
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(numbers); i++)
        code = cb_field_put_u64(into, numbers[i].tag, numbers[i].value, err);
    return code == CB_OK ? render_lists(s, into, err) : code;
}

/* ---- parse -------------------------------------------------------------------------------- */

static cb_code parse_mark(cb_bytes raw, cb_duckdb_mark *out, cb_error *err)
{
    cb_field_reader reader = {raw};
    cb_field field;
    bool more;
    cb_code code;

    *out = (cb_duckdb_mark){.exists = true};
    for (;;) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            return code;
        switch (field.tag) {
        case MARK_DEVICE:
            code = cb_field_u64(&field, &out->device, err);
            break;
        case MARK_INODE:
            code = cb_field_u64(&field, &out->inode, err);
            break;
        case MARK_SIZE:
            code = cb_field_u64(&field, &out->size_bytes, err);
            break;
        case MARK_BIRTH:
            code = cb_field_i64(&field, &out->birth_ns, err);
            break;
        case MARK_MODIFIED:
            code = cb_field_i64(&field, &out->modified_ns, err);
            break;
        case MARK_CHANGED:
            code = cb_field_i64(&field, &out->changed_ns, err);
            break;
        default:
            break;
        }
        if (code != CB_OK)
            return code;
    }
}

static cb_code parse_u32(const cb_field *field, uint32_t *out, cb_error *err)
{
    uint64_t value = 0;
    cb_code code = cb_field_u64(field, &value, err);

    if (code == CB_OK && value > UINT32_MAX)
        return cb_fail(err, CB_CORRUPT, "a number in the state of the database is too large");
    *out = (uint32_t)value;
    return code;
}

static cb_code parse_flag(const cb_field *field, bool *out, cb_error *err)
{
    uint64_t value = 0;
    cb_code code = cb_field_u64(field, &value, err);

    *out = value != 0;
    return code;
}

static cb_code parse_hash(const cb_field *field, cb_hash *out, cb_error *err)
{
    if (field->value.size != CB_HASH_BYTES)
        return cb_fail(err, CB_CORRUPT, "a hash in the state of the database is cut");
    memcpy(out->bytes, field->value.data, CB_HASH_BYTES);
    return CB_OK;
}

static cb_code parse_fact(const cb_field *field, cb_duckdb_state *out, cb_error *err)
{
    cb_pair *pair = &out->facts[out->fact_count];

    if (out->fact_count >= CB_DUCKDB_FACTS_MAX)
        return CB_OK;
    if (field->tag == TAG_FACT_KEY)
        return cb_field_text(field, &out->arena, &pair->key, err);
    if (pair->key == NULL)
        return cb_fail(err, CB_CORRUPT, "a fact in the state of the database has no name");
    out->fact_count++;
    return cb_field_text(field, &out->arena, &pair->value, err);
}

static cb_code parse_field(const cb_field *field, cb_duckdb_state *out, cb_error *err)
{
    if (field->tag >= TAG_MARK && field->tag < TAG_MARK + CB_DUCKDB_FILES)
        return parse_mark(field->value, &out->marks[field->tag - TAG_MARK], err);
    switch (field->tag) {
    case TAG_VERSION:
        return cb_field_u64(field, &out->version, err);
    case TAG_FIRST_READ:
        return cb_field_i64(field, &out->first_read_us, err);
    case TAG_HEAD_HASH:
        return parse_hash(field, &out->head_hash, err);
    case TAG_LOG_HASH:
        return parse_hash(field, &out->log_hash, err);
    case TAG_DAMAGED:
        return cb_field_u64(field, &out->damaged, err);
    case TAG_MODE:
        return parse_u32(field, &out->mode, err);
    case TAG_UID:
        return parse_u32(field, &out->uid, err);
    case TAG_GID:
        return parse_u32(field, &out->gid, err);
    case TAG_BLOCK_BYTES:
        return parse_u32(field, &out->block_bytes, err);
    case TAG_CRASHED:
        return parse_flag(field, &out->is_crashed, err);
    case TAG_ENCRYPTED:
        return parse_flag(field, &out->is_encrypted, err);
    case TAG_TORN:
        if (out->torn_count >= TORN_MAX)
            return cb_fail(err, CB_CORRUPT, "the state of the database lists too many blocks");
        return cb_field_u64(field, &out->torn[out->torn_count++], err);
    case TAG_SOURCE_BYTES:
        return cb_field_u64(field, &out->source_bytes, err);
    case TAG_COMMITS:
        return cb_field_u64(field, &out->commits, err);
    case TAG_FACT_KEY:
    case TAG_FACT_VALUE:
        return parse_fact(field, out, err);
    default:
        return CB_OK; /* of a later release, and said to be safe to skip by the version */
    }
}

static cb_code parse(cb_bytes raw, cb_duckdb_state *out, cb_error *err)
{
    cb_field_reader reader = {raw};
    size_t torn = 0;
    cb_field field;
    bool more;
    cb_code code;

    for (;;) { /* a first walk only counts, so that the list is allocated once */
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        torn += field.tag == TAG_TORN;
    }
    if (code == CB_OK && torn > 0)
        code = cb_arena_alloc(&out->arena, (torn < TORN_MAX ? torn : TORN_MAX) * sizeof(uint64_t),
                              &out->torn, err);
    reader.rest = raw;
    while (code == CB_OK) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        code = parse_field(&field, out, err);
    }
    if (code == CB_OK && out->version > CB_DUCKDB_STATE_VERSION)
        return cb_fail(err, CB_UNSUPPORTED,
                       "the state of the database has version %llu, and %d is known",
                       (unsigned long long)out->version, CB_DUCKDB_STATE_VERSION);
    return code;
}

cb_code cb_duckdb_state_parse(cb_bytes raw, cb_duckdb_state *out, cb_error *err)
{
    cb_code code;

    *out = (cb_duckdb_state){0};
    code = parse(raw, out, err);
    if (code != CB_OK)
        cb_duckdb_state_free(out);
    return code;
}

/* ---- unchanged ---------------------------------------------------------------------------- */

cb_code cb_duckdb_state_hash_log(cb_duckdb_watch *watch, int fd, uint64_t size, cb_hash *out,
                                 cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf ends = {0};
    uint64_t tail_at = size > 2 * HASHED_ENDS ? size - HASHED_ENDS : HASHED_ENDS;
    size_t head = size < HASHED_ENDS ? (size_t)size : HASHED_ENDS;
    size_t got;
    cb_code code;

    *out = (cb_hash){0};
    if (fd < 0)
        return CB_OK;
    code = cb_buf_reserve(&ends, 2 * HASHED_ENDS, err);
    if (code == CB_OK)
        code = cb_file_read(fd, watch->paths[CB_DUCKDB_LOG], 0, ends.data, head, &got, err);
    if (code != CB_OK)
        return code;
    ends.size = got;
    if (size > HASHED_ENDS) {
        code = cb_file_read(fd, watch->paths[CB_DUCKDB_LOG], tail_at, ends.data + got,
                            (size_t)(size - tail_at), &got, err);
        if (code != CB_OK)
            return code;
        ends.size += got;
    }
    cb_sha256(cb_buf_bytes(&ends), out);
    return CB_OK;
}

static bool was_quiet(const cb_duckdb_mark *mark, int64_t first_read_us)
{
    int64_t limit = first_read_us * 1000 - QUIET_NS;

    return !mark->exists || (mark->modified_ns < limit && mark->changed_ns < limit);
}

static cb_code same_contents(cb_duckdb_watch *w, const cb_duckdb_state *then, bool *out,
                             cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_hash hash;
    size_t got;
    cb_code code = cb_duckdb_watch_read(w, CB_DUCKDB_DATABASE, 0, pages, sizeof(pages), &got, err);

    if (code != CB_OK)
        return code;
    cb_sha256(cb_bytes_of(pages, got), &hash);
    *out = cb_hash_equal(&hash, &then->head_hash);
    if (!*out || !then->marks[CB_DUCKDB_LOG].exists)
        return CB_OK;
    code = cb_file_open(w->paths[CB_DUCKDB_LOG], O_RDONLY, 0, &fd, err);
    if (code == CB_OK)
        code = cb_duckdb_state_hash_log(w, fd, then->marks[CB_DUCKDB_LOG].size_bytes, &hash, err);
    if (code == CB_OK)
        *out = cb_hash_equal(&hash, &then->log_hash);
    return code;
}

static cb_code same_marks(cb_duckdb_watch *w, const cb_duckdb_state *then, bool *out, cb_error *err)
{
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++) {
        cb_duckdb_mark now;
        cb_code code = cb_duckdb_mark_path(w->paths[i], &now, err);

        if (code != CB_OK)
            return code;
        if (!cb_duckdb_mark_same(&now, &then->marks[i]) || !was_quiet(&now, then->first_read_us)) {
            *out = false;
            return CB_OK;
        }
    }
    *out = true;
    return CB_OK;
}

cb_code cb_duckdb_state_unchanged(cb_duckdb_watch *watch, const cb_duckdb_state *then, bool *out,
                                  cb_error *err)
{
    cb_code code;

    *out = false;
    /* A crashed, torn or damaged source is told about again at every backup. */
    if (then->version == 0 || then->damaged > 0 || then->torn_count > 0 || then->is_crashed ||
        !then->marks[CB_DUCKDB_DATABASE].exists)
        return CB_OK;
    code = same_marks(watch, then, out, err);
    if (code == CB_OK && *out)
        code = same_contents(watch, then, out, err);
    if (code == CB_OK && *out)
        code = same_marks(watch, then, out, err); /* nor while we looked */
    return code;
}
