/*
 * scratch.c - a private folder for what must be opened by an engine before it is believed.
 */
#include "command/command_internal.h"

cb_code cb_scratch_make(cb_ctx *ctx, cb_scratch *out, cb_error *err)
{
    cb_code code = cb_temp_make(ctx, NULL, cb_temp_prefix, out, err);

    if (code != CB_OK)
        cb_hint(err, "Set TMPDIR to a folder with room for the whole database.");
    return code;
}

void cb_scratch_free(cb_scratch *scratch)
{
    cb_temp_free(scratch);
}
