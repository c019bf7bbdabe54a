/*
 * Encrypted repositories: who gets in and how, what a write-only host can do and cannot, that
 * nothing readable leaks, and that what someone without a key puts there is told from damage.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "fake_hooks.h"
#include "fault_store.h"
#include "fixture.h"
#include "repo/slot.h"
#include "temp.h"

typedef struct place {
    cb_ctx *ctx;
    cb_store *store;
    test_hooks hooks;
    cb_fault none;
    char folder[256];
    unsigned warnings;
    char warning[CB_MESSAGE_MAX];
    unsigned asked;
    const char *answers[4];
} place;

static const cb_binding binding = {"dir", "secret-host", "/secret/path", "secret-identity"};
static const char passphrase[] = FIXTURE_PASSPHRASE;

static void note_warning(void *arg, const cb_event *event)
{
    place *p = arg;

    if (event->kind != CB_EVENT_WARNING)
        return;
    p->warnings++;
    snprintf(p->warning, sizeof(p->warning), "%s", event->text);
}

/* The store may be closed by the repository, the memory behind it stays. */
static cb_code open_with(place *p, const cb_unlock *unlock, cb_repo **out, cb_error *err)
{
    cb_store *store = cb_fault_store_new(p->store, &p->none);
    cb_code code = cb_repo_open_with(p->ctx, store, unlock, out, err);

    if (code != CB_OK)
        cb_store_close(store);
    else
        (*out)->single_threaded = true;
    return code;
}

static cb_code open_by(place *p, const char *text, cb_repo **out, cb_error *err)
{
    cb_unlock unlock = {.passphrase = text};

    return open_with(p, &unlock, out, err);
}

static cb_repo *open_full(place *p)
{
    cb_error err = {0};
    cb_repo *repo;

    assert_ok(open_by(p, passphrase, &repo, &err));
    return repo;
}

static fixture_shape shape_of(const char *name, unsigned version)
{
    return (fixture_shape){.name = name,
                           .items = 2,
                           .chunks = 20,
                           .changing = 10,
                           .version = version,
                           .single_threaded = true,
                           .pack_bytes = 16 << 10};
}

static void back_up(cb_repo *repo, const char *name, unsigned version, cb_manifest_ref *ref)
{
    fixture_shape shape = shape_of(name, version);
    cb_error err = {0};

    assert_ok(cb_name_bind(repo, name, &binding, false, &err));
    assert_ok(fixture_backup(repo, &shape, ref, &err));
}

static int begin_with(void **state, cb_aead cipher)
{
    place *p = calloc(1, sizeof(*p));
    cb_unlock unlock = {.passphrase = passphrase, .scrypt_log2_n = 2, .cipher = cipher};
    cb_error err = {0};
    cb_repo *repo;

    p->ctx = test_ctx_new();
    p->ctx->sink = note_warning;
    p->ctx->sink_arg = p;
    test_hooks_install(&p->hooks, p->ctx, (int64_t)1800000000 * 1000000, 5);
    test_temp_make(p->folder);
    assert_ok(cb_memory_store_new(p->ctx, &p->store, &err));
    assert_ok(cb_repo_create(p->ctx, p->store, &unlock, &err));
    repo = open_full(p);
    back_up(repo, "topsecret", 1, NULL);
    back_up(repo, "topsecret", 2, NULL);
    cb_repo_close(repo);
    *state = p;
    return 0;
}

static int begin(void **state)
{
    return begin_with(state, CB_AEAD_NONE);
}

static int begin_chacha(void **state)
{
    return begin_with(state, CB_AEAD_CHACHA20_POLY1305);
}

static int end(void **state)
{
    place *p = *state;

    cb_store_close(p->store);
    cb_ctx_free(p->ctx);
    test_temp_remove(p->folder);
    free(p);
    return 0;
}

/* ---- getting in -------------------------------------------------------------------------- */

