/*
 * restore(backup(x)) = x for trees made by chance: to a new place, over a changed one by delta, and
 * by increments on a parent.
 */
#include "dir_tree.h"
#include "pipe_source.h"
#include "temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 25 };

typedef struct fixture {
    cb_ctx *ctx;
    char folder[256];
    char from[300], to[300];
} fixture;

static int set_up(void **state)
{
    static fixture f;

    f = (fixture){.ctx = test_ctx_new()};
    test_temp_make(f.folder);
    snprintf(f.from, sizeof(f.from), "%s/from", f.folder);
    snprintf(f.to, sizeof(f.to), "%s/to", f.folder);
    tree_mkdir(f.folder, "from");
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    test_temp_remove(f->folder);
    cb_ctx_free(f->ctx);
    return 0;
}

static void take(fixture *f, const test_backup *parent, test_backup *out)
{
    const cb_source_options options = {0};
    cb_source *source = NULL;
    cb_error err = {0};

    if (cb_dir_engine.source(f->ctx, f->from, &options, &source, &err) != CB_OK ||
        test_backup_take(source, parent, NULL, NULL, out, &err) != CB_OK)
        fail_msg("backup: %s", err.message);
    for (size_t i = 1; i < out->count; i++)
        assert_true(cb_item_path_compare(out->items[i - 1].item.path, out->items[i].item.path) < 0);
    cb_source_free(source);
}

static void restore(fixture *f, const test_backup *backup, bool delta)
{
    const cb_target_options options = {.delta = delta, .delete_extra = delta};
    cb_target *target = NULL;
    cb_error err = {0};

    if (cb_dir_engine.target(f->ctx, f->to, &options, &target, &err) != CB_OK ||
        test_backup_restore(backup, target, delta, NULL, &err) != CB_OK)
        fail_msg("restore: %s", err.message);
    cb_target_free(target);
}

static void test_round_trips(void **state)
{
    test_random random = test_random_seeded();

    for (unsigned round = 0; round < ROUNDS; round++) {
        test_backup first = {0}, second = {0};
        fixture *f;

        set_up(state);
        f = *state;
        tree_random(&random, f->from);
        take(f, NULL, &first);
        restore(f, &first, false);
        tree_assert_same(f->from, f->to);

        tree_mutate(&random, f->from);
        take(f, &first, &second);
        restore(f, &second, true); /* forward, over the first */
        tree_assert_same(f->from, f->to);

        tree_mutate(&random, f->to);
        restore(f, &second, true); /* back, over damage */
        tree_assert_same(f->from, f->to);
        test_backup_free(&first);
        test_backup_free(&second);
        tear_down(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
