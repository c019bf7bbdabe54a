/*
 * hot.c - looking, planning and reading of a pass; confirm.c decides about it.
 *
 * The delta rule (exact, along one watched history): between header N and header N+1 change
 *   used(N+1) - used(N), the metadata blocks of N+1, and the tail of N.
 * A metadata block is rewritten in place; a tail block of N (above its highest free id) may have
 * counted as used before anything was written there. All other blocks that N and N+1 both use are
 * the same. A skipped header, another file or another history: all blocks are read.
 */
#include "source/duckdb/hot.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>

enum {
    READ_TRIES = 4,
    READ_PAUSE_US = 1000,
    LOOK_PAUSE_MIN_US = 2000,
    LOOK_PAUSE_MAX_US = 50000,
    UNSOUND_US = 3000000, /* so long may a thing that does not verify stay so while nothing moves */
    UNSOUND_IDLE_US = 500000,
    TELL_WAIT_US = 2000000,
    GONE_US = 3000000, /* a file may be exchanged by moving the old one away first */
    BAD_MANY = 32,
};

#define DEFAULT_DEADLINE_US ((int64_t)600 * 1000000)

cb_code cb_hot_begin(cb_ctx *ctx, const char *path, const char *snapshot, int64_t deadline_us,
                     bool allow_damage, cb_hot *out, cb_error *err)
{
    memset(out, 0, sizeof(*out));
    pthread_mutex_init(&out->lock, NULL);
    out->ctx = ctx;
    out->allow_damage = allow_damage;
    out->deadline_us = deadline_us > 0 ? deadline_us : DEFAULT_DEADLINE_US;
    out->began_us = cb_monotonic_us();
    out->give_up_us = out->began_us + out->deadline_us;
    out->first_read_us = cb_now_us(ctx);
    out->confirmed = "";
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        out->watch.fds[i] = -1;
    if (cb_duckdb_watch_open(ctx, snapshot != NULL ? snapshot : path, &out->watch, err) != CB_OK)
        return err->code;
    out->watch.exclusive = snapshot != NULL;
    return CB_OK;
}

void cb_hot_end(cb_hot *hot)
{
    cb_duckdb_watch_close(&hot->watch);
    cb_duckdb_sight_free(&hot->now);
    cb_duckdb_blocks_free(&hot->previous_blocks);
    cb_bits_free(&hot->wanted);
    cb_bits_free(&hot->todo);
    cb_bits_free(&hot->stored);
    cb_bits_free(&hot->verify);
    cb_bits_free(&hot->bad);
    cb_bits_free(&hot->accepted);
    cb_bits_free(&hot->torn);
    cb_bits_free(&hot->doubtful);
    free(hot->prints);
    pthread_mutex_destroy(&hot->lock);
}

/* ---- plan --------------------------------------------------------------------------------- */

static uint64_t blocks_of_file(const cb_duckdb_sight *s)
{
    uint64_t size = s->marks[CB_DUCKDB_DATABASE].size_bytes;

    if (!s->opaque && s->verdict != CB_SIGHT_CRASHED)
        return s->file_blocks;
    return size <= CB_DUCKDB_HEAD ? 0
                                  : (size - CB_DUCKDB_HEAD + s->block_bytes - 1) / s->block_bytes;
}

static void add_all(cb_bits *into, const cb_bits *from)
{
    uint64_t words = (into->bound < from->bound ? into->bound : from->bound) / 64;

    for (uint64_t i = 0; i < words; i++)
        into->words[i] |= from->words[i];
    for (uint64_t i = cb_bits_next(from, words * 64); i < from->bound;
         i = cb_bits_next(from, i + 1))
        cb_bits_add(into, i);
}

static cb_code make_room(cb_hot *h, uint64_t bound, cb_error *err)
{
    cb_bits *all[] = {&h->wanted, &h->todo,     &h->stored, &h->verify,
                      &h->bad,    &h->accepted, &h->torn,   &h->doubtful};

    for (size_t i = 0; i < CB_LENGTH(all); i++) {
        cb_code code = cb_bits_reserve(all[i], bound, err);

        if (code != CB_OK)
            return code;
    }
    if (!h->now.opaque)
        return CB_OK;
    return cb_array_reserve(&h->prints, &h->print_capacity, (size_t)bound + 1, sizeof(*h->prints),
                            err);
}

