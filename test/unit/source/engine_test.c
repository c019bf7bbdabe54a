/*
 * The engine: real DuckDB files through the libduckdb that tools/fetch_duckdb put in place. Without
 * one the tests are skipped (exit 77).
 */
#include "temp.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "source/duckdb/api.h"
#include "source/duckdb/duckdb.h"
#include "source/duckdb/engine.h"
#include "source/duckdb/format.h"

enum { SKIPPED = 77, VERSION_AT = 12, FLAGS_AT = 20 };

static char library[CB_PATH_MAX];

typedef struct fixture {
    cb_ctx *ctx;
    char folder[256];
    char path[300];
    char other[300];
    char tables[2000]; /* seen by a scan */
} fixture;

static cb_ctx *new_ctx(const char *use)
{
    cb_settings settings = {.jobs = 2, .duckdb_library = use};
    cb_error err = {0};
    cb_ctx *ctx;

    assert_ok(cb_ctx_new(&settings, NULL, NULL, &ctx, &err));
    return ctx;
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return 1;
    f->ctx = new_ctx(library);
    test_temp_make(f->folder);
    snprintf(f->path, sizeof(f->path), "%s/it's a \"file\".duckdb", f->folder);
    snprintf(f->other, sizeof(f->other), "%s/other.duckdb", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    test_temp_remove(f->folder);
    cb_ctx_free(f->ctx);
    free(f);
    return 0;
}

/* ---- databases ------------------------------------------------------------------------------ */

static void must(cb_code code, const cb_error *err)
{
    if (code != CB_OK) {
        fprintf(stderr, "%s\n", err->message);
        _exit(98);
    }
}

/* Run the statements on the database in a session of this process, and never come back. */
static void use(const char *path, const char *options, const char *const *statements, int ready)
{
    cb_ctx *ctx = new_ctx(library);
    cb_buf sql = {0};
    cb_error err = {0};
    cb_duck_session *session;
    const cb_duck_piece attach[] = {{0, "ATTACH "}, {'\'', path}, {0, " AS db ("},
                                    {0, options},   {0, ")"},     {0, NULL}};

    must(cb_duck_session_open(ctx, path, path, &session, &err), &err);
    must(cb_duck_compose(&sql, attach, &err), &err);
    must(cb_duck_run(session, (const char *)sql.data, &err), &err);
    must(cb_duck_run(session, "USE db", &err), &err);
    must(cb_duck_run(session, "SET wal_autocheckpoint = '1TB'", &err), &err);
    for (; *statements != NULL; statements++)
        must(cb_duck_run(session, *statements, &err), &err);
    if (ready >= 0) {
        if (write(ready, "r", 1) != 1)
            _exit(98);
        pause();
    }
    _exit(0); /* as a crash: what was not checkpointed is in the log alone */
}

static void make(const char *path, const char *options, const char *const *statements)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        use(path, options, statements, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static const char *const rows_and_log[] = {
    "CREATE TABLE t(i INTEGER, s VARCHAR, l INTEGER[])",
    "INSERT INTO t SELECT i, 'text ' || i, [i, i + 1] FROM range(30000) r(i)",
    "CREATE SCHEMA s",
    "CREATE TABLE s.\"odd \"\"name\"(\"col \"\"1\" INTEGER)",
    "CREATE VIEW v AS SELECT * FROM t",
    "CHECKPOINT db",
    "INSERT INTO t SELECT i, 'late', NULL FROM range(77) r(i)",
    NULL,
};

static bool has(const char *path, const char *suffix)
{
    char name[400];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return cb_path_exists(name);
}

/* Nothing of a copy that failed stays, nor of a folder to spill into. */
static unsigned count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2; /* "." and ".." */
}

static cb_code see(void *arg, const char *table, uint64_t rows, cb_error *err)
{
    fixture *f = arg;
    size_t length = strlen(f->tables);

    (void)err;
    snprintf(f->tables + length, sizeof(f->tables) - length, "%s=%u ", table, (unsigned)rows);
    return CB_OK;
}

static void damage(const char *path, off_t at, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
    close(fd);
}

/* ---- small things ---------------------------------------------------------------------------- */

static void test_versions(void **state)
{
    (void)state;
    assert_true(cb_duckdb_version_compare("1.10.0", "1.9.2") > 0);
    assert_true(cb_duckdb_version_compare("1.5.5", "2.0.0") < 0);
    assert_true(cb_duckdb_version_compare("2.0.0", "2.0.0") == 0);
    assert_true(cb_duckdb_version_compare("2.0", "2.0.0") < 0);
    assert_true(cb_duckdb_version_compare("2.0.0-dev1", "2.0.0") > 0);
}

static void test_classes(void **state)
{
    static const struct {
        int type;
        const char *text;
        cb_code code;
    } cases[] = {
        {CB_DUCK_ERROR_IO, "IO Error: Could not set lock on file \"x\": Conflicting", CB_BUSY},
        {CB_DUCK_ERROR_IO, "IO Error: ... No space left on device", CB_NO_SPACE},
        {CB_DUCK_ERROR_IO, "Corrupt database file: computed checksum", CB_CORRUPT},
        {CB_DUCK_ERROR_IO, "read a database file with version number 70, but", CB_UNSUPPORTED},
        {CB_DUCK_ERROR_IO, "Cannot open file \"x\": No such file or directory", CB_NOT_FOUND},
        {CB_DUCK_ERROR_IO, "Cannot open file \"x\": Permission denied", CB_DENIED},
        {CB_DUCK_ERROR_IO, "Could not read from file: Input/output error", CB_IO},
        {CB_DUCK_ERROR_FATAL, "FATAL Error: ...", CB_CORRUPT},
        {CB_DUCK_ERROR_INTERNAL, "INTERNAL Error: ...", CB_CORRUPT},
        {CB_DUCK_ERROR_OUT_OF_MEMORY, "Out of Memory Error: ...", CB_NO_MEMORY},
        {CB_DUCK_ERROR_MISSING_EXTENSION, "needs hnsw", CB_UNSUPPORTED},
        {CB_DUCK_ERROR_INTERRUPT, "INTERRUPT Error: Interrupted!", CB_CANCELLED},
        {2, "Conversion Error: ...", CB_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++)
        assert_int_equal(cb_duck_classify(cases[i].type, cases[i].text), cases[i].code);
}

static void test_quotes(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_duck_piece pieces[] = {
        {0, "a "}, {'\'', "it's \"x\""}, {0, " b "}, {'"', "it's \"x\""}, {0, NULL}};
    cb_error err = {0};

    (void)state;
    assert_ok(cb_duck_compose(&sql, pieces, &err));
    assert_string_equal((const char *)sql.data, "a 'it''s \"x\"' b \"it's \"\"x\"\"\"");
}

static void test_no_library(void **state)
{
    fixture *f = *state;
    cb_ctx *ctx = new_ctx("/nonexistent/libduckdb.so");
    cb_duckdb_api api;
    cb_error err = {0};

    make(f->path, "READ_WRITE", rows_and_log);
    assert_code(CB_UNSUPPORTED, cb_duckdb_fold(ctx, f->path, &err));
    assert_non_null(strstr(err.hint, "--duckdb-library"));
    assert_true(has(f->path, ".wal"));
    cb_ctx_free(ctx);
    /* A library, but not DuckDB's. */
    ctx = new_ctx("/lib/x86_64-linux-gnu/libm.so.6");
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, cb_duckdb_api_load(ctx, &api, &err));
    assert_non_null(strstr(err.hint, "verify --deep"));
    cb_ctx_free(ctx);
}

/* The newest version beside the program is taken, by number and not by letter. */
static void test_beside_program(void **state)
{
    fixture *f = *state;
    cb_settings settings = {.program_directory = f->folder};
    char name[400];
    cb_duckdb_api api;
    cb_error err = {0};
    cb_ctx *ctx;

    snprintf(name, sizeof(name), "%s/duckdb/0.10.9", f->folder);
    assert_ok(cb_folder_make(name, &err));
    snprintf(name, sizeof(name), "%s/duckdb/0.9.1/", f->folder);
    assert_ok(cb_folder_make(name, &err));
    snprintf(name, sizeof(name), "%s/duckdb/0.10.9/libduckdb.so", f->folder);
    assert_int_equal(symlink(library, name), 0);
    snprintf(name, sizeof(name), "%s/duckdb/0.9.1/libduckdb.so", f->folder);
    assert_int_equal(symlink("/nonexistent", name), 0);
    assert_ok(cb_ctx_new(&settings, NULL, NULL, &ctx, &err));
    assert_ok(cb_duckdb_api_load(ctx, &api, &err));
    assert_int_equal(api.library_version()[0], 'v');
    cb_ctx_free(ctx);
}

/* ---- fold --------------------------------------------------------------------------------------
 */

static void fold_version(fixture *f, const char *options, uint64_t version)
{
    cb_duck_file file;
    cb_error err = {0};

    make(f->path, options, rows_and_log);
    assert_true(has(f->path, ".wal"));
    assert_ok(cb_duckdb_fold(f->ctx, f->path, &err));
    assert_false(has(f->path, ".wal"));
    assert_int_equal(count_files(f->folder), 1);
    assert_ok(cb_duck_file_look(f->path, &file, &err));
    assert_int_equal(file.version, version);
    assert_ok(cb_duckdb_scan(f->ctx, f->path, see, f, &err));
    assert_string_equal(f->tables, "\"main\".\"t\"=30077 \"s\".\"odd \"\"name\"=0 ");
}

static void test_fold_old(void **state)
{
    fold_version(*state, "STORAGE_VERSION 'v1.0.0'", 64);
}

static void test_fold_1_4(void **state)
{
    fold_version(*state, "STORAGE_VERSION 'v1.4.0'", 67);
}

static void test_fold_damaged(void **state)
{
    static const char junk[64] = "junk";
    fixture *f = *state;
    cb_error err = {0};

    make(f->path, "READ_WRITE", rows_and_log);
    damage(f->path, 12288 + 1000, junk, sizeof(junk)); /* metadata: the first block written */
    assert_code(CB_CORRUPT, cb_duckdb_fold(f->ctx, f->path, &err));
}

/* ---- scan --------------------------------------------------------------------------------------
 */

static void test_scan_log(void **state)
{
    fixture *f = *state;
    cb_error err = {0};

    make(f->path, "READ_WRITE", rows_and_log);
    assert_ok(cb_duckdb_scan(f->ctx, f->path, see, f, &err));
    assert_string_equal(f->tables, "\"main\".\"t\"=30077 \"s\".\"odd \"\"name\"=0 ");
}

/* Every type that the engine has, and a generated column, which holds nothing. */
static void test_scan_types(void **state)
{
    static const char *const statements[] = {
        "CREATE TABLE every AS SELECT * FROM test_all_types()",
        "CREATE TYPE mood AS ENUM ('low', 'high')",
        "CREATE TABLE g(i INTEGER, m mood, u UNION(a INTEGER, b VARCHAR), k INTEGER GENERATED "
        "ALWAYS AS (i + 1) VIRTUAL)",
        "INSERT INTO g VALUES (1, 'low', 7), (2, NULL, 'x')",
        NULL,
    };
    fixture *f = *state;
    cb_error err = {0};

    make(f->path, "READ_WRITE", statements);
    assert_ok(cb_duckdb_scan(f->ctx, f->path, see, f, &err));
    assert_string_equal(f->tables, "\"main\".\"every\"=3 \"main\".\"g\"=2 ");
}

/* A block of the last column alone: a count would never read it. */
static void test_scan_damaged(void **state)
{
    static const char *const statements[] = {
        "CREATE TABLE t AS SELECT i, hash(i) AS a, hash(i + 1) AS b FROM range(100000) r(i)",
        "CHECKPOINT db",
        NULL,
    };
    static const char junk[64] = "junk";
    fixture *f = *state;
    unsigned found = 0;
    cb_error err = {0};

    make(f->path, "READ_WRITE", statements);
    for (off_t block = 0; block < 8; block++) {
        uint8_t good[sizeof(junk)];
        int fd = open(f->path, O_RDONLY);
        off_t at = 12288 + block * 262144 + 200000;

        assert_int_equal(pread(fd, good, sizeof(good), at), (ssize_t)sizeof(good));
        close(fd);
        damage(f->path, at, junk, sizeof(junk));
        cb_error_clear(&err);
        if (cb_duckdb_scan(f->ctx, f->path, see, f, &err) != CB_OK) {
            assert_int_equal(err.code, CB_CORRUPT);
            found++;
        }
        damage(f->path, at, good, sizeof(good));
    }
    assert_true(found >= 6); /* two columns of hashes do not compress: 1.6 MB in 7 blocks */
}

static void *cancel_soon(void *arg)
{
    usleep(300000);
    cb_cancel(arg);
    return NULL;
}

/* A statement that would run for hours is interrupted, and nothing begins after it. */
static void test_cancelled(void **state)
{
    fixture *f = *state;
    cb_duck_session *session;
    pthread_t thread;
    cb_error err = {0};

    make(f->path, "READ_WRITE", rows_and_log);
    assert_ok(cb_duck_session_open(f->ctx, f->path, f->path, &session, &err));
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, f->ctx), 0);
    assert_code(CB_CANCELLED,
                cb_duck_run(session, "SELECT sum(hash(i)) FROM range(1000000000000) r(i)", &err));
    pthread_join(thread, NULL);
    cb_duck_session_close(session);
    cb_error_clear(&err);
    assert_code(CB_CANCELLED, cb_duckdb_fold(f->ctx, f->path, &err));
    assert_true(has(f->path, ".wal"));
}

