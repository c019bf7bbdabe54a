/*
 * sqldump.c - writing a dump: what the catalog's own engine would say, in its own dialect.
 *
 * Nothing is guessed about types: columns are declared as the database declares them, and every
 * value is written by the engine that holds it. PostgreSQL gives COPY text; SQLite gives its own
 * literals by quote(), which keep the storage class of each cell; DuckDB casts to VARCHAR and back,
 * which loses nothing but the type within a VARIANT or UNION: that is looked for, and refused.
 */
#include "source/ducklake/sqldump_internal.h"

#include "base/text.h"
#include "base/time.h"

#include <stdio.h>

typedef struct dump {
    cb_ctx *ctx;
    cb_lake_db *db;
    cb_lake_kind kind;
    const cb_lake_address *address;
    cb_sqldump_file file;
    uint64_t rows;
    /* Of the table that is being written. */
    const cb_lake_table *table;
    size_t statement_at; /* bytes written when its INSERT began */
    unsigned statement_rows;
    uint64_t table_rows;
} dump;

/* Where the next byte will stand in the file. */
static uint64_t position(const dump *d)
{
    return d->file.written + d->file.buffer.size;
}

/* The default schema stays unsaid where a shell finds it anyway: such a dump goes anywhere. */
static cb_code qualified(dump *d, cb_buf *into, const char *table, cb_error *err)
{
    cb_code code = CB_OK;

    if (d->kind == CB_LAKE_POSTGRES || !d->address->schema_is_default) {
        code = cb_lake_quote_name(into, d->address->schema, err);
        if (code == CB_OK)
            code = cb_buf_u8(into, '.', err);
    }
    return code == CB_OK ? cb_lake_quote_name(into, table, err) : code;
}

static cb_code names(cb_buf *into, const char *const *list, size_t count, cb_error *err)
{
    cb_code code = cb_buf_u8(into, '(', err);

    for (size_t i = 0; code == CB_OK && i < count; i++) {
        if (i > 0)
            code = cb_buf_append(into, ", ", 2, err);
        if (code == CB_OK)
            code = cb_lake_quote_name(into, list[i], err);
    }
    return code == CB_OK ? cb_buf_u8(into, ')', err) : code;
}

/* ---- the beginning ------------------------------------------------------------------------- */

static cb_code how_to_restore(dump *d, cb_buf *out, cb_error *err)
{
    static const char *const ways[] = {
        [CB_LAKE_DUCKDB] = "duckdb NEW.ducklake -f THIS (the shell; -storage-version latest when "
                           "a column is VARIANT)",
        [CB_LAKE_SQLITE] = "sqlite3 NEW.sqlite \".read THIS\"",
        [CB_LAKE_POSTGRES] = "psql -X -d DATABASE -f THIS",
    };
    cb_code code = cb_sqldump_comment(out, "restore into an empty place",
                                      "canvasback lake undump THIS 'ducklake:...'", err);

    return code == CB_OK ? cb_sqldump_comment(out, "or", ways[d->kind], err) : code;
}

cb_code cb_sqldump_version(cb_lake_db *db, const cb_lake_schema *schema, cb_arena *arena,
                           const char **out, cb_error *err)
{
    const cb_lake_table *metadata = cb_lake_schema_find(schema, "ducklake_metadata");
    cb_code code;

    *out = NULL;
    if (metadata == NULL)
        return cb_fail(err, CB_NOT_FOUND, "there is no lake in %s", cb_lake_db_address(db)->shown);
    code = cb_lake_db_text(db,
                           cb_lake_table_has(metadata, "scope")
                               ? "SELECT value FROM {metadata} WHERE key = 'version' AND "
                                 "scope IS NULL"
                               : "SELECT value FROM {metadata} WHERE key = 'version'",
                           arena, out, err);
    if (code != CB_OK)
        return code;
    if (*out == NULL || (*out)[0] == '\0' || strlen(*out) >= 32)
        return cb_fail(err, CB_CORRUPT, "the catalog does not say its version");
    return CB_OK;
}

static cb_code write_head(dump *d, const cb_lake_schema *schema, const char *version, cb_error *err)
{
    cb_buf *out = &d->file.buffer;
    char text[CB_TIME_TEXT_MAX];
    int64_t snapshot = -1;
    cb_code code;

    code = cb_buf_format(out, err, CB_SQLDUMP_TITLE CB_SQLDUMP_FORMAT "\n");
    if (code == CB_OK)
        code = cb_sqldump_comment(out, "kind", cb_lake_kind_name(d->kind), err);
    if (code == CB_OK)
        code = cb_sqldump_comment(out, "version", version, err);
    if (code == CB_OK)
        code = cb_sqldump_comment(out, "schema", d->address->schema, err);
    if (code == CB_OK && cb_lake_schema_find(schema, "ducklake_snapshot") != NULL)
        code =
            cb_lake_db_number(d->db, "SELECT max(snapshot_id) FROM {snapshot}", -1, &snapshot, err);
    snprintf(text, sizeof(text), "%lld", (long long)snapshot);
    if (code == CB_OK)
        code = cb_sqldump_comment(out, "snapshot", text, err);
    if (code == CB_OK)
        code = cb_sqldump_comment(out, "time", cb_format_rfc3339(cb_now_us(d->ctx), text), err);
    return code == CB_OK ? how_to_restore(d, out, err) : code;
}

