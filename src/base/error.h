/*
 * error.h - making and enriching a cb_error (declared in canvasback.h).
 *
 * The first place that knows makes the error; places on the way up add what they were doing;
 * nobody logs it except the front door. Each call returns err->code, so that it can be returned:
 * `return cb_fail(err, CB_CORRUPT, "pack '%s' has no footer", key);`
 */
#ifndef CB_BASE_ERROR_H
#define CB_BASE_ERROR_H

#include "base/macros.h"

#include <stdarg.h>

cb_code cb_fail(cb_error *err, cb_code code, const char *format, ...) CB_PRINTF(3, 4);

/*
 * The same from an errno: ENOENT/ENOTDIR not-found, EEXIST exists, EACCES/EPERM/EROFS denied,
 * ENOSPC/EDQUOT/EFBIG no-space, ENOMEM no-memory, all else io. Appends ": <strerror>".
 */
cb_code cb_fail_errno(cb_error *err, int error_number, const char *format, ...) CB_PRINTF(3, 4);

/* CB_NO_MEMORY for `bytes` bytes. */
cb_code cb_fail_memory(cb_error *err, size_t bytes);

/* Set the hint: a sentence that says what to do. The first hint stays. */
void cb_hint(cb_error *err, const char *format, ...) CB_PRINTF(2, 3);

/* Put "<text>: " before the message. */
cb_code cb_context(cb_error *err, const char *format, ...) CB_PRINTF(2, 3);

void cb_error_clear(cb_error *err);

/* A failure that does not matter; the reason stands beside the call. */
static inline void cb_ignore(cb_code code)
{
    (void)code;
}

#endif
