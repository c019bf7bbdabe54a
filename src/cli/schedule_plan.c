/*
 * From settings to the two command lines. Whatever is relative, or comes from this shell alone (a
 * variable), is written out: the scheduler has another folder and another environment. What stands
 * in the configuration file stays there, so that a change of it is in force at the next run.
 */
#include "cli/schedule.h"

#include "base/array.h"
#include "base/text.h"
#include "config/request.h"
#include "config/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOCK_WAIT_SECONDS = 3600 }; /* at night, waiting is better than failing */

static cb_code add_word(cb_schedule *self, cb_words *words, const char *text, cb_error *err)
{
    cb_code code = CB_OK;

    if (words->count == words->capacity)
        code = cb_array_grow(&words->items, &words->capacity, sizeof(*words->items), err);
    if (code == CB_OK)
        code = cb_arena_text(&self->arena, text, &words->items[words->count], err);
    if (code == CB_OK)
        words->count++;
    return code;
}

static cb_code add_option(cb_schedule *self, cb_words *words, cb_option_id id, const char *value,
                          cb_error *err)
{
    const char *text;
    cb_code code;

    /* A value that looks like an option is tied to its name, so that it stays a value. */
    if (value && value[0] == '-')
        code = cb_arena_format(&self->arena, &text, err, "--%s=%s", cb_options[id].name, value);
    else
        code = cb_arena_format(&self->arena, &text, err, "--%s", cb_options[id].name);
    if (code == CB_OK)
        code = add_word(self, words, text, err);
    if (code == CB_OK && value && value[0] != '-')
        code = add_word(self, words, value, err);
    return code;
}

/* A flag's value is never a word by itself. */
static cb_code add_flag(cb_schedule *self, cb_words *words, cb_option_id id, bool value,
                        cb_error *err)
{
    const char *text;
    cb_code code;

    code = cb_arena_format(&self->arena, &text, err, "--%s%s", cb_options[id].name,
                           value ? "" : "=false");
    return code == CB_OK ? add_word(self, words, text, err) : code;
}

/*
 * Links are not followed here: a schedule for `current.duckdb` means whatever that link names on
 * the night when it runs.
 */
static cb_code absolute_path(cb_schedule *self, const char *path, const char **out, cb_error *err)
{
    char folder[CB_PATH_MAX];

    if (path[0] == '/')
        return cb_arena_text(&self->arena, path, out, err);
    if (!getcwd(folder, sizeof(folder)))
        return cb_fail_errno(err, errno, "cannot tell the current folder");
    while (cb_has_prefix(path, "./"))
        path += 2;
    return cb_arena_format(&self->arena, out, err, "%s/%s", folder, path);
}

/*
 * Absolute, if it is a path; an address with a scheme is as good as absolute. Of a libpq string
 * nothing can be said: what it names is not of this folder.
 */
static cb_code absolute_address(cb_schedule *self, const char *address, const char **out,
                                cb_error *err)
{
    static const char *const kinds[] = {
        "ducklake:duckdb:", "ducklake:sqlite:", "ducklake:", "duckdb:", "sqlite:", "dir:"};
    static const char *const servers[] = {
        "ducklake:postgres:", "ducklake:postgresql:", "postgres:", "postgresql:"};
    size_t kind = 0;
    const char *path;
    cb_code code;

    for (size_t i = 0; i < CB_LENGTH(servers); i++)
        if (cb_has_prefix(address, servers[i]))
            return cb_arena_text(&self->arena, address, out, err);
    if (strstr(address, "://"))
        return cb_arena_text(&self->arena, address, out, err);
    while (kind < CB_LENGTH(kinds) && !cb_has_prefix(address, kinds[kind]))
        kind++;
    if (kind == CB_LENGTH(kinds))
        return absolute_path(self, address, out, err);
    code = absolute_path(self, address + strlen(kinds[kind]), &path, err);
    return code == CB_OK ? cb_arena_format(&self->arena, out, err, "%s%s", kinds[kind], path)
                         : code;
}

/* What is written down is read by others, and copied. */
static cb_code refuse_password(const char *source, cb_error *err)
{
    if (!cb_has_password(source))
        return CB_OK;
    cb_fail(err, CB_USAGE, "the source has a password in it, which the schedule would write down");
    cb_hint(err, "Leave it out, and put it into a password file (~/.pgpass, or what PGPASSFILE or "
                 "passfile= names), mode 600.");
    return err->code;
}

/* ---- command lines ------------------------------------------------------------------------ */

static bool is_from_here(const cb_config *config, cb_option_id id)
{
    return config->values[id].origin == CB_FROM_FLAG ||
           config->values[id].origin == CB_FROM_ENVIRONMENT;
}