static void test_passphrases(void **state)
{
    place *p = *state;
    cb_error err = {0};
    cb_repo *repo;

    assert_code(CB_DENIED, open_by(p, "wrong", &repo, &err));
    assert_non_null(strstr(err.message, "no key of this repository opens with this passphrase"));
    assert_null(strstr(err.message, "wrong"));
    err = (cb_error){0};
    assert_code(CB_USAGE, open_by(p, NULL, &repo, &err));
    assert_non_null(strstr(err.message, "is encrypted and no passphrase was given"));
    assert_non_null(strstr(err.hint, "--passphrase-file"));
    err = (cb_error){0};
    assert_code(CB_USAGE, open_by(p, "", &repo, &err));
    assert_non_null(strstr(err.message, "empty"));
    repo = open_full(p);
    assert_true(cb_repo_facts_of(repo)->encrypted);
    assert_true(cb_repo_facts_of(repo)->can_read);
    assert_string_not_equal(cb_repo_facts_of(repo)->cipher, "");
    cb_repo_close(repo);
    assert_int_equal(p->warnings, 0);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_passphrase_file_and_command(void **state)
{
    place *p = *state;
    char path[300], command[400];
    cb_unlock unlock = {.passphrase_file = path};
    cb_error err = {0};
    cb_repo *repo;

    snprintf(path, sizeof(path), "%s/pass", p->folder);
    assert_code(CB_USAGE, open_with(p, &unlock, &repo, &err)); /* not CB_NOT_FOUND */
    write_file(path, FIXTURE_PASSPHRASE "\nsecond line\n", 0600);
    err = (cb_error){0};
    assert_ok(open_with(p, &unlock, &repo, &err));
    cb_repo_close(repo);
    assert_int_equal(p->warnings, 0);
    write_file(path, FIXTURE_PASSPHRASE "\r\n", 0644);
    assert_ok(open_with(p, &unlock, &repo, &err));
    cb_repo_close(repo);
    assert_int_equal(p->warnings, 1);
    assert_non_null(strstr(p->warning, "chmod 600"));
    write_file(path, FIXTURE_PASSPHRASE, 0600);
    assert_ok(open_with(p, &unlock, &repo, &err));
    cb_repo_close(repo);
    write_file(path, "\xef\xbb\xbf" FIXTURE_PASSPHRASE "\r\n", 0600);
    assert_ok(open_with(p, &unlock, &repo, &err));
    cb_repo_close(repo);
    write_file(path, "\n" FIXTURE_PASSPHRASE "\n", 0600);
    assert_code(CB_USAGE, open_with(p, &unlock, &repo, &err));
    {
        cb_unlock zero = {.passphrase_command = "printf 'n\\0o\\0\\n\\0'"};

        err = (cb_error){0};
        assert_code(CB_USAGE, open_with(p, &zero, &repo, &err));
        assert_non_null(strstr(err.hint, "UTF-16"));
    }
    write_file(path, FIXTURE_PASSPHRASE "\n", 0600);
    snprintf(command, sizeof(command), "cat '%s'", path);
    unlock = (cb_unlock){.passphrase_command = command};
    err = (cb_error){0};
    assert_ok(open_with(p, &unlock, &repo, &err));
    cb_repo_close(repo);
    unlock.passphrase_command = "exit 3";
    assert_int_not_equal(open_with(p, &unlock, &repo, &err), CB_OK);
}

static bool answer(void *arg, const char *prompt, char *out, size_t size)
{
    place *p = arg;

    assert_true(prompt[0] != '\0');
    if (p->asked == CB_LENGTH(p->answers) || p->answers[p->asked] == NULL)
        return false;
    snprintf(out, size, "%s", p->answers[p->asked++]);
    return true;
}

static void test_asking(void **state)
{
    place *p = *state;
    cb_unlock unlock = {.ask = answer, .ask_arg = p};
    cb_error err = {0};
    cb_repo *repo;

    assert_code(CB_USAGE, open_with(p, &unlock, &repo, &err)); /* nobody there */
    p->answers[0] = passphrase;
    for (unsigned i = 0; i < 2; i++) { /* asked once for both */
        err = (cb_error){0};
        assert_ok(open_with(p, &unlock, &repo, &err));
        cb_repo_close(repo);
    }
    assert_int_equal(p->asked, 1);
    repo = open_full(p);
    p->answers[1] = "new one";
    p->answers[2] = "new 0ne";
    assert_code(CB_USAGE, cb_repo_key_add(repo, &unlock, "x", NULL, &err));
    assert_non_null(strstr(err.message, "not the same"));
    p->asked = 1;
    p->answers[2] = "new one";
    err = (cb_error){0};
    assert_ok(cb_repo_key_add(repo, &unlock, "x", NULL, &err));
    assert_int_equal(p->asked, 3);
    cb_repo_close(repo);
    assert_ok(open_by(p, "new one", &repo, &err));
    cb_repo_close(repo);
}

/* ---- keys -------------------------------------------------------------------------------- */

static size_t count_keys(cb_repo *repo)
{
    cb_key_entry *keys;
    size_t count;
    cb_error err = {0};

    assert_ok(cb_repo_key_list(repo, &keys, &count, &err));
    free(keys);
    return count;
}

static void test_keys(void **state)
{
    place *p = *state;
    cb_unlock second = {.passphrase = "second"}, third = {.passphrase = "third"};
    cb_repo *repo = open_full(p);
    cb_key_entry *keys;
    char id[17], changed[17], first[17];
    size_t count;
    cb_error err = {0};

    assert_ok(cb_repo_key_list(repo, &keys, &count, &err));
    assert_int_equal(count, 1);
    assert_true(keys[0].current && keys[0].is_valid && !keys[0].write_only);
    assert_int_equal(keys[0].created_us, (int64_t)1800000000 * 1000000);
    memcpy(first, keys[0].id, sizeof(first));
    free(keys);
    assert_code(CB_USAGE, cb_repo_key_remove(repo, first, &err)); /* the last one */
    assert_non_null(strstr(err.message, "the last"));
    err = (cb_error){0};
    assert_ok(cb_repo_key_add(repo, &second, "my label", id, &err));
    assert_int_equal(count_keys(repo), 2);
    cb_repo_close(repo);

    assert_ok(open_by(p, "second", &repo, &err));
    assert_string_equal(cb_repo_facts_of(repo)->key_id, id);
    assert_ok(cb_repo_key_change(repo, &third, changed, &err));
    assert_string_equal(cb_repo_facts_of(repo)->key_id, changed);
    assert_int_equal(count_keys(repo), 2);
    assert_ok(cb_repo_key_list(repo, &keys, &count, &err));
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].id, changed) == 0)
            assert_string_equal(keys[i].label, "my label");
    free(keys);
    cb_repo_close(repo);
    assert_code(CB_DENIED, open_by(p, "second", &repo, &err)); /* scrypt's result is still kept */
    err = (cb_error){0};
    assert_ok(open_by(p, "third", &repo, &err));
    assert_code(CB_USAGE, cb_repo_key_remove(repo, "zzz", &err));
    assert_code(CB_USAGE, cb_repo_key_remove(repo, "", &err));
    err = (cb_error){0};
    assert_ok(cb_repo_key_remove(repo, first, &err));
    cb_repo_close(repo);
    assert_code(CB_DENIED, open_by(p, passphrase, &repo, &err));
    err = (cb_error){0};
    assert_ok(open_by(p, "third", &repo, &err));
    assert_ok(fixture_check_all(repo, &count, &err));
    assert_int_equal(count, 2);
    cb_repo_close(repo);
}

