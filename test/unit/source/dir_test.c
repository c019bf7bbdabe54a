/*
 * The source and the target dir: order, changes under the reader, holes, what is reused, and paths
 * of a hostile manifest.
 */
#include "dir_tree.h"
#include "fake_hooks.h"
#include "pipe_source.h"
#include "temp.h"

#include "base/file.h"
#include "source/dir/dir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

typedef struct fixture {
    cb_ctx *ctx;
    test_hooks hooks;
    char folder[256];
    char from[300], to[300];
    test_backup backup, second;
    unsigned warnings, errors, infos;
    unsigned changes; /* left for hooks to make */
} fixture;

static void count_event(void *arg, const cb_event *event)
{
    fixture *f = arg;

    f->errors += event->kind == CB_EVENT_ERROR;
    f->warnings += event->kind == CB_EVENT_WARNING;
    f->infos += event->kind == CB_EVENT_INFO;
}

/* The clock stands a minute ahead: files just made are settled, as those of yesterday are. */
static void open_ctx(fixture *f, const char *repository)
{
    const cb_settings settings = {.jobs = 2, .repository = repository};
    cb_error err = {0};

    cb_ctx_free(f->ctx);
    assert_true(cb_ctx_new(&settings, count_event, f, &f->ctx, &err) == CB_OK);
    test_hooks_install(&f->hooks, f->ctx, ((int64_t)time(NULL) + 60) * 1000000, 1);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    test_temp_make(f->folder);
    snprintf(f->from, sizeof(f->from), "%s/from", f->folder);
    snprintf(f->to, sizeof(f->to), "%s/to", f->folder);
    tree_mkdir(f->folder, "from");
    open_ctx(f, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    test_backup_free(&f->backup);
    test_backup_free(&f->second);
    test_temp_remove(f->folder);
    cb_ctx_free(f->ctx);
    free(f);
    return 0;
}

static cb_code take_with(fixture *f, const cb_source_options *options, const test_backup *parent,
                         test_step_hook *hook, test_backup *out, cb_error *err)
{
    cb_source *source = NULL;
    cb_code code = cb_dir_engine.source(f->ctx, f->from, options, &source, err);

    if (code == CB_OK)
        code = test_backup_take(source, parent, hook, f, out, err);
    cb_source_free(source);
    return code;
}

static void take(fixture *f, const test_backup *parent, test_step_hook *hook, test_backup *out)
{
    const cb_source_options options = {0};
    cb_error err = {0};

    if (take_with(f, &options, parent, hook, out, &err) != CB_OK)
        fail_msg("backup: %s", err.message);
}

static cb_code restore(fixture *f, const test_backup *backup, const cb_target_options *options,
                       test_restore_counts *counts, cb_error *err)
{
    cb_target *target = NULL;
    cb_code code = cb_dir_engine.target(f->ctx, f->to, options, &target, err);

    if (code == CB_OK)
        code = test_backup_restore(backup, target, options->delta, counts, err);
    cb_target_free(target);
    return code;
}

static void restore_well(fixture *f, const test_backup *backup, const cb_target_options *options,
                         test_restore_counts *counts)
{
    cb_error err = {0};

    if (restore(f, backup, options, counts, &err) != CB_OK)
        fail_msg("restore: %s", err.message);
}

static const cb_target_options fresh = {0};
static const cb_target_options delta = {.delta = true};
static const cb_target_options mirror = {.delta = true, .delete_extra = true};
static const cb_target_options force = {.force = true};

static int64_t blocks_of(const char *folder, const char *name)
{
    char path[600];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_true(stat(path, &st) == 0);
    return (int64_t)st.st_blocks;
}

static void make_link(const char *folder, const char *name, const char *to)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_true(symlink(to, path) == 0);
}

static void name_again(const char *folder, const char *from, const char *to)
{
    char a[600], b[600];

    snprintf(a, sizeof(a), "%s/%s", folder, from);
    snprintf(b, sizeof(b), "%s/%s", folder, to);
    assert_true(link(a, b) == 0);
}

