/*
 * The source sqlite beside a process that commits without pause: every copy holds a constant sum
 * over two tables, a ledger without gaps, and each commit acknowledged before the copy began.
 */
#include "sqlite_kit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

enum { COPIES = 5 };

static const char accounts[] =
    "CREATE TABLE a(i INTEGER PRIMARY KEY, m INTEGER, pad BLOB);"
    "CREATE TABLE b(i INTEGER PRIMARY KEY, m INTEGER, pad BLOB);"
    "CREATE TABLE ledger(n INTEGER PRIMARY KEY, pad TEXT);"
    "CREATE INDEX al ON ledger(pad);"
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 399)"
    "INSERT INTO a SELECT i, 1000, randomblob(20000) FROM n;"
    "INSERT INTO b SELECT i, m, randomblob(20000) FROM a;";

/* All acknowledgements that have come; the child goes on meanwhile. */
static int64_t acknowledged(const kit_child *child, int64_t so_far)
{
    char words[4096];
    ssize_t got;

    while (poll(&(struct pollfd){.fd = child->from, .events = POLLIN}, 1, 0) == 1) {
        got = read(child->from, words, sizeof(words));
        assert_true(got > 0);
        so_far += got;
    }
    return so_far;
}

static void check_copy(kit *k, const test_backup *backup, int64_t at_least)
{
    kit_restore(k, backup, &(cb_target_options){.force = true}, NULL);
    assert_true(kit_is_sound(k->target));
    assert_int_equal(
        kit_number(k->target, "SELECT (SELECT sum(m) FROM a) + (SELECT sum(m) FROM b)"), 800000);
    assert_int_equal(kit_number(k->target, "SELECT coalesce(max(n), 0) - count(*) FROM ledger"), 0);
    assert_true(kit_number(k->target, "SELECT count(*) FROM ledger") >= at_least);
}

static void copy_beside_writer(kit *k, const char *mode)
{
    kit_child child;
    int64_t commits = 1; /* kit_start heard the first */
    int64_t before;

    kit_sql(k->path, mode);
    kit_sql(k->path, accounts);
    child = kit_start(kit_transfer, k->path);
    for (unsigned i = 0; i < COPIES; i++) {
        test_backup backup;

        commits = acknowledged(&child, commits);
        kit_backup(k, &backup);
        check_copy(k, &backup, commits);
        test_backup_free(&backup);
    }
    before = commits;
    kit_hear(&child); /* it works on: nobody has shut it out for good */
    assert_true(acknowledged(&child, commits) + 1 > before);
    kit_stop(&child);
}

static void test_beside_writer_wal(void **state)
{
    copy_beside_writer(*state, "PRAGMA journal_mode=WAL");
}

static void test_beside_writer_rollback(void **state)
{
    copy_beside_writer(*state, "PRAGMA journal_mode=DELETE");
}

static void test_beside_writer_persist(void **state)
{
    copy_beside_writer(*state, "PRAGMA journal_mode=PERSIST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_beside_writer_wal, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_beside_writer_rollback, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(test_beside_writer_persist, kit_set_up, kit_tear_down),
    };

    return cmocka_run_group_tests_name("sqlite_live", tests, NULL, NULL);
}
