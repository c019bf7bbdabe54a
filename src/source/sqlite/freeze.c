/*
 * freeze.c - one consistent copy of a database that others go on writing.
 *
 * SQLite's online backup copies page by page and starts again when another process has written in
 * between. That is how it is done at first, a few MiB at a time, so that writers in rollback mode
 * get their turn between the steps. A busy writer would make it start again for ever: after a few
 * passes one read transaction is kept open over all steps, which in rollback mode makes writers
 * wait until the copy is done. In WAL mode readers and writers never meet, so there it is kept from
 * the start.
 *
 * Three databases cannot be copied so, since a reader would have to write beside or into them:
 *   - WAL mode without a log: a reader would make -wal and -shm and could not remove them. It is
 *     read as immutable, and that nothing moved meanwhile is checked at the end.
 *   - A hot journal (a writer was killed): a reader would have to roll it back. Database and
 *     journal are copied under a reader's lock, and the copy is rolled back.
 *   - A snapshot, which may be on a read-only file system: the same, without a lock.
 */
#include "source/sqlite/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/temp.h"
#include "base/text.h"

enum {
    STEP_BYTES = 4 << 20,
    PASSES_BESIDE_WRITERS = 3,
    WAIT_FIRST_US = 1000,
    WAIT_MOST_US = 100000,
    COPY_BYTES = 1 << 20,
};

/* A named scratch file in a folder of its own, gone at the end of the scope whatever happens. */
typedef struct scratch {
    cb_temp folder;
    char path[CB_PATH_MAX];
    int fd;
} scratch;

static void scratch_remove(scratch *s)
{
    cb_fd_close(&s->fd);
    cb_temp_free(&s->folder);
}

static cb_code scratch_make(cb_ctx *ctx, const char *folder, uint64_t bytes, scratch *out,
                            cb_error *err)
{
    const char *base = folder != NULL && folder[0] != '\0' ? folder : cb_temp_root();
    char wanted[CB_SIZE_TEXT_MAX];
    char have[CB_SIZE_TEXT_MAX];
    uint64_t free_bytes;
    cb_code code;

    if (cb_free_space(base, &free_bytes, err) != CB_OK)
        return err->code;
    if (free_bytes < bytes) {
        cb_fail(err, CB_NO_SPACE, "the copy needs %s in '%s', which has %s free",
                cb_format_size(bytes, wanted), base, cb_format_size(free_bytes, have));
        cb_hint(err, "Set TMPDIR to a folder with more room.");
        return err->code;
    }
    code = cb_temp_make(ctx, base, cb_temp_prefix, &out->folder, err);
    if (code == CB_OK)
        code = cb_path_join(out->folder.path, "copy.sqlite", out->path, err);
    return code == CB_OK ? cb_file_open(out->path, O_RDWR | O_CREAT | O_EXCL, 0600, &out->fd, err)
                         : code;
}

