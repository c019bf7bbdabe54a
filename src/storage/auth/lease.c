/*
 * lease.c - single flight: of all threads that find a value ending, one renews it. The others go on
 * with the old one while it is good, and wait when it is not.
 *
 * A failure to renew early harms nobody: the old value is used to its end, and it is tried again
 * every ten seconds.
 */
#include "storage/auth/auth_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "codec/mac.h"

enum {
    SECOND_US = 1000 * 1000,
    EARLY_US = 300 * SECOND_US,   /* renewed so long before the end */
    AGAIN_US = 10 * SECOND_US,    /* between attempts while the old one is good */
    SETTLED_US = 30 * SECOND_US,  /* a refusal so soon after a renewal is about the value before */
    STRETCH_US = 60 * SECOND_US,  /* for what comes ended from a source that lives */
    WAIT_SLICE_NS = 50 * 1000000, /* between looks at the cancel flag */
};

struct cb_lease {
    cb_ctx *ctx;
    cb_lease_fetch *fetch;
    void *arg;
    size_t size;
    void *fresh; /* belongs to the thread that renews */

    pthread_mutex_t lock;
    pthread_cond_t ended_one;
    void *value; /* from here on: under the lock */
    cb_grant grant;
    uint64_t renewals; /* 0: there is no value yet */
    int64_t renewed_us, next_try_us, good_until_us;
    bool is_busy;
    uint64_t ended; /* attempts that have ended, either way */
    cb_error failure;
};

cb_code cb_lease_new(cb_ctx *ctx, size_t value_size, cb_lease_fetch *fetch, void *arg,
                     cb_lease **out, cb_error *err)
{
    cb_lease *lease = calloc(1, sizeof(*lease));
    pthread_condattr_t attributes;

    *out = NULL;
    if (lease == NULL)
        return cb_fail_memory(err, sizeof(*lease));
    *lease = (cb_lease){.ctx = ctx, .fetch = fetch, .arg = arg, .size = value_size};
    lease->fresh = calloc(1, value_size);
    lease->value = calloc(1, value_size);
    pthread_mutex_init(&lease->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lease->ended_one, &attributes);
    pthread_condattr_destroy(&attributes);
    if (lease->fresh == NULL || lease->value == NULL) {
        cb_lease_free(lease);
        return cb_fail_memory(err, value_size);
    }
    *out = lease;
    return CB_OK;
}

void cb_lease_free(cb_lease *lease)
{
    if (lease == NULL)
        return;
    if (lease->fresh != NULL)
        cb_wipe(lease->fresh, lease->size);
    if (lease->value != NULL)
        cb_wipe(lease->value, lease->size);
    free(lease->fresh);
    free(lease->value);
    pthread_cond_destroy(&lease->ended_one);
    pthread_mutex_destroy(&lease->lock);
    free(lease);
}

static bool is_good(const cb_lease *lease, int64_t now)
{
    return lease->renewals > 0 && now < lease->good_until_us;
}

/* Must somebody go and get a new one, whoever asks with `refused`? */
static bool is_due(const cb_lease *lease, int64_t now, bool refused)
{
    if (!is_good(lease, now))
        return true;
    if (refused)
        return lease->renewals == 1 || now - lease->renewed_us > SETTLED_US ||
               now < lease->renewed_us;
    return lease->good_until_us - now < EARLY_US && now >= lease->next_try_us;
}

static cb_code fail_ended(const cb_grant *grant, cb_error *err)
{
    const char *article = strcmp(grant->source, "environment") == 0 ? "the " : "";

    cb_fail(err, CB_DENIED, "credentials from %s%s have expired", article, grant->source);
    cb_hint(err,
            "The temporary credentials in %s%s expired: get new ones and start again, or use a "
            "source that renews itself, such as a role.",
            article, grant->source);
    return err->code;
}

/* What the attempt brought, under the lock. Returns what it means to the thread that made it. */
static cb_code take_in(cb_lease *lease, cb_grant *grant, bool refused, cb_code code, cb_error *err)
{
    int64_t now = cb_now_us(lease->ctx);
    bool is_same = lease->renewals > 0 && memcmp(lease->value, lease->fresh, lease->size) == 0;

    lease->next_try_us = now + AGAIN_US;
    if (code == CB_OK && grant->is_fixed && ((refused && is_same) || grant->expires_us <= now))
        code = fail_ended(grant, err);
    if (code != CB_OK) {
        lease->failure = *err;
        return refused || !is_good(lease, now) ? code : CB_OK;
    }
    memcpy(lease->value, lease->fresh, lease->size);
    lease->grant = *grant;
    lease->renewals++;
    lease->renewed_us = now;
    lease->good_until_us = grant->expires_us;
    if (lease->good_until_us <= now) /* our clock may be wrong: let the store decide */
        lease->good_until_us = now + STRETCH_US;
    cb_error_clear(&lease->failure);
    return CB_OK;
}

static cb_code renew(cb_lease *lease, bool refused, void *out, cb_error *err)
{
    cb_grant grant = {.expires_us = CB_LEASE_FOREVER};
    cb_code code;

    memset(lease->fresh, 0, lease->size);
    code = lease->fetch(lease->arg, lease->fresh, &grant, err);

    pthread_mutex_lock(&lease->lock);
    code = take_in(lease, &grant, refused, code, err);
    if (code == CB_OK)
        memcpy(out, lease->value, lease->size);
    cb_wipe(lease->fresh, lease->size);
    lease->is_busy = false;
    lease->ended++;
    pthread_cond_broadcast(&lease->ended_one);
    pthread_mutex_unlock(&lease->lock);

    if (code == CB_OK && grant.source[0] != '\0')
        cb_event_text(lease->ctx, CB_EVENT_DEBUG, "credentials from %s", grant.source);
    return code;
}

/* A slice of waiting for the thread that renews. */
static void wait_a_little(cb_lease *lease)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_SLICE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&lease->ended_one, &lease->lock, &until); /* a timeout is fine */
}

cb_code cb_lease_get(cb_lease *lease, bool refused, void *out, cb_error *err)
{
    cb_code code = CB_OK;
    bool is_mine = false;
    uint64_t before;
    int64_t now = cb_now_us(lease->ctx);

    pthread_mutex_lock(&lease->lock);
    before = lease->ended;
    while (code == CB_OK && lease->is_busy && lease->ended == before &&
           (refused || !is_good(lease, now))) {
        wait_a_little(lease);
        code = cb_check_cancel(lease->ctx, err);
        now = cb_now_us(lease->ctx);
    }
    if (code == CB_OK && lease->ended != before && lease->failure.code != CB_OK &&
        (refused || !is_good(lease, now))) {
        *err = lease->failure; /* we waited for that attempt: ours would end the same way */
        code = err->code;
    } else if (code == CB_OK && lease->ended == before && !lease->is_busy &&
               is_due(lease, now, refused)) {
        lease->is_busy = is_mine = true;
    } else if (code == CB_OK) {
        memcpy(out, lease->value, lease->size);
    }
    pthread_mutex_unlock(&lease->lock);
    return is_mine ? renew(lease, refused, out, err) : code;
}

void cb_lease_source(cb_lease *lease, char out[CB_AUTH_SOURCE_MAX])
{
    pthread_mutex_lock(&lease->lock);
    memcpy(out, lease->grant.source, CB_AUTH_SOURCE_MAX);
    pthread_mutex_unlock(&lease->lock);
}
