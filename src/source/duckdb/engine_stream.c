/*
 * engine_stream.c - many rows out of DuckDB and into it, a chunk at a time.
 *
 * Out: the query is described first, and then asked again with each of its columns cast to
 * VARCHAR, so that DuckDB itself writes every type that it has; a streaming result holds one chunk.
 * In: DuckDB's appender, which casts texts by the same rules.
 */
#include "source/duckdb/engine_internal.h"

#include <stdlib.h>

/* ---- rows changed ---------------------------------------------------------------------------- */

cb_code cb_duck_change(cb_duck_session *session, const char *sql, uint64_t *changed, cb_error *err)
{
    const cb_duckdb_api *api = cb_duck_session_api(session);
    cb_duck_result result;
    cb_code code = cb_duck_session_query(session, sql, &result, err);

    *changed = code == CB_OK ? api->rows_changed(&result) : 0;
    api->destroy_result(&result);
    return code;
}

/* ---- the query as texts ---------------------------------------------------------------------- */

/* Without the ';' and the blanks at its end: it becomes a part of another statement. */
static cb_code put_query(cb_buf *sql, const char *query, cb_error *err)
{
    size_t length = strlen(query);

    while (length > 0 && strchr("; \t\r\n", query[length - 1]) != NULL)
        length--;
    return cb_buf_append(sql, query, length, err);
}

static cb_code describe(cb_duck_session *session, const char *query, cb_arena *arena,
                        cb_duck_table *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err, "DESCRIBE ");

    if (code == CB_OK)
        code = put_query(&sql, query, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (code == CB_OK)
        code = cb_duck_select(session, (const char *)sql.data, arena, out, err);
    if (code == CB_OK && (out->columns < 2 || out->rows == 0))
        code = cb_fail(err, CB_INTERNAL, "DuckDB does not describe the query");
    return code;
}

/* The rows of the query, in its order; its columns get numbers for names, as they may have none, or
   the same. */
static cb_code compose(const char *query, const cb_duck_table *columns, cb_buf *sql, cb_error *err)
{
    cb_code code = CB_OK;

    for (uint64_t i = 0; code == CB_OK && i < columns->rows; i++) {
        const char *type = columns->cells[i * columns->columns + 1];
        bool is_raw = type != NULL && (strcmp(type, "BLOB") == 0 || strcmp(type, "VARCHAR") == 0);

        code = cb_buf_format(sql, err, is_raw ? "%s c%llu" : "%s CAST(c%llu AS VARCHAR)",
                             i == 0 ? "SELECT" : ",", (unsigned long long)i);
    }
    /* Lines of their own: the query may end in a comment. */
    if (code == CB_OK)
        code = cb_buf_format(sql, err, " FROM (\n");
    if (code == CB_OK)
        code = put_query(sql, query, err);
    for (uint64_t i = 0; code == CB_OK && i < columns->rows; i++)
        code =
            cb_buf_format(sql, err, "%s c%llu", i == 0 ? "\n) AS q(" : ",", (unsigned long long)i);
    return code == CB_OK ? cb_buf_format(sql, err, ")") : code;
}

/* ---- streaming ------------------------------------------------------------------------------- */

typedef struct stream {
    cb_duck_session *session;
    const cb_duckdb_api *api;
    cb_duck_statement statement;
    cb_duck_pending pending;
    cb_duck_result result;
    bool has_result;
    cb_duck_chunk chunk;
    size_t count;
    cb_duck_cell *cells;
    cb_buf *scratch; /* of each column */
} stream;

static void stream_free(stream *of)
{
    if (of->api == NULL)
        return;
    if (of->chunk != NULL)
        of->api->destroy_chunk(&of->chunk);
    if (of->has_result)
        of->api->destroy_result(&of->result);
    if (of->pending != NULL)
        of->api->destroy_pending(&of->pending);
    if (of->statement != NULL)
        of->api->destroy_prepare(&of->statement);
    for (size_t i = 0; of->scratch != NULL && i < of->count; i++)
        cb_buf_free(&of->scratch[i]);
    free(of->scratch);
    free(of->cells);
}

static cb_code start(stream *of, const char *sql, cb_error *err)
{
    const cb_duckdb_api *api = of->api;
    cb_duck_connection connection = cb_duck_session_connection(of->session);

    if (api->prepare(connection, sql, &of->statement) != CB_DUCK_SUCCESS)
        return cb_duck_session_fail(of->session, 0, api->prepare_error(of->statement), err);
    if (api->pending_streaming(of->statement, &of->pending) != CB_DUCK_SUCCESS)
        return cb_duck_session_fail(of->session, 0, api->pending_error(of->pending), err);
    of->has_result = true;
    if (api->execute_pending(of->pending, &of->result) != CB_DUCK_SUCCESS)
        return cb_duck_session_fail(of->session, api->result_error_type(&of->result),
                                    api->result_error(&of->result), err);
    of->cells = calloc(of->count, sizeof(*of->cells));
    of->scratch = calloc(of->count, sizeof(*of->scratch));
    if (of->cells == NULL || of->scratch == NULL)
        return cb_fail_memory(err, of->count * sizeof(cb_buf));
    return CB_OK;
}

