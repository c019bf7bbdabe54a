#include "cli/verbs.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/json.h"
#include "cli/render.h"
#include "config/request.h"

#include <stdio.h>
#include <string.h>

/* ---- cleanup of results, by scope --------------------------------------------------------- */

static void free_backup(cb_backup_result **result)
{
    cb_backup_result_free(*result);
}

static void free_list(cb_list_result **result)
{
    cb_list_result_free(*result);
}

static void free_show(cb_show_result **result)
{
    cb_show_result_free(*result);
}

static void free_restore(cb_restore_result **result)
{
    cb_restore_result_free(*result);
}

static void free_verify(cb_verify_result **result)
{
    cb_verify_result_free(*result);
}

static void free_check(cb_check_result **result)
{
    cb_check_result_free(*result);
}

static void free_copy(cb_copy_result **result)
{
    cb_copy_result_free(*result);
}

static void free_repair(cb_repair_result **result)
{
    cb_repair_result_free(*result);
}

static const char *operand(const cb_door *door, size_t n)
{
    return n < door->config->line.operand_count ? door->config->line.operands[n] : NULL;
}

static const char *paste(const cb_door *door)
{
    return (const char *)door->paste.data;
}

/* ---- backup, restore, copy ---------------------------------------------------------------- */

/* For hooks and for the note of the last run. */
static void note_backup(cb_door *door, const char *name, const char *label)
{
    if (name && cb_is_name(name))
        snprintf(door->name, sizeof(door->name), "%s", name);
    if (label)
        snprintf(door->label, sizeof(door->label), "%s", label);
}

/* Of several repositories one is enough for a backup, but the user wanted them all. */
static cb_code judge_places(cb_door *door, const cb_backup_result *result, cb_error *err)
{
    const cb_backup_place *first = NULL;
    const char *good = NULL;
    size_t failed = 0;

    for (size_t i = 0; i < result->place_count; i++) {
        if (result->places[i].error.code == CB_OK) {
            good = good ? good : result->places[i].address;
            continue;
        }
        first = first ? first : &result->places[i];
        failed++;
        if (i < 64)
            door->failed_places |= UINT64_C(1) << i;
    }
    if (!first)
        return CB_OK;
    cb_fail(&door->damage, CB_IO, "%zu of %zu repositories were not written: %s: %s", failed,
            result->place_count, first->address, first->error.message);
    if (first->error.hint[0])
        cb_hint(&door->damage, "%s", first->error.hint);
    /* The usual one may not have it: say where it is. */
    return first == result->places ? cb_door_paste(door, good, err) : CB_OK;
}

cb_code cb_verb_backup(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_backup) cb_backup_result *result = NULL;
    cb_backup_request request;
    cb_code code;

    code = cb_backup_request_fill(door->config, &request, err);
    if (code == CB_OK)
        code = cb_door_begin(door, err);
    if (code == CB_OK)
        code = cb_backup(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    note_backup(door, result->name, result->label);
    code = judge_places(door, result, err);
    if (code == CB_OK && cb_door_wants_object(door))
        code = cb_json_backup(result, &door->object, err);
    return code == CB_OK && !door->json ? cb_render_backup(result, paste(door), &door->out, err)
                                        : code;
}

/* Does the text of --time leave the zone to this machine? */
static bool has_no_zone(const char *text)
{
    size_t size = strlen(text);

    return size <= 10 ||
           (text[size - 1] != 'Z' && text[size - 1] != 'z' && strpbrk(text + 10, "+-") == NULL);
}

static void tell_time(cb_door *door)
{
    const cb_value *time = &door->config->values[CB_OPT_TIME];
    char utc[CB_TIME_TEXT_MAX];

    if (time->text && has_no_zone(time->text))
        cb_door_say(door, CB_EVENT_INFO, "%s local time is %s", time->text,
                    cb_format_rfc3339(time->number, utc));
}

/* The original place, as a path if it is one. */
static bool is_target_taken(const char *target)
{
    static const char *const kinds[] = {"ducklake:", "duckdb:", "sqlite:", "dir:"};

    for (size_t i = 0; target && i < CB_LENGTH(kinds); i++)
        if (strncmp(target, kinds[i], strlen(kinds[i])) == 0)
            target += strlen(kinds[i]);
    return target && cb_path_exists(target);
}

