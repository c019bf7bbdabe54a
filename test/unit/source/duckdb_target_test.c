/*
 * The write half: whole, over an old database, in place, and each of these killed at every call
 * that changes a file, or told that this call failed.
 *
 * What must hold at any instant: a file at the target that an engine would open is the old one
 * with the old log or the new one with the new log, whole. And running the same restore again
 * ends with the new one and nothing else in the folder.
 */
#include "unit.h"

#include "duckdb_kit.h"
#include "temp.h"

#include "base/file.h"
#include "source/duckdb/duckdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- calls that are counted --------------------------------------------------------------- */

static int calls;
static int stop_at;     /* 0: never */
static bool stop_kills; /* else the call fails with EIO, once */

static bool due(void)
{
    calls++;
    if (calls != stop_at)
        return false;
    if (stop_kills)
        _exit(77);
    errno = EIO;
    return true;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return due() ? -1 : __real_rename(from, to);
}

int __real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    return due() ? -1 : __real_renameat2(from_at, from, to_at, to, flags);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    return due() ? -1 : __real_unlink(path);
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to)
{
    return due() ? -1 : __real_link(from, to);
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd; /* no test cuts the power: that the call is made is what counts */
    return due() ? -1 : 0;
}

int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size)
{
    return due() ? -1 : __real_ftruncate64(fd, size);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return due() ? -1 : __real_pwrite64(fd, data, size, at);
}

/* ---- the place ---------------------------------------------------------------------------- */

typedef struct place {
    char sources[256], folder[256];
    char old[300], fresh[300], target[300]; /* old and fresh are kept in `sources` */
    cb_ctx *ctx;
} place;

static void make_source(const char *path, uint64_t seed, uint64_t iteration, size_t commits,
                        uint64_t blocks)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = {0};
    kit_file file = {.block_bytes = 16384,
                     .iteration = iteration,
                     .block_count = blocks,
                     .seed = seed,
                     .metadata = {1},
                     .metadata_count = 1,
                     .free_ids = {3},
                     .free_count = 1};

    kit_write(&file, path);
    kit_log_header(&log, NULL, 0);
    for (size_t i = 0; i < commits; i++) {
        kit_log_entry(&log, 26, 100 + (size_t)seed);
        kit_log_flush(&log);
    }
    if (commits > 0)
        kit_log_write(&log, path);
}

static int set_up(void **state)
{
    place *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -1;
    calls = stop_at = 0;
    test_temp_make(p->sources);
    test_temp_make(p->folder);
    snprintf(p->old, sizeof(p->old), "%s/old.duckdb", p->sources);
    snprintf(p->fresh, sizeof(p->fresh), "%s/fresh.duckdb", p->sources);
    snprintf(p->target, sizeof(p->target), "%s/t.duckdb", p->folder);
    make_source(p->old, 1, 6, 2, 9);
    make_source(p->fresh, 2, 7, 3, 7);
    p->ctx = test_ctx_new();
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    place *p = *state;

    cb_ctx_free(p->ctx);
    test_temp_remove(p->sources);
    test_temp_remove(p->folder);
    free(p);
    return 0;
}

static cb_code restore(place *p, const char *from, bool delta, bool force, cb_error *err)
{
    kit_copy copy = {.target = {.delta = delta, .force = force}};
    cb_code code = kit_copy_run(p->ctx, from, p->target, &copy, err);

    kit_copy_end(&copy);
    return code;
}

static void empty_folder(place *p)
{
    test_temp_remove(p->folder);
    assert_int_equal(mkdir(p->folder, 0700), 0);
}

/* The source's used blocks and header are those at the target; and so is its log. */
static bool stands(const place *p, const char *source, bool with_log)
{
    CB_CLEANUP(cb_buf_free) cb_buf got = kit_slurp(p->target);
    CB_CLEANUP(cb_buf_free) cb_buf want = kit_slurp(source);
    char log[310], target_log[310];

    if (got.size == 0 || got.size != want.size)
        return false;
    for (size_t i = 0; i < got.size; i += 4096) {
        bool is_other_slot = i < CB_DUCKDB_HEAD; /* the copy's pages are composed */
        bool is_free = i >= CB_DUCKDB_HEAD + 3 * 16384 && i < CB_DUCKDB_HEAD + 4 * 16384;

        if (!is_other_slot && !is_free && memcmp(got.data + i, want.data + i, 4096) != 0)
            return false;
    }
    snprintf(log, sizeof(log), "%s.wal", source);
    snprintf(target_log, sizeof(target_log), "%s.wal", p->target);
    return with_log ? kit_same_files(log, target_log) : access(target_log, F_OK) != 0;
}

