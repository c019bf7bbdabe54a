/*
 * files.c - a lake's files by URL: a path of this machine, or an object in a bucket.
 *
 * The catalog's words are DuckDB's: bucket.c says which store they mean. One store serves all of a
 * bucket, with its keys whole.
 *
 * A local file is made under another name in its folder and renamed when it is synced: a reader
 * finds all of it, or nothing.
 */
#include "source/ducklake/files_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "source/ducklake/bucket.h"

enum { PIECE_BYTES = 1 << 20 };

bool cb_lake_url_is_remote(const char *url)
{
    return cb_lake_scheme_length(url) > 0;
}

cb_code cb_lake_files_open(cb_ctx *ctx, const char *hint, cb_lake_files **out, cb_error *err)
{
    cb_lake_files *files = calloc(1, sizeof(*files));

    *out = NULL;
    if (files == NULL)
        return cb_fail_memory(err, sizeof(*files));
    files->ctx = ctx;
    pthread_mutex_init(&files->lock, NULL);
    if (hint != NULL) {
        files->hint = strdup(hint);
        if (files->hint == NULL) {
            cb_lake_files_close(files);
            return cb_fail_memory(err, strlen(hint) + 1);
        }
    }
    *out = files;
    return CB_OK;
}

void cb_lake_files_close(cb_lake_files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->count; i++) {
        cb_store_close(files->buckets[i]->store);
        free(files->buckets[i]);
    }
    free(files->buckets);
    free(files->hint);
    pthread_mutex_destroy(&files->lock);
    free(files);
}

void cb_lake_files_cleanup(cb_lake_files **files)
{
    cb_lake_files_close(*files);
    *files = NULL;
}

uint64_t cb_lake_files_requests(cb_lake_files *files)
{
    uint64_t sum = 0;

    pthread_mutex_lock(&files->lock);
    for (size_t i = 0; i < files->count; i++) {
        cb_traffic traffic;

        cb_store_traffic(files->buckets[i]->store, &traffic);
        sum += traffic.requests;
    }
    pthread_mutex_unlock(&files->lock);
    return sum;
}

/* ---- stores --------------------------------------------------------------------------------- */

static cb_code open_store(cb_lake_files *files, const char *url, cb_store **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf address = {0};
    cb_code code = cb_lake_bucket_address(url, files->hint, &address, err);

    return code == CB_OK ? cb_store_open(files->ctx, (const char *)address.data, false, out, err)
                         : code;
}

/* Under the lock. */
static cb_code find_bucket(cb_lake_files *files, const char *url, size_t root, cb_store **out,
                           cb_error *err)
{
    cb_lake_bucket *made;
    cb_code code = CB_OK;

    for (size_t i = 0; i < files->count; i++) {
        const cb_lake_bucket *at = files->buckets[i];

        if (strncmp(at->root, url, root) == 0 && at->root[root] == '\0') {
            *out = at->store;
            return CB_OK;
        }
    }
    if (root >= sizeof(made->root))
        return cb_fail(err, CB_TOO_LARGE, "the name of the bucket of '%.200s...' is too long", url);
    if (files->count == files->capacity)
        code = cb_array_grow(&files->buckets, &files->capacity, sizeof(*files->buckets), err);
    if (code != CB_OK)
        return code;
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return cb_fail_memory(err, sizeof(*made));
    memcpy(made->root, url, root);
    code = open_store(files, url, &made->store, err);
    if (code != CB_OK) {
        free(made);
        return code;
    }
    files->buckets[files->count++] = made;
    *out = made->store;
    return CB_OK;
}

static cb_code check_key(const char *url, const char *key, cb_error *err)
{
    if (cb_key_is_plain(key))
        return CB_OK;
    if (strlen(key) > CB_OBJECT_KEY_MAX)
        return cb_fail(err, CB_UNSUPPORTED, "the key in '%.200s...' is longer than %d bytes", url,
                       (int)CB_OBJECT_KEY_MAX);
    cb_fail(err, CB_UNSUPPORTED, "'%.400s' cannot be the address of an object", url);
    cb_hint(err, "A part of its key is empty, '.' or '..', or has control characters.");
    return err->code;
}

cb_code cb_lake_files_store(cb_lake_files *files, const char *url, bool is_prefix, cb_store **store,
                            const char **key, cb_error *err)
{
    size_t root = cb_lake_bucket_size(url);
    cb_code code;

    *store = NULL;
    *key = "";
    if (root == 0)
        return cb_lake_unknown_scheme(url, err);
    *key = url + root + (url[root] == '/');
    code = is_prefix ? CB_OK : check_key(url, *key, err);
    if (code != CB_OK)
        return code;
    pthread_mutex_lock(&files->lock);
    code = find_bucket(files, url, root, store, err);
    pthread_mutex_unlock(&files->lock);
    return code;
}

