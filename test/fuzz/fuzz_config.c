/*
 * The configuration file: lines, and what becomes of them as settings. The input is the text of a
 * file; what is accepted must be what a file written from it says again.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/ini.h"

/* Through a file, as in life; one for the whole process. */
static const char *write_file(const uint8_t *data, size_t size)
{
    static char path[64];
    int fd;

    snprintf(path, sizeof(path), "/tmp/canvasback-fuzz-%ld.ini", (long)getpid());
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(size == 0 || write(fd, data, size) == (ssize_t)size);
    close(fd);
    return path;
}

static void check_settings(const uint8_t *data, size_t size)
{
    static const char *const environment[] = {"HOME=/nonexistent", NULL};
    const char *argv[] = {"canvasback", "backup", "x.duckdb", "--config", write_file(data, size)};
    cb_config *config;
    cb_error err = {0};

    if (cb_config_read(5, argv, environment, &config, &err) != CB_OK) {
        FUZZ_CHECK(config == NULL);
        FUZZ_CHECK(err.code == CB_USAGE && err.message[0] != '\0');
    } else {
        for (unsigned i = 0; i < CB_OPT_END; i++)
            FUZZ_CHECK((config->values[i].text != NULL) ==
                       (config->values[i].origin != CB_FROM_NOWHERE));
        cb_config_free(config);
    }
    unlink(argv[4]);
}

static void check_again(const cb_ini *ini, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_ini again;

    for (size_t i = 0; i < ini->count; i++) {
        const cb_ini_line *line = &ini->lines[i];

        FUZZ_CHECK(cb_buf_format(&text, err, "[%s]\n%s = \"%s\"\n",
                                 line->section ? line->section : "global", line->key,
                                 line->value) == CB_OK);
    }
    FUZZ_CHECK(cb_ini_parse("again", cb_buf_bytes(&text), &arena, &again, err) == CB_OK);
    FUZZ_CHECK(again.count == ini->count);
    for (size_t i = 0; i < ini->count; i++) {
        FUZZ_CHECK(strcmp(again.lines[i].key, ini->lines[i].key) == 0);
        FUZZ_CHECK(strcmp(again.lines[i].value, ini->lines[i].value) == 0);
        FUZZ_CHECK((again.lines[i].section == NULL) == (ini->lines[i].section == NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error err = {0};
    cb_ini ini;

    if (cb_ini_parse("x", cb_bytes_of(data, size), &arena, &ini, &err) == CB_OK &&
        size < CB_INI_BYTES_MAX / 2)
        check_again(&ini, &err);
    else
        FUZZ_CHECK(size >= CB_INI_BYTES_MAX / 2 || err.code == CB_USAGE);
    check_settings(data, size);
    return 0;
}