/* Options with a place of their own in the command lines, or with no sense in them. */
static bool is_treated(cb_option_id id)
{
    return id == CB_OPT_REPO || id == CB_OPT_LOCK_WAIT || id == CB_OPT_NAME || id == CB_OPT_TAG ||
           id == CB_OPT_PROGRESS || id == CB_OPT_JSON || id == CB_OPT_LOG_FILE;
}

/* A secret is never written down; --before and --after are those of the backup. */
static bool is_left_out(cb_option_id id, cb_command_id command)
{
    return (cb_options[id].flags & CB_OPTION_SECRET) != 0 ||
           (command != CB_COMMAND_BACKUP && (id == CB_OPT_BEFORE || id == CB_OPT_AFTER));
}

static cb_code carry_one(cb_schedule *self, const cb_config *config, cb_option_id id,
                         cb_words *words, cb_error *err)
{
    const cb_value *value = &config->values[id];
    const char *text = value->text;
    cb_code code = CB_OK;

    if (cb_options[id].type == CB_TYPE_FLAG)
        return add_flag(self, words, id, value->number != 0, err);
    if (cb_options[id].type == CB_TYPE_PATH)
        code = absolute_path(self, text, &text, err);
    else if (id == CB_OPT_DATA_PATH)
        code = absolute_address(self, text, &text, err);
    else if (id == CB_OPT_DATA && cb_replica_of(text)) {
        code = absolute_address(self, cb_replica_of(text), &text, err);
        if (code == CB_OK)
            code = cb_arena_format(&self->arena, &text, err, "replica=%s", text);
    }
    return code == CB_OK ? add_option(self, words, id, text, err) : code;
}

/* The options given here that `command` takes too. */
static cb_code carry(cb_schedule *self, const cb_config *config, cb_command_id command,
                     cb_words *words, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++) {
        cb_option_id id = (cb_option_id)i;

        if (is_from_here(config, id) && !is_treated(id) && !is_left_out(id, command) &&
            cb_option_applies(id, command) && cb_option_applies(id, CB_COMMAND_SCHEDULE))
            code = carry_one(self, config, id, words, err);
    }
    if (command != CB_COMMAND_BACKUP || !is_from_here(config, CB_OPT_TAG))
        return code;
    for (size_t i = 0; i < config->line.option_count && code == CB_OK; i++)
        if (config->line.options[i].id == CB_OPT_TAG)
            code = add_option(self, words, CB_OPT_TAG, config->line.options[i].text, err);
    return code;
}

/* `count` of the repositories, from number `first` on. */
static cb_code add_common(cb_schedule *self, const cb_config *config, size_t first, size_t count,
                          cb_words *words, cb_error *err)
{
    const cb_value *wait = &config->values[CB_OPT_LOCK_WAIT];
    const char *seconds;
    cb_code code = CB_OK;

    if (config->repo_count == 0)
        return cb_fail(err, CB_USAGE, "no repository is given, and there is no home folder");
    for (size_t i = first; i < first + count && code == CB_OK; i++) {
        const char *address;

        code = absolute_address(self, config->repos[i], &address, err);
        if (code == CB_OK)
            code = add_option(self, words, CB_OPT_REPO, address, err);
    }
    if (code == CB_OK)
        code =
            cb_arena_format(&self->arena, &seconds, err, "%lld",
                            wait->origin == CB_FROM_DEFAULT ? (long long)LOCK_WAIT_SECONDS
                                                            : (long long)(wait->number / 1000000));
    if (code == CB_OK)
        code = add_option(self, words, CB_OPT_LOCK_WAIT, seconds, err);
    if (code == CB_OK)
        code = add_option(self, words, CB_OPT_PROGRESS, "none", err);
    return code;
}

static cb_code plan_backup(cb_schedule *self, const cb_config *config, const char *program,
                           cb_error *err)
{
    const char *source;
    cb_code code = absolute_address(self, config->line.operands[0], &source, err);

    if (code == CB_OK)
        code = add_word(self, &self->backup, program, err);
    if (code == CB_OK)
        code = add_word(self, &self->backup, "backup", err);
    if (code == CB_OK)
        code = add_word(self, &self->backup, source, err);
    if (code == CB_OK)
        code = add_option(self, &self->backup, CB_OPT_NAME, self->name, err);
    if (code == CB_OK)
        code = add_flag(self, &self->backup, CB_OPT_NO_CREATE, true, err);
    if (code == CB_OK)
        code = add_common(self, config, 0, config->repo_count, &self->backup, err);
    return code == CB_OK ? carry(self, config, CB_COMMAND_BACKUP, &self->backup, err) : code;
}

