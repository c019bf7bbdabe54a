#include "cli/door.h"

#include "cli/ask.h"
#include "cli/hooks.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/render.h"
#include "cli/signals.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- events ------------------------------------------------------------------------------- */

static const struct {
    const char *word;   /* in JSON */
    const char *prefix; /* in text */
    int level;
} events[] = {
    [CB_EVENT_ERROR] = {"error", "error: ", 0}, [CB_EVENT_WARNING] = {"warning", "warning: ", 1},
    [CB_EVENT_INFO] = {"info", "", 2},          [CB_EVENT_DEBUG] = {"debug", "", 3},
    [CB_EVENT_WAITING] = {"waiting", "", 1},    [CB_EVENT_PHASE] = {"phase", "", 3},
    [CB_EVENT_PROGRESS] = {"progress", "", 3},
};

static void say_json(cb_event_kind kind, const char *text)
{
    CB_CLEANUP(cb_buf_free) cb_buf line = {0};
    cb_pair pairs[] = {{"event", events[kind].word}, {"text", text}};
    cb_error ignored = {0};

    if (cb_json_pairs(pairs, CB_LENGTH(pairs), &line, &ignored) == CB_OK)
        cb_output_message("%.*s", (int)line.size, (const char *)line.data);
}

static void say(cb_door *door, cb_event_kind kind, const char *text)
{
    if (events[kind].level > door->level)
        return;
    cb_progress_clear(&door->progress);
    if (door->progress.kind == CB_PROGRESS_JSON)
        say_json(kind, text);
    else
        cb_output_line(events[kind].prefix, text);
}

void cb_door_say(cb_door *door, cb_event_kind kind, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    say(door, kind, text);
}

static void on_event(void *arg, const cb_event *event)
{
    cb_door *door = arg;

    switch (event->kind) {
    case CB_EVENT_ERROR:
    case CB_EVENT_WARNING:
    case CB_EVENT_INFO:
    case CB_EVENT_DEBUG:
    case CB_EVENT_WAITING:
        say(door, event->kind, event->text ? event->text : "");
        break;
    case CB_EVENT_PHASE:
        cb_progress_phase(&door->progress, event->text);
        break;
    case CB_EVENT_PROGRESS:
        cb_progress_update(&door->progress, event->done_bytes, event->total_bytes, event->pass);
        break;
    }
}

/* ---- one run ------------------------------------------------------------------------------ */

void cb_program_path(char *out, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);

    if (length <= 0)
        snprintf(out, size, "canvasback");
    else
        out[length] = '\0';
}

static void find_program_directory(cb_door *door)
{
    char *slash;

    cb_program_path(door->program_directory, sizeof(door->program_directory));
    slash = strrchr(door->program_directory, '/');
    if (slash)
        *slash = '\0';
    else
        door->program_directory[0] = '\0';
}

int64_t cb_door_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static cb_code add_paste(cb_door *door, cb_option_id id, const char *value, cb_error *err)
{
    cb_code code = cb_buf_format(&door->paste, err, "--%s ", cb_options[id].name);

    if (code == CB_OK)
        code = cb_shell_word(value, &door->paste, err);
    return code == CB_OK ? cb_buf_append(&door->paste, " ", 1, err) : code;
}

/* What was said by flag has to be said again in a pasted command; the rest is still in force. */
cb_code cb_door_paste(cb_door *door, const char *repository, cb_error *err)
{
    static const cb_option_id carried[] = {
        CB_OPT_CONFIG,   CB_OPT_REPO,   CB_OPT_PASSPHRASE_FILE, CB_OPT_PASSPHRASE_COMMAND,
        CB_OPT_ENDPOINT, CB_OPT_REGION, CB_OPT_ACCESS_KEY_ID,
    };
    const cb_value *values = door->config->values;
    cb_code code = CB_OK;

    door->paste.size = 0;
    for (size_t i = 0; i < CB_LENGTH(carried) && code == CB_OK; i++) {
        if (carried[i] == CB_OPT_REPO && repository)
            code = add_paste(door, CB_OPT_REPO, repository, err);
        else if (values[carried[i]].origin == CB_FROM_FLAG)
            code = add_paste(door, carried[i], values[carried[i]].text, err);
    }
    if (code == CB_OK && values[CB_OPT_S3_PATH_STYLE].origin == CB_FROM_FLAG)
        code = cb_buf_format(&door->paste, err, "--%s%s ", cb_options[CB_OPT_S3_PATH_STYLE].name,
                             cb_config_flag(door->config, CB_OPT_S3_PATH_STYLE) ? "" : "=false");
    /* A text even when it is empty. */
    if (code == CB_OK)
        code = cb_buf_append(&door->paste, "", 1, err);
    return code;
}

cb_code cb_door_init(cb_door *door, cb_config *config, cb_error *err)
{
    bool quiet = cb_config_flag(config, CB_OPT_QUIET);
    cb_progress_kind kind = (cb_progress_kind)config->values[CB_OPT_PROGRESS].number;

    *door = (cb_door){.config = config, .json = cb_config_flag(config, CB_OPT_JSON)};
    door->level = (int)config->values[CB_OPT_LOG_LEVEL].number;
    if (cb_config_flag(config, CB_OPT_VERBOSE))
        door->level = 3;
    if (quiet) {
        door->level = 0;
        kind = CB_PROGRESS_NONE;
    }
    cb_progress_init(&door->progress, kind);
    cb_hooks_fill(config, &door->hooks);
    snprintf(door->name, sizeof(door->name), "%s", config->subject ? config->subject : "");
    door->started_us = cb_door_now_us();
    return cb_door_paste(door, NULL, err);
}

static bool ask(void *arg, const char *prompt, char *out, size_t size)
{
    cb_door *door = arg;

    cb_progress_clear(&door->progress);
    return cb_ask_terminal(prompt, out, size);
}

bool cb_door_wants_object(const cb_door *door)
{
    return door->json || door->hooks.after || door->hooks.on_failure;
}

cb_code cb_door_begin(cb_door *door, cb_error *err)
{
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_hook_before(door, err);
    door->is_begun = code == CB_OK;
    return code;
}

cb_code cb_door_open(cb_door *door, cb_error *err)
{
    cb_settings settings = {0};
    cb_code code;

    cb_settings_fill(door->config, &settings);
    settings.ask = ask;
    settings.ask_arg = door;
    if (door->passphrase[0])
        settings.passphrase = door->passphrase;
    find_program_directory(door);
    if (door->program_directory[0])
        settings.program_directory = door->program_directory;
    code = cb_ctx_new(&settings, on_event, door, &door->ctx, err);
    if (code == CB_OK)
        cb_signals_attach(door->ctx);
    return code;
}

void cb_door_free(cb_door *door)
{
    cb_progress_clear(&door->progress);
    cb_signals_attach(NULL);
    cb_ctx_free(door->ctx);
    door->ctx = NULL;
    explicit_bzero(door->passphrase, sizeof(door->passphrase));
    cb_buf_free(&door->out);
    cb_buf_free(&door->object);
    cb_buf_free(&door->paste);
}
