/*
 * expect.h - what a lake has to give: the rows of every table at every snapshot, worked out from
 * its catalog, with the digests of an engine that could read it, and compared with what another
 * gives.
 *
 * Memory: 80 bytes a table and snapshot. Internal to this folder.
 */
#ifndef CB_SOURCE_DUCKLAKE_EXPECT_H
#define CB_SOURCE_DUCKLAKE_EXPECT_H

#include "source/ducklake/catalog.h"
#include "source/ducklake/extension_internal.h"

typedef struct cb_expected {
    const char *table; /* "main"."orders" */
    int64_t table_id, snapshot_id;
    int64_t rows; /* -1: the catalog does not say */
    /* Read by the old engine, attached anew for each snapshot, and once for all: old versions have
       mistakes of their own in what they remember of a table, or forget. */
    uint8_t digest[2][16];
    bool has_digest[2];
    bool is_split;    /* a file holds rows of this snapshot and of later ones */
    bool is_doubtful; /* the old version is known to misread such a table */
    bool is_seen;
} cb_expected;

typedef struct cb_expect {
    cb_arena arena;
    cb_expected *tables; /* by table, then snapshot; free() */
    size_t count, capacity;
    bool has_engine; /* the old engine has read it */
} cb_expect;

CB_MUST_USE cb_code cb_expect_read(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out,
                                   cb_error *err);
void cb_expect_free(cb_expect *expect); /* for CB_CLEANUP */

/* Add what an engine of the old version reads. */
CB_MUST_USE cb_code cb_expect_add(cb_expect *expect, cb_lake_engine *engine, cb_error *err);

typedef struct cb_expect_result {
    uint64_t tables, compared, unreadable;
} cb_expect_result;

/*
 * Compare with what the new engine reads. CB_CORRUPT names the first table that differs. What the
 * new engine cannot read is no difference when the old could not either, or when nobody can tell:
 * a warning says which, and not all of the lake may be so.
 */
CB_MUST_USE cb_code cb_expect_compare(cb_ctx *ctx, cb_expect *expect, cb_lake_engine *engine,
                                      cb_expect_result *out, cb_error *err);

#endif
