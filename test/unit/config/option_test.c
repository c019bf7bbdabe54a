#include "config_kit.h"

/* What help, manual and completions are made of must be there, and be fit for them. */
static void test_every_option_is_documented(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CB_OPT_END; i++) {
        const cb_option *option = &cb_options[i];
        size_t size;

        assert_non_null(option->name);
        assert_non_null(option->summary);
        assert_true(option->commands != 0);
        size = strlen(option->summary);
        assert_true(size > 5 && option->summary[size - 1] != '.');
        assert_false(option->summary[0] >= 'A' && option->summary[0] <= 'Z' &&
                     option->summary[1] >= 'a'); /* capitals only in words that have them */
        if (option->type == CB_TYPE_FLAG)
            assert_null(option->value);
        else
            assert_non_null(option->value);
        assert_int_equal(option->type == CB_TYPE_CHOICE, option->choices != NULL);
        if (option->detail)
            assert_int_equal(option->detail[strlen(option->detail) - 1], '.');
    }
    for (unsigned i = 0; i < CB_COMMAND_END; i++) {
        assert_non_null(cb_commands[i].name);
        assert_non_null(cb_commands[i].summary);
        assert_non_null(cb_commands[i].operands);
    }
}

static void test_names_are_unique(void **state)
{
    bool negated;

    (void)state;
    for (unsigned i = 0; i < CB_OPT_END; i++) {
        const char *name = cb_options[i].name;
        char form[80];

        assert_int_equal(cb_option_find(name, strlen(name), NULL), i);
        assert_int_equal(cb_option_find_letter(cb_options[i].letter),
                         cb_options[i].letter ? i : CB_OPT_END);
        if (cb_options[i].type != CB_TYPE_FLAG || i == CB_OPT_HELP || i == CB_OPT_VERSION)
            continue;
        snprintf(form, sizeof(form), "%s%s", strncmp(name, "no-", 3) == 0 ? "" : "no-",
                 strncmp(name, "no-", 3) == 0 ? name + 3 : name);
        assert_int_equal(cb_option_find(form, strlen(form), &negated), i);
        assert_true(negated);
    }
    for (unsigned i = 0; i < CB_COMMAND_END; i++)
        assert_int_equal(cb_command_named(cb_commands[i].name), i);
}

static void test_aliases(void **state)
{
    (void)state;
    assert_int_equal(cb_command_named("ls"), CB_COMMAND_LIST);
    assert_int_equal(cb_command_named("info"), CB_COMMAND_LIST);
    assert_int_equal(cb_command_named("snapshots"), CB_COMMAND_LIST);
    assert_int_equal(cb_command_named("forget"), CB_COMMAND_EXPIRE);
    assert_int_equal(cb_command_named("snap"), CB_COMMAND_END);
    assert_int_equal(cb_command_named(""), CB_COMMAND_END);
    assert_int_equal(cb_command_named("ls info"), CB_COMMAND_END);
}

static void test_suggestions(void **state)
{
    (void)state;
    assert_string_equal(cb_option_suggest("keep-dayly", CB_COMMAND_END), "keep-daily");
    assert_string_equal(cb_option_suggest("jbos", CB_COMMAND_END), "jobs");
    assert_null(cb_option_suggest("frobnicate", CB_COMMAND_END));
    assert_string_equal(cb_command_suggest("restroe"), "restore");
    assert_null(cb_command_suggest("frobnicate"));
    assert_null(cb_command_suggest("x"));
}

static void test_variables(void **state)
{
    char text[CB_OPTION_VARIABLE_MAX];

    (void)state;
    assert_string_equal(cb_option_variable(CB_OPT_LOCK_WAIT, text), "CANVASBACK_LOCK_WAIT");
    assert_string_equal(cb_option_variable(CB_OPT_S3_PATH_STYLE, text), "CANVASBACK_S3_PATH_STYLE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option_is_documented),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_variables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
