/*
 * Every storage call of a backup, and of removing and reclaiming, fails once: for a moment, for
 * good (the process died), and after it took effect (the answer was lost). Whatever is visible
 * afterwards reads back, the next run works, and a reclaim leaves nothing behind.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "fake_hooks.h"
#include "fault_store.h"
#include "fixture.h"
#include "temp.h"

typedef struct world {
    cb_ctx *ctx;
    cb_store *store;
    test_hooks hooks;
} world;

typedef struct mode {
    const char *name;
    bool stay_dead, takes_effect;
} mode;

static const mode modes[] = {
    {"once", false, false},
    {"dead", true, false},
    {"lost answer", false, true},
    {"lost answer, dead", true, true},
};

static const fixture_shape base_shape = {.name = "prod",
                                         .items = 4,
                                         .chunks = 20,
                                         .changing = 8,
                                         .single_threaded = true,
                                         .pack_bytes = 16 << 10};

static fixture_shape shape_of(unsigned version)
{
    fixture_shape shape = base_shape;

    shape.version = version;
    return shape;
}

/* Borrows the store; the caller closes it only with the world. */
static cb_code with_repo(world *w, cb_store *store, cb_repo **out, cb_error *err)
{
    cb_code code = cb_repo_open(w->ctx, store, out, err);

    if (code == CB_OK)
        (*out)->single_threaded = true;
    return code;
}

/* A store in front of ours that nothing fails, so that a repository may close it. */
static cb_repo *open_repo(world *w)
{
    static cb_fault none;
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(with_repo(w, cb_fault_store_new(w->store, &none), &repo, &err));
    return repo;
}

static void begin(world *w, unsigned backups)
{
    cb_error err = {0};
    cb_repo *repo;

    memset(w, 0, sizeof(*w));
    w->ctx = test_ctx_new();
    test_hooks_install(&w->hooks, w->ctx, (int64_t)1800000000 * 1000000, 11);
    assert_ok(cb_memory_store_new(w->ctx, &w->store, &err));
    assert_ok(fixture_create(w->ctx, w->store, &err));
    repo = open_repo(w);
    for (unsigned i = 1; i <= backups; i++) {
        fixture_shape shape = shape_of(i);

        assert_ok(fixture_backup(repo, &shape, NULL, &err));
    }
    cb_repo_close(repo);
}

static void end(world *w)
{
    cb_store_close(w->store);
    cb_ctx_free(w->ctx);
}

static size_t check_all(world *w)
{
    cb_error err = {0};
    cb_repo *repo = open_repo(w);
    size_t count;

    assert_ok(fixture_check_all(repo, &count, &err));
    cb_repo_close(repo);
    return count;
}

/* All backups go: then no pack and no index object may stay. */
static void check_reclaim(world *w)
{
    cb_error err = {0};
    cb_repo *repo = open_repo(w);
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    size_t count;

    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    for (size_t i = 0; i < count; i++)
        assert_ok(cb_manifest_remove(repo, &refs[i], &err));
    free(refs);
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    assert_string_equal(result.pending, "");
    assert_int_equal(fixture_count(w->store, "pack/"), 0);
    assert_int_equal(fixture_count(w->store, "index/"), 0);
    cb_repo_close(repo);
}

static void after(world *w, size_t least, size_t most)
{
    cb_error err = {0};
    fixture_shape shape = shape_of(77);
    size_t count = check_all(w);
    cb_repo *repo;

    assert_in_range(count, least, most);
    test_time_pass(&w->hooks, (int64_t)3600 * 1000000); /* the dead are stale by now */
    repo = open_repo(w);
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    cb_repo_close(repo);
    assert_int_equal(check_all(w), count + 1);
    check_reclaim(w);
}

/* ---- backup ------------------------------------------------------------------------------ */

