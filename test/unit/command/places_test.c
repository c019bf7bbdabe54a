/*
 * One pass over a source for several repositories: each has its own backup with its own parent, and
 * one that fails is left behind and named.
 */
#include "verbs_kit.h"

#include <unistd.h>

/* A context of repository a with others beside it. */
static cb_ctx *context(const char *const *more, size_t count, const char *first)
{
    cb_settings settings = {.repository = first,
                            .more_repositories = more,
                            .more_repository_count = count,
                            .jobs = 2,
                            .lock_wait_us = 200000};
    cb_error err = {0};
    cb_ctx *ctx;

    assert_ok(cb_ctx_new(&settings, NULL, NULL, &ctx, &err), err);
    return ctx;
}

static cb_backup_result *backup(cb_ctx *ctx, kit *k)
{
    cb_backup_request request = {.source = k->address, .name = "data"};
    cb_backup_result *result = NULL;
    cb_error err = {0};

    assert_ok(cb_backup(ctx, &request, &result, &err), err);
    return result;
}

static void each_has_its_own(void **state)
{
    kit *k = *state;
    const char *more[] = {k->b};
    cb_ctx *both = context(more, 1, k->a);
    cb_backup_result *r;

    kit_write(k, "one", 1, 3 << 20);
    r = backup(both, k);
    assert_int_equal(r->place_count, 2);
    assert_string_equal(r->places[0].address, k->a);
    assert_string_equal(r->places[1].address, k->b);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(r->places[i].error.code, CB_OK);
        assert_string_equal(r->places[i].label, r->label);
        assert_int_equal(r->places[i].new_chunks, 3);
        assert_true(r->places[i].created_repo);
    }
    assert_true(r->read_bytes >= 3 << 20 && r->read_bytes < 4 << 20); /* once */
    cb_backup_result_free(r);
    assert_true(kit_same_as_data(k->in_a, k, "data"));
    assert_true(kit_same_as_data(k->in_b, k, "data"));
    cb_ctx_free(both);
}

/* b has missed a backup: what is new to it is more than what is new to a. */
static void parents_may_differ(void **state)
{
    kit *k = *state;
    const char *more[] = {k->b};
    cb_ctx *both = context(more, 1, k->a);
    cb_backup_result *r;

    kit_write(k, "one", 1, 3 << 20);
    cb_backup_result_free(backup(both, k));
    kit_write(k, "two", 2, 2 << 20);
    kit_backup(k->in_a, k, "data", NULL);
    kit_write(k, "three", 3, 1 << 20);
    r = backup(both, k);
    assert_int_equal(r->places[0].new_chunks, 1);
    assert_int_equal(r->places[1].new_chunks, 3);
    cb_backup_result_free(r);
    assert_true(kit_same_as_data(k->in_a, k, "data"));
    assert_true(kit_same_as_data(k->in_b, k, "data"));
    cb_ctx_free(both);
}

static void one_that_fails_is_left_behind(void **state)
{
    kit *k = *state;
    char blocked[160];
    const char *more[] = {blocked, k->b};
    cb_ctx *three;
    cb_backup_result *r;
    FILE *file;

    snprintf(blocked, sizeof(blocked), "%s/blocked", k->root);
    file = fopen(blocked, "w");
    assert_non_null(file);
    fclose(file);
    three = context(more, 2, k->a);
    kit_write(k, "one", 1, 100);
    r = backup(three, k);
    assert_int_equal(r->place_count, 3);
    assert_int_equal(r->places[0].error.code, CB_OK);
    assert_int_not_equal(r->places[1].error.code, CB_OK);
    assert_null(r->places[1].label);
    assert_true(r->places[1].error.message[0] != '\0');
    assert_int_equal(r->places[2].error.code, CB_OK);
    cb_backup_result_free(r);
    assert_true(kit_same_as_data(k->in_b, k, "data"));
    cb_ctx_free(three);
}

static void the_first_may_fail_too(void **state)
{
    kit *k = *state;
    char blocked[160];
    const char *more[] = {k->b};
    const char *bad[] = {blocked};
    cb_backup_request request = {.source = k->address, .name = "data"};
    cb_ctx *ctx;
    cb_backup_result *r;
    cb_error err = {0};
    FILE *file;

    snprintf(blocked, sizeof(blocked), "%s/blocked", k->root);
    file = fopen(blocked, "w");
    assert_non_null(file);
    fclose(file);
    kit_write(k, "one", 1, 100);
    ctx = context(more, 1, blocked);
    r = backup(ctx, k);
    assert_non_null(r->label);
    assert_string_equal(r->label, r->places[1].label);
    cb_backup_result_free(r);
    cb_ctx_free(ctx);

    ctx = context(bad, 1, blocked);
    assert_int_not_equal(cb_backup(ctx, &request, &r, &err), CB_OK);
    assert_null(r);
    assert_non_null(strstr(err.message, "none of 2"));
    cb_ctx_free(ctx);
}

/* The same repository twice would wait for itself. */
static void twice_the_same_is_told(void **state)
{
    kit *k = *state;
    char again[160];
    const char *more[] = {again};
    cb_ctx *ctx;
    cb_backup_result *r;

    snprintf(again, sizeof(again), "%s/../a", k->b);
    kit_write(k, "one", 1, 100);
    kit_backup(k->in_b, k, "other", NULL); /* so that the way through it is there */
    ctx = context(more, 1, k->a);
    r = backup(ctx, k);
    assert_int_equal(r->places[1].error.code, CB_USAGE);
    cb_backup_result_free(r);
    cb_ctx_free(ctx);
}

/* A twin that was written in the same pass counts as copied. */
static void sync_knows_the_twin(void **state)
{
    kit *k = *state;
    const char *more[] = {k->b};
    cb_ctx *both = context(more, 1, k->a);
    cb_sync_request request = {.from = k->a, .to = k->b};
    cb_sync_result *r;
    cb_error err = {0};

    kit_write(k, "one", 1, 100);
    cb_backup_result_free(backup(both, k));
    kit_write(k, "two", 2, 100);
    kit_backup(k->in_a, k, "data", NULL);
    assert_ok(cb_repo_sync(k->in_a, &request, &r, &err), err);
    assert_int_equal(r->present, 1);
    assert_int_equal(r->copied, 1);
    assert_int_equal(r->new_chunks, 1);
    cb_sync_result_free(r);
    assert_true(kit_same_as_data(k->in_b, k, "data"));
    cb_ctx_free(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_its_own, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(parents_may_differ, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(one_that_fails_is_left_behind, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(the_first_may_fail_too, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(twice_the_same_is_told, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(sync_knows_the_twin, kit_make, kit_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
