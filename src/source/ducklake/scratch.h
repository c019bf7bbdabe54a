/*
 * scratch.h - a private folder for copies of a catalog, gone with all it holds when it is freed.
 */
#ifndef CB_SOURCE_DUCKLAKE_SCRATCH_H
#define CB_SOURCE_DUCKLAKE_SCRATCH_H

#include "base/ctx.h"
#include "base/file.h"

typedef struct cb_lake_scratch {
    char path[CB_PATH_MAX]; /* "": none */
} cb_lake_scratch;

/* Below `base`; NULL: $TMPDIR or /tmp. Mode 0700. */
CB_MUST_USE cb_code cb_lake_scratch_make(cb_ctx *ctx, const char *base, cb_lake_scratch *out,
                                         cb_error *err);
void cb_lake_scratch_free(cb_lake_scratch *scratch);

#endif
