/*
 * Each kind of object missing, cut, flipped, swapped with another or of a newer format: what is
 * read is right or refused by name, and what does not depend on it goes on.
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
    cb_store *store;
    test_hooks hooks;
    cb_fault none;
    unsigned warnings;
} place;

static const cb_binding binding = {"dir", "host", "/src", "id-1"};

static void count_warning(void *arg, const cb_event *event)
{
    place *p = arg;

    if (event->kind == CB_EVENT_WARNING)
        p->warnings++;
}

static cb_code open_repo(place *p, cb_repo **out, cb_error *err)
{
    cb_store *store = cb_fault_store_new(p->store, &p->none); /* may be closed by the repository */
    cb_code code = cb_repo_open(p->ctx, store, out, err);

    if (code != CB_OK)
        cb_store_close(store);
    else
        (*out)->single_threaded = true;
    return code;
}

static fixture_shape shape_of(unsigned version)
{
    return (fixture_shape){.name = "prod",
                           .items = 2,
                           .chunks = 20,
                           .changing = 10,
                           .version = version,
                           .single_threaded = true,
                           .pack_bytes = 16 << 10};
}

static void back_up(place *p, unsigned version)
{
    fixture_shape shape = shape_of(version);
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    cb_repo_close(repo);
}

static int begin(void **state)
{
    place *p = calloc(1, sizeof(*p));
    cb_error err = {0};

    p->ctx = test_ctx_new();
    p->ctx->sink = count_warning;
    p->ctx->sink_arg = p;
    test_hooks_install(&p->hooks, p->ctx, (int64_t)1800000000 * 1000000, 3);
    assert_ok(cb_memory_store_new(p->ctx, &p->store, &err));
    assert_ok(fixture_create(p->ctx, p->store, &err));
    back_up(p, 1);
    back_up(p, 2);
    *state = p;
    return 0;
}

static int end(void **state)
{
    place *p = *state;

    cb_store_close(p->store);
    cb_ctx_free(p->ctx);
    free(p);
    return 0;
}

/* ---- ways to damage ---------------------------------------------------------------------- */

static void read_raw(place *p, const char *key, cb_buf *raw)
{
    cb_error err = {0};

    raw->size = 0;
    assert_ok(cb_store_get(p->store, key, 0, UINT32_MAX, raw, &err));
}

static void write_raw(place *p, const char *key, cb_bytes raw)
{
    cb_error err = {0};

    assert_ok(cb_store_put_bytes(p->store, key, CB_PUT_REPLACE, raw, &err));
}

static void flip(place *p, const char *key, size_t at)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    read_raw(p, key, &raw);
    raw.data[at % raw.size] ^= 0x10;
    write_raw(p, key, cb_buf_bytes(&raw));
}

static void cut(place *p, const char *key, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    read_raw(p, key, &raw);
    write_raw(p, key, cb_bytes_of(raw.data, size < raw.size ? size : raw.size - 1));
}

static void swap(place *p, const char *a, const char *b)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw_a = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw_b = {0};

    read_raw(p, a, &raw_a);
    read_raw(p, b, &raw_b);
    write_raw(p, a, cb_buf_bytes(&raw_b));
    write_raw(p, b, cb_buf_bytes(&raw_a));
}

static void make_newer(place *p, const char *key)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    read_raw(p, key, &raw);
    cb_put_u16(raw.data + 6, 2); /* and no checksum that we know */
    write_raw(p, key, cb_buf_bytes(&raw));
}

/* ---- configuration ----------------------------------------------------------------------- */

