#include "config/request.h"
#include "config_kit.h"

static void test_backup(void **state)
{
    cb_config *config = kit_config("backup /x/prod.duckdb --name p --adopt-name --tag a=b --full "
                                   "--method cp --compress zstd:-3 --no-create --skip-if-busy "
                                   "--deadline 2m --allow-damage --source-snapshot /snap "
                                   "--before true --after false",
                                   NULL);
    cb_backup_request request;
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_backup_request_fill(config, &request, &err), CB_OK);
    assert_string_equal(request.source, "/x/prod.duckdb");
    assert_string_equal(request.name, "p");
    assert_true(request.adopt_name && request.full && request.no_create && request.skip_if_busy &&
                request.allow_damage);
    assert_int_equal(request.tag_count, 1);
    assert_int_equal(request.method, CB_METHOD_HOT);
    assert_int_equal(request.compress, CB_COMPRESS_ZSTD);
    assert_int_equal(request.compress_level, -3);
    assert_int_equal(request.deadline_us, 120000000);
    assert_string_equal(request.source_snapshot, "/snap");
    assert_null(request.before); /* the door runs it */
    cb_config_free(config);

    config = kit_config("backup x", NULL);
    assert_int_equal(cb_backup_request_fill(config, &request, &err), CB_OK);
    assert_null(request.name);
    assert_int_equal(request.method, CB_METHOD_AUTO);
    assert_int_equal(request.compress, CB_COMPRESS_DEFAULT);
    assert_int_equal(request.compress_level, 0);
    assert_int_equal(request.deadline_us, 600000000);
    assert_false(request.full || request.no_create || request.allow_damage);
    cb_config_free(config);
}

static void test_settings(void **state)
{
    cb_config *config =
        kit_config("list --repo /r --jobs 3 --lock-wait 9 --passphrase-file /p --endpoint http://e "
                   "--region r --access-key-id k --s3-path-style --duckdb-library /l "
                   "--extension-directory /e",
                   NULL);
    cb_settings settings = {.program_directory = "kept"};

    (void)state;
    cb_settings_fill(config, &settings);
    assert_string_equal(settings.repository, "/r");
    assert_int_equal(settings.jobs, 3);
    assert_int_equal(settings.lock_wait_us, 9000000);
    assert_string_equal(settings.passphrase_file, "/p");
    assert_string_equal(settings.endpoint, "http://e");
    assert_string_equal(settings.region, "r");
    assert_string_equal(settings.access_key_id, "k");
    assert_true(settings.s3_path_style);
    assert_string_equal(settings.duckdb_library, "/l");
    assert_string_equal(settings.extension_directory, "/e");
    assert_string_equal(settings.program_directory, "kept");
    cb_config_free(config);
}

static void test_settings_of_stores(void **state)
{
    cb_config *config = kit_config("backup x --repo /a --repo s3://b/c --limit-upload 5MiB "
                                   "--limit-download 1000kB --lock-for 30d --cache-dir /cache",
                                   NULL);
    cb_settings settings = {0};

    (void)state;
    cb_settings_fill(config, &settings);
    assert_string_equal(settings.repository, "/a");
    assert_int_equal(settings.more_repository_count, 1);
    assert_string_equal(settings.more_repositories[0], "s3://b/c");
    assert_int_equal(settings.limit_upload, 5 << 20);
    assert_int_equal(settings.limit_download, 1000000);
    assert_int_equal(settings.lock_for_us, INT64_C(30) * 86400 * 1000000);
    assert_string_equal(settings.cache_directory, "/cache");
    cb_config_free(config);
}

