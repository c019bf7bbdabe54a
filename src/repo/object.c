#include "repo/object.h"

#include "codec/hash.h"

/* Offsets in the header. */
enum {
    AT_KIND = 4,
    AT_FLAGS = 5,
    AT_VERSION = 6,
    AT_PAYLOAD_BYTES = 8,
    AT_REPO_ID = 16,
    AT_KEY_BYTES = 32,
};

static const uint8_t magic[4] = {'C', 'B', 'K', '1'};

const char *cb_object_kind_name(unsigned kind)
{
    static const char *const names[] = {
        [CB_OBJECT_CONFIG] = "configuration",
        [CB_OBJECT_NAME] = "name",
        [CB_OBJECT_SESSION] = "session",
        [CB_OBJECT_BEAT] = "beat",
        [CB_OBJECT_END] = "end of a session",
        [CB_OBJECT_MANIFEST] = "manifest",
        [CB_OBJECT_TOMBSTONE] = "tombstone",
        [CB_OBJECT_INDEX] = "index",
        [CB_OBJECT_SUSPECT] = "suspect list",
        [CB_OBJECT_WAIT] = "wait list",
        [CB_OBJECT_VERDICT] = "verdict",
        [CB_OBJECT_VERIFIED] = "verify note",
        [CB_OBJECT_KEY] = "key",
    };

    if (kind < CB_LENGTH(names) && names[kind] != NULL)
        return names[kind];
    return "unknown object";
}

cb_object_seal_kind cb_object_seal_of(unsigned kind)
{
    switch (kind) {
    case CB_OBJECT_MANIFEST:
        return CB_SEAL_OWNER;
    case CB_OBJECT_CONFIG: /* read before a key is known */
    case CB_OBJECT_KEY:
    case CB_OBJECT_BEAT: /* without a payload: that they are there is all they say */
    case CB_OBJECT_END:
    case CB_OBJECT_TOMBSTONE:
        return CB_SEAL_NONE;
    default:
        return CB_SEAL_SHARED;
    }
}

cb_code cb_object_begin(const uint8_t repo_id[CB_REPO_ID_BYTES], cb_object_kind kind,
                        cb_object_seal_kind seal, const char *key, size_t payload_bytes,
                        cb_buf *into, size_t *payload_at, cb_error *err)
{
    size_t key_bytes = strlen(key);
    size_t whole = CB_OBJECT_FRAME_BYTES + key_bytes + payload_bytes;
    uint8_t *at;
    cb_code code;

    if (whole > CB_OBJECT_BYTES_MAX || key_bytes > UINT16_MAX)
        return cb_fail(err, CB_TOO_LARGE, "'%s' would be %zu bytes, at most %d are allowed", key,
                       whole, CB_OBJECT_BYTES_MAX);
    code = cb_buf_reserve(into, whole, err);
    if (code != CB_OK)
        return code;
    at = into->data + into->size;
    memcpy(at, magic, sizeof(magic));
    at[AT_KIND] = (uint8_t)kind;
    at[AT_FLAGS] = (uint8_t)seal;
    cb_put_u16(at + AT_VERSION, CB_FORMAT_VERSION);
    cb_put_u64(at + AT_PAYLOAD_BYTES, payload_bytes);
    memcpy(at + AT_REPO_ID, repo_id, CB_REPO_ID_BYTES);
    cb_put_u16(at + AT_KEY_BYTES, (uint16_t)key_bytes);
    memcpy(at + CB_OBJECT_HEADER_BYTES, key, key_bytes);
    *payload_at = into->size + CB_OBJECT_HEADER_BYTES + key_bytes;
    into->size += whole;
    return CB_OK;
}

void cb_object_end(cb_buf *into, size_t payload_at, size_t payload_bytes, size_t key_bytes)
{
    const uint8_t *frame = into->data + payload_at - key_bytes - CB_OBJECT_HEADER_BYTES;
    uint8_t *end = into->data + payload_at + payload_bytes;
    cb_hash sum;

    cb_sha256(cb_bytes_of(frame, (size_t)(end - frame)), &sum);
    memcpy(end, sum.bytes, CB_HASH_BYTES);
}

