/*
 * Three syntaxes for the same thing. Their traps: systemd expands '%' and '$' and knows C escapes
 * inside double quotes; cron ends the command at a bare '%' and holds lines of about 1000
 * characters; a property list is XML. None can carry a line break.
 */
#include "cli/schedule.h"

#include "base/array.h"
#include "base/text.h"
#include "cli/render.h"

#include <stdio.h>
#include <string.h>

enum { CRON_COMMAND_MAX = 990 };

static const char marker[] = " # canvasback ";

static const char *const day_names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

static cb_code refuse_control(const char *text, cb_error *err)
{
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at >= 0x20 && *at != 0x7f)
            continue;
        return cb_fail(err, CB_USAGE, "'%s' has a control character, which no schedule can carry",
                       text);
    }
    return CB_OK;
}

/* ---- systemd ------------------------------------------------------------------------------ */

/* One argument of ExecStart. */
static cb_code systemd_word(const char *text, cb_buf *out, cb_error *err)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "_+=:,./-";
    cb_code code = refuse_control(text, err);

    if (code == CB_OK && *text && strspn(text, harmless) == strlen(text))
        return cb_buf_append(out, text, strlen(text), err);
    if (code == CB_OK)
        code = cb_buf_append(out, "\"", 1, err);
    for (; *text && code == CB_OK; text++) {
        if (*text == '%' || *text == '$')
            code = cb_buf_append(out, text, 1, err); /* doubled */
        else if (*text == '"' || *text == '\\')
            code = cb_buf_append(out, "\\", 1, err);
        if (code == CB_OK)
            code = cb_buf_append(out, text, 1, err);
    }
    return code == CB_OK ? cb_buf_append(out, "\"", 1, err) : code;
}

static cb_code exec_start(const cb_words *words, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    if (words->count == 0)
        return CB_OK;
    code = cb_buf_format(out, err, "ExecStart=");
    for (size_t i = 0; i < words->count && code == CB_OK; i++) {
        if (i > 0)
            code = cb_buf_append(out, " ", 1, err);
        if (code == CB_OK)
            code = systemd_word(words->items[i], out, err);
    }
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

/* A path to the end of the line: no quotes there, but specifiers. */
static cb_code systemd_path(const char *key, const char *path, cb_buf *out, cb_error *err)
{
    cb_code code = refuse_control(path, err);

    if (code == CB_OK)
        code = cb_buf_format(out, err, "%s=append:", key);
    for (; *path && code == CB_OK; path++)
        code = *path == '%' ? cb_buf_append(out, "%%", 2, err) : cb_buf_append(out, path, 1, err);
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

cb_code cb_schedule_service(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "[Unit]\nDescription=Canvasback backup of %s\n\n"
                         "[Service]\nType=oneshot\n",
                         schedule->name);
    if (code == CB_OK)
        code = exec_start(&schedule->backup, out, err);
    for (size_t i = 0; i < schedule->expire_count && code == CB_OK; i++)
        code = exec_start(&schedule->expires[i], out, err);
    if (code == CB_OK)
        code = systemd_path("StandardOutput", schedule->log_file, out, err);
    if (code == CB_OK)
        code = systemd_path("StandardError", schedule->log_file, out, err);
    return code;
}

static cb_code timer_when(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    long long minutes = (long long)schedule->minutes;
    long long of_day = minutes % (24 * 60);

    switch (schedule->when) {
    case CB_WHEN_HOURLY:
        return cb_buf_format(out, err, "OnCalendar=*-*-* *:00:00\nPersistent=true\n");
    case CB_WHEN_DAILY:
        return cb_buf_format(out, err, "OnCalendar=*-*-* %02lld:%02lld:00\nPersistent=true\n",
                             of_day / 60, of_day % 60);
    case CB_WHEN_WEEKLY:
        return cb_buf_format(out, err, "OnCalendar=%s *-*-* %02lld:%02lld:00\nPersistent=true\n",
                             day_names[minutes / (24 * 60) % 7], of_day / 60, of_day % 60);
    case CB_WHEN_EVERY: /* by the clock where the distance allows it: then it can catch up */
        if (minutes < 60 && 60 % minutes == 0)
            return cb_buf_format(out, err, "OnCalendar=*-*-* *:00/%lld:00\nPersistent=true\n",
                                 minutes);
        if (minutes % 60 == 0 && minutes < 24 * 60 && 24 % (minutes / 60) == 0)
            return cb_buf_format(out, err, "OnCalendar=*-*-* 00/%lld:00:00\nPersistent=true\n",
                                 minutes / 60);
        return cb_buf_format(out, err, "OnActiveSec=%lldmin\nOnUnitActiveSec=%lldmin\n", minutes,
                             minutes);
    }
    return cb_fail(err, CB_INTERNAL, "a schedule without a time");
}

cb_code cb_schedule_timer(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err, "[Unit]\nDescription=Canvasback backup of %s\n\n[Timer]\n",
                         schedule->name);
    if (code == CB_OK)
        code = timer_when(schedule, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "\n[Install]\nWantedBy=timers.target\n");
    return code;
}

