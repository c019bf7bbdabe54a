/*
 * Removing and giving back space, one process at a time: what must go goes, what is needed stays,
 * what a crash leaves is finished by the next run.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "fake_hooks.h"
#include "fault_store.h"
#include "fixture.h"
#include "temp.h"

typedef struct place {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_store *store; /* the repository's */
    test_hooks hooks;
} place;

static int open_place(void **state)
{
    place *p = calloc(1, sizeof(*p));
    cb_error err = {0};

    p->ctx = test_ctx_new();
    test_hooks_install(&p->hooks, p->ctx, (int64_t)1800000000 * 1000000, 7);
    if (cb_memory_store_new(p->ctx, &p->store, &err) != CB_OK ||
        fixture_create(p->ctx, p->store, &err) != CB_OK ||
        cb_repo_open(p->ctx, p->store, &p->repo, &err) != CB_OK)
        return -1;
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    place *p = *state;

    cb_repo_close(p->repo);
    cb_ctx_free(p->ctx);
    free(p);
    return 0;
}

static fixture_shape shape_of(unsigned version)
{
    return (fixture_shape){.name = "prod",
                           .items = 3,
                           .chunks = 40,
                           .changing = 10,
                           .version = version,
                           .pack_bytes = 32 << 10};
}

static void backup(place *p, unsigned version, cb_manifest_ref *ref)
{
    fixture_shape shape = shape_of(version);
    cb_error err = {0};

    assert_ok(fixture_backup(p->repo, &shape, ref, &err));
}

static void check_all(place *p, size_t wanted)
{
    cb_error err = {0};
    size_t count;

    assert_ok(fixture_check_all(p->repo, &count, &err));
    assert_int_equal(count, wanted);
}

static void test_all_gone_leaves_no_pack(void **state)
{
    place *p = *state;
    char name[CB_NAME_MAX + 1];
    char prefix[CB_KEY_MAX];
    cb_manifest_ref one, two;
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, &one);
    backup(p, 2, &two);
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    assert_ok(cb_manifest_remove(p->repo, &two, &err));
    assert_true(fixture_count(p->store, "pack/") > 5);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_string_equal(result.pending, "");
    assert_true(result.freed_bytes > 0);
    assert_int_equal(fixture_count(p->store, "pack/"), 0);
    assert_int_equal(fixture_count(p->store, "index/"), 0);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1); /* the verdict stays */
    snprintf(prefix, sizeof(prefix), "session/%s/", cb_name_key(p->repo, "prod", name));
    assert_int_equal(fixture_count(p->store, prefix), 2); /* open and end of the last */
}

static void test_shared_chunks_stay(void **state)
{
    place *p = *state;
    cb_manifest_ref refs[4];
    cb_reclaim_result result;
    cb_error err = {0};
    size_t before;

    for (unsigned i = 0; i < 4; i++)
        backup(p, i + 1, &refs[i]);
    before = fixture_count(p->store, "pack/");
    assert_ok(cb_manifest_remove(p->repo, &refs[0], &err));
    assert_ok(cb_manifest_remove(p->repo, &refs[2], &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_true(result.packs_removed > 0);
    assert_true(fixture_count(p->store, "pack/") < before);
    check_all(p, 2);
    backup(p, 1, NULL);
    backup(p, 4, NULL);
    check_all(p, 4);
}

static void test_nothing_to_do_writes_no_list(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, NULL);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(result.packs_removed, 0);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 0);
    check_all(p, 1);
}

static void test_second_copies_go(void **state)
{
    place *p = *state;
    fixture_shape shape = shape_of(1);
    cb_reclaim_result result;
    cb_error err = {0};
    size_t before;

    backup(p, 1, NULL);
    before = fixture_count(p->store, "pack/");
    shape.full = true;
    assert_ok(fixture_backup(p->repo, &shape, NULL, &err));
    assert_int_equal(fixture_count(p->store, "pack/"), 2 * before);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(fixture_count(p->store, "pack/"), before);
    check_all(p, 2);
}

