/*
 * convert.c - a catalog of one kind into the tables of another, typed column by column: never a
 * copy of whatever the engine makes of it.
 *
 * The tables of the specification are the same everywhere but for the names of their types. The
 * rows that DuckLake inlines have the columns of users' tables, and each kind holds those in its
 * own way (convert_type.h): what they are is read from the catalog, or from DuckDB's own types.
 */
#include "source/ducklake/change_internal.h"
#include "source/ducklake/convert_type.h"

#include "base/text.h"

#include <stdlib.h>

typedef struct converting {
    cb_ctx *ctx;
    cb_lake_db *from, *to;
    cb_lake_schema schema; /* of `from` */
    bool is_old;           /* spec 0.3 or before */
    bool *is_left_out;     /* of its tables: nothing is in them, and they cannot be held */
} converting;

/* One table on its way. */
typedef struct moving {
    converting *all;
    const cb_lake_table *table;
    cb_lake_table made;
    cb_lake_column *columns;
    bool *is_boolean;     /* of users' rows: SQLite has 0 and 1 */
    const char **becomes; /* DuckDB: filled as text, then made this type by the engine; NULL not */
    cb_lake_cell *cells;
    cb_lake_loader *loader;
    cb_arena arena;
} moving;

/* ---- columns ------------------------------------------------------------------------------ */

static bool is_own_column(const cb_lake_table *table, const cb_lake_inlined *inlined, size_t i)
{
    const char *name = table->columns[i].name;

    return i < 3 && (strcmp(name, "row_id") == 0 || strcmp(name, "_ducklake_row_id") == 0 ||
                     (inlined->begin != NULL && strcmp(name, inlined->begin) == 0) ||
                     (inlined->end != NULL && strcmp(name, inlined->end) == 0));
}

static cb_code type_users_columns(moving *m, const cb_lake_inlined *inlined, cb_error *err)
{
    const cb_lake_table *table = m->table;
    bool is_native = cb_lake_db_kind(m->all->from) == CB_LAKE_DUCKDB;
    const char **types;
    cb_code code = cb_arena_alloc(&m->arena, table->column_count * sizeof(*types) + 1, &types, err);

    if (code == CB_OK && !is_native)
        code = cb_lake_type_list(m->all->from, &m->all->schema, inlined->table_id,
                                 inlined->schema_version, table->columns, table->column_count,
                                 &m->arena, types, err);
    for (size_t i = 0; code == CB_OK && i < table->column_count; i++) {
        const char *type = is_native ? table->columns[i].declared : types[i];

        if (is_own_column(table, inlined, i)) {
            m->columns[i].type = CB_LAKE_BIGINT;
            continue;
        }
        if (type == NULL)
            return cb_fail(err, CB_CORRUPT, "the catalog does not say what column '%s' of '%s' is",
                           table->columns[i].name, table->name);
        code = cb_lake_type_hold(cb_lake_db_kind(m->all->to), m->all->is_old, type, &m->arena,
                                 &m->columns[i], err);
        m->is_boolean[i] = strcmp(type, "BOOLEAN") == 0;
        if (cb_lake_db_kind(m->all->to) == CB_LAKE_DUCKDB && m->columns[i].type == CB_LAKE_OTHER) {
            m->becomes[i] = m->columns[i].declared;
            m->columns[i].type = CB_LAKE_VARCHAR;
            m->columns[i].declared = NULL;
        }
    }
    return code;
}

static cb_code type_columns(moving *m, cb_error *err)
{
    const cb_lake_table *table = m->table;
    cb_lake_inlined inlined;
    cb_code code =
        cb_arena_alloc(&m->arena, table->column_count * sizeof(*m->columns) + 1, &m->columns, err);

    if (code == CB_OK)
        code = cb_arena_alloc(&m->arena, table->column_count + 1, &m->is_boolean, err);
    if (code == CB_OK)
        code = cb_arena_alloc(&m->arena, table->column_count * sizeof(*m->becomes) + 1, &m->becomes,
                              err);
    if (code == CB_OK)
        code =
            cb_arena_alloc(&m->arena, table->column_count * sizeof(*m->cells) + 1, &m->cells, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < table->column_count; i++) {
        m->columns[i] = table->columns[i];
        m->columns[i].declared = NULL;
        if (m->columns[i].type == CB_LAKE_OTHER)
            m->columns[i].type = CB_LAKE_VARCHAR;
    }
    cb_lake_inlined_of(table, &inlined);
    if (inlined.is_inlined && !inlined.is_delete)
        code = type_users_columns(m, &inlined, err);
    m->made = *table;
    m->made.columns = m->columns;
    m->made.extra_count = 0;
    return code;
}

/* ---- rows --------------------------------------------------------------------------------- */

static bool is_true(const cb_lake_cell *cell)
{
    return strcmp(cell->text, "1") == 0 || strcmp(cell->text, "true") == 0 ||
           strcmp(cell->text, "t") == 0;
}

static cb_lake_cell boolean_cell(cb_lake_kind kind, bool value)
{
    const char *text = kind == CB_LAKE_SQLITE ? (value ? "1" : "0") : value ? "true" : "false";

    return (cb_lake_cell){text, strlen(text)};
}

/* A table that was left out is not to be named either. */
static bool names_left_out(const moving *m, const cb_lake_cell *cells)
{
    const converting *all = m->all;

    if (strcmp(m->table->name, "ducklake_inlined_data_tables") != 0)
        return false;
    for (size_t c = 0; c < m->table->column_count; c++)
        for (size_t i = 0; cells[c].text != NULL && i < all->schema.count; i++)
            if (all->is_left_out[i] && strcmp(all->schema.tables[i].name, cells[c].text) == 0)
                return true;
    return false;
}

