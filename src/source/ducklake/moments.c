/*
 * moments.c - the life of each table, cut where something of it begins or ends.
 *
 * A snapshot that was expired is no more, and what began in it is first seen at the next that
 * exists: every number is taken to the first existing snapshot that is not before it.
 */
#include "source/ducklake/moments.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "source/duckdb/engine.h"

/* A table under one name: a rename or a move to another schema begins another. */
typedef struct table_life {
    const char *schema, *name;
    int64_t table_id, begin, end; /* end INT64_MAX: it is there */
    bool is_altered;
} table_life;

typedef struct snapshot {
    int64_t id, schema_version;
} snapshot;

typedef struct reading {
    cb_lake_moments *out;
    table_life *lives; /* by table, then begin */
    size_t life_count, life_capacity;
    snapshot *snapshots; /* by id */
    size_t snapshot_count, snapshot_capacity;
    bool *begins; /* of each snapshot: a moment begins there */
    cb_lake_events events;
} reading;

static void reading_free(reading *r)
{
    free(r->lives);
    free(r->snapshots);
    free(r->begins);
    cb_lake_events_free(&r->events);
}

void cb_lake_moments_free(cb_lake_moments *moments)
{
    cb_arena_free(&moments->arena);
    free(moments->list);
    *moments = (cb_lake_moments){0};
}

/* ---- from the catalog ----------------------------------------------------------------------- */

