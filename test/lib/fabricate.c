/*
 * fabricate REPOSITORY BACKUPS CHUNKS [CHUNKS-IN-A-PACK]
 * fabricate --open REPOSITORY [CACHE]
 *
 * Makes a repository that looks large: index objects of as many chunks, and backups that share one
 * item table, without the packs that the index speaks of. It can be opened, listed, backed up into
 * and asked what it has; the chunks cannot be read. For measuring, not for testing. With --open it
 * lists all backups, opens a session and looks chunks up, and says what that cost.
 */
#include "repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "random.h"

enum { STORED_BYTES = 200 << 10, RAW_BYTES = 256 << 10, OBJECT_ENTRIES = 500000 };

static void check(cb_code code, const cb_error *err)
{
    if (code == CB_OK)
        return;
    fprintf(stderr, "fabricate: %s\n", err->message);
    exit(1);
}

static void add_pack(cb_index_builder *builder, test_random *random, size_t chunks)
{
    cb_pack_entry *entries = calloc(chunks, sizeof(*entries));
    uint8_t id[CB_PACK_ID_BYTES];
    cb_error err = {0};

    test_random_fill(random, id, sizeof(id));
    for (size_t i = 0; i < chunks; i++) {
        test_random_fill(random, entries[i].id.bytes, CB_HASH_BYTES);
        entries[i].offset = (uint32_t)(CB_PACK_HEADER_BYTES + i * STORED_BYTES);
        entries[i].stored_bytes = STORED_BYTES;
        entries[i].raw_bytes = RAW_BYTES;
        entries[i].codec = CB_CODEC_ZSTD;
    }
    check(cb_index_builder_add(builder, id, CB_PACK_DATA, NULL, entries, chunks, &err), &err);
    free(entries);
}

static void make_index(cb_repo *repo, uint64_t chunks, size_t in_a_pack)
{
    test_random random = test_random_from(1);
    uint8_t session[CB_SESSION_ID_BYTES];
    uint8_t id[CB_PACK_ID_BYTES];
    cb_error err = {0};

    test_random_fill(&random, session, sizeof(session));
    while (chunks > 0) {
        CB_CLEANUP(cb_index_builder_free) cb_index_builder builder = {0};

        while (chunks > 0 && builder.count + in_a_pack <= OBJECT_ENTRIES) {
            size_t some = chunks < in_a_pack ? (size_t)chunks : in_a_pack;

            add_pack(&builder, &random, some);
            chunks -= some;
        }
        check(cb_index_object_write(repo, session, &builder, id, &err), &err);
    }
}

static void make_backups(cb_repo *repo, unsigned backups)
{
    cb_session_request request = {.name = "made", .single_threaded = true};
    cb_item item = {.path = "file", .kind = CB_ITEM_FILE, .size_bytes = 5, .chunk_bytes = 5};
    cb_manifest manifest = {.kind = "dir", .source = "/made", .host = "made", .version = "0"};
    cb_session *session;
    cb_put_result put;
    cb_error err = {0};

    check(cb_session_open(repo, &request, &session, &err), &err);
    check(cb_session_put(session, 0, cb_bytes_of("chunk", 5), &put, &err), &err);
    check(cb_session_item(session, &item, &(cb_entry){.id = put.id}, 1, &err), &err);
    check(cb_session_commit(session, &manifest, &err), &err);
    for (unsigned i = 1; i < backups; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
        char key[CB_KEY_MAX];
        char label[CB_LABEL_MAX];

        cb_format_label(request.started_us + (int64_t)i * 3600 * 1000000 + 1, false, label);
        manifest.number = i + 1;
        manifest.label = label;
        check(cb_manifest_render(&manifest, cb_session_id(session), &payload, &err), &err);
        check(cb_object_write(repo, CB_OBJECT_MANIFEST,
                              cb_key_manifest(key, "made", manifest.number, label), CB_PUT_NEW,
                              cb_buf_bytes(&payload), &err),
              &err);
    }
    cb_session_free(session);
    if (backups > 1) { /* the highest session of a name stays */
        char key[CB_KEY_MAX];

        check(cb_object_write(repo, CB_OBJECT_END, cb_key_session(key, "made", backups, "end"),
                              CB_PUT_NEW, cb_bytes_of("", 0), &err),
              &err);
    }
}

