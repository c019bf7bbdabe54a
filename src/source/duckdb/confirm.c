/*
 * confirm.c - may a pass be published?
 *
 *   idle     nobody had it open for writing at the start and at the end, and nothing changed
 *   log      the log has commits and no marker: no checkpoint has begun, a proof
 *   settle   the log is empty or absent, so a checkpoint would leave no trace. Then the engine's
 *            process is given time and watched: no write for the settle time, its threads neither
 *            stopped nor in an uninterruptible wait, and running or all asleep. Otherwise the wait
 *            goes on, up to the deadline.
 *   identical  opaque files: two complete passes with the same bytes, and settle
 *   crashed  nobody has it open, a checkpoint was left unfinished, nothing changed
 *
 * Only a pass that is confirmed tells damage from a read that came too early.
 */
#include "source/duckdb/hot.h"

#include <stdio.h>
#include <unistd.h>

enum {
    SETTLE_US = 1000000,
    SETTLE_POLL_US = 50000,
    NAMED_BLOCKS_MAX = 8,
    DAMAGE_HELD_US = 3000000,
    DAMAGE_POLL_US = 200000
};

static bool nobody_writes(const cb_hot *h, const cb_duckdb_lock *lock)
{
    return h->watch.exclusive || !lock->held || !lock->is_writer;
}

static cb_code again(cb_hot *h, const char *what, cb_hot_outcome *out, cb_error *err)
{
    *out = CB_HOT_AGAIN;
    h->damage_since_us = 0;
    snprintf(h->now.what, sizeof(h->now.what), "%s", what);
    cb_event_text(h->ctx, CB_EVENT_DEBUG, "pass %u is not confirmed: %s", h->passes, what);
    if (cb_monotonic_us() >= h->give_up_us)
        return cb_hot_busy(h, err);
    return CB_OK;
}

/* ---- settle ------------------------------------------------------------------------------- */

typedef struct settle {
    int64_t since_us;    /* when the present wait began */
    cb_duckdb_mark mark; /* of the file then */
    cb_duckdb_pulse pulse;
} settle;

static void settle_restart(cb_hot *h, settle *w, const cb_duckdb_still *still)
{
    w->since_us = cb_monotonic_us();
    w->mark = still->database;
    cb_duckdb_pulse_take(still->lock.pid, &w->pulse);
    /* Waits for what the same device has still to write: an fsync of a checkpoint among it. That
       a file system cannot do it changes nothing. */
    (void)fsync(h->watch.fds[CB_DUCKDB_DATABASE]);
}

static cb_code settle_on(cb_hot *h, settle *w, cb_duckdb_still *still, cb_hot_outcome *out,
                         bool *done, cb_error *err)
{
    cb_duckdb_pulse pulse;
    bool beats;
    cb_code code = cb_sleep_us(h->ctx, SETTLE_POLL_US, err);

    *done = true;
    if (code != CB_OK)
        return code;
    cb_duckdb_pulse_take(still->lock.pid, &pulse);
    code =
        cb_duckdb_watch_still(&h->watch, &h->now, still, err); /* after the look at the threads */
    if (code != CB_OK)
        return code;
    if (!still->holds)
        return again(h, still->what, out, err);
    if (nobody_writes(h, &still->lock))
        return again(h, "the process that had it open has closed it", out, err);
    if (still->has_proof) {
        *out = CB_HOT_CONFIRMED;
        h->confirmed = "log";
        return CB_OK;
    }
    beats = pulse.is_known && !pulse.is_stopped;
    if (beats && cb_duckdb_mark_same(&w->mark, &still->database)) {
        if (cb_monotonic_us() - w->since_us >= SETTLE_US) {
            beats = cb_duckdb_pulse_beats(&w->pulse, &pulse);
            if (beats) {
                *out = CB_HOT_CONFIRMED;
                h->confirmed = h->now.opaque ? "identical" : "settle";
                return CB_OK;
            }
        } else {
            *done = false;
            return CB_OK;
        }
    }
    snprintf(h->now.what, sizeof(h->now.what), "%s",
             beats                   ? "it is being written, and its log is empty"
             : pulse.what[0] != '\0' ? pulse.what
                                     : "its process cannot be watched");
    settle_restart(h, w, still);
    *done = false;
    return cb_monotonic_us() >= h->give_up_us ? cb_hot_busy(h, err) : CB_OK;
}

