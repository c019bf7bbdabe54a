/*
 * Laws of a repository under random trees of items: what is backed up reads back the same; the
 * same data twice stores its chunks once, whoever stores it and from however many threads; removing
 * backups harms no other one; an index made again from the packs says the same.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "../unit/repo/fixture.h"
#include "base/pool.h"
#include "random.h"
#include "repo/repo_internal.h"
#include "temp.h"

enum { ITEMS_MAX = 400, THREADS = 4, BACKUPS = 5 };

typedef struct blob {
    uint8_t *data;
    size_t size;
    uint32_t head_bytes, chunk_bytes;
    char path[48];
    char attrs[24];
    bool has_holes;
} blob;

typedef struct tree {
    blob *blobs;
    size_t count;
} tree;

/* ---- random trees ------------------------------------------------------------------------ */

static size_t random_size(test_random *random)
{
    switch (test_random_below(random, 6)) {
    case 0:
        return 0;
    case 1:
        return 1 + (size_t)test_random_below(random, 100);
    case 2:
        return 4096 * (size_t)test_random_below(random, 20);
    case 3:
        return (size_t)test_random_below(random, 20000);
    case 4:
        return 64 * (1000 + (size_t)test_random_below(random, 3000)); /* pages, with chunks of 64 */
    default:
        return (size_t)test_random_below(random, 300000);
    }
}

static void make_blob(test_random *random, blob *b, size_t number)
{
    static const uint32_t grids[] = {64, 4096, 4096, 16384, 262144};

    b->size = random_size(random);
    b->chunk_bytes = grids[test_random_below(random, CB_LENGTH(grids))];
    if (b->size > 400 * (size_t)b->chunk_bytes && b->size % 64 != 0)
        b->chunk_bytes = 4096;
    b->head_bytes =
        test_random_below(random, 3) == 0 ? 1 + (uint32_t)test_random_below(random, 9000) : 0;
    b->has_holes = test_random_below(random, 4) == 0;
    b->data = calloc(1, b->size + 1);
    test_random_content(random, b->data, b->size);
    snprintf(b->path, sizeof(b->path), "%05zu/%llx", number,
             (unsigned long long)test_random_below(random, 1u << 30));
    snprintf(b->attrs, sizeof(b->attrs), "%llu", (unsigned long long)number);
}

static tree make_tree(test_random *random)
{
    tree t = {.count = (size_t)test_random_below(random, 40)};

    if (test_random_below(random, 8) == 0)
        t.count = ITEMS_MAX;
    t.blobs = calloc(t.count + 1, sizeof(*t.blobs));
    for (size_t i = 0; i < t.count; i++) {
        make_blob(random, &t.blobs[i], i);
        if (t.count == ITEMS_MAX && t.blobs[i].size > 300)
            t.blobs[i].size = 300;
    }
    return t;
}

/* A few bytes elsewhere in some of them. */
static void change_tree(test_random *random, tree *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->blobs[i].size > 0 && test_random_below(random, 3) == 0)
            t->blobs[i].data[test_random_below(random, t->blobs[i].size)] ^= 0x55;
}

static tree copy_tree(const tree *from)
{
    tree t = {calloc(from->count + 1, sizeof(*t.blobs)), from->count};

    for (size_t i = 0; i < t.count; i++) {
        t.blobs[i] = from->blobs[i];
        t.blobs[i].data = calloc(1, t.blobs[i].size + 1);
        memcpy(t.blobs[i].data, from->blobs[i].data, t.blobs[i].size);
    }
    return t;
}

static void free_tree(tree *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->blobs[i].data);
    free(t->blobs);
}

static cb_item item_of(const blob *b)
{
    return (cb_item){.path = b->path,
                     .kind = CB_ITEM_FILE,
                     .size_bytes = b->size,
                     .head_bytes = b->head_bytes,
                     .chunk_bytes = b->chunk_bytes,
                     .attrs = cb_bytes_of(b->attrs, strlen(b->attrs))};
}