cb_code cb_lake_files_make_bucket(cb_lake_files *files, const char *data_path, cb_error *err)
{
    cb_store *store;
    const char *key;
    cb_code code = cb_lake_files_store(files, data_path, true, &store, &key, err);

    return code == CB_OK ? cb_store_make_bucket(store, err) : code;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* O_NONBLOCK: a pipe of that name must not make us wait. */
cb_code cb_lake_local_open(const char *path, int *out, struct stat *facts, cb_error *err)
{
    cb_code code = cb_file_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, out, err);

    if (code != CB_OK)
        return code;
    if (fstat(*out, facts) != 0)
        code = cb_fail_errno(err, errno, "cannot look at '%s'", path);
    else if (!S_ISREG(facts->st_mode))
        code = cb_fail(err, CB_CORRUPT, "'%s' is not a plain file", path);
    if (code != CB_OK)
        cb_fd_close(out);
    return code;
}

static cb_code read_local(const char *path, uint64_t offset, uint64_t length, cb_buf *into,
                          cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    struct stat facts;
    uint64_t left;
    size_t got;
    cb_code code = cb_lake_local_open(path, &fd, &facts, err);

    if (code != CB_OK)
        return code;
    left = (uint64_t)facts.st_size > offset ? (uint64_t)facts.st_size - offset : 0;
    if (length > left)
        length = left;
    if (length > SIZE_MAX / 2)
        return cb_fail(err, CB_TOO_LARGE, "'%s' is too large to be read at once", path);
    code = cb_buf_reserve(into, (size_t)length, err);
    if (code == CB_OK)
        code = cb_file_read(fd, path, offset, into->data + into->size, (size_t)length, &got, err);
    if (code == CB_OK)
        into->size += got;
    return code;
}

cb_code cb_lake_files_read(cb_lake_files *files, const char *url, uint64_t offset, uint64_t length,
                           cb_buf *into, cb_error *err)
{
    cb_store *store;
    const char *key;
    cb_code code;

    if (!cb_lake_url_is_remote(url))
        return read_local(url, offset, length, into, err);
    code = cb_lake_files_store(files, url, false, &store, &key, err);
    return code == CB_OK ? cb_store_get(store, key, offset, length, into, err) : code;
}

