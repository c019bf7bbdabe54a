/*
 * expect.c - the rows of every table at every snapshot by the catalog's own arithmetic.
 *
 *     rows of its data files - deletes in those files - rows deleted while inlined
 *     + rows inlined, all of them as far as they are alive at the snapshot
 *
 * A file that holds rows of several snapshots (merged ones do) counts for less at a snapshot before
 * its newest. Where the catalog says for how much ("16:50|17:100|18:150", in 0.3), that is taken;
 * where it does not (partial_max), the number is unknown there, and only the engines can tell.
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

/* Users' columns come near this name in inlined tables: one of theirs called `s` would be taken. */
#define ALIVE(row)                                                                                 \
    row ".begin_snapshot <= canvasback_at.snapshot_id AND (" row ".end_snapshot IS NULL OR " row   \
        ".end_snapshot > canvasback_at.snapshot_id)"

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
        test = "f.partial_max > canvasback_at.snapshot_id";
    else if (found != NULL && cb_lake_table_has(found, "partial_file_info"))
        test = "f.partial_file_info LIKE 'partial_max:%' AND CAST(substr(f.partial_file_info, 13) "
               "AS BIGINT) > canvasback_at.snapshot_id";
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
                "f ON f.data_file_id = i.file_id WHERE i.begin_snapshot <= "
                "canvasback_at.snapshot_id AND ",
                digits, rest, table->name + strlen("ducklake_"));
            if (code == CB_OK)
                code = append(sql, ALIVE("f") ") ELSE 0 END", err);
            continue;
        }
        if (cb_lake_table_has(table, "_ducklake_begin_snapshot"))
            prefix = "_ducklake_";
        code = cb_buf_format(
            sql, err,
            " + CASE WHEN t.table_id = %.*s THEN (SELECT count(*) FROM {%s} i "
            "WHERE i.%sbegin_snapshot <= canvasback_at.snapshot_id AND (i.%send_snapshot IS "
            "NULL OR i.%send_snapshot > canvasback_at.snapshot_id)) ELSE 0 END",
            digits, rest, table->name + strlen("ducklake_"), prefix, prefix, prefix);
    }
    return code;
}

static bool has_splits(const cb_lake_schema *schema)
{
    const cb_lake_table *files = cb_lake_schema_find(schema, "ducklake_data_file");

    return files != NULL && cb_lake_table_has(files, "partial_file_info");
}

