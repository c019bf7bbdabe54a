#include "cli/progress.h"

#include "cli_kit.h"

static cb_progress half_done(void)
{
    return (cb_progress){.phase = "reading",
                         .done_bytes = UINT64_C(1) << 30,
                         .total_bytes = UINT64_C(1) << 31,
                         .pass = 2};
}

static void test_bar(void **state)
{
    cb_progress progress = half_done();
    char text[CB_PROGRESS_TEXT_MAX];

    (void)state;
    cb_progress_bar_text(&progress, 4000000, 120, text);
    assert_string_equal(text, "reading  50% [##########----------] 1 GiB of 2 GiB 256 MiB/s 0:04 "
                              "left pass 2");
    /* Too early for a rate, and then for a time. */
    cb_progress_bar_text(&progress, 1000, 120, text);
    assert_null(strstr(text, "/s"));
    assert_null(strstr(text, "left"));
    progress.done_bytes = progress.total_bytes;
    cb_progress_bar_text(&progress, 4000000, 120, text);
    assert_non_null(strstr(text, "100% [####################]"));
    /* More than was foreseen: the file has grown meanwhile. */
    progress.done_bytes = 2 * progress.total_bytes;
    cb_progress_bar_text(&progress, 4000000, 120, text);
    assert_non_null(strstr(text, "100% "));
    assert_non_null(strstr(text, "0:00 left"));
}

static void test_bar_never_wraps(void **state)
{
    cb_progress progress = half_done();
    char text[CB_PROGRESS_TEXT_MAX];

    (void)state;
    for (unsigned width = 0; width < 2000; width++) {
        cb_progress_bar_text(&progress, 4000000, width, text);
        assert_true(strlen(text) <= width);
    }
}

static void test_unknown_total(void **state)
{
    cb_progress progress = half_done();
    char text[CB_PROGRESS_TEXT_MAX];

    (void)state;
    progress.total_bytes = 0;
    progress.pass = 0;
    cb_progress_bar_text(&progress, 4000000, 79, text);
    assert_string_equal(text, "reading 1 GiB 256 MiB/s");
    cb_progress_line_text(&progress, 4000000, text);
    assert_string_equal(text, "reading: 1 GiB, 256 MiB/s");
    cb_progress_json_text(&progress, 4000000, text);
    assert_non_null(strstr(text, "\"total_bytes\":null"));
    assert_non_null(strstr(text, "\"seconds_left\":null"));
}

static void test_line_and_json(void **state)
{
    cb_progress progress = half_done();
    char text[CB_PROGRESS_TEXT_MAX];

    (void)state;
    cb_progress_line_text(&progress, 4000000, text);
    assert_string_equal(text, "reading: 1 GiB of 2 GiB (50 %), 256 MiB/s, 0:04 left, pass 2");
    progress.total_bytes = UINT64_C(1) << 42;
    cb_progress_line_text(&progress, 4000000, text);
    assert_non_null(strstr(text, ", 4:33:00 left"));
    snprintf(progress.phase, sizeof(progress.phase), "a\"b\\c\n");
    cb_progress_json_text(&progress, 4000000, text);
    assert_non_null(strstr(text, "\"phase\":\"abc\""));
    assert_non_null(strstr(text, "\"done_bytes\":1073741824"));
    assert_non_null(strstr(text, "\"pass\":2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_bar_never_wraps),
        cmocka_unit_test(test_unknown_total),
        cmocka_unit_test(test_line_and_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
