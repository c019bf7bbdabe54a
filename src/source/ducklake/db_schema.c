/*
 * db_schema.c - the tables of a catalog, gathered from what its database lists, and what their
 * columns are.
 *
 * SQLite has no booleans, times or uuids: DuckLake declares them BIGINT and VARCHAR there, and only
 * the specification's names tell them apart. So names decide in the specification's tables, and
 * never in those that hold rows of the users, where a column may have any name.
 */
#include "source/ducklake/db_internal.h"

#include <stdlib.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"

/* Growing; one table's arrays are copied out at the end. */
typedef struct gathered {
    cb_lake_table table;
    cb_lake_column *columns;
    const char **key;
    const char **extra;
    size_t column_capacity;
    size_t key_capacity;
    size_t extra_capacity;
} gathered;

struct cb_lake_builder {
    cb_lake_kind kind;
    cb_arena *arena;
    gathered *tables;
    size_t count;
    size_t capacity;
    bool is_sorted;
};

/* ---- types ----------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

static bool is_declared(const char *declared, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcasecmp(declared, *list) == 0)
            return true;
    return false;
}

static cb_lake_type type_by_name(const char *column, cb_lake_type type)
{
    static const char *const booleans[] = {"path_is_relative", "nulls_allowed", "contains_null",
                                           "contains_nan",     "is_partition",  NULL};
    static const char *const uuids[] = {"schema_uuid", "table_uuid", "view_uuid", NULL};
    static const char *const times[] = {"snapshot_time", "schedule_start", NULL};

    if (type == CB_LAKE_BIGINT && is_one_of(column, booleans))
        return CB_LAKE_BOOLEAN;
    if (type == CB_LAKE_VARCHAR && is_one_of(column, uuids))
        return CB_LAKE_UUID;
    if (type == CB_LAKE_VARCHAR && is_one_of(column, times))
        return CB_LAKE_TIMESTAMPTZ;
    return type;
}

bool cb_lake_is_inlined(const char *table)
{
    return (cb_has_prefix(table, CB_LAKE_PREFIX "inlined_data_") &&
            strcmp(table, CB_LAKE_PREFIX "inlined_data_tables") != 0) ||
           cb_has_prefix(table, CB_LAKE_PREFIX "inlined_delete_");
}

cb_lake_type cb_lake_type_of(cb_lake_kind kind, const char *table, const char *column,
                             const char *declared)
{
    static const char *const bigints[] = {"BIGINT", "int8", NULL};
    static const char *const booleans[] = {"BOOLEAN", "bool", NULL};
    static const char *const texts[] = {"VARCHAR", "TEXT", "character varying", NULL};
    static const char *const uuids[] = {"UUID", NULL};
    static const char *const times[] = {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", NULL};
    static const char *const blobs[] = {"BLOB", "bytea", NULL};
    cb_lake_type type = CB_LAKE_OTHER;

    if (is_declared(declared, bigints))
        type = CB_LAKE_BIGINT;
    else if (is_declared(declared, booleans))
        type = CB_LAKE_BOOLEAN;
    else if (is_declared(declared, texts))
        type = CB_LAKE_VARCHAR;
    else if (is_declared(declared, uuids))
        type = CB_LAKE_UUID;
    else if (is_declared(declared, times))
        type = CB_LAKE_TIMESTAMPTZ;
    else if (is_declared(declared, blobs))
        type = CB_LAKE_BLOB;
    if (kind == CB_LAKE_SQLITE && table != NULL && cb_has_prefix(table, CB_LAKE_PREFIX) &&
        !cb_lake_is_inlined(table))
        return type_by_name(column, type);
    return type;
}

/* ---- gathering ------------------------------------------------------------------------------- */

static cb_code start_table(cb_lake_builder *builder, const char *name, cb_error *err)
{
    if (builder->count == builder->capacity &&
        cb_array_grow(&builder->tables, &builder->capacity, sizeof(*builder->tables), err) != CB_OK)
        return err->code;
    if (cb_arena_text(builder->arena, name, &builder->tables[builder->count].table.name, err) !=
        CB_OK)
        return err->code;
    builder->count++;
    return CB_OK;
}

cb_code cb_lake_builder_column(cb_lake_builder *builder, const char *table, const char *name,
                               const char *declared, bool not_null, cb_error *err)
{
    gathered *into;
    cb_lake_column *column;

    if (builder->count == 0 || strcmp(builder->tables[builder->count - 1].table.name, table) != 0)
        if (start_table(builder, table, err) != CB_OK)
            return err->code;
    into = &builder->tables[builder->count - 1];
    if (into->table.column_count == into->column_capacity &&
        cb_array_grow(&into->columns, &into->column_capacity, sizeof(*into->columns), err) != CB_OK)
        return err->code;
    column = &into->columns[into->table.column_count];
    if (cb_arena_text(builder->arena, name, &column->name, err) != CB_OK ||
        cb_arena_text(builder->arena, declared, &column->declared, err) != CB_OK)
        return err->code;
    column->type = cb_lake_type_of(builder->kind, table, name, declared);
    column->not_null = not_null;
    into->table.column_count++;
    return CB_OK;
}

