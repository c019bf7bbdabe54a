/*
 * The program from outside, with the fake library behind it: exit codes, streams, signals.
 * The path of the program is the first argument.
 */
#include "cli/child.h"

#include "base/text.h"
#include "../../lib/leftover.h"
#include "cli_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* "list --json", by the shell, with `before` for variables and `behind` for redirections. */
static run run_shell(const char *before, const char *words, const char *behind)
{
    char script[1024];
    const char *argv[] = {"sh", "-c", script, NULL};
    run self = {0};
    cb_error err = {0};

    snprintf(script, sizeof(script), "%s '%s' %s %s", before, program, words, behind);
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
        {"", "version", 0},
        {"", "--version", 0},
        {"", "help", 0},
        {"", "list", 0},
        {"", "", 2},
        {"", "bakup", 2},
        {"", "list --full", 2},
        {"", "expire prod", 2},
        {"CANVASBACK_NONSENSE=1", "list", 2},
        {"CANVASBACK_NONSENSE=1", "version", 2},
        {"CANVASBACK_NONSENSE=1", "help", 0},
        {"", "serve", 1},
        {"", "archive-get a b", 126},
        {"", "repo --check", 0},
        {"", "repo check", 0},
        {"", "repo check more", 2},
        {"", "repo cheek", 2},
        {"", "repo key", 0},
        {"", "repo key list", 0},
        {"", "repo key add", 0},
        {"", "repo key add x", 2},
        {"", "repo key add --write-only", 2},
        {"", "repo key add --write-only x", 0},
        {"", "repo key add --write-only --output x", 0},
        {"", "repo key add --write-only x --output x", 2},
        {"", "repo key remove", 2},
        {"", "repo key remove 00aa", 0},
        {"", "repo key remove 00aa --label x", 2},
        {"", "repo key change --new-passphrase-file x", 0},
        {"", "repo sync a", 2},
        {"", "repo sync a b --label x", 2},
        {"", "repo sync a b prod app@2026 --dry-run", 0},
        {"FAKE_DAMAGED=1", "repo sync a b", 3},
        {"", "repo --dry-run", 2},
        {"", "report", 2},
        {"", "report --html /dev/null", 0},
        {"", "metrics", 0},
        {"", "metrics --output /dev/null", 0},
        {"", "verify --schedule", 2},
        {"", "verify --deep --schedule --percent 0.5%", 0},
        {"", "verify --percent 0", 2},
        {"", "list --repo a --repo b", 2},
        {"", "backup x --repo a --repo b", 0},
        {"", "backup x --repo a --repo bad", 1},
        {"FAKE_DAMAGED=1", "restore prod /x --salvage", 3},
        {"CANVASBACK_HOOK=after CANVASBACK_HOOK_NAME=x", "list", 0},
        {"CANVASBACK_PASSPHRASE=x", "list", 0},
        {"", "list --passphrase x", 2},
        {"CANVASBACK_PASSPHRAS=x", "list", 2},
        {"FAKE_CODE=1", "list", 1}, /* not-found: a file */
        {"FAKE_CODE=1 FAKE_IN_REPOSITORY=1", "list", 5},
        {"FAKE_CODE=3", "backup x", 4},
        {"FAKE_CODE=5", "restore x /y", 3},
        {"FAKE_CODE=11", "init", 2},
        {"FAKE_CODE=13", "verify", 1},
        {"FAKE_DAMAGED=1", "verify", 3},
        {"FAKE_DAMAGED=1", "check x", 3},
        {"FAKE_DAMAGED=1", "repair", 3},
        {"FAKE_DAMAGED=1", "backup x --allow-damage", 0}, /* it was allowed, and is told */
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(run_free) run r = run_shell(samples[i].before, samples[i].words, "");

        if (r.status != samples[i].status)
            fail_msg("%s canvasback %s: %d, not %d: %s", samples[i].before, samples[i].words,
                     r.status, samples[i].status, kit_text(&r.errors));
        /* A failure has a message; a success has a result. */
        if (r.status != 0)
            assert_true(cb_has_prefix(kit_text(&r.errors), "canvasback: "));
        else
            assert_true(r.out.size > 0);
    }
}

