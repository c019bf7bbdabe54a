/*
 * migrate.h - bring a lake's catalog to the spec version of the loaded engine, so that whatever
 * goes wrong the old catalog stands there as it was.
 *
 *     copy -> expect -> trial on the copy -> compare -> the live catalog -> compare
 *
 * What is expected of every table at every snapshot is worked out from the rows of the old catalog
 * (files' counts less their deletes, rows inlined), and where an engine of the old version lies
 * beside the program its own reading of all rows, too. Nothing live is touched before the migrated
 * copy has given the same. A DuckDB file is not migrated in place at all: the compared copy takes
 * its place, if the file is still as it was. SQLite and PostgreSQL are migrated by the engine in
 * one transaction of theirs and compared again; what differs is put back from the copy.
 *
 * Others may be attached and write all the while. A commit after the backup is seen before anything
 * is touched (CB_BUSY). One that comes in the moment between that look and the engine's own
 * transaction stays in the migrated lake, is not compared, and is told of: no lock of ours could
 * keep it out, for a writer that waits for it holds what the engine's migration waits for. Before
 * an old catalog is put back over commits of others, these are saved.
 *
 * Killed at any instant: the live catalog is as before or as after.
 */
#ifndef CB_SOURCE_DUCKLAKE_MIGRATE_H
#define CB_SOURCE_DUCKLAKE_MIGRATE_H

#include "source/ducklake/freeze.h"

typedef struct cb_lake_migration {
    const cb_lake_address *address;
    const char *from, *to; /* versions */
    const char *data_path; /* where the files are; NULL: as the catalog says */
    int64_t snapshot_id;   /* the newest that the backup has: nothing may have come since */
    /* Back up the lake as it is now, for the old catalog takes its place. */
    cb_code (*save)(void *arg, cb_error *err);
    void *arg;
    /* out */
    uint64_t tables, snapshots, compared, unreadable; /* the last two: moments (moments.h) */
} cb_lake_migration;

/*
 * Errors: CB_BUSY (open in another process; a snapshot came since the backup: take it again),
 * CB_CORRUPT (the migrated lake gives other contents), CB_UNSUPPORTED, those of the engine. In all
 * cases the lake is as it was, and the message says so; should it ever not be possible to put the
 * old catalog back, the message says that, and the hint names `lake rollback`.
 */
CB_MUST_USE cb_code cb_lake_migrate_live(cb_ctx *ctx, cb_lake_migration *migration, cb_error *err);

/* ---- gate.c: one migration of a lake at a time ---------------------------------------------- */

typedef struct cb_lake_gate cb_lake_gate;
/*
 * Held until it is closed or the process ends: PostgreSQL an advisory lock, else a file beside the
 * catalog. *waited: somebody else had it. Errors: CB_BUSY after settings.lock_wait_us.
 */
CB_MUST_USE cb_code cb_lake_gate_open(cb_ctx *ctx, const cb_lake_address *address,
                                      cb_lake_gate **out, bool *waited, cb_error *err);
void cb_lake_gate_close(cb_lake_gate *gate); /* NULL is allowed */
void cb_lake_gate_cleanup(cb_lake_gate **gate);

#endif
