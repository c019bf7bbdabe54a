/*
 * state.h - what a backup of a DuckDB file says of itself: the record in the manifest ("state",
 * doc/format.md) and the facts for people.
 *
 * The record serves the next run (is anything different at all?) and the target (what is torn,
 * which mode had the file).
 */
#ifndef CB_SOURCE_DUCKDB_STATE_H
#define CB_SOURCE_DUCKDB_STATE_H

#include "codec/hash.h"
#include "source/duckdb/watch.h"

enum { CB_DUCKDB_STATE_VERSION = 1, CB_DUCKDB_FACTS_MAX = 16 };

typedef struct cb_duckdb_state {
    uint64_t version;
    cb_duckdb_mark marks[CB_DUCKDB_FILES];
    cb_hash head_hash; /* of the header pages as they stood in the source */
    cb_hash log_hash;  /* of the beginning and the end of the log */
    int64_t first_read_us;
    uint64_t damaged;
    uint32_t mode, uid, gid;
    uint32_t block_bytes;
    bool is_crashed, is_encrypted;
    uint64_t *torn; /* metadata blocks that restore --mend can mend; in `arena` */
    size_t torn_count;
    cb_pair facts[CB_DUCKDB_FACTS_MAX]; /* in `arena` */
    size_t fact_count;
    uint64_t source_bytes, commits;
    cb_arena arena;
} cb_duckdb_state;

void cb_duckdb_state_free(cb_duckdb_state *state);

CB_MUST_USE cb_code cb_duckdb_state_render(const cb_duckdb_state *state, cb_buf *into,
                                           cb_error *err);
/* Errors: CB_CORRUPT; CB_UNSUPPORTED for a newer record. */
CB_MUST_USE cb_code cb_duckdb_state_parse(cb_bytes raw, cb_duckdb_state *out, cb_error *err);

CB_MUST_USE cb_code cb_duckdb_state_fact(cb_duckdb_state *state, cb_error *err, const char *key,
                                         const char *format, ...) CB_PRINTF(4, 5);

/*
 * Can nothing have changed since `then` was recorded? Everything that stat shows, the header and
 * the log are as they were, and were so for 2 s before that run read its first byte, so that no
 * later write can hide in the same tick of a clock. Never guesses: in doubt, no.
 */
CB_MUST_USE cb_code cb_duckdb_state_unchanged(cb_duckdb_watch *watch, const cb_duckdb_state *then,
                                              bool *out, cb_error *err);

/* The two hashes of the record, of the files as they are now. */
CB_MUST_USE cb_code cb_duckdb_state_hash_log(cb_duckdb_watch *watch, int fd, uint64_t size,
                                             cb_hash *out, cb_error *err);

#endif
