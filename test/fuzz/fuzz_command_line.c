/*
 * Command line and environment: the input is words parted by NUL; words behind an empty one are
 * the environment. Whatever they are, they are taken or refused with a message.
 */
#include "fuzz.h"

#include <string.h>

#include "config/request.h"

enum { WORDS_MAX = 64 };

static void check_requests(const cb_config *config)
{
    cb_backup_request backup;
    cb_restore_request restore;
    cb_expire_request expire;
    cb_copy_request copy;
    cb_error err = {0};

    switch (config->line.command) {
    case CB_COMMAND_BACKUP:
        cb_ignore(cb_backup_request_fill(config, &backup, &err));
        FUZZ_CHECK(backup.source != NULL);
        break;
    case CB_COMMAND_RESTORE:
        if (cb_restore_request_fill(config, &restore, &err) == CB_OK)
            FUZZ_CHECK(restore.backup != NULL);
        break;
    case CB_COMMAND_EXPIRE:
        if (cb_expire_request_fill(config, &expire, &err) == CB_OK)
            FUZZ_CHECK(cb_has_keep_rules(config));
        break;
    case CB_COMMAND_COPY:
        if (cb_copy_request_fill(config, &copy, &err) == CB_OK)
            FUZZ_CHECK(copy.source != NULL && copy.target != NULL);
        break;
    default:
        break;
    }
    FUZZ_CHECK(err.code == CB_OK || err.code == CB_USAGE);
}

static bool is_asked_for_help(const cb_config *config)
{
    return cb_config_flag(config, CB_OPT_HELP) || cb_config_flag(config, CB_OPT_VERSION);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *argv[WORDS_MAX + 2] = {"canvasback"};
    const char *environment[WORDS_MAX + 4] = {"HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent"};
    char *text = malloc(size + 1);
    cb_config *config;
    cb_error err = {0};
    size_t variables = 2;
    int argc = 1;
    bool is_environment = false;

    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    for (size_t at = 0; at < size; at += strlen(text + at) + 1) {
        if (text[at] == '\0')
            is_environment = true;
        else if (is_environment && variables < WORDS_MAX)
            environment[variables++] = text + at;
        else if (!is_environment && argc < WORDS_MAX && !strstr(text + at, "--config"))
            argv[argc++] = text + at;
    }
    /* --config would read files of this machine. */
    for (size_t i = 2; i < variables; i++)
        if (strncmp(environment[i], "CANVASBACK_CONFIG=", 18) == 0)
            environment[i] = "OTHER=1";

    (void)cb_config_wants_json(argc, argv, environment);
    if (cb_config_read(argc, argv, environment, &config, &err) == CB_OK) {
        if (!is_asked_for_help(config))
            check_requests(config);
        cb_config_free(config);
    } else {
        FUZZ_CHECK(config == NULL && err.message[0] != '\0');
        FUZZ_CHECK(err.code == CB_USAGE || err.code == CB_UNSUPPORTED);
    }
    free(text);
    return 0;
}