/* ---- cron --------------------------------------------------------------------------------- */

static cb_code cron_when(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    long long minutes = (long long)schedule->minutes;
    long long of_day = minutes % (24 * 60);

    switch (schedule->when) {
    case CB_WHEN_HOURLY:
        return cb_buf_format(out, err, "0 * * * * ");
    case CB_WHEN_DAILY:
        return cb_buf_format(out, err, "%lld %lld * * * ", of_day % 60, of_day / 60);
    case CB_WHEN_WEEKLY: /* cron's week begins on Sunday */
        return cb_buf_format(out, err, "%lld %lld * * %lld ", of_day % 60, of_day / 60,
                             (minutes / (24 * 60) + 1) % 7);
    case CB_WHEN_EVERY:
        if (minutes == 1)
            return cb_buf_format(out, err, "* * * * * ");
        if (minutes < 60 && 60 % minutes == 0)
            return cb_buf_format(out, err, "*/%lld * * * * ", minutes);
        if (minutes == 60)
            return cb_buf_format(out, err, "0 * * * * ");
        if (minutes < 24 * 60 && minutes % 60 == 0 && 24 % (minutes / 60) == 0)
            return cb_buf_format(out, err, "0 */%lld * * * ", minutes / 60);
        if (minutes == 24 * 60)
            return cb_buf_format(out, err, "0 0 * * * ");
        cb_fail(err, CB_USAGE, "a crontab cannot say every %lld minutes", minutes);
        cb_hint(err, "Take minutes that divide an hour, hours that divide a day, or "
                     "--kind systemd.");
        return err->code;
    }
    return cb_fail(err, CB_INTERNAL, "a schedule without a time");
}

/* A word of the shell, with the '%' that cron would take for itself. */
static cb_code cron_word(const char *text, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf word = {0};
    cb_code code = refuse_control(text, err);

    if (code == CB_OK)
        code = cb_shell_word(text, &word, err);
    for (size_t i = 0; i < word.size && code == CB_OK; i++) {
        if (word.data[i] == '%')
            code = cb_buf_append(out, "\\", 1, err);
        if (code == CB_OK)
            code = cb_buf_append(out, word.data + i, 1, err);
    }
    return code;
}

static cb_code cron_words(const cb_words *words, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < words->count && code == CB_OK; i++) {
        if (i > 0)
            code = cb_buf_append(out, " ", 1, err);
        if (code == CB_OK)
            code = cron_word(words->items[i], out, err);
    }
    return code;
}

/* "mkdir -p FOLDER && ", so that the line works wherever it is pasted. */
static cb_code cron_log_folder(const char *log_file, cb_buf *out, cb_error *err)
{
    char folder[CB_PATH_MAX];
    char *slash;
    cb_code code;

    if (strlen(log_file) >= sizeof(folder))
        return cb_fail(err, CB_TOO_LARGE, "the path of the log is too long");
    memcpy(folder, log_file, strlen(log_file) + 1);
    slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return CB_OK;
    *slash = '\0';
    code = cb_buf_format(out, err, "mkdir -p ");
    if (code == CB_OK)
        code = cron_word(folder, out, err);
    return code == CB_OK ? cb_buf_format(out, err, " && ") : code;
}

