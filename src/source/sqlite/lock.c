/*
 * lock.c - who has the database open.
 *
 * SQLite locks bytes at 1 GiB of the database file (never data: that page is skipped): PENDING,
 * RESERVED, and a range of 510 for SHARED and EXCLUSIVE. In WAL mode each connection keeps SHARED,
 * in rollback mode only while it works: an idle one is found through its descriptor alone.
 *
 * Our own locks are of the "open file description" kind: they conflict with those of SQLite, and
 * unlike them are not lost when another descriptor of the file is closed in this process.
 */
#include "source/sqlite/sqlite_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

enum {
    PENDING_BYTE = 0x40000000,
    RESERVED_BYTE = PENDING_BYTE + 1,
    SHARED_FIRST = PENDING_BYTE + 2,
    SHARED_BYTES = 510,
};

static bool lock_range(int fd, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    int rc;

    do
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

/* As SQLite's readers do: PENDING first, so that a waiting writer is not starved. A hot journal is
   one that nobody is writing: RESERVED must be free as well. */
bool cb_sqlite_lock_shared(int fd)
{
    struct flock reserved = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RESERVED_BYTE, .l_len = 1};

    if (!lock_range(fd, F_RDLCK, PENDING_BYTE, 1))
        return false;
    if (!lock_range(fd, F_RDLCK, SHARED_FIRST, SHARED_BYTES))
        return false;
    if (!lock_range(fd, F_UNLCK, PENDING_BYTE, 1))
        return false;
    return fcntl(fd, F_OFD_GETLK, &reserved) == 0 && reserved.l_type == F_UNLCK;
}

bool cb_sqlite_lock_exclusive(int fd)
{
    return lock_range(fd, F_WRLCK, PENDING_BYTE, SHARED_FIRST + SHARED_BYTES - PENDING_BYTE);
}

cb_code cb_sqlite_locker(int fd, const char *path, int64_t *pid, cb_error *err)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = PENDING_BYTE,
                         .l_len = SHARED_FIRST + SHARED_BYTES - PENDING_BYTE};

    *pid = 0;
    if (fcntl(fd, F_GETLK, &lock) != 0)
        return cb_fail_errno(err, errno, "cannot ask for the locks of '%s'", path);
    if (lock.l_type != F_UNLCK)
        *pid = lock.l_pid > 0 ? lock.l_pid : -1;
    return CB_OK;
}

typedef struct file_id {
    dev_t device;
    ino_t inode;
} file_id;

/* Does a descriptor of this process lead to one of the files? */
static bool has_open(const char *descriptors, const file_id *files, size_t count)
{
    DIR *dir = opendir(descriptors);
    bool found = false;

    if (dir == NULL)
        return false; /* another user's, or gone */
    for (struct dirent *entry = readdir(dir); entry != NULL && !found; entry = readdir(dir)) {
        struct stat st;

        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
            continue;
        for (size_t i = 0; i < count && !found; i++)
            found = st.st_dev == files[i].device && st.st_ino == files[i].inode;
    }
    closedir(dir);
    return found;
}

static int64_t find_opener(const file_id *files, size_t count)
{
    DIR *dir = opendir("/proc");
    int64_t found = 0;

    if (dir == NULL)
        return 0;
    for (struct dirent *entry = readdir(dir); entry != NULL && found == 0; entry = readdir(dir)) {
        char descriptors[sizeof("/proc//fd") + sizeof(entry->d_name)];
        cb_error err = {0};
        int64_t pid;

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            cb_parse_i64(entry->d_name, &pid, &err) != CB_OK || pid == getpid())
            continue;
        snprintf(descriptors, sizeof(descriptors), "/proc/%s/fd", entry->d_name);
        if (has_open(descriptors, files, count))
            found = pid;
    }
    closedir(dir);
    return found;
}

cb_code cb_sqlite_opener(const char *path, int64_t *pid, cb_error *err)
{
    file_id files[1 + CB_SQLITE_SIDES];
    size_t count = 0;
    struct stat st;

    *pid = 0;
    if (stat(path, &st) == 0)
        files[count++] = (file_id){st.st_dev, st.st_ino};
    for (size_t i = 0; i < CB_SQLITE_SIDES; i++) {
        char side[CB_PATH_MAX];

        if (cb_sqlite_beside(path, cb_sqlite_suffix[i], side, err) != CB_OK)
            return err->code;
        if (stat(side, &st) == 0)
            files[count++] = (file_id){st.st_dev, st.st_ino};
    }
    if (count > 0)
        *pid = find_opener(files, count);
    return CB_OK;
}

cb_code cb_sqlite_holder(const char *path, int64_t *pid, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;

    *pid = 0;
    if (cb_path_exists(path)) {
        cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

        if (code == CB_OK)
            code = cb_sqlite_locker(fd, path, pid, err);
        if (code != CB_OK || *pid != 0)
            return code;
    }
    return cb_sqlite_opener(path, pid, err);
}
