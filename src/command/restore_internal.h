/*
 * restore_internal.h - which backup a restore brings back, and as of when.
 */
#ifndef CB_COMMAND_RESTORE_INTERNAL_H
#define CB_COMMAND_RESTORE_INTERNAL_H

#include "command/command_internal.h"

typedef struct cb_restore_choice {
    cb_manifest_ref ref;
    cb_manifest *manifest; /* owned by the caller */
    bool cut_by_time;      /* of a lake: to its newest snapshot that is not after request.time_us */
} cb_restore_choice;

/*
 * By label, else by time (the newest whose point is not after it), else by a lake's snapshot (the
 * newest that holds it), else the newest. For a time a lake's later backup is taken when that may
 * hold a newer snapshot of before it. On error out->manifest is NULL.
 * Errors: CB_NOT_FOUND (in_repository), CB_USAGE, those of the repository.
 */
CB_MUST_USE cb_code cb_restore_choose(cb_repo *repo, const cb_restore_request *request,
                                      cb_restore_choice *out, cb_error *err);

#endif
