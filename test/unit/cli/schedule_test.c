#include "cli/schedule.h"

#include "cli/child.h"
#include "../../lib/leftover.h"
#include "cli_kit.h"

#include <signal.h>
#include <unistd.h>

static const char *const environment[] = {"HOME=/home/ann", "XDG_CONFIG_HOME=/nonexistent",
                                          "CANVASBACK_JOBS=2", "CANVASBACK_PASSPHRASE=hunter2",
                                          NULL};

typedef struct plan {
    cb_config *config;
    cb_schedule schedule;
} plan;

static void plan_free(plan *self)
{
    cb_schedule_free(&self->schedule);
    cb_config_free(self->config);
}

/* argv ends with NULL. */
static cb_code make(plan *self, const char *const *argv, cb_error *err)
{
    int argc = 0;
    cb_code code;

    while (argv[argc])
        argc++;
    *err = (cb_error){0};
    code = cb_config_read(argc, argv, environment, &self->config, err);
    return code == CB_OK ? cb_schedule_plan(self->config, "/opt/my app/canvasback", false,
                                            &self->schedule, err)
                         : code;
}

#define PLAN(name, ...)                                                                            \
    CB_CLEANUP(plan_free) plan name = {0};                                                         \
    do {                                                                                           \
        const char *const argv_[] = {"canvasback", "schedule", __VA_ARGS__, NULL};                 \
        cb_error err_;                                                                             \
        if (make(&name, argv_, &err_) != CB_OK)                                                    \
            fail_msg("%s", err_.message);                                                          \
    } while (0)

static void test_service(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    PLAN(p, "/data/my $db%.duckdb", "--name", "prod", "--daily", "02:05", "--keep-daily", "7",
         "--repo", "/mnt/re\"po\\x", "--tag", "a=b", "--log-file", "/log/x y%.log");
    assert_int_equal(cb_schedule_service(&p.schedule, &out, &err), CB_OK);
    assert_string_equal(
        kit_text(&out),
        "[Unit]\nDescription=Canvasback backup of prod\n\n[Service]\nType=oneshot\n"
        "ExecStart=\"/opt/my app/canvasback\" backup \"/data/my $$db%%.duckdb\" --name prod "
        "--no-create --repo \"/mnt/re\\\"po\\\\x\" --lock-wait 3600 --progress none --jobs 2 "
        "--tag a=b\n"
        "ExecStart=\"/opt/my app/canvasback\" expire prod --repo \"/mnt/re\\\"po\\\\x\" "
        "--lock-wait 3600 --progress none --jobs 2 --keep-daily 7\n"
        "StandardOutput=append:/log/x y%%.log\nStandardError=append:/log/x y%%.log\n");
    out.size = 0;
    assert_int_equal(cb_schedule_timer(&p.schedule, &out, &err), CB_OK);
    kit_assert_has(&out, "[Timer]\nOnCalendar=*-*-* 02:05:00\nPersistent=true\n");
    kit_assert_has(&out, "[Install]\nWantedBy=timers.target\n");
}

/* The paths of a lake are made absolute; a libpq string stays as it is. */
static void test_lakes(void **state)
{
    static const struct {
        const char *source, *word;
    } samples[] = {
        {"ducklake:/x/meta.ducklake", "backup ducklake:/x/meta.ducklake --name meta"},
        {"ducklake:sqlite:/x/meta.sqlite", "backup ducklake:sqlite:/x/meta.sqlite --name meta"},
        {"ducklake:postgres:dbname=lake host=db1",
         "backup \"ducklake:postgres:dbname=lake host=db1\" --name lake"},
    };
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    char folder[1024];
    char word[2400];
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        PLAN(p, samples[i].source, "--hourly", "--metadata-schema", "s", "--data", "reference");
        out.size = 0;
        assert_int_equal(cb_schedule_service(&p.schedule, &out, &err), CB_OK);
        kit_assert_has(&out, samples[i].word);
        kit_assert_has(&out, " --metadata-schema s --data reference\n");
    }
    assert_non_null(getcwd(folder, sizeof(folder)));
    PLAN(here, "ducklake:sqlite:meta.sqlite", "--hourly", "--data", "replica=copy", "--data-path",
         "files/");
    out.size = 0;
    assert_int_equal(cb_schedule_service(&here.schedule, &out, &err), CB_OK);
    snprintf(word, sizeof(word), "backup ducklake:sqlite:%s/meta.sqlite ", folder);
    kit_assert_has(&out, word);
    snprintf(word, sizeof(word), " --data-path %s/files/ --data replica=%s/copy\n", folder, folder);
    kit_assert_has(&out, word);
}