/* From here on a failure of one statement must be the failure of all. */
static cb_code write_begin(dump *d, cb_error *err)
{
    cb_buf *out = &d->file.buffer;
    cb_code code;

    if (d->kind == CB_LAKE_POSTGRES)
        code = cb_buf_format(out, err,
                             "\\set ON_ERROR_STOP on\n"
                             "BEGIN;\n"
                             "SET LOCAL client_encoding = 'UTF8';\n"
                             "SET LOCAL standard_conforming_strings = on;\n"
                             "SET LOCAL datestyle = 'ISO, MDY';\n"
                             "SET LOCAL intervalstyle = 'postgres';\n");
    else
        code = cb_buf_format(out, err, ".bail on\nBEGIN;\n");
    if (code == CB_OK && !d->address->schema_is_default) {
        code = cb_buf_format(out, err, "CREATE SCHEMA IF NOT EXISTS ");
        if (code == CB_OK)
            code = cb_lake_quote_name(out, d->address->schema, err);
        if (code == CB_OK)
            code = cb_buf_append(out, ";\n", 2, err);
    }
    if (code != CB_OK || d->kind != CB_LAKE_POSTGRES)
        return code;
    /* PostgreSQL leaves a schema out of an index's statement when it is on the search path. */
    code = cb_buf_format(out, err, "SET LOCAL search_path = ");
    if (code == CB_OK)
        code = cb_lake_quote_name(out, d->address->schema, err);
    return code == CB_OK ? cb_buf_append(out, ";\n", 2, err) : code;
}

/* ---- a table ------------------------------------------------------------------------------- */

static cb_code write_create(dump *d, cb_error *err)
{
    const cb_lake_table *table = d->table;
    cb_buf *out = &d->file.buffer;
    cb_code code = cb_buf_format(out, err, "CREATE TABLE ");

    if (code == CB_OK)
        code = qualified(d, out, table->name, err);
    for (size_t i = 0; code == CB_OK && i < table->column_count; i++) {
        const cb_lake_column *column = &table->columns[i];

        code = cb_buf_append(out, i == 0 ? "(" : ", ", i == 0 ? 1 : 2, err);
        if (code == CB_OK)
            code = cb_lake_quote_name(out, column->name, err);
        if (code == CB_OK && column->declared != NULL && column->declared[0] != '\0')
            code = cb_buf_format(out, err, " %s", column->declared);
        if (code == CB_OK && column->not_null)
            code = cb_buf_append(out, " NOT NULL", 9, err);
    }
    /* PostgreSQL makes a key faster once the rows are there. */
    if (code == CB_OK && table->key_count > 0 && d->kind != CB_LAKE_POSTGRES) {
        code = cb_buf_append(out, ", PRIMARY KEY ", 14, err);
        if (code == CB_OK)
            code = names(out, table->key, table->key_count, err);
    }
    return code == CB_OK ? cb_buf_append(out, ");\n", 3, err) : code;
}

static cb_code write_keys(dump *d, cb_error *err)
{
    const cb_lake_table *table = d->table;
    cb_buf *out = &d->file.buffer;
    cb_code code = CB_OK;

    if (table->key_count > 0 && d->kind == CB_LAKE_POSTGRES) {
        code = cb_buf_format(out, err, "ALTER TABLE ");
        if (code == CB_OK)
            code = qualified(d, out, table->name, err);
        if (code == CB_OK)
            code = cb_buf_append(out, " ADD PRIMARY KEY ", 17, err);
        if (code == CB_OK)
            code = names(out, table->key, table->key_count, err);
        if (code == CB_OK)
            code = cb_buf_append(out, ";\n", 2, err);
    }
    for (size_t i = 0; code == CB_OK && i < table->extra_count; i++) {
        size_t size = strlen(table->extra[i]);

        /* With or without its own semicolon. */
        while (size > 0 && (table->extra[i][size - 1] == ';' || table->extra[i][size - 1] == ' '))
            size--;
        code = cb_buf_append(out, table->extra[i], size, err);
        if (code == CB_OK)
            code = cb_buf_append(out, ";\n", 2, err);
    }
    return code;
}

