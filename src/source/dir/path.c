/*
 * path.c - names that cannot lead away.
 *
 * A path from a manifest is a stranger's. It is looked at as text first (no way up, no absolute
 * path), and walked by openat with O_NOFOLLOW afterwards, so that a link which an earlier item
 * made is an obstacle and not a door.
 */
#include "source/dir/dir_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 255, REMOVE_DEPTH_MAX = 512 };

static bool is_safe_component(const char *name, size_t size)
{
    if (size == 0 || size > NAME_BYTES_MAX)
        return false;
    if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
        return false;
    return true;
}

bool cb_dir_path_is_safe(const char *path)
{
    if (strcmp(path, ".") == 0)
        return true;
    for (;;) {
        size_t size = strcspn(path, "/");

        if (!is_safe_component(path, size))
            return false;
        if (path[size] == '\0')
            return true;
        path += size + 1;
    }
}

size_t cb_dir_parent_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path);
}

cb_code cb_dir_open_beneath(int root, const char *path, size_t size, int *out, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    size_t at = 0;

    *out = -1;
    fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open the folder again");
    while (at < size) {
        char name[NAME_BYTES_MAX + 1];
        size_t length = 0;
        int next;

        while (at + length < size && path[at + length] != '/')
            length++;
        if (!is_safe_component(path + at, length))
            return cb_fail(err, CB_CORRUPT, "'%.*s' is no path inside a folder", (int)size, path);
        memcpy(name, path + at, length);
        name[length] = '\0';
        next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && (errno == ELOOP || errno == ENOTDIR))
            return cb_fail(err, CB_CORRUPT, "'%.*s' is not a folder", (int)(at + length), path);
        if (next < 0)
            return cb_fail_errno(err, errno, "cannot open folder '%.*s'", (int)(at + length), path);
        close(fd);
        fd = next;
        at += length + 1;
    }
    *out = fd;
    fd = -1;
    return CB_OK;
}

static cb_code remove_tree(int folder, const char *name, dev_t device, unsigned depth,
                           uint64_t *removed, cb_error *err);

static cb_code remove_children(int fd, dev_t device, unsigned depth, uint64_t *removed,
                               cb_error *err)
{
    CB_CLEANUP(cb_dir_names_free) cb_dir_names names = {0};
    cb_code code = cb_dir_names_read(fd, &names, err);

    for (size_t i = 0; code == CB_OK && i < names.count; i++)
        code = remove_tree(fd, names.text + names.offsets[i], device, depth + 1, removed, err);
    return code;
}

static cb_code remove_folder(int folder, const char *name, dev_t device, unsigned depth,
                             uint64_t *removed, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    struct stat st;
    cb_code code;

    if (depth > REMOVE_DEPTH_MAX)
        return cb_fail(err, CB_UNSUPPORTED, "'%s' lies too deep to be removed", name);
    fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open folder '%s' to remove it", name);
    if (fstat(fd, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at folder '%s'", name);
    if (st.st_dev != device)
        return cb_fail(err, CB_DENIED, "'%s' is another file system and is not removed", name);
    if ((st.st_mode & S_IRWXU) != S_IRWXU) /* ours, but sealed: unseal, it goes anyway */
        (void)fchmod(fd, S_IRWXU);
    code = remove_children(fd, device, depth, removed, err);
    if (code != CB_OK)
        return cb_context(err, "%s", name);
    if (unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot remove folder '%s'", name);
    return CB_OK;
}

static cb_code remove_tree(int folder, const char *name, dev_t device, unsigned depth,
                           uint64_t *removed, cb_error *err)
{
    struct stat st;
    cb_code code;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot look at '%s'", name);
    }
    if (S_ISDIR(st.st_mode)) {
        code = remove_folder(folder, name, device, depth, removed, err);
        if (code != CB_OK)
            return code;
    } else if (unlinkat(folder, name, 0) != 0 && errno != ENOENT) {
        return cb_fail_errno(err, errno, "cannot remove '%s'", name);
    }
    ++*removed;
    return CB_OK;
}

cb_code cb_dir_remove_at(int folder, const char *name, uint64_t *removed, cb_error *err)
{
    struct stat st;

    if (fstat(folder, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at the folder of '%s'", name);
    return remove_tree(folder, name, st.st_dev, 0, removed, err);
}