/* Everything that the copy must have, and what of it must verify. */
static void plan_wanted(cb_hot *h)
{
    const cb_duckdb_sight *s = &h->now;
    uint64_t all = blocks_of_file(s);

    cb_bits_clear(&h->wanted);
    cb_bits_clear(&h->verify);
    if (s->opaque || s->verdict == CB_SIGHT_CRASHED || s->log.names_unknown)
        cb_bits_fill(&h->wanted, all);
    add_all(&h->wanted, &s->blocks.used);
    add_all(&h->verify, &s->blocks.used);
    if (s->verdict == CB_SIGHT_READY && s->log.names_blocks) {
        add_all(&h->wanted, &s->log.named);
        if (!s->log.names_unknown)
            add_all(&h->verify, &s->log.named);
    }
    h->block_end = 0;
    for (uint64_t i = cb_bits_next(&h->wanted, 0); i < h->wanted.bound;
         i = cb_bits_next(&h->wanted, i + 1))
        h->block_end = i + 1;
}

typedef enum history {
    HISTORY_BROKEN,
    HISTORY_SAME, /* the very same header */
    HISTORY_NEXT, /* one checkpoint further */
} history;

static int64_t writer_of(const cb_duckdb_sight *s)
{
    return s->lock.held && s->lock.is_writer && s->lock.pid > 0 ? s->lock.pid : 0;
}

/*
 * One history is what one writer did all the while. When the lock was free in between, anything
 * may have happened: a restore in place can leave every header byte as it was.
 */
static history history_of(const cb_hot *h)
{
    const cb_duckdb_sight *s = &h->now;

    if (!h->has_previous || writer_of(s) == 0 || writer_of(s) != h->previous_writer || s->opaque ||
        s->verdict == CB_SIGHT_CRASHED ||
        !cb_duckdb_mark_is(&h->previous_marks[CB_DUCKDB_DATABASE], &s->marks[CB_DUCKDB_DATABASE]) ||
        memcmp(h->previous_pages, s->pages, CB_DUCKDB_PAGE) != 0)
        return HISTORY_BROKEN;
    if (memcmp(h->previous_pages, s->pages, CB_DUCKDB_HEAD) == 0)
        return HISTORY_SAME;
    if (s->head.header.iteration == h->previous_head.header.iteration + 1 &&
        s->block_bytes == h->previous_head.header.block_bytes)
        return HISTORY_NEXT;
    return HISTORY_BROKEN;
}

static void plan_todo(cb_hot *h)
{
    const cb_duckdb_sight *s = &h->now;
    const cb_duckdb_blocks *before = &h->previous_blocks;
    history past = history_of(h);

    cb_bits_clear(&h->todo);
    if (past == HISTORY_BROKEN) {
        cb_bits_clear(&h->stored);
        add_all(&h->todo, &h->wanted);
        return;
    }
    for (uint64_t i = cb_bits_next(&h->wanted, 0); i < h->wanted.bound;
         i = cb_bits_next(&h->wanted, i + 1)) {
        bool is_metadata = cb_bits_has(&s->blocks.metadata, i);
        bool is_used = cb_bits_has(&s->blocks.used, i);
        bool is_taken_over = cb_bits_has(&h->stored, i) && !cb_bits_has(&h->bad, i) &&
                             !cb_bits_has(&h->accepted, i) && is_used;

        if (past == HISTORY_NEXT)
            is_taken_over = is_taken_over && cb_bits_has(&before->used, i) && !is_metadata &&
                            (i < before->tail || cb_bits_has(&before->metadata, i));
        /* Blocks named by the log: those of this prefix may be younger than the last pass. */
        if (s->log.names_blocks && cb_bits_has(&s->log.named, i))
            is_taken_over = false;
        if (s->log.names_unknown && (!is_used || i >= s->blocks.tail))
            is_taken_over = false;
        if (!is_taken_over)
            cb_bits_add(&h->todo, i);
    }
}