static void test_config(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_error err = {0};
    cb_repo *repo;

    read_raw(p, "config", &raw);
    assert_ok(cb_store_remove(p->store, "config.copy", &err));
    for (size_t at = 0; at < raw.size; at++) {
        flip(p, "config", at);
        err = (cb_error){0};
        assert_int_not_equal(open_repo(p, &repo, &err), CB_OK);
        assert_true(err.code == CB_CORRUPT || err.code == CB_UNSUPPORTED);
        assert_non_null(strstr(err.message, "config"));
        write_raw(p, "config", cb_buf_bytes(&raw));
    }
    for (size_t size = 0; size < raw.size; size++) {
        write_raw(p, "config", cb_bytes_of(raw.data, size));
        err = (cb_error){0};
        assert_int_not_equal(open_repo(p, &repo, &err), CB_OK);
        write_raw(p, "config", cb_buf_bytes(&raw));
    }
    make_newer(p, "config");
    err = (cb_error){0};
    assert_code(CB_UNSUPPORTED, open_repo(p, &repo, &err));
    assert_true(err.hint[0] != '\0');
    err = (cb_error){0};
    assert_ok(cb_store_remove(p->store, "config", &err));
    assert_code(CB_CORRUPT, open_repo(p, &repo, &err));
    assert_code(CB_USAGE, cb_repo_create(p->ctx, p->store, NULL, &err));
}

/* The copy stands in for a `config` that is damaged or gone, and repair puts back either. */
static void test_config_copy(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf now = {0};
    static const char *const keys[] = {"config", "config.copy"};
    uint64_t packs, chunks;
    cb_error err = {0};
    cb_repo *repo;

    read_raw(p, "config", &raw);
    read_raw(p, "config.copy", &now);
    assert_int_equal(now.size, raw.size);
    assert_memory_equal(now.data, raw.data, raw.size);
    make_newer(p, "config");
    assert_code(CB_UNSUPPORTED, open_repo(p, &repo, &err));
    err = (cb_error){0};
    write_raw(p, "config", cb_buf_bytes(&raw));
    for (size_t at = 8; at < raw.size; at += 7) {
        flip(p, "config", at);
        assert_ok(open_repo(p, &repo, &err));
        cb_repo_close(repo);
        write_raw(p, "config", cb_buf_bytes(&raw));
    }
    for (size_t i = 0; i < 4; i++) {
        const char *key = keys[i / 2];

        if (i % 2 == 0)
            flip(p, key, raw.size - 1);
        else
            assert_ok(cb_store_remove(p->store, key, &err));
        assert_ok(open_repo(p, &repo, &err));
        assert_ok(cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err));
        cb_repo_close(repo);
        now.size = 0;
        read_raw(p, key, &now);
        assert_int_equal(now.size, raw.size);
        assert_memory_equal(now.data, raw.data, raw.size);
    }
    flip(p, "config", 40);
    flip(p, "config.copy", 40);
    assert_code(CB_CORRUPT, open_repo(p, &repo, &err));
}

/* Who died while making one has left a place that is empty, for those who open and who make. */
static void test_copy_alone(void **state)
{
    place *p = *state;
    cb_error err = {0};
    cb_store *other;
    cb_repo *repo;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_buf_free) cb_buf copy = {.limit = 1 << 20};
    CB_CLEANUP(cb_buf_free) cb_buf config = {.limit = 1 << 20};

    read_raw(p, "config.copy", &raw);
    assert_ok(cb_memory_store_new(p->ctx, &other, &err));
    assert_ok(cb_store_put_bytes(other, "config.copy", CB_PUT_NEW, cb_buf_bytes(&raw), &err));
    assert_code(CB_NOT_FOUND, cb_repo_open(p->ctx, other, &repo, &err));
    assert_true(err.in_repository);
    err = (cb_error){0};
    assert_ok(fixture_create(p->ctx, other, &err));
    assert_ok(cb_store_get(other, "config", 0, 1 << 20, &config, &err));
    assert_ok(cb_store_get(other, "config.copy", 0, 1 << 20, &copy, &err));
    assert_int_equal(copy.size, config.size);
    assert_memory_equal(copy.data, config.data, copy.size);
    assert_memory_not_equal(copy.data, raw.data, copy.size);
    cb_store_close(other);
}

