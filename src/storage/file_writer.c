/*
 * file_writer.c - how an object comes into a folder: whole, durable, and first or not at all.
 *
 *   1. write tmp/<random>; the kernel is asked to start writing it out early
 *   2. fsync the file: from here its bytes are safe
 *   3. make missing folders of the key, each synced into its parent
 *   4. give it its name: link(2), which fails when the name is taken, or rename(2) to replace
 *   5. fsync the folder: from here its name is safe
 *   6. remove the temporary name
 *
 * Power that fails before 4 leaves a temporary file, between 4 and 5 perhaps a whole object, and
 * never a partial one, since 2 comes before 4.
 */
#include "storage/file_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

/* After so many bytes the kernel is told to begin with them, so that the fsync finds little left.
 */
#define WRITE_BACK_BYTES (UINT64_C(8) << 20)

enum {
    NAME_BYTES = 16,
    NAME_DIGITS = 2 * NAME_BYTES,
    FOLDERS_KEPT_MAX = 4096,
    FOLDER_ATTEMPTS = 10
};

typedef struct file_writer {
    cb_writer writer;
    cb_file_store *store;
    cb_put_mode mode;
    char key[CB_KEY_MAX + 1];
    char temporary[sizeof(CB_TEMPORARY_FOLDER "/") + NAME_DIGITS]; /* "": none is left */
    int fd;
    uint64_t size;
    uint64_t handed_over; /* bytes whose write-back has been asked for */
    bool is_committed;
} file_writer;

/* ---- folders -------------------------------------------------------------------------------- */

static cb_code sync_folder(cb_file_store *self, const char *folder, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = openat(self->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open the folder '%s' in '%s'", folder, self->path);
    if (cb_file_sync(fd, folder, err) != CB_OK)
        return cb_context(err, "repository '%s'", self->path);
    return CB_OK;
}

/* "a/b/c" -> "a/b"; "c" -> "." */
static void parent_of(const char *key, char out[CB_KEY_MAX + 1])
{
    const char *slash = strrchr(key, '/');
    size_t length = slash != NULL ? (size_t)(slash - key) : 0;

    memcpy(out, key, length);
    out[length] = '\0';
    if (length == 0)
        memcpy(out, ".", 2);
}

cb_code cb_file_store_sync_parent(cb_file_store *self, const char *key, cb_error *err)
{
    char folder[CB_KEY_MAX + 1];

    parent_of(key, folder);
    return sync_folder(self, folder, err);
}

static bool is_durable(cb_file_store *self, const char *folder)
{
    bool is_known = false;

    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->durable_count && !is_known; i++)
        is_known = strcmp(self->durable[i], folder) == 0;
    pthread_mutex_unlock(&self->lock);
    return is_known;
}

/* Forgetting one costs a sync more, so running out of memory here is no failure. */
static void remember_durable(cb_file_store *self, const char *folder)
{
    cb_error err;
    cb_code code = CB_OK;

    pthread_mutex_lock(&self->lock);
    if (self->durable_count == self->durable_capacity)
        code = cb_array_grow(&self->durable, &self->durable_capacity, sizeof(char *), &err);
    if (code == CB_OK && self->durable_count < FOLDERS_KEPT_MAX) {
        self->durable[self->durable_count] = strdup(folder);
        if (self->durable[self->durable_count] != NULL)
            self->durable_count++;
    }
    pthread_mutex_unlock(&self->lock);
}

void cb_file_store_forget_folders(cb_file_store *self)
{
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->durable_count; i++)
        free(self->durable[i]);
    self->durable_count = 0;
    pthread_mutex_unlock(&self->lock);
}

/*
 * Make the folder and its parents. A folder that is already there may have been made a moment ago
 * by another process that has not synced it yet: each is synced into its parent once by us, too.
 */
static cb_code make_folder(cb_file_store *self, const char *folder, cb_error *err)
{
    for (size_t end = 1;; end++) {
        char part[CB_KEY_MAX + 1];
        cb_code code;

        if (folder[end] != '/' && folder[end] != '\0')
            continue;
        memcpy(part, folder, end);
        part[end] = '\0';
        if (!is_durable(self, part)) {
            if (mkdirat(self->root, part, 0700) != 0 && errno != EEXIST)
                return cb_fail_errno(err, errno, "cannot make the folder '%s' in '%s'", part,
                                     self->path);
            code = cb_file_store_sync_parent(self, part, err);
            if (code != CB_OK)
                return code;
            remember_durable(self, part);
        }
        if (folder[end] == '\0')
            return CB_OK;
    }
}