static void remove_name(const char *folder, const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_true(remove(path) == 0);
}

/* ---- order ---------------------------------------------------------------------------------- */

static void test_paths_compare(void **state)
{
    static const char *const ordered[] = {".",     "-",   "...", "a",     "a/b", "a/b/c", "a/b.c",
                                          "a\x01", "a-b", "a.b", "a.b/c", "aa",  "\xff"};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(ordered); i++)
        for (size_t j = 0; j < CB_LENGTH(ordered); j++) {
            int order = cb_item_path_compare(ordered[i], ordered[j]);

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
}

/* ---- under the reader's eyes ---------------------------------------------------------------- */

static cb_code change_at_barrier(void *arg, const cb_step *step, cb_error *err)
{
    fixture *f = arg;

    (void)err;
    if (step->kind == CB_STEP_BARRIER && f->changes > 0) {
        tree_file(f->from, "moving", 3000000 + f->changes, f->changes);
        f->changes--;
    }
    return CB_OK;
}

static void test_change_is_read_again(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "moving", 5000000, 99);
    tree_file(f->from, "still", 100, 1);
    f->changes = 2;
    take(f, NULL, change_at_barrier, &f->backup);
    assert_int_equal(f->backup.declared_again, 2);
    assert_int_equal(f->backup.facts.damaged, 0);
    restore_well(f, &f->backup, &fresh, NULL);
    tree_assert_same(f->from, f->to);
}

static void test_change_without_end_is_reported(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "moving", 5000, 99);
    f->changes = 100;
    take(f, NULL, change_at_barrier, &f->backup);
    assert_int_equal(f->backup.declared_again, 3);
    assert_int_equal(f->backup.facts.damaged, 0);
    assert_int_equal(f->warnings, 1);
    restore_well(f, &f->backup, &fresh, NULL);
}

static cb_code shrink_before_reading(void *arg, const cb_step *step, cb_error *err)
{
    fixture *f = arg;

    (void)err;
    if (step->kind == CB_STEP_PIECE && f->changes > 0) {
        f->changes = 0;
        tree_file(f->from, "moving", 10, 5);
    }
    return CB_OK;
}

static void test_file_shrinks(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "moving", 5000000, 99);
    f->changes = 1;
    take(f, NULL, shrink_before_reading, &f->backup);
    assert_int_equal(test_backup_find(&f->backup, "moving")->item.size_bytes, 10);
    restore_well(f, &f->backup, &fresh, NULL);
    tree_assert_same(f->from, f->to);
}

static cb_code remove_others(void *arg, const cb_step *step, cb_error *err)
{
    fixture *f = arg;

    (void)err;
    if (step->kind == CB_STEP_ITEM && strcmp(step->item.path, "a") == 0) {
        remove_name(f->from, "b");
        remove_name(f->from, "c");
    }
    if (step->kind == CB_STEP_PIECE && f->changes-- == 1)
        remove_name(f->from, "a"); /* its content is still read from the descriptor */
    return CB_OK;
}

static void test_files_vanish(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "a", 3000, 1);
    tree_file(f->from, "b", 3000, 2);
    tree_mkdir(f->from, "c");
    f->changes = 1;
    take(f, NULL, remove_others, &f->backup);
    assert_int_equal(f->backup.count, 2);
    assert_int_equal(f->backup.declared_again, 0);
    assert_int_equal(f->infos, 2);
    restore_well(f, &f->backup, &fresh, NULL);
    assert_true(tree_exists(f->to, "a"));
}

/* Root may read everything: become somebody else for a while. */
static bool become_nobody(void)
{
    return geteuid() == 0 && seteuid(65534) == 0;
}

