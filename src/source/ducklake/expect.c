/*
 * expect.c - one lake read by two engines, or by one engine and the catalog's own arithmetic.
 */
#include "source/ducklake/expect.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/hash.h"

enum { WARNINGS_MAX = 10 };

void cb_expect_free(cb_expect *expect)
{
    cb_lake_moments_free(&expect->moments);
    free(expect->tables);
    expect->tables = NULL;
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
    for (size_t i = 0; code == CB_OK && i < expect->moments.count; i++)
        if (expect->moments.list[i].table_id == table_id)
            expect->tables[i].is_doubtful = true;
    return code;
}

/* Inlined rows of a table that was altered: 0.3 and 0.4 read those of an older snapshot with the
   names and defaults of another. */
static cb_code find_doubtful(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out,
                             cb_error *err)
{
    if (cb_lake_schema_find(schema, "ducklake_inlined_data_tables") == NULL)
        return CB_OK;
    return cb_lake_db_query(
        db,
        "SELECT DISTINCT i.table_id FROM {inlined_data_tables} i JOIN {column} c ON c.table_id = "
        "i.table_id WHERE c.end_snapshot IS NOT NULL OR c.begin_snapshot > (SELECT "
        "min(t.begin_snapshot) FROM {table} t WHERE t.table_id = i.table_id)",
        note_doubtful, out, err);
}

/* ---- what begins and ends when -------------------------------------------------------------- */

/* Of which table of the catalog, by which number. */
static const struct {
    const char *table, *id, *what;
} frames[CB_EXPECT_FRAMES] = {
    {"table", "table_id", "tables"},
    {"data_file", "data_file_id", "data files"},
    {"delete_file", "delete_file_id", "delete files"},
};

/* Sums that all engines make alike, in which no two rows can change places. */
static void frame_sql(const cb_expect *expect, size_t i, char out[1000])
{
    long long newest = (long long)expect->newest;

    snprintf(out, 1000,
             "SELECT CAST(count(*) AS VARCHAR) || ' ' || CAST(COALESCE(sum((f.%s * 1000003 + "
             "f.table_id * 7919 + f.begin_snapshot * 31) %% 2147483647), 0) AS VARCHAR) || ' ' || "
             "CAST(COALESCE(sum(CASE WHEN f.end_snapshot > %lld THEN 0 ELSE (f.%s * 9176 + "
             "f.end_snapshot * 65537) %% 2147483647 END), 0) AS VARCHAR) AS path FROM {%s} f WHERE "
             "f.begin_snapshot <= %lld",
             frames[i].id, newest, frames[i].id, frames[i].table, newest);
}

static cb_code keep_frame(char out[96], const char *text, cb_error *err)
{
    if (text == NULL || snprintf(out, 96, "%s", text) >= 96)
        return cb_fail(err, CB_CORRUPT, "the catalog's rows cannot be counted");
    return CB_OK;
}

static cb_code read_frames(cb_lake_db *db, cb_expect *out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_code code =
        cb_lake_db_number(db, "SELECT max(snapshot_id) FROM {snapshot}", -1, &out->newest, err);

    for (size_t i = 0; code == CB_OK && i < CB_EXPECT_FRAMES; i++) {
        const char *text = NULL;
        char sql[1000];

        frame_sql(out, i, sql);
        code = cb_lake_db_text(db, sql, &arena, &text, err);
        if (code == CB_OK)
            code = keep_frame(out->frames[i], text, err);
    }
    return code;
}

static cb_code note_frame(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    return keep_frame(arg, count > 0 ? cells[0] : NULL, err);
}

static cb_code note_newest(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    return count < 1 || cells[0] == NULL ? CB_OK : cb_parse_i64(cells[0], arg, err);
}

