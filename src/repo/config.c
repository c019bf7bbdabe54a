#include "repo/config.h"

#include "codec/field.h"

enum { CHUNKS_SHA256 = 1, CHUNKS_HMAC_SHA256 = 2, FINGERPRINT_XXH3_128 = 1 };

enum {
    F_CHUNK_ALGORITHM = 1,
    F_FINGERPRINT_ALGORITHM = 2,
    F_SEED = 3,
    F_CREATED = 4,
    F_ENCRYPTION = 5,
    F_PUBLIC_KEY = 6,
    F_SCRYPT_LOG2_N = 7,
    F_SCRYPT_R = 8,
    F_SCRYPT_P = 9,
};

static cb_code render_encryption(const cb_config *config, cb_buf *into, cb_error *err)
{
    cb_code code = cb_field_put_bytes(into, F_PUBLIC_KEY,
                                      cb_bytes_of(config->public_key, CB_SECRET_BYTES), err);

    if (code == CB_OK)
        code = cb_field_put_u64(into, F_SCRYPT_LOG2_N, config->scrypt.log2_n, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_SCRYPT_R, config->scrypt.r, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_SCRYPT_P, config->scrypt.p, err);
    return code;
}

cb_code cb_config_render(const cb_config *config, cb_buf *into, cb_error *err)
{
    bool is_encrypted = config->encryption != CB_AEAD_NONE;
    cb_code code = cb_field_put_u64(into, F_CHUNK_ALGORITHM,
                                    is_encrypted ? CHUNKS_HMAC_SHA256 : CHUNKS_SHA256, err);

    if (code == CB_OK)
        code = cb_field_put_u64(into, F_FINGERPRINT_ALGORITHM, FINGERPRINT_XXH3_128, err);
    if (code == CB_OK && !is_encrypted)
        code = cb_field_put_bytes(into, F_SEED, cb_bytes_of(config->seed, CB_SECRET_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_CREATED, config->created_us, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_ENCRYPTION, config->encryption, err);
    if (code == CB_OK && is_encrypted)
        code = render_encryption(config, into, err);
    return code;
}

typedef struct algorithms {
    uint64_t chunk, fingerprint, encryption;
    bool has_seed, has_public_key;
} algorithms;

static cb_code check(const algorithms *found, cb_error *err)
{
    uint64_t chunk = found->encryption == CB_AEAD_NONE ? CHUNKS_SHA256 : CHUNKS_HMAC_SHA256;

    if (found->chunk != chunk || found->fingerprint != FINGERPRINT_XXH3_128 ||
        found->encryption > CB_AEAD_CHACHA20_POLY1305) {
        cb_fail(err, CB_UNSUPPORTED,
                "the repository uses chunk ids %u, fingerprints %u, encryption %u; known are 1, "
                "1, 0 and 2, 1, 1 to 2",
                (unsigned)found->chunk, (unsigned)found->fingerprint, (unsigned)found->encryption);
        cb_hint(err, "Use the release that made it, or a later one.");
        return err->code;
    }
    if (found->encryption == CB_AEAD_NONE && !found->has_seed)
        return cb_fail(err, CB_CORRUPT, "'%s' has no fingerprint seed", CB_CONFIG_KEY);
    if (found->encryption != CB_AEAD_NONE && !found->has_public_key)
        return cb_fail(err, CB_CORRUPT, "'%s' has no public key", CB_CONFIG_KEY);
    return CB_OK;
}

static bool take_secret(const cb_field *field, uint8_t out[CB_SECRET_BYTES])
{
    if (field->value.size != CB_SECRET_BYTES)
        return false;
    memcpy(out, field->value.data, CB_SECRET_BYTES);
    return true;
}

static cb_code take_field(const cb_field *field, cb_config *out, algorithms *found, cb_error *err)
{
    switch (field->tag) {
    case F_CHUNK_ALGORITHM:
        return cb_field_u64(field, &found->chunk, err);
    case F_FINGERPRINT_ALGORITHM:
        return cb_field_u64(field, &found->fingerprint, err);
    case F_SEED:
        found->has_seed = take_secret(field, out->seed);
        return CB_OK;
    case F_CREATED:
        return cb_field_i64(field, &out->created_us, err);
    case F_ENCRYPTION:
        return cb_field_u64(field, &found->encryption, err);
    case F_PUBLIC_KEY:
        found->has_public_key = take_secret(field, out->public_key);
        return CB_OK;
    case F_SCRYPT_LOG2_N:
        return cb_field_u64(field, &out->scrypt.log2_n, err);
    case F_SCRYPT_R:
        return cb_field_u64(field, &out->scrypt.r, err);
    case F_SCRYPT_P:
        return cb_field_u64(field, &out->scrypt.p, err);
    }
    return CB_OK;
}

cb_code cb_config_parse(cb_bytes payload, cb_config *out, cb_error *err)
{
    cb_field_reader reader = {payload};
    algorithms found = {0};
    cb_field field;
    bool more;
    cb_code code;

    memset(out, 0, sizeof(*out));
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_field(&field, out, &found, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK)
        code = check(&found, err);
    if (code == CB_OK)
        out->encryption = (cb_aead)found.encryption;
    return code;
}
