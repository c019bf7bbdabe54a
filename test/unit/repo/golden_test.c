/*
 * The repositories in test/golden/v1 and v1-encrypted were written by the first release of the
 * format: they read for ever, take new backups and give back space. `golden_test make FOLDER`
 * writes such a one; with CB_TEST_ENCRYPTED an encrypted one, and a key file FOLDER.key.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "fake_hooks.h"
#include "fixture.h"
#include "temp.h"

static const fixture_shape shapes[] = {
    {.name = "prod", .items = 1, .chunks = 18, .changing = 1, .version = 1},
    {.name = "prod", .items = 1, .chunks = 18, .changing = 1, .version = 2},
    {.name = "prod", .items = 1, .chunks = 18, .changing = 1, .version = 3},
    {.name = "small", .items = 2, .chunks = 2, .changing = 2, .version = 1},
};

static const cb_binding binding = {"dir", "golden-host", "/fixture", "identity"};

static void open_at(cb_ctx *ctx, const char *path, cb_repo **repo)
{
    cb_store *store;
    cb_error err = {0};

    assert_ok(cb_file_store_open(ctx, path, false, &store, &err));
    assert_ok(cb_repo_open(ctx, store, repo, &err));
}

/* Nothing of the machine that writes it. */
static cb_code anonymise(cb_repo *repo, cb_error *err)
{
    cb_session_info *infos;
    size_t count;
    cb_code code = cb_session_scan(repo, NULL, &infos, &count, err);

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
        cb_session_open_record record;
        char key[CB_KEY_MAX];

        code = cb_session_open_read(repo, infos[i].name, infos[i].number, &record, err);
        record.process = (cb_process_identity){"golden-host", "boot", "pid", 1};
        if (code == CB_OK)
            code = cb_session_open_render(&record, &payload, err);
        cb_session_object_key(repo, infos[i].name, infos[i].number, "open", key);
        if (code == CB_OK)
            code = cb_object_write(repo, CB_OBJECT_SESSION, key, CB_PUT_REPLACE,
                                   cb_buf_bytes(&payload), err);
    }
    free(infos);
    return code;
}

static cb_code create(cb_ctx *ctx, cb_store *store, cb_error *err)
{
    cb_unlock unlock = {.passphrase = FIXTURE_PASSPHRASE, .cipher = CB_AEAD_AES_256_GCM};

    if (!fixture_is_encrypted())
        return cb_repo_create(ctx, store, NULL, err);
    ctx->settings.passphrase = FIXTURE_PASSPHRASE;
    return cb_repo_create(ctx, store, &unlock, err);
}

/* Four backups, one of them removed and its space given back, a name bound, a verify noted. */
static int make(const char *path)
{
    cb_ctx *ctx = test_ctx_new();
    cb_manifest_ref refs[CB_LENGTH(shapes)];
    cb_reclaim_result result;
    char key_file[1024];
    cb_store *store;
    cb_repo *repo;
    cb_error err = {0};
    static test_hooks hooks;
    cb_code code = cb_file_store_open(ctx, path, true, &store, &err);

    test_hooks_install(&hooks, ctx, (int64_t)1800000000 * 1000000, 1);
    if (code == CB_OK)
        code = create(ctx, store, &err);
    if (code == CB_OK)
        code = cb_repo_open(ctx, store, &repo, &err);
    if (code == CB_OK)
        code = cb_name_bind(repo, "prod", &binding, false, &err);
    for (size_t i = 0; i < CB_LENGTH(shapes) && code == CB_OK; i++)
        code = fixture_backup(repo, &shapes[i], &refs[i], &err);
    if (code == CB_OK)
        code = cb_manifest_remove(repo, &refs[0], &err);
    if (code == CB_OK)
        code = cb_repo_reclaim(repo, 0, &result, &err);
    if (code == CB_OK)
        code = cb_manifest_set_verified(repo, &refs[1], 1800000000000000, &err);
    if (code == CB_OK)
        code = anonymise(repo, &err);
    snprintf(key_file, sizeof(key_file), "%s.key", path);
    if (code == CB_OK && fixture_is_encrypted())
        code = cb_repo_key_add_write_only(repo, key_file, "golden", NULL, &err);
    if (code != CB_OK)
        fprintf(stderr, "%s\n", err.message);
    return code != CB_OK;
}

static const char *golden(void)
{
    return fixture_is_encrypted() ? CB_GOLDEN "-encrypted" : CB_GOLDEN;
}

static void copy_golden(cb_ctx *ctx, const char *from, const char *to)
{
    char command[1024];
    cb_error err = {0};

    snprintf(command, sizeof(command), "cp -r '%s/.' '%s' && chmod -R u+w '%s'", from, to, to);
    assert_ok(cb_run_command(ctx, command, NULL, NULL, &err));
}

static void test_golden(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    char path[256];
    cb_repo *repo;
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    fixture_shape shape = shapes[1];
    int64_t verified;
    size_t count;
    cb_error err = {0};

    (void)state;
    test_temp_make(path);
    copy_golden(ctx, golden(), path);
    if (fixture_is_encrypted())
        ctx->settings.passphrase = FIXTURE_PASSPHRASE;
    open_at(ctx, path, &repo);
    assert_string_equal(cb_repo_facts_of(repo)->id, "22874d44f9b60cab7edc395870411e08");
    assert_ok(fixture_check_all(repo, &count, &err));
    assert_int_equal(count, 3);
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    assert_int_equal(refs[0].number, 2);
    assert_ok(cb_manifest_verified(repo, &refs[0], &verified, &err));
    assert_int_equal(verified, 1800000000000000);
    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    shape.version = 9;
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    assert_ok(cb_manifest_remove(repo, &refs[1], &err));
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    assert_ok(fixture_check_all(repo, &count, &err));
    assert_int_equal(count, 3);
    free(refs);
    cb_repo_close(repo);
    test_temp_remove(path);
    cb_ctx_free(ctx);
}

/* A host with the key file of that time adds to it. */
static void test_golden_key_file(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_unlock unlock = {.key_file = CB_GOLDEN "-encrypted.key"};
    char path[256];
    cb_store *store;
    cb_repo *repo;
    size_t count;
    cb_error err = {0};

    (void)state;
    test_temp_make(path);
    copy_golden(ctx, CB_GOLDEN "-encrypted", path);
    assert_ok(cb_file_store_open(ctx, path, false, &store, &err));
    assert_ok(cb_repo_open_with(ctx, store, &unlock, &repo, &err));
    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    assert_ok(fixture_backup(repo, &shapes[2], NULL, &err));
    cb_repo_close(repo);
    ctx->settings.passphrase = FIXTURE_PASSPHRASE;
    open_at(ctx, path, &repo);
    assert_ok(fixture_check_all(repo, &count, &err));
    assert_int_equal(count, 4);
    cb_repo_close(repo);
    test_temp_remove(path);
    cb_ctx_free(ctx);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_key_file),
    };

    if (argc == 3 && strcmp(argv[1], "make") == 0)
        return make(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
