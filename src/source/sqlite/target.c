/*
 * target.c - the write half: a whole new file beside the old one, or the old one changed in place.
 *
 * Whole: written under another name, synced, then exchanged (exchange.c).
 *
 * In place (--delta): the first 16 bytes are replaced by a mark, durably, before anything else is
 * written, and become SQLite's magic again after all else is durable: interrupted, SQLite refuses
 * the file. Between the mark and the first write the journals are removed. Up to then SQLite would
 * still find the old database whole: a log or a hot journal holds the first page as it was, or
 * there is none and the old contents were given up anyway. Nothing is touched before the first
 * chunk that differs; if none does, only the journals go.
 *
 * All of SQLite's locks are held on an old file from before the first change to the end.
 */
#include "source/sqlite/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

static const char new_suffix[] = ".canvasback-new";

enum { ATTEMPTS = 3 };

typedef struct sqlite_target {
    cb_target base;
    cb_ctx *ctx;
    cb_target_options options;
    char path[CB_PATH_MAX];
    char made[CB_PATH_MAX]; /* whole: the name of the new file until it is placed; else empty */
    int fd;                 /* of the new file, or of the one changed in place */
    cb_sqlite_header old;
    bool has_item;
    uint64_t size;
    uint32_t mode, uid, gid; /* of the item */
    pthread_mutex_t lock;
    bool is_marked;                      /* under lock */
    uint8_t head[CB_SQLITE_MAGIC_BYTES]; /* in place: the first bytes as they are to be */
} sqlite_target;

/* ---- prepare -------------------------------------------------------------------------------- */

typedef cb_code find_process(const char *path, int64_t *pid, cb_error *err);

static cb_code refuse_open(const sqlite_target *t, find_process *find, cb_error *err)
{
    int64_t pid;

    if (find(t->path, &pid, err) != CB_OK)
        return err->code;
    if (pid == 0)
        return CB_OK;
    if (pid > 0)
        cb_fail(err, CB_BUSY, "'%s' is open in process %lld", t->path, (long long)pid);
    else
        cb_fail(err, CB_BUSY, "'%s' is open in a process that cannot be seen from here", t->path);
    cb_hint(err, "Stop that process first: it would go on writing to the old file.");
    return err->code;
}

static cb_code refuse_old(const sqlite_target *t, cb_error *err)
{
    if (!t->old.exists)
        return CB_OK;
    if (!t->old.is_regular) {
        cb_fail(err, CB_EXISTS, "'%s' is not a file", t->path);
        cb_hint(err, "Name the file that the database is to become.");
        return err->code;
    }
    if (t->options.force)
        return CB_OK;
    if (!t->options.delta) {
        cb_fail(err, CB_EXISTS, "'%s' exists", t->path);
        cb_hint(err, "Rewrite what differs with --delta, or replace it with --force.");
        return err->code;
    }
    if (t->old.size > 0 && !t->old.has_magic && !t->old.is_marked) {
        cb_fail(err, CB_EXISTS, "'%s' exists and is not a SQLite database", t->path);
        cb_hint(err, "Replace it with --force if it is the right place.");
        return err->code;
    }
    return CB_OK;
}

static cb_code refuse_full(const sqlite_target *t, cb_error *err)
{
    uint64_t reused = t->base.in_place ? t->old.size : 0;
    uint64_t wanted = t->options.total_bytes > reused ? t->options.total_bytes - reused : 0;
    char need[CB_SIZE_TEXT_MAX];
    char have[CB_SIZE_TEXT_MAX];
    uint64_t free_bytes;

    if (cb_free_space(t->path, &free_bytes, err) != CB_OK)
        return err->code;
    if (free_bytes >= wanted)
        return CB_OK;
    cb_fail(err, CB_NO_SPACE, "'%s' needs %s, and %s are free there", t->path,
            cb_format_size(wanted, need), cb_format_size(free_bytes, have));
    cb_hint(err, "Make room, or restore to another file system.");
    return err->code;
}

static cb_code open_in_place(sqlite_target *t, cb_error *err)
{
    size_t got;

    if (cb_file_open(t->path, O_RDWR, 0, &t->fd, err) != CB_OK)
        return err->code;
    if (!cb_sqlite_lock_exclusive(t->fd)) {
        cb_fail(err, CB_BUSY, "'%s' is locked by another process", t->path);
        cb_hint(err, "Stop the process that uses it.");
        return err->code;
    }
    if (refuse_open(t, cb_sqlite_opener, err) != CB_OK)
        return err->code;
    return cb_file_read(t->fd, t->path, 0, t->head, sizeof(t->head), &got, err);
}