static void test_unreadable_fails_unless_allowed(void **state)
{
    fixture *f = *state;
    const cb_source_options strict = {0}, lenient = {.allow_damage = true};
    char secret[600];
    cb_error err = {0};
    cb_check_report report = {0};
    cb_code code, lenient_code, check_code;
    cb_error ignored = {0};
    bool switched;

    tree_file(f->from, "open", 100, 1);
    tree_file(f->from, "secret", 100, 1);
    snprintf(secret, sizeof(secret), "%s/secret", f->from);
    assert_true(chmod(secret, 0) == 0 && chmod(f->folder, 0755) == 0);
    switched = become_nobody();
    code = take_with(f, &strict, NULL, NULL, &f->backup, &err);
    lenient_code = take_with(f, &lenient, NULL, NULL, &f->second, &ignored);
    check_code = cb_dir_engine.check(f->ctx, f->from, &report, &ignored);
    if (switched)
        assert_true(seteuid(0) == 0);

    assert_int_equal(code, CB_DENIED);
    assert_non_null(strstr(err.message, "secret"));
    assert_true(err.hint[0] != '\0');
    assert_int_equal(lenient_code, CB_OK);
    assert_int_equal(f->second.facts.damaged, 1);
    assert_null(test_backup_find(&f->second, "secret"));
    assert_non_null(test_backup_find(&f->second, "open"));
    assert_int_equal(f->errors, 2);
    assert_int_equal(check_code, CB_OK);
    assert_int_equal(report.damaged_count, 1);
    assert_string_equal(report.damaged[0].item, "secret");
    cb_check_report_free(&report);
}

/* ---- increments ----------------------------------------------------------------------------- */

static void test_unchanged_is_not_read(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "a", 3 * MIB, 1);
    tree_file(f->from, "b", 3 * MIB, 2);
    take(f, NULL, NULL, &f->backup);
    assert_int_equal(f->backup.pieces, 6);
    assert_int_equal(f->backup.barriers, 1);
    tree_file(f->from, "b", 3 * MIB, 3); /* the same size */
    take(f, &f->backup, NULL, &f->second);
    assert_int_equal(f->second.pieces, 3);
    restore_well(f, &f->second, &fresh, NULL);
    tree_assert_same(f->from, f->to);
}

static void test_fresh_change_is_not_trusted(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "a", 100, 1);
    test_time_pass(&f->hooks, -60 * 1000000); /* the clock says that it was written just now */
    take(f, NULL, NULL, &f->backup);
    take(f, &f->backup, NULL, &f->second);
    assert_int_equal(f->second.pieces, 1);
}

static void test_time_set_back_is_noticed(void **state)
{
    fixture *f = *state;

    tree_file(f->from, "a", 100, 1);
    tree_time(f->from, "a", INT64_C(1700000000123456789));
    take(f, NULL, NULL, &f->backup);
    tree_file(f->from, "a", 100, 2);
    tree_time(f->from, "a", INT64_C(1700000000123456789)); /* the change time gives it away */
    take(f, &f->backup, NULL, &f->second);
    assert_int_equal(f->second.pieces, 1);
}

/* ---- shapes -----------------------------------------------------------------------------------
 */

static void test_holes_are_not_read(void **state)
{
    fixture *f = *state;
    char path[600];
    int fd;

    snprintf(path, sizeof(path), "%s/sparse", f->from);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && ftruncate(fd, 200 * MIB) == 0);
    assert_true(pwrite(fd, "here", 4, 77 * MIB) == 4);
    close(fd);
    take(f, NULL, NULL, &f->backup);
    assert_int_equal(f->backup.pieces, 1);
    restore_well(f, &f->backup, &fresh, NULL);
    tree_assert_same(f->from, f->to);
    assert_true(blocks_of(f->to, "sparse") <= 2 * MIB / 512);
}

static void test_hard_links_stay_together(void **state)
{
    fixture *f = *state;
    char a[600], b[600];
    struct stat x, y;

    tree_mkdir(f->from, "sub");
    tree_file(f->from, "a", 2 * MIB, 1);
    name_again(f->from, "a", "sub/b");
    take(f, NULL, NULL, &f->backup);
    assert_int_equal(f->backup.pieces, 2); /* read once */
    restore_well(f, &f->backup, &fresh, NULL);
    snprintf(a, sizeof(a), "%s/a", f->to);
    snprintf(b, sizeof(b), "%s/sub/b", f->to);
    assert_true(stat(a, &x) == 0 && stat(b, &y) == 0);
    assert_true(x.st_ino == y.st_ino);
}

