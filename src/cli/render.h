/*
 * render.h - results as text for people: tables that fit 80 columns, sizes and ages in words.
 *
 * Pure: what is rendered depends on the arguments and the local time zone alone. Each function
 * appends to `out`. Errors: CB_NO_MEMORY, CB_TOO_LARGE.
 */
#ifndef CB_CLI_RENDER_H
#define CB_CLI_RENDER_H

#include "base/bytes.h"

CB_MUST_USE cb_code cb_render_backup(const cb_backup_result *result, const char *options,
                                     cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_list(const cb_list_result *result, int64_t now_us, cb_buf *out,
                                   cb_error *err);
enum { CB_RENDER_ITEMS = 50 };
CB_MUST_USE cb_code cb_render_show(const cb_show_result *result, bool all, cb_buf *out,
                                   cb_error *err);
/* `options`: what a command that the user is told to paste needs before its operands, such as
   "--repo '/mnt/x' "; may be empty. `target_exists`: the original place is taken. */
CB_MUST_USE cb_code cb_render_restore(const cb_restore_result *result, const char *options,
                                      bool target_exists, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_verify(const cb_verify_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_check(const cb_check_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_expire(cb_expire_result *const *results, size_t count, cb_buf *out,
                                     cb_error *err);
CB_MUST_USE cb_code cb_render_copy(const cb_copy_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_repo(const cb_repo_result *result, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_repo_check(const cb_repo_check_result *result, cb_buf *out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_render_keys(const cb_keys_result *result, int64_t now_us, cb_buf *out,
                                   cb_error *err);
CB_MUST_USE cb_code cb_render_sync(const cb_sync_result *result, bool dry_run, cb_buf *out,
                                   cb_error *err);
CB_MUST_USE cb_code cb_render_repair(const cb_repair_result *result, cb_buf *out, cb_error *err);

/* "35 s", "12 min", "3 h", "9 d", "5 mo", "2 y"; "now" for the future: clocks differ. */
enum { CB_AGE_TEXT_MAX = 32 };
const char *cb_format_age(int64_t us, int64_t now_us, char out[CB_AGE_TEXT_MAX]);

/* Append `text` as one word of a POSIX shell: as it is if harmless, else in quotes. */
CB_MUST_USE cb_code cb_shell_word(const char *text, cb_buf *out, cb_error *err);

#endif
