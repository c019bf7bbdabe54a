/*
 * db_pg_run.c - statements on a PostgreSQL connection, and their rows one by one.
 *
 * Rows come in single-row mode, so that memory holds one of them whatever the table's size. libpq
 * never waits: we poll, and a cancel goes to the server as a request of its own.
 */
#include "source/ducklake/db_pg_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/text.h"

enum {
    POLL_MS = 50,
    DRAIN_US = 2000000,
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_DATE = 1082,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
};

/* ---- waiting --------------------------------------------------------------------------------- */

static void ask_to_stop(cb_pg_db *self)
{
    PGcancel *cancel = PQgetCancel(self->connection);
    char reason[256];

    if (cancel == NULL)
        return;
    (void)PQcancel(cancel, reason, sizeof(reason)); /* without it the statement only takes longer */
    PQfreeCancel(cancel);
}

/* What one result leads to; false: the connection gives no more. */
static bool drain_result(cb_pg_db *self, ExecStatusType status, int64_t deadline_us)
{
    char *row = NULL;

    if (status == PGRES_COPY_IN)
        return PQputCopyEnd(self->connection, "given up") >= 0;
    while (status == PGRES_COPY_OUT && PQgetCopyData(self->connection, &row, 0) > 0) {
        PQfreemem(row);
        if (deadline_us > 0 && cb_monotonic_us() > deadline_us) {
            ask_to_stop(self);
            deadline_us = 0;
        }
    }
    return PQstatus(self->connection) == CONNECTION_OK;
}

void cb_pg_drain(cb_pg_db *self, bool cancel)
{
    int64_t deadline_us = cb_monotonic_us() + DRAIN_US;
    PGresult *result;
    bool goes_on = true;

    if (self->connection == NULL || PQstatus(self->connection) != CONNECTION_OK)
        return;
    if (cancel && PQtransactionStatus(self->connection) == PQTRANS_ACTIVE) {
        ask_to_stop(self);
        deadline_us = 0;
    }
    while (goes_on) {
        ExecStatusType status;

        result = PQgetResult(self->connection);
        if (result == NULL)
            return;
        status = PQresultStatus(result);
        PQclear(result);
        if (deadline_us > 0 && cb_monotonic_us() > deadline_us) {
            ask_to_stop(self);
            deadline_us = 0;
        }
        goes_on = drain_result(self, status, deadline_us);
    }
}

static cb_code wait_readable(cb_pg_db *self, cb_error *err)
{
    struct pollfd wait = {.fd = PQsocket(self->connection), .events = POLLIN};
    int ready = poll(&wait, 1, POLL_MS);

    if (ready < 0 && errno != EINTR)
        return cb_fail_errno(err, errno, "cannot wait for the PostgreSQL server");
    if (cb_check_cancel(self->base.ctx, err) != CB_OK) {
        cb_pg_drain(self, true);
        return err->code;
    }
    if (ready > 0 && PQconsumeInput(self->connection) == 0)
        return cb_pg_fail(self, NULL, err);
    return CB_OK;
}

cb_code cb_pg_next(cb_pg_db *self, PGresult **out, cb_error *err)
{
    *out = NULL;
    while (PQisBusy(self->connection)) {
        cb_code code = wait_readable(self, err);

        if (code != CB_OK)
            return code;
    }
    *out = PQgetResult(self->connection);
    return CB_OK;
}

static cb_code check(cb_pg_db *self, const PGresult *result, cb_error *err)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
        return CB_OK;
    default:
        return cb_pg_fail(self, result, err);
    }
}

cb_code cb_pg_run(cb_pg_db *self, const char *sql, PGresult **out, cb_error *err)
{
    cb_code code = CB_OK;

    if (out != NULL)
        *out = NULL;
    if (PQsendQuery(self->connection, sql) == 0)
        return cb_pg_fail(self, NULL, err);
    for (;;) {
        CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
        cb_code next = cb_pg_next(self, &result, err);

        if (next != CB_OK) {
            code = next;
            break;
        }
        if (result == NULL)
            break;
        if (code == CB_OK)
            code = check(self, result, err);
        if (code == CB_OK && out != NULL) {
            PQclear(*out);
            *out = result;
            result = NULL;
        }
        if (code == CB_OK && out != NULL && PQresultStatus(*out) >= PGRES_COPY_OUT &&
            PQresultStatus(*out) <= PGRES_COPY_IN)
            return CB_OK; /* what follows is the copy's */
    }
    if (code == CB_OK && PQstatus(self->connection) != CONNECTION_OK)
        code = cb_pg_fail(self, NULL, err);
    if (code != CB_OK && out != NULL)
        cb_pg_result_free(out);
    return code;
}

/* ---- cells ----------------------------------------------------------------------------------- */

static cb_code bytea(cb_buf *scratch, const char *text, size_t size, cb_lake_cell *out,
                     cb_error *err)
{
    size_t bytes = size < 2 ? 0 : (size - 2) / 2;

    scratch->size = 0;
    if (size < 2 || text[0] != '\\' || text[1] != 'x')
        return cb_fail(err, CB_IO, "PostgreSQL gives bytes in a form that was not asked for");
    if (cb_buf_reserve(scratch, bytes + 1, err) != CB_OK)
        return err->code;
    if (!cb_unhex(text + 2, bytes, scratch->data))
        return cb_fail(err, CB_IO, "PostgreSQL gives bytes in a form that was not asked for");
    scratch->data[bytes] = '\0';
    *out = (cb_lake_cell){(const char *)scratch->data, bytes};
    return CB_OK;
}

