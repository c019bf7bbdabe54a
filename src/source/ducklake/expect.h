/*
 * expect.h - what a lake has to give: the rows of every table at every moment of its history
 * (moments.h), worked out from its catalog, with the digests of an engine that could read it, and
 * compared with what another gives.
 *
 * Memory: that of the moments, and 40 bytes for each. Internal to this folder.
 */
#ifndef CB_SOURCE_DUCKLAKE_EXPECT_H
#define CB_SOURCE_DUCKLAKE_EXPECT_H

#include "source/ducklake/catalog.h"
#include "source/ducklake/extension_internal.h"

typedef struct cb_expected {
    /* Read by the old engine, attached anew for each schema, and once for all: old versions have
       mistakes of their own in what they remember of a table, or forget. */
    uint8_t digest[2][16];
    bool has_digest[2];
    bool is_doubtful; /* the old version is known to misread such a table */
} cb_expected;

enum { CB_EXPECT_FRAMES = 3 };

typedef struct cb_expect {
    cb_lake_moments moments;
    cb_expected *tables; /* of each moment; free() */
    /* What begins and ends when, in the catalog's own tables, as sums: moments that nobody looks
       into are alike only as long as these are. */
    int64_t newest; /* snapshot */
    char frames[CB_EXPECT_FRAMES][96];
    bool has_engine; /* the old engine has read it */
} cb_expect;

CB_MUST_USE cb_code cb_expect_read(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out,
                                   cb_error *err);
void cb_expect_free(cb_expect *expect); /* for CB_CLEANUP */

/* Add what an engine of the old version reads. */
CB_MUST_USE cb_code cb_expect_add(cb_expect *expect, cb_lake_engine *engine, cb_error *err);

typedef struct cb_expect_result {
    uint64_t compared, unreadable; /* moments */
} cb_expect_result;

/*
 * Compare with what the new engine reads. CB_CORRUPT names the first table that differs. What the
 * new engine cannot read is no difference when the old could not either, or when nobody can tell:
 * a warning says which, and not all of the lake may be so.
 */
CB_MUST_USE cb_code cb_expect_compare(cb_ctx *ctx, cb_expect *expect, cb_lake_engine *engine,
                                      cb_expect_result *out, cb_error *err);

#endif
