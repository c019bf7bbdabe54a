/*
 * object.h - the frame of every small object of a repository, and the kinds there are.
 *
 * A frame says what it is, of which repository and under which key, and ends in a checksum of all
 * of it: an object that was cut, flipped or put in another's place is noticed before a byte of its
 * payload is believed. Format: doc/format.md, "Objects".
 */
#ifndef CB_REPO_OBJECT_H
#define CB_REPO_OBJECT_H

#include "base/bytes.h"

enum {
    CB_FORMAT_VERSION = 1,
    CB_REPO_ID_BYTES = 16,
    CB_OBJECT_HEADER_BYTES = 34,                         /* the key follows */
    CB_OBJECT_FRAME_BYTES = CB_OBJECT_HEADER_BYTES + 32, /* header and checksum */
    CB_OBJECT_BYTES_MAX = 32 << 20,
    CB_MANIFEST_BYTES_MAX = 16 << 20,
};

/* On disk: doc/format.md, "Objects". */
typedef enum cb_object_kind {
    CB_OBJECT_CONFIG = 1,
    CB_OBJECT_NAME = 2,
    CB_OBJECT_SESSION = 3,
    CB_OBJECT_BEAT = 4,
    CB_OBJECT_END = 5,
    CB_OBJECT_MANIFEST = 6,
    CB_OBJECT_TOMBSTONE = 7, /* at a manifest's key: empty payload, which no manifest has */
    CB_OBJECT_INDEX = 8,
    CB_OBJECT_SUSPECT = 9,
    CB_OBJECT_WAIT = 10,
    CB_OBJECT_VERDICT = 11,
    CB_OBJECT_VERIFIED = 12,
    CB_OBJECT_KEY = 13, /* a key slot of an encrypted repository */
} cb_object_kind;

/* On disk, in the flags of a frame: how the payload is sealed. */
typedef enum cb_object_seal_kind {
    CB_SEAL_NONE = 0,
    CB_SEAL_SHARED = 1, /* every host reads it */
    CB_SEAL_OWNER = 2,  /* only who has the master key */
} cb_object_seal_kind;

/* How an encrypted repository seals objects of this kind. */
cb_object_seal_kind cb_object_seal_of(unsigned kind);

const char *cb_object_kind_name(unsigned kind);

/*
 * Append a frame to `into` but for its payload, for which *payload_at has room (an offset in
 * `into`); cb_object_end puts the checksum in once it is filled. Errors: CB_TOO_LARGE,
 * CB_NO_MEMORY.
 */
CB_MUST_USE cb_code cb_object_begin(const uint8_t repo_id[CB_REPO_ID_BYTES], cb_object_kind kind,
                                    cb_object_seal_kind seal, const char *key, size_t payload_bytes,
                                    cb_buf *into, size_t *payload_at, cb_error *err);
void cb_object_end(cb_buf *into, size_t payload_at, size_t payload_bytes, size_t key_bytes);

/* All at once, not sealed. */
CB_MUST_USE cb_code cb_object_build(const uint8_t repo_id[CB_REPO_ID_BYTES], cb_object_kind kind,
                                    const char *key, cb_bytes payload, cb_buf *into, cb_error *err);

typedef struct cb_object_view {
    unsigned kind;
    unsigned seal;
    const uint8_t *repo_id;
    cb_bytes payload; /* borrowed from the raw bytes */
} cb_object_view;

/*
 * Check a frame that was read from `key`; `repo_id` NULL believes the one inside (for the config).
 * Errors: CB_UNSUPPORTED (newer, or not an object of ours), CB_CORRUPT (cut, flipped, of another
 * key or repository).
 */
CB_MUST_USE cb_code cb_object_parse(cb_bytes raw, const uint8_t *repo_id, const char *key,
                                    cb_object_view *out, cb_error *err);

/* CB_CORRUPT unless the view is of that kind. */
CB_MUST_USE cb_code cb_object_expect(const cb_object_view *view, cb_object_kind kind,
                                     const char *key, cb_error *err);

#endif
