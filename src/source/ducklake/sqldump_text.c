/*
 * sqldump_text.c - values as literals that come back as the same bytes, whatever reads them.
 *
 * The shells of SQLite and DuckDB read line by line: a NUL ends the line for them, and a carriage
 * return before a newline is lost. Neither stands in a dump as it is.
 */
#include "source/ducklake/sqldump_internal.h"

cb_code cb_sqldump_comment(cb_buf *into, const char *key, const char *value, cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "-- %s: ", key);

    for (const char *at = value; code == CB_OK && *at != '\0'; at++)
        code = cb_buf_u8(into, (uint8_t)*at < 0x20 || *at == 0x7f ? '?' : (uint8_t)*at, err);
    return code == CB_OK ? cb_buf_u8(into, '\n', err) : code;
}

static bool is_lost_by_shells(char byte)
{
    return byte == '\0' || byte == '\r';
}

cb_code cb_sqldump_literal(cb_buf *into, const cb_lake_cell *cell, cb_error *err)
{
    size_t at = 0;
    cb_code code;

    if (cell->text == NULL)
        return cb_buf_append(into, "NULL", 4, err);
    code = cb_buf_u8(into, '\'', err);
    while (code == CB_OK && at < cell->size) {
        size_t run = at;

        while (run < cell->size && cell->text[run] != '\'' && !is_lost_by_shells(cell->text[run]))
            run++;
        code = cb_buf_append(into, cell->text + at, run - at, err);
        if (code != CB_OK || run == cell->size)
            break;
        if (cell->text[run] == '\'')
            code = cb_buf_append(into, "''", 2, err);
        else
            code = cb_buf_format(into, err, "'||chr(%d)||'", cell->text[run]);
        at = run + 1;
    }
    return code == CB_OK ? cb_buf_u8(into, '\'', err) : code;
}

cb_code cb_sqldump_sqlite_expression(cb_buf *into, const char *name, cb_error *err)
{
    /* quote() writes reals so that they read back exactly, but stops at a NUL and has no word for
       infinity. $ stands for the column. */
    static const char expression[] =
        "CASE typeof($) "
        "WHEN 'text' THEN CASE WHEN instr($, char(0)) > 0 OR instr($, char(13)) > 0 "
        "THEN 'CAST(' || quote(CAST($ AS BLOB)) || ' AS TEXT)' ELSE quote($) END "
        "WHEN 'real' THEN CASE WHEN $ > 1.7976931348623157e308 THEN '9e999' "
        "WHEN $ < -1.7976931348623157e308 THEN '-9e999' ELSE quote($) END "
        "ELSE quote($) END";
    cb_code code = CB_OK;

    for (const char *at = expression; code == CB_OK && *at != '\0'; at++)
        code =
            *at == '$' ? cb_lake_quote_name(into, name, err) : cb_buf_u8(into, (uint8_t)*at, err);
    return code;
}

bool cb_sqldump_head_value(cb_bytes head, const char *key, char *out, size_t size)
{
    size_t key_bytes = strlen(key);
    size_t at = 0;

    while (at < head.size) {
        const uint8_t *line = head.data + at;
        const uint8_t *end = memchr(line, '\n', head.size - at);
        size_t length = end == NULL ? head.size - at : (size_t)(end - line);

        if (length < 2 || memcmp(line, "--", 2) != 0)
            return false; /* the comments are over */
        if (length >= 5 + key_bytes && memcmp(line, "-- ", 3) == 0 &&
            memcmp(line + 3, key, key_bytes) == 0 && memcmp(line + 3 + key_bytes, ": ", 2) == 0) {
            size_t value = length - 5 - key_bytes;

            if (value >= size || memchr(line + 5 + key_bytes, '\0', value) != NULL)
                return false;
            memcpy(out, line + 5 + key_bytes, value);
            out[value] = '\0';
            return true;
        }
        at += length + 1;
    }
    return false;
}