/* A unit file is read by others. */
static void test_passwords_are_refused(void **state)
{
    static const char *const sources[] = {
        "ducklake:postgres:dbname=lake password=hunter2",
        "ducklake:postgres://me:hunter2@db1/lake",
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(sources); i++) {
        const char *const argv[] = {"canvasback", "schedule", sources[i], "--hourly", NULL};
        CB_CLEANUP(plan_free) plan refused = {0};
        cb_error err = {0};

        assert_int_equal(make(&refused, argv, &err), CB_USAGE);
        assert_null(strstr(err.message, "hunter2"));
        assert_non_null(strstr(err.hint, "PGPASSFILE"));
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *option;
        const char *value;
        const char *timer; /* NULL: not tested */
        const char *cron;  /* NULL: it cannot say it */
    } samples[] = {
        {"--hourly", NULL, "OnCalendar=*-*-* *:00:00\n", "0 * * * * "},
        {"--daily", "0:07", "OnCalendar=*-*-* 00:07:00\n", "7 0 * * * "},
        {"--weekly", "mon 03:00", "OnCalendar=Mon *-*-* 03:00:00\n", "0 3 * * 1 "},
        {"--weekly", "Sunday 23:59", "OnCalendar=Sun *-*-* 23:59:00\n", "59 23 * * 0 "},
        {"--every", "1m", "OnCalendar=*-*-* *:00/1:00\n", "* * * * * "},
        {"--every", "15m", "OnCalendar=*-*-* *:00/15:00\n", "*/15 * * * * "},
        {"--every", "60m", "OnCalendar=*-*-* 00/1:00:00\n", "0 * * * * "},
        {"--every", "6h", "OnCalendar=*-*-* 00/6:00:00\n", "0 */6 * * * "},
        {"--every", "1d", "OnUnitActiveSec=1440min\n", "0 0 * * * "},
        {"--every", "7m", "OnUnitActiveSec=7min\n", NULL},
        {"--every", "90m", "OnUnitActiveSec=90min\n", NULL},
        {"--every", "2d", "OnUnitActiveSec=2880min\n", NULL},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};
        cb_error err = {0};

        PLAN(p, "/x.db", samples[i].option, samples[i].value);
        assert_int_equal(cb_schedule_timer(&p.schedule, &out, &err), CB_OK);
        kit_assert_has(&out, samples[i].timer);
        out.size = 0;
        assert_int_equal(cb_schedule_cron(&p.schedule, &out, &err),
                         samples[i].cron ? CB_OK : CB_USAGE);
        if (samples[i].cron)
            assert_int_equal(strncmp(kit_text(&out), samples[i].cron, strlen(samples[i].cron)), 0);
    }
}

/* What sh makes of the line, after cron has taken its own away. */
static void test_cron_runs_what_was_meant(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    CB_CLEANUP(cb_buf_free) cb_buf said = {0};
    CB_CLEANUP(cb_buf_free) cb_buf errors = {0};
    const char *argv[] = {"sh", "-c", NULL, NULL};
    char script[4096] = "canvasback() { printf '%s|' \"$@\"; }\nmkdir() { :; }\n";
    cb_error err = {0};
    size_t size = strlen(script);
    const char *command;
    int status;

    (void)state;
    PLAN(p, "/data/it's 100% $HOME `x`.duckdb", "--name", "prod", "--hourly", "--keep-last", "3",
         "--repo", "/r", "--before", "echo \"a; b\"", "--log-file", "/dev/../dev/stdout");
    /* A function stands for the program: its path has a blank, so a plain name is put there. */
    p.schedule.backup.items[0] = "canvasback";
    p.schedule.expires[0].items[0] = "canvasback";
    assert_int_equal(cb_schedule_cron(&p.schedule, &out, &err), CB_OK);
    kit_assert_has(&out, "100\\% ");
    command = kit_text(&out) + strlen("0 * * * * ");
    for (; *command; command++)
        if (*command != '\\' || command[1] != '%')
            script[size++] = *command;
    script[size] = '\0';
    argv[2] = script;
    assert_int_equal(cb_spawn(argv, cb_bytes_of(NULL, 0), &said, &errors, &status, &err), CB_OK);
    assert_string_equal(kit_text(&errors), "");
    assert_int_equal(status, 0);
    assert_string_equal(kit_text(&said),
                        "backup|/data/it's 100% $HOME `x`.duckdb|--name|prod|--no-create|--repo|/r|"
                        "--lock-wait|3600|--progress|none|--jobs|2|--before|echo \"a; b\"|"
                        "expire|prod|--repo|/r|--lock-wait|3600|--progress|none|--jobs|2|"
                        "--keep-last|3|");
}