/* ---- what it costs ------------------------------------------------------------------------- */

static void say(cb_store *store, const char *what, int64_t *since)
{
    int64_t now = cb_monotonic_us();
    cb_traffic traffic;

    cb_store_traffic(store, &traffic);
    printf("%-8s %4llu requests so far, %.3f s\n", what, (unsigned long long)traffic.requests,
           (double)(now - *since) / 1e6);
    *since = now;
}

static void list_all(cb_repo *repo)
{
    cb_manifest_ref *refs;
    size_t count;
    cb_error err = {0};

    check(cb_manifest_list(repo, NULL, &refs, &count, &err), &err);
    check(cb_manifest_preload(repo, refs, count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        cb_manifest *manifest;
        cb_backup_note note;

        check(cb_manifest_load_listed(repo, &refs[i], &manifest, &err), &err);
        check(cb_manifest_note(repo, &refs[i], &note, &err), &err);
        cb_manifest_free(manifest);
    }
    free(refs);
}

static void look_up(cb_repo *repo)
{
    cb_session_request request = {.name = "other"};
    uint8_t raw[64] = {1};
    cb_put_result put;
    cb_session *session;
    cb_error err = {0};

    check(cb_session_open(repo, &request, &session, &err), &err);
    for (uint32_t i = 0; i < 20000; i++) {
        cb_put_u32(raw, i);
        check(cb_session_put(session, 0, cb_bytes_of(raw, sizeof(raw)), &put, &err), &err);
    }
    cb_session_free(session);
}

static int open_it(const char *address, const char *cache)
{
    cb_settings settings = {.jobs = 2, .cache_directory = cache};
    int64_t since = cb_monotonic_us();
    cb_error err = {0};
    cb_store *store;
    cb_ctx *ctx;
    cb_repo *repo;

    check(cb_ctx_new(&settings, NULL, NULL, &ctx, &err), &err);
    check(cb_store_open(ctx, address, true, &store, &err), &err);
    check(cb_repo_open(ctx, store, &repo, &err), &err);
    say(store, "open", &since);
    list_all(repo);
    say(store, "list", &since);
    check(cb_repo_load_index(repo, &err), &err);
    say(store, "index", &since);
    look_up(repo);
    say(store, "look up", &since);
    cb_repo_close(repo);
    cb_ctx_free(ctx);
    return 0;
}

int main(int argc, char **argv)
{
    cb_settings settings = {.jobs = 2, .cache_directory = "/dev/null"};
    cb_error err = {0};
    cb_store *store;
    cb_ctx *ctx;
    cb_repo *repo;

    if (argc >= 3 && strcmp(argv[1], "--open") == 0)
        return open_it(argv[2], argc > 3 ? argv[3] : NULL);
    if (argc < 4) {
        fputs("usage: fabricate REPOSITORY BACKUPS CHUNKS [CHUNKS-IN-A-PACK]\n"
              "       fabricate --open REPOSITORY [CACHE]\n",
              stderr);
        return 2;
    }
    check(cb_ctx_new(&settings, NULL, NULL, &ctx, &err), &err);
    check(cb_store_open(ctx, argv[1], true, &store, &err), &err);
    check(cb_repo_create(ctx, store, NULL, &err), &err);
    check(cb_repo_open(ctx, store, &repo, &err), &err);
    make_backups(repo, (unsigned)strtoul(argv[2], NULL, 10));
    make_index(repo, strtoull(argv[3], NULL, 10),
               argc > 4 ? (size_t)strtoul(argv[4], NULL, 10) : 150);
    cb_repo_close(repo);
    cb_ctx_free(ctx);
    return 0;
}
