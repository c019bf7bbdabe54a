#include "source/ducklake/ducklake.h"

cb_code cb_lake_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                           cb_target **out, cb_error *err)
{
    (void)ctx;
    (void)path;
    (void)options;
    *out = NULL;
    return cb_fail(err, CB_UNSUPPORTED, "a lake cannot be restored yet");
}