static void test_not_a_repository(void **state)
{
    place *p = *state;
    cb_error err = {0};
    cb_store *other;
    cb_repo *repo;

    assert_ok(cb_memory_store_new(p->ctx, &other, &err));
    assert_code(CB_NOT_FOUND, cb_repo_open(p->ctx, other, &repo, &err));
    assert_true(err.in_repository);
    err = (cb_error){0};
    assert_ok(cb_store_put_bytes(other, "notes.txt", CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    assert_code(CB_UNSUPPORTED, cb_repo_open(p->ctx, other, &repo, &err));
    assert_code(CB_USAGE, cb_repo_create(p->ctx, other, NULL, &err));
    err = (cb_error){0};
    assert_ok(
        cb_store_put_bytes(other, "config", CB_PUT_NEW, cb_bytes_of("[core]\nbare = x", 15), &err));
    assert_code(CB_UNSUPPORTED, cb_repo_open(p->ctx, other, &repo, &err));
    cb_store_close(other);
}

/* A folder whose files have names that no object could have is not empty. */
static void test_no_repository_beside_other_files(void **state)
{
    place *p = *state;
    char folder[256], path[300];
    cb_error err = {0};
    cb_store *store;
    FILE *file;

    test_temp_make(folder);
    snprintf(path, sizeof(path), "%s/My File.txt", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_ok(cb_file_store_open(p->ctx, folder, false, &store, &err));
    assert_code(CB_USAGE, cb_repo_create(p->ctx, store, NULL, &err));
    assert_non_null(strstr(err.message, "My File.txt"));
    remove(path);
    err = (cb_error){0};
    assert_ok(cb_repo_create(p->ctx, store, NULL, &err));
    cb_store_close(store);
    test_temp_remove(folder);
}

/* ---- manifests --------------------------------------------------------------------------- */

static cb_code load_first(place *p, cb_error *err)
{
    cb_manifest_ref *refs;
    cb_manifest *manifest;
    cb_repo *repo;
    size_t count;
    cb_code code;

    assert_int_equal(open_repo(p, &repo, err), CB_OK);
    assert_int_equal(cb_manifest_list(repo, "prod", &refs, &count, err), CB_OK);
    assert_int_equal(count, 2);
    code = cb_manifest_load(repo, &refs[0], &manifest, err);
    if (code == CB_OK)
        cb_manifest_free(manifest);
    else
        assert_non_null(strstr(err->message, refs[0].label));
    /* The other one is as good as ever. */
    if (code != CB_OK) {
        cb_error quiet = {0};

        assert_int_equal(fixture_check(repo, &refs[1], &quiet), CB_OK);
    }
    free(refs);
    cb_repo_close(repo);
    return code;
}

static void test_manifest(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char first[CB_KEY_MAX], second[CB_KEY_MAX];
    cb_error err = {0};

    fixture_key(p->store, "manifest/", 0, first);
    fixture_key(p->store, "manifest/", 1, second);
    assert_ok(load_first(p, &err));
    read_raw(p, first, &raw);
    for (size_t at = 0; at < raw.size; at += 3) {
        flip(p, first, at);
        err = (cb_error){0};
        assert_int_not_equal(load_first(p, &err), CB_OK);
        assert_true(err.code == CB_CORRUPT || err.code == CB_UNSUPPORTED);
        write_raw(p, first, cb_buf_bytes(&raw));
    }
    for (size_t size = 0; size < raw.size; size += 5) {
        cut(p, first, size);
        /* Exactly as long as a tombstone would be: then it is listed as one, or refused. */
        if (size != CB_OBJECT_FRAME_BYTES + strlen(first)) {
            err = (cb_error){0};
            assert_code(CB_CORRUPT, load_first(p, &err));
        }
        write_raw(p, first, cb_buf_bytes(&raw));
    }
    make_newer(p, first);
    err = (cb_error){0};
    assert_code(CB_UNSUPPORTED, load_first(p, &err));
    write_raw(p, first, cb_buf_bytes(&raw));
    {
        CB_CLEANUP(cb_buf_free) cb_buf other = {0};

        read_raw(p, second, &other);
        write_raw(p, first, cb_buf_bytes(&other));
        err = (cb_error){0};
        assert_code(CB_CORRUPT, load_first(p, &err));
        assert_non_null(strstr(err.message, "another key"));
    }
}

/* ---- packs and index --------------------------------------------------------------------- */

static cb_code check_all(place *p, cb_error *err)
{
    cb_repo *repo;
    size_t count;
    cb_code code;

    assert_int_equal(open_repo(p, &repo, err), CB_OK);
    code = fixture_check_all(repo, &count, err);
    cb_repo_close(repo);
    return code;
}

static void test_index_is_no_loss(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char first[CB_KEY_MAX], second[CB_KEY_MAX];
    cb_error err = {0};

    fixture_key(p->store, "index/", 0, first);
    fixture_key(p->store, "index/", 1, second);
    read_raw(p, first, &raw);
    for (size_t at = 0; at < raw.size; at += 37) {
        p->warnings = 0;
        flip(p, first, at);
        assert_ok(check_all(p, &err));
        assert_true(p->warnings > 0);
        write_raw(p, first, cb_buf_bytes(&raw));
    }
    for (size_t size = 0; size < raw.size; size += 101) {
        cut(p, first, size);
        assert_ok(check_all(p, &err));
        write_raw(p, first, cb_buf_bytes(&raw));
    }
    swap(p, first, second);
    assert_ok(check_all(p, &err));
    assert_ok(cb_store_remove(p->store, first, &err));
    assert_ok(cb_store_remove(p->store, second, &err));
    assert_ok(check_all(p, &err));
    back_up(p, 2); /* names the packs again */
    assert_int_equal(fixture_count(p->store, "index/"), 1);
    assert_ok(check_all(p, &err));
}

static void test_pack(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char first[CB_KEY_MAX], second[CB_KEY_MAX];
    cb_error err = {0};
    size_t bad = 0;

    fixture_key(p->store, "pack/", 0, first);
    fixture_key(p->store, "pack/", 1, second);
    read_raw(p, first, &raw);
    for (size_t at = 0; at < raw.size; at += 211) {
        flip(p, first, at);
        err = (cb_error){0};
        if (check_all(p, &err) != CB_OK) {
            assert_int_equal(err.code, CB_CORRUPT);
            assert_non_null(strstr(err.message, first));
            assert_true(err.hint[0] != '\0');
            bad++;
        }
        write_raw(p, first, cb_buf_bytes(&raw));
    }
    assert_true(bad > raw.size / 211 / 2); /* not the footer: the index has it too */
    cut(p, first, raw.size / 4);
    err = (cb_error){0};
    assert_code(CB_CORRUPT, check_all(p, &err));
    write_raw(p, first, cb_buf_bytes(&raw));
    swap(p, first, second);
    err = (cb_error){0};
    assert_code(CB_CORRUPT, check_all(p, &err));
    swap(p, first, second);
    err = (cb_error){0};
    assert_ok(check_all(p, &err));
    assert_ok(cb_store_remove(p->store, first, &err));
    assert_code(CB_NOT_FOUND, check_all(p, &err));
    /* A backup that stores everything anew does not need the lost pack. */
    {
        fixture_shape shape = shape_of(2);
        cb_manifest_ref ref;
        cb_repo *repo;

        shape.full = true;
        err = (cb_error){0};
        assert_ok(open_repo(p, &repo, &err));
        assert_ok(fixture_backup(repo, &shape, &ref, &err));
        assert_ok(fixture_check(repo, &ref, &err));
        cb_repo_close(repo);
    }
}

/* A pack that has lost its end, without an index: passed over, never believed. */
static void test_footer(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_error err = {0};

    while (fixture_count(p->store, "index/") > 0) {
        fixture_key(p->store, "index/", 0, key);
        assert_ok(cb_store_remove(p->store, key, &err));
    }
    fixture_key(p->store, "pack/", 0, key);
    read_raw(p, key, &raw);
    for (size_t back = 1; back < 400; back += 7) {
        flip(p, key, raw.size - back);
        err = (cb_error){0};
        p->warnings = 0;
        assert_int_not_equal(check_all(p, &err), CB_OK);
        assert_true(p->warnings > 0);
        write_raw(p, key, cb_buf_bytes(&raw));
    }
    for (size_t size = 0; size < raw.size; size += 97) {
        write_raw(p, key, cb_bytes_of(raw.data, size));
        err = (cb_error){0};
        assert_int_not_equal(check_all(p, &err), CB_OK);
        write_raw(p, key, cb_buf_bytes(&raw));
    }
    make_newer(p, key);
    err = (cb_error){0};
    assert_ok(check_all(p, &err)); /* the footer's own copy of the header counts */
}

/* ---- the rest ---------------------------------------------------------------------------- */

static void test_name(void **state)
{
    place *p = *state;
    cb_binding other = binding;
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    other.path = "/other";
    assert_code(CB_USAGE, cb_name_bind(repo, "prod", &other, false, &err));
    assert_non_null(strstr(err.hint, "--adopt-name"));
    other = binding;
    other.identity = "id-2";
    err = (cb_error){0};
    assert_code(CB_USAGE, cb_name_bind(repo, "prod", &other, false, &err));
    other.identity = "";
    assert_ok(cb_name_bind(repo, "prod", &other, false, &err));
    other.identity = "id-2";
    assert_ok(cb_name_bind(repo, "prod", &other, true, &err));
    assert_code(CB_USAGE, cb_name_bind(repo, "prod", &binding, false, &err));
    assert_code(CB_USAGE, cb_name_bind(repo, "../x", &binding, false, &err));
    fixture_key(p->store, "name/", 0, key);
    flip(p, key, 40);
    err = (cb_error){0};
    assert_code(CB_CORRUPT, cb_name_bind(repo, "prod", &binding, false, &err));
    assert_true(err.hint[0] != '\0');
    err = (cb_error){0};
    assert_ok(cb_name_bind(repo, "prod", &binding, true, &err));
    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    cb_repo_close(repo);
}

static void test_session_objects(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_error err = {0};
    char key[CB_KEY_MAX];
    cb_repo *repo;

    /* An `open` that nobody can read, of a run that did not end. */
    fixture_session_key(p->ctx, p->store, "prod", 2, "end", key);
    assert_ok(cb_store_remove(p->store, key, &err));
    fixture_session_key(p->ctx, p->store, "prod", 2, "open", key);
    flip(p, key, 50);
    back_up(p, 3); /* its manifest is there: nobody waits for it */
    assert_ok(open_repo(p, &repo, &err));
    assert_code(CB_CORRUPT, cb_repo_reclaim(repo, 0, &result, &err)); /* who knows its key? */
    assert_true(err.hint[0] != '\0');
    cb_repo_close(repo);
    err = (cb_error){0};
    assert_ok(check_all(p, &err));
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    cb_repo_close(repo);
}

static void test_reclaim_lists(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_manifest_ref *refs;
    size_t count;
    cb_error err = {0};
    cb_repo *repo;
    fixture_shape shape = shape_of(3);

    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_manifest_list(repo, "prod", &refs, &count, &err));
    assert_ok(cb_manifest_remove(repo, &refs[0], &err));
    free(refs);
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    cb_repo_close(repo);
    flip(p, "reclaim/0000000001/verdict", 60);
    assert_ok(open_repo(p, &repo, &err));
    /* Which packs are doomed is not known any more: no chunk may be relied upon. */
    assert_code(CB_CORRUPT, fixture_backup(repo, &shape, NULL, &err));
    assert_non_null(strstr(err.message, "verdict"));
    assert_non_null(strstr(err.hint, "'reclaim/0000000001/verdict'"));
    cb_repo_close(repo);
    err = (cb_error){0};
    assert_ok(check_all(p, &err));
    /* The way out that the hint names. */
    assert_ok(cb_store_remove(p->store, "reclaim/0000000001/verdict", &err));
    assert_ok(open_repo(p, &repo, &err));
    {
        uint64_t packs, chunks;

        assert_ok(cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err));
    }
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    cb_repo_close(repo);
    assert_ok(check_all(p, &err));
}

/* The way out of a damaged manifest that the hint names. */
static void test_giving_up_a_manifest(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_reclaim_result result;
    cb_error err = {0};
    cb_repo *repo;

    fixture_key(p->store, "manifest/", 0, key);
    flip(p, key, 100);
    assert_ok(open_repo(p, &repo, &err));
    assert_code(CB_CORRUPT, cb_repo_reclaim(repo, 0, &result, &err));
    assert_non_null(strstr(err.hint, key));
    err = (cb_error){0};
    assert_code(CB_CORRUPT, load_first(p, &err));
    assert_non_null(strstr(err.hint, key));
    err = (cb_error){0};
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    assert_true(result.packs_removed > 0);
    cb_repo_close(repo);
    assert_ok(check_all(p, &err));
}

/* A damaged index object among them does not keep eight others from being merged. */
static void test_merge_passes_damage_over(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_error err = {0};

    fixture_key(p->store, "index/", 0, key);
    flip(p, key, 90);
    for (unsigned i = 3; i < 30; i++)
        back_up(p, i);
    assert_in_range(fixture_count(p->store, "index/"), 1, 11);
    assert_int_equal(fixture_count(p->store, key), 1);
    assert_ok(check_all(p, &err));
}

/* A chunk with a flag is of a newer format: who does not know the flag cannot read it. */
static void test_flags_are_refused(void **state)
{
    cb_pack_entry entry = {.offset = 64, .stored_bytes = 5, .raw_bytes = 5};

    (void)state;
    assert_true(cb_pack_entry_is_sane(&entry));
    entry.flags = 1;
    assert_false(cb_pack_entry_is_sane(&entry));
}

static void test_labels(void **state)
{
    place *p = *state;
    cb_manifest_ref *refs;
    size_t count;
    cb_error err = {0};
    cb_repo *repo;

    back_up(p, 3);
    test_time_pass(&p->hooks, -(int64_t)24 * 3600 * 1000000); /* the clock jumps back */
    back_up(p, 4);
    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    assert_int_equal(count, 4);
    assert_string_equal(refs[0].label, "20270115-080000");
    assert_string_equal(refs[1].label, "20270115-080000-2");
    assert_string_equal(refs[2].label, "20270115-080000-3");
    assert_string_equal(refs[3].label, "20270114-080000");
    assert_int_equal(refs[3].number, 4);
    {
        cb_manifest_ref ref;

        assert_ok(cb_manifest_find(repo, "prod", &ref, &err)); /* the number decides */
        assert_int_equal(ref.number, 4);
        assert_ok(cb_manifest_find(repo, "prod@20270115-080000", &ref, &err));
        assert_int_equal(ref.number, 1);
        assert_ok(cb_manifest_find(repo, "prod@20270114", &ref, &err));
        assert_int_equal(ref.number, 4);
        assert_code(CB_USAGE, cb_manifest_find(repo, "prod@20270115-", &ref, &err));
        err = (cb_error){0};
        assert_code(CB_NOT_FOUND, cb_manifest_find(repo, "prod@1999", &ref, &err));
        assert_true(err.in_repository);
        err = (cb_error){0};
        assert_code(CB_USAGE, cb_manifest_find(repo, "@", &ref, &err));
    }
    free(refs);
    cb_repo_close(repo);
}

static void test_grave(void **state)
{
    place *p = *state;
    cb_manifest_ref *refs;
    cb_manifest_ref *left;
    cb_manifest *manifest;
    size_t count;
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *repo;

    fixture_session_key(p->ctx, p->store, "prod", 1, "end",
                        key); /* as after a crash behind the commit */
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_manifest_list(repo, "prod", &refs, &count, &err));
    assert_ok(cb_manifest_remove(repo, &refs[0], &err));
    assert_ok(cb_manifest_remove(repo, &refs[1], &err));
    assert_ok(cb_manifest_list(repo, "prod", &left, &count, &err));
    assert_int_equal(count, 0);
    assert_int_equal(fixture_count(p->store, "manifest/"), 1); /* the tombstone of the first */
    assert_code(CB_NOT_FOUND, cb_manifest_load(repo, &refs[0], &manifest, &err));
    free(refs);
    free(left);
    cb_repo_close(repo);
}

