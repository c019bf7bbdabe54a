/*
 * sqldump_scan.c - a dump cut into statements and rows as its bytes come by.
 *
 * Only what ends a statement matters: quotes, comments, the semicolon. A doubled quote is the end
 * of one text and the beginning of the next. PostgreSQL writes E'...' with backslashes into an
 * index's expression.
 */
#include "source/ducklake/sqldump_internal.h"

#include "base/text.h"

#include <ctype.h>

#define TEXT_MAX ((size_t)1 << 30) /* what SQLite takes as one statement */

static bool is_name_byte(uint8_t byte)
{
    return isalnum(byte) || byte == '_' || byte >= 0x80;
}

/* Does the quote that comes now belong to E'...'? One that is doubled goes on as before. */
static bool begins_escapes(const cb_buf *text, bool had_escapes)
{
    size_t n = text->size;

    if (n > 0 && text->data[n - 1] == '\'')
        return had_escapes;
    return n > 0 && (text->data[n - 1] | 0x20) == 'e' &&
           (n == 1 || !is_name_byte(text->data[n - 2]));
}

static cb_code end_statement(cb_sqldump_scan *scan, cb_sqldump_visit *visit, void *arg,
                             cb_error *err)
{
    cb_code code = cb_buf_u8(&scan->text, '\0', err);

    if (code != CB_OK)
        return code;
    scan->text.size--;
    if (memchr(scan->text.data, '\0', scan->text.size) != NULL)
        return cb_fail(err, CB_CORRUPT, "there is a NUL in line %llu",
                       (unsigned long long)scan->line + 1);
    scan->where = cb_has_prefix((const char *)scan->text.data, "COPY ") ? CB_SQLDUMP_COPY_HEAD
                                                                        : CB_SQLDUMP_BETWEEN;
    code = visit(arg, CB_SQLDUMP_STATEMENT, cb_buf_bytes(&scan->text), err);
    scan->text.size = 0;
    return code;
}

static cb_code within(cb_sqldump_scan *scan, uint8_t byte, cb_sqldump_visit *visit, void *arg,
                      cb_error *err)
{
    cb_buf *text = &scan->text;

    if (byte == ';')
        return end_statement(scan, visit, arg, err);
    if (byte == '-' && text->size > 0 && text->data[text->size - 1] == '-') {
        /* Between statements only: within one a dump has none, and it would hide what follows. */
        if (text->size > 1)
            return cb_fail(err, CB_CORRUPT, "there is a comment within the statement of line %llu",
                           (unsigned long long)scan->line + 1);
        text->size = 0;
        scan->where = CB_SQLDUMP_REMARK;
        return CB_OK;
    }
    if (byte == '\'') {
        scan->has_escapes = begins_escapes(text, scan->has_escapes);
        scan->where = CB_SQLDUMP_TEXT;
    } else if (byte == '"') {
        scan->where = CB_SQLDUMP_NAME;
    }
    return cb_buf_u8(text, byte, err);
}

/* The first byte of something. */
static cb_code begin(cb_sqldump_scan *scan, uint8_t byte, cb_sqldump_visit *visit, void *arg,
                     cb_error *err)
{
    if (isspace(byte) || byte == ';')
        return CB_OK;
    if (byte == '.' || byte == '\\') {
        scan->where = CB_SQLDUMP_REMARK;
        return CB_OK;
    }
    scan->where = CB_SQLDUMP_BODY;
    return within(scan, byte, visit, arg, err);
}