static cb_code cron_command(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    cb_code code = cron_log_folder(schedule->log_file, out, err);

    if (code == CB_OK)
        code = cb_buf_format(out, err, "{ ");
    if (code == CB_OK)
        code = cron_words(&schedule->backup, out, err);
    for (size_t i = 0; i < schedule->expire_count && code == CB_OK; i++) {
        code = cb_buf_format(out, err, " && ");
        if (code == CB_OK)
            code = cron_words(&schedule->expires[i], out, err);
    }
    if (code == CB_OK)
        code = cb_buf_format(out, err, "; } >>");
    if (code == CB_OK)
        code = cron_word(schedule->log_file, out, err);
    return code == CB_OK ? cb_buf_format(out, err, " 2>&1%s%s", marker, schedule->name) : code;
}

cb_code cb_schedule_cron(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    size_t at;
    cb_code code = cron_when(schedule, out, err);

    at = out->size;
    if (code == CB_OK)
        code = cron_command(schedule, out, err);
    if (code == CB_OK && out->size - at > CRON_COMMAND_MAX) {
        cb_fail(err, CB_USAGE, "the command is too long for a crontab (%zu characters of %d)",
                out->size - at, CRON_COMMAND_MAX);
        cb_hint(err, "Put options into the configuration file, or take --kind systemd.");
        return err->code;
    }
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

/* Is this line ours? Then *name is what stands behind the marker. */
static bool is_ours(cb_bytes line, cb_bytes *name)
{
    size_t size = sizeof(marker) - 1;

    for (size_t at = line.size; at > 0; at--) {
        size_t start = at - 1;

        if (line.size - start < size || memcmp(line.data + start, marker, size) != 0)
            continue;
        *name = cb_bytes_of(line.data + start + size, line.size - start - size);
        return line.data[0] != '#'; /* a line commented out is the user's own note */
    }
    return false;
}

static cb_bytes next_line(cb_bytes *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end ? (size_t)(end - text->data) : text->size;
    cb_bytes line = cb_bytes_of(text->data, size);

    size += end != NULL;
    *text = cb_bytes_of(text->data + size, text->size - size);
    return line;
}

cb_code cb_crontab_edit(cb_bytes old, const char *name, const char *line, cb_buf *out,
                        size_t *removed, cb_error *err)
{
    cb_code code = CB_OK;

    *removed = 0;
    while (old.size > 0 && code == CB_OK) {
        cb_bytes at = next_line(&old);
        cb_bytes owner;

        if (is_ours(at, &owner) && owner.size == strlen(name) &&
            memcmp(owner.data, name, owner.size) == 0) {
            *removed += 1;
            continue;
        }
        code = cb_buf_append(out, at.data, at.size, err);
        if (code == CB_OK) /* crontab refuses a last line without its end */
            code = cb_buf_append(out, "\n", 1, err);
    }
    if (code == CB_OK && line)
        code = cb_buf_append(out, line, strlen(line), err);
    return code;
}

/* The first five words. */
static size_t fields_size(cb_bytes line)
{
    size_t at = 0;

    for (unsigned field = 0; field < 5; field++) {
        while (at < line.size && line.data[at] == ' ')
            at++;
        while (at < line.size && line.data[at] != ' ')
            at++;
    }
    return at;
}

cb_code cb_crontab_list(cb_bytes crontab, cb_schedule_entries *into, cb_error *err)
{
    cb_code code = CB_OK;

    while (crontab.size > 0 && code == CB_OK) {
        cb_bytes line = next_line(&crontab);
        cb_bytes name;
        cb_schedule_entry *entry;

        if (!is_ours(line, &name))
            continue;
        if (into->count == into->capacity)
            code = cb_array_grow(&into->items, &into->capacity, sizeof(*into->items), err);
        if (code != CB_OK)
            return code;
        entry = &into->items[into->count];
        entry->kind = "cron";
        entry->place = "crontab";
        code = cb_arena_text_n(&into->arena, name.data, name.size, &entry->name, err);
        if (code == CB_OK)
            code = cb_arena_text_n(&into->arena, line.data, fields_size(line), &entry->when, err);
        if (code == CB_OK)
            into->count++;
    }
    return code;
}

/* ---- launchd ------------------------------------------------------------------------------ */

static cb_code xml_text(const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = refuse_control(text, err);

    for (; *text && code == CB_OK; text++) {
        if (*text == '&')
            code = cb_buf_append(out, "&amp;", 5, err);
        else if (*text == '<')
            code = cb_buf_append(out, "&lt;", 4, err);
        else if (*text == '>')
            code = cb_buf_append(out, "&gt;", 4, err);
        else
            code = cb_buf_append(out, text, 1, err);
    }
    return code;
}

static cb_code xml_string(const char *before, const char *text, const char *after, cb_buf *out,
                          cb_error *err)
{
    cb_code code;

    if (!cb_is_utf8(text, strlen(text)))
        return cb_fail(err, CB_USAGE, "'%s' is not UTF-8, and a property list is", text);
    code = cb_buf_format(out, err, "%s<string>", before);
    if (code == CB_OK)
        code = xml_text(text, out, err);
    return code == CB_OK ? cb_buf_format(out, err, "</string>\n%s", after) : code;
}

static cb_code shell_words(const cb_words *words, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < words->count && code == CB_OK; i++) {
        if (i > 0)
            code = cb_buf_append(out, " ", 1, err);
        if (code == CB_OK)
            code = cb_shell_word(words->items[i], out, err);
    }
    return code;
}