static cb_code compare_frames(const cb_expect *expect, cb_lake_engine *engine, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf ask = {0};
    int64_t newest = -1;
    cb_code code =
        cb_lake_engine_catalog_sql(engine, &ask, "SELECT max(snapshot_id) FROM {snapshot}", err);

    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)ask.data, note_newest, &newest, err);
    if (code == CB_OK && newest < expect->newest)
        return cb_fail(err, CB_CORRUPT, "snapshot %lld is not there any more",
                       (long long)expect->newest);
    if (newest > expect->newest) /* somebody wrote meanwhile: a commit may take such rows away */
        return code;

    for (size_t i = 0; code == CB_OK && i < CB_EXPECT_FRAMES; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf text = {0};
        char sql[1000];
        char now[96] = "";

        frame_sql(expect, i, sql);
        code = cb_lake_engine_catalog_sql(engine, &text, sql, err);
        if (code == CB_OK)
            code = cb_lake_engine_query(engine, (const char *)text.data, note_frame, now, err);
        if (code == CB_OK && strcmp(now, expect->frames[i]) != 0)
            code = cb_fail(err, CB_CORRUPT,
                           "the catalog's %s begin and end at other snapshots after the migration",
                           frames[i].what);
    }
    return code;
}

cb_code cb_expect_read(cb_lake_db *db, const cb_lake_schema *schema, cb_expect *out, cb_error *err)
{
    cb_code code = cb_lake_moments_read(db, schema, true, &out->moments, err);

    if (code == CB_OK)
        out->tables = calloc(out->moments.count + 1, sizeof(*out->tables));
    if (code == CB_OK && out->tables == NULL)
        return cb_fail_memory(err, out->moments.count * sizeof(*out->tables));
    if (code == CB_OK)
        code = find_doubtful(db, schema, out, err);
    if (code == CB_OK)
        code = read_frames(db, out, err);
    return code == CB_OK ? CB_OK : cb_context(err, "the rows that the catalog expects");
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
    const size_t *of; /* moments of a shorter list; NULL: of all */
    unsigned pass;
} old_reading;

static cb_code note_read(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    const old_reading *reading = arg;
    cb_expected *at =
        &reading->expect->tables[reading->of != NULL ? reading->of[seen->moment] : seen->moment];

    (void)err;
    if (seen->failure != NULL)
        return CB_OK;
    at->has_digest[reading->pass] = true;
    digest_of(seen->digest, at->digest[reading->pass]);
    return CB_OK;
}

/* The tables that were never altered are the same however they are come to. */
static cb_code read_altered(old_reading *reading, cb_lake_engine *engine, cb_error *err)
{
    cb_expect *expect = reading->expect;
    const cb_lake_moments *all = &expect->moments;
    cb_lake_moment *list = calloc(all->count + 1, sizeof(*list));
    size_t *of = calloc(all->count + 1, sizeof(*of));
    cb_lake_moments altered = {.list = list};
    cb_code code = CB_OK;

    if (list == NULL || of == NULL)
        code = cb_fail_memory(err, all->count * sizeof(*list));
    for (size_t i = 0; code == CB_OK && i < all->count; i++) {
        cb_expected *at = &expect->tables[i];

        if (all->list[i].is_altered) {
            of[altered.count] = i;
            list[altered.count++] = all->list[i];
            continue;
        }
        at->has_digest[1] = at->has_digest[0];
        memcpy(at->digest[1], at->digest[0], sizeof(at->digest[1]));
    }
    reading->of = of;
    reading->pass = 1;
    cb_lake_engine_keep_attached(engine, true);
    if (code == CB_OK)
        code = cb_lake_engine_read_all(engine, &altered, note_read, reading, err);
    free(list);
    free(of);
    return code;
}

cb_code cb_expect_add(cb_expect *expect, cb_lake_engine *engine, cb_error *err)
{
    old_reading reading = {.expect = expect};
    cb_code code;

    expect->has_engine = true;
    code = cb_lake_engine_read_all(engine, &expect->moments, note_read, &reading, err);
    return code == CB_OK ? read_altered(&reading, engine, err) : code;
}

/* ---- compare -------------------------------------------------------------------------------- */

typedef struct comparing {
    cb_ctx *ctx;
    cb_expect *expect;
    cb_expect_result *result;
    uint64_t warnings;
} comparing;

