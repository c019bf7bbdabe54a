/*
 * Copies of backups in another repository: the same bytes, the same words about them, each once,
 * never half; and what is damaged stays behind and is named.
 */
#include "verbs_kit.h"

static cb_sync_result *sync_ok(cb_ctx *ctx, cb_sync_request request)
{
    cb_sync_result *result = NULL;
    cb_error err = {0};

    assert_ok(cb_repo_sync(ctx, &request, &result, &err), err);
    return result;
}

static size_t count_backups(cb_ctx *ctx)
{
    cb_list_result *list;
    cb_error err = {0};
    size_t count;

    if (cb_list(ctx, NULL, &list, &err) == CB_NOT_FOUND)
        return 0;
    count = list->count;
    cb_list_result_free(list);
    return count;
}

static void assert_sound(cb_ctx *ctx)
{
    cb_verify_request request = {0};
    cb_verify_result *result;
    cb_error err = {0};

    assert_ok(cb_verify(ctx, &request, &result, &err), err);
    assert_int_equal(result->damaged_count, 0);
    cb_verify_result_free(result);
}

static void each_is_copied_once(void **state)
{
    kit *k = *state;
    cb_sync_result *r;
    char first[64], name[80];

    kit_write(k, "one", 1, 3 << 20);
    kit_write(k, "two", 2, 100);
    kit_backup(k->in_a, k, "data", first);
    kit_write(k, "two", 3, 200);
    kit_backup(k->in_a, k, "data", NULL);

    r = sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b});
    assert_int_equal(r->copied, 2);
    assert_int_equal(r->present, 0);
    assert_int_equal(r->damaged_count, 0);
    assert_true(r->entries[0].copied);
    assert_string_equal(r->entries[0].label, first);
    assert_string_equal(r->entries[0].to_label, first);
    assert_true(r->new_chunks <= 6); /* three for `one`, the two of `two`, none twice */
    cb_sync_result_free(r);
    assert_true(kit_same_as_data(k->in_b, k, "data"));
    kit_write(k, "two", 2, 100);
    snprintf(name, sizeof(name), "data@%s", first);
    assert_true(kit_same_as_data(k->in_b, k, name));
    assert_sound(k->in_b);

    r = sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b});
    assert_int_equal(r->copied, 0);
    assert_int_equal(r->present, 2);
    assert_int_equal(r->new_chunks, 0);
    cb_sync_result_free(r);
    r = sync_ok(k->in_a, (cb_sync_request){.from = k->b, .to = k->a}); /* and not back */
    assert_int_equal(r->copied, 0);
    cb_sync_result_free(r);
    assert_int_equal(count_backups(k->in_a), 2);
}

static void the_words_are_kept(void **state)
{
    kit *k = *state;
    cb_list_result *here, *there;
    cb_error err = {0};

    kit_write(k, "one", 1, 1000);
    kit_backup(k->in_a, k, "data", NULL);
    cb_sync_result_free(sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b}));
    assert_ok(cb_list(k->in_a, NULL, &here, &err), err);
    assert_ok(cb_list(k->in_b, NULL, &there, &err), err);
    assert_int_equal(there->count, 1);
    assert_int_equal(there->backups[0].started_us, here->backups[0].started_us);
    assert_int_equal(there->backups[0].point_us, here->backups[0].point_us);
    assert_int_equal(there->backups[0].finished_us, here->backups[0].finished_us);
    assert_int_equal(there->backups[0].source_bytes, here->backups[0].source_bytes);
    assert_string_equal(there->backups[0].source, here->backups[0].source);
    assert_string_equal(there->backups[0].host, here->backups[0].host);
    assert_string_equal(there->backups[0].kind, "dir");
    assert_int_equal(there->backups[0].tag_count, 1);
    assert_string_equal(there->backups[0].tags[0].value, "by the copy");
    cb_list_result_free(here);
    cb_list_result_free(there);
}

