/*
 * readahead.h - few and large reads of a remote store in place of many small ones.
 *
 * Readers ask for pieces of immutable objects, mostly in order, though not strictly: threads take
 * turns, and several objects may be read at once. A first piece is fetched as it is; pieces that
 * follow one another make the window grow up to 8 MiB, and the windows behind are fetched ahead by
 * threads of our own. Scattered pieces stay what they are, one exact read each. A range that is on
 * its way is waited for, never asked for twice.
 *
 * Threads: any may read. Memory: limits.memory_bytes.
 * Objects never change; what was fetched is good until it was read, or the room is needed.
 */
#ifndef CB_STORAGE_READAHEAD_H
#define CB_STORAGE_READAHEAD_H

#include "storage/storage.h"

typedef struct cb_readahead cb_readahead;

typedef struct cb_readahead_limits {
    size_t memory_bytes; /* 0: 48 MiB */
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

void cb_readahead_free(cb_readahead *readahead); /* NULL is allowed */

#endif
