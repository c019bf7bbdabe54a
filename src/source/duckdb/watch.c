/*
 * watch.c - see watch.h. The order of reads and questions is the argument for correctness:
 *
 * look   header twice, then the log to its end twice, then the free list, then the header again.
 *        The end of the log is fixed before any block is copied, so the blocks that its commits
 *        name were written and synced before.
 * still  the log first (same file, same prefix, no marker), then .wal.checkpoint, then the header,
 *        then the path. A checkpoint marks the log before it frees or writes any block that the
 *        header uses; so an unmarked log with content, seen after the last block was read, proves
 *        that every block had one value all the time.
 */
#include "source/duckdb/watch.h"

#include "base/array.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AGAIN_TRIES = 5, READ_AGAIN_US = 2000 };

const char *cb_duckdb_file_suffix(cb_duckdb_file file)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery"};

    return file < CB_DUCKDB_FILES ? suffixes[file] : "";
}

const char *cb_duckdb_file_item(cb_duckdb_file file)
{
    static const char *const items[] = {"database", "log", "log.checkpoint", "log.recovery"};

    return file < CB_DUCKDB_FILES ? items[file] : "";
}

/* ---- names -------------------------------------------------------------------------------- */

bool cb_duckdb_has_log(const char *path)
{
    char name[CB_PATH_MAX];
    struct stat st;

    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++)
        if (snprintf(name, sizeof(name), "%s%s", path, cb_duckdb_file_suffix(i)) <
                (int)sizeof(name) &&
            lstat(name, &st) == 0)
            return true;
    return false;
}

/* Absolute, with the links of all but the last part resolved. */
static cb_code keep_last_link(const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    const char *base = cb_path_base(path);
    char folder[CB_PATH_MAX], absolute[CB_PATH_MAX];
    cb_code code;

    if (snprintf(folder, sizeof(folder), "%.*s", (int)(base - path), path) >= (int)sizeof(folder))
        return cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", path);
    code = cb_path_absolute(folder[0] != '\0' ? folder : ".", absolute, err);
    return code == CB_OK ? cb_path_join(absolute, base, out, err) : code;
}

cb_code cb_duckdb_path(const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    char link[CB_PATH_MAX];
    struct stat st;
    cb_code code = cb_path_absolute(path, out, err);

    if (code != CB_OK || lstat(path, &st) != 0 || !S_ISLNK(st.st_mode))
        return code;
    code = keep_last_link(path, link, err);
    if (code != CB_OK || !cb_duckdb_has_log(link))
        return code;
    if (cb_duckdb_has_log(out)) {
        cb_fail(err, CB_UNSUPPORTED, "there is a log beside the link '%s' and one beside '%s'",
                link, out);
        cb_hint(err,
                "DuckDB keeps its log beside the name that it was opened by: find out which is "
                "in use and remove the other.");
        return err->code;
    }
    memcpy(out, link, CB_PATH_MAX);
    return CB_OK;
}

/* ---- marks -------------------------------------------------------------------------------- */

static int64_t to_ns(const struct statx_timestamp *at)
{
    return (int64_t)at->tv_sec * 1000000000 + at->tv_nsec;
}

static void mark_of(const struct statx *st, cb_duckdb_mark *out)
{
    *out = (cb_duckdb_mark){
        .exists = true,
        .device = ((uint64_t)st->stx_dev_major << 32) | st->stx_dev_minor,
        .inode = st->stx_ino,
        .size_bytes = st->stx_size,
        .birth_ns = (st->stx_mask & STATX_BTIME) != 0 ? to_ns(&st->stx_btime) : 0,
        .modified_ns = to_ns(&st->stx_mtime),
        .changed_ns = to_ns(&st->stx_ctime),
    };
}

cb_code cb_duckdb_mark_path(const char *path, cb_duckdb_mark *out, cb_error *err)
{
    struct statx st;

    *out = (cb_duckdb_mark){0};
    if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &st) == 0) {
        mark_of(&st, out);
        return CB_OK;
    }
    if (errno == ENOENT)
        return CB_OK;
    return cb_fail_errno(err, errno, "cannot look at '%s'", path);
}

