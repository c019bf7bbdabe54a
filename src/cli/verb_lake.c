/*
 * lake: what is done with a DuckLake beside backup and restore. The words behind `lake` are read
 * here; each leads to one function of the library. What stands behind each word and which options
 * it takes is said in help_lake.c.
 */
#include "cli/verbs.h"

#include "base/ctx.h"
#include "cli/output.h"
#include "cli/reference.h"
#include "cli/render_lake.h"

#include <limits.h>
#include <string.h>

static void free_status(cb_lake_status_result **result)
{
    cb_lake_status_result_free(*result);
}

static void free_repoint(cb_lake_repoint_result **result)
{
    cb_lake_repoint_result_free(*result);
}

static void free_orphans(cb_lake_orphans_result **result)
{
    cb_lake_orphans_result_free(*result);
}

static void free_adopt(cb_lake_adopt_result **result)
{
    cb_lake_adopt_result_free(*result);
}

static void free_dump(cb_lake_dump_result **result)
{
    cb_lake_dump_result_free(*result);
}

static void free_migrate(cb_lake_migrate_result **result)
{
    cb_lake_migrate_result_free(*result);
}

static void free_rollback(cb_lake_rollback_result **result)
{
    cb_lake_rollback_result_free(*result);
}

/* The n-th word behind the verb. */
static const char *operand(const cb_door *door, size_t n)
{
    return n + 1 < door->config->line.operand_count ? door->config->line.operands[n + 1] : NULL;
}

static const char *text(const cb_door *door, cb_option_id id)
{
    return door->config->values[id].text;
}

static bool flag(const cb_door *door, cb_option_id id)
{
    return cb_config_flag(door->config, id);
}

/* ---- looking ------------------------------------------------------------------------------ */

static cb_code status(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_status) cb_lake_status_result *result = NULL;
    const char *name = operand(door, 1) ? operand(door, 1) : text(door, CB_OPT_NAME);
    cb_code code;

    if (operand(door, 1) && text(door, CB_OPT_NAME))
        return cb_fail(err, CB_USAGE, "the name is given twice: '%s' and --name", name);
    code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_lake_status(door->ctx, operand(door, 0), lake, name, &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_lake_status(result, &door->object, err)
                      : cb_render_lake_status(result, cb_now_us(door->ctx), &door->out, err);
}

static cb_code orphans(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_orphans) cb_lake_orphans_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_lake_orphans(door->ctx, operand(door, 0), lake, &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_lake_orphans(result, &door->object, err)
                      : cb_render_lake_orphans(result, cb_now_us(door->ctx), &door->out, err);
}

/* ---- changing ----------------------------------------------------------------------------- */

static cb_code repoint(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_repoint) cb_lake_repoint_result *result = NULL;
    cb_lake_repoint_request request = {
        .lake = operand(door, 0),
        .options = *lake,
        .absolute = flag(door, CB_OPT_ABSOLUTE),
        .dry_run = flag(door, CB_OPT_DRY_RUN),
    };
    cb_code code;

    if (!lake->data_path) {
        cb_fail(err, CB_USAGE, "lake repoint needs the new place of the files");
        cb_hint(err, "Give --data-path ADDRESS.");
        return err->code;
    }
    code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_lake_repoint(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_lake_repoint(result, &door->object, err)
                      : cb_render_lake_repoint(result, &door->out, err);
}

static cb_code fill_adopt(cb_door *door, const cb_lake_options *lake, cb_lake_adopt_request *out,
                          cb_error *err)
{
    const cb_command_line *line = &door->config->line;

    *out = (cb_lake_adopt_request){
        .lake = operand(door, 0),
        .options = *lake,
        .files = line->operands + 2,
        .file_count = line->operand_count - 2,
        .list = text(door, CB_OPT_FROM_LIST),
        .accept = flag(door, CB_OPT_ACCEPT),
        .undo = flag(door, CB_OPT_UNDO),
        .dry_run = flag(door, CB_OPT_DRY_RUN),
    };
    if (out->undo && (out->file_count > 0 || out->list || out->accept || lake->table_count > 0))
        return cb_fail(err, CB_USAGE,
                       "lake adopt --undo takes the whole last adoption back: no files, "
                       "--from-list, --accept or --tables go with it");
    if (out->list && out->file_count > 0)
        return cb_fail(err, CB_USAGE, "files are given twice: '%s' and --from-list", out->files[0]);
    return CB_OK;
}

/* Something was to come back, and did not. */
static bool lacks_some(const cb_lake_adopt_result *result)
{
    for (size_t i = 0; i < result->refused_count; i++)
        if (!result->refused[i].is_needless)
            return true;
    return false;
}

static cb_code adopt(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_adopt) cb_lake_adopt_result *result = NULL;
    cb_lake_adopt_request request;
    cb_code code = fill_adopt(door, lake, &request, err);

    if (code == CB_OK)
        code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_lake_adopt(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    if (result->refused_count > 0)
        cb_door_say(door, CB_EVENT_WARNING, "%zu file%s refused: the result says why",
                    result->refused_count, result->refused_count == 1 ? " was" : "s were");
    if (lacks_some(result))
        door->exit_code = CB_EXIT_DAMAGE;
    return door->json ? cb_json_lake_adopt(result, &door->object, err)
                      : cb_render_lake_adopt(result, request.undo,
                                             cb_has_password(request.lake) ? "LAKE" : request.lake,
                                             lake->metadata_schema, &door->out, err);
}

/* ---- dump, undump ------------------------------------------------------------------------- */

static cb_code answer_dump(cb_door *door, const cb_lake_dump_result *result, const char *lake,
                           cb_error *err)
{
    return door->json ? cb_json_lake_dump(result, &door->object, err)
                      : cb_render_lake_dump(result, lake, &door->out, err);
}

