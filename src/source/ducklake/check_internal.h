/*
 * check_internal.h - what is found while the files of a live lake are looked at, by many threads.
 */
#ifndef CB_SOURCE_DUCKLAKE_CHECK_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_CHECK_INTERNAL_H

#include "base/pool.h"
#include "source/ducklake/files_internal.h"
#include "source/source.h"

/* Of each kind only so many are named; the rest are counted. */
enum { CB_LAKE_FINDINGS_MAX = 10000, CB_LAKE_URL_MAX = 4096 };

typedef struct cb_lake_findings {
    cb_ctx *ctx;
    cb_check_report *report;
    cb_lake_files *files;
    const char *data_path;
    uint64_t total_bytes;
    pthread_mutex_t lock; /* guards all below, and the report */
    cb_arena arena;
    const char **missing; /* URLs, as many as are remembered */
    size_t missing_count, missing_capacity;
    uint64_t missing_more; /* not remembered */
    uint64_t damaged;      /* besides the missing; not all may stand in the report */
    uint64_t unseen;       /* where we cannot look: another kind of place */
    char unseen_reason[CB_MESSAGE_MAX];
    uint64_t done_bytes;
} cb_lake_findings;

void cb_lake_findings_init(cb_lake_findings *findings, cb_ctx *ctx, cb_check_report *report,
                           cb_lake_files *files, const char *data_path);
void cb_lake_findings_free(cb_lake_findings *findings);

/* Damage of the file at `url`, in words. Any thread. */
CB_MUST_USE cb_code cb_lake_findings_add(cb_lake_findings *findings, const char *url,
                                         const char *reason, cb_error *err);

/* Look at a file that the catalog names, on a worker's thread. `found` -1: not in a listing. */
typedef struct cb_lake_look_job {
    char url[CB_LAKE_URL_MAX];
    cb_lake_file_kind kind;
    int64_t size, found, footer;
} cb_lake_look_job;
cb_code cb_lake_look_work(void *arg /* cb_lake_findings */, unsigned worker, void *job,
                          cb_error *err);

#endif