static void test_streams(void **state)
{
    CB_CLEANUP(run_free) run json = run_shell("", "list --json -q", "");
    CB_CLEANUP(run_free) run failed = run_shell("FAKE_CODE=3", "list --json -q", "");
    CB_CLEANUP(run_free) run damaged = run_shell("FAKE_DAMAGED=1", "verify --json -q", "");
    CB_CLEANUP(run_free) run wrong = run_shell("", "list --jsno --json", "");
    CB_CLEANUP(run_free) run plain = run_shell("FAKE_CODE=3", "list", "");

    (void)state;
    assert_int_equal(json.out.data[0], '[');
    assert_string_equal(kit_text(&json.errors), "");
    assert_string_equal(kit_text(&failed.out), "{\"error\":{\"code\":\"busy\",\"message\":\"the "
                                               "fake fails\",\"hint\":\"Ask it not to.\"}}\n");
    assert_string_equal(kit_text(&failed.errors),
                        "canvasback: the fake fails\nhint: Ask it not to.\n");
    /* Damage is a result: one object, and not that of an error. */
    assert_true(cb_has_prefix(kit_text(&damaged.out), "{\"backups\":2,"));
    kit_assert_has(&damaged.errors, "damage found");
    assert_true(cb_has_prefix(kit_text(&wrong.out), "{\"error\":{\"code\":\"usage\""));
    assert_string_equal(kit_text(&plain.out), "");
}

static void test_levels(void **state)
{
    CB_CLEANUP(run_free) run usual = run_shell("", "list", "");
    CB_CLEANUP(run_free) run warn = run_shell("", "list --log-level warn", "");
    CB_CLEANUP(run_free) run quiet = run_shell("", "list --quiet", "");
    CB_CLEANUP(run_free) run machine = run_shell("", "list --progress json", "");

    (void)state;
    assert_string_equal(kit_text(&usual.errors), "canvasback: the fake library is at work\n");
    assert_string_equal(kit_text(&warn.errors), "");
    assert_string_equal(kit_text(&quiet.errors), "");
    assert_string_equal(kit_text(&machine.errors),
                        "{\"event\":\"info\",\"text\":\"the fake library is at work\"}\n");
}

static void test_unwritable_output(void **state)
{
    CB_CLEANUP(run_free) run full = run_shell("", "list", ">/dev/full");
    CB_CLEANUP(run_free) run closed = run_shell("", "list", ">&-");
    CB_CLEANUP(run_free) run piped = run_shell("", "list -q", "2>&1 | true");

    (void)state;
    assert_int_equal(full.status, 1);
    kit_assert_has(&full.errors, "No space left");
    assert_int_equal(closed.status, 1);
    assert_int_equal(piped.status, 0); /* of true; it did not hang */
}

static void test_time_is_echoed(void **state)
{
    CB_CLEANUP(run_free)
    run local = run_shell("TZ=Asia/Kolkata", "restore prod /x --time '2026-11-21 02:30:00'", "");
    CB_CLEANUP(run_free)
    run zoned = run_shell("", "restore prod /x --time 2026-11-21T02:30:00+05:30", "");

    (void)state;
    kit_assert_has(&local.errors, "2026-11-21 02:30:00 local time is 2026-11-20T21:00:00Z\n");
    kit_assert_lacks(&zoned.errors, "local time");
}

static void test_hostile_names_are_tamed(void **state)
{
    CB_CLEANUP(run_free) run shown = run_shell("", "show prod", "");

    (void)state;
    kit_assert_has(&shown.out, "?[31mname");
    kit_assert_lacks(&shown.out, "\033");
}

static void test_paste_says_what_flags_said(void **state)
{
    CB_CLEANUP(run_free) run flagged = run_shell("", "restore prod --repo '/my repo'", "");
    CB_CLEANUP(run_free) run usual = run_shell("CANVASBACK_REPO=/r", "restore prod", "");

    (void)state;
    kit_assert_has(&flagged.out, "canvasback restore --repo '/my repo' prod@20261121-022035 ");
    kit_assert_has(&usual.out, "canvasback restore prod@20261121-022035 ");
}

/* Rules in sections: each name by its own, and what has none keeps everything. */
static void test_expire_by_sections(void **state)
{
    char path[] = "/tmp/canvasback-expire-XXXXXX";
    char words[128];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    test_remove_at_exit(path);
    assert_int_equal(write(fd, "[prod]\nkeep-last = 1\n", 21), 21);
    close(fd);
    snprintf(words, sizeof(words), "expire --config %s", path);
    {
        CB_CLEANUP(run_free) run r = run_shell("FAKE_TRACE=1", words, "");

        assert_int_equal(r.status, 0);
        kit_assert_has(&r.errors, "app: no rule for it, everything stays");
        kit_assert_has(&r.errors, "expire prod last 1 daily 0\n");
        kit_assert_lacks(&r.errors, "expire app");
    }
    snprintf(words, sizeof(words), "expire --keep-daily 2 --config %s", path);
    {
        CB_CLEANUP(run_free) run r = run_shell("FAKE_TRACE=1", words, "");

        kit_assert_has(&r.errors, "expire app last 0 daily 2\n");
        kit_assert_has(&r.errors, "expire prod last 1 daily 2\n");
    }
    unlink(path);
}

