/*
 * salvage.c - what a restore had to leave out, in words that help: which item, which bytes, and for
 * a DuckDB file which blocks and whose.
 *
 * The blocks are zeros in the restored file, and DuckDB's checksums refuse them: a query that needs
 * one fails and never reads something else. Which table that will be is asked of the engine, as far
 * as what is left of the file lets it tell.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "source/duckdb/duckdb.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS_MAX = 100000, TABLES_SHOWN = 8 };

void cb_lost_init(cb_lost *lost)
{
    memset(lost, 0, sizeof(*lost));
    pthread_mutex_init(&lost->lock, NULL);
}

void cb_lost_free(cb_lost *lost)
{
    pthread_mutex_destroy(&lost->lock);
    free(lost->ranges);
    cb_arena_free(&lost->arena);
}

/* ---- neighbours -------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const cb_lost_range *left = a;
    const cb_lost_range *right = b;
    int order = cb_item_path_compare(left->item, right->item);

    if (order != 0)
        return order;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* Ranges that touch become one; a part of the item table stays by itself. */
static cb_code join_ranges(const cb_lost *lost, cb_lost_range **out, size_t *count, cb_error *err)
{
    cb_lost_range *ranges = calloc(lost->count + 1, sizeof(*ranges));
    size_t used = 0;

    if (ranges == NULL)
        return cb_fail_memory(err, lost->count * sizeof(*ranges));
    if (lost->count > 0)
        memcpy(ranges, lost->ranges, lost->count * sizeof(*ranges));
    qsort(ranges, lost->count, sizeof(*ranges), by_place);
    for (size_t i = 0; i < lost->count; i++) {
        cb_lost_range *last = used > 0 ? &ranges[used - 1] : NULL;

        if (last != NULL && ranges[i].length > 0 && strcmp(last->item, ranges[i].item) == 0 &&
            last->offset + last->length == ranges[i].offset) {
            last->length += ranges[i].length;
            last->chunks++;
        } else {
            ranges[used++] = ranges[i];
        }
    }
    *out = ranges;
    *count = used;
    return CB_OK;
}

/* ---- whose blocks ------------------------------------------------------------------------ */

typedef struct owner {
    uint64_t block;
    const char *table; /* in the lost list's arena, equal texts in a row */
} owner;

typedef struct owners {
    cb_arena *arena;
    owner *list;
    size_t count, capacity;
    bool is_known; /* the engine could tell */
} owners;

static cb_code note_owner(void *arg, const char *table, uint64_t block, cb_error *err)
{
    owners *o = arg;
    const char *last = o->count > 0 ? o->list[o->count - 1].table : NULL;
    cb_code code = cb_array_reserve(&o->list, &o->capacity, o->count + 1, sizeof(*o->list), err);

    if (code != CB_OK)
        return code;
    o->list[o->count].block = block;
    o->list[o->count].table = last;
    if (last == NULL || strcmp(last, table) != 0)
        code = cb_arena_text(o->arena, table, &o->list[o->count].table, err);
    if (code == CB_OK)
        o->count++;
    return code;
}

static bool has_blocks(const cb_lost_range *range)
{
    return range->kind == CB_ITEM_DATABASE && range->head_bytes > 0 && range->length > 0 &&
           range->offset >= range->head_bytes;
}

static uint64_t first_block(const cb_lost_range *range)
{
    return (range->offset - range->head_bytes) / range->chunk_bytes;
}

static uint64_t last_block(const cb_lost_range *range)
{
    return (range->offset + range->length - 1 - range->head_bytes) / range->chunk_bytes;
}

/* What it cannot tell is no failure: the numbers of the blocks are told in any case. */
static void ask_engine(cb_ctx *ctx, const char *path, owners *o)
{
    cb_error ignored = {0};

    cb_event_text(ctx, CB_EVENT_PHASE, "asking the engine which tables are hit");
    o->is_known = cb_duckdb_owners(ctx, path, note_owner, o, &ignored) == CB_OK;
    if (!o->is_known)
        cb_event_text(ctx, CB_EVENT_DEBUG, "the engine cannot tell: %s", ignored.message);
}

