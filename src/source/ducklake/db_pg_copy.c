/*
 * db_pg_copy.c - many rows into and out of PostgreSQL, by COPY in its text form.
 *
 * Source: PostgreSQL's documentation, "COPY", File Formats, Text Format.
 */
#include "source/ducklake/db_pg_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum {
    SEND_BYTES = 64 << 10,
    POLL_MS = 50,
};

/* ---- COPY itself ----------------------------------------------------------------------------- */

static cb_code begin(cb_pg_db *self, const char *before, const char *table,
                     const cb_lake_table *columns, const char *behind, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_code code = cb_buf_format(&sql, err, "%s", before);

    if (code == CB_OK)
        code = cb_lake_db_table(&self->base, &sql, table, err);
    for (size_t i = 0; code == CB_OK && columns != NULL && i < columns->column_count; i++) {
        code = cb_buf_format(&sql, err, "%s", i == 0 ? " (" : ", ");
        if (code == CB_OK)
            code = cb_lake_quote_name(&sql, columns->columns[i].name, err);
    }
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "%s%s", columns != NULL ? ")" : "", behind);
    return code == CB_OK ? cb_pg_run(self, (const char *)sql.data, &result, err) : code;
}

/* In parts, so that a cancel is heard between them. */
static cb_code send(cb_pg_db *self, const void *data, size_t size, cb_error *err)
{
    const char *from = data;

    while (size > 0) {
        int part = size > SEND_BYTES ? SEND_BYTES : (int)size;

        if (cb_check_cancel(self->base.ctx, err) != CB_OK)
            return err->code;
        if (PQputCopyData(self->connection, from, part) != 1)
            return cb_pg_fail(self, NULL, err);
        from += part;
        size -= (size_t)part;
    }
    return CB_OK;
}