cb_code cb_lake_files_size(cb_lake_files *files, const char *url, uint64_t *out, cb_error *err)
{
    cb_store *store;
    const char *key;
    struct stat facts;
    cb_code code;

    *out = 0;
    if (cb_lake_url_is_remote(url)) {
        code = cb_lake_files_store(files, url, false, &store, &key, err);
        return code == CB_OK ? cb_store_size(store, key, out, err) : code;
    }
    if (stat(url, &facts) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", url);
    if (!S_ISREG(facts.st_mode))
        return cb_fail(err, CB_CORRUPT, "'%s' is not a plain file", url);
    *out = (uint64_t)facts.st_size;
    return CB_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Like mkdir -p: the lake belongs to whoever uses it, so the usual permissions count. */
static cb_code make_folders(const char *path, cb_error *err)
{
    char part[CB_PATH_MAX];
    const char *end = cb_path_base(path);

    if ((size_t)(end - path) >= sizeof(part))
        return cb_fail(err, CB_TOO_LARGE, "the path of '%.64s' is too long", end);
    for (const char *at = path + 1; at < end; at++) {
        if (*at != '/')
            continue;
        memcpy(part, path, (size_t)(at - path));
        part[at - path] = '\0';
        if (mkdir(part, 0777) == 0) {
            if (cb_parent_sync(part, err) != CB_OK)
                return err->code;
        } else if (errno != EEXIST) {
            return cb_fail_errno(err, errno, "cannot make the folder '%s'", part);
        }
    }
    return CB_OK;
}

/* A file that is not finished, gone at the end of the scope. */
typedef struct unfinished {
    char path[CB_PATH_MAX];
    int fd;
} unfinished;

static void unfinished_remove(unfinished *file)
{
    cb_fd_close(&file->fd);
    if (file->path[0] != '\0')
        (void)unlink(file->path);
}

/* Beside the file it will be; no suffix that a lake takes for one of its own. */
static cb_code unfinished_make(cb_ctx *ctx, const char *path, unfinished *out, cb_error *err)
{
    uint64_t number;
    char name[48];
    cb_code code;

    cb_random(ctx, &number, sizeof(number));
    snprintf(name, sizeof(name), ".canvasback-%016llx.tmp", (unsigned long long)number);
    if ((size_t)(cb_path_base(path) - path) + strlen(name) >= sizeof(out->path))
        return cb_fail(err, CB_TOO_LARGE, "the path '%.200s...' is too long", path);
    snprintf(out->path, sizeof(out->path), "%.*s%s", (int)(cb_path_base(path) - path), path, name);
    code = cb_file_open(out->path, O_WRONLY | O_CREAT | O_EXCL, 0666, &out->fd, err);
    if (code != CB_OK)
        out->path[0] = '\0';
    return code;
}

static cb_code copy_bytes(cb_ctx *ctx, int from, const char *from_path, const unfinished *to,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf piece = {0};
    cb_code code = cb_buf_reserve(&piece, PIECE_BYTES, err);
    uint64_t at = 0;

    while (code == CB_OK) {
        size_t got;

        code = cb_file_read(from, from_path, at, piece.data, PIECE_BYTES, &got, err);
        if (code == CB_OK && got == 0)
            return CB_OK;
        if (code == CB_OK)
            code = cb_file_write(to->fd, to->path, at, piece.data, got, err);
        if (code == CB_OK)
            code = cb_check_cancel(ctx, err);
        at += got;
    }
    return code;
}

/* Take `from` away: its name becomes that of the unfinished file. *moved false: another device. */
static cb_code take_file(const char *from, int fd, unfinished *to, bool *moved, cb_error *err)
{
    struct stat usual;

    *moved = false;
    /* It has the permissions of a scratch file; the new one those that are usual there. */
    if (fstat(to->fd, &usual) != 0 || fchmod(fd, usual.st_mode & 0777) != 0)
        return CB_OK;
    if (rename(from, to->path) != 0) {
        if (errno == EXDEV || errno == EACCES || errno == EPERM)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot move '%s' to '%s'", from, to->path);
    }
    *moved = true;
    return CB_OK;
}

static cb_code put_local(cb_ctx *ctx, const char *path, const char *from, bool may_move,
                         cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(unfinished_remove) unfinished made = {.fd = -1};
    struct stat facts;
    bool moved = false;
    cb_code code = cb_lake_local_open(from, &fd, &facts, err);

    if (code == CB_OK)
        code = make_folders(path, err);
    if (code == CB_OK)
        code = unfinished_make(ctx, path, &made, err);
    if (code == CB_OK && may_move)
        code = take_file(from, fd, &made, &moved, err);
    if (code == CB_OK && !moved)
        code = copy_bytes(ctx, fd, from, &made, err);
    if (code == CB_OK)
        code = cb_file_sync(moved ? fd : made.fd, path, err);
    if (code == CB_OK && rename(made.path, path) != 0)
        code = cb_fail_errno(err, errno, "cannot put '%s' in its place", path);
    if (code != CB_OK)
        return code;
    made.path[0] = '\0';
    return cb_parent_sync(path, err);
}

static void writer_end(cb_writer **writer)
{
    cb_writer_free(*writer);
}

static cb_code put_remote(cb_ctx *ctx, cb_store *store, const char *key, const char *from,
                          cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(cb_buf_free) cb_buf piece = {0};
    CB_CLEANUP(writer_end) cb_writer *writer = NULL;
    struct stat facts;
    uint64_t at = 0;
    size_t got = PIECE_BYTES;
    cb_code code = cb_lake_local_open(from, &fd, &facts, err);

    if (code == CB_OK)
        code = cb_buf_reserve(&piece, PIECE_BYTES, err);
    if (code == CB_OK)
        code = cb_store_put_with(
            store, key,
            &(cb_put_options){.mode = CB_PUT_REPLACE, .about_bytes = (uint64_t)facts.st_size},
            &writer, err);
    while (code == CB_OK && got > 0) {
        code = cb_file_read(fd, from, at, piece.data, PIECE_BYTES, &got, err);
        if (code == CB_OK)
            code = cb_writer_write(writer, cb_bytes_of(piece.data, got), err);
        if (code == CB_OK)
            code = cb_check_cancel(ctx, err);
        at += got;
    }
    return code == CB_OK ? cb_writer_commit(writer, err) : code;
}

cb_code cb_lake_files_put(cb_lake_files *files, const char *url, const char *from, bool may_move,
                          cb_error *err)
{
    cb_store *store;
    const char *key;
    cb_code code;

    if (!cb_lake_url_is_remote(url))
        return put_local(files->ctx, url, from, may_move, err);
    code = cb_lake_files_store(files, url, false, &store, &key, err);
    return code == CB_OK ? put_remote(files->ctx, store, key, from, err) : code;
}

cb_code cb_lake_files_remove(cb_lake_files *files, const char *url, cb_error *err)
{
    cb_store *store;
    const char *key;
    cb_code code;

    if (cb_lake_url_is_remote(url)) {
        code = cb_lake_files_store(files, url, false, &store, &key, err);
        return code == CB_OK ? cb_store_remove(store, key, err) : code;
    }
    if (unlink(url) == 0)
        return cb_parent_sync(url, err);
    if (errno == ENOENT || errno == ENOTDIR)
        return CB_OK;
    return cb_fail_errno(err, errno, "cannot remove '%s'", url);
}