/* ---- hooks -------------------------------------------------------------------------------- */

static void test_hooks_get_the_result(void **state)
{
    CB_CLEANUP(run_free)
    run good = run_shell("",
                         "backup /x/prod.db -q --before 'echo before' --after "
                         "'cat; env | grep ^CANVASBACK_ | sort' --on-failure 'echo never'",
                         "");
    CB_CLEANUP(run_free)
    run failed = run_shell(
        "FAKE_CODE=8",
        "verify prod@2026 -q --after "
        "'cat; echo after $CANVASBACK_RESULT' --on-failure 'cat; env | grep ^CANVASBACK_ | sort'",
        "");
    CB_CLEANUP(run_free)
    run damaged = run_shell("FAKE_DAMAGED=1", "verify -q --on-failure cat", "");

    (void)state;
    assert_int_equal(good.status, 0);
    kit_assert_has(&good.errors, "before\n{\"name\":\"prod\",\"label\":\"20261121-022035\",");
    kit_assert_has(&good.errors, "CANVASBACK_HOOK=after\nCANVASBACK_HOOK_COMMAND=backup\n"
                                 "CANVASBACK_HOOK_EXIT_CODE=0\n"
                                 "CANVASBACK_HOOK_LABEL=20261121-022035\n"
                                 "CANVASBACK_HOOK_NAME=prod\nCANVASBACK_RESULT=ok\n");
    kit_assert_lacks(&good.errors, "never");
    /* The result for the user is as it would be without them. */
    kit_assert_has(&good.out, "to restore it: canvasback restore prod@20261121-022035 TARGET");
    assert_int_equal(failed.status, 1);
    kit_assert_has(
        &failed.errors,
        "{\"error\":{\"code\":\"no-memory\",\"message\":\"the fake fails\",\"hint\":\"Ask it "
        "not to.\"},\"command\":\"verify\",\"name\":\"prod\",\"exit_code\":1}\n"
        "after failed\n");
    kit_assert_has(&failed.errors, "CANVASBACK_HOOK=on-failure\n");
    kit_assert_has(&damaged.errors, "\"command\":\"verify\",\"name\":null,\"exit_code\":3,"
                                    "\"result\":{\"backups\":2,");
}

static void test_hooks_that_fail(void **state)
{
    CB_CLEANUP(run_free)
    run before = run_shell("",
                           "backup x --before 'exit 7' --after 'echo after' "
                           "--on-failure 'echo on-failure'",
                           "");
    CB_CLEANUP(run_free)
    run after = run_shell("",
                          "backup x -q --json --after 'exit 7' "
                          "--on-failure 'echo on-failure'",
                          "");
    CB_CLEANUP(run_free) run both = run_shell("FAKE_CODE=3", "backup x -q --after 'exit 7'", "");
    CB_CLEANUP(run_free) run last = run_shell("FAKE_CODE=3", "backup x --on-failure 'exit 7'", "");

    (void)state;
    assert_int_equal(before.status, 1);
    kit_assert_has(&before.errors, "--before: the command 'exit 7' ended with status 7");
    kit_assert_has(&before.errors, "on-failure\n");
    kit_assert_lacks(&before.errors, "after\n");
    kit_assert_lacks(&before.errors, "at work"); /* nothing else was done */
    assert_int_equal(after.status, 1);
    assert_true(
        cb_has_prefix(kit_text(&after.out), "{\"name\":\"prod\"")); /* the backup is there */
    kit_assert_has(&after.errors, "backup is done, but --after: ");
    kit_assert_has(&after.errors, "on-failure\n");
    assert_int_equal(both.status, 4); /* the run's own failure counts */
    kit_assert_has(&both.errors, "--after: the command 'exit 7'");
    assert_int_equal(last.status, 4);
    kit_assert_has(&last.errors, "--on-failure: the command 'exit 7'");
}

/* What a file says about hooks is for backup, but for on-failure; and a program that a hook starts
   has none of its own. */
