/*
 * table.h - columns of text that line up: cells are added row by row, widths follow from them.
 */
#ifndef CB_CLI_TABLE_H
#define CB_CLI_TABLE_H

#include "base/bytes.h"

enum { CB_TABLE_COLUMNS_MAX = 12, CB_TABLE_WIDTH = 80 };

typedef struct cb_table {
    size_t columns;
    unsigned right; /* bit n: column n is aligned to the right */
    unsigned cut;   /* bit n: column n may be cut where the lines would be too long */
    struct cb_table_cell *cells;
    size_t cell_count;
    size_t cell_capacity;
    cb_buf text; /* of all cells */
} cb_table;

void cb_table_free(cb_table *table); /* releases what the table holds */

/* The next cell of the row, or the first of the next row. */
CB_MUST_USE cb_code cb_table_cell(cb_table *table, cb_error *err, const char *format, ...)
    CB_PRINTF(3, 4);
/* A line by itself below the last row, indented; between rows only. */
CB_MUST_USE cb_code cb_table_note(cb_table *table, cb_error *err, const char *format, ...)
    CB_PRINTF(3, 4);
/* Two blanks between the columns, or one where the lines would pass 80 characters; where that does
   not do, the widest of the columns that may be are cut, in the middle of their cells. */
CB_MUST_USE cb_code cb_table_print(const cb_table *table, cb_buf *out, cb_error *err);

/*
 * Append `text` in at most `width` characters (4 at the least): what is too long loses its middle,
 * for which stands "…". Of NAME@LABEL only the name is cut, as long as there is room for that.
 */
CB_MUST_USE cb_code cb_cut(const char *text, size_t size, size_t width, cb_buf *out, cb_error *err);

/* Characters of UTF-8 text: what a terminal makes of it, near enough. */
size_t cb_text_width(const char *text, size_t size);

#endif
