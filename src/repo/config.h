/*
 * config.h - the configuration of a repository: what can be known of it without a key.
 *
 * Format: doc/format.md, "Configuration".
 */
#ifndef CB_REPO_CONFIG_H
#define CB_REPO_CONFIG_H

#include "base/bytes.h"
#include "codec/cipher.h"

#define CB_CONFIG_KEY      "config"
#define CB_CONFIG_COPY_KEY "config.copy" /* byte for byte the same */

typedef struct cb_config {
    int64_t created_us;
    cb_aead encryption;            /* CB_AEAD_NONE: none */
    uint8_t seed[CB_SECRET_BYTES]; /* of fingerprints; only when not encrypted */
    uint8_t public_key[CB_SECRET_BYTES];
    cb_scrypt scrypt; /* of new key slots */
} cb_config;

CB_MUST_USE cb_code cb_config_render(const cb_config *config, cb_buf *into, cb_error *err);
/* Errors: CB_CORRUPT, CB_UNSUPPORTED (algorithms of a newer release). */
CB_MUST_USE cb_code cb_config_parse(cb_bytes payload, cb_config *out, cb_error *err);

#endif