/* ---- forging ----------------------------------------------------------------------------- */

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

/* As someone would who knows the format and no key: the checksum is right again. */
static void mend_sum(cb_buf *raw)
{
    cb_hash sum;

    cb_sha256(cb_bytes_of(raw->data, raw->size - CB_HASH_BYTES), &sum);
    memcpy(raw->data + raw->size - CB_HASH_BYTES, sum.bytes, CB_HASH_BYTES);
}

static void forge(place *p, const char *key, size_t from_end)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    read_raw(p, key, &raw);
    raw.data[raw.size - CB_HASH_BYTES - 1 - from_end] ^= 1;
    mend_sum(&raw);
    write_raw(p, key, cb_buf_bytes(&raw));
}

/* A slot that looks full, by someone without the master key: it opens nothing, and does not count.
 */
static void test_forged_slot(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_repo *repo = open_full(p);
    cb_key_entry *keys;
    char key[CB_KEY_MAX], first[17], copy[CB_KEY_MAX];
    size_t count;
    cb_error err = {0};

    memcpy(first, cb_repo_facts_of(repo)->key_id, sizeof(first));
    fixture_key(p->store, "key/", 0, key);
    read_raw(p, key, &raw);
    snprintf(copy, sizeof(copy), "key/%s", "0123456789abcdef");
    memcpy(raw.data + CB_OBJECT_HEADER_BYTES, copy, strlen(copy)); /* under an id of its own */
    mend_sum(&raw);
    write_raw(p, copy, cb_buf_bytes(&raw));
    assert_ok(cb_repo_key_list(repo, &keys, &count, &err));
    assert_int_equal(count, 2);
    assert_true(keys[0].is_valid != keys[1].is_valid);
    free(keys);
    assert_code(CB_USAGE, cb_repo_key_remove(repo, first, &err));
    err = (cb_error){0};
    assert_ok(cb_repo_key_remove(repo, "0123", &err));
    cb_repo_close(repo);
}

/* One that asks for 128 GiB is passed over. */
static void test_hostile_slot(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_repo *repo = open_full(p);
    uint8_t salt[CB_SALT_BYTES] = {0}, secret[100] = {0};
    cb_error err = {0};

    assert_ok(cb_field_put_u64(&payload, 1, CB_SLOT_FULL, &err));
    assert_ok(cb_field_put_u64(&payload, 2, 30, &err));
    assert_ok(cb_field_put_u64(&payload, 3, 1, &err));
    assert_ok(cb_field_put_u64(&payload, 4, 1, &err));
    assert_ok(cb_field_put_bytes(&payload, 5, cb_bytes_of(salt, sizeof(salt)), &err));
    assert_ok(cb_field_put_bytes(&payload, 6, cb_bytes_of(secret, sizeof(secret)), &err));
    assert_ok(cb_object_build(repo->id, CB_OBJECT_KEY, "key/0000000000000000",
                              cb_buf_bytes(&payload), &raw, &err));
    write_raw(p, "key/0000000000000000", cb_buf_bytes(&raw));
    cb_repo_close(repo);
    repo = open_full(p);
    cb_repo_close(repo);
    assert_int_equal(p->warnings, 1);
    assert_non_null(strstr(p->warning, "costs more than is allowed"));
}

/* `config` with a public key of the attacker's, whole by its checksum. */
static void test_config_exchanged(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_repo *repo = open_full(p);
    cb_config config = repo->config;
    char path[300];
    cb_unlock by_file = {.key_file = path};
    cb_error err = {0};

    snprintf(path, sizeof(path), "%s/host.key", p->folder);
    assert_ok(cb_repo_key_add_write_only(repo, path, "host", NULL, &err));
    config.public_key[3] ^= 1;
    assert_ok(cb_config_render(&config, &payload, &err));
    assert_ok(
        cb_object_build(repo->id, CB_OBJECT_CONFIG, "config", cb_buf_bytes(&payload), &raw, &err));
    cb_repo_close(repo);
    write_raw(p, "config", cb_buf_bytes(&raw));
    assert_code(CB_CORRUPT, open_by(p, passphrase, &repo, &err));
    assert_non_null(strstr(err.message, "exchanged"));
    err = (cb_error){0};
    assert_code(CB_CORRUPT, open_with(p, &by_file, &repo, &err));
    assert_non_null(strstr(err.message, "exchanged"));
}