/* An engine would open it: magic and all three pages are right. */
static bool opens(const place *p)
{
    CB_CLEANUP(cb_buf_free) cb_buf got = kit_slurp(p->target);
    cb_duckdb_head head;
    cb_error err = {0};

    return cb_duckdb_head_parse(cb_buf_bytes(&got), &head, &err) == CB_OK &&
           cb_duckdb_head_ok(&head);
}

/* ---- plain -------------------------------------------------------------------------------- */

static void test_whole_restore_leaves_file_and_log_only(void **state)
{
    place *p = *state;
    cb_error err = {0};
    struct stat st;

    assert_ok(restore(p, p->fresh, false, false, &err));
    assert_true(opens(p) && stands(p, p->fresh, true));
    assert_int_equal(kit_count_beside(p->folder), 2);
    assert_int_equal(stat(p->target, &st), 0);
    assert_true(st.st_blocks * 512 < st.st_size); /* the free block is a hole */
    assert_code(CB_EXISTS, restore(p, p->old, false, false, &err));
    assert_true(stands(p, p->fresh, true));
}

static void test_delta_onto_nothing_is_a_whole_restore(void **state)
{
    place *p = *state;
    cb_error err = {0};

    assert_ok(restore(p, p->fresh, true, false, &err));
    assert_true(opens(p) && stands(p, p->fresh, true));
}

static void test_stale_logs_do_not_survive(void **state)
{
    static const char *const suffixes[] = {".wal", ".wal.checkpoint", ".wal.recovery"};
    place *p = *state;
    cb_error err = {0};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        char path[330];

        snprintf(path, sizeof(path), "%s%s", p->target, suffixes[i]);
        kit_poke(path, 0, "stale", 5);
    }
    assert_ok(restore(p, p->fresh, false, false, &err));
    assert_true(stands(p, p->fresh, true));
    assert_int_equal(kit_count_beside(p->folder), 2);
}

static void test_forced_and_delta_replace_the_log_too(void **state)
{
    place *p = *state;
    cb_error err = {0};
    char log[310];

    snprintf(log, sizeof(log), "%s.wal", p->fresh);
    assert_int_equal(unlink(log), 0); /* the new one has none */
    for (unsigned delta = 0; delta < 2; delta++) {
        empty_folder(p);
        assert_ok(restore(p, p->old, false, false, &err));
        assert_ok(restore(p, p->fresh, delta != 0, delta == 0, &err));
        assert_true(opens(p) && stands(p, p->fresh, false));
        assert_int_equal(kit_count_beside(p->folder), 1);
    }
}

static void test_delta_writes_only_what_differs(void **state)
{
    place *p = *state;
    kit_copy copy = {.target = {.delta = true}};
    cb_error err = {0};

    assert_ok(restore(p, p->fresh, false, false, &err));
    kit_poke(p->target, CB_DUCKDB_HEAD + 5 * 16384 + 77, "other", 5);
    assert_ok(kit_copy_run(p->ctx, p->fresh, p->target, &copy, &err));
    assert_true(copy.written < 16384 + 4096); /* one block and the log; the head was right */
    kit_copy_end(&copy);
    assert_true(opens(p) && stands(p, p->fresh, true));
}

