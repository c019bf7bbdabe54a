/*
 * temp.h - a temporary folder for one test, and a context for it.
 */
#ifndef CB_TEST_TEMP_H
#define CB_TEST_TEMP_H

#include "base/ctx.h"

/* A fresh folder below $TMPDIR or /tmp; `path` has room for 256 bytes. Exits the test on failure.
 */
void test_temp_make(char path[256]);
void test_temp_remove(const char *path);

/* A context with quiet sink, and without a cache on this machine; failures exit the test. */
cb_ctx *test_ctx_new(void);

#endif