static void remember_pass(cb_hot *h)
{
    h->has_previous = true;
    h->previous_head = h->now.head;
    h->previous_writer = writer_of(&h->now);
    memcpy(h->previous_pages, h->now.pages, CB_DUCKDB_HEAD);
    memcpy(h->previous_marks, h->now.marks, sizeof(h->previous_marks));
    cb_duckdb_blocks_free(&h->previous_blocks);
    h->previous_blocks = h->now.blocks;
    h->now.blocks = (cb_duckdb_blocks){0};
}

/* ---- look --------------------------------------------------------------------------------- */

cb_code cb_hot_busy(cb_hot *h, cb_error *err)
{
    char waited[CB_DURATION_TEXT_MAX], since[CB_DURATION_TEXT_MAX];
    const cb_duckdb_sight *s = &h->now;

    cb_format_duration(h->deadline_us, waited);
    cb_format_duration(cb_monotonic_us() - h->began_us, since);
    if (s->lock.pid > 0)
        cb_fail(err, CB_BUSY,
                "'%s' was not still within %s: %s, seen after %s, in process %lld; %u %s",
                h->watch.paths[0], waited, s->what[0] != '\0' ? s->what : "it kept changing", since,
                (long long)s->lock.pid, h->passes, h->passes == 1 ? "pass" : "passes");
    else
        cb_fail(err, CB_BUSY, "'%s' was not still within %s: %s, seen after %s; %u %s",
                h->watch.paths[0], waited, s->what[0] != '\0' ? s->what : "it kept changing", since,
                h->passes, h->passes == 1 ? "pass" : "passes");
    cb_hint(err, "Try again when fewer checkpoints run, or allow more time with --deadline.");
    return err->code;
}

static cb_code damaged_head(cb_hot *h, cb_error *err)
{
    if (h->allow_damage && !h->watch.take_anything &&
        h->now.marks[CB_DUCKDB_DATABASE].size_bytes >= CB_DUCKDB_HEAD) {
        cb_event_text(h->ctx, CB_EVENT_WARNING, "'%s' is damaged: %s; all of it is copied as it is",
                      h->watch.paths[0], h->now.what);
        h->watch.take_anything = true;
        h->damaged++;
        h->unsound_since_us = 0;
        return CB_OK;
    }
    cb_fail(err, CB_CORRUPT, "'%s' is damaged: %s", h->watch.paths[0], h->now.what);
    cb_hint(err,
            "Restore it from a backup; --allow-damage copies what is there, marked as damaged.");
    return err->code;
}

/* Something does not verify. While anything moves it is a write going on, else it is damage. */
static cb_code judge_unsound(cb_hot *h, cb_error *err)
{
    const cb_duckdb_mark *mark = &h->now.marks[CB_DUCKDB_DATABASE];
    bool nobody = h->watch.exclusive || !h->now.lock.held || !h->now.lock.is_writer;
    int64_t now = cb_monotonic_us();

    if (h->unsound_since_us == 0 || !cb_duckdb_mark_same(mark, &h->unsound_mark)) {
        h->unsound_since_us = now;
        h->unsound_mark = *mark;
        cb_duckdb_pulse_take(h->now.lock.pid, &h->unsound_pulse);
        return CB_OK;
    }
    if (mark->size_bytes < CB_DUCKDB_HEAD && !nobody)
        return CB_OK; /* just being made */
    if (now - h->unsound_since_us < (nobody ? UNSOUND_IDLE_US : UNSOUND_US))
        return CB_OK;
    if (!nobody) { /* a stopped process may stand in the middle of the write */
        cb_duckdb_pulse pulse;

        cb_duckdb_pulse_take(h->now.lock.pid, &pulse);
        if (!cb_duckdb_pulse_beats(&h->unsound_pulse, &pulse)) {
            h->unsound_since_us = 0;
            return CB_OK;
        }
    }
    return damaged_head(h, err);
}

static cb_code judge_wait(cb_hot *h, cb_error *err)
{
    int64_t now = cb_monotonic_us();

    h->unsound_since_us = 0;
    if (h->now.marks[CB_DUCKDB_DATABASE].exists) {
        h->gone_since_us = 0;
        return CB_OK;
    }
    if (h->gone_since_us == 0)
        h->gone_since_us = now;
    if (now - h->gone_since_us < GONE_US)
        return CB_OK;
    return cb_fail(err, CB_NOT_FOUND, "'%s' was removed while it was read", h->watch.paths[0]);
}

