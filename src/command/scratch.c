/*
 * scratch.c - a private folder for what must be opened by an engine before it is believed.
 */
#include "command/command_internal.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

cb_code cb_scratch_make(cb_ctx *ctx, cb_scratch *out, cb_error *err)
{
    const char *base = getenv("TMPDIR");
    uint8_t random[8];
    char hex[17];

    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    if (base == NULL || base[0] != '/')
        base = "/tmp";
    if ((size_t)snprintf(out->path, sizeof(out->path), "%s/canvasback-%s", base, hex) >=
        sizeof(out->path)) {
        out->path[0] = '\0';
        return cb_fail(err, CB_TOO_LARGE, "the path of the temporary folder '%s' is too long",
                       base);
    }
    if (mkdir(out->path, 0700) != 0) {
        cb_fail_errno(err, errno, "cannot make the temporary folder '%s'", out->path);
        cb_hint(err, "Set TMPDIR to a folder with room for the whole database.");
        out->path[0] = '\0';
        return err->code;
    }
    return CB_OK;
}

void cb_scratch_free(cb_scratch *scratch)
{
    cb_error ignored = {0};

    if (scratch->path[0] == '\0')
        return;
    cb_ignore(cb_tree_remove(scratch->path, &ignored)); /* a leftover in TMPDIR harms nobody */
    scratch->path[0] = '\0';
}
