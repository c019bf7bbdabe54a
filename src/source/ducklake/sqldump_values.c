/*
 * sqldump_values.c - the rows of an INSERT, read as a dump writes them, so that they can be loaded
 * without the engine parsing each as an expression.
 *
 * What is written in any other way is no error: *is_plain says that the engine must read it.
 */
#include "source/ducklake/sqldump_internal.h"

#include "base/array.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct row {
    cb_buf text; /* of all cells, each with a NUL behind */
    struct {
        size_t at, size;
        bool is_null;
    } * places;
    cb_lake_cell *cells;
} row;

/* '...', its quotes doubled, with '||chr(N)||' in it; *at stands on the first quote. */
static cb_code take_text(const char **at, cb_buf *into, bool *is_plain, cb_error *err)
{
    const char *from = *at + 1;
    cb_code code = CB_OK;

    while (code == CB_OK) {
        size_t run = strcspn(from, "'");
        unsigned byte;
        int length = 0;

        code = cb_buf_append(into, from, run, err);
        from += run;
        if (code != CB_OK || *from == '\0') {
            *is_plain = false;
            return code;
        }
        if (from[1] == '\'') {
            code = cb_buf_u8(into, '\'', err);
            from += 2;
        } else if (sscanf(from, "'||chr(%3u)||'%n", &byte, &length) == 1 && length > 0 &&
                   byte < 0x20) {
            code = cb_buf_u8(into, (uint8_t)byte, err);
            from += length;
        } else {
            break;
        }
    }
    *at = from + 1;
    return code;
}

static cb_code take_value(const char **at, row *r, size_t column, bool *is_plain, cb_error *err)
{
    size_t begin = r->text.size;
    size_t word = 0;
    cb_code code = CB_OK;

    if (**at == '\'') {
        code = take_text(at, &r->text, is_plain, err);
    } else {
        while (isalnum((unsigned char)(*at)[word]) || (*at)[word] == '-')
            word++;
        *is_plain = word > 0;
        code = cb_buf_append(&r->text, *at, word, err);
    }
    r->places[column].at = begin;
    r->places[column].size = r->text.size - begin;
    r->places[column].is_null = word == 4 && strncmp(*at, "NULL", 4) == 0;
    *at += word;
    return code == CB_OK ? cb_buf_u8(&r->text, '\0', err) : code;
}

static cb_code take_row(const char **at, size_t columns, row *r, bool *is_plain, cb_error *err)
{
    cb_code code = CB_OK;

    r->text.size = 0;
    *is_plain = **at == '(';
    for (size_t i = 0; code == CB_OK && *is_plain && i < columns; i++) {
        ++*at; /* the parenthesis or comma */
        code = take_value(at, r, i, is_plain, err);
        if (**at != (i + 1 < columns ? ',' : ')'))
            *is_plain = false;
    }
    if (*is_plain)
        ++*at;
    for (size_t i = 0; i < columns; i++)
        r->cells[i] = (cb_lake_cell){
            r->places[i].is_null ? NULL : (const char *)r->text.data + r->places[i].at,
            r->places[i].is_null ? 0 : r->places[i].size};
    return code;
}

cb_code cb_sqldump_values(const char *values, size_t columns, cb_lake_row *visit, void *arg,
                          bool *is_plain, cb_error *err)
{
    row r = {.places = calloc(columns, sizeof(*r.places)),
             .cells = calloc(columns, sizeof(*r.cells))};
    const char *at = values;
    cb_code code = CB_OK;

    *is_plain = columns > 0;
    if (r.places == NULL || r.cells == NULL)
        code = cb_fail_memory(err, columns * sizeof(*r.places));
    while (code == CB_OK && *is_plain) {
        code = take_row(&at, columns, &r, is_plain, err);
        if (code == CB_OK && *is_plain && visit != NULL)
            code = visit(arg, r.cells, columns, err);
        if (*at == '\0')
            break;
        if (strncmp(at, ",\n", 2) != 0)
            *is_plain = false;
        at += 2;
    }
    cb_buf_free(&r.text);
    free(r.places);
    free(r.cells);
    return code;
}