static void float_cell(cb_lake_cell *cell)
{
    if (strcmp(cell->text, "NaN") == 0)
        *cell = (cb_lake_cell){"nan", 3};
    else if (strcmp(cell->text, "Infinity") == 0)
        *cell = (cb_lake_cell){"inf", 3};
    else if (strcmp(cell->text, "-Infinity") == 0)
        *cell = (cb_lake_cell){"-inf", 4};
}

/* "0044-03-15 00:00:00+00 BC" is DuckDB's "0044-03-15 (BC) 00:00:00+00". */
static cb_code before_christ(cb_buf *scratch, cb_lake_cell *cell, cb_error *err)
{
    const char *text = cell->text;
    size_t date = strcspn(text, " ");
    size_t size = cell->size - 3;

    scratch->size = 0;
    if (cb_buf_append(scratch, text, date, err) != CB_OK ||
        cb_buf_append(scratch, " (BC)", 5, err) != CB_OK ||
        cb_buf_append(scratch, text + date, size - date, err) != CB_OK ||
        cb_buf_u8(scratch, 0, err) != CB_OK)
        return err->code;
    *cell = (cb_lake_cell){(const char *)scratch->data, scratch->size - 1};
    return CB_OK;
}

static cb_code take_cell(const PGresult *result, int row, int column, cb_buf *scratch,
                         cb_lake_cell *cell, cb_error *err)
{
    const char *text = PQgetvalue(result, row, column);
    size_t size = (size_t)PQgetlength(result, row, column);

    if (PQgetisnull(result, row, column)) {
        *cell = (cb_lake_cell){NULL, 0};
        return CB_OK;
    }
    *cell = (cb_lake_cell){text, size};
    switch (PQftype(result, column)) {
    case OID_BOOL:
        *cell = text[0] == 't' ? (cb_lake_cell){"true", 4} : (cb_lake_cell){"false", 5};
        return CB_OK;
    case OID_BYTEA:
        return bytea(scratch, text, size, cell, err);
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_NUMERIC:
        float_cell(cell);
        return CB_OK;
    case OID_DATE:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
        return cb_has_suffix(text, " BC") ? before_christ(scratch, cell, err) : CB_OK;
    default:
        return CB_OK;
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

typedef struct rows {
    size_t count;
    cb_lake_cell *cells;
    cb_buf *scratch; /* of each column */
} rows;

static void rows_free(rows *of)
{
    for (size_t i = 0; of->scratch != NULL && i < of->count; i++)
        cb_buf_free(&of->scratch[i]);
    free(of->scratch);
    free(of->cells);
}

static cb_code prepare_rows(rows *of, const PGresult *result, cb_error *err)
{
    size_t count = (size_t)PQnfields(result);

    if (of->cells != NULL)
        return CB_OK;
    of->cells = calloc(count + 1, sizeof(*of->cells));
    of->scratch = calloc(count + 1, sizeof(*of->scratch));
    if (of->cells == NULL || of->scratch == NULL)
        return cb_fail_memory(err, count * sizeof(cb_buf));
    of->count = count;
    return CB_OK;
}

static cb_code visit_rows(rows *of, const PGresult *result, cb_lake_row *visit, void *arg,
                          cb_error *err)
{
    cb_code code = prepare_rows(of, result, err);

    for (int row = 0; code == CB_OK && row < PQntuples(result); row++) {
        for (size_t i = 0; code == CB_OK && i < of->count; i++)
            code = take_cell(result, row, (int)i, &of->scratch[i], &of->cells[i], err);
        if (code == CB_OK)
            code = visit(arg, of->cells, of->count, err);
    }
    return code;
}

static cb_code take_rows(cb_pg_db *self, cb_lake_row *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(rows_free) rows of = {0};

    for (;;) {
        CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
        cb_code code = cb_check_cancel(self->base.ctx, err);

        if (code == CB_OK)
            code = cb_pg_next(self, &result, err);
        if (code != CB_OK || result == NULL)
            return code;
        code = check(self, result, err);
        if (code == CB_OK)
            code = visit_rows(&of, result, visit, arg, err);
        if (code != CB_OK)
            return code;
    }
}

cb_code cb_pg_query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg, cb_error *err)
{
    cb_pg_db *self = (cb_pg_db *)db;
    cb_code code;

    if (PQsendQuery(self->connection, sql) == 0)
        return cb_pg_fail(self, NULL, err);
    if (PQsetSingleRowMode(self->connection) == 0)
        return cb_fail(err, CB_INTERNAL, "PostgreSQL gives no rows one by one");
    code = take_rows(self, visit, arg, err);
    if (code != CB_OK)
        cb_pg_drain(self, code == CB_CANCELLED);
    return code;
}

cb_code cb_pg_exec(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err)
{
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_error ignored = {0};
    cb_code code = cb_pg_run((cb_pg_db *)db, sql, &result, err);

    /* "" of a statement that touches no rows */
    if (code == CB_OK && result != NULL && cb_parse_u64(PQcmdTuples(result), changed, &ignored))
        *changed = 0;
    return code;
}
