/*
 * Installing, listing and removing. Unit files appear whole (written beside, synced, renamed) and
 * are enabled last; removal disables first. A rerun finishes what an interrupted run began: every
 * step can be repeated.
 *
 * The user's crontab is replaced as a whole by crontab(1), so it is only touched when it was read
 * without doubt: "no crontab" is an answer, any other failure is not.
 */
#include "cli/schedule.h"

#include "base/array.h"
#include "base/text.h"
#include "cli/child.h"
#include "cli/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CRONTAB_BYTES_MAX = 1 << 20, UNIT_BYTES_MAX = 1 << 16 };

static const char unit_prefix[] = "canvasback-";
static const char agent_prefix[] = "canvasback.";

/* ---- places ------------------------------------------------------------------------------- */

static cb_code join(char out[CB_PATH_MAX], cb_error *err, const char *format, ...) CB_PRINTF(3, 4);

static cb_code join(char out[CB_PATH_MAX], cb_error *err, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(out, CB_PATH_MAX, format, args);
    va_end(args);
    if (size < 0 || size >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "a path is longer than %d bytes", CB_PATH_MAX - 1);
    return CB_OK;
}

cb_code cb_schedule_places_find(const cb_config *config, cb_schedule_places *out, cb_error *err)
{
    const char *xdg = cb_environment_get(config->environment, "XDG_CONFIG_HOME");
    cb_code code = CB_OK;

    *out = (cb_schedule_places){0};
    out->is_system = geteuid() == 0;
    out->has_systemd = cb_path_exists("/run/systemd/system");
    out->has_crontab = cb_program_exists("crontab");
    if (out->is_system)
        code = join(out->unit_folder, err, "/etc/systemd/system");
    else if (xdg && xdg[0] == '/')
        code = join(out->unit_folder, err, "%s/systemd/user", xdg);
    else if (config->home)
        code = join(out->unit_folder, err, "%s/.config/systemd/user", config->home);
    if (code == CB_OK && out->is_system)
        code = join(out->agent_folder, err, "/Library/LaunchDaemons");
    else if (code == CB_OK && config->home)
        code = join(out->agent_folder, err, "%s/Library/LaunchAgents", config->home);
    return code;
}

/* ---- files -------------------------------------------------------------------------------- */

static cb_code make_log_folder(const char *log_file, cb_error *err)
{
    char folder[CB_PATH_MAX];
    char *slash;
    cb_code code = join(folder, err, "%s", log_file);

    if (code != CB_OK)
        return code;
    slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return CB_OK;
    *slash = '\0';
    return cb_folder_make(folder, err);
}

static cb_code remove_file(const char *path, bool *removed, cb_error *err)
{
    if (unlink(path) == 0) {
        *removed = true;
        return cb_parent_sync(path, err);
    }
    return errno == ENOENT || errno == ENOTDIR
               ? CB_OK
               : cb_fail_errno(err, errno, "cannot remove '%s'", path);
}

/* ---- systemd ------------------------------------------------------------------------------ */