/* One backup for all repositories, one expire for each; hooks around the backup alone. */
static void test_several_repositories(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    PLAN(p, "/x.db", "--hourly", "--keep-last", "3", "--repo", "/a", "--repo", "s3://b/c?region=r",
         "--after", "true", "--on-failure", "false", "--log-file", "/log/x");
    assert_int_equal(cb_schedule_service(&p.schedule, &out, &err), CB_OK);
    kit_assert_has(&out,
                   " backup /x.db --name x --no-create --repo /a --repo \"s3://b/c?region=r\" "
                   "--lock-wait 3600 --progress none --jobs 2 --after true --on-failure "
                   "false\n");
    kit_assert_has(&out, " expire x --repo /a --lock-wait 3600 --progress none --jobs 2 "
                         "--on-failure false --keep-last 3\n");
    kit_assert_has(&out, " expire x --repo \"s3://b/c?region=r\" --lock-wait 3600 ");
    kit_assert_lacks(&out, "hunter2"); /* of the environment: a secret is never written down */
}

static void test_launchd(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    PLAN(p, "/data/a&b <c>.duckdb", "--name", "prod", "--weekly", "sun 03:05", "--keep-last", "3");
    assert_int_equal(cb_schedule_launchd(&p.schedule, &out, &err), CB_OK);
    kit_assert_has(&out, "<string>canvasback.prod</string>");
    kit_assert_has(&out, "'/data/a&amp;b &lt;c&gt;.duckdb'");
    kit_assert_has(&out, " &amp;&amp; ");
    kit_assert_has(&out, "<key>Weekday</key>\n        <integer>0</integer>");
    kit_assert_has(&out, "<key>Minute</key>\n        <integer>5</integer>");
    kit_assert_has(&out, "/home/ann/.local/state/canvasback/prod.log");
}

static void test_plan(void **state)
{
    char folder[CB_PATH_MAX];
    char expected[CB_PATH_MAX + 64];

    (void)state;
    assert_non_null(getcwd(folder, sizeof(folder)));
    PLAN(p, "sqlite:./app.db", "--hourly", "--lock-wait", "60");
    snprintf(expected, sizeof(expected), "sqlite:%s/app.db", folder);
    assert_string_equal(p.schedule.backup.items[2], expected);
    assert_string_equal(p.schedule.name, "app");
    assert_int_equal(p.schedule.expire_count, 0); /* no rule, no expire */
}

static void assert_refused(const char *message, const char *const *argv)
{
    CB_CLEANUP(plan_free) plan p = {0};
    cb_error err;

    assert_int_equal(make(&p, argv, &err), CB_USAGE);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
}

static void test_refusals(void **state)
{
    static const char *const none[] = {"canvasback", "schedule", "/x.db", NULL};
    static const char *const two[] = {"canvasback", "schedule", "/x.db", "--hourly",
                                      "--daily",    "02:00",    NULL};
    static const char *const nobody[] = {"canvasback", "schedule", "--hourly", NULL};
    static const char *const unnamed[] = {"canvasback", "schedule", "/a b.db", "--hourly", NULL};
    static const char *const odd[] = {"canvasback", "schedule", "/x.db", "--every", "90", NULL};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};
    char longest[1200] = "/";

    (void)state;
    assert_refused("no time", none);
    assert_refused("more than one time", two);
    assert_refused("needs SOURCE", nobody);
    assert_refused("no name", unnamed);
    assert_refused("whole minutes", odd);
    PLAN(lines, "/x\ny", "--name", "x", "--hourly");
    assert_int_equal(cb_schedule_service(&lines.schedule, &out, &err), CB_USAGE);
    assert_int_equal(cb_schedule_cron(&lines.schedule, &out, &err), CB_USAGE);
    assert_int_equal(cb_schedule_launchd(&lines.schedule, &out, &err), CB_USAGE);
    memset(longest + 1, 'x', sizeof(longest) - 2);
    longest[sizeof(longest) - 1] = '\0';
    PLAN(too_long, longest, "--name", "x", "--hourly");
    assert_int_equal(cb_schedule_cron(&too_long.schedule, &out, &err), CB_USAGE);
    out.size = 0;
    assert_int_equal(cb_schedule_service(&too_long.schedule, &out, &err), CB_OK);
}

