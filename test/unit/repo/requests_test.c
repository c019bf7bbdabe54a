/*
 * How many requests a remote store sees: the bounds that people pay for, with a cache on this
 * machine and without, and with a cache that is damaged, full or gone.
 */
#include "unit.h"

#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "count_store.h"
#include "fake_hooks.h"
#include "fixture.h"
#include "temp.h"

#include "base/file.h"
#include "repo/fetch.h"

typedef struct place {
    cb_ctx *ctx;
    cb_store *memory;
    cb_count count;
    test_hooks hooks;
    char folder[256];
    unsigned warnings;
} place;

static void see_warning(void *arg, const cb_event *event)
{
    ((place *)arg)->warnings += event->kind == CB_EVENT_WARNING;
}

static int set_up(void **state)
{
    place *p = calloc(1, sizeof(*p));
    cb_error err = {0};
    cb_settings settings = {.jobs = 4};

    test_temp_make(p->folder);
    settings.cache_directory = p->folder;
    assert_ok(cb_ctx_new(&settings, see_warning, p, &p->ctx, &err));
    test_hooks_install(&p->hooks, p->ctx, (int64_t)1800000000 * 1000000, 5);
    p->count.is_remote = true;
    p->count.is_traced = getenv("CB_TEST_TRACE") != NULL;
    assert_ok(cb_memory_store_new(p->ctx, &p->memory, &err));
    assert_ok(cb_repo_create(p->ctx, p->memory, NULL, &err));
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    place *p = *state;

    cb_store_close(p->memory);
    cb_ctx_free(p->ctx);
    test_temp_remove(p->folder);
    free(p);
    return 0;
}

static cb_repo *open_repo(place *p)
{
    cb_error err = {0};
    cb_repo *repo;

    cb_count_reset(&p->count);
    assert_ok(cb_repo_open(p->ctx, cb_count_store_new(p->memory, &p->count), &repo, &err));
    return repo;
}

/* 2000 chunks; the first `changing` depend on the version. */
static fixture_shape shape_of(unsigned version, unsigned changing)
{
    return (fixture_shape){.name = "prod",
                           .items = 1,
                           .chunks = 2000,
                           .changing = changing,
                           .version = version,
                           .pack_bytes = 512 << 10};
}

static void back_up(place *p, unsigned version, unsigned changing)
{
    static const cb_binding binding = {"dir", "host", "/src", "id-1"};
    fixture_shape shape = shape_of(version, changing);
    cb_error err = {0};
    cb_repo *repo = open_repo(p);

    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    cb_repo_close(repo);
    test_time_pass(&p->hooks, 60 * 1000000);
}

/* As the command does for a source that did not change. */
static void back_up_unchanged(place *p)
{
    static const cb_binding binding = {"dir", "host", "/src", "id-1"};
    cb_session_request request = {.name = "prod"};
    cb_error err = {0};
    cb_repo *repo = open_repo(p);
    cb_manifest manifest = {.kind = "dir"};
    cb_manifest *parent;
    cb_session *session;
    cb_manifest_ref ref;

    assert_ok(cb_name_bind(repo, "prod", &binding, false, &err));
    assert_ok(cb_session_open(repo, &request, &session, &err));
    assert_ok(cb_session_parent(session, &ref, &parent, &err));
    assert_non_null(parent);
    assert_ok(cb_session_adopt_items(session, parent, &err));
    manifest.facts = parent->facts;
    manifest.fact_count = parent->fact_count;
    assert_ok(cb_session_commit(session, &manifest, &err));
    cb_manifest_free(parent);
    cb_session_free(session);
    cb_repo_close(repo);
    test_time_pass(&p->hooks, 60 * 1000000);
}

/* Everything that is listed, read back by as many as 4 threads' worth of windows. */
static unsigned restore_all(place *p)
{
    cb_error err = {0};
    cb_repo *repo = open_repo(p);
    size_t count;
    unsigned requests;

    assert_ok(fixture_check_all(repo, &count, &err));
    assert_true(count > 0);
    requests = cb_count_requests(&p->count);
    cb_repo_close(repo);
    return requests;
}