/* DuckDB's texts have no NUL at their end. */
static cb_code take_cell(stream *of, size_t column, uint64_t row, cb_error *err)
{
    cb_duck_vector vector = of->api->chunk_vector(of->chunk, column);
    const uint64_t *validity = of->api->vector_validity(vector);
    const cb_duck_string *text = (const cb_duck_string *)of->api->vector_data(vector) + row;
    cb_buf *scratch = &of->scratch[column];
    const char *bytes;
    uint32_t length;

    if (validity != NULL && (validity[row / 64] >> row % 64 & 1) == 0) {
        of->cells[column] = (cb_duck_cell){NULL, 0};
        return CB_OK;
    }
    scratch->size = 0;
    length = text->inlined.length;
    bytes = length <= CB_DUCK_INLINED_MAX ? text->inlined.text : text->pointed.text;
    if (cb_buf_append(scratch, bytes, length, err) != CB_OK || cb_buf_u8(scratch, 0, err) != CB_OK)
        return err->code;
    of->cells[column] = (cb_duck_cell){(const char *)scratch->data, length};
    return CB_OK;
}

static cb_code visit_chunk(stream *of, cb_duck_row *visit, void *arg, cb_error *err)
{
    uint64_t rows = of->api->chunk_size(of->chunk);
    cb_code code = CB_OK;

    for (uint64_t row = 0; code == CB_OK && row < rows; row++) {
        for (size_t i = 0; code == CB_OK && i < of->count; i++)
            code = take_cell(of, i, row, err);
        if (code == CB_OK)
            code = visit(arg, of->cells, of->count, err);
    }
    return code;
}

/* The end and a failure look the same; only the failure leaves words. */
static cb_code visit_all(stream *of, cb_duck_row *visit, void *arg, cb_error *err)
{
    cb_ctx *ctx = cb_duck_session_ctx(of->session);
    cb_code code = CB_OK;
    const char *failure;

    while (code == CB_OK) {
        of->chunk = of->api->fetch_chunk(of->result);
        if (of->chunk == NULL)
            break;
        code = visit_chunk(of, visit, arg, err);
        of->api->destroy_chunk(&of->chunk);
        of->chunk = NULL;
        if (code == CB_OK)
            code = cb_check_cancel(ctx, err);
    }
    if (code != CB_OK)
        return code;
    failure = of->api->result_error(&of->result);
    if (failure != NULL && failure[0] != '\0')
        return cb_duck_session_fail(of->session, of->api->result_error_type(&of->result), failure,
                                    err);
    return cb_check_cancel(ctx, err); /* an interrupt may end it without words */
}

cb_code cb_duck_stream(cb_duck_session *session, const char *sql, cb_duck_row *visit, void *arg,
                       cb_error *err)
{
    CB_CLEANUP(stream_free) stream of = {.session = session, .api = cb_duck_session_api(session)};
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf composed = {0};
    cb_duck_table columns;
    cb_code code = cb_check_cancel(cb_duck_session_ctx(session), err);

    if (code == CB_OK)
        code = describe(session, sql, &arena, &columns, err);
    if (code == CB_OK)
        code = compose(sql, &columns, &composed, err);
    if (code != CB_OK)
        return code;
    of.count = columns.rows;
    code = start(&of, (const char *)composed.data, err);
    return code == CB_OK ? visit_all(&of, visit, arg, err) : code;
}

/* ---- the appender ---------------------------------------------------------------------------- */

struct cb_duck_load {
    cb_duck_session *session;
    const cb_duckdb_api *api;
    cb_duck_appender appender;
};

static cb_code fail_load(cb_duck_load *load, cb_error *err)
{
    return cb_duck_session_fail(load->session, 0, load->api->appender_error(load->appender), err);
}

cb_code cb_duck_load_open(cb_duck_session *session, const char *schema, const char *table,
                          cb_duck_load **out, cb_error *err)
{
    cb_duck_load *load = calloc(1, sizeof(*load));
    cb_code code = CB_OK;

    *out = NULL;
    if (load == NULL)
        return cb_fail_memory(err, sizeof(*load));
    load->session = session;
    load->api = cb_duck_session_api(session);
    if (load->api->appender_create(cb_duck_session_connection(session), schema, table,
                                   &load->appender) != CB_DUCK_SUCCESS)
        code = fail_load(load, err);
    if (code != CB_OK)
        cb_duck_load_free(load);
    else
        *out = load;
    return code;
}

cb_code cb_duck_load_cell(cb_duck_load *load, const char *data, size_t size, bool is_blob,
                          cb_error *err)
{
    int state;

    if (data == NULL)
        state = load->api->append_null(load->appender);
    else if (is_blob)
        state = load->api->append_blob(load->appender, data, size);
    else
        state = load->api->append_text(load->appender, data, size);
    return state == CB_DUCK_SUCCESS ? CB_OK : fail_load(load, err);
}

cb_code cb_duck_load_row(cb_duck_load *load, cb_error *err)
{
    return load->api->appender_end_row(load->appender) == CB_DUCK_SUCCESS ? CB_OK
                                                                          : fail_load(load, err);
}

cb_code cb_duck_load_end(cb_duck_load *load, cb_error *err)
{
    return load->api->appender_close(load->appender) == CB_DUCK_SUCCESS ? CB_OK
                                                                        : fail_load(load, err);
}

void cb_duck_load_free(cb_duck_load *load)
{
    if (load == NULL)
        return;
    if (load->appender != NULL)
        (void)load->api->appender_destroy(&load->appender);
    free(load);
}