static void tell_wait(cb_hot *h, int64_t waited_us)
{
    if (h->warned_of_wait || waited_us < TELL_WAIT_US)
        return;
    h->warned_of_wait = true;
    if (h->now.lock.pid > 0)
        cb_event_text(h->ctx, CB_EVENT_WAITING, "%s in process %lld", h->now.what,
                      (long long)h->now.lock.pid);
    else
        cb_event_text(h->ctx, CB_EVENT_WAITING, "%s", h->now.what);
}

static cb_code look_until_seen(cb_hot *h, cb_error *err)
{
    int64_t began = cb_monotonic_us();
    int64_t pause = LOOK_PAUSE_MIN_US;

    for (;;) {
        cb_code code = cb_duckdb_watch_look(&h->watch, &h->now, err);

        if (code != CB_OK)
            return code;
        if (h->now.verdict == CB_SIGHT_READY || h->now.verdict == CB_SIGHT_CRASHED)
            break;
        code = h->now.verdict == CB_SIGHT_UNSOUND ? judge_unsound(h, err) : judge_wait(h, err);
        if (code == CB_OK && cb_monotonic_us() >= h->give_up_us)
            code = cb_hot_busy(h, err);
        if (code != CB_OK)
            return code;
        tell_wait(h, cb_monotonic_us() - began);
        code = cb_sleep_us(h->ctx, pause, err);
        if (code != CB_OK)
            return code;
        if (pause < LOOK_PAUSE_MAX_US)
            pause *= 2;
    }
    h->unsound_since_us = 0;
    h->warned_of_wait = false;
    return CB_OK;
}

/*
 * A log that nobody writes to and that DuckDB would refuse: it begins with something else than a
 * header, or ends in a frame that is whole and wrong.
 */
static cb_code judge_log(cb_hot *h, cb_error *err)
{
    const cb_duckdb_sight *s = &h->now;
    bool nobody = h->watch.exclusive || !s->lock.held;
    bool bad_header = s->log.has_header && s->log.version < 2;
    bool bad_end = s->verdict == CB_SIGHT_READY && !s->opaque && s->log.end == CB_LOG_END_BAD;

    if (!nobody || (!bad_header && !bad_end))
        return CB_OK;
    if (h->allow_damage) {
        h->damaged++;
        if (!h->is_quiet)
            cb_event_text(h->ctx, CB_EVENT_WARNING, "the log '%s' is damaged after byte %llu%s",
                          h->watch.paths[CB_DUCKDB_LOG], (unsigned long long)s->log.read_bytes,
                          bad_header ? "; stored as it is" : "; what follows is left out");
        return CB_OK;
    }
    cb_fail(err, CB_CORRUPT, "the log '%s' is damaged after byte %llu",
            h->watch.paths[CB_DUCKDB_LOG], (unsigned long long)s->log.read_bytes);
    cb_hint(err, "--allow-damage stores the database and the commits before that place.");
    return err->code;
}

cb_code cb_hot_look(cb_hot *h, cb_error *err)
{
    cb_code code;

    if (h->passes > 0)
        remember_pass(h);
    h->damaged = h->watch.take_anything ? 1 : 0;
    code = look_until_seen(h, err);
    if (code == CB_OK)
        code = judge_log(h, err);
    if (code == CB_OK)
        code = make_room(h, blocks_of_file(&h->now), err);
    if (code != CB_OK)
        return code;
    plan_wanted(h);
    plan_todo(h);
    cb_bits_clear(&h->bad);
    cb_bits_clear(&h->accepted);
    cb_bits_clear(&h->torn);
    cb_bits_clear(&h->doubtful);
    atomic_store(&h->bad_count, 0);
    h->log_moved = h->differs = false;
    h->passes++;
    h->pass_began_us = cb_monotonic_us();
    cb_event_text(
        h->ctx, CB_EVENT_DEBUG,
        "pass %u: header %llu, %llu of %llu blocks to read, log %llu bytes with %llu commits",
        h->passes, (unsigned long long)h->now.head.header.iteration,
        (unsigned long long)cb_bits_count(&h->todo), (unsigned long long)cb_bits_count(&h->wanted),
        (unsigned long long)h->now.log_bytes, (unsigned long long)h->now.log.commits);
    return CB_OK;
}