static cb_code move_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    moving *m = arg;

    if (names_left_out(m, cells))
        return CB_OK;
    for (size_t i = 0; i < count; i++) {
        m->cells[i] = cells[i];
        if (m->is_boolean[i] && cells[i].text != NULL)
            m->cells[i] = boolean_cell(cb_lake_db_kind(m->all->to), is_true(&cells[i]));
    }
    return cb_lake_loader_row(m->loader, m->cells, err);
}

static cb_code select_all(const moving *m, cb_buf *sql, cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "SELECT ");

    for (size_t i = 0; code == CB_OK && i < m->table->column_count; i++) {
        if (i > 0)
            code = cb_buf_format(sql, err, ", ");
        if (code == CB_OK)
            code = cb_lake_quote_name(sql, m->table->columns[i].name, err);
    }
    if (code == CB_OK)
        code = cb_buf_format(sql, err, " FROM ");
    if (code == CB_OK)
        code = cb_lake_db_table(m->all->from, sql, m->table->name, err);
    return code == CB_OK ? cb_buf_u8(sql, 0, err) : code;
}

/* DuckDB's way to fill a table casts only to some types; its SQL casts to all. */
static cb_code make_types(const moving *m, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < m->table->column_count; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};

        if (m->becomes[i] == NULL)
            continue;
        code = cb_buf_format(&sql, err, "ALTER TABLE ");
        if (code == CB_OK)
            code = cb_lake_db_table(m->all->to, &sql, m->table->name, err);
        if (code == CB_OK)
            code = cb_buf_format(&sql, err, " ALTER COLUMN ");
        if (code == CB_OK)
            code = cb_lake_quote_name(&sql, m->columns[i].name, err);
        if (code == CB_OK)
            code = cb_buf_format(&sql, err, " SET DATA TYPE %s", m->becomes[i]);
        if (code == CB_OK)
            code = cb_lake_db_exec(m->all->to, (const char *)sql.data, NULL, err);
    }
    return code;
}

static cb_code move_rows(moving *m, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = select_all(m, &sql, err);

    if (code == CB_OK)
        code = cb_lake_db_create(m->all->to, &m->made, err);
    if (code == CB_OK)
        code = cb_lake_loader_open(m->all->to, &m->made, &m->loader, err);
    if (code == CB_OK)
        code = cb_lake_db_query(m->all->from, (const char *)sql.data, move_row, m, err);
    if (code == CB_OK)
        code = cb_lake_loader_end(m->loader, err);
    cb_lake_loader_free(m->loader);
    return code == CB_OK ? make_types(m, err) : code;
}

/* ---- tables ------------------------------------------------------------------------------- */

static cb_code count_rows(const moving *m, int64_t *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err, "SELECT count(*) FROM ");

    if (code == CB_OK)
        code = cb_lake_db_table(m->all->from, &sql, m->table->name, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_lake_db_number(m->all->from, (const char *)sql.data, 0, out, err)
                         : code;
}

/* A type that cannot be held: without rows the table is left out, DuckLake needs it not. */
static cb_code leave_out(moving *m, size_t number, cb_error *err)
{
    cb_error why = *err;
    int64_t rows = 0;
    cb_code code;

    cb_error_clear(err);
    code = count_rows(m, &rows, err);
    if (code != CB_OK)
        return code;
    if (rows > 0) {
        *err = why;
        cb_hint(err, "Restore to the same kind of catalog, or run ducklake_flush_inlined_data in "
                     "the lake and take another backup.");
        return err->code;
    }
    m->all->is_left_out[number] = true;
    return CB_OK;
}

static cb_code convert_table(converting *all, size_t number, bool is_trial, cb_error *err)
{
    moving m = {.all = all, .table = &all->schema.tables[number]};
    cb_code code = type_columns(&m, err);

    if (code == CB_UNSUPPORTED && is_trial)
        code = leave_out(&m, number, err);
    if (code == CB_OK && !is_trial)
        code = move_rows(&m, err);
    cb_arena_free(&m.arena);
    return code == CB_OK ? CB_OK : cb_context(err, "table '%s'", all->schema.tables[number].name);
}

static cb_code read_version(converting *all, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *version = NULL;
    cb_code code = cb_lake_db_text(
        all->from, "SELECT max(\"value\") FROM {metadata} WHERE \"key\" = 'version'", &arena,
        &version, err);

    all->is_old = version != NULL && cb_lake_version_compare(version, "0.4-dev1") < 0;
    return code;
}

cb_code cb_lake_convert(cb_ctx *ctx, cb_lake_db *from, cb_lake_db *to, cb_error *err)
{
    converting all = {.ctx = ctx, .from = from, .to = to};
    cb_code code = cb_lake_schema_read(from, &all.schema, err);

    if (code == CB_OK && all.schema.count == 0)
        code = cb_fail(err, CB_CORRUPT, "the catalog has no tables");
    if (code == CB_OK)
        code = read_version(&all, err);
    if (code == CB_OK) {
        all.is_left_out = calloc(all.schema.count, sizeof(*all.is_left_out));
        if (all.is_left_out == NULL)
            code = cb_fail_memory(err, all.schema.count);
    }
    /* First whether all can be held, so that the list of inlined tables is right. */
    for (size_t i = 0; code == CB_OK && i < all.schema.count; i++)
        code = convert_table(&all, i, true, err);
    for (size_t i = 0; code == CB_OK && i < all.schema.count; i++)
        if (!all.is_left_out[i])
            code = convert_table(&all, i, false, err);
    free(all.is_left_out);
    cb_lake_schema_free(&all.schema);
    return code == CB_OK ? CB_OK : cb_context(err, "converting the catalog");
}
