/*
 * pipe_source.h - a backup held in memory: a source driven into it, and it driven into a target,
 * without a repository in between. For tests of sources and targets.
 *
 * All calls are made in the order that source.h promises; content is read when the source says so.
 * Failures come back as codes, so that tests can expect them.
 */
#ifndef CB_TEST_PIPE_SOURCE_H
#define CB_TEST_PIPE_SOURCE_H

#include "source/source.h"

typedef struct test_chunk {
    uint8_t *data; /* NULL: a hole */
    size_t size;
} test_chunk;

typedef struct test_item {
    cb_item item; /* path and attrs are owned */
    uint32_t number;
    test_chunk *chunks;
    uint64_t chunk_count;
    bool done, reused;
} test_item;

typedef struct test_backup {
    test_item *items; /* in order of declaration */
    size_t count, capacity;
    uint64_t pieces; /* read from the source */
    uint64_t barriers;
    uint64_t restarts;
    uint64_t declared_again;
    cb_source_facts facts; /* numbers only: the strings went with the source */
} test_backup;

/* Called before each step is acted upon; for tests that change things under a running source. */
typedef cb_code test_step_hook(void *arg, const cb_step *step, cb_error *err);

/* begin .. end. `parent` may be NULL: else its items are offered to take. With a RESTART the items
   begin anew, and those that were read whole are offered before the parent's. */
CB_MUST_USE cb_code test_backup_take(cb_source *source, const test_backup *parent,
                                     test_step_hook *hook, void *arg, test_backup *out,
                                     cb_error *err);

typedef struct test_restore_counts {
    uint64_t written_bytes, reused_bytes;
} test_restore_counts;

/* prepare .. finish. `delta`: compare before writing. */
CB_MUST_USE cb_code test_backup_restore(const test_backup *backup, cb_target *target, bool delta,
                                        test_restore_counts *counts, cb_error *err);

void test_backup_free(test_backup *backup); /* zeroes it */
const test_item *test_backup_find(const test_backup *backup, const char *path);

#endif
