/*
 * change_tables.c - a catalog with only some of its tables. Schemas, views and macros stay; the
 * schedule for deletion goes, since it does not say whose files it lists.
 */
#include "source/ducklake/change_internal.h"

#include "base/text.h"

#include <stdlib.h>
#include <strings.h>

enum { LISTED_MAX = 400 };

typedef struct choosing {
    const char *const *wanted;
    size_t count;
    bool *is_found, *is_doubtful;
    cb_buf ids;    /* "3, 7" */
    cb_buf listed; /* what there is, for the hint */
    uint64_t left_out;
} choosing;

/* A part of table or schema.table: as it is, or in "quotes" with those inside doubled. */
static bool take_part(const char **at, const char *name)
{
    size_t length = strlen(name);
    const char *in = *at;

    if (*in != '"') {
        if (strncasecmp(in, name, length) != 0)
            return false;
        *at = in + length;
        return **at == '\0' || **at == '.';
    }
    for (in++; *name != '\0'; name++, in++) {
        if (*in == '"' && *++in != '"')
            return false;
        if (strncasecmp(in, name, 1) != 0)
            return false;
    }
    if (*in != '"')
        return false;
    *at = in + 1;
    return **at == '\0' || **at == '.';
}

static bool is_wanted(const char *wanted, const char *schema, const char *table)
{
    const char *at = wanted;

    if (take_part(&at, table) && *at == '\0')
        return true;
    at = wanted;
    return take_part(&at, schema) && *at++ == '.' && take_part(&at, table) && *at == '\0';
}

bool cb_lake_table_is_wanted(const char *const *wanted, size_t count, const char *schema,
                             const char *table)
{
    for (size_t i = 0; i < count; i++)
        if (is_wanted(wanted[i], schema, table))
            return true;
    return false;
}

static cb_code list_one(choosing *c, const char *schema, const char *table, cb_error *err)
{
    if (c->listed.size > LISTED_MAX) {
        c->left_out++;
        return CB_OK;
    }
    return cb_buf_format(&c->listed, err, "%s%s.%s", c->listed.size > 0 ? ", " : "", schema, table);
}

/* id, schema, table */
static cb_code look_at_table(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    choosing *c = arg;
    bool is_chosen = false;

    (void)count;
    if (cells[0].text == NULL || cells[1].text == NULL || cells[2].text == NULL)
        return cb_fail(err, CB_CORRUPT, "a table of the catalog has no name");
    for (size_t i = 0; i < c->count; i++)
        if (is_wanted(c->wanted[i], cells[1].text, cells[2].text)) {
            c->is_doubtful[i] = c->is_found[i];
            c->is_found[i] = is_chosen = true;
        }
    if (is_chosen && cb_buf_format(&c->ids, err, "%s%lld", c->ids.size > 0 ? ", " : "",
                                   (long long)strtoll(cells[0].text, NULL, 10)) != CB_OK)
        return err->code;
    return list_one(c, cells[1].text, cells[2].text, err);
}

static cb_code require_all(const choosing *c, cb_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!c->is_found[i]) {
            cb_fail(err, CB_NOT_FOUND, "there is no table '%s' at that snapshot", c->wanted[i]);
            if (c->left_out > 0)
                cb_hint(err, "There are %s and %llu more.", (const char *)c->listed.data,
                        (unsigned long long)c->left_out);
            else
                cb_hint(err, "There are: %s",
                        c->listed.size > 0 ? (const char *)c->listed.data : "none");
            return err->code;
        }
        if (c->is_doubtful[i]) {
            cb_fail(err, CB_USAGE, "'%s' is the name of several tables", c->wanted[i]);
            cb_hint(err, "Say which, as schema.table.");
            return err->code;
        }
    }
    return CB_OK;
}

static bool is_in(const char *ids, int64_t id)
{
    while (*ids != '\0') {
        char *end;

        if (strtoll(ids, &end, 10) == id)
            return true;
        ids = end + strspn(end, ", ");
    }
    return false;
}

static void remove_others(cb_lake_edit *edit, const char *ids)
{
    if (cb_lake_edit_has(edit, "tag", "object_id"))
        cb_lake_edit_run(edit, NULL,
                         "DELETE FROM {tag} WHERE object_id IN "
                         "(SELECT table_id FROM {table} WHERE table_id NOT IN (%s))",
                         ids);
    for (size_t i = 0; i < edit->schema->count; i++) {
        const cb_lake_table *table = &edit->schema->tables[i];
        const char *name = table->name + strlen("ducklake_");
        bool is_file = strcmp(name, "data_file") == 0 || strcmp(name, "delete_file") == 0;
        cb_lake_inlined inlined;

        cb_lake_inlined_of(table, &inlined);
        if (inlined.is_inlined && !is_in(ids, inlined.table_id))
            cb_lake_edit_drop(edit, i);
        else if (!inlined.is_inlined && cb_lake_table_has(table, "table_id"))
            cb_lake_edit_run(edit, is_file ? &edit->counts->files_removed : NULL,
                             "DELETE FROM {%s} WHERE table_id IS NOT NULL AND "
                             "table_id NOT IN (%s)",
                             name, ids);
    }
    if (cb_lake_edit_has(edit, "files_scheduled_for_deletion", "path"))
        cb_lake_edit_run(edit, NULL, "DELETE FROM {files_scheduled_for_deletion}");
}

static void choose(cb_lake_edit *edit, choosing *c)
{
    if (edit->code == CB_OK)
        edit->code =
            cb_lake_db_query(edit->db,
                             "SELECT t.table_id, s.schema_name, t.table_name FROM {table} t JOIN "
                             "{schema} s ON s.schema_id = t.schema_id WHERE t.end_snapshot IS NULL "
                             "AND s.end_snapshot IS NULL ORDER BY s.schema_name, t.table_name",
                             look_at_table, c, edit->err);
    if (edit->code == CB_OK)
        edit->code = require_all(c, edit->err);
}

void cb_lake_edit_tables(cb_lake_edit *edit, const char *const *tables, size_t count)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    choosing c = {.wanted = tables, .count = count};
    int64_t before;

    if (edit->code == CB_OK)
        edit->code = cb_arena_alloc(&arena, count + 1, &c.is_found, edit->err);
    if (edit->code == CB_OK)
        edit->code = cb_arena_alloc(&arena, count + 1, &c.is_doubtful, edit->err);
    before = cb_lake_edit_number(edit, 0, "SELECT count(DISTINCT table_id) FROM {table}");
    choose(edit, &c);
    if (edit->code == CB_OK)
        remove_others(edit, (const char *)c.ids.data);
    cb_lake_edit_sweep(edit);
    edit->counts->tables_removed +=
        (uint64_t)(before - cb_lake_edit_number(edit, before,
                                                "SELECT count(DISTINCT table_id) FROM {table}"));
    cb_buf_free(&c.ids);
    cb_buf_free(&c.listed);
}
