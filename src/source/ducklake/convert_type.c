/*
 * convert_type.c - see convert_type.h.
 */
#include "source/ducklake/convert_type.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- names of types ----------------------------------------------------------------------- */

typedef struct held {
    const char *duckdb, *ducklake;
    const char *postgres, *sqlite; /* NULL: text */
    cb_lake_type in_postgres, in_sqlite, in_duckdb;
} held;

/* clang-format off */
static const held table_of_types[] = {
    {"BOOLEAN",   "boolean",  "boolean",   "BIGINT", CB_LAKE_BOOLEAN, CB_LAKE_BIGINT,  CB_LAKE_BOOLEAN},
    {"TINYINT",   "int8",     "smallint",  "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"SMALLINT",  "int16",    "smallint",  "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"INTEGER",   "int32",    "integer",   "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"BIGINT",    "int64",    "bigint",    "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_BIGINT},
    {"UTINYINT",  "uint8",    "integer",   "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"USMALLINT", "uint16",   "integer",   "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"UINTEGER",  "uint32",   "bigint",    "BIGINT", CB_LAKE_BIGINT,  CB_LAKE_BIGINT,  CB_LAKE_OTHER},
    {"FLOAT",     "float32",  "real",      NULL,     CB_LAKE_OTHER,   CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"DOUBLE",    "float64",  "double precision", NULL, CB_LAKE_OTHER, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"VARCHAR",   "varchar",  "bytea",     NULL,     CB_LAKE_BLOB,    CB_LAKE_VARCHAR, CB_LAKE_VARCHAR},
    {"JSON",      "json",     "bytea",     NULL,     CB_LAKE_BLOB,    CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"BLOB",      "blob",     "bytea",     "BLOB",   CB_LAKE_BLOB,    CB_LAKE_BLOB,    CB_LAKE_BLOB},
    {"UUID",      "uuid",     "uuid",      NULL,     CB_LAKE_UUID,    CB_LAKE_VARCHAR, CB_LAKE_UUID},
    {"TIME",      "time",     "time without time zone", NULL, CB_LAKE_OTHER, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIME WITH TIME ZONE", "timetz", "time with time zone", NULL, CB_LAKE_OTHER, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"INTERVAL",  "interval", "interval",  NULL,     CB_LAKE_OTHER,   CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"HUGEINT",   "int128",   NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"UBIGINT",   "uint64",   NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"UHUGEINT",  "uint128",  NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"DATE",      "date",     NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIMESTAMP", "timestamp", NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIMESTAMP_S",  "timestamp_s",  NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIMESTAMP_MS", "timestamp_ms", NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIMESTAMP_NS", "timestamp_ns", NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_OTHER},
    {"TIMESTAMP WITH TIME ZONE", "timestamptz", NULL, NULL, CB_LAKE_VARCHAR, CB_LAKE_VARCHAR, CB_LAKE_TIMESTAMPTZ},
};
/* clang-format on */

static const held *find_held(const char *duckdb)
{
    for (size_t i = 0; i < CB_LENGTH(table_of_types); i++)
        if (strcasecmp(table_of_types[i].duckdb, duckdb) == 0)
            return &table_of_types[i];
    return NULL;
}

/* VARIANT, wherever it stands in the type. A field of a struct may be called so, in quotes. */
static bool holds_variant(const char *type)
{
    static const char word[] = "VARIANT";
    bool is_quoted = false;

    for (const char *at = type; *at != '\0'; at++) {
        if (*at == '"')
            is_quoted = !is_quoted;
        if (!is_quoted && strncasecmp(at, word, sizeof(word) - 1) == 0 &&
            (at == type || at[-1] == ' ') && strspn(at + sizeof(word) - 1, ",)[") > 0)
            return true;
    }
    return strcasecmp(type, word) == 0;
}

cb_code cb_lake_type_hold(cb_lake_kind kind, bool is_old, const char *type, cb_arena *arena,
                          cb_lake_column *out, cb_error *err)
{
    const held *found = find_held(type);
    const char *brackets = strchr(type, '(');
    bool is_decimal = cb_has_prefix(type, "DECIMAL(") && type[strlen(type) - 1] == ')';

    if (kind == CB_LAKE_DUCKDB) {
        out->type = found != NULL ? found->in_duckdb : CB_LAKE_OTHER;
        out->declared = type;
        return CB_OK;
    }
    if (holds_variant(type))
        return cb_fail(err, CB_UNSUPPORTED, "column '%s' is a %s, which a %s catalog cannot hold",
                       out->name, type, cb_lake_kind_name(kind));
    out->type = CB_LAKE_VARCHAR;
    out->declared = NULL;
    if (kind == CB_LAKE_SQLITE) {
        if (found != NULL)
            out->type = found->in_sqlite;
        out->declared = found != NULL && found->sqlite != NULL ? found->sqlite : "VARCHAR";
        return CB_OK;
    }
    if (is_decimal) {
        out->type = CB_LAKE_OTHER;
        return cb_arena_format(arena, &out->declared, err, "numeric%s", brackets);
    }
    if (is_old && found != NULL && found->in_postgres == CB_LAKE_BLOB &&
        strcmp(found->duckdb, "BLOB") != 0)
        found = NULL;
    if (found != NULL)
        out->type = found->in_postgres;
    out->declared =
        found != NULL && found->postgres != NULL ? found->postgres : "character varying";
    return CB_OK;
}

/* ---- what the catalog says ---------------------------------------------------------------- */

typedef struct described {
    int64_t id, parent; /* -1 none */
    const char *name, *type;
} described;

typedef struct reading {
    cb_arena arena;
    described *columns;
    size_t count, capacity;
} reading;

static cb_code take_column(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    described *column;
    cb_code code;

    if (count != 4 || cells[0].text == NULL || cells[2].text == NULL || cells[3].text == NULL)
        return cb_fail(err, CB_CORRUPT, "a column of the catalog has no name or type");
    code = cb_array_reserve(&r->columns, &r->capacity, r->count + 1, sizeof(*r->columns), err);
    if (code != CB_OK)
        return code;
    column = &r->columns[r->count];
    column->id = strtoll(cells[0].text, NULL, 10);
    column->parent = cells[1].text != NULL ? strtoll(cells[1].text, NULL, 10) : -1;
    code = cb_arena_text(&r->arena, cells[2].text, &column->name, err);
    if (code == CB_OK)
        code = cb_arena_text(&r->arena, cells[3].text, &column->type, err);
    r->count += code == CB_OK;
    return code;
}

static cb_code put_type(const reading *r, const described *column, unsigned depth, cb_buf *out,
                        cb_error *err);

/* The children in their order, each with its name in front when it has one that counts. */
static cb_code put_children(const reading *r, const described *column, bool named, unsigned depth,
                            cb_buf *out, cb_error *err)
{
    bool is_first = true;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < r->count; i++) {
        const described *child = &r->columns[i];

        if (child->parent != column->id)
            continue;
        if (!is_first)
            code = cb_buf_format(out, err, ", ");
        if (code == CB_OK && named)
            code = cb_lake_quote_name(out, child->name, err);
        if (code == CB_OK && named)
            code = cb_buf_u8(out, ' ', err);
        if (code == CB_OK)
            code = put_type(r, child, depth + 1, out, err);
        is_first = false;
    }
    return code;
}

