/*
 * Hooks and the life of other processes.
 */
#include "unit.h"

#include "base/file.h"
#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temp.h"

static void test_environment_and_input_arrive(void **state)
{
    static const char *const environment[] = {"CB_WORD=new", "CB_OTHER=b c", NULL};
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};

    (void)state;
    setenv("CB_WORD", "old", 1);
    assert_ok(
        cb_run_command(ctx, "test \"$CB_WORD/$CB_OTHER\" = 'new/b c'", environment, NULL, &err));
    assert_ok(cb_run_command(ctx, "test \"$CB_WORD\" = old", NULL, NULL, &err));
    assert_ok(cb_run_command(ctx, "test \"$(cat)\" = 'some words'", NULL, "some words", &err));
    assert_ok(cb_run_command(ctx, "test -z \"$(cat)\"", NULL, NULL, &err));
    cb_ctx_free(ctx);
}

static void test_a_failure_names_the_status(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};

    (void)state;
    assert_code(CB_IO, cb_run_command(ctx, "exit 17", NULL, NULL, &err));
    assert_non_null(strstr(err.message, "17"));
    assert_code(CB_IO, cb_run_command(ctx, "kill -9 $$", NULL, NULL, &err));
    assert_non_null(strstr(err.message, "signal 9"));
    cb_ctx_free(ctx);
}

static void test_output_goes_to_standard_error(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    char folder[256];
    char path[CB_PATH_MAX];
    CB_CLEANUP(cb_buf_free) cb_buf seen = {.limit = 100};
    int before = dup(STDERR_FILENO);
    int fd;

    (void)state;
    test_temp_make(folder);
    assert_ok(cb_path_join(folder, "log", path, &err));
    assert_ok(cb_file_open(path, O_WRONLY | O_CREAT, 0600, &fd, &err));
    dup2(fd, STDERR_FILENO);
    cb_code code = cb_run_command(ctx, "echo said", NULL, NULL, &err);
    dup2(before, STDERR_FILENO);
    close(before);
    close(fd);
    assert_ok(code);
    assert_ok(cb_file_slurp(path, &seen, &err));
    assert_int_equal(seen.size, 5);
    assert_memory_equal(seen.data, "said\n", 5);
    test_temp_remove(folder);
    cb_ctx_free(ctx);
}

static void *cancel_soon(void *ctx)
{
    usleep(100000);
    cb_cancel(ctx);
    return NULL;
}

static void test_cancel_ends_the_whole_group(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    char folder[256];
    char command[CB_PATH_MAX];
    CB_CLEANUP(cb_buf_free) cb_buf pid = {.limit = 100};
    int64_t before = cb_monotonic_us();
    pthread_t thread;

    (void)state;
    test_temp_make(folder);
    snprintf(command, sizeof(command), "sleep 100 & echo $! > %s/pid; wait", folder);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, ctx), 0);
    assert_code(CB_CANCELLED, cb_run_command(ctx, command, NULL, NULL, &err));
    pthread_join(thread, NULL);
    assert_true(cb_monotonic_us() - before < 5000000);

    snprintf(command, sizeof(command), "%s/pid", folder);
    assert_ok(cb_file_slurp(command, &pid, &err));
    assert_ok(cb_buf_u8(&pid, 0, &err));
    for (int i = 0; i < 100 && kill(atoi((char *)pid.data), 0) == 0; i++) {
        /* In a container without init it may stay a zombie, which kill(2) still sees. */
        char text[64];
        CB_CLEANUP(cb_buf_free) cb_buf facts = {.limit = 1000};

        snprintf(text, sizeof(text), "/proc/%d/stat", atoi((char *)pid.data));
        if (cb_file_slurp(text, &facts, &err) != CB_OK ||
            memmem(facts.data, facts.size, ") Z", 3) != NULL)
            break;
        assert_true(i < 99);
        usleep(10000);
    }
    test_temp_remove(folder);
    cb_ctx_free(ctx);
}

static void test_output_is_kept_and_bounded(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = 1000};
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    int64_t started = cb_monotonic_us();

    (void)state;
    assert_ok(cb_buf_append(&text, "<", 1, &err));
    assert_ok(cb_run_output(ctx, "cat; printf 'a\\n b'", 0, &text, &err));
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "<a\n b", 5);

    assert_code(CB_IO, cb_run_output(ctx, "echo secret; exit 7", 0, &text, &err));
    assert_non_null(strstr(err.message, "status 7"));
    assert_null(strstr(err.message, "secret"));
    assert_code(CB_IO, cb_run_output(ctx, "kill -9 $$", 0, &text, &err));
    assert_non_null(strstr(err.message, "signal 9"));
    assert_code(CB_TOO_LARGE, cb_run_output(ctx, "head -c 996 /dev/zero", 0, &text, &err));
    assert_code(CB_TOO_LARGE, cb_run_output(ctx, "cat /dev/zero", 0, &text, &err));
    assert_int_equal(text.size, 5);

    assert_code(CB_IO, cb_run_output(ctx, "sleep 60 & sleep 60", 200000, &text, &err));
    assert_true(cb_monotonic_us() - started < 20000000);
    cb_cancel(ctx);
    assert_code(CB_CANCELLED, cb_run_output(ctx, "sleep 60", 0, &text, &err));
    cb_ctx_free(ctx);
}

static void test_knows_who_is_gone(void **state)
{
    cb_process_identity self;
    cb_process_identity other;
    pid_t child;

    (void)state;
    cb_process_self(&self);
    assert_int_equal(self.pid, getpid());
    assert_true(self.host[0] != '\0' && self.boot_id[0] != '\0' && self.pid_namespace[0] != '\0');
    assert_false(cb_process_is_gone(&self));

    child = fork();
    if (child == 0)
        _exit(0);
    other = self;
    other.pid = child;
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(cb_process_is_gone(&other));
    snprintf(other.host, sizeof(other.host), "elsewhere");
    assert_false(cb_process_is_gone(&other));
    other = self;
    other.pid = child;
    other.boot_id[0] = other.boot_id[0] == 'a' ? 'b' : 'a';
    assert_false(cb_process_is_gone(&other));
    other = self;
    other.pid = 0;
    assert_false(cb_process_is_gone(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_and_input_arrive),
        cmocka_unit_test(test_a_failure_names_the_status),
        cmocka_unit_test(test_output_goes_to_standard_error),
        cmocka_unit_test(test_cancel_ends_the_whole_group),
        cmocka_unit_test(test_output_is_kept_and_bounded),
        cmocka_unit_test(test_knows_who_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