static bool is_hole(const blob *b, uint64_t chunk)
{
    return b->has_holes && chunk % 3 == 1;
}

/* ---- backup by several threads ----------------------------------------------------------- */

typedef struct job {
    cb_session *session;
    cb_bytes raw;
    cb_entry *entry;
} job;

static cb_code put_one(void *arg, unsigned worker, void *item, cb_error *err)
{
    job *j = item;
    cb_put_result put;
    cb_code code = cb_session_put(j->session, worker, j->raw, &put, err);

    (void)arg;
    if (code == CB_OK) {
        j->entry->id = put.id;
        cb_fingerprint_of((const uint8_t *)arg, j->raw, &j->entry->fingerprint);
    }
    return code;
}

static void put_tree(cb_repo *repo, cb_session *session, const tree *t, cb_entry **entries)
{
    void *secret = (void *)(uintptr_t)cb_repo_fingerprint_secret(repo);
    cb_error err = {0};
    cb_pool *pool;

    assert_ok(cb_pool_new(THREADS, 8, sizeof(job), put_one, secret, &pool, &err));
    for (size_t i = 0; i < t->count; i++) {
        cb_item item = item_of(&t->blobs[i]);
        uint64_t chunks = cb_item_chunks(&item);

        entries[i] = calloc((size_t)chunks + 1, sizeof(**entries));
        for (uint64_t c = 0; c < chunks; c++) {
            uint64_t offset;
            uint32_t length;
            job j = {.session = session, .entry = &entries[i][c]};

            if (is_hole(&t->blobs[i], c))
                continue;
            cb_item_chunk(&item, c, &offset, &length);
            j.raw = cb_bytes_of(t->blobs[i].data + offset, length);
            assert_ok(cb_pool_submit(pool, &j, &err));
        }
    }
    assert_ok(cb_pool_drain(pool, &err));
    cb_pool_free(pool);
}

static void back_up(cb_repo *repo, const tree *t, const char *name, cb_manifest_ref *ref,
                    cb_manifest *manifest)
{
    cb_session_request request = {
        .name = name, .codec = CB_CODEC_ZSTD, .codec_level = -1, .pack_bytes = 128 << 10};
    cb_entry **entries = calloc(t->count + 1, sizeof(*entries));
    cb_session *session;
    cb_error err = {0};

    assert_ok(cb_session_open(repo, &request, &session, &err));
    put_tree(repo, session, t, entries);
    for (size_t i = 0; i < t->count; i++) {
        cb_item item = item_of(&t->blobs[i]);

        assert_ok(cb_session_item(session, &item, entries[i], cb_item_chunks(&item), &err));
        free(entries[i]);
    }
    free(entries);
    *manifest = (cb_manifest){.kind = "dir"};
    assert_ok(cb_session_commit(session, manifest, &err));
    snprintf(ref->name, sizeof(ref->name), "%s", name);
    snprintf(ref->label, sizeof(ref->label), "%s", cb_session_label(session));
    ref->number = cb_session_number(session);
    cb_session_free(session);
}

/* ---- and back ---------------------------------------------------------------------------- */

static void compare_chunk(cb_repo *repo, cb_tree *cursor, const blob *b, const cb_item *item,
                          uint64_t chunk)
{
    CB_CLEANUP(cb_buf_free) cb_buf got = {.limit = CB_CHUNK_BYTES_MAX};
    cb_fingerprint fingerprint;
    uint64_t offset;
    uint32_t length;
    cb_entry entry;
    cb_error err = {0};

    cb_item_chunk(item, chunk, &offset, &length);
    assert_ok(cb_tree_entries(cursor, chunk, 1, &entry, &err));
    assert_int_equal(cb_entry_is_hole(&entry), is_hole(b, chunk));
    if (cb_entry_is_hole(&entry))
        return;
    assert_ok(cb_repo_get(repo, 0, &entry.id, &got, &err));
    assert_int_equal(got.size, length);
    assert_memory_equal(got.data, b->data + offset, length);
    cb_fingerprint_of(cb_repo_fingerprint_secret(repo), cb_buf_bytes(&got), &fingerprint);
    assert_memory_equal(&fingerprint, &entry.fingerprint, sizeof(fingerprint));
}

