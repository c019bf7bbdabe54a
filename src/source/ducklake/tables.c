#include "source/ducklake/tables.h"

#include "base/array.h"
#include "base/text.h"

#include <stdlib.h>

typedef struct reading {
    cb_lake_places *out;
    const char *data_path;
    bool has_paths;
} reading;

static bool is_true(const cb_lake_cell *cell)
{
    return cell->text != NULL && (strcmp(cell->text, "true") == 0 || strcmp(cell->text, "1") == 0);
}

static const char *text_of(const cb_lake_cell *cell)
{
    return cell->text != NULL ? cell->text : "";
}

/* The folder of a table whose schema's and own path are given; "" where paths are not known. */
static cb_code folder_of(const reading *r, const cb_lake_cell *cells, cb_arena *arena,
                         const char **out, cb_error *err)
{
    const char *schema = text_of(&cells[3]);
    const char *table = text_of(&cells[5]);
    bool own = !is_true(&cells[6]);
    bool of_schema = !is_true(&cells[4]);
    cb_code code;

    if (!r->has_paths || *table == '\0') {
        *out = "";
        return CB_OK;
    }
    code = cb_arena_format(arena, out, err, "%s%s%s%s", own || of_schema ? "" : r->data_path,
                           own ? "" : schema, table, cb_has_suffix(table, "/") ? "" : "/");
    /* The data path itself is a table's folder only in migrated lakes: that says little. */
    if (code == CB_OK && strcmp(*out, r->data_path) == 0)
        *out = "";
    return code;
}

/* Cells: table_id, schema_name, table_name, and with paths: schema's path and whether it is
   relative, table's path and whether it is. */
static cb_code take_table(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    reading *r = arg;
    cb_lake_places *out = r->out;
    cb_lake_place row = {0};
    cb_code code;

    if (count < (r->has_paths ? 7U : 3U) || cells[0].text == NULL)
        return cb_fail(err, CB_CORRUPT, "a table of the catalog has no id");
    code = cb_parse_i64(cells[0].text, &row.table_id, err);
    if (code == CB_OK)
        code = cb_lake_quote_name(&name, text_of(&cells[1]), err);
    if (code == CB_OK)
        code = cb_buf_u8(&name, '.', err);
    if (code == CB_OK)
        code = cb_lake_quote_name(&name, text_of(&cells[2]), err);
    if (code == CB_OK)
        code = cb_arena_text_n(&out->arena, name.data, name.size, &row.name, err);
    if (code == CB_OK)
        code = folder_of(r, cells, &out->arena, &row.folder, err);
    if (code == CB_OK && out->count == out->capacity)
        code = cb_array_grow(&out->rows, &out->capacity, sizeof(*out->rows), err);
    if (code == CB_OK)
        out->rows[out->count++] = row;
    return code;
}

static int by_folder(const void *a, const void *b)
{
    return strcmp(((const cb_lake_place *)a)->folder, ((const cb_lake_place *)b)->folder);
}

cb_code cb_lake_places_read(cb_lake_db *db, const cb_lake_schema *schema, const cb_lake_info *info,
                            bool alive, cb_lake_places *out, cb_error *err)
{
    static const char with_paths[] =
        "SELECT DISTINCT t.table_id, s.schema_name, t.table_name, s.path, "
        "s.path_is_relative AS path_is_relative, t.path, t.path_is_relative AS path_is_relative "
        "FROM {table} t JOIN {schema} s ON s.schema_id = t.schema_id";
    static const char without[] = "SELECT DISTINCT t.table_id, s.schema_name, t.table_name "
                                  "FROM {table} t JOIN {schema} s ON s.schema_id = t.schema_id";
    static const char only_alive[] = " WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL";
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_lake_table *table = cb_lake_schema_find(schema, "ducklake_table");
    reading r = {.out = out, .data_path = info->data_path};
    cb_code code;

    *out = (cb_lake_places){0};
    if (table == NULL)
        return CB_OK;
    r.has_paths = cb_lake_table_has(table, "path");
    code = cb_buf_format(&sql, err, "%s%s", r.has_paths ? with_paths : without,
                         alive ? only_alive : "");
    if (code == CB_OK)
        code = cb_lake_db_query(db, (const char *)sql.data, take_table, &r, err);
    if (code == CB_OK && out->count > 1)
        qsort(out->rows, out->count, sizeof(*out->rows), by_folder);
    return code;
}

void cb_lake_places_free(cb_lake_places *places)
{
    free(places->rows);
    cb_arena_free(&places->arena);
    *places = (cb_lake_places){0};
}

static int find_folder(const void *key, const void *element)
{
    return strcmp(key, ((const cb_lake_place *)element)->folder);
}

const cb_lake_place *cb_lake_places_of(const cb_lake_places *places, const char *url)
{
    char folder[CB_PATH_MAX];
    size_t size = strlen(url);

    if (size >= sizeof(folder) || places->count == 0)
        return NULL;
    memcpy(folder, url, size + 1);
    for (; size > 0; size--) {
        const cb_lake_place *place;

        if (folder[size - 1] != '/')
            continue;
        folder[size] = '\0';
        place = bsearch(folder, places->rows, places->count, sizeof(*places->rows), find_folder);
        if (place != NULL)
            return place;
    }
    return NULL;
}

const cb_lake_place *cb_lake_places_by_id(const cb_lake_places *places, int64_t table_id)
{
    for (size_t i = 0; i < places->count; i++)
        if (places->rows[i].table_id == table_id)
            return &places->rows[i];
    return NULL;
}
