/*
 * file.c - one place for EINTR, short transfers and the folder syncs that make names durable.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SLURP_BYTES = 64 * 1024 };

void cb_fd_close(int *fd)
{
    /* Closing reports nothing that a sync before it would not have reported. */
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void cb_folder_close(DIR **folder)
{
    if (*folder != NULL)
        closedir(*folder);
    *folder = NULL;
}

cb_code cb_file_open(const char *path, int flags, mode_t mode, int *out, cb_error *err)
{
    do
        *out = open(path, flags | O_CLOEXEC, mode);
    while (*out < 0 && errno == EINTR);
    if (*out < 0)
        return cb_fail_errno(err, errno, "cannot %s '%s'", flags & O_CREAT ? "create" : "open",
                             path);
    return CB_OK;
}

static bool offset_fits(uint64_t offset, size_t size)
{
    return size <= INT64_MAX && offset <= (uint64_t)INT64_MAX - size;
}

cb_code cb_file_read(int fd, const char *path, uint64_t offset, void *into, size_t size,
                     size_t *got, cb_error *err)
{
    size_t done = 0;

    *got = 0;
    if (!offset_fits(offset, size))
        return cb_fail(err, CB_TOO_LARGE, "cannot read '%s' at %llu: no file is that large", path,
                       (unsigned long long)offset);
    while (done < size) {
        ssize_t part = pread(fd, (uint8_t *)into + done, size - done, (off_t)(offset + done));

        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return cb_fail_errno(err, errno, "cannot read '%s'", path);
        if (part == 0)
            break;
        done += (size_t)part;
    }
    *got = done;
    return CB_OK;
}

cb_code cb_file_write(int fd, const char *path, uint64_t offset, const void *data, size_t size,
                      cb_error *err)
{
    size_t done = 0;

    if (!offset_fits(offset, size))
        return cb_fail(err, CB_TOO_LARGE, "cannot write '%s' at %llu: no file is that large", path,
                       (unsigned long long)offset);
    while (done < size) {
        ssize_t part =
            pwrite(fd, (const uint8_t *)data + done, size - done, (off_t)(offset + done));

        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return cb_fail_errno(err, errno, "cannot write '%s'", path);
        done += (size_t)part;
    }
    return CB_OK;
}

cb_code cb_file_sync(int fd, const char *path, cb_error *err)
{
    int result;

    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return cb_fail_errno(err, errno, "cannot sync '%s' to disk", path);
    return CB_OK;
}

cb_code cb_folder_sync(const char *path, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd, err);

    if (code != CB_OK)
        return code;
    return cb_file_sync(fd, path, err);
}

/* The folder that holds `path`: "." for a bare name, "/" for what lies in the root. */
static cb_code parent_of(const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    size_t length = strlen(path);

    if (length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "a path of %zu bytes is too long", length);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    memcpy(out, path, length);
    out[length] = '\0';
    if (length == 0)
        memcpy(out, ".", 2);
    return CB_OK;
}

cb_code cb_parent_sync(const char *path, cb_error *err)
{
    char parent[CB_PATH_MAX];
    cb_code code = parent_of(path, parent, err);

    if (code != CB_OK)
        return code;
    return cb_folder_sync(parent, err);
}