/* One name, so that what a killed restore left is used again; flock keeps two restores apart. */
static cb_code open_new(sqlite_target *t, cb_error *err)
{
    struct stat by_fd;
    struct stat by_name;

    for (unsigned i = 0; i < ATTEMPTS; i++) {
        if (cb_sqlite_beside(t->path, new_suffix, t->made, err) != CB_OK ||
            cb_file_open(t->made, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &t->fd, err) != CB_OK)
            break;
        if (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
            cb_fail(err, CB_BUSY, "another restore to '%s' is running", t->path);
            break;
        }
        if (fstat(t->fd, &by_fd) == 0 && stat(t->made, &by_name) == 0 &&
            by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev) {
            if (ftruncate(t->fd, 0) != 0)
                return cb_fail_errno(err, errno, "cannot empty '%s'", t->made);
            return CB_OK;
        }
        cb_fd_close(&t->fd); /* the other one has just placed it: make a new one */
    }
    t->made[0] = '\0'; /* not ours to remove */
    cb_fd_close(&t->fd);
    if (err->code == CB_OK)
        cb_fail(err, CB_BUSY, "another restore to '%s' is running", t->path);
    return err->code;
}

static cb_code make_parent(const sqlite_target *t, cb_error *err)
{
    char folder[CB_PATH_MAX];
    size_t length = (size_t)(cb_path_base(t->path) - t->path);

    if (length <= 1)
        return CB_OK;
    memcpy(folder, t->path, length - 1);
    folder[length - 1] = '\0';
    return cb_folder_make(folder, err);
}

static cb_code sqlite_prepare(cb_target *base, cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;
    cb_code code = cb_sqlite_exchange_mend(t->ctx, t->path, err);

    if (code == CB_OK)
        code = cb_sqlite_look(t->path, &t->old, err);
    if (code == CB_OK)
        code = refuse_old(t, err);
    if (code == CB_OK)
        code = refuse_open(t, cb_sqlite_holder, err);
    if (code != CB_OK)
        return code;
    t->base.in_place = t->options.delta && (t->old.has_magic || t->old.is_marked);
    code = refuse_full(t, err);
    if (code == CB_OK && t->base.in_place)
        return open_in_place(t, err);
    if (code == CB_OK)
        code = make_parent(t, err);
    if (code == CB_OK)
        code = open_new(t, err);
    return code;
}

/* ---- the item ------------------------------------------------------------------------------- */

static cb_code parse_attrs(sqlite_target *t, cb_bytes raw, cb_error *err)
{
    cb_field_reader reader = {raw};
    cb_field field;
    uint64_t value;
    bool more;

    while (cb_field_next(&reader, &field, &more, err) == CB_OK && more) {
        if (field.tag > CB_SQLITE_ATTR_GID)
            continue; /* of a later version */
        if (cb_field_u64(&field, &value, err) != CB_OK)
            return err->code;
        if (field.tag == CB_SQLITE_ATTR_MODE)
            t->mode = (uint32_t)value & 0777;
        else if (field.tag == CB_SQLITE_ATTR_UID)
            t->uid = (uint32_t)value;
        else
            t->gid = (uint32_t)value;
    }
    return err->code;
}

static cb_code sqlite_item(cb_target *base, const cb_item *item, uint32_t *number, cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;

    if (t->has_item || item->kind != CB_ITEM_DATABASE)
        return cb_fail(err, CB_UNSUPPORTED,
                       "a backup of a SQLite database has one item, not also '%s'", item->path);
    t->has_item = true;
    t->size = item->size_bytes;
    *number = 0;
    return parse_attrs(t, item->attrs, err);
}

static cb_code sqlite_read(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_buf *into, cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;
    uint8_t *at;
    size_t got;

    (void)item;
    if (!t->base.in_place)
        return CB_OK;
    if (cb_buf_reserve(into, length, err) != CB_OK)
        return err->code;
    at = into->data + into->size;
    if (cb_file_read(t->fd, t->path, offset, at, length, &got, err) != CB_OK)
        return err->code;
    /* As it was before the mark. */
    pthread_mutex_lock(&t->lock);
    for (uint64_t i = offset; i < sizeof(t->head) && i - offset < got; i++)
        at[i - offset] = t->head[i];
    pthread_mutex_unlock(&t->lock);
    into->size += got;
    return CB_OK;
}

