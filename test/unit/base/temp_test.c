/*
 * Folders and files that go with their process: what a killed one left is removed by the next, and
 * nothing else is.
 */
#include "base/temp.h"

#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAITS = 0, DIES = 1 };

/* A process that makes a folder with a file in it, and a file of its own; then it is killed, or
   stays until it is. `path`: the folder. */
static pid_t start_owner(cb_ctx *ctx, const char *base, bool dies, char path[CB_PATH_MAX],
                         char file[CB_PATH_MAX])
{
    int pipes[2];
    pid_t child;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cb_error err = {0};
        cb_temp temp = {0};
        char inside[CB_PATH_MAX];
        char made[CB_PATH_MAX] = "";
        int fd = -1;

        if (cb_temp_make(ctx, base, "ours-", &temp, &err) != CB_OK ||
            cb_path_join(temp.path, "keys", inside, &err) != CB_OK ||
            close(open(inside, O_CREAT | O_WRONLY, 0600)) != 0 ||
            cb_temp_file(ctx, base, ".part-", &fd, made, &err) != CB_OK ||
            write(pipes[1], temp.path, CB_PATH_MAX) != CB_PATH_MAX ||
            write(pipes[1], made, CB_PATH_MAX) != CB_PATH_MAX)
            _exit(1);
        if (dies)
            raise(SIGKILL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    assert_int_equal(read(pipes[0], path, CB_PATH_MAX), CB_PATH_MAX);
    assert_int_equal(read(pipes[0], file, CB_PATH_MAX), CB_PATH_MAX);
    close(pipes[0]);
    close(pipes[1]);
    if (dies)
        assert_int_equal(waitpid(child, NULL, 0), child);
    return child;
}

static void touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static void test_next_removes_the_dead(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    cb_temp mine = {0};
    char base[256], path[CB_PATH_MAX];
    char dead[CB_PATH_MAX], living[CB_PATH_MAX], dead_file[CB_PATH_MAX], living_file[CB_PATH_MAX];
    pid_t owner;
    struct stat st;

    (void)state;
    test_temp_make(base);
    start_owner(ctx, base, DIES, dead, dead_file);
    owner = start_owner(ctx, base, WAITS, living, living_file);
    assert_false(cb_path_exists(dead)); /* the second has seen to the first */
    start_owner(ctx, base, DIES, dead, dead_file);

    assert_int_equal(cb_temp_make(ctx, base, "ours-", &mine, &err), CB_OK);
    assert_false(cb_path_exists(dead));
    assert_true(cb_path_exists(living));
    assert_int_equal(stat(mine.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    cb_temp_sweep_files(base, ".part-", false);
    assert_false(cb_path_exists(dead_file));
    assert_true(cb_path_exists(living_file));

    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
    snprintf(path, sizeof(path), "%s", mine.path);
    cb_temp_free(&mine);
    assert_false(cb_path_exists(path));
    cb_temp_sweep_files(base, ".part-", false);
    assert_false(cb_path_exists(living_file));
    cb_ctx_free(ctx);
    test_temp_remove(base);
}

/* Of the same beginning, but not made here; and what only looks like it. */
static void test_others_stay(void **state)
{
    static const char *const folders[] = {"ours-", "ours-0123456789abcde", "ours-0123456789ABCDEF",
                                          "ours-0123456789abcdef0", "yours-0123456789abcdef"};
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    cb_temp mine = {0};
    char base[256], real[300], inside[340], path[CB_PATH_MAX + 64];

    (void)state;
    test_temp_make(base);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", base, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(real, sizeof(real), "%s/real", base);
    assert_int_equal(mkdir(real, 0700), 0);
    snprintf(inside, sizeof(inside), "%s/.part-0123456789abcdef", real);
    touch(inside);
    snprintf(path, sizeof(path), "%s/ours-fedcba9876543210", base);
    assert_int_equal(symlink(real, path), 0);
    snprintf(path, sizeof(path), "%s/ours-0000000000000000", base);
    touch(path); /* a file, where folders are looked for */

    assert_int_equal(cb_temp_make(ctx, base, "ours-", &mine, &err), CB_OK);
    assert_true(cb_path_exists(path));
    assert_true(cb_path_exists(inside));
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", base, folders[i]);
        assert_true(cb_path_exists(path));
    }

    snprintf(path, sizeof(path), "%s/link", mine.path);
    assert_int_equal(symlink(real, path), 0);
    cb_temp_sweep_files(mine.path, ".part-", true); /* not through the link */
    assert_true(cb_path_exists(inside));
    cb_temp_sweep_files(base, ".part-", false); /* not that deep */
    assert_true(cb_path_exists(inside));
    cb_temp_sweep_files(base, ".part-", true);
    assert_false(cb_path_exists(inside));
    cb_temp_free(&mine);
    cb_ctx_free(ctx);
    test_temp_remove(base);
}

static void test_no_place(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    cb_temp temp = {0};

    (void)state;
    assert_int_equal(cb_temp_make(ctx, "/dev/null/none", "ours-", &temp, &err), CB_NOT_FOUND);
    assert_non_null(strstr(err.message, "/dev/null/none/ours-"));
    cb_temp_free(&temp);
    cb_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_removes_the_dead),
        cmocka_unit_test(test_others_stay),
        cmocka_unit_test(test_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
