/*
 * check.c - is a live DuckDB file sound? Header, free list, every used block, the log.
 *
 * Blocks are read as a hot copy reads them, by all workers, and judged with the same care: a block
 * that does not verify while the file moves on is read again by the next pass. Unlike a copy this
 * needs no confirmed moment; it ends as soon as no block is in doubt.
 */
#include "source/duckdb/duckdb_internal.h"

#include "source/duckdb/hot.h"

#include "base/pool.h"

#include <stdio.h>

enum { DAMAGE_LISTED_MAX = 1000 };

#define DEADLINE_US ((int64_t)120 * 1000000)

typedef struct check {
    cb_ctx *ctx;
    cb_check_report *report;
    char path[CB_PATH_MAX];
    cb_hot hot;
    bool has_hot;
    cb_pool_buffers buffers;
} check;

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    check *c = arg;
    const uint64_t *block = data;
    cb_buf *buffer = &c->buffers.of[worker];
    uint32_t size = c->hot.now.block_bytes;
    uint64_t offset = cb_duckdb_block_offset(*block, size);
    uint64_t end = cb_hot_size(&c->hot);
    cb_code code;

    if (end - offset < size)
        size = (uint32_t)(end - offset);
    buffer->size = 0;
    code = cb_hot_read_block(&c->hot, *block, size, buffer, err);
    if (code == CB_RETRY) { /* noted as bad; the next pass or the judgement has the last word */
        cb_error_clear(err);
        return CB_OK;
    }
    return code;
}

static cb_code read_blocks(check *c, cb_pool *pool, cb_error *err)
{
    const cb_bits *todo = &c->hot.todo;
    uint64_t total = cb_bits_count(todo) * c->hot.now.block_bytes;
    uint64_t done = 0;
    cb_code code = CB_OK;

    for (uint64_t i = cb_bits_next(todo, 0); code == CB_OK && i < todo->bound;
         i = cb_bits_next(todo, i + 1)) {
        code = cb_check_cancel(c->ctx, err);
        if (code == CB_OK)
            code = cb_pool_submit(pool, &i, err);
        done += c->hot.now.block_bytes;
        cb_event_progress(c->ctx, done, total, c->hot.passes);
    }
    return code == CB_OK ? cb_pool_drain(pool, err) : code;
}

static bool is_in_doubt(const check *c)
{
    return cb_bits_next(&c->hot.bad, 0) < c->hot.bad.bound;
}

/* Header, free list or log are wrong: that is the finding, not a failure of ours. */
static cb_code note_unsound(check *c, cb_error *err)
{
    char what[CB_MESSAGE_MAX];
    bool is_log = c->hot.now.verdict == CB_SIGHT_READY || c->hot.now.verdict == CB_SIGHT_CRASHED;

    snprintf(what, sizeof(what), "%s", is_log ? err->message : c->hot.now.what);
    cb_error_clear(err);
    return cb_check_damage(c->report, err, is_log ? "log" : "database", is_log ? "tail" : "header",
                           "%s", what);
}

static cb_code passes(check *c, cb_pool *pool, bool *is_done, cb_error *err)
{
    cb_hot_outcome outcome = CB_HOT_AGAIN;
    cb_code code;

    *is_done = true;
    c->hot.allow_damage = false;
    code = cb_hot_look(&c->hot, err);
    if (code == CB_CORRUPT)
        return note_unsound(c, err);
    c->hot.allow_damage = true;
    if (code == CB_OK)
        code = read_blocks(c, pool, err);
    if (code != CB_OK || !is_in_doubt(c))
        return code;
    code = cb_hot_confirm(&c->hot, &outcome, err);
    /* Confirmed, and every block that was bad is known as damaged, torn or doubtful by now. */
    *is_done = outcome == CB_HOT_REREAD || outcome == CB_HOT_CONFIRMED;
    return code;
}

