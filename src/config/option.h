/*
 * option.h - every setting of the program, said once. Flags, environment, configuration file,
 * help, manual page and completions are all read from this table; nothing else knows a name.
 *
 * "lock-wait" is --lock-wait, CANVASBACK_LOCK_WAIT, and `lock-wait = ` (or lock_wait) in the file.
 * A flag option (CB_TYPE_FLAG) is also --no-lock-wait; "no-create" is undone by --create.
 */
#ifndef CB_CONFIG_OPTION_H
#define CB_CONFIG_OPTION_H

#include "config/command_table.h"

typedef enum cb_option_id {
    /* every command */
    CB_OPT_REPO,
    CB_OPT_CONFIG,
    CB_OPT_JSON,
    CB_OPT_JOBS,
    CB_OPT_LOG_LEVEL,
    CB_OPT_PROGRESS,
    CB_OPT_QUIET,
    CB_OPT_VERBOSE,
    CB_OPT_LOCK_WAIT,
    CB_OPT_PASSPHRASE_FILE,
    CB_OPT_PASSPHRASE_COMMAND,
    CB_OPT_PASSPHRASE,
    CB_OPT_KEY_FILE,
    CB_OPT_ENDPOINT,
    CB_OPT_REGION,
    CB_OPT_ACCESS_KEY_ID,
    CB_OPT_S3_PATH_STYLE,
    CB_OPT_LIMIT_UPLOAD,
    CB_OPT_LIMIT_DOWNLOAD,
    CB_OPT_CACHE_DIR,
    CB_OPT_DUCKDB_LIBRARY,
    CB_OPT_EXTENSION_DIRECTORY,
    CB_OPT_HELP,
    CB_OPT_VERSION,
    /* backup, copy, restore */
    CB_OPT_NAME,
    CB_OPT_ADOPT_NAME,
    CB_OPT_TAG,
    CB_OPT_FULL,
    CB_OPT_METHOD,
    CB_OPT_COMPRESS,
    CB_OPT_NO_CREATE,
    CB_OPT_SKIP_IF_BUSY,
    CB_OPT_DEADLINE,
    CB_OPT_ALLOW_DAMAGE,
    CB_OPT_SOURCE_SNAPSHOT,
    CB_OPT_LOCK_FOR,
    CB_OPT_BEFORE,
    CB_OPT_AFTER,
    CB_OPT_ON_FAILURE,
    CB_OPT_TIME,
    CB_OPT_DELTA,
    CB_OPT_DELETE,
    CB_OPT_FORCE,
    CB_OPT_NO_VERIFY,
    CB_OPT_MEND,
    CB_OPT_SALVAGE,
    CB_OPT_TIMESTAMP,
    CB_OPT_UTC,
    CB_OPT_KEEP,
    CB_OPT_KEEP_LOG,
    /* lakes */
    CB_OPT_METADATA_SCHEMA,
    CB_OPT_DATA_PATH,
    CB_OPT_DATA,
    CB_OPT_ALLOW_UNENCRYPTED_KEYS,
    CB_OPT_SNAPSHOT,
    CB_OPT_TABLES,
    CB_OPT_ALL_SNAPSHOTS,
    CB_OPT_ABSOLUTE,
    CB_OPT_FROM_LIST,
    CB_OPT_ACCEPT,
    CB_OPT_UNDO,
    CB_OPT_TO,
    CB_OPT_DUMP_DIR,
    /* looking and mending */
    CB_OPT_ALL,
    CB_OPT_DEEP,
    CB_OPT_PERCENT,
    CB_OPT_MAX_BYTES,
    CB_OPT_SCHEDULE,
    CB_OPT_ENCRYPT,
    CB_OPT_CHECK,
    CB_OPT_WRITE_ONLY,
    CB_OPT_LABEL,
    CB_OPT_NEW_PASSPHRASE_FILE,
    CB_OPT_NEW_PASSPHRASE,
    CB_OPT_TO_PASSPHRASE_FILE,
    CB_OPT_TO_KEY_FILE,
    CB_OPT_OUTPUT,
    CB_OPT_HTML,
    /* retention */
    CB_OPT_KEEP_LAST,
    CB_OPT_KEEP_HOURLY,
    CB_OPT_KEEP_DAILY,
    CB_OPT_KEEP_WEEKLY,
    CB_OPT_KEEP_MONTHLY,
    CB_OPT_KEEP_YEARLY,
    CB_OPT_KEEP_WITHIN,
    CB_OPT_DRY_RUN,
    /* schedule */
    CB_OPT_HOURLY,
    CB_OPT_DAILY,
    CB_OPT_WEEKLY,
    CB_OPT_EVERY,
    CB_OPT_KIND,
    CB_OPT_LOG_FILE,
    CB_OPT_INSTALL,
    CB_OPT_LIST,
    CB_OPT_REMOVE,
    /* help */
    CB_OPT_MAN,
    CB_OPT_CONFIG_EXAMPLE,
    CB_OPT_END,
} cb_option_id;

