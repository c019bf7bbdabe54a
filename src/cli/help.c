#include "cli/reference.h"

#include "base/text.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 30, FORM_MAX = 96 }; /* where summaries begin */

const cb_exit_meaning cb_exit_meanings[] = {
    {0, "done"},
    {1, "failed; one message on standard error says what, why and what to do"},
    {2, "the command line or the configuration is wrong; nothing was touched"},
    {3, "damage found (verify, check, restore; backup and copy: in the source)"},
    {4, "busy: lock not had in time, target open, source never still"},
    {5, "there is no such repository, name, label or time"},
    {10, "lake guard: a migration is needed, and the backup for it was taken"},
    {0, NULL},
};

bool cb_option_is_common(cb_option_id id)
{
    return cb_options[id].commands == CB_FOR_ALL;
}

/* Words of `text` in lines of at most 80, each behind `indent` blanks; "\n\n" parts paragraphs. */
static cb_code wrap(const char *text, size_t indent, cb_buf *out, cb_error *err)
{
    size_t column = 0;
    cb_code code = CB_OK;

    while (*text && code == CB_OK) {
        size_t size = strcspn(text, " \n");

        if (column > 0 && column + 1 + size > CB_TABLE_WIDTH) {
            code = cb_buf_append(out, "\n", 1, err);
            column = 0;
        }
        if (code == CB_OK && column == 0)
            code = cb_buf_format(out, err, "%*s", (int)indent, "");
        else if (code == CB_OK)
            code = cb_buf_append(out, " ", 1, err);
        if (code == CB_OK)
            code = cb_buf_append(out, text, size, err);
        column = (column == 0 ? indent : column + 1) + size;
        text += size;
        if (code == CB_OK && strncmp(text, "\n\n", 2) == 0) {
            code = cb_buf_append(out, "\n\n", 2, err);
            column = 0;
        }
        text += strspn(text, " \n");
    }
    return code == CB_OK && column > 0 ? cb_buf_append(out, "\n", 1, err) : code;
}

/* `left` stands before the summary's first line, or above it where it is too long. */
static cb_code entry(const char *left, const char *summary, cb_buf *out, cb_error *err)
{
    size_t size = strlen(left);
    size_t at;
    cb_code code = CB_OK;

    if (size + 4 > COLUMN)
        code = cb_buf_format(out, err, "  %s\n", left);
    at = out->size;
    if (code == CB_OK)
        code = wrap(summary, COLUMN, out, err);
    if (code == CB_OK && size + 4 <= COLUMN)
        memcpy(out->data + at + 2, left, size);
    return code;
}

/* "--log-level LEVEL", "-q, --quiet"; a secret's variable */
static const char *option_form(cb_option_id id, char out[FORM_MAX])
{
    const cb_option *option = &cb_options[id];
    char letter[8] = "";

    if (option->flags & CB_OPTION_SECRET)
        return cb_option_variable(id, out);
    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    snprintf(out, FORM_MAX, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
             option->value ? option->value : "");
    return out;
}

static cb_code option_entry(cb_option_id id, cb_buf *out, cb_error *err)
{
    char form[FORM_MAX];

    return entry(option_form(id, form), cb_options[id].summary, out, err);
}

static cb_code common_options(cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "\nOptions of every command:\n");

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (cb_option_is_common((cb_option_id)i))
            code = option_entry((cb_option_id)i, out, err);
    return code;
}

cb_code cb_help_overview(cb_buf *out, cb_error *err)
{
    char left[96];
    cb_code code;

    code = cb_buf_format(out, err,
                         "Canvasback backs up live DuckDB databases, DuckLakes, SQLite "
                         "files and\ndirectories, and brings them back.\n\n"
                         "Usage: canvasback COMMAND [OPTIONS] [...]\n\nCommands:\n");
    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        const cb_command *command = &cb_commands[i];

        if (command->is_reserved)
            continue;
        snprintf(left, sizeof(left), "%s%s%s", command->name, *command->operands ? " " : "",
                 command->operands);
        code = entry(left, command->summary, out, err);
    }
    if (code == CB_OK)
        code = common_options(out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "\nEach is also a variable CANVASBACK_<NAME> and a line of the "
                             "configuration file.\n"
                             "'canvasback help COMMAND' and 'canvasback help --OPTION' tell "
                             "more.\n");
    return code;
}

