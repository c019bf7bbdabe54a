/*
 * The target sqlite: what it refuses, what it leaves alone, in place and whole, and what is found
 * after it was killed at each of its calls.
 */
#include "sqlite_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "source/sqlite/sqlite_internal.h"

static const char old_rows[] =
    "CREATE TABLE t(i INTEGER PRIMARY KEY, s TEXT);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)"
    "INSERT INTO t SELECT i, 'row ' || i || hex(zeroblob(50)) FROM n;";

/* ---- dying at the n-th call ------------------------------------------------------------------ */

static int calls_left; /* 0: never dies */

static void count_down(void)
{
    if (calls_left > 0 && --calls_left == 0)
        _exit(7);
}

/* The linker sends the program's calls here (see meson.build); each may be the last. */
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    count_down();
    return __real_rename(from, to);
}

int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    count_down();
    return __real_renameat2(from_dir, from, to_dir, to, flags);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    count_down();
    return __real_unlink(path);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    count_down();
    return __real_fsync(fd);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at)
{
    count_down();
    return __real_pwrite64(fd, data, size, at);
}

/* ---- a database, its backup, and a later state of it ------------------------------------------
 */

/* The target holds what the backup holds, and then 500 rows more, half of them in its log or its
   journal: `side` says which. The process that wrote them was killed. */
static void make_old(kit *k, test_backup *backup, const char *side)
{
    kit_child child;

    kit_sql(k->path, old_rows);
    kit_backup(k, backup);
    kit_restore(k, backup, &(cb_target_options){.force = true}, NULL);
    if (strcmp(side, "-wal") == 0) {
        kit_sql(k->target, "PRAGMA journal_mode=WAL");
        child = kit_start(kit_hold_open, k->target);
        kit_sql(k->target, "UPDATE t SET s = 'later' WHERE i <= 50");
    } else {
        kit_sql(k->target, "UPDATE t SET s = 'later' WHERE i <= 50");
        child = kit_start(kit_die_writing, k->target);
    }
    kit_stop(&child);
    assert_true(kit_exists(k->target, side));
}

enum { IS_BACKUP, IS_OLD, IS_NEITHER };

static int which(const char *path)
{
    int64_t later = kit_number(path, "SELECT count(*) FROM t WHERE s = 'later'");

    if (!kit_is_sound(path) || kit_number(path, "SELECT count(*) FROM t") != 4000 ||
        kit_number(path, "SELECT count(*) FROM t WHERE s LIKE '%never%'") != 0)
        return IS_NEITHER;
    return later == 0 ? IS_BACKUP : later == 50 ? IS_OLD : IS_NEITHER;
}

static cb_code try_restore(kit *k, const test_backup *backup, const cb_target_options *options,
                           test_restore_counts *counts, cb_error *err)
{
    test_restore_counts ignored;
    cb_target *target;
    cb_code code;

    memset(err, 0, sizeof(*err));
    assert_int_equal(cb_sqlite_engine.target(k->ctx, k->target, options, &target, err), CB_OK);
    code = test_backup_restore(backup, target, options->delta, counts != NULL ? counts : &ignored,
                               err);
    if (code == CB_OK) /* no lock outlives the end: the restored database can be looked at */
        assert_int_equal(kit_open_code(k->target), SQLITE_OK);
    cb_target_free(target);
    return code;
}

/* ---- what it refuses ------------------------------------------------------------------------- */

static void test_existing(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;
    uint64_t old;

    make_old(k, &backup, "-wal");
    old = kit_print(k->target, "");
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){0}, NULL, &err), CB_EXISTS);
    assert_int_equal(kit_print(k->target, ""), old);
    assert_false(kit_exists(k->target, ".canvasback-new"));
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.force = true}, NULL, &err),
                     CB_OK);
    assert_false(kit_exists(k->target, "-wal"));
    assert_int_equal(which(k->target), IS_BACKUP);
    test_backup_free(&backup);
}

static void refuse_while_open(kit *k, kit_work *work, const char *mode)
{
    static const cb_target_options ways[] = {{.force = true}, {.delta = true}};
    test_backup backup;
    kit_child child;
    char pid[32];
    cb_error err;
    uint64_t old;

    kit_sql(k->path, old_rows);
    kit_backup(k, &backup);
    kit_restore(k, &backup, &(cb_target_options){.force = true}, NULL);
    kit_sql(k->target, mode);
    child = kit_start(work, k->target);
    old = kit_print(k->target, "");
    for (size_t i = 0; i < CB_LENGTH(ways); i++) {
        assert_int_equal(try_restore(k, &backup, &ways[i], NULL, &err), CB_BUSY);
        snprintf(pid, sizeof(pid), "process %d", (int)child.pid);
        assert_non_null(strstr(err.message, pid));
        assert_int_equal(kit_print(k->target, ""), old);
    }
    kit_stop(&child);
    test_backup_free(&backup);
}

static void test_open_idle(void **state)
{
    refuse_while_open(*state, kit_hold_open, "PRAGMA journal_mode=DELETE"); /* holds no lock */
}

