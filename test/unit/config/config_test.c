#include "config_kit.h"

/* Each layer overwrites the one below, and the value knows where it came from. */
static void test_precedence(void **state)
{
    static const struct {
        const char *line;
        const char *variable;
        int64_t seconds;
        cb_origin origin;
        const char *from;
    } samples[] = {
        {"backup other --config %s", NULL, 20, CB_FROM_FILE, "lock-wait from %s line 1"},
        {"backup prod.db --config %s", NULL, 30, CB_FROM_SECTION, "lock-wait from %s line 3"},
        {"backup prod.db --config %s", "CANVASBACK_LOCK_WAIT=40", 40, CB_FROM_ENVIRONMENT,
         "lock-wait from CANVASBACK_LOCK_WAIT"},
        {"backup prod.db --lock-wait 50 --config %s", "CANVASBACK_LOCK_WAIT=40", 50, CB_FROM_FLAG,
         "--lock-wait"},
        {"backup prod.db --config %s", "CANVASBACK_LOCK_WAIT=", 30, CB_FROM_SECTION,
         "lock-wait from %s line 3"},
    };
    const char *environment[] = {"HOME=/nonexistent", NULL, NULL};
    char path[64];

    (void)state;
    kit_file(path, "lock_wait = 20\n[prod]\nlock-wait = 30\n[other.x]\nlock-wait = 99\n");
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        char line[256];
        char from[CB_ORIGIN_TEXT_MAX];
        char expected[256];
        cb_config *config;

        snprintf(line, sizeof(line), "%.*s%s", (int)(strlen(samples[i].line) - 2), samples[i].line,
                 path);
        environment[1] = samples[i].variable;
        config = kit_config(line, environment);
        assert_int_equal(config->values[CB_OPT_LOCK_WAIT].number, samples[i].seconds * 1000000);
        assert_int_equal(config->values[CB_OPT_LOCK_WAIT].origin, samples[i].origin);
        if (strncmp(samples[i].from, "lock-wait from %s", 17) == 0)
            snprintf(expected, sizeof(expected), "lock-wait from %s%s", path, samples[i].from + 17);
        else
            snprintf(expected, sizeof(expected), "%s", samples[i].from);
        assert_string_equal(cb_config_origin(config, CB_OPT_LOCK_WAIT, from), expected);
        cb_config_free(config);
    }
    unlink(path);
}

static void test_defaults(void **state)
{
    static const char *const environment[] = {"HOME=/home/ann", "XDG_CONFIG_HOME=/nonexistent",
                                              NULL};
    cb_config *config = kit_config("list", environment);

    (void)state;
    assert_string_equal(config->values[CB_OPT_REPO].text, "/home/ann/.local/share/canvasback/repo");
    assert_int_equal(config->values[CB_OPT_LOCK_WAIT].number, 300000000);
    assert_int_equal(config->values[CB_OPT_LOCK_WAIT].origin, CB_FROM_DEFAULT);
    assert_int_equal(config->values[CB_OPT_JOBS].origin, CB_FROM_NOWHERE);
    assert_null(config->values[CB_OPT_ENDPOINT].text);
    cb_config_free(config);
}

static void test_subjects(void **state)
{
    static const struct {
        const char *text;
        const char *name;
    } sources[] = {
        {"prod.duckdb", "prod"},
        {"/a/b/prod.v2.duckdb", "prod.v2"},
        {"sqlite:/x/app.db", "app"},
        {"dir:/etc/app/", "app"},
        {"duckdb:x", "x"},
        {"file:///a/b.db", "b"},
        {"/a/.hidden", ""},
        {"/", ""},
        {"", ""},
        {"a b.duckdb", ""},
        {"ducklake:/x/meta.ducklake", "meta"},
        {"ducklake:sqlite:meta.sqlite", "meta"},
        {"ducklake:duckdb:/y/meta.db", "meta"},
        {"ducklake:postgres:dbname=lake host=db1", "lake"},
        {"ducklake:postgres:host=/a/b dbname = 'la\\'ke' user=x", ""},
        {"ducklake:postgres:host=/a/b dbname = 'lake2' user=x", "lake2"},
        {"ducklake:postgres:dbname=a dbname=b", "b"},
        {"ducklake:postgres:host=db1", ""},
        {"ducklake:postgres:", ""},
        {"ducklake:postgres:dbname", ""},
        {"ducklake:postgres:dbname=", ""},
        {"ducklake:postgres:dbname='never closed", ""},
        {"ducklake:postgresql:xdbname=a", ""},
        {"ducklake:postgres://me@db1:5432/lake?sslmode=require", "lake"},
        {"ducklake:postgres:postgresql://db1/lake", "lake"},
        {"ducklake:postgresql://db1", ""},
    };
    static const struct {
        const char *text;
        const char *name;
    } backups[] = {{"prod", "prod"}, {"prod@2026", "prod"}, {"prod@", "prod"},
                   {"./prod", ""},   {"s3:x", ""},          {"@x", ""}};
    char name[CB_NAME_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(sources); i++) {
        assert_int_equal(cb_subject_of_source(sources[i].text, name), sources[i].name[0] != '\0');
        assert_string_equal(name, sources[i].name);
    }
    for (size_t i = 0; i < CB_LENGTH(backups); i++) {
        assert_int_equal(cb_subject_of_backup(backups[i].text, name), backups[i].name[0] != '\0');
        assert_string_equal(name, backups[i].name);
    }
}

