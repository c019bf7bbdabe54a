/*
 * Every kind of object, packs and chunks of an encrypted repository. The input as what lies in the
 * store, with a right checksum, as someone without a key would put it there: it never opens. The
 * input as what is sealed: it comes back the same, and only as what it was sealed for.
 */
#include "fuzz.h"

#include "repo/repo_internal.h"

static const uint8_t repo_id[CB_REPO_ID_BYTES] = {1, 2, 3};
static const uint8_t pack_id[CB_PACK_ID_BYTES] = {4, 5, 6};

static const struct {
    cb_object_kind kind;
    const char *key;
} kinds[] = {
    {CB_OBJECT_NAME, "name/00112233445566778899aabbccddeeff"},
    {CB_OBJECT_SESSION, "session/00112233445566778899aabbccddeeff/0000000001/open"},
    {CB_OBJECT_MANIFEST, "manifest/00112233445566778899aabbccddeeff/0000000001-20261121-022035"},
    {CB_OBJECT_INDEX, "index/00112233445566778899aabbccddeeff"},
    {CB_OBJECT_SUSPECT, "reclaim/0000000001/suspect"},
    {CB_OBJECT_WAIT, "reclaim/0000000001/wait"},
    {CB_OBJECT_VERDICT, "reclaim/0000000001/verdict"},
    {CB_OBJECT_VERIFIED, "verified/00112233445566778899aabbccddeeff/0000000001-20261121-022035"},
};

/* Made once: nothing of an input stays in them. */
static const cb_keys *keys(void)
{
    static cb_keys *made;
    static const uint8_t master[CB_SECRET_BYTES] = {7, 8, 9};
    cb_settings settings = {0};
    cb_error err = {0};
    cb_ctx *ctx;

    if (made != NULL)
        return made;
    FUZZ_CHECK(cb_ctx_new(&settings, NULL, NULL, &ctx, &err) == CB_OK);
    FUZZ_CHECK(cb_keys_from_master(ctx, CB_AEAD_AES_256_GCM, repo_id, master, &made, &err) ==
               CB_OK);
    return made;
}

/* `payload` as it is in a frame whose checksum is right. */
static void frame(cb_object_kind kind, cb_object_seal_kind seal, const char *key, cb_bytes payload,
                  cb_buf *into)
{
    cb_error err = {0};
    size_t at;

    FUZZ_CHECK(cb_object_begin(repo_id, kind, seal, key, payload.size, into, &at, &err) == CB_OK);
    if (payload.size > 0)
        memcpy(into->data + at, payload.data, payload.size);
    cb_object_end(into, at, payload.size, strlen(key));
}

static void try_forged(size_t which, cb_bytes payload)
{
    for (unsigned seal = CB_SEAL_NONE; seal <= CB_SEAL_OWNER; seal++) {
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
        cb_object_view view;
        cb_error err = {0};

        frame(kinds[which].kind, (cb_object_seal_kind)seal, kinds[which].key, payload, &raw);
        FUZZ_CHECK(cb_object_unseal(keys(), repo_id, &raw, kinds[which].key, &view, &err) ==
                   CB_CORRUPT);
        FUZZ_CHECK(strstr(err.message, kinds[which].key) != NULL);
    }
}

static void try_sealed(size_t which, cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    size_t other = (which + 1) % CB_LENGTH(kinds);
    cb_object_view view;
    cb_error err = {0};

    FUZZ_CHECK(cb_object_seal(keys(), repo_id, kinds[which].kind, kinds[which].key, payload, &raw,
                              &err) == CB_OK);
    FUZZ_CHECK(cb_object_unseal(keys(), repo_id, &raw, kinds[other].key, &view, &err) ==
               CB_CORRUPT);
    FUZZ_CHECK(cb_object_unseal(keys(), repo_id, &raw, kinds[which].key, &view, &err) == CB_OK);
    FUZZ_CHECK(view.kind == kinds[which].kind && view.payload.size == payload.size);
    FUZZ_CHECK(payload.size == 0 || memcmp(view.payload.data, payload.data, payload.size) == 0);
}

/* The end of a pack: header and checksum right around what the input says of the rest. */
static void try_footer(cb_bytes rest)
{
    CB_CLEANUP(cb_buf_free) cb_buf tail = {0};
    uint8_t header[CB_PACK_HEADER_BYTES] = {'C', 'B', 'K', 'P', 1, 1, 1, 0};
    cb_footer footer;
    size_t need;
    cb_hash sum;
    cb_error err = {0};

    memcpy(header + 8, repo_id, sizeof(repo_id));
    memcpy(header + 24, pack_id, sizeof(pack_id));
    FUZZ_CHECK(cb_buf_append(&tail, header, sizeof(header), &err) == CB_OK);
    FUZZ_CHECK(cb_buf_append(&tail, rest.data, rest.size, &err) == CB_OK);
    cb_sha256(cb_buf_bytes(&tail), &sum);
    FUZZ_CHECK(cb_buf_append(&tail, sum.bytes, sizeof(sum.bytes), &err) == CB_OK);
    FUZZ_CHECK(cb_buf_u32(&tail, (uint32_t)tail.size, &err) == CB_OK);
    FUZZ_CHECK(cb_buf_append(&tail, "CBKE", 4, &err) == CB_OK);
    FUZZ_CHECK(cb_footer_parse(cb_buf_bytes(&tail), tail.size + 5000, repo_id, pack_id, keys(),
                               &need, &footer, &err) == CB_CORRUPT);
    FUZZ_CHECK(footer.entries == NULL && err.message[0] != '\0');
}

static void try_chunk(cb_bytes data)
{
    static cb_cipher *cipher;
    static const uint8_t key[CB_SECRET_BYTES] = {1};
    uint8_t id[CB_HASH_BYTES] = {2};
    cb_chunk_place place = {repo_id, pack_id, id, 64, 100, CB_CODEC_ZSTD};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    if (cipher == NULL)
        FUZZ_CHECK(cb_cipher_new(CB_AEAD_CHACHA20_POLY1305, &cipher, &err) == CB_OK);
    cb_cipher_set_key(cipher, key);
    FUZZ_CHECK(cb_buf_reserve(&out, data.size + CB_TAG_BYTES, &err) == CB_OK);
    FUZZ_CHECK(cb_chunk_unseal(cipher, &place, data, out.data, &err) == CB_CORRUPT);
    FUZZ_CHECK(cb_chunk_seal(cipher, &place, data, out.data, &err) == CB_OK);
    out.size = data.size + CB_TAG_BYTES;
    place.offset++;
    FUZZ_CHECK(cb_chunk_unseal(cipher, &place, cb_buf_bytes(&out), out.data, &err) == CB_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t which;

    if (size < 1 || size > 1 << 16)
        return 0;
    which = data[0] % CB_LENGTH(kinds);
    try_forged(which, cb_bytes_of(data + 1, size - 1));
    try_sealed(which, cb_bytes_of(data + 1, size - 1));
    try_footer(cb_bytes_of(data + 1, size - 1));
    try_chunk(cb_bytes_of(data + 1, size - 1));
    return 0;
}
