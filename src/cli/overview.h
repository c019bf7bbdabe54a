/*
 * overview.h - what metrics and report tell of: the backups by name, the repository, and how the
 * last runs on this machine ended.
 */
#ifndef CB_CLI_OVERVIEW_H
#define CB_CLI_OVERVIEW_H

#include "cli/last_run.h"

typedef struct cb_name_view {
    const char *name;
    const cb_backup_info *backups; /* oldest first */
    size_t count;                  /* 0: only a run that failed tells of this name */
    const cb_backup_info *newest;  /* NULL: none */
    const cb_backup_info *good;    /* the newest without damage of the source; NULL: none */
    uint64_t verified_count;
    int64_t verified_us;     /* the last good verify of any of them; 0: never */
    int64_t locked_until_us; /* of the newest good one, where `has_lock`; 0: it is not */
    bool has_lock;           /* it was asked for */
    const cb_last_run *runs; /* of this name, by command */
    size_t run_count;
} cb_name_view;

typedef struct cb_overview {
    const char *address;        /* of the repository, without its settings */
    const cb_repo_result *repo; /* borrowed */
    const cb_list_result *list; /* borrowed */
    int64_t now_us;
    cb_arena arena;
    cb_last_runs runs; /* owned */
    cb_name_view *names;
    size_t count;
} cb_overview;

/*
 * Put together by name what was found. `runs` is taken over; the rest is borrowed and must outlive
 * *out. Free with cb_overview_free also after an error. Errors: CB_NO_MEMORY.
 */
CB_MUST_USE cb_code cb_overview_make(const cb_repo_result *repo, const cb_list_result *list,
                                     cb_last_runs *runs, int64_t now_us, cb_overview *out,
                                     cb_error *err);
void cb_overview_free(cb_overview *overview);

/* When what a backup holds was true. */
static inline int64_t cb_backup_point(const cb_backup_info *backup)
{
    return backup->point_us != 0 ? backup->point_us : backup->started_us;
}

/* Prometheus text: HELP and TYPE before each metric, all of a metric's samples together. */
CB_MUST_USE cb_code cb_metrics_text(const cb_overview *overview, cb_buf *out, cb_error *err);

#endif