static void test_open_wal(void **state)
{
    refuse_while_open(*state, kit_hold_open, "PRAGMA journal_mode=WAL");
}

static void test_open_locked(void **state)
{
    refuse_while_open(*state, kit_hold_exclusive, "PRAGMA journal_mode=DELETE");
}

static void test_foreign_target(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;
    FILE *file;

    kit_sql(k->path, old_rows);
    kit_backup(k, &backup);
    snprintf(k->target, sizeof(k->target), "%s/letter.txt", k->folder);
    file = fopen(k->target, "w");
    assert_non_null(file);
    fputs("Dear reader, this is not a database.", file);
    fclose(file);
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.delta = true}, NULL, &err),
                     CB_EXISTS);
    assert_int_equal(
        try_restore(k, &backup, &(cb_target_options){.delta = true, .force = true}, NULL, &err),
        CB_OK);
    assert_int_equal(which(k->target), IS_BACKUP);
    snprintf(k->target, sizeof(k->target), "%s", k->folder);
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.force = true}, NULL, &err),
                     CB_EXISTS);
    test_backup_free(&backup);
}

static void test_no_space(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;

    kit_sql(k->path, old_rows);
    kit_backup(k, &backup);
    assert_int_equal(
        try_restore(k, &backup, &(cb_target_options){.total_bytes = UINT64_MAX / 2}, NULL, &err),
        CB_NO_SPACE);
    assert_false(kit_exists(k->target, ""));
    test_backup_free(&backup);
}

/* ---- in place ----------------------------------------------------------------------------------
 */

static void test_delta(void **state)
{
    kit *k = *state;
    test_backup backup;
    test_restore_counts counts;
    cb_error err;
    struct stat before;
    struct stat after;

    make_old(k, &backup, "-wal");
    assert_int_equal(stat(k->target, &before), 0);
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.delta = true}, &counts, &err),
                     CB_OK);
    assert_int_equal(stat(k->target, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_true(counts.written_bytes <= 3 * CB_SQLITE_CHUNK_BYTES);
    assert_false(kit_exists(k->target, "-wal"));
    assert_int_equal(which(k->target), IS_BACKUP);
    /* Again: nothing differs, nothing is written. */
    assert_int_equal(stat(k->target, &before), 0);
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.delta = true}, &counts, &err),
                     CB_OK);
    assert_int_equal(stat(k->target, &after), 0);
    assert_int_equal(counts.written_bytes, 0);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    test_backup_free(&backup);
}

/* Nothing differs in the file itself, but a log lies beside it: it must go all the same. */
static void test_delta_equal_with_log(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;
    kit_child child;

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    kit_sql(k->path, old_rows);
    kit_backup(k, &backup);
    kit_restore(k, &backup, &(cb_target_options){.force = true}, NULL);
    child = kit_start(kit_hold_open, k->target);
    kit_sql(k->target, "UPDATE t SET s = 'later' WHERE i <= 50");
    kit_stop(&child);
    assert_true(kit_exists(k->target, "-wal"));
    assert_int_equal(try_restore(k, &backup, &(cb_target_options){.delta = true}, NULL, &err),
                     CB_OK);
    assert_false(kit_exists(k->target, "-wal"));
    assert_int_equal(which(k->target), IS_BACKUP);
    test_backup_free(&backup);
}

/* The database grew or shrank since. */
static void test_delta_sizes(void **state)
{
    static const char *const changes[] = {"DELETE FROM t WHERE i > 100; VACUUM",
                                          "INSERT INTO t SELECT i + 4000, s FROM t"};
    kit *k = *state;
    test_backup backup;
    cb_error err;

    kit_sql(k->path, old_rows);
    kit_backup(k, &backup);
    kit_restore(k, &backup, &(cb_target_options){.force = true}, NULL);
    for (size_t i = 0; i < CB_LENGTH(changes); i++) {
        kit_sql(k->target, changes[i]);
        assert_int_equal(try_restore(k, &backup, &(cb_target_options){.delta = true}, NULL, &err),
                         CB_OK);
        assert_int_equal(which(k->target), IS_BACKUP);
    }
    test_backup_free(&backup);
}

/* Given up after some chunks: SQLite refuses the file, and a rerun mends it. */
static void test_delta_abandoned(void **state)
{
    kit *k = *state;
    cb_target_options options = {.delta = true};
    static uint8_t zeros[CB_SQLITE_CHUNK_BYTES];
    test_backup backup;
    cb_error err = {0};
    cb_target *target;
    uint32_t item;

    make_old(k, &backup, "-wal");
    assert_ok(cb_sqlite_engine.target(k->ctx, k->target, &options, &target, &err));
    assert_ok(cb_target_prepare(target, &err));
    assert_ok(cb_target_item(target, &backup.items[0].item, &item, &err));
    assert_ok(cb_target_write(target, item, CB_SQLITE_CHUNK_BYTES,
                              cb_bytes_of(zeros, sizeof(zeros)), &err));
    cb_target_free(target);
    assert_int_equal(kit_open_code(k->target), SQLITE_NOTADB);
    assert_true(cb_sqlite_engine.recognise(k->target));
    assert_int_equal(try_restore(k, &backup, &options, NULL, &err), CB_OK);
    assert_int_equal(which(k->target), IS_BACKUP);
    test_backup_free(&backup);
}