/* ---- rows: PostgreSQL ---------------------------------------------------------------------- */

static cb_code take_copy_row(void *arg, cb_bytes row, cb_error *err)
{
    dump *d = arg;
    cb_code code = cb_buf_append(&d->file.buffer, row.data, row.size, err);

    d->table_rows++;
    return code == CB_OK ? cb_sqldump_file_flush(&d->file, false, err) : code;
}

static cb_code write_copy(dump *d, cb_error *err)
{
    cb_buf *out = &d->file.buffer;
    cb_code code = cb_buf_format(out, err, "COPY ");

    if (code == CB_OK)
        code = qualified(d, out, d->table->name, err);
    for (size_t i = 0; code == CB_OK && i < d->table->column_count; i++) {
        code = cb_buf_append(out, i == 0 ? " (" : ", ", 2, err);
        if (code == CB_OK)
            code = cb_lake_quote_name(out, d->table->columns[i].name, err);
    }
    if (code == CB_OK)
        code = cb_buf_append(out, ") FROM stdin;\n", 14, err);
    if (code == CB_OK)
        code = cb_lake_db_copy_out(d->db, d->table->name, take_copy_row, d, err);
    return code == CB_OK ? cb_buf_append(out, "\\.\n", 3, err) : code;
}

/* ---- rows: SQLite and DuckDB --------------------------------------------------------------- */

static cb_code begin_row(dump *d, cb_error *err)
{
    cb_buf *out = &d->file.buffer;
    cb_code code;

    if (d->statement_rows > 0 && d->statement_rows < CB_SQLDUMP_STATEMENT_ROWS &&
        position(d) - d->statement_at < CB_SQLDUMP_STATEMENT_BYTES) {
        d->statement_rows++;
        return cb_buf_append(out, ",\n(", 3, err);
    }
    code = d->statement_rows > 0 ? cb_buf_append(out, ";\n", 2, err) : CB_OK;
    d->statement_at = position(d);
    d->statement_rows = 1;
    if (code == CB_OK)
        code = cb_buf_append(out, "INSERT INTO ", 12, err);
    if (code == CB_OK)
        code = qualified(d, out, d->table->name, err);
    return code == CB_OK ? cb_buf_append(out, " VALUES\n(", 9, err) : code;
}

static bool is_plain_number(const cb_lake_column *column)
{
    return column->type == CB_LAKE_BIGINT || column->type == CB_LAKE_BOOLEAN;
}

static cb_code take_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    dump *d = arg;
    cb_buf *out = &d->file.buffer;
    cb_code code = begin_row(d, err);

    for (size_t i = 0; code == CB_OK && i < count; i++) {
        if (i > 0)
            code = cb_buf_u8(out, ',', err);
        if (code != CB_OK)
            break;
        /* SQLite's cells are literals already. */
        if (cells[i].text != NULL &&
            (d->kind == CB_LAKE_SQLITE || is_plain_number(&d->table->columns[i])))
            code = cb_buf_append(out, cells[i].text, cells[i].size, err);
        else
            code = cb_sqldump_literal(out, &cells[i], err);
    }
    if (code == CB_OK)
        code = cb_buf_u8(out, ')', err);
    d->table_rows++;
    return code == CB_OK ? cb_sqldump_file_flush(&d->file, false, err) : code;
}

static cb_code write_inserts(dump *d, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err, "SELECT ");

    for (size_t i = 0; code == CB_OK && i < d->table->column_count; i++) {
        const char *name = d->table->columns[i].name;

        if (i > 0)
            code = cb_buf_append(&sql, ", ", 2, err);
        if (code == CB_OK && d->kind == CB_LAKE_SQLITE) {
            code = cb_sqldump_sqlite_expression(&sql, name, err);
        } else if (code == CB_OK) {
            code = cb_buf_format(&sql, err, "CAST(");
            if (code == CB_OK)
                code = cb_lake_quote_name(&sql, name, err);
            if (code == CB_OK)
                code = cb_buf_format(&sql, err, " AS VARCHAR)");
        }
    }
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, " FROM ");
    if (code == CB_OK)
        code = cb_lake_db_table(d->db, &sql, d->table->name, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, '\0', err);
    d->statement_rows = 0;
    if (code == CB_OK)
        code = cb_lake_db_query(d->db, (const char *)sql.data, take_row, d, err);
    if (code == CB_OK && d->statement_rows > 0)
        code = cb_buf_append(&d->file.buffer, ";\n", 2, err);
    return code;
}

/* ---- what DuckDB's text cannot say --------------------------------------------------------- */

