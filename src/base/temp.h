/*
 * temp.h - private folders for what is gone when its process is gone.
 *
 * Such a folder is held by a lock as long as its process lives, and the lock ends with the process,
 * however that ends. So who makes a new one removes those beside it that a killed run left: a copy
 * of a database, or of a catalog with its keys, does not stay for good.
 */
#ifndef CB_BASE_TEMP_H
#define CB_BASE_TEMP_H

#include "base/ctx.h"
#include "base/file.h"

/* {0}: none. */
typedef struct cb_temp {
    char path[CB_PATH_MAX]; /* absolute when the folder was; "": none */
    int lock;               /* only with a path; -1: the file system has no locks */
} cb_temp;

/*
 * Make the folder `folder`/`prefix``16 hex digits`, mode 0700; `folder` NULL: $TMPDIR or /tmp.
 * Folders there of such a name, of this user, that nobody holds are removed first; links are not
 * followed, and what cannot be removed stays. On error out->path is "".
 */
CB_MUST_USE cb_code cb_temp_make(cb_ctx *ctx, const char *folder, const char *prefix, cb_temp *out,
                                 cb_error *err);
/* With all that is in it. For CB_CLEANUP; {0} is allowed. */
void cb_temp_free(cb_temp *temp);

/* $TMPDIR when it is absolute, else /tmp. Borrowed from the environment. */
const char *cb_temp_root(void);
/* The prefix of all that is made below it. */
extern const char cb_temp_prefix[];

/*
 * The same for a file in the making: open a new one, `folder`/`prefix``16 hex digits`, mode 0600,
 * for reading and writing. It is held as long as *fd is open; `path` gets its name.
 */
CB_MUST_USE cb_code cb_temp_file(cb_ctx *ctx, const char *folder, const char *prefix, int *fd,
                                 char path[CB_PATH_MAX], cb_error *err);
/* Remove the files of such names in `folder` that nobody holds; `deep`: and in the folders below it
   on the same file system, never through a link. What cannot be removed stays. */
void cb_temp_sweep_files(const char *folder, const char *prefix, bool deep);
/* Is `name` (without a folder) one that is made with `prefix`? */
bool cb_temp_is_name(const char *name, const char *prefix);

#endif
