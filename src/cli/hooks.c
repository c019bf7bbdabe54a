/*
 * The two commands at the end run in a context of their own: a run that was cancelled has to
 * unmount its snapshot all the same. A second signal still ends the program.
 */
#include "cli/hooks.h"

#include "base/process.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/signals.h"

#include <stdio.h>

enum { VARIABLES_MAX = 8 };

typedef struct variables {
    cb_arena arena;
    const char *items[VARIABLES_MAX + 1];
    size_t count;
} variables;

static void variables_free(variables *self)
{
    cb_arena_free(&self->arena);
}

static cb_code add(variables *self, const char *name, const char *value, cb_error *err)
{
    if (!value || !*value || self->count == VARIABLES_MAX)
        return CB_OK;
    return cb_arena_format(&self->arena, &self->items[self->count++], err, "%s=%s", name, value);
}

static cb_code fill(variables *self, const cb_door *door, const char *hook, const cb_error *failure,
                    cb_error *err)
{
    const cb_config *config = door->config;
    char number[16];
    cb_code code;

    code = add(self, "CANVASBACK_HOOK", hook, err);
    if (code == CB_OK)
        code = add(self, "CANVASBACK_HOOK_COMMAND", cb_commands[config->line.command].name, err);
    if (code == CB_OK)
        code = add(self, "CANVASBACK_HOOK_NAME", door->name, err);
    if (code != CB_OK || !failure)
        return code;
    snprintf(number, sizeof(number), "%d", cb_exit_code(failure));
    code = add(self, "CANVASBACK_RESULT", failure->code == CB_OK ? "ok" : "failed", err);
    if (code == CB_OK)
        code = add(self, "CANVASBACK_HOOK_EXIT_CODE", number, err);
    return code == CB_OK ? add(self, "CANVASBACK_HOOK_LABEL", door->label, err) : code;
}

cb_code cb_hook_before(cb_door *door, cb_error *err)
{
    CB_CLEANUP(variables_free) variables environment = {0};
    cb_code code;

    if (!door->hooks.before)
        return CB_OK;
    code = fill(&environment, door, "before", NULL, err);
    if (code == CB_OK)
        code = cb_run_command(door->ctx, door->hooks.before, environment.items, NULL, err);
    if (code == CB_OK)
        return CB_OK;
    cb_hint(err, "Nothing else was done: see what the command says.");
    return cb_context(err, "--before");
}

static void free_ctx(cb_ctx **ctx)
{
    cb_signals_attach(NULL);
    cb_ctx_free(*ctx);
}

/* The result, or the failure, as its standard input. */
static cb_code run_last(cb_door *door, const char *hook, const char *command,
                        const cb_error *failure, cb_error *err)
{
    CB_CLEANUP(variables_free) variables environment = {0};
    CB_CLEANUP(cb_buf_free) cb_buf input = {0};
    CB_CLEANUP(free_ctx) cb_ctx *ctx = NULL;
    cb_settings settings = {0};
    cb_code code;

    code = cb_ctx_new(&settings, NULL, NULL, &ctx, err);
    if (code == CB_OK)
        code = fill(&environment, door, hook, failure, err);
    if (code == CB_OK && failure->code == CB_OK)
        code = cb_buf_append(&input, door->object.data, door->object.size, err);
    else if (code == CB_OK)
        code = cb_json_failure(failure, cb_commands[door->config->line.command].name, door->name,
                               cb_buf_bytes(&door->object), &input, err);
    if (code == CB_OK)
        code = cb_buf_append(&input, "", 1, err); /* its NUL */
    if (code != CB_OK)
        return code;
    cb_progress_clear(&door->progress);
    cb_signals_attach(ctx);
    return cb_run_command(ctx, command, environment.items, (const char *)input.data, err);
}

cb_code cb_hook_after(cb_door *door, const cb_error *failure, cb_error *err)
{
    if (!door->hooks.after || !door->is_begun)
        return CB_OK;
    if (run_last(door, "after", door->hooks.after, failure, err) == CB_OK)
        return CB_OK;
    if (failure->code != CB_OK)
        return cb_context(err, "--after");
    return cb_context(err, "%s is done, but --after", cb_commands[door->config->line.command].name);
}

void cb_hook_failure(cb_door *door, const cb_error *failure)
{
    cb_error err = {0};

    if (door->hooks.on_failure &&
        run_last(door, "on-failure", door->hooks.on_failure, failure, &err) != CB_OK)
        cb_door_say(door, CB_EVENT_ERROR, "--on-failure: %s", err.message);
}
