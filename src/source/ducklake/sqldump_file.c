/*
 * sqldump_file.c - the file of a dump while it grows: under a name that says it is not finished,
 * with the digest of what was written so far.
 *
 * A crash leaves NAME.partial-XXXXXXXX, never NAME: that is made by a link, which does not replace
 * anything, after the bytes are on the disk. Who writes holds a lock on the file, so that the next
 * dump into the folder can tell what a dead one left, and remove it. Nobody but the owner may read
 * it: the catalog of an encrypted lake holds the keys of its files.
 */
#include "source/ducklake/sqldump_internal.h"

#include "base/text.h"
#include "codec/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { FLUSH_BYTES = 1 << 20, RANDOM_BYTES = 4 };

static const char mark[] = ".sql.partial-";

/* ---- what dead ones left ------------------------------------------------------------------- */

static bool is_partial(const char *name)
{
    size_t size = strlen(name);
    size_t tail = sizeof(mark) - 1 + 2 * (size_t)RANDOM_BYTES;

    return size > tail && strncmp(name + size - tail, mark, sizeof(mark) - 1) == 0 &&
           strspn(name + size - 2 * (size_t)RANDOM_BYTES, "0123456789abcdef") ==
               2 * (size_t)RANDOM_BYTES;
}

/* Ours, or not yet begun; and nobody is at it. */
static bool is_dead(int fd)
{
    static const char title[] = CB_SQLDUMP_TITLE;
    char head[sizeof(title) - 1];
    ssize_t got = pread(fd, head, sizeof(head), 0);

    return (got == 0 || (got == (ssize_t)sizeof(head) && memcmp(head, title, sizeof(head)) == 0)) &&
           flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* What cannot be removed harms nobody but the disk's owner, who sees it. */
static void sweep(const char *path)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    const struct dirent *entry;
    char place[CB_PATH_MAX];
    size_t size = (size_t)(cb_path_base(path) - path);

    if (size >= sizeof(place))
        return;
    memcpy(place, path, size);
    place[size] = '\0';
    folder = opendir(size == 0 ? "." : place);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        CB_CLEANUP(cb_fd_close) int fd = -1;

        if (!is_partial(entry->d_name))
            continue;
        fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0 && is_dead(fd))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
}

/* ---- a new one ----------------------------------------------------------------------------- */

/* Under a lock, and still there: a sweep may have come between its making and the lock. */
static cb_code make_partial(cb_sqldump_file *file, cb_error *err)
{
    for (;;) {
        uint8_t random[RANDOM_BYTES];
        char hex[2 * RANDOM_BYTES + 1];
        struct stat st;
        cb_code code;

        cb_random(file->ctx, random, sizeof(random));
        cb_hex(random, sizeof(random), hex);
        if (snprintf(file->partial, sizeof(file->partial), "%s%s%s", file->path,
                     cb_has_suffix(file->path, ".sql") ? mark + 4 : mark,
                     hex) >= (int)sizeof(file->partial)) {
            file->partial[0] = '\0';
            return cb_fail(err, CB_TOO_LARGE, "the path of the dump is too long");
        }
        code = cb_file_open(file->partial, O_RDWR | O_CREAT | O_EXCL, 0600, &file->fd, err);
        if (code != CB_OK) {
            file->partial[0] = '\0'; /* not ours to remove */
            return code;
        }
        cb_ignore(flock(file->fd, LOCK_EX | LOCK_NB) == 0 ? CB_OK : CB_BUSY); /* if it has locks */
        if (fstat(file->fd, &st) != 0)
            return cb_fail_errno(err, errno, "cannot look at '%s'", file->partial);
        if (st.st_nlink > 0)
            return CB_OK;
        cb_fd_close(&file->fd);
    }
}

cb_code cb_sqldump_file_open(cb_ctx *ctx, const char *path, cb_sqldump_file *out, cb_error *err)
{
    cb_code code;

    *out = (cb_sqldump_file){.ctx = ctx, .path = path, .fd = -1};
    if (cb_path_exists(path))
        return cb_fail_errno(err, EEXIST, "cannot write the dump '%s'", path);
    sweep(path);
    code = cb_hasher_new(&out->hasher, err);
    if (code == CB_OK)
        code = make_partial(out, err);
    if (code != CB_OK)
        cb_sqldump_file_free(out);
    return code;
}

cb_code cb_sqldump_file_flush(cb_sqldump_file *file, bool all, cb_error *err)
{
    cb_bytes data = cb_buf_bytes(&file->buffer);
    cb_code code;

    if (data.size < (all ? 1 : FLUSH_BYTES))
        return CB_OK;
    code = cb_file_write(file->fd, file->partial, file->written, data.data, data.size, err);
    if (code != CB_OK)
        return code;
    cb_hasher_step(file->hasher, data);
    file->written += data.size;
    file->buffer.size = 0;
    cb_event_progress(file->ctx, file->written, 0, 0);
    return cb_check_cancel(file->ctx, err);
}

static cb_code give_name(cb_sqldump_file *file, cb_error *err)
{
    if (link(file->partial, file->path) == 0)
        return CB_OK; /* the other name goes with the free */
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        return cb_fail_errno(err, errno, "cannot give the dump its name '%s'", file->path);
    /* A file system without links. */
    if (renameat2(AT_FDCWD, file->partial, AT_FDCWD, file->path, RENAME_NOREPLACE) != 0)
        return cb_fail_errno(err, errno, "cannot give the dump its name '%s'", file->path);
    file->partial[0] = '\0';
    return CB_OK;
}

cb_code cb_sqldump_file_commit(cb_sqldump_file *file, char sha256[65], cb_error *err)
{
    cb_hash hash;
    cb_code code = cb_sqldump_file_flush(file, true, err);

    if (code != CB_OK)
        return code;
    cb_hasher_end(file->hasher, &hash);
    cb_hex(hash.bytes, sizeof(hash.bytes), sha256);
    code = cb_buf_format(&file->buffer, err, CB_SQLDUMP_DIGEST "%s\n", sha256);
    if (code == CB_OK)
        code = cb_file_write(file->fd, file->partial, file->written, file->buffer.data,
                             file->buffer.size, err);
    file->written += file->buffer.size;
    if (code == CB_OK)
        code = cb_file_sync(file->fd, file->partial, err);
    if (code == CB_OK)
        code = give_name(file, err);
    if (code != CB_OK)
        return code;
    code = cb_parent_sync(file->path, err);
    if (code != CB_OK) {
        unlink(file->path); /* it may not last: then it had better not be there */
        return code;
    }
    if (file->partial[0] != '\0')
        cb_ignore(unlink(file->partial) == 0 ? CB_OK : CB_IO); /* a second name of a whole dump */
    file->partial[0] = '\0';
    return CB_OK;
}

void cb_sqldump_file_free(cb_sqldump_file *file)
{
    if (file->partial[0] != '\0')
        unlink(file->partial);
    file->partial[0] = '\0';
    cb_fd_close(&file->fd);
    cb_buf_free(&file->buffer);
    cb_hasher_free(file->hasher);
    file->hasher = NULL;
}