/* Longer than PATH_MAX, deeper than the descriptors that a walk keeps. */
static void test_deep_tree(void **state)
{
    fixture *f = *state;
    char name[] = "a-folder-with-a-name-that-is-long-enough-to-get-past-every-limit-there-is";
    int fd = open(f->from, O_RDONLY | O_DIRECTORY);

    for (unsigned depth = 0; depth < 100; depth++) {
        int next, file;

        assert_true(mkdirat(fd, name, 0755) == 0);
        file = openat(fd, "zz", O_WRONLY | O_CREAT, 0600);
        assert_true(file >= 0 && write(file, "x", 1) == 1);
        close(file);
        next = openat(fd, name, O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    take(f, NULL, NULL, &f->backup);
    assert_int_equal(f->backup.count, 201);
    restore_well(f, &f->backup, &fresh, NULL);
    snprintf(f->from, sizeof(f->from), "%s", f->to);
    take(f, &f->backup, NULL, &f->second);
    assert_int_equal(f->second.count, 201);
}

static void test_repository_inside_is_left_out(void **state)
{
    fixture *f = *state;
    char repository[600];
    const cb_source_options options = {0};
    cb_error err = {0};

    tree_mkdir(f->from, "keep");
    tree_mkdir(f->from, "keep/repo");
    tree_file(f->from, "keep/repo/pack", 100, 1);
    snprintf(repository, sizeof(repository), "%s/keep/repo", f->from);
    open_ctx(f, repository);
    take(f, NULL, NULL, &f->backup);
    assert_null(test_backup_find(&f->backup, "keep/repo"));
    assert_non_null(test_backup_find(&f->backup, "keep"));

    /* And it survives both ways of making a folder what the backup says. */
    snprintf(f->to, sizeof(f->to), "%s", f->from);
    restore_well(f, &f->backup, &mirror, NULL);
    assert_true(tree_exists(f->from, "keep/repo/pack"));
    assert_int_equal(restore(f, &f->backup, &force, NULL, &err), CB_USAGE);
    assert_true(tree_exists(f->from, "keep/repo/pack"));

    /* Nor does it go when something else should take the place of its folder. */
    assert_true(strcmp(f->backup.items[1].item.path, "keep") == 0);
    snprintf(f->from, sizeof(f->from), "%s/other", f->folder);
    tree_mkdir(f->folder, "other");
    tree_text(f->from, "keep", "a file");
    take(f, NULL, NULL, &f->second);
    assert_int_equal(restore(f, &f->second, &mirror, NULL, &err), CB_EXISTS);
    assert_true(tree_exists(f->to, "keep/repo/pack"));
    test_backup_free(&f->second);

    open_ctx(f, f->from);
    assert_int_equal(take_with(f, &options, NULL, NULL, &f->second, &err), CB_USAGE);
}

static void test_not_a_folder(void **state)
{
    fixture *f = *state;
    const cb_source_options options = {0};
    cb_source *source;
    cb_error err = {0};
    char path[600];

    tree_file(f->from, "a", 1, 1);
    snprintf(path, sizeof(path), "%s/a", f->from);
    assert_int_equal(cb_dir_engine.source(f->ctx, path, &options, &source, &err), CB_UNSUPPORTED);
    snprintf(path, sizeof(path), "%s/none", f->from);
    assert_int_equal(cb_dir_engine.source(f->ctx, path, &options, &source, &err), CB_NOT_FOUND);
    assert_null(source);
}

/* ---- restoring ------------------------------------------------------------------------------ */

static void test_delta_writes_what_differs(void **state)
{
    fixture *f = *state;
    test_restore_counts counts;
    struct stat before, after;
    char path[600];
    int fd;

    tree_file(f->from, "big", 8 * MIB, 1);
    tree_file(f->from, "same", 1000, 2);
    take(f, NULL, NULL, &f->backup);
    restore_well(f, &f->backup, &fresh, NULL);
    snprintf(path, sizeof(path), "%s/big", f->to);
    fd = open(path, O_WRONLY);
    assert_true(pwrite(fd, "damage", 6, 5 * MIB + 100) == 6);
    close(fd);
    tree_text(f->to, "extra", "not in the backup");
    snprintf(path, sizeof(path), "%s/same", f->to);
    assert_true(stat(path, &before) == 0);

    restore_well(f, &f->backup, &delta, &counts);
    assert_int_equal(counts.written_bytes, MIB);
    assert_true(stat(path, &after) == 0);
    assert_true(before.st_ctim.tv_sec == after.st_ctim.tv_sec &&
                before.st_ctim.tv_nsec == after.st_ctim.tv_nsec); /* was not touched at all */
    assert_true(tree_exists(f->to, "extra"));
    restore_well(f, &f->backup, &mirror, &counts);
    assert_int_equal(counts.written_bytes, 0);
    tree_assert_same(f->from, f->to);
}

static void test_names_outside_are_spared(void **state)
{
    fixture *f = *state;
    test_restore_counts counts;

    tree_file(f->from, "a", 5000, 1);
    take(f, NULL, NULL, &f->backup);
    tree_mkdir(f->folder, "to");
    tree_file(f->folder, "outside", 5000, 2);
    name_again(f->folder, "outside", "to/a");
    tree_file(f->folder, "witness", 5000, 2);
    restore_well(f, &f->backup, &delta, &counts);
    tree_assert_same(f->from, f->to);
    snprintf(f->from, sizeof(f->from), "%s/outside", f->folder);
    snprintf(f->to, sizeof(f->to), "%s/witness", f->folder);
    tree_time(f->folder, "outside", 0);
    tree_time(f->folder, "witness", 0);
    tree_assert_same(f->from, f->to);
}

static void test_existing_target(void **state)
{
    fixture *f = *state;
    cb_error err = {0};

    tree_file(f->from, "a", 5000, 1);
    take(f, NULL, NULL, &f->backup);
    tree_mkdir(f->folder, "to"); /* an empty one is none */
    restore_well(f, &f->backup, &fresh, NULL);
    tree_text(f->to, "mine", "precious");
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_EXISTS);
    assert_true(tree_exists(f->to, "mine"));
    restore_well(f, &f->backup, &force, NULL);
    tree_assert_same(f->from, f->to);

    snprintf(f->to, sizeof(f->to), "%s/file", f->folder);
    tree_text(f->folder, "file", "precious");
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_EXISTS);
    assert_int_equal(restore(f, &f->backup, &delta, NULL, &err), CB_EXISTS);
    restore_well(f, &f->backup, &force, NULL);
    tree_assert_same(f->from, f->to);
    assert_false(tree_exists(f->folder, ".to.canvasback-restore"));
    assert_false(tree_exists(f->folder, ".file.canvasback-restore"));
}

