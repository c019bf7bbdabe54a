/*
 * bits.h - a set of block numbers below a bound that is known when it is made.
 *
 * Threads: none; readers may share a set that nobody changes.
 */
#ifndef CB_SOURCE_DUCKDB_BITS_H
#define CB_SOURCE_DUCKDB_BITS_H

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

typedef struct cb_bits {
    uint64_t *words; /* zero-initialised is an empty set with bound 0 */
    uint64_t bound;
} cb_bits;

static inline void cb_bits_free(cb_bits *bits)
{
    free(bits->words);
    *bits = (cb_bits){0};
}

/* Keep what is in the set, with room for numbers below `bound`; never shrinks. */
CB_MUST_USE static inline cb_code cb_bits_reserve(cb_bits *bits, uint64_t bound, cb_error *err)
{
    size_t have = (size_t)((bits->bound + 63) / 64);
    size_t want = (size_t)((bound + 63) / 64);
    uint64_t *words;

    if (bound <= bits->bound)
        return CB_OK;
    words = realloc(bits->words, (want + 1) * sizeof(*words));
    if (words == NULL)
        return cb_fail_memory(err, want * sizeof(*words));
    memset(words + have, 0, (want + 1 - have) * sizeof(*words));
    bits->words = words;
    bits->bound = bound;
    return CB_OK;
}

static inline bool cb_bits_has(const cb_bits *bits, uint64_t number)
{
    return number < bits->bound && ((bits->words[number / 64] >> (number % 64)) & 1) != 0;
}

/* Numbers at or past the bound are ignored: they cannot be in the set. */
static inline void cb_bits_add(cb_bits *bits, uint64_t number)
{
    if (number < bits->bound)
        bits->words[number / 64] |= (uint64_t)1 << (number % 64);
}

static inline void cb_bits_remove(cb_bits *bits, uint64_t number)
{
    if (number < bits->bound)
        bits->words[number / 64] &= ~((uint64_t)1 << (number % 64));
}

static inline void cb_bits_clear(cb_bits *bits)
{
    if (bits->bound > 0)
        memset(bits->words, 0, (size_t)((bits->bound + 63) / 64) * sizeof(*bits->words));
}

/* Every number below `end` joins the set. */
static inline void cb_bits_fill(cb_bits *bits, uint64_t end)
{
    if (end > bits->bound)
        end = bits->bound;
    if (end >= 64)
        memset(bits->words, 0xff, (size_t)(end / 64) * sizeof(*bits->words));
    for (uint64_t i = end / 64 * 64; i < end; i++)
        cb_bits_add(bits, i);
}

/* The first member at or after `from`; the bound when there is none. */
static inline uint64_t cb_bits_next(const cb_bits *bits, uint64_t from)
{
    uint64_t word;

    if (from >= bits->bound)
        return bits->bound;
    word = bits->words[from / 64] & (~(uint64_t)0 << (from % 64));
    for (uint64_t at = from / 64;;) {
        if (word != 0) {
            uint64_t number = at * 64 + (uint64_t)__builtin_ctzll(word);

            return number < bits->bound ? number : bits->bound;
        }
        at++;
        if (at >= (bits->bound + 63) / 64)
            return bits->bound;
        word = bits->words[at];
    }
}

static inline uint64_t cb_bits_count(const cb_bits *bits)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < (bits->bound + 63) / 64; i++)
        count += (uint64_t)__builtin_popcountll(bits->words[i]);
    return count;
}

static inline void cb_bits_swap(cb_bits *a, cb_bits *b)
{
    cb_bits kept = *a;

    *a = *b;
    *b = kept;
}

#endif