static cb_code end(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_code code = CB_OK;

    if (PQputCopyEnd(self->connection, NULL) < 0)
        return cb_pg_fail(self, NULL, err);
    code = cb_pg_next(self, &result, err);
    if (code == CB_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        code = cb_pg_fail(self, result, err);
    cb_pg_drain(self, false);
    return code;
}

/* One row; *row NULL: none is there yet (wait), or all have come (*is_over). */
static cb_code next_row(cb_pg_db *self, char **row, int *size, bool *is_over, cb_error *err)
{
    struct pollfd wait = {.fd = PQsocket(self->connection), .events = POLLIN};

    *row = NULL;
    *is_over = false;
    *size = PQgetCopyData(self->connection, row, 1);
    if (*size == -2)
        return cb_pg_fail(self, NULL, err);
    *is_over = *size == -1;
    if (*size != 0)
        return CB_OK;
    if (poll(&wait, 1, POLL_MS) < 0 && errno != EINTR)
        return cb_fail_errno(err, errno, "cannot wait for the PostgreSQL server");
    if (PQconsumeInput(self->connection) == 0)
        return cb_pg_fail(self, NULL, err);
    return CB_OK;
}

cb_code cb_lake_postgres_copy_out(cb_lake_db *db, const char *table, cb_lake_copy_visit *visit,
                                  void *arg, cb_error *err)
{
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_pg_db *self = (cb_pg_db *)db;
    cb_code code = begin(self, "COPY ", table, NULL, " TO STDOUT", err);
    bool is_over = false;

    if (code != CB_OK)
        return code;
    while (code == CB_OK && !is_over) {
        char *row;
        int size;

        code = cb_check_cancel(db->ctx, err);
        if (code == CB_OK)
            code = next_row(self, &row, &size, &is_over, err);
        if (code == CB_OK && row != NULL) {
            code = visit(arg, cb_bytes_of(row, (size_t)size), err);
            PQfreemem(row);
        }
    }
    if (code == CB_OK)
        code = cb_pg_next(self, &result, err);
    if (code == CB_OK && result != NULL && PQresultStatus(result) != PGRES_COMMAND_OK)
        code = cb_pg_fail(self, result, err);
    cb_pg_drain(self, code == CB_CANCELLED);
    return code;
}

cb_code cb_lake_postgres_copy_begin(cb_lake_db *db, const char *table, cb_error *err)
{
    return begin((cb_pg_db *)db, "COPY ", table, NULL, " FROM STDIN", err);
}

cb_code cb_lake_postgres_copy_data(cb_lake_db *db, cb_bytes data, cb_error *err)
{
    return send((cb_pg_db *)db, data.data, data.size, err);
}

cb_code cb_lake_postgres_copy_end(cb_lake_db *db, cb_error *err)
{
    return end((cb_pg_db *)db, err);
}

/* ---- the loader ------------------------------------------------------------------------------ */

typedef struct pg_loader {
    cb_buf rows; /* not sent yet */
    bool is_open;
} pg_loader;

cb_code cb_pg_loader_open(cb_lake_db *db, cb_lake_loader *loader, cb_error *err)
{
    pg_loader *own = calloc(1, sizeof(*own));
    cb_code code;

    if (own == NULL)
        return cb_fail_memory(err, sizeof(*own));
    loader->own = own;
    code = begin((cb_pg_db *)db, "COPY ", loader->table->name, loader->table, " FROM STDIN", err);
    own->is_open = code == CB_OK;
    return code;
}

static char escape_of(char c)
{
    switch (c) {
    case '\\':
        return '\\';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    default:
        return '\0';
    }
}

static cb_code put_text(cb_buf *rows, const cb_lake_cell *cell, cb_error *err)
{
    const char *text = cell->text;
    size_t left = cell->size;

    /* Twice the size is the most it can become. */
    if (cb_buf_reserve(rows, 2 * left, err) != CB_OK)
        return err->code;
    for (; left > 0; left--, text++) {
        char escape = escape_of(*text);

        if (*text == '\0') {
            cb_fail(err, CB_UNSUPPORTED, "a text holds a zero byte, which PostgreSQL cannot store");
            return err->code;
        }
        if (escape != '\0')
            rows->data[rows->size++] = '\\';
        rows->data[rows->size++] = (uint8_t)(escape != '\0' ? escape : *text);
    }
    return CB_OK;
}

/* bytea's hex form, whose backslash COPY wants doubled. */
static cb_code put_bytes(cb_buf *rows, const cb_lake_cell *cell, cb_error *err)
{
    if (cb_buf_append(rows, "\\\\x", 3, err) != CB_OK ||
        cb_buf_reserve(rows, 2 * cell->size + 1, err) != CB_OK)
        return err->code;
    cb_hex((const uint8_t *)cell->text, cell->size, (char *)rows->data + rows->size);
    rows->size += 2 * cell->size;
    return CB_OK;
}

/* DuckDB's "0044-03-15 (BC) 00:00:00" is PostgreSQL's "0044-03-15 00:00:00 BC". */
static cb_code put_time(cb_buf *rows, const cb_lake_cell *cell, cb_error *err)
{
    const char *mark = strstr(cell->text, " (BC)");
    cb_lake_cell before;
    cb_lake_cell behind;
    cb_code code;

    if (mark == NULL)
        return put_text(rows, cell, err);
    before = (cb_lake_cell){cell->text, (size_t)(mark - cell->text)};
    behind = (cb_lake_cell){mark + 5, cell->size - before.size - 5};
    code = put_text(rows, &before, err);
    if (code == CB_OK)
        code = put_text(rows, &behind, err);
    return code == CB_OK ? cb_buf_append(rows, " BC", 3, err) : code;
}

static cb_code put_cell(cb_buf *rows, const cb_lake_column *column, const cb_lake_cell *cell,
                        cb_error *err)
{
    if (cell->text == NULL)
        return cb_buf_append(rows, "\\N", 2, err);
    if (column->type == CB_LAKE_BLOB)
        return put_bytes(rows, cell, err);
    if (column->type == CB_LAKE_TIMESTAMPTZ ||
        (column->type == CB_LAKE_OTHER && column->declared != NULL &&
         (strncmp(column->declared, "timestamp", 9) == 0 ||
          strncmp(column->declared, "date", 4) == 0)))
        return put_time(rows, cell, err);
    return put_text(rows, cell, err);
}

static cb_code flush(cb_lake_loader *loader, cb_error *err)
{
    pg_loader *own = loader->own;
    cb_code code = send((cb_pg_db *)loader->db, own->rows.data, own->rows.size, err);

    own->rows.size = 0;
    return code;
}

cb_code cb_pg_loader_row(cb_lake_loader *loader, const cb_lake_cell *cells, cb_error *err)
{
    pg_loader *own = loader->own;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < loader->table->column_count; i++) {
        if (i > 0)
            code = cb_buf_u8(&own->rows, '\t', err);
        if (code == CB_OK)
            code = put_cell(&own->rows, &loader->table->columns[i], &cells[i], err);
    }
    if (code == CB_OK)
        code = cb_buf_u8(&own->rows, '\n', err);
    if (code == CB_OK && own->rows.size >= SEND_BYTES)
        code = flush(loader, err);
    return code;
}

cb_code cb_pg_loader_end(cb_lake_loader *loader, cb_error *err)
{
    pg_loader *own = loader->own;
    cb_code code = flush(loader, err);

    if (code == CB_OK)
        code = end((cb_pg_db *)loader->db, err);
    own->is_open = code != CB_OK && own->is_open;
    return code;
}

void cb_pg_loader_free(cb_lake_loader *loader)
{
    pg_loader *own = loader->own;

    if (own == NULL)
        return;
    if (own->is_open)
        cb_pg_drain((cb_pg_db *)loader->db, false);
    cb_buf_free(&own->rows);
    free(own);
}
