/*
 * What is left of a damaged backup comes back; the rest is zeros and is listed, byte by byte.
 */
#include "verbs_kit.h"

#include <sys/stat.h>

enum { CHUNK = 1 << 20 };

static void read_file(const char *folder, const char *name, uint8_t **out, size_t *size)
{
    char path[256];
    struct stat at;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &at), 0);
    *size = (size_t)at.st_size;
    *out = malloc(*size + 1);
    assert_non_null(*out);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(*out, 1, *size, file), *size);
    fclose(file);
}

static cb_code restore(kit *k, bool salvage, bool delta, cb_restore_result **out, cb_error *err)
{
    cb_restore_request request = {
        .backup = "data", .target = k->back, .salvage = salvage, .delta = delta};

    memset(err, 0, sizeof(*err));
    return cb_restore(k->in_a, &request, out, err);
}

/* What is listed is zero, and everything else is as it was. */
static void assert_only_that_is_lost(kit *k, const cb_restore_result *r, const char *name)
{
    uint8_t *was, *is;
    size_t was_size, is_size;
    unsigned long long from = 1, to = 0;

    for (size_t i = 0; i < r->lost_count; i++)
        if (strcmp(r->lost[i].item, name) == 0)
            assert_int_equal(sscanf(r->lost[i].reason, "bytes %llu to %llu", &from, &to), 2);
    read_file(k->data, name, &was, &was_size);
    read_file(k->back, name, &is, &is_size);
    assert_int_equal(was_size, is_size);
    for (size_t i = 0; i < was_size; i++)
        if (is[i] != (i >= from && i <= to ? 0 : was[i]))
            fail_msg("%s: byte %zu is %u, lost are %llu to %llu", name, i, is[i], from, to);
    free(was);
    free(is);
}

static void the_rest_comes_back(void **state)
{
    kit *k = *state;
    cb_restore_result *r;
    cb_error err;

    kit_write(k, "large", 1, 5 * CHUNK + 1000);
    kit_write(k, "small", 2, 1000);
    kit_backup(k->in_a, k, "data", NULL);
    kit_flip_pack(k->a, 0);

    assert_int_equal(restore(k, false, false, &r, &err), CB_CORRUPT);
    assert_non_null(strstr(err.hint, "--salvage"));
    assert_ok(restore(k, true, false, &r, &err), err);
    assert_int_equal(r->files, 3); /* the folder itself is one */
    assert_int_equal(r->lost_count, 1);
    assert_string_equal(r->lost[0].item, "large");
    assert_memory_equal(r->lost[0].backup, "data@", 5);
    assert_int_equal(strlen(r->lost[0].chunk), 64);
    assert_only_that_is_lost(k, r, "large");
    assert_only_that_is_lost(k, r, "small");
    cb_restore_result_free(r);
}

/* Where something stands already, the old bytes must not pass for what was lost. */
static void what_stood_there_does_not_pass_for_it(void **state)
{
    kit *k = *state;
    cb_restore_result *r;
    cb_error err;

    kit_write(k, "large", 1, 5 * CHUNK);
    kit_backup(k->in_a, k, "data", NULL);
    assert_ok(restore(k, false, false, &r, &err), err);
    cb_restore_result_free(r);
    kit_write(k, "large", 7, 5 * CHUNK);
    {
        char command[512];

        snprintf(command, sizeof(command), "cp '%s/large' '%s/large'", k->data, k->back);
        assert_int_equal(system(command), 0);
    }
    kit_write(k, "large", 1, 5 * CHUNK);
    kit_flip_pack(k->a, 0);
    assert_ok(restore(k, true, true, &r, &err), err);
    assert_int_equal(r->lost_count, 1);
    assert_only_that_is_lost(k, r, "large");
    cb_restore_result_free(r);
}

static void a_sound_backup_loses_nothing(void **state)
{
    kit *k = *state;
    cb_restore_result *r;
    cb_error err;

    kit_write(k, "large", 1, 3 * CHUNK);
    kit_backup(k->in_a, k, "data", NULL);
    assert_ok(restore(k, true, false, &r, &err), err);
    assert_int_equal(r->lost_count, 0);
    assert_only_that_is_lost(k, r, "large");
    cb_restore_result_free(r);
}

/* The item table itself: names are lost, which is said, and nothing is made up. */
static void a_lost_table_is_said(void **state)
{
    kit *k = *state;
    cb_restore_result *r;
    cb_error err;
    cb_code code;

    kit_write(k, "large", 1, 3 * CHUNK);
    kit_backup(k->in_a, k, "data", NULL);
    kit_flip_pack(k->a, 1); /* the smaller one holds the table */
    code = restore(k, true, false, &r, &err);
    if (code == CB_OK) {
        assert_int_equal(r->lost_count, 1);
        assert_string_equal(r->lost[0].item, "item table");
        cb_restore_result_free(r);
    } else {
        assert_int_equal(code, CB_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_rest_comes_back, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(what_stood_there_does_not_pass_for_it, kit_make,
                                        kit_remove),
        cmocka_unit_test_setup_teardown(a_sound_backup_loses_nothing, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(a_lost_table_is_said, kit_make, kit_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