/* ---- temporary files ------------------------------------------------------------------------ */

static cb_code explain_write(cb_error *err)
{
    if (err->code == CB_NO_SPACE)
        cb_hint(err, "Make room there, or expire old backups and run again.");
    if (err->code == CB_DENIED)
        cb_hint(err, "The user that runs this must be allowed to write there.");
    return err->code;
}

/* tmp/ needs no sync: what is in it is nothing until it has a name elsewhere. */
static cb_code make_temporary(cb_file_store *self, char name[], size_t name_size, int *fd,
                              cb_error *err)
{
    uint8_t random[NAME_BYTES];
    char hex[NAME_DIGITS + 1];

    cb_random(self->ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    snprintf(name, name_size, CB_TEMPORARY_FOLDER "/%s", hex);
    for (int attempt = 0; attempt < 2; attempt++) {
        *fd = openat(self->root, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (*fd >= 0) {
            (void)flock(*fd, LOCK_EX | LOCK_NB); /* so that nobody takes it for a left-over */
            return CB_OK;
        }
        if (errno != ENOENT)
            break;
        if (mkdirat(self->root, CB_TEMPORARY_FOLDER, 0700) != 0 && errno != EEXIST)
            break;
    }
    name[0] = '\0';
    cb_fail_errno(err, errno, "cannot make a file in '%s/" CB_TEMPORARY_FOLDER "'", self->path);
    return explain_write(err);
}

cb_code cb_file_store_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    cb_file_store *self = (cb_file_store *)store;
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char name[sizeof(CB_TEMPORARY_FOLDER "/") + NAME_DIGITS];
    struct stat facts;
    cb_code code = make_temporary(self, name, sizeof(name), &fd, err);

    if (code != CB_OK)
        return code;
    if (fstat(fd, &facts) != 0)
        code = cb_fail_errno(err, errno, "cannot ask '%s' for its time", self->path);
    else
        *out_us = (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000;
    (void)unlinkat(self->root, name, 0); /* else it is a left-over like any other */
    return code;
}

/* ---- the writer ----------------------------------------------------------------------------- */

static file_writer *of_writer(cb_writer *writer)
{
    return (file_writer *)writer; /* the first member */
}

static cb_code file_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    file_writer *self = of_writer(writer);

    if (cb_file_write(self->fd, self->temporary, self->size, data.data, data.size, err) != CB_OK) {
        cb_context(err, "object '%s' in '%s'", self->key, self->store->path);
        return explain_write(err);
    }
    self->size += data.size;
    if (self->size - self->handed_over >= WRITE_BACK_BYTES) {
        /* Only a wish: the fsync at the commit is what counts and what reports errors. */
        (void)sync_file_range(self->fd, (off_t)self->handed_over,
                              (off_t)(self->size - self->handed_over), SYNC_FILE_RANGE_WRITE);
        self->handed_over = self->size;
    }
    return CB_OK;
}

static bool cannot(int error_number)
{
    return error_number == EPERM || error_number == ENOSYS || error_number == EOPNOTSUPP ||
           error_number == EINVAL || error_number == EMLINK;
}

/* Is the object of that key our own file? A network file system may repeat a link that has already
   been made, and then says that it exists. */
static bool is_ours(const file_writer *self)
{
    struct stat ours;
    struct stat there;

    return fstat(self->fd, &ours) == 0 &&
           fstatat(self->store->root, self->key, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* 0 or an errno. A file renamed away has no temporary name any more. */
static int name_new(file_writer *self)
{
    int root = self->store->root;
    int problem;

    if (linkat(root, self->temporary, root, self->key, 0) == 0)
        return 0;
    problem = errno;
    if (problem == EEXIST && is_ours(self))
        return 0;
    if (!cannot(problem))
        return problem;
    if (renameat2(root, self->temporary, root, self->key, RENAME_NOREPLACE) != 0)
        return cannot(errno) ? EOPNOTSUPP : errno;
    self->temporary[0] = '\0';
    return 0;
}

static int name_replacing(file_writer *self)
{
    if (renameat(self->store->root, self->temporary, self->store->root, self->key) != 0)
        return errno;
    self->temporary[0] = '\0';
    return 0;
}

static cb_code give_name(file_writer *self, cb_error *err)
{
    cb_file_store *store = self->store;
    char folder[CB_KEY_MAX + 1];
    int problem = 0;

    parent_of(self->key, folder);
    for (int attempt = 0; attempt < FOLDER_ATTEMPTS; attempt++) {
        if (strcmp(folder, ".") != 0) {
            cb_code code = make_folder(store, folder, err);

            if (code != CB_OK)
                return code;
        }
        problem = self->mode == CB_PUT_NEW ? name_new(self) : name_replacing(self);
        if (problem != ENOENT)
            break;
        /* Someone removed an empty folder that we remember: make it again. */
        cb_file_store_forget_folders(store);
    }
    if (problem == EOPNOTSUPP) {
        cb_fail(err, CB_UNSUPPORTED,
                "the file system of '%s' cannot make a file only if its name is free", store->path);
        cb_hint(err, "Keep the repository on a local file system such as ext4, xfs or btrfs.");
        return err->code;
    }
    if (problem == EEXIST)
        return cb_fail(err, CB_EXISTS, "there is an object '%s' already", self->key);
    if (problem != 0)
        return cb_fail_errno(err, problem, "cannot name the object '%s' in '%s'", self->key,
                             store->path);
    return CB_OK;
}

static void remove_temporary(file_writer *self)
{
    /* If it fails the file is a left-over, which a later open removes. */
    if (self->temporary[0] != '\0')
        (void)unlinkat(self->store->root, self->temporary, 0);
    self->temporary[0] = '\0';
}

static cb_code commit(file_writer *self, cb_error *err)
{
    cb_code code;
    cb_code synced;
    cb_error sync_err = {0};

    /* Read-only is a fence against accidents; where modes mean nothing, it is none. */
    (void)fchmod(self->fd, 0400);
    code = cb_file_sync(self->fd, self->temporary, err);
    if (code == CB_OK)
        code = give_name(self, err);
    if (code != CB_OK && code != CB_EXISTS)
        return code;

    /* Also when another was first: the caller will rely on that object, whose writer may not have
       come to its own sync yet. */
    synced = cb_file_store_sync_parent(self->store, self->key, &sync_err);
    if (synced != CB_OK) {
        *err = sync_err;
        return synced;
    }
    self->is_committed = code == CB_OK;
    remove_temporary(self);
    return code;
}

static cb_code file_commit(cb_writer *writer, cb_error *err)
{
    file_writer *self = of_writer(writer);
    cb_code code;

    if (self->is_committed || self->temporary[0] == '\0')
        return cb_fail(err, CB_INTERNAL, "a writer was committed twice");
    code = commit(self, err);
    if (code == CB_OK || code == CB_EXISTS)
        return code;
    cb_context(err, "object '%s' in '%s'", self->key, self->store->path);
    return explain_write(err);
}

static void file_writer_free(cb_writer *writer)
{
    file_writer *self = of_writer(writer);

    remove_temporary(self);
    cb_fd_close(&self->fd);
    free(self);
}

static const cb_writer_ops file_writer_ops = {
    .write = file_write,
    .commit = file_commit,
    .free = file_writer_free,
};

cb_code cb_file_store_put(cb_store *store, const char *key, const cb_put_options *options,
                          cb_writer **out, cb_error *err)
{
    file_writer *writer;
    cb_code code;

    if (strcmp(key, CB_TEMPORARY_FOLDER) == 0 || cb_has_prefix(key, CB_TEMPORARY_FOLDER "/"))
        return cb_fail(err, CB_INTERNAL, "the key '%s' is the store's own", key);
    writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return cb_fail_memory(err, sizeof(*writer));
    writer->writer.ops = &file_writer_ops;
    writer->store = (cb_file_store *)store;
    writer->mode = options->mode;
    memcpy(writer->key, key, strlen(key) + 1);
    code = make_temporary(writer->store, writer->temporary, sizeof(writer->temporary), &writer->fd,
                          err);
    if (code != CB_OK) {
        free(writer);
        return code;
    }
    *out = &writer->writer;
    return CB_OK;
}
