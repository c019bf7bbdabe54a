/*
 * What the library does not have yet, so that the program links meanwhile.
 */
#include "base/error.h"

#define CB_NOT_YET __attribute__((weak))

CB_NOT_YET cb_code cb_repo_check(cb_ctx *ctx, cb_repo_check_result **out, cb_error *err)
{
    (void)ctx;
    *out = NULL;
    return cb_fail(err, CB_UNSUPPORTED, "repo --check is not in this version");
}

CB_NOT_YET void cb_repo_check_result_free(cb_repo_check_result *result)
{
    (void)result;
}