static void test_verified(void **state)
{
    place *p = *state;
    cb_manifest_ref *refs;
    size_t count;
    int64_t when = 1;
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_manifest_list(repo, "prod", &refs, &count, &err));
    assert_ok(cb_manifest_verified(repo, &refs[0], &when, &err));
    assert_int_equal(when, 0);
    assert_ok(cb_manifest_set_verified(repo, &refs[0], 77, &err));
    assert_ok(cb_manifest_set_verified(repo, &refs[0], 78, &err));
    assert_ok(cb_manifest_verified(repo, &refs[0], &when, &err));
    assert_int_equal(when, 78);
    assert_ok(cb_manifest_remove(repo, &refs[0], &err));
    assert_int_equal(fixture_count(p->store, "verified/"), 0);
    free(refs);
    cb_repo_close(repo);
}

/* ---- rot at rest --------------------------------------------------------------------------- */

typedef enum victim { VICTIM_DATA, VICTIM_TABLE, VICTIM_PAGE } victim;

static void find_victim(cb_repo *repo, const cb_manifest *manifest, victim which, cb_hash *out)
{
    cb_tree *tree;
    cb_item item;
    cb_entry entry;
    size_t pages;
    bool more;
    cb_error err = {0};

    assert_ok(cb_tree_open(repo, manifest, &tree, &err));
    assert_ok(cb_tree_next(tree, &item, &more, &err));
    assert_ok(cb_tree_entries(tree, 15, 1, &entry, &err)); /* both versions have it */
    *out = entry.id;
    if (which == VICTIM_PAGE)
        *out = cb_tree_pages(tree, &pages)[0];
    if (which == VICTIM_TABLE)
        *out = manifest->item_chunks[0];
    cb_tree_free(tree);
}