static void test_crontab_edit(void **state)
{
    static const char old[] = "# my own # canvasback prod\nMAILTO=x\n"
                              "1 1 * * * old # canvasback prod\n"
                              "2 2 * * * other # canvasback prod2\n"
                              "3 3 * * * echo canvasback prod";
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    CB_CLEANUP(cb_schedule_entries_free) cb_schedule_entries entries = {0};
    cb_error err = {0};
    size_t removed;

    (void)state;
    assert_int_equal(
        cb_crontab_edit(cb_bytes_of(old, sizeof(old) - 1), "prod", "new\n", &out, &removed, &err),
        CB_OK);
    assert_int_equal(removed, 1);
    assert_string_equal(kit_text(&out), "# my own # canvasback prod\nMAILTO=x\n"
                                        "2 2 * * * other # canvasback prod2\n"
                                        "3 3 * * * echo canvasback prod\nnew\n");
    assert_int_equal(cb_crontab_list(cb_bytes_of(old, sizeof(old) - 1), &entries, &err), CB_OK);
    assert_int_equal(entries.count, 2);
    assert_string_equal(entries.items[0].name, "prod");
    assert_string_equal(entries.items[0].when, "1 1 * * *");
    assert_string_equal(entries.items[1].name, "prod2");
    out.size = 0;
    assert_int_equal(cb_crontab_edit(cb_bytes_of("", 0), "prod", NULL, &out, &removed, &err),
                     CB_OK);
    assert_int_equal(out.size, 0);
}

/* ---- installing, with a crontab of our own ------------------------------------------------- */