static cb_code wait_settled(cb_hot *h, cb_duckdb_still *still, cb_hot_outcome *out, cb_error *err)
{
    settle w;
    bool done = false;
    cb_code code = CB_OK;

    cb_event_text(h->ctx, CB_EVENT_DEBUG, "pass %u: the log is empty, watching process %lld",
                  h->passes, (long long)still->lock.pid);
    settle_restart(h, &w, still);
    while (code == CB_OK && !done)
        code = settle_on(h, &w, still, out, &done, err);
    return code;
}

/* ---- damage ------------------------------------------------------------------------------- */

typedef enum block_state {
    BLOCK_SOUND,
    BLOCK_MISSING, /* past the end of the file */
    BLOCK_EMPTY,   /* all zeros: never written */
    BLOCK_BAD,
} block_state;

static cb_code look_at_block(cb_hot *h, uint64_t block, block_state *out, cb_error *err)
{
    uint32_t size = h->now.block_bytes;
    uint8_t *data = h->watch.block;
    size_t got;
    cb_code code = cb_duckdb_watch_read(&h->watch, CB_DUCKDB_DATABASE,
                                        cb_duckdb_block_offset(block, size), data, size, &got, err);

    if (code != CB_OK)
        return code;
    if (got < size)
        *out = BLOCK_MISSING;
    else if (cb_duckdb_block_ok(cb_bytes_of(data, size)))
        *out = BLOCK_SOUND;
    else if (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0)
        *out = BLOCK_EMPTY;
    else
        *out = BLOCK_BAD;
    return CB_OK;
}

/*
 * Does one wrong byte explain the checksum? Then it is rot, not a write that was cut short.
 * Changing word w to v changes the sum by w*k xor v*k, so all bytes can be tried without summing up
 * again.
 */
static bool is_one_byte(const uint8_t *data, size_t size)
{
    const uint64_t k = 0xbf58476d1ce4e5b9U;
    uint64_t diff = cb_get_u64(data) ^ cb_duckdb_checksum(cb_bytes_of(data + 8, size - 8));

    for (unsigned i = 0; i < 8; i++)
        if ((diff & ~((uint64_t)0xff << (8 * i))) == 0)
            return true; /* of the checksum itself */
    for (size_t at = 8; at + 8 <= size; at += 8) {
        uint64_t word = cb_get_u64(data + at);
        uint64_t wanted = (word * k) ^ diff;

        for (unsigned i = 0; i < 8; i++)
            for (uint64_t flip = 1; flip < 256; flip++)
                if ((word ^ (flip << (8 * i))) * k == wanted)
                    return true;
    }
    return false;
}

typedef struct damage {
    uint64_t torn, unreferenced, damaged;
    char names[256]; /* the first damaged ones */
} damage;

static void note_damaged(damage *d, uint64_t block)
{
    size_t used = strlen(d->names);

    if (d->damaged < NAMED_BLOCKS_MAX)
        snprintf(d->names + used, sizeof(d->names) - used, "%s%llu", used > 0 ? ", " : "",
                 (unsigned long long)block);
    else if (d->damaged == NAMED_BLOCKS_MAX)
        snprintf(d->names + used, sizeof(d->names) - used, ", ...");
    d->damaged++;
}

/*
 * One block that stayed bad while nothing moved. A metadata block that a killed process left half
 * written is whole in all that counts; a block above the highest free one that was never written
 * can be counted as used by mistake (DuckDB takes the count after the list). All else is damage.
 */
