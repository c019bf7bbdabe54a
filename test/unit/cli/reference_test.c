#include "cli/reference.h"

#include "cli_kit.h"

/* Whatever the table holds must be found in what is printed from it. */
static void test_everything_is_printed(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf overview = {0};
    CB_CLEANUP(cb_buf_free) cb_buf manual = {0};
    CB_CLEANUP(cb_buf_free) cb_buf example = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_help_overview(&overview, &err), CB_OK);
    assert_int_equal(cb_manual_page(&manual, &err), CB_OK);
    assert_int_equal(cb_config_example(&example, &err), CB_OK);
    for (unsigned i = 0; i < CB_COMMAND_END; i++) {
        char line[64];

        snprintf(line, sizeof(line), "\n  %s ", cb_commands[i].name);
        if (cb_commands[i].is_reserved)
            kit_assert_lacks(&overview, line);
        else
            kit_assert_has(&overview, line);
    }
    for (unsigned i = 0; i < CB_OPT_END; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf help = {0};
        char text[256];
        char variable[CB_OPTION_VARIABLE_MAX];

        assert_int_equal(cb_help_option((cb_option_id)i, &help, &err), CB_OK);
        kit_assert_has(&help, cb_options[i].summary);
        if (cb_option_is_common((cb_option_id)i))
            kit_assert_has(&overview, cb_options[i].name);
        snprintf(text, sizeof(text), "\n#%s = ", cb_options[i].name);
        if (cb_options[i].flags & CB_OPTION_SECRET) {
            kit_assert_lacks(&example, text);
            kit_assert_has(&help, cb_option_variable((cb_option_id)i, variable));
            kit_assert_has(&help, "Environment only");
        } else if (cb_options[i].flags & CB_OPTION_LINE_ONLY) {
            kit_assert_lacks(&example, text);
            kit_assert_lacks(&help, "\nVariable: ");
        } else {
            kit_assert_has(&help, cb_option_variable((cb_option_id)i, variable));
            if (i != CB_OPT_CONFIG)
                kit_assert_has(&example, text);
        }
    }
}

static void test_help_of_commands(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CB_COMMAND_END; c++) {
        CB_CLEANUP(cb_buf_free) cb_buf help = {0};
        cb_error err = {0};

        if (cb_commands[c].is_reserved)
            continue;
        assert_int_equal(cb_help_command((cb_command_id)c, &help, &err), CB_OK);
        assert_true(kit_width(&help) <= 80 || c == CB_COMMAND_COMPLETION);
        for (unsigned i = 0; i < CB_OPT_END; i++) {
            char text[96];

            snprintf(text, sizeof(text), "--%s", cb_options[i].name);
            if (cb_option_applies((cb_option_id)i, (cb_command_id)c))
                kit_assert_has(&help, text);
        }
    }
}

static void test_width(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf overview = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_help_overview(&overview, &err), CB_OK);
    assert_true(kit_width(&overview) <= 80);
}

/* A line that begins with a dot or a quote would be a request of roff. */
static void test_manual_is_roff(void **state)
{
    static const char *const requests[] = {".TH", ".SH", ".SS", ".TP", ".IP", ".PP",
                                           ".B ", ".I ", ".nf", ".fi", ".RS", ".RE"};
    CB_CLEANUP(cb_buf_free) cb_buf manual = {0};
    cb_error err = {0};
    const char *at;

    (void)state;
    assert_int_equal(cb_manual_page(&manual, &err), CB_OK);
    kit_assert_has(&manual, "\n\\fB\\-\\-keep\\-daily\\fR \\fIN\\fR\n");
    for (at = kit_text(&manual); *at; at += strcspn(at, "\n") + 1) {
        bool is_known = *at != '.' && *at != '\'';

        for (size_t i = 0; i < CB_LENGTH(requests) && !is_known; i++)
            is_known = strncmp(at, requests[i], 3) == 0;
        if (!is_known)
            fail_msg("roff would take as its own: %.*s", (int)strcspn(at, "\n"), at);
    }
}

static void test_completions(void **state)
{
    static const char *const names[] = {"bash", "zsh", "fish"};

    (void)state;
    assert_int_equal(cb_shell_find("tcsh"), CB_SHELL_END);
    for (size_t s = 0; s < CB_LENGTH(names); s++) {
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};
        cb_error err = {0};

        assert_int_equal(cb_completion(cb_shell_find(names[s]), &out, &err), CB_OK);
        for (unsigned i = 0; i < CB_OPT_END; i++) {
            char word[64];

            snprintf(word, sizeof(word), s == 2 ? " -l %s " : "--%s", cb_options[i].name);
            if (!(cb_options[i].flags & CB_OPTION_SECRET))
                kit_assert_has(&out, word);
        }
        /* A secret is no option: nothing may offer it as one. */
        kit_assert_lacks(&out, s == 2 ? "-l passphrase " : "--passphrase ");
        kit_assert_lacks(&out, s == 2 ? "-l new-passphrase " : "--new-passphrase ");
        for (unsigned i = 0; i < CB_COMMAND_ARCHIVE_PUSH; i++)
            kit_assert_has(&out, cb_commands[i].name);
        kit_assert_has(&out, "auto hot attach cp");
        kit_assert_has(&out, "check key sync");
        kit_assert_has(&out, "status repoint orphans");
        kit_assert_lacks(&out, "archive-push");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_printed),
        cmocka_unit_test(test_help_of_commands),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_manual_is_roff),
        cmocka_unit_test(test_completions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
