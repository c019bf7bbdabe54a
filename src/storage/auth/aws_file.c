/*
 * aws_file.c - a reader as strict as the other tools are: what none of them would take is refused
 * with its line, rather than a profile silently being half there.
 */
#include "storage/auth/aws_file.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

typedef struct file_reader {
    const char *path;
    bool is_credentials;
    cb_vault *vault;
    cb_aws_file *file;
    unsigned line;
    cb_aws_section kind; /* of the section that we are in */
    bool is_marked;
    const char *name;   /* NULL: in none yet */
    const char *key;    /* the last property; NULL: none in this section yet */
    size_t indent;      /* of that property */
    bool key_has_value; /* then what stands further in continues it */
} file_reader;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static cb_bytes trim(const char *text, size_t size)
{
    while (size > 0 && is_blank(text[0])) {
        text++;
        size--;
    }
    while (size > 0 && is_blank(text[size - 1]))
        size--;
    return cb_bytes_of(text, size);
}

static cb_code refuse(const file_reader *reader, cb_error *err, const char *what)
{
    return cb_fail(err, CB_USAGE, "'%s' line %u %s", reader->path, reader->line, what);
}

static cb_code keep(file_reader *reader, const char *key, const char *below, const char *value,
                    cb_error *err)
{
    cb_aws_file *file = reader->file;
    cb_code code = CB_OK;

    if (file->count == file->capacity)
        code = cb_array_grow(&file->lines, &file->capacity, sizeof(*file->lines), err);
    if (code != CB_OK)
        return code;
    file->lines[file->count++] = (cb_aws_line){
        .kind = reader->kind,
        .is_marked = reader->is_marked,
        .name = reader->name,
        .key = key,
        .below = below,
        .value = value,
        .line = reader->line,
    };
    return CB_OK;
}

/* "profile x" is marked with `word` "profile"; the rest is the name, perhaps in quotes. */
static bool take_word(cb_bytes *text, const char *word)
{
    size_t length = strlen(word);
    const char *at = (const char *)text->data;

    if (text->size <= length || memcmp(at, word, length) != 0 || !is_blank(at[length]))
        return false;
    *text = trim(at + length, text->size - length);
    if (text->size >= 2 && text->data[0] == '"' && text->data[text->size - 1] == '"')
        *text = cb_bytes_of(text->data + 1, text->size - 2);
    return true;
}

static cb_code take_section(file_reader *reader, const char *text, size_t size, cb_error *err)
{
    const char *end = memchr(text, ']', size);
    cb_bytes name;
    cb_bytes rest;
    cb_code code;

    if (end == NULL)
        return refuse(reader, err, "has a '[' without ']'");
    name = trim(text + 1, (size_t)(end - text - 1));
    rest = trim(end + 1, size - (size_t)(end + 1 - text));
    if (rest.size > 0 && rest.data[0] != '#' && rest.data[0] != ';')
        return refuse(reader, err, "has something behind its ']'");

    reader->kind = CB_AWS_PROFILE;
    reader->is_marked = false;
    reader->key = NULL;
    if (!reader->is_credentials) {
        reader->is_marked = take_word(&name, "profile");
        if (!reader->is_marked && take_word(&name, "services"))
            reader->kind = CB_AWS_SERVICES;
        else if (!reader->is_marked && (name.size != 7 || memcmp(name.data, "default", 7) != 0))
            reader->kind = CB_AWS_OTHER;
    }
    code = cb_vault_text_n(reader->vault, name.data, name.size, &reader->name, err);
    return code == CB_OK ? keep(reader, NULL, NULL, NULL, err) : code;
}

/* Cut at a '#' or ';' that stands behind a blank. */
static cb_bytes without_comment(cb_bytes value)
{
    const char *text = (const char *)value.data;

    for (size_t i = 0; i < value.size; i++) {
        if ((text[i] == '#' || text[i] == ';') && (i == 0 || is_blank(text[i - 1])))
            return trim(text, i);
    }
    return value;
}

