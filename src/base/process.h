/*
 * process.h - running a hook command and asking about other processes.
 */
#ifndef CB_BASE_PROCESS_H
#define CB_BASE_PROCESS_H

#include "base/ctx.h"

/*
 * Run `command` by /bin/sh -c with `environment` added (NULL-terminated "K=V" list, may be NULL),
 * `input` (may be NULL) on standard input, standard output sent to our standard error. Waits.
 * Errors: CB_IO when it cannot start or exits non-zero (message names the status), CB_CANCELLED.
 */
CB_MUST_USE cb_code cb_run_command(cb_ctx *ctx, const char *command, const char *const *environment,
                                   const char *input, cb_error *err);

/*
 * Run `command` by /bin/sh -c with nothing on standard input, and append what it writes on standard
 * output to `into`, whose limit must be set; standard error is ours. Its text stays out of
 * messages: it may hold a secret, as the output does. Errors: CB_TOO_LARGE past the limit; CB_IO
 * when it cannot start, exits non-zero or has not ended after `timeout_us` (0: no limit);
 * CB_CANCELLED. Whatever comes back, nothing of the command is left running.
 */
CB_MUST_USE cb_code cb_run_output(cb_ctx *ctx, const char *command, int64_t timeout_us,
                                  cb_buf *into, cb_error *err);

/* What this process can be recognised by: host name, boot id, pid, pid namespace. */
typedef struct cb_process_identity {
    char host[256];
    char boot_id[64];
    char pid_namespace[64];
    int64_t pid;
} cb_process_identity;
void cb_process_self(cb_process_identity *out);
/* On the same host, boot and pid namespace as we are, and no such process exists any more. */
bool cb_process_is_gone(const cb_process_identity *other);

#endif