static void test_passwords(void **state)
{
    static const char *const with[] = {
        "ducklake:postgres:dbname=lake password=hunter2",
        "ducklake:postgres:password = 'hunter 2'",
        "postgres:sslpassword=x",
        "ducklake:postgres://me:hunter2@db1/lake",
        "postgresql://db1/lake?password=x",
        "ducklake:postgres:passfile=/x password=y",
    };
    static const char *const without[] = {
        "ducklake:postgres:dbname=lake host=db1 passfile=/x",
        "ducklake:postgres://me@db1:5432/lake",
        "s3c://bucket/a:b@c?endpoint=http://127.0.0.1:9000",
        "/srv/password.duckdb",
        "password",
        "",
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(with); i++)
        assert_true(cb_has_password(with[i]));
    for (size_t i = 0; i < CB_LENGTH(without); i++)
        assert_false(cb_has_password(without[i]));
}

/* The section that counts is that of the name, wherever the name comes from. */
static void test_section_of_the_subject(void **state)
{
    static const char *const lines[] = {"backup /x/prod.duckdb",
                                        "backup /x/y.duckdb --name prod",
                                        "restore prod@2026 /y",
                                        "list prod",
                                        "verify prod",
                                        "expire prod",
                                        "check prod.duckdb",
                                        "copy ./prod.duckdb /y",
                                        "copy prod@2026 /y",
                                        "schedule prod.duckdb",
                                        "backup ducklake:postgres:dbname=prod",
                                        "lake status ducklake:sqlite:/x/prod.sqlite",
                                        "lake status ducklake:x --name prod",
                                        "lake undump x.sql ducklake:prod.ducklake",
                                        "lake rollback prod ducklake:y"};
    static const char *const others[] = {"backup /x/production.duckdb", "list", "verify", "init",
                                         "backup /x/prod.duckdb --name other"};
    char path[64];
    char line[256];

    (void)state;
    kit_file(path, "[prod]\njobs = 7\n");
    for (size_t i = 0; i < CB_LENGTH(lines) + CB_LENGTH(others); i++) {
        bool is_prod = i < CB_LENGTH(lines);
        cb_config *config;

        snprintf(line, sizeof(line), "%s --config %s",
                 is_prod ? lines[i] : others[i - CB_LENGTH(lines)], path);
        config = kit_config(line, NULL);
        assert_int_equal(config->values[CB_OPT_JOBS].number, is_prod ? 7 : 0);
        cb_config_free(config);
    }
    unlink(path);
}

static void assert_file_refused(const char *text, const char *message, const char *hint)
{
    cb_config *config;
    cb_error err;
    char path[64];
    char line[128];

    kit_file(path, text);
    snprintf(line, sizeof(line), "list --config %s", path);
    if (kit_read(line, NULL, &config, &err) == CB_OK)
        fail_msg("'%s' is taken", text);
    unlink(path);
    assert_int_equal(err.code, CB_USAGE);
    if (!strstr(err.message, path) || !strstr(err.message, message) || !strstr(err.hint, hint))
        fail_msg("'%s': '%s', hint '%s'", text, err.message, err.hint);
}