static void flip(place *p, const char *key, size_t at)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_error err = {0};

    assert_ok(cb_store_get(p->store, key, 0, UINT32_MAX, &raw, &err));
    assert_true(at < raw.size);
    raw.data[at] ^= 1;
    assert_ok(cb_store_put_bytes(p->store, key, CB_PUT_REPLACE, cb_buf_bytes(&raw), &err));
}

static void count_warning(void *arg, const cb_event *event)
{
    unsigned *warnings = arg;

    *warnings += event->kind == CB_EVENT_WARNING;
}

/* Whichever pack rotted before all was stored a second time: of each chunk a good copy stays. */
static void test_good_copies_stay(void **state)
{
    size_t packs = 0;
    cb_error err = {0};

    for (size_t rotten = 0; rotten == 0 || rotten < packs; rotten++) {
        fixture_shape shape = shape_of(1);
        cb_reclaim_result result;
        unsigned warnings = 0;
        char key[CB_KEY_MAX];
        size_t count;
        place *p;

        assert_int_equal(close_place(state), 0);
        assert_int_equal(open_place(state), 0);
        p = *state;
        p->ctx->sink = count_warning;
        p->ctx->sink_arg = &warnings;
        backup(p, 1, NULL);
        packs = fixture_count(p->store, "pack/");
        fixture_key(p->store, "pack/", rotten, key);
        flip(p, key, CB_PACK_HEADER_BYTES + 8); /* in its first chunk */
        assert_code(CB_CORRUPT, fixture_check_all(p->repo, &count, &err));
        err = (cb_error){0};
        shape.full = true;
        assert_ok(fixture_backup(p->repo, &shape, NULL, &err));
        warnings = 0;
        check_all(p, 2);
        assert_true(warnings > 0);
        for (int run = 0; run < 3; run++) {
            assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
            check_all(p, 2);
        }
        assert_int_equal(fixture_count(p->store, key), 0); /* the rotten one went */
        assert_int_equal(fixture_count(p->store, "pack/"), packs);
    }
}

/* A pack rots after the second copies came under suspicion: the judgement reads it. */
static void test_judge_reads_what_stays(void **state)
{
    place *p = *state;
    cb_session_request request = {.name = "other"};
    fixture_shape shape = shape_of(1);
    cb_reclaim_result result;
    cb_session *session;
    cb_error err = {0};
    char key[CB_KEY_MAX];
    size_t packs;

    backup(p, 1, NULL);
    packs = fixture_count(p->store, "pack/");
    shape.full = true;
    assert_ok(fixture_backup(p->repo, &shape, NULL, &err));
    assert_ok(cb_session_open(p->repo, &request, &session, &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_true(result.pending[0] != '\0');
    cb_session_free(session);
    {
        CB_CLEANUP(cb_reclaim_lists_free) cb_reclaim_lists lists = {0};

        assert_ok(cb_reclaim_lists_read(p->repo, true, &lists, &err));
        for (size_t i = 0; i < 2 * packs; i++) {
            uint8_t id[CB_PACK_ID_BYTES];

            fixture_key(p->store, "pack/", i, key);
            assert_true(cb_key_parse_pack(key, id));
            if (!cb_reclaim_lists_have(&lists, id))
                flip(p, key, CB_PACK_HEADER_BYTES + 8);
        }
    }
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    check_all(p, 2);
}

static void test_live_session_is_waited_for(void **state)
{
    place *p = *state;
    cb_session_request request = {.name = "other", .pack_bytes = 32 << 10};
    fixture_shape shape = shape_of(1);
    cb_session *session;
    cb_manifest_ref one;
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, &one);
    assert_ok(cb_session_open(p->repo, &request, &session, &err));
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_non_null(strstr(result.pending, "'other'"));
    assert_int_equal(result.packs_removed, 0);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 2); /* suspect and wait */
    /* It relies on the suspected chunks, since it read the lists before they were suspected. */
    assert_ok(fixture_fill(p->repo, session, &shape, &err));
    cb_session_free(session);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_string_equal(result.pending, "");
    check_all(p, 1);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
}