/* launchd runs one program: two commands need a shell between them. */
static cb_code launchd_arguments(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf script = {0};
    cb_code code = cb_buf_format(out, err, "    <key>ProgramArguments</key>\n    <array>\n");

    if (schedule->expire_count == 0) {
        for (size_t i = 0; i < schedule->backup.count && code == CB_OK; i++)
            code = xml_string("        ", schedule->backup.items[i], "", out, err);
        return code == CB_OK ? cb_buf_format(out, err, "    </array>\n") : code;
    }
    if (code == CB_OK)
        code = shell_words(&schedule->backup, &script, err);
    for (size_t i = 0; i < schedule->expire_count && code == CB_OK; i++) {
        code = cb_buf_append(&script, " && ", 4, err);
        if (code == CB_OK)
            code = shell_words(&schedule->expires[i], &script, err);
    }
    if (code == CB_OK)
        code = cb_buf_append(&script, "", 1, err); /* its NUL */
    if (code == CB_OK)
        code = xml_string("        ", "/bin/sh", "", out, err);
    if (code == CB_OK)
        code = xml_string("        ", "-c", "", out, err);
    if (code == CB_OK)
        code = xml_string("        ", (const char *)script.data, "", out, err);
    return code == CB_OK ? cb_buf_format(out, err, "    </array>\n") : code;
}

static cb_code launchd_when(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    long long minutes = (long long)schedule->minutes;
    long long of_day = minutes % (24 * 60);
    cb_code code;

    if (schedule->when == CB_WHEN_EVERY)
        return cb_buf_format(
            out, err, "    <key>StartInterval</key>\n    <integer>%lld</integer>\n", minutes * 60);
    code = cb_buf_format(out, err, "    <key>StartCalendarInterval</key>\n    <dict>\n");
    if (code == CB_OK && schedule->when == CB_WHEN_WEEKLY) /* 0 is Sunday */
        code =
            cb_buf_format(out, err, "        <key>Weekday</key>\n        <integer>%lld</integer>\n",
                          (minutes / (24 * 60) + 1) % 7);
    if (code == CB_OK && schedule->when != CB_WHEN_HOURLY)
        code = cb_buf_format(out, err, "        <key>Hour</key>\n        <integer>%lld</integer>\n",
                             of_day / 60);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "        <key>Minute</key>\n        <integer>%lld</integer>\n"
                             "    </dict>\n",
                             schedule->when == CB_WHEN_HOURLY ? 0 : of_day % 60);
    return code;
}

cb_code cb_schedule_launchd(const cb_schedule *schedule, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                         "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
                         "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
                         "<plist version=\"1.0\">\n<dict>\n    <key>Label</key>\n"
                         "    <string>canvasback.%s</string>\n",
                         schedule->name);
    if (code == CB_OK)
        code = launchd_arguments(schedule, out, err);
    if (code == CB_OK)
        code = launchd_when(schedule, out, err);
    if (code == CB_OK)
        code = xml_string("    <key>StandardOutPath</key>\n    ", schedule->log_file,
                          "    <key>StandardErrorPath</key>\n", out, err);
    if (code == CB_OK)
        code = xml_string("    ", schedule->log_file, "</dict>\n</plist>\n", out, err);
    return code;
}
