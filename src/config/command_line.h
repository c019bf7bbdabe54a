/*
 * command_line.h - argv cut into command, options and operands, by the option table.
 *
 * Options may stand anywhere, before the command too; "--" ends them. What the words mean
 * together (who takes what) is settled here as well; what the values mean is not.
 */
#ifndef CB_CONFIG_COMMAND_LINE_H
#define CB_CONFIG_COMMAND_LINE_H

#include "base/arena.h"
#include "config/option.h"

typedef struct cb_given {
    cb_option_id id;
    const char *text; /* borrowed from argv, or a literal */
} cb_given;

typedef struct cb_command_line {
    cb_command_id command; /* CB_COMMAND_END: none was named (only --help or --version was) */
    const char **operands; /* borrowed from argv; the array is owned by the arena */
    size_t operand_count;
    cb_given *options; /* in the order given */
    size_t option_count;
} cb_command_line;

/*
 * Everything in *out lives as long as `arena` and `argv`. argv[0] is skipped.
 * Errors: CB_USAGE; CB_UNSUPPORTED for a reserved command (then out->command tells which).
 */
CB_MUST_USE cb_code cb_command_line_parse(int argc, const char *const *argv, cb_arena *arena,
                                          cb_command_line *out, cb_error *err);

/*
 * Is the flag option asked for? Looks at the words alone, so that even a command line that is
 * wrong is answered in the form that was asked for (--json).
 */
bool cb_command_line_wants(int argc, const char *const *argv, cb_option_id id);

#endif
