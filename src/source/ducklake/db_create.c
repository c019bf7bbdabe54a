/*
 * db_create.c - a new catalog file is built under a name of its own beside the place where it is to
 * be, synced, and only then renamed: a crash leaves a file that nobody looks for, never half a
 * catalog.
 */
#include "source/ducklake/db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

cb_code cb_lake_create_name(cb_ctx *ctx, const char *path, char out[CB_PATH_MAX], cb_error *err)
{
    uint8_t chance[8];
    char hex[2 * sizeof(chance) + 1];
    int length;

    if (cb_path_exists(path)) {
        cb_fail(err, CB_EXISTS, "'%s' exists", path);
        cb_hint(err, "Move it away, or name another file.");
        return err->code;
    }
    cb_random(ctx, chance, sizeof(chance));
    cb_hex(chance, sizeof(chance), hex);
    length = snprintf(out, CB_PATH_MAX, "%s.canvasback-%s", path, hex);
    if (length < 0 || length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", path);
    return CB_OK;
}

/* File systems that know no rename without replacing (some network ones) know links. */
static int rename_new(const char *made, const char *path)
{
    if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (link(made, path) != 0)
        return errno;
    unlink(made); /* if it stays, it is a second name, which does no harm */
    return 0;
}

cb_code cb_lake_create_publish(const char *made, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    int failure;

    if (cb_file_open(made, O_RDONLY, 0, &fd, err) != CB_OK || cb_file_sync(fd, made, err) != CB_OK)
        return err->code;
    failure = rename_new(made, path);
    if (failure != 0)
        return cb_fail_errno(err, failure, "cannot put '%s' in its place", path);
    return cb_parent_sync(path, err);
}

void cb_lake_create_abandon(const char *made)
{
    static const char *const suffixes[] = {
        "", ".wal", ".wal.checkpoint", ".wal.recovery", "-wal", "-journal", "-shm"};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        char path[CB_PATH_MAX + 32];
        int length = snprintf(path, sizeof(path), "%s%s", made, suffixes[i]);

        if (length > 0 && (size_t)length < sizeof(path))
            unlink(path);
    }
}