/* Flip a byte in a chunk that the newest backup needs; the key of its pack. */
static void rot(place *p, victim which, char key[CB_KEY_MAX])
{
    cb_manifest_ref ref;
    cb_manifest *manifest;
    cb_location at;
    cb_hash id;
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_manifest_find(repo, "prod", &ref, &err));
    assert_ok(cb_manifest_load(repo, &ref, &manifest, &err));
    find_victim(repo, manifest, which, &id);
    assert_ok(cb_repo_locate(repo, &id, &at, &err));
    cb_repo_pack_name(repo, at.pack, key);
    flip(p, key, at.offset + at.stored_bytes / 2);
    cb_manifest_free(manifest);
    cb_repo_close(repo);
}

/* How many packs came to be known as damaged. */
static size_t verify(place *p, cb_code expected)
{
    cb_repo *repo;
    size_t count;
    cb_error err = {0};

    assert_ok(open_repo(p, &repo, &err));
    assert_code(expected, fixture_check_all(repo, &count, &err));
    err = (cb_error){0};
    assert_ok(cb_repo_condemn(repo, true, &count, &err));
    cb_repo_close(repo);
    return count;
}

static void reclaim_once(place *p, cb_code expected)
{
    cb_reclaim_result result;
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    assert_code(expected, cb_repo_reclaim(repo, 0, &result, &err));
    cb_repo_close(repo);
}

