#include "cli/render.h"

#include "cli/json.h"
#include "cli/output.h"
#include "cli_kit.h"

#include <jansson.h>

enum { HOUR = 3600 };
#define SECONDS(s) ((int64_t)(s)*1000000)

static const cb_pair tags[] = {{"release", "41"}, {"owner", "ops"}};

static cb_backup_info sample_backup(void)
{
    return (cb_backup_info){.name = "prod",
                            .label = "20261121-022035",
                            .kind = "duckdb",
                            .started_us = SECONDS(1000000),
                            .point_us = SECONDS(1000001),
                            .finished_us = SECONDS(1000002),
                            .source_bytes = UINT64_C(1023) << 30,
                            .new_bytes = UINT64_C(1023) << 20,
                            .stored_bytes = UINT64_C(1023) << 20,
                            .verified_us = SECONDS(1000003),
                            .tags = tags,
                            .tag_count = 2};
}

static void test_ages(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } samples[] = {{-5, "now"},
                   {0, "0 s"},
                   {59, "59 s"},
                   {60, "1 min"},
                   {3599, "59 min"},
                   {3600, "1 h"},
                   {47 * HOUR, "47 h"},
                   {48 * HOUR, "2 d"},
                   {89 * 24 * HOUR, "89 d"},
                   {91 * 24 * HOUR, "2 mo"},
                   {800 * 24 * HOUR, "2 y"}};
    char text[CB_AGE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++)
        assert_string_equal(
            cb_format_age(SECONDS(5000000), SECONDS(5000000 + samples[i].seconds), text),
            samples[i].text);
}

static void test_shell_words(void **state)
{
    static const char *const samples[][2] = {
        {"plain/x.db", "plain/x.db"}, {"", "''"},   {"a b", "'a b'"},  {"it's", "'it'\\''s'"},
        {"$(x)", "'$(x)'"},           {"~", "'~'"}, {"a\nb", "'a\nb'"}};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};
        cb_error err = {0};

        assert_int_equal(cb_shell_word(samples[i][0], &out, &err), CB_OK);
        assert_string_equal(kit_text(&out), samples[i][1]);
    }
}

static void test_list(void **state)
{
    const cb_backup_info backup = sample_backup();
    const cb_list_result result = {&backup, 1};
    const cb_list_result nothing = {NULL, 0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_render_list(&result, SECONDS(1000001 + 3 * HOUR), &out, &err), CB_OK);
    assert_string_equal(kit_text(&out),
                        "BACKUP                KIND    AGE    SOURCE       NEW    STORED  RATIO  "
                        "VERIFIED\n"
                        "prod@20261121-022035  duckdb  3 h  1023 GiB  1023 MiB  1023 MiB  1024x  "
                        "     2 h\n"
                        "    tags: release=41, owner=ops\n");
    assert_true(kit_width(&out) <= 80);
    out.size = 0;
    assert_int_equal(cb_render_list(&nothing, 0, &out, &err), CB_OK);
    assert_string_equal(kit_text(&out), "no backups yet\n");
}

static void test_show_cuts_items(void **state)
{
    cb_item_info items[60];
    const cb_show_result result = {sample_backup(), items, 60, tags, 2};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < 60; i++)
        items[i] = (cb_item_info){i == 59 ? "the last one" : "x", "file", i, 1, false};
    assert_int_equal(cb_render_show(&result, false, &out, &err), CB_OK);
    kit_assert_has(&out, "... and 10 more: --all lists them\n");
    kit_assert_lacks(&out, "the last one");
    kit_assert_has(&out, "release            41\n"); /* as a fact */
    out.size = 0;
    assert_int_equal(cb_render_show(&result, true, &out, &err), CB_OK);
    kit_assert_lacks(&out, "more: --all");
    kit_assert_has(&out, "the last one");
}

static void test_backup_tells_how_to_restore(void **state)
{
    cb_backup_result result = {.name = "prod",
                               .label = "20261121-022035",
                               .kind = "duckdb",
                               .source = "/x",
                               .finished_us = SECONDS(3),
                               .passes = 1,
                               .confirmed = "idle",
                               .damaged = 1};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_render_backup(&result, "--repo /r ", &out, &err), CB_OK);
    kit_assert_has(&out,
                   "to restore it: canvasback restore --repo /r prod@20261121-022035 TARGET\n");
    kit_assert_has(&out, "confirmed: idle, after 1 pass\n");
    kit_assert_has(&out, "DAMAGED IN THE SOURCE: 1 block stored");
    out.size = 0;
    result.skipped = true;
    result.label = NULL;
    assert_int_equal(cb_render_backup(&result, "", &out, &err), CB_OK);
    kit_assert_lacks(&out, "to restore it");
}

