/*
 * beside.h - a private folder for what is not yet believed, beside the file that it is to become
 * or among the temporary files.
 *
 * The folder is held by a lock as long as its process lives; who makes a new one removes those
 * beside it that a killed run left. Internal to this folder.
 */
#ifndef CB_SOURCE_DUCKLAKE_BESIDE_H
#define CB_SOURCE_DUCKLAKE_BESIDE_H

#include "base/temp.h"

typedef cb_temp cb_lake_beside;

/* `near`: a file; the folder is made in the same folder, so that what is in it can be renamed to
   it (missing folders are made). NULL: below $TMPDIR or /tmp. */
CB_MUST_USE cb_code cb_lake_beside_make(cb_ctx *ctx, const char *near, cb_lake_beside *out,
                                        cb_error *err);
void cb_lake_beside_free(cb_lake_beside *beside); /* for CB_CLEANUP, with all that is in it */

/* The folder that holds `path`, without a slash behind ("/" aside). */
CB_MUST_USE cb_code cb_lake_folder_of(const char *path, char out[CB_PATH_MAX], cb_error *err);

/* Bring `from` to the new name `to`: renamed, or copied and synced to another file system. */
CB_MUST_USE cb_code cb_lake_beside_move(cb_ctx *ctx, const char *from, const char *to,
                                        cb_error *err);

/* Permissions and owner of the file `like`, when there is one, for `path`; else 0600. */
CB_MUST_USE cb_code cb_lake_beside_access(const char *path, const char *like, cb_error *err);

#endif