/* ---- copy --------------------------------------------------------------------------------------
 */

static void test_copy(void **state)
{
    fixture *f = *state;
    cb_duck_file file;
    cb_error err = {0};

    make(f->path, "STORAGE_VERSION 'v1.0.0', BLOCK_SIZE 16384", rows_and_log);
    assert_ok(cb_duckdb_attach_copy(f->ctx, f->path, f->other, &err));
    assert_true(has(f->path, ".wal")); /* the source was only read */
    assert_false(has(f->other, ".wal"));
    assert_int_equal(count_files(f->folder), 3);
    assert_ok(cb_duck_file_look(f->other, &file, &err));
    assert_int_equal(file.version, 64);
    assert_int_equal(file.block_alloc_size, 16384);
    assert_ok(cb_duckdb_scan(f->ctx, f->other, see, f, &err));
    assert_string_equal(f->tables, "\"main\".\"t\"=30077 \"s\".\"odd \"\"name\"=0 ");
    assert_code(CB_EXISTS, cb_duckdb_attach_copy(f->ctx, f->path, f->other, &err));
}

static void test_copy_locked(void **state)
{
    static const char *const nothing[] = {NULL};
    fixture *f = *state;
    char pid_text[32];
    cb_error err = {0};
    char word;
    int ends[2];
    int status;
    pid_t pid;

    make(f->path, "READ_WRITE", rows_and_log);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0)
        use(f->path, "READ_WRITE", nothing, ends[1]);
    assert_int_equal(read(ends[0], &word, 1), 1);
    assert_code(CB_BUSY, cb_duckdb_attach_copy(f->ctx, f->path, f->other, &err));
    snprintf(pid_text, sizeof(pid_text), "PID %d", (int)pid);
    assert_non_null(strstr(err.message, pid_text));
    assert_non_null(strstr(err.hint, "--method hot"));
    assert_false(has(f->other, ""));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    close(ends[1]);
    cb_error_clear(&err);
    assert_ok(cb_duckdb_attach_copy(f->ctx, f->path, f->other, &err));
}