static cb_code take_count(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)err;
    if (count == 1 && cells[0].text != NULL && strcmp(cells[0].text, "0") != 0)
        *(bool *)arg = true;
    return CB_OK;
}

/* Does every value of the column come back from its text? */
static cb_code check_column(dump *d, const cb_lake_column *column, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    bool is_lossy = false;
    cb_code code = cb_lake_quote_name(&name, column->name, err);

    if (code == CB_OK)
        code = cb_buf_u8(&name, '\0', err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "SELECT count(*) FROM ");
    if (code == CB_OK)
        code = cb_lake_db_table(d->db, &sql, d->table->name, err);
    if (code != CB_OK)
        return code;
    /* A VARIANT knows the type of each value, its text does not. */
    if (strstr(column->declared, "VARIANT") != NULL)
        code = cb_buf_format(&sql, err, " WHERE %s IS NOT NULL", (const char *)name.data);
    else
        code =
            cb_buf_format(&sql, err, " WHERE CAST(CAST(%s AS VARCHAR) AS %s) IS DISTINCT FROM %s",
                          (const char *)name.data, column->declared, (const char *)name.data);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, '\0', err);
    if (code == CB_OK)
        code = cb_lake_db_query(d->db, (const char *)sql.data, take_count, &is_lossy, err);
    if (code != CB_OK || !is_lossy)
        return code;
    cb_fail(err, CB_UNSUPPORTED,
            "column '%s' of '%s' has values of type %.80s, which no SQL text "
            "gives back as they are",
            column->name, d->table->name, column->declared);
    cb_hint(err, "Flush the inlined rows into files first: CALL "
                 "ducklake_flush_inlined_data('lake'). A backup has them in any case.");
    return err->code;
}

static cb_code check_columns(dump *d, cb_error *err)
{
    cb_code code = CB_OK;

    if (d->kind != CB_LAKE_DUCKDB)
        return CB_OK;
    for (size_t i = 0; code == CB_OK && i < d->table->column_count; i++)
        if (d->table->columns[i].type == CB_LAKE_OTHER)
            code = check_column(d, &d->table->columns[i], err);
    return code;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static cb_code write_table(dump *d, const cb_lake_table *table, cb_error *err)
{
    cb_code code;

    d->table = table;
    d->table_rows = 0;
    code = check_columns(d, err);
    if (code == CB_OK)
        code = write_create(d, err);
    if (code == CB_OK)
        code = d->kind == CB_LAKE_POSTGRES ? write_copy(d, err) : write_inserts(d, err);
    if (code == CB_OK)
        code = write_keys(d, err);
    if (code == CB_OK)
        code = cb_sqldump_file_flush(&d->file, false, err);
    if (code != CB_OK)
        return cb_context(err, "table '%s'", table->name);
    d->rows += d->table_rows;
    return CB_OK;
}

static cb_code write_all(dump *d, const cb_lake_schema *schema, cb_sqldump_facts *out,
                         cb_error *err)
{
    cb_code code = write_head(d, schema, out->version, err);

    if (code == CB_OK)
        code = write_begin(d, err);
    for (size_t i = 0; code == CB_OK && i < schema->count; i++)
        code = write_table(d, &schema->tables[i], err);
    if (code == CB_OK)
        code =
            cb_buf_format(&d->file.buffer, err, "COMMIT;\n" CB_SQLDUMP_SUMMARY "%zu, rows: %llu\n",
                          schema->count, (unsigned long long)d->rows);
    if (code == CB_OK)
        code = cb_sqldump_file_commit(&d->file, out->sha256, err);
    out->tables = schema->count;
    out->rows = d->rows;
    out->bytes = d->file.written;
    return code;
}

cb_code cb_sqldump_write(cb_ctx *ctx, cb_lake_db *db, const char *path, cb_sqldump_facts *out,
                         cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *version = NULL;
    dump d = {.ctx = ctx, .db = db, .kind = cb_lake_db_kind(db), .file = {.fd = -1}};
    cb_code code;

    *out = (cb_sqldump_facts){.kind = d.kind};
    d.address = cb_lake_db_address(db);
    snprintf(out->schema, sizeof(out->schema), "%s", d.address->schema);
    out->schema_is_default = d.address->schema_is_default;
    code = cb_lake_schema_read(db, &schema, err);
    if (code == CB_OK)
        code = cb_sqldump_version(db, &schema, &arena, &version, err);
    if (code == CB_OK) {
        snprintf(out->version, sizeof(out->version), "%s", version);
        code = cb_sqldump_file_open(ctx, path, &d.file, err);
    }
    if (code == CB_OK) {
        code = write_all(&d, &schema, out, err);
        if (code != CB_OK)
            cb_context(err, "the dump '%s'", path);
        cb_sqldump_file_free(&d.file);
    }
    return code;
}
