/*
 * temp.c - see temp.h. The lock is flock(2) on the folder or file itself.
 *
 * Between its making and its locking another process may take a new one for a dead one. So who has
 * got the lock looks whether its name is still there, and else makes another.
 */
#include "base/temp.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { CHANCE_BYTES = 8, TRIES = 16, DEPTH_MAX = 64 };

const char cb_temp_prefix[] = "canvasback-temp-";

const char *cb_temp_root(void)
{
    const char *root = getenv("TMPDIR");

    return root != NULL && root[0] == '/' ? root : "/tmp";
}

bool cb_temp_is_name(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);

    return cb_has_prefix(name, prefix) &&
           strspn(name + length, "0123456789abcdef") == 2 * CHANCE_BYTES &&
           name[length + 2 * CHANCE_BYTES] == '\0';
}

static cb_code choose_name(cb_ctx *ctx, const char *folder, const char *prefix,
                           char out[CB_PATH_MAX], cb_error *err)
{
    uint8_t chance[CHANCE_BYTES];
    char name[64];
    char hex[2 * CHANCE_BYTES + 1];

    cb_random(ctx, chance, sizeof(chance));
    cb_hex(chance, sizeof(chance), hex);
    snprintf(name, sizeof(name), "%s%s", prefix, hex);
    return cb_path_join(folder, name, out, err);
}

/* Held by us, and its name was not swept away before. Where a file system has no such locks nobody
   can sweep either. */
static bool hold(int fd)
{
    struct stat st;

    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno != EWOULDBLOCK;
    return fstat(fd, &st) != 0 || st.st_nlink > 0;
}

/* ---- the dead ------------------------------------------------------------------------------- */

/* Ours, of the right kind, and held by nobody: then it is held by us, until *fd is closed. */
static bool is_dead(int folder, const char *name, mode_t type, int *fd)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat st;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || (st.st_mode & S_IFMT) != type ||
        st.st_uid != geteuid())
        return false;
    *fd = openat(folder, name, type == S_IFDIR ? flags | O_DIRECTORY : flags);
    return *fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) == 0;
}

static void sweep_folders(const char *folder, const char *prefix)
{
    CB_CLEANUP(cb_folder_close) DIR *list = opendir(folder);
    const struct dirent *entry;

    while (list != NULL && (entry = readdir(list)) != NULL) {
        CB_CLEANUP(cb_fd_close) int fd = -1;
        char path[CB_PATH_MAX];
        cb_error ignored = {0};

        if (cb_temp_is_name(entry->d_name, prefix) &&
            is_dead(dirfd(list), entry->d_name, S_IFDIR, &fd) &&
            cb_path_join(folder, entry->d_name, path, &ignored) == CB_OK)
            cb_ignore(cb_tree_remove(path, &ignored)); /* what stays harms only by its size */
    }
}

static void sweep_files(int fd, dev_t device, const char *prefix, unsigned depth)
{
    CB_CLEANUP(cb_folder_close) DIR *list = fdopendir(fd);
    const struct dirent *entry;
    struct stat st;

    if (list == NULL) {
        cb_fd_close(&fd);
        return;
    }
    while ((entry = readdir(list)) != NULL) {
        CB_CLEANUP(cb_fd_close) int found = -1;
        bool may_be_folder = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;

        if (cb_temp_is_name(entry->d_name, prefix)) {
            if (is_dead(fd, entry->d_name, S_IFREG, &found))
                (void)unlinkat(fd, entry->d_name, 0);
            continue;
        }
        if (depth == 0 || !may_be_folder || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        found = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (found >= 0 && fstat(found, &st) == 0 && st.st_dev == device) {
            sweep_files(found, device, prefix, depth - 1);
            found = -1; /* closed with its list */
        }
    }
}

void cb_temp_sweep_files(const char *folder, const char *prefix, bool deep)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0)
        sweep_files(fd, st.st_dev, prefix, deep ? DEPTH_MAX : 0);
    else
        cb_fd_close(&fd);
}

/* ---- the living ----------------------------------------------------------------------------- */

static cb_code fail_make(const char *path, int number, cb_error *err)
{
    cb_fail_errno(err, number, "cannot make the temporary folder '%s'", path);
    return err->code;
}

static cb_code try_folder(cb_temp *out, bool *done, cb_error *err)
{
    if (mkdir(out->path, 0700) != 0)
        return errno == EEXIST ? CB_OK : fail_make(out->path, errno, err);
    out->lock = open(out->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out->lock < 0 && errno != ENOENT) {
        int number = errno;

        (void)rmdir(out->path);
        return fail_make(out->path, number, err);
    }
    *done = out->lock >= 0 && hold(out->lock);
    if (!*done)
        cb_fd_close(&out->lock);
    return CB_OK;
}

cb_code cb_temp_make(cb_ctx *ctx, const char *folder, const char *prefix, cb_temp *out,
                     cb_error *err)
{
    const char *where = folder != NULL ? folder : cb_temp_root();
    bool done = false;
    cb_code code = CB_OK;

    out->lock = -1;
    sweep_folders(where, prefix);
    for (int i = 0; code == CB_OK && !done && i < TRIES; i++) {
        code = choose_name(ctx, where, prefix, out->path, err);
        if (code == CB_OK)
            code = try_folder(out, &done, err);
    }
    if (code == CB_OK && !done)
        code = cb_fail(err, CB_BUSY, "other runs take each temporary folder in '%s'", where);
    if (code != CB_OK)
        out->path[0] = '\0';
    return code;
}

void cb_temp_free(cb_temp *temp)
{
    cb_error ignored = {0};

    if (temp->path[0] == '\0')
        return;
    cb_ignore(cb_tree_remove(temp->path, &ignored)); /* the next run finds it unlocked */
    temp->path[0] = '\0';
    cb_fd_close(&temp->lock);
}

cb_code cb_temp_file(cb_ctx *ctx, const char *folder, const char *prefix, int *fd,
                     char path[CB_PATH_MAX], cb_error *err)
{
    *fd = -1;
    for (int i = 0; i < TRIES; i++) {
        cb_code code = choose_name(ctx, folder, prefix, path, err);

        if (code == CB_OK)
            code = cb_file_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, fd, err);
        if (code == CB_OK && hold(*fd))
            return CB_OK;
        cb_fd_close(fd);
        if (code != CB_OK && code != CB_EXISTS)
            return code;
        cb_error_clear(err);
    }
    return cb_fail(err, CB_BUSY, "other runs take each temporary file in '%s'", folder);
}
