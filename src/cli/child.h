/*
 * child.h - run another program, give it input and take its answers. Without a shell.
 */
#ifndef CB_CLI_CHILD_H
#define CB_CLI_CHILD_H

#include "base/bytes.h"

/*
 * Run argv[0] (looked for in PATH) in the C locale with `input` on its standard input; append what
 * it says to `output` and `errors` (limits: theirs). *status is its exit code, 128 + n for a
 * signal. Errors: CB_NOT_FOUND when there is no such program, CB_IO, CB_TOO_LARGE.
 */
CB_MUST_USE cb_code cb_spawn(const char *const *argv, cb_bytes input, cb_buf *output,
                             cb_buf *errors, int *status, cb_error *err);

/* Is there a program of this name in PATH? */
bool cb_program_exists(const char *name);

#endif
