/*
 * db.c - the conversation with a catalog's database, as far as it is the same for the three kinds:
 * which kind it is, what may follow what, SQL's names and texts, and the tables' statements.
 */
#include "source/ducklake/db_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

cb_code cb_lake_db_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                        cb_lake_db **out, cb_error *err)
{
    cb_code code = CB_OK;

    *out = NULL;
    switch (address->kind) {
    case CB_LAKE_DUCKDB:
        code = cb_lake_duckdb_open(ctx, address, mode, out, err);
        break;
    case CB_LAKE_SQLITE:
        code = cb_lake_sqlite_open(ctx, address, mode, out, err);
        break;
    case CB_LAKE_POSTGRES:
        code = cb_lake_postgres_open(ctx, address, mode, out, err);
        break;
    }
    return code == CB_OK ? CB_OK : cb_context(err, "catalog '%.300s'", address->shown);
}

void cb_lake_db_close(cb_lake_db *db)
{
    if (db != NULL)
        db->ops->close(db);
}

void cb_lake_db_cleanup(cb_lake_db **db)
{
    cb_lake_db_close(*db);
    *db = NULL;
}

cb_lake_kind cb_lake_db_kind(const cb_lake_db *db)
{
    return db->address.kind;
}

const cb_lake_address *cb_lake_db_address(const cb_lake_db *db)
{
    return &db->address;
}

void cb_lake_db_show_as(cb_lake_db *db, const char *shown)
{
    snprintf(db->address.shown, sizeof(db->address.shown), "%s", shown);
}

/* Our own mistakes, but told and not asserted: the connection would only say something obscure. */
static cb_code check_free(const cb_lake_db *db, cb_error *err)
{
    if (db->is_done)
        return cb_fail(err, CB_INTERNAL, "the catalog's transaction is over");
    if (db->is_used)
        return cb_fail(err, CB_INTERNAL, "the catalog's connection is in use");
    return cb_check_cancel(db->ctx, err);
}

cb_code cb_lake_db_commit(cb_lake_db *db, cb_error *err)
{
    cb_code code = check_free(db, err);

    if (code != CB_OK)
        return code;
    if (db->is_broken)
        return cb_fail(err, CB_INTERNAL, "a statement of the catalog's transaction failed before");
    code = db->ops->commit(db, err);
    db->is_done = true;
    return code == CB_OK ? CB_OK : cb_context(err, "commit to catalog '%.300s'", db->address.shown);
}

/* ---- names and texts ------------------------------------------------------------------------- */

static cb_code quote(cb_buf *sql, char mark, const char *text, cb_error *err)
{
    cb_code code = cb_buf_u8(sql, (uint8_t)mark, err);

    for (; code == CB_OK && *text != '\0'; text++) {
        if (*text == mark)
            code = cb_buf_u8(sql, (uint8_t)mark, err);
        if (code == CB_OK)
            code = cb_buf_u8(sql, (uint8_t)*text, err);
    }
    return code == CB_OK ? cb_buf_u8(sql, (uint8_t)mark, err) : code;
}

cb_code cb_lake_quote(cb_buf *sql, const char *text, cb_error *err)
{
    return text != NULL ? quote(sql, '\'', text, err) : cb_buf_append(sql, "NULL", 4, err);
}

cb_code cb_lake_quote_name(cb_buf *sql, const char *name, cb_error *err)
{
    return quote(sql, '"', name, err);
}

cb_code cb_lake_db_table(const cb_lake_db *db, cb_buf *sql, const char *table, cb_error *err)
{
    return db->ops->qualify(db, sql, table, err);
}

/* The length of "{name}" at `at`; 0: it is none. */
static size_t placeholder_at(const char *at)
{
    size_t length = 1;

    while ((at[length] >= 'a' && at[length] <= 'z') || (at[length] >= '0' && at[length] <= '9') ||
           at[length] == '_')
        length++;
    return length > 1 && at[length] == '}' ? length + 1 : 0;
}

static cb_code put_placeholder(const cb_lake_db *db, cb_buf *sql, const char *at, size_t length,
                               cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};

    if (cb_buf_format(&name, err, CB_LAKE_PREFIX "%.*s", (int)length - 2, at + 1) != CB_OK)
        return err->code;
    return cb_lake_db_table(db, sql, (const char *)name.data, err);
}

