/*
 * readahead.h - few and large reads of a remote store in place of many small ones.
 *
 * Readers ask for pieces of immutable objects, mostly in order, though not strictly: threads take
 * turns, and several objects may be read at once. A first piece is fetched as it is; pieces that
 * follow one another make the window grow up to 8 MiB, and the windows behind are fetched ahead by
 * threads of our own. Scattered pieces stay what they are, one exact read each. A range that is on
 * its way is waited for, never asked for twice. Who knows what comes next says so, and nothing is
 * guessed: those ranges are fetched in that order as the room allows.
 *
 * Threads: any may read. Memory: limits.memory_bytes.
 * Objects never change; what was fetched is good until it was read, or the room is needed.
 */
#ifndef CB_STORAGE_READAHEAD_H
#define CB_STORAGE_READAHEAD_H

#include "storage/storage.h"

typedef struct cb_readahead cb_readahead;

typedef struct cb_readahead_limits {
    size_t memory_bytes; /* 0: 64 MiB; three windows more are kept for use */
    size_t window_bytes; /* the largest read; 0: 8 MiB */
    unsigned threads;    /* that fetch ahead; 0: none, windows are fetched by who needs them */
} cb_readahead_limits;

/* Borrows the store. */
CB_MUST_USE cb_code cb_readahead_new(cb_store *store, const cb_readahead_limits *limits,
                                     cb_readahead **out, cb_error *err);

/* As cb_store_get. `object_bytes`: the object's size where it is known, else 0. */
CB_MUST_USE cb_code cb_readahead_get(cb_readahead *readahead, const char *key,
                                     uint64_t object_bytes, uint64_t offset, uint64_t length,
                                     cb_buf *into, cb_error *err);

/* A piece of an object that will be read once. */
typedef struct cb_expected {
    char key[CB_KEY_MAX];
    uint64_t offset, length;
} cb_expected;

/* These will be read about in this order, behind all that was expected before. A wish:
   what does not come, or is not read, costs time and nothing else. */
void cb_readahead_expect(cb_readahead *readahead, const cb_expected *pieces, size_t count);

void cb_readahead_free(cb_readahead *readahead); /* NULL is allowed */

#endif