typedef enum cb_option_type {
    CB_TYPE_FLAG,     /* number is 0 or 1 */
    CB_TYPE_TEXT,     /* any text but the empty one */
    CB_TYPE_PATH,     /* the same, completed as a file */
    CB_TYPE_NAME,     /* of a database in a repository */
    CB_TYPE_COUNT,    /* number */
    CB_TYPE_SIZE,     /* number is bytes */
    CB_TYPE_PERCENT,  /* number is millionths of the whole */
    CB_TYPE_DURATION, /* number is microseconds; the range is in seconds */
    CB_TYPE_TIME,     /* number is microseconds since 1970 UTC */
    CB_TYPE_CHOICE,   /* number is the index among `choices` */
    CB_TYPE_COMPRESS, /* none, lz4, zstd or zstd:N; number is kind * 100 + level */
    CB_TYPE_PAIR,     /* KEY=VALUE */
    CB_TYPE_CLOCK,    /* HH:MM; number is minutes after midnight */
    CB_TYPE_WEEKLY,   /* DAY HH:MM; number is minutes after Monday 00:00 */
    CB_TYPE_DATA,     /* copy, reference or replica=ADDRESS; number is a cb_lake_data */
    CB_TYPE_TABLES,   /* names parted by commas */
} cb_option_type;

enum {
    CB_OPTION_REPEAT = 1,    /* may be given several times; the values add up */
    CB_OPTION_LINE_ONLY = 2, /* on the command line only: what is meant for one run */
    CB_OPTION_SECRET = 4,    /* in the environment only: others see flags, and files are copied */
};

typedef struct cb_option {
    const char *name;
    char letter;          /* 'h' for -h; 0: none */
    cb_option_type type;  /* decides the parser, the units accepted and the range's unit */
    unsigned flags;       /* set of CB_OPTION_* */
    uint32_t commands;    /* set of CB_FOR_*: who accepts it; the others refuse it by name */
    const char *value;    /* how help calls the value: "FILE"; NULL for flags */
    const char *choices;  /* of CB_TYPE_CHOICE: "auto|hot|attach" */
    const char *fallback; /* as the user would type it; NULL: unset unless given */
    int64_t min, max;     /* inclusive; both 0: no range */
    const char *summary;  /* one help line: lower case, no full stop */
    const char *detail;   /* the manual's paragraphs; NULL: the summary says it all */
} cb_option;

extern const cb_option cb_options[CB_OPT_END];

/*
 * The option called `name` ('_' counts as '-'), or CB_OPT_END. With `negated` (may be NULL) the
 * "--no-" form of a flag is found too, and *negated tells which of both it was.
 */
cb_option_id cb_option_find(const char *name, size_t size, bool *negated);
cb_option_id cb_option_find_letter(char letter);

bool cb_option_applies(cb_option_id id, cb_command_id command);

/* CANVASBACK_LOCK_WAIT; returns `out`. */
enum { CB_OPTION_VARIABLE_MAX = 64 };
const char *cb_option_variable(cb_option_id id, char out[CB_OPTION_VARIABLE_MAX]);

/* The n-th word of "a|b|c", or NULL behind the last; *size is its length. */
const char *cb_choice_at(const char *choices, size_t n, size_t *size);

/* The option's name most like `name` among those that `command` takes (CB_COMMAND_END: any), or
   NULL when none comes near. */
const char *cb_option_suggest(const char *name, cb_command_id command);

#endif
