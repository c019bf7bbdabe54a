/*
 * exchange.c - a new database file in the place of an old one and its journals.
 *
 * What must never be seen, at any instant, by a process that opens the path or after a crash:
 *   - the new file with an old -wal or -journal beside it: SQLite would apply them to it (the
 *     frames of a log carry their own checksums, nothing of the database they belong to);
 *   - the old file without them: it lacks commits, or is torn.
 * So the old file goes first, then its journals, then the new file comes; in between there is no
 * database at the path. A note beside it, written before the first step, names the inode of the
 * new file: with that, whoever comes after a crash can tell how far it got. Before the new file
 * came, all is undone; after, finished. Each step is durable before the next begins.
 */
#include "source/sqlite/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

static const char note_suffix[] = ".canvasback-exchange";
static const char old_suffix[] = ".canvasback-old";

enum { NOTE_BYTES = 24 }; /* 8 of name, device, inode */
static const char note_name[8] = "CBSQEXC1";

typedef struct places {
    char path[CB_PATH_MAX];
    char note[CB_PATH_MAX];
    char old[CB_PATH_MAX];
    char side[CB_SQLITE_SIDES][CB_PATH_MAX];
    char old_side[CB_SQLITE_SIDES][CB_PATH_MAX];
} places;

static cb_code name_places(const char *path, places *out, cb_error *err)
{
    cb_code code = cb_sqlite_beside(path, "", out->path, err);

    if (code == CB_OK)
        code = cb_sqlite_beside(path, note_suffix, out->note, err);
    if (code == CB_OK)
        code = cb_sqlite_beside(path, old_suffix, out->old, err);
    for (size_t i = 0; code == CB_OK && i < CB_SQLITE_SIDES; i++) {
        code = cb_sqlite_beside(path, cb_sqlite_suffix[i], out->side[i], err);
        if (code == CB_OK)
            code = cb_sqlite_beside(out->side[i], old_suffix, out->old_side[i], err);
    }
    return code;
}

