/*
 * schedule: print, install, list or remove. Printing is the default: nothing is changed unless
 * --install says so.
 */
#include "cli/json.h"
#include "cli/output.h"
#include "cli/schedule.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <unistd.h>

static cb_schedule_kind choose_kind(const cb_config *config, const cb_schedule_places *places)
{
    cb_schedule_kind kind = (cb_schedule_kind)config->values[CB_OPT_KIND].number;

    if (kind != CB_SCHEDULE_AUTO)
        return kind;
    if (cb_path_exists("/System/Library/LaunchDaemons"))
        return CB_SCHEDULE_LAUNCHD;
    if (places->has_systemd)
        return CB_SCHEDULE_SYSTEMD;
    if (places->has_crontab)
        return CB_SCHEDULE_CRON;
    return CB_SCHEDULE_AUTO;
}

static cb_code print_systemd(const cb_schedule *schedule, const cb_schedule_places *places,
                             cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "# The folder of the log has to exist: %s\n# %s/canvasback-%s.service\n",
                         schedule->log_file, places->unit_folder, schedule->name);
    if (code == CB_OK)
        code = cb_schedule_service(schedule, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "\n# %s/canvasback-%s.timer\n", places->unit_folder,
                             schedule->name);
    return code == CB_OK ? cb_schedule_timer(schedule, out, err) : code;
}

static cb_code print(const cb_schedule *schedule, cb_schedule_kind kind,
                     const cb_schedule_places *places, cb_buf *out, cb_error *err)
{
    switch (kind) {
    case CB_SCHEDULE_CRON:
        return cb_schedule_cron(schedule, out, err);
    case CB_SCHEDULE_LAUNCHD:
        return cb_schedule_launchd(schedule, out, err);
    case CB_SCHEDULE_SYSTEMD:
    case CB_SCHEDULE_AUTO: /* for the machine where it is to run */
        return print_systemd(schedule, places, out, err);
    }
    return cb_fail(err, CB_INTERNAL, "a schedule of no kind");
}

static cb_code answer(cb_door *door, const char *name, bool installed, const cb_buf *text,
                      cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf copy = {0};
    cb_pair pairs[] = {{"name", name}, {installed ? "done" : "text", NULL}};
    cb_code code;

    if (!door->json)
        return cb_buf_append(&door->out, text->data, text->size, err);
    code = cb_buf_append(&copy, text->data, text->size, err);
    if (code == CB_OK)
        code = cb_buf_append(&copy, "", 1, err); /* its NUL */
    pairs[1].value = (const char *)copy.data;
    return code == CB_OK ? cb_json_pairs(pairs, CB_LENGTH(pairs), &door->object, err) : code;
}

static cb_code plan_and_answer(cb_door *door, const cb_schedule_places *places, cb_error *err)
{
    CB_CLEANUP(cb_schedule_free) cb_schedule schedule = {0};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_schedule_kind kind = choose_kind(door->config, places);
    bool install = cb_config_flag(door->config, CB_OPT_INSTALL);
    char program[CB_PATH_MAX];
    cb_code code;

    cb_program_path(program, sizeof(program));
    code = cb_schedule_plan(door->config, program, places->is_system, &schedule, err);
    if (code != CB_OK)
        return code;
    if (schedule.expire_count == 0)
        cb_door_say(door, CB_EVENT_INFO,
                    "no --keep rule is given: backups are taken, and none is ever removed");
    if (door->config->values[CB_OPT_PASSPHRASE].text)
        cb_door_say(
            door, CB_EVENT_WARNING,
            "the passphrase in CANVASBACK_PASSPHRASE is not written into the schedule; give "
            "--passphrase-file");
    code = install ? cb_schedule_install(&schedule, kind, places, &text, err)
                   : print(&schedule, kind, places, &text, err);
    return code == CB_OK ? answer(door, schedule.name, install, &text, err) : code;
}

static cb_code render_entries(const cb_schedule_entries *entries, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = 4};
    cb_code code;

    if (entries->count == 0)
        return cb_buf_format(out, err, "nothing is scheduled\n");
    code = cb_table_cell(&table, err, "NAME");
    if (code == CB_OK)
        code = cb_table_cell(&table, err, "BY");
    if (code == CB_OK)
        code = cb_table_cell(&table, err, "WHEN");
    if (code == CB_OK)
        code = cb_table_cell(&table, err, "WHERE");
    for (size_t i = 0; i < entries->count && code == CB_OK; i++) {
        const cb_schedule_entry *entry = &entries->items[i];

        code = cb_table_cell(&table, err, "%s", entry->name);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", entry->kind);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", entry->when);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", entry->place);
    }
    return code == CB_OK ? cb_table_print(&table, out, err) : code;
}

static cb_code list(cb_door *door, const cb_schedule_places *places, cb_error *err)
{
    CB_CLEANUP(cb_schedule_entries_free) cb_schedule_entries entries = {0};
    cb_code code = cb_schedule_list(places, &entries, err);

    if (code != CB_OK)
        return code;
    return door->json ? cb_json_schedules(entries.items, entries.count, &door->object, err)
                      : render_entries(&entries, &door->out, err);
}

cb_code cb_verb_schedule(cb_door *door, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf told = {0};
    const char *remove = door->config->values[CB_OPT_REMOVE].text;
    bool is_list = cb_config_flag(door->config, CB_OPT_LIST);
    cb_schedule_places places;
    cb_code code = cb_schedule_places_find(door->config, &places, err);

    if (code != CB_OK)
        return code;
    if ((remove || is_list) && (door->config->line.operand_count > 0 || (remove && is_list)))
        return cb_fail(err, CB_USAGE, "--list and --remove NAME go by themselves");
    if (is_list)
        return list(door, &places, err);
    if (!remove)
        return plan_and_answer(door, &places, err);
    code = cb_schedule_remove(remove, &places, &told, err);
    return code == CB_OK ? answer(door, remove, true, &told, err) : code;
}