static void remove_cache(place *p)
{
    cb_error err = {0};

    assert_ok(cb_tree_remove(p->folder, &err));
    assert_int_equal(mkdir(p->folder, 0700), 0);
}

/* ---- bounds ------------------------------------------------------------------------------ */

static void test_backups(void **state)
{
    place *p = *state;

    back_up(p, 0, 20);
    /* config, name (2), sessions (2), open, lists, manifests, index, packs, 5 packs, pages,
       index, manifest, end */
    assert_in_range(cb_count_requests(&p->count), 15, 20);
    back_up(p, 1, 20);
    assert_in_range(cb_count_requests(&p->count), 8, 14);
    back_up(p, 2, 20);
    assert_in_range(cb_count_requests(&p->count), 8, 14);
    back_up_unchanged(p);
    assert_in_range(cb_count_requests(&p->count), 5, 9);
}

/* The eight that are merged cost a listing, one put and eight removals; each is read from here. */
static void test_merge(void **state)
{
    place *p = *state;
    unsigned most = 0;
    unsigned sum = 0;

    for (unsigned i = 0; i < 20; i++) {
        back_up(p, i, 5);
        if (i > 0) {
            unsigned requests = cb_count_requests(&p->count);

            most = requests > most ? requests : most;
            sum += requests;
        }
    }
    assert_in_range(most, 8, 14 + 1 + 1 + 8);
    assert_in_range(sum / 19, 8, 15);
    assert_true(fixture_count(p->memory, "index/") <= 8);
    restore_all(p);
}

static void test_list(void **state)
{
    place *p = *state;
    cb_error err = {0};

    for (unsigned i = 0; i < 30; i++)
        back_up(p, i % 3, 3);
    for (unsigned round = 0; round < 3; round++) {
        cb_repo *repo;
        cb_manifest_ref *refs;
        size_t count;

        if (round == 1)
            remove_cache(p);
        repo = open_repo(p);
        assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
        assert_int_equal(count, 30);
        for (size_t i = 0; i < count; i++) {
            cb_manifest *manifest;

            assert_ok(cb_manifest_load_listed(repo, &refs[i], &manifest, &err));
            cb_manifest_free(manifest);
        }
        free(refs);
        cb_repo_close(repo);
        assert_int_equal(cb_count_requests(&p->count), round == 1 ? 32 : 2);
    }
}

static void test_restore(void **state)
{
    place *p = *state;

    back_up(p, 0, 20);
    /* 2000 chunks of 5 packs: each pack in a few reads */
    assert_in_range(restore_all(p), 5, 30);
    remove_cache(p);
    assert_in_range(restore_all(p), 5, 32);
}

/* Three packs on their way at once, and no more held than that and the two being filled. */
static void test_uploads(void **state)
{
    place *p = *state;

    p->count.latency_us = 20000;
    back_up(p, 0, 20);
    p->count.latency_us = 0;
    assert_in_range(p->count.most, 2, 4);
    assert_in_range(p->count.most_held, 600 << 10, 5 * (513 << 10));
    restore_all(p);
}

/* ---- what a cache must not break ----------------------------------------------------------- */

static void each_file(const char *folder, void (*change)(const char *path))
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[CB_PATH_MAX];
        struct stat at;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%.2000s/%s", folder, entry->d_name);
        assert_int_equal(stat(path, &at), 0);
        if (S_ISDIR(at.st_mode))
            each_file(path, change);
        else
            change(path);
    }
    closedir(dir);
}

static void flip_middle(const char *path)
{
    struct stat at;
    uint8_t byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &at), 0);
    if (at.st_size > 0) {
        assert_int_equal(pread(fd, &byte, 1, at.st_size / 2), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at.st_size / 2), 1);
    }
    close(fd);
}

static void flip_early(const char *path)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 17), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 17), 1);
    close(fd);
}

static void cut(const char *path)
{
    struct stat at;

    assert_int_equal(stat(path, &at), 0);
    assert_int_equal(truncate(path, at.st_size / 2), 0);
}

static void empty(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}

