/*
 * ctx.c - the context, and the real clock, chance and sleep that it starts with.
 */
#include "base/ctx.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_US = 50 * 1000, PROGRESS_US = 100 * 1000, JOBS_MAX = 64 };

static int64_t us_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000;
}

static int64_t real_clock(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return us_of(&now);
}

static void real_random(void *arg, void *into, size_t size)
{
    uint8_t *at = into;

    (void)arg;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* a kernel without randomness: going on would make guessable secrets */
        at += got;
        size -= (size_t)got;
    }
}

static void real_sleep(void *arg, int64_t us)
{
    struct timespec rest = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

    (void)arg;
    /* A signal ends it early: whoever sleeps looks at the cancel flag next. */
    nanosleep(&rest, NULL);
}

static cb_code copy_settings(cb_ctx *ctx, const cb_settings *settings, cb_error *err)
{
    const char **texts[] = {
        &ctx->settings.repository,
        &ctx->settings.key_file,
        &ctx->settings.passphrase_file,
        &ctx->settings.passphrase_command,
        &ctx->settings.passphrase,
        &ctx->settings.cache_directory,
        &ctx->settings.endpoint,
        &ctx->settings.region,
        &ctx->settings.access_key_id,
        &ctx->settings.duckdb_library,
        &ctx->settings.extension_directory,
        &ctx->settings.program_directory,
    };

    ctx->settings = *settings;
    if (settings->more_repository_count > 0) {
        const char **copies;
        cb_code code = cb_arena_alloc(
            &ctx->arena, settings->more_repository_count * sizeof(*copies), &copies, err);

        if (code != CB_OK)
            return code;
        for (size_t i = 0; i < settings->more_repository_count; i++) {
            code = cb_arena_text(&ctx->arena, settings->more_repositories[i], &copies[i], err);
            if (code != CB_OK)
                return code;
        }
        ctx->settings.more_repositories = copies;
    }
    for (size_t i = 0; i < CB_LENGTH(texts); i++) {
        cb_code code = cb_arena_text(&ctx->arena, *texts[i], texts[i], err);

        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

CB_API cb_code cb_ctx_new(const cb_settings *settings, cb_event_sink *sink, void *arg, cb_ctx **out,
                          cb_error *err)
{
    cb_ctx *ctx = calloc(1, sizeof(*ctx));
    cb_code code;

    *out = NULL;
    if (ctx == NULL)
        return cb_fail_memory(err, sizeof(*ctx));
    code = copy_settings(ctx, settings, err);
    if (code != CB_OK) {
        cb_arena_free(&ctx->arena);
        free(ctx);
        return code;
    }
    pthread_mutex_init(&ctx->kept_lock, NULL);
    pthread_mutex_init(&ctx->sink_lock, NULL); /* never fails for a default mutex on Linux */
    ctx->sink = sink;
    ctx->sink_arg = arg;
    ctx->clock = real_clock;
    ctx->random = real_random;
    ctx->sleep = real_sleep;
    *out = ctx;
    return CB_OK;
}

/* ---- kept secrets ----------------------------------------------------------------------- */

struct cb_kept_secret {
    struct cb_kept_secret *next;
    uint8_t name[CB_KEPT_NAME_BYTES];
    size_t size;
    uint8_t data[];
};

static const struct cb_kept_secret *find_kept(const cb_ctx *ctx, const uint8_t *name)
{
    for (const struct cb_kept_secret *at = ctx->kept; at != NULL; at = at->next)
        if (memcmp(at->name, name, CB_KEPT_NAME_BYTES) == 0)
            return at;
    return NULL;
}

cb_code cb_ctx_keep(cb_ctx *ctx, const uint8_t name[CB_KEPT_NAME_BYTES], cb_bytes secret,
                    cb_error *err)
{
    struct cb_kept_secret *kept = malloc(sizeof(*kept) + secret.size);

    if (kept == NULL)
        return cb_fail_memory(err, sizeof(*kept) + secret.size);
    memcpy(kept->name, name, CB_KEPT_NAME_BYTES);
    kept->size = secret.size;
    if (secret.size > 0)
        memcpy(kept->data, secret.data, secret.size);
    pthread_mutex_lock(&ctx->kept_lock);
    kept->next = ctx->kept; /* in front of an older one of the same name */
    ctx->kept = kept;
    pthread_mutex_unlock(&ctx->kept_lock);
    return CB_OK;
}

bool cb_ctx_recall(cb_ctx *ctx, const uint8_t name[CB_KEPT_NAME_BYTES], cb_buf *into)
{
    const struct cb_kept_secret *kept;
    cb_error quiet = {0};
    bool found;

    pthread_mutex_lock(&ctx->kept_lock);
    kept = find_kept(ctx, name);
    found = kept != NULL && cb_buf_append(into, kept->data, kept->size, &quiet) == CB_OK;
    pthread_mutex_unlock(&ctx->kept_lock);
    return found;
}

static void forget_all(cb_ctx *ctx)
{
    while (ctx->kept != NULL) {
        struct cb_kept_secret *next = ctx->kept->next;

        explicit_bzero(ctx->kept, sizeof(*ctx->kept) + ctx->kept->size);
        free(ctx->kept);
        ctx->kept = next;
    }
}

CB_API void cb_ctx_free(cb_ctx *ctx)
{
    if (ctx == NULL)
        return;
    forget_all(ctx);
    pthread_mutex_destroy(&ctx->kept_lock);
    pthread_mutex_destroy(&ctx->sink_lock);
    cb_arena_free(&ctx->arena);
    free(ctx);
}

CB_API void cb_cancel(cb_ctx *ctx)
{
    atomic_store(&ctx->cancelled, true);
}

int64_t cb_now_us(cb_ctx *ctx)
{
    return ctx->clock(ctx->hooks_arg);
}

int64_t cb_monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return us_of(&now);
}

void cb_random(cb_ctx *ctx, void *into, size_t size)
{
    ctx->random(ctx->hooks_arg, into, size);
}

unsigned cb_jobs(const cb_ctx *ctx)
{
    long jobs = ctx->settings.jobs;

    if (jobs == 0)
        jobs = sysconf(_SC_NPROCESSORS_ONLN);
    if (jobs < 1)
        return 1;
    return jobs < JOBS_MAX ? (unsigned)jobs : JOBS_MAX;
}

cb_code cb_check_cancel(cb_ctx *ctx, cb_error *err)
{
    if (atomic_load_explicit(&ctx->cancelled, memory_order_relaxed))
        return cb_fail(err, CB_CANCELLED, "cancelled");
    return CB_OK;
}

cb_code cb_sleep_us(cb_ctx *ctx, int64_t us, cb_error *err)
{
    cb_code code = cb_check_cancel(ctx, err);

    while (code == CB_OK && us > 0) {
        int64_t slice = us < SLICE_US ? us : SLICE_US;

        ctx->sleep(ctx->hooks_arg, slice);
        us -= slice;
        code = cb_check_cancel(ctx, err);
    }
    return code;
}

static void send(cb_ctx *ctx, const cb_event *event)
{
    if (ctx->sink == NULL)
        return;
    pthread_mutex_lock(&ctx->sink_lock);
    if (event->kind == CB_EVENT_PHASE)
        ctx->progress_us = 0;
    ctx->sink(ctx->sink_arg, event);
    pthread_mutex_unlock(&ctx->sink_lock);
}

void cb_event_text(cb_ctx *ctx, cb_event_kind kind, const char *format, ...)
{
    char text[CB_MESSAGE_MAX];
    cb_event event = {.kind = kind, .text = text};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    send(ctx, &event);
}

void cb_event_progress(cb_ctx *ctx, uint64_t done_bytes, uint64_t total_bytes, unsigned pass)
{
    cb_event event = {
        .kind = CB_EVENT_PROGRESS,
        .text = "",
        .done_bytes = done_bytes,
        .total_bytes = total_bytes,
        .pass = pass,
    };
    int64_t now = cb_monotonic_us();

    if (ctx->sink == NULL)
        return;
    pthread_mutex_lock(&ctx->sink_lock);
    if (ctx->progress_us == 0 || pass != ctx->progress_pass ||
        now - ctx->progress_us >= PROGRESS_US) {
        ctx->progress_us = now;
        ctx->progress_pass = pass;
        ctx->sink(ctx->sink_arg, &event);
    }
    pthread_mutex_unlock(&ctx->sink_lock);
}
