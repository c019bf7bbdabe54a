/*
 * The file store when the system fails it: no space, no link(2), no right to write, and a death at
 * each moment of a commit. After each the store holds whole objects only.
 */
#include "unit.h"

#include "base/file.h"
#include "storage/storage.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temp.h"

enum { PART = 256 * 1024, SKIPPED = 77 };

typedef struct place {
    char folder[256];
    cb_ctx *ctx;
} place;

static int set_up(void **state)
{
    place *here = calloc(1, sizeof(*here));

    *state = here;
    here->ctx = test_ctx_new();
    test_temp_make(here->folder);
    return 0;
}

static int tear_down(void **state)
{
    place *here = *state;

    cb_ctx_free(here->ctx);
    test_temp_remove(here->folder);
    free(here);
    return 0;
}

/* Run `body` in a process of its own, since what it does to itself cannot be taken back. */
static int in_child(place *here, int (*body)(place *here))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(body(here));
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* An object of `parts` parts, each filled with its number. */
static cb_code put_parts(cb_store *store, const char *key, cb_put_mode mode, int parts,
                         cb_error *err)
{
    static uint8_t part[PART];
    cb_writer *writer;
    cb_code code = cb_store_put(store, key, mode, &writer, err);

    if (code != CB_OK)
        return code;
    for (int i = 0; i < parts && code == CB_OK; i++) {
        memset(part, i, PART);
        code = cb_writer_write(writer, cb_bytes_of(part, PART), err);
    }
    if (code == CB_OK)
        code = cb_writer_commit(writer, err);
    cb_writer_free(writer);
    return code;
}

static cb_code check_object(void *arg, const cb_object *object, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf all = {0};
    cb_code code = cb_store_get(arg, object->key, 0, UINT64_MAX, &all, err);

    /* All objects of these tests are whole parts. */
    assert_true(object->size_bytes > 0 && object->size_bytes % PART == 0);
    assert_int_equal(all.size, object->size_bytes);
    for (size_t i = 0; i < all.size; i += 997)
        assert_int_equal(all.data[i], i / PART);
    return code;
}

static cb_code count_it(void *arg, const cb_object *object, cb_error *err)
{
    (void)object;
    (void)err;
    ++*(int *)arg;
    return CB_OK;
}

/* Each of them is whole, or the test fails here. */
static int count_objects(place *here)
{
    cb_error err = {0};
    cb_store *store;
    int count = 0;

    assert_ok(cb_file_store_open(here->ctx, here->folder, false, &store, &err));
    assert_ok(cb_store_list(store, "", check_object, store, &err));
    assert_ok(cb_store_list(store, "", count_it, &count, &err));
    cb_store_close(store);
    return count;
}

/* ---- no space ---- */

static int fill(place *here, cb_code wanted)
{
    cb_error err = {0};
    cb_store *store;
    cb_code code = CB_OK;
    char key[32];
    char tmp[300];

    if (cb_file_store_open(here->ctx, here->folder, true, &store, &err) != CB_OK)
        return 1;
    for (int i = 0; i < 64 && code == CB_OK; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        code = put_parts(store, key, CB_PUT_NEW, 1 + i % 8, &err);
    }
    if (code != wanted || (code != CB_OK && err.message[0] == '\0'))
        return 2;
    if (wanted == CB_NO_SPACE && err.hint[0] == '\0')
        return 3;
    /* The failed one left nothing: its folder can be removed as it is. */
    snprintf(tmp, sizeof(tmp), "%s/tmp", here->folder);
    if (rmdir(tmp) != 0)
        return 4;
    cb_store_close(store);
    return 0;
}

static int fill_small_disk(place *here)
{
    int result;

    /* In a mount namespace of its own, so that nothing stays mounted however this ends. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("cb-test", here->folder, "tmpfs", 0, "size=6m") != 0)
        return SKIPPED;
    result = fill(here, CB_NO_SPACE);
    if (result == 0)
        result = count_objects(here) >= 3 ? 0 : 5;
    return result;
}

static void test_a_full_disk(void **state)
{
    int result = in_child(*state, fill_small_disk);

    if (result == SKIPPED)
        skip(); /* no right to mount; the next test limits the size of files instead */
    assert_int_equal(result, 0);
}

static int fill_by_limit(place *here)
{
    struct rlimit limit = {.rlim_cur = 5 * PART + 1000, .rlim_max = 5 * PART + 1000};

    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 9;
    return fill(here, CB_NO_SPACE);
}

static void test_a_limit_of_file_size(void **state)
{
    assert_int_equal(in_child(*state, fill_by_limit), 0);
    assert_int_equal(count_objects(*state), 5);
}