static cb_code drop_sides(const sqlite_target *t, cb_error *err)
{
    bool dropped = false;

    for (size_t i = 0; i < CB_SQLITE_SIDES; i++) {
        char side[CB_PATH_MAX];

        if (cb_sqlite_beside(t->path, cb_sqlite_suffix[i], side, err) != CB_OK)
            return err->code;
        if (unlink(side) == 0)
            dropped = true;
        else if (errno != ENOENT)
            return cb_fail_errno(err, errno, "cannot remove '%s'", side);
    }
    return dropped ? cb_parent_sync(t->path, err) : CB_OK;
}

/* Once, before the first change; the other threads wait for it. */
static cb_code mark(sqlite_target *t, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&t->lock);
    if (t->base.in_place && !t->is_marked) {
        code = cb_file_write(t->fd, t->path, 0, cb_sqlite_mark, CB_SQLITE_MAGIC_BYTES, err);
        if (code == CB_OK)
            code = cb_file_sync(t->fd, t->path, err);
        if (code == CB_OK)
            code = drop_sides(t, err);
        t->is_marked = code == CB_OK;
    }
    pthread_mutex_unlock(&t->lock);
    return code;
}

static cb_code check_range(const sqlite_target *t, uint64_t offset, uint64_t length, cb_error *err)
{
    uint64_t end;

    if (!t->has_item || !cb_add_u64(offset, length, &end) || end > t->size)
        return cb_fail(err, CB_CORRUPT, "a chunk lies behind the end of the database");
    return CB_OK;
}

static const char *written_path(const sqlite_target *t)
{
    return t->base.in_place ? t->path : t->made;
}

static cb_code sqlite_write(cb_target *base, uint32_t item, uint64_t offset, cb_bytes data,
                            cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;
    size_t skip = 0;

    (void)item;
    if (check_range(t, offset, data.size, err) != CB_OK || mark(t, err) != CB_OK)
        return err->code;
    if (t->base.in_place && offset < sizeof(t->head)) {
        skip = sizeof(t->head) - (size_t)offset;
        if (skip > data.size)
            skip = data.size;
        pthread_mutex_lock(&t->lock);
        memcpy(t->head + offset, data.data, skip);
        pthread_mutex_unlock(&t->lock);
    }
    return cb_file_write(t->fd, written_path(t), offset + skip, data.data + skip, data.size - skip,
                         err);
}

/* A new file has holes of its own; in place the range is freed, or zeroed where that cannot be. */
static cb_code sqlite_hole(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;
    CB_CLEANUP(cb_buf_free) cb_buf zeros = {0};

    if (check_range(t, offset, length, err) != CB_OK || !t->base.in_place)
        return err->code;
    if (mark(t, err) != CB_OK)
        return err->code;
    if (offset >= sizeof(t->head) && fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                               (off_t)offset, (off_t)length) == 0)
        return CB_OK;
    if (cb_buf_reserve(&zeros, length, err) != CB_OK)
        return err->code;
    memset(zeros.data, 0, length);
    return sqlite_write(base, item, offset, cb_bytes_of(zeros.data, length), err);
}

static cb_code sqlite_done(cb_target *base, uint32_t item, cb_error *err)
{
    (void)base;
    (void)item;
    (void)err;
    return CB_OK; /* one item: finish does it all */
}

/* ---- finish --------------------------------------------------------------------------------- */

static cb_code cut_and_sync(const sqlite_target *t, cb_error *err)
{
    if (ftruncate(t->fd, (off_t)t->size) != 0)
        return cb_fail_errno(err, errno, "cannot set the size of '%s'", written_path(t));
    return cb_file_sync(t->fd, written_path(t), err);
}

static cb_code finish_in_place(sqlite_target *t, cb_error *err)
{
    cb_code code;

    if (!t->is_marked && t->size == t->old.size && !t->old.is_marked)
        return drop_sides(t, err); /* nothing differed */
    if (t->size > 0 && memcmp(t->head, cb_sqlite_magic, sizeof(t->head)) != 0)
        return cb_fail(err, CB_CORRUPT, "the backup does not begin like a SQLite database");
    code = mark(t, err); /* when only the size differs */
    if (code == CB_OK)
        code = cut_and_sync(t, err);
    if (code == CB_OK && t->size > 0)
        code = cb_file_write(t->fd, t->path, 0, t->head, sizeof(t->head), err);
    if (code == CB_OK)
        code = cb_file_sync(t->fd, t->path, err);
    return code;
}

