/*
 * Verify in parts: each run takes the packs that were not looked at for longest, so that run after
 * run everything comes round; and one backup after the other is opened by its engine.
 */
#include "verbs_kit.h"

static cb_verify_result *verify_ok(kit *k, cb_verify_request request)
{
    cb_verify_result *result = NULL;
    cb_error err = {0};

    assert_ok(cb_verify(k->in_a, &request, &result, &err), err);
    return result;
}

static unsigned count_verified(kit *k)
{
    cb_list_result *list;
    cb_error err = {0};
    unsigned count = 0;

    assert_ok(cb_list(k->in_a, NULL, &list, &err), err);
    for (size_t i = 0; i < list->count; i++)
        count += list->backups[i].verified_us > 0;
    cb_list_result_free(list);
    return count;
}

/* Each backup adds packs of its own. */
static unsigned take_some(kit *k)
{
    char name[16];

    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        kit_write(k, name, i + 1, 1 << 20);
        kit_backup(k->in_a, k, "data", NULL);
    }
    return kit_count_objects(k->a, "pack");
}

static void parts_come_round(void **state)
{
    kit *k = *state;
    unsigned packs = take_some(k);
    cb_verify_result *r;

    for (unsigned run = 0; run < packs; run++) {
        assert_int_equal(count_verified(k), 0);
        r = verify_ok(k, (cb_verify_request){.percent = 0.001});
        assert_int_equal(r->damaged_count, 0);
        assert_int_equal(r->backups, 5);
        assert_true(r->chunks >= 1 && r->bytes < r->bytes_in_all);
        cb_verify_result_free(r);
    }
    assert_int_equal(count_verified(k), 5);
}

static void damage_is_found_within_a_round(void **state)
{
    kit *k = *state;
    unsigned packs = take_some(k);
    unsigned found = 0;

    kit_flip_pack(k->a, 3);
    for (unsigned run = 0; run < packs && found == 0; run++) {
        cb_verify_result *r = verify_ok(k, (cb_verify_request){.max_bytes = 1});

        found = (unsigned)r->damaged_count;
        cb_verify_result_free(r);
    }
    assert_true(found > 0);
    assert_int_equal(count_verified(k), 0);
    /* It stays the one that is looked at first. */
    cb_verify_result *r = verify_ok(k, (cb_verify_request){.max_bytes = 1});
    while (r->damaged_count == 0 && packs-- > 0) {
        cb_verify_result_free(r);
        r = verify_ok(k, (cb_verify_request){.max_bytes = 1});
    }
    assert_true(r->damaged_count > 0);
    cb_verify_result_free(r);
}

static void a_bound_in_bytes_is_kept(void **state)
{
    kit *k = *state;
    cb_verify_result *r;

    take_some(k);
    r = verify_ok(k, (cb_verify_request){.max_bytes = 2 << 20});
    assert_true(r->bytes > 1 << 20 && r->bytes < 4 << 20);
    assert_true(r->bytes_in_all > 5 << 20);
    cb_verify_result_free(r);
    r = verify_ok(k, (cb_verify_request){.percent = 100});
    assert_true(r->bytes > 5 << 20);
    cb_verify_result_free(r);
    assert_int_equal(count_verified(k), 5);
}

static void a_share_must_be_one(void **state)
{
    kit *k = *state;
    cb_verify_request request = {.percent = 101};
    cb_verify_result *r;
    cb_error err = {0};

    take_some(k);
    assert_int_equal(cb_verify(k->in_a, &request, &r, &err), CB_USAGE);
    assert_null(r);
}

static void one_after_the_other_is_opened(void **state)
{
    kit *k = *state;
    char label[3][64];
    char chosen[4][96];

    kit_write(k, "one", 1, 1000);
    for (int i = 0; i < 3; i++)
        kit_backup(k->in_a, k, "data", label[i]);
    for (int i = 0; i < 4; i++) {
        cb_verify_result *r = verify_ok(k, (cb_verify_request){.deep = true, .schedule = true});

        assert_int_equal(r->backups, 1);
        assert_int_equal(r->damaged_count, 0);
        snprintf(chosen[i], sizeof(chosen[i]), "%s", r->chosen);
        cb_verify_result_free(r);
    }
    for (int i = 0; i < 3; i++) { /* the newest first */
        char wanted[96];

        snprintf(wanted, sizeof(wanted), "data@%.64s", label[2 - i]);
        assert_string_equal(chosen[i], wanted);
    }
    assert_string_equal(chosen[3], chosen[0]);
    assert_int_equal(count_verified(k), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_come_round, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(damage_is_found_within_a_round, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(a_bound_in_bytes_is_kept, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(a_share_must_be_one, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(one_after_the_other_is_opened, kit_make, kit_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