static void test_damaged_cache(void **state)
{
    static void (*const changes[])(const char *path) = {flip_middle, flip_early, cut, empty};
    place *p = *state;

    back_up(p, 0, 20);
    for (size_t i = 0; i < CB_LENGTH(changes); i++) {
        each_file(p->folder, changes[i]);
        back_up(p, (unsigned)i + 1, 20);
        assert_true(fixture_count(p->memory, "pack/") < 40); /* known chunks are not stored again */
        each_file(p->folder, changes[i]);
        restore_all(p);
        each_file(p->folder, changes[i]);
        back_up_unchanged(p);
    }
    restore_all(p);
}

/* No place for one: everything works, with more requests. */
static void test_no_cache(void **state)
{
    place *p = *state;

    remove_cache(p);
    assert_int_equal(rmdir(p->folder), 0);
    {
        FILE *file = fopen(p->folder, "w"); /* a file where the folder should be */

        assert_non_null(file);
        fclose(file);
    }
    back_up(p, 0, 20);
    back_up(p, 1, 20);
    assert_in_range(cb_count_requests(&p->count), 8, 20);
    back_up_unchanged(p);
    restore_all(p);
    assert_int_equal(unlink(p->folder), 0);
    assert_int_equal(mkdir(p->folder, 0700), 0);
}

/* What others did meanwhile: merges, a whole reclaim; the cache is of before. */
static void test_stale_cache(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_manifest_ref *refs;
    size_t count;
    cb_error err = {0};
    cb_repo *repo;

    for (unsigned i = 0; i < 3; i++)
        back_up(p, i, 1000);
    repo = open_repo(p);
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    /* Another machine: it has no cache of ours. */
    {
        char kept[300];

        snprintf(kept, sizeof(kept), "%s-kept", p->folder);
        assert_int_equal(rename(p->folder, kept), 0);
        assert_int_equal(mkdir(p->folder, 0700), 0);
        assert_ok(cb_manifest_remove(repo, &refs[1], &err));
        assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
        assert_true(result.packs_removed > 0);
        cb_repo_close(repo);
        assert_ok(cb_tree_remove(p->folder, &err));
        assert_int_equal(rename(kept, p->folder), 0);
    }
    free(refs);
    restore_all(p);
    back_up(p, 1, 1000); /* what was removed is stored again, whatever the cache says */
    restore_all(p);
    remove_cache(p);
    restore_all(p);
}

/* A pack that the store has lost is not relied upon: its chunks are stored again. */
static void test_lost_pack(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_error err = {0};

    back_up(p, 0, 20);
    back_up(p, 1, 20);
    fixture_key(p->memory, "pack/", 1, key);
    assert_ok(cb_store_remove(p->memory, key, &err));
    fixture_key(p->memory, "pack/", 3, key);
    assert_ok(cb_store_remove(p->memory, key, &err));
    back_up(p, 1, 20);
    back_up(p, 0, 20); /* each chunk is put, so each that is gone is stored */
    restore_all(p);
    assert_in_range(cb_count_requests(&p->count), 1, 60);
}

static cb_repo *loaded(place *p)
{
    cb_error err = {0};
    cb_repo *repo = open_repo(p);

    assert_ok(cb_repo_load_index(repo, &err));
    return repo;
}

static unsigned lists_of_a_load(place *p)
{
    cb_repo *repo = loaded(p);
    unsigned lists = p->count.lists;

    cb_repo_close(repo);
    return lists;
}

