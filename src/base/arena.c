/*
 * arena.c - a list of blocks, newest first; small requests share a block, large ones get their own.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 16 * 1024, OWN_BLOCK_BYTES = 4 * 1024 };

struct cb_arena_block {
    struct cb_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

void cb_arena_free(cb_arena *arena)
{
    struct cb_arena_block *block = arena->blocks;

    while (block != NULL) {
        struct cb_arena_block *next = block->next;

        free(block);
        block = next;
    }
    arena->blocks = NULL;
}

static struct cb_arena_block *block_new(size_t size)
{
    struct cb_arena_block *block = calloc(1, sizeof(*block) + size);

    if (block != NULL)
        block->size = size;
    return block;
}

/* Behind the newest block, which small requests go on filling. */
static void link_block(cb_arena *arena, struct cb_arena_block *block, bool is_shared)
{
    if (is_shared || arena->blocks == NULL) {
        block->next = arena->blocks;
        arena->blocks = block;
    } else {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    }
}

static void *allocate(cb_arena *arena, size_t size)
{
    struct cb_arena_block *block = arena->blocks;
    bool is_shared = size < OWN_BLOCK_BYTES;
    void *memory;

    if (block == NULL || size > block->size - block->used) {
        block = block_new(is_shared ? BLOCK_BYTES : size);
        if (block == NULL)
            return NULL;
        link_block(arena, block, is_shared);
    }
    memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

cb_code cb_arena_alloc(cb_arena *arena, size_t size, void *out, cb_error *err)
{
    const size_t align = alignof(max_align_t);
    void *memory = NULL;

    /* An empty request still gets an address of its own. */
    if (size == 0)
        size = 1;
    if (size < SIZE_MAX / 2)
        memory = allocate(arena, (size + align - 1) / align * align);
    memcpy(out, &memory, sizeof(memory));
    return memory != NULL ? CB_OK : cb_fail_memory(err, size);
}

cb_code cb_arena_text_n(cb_arena *arena, const void *data, size_t size, const char **out,
                        cb_error *err)
{
    char *copy;
    cb_code code;

    *out = NULL;
    if (size == SIZE_MAX)
        return cb_fail_memory(err, size);
    code = cb_arena_alloc(arena, size + 1, &copy, err);
    if (code != CB_OK)
        return code;
    if (size != 0)
        memcpy(copy, data, size);
    *out = copy;
    return CB_OK;
}

cb_code cb_arena_text(cb_arena *arena, const char *text, const char **out, cb_error *err)
{
    *out = NULL;
    if (text == NULL)
        return CB_OK;
    return cb_arena_text_n(arena, text, strlen(text), out, err);
}

cb_code cb_arena_format(cb_arena *arena, const char **out, cb_error *err, const char *format, ...)
{
    va_list args;
    char *text;
    int length;
    cb_code code;

    *out = NULL;
    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return cb_fail(err, CB_INTERNAL, "cannot format '%s'", format);

    code = cb_arena_alloc(arena, (size_t)length + 1, &text, err);
    if (code != CB_OK)
        return code;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    *out = text;
    return CB_OK;
}
