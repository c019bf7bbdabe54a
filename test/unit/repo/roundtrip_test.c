/*
 * The whole way through the public calls: make, back up, list, find, load, walk, read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <stdio.h>

#include "fixture.h"
#include "temp.h"

static void ok_at(cb_code code, const cb_error *err, int line)
{
    if (code != CB_OK) {
        fprintf(stderr, "line %d: %s: %s\n", line, cb_code_name(code), err->message);
        fail();
    }
}
#define ok(call) ok_at((call), &err, __LINE__)

/* Item i of version v: a head, then chunks of 4 KiB whose content depends on i, place and v. */
static size_t content(unsigned item, unsigned place, unsigned version, uint8_t *into)
{
    for (size_t i = 0; i < 4096; i++)
        into[i] = (uint8_t)((i * (item + 3) + place * 7 + version * 31) >> (i % 3));
    memcpy(into, &item, sizeof(item));
    memcpy(into + 4, &place, sizeof(place));
    memcpy(into + 8, &version, sizeof(version));
    return 4096;
}

static void backup(cb_repo *repo, unsigned items, unsigned chunks, unsigned version,
                   cb_manifest *manifest)
{
    cb_error err = {0};
    cb_session_request request = {
        .name = "prod", .codec = CB_CODEC_ZSTD, .codec_level = -1, .pack_bytes = 64 << 10};
    cb_session *session;
    cb_entry *entries = calloc(chunks + 1, sizeof(*entries));
    uint8_t raw[4096];

    ok(cb_session_open(repo, &request, &session, &err));
    for (unsigned i = 0; i < items; i++) {
        char path[32];
        cb_item item = {.path = path,
                        .kind = CB_ITEM_FILE,
                        .size_bytes = (uint64_t)chunks * 4096,
                        .chunk_bytes = 4096};

        snprintf(path, sizeof(path), "file-%03u", i);
        for (unsigned c = 0; c < chunks; c++) {
            cb_put_result put;

            memset(&entries[c], 0, sizeof(entries[c]));
            if (c % 5 == 4)
                continue; /* a hole */
            ok(cb_session_put(session, c % 4,
                              cb_bytes_of(raw, content(i, c, c == 0 ? version : 0, raw)), &put,
                              &err));
            entries[c].id = put.id;
            cb_fingerprint_of(cb_repo_fingerprint_secret(repo), cb_bytes_of(raw, sizeof(raw)),
                              &entries[c].fingerprint);
        }
        ok(cb_session_item(session, &item, entries, chunks, &err));
    }
    manifest->kind = "dir";
    manifest->source = "/src";
    ok(cb_session_commit(session, manifest, &err));
    manifest->name = manifest->label = NULL;
    manifest->item_chunks = NULL;
    cb_session_free(session);
    free(entries);
}

static void check(cb_repo *repo, const char *text, unsigned items, unsigned chunks,
                  unsigned version)
{
    cb_error err = {0};
    cb_manifest_ref ref;
    cb_manifest *manifest;
    cb_tree *tree;
    cb_item item;
    cb_entry entry;
    bool more;
    unsigned seen = 0;
    uint8_t raw[4096];

    ok(cb_manifest_find(repo, text, &ref, &err));
    ok(cb_manifest_load(repo, &ref, &manifest, &err));
    assert_string_equal(manifest->kind, "dir");
    assert_string_equal(manifest->source, "/src");
    ok(cb_tree_open(repo, manifest, &tree, &err));
    for (;; seen++) {
        ok(cb_tree_next(tree, &item, &more, &err));
        if (!more)
            break;
        for (unsigned c = 0; c < chunks; c++) {
            CB_CLEANUP(cb_buf_free) cb_buf got = {.limit = 1 << 20};

            ok(cb_tree_entries(tree, c, 1, &entry, &err));
            assert_int_equal(cb_entry_is_hole(&entry), c % 5 == 4);
            if (cb_entry_is_hole(&entry))
                continue;
            ok(cb_repo_get(repo, 0, &entry.id, &got, &err));
            assert_int_equal(got.size, content(seen, c, c == 0 ? version : 0, raw));
            assert_memory_equal(got.data, raw, got.size);
        }
        assert_int_equal(cb_tree_entries(tree, chunks, 1, &entry, &err), CB_CORRUPT);
        err = (cb_error){0};
    }
    assert_int_equal(seen, items);
    cb_tree_free(tree);
    cb_manifest_free(manifest);
}

static void run_all(cb_ctx *ctx, cb_store *store)
{
    cb_error err = {0};
    cb_repo *repo;
    cb_manifest first = {0}, second = {0}, third = {0};
    cb_manifest_ref *refs;
    cb_manifest_ref ref;
    size_t count;
    char text[128];
    cb_repo_counts counts;

    assert_int_equal(cb_repo_open(ctx, store, &repo, &err), CB_NOT_FOUND);
    assert_true(err.in_repository);
    err = (cb_error){0};
    ok(fixture_create(ctx, store, &err));
    assert_int_equal(fixture_create(ctx, store, &err), CB_EXISTS);
    err = (cb_error){0};
    ok(cb_repo_open(ctx, store, &repo, &err));
    assert_int_equal(cb_manifest_find(repo, "prod", &ref, &err), CB_NOT_FOUND);
    err = (cb_error){0};
    backup(repo, 300, 3, 1, &first);
    backup(repo, 300, 3, 1, &second);
    assert_int_equal(second.new_chunks, 0);
    assert_int_equal(second.new_bytes, 0);
    assert_int_equal(second.stored_bytes, 0);
    assert_int_equal(second.chunks, first.chunks);
    backup(repo, 2, 3000, 7, &third);
    ok(cb_manifest_list(repo, "prod", &refs, &count, &err));
    assert_int_equal(count, 3);
    snprintf(text, sizeof(text), "prod@%s", refs[0].label);
    check(repo, text, 300, 3, 1);
    snprintf(text, sizeof(text), "prod@%s", refs[1].label);
    check(repo, text, 300, 3, 1);
    check(repo, "prod@latest", 2, 3000, 7);
    check(repo, "prod", 2, 3000, 7);
    assert_int_equal(cb_manifest_find(repo, "prod@2", &ref, &err), CB_USAGE);
    err = (cb_error){0};
    assert_int_equal(cb_manifest_find(repo, "prdo", &ref, &err), CB_NOT_FOUND);
    assert_non_null(strstr(err.hint, "prod"));
    err = (cb_error){0};
    ok(cb_repo_count(repo, &counts, &err));
    assert_int_equal(counts.backups, 3);
    assert_int_equal(counts.names, 1);
    printf("packs %d chunks %d stored %d raw %d\n", (int)counts.packs, (int)counts.chunks,
           (int)counts.stored_bytes, (int)counts.raw_bytes);
    free(refs);
    cb_repo_close(repo);
}

static void test_file_store(void **state)
{
    char path[256];
    cb_ctx *ctx = test_ctx_new();
    cb_store *store;
    cb_error err = {0};

    (void)state;
    test_temp_make(path);
    ok(cb_file_store_open(ctx, path, true, &store, &err));
    run_all(ctx, store);
    cb_ctx_free(ctx);
    test_temp_remove(path);
}

static void test_memory_store(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_store *store;
    cb_error err = {0};

    (void)state;
    ok(cb_memory_store_new(ctx, &store, &err));
    run_all(ctx, store);
    cb_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_store),
        cmocka_unit_test(test_file_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
