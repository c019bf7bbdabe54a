#include "cli/table.h"

#include "base/array.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct cb_table_cell {
    size_t at;   /* in text */
    size_t size; /* bytes */
    bool is_note;
};

void cb_table_free(cb_table *table)
{
    free(table->cells);
    cb_buf_free(&table->text);
    *table = (cb_table){0};
}

size_t cb_text_width(const char *text, size_t size)
{
    size_t width = 0;

    for (size_t i = 0; i < size; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

static cb_code add(cb_table *table, bool is_note, cb_error *err, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));

static cb_code add(cb_table *table, bool is_note, cb_error *err, const char *format, va_list args)
{
    char small[256];
    size_t at = table->text.size;
    va_list again;
    cb_code code;
    int size;

    if (table->cell_count == table->cell_capacity) {
        code = cb_array_grow(&table->cells, &table->cell_capacity, sizeof(*table->cells), err);
        if (code != CB_OK)
            return code;
    }
    va_copy(again, args);
    size = vsnprintf(small, sizeof(small), format, args);
    if (size < 0)
        code = cb_fail(err, CB_INTERNAL, "a cell cannot be formatted");
    else
        code = cb_buf_reserve(&table->text, (size_t)size + 1, err);
    if (code == CB_OK) {
        vsnprintf((char *)table->text.data + at, (size_t)size + 1, format, again);
        table->text.size += (size_t)size;
        table->cells[table->cell_count++] =
            (struct cb_table_cell){.at = at, .size = (size_t)size, .is_note = is_note};
    }
    va_end(again);
    return code;
}

cb_code cb_table_cell(cb_table *table, cb_error *err, const char *format, ...)
{
    va_list args;
    cb_code code;

    va_start(args, format);
    code = add(table, false, err, format, args);
    va_end(args);
    return code;
}

cb_code cb_table_note(cb_table *table, cb_error *err, const char *format, ...)
{
    va_list args;
    cb_code code;

    va_start(args, format);
    code = add(table, true, err, format, args);
    va_end(args);
    return code;
}

static const char *cell_text(const cb_table *table, size_t n)
{
    return (const char *)table->text.data + table->cells[n].at;
}

static void measure(const cb_table *table, size_t widths[CB_TABLE_COLUMNS_MAX])
{
    size_t column = 0;

    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = cb_text_width(cell_text(table, i), table->cells[i].size);

        if (table->cells[i].is_note)
            continue;
        if (width > widths[column])
            widths[column] = width;
        column = (column + 1) % table->columns;
    }
}

static cb_code pad(cb_buf *out, size_t count, cb_error *err)
{
    cb_code code = CB_OK;

    while (count-- > 0 && code == CB_OK)
        code = cb_buf_append(out, " ", 1, err);
    return code;
}

/* Bytes of the first `count` characters. */
static size_t bytes_of(const char *text, size_t size, size_t count)
{
    size_t at = 0;

    for (; count > 0 && at < size; count--) {
        at++;
        while (at < size && ((unsigned char)text[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

cb_code cb_cut(const char *text, size_t size, size_t width, cb_buf *out, cb_error *err)
{
    static const char dots[] = "\xe2\x80\xa6";
    size_t whole = cb_text_width(text, size);
    const char *at = memrchr(text, '@', size);
    size_t label = at ? cb_text_width(at, size - (size_t)(at - text)) : 0;
    size_t head;
    size_t tail;
    size_t skip;
    cb_code code;

    if (whole <= width)
        return cb_buf_append(out, text, size, err);
    width = width < 4 ? 4 : width;
    tail = label > 0 && label + 4 <= width ? label + (width - label - 1) / 2 : (width - 1) / 2;
    head = bytes_of(text, size, width - 1 - tail);
    skip = bytes_of(text, size, whole - tail);
    code = cb_buf_append(out, text, head, err);
    if (code == CB_OK)
        code = cb_buf_append(out, dots, sizeof(dots) - 1, err);
    return code == CB_OK ? cb_buf_append(out, text + skip, size - skip, err) : code;
}

static cb_code print_cell(const cb_table *table, size_t n, size_t column, size_t width, size_t gap,
                          cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    bool is_right = (table->right >> column & 1) != 0;
    bool is_last = column + 1 == table->columns;
    size_t blanks;
    cb_code code = cb_cut(cell_text(table, n), table->cells[n].size, width, &text, err);

    if (code != CB_OK)
        return code;
    blanks = width - cb_text_width((const char *)text.data, text.size);
    if (is_right)
        code = pad(out, blanks, err);
    if (code == CB_OK)
        code = cb_buf_append(out, text.data, text.size, err);
    if (code == CB_OK && is_last)
        code = cb_buf_append(out, "\n", 1, err);
    else if (code == CB_OK) /* nothing trails behind the last column */
        code = pad(out, (is_right ? 0 : blanks) + gap, err);
    return code;
}

/* Take what is too much from the widest column that may be cut, again and again. */
static void narrow(const cb_table *table, size_t widths[CB_TABLE_COLUMNS_MAX], size_t excess)
{
    enum { LEAST = 12 };

    for (; excess > 0; excess--) {
        size_t widest = table->columns;

        for (size_t i = 0; i < table->columns; i++)
            if ((table->cut >> i & 1) != 0 && widths[i] > LEAST &&
                (widest == table->columns || widths[i] > widths[widest]))
                widest = i;
        if (widest == table->columns)
            return;
        widths[widest]--;
    }
}

/* Notes are cut as cells are. */
static cb_code print_note(const cb_table *table, size_t n, cb_buf *out, cb_error *err)
{
    size_t width = table->cut ? CB_TABLE_WIDTH - 4 : SIZE_MAX;
    cb_code code = cb_buf_append(out, "    ", 4, err);

    if (code == CB_OK)
        code = cb_cut(cell_text(table, n), table->cells[n].size, width, out, err);
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

cb_code cb_table_print(const cb_table *table, cb_buf *out, cb_error *err)
{
    size_t widths[CB_TABLE_COLUMNS_MAX] = {0};
    size_t total = 0;
    size_t column = 0;
    size_t gap;
    cb_code code = CB_OK;

    measure(table, widths);
    for (size_t i = 0; i < table->columns; i++)
        total += widths[i];
    gap = total + 2 * (table->columns - 1) > CB_TABLE_WIDTH ? 1 : 2;
    total += gap * (table->columns - 1);
    if (total > CB_TABLE_WIDTH)
        narrow(table, widths, total - CB_TABLE_WIDTH);

    for (size_t i = 0; i < table->cell_count && code == CB_OK; i++) {
        if (table->cells[i].is_note) {
            code = print_note(table, i, out, err);
            continue;
        }
        code = print_cell(table, i, column, widths[column], gap, out, err);
        column = (column + 1) % table->columns;
    }
    return code;
}