/* The parent's table is not taken over, nor is what it names believed to be there. */
static void parent_is_not_trusted(place *p)
{
    cb_session_request request = {.name = "prod", .single_threaded = true};
    cb_manifest_ref ref;
    cb_manifest *parent;
    cb_session *session;
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_session_open(repo, &request, &session, &err));
    assert_ok(cb_session_parent(session, &ref, &parent, &err));
    assert_code(CB_NOT_FOUND, cb_session_adopt_items(session, parent, &err));
    cb_manifest_free(parent);
    cb_session_free(session);
    cb_repo_close(repo);
}

static void rot_heals(place *p, victim which, bool repair_too)
{
    char key[CB_KEY_MAX];
    uint64_t packs, chunks;
    cb_error err = {0};
    cb_repo *repo;

    rot(p, which, key);
    assert_int_equal(verify(p, CB_CORRUPT), 1);
    assert_int_equal(verify(p, CB_CORRUPT), 0); /* a list names it */
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
    if (repair_too) {
        assert_ok(open_repo(p, &repo, &err));
        assert_ok(cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err));
        assert_true(cb_repo_has_damage(repo));
        cb_repo_close(repo);
    }
    /* Needed and damaged: no judgement makes it usable again. */
    reclaim_once(p, which == VICTIM_DATA ? CB_OK : CB_CORRUPT);
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
    assert_int_equal(fixture_count(p->store, key), 1);
    parent_is_not_trusted(p);
    back_up(p, 2);
    assert_int_equal(verify(p, CB_OK), 0);
    reclaim_once(p, CB_OK);
    assert_int_equal(fixture_count(p->store, key), 0); /* what was good in it was copied */
    p->warnings = 0;
    assert_int_equal(verify(p, CB_OK), 0);
    assert_int_equal(p->warnings, 0);
    fixture_key(p->store, "reclaim/", 0, key);
    assert_non_null(strstr(key, "verdict"));
    assert_int_equal(fixture_count(p->store, "reclaim/"), 1);
}

