#include "source/ducklake/ducklake.h"

cb_code cb_lake_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    (void)ctx;
    (void)path;
    (void)report;
    return cb_fail(err, CB_UNSUPPORTED, "a lake cannot be checked yet");
}