static cb_code take_property(file_reader *reader, size_t indent, const char *text, size_t size,
                             cb_error *err)
{
    const char *equals = memchr(text, '=', size);
    bool is_below = reader->key != NULL && indent > reader->indent;
    char lower[128];
    const char *key;
    const char *value;
    cb_bytes part;
    cb_code code;

    if (is_below && reader->key_has_value)
        return CB_OK; /* the value goes on: none that is read here is longer than its line */
    if (equals == NULL)
        return refuse(reader, err, "is neither a comment, a [section] nor name = value");
    if (reader->name == NULL)
        return refuse(reader, err, "stands before any [section]");
    part = trim(text, (size_t)(equals - text));
    if (part.size == 0)
        return refuse(reader, err, "has nothing in front of its '='");
    if (part.size >= sizeof(lower))
        return refuse(reader, err, "has a name that is too long");
    for (size_t i = 0; i < part.size; i++)
        lower[i] = (char)tolower(part.data[i]);
    code = cb_vault_text_n(reader->vault, lower, part.size, &key, err);
    if (code != CB_OK)
        return code;
    part = without_comment(trim(equals + 1, size - (size_t)(equals + 1 - text)));
    code = cb_vault_text_n(reader->vault, part.data, part.size, &value, err);
    if (code != CB_OK)
        return code;
    if (is_below)
        return keep(reader, reader->key, key, value, err);
    reader->key = key;
    reader->indent = indent;
    reader->key_has_value = value[0] != '\0';
    return keep(reader, key, NULL, value, err);
}

static cb_code take_line(file_reader *reader, const char *text, size_t size, cb_error *err)
{
    size_t indent = 0;
    cb_bytes line;

    while (indent < size && is_blank(text[indent]))
        indent++;
    line = trim(text, size);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';')
        return CB_OK;
    if (line.data[0] == '[' && indent == 0)
        return take_section(reader, (const char *)line.data, line.size, err);
    return take_property(reader, indent, (const char *)line.data, line.size, err);
}

cb_code cb_aws_file_parse(const char *path, cb_bytes text, bool is_credentials, cb_vault *vault,
                          cb_aws_file *out, cb_error *err)
{
    file_reader reader = {
        .path = path,
        .is_credentials = is_credentials,
        .vault = vault,
        .file = out,
        .kind = CB_AWS_OTHER,
    };
    const char *at = (const char *)text.data;
    size_t left = text.size;

    *out = (cb_aws_file){.path = path};
    if (left >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) { /* some editors begin files with it */
        at += 3;
        left -= 3;
    }
    while (left > 0) {
        const char *newline = memchr(at, '\n', left);
        size_t size = newline != NULL ? (size_t)(newline - at) : left;
        cb_code code;

        reader.line++;
        code = memchr(at, '\0', size) != NULL ? refuse(&reader, err, "holds a NUL byte")
                                              : take_line(&reader, at, size, err);
        if (code != CB_OK) {
            cb_aws_file_free(out);
            return code;
        }
        size += newline != NULL;
        at += size;
        left -= size;
    }
    return CB_OK;
}

void cb_aws_file_free(cb_aws_file *file)
{
    free(file->lines);
    *file = (cb_aws_file){.path = file->path};
}

bool cb_aws_file_has(const cb_aws_file *file, cb_aws_section kind, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (file->lines[i].kind == kind && strcmp(file->lines[i].name, name) == 0)
            return true;
    }
    return false;
}

const char *cb_aws_file_get(const cb_aws_file *file, cb_aws_section kind, const char *name,
                            const char *key, const char *below)
{
    const cb_aws_line *found = NULL;

    for (size_t i = 0; i < file->count; i++) {
        const cb_aws_line *line = &file->lines[i];

        if (line->kind != kind || line->key == NULL || strcmp(line->name, name) != 0 ||
            strcmp(line->key, key) != 0 || (line->below == NULL) != (below == NULL) ||
            (below != NULL && strcmp(line->below, below) != 0))
            continue;
        if (found == NULL || line->is_marked >= found->is_marked)
            found = line;
    }
    return found != NULL && found->value[0] != '\0' ? found->value : NULL;
}
