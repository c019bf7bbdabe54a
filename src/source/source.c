/*
 * source.c - the calls of source.h: one place for what holds for every engine, and the collector
 * of check results.
 */
#include "source/source.h"

#include "base/array.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- sources ------------------------------------------------------------------------------ */

cb_code cb_source_begin(cb_source *source, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    cb_code code;

    *unchanged = false;
    code = source->ops->begin(source, parent_state, unchanged, err);
    assert(code == CB_OK || code == err->code);
    return code;
}

cb_code cb_source_next(cb_source *source, cb_step *step, cb_error *err)
{
    return source->ops->next(source, step, err);
}

cb_code cb_source_take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    *reuse = false;
    return source->ops->take(source, parent, reuse, err);
}

cb_code cb_source_read(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    size_t before = into->size;
    cb_code code = source->ops->read(source, piece, into, err);

    if (code == CB_OK && into->size - before != piece->length)
        return cb_fail(err, CB_INTERNAL, "the source gave %zu bytes where %u were asked for",
                       into->size - before, piece->length);
    return code;
}

cb_code cb_source_end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    *out = (cb_source_facts){0};
    return source->ops->end(source, out, err);
}

void cb_source_free(cb_source *source)
{
    if (source != NULL)
        source->ops->free(source);
}

/* ---- targets ------------------------------------------------------------------------------ */

cb_code cb_target_prepare(cb_target *target, cb_error *err)
{
    return target->ops->prepare(target, err);
}

cb_code cb_target_item(cb_target *target, const cb_item *item, uint32_t *number, cb_error *err)
{
    return target->ops->item(target, item, number, err);
}

cb_code cb_target_read(cb_target *target, uint32_t item, uint64_t offset, uint32_t length,
                       cb_buf *into, cb_error *err)
{
    return target->ops->read(target, item, offset, length, into, err);
}

cb_code cb_target_write(cb_target *target, uint32_t item, uint64_t offset, cb_bytes data,
                        cb_error *err)
{
    return target->ops->write(target, item, offset, data, err);
}

cb_code cb_target_hole(cb_target *target, uint32_t item, uint64_t offset, uint32_t length,
                       cb_error *err)
{
    return target->ops->hole(target, item, offset, length, err);
}

cb_code cb_target_done(cb_target *target, uint32_t item, cb_error *err)
{
    return target->ops->done(target, item, err);
}

cb_code cb_target_finish(cb_target *target, cb_error *err)
{
    return target->ops->finish(target, err);
}

void cb_target_free(cb_target *target)
{
    if (target != NULL)
        target->ops->free(target);
}

/* ---- check reports ------------------------------------------------------------------------ */

cb_code cb_check_damage(cb_check_report *report, cb_error *err, const char *item, const char *chunk,
                        const char *format, ...)
{
    char reason[512];
    cb_damage *damage;
    va_list args;
    cb_code code = CB_OK;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    if (report->damaged_count == report->damaged_capacity)
        code = cb_array_grow(&report->damaged, &report->damaged_capacity, sizeof(*damage), err);
    if (code != CB_OK)
        return code;
    damage = &report->damaged[report->damaged_count];
    *damage = (cb_damage){0};
    code = cb_arena_text(&report->arena, item, &damage->item, err);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, chunk, &damage->chunk, err);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, reason, &damage->reason, err);
    if (code == CB_OK)
        report->damaged_count++;
    return code;
}

cb_code cb_check_note(cb_check_report *report, cb_error *err, const char *format, ...)
{
    char text[1024];
    va_list args;
    cb_code code = CB_OK;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (report->note_count == report->note_capacity)
        code = cb_array_grow(&report->notes, &report->note_capacity, sizeof(*report->notes), err);
    if (code == CB_OK)
        code = cb_arena_text(&report->arena, text, &report->notes[report->note_count], err);
    if (code == CB_OK)
        report->note_count++;
    return code;
}

void cb_check_report_free(cb_check_report *report)
{
    cb_arena_free(&report->arena);
    free(report->damaged);
    free(report->notes);
    *report = (cb_check_report){0};
}
