#include "cli/table.h"

#include "cli_kit.h"

static void cell(cb_table *table, const char *text)
{
    cb_error err = {0};

    assert_int_equal(cb_table_cell(table, &err, "%s", text), CB_OK);
}

static void test_columns_line_up(void **state)
{
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = 3, .right = 0x2};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < 6; i++)
        cell(&table, (const char *[]){"NAME", "SIZE", "X", "caf\xc3\xa9s", "1", "last"}[i]);
    assert_int_equal(cb_table_note(&table, &err, "note %d", 1), CB_OK);
    for (size_t i = 0; i < 3; i++)
        cell(&table, (const char *[]){"", "1000", ""}[i]);
    assert_int_equal(cb_table_print(&table, &out, &err), CB_OK);
    assert_string_equal(kit_text(&out), "NAME   SIZE  X\n"
                                        "caf\xc3\xa9s     1  last\n"
                                        "    note 1\n"
                                        "       1000  \n");
}

/* Where 80 characters do not hold two blanks between the columns, one has to do. */
static void test_tight_table(void **state)
{
    static const char wide[] = "0123456789012345678901234567890123456789"; /* 40 */
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = 2};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    cell(&table, wide);
    cell(&table, wide + 1);
    assert_int_equal(cb_table_print(&table, &out, &err), CB_OK);
    assert_int_equal(kit_width(&out), 80);
}

static void test_long_cell(void **state)
{
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = 1};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cell(&table, text);
    assert_int_equal(cb_table_print(&table, &out, &err), CB_OK);
    assert_int_equal(out.size, sizeof(text));
}

/* Of what is too long the middle goes; a backup keeps its label, which tells it from the others. */
static void test_cut(void **state)
{
    static const struct {
        const char *text;
        size_t width;
        const char *expected;
    } samples[] = {
        {"short", 5, "short"},
        {"0123456789", 9,
         "0123\xe2\x80\xa6"
         "6789"},
        {"0123456789", 8,
         "0123\xe2\x80\xa6"
         "789"},
        {"0123456789", 1,
         "01\xe2\x80\xa6"
         "9"},
        {"caf\xc3\xa9s and m\xc3\xa4rkets", 9, "caf\xc3\xa9\xe2\x80\xa6kets"},
        {"a-very-long-name@20261121-022035", 24,
         "a-ve\xe2\x80\xa6"
         "ame@20261121-022035"},
        {"a-very-long-name@20261121-022035", 20,
         "a-\xe2\x80\xa6"
         "e@20261121-022035"},
        {"a-very-long-name@20261121-022035", 12,
         "a-very\xe2\x80\xa6"
         "22035"},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};
        cb_error err = {0};

        assert_int_equal(
            cb_cut(samples[i].text, strlen(samples[i].text), samples[i].width, &out, &err), CB_OK);
        assert_string_equal(kit_text(&out), samples[i].expected);
    }
}

static void test_wide_columns_are_cut(void **state)
{
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = 3, .right = 0x2, .cut = 0x5};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    char wide[101];

    (void)state;
    memset(wide, 'w', sizeof(wide) - 1);
    wide[100] = '\0';
    cell(&table, wide);
    cell(&table, "1234567890");
    cell(&table, wide + 50);
    assert_int_equal(cb_table_note(&table, &err, "%s", wide), CB_OK);
    assert_int_equal(cb_table_print(&table, &out, &err), CB_OK);
    assert_int_equal(kit_width(&out), 80);
    kit_assert_has(&out, " 1234567890 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_line_up),
        cmocka_unit_test(test_tight_table),
        cmocka_unit_test(test_long_cell),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_wide_columns_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
