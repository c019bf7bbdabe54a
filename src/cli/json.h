/*
 * json.h - results as JSON: one object (an array for list), the fields of the contract and more.
 *
 * Times are RFC 3339 UTC texts, null where there is none. Text that is not UTF-8 has U+FFFD for
 * each byte that does not fit, and beside it a field "<name>_hex" with all of its bytes.
 *
 * Each function appends to `out` the text and a newline. Errors: CB_NO_MEMORY, CB_TOO_LARGE.
 */
#ifndef CB_CLI_JSON_H
#define CB_CLI_JSON_H

#include "base/bytes.h"

CB_MUST_USE cb_code cb_json_backup(const cb_backup_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_list(const cb_list_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_show(const cb_show_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_restore(const cb_restore_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_verify(const cb_verify_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_check(const cb_check_result *result, cb_buf *out, cb_error *err);
/* The results of one run over several names, as one object. */
CB_MUST_USE cb_code cb_json_expire(cb_expire_result *const *results, size_t count, cb_buf *out,
                                   cb_error *err);
CB_MUST_USE cb_code cb_json_copy(const cb_copy_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_repo(const cb_repo_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_keys(const cb_keys_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_repo_check(const cb_repo_check_result *result, cb_buf *out,
                                       cb_error *err);
CB_MUST_USE cb_code cb_json_sync(const cb_sync_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_json_repair(const cb_repair_result *result, cb_buf *out, cb_error *err);
/* {"repository","names":[...],"runs":[...]} */
struct cb_overview;
CB_MUST_USE cb_code cb_json_overview(const struct cb_overview *overview, cb_buf *out,
                                     cb_error *err);
/* {"schedules":[{"name","kind","when","place"}]} */
struct cb_schedule_entry;
CB_MUST_USE cb_code cb_json_schedules(const struct cb_schedule_entry *entries, size_t count,
                                      cb_buf *out, cb_error *err);
/* An object of texts: for the small answers (version, schedule). */
CB_MUST_USE cb_code cb_json_pairs(const cb_pair *pairs, size_t count, cb_buf *out, cb_error *err);
/* {"error":{"code","message","hint"}} */
CB_MUST_USE cb_code cb_json_error(const cb_error *error, cb_buf *out, cb_error *err);
/* The same for hooks: with "command", "name" (null where it is ""), "exit_code", and "result" where
   the run has one (JSON text; may be empty). */
CB_MUST_USE cb_code cb_json_failure(const cb_error *error, const char *command, const char *name,
                                    cb_bytes result, cb_buf *out, cb_error *err);

#endif
