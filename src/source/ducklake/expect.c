/*
 * expect.c - the rows of every table at every snapshot by the catalog's own arithmetic.
 *
 *     rows of its data files - deletes in those files - rows deleted while inlined
 *     + rows inlined, all of them as far as they are alive at the snapshot
 *
 * A file that holds rows of several snapshots (merged ones do) cannot be counted at a snapshot
 * before its newest: then the number is unknown there, and only the engines can tell.
 */
#include "source/ducklake/expect.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "codec/hash.h"
#include "source/duckdb/engine.h"

enum { WARNINGS_MAX = 10 };

void cb_expect_free(cb_expect *expect)
{
    cb_arena_free(&expect->arena);
    free(expect->tables);
    expect->tables = NULL;
    expect->count = 0;
}

/* ---- from the catalog ----------------------------------------------------------------------- */

#define ALIVE(row)                                                                                 \
    row ".begin_snapshot <= s.snapshot_id AND (" row ".end_snapshot IS NULL OR " row               \
        ".end_snapshot > s.snapshot_id)"

static cb_code append(cb_buf *sql, const char *text, cb_error *err)
{
    return cb_buf_append(sql, text, strlen(text), err);
}

/* Rows of several snapshots in one file: what the catalog calls it depends on its version. */
static cb_code append_unknown(cb_buf *sql, const cb_lake_schema *schema, const char *table,
                              cb_error *err)
{
    char name[64];
    const cb_lake_table *found;
    const char *test = NULL;
    cb_code code = CB_OK;

    snprintf(name, sizeof(name), "ducklake_%s", table);
    found = cb_lake_schema_find(schema, name);
    if (found != NULL && cb_lake_table_has(found, "partial_max"))
        test = "f.partial_max > s.snapshot_id";
    else if (found != NULL && cb_lake_table_has(found, "partial_file_info"))
        test = "f.partial_file_info IS NOT NULL";
    if (test == NULL)
        return CB_OK;
    code = cb_buf_format(
        sql, err, " WHEN EXISTS (SELECT 1 FROM {%s} f WHERE f.table_id = t.table_id AND ", table);
    if (code == CB_OK)
        code = append(sql, ALIVE("f") " AND ", err);
    return code == CB_OK ? cb_buf_format(sql, err, "%s) THEN -1", test) : code;
}

/* Inlined rows lie in tables of their own, named by table and schema version. */
static cb_code append_inlined(cb_buf *sql, const cb_lake_schema *schema, cb_error *err)
{
    static const char data[] = "ducklake_inlined_data_";
    static const char deletes[] = "ducklake_inlined_delete_";
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < schema->count; i++) {
        const cb_lake_table *table = &schema->tables[i];
        const char *prefix = "";
        const char *rest;
        int digits;

        if (cb_has_prefix(table->name, data))
            rest = table->name + sizeof(data) - 1;
        else if (cb_has_prefix(table->name, deletes))
            rest = table->name + sizeof(deletes) - 1;
        else
            continue;
        digits = (int)strspn(rest, "0123456789");
        if (digits == 0) /* ducklake_inlined_data_tables */
            continue;
        if (cb_has_prefix(table->name, deletes)) {
            code = cb_buf_format(
                sql, err,
                " - CASE WHEN t.table_id = %.*s THEN (SELECT count(*) FROM {%s} i JOIN {data_file} "
                "f ON f.data_file_id = i.file_id WHERE i.begin_snapshot <= s.snapshot_id AND ",
                digits, rest, table->name + strlen("ducklake_"));
            if (code == CB_OK)
                code = append(sql, ALIVE("f") ") ELSE 0 END", err);
            continue;
        }
        if (cb_lake_table_has(table, "_ducklake_begin_snapshot"))
            prefix = "_ducklake_";
        code =
            cb_buf_format(sql, err,
                          " + CASE WHEN t.table_id = %.*s THEN (SELECT count(*) FROM {%s} i "
                          "WHERE i.%sbegin_snapshot <= s.snapshot_id AND (i.%send_snapshot IS "
                          "NULL OR i.%send_snapshot > s.snapshot_id)) ELSE 0 END",
                          digits, rest, table->name + strlen("ducklake_"), prefix, prefix, prefix);
    }
    return code;
}