static int compare_tables(const void *a, const void *b)
{
    return strcmp(((const gathered *)a)->table.name, ((const gathered *)b)->table.name);
}

static gathered *find_gathered(cb_lake_builder *builder, const char *name)
{
    gathered key = {.table.name = name};

    if (builder->count == 0)
        return NULL;
    if (!builder->is_sorted)
        qsort(builder->tables, builder->count, sizeof(*builder->tables), compare_tables);
    builder->is_sorted = true;
    return bsearch(&key, builder->tables, builder->count, sizeof(*builder->tables), compare_tables);
}

static cb_code add_text(cb_lake_builder *builder, const char ***array, size_t *count,
                        size_t *capacity, const char *text, cb_error *err)
{
    if (*count == *capacity && cb_array_grow(array, capacity, sizeof(**array), err) != CB_OK)
        return err->code;
    if (cb_arena_text(builder->arena, text, &(*array)[*count], err) != CB_OK)
        return err->code;
    (*count)++;
    return CB_OK;
}

cb_code cb_lake_builder_key(cb_lake_builder *builder, const char *table, const char *column,
                            cb_error *err)
{
    gathered *into = find_gathered(builder, table);

    return into == NULL ? CB_OK
                        : add_text(builder, &into->key, &into->table.key_count, &into->key_capacity,
                                   column, err);
}

cb_code cb_lake_builder_extra(cb_lake_builder *builder, const char *table, const char *statement,
                              cb_error *err)
{
    gathered *into = find_gathered(builder, table);

    return into == NULL ? CB_OK
                        : add_text(builder, &into->extra, &into->table.extra_count,
                                   &into->extra_capacity, statement, err);
}

/* ---- the result ------------------------------------------------------------------------------ */

static cb_code keep(cb_arena *arena, const void *array, size_t bytes, void *out, cb_error *err)
{
    void *copy;

    if (bytes == 0)
        return CB_OK;
    if (cb_arena_alloc(arena, bytes, &copy, err) != CB_OK)
        return err->code;
    memcpy(copy, array, bytes);
    memcpy(out, &copy, sizeof(copy));
    return CB_OK;
}

static cb_code finish(cb_lake_builder *builder, cb_lake_schema *out, cb_error *err)
{
    cb_lake_table *tables;

    if (builder->count == 0)
        return CB_OK;
    (void)find_gathered(builder, ""); /* sorts */
    if (cb_arena_alloc(builder->arena, builder->count * sizeof(*tables), &tables, err) != CB_OK)
        return err->code;
    for (size_t i = 0; i < builder->count; i++) {
        gathered *from = &builder->tables[i];
        cb_lake_table *table = &tables[i];

        *table = from->table;
        if (keep(builder->arena, from->columns, table->column_count * sizeof(*from->columns),
                 &table->columns, err) != CB_OK ||
            keep(builder->arena, from->key, table->key_count * sizeof(*from->key), &table->key,
                 err) != CB_OK ||
            keep(builder->arena, from->extra, table->extra_count * sizeof(*from->extra),
                 &table->extra, err) != CB_OK)
            return err->code;
    }
    out->tables = tables;
    out->count = builder->count;
    return CB_OK;
}

static void builder_free(cb_lake_builder *builder)
{
    for (size_t i = 0; i < builder->capacity; i++) {
        free(builder->tables[i].columns);
        free(builder->tables[i].key);
        free(builder->tables[i].extra);
    }
    free(builder->tables);
}

cb_code cb_lake_schema_read(cb_lake_db *db, cb_lake_schema *out, cb_error *err)
{
    CB_CLEANUP(builder_free)
    cb_lake_builder builder = {.kind = db->address.kind, .arena = &out->arena};
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (db->is_done || db->is_used)
        return cb_fail(err, CB_INTERNAL, "the catalog's connection is in use");
    code = db->ops->list(db, &builder, err);
    if (code == CB_OK)
        code = finish(&builder, out, err);
    if (code == CB_OK)
        return CB_OK;
    cb_lake_schema_free(out);
    return cb_context(err, "list the tables of '%.300s'", db->address.shown);
}

void cb_lake_schema_free(cb_lake_schema *schema)
{
    cb_arena_free(&schema->arena);
    schema->tables = NULL;
    schema->count = 0;
}

static int compare_name(const void *name, const void *table)
{
    return strcmp(name, ((const cb_lake_table *)table)->name);
}

const cb_lake_table *cb_lake_schema_find(const cb_lake_schema *schema, const char *name)
{
    if (schema->count == 0)
        return NULL;
    return bsearch(name, schema->tables, schema->count, sizeof(*schema->tables), compare_name);
}

bool cb_lake_table_has(const cb_lake_table *table, const char *column)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i].name, column) == 0)
            return true;
    return false;
}