static void test_lost_keys(void **state)
{
    place *p = *state;
    char key[CB_KEY_MAX];
    cb_error err = {0};
    cb_repo *repo;

    fixture_key(p->store, "key/", 0, key);
    assert_ok(cb_store_remove(p->store, key, &err));
    assert_code(CB_CORRUPT, open_by(p, passphrase, &repo, &err));
    assert_non_null(strstr(err.message, "key/"));
}

typedef cb_code read_it(cb_repo *repo, const char *key, cb_error *err);

static cb_code read_object(cb_repo *repo, const char *key, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_object_view view;

    return cb_object_read(repo, key, CB_OBJECT_BYTES_MAX, &raw, &view, err);
}

static void expect(cb_repo *repo, const char *key, cb_code code, const char *said)
{
    cb_error err = {0};

    assert_code(code, read_object(repo, key, &err));
    if (strstr(err.message, said) == NULL)
        fail_msg("'%s' is not in: %s", said, err.message);
    if (code != CB_OK)
        assert_non_null(strstr(err.message, key));
}

/* Every kind of sealed object: flipped, forged, moved, of another repository, not sealed at all. */
static void test_objects_are_told_apart(void **state)
{
    static const char *const prefixes[] = {"name/",  "session/", "manifest/",
                                           "index/", "reclaim/", "verified/"};
    place *p = *state;
    cb_repo *repo = open_full(p);
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    size_t count;
    cb_error err = {0};

    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    assert_ok(cb_manifest_set_verified(repo, &refs[1], 5, &err));
    assert_ok(cb_manifest_remove(repo, &refs[0], &err));
    assert_ok(cb_repo_reclaim(repo, 0, &result, &err)); /* leaves a verdict */
    free(refs);
    for (size_t i = 0; i < CB_LENGTH(prefixes); i++) {
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
        CB_CLEANUP(cb_buf_free) cb_buf changed = {0};
        char key[CB_KEY_MAX], other[CB_KEY_MAX];

        for (size_t at = 0;; at++) { /* not `end` of a session, which is empty */
            fixture_key(p->store, prefixes[i], at, key);
            assert_true(key[0] != '\0');
            if (!cb_has_suffix(key, "/end"))
                break;
        }
        read_raw(p, key, &raw);
        expect(repo, key, CB_OK, "");
        for (size_t back = 0; back < raw.size - CB_OBJECT_FRAME_BYTES - strlen(key); back += 7) {
            forge(p, key, back);
            expect(repo, key, CB_CORRUPT, "no key of this repository wrote it");
            write_raw(p, key, cb_buf_bytes(&raw));
        }
        /* A flipped bit. */
        assert_ok(cb_buf_append(&changed, raw.data, raw.size, &err));
        changed.data[raw.size / 2] ^= 1;
        write_raw(p, key, cb_buf_bytes(&changed));
        expect(repo, key, CB_CORRUPT, "its checksum differs");
        /* Sealed for nobody. */
        changed.size = 0;
        assert_ok(cb_object_build(repo->id, (cb_object_kind)raw.data[4], key,
                                  cb_bytes_of("hello", 5), &changed, &err));
        write_raw(p, key, cb_buf_bytes(&changed));
        expect(repo, key, CB_CORRUPT, "not encrypted as it should be");
        /* Under another key, as it is, and with the key in its frame made right. */
        snprintf(other, sizeof(other), "%s", key);
        other[strlen(other) - 1] ^= 1;
        write_raw(p, other, cb_buf_bytes(&raw));
        expect(repo, other, CB_CORRUPT, "the object of another key");
        changed.size = 0;
        assert_ok(cb_buf_append(&changed, raw.data, raw.size, &err));
        memcpy(changed.data + CB_OBJECT_HEADER_BYTES, other, strlen(other));
        mend_sum(&changed);
        write_raw(p, other, cb_buf_bytes(&changed));
        expect(repo, other, CB_CORRUPT, "no key of this repository wrote it");
        assert_ok(cb_store_remove(p->store, other, &err));
        /* Of another repository. */
        changed.size = 0;
        assert_ok(cb_buf_append(&changed, raw.data, raw.size, &err));
        changed.data[16] ^= 1;
        mend_sum(&changed);
        write_raw(p, key, cb_buf_bytes(&changed));
        expect(repo, key, CB_CORRUPT, "belongs to another repository");
        write_raw(p, key, cb_buf_bytes(&raw));
    }
    cb_repo_close(repo);
}

/* ---- packs ------------------------------------------------------------------------------- */

static cb_code check_all(place *p, cb_error *err)
{
    cb_repo *repo = open_full(p);
    size_t count;
    cb_code code = fixture_check_all(repo, &count, err);

    cb_repo_close(repo);
    return code;
}

