/*
 * dir_check.c - is a folder readable, all of it; and what a restored one holds.
 *
 * check drives the source itself and reads each piece, so that it can find nothing else than a
 * backup would. deep, on a restored folder, reads all of it again and counts files, one line for
 * each name in the folder.
 */
#include "source/dir/dir_internal.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct inspection {
    cb_ctx *ctx;
    cb_source *source;
    cb_check_report *report; /* of check; NULL for deep */
    cb_table_visit *visit;   /* of deep */
    void *visit_arg;
    char *top; /* deep: the name in the root that is being counted */
    uint64_t top_files;
    uint64_t troubles;
    cb_buf buffer;
} inspection;

static cb_code note_trouble(void *arg, const char *path, const char *reason, cb_error *err)
{
    inspection *in = arg;

    in->troubles++;
    if (in->report == NULL)
        return cb_fail(err, CB_CORRUPT, "'%s' cannot be read back: %s", path, reason);
    in->report->bad_blocks++;
    return cb_check_damage(in->report, err, path, "", "%s", reason);
}

static cb_code end_top(inspection *in, cb_error *err)
{
    cb_code code = CB_OK;

    if (in->top != NULL)
        code = in->visit(in->visit_arg, in->top, in->top_files, err);
    free(in->top);
    in->top = NULL;
    in->top_files = 0;
    return code;
}

/* Items of one name in the root stand together; "." is none of them. */
static cb_code count_top(inspection *in, const cb_item *item, cb_error *err)
{
    size_t size = strcspn(item->path, "/");
    cb_code code;

    if (in->visit == NULL || strcmp(item->path, ".") == 0)
        return CB_OK;
    if (in->top == NULL || strlen(in->top) != size || memcmp(in->top, item->path, size) != 0) {
        code = end_top(in, err);
        if (code != CB_OK)
            return code;
        in->top = strndup(item->path, size);
        if (in->top == NULL)
            return cb_fail_memory(err, size);
    }
    if (item->kind != CB_ITEM_FOLDER)
        in->top_files++;
    return CB_OK;
}

static cb_code inspect_step(inspection *in, const cb_step *step, cb_error *err)
{
    bool reuse;
    cb_code code;

    switch (step->kind) {
    case CB_STEP_ITEM:
        if (in->report != NULL)
            in->report->blocks += cb_item_chunks(&step->item);
        code = count_top(in, &step->item, err);
        return code == CB_OK ? cb_source_take(in->source, NULL, &reuse, err) : code;
    case CB_STEP_PIECE:
        if (in->report != NULL)
            in->report->used_blocks++;
        in->buffer.size = 0;
        return cb_source_read(in->source, &step->piece, &in->buffer, err);
    case CB_STEP_HOLE:
    case CB_STEP_BARRIER:
    case CB_STEP_DONE:
    case CB_STEP_RESTART:
    case CB_STEP_END:
        return CB_OK;
    }
    return CB_OK;
}

static cb_code inspect(inspection *in, cb_source_facts *facts, cb_error *err)
{
    cb_step step = {0};
    bool unchanged;
    cb_code code;

    cb_dir_source_listen(in->source, note_trouble, in);
    code = cb_source_begin(in->source, cb_bytes_of(NULL, 0), &unchanged, err);
    while (code == CB_OK && step.kind != CB_STEP_END) {
        code = cb_check_cancel(in->ctx, err);
        if (code == CB_OK)
            code = cb_source_next(in->source, &step, err);
        if (code == CB_OK)
            code = inspect_step(in, &step, err);
    }
    return code == CB_OK ? cb_source_end(in->source, facts, err) : code;
}

static cb_code run(inspection *in, const char *path, cb_source_facts *facts, cb_error *err)
{
    const cb_source_options options = {0};
    cb_code code = cb_dir_source_new(in->ctx, path, &options, &in->source, err);

    in->buffer.limit = CB_CHUNK_BYTES_MAX;
    if (code == CB_OK)
        code = inspect(in, facts, err);
    cb_buf_free(&in->buffer);
    return code;
}

cb_code cb_dir_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    inspection in = {.ctx = ctx, .report = report};
    cb_source_facts facts = {0};
    cb_code code = run(&in, path, &facts, err);

    if (code == CB_OK) {
        report->version = "folder";
        report->free_blocks =
            report->blocks > report->used_blocks ? report->blocks - report->used_blocks : 0;
    }
    for (size_t i = 0; code == CB_OK && i < facts.fact_count; i++)
        if (strcmp(facts.facts[i].value, "0") != 0)
            code = cb_check_note(report, err, "%s: %s", facts.facts[i].key, facts.facts[i].value);
    cb_source_free(in.source);
    return code;
}

cb_code cb_dir_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                    cb_table_visit *visit, void *arg, cb_error *err)
{
    inspection in = {.ctx = ctx, .visit = visit, .visit_arg = arg};
    cb_source_facts facts = {0};
    cb_code code = run(&in, path, &facts, err);

    (void)lake;
    if (code == CB_OK)
        code = end_top(&in, err);
    free(in.top);
    cb_source_free(in.source);
    return code;
}

/* ---- the engine ----------------------------------------------------------------------------- */

/* A folder is only backed up when 'dir:' asks for it: a database may live in it, and deserves its
   own engine. */
static bool recognise(const char *path)
{
    (void)path;
    return false;
}

const cb_engine cb_dir_engine = {
    .kind = "dir",
    .scheme = "dir:",
    .recognise = recognise,
    .source = cb_dir_source_new,
    .target = cb_dir_target_new,
    .check = cb_dir_check,
    .deep = cb_dir_deep,
};
