/*
 * cli_kit.h - what the tests of the room share: cmocka, and texts compared with a buffer.
 */
#ifndef CB_TEST_CLI_KIT_H
#define CB_TEST_CLI_KIT_H

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The buffer as a text; it lives until the buffer changes. */
static inline const char *kit_text(cb_buf *buf)
{
    cb_error err = {0};

    assert_int_equal(cb_buf_reserve(buf, 1, &err), CB_OK);
    buf->data[buf->size] = '\0';
    return (const char *)buf->data;
}

static inline void kit_assert_has(cb_buf *buf, const char *part)
{
    if (!strstr(kit_text(buf), part))
        fail_msg("there is no '%s' in:\n%s", part, kit_text(buf));
}

static inline void kit_assert_lacks(cb_buf *buf, const char *part)
{
    if (strstr(kit_text(buf), part))
        fail_msg("there is '%s' in:\n%s", part, kit_text(buf));
}

/* Characters of the longest line. */
static inline size_t kit_width(cb_buf *buf)
{
    const char *at = kit_text(buf);
    size_t longest = 0;

    while (*at) {
        size_t size = strcspn(at, "\n");
        size_t width = 0;

        for (size_t i = 0; i < size; i++)
            width += ((unsigned char)at[i] & 0xc0) != 0x80;
        longest = width > longest ? width : longest;
        at += size + (at[size] == '\n');
    }
    return longest;
}

#endif