/* More packs than two requests list: once a day is enough. */
static void test_many_packs(void **state)
{
    place *p = *state;
    cb_index_builder builder = {0};
    uint8_t session[CB_SESSION_ID_BYTES] = {7};
    uint8_t id[CB_PACK_ID_BYTES];
    cb_error err = {0};
    cb_repo *repo = open_repo(p);
    char path[CB_PATH_MAX];
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

    for (uint32_t i = 0; i < 2500; i++) {
        cb_pack_entry entry = {.offset = 64, .stored_bytes = 5, .raw_bytes = 5};

        memset(entry.id.bytes, 1, sizeof(entry.id.bytes));
        memcpy(entry.id.bytes, &i, sizeof(i));
        memcpy(id, entry.id.bytes, sizeof(id));
        assert_ok(cb_index_builder_add(&builder, id, CB_PACK_DATA, NULL, &entry, 1, &err));
    }
    assert_ok(cb_index_object_write(repo, session, &builder, id, &err));
    cb_index_builder_free(&builder);
    assert_true(snprintf(path, sizeof(path), "%s/listed", cb_fetch_folder(repo)) > 0);
    cb_repo_close(repo);
    assert_int_equal(lists_of_a_load(p), 2); /* index/ and pack/ */
    assert_int_equal(lists_of_a_load(p), 1);
    times[1] = (struct timespec){.tv_sec = time(NULL) - 25 * 3600};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(lists_of_a_load(p), 2);
    assert_int_equal(lists_of_a_load(p), 1);
}

/* ---- put back to an earlier state ----------------------------------------------------------- */

typedef struct saved {
    char key[CB_KEY_MAX];
    cb_buf content;
} saved;

typedef struct snapshot {
    saved objects[256];
    size_t count;
} snapshot;

static snapshot *save(cb_store *store)
{
    snapshot *s = calloc(1, sizeof(*s));
    cb_error err = {0};

    assert_non_null(s);
    s->count = fixture_count(store, "");
    assert_true(s->count < CB_LENGTH(s->objects));
    for (size_t i = 0; i < s->count; i++) {
        fixture_key(store, "", i, s->objects[i].key);
        assert_ok(cb_store_get(store, s->objects[i].key, 0, 1 << 30, &s->objects[i].content, &err));
    }
    return s;
}

/* Frees the snapshot. */
static void put_back(cb_store *store, snapshot *s)
{
    char key[CB_KEY_MAX];
    cb_error err = {0};

    while (fixture_count(store, "") > 0) {
        fixture_key(store, "", 0, key);
        assert_ok(cb_store_remove(store, key, &err));
    }
    for (size_t i = 0; i < s->count; i++) {
        assert_ok(cb_store_put_bytes(store, s->objects[i].key, CB_PUT_NEW,
                                     cb_buf_bytes(&s->objects[i].content), &err));
        cb_buf_free(&s->objects[i].content);
    }
    free(s);
}

/* The cache knows packs that the repository never had, as it is now. */
static void test_put_back(void **state)
{
    place *p = *state;
    snapshot *early;

    back_up(p, 0, 1000);
    early = save(p->memory);
    back_up(p, 1, 1000);
    back_up(p, 2, 1000); /* by now they are in the merged index */
    put_back(p->memory, early);
    back_up(p, 1, 1000);
    back_up(p, 2, 1000);
    restore_all(p);
    remove_cache(p);
    restore_all(p);
}

/* A reclaim's number serves again, for other packs: the verdict that is kept is of another. */
static void test_put_back_verdict(void **state)
{
    place *p = *state;
    cb_reclaim_result result;
    cb_error err = {0};
    snapshot *early;

    for (unsigned i = 0; i < 3; i++)
        back_up(p, i, 1000);
    early = save(p->memory);
    for (unsigned round = 0; round < 2; round++) {
        cb_repo *repo = open_repo(p);
        cb_manifest_ref *refs;
        size_t count;

        assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
        assert_ok(cb_manifest_remove(repo, &refs[round], &err));
        assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
        assert_true(result.packs_removed > 0);
        free(refs);
        cb_repo_close(repo);
        back_up(p, 5, 10); /* reads the verdict */
        if (round == 0) {
            put_back(p->memory, early);
            test_time_pass(&p->hooks, 60 * 1000000);
        }
    }
    back_up(p, 1, 1000);
    remove_cache(p);
    restore_all(p);
}

/* Another process makes the merged index anew, or it is cut, while we use it. */
static void test_changed_base(void **state)
{
    static const char *const names[] = {"cut", "empty"};
    static void (*const changes[])(const char *path) = {cut, empty};
    place *p = *state;

    for (size_t i = 0; i < CB_LENGTH(changes); i++) {
        cb_error err = {0};
        size_t count;
        cb_repo *repo;

        print_message("%s\n", names[i]);
        back_up(p, (unsigned)i, 1000);
        repo = open_repo(p);
        assert_ok(cb_repo_load_index(repo, &err));
        assert_non_null(repo->index.base);
        each_file(p->folder, changes[i]);
        assert_ok(fixture_check_all(repo, &count, &err));
        cb_repo_close(repo);
    }
}

