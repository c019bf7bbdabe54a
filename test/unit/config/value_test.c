#include "config/value.h"
#include "config_kit.h"

typedef struct sample {
    cb_option_id id;
    const char *text;
    int64_t number;
} sample;

static void test_right_values(void **state)
{
    static const sample samples[] = {
        {CB_OPT_JOBS, "1", 1},
        {CB_OPT_JOBS, "64", 64},
        {CB_OPT_JSON, "true", 1},
        {CB_OPT_JSON, "no", 0},
        {CB_OPT_LOCK_WAIT, "90", 90000000},
        {CB_OPT_LOCK_WAIT, "5m", 300000000},
        {CB_OPT_KEEP_WITHIN, "36h", INT64_C(36) * 3600 * 1000000},
        {CB_OPT_METHOD, "auto", 0},
        {CB_OPT_METHOD, "hot", 1},
        {CB_OPT_METHOD, "attach", 2},
        {CB_OPT_METHOD, "cp", 3},
        {CB_OPT_COMPRESS, "none", CB_COMPRESS_NONE * 100 + CB_COMPRESS_LEVEL_BIAS},
        {CB_OPT_COMPRESS, "zstd", CB_COMPRESS_DEFAULT * 100 + CB_COMPRESS_LEVEL_BIAS},
        {CB_OPT_COMPRESS, "zstd:19", CB_COMPRESS_ZSTD * 100 + CB_COMPRESS_LEVEL_BIAS + 19},
        {CB_OPT_COMPRESS, "zstd:-7", CB_COMPRESS_ZSTD * 100 + CB_COMPRESS_LEVEL_BIAS - 7},
        {CB_OPT_DAILY, "00:00", 0},
        {CB_OPT_DAILY, "2:30", 150},
        {CB_OPT_DAILY, "23:59", 1439},
        {CB_OPT_WEEKLY, "mon 00:00", 0},
        {CB_OPT_WEEKLY, "Sunday 03:05", 6 * 1440 + 185},
        {CB_OPT_TAG, "a=b=c", 0},
        {CB_OPT_TAG, "a=", 0},
        {CB_OPT_NAME, "prod.v2_x-y", 0},
        {CB_OPT_LIMIT_UPLOAD, "1024", 1024},
        {CB_OPT_LIMIT_UPLOAD, "5MiB", 5 << 20},
        {CB_OPT_MAX_BYTES, "1.5GB", 1500000000},
        {CB_OPT_PERCENT, "100", 1000000},
        {CB_OPT_PERCENT, "5", 50000},
        {CB_OPT_PERCENT, "0.0001%", 1},
        {CB_OPT_PERCENT, "12.5%", 125000},
        {CB_OPT_LOCK_FOR, "1d", INT64_C(86400) * 1000000},
        {CB_OPT_DATA, "copy", CB_LAKE_DATA_COPY},
        {CB_OPT_DATA, "reference", CB_LAKE_DATA_REFERENCE},
        {CB_OPT_DATA, "replica=/x", CB_LAKE_DATA_REPLICA},
        {CB_OPT_TABLES, "a", 0},
        {CB_OPT_TABLES, "a, main.b,\"x,y\"", 0},
        {CB_OPT_SNAPSHOT, "0", 0},
        {CB_OPT_SNAPSHOT, "9223372036854775807", INT64_MAX},
    };
    cb_error err = {0};
    int64_t number;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        if (cb_value_parse(samples[i].id, samples[i].text, &number, &err) != CB_OK)
            fail_msg("'%s': %s", samples[i].text, err.message);
        assert_int_equal(number, samples[i].number);
    }
}