static void test_suspects_are_not_relied_upon(void **state)
{
    place *p = *state;
    cb_session_request request = {.name = "other"};
    cb_session *session;
    cb_manifest_ref one;
    cb_manifest *manifest;
    cb_reclaim_result result;
    cb_session_request again = {.name = "prod"};
    cb_session *second;
    cb_error err = {0};

    backup(p, 1, &one);
    backup(p, 1, NULL);
    assert_ok(cb_manifest_load(p->repo, &one, &manifest, &err));
    assert_ok(cb_session_open(p->repo, &request, &session, &err));
    /* All packs under suspicion without verdict: nothing of the parent may be taken over. */
    {
        CB_CLEANUP(cb_buf_free) cb_buf list = {0};
        cb_pack_id ids[64];
        size_t count = fixture_count(p->store, "pack/");

        assert_true(count < 64);
        for (size_t i = 0; i < count; i++) {
            char key[CB_KEY_MAX];

            fixture_key(p->store, "pack/", i, key);
            assert_true(cb_key_parse_pack(key, ids[i].bytes));
        }
        assert_ok(cb_pack_list_render(ids, count, &list, &err));
        assert_ok(cb_object_write(p->repo, CB_OBJECT_SUSPECT, "reclaim/0000000001/suspect",
                                  CB_PUT_NEW, cb_buf_bytes(&list), &err));
    }
    assert_ok(cb_session_open(p->repo, &again, &second, &err));
    assert_code(CB_NOT_FOUND, cb_session_adopt_items(second, manifest, &err));
    err = (cb_error){0};
    assert_false(cb_session_has(second, &manifest->item_chunks[0]));
    cb_session_free(second);
    cb_session_free(session);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(result.packs_removed, 0); /* acquitted: both backups need them */
    cb_manifest_free(manifest);
    check_all(p, 2);
    assert_ok(cb_session_open(p->repo, &again, &second, &err));
    assert_ok(cb_manifest_load(p->repo, &one, &manifest, &err));
    assert_true(cb_session_has(second, &manifest->item_chunks[0]));
    assert_ok(cb_session_adopt_items(second, manifest, &err));
    cb_session_free(second);
    cb_manifest_free(manifest);
}

