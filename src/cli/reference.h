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

/* Of a word behind lake; the tables are in help_lake.c and verb_lake.c. */
typedef struct cb_lake_help {
    const char *name, *summary, *detail, *examples; /* as of a cb_command */
} cb_lake_help;
const cb_lake_help *cb_lake_help_find(const char *name); /* NULL: no such verb */
const char *cb_lake_verb_operands(const char *name);     /* NULL: no such verb */
bool cb_lake_verb_takes(const char *name, cb_option_id id);
/* CB_USAGE, with what there is, when `name` is no verb. */
CB_MUST_USE cb_code cb_lake_verb_check(const char *name, cb_error *err);

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