static cb_code plan_one_expire(cb_schedule *self, const cb_config *config, size_t repo,
                               const char *program, cb_words *words, cb_error *err)
{
    cb_code code = add_word(self, words, program, err);

    if (code == CB_OK)
        code = add_word(self, words, "expire", err);
    if (code == CB_OK)
        code = add_word(self, words, self->name, err);
    if (code == CB_OK)
        code = add_common(self, config, repo, 1, words, err);
    return code == CB_OK ? carry(self, config, CB_COMMAND_EXPIRE, words, err) : code;
}

/* backup writes to all repositories in one run, expire goes through one. */
static cb_code plan_expire(cb_schedule *self, const cb_config *config, const char *program,
                           cb_error *err)
{
    cb_code code;

    if (!cb_has_keep_rules(config))
        return CB_OK;
    code = cb_arena_alloc(&self->arena, config->repo_count * sizeof(*self->expires), &self->expires,
                          err);
    for (size_t i = 0; i < config->repo_count && code == CB_OK; i++) {
        self->expire_count++;
        code = plan_one_expire(self, config, i, program, &self->expires[i], err);
    }
    return code;
}

/* ---- time, name, log ---------------------------------------------------------------------- */

static cb_code plan_time(cb_schedule *self, const cb_config *config, cb_error *err)
{
    static const struct {
        cb_option_id id;
        cb_schedule_when when;
    } choices[] = {{CB_OPT_HOURLY, CB_WHEN_HOURLY},
                   {CB_OPT_DAILY, CB_WHEN_DAILY},
                   {CB_OPT_WEEKLY, CB_WHEN_WEEKLY},
                   {CB_OPT_EVERY, CB_WHEN_EVERY}};
    unsigned given = 0;

    for (size_t i = 0; i < CB_LENGTH(choices); i++) {
        const cb_value *value = &config->values[choices[i].id];

        if (!value->text || (choices[i].id == CB_OPT_HOURLY && value->number == 0))
            continue;
        given++;
        self->when = choices[i].when;
        self->minutes = value->number;
    }
    if (given != 1) {
        cb_fail(err, CB_USAGE, given == 0 ? "no time is given" : "more than one time is given");
        cb_hint(err,
                "Give one of --hourly, --daily HH:MM, --weekly 'DAY HH:MM', --every DURATION.");
        return err->code;
    }
    if (self->when == CB_WHEN_EVERY && self->minutes % 60000000 != 0)
        return cb_fail(err, CB_USAGE, "--every takes whole minutes");
    if (self->when == CB_WHEN_EVERY)
        self->minutes /= 60000000;
    return CB_OK;
}

static cb_code plan_log(cb_schedule *self, const cb_config *config, bool is_root, cb_error *err)
{
    const char *given = config->values[CB_OPT_LOG_FILE].text;

    if (given)
        return absolute_path(self, given, &self->log_file, err);
    if (is_root)
        return cb_arena_format(&self->arena, &self->log_file, err, "/var/log/canvasback/%s.log",
                               self->name);
    if (!config->home) {
        cb_fail(err, CB_USAGE, "there is no home folder for the log");
        cb_hint(err, "Give --log-file FILE.");
        return err->code;
    }
    return cb_arena_format(&self->arena, &self->log_file, err, "%s/.local/state/canvasback/%s.log",
                           config->home, self->name);
}

cb_code cb_schedule_plan(const cb_config *config, const char *program, bool is_root,
                         cb_schedule *out, cb_error *err)
{
    cb_code code;

    *out = (cb_schedule){0};
    if (config->line.operand_count == 0) {
        cb_fail(err, CB_USAGE, "schedule needs SOURCE");
        cb_hint(err, "Usage: canvasback schedule SOURCE --daily 02:00 --keep-daily 7 [--install]");
        return err->code;
    }
    if (!config->subject) {
        cb_fail(err, CB_USAGE, "no name follows from '%s'", config->line.operands[0]);
        cb_hint(err, "Give --name NAME.");
        return err->code;
    }
    out->name = config->subject;
    code = refuse_password(config->line.operands[0], err);
    if (code == CB_OK)
        code = cb_lake_options_check(config, config->line.operands[0], err);
    if (code == CB_OK)
        code = plan_time(out, config, err);
    if (code == CB_OK)
        code = plan_log(out, config, is_root, err);
    if (code == CB_OK)
        code = plan_backup(out, config, program, err);
    return code == CB_OK ? plan_expire(out, config, program, err) : code;
}

void cb_schedule_free(cb_schedule *schedule)
{
    free(schedule->backup.items);
    for (size_t i = 0; i < schedule->expire_count; i++)
        free(schedule->expires[i].items);
    cb_arena_free(&schedule->arena);
    *schedule = (cb_schedule){0};
}