static void test_wrong_files(void **state)
{
    cb_config *config;
    cb_error err;

    (void)state;
    assert_file_refused("jobs = 2\nkeep-dayly = 3\n", "line 2: there is no setting 'keep-dayly'",
                        "keep-daily");
    assert_file_refused("[unused]\nnonsense = 3\n", "line 2", "config-example");
    assert_file_refused("[unused]\njobs = many\n", "line 2: 'many'", "help --jobs");
    assert_file_refused("force = true\n", "line 1: 'force' is for one run", "--force");
    assert_file_refused("jobs = 2\njobs = 3\n", "line 2: 'jobs' was set in line 1", "");
    assert_file_refused("lock-wait = 2\nlock_wait = 3\n", "line 2", "");
    assert_file_refused("config = /x\n", "line 1", "");
    assert_file_refused("what\n", "line 1", "");
    assert_int_equal(kit_read("list --config /nonexistent/x.ini", NULL, &config, &err), CB_USAGE);
    assert_int_equal(kit_read("list --config /", NULL, &config, &err), CB_USAGE);
    assert_file_refused("access-key-id =\n", "line 1: the value is empty", "");
}

static void test_wrong_variables(void **state)
{
    static const struct {
        const char *variable;
        const char *message;
        const char *hint;
    } samples[] = {
        {"CANVASBACK_JOSB=3", "CANVASBACK_JOSB", "CANVASBACK_JOBS"},
        {"CANVASBACK_JOBS=many", "jobs from CANVASBACK_JOBS: 'many'", "help --jobs"},
        {"CANVASBACK_KEEP_DAILY=-1", "from CANVASBACK_KEEP_DAILY", ""},
        {"CANVASBACK_FORCE=1", "CANVASBACK_FORCE", "--force"},
        {"CANVASBACK_NO_JSON=1", "CANVASBACK_NO_JSON", ""},
        {"CANVASBACK_jobs=1", "CANVASBACK_jobs", ""},
        {"CANVASBACK_=1", "CANVASBACK_", ""},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        const char *environment[] = {"HOME=/nonexistent", samples[i].variable, NULL};
        cb_config *config;
        cb_error err;

        if (kit_read("list", environment, &config, &err) != CB_USAGE)
            fail_msg("'%s' is taken", samples[i].variable);
        if (!strstr(err.message, samples[i].message) || !strstr(err.hint, samples[i].hint))
            fail_msg("'%s': '%s', hint '%s'", samples[i].variable, err.message, err.hint);
    }
}

/* A hook's own variable, and those of other programs, are none of our business. */
static void test_other_variables(void **state)
{
    static const char *const environment[] = {"HOME=/nonexistent", "CANVASBACK_RESULT=ok",
                                              "CANVASBACKS=3", "canvasback_jobs=x", NULL};

    (void)state;
    cb_config_free(kit_config("list", environment));
}

