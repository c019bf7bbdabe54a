#include "sqlite_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

int kit_set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return 1;
    k->ctx = test_ctx_new();
    test_temp_make(k->folder);
    snprintf(k->path, sizeof(k->path), "%s/app's data.db", k->folder);
    snprintf(k->target, sizeof(k->target), "%s/new/restored.db", k->folder);
    *state = k;
    return 0;
}

int kit_tear_down(void **state)
{
    kit *k = *state;

    test_temp_remove(k->folder);
    cb_ctx_free(k->ctx);
    free(k);
    return 0;
}

static sqlite3 *open_database(const char *path)
{
    sqlite3 *db;

    if (sqlite3_open(path, &db) != SQLITE_OK)
        exit(98);
    sqlite3_busy_timeout(db, 20000);
    /* Nothing here loses power: killed processes leave their writes in the page cache. */
    sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    char *reason = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &reason) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, reason);
        _exit(98);
    }
}

void kit_sql(const char *path, const char *sql)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sqlite3 *db = open_database(path);

        run(db, sql);
        sqlite3_close(db);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int64_t kit_number(const char *path, const char *sql)
{
    sqlite3 *db = open_database(path);
    sqlite3_stmt *statement;
    int64_t number;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

int kit_open_code(const char *path)
{
    sqlite3 *db;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    sqlite3_close(db);
    return rc;
}

bool kit_is_sound(const char *path)
{
    return kit_number(path, "SELECT count(*) FROM pragma_integrity_check WHERE "
                            "integrity_check <> 'ok'") == 0;
}

/* ---- children ------------------------------------------------------------------------------ */

kit_child kit_start(kit_work *work, const char *path)
{
    int ends[2];
    kit_child child;

    assert_int_equal(pipe(ends), 0);
    child.pid = fork();
    if (child.pid == 0) {
        close(ends[0]);
        work(path, ends[1]);
        for (;;)
            pause();
    }
    close(ends[1]);
    child.from = ends[0];
    kit_hear(&child);
    return child;
}

void kit_say(int ready)
{
    if (write(ready, "r", 1) != 1)
        _exit(98);
}

void kit_hear(const kit_child *child)
{
    char word;

    assert_int_equal(read(child->from, &word, 1), 1);
}

void kit_stop(kit_child *child)
{
    int status;

    kill(child->pid, SIGKILL);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    close(child->from);
}

void kit_hold_open(const char *path, int ready)
{
    sqlite3 *db = open_database(path);

    run(db, "SELECT count(*) FROM sqlite_schema");
    kit_say(ready);
    pause();
    sqlite3_close(db);
}

void kit_hold_exclusive(const char *path, int ready)
{
    sqlite3 *db = open_database(path);

    run(db, "BEGIN EXCLUSIVE; CREATE TABLE held(i);");
    kit_say(ready);
    pause();
    sqlite3_close(db);
}

/* A cache of ten pages: a large transaction spills into the file before its commit. */
void kit_die_writing(const char *path, int ready)
{
    sqlite3 *db = open_database(path);

    run(db, "PRAGMA cache_size=10; BEGIN IMMEDIATE; UPDATE t SET s = s || 'never committed';");
    kit_say(ready);
    pause();
    sqlite3_close(db);
}

/* Money moves between two tables; a ledger counts. Each commit is said on the pipe. */
void kit_transfer(const char *path, int ready)
{
    sqlite3 *db = open_database(path);

    for (;;) {
        run(db, "BEGIN IMMEDIATE;"
                "UPDATE a SET m = m - 7 WHERE i = (SELECT count(*) % 400 FROM ledger);"
                "UPDATE b SET m = m + 7 WHERE i = (SELECT count(*) % 400 FROM ledger);"
                "INSERT INTO ledger SELECT count(*) + 1, hex(randomblob(200)) FROM ledger;"
                "COMMIT");
        kit_say(ready);
    }
}

/* ---- files --------------------------------------------------------------------------------- */

bool kit_exists(const char *path, const char *suffix)
{
    char name[400];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return cb_path_exists(name);
}

uint64_t kit_print(const char *path, const char *suffix)
{
    CB_CLEANUP(cb_buf_free) cb_buf bytes = {0};
    cb_error err = {0};
    char name[400];
    struct stat st;
    uint64_t print;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    if (stat(name, &st) != 0)
        return 0;
    assert_ok(cb_file_slurp(name, &bytes, &err));
    print = st.st_ino * 31 + bytes.size + 1;
    for (size_t i = 0; i < bytes.size; i++)
        print = print * 1099511628211U + bytes.data[i];
    return print;
}

/* ---- the doors ------------------------------------------------------------------------------ */

void kit_backup(kit *k, test_backup *out)
{
    cb_source_options options = {.scratch = k->folder};
    cb_error err = {0};
    cb_source *source;

    assert_ok(cb_sqlite_engine.source(k->ctx, k->path, &options, &source, &err));
    assert_ok(test_backup_take(source, NULL, NULL, NULL, out, &err));
    cb_source_free(source);
}

void kit_restore(kit *k, const test_backup *backup, const cb_target_options *options,
                 test_restore_counts *counts)
{
    test_restore_counts ignored;
    cb_error err = {0};
    cb_target *target;

    assert_ok(cb_sqlite_engine.target(k->ctx, k->target, options, &target, &err));
    assert_ok(test_backup_restore(backup, target, options->delta,
                                  counts != NULL ? counts : &ignored, &err));
    cb_target_free(target);
}
