/*
 * macros.h - the few macros of the house; none hides control flow, none makes functions.
 */
#ifndef CB_BASE_MACROS_H
#define CB_BASE_MACROS_H

#include "canvasback.h" /* CB_API, CB_MUST_USE */

#define CB_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

/* Release a local by scope: `CB_CLEANUP(cb_buf_free) cb_buf raw = {0};` calls cb_buf_free(&raw). */
#define CB_CLEANUP(fn) __attribute__((cleanup(fn)))

#define CB_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
