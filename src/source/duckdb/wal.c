/*
 * wal.c - see wal.h. One pass through a window of 1 MiB; only an entry that names blocks is held
 * whole. The walk stops at the first thing that is not a whole, sound frame, and at a marker.
 */
#include "source/duckdb/wal.h"

#include "source/duckdb/named.h"

enum {
    TYPE_ROW_GROUP_DATA = 29,
    TYPE_VERSION = 98,
    TYPE_CHECKPOINT = 99,
    TYPE_FLUSH = 100,

    VERSION_PLAIN = 2,
    VERSION_ENCRYPTED = 3,

    FLUSH_BYTES = 5, /* 64 00 64 ff ff */
    FRAME_HEAD = 16,
    HEADER_MAX = 64,
    TAG_BYTES = 16,
    WINDOW_BYTES = 1 << 20,
    NAMING_ENTRY_MAX = 32 << 20, /* larger ones are not understood: more is copied, none is lost */
};

typedef struct walk {
    cb_duckdb_log_read *read;
    void *arg;
    cb_duckdb_log *log;
    cb_buf window; /* bytes of the log from window_at */
    uint64_t window_at;
    cb_buf entry; /* one that names blocks */
    unsigned nonce_bytes;
    bool has_tag;
    cb_bits pending; /* named by the commit that has no FLUSH yet */
    bool pending_names, pending_unknown;
} walk;

static void walk_free(walk *w)
{
    cb_buf_free(&w->window);
    cb_buf_free(&w->entry);
    cb_bits_free(&w->pending);
}

/* A view of up to `size` bytes (at most the window) at `at`; fewer at the end of the log. */
static cb_code look(walk *w, uint64_t at, size_t size, cb_bytes *out, cb_error *err)
{
    cb_code code;
    size_t got;

    if (at < w->window_at || at + size > w->window_at + w->window.size) {
        code = cb_buf_reserve(&w->window, WINDOW_BYTES - w->window.size, err);
        if (code == CB_OK)
            code = w->read(w->arg, at, w->window.data, WINDOW_BYTES, &got, err);
        if (code != CB_OK)
            return code;
        w->window_at = at;
        w->window.size = got;
    }
    *out = cb_bytes_of(w->window.data + (at - w->window_at),
                       w->window.size - (size_t)(at - w->window_at));
    if (out->size > size)
        out->size = size;
    return CB_OK;
}

/* ---- the header --------------------------------------------------------------------------- */

static bool take_u16(cb_bytes *rest, uint16_t *out)
{
    if (rest->size < 2)
        return false;
    *out = cb_get_u16(rest->data);
    *rest = cb_bytes_of(rest->data + 2, rest->size - 2);
    return true;
}

static bool take_varint(cb_bytes *rest, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 10 && i < rest->size; i++) {
        value |= (uint64_t)(rest->data[i] & 0x7f) << (7 * i);
        if ((rest->data[i] & 0x80) == 0) {
            *out = value;
            *rest = cb_bytes_of(rest->data + i + 1, rest->size - i - 1);
            return true;
        }
    }
    return false;
}

