/*
 * The handler may only set flags: cb_cancel is made for that. The one global of this room is what
 * the handler needs; it belongs to the process, as the handlers do.
 */
#include "cli/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic(cb_ctx *) attached;
static atomic_bool is_second;

static void on_signal(int number)
{
    cb_ctx *ctx = atomic_load(&attached);

    /* Whoever asks twice does not want to wait; crash safety does not depend on a clean end. */
    if (!ctx || atomic_exchange(&is_second, true))
        _exit(128 + number);
    cb_cancel(ctx);
}

void cb_signals_attach(cb_ctx *ctx)
{
    struct sigaction action;

    atomic_store(&attached, ctx);
    if (!ctx)
        return;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}
