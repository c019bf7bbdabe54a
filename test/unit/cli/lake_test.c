/*
 * The lake verbs from outside, with the fake library behind them. The path of the program is the
 * first argument.
 */
#include "cli/child.h"

#include "base/text.h"
#include "cli_kit.h"

static const char *program;

typedef struct run {
    cb_buf out;
    cb_buf errors;
    int status;
} run;

static void run_free(run *self)
{
    cb_buf_free(&self->out);
    cb_buf_free(&self->errors);
}

/* "status x --json" behind `lake`, by the shell, with `before` for variables. */
static run run_lake(const char *before, const char *words)
{
    char script[1024];
    const char *argv[] = {"sh", "-c", script, NULL};
    run self = {0};
    cb_error err = {0};

    snprintf(script, sizeof(script), "%s '%s' %s", before, program, words);
    if (cb_spawn(argv, cb_bytes_of(NULL, 0), &self.out, &self.errors, &self.status, &err) != CB_OK)
        fail_msg("%s", err.message);
    return self;
}

static void test_exit_codes(void **state)
{
    static const struct {
        const char *before;
        const char *words;
        int status;
    } samples[] = {
        {"", "lake", 2},
        {"", "lake statsu x", 2},
        {"", "lake status", 2},
        {"", "lake status x", 0},
        {"", "lake status x lake", 0},
        {"", "lake status x lake more", 2},
        {"", "lake status x lake --name other", 2},
        {"", "lake status x --dry-run", 2},
        {"", "lake status x --quiet --repo /r", 0},
        {"", "lake repoint x", 2},
        {"", "lake repoint x --data-path /new", 0},
        {"", "lake repoint x --data-path /new --to 1.0", 2},
        {"FAKE_CODE=5", "lake repoint x --data-path /new", 3},
        {"", "lake orphans x", 0},
        {"FAKE_NONE=1", "lake orphans x", 0},
        {"", "lake orphans x y", 2},
        {"", "lake adopt x", 3}, /* one is refused */
        {"", "lake adopt x a.parquet b.parquet --accept", 0},
        {"", "lake adopt x a.parquet --from-list l", 2},
        {"", "lake adopt x --undo", 0},
        {"", "lake adopt x --undo --tables a", 2},
        {"", "lake adopt x a.parquet --undo", 2},
        {"", "lake migrate x", 0},
        {"", "lake migrate x --accept", 2},
        {"FAKE_NONE=1", "lake migrate x", 0},
        {"FAKE_CODE=3", "lake migrate x", 4},
        {"", "lake guard x", 10},
        {"", "lake guard x --json", 10},
        {"FAKE_NONE=1", "lake guard x", 0},
        {"FAKE_CODE=13", "lake guard x", 1},
        {"", "lake rollback", 2},
        {"", "lake rollback lake", 0},
        {"", "lake rollback lake x", 0},
        {"", "lake dump x", 0},
        {"", "lake dump x out.sql", 0},
        {"", "lake dump x out.sql --dump-dir /d", 2},
        {"CANVASBACK_DUMP_DIR=/d", "lake dump x out.sql", 0},
        {"", "lake undump x", 2},
        {"", "lake undump in.sql x --force", 0},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(run_free) run r = run_lake(samples[i].before, samples[i].words);

        if (r.status != samples[i].status)
            fail_msg("%s canvasback %s: %d, not %d: %s", samples[i].before, samples[i].words,
                     r.status, samples[i].status, kit_text(&r.errors));
        if (r.status == 0 || r.status == 10) {
            assert_true(r.out.size > 0);
            assert_true(r.out.data[0] == '{' || kit_width(&r.out) <= 80);
        } else
            kit_assert_has(&r.errors, "canvasback: ");
    }
}