static void test_hooks_of_a_file(void **state)
{
    char path[] = "/tmp/canvasback-hooks-XXXXXX";
    static const char text[] =
        "before = echo before\nafter = echo after\non-failure = echo failure\n";
    char words[128];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    snprintf(words, sizeof(words), "backup x --config %s -q", path);
    {
        CB_CLEANUP(run_free) run backup = run_shell("", words, "");
        CB_CLEANUP(run_free) run nested = run_shell("CANVASBACK_HOOK=after FAKE_CODE=3", words, "");

        assert_string_equal(kit_text(&backup.errors), "before\nafter\n");
        kit_assert_lacks(&nested.errors, "before");
        kit_assert_lacks(&nested.errors, "failure");
    }
    snprintf(words, sizeof(words), "restore prod /x --config %s -q", path);
    {
        CB_CLEANUP(run_free) run restore = run_shell("", words, "");
        CB_CLEANUP(run_free) run failed = run_shell("FAKE_CODE=3", words, "");

        assert_string_equal(kit_text(&restore.errors), "");
        kit_assert_has(&failed.errors, "failure\n");
        kit_assert_lacks(&failed.errors, "after\n");
    }
    snprintf(words, sizeof(words), "list --config %s -q", path);
    {
        CB_CLEANUP(run_free) run list = run_shell("FAKE_CODE=3", words, "");

        kit_assert_lacks(&list.errors, "failure\n");
    }
    unlink(path);
}

/* What was mounted is unmounted even after Ctrl-C. */
static void test_after_runs_when_cancelled(void **state)
{
    CB_CLEANUP(run_free) run r = {0};
    char script[512];
    const char *argv[] = {"sh", "-c", script, NULL};
    cb_error err = {0};

    (void)state;
    snprintf(script, sizeof(script),
             "FAKE_WAIT=1 '%s' backup x -q --after 'sleep 0.2; echo unmounted' & sleep 0.3; "
             "kill -TERM $!; wait $!",
             program);
    assert_int_equal(cb_spawn(argv, cb_bytes_of(NULL, 0), &r.out, &r.errors, &r.status, &err),
                     CB_OK);
    assert_int_equal(r.status, 1);
    kit_assert_has(&r.errors, "unmounted\n");
    kit_assert_has(&r.errors, "cancelled");
}

/* ---- last runs, several repositories ------------------------------------------------------ */

static void test_last_runs(void **state)
{
    char folder[] = "/tmp/canvasback-state-XXXXXX";
    char before[128];
    char clean[128];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(before, sizeof(before), "XDG_STATE_HOME=%s CANVASBACK_REPO=/r/", folder);
    {
        CB_CLEANUP(run_free) run good = run_shell(before, "backup /x/prod.db", "");
        char failing[160];
        CB_CLEANUP(run_free) run metrics = {0};
        CB_CLEANUP(run_free) run other = {0};

        assert_int_equal(good.status, 0);
        snprintf(failing, sizeof(failing), "%s FAKE_CODE=3", before);
        {
            CB_CLEANUP(run_free) run failed = run_shell(failing, "verify other", "");
            CB_CLEANUP(run_free) run all = run_shell(failing, "verify", ""); /* names none */

            assert_int_equal(failed.status, 4);
            assert_int_equal(all.status, 4);
        }
        /* /r is the same place as /r/ and file:///r. */
        metrics = run_shell(before, "metrics --repo file:///r", "");
        kit_assert_has(&metrics.out, "name=\"prod\",command=\"backup\"} 0\n");
        kit_assert_has(&metrics.out, "name=\"other\",command=\"verify\"} 4\n");
        other = run_shell(before, "verify another --help", ""); /* is no run */
        run_free(&other);
        other = run_shell(before, "metrics", "");
        kit_assert_lacks(&other.out, "another");
        run_free(&other);
        other = run_shell(before, "metrics --repo /r2 --json", "");
        kit_assert_has(&other.out, "\"runs\":[]");
    }
    {
        /* A note that cannot be written fails nothing. */
        CB_CLEANUP(run_free) run nowhere = run_shell("XDG_STATE_HOME=/proc", "verify prod", "");

        assert_int_equal(nowhere.status, 0);
    }
    snprintf(clean, sizeof(clean), "rm -r %s", folder);
    assert_int_equal(system(clean), 0);
}

