/*
 * request.h - from one run's settings to the requests of canvasback.h. Contradictions between
 * options are refused here; nothing is run. The requests borrow from the config.
 */
#ifndef CB_CONFIG_REQUEST_H
#define CB_CONFIG_REQUEST_H

#include "config/config.h"

/*
 * program_directory and ask are left alone: they are the door's business. Of key file, passphrase
 * file, command and variable only those of the strongest layer are passed on.
 */
void cb_settings_fill(const cb_config *config, cb_settings *out);

/* The commands around a run: NULL where there is none. */
typedef struct cb_hooks {
    const char *before, *after, *on_failure;
} cb_hooks;

/*
 * Those that are in force for the command of this run. `before` and `after` of the file and the
 * environment belong to backup. In a program that such a command has started, only flags count:
 * else a line `after` that runs canvasback would start itself again and again.
 */
void cb_hooks_fill(const cb_config *config, cb_hooks *out);

/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_backup_request_fill(const cb_config *config, cb_backup_request *out,
                                           cb_error *err);
/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_restore_request_fill(const cb_config *config, cb_restore_request *out,
                                            cb_error *err);
/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_verify_request_fill(const cb_config *config, cb_verify_request *out,
                                           cb_error *err);
/* Without any rule the request is refused: CB_USAGE. */
CB_MUST_USE cb_code cb_expire_request_fill(const cb_config *config, cb_expire_request *out,
                                           cb_error *err);
/* Does any --keep rule for backups count? */
bool cb_has_keep_rules(const cb_config *config);
/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_copy_request_fill(const cb_config *config, cb_copy_request *out,
                                         cb_error *err);

/* What the options say of a lake. */
void cb_lake_options_fill(const cb_config *config, cb_lake_options *out);
/* CB_USAGE when an option of a lake is given for a `source` that is none. */
CB_MUST_USE cb_code cb_lake_options_check(const cb_config *config, const char *source,
                                          cb_error *err);

#endif