static void test_kinds_change_places(void **state)
{
    fixture *f = *state;
    cb_error err = {0};

    tree_mkdir(f->from, "x");
    tree_file(f->from, "x/file", 10, 1);
    tree_file(f->from, "y", 10, 1);
    make_link(f->from, "z", "y");
    take(f, NULL, NULL, &f->backup);
    tree_mkdir(f->folder, "to");
    tree_mkdir(f->folder, "away");
    tree_file(f->folder, "away/file", 10, 9);
    make_link(f->to, "x", "../away");
    tree_mkdir(f->to, "y");
    tree_file(f->to, "y/inside", 10, 1);
    tree_file(f->to, "z", 10, 1);
    assert_int_equal(restore(f, &f->backup, &delta, NULL, &err), CB_EXISTS); /* y holds something */
    assert_true(tree_exists(f->to, "y/inside"));
    restore_well(f, &f->backup, &mirror, NULL);
    tree_assert_same(f->from, f->to);
    assert_true(tree_exists(f->folder, "away/file"));
}

static void test_leftovers(void **state)
{
    fixture *f = *state;
    cb_target *target = NULL;
    cb_error err = {0};
    char path[600];
    int fd;

    tree_file(f->from, "a", 5000, 1);
    take(f, NULL, NULL, &f->backup);

    /* Given up half way: nothing stays. */
    assert_int_equal(cb_dir_engine.target(f->ctx, f->to, &fresh, &target, &err), CB_OK);
    assert_int_equal(cb_target_prepare(target, &err), CB_OK);
    assert_true(tree_exists(f->folder, ".to.canvasback-restore"));
    cb_target_free(target);
    assert_false(tree_exists(f->folder, ".to.canvasback-restore"));
    assert_false(tree_exists(f->folder, "to"));

    /* Another is at it; then it was killed. */
    tree_mkdir(f->folder, ".to.canvasback-restore");
    tree_text(f->folder, ".to.canvasback-restore/half", "x");
    snprintf(path, sizeof(path), "%s/.to.canvasback-restore", f->folder);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(flock(fd, LOCK_EX) == 0);
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_BUSY);
    assert_true(tree_exists(f->folder, ".to.canvasback-restore/half"));
    close(fd);
    restore_well(f, &f->backup, &fresh, NULL);
    tree_assert_same(f->from, f->to);
}