/* What was meant, and what goes with what. */
static void test_hints(void **state)
{
    CB_CLEANUP(run_free) run near = run_lake("", "lake migarte x");
    CB_CLEANUP(run_free) run far = run_lake("", "lake frobnicate x");
    CB_CLEANUP(run_free) run short_of = run_lake("", "lake undump x");
    CB_CLEANUP(run_free) run stray = run_lake("", "lake status x --undo");
    CB_CLEANUP(run_free)
    run unquoted = run_lake("", "lake orphans ducklake:postgres:dbname=x password=hunter2");

    (void)state;
    kit_assert_has(&near.errors, "Did you mean 'lake migrate'?");
    kit_assert_has(&far.errors, "'canvasback help lake' shows what there is.");
    kit_assert_has(&short_of.errors, "Usage: canvasback lake undump FILE LAKE [--force]");
    kit_assert_has(&stray.errors, "lake status does not take --undo");
    kit_assert_lacks(&unquoted.errors, "hunter2");
    kit_assert_has(&unquoted.errors, "stands in quotes");
}

static void test_requests(void **state)
{
    static const struct {
        const char *words, *seen;
    } samples[] = {
        {"lake status x n --metadata-schema s --data-path /d",
         "status x schema s path /d keys 0 tables 0 -\nname n\n"},
        {"lake status x --name n", "name n\n"},
        {"lake adopt x a.parquet b --tables t,u", "tables 2 t\nfiles 2 a.parquet list -\n"},
        {"lake adopt x --from-list l", "files 0 - list l\n"},
        {"lake migrate x --to 1.0 --dump-dir /d --name n --allow-unencrypted-keys",
         "migrate x schema - path - keys 1 tables 0 -\nname n to 1.0 dump-dir /d\n"},
        {"lake guard x", "guard x schema - path - keys 0 tables 0 -\n"
                         "name - to - dump-dir -\n"},
        {"lake rollback n x", "rollback x schema - path - keys 0 tables 0 -\nname n\n"},
        {"lake rollback n", "rollback - schema"},
        {"lake dump x --dump-dir /d", "file - folder /d\n"},
        {"lake dump x f", "file f folder -\n"},
        {"lake undump f x --force", "undump x schema - path - keys 0 tables 0 -\nfile f force 1"},
        {"check ducklake:x --metadata-schema s --data-path /d", "check schema s path /d\n"},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(run_free) run r = run_lake("FAKE_TRACE=1", samples[i].words);

        kit_assert_has(&r.errors, samples[i].seen);
    }
}

static void test_texts(void **state)
{
    static const struct {
        const char *before, *words, *seen;
    } samples[] = {
        {"", "lake status x", "data files         1203, 3.4 GiB\n"},
        {"", "lake status x", "newest backup      lake@20261121-022035\n"},
        {"", "lake status x", "it lacks           2 snapshots, 14 files, 12 MiB\n"},
        {"", "lake status x", "WARNING            cleanup removes files"},
        {"FAKE_NONE=1", "lake status x", "newest backup      none\n"},
        {"", "lake repoint x --data-path /n", "1 row changed, in one transaction\n"},
        {"", "lake repoint x --data-path /n", "still elsewhere: /other/place/added.parquet\n"},
        {"", "lake repoint x --data-path /n --absolute --dry-run",
         "nothing was changed (--dry-run)\n"},
        {"", "lake orphans x", "main.t  failed write           2   400 B"},
        {"", "lake orphans x", "\n/srv/lake/main/t/c.parquet\n"},
        {"", "lake orphans x", "4 files, 1.5 KiB, that the catalog does not name; it names 1207\n"},
        {"", "lake adopt x", "REFUSED /srv/lake/main/t/c.parquet: it would bring deleted rows"},
        {"", "lake adopt x", "1205 rows in 3 files came back, as snapshot 58\n"},
        {"", "lake adopt x --undo", "is undone: 1205 rows in 3 files went\n"},
        {"", "lake adopt x --dry-run", "would come back; nothing was changed (--dry-run)\n"},
        {"", "lake migrate x", "migrated from version 0.3 to 1.0\n"},
        {"", "lake migrate x",
         "  12 tables at 10 snapshots, 48 contents in all: equal before and after\n"},
        {"", "lake migrate x --repo /r", "canvasback lake rollback --repo /r lake\n"},
        {"FAKE_NONE=1", "lake migrate x", "the lake has version 1.0: nothing to do\n"},
        {"", "lake guard x", "version 0.3 is older than 1.0: a migration is needed\n"},
        {"", "lake rollback lake", "is at version 0.3 again, no longer at 1.0\n"},
        {"", "lake dump x", "  catalog sqlite, version 0.3: 28 tables, 1204 rows, 312 KiB\n"},
        {"", "lake undump f ducklake:x", " was read into ducklake:x\n"},
        {"FAKE_ORPHANS=14", "restore lake x",
         "  canvasback lake adopt 'ducklake:postgres:dbname=lake host=db1' --from-list "
         "'/home/me/lost files.list'\n"},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(run_free) run r = run_lake(samples[i].before, samples[i].words);

        kit_assert_has(&r.out, samples[i].seen);
    }
}

