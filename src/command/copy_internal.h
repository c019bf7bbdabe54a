/*
 * copy_internal.h - one plain DuckDB file made, to a folder (copy.c) or an object store
 * (copy_remote.c).
 */
#ifndef CB_COMMAND_COPY_INTERNAL_H
#define CB_COMMAND_COPY_INTERNAL_H

#include "command/command_internal.h"
#include "storage/place.h"

typedef struct cb_owned_copy {
    cb_copy_result public; /* first */
    cb_arena arena;
    const char **removed; /* free() */
} cb_owned_copy;

typedef struct cb_copy {
    cb_ctx *ctx;
    const cb_copy_request *request;
    char base[CB_KEY_MAX + 1]; /* what the copy is called when only a folder is named */
    char folder[CB_PATH_MAX];
    char target[CB_PATH_MAX];
    char partial[CB_PATH_MAX];
    cb_transfer_hash hash; /* of the partial file, if it is known */
    cb_owned_copy *result;
    cb_error sync_error; /* of the thread that syncs the finished file */
} cb_copy;

/* Make c->partial from the source; *has_log: commits are in a log beside it. */
CB_MUST_USE cb_code cb_copy_make_partial(cb_copy *c, bool *has_log, cb_error *err);
/* Bring them into the file; where that cannot be and keep_log asks for it, the log stays. */
CB_MUST_USE cb_code cb_copy_fold(cb_copy *c, bool has_log, cb_error *err);

/* The whole verb when the target is an object store. */
CB_MUST_USE cb_code cb_copy_to_store(cb_copy *c, cb_error *err);

#endif