static bool take_identifier(cb_bytes *rest, uint8_t out[16])
{
    uint64_t count, byte;

    if (!take_varint(rest, &count) || count != 16)
        return false;
    for (unsigned i = 0; i < 16; i++) {
        if (!take_varint(rest, &byte) || byte > 255)
            return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

/* Fields 100 (type), 101 (version), [102 identifier, 103 iteration], end. False: not whole. */
static bool parse_header(cb_bytes raw, cb_duckdb_log *out, uint64_t *end)
{
    cb_bytes rest = raw;
    uint64_t type = 0;
    uint64_t version = 0;
    uint16_t field;

    for (;;) {
        if (!take_u16(&rest, &field))
            return false;
        if (field == 0xffff)
            break;
        switch (field) {
        case 100:
            if (!take_varint(&rest, &type))
                return false;
            break;
        case 101:
            if (!take_varint(&rest, &version))
                return false;
            break;
        case 102:
            if (!take_identifier(&rest, out->identifier))
                return false;
            break;
        case 103:
            if (!take_varint(&rest, &out->iteration))
                return false;
            out->has_iteration = true;
            break;
        default:
            return false;
        }
    }
    out->version = type == TYPE_VERSION && version < 256 ? (unsigned)version : 0;
    *end = raw.size - rest.size;
    return true;
}

/* ---- frames ------------------------------------------------------------------------------- */

typedef struct frame {
    uint64_t at, payload_at, payload_bytes, end;
} frame;

/* *whole false: it does not end inside the log; *sane false: no frame looks like this. */
static cb_code next_frame(walk *w, uint64_t at, frame *out, bool *whole, bool *sane, cb_error *err)
{
    bool encrypted = w->log->version == VERSION_ENCRYPTED;
    uint64_t around = encrypted ? w->nonce_bytes + 8 + (w->has_tag ? TAG_BYTES : 0) : 8;
    cb_bytes raw;
    cb_code code = look(w, at, FRAME_HEAD, &raw, err);

    *whole = *sane = true;
    if (code != CB_OK || raw.size < FRAME_HEAD) {
        *whole = false;
        return code;
    }
    out->at = at;
    out->payload_bytes = cb_get_u64(raw.data);
    out->payload_at = at + (encrypted ? 8 + w->nonce_bytes + 8 : FRAME_HEAD);
    if (out->payload_bytes < FLUSH_BYTES)
        *sane = false;
    if (out->payload_bytes > UINT64_MAX / 2) {
        *whole = false;
        return CB_OK;
    }
    out->end = at + 8 + around + out->payload_bytes;
    code = look(w, out->end - 1, 1, &raw, err);
    *whole = code == CB_OK && raw.size == 1;
    return code;
}

/* The checksum is a XOR over 8-byte words, so pieces that are multiples of 8 can be joined. */
static cb_code payload_ok(walk *w, const frame *f, uint64_t want, bool *ok, cb_error *err)
{
    static const uint64_t seed = 5381;
    uint64_t sum = seed;
    uint64_t done = 0;
    cb_bytes raw;

    while (done < f->payload_bytes) {
        uint64_t left = f->payload_bytes - done;
        size_t part = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        cb_code code = look(w, f->payload_at + done, part, &raw, err);

        if (code != CB_OK)
            return code;
        if (raw.size < part) {
            *ok = false;
            return CB_OK;
        }
        sum ^= seed ^ cb_duckdb_checksum(raw);
        done += part;
    }
    *ok = sum == want;
    return CB_OK;
}

static cb_code take_names(walk *w, const frame *f, cb_error *err)
{
    size_t got;
    cb_code code;

    w->pending_names = true;
    if (f->payload_bytes > NAMING_ENTRY_MAX) {
        w->pending_unknown = true;
        return CB_OK;
    }
    w->entry.size = 0;
    code = cb_buf_reserve(&w->entry, (size_t)f->payload_bytes, err);
    if (code == CB_OK)
        code = w->read(w->arg, f->payload_at, w->entry.data, (size_t)f->payload_bytes, &got, err);
    if (code != CB_OK)
        return code;
    if (!cb_duckdb_named_blocks(cb_bytes_of(w->entry.data, got), &w->pending))
        w->pending_unknown = true;
    return CB_OK;
}

static void end_commit(walk *w, uint64_t end)
{
    cb_duckdb_log *log = w->log;

    log->commits++;
    log->prefix_bytes = end;
    if (!w->pending_names)
        return;
    log->names_blocks = true;
    log->names_unknown = log->names_unknown || w->pending_unknown;
    for (uint64_t id = cb_bits_next(&w->pending, 0); id < w->pending.bound;
         id = cb_bits_next(&w->pending, id + 1))
        cb_bits_add(&log->named, id);
    cb_bits_clear(&w->pending);
    w->pending_names = w->pending_unknown = false;
}

/* CHECKPOINT: field 101 is the root pointer, an object { 100: pointer, [101: offset] }. */
static void take_marker(cb_bytes payload, cb_duckdb_log *log)
{
    static const uint8_t lead[] = {101, 0, 100, 0};
    cb_bytes rest = cb_bytes_of(payload.data + 3, payload.size - 3);

    log->has_marker = true;
    log->marker_root = CB_DUCKDB_NONE;
    if (rest.size > sizeof(lead) && memcmp(rest.data, lead, sizeof(lead)) == 0) {
        rest = cb_bytes_of(rest.data + sizeof(lead), rest.size - sizeof(lead));
        (void)take_varint(&rest, &log->marker_root);
    }
}

/* *stop: the walk ends before this frame (bad) or with it (marker). */
static cb_code plain_frame(walk *w, const frame *f, bool *stop, cb_error *err)
{
    cb_bytes raw;
    uint64_t checksum;
    bool ok = false;
    cb_code code = look(w, f->at + 8, 8, &raw, err);

    if (code != CB_OK)
        return code;
    checksum = cb_get_u64(raw.data); /* next_frame saw the frame's end, so this is there */
    code = payload_ok(w, f, checksum, &ok, err);
    if (code == CB_OK && ok)
        code =
            look(w, f->payload_at,
                 f->payload_bytes < HEADER_MAX ? (size_t)f->payload_bytes : HEADER_MAX, &raw, err);
    if (code != CB_OK)
        return code;
    if (!ok || raw.size < FLUSH_BYTES) {
        w->log->end = CB_LOG_END_BAD;
        *stop = true;
        return CB_OK;
    }
    switch (raw.data[2]) {
    case TYPE_FLUSH:
        end_commit(w, f->end);
        break;
    case TYPE_ROW_GROUP_DATA:
        return take_names(w, f, err);
    case TYPE_CHECKPOINT:
        take_marker(raw, w->log);
        *stop = true;
        break;
    default:
        break;
    }
    return CB_OK;
}

static cb_code walk_frames(walk *w, uint64_t at, cb_error *err)
{
    bool stop = false;
    cb_bytes raw;
    cb_code code;

    w->log->read_bytes = at;
    for (;;) {
        frame f;
        bool whole, sane;

        code = look(w, at, 1, &raw, err);
        if (code != CB_OK || raw.size == 0)
            return code;
        code = next_frame(w, at, &f, &whole, &sane, err);
        if (code != CB_OK)
            return code;
        if (!whole || !sane) {
            w->log->end = whole ? CB_LOG_END_BAD : CB_LOG_END_PARTIAL;
            return CB_OK;
        }
        if (w->log->version == VERSION_PLAIN)
            code = plain_frame(w, &f, &stop, err);
        else if (f.payload_bytes == FLUSH_BYTES)
            end_commit(w, f.end);
        if (code != CB_OK || w->log->end == CB_LOG_END_BAD)
            return code;
        at = f.end;
        w->log->read_bytes = at;
        if (stop)
            return CB_OK;
    }
}

/*
 * Encrypted frames. The nonce has 12 or 16 bytes, and some releases write a tag for CTR, some do
 * not; nothing in the clear says which. A wrong guess derails within a frame or two, so that the
 * layout which walks farthest is the right one.
 */
static cb_code walk_encrypted(walk *w, uint64_t at, cb_error *err)
{
    static const struct {
        unsigned nonce_bytes;
        bool has_tag;
    } layouts[] = {{12, true}, {16, true}, {12, false}, {16, false}};
    cb_duckdb_log blank = *w->log;
    cb_duckdb_log best = blank;

    best.end = CB_LOG_END_BAD;
    best.read_bytes = at;
    for (size_t i = 0; i < CB_LENGTH(layouts); i++) {
        cb_code code;

        *w->log = blank;
        w->nonce_bytes = layouts[i].nonce_bytes;
        w->has_tag = layouts[i].has_tag;
        code = walk_frames(w, at, err);
        if (code != CB_OK)
            return code;
        if (w->log->read_bytes > best.read_bytes)
            best = *w->log;
    }
    best.names_blocks = best.names_unknown = best.commits > 0; /* types cannot be seen */
    *w->log = best;
    return CB_OK;
}

static cb_code walk_all(walk *w, cb_error *err)
{
    cb_bytes raw;
    uint64_t at = 0;
    cb_code code = look(w, 0, HEADER_MAX, &raw, err);

    if (code != CB_OK)
        return code;
    w->log->has_header = parse_header(raw, w->log, &at);
    if (!w->log->has_header) {
        w->log->end = raw.size == 0 ? CB_LOG_END_CLEAN
                                    : (raw.size < HEADER_MAX ? CB_LOG_END_PARTIAL : CB_LOG_END_BAD);
        return CB_OK;
    }
    if (w->log->version == VERSION_PLAIN)
        return walk_frames(w, at, err);
    if (w->log->version == VERSION_ENCRYPTED)
        return walk_encrypted(w, at, err);
    return CB_OK;
}

cb_code cb_duckdb_log_walk(uint64_t file_blocks, cb_duckdb_log_read *read, void *arg,
                           cb_duckdb_log *out, cb_error *err)
{
    CB_CLEANUP(walk_free) walk w = {.read = read, .arg = arg, .log = out};
    cb_code code;

    *out = (cb_duckdb_log){0};
    code = cb_bits_reserve(&out->named, file_blocks, err);
    if (code == CB_OK)
        code = cb_bits_reserve(&w.pending, file_blocks, err);
    if (code == CB_OK)
        code = walk_all(&w, err);
    if (code != CB_OK)
        cb_duckdb_log_free(out);
    return code;
}

void cb_duckdb_log_free(cb_duckdb_log *log)
{
    cb_bits_free(&log->named);
    *log = (cb_duckdb_log){0};
}
