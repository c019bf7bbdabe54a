#include "repo/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "codec/mac.h"

/* Fields: doc/format.md, "Key slots". */
enum {
    F_KIND = 1,
    F_LOG2_N = 2,
    F_R = 3,
    F_P = 4,
    F_SALT = 5,
    F_SECRET = 6,
    F_NOTE = 7,
    /* of the secret */
    F_MASTER = 1,
    F_CONFIG_SUM = 2,
    /* of the note */
    F_LABEL = 1,
    F_HOST = 2,
    F_CREATED = 3,
};

/* ---- keys and frames -------------------------------------------------------------------- */

const char *cb_key_slot(char out[CB_KEY_MAX], const uint8_t id[CB_SLOT_ID_BYTES])
{
    char hex[CB_SLOT_HEX];

    cb_hex(id, CB_SLOT_ID_BYTES, hex);
    snprintf(out, CB_KEY_MAX, "key/%s", hex);
    return out;
}

void cb_slot_ids_free(cb_slot_ids *list)
{
    free(list->ids);
    memset(list, 0, sizeof(*list));
}

static cb_code see_slot(void *arg, const cb_object *object, cb_error *err)
{
    cb_slot_ids *list = arg;
    uint8_t id[CB_SLOT_ID_BYTES];
    const char *hex = object->key + strlen("key/");
    cb_code code = CB_OK;

    if (!cb_has_prefix(object->key, "key/") || strlen(hex) != CB_SLOT_HEX - 1 ||
        !cb_unhex(hex, CB_SLOT_ID_BYTES, id))
        return CB_OK;
    if (list->count == list->capacity)
        code = cb_array_grow(&list->ids, &list->capacity, sizeof(*list->ids), err);
    if (code == CB_OK)
        memcpy(list->ids[list->count++], id, sizeof(id));
    return code;
}

cb_code cb_slot_list(cb_store *store, cb_slot_ids *out, cb_error *err)
{
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = cb_store_list(store, "key/", see_slot, out, err);
    if (code != CB_OK)
        cb_slot_ids_free(out);
    return code;
}

cb_code cb_slot_read(cb_store *store, const uint8_t repo_id[CB_REPO_ID_BYTES],
                     const uint8_t id[CB_SLOT_ID_BYTES], cb_buf *raw, cb_slot *out, cb_error *err)
{
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_code code;

    raw->size = 0;
    raw->limit = CB_SMALL_OBJECT_MAX;
    code = cb_store_get(store, cb_key_slot(key, id), 0, CB_SMALL_OBJECT_MAX, raw, err);
    if (code == CB_OK)
        code = cb_object_parse(cb_buf_bytes(raw), repo_id, key, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_KEY, key, err);
    if (code == CB_OK && cb_slot_parse(view.payload, out, err) != CB_OK)
        return cb_context(err, "'%s'", key);
    return code;
}

/* ---- parse ------------------------------------------------------------------------------ */

static cb_code take_field(const cb_field *field, cb_slot *out, cb_error *err)
{
    switch (field->tag) {
    case F_KIND:
        return cb_field_u64(field, &out->kind, err);
    case F_LOG2_N:
        return cb_field_u64(field, &out->cost.log2_n, err);
    case F_R:
        return cb_field_u64(field, &out->cost.r, err);
    case F_P:
        return cb_field_u64(field, &out->cost.p, err);
    case F_SALT:
        if (field->value.size != CB_SALT_BYTES)
            return cb_fail(err, CB_CORRUPT, "its salt has %zu bytes", field->value.size);
        memcpy(out->salt, field->value.data, CB_SALT_BYTES);
        return CB_OK;
    case F_SECRET:
        out->secret = field->value;
        return CB_OK;
    case F_NOTE:
        out->note = field->value;
        return CB_OK;
    }
    return CB_OK;
}

cb_code cb_slot_parse(cb_bytes payload, cb_slot *out, cb_error *err)
{
    cb_field_reader reader = {payload};
    cb_field field;
    bool more;
    cb_code code;

    memset(out, 0, sizeof(*out));
    out->noted = payload;
    for (;;) {
        size_t before = payload.size - reader.rest.size;

        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        code = take_field(&field, out, err);
        if (code != CB_OK)
            return code;
        if (field.tag == F_NOTE) {
            out->noted = cb_bytes_of(payload.data, before);
            break; /* the note vouches for what stands before it, nothing for what is behind */
        }
    }
    if (code == CB_OK && out->kind == CB_SLOT_FULL && out->secret.size <= CB_TAG_BYTES)
        return cb_fail(err, CB_CORRUPT, "it holds no secret");
    return code;
}

/* ---- the secret ------------------------------------------------------------------------- */

cb_bytes cb_slot_bound(const char *purpose, const uint8_t *repo_id, const uint8_t *id,
                       uint64_t kind, uint8_t out[CB_SLOT_BOUND_MAX])
{
    size_t size = strlen(purpose);

    memcpy(out, purpose, size);
    memcpy(out + size, repo_id, CB_REPO_ID_BYTES);
    memcpy(out + size + CB_REPO_ID_BYTES, id, CB_SLOT_ID_BYTES);
    size += CB_REPO_ID_BYTES + CB_SLOT_ID_BYTES;
    out[size++] = (uint8_t)kind;
    return cb_bytes_of(out, size);
}