cb_code cb_duckdb_mark_fd(int fd, const char *path, cb_duckdb_mark *out, cb_error *err)
{
    struct statx st;

    *out = (cb_duckdb_mark){0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", path);
    mark_of(&st, out);
    return CB_OK;
}

bool cb_duckdb_mark_same(const cb_duckdb_mark *a, const cb_duckdb_mark *b)
{
    return cb_duckdb_mark_is(a, b) && a->size_bytes == b->size_bytes &&
           a->birth_ns == b->birth_ns && a->modified_ns == b->modified_ns &&
           a->changed_ns == b->changed_ns;
}

/* ---- open, close -------------------------------------------------------------------------- */

static cb_code open_database(cb_duckdb_watch *w, int *out, cb_error *err)
{
    const char *path = w->paths[CB_DUCKDB_DATABASE];
    struct stat st;
    cb_code code;

    if (stat(path, &st) != 0)
        return cb_fail_errno(err, errno, "cannot open '%s'", path);
    if (S_ISDIR(st.st_mode)) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is a folder, not a DuckDB file", path);
        cb_hint(err, "Name the database file in it, or write dir:%s to back up the folder.", path);
        return err->code;
    }
    if (!S_ISREG(st.st_mode)) /* opening a fifo would wait for its other end */
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is not a regular file", path);
    code = cb_file_open(path, O_RDONLY, 0, out, err);
    if (code == CB_OK)
        (void)posix_fadvise(*out, 0, 0, POSIX_FADV_SEQUENTIAL);
    return code;
}

cb_code cb_duckdb_watch_open(cb_ctx *ctx, const char *path, cb_duckdb_watch *out, cb_error *err)
{
    uint8_t seed[32];
    cb_code code;

    memset(out, 0, sizeof(*out));
    out->ctx = ctx;
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        out->fds[i] = -1;
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        if (snprintf(out->paths[i], CB_PATH_MAX, "%s%s", path, cb_duckdb_file_suffix(i)) >=
            CB_PATH_MAX)
            return cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", path);
    cb_random(ctx, seed, sizeof(seed));
    cb_fingerprint_secret(seed, out->secret);
    out->block = malloc(CB_DUCKDB_BLOCK_MAX);
    if (out->block == NULL)
        return cb_fail_memory(err, CB_DUCKDB_BLOCK_MAX);
    code = open_database(out, &out->fds[CB_DUCKDB_DATABASE], err);
    if (code != CB_OK)
        cb_duckdb_watch_close(out);
    return code;
}

void cb_duckdb_watch_close(cb_duckdb_watch *watch)
{
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        if (watch->paths[0][0] != '\0')
            cb_fd_close(&watch->fds[i]);
    free(watch->block);
    watch->block = NULL;
}

void cb_duckdb_sight_free(cb_duckdb_sight *sight)
{
    cb_duckdb_blocks_free(&sight->blocks);
    cb_duckdb_log_free(&sight->log);
    free(sight->prints);
    memset(sight, 0, sizeof(*sight));
}

cb_code cb_duckdb_watch_read(cb_duckdb_watch *watch, cb_duckdb_file file, uint64_t offset,
                             void *into, size_t size, size_t *got, cb_error *err)
{
    return cb_file_read(watch->fds[file], watch->paths[file], offset, into, size, got, err);
}

/* ---- look: the header --------------------------------------------------------------------- */

