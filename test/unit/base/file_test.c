/*
 * Files, folders and paths on a real file system.
 */
#include "unit.h"

#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "temp.h"

typedef struct place {
    char folder[256];
    char path[CB_PATH_MAX];
} place;

static int set_up(void **state)
{
    place *here = calloc(1, sizeof(*here));

    test_temp_make(here->folder);
    *state = here;
    return 0;
}

static int tear_down(void **state)
{
    place *here = *state;

    test_temp_remove(here->folder);
    free(here);
    return 0;
}

static const char *in(place *here, const char *name)
{
    cb_error err = {0};

    assert_ok(cb_path_join(here->folder, name, here->path, &err));
    return here->path;
}

static void write_file(const char *path, const char *text)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_error err = {0};

    assert_ok(cb_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, &err));
    assert_ok(cb_file_write(fd, path, 0, text, strlen(text), &err));
    assert_ok(cb_file_sync(fd, path, &err));
}

static void test_reads_and_writes_at_offsets(void **state)
{
    place *here = *state;
    const char *path = in(here, "file");
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_error err = {0};
    char back[16];
    size_t got;

    assert_ok(cb_file_open(path, O_RDWR | O_CREAT, 0600, &fd, &err));
    assert_ok(cb_file_write(fd, path, 3, "abcdef", 6, &err));
    assert_ok(cb_file_read(fd, path, 5, back, sizeof(back), &got, &err));
    assert_int_equal(got, 4);
    assert_memory_equal(back, "cdef", 4);
    assert_ok(cb_file_read(fd, path, 100, back, sizeof(back), &got, &err));
    assert_int_equal(got, 0);
    assert_code(CB_TOO_LARGE, cb_file_read(fd, path, UINT64_MAX, back, 1, &got, &err));
    assert_ok(cb_parent_sync(path, &err));
}

static void test_errors_name_the_path(void **state)
{
    place *here = *state;
    cb_error err = {0};
    int fd;

    assert_code(CB_NOT_FOUND, cb_file_open(in(here, "none"), O_RDONLY, 0, &fd, &err));
    assert_int_equal(fd, -1);
    assert_non_null(strstr(err.message, "/none'"));
    write_file(in(here, "file"), "x");
    assert_code(CB_EXISTS,
                cb_file_open(in(here, "file"), O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, &err));
    assert_code(CB_NOT_FOUND, cb_file_open(in(here, "file/below"), O_RDONLY, 0, &fd, &err));
}

static void test_makes_folders_with_parents(void **state)
{
    place *here = *state;
    cb_error err = {0};
    struct stat facts;

    assert_ok(cb_folder_make(in(here, "a//b/c/"), &err));
    assert_ok(cb_folder_make(in(here, "a/b/c"), &err));
    assert_int_equal(stat(in(here, "a/b/c"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0700);
    write_file(in(here, "a/file"), "x");
    assert_code(CB_EXISTS, cb_folder_make(in(here, "a/file"), &err));
}

static void test_removes_a_tree_but_follows_no_link(void **state)
{
    place *here = *state;
    cb_error err = {0};
    char outside[CB_PATH_MAX];
    char link[CB_PATH_MAX];

    assert_ok(cb_folder_make(in(here, "kept/inner"), &err));
    write_file(in(here, "kept/inner/file"), "x");
    assert_ok(cb_path_join(here->folder, "kept", outside, &err));
    assert_ok(cb_folder_make(in(here, "tree/deep/er"), &err));
    write_file(in(here, "tree/deep/er/file"), "x");
    assert_ok(cb_path_join(here->folder, "tree/deep/link", link, &err));
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(chmod(in(here, "tree/deep/er"), 0500), 0);

    assert_ok(cb_tree_remove(in(here, "tree"), &err));
    assert_false(cb_path_exists(in(here, "tree")));
    assert_true(cb_path_exists(in(here, "kept/inner/file")));
    assert_ok(cb_tree_remove(in(here, "tree"), &err));

    assert_ok(cb_path_join(here->folder, "link", link, &err));
    assert_int_equal(symlink(outside, link), 0);
    assert_ok(cb_tree_remove(link, &err));
    assert_true(cb_path_exists(in(here, "kept/inner/file")));
}

static void test_slurp_stops_at_the_limit(void **state)
{
    place *here = *state;
    CB_CLEANUP(cb_buf_free) cb_buf all = {.limit = 8};
    cb_error err = {0};

    write_file(in(here, "small"), "12345678");
    assert_ok(cb_file_slurp(in(here, "small"), &all, &err));
    assert_memory_equal(all.data, "12345678", 8);
    all.size = 1;
    assert_code(CB_TOO_LARGE, cb_file_slurp(in(here, "small"), &all, &err));
    assert_int_equal(all.size, 1);
}

static void test_joins_paths(void **state)
{
    char out[CB_PATH_MAX];
    char large[CB_PATH_MAX];
    cb_error err = {0};

    (void)state;
    assert_ok(cb_path_join("a", "b", out, &err));
    assert_string_equal(out, "a/b");
    assert_ok(cb_path_join("/", "b", out, &err));
    assert_string_equal(out, "/b");
    assert_ok(cb_path_join("a/", "b", out, &err));
    assert_string_equal(out, "a/b");
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    assert_code(CB_TOO_LARGE, cb_path_join("a", large, out, &err));
    assert_string_equal(cb_path_base("/a/b.duckdb"), "b.duckdb");
    assert_string_equal(cb_path_base("b"), "b");
}

static void test_absolute_paths_resolve_what_exists(void **state)
{
    place *here = *state;
    char out[CB_PATH_MAX];
    char link[CB_PATH_MAX];
    char wanted[CB_PATH_MAX];
    char real[CB_PATH_MAX];
    cb_error err = {0};

    assert_ok(cb_folder_make(in(here, "real/inner"), &err));
    assert_ok(cb_path_join(here->folder, "link", link, &err));
    assert_int_equal(symlink("real", link), 0);
    assert_ok(cb_path_absolute(here->folder, real, &err));
    assert_ok(cb_path_join(real, "real/inner/not/there", wanted, &err));
    assert_ok(cb_path_absolute(in(here, "link/inner/not/there"), out, &err));
    assert_string_equal(out, wanted);

    assert_int_equal(chdir(here->folder), 0);
    assert_ok(cb_path_join(real, "real", wanted, &err));
    assert_ok(cb_path_absolute("link/", out, &err));
    assert_string_equal(out, wanted);
    assert_ok(cb_path_absolute("new", out, &err));
    assert_true(cb_has_suffix(out, "/new") && out[0] == '/');
    assert_ok(cb_path_absolute("/", out, &err));
    assert_string_equal(out, "/");
    assert_ok(cb_path_absolute("/no/such/place", out, &err));
    assert_string_equal(out, "/no/such/place");
    assert_int_equal(chdir("/"), 0);
}

static void test_free_space_of_a_place_to_come(void **state)
{
    place *here = *state;
    cb_error err = {0};
    uint64_t there = 0;
    uint64_t to_come = 0;

    assert_ok(cb_free_space(here->folder, &there, &err));
    assert_ok(cb_free_space(in(here, "not/yet/there"), &to_come, &err));
    assert_true(there > 0 && to_come > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_and_writes_at_offsets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors_name_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_makes_folders_with_parents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_removes_a_tree_but_follows_no_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slurp_stops_at_the_limit, set_up, tear_down),
        cmocka_unit_test(test_joins_paths),
        cmocka_unit_test_setup_teardown(test_absolute_paths_resolve_what_exists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_free_space_of_a_place_to_come, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