static void test_wrong_values(void **state)
{
    static const sample samples[] = {
        {CB_OPT_DATA, "replica", 0},
        {CB_OPT_DATA, "replica=", 0},
        {CB_OPT_DATA, "copy ", 0},
        {CB_OPT_TABLES, ",", 0},
        {CB_OPT_TABLES, "a,", 0},
        {CB_OPT_TABLES, "a,,b", 0},
        {CB_OPT_TABLES, "a,\"b", 0},
        {CB_OPT_TABLES, "\"\"", 0},
        {CB_OPT_SNAPSHOT, "-1", 0},
        {CB_OPT_JOBS, "0", 0},
        {CB_OPT_JOBS, "65", 0},
        {CB_OPT_JOBS, "-1", 0},
        {CB_OPT_JOBS, "3x", 0},
        {CB_OPT_JOBS, "", 0},
        {CB_OPT_JOBS, "99999999999999999999", 0},
        {CB_OPT_JSON, "maybe", 0},
        {CB_OPT_LOCK_WAIT, "soon", 0},
        {CB_OPT_LOCK_WAIT, "99y", 0},
        {CB_OPT_DEADLINE, "0", 0},
        {CB_OPT_METHOD, "magic", 0},
        {CB_OPT_METHOD, "hot|attach", 0},
        {CB_OPT_METHOD, "ho", 0},
        {CB_OPT_COMPRESS, "rar", 0},
        {CB_OPT_COMPRESS, "zstd:", 0},
        {CB_OPT_COMPRESS, "zstd:20", 0},
        {CB_OPT_COMPRESS, "zstd:0", 0},
        {CB_OPT_COMPRESS, "zstd:-8", 0},
        {CB_OPT_DAILY, "24:00", 0},
        {CB_OPT_DAILY, "2", 0},
        {CB_OPT_DAILY, "02:60", 0},
        {CB_OPT_DAILY, "02:00:00", 0},
        {CB_OPT_DAILY, "002:00", 0},
        {CB_OPT_DAILY, ":30", 0},
        {CB_OPT_WEEKLY, "su 03:00", 0},
        {CB_OPT_WEEKLY, "sun", 0},
        {CB_OPT_WEEKLY, "sunx 03:00", 0},
        {CB_OPT_WEEKLY, "sun  03:00", 0},
        {CB_OPT_TAG, "novalue", 0},
        {CB_OPT_TAG, "=x", 0},
        {CB_OPT_TAG, "a=\xff", 0},
        {CB_OPT_NAME, "a/b", 0},
        {CB_OPT_NAME, "-x", 0},
        {CB_OPT_REPO, "", 0},
        {CB_OPT_TIME, "2026-02-31", 0},
        {CB_OPT_EVERY, "59", 0},
        {CB_OPT_LIMIT_UPLOAD, "1023", 0},
        {CB_OPT_LIMIT_UPLOAD, "-5MiB", 0},
        {CB_OPT_LIMIT_DOWNLOAD, "fast", 0},
        {CB_OPT_LIMIT_DOWNLOAD, "9999999999999999999999G", 0},
        {CB_OPT_MAX_BYTES, "0", 0},
        {CB_OPT_PERCENT, "0", 0},
        {CB_OPT_PERCENT, "0.00001", 0},
        {CB_OPT_PERCENT, "100.0001", 0},
        {CB_OPT_PERCENT, "1000", 0},
        {CB_OPT_PERCENT, "5%%", 0},
        {CB_OPT_PERCENT, ".5", 0},
        {CB_OPT_PERCENT, "-5", 0},
        {CB_OPT_LOCK_FOR, "23h", 0},
    };
    int64_t number;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        cb_error err = {0};

        if (cb_value_parse(samples[i].id, samples[i].text, &number, &err) == CB_OK)
            fail_msg("--%s '%s' is taken", cb_options[samples[i].id].name, samples[i].text);
        assert_int_equal(err.code, CB_USAGE);
        assert_true(err.message[0] != '\0');
    }
}

/* What help calls the default must be a value that is taken. */
static void test_defaults_are_right(void **state)
{
    cb_error err = {0};
    int64_t number;

    (void)state;
    for (unsigned i = 0; i < CB_OPT_END; i++)
        if (cb_options[i].fallback)
            assert_int_equal(cb_value_parse((cb_option_id)i, cb_options[i].fallback, &number, &err),
                             CB_OK);
}

static void test_table_names(void **state)
{
    static const char *const names[] = {"a b", "main.t", "x,y \" z ", "q.r,s"};
    const char *text = " a b ,main.t, \"x,y \"\" z \" ,q.\"r,s\"";
    char name[64];
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(names); i++) {
        assert_non_null(text);
        assert_int_equal(cb_table_name(&text, name, &err), CB_OK);
        assert_string_equal(name, names[i]);
    }
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_names),
        cmocka_unit_test(test_right_values),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_defaults_are_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
