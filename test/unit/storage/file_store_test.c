/*
 * What only the file store has: modes, tmp/, left-overs, foreign files, racing processes.
 */
#include "unit.h"

#include "base/file.h"
#include "base/text.h"
#include "storage/storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temp.h"

typedef struct place {
    char folder[256];
    char path[CB_PATH_MAX];
    cb_ctx *ctx;
    cb_store *store;
} place;

static int set_up(void **state)
{
    place *here = calloc(1, sizeof(*here));
    cb_error err = {0};

    *state = here;
    here->ctx = test_ctx_new();
    test_temp_make(here->folder);
    return cb_file_store_open(here->ctx, here->folder, false, &here->store, &err);
}

static int tear_down(void **state)
{
    place *here = *state;

    cb_store_close(here->store);
    cb_ctx_free(here->ctx);
    test_temp_remove(here->folder);
    free(here);
    return 0;
}

static const char *in(place *here, const char *name)
{
    snprintf(here->path, sizeof(here->path), "%s/%s", here->folder, name);
    return here->path;
}

static int entries_in(const char *path)
{
    DIR *folder = opendir(path);
    int count = -2; /* "." and ".." */

    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static cb_code put(cb_store *store, const char *key, cb_put_mode mode, const char *text,
                   cb_error *err)
{
    return cb_store_put_bytes(store, key, mode, cb_bytes_of(text, strlen(text)), err);
}

static cb_code count_it(void *arg, const cb_object *object, cb_error *err)
{
    (void)object;
    (void)err;
    ++*(int *)arg;
    return CB_OK;
}

static int objects_in(cb_store *store)
{
    cb_error err = {0};
    int count = 0;

    assert_ok(cb_store_list(store, "", count_it, &count, &err));
    return count;
}

static void test_objects_are_read_only_files(void **state)
{
    place *here = *state;
    cb_error err = {0};
    struct stat facts;

    assert_ok(put(here->store, "p/ab/cd", CB_PUT_NEW, "text", &err));
    assert_int_equal(stat(in(here, "p/ab/cd"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0400);
    assert_int_equal(facts.st_nlink, 1);
    assert_int_equal(facts.st_size, 4);
    assert_int_equal(stat(in(here, "p/ab"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0700);
    assert_int_equal(entries_in(in(here, "tmp")), 0);
}

static void test_nothing_stays_in_tmp(void **state)
{
    place *here = *state;
    cb_error err = {0};
    cb_writer *writer;
    int64_t now;

    assert_ok(cb_store_put(here->store, "k", CB_PUT_NEW, &writer, &err));
    assert_int_equal(entries_in(in(here, "tmp")), 1);
    cb_writer_free(writer);
    assert_int_equal(entries_in(in(here, "tmp")), 0);
    assert_ok(put(here->store, "k", CB_PUT_NEW, "a", &err));
    assert_code(CB_EXISTS, put(here->store, "k", CB_PUT_NEW, "b", &err));
    assert_ok(put(here->store, "k", CB_PUT_REPLACE, "c", &err));
    assert_ok(cb_store_now(here->store, &now, &err));
    assert_int_equal(entries_in(in(here, "tmp")), 0);
    assert_code(CB_INTERNAL, cb_store_put(here->store, "tmp/x", CB_PUT_NEW, &writer, &err));
}

static void make_old(const char *path)
{
    struct timespec old[2];

    clock_gettime(CLOCK_REALTIME, &old[0]);
    old[0].tv_sec -= 25 * 3600;
    old[1] = old[0];
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

static void first_in(const char *path, char out[NAME_MAX + 1])
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    assert_non_null(folder);
    do
        entry = readdir(folder);
    while (entry != NULL && entry->d_name[0] == '.');
    assert_non_null(entry);
    snprintf(out, NAME_MAX + 1, "%s", entry->d_name);
    closedir(folder);
}

/* A writer that has not written for a day is still at work. */
static void test_a_slow_writer_keeps_its_file(void **state)
{
    place *here = *state;
    char name[NAME_MAX + 1], path[CB_PATH_MAX];
    cb_error err = {0};
    cb_store *again;
    cb_writer *writer;

    assert_ok(cb_store_put(here->store, "slow", CB_PUT_NEW, &writer, &err));
    first_in(in(here, "tmp"), name);
    snprintf(path, sizeof(path), "%.255s/tmp/%s", here->folder, name);
    make_old(path);
    assert_ok(cb_file_store_open(here->ctx, here->folder, false, &again, &err));
    cb_store_close(again);
    assert_ok(cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    assert_int_equal(objects_in(here->store), 1);
}

/* The folder of a session goes with its last object; folders that many use stay. */
static void test_empty_folders_do_not_pile_up(void **state)
{
    place *here = *state;
    cb_error err = {0};

    assert_ok(put(here->store, "session/n/1/open", CB_PUT_NEW, "x", &err));
    assert_ok(put(here->store, "session/n/1/end", CB_PUT_NEW, "x", &err));
    assert_ok(put(here->store, "pack/ab/abc", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_remove(here->store, "session/n/1/open", &err));
    assert_true(cb_path_exists(in(here, "session/n/1/end")));
    assert_ok(cb_store_remove(here->store, "session/n/1/end", &err));
    assert_false(cb_path_exists(in(here, "session/n/1")));
    assert_true(cb_path_exists(in(here, "session/n")));
    assert_ok(cb_store_remove(here->store, "session/n/1/end", &err));
    assert_ok(cb_store_remove(here->store, "pack/ab/abc", &err));
    assert_true(cb_path_exists(in(here, "pack/ab")));
    assert_ok(put(here->store, "session/n/1/end", CB_PUT_NEW, "x", &err));
    assert_int_equal(objects_in(here->store), 1);
}

/* A pipe at the place of an object is no object, and nobody waits for its writer. */
static void test_a_pipe_is_not_read(void **state)
{
    place *here = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_error err = {0};

    assert_int_equal(mkfifo(in(here, "config"), 0600), 0);
    alarm(10);
    assert_code(CB_NOT_FOUND, cb_store_get(here->store, "config", 0, 1, &raw, &err));
    alarm(0);
}

static void test_strangers_are_seen(void **state)
{
    place *here = *state;
    char name[CB_KEY_MAX + 1];
    cb_error err = {0};
    int fd;

    assert_ok(cb_folder_make(in(here, "lost+found"), &err));
    assert_ok(put(here->store, "x", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_remove(here->store, "x", &err));
    assert_ok(cb_store_stranger(here->store, name, &err));
    assert_string_equal(name, "");
    assert_ok(cb_file_open(in(here, "My File.txt"), O_WRONLY | O_CREAT, 0600, &fd, &err));
    cb_fd_close(&fd);
    assert_int_equal(objects_in(here->store), 0);
    assert_ok(cb_store_stranger(here->store, name, &err));
    assert_string_equal(name, "My File.txt");
}

static void test_old_left_overs_are_removed_at_open(void **state)
{
    place *here = *state;
    struct timespec old[2];
    cb_error err = {0};
    cb_store *again;
    cb_writer *writer;
    int fd;

    assert_ok(cb_store_put(here->store, "live", CB_PUT_NEW, &writer, &err));
    clock_gettime(CLOCK_REALTIME, &old[0]);
    old[0].tv_sec -= 25 * 3600;
    old[1] = old[0];
    assert_ok(cb_file_open(in(here, "tmp/dead"), O_WRONLY | O_CREAT, 0600, &fd, &err));
    assert_int_equal(futimens(fd, old), 0);
    cb_fd_close(&fd);
    assert_int_equal(entries_in(in(here, "tmp")), 2);

    assert_ok(cb_file_store_open(here->ctx, here->folder, false, &again, &err));
    assert_false(cb_path_exists(in(here, "tmp/dead")));
    assert_int_equal(entries_in(in(here, "tmp")), 1);
    cb_store_close(again);
    assert_ok(cb_writer_commit(writer, &err));
    cb_writer_free(writer);
}

static void test_foreign_things_are_not_objects(void **state)
{
    place *here = *state;
    cb_error err = {0};
    cb_writer *writer;
    int fd;

    assert_ok(put(here->store, "a/b", CB_PUT_NEW, "x", &err));
    assert_ok(cb_store_put(here->store, "c", CB_PUT_NEW, &writer, &err));
    assert_ok(cb_folder_make(in(here, "lost+found/inner"), &err));
    assert_ok(cb_folder_make(in(here, "empty/folder"), &err));
    assert_ok(cb_file_open(in(here, "with space"), O_WRONLY | O_CREAT, 0600, &fd, &err));
    cb_fd_close(&fd);
    assert_int_equal(mkfifo(in(here, "fifo"), 0600), 0);
    assert_int_equal(symlink("a", in(here, "link")), 0);
    assert_int_equal(objects_in(here->store), 1);
    cb_writer_free(writer);
}

static void test_a_folder_that_was_removed_is_made_again(void **state)
{
    place *here = *state;
    cb_error err = {0};

    assert_ok(put(here->store, "a/b/c", CB_PUT_NEW, "x", &err));
    assert_ok(cb_tree_remove(in(here, "a"), &err));
    assert_ok(put(here->store, "a/b/c", CB_PUT_NEW, "y", &err));
    assert_ok(cb_tree_remove(in(here, "a"), &err));
    assert_ok(put(here->store, "a/b/c", CB_PUT_REPLACE, "z", &err));
    assert_ok(cb_tree_remove(in(here, "tmp"), &err));
    assert_ok(put(here->store, "a/b/d", CB_PUT_NEW, "z", &err));
    assert_int_equal(objects_in(here->store), 2);
}

static void test_opens_only_folders(void **state)
{
    place *here = *state;
    cb_error err = {0};
    cb_store *store;
    int fd;

    assert_code(CB_NOT_FOUND, cb_file_store_open(here->ctx, in(here, "none"), false, &store, &err));
    assert_true(err.in_repository);
    assert_null(store);
    assert_false(cb_path_exists(in(here, "none")));
    assert_ok(cb_file_open(in(here, "file"), O_WRONLY | O_CREAT, 0600, &fd, &err));
    cb_fd_close(&fd);
    assert_code(CB_UNSUPPORTED,
                cb_file_store_open(here->ctx, in(here, "file"), false, &store, &err));
    assert_code(CB_UNSUPPORTED,
                cb_file_store_open(here->ctx, in(here, "file"), true, &store, &err));
    assert_ok(cb_file_store_open(here->ctx, in(here, "new/deep"), true, &store, &err));
    assert_string_equal(cb_store_address(store), in(here, "new/deep"));
    cb_store_close(store);
}

/* A commit where a file stands in the way of a folder says so and leaves nothing behind. */
static void test_a_file_in_the_way(void **state)
{
    place *here = *state;
    cb_error err = {0};

    assert_ok(put(here->store, "a", CB_PUT_NEW, "x", &err));
    assert_code(CB_NOT_FOUND, put(here->store, "a/b", CB_PUT_NEW, "x", &err));
    assert_true(err.message[0] != '\0');
    assert_int_equal(entries_in(in(here, "tmp")), 0);
    assert_ok(cb_store_remove(here->store, "a/b", &err));
    assert_int_equal(objects_in(here->store), 1);
}

enum { RACERS = 6, RACES = 30 };

/* Bits of the races won. */
static unsigned race(const char *folder, int start)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    cb_store *store;
    unsigned won = 0;
    char go;

    if (cb_file_store_open(ctx, folder, false, &store, &err) != CB_OK)
        _exit(1);
    if (read(start, &go, 1) != 0) /* until the parent closes the other end */
        _exit(1);
    for (int i = 0; i < RACES; i++) {
        char key[32];
        cb_code code;

        snprintf(key, sizeof(key), "r%d/key", i);
        code = put(store, key, CB_PUT_NEW, "mine", &err);
        if (code == CB_OK)
            won |= 1u << i;
        else if (code != CB_EXISTS)
            _exit(1);
    }
    cb_store_close(store);
    cb_ctx_free(ctx);
    return won;
}

static void test_racing_processes_have_one_winner(void **state)
{
    place *here = *state;
    pid_t children[RACERS];
    unsigned all = 0;
    int start[2];
    int answers[2];

    assert_int_equal(pipe(start), 0);
    assert_int_equal(pipe(answers), 0);
    for (int i = 0; i < RACERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            unsigned won;

            close(start[1]);
            won = race(here->folder, start[0]);
            _exit(write(answers[1], &won, sizeof(won)) == sizeof(won) ? 0 : 1);
        }
    }
    close(start[0]);
    close(start[1]);
    for (int i = 0; i < RACERS; i++) {
        unsigned won;
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
        assert_int_equal(read(answers[0], &won, sizeof(won)), sizeof(won));
        assert_int_equal(all & won, 0); /* nobody else won it too */
        all |= won;
    }
    close(answers[0]);
    close(answers[1]);
    assert_int_equal(all, (1u << RACES) - 1);
    assert_int_equal(objects_in(here->store), RACES);
    assert_int_equal(entries_in(in(here, "tmp")), 0);
}

static void test_large_objects_stream(void **state)
{
    enum { PART = 1 << 20, PARTS = 20 };
    place *here = *state;
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    uint8_t *part = malloc(PART);
    cb_error err = {0};
    cb_writer *writer;

    assert_ok(cb_store_put(here->store, "large", CB_PUT_NEW, &writer, &err));
    for (int i = 0; i < PARTS; i++) {
        memset(part, i, PART);
        assert_ok(cb_writer_write(writer, cb_bytes_of(part, PART), &err));
    }
    assert_ok(cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    for (int i = 0; i < PARTS; i++) {
        back.size = 0;
        memset(part, i, PART);
        assert_ok(cb_store_get(here->store, "large", (uint64_t)i * PART, PART, &back, &err));
        assert_int_equal(back.size, PART);
        assert_memory_equal(back.data, part, PART);
    }
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_objects_are_read_only_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_stays_in_tmp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_left_overs_are_removed_at_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_slow_writer_keeps_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_folders_do_not_pile_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pipe_is_not_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strangers_are_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_things_are_not_objects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_was_removed_is_made_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_opens_only_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_in_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_racing_processes_have_one_winner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_objects_stream, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