static cb_code dump(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_dump) cb_lake_dump_result *result = NULL;
    const cb_value *folder = &door->config->values[CB_OPT_DUMP_DIR];
    cb_code code;

    if (operand(door, 1) && folder->origin == CB_FROM_FLAG) {
        cb_fail(err, CB_USAGE, "the file is named twice: '%s' and --dump-dir", operand(door, 1));
        cb_hint(err, "With --dump-dir the file gets its name by itself.");
        return err->code;
    }
    code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_lake_dump(door->ctx, operand(door, 0), lake, operand(door, 1), folder->text,
                            &result, err);
    return code == CB_OK ? answer_dump(door, result, NULL, err) : code;
}

static cb_code undump(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_dump) cb_lake_dump_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_lake_undump(door->ctx, operand(door, 0), operand(door, 1), lake,
                              flag(door, CB_OPT_FORCE), &result, err);
    if (code != CB_OK)
        return code;
    return answer_dump(door, result, cb_has_password(operand(door, 1)) ? "it" : operand(door, 1),
                       err);
}

/* ---- migrate, guard, rollback ------------------------------------------------------------- */

static cb_code migrate_or_guard(cb_door *door, const cb_lake_options *lake, bool is_guard,
                                cb_error *err)
{
    CB_CLEANUP(free_migrate) cb_lake_migrate_result *result = NULL;
    cb_lake_migrate_request request = {
        .lake = operand(door, 0),
        .options = *lake,
        .name = text(door, CB_OPT_NAME),
        .to = text(door, CB_OPT_TO),
        .dump_dir = text(door, CB_OPT_DUMP_DIR),
        .guard = is_guard,
    };
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_lake_migrate(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    if (is_guard && result->needed)
        door->exit_code = CB_EXIT_MIGRATION;
    return door->json
               ? cb_json_lake_migrate(result, &door->object, err)
               : cb_render_lake_migrate(result, (const char *)door->paste.data, &door->out, err);
}

static cb_code migrate(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    return migrate_or_guard(door, lake, false, err);
}

static cb_code guard(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    return migrate_or_guard(door, lake, true, err);
}

static cb_code rollback(cb_door *door, const cb_lake_options *lake, cb_error *err)
{
    CB_CLEANUP(free_rollback) cb_lake_rollback_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_lake_rollback(door->ctx, operand(door, 0), operand(door, 1), lake, &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_lake_rollback(result, &door->object, err)
                      : cb_render_lake_rollback(result, &door->out, err);
}

/* ---- all of it ---------------------------------------------------------------------------- */

typedef struct lake_verb {
    const char *name; /* what it takes and tells stands in help_lake.c */
    size_t min, max;
    cb_code (*run)(cb_door *door, const cb_lake_options *lake, cb_error *err);
} lake_verb;

static const lake_verb verbs[] = {
    {"status", 1, 2, status},      {"repoint", 1, 1, repoint}, {"orphans", 1, 1, orphans},
    {"adopt", 1, SIZE_MAX, adopt}, {"migrate", 1, 1, migrate}, {"guard", 1, 1, guard},
    {"rollback", 1, 2, rollback},  {"dump", 1, 2, dump},       {"undump", 2, 2, undump},
};

/* Options of another of the verbs are a mistake, and not to be passed over. */
static cb_code check_words(const cb_door *door, const lake_verb *verb, const cb_lake_help *help,
                           cb_error *err)
{
    const cb_command_line *line = &door->config->line;
    const char *name = verb->name;
    size_t count = line->operand_count - 1;

    for (size_t i = 0; i < line->option_count; i++) {
        if (cb_lake_help_takes(help, line->options[i].id))
            continue;
        cb_fail(err, CB_USAGE, "lake %s does not take --%s", name,
                cb_options[line->options[i].id].name);
        cb_hint(err, "'canvasback help lake %s' lists what it takes.", name);
        return err->code;
    }
    if (count < verb->min)
        cb_fail(err, CB_USAGE, "lake %s needs %s", name, help->operands);
    else if (count > verb->max && cb_has_password(line->operands[verb->max + 1]))
        cb_fail(err, CB_USAGE,
                "lake %s: there are too many words; an address with blanks in it "
                "stands in quotes",
                name);
    else if (count > verb->max)
        cb_fail(err, CB_USAGE, "lake %s: '%s' is one word too many", name,
                line->operands[verb->max + 1]);
    else
        return CB_OK;
    if (cb_is_cut_address(line->operands, line->operand_count))
        cb_hint(err, "An address with blanks in it stands in quotes: "
                     "'ducklake:postgres:dbname=lake host=db1'.");
    else
        cb_hint(err, "Usage: canvasback lake %s %s", name, help->operands);
    return err->code;
}

cb_code cb_verb_lake(cb_door *door, cb_error *err)
{
    const cb_command_line *line = &door->config->line;
    const lake_verb *verb = verbs;
    cb_lake_options lake;
    cb_code code;

    if (line->operand_count == 0) {
        cb_fail(err, CB_USAGE, "lake needs a verb");
        cb_hint(err, "One of status, repoint, orphans, adopt, migrate, guard, rollback, dump, "
                     "undump; 'canvasback help lake' tells what they do.");
        return err->code;
    }
    code = cb_lake_help_check(line->operands[0], err);
    if (code != CB_OK)
        return code;
    while (strcmp(verb->name, line->operands[0]) != 0) /* it is one of them */
        verb++;
    code = check_words(door, verb, cb_lake_help_find(verb->name), err);
    if (code != CB_OK)
        return code;
    cb_lake_options_fill(door->config, &lake);
    return verb->run(door, &lake, err);
}