cb_code cb_verb_restore(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_restore) cb_restore_result *result = NULL;
    cb_restore_request request;
    cb_code code;

    code = cb_restore_request_fill(door->config, &request, err);
    if (code != CB_OK)
        return code;
    tell_time(door);
    code = cb_door_begin(door, err);
    if (code == CB_OK)
        code = cb_restore(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    note_backup(door, result->name, result->label);
    if (result->lost_count > 0) {
        cb_fail(&door->damage, CB_CORRUPT, "not everything could be brought back: %zu lost",
                result->lost_count);
        cb_hint(&door->damage, "The result lists what is lost; an older backup may have it.");
    }
    if (cb_door_wants_object(door))
        code = cb_json_restore(result, &door->object, err);
    if (code != CB_OK || door->json)
        return code;
    return cb_render_restore(result, paste(door), is_target_taken(result->target), &door->out, err);
}

cb_code cb_verb_copy(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_copy) cb_copy_result *result = NULL;
    cb_copy_request request;
    cb_code code;

    code = cb_copy_request_fill(door->config, &request, err);
    if (code == CB_OK)
        code = cb_door_begin(door, err);
    if (code == CB_OK)
        code = cb_copy_file(door->ctx, &request, &result, err);
    if (code == CB_OK && cb_door_wants_object(door))
        code = cb_json_copy(result, &door->object, err);
    return code == CB_OK && !door->json ? cb_render_copy(result, &door->out, err) : code;
}

/* ---- list, show --------------------------------------------------------------------------- */

cb_code cb_verb_list(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_list) cb_list_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_list(door->ctx, operand(door, 0), &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_list(result, &door->object, err)
                      : cb_render_list(result, cb_now_us(door->ctx), &door->out, err);
}

cb_code cb_verb_show(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_show) cb_show_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_show(door->ctx, operand(door, 0), &result, err);
    if (code != CB_OK)
        return code;
    return door->json
               ? cb_json_show(result, &door->object, err)
               : cb_render_show(result, cb_config_flag(door->config, CB_OPT_ALL), &door->out, err);
}

/* ---- verify, check, repair ---------------------------------------------------------------- */

cb_code cb_verb_verify(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_verify) cb_verify_result *result = NULL;
    cb_verify_request request;
    cb_code code;

    code = cb_verify_request_fill(door->config, &request, err);
    if (code == CB_OK)
        code = cb_door_begin(door, err);
    if (code == CB_OK)
        code = cb_verify(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    if (result->damaged_count > 0) {
        cb_fail(&door->damage, CB_CORRUPT, "damage found: %zu in %llu backups read",
                result->damaged_count, (unsigned long long)result->backups);
        cb_hint(&door->damage, "Take a backup while the source is sound: it stores again what is "
                               "damaged. See doc/recovery.md.");
    }
    if (cb_door_wants_object(door))
        code = cb_json_verify(result, &door->object, err);
    return code == CB_OK && !door->json ? cb_render_verify(result, &door->out, err) : code;
}

cb_code cb_verb_check(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_check) cb_check_result *result = NULL;
    cb_lake_options lake;
    cb_code code = cb_lake_options_check(door->config, operand(door, 0), err);

    cb_lake_options_fill(door->config, &lake);
    if (code == CB_OK)
        code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_check_with(door->ctx, operand(door, 0), &lake, &result, err);
    if (code != CB_OK)
        return code;
    if (result->damaged_count > 0 || result->bad_blocks > 0) {
        cb_fail(&door->damage, CB_CORRUPT, "the source '%s' is damaged", result->source);
        if (result->kind && strcmp(result->kind, "ducklake") == 0)
            cb_hint(&door->damage, "'canvasback restore NAME LAKE --delta' puts back from a backup "
                                   "what is missing or differs.");
        else
            cb_hint(&door->damage, "Restore a backup beside it and compare: 'canvasback list'.");
    }
    return door->json ? cb_json_check(result, &door->object, err)
                      : cb_render_check(result, &door->out, err);
}

cb_code cb_verb_repair(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_repair) cb_repair_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_repair(door->ctx, &result, err);
    if (code != CB_OK)
        return code;
    if (result->damaged_count > 0)
        cb_fail(&door->damage, CB_CORRUPT, "not everything could be mended");
    return door->json ? cb_json_repair(result, &door->object, err)
                      : cb_render_repair(result, &door->out, err);
}