static bool is_folder(const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

/* Whoever loses the race for a folder syncs the parent too: the winner may not have done it yet. */
static cb_code make_one_folder(const char *path, cb_error *err)
{
    if (is_folder(path))
        return CB_OK;
    if (mkdir(path, 0700) != 0) {
        if (errno != EEXIST)
            return cb_fail_errno(err, errno, "cannot make the folder '%s'", path);
        if (!is_folder(path))
            return cb_fail(err, CB_EXISTS, "'%s' is there and is not a folder", path);
    }
    return cb_parent_sync(path, err);
}

cb_code cb_folder_make(const char *path, cb_error *err)
{
    char part[CB_PATH_MAX];
    size_t length = strlen(path);

    if (length >= sizeof(part))
        return cb_fail(err, CB_TOO_LARGE, "a path of %zu bytes is too long", length);
    for (size_t i = 1; i <= length; i++) {
        cb_code code;

        if ((path[i] != '/' && path[i] != '\0') || path[i - 1] == '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        code = make_one_folder(part, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code remove_entry(int parent, const char *name, dev_t device, cb_error *err);

/* Empty the folder open as `fd`, which is taken over. */
static cb_code remove_contents(int fd, const char *name, dev_t device, cb_error *err)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = fdopendir(fd);

    if (folder == NULL) {
        cb_fail_errno(err, errno, "cannot list '%s'", name);
        close(fd);
        return err->code;
    }
    for (;;) {
        const struct dirent *entry;
        cb_code code;

        errno = 0;
        entry = readdir(folder);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        code = remove_entry(dirfd(folder), entry->d_name, device, err);
        if (code != CB_OK)
            return code == CB_CANCELLED ? code : cb_context(err, "%s", name);
    }
    if (errno != 0)
        return cb_fail_errno(err, errno, "cannot list '%s'", name);
    return CB_OK;
}

static cb_code remove_folder(int parent, const char *name, dev_t device, cb_error *err)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat facts;
    cb_code code;

    if (fd < 0)
        return errno == ENOENT ? CB_OK : cb_fail_errno(err, errno, "cannot open '%s'", name);
    if (fstat(fd, &facts) != 0 || facts.st_dev != device) {
        close(fd);
        return cb_fail(err, CB_IO, "'%s' is on another file system and is left alone", name);
    }
    /* A restored folder may be read-only even for us. Not ours: then the removal says so. */
    if ((facts.st_mode & S_IRWXU) != S_IRWXU)
        (void)!fchmod(fd, S_IRWXU);
    code = remove_contents(fd, name, device, err);
    if (code != CB_OK)
        return code;
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot remove '%s'", name);
    return CB_OK;
}

static cb_code remove_entry(int parent, const char *name, dev_t device, cb_error *err)
{
    struct stat facts;

    if (fstatat(parent, name, &facts, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? CB_OK : cb_fail_errno(err, errno, "cannot look at '%s'", name);
    if (S_ISDIR(facts.st_mode))
        return remove_folder(parent, name, device, err);
    if (unlinkat(parent, name, 0) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot remove '%s'", name);
    return CB_OK;
}

cb_code cb_tree_remove(const char *path, cb_error *err)
{
    struct stat facts;

    if (lstat(path, &facts) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot look at '%s'", path);
    }
    return remove_entry(AT_FDCWD, path, facts.st_dev, err);
}

cb_code cb_file_slurp(const char *path, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    size_t before = into->size;
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    while (code == CB_OK) {
        uint8_t part[SLURP_BYTES];
        ssize_t got = read(fd, part, sizeof(part)); /* not pread: /proc files and pipes too */

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            return CB_OK;
        if (got < 0)
            code = cb_fail_errno(err, errno, "cannot read '%s'", path);
        else if (cb_buf_append(into, part, (size_t)got, err) != CB_OK)
            code = cb_context(err, "'%s'", path);
    }
    into->size = before;
    return code;
}

cb_code cb_free_space(const char *path, uint64_t *out, cb_error *err)
{
    char at[CB_PATH_MAX];
    struct statvfs facts;

    if (strlen(path) >= sizeof(at))
        return cb_fail(err, CB_TOO_LARGE, "a path of %zu bytes is too long", strlen(path));
    memcpy(at, path, strlen(path) + 1);
    while (statvfs(at, &facts) != 0) {
        char parent[CB_PATH_MAX];
        cb_code code;

        if (errno == EINTR)
            continue;
        if ((errno != ENOENT && errno != ENOTDIR) || strcmp(at, "/") == 0 || strcmp(at, ".") == 0)
            return cb_fail_errno(err, errno, "cannot ask for the free space at '%s'", path);
        code = parent_of(at, parent, err);
        if (code != CB_OK)
            return code;
        memcpy(at, parent, sizeof(at));
    }
    if (!cb_mul_u64(facts.f_bavail, facts.f_frsize, out))
        *out = UINT64_MAX;
    return CB_OK;
}

cb_code cb_path_join(const char *folder, const char *name, char out[CB_PATH_MAX], cb_error *err)
{
    const char *slash = folder[0] == '\0' || cb_path_base(folder)[0] == '\0' ? "" : "/";
    int length = snprintf(out, CB_PATH_MAX, "%s%s%s", folder, slash, name);

    if (length < 0 || length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path of '%.64s' is longer than %d bytes", name,
                       CB_PATH_MAX - 1);
    return CB_OK;
}

cb_code cb_path_absolute(const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    char whole[CB_PATH_MAX];
    char resolved[PATH_MAX];
    char head[CB_PATH_MAX];
    size_t head_size;
    cb_code code;

    if (path[0] == '/') {
        code = cb_path_join("", path, whole, err);
    } else {
        char here[CB_PATH_MAX];

        if (getcwd(here, sizeof(here)) == NULL)
            return cb_fail_errno(err, errno, "cannot tell the current folder");
        code = cb_path_join(here, path, whole, err);
    }
    if (code != CB_OK)
        return code;

    /* Cut from the end what does not exist, resolve the head, put the rest back. */
    head_size = strlen(whole);
    while (head_size > 1 && whole[head_size - 1] == '/')
        whole[--head_size] = '\0';
    for (;;) {
        memcpy(head, whole, head_size);
        head[head_size] = '\0';
        if (realpath(head, resolved) != NULL)
            break;
        if (errno != ENOENT && errno != ENOTDIR)
            return cb_fail_errno(err, errno, "cannot follow '%s'", path);
        while (head_size > 1 && whole[head_size - 1] != '/')
            head_size--;
        while (head_size > 1 && whole[head_size - 1] == '/')
            head_size--;
    }
    while (whole[head_size] == '/')
        head_size++;
    if (whole[head_size] == '\0')
        return cb_path_join("", resolved, out, err);
    return cb_path_join(resolved, whole + head_size, out, err);
}

const char *cb_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

bool cb_path_exists(const char *path)
{
    struct stat facts;

    return lstat(path, &facts) == 0;
}