static cb_code examples_of(const char *examples, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "\nExamples:\n");

    for (const char *at = examples; *at && code == CB_OK;) {
        size_t size = strcspn(at, "\n");

        code = cb_buf_format(out, err, "  %.*s\n", (int)size, at);
        at += size + (at[size] != '\0');
    }
    return code;
}

cb_code cb_help_command(cb_command_id id, cb_buf *out, cb_error *err)
{
    const cb_command *command = &cb_commands[id];
    bool is_first = true;
    cb_code code;

    code = cb_buf_format(out, err, "canvasback %s - %s\n\nUsage: canvasback %s [OPTIONS]%s%s\n",
                         command->name, command->summary, command->name,
                         *command->operands ? " " : "", command->operands);
    if (code == CB_OK && command->aliases)
        code = cb_buf_format(out, err, "Aliases: %s\n", command->aliases);
    if (code == CB_OK && command->detail) {
        code = cb_buf_append(out, "\n", 1, err);
        if (code == CB_OK)
            code = wrap(command->detail, 0, out, err);
    }
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++) {
        if (!cb_option_applies((cb_option_id)i, id) || cb_option_is_common((cb_option_id)i))
            continue;
        if (is_first)
            code = cb_buf_format(out, err, "\nOptions:\n");
        is_first = false;
        if (code == CB_OK)
            code = option_entry((cb_option_id)i, out, err);
    }
    if (code == CB_OK)
        code = common_options(out, err);
    return code == CB_OK && command->examples ? examples_of(command->examples, out, err) : code;
}

/* The usage says which of the options matter; the list is short, and that of every command is left
   to the help of lake itself. */
static cb_code help_lake_verb(const char *name, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf usage = {0};
    const cb_lake_help *help = cb_lake_help_find(name);
    bool is_first = true;
    cb_code code = cb_lake_help_check(name, err);

    if (code != CB_OK || !help)
        return code;
    code = cb_buf_format(out, err, "canvasback lake %s - %s\n\n", name, help->summary);
    if (code == CB_OK)
        code = cb_buf_format(&usage, err, "Usage: canvasback lake %s %s", name, help->operands);
    if (code == CB_OK)
        code = cb_buf_append(&usage, "", 1, err);
    if (code == CB_OK)
        code = wrap((const char *)usage.data, 0, out, err);
    if (code == CB_OK)
        code = cb_buf_append(out, "\n", 1, err);
    if (code == CB_OK)
        code = wrap(help->detail, 0, out, err);
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++) {
        if (cb_option_is_common((cb_option_id)i) || !cb_lake_help_takes(help, (cb_option_id)i))
            continue;
        if (is_first)
            code = cb_buf_format(out, err, "\nOptions:\n");
        is_first = false;
        if (code == CB_OK)
            code = option_entry((cb_option_id)i, out, err);
    }
    if (code == CB_OK)
        code = examples_of(help->examples, out, err);
    return code == CB_OK
               ? cb_buf_format(out, err,
                               "\n'canvasback help' lists the options of every command.\n")
               : code;
}

static cb_code option_facts(cb_option_id id, cb_buf *out, cb_error *err)
{
    const cb_option *option = &cb_options[id];
    char variable[CB_OPTION_VARIABLE_MAX];
    cb_code code = CB_OK;

    if (option->choices)
        code = cb_buf_format(out, err, "Choices: %s\n", option->choices);
    if (code == CB_OK && option->fallback)
        code = cb_buf_format(out, err, "Default: %s\n", option->fallback);
    if (code == CB_OK && option->flags & CB_OPTION_SECRET)
        return cb_buf_format(out, err, "Environment only: %s\n", cb_option_variable(id, variable));
    if (code == CB_OK && option->flags & CB_OPTION_LINE_ONLY)
        code = cb_buf_format(out, err, "On the command line only.\n");
    else if (code == CB_OK)
        code = cb_buf_format(out, err, "Variable: %s\n%s", cb_option_variable(id, variable),
                             id == CB_OPT_CONFIG ? "" : "Configuration file: ");
    if (code == CB_OK && !(option->flags & CB_OPTION_LINE_ONLY) && id != CB_OPT_CONFIG)
        code = cb_buf_format(out, err, "%s = %s\n", option->name,
                             option->value ? option->value : "true");
    return code;
}

