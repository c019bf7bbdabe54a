/*
 * A parser of our own instead of a library's: a value may hold ';' (shell commands), a line may be
 * long (addresses), an indented line must not silently become part of the one above it, and every
 * complaint carries its line number.
 */
#include "config/ini.h"

#include "base/text.h"

#include <string.h>

typedef struct parser {
    cb_arena *arena;
    cb_ini *out;
    const char *section;
    unsigned line;
} parser;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static cb_bytes trim(cb_bytes text)
{
    while (text.size > 0 && is_blank((char)text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_blank((char)text.data[text.size - 1]))
        text.size--;
    return text;
}

static cb_code parse_section(parser *self, cb_bytes line, cb_error *err)
{
    cb_bytes name;
    const char *text;
    cb_code code;

    if (line.data[line.size - 1] != ']')
        return cb_fail(err, CB_USAGE, "a section is written [name], with nothing behind it");
    name = trim(cb_bytes_of(line.data + 1, line.size - 2));
    code = cb_arena_text_n(self->arena, name.data, name.size, &text, err);
    if (code != CB_OK)
        return code;
    self->section = strcmp(text, "global") == 0 ? NULL : text;
    if (self->section && !cb_is_name(text))
        return cb_fail(err, CB_USAGE, "section '%s' is not the name of a database", text);
    return CB_OK;
}

static cb_code parse_setting(parser *self, cb_bytes line, cb_error *err)
{
    const uint8_t *equals = memchr(line.data, '=', line.size);
    cb_ini_line *out = &self->out->lines[self->out->count];
    cb_bytes key;
    cb_bytes value;
    cb_code code;

    if (!equals)
        return cb_fail(err, CB_USAGE, "this is neither a [section] nor key = value");
    key = trim(cb_bytes_of(line.data, (size_t)(equals - line.data)));
    value = trim(cb_bytes_of(equals + 1, line.size - (size_t)(equals - line.data) - 1));
    if (key.size == 0)
        return cb_fail(err, CB_USAGE, "there is no key before '='");
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
        value = cb_bytes_of(value.data + 1, value.size - 2);

    code = cb_arena_text_n(self->arena, key.data, key.size, &out->key, err);
    if (code == CB_OK)
        code = cb_arena_text_n(self->arena, value.data, value.size, &out->value, err);
    if (code != CB_OK)
        return code;
    out->section = self->section;
    out->line = self->line;
    self->out->count++;
    return CB_OK;
}

static cb_code parse_line(parser *self, cb_bytes line, cb_error *err)
{
    line = trim(line);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';')
        return CB_OK;
    if (memchr(line.data, '\0', line.size))
        return cb_fail(err, CB_USAGE, "there is a NUL byte in it");
    if (line.data[0] == '[')
        return parse_section(self, line, err);
    return parse_setting(self, line, err);
}

static size_t count_lines(cb_bytes text)
{
    size_t count = 1;

    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '\n';
    return count;
}

cb_code cb_ini_parse(const char *name, cb_bytes text, cb_arena *arena, cb_ini *out, cb_error *err)
{
    parser self = {.arena = arena, .out = out};
    cb_code code;

    *out = (cb_ini){0};
    if (text.size > CB_INI_BYTES_MAX)
        return cb_fail(err, CB_TOO_LARGE, "%s is larger than %d bytes", name, CB_INI_BYTES_MAX);
    code = cb_arena_alloc(arena, count_lines(text) * sizeof(*out->lines), &out->lines, err);
    if (code != CB_OK)
        return code;
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        text = cb_bytes_of(text.data + 3, text.size - 3); /* an editor's byte order mark */

    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;

        self.line++;
        if (parse_line(&self, cb_bytes_of(text.data, size), err) != CB_OK)
            return cb_context(err, "%s line %u", name, self.line);
        size += end != NULL;
        text = cb_bytes_of(text.data + size, text.size - size);
    }
    return CB_OK;
}