static void test_restore_plan(void **state)
{
    const cb_restore_result result = {
        .name = "prod", .label = "20261121-022035", .target = "/it's here", .planned = true};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_render_restore(&result, "", false, &out, &err), CB_OK);
    kit_assert_has(&out, "nothing was written");
    kit_assert_has(&out, "\n  canvasback restore prod@20261121-022035 '/it'\\''s here'\n");
    out.size = 0;
    assert_int_equal(cb_render_restore(&result, "", true, &out, &err), CB_OK);
    kit_assert_has(&out, " '/it'\\''s here' --force\n");
}

static void test_damage_is_told(void **state)
{
    const cb_damage damage[] = {{"prod@1", "x.db", "ab", "checksum differs"},
                                {NULL, NULL, "17", NULL}};
    const cb_verify_result result = {
        .backups = 1, .chunks = 1, .damaged = damage, .damaged_count = 2};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_render_verify(&result, &out, &err), CB_OK);
    kit_assert_has(&out, "DAMAGED prod@1 x.db [ab]: checksum differs\n");
    kit_assert_has(&out, "DAMAGED [17]: -\n");
    kit_assert_has(&out, "2 damaged\n");
    kit_assert_lacks(&out, "all good");
}

static void test_control_characters(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_buf_append(&out, "a\033[31m\177\r\tb\n", 11, &err), CB_OK);
    cb_output_tame(&out);
    assert_string_equal(kit_text(&out), "a?[31m??\tb\n");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static json_t *parsed(cb_buf *out)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)out->data, out->size, 0, &error);

    if (!json)
        fail_msg("%s: %s", error.text, kit_text(out));
    assert_int_equal(out->data[out->size - 1], '\n');
    return json;
}

static void assert_fields(const json_t *json, const char *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!json_object_get(json, fields[i]))
            fail_msg("there is no field '%s'", fields[i]);
}

static void test_json_of_texts_that_are_not_utf8(void **state)
{
    const cb_item_info items[] = {{"caf\xe9 \xf0\x9f\xa6\x86 \xff\n", "file", 7, 1, false},
                                  {"\xc3", "file", 0, 0, true},
                                  {"plain", "file", 0, 0, false}};
    const cb_show_result result = {sample_backup(), items, 3, NULL, 0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    json_t *json;
    const json_t *item;

    (void)state;
    assert_int_equal(cb_json_show(&result, &out, &err), CB_OK);
    json = parsed(&out);
    item = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "path")),
                        "caf\xef\xbf\xbd \xf0\x9f\xa6\x86 \xef\xbf\xbd\n");
    assert_string_equal(json_string_value(json_object_get(item, "path_hex")),
                        "636166e920f09fa68620ff0a");
    item = json_array_get(json_object_get(json, "items"), 1);
    assert_string_equal(json_string_value(json_object_get(item, "path_hex")), "c3");
    assert_true(json_is_true(json_object_get(item, "damaged")));
    item = json_array_get(json_object_get(json, "items"), 2);
    assert_null(json_object_get(item, "path_hex"));
    assert_null(json_object_get(item, "damaged"));
    json_decref(json);
}

static void test_json_fields_of_the_contract(void **state)
{
    static const char *const backup_fields[] = {
        "name",     "label",      "source",    "kind",         "started",       "point",
        "finished", "seconds",    "new_bytes", "source_bytes", "read_bytes",    "stored_bytes",
        "chunks",   "new_chunks", "passes",    "confirmed",    "commits_in_log"};
    static const char *const list_fields[] = {
        "name",     "label",        "kind",         "started",  "point",
        "finished", "source_bytes", "stored_bytes", "verified", "tags"};
    cb_backup_info infos[] = {sample_backup(), sample_backup()};
    const cb_list_result list = {infos, 2};
    const cb_backup_result backup = {
        .name = "p", .started_us = SECONDS(1), .finished_us = SECONDS(3) + 500000};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    json_t *json;

    (void)state;
    infos[1].verified_us = 0;
    assert_int_equal(cb_json_list(&list, &out, &err), CB_OK);
    json = parsed(&out);
    assert_int_equal(json_array_size(json), 2);
    assert_fields(json_array_get(json, 0), list_fields, CB_LENGTH(list_fields));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "verified")),
                        "1970-01-12T13:46:43Z");
    assert_true(json_is_null(json_object_get(json_array_get(json, 1), "verified")));
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(json_array_get(json, 0), "tags"), "owner")),
                        "ops");
    json_decref(json);

    out.size = 0;
    assert_int_equal(cb_json_backup(&backup, &out, &err), CB_OK);
    json = parsed(&out);
    assert_fields(json, backup_fields, CB_LENGTH(backup_fields));
    assert_true(json_real_value(json_object_get(json, "seconds")) > 2.49999 &&
                json_real_value(json_object_get(json, "seconds")) < 2.50001);
    assert_true(json_is_null(json_object_get(json, "point")));
    json_decref(json);
}