/* The way to the key that was given closest to the run is the one; weaker layers do not count. */
static void test_keys(void **state)
{
    static const struct {
        const char *line, *file;
        const char *const environment[3];
        const char *key_file, *passphrase_file, *command, *passphrase;
    } samples[] = {
        {"list", "key-file = /k\n", {NULL}, "/k", NULL, NULL, NULL},
        {"list --passphrase-file /p", "key-file = /k\n", {NULL}, NULL, "/p", NULL, NULL},
        {"list", "passphrase-file = /p\n", {"CANVASBACK_PASSPHRASE=x"}, NULL, NULL, NULL, "x"},
        {"list --passphrase-command c", "", {"CANVASBACK_PASSPHRASE=x"}, NULL, NULL, "c", NULL},
        {"list --key-file /k --passphrase-file /p", "", {NULL}, "/k", "/p", NULL, NULL},
        {"list", "", {NULL}, NULL, NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(samples); i++) {
        cb_settings settings = {0};
        cb_config *config;
        char path[64];
        char line[256];

        kit_file(path, samples[i].file);
        snprintf(line, sizeof(line), "%s --config %s", samples[i].line, path);
        config = kit_config(line, samples[i].environment);
        cb_settings_fill(config, &settings);
#define SAME(field, expected)                                                                      \
    assert_string_equal(settings.field ? settings.field : "", expected ? expected : "")
        SAME(key_file, samples[i].key_file);
        SAME(passphrase_file, samples[i].passphrase_file);
        SAME(passphrase_command, samples[i].command);
        SAME(passphrase, samples[i].passphrase);
#undef SAME
        cb_config_free(config);
        unlink(path);
    }
}

static void test_hooks(void **state)
{
    static const char *const nested[] = {"CANVASBACK_HOOK=after", "CANVASBACK_BEFORE=b",
                                         "CANVASBACK_ON_FAILURE=f", NULL};
    cb_config *config = kit_config("backup x --after a", nested + 1);
    cb_hooks hooks;

    (void)state;
    cb_hooks_fill(config, &hooks);
    assert_string_equal(hooks.before, "b");
    assert_string_equal(hooks.after, "a");
    assert_string_equal(hooks.on_failure, "f");
    cb_config_free(config);
    config = kit_config("backup x --after a", nested);
    cb_hooks_fill(config, &hooks);
    assert_null(hooks.before);
    assert_string_equal(hooks.after, "a");
    assert_null(hooks.on_failure);
    cb_config_free(config);
    config = kit_config("verify --after a", nested + 1);
    cb_hooks_fill(config, &hooks);
    assert_null(hooks.before);
    assert_string_equal(hooks.after, "a");
    assert_string_equal(hooks.on_failure, "f");
    cb_config_free(config);
    config = kit_config("list", nested + 1);
    cb_hooks_fill(config, &hooks);
    assert_null(hooks.on_failure);
    cb_config_free(config);
}

static void test_verify(void **state)
{
    cb_config *config =
        kit_config("verify prod --percent 2.5% --max-bytes 1GiB --deep --schedule", NULL);
    cb_verify_request request;
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_verify_request_fill(config, &request, &err), CB_OK);
    assert_string_equal(request.backup, "prod");
    assert_true(request.percent > 2.4999 && request.percent < 2.5001);
    assert_int_equal(request.max_bytes, 1 << 30);
    assert_true(request.deep && request.schedule);
    cb_config_free(config);
    config = kit_config("verify prod@2026 --deep --schedule", NULL);
    assert_int_equal(cb_verify_request_fill(config, &request, &err), CB_USAGE);
    cb_config_free(config);
}

static cb_code fill_restore(const char *line, cb_restore_request *request)
{
    static cb_config *config; /* the request borrows from it until the next call */
    cb_error err = {0};

    cb_config_free(config);
    config = NULL;
    if (!line)
        return CB_OK;
    config = kit_config(line, NULL);
    return cb_restore_request_fill(config, request, &err);
}

static void test_restore(void **state)
{
    cb_restore_request request;

    (void)state;
    assert_int_equal(fill_restore("restore prod /x --time 1970-01-01T00:00:01Z --delta --delete "
                                  "--no-verify --mend",
                                  &request),
                     CB_OK);
    assert_true(request.has_time && request.delta && request.delete_extra && request.no_verify &&
                request.mend && !request.force);
    assert_int_equal(request.time_us, 1000000);
    assert_string_equal(request.target, "/x");
    /* The first instant of all is a time too. */
    assert_int_equal(fill_restore("restore prod --time 1970-01-01T00:00:00Z", &request), CB_OK);
    assert_true(request.has_time);
    assert_null(request.target);
    assert_int_equal(fill_restore("restore prod@2026", &request), CB_OK);
    assert_false(request.has_time);
    assert_int_equal(fill_restore("restore prod@2026 --time 2026-01-01", &request), CB_USAGE);
    assert_int_equal(fill_restore("restore a:b@c --time 2026-01-01", &request), CB_OK);
    assert_int_equal(fill_restore("restore prod /x --delete", &request), CB_USAGE);
    cb_ignore(fill_restore(NULL, &request)); /* only gives the last one back */
}

static void test_expire(void **state)
{
    cb_config *config = kit_config("expire prod --keep-last 1 --keep-hourly 2 --keep-daily 3 "
                                   "--keep-weekly 4 --keep-monthly 5 --keep-yearly 6 "
                                   "--keep-within 7s --dry-run",
                                   NULL);
    cb_expire_request request;
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_expire_request_fill(config, &request, &err), CB_OK);
    assert_string_equal(request.name, "prod");
    assert_int_equal(request.keep_last, 1);
    assert_int_equal(request.keep_hourly, 2);
    assert_int_equal(request.keep_daily, 3);
    assert_int_equal(request.keep_weekly, 4);
    assert_int_equal(request.keep_monthly, 5);
    assert_int_equal(request.keep_yearly, 6);
    assert_int_equal(request.keep_within_us, 7000000);
    assert_true(request.dry_run);
    cb_config_free(config);

    /* No rule, or none that keeps anything: everything would go. */
    config = kit_config("expire prod --keep-last 0 --dry-run", NULL);
    assert_int_equal(cb_expire_request_fill(config, &request, &err), CB_USAGE);
    assert_non_null(strstr(err.hint, "--keep-daily 7 --keep-weekly 4"));
    cb_config_free(config);
}