static void test_no_room(void **state)
{
    fixture *f = *state;
    const cb_target_options options = {.total_bytes = UINT64_MAX / 2};
    cb_error err = {0};

    take(f, NULL, NULL, &f->backup);
    assert_int_equal(restore(f, &f->backup, &options, NULL, &err), CB_NO_SPACE);
    assert_false(tree_exists(f->folder, "to"));
}

/* ---- hostile manifests ----------------------------------------------------------------------- */

/* Rename the item `path` of the backup and expect that no restore goes through. */
static void expect_refused(fixture *f, const char *path, const char *evil)
{
    cb_error err = {0};
    test_item *item = NULL;
    const char *kept;

    for (size_t i = 0; i < f->backup.count; i++)
        if (strcmp(f->backup.items[i].item.path, path) == 0)
            item = &f->backup.items[i];
    assert_non_null(item);
    kept = item->item.path;
    item->item.path = evil;
    if (restore(f, &f->backup, &fresh, NULL, &err) != CB_CORRUPT)
        fail_msg("'%s' was not refused as it should: %s", evil, err.message);
    item->item.path = kept;
    assert_false(tree_exists(f->folder, "to"));
    assert_false(tree_exists(f->folder, "evil"));
    assert_false(tree_exists(f->folder, ".to.canvasback-restore"));
}

static void test_hostile_paths(void **state)
{
    fixture *f = *state;
    char absolute[600];

    tree_file(f->from, "a", 5000, 1);
    make_link(f->from, "link", "..");
    tree_file(f->from, "z", 5000, 1);
    take(f, NULL, NULL, &f->backup);
    snprintf(absolute, sizeof(absolute), "%s/evil", f->folder);
    expect_refused(f, "z", "../evil");
    expect_refused(f, "z", absolute);
    expect_refused(f, "z", "link/evil"); /* through a link that the backup itself made */
    expect_refused(f, "z", "link/../evil");
    expect_refused(f, "z", "missing/evil");
    expect_refused(f, "z", "a/evil"); /* through a file */
    expect_refused(f, "z", "z/");
    expect_refused(f, "z", "z//evil");
    expect_refused(f, "z", "");
    expect_refused(f, "z", "..");
    expect_refused(f, "z", ".");
    expect_refused(f, "z", "link"); /* twice */
    expect_refused(f, "a", "zz");   /* out of order */
    expect_refused(f, ".", "x");
}