static cb_code classify(cb_hot *h, bool nobody, uint64_t block, damage *d, cb_error *err)
{
    block_state state;
    cb_code code = look_at_block(h, block, &state, err);

    cb_bits_add(&h->todo, block);
    if (code != CB_OK || state == BLOCK_SOUND)
        return code;
    cb_bits_add(&h->accepted, block);
    if (state == BLOCK_BAD && nobody && cb_bits_has(&h->now.blocks.metadata, block) &&
        !is_one_byte(h->watch.block, h->now.block_bytes)) {
        cb_bits_add(&h->torn, block);
        d->torn++;
    } else if ((state == BLOCK_EMPTY || state == BLOCK_MISSING) && block >= h->now.blocks.tail &&
               !cb_bits_has(&h->now.blocks.metadata, block) &&
               !cb_bits_has(&h->now.log.named, block)) {
        cb_bits_add(&h->doubtful, block);
        d->unreferenced++;
    } else {
        note_damaged(d, block);
    }
    if (state == BLOCK_MISSING) { /* there is nothing to read */
        cb_bits_remove(&h->todo, block);
        cb_bits_remove(&h->wanted, block);
    }
    return CB_OK;
}

static cb_code report(cb_hot *h, const damage *d, cb_error *err)
{
    const char *path = h->watch.paths[CB_DUCKDB_DATABASE];

    if (d->damaged > 0 && !h->allow_damage) {
        cb_fail(err, CB_CORRUPT, "'%s' is damaged: %s %s %s wrong", path,
                d->damaged == 1 ? "block" : "blocks", d->names,
                d->damaged == 1 ? "has a checksum that is" : "have checksums that are");
        cb_hint(err,
                "Restore it from an earlier backup, or keep what is left with --allow-damage.");
        return err->code;
    }
    h->damaged += d->damaged;
    if (h->is_quiet)
        return CB_OK;
    if (d->damaged > 0)
        cb_event_text(h->ctx, CB_EVENT_WARNING, "'%s' is damaged: %s %s; stored as it is", path,
                      d->damaged == 1 ? "block" : "blocks", d->names);
    if (d->torn > 0)
        cb_event_text(
            h->ctx, CB_EVENT_WARNING,
            "a killed process left %llu torn metadata %s in '%s'; stored as it is, and restore "
            "--mend makes the copy open",
            (unsigned long long)d->torn, d->torn == 1 ? "block" : "blocks", path);
    if (d->unreferenced > 0)
        cb_event_text(h->ctx, CB_EVENT_WARNING,
                      "%llu %s at the end of '%s' %s never written, which may be no loss: only the "
                      "engine can tell",
                      (unsigned long long)d->unreferenced,
                      d->unreferenced == 1 ? "block" : "blocks", path,
                      d->unreferenced == 1 ? "was" : "were");
    return CB_OK;
}

/*
 * A holder may be writing the block after all (a checkpoint that PRAGMA force_checkpoint let run
 * beside the log). *again: look once more before it is called damage.
 */
static cb_code give_time(cb_hot *h, const cb_duckdb_still *still, bool *once_more, cb_error *err)
{
    cb_duckdb_pulse pulse;
    int64_t now = cb_monotonic_us();

    if (h->damage_since_us == 0) {
        h->damage_since_us = now;
        cb_duckdb_pulse_take(still->lock.pid, &h->damage_pulse);
    }
    *once_more = true;
    if (now - h->damage_since_us >= DAMAGE_HELD_US) {
        cb_duckdb_pulse_take(still->lock.pid, &pulse);
        *once_more = !cb_duckdb_pulse_beats(&h->damage_pulse, &pulse);
        if (!*once_more)
            return CB_OK;
        h->damage_since_us = 0;
    }
    cb_bits_clear(&h->accepted);
    cb_bits_clear(&h->torn);
    cb_bits_clear(&h->doubtful);
    return cb_sleep_us(h->ctx, DAMAGE_POLL_US, err);
}

