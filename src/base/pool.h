/*
 * pool.h - one coordinator, N workers, a bounded queue between them.
 *
 * The coordinator submits jobs (plain values, copied into the queue) and drains; a full queue is
 * the back-pressure. The first error wins: later jobs are dropped, submit and drain return it.
 * Memory: depth x job_bytes, and what the workers hold.
 */
#ifndef CB_BASE_POOL_H
#define CB_BASE_POOL_H

#include "base/bytes.h"

enum { CB_POOL_WORKERS_MAX = 64 };

typedef struct cb_pool cb_pool;

/* Runs on worker thread number `worker` (0 ..). `job` is borrowed for the call. */
typedef cb_code cb_pool_work(void *arg, unsigned worker, void *job, cb_error *err);

CB_MUST_USE cb_code cb_pool_new(unsigned workers, size_t depth, size_t job_bytes,
                                cb_pool_work *work, void *arg, cb_pool **out, cb_error *err);
CB_MUST_USE cb_code cb_pool_submit(cb_pool *pool, const void *job, cb_error *err);
/* Wait until every job submitted so far has ended. */
CB_MUST_USE cb_code cb_pool_drain(cb_pool *pool, cb_error *err);
void cb_pool_free(cb_pool *pool); /* drops what is queued, joins; NULL is allowed */

/* A buffer of its own for each worker; the memory comes with the first use. */
typedef struct cb_pool_buffers {
    cb_buf of[CB_POOL_WORKERS_MAX];
} cb_pool_buffers;
void cb_pool_buffers_init(cb_pool_buffers *buffers, size_t limit);
void cb_pool_buffers_free(cb_pool_buffers *buffers);

#endif