/* What a later backup has in common with the one before is neither read nor stored. */
static void only_what_is_missing_is_read(void **state)
{
    kit *k = *state;
    cb_sync_result *r;
    char later[64], name[80];

    kit_write(k, "large", 1, 8 << 20);
    kit_backup(k->in_a, k, "data", NULL);
    cb_sync_result_free(sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b}));
    kit_write(k, "small", 2, 5000);
    kit_backup(k->in_a, k, "data", later);
    kit_flip_pack(k->a, 0); /* of the large file, which is whole in b */

    r = sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b});
    assert_int_equal(r->copied, 1);
    assert_int_equal(r->new_chunks, 1);
    assert_int_equal(r->damaged_count, 0);
    cb_sync_result_free(r);
    snprintf(name, sizeof(name), "data@%s", later);
    assert_true(kit_same_as_data(k->in_b, k, name));
    assert_sound(k->in_b);
}

static void a_copy_serves_as_parent(void **state)
{
    kit *k = *state;
    cb_backup_request request = {.source = k->address, .name = "data"};
    cb_backup_result *result;
    cb_error err = {0};

    kit_write(k, "one", 1, 3 << 20);
    kit_backup(k->in_a, k, "data", NULL);
    cb_sync_result_free(sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b}));
    kit_write(k, "two", 2, 100);
    assert_ok(cb_backup(k->in_b, &request, &result, &err), err);
    assert_int_equal(result->new_chunks, 1);
    cb_backup_result_free(result);
    assert_true(kit_same_as_data(k->in_b, k, "data"));
}

static void what_is_damaged_stays_behind(void **state)
{
    kit *k = *state;
    cb_sync_result *r;

    kit_write(k, "large", 1, 8 << 20);
    kit_backup(k->in_a, k, "hurt", NULL);
    kit_unlink(k, "large");
    kit_write(k, "one", 2, 1 << 20);
    kit_backup(k->in_a, k, "whole", NULL);
    kit_flip_pack(k->a, 0);

    r = sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b});
    assert_int_equal(r->copied, 1);
    assert_string_equal(r->entries[0].name, "whole");
    assert_int_equal(r->damaged_count, 1);
    assert_memory_equal(r->damaged[0].backup, "hurt@", 5);
    assert_string_equal(r->damaged[0].item, "large");
    assert_int_equal(strlen(r->damaged[0].chunk), 64);
    assert_non_null(strstr(k->warnings, "hurt@"));
    cb_sync_result_free(r);
    assert_int_equal(count_backups(k->in_b), 1);
    assert_sound(k->in_b);
    assert_true(kit_same_as_data(k->in_b, k, "whole"));
}

static void an_interrupted_run_is_gone_on_with(void **state)
{
    kit *k = *state;
    cb_sync_request request = {.from = k->a, .to = k->b};
    cb_ctx *ctx = kit_context(k, k->a);
    cb_sync_result *r = NULL;
    cb_error err = {0};

    kit_write(k, "one", 1, 2 << 20);
    kit_backup(k->in_a, k, "a", NULL);
    kit_write(k, "one", 2, 2 << 20);
    kit_backup(k->in_a, k, "b", NULL);
    k->cancel_at = ctx;
    k->cancel_phase = "copying b@";
    assert_int_equal(cb_repo_sync(ctx, &request, &r, &err), CB_CANCELLED);
    assert_null(r);
    k->cancel_phase = NULL;
    cb_ctx_free(ctx);
    assert_int_equal(count_backups(k->in_b), 1);

    r = sync_ok(k->in_a, request);
    assert_int_equal(r->copied, 1);
    assert_int_equal(r->present, 1);
    cb_sync_result_free(r);
    assert_true(kit_same_as_data(k->in_b, k, "b"));
}

static void a_dry_run_makes_nothing(void **state)
{
    kit *k = *state;
    cb_sync_result *r;

    kit_write(k, "one", 1, 100);
    kit_backup(k->in_a, k, "data", NULL);
    r = sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b, .dry_run = true});
    assert_int_equal(r->copied, 1);
    assert_false(r->entries[0].copied);
    assert_null(r->entries[0].to_label);
    cb_sync_result_free(r);
    assert_int_equal(kit_count_objects(k->b, ""), 0);
}