/* A folder with a program "crontab" that keeps its table in a file beside it. */
static void make_crontab(char folder[64], const char *script)
{
    char path[128];
    FILE *file;

    snprintf(folder, 64, "/tmp/canvasback-cron-XXXXXX");
    assert_non_null(mkdtemp(folder));
    test_remove_at_exit(folder);
    snprintf(path, sizeof(path), "%s/crontab", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\ncd '%s'\n%s\n", folder, script);
    fclose(file);
    assert_int_equal(chmod(path, 0700), 0);
    snprintf(path, sizeof(path), "%s:/usr/bin:/bin", folder);
    setenv("PATH", path, 1);
}

static void remove_folder(const char *folder)
{
    cb_error err = {0};

    assert_int_equal(cb_tree_remove(folder, &err), CB_OK);
}

static void test_install_list_remove(void **state)
{
    cb_schedule_places places = {.has_crontab = true};
    CB_CLEANUP(cb_buf_free) cb_buf told = {0};
    CB_CLEANUP(cb_schedule_entries_free) cb_schedule_entries entries = {0};
    cb_error err = {0};
    char folder[64];
    char log[128];

    (void)state;
    make_crontab(folder, "case $1 in -l) cat table 2>/dev/null || { echo \"no crontab for x\" >&2; "
                         "exit 1; };; -) cat >table;; esac");
    snprintf(places.unit_folder, sizeof(places.unit_folder), "%s/units", folder);
    snprintf(places.agent_folder, sizeof(places.agent_folder), "%s/agents", folder);
    snprintf(log, sizeof(log), "%s/log/x.log", folder);
    PLAN(p, "/x.db", "--hourly", "--log-file", log);
    assert_int_equal(cb_schedule_install(&p.schedule, CB_SCHEDULE_CRON, &places, &told, &err),
                     CB_OK);
    assert_int_equal(cb_schedule_install(&p.schedule, CB_SCHEDULE_CRON, &places, &told, &err),
                     CB_OK);
    kit_assert_has(&told, "in place of the line that was there");
    assert_int_equal(cb_schedule_install(&p.schedule, CB_SCHEDULE_SYSTEMD, &places, &told, &err),
                     CB_OK);
    kit_assert_has(&told, "systemd does not run here");
    assert_int_equal(cb_schedule_install(&p.schedule, CB_SCHEDULE_LAUNCHD, &places, &told, &err),
                     CB_OK);
    snprintf(log, sizeof(log), "%s/log", folder);
    assert_true(cb_path_exists(log));

    assert_int_equal(cb_schedule_list(&places, &entries, &err), CB_OK);
    assert_int_equal(entries.count, 3); /* one of each: the second line took the first's place */
    assert_string_equal(entries.items[0].kind, "systemd");
    assert_string_equal(entries.items[0].when, "*-*-* *:00:00");
    assert_string_equal(entries.items[1].kind, "cron");
    assert_string_equal(entries.items[2].kind, "launchd");

    assert_int_equal(cb_schedule_remove("x", &places, &told, &err), CB_OK);
    cb_schedule_entries_free(&entries);
    assert_int_equal(cb_schedule_list(&places, &entries, &err), CB_OK);
    assert_int_equal(entries.count, 0);
    assert_int_equal(cb_schedule_remove("x", &places, &told, &err), CB_NOT_FOUND);
    remove_folder(folder);
}

/* A crontab that could not be read must never be replaced. */
static void test_unreadable_crontab_is_left_alone(void **state)
{
    const cb_schedule_places places = {.has_crontab = true};
    CB_CLEANUP(cb_buf_free) cb_buf told = {0};
    cb_error err = {0};
    char folder[64];
    char path[128];
    char log[128];

    (void)state;
    make_crontab(folder, "case $1 in -l) echo 'cannot reach the directory' >&2; exit 1;; "
                         "*) : >overwritten;; esac");
    snprintf(log, sizeof(log), "%s/x.log", folder);
    PLAN(p, "/x.db", "--hourly", "--log-file", log);
    assert_int_equal(cb_schedule_install(&p.schedule, CB_SCHEDULE_CRON, &places, &told, &err),
                     CB_IO);
    snprintf(path, sizeof(path), "%s/overwritten", folder);
    assert_false(cb_path_exists(path));
    remove_folder(folder);
}

static void test_spawn(void **state)
{
    static const char *const cat[] = {"cat", NULL};
    static const char *const deaf[] = {"sh", "-c", "exec <&-; sleep 0.1; echo $LC_ALL >&2; exit 7",
                                       NULL};
    static const char *const missing[] = {"/nonexistent/program", NULL};
    CB_CLEANUP(cb_buf_free) cb_buf big = {0};
    CB_CLEANUP(cb_buf_free) cb_buf output = {0};
    CB_CLEANUP(cb_buf_free) cb_buf errors = {0};
    cb_error err = {0};
    int status;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(cb_buf_reserve(&big, 1 << 20, &err), CB_OK);
    memset(big.data, 'x', 1 << 20); /* more than any pipe holds, both ways */
    big.size = 1 << 20;
    assert_int_equal(cb_spawn(cat, cb_buf_bytes(&big), &output, &errors, &status, &err), CB_OK);
    assert_int_equal(status, 0);
    assert_int_equal(output.size, 1 << 20);
    assert_int_equal(cb_spawn(deaf, cb_buf_bytes(&big), &output, &errors, &status, &err), CB_OK);
    assert_int_equal(status, 7);
    assert_string_equal(kit_text(&errors), "C\n");
    assert_int_equal(cb_spawn(missing, cb_bytes_of(NULL, 0), &output, &errors, &status, &err),
                     CB_NOT_FOUND);
    assert_true(cb_program_exists("sh"));
    assert_false(cb_program_exists("no-such-program-here"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lakes),
        cmocka_unit_test(test_passwords_are_refused),
        cmocka_unit_test(test_service),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_cron_runs_what_was_meant),
        cmocka_unit_test(test_several_repositories),
        cmocka_unit_test(test_launchd),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_crontab_edit),
        cmocka_unit_test(test_install_list_remove),
        cmocka_unit_test(test_unreadable_crontab_is_left_alone),
        cmocka_unit_test(test_spawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
