/*
 * The manual page and the example configuration. roff reads '\' and a line's first '.' or ''' as
 * its own; a '-' must be written '\-' to stay one that can be pasted.
 */
#include "cli/reference.h"

#include <string.h>

/* ---- roff --------------------------------------------------------------------------------- */

static cb_code roff(const char *text, size_t size, cb_buf *out, cb_error *err)
{
    bool is_line_start = true;
    cb_code code = CB_OK;

    for (size_t i = 0; i < size && code == CB_OK; i++) {
        if (is_line_start && (text[i] == '.' || text[i] == '\''))
            code = cb_buf_append(out, "\\&", 2, err);
        is_line_start = text[i] == '\n';
        if (code != CB_OK)
            return code;
        if (text[i] == '\\')
            code = cb_buf_append(out, "\\e", 2, err);
        else if (text[i] == '-')
            code = cb_buf_append(out, "\\-", 2, err);
        else if (text[i] == '\'')
            code = cb_buf_append(out, "\\(aq", 4, err);
        else if (text[i] == '~')
            code = cb_buf_append(out, "\\(ti", 4, err);
        else if (text[i] == '^')
            code = cb_buf_append(out, "\\(ha", 4, err);
        else
            code = cb_buf_append(out, text + i, 1, err);
    }
    return code;
}

static cb_code line(const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = roff(text, strlen(text), out, err);

    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

/* A summary as a sentence. */
static cb_code sentence(const char *text, cb_buf *out, cb_error *err)
{
    char first = *text;
    cb_code code;

    if (first >= 'a' && first <= 'z')
        first = (char)(first - 'a' + 'A');
    code = roff(&first, 1, out, err);
    if (code == CB_OK)
        code = roff(text + 1, strlen(text) - 1, out, err);
    return code == CB_OK ? cb_buf_append(out, ".\n", 2, err) : code;
}

/* Paragraphs below a tagged one keep its indent. */
static cb_code paragraphs(const char *text, const char *request, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    while (*text && code == CB_OK) {
        const char *end = strstr(text, "\n\n");
        size_t size = end ? (size_t)(end - text) : strlen(text);

        code = cb_buf_format(out, err, "%s\n", request);
        if (code == CB_OK)
            code = roff(text, size, out, err);
        if (code == CB_OK)
            code = cb_buf_append(out, "\n", 1, err);
        text += size + (end ? 2 : 0);
    }
    return code;
}

/* Known by its variable alone. */
static cb_code secret(cb_option_id id, cb_buf *out, cb_error *err)
{
    char variable[CB_OPTION_VARIABLE_MAX];
    cb_code code = cb_buf_format(out, err, ".TP\n\\fB%s\\fR (environment)\n",
                                 cb_option_variable(id, variable));

    return code == CB_OK ? sentence(cb_options[id].summary, out, err) : code;
}

static cb_code option(cb_option_id id, cb_buf *out, cb_error *err)
{
    const cb_option *self = &cb_options[id];
    cb_code code;

    if (self->flags & CB_OPTION_SECRET)
        return secret(id, out, err);
    code = cb_buf_format(out, err, ".TP\n\\fB");
    if (code == CB_OK && self->letter)
        code = cb_buf_format(out, err, "\\-%c\\fR, \\fB", self->letter);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "\\-\\-");
    if (code == CB_OK)
        code = roff(self->name, strlen(self->name), out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "\\fR");
    if (code == CB_OK && self->value) {
        code = cb_buf_format(out, err, " \\fI");
        if (code == CB_OK)
            code = roff(self->value, strlen(self->value), out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "\\fR");
    }
    if (code == CB_OK)
        code = cb_buf_append(out, "\n", 1, err);
    if (code == CB_OK)
        code = sentence(self->summary, out, err);
    if (code == CB_OK && self->choices)
        code = cb_buf_format(out, err, "One of %s.\n", self->choices);
    if (code == CB_OK && self->fallback)
        code = cb_buf_format(out, err, "Default: %s.\n", self->fallback);
    if (code == CB_OK && self->flags & CB_OPTION_LINE_ONLY && !cb_option_is_common(id))
        code = cb_buf_format(out, err, "On the command line only.\n");
    if (code == CB_OK && self->detail)
        code = paragraphs(self->detail, ".IP", out, err);
    return code;
}

static cb_code options_of(cb_command_id id, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (cb_option_applies((cb_option_id)i, id) && !cb_option_is_common((cb_option_id)i))
            code = option((cb_option_id)i, out, err);
    return code;
}

static cb_code examples(const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, ".PP\nExamples:\n.PP\n.nf\n.RS 4\n");

    if (code == CB_OK)
        code = line(text, out, err);
    return code == CB_OK ? cb_buf_format(out, err, ".RE\n.fi\n") : code;
}