static cb_code put_type(const reading *r, const described *column, unsigned depth, cb_buf *out,
                        cb_error *err)
{
    cb_code code = CB_OK;

    if (depth > 64)
        return cb_fail(err, CB_CORRUPT, "column '%s' is nested without end", column->name);
    if (strcmp(column->type, "list") == 0) {
        code = put_children(r, column, false, depth, out, err);
        return code == CB_OK ? cb_buf_format(out, err, "[]") : code;
    }
    if (strcmp(column->type, "struct") == 0 || strcmp(column->type, "map") == 0) {
        bool is_struct = column->type[0] == 's';

        code = cb_buf_format(out, err, is_struct ? "STRUCT(" : "MAP(");
        if (code == CB_OK)
            code = put_children(r, column, is_struct, depth, out, err);
        return code == CB_OK ? cb_buf_format(out, err, ")") : code;
    }
    for (size_t i = 0; i < CB_LENGTH(table_of_types); i++)
        if (strcmp(table_of_types[i].ducklake, column->type) == 0)
            return cb_buf_format(out, err, "%s", table_of_types[i].duckdb);
    for (const char *at = column->type; code == CB_OK && *at != '\0'; at++)
        code = cb_buf_u8(out, (uint8_t)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at), err);
    return code;
}

static cb_code first_snapshot(cb_lake_db *db, const cb_lake_schema *schema, int64_t table_id,
                              int64_t schema_version, int64_t *out, cb_error *err)
{
    const cb_lake_table *versions = cb_lake_schema_find(schema, "ducklake_schema_versions");
    char sql[256];
    cb_code code = CB_OK;

    *out = -1;
    if (versions != NULL) {
        snprintf(sql, sizeof(sql),
                 cb_lake_table_has(versions, "table_id")
                     ? "SELECT min(begin_snapshot) FROM {schema_versions} WHERE schema_version = "
                       "%lld AND (table_id = %lld OR table_id IS NULL)"
                     : "SELECT min(begin_snapshot) FROM {schema_versions} WHERE schema_version = "
                       "%lld",
                 (long long)schema_version, (long long)table_id);
        code = cb_lake_db_number(db, sql, -1, out, err);
    }
    if (code != CB_OK || *out >= 0)
        return code;
    snprintf(sql, sizeof(sql),
             "SELECT min(snapshot_id) FROM {snapshot} WHERE schema_version = %lld",
             (long long)schema_version);
    return cb_lake_db_number(db, sql, -1, out, err);
}

cb_code cb_lake_type_list(cb_lake_db *db, const cb_lake_schema *schema, int64_t table_id,
                          int64_t schema_version, const cb_lake_column *columns, size_t count,
                          cb_arena *arena, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = 1 << 20};
    reading r = {0};
    int64_t snapshot;
    char sql[512];
    cb_code code = first_snapshot(db, schema, table_id, schema_version, &snapshot, err);

    /* Of an unknown beginning: what the columns are now, the dropped ones as they were last. */
    if (snapshot < 0)
        snapshot = INT64_MAX;
    snprintf(sql, sizeof(sql),
             "SELECT column_id, parent_column, column_name, column_type FROM {column} "
             "WHERE table_id = %lld AND begin_snapshot <= %lld AND (end_snapshot IS NULL OR "
             "end_snapshot > %lld) ORDER BY column_order, column_id",
             (long long)table_id, (long long)snapshot,
             snapshot == INT64_MAX ? -1LL : (long long)snapshot);
    if (code == CB_OK)
        code = cb_lake_db_query(db, sql, take_column, &r, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        out[i] = NULL;
        for (size_t j = 0; code == CB_OK && j < r.count; j++) {
            if (r.columns[j].parent >= 0 || strcmp(r.columns[j].name, columns[i].name) != 0)
                continue;
            text.size = 0;
            code = put_type(&r, &r.columns[j], 0, &text, err);
            if (code == CB_OK)
                code = cb_arena_text_n(arena, text.data, text.size, &out[i], err);
        }
    }
    free(r.columns);
    cb_arena_free(&r.arena);
    return code;
}