static void test_copy(void **state)
{
    cb_config *config = kit_config("copy a b/ --timestamp --utc --keep 3 --force --keep-log "
                                   "--method attach --deadline 5 --allow-damage",
                                   NULL);
    cb_copy_request request;
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_copy_request_fill(config, &request, &err), CB_OK);
    assert_string_equal(request.source, "a");
    assert_string_equal(request.target, "b/");
    assert_true(request.timestamp && request.utc && request.force && request.keep_log &&
                request.allow_damage);
    assert_int_equal(request.keep, 3);
    assert_int_equal(request.method, CB_METHOD_ATTACH);
    assert_int_equal(request.deadline_us, 5000000);
    cb_config_free(config);
    config = kit_config("copy a b --keep 3", NULL);
    assert_int_equal(cb_copy_request_fill(config, &request, &err), CB_USAGE);
    cb_config_free(config);
}

/* ---- lakes -------------------------------------------------------------------------------- */

static cb_code fill(const char *line, cb_error *err)
{
    cb_config *config = kit_config(line, NULL);
    union {
        cb_backup_request backup;
        cb_restore_request restore;
        cb_verify_request verify;
    } request;
    cb_code code;

    *err = (cb_error){0};
    if (config->line.command == CB_COMMAND_BACKUP)
        code = cb_backup_request_fill(config, &request.backup, err);
    else if (config->line.command == CB_COMMAND_RESTORE)
        code = cb_restore_request_fill(config, &request.restore, err);
    else
        code = cb_verify_request_fill(config, &request.verify, err);
    cb_config_free(config);
    return code;
}

static void test_lakes(void **state)
{
    cb_config *config = kit_config("backup ducklake:m.ducklake --metadata-schema s --data-path /d "
                                   "--data replica=s3://other/x --allow-unencrypted-keys",
                                   NULL);
    cb_backup_request backup;
    cb_restore_request restore;
    cb_verify_request verify;
    cb_error err = {0};

    (void)state;
    assert_int_equal(cb_backup_request_fill(config, &backup, &err), CB_OK);
    assert_string_equal(backup.lake.metadata_schema, "s");
    assert_string_equal(backup.lake.data_path, "/d");
    assert_int_equal(backup.lake.data, CB_LAKE_DATA_REPLICA);
    assert_string_equal(backup.lake.replica, "s3://other/x");
    assert_true(backup.lake.allow_keys);
    assert_false(backup.lake.has_snapshot);
    cb_config_free(config);

    config = kit_config("backup ducklake:m.ducklake --data reference", NULL);
    assert_int_equal(cb_backup_request_fill(config, &backup, &err), CB_OK);
    assert_int_equal(backup.lake.data, CB_LAKE_DATA_REFERENCE);
    assert_null(backup.lake.replica);
    cb_config_free(config);

    config = kit_config("restore lake ducklake:x --snapshot 0 --tables a,main.b --tables c", NULL);
    assert_int_equal(cb_restore_request_fill(config, &restore, &err), CB_OK);
    assert_true(restore.lake.has_snapshot);
    assert_int_equal(restore.lake.snapshot, 0);
    assert_int_equal(restore.lake.data, CB_LAKE_DATA_COPY);
    assert_int_equal(restore.lake.table_count, 3);
    assert_string_equal(restore.lake.tables[1], "main.b");
    assert_string_equal(restore.lake.tables[2], "c");
    cb_config_free(config);

    config = kit_config("verify lake --deep --all-snapshots", NULL);
    assert_int_equal(cb_verify_request_fill(config, &verify, &err), CB_OK);
    assert_true(verify.lake.all_snapshots);
    cb_config_free(config);
}

static void test_options_of_a_lake_alone(void **state)
{
    static const char *const refused[] = {
        "backup prod.duckdb --data reference",
        "backup dir:/x --metadata-schema s",
        "backup sqlite:x --data-path /d",
        "backup x --allow-unencrypted-keys",
        "restore lake ducklake:x --snapshot 3 --time 2026-11-21",
        "verify lake --all-snapshots",
    };
    cb_error err;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(refused); i++)
        if (fill(refused[i], &err) != CB_USAGE)
            fail_msg("'%s' is taken", refused[i]);
    assert_int_equal(fill("backup prod.duckdb", &err), CB_OK);
    assert_int_equal(fill("restore lake --tables a", &err), CB_OK);
}

/* A line of the file may be meant for other sources than this one. */
static void test_lake_lines_of_a_file(void **state)
{
    char path[64];
    char line[128];
    cb_error err;

    (void)state;
    kit_file(path, "data = reference\nall-snapshots = yes\n[prod]\nmetadata-schema = s\n");
    snprintf(line, sizeof(line), "backup prod.duckdb --config %s", path);
    assert_int_equal(fill(line, &err), CB_OK);
    snprintf(line, sizeof(line), "verify --config %s", path);
    assert_int_equal(fill(line, &err), CB_OK);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lakes),
        cmocka_unit_test(test_options_of_a_lake_alone),
        cmocka_unit_test(test_lake_lines_of_a_file),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_expire),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_settings_of_stores),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_verify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
