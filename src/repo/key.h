/*
 * key.h - the keys of a repository: made here, taken apart here. Format: doc/format.md, "Keys".
 *
 * Makers fill an array of CB_KEY_MAX bytes and return it. Parsers return false for a key that no
 * release of ours made: such objects are left alone.
 */
#ifndef CB_REPO_KEY_H
#define CB_REPO_KEY_H

#include "repo/object.h"

#include "storage/storage.h"

#define CB_KEY_NUMBER_MAX UINT64_C(9999999999) /* ten digits */

enum { CB_NAME_MAX = 64, CB_REF_LABEL_MAX = 40, CB_PACK_ID_BYTES = 16, CB_PACK_HEX = 33 };

const char *cb_key_name(char out[CB_KEY_MAX], const char *name);
const char *cb_key_session(char out[CB_KEY_MAX], const char *name, uint64_t number,
                           const char *what); /* "open", "end", "beat-3" */
const char *cb_key_manifest(char out[CB_KEY_MAX], const char *name, uint64_t number,
                            const char *label);
const char *cb_key_verified(char out[CB_KEY_MAX], const char *name, uint64_t number,
                            const char *label);
const char *cb_key_pack(char out[CB_KEY_MAX], const uint8_t id[CB_PACK_ID_BYTES]);
/* The prefix of all packs of a session, of whose id `half` is the first half. */
const char *cb_key_session_packs(char out[CB_KEY_MAX], const uint8_t half[CB_PACK_ID_BYTES / 2]);
const char *cb_key_index(char out[CB_KEY_MAX], const uint8_t id[CB_PACK_ID_BYTES]);
const char *cb_key_reclaim(char out[CB_KEY_MAX], uint64_t number, const char *what);

/* session/N/n/what */
typedef struct cb_session_key {
    char name[CB_NAME_MAX + 1];
    uint64_t number;
    const char *what; /* borrowed from the key */
} cb_session_key;
bool cb_key_parse_session(const char *key, cb_session_key *out);
/* manifest/N/n-LABEL */
bool cb_key_parse_manifest(const char *key, char name[CB_NAME_MAX + 1], uint64_t *number,
                           char label[CB_REF_LABEL_MAX]);
bool cb_key_parse_pack(const char *key, uint8_t id[CB_PACK_ID_BYTES]);
bool cb_key_parse_index(const char *key, uint8_t id[CB_PACK_ID_BYTES]);
/* reclaim/e/what */
bool cb_key_parse_reclaim(const char *key, uint64_t *number, const char **what);

#endif
