#include "config/ini.h"
#include "config_kit.h"

static cb_code parse(const char *text, cb_arena *arena, cb_ini *ini, cb_error *err)
{
    *err = (cb_error){0};
    return cb_ini_parse("x.ini", cb_bytes_of(text, strlen(text)), arena, ini, err);
}

static void assert_line(const cb_ini_line *line, const char *section, const char *key,
                        const char *value, unsigned number)
{
    if (section)
        assert_string_equal(line->section, section);
    else
        assert_null(line->section);
    assert_string_equal(line->key, key);
    assert_string_equal(line->value, value);
    assert_int_equal(line->line, number);
}

static void test_lines(void **state)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ini ini;
    cb_error err;

    (void)state;
    assert_int_equal(parse("\xef\xbb\xbf# comment\r\n; other\n\n  jobs = 2 \r\n[prod]\n"
                           "before = psql -c 'x; y' # kept\ntag=\" a = b \"\n[ global ]\nrepo=\n"
                           "   region = x",
                           &arena, &ini, &err),
                     CB_OK);
    assert_int_equal(ini.count, 5);
    assert_line(&ini.lines[0], NULL, "jobs", "2", 4);
    assert_line(&ini.lines[1], "prod", "before", "psql -c 'x; y' # kept", 6);
    assert_line(&ini.lines[2], "prod", "tag", " a = b ", 7);
    assert_line(&ini.lines[3], NULL, "repo", "", 9);
    assert_line(&ini.lines[4], NULL, "region", "x", 10);
}

static void test_nothing(void **state)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ini ini;
    cb_error err;

    (void)state;
    assert_int_equal(parse("", &arena, &ini, &err), CB_OK);
    assert_int_equal(ini.count, 0);
    assert_int_equal(parse("\n\n \t\n", &arena, &ini, &err), CB_OK);
    assert_int_equal(ini.count, 0);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        const char *where;
    } samples[] = {
        {"jobs\n", "x.ini line 1: "},       {"\n= 3\n", "x.ini line 2: "},
        {"[prod\n", "x.ini line 1: "},      {"[prod] jobs = 3\n", "x.ini line 1: "},
        {"[]\n", "x.ini line 1: "},         {"[a b]\n", "x.ini line 1: "},
        {"\n\n[../x]\n", "x.ini line 3: "}, {"[\n", "x.ini line 1: "},
    };
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ini ini;
    cb_error err;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        assert_int_equal(parse(samples[i].text, &arena, &ini, &err), CB_USAGE);
        assert_int_equal(strncmp(err.message, samples[i].where, strlen(samples[i].where)), 0);
    }
    assert_int_equal(cb_ini_parse("x.ini", cb_bytes_of("a=b\0c\n", 6), &arena, &ini, &err),
                     CB_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