static cb_code command(cb_command_id id, cb_buf *out, cb_error *err)
{
    const cb_command *self = &cb_commands[id];
    cb_code code = cb_buf_format(out, err, ".SS canvasback ");

    if (code == CB_OK)
        code = roff(self->name, strlen(self->name), out, err);
    if (code == CB_OK)
        code = cb_buf_append(out, " ", 1, err);
    if (code == CB_OK)
        code = line(self->operands, out, err);
    if (code == CB_OK)
        code = sentence(self->summary, out, err);
    if (code == CB_OK && self->aliases)
        code = cb_buf_format(out, err, "Aliases: %s.\n", self->aliases);
    if (code == CB_OK && self->detail)
        code = paragraphs(self->detail, ".PP", out, err);
    if (code == CB_OK)
        code = options_of(id, out, err);
    if (code == CB_OK && self->examples)
        code = examples(self->examples, out, err);
    return code;
}

/* A word behind lake; the options stand with lake itself. */
static cb_code lake_verb(const cb_lake_help *self, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, ".SS canvasback lake %s ", self->name);

    if (code == CB_OK)
        code = line(self->operands, out, err);
    if (code == CB_OK)
        code = sentence(self->summary, out, err);
    if (code == CB_OK)
        code = paragraphs(self->detail, ".PP", out, err);
    return code == CB_OK ? examples(self->examples, out, err) : code;
}

static cb_code lake_verbs(cb_buf *out, cb_error *err)
{
    const cb_lake_help *verb;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && (verb = cb_lake_help_at(i)) != NULL; i++)
        code = lake_verb(verb, out, err);
    return code;
}

static cb_code exit_status(cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, ".SH EXIT STATUS\n");

    for (size_t i = 0; cb_exit_meanings[i].text && code == CB_OK; i++) {
        code = cb_buf_format(out, err, ".TP\n.B %d\n", cb_exit_meanings[i].code);
        if (code == CB_OK)
            code = sentence(cb_exit_meanings[i].text, out, err);
    }
    return code;
}

cb_code cb_manual_page(cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         ".TH CANVASBACK 1 \"\" \"canvasback %s\"\n.SH NAME\n"
                         "canvasback \\- back up live DuckDB databases, and bring them back\n"
                         ".SH SYNOPSIS\n.B canvasback\n.I COMMAND\n"
                         "[\\fIOPTIONS\\fR] [...]\n.SH COMMANDS\n",
                         CB_VERSION);
    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        if (!cb_commands[i].is_reserved)
            code = command((cb_command_id)i, out, err);
        if (code == CB_OK && i == CB_COMMAND_LAKE)
            code = lake_verbs(out, err);
    }
    if (code == CB_OK)
        code = cb_buf_format(out, err, ".SH OPTIONS OF EVERY COMMAND\n");
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (cb_option_is_common((cb_option_id)i))
            code = option((cb_option_id)i, out, err);
    if (code == CB_OK)
        code = exit_status(out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             ".SH ENVIRONMENT\nEach option that is not for the command line only "
                             "is also a variable:\n\\fBCANVASBACK_LOCK_WAIT\\fR is "
                             "\\fB\\-\\-lock\\-wait\\fR.\nA flag wins over the variable, the "
                             "variable over the configuration file, a section of the file\nover "
                             "what stands before any section.\nUnknown variables that begin with "
                             "\\fBCANVASBACK_\\fR are refused.\n.SH FILES\n"
                             "\\fB\\(ti/.config/canvasback/canvasback.ini\\fR, "
                             "\\fB/etc/canvasback.ini\\fR;\n\\fBcanvasback help "
                             "\\-\\-config\\-example\\fR prints one.\n");
    return code;
}

/* ---- example configuration ---------------------------------------------------------------- */

static cb_code example_setting(cb_option_id id, cb_buf *out, cb_error *err)
{
    const cb_option *self = &cb_options[id];
    const char *value = self->fallback;

    if (!value)
        value = self->type == CB_TYPE_FLAG ? "true" : self->value;
    return cb_buf_format(out, err, "# %s\n#%s = %s\n\n", self->summary, self->name, value);
}

cb_code cb_config_example(cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "# Configuration of canvasback. A line is a comment, a [section] or "
                         "key = value; the\n# value goes to the end of the line. Lines before any "
                         "section, or in [global], count\n# for every database; a section is "
                         "called like the database that it counts for.\n\n");
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (!(cb_options[i].flags & (CB_OPTION_LINE_ONLY | CB_OPTION_SECRET)) && i != CB_OPT_CONFIG)
            code = example_setting((cb_option_id)i, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "#[prod]\n#keep-daily = 7\n#keep-weekly = 4\n");
    return code;
}