static cb_code unsound(cb_duckdb_sight *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static cb_code unsound(cb_duckdb_sight *s, const char *format, ...)
{
    va_list args;

    s->verdict = CB_SIGHT_UNSOUND;
    va_start(args, format);
    vsnprintf(s->what, sizeof(s->what), format, args);
    va_end(args);
    return CB_OK;
}

static cb_code wait_for(cb_duckdb_sight *s, bool is_checkpoint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static cb_code wait_for(cb_duckdb_sight *s, bool is_checkpoint, const char *format, ...)
{
    va_list args;

    s->verdict = CB_SIGHT_WAIT;
    s->checkpoint_runs = is_checkpoint;
    va_start(args, format);
    vsnprintf(s->what, sizeof(s->what), format, args);
    va_end(args);
    return CB_OK;
}

/* Nobody writes to the file: no holder, or only readers. */
static bool nobody_writes(const cb_duckdb_watch *w, const cb_duckdb_lock *lock)
{
    return w->exclusive || !lock->held || !lock->is_writer;
}

/* The path may name another file than the one that is open: then take that. */
static cb_code follow_path(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    cb_duckdb_mark kept;
    cb_duckdb_mark *named = &s->marks[CB_DUCKDB_DATABASE];
    const char *path = w->paths[CB_DUCKDB_DATABASE];
    int fd;
    cb_code code = cb_duckdb_mark_fd(w->fds[CB_DUCKDB_DATABASE], path, &kept, err);

    if (code == CB_OK)
        code = cb_duckdb_mark_path(path, named, err);
    if (code != CB_OK || (named->exists && cb_duckdb_mark_is(&kept, named)))
        return code;
    if (!named->exists)
        return wait_for(s, false, "'%s' has been removed", path);
    code = open_database(w, &fd, err);
    if (code != CB_OK)
        return code;
    cb_fd_close(&w->fds[CB_DUCKDB_DATABASE]);
    w->fds[CB_DUCKDB_DATABASE] = fd;
    return cb_duckdb_mark_fd(fd, path, named, err);
}

static cb_code read_pages(cb_duckdb_watch *w, uint8_t into[CB_DUCKDB_HEAD], size_t *got,
                          cb_error *err)
{
    return cb_duckdb_watch_read(w, CB_DUCKDB_DATABASE, 0, into, CB_DUCKDB_HEAD, got, err);
}

/* Twice the same and all checksums right; a page is written in place, so either may fail once. */
static cb_code look_at_header(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    uint8_t again[CB_DUCKDB_HEAD];
    size_t got;
    cb_code code = CB_OK;

    for (unsigned i = 0; code == CB_OK && i < READ_AGAIN_TRIES; i++) {
        if (i > 0)
            code = cb_sleep_us(w->ctx, READ_AGAIN_US, err);
        if (code == CB_OK)
            code = read_pages(w, s->pages, &got, err);
        if (code != CB_OK)
            return code;
        if (got < CB_DUCKDB_HEAD)
            return unsound(s, "it is only %zu bytes long, and its header alone has %d", got,
                           CB_DUCKDB_HEAD);
        code = read_pages(w, again, &got, err);
        if (code != CB_OK)
            return code;
        if (got < CB_DUCKDB_HEAD || memcmp(s->pages, again, CB_DUCKDB_HEAD) != 0)
            continue;
        code = cb_duckdb_head_parse(cb_bytes_of(s->pages, CB_DUCKDB_HEAD), &s->head, err);
        if (code != CB_OK)
            return cb_context(err, "'%s'", w->paths[CB_DUCKDB_DATABASE]);
        if (cb_duckdb_head_ok(&s->head)) {
            s->opaque = s->head.main.encrypted;
            s->block_bytes = s->opaque ? CB_DUCKDB_OPAQUE_CHUNK : s->head.header.block_bytes;
            return CB_OK;
        }
    }
    if (code != CB_OK)
        return code;
    if (w->take_anything && cb_duckdb_has_magic(cb_bytes_of(s->pages, CB_DUCKDB_HEAD))) {
        s->opaque = true;
        s->block_bytes = CB_DUCKDB_OPAQUE_CHUNK;
        return CB_OK;
    }
    return unsound(s, "the checksum of its %s is wrong",
                   !s->head.main_ok      ? "main header"
                   : !s->head.slot_ok[0] ? "first database header"
                                         : "second database header");
}

/* ---- look: the log ------------------------------------------------------------------------ */

typedef struct log_reader {
    int fd;
    const char *path;
} log_reader;

static cb_code read_log(void *arg, uint64_t offset, uint8_t *into, size_t size, size_t *got,
                        cb_error *err)
{
    const log_reader *reader = arg;

    return cb_file_read(reader->fd, reader->path, offset, into, size, got, err);
}

/* Fingerprints of [0, bytes); *whole false when the log is shorter now. */
static cb_code take_prints(cb_duckdb_watch *w, int fd, uint64_t bytes, cb_fingerprint **prints,
                           size_t *count, size_t *capacity, bool *whole, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf chunk = {0};
    cb_code code = cb_buf_reserve(&chunk, CB_DUCKDB_LOG_CHUNK, err);

    *whole = true;
    *count = 0;
    for (uint64_t at = 0; code == CB_OK && at < bytes; at += CB_DUCKDB_LOG_CHUNK) {
        uint64_t left = bytes - at;
        size_t part = left < CB_DUCKDB_LOG_CHUNK ? (size_t)left : CB_DUCKDB_LOG_CHUNK;
        size_t got;

        if (*count == *capacity)
            code = cb_array_grow(prints, capacity, sizeof(**prints), err);
        if (code == CB_OK)
            code = cb_file_read(fd, w->paths[CB_DUCKDB_LOG], at, chunk.data, part, &got, err);
        if (code != CB_OK)
            return code;
        if (got < part) {
            *whole = false;
            return CB_OK;
        }
        cb_fingerprint_of(w->secret, cb_bytes_of(chunk.data, part), &(*prints)[(*count)++]);
    }
    return code;
}

static cb_code prints_equal(cb_duckdb_watch *w, const cb_duckdb_sight *s, int fd, bool *out,
                            cb_error *err)
{
    cb_fingerprint *now = NULL;
    size_t count = 0;
    size_t capacity = 0;
    bool whole;
    cb_code code = take_prints(w, fd, s->log_bytes, &now, &count, &capacity, &whole, err);

    if (code == CB_OK)
        *out = whole && count == s->print_count &&
               (count == 0 || memcmp(now, s->prints, count * sizeof(*now)) == 0);
    free(now);
    return code;
}

/* Open the three files that may stand beside the database; absent ones are -1. */
static cb_code open_logs(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++) {
        cb_code code;

        cb_fd_close(&w->fds[i]);
        s->marks[i] = (cb_duckdb_mark){0};
        code = cb_file_open(w->paths[i], O_RDONLY | O_NONBLOCK, 0, &w->fds[i], err);
        if (code == CB_NOT_FOUND) {
            cb_error_clear(err);
            continue;
        }
        if (code == CB_OK)
            code = cb_duckdb_mark_fd(w->fds[i], w->paths[i], &s->marks[i], err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

/* All files end to end, as they are. */
static cb_code take_as_it_is(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    bool whole;
    cb_code code;

    s->verdict = CB_SIGHT_CRASHED;
    s->log_is_raw = true;
    s->log_bytes = s->marks[CB_DUCKDB_LOG].size_bytes;
    code = take_prints(w, w->fds[CB_DUCKDB_LOG], s->log_bytes, &s->prints, &s->print_count,
                       &s->print_capacity, &whole, err);
    if (code == CB_OK && !whole)
        return wait_for(s, false, "its log is being cut");
    return code;
}

static bool belongs(const cb_duckdb_sight *s)
{
    const cb_duckdb_log *log = &s->log;

    if (!log->has_iteration)
        return true;
    if (s->head.main.has_identifier &&
        memcmp(log->identifier, s->head.main.identifier, sizeof(log->identifier)) != 0)
        return false;
    return s->opaque || log->iteration == s->head.header.iteration;
}

/*
 * The size that counts is the one behind the end of the log: blocks that its commits name were
 * written before them, and may have made the file longer since the look began.
 */
static cb_code take_size(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    cb_duckdb_mark *mark = &s->marks[CB_DUCKDB_DATABASE];
    cb_code code =
        cb_duckdb_mark_fd(w->fds[CB_DUCKDB_DATABASE], w->paths[CB_DUCKDB_DATABASE], mark, err);

    s->file_blocks = mark->size_bytes < CB_DUCKDB_HEAD
                         ? 0
                         : (mark->size_bytes - CB_DUCKDB_HEAD) / s->block_bytes;
    return code;
}

/* The names of the second walk, which saw the prefix whole and knew the file's size behind it. */
static void take_names(cb_duckdb_log *into, cb_duckdb_log *from)
{
    cb_bits_free(&into->named);
    into->named = from->named;
    from->named = (cb_bits){0};
    into->names_blocks = from->names_blocks;
    into->names_unknown = from->names_unknown;
}

/* Walk to the end, fingerprint the prefix, walk again: only what was there twice counts. */
static cb_code fix_prefix(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    log_reader reader = {w->fds[CB_DUCKDB_LOG], w->paths[CB_DUCKDB_LOG]};
    cb_duckdb_log again = {0};
    bool whole, equal;
    cb_code code;

    code = cb_duckdb_log_walk(s->file_blocks, read_log, &reader, &s->log, err);
    if (code != CB_OK || s->log.prefix_bytes == 0)
        return code;
    s->log_bytes = s->log.prefix_bytes;
    code = take_prints(w, reader.fd, s->log_bytes, &s->prints, &s->print_count, &s->print_capacity,
                       &whole, err);
    if (code == CB_OK && whole)
        code = take_size(w, s, err);
    if (code == CB_OK && whole)
        code = cb_duckdb_log_walk(s->file_blocks, read_log, &reader, &again, err);
    if (code == CB_OK && whole)
        code = prints_equal(w, s, reader.fd, &equal, err);
    if (code == CB_OK && (!whole || !equal || again.prefix_bytes < s->log_bytes))
        code = wait_for(s, false, "the end of its log is being taken back");
    if (code == CB_OK && again.has_marker)
        s->log.has_marker = true;
    if (code == CB_OK && whole)
        take_names(&s->log, &again);
    cb_duckdb_log_free(&again);
    return code;
}

static cb_code look_at_log(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    bool idle = nobody_writes(w, &s->lock);
    cb_code code = open_logs(w, s, err);

    s->point_us = cb_now_us(w->ctx);
    if (code == CB_OK && w->fds[CB_DUCKDB_LOG] >= 0)
        code = fix_prefix(w, s, err);
    if (code != CB_OK || s->verdict != CB_SIGHT_READY)
        return code;
    if (idle && s->marks[CB_DUCKDB_LOG_RECOVERY].exists)
        return take_as_it_is(w, s, err);
    if (s->log.has_marker || s->marks[CB_DUCKDB_LOG_CHECKPOINT].exists)
        return idle ? take_as_it_is(w, s, err) : wait_for(s, true, "a checkpoint is running");
    if (!cb_duckdb_log_known(&s->log)) {
        if (idle)
            return take_as_it_is(w, s, err);
        cb_fail(err, CB_UNSUPPORTED, "the log '%s' has version %u, and versions 2 and 3 are known",
                w->paths[CB_DUCKDB_LOG], s->log.version);
        cb_hint(err, "Use --method attach, or back up while no process has the database open.");
        return err->code;
    }
    s->log_is_foreign = !belongs(s);
    if (s->log_is_foreign)
        return idle ? take_as_it_is(w, s, err)
                    : wait_for(s, true, "its log belongs to another state of the file");
    if (!s->log.has_header && w->fds[CB_DUCKDB_LOG] >= 0 && !idle &&
        s->log.end == CB_LOG_END_PARTIAL)
        return wait_for(s, false, "its log is just being made");
    return CB_OK;
}

/* ---- look: the free list ------------------------------------------------------------------ */

typedef struct block_reader {
    cb_duckdb_watch *watch;
    cb_duckdb_sight *sight;
    uint64_t held; /* the block that watch->block holds */
    bool tolerate; /* nobody writes: a torn block is a torn block, and its sub-blocks in use are
                      right */
} block_reader;

static cb_code read_block(void *arg, uint64_t block, cb_bytes *out, cb_error *err)
{
    block_reader *r = arg;
    uint32_t size = r->sight->block_bytes;
    size_t got = 0;

    *out = cb_bytes_of(r->watch->block, size);
    if (r->held == block)
        return CB_OK;
    r->held = UINT64_MAX;
    for (unsigned i = 0; i < READ_AGAIN_TRIES; i++) {
        cb_code code = CB_OK;

        if (i > 0)
            code = cb_sleep_us(r->watch->ctx, READ_AGAIN_US, err);
        if (code == CB_OK)
            code = cb_duckdb_watch_read(r->watch, CB_DUCKDB_DATABASE,
                                        cb_duckdb_block_offset(block, size), r->watch->block, size,
                                        &got, err);
        if (code != CB_OK)
            return code;
        if (got == size && cb_duckdb_block_ok(*out)) {
            r->held = block;
            return CB_OK;
        }
    }
    if (got == size && r->tolerate) {
        r->held = block;
        return CB_OK;
    }
    return cb_fail(err, CB_RETRY, "the checksum of metadata block %llu is wrong",
                   (unsigned long long)block);
}

static cb_code look_at_blocks(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    block_reader reader = {w, s, UINT64_MAX, nobody_writes(w, &s->lock)};
    cb_code code;

    if (s->opaque)
        return CB_OK;
    code = cb_duckdb_blocks_read(&s->head.header, s->file_blocks, read_block, &reader, &s->blocks,
                                 err);
    if (code != CB_RETRY && code != CB_CORRUPT)
        return code;
    if (w->take_anything) {
        cb_error_clear(err);
        s->opaque = true;
        return CB_OK;
    }
    s->verdict = CB_SIGHT_UNSOUND;
    snprintf(s->what, sizeof(s->what), "%.250s", err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code same_header(cb_duckdb_watch *w, cb_duckdb_sight *s, cb_error *err)
{
    uint8_t pages[CB_DUCKDB_HEAD];
    size_t got;
    cb_code code = read_pages(w, pages, &got, err);

    if (code == CB_OK && (got < CB_DUCKDB_HEAD || memcmp(pages, s->pages, sizeof(pages)) != 0))
        return wait_for(s, true, "a checkpoint has just ended");
    return code;
}

static void begin_look(cb_duckdb_sight *s)
{
    cb_fingerprint *prints = s->prints;
    size_t capacity = s->print_capacity;

    s->prints = NULL;
    cb_duckdb_sight_free(s);
    s->prints = prints;
    s->print_capacity = capacity;
}

cb_code cb_duckdb_watch_look(cb_duckdb_watch *watch, cb_duckdb_sight *sight, cb_error *err)
{
    const char *path = watch->paths[CB_DUCKDB_DATABASE];
    cb_code code;

    begin_look(sight);
    code = follow_path(watch, sight, err);
    if (code == CB_OK && !watch->exclusive)
        code = cb_duckdb_lock_ask(watch->fds[CB_DUCKDB_DATABASE], path, &sight->lock, err);
    if (code == CB_OK && sight->verdict == CB_SIGHT_READY)
        code = look_at_header(watch, sight, err);
    if (code != CB_OK || sight->verdict != CB_SIGHT_READY)
        return code;
    code = take_size(watch, sight, err);
    if (code == CB_OK)
        code = look_at_log(watch, sight, err);
    if (code == CB_OK)
        code = take_size(watch, sight, err); /* once more: opaque files are copied to their end */
    if (code == CB_OK && (sight->verdict == CB_SIGHT_READY || sight->verdict == CB_SIGHT_CRASHED)) {
        cb_duckdb_verdict verdict = sight->verdict;

        code = look_at_blocks(watch, sight, err);
        if (code == CB_OK && sight->verdict == verdict)
            code = same_header(watch, sight, err);
    }
    return code;
}

/* ---- still -------------------------------------------------------------------------------- */

static cb_code moved(cb_duckdb_still *out, const char *what)
{
    out->holds = out->is_identical = out->has_proof = false;
    snprintf(out->what, sizeof(out->what), "%s", what);
    return CB_OK;
}

/* A log that was not there at the sight: no harm, and perhaps a proof. */
static cb_code still_new_log(cb_duckdb_watch *w, const cb_duckdb_sight *s, cb_duckdb_still *out,
                             cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(cb_duckdb_log_free) cb_duckdb_log log = {0};
    log_reader reader;
    cb_code code = cb_file_open(w->paths[CB_DUCKDB_LOG], O_RDONLY | O_NONBLOCK, 0, &fd, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return moved(out, "its log came and went");
    }
    reader = (log_reader){fd, w->paths[CB_DUCKDB_LOG]};
    if (code == CB_OK)
        code = cb_duckdb_log_walk(0, read_log, &reader, &log, err);
    if (code != CB_OK)
        return code;
    out->is_identical = false;
    if (log.has_marker)
        return moved(out, "a checkpoint has begun");
    if (log.has_iteration && !s->opaque && log.iteration != s->head.header.iteration)
        return moved(out, "a checkpoint has ended");
    out->has_proof = log.prefix_bytes > 0 && !s->opaque;
    return CB_OK;
}

static cb_code still_log(cb_duckdb_watch *w, const cb_duckdb_sight *s, cb_duckdb_still *out,
                         cb_error *err)
{
    CB_CLEANUP(cb_duckdb_log_free) cb_duckdb_log log = {0};
    log_reader reader = {w->fds[CB_DUCKDB_LOG], w->paths[CB_DUCKDB_LOG]};
    const cb_duckdb_mark *then = &s->marks[CB_DUCKDB_LOG];
    cb_duckdb_mark now;
    bool equal = true;
    cb_code code = cb_duckdb_mark_path(w->paths[CB_DUCKDB_LOG], &now, err);

    if (code != CB_OK)
        return code;
    if (!then->exists)
        return now.exists ? still_new_log(w, s, out, err) : CB_OK;
    if (!now.exists || !cb_duckdb_mark_is(then, &now))
        return moved(out, "its log was exchanged");
    if (!cb_duckdb_mark_same(then, &now))
        out->is_identical = false;
    if (s->log_is_raw)
        return CB_OK; /* all that counts is that nothing changed at all */
    code = cb_duckdb_log_walk(0, read_log, &reader, &log, err);
    if (code == CB_OK && s->log_bytes > 0)
        code = prints_equal(w, s, reader.fd, &equal, err);
    if (code != CB_OK)
        return code;
    if (log.has_marker)
        return moved(out, "a checkpoint has begun");
    if (!equal || log.prefix_bytes < s->log_bytes)
        return moved(out, "its log was changed");
    out->has_proof = log.prefix_bytes > 0 && !s->opaque;
    return CB_OK;
}

static cb_code still_side_files(cb_duckdb_watch *w, const cb_duckdb_sight *s, cb_duckdb_still *out,
                                cb_error *err)
{
    for (unsigned i = CB_DUCKDB_LOG_CHECKPOINT; i < CB_DUCKDB_FILES; i++) {
        cb_duckdb_mark now;
        cb_code code = cb_duckdb_mark_path(w->paths[i], &now, err);

        if (code != CB_OK)
            return code;
        if (!cb_duckdb_mark_same(&s->marks[i], &now))
            out->is_identical = false;
        if (i == CB_DUCKDB_LOG_CHECKPOINT && now.exists && s->verdict != CB_SIGHT_CRASHED)
            return moved(out, "a checkpoint is running");
    }
    return CB_OK;
}

cb_code cb_duckdb_watch_still(cb_duckdb_watch *watch, const cb_duckdb_sight *sight,
                              cb_duckdb_still *out, cb_error *err)
{
    const char *path = watch->paths[CB_DUCKDB_DATABASE];
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_duckdb_mark named;
    size_t got;
    cb_code code;

    *out = (cb_duckdb_still){.holds = true, .is_identical = true};
    code = still_log(watch, sight, out, err);
    if (code == CB_OK && out->holds)
        code = still_side_files(watch, sight, out, err);
    if (code != CB_OK || !out->holds)
        return code;
    code = read_pages(watch, pages, &got, err);
    if (code == CB_OK && (got < CB_DUCKDB_HEAD || memcmp(pages, sight->pages, sizeof(pages)) != 0))
        return moved(out, "a checkpoint has ended");
    if (code == CB_OK)
        code = cb_duckdb_mark_path(path, &named, err);
    if (code == CB_OK)
        code = cb_duckdb_mark_fd(watch->fds[CB_DUCKDB_DATABASE], path, &out->database, err);
    if (code == CB_OK && !watch->exclusive)
        code = cb_duckdb_lock_ask(watch->fds[CB_DUCKDB_DATABASE], path, &out->lock, err);
    if (code != CB_OK)
        return code;
    if (!cb_duckdb_mark_is(&named, &out->database))
        return moved(out, "the file was exchanged");
    if (!cb_duckdb_mark_same(&sight->marks[CB_DUCKDB_DATABASE], &out->database))
        out->is_identical = false;
    return CB_OK;
}