/* A missing `from` is fine: not every database has every journal. */
static cb_code move(const char *from, const char *to, cb_error *err)
{
    if (rename(from, to) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot rename '%s'", from);
    return CB_OK;
}

static cb_code drop(const char *path, cb_error *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot remove '%s'", path);
    return CB_OK;
}

/* ---- the note ------------------------------------------------------------------------------- */

static cb_code write_note(const places *at, const char *made, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t raw[NOTE_BYTES];
    struct stat st;

    if (stat(made, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", made);
    memcpy(raw, note_name, sizeof(note_name));
    cb_put_u64(raw + 8, st.st_dev);
    cb_put_u64(raw + 16, st.st_ino);
    if (cb_file_open(at->note, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err) != CB_OK ||
        cb_file_write(fd, at->note, 0, raw, sizeof(raw), err) != CB_OK ||
        cb_file_sync(fd, at->note, err) != CB_OK)
        return err->code;
    return cb_parent_sync(at->note, err);
}

/* *whole false: it was cut off while it was written, so nothing had begun. */
static cb_code read_note(const places *at, bool *whole, struct stat *made, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t raw[NOTE_BYTES];
    size_t got;

    memset(made, 0, sizeof(*made));
    if (cb_file_open(at->note, O_RDONLY, 0, &fd, err) != CB_OK ||
        cb_file_read(fd, at->note, 0, raw, sizeof(raw), &got, err) != CB_OK)
        return err->code;
    *whole = got == sizeof(raw) && memcmp(raw, note_name, sizeof(note_name)) == 0;
    if (*whole) {
        made->st_dev = (dev_t)cb_get_u64(raw + 8);
        made->st_ino = (ino_t)cb_get_u64(raw + 16);
    }
    return CB_OK;
}

/* ---- the steps ------------------------------------------------------------------------------ */

static cb_code move_away(const places *at, cb_error *err)
{
    cb_code code = move(at->path, at->old, err);

    if (code == CB_OK)
        code = cb_parent_sync(at->path, err);
    for (size_t i = 0; code == CB_OK && i < CB_SQLITE_SIDES; i++)
        code = move(at->side[i], at->old_side[i], err);
    if (code == CB_OK)
        code = cb_parent_sync(at->path, err);
    return code;
}

/* The journals first: the old file must not be without them. */
static cb_code move_back(const places *at, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_SQLITE_SIDES; i++)
        code = move(at->old_side[i], at->side[i], err);
    if (code == CB_OK)
        code = cb_parent_sync(at->path, err);
    if (code == CB_OK)
        code = move(at->old, at->path, err);
    if (code == CB_OK)
        code = cb_parent_sync(at->path, err);
    return code;
}

static cb_code drop_note(const places *at, cb_error *err)
{
    cb_code code = drop(at->note, err);

    if (code == CB_OK)
        code = cb_parent_sync(at->note, err);
    return code;
}

static cb_code drop_old(const places *at, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_SQLITE_SIDES; i++)
        code = drop(at->old_side[i], err);
    if (code == CB_OK)
        code = drop(at->old, err);
    if (code == CB_OK)
        code = cb_parent_sync(at->old, err);
    if (code == CB_OK)
        code = drop_note(at, err);
    return code;
}

/* Never over a file: a process may have made a new, empty database while there was none. */
static cb_code place(const places *at, const char *made, cb_error *err)
{
    if (renameat2(AT_FDCWD, made, AT_FDCWD, at->path, RENAME_NOREPLACE) == 0)
        return cb_parent_sync(at->path, err);
    if (errno == EEXIST) {
        cb_fail(err, CB_BUSY, "a process made a new '%s' during the restore", at->path);
        cb_hint(err,
                "Stop it and remove that file; the old database is kept as '%s', and the next "
                "restore goes on from there.",
                at->old);
        return err->code;
    }
    /* File systems without that flag: link(2) never replaces either. */
    if (errno == EINVAL && link(made, at->path) == 0) {
        unlink(made);
        return cb_parent_sync(at->path, err);
    }
    return cb_fail_errno(err, errno, "cannot place '%s'", at->path);
}

cb_code cb_sqlite_exchange(const char *path, const char *made, cb_error *err)
{
    places at;
    cb_error undoing = {0};
    cb_code code = name_places(path, &at, err);

    if (code == CB_OK)
        code = write_note(&at, made, err);
    if (code != CB_OK)
        return code;
    code = move_away(&at, err);
    if (code == CB_OK)
        code = place(&at, made, err);
    if (code == CB_OK)
        return drop_old(&at, err);
    /* All can go back unless somebody else's file stands there now; then the note stays, and the
       old files under their other names. */
    if (!cb_path_exists(at.path) && move_back(&at, &undoing) == CB_OK)
        cb_ignore(drop_note(&at, &undoing)); /* without effect: the next mend drops it */
    return code;
}

/* ---- after a crash -------------------------------------------------------------------------- */

bool cb_sqlite_exchange_pending(const char *path)
{
    places at;
    cb_error err = {0};

    return name_places(path, &at, &err) == CB_OK && cb_path_exists(at.note);
}

cb_code cb_sqlite_exchange_mend(cb_ctx *ctx, const char *path, cb_error *err)
{
    places at;
    struct stat made;
    struct stat here;
    bool is_whole = false;
    cb_code code = name_places(path, &at, err);

    if (code != CB_OK || !cb_path_exists(at.note))
        return code;
    code = read_note(&at, &is_whole, &made, err);
    if (code != CB_OK)
        return code;
    if (!is_whole)
        return drop_note(&at, err);
    if (lstat(at.path, &here) != 0) {
        code = move_back(&at, err);
        if (code == CB_OK)
            code = drop_note(&at, err);
        if (code == CB_OK)
            cb_event_text(ctx, CB_EVENT_INFO, "an interrupted restore of '%s' was undone", path);
        return code;
    }
    if (here.st_dev == made.st_dev && here.st_ino == made.st_ino) {
        code = drop_old(&at, err);
        if (code == CB_OK)
            cb_event_text(ctx, CB_EVENT_INFO, "an interrupted restore of '%s' was finished", path);
        return code;
    }
    if (!cb_path_exists(at.old))
        return drop_old(&at, err); /* nothing had been moved, or it is all back */
    cb_fail(err, CB_BUSY,
            "a restore of '%s' was interrupted, and a process has made a new file there", path);
    cb_hint(err,
            "Stop it and remove '%s'; the old database is kept as '%s', and the next restore "
            "goes on from there.",
            path, at.old);
    return err->code;
}
