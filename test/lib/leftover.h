/*
 * leftover.h - what a test makes below /tmp goes with its process, also when the test fails.
 */
#ifndef CB_TEST_LEFTOVER_H
#define CB_TEST_LEFTOVER_H

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEFTOVERS_MAX = 64 };

static char leftovers[LEFTOVERS_MAX][128];
static unsigned leftover_count;
static pid_t leftover_owner; /* not a child that forgets _exit */

static inline void leftovers_remove(void)
{
    for (unsigned i = 0; getpid() == leftover_owner && i < leftover_count; i++) {
        cb_error err = {0};

        cb_ignore(cb_tree_remove(leftovers[i], &err)); /* it is only a leftover */
    }
}

/* `path`: a file or a folder; what is gone by then is passed over. */
static inline void test_remove_at_exit(const char *path)
{
    if (leftover_count == LEFTOVERS_MAX)
        return;
    if (leftover_count == 0)
        leftover_owner = atexit(leftovers_remove) == 0 ? getpid() : 0;
    snprintf(leftovers[leftover_count++], sizeof(leftovers[0]), "%s", path);
}

#endif