static void test_unreadable_manifest_stops_all(void **state)
{
    place *p = *state;
    cb_manifest_ref one, two;
    cb_reclaim_result result;
    cb_error err = {0};
    char key[CB_KEY_MAX];
    size_t before;

    backup(p, 1, &one);
    backup(p, 2, &two);
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    fixture_key(p->store, "manifest/", 0, key);
    {
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

        assert_ok(cb_store_get(p->store, key, 0, UINT32_MAX, &raw, &err));
        raw.data[raw.size / 2] ^= 1;
        assert_ok(cb_store_put_bytes(p->store, key, CB_PUT_REPLACE, cb_buf_bytes(&raw), &err));
    }
    before = fixture_count(p->store, "pack/");
    assert_code(CB_CORRUPT, cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_true(err.hint[0] != '\0');
    assert_int_equal(fixture_count(p->store, "pack/"), before);
}

static void test_rebuild_equals(void **state)
{
    place *p = *state;
    cb_repo_counts before, after;
    uint64_t packs, chunks;
    cb_error err = {0};
    char key[CB_KEY_MAX];

    backup(p, 1, NULL);
    backup(p, 2, NULL);
    assert_ok(cb_repo_count(p->repo, &before, &err));
    while (fixture_count(p->store, "index/") > 0) {
        fixture_key(p->store, "index/", 0, key);
        assert_ok(cb_store_remove(p->store, key, &err));
    }
    check_all(p, 2); /* from the footers */
    assert_ok(cb_repo_rebuild_index(p->repo, NULL, NULL, &packs, &chunks, &err));
    assert_int_equal(fixture_count(p->store, "index/"), 1);
    assert_ok(cb_repo_count(p->repo, &after, &err));
    assert_int_equal(before.chunks, after.chunks);
    assert_int_equal(before.raw_bytes, after.raw_bytes);
    assert_int_equal(before.packs, packs);
    check_all(p, 2);
}

static void note_damage(void *arg, const char *pack, const char *reason)
{
    char *said = arg;

    snprintf(said, 256, "%.100s: %.100s", pack, reason);
}

static void test_lost_pack_heals(void **state)
{
    place *p = *state;
    char said[256] = "";
    char key[CB_KEY_MAX];
    uint64_t packs, chunks;
    cb_reclaim_result result;
    cb_error err = {0};
    size_t count;

    backup(p, 1, NULL);
    fixture_key(p->store, "pack/", 0, key);
    assert_ok(cb_store_remove(p->store, key, &err));
    cb_ignore(fixture_check_all(p->repo, &count, &err)); /* of data or metadata, as it falls */
    assert_true(err.code == CB_CORRUPT || err.code == CB_NOT_FOUND);
    err = (cb_error){0};
    assert_ok(cb_repo_rebuild_index(p->repo, note_damage, said, &packs, &chunks, &err));
    assert_non_null(strstr(said, key));
    backup(p, 1, NULL); /* puts back what is missing */
    check_all(p, 2);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    check_all(p, 2);
}

/* Each pack has what the other one may go for: both go, once what they share was copied. */
static void test_packs_do_not_wait_for_each_other(void **state)
{
    place *p = *state;
    fixture_shape all = {.name = "prod", .items = 3, .chunks = 30};
    fixture_shape most = {.name = "prod", .items = 2, .chunks = 30};
    fixture_shape some = {.name = "other", .items = 1, .chunks = 30, .full = true};
    cb_manifest_ref one;
    cb_reclaim_result result;
    cb_error err = {0};

    assert_ok(fixture_backup(p->repo, &all, &one, &err));
    assert_ok(fixture_backup(p->repo, &most, NULL, &err));
    assert_ok(fixture_backup(p->repo, &some, NULL, &err));
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_true(result.packs_removed >= 2);
    check_all(p, 2);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(result.packs_removed, 0);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
    check_all(p, 2);
}

static const cb_store_ops *real_ops;

static cb_code put_no_pack(cb_store *store, const char *key, const cb_put_options *options,
                           cb_writer **out, cb_error *err)
{
    if (strncmp(key, "pack/", strlen("pack/")) == 0)
        return cb_fail(err, CB_NO_SPACE, "no space for '%s'", key);
    return real_ops->put(store, key, options, out, err);
}

/* What is wholly dead goes though there is no room to rewrite the rest; that follows later. */
static void test_full_disk_gives_back_what_is_dead(void **state)
{
    place *p = *state;
    fixture_shape passing = {.name = "passing", .items = 20, .chunks = 30, .changing = 30};
    cb_manifest_ref one, dead;
    cb_reclaim_result result;
    cb_store_ops full = *p->store->ops;
    cb_error err = {0};

    passing.version = 9;
    backup(p, 1, &one);
    backup(p, 2, NULL);
    assert_ok(fixture_backup(p->repo, &passing, &dead, &err));
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    assert_ok(cb_manifest_remove(p->repo, &dead, &err));
    real_ops = p->store->ops;
    full.put = put_no_pack;
    p->store->ops = &full;
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    p->store->ops = real_ops;
    assert_true(result.packs_removed > 0);
    check_all(p, 1);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_true(result.packs_removed > 0);
    check_all(p, 1);
}

/* A number in the name of a stray object is nothing to count up to. */
static void test_stray_beat(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, NULL);
    backup(p, 2, NULL);
    cb_session_object_key(p->repo, "prod", 1, "beat-99999999999", key);
    assert_ok(cb_store_put_bytes(p->store, key, CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(fixture_count(p->store, cb_session_object_key(p->repo, "prod", 1, "", key)),
                     0);
    check_all(p, 2);
}

/* No number after the last one: a key with more digits would be seen by nobody. */
static void test_numbers_end(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    fixture_shape shape = shape_of(1);
    cb_error err = {0};

    cb_session_object_key(p->repo, "prod", 9999999998, "end", key);
    assert_ok(cb_store_put_bytes(p->store, key, CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    backup(p, 1, NULL);
    assert_code(CB_CORRUPT, fixture_backup(p->repo, &shape, NULL, &err));
    assert_true(err.hint[0] != '\0');
    check_all(p, 1);
}

static char removed_key[CB_KEY_MAX];

/* As if another run removed the backup, and reclaimed, between our listing and our read. */
static cb_code get_from_removed(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                                cb_buf *into, cb_error *err)
{
    if (strncmp(key, "pack/", strlen("pack/")) != 0)
        return real_ops->get(store, key, offset, length, into, err);
    if (real_ops->remove(store, removed_key, err) != CB_OK)
        return err->code;
    return cb_fail(err, CB_NOT_FOUND, "there is no object '%s'", key);
}

static void test_backup_removed_while_it_is_walked(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_store_ops racing = *p->store->ops;
    cb_error err = {0};

    backup(p, 1, NULL);
    fixture_key(p->store, "manifest/", 0, removed_key);
    real_ops = p->store->ops;
    racing.get = get_from_removed;
    p->store->ops = &racing;
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    p->store->ops = real_ops;
    check_all(p, 0);
}

static void pack_of_kind(place *p, cb_pack_kind kind, char key[CB_KEY_MAX])
{
    for (size_t i = 0; i < fixture_count(p->store, "pack/"); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
        cb_error err = {0};

        fixture_key(p->store, "pack/", i, key);
        assert_ok(cb_store_get(p->store, key, 0, CB_PACK_HEADER_BYTES, &raw, &err));
        if (raw.data[4] == kind)
            return;
    }
    fail();
}

/* What a process knew of the packs before it opened a session may be gone by then. */
static void test_index_is_not_older_than_the_session(void **state)
{
    place *p = *state;
    static cb_fault none;
    fixture_shape shape = shape_of(1);
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *other;

    backup(p, 1, NULL);
    assert_ok(cb_repo_open(p->ctx, cb_fault_store_new(p->store, &none), &other, &err));
    assert_ok(cb_repo_load_index(other, &err));
    pack_of_kind(p, CB_PACK_DATA, key);
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_ok(fixture_backup(other, &shape, NULL, &err));
    cb_repo_close(other);
    check_all(p, 2);
}

/* The end of a pack rots, its chunks and the index do not: repair must not lose them. */
static void lose_footer(place *p, cb_pack_kind kind)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char said[256] = "";
    char key[CB_KEY_MAX];
    uint64_t packs, chunks;
    cb_repo_counts before, after;
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, NULL);
    assert_ok(cb_repo_count(p->repo, &before, &err));
    pack_of_kind(p, kind, key);
    assert_ok(cb_store_get(p->store, key, 0, UINT32_MAX, &raw, &err));
    flip(p, key, raw.size - 60);
    for (int run = 0; run < 2; run++) {
        assert_ok(cb_repo_rebuild_index(p->repo, note_damage, said, &packs, &chunks, &err));
        assert_non_null(strstr(said, key));
        assert_int_equal(packs, before.packs);
        check_all(p, 1);
        /* Needed and damaged: neither doomed nor acquitted. */
        assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
        check_all(p, 1);
    }
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1); /* suspect */
    backup(p, 1, NULL);                                       /* stores its chunks again */
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_int_equal(fixture_count(p->store, key), 0);
    assert_ok(cb_repo_count(p->repo, &after, &err));
    assert_int_equal(before.chunks, after.chunks);
    check_all(p, 2);
    assert_non_null(strstr((fixture_key(p->store, "reclaim/", 0, key), key), "verdict"));
}

static void test_lost_footer_loses_no_data(void **state)
{
    lose_footer(*state, CB_PACK_DATA);
}

static void test_lost_footer_loses_no_table(void **state)
{
    lose_footer(*state, CB_PACK_META);
}

/* The pack of a table is lost or damaged: reading says damage, a backup does without it. */
static void test_unreadable_table(void **state)
{
    for (int lost = 0; lost < 2; lost++) {
        cb_session_request request = {.name = "prod"};
        cb_session *session;
        cb_manifest *manifest;
        cb_manifest_ref one;
        char key[CB_KEY_MAX];
        cb_error err = {0};
        size_t count;
        place *p;

        assert_int_equal(close_place(state), 0);
        assert_int_equal(open_place(state), 0);
        p = *state;
        backup(p, 1, &one);
        pack_of_kind(p, CB_PACK_META, key);
        if (lost)
            assert_ok(cb_store_remove(p->store, key, &err));
        else
            for (size_t at = CB_PACK_HEADER_BYTES; at < 2000; at += 100)
                flip(p, key, at);
        assert_code(CB_CORRUPT, fixture_check_all(p->repo, &count, &err));
        err = (cb_error){0};
        assert_ok(cb_manifest_load(p->repo, &one, &manifest, &err)); /* before the session */
        assert_ok(cb_session_open(p->repo, &request, &session, &err));
        assert_code(CB_NOT_FOUND, cb_session_adopt_items(session, manifest, &err));
        cb_session_free(session);
        cb_manifest_free(manifest);
    }
}

/* A pack is lost, and told to be by repair: no verdict makes the next backup rely on it. */
static void test_lost_pack_stays_under_suspicion(void **state)
{
    place *p = *state;
    cb_manifest_ref one;
    cb_manifest *manifest;
    cb_session_request request = {.name = "prod"};
    cb_session *session;
    char said[256] = "";
    char key[CB_KEY_MAX];
    uint64_t packs, chunks;
    cb_reclaim_result result;
    cb_error err = {0};

    backup(p, 1, &one);
    pack_of_kind(p, CB_PACK_DATA, key);
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_ok(cb_repo_rebuild_index(p->repo, note_damage, said, &packs, &chunks, &err));
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_ok(cb_session_open(p->repo, &request, &session, &err));
    assert_ok(cb_manifest_load(p->repo, &one, &manifest, &err));
    assert_code(CB_NOT_FOUND, cb_session_adopt_items(session, manifest, &err));
    err = (cb_error){0};
    cb_manifest_free(manifest);
    cb_session_free(session);
    backup(p, 1, NULL); /* puts back what is missing */
    check_all(p, 2);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    fixture_key(p->store, "reclaim/", 0, key);
    assert_non_null(strstr(key, "verdict"));
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
    check_all(p, 2);
}

static void test_dead_session_is_entombed(void **state)
{
    place *p = *state;
    cb_session_request request = {.name = "other", .single_threaded = true};
    fixture_shape shape = shape_of(1);
    cb_session *sleeper;
    cb_reclaim_result result;
    cb_manifest_ref one;
    cb_error err = {0};

    backup(p, 1, &one);
    assert_ok(cb_session_open(p->repo, &request, &sleeper, &err));
    assert_ok(cb_manifest_remove(p->repo, &one, &err));
    test_time_pass(&p->hooks, (int64_t)3600 * 1000000);
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_string_equal(result.pending, "");
    assert_true(result.packs_removed > 0);
    /* It wakes up and tries to commit what is gone. */
    assert_code(CB_RETRY, fixture_fill(p->repo, sleeper, &shape, &err));
    err = (cb_error){0};
    cb_session_free(sleeper);
    check_all(p, 0);
    shape.name = "other";
    assert_ok(fixture_backup(p->repo, &shape, NULL, &err));
    check_all(p, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_gone_leaves_no_pack, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_shared_chunks_stay, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_nothing_to_do_writes_no_list, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_second_copies_go, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_good_copies_stay, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_judge_reads_what_stays, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_live_session_is_waited_for, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_suspects_are_not_relied_upon, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_unreadable_manifest_stops_all, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_rebuild_equals, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_lost_pack_heals, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_lost_footer_loses_no_data, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_lost_footer_loses_no_table, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_lost_pack_stays_under_suspicion, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_packs_do_not_wait_for_each_other, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_full_disk_gives_back_what_is_dead, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_stray_beat, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_numbers_end, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_index_is_not_older_than_the_session, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_unreadable_table, open_place, close_place),
        cmocka_unit_test_setup_teardown(test_backup_removed_while_it_is_walked, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(test_dead_session_is_entombed, open_place, close_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