static cb_code note_snapshot(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    snapshot *at;
    cb_code code = CB_OK;

    if (count < 2 || cells[0].text == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog has a snapshot without a number");
    if (r->snapshot_count == r->snapshot_capacity)
        code = cb_array_grow(&r->snapshots, &r->snapshot_capacity, sizeof(*r->snapshots), err);
    if (code != CB_OK)
        return code;
    at = &r->snapshots[r->snapshot_count];
    *at = (snapshot){.schema_version = -1};
    code = cb_parse_i64(cells[0].text, &at->id, err);
    if (code == CB_OK && cells[1].text != NULL)
        code = cb_parse_i64(cells[1].text, &at->schema_version, err);
    if (code == CB_OK)
        r->snapshot_count++;
    return code;
}

/* Thousands of tables in a few schemas, one after the other: a name as the one before is shared. */
static cb_code keep_name(reading *r, const char *text, const char *before, const char **out,
                         cb_error *err)
{
    if (before != NULL && strcmp(before, text) == 0) {
        *out = before;
        return CB_OK;
    }
    return cb_arena_text(&r->out->arena, text, out, err);
}

static cb_code take_bounds(const cb_lake_cell *cells, int64_t *begin, int64_t *end, cb_error *err)
{
    cb_code code = CB_OK;

    *begin = 0;
    *end = INT64_MAX;
    if (cells[0].text != NULL)
        code = cb_parse_i64(cells[0].text, begin, err);
    if (code == CB_OK && cells[1].text != NULL)
        code = cb_parse_i64(cells[1].text, end, err);
    return code;
}

static cb_code note_life(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    const table_life *before = r->life_count > 0 ? &r->lives[r->life_count - 1] : NULL;
    int64_t begin, end;
    table_life life;
    cb_code code = CB_OK;

    if (count < 7 || cells[0].text == NULL || cells[1].text == NULL || cells[2].text == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog has a table without a name");
    code = keep_name(r, cells[0].text, before != NULL ? before->schema : NULL, &life.schema, err);
    if (code == CB_OK)
        code = keep_name(r, cells[1].text, before != NULL ? before->name : NULL, &life.name, err);
    if (code == CB_OK)
        code = cb_parse_i64(cells[2].text, &life.table_id, err);
    if (code == CB_OK)
        code = take_bounds(cells + 3, &life.begin, &life.end, err);
    if (code == CB_OK)
        code = take_bounds(cells + 5, &begin, &end, err); /* of its schema's name */
    if (code != CB_OK)
        return code;
    life.begin = begin > life.begin ? begin : life.begin;
    life.end = end < life.end ? end : life.end;
    life.is_altered = false;
    if (life.begin >= life.end)
        return CB_OK;
    if (r->life_count == r->life_capacity)
        code = cb_array_grow(&r->lives, &r->life_capacity, sizeof(*r->lives), err);
    if (code == CB_OK)
        r->lives[r->life_count++] = life;
    return code;
}

static cb_code note_altered(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    size_t low = 0;
    size_t high = r->life_count;
    int64_t table_id;
    cb_code code;

    if (count < 1 || cells[0].text == NULL)
        return CB_OK;
    code = cb_parse_i64(cells[0].text, &table_id, err);
    while (code == CB_OK && low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->lives[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    for (; code == CB_OK && low < r->life_count && r->lives[low].table_id == table_id; low++)
        r->lives[low].is_altered = true;
    return code;
}

static int by_name(const void *a, const void *b)
{
    const table_life *x = *(const table_life *const *)a;
    const table_life *y = *(const table_life *const *)b;
    int order = strcmp(x->schema, y->schema);

    return order != 0 ? order : strcmp(x->name, y->name);
}

/* Two tables of one name, one after the other, count as one that was altered. */
static cb_code find_recreated(reading *r, cb_error *err)
{
    table_life **named = calloc(r->life_count + 1, sizeof(table_life *));

    if (named == NULL)
        return cb_fail_memory(err, r->life_count * sizeof(table_life *));
    for (size_t i = 0; i < r->life_count; i++)
        named[i] = &r->lives[i];
    if (r->life_count > 1)
        qsort(named, r->life_count, sizeof(table_life *), by_name);
    for (size_t i = 1; i < r->life_count; i++) {
        if (by_name(&named[i - 1], &named[i]) != 0)
            continue;
        named[i - 1]->is_altered = true;
        named[i]->is_altered = true;
    }
    free(named);
    return CB_OK;
}

static cb_code read_tables(reading *r, cb_lake_db *db, cb_error *err)
{
    cb_code code = cb_lake_db_query(
        db, "SELECT snapshot_id, schema_version FROM {snapshot} ORDER BY snapshot_id",
        note_snapshot, r, err);

    if (code == CB_OK)
        code = cb_lake_db_query(
            db,
            "SELECT c.schema_name, t.table_name, t.table_id, t.begin_snapshot, t.end_snapshot, "
            "c.begin_snapshot, c.end_snapshot FROM {table} t JOIN {schema} c ON c.schema_id = "
            "t.schema_id ORDER BY t.table_id, t.begin_snapshot, c.begin_snapshot",
            note_life, r, err);
    if (code == CB_OK)
        code = cb_lake_db_query(
            db,
            "SELECT DISTINCT c.table_id FROM {column} c JOIN (SELECT table_id, "
            "min(begin_snapshot) AS begin_snapshot FROM {table} GROUP BY table_id) t ON t.table_id "
            "= c.table_id WHERE c.end_snapshot IS NOT NULL OR c.begin_snapshot > t.begin_snapshot",
            note_altered, r, err);
    return code == CB_OK ? find_recreated(r, err) : code;
}

/* ---- cut ------------------------------------------------------------------------------------ */

/* The first snapshot that exists and is not before `id`. */
static size_t existing(const reading *r, int64_t id)
{
    size_t low = 0;
    size_t high = r->snapshot_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->snapshots[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first event, or span, of a table. */
static size_t first_event(const cb_lake_events *events, int64_t table_id)
{
    size_t low = 0;
    size_t high = events->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (events->list[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t first_span(const cb_lake_events *events, int64_t table_id)
{
    size_t low = 0;
    size_t high = events->span_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (events->spans[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void mark_begins(reading *r, const table_life *life, size_t first, size_t last)
{
    const cb_lake_events *events = &r->events;

    memset(r->begins + first, 0, last - first + 1);
    r->begins[first] = true;
    for (size_t i = first_event(events, life->table_id);
         i < events->count && events->list[i].table_id == life->table_id; i++) {
        size_t at = existing(r, events->list[i].at);

        if (at >= first && at <= last)
            r->begins[at] = true;
    }
    for (size_t i = first_span(events, life->table_id);
         i < events->span_count && events->spans[i].table_id == life->table_id; i++) {
        size_t at = existing(r, events->spans[i].from);

        for (at = at > first ? at : first; at <= last && r->snapshots[at].id <= events->spans[i].to;
             at++)
            r->begins[at] = true;
    }
}

static bool is_split_at(const reading *r, int64_t table_id, int64_t snapshot_id)
{
    const cb_lake_events *events = &r->events;

    for (size_t i = first_span(events, table_id);
         i < events->span_count && events->spans[i].table_id == table_id &&
         events->spans[i].from <= snapshot_id;
         i++)
        if (snapshot_id < events->spans[i].to)
            return true;
    return false;
}

static cb_code add_moment(reading *r, const cb_lake_moment *moment, cb_error *err)
{
    cb_lake_moments *out = r->out;
    cb_code code = CB_OK;

    if (out->count == out->capacity)
        code = cb_array_grow(&out->list, &out->capacity, sizeof(*out->list), err);
    if (code == CB_OK)
        out->list[out->count++] = *moment;
    return code;
}

static cb_code cut_life(reading *r, const table_life *life, bool all, cb_error *err)
{
    const cb_lake_events *events = &r->events;
    size_t first = existing(r, life->begin);
    size_t end = existing(r, life->end);
    size_t event = first_event(events, life->table_id);
    cb_lake_event sum = {0};
    cb_lake_moment moment = {.schema = life->schema,
                             .name = life->name,
                             .table_id = life->table_id,
                             .is_altered = life->is_altered};
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code;

    if (first >= end || (!all && end < r->snapshot_count))
        return CB_OK;
    code = cb_duck_compose(
        &name, (cb_duck_piece[]){{'"', life->schema}, {0, "."}, {'"', life->name}, {0, NULL}}, err);
    if (code == CB_OK)
        code = cb_arena_text(&r->out->arena, (const char *)name.data, &moment.table, err);
    mark_begins(r, life, first, end - 1);
    for (size_t i = first; code == CB_OK && i < end; i++) {
        if (r->begins[i])
            moment.from = r->snapshots[i].id;
        if (i + 1 < end && !r->begins[i + 1])
            continue;
        moment.to = r->snapshots[i].id;
        moment.schema_version = r->snapshots[i].schema_version;
        for (; event < events->count && events->list[event].table_id == life->table_id &&
               events->list[event].at <= moment.to;
             event++) {
            sum.rows += events->list[event].rows;
            sum.unknown += events->list[event].unknown;
        }
        moment.rows = sum.unknown > 0 ? -1 : sum.rows;
        moment.is_split = is_split_at(r, life->table_id, moment.to);
        if (all || i + 1 == end)
            code = add_moment(r, &moment, err);
    }
    r->out->pairs += all ? end - first : 1;
    return code;
}

static int by_reading(const void *a, const void *b)
{
    const cb_lake_moment *x = a;
    const cb_lake_moment *y = b;

    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return strcmp(x->table, y->table);
}

cb_code cb_lake_moments_read(cb_lake_db *db, const cb_lake_schema *schema, bool all,
                             cb_lake_moments *out, cb_error *err)
{
    CB_CLEANUP(reading_free) reading r = {.out = out};
    cb_code code = read_tables(&r, db, err);

    if (code == CB_OK)
        code = cb_lake_events_read(db, schema, &r.events, err);
    if (code != CB_OK)
        return cb_context(err, "when the tables changed");
    r.begins = calloc(r.snapshot_count + 1, sizeof(*r.begins));
    if (r.begins == NULL)
        return cb_fail_memory(err, r.snapshot_count);
    out->snapshots = all || r.snapshot_count == 0 ? r.snapshot_count : 1;
    for (size_t i = 0; code == CB_OK && i < r.life_count; i++) {
        size_t before = out->count;
        bool is_new = before == 0 || out->list[before - 1].table_id != r.lives[i].table_id;

        code = cut_life(&r, &r.lives[i], all, err);
        out->tables += is_new && out->count > before;
    }
    if (out->count > 1)
        qsort(out->list, out->count, sizeof(*out->list), by_reading);
    return code;
}