cb_code cb_object_build(const uint8_t repo_id[CB_REPO_ID_BYTES], cb_object_kind kind,
                        const char *key, cb_bytes payload, cb_buf *into, cb_error *err)
{
    size_t at;
    cb_code code = cb_object_begin(repo_id, kind, CB_SEAL_NONE, key, payload.size, into, &at, err);

    if (code != CB_OK)
        return code;
    if (payload.size > 0)
        memcpy(into->data + at, payload.data, payload.size);
    cb_object_end(into, at, payload.size, strlen(key));
    return CB_OK;
}

/* What stands before the checksum: enough to know whether we can understand the rest. */
static cb_code check_header(cb_bytes raw, const char *key, cb_error *err)
{
    unsigned version;

    if (raw.size < CB_OBJECT_FRAME_BYTES)
        return cb_fail(err, CB_CORRUPT, "'%s' is cut: it has %zu bytes, the smallest object has %d",
                       key, raw.size, CB_OBJECT_FRAME_BYTES);
    if (memcmp(raw.data, magic, sizeof(magic)) != 0)
        return cb_fail(err, CB_CORRUPT, "'%s' does not begin like an object of a repository", key);
    version = cb_get_u16(raw.data + AT_VERSION);
    if (version > CB_FORMAT_VERSION || raw.data[AT_FLAGS] > CB_SEAL_OWNER) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' has format %u.%u, the newest known is %d.0", key,
                version, (unsigned)raw.data[AT_FLAGS], CB_FORMAT_VERSION);
        cb_hint(err, "Use the release that wrote it, or a later one.");
        return err->code;
    }
    return CB_OK;
}

cb_code cb_object_parse(cb_bytes raw, const uint8_t *repo_id, const char *key, cb_object_view *out,
                        cb_error *err)
{
    uint64_t payload_bytes;
    uint64_t whole;
    size_t key_bytes;
    cb_hash sum;
    cb_code code = check_header(raw, key, err);

    if (code != CB_OK)
        return code;
    payload_bytes = cb_get_u64(raw.data + AT_PAYLOAD_BYTES);
    key_bytes = cb_get_u16(raw.data + AT_KEY_BYTES);
    if (!cb_add_u64(payload_bytes, CB_OBJECT_FRAME_BYTES + key_bytes, &whole) || whole != raw.size)
        return cb_fail(err, CB_CORRUPT, "'%s' has %zu bytes, not as many as its header says", key,
                       raw.size);
    cb_sha256(cb_bytes_of(raw.data, raw.size - CB_HASH_BYTES), &sum);
    if (memcmp(sum.bytes, raw.data + raw.size - CB_HASH_BYTES, CB_HASH_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "'%s' is damaged: its checksum differs", key);
    if (repo_id != NULL && memcmp(raw.data + AT_REPO_ID, repo_id, CB_REPO_ID_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "'%s' belongs to another repository", key);
    if (key_bytes != strlen(key) || memcmp(raw.data + CB_OBJECT_HEADER_BYTES, key, key_bytes) != 0)
        return cb_fail(err, CB_CORRUPT, "'%s' is the object of another key: '%.*s'", key,
                       (int)key_bytes, (const char *)raw.data + CB_OBJECT_HEADER_BYTES);
    out->kind = raw.data[AT_KIND];
    out->seal = raw.data[AT_FLAGS];
    out->repo_id = raw.data + AT_REPO_ID;
    out->payload =
        cb_bytes_of(raw.data + CB_OBJECT_HEADER_BYTES + key_bytes, (size_t)payload_bytes);
    return CB_OK;
}

cb_code cb_object_expect(const cb_object_view *view, cb_object_kind kind, const char *key,
                         cb_error *err)
{
    if (view->kind != (unsigned)kind)
        return cb_fail(err, CB_CORRUPT, "'%s' is of kind %u (%s), not a %s", key, view->kind,
                       cb_object_kind_name(view->kind), cb_object_kind_name(kind));
    return CB_OK;
}
