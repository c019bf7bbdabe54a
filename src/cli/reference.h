/*
 * reference.h - help, manual page, example configuration and shell completions: all printed from
 * the tables of commands and options. Each function appends to `out`.
 */
#ifndef CB_CLI_REFERENCE_H
#define CB_CLI_REFERENCE_H

#include "base/bytes.h"
#include "config/option.h"

CB_MUST_USE cb_code cb_help_overview(cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_help_command(cb_command_id id, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_help_option(cb_option_id id, cb_buf *out, cb_error *err);

/* A word behind lake. Help, manual page and the check of a command line read it. */
enum { CB_LAKE_OPTIONS = 8 };
typedef struct cb_lake_help {
    const char *name, *operands;
    /* Beside --metadata-schema; ends with the first 0, which is CB_OPT_REPO. */
    cb_option_id options[CB_LAKE_OPTIONS];
    const char *summary, *detail, *examples; /* as of a cb_command */
} cb_lake_help;
const cb_lake_help *cb_lake_help_at(size_t i);           /* in help's order; NULL behind the last */
const cb_lake_help *cb_lake_help_find(const char *name); /* NULL: no such verb */
bool cb_lake_help_takes(const cb_lake_help *verb, cb_option_id id);
/* CB_USAGE, with the one that was meant, when `name` is no verb. */
CB_MUST_USE cb_code cb_lake_help_check(const char *name, cb_error *err);

/* roff, for man(1). */
CB_MUST_USE cb_code cb_manual_page(cb_buf *out, cb_error *err);
/* An INI file in which every setting stands as a comment. */
CB_MUST_USE cb_code cb_config_example(cb_buf *out, cb_error *err);

typedef enum cb_shell {
    CB_SHELL_BASH,
    CB_SHELL_ZSH,
    CB_SHELL_FISH,
    CB_SHELL_END,
} cb_shell;

cb_shell cb_shell_find(const char *name); /* CB_SHELL_END: none of these */
CB_MUST_USE cb_code cb_completion(cb_shell shell, cb_buf *out, cb_error *err);

/* Is the option one of the short list that every command knows? */
bool cb_option_is_common(cb_option_id id);

/* What every exit code means; ends with a NULL text. */
typedef struct cb_exit_meaning {
    int code;
    const char *text;
} cb_exit_meaning;
extern const cb_exit_meaning cb_exit_meanings[];

#endif