/* All that goes in makes up the name under which the result is kept. */
static void kept_name(cb_bytes passphrase, const uint8_t salt[CB_SALT_BYTES], const cb_scrypt *cost,
                      uint8_t out[CB_KEPT_NAME_BYTES])
{
    uint8_t numbers[24];
    cb_hash mixed, name;

    cb_put_u64(numbers, cost->log2_n);
    cb_put_u64(numbers + 8, cost->r);
    cb_put_u64(numbers + 16, cost->p);
    cb_hkdf(passphrase, cb_bytes_of(salt, CB_SALT_BYTES), cb_bytes_of(numbers, sizeof(numbers)),
            mixed.bytes);
    cb_sha256(cb_bytes_of(mixed.bytes, CB_HASH_BYTES), &name);
    memcpy(out, name.bytes, CB_KEPT_NAME_BYTES);
    cb_wipe(&mixed, sizeof(mixed));
}

cb_code cb_slot_key(cb_ctx *ctx, cb_bytes passphrase, const uint8_t salt[CB_SALT_BYTES],
                    const cb_scrypt *cost, uint8_t out[CB_SECRET_BYTES], cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf kept = {.limit = CB_SECRET_BYTES};
    uint8_t name[CB_KEPT_NAME_BYTES];
    cb_code code;

    kept_name(passphrase, salt, cost, name);
    if (cb_ctx_recall(ctx, name, &kept) && kept.size == CB_SECRET_BYTES) {
        memcpy(out, kept.data, CB_SECRET_BYTES);
        return CB_OK;
    }
    code = cb_scrypt_key(passphrase, cb_bytes_of(salt, CB_SALT_BYTES), cost, out, err);
    if (code == CB_OK)
        code = cb_ctx_keep(ctx, name, cb_bytes_of(out, CB_SECRET_BYTES), err);
    return code;
}

static cb_code put_sealed(cb_buf *into, uint32_t tag, const uint8_t key[CB_SECRET_BYTES],
                          cb_bytes prefix, cb_bytes bound, cb_bytes plain, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sealed = {0};
    cb_code code = cb_buf_append(&sealed, prefix.data, prefix.size, err);

    if (code == CB_OK)
        code = cb_buf_reserve(&sealed, plain.size + CB_TAG_BYTES, err);
    if (code == CB_OK)
        code = cb_seal_once(CB_AEAD_AES_256_GCM, key, bound, plain, sealed.data + sealed.size, err);
    sealed.size += plain.size + CB_TAG_BYTES;
    if (code == CB_OK)
        code = cb_field_put_bytes(into, tag, cb_buf_bytes(&sealed), err);
    return code;
}

static cb_code render_secret(const cb_keys *keys, const uint8_t *id, const cb_scrypt *cost,
                             const cb_hash *config_sum, cb_bytes passphrase, cb_buf *into,
                             cb_error *err)
{
    CB_CLEANUP(cb_secret_free) cb_buf plain = {.limit = 256};
    uint8_t salt[CB_SALT_BYTES];
    uint8_t key[CB_SECRET_BYTES];
    uint8_t bound[CB_SLOT_BOUND_MAX];
    cb_code code;

    cb_random(keys->ctx, salt, sizeof(salt));
    code = cb_slot_key(keys->ctx, passphrase, salt, cost, key, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_LOG2_N, cost->log2_n, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_R, cost->r, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, F_P, cost->p, err);
    if (code == CB_OK)
        code = cb_field_put_bytes(into, F_SALT, cb_bytes_of(salt, sizeof(salt)), err);
    if (code == CB_OK) /* all of it at once: growing would leave copies behind */
        code = cb_buf_reserve(&plain, 128, err);
    if (code == CB_OK)
        code =
            cb_field_put_bytes(&plain, F_MASTER, cb_bytes_of(keys->master, CB_SECRET_BYTES), err);
    if (code == CB_OK)
        code = cb_field_put_bytes(&plain, F_CONFIG_SUM,
                                  cb_bytes_of(config_sum->bytes, CB_HASH_BYTES), err);
    if (code == CB_OK)
        code = put_sealed(
            into, F_SECRET, key, cb_bytes_of(NULL, 0),
            cb_slot_bound(CB_SLOT_PURPOSE_SECRET, keys->repo_id, id, CB_SLOT_FULL, bound),
            cb_buf_bytes(&plain), err);
    cb_wipe(key, sizeof(key));
    return code;
}

/* ---- the note --------------------------------------------------------------------------- */

static void note_key(const cb_keys *keys, const uint8_t salt[CB_SALT_BYTES],
                     uint8_t out[CB_SECRET_BYTES])
{
    cb_hkdf(cb_bytes_of(keys->notes, CB_SECRET_BYTES), cb_bytes_of(salt, CB_SALT_BYTES),
            cb_bytes_of(CB_SLOT_PURPOSE_NOTE, strlen(CB_SLOT_PURPOSE_NOTE)), out);
}