cb_code cb_lake_db_compose(const cb_lake_db *db, cb_buf *sql, const char *format, cb_error *err)
{
    cb_code code = CB_OK;
    char inside = '\0'; /* the quote that we are behind: texts and names stay as they are */

    for (const char *at = format; code == CB_OK && *at != '\0';) {
        size_t length = inside == '\0' && *at == '{' ? placeholder_at(at) : 0;

        if (length > 0) {
            code = put_placeholder(db, sql, at, length, err);
            at += length;
            continue;
        }
        if (inside == '\0' && (*at == '\'' || *at == '"'))
            inside = *at;
        else if (*at == inside)
            inside = '\0'; /* a doubled quote closes, and opens again */
        code = cb_buf_u8(sql, (uint8_t)*at++, err);
    }
    if (code == CB_OK)
        code = cb_buf_u8(sql, 0, err); /* there for C, and not counted */
    if (code == CB_OK)
        sql->size--;
    return code;
}

/* ---- statements ------------------------------------------------------------------------------ */

cb_code cb_lake_db_query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf composed = {0};
    cb_code code = check_free(db, err);

    if (code == CB_OK)
        code = cb_lake_db_compose(db, &composed, sql, err);
    if (code != CB_OK)
        return code;
    db->is_used = true;
    code = db->ops->query(db, (const char *)composed.data, visit, arg, err);
    db->is_used = false;
    return code;
}

static cb_code run(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err)
{
    cb_code code = db->ops->exec(db, sql, changed, err);

    db->is_broken = db->is_broken || code != CB_OK;
    return code;
}

cb_code cb_lake_db_exec(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf composed = {0};
    uint64_t ignored;
    cb_code code = check_free(db, err);

    if (changed == NULL)
        changed = &ignored;
    *changed = 0;
    if (code == CB_OK)
        code = cb_lake_db_compose(db, &composed, sql, err);
    return code == CB_OK ? run(db, (const char *)composed.data, changed, err) : code;
}

typedef struct single {
    cb_arena *arena;
    const char *text;
    int64_t number;
} single;

static cb_code take_number(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    single *into = arg;

    if (count != 1)
        return cb_fail(err, CB_INTERNAL, "one column was asked for");
    return cells[0].text != NULL ? cb_parse_i64(cells[0].text, &into->number, err) : CB_OK;
}

cb_code cb_lake_db_number(cb_lake_db *db, const char *sql, int64_t fallback, int64_t *out,
                          cb_error *err)
{
    single into = {.number = fallback};
    cb_code code = cb_lake_db_query(db, sql, take_number, &into, err);

    *out = code == CB_OK ? into.number : fallback;
    /* A catalog may hold anything where a number ought to be. */
    if (code == CB_USAGE)
        err->code = CB_CORRUPT;
    return code == CB_OK ? CB_OK : err->code;
}

static cb_code take_text(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    single *into = arg;

    if (count != 1)
        return cb_fail(err, CB_INTERNAL, "one column was asked for");
    return cb_arena_text(into->arena, cells[0].text, &into->text, err);
}

cb_code cb_lake_db_text(cb_lake_db *db, const char *sql, cb_arena *arena, const char **out,
                        cb_error *err)
{
    single into = {.arena = arena};
    cb_code code = cb_lake_db_query(db, sql, take_text, &into, err);

    *out = code == CB_OK ? into.text : NULL;
    return code;
}

/* ---- making tables --------------------------------------------------------------------------- */

static cb_code put_columns(const cb_lake_db *db, const cb_lake_table *table, cb_buf *sql,
                           cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < table->column_count; i++) {
        const cb_lake_column *column = &table->columns[i];
        const char *declared =
            column->declared != NULL ? column->declared : db->ops->declare(column->type);

        if (declared == NULL)
            return cb_fail(err, CB_INTERNAL, "column '%s' of '%s' has no type", column->name,
                           table->name);
        code = cb_buf_append(sql, i == 0 ? "(" : ", ", i == 0 ? 1 : 2, err);
        if (code == CB_OK)
            code = cb_lake_quote_name(sql, column->name, err);
        if (code == CB_OK)
            code = cb_buf_format(sql, err, " %s%s", declared, column->not_null ? " NOT NULL" : "");
    }
    return code;
}

static cb_code put_key(const cb_lake_table *table, cb_buf *sql, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < table->key_count; i++) {
        code = cb_buf_format(sql, err, "%s", i == 0 ? ", PRIMARY KEY (" : ", ");
        if (code == CB_OK)
            code = cb_lake_quote_name(sql, table->key[i], err);
    }
    return code == CB_OK ? cb_buf_format(sql, err, "%s", table->key_count > 0 ? "))" : ")") : code;
}

