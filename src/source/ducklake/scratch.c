/*
 * scratch.c - a private folder for copies of a catalog.
 */
#include "source/ducklake/scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

cb_code cb_lake_scratch_make(cb_ctx *ctx, const char *base, cb_lake_scratch *out, cb_error *err)
{
    uint8_t random[8];
    char hex[17];

    if (base == NULL)
        base = getenv("TMPDIR");
    if (base == NULL || base[0] != '/')
        base = "/tmp";
    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    if ((size_t)snprintf(out->path, sizeof(out->path), "%s/canvasback-lake-%s", base, hex) >=
        sizeof(out->path)) {
        out->path[0] = '\0';
        return cb_fail(err, CB_TOO_LARGE, "the path of the temporary folder '%s' is too long",
                       base);
    }
    if (mkdir(out->path, 0700) != 0) {
        cb_fail_errno(err, errno, "cannot make the temporary folder '%s'", out->path);
        cb_hint(err, "Set TMPDIR to a folder with room for a copy of the lake's catalog.");
        out->path[0] = '\0';
        return err->code;
    }
    return CB_OK;
}

void cb_lake_scratch_free(cb_lake_scratch *scratch)
{
    cb_error ignored = {0};

    if (scratch->path[0] == '\0')
        return;
    cb_ignore(cb_tree_remove(scratch->path, &ignored)); /* a leftover in TMPDIR harms nobody */
    scratch->path[0] = '\0';
}
