/*
 * file.h - POSIX files without surprises: whole reads and writes, EINTR, folder syncs, paths.
 *
 * Paths are NUL-terminated raw bytes. Every failure names the path.
 */
#ifndef CB_BASE_FILE_H
#define CB_BASE_FILE_H

#include "base/bytes.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { CB_PATH_MAX = 4096 };

void cb_fd_close(int *fd); /* for CB_CLEANUP: closes *fd if >= 0 and sets it to -1 */

void cb_folder_close(DIR **folder); /* the same for a folder: NULL is allowed, NULL after */

/* open(2) with O_CLOEXEC, retried on EINTR. On error *out is -1. */
CB_MUST_USE cb_code cb_file_open(const char *path, int flags, mode_t mode, int *out, cb_error *err);
/* Read up to `size` bytes at `offset`; *got is less only at the end of the file. */
CB_MUST_USE cb_code cb_file_read(int fd, const char *path, uint64_t offset, void *into, size_t size,
                                 size_t *got, cb_error *err);
CB_MUST_USE cb_code cb_file_write(int fd, const char *path, uint64_t offset, const void *data,
                                  size_t size, cb_error *err);
CB_MUST_USE cb_code cb_file_sync(int fd, const char *path, cb_error *err);
/* fsync the folder itself, so that names made, renamed or removed in it are durable. */
CB_MUST_USE cb_code cb_folder_sync(const char *path, cb_error *err);
/* fsync the folder that holds `path`. */
CB_MUST_USE cb_code cb_parent_sync(const char *path, cb_error *err);
/* Make `path` and its missing parents (mode 0700 for new ones), each synced into its parent. */
CB_MUST_USE cb_code cb_folder_make(const char *path, cb_error *err);
/* Remove a tree; missing is CB_OK. Does not follow links, does not cross into other devices. */
CB_MUST_USE cb_code cb_tree_remove(const char *path, cb_error *err);
/* All of a small file; CB_TOO_LARGE past into->limit. */
CB_MUST_USE cb_code cb_file_slurp(const char *path, cb_buf *into, cb_error *err);
/* Free bytes for an unprivileged user on the file system that holds `path` (or its nearest
   existing parent). */
CB_MUST_USE cb_code cb_free_space(const char *path, uint64_t *out, cb_error *err);

/* "a" + "b" -> "a/b". CB_TOO_LARGE past CB_PATH_MAX. */
CB_MUST_USE cb_code cb_path_join(const char *folder, const char *name, char out[CB_PATH_MAX],
                                 cb_error *err);
/* Absolute, with links resolved as far as it exists; the rest is appended as it is. */
CB_MUST_USE cb_code cb_path_absolute(const char *path, char out[CB_PATH_MAX], cb_error *err);
const char *cb_path_base(const char *path); /* behind the last slash */
bool cb_path_exists(const char *path);

#endif
