/*
 * Two steps: cut the words into options and operands, which needs the option table alone; then,
 * with the command known, refuse what it does not take. An option that needs a value takes the
 * next word whatever it looks like, except where that word is itself an option's full name: then
 * the value was forgotten, and swallowing the option would do something else than was meant.
 */
#include "config/command_line.h"

#include "base/text.h"
#include "config/subject.h"

#include <string.h>

typedef struct cutter {
    int argc;
    const char *const *argv;
    int at;
    cb_command_line *out;
} cutter;

static bool is_secret(cb_option_id id)
{
    return id != CB_OPT_END && (cb_options[id].flags & CB_OPTION_SECRET) != 0;
}

/* The words of secrets: someone looks for a flag that must not exist. */
static bool smells_of_secret(const char *name)
{
    return strstr(name, "secret") || strstr(name, "password") || strstr(name, "passphrase") ||
           strstr(name, "token");
}

static cb_code unknown_option(const char *name, size_t size, cb_error *err)
{
    char shown[65];
    const char *near;

    /* Without what follows '=': it may be a secret. */
    size = size < sizeof(shown) - 1 ? size : sizeof(shown) - 1;
    memcpy(shown, name, size);
    shown[size] = '\0';
    cb_fail(err, CB_USAGE, "there is no option --%s", shown);
    near = cb_option_suggest(shown, CB_COMMAND_END);
    if (smells_of_secret(shown) || (near && is_secret(cb_option_find(near, strlen(near), NULL))))
        cb_hint(err, "A secret is never given on the command line: use --passphrase-file or "
                     "CANVASBACK_PASSPHRASE, and AWS_SECRET_ACCESS_KEY for S3.");
    else if (near)
        cb_hint(err, "Did you mean --%s?", near);
    else
        cb_hint(err, "'canvasback help' lists the options.");
    return err->code;
}

static void add_option(cutter *self, cb_option_id id, const char *text)
{
    self->out->options[self->out->option_count++] = (cb_given){id, text};
}

/* Is the next word certainly not meant as a value? */
static bool next_is_option(const cutter *self)
{
    const char *word = self->argv[self->at];
    bool negated;

    return cb_has_prefix(word, "--") && word[2] != '\0' &&
           cb_option_find(word + 2, strcspn(word + 2, "="), &negated) != CB_OPT_END;
}

static cb_code take_value(cutter *self, cb_option_id id, cb_error *err)
{
    if (self->at >= self->argc || next_is_option(self)) {
        cb_fail(err, CB_USAGE, "--%s needs a value", cb_options[id].name);
        cb_hint(err, "Write --%s %s.", cb_options[id].name, cb_options[id].value);
        return err->code;
    }
    add_option(self, id, self->argv[self->at++]);
    return CB_OK;
}

static cb_code cut_long(cutter *self, const char *name, cb_error *err)
{
    size_t size = strcspn(name, "=");
    bool negated;
    cb_option_id id = cb_option_find(name, size, &negated);

    /* Flags are written with '-': '_' belongs to files and variables. */
    if (id == CB_OPT_END || is_secret(id) || memchr(name, '_', size))
        return unknown_option(name, size, err);
    if (name[size] == '=' && negated)
        return cb_fail(err, CB_USAGE, "--%.*s takes no value", (int)size, name);
    if (name[size] == '=')
        add_option(self, id, name + size + 1);
    else if (cb_options[id].type == CB_TYPE_FLAG)
        add_option(self, id, negated ? "false" : "true");
    else
        return take_value(self, id, err);
    return CB_OK;
}

/* "-qv": only flags have letters. */
static cb_code cut_letters(cutter *self, const char *letters, cb_error *err)
{
    for (; *letters; letters++) {
        cb_option_id id = cb_option_find_letter(*letters);

        if (id == CB_OPT_END) {
            cb_fail(err, CB_USAGE, "there is no option -%c", *letters);
            cb_hint(err, "Options have two dashes: --%s.", letters);
            return err->code;
        }
        add_option(self, id, "true");
    }
    return CB_OK;
}

/* "help --keep-daily" asks about the option, and does not use it. */
static bool is_asked_about(const cutter *self, const char *word)
{
    bool negated;
    cb_option_id id;

    if (self->out->command != CB_COMMAND_HELP || self->out->operand_count > 0)
        return false;
    id = cb_option_find(word + 2, strlen(word + 2), &negated);
    return id != CB_OPT_MAN && id != CB_OPT_CONFIG_EXAMPLE && id != CB_OPT_HELP;
}

static cb_code take_command(cutter *self, const char *word, cb_error *err)
{
    const char *near;

    self->out->command = cb_command_named(word);
    if (self->out->command == CB_COMMAND_END) {
        near = cb_command_suggest(word);
        cb_fail(err, CB_USAGE, "there is no command '%s'", word);
        if (near)
            cb_hint(err, "Did you mean '%s'?", near);
        else
            cb_hint(err, "'canvasback help' lists the commands.");
        return err->code;
    }
    if (cb_commands[self->out->command].is_reserved) {
        cb_fail(err, CB_UNSUPPORTED, "the command '%s' is not in this version",
                cb_commands[self->out->command].name);
        cb_hint(err, "'canvasback help' lists what is.");
        return err->code;
    }
    return CB_OK;
}

