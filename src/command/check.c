/*
 * check.c - is a live source itself sound? Reads only; who has it open goes on undisturbed.
 */
#include "command/command_internal.h"

#include "source/ducklake/address.h"

#include <stdlib.h>

typedef struct owned_check {
    cb_check_result public; /* first */
    cb_check_report report;
    cb_arena arena;
} owned_check;

/* As it was given; the address of a lake without the password that it may hold. */
static cb_code note_source(owned_check *owned, const cb_engine *engine, const char *source,
                           cb_error *err)
{
    cb_lake_address *address;
    cb_code code;

    if (engine != &cb_ducklake_engine)
        return cb_arena_text(&owned->arena, source, &owned->public.source, err);
    code = cb_arena_alloc(&owned->arena, sizeof(*address), &address, err);
    if (code == CB_OK)
        code = cb_lake_address_parse(source, NULL, address, err);
    owned->public.source = code == CB_OK ? address->shown : NULL;
    return code;
}

cb_code cb_check(cb_ctx *ctx, const char *source, cb_check_result **out, cb_error *err)
{
    return cb_check_with(ctx, source, NULL, out, err);
}

cb_code cb_check_with(cb_ctx *ctx, const char *source, const cb_lake_options *lake,
                      cb_check_result **out, cb_error *err)
{
    int64_t began = cb_monotonic_us();
    const cb_engine *engine;
    const char *path;
    owned_check *owned;
    cb_check_result *r;
    cb_code code;

    *out = NULL;
    code = cb_engine_find(source, &engine, &path, err);
    if (code != CB_OK)
        return code;
    owned = calloc(1, sizeof(*owned));
    if (owned == NULL)
        return cb_fail_memory(err, sizeof(*owned));
    r = &owned->public;
    owned->report.lake = lake;
    code = engine->check(ctx, path, &owned->report, err);
    if (code == CB_OK)
        code = note_source(owned, engine, source, err);
    if (code != CB_OK) {
        cb_check_result_free(r);
        return code;
    }
    r->kind = engine->kind;
    r->version = owned->report.version;
    r->blocks = owned->report.blocks;
    r->used_blocks = owned->report.used_blocks;
    r->free_blocks = owned->report.free_blocks;
    r->bad_blocks = owned->report.bad_blocks;
    r->commits_in_log = owned->report.commits_in_log;
    r->open_by = owned->report.open_by;
    r->damaged = owned->report.damaged;
    r->damaged_count = owned->report.damaged_count;
    r->notes = owned->report.notes;
    r->note_count = owned->report.note_count;
    r->seconds = (double)(cb_monotonic_us() - began) / 1e6;
    *out = r;
    return CB_OK;
}

void cb_check_result_free(cb_check_result *result)
{
    owned_check *owned = (owned_check *)result;

    if (owned == NULL)
        return;
    cb_check_report_free(&owned->report);
    cb_arena_free(&owned->arena);
    free(owned);
}