static void test_packs(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_repo *repo = open_full(p);
    uint8_t id[CB_PACK_ID_BYTES];
    char key[CB_KEY_MAX];
    cb_footer footer;
    cb_error err = {0};

    fixture_key(p->store, "pack/", 0, key);
    assert_true(cb_key_parse_pack(key, id));
    read_raw(p, key, &raw);
    assert_ok(cb_footer_read(repo->store, repo->id, id, raw.size, repo->keys, &footer, &err));
    assert_true(footer.has_wrap && footer.count > 1);
    cb_footer_free(&footer);
    assert_code(CB_CORRUPT,
                cb_footer_read(repo->store, repo->id, id, raw.size, NULL, &footer, &err));
    err = (cb_error){0};
    assert_ok(cb_footer_read(repo->store, repo->id, id, raw.size, repo->keys, &footer, &err));
    for (size_t i = 0; i < footer.count; i++) {
        raw.data[footer.entries[i].offset + footer.entries[i].stored_bytes / 2] ^= 1;
        write_raw(p, key, cb_buf_bytes(&raw));
        err = (cb_error){0};
        assert_code(CB_CORRUPT, check_all(p, &err));
        assert_non_null(strstr(err.message, "does not decrypt"));
        raw.data[footer.entries[i].offset + footer.entries[i].stored_bytes / 2] ^= 1;
    }
    cb_footer_free(&footer);
    /* The footer, forged in each of its parts. */
    for (size_t back = 0; back < 400; back += 11) {
        size_t sum_at = raw.size - CB_PACK_TRAILER_BYTES - CB_HASH_BYTES;
        size_t start = raw.size - CB_PACK_TRAILER_BYTES - cb_get_u32(raw.data + raw.size - 8);
        uint8_t kept = raw.data[sum_at - 1 - back];
        cb_hash sum;

        if (sum_at - 1 - back < start + CB_PACK_HEADER_BYTES + 8)
            break;
        raw.data[sum_at - 1 - back] ^= 1;
        cb_sha256(cb_bytes_of(raw.data + start, sum_at - start), &sum);
        memcpy(raw.data + sum_at, sum.bytes, CB_HASH_BYTES);
        write_raw(p, key, cb_buf_bytes(&raw));
        err = (cb_error){0};
        assert_code(CB_CORRUPT,
                    cb_footer_read(repo->store, repo->id, id, raw.size, repo->keys, &footer, &err));
        raw.data[sum_at - 1 - back] = kept;
    }
    cb_repo_close(repo);
}

/* Index objects whose wraps are wrong, made by someone who may write: the footers say it better. */
static void test_wrong_wraps(void **state)
{
    place *p = *state;
    cb_repo *repo = open_full(p);
    cb_index_object *objects;
    size_t count, dropped;
    uint8_t id[CB_PACK_ID_BYTES];
    char key[CB_KEY_MAX];
    cb_error err = {0};

    assert_ok(cb_index_list(repo, &objects, &count, &err));
    for (size_t i = 0; i < count; i++) {
        CB_CLEANUP(cb_index_builder_free) cb_index_builder builder = {0};

        assert_ok(
            cb_index_object_collect(repo, objects[i].id, NULL, NULL, &builder, &dropped, &err));
        for (size_t k = 0; k < builder.pack_count; k++)
            builder.packs[k].wrap[k % 2 == 0 ? 3 : 60] ^= 1;
        assert_ok(cb_index_object_write(repo, objects[i].id, &builder, id, &err));
        assert_ok(cb_store_remove(p->store, cb_key_index(key, objects[i].id), &err));
    }
    free(objects);
    cb_repo_close(repo);
    assert_ok(check_all(p, &err));
}

/* ---- leaks ------------------------------------------------------------------------------- */

typedef struct search {
    place *p;
    const char *const *words;
    size_t count;
    cb_bytes content;
} search;

static cb_code search_object(void *arg, const cb_object *object, cb_error *err)
{
    const search *s = arg;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    (void)err;
    read_raw(s->p, object->key, &raw);
    for (size_t i = 0; i < s->count; i++)
        if (strstr(object->key, s->words[i]) != NULL ||
            memmem(raw.data, raw.size, s->words[i], strlen(s->words[i])) != NULL)
            fail_msg("'%s' shows '%s'", object->key, s->words[i]);
    if (memmem(raw.data, raw.size, s->content.data, s->content.size) != NULL)
        fail_msg("'%s' shows what was backed up", object->key);
    return CB_OK;
}

static void test_nothing_readable(void **state)
{
    place *p = *state;
    fixture_shape shape = shape_of("topsecret", 1);
    uint8_t chunk[FIXTURE_CHUNK];
    char host[256];
    const char *words[] = {"topsecret", "secret-host", "/secret/path", "secret-identity",
                           "file-0",    "/fixture",    "shape",        "laptop",
                           host,        passphrase};
    search s = {p, words, CB_LENGTH(words), cb_bytes_of(chunk, 32)};
    cb_process_identity self;
    cb_repo *repo = open_full(p);
    cb_manifest_ref *refs;
    char path[300];
    size_t count;
    cb_error err = {0};

    cb_process_self(&self);
    snprintf(host, sizeof(host), "%s", self.host);
    fixture_chunk(&shape, 0, 0, chunk);
    snprintf(path, sizeof(path), "%s/host.key", p->folder);
    assert_ok(cb_repo_key_add_write_only(repo, path, "laptop", NULL, &err));
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    assert_string_equal(refs[0].name, "topsecret");
    assert_ok(cb_manifest_set_verified(repo, &refs[0], 5, &err));
    free(refs);
    assert_ok(cb_store_list(p->store, "", search_object, &s, &err));
    cb_repo_close(repo);
}

/* ---- write-only hosts -------------------------------------------------------------------- */

