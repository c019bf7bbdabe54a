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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_line_up),
        cmocka_unit_test(test_tight_table),
        cmocka_unit_test(test_long_cell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