static void test_rot_in_data(void **state)
{
    rot_heals(*state, VICTIM_DATA, false);
}

static void test_rot_in_table(void **state)
{
    rot_heals(*state, VICTIM_TABLE, false);
}

static void test_rot_in_page(void **state)
{
    rot_heals(*state, VICTIM_PAGE, true);
}

/* Somebody else gives back space: the list is made all the same. */
static void test_rot_beside_a_reclaim(void **state)
{
    place *p = *state;
    cb_session_request request = {.name = CB_NAME_RECLAIM, .single_threaded = true};
    cb_session *other;
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *repo;

    rot(p, VICTIM_DATA, key);
    assert_ok(open_repo(p, &repo, &err));
    assert_ok(cb_session_open(repo, &request, &other, &err));
    assert_int_equal(verify(p, CB_CORRUPT), 1);
    cb_session_free(other);
    cb_repo_close(repo);
    parent_is_not_trusted(p);
}

/* Read wrongly once, and good: the list acquits it. */
static void test_false_alarm(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];

    rot(p, VICTIM_DATA, key);
    assert_int_equal(verify(p, CB_CORRUPT), 1);
    rot(p, VICTIM_DATA, key); /* the same byte again */
    reclaim_once(p, CB_OK);
    assert_int_equal(fixture_count(p->store, key), 1);
    assert_int_equal(verify(p, CB_OK), 0);
    fixture_key(p->store, "reclaim/", 0, key);
    assert_non_null(strstr(key, "verdict"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_config, begin, end),
        cmocka_unit_test_setup_teardown(test_config_copy, begin, end),
        cmocka_unit_test_setup_teardown(test_copy_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_not_a_repository, begin, end),
        cmocka_unit_test_setup_teardown(test_no_repository_beside_other_files, begin, end),
        cmocka_unit_test_setup_teardown(test_manifest, begin, end),
        cmocka_unit_test_setup_teardown(test_index_is_no_loss, begin, end),
        cmocka_unit_test_setup_teardown(test_pack, begin, end),
        cmocka_unit_test_setup_teardown(test_footer, begin, end),
        cmocka_unit_test_setup_teardown(test_name, begin, end),
        cmocka_unit_test_setup_teardown(test_session_objects, begin, end),
        cmocka_unit_test_setup_teardown(test_reclaim_lists, begin, end),
        cmocka_unit_test_setup_teardown(test_giving_up_a_manifest, begin, end),
        cmocka_unit_test_setup_teardown(test_merge_passes_damage_over, begin, end),
        cmocka_unit_test(test_flags_are_refused),
        cmocka_unit_test_setup_teardown(test_labels, begin, end),
        cmocka_unit_test_setup_teardown(test_grave, begin, end),
        cmocka_unit_test_setup_teardown(test_verified, begin, end),
        cmocka_unit_test_setup_teardown(test_rot_in_data, begin, end),
        cmocka_unit_test_setup_teardown(test_rot_in_table, begin, end),
        cmocka_unit_test_setup_teardown(test_rot_in_page, begin, end),
        cmocka_unit_test_setup_teardown(test_rot_beside_a_reclaim, begin, end),
        cmocka_unit_test_setup_teardown(test_false_alarm, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