static void test_usual_files(void **state)
{
    char folder[] = "/tmp/canvasback-home-XXXXXX";
    char path[128];
    char home[128];
    const char *environment[] = {home, NULL};
    cb_config *config;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(home, sizeof(home), "XDG_CONFIG_HOME=%s", folder);
    snprintf(path, sizeof(path), "%s/canvasback", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/canvasback/canvasback.ini", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("repo = ~/backups\npassphrase-file = ~x/y\n", file);
    fclose(file);
    config = kit_config("list", environment);
    assert_string_equal(config->file, path);
    /* HOME is unset: the user's home folder by the system's list. */
    assert_non_null(config->home);
    assert_int_equal(strncmp(config->values[CB_OPT_REPO].text, config->home, strlen(config->home)),
                     0);
    assert_string_equal(config->values[CB_OPT_PASSPHRASE_FILE].text, "~x/y");
    cb_config_free(config);
    unlink(path);
    snprintf(path, sizeof(path), "%s/canvasback", folder);
    rmdir(path);
    rmdir(folder);
}

static void test_tags_add_up(void **state)
{
    char path[64];
    char line[256];
    cb_config *config;

    (void)state;
    kit_file(path, "tag = a=1\ntag = b=1\n[prod]\ntag = b=2\n");
    snprintf(line, sizeof(line), "backup prod.db --tag c=3 --tag a=4 --config %s", path);
    config = kit_config(line, NULL);
    assert_int_equal(config->tag_count, 3);
    assert_string_equal(config->tags[0].key, "a");
    assert_string_equal(config->tags[0].value, "4");
    assert_string_equal(config->tags[1].value, "2");
    assert_string_equal(config->tags[2].value, "3");
    /* Put together anew, nothing stays of the section. */
    cb_error err = {0};
    assert_int_equal(cb_config_resolve(config, NULL, &err), CB_OK);
    assert_int_equal(config->tag_count, 3);
    assert_string_equal(config->tags[1].value, "1");
    cb_config_free(config);
    unlink(path);
}

/* A stronger layer replaces the repositories of the weaker ones, it does not add to them. */
static void test_repositories(void **state)
{
    static const char *const environment[] = {"CANVASBACK_REPO=/e", NULL};
    cb_config *config;
    cb_error err;
    char path[64];
    char line[256];

    (void)state;
    kit_file(path, "repo = /a\nrepo = /b\n[prod]\nrepo = /c\n");
    snprintf(line, sizeof(line), "backup app.db --config %s", path);
    config = kit_config(line, NULL);
    assert_int_equal(config->repo_count, 2);
    assert_string_equal(config->repos[1], "/b");
    assert_string_equal(config->values[CB_OPT_REPO].text, "/a");
    cb_config_free(config);
    config = kit_config(line, environment);
    assert_int_equal(config->repo_count, 1);
    assert_string_equal(config->repos[0], "/e");
    cb_config_free(config);
    snprintf(line, sizeof(line), "backup prod.db --config %s", path);
    config = kit_config(line, NULL);
    assert_int_equal(config->repo_count, 1);
    assert_string_equal(config->values[CB_OPT_REPO].text, "/c");
    cb_config_free(config);
    snprintf(line, sizeof(line), "backup prod.db --repo /x --repo /y --repo /z --config %s", path);
    config = kit_config(line, environment);
    assert_int_equal(config->repo_count, 3);
    assert_string_equal(config->repos[2], "/z");
    assert_string_equal(config->values[CB_OPT_REPO].text, "/x");
    cb_config_free(config);
    assert_int_equal(kit_read("verify --repo /x --repo /y", NULL, &config, &err), CB_USAGE);
    unlink(path);
}

/* Secrets stand in the environment and nowhere else, and no message shows them. */
static void test_secrets(void **state)
{
    static const char *const environment[] = {"CANVASBACK_PASSPHRASE=hunter2", NULL};
    cb_config *config = kit_config("list", environment);
    cb_error err;
    char path[64];
    char line[128];

    (void)state;
    assert_string_equal(config->values[CB_OPT_PASSPHRASE].text, "hunter2");
    cb_config_free(config);
    kit_file(path, "passphrase = hunter2\n");
    snprintf(line, sizeof(line), "list --config %s", path);
    assert_int_equal(kit_read(line, NULL, &config, &err), CB_USAGE);
    assert_null(strstr(err.message, "hunter2"));
    assert_non_null(strstr(err.hint, "passphrase-file"));
    unlink(path);
    assert_int_equal(kit_read("list --passphrase hunter2", NULL, &config, &err), CB_USAGE);
    assert_null(strstr(err.message, "hunter2"));
    assert_int_equal(kit_read("list --passphras=hunter2", NULL, &config, &err), CB_USAGE);
    assert_null(strstr(err.message, "hunter2"));
    assert_null(strstr(err.hint, "Did you mean"));
}

static void test_sections_with_rules(void **state)
{
    char path[64];
    char line[256];
    cb_config *config;

    (void)state;
    kit_file(path, "keep-daily = 3\n[prod]\njobs = 3\n");
    snprintf(line, sizeof(line), "expire --config %s", path);
    config = kit_config(line, NULL);
    assert_false(cb_config_has_sections_for(config, CB_COMMAND_EXPIRE));
    cb_config_free(config);
    unlink(path);
    kit_file(path, "[prod]\nkeep-daily = 3\n");
    snprintf(line, sizeof(line), "expire --config %s", path);
    config = kit_config(line, NULL);
    assert_true(cb_config_has_sections_for(config, CB_COMMAND_EXPIRE));
    cb_config_free(config);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_section_of_the_subject),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_wrong_variables),
        cmocka_unit_test(test_other_variables),
        cmocka_unit_test(test_usual_files),
        cmocka_unit_test(test_tags_add_up),
        cmocka_unit_test(test_sections_with_rules),
        cmocka_unit_test(test_repositories),
        cmocka_unit_test(test_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