static cb_code list_damage(check *c, cb_error *err)
{
    const cb_bits *bad = &c->hot.accepted;
    uint64_t listed = 0;
    cb_code code = CB_OK;

    for (uint64_t i = cb_bits_next(bad, 0); code == CB_OK && i < bad->bound;
         i = cb_bits_next(bad, i + 1)) {
        char number[24];

        snprintf(number, sizeof(number), "%llu", (unsigned long long)i);
        if (cb_bits_has(&c->hot.torn, i)) {
            c->report->bad_blocks++;
            code = cb_check_note(c->report, err,
                                 "a killed process left a torn metadata block, %s: DuckDB refuses "
                                 "the file; a backup of it opens after restore --mend",
                                 number);
        } else if (cb_bits_has(&c->hot.doubtful, i)) {
            code = cb_check_note(c->report, err,
                                 "block %s counts as used and was never written: possibly nothing "
                                 "refers to it, which only the engine can tell",
                                 number);
        } else {
            c->report->bad_blocks++;
            if (listed++ < DAMAGE_LISTED_MAX)
                code = cb_check_damage(c->report, err, "database", number,
                                       "the block's checksum is wrong, or it is not there");
        }
    }
    return code;
}

static cb_code describe(check *c, cb_error *err)
{
    const cb_duckdb_sight *now = &c->hot.now;
    cb_check_report *report = c->report;
    char version[64];
    cb_code code = CB_OK;

    report->open_by = now->lock.held ? now->lock.pid : 0;
    report->commits_in_log = now->log.commits;
    if (now->head.main_ok)
        code =
            cb_arena_format(&report->arena, &report->version, err, "%s, created by DuckDB %s",
                            cb_duckdb_version_text(&now->head, version),
                            now->head.main.library[0] != '\0' ? now->head.main.library : "unknown");
    if (now->verdict != CB_SIGHT_READY && now->verdict != CB_SIGHT_CRASHED)
        return code;
    if (!now->opaque) {
        report->blocks = now->head.header.block_count;
        report->used_blocks = now->blocks.used_count;
        report->free_blocks = now->blocks.free_count;
    } else if (code == CB_OK) {
        code = cb_check_note(report, err,
                             "the file is encrypted: without its key only the main header could be "
                             "checked");
    }
    if (code == CB_OK && now->log_is_foreign)
        code = cb_check_note(report, err,
                             "the log beside it belongs to another database, or to another state "
                             "of this one: DuckDB refuses to open the pair");
    else if (code == CB_OK && now->verdict == CB_SIGHT_CRASHED)
        code = cb_check_note(report, err,
                             "a process was killed during a checkpoint: the next read-write open "
                             "finishes it");
    return code;
}

static cb_code run(check *c, const char *path, cb_error *err)
{
    cb_pool *pool = NULL;
    bool is_done = false;
    cb_code code;

    code = cb_duckdb_path(path, c->path, err);
    if (code == CB_OK) {
        code = cb_hot_begin(c->ctx, c->path, NULL, DEADLINE_US, false, &c->hot, err);
        c->has_hot = true;
        c->hot.is_quiet = true;
    }
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(c->ctx), 4 * (size_t)cb_jobs(c->ctx), sizeof(uint64_t), work, c,
                           &pool, err);
    if (code == CB_OK)
        cb_event_text(c->ctx, CB_EVENT_PHASE, "checking");
    while (code == CB_OK && !is_done)
        code = passes(c, pool, &is_done, err);
    cb_pool_free(pool);
    if (code == CB_OK)
        code = list_damage(c, err);
    return code == CB_OK ? describe(c, err) : code;
}

cb_code cb_duckdb_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    check *c = calloc(1, sizeof(*c));
    cb_code code;

    if (c == NULL)
        return cb_fail_memory(err, sizeof(*c));
    c->ctx = ctx;
    c->report = report;
    code = run(c, path, err);
    if (c->has_hot)
        cb_hot_end(&c->hot);
    cb_pool_buffers_free(&c->buffers);
    free(c);
    return code;
}
