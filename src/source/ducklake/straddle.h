/*
 * straddle.h - files of a lake that hold rows of snapshots up to N and of later ones, and how the
 * later ones are kept out of a catalog that is cut to N.
 *
 * A merge, a flush of inlined rows or a second DELETE writes rows of several snapshots into one
 * file, each with the number of its snapshot (_ducklake_internal_snapshot_id); partial_max is the
 * greatest of them. DuckLake hides later rows by that number alone, and the commits after a cut
 * get these numbers again. So what is later is hidden by other means, which stay:
 *
 *     data file     a row of ducklake_inlined_delete_<table> for each position of a later row, as
 *                   if it had been deleted by snapshot N; partial_max becomes N, so that readers
 *                   of older snapshots go on by the numbers, which are true up to N
 *     delete file   what it says of snapshots up to N becomes such rows, each with its snapshot;
 *                   the file is scheduled for deletion, as DuckLake does with one it replaced
 *
 * The row is known by its position in the file. The numbers are read by DuckDB itself, in the files
 * as they have been restored: by cb_lake_straddle_read, between two calls of cb_lake_change.
 *
 * Not in puffin files (they do not say which snapshot deleted what), not in encrypted files, not in
 * catalogs but those of spec 1.0.
 */
#ifndef CB_SOURCE_DUCKLAKE_STRADDLE_H
#define CB_SOURCE_DUCKLAKE_STRADDLE_H

#include "source/ducklake/catalog.h"

/* Runs of positions in all files together: 32 bytes each. */
enum { CB_LAKE_RUNS_MAX = 8 << 20 };

typedef struct cb_lake_straddler {
    int64_t table_id, id, data_file_id; /* data_file_id: that it deletes from, or its own */
    int64_t records;                    /* or deletes; -1 unknown */
    bool is_delete, is_readable;        /* Parquet, not encrypted */
    /* NULL until cb_lake_straddle_place. */
    const char *table; /* "main"."orders" */
    const char *item;  /* of the backup */
    const char *path;  /* as it is scheduled: relative to the data path, or absolute */
    bool path_is_absolute;
} cb_lake_straddler;

/* Positions `from` to `to` of a data file: gone from snapshot `began` on. */
typedef struct cb_lake_run {
    size_t file; /* of straddle->files */
    int64_t from, to, began;
} cb_lake_run;

typedef struct cb_lake_straddle {
    int64_t snapshot;
    cb_lake_straddler *files; /* by table, data before deletes, id */
    size_t count, capacity;
    cb_lake_run *runs; /* in the order of files */
    size_t run_count, run_capacity;
    bool is_read;
    cb_arena arena;
} cb_lake_straddle;
void cb_lake_straddle_free(cb_lake_straddle *straddle);

/* Is there what can read them? CB_UNSUPPORTED, with what is missing. Cheap when there is none. */
CB_MUST_USE cb_code cb_lake_straddle_check(cb_ctx *ctx, const cb_lake_straddle *straddle,
                                           cb_error *err);
/* Where each of them is, by the catalog that was cut; `info` says what its data path was. */
CB_MUST_USE cb_code cb_lake_straddle_place(cb_lake_straddle *straddle, cb_lake_db *db,
                                           const cb_lake_schema *schema, const cb_lake_info *info,
                                           cb_error *err);

/* Path or URL of an item, terminated. */
typedef cb_code cb_lake_straddle_url(void *arg, const char *item, cb_buf *out, cb_error *err);
/*
 * Read the snapshots' numbers in every one of the files. `hint`: an address with settings of its
 * own for the bucket, NULL none. Errors: CB_UNSUPPORTED (no engine; a file has no numbers),
 * CB_CORRUPT, CB_TOO_LARGE (more than CB_LAKE_RUNS_MAX runs), those of the store.
 */
CB_MUST_USE cb_code cb_lake_straddle_read(cb_ctx *ctx, cb_lake_straddle *straddle,
                                          cb_lake_straddle_url *url, void *arg, const char *hint,
                                          cb_error *err);

/* How files are ordered. */
int cb_lake_straddle_order(const void *a, const void *b);

#endif