/* ---- read --------------------------------------------------------------------------------- */

static void mark_bad(cb_hot *h, uint64_t block)
{
    pthread_mutex_lock(&h->lock);
    cb_bits_add(&h->bad, block);
    pthread_mutex_unlock(&h->lock);
}

/* Opaque blocks: is it what the pass before read? One worker has a block at a time. */
static void compare_print(cb_hot *h, uint64_t block, cb_bytes data)
{
    cb_fingerprint print;

    cb_fingerprint_of(h->watch.secret, data, &print);
    if (memcmp(&print, &h->prints[block], sizeof(print)) == 0)
        return;
    h->prints[block] = print;
    pthread_mutex_lock(&h->lock);
    h->differs = true;
    pthread_mutex_unlock(&h->lock);
}

cb_code cb_hot_read_block(cb_hot *h, uint64_t block, uint32_t length, cb_buf *into, cb_error *err)
{
    uint64_t offset = cb_duckdb_block_offset(block, h->now.block_bytes);
    bool verify = cb_bits_has(&h->verify, block) && !cb_bits_has(&h->accepted, block);
    cb_code code = cb_buf_reserve(into, length, err);
    uint8_t *at;
    size_t got;

    if (code != CB_OK)
        return code;
    at = into->data + into->size;
    for (unsigned i = 0; i < READ_TRIES && (i < 2 || atomic_load(&h->bad_count) < BAD_MANY); i++) {
        if (i > 0) /* torn: a metadata block is just being rewritten, or the file moved on */
            code = cb_sleep_us(h->ctx, READ_PAUSE_US << i, err);
        if (code == CB_OK)
            code =
                cb_duckdb_watch_read(&h->watch, CB_DUCKDB_DATABASE, offset, at, length, &got, err);
        if (code != CB_OK)
            return cb_context(err, "block %llu", (unsigned long long)block);
        if (got == length && (!verify || cb_duckdb_block_ok(cb_bytes_of(at, length)))) {
            into->size += length;
            if (h->now.opaque)
                compare_print(h, block, cb_bytes_of(at, length));
            return CB_OK;
        }
    }
    mark_bad(h, block);
    atomic_fetch_add(&h->bad_count, 1);
    return cb_fail(err, CB_RETRY, "block %llu could not be read soundly",
                   (unsigned long long)block);
}

cb_code cb_hot_read_log(cb_hot *h, cb_duckdb_file file, uint64_t offset, uint32_t length,
                        cb_buf *into, cb_error *err)
{
    cb_fingerprint print;
    uint64_t index = offset / CB_DUCKDB_LOG_CHUNK;
    cb_code code = cb_buf_reserve(into, length, err);
    size_t got;

    if (code == CB_OK)
        code = cb_duckdb_watch_read(&h->watch, file, offset, into->data + into->size, length, &got,
                                    err);
    if (code != CB_OK)
        return code;
    if (got == length && file == CB_DUCKDB_LOG && index < h->now.print_count) {
        cb_fingerprint_of(h->watch.secret, cb_bytes_of(into->data + into->size, length), &print);
        if (memcmp(&print, &h->now.prints[index], sizeof(print)) != 0)
            got = 0;
    }
    if (got == length) {
        into->size += length;
        return CB_OK;
    }
    pthread_mutex_lock(&h->lock);
    h->log_moved = true;
    pthread_mutex_unlock(&h->lock);
    return cb_fail(err, CB_RETRY, "the log was changed");
}

void cb_hot_head(const cb_hot *hot, uint8_t out[CB_DUCKDB_HEAD])
{
    if (hot->now.opaque || hot->now.verdict == CB_SIGHT_CRASHED)
        memcpy(out, hot->now.pages, CB_DUCKDB_HEAD);
    else
        cb_duckdb_head_compose(&hot->now.head, hot->now.pages, out);
}

uint64_t cb_hot_log_bytes(const cb_hot *hot, cb_duckdb_file file)
{
    if (file == CB_DUCKDB_LOG)
        return hot->now.log_bytes;
    return hot->now.verdict == CB_SIGHT_CRASHED ? hot->now.marks[file].size_bytes : 0;
}