/* Two copies of a repository have one id: nothing that is kept of one serves the other. */
static void test_two_copies(void **state)
{
    place *p = *state;
    cb_repo *repo = open_repo(p);
    char first[CB_PATH_MAX];

    snprintf(first, sizeof(first), "%s", cb_fetch_folder(repo));
    cb_repo_close(repo);
    p->count.address = "memory:other";
    repo = open_repo(p);
    assert_string_not_equal(first, cb_fetch_folder(repo));
    cb_repo_close(repo);
    p->count.address = NULL;
}

/* A verify must not be content with what lies here. */
static void test_afresh(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *repo;
    size_t count;
    unsigned lost = 0;

    back_up(p, 0, 20);
    for (size_t i = 0; i < fixture_count(p->memory, "pack/"); i++) {
        cb_code code;

        fixture_key(p->memory, "pack/", i, key);
        {
            CB_CLEANUP(cb_buf_free) cb_buf pack = {0};

            assert_ok(cb_store_get(p->memory, key, 0, 1 << 30, &pack, &err));
            assert_ok(cb_store_remove(p->memory, key, &err));
            repo = open_repo(p);
            cb_repo_read_afresh(repo);
            code = fixture_check_all(repo, &count, &err);
            assert_true(code == CB_NOT_FOUND || code == CB_CORRUPT);
            err = (cb_error){0};
            cb_repo_close(repo);
            assert_ok(cb_store_put_bytes(p->memory, key, CB_PUT_NEW, cb_buf_bytes(&pack), &err));
            lost++;
        }
    }
    assert_true(lost >= 2);
    restore_all(p);
}

/* A run that dies leaves packs in no index object: the next run of the name finds them. */
static void test_orphans(void **state)
{
    place *p = *state;
    fixture_shape shape = shape_of(1, 20);
    cb_session_request request = {
        .name = "prod", .codec = CB_CODEC_ZSTD, .codec_level = -1, .pack_bytes = 512 << 10};
    cb_session *session;
    cb_error err = {0};
    cb_repo *repo = open_repo(p);
    char key[CB_KEY_MAX];
    uint8_t raw[FIXTURE_CHUNK];
    cb_put_result put;
    size_t before;

    assert_ok(cb_session_open(repo, &request, &session, &err));
    for (unsigned c = 0; c < shape.chunks; c++) {
        fixture_chunk(&shape, 0, c, raw);
        assert_ok(cb_session_put(session, 0, cb_bytes_of(raw, sizeof(raw)), &put, &err));
    }
    /* What is on its way when it ends may be dropped: until all that is full has arrived. */
    for (unsigned still = 0, tries = 0; still < 3 && tries < 100; tries++) {
        before = fixture_count(p->memory, "pack/");
        usleep(100000);
        still = fixture_count(p->memory, "pack/") == before ? still + 1 : 0;
    }
    cb_session_free(session); /* ends, and names what it has finished */
    cb_repo_close(repo);
    before = fixture_count(p->memory, "pack/");
    assert_true(before >= 3);
    assert_int_equal(fixture_count(p->memory, "index/"), 1);
    fixture_key(p->memory, "index/", 0, key);
    assert_ok(cb_store_remove(p->memory, key, &err)); /* as if it had been killed */
    cb_key_session(key, "prod", 1, "end");
    assert_ok(cb_store_remove(p->memory, key, &err));
    remove_cache(p);
    test_time_pass(&p->hooks, (int64_t)3600 * 1000000);
    back_up(p, 1, 20);
    assert_true(fixture_count(p->memory, "pack/") <= before + 2);
    remove_cache(p);
    restore_all(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_merge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restore, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_uploads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_pack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_packs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_back_verdict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changed_base, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_copies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_afresh, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_orphans, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
