/*
 * schedule.h - a backup and its retention, run by the system's own scheduler.
 *
 * A cb_schedule is made from the settings of one run; the three renderings are pure functions of
 * it. Every argument is written so that the scheduler's own syntax cannot change it; what a syntax
 * cannot carry at all (control characters) is refused.
 */
#ifndef CB_CLI_SCHEDULE_H
#define CB_CLI_SCHEDULE_H

#include "base/arena.h"
#include "base/file.h"
#include "config/config.h"

typedef enum cb_schedule_kind {
    CB_SCHEDULE_AUTO, /* in the order of --kind's choices */
    CB_SCHEDULE_SYSTEMD,
    CB_SCHEDULE_CRON,
    CB_SCHEDULE_LAUNCHD,
} cb_schedule_kind;

typedef enum cb_schedule_when {
    CB_WHEN_HOURLY,
    CB_WHEN_DAILY,  /* minutes after midnight, local time */
    CB_WHEN_WEEKLY, /* minutes after Monday 00:00 */
    CB_WHEN_EVERY,  /* minutes of distance; not less than one */
} cb_schedule_when;

typedef struct cb_words {
    const char **items;
    size_t count;
    size_t capacity;
} cb_words;

typedef struct cb_schedule {
    cb_arena arena;
    const char *name; /* of the database; the units are called canvasback-NAME */
    cb_schedule_when when;
    int64_t minutes;
    cb_words backup;   /* argument vector; the program's path first */
    cb_words *expires; /* one for each repository; none: no retention */
    size_t expire_count;
    const char *log_file; /* absolute */
} cb_schedule;

/*
 * From the settings: `program` is the path to run, `is_root` decides where the log lies.
 * Errors: CB_USAGE (no source, no name, no or several times). Free with cb_schedule_free also
 * after an error.
 */
CB_MUST_USE cb_code cb_schedule_plan(const cb_config *config, const char *program, bool is_root,
                                     cb_schedule *out, cb_error *err);
void cb_schedule_free(cb_schedule *schedule);

/* Append the texts. Errors: CB_USAGE where the syntax cannot carry it; CB_NO_MEMORY. */
CB_MUST_USE cb_code cb_schedule_service(const cb_schedule *schedule, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_schedule_timer(const cb_schedule *schedule, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_schedule_cron(const cb_schedule *schedule, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_schedule_launchd(const cb_schedule *schedule, cb_buf *out, cb_error *err);

/*
 * Copy `old`, a crontab, to `out` without the lines that are ours for `name`, and with `line`
 * (NULL: none) behind the rest. *removed counts what was left out. All other bytes stay as they
 * are.
 */
CB_MUST_USE cb_code cb_crontab_edit(cb_bytes old, const char *name, const char *line, cb_buf *out,
                                    size_t *removed, cb_error *err);

typedef struct cb_schedule_entry {
    const char *name;
    const char *kind;  /* "systemd", "cron", "launchd" */
    const char *when;  /* in the scheduler's own words */
    const char *place; /* the file, or "crontab" */
} cb_schedule_entry;

typedef struct cb_schedule_entries {
    cb_arena arena;
    cb_schedule_entry *items;
    size_t count;
    size_t capacity;
} cb_schedule_entries;
void cb_schedule_entries_free(cb_schedule_entries *entries);

/* Our lines of a crontab. */
CB_MUST_USE cb_code cb_crontab_list(cb_bytes crontab, cb_schedule_entries *into, cb_error *err);

/* Where things are installed; environment and user decide. */
typedef struct cb_schedule_places {
    bool is_system;                 /* root: units of the system */
    bool has_systemd;               /* it runs here */
    bool has_crontab;               /* the program is in PATH */
    char unit_folder[CB_PATH_MAX];  /* of systemd */
    char agent_folder[CB_PATH_MAX]; /* of launchd */
} cb_schedule_places;
CB_MUST_USE cb_code cb_schedule_places_find(const cb_config *config, cb_schedule_places *out,
                                            cb_error *err);

/* `told` gets what was done and what is left to do, in lines for the user. */
CB_MUST_USE cb_code cb_schedule_install(const cb_schedule *schedule, cb_schedule_kind kind,
                                        const cb_schedule_places *places, cb_buf *told,
                                        cb_error *err);
/* Remove whatever is installed for `name`, of every kind. CB_NOT_FOUND when nothing was. */
CB_MUST_USE cb_code cb_schedule_remove(const char *name, const cb_schedule_places *places,
                                       cb_buf *told, cb_error *err);
CB_MUST_USE cb_code cb_schedule_list(const cb_schedule_places *places, cb_schedule_entries *into,
                                     cb_error *err);

#endif
