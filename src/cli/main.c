/*
 * main.c - from the words of the command line to an exit code. Which command is which verb stands
 * in one table; what went wrong is told in one place, once.
 */
#include "cli/hooks.h"
#include "cli/json.h"
#include "cli/last_run.h"
#include "cli/output.h"
#include "cli/verbs.h"

#include "base/temp.h"

#include <malloc.h>
#include <unistd.h>

static cb_verb *const verbs[CB_COMMAND_END] = {
    [CB_COMMAND_BACKUP] = cb_verb_backup,     [CB_COMMAND_RESTORE] = cb_verb_restore,
    [CB_COMMAND_LIST] = cb_verb_list,         [CB_COMMAND_SHOW] = cb_verb_show,
    [CB_COMMAND_VERIFY] = cb_verb_verify,     [CB_COMMAND_CHECK] = cb_verb_check,
    [CB_COMMAND_EXPIRE] = cb_verb_expire,     [CB_COMMAND_COPY] = cb_verb_copy,
    [CB_COMMAND_INIT] = cb_verb_init,         [CB_COMMAND_REPO] = cb_verb_repo,
    [CB_COMMAND_REPAIR] = cb_verb_repair,     [CB_COMMAND_LAKE] = cb_verb_lake,
    [CB_COMMAND_METRICS] = cb_verb_metrics,   [CB_COMMAND_REPORT] = cb_verb_report,
    [CB_COMMAND_SCHEDULE] = cb_verb_schedule, [CB_COMMAND_HELP] = cb_verb_help,
    [CB_COMMAND_VERSION] = cb_verb_version,   [CB_COMMAND_COMPLETION] = cb_verb_completion,
};

static cb_verb *choose(const cb_config *config)
{
    if (cb_config_flag(config, CB_OPT_HELP))
        return cb_verb_help;
    if (cb_config_flag(config, CB_OPT_VERSION))
        return cb_verb_version;
    return verbs[config->line.command];
}

/* A secret in an operand is seen by every user of the machine. */
static void warn_of_secrets(cb_door *door)
{
    for (size_t i = 0; i < door->config->line.operand_count; i++)
        if (cb_has_password(door->config->line.operands[i]))
            cb_door_say(door, CB_EVENT_WARNING,
                        "a password on the command line is seen by every user of this machine; "
                        "use a password file (PGPASSFILE) or PGPASSWORD");
}

static cb_code print_result(cb_door *door, cb_error *err)
{
    cb_buf *result = door->json ? &door->object : &door->out;
    cb_code code;

    if (!door->json)
        cb_output_tame(result);
    code = cb_output_result(cb_buf_bytes(result), err);
    return code == CB_OK ? cb_output_close(err) : code;
}

/*
 * The verb, then --after, then the result: what was done is told even when --after fails, and its
 * failure counts where there was no other.
 */
static cb_code run(cb_config *config, cb_door *door, cb_error *err)
{
    cb_verb *verb = choose(config);
    cb_error after = {0};
    cb_code code = cb_door_init(door, config, err);

    if (code != CB_OK)
        return code;
    if (!verb)
        return cb_fail(err, CB_UNSUPPORTED, "this command is not in this version");
    warn_of_secrets(door);
    code = verb(door, err);
    cb_progress_end(&door->progress);
    if (cb_hook_after(door, code != CB_OK ? err : &door->damage, &after) != CB_OK) {
        if (code == CB_OK && door->damage.code == CB_OK)
            door->damage = after;
        else
            cb_door_say(door, CB_EVENT_ERROR, "%s", after.message);
    }
    return code == CB_OK ? print_result(door, err) : code;
}

/* Was it a run whose end monitoring wants to know of, and of which database? */
static bool is_noted(const cb_door *door)
{
    cb_command_id command = door->config->line.command;

    return door->name[0] != '\0' && choose(door->config) == verbs[command] &&
           (command == CB_COMMAND_BACKUP || command == CB_COMMAND_VERIFY ||
            command == CB_COMMAND_EXPIRE);
}

/* Never a reason to fail: what had to be done is done, or has failed already. */
static void note_last_run(const cb_door *door, const cb_error *failure)
{
    const cb_config *config = door->config;
    cb_last_run note = {
        .name = door->name,
        .started_us = door->started_us,
        .finished_us = cb_door_now_us(),
    };
    size_t count = config->line.command == CB_COMMAND_BACKUP ? config->repo_count : 1;

    for (size_t i = 0; i < count && i < config->repo_count; i++) {
        /* Where the failure is that of other repositories, this one's run was good. */
        bool is_spared = door->failed_places != 0 && !(i < 64 && door->failed_places >> i & 1);
        cb_error ignored = {0};

        note.command = cb_commands[config->line.command].name;
        note.exit_code = is_spared ? 0 : cb_exit_code(failure);
        note.message = is_spared ? "" : failure->message;
        cb_ignore(cb_last_run_write(config, config->repos[i], &note, &ignored));
    }
}

/* A full disk is met anywhere; the message says where. */
static void advise(cb_error *err)
{
    if (err->code == CB_NO_SPACE)
        cb_hint(err, strstr(err->message, cb_temp_prefix) != NULL
                         ? "Set TMPDIR to a folder with more room."
                         : "Free some space there, or name another place.");
}

/* In the form that was asked for, and in words for whoever reads the log. */
static void report(cb_error *err, bool json)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_error second = {0};

    advise(err);
    if (json && cb_json_error(err, &text, &second) == CB_OK)
        cb_ignore(cb_output_result(cb_buf_bytes(&text), &second)); /* there is no third way */
    cb_output_error(err);
}

/* PostgreSQL takes 1 from archive-get for "surely absent", and only above 125 for a failure. */
static int exit_code_for(int argc, const char *const *argv, const cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_command_line line;
    cb_error ignored = {0};

    cb_ignore(cb_command_line_parse(argc, argv, &arena, &line, &ignored));
    if (line.command == CB_COMMAND_ARCHIVE_GET)
        return 126;
    return cb_exit_code(err);
}

/* From here on memory comes from the system, and goes back when it is freed. */
enum { LARGE_BUFFER = 256 << 10 };

int main(int argc, char **argv)
{
    const char *const *words = (const char *const *)argv;
    const char *const *environment = (const char *const *)environ;
    cb_config *config = NULL;
    cb_door door = {0};
    cb_error err = {0};
    int exit_code = 0;

    /* Else what one thread frees is kept for that thread, and sixteen of them keep it many times.
     */
    mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER);
    cb_output_guard();
    if (cb_config_read(argc, words, environment, &config, &err) != CB_OK) {
        report(&err, cb_config_wants_json(argc, words, environment));
        return exit_code_for(argc, words, &err);
    }
    if (run(config, &door, &err) != CB_OK) {
        report(&err, door.json);
    } else {
        err = door.damage; /* what was survived on the way may still stand in it */
        if (err.code != CB_OK)
            cb_output_error(&err); /* the result itself has been printed */
    }
    exit_code = err.code == CB_OK ? door.exit_code : cb_exit_code(&err);
    if (err.code != CB_OK)
        cb_hook_failure(&door, &err);
    if (is_noted(&door))
        note_last_run(&door, &err);
    cb_door_free(&door);
    cb_config_free(config);
    return exit_code;
}