static cb_code compose(cb_lake_db *db, const cb_lake_schema *schema, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = append(
        &sql, "SELECT c.schema_name, t.table_name, t.table_id, canvasback_at.snapshot_id, CASE",
        err);

    if (code == CB_OK)
        code = append_unknown(&sql, schema, "data_file", err);
    if (code == CB_OK)
        code = append_unknown(&sql, schema, "delete_file", err);
    if (code == CB_OK)
        code = append(&sql,
                      " WHEN 1 = 0 THEN -1 ELSE (SELECT COALESCE(sum(f.record_count), 0) FROM "
                      "{data_file} f WHERE f.table_id = t.table_id AND " ALIVE("f"),
                      err);
    if (code == CB_OK && has_splits(schema)) /* those are added by hand */
        code = append(&sql,
                      " AND (f.partial_file_info IS NULL OR f.partial_file_info LIKE "
                      "'partial_max:%')",
                      err);
    if (code == CB_OK)
        code = append(&sql,
                      ") - (SELECT COALESCE(sum(d.delete_count), 0) FROM {delete_file} d JOIN "
                      "{data_file} f ON f.data_file_id = d.data_file_id WHERE d.table_id = "
                      "t.table_id AND " ALIVE("d") " AND " ALIVE("f") ")",
                      err);
    if (code == CB_OK)
        code = append_inlined(&sql, schema, err);
    if (code == CB_OK)
        code = append(&sql,
                      " END FROM {snapshot} canvasback_at JOIN {table} t ON " ALIVE(
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

    for (size_t i = 0; i < 5; i++)
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
        code = cb_parse_i64(cells[2].text, &at->table_id, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[3].text, &at->snapshot_id, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[4].text, &at->rows, err);
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

/* ---- merged files of 0.3 -------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const cb_expected *left = a;
    const cb_expected *right = b;

    if (left->table_id != right->table_id)
        return left->table_id < right->table_id ? -1 : 1;
    return (left->snapshot_id > right->snapshot_id) - (left->snapshot_id < right->snapshot_id);
}

/* The first entry that is not before (table, snapshot). */
static size_t first_at(const cb_expect *expect, int64_t table_id, int64_t snapshot_id)
{
    cb_expected key = {.table_id = table_id, .snapshot_id = snapshot_id};
    size_t low = 0;
    size_t high = expect->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (by_id(&expect->tables[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The number at *text, which moves behind it and `end`, if that follows. */
static bool take_number(const char **text, char end, int64_t *out)
{
    char digits[24];
    size_t size = strspn(*text, "0123456789");
    cb_error ignored = {0};

    if (size == 0 || size >= sizeof(digits))
        return false;
    memcpy(digits, *text, size);
    digits[size] = '\0';
    *text += size;
    if (**text == end && end != '\0')
        (*text)++;
    return cb_parse_i64(digits, out, &ignored) == CB_OK;
}

/* Rows of "16:50|17:100|18:150" that are alive at a snapshot: counts are sums. */
static bool split_rows(const char *text, int64_t snapshot_id, int64_t *rows, int64_t *newest)
{
    *rows = 0;
    *newest = 0;
    while (*text != '\0') {
        int64_t count;

        if (!take_number(&text, ':', newest) || !take_number(&text, '|', &count))
            return false;
        if (*newest <= snapshot_id)
            *rows = count;
    }
    return true;
}

static cb_code note_split(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    cb_expect *expect = arg;
    int64_t table_id, begin;
    int64_t end = INT64_MAX;
    cb_code code;

    if (count < 4 || cells[0].text == NULL || cells[1].text == NULL || cells[3].text == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog has a data file without a table");
    code = cb_parse_i64(cells[0].text, &table_id, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[1].text, &begin, err);
    if (code == CB_OK && cells[2].text != NULL)
        code = cb_parse_i64(cells[2].text, &end, err);
    for (size_t i = first_at(expect, table_id, begin);
         code == CB_OK && i < expect->count && expect->tables[i].table_id == table_id &&
         expect->tables[i].snapshot_id < end;
         i++) {
        cb_expected *at = &expect->tables[i];
        int64_t rows;
        int64_t newest;

        if (!split_rows(cells[3].text, at->snapshot_id, &rows, &newest))
            at->rows = -1;
        else if (at->rows >= 0)
            at->rows += rows;
        at->is_split |= newest > at->snapshot_id;
    }
    return code;
}

static cb_code add_splits(cb_lake_db *db, cb_expect *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_lake_db_compose(
        db, &sql,
        "SELECT f.table_id, f.begin_snapshot, f.end_snapshot, f.partial_file_info FROM {data_file} "
        "f WHERE f.partial_file_info IS NOT NULL AND NOT f.partial_file_info LIKE 'partial_max:%'",
        err);

    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (out->count > 1)
        qsort(out->tables, out->count, sizeof(*out->tables), by_id);
    return code == CB_OK ? cb_lake_db_query(db, (const char *)sql.data, note_split, out, err)
                         : code;
}

/* ---- what old versions are known to misread ------------------------------------------------- */

static cb_code note_doubtful(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    cb_expect *expect = arg;
    int64_t table_id;
    cb_code code;

    if (count < 1 || cells[0].text == NULL)
        return CB_OK;
    code = cb_parse_i64(cells[0].text, &table_id, err);
    for (size_t i = 0; code == CB_OK && i < expect->count; i++)
        if (expect->tables[i].table_id == table_id)
            expect->tables[i].is_doubtful = true;
    return code;
}

/* Inlined rows of a table that was altered: 0.3 and 0.4 read those of an older snapshot with the
   names and defaults of another. */
static cb_code find_doubtful(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out,
                             cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code;

    if (cb_lake_schema_find(schema, "ducklake_inlined_data_tables") == NULL)
        return CB_OK;
    code = cb_lake_db_compose(
        db, &sql,
        "SELECT DISTINCT i.table_id FROM {inlined_data_tables} i JOIN {column} c ON c.table_id = "
        "i.table_id WHERE c.end_snapshot IS NOT NULL OR c.begin_snapshot > (SELECT "
        "min(t.begin_snapshot) FROM {table} t WHERE t.table_id = i.table_id)",
        err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_lake_db_query(db, (const char *)sql.data, note_doubtful, out, err)
                         : code;
}

cb_code cb_expect_read(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = compose(db, schema, &sql, err);

    if (code == CB_OK)
        code = cb_lake_db_query(db, (const char *)sql.data, note_expected, out, err);
    if (code == CB_OK && has_splits(schema))
        code = add_splits(db, out, err);
    if (code == CB_OK)
        code = find_doubtful(db, schema, out, err);
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

typedef struct old_reading {
    cb_expect *expect;
    unsigned pass;
} old_reading;

static cb_code note_read(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    const old_reading *reading = arg;
    cb_expected *at = find(reading->expect, seen);

    (void)err;
    if (at == NULL || seen->failure != NULL) /* a snapshot that came after the copy */
        return CB_OK;
    at->has_digest[reading->pass] = true;
    digest_of(seen->digest, at->digest[reading->pass]);
    return CB_OK;
}

cb_code cb_expect_add(cb_expect *expect, cb_lake_engine *engine, cb_error *err)
{
    old_reading reading = {.expect = expect};
    cb_code code;

    expect->has_engine = true;
    code = cb_lake_engine_read_all(engine, true, note_read, &reading, err);
    reading.pass = 1;
    cb_lake_engine_keep_attached(engine, true);
    return code == CB_OK ? cb_lake_engine_read_all(engine, true, note_read, &reading, err) : code;
}

/* ---- compare -------------------------------------------------------------------------------- */

typedef struct comparing {
    cb_ctx *ctx;
    cb_expect *expect;
    cb_expect_result *result;
    uint64_t warnings;
} comparing;

static cb_code take_unreadable(comparing *c, const cb_expected *at, const cb_lake_fingerprint *seen,
                               cb_error *err)
{
    if (at->has_digest[0] || at->has_digest[1])
        return cb_fail(err, CB_CORRUPT,
                       "table %s at snapshot %lld could be read before and cannot now: %s",
                       seen->table, (long long)seen->snapshot_id, seen->failure);
    c->result->unreadable++;
    if (c->warnings++ < WARNINGS_MAX)
        cb_event_text(c->ctx, CB_EVENT_WARNING, "table %s at snapshot %lld is not compared: %s",
                      seen->table, (long long)seen->snapshot_id, seen->failure);
    return CB_OK;
}

static cb_code fail_differs(const cb_expected *at, const cb_lake_fingerprint *seen, cb_error *err)
{
    if (at->rows >= 0 && (uint64_t)at->rows != seen->rows)
        cb_fail(err, CB_CORRUPT,
                "table %s at snapshot %lld has %llu rows after the migration, %lld before",
                seen->table, (long long)seen->snapshot_id, (unsigned long long)seen->rows,
                (long long)at->rows);
    else
        cb_fail(err, CB_CORRUPT, "table %s at snapshot %lld has other contents after the migration",
                seen->table, (long long)seen->snapshot_id);
    if (at->is_split)
        cb_hint(err,
                "Files of that table were merged over several snapshots, and DuckDB's migration "
                "does not keep which rows are whose. When nobody needs to go back to those "
                "snapshots, expire them with the old version (ducklake_expire_snapshots), then "
                "migrate.");
    return err->code;
}

/* What the old engine reads twice alike is what has to come; what it reads now so, now otherwise,
   or not at all, it could not read. */
static cb_code compare_digests(comparing *c, const cb_expected *at, const cb_lake_fingerprint *seen,
                               cb_error *err)
{
    uint8_t digest[16];

    digest_of(seen->digest, digest);
    for (unsigned pass = 0; pass < 2; pass++)
        if (at->has_digest[pass] && memcmp(digest, at->digest[pass], sizeof(digest)) == 0) {
            c->result->compared++;
            return CB_OK;
        }
    if (!at->is_doubtful && at->has_digest[0] && at->has_digest[1] &&
        memcmp(at->digest[0], at->digest[1], sizeof(digest)) == 0)
        return fail_differs(at, seen, err);
    c->result->unreadable++;
    if (c->warnings++ < WARNINGS_MAX)
        cb_event_text(
            c->ctx, CB_EVENT_WARNING,
            "table %s at snapshot %lld: the number of rows is the same, but the old version "
            "misreads rows that were inlined before the table was altered",
            seen->table, (long long)seen->snapshot_id);
    return CB_OK;
}

static cb_code note_compared(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    comparing *c = arg;
    cb_expected *at = find(c->expect, seen);

    if (at == NULL) /* committed after the copy, by somebody else */
        return CB_OK;
    at->is_seen = true;
    if (seen->failure != NULL)
        return take_unreadable(c, at, seen, err);
    if (at->rows >= 0 && (uint64_t)at->rows != seen->rows)
        return fail_differs(at, seen, err);
    if (c->expect->has_engine)
        return compare_digests(c, at, seen, err);
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
    for (size_t i = 0; i < expect->count; i++) {
        out->tables += i == 0 || strcmp(expect->tables[i].table, expect->tables[i - 1].table) != 0;
        if (!expect->tables[i].is_seen)
            return cb_fail(err, CB_CORRUPT, "table %s is not there at snapshot %lld any more",
                           expect->tables[i].table, (long long)expect->tables[i].snapshot_id);
    }
    if (!expect->has_engine && out->unreadable > 0 && out->compared == 0)
        return cb_fail(err, CB_CORRUPT, "no table of the migrated lake can be read");
    return CB_OK;
}