static cb_code note_bound(const cb_keys *keys, const uint8_t *id, uint64_t kind, cb_bytes noted,
                          cb_buf *into, cb_error *err)
{
    uint8_t bound[CB_SLOT_BOUND_MAX];
    cb_bytes start = cb_slot_bound(CB_SLOT_PURPOSE_NOTE, keys->repo_id, id, kind, bound);
    cb_code code = cb_buf_append(into, start.data, start.size, err);

    if (code == CB_OK)
        code = cb_buf_append(into, noted.data, noted.size, err);
    return code;
}

static cb_code render_note(const cb_keys *keys, const uint8_t *id, uint64_t kind, const char *label,
                           cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf plain = {0};
    CB_CLEANUP(cb_buf_free) cb_buf bound = {0};
    cb_process_identity self;
    uint8_t salt[CB_SALT_BYTES];
    uint8_t key[CB_SECRET_BYTES];
    cb_code code;

    cb_process_self(&self);
    code = cb_field_put_text(&plain, F_LABEL, label, err);
    if (code == CB_OK)
        code = cb_field_put_text(&plain, F_HOST, self.host, err);
    if (code == CB_OK)
        code = cb_field_put_i64(&plain, F_CREATED, cb_now_us(keys->ctx), err);
    if (code == CB_OK)
        code = note_bound(keys, id, kind, cb_buf_bytes(into), &bound, err);
    if (code != CB_OK)
        return code;
    cb_random(keys->ctx, salt, sizeof(salt));
    note_key(keys, salt, key);
    code = put_sealed(into, F_NOTE, key, cb_bytes_of(salt, sizeof(salt)), cb_buf_bytes(&bound),
                      cb_buf_bytes(&plain), err);
    cb_wipe(key, sizeof(key));
    return code;
}

static cb_code take_text(const cb_field *field, char *out, size_t size, cb_error *err)
{
    if (field->value.size >= size)
        return cb_fail(err, CB_CORRUPT, "field %u of a note is too long", field->tag);
    if (field->value.size > 0)
        memcpy(out, field->value.data, field->value.size);
    out[field->value.size] = '\0';
    return CB_OK;
}

static cb_code parse_note(cb_bytes plain, cb_slot_note *out, cb_error *err)
{
    cb_field_reader reader = {plain};
    cb_field field;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_LABEL)
            code = take_text(&field, out->label, sizeof(out->label), err);
        else if (field.tag == F_HOST)
            code = take_text(&field, out->host, sizeof(out->host), err);
        else if (field.tag == F_CREATED)
            code = cb_field_i64(&field, &out->created_us, err);
        if (code != CB_OK)
            return code;
    }
    return code;
}

cb_code cb_slot_note_open(const cb_keys *keys, const uint8_t id[CB_SLOT_ID_BYTES],
                          const cb_slot *slot, cb_slot_note *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf bound = {0};
    CB_CLEANUP(cb_buf_free) cb_buf plain = {0};
    uint8_t key[CB_SECRET_BYTES];
    size_t size;
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (slot->note.size < CB_SALT_BYTES + CB_TAG_BYTES)
        return cb_fail(err, CB_CORRUPT, "the slot has no note");
    size = slot->note.size - CB_SALT_BYTES;
    code = note_bound(keys, id, slot->kind, slot->noted, &bound, err);
    if (code == CB_OK)
        code = cb_buf_reserve(&plain, size, err);
    if (code != CB_OK)
        return code;
    note_key(keys, slot->note.data, key);
    code = cb_open_once(CB_AEAD_AES_256_GCM, key, cb_buf_bytes(&bound),
                        cb_bytes_of(slot->note.data + CB_SALT_BYTES, size), plain.data, err);
    cb_wipe(key, sizeof(key));
    if (code == CB_OK)
        code = parse_note(cb_bytes_of(plain.data, size - CB_TAG_BYTES), out, err);
    return code;
}

/* ---- write ------------------------------------------------------------------------------ */

cb_code cb_slot_write(cb_store *store, const cb_keys *keys, const cb_scrypt *cost,
                      const cb_hash *config_sum, const cb_bytes *passphrase, const char *label,
                      const uint8_t id[CB_SLOT_ID_BYTES], cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    uint64_t kind = passphrase != NULL ? CB_SLOT_FULL : CB_SLOT_WRITE_ONLY;
    char key[CB_KEY_MAX];
    cb_code code;

    code = cb_field_put_u64(&payload, F_KIND, kind, err);
    if (code == CB_OK && passphrase != NULL)
        code = render_secret(keys, id, cost, config_sum, *passphrase, &payload, err);
    if (code == CB_OK)
        code = render_note(keys, id, kind, label != NULL ? label : "", &payload, err);
    if (code == CB_OK)
        code = cb_object_build(keys->repo_id, CB_OBJECT_KEY, cb_key_slot(key, id),
                               cb_buf_bytes(&payload), &raw, err);
    if (code == CB_OK)
        code = cb_store_put_bytes(store, key, CB_PUT_NEW, cb_buf_bytes(&raw), err);
    if (code != CB_OK)
        return cb_context(err, "writing a key");
    return CB_OK;
}