static cb_code step(cb_sqldump_scan *scan, uint8_t byte, cb_sqldump_visit *visit, void *arg,
                    cb_error *err)
{
    switch (scan->where) {
    case CB_SQLDUMP_BETWEEN:
        return begin(scan, byte, visit, arg, err);
    case CB_SQLDUMP_REMARK:
        if (byte == '\n')
            scan->where = CB_SQLDUMP_BETWEEN;
        return CB_OK;
    case CB_SQLDUMP_BODY:
        return within(scan, byte, visit, arg, err);
    case CB_SQLDUMP_TEXT:
        if (scan->is_escaped)
            scan->is_escaped = false;
        else if (byte == '\\' && scan->has_escapes)
            scan->is_escaped = true;
        else if (byte == '\'')
            scan->where = CB_SQLDUMP_BODY;
        return cb_buf_u8(&scan->text, byte, err);
    case CB_SQLDUMP_NAME:
        if (byte == '"')
            scan->where = CB_SQLDUMP_BODY;
        return cb_buf_u8(&scan->text, byte, err);
    case CB_SQLDUMP_COPY_HEAD:
        if (byte == '\n')
            scan->where = CB_SQLDUMP_COPY_ROW;
        return CB_OK;
    case CB_SQLDUMP_COPY_ROW:
        break; /* by the line: rows() */
    }
    return CB_OK;
}

/* Rows as far as they are whole; how many bytes were taken is in *used. */
static cb_code rows(cb_sqldump_scan *scan, cb_bytes data, size_t *used, cb_sqldump_visit *visit,
                    void *arg, cb_error *err)
{
    const uint8_t *newline = memchr(data.data, '\n', data.size);
    size_t size = newline == NULL ? data.size : (size_t)(newline - data.data) + 1;
    cb_bytes row = {data.data, size};
    cb_code code;

    *used = size;
    if (scan->text.size > 0 || newline == NULL) {
        code = cb_buf_append(&scan->text, data.data, size, err);
        if (code != CB_OK || newline == NULL)
            return code;
        row = cb_buf_bytes(&scan->text);
    }
    scan->line++;
    if (row.size == 3 && memcmp(row.data, "\\.\n", 3) == 0) {
        scan->where = CB_SQLDUMP_BETWEEN;
        code = visit(arg, CB_SQLDUMP_ROWS_END, (cb_bytes){NULL, 0}, err);
    } else {
        code = visit(arg, CB_SQLDUMP_ROWS, row, err);
    }
    scan->text.size = 0;
    return code;
}

/* The run of bytes in a text or name that mean nothing: most of a dump. */
static size_t plain_run(const cb_sqldump_scan *scan, cb_bytes data)
{
    size_t n = 0;

    if (scan->is_escaped || scan->where < CB_SQLDUMP_BODY || scan->where > CB_SQLDUMP_NAME)
        return 0;
    while (n < data.size && data.data[n] != '\'' && data.data[n] != '"' && data.data[n] != ';' &&
           data.data[n] != '\\' && data.data[n] != '-' && data.data[n] != '\n')
        n++;
    return n;
}

cb_code cb_sqldump_scan_step(cb_sqldump_scan *scan, cb_bytes data, cb_sqldump_visit *visit,
                             void *arg, cb_error *err)
{
    cb_code code = CB_OK;
    size_t at = 0;

    scan->text.limit = TEXT_MAX;
    while (code == CB_OK && at < data.size) {
        cb_bytes rest = {data.data + at, data.size - at};
        size_t used = plain_run(scan, rest);

        if (scan->where == CB_SQLDUMP_COPY_ROW) {
            code = rows(scan, rest, &used, visit, arg, err);
        } else if (used > 0) {
            code = cb_buf_append(&scan->text, rest.data, used, err);
        } else {
            used = 1;
            scan->line += rest.data[0] == '\n';
            code = step(scan, rest.data[0], visit, arg, err);
        }
        at += used;
    }
    return code;
}

cb_code cb_sqldump_scan_end(cb_sqldump_scan *scan, cb_error *err)
{
    if (scan->where == CB_SQLDUMP_BETWEEN || scan->where == CB_SQLDUMP_REMARK)
        return CB_OK;
    return cb_fail(err, CB_CORRUPT, "it ends within a statement, in line %llu",
                   (unsigned long long)scan->line + 1);
}

void cb_sqldump_scan_free(cb_sqldump_scan *scan)
{
    cb_buf_free(&scan->text);
}
