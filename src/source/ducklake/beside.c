/*
 * beside.c - see beside.h.
 */
#include "source/ducklake/beside.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

cb_code cb_lake_beside_make(cb_ctx *ctx, const char *near, cb_lake_beside *out, cb_error *err)
{
    char folder[CB_PATH_MAX];
    cb_code code;

    *out = (cb_lake_beside){.lock = -1};
    if (near == NULL)
        return cb_temp_make(ctx, NULL, cb_temp_prefix, out, err);
    code = cb_lake_folder_of(near, folder, err);
    if (code == CB_OK)
        code = cb_folder_make(folder, err);
    return code == CB_OK ? cb_temp_make(ctx, folder, prefix, out, err) : code;
}

void cb_lake_beside_free(cb_lake_beside *beside)
{
    cb_temp_free(beside);
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