/* ---- system calls that do not exist there ---- */

/* From now on linkat, and if told renameat2 too, fail in this process as on such a file system. */
static bool forbid(bool rename_too)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rename_too ? SYS_renameat2 : UINT32_MAX, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = CB_LENGTH(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int put_without_link(place *here)
{
    cb_error err = {0};
    cb_store *store;

    if (!forbid(false))
        return SKIPPED;
    if (cb_file_store_open(here->ctx, here->folder, false, &store, &err) != CB_OK)
        return 1;
    if (put_parts(store, "a/k", CB_PUT_NEW, 2, &err) != CB_OK)
        return 2;
    if (put_parts(store, "a/k", CB_PUT_NEW, 3, &err) != CB_EXISTS)
        return 3;
    if (put_parts(store, "a/k", CB_PUT_REPLACE, 4, &err) != CB_OK)
        return 4;
    cb_store_close(store);
    return fill(here, CB_OK);
}

static void test_without_link_a_rename_is_exclusive_too(void **state)
{
    int result = in_child(*state, put_without_link);

    if (result == SKIPPED)
        skip();
    assert_int_equal(result, 0);
    assert_int_equal(count_objects(*state), 65);
}

static int put_without_both(place *here)
{
    cb_error err = {0};
    cb_store *store;

    if (!forbid(true))
        return SKIPPED;
    if (cb_file_store_open(here->ctx, here->folder, false, &store, &err) != CB_OK)
        return 1;
    if (put_parts(store, "a/k", CB_PUT_NEW, 2, &err) != CB_UNSUPPORTED)
        return 2;
    if (strstr(err.message, "only if its name is free") == NULL || err.hint[0] == '\0')
        return 3;
    cb_store_close(store);
    return 0;
}

static void test_without_both_the_place_is_refused(void **state)
{
    int result = in_child(*state, put_without_both);

    if (result == SKIPPED)
        skip();
    assert_int_equal(result, 0);
    assert_int_equal(count_objects(*state), 0);
}

/* ---- no right to write ---- */

static int read_as_nobody(place *here)
{
    CB_CLEANUP(cb_buf_free) cb_buf byte = {0};
    cb_error err = {0};
    cb_store *store;

    if (chmod(here->folder, 0555) != 0 || (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
        return SKIPPED;
    if (cb_file_store_open(here->ctx, here->folder, false, &store, &err) != CB_OK)
        return 1;
    if (put_parts(store, "k1", CB_PUT_NEW, 1, &err) != CB_DENIED || err.hint[0] == '\0')
        return 2;
    if (cb_store_remove(store, "k0", &err) != CB_DENIED)
        return 3;
    if (cb_store_get(store, "none", 0, 1, &byte, &err) != CB_NOT_FOUND)
        return 4;
    cb_store_close(store);
    return 0;
}

static void test_a_place_that_may_only_be_read(void **state)
{
    place *here = *state;
    cb_error err = {0};
    cb_store *store;
    int result;

    assert_ok(cb_file_store_open(here->ctx, here->folder, false, &store, &err));
    assert_ok(put_parts(store, "k0", CB_PUT_NEW, 1, &err));
    cb_store_close(store);
    result = in_child(here, read_as_nobody);
    assert_int_equal(chmod(here->folder, 0700), 0);
    if (result == SKIPPED)
        skip();
    assert_int_equal(result, 0);
    assert_int_equal(count_objects(here), 1);
}

/* ---- death ---- */

static int put_until_killed(place *here)
{
    cb_error err = {0};
    cb_store *store;

    if (cb_file_store_open(here->ctx, here->folder, false, &store, &err) != CB_OK)
        return 1;
    for (int i = 0;; i = (i + 1) % 64) {
        char key[32];

        snprintf(key, sizeof(key), "k%d", i);
        if (put_parts(store, key, i % 2 == 0 ? CB_PUT_REPLACE : CB_PUT_NEW, 1 + i % 8, &err) !=
            CB_OK)
            cb_ignore(cb_store_remove(store, key, &err)); /* it is there: make room for it */
    }
}

static void test_killed_writers_leave_whole_objects(void **state)
{
    place *here = *state;

    for (int round = 0; round < 20; round++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            _exit(put_until_killed(here));
        usleep((useconds_t)(3000 + 1700 * round));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        (void)count_objects(here); /* checks the content of each */
    }
    assert_true(count_objects(here) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_limit_of_file_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_link_a_rename_is_exclusive_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_without_both_the_place_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_place_that_may_only_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_writers_leave_whole_objects, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