static cb_code faulty_backup(world *w, cb_store *store, cb_error *err)
{
    fixture_shape shape = shape_of(2);
    cb_repo *repo;
    cb_code code = with_repo(w, store, &repo, err);

    if (code != CB_OK) {
        cb_store_close(store);
        return code;
    }
    code = fixture_backup(repo, &shape, NULL, err);
    cb_repo_close(repo);
    return code;
}

static void backup_with(const mode *how)
{
    for (unsigned fail_at = 1;; fail_at++) {
        cb_fault fault = {
            .fail_at = fail_at, .stay_dead = how->stay_dead, .takes_effect = how->takes_effect};
        cb_error err = {0};
        world w;
        cb_code code;

        begin(&w, 1);
        code = faulty_backup(&w, cb_fault_store_new(w.store, &fault), &err);
        assert_true(code == CB_OK || err.message[0] != '\0');
        after(&w, code == CB_OK ? 2 : 1, 2);
        end(&w);
        if (fault.calls < fail_at) {
            assert_int_equal(code, CB_OK);
            print_message("backup, %s: %u calls\n", how->name, fault.calls);
            assert_in_range(fault.calls, 20, 1000);
            return;
        }
    }
}

static void test_backup(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_LENGTH(modes); i++)
        backup_with(&modes[i]);
}

/* ---- remove and reclaim ------------------------------------------------------------------ */

static cb_code faulty_reclaim(world *w, cb_store *store, cb_error *err)
{
    cb_manifest_ref *refs = NULL;
    cb_reclaim_result result;
    cb_repo *repo;
    size_t count;
    cb_code code = with_repo(w, store, &repo, err);

    if (code != CB_OK) {
        cb_store_close(store);
        return code;
    }
    code = cb_manifest_list(repo, "prod", &refs, &count, err);
    if (code == CB_OK)
        code = cb_manifest_remove(repo, &refs[0], err);
    if (code == CB_OK)
        code = cb_manifest_remove(repo, &refs[2], err);
    if (code == CB_OK)
        code = cb_repo_reclaim(repo, 0, &result, err);
    free(refs);
    cb_repo_close(repo);
    return code;
}

static void reclaim_with(const mode *how)
{
    for (unsigned fail_at = 1;; fail_at++) {
        cb_fault fault = {
            .fail_at = fail_at, .stay_dead = how->stay_dead, .takes_effect = how->takes_effect};
        cb_error err = {0};
        world w;
        cb_code code;

        begin(&w, 4);
        code = faulty_reclaim(&w, cb_fault_store_new(w.store, &fault), &err);
        assert_true(code == CB_OK || err.message[0] != '\0');
        after(&w, 2, code == CB_OK ? 2 : 4);
        end(&w);
        if (fault.calls < fail_at) {
            assert_int_equal(code, CB_OK);
            print_message("reclaim, %s: %u calls\n", how->name, fault.calls);
            assert_in_range(fault.calls, 20, 1000);
            return;
        }
    }
}

static void test_reclaim(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_LENGTH(modes); i++)
        reclaim_with(&modes[i]);
}

/* ---- rebuild ----------------------------------------------------------------------------- */

static cb_code faulty_rebuild(world *w, cb_store *store, cb_error *err)
{
    uint64_t packs, chunks;
    cb_repo *repo;
    cb_code code = with_repo(w, store, &repo, err);

    if (code != CB_OK) {
        cb_store_close(store);
        return code;
    }
    code = cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, err);
    cb_repo_close(repo);
    return code;
}

static void test_rebuild(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_LENGTH(modes); i++) {
        for (unsigned fail_at = 1;; fail_at++) {
            cb_fault fault = {.fail_at = fail_at,
                              .stay_dead = modes[i].stay_dead,
                              .takes_effect = modes[i].takes_effect};
            cb_error err = {0};
            world w;
            cb_code code;

            begin(&w, 2);
            code = faulty_rebuild(&w, cb_fault_store_new(w.store, &fault), &err);
            assert_true(code == CB_OK || err.message[0] != '\0');
            after(&w, 2, 2);
            end(&w);
            if (fault.calls < fail_at)
                break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_rebuild),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
