/*
 * config_kit.h - one run's settings from words, for the tests of the room.
 */
#ifndef CB_TEST_CONFIG_KIT_H
#define CB_TEST_CONFIG_KIT_H

#include "config/config.h"

#include "../../lib/leftover.h"

#include <sys/stat.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Read "backup x --jobs 3" (words parted by single blanks) with this environment. */
static inline cb_code kit_read(const char *line, const char *const *environment, cb_config **out,
                               cb_error *err)
{
    static char words[8][4096]; /* what a config borrows must outlive it; eight are enough */
    static unsigned next;
    char *text = words[next++ % 8];
    const char *argv[64] = {"canvasback"};
    int argc = 1;

    snprintf(text, sizeof(words[0]), "%s", line);
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    *err = (cb_error){0};
    return cb_config_read(argc, argv, environment, out, err);
}

static inline cb_config *kit_config(const char *line, const char *const *environment)
{
    cb_config *config;
    cb_error err;

    if (kit_read(line, environment, &config, &err) != CB_OK)
        fail_msg("'%s' is refused: %s", line, err.message);
    return config;
}

/* A file of this text; the caller removes it, or the end of the process. */
static inline void kit_file(char path[64], const char *text)
{
    FILE *file;
    int fd;

    snprintf(path, 64, "/tmp/canvasback-config-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    test_remove_at_exit(path);
    file = fdopen(fd, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#endif
