#include "source/ducklake/ducklake.h"

cb_code cb_lake_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                     cb_table_visit *visit, void *arg, cb_error *err)
{
    (void)ctx;
    (void)path;
    (void)lake;
    (void)visit;
    (void)arg;
    return cb_fail(err, CB_UNSUPPORTED, "a lake cannot be opened by DuckDB yet");
}