static cb_code add_tables(const cb_lost_range *range, const owners *o, cb_buf *text, cb_error *err)
{
    const char *shown[TABLES_SHOWN];
    size_t count = 0;
    bool is_cut = false;
    cb_code code = CB_OK;

    for (size_t i = 0; i < o->count; i++) {
        bool is_known = false;

        if (o->list[i].block < first_block(range) || o->list[i].block > last_block(range))
            continue;
        for (size_t k = 0; k < count; k++)
            is_known = is_known || strcmp(shown[k], o->list[i].table) == 0;
        if (!is_known && count < TABLES_SHOWN)
            shown[count++] = o->list[i].table;
        else
            is_cut = is_cut || !is_known;
    }
    if (count == 0 && o->is_known)
        return cb_buf_format(text, err, "; no table's data: catalog, index or statistics");
    for (size_t k = 0; code == CB_OK && k < count; k++)
        code = cb_buf_format(text, err, "%s%s", k == 0 ? "; data of table " : ", ", shown[k]);
    return code == CB_OK && is_cut ? cb_buf_format(text, err, ", ...") : code;
}

/* ---- words ------------------------------------------------------------------------------- */

static cb_code describe(const cb_lost_range *range, const owners *o, cb_buf *text, cb_error *err)
{
    cb_code code;

    text->size = 0;
    if (range->length == 0)
        return cb_buf_format(text, err, "items that stood in a part of it are not known: %s",
                             range->reason);
    code = cb_buf_format(text, err, "bytes %llu to %llu", (unsigned long long)range->offset,
                         (unsigned long long)(range->offset + range->length - 1));
    if (code == CB_OK && has_blocks(range)) {
        code =
            first_block(range) == last_block(range)
                ? cb_buf_format(text, err, " (block %llu", (unsigned long long)first_block(range))
                : cb_buf_format(text, err, " (blocks %llu to %llu",
                                (unsigned long long)first_block(range),
                                (unsigned long long)last_block(range));
        if (code == CB_OK)
            code = add_tables(range, o, text, err);
        if (code == CB_OK)
            code = cb_buf_format(text, err, ")");
    } else if (code == CB_OK && range->head_bytes > 0) {
        code = cb_buf_format(text, err, " (the header: no engine opens the file)");
    }
    if (code == CB_OK)
        code = cb_buf_format(text, err, ": %s", range->reason);
    return code;
}

static cb_code fill(const cb_lost_range *range, const owners *o, const char *backup,
                    cb_arena *arena, cb_damage *out, cb_error *err)
{
    static const cb_hash none;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    char hex[2 * CB_HASH_BYTES + 1] = "";
    cb_code code = describe(range, o, &text, err);

    if (!cb_hash_equal(&range->chunk, &none))
        cb_hex(range->chunk.bytes, sizeof(range->chunk.bytes), hex);
    if (code == CB_OK)
        code = cb_arena_text(arena, backup, &out->backup, err);
    if (code == CB_OK)
        code = cb_arena_text(arena, range->item, &out->item, err);
    if (code == CB_OK)
        code = cb_arena_text(arena, hex, &out->chunk, err);
    if (code == CB_OK)
        code = cb_arena_text_n(arena, text.data, text.size, &out->reason, err);
    return code;
}

cb_code cb_salvage_describe(cb_ctx *ctx, const cb_lost *lost, const char *backup, const char *kind,
                            const char *path, cb_arena *arena, const cb_damage **out, size_t *count,
                            cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_lost_range *ranges = NULL;
    owners o = {.arena = arena};
    cb_damage *damage = NULL;
    bool any_blocks = false;
    cb_code code = join_ranges(lost, &ranges, count, err);

    for (size_t i = 0; code == CB_OK && i < *count; i++)
        any_blocks = any_blocks || has_blocks(&ranges[i]);
    if (any_blocks && strcmp(kind, cb_duckdb_engine.kind) == 0)
        ask_engine(ctx, path, &o);
    if (code == CB_OK)
        code = cb_arena_alloc(arena, (*count + 1) * sizeof(*damage), &damage, err);
    for (size_t i = 0; code == CB_OK && i < *count; i++)
        code = fill(&ranges[i], &o, backup, arena, &damage[i], err);
    *out = damage;
    free(o.list);
    return code;
}