/* The copy is complete: keep its descriptor, drop its name. */
static cb_code scratch_keep(scratch *s, cb_sqlite_frozen *out, cb_error *err)
{
    struct stat st;

    if (fstat(s->fd, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", s->path);
    out->size = (uint64_t)st.st_size;
    out->fd = s->fd;
    s->fd = -1;
    return CB_OK;
}

/* ---- waiting ------------------------------------------------------------------------------- */

typedef struct patience {
    cb_ctx *ctx;
    int64_t deadline_us;
    int64_t wait_us;
} patience;

/* CB_OK: waited, try again. CB_BUSY: it is over. */
static cb_code wait_more(patience *p, const char *path, cb_error *err)
{
    int64_t left = p->deadline_us - cb_monotonic_us();
    int64_t wait_us = p->wait_us < left ? p->wait_us : left;

    if (left <= 0) {
        cb_fail(err, CB_BUSY, "'%s' stayed locked by another process until the deadline", path);
        cb_hint(err, "Wait until its transaction is over, or raise --deadline.");
        return err->code;
    }
    if (p->wait_us < WAIT_MOST_US)
        p->wait_us *= 2;
    return cb_sleep_us(p->ctx, wait_us, err);
}

/* Take the read transaction: the snapshot is fixed once the schema was read. */
static cb_code hold(sqlite3 *db, patience *p, const char *path, int64_t *point_us, cb_error *err)
{
    for (p->wait_us = WAIT_FIRST_US;;) {
        uint64_t ignored;
        cb_code code;

        *point_us = cb_now_us(p->ctx); /* before: all that was committed by now is in it */
        code = cb_sqlite_run(db, path, "BEGIN", NULL, NULL, err);
        if (code == CB_OK)
            code = cb_sqlite_u64(db, path, "SELECT count(*) FROM sqlite_schema", &ignored, err);
        if (code == CB_OK)
            return CB_OK;
        if (sqlite3_get_autocommit(db) == 0)
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        if (code != CB_BUSY)
            return code;
        cb_error_clear(err);
        if (wait_more(p, path, err) != CB_OK)
            return err->code;
    }
}

/* ---- the online backup --------------------------------------------------------------------- */

typedef struct copying {
    cb_ctx *ctx;
    const char *path;
    sqlite3 *from;
    sqlite3 *to;
    sqlite3_backup *backup;
    patience patience;
    bool is_held;
    cb_sqlite_frozen *out;
} copying;

static cb_code note_progress(copying *c, uint64_t *position, uint32_t page_bytes, cb_error *err)
{
    uint64_t total = (uint64_t)sqlite3_backup_pagecount(c->backup);
    uint64_t left = (uint64_t)sqlite3_backup_remaining(c->backup);
    uint64_t now = total - left;

    cb_event_progress(c->ctx, now * page_bytes, total * page_bytes, c->out->passes);
    if (now > *position) {
        *position = now;
        return CB_OK;
    }
    /* No step forward: somebody wrote, and SQLite began again within the step. */
    *position = now;
    c->out->passes++;
    if (c->is_held)
        return CB_OK; /* what was written before the transaction was held */
    if (c->out->passes <= PASSES_BESIDE_WRITERS) {
        c->out->point_us = cb_now_us(c->ctx);
        return CB_OK;
    }
    cb_event_text(c->ctx, CB_EVENT_INFO,
                  "'%s' is written faster than it can be copied: writers wait from now on until "
                  "the copy is done",
                  c->path);
    c->is_held = true;
    return hold(c->from, &c->patience, c->path, &c->out->point_us, err);
}

static cb_code pump(copying *c, uint32_t page_bytes, cb_error *err)
{
    int pages = (int)(STEP_BYTES / (page_bytes < 512 ? 512 : page_bytes)); /* 0 when damaged */
    uint64_t position = 0;

    c->out->passes = 1;
    if (!c->is_held)
        c->out->point_us = cb_now_us(c->ctx);
    for (;;) {
        int rc;

        if (cb_check_cancel(c->ctx, err) != CB_OK)
            return err->code;
        rc = sqlite3_backup_step(c->backup, pages);
        if (rc == SQLITE_DONE)
            return CB_OK;
        if (rc == SQLITE_OK) {
            c->patience.wait_us = WAIT_FIRST_US;
            if (note_progress(c, &position, page_bytes, err) != CB_OK)
                return err->code;
        } else if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) {
            if (wait_more(&c->patience, c->path, err) != CB_OK)
                return err->code;
        } else {
            return cb_sqlite_fail(NULL, rc, c->path, "copy", err);
        }
    }
}

static cb_code run_backup(copying *c, const char *scratch_path, uint32_t page_bytes, cb_error *err)
{
    cb_code code;
    int rc;

    /* The copy needs no journal: after a crash it has no name any more. */
    code = cb_sqlite_run(c->to, scratch_path, "PRAGMA journal_mode=MEMORY", NULL, NULL, err);
    if (code == CB_OK)
        code = cb_sqlite_run(c->to, scratch_path, "PRAGMA synchronous=OFF", NULL, NULL, err);
    if (code == CB_OK && c->is_held)
        code = hold(c->from, &c->patience, c->path, &c->out->point_us, err);
    if (code != CB_OK)
        return code;
    c->backup = sqlite3_backup_init(c->to, "main", c->from, "main");
    if (c->backup == NULL)
        return cb_sqlite_fail(c->to, sqlite3_errcode(c->to), c->path, "copy", err);
    code = pump(c, page_bytes, err);
    rc = sqlite3_backup_finish(c->backup);
    if (code == CB_OK && rc != SQLITE_OK)
        code = cb_sqlite_fail(c->to, rc, c->path, "copy", err);
    return code;
}

static cb_code copy_online(cb_ctx *ctx, const char *path, const cb_sqlite_header *header,
                           cb_sqlite_how how, const char *folder, int64_t deadline_us,
                           cb_sqlite_frozen *out, cb_error *err)
{
    CB_CLEANUP(scratch_remove) scratch made = {.fd = -1};
    CB_CLEANUP(cb_sqlite_close) sqlite3 *from = NULL;
    CB_CLEANUP(cb_sqlite_close) sqlite3 *to = NULL;
    copying c = {.ctx = ctx,
                 .path = path,
                 .patience = {ctx, deadline_us, WAIT_FIRST_US},
                 .is_held = header->is_wal || how == CB_SQLITE_IMMUTABLE,
                 .out = out};
    cb_code code = scratch_make(ctx, folder, header->size, &made, err);

    if (code == CB_OK)
        code = cb_sqlite_open(ctx, path, how, &from, err);
    if (code == CB_OK)
        code = cb_sqlite_open(ctx, made.path, CB_SQLITE_OWN, &to, err);
    if (code != CB_OK)
        return code;
    c.from = from;
    c.to = to;
    code = run_backup(&c, made.path, header->page_bytes, err);
    if (code != CB_OK)
        return code;
    cb_sqlite_close(&to); /* before its size is taken: closing may still write */
    return scratch_keep(&made, out, err);
}

/* ---- plain copies -------------------------------------------------------------------------- */

static cb_code copy_file(cb_ctx *ctx, int from, const char *from_path, int to, const char *to_path,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf block = {0};
    size_t got = COPY_BYTES;

    if (cb_buf_reserve(&block, COPY_BYTES, err) != CB_OK)
        return err->code;
    for (uint64_t at = 0; got == COPY_BYTES; at += got)
        if (cb_check_cancel(ctx, err) != CB_OK ||
            cb_file_read(from, from_path, at, block.data, COPY_BYTES, &got, err) != CB_OK ||
            cb_file_write(to, to_path, at, block.data, got, err) != CB_OK)
            return err->code;
    return CB_OK;
}

static cb_code copy_side(cb_ctx *ctx, const char *path, cb_sqlite_side side, const char *to_path,
                         cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int from = -1;
    CB_CLEANUP(cb_fd_close) int to = -1;
    char from_side[CB_PATH_MAX];
    char to_side[CB_PATH_MAX];

    if (cb_sqlite_beside(path, cb_sqlite_suffix[side], from_side, err) != CB_OK ||
        cb_sqlite_beside(to_path, cb_sqlite_suffix[side], to_side, err) != CB_OK)
        return err->code;
    if (!cb_path_exists(from_side))
        return CB_OK;
    if (cb_file_open(from_side, O_RDONLY, 0, &from, err) != CB_OK ||
        cb_file_open(to_side, O_WRONLY | O_CREAT | O_EXCL, 0600, &to, err) != CB_OK)
        return err->code;
    return copy_file(ctx, from, from_side, to, to_side, err);
}

/* The copy is ours: let SQLite roll back or replay what lies beside it, into one file. */
static cb_code recover(cb_ctx *ctx, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_sqlite_close) sqlite3 *db = NULL;
    uint64_t ignored;
    cb_code code = cb_sqlite_open(ctx, path, CB_SQLITE_OWN, &db, err);

    if (code == CB_OK)
        code = cb_sqlite_u64(db, path, "SELECT count(*) FROM sqlite_schema", &ignored, err);
    if (code == CB_OK)
        code = cb_sqlite_run(db, path, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, err);
    return code;
}