static void test_hostile_attrs(void **state)
{
    fixture *f = *state;
    cb_error err = {0};
    test_item *item;
    cb_bytes kept;

    tree_file(f->from, "a", 5000, 1);
    make_link(f->from, "b", "a");
    take(f, NULL, NULL, &f->backup);
    item = &f->backup.items[1];
    kept = item->item.attrs;
    item->item.attrs = f->backup.items[2].item.attrs; /* a file that says it is a link */
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_CORRUPT);
    item->item.attrs.size = 3;
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_CORRUPT);
    item->item.attrs = kept;
    f->backup.count = 0;
    assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_CORRUPT);
    f->backup.count = 3;
    assert_false(tree_exists(f->folder, "to"));
}

/* A further name of something that is not in the backup must not bring it in. */
static void test_hostile_further_names(void **state)
{
    static const char *const firsts[] = {"../secret", "link/secret", "link", "c", "none"};
    fixture *f = *state;
    test_item *item;
    cb_bytes kept;

    tree_text(f->folder, "secret", "secret");
    tree_file(f->from, "a", 50, 1);
    name_again(f->from, "a", "z");
    make_link(f->from, "link", "..");
    tree_mkdir(f->from, "c");
    take(f, NULL, NULL, &f->backup);
    item = &f->backup.items[f->backup.count - 1];
    assert_string_equal(item->item.path, "z");
    kept = item->item.attrs;
    for (size_t i = 0; i < CB_LENGTH(firsts); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf record = {0};
        cb_error err = {0};

        assert_int_equal(cb_field_put_u64(&record, CB_DIR_MODE, S_IFREG | 0644, &err), CB_OK);
        assert_int_equal(cb_field_put_bytes(&record, CB_DIR_SAME_AS,
                                            cb_bytes_of(firsts[i], strlen(firsts[i]) + 1), &err),
                         CB_OK);
        item->item.attrs = cb_buf_bytes(&record);
        assert_int_equal(restore(f, &f->backup, &fresh, NULL, &err), CB_CORRUPT);
        item->item.attrs = kept;
    }
    restore_well(f, &f->backup, &fresh, NULL);
    tree_assert_same(f->from, f->to);
}

/* ---- deep ------------------------------------------------------------------------------------ */

static cb_code sum_rows(void *arg, const char *table, uint64_t rows, cb_error *err)
{
    uint64_t *sum = arg;

    (void)err;
    assert_true(strcmp(table, "a") == 0 || strcmp(table, "sub") == 0);
    *sum += rows * (table[0] == 'a' ? 1 : 100);
    return CB_OK;
}

static void test_deep(void **state)
{
    fixture *f = *state;
    uint64_t sum = 0;
    cb_error err = {0};

    tree_file(f->from, "a", 5000, 1);
    tree_mkdir(f->from, "sub");
    tree_file(f->from, "sub/b", 10, 1);
    tree_mkdir(f->from, "sub/empty");
    tree_file(f->from, "sub/empty/c", 10, 1);
    assert_int_equal(cb_dir_engine.deep(f->ctx, f->from, NULL, sum_rows, &sum, &err), CB_OK);
    assert_int_equal(sum, 201);
}

#define ROUND(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_compare),
        ROUND(test_change_is_read_again),
        ROUND(test_change_without_end_is_reported),
        ROUND(test_file_shrinks),
        ROUND(test_files_vanish),
        ROUND(test_unreadable_fails_unless_allowed),
        ROUND(test_unchanged_is_not_read),
        ROUND(test_fresh_change_is_not_trusted),
        ROUND(test_time_set_back_is_noticed),
        ROUND(test_holes_are_not_read),
        ROUND(test_hard_links_stay_together),
        ROUND(test_deep_tree),
        ROUND(test_repository_inside_is_left_out),
        ROUND(test_not_a_folder),
        ROUND(test_delta_writes_what_differs),
        ROUND(test_names_outside_are_spared),
        ROUND(test_existing_target),
        ROUND(test_kinds_change_places),
        ROUND(test_leftovers),
        ROUND(test_no_room),
        ROUND(test_hostile_paths),
        ROUND(test_hostile_attrs),
        ROUND(test_hostile_further_names),
        ROUND(test_deep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
