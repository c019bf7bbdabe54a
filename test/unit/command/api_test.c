/*
 * The public library as another program meets it: one header, one shared library, a folder backed
 * up, destroyed and brought back, and events on the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <canvasback.h>

#include <cmocka.h>

typedef struct place {
    char root[64];
    char repo[128], source[128], file[160], target[128], address[160];
    cb_ctx *ctx;
    unsigned events;
} place;

static void count_event(void *arg, const cb_event *event)
{
    place *p = arg;

    assert_non_null(event);
    p->events++;
}

static int make_place(void **state)
{
    place *p = calloc(1, sizeof(*p));
    cb_settings settings = {.jobs = 2};
    cb_error err = {0};
    FILE *file;

    assert_non_null(p);
    snprintf(p->root, sizeof(p->root), "/tmp/cbtest-api-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    snprintf(p->repo, sizeof(p->repo), "%s/repo", p->root);
    snprintf(p->source, sizeof(p->source), "%s/data", p->root);
    snprintf(p->file, sizeof(p->file), "%s/hello", p->source);
    snprintf(p->target, sizeof(p->target), "%s/back", p->root);
    snprintf(p->address, sizeof(p->address), "dir:%s", p->source);
    assert_int_equal(mkdir(p->source, 0700), 0);
    file = fopen(p->file, "w");
    assert_non_null(file);
    fputs("hello, duck\n", file);
    fclose(file);
    settings.repository = p->repo;
    assert_int_equal(cb_ctx_new(&settings, count_event, p, &p->ctx, &err), CB_OK);
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    place *p = *state;
    char command[128];

    cb_ctx_free(p->ctx);
    snprintf(command, sizeof(command), "rm -rf '%s'", p->root);
    assert_int_equal(system(command), 0); /* a test's own clean-up, of a name that it made */
    free(p);
    return 0;
}

static void a_folder_comes_back(void **state)
{
    place *p = *state;
    cb_backup_request backup = {.source = p->address, .name = "greetings"};
    cb_restore_request restore = {.backup = "greetings", .target = p->target};
    cb_verify_request verify = {.backup = "greetings@latest"};
    cb_backup_result *taken;
    cb_verify_result *verified;
    cb_restore_result *restored;
    cb_list_result *list;
    cb_error err = {0};
    char path[192], line[32] = "";
    FILE *file;

    assert_int_equal(cb_backup(p->ctx, &backup, &taken, &err), CB_OK);
    assert_string_equal(taken->kind, "dir");
    assert_true(taken->created_repo);
    assert_true(p->events > 0);

    assert_int_equal(cb_list(p->ctx, NULL, &list, &err), CB_OK);
    assert_int_equal(list->count, 1);
    assert_string_equal(list->backups[0].label, taken->label);
    assert_int_equal(list->backups[0].verified_us, 0);
    cb_list_result_free(list);

    assert_int_equal(cb_verify(p->ctx, &verify, &verified, &err), CB_OK);
    assert_int_equal(verified->damaged_count, 0);
    cb_verify_result_free(verified);

    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(cb_restore(p->ctx, &restore, &restored, &err), CB_OK);
    snprintf(path, sizeof(path), "%s/hello", p->target);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    assert_string_equal(line, "hello, duck\n");
    cb_restore_result_free(restored);
    cb_backup_result_free(taken);
}

static void what_is_missing_is_said(void **state)
{
    place *p = *state;
    cb_restore_request restore = {.backup = "nobody", .target = p->target};
    cb_restore_result *restored;
    cb_error err = {0};

    assert_int_equal(cb_restore(p->ctx, &restore, &restored, &err), CB_NOT_FOUND);
    assert_null(restored);
    assert_true(err.in_repository);
    assert_non_null(strstr(err.message, p->repo));
    assert_true(err.hint[0] != '\0');
}

static void a_cancelled_run_leaves_no_backup(void **state)
{
    place *p = *state;
    cb_backup_request backup = {.source = p->address};
    cb_backup_result *taken;
    cb_list_result *list;
    cb_settings settings = {.repository = p->repo};
    cb_error err = {0};

    cb_cancel(p->ctx);
    assert_int_equal(cb_backup(p->ctx, &backup, &taken, &err), CB_CANCELLED);
    assert_null(taken);
    cb_ctx_free(p->ctx);
    assert_int_equal(cb_ctx_new(&settings, NULL, NULL, &p->ctx, &err), CB_OK);
    if (cb_list(p->ctx, NULL, &list, &err) == CB_OK) {
        assert_int_equal(list->count, 0);
        cb_list_result_free(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_comes_back, make_place, remove_place),
        cmocka_unit_test_setup_teardown(what_is_missing_is_said, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_cancelled_run_leaves_no_backup, make_place, remove_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