cb_code cb_lake_db_create(cb_lake_db *db, const cb_lake_table *table, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    uint64_t ignored;
    cb_code code = check_free(db, err);

    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "CREATE TABLE ");
    if (code == CB_OK)
        code = cb_lake_db_table(db, &sql, table->name, err);
    if (code == CB_OK)
        code = put_columns(db, table, &sql, err);
    if (code == CB_OK)
        code = put_key(table, &sql, err);
    if (code == CB_OK)
        code = run(db, (const char *)sql.data, &ignored, err);
    for (size_t i = 0; code == CB_OK && i < table->extra_count; i++)
        code = run(db, table->extra[i], &ignored, err);
    if (code == CB_OK)
        return CB_OK;
    /* PostgreSQL has a code for it; of the others only the words tell. */
    if (strstr(err->message, "already exists") != NULL)
        err->code = CB_EXISTS;
    return cb_context(err, "make table '%s'", table->name);
}

/* ---- many rows ------------------------------------------------------------------------------- */

cb_code cb_lake_loader_open(cb_lake_db *db, const cb_lake_table *table, cb_lake_loader **out,
                            cb_error *err)
{
    cb_lake_loader *loader;
    cb_code code = check_free(db, err);

    *out = NULL;
    if (code != CB_OK)
        return code;
    if (table->column_count == 0)
        return cb_fail(err, CB_CORRUPT, "table '%s' has no columns", table->name);
    loader = calloc(1, sizeof(*loader));
    if (loader == NULL)
        return cb_fail_memory(err, sizeof(*loader));
    loader->db = db;
    loader->table = table;
    code = db->ops->loader_open(db, loader, err);
    db->is_used = true;
    if (code != CB_OK) {
        cb_lake_loader_free(loader);
        return cb_context(err, "fill table '%s'", table->name);
    }
    *out = loader;
    return CB_OK;
}

cb_code cb_lake_loader_row(cb_lake_loader *loader, const cb_lake_cell *cells, cb_error *err)
{
    cb_code code = cb_check_cancel(loader->db->ctx, err);

    if (code == CB_OK)
        code = loader->db->ops->loader_row(loader, cells, err);
    loader->db->is_broken = loader->db->is_broken || code != CB_OK;
    if (code != CB_OK)
        return cb_context(err, "fill table '%s'", loader->table->name);
    loader->rows++;
    return CB_OK;
}

cb_code cb_lake_loader_end(cb_lake_loader *loader, cb_error *err)
{
    cb_code code = loader->db->ops->loader_end(loader, err);

    loader->is_over = true;
    loader->db->is_broken = loader->db->is_broken || code != CB_OK;
    loader->db->is_used = false;
    return code == CB_OK ? CB_OK : cb_context(err, "fill table '%s'", loader->table->name);
}

void cb_lake_loader_free(cb_lake_loader *loader)
{
    if (loader == NULL)
        return;
    loader->db->ops->loader_free(loader);
    loader->db->is_broken = loader->db->is_broken || !loader->is_over; /* some rows may be in */
    loader->db->is_used = false;
    free(loader);
}

/* ---- copies of PostgreSQL -------------------------------------------------------------------- */

static cb_code check_copies(const cb_lake_db *db, cb_error *err)
{
    if (db->address.kind != CB_LAKE_POSTGRES)
        return cb_fail(err, CB_UNSUPPORTED, "a %s catalog has no COPY",
                       cb_lake_kind_name(db->address.kind));
    return cb_check_cancel(db->ctx, err);
}

cb_code cb_lake_db_copy_out(cb_lake_db *db, const char *table, cb_lake_copy_visit *visit, void *arg,
                            cb_error *err)
{
    cb_code code = check_copies(db, err);

    if (code == CB_OK)
        code = check_free(db, err);
    if (code != CB_OK)
        return code;
    db->is_used = true;
    code = cb_lake_postgres_copy_out(db, table, visit, arg, err);
    db->is_used = false;
    return code;
}

cb_code cb_lake_db_copy_begin(cb_lake_db *db, const char *table, cb_error *err)
{
    cb_code code = check_copies(db, err);

    if (code == CB_OK)
        code = check_free(db, err);
    if (code == CB_OK)
        code = cb_lake_postgres_copy_begin(db, table, err);
    if (code == CB_OK)
        db->is_used = true;
    return code;
}

cb_code cb_lake_db_copy_data(cb_lake_db *db, cb_bytes data, cb_error *err)
{
    cb_code code = check_copies(db, err);

    if (code == CB_OK)
        code = cb_lake_postgres_copy_data(db, data, err);
    db->is_broken = db->is_broken || code != CB_OK;
    return code;
}

cb_code cb_lake_db_copy_end(cb_lake_db *db, cb_error *err)
{
    cb_code code = check_copies(db, err);

    if (code != CB_OK)
        return code;
    code = cb_lake_postgres_copy_end(db, err);
    db->is_broken = db->is_broken || code != CB_OK;
    db->is_used = false;
    return code;
}
