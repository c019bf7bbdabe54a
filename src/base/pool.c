/*
 * pool.c - a ring of jobs under one mutex.
 *
 * `changed` wakes workers (a job came, or the end), `room` wakes the coordinator: when half of a
 * full ring is free, or everything has ended. Not for each job: where jobs are a few microseconds
 * long, waking it would cost more than they do. The first error empties the ring and stays: every
 * later call returns it.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    cb_pool *pool;
    unsigned number;
    pthread_t thread;
    void *job; /* the copy it works on; part of its own allocation */
} worker;

struct cb_pool {
    cb_pool_work *work;
    void *arg;
    size_t depth, job_bytes;
    unsigned count; /* workers that run */
    worker *workers;
    uint8_t *jobs; /* depth x job_bytes */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed, room;
    size_t first, queued;
    unsigned active;
    unsigned waiting; /* for room */
    bool ends;
    cb_error err; /* the first; code CB_OK: none */
};

/* Under the lock. */
static void end_job(cb_pool *pool, cb_code code, const cb_error *err)
{
    pool->active--;
    if (code != CB_OK && pool->err.code == CB_OK) {
        pool->err = *err;
        pool->err.code = code;
        pool->queued = 0;
        pthread_cond_broadcast(&pool->room);
    }
    if (pool->queued == 0 && pool->active == 0)
        pthread_cond_broadcast(&pool->room);
}

static void *run_worker(void *arg)
{
    worker *self = arg;
    cb_pool *pool = self->pool;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        cb_error err = {0};
        cb_code code;

        while (pool->queued == 0 && !pool->ends)
            pthread_cond_wait(&pool->changed, &pool->lock);
        if (pool->queued == 0)
            break;
        memcpy(self->job, pool->jobs + pool->first * pool->job_bytes, pool->job_bytes);
        pool->first = (pool->first + 1) % pool->depth;
        pool->queued--;
        pool->active++;
        if (pool->waiting > 0 && pool->queued <= pool->depth / 2)
            pthread_cond_broadcast(&pool->room);
        pthread_mutex_unlock(&pool->lock);

        code = pool->work(pool->arg, self->number, self->job, &err);

        pthread_mutex_lock(&pool->lock);
        end_job(pool, code, &err);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the threads of the caller: workers never run a handler. */
static cb_code start_workers(cb_pool *pool, unsigned wanted, cb_error *err)
{
    sigset_t all, before;
    cb_code code = CB_OK;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (code == CB_OK && pool->count < wanted) {
        worker *next = &pool->workers[pool->count];
        int problem;

        next->pool = pool;
        next->number = pool->count;
        next->job = malloc(pool->job_bytes);
        if (next->job == NULL) {
            code = cb_fail_memory(err, pool->job_bytes);
            break;
        }
        problem = pthread_create(&next->thread, NULL, run_worker, next);
        if (problem != 0) {
            free(next->job);
            code = cb_fail_errno(err, problem, "cannot start thread %u of %u", pool->count + 1,
                                 wanted);
            break;
        }
        pool->count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

cb_code cb_pool_new(unsigned workers, size_t depth, size_t job_bytes, cb_pool_work *work, void *arg,
                    cb_pool **out, cb_error *err)
{
    cb_pool *pool = calloc(1, sizeof(*pool));
    cb_code code;

    *out = NULL;
    if (pool == NULL)
        return cb_fail_memory(err, sizeof(*pool));
    pool->work = work;
    pool->arg = arg;
    pool->depth = depth > 0 ? depth : 1;
    pool->job_bytes = job_bytes > 0 ? job_bytes : 1;
    workers = workers > 0 ? workers : 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pthread_cond_init(&pool->room, NULL);
    pool->workers = calloc(workers, sizeof(*pool->workers));
    pool->jobs = calloc(pool->depth, pool->job_bytes);
    if (pool->workers == NULL || pool->jobs == NULL)
        code = cb_fail_memory(err, pool->depth * pool->job_bytes);
    else
        code = start_workers(pool, workers, err);
    if (code != CB_OK) {
        cb_pool_free(pool);
        return code;
    }
    *out = pool;
    return CB_OK;
}

/* Under the lock. */
static cb_code first_error(const cb_pool *pool, cb_error *err)
{
    if (pool->err.code != CB_OK)
        *err = pool->err;
    return pool->err.code;
}

cb_code cb_pool_submit(cb_pool *pool, const void *job, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&pool->lock);
    while (pool->queued == pool->depth && pool->err.code == CB_OK) {
        pool->waiting++;
        pthread_cond_wait(&pool->room, &pool->lock);
        pool->waiting--;
    }
    code = first_error(pool, err);
    if (code == CB_OK) {
        size_t slot = (pool->first + pool->queued) % pool->depth;

        memcpy(pool->jobs + slot * pool->job_bytes, job, pool->job_bytes);
        pool->queued++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return code;
}

cb_code cb_pool_drain(cb_pool *pool, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&pool->lock);
    while (pool->queued > 0 || pool->active > 0)
        pthread_cond_wait(&pool->room, &pool->lock);
    code = first_error(pool, err);
    pthread_mutex_unlock(&pool->lock);
    return code;
}

void cb_pool_free(cb_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->queued = 0;
    pool->ends = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);

    for (unsigned i = 0; i < pool->count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        free(pool->workers[i].job);
    }
    pthread_cond_destroy(&pool->room);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->jobs);
    free(pool->workers);
    free(pool);
}

void cb_pool_buffers_init(cb_pool_buffers *buffers, size_t limit)
{
    memset(buffers, 0, sizeof(*buffers));
    for (unsigned i = 0; i < CB_POOL_WORKERS_MAX; i++)
        buffers->of[i].limit = limit;
}

void cb_pool_buffers_free(cb_pool_buffers *buffers)
{
    for (unsigned i = 0; i < CB_POOL_WORKERS_MAX; i++)
        cb_buf_free(&buffers->of[i]);
}
