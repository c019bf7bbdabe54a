/*
 * The source sqlite on databases that stand still: every journal mode, what a crash left, foreign
 * files; and check and deep.
 */
#include "sqlite_kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "fake_hooks.h"

static const char some_rows[] =
    "CREATE TABLE t(i INTEGER PRIMARY KEY, s TEXT);"
    "CREATE INDEX ts ON t(s);"
    "CREATE TABLE \"odd \"\"name\"(x);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
    "INSERT INTO t SELECT i, 'row ' || i || hex(zeroblob(50)) FROM n;";

static void test_round_trip(void **state)
{
    kit *k = *state;
    test_backup backup;
    uint64_t before;

    kit_sql(k->path, some_rows);
    before = kit_print(k->path, "");
    kit_backup(k, &backup);
    assert_int_equal(kit_print(k->path, ""), before);
    assert_int_equal(backup.count, 1);
    assert_string_equal(backup.items[0].item.path, "database");
    assert_int_equal(backup.items[0].item.chunk_bytes, 65536);
    assert_int_equal(backup.facts.passes, 1);

    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_true(kit_is_sound(k->target));
    assert_int_equal(kit_number(k->target, "SELECT sum(i) FROM t"), 12502500);
    test_backup_free(&backup);
}

/* Commits that are only in the log are in the backup; the log stays as it is. */
static void test_log_in_use(void **state)
{
    kit *k = *state;
    test_backup backup;
    kit_child child;
    uint64_t file;
    uint64_t log;

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    child = kit_start(kit_hold_open, k->path);
    kit_sql(k->path, some_rows);
    file = kit_print(k->path, "");
    log = kit_print(k->path, "-wal");
    assert_true(log != 0);
    kit_backup(k, &backup);
    assert_int_equal(kit_print(k->path, ""), file);
    assert_int_equal(kit_print(k->path, "-wal"), log);
    kit_stop(&child);

    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_true(kit_is_sound(k->target));
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t"), 5000);
    assert_int_equal(kit_number(k->target, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"),
                     1);
    test_backup_free(&backup);
}

/* Reading makes no files beside a database that nobody has open. */
static void test_closed_log(void **state)
{
    kit *k = *state;
    test_backup backup;

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    kit_sql(k->path, some_rows);
    assert_false(kit_exists(k->path, "-wal"));
    kit_backup(k, &backup);
    assert_false(kit_exists(k->path, "-wal"));
    assert_false(kit_exists(k->path, "-shm"));
    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t"), 5000);
    test_backup_free(&backup);
}

/* A killed process left a log without its index. */
static void test_log_of_killed(void **state)
{
    kit *k = *state;
    test_backup backup;
    kit_child child;
    char index[400];

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    child = kit_start(kit_hold_open, k->path);
    kit_sql(k->path, some_rows);
    kit_stop(&child);
    snprintf(index, sizeof(index), "%s-shm", k->path);
    assert_int_equal(unlink(index), 0);
    assert_true(kit_exists(k->path, "-wal"));
    kit_backup(k, &backup);
    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t"), 5000);
    test_backup_free(&backup);
}

static void test_hot_journal(void **state)
{
    kit *k = *state;
    test_backup backup;
    kit_child child;
    uint64_t file;
    uint64_t journal;

    kit_sql(k->path, some_rows);
    child = kit_start(kit_die_writing, k->path);
    kit_stop(&child);
    file = kit_print(k->path, "");
    journal = kit_print(k->path, "-journal");
    assert_true(journal != 0);
    kit_backup(k, &backup);
    assert_string_equal(backup.items[0].item.path, "database");
    assert_int_equal(kit_print(k->path, ""), file);
    assert_int_equal(kit_print(k->path, "-journal"), journal);
    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_true(kit_is_sound(k->target));
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t WHERE s LIKE '%never%'"), 0);
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t"), 5000);
    test_backup_free(&backup);
}

/* A snapshot is only read, and what lies beside the database in it counts. */
static void test_snapshot(void **state)
{
    kit *k = *state;
    cb_source_options options = {.scratch = k->folder, .snapshot = k->folder};
    test_backup backup;
    cb_error err = {0};
    cb_source *source;
    kit_child child;
    uint64_t log;

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    child = kit_start(kit_hold_open, k->path);
    kit_sql(k->path, some_rows);
    kit_stop(&child);
    log = kit_print(k->path, "-wal");
    assert_ok(cb_sqlite_engine.source(k->ctx, k->path, &options, &source, &err));
    assert_ok(test_backup_take(source, NULL, NULL, NULL, &backup, &err));
    cb_source_free(source);
    assert_int_equal(kit_print(k->path, "-wal"), log);
    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM t"), 5000);
    test_backup_free(&backup);
}

static void test_empty(void **state)
{
    kit *k = *state;
    test_backup backup;
    cb_error err = {0};
    int fd;

    assert_ok(cb_file_open(k->path, O_WRONLY | O_CREAT, 0600, &fd, &err));
    close(fd);
    assert_false(cb_sqlite_engine.recognise(k->path));
    kit_backup(k, &backup);
    assert_int_equal(backup.items[0].chunk_count, 0);
    kit_restore(k, &backup, &(cb_target_options){0}, NULL);
    assert_int_equal(kit_number(k->target, "SELECT count(*) FROM sqlite_schema"), 0);
    test_backup_free(&backup);
}

/* ---- unchanged ------------------------------------------------------------------------------ */

/* One begin with the state of `previous`; its own state goes to `state`. */
static bool begin_again(kit *k, cb_buf *state)
{
    cb_source_options options = {.scratch = k->folder};
    cb_error err = {0};
    cb_source_facts facts;
    cb_source *source;
    cb_step step = {0};
    bool unchanged;

    assert_ok(cb_sqlite_engine.source(k->ctx, k->path, &options, &source, &err));
    assert_ok(cb_source_begin(source, cb_buf_bytes(state), &unchanged, &err));
    while (!unchanged && step.kind != CB_STEP_END)
        assert_ok(cb_source_next(source, &step, &err));
    assert_ok(cb_source_end(source, &facts, &err));
    assert_int_equal(strcmp(facts.confirmed, "unchanged") == 0, unchanged);
    state->size = 0;
    assert_ok(cb_buf_append(state, facts.state.data, facts.state.size, &err));
    cb_source_free(source);
    return unchanged;
}

static void test_unchanged(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf known = {0};
    test_hooks hooks;
    int64_t now_us = cb_now_us(k->ctx);
    kit_child child;

    kit_sql(k->path, some_rows);
    /* Just written: another write within the same clock tick would not show. */
    assert_false(begin_again(k, &known));
    assert_false(begin_again(k, &known));
    /* A minute later. */
    test_hooks_install(&hooks, k->ctx, now_us + 60000000, 1);
    assert_false(begin_again(k, &known));
    assert_true(begin_again(k, &known));
    assert_true(begin_again(k, &known));
    kit_sql(k->path, "UPDATE t SET s = 'x' WHERE i = 3");
    assert_false(begin_again(k, &known));
    /* In WAL mode a commit may touch the log alone. */
    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    assert_false(begin_again(k, &known));
    assert_true(begin_again(k, &known));
    child = kit_start(kit_hold_open, k->path);
    kit_sql(k->path, "UPDATE t SET s = 'y' WHERE i = 3");
    assert_false(begin_again(k, &known));
    assert_false(begin_again(k, &known));
    kit_stop(&child);
    /* A record that cannot be read costs the shortcut only. */
    memset(known.data, 0xff, known.size);
    assert_false(begin_again(k, &known));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static cb_code try_backup(kit *k, const char *path, int64_t deadline_us, cb_error *err)
{
    cb_source_options options = {.scratch = k->folder, .deadline_us = deadline_us};
    bool unchanged;
    cb_source *source;
    cb_code code;

    memset(err, 0, sizeof(*err));
    assert_int_equal(cb_sqlite_engine.source(k->ctx, path, &options, &source, err), CB_OK);
    code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    cb_source_free(source);
    return code;
}

static void test_foreign(void **state)
{
    kit *k = *state;
    cb_error err;
    FILE *file;

    assert_int_equal(try_backup(k, k->path, 0, &err), CB_NOT_FOUND);
    assert_int_equal(try_backup(k, k->folder, 0, &err), CB_UNSUPPORTED);
    file = fopen(k->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 5000; i++)
        fputc(i * 37 % 251, file);
    fclose(file);
    assert_int_equal(try_backup(k, k->path, 0, &err), CB_UNSUPPORTED);
    assert_non_null(strstr(err.message, "encrypted"));
    assert_false(cb_sqlite_engine.recognise(k->path));
    assert_false(cb_sqlite_engine.recognise(k->folder));
    assert_false(cb_sqlite_engine.recognise("/dev/null"));
}

static void test_locked(void **state)
{
    kit *k = *state;
    char pid[32];
    cb_error err;
    kit_child child;

    kit_sql(k->path, some_rows);
    child = kit_start(kit_hold_exclusive, k->path);
    assert_int_equal(try_backup(k, k->path, 300000, &err), CB_BUSY);
    snprintf(pid, sizeof(pid), "process %d", (int)child.pid);
    assert_non_null(strstr(err.message, pid));
    kit_stop(&child);
    assert_int_equal(try_backup(k, k->path, 300000, &err), CB_OK);
}

static void test_truncated(void **state)
{
    kit *k = *state;
    cb_error err;

    kit_sql(k->path, some_rows);
    assert_int_equal(truncate(k->path, 40000), 0);
    assert_int_equal(try_backup(k, k->path, 300000, &err), CB_CORRUPT);
}

static void test_cancelled(void **state)
{
    kit *k = *state;
    cb_error err;

    kit_sql(k->path, some_rows);
    cb_cancel(k->ctx);
    assert_int_equal(try_backup(k, k->path, 0, &err), CB_CANCELLED);
}

/* ---- check and deep -------------------------------------------------------------------------- */

static void damage(const char *path, off_t at)
{
    static const char junk[512] = "junk";
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, sizeof(junk), at), (ssize_t)sizeof(junk));
    close(fd);
}

