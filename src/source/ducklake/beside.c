/*
 * beside.c - see beside.h. The lock is flock(2) on the folder itself: it ends with the process,
 * however that ends, so an unlocked folder is nobody's.
 */
#include "source/ducklake/beside.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static const char prefix[] = ".canvasback-lake-";

enum { COPY_BYTES = 1 << 20 };

cb_code cb_lake_folder_of(const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    size_t length = (size_t)(cb_path_base(path) - path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", path);
    if (length == 0) {
        memcpy(out, ".", 2);
        return CB_OK;
    }
    memcpy(out, path, length);
    out[length] = '\0';
    return CB_OK;
}

/* A leftover harms nobody but by its size: what cannot be removed stays. */
static void remove_dead(const char *folder)
{
    CB_CLEANUP(cb_folder_close) DIR *open_folder = opendir(folder);
    const struct dirent *entry;

    if (open_folder == NULL)
        return;
    while ((entry = readdir(open_folder)) != NULL) {
        CB_CLEANUP(cb_fd_close) int lock = -1;
        cb_error ignored = {0};
        char path[CB_PATH_MAX];

        if (!cb_has_prefix(entry->d_name, prefix) ||
            cb_path_join(folder, entry->d_name, path, &ignored) != CB_OK)
            continue;
        lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
            cb_ignore(cb_tree_remove(path, &ignored));
    }
}

static const char *temporary_folder(void)
{
    const char *base = getenv("TMPDIR");

    return base != NULL && base[0] == '/' ? base : "/tmp";
}

cb_code cb_lake_beside_make(cb_ctx *ctx, const char *near, cb_lake_beside *out, cb_error *err)
{
    char folder[CB_PATH_MAX];
    char name[64];
    char hex[17];
    uint8_t random[8];
    cb_code code = CB_OK;

    out->path[0] = '\0';
    out->lock = -1;
    if (near != NULL)
        code = cb_lake_folder_of(near, folder, err);
    else
        snprintf(folder, sizeof(folder), "%s", temporary_folder());
    if (code == CB_OK && near != NULL)
        code = cb_folder_make(folder, err);
    if (code != CB_OK)
        return code;
    remove_dead(folder);
    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    snprintf(name, sizeof(name), "%s%s", prefix, hex);
    code = cb_path_join(folder, name, out->path, err);
    if (code == CB_OK && mkdir(out->path, 0700) != 0) {
        code = cb_fail_errno(err, errno, "cannot make the temporary folder '%s'", out->path);
        out->path[0] = '\0';
    }
    if (code == CB_OK)
        code = cb_file_open(out->path, O_RDONLY | O_DIRECTORY, 0, &out->lock, err);
    /* Not every file system has this lock; without it a leftover is not told from one in use, and
       another run may find it unlocked only where locks work. */
    if (code == CB_OK && flock(out->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        code = cb_fail(err, CB_BUSY, "another run took the temporary folder '%s'", out->path);
    if (code != CB_OK)
        cb_lake_beside_free(out);
    return code;
}

void cb_lake_beside_free(cb_lake_beside *beside)
{
    cb_error ignored = {0};

    if (beside->path[0] == '\0')
        return;
    cb_ignore(cb_tree_remove(beside->path, &ignored)); /* the next run finds it unlocked */
    beside->path[0] = '\0';
    cb_fd_close(&beside->lock);
}

static cb_code copy_bytes(cb_ctx *ctx, int from, const char *from_path, int to, const char *to_path,
                          cb_error *err)
{
    uint8_t *part = malloc(COPY_BYTES);
    uint64_t at = 0;
    size_t got = 1;
    cb_code code = part == NULL ? cb_fail_memory(err, COPY_BYTES) : CB_OK;

    while (code == CB_OK && got > 0) {
        code = cb_check_cancel(ctx, err);
        if (code == CB_OK)
            code = cb_file_read(from, from_path, at, part, COPY_BYTES, &got, err);
        if (code == CB_OK)
            code = cb_file_write(to, to_path, at, part, got, err);
        at += got;
    }
    free(part);
    return code == CB_OK ? cb_file_sync(to, to_path, err) : code;
}

cb_code cb_lake_beside_move(cb_ctx *ctx, const char *from, const char *to, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int in = -1;
    CB_CLEANUP(cb_fd_close) int out = -1;
    cb_code code;

    if (rename(from, to) == 0)
        return CB_OK;
    if (errno != EXDEV)
        return cb_fail_errno(err, errno, "cannot rename '%s' to '%s'", from, to);
    code = cb_file_open(from, O_RDONLY, 0, &in, err);
    if (code == CB_OK)
        code = cb_file_open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &out, err);
    if (code != CB_OK)
        return code;
    code = copy_bytes(ctx, in, from, out, to, err);
    if (code != CB_OK)
        (void)unlink(to);
    return code;
}

cb_code cb_lake_beside_access(const char *path, const char *like, cb_error *err)
{
    struct stat st;
    bool is_known = stat(like, &st) == 0;

    if (is_known && geteuid() == 0 && chown(path, st.st_uid, st.st_gid) != 0 && errno != EPERM &&
        errno != EINVAL)
        return cb_fail_errno(err, errno, "cannot set the owner of '%s'", path);
    if (chmod(path, is_known ? st.st_mode & 0777 : 0600) != 0)
        return cb_fail_errno(err, errno, "cannot set the permissions of '%s'", path);
    return CB_OK;
}