cb_code cb_help_option(cb_option_id id, cb_buf *out, cb_error *err)
{
    const cb_option *option = &cb_options[id];
    char form[FORM_MAX];
    const char *between = "Commands: ";
    cb_code code;

    code = cb_buf_format(out, err, "%s\n%*s%s\n\n", option_form(id, form), 4, "", option->summary);
    if (code == CB_OK && option->detail) {
        code = wrap(option->detail, 4, out, err);
        if (code == CB_OK)
            code = cb_buf_append(out, "\n", 1, err);
    }
    if (code == CB_OK)
        code = option_facts(id, out, err);
    if (code == CB_OK && cb_option_is_common(id))
        return cb_buf_format(out, err, "Commands: all\n");
    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        if (!cb_option_applies(id, (cb_command_id)i))
            continue;
        code = cb_buf_format(out, err, "%s%s", between, cb_commands[i].name);
        between = ", ";
    }
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

/* ---- the verbs ---------------------------------------------------------------------------- */

static cb_code help_about(const char *word, cb_buf *out, cb_error *err)
{
    const char *name = word + (cb_has_prefix(word, "--") ? 2 : 0);
    cb_command_id command = cb_command_named(word);
    bool negated;
    cb_option_id option = cb_option_find(name, strlen(name), &negated);
    const char *near;

    if (command != CB_COMMAND_END && !cb_commands[command].is_reserved)
        return cb_help_command(command, out, err);
    if (option != CB_OPT_END)
        return cb_help_option(option, out, err);
    if (command != CB_COMMAND_END)
        return cb_fail(err, CB_UNSUPPORTED, "the command '%s' is not in this version", word);
    cb_fail(err, CB_USAGE, "there is no command or option '%s'", word);
    near = name == word ? cb_command_suggest(word) : NULL;
    if (near)
        cb_hint(err, "Did you mean '%s'?", near);
    near = cb_option_suggest(name, CB_COMMAND_END);
    if (near)
        cb_hint(err, "Did you mean --%s?", near);
    return err->code;
}

/* "lake migrate"; behind other commands no word has a help of its own. */
static cb_code help_about_two(const cb_command_line *line, cb_buf *out, cb_error *err)
{
    if (cb_command_named(line->operands[0]) == CB_COMMAND_LAKE)
        return help_lake_verb(line->operands[1], out, err);
    cb_fail(err, CB_USAGE, "help: '%s' is one word too many", line->operands[1]);
    cb_hint(err, "Usage: canvasback help [COMMAND|OPTION], or canvasback help lake VERB");
    return err->code;
}

/* Text is the answer in any case; with --json it is one field of an object. */
static cb_code as_json(cb_door *door, const char *key, cb_error *err)
{
    cb_pair pair = {key, NULL};
    cb_code code = cb_buf_append(&door->out, "", 1, err); /* its NUL */

    pair.value = (const char *)door->out.data;
    return code == CB_OK ? cb_json_pairs(&pair, 1, &door->object, err) : code;
}

cb_code cb_verb_help(cb_door *door, cb_error *err)
{
    const cb_command_line *line = &door->config->line;
    cb_code code;

    if (cb_config_flag(door->config, CB_OPT_MAN))
        code = cb_manual_page(&door->out, err);
    else if (cb_config_flag(door->config, CB_OPT_CONFIG_EXAMPLE))
        code = cb_config_example(&door->out, err);
    else if (line->command == CB_COMMAND_HELP && line->operand_count > 1)
        code = help_about_two(line, &door->out, err);
    else if (line->command == CB_COMMAND_HELP && line->operand_count > 0)
        code = help_about(line->operands[0], &door->out, err);
    else if (line->command == CB_COMMAND_LAKE && line->operand_count > 0)
        code = help_lake_verb(line->operands[0], &door->out, err);
    else if (line->command != CB_COMMAND_END && line->command != CB_COMMAND_HELP)
        code = cb_help_command(line->command, &door->out, err);
    else
        code = cb_help_overview(&door->out, err);
    return code == CB_OK && door->json ? as_json(door, "help", err) : code;
}

cb_code cb_verb_version(cb_door *door, cb_error *err)
{
    cb_pair version = {"version", CB_VERSION};

    if (door->json)
        return cb_json_pairs(&version, 1, &door->object, err);
    return cb_buf_format(&door->out, err, "canvasback %s\n", CB_VERSION);
}

cb_code cb_verb_completion(cb_door *door, cb_error *err)
{
    cb_shell shell = cb_shell_find(door->config->line.operands[0]);
    cb_code code;

    if (shell == CB_SHELL_END)
        return cb_fail(err, CB_USAGE, "'%s' is none of bash, zsh, fish",
                       door->config->line.operands[0]);
    code = cb_completion(shell, &door->out, err);
    return code == CB_OK && door->json ? as_json(door, "script", err) : code;
}
