/*
 * command_table.h - every command of the program, said once: its name, what it takes, its help.
 */
#ifndef CB_CONFIG_COMMAND_TABLE_H
#define CB_CONFIG_COMMAND_TABLE_H

#include "base/error.h"

typedef enum cb_command_id {
    CB_COMMAND_BACKUP,
    CB_COMMAND_RESTORE,
    CB_COMMAND_LIST,
    CB_COMMAND_SHOW,
    CB_COMMAND_VERIFY,
    CB_COMMAND_CHECK,
    CB_COMMAND_EXPIRE,
    CB_COMMAND_COPY,
    CB_COMMAND_INIT,
    CB_COMMAND_REPO,
    CB_COMMAND_REPAIR,
    CB_COMMAND_LAKE,
    CB_COMMAND_METRICS,
    CB_COMMAND_REPORT,
    CB_COMMAND_SCHEDULE,
    CB_COMMAND_HELP,
    CB_COMMAND_VERSION,
    CB_COMMAND_COMPLETION,
    /* Words that are reserved, and answered with "not in this version". */
    CB_COMMAND_ARCHIVE_PUSH,
    CB_COMMAND_ARCHIVE_GET,
    CB_COMMAND_RECEIVE_WAL,
    CB_COMMAND_SERVE,
    CB_COMMAND_END,
} cb_command_id;

/* Sets of commands, for cb_option.commands. */
#define CB_FOR(command) (UINT32_C(1) << (CB_COMMAND_##command))
#define CB_FOR_ALL      UINT32_MAX

typedef struct cb_command {
    const char *name;
    const char *aliases;   /* "ls info snapshots"; NULL: none */
    const char *operands;  /* as help shows them: "NAME[@LABEL] [TARGET]"; "" for none */
    unsigned min_operands; /* fewer are refused */
    unsigned max_operands;
    bool is_reserved;     /* not in this version; kept out of help */
    const char *summary;  /* one help line: lower case, no full stop */
    const char *detail;   /* the manual's paragraphs, separated by an empty line */
    const char *examples; /* command lines, one a line */
} cb_command;

extern const cb_command cb_commands[CB_COMMAND_END];

/* By name or alias; CB_COMMAND_END when there is none. */
cb_command_id cb_command_named(const char *name);

/* The command's name most like `name`, or NULL when none comes near. */
const char *cb_command_suggest(const char *name);

#endif