static cb_code compose(cb_lake_db *db, const cb_lake_schema *schema, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = append(&sql, "SELECT c.schema_name, t.table_name, s.snapshot_id, CASE", err);

    if (code == CB_OK)
        code = append_unknown(&sql, schema, "data_file", err);
    if (code == CB_OK)
        code = append_unknown(&sql, schema, "delete_file", err);
    if (code == CB_OK)
        code =
            append(&sql,
                   " WHEN 1 = 0 THEN -1 ELSE (SELECT COALESCE(sum(f.record_count), 0) FROM "
                   "{data_file} f WHERE f.table_id = t.table_id AND " ALIVE(
                       "f") ")"
                            " - (SELECT COALESCE(sum(d.delete_count), 0) FROM {delete_file} d JOIN "
                            "{data_file} f ON f.data_file_id = d.data_file_id WHERE d.table_id = "
                            "t.table_id AND " ALIVE("d") " AND " ALIVE("f") ")",
                   err);
    if (code == CB_OK)
        code = append_inlined(&sql, schema, err);
    if (code == CB_OK)
        code = append(&sql,
                      " END FROM {snapshot} s JOIN {table} t ON " ALIVE(
                          "t") " JOIN {schema} c ON c.schema_id = t.schema_id AND " ALIVE("c"),
                      err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (code == CB_OK)
        code = cb_lake_db_compose(db, out, (const char *)sql.data, err);
    return code == CB_OK ? cb_buf_u8(out, 0, err) : code;
}

static cb_code note_expected(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    cb_expect *expect = arg;
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_expected *at;
    cb_code code = CB_OK;

    for (size_t i = 0; i < 4; i++)
        if (i >= count || cells[i].text == NULL)
            return cb_fail(err, CB_CORRUPT, "the catalog has a table without a name or a count");
    if (expect->count == expect->capacity)
        code = cb_array_grow(&expect->tables, &expect->capacity, sizeof(*expect->tables), err);
    if (code == CB_OK)
        code = cb_duck_compose(
            &name,
            (cb_duck_piece[]){{'"', cells[0].text}, {0, "."}, {'"', cells[1].text}, {0, NULL}},
            err);
    if (code != CB_OK)
        return code;
    at = &expect->tables[expect->count];
    *at = (cb_expected){0};
    code = cb_arena_text(&expect->arena, (const char *)name.data, &at->table, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[2].text, &at->snapshot_id, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[3].text, &at->rows, err);
    if (code == CB_OK)
        expect->count++;
    return code;
}

static int by_table(const void *a, const void *b)
{
    const cb_expected *left = a;
    const cb_expected *right = b;
    int order = strcmp(left->table, right->table);

    if (order != 0)
        return order;
    return (left->snapshot_id > right->snapshot_id) - (left->snapshot_id < right->snapshot_id);
}

cb_code cb_expect_read(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = compose(db, schema, &sql, err);

    if (code == CB_OK)
        code = cb_lake_db_query(db, (const char *)sql.data, note_expected, out, err);
    if (code != CB_OK)
        return cb_context(err, "the rows that the catalog expects");
    if (out->count > 1)
        qsort(out->tables, out->count, sizeof(*out->tables), by_table);
    return CB_OK;
}

static cb_expected *find(cb_expect *expect, const cb_lake_fingerprint *seen)
{
    cb_expected key = {.table = seen->table, .snapshot_id = seen->snapshot_id};

    if (expect->count == 0)
        return NULL;
    return bsearch(&key, expect->tables, expect->count, sizeof(key), by_table);
}

/* ---- by the old engine ---------------------------------------------------------------------- */

static void digest_of(const char *text, uint8_t out[16])
{
    cb_hash hash;

    cb_sha256(cb_bytes_of(text, strlen(text)), &hash);
    memcpy(out, hash.bytes, 16);
}

static cb_code note_read(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    cb_expected *at = find(arg, seen);

    (void)err;
    if (at == NULL) /* a snapshot that came after the copy */
        return CB_OK;
    at->was_unreadable = seen->failure != NULL;
    if (seen->failure != NULL)
        return CB_OK;
    at->has_digest = true;
    digest_of(seen->digest, at->digest);
    return CB_OK;
}

cb_code cb_expect_add(cb_expect *expect, cb_lake_engine *engine, cb_error *err)
{
    expect->has_engine = true;
    return cb_lake_engine_read_all(engine, true, note_read, expect, err);
}

/* ---- compare -------------------------------------------------------------------------------- */

typedef struct comparing {
    cb_ctx *ctx;
    cb_expect *expect;
    cb_expect_result *result;
    const char *last_table;
    uint64_t warnings;
} comparing;

static cb_code take_unreadable(comparing *c, const cb_expected *at, const cb_lake_fingerprint *seen,
                               cb_error *err)
{
    if (c->expect->has_engine && !at->was_unreadable)
        return cb_fail(err, CB_CORRUPT,
                       "table %s at snapshot %lld could be read before and cannot now: %s",
                       seen->table, (long long)seen->snapshot_id, seen->failure);
    c->result->unreadable++;
    if (c->warnings++ < WARNINGS_MAX)
        cb_event_text(c->ctx, CB_EVENT_WARNING, "table %s at snapshot %lld is not compared: %s",
                      seen->table, (long long)seen->snapshot_id, seen->failure);
    return CB_OK;
}

static cb_code note_compared(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    comparing *c = arg;
    cb_expected *at = find(c->expect, seen);
    uint8_t digest[16];

    if (at == NULL) /* committed after the copy, by somebody else */
        return CB_OK;
    at->is_seen = true;
    if (c->last_table == NULL || strcmp(c->last_table, at->table) != 0)
        c->result->tables++;
    c->last_table = at->table;
    if (seen->failure != NULL)
        return take_unreadable(c, at, seen, err);
    if (at->was_unreadable) { /* the new one reads more: nothing to compare it with */
        c->result->unreadable++;
        return CB_OK;
    }
    if (at->has_digest) {
        digest_of(seen->digest, digest);
        if (memcmp(digest, at->digest, sizeof(digest)) != 0)
            return cb_fail(err, CB_CORRUPT,
                           "table %s at snapshot %lld has other contents after the migration",
                           seen->table, (long long)seen->snapshot_id);
    } else if (at->rows >= 0 && (uint64_t)at->rows != seen->rows) {
        return cb_fail(err, CB_CORRUPT,
                       "table %s at snapshot %lld has %llu rows after the migration, %lld before",
                       seen->table, (long long)seen->snapshot_id, (unsigned long long)seen->rows,
                       (long long)at->rows);
    }
    c->result->compared++;
    return CB_OK;
}

cb_code cb_expect_compare(cb_ctx *ctx, cb_expect *expect, cb_lake_engine *engine,
                          cb_expect_result *out, cb_error *err)
{
    comparing c = {.ctx = ctx, .expect = expect, .result = out};
    cb_code code;

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < expect->count; i++)
        expect->tables[i].is_seen = false;
    code = cb_lake_engine_read_all(engine, true, note_compared, &c, err);
    if (code != CB_OK)
        return code;
    if (c.warnings > WARNINGS_MAX)
        cb_event_text(ctx, CB_EVENT_WARNING, "and %llu more like that",
                      (unsigned long long)(c.warnings - WARNINGS_MAX));
    for (size_t i = 0; i < expect->count; i++)
        if (!expect->tables[i].is_seen)
            return cb_fail(err, CB_CORRUPT, "table %s is not there at snapshot %lld any more",
                           expect->tables[i].table, (long long)expect->tables[i].snapshot_id);
    if (!expect->has_engine && out->unreadable > 0 && out->compared == 0)
        return cb_fail(err, CB_CORRUPT, "no table of the migrated lake can be read");
    return CB_OK;
}
