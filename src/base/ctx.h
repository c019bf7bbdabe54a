/*
 * ctx.h - the context that travels with every call: settings, events, cancel, clock and chance.
 *
 * Time and randomness come only from here, so that tests are repeatable: a test replaces
 * `clock`, `random` or `sleep` after cb_ctx_new.
 */
#ifndef CB_BASE_CTX_H
#define CB_BASE_CTX_H

#include "base/arena.h"

#include <pthread.h>
#include <stdatomic.h>

struct cb_ctx {
    cb_settings settings; /* strings owned by `arena` */
    cb_arena arena;
    cb_event_sink *sink;
    void *sink_arg;
    pthread_mutex_t sink_lock; /* guards the next two, and the sink */
    int64_t progress_us;       /* when progress was last told; 0: not in this phase */
    unsigned progress_pass;
    atomic_bool cancelled;
    int64_t (*clock)(void *arg); /* microseconds since 1970 UTC */
    void (*random)(void *arg, void *into, size_t size);
    void (*sleep)(void *arg, int64_t us);
    void *hooks_arg;
    pthread_mutex_t kept_lock; /* guards the next one */
    struct cb_kept_secret *kept;
};

int64_t cb_now_us(cb_ctx *ctx);
int64_t cb_monotonic_us(void); /* for durations only; never goes back */
void cb_random(cb_ctx *ctx, void *into, size_t size);
unsigned cb_jobs(const cb_ctx *ctx); /* settings.jobs, or the cores; 1..64 */

/* CB_CANCELLED once cb_cancel was called, else CB_OK. Long loops ask this. */
CB_MUST_USE cb_code cb_check_cancel(cb_ctx *ctx, cb_error *err);
/* Sleep, waking every 50 ms at the most to look at the cancel flag. */
CB_MUST_USE cb_code cb_sleep_us(cb_ctx *ctx, int64_t us, cb_error *err);

/*
 * Small secrets that are kept as long as the context, by 16 bytes of name: a key that was dear to
 * derive, a passphrase that a person typed. Wiped at the end. Any thread.
 */
enum { CB_KEPT_NAME_BYTES = 16 };
CB_MUST_USE cb_code cb_ctx_keep(cb_ctx *ctx, const uint8_t name[CB_KEPT_NAME_BYTES],
                                cb_bytes secret, cb_error *err);
/* Append it to `into`; false: there is none, or no room for it. */
bool cb_ctx_recall(cb_ctx *ctx, const uint8_t name[CB_KEPT_NAME_BYTES], cb_buf *into);

void cb_event_text(cb_ctx *ctx, cb_event_kind kind, const char *format, ...) CB_PRINTF(3, 4);
/* Ten times a second at most, but each new pass at once: callers need not hold back. */
void cb_event_progress(cb_ctx *ctx, uint64_t done_bytes, uint64_t total_bytes, unsigned pass);

#endif