static void make_key_file(place *p, char path[300], char id[17])
{
    cb_repo *repo = open_full(p);
    cb_error err = {0};

    snprintf(path, 300, "%s/host.key", p->folder);
    assert_ok(cb_repo_key_add_write_only(repo, path, "web host", id, &err));
    assert_code(CB_EXISTS, cb_repo_key_add_write_only(repo, path, "again", NULL, &err));
    assert_int_equal(count_keys(repo), 2);
    cb_repo_close(repo);
}

static void test_write_only(void **state)
{
    static const uint8_t zero[CB_SECRET_BYTES];
    place *p = *state;
    char path[300], id[17];
    cb_unlock unlock = {.key_file = path};
    fixture_shape shape = shape_of("other", 7);
    cb_manifest *manifest;
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    cb_repo_counts counts, after;
    struct stat at;
    cb_repo *repo;
    size_t count;
    cb_error err = {0};

    make_key_file(p, path, id);
    assert_int_equal(stat(path, &at), 0);
    assert_int_equal(at.st_mode & 0777, 0600);
    assert_ok(open_with(p, &unlock, &repo, &err));
    assert_false(cb_repo_facts_of(repo)->can_read);
    assert_string_equal(cb_repo_facts_of(repo)->key_id, id);
    assert_memory_equal(repo->keys->master, zero, sizeof(zero));
    assert_memory_equal(repo->keys->private_key, zero, sizeof(zero));
    assert_memory_equal(repo->keys->notes, zero, sizeof(zero));
    /* It adds, under a known name and a new one, and finds what is stored. */
    back_up(repo, "topsecret", 3, NULL);
    assert_ok(cb_name_bind(repo, "other", &binding, false, &err));
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    assert_ok(cb_repo_count(repo, &counts, &err));
    assert_ok(fixture_backup(repo, &shape, NULL, &err));
    assert_ok(cb_repo_count(repo, &after, &err));
    assert_int_equal(after.chunks, counts.chunks); /* all of it was there */
    /* It lists, and reads nothing: not what was there, not what it wrote itself. */
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    assert_int_equal(count, 5);
    assert_string_equal(refs[4].name, "topsecret");
    for (size_t i = 0; i < count; i++) {
        err = (cb_error){0};
        assert_code(CB_DENIED, cb_manifest_load(repo, &refs[i], &manifest, &err));
        assert_non_null(strstr(err.message, "not read"));
    }
    free(refs);
    {
        CB_CLEANUP(cb_buf_free) cb_buf into = {.limit = CB_CHUNK_BYTES_MAX};
        uint8_t raw[FIXTURE_CHUNK];
        cb_hash chunk;

        fixture_chunk(&shape, 0, 0, raw);
        cb_chunk_id(repo, cb_bytes_of(raw, sizeof(raw)), &chunk);
        err = (cb_error){0};
        assert_code(CB_DENIED, cb_repo_get(repo, 0, &chunk, &into, &err));
        assert_int_equal(into.size, 0);
    }
    err = (cb_error){0};
    assert_code(CB_DENIED, cb_repo_reclaim(repo, 0, &result, &err));
    err = (cb_error){0};
    assert_code(CB_DENIED, cb_repo_key_add_write_only(repo, "/nowhere", "", NULL, &err));
    err = (cb_error){0};
    assert_code(CB_DENIED, cb_repo_key_remove(repo, id, &err));
    cb_repo_close(repo);
    err = (cb_error){0};
    assert_ok(check_all(p, &err));
}

/* A writer whose commit does its work and answers "exists", as a repeated request is answered. */
typedef struct repeated_writer {
    cb_writer writer;
    cb_writer *inner;
} repeated_writer;

static const cb_store_ops *real_ops;
static unsigned repeated;

static cb_code repeated_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    return cb_writer_write(((repeated_writer *)writer)->inner, data, err);
}

static cb_code repeated_commit(cb_writer *writer, cb_error *err)
{
    cb_code code = cb_writer_commit(((repeated_writer *)writer)->inner, err);

    repeated++;
    return code != CB_OK ? code : cb_fail(err, CB_EXISTS, "it is there already");
}

static void repeated_free(cb_writer *writer)
{
    cb_writer_free(((repeated_writer *)writer)->inner);
    free(writer);
}

static const cb_writer_ops repeated_ops = {repeated_write, repeated_commit, repeated_free};

static cb_code put_repeated(cb_store *store, const char *key, const cb_put_options *options,
                            cb_writer **out, cb_error *err)
{
    repeated_writer *writer;
    cb_writer *inner;
    cb_code code = real_ops->put(store, key, options, &inner, err);

    *out = inner;
    if (code != CB_OK || !cb_has_prefix(key, "manifest/"))
        return code;
    writer = calloc(1, sizeof(*writer));
    writer->writer.ops = &repeated_ops;
    writer->inner = inner;
    *out = &writer->writer;
    return CB_OK;
}

/* A manifest whose create is repeated is known by its bytes: a write-only host cannot read it. */
static void test_write_only_repeated_commit(void **state)
{
    place *p = *state;
    char path[300], id[17];
    cb_unlock unlock = {.key_file = path};
    cb_store_ops ops;
    cb_repo *repo;
    cb_error err = {0};

    make_key_file(p, path, id);
    assert_ok(open_with(p, &unlock, &repo, &err));
    real_ops = repo->store->ops;
    ops = *real_ops;
    ops.put = put_repeated;
    repo->store->ops = &ops;
    repeated = 0;
    back_up(repo, "topsecret", 3, NULL);
    assert_int_equal(repeated, 1);
    repo->store->ops = real_ops;
    cb_repo_close(repo);
    assert_ok(check_all(p, &err));
}

