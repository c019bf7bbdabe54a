/*
 * request.h - from one run's settings to the requests of canvasback.h. Contradictions between
 * options are refused here; nothing is run. The requests borrow from the config.
 */
#ifndef CB_CONFIG_REQUEST_H
#define CB_CONFIG_REQUEST_H

#include "config/config.h"

/* program_directory is left alone: the door knows where its program is. */
void cb_settings_fill(const cb_config *config, cb_settings *out);

void cb_backup_request_fill(const cb_config *config, cb_backup_request *out);
/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_restore_request_fill(const cb_config *config, cb_restore_request *out,
                                            cb_error *err);
void cb_verify_request_fill(const cb_config *config, cb_verify_request *out);
/* Without any rule the request is refused: CB_USAGE. */
CB_MUST_USE cb_code cb_expire_request_fill(const cb_config *config, cb_expire_request *out,
                                           cb_error *err);
/* Does any --keep rule for backups count? */
bool cb_has_keep_rules(const cb_config *config);
/* Errors: CB_USAGE. */
CB_MUST_USE cb_code cb_copy_request_fill(const cb_config *config, cb_copy_request *out,
                                         cb_error *err);

#endif
