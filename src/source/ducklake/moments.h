/*
 * moments.h - when the contents of a lake's tables changed, so that a lake of thousands of
 * snapshots is read only where there is something new to see.
 *
 * The contents of a table are its columns, its data files less their deletes, and its inlined rows
 * less theirs, each from one snapshot to another. Between two of all these snapshots every reader
 * is given the same rows of the same files: a moment is such a stretch of the snapshots that still
 * exist, and one look at it is a look at all of them. Of a file with rows of several snapshots
 * (merged, flushed) every snapshot that it reaches over is a moment of its own.
 *
 * Memory: 96 bytes a moment, 40 a snapshot at which something of a table changed. Internal to this
 * folder.
 */
#ifndef CB_SOURCE_DUCKLAKE_MOMENTS_H
#define CB_SOURCE_DUCKLAKE_MOMENTS_H

#include "source/ducklake/catalog.h"

typedef struct cb_lake_moment {
    const char *table;         /* "main"."orders" */
    const char *schema, *name; /* the same, each as it is */
    int64_t table_id;
    int64_t from, to;       /* snapshots that exist; it is read at `to` */
    int64_t schema_version; /* of `to` */
    int64_t rows;           /* by the catalog's own arithmetic; -1: it does not say */
    bool is_split;          /* a file holds rows of this snapshot and of later ones */
    bool is_altered;        /* its table has been another: columns, name */
} cb_lake_moment;

typedef struct cb_lake_moments {
    cb_arena arena;
    cb_lake_moment *list; /* by `to`, then table; free() */
    size_t count, capacity;
    uint64_t tables, snapshots; /* by id; those that exist */
    uint64_t pairs; /* tables alive, summed over all snapshots: what the list stands for */
} cb_lake_moments;

/* `all`: since the oldest snapshot there is; else the newest alone, one moment a table. */
CB_MUST_USE cb_code cb_lake_moments_read(cb_lake_db *db, const cb_lake_schema *schema, bool all,
                                         cb_lake_moments *out, cb_error *err);
void cb_lake_moments_free(cb_lake_moments *moments); /* for CB_CLEANUP */

/* ---- moments_events.c: between the two files ------------------------------------------------ */

/* Something of a table begins or ends: `rows` more of it from snapshot `at` on. */
typedef struct cb_lake_event {
    int64_t table_id, at;
    int64_t rows;
    int64_t unknown; /* files more, of which nobody can say how many rows are alive */
} cb_lake_event;

/* From `from` to before `to` each snapshot sees other rows of one file. */
typedef struct cb_lake_span {
    int64_t table_id, from, to;
} cb_lake_span;

typedef struct cb_lake_events {
    cb_lake_event *list; /* by table, then snapshot; free() */
    size_t count, capacity;
    cb_lake_span *spans; /* by table, then `from`; free() */
    size_t span_count, span_capacity;
} cb_lake_events;

CB_MUST_USE cb_code cb_lake_events_read(cb_lake_db *db, const cb_lake_schema *schema,
                                        cb_lake_events *out, cb_error *err);
void cb_lake_events_free(cb_lake_events *events); /* for CB_CLEANUP */

#endif