/* The key file alone gives no wrap back: what a thief of it has is what it holds. */
static void test_key_file_opens_no_wrap(void **state)
{
    place *p = *state;
    char path[300], id[17], key[CB_KEY_MAX];
    cb_key_file file;
    cb_repo *repo;
    cb_footer footer;
    uint8_t pack[CB_PACK_ID_BYTES], content[CB_SECRET_BYTES];
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_error err = {0};

    make_key_file(p, path, id);
    assert_ok(cb_key_file_read(p->ctx, path, &file, &err));
    repo = open_full(p);
    fixture_key(p->store, "pack/", 0, key);
    assert_true(cb_key_parse_pack(key, pack));
    read_raw(p, key, &raw);
    assert_ok(cb_footer_read(repo->store, repo->id, pack, raw.size, repo->keys, &footer, &err));
    assert_ok(cb_wrap_open(repo->keys, cb_pack_context(pack), footer.wrap, content, &err));
    /* None of its secrets serves as the private key. */
    for (size_t i = 0; i < CB_SHARED_BYTES; i += CB_SECRET_BYTES) {
        cb_keys guess = *repo->keys;

        memcpy(guess.private_key, file.secrets + i, CB_SECRET_BYTES);
        err = (cb_error){0};
        assert_code(CB_CORRUPT,
                    cb_wrap_open(&guess, cb_pack_context(pack), footer.wrap, content, &err));
    }
    cb_footer_free(&footer);
    cb_repo_close(repo);
}

static void test_key_files(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = 4096};
    char path[300], id[17];
    cb_unlock unlock = {.key_file = path};
    cb_unlock plain = {.passphrase = "x", .scrypt_log2_n = 2};
    cb_store *store;
    cb_repo *repo;
    cb_error err = {0};

    make_key_file(p, path, id);
    assert_ok(cb_file_slurp(path, &text, &err));
    for (size_t at = 0; at + 1 < text.size; at += 5) {
        cb_key_file file;

        text.data[at] ^= 1;
        err = (cb_error){0};
        assert_int_not_equal(cb_key_file_parse(cb_buf_bytes(&text), &file, &err), CB_OK);
        text.data[at] ^= 1;
    }
    for (size_t size = 0; size < text.size; size++) {
        cb_key_file file;

        err = (cb_error){0};
        assert_int_not_equal(cb_key_file_parse(cb_bytes_of(text.data, size), &file, &err), CB_OK);
    }
    /* Of another repository; and it makes none. */
    err = (cb_error){0};
    assert_ok(cb_memory_store_new(p->ctx, &store, &err));
    assert_code(CB_USAGE, cb_repo_create(p->ctx, store, &unlock, &err));
    err = (cb_error){0};
    assert_ok(cb_repo_create(p->ctx, store, &plain, &err));
    assert_code(CB_DENIED, cb_repo_open_with(p->ctx, store, &unlock, &repo, &err));
    assert_non_null(strstr(err.message, "of another repository"));
    cb_store_close(store);
    /* Removed. */
    repo = open_full(p);
    err = (cb_error){0};
    assert_ok(cb_repo_key_remove(repo, id, &err));
    cb_repo_close(repo);
    assert_code(CB_DENIED, open_with(p, &unlock, &repo, &err));
    assert_non_null(strstr(err.message, "was removed"));
}

/* ---- put back --------------------------------------------------------------------------- */

static cb_code remove_it(void *arg, const cb_object *object, cb_error *err)
{
    return cb_store_remove(((place *)arg)->store, object->key, err);
}

/* The whole store as it was one backup ago; and an expired manifest that is there again. */
static void test_put_back(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char cache[300], prefix[CB_KEY_MAX], key[CB_KEY_MAX];
    cb_manifest_ref *refs, third;
    cb_repo *repo;
    size_t count;
    cb_error err = {0};

    snprintf(cache, sizeof(cache), "%s/cache", p->folder);
    p->ctx->settings.cache_directory = cache;
    repo = open_full(p);
    back_up(repo, "topsecret", 3, &third);
    assert_int_equal(third.number, 3);
    assert_ok(cb_store_remove(p->store, cb_ref_key(repo, &third, key), &err));
    cb_session_object_key(repo, "topsecret", 3, "", prefix);
    assert_ok(cb_store_list(p->store, prefix, remove_it, p, &err));
    assert_int_equal(p->warnings, 0);
    back_up(repo, "topsecret", 4, NULL);
    assert_int_equal(p->warnings, 1);
    assert_non_null(strstr(p->warning, "gone back in time"));
    back_up(repo, "topsecret", 5, NULL); /* said once for each run that is missing */
    assert_int_equal(p->warnings, 1);
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    read_raw(p, cb_ref_key(repo, &refs[0], key), &raw);
    assert_ok(cb_manifest_remove(repo, &refs[0], &err));
    cb_repo_close(repo);
    write_raw(p, key, cb_buf_bytes(&raw));
    free(refs);
    repo = open_full(p);
    assert_ok(cb_manifest_list(repo, NULL, &refs, &count, &err));
    free(refs);
    assert_int_equal(p->warnings, 2);
    assert_non_null(strstr(p->warning, "put back by someone"));
    cb_repo_close(repo);
}