/* The old file's permissions and owner, else those of the backup; the owner only where we may. */
static cb_code set_access(const sqlite_target *t, cb_error *err)
{
    uint32_t mode = t->old.exists ? t->old.mode & 0777 : t->mode;
    uid_t uid = t->old.exists ? t->old.uid : t->uid;
    gid_t gid = t->old.exists ? t->old.gid : t->gid;

    if (geteuid() == 0 && fchown(t->fd, uid, gid) != 0 && errno != EPERM && errno != EINVAL)
        return cb_fail_errno(err, errno, "cannot set the owner of '%s'", t->made);
    if (fchmod(t->fd, mode != 0 ? mode : 0600) != 0)
        return cb_fail_errno(err, errno, "cannot set the permissions of '%s'", t->made);
    return CB_OK;
}

/* The lock before the look: who comes later cannot begin a transaction on the old file. One that
   we may not write cannot be locked; then the look alone has to do. */
static cb_code lock_old(const sqlite_target *t, int *old, cb_error *err)
{
    cb_code code = CB_OK;

    if (cb_path_exists(t->path)) {
        if (!t->old.exists)
            return cb_fail(err, CB_EXISTS, "'%s' was made during the restore", t->path);
        code = cb_file_open(t->path, O_RDWR, 0, old, err);
        if (code == CB_DENIED) {
            cb_error_clear(err);
            code = CB_OK;
        }
    }
    if (code == CB_OK && *old >= 0 && !cb_sqlite_lock_exclusive(*old))
        code = cb_fail(err, CB_BUSY, "'%s' is locked by another process", t->path);
    if (code == CB_OK)
        code = refuse_open(t, cb_sqlite_opener, err);
    return code;
}

static cb_code finish_whole(sqlite_target *t, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int old = -1;
    uint8_t head[CB_SQLITE_MAGIC_BYTES] = {0};
    size_t got;
    cb_code code = set_access(t, err);

    if (code == CB_OK)
        code = cut_and_sync(t, err);
    if (code == CB_OK)
        code = cb_file_read(t->fd, t->made, 0, head, sizeof(head), &got, err);
    if (code == CB_OK && t->size > 0 && memcmp(head, cb_sqlite_magic, sizeof(head)) != 0)
        code = cb_fail(err, CB_CORRUPT, "the backup does not begin like a SQLite database");
    if (code == CB_OK)
        code = lock_old(t, &old, err);
    if (code == CB_OK)
        code = cb_sqlite_exchange(t->path, t->made, err);
    if (code == CB_OK)
        t->made[0] = '\0';
    return code;
}

static cb_code sqlite_finish(cb_target *base, cb_error *err)
{
    sqlite_target *t = (sqlite_target *)base;

    if (!t->has_item)
        return cb_fail(err, CB_CORRUPT, "the backup holds no database");
    if ((t->base.in_place ? finish_in_place(t, err) : finish_whole(t, err)) != CB_OK)
        return err->code;
    cb_fd_close(&t->fd); /* and with it the locks: whoever comes next may open the database */
    return CB_OK;
}

static void sqlite_free(cb_target *base)
{
    sqlite_target *t = (sqlite_target *)base;

    if (t->made[0] != '\0')
        unlink(t->made);
    cb_fd_close(&t->fd);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

cb_code cb_sqlite_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                             cb_target **out, cb_error *err)
{
    static const cb_target_ops ops = {
        sqlite_prepare, sqlite_item, sqlite_read,   sqlite_write,
        sqlite_hole,    sqlite_done, sqlite_finish, sqlite_free,
    };
    sqlite_target *t = calloc(1, sizeof(*t));

    *out = NULL;
    if (t == NULL)
        return cb_fail_memory(err, sizeof(*t));
    t->base = (cb_target){.ops = &ops, .path = t->path};
    t->ctx = ctx;
    t->options = *options;
    t->fd = -1;
    pthread_mutex_init(&t->lock, NULL);
    if (cb_path_absolute(path, t->path, err) != CB_OK) {
        sqlite_free(&t->base);
        return err->code;
    }
    *out = &t->base;
    return CB_OK;
}
