/*
 * Chunks of an encrypted repository: their names, and the way back from what lies in a pack.
 *
 * A pack's key stands wrapped in the index and in the pack's own footer. The index is enough for
 * all that goes well; the footer is asked when a chunk does not open, since an index object can
 * be made again by anyone who may write, and a wrong one must not make good packs unreadable.
 */
#include "repo/repo_internal.h"

#include "codec/mac.h"

void cb_chunk_id(const cb_repo *repo, cb_bytes raw, cb_hash *out)
{
    if (repo->keys != NULL)
        cb_keyed_hash_of(repo->keys->id_hash, raw, out);
    else
        cb_sha256(raw, out);
}

/* ---- keys of packs ---------------------------------------------------------------------- */

static cb_kept_pack_key *slot_of(cb_repo *repo, const uint8_t *pack)
{
    return &repo->kept[pack[CB_PACK_ID_BYTES - 1] % CB_KEPT_PACK_KEYS];
}

static bool recall(cb_repo *repo, const uint8_t *pack, uint8_t key[CB_SECRET_BYTES])
{
    const cb_kept_pack_key *slot = slot_of(repo, pack);
    bool found;

    pthread_mutex_lock(&repo->key_lock);
    found = slot->is_set && memcmp(slot->pack, pack, CB_PACK_ID_BYTES) == 0;
    if (found)
        memcpy(key, slot->key, CB_SECRET_BYTES);
    pthread_mutex_unlock(&repo->key_lock);
    return found;
}

static void keep(cb_repo *repo, const uint8_t *pack, const uint8_t key[CB_SECRET_BYTES])
{
    cb_kept_pack_key *slot = slot_of(repo, pack);

    pthread_mutex_lock(&repo->key_lock);
    slot->is_set = true;
    memcpy(slot->pack, pack, CB_PACK_ID_BYTES);
    memcpy(slot->key, key, CB_SECRET_BYTES);
    pthread_mutex_unlock(&repo->key_lock);
}

void cb_repo_forget_keys(cb_repo *repo)
{
    cb_wipe(repo->kept, sizeof(repo->kept));
}

/* What the index says of a pack. */
static cb_pack_info look_up(cb_repo *repo, const uint8_t *pack)
{
    cb_pack_info info = {0};
    uint32_t number;

    pthread_rwlock_rdlock(&repo->lock);
    number = cb_index_find_pack(&repo->index, pack);
    if (number != UINT32_MAX)
        info = repo->index.packs[number];
    pthread_rwlock_unlock(&repo->lock);
    return info;
}

static cb_code unwrap(cb_repo *repo, const uint8_t *pack, const uint8_t wrap[CB_WRAP_BYTES],
                      cb_repo_worker *own, cb_error *err)
{
    uint8_t key[CB_SECRET_BYTES];
    cb_code code = cb_wrap_open(repo->keys, cb_pack_context(pack), wrap, key, err);

    if (code == CB_OK) {
        cb_cipher_set_key(own->cipher, key);
        memcpy(own->cipher_pack, pack, CB_PACK_ID_BYTES);
        own->has_key = true;
        keep(repo, pack, key);
    }
    cb_wipe(key, sizeof(key));
    return code;
}

/* The key as the pack itself says it; CB_CORRUPT when that is what the index said. */
static cb_code key_from_footer(cb_repo *repo, cb_repo_worker *own, const uint8_t *pack,
                               cb_error *err)
{
    cb_pack_info info = look_up(repo, pack);
    cb_footer footer;
    uint64_t size = info.size_bytes;
    uint8_t wrap[CB_WRAP_BYTES];
    char key[CB_KEY_MAX];
    cb_code code = CB_OK;

    if (size == 0)
        code = cb_store_size(repo->store, cb_key_pack(key, pack), &size, err);
    if (code == CB_OK)
        code = cb_footer_read(repo->store, repo->id, pack, size, repo->keys, &footer, err);
    if (code != CB_OK)
        return code;
    memcpy(wrap, footer.wrap, CB_WRAP_BYTES);
    cb_footer_free(&footer);
    if (info.has_wrap && memcmp(info.wrap, wrap, CB_WRAP_BYTES) == 0)
        return cb_fail(err, CB_CORRUPT, "the index names the same key");
    return unwrap(repo, pack, wrap, own, err);
}

static cb_code set_key(cb_repo *repo, cb_repo_worker *own, const uint8_t *pack, cb_error *err)
{
    uint8_t key[CB_SECRET_BYTES];
    cb_pack_info info;
    cb_error quiet = {0};
    cb_code code;

    if (own->has_key && memcmp(own->cipher_pack, pack, CB_PACK_ID_BYTES) == 0)
        return CB_OK;
    own->has_key = false;
    if (recall(repo, pack, key)) {
        cb_cipher_set_key(own->cipher, key);
        memcpy(own->cipher_pack, pack, CB_PACK_ID_BYTES);
        own->has_key = true;
        cb_wipe(key, sizeof(key));
        return CB_OK;
    }
    info = look_up(repo, pack);
    if (!info.has_wrap)
        return key_from_footer(repo, own, pack, err);
    code = unwrap(repo, pack, info.wrap, own, err);
    if (code == CB_CORRUPT && key_from_footer(repo, own, pack, &quiet) == CB_OK) {
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

/* ---- chunks ----------------------------------------------------------------------------- */

static cb_code prepare(cb_repo *repo, cb_repo_worker *own, size_t size, cb_error *err)
{
    cb_code code = CB_OK;

    if (own->cipher == NULL)
        code = cb_cipher_new(repo->keys->aead, &own->cipher, err);
    own->plain.size = 0;
    if (code == CB_OK)
        code = cb_buf_reserve(&own->plain, size, err);
    return code;
}

static cb_code not_decrypted(cb_error *err)
{
    return cb_fail(
        err, CB_CORRUPT,
        "a chunk does not decrypt: it is damaged, or no key of this repository wrote it");
}

cb_code cb_chunk_decrypt(cb_repo *repo, cb_repo_worker *own, const cb_chunk_place *place,
                         cb_bytes stored, cb_bytes *plain, cb_error *err)
{
    cb_error quiet = {0};
    cb_code code;

    *plain = stored;
    if (repo->keys == NULL)
        return CB_OK;
    if (stored.size < CB_TAG_BYTES)
        return not_decrypted(err);
    code = prepare(repo, own, stored.size, err);
    if (code == CB_OK)
        code = set_key(repo, own, place->pack_id, err);
    if (code == CB_OK)
        code = cb_chunk_unseal(own->cipher, place, stored, own->plain.data, err);
    if (code == CB_CORRUPT && key_from_footer(repo, own, place->pack_id, &quiet) == CB_OK)
        code = cb_chunk_unseal(own->cipher, place, stored, own->plain.data, err);
    if (code == CB_CORRUPT)
        return not_decrypted(err);
    if (code != CB_OK)
        return code;
    cb_error_clear(err);
    *plain = cb_bytes_of(own->plain.data, stored.size - CB_TAG_BYTES);
    return CB_OK;
}