static void test_objects(void **state)
{
    static const struct {
        const char *before, *words, *seen;
    } samples[] = {
        {"", "lake status x",
         "\"kind\":\"postgres\",\"metadata_schema\":\"public\","
         "\"version\":\"1.0\""},
        {"", "lake status x", "\"files\":1207,\"bytes\":3650726297,"},
        {"", "lake status x", "\"backup_snapshot\":55,"},
        {"FAKE_NONE=1", "lake status x", "\"newest_backup\":null,"},
        {"FAKE_NONE=1", "lake status x", "\"backup_snapshot\":null,"},
        {"", "lake repoint x --data-path /n", "\"changes\":[{\"what\":\"data_path\",\"from\":"},
        {"", "lake orphans x",
         "\"table\":\"main.t\",\"kind\":\"lost by a restore\","
         "\"size_bytes\":1000,\"modified\":\"1970-01-01T00:00:01Z\"}]}\n"},
        {"FAKE_NONE=1", "lake orphans x", "\"named\":1207,\"files\":[]}\n"},
        {"", "lake adopt x",
         "{\"snapshot\":58,\"dry_run\":false,\"tables\":[{\"table\":\"main.t\","
         "\"files\":2,\"rows\":1204}"},
        {"", "lake adopt x --dry-run", "{\"snapshot\":null,\"dry_run\":true,"},
        {"", "lake guard x", "\"needed\":true,\"migrated\":false,"},
        {"", "lake rollback x", "\"from\":\"1.0\",\"to\":\"0.3\"}"},
        {"", "lake dump x", "\"kind\":\"sqlite\",\"version\":\"0.3\",\"tables\":28,"},
        {"FAKE_ORPHANS=14", "restore lake x", "\"orphan_count\":14,"},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        char words[128];
        CB_CLEANUP(run_free) run r = {0};

        snprintf(words, sizeof(words), "%s --json", samples[i].words);
        r = run_lake(samples[i].before, words);
        kit_assert_has(&r.out, samples[i].seen);
    }
}

static void test_passwords_are_warned_of(void **state)
{
    CB_CLEANUP(run_free)
    run given = run_lake("", "lake status 'ducklake:postgres:dbname=x password=hunter2'");
    CB_CLEANUP(run_free)
    run uri = run_lake("", "backup ducklake:postgres://me:hunter2@db1/x");
    CB_CLEANUP(run_free)
    run into = run_lake("", "lake undump f 'ducklake:postgres:dbname=x password=hunter2'");
    CB_CLEANUP(run_free) run none = run_lake("", "lake status ducklake:postgres:dbname=x");

    (void)state;
    kit_assert_has(&given.errors, "warning: a password on the command line");
    kit_assert_has(&uri.errors, "warning: a password on the command line");
    kit_assert_has(&into.errors, "warning: a password on the command line");
    kit_assert_lacks(&given.errors, "hunter2");
    kit_assert_lacks(&into.out, "hunter2");
    kit_assert_lacks(&none.errors, "warning");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_codes), cmocka_unit_test(test_hints),
        cmocka_unit_test(test_requests),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_objects),    cmocka_unit_test(test_passwords_are_warned_of),
    };

    if (argc != 2)
        return 99;
    program = argv[1];
    unsetenv("CANVASBACK_REPO");
    setenv("HOME", "/nonexistent", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    unsetenv("XDG_STATE_HOME");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