static void compare(cb_repo *repo, const cb_manifest_ref *ref, const tree *t)
{
    cb_manifest *manifest;
    cb_tree *cursor;
    cb_item item;
    bool more;
    cb_error err = {0};

    assert_ok(cb_manifest_load(repo, ref, &manifest, &err));
    assert_ok(cb_tree_open(repo, manifest, &cursor, &err));
    for (size_t i = 0; i < t->count; i++) {
        const blob *b = &t->blobs[i];

        assert_ok(cb_tree_next(cursor, &item, &more, &err));
        assert_true(more);
        assert_string_equal(item.path, b->path);
        assert_int_equal(item.size_bytes, b->size);
        assert_int_equal(item.attrs.size, strlen(b->attrs));
        assert_memory_equal(item.attrs.data, b->attrs, item.attrs.size);
        for (uint64_t c = 0; c < cb_item_chunks(&item); c++)
            compare_chunk(repo, cursor, b, &item, c);
    }
    assert_ok(cb_tree_next(cursor, &item, &more, &err));
    assert_false(more);
    cb_tree_free(cursor);
    cb_manifest_free(manifest);
}

static void check_rebuild(cb_repo *repo)
{
    cb_repo_counts before, after;
    uint64_t packs, chunks;
    cb_error err = {0};

    assert_ok(cb_repo_count(repo, &before, &err));
    assert_ok(cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err));
    assert_ok(cb_repo_count(repo, &after, &err));
    assert_int_equal(before.packs, after.packs);
    assert_int_equal(before.chunks, after.chunks);
    assert_int_equal(before.raw_bytes, after.raw_bytes);
}

/* ---- the laws ---------------------------------------------------------------------------- */

static void one_round(test_random *random)
{
    cb_ctx *ctx = test_ctx_new();
    tree trees[BACKUPS];
    cb_manifest_ref refs[BACKUPS];
    bool kept[BACKUPS];
    cb_manifest manifest;
    cb_manifest_ref twice;
    cb_reclaim_result result;
    cb_store *store;
    cb_repo *repo;
    cb_error err = {0};

    assert_ok(cb_memory_store_new(ctx, &store, &err));
    assert_ok(fixture_create(ctx, store, &err));
    assert_ok(cb_repo_open(ctx, store, &repo, &err));
    for (size_t i = 0; i < BACKUPS; i++) {
        trees[i] = i == 0 ? make_tree(random) : copy_tree(&trees[i - 1]);
        if (i > 0)
            change_tree(random, &trees[i]);
        back_up(repo, &trees[i], i % 2 == 0 ? "even" : "odd", &refs[i], &manifest);
    }
    back_up(repo, &trees[BACKUPS - 1], "again", &twice, &manifest);
    assert_int_equal(manifest.new_chunks, 0);
    assert_int_equal(manifest.stored_bytes, 0);
    for (size_t i = 0; i < BACKUPS; i++)
        compare(repo, &refs[i], &trees[i]);
    check_rebuild(repo);
    for (size_t i = 0; i < BACKUPS; i++) {
        kept[i] = test_random_below(random, 2) == 0;
        if (!kept[i])
            assert_ok(cb_manifest_remove(repo, &refs[i], &err));
    }
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err));
    check_rebuild(repo);
    for (size_t i = 0; i < BACKUPS; i++) {
        if (kept[i])
            compare(repo, &refs[i], &trees[i]);
        free_tree(&trees[i]);
    }
    cb_repo_close(repo);
    cb_ctx_free(ctx);
}

static void test_laws(void **state)
{
    test_random random = test_random_seeded();
    const char *runs = getenv("CB_TEST_RUNS");
    unsigned long rounds = runs != NULL ? strtoul(runs, NULL, 10) : 12;

    (void)state;
    for (unsigned long i = 0; i < rounds; i++)
        one_round(&random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_laws)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