static cb_code take_unreadable(comparing *c, const cb_lake_moment *moment, const cb_expected *at,
                               const cb_lake_fingerprint *seen, cb_error *err)
{
    if (at->has_digest[0] || at->has_digest[1])
        return cb_fail(err, CB_CORRUPT,
                       "table %s at snapshot %lld could be read before and cannot now: %s",
                       moment->table, (long long)moment->to, seen->failure);
    c->result->unreadable++;
    if (c->warnings++ < WARNINGS_MAX)
        cb_event_text(c->ctx, CB_EVENT_WARNING, "table %s at snapshot %lld is not compared: %s",
                      moment->table, (long long)moment->to, seen->failure);
    return CB_OK;
}

static cb_code fail_differs(const cb_lake_moment *moment, const cb_lake_fingerprint *seen,
                            cb_error *err)
{
    if (moment->rows >= 0 && (uint64_t)moment->rows != seen->rows)
        cb_fail(err, CB_CORRUPT,
                "table %s at snapshot %lld has %llu rows after the migration, %lld before",
                moment->table, (long long)moment->to, (unsigned long long)seen->rows,
                (long long)moment->rows);
    else
        cb_fail(err, CB_CORRUPT, "table %s at snapshot %lld has other contents after the migration",
                moment->table, (long long)moment->to);
    if (moment->is_split)
        cb_hint(err,
                "Files of that table were merged over several snapshots, and DuckDB's migration "
                "does not keep which rows are whose. When nobody needs to go back to those "
                "snapshots, expire them with the old version (ducklake_expire_snapshots), then "
                "migrate.");
    return err->code;
}

/* What the old engine reads twice alike is what has to come; what it reads now so, now otherwise,
   or not at all, it could not read. */
static cb_code compare_digests(comparing *c, const cb_lake_moment *moment, const cb_expected *at,
                               const cb_lake_fingerprint *seen, cb_error *err)
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
        return fail_differs(moment, seen, err);
    c->result->unreadable++;
    if (c->warnings++ < WARNINGS_MAX)
        cb_event_text(
            c->ctx, CB_EVENT_WARNING,
            "table %s at snapshot %lld: the number of rows is the same, but the old version "
            "misreads rows that were inlined before the table was altered",
            moment->table, (long long)moment->to);
    return CB_OK;
}

static cb_code note_compared(void *arg, const cb_lake_fingerprint *seen, cb_error *err)
{
    comparing *c = arg;
    const cb_lake_moment *moment = &c->expect->moments.list[seen->moment];
    const cb_expected *at = &c->expect->tables[seen->moment];

    if (seen->is_missing)
        return cb_fail(err, CB_CORRUPT, "table %s is not there at snapshot %lld any more",
                       moment->table, (long long)moment->to);
    if (seen->failure != NULL)
        return take_unreadable(c, moment, at, seen, err);
    if (moment->rows >= 0 && (uint64_t)moment->rows != seen->rows)
        return fail_differs(moment, seen, err);
    if (c->expect->has_engine)
        return compare_digests(c, moment, at, seen, err);
    c->result->compared++;
    return CB_OK;
}

cb_code cb_expect_compare(cb_ctx *ctx, cb_expect *expect, cb_lake_engine *engine,
                          cb_expect_result *out, cb_error *err)
{
    comparing c = {.ctx = ctx, .expect = expect, .result = out};
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = compare_frames(expect, engine, err);
    if (code == CB_OK)
        code = cb_lake_engine_read_all(engine, &expect->moments, note_compared, &c, err);
    if (code != CB_OK)
        return code;
    if (c.warnings > WARNINGS_MAX)
        cb_event_text(ctx, CB_EVENT_WARNING, "and %llu more like that",
                      (unsigned long long)(c.warnings - WARNINGS_MAX));
    if (!expect->has_engine && out->unreadable > 0 && out->compared == 0)
        return cb_fail(err, CB_CORRUPT, "no table of the migrated lake can be read");
    return CB_OK;
}
