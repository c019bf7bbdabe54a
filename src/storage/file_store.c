/*
 * file_store.c - a repository in a folder: an object is a read-only file whose path is its key.
 *
 * Beside the objects there is only tmp/, where objects are written before they get their names.
 * What lies there belongs to a live writer, or to one that died: then a later open removes it.
 */
#include "storage/file_store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

/* Few writers take that long for one object; those that do hold a lock on its file. */
#define LEFT_OVER_US (INT64_C(24) * 3600 * 1000000)

static cb_file_store *of_store(cb_store *store)
{
    return (cb_file_store *)store; /* the first member */
}

static cb_code file_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                        cb_buf *into, cb_error *err)
{
    cb_file_store *self = of_store(store);
    CB_CLEANUP(cb_fd_close) int fd = -1;
    struct stat facts;
    uint64_t rest;
    size_t got;
    cb_code code;

    /* A pipe that someone put there must not make us wait for a writer. */
    do
        fd = openat(self->root, key, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot read the object '%s' in '%s'", key, self->path);
    if (fstat(fd, &facts) != 0)
        return cb_fail_errno(err, errno, "cannot look at the object '%s' in '%s'", key, self->path);
    if (!S_ISREG(facts.st_mode))
        return cb_fail(err, CB_NOT_FOUND, "'%s' in '%s' is not a file", key, self->path);

    if (offset >= (uint64_t)facts.st_size)
        return CB_OK;
    rest = (uint64_t)facts.st_size - offset;
    if (rest > length)
        rest = length;
    code = cb_buf_reserve(into, (size_t)rest, err);
    if (code == CB_OK)
        code = cb_file_read(fd, key, offset, into->data + into->size, (size_t)rest, &got, err);
    if (code != CB_OK)
        return cb_context(err, "object '%s' in '%s'", key, self->path);
    into->size += got;
    return CB_OK;
}

/*
 * The folder of an object that is gone, if it is empty. Only those far down, which belong to one
 * matter (session/N/n) and pile up: a folder that many share would be missed by a writer who knows
 * it to be durable. It needs no sync: an empty folder that comes back is nothing.
 */
static void remove_folder(const cb_file_store *self, const char *key)
{
    const char *slash = strrchr(key, '/');
    char folder[CB_KEY_MAX + 1];
    unsigned depth = 0;

    if (slash == NULL)
        return;
    memcpy(folder, key, (size_t)(slash - key));
    folder[slash - key] = '\0';
    for (const char *at = folder; *at != '\0'; at++)
        depth += *at == '/';
    if (depth >= 2)
        (void)unlinkat(self->root, folder, AT_REMOVEDIR);
}

/*
 * Durable before it returns: a caller that removes top-down (what names, then what is named) must
 * not find the name back after a power failure. A missing object may be one whose removal was
 * interrupted before its sync, so the folder is synced then too.
 */
static cb_code file_remove(cb_store *store, const char *key, cb_error *err)
{
    cb_file_store *self = of_store(store);
    cb_code code;

    if (unlinkat(self->root, key, 0) != 0 && errno != ENOENT && errno != ENOTDIR)
        return cb_fail_errno(err, errno, "cannot remove the object '%s' in '%s'", key, self->path);
    code = cb_file_store_sync_parent(self, key, err);
    if (code == CB_OK)
        remove_folder(self, key);
    return code == CB_NOT_FOUND ? CB_OK : code;
}

static cb_code file_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return cb_free_space(of_store(store)->path, out, err);
}

static const char *file_address(cb_store *store)
{
    return of_store(store)->path;
}

static void file_close(cb_store *store)
{
    cb_file_store *self = of_store(store);

    cb_file_store_forget_folders(self);
    free(self->durable);
    pthread_mutex_destroy(&self->lock);
    cb_fd_close(&self->root);
    free(self->path);
    free(self);
}

static const cb_store_ops file_ops = {
    .get = file_get,
    .put = cb_file_store_put,
    .list = cb_file_store_list,
    .remove = file_remove,
    .now = cb_file_store_now,
    .free_space = file_free_space,
    .stranger = cb_file_store_stranger,
    .address = file_address,
    .close = file_close,
};

static bool is_older(int folder, const char *name, int64_t now_us)
{
    struct stat facts;

    return fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(facts.st_mode) &&
           (int64_t)facts.st_mtim.tv_sec * 1000000 < now_us - LEFT_OVER_US;
}

/* A live writer holds a lock on its file, which goes with the process. */
static bool is_held(int folder, const char *name)
{
    CB_CLEANUP(cb_fd_close)
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0;
}

/*
 * Remove what dead writers left. Our clock only raises the suspicion, the store's own decides.
 * Nothing here may stop an open: the folder may be read-only, or someone else cleans too.
 */
static void remove_left_overs(cb_file_store *self)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    int64_t now_us = INT64_MIN;
    const struct dirent *entry;
    int fd = openat(self->root, CB_TEMPORARY_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    folder = fdopendir(fd);
    if (folder == NULL) {
        close(fd);
        return;
    }
    for (entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        cb_error err;

        if (!is_older(fd, entry->d_name, cb_now_us(self->ctx)))
            continue;
        if (now_us == INT64_MIN && cb_file_store_now(&self->store, &now_us, &err) != CB_OK)
            return;
        if (is_older(fd, entry->d_name, now_us) && !is_held(fd, entry->d_name))
            (void)unlinkat(fd, entry->d_name, 0);
    }
}

static cb_code open_root(const char *path, bool make, int *out, cb_error *err)
{
    cb_code code;

    if (make) {
        code = cb_folder_make(path, err);
        if (code == CB_EXISTS)
            return cb_fail(err, CB_UNSUPPORTED, "'%s' is not a folder", path);
        if (code != CB_OK)
            return code;
    }
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0)
        return CB_OK;
    if (errno == ENOTDIR && cb_path_exists(path))
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is not a folder", path);
    code = cb_fail_errno(err, errno, "cannot open the folder '%s'", path);
    err->in_repository = code == CB_NOT_FOUND;
    return code;
}

cb_code cb_file_store_open(cb_ctx *ctx, const char *path, bool make, cb_store **out, cb_error *err)
{
    cb_file_store *self = calloc(1, sizeof(*self));
    cb_code code;

    *out = NULL;
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->store.ops = &file_ops;
    self->ctx = ctx;
    self->root = -1;
    pthread_mutex_init(&self->lock, NULL);
    self->path = strdup(path);
    code = self->path != NULL ? open_root(path, make, &self->root, err)
                              : cb_fail_memory(err, strlen(path));
    if (code != CB_OK) {
        file_close(&self->store);
        return code;
    }
    remove_left_overs(self);
    *out = &self->store;
    return CB_OK;
}
