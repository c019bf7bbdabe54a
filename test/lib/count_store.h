/*
 * count_store.h - a store that passes everything on and counts what a remote store would see as
 * requests; it can call itself remote, and take its time like one.
 *
 * A put is one request, at its commit; a listing one for each thousand of objects.
 */
#ifndef CB_TEST_COUNT_STORE_H
#define CB_TEST_COUNT_STORE_H

#include "storage/storage.h"

typedef struct cb_count {
    bool is_remote;
    bool is_traced;            /* each request on standard error */
    int64_t latency_us;        /* of every request, slept for real */
    uint64_t bytes_per_second; /* of each request; 0 unlimited */
    const char *address;       /* NULL: that of `inner` */
    /* Asked before each get; anything but CB_OK is its answer. NULL: none. */
    cb_code (*before_get)(void *arg, const char *key, uint64_t offset, uint64_t length,
                          cb_error *err);
    void *arg;
    atomic_uint gets, puts, lists, removes;
    atomic_uint_fast64_t got_bytes, put_bytes;
    atomic_uint now, most;                /* requests at one time */
    atomic_uint_fast64_t held, most_held; /* bytes that open writers were given */
} cb_count;

/* Does not own `inner`; `count` outlives it. */
cb_store *cb_count_store_new(cb_store *inner, cb_count *count);
unsigned cb_count_requests(const cb_count *count);
/* Forget all counts, keep the settings. */
void cb_count_reset(cb_count *count);

#endif