/* systemctl [--user] VERB [UNIT]; with `must`, a failure is an error. */
static cb_code systemctl(const cb_schedule_places *places, const char *verb, const char *flag,
                         const char *unit, bool must, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf output = {.limit = UNIT_BYTES_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf errors = {.limit = UNIT_BYTES_MAX};
    const char *argv[8];
    size_t count = 0;
    int status;
    cb_code code;

    argv[count++] = "systemctl";
    if (!places->is_system)
        argv[count++] = "--user";
    argv[count++] = verb;
    if (flag)
        argv[count++] = flag;
    if (unit)
        argv[count++] = unit;
    argv[count] = NULL;
    code = cb_spawn(argv, cb_bytes_of(NULL, 0), &output, &errors, &status, err);
    if (code != CB_OK || status == 0 || !must)
        return code;
    cb_fail(err, CB_IO, "systemctl %s %s fails: %.*s", verb, unit ? unit : "",
            (int)strcspn(errors.size ? (const char *)errors.data : "\n", "\n"),
            errors.size ? (const char *)errors.data : "");
    cb_hint(err, "The unit files are in %s.", places->unit_folder);
    return err->code;
}

static cb_code install_systemd(const cb_schedule *schedule, const cb_schedule_places *places,
                               cb_buf *told, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf service = {0};
    CB_CLEANUP(cb_buf_free) cb_buf timer = {0};
    char service_path[CB_PATH_MAX];
    char timer_path[CB_PATH_MAX];
    char unit[CB_NAME_TEXT_MAX + 32];
    cb_code code;

    snprintf(unit, sizeof(unit), "%s%s.timer", unit_prefix, schedule->name);
    code = join(service_path, err, "%s/%s%s.service", places->unit_folder, unit_prefix,
                schedule->name);
    if (code == CB_OK)
        code = join(timer_path, err, "%s/%s", places->unit_folder, unit);
    if (code == CB_OK)
        code = cb_schedule_service(schedule, &service, err);
    if (code == CB_OK)
        code = cb_schedule_timer(schedule, &timer, err);
    if (code == CB_OK)
        code = cb_folder_make(places->unit_folder, err);
    if (code == CB_OK) /* the service first: no timer without what it starts */
        code = cb_output_file(service_path, cb_buf_bytes(&service), err);
    if (code == CB_OK)
        code = cb_output_file(timer_path, cb_buf_bytes(&timer), err);
    if (code == CB_OK)
        code = cb_buf_format(told, err, "written: %s\nwritten: %s\n", service_path, timer_path);
    if (code != CB_OK)
        return code;
    if (!places->has_systemd)
        return cb_buf_format(told, err,
                             "systemd does not run here; where it does:\n"
                             "  systemctl %sdaemon-reload\n  systemctl %senable --now %s\n",
                             places->is_system ? "" : "--user ", places->is_system ? "" : "--user ",
                             unit);
    code = systemctl(places, "daemon-reload", NULL, NULL, true, err);
    if (code == CB_OK)
        code = systemctl(places, "enable", "--now", unit, true, err);
    if (code == CB_OK)
        code = cb_buf_format(told, err, "enabled: %s\n", unit);
    if (code == CB_OK && !places->is_system)
        code = cb_buf_format(told, err,
                             "it runs while you are logged in; to have it run always:\n"
                             "  loginctl enable-linger\n");
    return code;
}

static cb_code remove_systemd(const char *name, const cb_schedule_places *places, cb_buf *told,
                              bool *found, cb_error *err)
{
    char path[CB_PATH_MAX];
    char unit[CB_NAME_TEXT_MAX + 32];
    bool removed = false;
    cb_code code;

    snprintf(unit, sizeof(unit), "%s%s.timer", unit_prefix, name);
    code = join(path, err, "%s/%s", places->unit_folder, unit);
    if (code != CB_OK)
        return code;
    if (places->has_systemd && cb_path_exists(path))
        code = systemctl(places, "disable", "--now", unit, true, err);
    if (code == CB_OK)
        code = remove_file(path, &removed, err);
    if (code == CB_OK)
        code = join(path, err, "%s/%s%s.service", places->unit_folder, unit_prefix, name);
    if (code == CB_OK)
        code = remove_file(path, &removed, err);
    if (code == CB_OK && removed && places->has_systemd)
        code = systemctl(places, "daemon-reload", NULL, NULL, false, err);
    if (code == CB_OK && removed)
        code = cb_buf_format(told, err, "removed: %s\n", unit);
    *found = *found || removed;
    return code;
}

/* ---- cron --------------------------------------------------------------------------------- */

static cb_code read_crontab(cb_buf *out, cb_error *err)
{
    static const char *const argv[] = {"crontab", "-l", NULL};
    CB_CLEANUP(cb_buf_free) cb_buf errors = {.limit = UNIT_BYTES_MAX};
    int status;
    cb_code code;

    code = cb_spawn(argv, cb_bytes_of(NULL, 0), out, &errors, &status, err);
    if (code != CB_OK || status == 0)
        return code;
    if (errors.size > 0 && memmem(errors.data, errors.size, "no crontab", 10)) {
        out->size = 0;
        return CB_OK;
    }
    cb_fail(err, CB_IO, "the crontab cannot be read: crontab -l ends with %d", status);
    cb_hint(err, "It was left as it is. Print the line without --install and add it by hand.");
    return err->code;
}

static cb_code write_crontab(cb_bytes text, cb_error *err)
{
    static const char *const argv[] = {"crontab", "-", NULL};
    CB_CLEANUP(cb_buf_free) cb_buf output = {.limit = UNIT_BYTES_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf errors = {.limit = UNIT_BYTES_MAX};
    int status;
    cb_code code;

    code = cb_spawn(argv, text, &output, &errors, &status, err);
    if (code == CB_OK && status != 0)
        code = cb_fail(err, CB_IO, "crontab refuses the new table: %.*s",
                       (int)strcspn(errors.size ? (const char *)errors.data : "\n", "\n"),
                       errors.size ? (const char *)errors.data : "");
    return code;
}

static cb_code install_cron(const cb_schedule *schedule, cb_buf *told, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf old = {.limit = CRONTAB_BYTES_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf fresh = {0};
    CB_CLEANUP(cb_buf_free) cb_buf line = {0};
    size_t removed;
    cb_code code = cb_schedule_cron(schedule, &line, err);

    if (code == CB_OK)
        code = cb_buf_append(&line, "", 1, err); /* its NUL */
    if (code == CB_OK)
        code = read_crontab(&old, err);
    if (code == CB_OK)
        code = cb_crontab_edit(cb_buf_bytes(&old), schedule->name, (const char *)line.data, &fresh,
                               &removed, err);
    if (code == CB_OK)
        code = write_crontab(cb_buf_bytes(&fresh), err);
    if (code == CB_OK)
        code = cb_buf_format(told, err, "in the crontab%s:\n%s",
                             removed > 0 ? ", in place of the line that was there" : "",
                             (const char *)line.data);
    return code;
}

static cb_code remove_cron(const char *name, cb_buf *told, bool *found, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf old = {.limit = CRONTAB_BYTES_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf fresh = {0};
    size_t removed;
    cb_code code = read_crontab(&old, err);

    if (code == CB_OK)
        code = cb_crontab_edit(cb_buf_bytes(&old), name, NULL, &fresh, &removed, err);
    if (code != CB_OK || removed == 0)
        return code;
    code = write_crontab(cb_buf_bytes(&fresh), err);
    *found = true;
    return code == CB_OK ? cb_buf_format(told, err, "removed: crontab line of %s\n", name) : code;
}

/* ---- launchd ------------------------------------------------------------------------------ */

static cb_code install_launchd(const cb_schedule *schedule, const cb_schedule_places *places,
                               cb_buf *told, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    char path[CB_PATH_MAX];
    cb_code code = cb_schedule_launchd(schedule, &text, err);

    if (code == CB_OK)
        code = join(path, err, "%s/%s%s.plist", places->agent_folder, agent_prefix, schedule->name);
    if (code == CB_OK)
        code = cb_folder_make(places->agent_folder, err);
    if (code == CB_OK)
        code = cb_output_file(path, cb_buf_bytes(&text), err);
    if (code == CB_OK)
        code = cb_buf_format(told, err, "written: %s\nto start it now: launchctl load '%s'\n", path,
                             path);
    return code;
}

static cb_code remove_launchd(const char *name, const cb_schedule_places *places, cb_buf *told,
                              bool *found, cb_error *err)
{
    char path[CB_PATH_MAX];
    bool removed = false;
    cb_code code;

    if (places->agent_folder[0] == '\0')
        return CB_OK;
    code = join(path, err, "%s/%s%s.plist", places->agent_folder, agent_prefix, name);
    if (code == CB_OK)
        code = remove_file(path, &removed, err);
    if (code == CB_OK && removed)
        code = cb_buf_format(told, err, "removed: %s\nto stop it now: launchctl remove %s%s\n",
                             path, agent_prefix, name);
    *found = *found || removed;
    return code;
}

/* ---- all kinds ---------------------------------------------------------------------------- */

cb_code cb_schedule_install(const cb_schedule *schedule, cb_schedule_kind kind,
                            const cb_schedule_places *places, cb_buf *told, cb_error *err)
{
    cb_code code = make_log_folder(schedule->log_file, err);

    if (code != CB_OK)
        return code;
    switch (kind) {
    case CB_SCHEDULE_SYSTEMD:
        return install_systemd(schedule, places, told, err);
    case CB_SCHEDULE_CRON:
        return install_cron(schedule, told, err);
    case CB_SCHEDULE_LAUNCHD:
        return install_launchd(schedule, places, told, err);
    case CB_SCHEDULE_AUTO:
        break;
    }
    cb_fail(err, CB_UNSUPPORTED, "there is neither systemd nor crontab here");
    cb_hint(err, "Print the lines with --kind systemd or --kind cron and install them where they "
                 "are to run.");
    return err->code;
}

cb_code cb_schedule_remove(const char *name, const cb_schedule_places *places, cb_buf *told,
                           cb_error *err)
{
    bool found = false;
    cb_code code = remove_systemd(name, places, told, &found, err);

    if (code == CB_OK && places->has_crontab)
        code = remove_cron(name, told, &found, err);
    if (code == CB_OK)
        code = remove_launchd(name, places, told, &found, err);
    if (code != CB_OK || found)
        return code;
    cb_fail(err, CB_NOT_FOUND, "nothing is scheduled for '%s'", name);
    cb_hint(err, "'canvasback schedule --list' shows what is.");
    err->in_repository = true; /* a name that is not there: exit code 5 */
    return err->code;
}

/* ---- list --------------------------------------------------------------------------------- */

/* The value of the first line "key=value" of a timer that tells when. */
static cb_code timer_text(cb_schedule_entries *into, const char *path, const char **out,
                          cb_error *err)
{
    static const char *const keys[] = {"OnCalendar=", "OnUnitActiveSec="};
    static const char *const words[] = {"", "every "};
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = UNIT_BYTES_MAX};
    const char *at;
    cb_code code = cb_file_slurp(path, &text, err);

    *out = "?";
    if (code == CB_OK)
        code = cb_buf_append(&text, "", 1, err);
    for (size_t i = 0; i < CB_LENGTH(keys) && code == CB_OK; i++) {
        at = strstr((const char *)text.data, keys[i]);
        if (!at)
            continue;
        at += strlen(keys[i]);
        return cb_arena_format(&into->arena, out, err, "%s%.*s", words[i], (int)strcspn(at, "\n"),
                               at);
    }
    return code;
}

static cb_code list_file(const char *folder, const char *file, const char *prefix,
                         const char *suffix, const char *kind, cb_schedule_entries *into,
                         cb_error *err)
{
    size_t size = strlen(file);
    cb_schedule_entry *entry;
    cb_code code = CB_OK;

    if (size <= strlen(prefix) + strlen(suffix) || !cb_has_prefix(file, prefix) ||
        !cb_has_suffix(file, suffix))
        return CB_OK;
    if (into->count == into->capacity)
        code = cb_array_grow(&into->items, &into->capacity, sizeof(*into->items), err);
    if (code != CB_OK)
        return code;
    entry = &into->items[into->count];
    entry->kind = kind;
    entry->when = "";
    code = cb_arena_text_n(&into->arena, file + strlen(prefix),
                           size - strlen(prefix) - strlen(suffix), &entry->name, err);
    if (code == CB_OK)
        code = cb_arena_format(&into->arena, &entry->place, err, "%s/%s", folder, file);
    if (code == CB_OK && strcmp(kind, "systemd") == 0)
        code = timer_text(into, entry->place, &entry->when, err);
    if (code == CB_OK)
        into->count++;
    return code;
}

static void folder_close(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static cb_code list_folder(const char *path, const char *prefix, const char *suffix,
                           const char *kind, cb_schedule_entries *into, cb_error *err)
{
    CB_CLEANUP(folder_close) DIR *folder = path[0] ? opendir(path) : NULL;
    const struct dirent *entry;
    cb_code code = CB_OK;

    if (!folder) /* nothing was ever installed there */
        return path[0] == '\0' || errno == ENOENT || errno == ENOTDIR
                   ? CB_OK
                   : cb_fail_errno(err, errno, "cannot read '%s'", path);
    while (code == CB_OK) {
        entry = readdir(folder);
        if (!entry)
            break;
        code = list_file(path, entry->d_name, prefix, suffix, kind, into, err);
    }
    return code;
}

cb_code cb_schedule_list(const cb_schedule_places *places, cb_schedule_entries *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf crontab = {.limit = CRONTAB_BYTES_MAX};
    cb_code code;

    code = list_folder(places->unit_folder, unit_prefix, ".timer", "systemd", into, err);
    if (code == CB_OK && places->has_crontab)
        code = read_crontab(&crontab, err);
    if (code == CB_OK)
        code = cb_crontab_list(cb_buf_bytes(&crontab), into, err);
    if (code == CB_OK)
        code = list_folder(places->agent_folder, agent_prefix, ".plist", "launchd", into, err);
    return code;
}

void cb_schedule_entries_free(cb_schedule_entries *entries)
{
    free(entries->items);
    cb_arena_free(&entries->arena);
    *entries = (cb_schedule_entries){0};
}
