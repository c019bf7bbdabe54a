/*
 * signals.h - interrupt and terminate end the running verb cleanly; a second one ends the program.
 */
#ifndef CB_CLI_SIGNALS_H
#define CB_CLI_SIGNALS_H

#include "canvasback.h"

/* From now on SIGINT, SIGTERM and SIGHUP cancel `ctx` (NULL: nothing to cancel any more). SIGPIPE
   becomes an error of write(2). */
void cb_signals_attach(cb_ctx *ctx);

#endif
