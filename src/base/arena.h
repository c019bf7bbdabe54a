/*
 * arena.h - memory that is freed at once: all of a manifest, all of a result.
 *
 * Threads: none. Allocation returns NULL only when memory is out: cb_arena_* with err report it.
 */
#ifndef CB_BASE_ARENA_H
#define CB_BASE_ARENA_H

#include "base/bytes.h"

typedef struct cb_arena {
    struct cb_arena_block *blocks; /* zero-initialised is empty */
} cb_arena;

void cb_arena_free(cb_arena *arena);

/* `size` zeroed bytes, aligned for any type. */
CB_MUST_USE cb_code cb_arena_alloc(cb_arena *arena, size_t size, void *out /* void ** */,
                                   cb_error *err);
/* NUL-terminated copy; NULL text gives NULL. */
CB_MUST_USE cb_code cb_arena_text(cb_arena *arena, const char *text, const char **out,
                                  cb_error *err);
CB_MUST_USE cb_code cb_arena_text_n(cb_arena *arena, const void *data, size_t size,
                                    const char **out, cb_error *err);
CB_MUST_USE cb_code cb_arena_format(cb_arena *arena, const char **out, cb_error *err,
                                    const char *format, ...) CB_PRINTF(4, 5);

#endif