/* ---- killed
 * -------------------------------------------------------------------------------------- */

/* True when it died; else the restore came to its end before its call number `at`. */
static bool die_at(kit *k, const test_backup *backup, const cb_target_options *options, int at)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        cb_error err;

        calls_left = at;
        if (try_restore(k, backup, options, NULL, &err) != CB_OK) {
            fprintf(stderr, "call %d: %s\n", at, err.message);
            _exit(9);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7);
    return WEXITSTATUS(status) == 7;
}

/* Killed before its n-th call, for each n: whoever opens the path then finds the old database, the
   backup, or nothing that SQLite would open; and the same restore again succeeds. */
static void kill_everywhere(kit *k, const cb_target_options *options, const char *side,
                            bool may_refuse)
{
    static const char *const left[] = {".canvasback-exchange", ".canvasback-old",
                                       "-wal.canvasback-old",  "-journal.canvasback-old",
                                       "-shm.canvasback-old",  ".canvasback-new"};
    test_backup backup;
    cb_error err;
    bool died = true;

    for (int at = 1; died; at++) {
        make_old(k, &backup, side);
        died = die_at(k, &backup, options, at);
        if (kit_exists(k->target, "")) {
            int code = kit_open_code(k->target); /* recovers what lies beside, as an engine would */

            if (!may_refuse || code != SQLITE_NOTADB)
                assert_true(code == SQLITE_OK && which(k->target) != IS_NEITHER);
        } else {
            assert_false(kit_exists(k->target, "-wal") &&
                         !kit_exists(k->target, ".canvasback-old"));
        }
        assert_int_equal(try_restore(k, &backup, options, NULL, &err), CB_OK);
        assert_int_equal(which(k->target), IS_BACKUP);
        for (size_t i = 0; i < CB_LENGTH(left); i++)
            assert_false(kit_exists(k->target, left[i]));
        test_backup_free(&backup);
        __real_unlink(k->path);
    }
}

static void test_killed_exchange_wal(void **state)
{
    kill_everywhere(*state, &(cb_target_options){.force = true}, "-wal", false);
}

static void test_killed_exchange_journal(void **state)
{
    kill_everywhere(*state, &(cb_target_options){.force = true}, "-journal", false);
}

static void test_killed_delta_wal(void **state)
{
    kill_everywhere(*state, &(cb_target_options){.delta = true}, "-wal", true);
}

static void test_killed_delta_journal(void **state)
{
    kill_everywhere(*state, &(cb_target_options){.delta = true}, "-journal", true);
}

/* Killed between the old file and the new one; the rerun undoes that before it asks anything else:
   the old database is back whole, and refused without --force. */
static void test_undo(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;
    bool seen = false;

    for (int at = 1; !seen; at++) {
        make_old(k, &backup, "-wal");
        assert_true(die_at(k, &backup, &(cb_target_options){.force = true}, at));
        seen = !kit_exists(k->target, "") && kit_exists(k->target, "-wal.canvasback-old");
        if (seen) {
            assert_int_equal(try_restore(k, &backup, &(cb_target_options){0}, NULL, &err),
                             CB_EXISTS);
            assert_int_equal(which(k->target), IS_OLD);
        }
        test_backup_free(&backup);
        __real_unlink(k->path);
    }
}

/* A process has made a database of its own where there was none for a moment: it is not touched,
   and the old one is kept. */
static void test_newcomer(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err;
    bool seen = false;

    for (int at = 1; !seen; at++) {
        make_old(k, &backup, "-wal");
        assert_true(die_at(k, &backup, &(cb_target_options){.force = true}, at));
        seen = !kit_exists(k->target, "") && kit_exists(k->target, "-wal.canvasback-old");
        if (seen) {
            kit_sql(k->target, "CREATE TABLE mine(i)");
            assert_int_equal(
                try_restore(k, &backup, &(cb_target_options){.force = true}, NULL, &err), CB_BUSY);
            assert_int_equal(kit_number(k->target, "SELECT count(*) FROM mine"), 0);
            assert_true(kit_exists(k->target, ".canvasback-old"));
            __real_unlink(k->target);
            assert_int_equal(
                try_restore(k, &backup, &(cb_target_options){.force = true}, NULL, &err), CB_OK);
            assert_int_equal(which(k->target), IS_BACKUP);
        }
        test_backup_free(&backup);
        __real_unlink(k->path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_existing, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_open_idle, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_open_wal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_open_locked, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_target, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_no_space, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_delta, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_delta_equal_with_log, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_delta_sizes, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_delta_abandoned, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_killed_exchange_wal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_killed_exchange_journal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_killed_delta_wal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_killed_delta_journal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_undo, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_newcomer, kit_set_up, kit_tear_down),
    };

    return cmocka_run_group_tests_name("sqlite_target", tests, NULL, NULL);
}