static void test_copy_damaged(void **state)
{
    static const char junk[64] = "junk";
    fixture *f = *state;
    cb_error err = {0};

    make(f->path, "READ_WRITE", rows_and_log);
    damage(f->path, 12288 + 262144 + 1000, junk, sizeof(junk)); /* data: metadata is read first */
    assert_code(CB_CORRUPT, cb_duckdb_attach_copy(f->ctx, f->path, f->other, &err));
    assert_int_equal(count_files(f->folder), 2);
}

/* ---- files that cannot be opened ------------------------------------------------------------ */

static void test_refused(void **state)
{
    static const uint8_t encrypted[] = {1};
    static const uint8_t newer[] = {70, 0};
    uint8_t page[4096];
    fixture *f = *state;
    cb_error err = {0};
    FILE *text;
    int fd;

    assert_code(CB_NOT_FOUND, cb_duckdb_fold(f->ctx, f->path, &err));
    text = fopen(f->path, "w");
    assert_non_null(text);
    fputs("not a database", text);
    fclose(text);
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, cb_duckdb_scan(f->ctx, f->path, see, f, &err));

    make(f->other, "READ_WRITE", rows_and_log);
    damage(f->other, VERSION_AT, newer, sizeof(newer));
    fd = open(f->other, O_RDONLY);
    assert_int_equal(pread(fd, page, sizeof(page), 0), (ssize_t)sizeof(page));
    close(fd);
    cb_put_u64(page, cb_duckdb_checksum(cb_bytes_of(page + 8, sizeof(page) - 8)));
    damage(f->other, 0, page, sizeof(page));
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, cb_duckdb_fold(f->ctx, f->other, &err));
    assert_non_null(strstr(err.message, "70"));
    assert_non_null(strstr(err.hint, "newer"));

    damage(f->other, FLAGS_AT, encrypted, sizeof(encrypted));
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, cb_duckdb_fold(f->ctx, f->other, &err));
    assert_non_null(strstr(err.message, "encrypted"));
}

static int find_library(void)
{
    const char *named = getenv("CANVASBACK_DUCKDB_LIBRARY");
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (named != NULL)
        snprintf(library, sizeof(library), "%s", named);
    else if (cache != NULL && cache[0] != '\0')
        snprintf(library, sizeof(library), "%s/canvasback/duckdb/2.0.0/libduckdb.so", cache);
    else
        snprintf(library, sizeof(library), "%s/.cache/canvasback/duckdb/2.0.0/libduckdb.so",
                 home != NULL ? home : "");
    return cb_path_exists(library) ? 0 : SKIPPED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test_setup_teardown(test_no_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_beside_program, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold_1_4, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scan_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scan_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scan_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_locked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
    };

    if (find_library() != 0) {
        fprintf(stderr, "skipped: no libduckdb at '%s' (tools/fetch_duckdb puts it there)\n",
                library);
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