static void test_check(void **state)
{
    kit *k = *state;
    cb_check_report report = {0};
    cb_error err = {0};
    kit_child child;

    kit_sql(k->path, "PRAGMA journal_mode=WAL");
    child = kit_start(kit_hold_open, k->path);
    kit_sql(k->path, some_rows);
    kit_sql(k->path, "DELETE FROM t WHERE i > 2500");
    assert_ok(cb_sqlite_engine.check(k->ctx, k->path, &report, &err));
    assert_int_equal(report.damaged_count, 0);
    assert_int_equal(report.open_by, child.pid);
    assert_int_equal(report.commits_in_log, 5); /* a statement, a commit */
    assert_true(report.free_blocks > 0);
    assert_int_equal(report.blocks, report.free_blocks + report.used_blocks);
    assert_int_equal(strspn(report.version, "0123456789."), strlen(report.version));
    kit_stop(&child);
    cb_check_report_free(&report);
}

static void test_check_finds_damage(void **state)
{
    kit *k = *state;
    cb_check_report report = {0};
    cb_error err = {0};
    uint64_t file;

    kit_sql(k->path, some_rows);
    damage(k->path, 4096 * 20);
    file = kit_print(k->path, "");
    assert_ok(cb_sqlite_engine.check(k->ctx, k->path, &report, &err));
    assert_true(report.damaged_count > 0);
    assert_true(report.bad_blocks > 0);
    assert_int_equal(kit_print(k->path, ""), file);
    cb_check_report_free(&report);
}