static cb_code take_word(cutter *self, const char *word, cb_error *err)
{
    if (self->out->command == CB_COMMAND_END)
        return take_command(self, word, err);
    self->out->operands[self->out->operand_count++] = word;
    return CB_OK;
}

static cb_code cut(cutter *self, cb_error *err)
{
    bool is_ended = false;
    cb_code code = CB_OK;

    while (self->at < self->argc && code == CB_OK) {
        const char *word = self->argv[self->at++];

        if (is_ended || word[0] != '-' || word[1] == '\0')
            code = take_word(self, word, err);
        else if (strcmp(word, "--") == 0)
            is_ended = true;
        else if (word[1] == '-' && !is_asked_about(self, word))
            code = cut_long(self, word + 2, err);
        else if (word[1] == '-')
            code = take_word(self, word, err);
        else
            code = cut_letters(self, word + 1, err);
    }
    return code;
}

static bool asks_for(const cb_command_line *line, cb_option_id id)
{
    for (size_t i = 0; i < line->option_count; i++)
        if (line->options[i].id == id)
            return true;
    return false;
}

static bool may_repeat(cb_option_id id, cb_command_id command)
{
    if (id == CB_OPT_REPO && command != CB_COMMAND_BACKUP && command != CB_COMMAND_SCHEDULE)
        return false;
    return (cb_options[id].flags & CB_OPTION_REPEAT) != 0;
}

static cb_code check_options(const cb_command_line *line, cb_error *err)
{
    const char *command = cb_commands[line->command].name;
    bool seen[CB_OPT_END] = {false};

    for (size_t i = 0; i < line->option_count; i++) {
        const cb_option *option = &cb_options[line->options[i].id];

        if (!cb_option_applies(line->options[i].id, line->command)) {
            cb_fail(err, CB_USAGE, "%s does not take --%s", command, option->name);
            cb_hint(err, "'canvasback help %s' lists what it takes.", command);
            return err->code;
        }
        /* A flag may be said twice and the last word counts; two values are a contradiction. */
        if (seen[line->options[i].id] && option->type != CB_TYPE_FLAG &&
            !may_repeat(line->options[i].id, line->command)) {
            cb_fail(err, CB_USAGE, "--%s is given twice", option->name);
            if (line->options[i].id == CB_OPT_REPO)
                cb_hint(err, "Only backup writes to several repositories.");
            return err->code;
        }
        seen[line->options[i].id] = true;
    }
    return CB_OK;
}

static cb_code check_operands(const cb_command_line *line, cb_error *err)
{
    const cb_command *command = &cb_commands[line->command];

    if (line->operand_count < command->min_operands)
        cb_fail(err, CB_USAGE, "%s needs %s", command->name, command->operands);
    else if (line->operand_count > command->max_operands &&
             cb_has_password(line->operands[command->max_operands]))
        cb_fail(err, CB_USAGE,
                "%s: there are too many words; an address with blanks in it "
                "stands in quotes",
                command->name);
    else if (line->operand_count > command->max_operands)
        cb_fail(err, CB_USAGE, "%s: '%s' is one word too many", command->name,
                line->operands[command->max_operands]);
    else
        return CB_OK;
    if (cb_is_cut_address(line->operands, line->operand_count))
        cb_hint(err, "An address with blanks in it stands in quotes: "
                     "'ducklake:postgres:dbname=lake host=db1'.");
    else
        cb_hint(err, "Usage: canvasback %s [OPTIONS]%s%s", command->name,
                *command->operands ? " " : "", command->operands);
    return err->code;
}

cb_code cb_command_line_parse(int argc, const char *const *argv, cb_arena *arena,
                              cb_command_line *out, cb_error *err)
{
    cutter self = {.argc = argc, .argv = argv, .at = 1, .out = out};
    size_t words = argc > 0 ? (size_t)argc : 1;
    size_t letters = 0;
    cb_code code;

    *out = (cb_command_line){.command = CB_COMMAND_END};
    /* No word makes more options than it has bytes ("-qqq"). */
    for (int i = 1; i < argc; i++)
        letters += strlen(argv[i]) + 1;
    code = cb_arena_alloc(arena, words * sizeof(*out->operands), &out->operands, err);
    if (code == CB_OK)
        code = cb_arena_alloc(arena, (letters + 1) * sizeof(*out->options), &out->options, err);
    if (code == CB_OK)
        code = cut(&self, err);
    if (code != CB_OK)
        return code;

    if (asks_for(out, CB_OPT_HELP) || asks_for(out, CB_OPT_VERSION))
        return CB_OK; /* answered whatever else stands there */
    if (out->command == CB_COMMAND_END) {
        cb_fail(err, CB_USAGE, "no command is given");
        cb_hint(err, "'canvasback help' lists the commands.");
        return err->code;
    }
    code = check_options(out, err);
    if (code == CB_OK)
        code = check_operands(out, err);
    return code;
}

bool cb_command_line_wants(int argc, const char *const *argv, cb_option_id id)
{
    bool wants = false;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        bool negated;

        if (!cb_has_prefix(word, "--") || strchr(word, '='))
            continue;
        if (cb_option_find(word + 2, strlen(word + 2), &negated) == id)
            wants = !negated;
    }
    return wants;
}