static void test_owner_and_mode_of_the_old_file_stay(void **state)
{
    place *p = *state;
    cb_error err = {0};
    struct stat st;

    assert_ok(restore(p, p->old, false, false, &err));
    assert_int_equal(chmod(p->target, 0640), 0);
    assert_ok(restore(p, p->fresh, false, true, &err));
    assert_int_equal(stat(p->target, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_open_target_is_refused(void **state)
{
    place *p = *state;
    cb_error err = {0};
    pid_t holder;
    char pid[32];

    assert_ok(restore(p, p->old, false, false, &err));
    holder = kit_hold(p->target);
    snprintf(pid, sizeof(pid), "process %d", (int)holder);
    for (unsigned delta = 0; delta < 2; delta++) {
        cb_error_clear(&err);
        assert_code(CB_BUSY, restore(p, p->fresh, delta != 0, delta == 0, &err));
        assert_non_null(strstr(err.message, pid));
        assert_true(stands(p, p->old, true));
        assert_int_equal(kit_count_beside(p->folder), 2);
    }
    kit_release(holder);
}

static void test_odd_targets_are_refused(void **state)
{
    place *p = *state;
    cb_error err = {0};

    assert_int_equal(mkdir(p->target, 0700), 0);
    assert_code(CB_EXISTS, restore(p, p->fresh, false, true, &err));
    assert_int_equal(rmdir(p->target), 0);
    cb_error_clear(&err);
    assert_int_equal(symlink("nowhere", p->target), 0);
    assert_code(CB_NOT_FOUND, restore(p, p->fresh, false, true, &err));
    assert_int_equal(__real_unlink(p->target), 0);
    cb_error_clear(&err);
    kit_poke(p->target, 0, "a text, and no database", 23);
    assert_code(CB_EXISTS, restore(p, p->fresh, true, false, &err));
}

static void test_no_space_is_said_before_anything_is_written(void **state)
{
    place *p = *state;
    kit_copy copy = {.target = {.total_bytes = UINT64_C(1) << 60}};
    cb_error err = {0};

    assert_code(CB_NO_SPACE, kit_copy_run(p->ctx, p->fresh, p->target, &copy, &err));
    kit_copy_end(&copy);
    assert_int_equal(kit_count_beside(p->folder), 0);
}

static void test_second_restore_to_the_same_target_waits_its_turn(void **state)
{
    place *p = *state;
    cb_target_options options = {0};
    cb_item item = {.path = "database",
                    .kind = CB_ITEM_DATABASE,
                    .size_bytes = 100000,
                    .head_bytes = CB_DUCKDB_HEAD,
                    .chunk_bytes = 16384};
    cb_target *first;
    cb_error err = {0};
    uint32_t number;

    assert_ok(cb_duckdb_engine.target(p->ctx, p->target, &options, &first, &err));
    assert_ok(cb_target_prepare(first, &err));
    assert_ok(cb_target_item(first, &item, &number, &err));
    assert_code(CB_BUSY, restore(p, p->fresh, false, false, &err));
    cb_target_free(first); /* given up: nothing is left */
    assert_int_equal(kit_count_beside(p->folder), 0);
}

static void test_place_moves_a_finished_copy(void **state)
{
    place *p = *state;
    cb_error err = {0};
    char from[320], log[330];

    for (unsigned force = 0; force < 2; force++) {
        cb_error_clear(&err);
        snprintf(from, sizeof(from), "%s/.part", p->folder);
        make_source(from, 2, 7, 3, 7);
        assert_code(CB_OK, cb_duckdb_place(p->ctx, from, p->target, force != 0, &err));
        snprintf(log, sizeof(log), "%s.wal", from);
        assert_int_not_equal(access(from, F_OK), 0);
        assert_int_not_equal(access(log, F_OK), 0);
        assert_true(opens(p) && stands(p, p->fresh, true));
        assert_int_equal(kit_count_beside(p->folder), 2);
    }
    make_source(from, 1, 6, 2, 9);
    assert_code(CB_EXISTS, cb_duckdb_place(p->ctx, from, p->target, false, &err));
    assert_true(stands(p, p->fresh, true));
}

/* ---- every call is the last --------------------------------------------------------------- */

typedef struct way {
    bool delta, force, has_old, has_stale_log;
} way;

static void start_anew(place *p, const way *w)
{
    cb_error err = {0};
    char log[310];

    stop_at = 0;
    empty_folder(p);
    if (w->has_old)
        assert_ok(restore(p, p->old, false, false, &err));
    if (w->has_stale_log) {
        snprintf(log, sizeof(log), "%s.wal", p->target);
        kit_poke(log, 0, "stale", 5);
    }
}

/* In a child that is killed, or told of an error, at the n-th call. *ended: it needed fewer. */
static void restore_stopped(place *p, const way *w, int at, bool kills, bool *ended)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        cb_error err = {0};
        cb_code code;

        calls = 0;
        stop_at = at;
        stop_kills = kills;
        code = restore(p, p->fresh, w->delta, w->force, &err);
        if (code != CB_OK && err.message[0] == '\0')
            _exit(98); /* a silent failure */
        _exit(calls < at ? 1 : (code == CB_OK ? 2 : 3));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 77);
    *ended = WEXITSTATUS(status) == 1;
}

static void stop_everywhere(place *p, const way *w, bool kills)
{
    bool ended = false;

    for (int at = 1; !ended; at++) {
        cb_error err = {0};

        assert_in_range(at, 1, 300);
        start_anew(p, w);
        restore_stopped(p, w, at, kills, &ended);
        if (opens(p))
            assert_true(stands(p, p->fresh, true) || (w->has_old && stands(p, p->old, true)));
        else if (!w->delta && access(p->target, F_OK) == 0)
            fail_msg("call %d left a file that no engine opens", at);
        if (opens(p) && !w->force && !w->delta)
            continue; /* it was done: the next run would say that something is there */
        assert_ok(restore(p, p->fresh, w->delta, w->force, &err));
        assert_true(opens(p) && stands(p, p->fresh, true));
        assert_int_equal(kit_count_beside(p->folder), 2);
    }
}

static void test_new_target_survives_every_stop(void **state)
{
    stop_everywhere(*state, &(way){0}, true);
    stop_everywhere(*state, &(way){0}, false);
    stop_everywhere(*state, &(way){.has_stale_log = true}, true);
}

static void test_forced_exchange_survives_every_stop(void **state)
{
    stop_everywhere(*state, &(way){.force = true, .has_old = true}, true);
    stop_everywhere(*state, &(way){.force = true, .has_old = true}, false);
}

static void test_delta_in_place_survives_every_stop(void **state)
{
    stop_everywhere(*state, &(way){.delta = true, .has_old = true}, true);
    stop_everywhere(*state, &(way){.delta = true, .has_old = true}, false);
}

/*
 * Killed in the exchange, and then somebody restores without --force: what was begun is finished
 * or undone first, so that one of the two databases stands, whole.
 */
static void test_any_later_restore_clears_up_first(void **state)
{
    place *p = *state;
    way w = {.force = true, .has_old = true};
    bool ended = false;

    for (int at = 1; !ended; at++) {
        cb_error err = {0};

        start_anew(p, &w);
        restore_stopped(p, &w, at, true, &ended);
        assert_code(CB_EXISTS, restore(p, p->old, false, false, &err));
        assert_true(opens(p));
        assert_true(stands(p, p->fresh, true) || stands(p, p->old, true));
        assert_int_equal(kit_count_beside(p->folder), 2);
    }
}

/* The old database was never moved, and its owner goes on with it: the exchange is given up. */
static void test_old_database_in_use_again_is_not_replaced(void **state)
{
    place *p = *state;
    way w = {.force = true, .has_old = true};
    bool ended = false;

    for (int at = 1; !ended; at++) {
        CB_CLEANUP(cb_buf_free) cb_buf before = {0};
        cb_error err = {0};

        start_anew(p, &w);
        restore_stopped(p, &w, at, true, &ended);
        if (!opens(p) || !stands(p, p->old, true))
            continue;
        kit_poke(p->target, CB_DUCKDB_HEAD + 4 * 16384, "new life", 8);
        before = kit_slurp(p->target);
        assert_code(CB_EXISTS, restore(p, p->fresh, false, false, &err));
        {
            CB_CLEANUP(cb_buf_free) cb_buf after = kit_slurp(p->target);

            assert_int_equal(after.size, before.size);
            assert_memory_equal(after.data, before.data, before.size);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_restore_leaves_file_and_log_only),
        TEST(test_delta_onto_nothing_is_a_whole_restore),
        TEST(test_stale_logs_do_not_survive),
        TEST(test_forced_and_delta_replace_the_log_too),
        TEST(test_delta_writes_only_what_differs),
        TEST(test_owner_and_mode_of_the_old_file_stay),
        TEST(test_open_target_is_refused),
        TEST(test_odd_targets_are_refused),
        TEST(test_no_space_is_said_before_anything_is_written),
        TEST(test_second_restore_to_the_same_target_waits_its_turn),
        TEST(test_place_moves_a_finished_copy),
        TEST(test_new_target_survives_every_stop),
        TEST(test_forced_exchange_survives_every_stop),
        TEST(test_delta_in_place_survives_every_stop),
        TEST(test_any_later_restore_clears_up_first),
        TEST(test_old_database_in_use_again_is_not_replaced),
    };

    return cmocka_run_group_tests_name("duckdb target", tests, NULL, NULL);
}