/* The schema itself is gone: no check can run, and that is damage, not a failure. */
static void test_check_without_schema(void **state)
{
    kit *k = *state;
    cb_check_report report = {0};
    cb_error err = {0};

    kit_sql(k->path, some_rows);
    damage(k->path, 100);
    assert_ok(cb_sqlite_engine.check(k->ctx, k->path, &report, &err));
    assert_true(report.damaged_count > 0);
    cb_check_report_free(&report);
}

static void test_check_hot_journal(void **state)
{
    kit *k = *state;
    cb_check_report report = {0};
    cb_error err = {0};
    kit_child child;

    kit_sql(k->path, some_rows);
    child = kit_start(kit_die_writing, k->path);
    kit_stop(&child);
    assert_ok(cb_sqlite_engine.check(k->ctx, k->path, &report, &err));
    assert_int_equal(report.damaged_count, 0);
    assert_int_equal(report.note_count, 1);
    cb_check_report_free(&report);
}

static cb_code count_tables(void *arg, const char *table, uint64_t rows, cb_error *err)
{
    char *seen = arg;
    size_t length = strlen(seen);

    (void)err;
    snprintf(seen + length, 400 - length, "%s=%u ", table, (unsigned)rows);
    return CB_OK;
}

static void test_deep(void **state)
{
    kit *k = *state;
    char seen[400] = "";
    cb_error err = {0};

    kit_sql(k->path, some_rows);
    kit_sql(k->path, "CREATE VIEW v AS SELECT * FROM missing; ANALYZE");
    assert_ok(cb_sqlite_engine.deep(k->ctx, k->path, NULL, count_tables, seen, &err));
    assert_string_equal(seen, "\"main\".\"odd \"\"name\"=0 \"main\".\"t\"=5000 ");
    damage(k->path, 4096 * 20);
    assert_code(CB_CORRUPT, cb_sqlite_engine.deep(k->ctx, k->path, NULL, count_tables, seen, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_log_in_use, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_closed_log, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_log_of_killed, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_hot_journal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_snapshot, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_empty, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_unchanged, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_foreign, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_locked, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_check, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_check_finds_damage, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_check_without_schema, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_check_hot_journal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_deep, kit_set_up, kit_tear_down),
    };

    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