/* The pass is confirmed but for blocks that did not verify. */
static cb_code judge_bad(cb_hot *h, const cb_duckdb_still *still, cb_hot_outcome *out,
                         cb_error *err)
{
    bool nobody = nobody_writes(h, &still->lock);
    bool once_more = false;
    damage d = {0};
    cb_code code;

    if (cb_bits_next(&h->bad, 0) >= h->bad.bound)
        return CB_OK;
    if (h->now.opaque)
        return again(h, "it became shorter", out, err);
    cb_bits_clear(&h->todo);
    for (uint64_t i = cb_bits_next(&h->bad, 0); i < h->bad.bound;
         i = cb_bits_next(&h->bad, i + 1)) {
        if (!cb_bits_has(&h->wanted, i))
            continue;
        if (!cb_bits_has(&h->verify, i) && h->now.verdict != CB_SIGHT_CRASHED)
            return again(h, "it became shorter", out, err);
        code = classify(h, nobody, i, &d, err);
        if (code != CB_OK)
            return code;
    }
    code = CB_OK;
    if (!nobody && d.damaged > 0)
        code = give_time(h, still, &once_more, err);
    if (code == CB_OK && !once_more)
        code = report(h, &d, err);
    if (code != CB_OK)
        return code;
    cb_bits_clear(&h->bad);
    *out = CB_HOT_REREAD; /* and confirm once more, for what is read now */
    if (cb_monotonic_us() >= h->give_up_us) {
        snprintf(h->now.what, sizeof(h->now.what), "blocks of it could not be read soundly");
        return cb_hot_busy(h, err);
    }
    return CB_OK;
}

/* ---- confirm ------------------------------------------------------------------------------ */

static bool same_as_before(const cb_hot *h)
{
    return h->has_previous && !h->differs &&
           memcmp(h->previous_pages, h->now.pages, CB_DUCKDB_HEAD) == 0 &&
           cb_duckdb_mark_is(&h->previous_marks[CB_DUCKDB_LOG], &h->now.marks[CB_DUCKDB_LOG]) &&
           cb_duckdb_mark_is(&h->previous_marks[CB_DUCKDB_DATABASE],
                             &h->now.marks[CB_DUCKDB_DATABASE]) &&
           h->previous_marks[CB_DUCKDB_DATABASE].size_bytes ==
               h->now.marks[CB_DUCKDB_DATABASE].size_bytes;
}

static cb_code decide(cb_hot *h, cb_duckdb_still *still, cb_hot_outcome *out, cb_error *err)
{
    bool nobody_then = nobody_writes(h, &h->now.lock);
    bool nobody_now = nobody_writes(h, &still->lock);

    if (!still->holds)
        return again(h, still->what, out, err);
    if (h->log_moved)
        return again(h, "its log was changed", out, err);
    *out = CB_HOT_CONFIRMED;
    if (nobody_then && nobody_now) {
        if (!still->is_identical)
            return again(h, "it was changed", out, err);
        h->confirmed = h->now.verdict == CB_SIGHT_CRASHED ? "crashed" : "idle";
        return CB_OK;
    }
    if (h->now.verdict == CB_SIGHT_CRASHED)
        return again(h, "a process has opened it", out, err);
    if (nobody_now)
        return again(h, "the process that had it open has closed it", out, err);
    if (h->now.opaque && !same_as_before(h))
        return again(h, "a second pass must find the same bytes", out, err);
    if (still->has_proof) {
        h->confirmed = "log";
        return CB_OK;
    }
    return wait_settled(h, still, out, err);
}

cb_code cb_hot_confirm(cb_hot *h, cb_hot_outcome *out, cb_error *err)
{
    cb_duckdb_still still;
    cb_code code;

    /* The deadline is about being confirmed; what the first reading of it all takes is not counted.
     */
    if (h->passes == 1) {
        int64_t now = cb_monotonic_us();

        h->give_up_us += now - h->pass_began_us;
        h->pass_began_us = now;
    }
    code = cb_duckdb_watch_still(&h->watch, &h->now, &still, err);
    if (code == CB_OK)
        code = decide(h, &still, out, err);
    if (code == CB_OK && *out == CB_HOT_CONFIRMED)
        code = judge_bad(h, &still, out, err);
    if (code == CB_OK && *out == CB_HOT_CONFIRMED) {
        memcpy(h->final_marks, h->now.marks, sizeof(h->final_marks));
        h->final_marks[CB_DUCKDB_DATABASE] = still.database;
    }
    return code;
}