static void test_json_of_expire(void **state)
{
    const cb_expire_entry first[] = {{"a", "1", SECONDS(1), false, ""},
                                     {"a", "2", SECONDS(2), true, "last 1"}};
    const cb_expire_entry second[] = {{"b", "1", SECONDS(1), true, "last 1"}};
    cb_expire_result results[] = {{first, 2, 10, false, NULL}, {second, 1, 5, false, "grace"}};
    cb_expire_result *const pointers[] = {&results[0], &results[1]};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    json_t *json;

    (void)state;
    assert_int_equal(cb_json_expire(pointers, 2, &out, &err), CB_OK);
    json = parsed(&out);
    assert_int_equal(json_array_size(json_object_get(json, "removed")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "kept")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "freed_bytes")), 15);
    assert_string_equal(json_string_value(json_object_get(json, "pending")), "grace");
    json_decref(json);
    out.size = 0;
    assert_int_equal(cb_render_expire(pointers, 2, &out, &err), CB_OK);
    kit_assert_has(&out, "2 backups kept, 1 removed, 15 B given back\n");
    kit_assert_has(&out, "still to be given back: grace\n");
    results[0].dry_run = results[1].dry_run = true;
    out.size = 0;
    assert_int_equal(cb_render_expire(pointers, 2, &out, &err), CB_OK);
    kit_assert_has(&out, "2 backups would stay, 1 would go; nothing was removed");
}

static void test_json_error(void **state)
{
    const cb_error error = {.code = CB_BUSY, .message = "a \"b\" \xff", .hint = "Wait."};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    json_t *json;

    (void)state;
    assert_int_equal(cb_json_error(&error, &out, &err), CB_OK);
    json = parsed(&out);
    assert_int_equal(json_object_size(json), 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "error"), "code")),
                        "busy");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "error"), "hint")),
                        "Wait.");
    json_decref(json);
}

static void test_exit_codes(void **state)
{
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_exit_code(&err), 0);
    for (int code = CB_NOT_FOUND; code <= CB_INTERNAL; code++) {
        int expected = 1;

        err = (cb_error){.code = (cb_code)code};
        if (code == CB_USAGE)
            expected = 2;
        else if (code == CB_CORRUPT)
            expected = 3;
        else if (code == CB_BUSY)
            expected = 4;
        assert_int_equal(cb_exit_code(&err), expected);
    }
    err = (cb_error){.code = CB_NOT_FOUND, .in_repository = true};
    assert_int_equal(cb_exit_code(&err), 5);
}

/* What the source says of a lake stands beside the items, and many items are no trouble. */
static void test_show_of_a_lake(void **state)
{
    enum { ITEMS = 100000 };
    static const cb_pair facts[] = {
        {"catalog", "sqlite"}, {"spec version", "1.0"},
        {"snapshot", "57"},    {"snapshot time", "2026-11-21T00:00:00Z"},
        {"files", "100000"},   {"bytes", "3650722201"}};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_item_info *items = calloc(ITEMS, sizeof(*items));
    cb_show_result result = {.backup = {.name = "lake", .label = "l", .kind = "ducklake"},
                             .items = items,
                             .item_count = ITEMS,
                             .facts = facts,
                             .fact_count = CB_LENGTH(facts)};
    cb_error err = {0};

    (void)state;
    assert_non_null(items);
    for (size_t i = 0; i < ITEMS; i++)
        items[i] = (cb_item_info){"data/main/t/ducklake-01998c.parquet", "file", 7, 1, false};
    assert_int_equal(cb_json_show(&result, &out, &err), CB_OK);
    kit_assert_has(&out, "\"catalog\":\"sqlite\",\"spec_version\":\"1.0\",\"snapshot\":57,"
                         "\"snapshot_time\":\"2026-11-21T00:00:00Z\",\"files\":100000,"
                         "\"bytes\":3650722201,\"data_path\":null,\"items\":[{\"path\":\"data/");
    kit_assert_has(&out, "\"size_bytes\":7,\"chunks\":1}]}\n");
    out.size = 0;
    result.item_count = 0;
    result.backup.kind = "duckdb";
    assert_int_equal(cb_json_show(&result, &out, &err), CB_OK);
    kit_assert_has(&out, "\"items\":[]}\n");
    kit_assert_lacks(&out, "spec_version\":");
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_show_of_a_lake),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_shell_words),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_show_cuts_items),
        cmocka_unit_test(test_backup_tells_how_to_restore),
        cmocka_unit_test(test_restore_plan),
        cmocka_unit_test(test_damage_is_told),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_json_of_texts_that_are_not_utf8),
        cmocka_unit_test(test_json_fields_of_the_contract),
        cmocka_unit_test(test_json_of_expire),
        cmocka_unit_test(test_json_error),
        cmocka_unit_test(test_exit_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
