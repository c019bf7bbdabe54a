/*
 * last_run.h - how the last backup, verify and expire of each name ended on this machine.
 *
 * A failed run leaves nothing in the repository that could tell of it; what metrics and report say
 * about it is noted here: one small JSON file for each repository, name and command, in
 * $XDG_STATE_HOME/canvasback/runs (~/.local/state/...). It may be removed at any time.
 */
#ifndef CB_CLI_LAST_RUN_H
#define CB_CLI_LAST_RUN_H

#include "base/arena.h"
#include "config/config.h"

typedef struct cb_last_run {
    const char *name;
    const char *command;
    int64_t started_us, finished_us;
    int exit_code;
    const char *message; /* of the failure; "" none */
} cb_last_run;

typedef struct cb_last_runs {
    cb_arena arena;
    cb_last_run *items; /* by name, then by command */
    size_t count;
    size_t capacity;
} cb_last_runs;
void cb_last_runs_free(cb_last_runs *runs);

/* `repository` is an address as the user gave it; its settings (behind '?') are not noted. */
CB_MUST_USE cb_code cb_last_run_write(const cb_config *config, const char *repository,
                                      const cb_last_run *run, cb_error *err);

/* Those of one repository. A file that is no such note is passed over; no folder: none. */
CB_MUST_USE cb_code cb_last_runs_read(const cb_config *config, const char *repository,
                                      cb_last_runs *out, cb_error *err);

#endif