/* False in *done: a writer came; the online backup will do. */
static cb_code copy_plain(cb_ctx *ctx, const char *path, const char *folder, bool with_lock,
                          bool *done, cb_sqlite_frozen *out, cb_error *err)
{
    CB_CLEANUP(scratch_remove) scratch made = {.fd = -1};
    CB_CLEANUP(cb_fd_close) int from = -1;
    struct stat st;
    cb_code code = cb_file_open(path, O_RDONLY, 0, &from, err);

    *done = false;
    if (code != CB_OK || (with_lock && !cb_sqlite_lock_shared(from)))
        return code;
    if (fstat(from, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", path);
    out->point_us = cb_now_us(ctx);
    code = scratch_make(ctx, folder, (uint64_t)st.st_size, &made, err);
    if (code == CB_OK)
        code = copy_file(ctx, from, path, made.fd, made.path, err);
    if (code == CB_OK)
        code = copy_side(ctx, path, CB_SQLITE_JOURNAL, made.path, err);
    if (code == CB_OK && !with_lock)
        code = copy_side(ctx, path, CB_SQLITE_WAL, made.path, err);
    cb_fd_close(&from); /* and with it the lock */
    if (code == CB_OK)
        code = recover(ctx, made.path, err);
    if (code == CB_OK)
        code = scratch_keep(&made, out, err);
    if (code != CB_OK)
        return code;
    out->passes = 1;
    out->confirmed = "once";
    *done = true;
    return CB_OK;
}

cb_code cb_sqlite_freeze_cold(cb_ctx *ctx, const char *path, const char *scratch_folder,
                              cb_sqlite_frozen *out, cb_error *err)
{
    bool done;

    *out = (cb_sqlite_frozen){.fd = -1, .confirmed = "once"};
    return copy_plain(ctx, path, scratch_folder, false, &done, out, err);
}

/* ---- which way ----------------------------------------------------------------------------- */

static bool has_side(const char *path, cb_sqlite_side side)
{
    char name[CB_PATH_MAX];
    cb_error err = {0};

    return cb_sqlite_beside(path, cb_sqlite_suffix[side], name, &err) == CB_OK &&
           cb_path_exists(name);
}

/* WAL mode, and no file beside it: nobody has it open, or nobody has read yet. */
static bool is_closed_wal(const char *path, const cb_sqlite_header *header)
{
    return header->is_wal && !has_side(path, CB_SQLITE_WAL) && !has_side(path, CB_SQLITE_SHM) &&
           !has_side(path, CB_SQLITE_JOURNAL);
}

/* False in *done: somebody came, or may have; the locked way will tell. */
static cb_code try_closed_wal(cb_ctx *ctx, const char *path, const cb_sqlite_header *before,
                              const char *folder, int64_t deadline_us, bool *done,
                              cb_sqlite_frozen *out, cb_error *err)
{
    cb_sqlite_header after;
    cb_code code;

    *done = false;
    if (!is_closed_wal(path, before))
        return CB_OK;
    code = copy_online(ctx, path, before, CB_SQLITE_IMMUTABLE, folder, deadline_us, out, err);
    if (code == CB_CORRUPT) { /* a writer in the middle of it can look like that */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_sqlite_look(path, &after, err);
    *done = code == CB_OK && is_closed_wal(path, &after) && cb_sqlite_same(before, &after);
    if (!*done)
        cb_fd_close(&out->fd);
    return code;
}

/* SQLite's reader says so when it would have to write: roll back, or make the index of a log. */
static bool would_write(const cb_error *err)
{
    return err->code == CB_DENIED && strstr(err->message, "readonly database") != NULL;
}

cb_code cb_sqlite_freeze(cb_ctx *ctx, const char *path, const char *folder, int64_t deadline_us,
                         cb_sqlite_frozen *out, cb_error *err)
{
    patience waiting = {ctx, deadline_us, WAIT_FIRST_US};
    cb_sqlite_header header;
    cb_code code;
    bool done = false;

    *out = (cb_sqlite_frozen){.fd = -1, .confirmed = "engine", .point_us = cb_now_us(ctx)};
    code = cb_sqlite_look(path, &header, err);
    if (code == CB_OK)
        code = cb_sqlite_require(path, &header, err);
    if (code != CB_OK || header.size == 0)
        return code;
    code = try_closed_wal(ctx, path, &header, folder, deadline_us, &done, out, err);
    while (code == CB_OK && !done) {
        code = copy_online(ctx, path, &header, CB_SQLITE_READ, folder, deadline_us, out, err);
        if (code == CB_OK)
            return CB_OK;
        if (!would_write(err) || has_side(path, CB_SQLITE_WAL) ||
            !has_side(path, CB_SQLITE_JOURNAL))
            break;
        cb_error_clear(err);
        code = copy_plain(ctx, path, folder, true, &done, out, err);
        if (code == CB_OK && !done)
            code = wait_more(&waiting, path, err);
    }
    if (code == CB_DENIED)
        cb_hint(err, "SQLite's readers need write access to the folder of the database and the "
                     "files beside it: run as their owner, or give --source-snapshot.");
    return code;
}
