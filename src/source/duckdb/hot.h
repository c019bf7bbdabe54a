/*
 * hot.h - the hot copy: passes over a live file until one of them is confirmed.
 *
 *     begin -> [ pass: look, plan, (caller reads blocks), confirm ]... -> facts
 *
 * A pass looks at one moment (watch.h) and plans which blocks it must read: all that the header
 * uses, or, along an unbroken history of one descriptor, those that the step from one header to
 * the next can have changed. Confirm tells whether a checkpoint can have touched any of them.
 * Internal to this folder; source.c makes the steps of source.h of it.
 *
 * Memory: 9 bits a block of the file; 16 bytes more a block when it is opaque.
 * Threads: cb_hot_read from any; all else from one, and not beside readers.
 */
#ifndef CB_SOURCE_DUCKDB_HOT_H
#define CB_SOURCE_DUCKDB_HOT_H

#include "source/duckdb/watch.h"

typedef enum cb_hot_outcome {
    CB_HOT_CONFIRMED,
    CB_HOT_AGAIN,  /* it moved: another pass */
    CB_HOT_REREAD, /* blocks in `todo` are to be read once more, of the same sight */
} cb_hot_outcome;

typedef struct cb_hot {
    cb_ctx *ctx;
    bool allow_damage;
    int64_t deadline_us; /* how long */
    int64_t give_up_us;  /* when, by the monotonic clock */
    cb_duckdb_watch watch;
    cb_duckdb_sight now; /* what this pass copies */

    /* the pass before, for the delta rule */
    bool has_previous;
    cb_duckdb_head previous_head;
    uint8_t previous_pages[CB_DUCKDB_HEAD];
    cb_duckdb_mark previous_marks[CB_DUCKDB_FILES];
    cb_duckdb_blocks previous_blocks;
    int64_t previous_writer; /* who had it open for writing; 0 nobody, or not to be told */

    cb_bits wanted;     /* blocks that the copy must have */
    cb_bits todo;       /* of them, those that this pass reads */
    cb_bits stored;     /* given to the caller so far */
    cb_bits verify;     /* blocks whose checksum must be right */
    uint64_t block_end; /* one past the last wanted block */
    unsigned passes;
    int64_t began_us, first_read_us, pass_began_us;

    pthread_mutex_t lock; /* of the three below: workers write them */
    cb_bits bad;          /* could not be read soundly in this pass */
    bool log_moved;
    bool differs; /* opaque: some block is not as in the pass before */

    cb_bits accepted; /* bad, and stored as they are: torn, unreferenced or allowed */
    cb_bits torn;     /* of them: metadata blocks of a crashed process */
    cb_bits doubtful; /* of them: never written, perhaps not referred to */
    bool is_quiet;    /* tell nobody of what is accepted (check reports it itself) */
    uint64_t damaged;
    cb_fingerprint *prints; /* opaque: of each block */
    size_t print_capacity;

    const char *confirmed;
    cb_duckdb_mark final_marks[CB_DUCKDB_FILES];
    int64_t unsound_since_us, gone_since_us;
    cb_duckdb_mark unsound_mark;
    int64_t damage_since_us; /* bad blocks of a file that is open: seen since then */
    cb_duckdb_pulse unsound_pulse, damage_pulse;
    atomic_uint bad_count; /* of this pass: many mean that the file moved on, and waiting is vain */
    bool warned_of_wait;
} cb_hot;

/* Errors: those of cb_duckdb_watch_open. Ended by cb_hot_end, also after an error. */
CB_MUST_USE cb_code cb_hot_begin(cb_ctx *ctx, const char *path, const char *snapshot,
                                 int64_t deadline_us, bool allow_damage, cb_hot *out,
                                 cb_error *err);
void cb_hot_end(cb_hot *hot);

/* Wait until the file can be seen at one moment, then plan the pass. CB_BUSY at the deadline. */
CB_MUST_USE cb_code cb_hot_look(cb_hot *hot, cb_error *err);

/* After all of `todo` and the log were read. May wait, with the engine's process in view, where
   nothing else proves that no checkpoint runs. CB_BUSY at the deadline, CB_CORRUPT on damage. */
CB_MUST_USE cb_code cb_hot_confirm(cb_hot *hot, cb_hot_outcome *out, cb_error *err);

/* Append a block, or a piece of the log (or its kin). CB_RETRY: it moved, go on. */
CB_MUST_USE cb_code cb_hot_read_block(cb_hot *hot, uint64_t block, uint32_t length, cb_buf *into,
                                      cb_error *err);
CB_MUST_USE cb_code cb_hot_read_log(cb_hot *hot, cb_duckdb_file file, uint64_t offset,
                                    uint32_t length, cb_buf *into, cb_error *err);

/* The header pages of the copy. */
void cb_hot_head(const cb_hot *hot, uint8_t out[CB_DUCKDB_HEAD]);

static inline uint64_t cb_hot_size(const cb_hot *hot)
{
    uint64_t whole = CB_DUCKDB_HEAD + hot->block_end * hot->now.block_bytes;
    uint64_t file = hot->now.marks[CB_DUCKDB_DATABASE].size_bytes;

    /* Only what is taken as it is may end inside a block. */
    return (hot->now.opaque || hot->now.verdict == CB_SIGHT_CRASHED) && file < whole ? file : whole;
}

/* Bytes of the log, or of its kin, in the copy. */
uint64_t cb_hot_log_bytes(const cb_hot *hot, cb_duckdb_file file);

/* The error for "the deadline is over"; hot.now.what says what was seen last. */
cb_code cb_hot_busy(cb_hot *hot, cb_error *err);

#endif
