#include "temp.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

void test_temp_make(char path[256])
{
    const char *base = getenv("TMPDIR");

    snprintf(path, 256, "%s/cbtest-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(99);
    }
}

void test_temp_remove(const char *path)
{
    cb_error err = {0};

    cb_ignore(cb_tree_remove(path, &err)); /* a leftover in /tmp harms no test */
}

cb_ctx *test_ctx_new(void)
{
    cb_settings settings = {.jobs = 2, .cache_directory = "/dev/null"};
    cb_error err = {0};
    cb_ctx *ctx;

    if (cb_ctx_new(&settings, NULL, NULL, &ctx, &err) != CB_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(99);
    }
    return ctx;
}
