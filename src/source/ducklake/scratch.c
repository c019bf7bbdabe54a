/*
 * scratch.c - a private folder for copies of a catalog.
 */
#include "source/ducklake/scratch.h"

const char cb_lake_part_prefix[] = ".canvasback-part-";

cb_code cb_lake_scratch_make(cb_ctx *ctx, const char *base, cb_lake_scratch *out, cb_error *err)
{
    cb_code code = cb_temp_make(ctx, base, cb_temp_prefix, out, err);

    if (code != CB_OK)
        cb_hint(err, "Set TMPDIR to a folder with room for a copy of the lake's catalog.");
    return code;
}

void cb_lake_scratch_free(cb_lake_scratch *scratch)
{
    cb_temp_free(scratch);
}
