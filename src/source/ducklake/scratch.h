/*
 * scratch.h - a private folder for copies of a catalog, gone with all it holds when it is freed.
 */
#ifndef CB_SOURCE_DUCKLAKE_SCRATCH_H
#define CB_SOURCE_DUCKLAKE_SCRATCH_H

#include "base/temp.h"

typedef cb_temp cb_lake_scratch;

/* Below `base`; NULL: $TMPDIR or /tmp. Those that a killed run left there are removed. */
CB_MUST_USE cb_code cb_lake_scratch_make(cb_ctx *ctx, const char *base, cb_lake_scratch *out,
                                         cb_error *err);
void cb_lake_scratch_free(cb_lake_scratch *scratch);

/* Of the names (cb_temp_is_name) that a lake's files have while a restore makes them. */
extern const char cb_lake_part_prefix[];

#endif
