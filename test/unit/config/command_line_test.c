#include "config_kit.h"

static const char *const nowhere[] = {"HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent", NULL};

static void assert_refused(const char *line, const char *message, const char *hint)
{
    cb_config *config;
    cb_error err;

    if (kit_read(line, nowhere, &config, &err) == CB_OK)
        fail_msg("'%s' is taken", line);
    assert_null(config);
    assert_int_equal(err.code, CB_USAGE);
    if (!strstr(err.message, message))
        fail_msg("'%s': '%s' does not say '%s'", line, err.message, message);
    if (!strstr(err.hint, hint))
        fail_msg("'%s': '%s' does not hint at '%s'", line, err.hint, hint);
}

static void test_forms(void **state)
{
    cb_config *config;

    (void)state;
    config = kit_config("--jobs 3 backup --lock-wait=7 x.duckdb --no-json -qv --create", nowhere);
    assert_int_equal(config->line.command, CB_COMMAND_BACKUP);
    assert_int_equal(config->line.operand_count, 1);
    assert_string_equal(config->line.operands[0], "x.duckdb");
    assert_int_equal(config->values[CB_OPT_JOBS].number, 3);
    assert_int_equal(config->values[CB_OPT_LOCK_WAIT].number, 7000000);
    assert_int_equal(config->values[CB_OPT_JSON].origin, CB_FROM_FLAG);
    assert_false(cb_config_flag(config, CB_OPT_JSON));
    assert_true(cb_config_flag(config, CB_OPT_QUIET));
    assert_true(cb_config_flag(config, CB_OPT_VERBOSE));
    assert_false(cb_config_flag(config, CB_OPT_NO_CREATE));
    cb_config_free(config);

    /* Behind "--", and a lone "-", nothing is an option. */
    config = kit_config("copy -- --json -", nowhere);
    assert_int_equal(config->line.operand_count, 2);
    assert_string_equal(config->line.operands[0], "--json");
    assert_false(cb_config_flag(config, CB_OPT_JSON));
    cb_config_free(config);

    /* The last of two flags counts. */
    config = kit_config("list --json --no-json", nowhere);
    assert_false(cb_config_flag(config, CB_OPT_JSON));
    cb_config_free(config);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("", "no command", "help");
    assert_refused("bakup x", "'bakup'", "'backup'");
    assert_refused("list --jsno", "--jsno", "--json");
    assert_refused("list --lock_wait 3", "--lock_wait", "--lock-wait");
    assert_refused("list -x", "-x", "two dashes");
    assert_refused("list --full", "list does not take --full", "help list");
    assert_refused("list --jobs", "--jobs needs a value", "--jobs N");
    assert_refused("list --jobs --json", "--jobs needs a value", "--jobs N");
    assert_refused("list --jobs 1 --jobs 2", "--jobs is given twice", "");
    assert_refused("list --no-jobs 1", "--no-jobs", "");
    assert_refused("list --no-json=true", "takes no value", "");
    assert_refused("list --json=perhaps", "--json: ", "");
    assert_refused("list --jobs=", "--jobs: ", "");
    assert_refused("backup", "needs SOURCE", "Usage: ");
    assert_refused("backup a b", "'b'", "Usage: ");
    assert_refused("init here", "'here'", "");
    assert_refused("restore x --time yesterday", "--time: ", "");
}

/* The value may be the secret itself: neither it nor the idea that it belongs there is repeated. */
static void test_secrets_have_no_flag(void **state)
{
    cb_config *config;
    cb_error err;

    (void)state;
    assert_refused("list --secret-access-key hunter2", "--secret-access-key",
                   "AWS_SECRET_ACCESS_KEY");
    assert_refused("list --passphrase=hunter2", "--passphrase", "--passphrase-file");
    assert_int_equal(kit_read("list --password=hunter2", nowhere, &config, &err), CB_USAGE);
    assert_null(strstr(err.message, "hunter2"));
    assert_null(strstr(err.hint, "hunter2"));
}

static void test_reserved_commands(void **state)
{
    static const char *const lines[] = {"archive-push p --foo", "archive-get a b", "receive-wal",
                                        "serve"};
    cb_config *config;
    cb_error err;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(lines); i++) {
        assert_int_equal(kit_read(lines[i], nowhere, &config, &err), CB_UNSUPPORTED);
        assert_non_null(strstr(err.message, "not in this version"));
    }
}

static void test_help_is_always_had(void **state)
{
    static const char *const broken[] = {"HOME=/nonexistent", "CANVASBACK_NONSENSE=1", NULL};
    cb_config *config;
    cb_error err;

    (void)state;
    config = kit_config("help --keep-daily", broken);
    assert_int_equal(config->line.operand_count, 1);
    assert_string_equal(config->line.operands[0], "--keep-daily");
    cb_config_free(config);
    config = kit_config("help --man", broken);
    assert_true(cb_config_flag(config, CB_OPT_MAN));
    cb_config_free(config);
    cb_config_free(kit_config("backup --help", broken)); /* though it needs SOURCE */
    cb_config_free(kit_config("--version", broken));
    assert_int_equal(kit_read("list", broken, &config, &err), CB_USAGE);
}

static void test_json_is_wanted(void **state)
{
    static const char *const wrong[] = {"canvasback", "backup", "--bogus", "--json", NULL};
    static const char *const behind[] = {"canvasback", "copy", "--", "--json", NULL};
    static const char *const undone[] = {"canvasback", "list", "--json", "--no-json", NULL};
    static const char *const variable[] = {"CANVASBACK_JSON=true", NULL};

    (void)state;
    assert_true(cb_config_wants_json(4, wrong, NULL));
    assert_false(cb_config_wants_json(4, behind, NULL));
    assert_false(cb_config_wants_json(4, undone, NULL));
    assert_true(cb_config_wants_json(3, wrong, variable));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_secrets_have_no_flag),
        cmocka_unit_test(test_reserved_commands),
        cmocka_unit_test(test_help_is_always_had),
        cmocka_unit_test(test_json_is_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
