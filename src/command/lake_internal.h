/*
 * lake_internal.h - what the verbs of a lake share.
 */
#ifndef CB_COMMAND_LAKE_INTERNAL_H
#define CB_COMMAND_LAKE_INTERNAL_H

#include "command/command_internal.h"
#include "source/ducklake/ducklake.h"
#include "source/ducklake/lost_list.h"

/* ---- lake_backups.c ----------------------------------------------------------------------- */

enum { CB_LAKE_BACKUPS_LOOKED_AT = 6 };

/* The newest backups of a lake, as far as a repository has them. */
typedef struct cb_lake_backups {
    bool is_looked_into; /* there is a repository, and it could be read */
    size_t count;        /* of backups of the name, in all */
    char newest[128];    /* NAME@LABEL; "" none */
    int64_t point_us, snapshot /* newest that it holds; -1 unknown */, verified_us;
    uint64_t damaged;
    char data[16];                /* how it keeps the files: "copy", "reference", "replica" */
    int64_t distance_us;          /* the longest time without one, among the newest and until now */
    char identity[65];            /* of the lake that the name is bound to; "" unknown */
    char trouble[CB_MESSAGE_MAX]; /* why the repository could not be looked into; "" */
} cb_lake_backups;

/* A repository that is not there, or not set, is no error; nor is one that cannot be read, which
   `trouble` tells. Errors: CB_CANCELLED, CB_NO_MEMORY. */
CB_MUST_USE cb_code cb_lake_backups_look(cb_ctx *ctx, const char *name, cb_lake_backups *out,
                                         cb_error *err);

/* ---- lake_catalog.c ----------------------------------------------------------------------- */

/* What the manifest of a lake's backup says of its catalog. Strings in the arena given. */
typedef struct cb_lake_kept {
    cb_lake_kind kind;
    const char *schema, *data_path, *version;
    const char *replica; /* NULL: none */
    int64_t snapshot;
    bool is_encrypted; /* the catalog holds keys */
} cb_lake_kept;
/* Errors: CB_UNSUPPORTED when it is no backup of a lake. */
CB_MUST_USE cb_code cb_lake_kept_read(const cb_manifest *manifest, cb_arena *arena,
                                      cb_lake_kept *out, cb_error *err);
/*
 * Bring the catalog alone back from a backup, as the private copy of freeze.h in the empty folder,
 * every chunk checked; then open it and count the rows of every table. CB_CORRUPT when it is not
 * of the version and snapshot that the manifest says.
 */
CB_MUST_USE cb_code cb_lake_read_back(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest,
                                      const cb_lake_kept *kept, const char *folder, cb_error *err);

/* ---- lake_verify.c ------------------------------------------------------------------------ */

/*
 * Read the catalog of a lake's backup back, and compare what it names with what the backup has, and
 * what that only refers to with what lies there. `hint`: an address with settings for the bucket of
 * such files, NULL none. Findings go to `report`; then *is_good is false.
 * Memory: bounded; disk: a copy of the catalog and a ledger in a scratch folder.
 */
CB_MUST_USE cb_code cb_lake_verify(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *ref,
                                   const cb_manifest *manifest, const char *hint,
                                   cb_audit_report *report, bool *is_good, cb_error *err);

/* ---- lake_places.c ------------------------------------------------------------------------ */

/*
 * The files that a backup refers to, and whether they are still where it saw them: in their place
 * or in the replica, by one listing; of the right size, and with the same mark of their content, or
 * for local files the same SHA-256. One that is not counts as there while its store has the
 * version. `folder`: for scratch files; `kept` and `hint` (see cb_lake_verify) are borrowed.
 */
typedef struct cb_lake_places cb_lake_places;
CB_MUST_USE cb_code cb_lake_places_open(cb_ctx *ctx, const char *folder, const cb_lake_kept *kept,
                                        const char *hint, cb_lake_places **out, cb_error *err);
void cb_lake_places_cleanup(cb_lake_places **places);
CB_MUST_USE cb_code cb_lake_places_add(cb_lake_places *places, const char *item,
                                       const cb_lake_attrs *attrs, cb_error *err);
typedef cb_code cb_lake_amiss(void *arg, const char *item, const char *reason, cb_error *err);
/* `visit` is called for each that is nowhere, by one thread at a time. */
CB_MUST_USE cb_code cb_lake_places_check(cb_lake_places *places, cb_lake_amiss *visit, void *arg,
                                         cb_error *err);

/* ---- lake_lists.c ------------------------------------------------------------------------- */

/* Each list in the data directory that is of the lake with this identity; one that is damaged is
   told of and left out. No home, no lists. */
typedef cb_code cb_lake_list_visit(void *arg, const char *path, const cb_lost_list_head *head,
                                   cb_error *err);
CB_MUST_USE cb_code cb_lake_lists_visit(cb_ctx *ctx, const char *identity,
                                        cb_lake_list_visit *visit, void *arg, cb_error *err);

/* ---- lake_interval.c ---------------------------------------------------------------------- */

/* An INTERVAL as DuckDB's options write it: "7 days", "1 week 12 hours", "36h", "01:30:00". A month
   counts 30 days. False: it is none. */
bool cb_lake_interval_parse(const char *text, int64_t *out_us);

#endif