static void some_can_be_named(void **state)
{
    kit *k = *state;
    const char *wanted[] = {"b", "a@latest", "b@latest"};
    const char *nobody[] = {"nobody"};
    cb_sync_request request = {.from = k->a, .to = k->b, .backups = nobody, .backup_count = 1};
    cb_sync_result *r;
    cb_error err = {0};

    kit_write(k, "one", 1, 100);
    kit_backup(k->in_a, k, "a", NULL);
    kit_backup(k->in_a, k, "a", NULL);
    kit_backup(k->in_a, k, "b", NULL);
    kit_backup(k->in_a, k, "c", NULL);
    assert_int_equal(cb_repo_sync(k->in_a, &request, &r, &err), CB_NOT_FOUND);
    assert_true(err.in_repository);
    request.backups = wanted;
    request.backup_count = 3;
    r = sync_ok(k->in_a, request);
    assert_int_equal(r->copied, 2);
    assert_int_equal(r->count, 2);
    assert_string_equal(r->entries[0].name, "a");
    cb_sync_result_free(r);
    assert_int_equal(count_backups(k->in_b), 2);
}

/* An older one that is copied behind a newer one becomes `latest` there: that is told. */
static void an_older_one_behind_a_newer_is_told_of(void **state)
{
    kit *k = *state;
    const char *newer[] = {"data@latest"};
    cb_list_result *list;
    cb_error err = {0};

    kit_write(k, "one", 1, 100);
    kit_backup(k->in_a, k, "data", NULL);
    do { /* until a second has passed, so that the labels differ */
        kit_backup(k->in_a, k, "data", NULL);
        assert_ok(cb_list(k->in_a, "data", &list, &err), err);
        if (strlen(list->backups[list->count - 1].label) == 15 && list->count > 1)
            break;
        cb_list_result_free(list);
    } while (true);
    cb_list_result_free(list);
    cb_sync_result_free(sync_ok(
        k->in_a, (cb_sync_request){.from = k->a, .to = k->b, .backups = newer, .backup_count = 1}));
    assert_string_equal(k->warnings, "");
    cb_sync_result_free(sync_ok(k->in_a, (cb_sync_request){.from = k->a, .to = k->b}));
    assert_non_null(strstr(k->warnings, "came last"));
}

static void what_cannot_be_right_is_refused(void **state)
{
    kit *k = *state;
    cb_sync_request same = {.from = k->a, .to = k->a};
    cb_sync_request absent = {.from = k->a, .to = k->b, .no_create = true};
    cb_sync_request both = {.from = k->a, .to = k->b};
    cb_sync_result *r;
    cb_error err = {0};
    char other[192];
    cb_backup_request stranger = {.source = other, .name = "data"};
    cb_backup_result *taken;

    kit_write(k, "one", 1, 100);
    kit_backup(k->in_a, k, "data", NULL);
    assert_int_equal(cb_repo_sync(k->in_a, &same, &r, &err), CB_USAGE);
    memset(&err, 0, sizeof(err));
    assert_int_equal(cb_repo_sync(k->in_a, &absent, &r, &err), CB_NOT_FOUND);
    assert_true(err.in_repository);
    assert_int_equal(kit_count_objects(k->b, ""), 0);

    /* In b the name is that of another folder. */
    memset(&err, 0, sizeof(err));
    snprintf(other, sizeof(other), "dir:%s", k->a);
    assert_ok(cb_backup(k->in_b, &stranger, &taken, &err), err);
    cb_backup_result_free(taken);
    assert_int_equal(cb_repo_sync(k->in_a, &both, &r, &err), CB_USAGE);
    assert_non_null(strstr(err.message, "belongs to another source"));
    assert_int_equal(count_backups(k->in_b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_copied_once, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(the_words_are_kept, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(only_what_is_missing_is_read, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(a_copy_serves_as_parent, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(what_is_damaged_stays_behind, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(an_interrupted_run_is_gone_on_with, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(a_dry_run_makes_nothing, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(some_can_be_named, kit_make, kit_remove),
        cmocka_unit_test_setup_teardown(an_older_one_behind_a_newer_is_told_of, kit_make,
                                        kit_remove),
        cmocka_unit_test_setup_teardown(what_cannot_be_right_is_refused, kit_make, kit_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