static void test_several_repositories(void **state)
{
    CB_CLEANUP(run_free) run first = run_shell("", "backup x --repo /bad --repo /good", "");
    CB_CLEANUP(run_free)
    run json = run_shell("", "backup x --repo /good --repo /bad --json -q", "");

    (void)state;
    assert_int_equal(first.status, 1);
    kit_assert_has(&first.errors, "1 of 2 repositories were not written: /bad: no access to it\n");
    kit_assert_has(&first.out, "restore --repo /good prod@"); /* where the backup is */
    kit_assert_has(&json.out, "\"places\":[{\"address\":\"/good\",\"label\":\"20261121-022035\",");
    kit_assert_has(&json.out, "\"error\":{\"code\":\"denied\",\"message\":\"no access to it\"");
}

static void test_keys_and_sync(void **state)
{
    CB_CLEANUP(run_free)
    run add = run_shell("FAKE_TRACE=1 CANVASBACK_NEW_PASSPHRASE=secret",
                        "repo key add --label second -q", "");
    CB_CLEANUP(run_free)
    run file = run_shell("FAKE_TRACE=1 CANVASBACK_NEW_PASSPHRASE=secret",
                         "repo key change --new-passphrase-file /f -q", "");
    CB_CLEANUP(run_free) run host = run_shell("FAKE_TRACE=1", "repo key add --write-only k -q", "");
    CB_CLEANUP(run_free)
    run sync = run_shell("FAKE_TRACE=1", "repo sync /a /b prod@2026 app -q", "");
    CB_CLEANUP(run_free) run meant = run_shell("", "repo snyc a b", "");

    (void)state;
    kit_assert_has(&add.errors, "key add id - label second file - new - secret\n");
    kit_assert_has(&file.errors, "key change id - label - file - new /f -\n");
    kit_assert_has(&host.errors, "key add id - label - file k new - - write-only\n");
    kit_assert_has(&sync.errors, "sync /a to /b, 2: prod@2026\n");
    kit_assert_has(&meant.errors, "Did you mean 'repo sync'?");
}

/* Secrets are taken from the environment alone, and the closest way to give one wins. */
static void test_passphrases(void **state)
{
    CB_CLEANUP(run_free) run given = run_shell("FAKE_ASK=1 CANVASBACK_PASSPHRASE=x", "list -q", "");
    CB_CLEANUP(run_free)
    run file =
        run_shell("FAKE_ASK=1 CANVASBACK_PASSPHRASE=x", "list -q --key-file /k", "< /dev/null");
    CB_CLEANUP(run_free) run flag = run_shell("", "list --passphrase=hunter2", "");

    (void)state;
    kit_assert_has(&given.errors, "given 'x'\n");
    kit_assert_lacks(&file.errors, "given");
    kit_assert_has(&flag.errors, "CANVASBACK_PASSPHRASE");
    kit_assert_lacks(&flag.errors, "hunter2");
}

/* One signal cancels the verb, a second one ends the program. */
static void test_signals(void **state)
{
    CB_CLEANUP(run_free) run once = run_shell("", "", "");
    char script[512];
    const char *argv[] = {"sh", "-c", script, NULL};
    cb_error err = {0};

    (void)state;
    for (unsigned signals = 1; signals <= 2; signals++) {
        snprintf(script, sizeof(script),
                 "FAKE_WAIT=%u '%s' list -q & sleep 0.3; kill -TERM $!; sleep 0.2; %s wait $!",
                 signals, program, signals == 2 ? "kill -TERM $!;" : "");
        once.out.size = once.errors.size = 0;
        assert_int_equal(
            cb_spawn(argv, cb_bytes_of(NULL, 0), &once.out, &once.errors, &once.status, &err),
            CB_OK);
        assert_int_equal(once.status, signals == 1 ? 1 : 128 + SIGTERM);
        if (signals == 1)
            kit_assert_has(&once.errors, "cancelled");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_unwritable_output),
        cmocka_unit_test(test_time_is_echoed),
        cmocka_unit_test(test_hostile_names_are_tamed),
        cmocka_unit_test(test_paste_says_what_flags_said),
        cmocka_unit_test(test_expire_by_sections),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_hooks_get_the_result),
        cmocka_unit_test(test_hooks_that_fail),
        cmocka_unit_test(test_hooks_of_a_file),
        cmocka_unit_test(test_after_runs_when_cancelled),
        cmocka_unit_test(test_last_runs),
        cmocka_unit_test(test_several_repositories),
        cmocka_unit_test(test_keys_and_sync),
        cmocka_unit_test(test_passphrases),
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
