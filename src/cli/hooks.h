/*
 * hooks.h - the commands that users put around a run: --before, --after, --on-failure.
 *
 * They run by the shell, what they print goes to standard error, and they get nothing that this
 * program was not given itself: the environment is ours and a few CANVASBACK_HOOK... variables.
 */
#ifndef CB_CLI_HOOKS_H
#define CB_CLI_HOOKS_H

#include "cli/door.h"

/* Errors: those of cb_run_command, with "--before: " in front. */
CB_MUST_USE cb_code cb_hook_before(cb_door *door, cb_error *err);

/*
 * Run --after where it is due. `failure` is what the run ended with, code CB_OK if it went well.
 * Errors: those of cb_run_command, said so that the user knows that the run itself was good.
 */
CB_MUST_USE cb_code cb_hook_after(cb_door *door, const cb_error *failure, cb_error *err);

/* Run --on-failure; if that fails too, it is said. */
void cb_hook_failure(cb_door *door, const cb_error *failure);

#endif