/* ---- making ------------------------------------------------------------------------------ */

/* Who died between the first key and `config` has made nothing: the next one makes it. */
static void test_crash_while_making(void **state)
{
    place *p = *state;
    cb_unlock unlock = {.passphrase = "x", .scrypt_log2_n = 2};
    char key[CB_KEY_MAX];
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_store *store;
    cb_repo *repo;
    cb_error err = {0};

    assert_ok(cb_memory_store_new(p->ctx, &store, &err));
    fixture_key(p->store, "key/", 0, key);
    read_raw(p, key, &raw);
    assert_ok(cb_store_put_bytes(store, key, CB_PUT_NEW, cb_buf_bytes(&raw), &err));
    assert_code(CB_NOT_FOUND, cb_repo_open_with(p->ctx, store, &unlock, &repo, &err));
    err = (cb_error){0};
    assert_ok(cb_repo_create(p->ctx, store, &unlock, &err));
    assert_ok(cb_repo_open_with(p->ctx, store, &unlock, &repo, &err));
    cb_repo_close(repo);
}

/* A passphrase for a repository that is none of the encrypted ones is said to be of no use. */
static void test_plain_with_passphrase(void **state)
{
    place *p = *state;
    cb_unlock unlock = {.passphrase = "x"};
    cb_store *store;
    cb_repo *repo;
    cb_error err = {0};

    assert_ok(cb_memory_store_new(p->ctx, &store, &err));
    assert_ok(cb_repo_create(p->ctx, store, NULL, &err));
    assert_ok(cb_repo_open_with(p->ctx, store, &unlock, &repo, &err));
    assert_int_equal(p->warnings, 1);
    assert_non_null(strstr(p->warning, "not encrypted"));
    assert_false(cb_repo_facts_of(repo)->encrypted);
    {
        fixture_shape shape = shape_of("main", 1);

        assert_code(CB_DENIED, fixture_backup(repo, &shape, NULL, &err));
    }
    cb_repo_close(repo);
}

/* Nor is anything stored where somebody has put the `config` of a plain one. */
static void test_plain_config(void **state)
{
    place *p = *state;
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_config plain = {.created_us = 1};
    cb_unlock words = {.passphrase = FIXTURE_PASSPHRASE};
    cb_unlock file = {0};
    char path[300], id[17], key[CB_KEY_MAX];
    cb_repo *repo;
    cb_error err = {0};

    make_key_file(p, path, id);
    file.key_file = path;
    assert_ok(cb_repo_open_with(p->ctx, p->store, &file, &repo, &err));
    assert_ok(cb_config_render(&plain, &payload, &err));
    assert_ok(cb_object_build(repo->id, CB_OBJECT_CONFIG, CB_CONFIG_KEY, cb_buf_bytes(&payload),
                              &raw, &err));
    repo->store = NULL; /* still ours */
    cb_repo_close(repo);
    write_raw(p, CB_CONFIG_KEY, cb_buf_bytes(&raw));
    assert_code(CB_CORRUPT, cb_repo_open_with(p->ctx, p->store, &words, &repo, &err));
    assert_non_null(strstr(err.message, "exchanged"));
    err = (cb_error){0};
    while (fixture_count(p->store, "key/") > 0) {
        fixture_key(p->store, "key/", 0, key);
        assert_ok(cb_store_remove(p->store, key, &err));
    }
    assert_code(CB_CORRUPT, cb_repo_open_with(p->ctx, p->store, &file, &repo, &err));
    assert_non_null(strstr(err.message, "exchanged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_passphrases, begin, end),
        cmocka_unit_test_setup_teardown(test_passphrase_file_and_command, begin, end),
        cmocka_unit_test_setup_teardown(test_asking, begin, end),
        cmocka_unit_test_setup_teardown(test_keys, begin, end),
        cmocka_unit_test_setup_teardown(test_forged_slot, begin, end),
        cmocka_unit_test_setup_teardown(test_hostile_slot, begin, end),
        cmocka_unit_test_setup_teardown(test_config_exchanged, begin, end),
        cmocka_unit_test_setup_teardown(test_lost_keys, begin, end),
        cmocka_unit_test_setup_teardown(test_objects_are_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(test_packs, begin, end),
        cmocka_unit_test_setup_teardown(test_packs, begin_chacha, end),
        cmocka_unit_test_setup_teardown(test_wrong_wraps, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_readable, begin, end),
        cmocka_unit_test_setup_teardown(test_write_only, begin, end),
        cmocka_unit_test_setup_teardown(test_write_only, begin_chacha, end),
        cmocka_unit_test_setup_teardown(test_write_only_repeated_commit, begin, end),
        cmocka_unit_test_setup_teardown(test_key_file_opens_no_wrap, begin, end),
        cmocka_unit_test_setup_teardown(test_key_files, begin, end),
        cmocka_unit_test_setup_teardown(test_put_back, begin, end),
        cmocka_unit_test_setup_teardown(test_crash_while_making, begin, end),
        cmocka_unit_test_setup_teardown(test_plain_with_passphrase, begin, end),
        cmocka_unit_test_setup_teardown(test_plain_config, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
